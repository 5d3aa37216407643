/* step.c: one optimizer step and one evaluation over loader batches; see trainer.h. */
#include "train/trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- carried states ---- */

hy_status hy__lanes_init(hy__lanes *l, hy__model *m, int64_t n, hy_error *err) {
    *l = (hy__lanes){.now = calloc((size_t)n, sizeof *l->now),
                     .next = calloc((size_t)n, sizeof *l->next),
                     .n = n};
    if (!l->now || !l->next) {
        return hy__no_memory(err, "%lld streams", (long long)n);
    }
    for (int64_t i = 0; i < n; i++) {
        HY_TRY(hy__state_new(&l->now[i], m, m->cfg.model.chunk, err));
        HY_TRY(hy__state_new(&l->next[i], m, m->cfg.model.chunk, err));
    }
    return HY_OK;
}

void hy__lanes_release(hy__lanes *l) {
    for (int64_t i = 0; i < l->n; i++) {
        if (l->now) hy__state_free(l->now[i]);
        if (l->next) hy__state_free(l->next[i]);
    }
    free(l->now);
    free(l->next);
    *l = (hy__lanes){0};
}

void hy__lanes_reset(hy__lanes *l) {
    for (int64_t i = 0; i < l->n; i++) hy__state_reset(l->now[i]);
}

static bool ends_stream(const hy__loader_batch *b, int64_t i) {
    return i + 1 == b->n_piece || b->piece[i + 1].stream != b->piece[i].stream;
}

/* Which of the run's corpora a training piece is of: a stage may mix some, in an order of its own.
 */
static int64_t corpus_of(const hy__trainer *tr, const hy__piece *piece) {
    return tr->stage->n_mix > 0 ? tr->mix_index[piece->domain] : piece->domain;
}

/* What is carried decides the position: in a stream that begins anew, as all do with a stage, it is
 * 0, wherever the piece stands in its document. */
hy_status hy__trainer_forward(hy__trainer *tr, hy__work *work, hy__lanes *lanes,
                              const hy__loader_batch *b, hy_error *err) {
    hy__pieces *p = &tr->pieces;
    for (int64_t i = 0; i < b->n_piece; i++) {
        const hy__piece *piece = &b->piece[i];
        hy__state *carried = piece->pos > 0 ? lanes->now[piece->stream] : NULL;
        const int64_t pos = carried ? carried->pos : 0;
        p->seq[i] = (hy__seq){
            .start = piece->start, .len = piece->len, .pos = pos, .domain = corpus_of(tr, piece)};
        p->in[i] = pos > 0 ? carried : NULL;
        p->out[i] = lanes->n > 0 && ends_stream(b, i) ? lanes->next[piece->stream] : NULL;
    }
    const hy__batch batch = {
        .rows = {.n_row = b->n_row, .n_seq = b->n_piece, .seq = p->seq},
        .token = b->token,
        .state_in = p->in,
        .state_out = p->out,
    };
    return hy__forward(work, &batch, err);
}

static void swap_lanes(hy__lanes *lanes, const hy__loader_batch *b) {
    for (int64_t i = 0; i < b->n_piece && lanes->n > 0; i++) {
        if (!ends_stream(b, i)) continue;
        const int64_t s = b->piece[i].stream;
        hy__state *left = lanes->next[s];
        lanes->next[s] = lanes->now[s];
        lanes->now[s] = left;
    }
}

/* Bytes of text that the targets of a batch stand for. */
static int64_t count_bytes(const hy__trainer *tr, const hy__loader_batch *b) {
    int64_t n = 0;
    for (int64_t i = 0; i < b->n_row; i++)
        if (b->target[i] >= 0) n += tr->n_byte[b->target[i]];
    return n;
}

static double bits_per_byte(double nats, int64_t n_byte) {
    return n_byte > 0 ? nats / M_LN2 / (double)n_byte : 0.0;
}

/* ---- one step ---- */

/* Loss and gradient of one micro-batch, weighted by 1/(targets of the whole step); no gradient
 * where the loss is not finite, nor in a step that has no targets. */
static hy_status accumulate(hy__trainer *tr, const hy__loader_batch *b, int64_t n_target,
                            double *sum, int64_t *n_byte, hy_error *err) {
    double part;
    int64_t counted;
    HY_TRY(hy__trainer_forward(tr, tr->work, &tr->lanes, b, err));
    if (n_target == 0) {
        swap_lanes(&tr->lanes, b);
        return HY_OK;
    }
    HY_TRY(hy__loss(tr->work, b->target, 1.0 / (double)n_target, NULL, &part, &counted, err));
    *sum += part;
    if (!isfinite(part)) return HY_OK;
    HY_TRY(hy__backward(tr->work, 1.0 / (double)tr->t.accumulate, err));
    swap_lanes(&tr->lanes, b);
    *n_byte += count_bytes(tr, b);
    return HY_OK;
}

static void update(hy__trainer *tr, double lr, double norm) {
    const hy__train_config *t = &tr->t;
    const double g_scale = t->clip > 0.0 && norm > t->clip ? t->clip / norm : 1.0;
    hy__optim_step(tr->optim, &(hy__optim_rates){.lr = lr,
                                                 .table_lr = lr * hy__schedule_table(t, &tr->at) *
                                                             hy__stage_table(tr),
                                                 .beta1 = t->beta1,
                                                 .beta2 = t->beta2,
                                                 .eps = t->eps,
                                                 .weight_decay = t->weight_decay,
                                                 .momentum = t->momentum,
                                                 .g_scale = g_scale});
    hy__model_report(tr->model);
    hy__model_settle(tr->model);
    hy__model_zero_grad(tr->model, false);
}

/* Leaves everything as if the step's data had not been there; the streams begin anew. */
static void drop(hy__trainer *tr) {
    hy__model_zero_grad(tr->model, true);
    hy__model_clear_stats(tr->model);
    hy__lanes_reset(&tr->lanes);
}

static hy_status grow(double **x, int64_t n, hy_error *err) {
    double *grown = realloc(*x, (size_t)n * sizeof *grown);
    if (!grown) return hy__no_memory(err, "the losses of the steps");
    *x = grown;
    return HY_OK;
}

/* NaN stands for a step that was dropped, or that asked nothing. */
static hy_status remember(hy__trainer *tr, double loss, double log_norm, hy_error *err) {
    if (tr->at.step == tr->history_cap) {
        const int64_t cap = 2 * tr->history_cap + 1024;
        HY_TRY(grow(&tr->history, cap, err));
        HY_TRY(grow(&tr->guard.norm, cap, err));
        tr->history_cap = cap;
    }
    tr->history[tr->at.step] = loss;
    tr->guard.norm[tr->at.step] = log_norm;
    return HY_OK;
}

/* What becomes of a step that asked something: an update, or what the guard says. */
static hy_status judge(hy__trainer *tr, int64_t n_target, hy_train_progress *p, hy_error *err) {
    if (hy__guard_judge(&tr->guard, &tr->t, p->loss, p->grad_norm, tr->history, tr->at.step)) {
        update(tr, p->lr, p->grad_norm);
        HY_TRY(hy__backend_check(tr->be, err));
        HY_TRY(remember(tr, p->loss, log(p->grad_norm), err));
        if (tr->t.on_spike == HY__ON_SPIKE_SKIP) tr->guard.in_row = 0;
        tr->tokens += n_target;
        return HY_OK;
    }
    HY_TRY(hy__guard_act(&tr->guard, &tr->t, tr->at.step + 1, err));
    p->unsound = tr->guard.why;
    drop(tr);
    return remember(tr, NAN, NAN, err);
}

hy_status hy__trainer_step(hy__trainer *tr, hy_train_progress *p, hy_error *err) {
    const int64_t first = hy__stage_first_batch(tr);
    int64_t n_target = 0, n_byte = 0;
    double sum = 0.0;
    hy__stage_set_gates(tr);
    tr->model->look = tr->at.step;
    for (int64_t i = 0; i < tr->t.accumulate; i++)
        n_target += hy__loader_targets(tr->train, first + i);
    for (int64_t i = 0; i < tr->t.accumulate && isfinite(sum); i++) {
        const hy__loader_batch *b;
        HY_TRY(hy__loader_get(tr->train, first + i, &b, err));
        HY_TRY(accumulate(tr, b, n_target, &sum, &n_byte, err));
    }
    p->lr = hy__schedule_lr(&tr->t, &tr->at);
    p->loss = n_target > 0 ? sum / (double)n_target : NAN;
    p->bits_per_byte = n_target > 0 ? bits_per_byte(sum, n_byte) : NAN;
    p->grad_norm = isfinite(p->loss) ? hy__optim_norm(tr->optim) : NAN;
    HY_TRY(hy__backend_check(tr->be, err));
    if (n_target > 0) {
        HY_TRY(judge(tr, n_target, p, err));
    } else {
        hy__model_clear_stats(tr->model);
        HY_TRY(remember(tr, NAN, NAN, err));
    }
    tr->at.step++;
    p->step = tr->at.step;
    p->tokens = tr->tokens;
    return HY_OK;
}

/* ---- evaluation ---- */

/* A sum over held-out text. */
typedef struct score {
    double nats;
    int64_t n, n_byte, n_hit;
} score;

/* One corpus's held-out part, of at least `most` tokens where it has them. */
static hy_status evaluate(hy__trainer *tr, hy__loader *val, int64_t most, score *s, hy_error *err) {
    const int64_t n_batch = hy__loader_epoch(val);
    for (int64_t i = 0; i < n_batch && (most == 0 || s->n < most); i++) {
        const hy__loader_batch *b;
        double part;
        int64_t counted;
        HY_TRY(hy__loader_get(val, i, &b, err));
        HY_TRY(hy__trainer_forward(tr, tr->eval, &tr->val_lanes, b, err));
        HY_TRY(hy__loss(tr->eval, b->target, 0.0, NULL, &part, &counted, err));
        swap_lanes(&tr->val_lanes, b);
        s->nats += part;
        s->n += counted;
        s->n_byte += count_bytes(tr, b);
        s->n_hit += hy__loss_hits(tr->eval);
    }
    return HY_OK;
}

static void add_score(score *sum, const score *s) {
    sum->nats += s->nats;
    sum->n += s->n;
    sum->n_byte += s->n_byte;
    sum->n_hit += s->n_hit;
}

hy_status hy__trainer_evaluate(hy__trainer *tr, bool *asked, hy_error *err) {
    const int64_t most = (tr->t.val_tokens + tr->data.n - 1) / tr->data.n;
    const char *only = tr->stage->until_corpus;
    score all = {0}, judged = {0};
    for (int64_t c = 0; c < tr->data.n; c++) {
        score s = {0};
        if (!tr->val[c]) continue;
        HY_TRY(evaluate(tr, tr->val[c], most, &s, err));
        add_score(&all, &s);
        if (!*only || strcmp(only, tr->data.name[c]) == 0) add_score(&judged, &s);
    }
    if (!isfinite(all.nats)) {
        return hy__fail(err, HY_E_DIVERGED,
                        "after step %lld the held-out loss is not finite: the step has broken the "
                        "weights; the training ends without saving them. It has diverged: a lower "
                        "train.lr or train.clip may help",
                        (long long)tr->at.step);
    }
    *asked = all.n > 0;
    if (!*asked) return HY_OK;
    tr->val_loss = all.nats / (double)all.n;
    tr->val_bits = bits_per_byte(all.nats, all.n_byte);
    tr->val_accuracy = (double)all.n_hit / (double)all.n;
    if (judged.n > 0)
        hy__stage_judge(tr, judged.nats / (double)judged.n,
                        (double)judged.n_hit / (double)judged.n);
    return HY_OK;
}
