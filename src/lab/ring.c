/* ring.c: the loss of a long text at a length of context; see ring.h.
 *
 * The first tokens of what is held out, its documents one behind the other, are bent to a ring. For
 * a context of n tokens it is read from size / (n/2) places, n tokens from each, and of these the
 * second half counts. So every token of the ring counts once, whatever n is: only what was read
 * before it differs, between n/2 and n - 1 tokens. Losses at different contexts are of the same
 * text, and a part of it that is harder is harder for all of them. No token is read twice in one
 * go, as n <= size.
 *
 * Memory: the states of as many sequences as are read at a time, which a bounded state makes
 * constant. */
#include "lab/ring.h"

#include "data/mixture.h"
#include "lab/lab.h"
#include "model/model.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
    PIECE = HY__FEED, /* tokens of a sequence in one forward */
    TOGETHER = 8,     /* sequences in one forward … */
    HELD = 1 << 16,   /* … and tokens of them, at most: caches grow with them */
};

/* The sequences that are read together: from[i] is the place of the ring where i begins. */
typedef struct group {
    hy__model *model;
    hy__work *work;
    const int32_t *ring; /* [size] */
    int64_t size, context, n;
    hy_train_fn go_on; /* or NULL */
    hy__state *state[TOGETHER];
    hy__seq seq[TOGETHER];
    int32_t *token, *target; /* [TOGETHER · PIECE] */
    hy__ring_sum sum;
} group;

static void put_piece(group *g, int64_t first, int64_t pos, int64_t len) {
    for (int64_t i = 0; i < g->n; i++) {
        const int64_t at = (first + i) * (g->context / 2) + pos;
        g->seq[i] = (hy__seq){.start = i * len, .len = len, .pos = pos};
        for (int64_t t = 0; t < len; t++) {
            const bool counts = pos + t >= g->context / 2;
            g->token[i * len + t] = g->ring[(at + t) % g->size];
            g->target[i * len + t] = counts ? g->ring[(at + t + 1) % g->size] : -1;
        }
    }
}

static hy_status read_piece(group *g, int64_t pos, int64_t len, hy_error *err) {
    const hy__batch batch = {.rows = {.n_row = g->n * len, .n_seq = g->n, .seq = g->seq},
                             .token = g->token,
                             .state_in = g->state,
                             .state_out = g->state};
    double nats;
    int64_t counted;
    HY_TRY(hy__lab_go_on(g->go_on, err));
    HY_TRY(hy__forward(g->work, &batch, err));
    if (pos + len <= g->context / 2) return HY_OK;
    HY_TRY(hy__loss(g->work, g->target, 0.0, NULL, &nats, &counted, err));
    g->sum.nats += nats;
    g->sum.hits += hy__loss_hits(g->work);
    return HY_OK;
}

/* n sequences from the first-th on, from their beginning to their end. */
static hy_status read_group(group *g, int64_t first, int64_t n, hy_error *err) {
    g->n = n;
    for (int64_t i = 0; i < n; i++) hy__state_reset(g->state[i]);
    for (int64_t pos = 0; pos < g->context; pos += PIECE) {
        const int64_t left = g->context - pos, len = left < PIECE ? left : PIECE;
        put_piece(g, first, pos, len);
        HY_TRY(read_piece(g, pos, len, err));
    }
    return HY_OK;
}

static hy_status read_all(group *g, hy_error *err) {
    const int64_t n = g->size / (g->context / 2), some = HELD / g->context;
    const int64_t together = some < 1 ? 1 : some < TOGETHER ? some : TOGETHER;
    for (int64_t i = 0; i < together; i++)
        HY_TRY(hy__state_new(&g->state[i], g->model, g->context, err));
    for (int64_t first = 0; first < n; first += together)
        HY_TRY(read_group(g, first, n - first < together ? n - first : together, err));
    return HY_OK;
}

hy_status hy__ring_check(const hy__ring *r, const hy__mixture *text, hy_error *err) {
    int64_t n = 0;
    for (int64_t c = 0; c < text->n; c++) n += text->corpus[c]->n_part[HY__PART_VAL];
    if (n >= r->size) return HY_OK;
    return hy__fail(err, HY_E_INVALID,
                    "%" PRId64 " tokens of the text are held out, wanted %" PRId64
                    "; name more text with --text",
                    n, r->size);
}

/* Documents of what is held out, one behind the other, until there are `size` tokens. */
static hy_status fill(int32_t *ring, int64_t size, const hy__mixture *text, hy_error *err) {
    int64_t n = 0;
    for (int64_t c = 0; c < text->n && n < size; c++) {
        const hy__corpus *from = text->corpus[c];
        for (int64_t d = 0; d < from->n_document[HY__PART_VAL] && n < size; d++) {
            const hy__document *doc = &from->document[HY__PART_VAL][d];
            const int64_t len = doc->len < size - n ? doc->len : size - n;
            HY_TRY(hy__corpus_read(from, doc->start, len, ring + n, err));
            n += len;
        }
    }
    return HY_OK;
}

hy_status hy__ring_ask(const hy__ring *r, hy__ring_sum *sum, hy__model *m, const hy__mixture *text,
                       hy_train_fn go_on, hy_error *err) {
    HY_TRY(hy__ring_check(r, text, err));
    int32_t *ring = calloc((size_t)r->size, sizeof *ring);
    group g = {.model = m, .ring = ring, .size = r->size, .context = r->context, .go_on = go_on};
    hy_status status = HY_OK;
    g.token = calloc(TOGETHER * PIECE, sizeof *g.token);
    g.target = calloc(TOGETHER * PIECE, sizeof *g.target);
    if (!ring || !g.token || !g.target) status = hy__no_memory(err, "a text");
    if (status == HY_OK) status = fill(ring, r->size, text, err);
    if (status == HY_OK) status = hy__work_new(&g.work, m, (hy__work_options){0}, err);
    if (status == HY_OK) status = read_all(&g, err);
    *sum = g.sum;
    for (int i = 0; i < TOGETHER; i++) hy__state_free(g.state[i]);
    hy__work_free(g.work);
    free(ring);
    free(g.token);
    free(g.target);
    return status;
}
