/* op.h: what the kernel tests share: tensors filled with random numbers or NaN on any backend, and
 * comparison with the reference in double. */
#ifndef TESTS_SUPPORT_OP_H
#define TESTS_SUPPORT_OP_H

#include "backend/backend.h"

/* One backend and the tensors a test made on it; freed together. */
typedef struct op_bench {
    hy__backend *be;
    hy__buffer *buf[512];
    int n_buf;
} op_bench;

void op_open(op_bench *b, const char *backend, int n_thread); /* aborts when it cannot */
void op_close(op_bench *b);
void op_clear(op_bench *b); /* frees the tensors, keeps the backend */

/* Tensors of n elements: from doubles, all NaN (reals) or all -77 (I32), zeros, from int32. */
hy__tensor op_put(op_bench *b, const double *host, int64_t n);
hy__tensor op_nan(op_bench *b, int64_t n);
hy__tensor op_zero(op_bench *b, int64_t n);
hy__tensor op_put_bf16(op_bench *b, const double *host, int64_t n); /* rounded */
hy__tensor op_put_quant(op_bench *b, const double *host, int64_t n, int64_t cols, hy__dtype dtype);
hy__tensor op_put_i32(op_bench *b, const int32_t *host, int64_t n);
hy__tensor op_nan_i32(op_bench *b, int64_t n);
void op_get(op_bench *b, double *host, hy__tensor t, int64_t n);
void op_get_i32(op_bench *b, int32_t *host, hy__tensor t, int64_t n);

/* n reproducible numbers, uniform in [-scale, scale]; the caller frees. */
double *op_random(uint64_t seed, int64_t n, double scale);

/* max |got - want| / max(|want|_max, 1e-30): infinite when got holds a NaN. */
double op_error(const double *want, const double *got, int64_t n);

/* Fails the test (cmocka) with a sentence when op_error exceeds tol. */
void op_expect(const char *what, const char *backend, const double *want, const double *got,
               int64_t n, double tol);

/* Central differences: the derivative of f at x[i] with step h, (f(x+h) - f(x-h)) / 2h. */
double op_slope(double (*f)(void *user), void *user, double *x, double h);

#endif
