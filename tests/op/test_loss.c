/* test_loss.c: cross_entropy, adamw and sqsum of every backend against ref64, the gradient of the
 * loss against finite differences, and one AdamW step against numbers worked by hand. */
#include "support/case.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

/* Sums of some hundred fp32 terms; exp in simd.h is exact to 1e-7. */
static const double TOL = 1e-5;
static const double TOL_BF16 = 8e-3; /* 8 bits: numbers that agree to fp32 may round apart, 2^-7 */
static const double SCALE = 0.37;    /* of the loss' gradient */

typedef struct loss_shape {
    int64_t n_row, vocab;
} loss_shape;

/* Once without the gradient, which leaves the logits alone, and once with it. */
static void case_cross_entropy(op_case *t) {
    const loss_shape *s = t->shape;
    int32_t *target = malloc((size_t)s->n_row * sizeof *target);
    for (int64_t r = 0; r < s->n_row; r++)
        target[r] = r % 5 == 3 ? -1 : (int32_t)(r * 77 % s->vocab);
    (void)op_in(t, "logits", s->n_row * s->vocab, 8.0);
    hy__cross_entropy_args a = {
        .logits = op_out_from(t, "same logits", "logits"),
        .nll = op_out(t, "nll", s->n_row),
        .target = op_put_i32(t->b, target, s->n_row),
        .n_row = s->n_row,
        .vocab = s->vocab,
    };
    free(target);
    t->b->be->kernels.cross_entropy(t->b->be, &a);
    a.logits = op_out_from(t, "dlogits", "logits");
    a.nll = op_out(t, "nll again", s->n_row);
    a.grad = true;
    a.scale = SCALE;
    t->b->be->kernels.cross_entropy(t->b->be, &a);
}

/* The gradient in bf16, and the logits as they were. */
static void case_narrow(op_case *t) {
    const loss_shape *s = t->shape;
    const int64_t n = s->n_row * s->vocab;
    int32_t *target = malloc((size_t)s->n_row * sizeof *target);
    for (int64_t r = 0; r < s->n_row; r++)
        target[r] = r % 5 == 3 ? -1 : (int32_t)(r * 77 % s->vocab);
    (void)op_in(t, "logits", n, 8.0);
    const hy__cross_entropy_args a = {
        .logits = op_out_from(t, "same logits", "logits"),
        .nll = op_out(t, "nll", s->n_row),
        .narrow = op_in_bf16(t, "narrow", n, 1.0),
        .target = op_put_i32(t->b, target, s->n_row),
        .n_row = s->n_row,
        .vocab = s->vocab,
        .grad = true,
        .scale = SCALE,
    };
    free(target);
    t->b->be->kernels.cross_entropy(t->b->be, &a);
    const hy__copy_args widen = {.dst = op_out(t, "dlogits", n), .src = a.narrow, .n = n};
    t->b->be->kernels.copy(t->b->be, &widen);
}

static void test_cross_entropy(void **state) {
    (void)state;
    static const loss_shape SHAPES[] = {{1, 1}, {1, 63}, {63, 257}, {257, 63}, {4, 5000}};
    for (size_t i = 0; i < sizeof SHAPES / sizeof *SHAPES; i++) {
        op_check("cross_entropy", case_cross_entropy, &SHAPES[i], TOL);
        op_check("cross_entropy", case_narrow, &SHAPES[i], TOL_BF16);
    }
}

/* The first of the largest logits is the hit, beside a NaN-free row of padding. */
static void test_hits(void **state) {
    (void)state;
    enum { N = 5, V = 40 };
    static const int32_t target[N] = {7, 7, 39, -1, 0};
    static const int32_t want[N] = {1, 0, 1, 0, 0};
    double *logits = op_random(3, N * V, 1.0);
    for (int r = 0; r < N; r++) logits[r * V + 7] = 5; /* the largest of every row … */
    logits[1 * V + 2] = 5;                             /* … but for one that equals it before, */
    logits[2 * V + 39] = 6;                            /* and one that exceeds it */
    for (const char *const *be = hy__backend_names(); *be; be++) {
        op_bench b;
        op_open(&b, *be, 2);
        const hy__cross_entropy_args a = {.logits = op_put(&b, logits, N * V),
                                          .nll = op_nan(&b, N),
                                          .hit = op_nan_i32(&b, N),
                                          .target = op_put_i32(&b, target, N),
                                          .n_row = N,
                                          .vocab = V,
                                          .grad = true,
                                          .scale = SCALE};
        b.be->kernels.cross_entropy(b.be, &a);
        int32_t got[N];
        op_get_i32(&b, got, a.hit, N);
        assert_memory_equal(got, want, sizeof want);
        op_close(&b);
    }
    free(logits);
}

enum { ROWS = 4, VOCAB = 13 };
static const int32_t TARGET[ROWS] = {3, -1, 12, 0};

typedef struct nll_sum {
    op_bench *b;
    double *logits;
} nll_sum;

static double sum_nll(void *user) {
    const nll_sum *s = user;
    const hy__cross_entropy_args a = {
        .logits = op_put(s->b, s->logits, ROWS * VOCAB),
        .nll = op_nan(s->b, ROWS),
        .target = op_put_i32(s->b, TARGET, ROWS),
        .n_row = ROWS,
        .vocab = VOCAB,
    };
    s->b->be->kernels.cross_entropy(s->b->be, &a);
    double nll[ROWS], sum = 0;
    op_get(s->b, nll, a.nll, ROWS);
    for (int r = 0; r < ROWS; r++) sum += nll[r];
    op_clear(s->b);
    return sum;
}

static void test_cross_entropy_slope(void **state) {
    (void)state;
    op_bench b;
    op_open(&b, "ref64", 1);
    double *logits = op_random(5, ROWS * VOCAB, 4.0), got[ROWS * VOCAB], want[ROWS * VOCAB];
    const hy__cross_entropy_args a = {
        .logits = op_put(&b, logits, ROWS * VOCAB),
        .nll = op_nan(&b, ROWS),
        .target = op_put_i32(&b, TARGET, ROWS),
        .n_row = ROWS,
        .vocab = VOCAB,
        .grad = true,
        .scale = SCALE,
    };
    b.be->kernels.cross_entropy(b.be, &a);
    op_get(&b, got, a.logits, ROWS * VOCAB);
    op_clear(&b);
    nll_sum s = {&b, logits};
    for (int i = 0; i < ROWS * VOCAB; i++)
        want[i] = SCALE * op_slope(sum_nll, &s, &logits[i], 1e-5);
    op_expect("slope of cross_entropy", "ref64", want, got, ROWS * VOCAB, 1e-6);
    free(logits);
    op_close(&b);
}

/* ---- adamw, sqsum ---- */

typedef struct adam_shape {
    int64_t n, dim, step;
    bool sparse, frozen;
} adam_shape;

/* Flags of every third row; absent when dense. */
static hy__tensor flags(op_case *t, const adam_shape *s) {
    if (!s->sparse) return (hy__tensor){0};
    const int64_t n_row = s->n / s->dim;
    int32_t *flag = malloc((size_t)n_row * sizeof *flag);
    for (int64_t r = 0; r < n_row; r++) flag[r] = r % 3 == 1;
    const hy__tensor tensor = op_put_i32(t->b, flag, n_row);
    free(flag);
    return tensor;
}

static void case_adamw(op_case *t) {
    const adam_shape *s = t->shape;
    double *v = op_random(9, s->n, 1.0); /* a mean of squares: 0 … 1 */
    for (int64_t i = 0; i < s->n; i++) v[i] = (double)(float)(v[i] * v[i]);
    hy__adamw_args a = {
        .p = op_out_add(t, "p", s->n),
        .g = op_out_add(t, "g", s->n),
        .m = op_out_add(t, "m", s->n),
        .v = op_put(t->b, v, s->n),
        .touched = flags(t, s),
        .n = s->n,
        .dim = s->dim,
        .step = s->step,
        .lr = 0.01,
        .beta1 = 0.9,
        .beta2 = 0.95,
        .eps = 1e-8,
        .weight_decay = 0.1,
        .g_scale = 0.5,
    };
    free(v);
    if (s->frozen) a.p = (hy__tensor){0};
    const hy__copy_args see_v = {.dst = op_out(t, "v", s->n), .src = a.v, .n = s->n};
    t->b->be->kernels.adamw(t->b->be, &a);
    t->b->be->kernels.copy(t->b->be, &see_v);
    if (!s->sparse) return;
    int32_t *flag = malloc((size_t)(s->n / s->dim) * sizeof *flag);
    op_get_i32(t->b, flag, a.touched, s->n / s->dim);
    for (int64_t r = 0; r < s->n / s->dim; r++) assert_int_equal(flag[r], 0);
    free(flag);
}

static void case_sqsum(op_case *t) {
    const adam_shape *s = t->shape;
    const hy__sqsum_args a = {.x = op_in(t, "x", s->n, 1.0),
                              .touched = flags(t, s),
                              .out = op_out_add(t, "out", 1),
                              .n = s->n,
                              .dim = s->dim};
    t->b->be->kernels.sqsum(t->b->be, &a);
}

static void test_optimizer(void **state) {
    (void)state;
    static const adam_shape SHAPES[] = {
        {.n = 1, .dim = 1, .step = 1},
        {.n = 63, .dim = 1, .step = 1},
        {.n = 257, .dim = 1, .step = 1000},
        {.n = 100003, .dim = 1, .step = 7},
        {.n = 63 * 5, .dim = 5, .step = 1, .sparse = true},
        {.n = 257 * 63, .dim = 63, .step = 3, .sparse = true},
        {.n = 9000, .dim = 9, .step = 3, .sparse = true},
        {.n = 63 * 5, .dim = 5, .step = 1, .sparse = true, .frozen = true},
    };
    for (size_t i = 0; i < sizeof SHAPES / sizeof *SHAPES; i++) {
        op_check("adamw", case_adamw, &SHAPES[i], TOL);
        op_check("sqsum", case_sqsum, &SHAPES[i], TOL);
    }
}

/* First step from m = v = 0 without eps: m̂ = g, v̂ = g², so p moves by lr·(sign(g) + decay·p). */
static void test_adamw_first_step(void **state) {
    (void)state;
    const double p0[3] = {1.0, -2.0, 0.5}, g0[3] = {4.0, -0.25, 8.0};
    const double want[3] = {1.0 - 0.1 * 1.5, -2.0 + 0.1 * 2.0, 0.5 - 0.1 * 1.25};
    for (const char *const *name = hy__backend_names(); *name; name++) {
        op_bench b;
        op_open(&b, *name, 1);
        const hy__adamw_args a = {
            .p = op_put(&b, p0, 3),
            .g = op_put(&b, g0, 3),
            .m = op_zero(&b, 3),
            .v = op_zero(&b, 3),
            .n = 3,
            .dim = 1,
            .step = 1,
            .lr = 0.1,
            .beta1 = 0.9,
            .beta2 = 0.999,
            .weight_decay = 0.5,
            .g_scale = 1.0,
        };
        b.be->kernels.adamw(b.be, &a);
        double got[3];
        op_get(&b, got, a.p, 3);
        op_expect("adamw's first step", *name, want, got, 3, 1e-6);
        op_close(&b);
    }
}

/* Cost follows the rows touched: the pages of all others may not even be looked at. */
static void test_untouched_rows_are_out_of_reach(void **state) {
    (void)state;
    enum { ROWS_ALL = 64, ARRAYS = 4 };
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), size = ARRAYS * ROWS_ALL * page;
    static const int TOUCHED[] = {3, 17, 18, 63};
    for (const char *const *name = hy__backend_names(); *name; name++) {
        op_bench b;
        op_open(&b, *name, 3);
        const int64_t dim = (int64_t)(page / hy__dtype_size(b.be->real)), n = ROWS_ALL * dim;
        char *rows = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_true(rows != MAP_FAILED);
        int32_t flag[ROWS_ALL] = {0};
        for (size_t i = 0; i < sizeof TOUCHED / sizeof *TOUCHED; i++) {
            flag[TOUCHED[i]] = 1;
            for (int a = 0; a < ARRAYS; a++)
                assert_int_equal(mprotect(rows + ((size_t)a * ROWS_ALL + (size_t)TOUCHED[i]) * page,
                                          page, PROT_READ | PROT_WRITE),
                                 0);
        }
        hy__buffer buf = {.data = rows, .size = size};
        const hy__tensor p = {.buf = &buf, .dtype = b.be->real},
                         touched = op_put_i32(&b, flag, ROWS_ALL);
        const hy__sqsum_args norm = {
            .out = op_zero(&b, 1), .x = p, .touched = touched, .n = n, .dim = dim};
        const hy__adamw_args step = {.p = p,
                                     .g = hy__at(p, n),
                                     .m = hy__at(p, 2 * n),
                                     .v = hy__at(p, 3 * n),
                                     .touched = touched,
                                     .n = n,
                                     .dim = dim,
                                     .step = 1,
                                     .lr = 0.1,
                                     .beta1 = 0.9,
                                     .beta2 = 0.95,
                                     .eps = 1e-8,
                                     .g_scale = 1};
        b.be->kernels.sqsum(b.be, &norm);
        b.be->kernels.adamw(b.be, &step); /* a fault where it reads or writes another row */
        munmap(rows, size);
        op_close(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cross_entropy),
        cmocka_unit_test(test_hits),
        cmocka_unit_test(test_cross_entropy_slope),
        cmocka_unit_test(test_optimizer),
        cmocka_unit_test(test_adamw_first_step),
        cmocka_unit_test(test_untouched_rows_are_out_of_reach),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
