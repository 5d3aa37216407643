/* fast_attn.c: the forward of sparse attention: tiles of queries over blocks of keys with an online
 * softmax (Milakov & Gimelshein 2018; Dao et al. 2022). backend.h has the rule of who sees whom.
 *
 * First every tile of consecutive rows meets the sink and its windows and writes o and lse. Then
 * the selected blocks: the choices of ATTN_SPREAD tokens are sorted by block, and all rows that
 * chose a block meet it together, as one product. They go on from (o, lse), which stand for any
 * softmax so far as (o·1, maximum lse, sum 1); so nothing but the outputs is carried between
 * blocks. */
#include "backend/cpu/fast_attn.h"

typedef struct forward {
    attn_tile tile;
    attn_choices choices;
    float *o;             /* [ROWS][hd] unnormalised */
    float *m, *l, *alpha; /* [ROWS] maximum, sum, the last change of the maximum */
} forward;

static size_t take_forward(forward *w, const hy__attn_args *a, void *base) {
    attn_cut cut = {.base = base};
    attn_take_tile(&cut, &w->tile, a);
    attn_take_choices(&cut, &w->choices, a);
    w->o = attn_take(&cut, ATTN_ROWS * a->head_dim);
    w->m = attn_take(&cut, ATTN_ROWS);
    w->l = attn_take(&cut, ATTN_ROWS);
    w->alpha = attn_take(&cut, ATTN_ROWS);
    return cut.used;
}

/* s becomes exp(s - maximum); m, l and alpha move on. */
INLINE void softmax_step(forward *w, int64_t n_key, bool masked) {
    for (int64_t r = 0; r < w->tile.n_pad; r += VL) {
        float *s = w->tile.s + r;
        const vf before = vf_load(w->m + r);
        vf top = before, sum = {0};
        for (int64_t key = 0; key < n_key; key++)
            top = vf_max(top, attn_score(&w->tile, key, r, masked));
        for (int64_t key = 0; key < n_key; key++) {
            const vf p = vf_exp(attn_score(&w->tile, key, r, masked) - top);
            vf_store(s + key * ATTN_ROWS, p);
            sum += p;
        }
        const vf alpha = vf_exp(before - top);
        vf_store(w->alpha + r, alpha);
        vf_store(w->l + r, vf_load(w->l + r) * alpha + sum);
        vf_store(w->m + r, top);
    }
}

static void meet(forward *w, const attn_head *x, const attn_span *keys, bool masked) {
    const int64_t hd = x->a->head_dim, n = w->tile.n;
    mm(keys->n, w->tile.n_pad, hd, keys->k, keys->ldk, 1, w->tile.qt, ATTN_ROWS, w->tile.s,
       ATTN_ROWS, false);
    if (masked)
        softmax_step(w, keys->n, true);
    else
        softmax_step(w, keys->n, false);
    for (int64_t r = 0; r < n; r++)
        if (w->alpha[r] != 1.0f) vec_scale(w->o + r * hd, w->alpha[r], hd);
    mm(n, hd, keys->n, w->tile.s, 1, ATTN_ROWS, keys->v, keys->ldv, w->o, hd, true);
}

static void finish(const forward *w, const attn_head *x) {
    const int64_t hd = x->a->head_dim;
    float *o = hy__ptr(x->a->o), *lse = hy__ptr(x->a->lse);
    for (int64_t r = 0; r < w->tile.n; r++) {
        const int64_t to = attn_out_row(x, w->tile.row[r]);
        const float norm = 1.0f / w->l[r];
        for (int64_t c = 0; c < hd; c++) o[to * hd + c] = w->o[r * hd + c] * norm;
        lse[to] = w->m[r] + logf(w->l[r]);
    }
}

/* The sink and the windows of the tile; returns the positions seen. Position 0, which all rows see,
 * comes first, so that the maximum is a real score from there on. */
static int64_t attend_dense(forward *w, const attn_head *x) {
    int64_t seen = 0;
    attn_tile_queries(&w->tile, x);
    memset(w->o, 0, (size_t)(w->tile.n * x->a->head_dim) * sizeof *w->o);
    for (int64_t r = 0; r < w->tile.n_pad; r++) {
        w->m[r] = ATTN_MASKED;
        w->l[r] = 0;
    }
    for (int part = 0; part < 2; part++) {
        const attn_range range = attn_dense_range(&w->tile, x, part == 1);
        for (int64_t s = range.begin; s < range.end;) {
            const attn_span keys = attn_span_at(x, s, range.end);
            const bool masked = attn_tile_mask(&w->tile, x, s, keys.n, part == 1, &seen);
            meet(w, x, &keys, masked);
            s += keys.n;
        }
    }
    finish(w, x);
    return seen;
}

static void resume(forward *w, const attn_head *x) {
    const int64_t hd = x->a->head_dim;
    const float *o = hy__ptr(x->a->o), *lse = hy__ptr(x->a->lse);
    attn_tile_queries(&w->tile, x);
    for (int64_t r = 0; r < w->tile.n; r++) {
        const int64_t from = attn_out_row(x, w->tile.row[r]);
        memcpy(w->o + r * hd, o + from * hd, (size_t)hd * sizeof *o);
        w->m[r] = lse[from];
        w->l[r] = 1;
    }
    for (int64_t r = w->tile.n; r < w->tile.n_pad; r++) w->m[r] = w->l[r] = 0;
}

/* The selected blocks of the piece's tokens [begin, end); returns the positions seen. */
static int64_t attend_selected(forward *w, const attn_head *x, int64_t begin, int64_t end) {
    const int64_t c = x->a->chunk;
    int64_t seen = 0;
    attn_choices_sort(&w->choices, x, begin, end);
    for (int64_t b = 1; b < w->choices.n_block; b++) {
        const int64_t n = attn_choices_rows(&w->choices, x, b);
        for (int64_t f = 0; f < n; f += ATTN_ROWS) {
            attn_tile_chosen(&w->tile, x, &w->choices, b, f);
            resume(w, x);
            for (int64_t s = b * c; s < (b + 1) * c;) {
                const attn_span keys = attn_span_at(x, s, (b + 1) * c);
                meet(w, x, &keys, false);
                s += keys.n;
            }
            finish(w, x);
        }
        seen += n / x->group * c;
    }
    return seen;
}

static void attn(hy__backend *be, const hy__attn_args *a) {
    const int64_t group = a->n_head / a->n_kv;
    const int64_t n_dense = attn_items(a, group, ATTN_ROWS);
    const int64_t n_select = a->topk > 0 ? attn_items(a, 1, ATTN_SPREAD) : 0;
    forward measure;
    const size_t size = take_forward(&measure, a, NULL);
    void *scratch = hy__scratch(be, size);
    int64_t seen = 0;
#pragma omp parallel num_threads(be->n_thread) reduction(+ : seen) if (n_dense > 1)
    {
        forward w;
        take_forward(&w, a, hy__scratch_of(scratch, size, omp_get_thread_num()));
#pragma omp for schedule(dynamic, 1)
        for (int64_t n = 0; n < n_dense; n++) {
            int64_t which;
            const attn_head x = attn_item(a, group, ATTN_ROWS, n, &which);
            const int64_t left = x.seq.len * group - which * ATTN_ROWS;
            attn_tile_dense(&w.tile, which * ATTN_ROWS, left < ATTN_ROWS ? left : ATTN_ROWS);
            seen += attend_dense(&w, &x);
        }
#pragma omp for schedule(dynamic, 1)
        for (int64_t n = 0; n < n_select; n++) {
            int64_t which;
            const attn_head x = attn_item(a, 1, ATTN_SPREAD, n, &which);
            const int64_t begin = which * ATTN_SPREAD, end = begin + ATTN_SPREAD;
            seen += attend_selected(&w, &x, begin, end < x.seq.len ? end : x.seq.len);
        }
    }
    be->counters.kv_positions += seen;
}

void HY__FAST(hy__fast_attn)(hy__kernels *k) {
    k->attn = attn;
    k->attn_backward = HY__FAST(hy__attn_backward);
    k->attn_select = HY__FAST(hy__attn_select);
    k->kv_append = HY__FAST(hy__kv_append);
    k->kv_append_backward = HY__FAST(hy__kv_append_backward);
}
