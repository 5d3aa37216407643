/* cost.c: how much of everything a batch has that costs are counted by, in closed form over chunks;
 * and the cost of the frame around the layers. */
#include "model/component.h"

void hy__cost_add(hy__cost *c, hy__term term) {
    HY_ASSERT(c->n_term < HY__TERM_MAX);
    c->term[c->n_term++] = term;
}

void hy__cost_linear(hy__cost *c, const char *what, const char *formula, hy__extent per,
                     int64_t out, int64_t in) {
    const double forward = 2.0 * (double)out * (double)in;
    hy__cost_add(c, (hy__term){.what = what,
                               .formula = formula,
                               .per = per,
                               .forward = forward,
                               .backward = 2.0 * forward});
}

void hy__frame_cost(const hy__config *c, hy__cost *cost) {
    hy__cost_linear(cost, "head", "2·d·V", HY__PER_LOGIT, c->model.vocab, c->model.d_model);
}

/* ---- pairs ------------------------------------------------------------------------------------
 */

static double triangle(int64_t n) {
    return (double)n * (double)(n + 1) / 2.0;
}

/* Pairs s <= t of `len` tokens from position `pos`, cut at the multiples of `unit`. */
static double pairs(int64_t pos, int64_t len, int64_t unit) {
    const int64_t room = unit - pos % unit;
    if (len <= room) return triangle(len);
    const int64_t rest = len - room;
    return triangle(room) + (double)(rest / unit) * triangle(unit) + triangle(rest % unit);
}

/* The same where blocks of `block` tokens begin at the first token and anew with every chunk. */
static double block_pairs(int64_t pos, int64_t len, int64_t chunk, int64_t block) {
    const int64_t room = chunk - pos % chunk;
    if (len <= room) return pairs(0, len, block);
    const int64_t rest = len - room;
    return pairs(0, room, block) + (double)(rest / chunk) * pairs(0, chunk, block) +
           pairs(0, rest % chunk, block);
}

/* ---- attention --------------------------------------------------------------------------------
 */

/* Σ of min(x, most) over the integers x in [from, to). */
static double sum_capped(int64_t from, int64_t to, int64_t most) {
    const int64_t bend = from > most ? from : to < most ? to : most;
    return triangle(bend - 1) - triangle(from - 1) + (double)(to - bend) * (double)most;
}

/* Σ over x in [from, to) of x held between 0 and most. */
static double sum_held(int64_t from, int64_t to, int64_t most) {
    if (to <= 0) return 0;
    return sum_capped(from > 0 ? from : 0, to, most);
}

/* Adds the positions and the scored blocks of the tokens [from, to), all of one block and with the
 * same candidates; the rule is in backend.h. */
static void add_positions(const hy__config *c, int64_t from, int64_t to, double *position,
                          double *score) {
    const int64_t chunk = c->model.chunk, window = c->attention.window;
    const int64_t topk = c->attention.topk, memory = c->attention.memory_blocks;
    const double n = (double)(to - from);
    const int64_t before = from - window + 1; /* positions that lie wholly before the window */
    *position += sum_capped(from + 1, to + 1, window) + sum_held(before, to - window + 1, chunk);
    if (topk == 0 || before < 2 * chunk) return;
    int64_t first = 1;
    if (memory > 0 && from / chunk - memory > first) first = from / chunk - memory;
    const int64_t candidates = before / chunk - first;
    if (candidates <= 0) return;
    *score += n * (double)candidates;
    *position += n * (double)((candidates < topk ? candidates : topk) * chunk);
}

/* Tokens of a block are alike but for the one place where the window's edge enters a new block. */
static void positions(const hy__config *c, int64_t pos, int64_t len, double *position,
                      double *score) {
    const int64_t chunk = c->model.chunk, bend = (c->attention.window - 1) % chunk, end = pos + len;
    for (int64_t from = pos; from < end;) {
        const int64_t block = from - from % chunk;
        const int64_t next = from < block + bend ? block + bend : block + chunk;
        const int64_t to = next < end ? next : end;
        add_positions(c, from, to, position, score);
        from = to;
    }
}

/* ---- all --------------------------------------------------------------------------------------
 */

void hy__extents(const hy__config *c, const hy__rows *rows, int64_t n_logit,
                 double extent[HY__EXTENT_N]) {
    for (int i = 0; i < HY__EXTENT_N; i++) extent[i] = 0;
    extent[HY__PER_TOKEN] = (double)rows->n_row;
    extent[HY__PER_LOGIT] = (double)n_logit;
    extent[HY__PER_UNIT] = (double)hy__rows_units(rows, c->experts.expert_chunk);
    for (int64_t i = 0; i < rows->n_seq; i++) {
        const hy__seq *s = &rows->seq[i];
        positions(c, s->pos, s->len, &extent[HY__PER_POSITION], &extent[HY__PER_SCORE]);
        if (s->len == 1) continue; /* the recurrence */
        extent[HY__PER_CHUNK_PAIR] += pairs(s->pos, s->len, c->model.chunk);
        extent[HY__PER_BLOCK_PAIR] += block_pairs(s->pos, s->len, c->model.chunk, HY__DELTA_BLOCK);
    }
}
