/* loader.c: see loader.h.
 *
 * A document of n tokens makes n-1 rows. In the line of an epoch it takes n-1 positions, rounded up
 * to a multiple of `align`; the rounding makes no rows. Because a stream moves by a multiple of
 * align, every batch of it before the end of its share has at least one row. The last stream of a
 * corpus has the largest share, so that no batch is without rows. */
#include "data/loader.h"
#include "base/rng.h"
#include "data/line.h"

#include <stdlib.h>
#include <string.h>

enum { PERIOD = 4096 /* turns after which the schedule repeats: shares are multiples of 1/4096 */ };

/* One corpus of the mixture. */
typedef struct domain {
    const hy__corpus *corpus;
    hy__line line[2]; /* of the epochs that streams are in: even and odd ones; not carry: [0] */
    int64_t epoch[2]; /* that a line stands for */
    int64_t n_epoch;  /* batches of an epoch in which it is its turn */
    int32_t *turns;   /* [PERIOD + 1] how often it was its turn before; NULL: it always is */
} domain;

struct hy__loader {
    hy__loader_options opt;
    int64_t align;  /* documents start at multiples of it in the line */
    int64_t stride; /* positions of a stream in one batch, a multiple of align */
    domain *domain; /* [opt.n_corpus] */
    int32_t *token, *target;
    hy__piece *piece;
    int64_t *from; /* of each piece: where its first token stands in its corpus; −1: in the batch */
    hy__loader_batch batch;
};

static int64_t divide_up(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

/* Appends rows [row, row + len) of a document to the batch. */
static void add_piece(hy__loader *l, hy__piece piece, const hy__document *d, int64_t row) {
    hy__loader_batch *b = &l->batch;
    l->from[b->n_piece] = d->start + row;
    piece.start = b->n_row;
    l->piece[b->n_piece++] = piece;
    b->n_row += piece.len;
    b->n_target += piece.len;
}

/* The tokens of the batch's pieces, and their targets. */
static hy_status read_tokens(hy__loader *l, hy_error *err) {
    for (int64_t i = 0; i < l->batch.n_piece; i++) {
        const hy__piece *p = &l->piece[i];
        if (l->from[i] < 0) continue;
        int32_t *token = l->token + p->start, *target = l->target + p->start;
        const hy__corpus *c = l->opt.corpus[p->domain];
        HY_TRY(hy__corpus_read(c, l->from[i], p->len, token, err));
        memcpy(target, token + 1, (size_t)(p->len - 1) * sizeof *target);
        HY_TRY(hy__corpus_read(c, l->from[i] + p->len, 1, target + p->len - 1, err));
    }
    return HY_OK;
}

/* ---- whose turn it is ---- */

/* Turns of the corpus among the first n of the schedule. */
static int64_t turns_before(const domain *d, int64_t n) {
    return n / PERIOD * d->turns[PERIOD] + d->turns[n % PERIOD];
}

/* Which corpus a row of text of a batch is of, and how many batches it was of it before. Every row
 * begins one turn later than the one above it, so that a batch, too, is mixed as the schedule is:
 * further apart, corpora of equal weights would come to the same one in all rows at once. */
static int64_t turn(const hy__loader *l, int64_t number, int64_t row, int64_t *before) {
    *before = number;
    if (l->opt.n_corpus == 1) return 0;
    const int64_t phase = row % l->opt.batch, at = phase + number;
    int64_t c = 0;
    while (turns_before(&l->domain[c], at + 1) == turns_before(&l->domain[c], at)) c++;
    *before = turns_before(&l->domain[c], at) - turns_before(&l->domain[c], phase);
    return c;
}

/* Rows that a stream of the corpus makes in one batch, on average: holes behind short documents and
 * the end of a share count. */
static double rows_of_turn(const hy__loader *l, const domain *d) {
    if (d->corpus->task.kind) return (double)l->stride;
    const int64_t n_row = d->corpus->n_part[l->opt.part] - d->corpus->n_document[l->opt.part];
    const int64_t n_turn = d->n_epoch * l->opt.batch;
    return l->opt.carry ? (double)n_row / (double)n_turn
                        : (double)n_row / (double)d->line[0].length * (double)l->stride;
}

/* Fills the schedule: at each turn the corpus comes that is farthest behind its share. */
static hy_status plan_turns(hy__loader *l, hy_error *err) {
    const int64_t n = l->opt.n_corpus;
    if (n == 1) return HY_OK;
    double *share = malloc((size_t)n * sizeof *share), sum = 0.0;
    hy_status status = HY_OK;
    for (int64_t c = 0; c < n; c++) {
        l->domain[c].turns = calloc(PERIOD + 1, sizeof *l->domain[c].turns);
        if (!share || !l->domain[c].turns)
            status = hy__no_memory(err, "mixing %lld corpora", (long long)n);
        if (status != HY_OK) break;
        const double w =
            l->opt.weight ? l->opt.weight[c] : (double)l->domain[c].corpus->n_part[l->opt.part];
        share[c] = w / rows_of_turn(l, &l->domain[c]);
        sum += share[c];
    }
    for (int64_t i = 0; i < PERIOD && status == HY_OK; i++) {
        int64_t next = 0;
        double most = -1e300;
        for (int64_t c = 0; c < n; c++) {
            int32_t *turns = l->domain[c].turns;
            const double behind = share[c] / sum * (double)(i + 1) - (double)turns[i];
            turns[i + 1] = turns[i];
            if (behind > most) {
                most = behind;
                next = c;
            }
        }
        l->domain[next].turns[i + 1]++;
    }
    free(share);
    for (int64_t c = 0; c < n && status == HY_OK; c++)
        if (l->domain[c].turns[PERIOD] == 0)
            status =
                hy__fail(err, HY_E_INVALID,
                         "the share of %.400s in the data is too small, wanted at least 1 in %d",
                         l->domain[c].corpus->name, PERIOD);
    return status;
}

/* ---- carry ---- */

/* The documents in the order of the epoch. */
static const hy__line *line_of(const hy__loader *l, domain *d, int64_t epoch) {
    if (l->opt.in_order) return &d->line[0];
    hy__line *line = &d->line[epoch % 2];
    if (d->epoch[epoch % 2] != epoch) {
        hy__line_shuffle(line, hy__rng_key(l->opt.seed, "document order", (uint64_t)epoch));
        d->epoch[epoch % 2] = epoch;
    }
    return line;
}

/* Where the share of a stream begins; stream `batch` is the end of the line. */
static int64_t share_of(const hy__loader *l, const domain *d, int64_t stream) {
    const int64_t n = d->line[0].length / l->align, batch = l->opt.batch;
    return (n / batch * stream + n % batch * stream / batch) * l->align;
}

static void walk(hy__loader *l, int64_t c, int64_t row, int64_t segment) {
    domain *d = &l->domain[c];
    const hy__line *line = line_of(l, d, segment / d->n_epoch);
    const int64_t begin = share_of(l, d, row), end = share_of(l, d, row + 1);
    const int64_t from = begin + segment % d->n_epoch * l->stride;
    const int64_t to = from + l->stride < end ? from + l->stride : end;
    if (from >= to) return;
    hy__line_place at = hy__line_find(line, from);
    for (bool more = true; more && at.start < to; more = hy__line_next(line, &at)) {
        const hy__document *doc = &line->document[at.d];
        const int64_t last = at.start + doc->len - 1;
        const int64_t first = at.start > from ? at.start : from;
        const int64_t stop = last < to ? last : to;
        const int64_t fresh = at.start > begin ? at.start : begin;
        if (first >= stop) continue;
        add_piece(l,
                  (hy__piece){.stream = c * l->opt.batch + row,
                              .len = stop - first,
                              .pos = first - fresh,
                              .domain = c},
                  doc, first - at.start);
    }
}

/* ---- random places ---- */

static void scatter(hy__loader *l, int64_t c, int64_t row, int64_t number) {
    const uint64_t key = hy__rng_key(l->opt.seed, "random places", (uint64_t)number);
    const hy__line *line = &l->domain[c].line[1]; /* of rows alone */
    uint64_t counter = (uint64_t)row << 32;
    for (int64_t room = l->stride; room > 0; counter++) {
        const int64_t at = hy__rng_below(key, counter, line->length);
        const hy__line_place place = hy__line_find(line, at);
        const hy__document *doc = &line->document[place.d];
        const int64_t n_row = doc->len - 1, len = n_row < room ? n_row : room;
        const int64_t first = at - place.start < n_row - len ? at - place.start : n_row - len;
        add_piece(l, (hy__piece){.stream = c * l->opt.batch + row, .len = len, .domain = c}, doc,
                  first);
        room -= divide_up(len, l->align) * l->align;
    }
}

/* ---- tasks ---- */

/* Positions that a document takes. */
static int64_t room_of(const hy__loader *l, const hy__task *t) {
    return divide_up(t->len, l->align) * l->align;
}

/* Training takes a new document every time; held-out ones come again, for every seed the same. */
static void write_task(hy__loader *l, int64_t c, int64_t row, int64_t number) {
    const hy__corpus *corpus = l->domain[c].corpus;
    const bool val = l->opt.part == HY__PART_VAL;
    const uint64_t key = hy__rng_key(val ? 0 : l->opt.seed, val ? "held out" : "trained on", 0);
    const int64_t n = l->stride / room_of(l, &corpus->task);
    if (val) number %= l->domain[c].n_epoch;
    for (int64_t i = 0; i < n; i++) {
        hy__loader_batch *b = &l->batch;
        const int64_t document = (number * l->opt.batch + row) * n + i;
        if (val && document >= corpus->n_document[HY__PART_VAL]) return;
        int32_t *target = l->target + b->n_row;
        const int64_t len =
            hy__task_write(&corpus->task, key, document, l->token + b->n_row, target);
        l->from[b->n_piece] = -1;
        l->piece[b->n_piece++] = (hy__piece){
            .stream = c * l->opt.batch + row, .start = b->n_row, .len = len, .domain = c};
        b->n_row += len;
        for (int64_t r = 0; r < len; r++) b->n_target += target[r] >= 0;
    }
}

static hy_status open_task(hy__loader *l, domain *d, hy_error *err) {
    const hy__task *t = &d->corpus->task;
    const int64_t room = room_of(l, t);
    if (room > l->stride)
        return hy__fail(err, HY_E_INVALID,
                        "a document of %.400s has up to %lld tokens, wanted at most the %lld of "
                        "train.seq_len in whole chunks",
                        d->corpus->name, (long long)t->len, (long long)l->stride);
    d->n_epoch = divide_up(d->corpus->n_document[l->opt.part], l->opt.batch * (l->stride / room));
    return HY_OK;
}

/* ---- */

int64_t hy__loader_streams(const hy__loader *l) {
    return l->opt.batch * l->opt.n_corpus;
}

int64_t hy__loader_max_rows(const hy__loader *l) {
    return l->opt.batch * l->stride;
}

int64_t hy__loader_max_pieces(const hy__loader *l) {
    return l->opt.batch * (l->stride / l->align);
}

int64_t hy__loader_epoch(const hy__loader *l) {
    int64_t n = 0;
    for (int64_t c = 0; c < l->opt.n_corpus; c++) n += l->domain[c].n_epoch;
    return n;
}

static void lay_out(hy__loader *l, int64_t number) {
    l->batch = (hy__loader_batch){.token = l->token, .target = l->target, .piece = l->piece};
    for (int64_t row = 0; row < l->opt.batch; row++) {
        int64_t before;
        const int64_t c = turn(l, number, row, &before);
        if (l->domain[c].corpus->task.kind)
            write_task(l, c, row, number);
        else if (l->opt.carry)
            walk(l, c, row, before);
        else
            scatter(l, c, row, number);
    }
}

int64_t hy__loader_targets(hy__loader *l, int64_t number) {
    lay_out(l, number);
    return l->batch.n_target;
}

hy_status hy__loader_get(hy__loader *l, int64_t number, const hy__loader_batch **batch,
                         hy_error *err) {
    lay_out(l, number);
    *batch = &l->batch;
    return read_tokens(l, err);
}

static hy_status open_domain(hy__loader *l, int64_t c, hy_error *err) {
    domain *d = &l->domain[c];
    const hy__part part = l->opt.part;
    *d = (domain){.corpus = l->opt.corpus[c], .epoch = {-1, -1}};
    if (d->corpus->task.kind) return open_task(l, d, err);
    const hy__document *document = d->corpus->document[part];
    const int64_t n = d->corpus->n_document[part];
    if (n == 0)
        return hy__fail(err, HY_E_INVALID,
                        "the %s part of the data has nothing to predict (%.400s)",
                        part == HY__PART_TRAIN ? "training" : "held-out", d->corpus->name);
    HY_TRY(hy__line_init(&d->line[0], document, n, l->align, err));
    HY_TRY(hy__line_init(&d->line[1], document, n, l->opt.carry ? l->align : 1, err));
    d->n_epoch =
        divide_up(divide_up(d->line[0].length / l->align, l->opt.batch) * l->align, l->stride);
    return HY_OK;
}

static hy_status open_batch(hy__loader *l, hy_error *err) {
    const size_t rows = (size_t)hy__loader_max_rows(l), pieces = (size_t)hy__loader_max_pieces(l);
    l->token = malloc(rows * sizeof *l->token);
    l->target = malloc(rows * sizeof *l->target);
    l->piece = malloc(pieces * sizeof *l->piece);
    l->from = malloc(pieces * sizeof *l->from);
    if (l->token && l->target && l->piece && l->from) return HY_OK;
    return hy__no_memory(err, "batches of %zu tokens", rows);
}

hy_status hy__loader_new(hy__loader **out, const hy__loader_options *opt, hy_error *err) {
    *out = NULL;
    hy__loader *l = calloc(1, sizeof *l);
    if (l) l->domain = calloc((size_t)opt->n_corpus, sizeof *l->domain);
    if (!l || !l->domain) {
        free(l);
        return hy__no_memory(err, "the loader");
    }
    l->opt = *opt;
    l->align = opt->seq_len < opt->chunk ? 1 : opt->chunk;
    l->stride = opt->seq_len / l->align * l->align;
    hy_status status = HY_OK;
    for (int64_t c = 0; c < opt->n_corpus && status == HY_OK; c++) status = open_domain(l, c, err);
    if (status == HY_OK) status = plan_turns(l, err);
    if (status == HY_OK) status = open_batch(l, err);
    if (status == HY_OK)
        *out = l;
    else
        hy__loader_free(l);
    return status;
}

void hy__loader_free(hy__loader *l) {
    if (!l) return;
    for (int64_t c = 0; c < l->opt.n_corpus; c++) {
        hy__line_release(&l->domain[c].line[0]);
        hy__line_release(&l->domain[c].line[1]);
        free(l->domain[c].turns);
    }
    free(l->domain);
    free(l->token);
    free(l->target);
    free(l->piece);
    free(l->from);
    free(l);
}
