/* test_true_gradients.c: the law "true gradients" (docs/numerics.md).
 *
 * A batch of two sequences (one fresh, one in the middle of a block with a carried state), with the
 * loss  Σ c·output + Σ e·state_out  for random c and e, so that every path counts: parameters,
 * inputs (through the embedding), incoming and outgoing states.
 * 1. ref64 against central differences along one random direction per tensor, which no wrong
 * element can escape: relative 1e-6.
 * 2. every other backend against ref64, tensor by tensor.
 * 3. the layers' inputs made again from what came after them, against kept ones; also where the
 * residual stream grows a thousandfold. */
#include "model/work.h"
#include "support/law.h"
#include "support/op.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N_SEQ = 2, LEN_0 = 37, LEN_1 = 30, PAST = 21, N_ROW = LEN_0 + LEN_1 };

/* One model with its batch, its random loss and its gradients. */
typedef struct rig {
    law_model lm;
    hy__work *work;
    hy__state *in[N_SEQ], *out[N_SEQ], *din[N_SEQ], *dout[N_SEQ];
    hy__seq seq[N_SEQ];
    int32_t *token;
    double *c; /* [N_ROW, d] */
    double *e; /* of every state tensor, sequence after sequence */
    int64_t n_e, past;
} rig;

static double scale = 1; /* of the gates of every rig */

/* ---- the states' part of the loss ---- */

typedef struct visit {
    rig *r;
    int64_t at;
    double sum;
    bool write; /* write e into the tensor, else add e·tensor to sum */
} visit;

static void visit_state(void *user, hy__tensor t, const double *mask, int64_t n) {
    visit *v = user;
    double *x = malloc((size_t)n * sizeof *x + 1);
    assert_true(v->at + n <= v->r->n_e);
    const double *e = v->r->e + v->at;
    if (v->write) {
        for (int64_t i = 0; i < n; i++) x[i] = e[i] * mask[i];
        hy__tensor_write_f64(v->r->lm.be, t, x, n);
    } else {
        hy__tensor_read_f64(v->r->lm.be, x, t, n);
        for (int64_t i = 0; i < n; i++)
            if (mask[i] != 0) v->sum += e[i] * x[i];
    }
    v->at += n;
    free(x);
}

static hy__batch batch_of(rig *r) {
    return (hy__batch){.rows = {.n_row = N_ROW, .n_seq = N_SEQ, .seq = r->seq},
                       .token = r->token,
                       .state_in = r->in,
                       .state_out = r->out,
                       .dstate_in = r->din,
                       .dstate_out = r->dout};
}

static double loss_of(void *user) {
    rig *r = user;
    hy_error err = {0};
    const int64_t n = N_ROW * r->lm.m->cfg.model.d_model;
    const hy__batch b = batch_of(r);
    law_ok(hy__forward(r->work, &b, &err), &err);
    double *y = malloc((size_t)n * sizeof *y);
    hy__get_outputs(r->work, y);
    visit v = {.r = r};
    for (int64_t i = 0; i < n; i++) v.sum += r->c[i] * y[i];
    for (int i = 0; i < N_SEQ; i++) law_each_state(r->out[i], true, visit_state, &v);
    free(y);
    return v.sum;
}

/* Forward and backward; the gradients are then in the model and in din. */
static void gradients(rig *r) {
    hy_error err = {0};
    hy__model_zero_grad(r->lm.m, true);
    (void)loss_of(r);
    visit v = {.r = r, .write = true};
    for (int i = 0; i < N_SEQ; i++) {
        r->dout[i]->pos = r->out[i]->pos;
        law_each_state(r->dout[i], true, visit_state, &v);
    }
    hy__set_output_grad(r->work, r->c);
    law_ok(hy__backward(r->work, 1.0, &err), &err);
    for (int i = 0; i < N_SEQ; i++) r->din[i]->pos = r->in[i]->pos;
}

/* ---- setting up ---- */

/* Fills the second sequence's incoming state by really running its past. */
static void run_past(rig *r, uint64_t seed) {
    hy_error err = {0};
    hy__work *w = NULL;
    int32_t *token = law_tokens(seed + 7, r->past, r->lm.m->cfg.model.vocab);
    const hy__seq seq = {.len = r->past};
    const hy__batch b = {.rows = {.n_row = r->past, .n_seq = 1, .seq = &seq},
                         .token = token,
                         .state_out = &r->in[1]};
    law_ok(hy__work_new(&w, r->lm.m, (hy__work_options){0}, &err), &err);
    law_ok(hy__forward(w, &b, &err), &err);
    hy__work_free(w);
    free(token);
}

static void rig_open(rig *r, const char *backend, const hy__config *c, uint64_t seed,
                     bool recompute) {
    hy_error err = {0};
    *r = (rig){.past = hy__config_sees_ahead(c) ? c->model.chunk : PAST};
    law_open(&r->lm, backend, c, seed);
    hy__model *m = r->lm.m;
    for (int64_t i = 0; i < c->n_layer; i++) m->layer[i].scale = scale;
    law_ok(hy__model_train(m, &err), &err);
    const hy__work_options opt = {.training = true, .recompute = recompute};
    law_ok(hy__work_new(&r->work, m, opt, &err), &err);
    for (int i = 0; i < N_SEQ; i++) {
        const int64_t cap = 100;
        law_ok(hy__state_new(&r->in[i], m, cap, &err), &err);
        law_ok(hy__state_new(&r->out[i], m, cap, &err), &err);
        law_ok(hy__state_new(&r->din[i], m, cap, &err), &err);
        law_ok(hy__state_new(&r->dout[i], m, cap, &err), &err);
    }
    r->seq[0] = (hy__seq){.start = 0, .len = LEN_0, .pos = 0};
    r->seq[1] = (hy__seq){.start = LEN_0, .len = LEN_1, .pos = r->past};
    r->token = law_tokens(seed, N_ROW, c->model.vocab);
    r->c = op_random(seed + 1, N_ROW * c->model.d_model, 1.0);
    r->n_e = N_SEQ * (int64_t)(r->in[0]->bytes / sizeof(float) + 64);
    r->e = op_random(seed + 2, r->n_e, 0.3);
    run_past(r, seed);
}

static void rig_close(rig *r) {
    for (int i = 0; i < N_SEQ; i++) {
        hy__state_free(r->in[i]);
        hy__state_free(r->out[i]);
        hy__state_free(r->din[i]);
        hy__state_free(r->dout[i]);
    }
    hy__work_free(r->work);
    free(r->token);
    free(r->c);
    free(r->e);
    law_close(&r->lm);
}

/* ---- 1. against finite differences ---- */

/* Slope of the loss when tensor t moves along `dir`, and its gradient's dot product with it. */
typedef struct line {
    rig *r;
    hy__tensor t;
    const double *base, *dir;
    int64_t n;
    double at;
} line;

static double loss_along(void *user) {
    line *l = user;
    double *x = malloc((size_t)l->n * sizeof *x + 1);
    for (int64_t i = 0; i < l->n; i++) x[i] = l->base[i] + l->at * l->dir[i];
    hy__tensor_write_f64(l->r->lm.be, l->t, x, l->n);
    free(x);
    return loss_of(l->r);
}

static void check_slope(rig *r, const char *name, hy__tensor value, hy__tensor grad,
                        const double *mask, int64_t n, uint64_t seed) {
    double *base = malloc((size_t)n * sizeof *base + 1), *g = malloc((size_t)n * sizeof *g + 1);
    double *dir = op_random(seed, n, 1.0);
    hy__tensor_read_f64(r->lm.be, base, value, n);
    hy__tensor_read_f64(r->lm.be, g, grad, n);
    double want = 0, sum = 0;
    for (int64_t i = 0; i < n; i++) {
        if (mask && mask[i] == 0) {
            dir[i] = 0;
            continue;
        }
        want += g[i] * dir[i];
        sum += g[i] * g[i];
    }
    line l = {.r = r, .t = value, .base = base, .dir = dir, .n = n};
    /* Four-point differences. A large step meets curvature or another choice of block, expert or
     * row; a small one meets rounding; a wrong gradient disagrees at every step. */
    const double size = fmax(sqrt(sum), 1e-3);
    double off = (double)INFINITY, got = 0;
    for (double h = 2e-4; h > 1e-6 && off > 1e-6 * size; h /= 6) {
        const double near = op_slope(loss_along, &l, &l.at, h);
        const double far = op_slope(loss_along, &l, &l.at, 2 * h);
        got = (4 * near - far) / 3;
        off = fabs(got - want);
    }
    l.at = 0;
    (void)loss_along(&l);
    if (!(off <= 1e-6 * size)) {
        fail_msg("\"%s\", %s: slope %.12g by differences, %.12g by the backward (size %.3g)",
                 r->lm.m->cfg.model.layers, name, got, want, size);
    }
    free(base);
    free(g);
    free(dir);
}

typedef struct pair_visit {
    rig *r;
    int seq;
    int64_t layer, id;
} pair_visit;

static void check_state_slope(void *user, hy__tensor t, const double *mask, int64_t n) {
    pair_visit *v = user;
    const hy__state *in = v->r->in[v->seq];
    /* the same tensor in the gradient: both states have one layout */
    hy__tensor grad = t;
    grad.buf = &v->r->din[v->seq]->buf;
    char name[64];
    snprintf(name, sizeof name, "incoming state at byte %zu", t.off);
    bool any = false;
    for (int64_t i = 0; i < n; i++) any |= mask[i] != 0;
    if (any && in->pos > 0) check_slope(v->r, name, t, grad, mask, n, 900 + t.off);
}

static void check_differences(const hy__config *c, uint64_t seed) {
    rig r;
    rig_open(&r, "ref64", c, seed, false);
    gradients(&r);
    for (int64_t i = 0; i < r.lm.m->n_param; i++) {
        const hy__param *p = &r.lm.m->param[i];
        if (hy__present(p->grad))
            check_slope(&r, p->name, p->value, p->grad, NULL, p->n, 100 + (uint64_t)i);
    }
    pair_visit v = {.r = &r, .seq = 1};
    law_each_state(r.in[1], true, check_state_slope, &v);
    rig_close(&r);
}

/* ---- 2. and 3. against ref64, and recomputed ---- */

typedef struct collected {
    rig *r;
    double *x;
    int64_t n;
} collected;

static void collect_tensor(void *user, hy__tensor t, const double *mask, int64_t n) {
    collected *all = user;
    all->x = realloc(all->x, (size_t)(all->n + n + 1) * sizeof *all->x);
    hy__tensor_read_f64(all->r->lm.be, all->x + all->n, t, n);
    for (int64_t i = 0; mask && i < n; i++)
        if (mask[i] == 0) all->x[all->n + i] = 0;
    all->n += n;
}

/* fp32 against fp64 for each ten layers, whose errors add; sums of some hundred products of order
 * one. What cancels in a gradient is as large as the model's other gradients, so a tensor below a
 * thousandth of the largest is judged on that scale. */
static const double TOL_FP32 = 2e-4, SMALL = 1e-3;

static double largest(const double *x, int64_t n) {
    double top = 0;
    for (int64_t i = 0; i < n; i++) top = fmax(top, fabs(x[i]));
    return top;
}

static double largest_gradient(rig *r) {
    double top = 0;
    for (int64_t i = 0; i < r->lm.m->n_param; i++) {
        const hy__param *p = &r->lm.m->param[i];
        if (!hy__present(p->grad)) continue;
        collected all = {.r = r};
        collect_tensor(&all, p->grad, NULL, p->n);
        top = fmax(top, largest(all.x, all.n));
        free(all.x);
    }
    return top;
}

/* Gradients of all parameters of two rigs that ran. */
static void expect_gradients(rig *want, rig *got, const char *backend, double tol) {
    const double top = largest_gradient(want);
    for (int64_t i = 0; i < want->lm.m->n_param; i++) {
        const hy__param *p = &want->lm.m->param[i], *q = &got->lm.m->param[i];
        if (!hy__present(p->grad)) continue;
        collected a = {.r = want}, b = {.r = got};
        collect_tensor(&a, p->grad, NULL, p->n);
        collect_tensor(&b, q->grad, NULL, p->n);
        char where[160];
        snprintf(where, sizeof where, "\"%.60s\" gradient of %.60s", want->lm.m->cfg.model.layers,
                 p->name);
        const double own = fmax(largest(a.x, a.n), 1e-30);
        op_expect(where, backend, a.x, b.x, a.n, tol * fmax(1.0, SMALL * top / own));
        free(a.x);
        free(b.x);
    }
}

static void check_backend(const char *backend, const hy__config *c, uint64_t seed) {
    rig want, got;
    rig_open(&want, "ref64", c, seed, false);
    rig_open(&got, backend, c, seed, false);
    gradients(&want);
    gradients(&got);
    const double tol = TOL_FP32 * fmax(1.0, (double)c->n_layer / 10);
    expect_gradients(&want, &got, backend, tol);
    collected a = {.r = &want}, b = {.r = &got};
    law_each_state(want.din[1], true, collect_tensor, &a);
    law_each_state(got.din[1], true, collect_tensor, &b);
    if (a.n > 0) op_expect("gradient of the incoming state", backend, a.x, b.x, a.n, tol);
    free(a.x);
    free(b.x);
    rig_close(&want);
    rig_close(&got);
}

/* A layer's input is kept, or what came after the layer less its output: a rounding of the stream
 * for each of up to ten layers, which a layer may make some times larger. */
static const double TOL_AGAIN = 2e-5;

static void check_recompute(const char *backend, const hy__config *c, uint64_t seed) {
    rig kept, again;
    rig_open(&kept, backend, c, seed, false);
    rig_open(&again, backend, c, seed, true);
    gradients(&kept);
    gradients(&again);
    expect_gradients(&kept, &again, backend, TOL_AGAIN);
    rig_close(&kept);
    rig_close(&again);
}

/* The stream's roundings are those of its largest: 1000·2^-24 = 6e-5 of the first layer's input,
 * which a layer may make some times larger. A product in bf16 errs by 4e-3. */
static const double GROWTH = 1000, TOL_GROWN = 1e-3;

static double rms(hy__backend *be, hy__tensor t, int64_t n) {
    double *x = malloc((size_t)n * sizeof *x), sum = 0;
    hy__tensor_read_f64(be, x, t, n);
    for (int64_t i = 0; i < n; i++) sum += x[i] * x[i];
    free(x);
    return sqrt(sum / (double)n);
}

/* Sets the gates of both so that each layer makes the stream as many times larger, GROWTH in all.
 * A layer's output is known from a forward with other gates: it does not depend on the stream's
 * size. */
static void let_grow(rig *kept, const rig *again) {
    const hy__model *m = kept->lm.m;
    const hy__param *embed = &m->param[m->embed];
    const double each = pow(GROWTH, 1.0 / (double)m->cfg.n_layer);
    double x = rms(m->be, embed->value, embed->n);
    (void)loss_of(kept);
    for (int64_t i = 0; i < m->cfg.n_layer; i++, x *= each) {
        const double y = rms(m->be, kept->work->y[i], N_ROW * m->cfg.model.d_model);
        const double gate = x * sqrt(each * each - 1) / y;
        const hy__layer *l = &m->layer[i], *other = &again->lm.m->layer[i];
        hy__tensor_write_f64(m->be, l->value[l->gate], &gate, 1);
        hy__tensor_write_f64(again->lm.be, other->value[other->gate], &gate, 1);
    }
}

static void check_growth(const char *backend, const char *pattern) {
    const hy__config c = law_config(pattern);
    rig kept, again;
    rig_open(&kept, backend, &c, 11, false);
    rig_open(&again, backend, &c, 11, true);
    let_grow(&kept, &again);
    gradients(&kept);
    gradients(&again);
    const hy__param *embed = &kept.lm.m->param[kept.lm.m->embed];
    const double grown =
        1 / (rms(kept.lm.be, kept.work->rstd_f, N_ROW) * rms(kept.lm.be, embed->value, embed->n));
    if (!(grown > GROWTH / 4 && grown < GROWTH * 4)) fail_msg("the stream grew by %.3g", grown);
    expect_gradients(&kept, &again, backend, TOL_GROWN);
    rig_close(&kept);
    rig_close(&again);
}

/* ---- the configurations ---- */

typedef void (*config_fn)(const hy__config *c, uint64_t seed);

/* Each letter alone, with the settings that change its equations. */
static void for_each_letter(config_fn fn) {
    for (const char *p = "SAEFWP"; *p; p++) {
        const hy__config c = law_config((char[]){*p, 0});
        fn(&c, 3 + (uint64_t)*p);
    }
    for (int route = HY__ROUTE_PREVIOUS; route <= HY__ROUTE_OWN; route++) {
        hy__config c = law_config("E");
        c.experts.route = (hy__route_mode)route;
        c.experts.shortlist = 3;
        c.experts.shared = 1;
        c.experts.z_loss = 0; /* the random loss knows nothing of it; test_losses.c does */
        law_finish(&c);
        fn(&c, 71 + (uint64_t)route);
    }
    hy__config a = law_config("A");
    a.attention.topk = 0;
    a.attention.rope_theta = 10000.0;
    law_finish(&a);
    fn(&a, 81);
    a.attention.qk_norm = false;
    a.attention.window = 1000; /* full attention */
    law_finish(&a);
    fn(&a, 82);
    hy__config s = law_config("S");
    s.ssm.n_group = 2;
    law_finish(&s);
    fn(&s, 83);
    hy__config w = law_config("W");
    w.workspace.reads = 1;
    law_finish(&w);
    fn(&w, 84);
}

static void fn_differences(const hy__config *c, uint64_t seed) {
    hy__config quiet = *c;
    quiet.experts.z_loss = 0;
    check_differences(&quiet, seed);
}

static void fn_backends(const hy__config *c, uint64_t seed) {
    for (const char *const *be = hy__backend_names(); *be; be++)
        if (strcmp(*be, "ref64") != 0) check_backend(*be, c, seed);
}

static void test_differences(void **state) {
    (void)state;
    for_each_letter(fn_differences);
    const hy__config all = law_config("SA EP FW S");
    fn_differences(&all, 5);
}

static void test_backends(void **state) {
    (void)state;
    for_each_letter(fn_backends);
    for (uint64_t seed = 1; seed <= 50; seed++) {
        const hy__config c = law_random_config(seed + 900, 5);
        check_backend("cpu", &c, seed);
    }
}

static void fn_shipped(const hy__config *c, uint64_t seed) {
    check_backend("cpu", c, seed);
}

/* Gates that a curriculum has raised to a third. */
static void test_rising_gates(void **state) {
    (void)state;
    hy__config all = law_config("SA EP FW S");
    all.experts.z_loss = 0;
    scale = 1.0 / 3;
    check_differences(&all, 7); /* far from ties, where a step changes a choice */
    fn_backends(&all, 7);
    check_recompute("cpu", &all, 7);
    scale = 1;
}

static void test_shipped_configurations(void **state) {
    (void)state;
    law_each_shipped(fn_shipped);
}

static void test_recompute(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        const hy__config c = law_random_config(seed + 300, 6);
        check_recompute(seed % 3 == 0 ? "ref" : "cpu", &c, seed);
    }
}

static void test_growing_stream(void **state) {
    (void)state;
    check_growth("cpu", "12x(S F)");
    check_growth("cpu", "4x(A W S F P E)");
    check_growth("ref", "12x(S F)");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_differences),
        cmocka_unit_test(test_backends),
        cmocka_unit_test(test_shipped_configurations),
        cmocka_unit_test(test_recompute),
        cmocka_unit_test(test_growing_stream),
        cmocka_unit_test(test_rising_gates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
