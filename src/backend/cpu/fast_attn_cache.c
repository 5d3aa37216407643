/* fast_attn_cache.c: which blocks attention reads (attn_select), and the cache that it reads them
 * from (kv_append and its backward). backend.h has the rules.
 *
 * Sums of keys are added in order of positions and every score in order of elements, wherever a
 * sequence is cut: training, prefill and decode choose the same blocks. */
#include "backend/cpu/fast_attn.h"

/* ---- selection ------------------------------------------------------------------------------ */

/* to = begun (NULL: 0) + the rows [0, n) of k. */
static void sum_rows(float *to, const float *begun, const float *k, int64_t ldk, int64_t n,
                     int64_t width) {
    if (!begun) {
        memset(to, 0, (size_t)width * sizeof *to);
    } else if (begun != to) {
        memcpy(to, begun, (size_t)width * sizeof *to);
    }
    for (int64_t r = 0; r < n; r++) vec_axpy(to, 1.0f, k + r * ldk, width);
}

/* The part of block b that lies in the piece: [begin, end). */
static attn_range in_piece(const hy__attn_args *a, const hy__seq *seq, int64_t b) {
    const int64_t begin = b * a->chunk, end = begin + a->chunk, last = seq->pos + seq->len;
    return (attn_range){begin > seq->pos ? begin : seq->pos, end < last ? end : last};
}

/* block_sum of unit u of sequence i, the part of the block in the cache included. */
static void sum_block(const hy__attn_args *a, int64_t i, int64_t u, float *to) {
    const hy__seq *seq = &a->rows->seq[i];
    const int64_t width = a->n_kv * a->head_dim, b = seq->pos / a->chunk + u;
    const attn_range part = in_piece(a, seq, b);
    const float *begun = NULL;
    if (part.begin % a->chunk != 0)
        begun = attn_base(a->ksum_in[i], hy__kv_slot(b, a->slot_in[i]) * width);
    const float *k = attn_base(a->k, (seq->start + part.begin - seq->pos) * attn_ldk(a));
    sum_rows(to, begun, k, attn_ldk(a), part.end - part.begin, width);
}

typedef struct selection {
    attn_tile tile; /* rows are tokens: the group's queries are added up */
    int32_t begin[ATTN_ROWS], end[ATTN_ROWS]; /* candidates of every row */
    float *best;                              /* [topk][ROWS] scores, falling */
    int32_t *block;                           /* [topk][ROWS] */
} selection;

static size_t take_select(selection *w, const hy__attn_args *a, void *base) {
    attn_cut cut = {.base = base};
    attn_take_tile(&cut, &w->tile, a, false);
    w->best = attn_take(&cut, ATTN_ROWS * a->topk);
    w->block = attn_take(&cut, ATTN_ROWS * a->topk);
    return cut.used;
}

static void load_queries(selection *w, const attn_head *x) {
    const int64_t hd = x->a->head_dim;
    memset(w->tile.q, 0, (size_t)(w->tile.n * hd) * sizeof *w->tile.q);
    for (int64_t r = 0; r < w->tile.n; r++)
        for (int64_t g = 0; g < x->group; g++)
            vec_axpy(w->tile.q + r * hd, 1.0f, attn_query(x, w->tile.row[r] * x->group + g), hd);
    attn_tile_transpose(&w->tile, x, w->tile.qt, w->tile.q);
}

/* Nothing is chosen yet, and the padding has no candidates. */
static void begin_rows(selection *w, const attn_head *x) {
    for (int64_t r = 0; r < w->tile.n_pad; r++) {
        const int64_t t = x->seq.pos + w->tile.row[r < w->tile.n ? r : 0];
        w->begin[r] = (int32_t)attn_candidate_begin(x->a, t);
        w->end[r] = r < w->tile.n ? (int32_t)attn_candidate_end(x->a, t) : 0;
    }
    for (int64_t m = 0; m < x->a->topk * ATTN_ROWS; m++) {
        w->best[m] = -INFINITY;
        w->block[m] = -1;
    }
}

/* Puts block b with `score` among the best of VL rows; lists of a row lie at distance ROWS. What a
 * row has once displaced moves everything after it down, so that of equal scores the earlier block,
 * which came first, stays first. */
INLINE void insert(float *best, int32_t *block, int64_t topk, vf score, int32_t b) {
    vi which = (vi){0} + b, moved = {0};
    for (int64_t m = 0; m < topk * ATTN_ROWS; m += ATTN_ROWS) {
        const vf old = vf_load(best + m);
        const vi old_block = *(const vi *)(block + m);
        moved |= score > old;
        vf_store(best + m, vf_select(moved, score, old));
        *(vi *)(block + m) = (moved & which) | (~moved & old_block);
        score = vf_select(moved, old, score);
        which = (moved & old_block) | (~moved & which);
    }
}

/* Offers blocks [b, b + n) to the tile's tokens; sum[n]: their sums of keys, at distance `width`.
 * Blocks come in rising order. */
static void offer(selection *w, const attn_head *x, int64_t b, int64_t n, const float *sum) {
    const int64_t topk = x->a->topk, last = (topk - 1) * ATTN_ROWS;
    mm(n, w->tile.n_pad, x->a->head_dim, sum, x->ld_in, 1, w->tile.qt, ATTN_ROWS, w->tile.s,
       ATTN_ROWS, false);
    for (int64_t r = 0; r < w->tile.n_pad; r += VL) {
        const vi begin = *(const vi *)(w->begin + r), end = *(const vi *)(w->end + r);
        for (int64_t m = 0; m < n; m++) {
            const vi at = (vi){0} + (int32_t)(b + m);
            const vi open = (at >= begin) & (at < end);
            const vf score =
                vf_select(open, vf_load(w->tile.s + m * ATTN_ROWS + r), vf_set(-INFINITY));
            if (vi_any(score > vf_load(w->best + last + r)))
                insert(w->best + r, w->block + r, topk, score, (int32_t)(b + m));
        }
    }
}

/* Writes row r's choice: ascending, -1 last. */
static void write_choice(const selection *w, int64_t r, int64_t topk, int32_t *to) {
    for (int64_t m = 0; m < topk; m++) {
        const int32_t b = w->block[m * ATTN_ROWS + r];
        int64_t at = m;
        for (; b >= 0 && at > 0 && to[at - 1] > b; at--) to[at] = to[at - 1];
        to[at] = b;
    }
}

/* Chooses for the tile's tokens; `sums`: block_sum of the sequence from this KV head on. */
static void select_tile(selection *w, const attn_head *x, const float *sums) {
    const hy__attn_args *a = x->a;
    const int64_t last = x->seq.pos + w->tile.row[w->tile.n - 1], open = x->seq.pos / a->chunk;
    const int64_t end = attn_candidate_end(a, last), topk = a->topk;
    load_queries(w, x);
    begin_rows(w, x);
    for (int64_t b = attn_candidate_begin(a, x->seq.pos + w->tile.row[0]); b < end;) {
        int64_t n = end - b < ATTN_KEYS ? end - b : ATTN_KEYS;
        const float *sum = sums + (b - open) * x->ld_in;
        if (b < open) {
            const int64_t slot = hy__kv_slot(b, x->n_slot);
            const int64_t run = open - b < x->n_slot - slot ? open - b : x->n_slot - slot;
            sum = attn_base(a->ksum_in[x->i], slot * x->ld_in + x->j * a->head_dim);
            if (run < n) n = run;
        }
        offer(w, x, b, n, sum);
        b += n;
    }
    for (int64_t r = 0; r < w->tile.n; r++) {
        int32_t *to = (int32_t *)hy__ptr(a->select);
        write_choice(w, r, topk, to + ((x->seq.start + w->tile.row[r]) * a->n_kv + x->j) * topk);
    }
}

void HY__FAST(hy__attn_select)(hy__backend *be, const hy__attn_args *a) {
    if (a->topk == 0) return;
    const int64_t width = a->n_kv * a->head_dim;
    float *sums = hy__ptr(a->block_sum);
    int64_t before = 0;
    for (int64_t i = 0; i < a->rows->n_seq; i++) {
        const int64_t units = hy__seq_units(&a->rows->seq[i], a->chunk);
#pragma omp parallel for num_threads(be->n_thread) if (units > 1)
        for (int64_t u = 0; u < units; u++) sum_block(a, i, u, sums + (before + u) * width);
        before += units;
    }
    selection measure;
    const size_t size = take_select(&measure, a, NULL);
    void *scratch = hy__scratch(be, size);
    if (!scratch) return;
    const int64_t n_item = attn_items(a, 1, ATTN_ROWS);
#pragma omp parallel for schedule(dynamic, 1) num_threads(be->n_thread) if (n_item > 1)
    for (int64_t n = 0; n < n_item; n++) {
        int64_t which;
        const attn_head x = attn_item(a, 1, ATTN_ROWS, n, &which);
        selection w;
        take_select(&w, a, hy__scratch_of(scratch, size, omp_get_thread_num()));
        const int64_t left = x.seq.len - which * ATTN_ROWS;
        attn_tile_dense(&w.tile, which * ATTN_ROWS, left < ATTN_ROWS ? left : ATTN_ROWS);
        const hy__rows earlier = {.n_seq = x.i, .seq = a->rows->seq};
        select_tile(&w, &x, sums + hy__rows_units(&earlier, a->chunk) * width + x.j * a->head_dim);
    }
}

/* ---- cache ---------------------------------------------------------------------------------- */

/* n rows of `width` numbers from element `at` of a cache on. */
static void put_rows(hy__tensor cache, int64_t at, const float *from, int64_t ld, int64_t n,
                     int64_t width) {
    char *to = hy__ptr(hy__at(cache, at));
    const size_t size = hy__dtype_bytes(cache.dtype, width);
    for (int64_t r = 0; r < n; r++) {
        if (cache.dtype == HY__DTYPE_BF16)
            vec_to_bf16((uint16_t *)(to + (size_t)r * size), from + r * ld, width);
        else
            memcpy(to + (size_t)r * size, from + r * ld, size);
    }
}

/* Copies what both caches hold of one of k, v (rows = C) or ksum (rows = 1), block by block. */
static void keep_cache(const hy__attn_args *a, int64_t i, const hy__tensor *in,
                       const hy__tensor *out, int64_t rows, int n_thread) {
    const hy__seq *seq = &a->rows->seq[i];
    const int64_t width = a->n_kv * a->head_dim, end = seq->pos + seq->len;
    const char *from = hy__ptr_of(in, i);
    char *to = hy__ptr_of(out, i);
    if (!from || !to || from == to) return;
    HY_ASSERT(in[i].dtype == out[i].dtype);
    const size_t size = hy__dtype_bytes(in[i].dtype, width), page = (size_t)rows * size;
#pragma omp parallel for num_threads(n_thread) if (rows > 1)
    for (int64_t slot = 0; slot < a->slot_in[i]; slot++) {
        const int64_t b = attn_cache_block(a, slot, seq->pos, a->slot_in[i]);
        if (b < 0 || !attn_cache_holds(a, b, end, a->slot_out[i])) continue;
        const int64_t filled = seq->pos - b * a->chunk, n = filled < rows ? filled : rows;
        memcpy(to + (size_t)hy__kv_slot(b, a->slot_out[i]) * page, from + (size_t)slot * page,
               (size_t)n * size);
    }
}

/* Copies the piece's part of block b of sequence i into the cache. */
static void append_block(const hy__attn_args *a, int64_t i, int64_t b) {
    const hy__seq *seq = &a->rows->seq[i];
    const int64_t width = a->n_kv * a->head_dim;
    const attn_range part = in_piece(a, seq, b);
    const int64_t slot = hy__kv_slot(b, a->slot_out[i]), n = part.end - part.begin;
    const int64_t at = (slot * a->chunk + part.begin % a->chunk) * width;
    const int64_t r = seq->start + part.begin - seq->pos;
    const float *k = attn_base(a->k, r * attn_ldk(a)), *v = attn_base(a->v, r * attn_ldv(a));
    put_rows(a->k_out[i], at, k, attn_ldk(a), n, width);
    put_rows(a->v_out[i], at, v, attn_ldv(a), n, width);
    float *sum = attn_base_of(a->ksum_out, i, slot * width);
    if (sum) sum_rows(sum, part.begin % a->chunk ? sum : NULL, k, attn_ldk(a), n, width);
}

void HY__FAST(hy__kv_append)(hy__backend *be, const hy__attn_args *a) {
    for (int64_t i = 0; i < a->rows->n_seq; i++) {
        const hy__seq *seq = &a->rows->seq[i];
        const int64_t end = seq->pos + seq->len, first = seq->pos / a->chunk;
        const int64_t units = hy__seq_units(seq, a->chunk);
        if (!hy__ptr_of(a->k_out, i)) continue;
        keep_cache(a, i, a->k_in, a->k_out, a->chunk, be->n_thread);
        keep_cache(a, i, a->v_in, a->v_out, a->chunk, be->n_thread);
        keep_cache(a, i, a->ksum_in, a->ksum_out, 1, 1);
#pragma omp parallel for num_threads(be->n_thread) if (units > 1)
        for (int64_t b = first; b < first + units; b++)
            if (attn_cache_holds(a, b, end, a->slot_out[i])) append_block(a, i, b);
    }
}

/* One of k, v. The rows of the piece are read before anything is written, since din may be dout. */
static void append_backward(const hy__attn_args *a, int64_t i, hy__tensor piece, int64_t ld,
                            const hy__tensor *din, const hy__tensor *dout, int n_thread) {
    const hy__seq *seq = &a->rows->seq[i];
    const int64_t width = a->n_kv * a->head_dim, end = seq->pos + seq->len, c = a->chunk;
    const float *from = hy__ptr_of(dout, i);
    float *to = hy__ptr_of(din, i);
#pragma omp parallel for num_threads(n_thread)
    for (int64_t t = seq->pos; t < end; t++) {
        float *d = attn_base(piece, (seq->start + t - seq->pos) * ld);
        if (from && attn_cache_holds(a, t / c, end, a->slot_out[i])) {
            const int64_t at = hy__kv_slot(t / c, a->slot_out[i]) * c + t % c;
            memcpy(d, from + at * width, (size_t)width * sizeof *d);
        } else {
            memset(d, 0, (size_t)width * sizeof *d);
        }
    }
    if (!to) return;
#pragma omp parallel for num_threads(n_thread)
    for (int64_t slot = 0; slot < a->slot_in[i]; slot++) {
        const int64_t b = attn_cache_block(a, slot, seq->pos, a->slot_in[i]);
        const bool held = from && b >= 0 && attn_cache_holds(a, b, end, a->slot_out[i]);
        const int64_t filled = held ? seq->pos - b * c : 0, n = filled < c ? filled : c;
        float *page = to + slot * c * width;
        if (n > 0) {
            const float *kept = from + hy__kv_slot(b, a->slot_out[i]) * c * width;
            if (kept != page) memcpy(page, kept, (size_t)(n * width) * sizeof *page);
        }
        memset(page + n * width, 0, (size_t)((c - n) * width) * sizeof *page);
    }
}

void HY__FAST(hy__kv_append_backward)(hy__backend *be, const hy__attn_args *a) {
    for (int64_t i = 0; i < a->rows->n_seq; i++) {
        append_backward(a, i, a->dk, attn_ldk(a), a->dk_in, a->dk_out, be->n_thread);
        append_backward(a, i, a->dv, attn_ldv(a), a->dv_in, a->dv_out, be->n_thread);
    }
}
