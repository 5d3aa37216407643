/* test_plan.c: the law "plan = fact" (docs/numerics.md): what the accounting says by formulas is
 * what the model's own forward and backward do on the counting backend, and what is allocated. */
#include "account/account.h"
#include "backend/count/count.h"
#include "support/law.h"

#include <glob.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const hy__train_config NO_TRAIN = {.carry = false};

/* A model on the counting backend. */
static void open_counted(law_model *lm, const hy__config *c) {
    hy_error err = {0};
    law_ok(hy__count_open(&lm->be, &err), &err);
    law_ok(hy__model_new(&lm->m, lm->be, c, lm->be->real, &err), &err);
}

/* Bytes that a run moved, by what they belong to. */
typedef struct moved {
    double flops, weight, state, activation;
} moved;

/* Runs what a shape says on a model: `batch` fresh sequences read at once, trained or not, or one
 * token more for each. */
static moved run_counted(law_model *lm, const hy__shape *shape) {
    hy_error err = {0};
    const bool train = shape->phase == HY__PHASE_TRAIN, decode = shape->phase == HY__PHASE_DECODE;
    const int64_t len = decode ? 1 : shape->tokens, n = len * shape->batch;
    const hy__work_options opt = {.training = train, .recompute = shape->recompute};
    hy__work *w = NULL;
    hy__state **state = calloc((size_t)shape->batch, sizeof *state);
    hy__seq *seq = calloc((size_t)shape->batch, sizeof *seq);
    int32_t *token = calloc((size_t)n, sizeof *token);
    if (train) law_ok(hy__model_train(lm->m, &err), &err);
    law_ok(hy__work_new(&w, lm->m, opt, &err), &err);
    for (int64_t i = 0; i < shape->batch; i++) {
        seq[i] = (hy__seq){.start = i * len, .len = len, .pos = decode ? shape->tokens - 1 : 0};
        if (train) continue;
        law_ok(hy__state_new(&state[i], lm->m, shape->tokens, &err), &err);
        state[i]->pos = seq[i].pos;
    }
    const hy__batch b = {.rows = {.n_row = n, .n_seq = shape->batch, .seq = seq},
                         .token = token,
                         .state_in = train ? NULL : state,
                         .state_out = train ? NULL : state};
    hy__count_clear(lm->be);
    law_ok(hy__forward(w, &b, &err), &err);
    if (train) {
        double sum;
        int64_t count;
        law_ok(hy__loss(w, token, 1, NULL, &sum, &count, &err), &err);
        law_ok(hy__backward(w, 1, &err), &err);
    } else {
        float *logit = malloc((size_t)lm->m->cfg.model.vocab * sizeof *logit);
        for (int64_t i = 0; i < shape->batch; i++)
            law_ok(hy__logits(w, (i + 1) * len - 1, 1, logit, &err), &err);
        free(logit);
    }
    moved sum = {.flops = hy__count_flops(lm->be)};
    sum.weight = hy__count_bytes(lm->be, &lm->m->weights) + hy__count_bytes(lm->be, &lm->m->grads);
    for (int64_t i = 0; i < shape->batch && !train; i++) {
        sum.state += hy__count_bytes(lm->be, &state[i]->buf);
        hy__state_free(state[i]);
    }
    hy__work_free(w);
    free(state);
    free(seq);
    free(token);
    return sum;
}

static void assert_near(double got, double want, double tolerance, const char *what,
                        const hy__config *c, const hy__shape *s) {
    if (fabs(got - want) <= tolerance * want) return;
    fail_msg("%s of %s, phase %d, %lld x %lld%s: planned %.6g, counted %.6g", what,
             c->model.layers, (int)s->phase, (long long)s->batch, (long long)s->tokens,
             s->recompute ? " recomputed" : "", got, want);
}

/* Formulas against counts, at one shape. */
static void check_shape(law_model *lm, const hy__account *a, hy__shape shape) {
    hy_error err = {0};
    hy__spent part[HY__PART_MAX + 1];
    law_ok(hy__account_spend(a, &shape, part, &err), &err);
    const hy__spent *all = &part[a->n_part];
    const moved counted = run_counted(lm, &shape);
    const double flops = hy__spent_flops(all);
    assert_near(flops, counted.flops, 0.01, "FLOPs", &a->cfg, &shape);
    assert_near(all->grows[0] + all->grows[1] + all->grows[2], flops, 1e-9, "growth", &a->cfg,
                &shape);
    if (shape.phase != HY__PHASE_DECODE) return;
    assert_near(all->weight, counted.weight, 0.01, "weight bytes", &a->cfg, &shape);
    if (shape.tokens >= 64)
        assert_near(all->state, counted.state, 0.03, "state bytes", &a->cfg, &shape);
}

static void check_lengths(const hy__config *c, const int64_t *length, int n_length) {
    law_model lm;
    hy__account a;
    hy__account_init(&a, c, &NO_TRAIN);
    open_counted(&lm, c);
    for (int i = 0; i < n_length; i++)
        for (hy__phase phase = 0; phase <= HY__PHASE_DECODE; phase++) {
            check_shape(&lm, &a, (hy__shape){.phase = phase, .batch = 1, .tokens = length[i]});
            if (phase == HY__PHASE_TRAIN) {
                check_shape(&lm, &a,
                            (hy__shape){.batch = 1, .tokens = length[i], .recompute = true});
            }
        }
    check_shape(&lm, &a, (hy__shape){.phase = HY__PHASE_TRAIN, .batch = 3, .tokens = 77});
    check_shape(&lm, &a, (hy__shape){.phase = HY__PHASE_PREFILL, .batch = 5, .tokens = 130});
    law_close(&lm);
}

static void for_each_shipped(void (*fn)(const hy__config *c)) {
    glob_t found;
    assert_int_equal(glob("configs/*.yaml", 0, NULL, &found), 0);
    assert_true(found.gl_pathc >= 12);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        hy__config c;
        hy_error err = {0};
        law_ok(hy__config_read_yaml(found.gl_pathv[i], &c, NULL, &err), &err);
        fn(&c);
    }
    globfree(&found);
}

static void check_shipped_flops(const hy__config *c) {
    static const int64_t length[] = {1, 2, 63, 64, 65, 1000, 4096, 65536, 1 << 20};
    check_lengths(c, length, sizeof length / sizeof *length);
}

static void test_flops_shipped(void **state) {
    (void)state;
    for_each_shipped(check_shipped_flops);
}

static void test_flops_random(void **state) {
    (void)state;
    static const int64_t length[] = {1, 3, 17, 100, 777, 5000};
    for (uint64_t seed = 1; seed <= 100; seed++) {
        const hy__config c = law_random_config(seed, 6);
        check_lengths(&c, length, sizeof length / sizeof *length);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flops_shipped),
        cmocka_unit_test(test_flops_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
