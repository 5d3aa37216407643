/* fast_loss.c: the fast loss kernels. */
#include "backend/cpu/simd.h"

void HY__FAST(hy__fast_loss)(hy__kernels *k) { (void)k; }
