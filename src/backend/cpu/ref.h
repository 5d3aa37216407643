/* ref.h: what the naive reference kernels share. ref_*.c is built in float and in double. */
#ifndef HY_BACKEND_CPU_REF_H
#define HY_BACKEND_CPU_REF_H

#include "backend/cpu/cpu.h"
#include "tensor/quant.h"

#include <math.h>

#if HY__REF_REAL == 64
typedef double real;
#define HY__REF(name) HY__CAT(name, f64)
#else
typedef float real;
#define HY__REF(name) HY__CAT(name, f32)
#endif

/* The transcendental functions are taken in double and rounded, so that the reference in float has
 * no error of its own there. */
static inline real ref_sigmoid(real x) {
    return (real)(1.0 / (1.0 + exp(-(double)x)));
}
static inline real ref_silu(real x) {
    return (real)((double)x / (1.0 + exp(-(double)x)));
}
/* d SiLU(x) / dx */
static inline real ref_dsilu(real x) {
    const double s = 1.0 / (1.0 + exp(-(double)x));
    return (real)(s * (1.0 + (double)x * (1.0 - s)));
}
static inline real ref_softplus(real x) {
    return (real)((double)x > 30.0 ? (double)x : log1p(exp((double)x)));
}

/* Element i of a tensor of reals or bf16. */
static inline real ref_get(hy__tensor t, int64_t i) {
    if (t.dtype == HY__DTYPE_BF16) return (real)hy__bf16_to_f32(((const uint16_t *)hy__ptr(t))[i]);
    return ((const real *)hy__ptr(t))[i];
}

/* Element [row, col] of a matrix with the row distance ld, of weights in any dtype; quantised rows
 * are dense. */
static inline real ref_weight(hy__tensor t, int64_t row, int64_t col, int64_t ld) {
    if (!hy__dtype_is_quant(t.dtype)) return ref_get(t, row * ld + col);
    return (real)hy__quant_get(hy__ptr(hy__at(t, row * ld)), t.dtype, ld, col);
}

#endif
