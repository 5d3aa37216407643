/* fast_muon.c: the fast steps of Muon around its products. Equations: ref_muon.c. */
#include "backend/cpu/simd.h"

enum { BLOCK = 4096 }; /* elements of one fp32 sum; those are added in double, in order */

/* m and u (not yet of norm 1) of a block; returns Σ u². */
static double momentum_block(float *restrict u, float *restrict m, const float *restrict g,
                             int64_t n, float beta, float rest) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const float gi = rest * g[i], mean = beta * m[i] + gi;
        m[i] = mean;
        u[i] = beta * mean + gi;
    }
    return (double)vec_dot(u, u, n);
}

static bool is_zero(const float *g, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (g[i] != 0.0f) return false;
    return true;
}

static void fast_momentum(hy__backend *be, const hy__momentum_args *a) {
    float *u = hy__ptr(a->u), *m = hy__ptr(a->m);
    const float *g = hy__ptr(a->g);
    const float beta = (float)a->beta, rest = (float)((1.0 - a->beta) * a->g_scale);
    const int64_t n_block = (a->n + BLOCK - 1) / BLOCK;
    const int n_thread = threads_for(be, a->n);
    double total = 0, *sum = hy__scratch_all(be, (size_t)n_block * sizeof *sum);
    if (!sum) return;
    if (is_zero(g, a->n)) {
        memset(u, 0, (size_t)a->n * sizeof *u);
        return;
    }
#pragma omp parallel for num_threads(n_thread) schedule(static)
    for (int64_t b = 0; b < n_block; b++) {
        const int64_t at = b * BLOCK, left = a->n - at < BLOCK ? a->n - at : BLOCK;
        sum[b] = momentum_block(u + at, m + at, g + at, left, beta, rest);
    }
    for (int64_t b = 0; b < n_block; b++) total += sum[b];
    const float scale = total > 0 ? (float)(1.0 / sqrt(total)) : 0.0f;
#pragma omp parallel for simd num_threads(n_thread) schedule(static)
    for (int64_t i = 0; i < a->n; i++) u[i] *= scale;
}

static void fast_polynomial(hy__backend *be, const hy__polynomial_args *a) {
    float *p = hy__ptr(a->p);
    const float *x = hy__ptr(a->x), *y = hy__ptr(a->y);
    const float b = (float)a->b, c = (float)a->c;
    const int64_t n = a->n;
    const int n_thread = threads_for(be, n * n);
#pragma omp parallel for num_threads(n_thread) schedule(static)
    for (int64_t r = 0; r < n; r++) {
#pragma omp simd
        for (int64_t i = r * n; i < (r + 1) * n; i++) p[i] = b * x[i] + c * y[i];
        p[r * n + r] += (float)a->a;
    }
}

static void fast_axpby(hy__backend *be, const hy__axpby_args *a) {
    float *y = hy__ptr(a->y);
    const float *x = hy__ptr(a->x), keep = (float)a->a, step = (float)a->b;
    const int n_thread = threads_for(be, a->n);
#pragma omp parallel for simd num_threads(n_thread) schedule(static)
    for (int64_t i = 0; i < a->n; i++) y[i] = keep * y[i] + step * x[i];
}

void HY__FAST(hy__fast_muon)(hy__kernels *k) {
    k->momentum = fast_momentum;
    k->polynomial = fast_polynomial;
    k->axpby = fast_axpby;
}
