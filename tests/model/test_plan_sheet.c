/* test_plan_sheet.c: what a plan makes of formulas and sizes: growth, training's bytes, times,
 * what fits, and where two configurations cross. */
#include "account/sheet_faces.h"
#include "backend/count/count.h"
#include "model/work.h"
#include "support/law.h"
#include "train/optim.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const hy__train_config NO_TRAIN = {.carry = false};

static void account_of(hy__account *a, const char *path) {
    hy__config c;
    hy__train_config t;
    hy_error err = {0};
    law_ok(hy__config_read_yaml(path, &c, &t, &err), &err);
    hy__account_init(a, &c, &t);
}

static hy__spent spent(const hy__account *a, hy__shape shape) {
    hy_error err = {0};
    hy__spent part[HY__PART_MAX + 1];
    law_ok(hy__account_spend(a, &shape, part, &err), &err);
    return part[a->n_part];
}

static hy__memory memory(const hy__account *a, hy__shape shape) {
    hy_error err = {0};
    hy__memory m;
    law_ok(hy__account_memory(a, &shape, &m, &err), &err);
    return m;
}

static void near(double got, double want) {
    if (fabs(got - want) > 1e-9 * fabs(want)) fail_msg("got %.17g, wanted %.17g", got, want);
}

/* ---- growth ---- */

/* One layer of attention alone: chunk 16, window 20, so that every sum can be done by hand. */
static hy__account attention(int64_t topk, int64_t memory_blocks) {
    hy__config c = law_config("A");
    hy__account a;
    c.attention.topk = topk;
    c.attention.memory_blocks = memory_blocks;
    law_finish(&c);
    hy__account_init(&a, &c, &NO_TRAIN);
    return a;
}

static void test_growth(void **state) {
    (void)state;
    const hy__account full = attention(2, 0), bounded = attention(2, 3);
    const hy__config *c = &full.cfg;
    const double position = 4.0 * (double)(c->attention.n_head * c->attention.head_dim);
    const double score = 2.0 * (double)(c->attention.n_kv * c->attention.head_dim);
    const double logit = 2.0 * (double)(c->model.d_model * c->model.vocab);
    hy__spent s = spent(&full, (hy__shape){.phase = HY__PHASE_PREFILL, .batch = 1, .tokens = 20});
    near(s.grows[HY__GROWTH_CONSTANT], logit);
    near(s.grows[HY__GROWTH_QUADRATIC], position * 20 * 21 / 2);
    s = spent(&full, (hy__shape){.phase = HY__PHASE_DECODE, .batch = 1, .tokens = 20});
    near(s.grows[HY__GROWTH_LINEAR], position * 20);
    s = spent(&full, (hy__shape){.phase = HY__PHASE_TRAIN, .batch = 1, .tokens = 20});
    near(s.grows[HY__GROWTH_CONSTANT], 0);
    near(s.grows[HY__GROWTH_QUADRATIC], 3.5 * position * 20 * 21 / 2);

    double scored = 0; /* blocks 1 … that end before the window begins */
    for (int t = 0; t < 400; t++) scored += fmax(0, floor((t - 19) / 16.0) - 1);
    s = spent(&full, (hy__shape){.phase = HY__PHASE_PREFILL, .batch = 1, .tokens = 400});
    near(s.grows[HY__GROWTH_QUADRATIC], score * scored);
    s = spent(&full, (hy__shape){.phase = HY__PHASE_DECODE, .batch = 1, .tokens = 400});
    near(s.grows[HY__GROWTH_LINEAR], score * (floor(380 / 16.0) - 1));
    s = spent(&bounded, (hy__shape){.phase = HY__PHASE_PREFILL, .batch = 1, .tokens = 400});
    near(s.grows[HY__GROWTH_QUADRATIC], 0);
    s = spent(&bounded, (hy__shape){.phase = HY__PHASE_DECODE, .batch = 1, .tokens = 400});
    near(s.grows[HY__GROWTH_LINEAR], 0);
}

/* ---- bytes of training ---- */

typedef struct counted {
    double weight, optimizer, activation, update;
} counted;

static counted train_counted(const hy__config *c, const hy__shape *shape, hy__optimizer by) {
    hy_error err = {0};
    law_model lm;
    hy__work *w;
    hy__optim *o;
    double sum;
    int64_t n;
    const hy__seq seq = {.len = shape->tokens};
    int32_t *token = calloc((size_t)shape->tokens, sizeof *token);
    law_ok(hy__count_open(&lm.be, &err), &err);
    law_ok(hy__model_new(&lm.m, lm.be, c, lm.be->real, &err), &err);
    law_ok(hy__model_train(lm.m, &err), &err);
    law_ok(hy__optim_new(&o, lm.m, by, HY__PREC_FP32, &err), &err);
    law_ok(hy__work_new(&w, lm.m,
                        (hy__work_options){.training = true, .recompute = shape->recompute}, &err),
           &err);
    const hy__batch b = {.rows = {.n_row = shape->tokens, .n_seq = 1, .seq = &seq}, .token = token};
    hy__count_clear(lm.be);
    law_ok(hy__forward(w, &b, &err), &err);
    law_ok(hy__loss(w, token, 1, NULL, &sum, &n, &err), &err);
    law_ok(hy__backward(w, 1, &err), &err);
    counted k = {.weight =
                     hy__count_bytes(lm.be, &lm.m->weights) + hy__count_bytes(lm.be, &lm.m->grads),
                 .activation = hy__count_bytes(lm.be, &w->mem)};
    hy__count_clear(lm.be);
    (void)hy__optim_norm(o);
    hy__optim_step(o, &(hy__optim_rates){.lr = 1, .g_scale = 1});
    hy__model_zero_grad(lm.m, false);
    k.update = hy__count_flops(lm.be);
    k.optimizer = hy__count_bytes(lm.be, &lm.m->weights) + hy__count_bytes(lm.be, &lm.m->grads) +
                  hy__count_bytes(lm.be, &o->buf);
    hy__work_free(w);
    hy__optim_free(o);
    law_close(&lm);
    free(token);
    return k;
}

static void within(const char *what, const hy__config *c, double planned, double got,
                   double tolerance) {
    if (fabs(planned / got - 1) > tolerance)
        fail_msg("%s of %s: planned %.6g, counted %.6g", what, c->model.layers, planned, got);
}

/* Of letters that use all their weights. */
static void test_bytes_of_training(void **state) {
    (void)state;
    static const char *const layers[] = {"4x(S)", "4x(A)", "4x(F)", "4x(W)", "2x(SAWF)"};
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++)
        for (int way = 0; way < 4; way++) {
            const bool again = way % 2;
            hy__config c;
            hy__train_config t;
            hy__account a;
            hy__config_default(&c, &t);
            snprintf(c.model.layers, sizeof c.model.layers, "%s", layers[i]);
            law_finish(&c);
            t = NO_TRAIN;
            t.optimizer = way < 2 ? HY__OPTIMIZER_ADAMW : HY__OPTIMIZER_MUON;
            hy__account_init(&a, &c, &t);
            const hy__shape shape = {.batch = 1, .tokens = 64, .recompute = again};
            const counted k = train_counted(&c, &shape, t.optimizer);
            const hy__spent s = spent(&a, shape);
            within("weight bytes", &c, s.weight, k.weight, 0.01);
            within("optimizer bytes", &c, s.optimizer, k.optimizer, 0.001);
            near(s.update, k.update);
            /* kernels read what they share more than once: planned is the least */
            within("activation bytes", &c, s.activation, k.activation, 0.25);
        }
}

/* An update passes over experts that nothing chose, too. */
static void test_bytes_of_sparse_updates(void **state) {
    (void)state;
    const hy__shape shape = {.batch = 1, .tokens = 2};
    hy__config c = law_config("2x(E)");
    hy__account a;
    law_finish(&c);
    hy__account_init(&a, &c, &NO_TRAIN);
    const double got = train_counted(&c, &shape, HY__OPTIMIZER_ADAMW).optimizer;
    within("optimizer bytes", &c, spent(&a, shape).optimizer, got, 0.01);
}

/* Of a row of logits: they are made, scored into their gradient, and multiplied twice. */
static void test_bytes_of_logits(void **state) {
    (void)state;
    double planned[2], got[2];
    for (int i = 0; i < 2; i++) {
        hy__config c = law_config("F");
        hy__account a;
        c.model.vocab = 1000 * (1 + i);
        law_finish(&c);
        hy__account_init(&a, &c, &NO_TRAIN);
        const hy__shape shape = {.batch = 1, .tokens = 48};
        planned[i] = spent(&a, shape).activation;
        got[i] = train_counted(&c, &shape, HY__OPTIMIZER_ADAMW).activation;
    }
    near(planned[1] - planned[0], got[1] - got[0]);
}

/* States go in and out of a step only where they are carried. */
static void test_states_of_training(void **state) {
    (void)state;
    hy__config c = law_config("A");
    hy__account a;
    hy__train_config t = {.carry = false};
    const hy__shape shape = {.batch = 3, .tokens = 64};
    hy__account_init(&a, &c, &t);
    near(spent(&a, shape).state, 0);
    t.carry = true;
    hy__account_init(&a, &c, &t);
    const double kv = (double)(c.attention.n_kv * c.attention.head_dim);
    near(spent(&a, shape).state, 3 * 64 * 4 * (2 * kv + kv / (double)c.model.chunk));
}

/* Experts are read when they are chosen: for a unit, or for each token; all of them at most. */
static void test_bytes_of_experts(void **state) {
    (void)state;
    for (int by_token = 0; by_token < 2; by_token++) {
        hy__config c = law_config("E");
        hy__account a;
        c.experts.n_expert = 64;
        c.experts.k = 2;
        c.experts.route = by_token ? HY__ROUTE_TOKEN : HY__ROUTE_PREVIOUS;
        law_finish(&c);
        hy__account_init(&a, &c, &NO_TRAIN);
        double weight[3];
        static const int64_t tokens[3] = {1, 8, 4000}; /* a token, a unit, many */
        for (int i = 0; i < 3; i++)
            weight[i] = spent(&a, (hy__shape){.phase = HY__PHASE_PREFILL,
                                              .batch = 1,
                                              .tokens = tokens[i],
                                              .store = HY__STORE_FP32})
                            .weight;
        const double expert = 4.0 * 3 * (double)(c.model.d_model * c.experts.d_ff);
        const double row = 4.0 * (double)c.model.d_model; /* of the embedding */
        near(weight[1] - weight[0], 7 * row + (by_token ? 14 * expert : 0));
        near(weight[2] - weight[0], 3999 * row + 62 * expert);
    }
}

/* The update is shared by the micro-batches of a step; recomputation reads weights once more. */
static void test_update_once_a_step(void **state) {
    (void)state;
    hy__account a;
    account_of(&a, "configs/nano.yaml");
    const hy__shape shape = {.batch = 2, .tokens = 512};
    const double once = spent(&a, shape).optimizer;
    a.train.accumulate = 4;
    near(spent(&a, shape).optimizer, once / 4);
}

/* ---- memory ---- */

static void test_memory_of_many(void **state) {
    (void)state;
    hy__account a;
    account_of(&a, "configs/nano.yaml");
    hy__shape serve = {.phase = HY__PHASE_DECODE, .batch = 1, .tokens = 3000};
    const hy__memory one = memory(&a, serve);
    serve.batch = 7;
    const hy__memory seven = memory(&a, serve);
    near(seven.states, 7 * one.states);
    near(seven.activations, 7 * one.activations);
    near(seven.weights, one.weights);
    near(one.total, one.weights + one.activations + one.states + one.program);

    hy__shape train = {.batch = 3, .tokens = 512, .document = 4096};
    a.train.carry = false;
    const double evaluation = memory(&a, train).states;
    a.train.carry = true;
    const double three = memory(&a, train).states - evaluation;
    train.batch = 6;
    near(memory(&a, train).states - evaluation, 2 * three);
    assert_true(three >= 2 * 3 * hy__account_state(&a, 4096, HY__STORE_FP32) * 0.99);
}

static void test_rows_of_a_batch(void **state) {
    (void)state;
    hy__account a;
    hy_error err = {0};
    hy__memory m;
    account_of(&a, "configs/nano.yaml");
    const hy__shape large = {.batch = 1 << 16, .tokens = 1 << 24};
    assert_int_equal(hy__account_memory(&a, &large, &m, &err), HY_E_INVALID);
    assert_non_null(strstr(err.text, "in a micro-batch of this model"));
    hy__spent part[HY__PART_MAX + 1];
    assert_int_equal(hy__account_spend(&a, &large, part, &err), HY_E_INVALID);
}

/* ---- what fits ---- */

static void test_what_fits(void **state) {
    (void)state;
    hy__account a;
    bool limit;
    account_of(&a, "configs/nano.yaml");
    hy__shape train = {.batch = 5, .tokens = 512};
    const double five = memory(&a, train).total;
    assert_int_equal(hy__account_fit_batch(&a, &train, five, &limit), 5);
    assert_false(limit);
    assert_int_equal(hy__account_fit_batch(&a, &train, five - 1, &limit), 4);
    assert_int_equal(hy__account_fit_batch(&a, &train, 1, &limit), 0);
    assert_false(limit);
    train = (hy__shape){.batch = 1, .tokens = 1000};
    const double thousand = memory(&a, train).total;
    assert_int_equal(hy__account_fit_tokens(&a, &train, thousand, &limit), 1000);
    assert_int_equal(hy__account_fit_tokens(&a, &train, thousand - 1, &limit), 999);
    assert_false(limit);
    train.batch = 1 << 20;
    assert_int_equal(hy__account_fit_tokens(&a, &train, 1e18, &limit),
                     hy__rows_max(&a.cfg) / train.batch);
    assert_true(limit);
    const hy__shape serve = {.phase = HY__PHASE_DECODE, .batch = 2, .tokens = 1};
    (void)hy__account_fit_tokens(&a, &serve, 1e18, &limit); /* a bounded state */
    assert_true(limit);
    account_of(&a, "configs/nano-transformer.yaml");
    const int64_t served = hy__account_fit_tokens(&a, &serve, 1e9, &limit);
    hy__shape at = serve;
    at.tokens = served;
    assert_true(memory(&a, at).total <= 1e9);
    at.tokens = served + 1;
    assert_true(memory(&a, at).total > 1e9);
    assert_false(limit);
}

/* ---- times ---- */

static void test_bound(void **state) {
    (void)state;
    hy_error err = {0};
    hy__hardware h;
    law_ok(hy__hardware_find(&h, "fp32=1T,bf16=4T,bandwidth=100G,memory=1G", &err), &err);
    hy__spent s = {.forward = 2e12,
                   .backward = 4e12,
                   .again = 2e12,
                   .weight = 1e11,
                   .state = 2e11,
                   .optimizer = 1e11,
                   .activation = 1e15}; /* these could stay in a cache */
    const hy__bound fp32 = hy__account_bound(&s, &h, HY__STORE_FP32);
    near(fp32.compute, 8);
    near(fp32.memory, 4);
    near(fp32.seconds, 8);
    const hy__bound bf16 = hy__account_bound(&s, &h, HY__STORE_BF16);
    near(bf16.compute, 2);
    near(bf16.seconds, 4);
}

static hy__sheet *sheet(const hy__account *a, hy__sheet_options o) {
    hy_error err = {0};
    hy__sheet *s = calloc(1, sizeof *s);
    law_ok(hy__sheet_fill(s, a, "it", &o, &err), &err);
    return s;
}

static void test_days(void **state) {
    (void)state;
    hy_error err = {0};
    static hy__account a;
    account_of(&a, "configs/nano.yaml");
    a.train.optimizer =
        HY__OPTIMIZER_ADAMW; /* an update is of any batch: of a small one it is more */
    hy__sheet_options o = hy__sheet_defaults(&a);
    law_ok(hy__hardware_find(&o.hardware[0], "peak=1T,bandwidth=1P,memory=100G", &err), &err);
    law_ok(hy__hardware_find(&o.hardware[1], "peak=1T,bandwidth=1P,memory=300M", &err), &err);
    law_ok(hy__hardware_find(&o.hardware[2], "peak=1T,bandwidth=1P,memory=1M", &err), &err);
    o.n_hardware = 3;
    o.devices = 4;
    hy__sheet *s = sheet(&a, o);
    const double flops = hy__spent_flops(&s->train[0][a.n_part]) / (8 * 512);
    const double budget = 20.0 * (double)hy__account_count(&a, true);
    near(s->opt.budget, budget);
    near(s->hardware[0].days, flops * budget / 1e12 / 4 / 86400);
    assert_int_equal(s->hardware[0].trained, 8);
    assert_true(s->hardware[0].trains && s->hardware[0].serves);
    assert_true(s->hardware[1].trained < 8 && s->hardware[1].trained == s->hardware[1].batch);
    near(s->hardware[1].days, flops * budget / 1e12 / 4 / 86400);
    assert_false(s->hardware[2].trains || s->hardware[2].serves);
    free(s);
}

/* fixed + per_token x T is the state, where caches are neither reserved nor bounded. */
static void test_growth_of_states(void **state) {
    (void)state;
    static hy__account a;
    account_of(&a, "configs/hydra-1.6b.yaml");
    hy__sheet *s = sheet(&a, hy__sheet_defaults(&a));
    const hy__sheet_growth g = hy__sheet_growth_of(s);
    assert_int_equal(g.until, 0);
    near(g.fixed + g.per_token * 65536, hy__account_state(&a, 65536, HY__STORE_BF16));
    free(s);
    account_of(&a, "configs/nano.yaml");
    s = sheet(&a, hy__sheet_defaults(&a));
    const hy__sheet_growth bounded = hy__sheet_growth_of(s);
    assert_int_equal(bounded.until, 64 * (2 + 64)); /* the sink, the open block and memory_blocks */
    near(bounded.fixed + bounded.per_token * (double)bounded.until,
         hy__account_state(&a, 1 << 20, HY__STORE_BF16));
    free(s);
}

/* ---- comparison ---- */

static bool less(const hy__account *a, const hy__account *b, hy__measure m, int64_t tokens) {
    return hy__account_measure(a, m, tokens, HY__STORE_BF16) <
           hy__account_measure(b, m, tokens, HY__STORE_BF16);
}

static void test_crossing(void **state) {
    (void)state;
    static hy__account ssm, full;
    account_of(&ssm, "configs/nano-mamba2.yaml");
    account_of(&full, "configs/nano-transformer.yaml");
    int crossed = 0;
    for (hy__measure m = 0; m < HY__MEASURE_N; m++) {
        const int64_t at = hy__account_cross(&ssm, &full, m, HY__STORE_BF16);
        assert_true(at >= 1);
        assert_true(less(&ssm, &full, m, at) && less(&ssm, &full, m, 1 << 20));
        if (at > 1) assert_false(less(&ssm, &full, m, at - 1));
        crossed += at > 1;
        assert_int_equal(hy__account_cross(&full, &ssm, m, HY__STORE_BF16), 0);
        assert_int_equal(hy__account_cross(&ssm, &ssm, m, HY__STORE_BF16), 0);
    }
    assert_true(crossed > 0);
    assert_int_equal(hy__account_cross(&ssm, &full, HY__MEASURE_STATE, HY__STORE_BF16), 1);
}

/* About as deep and as wide, with full attention or with none. */
static void test_rivals(void **state) {
    (void)state;
    static const char *const path[] = {"configs/nano.yaml", "configs/toy.yaml",
                                       "configs/hydra-130m.yaml", "configs/hydra-1.6b.yaml"};
    static hy__account a, rival;
    hy_error err = {0};
    for (size_t i = 0; i < sizeof path / sizeof *path; i++)
        for (int k = 0; k < 2; k++) {
            account_of(&a, path[i]);
            law_ok(hy__account_rival(&a, k ? "mamba2" : "transformer", &rival, &err), &err);
            const double depth = (double)rival.cfg.n_layer / (double)a.cfg.n_layer;
            const double width = (double)rival.cfg.model.d_model / (double)a.cfg.model.d_model;
            assert_true(depth > 0.5 && depth < 2);
            assert_true(width >= 1 && width < 2);
            assert_int_equal(rival.cfg.model.vocab, a.cfg.model.vocab);
            for (int64_t l = 0; l < rival.cfg.n_layer; l++)
                assert_non_null(strchr(k ? "S" : "AF", rival.cfg.letter[l]));
            if (k == 0) assert_int_equal(rival.cfg.attention.topk, 0);
            if (k == 0) assert_true(rival.cfg.attention.window >= 1 << 20);
        }
    assert_int_equal(hy__account_rival(&a, "lstm", &rival, &err), HY_E_INVALID);
    hy__config c = law_config("F");
    c.model.d_model = 1;
    law_finish(&c);
    hy__account_init(&a, &c, &NO_TRAIN);
    assert_int_equal(hy__account_rival(&a, "mamba2", &rival, &err), HY_E_INVALID);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_growth),
        cmocka_unit_test(test_bytes_of_training),
        cmocka_unit_test(test_bytes_of_sparse_updates),
        cmocka_unit_test(test_bytes_of_logits),
        cmocka_unit_test(test_states_of_training),
        cmocka_unit_test(test_bytes_of_experts),
        cmocka_unit_test(test_update_once_a_step),
        cmocka_unit_test(test_memory_of_many),
        cmocka_unit_test(test_rows_of_a_batch),
        cmocka_unit_test(test_what_fits),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_days),
        cmocka_unit_test(test_growth_of_states),
        cmocka_unit_test(test_crossing),
        cmocka_unit_test(test_rivals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
