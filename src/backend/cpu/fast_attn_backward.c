/* fast_attn_backward.c: the backward of sparse attention (Dao et al. 2022): probabilities again
 * from the scores and lse, tile by tile. With x = scale·q·k, p = exp(x - lse), delta = dout·o:
 *
 *   dv += pᵀ dout
 *   dx = p (dout·v - delta)
 *   dq = scale·dx k
 *   dk += dxᵀ (scale·q)
 *
 * One thread owns a sequence's KV head with its dk and dv, and takes its queries in order: no two
 * threads write the same memory and every sum has one order. */
#include "backend/cpu/fast_attn.h"

typedef struct backward {
    attn_tile tile;
    attn_choices choices;
    float *dout, *dout_t; /* [ROWS][hd], [hd][ROWS] */
    float *dx, *dq;       /* [KEYS][ROWS], [ROWS][hd] */
    float *lse, *delta;   /* [ROWS] */
    /* in bf16, words along keys and along rows */
    float *by_key, *by_row;  /* [KEYS/2][ROWS] and [KEYS][ROWS/2] of dx or p */
    float *k;                /* [KEYS/2][hd] */
    float *q_row, *dout_row; /* [ROWS/2][hd] */
} backward;

static size_t take_backward(backward *w, const hy__attn_args *a, bool bf16, void *base) {
    attn_cut cut = {.base = base};
    attn_take_tile(&cut, &w->tile, a, bf16);
    attn_take_choices(&cut, &w->choices, a);
    w->dout = attn_take(&cut, ATTN_ROWS * a->head_dim);
    w->dout_t = attn_take(&cut, ATTN_ROWS * a->head_dim);
    w->dx = attn_take(&cut, ATTN_KEYS * ATTN_ROWS);
    w->dq = attn_take(&cut, ATTN_ROWS * a->head_dim);
    w->lse = attn_take(&cut, ATTN_ROWS);
    w->delta = attn_take(&cut, ATTN_ROWS);
    w->by_key = attn_take(&cut, ATTN_KEYS / 2 * ATTN_ROWS);
    w->by_row = attn_take(&cut, ATTN_KEYS * ATTN_ROWS / 2);
    w->k = attn_take(&cut, ATTN_KEYS / 2 * a->head_dim);
    w->q_row = attn_take(&cut, ATTN_ROWS / 2 * a->head_dim);
    w->dout_row = attn_take(&cut, ATTN_ROWS / 2 * a->head_dim);
    return cut.used;
}

/* From scores and dout·v to probabilities (in s) and dx. */
INLINE void probabilities(backward *w, int64_t n_key, bool masked) {
    for (int64_t r = 0; r < w->tile.n_pad; r += VL) {
        const vf lse = vf_load(w->lse + r), delta = vf_load(w->delta + r);
        for (int64_t key = 0; key < n_key; key++) {
            const int64_t at = key * ATTN_ROWS + r;
            const vf p = vf_exp(attn_score(&w->tile, key, r, masked) - lse);
            vf_store(w->tile.s + at, p);
            vf_store(w->dx + at, p * (vf_load(w->dx + at) - delta));
        }
    }
}

/* to[key][hd] += of[key][row]·rows, given as words along rows */
static void add_by_row(backward *w, float *to, int64_t ld, const float *of, const float *rows,
                       int64_t n_key, int64_t hd) {
    const int64_t n = w->tile.n_pad;
    mm_pack_rows(true, w->by_row, ATTN_ROWS / 2, of, ATTN_ROWS, n_key, n, NULL);
    mm_half(n_key, hd, n / 2, w->by_row, ATTN_ROWS / 2, 1, rows, hd, to, ld, true);
}

/* What a tile in bf16 gives to dq, dk and dv. */
static void spread_half(backward *w, const attn_span *keys, int64_t hd) {
    attn_column_words(w->k, keys->k, keys->ldk, keys->form, keys->n, hd);
    mm_pack_columns(true, w->by_key, ATTN_ROWS, w->dx, ATTN_ROWS, keys->n, w->tile.n_pad, NULL);
    mm_half(w->tile.n, hd, mm_words(true, keys->n), w->by_key, 1, ATTN_ROWS, w->k, hd, w->dq, hd,
            true);
    if (keys->dk) add_by_row(w, keys->dk, keys->ldk, w->dx, w->q_row, keys->n, hd);
    if (keys->dv) add_by_row(w, keys->dv, keys->ldv, w->tile.s, w->dout_row, keys->n, hd);
}

static void meet(backward *w, const attn_head *x, const attn_span *keys, bool masked) {
    const int64_t hd = x->a->head_dim, n = w->tile.n;
    HY_ASSERT(keys->form == ATTN_FLOAT);
    attn_scores(&w->tile, hd, w->tile.s, w->tile.q, w->tile.qt, keys->k, keys->ldk, keys->form,
                keys->n);
    attn_scores(&w->tile, hd, w->dx, w->dout, w->dout_t, keys->v, keys->ldv, keys->form, keys->n);
    if (masked)
        probabilities(w, keys->n, true);
    else
        probabilities(w, keys->n, false);
    if (w->tile.half) {
        spread_half(w, keys, hd);
        return;
    }
    mm(n, hd, keys->n, w->dx, 1, ATTN_ROWS, keys->k, keys->ldk, w->dq, hd, true);
    if (keys->dk) mm(keys->n, hd, n, w->dx, ATTN_ROWS, 1, w->tile.q, hd, keys->dk, keys->ldk, true);
    if (keys->dv)
        mm(keys->n, hd, n, w->tile.s, ATTN_ROWS, 1, w->dout, hd, keys->dv, keys->ldv, true);
}

/* Fills the tile's q, dout, lse and delta, and clears dq. The dense tiles, which come first, leave
 * delta for the selected ones. */
static void load(backward *w, const attn_head *x, bool dense) {
    const int64_t hd = x->a->head_dim;
    const float *o = hy__ptr(x->a->o), *dout = hy__ptr(x->a->dout), *lse = hy__ptr(x->a->lse);
    float *delta = hy__ptr(x->a->delta);
    attn_tile_queries(&w->tile, x);
    for (int64_t r = 0; r < w->tile.n; r++) {
        const int64_t from = attn_out_row(x, w->tile.row[r]);
        memcpy(w->dout + r * hd, dout + from * hd, (size_t)hd * sizeof *dout);
        if (dense) delta[from] = vec_dot(dout + from * hd, o + from * hd, hd);
        w->lse[r] = lse[from];
        w->delta[r] = delta[from];
    }
    attn_tile_transpose(&w->tile, x, w->dout_t, w->dout);
    if (w->tile.half) {
        mm_pack_columns(true, w->q_row, hd, w->tile.q, hd, w->tile.n_pad, hd, NULL);
        mm_pack_columns(true, w->dout_row, hd, w->dout, hd, w->tile.n_pad, hd, NULL);
    }
    for (int64_t r = w->tile.n; r < w->tile.n_pad; r++) w->lse[r] = w->delta[r] = 0;
    memset(w->dq, 0, (size_t)(w->tile.n * hd) * sizeof *w->dq);
}

/* dq of the tile's rows, = or += */
static void store(const backward *w, const attn_head *x, bool add) {
    const hy__attn_args *a = x->a;
    const int64_t hd = a->head_dim;
    const float scale = (float)a->scale;
    for (int64_t r = 0; r < w->tile.n; r++) {
        float *dq = (float *)hy__ptr(a->dq) +
                    (x->seq.start + w->tile.row[r] / x->group) * attn_ldq(a) +
                    (x->j * x->group + w->tile.row[r] % x->group) * hd;
        for (int64_t c = 0; c < hd; c++) dq[c] = (add ? dq[c] : 0) + scale * w->dq[r * hd + c];
    }
}

static void dense_backward(backward *w, const attn_head *x) {
    int64_t seen = 0;
    load(w, x, true);
    for (int part = 0; part < 2; part++) {
        const attn_range range = attn_dense_range(&w->tile, x, part == 1);
        for (int64_t s = range.begin; s < range.end;) {
            const attn_span keys = attn_span_at(x, s, range.end);
            const bool masked = attn_tile_mask(&w->tile, x, s, keys.n, part == 1, &seen);
            meet(w, x, &keys, masked);
            s += keys.n;
        }
    }
    store(w, x, false);
}

static void selected_backward(backward *w, const attn_head *x, int64_t begin, int64_t end) {
    const int64_t c = x->a->chunk;
    attn_choices_sort(&w->choices, x, begin, end);
    for (int64_t b = 1; b < w->choices.n_block; b++) {
        const int64_t n = attn_choices_rows(&w->choices, x, b);
        for (int64_t f = 0; f < n; f += ATTN_ROWS) {
            attn_tile_chosen(&w->tile, x, &w->choices, b, f);
            load(w, x, false);
            for (int64_t s = b * c; s < (b + 1) * c;) {
                const attn_span keys = attn_span_at(x, s, (b + 1) * c);
                meet(w, x, &keys, false);
                s += keys.n;
            }
            store(w, x, true);
        }
    }
}

void HY__FAST(hy__attn_backward)(hy__backend *be, const hy__attn_args *a) {
    const bool bf16 = attn_bf16(be, a);
    backward measure;
    const size_t size = take_backward(&measure, a, bf16, NULL);
    void *scratch = hy__scratch(be, size);
    if (!scratch) return;
#pragma omp parallel for schedule(dynamic, 1) num_threads(be->n_thread)
    for (int64_t n = 0; n < a->rows->n_seq * a->n_kv; n++) {
        backward w;
        take_backward(&w, a, bf16, hy__scratch_of(scratch, size, omp_get_thread_num()));
        const attn_head x = attn_head_of(a, n / a->n_kv, n % a->n_kv);
        const int64_t n_row = x.seq.len * x.group;
        for (int64_t f = 0; f < n_row; f += ATTN_ROWS) {
            attn_tile_dense(&w.tile, f, n_row - f < ATTN_ROWS ? n_row - f : ATTN_ROWS);
            dense_backward(&w, &x);
        }
        for (int64_t t = 0; a->topk > 0 && t < x.seq.len; t += ATTN_SPREAD)
            selected_backward(&w, &x, t, x.seq.len - t < ATTN_SPREAD ? x.seq.len : t + ATTN_SPREAD);
    }
}
