/* tensor.h: handles to memory that a backend owns, and how a batch of sequences lies in it.
 *
 * A tensor is a buffer plus an offset plus a dtype; its shape is said by the kernel that takes it.
 * Only kernels read or write elements. Everything above passes handles.
 *
 * A batch is ragged: the tokens of all its sequences lie one after another in n_row rows, and
 * `seq` says where each sequence starts, how long its piece is and at which position it stands. */
#ifndef HY_TENSOR_TENSOR_H
#define HY_TENSOR_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum hy__dtype {
    HY__DTYPE_F32 = 0,
    HY__DTYPE_F64 = 1,  /* the reference's real numbers */
    HY__DTYPE_BF16 = 2, /* weights only */
    HY__DTYPE_I32 = 3,
} hy__dtype;

/* Memory of one backend. `data` is a host address on CPU backends, a device address on a GPU, and
 * NULL on a backend without storage. Owner: whoever called backend->buffer_new, or mapped the file
 * that it stands for. */
typedef struct hy__buffer {
    void *data;
    size_t size; /* bytes */
} hy__buffer;

/* A tensor handle; buf == NULL is "absent" and is how an optional argument is left out. */
typedef struct hy__tensor {
    const hy__buffer *buf;
    size_t off; /* bytes, a multiple of 64; in a mapped file, of the element's size */
    hy__dtype dtype;
} hy__tensor;

enum { HY__ALIGN = 64 }; /* bytes; one cache line, one AVX-512 vector */

static inline size_t hy__dtype_size(hy__dtype dtype) {
    switch (dtype) {
    case HY__DTYPE_F64:
        return 8;
    case HY__DTYPE_BF16:
        return 2;
    case HY__DTYPE_F32:
    case HY__DTYPE_I32:
        break;
    }
    return 4;
}

static inline bool hy__present(hy__tensor t) {
    return t.buf != NULL;
}

/* The same memory from element `n` on. */
static inline hy__tensor hy__at(hy__tensor t, int64_t n) {
    if (t.buf) t.off += (size_t)n * hy__dtype_size(t.dtype);
    return t;
}

/* Bytes of `n` elements, rounded up so that the next tensor is aligned. */
static inline size_t hy__tensor_bytes(hy__dtype dtype, int64_t n) {
    return ((size_t)n * hy__dtype_size(dtype) + HY__ALIGN - 1) / HY__ALIGN * HY__ALIGN;
}

/* One sequence's piece of a batch. */
typedef struct hy__seq {
    int64_t start; /* first row in the batch */
    int64_t len;   /* tokens in this piece, >= 1 */
    int64_t pos;   /* absolute position of its first token; 0 = a fresh sequence */
} hy__seq;

/* The rows of a batch: the sequences' pieces, in order, without holes. */
typedef struct hy__rows {
    int64_t n_row; /* sum of len */
    int64_t n_seq;
    const hy__seq *seq; /* [n_seq] */
} hy__rows;

/* How many absolute-aligned units of `unit` tokens the piece touches. */
static inline int64_t hy__seq_units(const hy__seq *s, int64_t unit) {
    return (s->pos % unit + s->len + unit - 1) / unit;
}

/* The same, summed over a batch. Units are numbered through the batch in order of sequences. */
static inline int64_t hy__rows_units(const hy__rows *r, int64_t unit) {
    int64_t n = 0;
    for (int64_t i = 0; i < r->n_seq; i++) n += hy__seq_units(&r->seq[i], unit);
    return n;
}

#endif
