/* loader.c: see loader.h.
 *
 * A document of n tokens makes n-1 rows. In the line of an epoch it takes n-1 positions, rounded up
 * to a multiple of `align`; the rounding makes no rows. Because a stream moves by a multiple of
 * align, every batch of it before the end of its share has at least one row. */
#include "data/loader.h"
#include "base/rng.h"

#include <stdlib.h>

struct hy__loader {
    hy__loader_options opt;
    int64_t align;  /* documents start at multiples of it in the line */
    int64_t stride; /* positions of a stream in one batch, a multiple of align */
    const hy__document *document;
    int64_t n_document;
    int64_t line;   /* positions of the whole line */
    int64_t epoch;  /* the one that `order` and `start` describe; -1 = none yet */
    int64_t *order; /* [n_document] carry: documents as they stand in the line */
    int64_t *start; /* [n_document + 1] carry: position of order[i]; else first row of i */
    int32_t *token, *target;
    hy__piece *piece;
    int64_t *from; /* of each piece: where its first token stands in the corpus */
    hy__loader_batch batch;
};

static int64_t divide_up(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

/* Positions of document d in the line. */
static int64_t extent(const hy__loader *l, int64_t d) {
    return divide_up(l->document[d].len - 1, l->align) * l->align;
}

/* The largest i with start[i] <= at. */
static int64_t find(const hy__loader *l, int64_t at) {
    int64_t low = 0, high = l->n_document;
    while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        if (l->start[middle] <= at)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Appends rows [row, row + len) of document d to the batch. */
static void add_piece(hy__loader *l, int64_t stream, int64_t d, int64_t row, int64_t len,
                      int64_t pos) {
    hy__loader_batch *b = &l->batch;
    l->from[b->n_piece] = l->document[d].start + row;
    l->piece[b->n_piece++] =
        (hy__piece){.stream = stream, .start = b->n_row, .len = len, .pos = pos};
    b->n_row += len;
}

/* The tokens of the batch's pieces, and their targets. */
static void read_tokens(hy__loader *l) {
    for (int64_t p = 0; p < l->batch.n_piece; p++) {
        const hy__piece *piece = &l->piece[p];
        for (int64_t i = 0; i < piece->len; i++) {
            l->token[piece->start + i] = hy__corpus_token(l->opt.corpus, l->from[p] + i);
            l->target[piece->start + i] = hy__corpus_token(l->opt.corpus, l->from[p] + i + 1);
        }
    }
}

/* ---- carry ---- */

/* Puts the documents in the order of the epoch (Fisher-Yates). */
static void lay_line(hy__loader *l, int64_t epoch) {
    if (l->epoch == epoch || (l->opt.in_order && l->epoch >= 0)) return;
    const uint64_t key = hy__rng_key(l->opt.seed, "document order", (uint64_t)epoch);
    for (int64_t i = 0; i < l->n_document; i++) l->order[i] = i;
    for (int64_t i = l->n_document - 1; i > 0 && !l->opt.in_order; i--) {
        const int64_t j = hy__rng_below(key, (uint64_t)i, i + 1), kept = l->order[i];
        l->order[i] = l->order[j];
        l->order[j] = kept;
    }
    l->start[0] = 0;
    for (int64_t i = 0; i < l->n_document; i++)
        l->start[i + 1] = l->start[i] + extent(l, l->order[i]);
    l->epoch = epoch;
}

/* Where the share of a stream begins; stream `batch` is the end of the line. */
static int64_t share(const hy__loader *l, int64_t stream) {
    const int64_t n = l->line / l->align, batch = l->opt.batch;
    return (n / batch * stream + n % batch * stream / batch) * l->align;
}

static void walk(hy__loader *l, int64_t stream, int64_t segment) {
    const int64_t begin = share(l, stream), end = share(l, stream + 1);
    if (segment >= divide_up(end - begin, l->stride)) return;
    const int64_t from = begin + segment * l->stride;
    const int64_t to = from + l->stride < end ? from + l->stride : end;
    for (int64_t i = find(l, from); i < l->n_document && l->start[i] < to; i++) {
        const int64_t d = l->order[i], last = l->start[i] + l->document[d].len - 1;
        const int64_t first = l->start[i] > from ? l->start[i] : from;
        const int64_t stop = last < to ? last : to;
        if (first >= stop) continue;
        const int64_t fresh = l->start[i] > begin ? l->start[i] : begin;
        add_piece(l, stream, d, first - l->start[i], stop - first, first - fresh);
    }
}

/* ---- random places ---- */

static void scatter(hy__loader *l, int64_t number, int64_t stream) {
    const uint64_t key = hy__rng_key(l->opt.seed, "random places", (uint64_t)number);
    uint64_t counter = (uint64_t)stream << 32;
    for (int64_t room = l->stride; room > 0; counter++) {
        const int64_t at = hy__rng_below(key, counter, l->start[l->n_document]);
        const int64_t d = find(l, at), n_row = l->document[d].len - 1;
        const int64_t len = n_row < room ? n_row : room;
        const int64_t row = at - l->start[d] < n_row - len ? at - l->start[d] : n_row - len;
        add_piece(l, stream, d, row, len, 0);
        room -= divide_up(len, l->align) * l->align;
    }
}

/* ---- */

int64_t hy__loader_max_rows(const hy__loader *l) {
    return l->opt.batch * l->stride;
}

int64_t hy__loader_max_pieces(const hy__loader *l) {
    return l->opt.batch * (l->stride / l->align);
}

int64_t hy__loader_epoch(const hy__loader *l) {
    const int64_t longest = divide_up(l->line / l->align, l->opt.batch) * l->align;
    return divide_up(longest, l->stride);
}

int64_t hy__loader_rows(hy__loader *l, int64_t number) {
    const int64_t n_epoch = hy__loader_epoch(l);
    l->batch = (hy__loader_batch){.token = l->token, .target = l->target, .piece = l->piece};
    if (l->opt.carry) lay_line(l, number / n_epoch);
    for (int64_t stream = 0; stream < l->opt.batch; stream++) {
        if (l->opt.carry)
            walk(l, stream, number % n_epoch);
        else
            scatter(l, number, stream);
    }
    return l->batch.n_row;
}

const hy__loader_batch *hy__loader_get(hy__loader *l, int64_t number) {
    hy__loader_rows(l, number);
    read_tokens(l);
    return &l->batch;
}

hy_status hy__loader_new(hy__loader **out, const hy__loader_options *opt, hy_error *err) {
    *out = NULL;
    const hy__corpus *c = opt->corpus;
    const int64_t n = c->n_document[opt->part];
    if (n == 0)
        return hy__fail(err, HY_E_INVALID,
                        "the %s part of the data has nothing to predict (%lld tokens in all)",
                        opt->part == HY__PART_VAL ? "held-out" : "training", (long long)c->n_token);
    hy__loader *l = calloc(1, sizeof *l);
    if (!l) return hy__fail(err, HY_E_MEMORY, "out of memory for a loader");
    l->opt = *opt;
    l->align = opt->seq_len < opt->chunk ? 1 : opt->chunk;
    l->stride = opt->seq_len / l->align * l->align;
    l->document = c->document[opt->part];
    l->n_document = n;
    l->epoch = -1;
    const size_t rows = (size_t)hy__loader_max_rows(l), pieces = (size_t)hy__loader_max_pieces(l);
    l->order = malloc((size_t)n * sizeof *l->order);
    l->start = malloc(((size_t)n + 1) * sizeof *l->start);
    l->token = malloc(rows * sizeof *l->token);
    l->target = malloc(rows * sizeof *l->target);
    l->piece = malloc(pieces * sizeof *l->piece);
    l->from = malloc(pieces * sizeof *l->from);
    if (!l->order || !l->start || !l->token || !l->target || !l->piece || !l->from) {
        hy__loader_free(l);
        return hy__fail(err, HY_E_MEMORY, "out of memory for batches of %zu tokens", rows);
    }
    l->start[0] = 0;
    for (int64_t i = 0; i < n; i++) {
        l->line += extent(l, i);
        l->start[i + 1] = l->start[i] + l->document[i].len - 1; /* carry lays its own line */
    }
    *out = l;
    return HY_OK;
}

void hy__loader_free(hy__loader *l) {
    if (!l) return;
    free(l->order);
    free(l->start);
    free(l->token);
    free(l->target);
    free(l->piece);
    free(l->from);
    free(l);
}
