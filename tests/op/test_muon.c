/* test_muon.c: Muon's kernels on every backend against ref64; and its whole update of a parameter
 * against the equations written out in double: tall, wide, one row, one column, stacked, without a
 * gradient. */
#include "model/component.h"
#include "support/case.h"
#include "support/op.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- kernels ---- */

static const int64_t SIZES[] = {1, 63, 257, 4096, 100003};
static const double TOL = 2e-6; /* roundings of fp32, and of a sum of squares in blocks */

static void case_momentum(op_case *t) {
    const int64_t n = *(const int64_t *)t->shape;
    const hy__momentum_args a = {.u = op_out(t, "u", n),
                                 .m = op_out_add(t, "m", n),
                                 .g = op_in(t, "g", n, 3.0),
                                 .n = n,
                                 .beta = 0.95,
                                 .g_scale = 0.25};
    t->b->be->kernels.momentum(t->b->be, &a);
}

/* A gradient of zeros leaves m as it is and has no direction. */
static void case_momentum_still(op_case *t) {
    const int64_t n = *(const int64_t *)t->shape;
    const hy__momentum_args a = {.u = op_out(t, "u", n),
                                 .m = op_out_add(t, "m", n),
                                 .g = op_zero(t->b, n),
                                 .n = n,
                                 .beta = 0.95,
                                 .g_scale = 0.25};
    t->b->be->kernels.momentum(t->b->be, &a);
}

static void case_polynomial(op_case *t) {
    const int64_t n = *(const int64_t *)t->shape % 300;
    const hy__tensor y = op_out_add(t, "y", n * n); /* in place, as Muon does */
    const hy__polynomial_args a = {
        .p = y, .x = op_in(t, "x", n * n, 1.0), .y = y, .n = n, .a = 3.4, .b = -4.7, .c = 2.0};
    t->b->be->kernels.polynomial(t->b->be, &a);
}

static void case_axpby(op_case *t) {
    const int64_t n = *(const int64_t *)t->shape;
    const hy__axpby_args a = {
        .y = op_out_add(t, "y", n), .x = op_in(t, "x", n, 2.0), .n = n, .a = 0.75, .b = -0.3};
    t->b->be->kernels.axpby(t->b->be, &a);
}

static void test_kernels(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof SIZES / sizeof *SIZES; i++) {
        op_check("momentum", case_momentum, &SIZES[i], TOL);
        op_check("momentum of no gradient", case_momentum_still, &SIZES[i], TOL);
        op_check("polynomial", case_polynomial, &SIZES[i], TOL);
        op_check("axpby", case_axpby, &SIZES[i], TOL);
    }
}

/* ---- the update ---- */

typedef struct problem {
    int64_t n, rows, cols;
    double *p, *m, *g; /* [n, rows, cols] */
} problem;

static const double LR = 0.02, DECAY = 0.1, BETA = 0.95, G_SCALE = 0.5;

/* x <- a·x + b·(xxᵀ)x + c·(xxᵀ)²x, whichever side is shorter: the two are the same. */
static void polynomial_step(double *x, int64_t r, int64_t c) {
    double *gram = calloc((size_t)(r * r), sizeof *gram),
           *once = calloc((size_t)(r * c), sizeof *once);
    double *twice = calloc((size_t)(r * c), sizeof *twice);
    for (int64_t i = 0; i < r; i++)
        for (int64_t j = 0; j < r; j++)
            for (int64_t k = 0; k < c; k++) gram[i * r + j] += x[i * c + k] * x[j * c + k];
    for (int64_t i = 0; i < r; i++)
        for (int64_t j = 0; j < r; j++)
            for (int64_t k = 0; k < c; k++) once[i * c + k] += gram[i * r + j] * x[j * c + k];
    for (int64_t i = 0; i < r; i++)
        for (int64_t j = 0; j < r; j++)
            for (int64_t k = 0; k < c; k++) twice[i * c + k] += gram[i * r + j] * once[j * c + k];
    for (int64_t i = 0; i < r * c; i++) x[i] = 3.4445 * x[i] - 4.7750 * once[i] + 2.0315 * twice[i];
    free(gram);
    free(once);
    free(twice);
}

static void update_plainly(const problem *t) {
    const int64_t size = t->rows * t->cols;
    const double longest = (double)(t->rows > t->cols ? t->rows : t->cols);
    double *x = malloc((size_t)size * sizeof *x);
    for (int64_t e = 0; e < t->n; e++) {
        double *p = t->p + e * size, *m = t->m + e * size, norm = 0, moved = 0;
        const double *g = t->g + e * size;
        for (int64_t i = 0; i < size; i++) moved += fabs(g[i]);
        for (int64_t i = 0; i < size; i++) {
            if (moved > 0) m[i] = BETA * m[i] + (1 - BETA) * G_SCALE * g[i];
            x[i] = moved > 0 ? BETA * m[i] + (1 - BETA) * G_SCALE * g[i] : 0;
            norm += x[i] * x[i];
        }
        for (int64_t i = 0; i < size && norm > 0; i++) x[i] /= sqrt(norm);
        for (int i = 0; i < 5; i++) polynomial_step(x, t->rows, t->cols);
        for (int64_t i = 0; i < size; i++)
            p[i] = (1 - LR * DECAY) * p[i] - LR * 0.2 * sqrt(longest) * x[i];
    }
    free(x);
}

static void update_by_kernels(const problem *t, const char *name, hy__prec prec, double *p,
                              double *m) {
    op_bench b;
    op_open(&b, name, 2);
    const int64_t n = t->n * t->rows * t->cols;
    const hy__param_decl d = {
        .group = HY__GROUP_MATRIX, .n_dim = 3, .shape = {t->n, t->rows, t->cols}};
    const hy__matrices at = hy__muon_matrices(&d, HY__OPTIMIZER_MUON);
    assert_true(at.n == t->n && at.rows == t->rows && at.cols == t->cols);
    const size_t scratch = hy__muon_scratch(&at, b.be->real) / hy__dtype_size(b.be->real);
    const hy__muon_args a = {.be = b.be,
                             .at = at,
                             .p = op_put(&b, t->p, n),
                             .m = op_put(&b, t->m, n),
                             .g = op_put(&b, t->g, n),
                             .scratch = op_nan(&b, (int64_t)scratch),
                             .prec = prec,
                             .lr = LR,
                             .weight_decay = DECAY,
                             .momentum = BETA,
                             .g_scale = G_SCALE};
    hy__muon_update(&a);
    op_get(&b, p, a.p, n);
    op_get(&b, m, a.m, n);
    op_close(&b);
}

/* The second matrix of a stack has no gradient. The polynomial multiplies an error by up to 3.4
 * five times: 3.4⁵ = 480 roundings. In bf16 (2⁻⁹) it is the size of the directions that counts:
 * the step is off by a part that no training notices (docs/training.md). */
static void check_update(int64_t n, int64_t rows, int64_t cols) {
    const int64_t size = rows * cols, all = n * size;
    problem t = {.n = n,
                 .rows = rows,
                 .cols = cols,
                 .p = op_random(1, all, 1.0),
                 .m = op_random(2, all, 0.1),
                 .g = op_random(3, all, 1.0)};
    if (n > 1) memset(t.g + size, 0, (size_t)size * sizeof *t.g);
    for (const char *const *name = hy__backend_names(); *name; name++) {
        double *p = malloc((size_t)all * sizeof *p), *m = malloc((size_t)all * sizeof *m);
        double *p16 = malloc((size_t)all * sizeof *p), *m16 = malloc((size_t)all * sizeof *m);
        problem want = t;
        want.p = malloc((size_t)all * sizeof *p);
        want.m = malloc((size_t)all * sizeof *m);
        memcpy(want.p, t.p, (size_t)all * sizeof *p);
        memcpy(want.m, t.m, (size_t)all * sizeof *m);
        update_plainly(&want);
        const double tol = strcmp(*name, "ref64") == 0 ? 1e-12 : 3e-5;
        update_by_kernels(&t, *name, HY__PREC_FP32, p, m);
        op_expect("updated weights", *name, want.p, p, all, tol);
        op_expect("momentum", *name, want.m, m, all, tol);
        update_by_kernels(&t, *name, HY__PREC_BF16, p16, m16);
        op_expect("updated weights, bf16", *name, want.p, p16, all, 0.01);
        free(p), free(m), free(p16), free(m16), free(want.p), free(want.m);
    }
    free(t.p), free(t.m), free(t.g);
}

static void test_update(void **state) {
    (void)state;
    check_update(1, 16, 16);
    check_update(1, 63, 17);   /* tall */
    check_update(1, 17, 63);   /* wide */
    check_update(1, 192, 192); /* large enough for bf16 */
    check_update(1, 1, 33);
    check_update(1, 33, 1);
    check_update(1, 1, 1);
    check_update(3, 5, 24);
    check_update(2, 24, 5);
}

/* Singular values between 0.6 and 1.3, of whatever scale and spread the gradient was: here a
 * diagonal one, whose singular values are its elements. */
static void test_orthogonal(void **state) {
    (void)state;
    enum { N = 8 };
    for (double scale = 1e-12; scale < 1e13; scale *= 1e6) {
        double g[N * N] = {0}, zero[N * N] = {0}, p[N * N], m[N * N];
        for (int i = 0; i < N; i++) g[i * N + i] = scale * (1.0 + i) * (i % 2 ? 1 : -1);
        const problem t = {.n = 1, .rows = N, .cols = N, .p = zero, .m = zero, .g = g};
        for (const char *const *name = hy__backend_names(); *name; name++) {
            update_by_kernels(&t, *name, HY__PREC_FP32, p, m);
            for (int i = 0; i < N * N; i++) {
                const double x = p[i] / (-LR * 0.2 * sqrt(N));
                const double wanted = i % (N + 1) ? 0 : (i / N % 2 ? 1 : -1);
                if (!(fabs(x - wanted) < 0.4))
                    fail_msg("%s: element %d of the direction of %g is %g", *name, i, scale, x);
            }
        }
    }
}

/* What is left to AdamW. */
static void test_which(void **state) {
    (void)state;
    hy__param_decl d = {.group = HY__GROUP_MATRIX, .n_dim = 2, .shape = {3, 4}};
    assert_int_equal(hy__muon_matrices(&d, HY__OPTIMIZER_ADAMW).n, 0);
    assert_int_equal(hy__muon_matrices(&d, HY__OPTIMIZER_MUON).n, 1);
    for (hy__group g = HY__GROUP_EMBED; g <= HY__GROUP_ROUTER; g++) {
        d.group = g;
        assert_int_equal(hy__muon_matrices(&d, HY__OPTIMIZER_MUON).n, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kernels),
        cmocka_unit_test(test_update),
        cmocka_unit_test(test_orthogonal),
        cmocka_unit_test(test_which),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
