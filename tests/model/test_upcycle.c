/* test_upcycle.c: an E made of an F computes what F computed, whatever its router says; its moments
 * are those of its copies; and what else is in the model stays. */
#include "support/law.h"
#include "support/op.h"

#include "train/trainer.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N = 45 };

static hy__optimizer optimizer; /* of every rig */

static hy__config config(const char *pattern, int64_t ffn, int64_t expert) {
    hy__config c = law_config("SEFA");
    memset(c.derived, 0, sizeof c.derived);
    snprintf(c.model.layers, sizeof c.model.layers, "%s", pattern);
    c.ffn.d_ff = ffn;
    c.experts.d_ff = expert;
    law_finish(&c);
    return c;
}

/* A trainer that has nothing but what upcycling takes. */
typedef struct rig {
    law_model lm;
    hy__stage stage;
    hy__trainer tr;
} rig;

static void rig_open(rig *r, const char *backend, const hy__config *from, const hy__config *to,
                     double noise) {
    hy_error err = {0};
    *r = (rig){.stage = {.cfg = *to, .noise = noise}};
    law_open(&r->lm, backend, from, 7);
    r->tr = (hy__trainer){.be = r->lm.be, .model = r->lm.m, .stage = &r->stage};
    law_ok(hy__model_train(r->tr.model, &err), &err);
    law_ok(hy__optim_new(&r->tr.optim, r->tr.model, optimizer, HY__PREC_FP32, &err), &err);
    for (int64_t i = 0; i < r->tr.model->n_param; i++) {
        const hy__optim *o = r->tr.optim;
        if (!hy__present(o->m[i])) continue;
        double *x = op_random(100 + (uint64_t)i, r->tr.model->param[i].n, 1.0);
        hy__tensor_write_f64(r->lm.be, o->m[i], x, r->tr.model->param[i].n);
        free(x);
    }
    for (int64_t i = 0; i < r->tr.model->n_param; i++) r->tr.optim->step[i] = 9 + i;
}

static void upcycle(rig *r) {
    hy_error err = {0};
    law_ok(hy__upcycle(&r->tr, &err), &err);
    r->lm.m = r->tr.model;
}

static void rig_close(rig *r) {
    hy__optim_free(r->tr.optim);
    law_close(&r->lm);
}

static void check(const char *backend, int route, int64_t shared, double noise, double *off) {
    const hy__config from = config("SF FA", 24, 24);
    hy__config to = config("SE FA", 24, 24);
    to.experts.route = (hy__route_mode)route;
    to.experts.shared = shared;
    rig r;
    rig_open(&r, backend, &from, &to, noise);
    int32_t *token = law_tokens(5, N, from.model.vocab);
    double *want = law_logits(&r.lm, token, N, NULL, 0, NULL);
    upcycle(&r);
    double *got = law_logits(&r.lm, token, N, NULL, 0, NULL);
    *off = op_error(want, got, N * from.model.vocab);
    free(token);
    free(want);
    free(got);
    rig_close(&r);
}

static void test_same_function(void **state) {
    (void)state;
    double off;
    for (int route = HY__ROUTE_PREVIOUS; route <= HY__ROUTE_OWN; route++)
        for (int64_t shared = 0; shared < 2; shared++) {
            check("ref64", route, shared, 0, &off);
            if (off > 1e-12) fail_msg("route %d, %d shared: off by %g", route, (int)shared, off);
            check("cpu", route, shared, 0, &off);
            if (off > 1e-5)
                fail_msg("route %d, %d shared on cpu: off by %g", route, (int)shared, off);
        }
    optimizer = HY__OPTIMIZER_MUON;
    check("ref64", 0, 0, 0, &off);
    assert_true(off <= 1e-12);
    optimizer = HY__OPTIMIZER_ADAMW;
    check("ref64", 0, 0, 0.05, &off);
    assert_true(off > 1e-6 && off < 0.1); /* a small change, and one */
}

static double *read_tensor(const rig *r, hy__tensor t, int64_t n) {
    double *x = malloc((size_t)n * sizeof *x);
    hy__tensor_read_f64(r->lm.be, x, t, n);
    return x;
}

static int64_t find(const rig *r, const char *name) {
    const hy__param *p = hy__model_find(r->tr.model, name);
    if (!p) fail_msg("there is no %s", name);
    return p - r->tr.model->param;
}

/* Experts half as wide as F: expert 1 is the second half, twice as strong; expert 2 is the first
 * again. */
static void test_slices(void **state) {
    (void)state;
    enum { F = 24, E = 12, D = 32, N_EXPERT = 4 };
    const hy__config from = config("SF FA", F, E), to = config("SE FA", F, E);
    rig r;
    rig_open(&r, "ref64", &from, &to, 0);
    const int64_t up = find(&r, "backbone.layers.1.mixer.gate_up.weight");
    const int64_t down = find(&r, "backbone.layers.1.mixer.down.weight");
    double *f_up = read_tensor(&r, r.tr.model->param[up].value, 2 * F * D);
    double *f_down = read_tensor(&r, r.tr.model->param[down].value, D * F);
    double *m_up = read_tensor(&r, r.tr.optim->m[up], 2 * F * D);
    const int64_t kept = find(&r, "backbone.layers.3.mixer.qkv_proj.weight");
    const int64_t n_kept = r.tr.model->param[kept].n, n_step = r.tr.optim->step[up];
    double *m_kept = read_tensor(&r, r.tr.optim->m[kept], n_kept);
    upcycle(&r);
    const int64_t e_up = find(&r, "backbone.layers.1.mixer.experts.gate_up.weight");
    const int64_t e_down = find(&r, "backbone.layers.1.mixer.experts.down.weight");
    assert_int_equal(r.tr.optim->step[e_up], n_step);
    double *x = read_tensor(&r, r.tr.model->param[e_up].value, N_EXPERT * 2 * E * D);
    double *y = read_tensor(&r, r.tr.model->param[e_down].value, N_EXPERT * D * E);
    double *m = read_tensor(&r, r.tr.optim->m[e_up], N_EXPERT * 2 * E * D);
    for (int e = 0; e < N_EXPERT; e++)
        for (int i = 0; i < E; i++)
            for (int d = 0; d < D; d++) {
                const int unit = e % 2 * E + i;
                assert_true(x[(e * 2 * E + i) * D + d] == f_up[unit * D + d]);
                assert_true(x[(e * 2 * E + E + i) * D + d] == f_up[(F + unit) * D + d]);
                assert_true(y[(e * D + d) * E + i] == 2 * f_down[d * F + unit]);
                /* twice the gradient for a fourth of the tokens' weight */
                assert_true(fabs(m[(e * 2 * E + i) * D + d] - m_up[unit * D + d] / 2) < 1e-15);
            }
    double *now =
        read_tensor(&r, r.tr.optim->m[find(&r, "backbone.layers.3.mixer.qkv_proj.weight")], n_kept);
    assert_memory_equal(now, m_kept, (size_t)n_kept * sizeof *now);
    free(f_up);
    free(f_down);
    free(m_up);
    free(m_kept);
    free(x);
    free(y);
    free(m);
    free(now);
    rig_close(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_function),
        cmocka_unit_test(test_slices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
