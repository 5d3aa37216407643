/* registry.c: finds a backend by name, and what all backends share on the host's side. */
#include "backend/backend.h"
#include "backend/cpu/isa.h"

hy_status hy__backend_open(hy__backend **out, const char *name, int n_thread, hy_error *err) {
    return hy__cpu_open(out, name, n_thread, err);
}

void hy__backend_free(hy__backend *be) {
    if (be) be->free(be);
}

const char *const *hy__backend_names(void) { return hy__cpu_names(); }

hy_status hy__backend_check(hy__backend *be, hy_error *err) {
    if (be->error.status == HY_OK) return HY_OK;
    if (err) *err = be->error;
    const hy_status status = be->error.status;
    be->error = (hy_error){0};
    return status;
}

enum { CONVERT = 1024 }; /* elements converted at a time, on the stack */

#define DEFINE_WRITE(suffix, type)                                                                 \
    void hy__tensor_write_##suffix(hy__backend *be, hy__tensor dst, const type *src, int64_t n) {  \
        for (int64_t i = 0; i < n; i += CONVERT) {                                                 \
            const int64_t m = n - i < CONVERT ? n - i : CONVERT;                                   \
            float f[CONVERT];                                                                      \
            double d[CONVERT];                                                                     \
            for (int64_t j = 0; j < m; j++) {                                                      \
                f[j] = (float)src[i + j];                                                          \
                d[j] = (double)src[i + j];                                                         \
            }                                                                                      \
            const bool wide = dst.dtype == HY__DTYPE_F64;                                          \
            be->write(be, hy__at(dst, i), wide ? (void *)d : (void *)f,                            \
                      (size_t)m * hy__dtype_size(dst.dtype));                                      \
        }                                                                                          \
    }
#define DEFINE_READ(suffix, type)                                                                  \
    void hy__tensor_read_##suffix(hy__backend *be, type *dst, hy__tensor src, int64_t n) {         \
        for (int64_t i = 0; i < n; i += CONVERT) {                                                 \
            const int64_t m = n - i < CONVERT ? n - i : CONVERT;                                   \
            float f[CONVERT];                                                                      \
            double d[CONVERT];                                                                     \
            const bool wide = src.dtype == HY__DTYPE_F64;                                          \
            be->read(be, wide ? (void *)d : (void *)f, hy__at(src, i),                             \
                     (size_t)m * hy__dtype_size(src.dtype));                                       \
            for (int64_t j = 0; j < m; j++) dst[i + j] = (type)(wide ? d[j] : (double)f[j]);       \
        }                                                                                          \
    }
DEFINE_WRITE(f32, float)
DEFINE_WRITE(f64, double)
DEFINE_READ(f32, float)
DEFINE_READ(f64, double)
