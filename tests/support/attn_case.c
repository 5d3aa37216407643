/* attn_case.c: see attn_case.h. */
#include "support/attn_case.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- cases ---- */

const attn_case attn_cases[] = {
    {"full, fresh", 2, 2, 8, 4, 1000, 0, 0, 1, {0}, {37}},
    {"full, with a past", 4, 1, 16, 16, 1000, 2, 0, 2, {21, 0}, {40, 1}},
    {"window alone", 2, 1, 8, 4, 7, 0, 0, 3, {0, 33, 18}, {50, 5, 1}},
    {"window of one", 2, 2, 8, 4, 1, 0, 0, 2, {9, 0}, {9, 6}},
    {"select", 4, 2, 8, 4, 6, 3, 0, 3, {0, 37, 62}, {70, 23, 1}},
    {"select, all of them", 2, 2, 8, 4, 3, 40, 0, 1, {13}, {30}},
    {"select from the last blocks", 4, 1, 12, 4, 6, 2, 5, 3, {0, 81, 40}, {90, 30, 4}},
    {"decode", 4, 4, 64, 16, 40, 2, 0, 3, {300, 17, 0}, {1, 1, 1}},
    {"wide", 4, 2, 64, 16, 70, 3, 0, 2, {0, 100}, {257, 63}},
    {"odd sizes", 3, 1, 20, 48, 50, 2, 3, 2, {47, 250}, {200, 131}},
    {"wide heads", 2, 1, 136, 32, 33, 4, 0, 1, {70}, {230}},
    {"odd heads", 3, 1, 7, 16, 20, 2, 0, 3, {0, 37, 90}, {60, 5, 1}},
    {"wide blocks", 4, 2, 8, 112, 100, 2, 0, 2, {0, 700}, {600, 20}},
    {"decode behind much", 4, 2, 20, 16, 5000, 0, 0, 3, {700, 2900, 129}, {1, 1, 1}},
    {0},
};

const attn_case attn_long[] = {
    {"many tokens and blocks", 2, 1, 4, 16, 20, 2, 0, 1, {0}, {2100}},
    {0},
};

void attn_each(const attn_case *table, attn_check_fn *check) {
    for (const char *const *name = hy__backend_names(); *name; name++) {
        op_bench b;
        op_open(&b, *name, 2);
        for (const attn_case *c = table; c->what; c++) {
            check(&b, c);
            op_clear(&b);
        }
        op_close(&b);
    }
}

/* ---- the rule, in double ---- */

attn_host attn_host_new(const attn_case *c, uint64_t seed) {
    attn_host x = {0};
    for (int64_t i = 0; i < c->n_seq; i++) {
        const int64_t n = x.total[i] = c->pos[i] + c->len[i];
        x.q[i] = op_random(seed + 10u * (uint64_t)i, n * c->n_head * c->head_dim, 1.5);
        x.k[i] = op_random(seed + 10u * (uint64_t)i + 1, n * c->n_kv * c->head_dim, 1.5);
        x.v[i] = op_random(seed + 10u * (uint64_t)i + 2, n * c->n_kv * c->head_dim, 1.0);
    }
    return x;
}

void attn_host_free(attn_host *x) {
    for (int i = 0; i < ATTN_MAX_SEQ; i++) {
        free(x->q[i]);
        free(x->k[i]);
        free(x->v[i]);
    }
}

/* Score of a block for (t, KV head j); NAN when t may not select it. */
static double block_score(const attn_case *c, const attn_host *x, int64_t i, int64_t t, int64_t j,
                          int64_t b) {
    const int64_t group = c->n_head / c->n_kv, hd = c->head_dim;
    if (b < 1 || (b + 1) * c->chunk - 1 > t - c->window) return (double)NAN;
    if (c->memory > 0 && b < t / c->chunk - c->memory) return (double)NAN;
    double score = 0;
    for (int64_t e = 0; e < hd; e++) {
        double q = 0, mean = 0;
        for (int64_t g = 0; g < group; g++) q += x->q[i][(t * c->n_head + j * group + g) * hd + e];
        for (int64_t s = b * c->chunk; s < (b + 1) * c->chunk; s++)
            mean += x->k[i][(s * c->n_kv + j) * hd + e] / (double)c->chunk;
        score += q * mean;
    }
    return score;
}

void attn_see(const attn_case *c, const attn_host *x, int64_t i, int64_t t, int64_t j, bool *see,
              int32_t *select) {
    const int64_t n_block = t / c->chunk + 1;
    double *score = malloc((size_t)n_block * sizeof *score);
    for (int64_t b = 0; b < n_block; b++) score[b] = block_score(c, x, i, t, j, b);
    int64_t n = 0;
    for (int64_t b = 0; b < n_block; b++) {
        int64_t better = 0;
        for (int64_t o = 0; o < n_block; o++)
            better += score[o] > score[b] || (score[o] == score[b] && o < b);
        if (!isnan(score[b]) && better < c->topk) select[n++] = (int32_t)b;
    }
    for (int64_t s = 0; s <= t; s++) {
        see[s] = s < c->chunk || s > t - c->window;
        for (int64_t m = 0; m < n; m++) see[s] = see[s] || s / c->chunk == select[m];
    }
    while (n < c->topk) select[n++] = -1;
    free(score);
}

static void brute_head(const attn_case *c, const attn_host *x, int64_t i, int64_t t, int64_t h,
                       const bool *see, double *o, double *lse) {
    const int64_t hd = c->head_dim, j = h / (c->n_head / c->n_kv);
    double total = 0;
    for (int64_t e = 0; e < hd; e++) o[e] = 0;
    for (int64_t s = 0; s <= t; s++) {
        if (!see[s]) continue;
        double score = 0;
        for (int64_t e = 0; e < hd; e++)
            score += x->q[i][(t * c->n_head + h) * hd + e] * x->k[i][(s * c->n_kv + j) * hd + e];
        const double p = exp(score / sqrt((double)hd)); /* small numbers: needs no maximum */
        total += p;
        for (int64_t e = 0; e < hd; e++) o[e] += p * x->v[i][(s * c->n_kv + j) * hd + e];
    }
    for (int64_t e = 0; e < hd; e++) o[e] /= total;
    *lse = log(total);
}

attn_answer attn_answer_new(const attn_case *c, const attn_host *x) {
    int64_t n_row = 0, top = 0;
    for (int64_t i = 0; i < c->n_seq; i++) {
        n_row += c->len[i];
        top = x->total[i] > top ? x->total[i] : top;
    }
    attn_answer w = {.o = malloc((size_t)(n_row * c->n_head * c->head_dim) * sizeof *w.o),
                     .lse = malloc((size_t)(n_row * c->n_head) * sizeof *w.lse),
                     .select = malloc((size_t)(n_row * c->n_kv * c->topk) * sizeof *w.select + 1)};
    bool *see = malloc((size_t)top);
    int64_t r = 0;
    for (int64_t i = 0; i < c->n_seq; i++)
        for (int64_t t = c->pos[i]; t < x->total[i]; t++, r++)
            for (int64_t j = 0; j < c->n_kv; j++) {
                attn_see(c, x, i, t, j, see, w.select + (r * c->n_kv + j) * c->topk);
                for (int64_t s = 0; s <= t; s++) w.positions += see[s];
                const int64_t group = c->n_head / c->n_kv;
                for (int64_t h = j * group; h < (j + 1) * group; h++)
                    brute_head(c, x, i, t, h, see, w.o + (r * c->n_head + h) * c->head_dim,
                               w.lse + r * c->n_head + h);
            }
    free(see);
    return w;
}

void attn_answer_free(attn_answer *w) {
    free(w->o);
    free(w->lse);
    free(w->select);
}

int64_t attn_slot(int64_t b, int64_t n_slot) {
    return b == 0 ? 0 : 1 + (b - 1) % (n_slot - 1);
}

int64_t attn_holder(const attn_case *c, int64_t slot, int64_t end, int64_t n_slot) {
    int64_t held = -1;
    for (int64_t b = 0; b * c->chunk < end; b++)
        if (slot == attn_slot(b, n_slot)) held = b;
    return held;
}

double *attn_cache(const attn_case *c, const double *full, int64_t end, int64_t n_slot, bool sums) {
    const int64_t width = c->n_kv * c->head_dim, rows = sums ? 1 : c->chunk;
    double *cache = malloc((size_t)(n_slot * rows * width) * sizeof *cache);
    for (int64_t n = 0; n < n_slot * rows * width; n++) cache[n] = (double)NAN;
    for (int64_t slot = 0; slot < n_slot; slot++) {
        const int64_t b = attn_holder(c, slot, end, n_slot);
        for (int64_t s = b * c->chunk; b >= 0 && s < (b + 1) * c->chunk && s < end; s++)
            for (int64_t e = 0; e < width; e++) {
                double *to = cache + (slot * rows + (sums ? 0 : s % c->chunk)) * width + e;
                *to = (sums && s % c->chunk ? *to : 0) + full[s * width + e];
            }
    }
    return cache;
}

/* ---- the batch of a case on a backend ---- */

/* The smallest cache that serves, by the rule of hy__kv_slot's comment. */
static int64_t slots(const attn_case *c, int64_t capacity) {
    const int64_t need = (capacity + c->chunk - 1) / c->chunk;
    const int64_t window = (c->window < 2 ? 0 : c->window - 2 + c->chunk - 1) / c->chunk;
    if (c->topk > 0 && c->memory == 0) return need;
    const int64_t bound = 2 + (c->topk > 0 && c->memory > window ? c->memory : window);
    return need < bound ? need : bound;
}

/* All sequences' rows of q, k, v side by side. */
static double *fuse(const attn_case *c, const attn_host *x, int64_t n_row) {
    const int64_t hd = c->head_dim, wq = c->n_head * hd, wk = c->n_kv * hd;
    double *row = malloc((size_t)(n_row * (wq + 2 * wk)) * sizeof *row), *to = row;
    for (int64_t i = 0; i < c->n_seq; i++)
        for (int64_t t = c->pos[i]; t < x->total[i]; t++) {
            for (int64_t e = 0; e < wq; e++) *to++ = x->q[i][t * wq + e];
            for (int64_t e = 0; e < wk; e++) *to++ = x->k[i][t * wk + e];
            for (int64_t e = 0; e < wk; e++) *to++ = x->v[i][t * wk + e];
        }
    return row;
}

/* Puts what the caller hands over. */
static hy__tensor put(op_bench *b, double *x, int64_t n) {
    const hy__tensor t = op_put(b, x, n);
    free(x);
    return t;
}

/* Keys or values. */
static hy__tensor put_cache(op_bench *b, const attn_case *c, const double *full, int64_t end,
                            int64_t n_slot, bool half) {
    const int64_t n = n_slot * c->chunk * c->n_kv * c->head_dim;
    double *x = attn_cache(c, full, end, n_slot, false);
    const hy__tensor t = half ? op_put_bf16(b, x, n) : op_put(b, x, n);
    free(x);
    return t;
}

/* The caches of sequence i and their gradients. */
static void put_caches(attn_batch *s, const attn_case *c, const attn_host *x, int64_t i,
                       attn_options options) {
    op_bench *b = s->bench;
    const int64_t pos = c->pos[i], width = c->n_kv * c->head_dim, page = c->chunk * width;
    const int64_t n_out = s->slot_out[i] = slots(c, x->total[i]) + options.grow;
    if (pos > 0) {
        const int64_t n_in = s->slot_in[i] = options.grow ? slots(c, pos) : n_out;
        s->k_in[i] = put_cache(b, c, x->k[i], pos, n_in, options.half);
        s->v_in[i] = put_cache(b, c, x->v[i], pos, n_in, options.half);
        s->sum_in[i] = put(b, attn_cache(c, x->k[i], pos, n_in, true), n_in * width);
        s->dk_in[i] = op_nan(b, n_in * page);
        s->dv_in[i] = op_nan(b, n_in * page);
    }
    s->k_out[i] = put_cache(b, c, x->k[i], 0, n_out, options.half);
    s->v_out[i] = put_cache(b, c, x->v[i], 0, n_out, options.half);
    s->sum_out[i] = op_nan(b, n_out * width);
    s->dk_out[i] = put(b, op_random(77u + (uint64_t)i, n_out * page, 1), n_out * page);
    s->dv_out[i] = put(b, op_random(88u + (uint64_t)i, n_out * page, 1), n_out * page);
}

void attn_batch_put(attn_batch *s, op_bench *b, const attn_case *c, const attn_host *x,
                    attn_options options) {
    *s = (attn_batch){.bench = b};
    const int64_t hd = c->head_dim, width = c->n_kv * hd, ld = (c->n_head + 2 * c->n_kv) * hd;
    int64_t n_row = 0;
    for (int64_t i = 0; i < c->n_seq; i++) {
        s->seq[i] = (hy__seq){.start = n_row, .len = c->len[i], .pos = c->pos[i]};
        n_row += c->len[i];
        put_caches(s, c, x, i, options);
    }
    s->rows = (hy__rows){.n_row = n_row, .n_seq = c->n_seq, .seq = s->seq};
    s->qkv = put(b, fuse(c, x, n_row), n_row * ld);
    s->dqkv = op_nan(b, n_row * ld);
    s->a = (hy__attn_args){
        .o = op_nan(b, n_row * c->n_head * hd),
        .lse = op_nan(b, n_row * c->n_head),
        .q = s->qkv,
        .k = hy__at(s->qkv, c->n_head * hd),
        .v = hy__at(s->qkv, (c->n_head + c->n_kv) * hd),
        .select = op_nan_i32(b, n_row * c->n_kv * c->topk),
        .block_sum = op_nan(b, hy__rows_units(&s->rows, c->chunk) * width),
        .rows = &s->rows,
        .k_in = s->k_in,
        .v_in = s->v_in,
        .ksum_in = s->sum_in,
        .k_out = s->k_out,
        .v_out = s->v_out,
        .ksum_out = s->sum_out,
        .slot_in = s->slot_in,
        .slot_out = s->slot_out,
        .dout = put(b, op_random(5, n_row * c->n_head * hd, 1), n_row * c->n_head * hd),
        .dq = s->dqkv,
        .dk = hy__at(s->dqkv, c->n_head * hd),
        .dv = hy__at(s->dqkv, (c->n_head + c->n_kv) * hd),
        .delta = op_nan(b, n_row * c->n_head),
        .dk_in = s->dk_in,
        .dv_in = s->dv_in,
        .dk_out = s->dk_out,
        .dv_out = s->dv_out,
        .n_head = c->n_head,
        .n_kv = c->n_kv,
        .head_dim = hd,
        .chunk = c->chunk,
        .window = c->window,
        .topk = c->topk,
        .memory_blocks = c->memory,
        .ldq = ld,
        .ldk = ld,
        .ldv = ld,
        .scale = 1 / sqrt((double)hd),
        .prec = options.prec,
    };
}

void attn_batch_run(attn_batch *s) {
    const hy__kernels *k = &s->bench->be->kernels;
    k->attn(s->bench->be, &s->a);
    k->kv_append(s->bench->be, &s->a);
    k->kv_append_backward(s->bench->be, &s->a);
    k->attn_backward(s->bench->be, &s->a);
}

double *attn_batch_get(const attn_batch *s, hy__tensor t, int64_t n) {
    double *x = malloc((size_t)n * sizeof *x + 1);
    op_get(s->bench, x, t, n);
    return x;
}

void attn_same(const char *what, const attn_batch *want, hy__tensor w, const attn_batch *got,
               hy__tensor g, int64_t n, double tol) {
    double *x = attn_batch_get(want, w, n), *y = attn_batch_get(got, g, n);
    for (int64_t i = 0; i < n; i++)
        if (isnan(x[i]) && isnan(y[i])) x[i] = y[i] = 0;
    char name[32];
    snprintf(name, sizeof name, "%s:%s", got->bench->be->name, got->bench->be->isa);
    op_expect(what, name, x, y, n, tol);
    free(x);
    free(y);
}

void attn_same_gradients(const attn_case *c, const attn_batch *want, const attn_batch *got,
                         double tol) {
    const int64_t width = c->n_kv * c->head_dim;
    attn_same(c->what, want, want->dqkv, got, got->dqkv, got->rows.n_row * got->a.ldq, tol);
    for (int64_t i = 0; i < c->n_seq; i++) {
        if (c->pos[i] == 0) continue;
        const int64_t n = got->slot_in[i] * c->chunk * width;
        attn_same(c->what, want, want->dk_in[i], got, got->dk_in[i], n, tol);
        attn_same(c->what, want, want->dv_in[i], got, got->dv_in[i], n, tol);
    }
}
