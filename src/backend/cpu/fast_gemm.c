/* fast_gemm.c: the fast dense products: which way each one goes.
 *
 *   quantised in memory                               fast_quant.c; without products of bytes many
 *                                                     rows are numbers again, oneDNN in fp32
 *   few rows times rows of weights                    own kernel, bound by reading the weights once
 *   bf16 wanted or in memory, and the CPU has it      operands rounded into scratch, oneDNN in bf16
 *   bf16 in memory, and the CPU has not               weights widened tile by tile, oneDNN in fp32
 *   otherwise                                         oneDNN in fp32
 * group_prefetch is the reference's. */
#include "backend/cpu/fast_quant.h"

enum {
    /* Up to so many rows are few: then oneDNN in fp32, or in bf16 from weights that lie in bf16, is
     * faster (one core of a Zen 5, weights of 0.6 to 200 MB). */
    GEMV_ROWS = 8,
    GEMV_ROWS_BF16 = 4,
    GEMV_MR = 4,                        /* rows of A at a time */
    GEMV_CHAINS = HY__VL == 16 ? 4 : 2, /* sums of an element that are added at the end */
    GEMV_BLOCK = 16,                    /* rows of weights */
    GEMV_AHEAD = 8192,                  /* bytes of weights that are fetched before they are used */
    WIDEN_BYTES = 1024 * 1024,          /* of a widened tile: half of an L2 cache */
    GROUP_ROWS = 256,
    GROUP_UNIT = 32, /* see some_rows */
};

static void run_dnnl(hy__backend *be, const hy__product *p) {
    const int code = hy__dnnl_gemm(((hy__cpu *)be->self)->dnnl, p);
    if (code != 0 && be->error.status == HY_OK) {
        (void)hy__fail(
            &be->error, HY_E_INTERNAL,
            "oneDNN could not multiply [%lld,%lld] by [%lld,%lld]: it returned status %d",
            (long long)p->m, (long long)p->k, (long long)p->k, (long long)p->n, code);
    }
}

/* ---- few rows -------------------------------------------------------------------------------- */

INLINE vf load_weights(const void *w, bool bf16, int64_t i) {
    return bf16 ? vf_load_bf16((const uint16_t *)w + i) : vf_load((const float *)w + i);
}
INLINE float weight(const void *w, bool bf16, int64_t i) {
    return bf16 ? hy__bf16_to_f32(((const uint16_t *)w)[i]) : ((const float *)w)[i];
}

/* c[i,j] for mr rows of A and row j of the weights, which is taken from end to end as it lies in
 * memory: a machine reads one long run faster than several short ones. Each element is the same
 * sum in the same order, whatever mr is: a row's result does not depend on its neighbours. */
INLINE void gemv_row(const int mr, const bool bf16, const hy__product *p, int64_t i0, int64_t j) {
    const int64_t size = bf16 ? 2 : 4, step = GEMV_CHAINS * VL, whole = p->k / VL * VL;
    const float *a = (const float *)p->a + i0 * p->lda;
    const char *w = (const char *)p->b + j * p->ldb * size;
    vf acc[GEMV_MR][GEMV_CHAINS] = {{{0}}};
    int64_t q = 0;
    for (; q + step <= whole; q += step) {
#pragma GCC unroll 4
        for (int64_t line = 0; line < step * size; line += HY__ALIGN)
            __builtin_prefetch(w + q * size + line + GEMV_AHEAD);
#pragma GCC unroll 4
        for (int v = 0; v < GEMV_CHAINS; v++) {
            const vf x = load_weights(w, bf16, q + v * VL);
#pragma GCC unroll 4
            for (int i = 0; i < mr; i++) acc[i][v] += x * vf_load(a + i * p->lda + q + v * VL);
        }
    }
    for (; q < whole; q += VL)
#pragma GCC unroll 4
        for (int i = 0; i < mr; i++)
            acc[i][0] += load_weights(w, bf16, q) * vf_load(a + i * p->lda + q);
#pragma GCC unroll 4
    for (int i = 0; i < mr; i++) {
        vf all = acc[i][0];
#pragma GCC unroll 4
        for (int v = 1; v < GEMV_CHAINS; v++) all += acc[i][v];
        float sum = vf_sum(all);
        for (q = whole; q < p->k; q++) sum += a[i * p->lda + q] * weight(w, bf16, q);
        float *c = &p->c[(i0 + i) * p->ldc + j];
        *c = p->accumulate ? *c + sum : sum;
    }
}

/* Rows of A against rows [from, to) of weights, GEMV_BLOCK at a time: the second pass over them
 * finds them in the cache. */
INLINE void gemv_columns(const bool bf16, const hy__product *p, int64_t from, int64_t to) {
    for (int64_t j0 = from; j0 < to; j0 += GEMV_BLOCK) {
        const int64_t end = j0 + GEMV_BLOCK < to ? j0 + GEMV_BLOCK : to;
        int64_t i = 0;
        for (; i + 4 <= p->m; i += 4)
            for (int64_t j = j0; j < end; j++) gemv_row(4, bf16, p, i, j);
        for (; i + 2 <= p->m; i += 2)
            for (int64_t j = j0; j < end; j++) gemv_row(2, bf16, p, i, j);
        for (; i < p->m; i++)
            for (int64_t j = j0; j < end; j++) gemv_row(1, bf16, p, i, j);
    }
}

static void gemv(hy__backend *be, const hy__product *p) {
    const int parts = threads_for(be, p->n * p->k);
#pragma omp parallel for num_threads(parts) schedule(static, 1) if (parts > 1)
    for (int i = 0; i < parts; i++) {
        const int64_t from = part_at(p->n, i, parts, HY__ALIGN / (int64_t)sizeof(float));
        const int64_t to = part_at(p->n, i + 1, parts, HY__ALIGN / (int64_t)sizeof(float));
        if (p->b_bf16)
            gemv_columns(true, p, from, to);
        else
            gemv_columns(false, p, from, to);
    }
}

/* ---- bf16 ------------------------------------------------------------------------------------ */

/* Converts rows × cols between fp32 and bf16 into a dense matrix. */
static void convert(hy__backend *be, void *dst, const void *src, bool to_bf16, int64_t rows,
                    int64_t cols, int64_t ld) {
    const int n_thread = threads_for(be, rows * cols);
#pragma omp parallel for num_threads(n_thread) schedule(static) if (n_thread > 1)
    for (int64_t r = 0; r < rows; r++) {
        if (to_bf16)
            vec_to_bf16((uint16_t *)dst + r * cols, (const float *)src + r * ld, cols);
        else
            vec_from_bf16((float *)dst + r * cols, (const uint16_t *)src + r * ld, cols);
    }
}

/* Both operands in bf16: those that are not are rounded into scratch. */
static void product_bf16(hy__backend *be, const hy__product *p) {
    hy__product q = *p;
    const size_t size_a = hy__tensor_bytes(HY__DTYPE_BF16, p->a_bf16 ? 0 : p->m * p->k);
    const size_t size_b = hy__tensor_bytes(HY__DTYPE_BF16, p->b_bf16 ? 0 : p->k * p->n);
    char *scratch = hy__scratch_all(be, size_a + size_b);
    if (!scratch) return;
    if (!p->a_bf16) {
        q.lda = p->ta ? p->m : p->k;
        convert(be, scratch, p->a, true, p->ta ? p->k : p->m, q.lda, p->lda);
        q.a = scratch;
    }
    if (!p->b_bf16) {
        q.ldb = p->tb ? p->k : p->n;
        convert(be, scratch + size_a, p->b, true, p->tb ? p->n : p->k, q.ldb, p->ldb);
        q.b = scratch + size_a;
    }
    q.a_bf16 = q.b_bf16 = true;
    run_dnnl(be, &q);
}

/* Columns of a tile of fp32 numbers with k rows. */
static int64_t tile_columns(int64_t k) {
    const int64_t most = WIDEN_BYTES / (int64_t)sizeof(float) / k, unit = HY__ALIGN;
    return most < unit ? unit : most / unit * unit;
}

/* B is bf16 and stays so in memory: tiles of its columns (rows when tb) are widened one by one. */
static void product_widened(hy__backend *be, const hy__product *p) {
    const int64_t tile = tile_columns(p->k);
    float *scratch = hy__scratch_all(be, hy__tensor_bytes(HY__DTYPE_F32, p->k * tile));
    if (!scratch) return;
    for (int64_t j = 0; j < p->n; j += tile) {
        hy__product q = *p;
        q.n = p->n - j < tile ? p->n - j : tile;
        q.c = p->c + j;
        q.ldb = p->tb ? p->k : q.n;
        convert(be, scratch, (const uint16_t *)p->b + j * (p->tb ? p->ldb : 1), false,
                p->tb ? q.n : p->k, q.ldb, p->ldb);
        q.b = scratch;
        q.b_bf16 = false;
        run_dnnl(be, &q);
    }
}

/* ---- quantised weights -----------------------------------------------------------------------
 * Without products of bytes, many rows of A are rounded as fast_quant.c rounds them, and both
 * operands go to oneDNN as the numbers that they stand for. */

static void round_activations(hy__backend *be, float *dst, const hy__product *p) {
    const int n_thread = threads_for(be, p->m * p->k);
#pragma omp parallel for num_threads(n_thread) schedule(static) if (n_thread > 1)
    for (int64_t m = 0; m < p->m; m++)
        for (int64_t i = 0; i < p->k; i += HY__QUANT_GROUP) {
            int8_t q[HY__QUANT_GROUP];
            int32_t sum;
            const float scale = quant_round(q, &sum, (const float *)p->a + m * p->lda + i);
            quant_scale(dst + m * p->k + i, q, scale, HY__QUANT_GROUP);
        }
}

/* Rows of B as numbers. */
static void unpack(hy__backend *be, float *dst, const hy__product *p, int64_t first,
                   int64_t n_row) {
    const int n_thread = threads_for(be, n_row * p->k);
#pragma omp parallel for num_threads(n_thread) schedule(static) if (n_thread > 1)
    for (int64_t r = 0; r < n_row; r++) {
        const char *row =
            (const char *)p->b + (size_t)(first + r) * hy__dtype_bytes(p->b_quant, p->k);
        if (p->b_quant == HY__DTYPE_Q8)
            quant_row(dst + r * p->k, row, HY__DTYPE_Q8, p->k);
        else
            quant_row(dst + r * p->k, row, HY__DTYPE_Q4, p->k);
    }
}

static void product_unpacked(hy__backend *be, const hy__product *p) {
    const int64_t tile = tile_columns(p->k);
    const size_t size_a = hy__tensor_bytes(HY__DTYPE_F32, p->m * p->k);
    float *a = hy__scratch_all(be, size_a + hy__tensor_bytes(HY__DTYPE_F32, p->k * tile));
    if (!a) return;
    float *b = a + size_a / sizeof *a;
    round_activations(be, a, p);
    hy__product q = *p;
    q.a = a, q.lda = p->k, q.b = b, q.ldb = p->k, q.b_quant = HY__DTYPE_F32;
    for (int64_t j = 0; j < p->n; j += tile) {
        q.n = p->n - j < tile ? p->n - j : tile;
        q.c = p->c + j;
        unpack(be, b, p, j, q.n);
        run_dnnl(be, &q);
    }
}

static void product_quant(hy__backend *be, const hy__product *p) {
    const hy__quant_kernels *quant = &((const hy__cpu *)be->self)->quant;
    if (p->m <= quant->few_rows)
        quant->few(be, p);
    else if (quant->many)
        quant->many(be, p);
    else
        product_unpacked(be, p);
}

/* ---- the kernels ----------------------------------------------------------------------------- */

static void matrix_product(hy__backend *be, const hy__product *p, hy__prec prec) {
    const bool bf16 = prec == HY__PREC_BF16 || p->a_bf16 || p->b_bf16;
    const int64_t few = p->b_bf16 && be->has_bf16 ? GEMV_ROWS_BF16 : GEMV_ROWS;
    if (hy__dtype_is_quant(p->b_quant))
        product_quant(be, p);
    else if (p->m <= few && p->tb && !p->ta && !p->a_bf16)
        gemv(be, p);
    else if (bf16 && be->has_bf16)
        product_bf16(be, p);
    else if (p->b_bf16)
        product_widened(be, p);
    else
        run_dnnl(be, p);
}

static hy__dtype quant_of(hy__tensor w) {
    return hy__dtype_is_quant(w.dtype) ? w.dtype : HY__DTYPE_F32;
}

static void fast_gemm(hy__backend *be, const hy__gemm_args *a) {
    const hy__product p = {
        .a = hy__ptr(a->a),
        .b = hy__ptr(a->b),
        .c = hy__ptr(a->c),
        .a_bf16 = a->a.dtype == HY__DTYPE_BF16,
        .b_bf16 = a->b.dtype == HY__DTYPE_BF16,
        .b_quant = quant_of(a->b),
        .m = a->m,
        .n = a->n,
        .k = a->k,
        .ta = a->ta,
        .tb = a->tb,
        .accumulate = a->accumulate,
        .lda = a->ta ? a->m : a->k,
        .ldb = a->tb ? a->k : a->n,
        .ldc = a->n,
    };
    HY_ASSERT(!p.a_bf16 || be->has_bf16);
    HY_ASSERT(p.b_quant == HY__DTYPE_F32 || (p.tb && !p.ta && !p.a_bf16));
    matrix_product(be, &p, a->prec);
}

/* Rows of a group's next product: oneDNN keeps code and scratch for every shape, so that groups of
 * all lengths are made of a few. */
static int64_t some_rows(int64_t left) {
    if (left >= GROUP_ROWS) return GROUP_ROWS;
    return left >= GROUP_UNIT ? left / GROUP_UNIT * GROUP_UNIT : left;
}

/* Rows [row, row + n_row) of group e. */
static void group_product(hy__backend *be, const hy__group_gemm_args *a, int64_t e, int64_t row,
                          int64_t n_row) {
    const bool data = a->kind == HY__GROUP_GEMM_DATA;
    const int64_t width_c = data ? a->k : a->n, width_a = data ? a->n : a->k;
    float *c = (float *)hy__ptr(a->c) + row * width_c;
    const float *x = (const float *)hy__ptr(a->a) + row * width_a;
    void *w = hy__ptr(hy__at(a->w, e * a->n * a->k));
    hy__product p = {.c = c,
                     .a = x,
                     .b = w,
                     .b_bf16 = a->w.dtype == HY__DTYPE_BF16,
                     .b_quant = quant_of(a->w),
                     .m = n_row,
                     .n = width_c,
                     .k = width_a,
                     .ldc = width_c,
                     .lda = width_a,
                     .ldb = a->k,
                     .tb = !data};
    if (a->kind == HY__GROUP_GEMM_WEIGHT)
        p = (hy__product){.c = w,
                          .a = c,
                          .b = x,
                          .m = a->n,
                          .n = a->k,
                          .k = n_row,
                          .ldc = a->k,
                          .lda = a->n,
                          .ldb = a->k,
                          .ta = true,
                          .accumulate = true};
    matrix_product(be, &p, a->prec);
}

static void fast_group_gemm(hy__backend *be, const hy__group_gemm_args *a) {
    const int32_t *offset = hy__ptr(a->offset);
    for (int64_t e = 0; e < a->n_group; e++) {
        const int64_t end = offset[e + 1];
        for (int64_t row = offset[e], n; row < end; row += n) {
            n = some_rows(end - row);
            group_product(be, a, e, row, n);
        }
        be->counters.expert_rows += end - offset[e];
        be->counters.experts_read += end > offset[e];
    }
}

void HY__FAST(hy__fast_gemm)(hy__kernels *k) {
    k->gemm = fast_gemm;
    k->group_gemm = fast_group_gemm;
}
