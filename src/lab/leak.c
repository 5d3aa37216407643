/* leak.c: what a model gains from tokens that it must not see; see lab.h.
 *
 * A text is read twice, unit by unit of its routing: with the whole unit there, and for every token
 * once more with nothing behind it, which is how it is read when it is being written. A model that
 * is causal gives each token the same loss both times. The difference is what the future tells:
 *   future = loss of all tokens read so - loss of all tokens in whole units   [nats per token] */
#include "lab/exam.h"

#include <stdlib.h>

enum {
    SHARE = 16
}; /* of the text that others read: each token is read half a unit's length often */

/* A batch of windows on its way through their units. Of `state` those with an even number stand
 * behind an even number of units. */
typedef struct walk {
    hy__exam *exam;
    int64_t unit, n_piece, n_row; /* pieces and rows that there is room for */
    hy__state **state;            /* [2][n_piece] */
    hy__state **in, **out;        /* [n_piece] of the pieces that a forward reads */
    int32_t *token, *target;      /* [n_row] */
} walk;

static void walk_release(walk *w) {
    for (int64_t i = 0; w->state && i < 2 * w->n_piece; i++) hy__state_free(w->state[i]);
    free(w->state);
    free(w->in);
    free(w->out);
    free(w->token);
    free(w->target);
}

static hy_status walk_init(walk *w, hy__exam *e, const hy__loader *l, hy_error *err) {
    *w = (walk){.exam = e,
                .unit = e->model->cfg.experts.expert_chunk,
                .n_piece = hy__loader_max_pieces(l),
                .n_row = hy__loader_max_rows(l)};
    w->state = calloc((size_t)(2 * w->n_piece), sizeof *w->state);
    w->in = calloc((size_t)w->n_piece, sizeof *w->in);
    w->out = calloc((size_t)w->n_piece, sizeof *w->out);
    w->token = calloc((size_t)w->n_row, sizeof *w->token);
    w->target = calloc((size_t)w->n_row, sizeof *w->target);
    if (!w->state || !w->in || !w->out || !w->token || !w->target)
        return hy__no_memory(err, "a test");
    for (int64_t i = 0; i < 2 * w->n_piece; i++)
        HY_TRY(hy__state_new(&w->state[i], e->model, e->seq_len, err));
    return hy__exam_reserve(e, w->n_piece, err);
}

/* Reads every piece's unit `u`: of those that have so many the first n rows, of which the last is
 * asked; or, n = 0, of all as many as there are, all of which are asked, and the states go on. */
static hy_status read_unit(walk *w, const hy__loader_batch *b, int64_t u, int64_t n, hy__tally *sum,
                           hy_error *err) {
    hy__exam *e = w->exam;
    const bool whole = n == 0;
    int64_t n_seq = 0, n_row = 0;
    for (int64_t p = 0; p < b->n_piece; p++) {
        const int64_t left = b->piece[p].len - u * w->unit;
        const int64_t len = !whole ? n : left < w->unit ? left : w->unit;
        const int64_t from = b->piece[p].start + u * w->unit;
        if (left <= 0 || left < len) continue;
        for (int64_t i = 0; i < len; i++) {
            w->token[n_row + i] = b->token[from + i];
            w->target[n_row + i] = whole || i + 1 == len ? b->target[from + i] : -1;
        }
        w->in[n_seq] = u > 0 ? w->state[u % 2 * w->n_piece + p] : NULL;
        w->out[n_seq] = w->state[(u + 1) % 2 * w->n_piece + p];
        e->seq[n_seq++] =
            (hy__seq){.start = n_row, .len = len, .pos = u * w->unit, .domain = b->piece[p].domain};
        n_row += len;
    }
    if (n_row == 0) return HY_OK;
    const hy__batch batch = {.rows = {.n_row = n_row, .n_seq = n_seq, .seq = e->seq},
                             .token = w->token,
                             .state_in = w->in,
                             .state_out = whole ? w->out : NULL};
    return hy__exam_add(e, &batch, w->target, sum, err);
}

static hy_status read_batch(walk *w, const hy__loader_batch *b, hy__tally *whole, hy__tally *cut,
                            hy_error *err) {
    int64_t longest = 0;
    for (int64_t p = 0; p < b->n_piece; p++)
        if (b->piece[p].len > longest) longest = b->piece[p].len;
    for (int64_t u = 0; u * w->unit < longest; u++) {
        for (int64_t n = 1; n <= w->unit; n++) HY_TRY(read_unit(w, b, u, n, cut, err));
        HY_TRY(read_unit(w, b, u, 0, whole, err));
    }
    return HY_OK;
}

hy_status hy__exam_cut(hy__exam *e, const char *name, hy__tally *sum, hy__answer *a,
                       hy_error *err) {
    hy__loader *l = NULL;
    hy__tally whole = {0};
    walk w = {0};
    hy_status status;
    HY_TRY_GOTO(hy__exam_windows(e, name, 0, &l, err));
    HY_TRY_GOTO(walk_init(&w, e, l, err));
    for (int64_t i = 0, read = 0; read < e->rows / SHARE; i++) {
        const hy__loader_batch *b;
        HY_TRY_GOTO(hy__loader_get(l, i, &b, err));
        HY_TRY_GOTO(read_batch(&w, b, &whole, sum, err));
        read += b->n_row;
    }
    a->value[HY__FUTURE] = (sum->nats - whole.nats) / (double)sum->asked;
done:
    walk_release(&w);
    hy__loader_free(l);
    return status;
}
