/* fast_quant.c: products of floats with quantised rows (tensor/quant.h), in integers.
 *
 * The floats are rounded to 8 bits too, each 32 of a row with their own scale, so that the products
 * of a group are exact integers and only their sums over groups are rounded:
 *
 *   c[m,n] = Σ_g sx[m,g]·sw[n,g]·(Σ_i x[m,g,i]·w[n,g,i])
 *
 * A row of c does not depend on the rows beside it, and how many there are changes only the order
 * of the sum over groups.
 *
 *   few rows of x    straight from the rows of weights: a lane of a vector is a group. Bound by
 *                    reading the weights once
 *   many             blocks of 32 rows of weights are laid out anew, so that a lane is a row; with
 *                    instructions for such products (VNNI) alone. Bound by those
 */
#include "backend/cpu/fast_quant.h"

enum {
    GROUP = HY__QUANT_GROUP,
    PIECE = HY__QUANT_PIECE,
    SPAN = HY__QUANT_SPAN,
    WORDS = HY__QUANT_WORDS,
    FEW_MR = 4,       /* rows of x of a tile */
    FEW_AHEAD = 8192, /* bytes of weights that are fetched before they are used */
};

/* What every sum of products of a group begins with, for each unit of Σ x. */
INLINE int32_t zero_point(const hy__dtype dtype) {
    return dtype == HY__DTYPE_Q4 ? -HY__QUANT_ZERO : DOT_FLIP ? -128 : 0;
}

/* ---- few rows --------------------------------------------------------------------------------
 * The words of a piece are one line of bytes, and so are those of x. A vector of it holds VL lanes
 * of one word, or, folded, two words of a piece of VL/2 groups: then two lanes are one group, and
 * both have its scale. Rows of weights are taken one by one, as they lie in memory, which is what
 * the machine reads ahead best. */

/* A piece of a rounded row of x. Lanes beyond its groups begin at 0. */
typedef struct x_piece {
    int8_t word[SPAN + HY__ALIGN]; /* [8][n][4], and what a vector may read more */
    float scale[PIECE];
    int32_t start[PIECE];
} x_piece;

static void round_piece(x_piece *to, const float *x, hy__dtype dtype, int64_t n) {
    if (n < PIECE) memset(to, 0, sizeof *to);
    for (int64_t g = 0; g < n; g++) {
        int8_t q[GROUP];
        int32_t sum;
        to->scale[g] = quant_round(q, &sum, x + g * GROUP);
        to->start[g] = zero_point(dtype) * sum;
        for (int j = 0; j < WORDS; j++) memcpy(to->word + (j * n + g) * 4, q + 4 * j, 4);
    }
    if (n == VL / 2) memcpy(to->scale + n, to->scale, (size_t)n * sizeof *to->scale);
}

/* acc[m] += n_load vectors of weights, `step` bytes from each other, whose first n lanes count,
 * with those of mr rows of x. A vector of nibbles is two of x, `half` bytes from each other. */
INLINE void few_dot(const int mr, const hy__dtype dtype, vi acc[FEW_MR], const int8_t *const *x,
                    const char *words, const int n_load, int64_t step, int64_t half, int64_t n) {
#pragma GCC unroll 8
    for (int j = 0; j < n_load; j++) {
        __builtin_prefetch(words + j * step + FEW_AHEAD);
        const vb w = (vb)vi_load_words(words + j * step, n);
#pragma GCC unroll 4
        for (int m = 0; m < mr; m++) {
            const vb x0 = *(const vb *)(x[m] + j * step);
            if (dtype == HY__DTYPE_Q8) {
                acc[m] = vi_dot_s(acc[m], w, x0);
            } else {
                const vb x1 = *(const vb *)(x[m] + half + j * step);
                acc[m] = vi_dot_u(acc[m], w & 15, x0);
                acc[m] = vi_dot_u(acc[m], w >> 4, x1);
            }
        }
    }
}

/* sum[m] += the products of a piece of n groups: of those from group `lane` on that fill a vector,
 * or, folded, of all. */
INLINE void few_lanes(const int mr, const hy__dtype dtype, const bool folded, vf sum[FEW_MR],
                      const x_piece *x, int64_t x_stride, const char *piece, int64_t n,
                      int64_t lane) {
    const int n_word = dtype == HY__DTYPE_Q8 ? WORDS : WORDS / 2;
    const int64_t left = folded || n - lane > VL ? VL : n - lane;
    const char *words = piece + n * (int64_t)sizeof(uint16_t) + lane * 4;
    const int8_t *xw[FEW_MR];
    vi acc[FEW_MR];
#pragma GCC unroll 4
    for (int m = 0; m < mr; m++) {
        xw[m] = x[m * x_stride].word + lane * 4;
        acc[m] = *(const vi *)(x[m * x_stride].start + lane);
    }
    few_dot(mr, dtype, acc, xw, words, folded ? n_word / 2 : n_word, folded ? 4 * VL : 4 * n,
            n_word * n * 4, left);
    const vf sw = folded ? quant_scales_folded(piece) : quant_scales(piece, lane, left);
#pragma GCC unroll 4
    for (int m = 0; m < mr; m++)
        sum[m] +=
            __builtin_convertvector(acc[m], vf) * (sw * vf_load(x[m * x_stride].scale + lane));
}

/* Pieces of a row of k numbers: whole ones, and the groups of one more. */
typedef struct row_shape {
    int64_t whole, rest;
} row_shape;

static row_shape shape_of(int64_t k) {
    return (row_shape){.whole = k / SPAN, .rest = k % SPAN / GROUP};
}

/* c of mr rows of x, `x_stride` pieces from each other, and n <= VL rows of weights, whose sums are
 * taken together. */
INLINE void few_block(const int mr, const hy__dtype dtype, const bool folded, const hy__product *p,
                      const row_shape *shape, const x_piece *x, float *c, const char *row,
                      int64_t n) {
    const int64_t stride = (int64_t)hy__dtype_bytes(dtype, p->k);
    const int64_t x_stride = shape->whole + (shape->rest > 0), piece = quant_piece_bytes(dtype);
    vf all[FEW_MR][VL];
    for (int64_t j = 0; j < VL; j++, row += stride) {
        vf sum[FEW_MR] = {{0}};
        for (int64_t s = 0; s < shape->whole && j < n; s++)
            for (int64_t lane = 0; lane < PIECE; lane += VL)
                few_lanes(mr, dtype, false, sum, x + s, x_stride, row + s * piece, PIECE, lane);
        for (int64_t lane = 0; lane < shape->rest && j < n; lane += VL)
            few_lanes(mr, dtype, folded, sum, x + shape->whole, x_stride,
                      row + shape->whole * piece, folded ? VL / 2 : shape->rest, lane);
#pragma GCC unroll 4
        for (int m = 0; m < mr; m++) all[m][j] = sum[m];
    }
    for (int m = 0; m < mr; m++) {
        vf y = vf_sum_each(all[m]);
        if (p->accumulate) y += vf_load_to(c + m * p->ldc, n);
        vf_store_to(c + m * p->ldc, y, n);
    }
}

/* All rows of x against rows [from, to) of weights: a second pass over them finds them in the
 * cache.
 */
INLINE void few_columns(const hy__dtype dtype, const bool folded, const hy__product *p,
                        const x_piece *x, int64_t from, int64_t to) {
    const row_shape shape = shape_of(p->k);
    const int64_t x_stride = shape.whole + (shape.rest > 0);
    for (int64_t j = from; j < to; j += VL) {
        const int64_t n = to - j < VL ? to - j : VL;
        const char *row = (const char *)p->b + hy__dtype_bytes(dtype, j * p->k);
        int64_t i = 0;
#define FEW_BLOCK(mr)                                                                              \
    few_block(mr, dtype, folded, p, &shape, x + i * x_stride, p->c + i * p->ldc + j, row, n)
        for (; i + 4 <= p->m; i += 4) FEW_BLOCK(4);
        for (; i + 2 <= p->m; i += 2) FEW_BLOCK(2);
        if (i < p->m) FEW_BLOCK(1);
#undef FEW_BLOCK
    }
}

static void few_share(const hy__product *p, const x_piece *x, int64_t from, int64_t to) {
    const bool folded = shape_of(p->k).rest == VL / 2;
    if (p->b_quant == HY__DTYPE_Q8 && folded)
        few_columns(HY__DTYPE_Q8, true, p, x, from, to);
    else if (p->b_quant == HY__DTYPE_Q8)
        few_columns(HY__DTYPE_Q8, false, p, x, from, to);
    else if (folded)
        few_columns(HY__DTYPE_Q4, true, p, x, from, to);
    else
        few_columns(HY__DTYPE_Q4, false, p, x, from, to);
}

static void few(hy__backend *be, const hy__product *p) {
    const int64_t n_piece = (p->k + SPAN - 1) / SPAN;
    x_piece *x = hy__scratch_all(be, (size_t)(p->m * n_piece) * sizeof *x);
    if (!x) return;
    for (int64_t m = 0; m < p->m; m++)
        for (int64_t i = 0, s = 0; i < p->k; i += SPAN, s++)
            round_piece(x + m * n_piece + s, (const float *)p->a + m * p->lda + i, p->b_quant,
                        quant_span(i, p->k) / GROUP);
    const int parts = threads_for(be, p->n * p->k / 2);
#pragma omp parallel for num_threads(parts) schedule(static, 1) if (parts > 1)
    for (int i = 0; i < parts; i++)
        few_share(p, x, part_at(p->n, i, parts, VL), part_at(p->n, i + 1, parts, VL));
}

/* ---- many rows ------------------------------------------------------------------------------- */

#if HY__VL == 16 && defined(__AVX512VNNI__)

enum {
    MANY_MR = 6, /* rows of x of a tile */
    MANY_NV = 2, /* vectors of rows of weights */
    BLOCK = MANY_NV * VL,
};

/* Rows of x, rounded: [m][k], and of each group its scale and what its sums begin with. */
typedef struct x_rows {
    int8_t *q;
    float *scale;
    int32_t *start;
    int64_t k, n_group;
} x_rows;

/* VL rows of weights, laid out anew: words [group][8][VL] of bytes + 128 (Q4: + 8), scales
 * [group][VL]. */
typedef struct w_panel {
    vi *word;
    vf *scale;
} w_panel;

static void round_rows(hy__backend *be, const x_rows *x, const hy__product *p) {
    const int n_thread = threads_for(be, p->m * p->k);
#pragma omp parallel for num_threads(n_thread) schedule(static) if (n_thread > 1)
    for (int64_t m = 0; m < p->m; m++)
        for (int64_t g = 0; g < x->n_group; g++) {
            int32_t sum;
            const int64_t at = m * x->n_group + g;
            x->scale[at] = quant_round(x->q + m * x->k + g * GROUP, &sum,
                                       (const float *)p->a + m * p->lda + g * GROUP);
            x->start[at] = zero_point(p->b_quant) * sum;
        }
}

/* Word j of the n groups of a piece of VL rows; rows from n_row on are zero. */
INLINE void load_rows(vf w[VL], const char *at, int64_t stride, int64_t n, int64_t n_row) {
#pragma GCC unroll 16
    for (int r = 0; r < VL; r++) w[r] = r < n_row ? (vf)vi_load_words(at + r * stride, n) : (vf){0};
}

/* The piece that begins with group g: each of its vectors of groups becomes n vectors of rows. */
INLINE void lay_piece(const w_panel *to, const hy__dtype dtype, const char *piece, int64_t stride,
                      int64_t g, int64_t n, int64_t n_row) {
    const char *words = piece + n * (int64_t)sizeof(uint16_t);
    vf w[VL];
    for (int r = 0; r < VL; r++)
        w[r] = r < n_row ? quant_scales(piece + r * stride, 0, n) : (vf){0};
    vf_transpose(w);
    for (int64_t i = 0; i < n; i++) to->scale[g + i] = w[i];
    for (int j = 0; j < (dtype == HY__DTYPE_Q8 ? WORDS : WORDS / 2); j++) {
        load_rows(w, words + j * n * 4, stride, n, n_row);
        vf_transpose(w);
        for (int64_t i = 0; i < n; i++) {
            vi *group = to->word + (g + i) * WORDS;
            if (dtype == HY__DTYPE_Q8) {
                group[j] = (vi)((vb)w[i] ^ 0x80);
            } else {
                group[j] = (vi)((vb)w[i] & 15);
                group[j + WORDS / 2] = (vi)((vb)w[i] >> 4);
            }
        }
    }
}

INLINE void lay_panel(const w_panel *to, const hy__dtype dtype, const hy__product *p, int64_t j) {
    const int64_t stride = (int64_t)hy__dtype_bytes(dtype, p->k), n_row = p->n - j;
    const char *piece = (const char *)p->b + j * stride;
    for (int64_t i = 0; i < p->k; i += SPAN, piece += quant_piece_bytes(dtype)) {
        const int64_t n = quant_span(i, p->k) / GROUP;
        if (n == PIECE && n_row >= VL)
            lay_piece(to, dtype, piece, stride, i / GROUP, PIECE, VL);
        else
            lay_piece(to, dtype, piece, stride, i / GROUP, n, n_row);
    }
}

/* c of mr rows of x and nv panels of weights. */
INLINE void many_tile(const int mr, const int nv, const hy__product *p, const x_rows *x,
                      const w_panel *w, int64_t i0, int64_t j0) {
    vf sum[MANY_MR][MANY_NV];
#pragma GCC unroll 8
    for (int m = 0; m < mr; m++)
#pragma GCC unroll 2
        for (int v = 0; v < nv; v++) sum[m][v] = (vf){0};
    for (int64_t g = 0; g < x->n_group; g++) {
        const int8_t *q = x->q + i0 * x->k + g * GROUP;
        const int64_t at = i0 * x->n_group + g;
        vi acc[MANY_MR][MANY_NV];
#pragma GCC unroll 8
        for (int m = 0; m < mr; m++)
#pragma GCC unroll 2
            for (int v = 0; v < nv; v++) acc[m][v] = (vi){0} + x->start[at + m * x->n_group];
#pragma GCC unroll 8
        for (int j = 0; j < WORDS; j++)
#pragma GCC unroll 8
            for (int m = 0; m < mr; m++) {
                int32_t word;
                memcpy(&word, q + m * x->k + 4 * j, sizeof word);
                const vb xw = (vb)((vi){0} + word);
#pragma GCC unroll 2
                for (int v = 0; v < nv; v++)
                    acc[m][v] = vi_dot_u(acc[m][v], (vb)w[v].word[g * WORDS + j], xw);
            }
#pragma GCC unroll 8
        for (int m = 0; m < mr; m++)
#pragma GCC unroll 2
            for (int v = 0; v < nv; v++)
                sum[m][v] += __builtin_convertvector(acc[m][v], vf) *
                             (w[v].scale[g] * x->scale[at + m * x->n_group]);
    }
    for (int m = 0; m < mr; m++)
        for (int v = 0; v < nv; v++) {
            const int64_t j = j0 + v * VL, left = p->n - j;
            float *c = p->c + (i0 + m) * p->ldc + j;
            if (p->accumulate) sum[m][v] += vf_load_to(c, left);
            vf_store_to(c, sum[m][v], left);
        }
}

/* All rows of x against nv panels. */
INLINE void many_rows(const int nv, const hy__product *p, const x_rows *x, const w_panel *w,
                      int64_t j) {
    int64_t i = 0;
    for (; i + MANY_MR <= p->m; i += MANY_MR) many_tile(MANY_MR, nv, p, x, w, i, j);
    for (; i + 2 <= p->m; i += 2) many_tile(2, nv, p, x, w, i, j);
    if (i < p->m) many_tile(1, nv, p, x, w, i, j);
}

static void many_block(const hy__product *p, const x_rows *x, const w_panel *w, int64_t j) {
    const int nv = p->n - j > VL ? 2 : 1;
    for (int v = 0; v < nv; v++) {
        if (p->b_quant == HY__DTYPE_Q8)
            lay_panel(&w[v], HY__DTYPE_Q8, p, j + v * VL);
        else
            lay_panel(&w[v], HY__DTYPE_Q4, p, j + v * VL);
    }
    if (nv == 2)
        many_rows(2, p, x, w, j);
    else
        many_rows(1, p, x, w, j);
}

static size_t aligned(size_t size) {
    return (size + HY__ALIGN - 1) / HY__ALIGN * HY__ALIGN;
}

static void many(hy__backend *be, const hy__product *p) {
    const int64_t n_group = p->k / GROUP;
    const size_t size_q = aligned((size_t)(p->m * p->k));
    const size_t size_s = aligned((size_t)(p->m * n_group) * sizeof(float));
    const size_t size_panel = (size_t)(n_group * (WORDS + 1)) * sizeof(vi);
    const size_t size_w = size_panel * MANY_NV * (size_t)be->n_thread;
    char *scratch = hy__scratch_all(be, size_q + 2 * size_s + size_w);
    if (!scratch) return;
    const x_rows x = {.q = (int8_t *)scratch,
                      .scale = (float *)(scratch + size_q),
                      .start = (int32_t *)(scratch + size_q + size_s),
                      .k = p->k,
                      .n_group = n_group};
    char *panels = scratch + size_q + 2 * size_s;
    round_rows(be, &x, p);
    const int parts = threads_for(be, p->n * p->k);
#pragma omp parallel for num_threads(parts) schedule(static, 1) if (parts > 1)
    for (int i = 0; i < parts; i++) {
        const int64_t from = part_at(p->n, i, parts, BLOCK),
                      to = part_at(p->n, i + 1, parts, BLOCK);
        w_panel w[MANY_NV];
        for (int v = 0; v < MANY_NV; v++) {
            w[v].word = (vi *)(panels + size_panel * (size_t)(i * MANY_NV + v));
            w[v].scale = (vf *)(w[v].word + n_group * WORDS);
        }
        for (int64_t j = from; j < to; j += BLOCK) many_block(p, &x, w, j);
    }
}

#endif

/* Where the other way to multiply is as fast (one core of a Zen 5, 3352 x 768). */
void HY__FAST(hy__fast_quant)(hy__quant_kernels *k) {
#if HY__VL == 16 && defined(__AVX512VNNI__)
    *k = (hy__quant_kernels){.few = few, .few_rows = 24, .many = many};
#else
    *k = (hy__quant_kernels){.few = few, .few_rows = HY__VL > 4 ? 128 : 8};
#endif
}
