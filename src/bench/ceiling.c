/* ceiling.c: see ceiling.h. */
#include "bench/ceiling.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/rng.h"
#include "bench/machine.h"
#include "model/model.h"

#include <math.h>
#include <stdlib.h>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

enum {
    STREAM_LEAST = 64 << 20, /* bytes of one of three arrays */
    STREAM_CACHES = 8,       /* times the largest cache: at 4 some passes still hit one */
    STREAM_SHARE = 32,       /* at most this part of the free memory */
};
static const double SAMPLE = 0.03;  /* seconds of the product in one sample, about */
static const double LONGEST = 0.06; /* seconds of one product; a larger one is not tried */

struct hy__ceilings {
    hy__backend *be; /* borrowed */
    hy__store store; /* that a, b, c are for; HY__STORE_N: none yet */
    hy__prec prec;
    int64_t n;                     /* rows and columns of the product */
    hy__buffer a, b, c;            /* [n,n] each; b as weights are stored */
    hy__dtype weight;              /* of b */
    float *x, *y, *z;              /* [stream] each, for the passes over memory; x owns them all */
    int64_t stream;                /* elements of each, a multiple of 16 */
    volatile uint64_t kept_result; /* so that reading is not optimized away */
};

/* ---- memory ---- */

/* How far both passes read ahead of themselves: on two Zen 5 cores half as much again as without.
 */
enum { LINE = HY__ALIGN / (int)sizeof(float), READ_AHEAD = 2048, TRIAD_AHEAD = 512 /* elements */ };

static void triad_span(float *x, const float *y, const float *z, int64_t n) {
#if defined(__SSE__)
    const __m128 s = _mm_set1_ps(0.5f);
    for (int64_t i = 0; i < n; i += LINE) {
        __builtin_prefetch(y + i + TRIAD_AHEAD);
        __builtin_prefetch(z + i + TRIAD_AHEAD);
        for (int64_t j = i; j < i + LINE; j += 4)
            _mm_stream_ps(x + j, _mm_add_ps(_mm_load_ps(y + j), _mm_mul_ps(s, _mm_load_ps(z + j))));
    }
    _mm_sfence();
#else
    for (int64_t i = 0; i < n; i++) x[i] = y[i] + 0.5f * z[i];
#endif
}

static uint64_t read_span(const float *x, int64_t n) {
    enum { WORDS = HY__ALIGN / (int)sizeof(uint64_t) };
    const uint64_t *word = (const uint64_t *)(const void *)x;
    uint64_t sum = 0;
    for (int64_t i = 0; i < n / 2; i += WORDS) {
        __builtin_prefetch(x + 2 * i + READ_AHEAD);
        for (int j = 0; j < WORDS; j++) sum ^= word[i + j];
    }
    return sum;
}

/* Every thread has the same part of an array of n elements each time. */
static int64_t part_begin(const hy__ceilings *c, int64_t n, int i) {
    return n / LINE * i / c->be->n_thread * LINE;
}

static double triad_rate(hy__ceilings *c) {
    const double start = hy__now();
#pragma omp parallel for num_threads(c->be->n_thread) schedule(static, 1)
    for (int i = 0; i < c->be->n_thread; i++) {
        const int64_t from = part_begin(c, c->stream, i);
        triad_span(c->x + from, c->y + from, c->z + from, part_begin(c, c->stream, i + 1) - from);
    }
    return 3.0 * (double)c->stream * sizeof(float) / (hy__now() - start);
}

/* Over all three arrays, which lie one after another. */
static double read_rate(hy__ceilings *c) {
    const int64_t n = 3 * c->stream;
    uint64_t sum = 0;
    const double start = hy__now();
#pragma omp parallel for num_threads(c->be->n_thread) schedule(static, 1) reduction(^ : sum)
    for (int i = 0; i < c->be->n_thread; i++)
        sum ^= read_span(c->x + part_begin(c, n, i), part_begin(c, n, i + 1) - part_begin(c, n, i));
    const double seconds = hy__now() - start;
    c->kept_result = sum;
    return (double)n * sizeof(float) / seconds;
}

static int64_t stream_elements(void) {
    const int64_t cache = hy__machine_describe().last_cache;
    const int64_t room = hy__memory_free_bytes() / STREAM_SHARE;
    int64_t bytes = STREAM_CACHES * cache > STREAM_LEAST ? STREAM_CACHES * cache : STREAM_LEAST;
    if (room > 0 && bytes > room) bytes = room;
    return bytes / (int64_t)sizeof(float) / LINE * LINE;
}

static hy_status stream_new(hy__ceilings *c, hy_error *err) {
    c->stream = stream_elements();
    const size_t size = 3 * (size_t)c->stream * sizeof(float);
    c->x = hy__memory_new(size, HY__ALIGN);
    if (!c->x) {
        return hy__no_memory(err, "measuring the memory with %.1f MB", (double)size / 1e6);
    }
    c->y = c->x + c->stream;
    c->z = c->y + c->stream;
    /* touched by the threads that will use them, so that their pages lie near */
#pragma omp parallel for num_threads(c->be->n_thread) schedule(static, 1)
    for (int i = 0; i < c->be->n_thread; i++)
        for (int64_t j = part_begin(c, c->stream, i); j < part_begin(c, c->stream, i + 1); j++) {
            c->x[j] = 0;
            c->y[j] = 1;
            c->z[j] = 2;
        }
    return HY_OK;
}

/* ---- the product ---- */

static void dense_release(hy__ceilings *c) {
    hy__backend *be = c->be;
    be->buffer_free(be, &c->a);
    be->buffer_free(be, &c->b);
    be->buffer_free(be, &c->c);
}

static hy_status dense_new(hy__ceilings *c, int64_t n, hy_error *err) {
    enum { PART = 4096 };
    float part[PART];
    hy__backend *be = c->be;
    const size_t real = hy__tensor_bytes(be->real, n * n);
    const uint64_t key = hy__rng_key(1, "bench product", 0);
    HY_TRY(be->buffer_new(be, real, &c->a, err));
    HY_TRY(be->buffer_new(be, hy__tensor_bytes(c->weight, n * n), &c->b, err));
    HY_TRY(be->buffer_new(be, real, &c->c, err));
    for (int64_t i = 0; i < PART; i++) part[i] = (float)hy__rng_uniform(key, (uint64_t)i) - 0.5f;
    for (int64_t i = 0; i < n * n; i += PART) {
        hy__tensor_write_f32(be, hy__at((hy__tensor){.buf = &c->a, .dtype = be->real}, i), part,
                             PART);
        hy__tensor_write_f32(be, hy__at((hy__tensor){.buf = &c->b, .dtype = c->weight}, i), part,
                             PART);
    }
    c->n = n;
    return HY_OK;
}

/* Rows times rows of weights, as in every layer of a model. */
static void multiply(hy__ceilings *c) {
    hy__backend *be = c->be;
    be->kernels.gemm(be, &(hy__gemm_args){.c = {.buf = &c->c, .dtype = be->real},
                                          .a = {.buf = &c->a, .dtype = be->real},
                                          .b = {.buf = &c->b, .dtype = c->weight},
                                          .m = c->n,
                                          .n = c->n,
                                          .k = c->n,
                                          .tb = true,
                                          .prec = c->prec});
}

static double dense_rate(hy__ceilings *c) {
    const double start = hy__now();
    double seconds;
    int64_t calls = 0;
    do {
        multiply(c);
        calls++;
        seconds = hy__now() - start;
    } while (seconds < SAMPLE);
    return 2.0 * (double)(c->n * c->n) * (double)(c->n * calls) / seconds;
}

/* The best of a few calls. */
static double try_rate(hy__ceilings *c, double *seconds) {
    *seconds = (double)INFINITY;
    multiply(c); /* oneDNN generates code for a new shape */
    for (double all = 0, one; all < SAMPLE; all += one) {
        const double start = hy__now();
        multiply(c);
        one = hy__now() - start;
        if (one < *seconds) *seconds = one;
    }
    return 2.0 * (double)(c->n * c->n) * (double)c->n / *seconds;
}

/* The size at which a product is fastest: it depends on caches, dtype and threads. */
static hy_status find_size(hy__ceilings *c, hy_error *err) {
    static const int64_t size[] = {256, 384, 512, 768, 1024, 1536, 2048};
    double most = 0, seconds = 0;
    int64_t best = size[0];
    for (size_t i = 0; i < sizeof size / sizeof *size && seconds < LONGEST; i++) {
        HY_TRY(dense_new(c, size[i], err));
        const double rate = try_rate(c, &seconds);
        if (rate > most) {
            most = rate;
            best = size[i];
        }
        dense_release(c);
    }
    HY_TRY(dense_new(c, best, err));
    return hy__backend_check(c->be, err);
}

/* ---- both ---- */

hy_status hy__ceilings_new(hy__ceilings **out, hy__backend *be, hy_error *err) {
    hy__ceilings *c = calloc(1, sizeof *c);
    if (!c) return hy__no_memory(err, "measuring");
    c->be = be;
    c->store = HY__STORE_N;
    const hy_status status = stream_new(c, err);
    if (status == HY_OK)
        *out = c;
    else
        hy__ceilings_free(c);
    return status;
}

void hy__ceilings_free(hy__ceilings *c) {
    if (!c) return;
    dense_release(c);
    free(c->x);
    free(c);
}

hy_status hy__ceilings_turn(hy__ceilings *c, hy__store store, hy_error *err) {
    const bool bf16 = store == HY__STORE_BF16;
    if (c->store == store) return HY_OK;
    dense_release(c);
    c->store = store;
    c->weight = store == HY__STORE_FP32 ? c->be->real : hy__store_dtype(store);
    c->prec = bf16 && c->be->has_bf16 ? HY__PREC_BF16 : HY__PREC_FP32;
    return find_size(c, err);
}

hy_status hy__ceilings_sample(hy__ceilings *c, hy__ceiling *out, hy_error *err) {
    out->dense = dense_rate(c);
    out->read = read_rate(c);
    out->triad = triad_rate(c);
    return hy__backend_check(c->be, err);
}

double hy__ceiling_dense(const hy__ceiling *c) {
    return c->dense;
}
double hy__ceiling_read(const hy__ceiling *c) {
    return c->read;
}
double hy__ceiling_triad(const hy__ceiling *c) {
    return c->triad;
}

double hy__ceiling_stream(const hy__ceiling *c) {
    return c->read > c->triad ? c->read : c->triad;
}

int64_t hy__ceilings_size(const hy__ceilings *c) {
    return c->n;
}

size_t hy__ceilings_memory(const hy__ceilings *c) {
    return c->a.size + c->b.size + c->c.size + 3 * (size_t)c->stream * sizeof(float);
}
