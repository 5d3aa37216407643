/* judge.h: one case of a kernel, run on every backend and held against the reference in double.
 *
 * A case is a function that puts its inputs on a bench, calls the kernels and keeps what they
 * wrote. op_judge runs it on ref64 and then on every backend of this machine, with one thread and
 * with three: reals within a tolerance, integers equal, and a second run equal bit for bit. */
#ifndef TESTS_SUPPORT_JUDGE_H
#define TESTS_SUPPORT_JUDGE_H

#include "support/op.h"

typedef struct op_output {
    const char *name;
    double *data;
    int64_t n;
    bool exact; /* integers */
} op_output;

typedef struct op_result {
    op_output out[16];
    int n_out;
} op_result;

typedef void (*op_case)(op_bench *b, const void *user, op_result *out);

/* Appends a tensor of n reals or int32 to what the case wrote. */
void op_keep(op_result *r, op_bench *b, const char *name, hy__tensor t, int64_t n);
const double *op_kept(const op_result *r, const char *name); /* aborts when there is none */
void op_result_free(op_result *r);

/* Runs the case once on an own bench; the caller frees the result. */
op_result op_run(op_case run, const void *user, const char *backend, int n_thread);

void op_judge(const char *what, op_case run, const void *user, double tol);

/* Fails unless grad[n] are the central differences of f at x[n] (step 1e-5), relative to the
 * largest of them. */
void op_expect_slope(const char *what, double (*f)(void *user), void *user, double *x,
                     const double *grad, int64_t n, double tol);

#endif
