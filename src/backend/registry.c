/* registry.c: finds a backend by name, and what all backends share on the host's side. */
#include "backend/backend.h"
#include "backend/cpu/isa.h"
#include "base/bf16.h"
#include "tensor/quant.h"

hy_status hy__backend_open(hy__backend **out, const char *name, int n_thread, hy_error *err) {
    return hy__cpu_open(out, name, n_thread, err);
}

void hy__backend_free(hy__backend *be) {
    if (be) be->free(be);
}

const char *const *hy__backend_known(void) {
    return hy__cpu_known();
}

const char *const *hy__backend_names(void) {
    return hy__cpu_names();
}

hy_status hy__backend_check(hy__backend *be, hy_error *err) {
    if (be->error.status == HY_OK) return HY_OK;
    if (err) *err = be->error;
    const hy_status status = be->error.status;
    be->error = (hy_error){0};
    return status;
}

enum { CONVERT = 1024 }; /* elements converted at a time, on the stack */

/* A run of elements in the dtype of a tensor. */
typedef union staged {
    float f[CONVERT];
    double d[CONVERT];
    uint16_t h[CONVERT];
} staged;

static void stage_put(staged *s, hy__dtype dtype, int64_t i, double x) {
    switch (dtype) {
    case HY__DTYPE_F64:
        s->d[i] = x;
        break;
    case HY__DTYPE_BF16:
        s->h[i] = hy__f32_to_bf16((float)x);
        break;
    default:
        s->f[i] = (float)x;
    }
}

static double stage_get(const staged *s, hy__dtype dtype, int64_t i) {
    switch (dtype) {
    case HY__DTYPE_F64:
        return s->d[i];
    case HY__DTYPE_BF16:
        return (double)hy__bf16_to_f32(s->h[i]);
    default:
        return (double)s->f[i];
    }
}

/* The same of a piece of a quantised row. */
enum { PIECE_BYTES = 34 * HY__QUANT_PIECE };

static void quant_write(hy__backend *be, hy__tensor dst, const float *x, int64_t n) {
    unsigned char packed[PIECE_BYTES];
    hy__quant_pack(packed, dst.dtype, x, n);
    be->write(be, dst, packed, hy__dtype_bytes(dst.dtype, n));
}

static void quant_read(hy__backend *be, float *x, hy__tensor src, int64_t n) {
    unsigned char packed[PIECE_BYTES];
    be->read(be, packed, src, hy__dtype_bytes(src.dtype, n));
    for (int64_t i = 0; i < n; i++) x[i] = hy__quant_get(packed, src.dtype, n, i);
}

#define DEFINE_CONVERSION(suffix, type)                                                            \
    void hy__tensor_write_##suffix(hy__backend *be, hy__tensor dst, const type *src, int64_t n) {  \
        staged s;                                                                                  \
        const bool quant = hy__dtype_is_quant(dst.dtype);                                          \
        const int64_t most = quant ? HY__QUANT_SPAN : CONVERT;                                     \
        for (int64_t i = 0; i < n; i += most) {                                                    \
            const int64_t m = n - i < most ? n - i : most;                                         \
            for (int64_t j = 0; j < m; j++) stage_put(&s, dst.dtype, j, (double)src[i + j]);       \
            if (quant)                                                                             \
                quant_write(be, hy__at(dst, i), s.f, m);                                           \
            else                                                                                   \
                be->write(be, hy__at(dst, i), &s, (size_t)m *hy__dtype_size(dst.dtype));           \
        }                                                                                          \
    }                                                                                              \
    void hy__tensor_read_##suffix(hy__backend *be, type *dst, hy__tensor src, int64_t n) {         \
        staged s;                                                                                  \
        const bool quant = hy__dtype_is_quant(src.dtype);                                          \
        const int64_t most = quant ? HY__QUANT_SPAN : CONVERT;                                     \
        for (int64_t i = 0; i < n; i += most) {                                                    \
            const int64_t m = n - i < most ? n - i : most;                                         \
            if (quant)                                                                             \
                quant_read(be, s.f, hy__at(src, i), m);                                            \
            else                                                                                   \
                be->read(be, &s, hy__at(src, i), (size_t)m *hy__dtype_size(src.dtype));            \
            for (int64_t j = 0; j < m; j++) dst[i + j] = (type)stage_get(&s, src.dtype, j);        \
        }                                                                                          \
    }
DEFINE_CONVERSION(f32, float)
DEFINE_CONVERSION(f64, double)
