/* case.h: a kernel and its backward written once, judged three ways.
 *
 * A case declares its arrays by name and calls kernels of t->b->be. The same function then runs on
 *   every backend and several thread counts   against ref64, and a second time for equal bits
 *   ref64 with one input moved                for central differences of every gradient
 * Inputs are random but the same everywhere. Outputs start as NaN and an element that ref64 leaves
 * NaN (a gap between strided rows) must be left by every backend. */
#ifndef TESTS_SUPPORT_CASE_H
#define TESTS_SUPPORT_CASE_H

#include "support/op.h"

enum { OP_CASE_ARRAYS = 64 };

typedef enum op_role { OP_IN, OP_OUT, OP_GRAD } op_role;

typedef struct op_array {
    const char *name; /* of a gradient: the input's */
    op_role role;
    bool adds; /* a gradient that the kernel adds to `start` */
    hy__tensor t;
    int64_t n;
    double *start;  /* what it held before the kernels */
    double *result; /* after them, outputs and gradients only; the case frees */
} op_array;

typedef struct op_case {
    op_bench *b;
    const void *shape; /* the test's own */
    op_array array[OP_CASE_ARRAYS];
    int n_array;
    int nudged; /* index of the input that is moved, or -1 */
    int64_t nudged_at;
    double nudge;
} op_case;

typedef void op_case_fn(op_case *t);

hy__tensor op_in(op_case *t, const char *name, int64_t n, double scale); /* uniform ±scale */
hy__tensor op_in_bf16(op_case *t, const char *name, int64_t n, double scale);
hy__tensor op_out(op_case *t, const char *name, int64_t n);     /* NaN */
hy__tensor op_out_add(op_case *t, const char *name, int64_t n); /* random: the kernel adds */
/* An output that starts with the elements of input `in`: for kernels that work in place. */
hy__tensor op_out_from(op_case *t, const char *name, const char *in);
/* The gradient of output `out`, random. */
hy__tensor op_dout(op_case *t, const char *out);
/* The gradient of input `in`: NaN; random (the kernel adds); or starting as output out's gradient.
 */
hy__tensor op_din(op_case *t, const char *in);
hy__tensor op_din_add(op_case *t, const char *in);
hy__tensor op_din_from(op_case *t, const char *in, const char *out);

/* Every backend of this machine, the fast ones with 1 and 3 threads, against ref64: relative
 * error
 * <= tol (see op_error). */
void op_check(const char *what, op_case_fn *fn, const void *shape, double tol);
/* Every gradient of ref64 against central differences of Σ output · its gradient. */
void op_check_grad(const char *what, op_case_fn *fn, const void *shape);

#endif
