/* gemm_dnnl.c: dense products by oneDNN; the one file that knows its C API (2.x and 3.x).
 *
 * A product is a matmul primitive, made for every call: oneDNN keeps what it generated in a cache
 * of its own (by shape, safe between threads), from which making one takes 2–3 µs (measured
 * with 2.6.3 on Zen 5; 100 µs for a shape not seen before). */
#include "backend/cpu/cpu.h"

#include <dnnl.h>
#include <omp.h>
#include <stdlib.h>

struct hy__dnnl {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    int n_thread;
};

#define TRY_DNNL(expr)                                                                             \
    do {                                                                                           \
        status = (expr);                                                                           \
        if (status != dnnl_success) goto done;                                                     \
    } while (0)

hy__dnnl *hy__dnnl_new(int n_thread) {
    hy__dnnl *d = calloc(1, sizeof *d);
    if (!d) return NULL;
    d->n_thread = n_thread;
    if (dnnl_engine_create(&d->engine, dnnl_cpu, 0) == dnnl_success &&
        dnnl_stream_create(&d->stream, d->engine, dnnl_stream_default_flags) == dnnl_success)
        return d;
    hy__dnnl_free(d);
    return NULL;
}

void hy__dnnl_free(hy__dnnl *d) {
    if (!d) return;
    if (d->stream) dnnl_stream_destroy(d->stream);
    if (d->engine) dnnl_engine_destroy(d->engine);
    free(d);
}

bool hy__dnnl_has_bf16(void) {
    const unsigned isa = (unsigned)dnnl_get_effective_cpu_isa();
    return (isa & dnnl_cpu_isa_avx512_core_bf16) == dnnl_cpu_isa_avx512_core_bf16;
}

/* ---- where 2.x and 3.x differ: memory descriptors, primitive descriptors, the sum post-op ---- */

#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t layout;
static dnnl_status_t layout_init(layout *l, int n_dim, const int64_t *dims, dnnl_data_type_t type,
                                 const int64_t *strides) {
    return dnnl_memory_desc_create_with_strides(l, n_dim, dims, type, strides);
}
static void layout_release(layout *l) {
    if (*l) dnnl_memory_desc_destroy(*l);
}
static dnnl_status_t memory_new(dnnl_memory_t *out, const layout *l, dnnl_engine_t engine,
                                void *data) {
    return dnnl_memory_create(out, *l, engine, data);
}
static dnnl_status_t append_sum(dnnl_post_ops_t ops) {
    return dnnl_post_ops_append_sum(ops, 1.0f, 0, dnnl_data_type_undef);
}
static dnnl_status_t matmul_desc_new(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                     const layout *a, const layout *b, const layout *c,
                                     dnnl_primitive_attr_t attr) {
    return dnnl_matmul_primitive_desc_create(out, engine, *a, *b, NULL, *c, attr);
}
#else
typedef dnnl_memory_desc_t layout;
static dnnl_status_t layout_init(layout *l, int n_dim, const int64_t *dims, dnnl_data_type_t type,
                                 const int64_t *strides) {
    return dnnl_memory_desc_init_by_strides(l, n_dim, dims, type, strides);
}
static void layout_release(layout *l) {
    (void)l;
}
static dnnl_status_t memory_new(dnnl_memory_t *out, const layout *l, dnnl_engine_t engine,
                                void *data) {
    return dnnl_memory_create(out, l, engine, data);
}
static dnnl_status_t append_sum(dnnl_post_ops_t ops) {
    return dnnl_post_ops_append_sum(ops, 1.0f);
}
static dnnl_status_t matmul_desc_new(dnnl_primitive_desc_t *out, dnnl_engine_t engine,
                                     const layout *a, const layout *b, const layout *c,
                                     dnnl_primitive_attr_t attr) {
    dnnl_matmul_desc_t desc;
    const dnnl_status_t status = dnnl_matmul_desc_init(&desc, a, b, NULL, c);
    return status == dnnl_success ? dnnl_primitive_desc_create(out, &desc, attr, engine, NULL)
                                  : status;
}
#endif

/* ---- the product ---- */

/* op(X) as [rows, cols]: a transposition is an exchange of strides. */
static dnnl_status_t view(layout *l, int64_t rows, int64_t cols, int64_t ld, bool transposed,
                          bool bf16) {
    const dnnl_dims_t dims = {rows, cols};
    const dnnl_dims_t strides = {transposed ? 1 : ld, transposed ? ld : 1};
    return layout_init(l, 2, dims, bf16 ? dnnl_bf16 : dnnl_f32, strides);
}

static dnnl_status_t matmul_new(dnnl_primitive_t *out, dnnl_engine_t engine, const layout *a,
                                const layout *b, const layout *c, bool accumulate) {
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t ops = NULL;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_status_t status = dnnl_success;
    if (accumulate) {
        TRY_DNNL(dnnl_primitive_attr_create(&attr));
        TRY_DNNL(dnnl_post_ops_create(&ops));
        TRY_DNNL(append_sum(ops));
        TRY_DNNL(dnnl_primitive_attr_set_post_ops(attr, ops));
    }
    TRY_DNNL(matmul_desc_new(&desc, engine, a, b, c, attr));
    TRY_DNNL(dnnl_primitive_create(out, desc));
done:
    if (desc) dnnl_primitive_desc_destroy(desc);
    if (ops) dnnl_post_ops_destroy(ops);
    if (attr) dnnl_primitive_attr_destroy(attr);
    return status;
}

int hy__dnnl_gemm(hy__dnnl *d, const hy__product *p) {
    layout a = {0}, b = {0}, c = {0};
    dnnl_memory_t ma = NULL, mb = NULL, mc = NULL;
    dnnl_primitive_t matmul = NULL;
    dnnl_status_t status = dnnl_success;
    const int caller_threads = omp_get_max_threads();
    TRY_DNNL(view(&a, p->m, p->k, p->lda, p->ta, p->a_bf16));
    TRY_DNNL(view(&b, p->k, p->n, p->ldb, p->tb, p->b_bf16));
    TRY_DNNL(view(&c, p->m, p->n, p->ldc, false, false));
    /* oneDNN generates code for as many threads as the caller's OpenMP setting says */
    if (caller_threads != d->n_thread) omp_set_num_threads(d->n_thread);
    TRY_DNNL(matmul_new(&matmul, d->engine, &a, &b, &c, p->accumulate));
    /* memory objects are not const, the operands are only read */
    TRY_DNNL(memory_new(&ma, &a, d->engine, (void *)(uintptr_t)p->a));
    TRY_DNNL(memory_new(&mb, &b, d->engine, (void *)(uintptr_t)p->b));
    TRY_DNNL(memory_new(&mc, &c, d->engine, p->c));
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, ma}, {DNNL_ARG_WEIGHTS, mb}, {DNNL_ARG_DST, mc}};
    TRY_DNNL(dnnl_primitive_execute(matmul, d->stream, 3, args));
    TRY_DNNL(dnnl_stream_wait(d->stream));
done:
    if (caller_threads != d->n_thread) omp_set_num_threads(caller_threads);
    if (mc) dnnl_memory_destroy(mc);
    if (mb) dnnl_memory_destroy(mb);
    if (ma) dnnl_memory_destroy(ma);
    if (matmul) dnnl_primitive_destroy(matmul);
    layout_release(&c);
    layout_release(&b);
    layout_release(&a);
    return (int)status;
}
