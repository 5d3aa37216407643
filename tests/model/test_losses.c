/* test_losses.c: the losses (docs/model.md) as a whole: cross-entropy through the tied output,
 * plus the experts' z-loss and auxiliary loss, against differences in double; padding counts for
 * nothing; tiles of logits join without a seam. */
#include "infer/engine.h"
#include "support/law.h"
#include "support/op.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N = 29 };

typedef struct rig {
    law_model lm;
    hy__work *work;
    int32_t *token, *target;
} rig;

static const double SCALE = 1.0 / N, LOSS_SCALE = 0.5;

/* scale·Σ nll + loss_scale·z_loss·mean lse² of every E layer */
static double loss_of(void *user) {
    rig *r = user;
    hy_error err = {0};
    hy__model *m = r->lm.m;
    const hy__seq seq = {.len = N};
    const hy__batch b = {.rows = {.n_row = N, .n_seq = 1, .seq = &seq}, .token = r->token};
    for (int64_t i = 0; i < m->cfg.n_layer; i++)
        if (m->layer[i].decl.n_stat)
            m->be->zero(m->be, m->layer[i].stat, (size_t)m->layer[i].decl.n_stat * sizeof(double));
    double sum, total;
    int64_t count;
    law_ok(hy__forward(r->work, &b, &err), &err);
    law_ok(hy__loss(r->work, r->target, SCALE, NULL, &sum, &count, &err), &err);
    total = SCALE * sum;
    const int64_t units = (N + m->cfg.experts.expert_chunk - 1) / m->cfg.experts.expert_chunk;
    for (int64_t i = 0; i < m->cfg.n_layer; i++) {
        if (m->layer[i].component->letter != 'E') continue;
        double lse2;
        hy__tensor_read_f64(m->be, &lse2, hy__at(m->layer[i].stat, m->cfg.experts.n_expert), 1);
        total += LOSS_SCALE * m->cfg.experts.z_loss * lse2 / (double)units;
    }
    return total;
}

static void rig_open(rig *r, const char *backend, const hy__config *c) {
    hy_error err = {0};
    law_open(&r->lm, backend, c, 12);
    law_ok(hy__model_train(r->lm.m, &err), &err);
    law_ok(hy__work_new(&r->work, r->lm.m, (hy__work_options){.training = true}, &err), &err);
    r->token = law_tokens(6, N + 1, c->model.vocab);
    r->target = malloc(N * sizeof *r->target);
    memcpy(r->target, r->token + 1, N * sizeof *r->target);
    r->target[3] = -1;
}

static void rig_close(rig *r) {
    hy__work_free(r->work);
    free(r->token);
    free(r->target);
    law_close(&r->lm);
}

static void test_gradient(void **state) {
    (void)state;
    hy__config c = law_config("SE A EP");
    c.experts.z_loss = 0.05;
    rig r = {0};
    hy_error err = {0};
    rig_open(&r, "ref64", &c);
    (void)loss_of(&r);
    law_ok(hy__backward(r.work, LOSS_SCALE, &err), &err);
    for (int64_t i = 0; i < r.lm.m->n_param; i++) {
        const hy__param *p = &r.lm.m->param[i];
        if (!hy__present(p->grad)) continue;
        double *g = malloc((size_t)p->n * sizeof *g), *x = malloc((size_t)p->n * sizeof *x);
        hy__tensor_read_f64(r.lm.be, g, p->grad, p->n);
        hy__tensor_read_f64(r.lm.be, x, p->value, p->n);
        double *dir = op_random((uint64_t)i, p->n, 1.0), want = 0, size = 1e-3;
        for (int64_t j = 0; j < p->n; j++) {
            want += g[j] * dir[j];
            size += g[j] * g[j];
        }
        double off = (double)INFINITY;
        for (double h = 1e-4; h > 1e-7 && off > 1e-6 * sqrt(size); h /= 6) {
            double f[4];
            for (int k = 0; k < 4; k++) { /* -2h, -h, h, 2h */
                const double at = (k < 2 ? k - 2 : k - 1) * h;
                double *moved = malloc((size_t)p->n * sizeof *moved);
                for (int64_t j = 0; j < p->n; j++) moved[j] = x[j] + at * dir[j];
                hy__tensor_write_f64(r.lm.be, p->value, moved, p->n);
                free(moved);
                f[k] = loss_of(&r);
            }
            off = fabs((8 * (f[2] - f[1]) - (f[3] - f[0])) / (12 * h) - want);
        }
        hy__tensor_write_f64(r.lm.be, p->value, x, p->n);
        if (off > 1e-6 * sqrt(size)) fail_msg("%s: off by %.3g of %.3g", p->name, off, sqrt(size));
        free(g);
        free(x);
        free(dir);
    }
    rig_close(&r);
}

static void check_padding_and_logits(const char *backend, const hy__config *c) {
    rig r = {0};
    hy_error err = {0};
    rig_open(&r, backend, c);
    (void)loss_of(&r);
    float nll[N];
    double sum, by_hand = 0;
    int64_t count;
    law_ok(hy__loss(r.work, r.target, 0.0, nll, &sum, &count, &err), &err);
    assert_int_equal(count, N - 1);
    assert_true(nll[3] == 0.0f);
    double *logit = malloc(N * (size_t)c->model.vocab * sizeof *logit);
    law_ok(hy__logits_f64(r.work, 0, N, logit, &err), &err);
    for (int64_t i = 0; i < N; i++) {
        if (r.target[i] < 0) continue;
        double z = 0;
        for (int64_t v = 0; v < c->model.vocab; v++) z += exp(logit[i * c->model.vocab + v]);
        const double want = log(z) - logit[i * c->model.vocab + r.target[i]];
        assert_true(fabs((double)nll[i] - want) < 1e-5 * want);
        by_hand += want;
    }
    assert_true(fabs(by_hand - sum) < 1e-5 * by_hand);
    free(logit);
    rig_close(&r);
}

static void test_padding_and_logits(void **state) {
    (void)state;
    const hy__config c = law_config("SA");
    hy__config wide = c; /* a row is a twentieth of a tile: the batch takes two */
    wide.model.vocab = 100000;
    law_finish(&wide);
    for (const char *const *be = hy__backend_names(); *be; be++) {
        check_padding_and_logits(*be, &c);
        check_padding_and_logits(*be, &wide);
    }
}

static void test_refusals(void **state) {
    (void)state;
    const hy__config c = law_config("SA");
    rig r = {0};
    hy_error err = {0};
    rig_open(&r, "ref", &c);
    hy__seq seq = {.len = N};
    hy__batch b = {.rows = {.n_row = N, .n_seq = 1, .seq = &seq}, .token = r.token};
    float out[1];
    assert_int_equal(hy__logits(r.work, 0, 1, out, &err), HY_E_INVALID); /* nothing ran yet */
    r.token[4] = 50;
    assert_int_equal(hy__forward(r.work, &b, &err), HY_E_INVALID);
    assert_non_null(strstr(err.text, "token 4 of the batch is 50; wanted 0 to 49"));
    r.token[4] = -1; /* a target may say so, a token not */
    assert_int_equal(hy__forward(r.work, &b, &err), HY_E_INVALID);
    assert_non_null(strstr(err.text, "token 4 of the batch is -1; wanted 0 to 49"));
    r.token[4] = 1;
    seq.pos = 3;
    assert_int_equal(hy__forward(r.work, &b, &err), HY_E_INVALID);
    assert_non_null(strstr(err.text, "position 3, but its state is at 0"));
    seq.pos = 0;
    b.rows.n_row = N + 1;
    assert_int_equal(hy__forward(r.work, &b, &err), HY_E_INVALID);
    b.rows.n_row = seq.len = INT64_C(1) << 31; /* choices are numbered in 32 bits */
    assert_int_equal(hy__forward(r.work, &b, &err), HY_E_INVALID);
    assert_non_null(strstr(err.text, "wanted at most"));
    hy__state *s;
    assert_int_equal(hy__state_new(&s, r.lm.m, INT64_C(1) << 60, &err), HY_E_MEMORY);
    assert_non_null(strstr(err.text, "would take"));
    rig_close(&r);
}

/* What is not causal is scored in whole units, and never continued. */
static void test_leak_refused(void **state) {
    (void)state;
    hy__config c = law_config("E");
    c.experts.route = HY__ROUTE_OWN;
    law_finish(&c);
    rig r = {0};
    hy_error err = {0};
    rig_open(&r, "ref", &c);
    hy__state *s = NULL;
    law_ok(hy__state_new(&s, r.lm.m, 2 * N, &err), &err);
    hy__seq seq = {.len = c.experts.expert_chunk - 1};
    hy__batch b = {
        .rows = {.n_row = seq.len, .n_seq = 1, .seq = &seq}, .token = r.token, .state_out = &s};
    law_ok(hy__forward(r.work, &b, &err), &err);
    b.state_in = &s;
    b.state_out = NULL;
    seq.pos = seq.len;
    seq.len = b.rows.n_row = 1;
    assert_int_equal(hy__forward(r.work, &b, &err), HY_E_INVALID);
    assert_non_null(strstr(err.text, "goes on at position 7"));
    hy_session *session;
    assert_int_equal(hy_session_new(&session, &(hy_model){.be = r.lm.be, .net = r.lm.m}, &err),
                     HY_E_INVALID);
    assert_non_null(strstr(err.text, "experts.route is own"));
    hy__state_free(s);
    rig_close(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradient),
        cmocka_unit_test(test_padding_and_logits),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_leak_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
