/* ref_gemm.c: the naive gemm kernels. */
#include "backend/cpu/ref.h"

void HY__REF(hy__ref_gemm)(hy__kernels *k) { (void)k; }
