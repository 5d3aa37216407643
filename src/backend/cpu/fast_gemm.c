/* fast_gemm.c: the fast gemm kernels. */
#include "backend/cpu/simd.h"

void HY__FAST(hy__fast_gemm)(hy__kernels *k) { (void)k; }
