/* fast_attn.h: what the fast attention kernels share: a head's memory, tiles of query rows, and the
 * index from selected blocks back to the tokens that chose them.
 *
 * A row is one query: row f of (sequence, KV head) is token f / group of the piece and head f %
 * group of the KV head's group. A tile holds up to ROWS rows and meets up to KEYS keys at a time;
 * scores lie transposed, s[key][row], so that a vector runs over rows: maxima and sums over keys
 * need no shuffles, and K and V are read where they are (the small products take either stride of
 * A). */
#ifndef HY_BACKEND_CPU_FAST_ATTN_H
#define HY_BACKEND_CPU_FAST_ATTN_H

#include "backend/cpu/attn.h"
#include "backend/cpu/simd.h"

enum {
    ATTN_ROWS = VL == 8 ? 96 : 64, /* whole register tiles of mm */
    ATTN_KEYS = 96,                /* at least ROWS */
    ATTN_SPREAD = 2048,            /* tokens whose choices are sorted by block together */
};
#define ATTN_MASKED (-1e30f) /* a score that no exponential sees, and finite */

/* One sequence and KV head of a call. */
typedef struct attn_head {
    const hy__attn_args *a;
    int64_t i, j, group; /* sequence, KV head, query heads per KV head */
    hy__seq seq;
    int64_t ldk, ldv, ld_in, n_slot; /* row distances in the piece and in the cache */
    const float *k, *v;
    hy__tensor k_in, v_in;          /* fp32 or bf16 */
    bool half;                      /* bf16 */
    float *dk, *dv, *dk_in, *dv_in; /* backward; may be NULL */
} attn_head;

static inline float *attn_base(hy__tensor t, int64_t at) {
    float *p = hy__ptr(t);
    return p ? p + at : NULL;
}
static inline float *attn_base_of(const hy__tensor *t, int64_t i, int64_t at) {
    return t ? attn_base(t[i], at) : NULL;
}

static inline attn_head attn_head_of(const hy__attn_args *a, int64_t i, int64_t j) {
    const int64_t at = j * a->head_dim;
    attn_head x = {.a = a,
                   .i = i,
                   .j = j,
                   .group = a->n_head / a->n_kv,
                   .seq = a->rows->seq[i],
                   .ldk = attn_ldk(a),
                   .ldv = attn_ldv(a),
                   .ld_in = a->n_kv * a->head_dim,
                   .half = attn_is_half(a, i)};
    x.k = attn_base(a->k, x.seq.start * x.ldk + at);
    x.v = attn_base(a->v, x.seq.start * x.ldv + at);
    x.dk = attn_base(a->dk, x.seq.start * x.ldk + at);
    x.dv = attn_base(a->dv, x.seq.start * x.ldv + at);
    if (x.seq.pos == 0) return x;
    x.n_slot = a->slot_in[i];
    if (a->k_in) x.k_in = hy__at(a->k_in[i], at);
    if (a->v_in) x.v_in = hy__at(a->v_in[i], at);
    x.dk_in = attn_base_of(a->dk_in, i, at);
    x.dv_in = attn_base_of(a->dv_in, i, at);
    return x;
}

/* How keys and values lie: as floats, in bf16, or as floats that count as rounded to bf16. */
typedef enum attn_form { ATTN_FLOAT, ATTN_HALF, ATTN_ROUND } attn_form;

/* Keys and values of consecutive positions that lie at equal distances. */
typedef struct attn_span {
    int64_t n, ldk, ldv;
    attn_form form;
    const void *k, *v;
    float *dk, *dv;
} attn_span;

/* The longest span from position s on, before `end` and of at most ATTN_KEYS. */
static inline attn_span attn_span_at(const attn_head *x, int64_t s, int64_t end) {
    int64_t n = end - s < ATTN_KEYS ? end - s : ATTN_KEYS;
    if (s >= x->seq.pos) {
        const int64_t k = (s - x->seq.pos) * x->ldk, v = (s - x->seq.pos) * x->ldv;
        return (attn_span){.n = n,
                           .ldk = x->ldk,
                           .ldv = x->ldv,
                           .form = x->half ? ATTN_ROUND : ATTN_FLOAT,
                           .k = x->k + k,
                           .v = x->v + v,
                           .dk = x->dk ? x->dk + k : NULL,
                           .dv = x->dv ? x->dv + v : NULL};
    }
    /* Pages of consecutive blocks follow each other up to the end of the ring. */
    const int64_t c = x->a->chunk, b = s / c, slot = hy__kv_slot(b, x->n_slot);
    const int64_t run = (b == 0 ? c : (x->n_slot - slot) * c) - s % c;
    if (run < n) n = run;
    if (x->seq.pos - s < n) n = x->seq.pos - s;
    const int64_t at = (slot * c + s % c) * x->ld_in;
    return (attn_span){.n = n,
                       .ldk = x->ld_in,
                       .ldv = x->ld_in,
                       .form = x->half ? ATTN_HALF : ATTN_FLOAT,
                       .k = hy__ptr(hy__at(x->k_in, at)),
                       .v = hy__ptr(hy__at(x->v_in, at)),
                       .dk = x->dk_in ? x->dk_in + at : NULL,
                       .dv = x->dv_in ? x->dv_in + at : NULL};
}

/* Where row f lies: its batch row times heads, plus its head. */
static inline int64_t attn_out_row(const attn_head *x, int64_t f) {
    return (x->seq.start + f / x->group) * x->a->n_head + x->j * x->group + f % x->group;
}
static inline const float *attn_query(const attn_head *x, int64_t f) {
    const hy__attn_args *a = x->a;
    return (const float *)hy__ptr(a->q) + (x->seq.start + f / x->group) * attn_ldq(a) +
           (x->j * x->group + f % x->group) * a->head_dim;
}

/* ---- tiles ---------------------------------------------------------------------------------- */

typedef struct attn_tile {
    int64_t n, n_pad;                     /* rows, and rounded up to whole vectors */
    int64_t row[ATTN_ROWS];               /* f */
    int32_t lo[ATTN_ROWS], hi[ATTN_ROWS]; /* keys lo ... hi of the span are seen by the row */
    bool bf16, half;                      /* may products take bf16? do those of these rows? */
    float *q, *qt; /* scale·q: [ROWS][hd] and, in words, [hd][ROWS]; zero in the padding */
    float *s;      /* [KEYS][ROWS] scores, then probabilities */
    float *room;   /* [ROWS or KEYS][hd] words of rows */
} attn_tile;

static inline void attn_tile_resize(attn_tile *w, int64_t n) {
    w->n = n;
    w->n_pad = padded(n);
    w->half = w->bf16 && n > VL; /* fewer do not pay for packing */
}

/* The tile of n consecutive rows from f on. */
static inline void attn_tile_dense(attn_tile *w, int64_t f, int64_t n) {
    attn_tile_resize(w, n);
    for (int64_t r = 0; r < n; r++) w->row[r] = f + r;
}

/* Clears the padding of rows [ROWS][hd] and writes their transpose [hd][ROWS], in words. */
static inline void attn_tile_transpose(const attn_tile *w, const attn_head *x, float *to,
                                       float *rows) {
    const int64_t hd = x->a->head_dim;
    memset(rows + w->n * hd, 0, (size_t)((w->n_pad - w->n) * hd) * sizeof *rows);
    if (!w->half) {
        mat_transpose(to, ATTN_ROWS, rows, hd, w->n_pad, hd);
        return;
    }
    mm_pack_rows(true, w->room, hd / 2, rows, hd, w->n_pad, hd, NULL);
    mat_transpose(to, ATTN_ROWS, w->room, hd / 2, w->n_pad, hd / 2);
}

static inline void attn_tile_queries(attn_tile *w, const attn_head *x) {
    const int64_t hd = x->a->head_dim;
    const float scale = (float)x->a->scale;
    for (int64_t r = 0; r < w->n; r++) {
        const float *q = attn_query(x, w->row[r]);
        for (int64_t c = 0; c < hd; c++) w->q[r * hd + c] = scale * q[c];
    }
    attn_tile_transpose(w, x, w->qt, w->q);
}

/* out[key][row] = key·row for few rows: vectors run over elements, VL keys are summed at a time. */
INLINE void attn_scores_few(float *out, int64_t n_row, const float *rows, int64_t hd,
                            const float *keys, int64_t ld, int64_t n_key) {
    for (int64_t key = 0; key < n_key; key += VL) {
        const int64_t n = n_key - key < VL ? n_key - key : VL;
        for (int64_t r = 0; r < n_row; r++) {
            vf sum[VL];
            for (int64_t m = 0; m < VL; m++) {
                const float *k = keys + (key + (m < n ? m : 0)) * ld;
                sum[m] = (vf){0};
                for (int64_t c = 0; c < hd; c += VL)
                    sum[m] += vf_load(k + c) * vf_load(rows + r * hd + c);
            }
            const vf score = vf_sum_each(sum);
            for (int64_t m = 0; m < n; m++) out[(key + m) * ATTN_ROWS + r] = score[m];
        }
    }
}

/* n rows of keys or values as floats: where they lie, or made in `room` [KEYS][hd]. */
static inline const float *attn_floats(float *room, const void *rows, int64_t *ld, attn_form form,
                                       int64_t n, int64_t hd) {
    const int64_t from = *ld;
    if (form == ATTN_FLOAT) return rows;
    for (int64_t r = 0; r < n; r++) {
        if (form == ATTN_HALF)
            vec_from_bf16(room + r * hd, (const uint16_t *)rows + r * from, hd);
        else
            vec_round_bf16(room + r * hd, (const float *)rows + r * from, hd);
    }
    *ld = hd;
    return room;
}

/* The same as words along the row: a cache in bf16 is that as it lies. */
static inline const float *attn_row_words(float *room, const void *rows, int64_t *ld,
                                          attn_form form, int64_t n, int64_t hd) {
    const int64_t from = *ld;
    *ld = form == ATTN_HALF ? from / 2 : hd / 2;
    if (form == ATTN_HALF) return rows;
    mm_pack_rows(true, room, hd / 2, rows, from, n, hd, NULL);
    return room;
}

/* And as words along the column: [n/2][hd]. */
static inline void attn_column_words(float *room, const void *rows, int64_t ld, attn_form form,
                                     int64_t n, int64_t hd) {
    if (form != ATTN_HALF) {
        mm_pack_columns(true, room, hd, rows, ld, n, hd, NULL);
        return;
    }
    const uint16_t *from = rows;
    for (int64_t r = 0; r < n; r += 2)
        vec_pair_bf16(room + r / 2 * hd, from + r * ld, r + 1 < n ? from + (r + 1) * ld : NULL, hd);
}

/* out[key][row] = keys·rowsᵀ; rows come in both layouts. */
static inline void attn_scores(const attn_tile *w, int64_t hd, float *out, const float *rows,
                               const float *rows_t, const void *keys, int64_t ld, attn_form form,
                               int64_t n_key) {
    if (w->half) {
        const float *words = attn_row_words(w->room, keys, &ld, form, n_key, hd);
        mm_half(n_key, w->n_pad, hd / 2, words, ld, 1, rows_t, ATTN_ROWS, out, ATTN_ROWS, false);
        return;
    }
    const float *k = attn_floats(w->room, keys, &ld, form, n_key, hd);
    if (w->n <= VL / 4 && hd % VL == 0)
        attn_scores_few(out, w->n, rows, hd, k, ld, n_key);
    else
        mm(n_key, w->n_pad, hd, k, ld, 1, rows_t, ATTN_ROWS, out, ATTN_ROWS, false);
}

/* Sets lo and hi for the n keys from position s on; `window`: those keys are beyond the sink.
 * Returns whether any row sees less than all; adds to *seen what the rows of the group's first head
 * see. */
static inline bool attn_tile_mask(attn_tile *w, const attn_head *x, int64_t s, int64_t n,
                                  bool window, int64_t *seen) {
    bool masked = false;
    for (int64_t r = 0; r < w->n; r++) {
        const int64_t t = x->seq.pos + w->row[r] / x->group;
        const int64_t begin = window ? attn_window_begin(x->a, t) - s : 0;
        const int64_t lo = begin < 0   ? 0
                           : begin < n ? begin
                                       : n,
                      hi = t - s < n - 1 ? t - s : n - 1;
        w->lo[r] = (int32_t)lo;
        w->hi[r] = (int32_t)(hi < -1 ? -1 : hi);
        masked = masked || lo > 0 || hi < n - 1;
        if (w->row[r] % x->group == 0 && hi >= lo) *seen += hi - lo + 1;
    }
    for (int64_t r = w->n; r < w->n_pad; r++) {
        w->lo[r] = 0;
        w->hi[r] = (int32_t)n - 1;
    }
    return masked;
}

/* The scores of key `key`, rows r ... r + VL, of which masked ones are out of reach. */
INLINE vf attn_score(const attn_tile *w, int64_t key, int64_t r, bool masked) {
    const vf x = vf_load(w->s + key * ATTN_ROWS + r);
    if (!masked) return x;
    const vi at = (vi){0} + (int32_t)key;
    const vi seen = (at >= *(const vi *)(w->lo + r)) & (at <= *(const vi *)(w->hi + r));
    return vf_select(seen, x, vf_set(ATTN_MASKED));
}

/* The positions that a dense tile meets: the sink, then the rest of the windows of its tokens. */
typedef struct attn_range {
    int64_t begin, end;
} attn_range;
static inline attn_range attn_dense_range(const attn_tile *w, const attn_head *x, bool window) {
    const int64_t first = x->seq.pos + w->row[0] / x->group, c = x->a->chunk;
    const int64_t end = x->seq.pos + w->row[w->n - 1] / x->group + 1;
    const int64_t begin = attn_window_begin(x->a, first);
    if (!window) return (attn_range){0, end < c ? end : c};
    return (attn_range){begin < c ? c : begin, end};
}

/* ---- selected blocks ------------------------------------------------------------------------ */

/* The choices of tokens [begin, end) of the piece, by block: token[first[b]] ...
 * token[first[b+1]-1] chose block b, in rising order. */
typedef struct attn_choices {
    int32_t *first; /* [n_block + 2] */
    int32_t *token; /* [SPREAD·topk] */
    int64_t n_block;
} attn_choices;

static inline void attn_choices_sort(attn_choices *w, const attn_head *x, int64_t begin,
                                     int64_t end) {
    const int64_t topk = x->a->topk, stride = x->a->n_kv * topk;
    const int32_t *select =
        (const int32_t *)hy__ptr(x->a->select) + x->seq.start * stride + x->j * topk;
    w->n_block = (x->seq.pos + end - 1) / x->a->chunk + 1;
    memset(w->first, 0, (size_t)(w->n_block + 2) * sizeof *w->first);
    for (int64_t t = begin; t < end; t++)
        for (int64_t m = 0; m < topk && select[t * stride + m] >= 0; m++)
            w->first[select[t * stride + m] + 2]++;
    for (int64_t b = 2; b < w->n_block + 2; b++) w->first[b] += w->first[b - 1];
    for (int64_t t = begin; t < end; t++)
        for (int64_t m = 0; m < topk && select[t * stride + m] >= 0; m++)
            w->token[w->first[select[t * stride + m] + 1]++] = (int32_t)t;
}

static inline int64_t attn_choices_rows(const attn_choices *w, const attn_head *x, int64_t b) {
    return (w->first[b + 1] - w->first[b]) * x->group;
}

/* The tile of the rows from number f on that chose block b. */
static inline void attn_tile_chosen(attn_tile *w, const attn_head *x, const attn_choices *c,
                                    int64_t b, int64_t f) {
    const int64_t left = attn_choices_rows(c, x, b) - f;
    attn_tile_resize(w, left < ATTN_ROWS ? left : ATTN_ROWS);
    for (int64_t r = 0; r < w->n; r++)
        w->row[r] = c->token[c->first[b] + (f + r) / x->group] * x->group + (f + r) % x->group;
}

/* ---- decode --------------------------------------------------------------------------------- */

/* A sequence that goes on by one token is not worth tiles: fast_attn_decode.c. */
static inline bool attn_decodes(const hy__seq *seq) {
    return seq->len == 1;
}

/* ---- work ----------------------------------------------------------------------------------- */

/* Work is cut into items of `unit` rows (or tokens) of one sequence and KV head. */
static inline int64_t attn_items(const hy__attn_args *a, int64_t per_token, int64_t unit) {
    int64_t n = 0;
    for (int64_t i = 0; i < a->rows->n_seq; i++)
        n += (a->rows->seq[i].len * per_token + unit - 1) / unit * a->n_kv;
    return n;
}

/* The head of item n, and which of its units. The last units come first: they are the longest. */
static inline attn_head attn_item(const hy__attn_args *a, int64_t per_token, int64_t unit,
                                  int64_t n, int64_t *which) {
    int64_t i = 0, units;
    for (;; i++) {
        units = (a->rows->seq[i].len * per_token + unit - 1) / unit;
        if (n < units * a->n_kv) break;
        n -= units * a->n_kv;
    }
    *which = units - 1 - n / a->n_kv;
    return attn_head_of(a, i, n % a->n_kv);
}

/* Cuts a thread's scratch into pieces; with base NULL it only measures. */
typedef struct attn_cut {
    char *base;
    size_t used;
} attn_cut;
static inline void *attn_take(attn_cut *c, int64_t n) { /* n numbers of four bytes */
    void *p = c->base ? c->base + c->used : NULL;
    c->used += hy__tensor_bytes(HY__DTYPE_F32, n);
    return p;
}

/* Do products of a call take bf16? Rows of whole words, for a cache is taken as it lies. */
static inline bool attn_bf16(const hy__backend *be, const hy__attn_args *a) {
    return be->has_bf16 && a->prec == HY__PREC_BF16 && a->head_dim % 2 == 0;
}

static inline void attn_take_tile(attn_cut *c, attn_tile *w, const hy__attn_args *a, bool bf16) {
    w->bf16 = bf16;
    w->q = attn_take(c, ATTN_ROWS * a->head_dim);
    w->qt = attn_take(c, a->head_dim * ATTN_ROWS);
    w->s = attn_take(c, ATTN_KEYS * ATTN_ROWS);
    w->room = attn_take(c, ATTN_KEYS * a->head_dim);
}

static inline void attn_take_choices(attn_cut *c, attn_choices *w, const hy__attn_args *a) {
    int64_t n_block = 0;
    for (int64_t i = 0; a->topk > 0 && i < a->rows->n_seq; i++) {
        const int64_t n = (a->rows->seq[i].pos + a->rows->seq[i].len - 1) / a->chunk + 1;
        if (n > n_block) n_block = n;
    }
    w->first = attn_take(c, n_block + 2);
    w->token = attn_take(c, ATTN_SPREAD * a->topk);
}

void HY__FAST(hy__attn_decode)(hy__backend *be, const hy__attn_args *a);
void HY__FAST(hy__attn_chosen)(hy__backend *be, const hy__attn_args *a);
void HY__FAST(hy__attn_backward)(hy__backend *be, const hy__attn_args *a);
void HY__FAST(hy__attn_select)(hy__backend *be, const hy__attn_args *a);
void HY__FAST(hy__kv_append)(hy__backend *be, const hy__attn_args *a);
void HY__FAST(hy__kv_append_backward)(hy__backend *be, const hy__attn_args *a);

#endif
