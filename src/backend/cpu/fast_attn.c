/* fast_attn.c: the fast attn kernels. */
#include "backend/cpu/simd.h"

void HY__FAST(hy__fast_attn)(hy__kernels *k) { (void)k; }
