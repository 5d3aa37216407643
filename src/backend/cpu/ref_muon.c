/* ref_muon.c: the naive steps of Muon around its products (backend.h, "Muon"). */
#include "backend/cpu/ref.h"

/* m' = β·m + (1-β)·g', u = (β·m' + (1-β)·g')/‖·‖; where g is 0 everywhere m' = m, u = 0 */
static void ref_momentum(hy__backend *be, const hy__momentum_args *a) {
    (void)be;
    real *u = hy__ptr(a->u), *m = hy__ptr(a->m);
    const real *g = hy__ptr(a->g);
    double sum = 0;
    bool still = true;
    for (int64_t i = 0; i < a->n; i++) still = still && g[i] == 0;
    for (int64_t i = 0; i < a->n; i++) {
        const double gi = (1.0 - a->beta) * a->g_scale * (double)g[i];
        if (!still) m[i] = (real)(a->beta * (double)m[i] + gi);
        const double ui = still ? 0 : a->beta * (double)m[i] + gi;
        u[i] = (real)ui;
        sum += ui * ui;
    }
    const double scale = sum > 0 ? 1.0 / sqrt(sum) : 0;
    for (int64_t i = 0; i < a->n; i++) u[i] = (real)(scale * (double)u[i]);
}

/* p = a·I + b·x + c·y */
static void ref_polynomial(hy__backend *be, const hy__polynomial_args *a) {
    (void)be;
    real *p = hy__ptr(a->p);
    const real *x = hy__ptr(a->x), *y = hy__ptr(a->y);
    for (int64_t i = 0; i < a->n * a->n; i++) {
        const double one = i % (a->n + 1) == 0 ? a->a : 0;
        p[i] = (real)(one + a->b * (double)x[i] + a->c * (double)y[i]);
    }
}

/* y = a·y + b·x */
static void ref_axpby(hy__backend *be, const hy__axpby_args *a) {
    (void)be;
    real *y = hy__ptr(a->y);
    const real *x = hy__ptr(a->x);
    for (int64_t i = 0; i < a->n; i++) y[i] = (real)(a->a * (double)y[i] + a->b * (double)x[i]);
}

void HY__REF(hy__ref_muon)(hy__kernels *k) {
    k->momentum = ref_momentum;
    k->polynomial = ref_polynomial;
    k->axpby = ref_axpby;
}
