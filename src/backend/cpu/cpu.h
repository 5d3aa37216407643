/* cpu.h: what the CPU backends share: element access and the kernel tables by instruction set.
 *
 * ref_*.c is compiled twice (HY__REF_REAL 32 and 64), fast_*.c once per instruction set (HY__ISA).
 * Each fills its part of a table by a function that isa.c calls. */
#ifndef HY_BACKEND_CPU_CPU_H
#define HY_BACKEND_CPU_CPU_H

#include "backend/backend.h"
#include "base/bf16.h"

#include <string.h>

#define HY__CAT_(a, b) a##_##b
#define HY__CAT(a, b)  HY__CAT_(a, b)

/* The address of a tensor's first element; NULL when absent. */
static inline void *hy__ptr(hy__tensor t) {
    return t.buf ? (char *)t.buf->data + t.off : NULL;
}
static inline void *hy__ptr_of(const hy__tensor *array, int64_t i) {
    return array ? hy__ptr(array[i]) : NULL;
}

/* Family fillers: ref_<family>.c defines hy__ref_<family>_f32 / _f64; fast_<family>.c defines
 * hy__fast_<family>_<isa>. Each sets the table entries of its kernels. */
#define HY__FAMILIES(X)                                                                            \
    X(gemm) X(norm) X(conv) X(ssd) X(attn) X(experts) X(delta) X(pkm) X(loss) X(muon)

#define HY__DECLARE_FAMILY(family)                                                                 \
    void hy__ref_##family##_f32(hy__kernels *k);                                                   \
    void hy__ref_##family##_f64(hy__kernels *k);                                                   \
    void hy__fast_##family##_generic(hy__kernels *k);                                              \
    void hy__fast_##family##_avx2(hy__kernels *k);                                                 \
    void hy__fast_##family##_avx512(hy__kernels *k);
HY__FAMILIES(HY__DECLARE_FAMILY)
#undef HY__DECLARE_FAMILY

/* C[m,n] = op(A)·op(B) (+ C), over host memory; C is fp32, each operand fp32 or bf16, b also
 * quantised. Row distances are given. */
typedef struct hy__product {
    float *c;
    const void *a, *b;
    bool a_bf16, b_bf16;
    hy__dtype b_quant; /* Q8 or Q4 when b is quantised: then tb and dense; else F32 */
    int64_t m, n, k, ldc, lda, ldb;
    bool ta, tb, accumulate;
} hy__product;

/* gemm_dnnl.c, the one file that knows oneDNN (2.x and 3.x). It takes operands of one dtype, both
 * fp32 or, where hy__dnnl_has_bf16, both bf16; returns 0 or oneDNN's status. */
typedef struct hy__dnnl hy__dnnl;
int hy__dnnl_gemm(hy__dnnl *d, const hy__product *p);
hy__dnnl *hy__dnnl_new(int n_thread); /* NULL: out of memory */
void hy__dnnl_free(hy__dnnl *d);
bool hy__dnnl_has_bf16(void); /* the CPU multiplies bf16 */

/* Products with quantised b (fast_quant.c): of few rows of a, up to `few_rows`, and of any number,
 * which only an instruction set with products of bytes has (else NULL). */
typedef struct hy__quant_kernels {
    int64_t few_rows;
    void (*few)(hy__backend *be, const hy__product *p);
    void (*many)(hy__backend *be, const hy__product *p);
} hy__quant_kernels;
void hy__fast_quant_generic(hy__quant_kernels *k);
void hy__fast_quant_avx2(hy__quant_kernels *k);
void hy__fast_quant_avx512(hy__quant_kernels *k);
void hy__fast_quant_avx512vnni(hy__quant_kernels *k);

/* Per-thread scratch of a CPU backend: at least `size` bytes, aligned, kept between calls; grows
 * outside of parallel regions only. Call before the region with the size each thread needs, then
 * address thread i's part. NULL without memory: the kernel then returns, and hy__backend_check
 * tells. */
void *hy__scratch(hy__backend *be, size_t size_per_thread);
static inline void *hy__scratch_of(void *scratch, size_t size_per_thread, int thread) {
    return (char *)scratch + (size_t)thread * size_per_thread;
}

/* The same of `size` bytes in all, for one use by the whole kernel. */
static inline void *hy__scratch_all(hy__backend *be, size_t size) {
    const size_t each = (size + (size_t)be->n_thread - 1) / (size_t)be->n_thread;
    return hy__scratch(be, (each + HY__ALIGN - 1) / HY__ALIGN * HY__ALIGN);
}

/* The data behind hy__backend.self of the CPU backends (isa.c owns it). */
typedef struct hy__cpu {
    hy__kernels kernels;     /* the table as it was opened */
    hy__quant_kernels quant; /* empty on ref backends */
    hy__dnnl *dnnl;          /* NULL on ref backends */
    void *scratch;
    size_t scratch_size; /* bytes in all */
} hy__cpu;

#endif
