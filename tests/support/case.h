/* case.h: one case of a kernel, run on every backend and held against the reference in double.
 *
 * A run is a function that puts its inputs on a bench, calls the kernels and keeps what they wrote.
 * op_judge runs it on ref64 and then on every backend of this machine, the fast ones with one
 * thread and with three: reals within a tolerance, integers equal, and a second run equal bit for
 * bit. An element that ref64 leaves NaN (a gap between strided rows) must be left by every backend.
 *
 * A case is a run that declares its arrays by name and role, so that the same function also gives
 * the central differences of every gradient: op_check and op_check_grad. Inputs are random but the
 * same everywhere, outputs start as NaN. */
#ifndef TESTS_SUPPORT_CASE_H
#define TESTS_SUPPORT_CASE_H

#include "support/op.h"

enum { OP_CASE_ARRAYS = 64 };

/* ---- runs ---- */

typedef struct op_output {
    char name[40];
    double *data;
    int64_t n;
    bool exact; /* integers */
} op_output;

typedef struct op_result {
    op_output out[OP_CASE_ARRAYS];
    int n_out;
} op_result;

typedef void op_run_fn(op_bench *b, const void *user, op_result *out);

/* Appends a tensor of n reals or int32 to what the run wrote. */
void op_keep(op_result *r, op_bench *b, const char *name, hy__tensor t, int64_t n);
const double *op_kept(const op_result *r, const char *name); /* aborts when there is none */
void op_result_free(op_result *r);

/* Runs once on an own bench; the caller frees the result. */
op_result op_run(op_run_fn *run, const void *user, const char *backend, int n_thread);

/* Every backend against ref64: relative error <= tol (see op_error). */
void op_judge(const char *what, op_run_fn *run, const void *user, double tol);

/* Fails unless grad[n] are the central differences of f at x[n] (step 1e-5), relative to the
 * largest of them. */
void op_expect_slope(const char *what, double (*f)(void *user), void *user, double *x,
                     const double *grad, int64_t n, double tol);

/* ---- cases ---- */

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

/* op_judge of the case. */
void op_check(const char *what, op_case_fn *fn, const void *shape, double tol);
/* Every gradient of ref64 against central differences of Σ output · its gradient. */
void op_check_grad(const char *what, op_case_fn *fn, const void *shape);

#endif
