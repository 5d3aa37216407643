/* op.c: see op.h. */
#include "support/op.h"

#include "backend/cpu/cpu.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

void op_open(op_bench *b, const char *backend, int n_thread) {
    *b = (op_bench){0};
    hy_error err = {0};
    if (hy__backend_open(&b->be, backend, n_thread, &err) != HY_OK) fail_msg("%s", err.text);
}

void op_clear(op_bench *b) {
    for (int i = 0; i < b->n_buf; i++) {
        b->be->buffer_free(b->be, b->buf[i]);
        free(b->buf[i]);
    }
    b->n_buf = 0;
}

void op_close(op_bench *b) {
    op_clear(b);
    hy__backend_free(b->be);
    b->be = NULL;
}

static hy__tensor op_new(op_bench *b, hy__dtype dtype, int64_t n) {
    assert_true(b->n_buf < (int)(sizeof b->buf / sizeof *b->buf));
    hy__buffer *buf = calloc(1, sizeof *buf);
    hy_error err = {0};
    if (b->be->buffer_new(b->be, hy__tensor_bytes(dtype, n), buf, &err) != HY_OK) {
        fail_msg("%s", err.text);
    }
    b->buf[b->n_buf++] = buf;
    return (hy__tensor){.buf = buf, .dtype = dtype};
}

hy__tensor op_put(op_bench *b, const double *host, int64_t n) {
    const hy__tensor t = op_new(b, b->be->real, n);
    hy__tensor_write_f64(b->be, t, host, n);
    return t;
}

hy__tensor op_nan(op_bench *b, int64_t n) {
    double *nan_host = malloc((size_t)n * sizeof *nan_host + 1);
    for (int64_t i = 0; i < n; i++) nan_host[i] = (double)NAN;
    const hy__tensor t = op_put(b, nan_host, n);
    free(nan_host);
    return t;
}

hy__tensor op_zero(op_bench *b, int64_t n) {
    const hy__tensor t = op_new(b, b->be->real, n);
    b->be->zero(b->be, t, (size_t)n * hy__dtype_size(t.dtype));
    return t;
}

hy__tensor op_put_bf16(op_bench *b, const double *host, int64_t n) {
    const hy__tensor t = op_new(b, HY__DTYPE_BF16, n);
    uint16_t *half = malloc((size_t)n * sizeof *half + 1);
    for (int64_t i = 0; i < n; i++) half[i] = hy__f32_to_bf16((float)host[i]);
    b->be->write(b->be, t, half, (size_t)n * sizeof *half);
    free(half);
    return t;
}

hy__tensor op_put_quant(op_bench *b, const double *host, int64_t n, int64_t cols, hy__dtype dtype) {
    const hy__tensor t = op_new(b, dtype, n);
    for (int64_t i = 0; i < n; i += cols) hy__tensor_write_f64(b->be, hy__at(t, i), host + i, cols);
    return t;
}

hy__tensor op_put_i32(op_bench *b, const int32_t *host, int64_t n) {
    const hy__tensor t = op_new(b, HY__DTYPE_I32, n);
    b->be->write(b->be, t, host, (size_t)n * sizeof *host);
    return t;
}

hy__tensor op_nan_i32(op_bench *b, int64_t n) {
    int32_t *host = malloc((size_t)n * sizeof *host + 1);
    for (int64_t i = 0; i < n; i++) host[i] = -77;
    const hy__tensor t = op_put_i32(b, host, n);
    free(host);
    return t;
}

void op_get(op_bench *b, double *host, hy__tensor t, int64_t n) {
    hy__tensor_read_f64(b->be, host, t, n);
}

void op_get_i32(op_bench *b, int32_t *host, hy__tensor t, int64_t n) {
    b->be->read(b->be, host, t, (size_t)n * sizeof *host);
}

double *op_random(uint64_t seed, int64_t n, double scale) {
    double *x = malloc((size_t)n * sizeof *x + 1);
    uint64_t s = seed * 0x9E3779B97F4A7C15u + 0x1234567u;
    for (int64_t i = 0; i < n; i++) { /* splitmix64 */
        s += 0x9E3779B97F4A7C15u;
        uint64_t z = s;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        z ^= z >> 31;
        /* a float value, so that float and double backends start from the same number */
        x[i] = (double)(float)(scale * ((double)(z >> 11) / 4503599627370496.0 - 1.0));
    }
    return x;
}

double op_error(const double *want, const double *got, int64_t n) {
    double top = 1e-30, worst = 0;
    for (int64_t i = 0; i < n; i++) {
        const double diff = fabs(got[i] - want[i]);
        if (isnan(diff)) return (double)INFINITY;
        if (fabs(want[i]) > top) top = fabs(want[i]);
        if (diff > worst) worst = diff;
    }
    return worst / top;
}

void op_expect(const char *what, const char *backend, const double *want, const double *got,
               int64_t n, double tol) {
    const double e = op_error(want, got, n);
    if (!(e <= tol)) fail_msg("%s on %s: relative error %.3g exceeds %.3g", what, backend, e, tol);
}

double op_slope(double (*f)(void *user), void *user, double *x, double h) {
    const double at = *x;
    *x = at + h;
    const double up = f(user);
    *x = at - h;
    const double down = f(user);
    *x = at;
    return (up - down) / (2 * h);
}
