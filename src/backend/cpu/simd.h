/* simd.h: short vectors and small matrix products for the fast kernels.
 *
 * Included by fast_*.c alone, which are compiled once per instruction set: HY__VL floats per
 * vector, HY__ISA in every external name. Vectors are GCC's own (vector_size), so that one source
 * serves AVX2, AVX-512 and any other machine. All loads may be unaligned. */
#ifndef HY_BACKEND_CPU_SIMD_H
#define HY_BACKEND_CPU_SIMD_H

#include "backend/cpu/cpu.h"

#include <math.h>
#include <omp.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define HY__FAST(name) HY__CAT(name, HY__ISA) /* hy__fast_ssd -> hy__fast_ssd_avx512 */

enum { VL = HY__VL };

typedef float vf __attribute__((vector_size(4 * HY__VL), aligned(4), may_alias));
typedef int32_t vi __attribute__((vector_size(4 * HY__VL), aligned(4), may_alias));

#define INLINE static inline __attribute__((always_inline, unused))

INLINE vf vf_load(const float *p) {
    return *(const vf *)p;
}
INLINE void vf_store(float *p, vf x) {
    *(vf *)p = x;
}
INLINE vf vf_set(float x) {
    return x - (vf){0}; /* folds; 0 + x would not, for x = -0 */
}
/* mask ? a : b, the mask all ones or all zeros per element (what a comparison gives). */
INLINE vf vf_select(vi mask, vf a, vf b) {
    return (vf)((mask & (vi)a) | (~mask & (vi)b));
}

/* What the compiler does not find by itself, by instruction set.
 *   vf_max, vf_min   a > b ? a : b and a < b ? a : b: a NaN in b stays
 *   vf_load_n        the first n < VL elements, the rest is zero; vf_store_n writes n
 *   vf_sum           of the elements, halves added to halves
 *   vf_hmax          the largest element
 *   vi_any           whether any element's highest bit is set */
#if HY__VL == 16 && defined(__AVX512F__)
INLINE vf vf_max(vf a, vf b) {
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
}
INLINE vf vf_min(vf a, vf b) {
    return (vf)_mm512_min_ps((__m512)a, (__m512)b);
}
INLINE vf vf_load_n(const float *p, int64_t n) {
    return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1u), p);
}
INLINE void vf_store_n(float *p, vf x, int64_t n) {
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1u), (__m512)x);
}
INLINE float vf_sum(vf x) {
    return _mm512_reduce_add_ps((__m512)x);
}
INLINE float vf_hmax(vf x) {
    return _mm512_reduce_max_ps((__m512)x);
}
INLINE bool vi_any(vi x) {
    return _mm512_movepi32_mask((__m512i)x) != 0;
}
#else
#if HY__VL == 8 && defined(__AVX2__)
INLINE vf vf_max(vf a, vf b) {
    return (vf)_mm256_max_ps((__m256)a, (__m256)b);
}
INLINE vf vf_min(vf a, vf b) {
    return (vf)_mm256_min_ps((__m256)a, (__m256)b);
}
INLINE float vf_sum(vf x) {
    const __m128 four = _mm256_castps256_ps128((__m256)x) + _mm256_extractf128_ps((__m256)x, 1);
    const __m128 two = four + _mm_movehl_ps(four, four);
    return two[0] + two[1];
}
INLINE bool vi_any(vi x) {
    return _mm256_movemask_ps((__m256)x) != 0;
}
#else
INLINE vf vf_max(vf a, vf b) {
    return vf_select(a > b, a, b);
}
INLINE vf vf_min(vf a, vf b) {
    return vf_select(a < b, a, b);
}
INLINE float vf_sum(vf x) {
    float t[VL];
    vf_store(t, x);
    for (int w = VL / 2; w > 0; w /= 2)
        for (int i = 0; i < w; i++) t[i] += t[i + w];
    return t[0];
}
INLINE bool vi_any(vi x) {
    int32_t bits = 0;
    for (int i = 0; i < VL; i++) bits |= x[i];
    return bits < 0;
}
#endif
INLINE float vf_hmax(vf x) {
    float t[VL];
    vf_store(t, x);
    for (int w = VL / 2; w > 0; w /= 2)
        for (int i = 0; i < w; i++) t[i] = t[i] > t[i + w] ? t[i] : t[i + w];
    return t[0];
}
INLINE vf vf_load_n(const float *p, int64_t n) {
    float t[VL] = {0};
    for (int64_t i = 0; i < n; i++) t[i] = p[i];
    return vf_load(t);
}
INLINE void vf_store_n(float *p, vf x, int64_t n) {
    float t[VL];
    vf_store(t, x);
    for (int64_t i = 0; i < n; i++) p[i] = t[i];
}
#endif

/* The vector at p of a loop with `left` elements to go: whole, or what is left. */
INLINE vf vf_load_to(const float *p, int64_t left) {
    return left >= VL ? vf_load(p) : vf_load_n(p, left);
}
INLINE void vf_store_to(float *p, vf x, int64_t left) {
    if (left >= VL)
        vf_store(p, x);
    else
        vf_store_n(p, x, left);
}

INLINE int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}
INLINE int64_t round_up(int64_t n, int64_t to) {
    return (n + to - 1) / to * to;
}
/* To whole vectors. */
INLINE int64_t padded(int64_t n) {
    return round_up(n, VL);
}

/* VL bf16 numbers, widened exactly; and rounded as hy__f32_to_bf16 does. */
typedef uint16_t vh __attribute__((vector_size(2 * HY__VL), aligned(1), may_alias));
typedef uint32_t vu __attribute__((vector_size(4 * HY__VL), aligned(4), may_alias));
INLINE vf vf_load_bf16(const uint16_t *p) {
#if HY__VL == 16 && defined(__AVX512F__) /* which the compiler takes in halves */
    const vu wide = (vu)_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
#else
    const vu wide = __builtin_convertvector(*(const vh *)p, vu);
#endif
    return (vf)(wide << 16);
}
INLINE vu vf_to_bf16(vf x) {
    const vu bits = (vu)x, high = bits >> 16;
    const vu rounded = (bits + 0x7fffu + (high & 1u)) >> 16;
    const vu nan = (vu)((bits & 0x7fffffffu) > 0x7f800000u);
    return (nan & (high | 0x40u)) | (~nan & rounded);
}
INLINE void vf_store_bf16(uint16_t *p, vf x) {
    *(vh *)p = __builtin_convertvector(vf_to_bf16(x), vh);
}

INLINE void vec_from_bf16(float *dst, const uint16_t *src, int64_t n) {
    int64_t i = 0;
    for (; i + VL <= n; i += VL) vf_store(dst + i, vf_load_bf16(src + i));
    for (; i < n; i++) dst[i] = hy__bf16_to_f32(src[i]);
}
INLINE void vec_to_bf16(uint16_t *dst, const float *src, int64_t n) {
    int64_t i = 0;
    for (; i + VL <= n; i += VL) vf_store_bf16(dst + i, vf_load(src + i));
    for (; i < n; i++) dst[i] = hy__f32_to_bf16(src[i]);
}

/* ---- bytes -----------------------------------------------------------------------------------
 * A vector of VL words of four bytes. The sums of products are exact integers, equal on every
 * instruction set.
 *   vi_dot_u   acc[i] + Σ_j u[4i+j]·x[4i+j]: u of 0 … 15, x of -127 … 127
 *   vi_dot_s   acc[i] + Σ_j w[4i+j]·x[4i+j], w signed; with DOT_FLIP Σ (w + 128)·x: the caller
 *              begins with -128·Σ x. Then u may be any byte */
typedef uint8_t vb __attribute__((vector_size(4 * HY__VL), aligned(1), may_alias));

/* The first n <= VL words at any address; the rest is zero. */
INLINE vi vi_load_words(const void *p, int64_t n) {
    if (n == VL) return (vi) * (const vb *)p;
#if HY__VL == 16 && defined(__AVX512F__)
    return (vi)_mm512_maskz_loadu_epi32((__mmask16)((1u << n) - 1u), p);
#else
    int32_t t[VL] = {0};
    memcpy(t, p, (size_t)n * sizeof *t);
    return *(const vi *)t;
#endif
}

INLINE int32_t vi_sum(vi x) {
    int32_t sum = 0;
    for (int i = 0; i < VL; i++) sum += x[i];
    return sum;
}

#if HY__VL == 16 && defined(__AVX512VNNI__)
enum { DOT_FLIP = 1 };
INLINE vi vi_dot_u(vi acc, vb u, vb x) {
    return (vi)_mm512_dpbusd_epi32((__m512i)acc, (__m512i)u, (__m512i)x);
}
INLINE vi vi_dot_s(vi acc, vb w, vb x) {
    return vi_dot_u(acc, w ^ 0x80, x);
}
#elif HY__VL == 16 && defined(__AVX512BW__)
enum { DOT_FLIP = 0 };
INLINE vi vi_dot_u(vi acc, vb u, vb x) { /* two products fit 16 bits */
    const __m512i pairs = _mm512_maddubs_epi16((__m512i)u, (__m512i)x);
    return acc + (vi)_mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
}
INLINE vi vi_dot_s(vi acc, vb w, vb x) {
    const __mmask64 below = _mm512_movepi8_mask((__m512i)w);
    const __m512i sx = _mm512_mask_sub_epi8((__m512i)x, below, _mm512_setzero_si512(), (__m512i)x);
    return vi_dot_u(acc, (vb)_mm512_abs_epi8((__m512i)w), (vb)sx);
}
#elif HY__VL == 8 && defined(__AVX2__)
enum { DOT_FLIP = 0 };
INLINE vi vi_dot_u(vi acc, vb u, vb x) { /* two products fit 16 bits */
    const __m256i pairs = _mm256_maddubs_epi16((__m256i)u, (__m256i)x);
    return acc + (vi)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}
INLINE vi vi_dot_s(vi acc, vb w, vb x) {
    return vi_dot_u(acc, (vb)_mm256_abs_epi8((__m256i)w),
                    (vb)_mm256_sign_epi8((__m256i)x, (__m256i)w));
}
#else
enum { DOT_FLIP = 0 };
typedef int16_t vs __attribute__((vector_size(4 * HY__VL), may_alias));
/* bytes at even and at odd places; two products fit 16 bits */
INLINE vi vi_dot_s(vi acc, vb w, vb x) {
    const vs even = ((vs)w << 8 >> 8) * ((vs)x << 8 >> 8), odd = ((vs)w >> 8) * ((vs)x >> 8);
    const vi pairs = (vi)(even + odd);
    return acc + (pairs << 16 >> 16) + (pairs >> 16);
}
INLINE vi vi_dot_u(vi acc, vb u, vb x) {
    return vi_dot_s(acc, u, x);
}
#endif

/* n words of two bf16 each, the first low; second NULL: zeros. */
INLINE void vec_pair_bf16(float *dst, const uint16_t *first, const uint16_t *second, int64_t n) {
    int64_t i = 0;
    for (; second && i + VL <= n; i += VL)
        vf_store(dst + i, (vf)(__builtin_convertvector(*(const vh *)(first + i), vu) |
                               __builtin_convertvector(*(const vh *)(second + i), vu) << 16));
    for (; i < n; i++) {
        const uint32_t word = first[i] | (second ? (uint32_t)second[i] << 16 : 0);
        memcpy(dst + i, &word, sizeof word);
    }
}

/* To the nearest bf16, kept as floats. */
INLINE vf vf_round_bf16(vf x) {
    return (vf)(vf_to_bf16(x) << 16);
}
INLINE void vec_round_bf16(float *dst, const float *src, int64_t n) {
    for (int64_t i = 0; i < n; i += VL)
        vf_store_to(dst + i, vf_round_bf16(vf_load_to(src + i, n - i)), n - i);
}

/* 2^n·p for |n| <= 130; 0 where x < lo. */
INLINE vf vf_scale_exp(vf p, vf n, vf x, vf lo) {
#if HY__VL == 16 && defined(__AVX512F__)
    const __mmask16 kept = _mm512_cmp_ps_mask((__m512)x, (__m512)lo, _CMP_NLT_UQ);
    return (vf)_mm512_maskz_scalef_ps(kept, (__m512)p, (__m512)n);
#else
    /* in two steps: the exponent 128 does not fit into one */
    const vi e = __builtin_convertvector(n, vi), half = e >> 1;
    const vf y = p * (vf)((half + 127) << 23) * (vf)((e - half + 127) << 23);
    return (vf)((vi)y & ~(x < lo));
#endif
}

/* e^x: range reduction to ±ln2/2 and a degree-6 polynomial (Cephes' coefficients); relative error
 * below 1e-7 on [-87, 88.7]; below -87 it is 0, above 88.8 infinity; NaN stays NaN. */
INLINE vf vf_exp(vf x) {
    const vf lo = vf_set(-87.0f), hi = vf_set(90.0f);
    const vf xc = vf_min(hi, vf_max(lo, x));
    const vf magic = vf_set(12582912.0f); /* 1.5·2^23: rounds to the nearest integer */
    const vf n = (xc * 1.44269504088896341f + magic) - magic;
    vf r = xc - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    vf p = vf_set(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    return vf_scale_exp(p, n, x, lo);
}

INLINE vf vf_sigmoid(vf x) {
    return 1.0f / (1.0f + vf_exp(-x));
}

/* Scalars of the same function, so that tails agree with vectors. */
INLINE float sf_exp(float x) {
    return vf_exp(vf_set(x))[0];
}
INLINE float sf_sigmoid(float x) {
    return vf_sigmoid(vf_set(x))[0];
}

INLINE float vec_dot(const float *a, const float *b, int64_t n) {
    vf s0 = {0}, s1 = {0};
    int64_t i = 0;
    for (; i + 2 * VL <= n; i += 2 * VL) {
        s0 += vf_load(a + i) * vf_load(b + i);
        s1 += vf_load(a + i + VL) * vf_load(b + i + VL);
    }
    for (; i + VL <= n; i += VL) s0 += vf_load(a + i) * vf_load(b + i);
    float s = vf_sum(s0 + s1);
    for (; i < n; i++) s += a[i] * b[i];
    return s;
}

/* y += s·x */
INLINE void vec_axpy(float *y, float s, const float *x, int64_t n) {
    int64_t i = 0;
    for (; i + VL <= n; i += VL) vf_store(y + i, vf_load(y + i) + s * vf_load(x + i));
    for (; i < n; i++) y[i] += s * x[i];
}

/* y *= s */
INLINE void vec_scale(float *y, float s, int64_t n) {
    int64_t i = 0;
    for (; i + VL <= n; i += VL) vf_store(y + i, vf_load(y + i) * s);
    for (; i < n; i++) y[i] *= s;
}

INLINE vi vi_lanes(void) {
    vi lane;
    for (int i = 0; i < VL; i++) lane[i] = i;
    return lane;
}

/* Lane i of the result is lane from[i] of a, or lane from[i] - VL of b. */
INLINE vf vf_shuffle(vf a, vf b, vi from) {
#if defined(__clang__) /* whose shuffle takes constants alone */
    vf x;
    for (int i = 0; i < VL; i++) x[i] = from[i] < VL ? a[from[i]] : b[from[i] - VL];
    return x;
#else
    return __builtin_shuffle(a, b, from);
#endif
}

/* Lane i of the result is the sum over the lanes of x[i]; x is overwritten. */
INLINE vf vf_sum_each(vf x[VL]) {
    const vi lane = vi_lanes();
#pragma GCC unroll 8
    for (int w = VL / 2; w > 0; w /= 2) {
        const vi high = ((lane & w) != 0) & VL; /* lanes that the second vector fills */
#pragma GCC unroll 16
        for (int i = 0; i < w; i++)
            x[i] = vf_shuffle(x[i], x[i + w], lane | high) +
                   vf_shuffle(x[i], x[i + w], (lane ^ w) | high);
    }
    return x[0];
}

/* Lane c of vector r and lane r of vector c change places: at step w, bit w of lanes and of rows.
 */
INLINE void vf_transpose(vf x[VL]) {
    const vi lane = vi_lanes();
#pragma GCC unroll 8
    for (int w = 1; w < VL; w *= 2) {
        const vi set = (lane & w) != 0;
        const vi low = (set & (lane - w + VL)) | (~set & lane);
        const vi high = (set & (lane + VL)) | (~set & (lane + w));
#pragma GCC unroll 16
        for (int i = 0; i < VL; i++) {
            if (i & w) continue;
            const vf a = x[i], b = x[i + w];
            x[i] = vf_shuffle(a, b, low);
            x[i + w] = vf_shuffle(a, b, high);
        }
    }
}

/* dst[c,r] = src[r,c] of VL by VL. */
INLINE void mat_transpose_tile(float *dst, int64_t ldd, const float *src, int64_t lds) {
    vf x[VL];
#pragma GCC unroll 16
    for (int i = 0; i < VL; i++) x[i] = vf_load(src + i * lds);
    vf_transpose(x);
#pragma GCC unroll 16
    for (int i = 0; i < VL; i++) vf_store(dst + i * ldd, x[i]);
}

/* dst[c,r] = src[r,c] of VL rows of four that follow each other. */
INLINE void mat_transpose_fours(float *dst, int64_t ldd, const float *src) {
    const vi even = 2 * vi_lanes(), odd = even + 1;
    vf half[4]; /* columns 0 and 2 alternating, 1 and 3; of the first rows and of the others */
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        const vf a = vf_load(src + 2 * i * VL), b = vf_load(src + (2 * i + 1) * VL);
        half[i] = vf_shuffle(a, b, even);
        half[2 + i] = vf_shuffle(a, b, odd);
    }
#pragma GCC unroll 2
    for (int c = 0; c < 2; c++) {
        vf_store(dst + c * ldd, vf_shuffle(half[2 * c], half[2 * c + 1], even));
        vf_store(dst + (2 + c) * ldd, vf_shuffle(half[2 * c], half[2 * c + 1], odd));
    }
}

/* dst[c,r] = src[r,c] */
INLINE void mat_transpose(float *dst, int64_t ldd, const float *src, int64_t lds, int64_t rows,
                          int64_t cols) {
    if (cols == 4 && lds == 4 && rows >= VL) { /* the taps of a convolution */
        const int64_t whole = rows / VL * VL;
        for (int64_t r = 0; r < whole; r += VL) mat_transpose_fours(dst + r, ldd, src + r * 4);
        dst += whole, src += whole * 4, rows -= whole;
    }
    for (int64_t r0 = 0; r0 < rows; r0 += VL)
        for (int64_t c0 = 0; c0 < cols; c0 += VL) {
            if (r0 + VL <= rows && c0 + VL <= cols) {
                mat_transpose_tile(dst + c0 * ldd + r0, ldd, src + r0 * lds + c0, lds);
                continue;
            }
            for (int64_t c = c0; c < (c0 + VL < cols ? c0 + VL : cols); c++)
                for (int64_t r = r0; r < (r0 + VL < rows ? r0 + VL : rows); r++)
                    dst[c * ldd + r] = src[r * lds + c];
        }
}

/* ---- threads --------------------------------------------------------------------------------
 * A kernel's threads depend on its sizes alone, so equal calls are cut equally. */

/* Threads worth starting for `work` elements of a cheap loop (a fork costs as much as some 10 000).
 */
INLINE int threads_for(const hy__backend *be, int64_t work) {
    const int64_t n = work / 16384;
    return n < 1 ? 1 : n < be->n_thread ? (int)n : be->n_thread;
}

/* Where part `i` of `parts` of n elements begins (and part i-1 ends), a multiple of `unit`. */
INLINE int64_t part_at(int64_t n, int64_t i, int64_t parts, int64_t unit) {
    const int64_t at = (n + unit - 1) / unit * i / parts * unit;
    return at < n ? at : n;
}

/* The calling thread's share [lo, hi) of n things. */
INLINE void thread_share(int64_t n, int64_t *lo, int64_t *hi) {
    *lo = part_at(n, omp_get_thread_num(), omp_get_num_threads(), 1);
    *hi = part_at(n, omp_get_thread_num() + 1, omp_get_num_threads(), 1);
}

/* ---- small products -------------------------------------------------------------------------
 * C[m,n] (+)= A[m,k]·B[k,n] for tiles that live in the caches. A is addressed by two strides (row,
 * column), so A and Aᵀ cost the same; rows of B and C are contiguous. One thread.
 *
 * Operands are words of 32 bits along k: a float each, or, with `half`, two bf16 that are
 * neighbours along k, the first one in the low bits; an odd k ends with a zero. k and strides count
 * words. Sums are fp32. `half` is for CPUs that multiply bf16 (hy__backend.has_bf16); it is
 * constant where speed matters. */

#if HY__VL == 16
enum { MM_MR = 6, MM_NV = 4 };
#elif HY__VL == 8
enum { MM_MR = 6, MM_NV = 2 };
#else
enum { MM_MR = 4, MM_NV = 2 };
#endif

/* acc + a·b in every word; and two floats to a word, the first one low. AVX512-BF16's instructions
 * are written out, for the file is compiled without it. */
#if HY__VL == 16 && defined(__AVX512F__)
INLINE vf vf_dot_half(vf acc, vf a, vf b) {
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b));
    return acc;
}
INLINE __m512i vf_narrow_two(vf low, vf high) {
    __m512i both;
    __asm__("vcvtne2ps2bf16 %2, %1, %0" : "=v"(both) : "v"(high), "v"(low));
    return both;
}
INLINE vf vf_pair(vf first, vf second) {
    static const uint16_t from[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                      8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    return (vf)_mm512_permutexvar_epi16(_mm512_loadu_si512(from), vf_narrow_two(first, second));
}
#else
INLINE vf vf_dot_half(vf acc, vf a, vf b) {
    const vu high = (vu){0} + 0xffff0000u;
    acc += (vf)((vu)a << 16) * (vf)((vu)b << 16);
    return acc + (vf)((vu)a & high) * (vf)((vu)b & high);
}
INLINE vf vf_pair(vf first, vf second) {
    uint16_t low[VL], high[VL];
    uint32_t word[VL];
    vf_store_bf16(low, first);
    vf_store_bf16(high, second);
    for (int i = 0; i < VL; i++) word[i] = (uint32_t)high[i] << 16 | low[i];
    return *(const vf *)word;
}
#endif

/* Words that k elements take. */
INLINE int64_t mm_words(bool half, int64_t k) {
    return half ? (k + 1) / 2 : k;
}

/* scale[rows] ∘ src[rows,k] (scale NULL = 1) as words [rows, mm_words(k)]; row distances lds in
 * floats, ldd in words. */
INLINE void mm_pack_rows(const bool half, float *dst, int64_t ldd, const float *src, int64_t lds,
                         int64_t rows, int64_t k, const float *scale) {
    for (int64_t r = 0; r < rows; r++, dst += ldd, src += lds) {
        const float s = scale ? scale[r] : 1.0f;
        int64_t i = 0;
        for (; !half && i < k; i += VL) vf_store_to(dst + i, s * vf_load_to(src + i, k - i), k - i);
#if HY__VL == 16 && defined(__AVX512F__)
        for (; i + 2 * VL <= k; i += 2 * VL)
            _mm512_storeu_si512(dst + i / 2,
                                vf_narrow_two(s * vf_load(src + i), s * vf_load(src + i + VL)));
#endif
        for (; i < k; i += 2) {
            const vf first = s * vf_set(src[i]), second = s * vf_set(i + 1 < k ? src[i + 1] : 0.0f);
            vf_store_n(dst + i / 2, vf_pair(first, second), 1);
        }
    }
}

/* The same of scale[k] ∘ src[k,n] as words [mm_words(k), n]. */
INLINE void mm_pack_columns(const bool half, float *dst, int64_t ldd, const float *src, int64_t lds,
                            int64_t k, int64_t n, const float *scale) {
    const int64_t step = half ? 2 : 1;
    for (int64_t i = 0; i < k; i += step, dst += ldd, src += step * lds) {
        const bool pair = half && i + 1 < k;
        const float s0 = scale ? scale[i] : 1.0f, s1 = scale && pair ? scale[i + 1] : 1.0f;
        for (int64_t j = 0; j < n; j += VL) {
            const vf first = s0 * vf_load_to(src + j, n - j);
            vf second = {0};
            if (pair) second = s1 * vf_load_to(src + lds + j, n - j);
            if (half) second = vf_pair(first, second);
            vf_store_to(dst + j, half ? second : first, n - j);
        }
    }
}

INLINE vf mm_step(const bool half, vf acc, vf a, vf b) {
    if (half) return vf_dot_half(acc, a, b);
    return acc + a * b;
}

INLINE void mm_tile(const bool half, const int mr, const int nv, int64_t k, const float *a,
                    int64_t ars, int64_t acs, const float *b, int64_t ldb, float *c, int64_t ldc,
                    bool add) {
    vf acc[MM_MR][MM_NV];
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 8
        for (int j = 0; j < nv; j++) acc[i][j] = (vf){0};
    for (int64_t p = 0; p < k; p++) {
        vf bv[MM_NV];
#pragma GCC unroll 8
        for (int j = 0; j < nv; j++) bv[j] = vf_load(b + p * ldb + j * VL);
#pragma GCC unroll 8
        for (int i = 0; i < mr; i++) {
            const vf av = vf_set(a[i * ars + p * acs]);
#pragma GCC unroll 8
            for (int j = 0; j < nv; j++) acc[i][j] = mm_step(half, acc[i][j], av, bv[j]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < mr; i++)
#pragma GCC unroll 8
        for (int j = 0; j < nv; j++) {
            float *to = c + i * ldc + j * VL;
            if (add) acc[i][j] += vf_load(to);
            vf_store(to, acc[i][j]);
        }
}

/* The columns that do not fill a vector. */
INLINE void mm_tail(const bool half, int64_t m, int64_t n, int64_t k, const float *a, int64_t ars,
                    int64_t acs, const float *b, int64_t ldb, float *c, int64_t ldc, bool add) {
    for (int64_t i = 0; i < m; i++) {
        vf acc = {0};
        for (int64_t p = 0; p < k; p++)
            acc = mm_step(half, acc, vf_set(a[i * ars + p * acs]), vf_load_n(b + p * ldb, n));
        float *to = c + i * ldc;
        if (add) acc += vf_load_n(to, n);
        vf_store_n(to, acc, n);
    }
}

#define MM_ROWS(nv)                                                                                \
    do {                                                                                           \
        int64_t i = 0;                                                                             \
        for (; i + MM_MR <= m; i += MM_MR)                                                         \
            mm_tile(half, MM_MR, nv, k, a + i * ars, ars, acs, b + j, ldb, c + i * ldc + j, ldc,   \
                    add);                                                                          \
        for (; i + 2 <= m; i += 2)                                                                 \
            mm_tile(half, 2, nv, k, a + i * ars, ars, acs, b + j, ldb, c + i * ldc + j, ldc, add); \
        for (; i < m; i++)                                                                         \
            mm_tile(half, 1, nv, k, a + i * ars, ars, acs, b + j, ldb, c + i * ldc + j, ldc, add); \
    } while (0)

INLINE void mm_any(const bool half, int64_t m, int64_t n, int64_t k, const float *a, int64_t ars,
                   int64_t acs, const float *b, int64_t ldb, float *c, int64_t ldc, bool add) {
    int64_t j = 0;
    for (; j + MM_NV * VL <= n; j += MM_NV * VL) MM_ROWS(MM_NV);
    for (; j + 2 * VL <= n; j += 2 * VL) MM_ROWS(2);
    for (; j + VL <= n; j += VL) MM_ROWS(1);
    if (j < n) mm_tail(half, m, n - j, k, a, ars, acs, b + j, ldb, c + j, ldc, add);
}

static inline __attribute__((unused)) void mm(int64_t m, int64_t n, int64_t k, const float *a,
                                              int64_t ars, int64_t acs, const float *b, int64_t ldb,
                                              float *c, int64_t ldc, bool add) {
    mm_any(false, m, n, k, a, ars, acs, b, ldb, c, ldc, add);
}
static inline __attribute__((unused)) void mm_half(int64_t m, int64_t n, int64_t k, const float *a,
                                                   int64_t ars, int64_t acs, const float *b,
                                                   int64_t ldb, float *c, int64_t ldc, bool add) {
    mm_any(true, m, n, k, a, ars, acs, b, ldb, c, ldc, add);
}

#endif
