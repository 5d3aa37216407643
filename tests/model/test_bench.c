/* test_bench.c: what a bench measures is the work that the accounting plans, and what a wrong
 * kernel computes is not reported. */
#include "backend/count/count.h"
#include "bench/bench.h"
#include "bench/workload.h"
#include "support/law.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const hy__train_config NO_TRAIN = {.recompute = false};
static const hy__train_config BY_MUON = {.optimizer = HY__OPTIMIZER_MUON};

/* ---- statistics ---- */

static void test_spread(void **state) {
    (void)state;
    double x[] = {5, 1, 4, 2, 3}, one[] = {7}, two[] = {2, 1};
    const hy__spread s = hy__spread_of(x, 5), t = hy__spread_of(one, 1);
    assert_true(s.min == 1 && s.low == 2 && s.median == 3 && s.high == 4 && s.max == 5);
    assert_true(t.min == 7 && t.low == 7 && t.median == 7 && t.high == 7 && t.max == 7);
    assert_true(hy__median(two, 2) == 1.5);
}

/* ---- the work is that of the plan ---- */

static void count(const hy__config *c, const hy__shape *shape, hy__profile *p) {
    hy_error err = {0};
    hy__backend *be;
    hy__model *m;
    hy__workload *w;
    hy__account a;
    hy__watch watch;
    hy__lap lap;
    hy__account_init(&a, c, &NO_TRAIN);
    law_ok(hy__count_open(&be, &err), &err);
    law_ok(hy__model_new(&m, be, c, be->real, &err), &err);
    law_ok(hy__workload_new(&w, m, shape, HY__OPTIMIZER_ADAMW, &err), &err);
    hy__watch_begin(&watch, be, &a, p);
    law_ok(hy__workload_run(w, &lap, &err), &err);
    hy__watch_end(&watch);
    assert_null(be->watch);
    hy__profile_divide(p, hy__workload_steps(w));
    hy__workload_free(w);
    hy__model_free(m);
    hy__backend_free(be);
}

/* FLOPs of every part that were watched are those of the formulas. */
static void check_work(const hy__config *c, hy__shape shape) {
    hy_error err = {0};
    hy__account a;
    hy__profile p = {0};
    hy__spent each[HY__PART_MAX + 1];
    double want[HY__PART_MAX] = {0};
    hy__account_init(&a, c, &NO_TRAIN);
    count(c, &shape, &p);
    const bool decode = shape.phase == HY__PHASE_DECODE;
    const int64_t steps = decode ? HY__DECODED : 1;
    for (int64_t i = 1; i <= steps; i++) {
        hy__shape step = shape;
        if (decode) step.tokens += i;
        law_ok(hy__account_spend(&a, &step, each, &err), &err);
        for (int64_t j = 0; j < a.n_part; j++) want[j] += hy__spent_flops(&each[j]) / (double)steps;
    }
    for (int64_t j = 0; j < a.n_part; j++) {
        const double got = hy__profile_part(&p, j).flops;
        if (fabs(got - want[j]) > 1e-9 * want[j])
            fail_msg("%s, part %d of phase %d: watched %.10g FLOPs, planned %.10g", c->model.layers,
                     (int)j, (int)shape.phase, got, want[j]);
    }
}

static void test_work(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        const hy__config c = law_random_config(seed, 6);
        for (hy__phase phase = 0; phase < HY__PHASE_N; phase++) {
            check_work(&c, (hy__shape){.phase = phase, .batch = 1, .tokens = 480});
            check_work(&c, (hy__shape){.phase = phase, .batch = 3, .tokens = 77});
        }
    }
}

/* ---- the check ---- */

static void expect_pass(const char *backend, const hy__config *c, const hy__train_config *t,
                        hy__store store, bool training) {
    hy_error err = {0};
    hy__backend *be;
    hy__account a;
    hy__check check;
    hy__account_init(&a, c, t);
    law_ok(hy__backend_open(&be, backend, 2, &err), &err);
    if (training && store == HY__STORE_BF16 && !be->has_bf16) { /* refused, see bench.c */
        hy__backend_free(be);
        return;
    }
    law_ok(hy__check_run(&check, be, &a, store, training, &err), &err);
    if (check.n_letter > 0)
        fail_msg("%s, \"%s\", %s, %s: %s", backend, c->model.layers, hy__store_name[store],
                 training ? "training" : "serving", check.why.text);
    hy__backend_free(be);
}

static void pass_everywhere(const hy__config *c) {
    for (const char *const *name = hy__backend_names(); *name; name++)
        for (hy__store store = 0; store < HY__STORE_N; store++) {
            if (strncmp(*name, "ref", 3) == 0) continue;
            expect_pass(*name, c, &NO_TRAIN, store, false);
            if (hy__dtype_is_quant(hy__store_dtype(store))) continue;
            expect_pass(*name, c, &NO_TRAIN, store, true);
            expect_pass(*name, c, &BY_MUON, store, true);
        }
}

static void test_right_kernels_pass(void **state) {
    (void)state;
    const hy__config c = law_config("SAEFWP");
    pass_everywhere(&c);
    for (uint64_t seed = 1; seed <= 4; seed++) {
        const hy__config r = law_random_config(seed, 5);
        expect_pass("cpu", &r, &NO_TRAIN, HY__STORE_FP32, seed % 2);
    }
}

/* ---- wrong kernels ---- */

static hy__kernels right; /* those of the backend, which the wrong ones call */

/* One element of 1,000 is a little off. */
static void wrong_swiglu(hy__backend *be, const hy__swiglu_args *a) {
    float x;
    right.swiglu(be, a);
    hy__tensor_read_f32(be, &x, hy__at(a->h, a->n_row * a->f - 1), 1);
    x += 0.01f;
    hy__tensor_write_f32(be, hy__at(a->h, a->n_row * a->f - 1), &x, 1);
}

static void wrong_ssd_backward(hy__backend *be, const hy__ssd_args *a) {
    right.ssd_backward(be, a);
    const float zero = 0;
    hy__tensor_write_f32(be, a->da_log, &zero, 1);
}

static void wrong_embed(hy__backend *be, const hy__embed_args *a) {
    right.embed(be, a);
    be->zero(be, a->x, hy__dtype_size(be->real));
}

static void nan_rmsnorm(hy__backend *be, const hy__rmsnorm_args *a) {
    const float nan = (float)NAN;
    right.rmsnorm(be, a);
    hy__tensor_write_f32(be, a->y, &nan, 1);
}

/* Newton and Schulz's coefficients are taken for others. */
static void wrong_polynomial(hy__backend *be, const hy__polynomial_args *a) {
    hy__polynomial_args other = *a;
    other.b = 0.9 * a->b;
    right.polynomial(be, &other);
}

static hy__backend *open_right(void) {
    hy_error err = {0};
    hy__backend *be;
    law_ok(hy__backend_open(&be, "cpu", 2, &err), &err);
    right = be->kernels;
    return be;
}

static void expect_named_in(hy__store store, const hy__config *config, const hy__train_config *t,
                            hy__backend *be, hy__kernel_id wrong, bool training,
                            const char *letters) {
    const hy__config c = *config;
    hy_error err = {0};
    hy__account a;
    hy__check check;
    hy__account_init(&a, &c, t);
    law_ok(hy__check_run(&check, be, &a, store, training, &err), &err);
    for (hy__kernel_id id = 0; id < HY__KERNEL_N; id++)
        if (check.kernel[id] != (id == wrong))
            fail_msg("%s is %swrong in %s, the check says otherwise", hy__kernel_name(id),
                     id == wrong ? "" : "not ", hy__store_name[store]);
    for (int64_t part = 1; part < a.n_part; part++)
        if (check.letter[part] != (strchr(letters, a.part[part].letter) != NULL))
            fail_msg("%s is wrong in %s, the check of %c says otherwise", hy__kernel_name(wrong),
                     hy__store_name[store], a.part[part].letter);
    assert_non_null(strstr(check.why.text, "differs from ref64"));
    hy__backend_free(be);
}

static void expect_named(hy__backend *be, hy__kernel_id wrong, bool training, const char *letters) {
    const hy__config c = law_config("SAEF");
    expect_named_in(HY__STORE_FP32, &c, &NO_TRAIN, be, wrong, training, letters);
}

static void test_wrong_kernels_are_named(void **state) {
    (void)state;
    hy__backend *be = open_right();
    be->kernels.swiglu = wrong_swiglu;
    expect_named(be, HY__KERNEL_swiglu, false, "EF");
    be = open_right();
    be->kernels.swiglu = wrong_swiglu;
    expect_named(be, HY__KERNEL_swiglu, true, "EF");
    be = open_right();
    be->kernels.ssd_backward = wrong_ssd_backward;
    expect_named(be, HY__KERNEL_ssd_backward, true, "S");
    be = open_right();
    be->kernels.embed = wrong_embed;
    expect_named(be, HY__KERNEL_embed, false, "SAEF");
    be = open_right();
    be->kernels.rmsnorm = nan_rmsnorm;
    expect_named(be, HY__KERNEL_rmsnorm, false, "SAEF");
    const hy__config c = law_config("SAEF");
    be = open_right();
    be->kernels.polynomial = wrong_polynomial;
    expect_named_in(HY__STORE_FP32, &c, &BY_MUON, be, HY__KERNEL_polynomial, true, "SAEF");
}

/* The last row of a call of many rows stays zero. */
static void lose_row(hy__backend *be, hy__tensor out, int64_t n_row, int64_t width) {
    if (n_row >= 60)
        be->zero(be, hy__at(out, (n_row - 1) * width), (size_t)width * hy__dtype_size(be->real));
}

#define LOSE_ROW(kernel, args, out, n_row, width)                                                  \
    static void lossy_##kernel(hy__backend *be, const args *a) {                                   \
        right.kernel(be, a);                                                                       \
        lose_row(be, out, n_row, width);                                                           \
    }
LOSE_ROW(embed, hy__embed_args, a->x, a->n_row, a->dim)
LOSE_ROW(group_gemm, hy__group_gemm_args, a->c, a->n_row, a->n)
LOSE_ROW(ssd, hy__ssd_args, a->y, a->rows->n_row, a->n_head * a->head_dim)
LOSE_ROW(attn, hy__attn_args, a->o, a->rows->n_row, a->n_head * a->head_dim)
LOSE_ROW(delta, hy__delta_args, a->y, a->rows->n_row, a->n_head * a->d_v)
LOSE_ROW(pkm_read, hy__pkm_read_args, a->y, a->n_row, a->d_value)

/* The last term of every sum is left out, of every product with weights. */
static void lossy_gemm(hy__backend *be, const hy__gemm_args *a) {
    const bool linear = a->tb && !a->ta && a->a.dtype == be->real;
    const float zero = 0;
    float *kept = calloc((size_t)a->m, sizeof *kept);
    for (int64_t i = 0; linear && i < a->m; i++) {
        hy__tensor_read_f32(be, &kept[i], hy__at(a->a, i * a->k + a->k - 1), 1);
        hy__tensor_write_f32(be, hy__at(a->a, i * a->k + a->k - 1), &zero, 1);
    }
    right.gemm(be, a);
    for (int64_t i = 0; linear && i < a->m; i++)
        hy__tensor_write_f32(be, hy__at(a->a, i * a->k + a->k - 1), &kept[i], 1);
    free(kept);
}

/* One row of 150, or one term of a sum, is enough also where operands are rounded. */
static void test_small_defects_are_seen(void **state) {
    (void)state;
    const hy__config c = law_config("SAEFWP");
#define EXPECT(kernel, letters)                                                                    \
    for (hy__store store = HY__STORE_BF16; store < HY__STORE_N; store++) {                         \
        hy__backend *be = open_right();                                                            \
        be->kernels.kernel = lossy_##kernel;                                                       \
        expect_named_in(store, &c, &NO_TRAIN, be, HY__KERNEL_##kernel, false, letters);            \
    }
    EXPECT(embed, "SAEFWP")
    EXPECT(gemm, "SAEFWP")
    EXPECT(group_gemm, "E")
    EXPECT(ssd, "S")
    EXPECT(attn, "A")
    EXPECT(delta, "W")
    EXPECT(pkm_read, "P")
#undef EXPECT
}

/* A bench on a backend, for the wrong kernels that it has. */
static hy__bench *bench(hy__backend *be, const hy__config *c) {
    static const int64_t tokens[] = {40};
    hy_error err = {0};
    hy__bench *b = NULL;
    const hy__bench_options o = {.name = "test",
                                 .settings = "",
                                 .cfg = *c,
                                 .phase = {[HY__PHASE_TRAIN] = true, [HY__PHASE_PREFILL] = true},
                                 .kernels = true,
                                 .tokens = tokens,
                                 .n_tokens = 1,
                                 .store = {[HY__STORE_FP32] = true},
                                 .batch = 1,
                                 .runs = 3,
                                 .warm_up = 1};
    law_ok(hy__bench_run(&b, be, &o, &err), &err);
    return b;
}

static void test_refusal(void **state) {
    (void)state;
    const hy__config c = law_config("SF");
    hy_error err = {0};
    hy__text table = {0}, csv = {0};
    hy__backend *be = open_right();
    be->kernels.ssd_backward = wrong_ssd_backward;
    hy__bench *b = bench(be, &c);
    assert_int_equal(b->n_row, 2);
    assert_int_equal(b->row[0].shape.phase, HY__PHASE_PREFILL); /* does not call it */
    assert_int_equal(b->row[0].refused.status, HY_OK);
    assert_int_not_equal(b->row[1].refused.status, HY_OK);
    assert_int_equal(hy__bench_verdict(b, &err), HY_E_INTERNAL);
    assert_non_null(strstr(err.text, "kernel ssd_backward, letter S"));
    hy__bench_text(&table, b);
    hy__bench_csv(&csv, b);
    assert_non_null(strstr(table.data, "train fp32, 1 x 40      not reported"));
    assert_non_null(strstr(table.data, "  ssd_backward          not reported"));
    assert_non_null(strstr(csv.data, ",prefill,fp32,1,40,,,,"));
    assert_null(strstr(csv.data, ",train,fp32,1,40,,,,"));
    assert_null(strstr(csv.data, "ssd_backward"));
    assert_non_null(strstr(csv.data, ",train,fp32,1,40,,F,swiglu_backward,"));
    json_t *json = hy__bench_json(b);
    const json_t *row = json_array_get(json_object_get(json, "rows"), 1);
    assert_non_null(json_object_get(row, "refused"));
    assert_null(json_object_get(row, "tokens_per_s"));
    json_decref(json);
    hy__text_release(&table);
    hy__text_release(&csv);
    hy__bench_free(b);
    hy__backend_free(be);
}

/* ---- a whole bench ---- */

static void test_rows(void **state) {
    (void)state;
    const hy__config c = law_config("SE A WP F");
    hy_error err = {0};
    hy__backend *be = open_right();
    hy__bench *b = bench(be, &c);
    law_ok(hy__bench_verdict(b, &err), &err);
    for (int64_t i = 0; i < b->n_row; i++) {
        const hy__bench_row *r = &b->row[i];
        const hy__spread *s = &r->seconds;
        double sum = 0;
        assert_true(s->min > 0 && s->min <= s->low && s->low <= s->median && s->median <= s->max);
        assert_true(r->rows == 40 && r->dense_share > 0 && r->stream_share > 0);
        assert_true(r->ceiling.dense > 0 && r->ceiling.read > 0 && r->ceiling.triad > 0);
        for (int part = 0; part < HY__PROFILE_PARTS; part++)
            sum += hy__profile_part(r->profile, part).seconds;
        assert_true(sum > 0.3 * r->profile_seconds && sum <= r->profile_seconds);
        double by_kernel = 0;
        for (hy__kernel_id id = 0; id < HY__KERNEL_N; id++)
            by_kernel += hy__profile_kernel(r->profile, id).seconds;
        assert_true(fabs(by_kernel - sum) <= 1e-9 * sum);
    }
    assert_null(be->watch);
    hy__bench_free(b);
    hy__backend_free(be);
}

static void test_what_does_not_fit(void **state) {
    (void)state;
    static const int64_t tokens[] = {100, 5000};
    hy_error err = {0};
    hy__bench_options o = {.name = "test",
                           .cfg = law_config("SA"),
                           .phase = {[HY__PHASE_PREFILL] = true},
                           .tokens = tokens,
                           .n_tokens = 2,
                           .store = {[HY__STORE_BF16] = true},
                           .batch = 1};
    law_ok(hy__bench_fits(&o, 100000000, &err), &err);
    law_ok(hy__bench_fits(&o, 0, &err), &err); /* not known */
    assert_int_equal(hy__bench_fits(&o, 1000000, &err), HY_E_MEMORY);
    assert_non_null(strstr(err.text, "prefill bf16, 1 x 100 tokens would take"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spread),
        cmocka_unit_test(test_work),
        cmocka_unit_test(test_right_kernels_pass),
        cmocka_unit_test(test_wrong_kernels_are_named),
        cmocka_unit_test(test_small_defects_are_seen),
        cmocka_unit_test(test_refusal),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
