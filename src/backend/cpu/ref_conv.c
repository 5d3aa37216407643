/* ref_conv.c: the naive conv kernels. */
#include "backend/cpu/ref.h"

void HY__REF(hy__ref_conv)(hy__kernels *k) { (void)k; }
