/* count.c: the counting backend's memory, which is none, and its sums; see count.h. */
#include "backend/count/count_kernels.h"

#include <stdlib.h>
#include <string.h>

/* Bytes of one element, of a quantised one its share of the group. */
static double width(hy__dtype dtype) {
    return (double)hy__dtype_bytes(dtype, HY__QUANT_GROUP) / HY__QUANT_GROUP;
}

void hy__count_touch(hy__backend *be, hy__tensor t, double n) {
    count *c = be->self;
    if (!hy__present(t)) return;
    for (int64_t i = 0; i < c->n_buf; i++)
        if (c->buf[i].of == t.buf) c->buf[i].bytes += n * width(t.dtype);
}

static count_buffer *find(count *c, const hy__buffer *buf) {
    for (int64_t i = 0; i < c->n_buf; i++)
        if (c->buf[i].of == buf) return &c->buf[i];
    return NULL;
}

static hy_status buffer_new(hy__backend *be, size_t size, hy__buffer *out, hy_error *err) {
    count *c = be->self;
    *out = (hy__buffer){.size = size};
    if (find(c, out)) return HY_OK;
    count_buffer *grown = realloc(c->buf, (size_t)(c->n_buf + 1) * sizeof *grown);
    if (!grown) return hy__no_memory(err, "counting");
    c->buf = grown;
    c->buf[c->n_buf++] = (count_buffer){.of = out};
    return HY_OK;
}

static void buffer_free(hy__backend *be, hy__buffer *buf) {
    count *c = be->self;
    count_buffer *at = find(c, buf);
    if (at) *at = c->buf[--c->n_buf];
    *buf = (hy__buffer){0};
}

static void host_write(hy__backend *be, hy__tensor dst, const void *src, size_t size) {
    (void)src;
    hy__count_touch(be, dst, (double)size / width(dst.dtype));
}

static void host_read(hy__backend *be, void *dst, hy__tensor src, size_t size) {
    memset(dst, 0, size);
    hy__count_touch(be, src, (double)size / width(src.dtype));
}

static void zero(hy__backend *be, hy__tensor dst, size_t size) {
    hy__count_touch(be, dst, (double)size / width(dst.dtype));
}

static void count_free(hy__backend *be) {
    count *c = be->self;
    free(c->buf);
    free(c);
    free(be);
}

hy_status hy__count_open(hy__backend **out, hy_error *err) {
    hy__backend *be = calloc(1, sizeof *be);
    count *c = calloc(1, sizeof *c);
    if (!be || !c) {
        free(be);
        free(c);
        return hy__no_memory(err, "counting");
    }
    *be = (hy__backend){.name = "count",
                        .isa = "",
                        .real = HY__DTYPE_F32,
                        .has_bf16 = true,
                        .n_thread = 1,
                        .buffer_new = buffer_new,
                        .buffer_free = buffer_free,
                        .write = host_write,
                        .read = host_read,
                        .zero = zero,
                        .free = count_free,
                        .self = c};
    hy__count_fill(&be->kernels);
    *out = be;
    return HY_OK;
}

double hy__count_flops(const hy__backend *be) {
    return ((const count *)be->self)->flops;
}

double hy__count_bytes(const hy__backend *be, const hy__buffer *buf) {
    const count *c = be->self;
    double bytes = 0;
    for (int64_t i = 0; i < c->n_buf; i++)
        if (!buf || c->buf[i].of == buf) bytes += c->buf[i].bytes;
    return bytes;
}

void hy__count_clear(hy__backend *be) {
    count *c = be->self;
    c->flops = 0;
    for (int64_t i = 0; i < c->n_buf; i++) c->buf[i].bytes = 0;
    be->counters = (hy__counters){0};
}
