/* ref_attn.c: sparse global attention, token by token and position by position.
 *
 * For a token t and a head h of KV head j, over the positions s that t attends to:
 *   x_s = scale·q·k_s,  lse = log Σ exp x_s,  p_s = exp(x_s - lse),  o = Σ p_s v_s
 * backward, with delta = dout·o:
 *   dv_s += p_s dout,  dx_s = p_s (dout·v_s - delta),  dq = scale Σ dx_s k_s,  dk_s += scale dx_s q
 * The rules of who sees whom, and the shapes, are in backend.h. */
#include "backend/cpu/attn.h"
#include "backend/cpu/ref.h"

/* A row of a tensor: its elements from `at` on, to be rounded to bf16 or as they are. */
typedef struct place {
    hy__tensor t;
    int64_t at;
    bool rounded;
} place;

/* The row of position s, KV head j, of sequence i: in the piece (row distance ld), or in the cache
 * before it, which may be absent. */
static place row_at(const hy__attn_args *a, int64_t i, int64_t s, int64_t j, hy__tensor piece,
                    int64_t ld, const hy__tensor *cache) {
    const hy__seq *seq = &a->rows->seq[i];
    if (s >= seq->pos)
        return (place){piece, (seq->start + s - seq->pos) * ld + j * a->head_dim,
                       attn_is_half(a, i)};
    if (!hy__ptr_of(cache, i)) return (place){0};
    const int64_t slot = hy__kv_slot(s / a->chunk, a->slot_in[i]);
    return (place){cache[i], ((slot * a->chunk + s % a->chunk) * a->n_kv + j) * a->head_dim, false};
}

/* The elements of a row of reals; NULL when it is absent. */
static real *reals(place p) {
    return hy__present(p.t) ? (real *)hy__ptr(p.t) + p.at : NULL;
}

/* The row of (token row r, head h) in a tensor [N,H,hd] of row distance ld. */
static real *head_at(const hy__attn_args *a, hy__tensor x, int64_t ld, int64_t r, int64_t h) {
    return (real *)hy__ptr(x) + r * ld + h * a->head_dim;
}

static real dot(const real *x, const real *y, int64_t n) {
    real sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}
static real element(place p, int64_t i) {
    const real x = ref_get(p.t, p.at + i);
    return p.rounded ? (real)hy__bf16_to_f32(hy__f32_to_bf16((float)x)) : x;
}
static real dot_row(const real *x, place y, int64_t n) {
    real sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i] * element(y, i);
    return sum;
}

/* Does token t, whose selected blocks are `select`, attend to position s <= t? */
static bool attends(const hy__attn_args *a, int64_t t, int64_t s, const int32_t *select) {
    const int64_t b = s / a->chunk;
    if (b == 0 || s >= attn_window_begin(a, t)) return true;
    for (int64_t i = 0; i < a->topk; i++)
        if (select[i] == b) return true;
    return false;
}

static const int32_t *select_of(const hy__attn_args *a, int64_t r, int64_t j) {
    return (const int32_t *)hy__ptr(a->select) + (r * a->n_kv + j) * a->topk;
}

/* ---- selection ------------------------------------------------------------------------------ */

/* block_sum of every block that the pieces touch, the part in the cache included. Added in order of
 * positions, so that a block has the same sum however its sequence was cut. */
static void sum_blocks(const hy__attn_args *a) {
    const int64_t width = a->n_kv * a->head_dim, ldk = attn_ldk(a);
    real *sum = hy__ptr(a->block_sum);
    for (int64_t i = 0; i < a->rows->n_seq; i++) {
        const hy__seq *seq = &a->rows->seq[i];
        for (int64_t t = seq->pos; t < seq->pos + seq->len; t++) {
            const real *k = (const real *)hy__ptr(a->k) + (seq->start + t - seq->pos) * ldk;
            const real *begun = NULL;
            if (t == seq->pos && t % a->chunk != 0) {
                begun = (const real *)hy__ptr(a->ksum_in[i]) +
                        hy__kv_slot(t / a->chunk, a->slot_in[i]) * width;
            }
            real *to = sum + (t / a->chunk - seq->pos / a->chunk) * width;
            for (int64_t c = 0; c < width; c++) {
                if (t == seq->pos || t % a->chunk == 0) to[c] = begun ? begun[c] : 0;
                to[c] += k[c];
            }
        }
        sum += hy__seq_units(seq, a->chunk) * width;
    }
}

/* (Σ of the group's queries)·(Σ of the block's keys): the mean's 1/C does not change the order. */
static real block_score(const hy__attn_args *a, int64_t r, int64_t j, const real *sum) {
    const int64_t group = a->n_head / a->n_kv;
    real score = 0;
    for (int64_t c = 0; c < a->head_dim; c++) {
        real q = 0;
        for (int64_t g = 0; g < group; g++) q += head_at(a, a->q, attn_ldq(a), r, j * group + g)[c];
        score += q * sum[c];
    }
    return score;
}

/* Takes the best candidate topk times, then sorts. `sum` is block_sum of this sequence. */
static void select_token(const hy__attn_args *a, int64_t i, int64_t t, int64_t j, const real *sum) {
    const hy__seq *seq = &a->rows->seq[i];
    const int64_t width = a->n_kv * a->head_dim, r = seq->start + t - seq->pos;
    int32_t *select = (int32_t *)hy__ptr(a->select) + (r * a->n_kv + j) * a->topk;
    for (int64_t n = 0; n < a->topk; n++) {
        real best = -(real)INFINITY;
        select[n] = -1;
        for (int64_t b = attn_candidate_begin(a, t); b < attn_candidate_end(a, t); b++) {
            bool taken = false;
            for (int64_t m = 0; m < n; m++) taken = taken || select[m] == b;
            if (taken) continue;
            const real *keys = b >= seq->pos / a->chunk ? sum + (b - seq->pos / a->chunk) * width
                                                        : (const real *)hy__ptr(a->ksum_in[i]) +
                                                              hy__kv_slot(b, a->slot_in[i]) * width;
            const real score = block_score(a, r, j, keys + j * a->head_dim);
            if (score > best) {
                best = score;
                select[n] = (int32_t)b;
            }
        }
    }
    for (int64_t n = 1; n < a->topk && select[n] >= 0; n++)
        for (int64_t m = n; m > 0 && select[m] < select[m - 1]; m--) {
            const int32_t swap = select[m];
            select[m] = select[m - 1];
            select[m - 1] = swap;
        }
}

static void attn_select(hy__backend *be, const hy__attn_args *a) {
    (void)be;
    if (a->topk == 0) return;
    sum_blocks(a);
    const real *sum = hy__ptr(a->block_sum);
    for (int64_t i = 0; i < a->rows->n_seq; i++) {
        const hy__seq *seq = &a->rows->seq[i];
        for (int64_t t = seq->pos; t < seq->pos + seq->len; t++)
            for (int64_t j = 0; j < a->n_kv; j++) select_token(a, i, t, j, sum);
        sum += hy__seq_units(seq, a->chunk) * a->n_kv * a->head_dim;
    }
}

/* ---- attention ------------------------------------------------------------------------------ */

static void attn_head(const hy__attn_args *a, int64_t i, int64_t t, int64_t h) {
    const hy__seq *seq = &a->rows->seq[i];
    const int64_t r = seq->start + t - seq->pos, hd = a->head_dim;
    const int64_t j = h / (a->n_head / a->n_kv);
    const int32_t *select = select_of(a, r, j);
    const real *q = head_at(a, a->q, attn_ldq(a), r, h);
    real *o = head_at(a, a->o, a->n_head * hd, r, h);
    double top = -INFINITY, total = 0;
    for (int64_t s = 0; s <= t; s++) {
        if (!attends(a, t, s, select)) continue;
        const place k = row_at(a, i, s, j, a->k, attn_ldk(a), a->k_in);
        top = fmax(top, a->scale * (double)dot_row(q, k, hd));
    }
    for (int64_t c = 0; c < hd; c++) o[c] = 0;
    for (int64_t s = 0; s <= t; s++) {
        if (!attends(a, t, s, select)) continue;
        const place k = row_at(a, i, s, j, a->k, attn_ldk(a), a->k_in);
        const place v = row_at(a, i, s, j, a->v, attn_ldv(a), a->v_in);
        const double p = exp(a->scale * (double)dot_row(q, k, hd) - top);
        total += p;
        for (int64_t c = 0; c < hd; c++) o[c] += (real)p * element(v, c);
    }
    for (int64_t c = 0; c < hd; c++) o[c] /= (real)total;
    ((real *)hy__ptr(a->lse))[r * a->n_head + h] = (real)(top + log(total));
}

static void attn(hy__backend *be, const hy__attn_args *a) {
    for (int64_t i = 0; i < a->rows->n_seq; i++) {
        const hy__seq *seq = &a->rows->seq[i];
        for (int64_t t = seq->pos; t < seq->pos + seq->len; t++) {
            for (int64_t h = 0; h < a->n_head; h++) attn_head(a, i, t, h);
            for (int64_t j = 0; j < a->n_kv; j++)
                for (int64_t s = 0; s <= t; s++)
                    be->counters.kv_positions +=
                        attends(a, t, s, select_of(a, seq->start + t - seq->pos, j));
        }
    }
}

static void attn_head_backward(const hy__attn_args *a, int64_t i, int64_t t, int64_t h) {
    const hy__seq *seq = &a->rows->seq[i];
    const int64_t r = seq->start + t - seq->pos, hd = a->head_dim;
    const int64_t j = h / (a->n_head / a->n_kv);
    const int32_t *select = select_of(a, r, j);
    const real *q = head_at(a, a->q, attn_ldq(a), r, h);
    const real *o = head_at(a, a->o, a->n_head * hd, r, h);
    const real *dout = head_at(a, a->dout, a->n_head * hd, r, h);
    const real lse = ((const real *)hy__ptr(a->lse))[r * a->n_head + h];
    real *dq = head_at(a, a->dq, attn_ldq(a), r, h);
    const real delta = dot(dout, o, hd);
    for (int64_t c = 0; c < hd; c++) dq[c] = 0;
    for (int64_t s = 0; s <= t; s++) {
        if (!attends(a, t, s, select)) continue;
        const place k = row_at(a, i, s, j, a->k, attn_ldk(a), a->k_in);
        const place v = row_at(a, i, s, j, a->v, attn_ldv(a), a->v_in);
        real *dk = reals(row_at(a, i, s, j, a->dk, attn_ldk(a), a->dk_in));
        real *dv = reals(row_at(a, i, s, j, a->dv, attn_ldv(a), a->dv_in));
        const real p = (real)exp(a->scale * (double)dot_row(q, k, hd) - (double)lse);
        const real dx = (real)a->scale * p * (dot_row(dout, v, hd) - delta);
        for (int64_t c = 0; c < hd; c++) {
            dq[c] += dx * element(k, c);
            if (dk) dk[c] += dx * q[c];
            if (dv) dv[c] += p * dout[c];
        }
    }
}

static void attn_backward(hy__backend *be, const hy__attn_args *a) {
    (void)be;
    for (int64_t i = 0; i < a->rows->n_seq; i++) {
        const hy__seq *seq = &a->rows->seq[i];
        for (int64_t t = seq->pos; t < seq->pos + seq->len; t++)
            for (int64_t h = 0; h < a->n_head; h++) attn_head_backward(a, i, t, h);
    }
}

/* ---- cache ---------------------------------------------------------------------------------- */

/* Copies what both caches hold of one of k, v (rows = C) or ksum (rows = 1), block by block. */
static void keep_cache(const hy__attn_args *a, int64_t i, const hy__tensor *in,
                       const hy__tensor *out, int64_t rows) {
    const hy__seq *seq = &a->rows->seq[i];
    const int64_t width = a->n_kv * a->head_dim, end = seq->pos + seq->len;
    const char *from = hy__ptr_of(in, i);
    char *to = hy__ptr_of(out, i);
    if (!from || !to || from == to) return;
    HY_ASSERT(in[i].dtype == out[i].dtype);
    const size_t size = hy__dtype_size(in[i].dtype);
    for (int64_t slot = 0; slot < a->slot_in[i]; slot++) {
        const int64_t b = attn_cache_block(a, slot, seq->pos, a->slot_in[i]);
        if (b < 0 || !attn_cache_holds(a, b, end, a->slot_out[i])) continue;
        const int64_t filled = seq->pos - b * a->chunk;
        const int64_t n = (filled < rows ? filled : rows) * width;
        const int64_t slot_out = hy__kv_slot(b, a->slot_out[i]);
        memcpy(to + (size_t)(slot_out * rows * width) * size,
               from + (size_t)(slot * rows * width) * size, (size_t)n * size);
    }
}

/* Element i of a cache, of reals or bf16. */
static void put(hy__tensor cache, int64_t i, real x) {
    if (cache.dtype == HY__DTYPE_BF16)
        ((uint16_t *)hy__ptr(cache))[i] = hy__f32_to_bf16((float)x);
    else
        ((real *)hy__ptr(cache))[i] = x;
}

static void kv_append(hy__backend *be, const hy__attn_args *a) {
    (void)be;
    const int64_t width = a->n_kv * a->head_dim;
    for (int64_t i = 0; i < a->rows->n_seq; i++) {
        const hy__seq *seq = &a->rows->seq[i];
        const int64_t end = seq->pos + seq->len;
        real *sum_out = hy__ptr_of(a->ksum_out, i);
        if (!hy__ptr_of(a->k_out, i)) continue;
        keep_cache(a, i, a->k_in, a->k_out, a->chunk);
        keep_cache(a, i, a->v_in, a->v_out, a->chunk);
        keep_cache(a, i, a->ksum_in, a->ksum_out, 1);
        for (int64_t t = seq->pos; t < end; t++) {
            if (!attn_cache_holds(a, t / a->chunk, end, a->slot_out[i])) continue;
            const int64_t r = seq->start + t - seq->pos;
            const int64_t slot = hy__kv_slot(t / a->chunk, a->slot_out[i]);
            const real *k = (const real *)hy__ptr(a->k) + r * attn_ldk(a);
            const real *v = (const real *)hy__ptr(a->v) + r * attn_ldv(a);
            for (int64_t c = 0; c < width; c++) {
                put(a->k_out[i], (slot * a->chunk + t % a->chunk) * width + c, k[c]);
                put(a->v_out[i], (slot * a->chunk + t % a->chunk) * width + c, v[c]);
                if (!sum_out) continue;
                if (t % a->chunk == 0) sum_out[slot * width + c] = 0;
                sum_out[slot * width + c] += k[c];
            }
        }
    }
}

/* One of k, v: the gradient of the rows that went into the cache, then of what stayed in it. */
static void append_backward(const hy__attn_args *a, int64_t i, hy__tensor piece, int64_t ld,
                            const hy__tensor *din, const hy__tensor *dout) {
    const hy__seq *seq = &a->rows->seq[i];
    const int64_t width = a->n_kv * a->head_dim, end = seq->pos + seq->len;
    const real *from = hy__ptr_of(dout, i);
    real *to = hy__ptr_of(din, i);
    for (int64_t t = seq->pos; t < end; t++) {
        real *d = (real *)hy__ptr(piece) + (seq->start + t - seq->pos) * ld;
        const real *kept = NULL;
        if (from && attn_cache_holds(a, t / a->chunk, end, a->slot_out[i])) {
            const int64_t slot = hy__kv_slot(t / a->chunk, a->slot_out[i]);
            kept = from + (slot * a->chunk + t % a->chunk) * width;
        }
        for (int64_t c = 0; c < width; c++) d[c] = kept ? kept[c] : 0;
    }
    if (!to) return;
    for (int64_t slot = 0; slot < a->slot_in[i]; slot++) {
        const int64_t b = attn_cache_block(a, slot, seq->pos, a->slot_in[i]);
        const bool held = from && b >= 0 && attn_cache_holds(a, b, end, a->slot_out[i]);
        for (int64_t s = 0; s < a->chunk; s++) {
            const bool filled = held && b * a->chunk + s < seq->pos;
            const int64_t slot_out = filled ? hy__kv_slot(b, a->slot_out[i]) : 0;
            for (int64_t c = 0; c < width; c++)
                to[(slot * a->chunk + s) * width + c] =
                    filled ? from[(slot_out * a->chunk + s) * width + c] : 0;
        }
    }
}

static void kv_append_backward(hy__backend *be, const hy__attn_args *a) {
    (void)be;
    for (int64_t i = 0; i < a->rows->n_seq; i++) {
        append_backward(a, i, a->dk, attn_ldk(a), a->dk_in, a->dk_out);
        append_backward(a, i, a->dv, attn_ldv(a), a->dv_in, a->dv_out);
    }
}

/* ---- statistics ----------------------------------------------------------------------------- */

/* Adds head h of token t, whose positions are walked stretch by stretch: sink, selected, window. */
static void stat_head(const hy__attn_args *a, int64_t i, int64_t t, int64_t h, double *sum) {
    const hy__seq *seq = &a->rows->seq[i];
    const int64_t r = seq->start + t - seq->pos, j = h / (a->n_head / a->n_kv), C = a->chunk;
    const int64_t window = attn_window_begin(a, t);
    const int32_t *select = select_of(a, r, j);
    const real *q = head_at(a, a->q, attn_ldq(a), r, h);
    const double lse = (double)((const real *)hy__ptr(a->lse))[r * a->n_head + h];
    for (int64_t part = -2; part < a->topk; part++) {
        const bool is_window = part == -2, is_sink = part == -1;
        if (part >= 0 && select[part] < 0) break;
        const int64_t first = is_window ? window : is_sink ? 0 : select[part] * C;
        const int64_t end = is_window ? t + 1 : is_sink && window < C ? window : first + C;
        double *weight = &sum[is_window ? HY__ATTN_STAT_WINDOW
                              : is_sink ? HY__ATTN_STAT_SINK
                                        : HY__ATTN_STAT_CHOSEN];
        for (int64_t s = first; s < end; s++) {
            const place k = row_at(a, i, s, j, a->k, attn_ldk(a), a->k_in);
            const double p = exp(a->scale * (double)dot_row(q, k, a->head_dim) - lse);
            *weight += p;
            sum[HY__ATTN_STAT_DISTANCE] += p * (double)(t - s);
        }
    }
    sum[HY__ATTN_STAT_LOOKS] += 1;
}

static void attn_stat(hy__backend *be, const hy__attn_args *a) {
    (void)be;
    double sum[HY__ATTN_STAT_N] = {0};
    for (int64_t i = 0, r = a->stat_first; i < a->rows->n_seq; i++) {
        const hy__seq *seq = &a->rows->seq[i];
        for (; r < seq->start + seq->len; r += a->stat_every) {
            const int64_t t = seq->pos + r - seq->start;
            for (int64_t h = 0; h < a->n_head; h++) stat_head(a, i, t, h, sum);
            for (int64_t m = 0; m < a->n_kv * a->topk; m++) {
                const int32_t b = select_of(a, r, 0)[m];
                if (b < 0) continue;
                const double middle = (double)(b * a->chunk) + (double)(a->chunk - 1) / 2;
                sum[HY__ATTN_STAT_BLOCKS] += 1;
                sum[HY__ATTN_STAT_BLOCK_DISTANCE] += (double)t - middle;
            }
        }
    }
    real *stat = hy__ptr(a->stat);
    for (int m = 0; m < HY__ATTN_STAT_N; m++) stat[m] += (real)sum[m];
}

void HY__REF(hy__ref_attn)(hy__kernels *k) {
    k->attn_stat = attn_stat;
    k->attn_select = attn_select;
    k->attn = attn;
    k->attn_backward = attn_backward;
    k->kv_append = kv_append;
    k->kv_append_backward = kv_append_backward;
}
