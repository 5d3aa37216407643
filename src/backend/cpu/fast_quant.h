/* fast_quant.h: quantised rows (tensor/quant.h) as floats, and floats in 8 bits, for the kernels
 * that read weights. */
#ifndef HY_BACKEND_CPU_FAST_QUANT_H
#define HY_BACKEND_CPU_FAST_QUANT_H

#include "backend/cpu/simd.h"
#include "tensor/quant.h"

typedef int8_t vq __attribute__((vector_size(HY__VL), aligned(1), may_alias));

/* dst[i] = scale·q[i], i < n, a multiple of VL */
INLINE void quant_scale(float *dst, const int8_t *q, float scale, int64_t n) {
    for (int64_t i = 0; i < n; i += VL) {
        const vi x = __builtin_convertvector(*(const vq *)(q + i), vi);
        vf_store(dst + i, __builtin_convertvector(x, vf) * scale);
    }
}

/* The scales of n <= VL groups of a piece from group `lane` on; the rest is zero. */
INLINE vf quant_scales(const char *piece, int64_t lane, int64_t n) {
    const char *at = piece + lane * (int64_t)sizeof(uint16_t);
    uint16_t scale[VL] = {0};
    if (n == VL) return vf_load_bf16((const uint16_t *)at);
    memcpy(scale, at, (size_t)n * sizeof *scale);
    return vf_load_bf16(scale);
}

/* The scales of a piece of VL/2 groups, twice. */
INLINE vf quant_scales_folded(const char *piece) {
    const vf all = vf_load_bf16((const uint16_t *)piece); /* words too, which are not used */
    return vf_shuffle(all, all, vi_lanes() & (VL / 2 - 1));
}

/* A group of activations as integers -127 … 127, with their sum; returns the scale. One that is not
 * finite makes the scale NaN. */
INLINE float quant_round(int8_t *q, int32_t *sum, const float *x) {
    vf most = {0}, odd = {0};
    vi total = {0};
    for (int i = 0; i < HY__QUANT_GROUP; i += VL) {
        const vf v = vf_load(x + i);
        most = vf_max(most, (vf)((vi)v & 0x7fffffff));
        odd += v * 0.0f;
    }
    const float largest = vf_hmax(most);
    const float inverse = largest > 1e-30f ? 127.0f / largest : 0;
    for (int i = 0; i < HY__QUANT_GROUP; i += VL) {
        const vf magic = vf_set(12582912.0f); /* 1.5·2^23: rounds to the nearest integer */
        const vf v = (vf_load(x + i) * inverse + magic) - magic;
        const vi n = __builtin_convertvector(vf_max(v, vf_set(-127)), vi); /* NaN is -127 */
        *(vq *)(q + i) = __builtin_convertvector(n, vq);
        total += n;
    }
    *sum = vi_sum(total);
    return largest / 127.0f + vf_sum(odd);
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
INLINE int64_t quant_piece_bytes(const hy__dtype dtype) {
    return (int64_t)hy__dtype_bytes(dtype, HY__QUANT_SPAN);
}

/* Numbers of the piece that begins at number i of cols. */
INLINE int64_t quant_span(int64_t i, int64_t cols) {
    return cols - i < HY__QUANT_SPAN ? cols - i : HY__QUANT_SPAN;
}

/* A row as floats. */
INLINE void quant_row(float *dst, const char *row, const hy__dtype dtype, int64_t cols) {
    for (int64_t i = 0; i < cols; i += HY__QUANT_SPAN, row += quant_piece_bytes(dtype))
        quant_piece(dst + i, row, dtype, quant_span(i, cols) / HY__QUANT_GROUP);
}

#endif
