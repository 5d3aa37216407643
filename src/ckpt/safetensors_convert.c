/* safetensors_convert.c: elements of a file's dtype to doubles and back; see safetensors.h.
 *
 * Doubles hold every value of F64, F32, BF16, F16, I32 and U8 exactly, so going through them rounds
 * at most once: where the target is narrower. I64 is exact up to 2^53. */
#include "base/bf16.h"
#include "ckpt/safetensors.h"

#include <math.h>
#include <string.h>

/* IEEE binary16: sign, 5 bits of exponent, 10 of fraction. */
static double f16_value(uint16_t h) {
    const int exponent = h >> 10 & 31, fraction = h & 1023;
    double v;
    if (exponent == 31)
        v = fraction ? (double)NAN : (double)INFINITY;
    else if (exponent == 0)
        v = ldexp(fraction, -24); /* subnormal */
    else
        v = ldexp(1024 + fraction, exponent - 25);
    return h & 0x8000 ? -v : v;
}

/* One element: `type` is how it lies in the file, `value` makes it a double. */
#define GET(type, value)                                                                           \
    for (int64_t i = 0; i < n; i++) {                                                              \
        type x;                                                                                    \
        memcpy(&x, at + (size_t)i * sizeof x, sizeof x);                                           \
        dst[i] = (double)(value);                                                                  \
    }                                                                                              \
    break

void hy__st_get_f64(double *dst, const hy__st_tensor *t, int64_t first, int64_t n) {
    const unsigned char *at = t->data + (size_t)first * hy__st_dtype_size(t->dtype);
    switch (t->dtype) {
    case HY__ST_F64:
        GET(double, x);
    case HY__ST_I64:
        GET(int64_t, x);
    case HY__ST_F32:
        GET(float, x);
    case HY__ST_I32:
        GET(int32_t, x);
    case HY__ST_F16:
        GET(uint16_t, f16_value(x));
    case HY__ST_BF16:
        GET(uint16_t, hy__bf16_to_f32(x));
    case HY__ST_U8:
        GET(uint8_t, x);
    }
}

#define PUT(type, value)                                                                           \
    for (int64_t i = 0; i < n; i++) {                                                              \
        const double x = src[i];                                                                   \
        const type y = (type)(value);                                                              \
        memcpy((char *)dst + (size_t)i * sizeof y, &y, sizeof y);                                  \
    }                                                                                              \
    break

void hy__st_put_f64(void *dst, hy__st_dtype dtype, const double *src, int64_t n) {
    HY_ASSERT(dtype != HY__ST_F16);
    switch (dtype) {
    case HY__ST_F64:
        PUT(double, x);
    case HY__ST_I64:
        PUT(int64_t, x);
    case HY__ST_F32:
        PUT(float, x);
    case HY__ST_I32:
        PUT(int32_t, x);
    case HY__ST_F16:
        break;
    case HY__ST_BF16:
        PUT(uint16_t, hy__f32_to_bf16((float)x));
    case HY__ST_U8:
        PUT(uint8_t, x);
    }
}
