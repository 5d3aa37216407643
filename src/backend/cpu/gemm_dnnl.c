/* gemm_dnnl.c: dense products by oneDNN; the one file that knows its C API (2.x and 3.x). */
#include "backend/cpu/cpu.h"

#include <dnnl.h>
#include <stdlib.h>

struct hy__dnnl {
    int n_thread;
};

hy__dnnl *hy__dnnl_new(int n_thread) {
    hy__dnnl *d = calloc(1, sizeof *d);
    if (d) d->n_thread = n_thread;
    return d;
}

void hy__dnnl_free(hy__dnnl *d) { free(d); }

bool hy__dnnl_has_bf16(void) { return false; }
