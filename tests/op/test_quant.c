/* test_quant.c: the kernels that read quantised weights, on every backend against ref64, which
 * takes every weight for exactly what it stands for: gemm of few and of many rows, group_gemm,
 * embed, pkm_read. */
#include "support/case.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

/* Sums of floats: looked-up rows, and products of what 8 bits hold exactly. Other rows of
 * activations are rounded, each 32 of them by up to 1/254 of their largest: over a sum the errors
 * cancel to below 1% of the largest result. */
static const double TOL_SUM = 1e-5, TOL_ROUNDED = 1e-2;

static const hy__dtype FORMAT[] = {HY__DTYPE_Q8, HY__DTYPE_Q4};
enum { N_FORMAT = 2 };

/* A random quantised matrix, the same for every backend. */
static hy__tensor weights(op_bench *b, hy__dtype dtype, int64_t rows, int64_t cols) {
    double *host = op_random(77, rows * cols, 0.1);
    const hy__tensor t = op_put_quant(b, host, rows * cols, cols, dtype);
    free(host);
    return t;
}

/* ---- gemm ---- */

typedef struct gemm_shape {
    hy__dtype dtype;
    int64_t m, n, k;
    bool accumulate, whole; /* whole: activations that 8 bits hold */
} gemm_shape;

/* Integers up to 127, which is in every group, times a power of two for each row. */
static hy__tensor whole_numbers(op_bench *b, int64_t rows, int64_t ld) {
    double *x = op_random(5, rows * ld, 127.49);
    for (int64_t i = 0; i < rows * ld; i++)
        x[i] = ldexp(i % ld % HY__QUANT_GROUP == 3 ? -127 : rint(x[i]), (int)(i / ld % 9) - 4);
    const hy__tensor t = op_put(b, x, rows * ld);
    free(x);
    return t;
}

static void case_gemm(op_case *t) {
    const gemm_shape *s = t->shape;
    const hy__gemm_args a = {
        .a = s->whole ? whole_numbers(t->b, s->m, s->k) : op_in(t, "a", s->m * s->k, 1.0),
        .b = weights(t->b, s->dtype, s->n, s->k),
        .c = (s->accumulate ? op_out_add : op_out)(t, "c", s->m * s->n),
        .m = s->m,
        .n = s->n,
        .k = s->k,
        .tb = true,
        .accumulate = s->accumulate,
    };
    t->b->be->kernels.gemm(t->b->be, &a);
}

static void test_gemm(void **state) {
    (void)state;
    static const int64_t K[] = {32, 128, 224, 256, 544, 768, 1504};
    static const int64_t M[] = {1, 2, 3, 7, 24, 25, 130};
    for (int f = 0; f < N_FORMAT; f++)
        for (size_t k = 0; k < sizeof K / sizeof *K; k++)
            for (size_t m = 0; m < sizeof M / sizeof *M; m++) {
                gemm_shape s = {.dtype = FORMAT[f],
                                .m = M[m],
                                .n = 33 + (int64_t)k,
                                .k = K[k],
                                .accumulate = m % 2};
                op_check("gemm of quantised weights", case_gemm, &s, TOL_ROUNDED);
                s.whole = true;
                op_check("gemm of whole numbers", case_gemm, &s, TOL_SUM);
            }
}

/* Several tiles of rows and threads. */
static void test_gemm_tall(void **state) {
    (void)state;
    for (int f = 0; f < N_FORMAT; f++) {
        const gemm_shape few = {.dtype = FORMAT[f], .m = 2, .n = 2001, .k = 128};
        const gemm_shape many = {.dtype = FORMAT[f], .m = 29, .n = 2001, .k = 128};
        op_check("gemm of few rows and a tall matrix", case_gemm, &few, TOL_ROUNDED);
        op_check("gemm of many rows and a tall matrix", case_gemm, &many, TOL_ROUNDED);
    }
}

/* x·wᵀ of m rows of x[m,k] in the host's memory. */
static hy__gemm_args product(op_bench *b, const double *x, hy__dtype dtype, int64_t m, int64_t n,
                             int64_t k) {
    return (hy__gemm_args){.a = op_put(b, x, m * k),
                           .b = weights(b, dtype, n, k),
                           .c = op_nan(b, m * n),
                           .m = m,
                           .n = n,
                           .k = k,
                           .tb = true};
}

/* A row of a product is the same whatever rows stand beside it: the same bits while they are few,
 * and but for the order of the sum over groups when they are many. */
static void test_rows_alone(void **state) {
    (void)state;
    enum { N = 71, K = 800, MOST = 140 };
    static const int64_t M[] = {8, 30, MOST};
    double *ha = op_random(1, MOST * K, 1.0), all[MOST * N], one[MOST * N];
    for (const char *const *name = hy__backend_names(); *name; name++)
        for (int f = 0; f < N_FORMAT; f++)
            for (size_t i = 0; i < sizeof M / sizeof *M; i++) {
                op_bench b;
                op_open(&b, *name, 2);
                hy__gemm_args g = product(&b, ha, FORMAT[f], M[i], N, K);
                const hy__tensor a = g.a, row = op_nan(&b, M[i] * N);
                b.be->kernels.gemm(b.be, &g);
                op_get(&b, all, g.c, M[i] * N);
                g.m = 1;
                for (int64_t r = 0; r < M[i]; r++) {
                    g.a = hy__at(a, r * K);
                    g.c = hy__at(row, r * N);
                    b.be->kernels.gemm(b.be, &g);
                }
                op_get(&b, one, row, M[i] * N);
                op_expect("rows alone", *name, all, one, M[i] * N, i == 0 ? 0 : TOL_SUM);
                op_close(&b);
            }
    free(ha);
}

/* A number that is not finite makes its row NaN, and no other. */
static void test_not_finite(void **state) {
    (void)state;
    enum { N = 40, K = 544, MOST = 140 };
    static const int64_t M[] = {3, 30, MOST};
    double *ha = op_random(1, MOST * K, 1.0), c[MOST * N];
    ha[K + 70] = (double)NAN;
    ha[2 * K + 543] = (double)INFINITY;
    for (const char *const *name = hy__backend_names(); *name; name++)
        for (int f = 0; f < N_FORMAT; f++)
            for (size_t i = 0; i < sizeof M / sizeof *M; i++) {
                op_bench b;
                op_open(&b, *name, 2);
                const hy__gemm_args g = product(&b, ha, FORMAT[f], M[i], N, K);
                b.be->kernels.gemm(b.be, &g);
                op_get(&b, c, g.c, M[i] * N);
                for (int64_t j = 0; j < M[i] * N; j++)
                    assert_true((j / N == 1 || j / N == 2) == !isfinite(c[j]));
                op_close(&b);
            }
    free(ha);
}

/* ---- group_gemm ---- */

enum { N_GROUP = 6, N_ROW = 77 };
static const int32_t OFFSET[N_GROUP + 1] = {0, 0, 1, 6, 6, 77, 77};

static void case_group(op_case *t) {
    const gemm_shape *s = t->shape;
    const hy__group_gemm_args a = {
        .kind = HY__GROUP_GEMM_FORWARD,
        .a = op_in(t, "a", N_ROW * s->k, 1.0),
        .w = weights(t->b, s->dtype, N_GROUP * s->n, s->k),
        .c = op_out(t, "c", N_ROW * s->n),
        .offset = op_put_i32(t->b, OFFSET, N_GROUP + 1),
        .n_group = N_GROUP,
        .n_row = N_ROW,
        .n = s->n,
        .k = s->k,
    };
    t->b->be->kernels.group_gemm(t->b->be, &a);
}

static void test_group_gemm(void **state) {
    (void)state;
    for (int f = 0; f < N_FORMAT; f++) {
        const gemm_shape s = {.dtype = FORMAT[f], .n = 63, .k = 288};
        op_check("group_gemm of quantised weights", case_group, &s, TOL_ROUNDED);
    }
}

/* ---- rows ---- */

static void case_embed(op_case *t) {
    enum { N_TOKEN = 7, VOCAB = 11 };
    static const int32_t token[N_TOKEN] = {0, 10, 5, 3, 3, 0, 10};
    const gemm_shape *s = t->shape;
    const hy__embed_args a = {.token = op_put_i32(t->b, token, N_TOKEN),
                              .x = op_out(t, "x", N_TOKEN * s->k),
                              .table = weights(t->b, s->dtype, VOCAB, s->k),
                              .n_row = N_TOKEN,
                              .dim = s->k,
                              .vocab = VOCAB};
    t->b->be->kernels.embed(t->b->be, &a);
}

static void case_pkm_read(op_case *t) {
    enum { ROWS = 5, HEAD = 2, K = 3, VALUES = 16 };
    int32_t idx[ROWS * HEAD * K];
    for (int i = 0; i < ROWS * HEAD * K; i++) idx[i] = i * 7 % VALUES;
    const gemm_shape *s = t->shape;
    const hy__pkm_read_args a = {.y = op_out(t, "y", ROWS * s->k),
                                 .weight = op_out(t, "weight", ROWS * HEAD * K),
                                 .idx = op_put_i32(t->b, idx, ROWS * HEAD * K),
                                 .score = op_in(t, "score", ROWS * HEAD * K, 2.0),
                                 .table = weights(t->b, s->dtype, VALUES, s->k),
                                 .n_row = ROWS,
                                 .n_head = HEAD,
                                 .k = K,
                                 .d_value = s->k,
                                 .n_value = VALUES};
    t->b->be->kernels.pkm_read(t->b->be, &a);
}

static void test_rows(void **state) {
    (void)state;
    static const int64_t COLS[] = {32, 512, 544, 1120};
    for (int f = 0; f < N_FORMAT; f++)
        for (size_t i = 0; i < sizeof COLS / sizeof *COLS; i++) {
            const gemm_shape s = {.dtype = FORMAT[f], .k = COLS[i]};
            op_check("embed of quantised rows", case_embed, &s, TOL_SUM);
            op_check("pkm_read of quantised rows", case_pkm_read, &s, TOL_SUM);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gemm),       cmocka_unit_test(test_gemm_tall),
        cmocka_unit_test(test_rows_alone), cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_group_gemm), cmocka_unit_test(test_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
