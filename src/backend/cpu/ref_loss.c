/* ref_loss.c: the naive cross-entropy, AdamW (arXiv 1711.05101) and sum of squares. */
#include "backend/cpu/ref.h"

/* The first of the largest. */
static int64_t ref_argmax(const real *l, int64_t n) {
    int64_t best = 0;
    for (int64_t j = 1; j < n; j++)
        if (l[j] > l[best]) best = j;
    return best;
}

/* nll = log Σ_j exp(l_j) - l_target, gradient scale·(softmax - onehot) */
static void ref_cross_entropy(hy__backend *be, const hy__cross_entropy_args *a) {
    (void)be;
    const int32_t *target = hy__ptr(a->target);
    real *nll = hy__ptr(a->nll);
    uint16_t *narrow = hy__ptr(a->narrow);
    int32_t *hit = hy__ptr(a->hit);
    for (int64_t r = 0; r < a->n_row; r++) {
        real *l = (real *)hy__ptr(a->logits) + r * a->vocab;
        double top = -INFINITY, sum = 0;
        for (int64_t j = 0; j < a->vocab; j++) top = fmax(top, (double)l[j]);
        for (int64_t j = 0; j < a->vocab; j++) sum += exp((double)l[j] - top);
        const double lse = top + log(sum);
        nll[r] = target[r] < 0 ? 0 : (real)(lse - (double)l[target[r]]);
        if (hit) hit[r] = target[r] >= 0 && ref_argmax(l, a->vocab) == target[r];
        for (int64_t j = 0; a->grad && j < a->vocab; j++) {
            const double p = exp((double)l[j] - lse) - (j == target[r] ? 1.0 : 0.0);
            const real grad = target[r] < 0 ? 0 : (real)(a->scale * p);
            if (narrow)
                narrow[r * a->vocab + j] = hy__f32_to_bf16((float)grad);
            else
                l[j] = grad;
        }
    }
}

/* g' = g_scale·g, m = β₁m + (1-β₁)g', v = β₂v + (1-β₂)g'²,
 * p -= lr·(m̂/(sqrt(v̂) + eps) + weight_decay·p), m̂ = m/(1-β₁^step), v̂ = v/(1-β₂^step) */
static void ref_adamw(hy__backend *be, const hy__adamw_args *a) {
    (void)be;
    real *p = hy__ptr(a->p), *g = hy__ptr(a->g), *m = hy__ptr(a->m), *v = hy__ptr(a->v);
    int32_t *touched = hy__ptr(a->touched);
    const double fix1 = 1.0 - pow(a->beta1, (double)a->step);
    const double fix2 = 1.0 - pow(a->beta2, (double)a->step);
    for (int64_t i = 0; i < a->n; i++) {
        if (touched && !touched[i / a->dim]) continue;
        const double gi = (double)g[i] * a->g_scale;
        if (touched) g[i] = 0;
        if (!p) continue;
        m[i] = (real)(a->beta1 * (double)m[i] + (1.0 - a->beta1) * gi);
        v[i] = (real)(a->beta2 * (double)v[i] + (1.0 - a->beta2) * gi * gi);
        const double step = (double)m[i] / fix1 / (sqrt((double)v[i] / fix2) + a->eps);
        p[i] = (real)((double)p[i] - a->lr * (step + a->weight_decay * (double)p[i]));
    }
    if (touched) memset(touched, 0, (size_t)(a->n / a->dim) * sizeof *touched);
}

/* out += Σ x² */
static void ref_sqsum(hy__backend *be, const hy__sqsum_args *a) {
    (void)be;
    const real *x = hy__ptr(a->x);
    const int32_t *touched = hy__ptr(a->touched);
    real *out = hy__ptr(a->out);
    double sum = 0;
    for (int64_t i = 0; i < a->n; i++)
        if (!touched || touched[i / a->dim]) sum += (double)x[i] * (double)x[i];
    out[0] += (real)sum;
}

void HY__REF(hy__ref_loss)(hy__kernels *k) {
    k->cross_entropy = ref_cross_entropy;
    k->adamw = ref_adamw;
    k->sqsum = ref_sqsum;
}
