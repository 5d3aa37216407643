/* held.c: what a process holds: weights, gradients, moments, planned activations, states; and
 * what fits into a given memory. */
#include "account/account.h"

#include <inttypes.h>
#include <stdlib.h>

/* The program's code and libraries, and what its kernels and oneDNN keep beside what is planned.
 * Measured on two threads (2026-11-21): the resident memory of `hydralm generate` and of `train`,
 * less what is planned; tests/model/test_plan_long.c holds the whole to a tenth. */
static const double PROGRAM_SERVES = 10e6, PROGRAM_TRAINS = 30e6; /* bytes */

/* Slots after a cache of `slots` made room for `tokens` (hy__state_reserve): it doubles at least.
 */
static int64_t reserved_slots(const hy__config *c, int64_t slots, int64_t tokens) {
    const int64_t doubled = 2 * slots * c->model.chunk;
    if (hy__kv_slots(c, tokens) <= slots) return slots;
    return hy__kv_slots(c, tokens > doubled ? tokens : doubled);
}

/* Slots of a session that has been fed `tokens` at once. */
static int64_t session_slots(const hy__config *c, int64_t tokens) {
    return reserved_slots(c, hy__kv_slots(c, HY__FEED), tokens);
}

/* Slots of a cache that was fed pieces of `piece` tokens up to `tokens`. */
static int64_t grown_slots(const hy__config *c, int64_t piece, int64_t tokens) {
    const int64_t need = hy__kv_slots(c, tokens);
    int64_t slots = reserved_slots(c, hy__kv_slots(c, c->model.chunk), piece);
    while (slots < need) slots = reserved_slots(c, slots, (slots + 1) * c->model.chunk);
    return slots;
}

/* A state's memory with so many slots, its tensors aligned. */
static double state_memory(const hy__account *a, int64_t slots, hy__store store) {
    double bytes = 0;
    for (int64_t i = 1; i < a->n_part; i++) {
        const hy__account_part *p = &a->part[i];
        for (int id = 0; id < p->decl.n_state; id++) {
            const hy__state_decl *d = &p->decl.state[id];
            bytes +=
                (double)p->n_layer * (double)hy__tensor_bytes(hy__store_state(store, d->narrow),
                                                              d->fixed + d->per_slot * slots);
        }
    }
    return bytes;
}

double hy__account_state(const hy__account *a, int64_t tokens, hy__store store) {
    const int64_t slots = session_slots(&a->cfg, tokens);
    double bytes = 0;
    for (int64_t i = 1; i < a->n_part; i++) {
        const hy__account_part *p = &a->part[i];
        bytes +=
            (double)p->n_layer * (p->state_fixed[store] + p->state_slot[store] * (double)slots);
    }
    return bytes;
}

/* Planned bytes of a step over batch x tokens fresh rows. */
static hy_status step_memory(const hy__account *a, int64_t batch, int64_t tokens,
                             hy__work_options opt, double *bytes, hy_error *err) {
    const hy__seq one = {.len = tokens};
    size_t size = 0;
    hy__seq *seq = calloc((size_t)batch, sizeof *seq);
    if (!seq) return hy__no_memory(err, "a plan");
    for (int64_t i = 0; i < batch; i++) {
        seq[i] = one;
        seq[i].start = i * tokens;
    }
    const hy__rows rows = {.n_row = batch * tokens, .n_seq = batch, .seq = seq};
    const hy_status status = hy__work_size(&size, &a->cfg, &rows, opt, HY__DTYPE_F32, err);
    free(seq);
    *bytes = (double)size;
    return status;
}

static hy_status training(const hy__account *a, const hy__shape *s, hy__memory *m, hy_error *err) {
    const bool bf16 = a->train.dtype == HY__TRAIN_BF16;
    const hy__work_options step = {
        .training = true, .recompute = s->recompute, .prec = bf16 ? HY__PREC_BF16 : HY__PREC_FP32};
    const int64_t most = hy__rows_max(&a->cfg);
    double train = 0, eval = 0;
    if (s->batch < 1 || s->tokens < 1 || s->batch > most / s->tokens) {
        return hy__fail(err, HY_E_INVALID,
                        "train.batch = %" PRId64 " x train.seq_len = %" PRId64
                        " tokens, wanted at least one and at most %" PRId64
                        " in a micro-batch of this model",
                        s->batch, s->tokens, most);
    }
    for (int64_t i = 0; i < a->n_part; i++) {
        m->weights += (double)a->part[i].weight_memory[HY__STORE_FP32];
        m->gradients += (double)a->part[i].grad_memory;
    }
    m->moments = (double)hy__account_moments(a);
    HY_TRY(step_memory(a, s->batch, s->tokens, step, &train, err));
    HY_TRY(step_memory(a, 1, HY__FEED, (hy__work_options){0}, &eval, err));
    m->activations = train + eval;
    m->program = PROGRAM_TRAINS;
    /* what a stream comes with and what it leaves with: of evaluation, and with carry of training
     */
    const int64_t document = s->document > 0 ? s->document : HY__DOCUMENT;
    const int64_t held_out = a->train.val_tokens;
    const int64_t scored = held_out > 0 && held_out < document ? held_out : document;
    m->states = 2 * state_memory(a, grown_slots(&a->cfg, HY__FEED, scored), HY__STORE_FP32);
    if (a->train.carry) {
        const int64_t slots = grown_slots(&a->cfg, s->tokens, document);
        m->states += 2 * (double)s->batch * state_memory(a, slots, HY__STORE_FP32);
    }
    return HY_OK;
}

/* The most: weights stay in the mapped file, and those that no text needs (experts, rows of the
 * value table) are never resident. */
static hy_status serving(const hy__account *a, const hy__shape *s, hy__memory *m, hy_error *err) {
    const int64_t piece = s->tokens < HY__FEED ? s->tokens : HY__FEED;
    for (int64_t i = 0; i < a->n_part; i++)
        m->weights += (double)a->part[i].weight_memory[s->store];
    HY_TRY(step_memory(a, 1, piece, (hy__work_options){0}, &m->activations, err));
    m->activations *= (double)s->batch;
    m->states = (double)s->batch * state_memory(a, session_slots(&a->cfg, s->tokens), s->store);
    m->program = PROGRAM_SERVES;
    return HY_OK;
}

hy_status hy__account_memory(const hy__account *a, const hy__shape *s, hy__memory *m,
                             hy_error *err) {
    *m = (hy__memory){0};
    HY_TRY(s->phase == HY__PHASE_TRAIN ? training(a, s, m, err) : serving(a, s, m, err));
    m->total = m->weights + m->gradients + m->moments + m->activations + m->states + m->program;
    return HY_OK;
}

/* ---- what fits ---- */

static bool fits(const hy__account *a, const hy__shape *s, double memory) {
    hy__memory m;
    hy_error err;
    return hy__account_memory(a, s, &m, &err) == HY_OK && m.total <= memory;
}

/* The largest value of *field, which points into *s, up to `most`. */
static int64_t largest(const hy__account *a, const hy__shape *s, int64_t *field, int64_t most,
                       double memory, bool *limit) {
    int64_t fit = 0, wrong = most + 1;
    for (int64_t next = 1; fit + 1 < wrong; next = wrong > 2 * fit ? 2 * fit : (fit + wrong) / 2) {
        if (next <= fit) next = fit + 1;
        if (next >= wrong) next = wrong - 1;
        *field = next;
        if (fits(a, s, memory))
            fit = next;
        else
            wrong = next;
    }
    *limit = fit == most;
    return fit;
}

int64_t hy__account_fit_batch(const hy__account *a, const hy__shape *shape, double memory,
                              bool *limit) {
    hy__shape s = *shape;
    const int64_t len = s.phase == HY__PHASE_TRAIN ? s.tokens : 1;
    return largest(a, &s, &s.batch, hy__rows_max(&a->cfg) / len, memory, limit);
}

int64_t hy__account_fit_tokens(const hy__account *a, const hy__shape *shape, double memory,
                               bool *limit) {
    hy__shape s = *shape;
    const int64_t most = s.phase == HY__PHASE_TRAIN ? hy__rows_max(&a->cfg) / s.batch
                                                    : (int64_t)1 << 40; /* positions */
    return largest(a, &s, &s.tokens, most, memory, limit);
}
