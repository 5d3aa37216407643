/* test_gemm.c: gemm and group_gemm of every backend against ref64: all transpositions,
 * bf16 operands, few and many rows; the counters of group_gemm. */
#include "support/case.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

/* fp32: sums of up to 1300 products of order one round to about 1e-6 of the largest result.
 * bf16: the operands keep 8 bits, 2^-9 each, on backends that multiply them so and not on others;
 * over a sum the errors cancel to below 1% of the largest result, when the shape has enough results
 * that not all of them are small by chance. */
static const double TOL_FP32 = 1e-5, TOL_BF16 = 1e-2;

typedef struct gemm_shape {
    int64_t m, n, k;
} gemm_shape;

typedef struct gemm_variant {
    gemm_shape s;
    bool ta, tb, accumulate, a_bf16, b_bf16;
    hy__prec prec;
} gemm_variant;

/* A in bf16 is for backends that multiply it; others get the same numbers, widened. */
static hy__tensor left_bf16(op_case *t, int64_t n) {
    const hy__tensor narrow = op_in_bf16(t, "a", n, 1.0), wide = op_nan(t->b, n);
    if (t->b->be->has_bf16) return narrow;
    t->b->be->kernels.copy(t->b->be, &(hy__copy_args){.dst = wide, .src = narrow, .n = n});
    return wide;
}

static void case_gemm(op_case *t) {
    const gemm_variant *v = t->shape;
    const gemm_shape *s = &v->s;
    hy__gemm_args a = {
        .m = s->m,
        .n = s->n,
        .k = s->k,
        .ta = v->ta,
        .tb = v->tb,
        .accumulate = v->accumulate,
        .prec = v->prec,
    };
    a.a = v->a_bf16 ? left_bf16(t, s->m * s->k) : op_in(t, "a", s->m * s->k, 1.0);
    a.b = (v->b_bf16 ? op_in_bf16 : op_in)(t, "b", s->k * s->n, 1.0);
    a.c = (v->accumulate ? op_out_add : op_out)(t, "c", s->m * s->n);
    t->b->be->kernels.gemm(t->b->be, &a);
}

static void test_gemm(void **state) {
    (void)state;
    static const gemm_shape SHAPES[] = {
        {1, 1, 1},      {1, 257, 63}, {3, 63, 257}, {8, 129, 256}, {63, 65, 31},
        {130, 96, 200}, {5, 17, 33},  {40, 33, 17}, {40, 1, 700},
    };
    for (size_t i = 0; i < sizeof SHAPES / sizeof *SHAPES; i++) {
        for (int bits = 0; bits < 8; bits++) {
            gemm_variant v = {
                .s = SHAPES[i], .ta = bits & 1, .tb = bits & 2, .accumulate = bits & 4};
            op_check("gemm", case_gemm, &v, TOL_FP32);
            if (v.s.m * v.s.n == 1) continue; /* see TOL_BF16 */
            v.prec = HY__PREC_BF16;
            op_check("gemm with prec bf16", case_gemm, &v, TOL_BF16);
            v.b_bf16 = true;
            v.prec = HY__PREC_FP32;
            op_check("gemm with b bf16", case_gemm, &v, TOL_BF16);
            v.b_bf16 = false;
            v.a_bf16 = true;
            op_check("gemm with a bf16", case_gemm, &v, TOL_BF16);
        }
    }
}

/* Wide enough that bf16 weights are widened in more than one tile where bf16 is not multiplied. */
static void test_gemm_wide(void **state) {
    (void)state;
    static const gemm_variant WIDE[] = {
        {.s = {12, 1500, 700}, .tb = true, .b_bf16 = true},
        {.s = {12, 1500, 700}, .b_bf16 = true, .accumulate = true},
        {.s = {1, 1500, 700}, .tb = true, .b_bf16 = true, .accumulate = true},
    };
    for (size_t i = 0; i < sizeof WIDE / sizeof *WIDE; i++)
        op_check("wide gemm with b bf16", case_gemm, &WIDE[i], TOL_BF16);
}

/* A row of few-row products is the same whatever rows stand beside it: decoding a sequence alone or
 * in a batch gives the same bits. */
static void test_gemv_rows(void **state) {
    (void)state;
    enum { M = 8, N = 71, K = 133 };
    double *ha = op_random(1, M * K, 1.0), *hb = op_random(2, N * K, 1.0), all[M * N], one[M * N];
    for (const char *const *name = hy__backend_names(); *name; name++) {
        op_bench b;
        op_open(&b, *name, 2);
        hy__gemm_args g = {.a = op_put(&b, ha, M * K),
                           .b = op_put(&b, hb, N * K),
                           .c = op_nan(&b, M * N),
                           .m = M,
                           .n = N,
                           .k = K,
                           .tb = true};
        const hy__tensor row = op_nan(&b, M * N);
        b.be->kernels.gemm(b.be, &g);
        op_get(&b, all, g.c, M * N);
        const hy__tensor a = g.a;
        g.m = 1;
        for (int64_t i = 0; i < M; i++) {
            g.a = hy__at(a, i * K);
            g.c = hy__at(row, i * N);
            b.be->kernels.gemm(b.be, &g);
        }
        op_get(&b, one, row, M * N);
        op_expect("rows of gemm alone", *name, all, one, M * N, 0);
        op_close(&b);
    }
    free(ha);
    free(hb);
}

/* ---- group_gemm ---- */

enum { N_GROUP = 6 };

/* Empty groups at both ends and between; one row, few rows, many rows. */
static const int32_t OFFSET[N_GROUP + 1] = {0, 0, 1, 6, 6, 77, 77};
enum { N_ROW = 77 };

typedef struct group_variant {
    hy__group_gemm_kind kind;
    int64_t n, k;
    bool w_bf16;
    hy__prec prec;
} group_variant;

static void case_group(op_case *t) {
    const group_variant *v = t->shape;
    const bool data = v->kind == HY__GROUP_GEMM_DATA, weight = v->kind == HY__GROUP_GEMM_WEIGHT;
    const int64_t n_w = N_GROUP * v->n * v->k, n_c = N_ROW * (data ? v->k : v->n);
    hy__group_gemm_args a = {
        .kind = v->kind,
        .a = op_in(t, "a", N_ROW * (data ? v->n : v->k), 1.0),
        .offset = op_put_i32(t->b, OFFSET, N_GROUP + 1),
        .n_group = N_GROUP,
        .n_row = N_ROW,
        .n = v->n,
        .k = v->k,
        .prec = v->prec,
    };
    a.c = weight ? op_in(t, "c", n_c, 1.0) : op_out(t, "c", n_c);
    if (weight)
        a.w = op_out_add(t, "w", n_w);
    else
        a.w = (v->w_bf16 ? op_in_bf16 : op_in)(t, "w", n_w, 1.0);
    t->b->be->counters = (hy__counters){0};
    t->b->be->kernels.group_gemm(t->b->be, &a);
    assert_int_equal(t->b->be->counters.expert_rows, N_ROW);
    assert_int_equal(t->b->be->counters.experts_read, 3);
}

static void test_group_gemm(void **state) {
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        for (int wide = 0; wide < 2; wide++) {
            group_variant v = {
                .kind = (hy__group_gemm_kind)kind, .n = wide ? 257 : 63, .k = wide ? 130 : 31};
            op_check("group_gemm", case_group, &v, TOL_FP32);
            v.prec = HY__PREC_BF16;
            op_check("group_gemm with prec bf16", case_group, &v, TOL_BF16);
            v.w_bf16 = kind != HY__GROUP_GEMM_WEIGHT;
            op_check("group_gemm with w bf16", case_group, &v, TOL_BF16);
        }
    }
}

/* The weights of a group without rows are not read: they may be anything, even unmapped garbage. */
static void test_empty_groups(void **state) {
    (void)state;
    enum { N = 9, K = 7, ROWS = 2 };
    static const int32_t off[4] = {0, 0, ROWS, ROWS};
    double *ha = op_random(1, ROWS * K, 1.0), *hw = op_random(2, N * K, 1.0), c[ROWS * N];
    for (const char *const *name = hy__backend_names(); *name; name++) {
        op_bench b;
        op_open(&b, *name, 1);
        const hy__group_gemm_args a = {
            .a = op_put(&b, ha, ROWS * K),
            .w = op_nan(&b, 3 * N * K),
            .c = op_nan(&b, ROWS * N),
            .offset = op_put_i32(&b, off, 4),
            .n_group = 3,
            .n_row = ROWS,
            .n = N,
            .k = K,
        };
        hy__tensor_write_f64(b.be, hy__at(a.w, N * K), hw, N * K);
        b.be->kernels.group_gemm(b.be, &a);
        op_get(&b, c, a.c, ROWS * N);
        for (int i = 0; i < ROWS * N; i++) assert_true(c[i] == c[i]);
        op_close(&b);
    }
    free(ha);
    free(hw);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gemm),         cmocka_unit_test(test_gemm_wide),
        cmocka_unit_test(test_gemv_rows),    cmocka_unit_test(test_group_gemm),
        cmocka_unit_test(test_empty_groups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
