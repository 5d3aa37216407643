/* fast_quant.h: quantised rows (tensor/quant.h) as floats, for the kernels that read weights. */
#ifndef HY_BACKEND_CPU_FAST_QUANT_H
#define HY_BACKEND_CPU_FAST_QUANT_H

#include "backend/cpu/simd.h"
#include "tensor/quant.h"

typedef int8_t vb __attribute__((vector_size(HY__VL), aligned(1), may_alias));

/* dst[i] = scale·q[i], i < n, a multiple of VL */
INLINE void quant_scale(float *dst, const int8_t *q, float scale, int64_t n) {
    for (int64_t i = 0; i < n; i += VL) {
        const vi x = __builtin_convertvector(*(const vb *)(q + i), vi);
        vf_store(dst + i, __builtin_convertvector(x, vf) * scale);
    }
}

/* The words of a piece of n groups, group after group. */
INLINE void quant_gather(int8_t *dst, const char *words, int64_t n, const int n_word) {
    for (int64_t g = 0; g < n; g++)
#pragma GCC unroll 8
        for (int64_t j = 0; j < n_word; j++)
            memcpy(dst + (g * n_word + j) * 4, words + (j * n + g) * 4, 4);
}

/* A piece of n groups as floats. */
INLINE void quant_piece(float *dst, const char *piece, const hy__dtype dtype, int64_t n) {
    enum { GROUP = HY__QUANT_GROUP, HALF = GROUP / 2 };
    const char *words = piece + n * (int64_t)sizeof(uint16_t);
    int8_t q[HY__QUANT_SPAN], pair[HY__QUANT_SPAN / 2];
    if (dtype == HY__DTYPE_Q8) {
        quant_gather(q, words, n, HY__QUANT_WORDS);
    } else {
        quant_gather(pair, words, n, HY__QUANT_WORDS / 2);
        for (int64_t g = 0; g < n; g++)
            for (int64_t i = 0; i < HALF; i++) {
                const uint8_t byte = (uint8_t)pair[g * HALF + i];
                q[g * GROUP + i] = (int8_t)((byte & 15) - HY__QUANT_ZERO);
                q[g * GROUP + HALF + i] = (int8_t)((byte >> 4) - HY__QUANT_ZERO);
            }
    }
    for (int64_t g = 0; g < n; g++) {
        uint16_t scale;
        memcpy(&scale, piece + g * (int64_t)sizeof scale, sizeof scale);
        quant_scale(dst + g * GROUP, q + g * GROUP, hy__bf16_to_f32(scale), GROUP);
    }
}

/* Bytes of a whole piece. */
INLINE size_t quant_piece_bytes(const hy__dtype dtype) {
    return hy__dtype_bytes(dtype, HY__QUANT_SPAN);
}

/* Numbers of the piece that begins at number i of cols. */
INLINE int64_t quant_span(int64_t i, int64_t cols) {
    return cols - i < HY__QUANT_SPAN ? cols - i : HY__QUANT_SPAN;
}

/* A row as floats, or rounded to bf16. */
INLINE void quant_row(float *dst, const char *row, const hy__dtype dtype, int64_t cols) {
    for (int64_t i = 0; i < cols; i += HY__QUANT_SPAN, row += quant_piece_bytes(dtype))
        quant_piece(dst + i, row, dtype, quant_span(i, cols) / HY__QUANT_GROUP);
}
INLINE void quant_row_bf16(uint16_t *dst, const char *row, const hy__dtype dtype, int64_t cols) {
    float x[HY__QUANT_SPAN];
    for (int64_t i = 0; i < cols; i += HY__QUANT_SPAN, row += quant_piece_bytes(dtype)) {
        const int64_t n = quant_span(i, cols);
        quant_piece(x, row, dtype, n / HY__QUANT_GROUP);
        vec_to_bf16(dst + i, x, n);
    }
}

#endif
