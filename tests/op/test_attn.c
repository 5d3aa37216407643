/* test_attn.c: sparse attention against a dumb implementation of its rule, finite differences, and
 * the laws: any split gives the same, unread memory does not matter, equal runs give equal bits. */
#include "backend/cpu/cpu.h"
#include "support/op.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MAX_SEQ = 3 };

/* One batch: sequence i has seen pos[i] tokens and gets len[i] more. */
typedef struct kase {
    const char *what;
    int64_t n_head, n_kv, head_dim, chunk, window, topk, memory;
    int64_t n_seq, pos[MAX_SEQ], len[MAX_SEQ];
} kase;

static const kase KASES[] = {
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
};
enum { N_KASE = sizeof KASES / sizeof *KASES, MOST = 3000 /* positions of a sequence */ };

/* More tokens than are sorted by block together, more blocks than are scored together. */
static const kase LONG = {"many tokens and blocks", 2, 1, 4, 16, 20, 2, 0, 1, {0}, {2100}};

/* The smallest cache that serves, by the rule of hy__kv_slot's comment. */
static int64_t slots(const kase *c, int64_t capacity) {
    const int64_t need = (capacity + c->chunk - 1) / c->chunk;
    const int64_t window = (c->window < 2 ? 0 : c->window - 2 + c->chunk - 1) / c->chunk;
    if (c->topk > 0 && c->memory == 0) return need;
    const int64_t bound = 2 + (c->topk > 0 && c->memory > window ? c->memory : window);
    return need < bound ? need : bound;
}

/* ---- whole sequences on the host, and the rule applied to them --------------------------------
 */

typedef struct host {
    int64_t total[MAX_SEQ];
    double *q[MAX_SEQ], *k[MAX_SEQ], *v[MAX_SEQ]; /* [total, H|n_kv, hd] */
} host;

static host host_new(const kase *c, uint64_t seed) {
    host x = {0};
    for (int64_t i = 0; i < c->n_seq; i++) {
        const int64_t n = x.total[i] = c->pos[i] + c->len[i];
        x.q[i] = op_random(seed + 10u * (uint64_t)i, n * c->n_head * c->head_dim, 1.5);
        x.k[i] = op_random(seed + 10u * (uint64_t)i + 1, n * c->n_kv * c->head_dim, 1.5);
        x.v[i] = op_random(seed + 10u * (uint64_t)i + 2, n * c->n_kv * c->head_dim, 1.0);
    }
    return x;
}

static void host_free(host *x) {
    for (int i = 0; i < MAX_SEQ; i++) {
        free(x->q[i]);
        free(x->k[i]);
        free(x->v[i]);
    }
}

/* Score of a block for (t, KV head j); NAN when t may not select it. */
static double block_score(const kase *c, const host *x, int64_t i, int64_t t, int64_t j,
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

/* see[s] for s <= t, and the selected blocks, ascending, -1 at the end. */
static void brute_see(const kase *c, const host *x, int64_t i, int64_t t, int64_t j, bool *see,
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

typedef struct answer {
    double *o, *lse; /* [N,H,hd], [N,H] */
    int32_t *select; /* [N,n_kv,topk] */
    int64_t positions;
} answer;

static void brute_head(const kase *c, const host *x, int64_t i, int64_t t, int64_t h,
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

static answer brute(const kase *c, const host *x) {
    int64_t n_row = 0, top = 0;
    for (int64_t i = 0; i < c->n_seq; i++) {
        n_row += c->len[i];
        top = x->total[i] > top ? x->total[i] : top;
    }
    answer w = {.o = malloc((size_t)(n_row * c->n_head * c->head_dim) * sizeof *w.o),
                .lse = malloc((size_t)(n_row * c->n_head) * sizeof *w.lse),
                .select = malloc((size_t)(n_row * c->n_kv * c->topk) * sizeof *w.select + 1)};
    bool *see = malloc((size_t)top);
    int64_t r = 0;
    for (int64_t i = 0; i < c->n_seq; i++)
        for (int64_t t = c->pos[i]; t < x->total[i]; t++, r++)
            for (int64_t j = 0; j < c->n_kv; j++) {
                brute_see(c, x, i, t, j, see, w.select + (r * c->n_kv + j) * c->topk);
                for (int64_t s = 0; s <= t; s++) w.positions += see[s];
                const int64_t group = c->n_head / c->n_kv;
                for (int64_t h = j * group; h < (j + 1) * group; h++)
                    brute_head(c, x, i, t, h, see, w.o + (r * c->n_head + h) * c->head_dim,
                               w.lse + r * c->n_head + h);
            }
    free(see);
    return w;
}

static void answer_free(answer *w) {
    free(w->o);
    free(w->lse);
    free(w->select);
}

/* ---- the same batch on a backend --------------------------------------------------------------
 */

/* Which block a cache of n_slot slots holds after `end` tokens; -1 = none. */
static int64_t holder(const kase *c, int64_t slot, int64_t end, int64_t n_slot) {
    int64_t held = -1;
    for (int64_t b = 0; b * c->chunk < end; b++)
        if (slot == (b == 0 ? 0 : 1 + (b - 1) % (n_slot - 1))) held = b;
    return held;
}

/* A cache of sequence i after `end` tokens, NaN wherever nothing is; rows = C, or 1 for the sums.
 */
static double *cache_host(const kase *c, const double *full, int64_t end, int64_t n_slot,
                          bool sums) {
    const int64_t width = c->n_kv * c->head_dim, rows = sums ? 1 : c->chunk;
    double *cache = malloc((size_t)(n_slot * rows * width) * sizeof *cache);
    for (int64_t n = 0; n < n_slot * rows * width; n++) cache[n] = (double)NAN;
    for (int64_t slot = 0; slot < n_slot; slot++) {
        const int64_t b = holder(c, slot, end, n_slot);
        for (int64_t s = b * c->chunk; b >= 0 && s < (b + 1) * c->chunk && s < end; s++)
            for (int64_t e = 0; e < width; e++) {
                double *to = cache + (slot * rows + (sums ? 0 : s % c->chunk)) * width + e;
                *to = (sums && s % c->chunk ? *to : 0) + full[s * width + e];
            }
    }
    return cache;
}

typedef struct side {
    op_bench *bench;
    hy__attn_args a;
    hy__rows rows;
    hy__seq seq[MAX_SEQ];
    int64_t slot_in[MAX_SEQ], slot_out[MAX_SEQ];
    hy__tensor k_in[MAX_SEQ], v_in[MAX_SEQ], sum_in[MAX_SEQ];
    hy__tensor k_out[MAX_SEQ], v_out[MAX_SEQ], sum_out[MAX_SEQ];
    hy__tensor dk_in[MAX_SEQ], dv_in[MAX_SEQ], dk_out[MAX_SEQ], dv_out[MAX_SEQ];
    hy__tensor qkv, dqkv; /* fused rows [N, H+2n_kv, hd], so that row distances matter */
} side;

/* `all` sequences' rows of q, k, v side by side. */
static double *fuse(const kase *c, const host *x, int64_t n_row) {
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

/* What the sides that are opened are asked for beside fp32. */
static struct {
    bool half; /* a cache in bf16 */
    hy__prec prec;
} mode;

/* A cache; it takes x. */
static hy__tensor put_cache(op_bench *b, double *x, int64_t n) {
    const hy__tensor t = mode.half ? op_put_bf16(b, x, n) : op_put(b, x, n);
    free(x);
    return t;
}
static hy__tensor nan_cache(op_bench *b, int64_t n) {
    double *x = malloc((size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++) x[i] = (double)NAN;
    return put_cache(b, x, n);
}

static hy__tensor put(op_bench *b, double *x, int64_t n) {
    const hy__tensor t = op_put(b, x, n);
    free(x);
    return t;
}

static void side_cache(side *s, const kase *c, const host *x, int64_t i, int64_t n_slot) {
    const int64_t width = c->n_kv * c->head_dim, page = c->chunk * width;
    s->slot_in[i] = n_slot;
    s->k_in[i] =
        put_cache(s->bench, cache_host(c, x->k[i], c->pos[i], n_slot, false), n_slot * page);
    s->v_in[i] =
        put_cache(s->bench, cache_host(c, x->v[i], c->pos[i], n_slot, false), n_slot * page);
    s->sum_in[i] = put(s->bench, cache_host(c, x->k[i], c->pos[i], n_slot, true), n_slot * width);
}

/* Everything a call needs; outputs hold NaN. `grow`: the cache after has more slots than needed. */
static void side_open(side *s, op_bench *b, const kase *c, const host *x, int64_t grow) {
    *s = (side){.bench = b};
    const int64_t hd = c->head_dim, width = c->n_kv * hd, ld = (c->n_head + 2 * c->n_kv) * hd;
    int64_t n_row = 0;
    for (int64_t i = 0; i < c->n_seq; i++) {
        s->seq[i] = (hy__seq){.start = n_row, .len = c->len[i], .pos = c->pos[i]};
        n_row += c->len[i];
        s->slot_out[i] = slots(c, x->total[i]) + grow;
        const int64_t n_out = s->slot_out[i] * c->chunk * width;
        if (c->pos[i] > 0) {
            side_cache(s, c, x, i, grow ? slots(c, c->pos[i]) : s->slot_out[i]);
            s->dk_in[i] = op_nan(b, s->slot_in[i] * c->chunk * width);
            s->dv_in[i] = op_nan(b, s->slot_in[i] * c->chunk * width);
        }
        s->k_out[i] = nan_cache(b, n_out);
        s->v_out[i] = nan_cache(b, n_out);
        s->sum_out[i] = op_nan(b, s->slot_out[i] * width);
        s->dk_out[i] = put(b, op_random(77u + (uint64_t)i, n_out, 1), n_out);
        s->dv_out[i] = put(b, op_random(88u + (uint64_t)i, n_out, 1), n_out);
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
        .prec = mode.prec,
    };
}

static double *get(side *s, hy__tensor t, int64_t n) {
    double *x = malloc((size_t)n * sizeof *x + 1);
    op_get(s->bench, x, t, n);
    return x;
}

/* Compares a tensor of two sides; NaN where both are NaN is equal (entries that hold nothing). */
static void same(const char *what, side *want, hy__tensor w, side *got, hy__tensor g, int64_t n,
                 double tol) {
    double *x = get(want, w, n), *y = get(got, g, n);
    for (int64_t i = 0; i < n; i++)
        if (isnan(x[i]) && isnan(y[i])) x[i] = y[i] = 0;
    char name[32];
    snprintf(name, sizeof name, "%s:%s", got->bench->be->name, got->bench->be->isa);
    op_expect(what, name, x, y, n, tol);
    free(x);
    free(y);
}

/* fp32 against fp64, relative to the largest element: sums of up to 400 terms of random sign lose
 * about sqrt(400)·6e-8 = 1.2e-6; the gradients of keys sum over queries and heads too. */
static double tol_forward(const op_bench *b) {
    return b->be->real == HY__DTYPE_F64 ? 1e-13 : 3e-6;
}
static double tol_backward(const op_bench *b) {
    return b->be->real == HY__DTYPE_F64 ? 1e-13 : 1e-5;
}

static void each_backend(void (*check)(op_bench *b, const kase *c)) {
    for (const char *const *name = hy__backend_names(); *name; name++) {
        op_bench b;
        op_open(&b, *name, 2);
        for (int n = 0; n < N_KASE; n++) {
            check(&b, &KASES[n]);
            op_clear(&b);
        }
        op_close(&b);
    }
}

/* ---- tests ------------------------------------------------------------------------------------
 */

static void check_forward(op_bench *b, const kase *c) {
    host x = host_new(c, 1);
    answer want = brute(c, &x);
    side s;
    side_open(&s, b, c, &x, 0);
    const hy__kernels *k = &b->be->kernels;
    k->attn_select(b->be, &s.a);
    const int64_t n_select = s.rows.n_row * c->n_kv * c->topk;
    int32_t *select = malloc((size_t)n_select * sizeof *select + 1);
    op_get_i32(b, select, s.a.select, n_select);
    for (int64_t i = 0; i < n_select; i++)
        if (select[i] != want.select[i])
            fail_msg("%s on %s: choice %d is block %d, wanted %d", c->what, b->be->isa, (int)i,
                     (int)select[i], (int)want.select[i]);
    free(select);

    b->be->counters.kv_positions = 0;
    k->attn(b->be, &s.a);
    assert_int_equal(b->be->counters.kv_positions, want.positions);
    const int64_t n_out = s.rows.n_row * c->n_head;
    double *o = get(&s, s.a.o, n_out * c->head_dim), *lse = get(&s, s.a.lse, n_out);
    op_expect(c->what, b->be->isa, want.o, o, n_out * c->head_dim, tol_forward(b));
    op_expect(c->what, b->be->isa, want.lse, lse, n_out, tol_forward(b));
    free(o);
    free(lse);
    answer_free(&want);
    host_free(&x);
}

static void test_forward(void **state) {
    (void)state;
    each_backend(check_forward);
}

/* The cache after the piece is the one that a sequence fed at once would have left. */
static void check_append(op_bench *b, const kase *c) {
    for (int64_t grow = 0; grow < 3; grow += 2) {
        host x = host_new(c, 2);
        side s;
        side_open(&s, b, c, &x, grow);
        b->be->kernels.kv_append(b->be, &s.a);
        for (int64_t i = 0; i < c->n_seq; i++) {
            const int64_t width = c->n_kv * c->head_dim, n = s.slot_out[i];
            const int64_t size[] = {n * c->chunk * width, n * c->chunk * width, n * width};
            const double *full[] = {x.k[i], x.v[i], x.k[i]};
            const hy__tensor out[] = {s.k_out[i], s.v_out[i], s.sum_out[i]};
            for (int m = 0; m < 3; m++) {
                double *want = cache_host(c, full[m], x.total[i], n, m == 2);
                double *got = get(&s, out[m], size[m]);
                /* A block that the smaller cache before had dropped is not there: nothing needs it.
                 */
                for (int64_t e = 0; e < size[m]; e++) {
                    const int64_t held = holder(c, e / (size[m] / n), x.total[i], n);
                    const int64_t n_in = c->pos[i] ? s.slot_in[i] : 0;
                    if (held >= 0 && held * c->chunk < c->pos[i] &&
                        (n_in == 1 ? held > 0
                                   : holder(c, held ? 1 + (held - 1) % (n_in - 1) : 0, c->pos[i],
                                            n_in) != held))
                        want[e] = (double)NAN;
                    if (isnan(want[e]) && isnan(got[e])) want[e] = got[e] = 0;
                }
                op_expect(c->what, b->be->isa, want, got, size[m], m == 2 ? tol_forward(b) : 0);
                free(want);
                free(got);
            }
        }
        host_free(&x);
        op_clear(b);
    }
}

static void test_append(void **state) {
    (void)state;
    each_backend(check_append);
}

static void run_all(side *s) {
    const hy__kernels *k = &s->bench->be->kernels;
    k->attn(s->bench->be, &s->a);
    k->kv_append(s->bench->be, &s->a);
    k->kv_append_backward(s->bench->be, &s->a);
    k->attn_backward(s->bench->be, &s->a);
}

static void same_gradients(const kase *c, side *want, side *got, double tol) {
    const int64_t width = c->n_kv * c->head_dim;
    same(c->what, want, want->dqkv, got, got->dqkv, got->rows.n_row * got->a.ldq, tol);
    for (int64_t i = 0; i < c->n_seq; i++) {
        if (c->pos[i] == 0) continue;
        const int64_t n = got->slot_in[i] * c->chunk * width;
        same(c->what, want, want->dk_in[i], got, got->dk_in[i], n, tol);
        same(c->what, want, want->dv_in[i], got, got->dv_in[i], n, tol);
    }
}

/* Every backend's gradients against the reference in double, with the same selection. */
static void check_backward(op_bench *b, const kase *c) {
    op_bench ref;
    op_open(&ref, "ref64", 1);
    host x = host_new(c, 3);
    side want, got;
    side_open(&want, &ref, c, &x, 0);
    side_open(&got, b, c, &x, 0);
    const int64_t n = want.rows.n_row * c->n_kv * c->topk;
    int32_t *select = malloc((size_t)n * sizeof *select + 1);
    ref.be->kernels.attn_select(ref.be, &want.a);
    op_get_i32(&ref, select, want.a.select, n);
    got.a.select = op_put_i32(b, select, n);
    free(select);
    run_all(&want);
    run_all(&got);
    same_gradients(c, &want, &got, tol_backward(b));
    host_free(&x);
    op_close(&ref);
}

static void test_backward(void **state) {
    (void)state;
    each_backend(check_backward);
}

static void test_long(void **state) {
    (void)state;
    for (const char *const *name = hy__backend_names(); *name; name++) {
        op_bench b;
        op_open(&b, *name, 2);
        check_forward(&b, &LONG);
        op_clear(&b);
        check_backward(&b, &LONG);
        op_close(&b);
    }
}

/* A cache in bf16 holds what is rounded and counts the piece's own rows as rounded: the reference
 * does too, so that fp32's bound stays. Products in bf16 round q, k, v, p and their gradients, 2^-9
 * each, as dense products do. */
static void check_narrow(op_bench *b, const kase *c) {
    const double tol = mode.prec == HY__PREC_BF16 && b->be->has_bf16 ? 1e-2 : tol_forward(b);
    op_bench ref;
    op_open(&ref, "ref64", 1);
    host x = host_new(c, 3);
    side want, got;
    side_open(&want, &ref, c, &x, 0);
    side_open(&got, b, c, &x, 0);
    const int64_t n = want.rows.n_row * c->n_kv * c->topk, n_out = want.rows.n_row * c->n_head;
    int32_t *select = malloc((size_t)n * sizeof *select + 1);
    ref.be->kernels.attn_select(ref.be, &want.a);
    op_get_i32(&ref, select, want.a.select, n);
    got.a.select = op_put_i32(b, select, n);
    free(select);
    side *both[] = {&want, &got};
    for (int i = 0; i < 2; i++) {
        both[i]->bench->be->kernels.attn(both[i]->bench->be, &both[i]->a);
        both[i]->bench->be->kernels.kv_append(both[i]->bench->be, &both[i]->a);
    }
    same(c->what, &want, want.a.o, &got, got.a.o, n_out * c->head_dim, tol);
    same(c->what, &want, want.a.lse, &got, got.a.lse, n_out, tol);
    for (int64_t i = 0; i < c->n_seq; i++) {
        const int64_t size = want.slot_out[i] * c->chunk * c->n_kv * c->head_dim;
        same(c->what, &want, want.k_out[i], &got, got.k_out[i], size, mode.half ? 0 : 1e-7);
        same(c->what, &want, want.v_out[i], &got, got.v_out[i], size, mode.half ? 0 : 1e-7);
    }
    if (!mode.half) {
        run_all(&want);
        run_all(&got);
        same_gradients(c, &want, &got, tol > 1e-3 ? tol : tol_backward(b));
    }
    host_free(&x);
    op_close(&ref);
}

static void test_narrow(void **state) {
    (void)state;
    for (int m = 1; m < 4; m++) {
        mode.half = m & 1;
        mode.prec = m & 2 ? HY__PREC_BF16 : HY__PREC_FP32;
        each_backend(check_narrow);
    }
    mode.half = false;
    mode.prec = HY__PREC_FP32;
}

/* L = Σ dout·o + Σ dk_out·k_out + Σ dv_out·v_out on ref64, the selection held fixed. */
typedef struct slope {
    side *s;
    const kase *c;
    double *x;    /* the tensor that is moved */
    hy__tensor t; /* where it lies */
    int64_t n;
} slope;

static double weighted(side *s, hy__tensor x, hy__tensor w, int64_t n) {
    double *a = get(s, x, n), *b = get(s, w, n), sum = 0;
    for (int64_t i = 0; i < n; i++) sum += isnan(a[i]) ? 0 : a[i] * b[i]; /* NaN: holds nothing */
    free(a);
    free(b);
    return sum;
}

static double loss(void *user) {
    slope *p = user;
    side *s = p->s;
    hy__tensor_write_f64(s->bench->be, p->t, p->x, p->n);
    s->bench->be->kernels.attn(s->bench->be, &s->a);
    s->bench->be->kernels.kv_append(s->bench->be, &s->a);
    double sum = weighted(s, s->a.o, s->a.dout, s->rows.n_row * p->c->n_head * p->c->head_dim);
    for (int64_t i = 0; i < p->c->n_seq; i++) {
        const int64_t n = s->slot_out[i] * p->c->chunk * p->c->n_kv * p->c->head_dim;
        sum +=
            weighted(s, s->k_out[i], s->dk_out[i], n) + weighted(s, s->v_out[i], s->dv_out[i], n);
    }
    return sum;
}

/* Central differences with h = 1e-4 leave an error of h²·f'''/6, and 1e-16·L/h by rounding: both
 * under 1e-8 of a gradient of size 1. */
static void check_slopes(side *s, const kase *c, hy__tensor t, hy__tensor dt, int64_t n) {
    slope p = {.s = s, .c = c, .x = get(s, t, n), .t = t, .n = n};
    double *got = get(s, dt, n), *want = malloc((size_t)n * sizeof *want);
    for (int64_t i = 0; i < n; i++) want[i] = isnan(p.x[i]) ? 0 : op_slope(loss, &p, &p.x[i], 1e-4);
    (void)loss(&p);
    op_expect(c->what, "ref64", want, got, n, 1e-6);
    free(p.x);
    free(got);
    free(want);
}

static void test_finite_differences(void **state) {
    (void)state;
    static const kase SMALL[] = {
        {"slopes, full", 2, 1, 4, 4, 100, 0, 0, 2, {5, 0}, {7, 6}},
        {"slopes, window", 2, 2, 3, 4, 5, 0, 0, 2, {18, 3}, {9, 2}},
        {"slopes, select", 4, 2, 3, 3, 4, 2, 0, 1, {16}, {9}},
        {"slopes, ring", 2, 1, 4, 3, 4, 2, 3, 2, {25, 0}, {13, 8}},
    };
    op_bench b;
    op_open(&b, "ref64", 1);
    for (size_t n = 0; n < sizeof SMALL / sizeof *SMALL; n++)
        for (int64_t grow = 0; grow < 3; grow += 2) {
            const kase *c = &SMALL[n];
            host x = host_new(c, 4);
            side s;
            side_open(&s, &b, c, &x, grow);
            b.be->kernels.attn_select(b.be, &s.a);
            run_all(&s);
            check_slopes(&s, c, s.qkv, s.dqkv, s.rows.n_row * s.a.ldq);
            for (int64_t i = 0; i < c->n_seq; i++) {
                if (c->pos[i] == 0) continue;
                const int64_t size = s.slot_in[i] * c->chunk * c->n_kv * c->head_dim;
                check_slopes(&s, c, s.k_in[i], s.dk_in[i], size);
                check_slopes(&s, c, s.v_in[i], s.dv_in[i], size);
            }
            host_free(&x);
            op_clear(&b);
        }
    op_close(&b);
}

/* A sequence of `c->len[0]` tokens in random pieces, the cache in place, against the same at once.
 */
static void check_split(op_bench *b, const kase *c0) {
    kase c = *c0;
    c.n_seq = 1;
    c.len[0] += c.pos[0] + 20;
    c.pos[0] = 0;
    host x = host_new(&c, 6);
    side whole;
    side_open(&whole, b, &c, &x, 0);
    const hy__kernels *k = &b->be->kernels;
    k->attn_select(b->be, &whole.a);
    k->attn(b->be, &whole.a);
    k->kv_append(b->be, &whole.a);

    side cut = whole; /* same inputs, own outputs */
    const int64_t n = c.len[0], out = n * c.n_head * c.head_dim, width = c.n_kv * c.head_dim;
    const int64_t n_select = n * c.n_kv * c.topk;
    const hy__tensor o = op_nan(b, out), lse = op_nan(b, n * c.n_head);
    const hy__tensor select = op_nan_i32(b, n_select);
    cut.k_in[0] = op_nan(b, cut.slot_out[0] * c.chunk * width);
    cut.v_in[0] = op_nan(b, cut.slot_out[0] * c.chunk * width);
    cut.sum_in[0] = op_nan(b, cut.slot_out[0] * width);
    cut.slot_in[0] = cut.slot_out[0];
    cut.a.k_in = cut.a.k_out = cut.k_in;
    cut.a.v_in = cut.a.v_out = cut.v_in;
    cut.a.ksum_in = cut.a.ksum_out = cut.sum_in;
    cut.a.slot_in = cut.a.slot_out = cut.slot_in;
    cut.a.rows = &cut.rows;
    double *length = op_random(9, n, 1);
    for (int64_t at = 0, piece = 0; at < n; at += cut.seq[0].len, piece++) {
        const int64_t most = piece % 3 ? 5 : 3 * c.chunk;
        const int64_t want = 1 + (int64_t)(fabs(length[piece]) * (double)most);
        cut.seq[0] = (hy__seq){.pos = at, .len = want < n - at ? want : n - at};
        cut.rows = (hy__rows){.n_row = cut.seq[0].len, .n_seq = 1, .seq = cut.seq};
        cut.a.q = hy__at(whole.a.q, at * whole.a.ldq);
        cut.a.k = hy__at(whole.a.k, at * whole.a.ldk);
        cut.a.v = hy__at(whole.a.v, at * whole.a.ldv);
        cut.a.o = hy__at(o, at * c.n_head * c.head_dim);
        cut.a.lse = hy__at(lse, at * c.n_head);
        cut.a.select = hy__at(select, at * c.n_kv * c.topk);
        k->attn_select(b->be, &cut.a);
        k->attn(b->be, &cut.a);
        k->kv_append(b->be, &cut.a);
    }
    free(length);

    int32_t *s1 = malloc((size_t)n_select * 4 + 1), *s2 = malloc((size_t)n_select * 4 + 1);
    op_get_i32(b, s1, whole.a.select, n_select);
    op_get_i32(b, s2, select, n_select);
    assert_memory_equal(s1, s2, (size_t)n_select * 4);
    free(s1);
    free(s2);
    same("split: o", &whole, whole.a.o, &cut, o, out, tol_forward(b));
    same("split: lse", &whole, whole.a.lse, &cut, lse, n * c.n_head, tol_forward(b));
    /* Copies are exact. A slot of the ring may hold an older key above the open block's last row.
     */
    for (int64_t slot = 0; slot < cut.slot_in[0]; slot++) {
        const int64_t held = holder(&c, slot, n, cut.slot_in[0]), filled = n - held * c.chunk;
        const int64_t rows = filled < c.chunk ? filled : c.chunk, at = slot * c.chunk * width;
        if (held < 0) continue;
        same("split: k", &whole, hy__at(whole.k_out[0], at), &cut, hy__at(cut.k_in[0], at),
             rows * width, 0);
        same("split: v", &whole, hy__at(whole.v_out[0], at), &cut, hy__at(cut.v_in[0], at),
             rows * width, 0);
        same("split: ksum", &whole, hy__at(whole.sum_out[0], slot * width), &cut,
             hy__at(cut.sum_in[0], slot * width), width, 0);
    }
    host_free(&x);
}

static void test_split(void **state) {
    (void)state;
    each_backend(check_split);
}

/* NaN in every cached row that no token of the batch attends to changes nothing. */
static void check_unread(op_bench *b, const kase *c) {
    host x = host_new(c, 7);
    side clean, poisoned;
    side_open(&clean, b, c, &x, 0);
    side_open(&poisoned, b, c, &x, 0);
    const hy__kernels *k = &b->be->kernels;
    k->attn_select(b->be, &clean.a);
    k->attn_select(b->be, &poisoned.a);
    const int64_t hd = c->head_dim;
    bool *see = malloc(MOST), *read = malloc(MOST);
    int32_t *select = malloc((size_t)c->topk * sizeof *select + 1);
    for (int64_t i = 0; i < c->n_seq; i++)
        for (int64_t j = 0; j < c->n_kv; j++) {
            memset(read, 0, MOST);
            for (int64_t t = c->pos[i]; t < x.total[i]; t++) {
                brute_see(c, &x, i, t, j, see, select);
                for (int64_t s = 0; s < c->pos[i]; s++) read[s] = read[s] || see[s];
            }
            for (int64_t slot = 0; c->pos[i] && slot < clean.slot_in[i]; slot++) {
                const int64_t held = holder(c, slot, c->pos[i], clean.slot_in[i]);
                for (int64_t row = 0; held >= 0 && row < c->chunk; row++) {
                    if (read[held * c->chunk + row]) continue;
                    const int64_t at = ((slot * c->chunk + row) * c->n_kv + j) * hd;
                    for (int64_t e = 0; e < hd; e++) {
                        const double nan_value = (double)NAN;
                        hy__tensor_write_f64(b->be, hy__at(poisoned.k_in[i], at + e), &nan_value,
                                             1);
                        hy__tensor_write_f64(b->be, hy__at(poisoned.v_in[i], at + e), &nan_value,
                                             1);
                    }
                }
            }
        }
    run_all(&clean);
    run_all(&poisoned);
    const int64_t n = clean.rows.n_row * c->n_head * hd;
    same(c->what, &clean, clean.a.o, &poisoned, poisoned.a.o, n, 0);
    same_gradients(c, &clean, &poisoned, 0);
    free(see);
    free(read);
    free(select);
    host_free(&x);
}

static void test_unread(void **state) {
    (void)state;
    each_backend(check_unread);
}

/* Equal inputs and threads give equal bits. */
static void check_bits(op_bench *b, const kase *c) {
    host x = host_new(c, 8);
    side one, two;
    side_open(&one, b, c, &x, 0);
    side_open(&two, b, c, &x, 0);
    b->be->kernels.attn_select(b->be, &one.a);
    b->be->kernels.attn_select(b->be, &two.a);
    run_all(&one);
    run_all(&two);
    same(c->what, &one, one.a.o, &two, two.a.o, one.rows.n_row * c->n_head * c->head_dim, 0);
    same_gradients(c, &one, &two, 0);
    host_free(&x);
}

static void test_bits(void **state) {
    (void)state;
    each_backend(check_bits);
}

/* Without dk_out (nothing is carried on) the piece's gradient starts at zero. */
static void test_fresh(void **state) {
    (void)state;
    const kase *c = &KASES[0];
    op_bench b;
    op_open(&b, "cpu", 2);
    host x = host_new(c, 9);
    side s;
    side_open(&s, &b, c, &x, 0);
    s.a.dk_out = s.a.dv_out = s.a.k_out = s.a.v_out = s.a.ksum_out = NULL;
    s.a.k_in = s.a.v_in = s.a.ksum_in = s.a.dk_in = s.a.dv_in = NULL;
    s.a.slot_in = s.a.slot_out = NULL;
    b.be->kernels.attn_select(b.be, &s.a);
    run_all(&s);
    double *d = get(&s, s.dqkv, s.rows.n_row * s.a.ldq);
    for (int64_t i = 0; i < s.rows.n_row * s.a.ldq; i++) assert_true(isfinite(d[i]));
    free(d);
    host_free(&x);
    op_close(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forward),
        cmocka_unit_test(test_append),
        cmocka_unit_test(test_finite_differences),
        cmocka_unit_test(test_backward),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_narrow),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_unread),
        cmocka_unit_test(test_bits),
        cmocka_unit_test(test_fresh),
    };
    return cmocka_run_group_tests_name("attn", tests, NULL, NULL);
}
