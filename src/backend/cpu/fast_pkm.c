/* fast_pkm.c: the product-key memory (letter P) by vectors and threads. Shapes and equations:
 * backend.h; ref_pkm.c is the specification.
 *
 * Both selections are "the k best of n": a threshold that at least k and, if it can be had, at most
 * 1.5k of the scores reach is found by bisection over vector counts, what reaches it is gathered,
 * and each survivor's rank among the survivors is its place in the result. Of the k² sums of two
 * sorted halves only pairs (i, j) with (i+1)(j+1) <= k are looked at: all (i', j') with i' <= i and
 * j' <= j are no worse, though where rounding alone makes two sums equal the higher row may stay.
 * Sums of table gradients follow the reverse index, so they do not depend on timing. */
#include "backend/cpu/fast_quant.h"

enum {
    TILE = 4 * MM_MR, /* rows whose scores are held at a time */
    FEW_ROWS = 8,     /* up to so many, transposing the keys costs more than it saves */
    AHEAD = 4,        /* table rows read together; as many are prefetched */
};

/* Threads for n_task things of `work` elements in all. */
static int thread_count(const hy__backend *be, int64_t n_task, int64_t work) {
    return n_task < 2 ? 1 : threads_for(be, work);
}

/* ---- the k best of n ------------------------------------------------------------------------- */

/* How many of score[n] (whole vectors) reach t. */
static int64_t count_from(const float *score, int64_t n, float t) {
    vi count = {0};
    for (int64_t i = 0; i < n; i += VL) count -= vf_load(score + i) >= vf_set(t);
    int32_t part[VL], sum = 0;
    memcpy(part, &count, sizeof part);
    for (int i = 0; i < VL; i++) sum += part[i];
    return sum;
}

/* A threshold that at least k, and if few bisections do at most `enough`, of score[n] reach. The
 * padding of score holds -inf. */
static float threshold(const float *score, int64_t n, int64_t k, int64_t enough) {
    vf min = vf_set(INFINITY), max = vf_set(-INFINITY);
    for (int64_t i = 0; i < n; i += VL) {
        const vf x = vf_load(score + i);
        max = vf_max(max, x);
        min = vf_min(min, vf_select(x > -INFINITY, x, max));
    }
    float lo = -vf_hmax(-min), hi = vf_hmax(max);
    for (int step = 0; step < 16; step++) {
        const float t = 0.5f * lo + 0.5f * hi;
        if (!(t > lo && t < hi)) break; /* equal, or not finite */
        const int64_t count = count_from(score, n, t);
        if (count < k) {
            hi = t;
        } else {
            lo = t;
            if (count <= enough) break;
        }
    }
    return lo;
}

/* Scores with the ids they stand for; arrays of whole vectors and one more. */
typedef struct scored {
    float *score;
    int32_t *id;
} scored;

/* rank[VL]: how many of some[m] come before each of the VL entries at `at`. */
INLINE vi rank_of(const bool ties, scored some, int64_t m, int64_t at) {
    const vf score = vf_load(some.score + at);
    const vi id = *(const vi *)(some.id + at);
    vi rank = {0};
    for (int64_t j = 0; j < m; j++) {
        const vf other = vf_set(some.score[j]);
        vi before = other > score;
        if (ties) before |= (other == score) & (some.id[j] < id);
        rank -= before;
    }
    return rank;
}

/* Puts every entry of some[m] at its rank; best has room for m + 1 (the padding falls behind).
 * Returns false when two ranks are equal, which they are only without `ties`. */
INLINE bool place_by_rank(const bool ties, scored best, scored some, int64_t m) {
    vi sum = {0};
    for (int64_t i = 0; i < m; i += VL) {
        int32_t rank[VL];
        const vi r = rank_of(ties, some, m, i);
        sum += r;
        memcpy(rank, &r, sizeof rank);
        for (int j = 0; j < VL; j++) {
            best.score[rank[j]] = some.score[i + j];
            best.id[rank[j]] = some.id[i + j];
        }
    }
    int64_t total = 0;
    for (int j = 0; j < VL; j++) total += sum[j];
    return total == m * (m - 1) / 2 + (padded(m) - m) * m;
}

/* best[k] = the k best of all[n], best first, ties to the lower id; `some` and best are scratch of
 * n entries. */
static void take_best(scored best, int64_t k, scored all, scored some, int64_t n) {
    for (int64_t i = n; i < padded(n); i++) all.score[i] = -INFINITY;
    const int64_t enough = k + k / 2;
    const float t = n <= enough ? -INFINITY : threshold(all.score, padded(n), k, enough);
    int64_t m = 0;
    for (int64_t i = 0; i < n; i++) {
        best.id[m] = (int32_t)i;
        m += all.score[i] >= t;
    }
    if (m < k) { /* NaN among the scores: the row is lost, but its ids must be ids */
        memcpy(best.score, all.score, (size_t)k * sizeof *best.score);
        memcpy(best.id, all.id, (size_t)k * sizeof *best.id);
        return;
    }
    for (int64_t i = 0; i < m; i++) {
        some.score[i] = all.score[best.id[i]];
        some.id[i] = all.id[best.id[i]];
    }
    for (int64_t i = m; i < padded(m); i++) {
        some.score[i] = -INFINITY;
        some.id[i] = INT32_MAX;
    }
    if (!place_by_rank(false, best, some, m)) place_by_rank(true, best, some, m);
}

/* ---- pkm_select ------------------------------------------------------------------------------ */

/* Pairs (i, j) with (i+1)(j+1) <= k. */
static int64_t pair_count(int64_t k) {
    int64_t n = 0;
    for (int64_t i = 1; i <= k; i++) n += k / i;
    return n;
}

/* What one thread needs to select. */
typedef struct select_room {
    float *score[2];   /* [TILE, padded n_key] of both halves */
    scored half[2];    /* best sub-keys */
    scored pair, best; /* candidate pairs and the best of them */
    scored some;
    int32_t *iota; /* 0, 1, 2, …: the sub-keys' ids */
} select_room;

/* Entries of a list of sub-keys or pairs, whole vectors and one more. */
static int64_t select_room_list(const hy__pkm_select_args *a) {
    const int64_t n_pair = pair_count(a->k);
    return padded(a->n_key > n_pair ? a->n_key : n_pair) + VL;
}

static size_t select_room_size(const hy__pkm_select_args *a) {
    const int64_t n_word = 2 * TILE * padded(a->n_key) + 11 * select_room_list(a);
    return hy__tensor_bytes(HY__DTYPE_F32, n_word);
}

static select_room select_room_at(const hy__pkm_select_args *a, void *memory) {
    const int64_t n = select_room_list(a), n_score = TILE * padded(a->n_key);
    float *score = memory, *list = score + 2 * n_score;
    const select_room m = {
        .score = {score, score + n_score},
        .half = {{list, (int32_t *)(list + n)}, {list + 2 * n, (int32_t *)(list + 3 * n)}},
        .pair = {list + 4 * n, (int32_t *)(list + 5 * n)},
        .best = {list + 6 * n, (int32_t *)(list + 7 * n)},
        .some = {list + 8 * n, (int32_t *)(list + 9 * n)},
        .iota = (int32_t *)(list + 10 * n),
    };
    for (int64_t i = 0; i < a->n_key; i++) m.iota[i] = (int32_t)i;
    return m;
}

/* The k best pairs of one row and head, whose scores lie in row `tile_row` of the room. */
static void select_row(const hy__pkm_select_args *a, select_room *m, int64_t tile_row,
                       int64_t out) {
    const int64_t k = a->k;
    for (int half = 0; half < 2; half++) {
        const scored all = {m->score[half] + tile_row * padded(a->n_key), m->iota};
        take_best(m->half[half], k, all, m->some, a->n_key);
    }
    int64_t n = 0;
    for (int64_t i = 0; i < k; i++) {
        const float score = m->half[0].score[i];
        const int32_t id = m->half[0].id[i] * (int32_t)a->n_key;
        const int64_t n_second = k / (i + 1);
        for (int64_t j = 0; j < n_second; j++) {
            m->pair.score[n + j] = score + m->half[1].score[j];
            m->pair.id[n + j] = id + m->half[1].id[j];
        }
        n += n_second;
    }
    take_best(m->best, k, m->pair, m->some, n);
    memcpy((float *)hy__ptr(a->score) + out, m->best.score, (size_t)k * sizeof(float));
    memcpy((int32_t *)hy__ptr(a->idx) + out, m->best.id, (size_t)k * sizeof(int32_t));
}

/* score[padded n_key] = key[n_key,dh]·q[dh] */
static void key_scores(float *score, const float *q, const float *key, int64_t n_key, int64_t dh) {
    for (int64_t i = 0; i < n_key; i += VL) {
        vf sum[VL];
        for (int j = 0; j < VL; j++) {
            const float *row = key + (i + j < n_key ? i + j : n_key - 1) * dh;
            sum[j] = (vf){0};
            for (int64_t c = 0; c < dh; c += VL)
                sum[j] += vf_load_to(q + c, dh - c) * vf_load_to(row + c, dh - c);
        }
        vf_store(score + i, vf_sum_each(sum));
    }
}

/* Scores and choices of head h for rows [row, row + n). packed: the keys transposed
 * [H,2,d_half,padded n_key], or NULL when the rows are few. */
static void select_tile(const hy__pkm_select_args *a, select_room *m, const float *packed,
                        int64_t row, int64_t n, int64_t h) {
    const int64_t dh = a->d_half, n_key = padded(a->n_key), ldq = a->n_head * 2 * dh;
    for (int half = 0; half < 2; half++) {
        const float *q = (const float *)hy__ptr(a->q) + row * ldq + (h * 2 + half) * dh;
        if (packed) {
            const float *key = packed + (h * 2 + half) * dh * n_key;
            mm(n, n_key, dh, q, ldq, 1, key, n_key, m->score[half], n_key, false);
            continue;
        }
        const float *key = (const float *)hy__ptr(a->key) + (h * 2 + half) * a->n_key * dh;
        for (int64_t r = 0; r < n; r++)
            key_scores(m->score[half] + r * n_key, q + r * ldq, key, a->n_key, dh);
    }
    for (int64_t r = 0; r < n; r++) select_row(a, m, r, ((row + r) * a->n_head + h) * a->k);
}

static void pack_keys(const hy__pkm_select_args *a, float *packed, int64_t head_half) {
    const int64_t dh = a->d_half, n_key = padded(a->n_key);
    const float *key = (const float *)hy__ptr(a->key) + head_half * a->n_key * dh;
    float *to = packed + head_half * dh * n_key;
    mat_transpose(to, n_key, key, dh, a->n_key, dh);
    for (int64_t c = 0; c < dh; c++)
        for (int64_t i = a->n_key; i < n_key; i++) to[c * n_key + i] = 0;
}

static void pkm_select(hy__backend *be, const hy__pkm_select_args *a) {
    const bool few = a->n_row <= FEW_ROWS;
    const int64_t n_pack = few ? 0 : a->n_head * 2 * a->d_half * padded(a->n_key);
    const int64_t n_tile = (a->n_row + TILE - 1) / TILE;
    const size_t own = select_room_size(a);
    const size_t part = hy__tensor_bytes(HY__DTYPE_F32, n_pack / be->n_thread + 1);
    float *packed = hy__scratch(be, part + own); /* the packed keys, then every thread's room */
    if (!packed) return;
    char *rooms = (char *)packed + part * (size_t)be->n_thread;
    const int n_thread =
        thread_count(be, n_tile * a->n_head, a->n_row * a->n_head * 2 * a->n_key * a->d_half);
#pragma omp parallel num_threads(n_thread)
    {
        select_room m = select_room_at(a, hy__scratch_of(rooms, own, omp_get_thread_num()));
        if (!few) {
#pragma omp for schedule(static)
            for (int64_t i = 0; i < 2 * a->n_head; i++) pack_keys(a, packed, i);
        }
#pragma omp for schedule(static)
        for (int64_t i = 0; i < n_tile * a->n_head; i++) {
            const int64_t row = i % n_tile * TILE, left = a->n_row - row;
            select_tile(a, &m, few ? NULL : packed, row, left < TILE ? left : TILE, i / n_tile);
        }
    }
}

/* dq of one row and head: the chosen sub-keys, weighted. */
static void select_dq(const hy__pkm_select_args *a, int64_t row_head) {
    const int64_t dh = a->d_half, k = a->k, h = row_head % a->n_head;
    const int32_t *idx = (const int32_t *)hy__ptr(a->idx) + row_head * k;
    const float *dscore = (const float *)hy__ptr(a->dscore) + row_head * k;
    const float *key = (const float *)hy__ptr(a->key) + h * 2 * a->n_key * dh;
    float *dq = (float *)hy__ptr(a->dq) + row_head * 2 * dh;
    memset(dq, 0, (size_t)(2 * dh) * sizeof *dq);
    for (int64_t j = 0; j < k; j++) {
        vec_axpy(dq, dscore[j], key + idx[j] / a->n_key * dh, dh);
        vec_axpy(dq + dh, dscore[j], key + (a->n_key + idx[j] % a->n_key) * dh, dh);
    }
}

/* dkey of one head and half, columns [c0, c0 + n): rows in order. */
static void select_dkey(const hy__pkm_select_args *a, int64_t head_half, int64_t c0, int64_t n) {
    const int64_t dh = a->d_half, k = a->k, h = head_half / 2;
    const bool second = head_half % 2 == 1;
    float *dkey = (float *)hy__ptr(a->dkey) + head_half * a->n_key * dh + c0;
    for (int64_t r = 0; r < a->n_row; r++) {
        const int64_t at = (r * a->n_head + h) * k;
        const int32_t *idx = (const int32_t *)hy__ptr(a->idx) + at;
        const float *dscore = (const float *)hy__ptr(a->dscore) + at;
        const float *q = (const float *)hy__ptr(a->q) + (r * a->n_head * 2 + head_half) * dh + c0;
        for (int64_t j = 0; j < k; j++) {
            const int64_t i = second ? idx[j] % a->n_key : idx[j] / a->n_key;
            vec_axpy(dkey + i * dh, dscore[j], q, n);
        }
    }
}

static void pkm_select_backward(hy__backend *be, const hy__pkm_select_args *a) {
    const int64_t n_task = 2 * a->n_head, strip_max = (a->d_half + VL - 1) / VL;
    int64_t n_strip = (be->n_thread + n_task - 1) / n_task; /* every thread gets something */
    if (n_strip > strip_max) n_strip = strip_max;
    const int64_t strip = padded((a->d_half + n_strip - 1) / n_strip);
    const int n_thread = thread_count(be, n_task, a->n_row * a->n_head * a->k * 2 * a->d_half);
#pragma omp parallel num_threads(n_thread)
    {
#pragma omp for schedule(static) nowait
        for (int64_t i = 0; i < a->n_row * a->n_head; i++) select_dq(a, i);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < n_task * n_strip; i++) {
            const int64_t c0 = i % n_strip * strip, left = a->d_half - c0;
            if (left > 0) select_dkey(a, i / n_strip, c0, left < strip ? left : strip);
        }
    }
}

/* ---- pkm_read -------------------------------------------------------------------------------- */

/* weight[k] = softmax(score[k]) */
static void head_softmax(float *weight, const float *score, int64_t k) {
    float top = score[0], total = 0;
    for (int64_t j = 1; j < k; j++) top = score[j] > top ? score[j] : top;
    for (int64_t j = 0; j < k; j += VL) {
        const int64_t n = k - j < VL ? k - j : VL;
        vf_store_n(weight + j, vf_exp(vf_load_n(score + j, n) - top), n);
    }
    for (int64_t j = 0; j < k; j++) total += weight[j];
    vec_scale(weight, 1.0f / total, k);
}

/* A table's element c of row `row`, real or bf16 (a constant where this is inlined). */
INLINE vf table_load(const bool bf16, const void *row, int64_t c) {
    if (!bf16) return vf_load((const float *)row + c);
    return vf_load_bf16((const uint16_t *)row + c);
}
INLINE float table_get(const bool bf16, const void *row, int64_t c) {
    return bf16 ? hy__bf16_to_f32(((const uint16_t *)row)[c]) : ((const float *)row)[c];
}

/* y[dv] += Σ_j w[j]·row[j] for AHEAD rows, while the next AHEAD rows are fetched. */
INLINE void add_rows(const bool bf16, float *y, const float *w, const char *const *row,
                     const char *const *next, int64_t dv) {
    const int64_t size = bf16 ? 2 : 4;
    int64_t c = 0;
    for (; c + VL <= dv; c += VL) {
        vf sum = vf_load(y + c);
#pragma GCC unroll 4
        for (int j = 0; j < AHEAD; j++) {
            __builtin_prefetch(next[j] + c * size);
            sum += w[j] * table_load(bf16, row[j], c);
        }
        vf_store(y + c, sum);
    }
    for (; c < dv; c++)
        for (int j = 0; j < AHEAD; j++) y[c] += w[j] * table_get(bf16, row[j], c);
}

/* y[dv] = Σ over n pairs of weight·table[idx]; pairs from n to n_next are the next row's. */
INLINE void read_row(const bool bf16, float *y, const float *weight, const int32_t *idx, int64_t n,
                     int64_t n_next, const char *table, int64_t dv) {
    const int64_t row_size = dv * (bf16 ? 2 : 4);
    memset(y, 0, (size_t)dv * sizeof *y);
    for (int64_t p = 0; p < n; p += AHEAD) {
        const char *row[AHEAD], *next[AHEAD];
        float w[AHEAD];
        for (int64_t j = 0; j < AHEAD; j++) {
            const int64_t at = p + j < n ? p + j : n - 1, to = p + AHEAD + j;
            row[j] = table + idx[at] * row_size;
            next[j] = table + idx[to < n_next ? to : n_next - 1] * row_size;
            w[j] = p + j < n ? weight[at] : 0;
        }
        add_rows(bf16, y, w, row, next, dv);
    }
}

/* The same of quantised rows, while the next one is fetched. */
INLINE void read_row_quant(const hy__dtype dtype, float *y, const float *weight, const int32_t *idx,
                           int64_t n, int64_t n_next, const char *table, int64_t dv) {
    const size_t row_size = hy__dtype_bytes(dtype, dv);
    memset(y, 0, (size_t)dv * sizeof *y);
    for (int64_t p = 0; p < n; p++) {
        const char *row = table + (size_t)idx[p] * row_size;
        const char *next = table + (size_t)idx[p + 1 < n_next ? p + 1 : p] * row_size;
        float x[HY__QUANT_SPAN];
        for (size_t i = 0; i < row_size; i += HY__ALIGN) __builtin_prefetch(next + i);
        for (int64_t c = 0; c < dv; c += HY__QUANT_SPAN, row += quant_piece_bytes(dtype)) {
            const int64_t span = quant_span(c, dv);
            quant_piece(x, row, dtype, span / HY__QUANT_GROUP);
            vec_axpy(y + c, weight[p], x, span);
        }
    }
}

/* Σ weight·row of one row's pairs, by the table's dtype. */
static void read_pairs(hy__dtype dtype, float *y, const float *weight, const int32_t *idx,
                       int64_t n, int64_t n_next, const char *table, int64_t dv) {
    if (dtype == HY__DTYPE_Q8)
        read_row_quant(HY__DTYPE_Q8, y, weight, idx, n, n_next, table, dv);
    else if (dtype == HY__DTYPE_Q4)
        read_row_quant(HY__DTYPE_Q4, y, weight, idx, n, n_next, table, dv);
    else if (dtype == HY__DTYPE_BF16)
        read_row(true, y, weight, idx, n, n_next, table, dv);
    else
        read_row(false, y, weight, idx, n, n_next, table, dv);
}

/* use[row] += weight: each thread has a share of the table's rows and adds in the order of pairs.
 */
static void read_use(const hy__pkm_read_args *a, int64_t n_pair) {
    const int32_t *idx = hy__ptr(a->idx);
    const float *weight = hy__ptr(a->weight);
    float *use = hy__ptr(a->use);
    int64_t lo, hi;
    thread_share(a->n_value, &lo, &hi);
    for (int64_t p = 0; p < n_pair; p++)
        if (idx[p] >= lo && idx[p] < hi) use[idx[p]] += weight[p];
}

static void pkm_read(hy__backend *be, const hy__pkm_read_args *a) {
    const int64_t dv = a->d_value, n = a->n_head * a->k, n_pair = a->n_row * n;
    const int32_t *idx = hy__ptr(a->idx);
    const float *score = hy__ptr(a->score);
    float *weight = hy__ptr(a->weight), *y = hy__ptr(a->y);
    const char *table = hy__ptr(a->table);
    const int n_thread = thread_count(be, a->n_row, n_pair * dv);
#pragma omp parallel num_threads(n_thread)
    {
#pragma omp for schedule(static)
        for (int64_t r = 0; r < a->n_row; r++) {
            const int64_t p = r * n, n_next = n_pair - p;
            for (int64_t h = 0; h < a->n_head; h++)
                head_softmax(weight + p + h * a->k, score + p + h * a->k, a->k);
            read_pairs(a->table.dtype, y + r * dv, weight + p, idx + p, n, n_next, table, dv);
        }
        if (hy__present(a->use)) read_use(a, n_pair);
    }
    be->counters.table_rows += n_pair;
}

/* The reverse index, a counting sort of the pairs by table row: pairs of row v are
 * pair[end[v-1] … end[v]), in rising order (end[-1] = 0). */
static void reverse_index(const int32_t *idx, int64_t n_pair, int64_t n_value, int32_t *end,
                          int32_t *pair) {
    memset(end, 0, (size_t)n_value * sizeof *end);
    for (int64_t p = 0; p < n_pair; p++) end[idx[p]]++;
    int32_t sum = 0;
    for (int64_t v = 0; v < n_value; v++) {
        const int32_t count = end[v];
        end[v] = sum;
        sum += count;
    }
    for (int64_t p = 0; p < n_pair; p++) pair[end[idx[p]]++] = (int32_t)p;
}

/* dtable[dv] += w·dy; returns dy·table row. */
INLINE float read_pair_backward(const bool bf16, float *dtable, float w, const float *dy,
                                const void *row, int64_t dv) {
    vf sum = {0};
    int64_t c = 0;
    for (; c + VL <= dv; c += VL) {
        const vf g = vf_load(dy + c);
        sum += g * table_load(bf16, row, c);
        vf_store(dtable + c, vf_load(dtable + c) + w * g);
    }
    float dot = vf_sum(sum);
    for (; c < dv; c++) {
        dot += dy[c] * table_get(bf16, row, c);
        dtable[c] += w * dy[c];
    }
    return dot;
}

/* Table row v: its gradient, and dweight (into dscore) of its pairs. */
static void read_value_backward(const hy__pkm_read_args *a, int64_t v, const int32_t *pair,
                                const int32_t *pair_end) {
    const int64_t dv = a->d_value, n = a->n_head * a->k;
    const bool bf16 = a->table.dtype == HY__DTYPE_BF16;
    const float *weight = hy__ptr(a->weight), *dy = hy__ptr(a->dy);
    const char *row = (const char *)hy__ptr(a->table) + v * dv * (bf16 ? 2 : 4);
    float *dtable = (float *)hy__ptr(a->dtable) + v * dv, *dscore = hy__ptr(a->dscore);
    for (; pair < pair_end; pair++) {
        const float w = weight[*pair], *dy_row = dy + *pair / n * dv;
        dscore[*pair] = bf16 ? read_pair_backward(true, dtable, w, dy_row, row, dv)
                             : read_pair_backward(false, dtable, w, dy_row, row, dv);
    }
    ((int32_t *)hy__ptr(a->touched))[v] = 1;
}

/* The first row whose pairs end after `pair`. */
static int64_t value_of_pair(const int32_t *end, int64_t n_value, int64_t pair) {
    int64_t lo = 0, hi = n_value;
    while (lo < hi) {
        const int64_t mid = (lo + hi) / 2;
        if (end[mid] > pair) {
            hi = mid;
        } else {
            lo = mid + 1;
        }
    }
    return lo;
}

static void pkm_read_backward(hy__backend *be, const hy__pkm_read_args *a) {
    const int64_t k = a->k, n_pair = a->n_row * a->n_head * k;
    const float *weight = hy__ptr(a->weight);
    float *dscore = hy__ptr(a->dscore);
    int32_t *end = hy__ptr(a->reverse), *pair = end + a->n_value + 1;
    reverse_index(hy__ptr(a->idx), n_pair, a->n_value, end, pair);
    const int n_thread = thread_count(be, a->n_row, n_pair * a->d_value);
#pragma omp parallel num_threads(n_thread)
    {
        /* Shares of equal numbers of pairs; the row across a border goes to the thread after it. */
        int64_t lo, hi;
        thread_share(n_pair, &lo, &hi);
        const int64_t to = value_of_pair(end, a->n_value, hi);
        for (int64_t v = value_of_pair(end, a->n_value, lo); v < to; v++) {
            const int32_t from = v > 0 ? end[v - 1] : 0;
            if (from < end[v]) read_value_backward(a, v, pair + from, pair + end[v]);
        }
#pragma omp barrier
#pragma omp for schedule(static)
        for (int64_t p = 0; p < n_pair; p += k) {
            const float mean = vec_dot(weight + p, dscore + p, k);
            for (int64_t j = p; j < p + k; j++) dscore[j] = weight[j] * (dscore[j] - mean);
        }
    }
}

void HY__FAST(hy__fast_pkm)(hy__kernels *k) {
    k->pkm_select = pkm_select;
    k->pkm_select_backward = pkm_select_backward;
    k->pkm_read = pkm_read;
    k->pkm_read_backward = pkm_read_backward;
}
