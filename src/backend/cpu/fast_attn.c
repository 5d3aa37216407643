/* fast_attn.c: the forward of sparse attention: tiles of queries over blocks of keys with an online
 * softmax (Milakov & Gimelshein 2018; Dao et al. 2022). backend.h has the rule of who sees whom.
 *
 * Every tile of consecutive rows meets the sink and its windows and writes o and lse; from there
 * fast_attn_chosen.c goes on with the selected blocks. attn_stat is the reference's. */
#include "backend/cpu/fast_attn.h"

typedef struct forward {
    attn_tile tile;
    float *p, *v;         /* in bf16, words along keys: [KEYS/2][ROWS], [KEYS/2][hd] */
    float *o;             /* [ROWS][hd] unnormalised */
    float *m, *l, *alpha; /* [ROWS] maximum, sum, the last change of the maximum */
} forward;

static size_t take_forward(forward *w, const hy__attn_args *a, bool bf16, void *base) {
    attn_cut cut = {.base = base};
    attn_take_tile(&cut, &w->tile, a, bf16);
    w->p = attn_take(&cut, ATTN_KEYS / 2 * ATTN_ROWS);
    w->v = attn_take(&cut, ATTN_KEYS * a->head_dim);
    w->o = attn_take(&cut, ATTN_ROWS * a->head_dim);
    w->m = attn_take(&cut, ATTN_ROWS);
    w->l = attn_take(&cut, ATTN_ROWS);
    w->alpha = attn_take(&cut, ATTN_ROWS);
    return cut.used;
}

/* For nv vectors of rows from r on, s becomes exp(s - maximum); m, l and alpha move on. Several
 * vectors at a time, because each one's maximum and sum are chains of dependent operations. */
INLINE void softmax_rows(forward *w, int64_t r, const int nv, int64_t n_key, bool masked) {
    vf top[4], sum[4];
    for (int i = 0; i < nv; i++) {
        top[i] = vf_load(w->m + r + i * VL);
        sum[i] = (vf){0};
    }
    for (int64_t key = 0; key < n_key; key++)
        for (int i = 0; i < nv; i++)
            top[i] = vf_max(top[i], attn_score(&w->tile, key, r + i * VL, masked));
    for (int64_t key = 0; key < n_key; key++)
        for (int i = 0; i < nv; i++) {
            const vf p = vf_exp(attn_score(&w->tile, key, r + i * VL, masked) - top[i]);
            vf_store(w->tile.s + key * ATTN_ROWS + r + i * VL, p);
            sum[i] += p;
        }
    for (int i = 0; i < nv; i++) {
        const int64_t at = r + i * VL;
        const vf alpha = vf_exp(vf_load(w->m + at) - top[i]);
        vf_store(w->alpha + at, alpha);
        vf_store(w->l + at, vf_load(w->l + at) * alpha + sum[i]);
        vf_store(w->m + at, top[i]);
    }
}

INLINE void softmax_step(forward *w, int64_t n_key, bool masked) {
    int64_t r = 0;
    for (; r + 4 * VL <= w->tile.n_pad; r += 4 * VL) softmax_rows(w, r, 4, n_key, masked);
    for (; r < w->tile.n_pad; r += VL) softmax_rows(w, r, 1, n_key, masked);
}

/* o += pᵀ v */
static void weigh(forward *w, const attn_span *keys, int64_t hd) {
    const int64_t n = w->tile.n;
    int64_t ldv = keys->ldv;
    if (!w->tile.half) {
        const float *v = attn_floats(w->v, keys->v, &ldv, keys->form, keys->n, hd);
        mm(n, hd, keys->n, w->tile.s, 1, ATTN_ROWS, v, ldv, w->o, hd, true);
        return;
    }
    attn_column_words(w->v, keys->v, ldv, keys->form, keys->n, hd);
    mm_pack_columns(true, w->p, ATTN_ROWS, w->tile.s, ATTN_ROWS, keys->n, w->tile.n_pad, NULL);
    mm_half(n, hd, mm_words(true, keys->n), w->p, 1, ATTN_ROWS, w->v, hd, w->o, hd, true);
}

static void meet(forward *w, const attn_head *x, const attn_span *keys, bool masked) {
    const int64_t hd = x->a->head_dim, n = w->tile.n;
    attn_scores(&w->tile, hd, w->tile.s, w->tile.q, w->tile.qt, keys->k, keys->ldk, keys->form,
                keys->n);
    if (masked)
        softmax_step(w, keys->n, true);
    else
        softmax_step(w, keys->n, false);
    for (int64_t r = 0; r < n; r++)
        if (w->alpha[r] != 1.0f) vec_scale(w->o + r * hd, w->alpha[r], hd);
    weigh(w, keys, hd);
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

static void attn(hy__backend *be, const hy__attn_args *a) {
    HY__FAST(hy__attn_decode)(be, a);
    if (a->rows->n_row == a->rows->n_seq) return; /* one token each */
    const int64_t group = a->n_head / a->n_kv;
    const int64_t n_dense = attn_items(a, group, ATTN_ROWS);
    const bool bf16 = attn_bf16(be, a);
    forward measure;
    const size_t size = take_forward(&measure, a, bf16, NULL);
    void *scratch = hy__scratch(be, size);
    if (!scratch) return;
    int64_t seen = 0;
#pragma omp parallel num_threads(be->n_thread) reduction(+ : seen) if (n_dense > 1)
    {
        forward w;
        take_forward(&w, a, bf16, hy__scratch_of(scratch, size, omp_get_thread_num()));
#pragma omp for schedule(dynamic, 1)
        for (int64_t n = 0; n < n_dense; n++) {
            int64_t which;
            const attn_head x = attn_item(a, group, ATTN_ROWS, n, &which);
            if (attn_decodes(&x.seq)) continue;
            const int64_t left = x.seq.len * group - which * ATTN_ROWS;
            attn_tile_dense(&w.tile, which * ATTN_ROWS, left < ATTN_ROWS ? left : ATTN_ROWS);
            seen += attend_dense(&w, &x);
        }
    }
    be->counters.kv_positions += seen;
    HY__FAST(hy__attn_chosen)(be, a);
}

void HY__FAST(hy__fast_attn)(hy__kernels *k) {
    k->attn = attn;
    k->attn_backward = HY__FAST(hy__attn_backward);
    k->attn_select = HY__FAST(hy__attn_select);
    k->kv_append = HY__FAST(hy__kv_append);
    k->kv_append_backward = HY__FAST(hy__kv_append_backward);
}
