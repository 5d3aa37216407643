/* spend.c: FLOPs and bytes of one call: the terms that a part declares, times how much of each the
 * batch has; weights by what is used, activations by what is planned. */
#include "account/account.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

enum { REAL = 4 /* bytes of an activation */ };

/* One call: its rows, and how much there is of what costs are counted by. */
typedef struct call {
    const hy__account *a;
    const hy__shape *shape;
    hy__rows rows; /* rows.seq owned */
    double extent[HY__EXTENT_N];
    bool training;
} call;

/* How a term that is counted by `per` grows at this length. */
static hy__growth growth_of(const hy__config *c, hy__extent per, const hy__shape *shape) {
    const bool whole = shape->phase != HY__PHASE_DECODE; /* a decode is a slope of the others */
    const int64_t memory = c->attention.memory_blocks;
    const int64_t scored = memory > 0 ? memory * c->model.chunk + c->attention.window : INT64_MAX;
    bool rises = false; /* costs a later token more than an earlier one? */
    switch (per) {
    case HY__PER_LOGIT:
        return shape->phase == HY__PHASE_TRAIN ? HY__GROWTH_LINEAR : HY__GROWTH_CONSTANT;
    case HY__PER_POSITION:
        rises = shape->tokens <= c->attention.window;
        break;
    case HY__PER_SCORE:
        rises = shape->tokens <= scored;
        break;
    default:
        break;
    }
    return (hy__growth)((whole ? 1 : 0) + (rises ? 1 : 0));
}

static hy_status begin(call *c, const hy__account *a, const hy__shape *shape, hy_error *err) {
    const bool decode = shape->phase == HY__PHASE_DECODE;
    const int64_t len = decode ? 1 : shape->tokens;
    *c = (call){.a = a, .shape = shape, .training = shape->phase == HY__PHASE_TRAIN};
    if (shape->batch < 1 || shape->tokens < 1 || shape->batch > HY__COUNTED_MAX / len) {
        return hy__fail(err, HY_E_INVALID,
                        "%" PRId64 " x %" PRId64
                        " tokens cannot be counted at once, wanted at least one and at most %d",
                        shape->batch, shape->tokens, HY__COUNTED_MAX);
    }
    hy__seq *seq = calloc((size_t)shape->batch, sizeof *seq);
    if (!seq) return hy__no_memory(err, "a plan");
    for (int64_t i = 0; i < shape->batch; i++)
        seq[i] = (hy__seq){.start = i * len, .len = len, .pos = decode ? shape->tokens - 1 : 0};
    c->rows = (hy__rows){.n_row = shape->batch * len, .n_seq = shape->batch, .seq = seq};
    hy__extents(&a->cfg, &c->rows, c->training ? c->rows.n_row : shape->batch, c->extent);
    return HY_OK;
}

/* ---- FLOPs ---- */

static void add_flops(const call *c, const hy__account_part *p, hy__spent *s) {
    for (int i = 0; i < p->cost.n_term; i++) {
        const hy__term *t = &p->cost.term[i];
        const double n = c->extent[t->per] * (double)p->n_layer;
        const double forward = n * t->forward, backward = c->training ? n * t->backward : 0;
        const double again = c->training && c->shape->recompute && p->letter ? forward : 0;
        s->forward += forward;
        s->backward += backward;
        s->again += again;
        s->grows[growth_of(&c->a->cfg, t->per, c->shape)] += forward + backward + again;
        if (c->shape->phase == HY__PHASE_DECODE)
            s->state += n * t->cached *
                        (double)hy__dtype_size(hy__store_state(c->shape->store, t->cached_narrow));
    }
}

/* ---- weights ---- */

/* Bytes of one declaration that so many passes over the batch read: what each chooses, up to all.
 */
static double bytes_used(const call *c, const hy__param_decl *d, hy__store store, double passes) {
    double n = 1, part = 1;
    for (int i = 0; i < d->n_dim; i++) n *= (double)d->shape[i];
    if (d->active < 1) part = fmin(d->active * c->extent[d->per] * passes, 1);
    return n * part * hy__store_bytes(store, d);
}

/* Passes over weights and gradients, and the optimizer's over all that is kept for a weight. */
static void add_weights(const call *c, const hy__account_part *p, hy__spent *s) {
    enum { GRAD = 2 /* read and written where it is added to */ };
    enum { MUON = 2 /* beside its own: the norm reads g, which is cleared */ };
    enum { ADAMW = 9 /* norm reads g; the step reads p, g, m, v, writes p, m, v and clears g */ };
    const double forward = c->shape->recompute && p->letter ? 2 : 1;
    const double per_step = c->a->train.accumulate > 1 ? (double)c->a->train.accumulate : 1;
    const double n_layer = (double)p->n_layer;
    if (!p->letter) { /* the tokens' rows of the embedding, beside all of it as the head */
        const double row = (double)c->a->cfg.model.d_model * (double)c->rows.n_row;
        s->weight += row * hy__store_bytes(c->training ? HY__STORE_FP32 : c->shape->store,
                                           &p->decl.param[HY__FRAME_EMBED]);
    }
    for (int id = 0; id < p->decl.n_param; id++) {
        const hy__param_decl *d = &p->decl.param[id];
        if (d->n_dim == 0) continue;
        if (!c->training) {
            s->weight += n_layer * bytes_used(c, d, c->shape->store, 1);
            continue;
        }
        if (!hy__group_is_trained(d->group)) continue;
        const double used = bytes_used(c, d, HY__STORE_FP32, 1);
        s->weight += n_layer * used * (forward + 1 + GRAD);
        const double copies = d->shared ? 1 : n_layer;
        /* an update passes over all, but of the table over the rows that any layer has read */
        const double reads = d->group == HY__GROUP_TABLE ? per_step * n_layer / copies : INFINITY;
        const double updated = bytes_used(c, d, HY__STORE_FP32, reads);
        const hy__matrices at = hy__muon_matrices(d, c->a->train.optimizer);
        if (at.n > 0) {
            const double all = (double)(at.n * at.rows * at.cols);
            s->update += copies * hy__muon_flops(&at) / per_step;
            s->optimizer += copies * (hy__muon_moved(&at) + MUON * all) * REAL / per_step;
        } else {
            s->optimizer += copies * updated * ADAMW / per_step;
        }
    }
}

/* ---- states ---- */

static void add_state(const call *c, const hy__account_part *p, hy__spent *s) {
    const hy__store store = c->training ? HY__STORE_FP32 : c->shape->store;
    const double slot = p->state_slot[store] / (double)c->a->cfg.model.chunk;
    const double per_seq = 2.0 * p->state_fixed[store] * (double)c->rows.n_seq;
    if (c->training && !c->a->train.carry) return;
    s->state += (double)p->n_layer * (per_seq + slot * (double)c->rows.n_row);
}

/* ---- activations: each planned buffer is written once and read once in a pass ---- */

typedef enum passes { FORWARD = 0, TRAINED = 1, RECOMPUTED = 2, PASSES_N } passes;

/* What frames the layers is never computed again. */
static passes passes_of(const call *c, const hy__account_part *p) {
    if (!c->training) return FORWARD;
    return c->shape->recompute && p->letter ? RECOMPUTED : TRAINED;
}

static double planned(const call *c, const hy__account_part *p) {
    static const double moves[PASSES_N][HY__LIFE_TRAIN + 1] = {
        /* by hy__life: KEEP, FORWARD, BACKWARD, CALL, TRAIN */
        [FORWARD] = {2, 2, 0, 2, 0},
        [TRAINED] = {3, 2, 2, 4, 3},
        [RECOMPUTED] = {5, 4, 2, 6, 5},
    };
    hy__plan plan = {.real = HY__DTYPE_F32};
    hy__component_find(p->letter)->plan(&c->a->cfg, &c->rows, &plan);
    double bytes = 0;
    for (int id = 0; id < plan.n_buf; id++)
        bytes += moves[passes_of(c, p)][plan.buf[id].life] * (double)plan.buf[id].count *
                 (double)hy__dtype_size(plan.buf[id].dtype);
    return bytes;
}

/* The residual stream x, its norm and the layer's output y: each written and read; backward again
 * x, y, the norm, and the gradients of all three. */
static double stream(const call *c, const hy__account_part *p) {
    static const double moves[PASSES_N] = {
        [FORWARD] = 6, [TRAINED] = 6 + 10, [RECOMPUTED] = 6 + 6 + 10};
    return (double)c->rows.n_row * (double)c->a->cfg.model.d_model * REAL * moves[passes_of(c, p)];
}

/* Logits are written and read once, and with a gradient made into it and read by two products. */
static double logits(const call *c) {
    const double n = c->extent[HY__PER_LOGIT] * (double)c->a->cfg.model.vocab * REAL;
    return n * (c->training ? 5 : 2);
}

static void add_activations(const call *c, const hy__account_part *p, hy__spent *s) {
    if (p->letter)
        s->activation += (double)p->n_layer * (planned(c, p) + stream(c, p));
    else
        s->activation += stream(c, p) + logits(c);
}

/* ---- all ---- */

static void add_to(hy__spent *sum, const hy__spent *s) {
    sum->forward += s->forward;
    sum->backward += s->backward;
    sum->again += s->again;
    sum->update += s->update;
    for (int i = 0; i < HY__GROWTH_N; i++) sum->grows[i] += s->grows[i];
    sum->weight += s->weight;
    sum->state += s->state;
    sum->activation += s->activation;
    sum->optimizer += s->optimizer;
}

hy_status hy__account_spend(const hy__account *a, const hy__shape *shape,
                            hy__spent part[HY__PART_MAX + 1], hy_error *err) {
    call c;
    HY_TRY(begin(&c, a, shape, err));
    part[a->n_part] = (hy__spent){0};
    for (int64_t i = 0; i < a->n_part; i++) {
        part[i] = (hy__spent){0};
        add_flops(&c, &a->part[i], &part[i]);
        add_weights(&c, &a->part[i], &part[i]);
        part[i].grows[HY__GROWTH_CONSTANT] += part[i].update;
        add_state(&c, &a->part[i], &part[i]);
        add_activations(&c, &a->part[i], &part[i]);
        add_to(&part[a->n_part], &part[i]);
    }
    free((void *)c.rows.seq);
    return HY_OK;
}
