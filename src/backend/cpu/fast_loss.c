/* fast_loss.c: the fast cross-entropy, AdamW and sum of squares. Equations: ref_loss.c. */
#include "backend/cpu/simd.h"

/* ---- cross_entropy ---- */

static float row_max(const float *l, int64_t n) {
    vf top = vf_set(-INFINITY);
    int64_t j = 0;
    for (; j + VL <= n; j += VL) top = vf_max(top, vf_load(l + j));
    float most = vf_hmax(top);
    for (; j < n; j++) most = l[j] > most ? l[j] : most;
    return most;
}

/* Σ exp(l_j - top) */
static float row_sum_exp(const float *l, int64_t n, float top) {
    vf sum = {0};
    int64_t j = 0;
    for (; j + VL <= n; j += VL) sum += vf_exp(vf_load(l + j) - top);
    float total = vf_sum(sum);
    for (; j < n; j++) total += sf_exp(l[j] - top);
    return total;
}

/* The row's gradient, factor·exp(l_j - top), less scale at the target. */
static void gradient_row(float *l, int64_t n, float factor, float top, int32_t target,
                         float scale) {
    for (int64_t j = 0; j < n; j += VL)
        vf_store_to(l + j, factor * vf_exp(vf_load_to(l + j, n - j) - top), n - j);
    l[target] -= scale;
}
static void narrow_gradient_row(uint16_t *narrow, const float *l, int64_t n, float factor,
                                float top, int32_t target, float scale) {
    int64_t j = 0;
    for (; j + VL <= n; j += VL) vf_store_bf16(narrow + j, factor * vf_exp(vf_load(l + j) - top));
    for (; j < n; j++) narrow[j] = hy__f32_to_bf16(factor * sf_exp(l[j] - top));
    narrow[target] = hy__f32_to_bf16(factor * sf_exp(l[target] - top) - scale);
}

/* Whether l[target], which may be the largest, is the first of the largest. */
static bool is_likeliest(const float *l, float top, int32_t target) {
    for (int32_t j = 0; j < target; j++)
        if (l[j] == top) return false;
    return l[target] == top;
}

static void cross_entropy_row(const hy__cross_entropy_args *a, int64_t r) {
    float *l = (float *)hy__ptr(a->logits) + r * a->vocab, *nll = hy__ptr(a->nll);
    uint16_t *narrow = hy__ptr(a->narrow);
    int32_t *hit = hy__ptr(a->hit);
    const int32_t target = ((const int32_t *)hy__ptr(a->target))[r];
    const size_t n = (size_t)a->vocab;
    if (narrow) narrow += r * a->vocab;
    if (target < 0) {
        nll[r] = 0;
        if (hit) hit[r] = 0;
        if (a->grad && narrow) memset(narrow, 0, n * sizeof *narrow);
        if (a->grad && !narrow) memset(l, 0, n * sizeof *l);
        return;
    }
    const float top = row_max(l, a->vocab), sum = row_sum_exp(l, a->vocab, top);
    nll[r] = (float)((double)top - (double)l[target] + log((double)sum));
    if (hit) hit[r] = l[target] == top && is_likeliest(l, top, target);
    if (!a->grad) return;
    const float factor = (float)(a->scale / (double)sum);
    if (narrow)
        narrow_gradient_row(narrow, l, a->vocab, factor, top, target, (float)a->scale);
    else
        gradient_row(l, a->vocab, factor, top, target, (float)a->scale);
}

static void fast_cross_entropy(hy__backend *be, const hy__cross_entropy_args *a) {
    const int n_thread = threads_for(be, 8 * a->n_row * a->vocab);
#pragma omp parallel for num_threads(n_thread) schedule(static)
    for (int64_t r = 0; r < a->n_row; r++) cross_entropy_row(a, r);
}

/* ---- adamw ---- */

typedef struct adam {
    float beta1, beta2, rest1, rest2; /* rest = 1 - beta */
    float fix2, eps, lr_fix1, decay, g_scale;
} adam;

/* lr·m̂/(sqrt(v̂) + eps), m̂ = m/(1-β₁^step) taken into the rate, v̂ = v·fix2 */
static void adam_span(const adam *s, float *restrict p, const float *restrict g, float *restrict m,
                      float *restrict v, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const float grad = g[i] * s->g_scale;
        const float mean = s->beta1 * m[i] + s->rest1 * grad;
        const float square = s->beta2 * v[i] + s->rest2 * grad * grad;
        m[i] = mean;
        v[i] = square;
        p[i] -= s->lr_fix1 * mean / (sqrtf(square * s->fix2) + s->eps) + s->decay * p[i];
    }
}

static void fast_adamw(hy__backend *be, const hy__adamw_args *a) {
    float *p = hy__ptr(a->p), *g = hy__ptr(a->g), *m = hy__ptr(a->m), *v = hy__ptr(a->v);
    int32_t *touched = hy__ptr(a->touched);
    const adam s = {
        .beta1 = (float)a->beta1,
        .beta2 = (float)a->beta2,
        .rest1 = (float)(1.0 - a->beta1),
        .rest2 = (float)(1.0 - a->beta2),
        .fix2 = (float)(1.0 / (1.0 - pow(a->beta2, (double)a->step))),
        .eps = (float)a->eps,
        .lr_fix1 = (float)(a->lr / (1.0 - pow(a->beta1, (double)a->step))),
        .decay = (float)(a->lr * a->weight_decay),
        .g_scale = (float)a->g_scale,
    };
    const int parts = threads_for(be, a->n);
    const int64_t row = touched ? a->dim : 1, n_row = a->n / row;
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int i = 0; i < parts; i++) {
        const int64_t from = part_at(n_row, i, parts, VL), to = part_at(n_row, i + 1, parts, VL);
        if (!touched && p) adam_span(&s, p + from, g + from, m + from, v + from, to - from);
        for (int64_t r = from; touched && r < to; r++) {
            if (!touched[r]) continue;
            const int64_t at = r * row;
            if (p) adam_span(&s, p + at, g + at, m + at, v + at, row);
            memset(g + at, 0, (size_t)row * sizeof *g);
            touched[r] = 0;
        }
    }
}

/* ---- sqsum ---- */

/* Σ x², blocks of fp32 sums gathered in double. */
static double square_sum(const float *x, int64_t n) {
    enum { BLOCK = 4096 };
    double sum = 0;
    for (int64_t i = 0; i < n; i += BLOCK) {
        const int64_t m = n - i < BLOCK ? n - i : BLOCK;
        sum += (double)vec_dot(x + i, x + i, m);
    }
    return sum;
}

static void fast_sqsum(hy__backend *be, const hy__sqsum_args *a) {
    const float *x = hy__ptr(a->x);
    const int32_t *touched = hy__ptr(a->touched);
    const int parts = threads_for(be, a->n);
    const int64_t row = touched ? a->dim : 1, n_row = a->n / row;
    char *scratch = hy__scratch(be, HY__ALIGN);
    if (!scratch) return;
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int i = 0; i < parts; i++) {
        const int64_t from = part_at(n_row, i, parts, VL), to = part_at(n_row, i + 1, parts, VL);
        double sum = touched ? 0 : square_sum(x + from, to - from);
        for (int64_t r = from; touched && r < to; r++)
            if (touched[r]) sum += square_sum(x + r * row, row);
        *(double *)hy__scratch_of(scratch, HY__ALIGN, i) = sum;
    }
    double total = 0;
    for (int i = 0; i < parts; i++) total += *(double *)hy__scratch_of(scratch, HY__ALIGN, i);
    *(float *)hy__ptr(a->out) += (float)total;
}

void HY__FAST(hy__fast_loss)(hy__kernels *k) {
    k->cross_entropy = fast_cross_entropy;
    k->adamw = fast_adamw;
    k->sqsum = fast_sqsum;
}
