/* ref_loss.c: the naive loss kernels. */
#include "backend/cpu/ref.h"

void HY__REF(hy__ref_loss)(hy__kernels *k) { (void)k; }
