/* ref_gemm.c: the naive dense products, gemm and group_gemm.
 *
 * Sums are taken in double, quantised weights as what they stand for. With prec BF16 both operands
 * are rounded to bf16 first, which is what a machine that multiplies bf16 does; a backend without
 * such products may keep more digits. */
#include "backend/cpu/ref.h"

#include "base/file.h"

/* Element [row, col] of an operand, as the precision of the product sees it. */
static double operand(hy__tensor t, int64_t row, int64_t col, int64_t ld, hy__prec prec) {
    const real x = ref_weight(t, row, col, ld);
    return prec == HY__PREC_BF16 ? (double)hy__bf16_to_f32(hy__f32_to_bf16((float)x)) : (double)x;
}

/* C[i,j] = Σ_p op(A)[i,p]·op(B)[p,j] */
static void ref_gemm(hy__backend *be, const hy__gemm_args *a) {
    (void)be;
    const int64_t lda = a->ta ? a->m : a->k, ldb = a->tb ? a->k : a->n;
    real *c = hy__ptr(a->c);
    for (int64_t i = 0; i < a->m; i++) {
        for (int64_t j = 0; j < a->n; j++) {
            double sum = a->accumulate ? (double)c[i * a->n + j] : 0;
            for (int64_t p = 0; p < a->k; p++)
                sum += operand(a->a, a->ta ? p : i, a->ta ? i : p, lda, a->prec) *
                       operand(a->b, a->tb ? j : p, a->tb ? p : j, ldb, a->prec);
            c[i * a->n + j] = (real)sum;
        }
    }
}

/* One product per group that has rows: the three kinds are gemm with other operands. */
static void ref_group_gemm(hy__backend *be, const hy__group_gemm_args *a) {
    const int32_t *offset = hy__ptr(a->offset);
    for (int64_t e = 0; e < a->n_group; e++) {
        const int64_t row = offset[e], n_row = offset[e + 1] - row;
        if (n_row == 0) continue;
        const hy__tensor c = hy__at(a->c, row * (a->kind == HY__GROUP_GEMM_DATA ? a->k : a->n));
        const hy__tensor in = hy__at(a->a, row * (a->kind == HY__GROUP_GEMM_DATA ? a->n : a->k));
        const hy__tensor w = hy__at(a->w, e * a->n * a->k);
        hy__gemm_args g = {.prec = a->prec};
        switch (a->kind) {
        case HY__GROUP_GEMM_FORWARD:
            g.c = c, g.a = in, g.b = w, g.m = n_row, g.n = a->n, g.k = a->k, g.tb = true;
            break;
        case HY__GROUP_GEMM_DATA:
            g.c = c, g.a = in, g.b = w, g.m = n_row, g.n = a->k, g.k = a->n;
            break;
        case HY__GROUP_GEMM_WEIGHT:
            g.c = w, g.a = c, g.b = in, g.m = a->n, g.n = a->k, g.k = n_row, g.ta = true;
            g.accumulate = true;
            break;
        }
        ref_gemm(be, &g);
        be->counters.expert_rows += n_row;
        be->counters.experts_read++;
    }
}

static void group_prefetch(hy__backend *be, const hy__group_gemm_args *a) {
    (void)be;
    if (!a->w.buf->mapped) return;
    const int32_t *offset = hy__ptr(a->offset);
    const unsigned char *w = hy__ptr(a->w);
    const size_t each = hy__dtype_bytes(a->w.dtype, a->n * a->k);
    for (int64_t e = 0; e < a->n_group; e++)
        if (offset[e + 1] > offset[e]) hy__map_prefetch(w + (size_t)e * each, each);
}

void HY__REF(hy__ref_gemm)(hy__kernels *k) {
    k->gemm = ref_gemm;
    k->group_gemm = ref_group_gemm;
    k->group_prefetch = group_prefetch;
}
