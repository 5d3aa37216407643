/* count_kernels.h: what count.c and count_kernels.c share. */
#ifndef HY_BACKEND_COUNT_COUNT_KERNELS_H
#define HY_BACKEND_COUNT_COUNT_KERNELS_H

#include "backend/count/count.h"

typedef struct count_buffer {
    const hy__buffer *of; /* the address that handles carry */
    double bytes;
} count_buffer;

/* hy__backend.self */
typedef struct count {
    double flops;
    count_buffer *buf; /* [n_buf] owned */
    int64_t n_buf;
} count;

/* Adds n elements of a tensor to what its buffer moved; absent tensors move nothing. */
void hy__count_touch(hy__backend *be, hy__tensor t, double n);

void hy__count_fill(hy__kernels *k);

#endif
