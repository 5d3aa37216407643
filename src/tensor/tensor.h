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
    HY__DTYPE_BF16 = 2, /* weights and caches */
    HY__DTYPE_I32 = 3,
    HY__DTYPE_Q8 = 4, /* weights only: rows of groups of 8 or 4 bits, quant.h */
    HY__DTYPE_Q4 = 5,
} hy__dtype;

/* Memory of one backend. `data` is a host address on CPU backends, a device address on a GPU, and
 * NULL on a backend without storage. Owner: whoever called backend->buffer_new, or mapped the file
 * that it stands for. */
typedef struct hy__buffer {
    void *data;
    size_t size; /* bytes */
    bool mapped; /* data are a file's, which the system reads when they are first used */
} hy__buffer;

/* A tensor handle; buf == NULL is "absent" and is how an optional argument is left out. */
typedef struct hy__tensor {
    const hy__buffer *buf;
    size_t off; /* bytes, a multiple of 64; in a mapped file, of the element's size */
    hy__dtype dtype;
} hy__tensor;

enum { HY__ALIGN = 64 }; /* bytes; one cache line, one AVX-512 vector */

enum { HY__QUANT_GROUP = 32 }; /* elements of a quantised row that share a scale */

static inline bool hy__dtype_is_quant(hy__dtype dtype) {
    return dtype == HY__DTYPE_Q8 || dtype == HY__DTYPE_Q4;
}

/* Bytes of `n` elements, of a quantised tensor whole groups. */
static inline size_t hy__dtype_bytes(hy__dtype dtype, int64_t n) {
    enum { SCALE = 2 };
    const size_t count = (size_t)n;
    switch (dtype) {
    case HY__DTYPE_F64:
        return count * 8;
    case HY__DTYPE_BF16:
        return count * 2;
    case HY__DTYPE_Q8:
        return count / HY__QUANT_GROUP * (SCALE + HY__QUANT_GROUP);
    case HY__DTYPE_Q4:
        return count / HY__QUANT_GROUP * (SCALE + HY__QUANT_GROUP / 2);
    case HY__DTYPE_F32:
    case HY__DTYPE_I32:
        break;
    }
    return count * 4;
}

/* As people and options call it. */
static inline const char *hy__dtype_name(hy__dtype dtype) {
    switch (dtype) {
    case HY__DTYPE_F64:
        return "fp64";
    case HY__DTYPE_BF16:
        return "bf16";
    case HY__DTYPE_Q8:
        return "int8";
    case HY__DTYPE_Q4:
        return "int4";
    case HY__DTYPE_I32:
        return "int32";
    case HY__DTYPE_F32:
        break;
    }
    return "fp32";
}

/* Bytes of one element; 0 for a quantised one, which has no bytes of its own. */
static inline size_t hy__dtype_size(hy__dtype dtype) {
    return hy__dtype_bytes(dtype, 1);
}

static inline bool hy__present(hy__tensor t) {
    return t.buf != NULL;
}

/* The same memory from element `n` on, of a quantised tensor the first of a row. */
static inline hy__tensor hy__at(hy__tensor t, int64_t n) {
    if (t.buf) t.off += hy__dtype_bytes(t.dtype, n);
    return t;
}

/* Bytes of `n` elements, rounded up so that the next tensor is aligned. */
static inline size_t hy__tensor_bytes(hy__dtype dtype, int64_t n) {
    return (hy__dtype_bytes(dtype, n) + HY__ALIGN - 1) / HY__ALIGN * HY__ALIGN;
}

/* One sequence's piece of a batch. */
typedef struct hy__seq {
    int64_t start;  /* first row in the batch */
    int64_t len;    /* tokens in this piece, >= 1 */
    int64_t pos;    /* absolute position of its first token; 0 = a fresh sequence */
    int64_t domain; /* where its text is from: for statistics alone */
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
