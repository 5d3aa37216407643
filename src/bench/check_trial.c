/* check_trial.c: see check_trial.h. */
#include "bench/check_trial.h"

#include "base/rng.h"
#include "infer/engine.h"
#include "train/optim.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- records ---- */

void hy__record_release(hy__record *r) {
    free(r->group);
    free(r->x);
    *r = (hy__record){0};
}

/* Room for n numbers of a new group; NULL when memory is short, which is remembered. */
static double *put(hy__record *r, char kind, const char *name, int64_t n) {
    if (r->failed) return NULL;
    struct hy__recorded *group = realloc(r->group, (size_t)(r->n_group + 1) * sizeof *group);
    if (group) r->group = group;
    double *x = realloc(r->x, (size_t)(r->n + n) * sizeof *x);
    if (x) r->x = x;
    r->failed = !group || !x;
    if (r->failed) return NULL;
    struct hy__recorded *g = &r->group[r->n_group++];
    *g = (struct hy__recorded){.kind = kind, .begin = r->n, .n = n};
    snprintf(g->name, sizeof g->name, "%s", name);
    r->n += n;
    return r->x + g->begin;
}

static void put_tensor(hy__record *r, char kind, const char *name, hy__backend *be, hy__tensor t,
                       int64_t n) {
    double *x = put(r, kind, name, n);
    if (x) hy__tensor_read_f64(be, x, t, n);
}

typedef struct size_of {
    double worst, mean;
} size_of;

/* The size of x - y; y may be NULL. NaN and infinity make it infinite. */
static size_of measure(const double *x, const double *y, int64_t n) {
    size_of s = {0};
    for (int64_t i = 0; i < n; i++) {
        const double d = fabs(y ? x[i] - y[i] : x[i]);
        if (!isfinite(d)) return (size_of){(double)INFINITY, (double)INFINITY};
        if (d > s.worst) s.worst = d;
        s.mean += d * d;
    }
    s.mean = n > 0 ? sqrt(s.mean / (double)n) : 0;
    return s;
}

/* The largest of the groups of one kind. */
static size_of largest(const hy__record *r, char kind) {
    size_of top = {0};
    for (int64_t i = 0; i < r->n_group; i++) {
        if (r->group[i].kind != kind) continue;
        const size_of s = measure(r->x + r->group[i].begin, NULL, r->group[i].n);
        top.worst = fmax(top.worst, s.worst);
        top.mean = fmax(top.mean, s.mean);
    }
    return top;
}

bool hy__record_agrees(const hy__record *want, const hy__record *got, const char *kinds,
                       hy__tolerance allowed, hy_error *err) {
    static const double SMALL = 1e-3;
    HY_ASSERT(want->n_group == got->n_group && want->n == got->n);
    for (int64_t i = 0; i < want->n_group; i++) {
        const struct hy__recorded *g = &want->group[i];
        const double *x = want->x + g->begin, *y = got->x + g->begin;
        if (!strchr(kinds, g->kind)) continue;
        const size_of own = measure(x, NULL, g->n), top = largest(want, g->kind);
        const size_of off = measure(x, y, g->n);
        const double worst = off.worst / fmax(fmax(own.worst, SMALL * top.worst), 1e-30);
        const double mean = off.mean / fmax(fmax(own.mean, SMALL * top.mean), 1e-30);
        const bool by_mean = allowed.mean > 0;
        if (by_mean ? mean <= allowed.mean : worst <= allowed.worst) continue;
        (void)hy__fail(err, HY_E_INTERNAL,
                       "%s differs from ref64 by %.2g of its size, %.2g allowed", g->name,
                       by_mean ? mean : worst, by_mean ? allowed.mean : allowed.worst);
        return false;
    }
    return true;
}

/* ---- the model ---- */

/* What becomes of the numbers of a parameter. */
typedef enum change { NOISE, SIGN, SET } change;

static void change_param(hy__model *m, int64_t i, change how, float value) {
    enum { PART = 1024 };
    float part[PART];
    const hy__param *p = &m->param[i];
    const uint64_t key = hy__rng_key(1, "check", (uint64_t)i);
    for (int64_t j = 0, n; j < p->n; j += n) {
        n = hy__param_run(p, j, PART);
        hy__tensor_read_f32(m->be, part, hy__at(p->value, j), n);
        for (int64_t k = 0; k < n; k++) {
            const float noise = (float)(0.2 * hy__rng_uniform(key, (uint64_t)(j + k)) - 0.1);
            part[k] = how == NOISE ? part[k] + noise : how == SIGN ? copysignf(1, part[k]) : value;
        }
        hy__tensor_write_f32(m->be, hy__at(p->value, j), part, n);
    }
}

/* Every parameter, norms and biases included, gets its own value and noise. */
static void shake(hy__model *m) {
    hy__model_randomize(m, 1);
    for (int64_t i = 0; i < m->n_param; i++) change_param(m, i, NOISE, 0);
}

/* For operands that are rounded: with signs for the embedding, and norms before layers that leave
 * them so, the first products of a layer multiply what no rounding changes, so that none tips a
 * choice (of a block, of a row of a table); and the layer's output, not the embedding, is what the
 * logits show. */
static void make_exact(hy__model *m) {
    change_param(m, m->embed, SIGN, 0);
    for (int64_t l = 0; l < m->cfg.n_layer; l++) {
        const hy__layer *layer = &m->layer[l];
        change_param(m, layer->param_at[layer->norm], SET, 1);
        change_param(m, layer->param_at[layer->gate], SET, 256);
    }
}

static void draw(int32_t *token, int64_t n, int64_t vocab, const char *purpose) {
    const uint64_t key = hy__rng_key(1, purpose, 0);
    for (int64_t i = 0; i < n; i++) token[i] = (int32_t)hy__rng_below(key, (uint64_t)i, vocab);
}

static void put_state(hy__record *r, const hy__state *s) {
    const hy__model *m = s->model;
    for (int64_t l = 0; l < m->cfg.n_layer; l++)
        for (int id = 0; id < m->layer[l].decl.n_state; id++) {
            const hy__state_decl *d = &m->layer[l].decl.state[id];
            char name[HY__NAME_MAX];
            snprintf(name, sizeof name, "the state %s", d->name);
            put_tensor(r, 's', name, m->be, s->t[l * HY__STATE_MAX + id],
                       hy__state_elements(d, s->n_slot));
        }
}

/* ---- serving ---- */

enum { TEXT = 150 };
static const int64_t PIECES[] = {37, 1, 1, 50, 1, 60};

static hy_status feed(hy__work *w, hy__state *s, const int32_t *token, int64_t len, hy_error *err) {
    const hy__seq seq = {.len = len, .pos = s->pos};
    const hy__batch b = {.rows = {.n_row = len, .n_seq = 1, .seq = &seq},
                         .token = token,
                         .state_in = &s,
                         .state_out = &s};
    return hy__forward(w, &b, err);
}

static hy_status serve(hy__model *m, hy__work *w, hy__state *s, hy__record *out, hy_error *err) {
    int32_t token[TEXT];
    const int64_t vocab = m->cfg.model.vocab;
    draw(token, TEXT, vocab, "check text");
    for (size_t i = 0; i < sizeof PIECES / sizeof *PIECES; i++) {
        HY_TRY(feed(w, s, token + s->pos, PIECES[i], err));
        double *x = put(out, 'o', "the logits", PIECES[i] * vocab);
        if (x) HY_TRY(hy__logits_f64(w, 0, PIECES[i], x, err));
    }
    put_state(out, s);
    return HY_OK;
}

static hy_status serving(hy__model *m, hy__record *out, hy_error *err) {
    hy__work *w = NULL;
    hy__state *s = NULL;
    const hy_model session = {.be = m->be, .net = m};
    hy_status status;
    HY_TRY_GOTO(hy__session_work(&w, &session, err));
    HY_TRY_GOTO(hy__state_new(&s, m, 1, err));
    status = serve(m, w, s, out, err);
done:
    hy__work_free(w);
    hy__state_free(s);
    return status;
}

/* ---- training ---- */

enum { PAST = 21, FRESH = 67, LATER = 70, ROWS = FRESH + LATER };

/* Everything that a step of training needs. */
typedef struct rig {
    hy__model *m;
    hy__work *work, *eval;
    hy__optim *optim;
    hy__state *past, *after[2];
} rig;

static void put_params(hy__record *out, const hy__model *m, bool gradients) {
    for (int64_t i = 0; i < m->n_param; i++) {
        const hy__param *p = &m->param[i];
        char name[HY__NAME_MAX + 32];
        if (gradients && !hy__present(p->grad)) continue;
        snprintf(name, sizeof name, "the %s %.*s", gradients ? "gradient of" : "updated", 96,
                 p->name);
        put_tensor(out, gradients ? 'g' : 'w', name, m->be, gradients ? p->grad : p->value, p->n);
    }
}

/* eps 1 makes AdamW's first step smooth: with the usual one it is the gradient's sign, which for an
 * element that cancels is rounding. */
static const hy__optim_rates RATES = {.lr = 0.5,
                                      .table_lr = 0.5,
                                      .beta1 = 0.9,
                                      .beta2 = 0.95,
                                      .eps = 1,
                                      .weight_decay = 0.1,
                                      .g_scale = 0.5};

static hy_status learn(rig *r, hy__record *out, hy_error *err) {
    int32_t token[ROWS], target[ROWS], past[PAST];
    float nll[ROWS];
    double sum;
    int64_t count;
    const int64_t vocab = r->m->cfg.model.vocab;
    draw(token, ROWS, vocab, "check text");
    draw(target, ROWS, vocab, "check target");
    draw(past, PAST, vocab, "check past");
    HY_TRY(feed(r->eval, r->past, past, PAST, err));
    hy__state *in[] = {NULL, r->past};
    const hy__seq seq[] = {{.len = FRESH}, {.start = FRESH, .len = LATER, .pos = PAST}};
    const hy__batch b = {.rows = {.n_row = ROWS, .n_seq = 2, .seq = seq},
                         .token = token,
                         .state_in = in,
                         .state_out = r->after};
    HY_TRY(hy__forward(r->work, &b, err));
    double *y = put(out, 'o', "the output", ROWS * r->m->cfg.model.d_model);
    if (y) hy__get_outputs(r->work, y);
    HY_TRY(hy__loss(r->work, target, 1.0 / ROWS, nll, &sum, &count, err));
    double *x = put(out, 'o', "the loss", ROWS);
    for (int i = 0; x && i < ROWS; i++) x[i] = (double)nll[i];
    for (int i = 0; i < 2; i++) put_state(out, r->after[i]);
    HY_TRY(hy__backward(r->work, 1.0, err));
    put_params(out, r->m, true);
    x = put(out, 'g', "the norm of the gradients", 1);
    const double norm = hy__optim_norm(r->optim);
    if (x) *x = norm;
    hy__optim_step(r->optim, &RATES);
    hy__model_settle(r->m);
    put_params(out, r->m, false);
    return HY_OK;
}

static hy_status training(hy__model *m, hy__optimizer optimizer, hy__prec prec, hy__record *out,
                          hy_error *err) {
    rig r = {.m = m};
    const hy__work_options opt = {.training = true, .prec = prec};
    hy_status status;
    HY_TRY_GOTO(hy__model_train(m, err));
    HY_TRY_GOTO(hy__optim_new(&r.optim, m, optimizer, prec, err));
    HY_TRY_GOTO(hy__work_new(&r.work, m, opt, err));
    HY_TRY_GOTO(hy__work_new(&r.eval, m, (hy__work_options){.prec = prec}, err));
    HY_TRY_GOTO(hy__state_new(&r.past, m, PAST, err));
    for (int i = 0; i < 2; i++) HY_TRY_GOTO(hy__state_new(&r.after[i], m, PAST + LATER, err));
    status = learn(&r, out, err);
done:
    hy__optim_free(r.optim);
    hy__work_free(r.work);
    hy__work_free(r.eval);
    hy__state_free(r.past);
    for (int i = 0; i < 2; i++) hy__state_free(r.after[i]);
    return status;
}

/* ---- both ---- */

/* A model trains in the backend's reals. */
static hy__dtype weights(const hy__trial *t, const hy__backend *be) {
    return t->store == HY__STORE_FP32 || t->training ? be->real : hy__store_dtype(t->store);
}

static hy_status run(const hy__trial *t, hy__model *m, hy__record *out, hy_error *err) {
    const hy__prec prec = t->store == HY__STORE_BF16 ? HY__PREC_BF16 : HY__PREC_FP32;
    HY_TRY(t->training ? training(m, t->optimizer, prec, out, err) : serving(m, out, err));
    HY_TRY(hy__backend_check(m->be, err));
    if (out->failed) return hy__no_memory(err, "a check");
    return HY_OK;
}

hy_status hy__trial_run(const hy__trial *t, hy__backend *be, hy__profile *used, hy__record *out,
                        hy_error *err) {
    hy__model *m = NULL;
    hy__account a;
    hy__watch watch;
    HY_TRY(hy__model_new(&m, be, t->cfg, weights(t, be), err));
    shake(m);
    if (t->store != HY__STORE_FP32) make_exact(m);
    hy__account_init(&a, t->cfg, &(hy__train_config){0});
    if (used) hy__watch_begin(&watch, be, &a, used);
    const hy_status status = run(t, m, out, err);
    if (used) hy__watch_end(&watch);
    hy__model_free(m);
    return status;
}
