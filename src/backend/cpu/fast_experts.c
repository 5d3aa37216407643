/* fast_experts.c: chunk routing (letter E) by vectors and threads: router inputs, the choice of
 * experts and the movement of rows to experts and back. Shapes and equations: backend.h;
 * ref_experts.c is the specification.
 *
 * Every output element has one thread, which adds in the order of the rows: results do not depend
 * on timing, and those of unit_mean not even on how a sequence is cut. balance and
 * route_stat are the reference's. */
#include "backend/cpu/simd.h"

static void copy_or_zero(float *dst, const float *src, int64_t n) {
    if (src) {
        memmove(dst, src, (size_t)n * sizeof *dst);
    } else {
        memset(dst, 0, (size_t)n * sizeof *dst);
    }
}

/* ---- unit_mean ---------------------------------------------------------------------------------
 * Unit j of a sequence is summed into the row of m that its mean becomes, m[j+1], and the last unit
 * into sum_out. What the states bring is put there first, by one thread, so that a state may leave
 * where it came from. */

static float *unit_sum(const hy__unit_mean_args *a, int64_t s, int64_t unit0, int64_t j) {
    const bool last = j + 1 == hy__seq_units(&a->rows->seq[s], a->unit);
    return last ? hy__ptr_of(a->sum_out, s) : (float *)hy__ptr(a->m) + (unit0 + j + 1) * a->dim;
}

/* The rows [*begin, *end) of the batch that unit j of a sequence holds. */
static void unit_rows(const hy__seq *q, int64_t unit, int64_t j, int64_t *begin, int64_t *end) {
    const int64_t from = j * unit - q->pos % unit, to = from + unit;
    *begin = q->start + (from > 0 ? from : 0);
    *end = q->start + (to < q->len ? to : q->len);
}

/* The first router input and the first unit's sum so far, from the states. */
static void unit_mean_begin(const hy__unit_mean_args *a, int64_t s, int64_t unit0) {
    const hy__seq *q = &a->rows->seq[s];
    const bool inside = q->pos % a->unit != 0;
    const float *sum_in = hy__ptr_of(a->sum_in, s);
    float *m = (float *)hy__ptr(a->m) + unit0 * a->dim, *sum = unit_sum(a, s, unit0, 0);
    if (q->pos == 0) {
        copy_or_zero(m, hy__ptr(a->first), a->dim);
    } else if (inside) {
        copy_or_zero(m, hy__ptr_of(a->prev_in, s), a->dim);
    } else {
        copy_or_zero(m, sum_in, a->dim);
        vec_scale(m, 1.0f / (float)a->unit, a->dim);
    }
    if (sum) copy_or_zero(sum, inside ? sum_in : NULL, a->dim);
}

static void unit_mean_sum(const hy__unit_mean_args *a, int64_t s, int64_t unit0, int64_t j) {
    const hy__seq *q = &a->rows->seq[s];
    float *sum = unit_sum(a, s, unit0, j);
    if (!sum) return;
    if (j > 0) memset(sum, 0, (size_t)a->dim * sizeof *sum);
    int64_t begin, end;
    unit_rows(q, a->unit, j, &begin, &end);
    for (int64_t r = begin; r < end; r++)
        vec_axpy(sum, 1.0f, (const float *)hy__ptr(a->x) + r * a->dim, a->dim);
    if (j + 1 < hy__seq_units(q, a->unit)) vec_scale(sum, 1.0f / (float)a->unit, a->dim);
}

/* own: each unit is summed into its own row of m. */
static void unit_mean_own(const hy__unit_mean_args *a, int64_t s, int64_t unit0, int64_t j) {
    float *m = (float *)hy__ptr(a->m) + (unit0 + j) * a->dim;
    int64_t begin, end;
    unit_rows(&a->rows->seq[s], a->unit, j, &begin, &end);
    memset(m, 0, (size_t)a->dim * sizeof *m);
    for (int64_t r = begin; r < end; r++)
        vec_axpy(m, 1.0f, (const float *)hy__ptr(a->x) + r * a->dim, a->dim);
    vec_scale(m, 1.0f / (float)(end - begin), a->dim);
}

typedef void (*unit_task)(const hy__unit_mean_args *a, int64_t s, int64_t unit0, int64_t j);

/* Calls task for every unit of the batch, each thread for its share of them. */
static void for_each_unit(hy__backend *be, const hy__unit_mean_args *a, unit_task task) {
    const int64_t n_unit = hy__rows_units(a->rows, a->unit);
    const int n_thread = threads_for(be, a->rows->n_row * a->dim);
#pragma omp parallel num_threads(n_thread)
    {
        int64_t lo, hi, unit0 = 0;
        thread_share(n_unit, &lo, &hi);
        for (int64_t s = 0; s < a->rows->n_seq; s++) {
            const int64_t n = hy__seq_units(&a->rows->seq[s], a->unit);
            const int64_t from = lo > unit0 ? lo - unit0 : 0, to = hi - unit0 < n ? hi - unit0 : n;
            for (int64_t j = from; j < to; j++) task(a, s, unit0, j);
            unit0 += n;
        }
    }
}

static void unit_mean(hy__backend *be, const hy__unit_mean_args *a) {
    int64_t unit0 = 0;
    for (int64_t s = 0; s < a->rows->n_seq; s++) {
        const hy__seq *q = &a->rows->seq[s];
        int32_t *unit_of = (int32_t *)hy__ptr(a->unit_of) + q->start;
        for (int64_t t = 0; t < q->len; t++)
            unit_of[t] = (int32_t)(unit0 + (q->pos % a->unit + t) / a->unit);
        if (!a->own) unit_mean_begin(a, s, unit0);
        unit0 += hy__seq_units(&a->rows->seq[s], a->unit);
    }
    for_each_unit(be, a, a->own ? unit_mean_own : unit_mean_sum);
    if (a->own) return;
    unit0 = 0;
    for (int64_t s = 0; s < a->rows->n_seq; s++) {
        unit0 += hy__seq_units(&a->rows->seq[s], a->unit);
        float *prev_out = hy__ptr_of(a->prev_out, s);
        if (prev_out) {
            copy_or_zero(prev_out, (const float *)hy__ptr(a->m) + (unit0 - 1) * a->dim, a->dim);
        }
    }
}

/* dx of unit j: the gradient of its sum, the same for all of its tokens. */
static void unit_mean_dx(const hy__unit_mean_args *a, int64_t s, int64_t unit0, int64_t j) {
    const hy__seq *q = &a->rows->seq[s];
    const int64_t n_unit = hy__seq_units(q, a->unit), d = a->dim;
    int64_t begin, end;
    unit_rows(q, a->unit, j, &begin, &end);
    float *dx = (float *)hy__ptr(a->dx) + begin * d;
    if (j + 1 == n_unit) {
        copy_or_zero(dx, hy__ptr_of(a->dsum_out, s), d);
    } else {
        const float *dprev_out = j + 2 == n_unit ? hy__ptr_of(a->dprev_out, s) : NULL;
        copy_or_zero(dx, (const float *)hy__ptr(a->dm) + (unit0 + j + 1) * d, d);
        if (dprev_out) vec_axpy(dx, 1.0f, dprev_out, d);
        vec_scale(dx, 1.0f / (float)a->unit, d);
    }
    for (int64_t r = 1; r < end - begin; r++) memcpy(dx + r * d, dx, (size_t)d * sizeof *dx);
}

static void unit_mean_own_dx(const hy__unit_mean_args *a, int64_t s, int64_t unit0, int64_t j) {
    int64_t begin, end;
    unit_rows(&a->rows->seq[s], a->unit, j, &begin, &end);
    float *dx = (float *)hy__ptr(a->dx) + begin * a->dim;
    copy_or_zero(dx, (const float *)hy__ptr(a->dm) + (unit0 + j) * a->dim, a->dim);
    vec_scale(dx, 1.0f / (float)(end - begin), a->dim);
    for (int64_t r = 1; r < end - begin; r++)
        memcpy(dx + r * a->dim, dx, (size_t)a->dim * sizeof *dx);
}

static void unit_mean_backward(hy__backend *be, const hy__unit_mean_args *a) {
    for_each_unit(be, a, a->own ? unit_mean_own_dx : unit_mean_dx);
    if (a->own) return;
    const float inv_unit = 1.0f / (float)a->unit;
    int64_t unit0 = 0;
    for (int64_t s = 0; s < a->rows->n_seq; s++) {
        const hy__seq *q = &a->rows->seq[s];
        const int64_t n_unit = hy__seq_units(q, a->unit);
        const bool inside = q->pos % a->unit != 0;
        const float *dm = (const float *)hy__ptr(a->dm) + unit0 * a->dim;
        const float *dprev_out = n_unit == 1 ? hy__ptr_of(a->dprev_out, s) : NULL;
        const float *dsum = (const float *)hy__ptr(a->dx) + q->start * a->dim; /* of unit 0 */
        float *dfirst = q->pos == 0 ? hy__ptr(a->dfirst) : NULL;
        float *dsum_in = hy__ptr_of(a->dsum_in, s), *dprev_in = hy__ptr_of(a->dprev_in, s);
        for (int64_t i = 0; i < a->dim; i++) {
            const float dinput = dm[i] + (dprev_out ? dprev_out[i] : 0);
            if (dfirst) dfirst[i] += dinput;
            if (dsum_in) dsum_in[i] = inside ? dsum[i] : dfirst ? 0 : dinput * inv_unit;
            if (dprev_in) dprev_in[i] = inside ? dinput : 0;
        }
        unit0 += n_unit;
    }
}

/* ---- route ----------------------------------------------------------------------------------- */

enum { E_MAX = HY__EXPERT_MAX };

static int64_t route_k(const hy__route_args *a) {
    return a->n_force > 0 ? a->n_force : a->k;
}

static int64_t prior_row(const hy__route_args *a, int64_t r) {
    return ((const int32_t *)hy__ptr(a->prior_of))[r];
}

/* l[padded E] = (logits + prior) / temperature, then -inf. */
static void row_logits(const hy__route_args *a, int64_t r, float *l) {
    const int64_t n = a->n_expert;
    const float *logits = (const float *)hy__ptr(a->logits) + r * n;
    memcpy(l, logits, (size_t)n * sizeof *l);
    if (hy__present(a->prior)) {
        const float *prior = (const float *)hy__ptr(a->prior) + prior_row(a, r) * n;
        for (int64_t e = 0; e < n; e++) l[e] += prior[e];
    }
    for (int64_t e = 0; e < n && a->temperature > 0; e++) l[e] /= (float)a->temperature;
    for (int64_t e = n; e < padded(n); e++) l[e] = -INFINITY;
}

/* p[n] = softmax(l[n]), n whole vectors; returns logsumexp(l). */
static float softmax(float *p, const float *l, int64_t n) {
    vf top = vf_load(l), sum = {0};
    for (int64_t e = VL; e < n; e += VL) top = vf_max(top, vf_load(l + e));
    const float max = vf_hmax(top);
    for (int64_t e = 0; e < n; e += VL) {
        const vf x = vf_exp(vf_load(l + e) - max);
        vf_store(p + e, x);
        sum += x;
    }
    const float total = vf_sum(sum);
    vec_scale(p, 1.0f / total, n);
    return max + logf(total);
}

/* The k best of n keys, best first, ties to the lower index; -inf is never taken. Returns how many.
 */
static int64_t take_best(int32_t *best, int64_t k, const float *key, int64_t n) {
    float top[E_MAX];
    int64_t m = 0;
    for (int64_t e = 0; e < n; e++) {
        if (key[e] == -INFINITY || (m == k && key[e] <= top[k - 1])) continue;
        int64_t i = m < k ? m++ : k - 1;
        for (; i > 0 && key[e] > top[i - 1]; i--) {
            top[i] = top[i - 1];
            best[i] = best[i - 1];
        }
        top[i] = key[e];
        best[i] = (int32_t)e;
    }
    return m;
}

/* handicap[E]: what is added to an expert's logit for the choice, its bias or -inf. */
static void call_handicap(const hy__route_args *a, float *handicap) {
    const float *bias = hy__ptr(a->bias);
    for (int64_t e = 0; e < a->n_expert; e++) {
        const bool closed = a->n_force > 0 || (a->ban && a->ban[e]);
        handicap[e] = closed ? -INFINITY : bias ? bias[e] : 0;
    }
    for (int64_t j = 0; j < a->n_force; j++) {
        handicap[a->force[j]] = bias ? bias[a->force[j]] : 0;
    }
}

/* The handicap of the rows with prior u: closed outside of its shortlist. */
static void shortlist_handicap(const hy__route_args *a, int64_t u, const float *all, float *own) {
    const int64_t n = a->n_expert;
    const float *prior = (const float *)hy__ptr(a->prior) + u * n;
    float key[E_MAX];
    int32_t best[E_MAX];
    for (int64_t e = 0; e < n; e++) {
        key[e] = prior[e] + all[e];
        own[e] = -INFINITY;
    }
    const int64_t m = take_best(best, a->shortlist < n ? a->shortlist : n, key, n);
    for (int64_t j = 0; j < m; j++) own[best[j]] = all[best[j]];
}

static void choose(const hy__route_args *a, int64_t r, const float *l, const float *handicap) {
    const int64_t k = route_k(a);
    int32_t *idx = (int32_t *)hy__ptr(a->idx) + r * k;
    float *weight = (float *)hy__ptr(a->weight) + r * k, chosen[E_MAX];
    float key[E_MAX];
    for (int64_t e = 0; e < a->n_expert; e++) key[e] = l[e] + handicap[e];
    const int64_t n = take_best(idx, k, key, a->n_expert);
    for (int64_t j = n; j < k; j++)
        idx[j] = 0; /* logits of -inf: the row is lost, not the memory */
    for (int64_t j = 0; j < k; j++) chosen[j] = l[idx[j]];
    for (int64_t j = k; j < padded(k); j++) chosen[j] = -INFINITY;
    softmax(chosen, chosen, padded(k));
    memcpy(weight, chosen, (size_t)k * sizeof *weight);
}

/* What one thread adds up over its rows. */
typedef struct route_sums {
    float prob[E_MAX];    /* Σ softmax(l) */
    int32_t count[E_MAX]; /* rows that chose e */
} route_sums;

static void route_share(const hy__route_args *a, const float *handicap, route_sums *sums) {
    const int64_t n = padded(a->n_expert), k = route_k(a);
    const bool has_shortlist = a->shortlist > 0 && a->n_force == 0 && hy__present(a->prior);
    float l[E_MAX], p[E_MAX], own[E_MAX], *lse = hy__ptr(a->lse);
    int64_t lo, hi, own_of = -1;
    thread_share(a->n_row, &lo, &hi);
    memset(sums, 0, sizeof *sums);
    for (int64_t r = lo; r < hi; r++) {
        row_logits(a, r, l);
        lse[r] = softmax(p, l, n);
        for (int64_t e = 0; e < n; e += VL)
            vf_store(sums->prob + e, vf_load(sums->prob + e) + vf_load(p + e));
        if (has_shortlist && prior_row(a, r) != own_of) {
            own_of = prior_row(a, r);
            shortlist_handicap(a, own_of, handicap, own);
        }
        choose(a, r, l, has_shortlist ? own : handicap);
        for (int64_t j = 0; j < k; j++) sums->count[((int32_t *)hy__ptr(a->idx))[r * k + j]]++;
    }
}

static void route(hy__backend *be, const hy__route_args *a) {
    const int64_t n = a->n_expert;
    int n_sums = 0; /* threads that the region really had */
    float handicap[E_MAX];
    route_sums *sums = hy__scratch(be, sizeof *sums);
    if (!sums) return;
    call_handicap(a, handicap);
    const int n_thread = threads_for(be, a->n_row * n);
#pragma omp parallel num_threads(n_thread)
    {
        route_share(a, handicap, &sums[omp_get_thread_num()]);
#pragma omp single
        n_sums = omp_get_num_threads();
    }

    float *load = hy__ptr(a->load), *call_load = hy__ptr(a->call_load);
    float *loss_sum = hy__ptr(a->loss_sum);
    const float *lse = hy__ptr(a->lse);
    double aux = 0, lse2 = 0;
    for (int64_t e = 0; e < n; e++) {
        double prob = 0, count = 0;
        for (int i = 0; i < n_sums; i++) {
            prob += (double)sums[i].prob[e];
            count += (double)sums[i].count[e];
        }
        if (load) load[e] += (float)count;
        if (call_load) call_load[e] = (float)count;
        aux += prob * count;
    }
    if (!loss_sum) return;
    for (int64_t r = 0; r < a->n_row; r++) lse2 += (double)lse[r] * (double)lse[r];
    const double rows = (double)a->n_row;
    loss_sum[0] += (float)lse2;
    loss_sum[1] += (float)(aux * (double)n / (rows * rows * (double)route_k(a)));
}

/* share[padded E]: each expert's part of the choices, f_e. */
static void route_row_backward(const hy__route_args *a, int64_t r, const float *share) {
    const int64_t n = a->n_expert, k = route_k(a);
    const int32_t *idx = (const int32_t *)hy__ptr(a->idx) + r * k;
    const float *weight = (const float *)hy__ptr(a->weight) + r * k;
    const float *dweight = hy__ptr(a->dweight);
    float l[E_MAX], p[E_MAX];
    row_logits(a, r, l);
    const float lse = softmax(p, l, padded(n)), mean_share = vec_dot(p, share, padded(n));
    const float z = (float)(2 * a->z_scale) * lse;
    const float aux = (float)(a->aux_scale * (double)n / (double)a->n_row);
    for (int64_t e = 0; e < padded(n); e += VL) {
        const vf d = vf_load(p + e) * (z + aux * (vf_load(share + e) - mean_share));
        vf_store(l + e, d);
    }
    if (dweight) {
        float mean = 0;
        for (int64_t j = 0; j < k; j++) mean += weight[j] * dweight[r * k + j];
        for (int64_t j = 0; j < k; j++) l[idx[j]] += weight[j] * (dweight[r * k + j] - mean);
    }
    float *dlogits = (float *)hy__ptr(a->dlogits) + r * n;
    const float temperature = a->temperature > 0 ? (float)a->temperature : 1.0f;
    for (int64_t e = 0; e < n; e++) dlogits[e] = l[e] / temperature;
}

/* dprior: each thread sums the rows of its share of the priors. */
static void route_prior_backward(const hy__route_args *a) {
    const int64_t n = a->n_expert;
    const float *dlogits = hy__ptr(a->dlogits);
    float *dprior = hy__ptr(a->dprior);
    int64_t lo, hi;
    thread_share(a->n_prior, &lo, &hi);
    memset(dprior + lo * n, 0, (size_t)((hi - lo) * n) * sizeof *dprior);
    for (int64_t r = 0; r < a->n_row; r++) {
        const int64_t u = prior_row(a, r);
        if (u >= lo && u < hi) vec_axpy(dprior + u * n, 1.0f, dlogits + r * n, n);
    }
}

static void route_backward(hy__backend *be, const hy__route_args *a) {
    const int64_t n = a->n_expert;
    float share[E_MAX] = {0};
    for (int64_t e = 0; e < n && a->aux_scale != 0; e++) {
        const float *call_load = hy__ptr(a->call_load);
        share[e] = call_load[e] / (float)(a->n_row * route_k(a));
    }
    const int n_thread = threads_for(be, a->n_row * n);
#pragma omp parallel num_threads(n_thread)
    {
#pragma omp for schedule(static)
        for (int64_t r = 0; r < a->n_row; r++) route_row_backward(a, r, share);
        if (hy__present(a->dprior)) route_prior_backward(a);
    }
}

/* ---- rows to experts and back ---------------------------------------------------------------- */

static int64_t unit_row(hy__tensor unit_of, int64_t t) {
    return hy__present(unit_of) ? ((const int32_t *)hy__ptr(unit_of))[t] : t;
}

/* A counting sort; at[thread][E] counts a thread's tokens by expert, then holds the next free row.
 */
static void route_sort(hy__backend *be, const hy__route_sort_args *a) {
    const int64_t k = a->k, n_expert = a->n_expert;
    const int32_t *idx = hy__ptr(a->idx);
    int32_t *perm = hy__ptr(a->perm), *place = hy__ptr(a->place), *offset = hy__ptr(a->offset);
    int32_t(*at)[E_MAX] = hy__scratch(be, sizeof *at);
    if (!at) return;
    const int n_thread = threads_for(be, a->n_row * k);
#pragma omp parallel num_threads(n_thread)
    {
        int32_t *own = at[omp_get_thread_num()];
        int64_t lo, hi;
        thread_share(a->n_row, &lo, &hi);
        memset(own, 0, (size_t)n_expert * sizeof *own);
        for (int64_t t = lo; t < hi; t++)
            for (int64_t j = 0; j < k; j++) own[idx[unit_row(a->unit_of, t) * k + j]]++;
#pragma omp barrier
#pragma omp single
        {
            int32_t row = 0;
            for (int64_t e = 0; e < n_expert; e++) {
                offset[e] = row;
                for (int i = 0; i < omp_get_num_threads(); i++) {
                    const int32_t count = at[i][e];
                    at[i][e] = row;
                    row += count;
                }
            }
            offset[n_expert] = row;
        }
        for (int64_t t = lo; t < hi; t++)
            for (int64_t j = 0; j < k; j++) {
                const int32_t row = own[idx[unit_row(a->unit_of, t) * k + j]]++;
                perm[row] = (int32_t)t;
                place[t * k + j] = row;
            }
    }
}

static void gather_rows(hy__backend *be, const hy__gather_rows_args *a) {
    const int32_t *perm = hy__ptr(a->perm);
    const float *x = hy__ptr(a->x);
    float *xg = hy__ptr(a->xg);
    const int n_thread = threads_for(be, a->n_out * a->dim);
#pragma omp parallel for schedule(static) num_threads(n_thread)
    for (int64_t i = 0; i < a->n_out; i++)
        memcpy(xg + i * a->dim, x + perm[i] * a->dim, (size_t)a->dim * sizeof *xg);
}

enum { MIX = 4 }; /* rows mixed at a time */

INLINE void mix_tile(const int n, float *y, bool add, const float *w, const float *const *src,
                     int64_t dim) {
    int64_t c = 0;
    for (; c + VL <= dim; c += VL) {
        vf sum = add ? vf_load(y + c) : (vf){0};
#pragma GCC unroll 4
        for (int j = 0; j < n; j++) sum += w[j] * vf_load(src[j] + c);
        vf_store(y + c, sum);
    }
    for (; c < dim; c++) {
        float sum = add ? y[c] : 0;
        for (int j = 0; j < n; j++) sum += w[j] * src[j][c];
        y[c] = sum;
    }
}

/* y[dim] = Σ_j w[j]·x[place[j], dim]; w NULL = ones. */
static void mix_rows(float *y, const float *w, const float *x, const int32_t *place, int64_t k,
                     int64_t dim) {
    for (int64_t j = 0; j < k; j += MIX) {
        const bool add = j > 0;
        const int n = (int)(k - j < MIX ? k - j : MIX);
        const float *src[MIX];
        float weight[MIX];
        for (int i = 0; i < n; i++) {
            src[i] = x + place[j + i] * dim;
            weight[i] = w ? w[j + i] : 1.0f;
        }
        switch (n) {
        case 1:
            mix_tile(1, y, add, weight, src, dim);
            break;
        case 2:
            mix_tile(2, y, add, weight, src, dim);
            break;
        case 3:
            mix_tile(3, y, add, weight, src, dim);
            break;
        default:
            mix_tile(MIX, y, add, weight, src, dim);
            break;
        }
    }
}

static void gather_rows_backward(hy__backend *be, const hy__gather_rows_args *a) {
    const int32_t *place = hy__ptr(a->place);
    const float *dxg = hy__ptr(a->dxg);
    float *dx = hy__ptr(a->dx);
    const int n_thread = threads_for(be, a->n_row * a->k * a->dim);
#pragma omp parallel for schedule(static) num_threads(n_thread)
    for (int64_t t = 0; t < a->n_row; t++)
        mix_rows(dx + t * a->dim, NULL, dxg, place + t * a->k, a->k, a->dim);
}

static void combine(hy__backend *be, const hy__combine_args *a) {
    const int32_t *place = hy__ptr(a->place);
    const float *o = hy__ptr(a->o), *weight = hy__ptr(a->weight);
    float *y = hy__ptr(a->y);
    const int n_thread = threads_for(be, a->n_row * a->k * a->dim);
#pragma omp parallel for schedule(static) num_threads(n_thread)
    for (int64_t t = 0; t < a->n_row; t++)
        mix_rows(y + t * a->dim, weight + unit_row(a->unit_of, t) * a->k, o, place + t * a->k, a->k,
                 a->dim);
}

/* out = w·x; returns x·o. */
static float scale_and_dot(float *out, float w, const float *x, const float *o, int64_t n) {
    vf sum = {0};
    int64_t c = 0;
    for (; c + VL <= n; c += VL) {
        const vf v = vf_load(x + c);
        sum += v * vf_load(o + c);
        vf_store(out + c, w * v);
    }
    float dot = vf_sum(sum);
    for (; c < n; c++) {
        dot += x[c] * o[c];
        out[c] = w * x[c];
    }
    return dot;
}

/* A thread owns a share of the routing rows and takes the tokens that they serve. */
static void combine_backward_share(const hy__combine_args *a) {
    const int32_t *place = hy__ptr(a->place);
    const float *o = hy__ptr(a->o), *weight = hy__ptr(a->weight), *dy = hy__ptr(a->dy);
    float *d_o = hy__ptr(a->d_o), *dweight = hy__ptr(a->dweight);
    const int64_t k = a->k, dim = a->dim;
    const bool all = hy__present(a->unit_of);
    int64_t lo, hi;
    thread_share(a->n_route, &lo, &hi);
    memset(dweight + lo * k, 0, (size_t)((hi - lo) * k) * sizeof *dweight);
    for (int64_t t = all ? 0 : lo; t < (all ? a->n_row : hi); t++) {
        const int64_t u = unit_row(a->unit_of, t);
        if (u < lo || u >= hi) continue;
        for (int64_t j = 0; j < k; j++) {
            const int64_t at = place[t * k + j] * dim;
            dweight[u * k + j] +=
                scale_and_dot(d_o + at, weight[u * k + j], dy + t * dim, o + at, dim);
        }
    }
}

static void combine_backward(hy__backend *be, const hy__combine_args *a) {
    const int n_thread = threads_for(be, a->n_row * a->k * a->dim);
#pragma omp parallel num_threads(n_thread)
    combine_backward_share(a);
}

void HY__FAST(hy__fast_experts)(hy__kernels *k) {
    k->unit_mean = unit_mean;
    k->unit_mean_backward = unit_mean_backward;
    k->route = route;
    k->route_backward = route_backward;
    k->route_sort = route_sort;
    k->gather_rows = gather_rows;
    k->gather_rows_backward = gather_rows_backward;
    k->combine = combine;
    k->combine_backward = combine_backward;
}
