/* workload.c: see workload.h. */
#include "bench/workload.h"

#include "base/clock.h"
#include "base/rng.h"
#include "bench/stats.h"
#include "bench/watch.h"
#include "infer/engine.h"

#include <stdlib.h>

int64_t hy__workload_steps(const hy__workload *w) {
    return w->shape.phase == HY__PHASE_DECODE ? HY__DECODED : 1;
}

/* ---- memory ---- */

/* Tokens of one sequence that a run is given. */
static int64_t given(const hy__shape *s) {
    return s->phase == HY__PHASE_DECODE ? HY__DECODED : s->tokens;
}

static hy_status allocate(hy__workload *w, hy_error *err) {
    const size_t batch = (size_t)w->shape.batch;
    const size_t n = batch * (size_t)given(&w->shape), vocab = (size_t)w->model->cfg.model.vocab;
    w->state = calloc(batch, sizeof *w->state);
    w->seq = calloc(batch, sizeof *w->seq);
    w->token = calloc(n, sizeof *w->token);
    if (w->shape.phase == HY__PHASE_TRAIN) w->target = calloc(n, sizeof *w->target);
    w->piece = calloc(batch * HY__FEED, sizeof *w->piece);
    w->logits = calloc(batch * vocab, sizeof *w->logits);
    const bool has_target = w->target || w->shape.phase != HY__PHASE_TRAIN;
    if (w->state && w->seq && w->token && has_target && w->piece && w->logits) return HY_OK;
    return hy__no_memory(err, "a batch of %lld x %lld", (long long)w->shape.batch,
                         (long long)w->shape.tokens);
}

static void draw_tokens(hy__workload *w) {
    const uint64_t key = hy__rng_key(1, "bench tokens", 0);
    const int64_t n = w->shape.batch * given(&w->shape), vocab = w->model->cfg.model.vocab;
    for (int64_t i = 0; i < n; i++) {
        w->token[i] = (int32_t)hy__rng_below(key, (uint64_t)i, vocab);
        if (w->target) w->target[i] = (int32_t)hy__rng_below(key, (uint64_t)(n + i), vocab);
    }
}

static hy_status begin_training(hy__workload *w, hy_error *err) {
    const hy__work_options opt = {.training = true,
                                  .recompute = w->shape.recompute,
                                  .prec = w->shape.store == HY__STORE_BF16 ? HY__PREC_BF16
                                                                           : HY__PREC_FP32};
    HY_TRY(hy__model_train(w->model, err));
    HY_TRY(hy__optim_new(&w->optim, w->model, w->optimizer, opt.prec, err));
    return hy__work_new(&w->work, w->model, opt, err);
}

static hy_status begin_serving(hy__workload *w, hy_error *err) {
    const hy_model session = {.be = w->model->be, .net = w->model};
    const int64_t room =
        w->shape.tokens + (w->shape.phase == HY__PHASE_DECODE ? (int64_t)HY__DECODED : 0);
    HY_TRY(hy__session_work(&w->work, &session, err));
    for (int64_t i = 0; i < w->shape.batch; i++) {
        HY_TRY(hy__state_new(&w->state[i], w->model, HY__FEED, err));
        HY_TRY(hy__state_reserve(w->state[i], room, err));
    }
    return HY_OK;
}

void hy__workload_free(hy__workload *w) {
    if (!w) return;
    for (int64_t i = 0; w->state && i < w->shape.batch; i++) hy__state_free(w->state[i]);
    hy__work_free(w->work);
    hy__optim_free(w->optim);
    free(w->state);
    free(w->seq);
    free(w->token);
    free(w->target);
    free(w->piece);
    free(w->logits);
    free(w);
}

/* ---- one forward ---- */

/* The next `len` tokens of every sequence; token(sequence, j) lies at from + sequence*stride + j.
 */
static hy_status feed(hy__workload *w, const int32_t *from, int64_t stride, int64_t len,
                      hy_error *err) {
    const int64_t batch = w->shape.batch;
    for (int64_t i = 0; i < batch; i++) {
        w->seq[i] = (hy__seq){.start = i * len, .len = len, .pos = w->state[i]->pos};
        for (int64_t j = 0; j < len; j++) w->piece[i * len + j] = from[i * stride + j];
    }
    const hy__batch b = {.rows = {.n_row = batch * len, .n_seq = batch, .seq = w->seq},
                         .token = w->piece,
                         .state_in = w->state,
                         .state_out = w->state};
    return hy__forward(w->work, &b, err);
}

/* Logits of the last of `len` rows of each sequence. */
static hy_status last_logits(hy__workload *w, int64_t len, hy_error *err) {
    const int64_t vocab = w->model->cfg.model.vocab;
    if (len == 1) return hy__logits(w->work, 0, w->shape.batch, w->logits, err);
    for (int64_t i = 0; i < w->shape.batch; i++)
        HY_TRY(hy__logits(w->work, (i + 1) * len - 1, 1, w->logits + i * vocab, err));
    return HY_OK;
}

static hy_status prefill(hy__workload *w, hy__lap *lap, hy_error *err) {
    const int64_t n = w->shape.tokens;
    for (int64_t i = 0; i < w->shape.batch; i++) hy__state_reset(w->state[i]);
    const double start = hy__now();
    int64_t len = 0;
    for (int64_t done = 0; done < n; done += len) {
        len = n - done < HY__FEED ? n - done : HY__FEED;
        HY_TRY(feed(w, w->token + done, n, len, err));
    }
    HY_TRY(last_logits(w, len, err));
    lap->median = lap->mean = hy__now() - start;
    return HY_OK;
}

static hy_status decode(hy__workload *w, hy__lap *lap, hy_error *err) {
    double each[HY__DECODED];
    lap->mean = 0;
    for (int64_t i = 0; i < w->shape.batch; i++) w->state[i]->pos = w->shape.tokens;
    for (int64_t j = 0; j < HY__DECODED; j++) {
        const double start = hy__now();
        HY_TRY(feed(w, w->token + j, HY__DECODED, 1, err));
        HY_TRY(last_logits(w, 1, err));
        each[j] = hy__now() - start;
        lap->mean += each[j] / HY__DECODED;
    }
    lap->median = hy__median(each, HY__DECODED);
    return HY_OK;
}

/* ---- what stands before a decode ---- */

static hy_status read_past(hy__workload *w, hy_error *err) {
    const int64_t n = w->shape.tokens, batch = w->shape.batch;
    hy_status status = HY_OK;
    int32_t *past = calloc((size_t)(n * batch), sizeof *past);
    if (!past) return hy__no_memory(err, "the past");
    const uint64_t key = hy__rng_key(1, "bench past", 0);
    for (int64_t i = 0; i < n * batch; i++)
        past[i] = (int32_t)hy__rng_below(key, (uint64_t)i, w->model->cfg.model.vocab);
    for (int64_t done = 0, len; done < n && status == HY_OK; done += len) {
        len = n - done < HY__FEED ? n - done : HY__FEED;
        status = feed(w, past + done, n, len, err);
    }
    free(past);
    return status;
}

/* Random numbers in every tensor of a state: choices by content then differ from token to token as
 * they do in a text, which zeros would not give. A prime number of them is repeated, so that no two
 * positions of a cache hold the same. */
static hy_status make_up(hy__state *s, hy_error *err) {
    enum { N_RANDOM = 65521 };
    const hy__model *m = s->model;
    const uint64_t key = hy__rng_key(1, "bench state", 0);
    float *random = calloc(N_RANDOM, sizeof *random);
    if (!random) return hy__no_memory(err, "the past");
    for (int64_t i = 0; i < N_RANDOM; i++)
        random[i] = (float)hy__rng_uniform(key, (uint64_t)i) - 0.5f;
    for (int64_t l = 0; l < m->cfg.n_layer; l++)
        for (int id = 0; id < m->layer[l].decl.n_state; id++) {
            const hy__tensor t = s->t[l * HY__STATE_MAX + id];
            const int64_t n = hy__state_elements(&m->layer[l].decl.state[id], s->n_slot);
            for (int64_t i = 0; i < n; i += N_RANDOM)
                hy__tensor_write_f32(m->be, hy__at(t, i), random,
                                     n - i < N_RANDOM ? n - i : N_RANDOM);
        }
    free(random);
    return HY_OK;
}

/* On the counting backend a place is all that there is. */
static hy_status go_to(hy__workload *w, hy_error *err) {
    const bool stored = w->state[0]->buf.data != NULL;
    w->made_up = w->shape.tokens > HY__DECODE_READ;
    if (stored && !w->made_up) return read_past(w, err);
    for (int64_t i = 0; i < w->shape.batch; i++) {
        if (stored) HY_TRY(make_up(w->state[i], err));
        w->state[i]->pos = w->shape.tokens;
    }
    return HY_OK;
}

/* ---- a training step ---- */

/* Rates at which weights stay what they are, about, however often a step is run. */
static const hy__optim_rates RATES = {.lr = 1e-6,
                                      .table_lr = 1e-6,
                                      .beta1 = 0.9,
                                      .beta2 = 0.95,
                                      .eps = 1e-8,
                                      .weight_decay = 0.1,
                                      .momentum = 0.95,
                                      .g_scale = 1.0};

static hy_status step(hy__workload *w, hy__lap *lap, hy_error *err) {
    hy__backend *be = w->model->be;
    const int64_t batch = w->shape.batch, n = w->shape.tokens;
    double sum;
    int64_t count;
    for (int64_t i = 0; i < batch; i++) w->seq[i] = (hy__seq){.start = i * n, .len = n};
    const hy__batch b = {.rows = {.n_row = batch * n, .n_seq = batch, .seq = w->seq},
                         .token = w->token};
    const double start = hy__now();
    HY_TRY(hy__forward(w->work, &b, err));
    HY_TRY(hy__loss(w->work, w->target, 1.0 / (double)(batch * n), NULL, &sum, &count, err));
    HY_TRY(hy__backward(w->work, 1.0, err));
    be->layer = hy__watch_update(w->model->cfg.n_layer);
    (void)hy__optim_norm(w->optim);
    hy__optim_step(w->optim, &RATES);
    hy__model_settle(w->model);
    hy__model_zero_grad(w->model, false);
    be->layer = 0;
    lap->median = lap->mean = hy__now() - start;
    return hy__backend_check(be, err);
}

/* ---- all ---- */

hy_status hy__workload_new(hy__workload **out, hy__model *m, const hy__shape *shape,
                           hy__optimizer optimizer, hy_error *err) {
    const bool train = shape->phase == HY__PHASE_TRAIN;
    hy__workload *w = calloc(1, sizeof *w);
    if (!w) return hy__no_memory(err, "measuring");
    w->model = m;
    w->shape = *shape;
    w->optimizer = optimizer;
    hy_status status;
    HY_TRY_GOTO(allocate(w, err));
    draw_tokens(w);
    HY_TRY_GOTO(train ? begin_training(w, err) : begin_serving(w, err));
    if (shape->phase == HY__PHASE_DECODE) HY_TRY_GOTO(go_to(w, err));
    *out = w;
    return HY_OK;
done:
    hy__workload_free(w);
    return status;
}

hy_status hy__workload_run(hy__workload *w, hy__lap *lap, hy_error *err) {
    static hy_status (*const of[HY__PHASE_N])(hy__workload *, hy__lap *, hy_error *) = {
        [HY__PHASE_TRAIN] = step, [HY__PHASE_PREFILL] = prefill, [HY__PHASE_DECODE] = decode};
    return of[w->shape.phase](w, lap, err);
}
