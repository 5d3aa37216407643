/* ref_experts.c: the specification of chunk routing (letter E): router inputs, the choice of
 * experts and the movement of rows to experts and back. Shapes and equations: backend.h.
 *
 * The auxiliary loss E·Σ_e f_e·P_e is differentiated through P_e alone: f_e counts choices and is
 * a constant for the gradient (Switch Transformer, arXiv 2101.03961). */
#include "backend/cpu/ref.h"

/* ---- unit_mean ---------------------------------------------------------------------------------
 * Walks each element of a sequence as a scalar recurrence: `sum` of the open unit, `prev` the
 * router input of the open unit. A unit's first token closes the unit before it. */

static void seq_unit_mean(const hy__unit_mean_args *a, int64_t s, int64_t unit0) {
    const hy__seq *q = &a->rows->seq[s];
    const int64_t skew = q->pos % a->unit;
    const real *x = (const real *)hy__ptr(a->x) + q->start * a->dim, *first = hy__ptr(a->first);
    const real *sum_in = hy__ptr_of(a->sum_in, s), *prev_in = hy__ptr_of(a->prev_in, s);
    real *m = (real *)hy__ptr(a->m) + unit0 * a->dim;
    real *sum_out = hy__ptr_of(a->sum_out, s), *prev_out = hy__ptr_of(a->prev_out, s);
    for (int64_t i = 0; i < a->dim; i++) {
        const real sum_of_state = sum_in ? sum_in[i] : 0;
        real sum = 0, prev;
        if (q->pos == 0) {
            prev = first[i];
        } else if (skew == 0) {
            prev = sum_of_state / (real)a->unit;
        } else {
            sum = sum_of_state;
            prev = prev_in ? prev_in[i] : 0;
        }
        for (int64_t t = 0; t < q->len; t++) {
            if (t > 0 && (skew + t) % a->unit == 0) {
                prev = sum / (real)a->unit;
                sum = 0;
            }
            m[(skew + t) / a->unit * a->dim + i] = prev;
            sum += x[t * a->dim + i];
        }
        if (sum_out) sum_out[i] = sum;
        if (prev_out) prev_out[i] = prev;
    }
}

/* own: each unit of the piece is summed for itself. */
static void seq_unit_mean_own(const hy__unit_mean_args *a, int64_t s, int64_t unit0) {
    const hy__seq *q = &a->rows->seq[s];
    const real *x = (const real *)hy__ptr(a->x) + q->start * a->dim;
    real *m = (real *)hy__ptr(a->m) + unit0 * a->dim;
    for (int64_t t = 0; t < q->len; t += a->unit) {
        const int64_t end = t + a->unit < q->len ? t + a->unit : q->len;
        for (int64_t i = 0; i < a->dim; i++) {
            real sum = 0;
            for (int64_t j = t; j < end; j++) sum += x[j * a->dim + i];
            m[t / a->unit * a->dim + i] = sum / (real)(end - t);
        }
    }
}

static void unit_mean(hy__backend *be, const hy__unit_mean_args *a) {
    (void)be;
    int32_t *unit_of = hy__ptr(a->unit_of);
    int64_t unit0 = 0;
    for (int64_t s = 0; s < a->rows->n_seq; s++) {
        const hy__seq *q = &a->rows->seq[s];
        for (int64_t t = 0; t < q->len; t++)
            unit_of[q->start + t] = (int32_t)(unit0 + (q->pos % a->unit + t) / a->unit);
        if (a->own)
            seq_unit_mean_own(a, s, unit0);
        else
            seq_unit_mean(a, s, unit0);
        unit0 += hy__seq_units(q, a->unit);
    }
}

/* The recurrence read backwards: dsum and dprev are the gradients of sum and prev. */
static void seq_unit_mean_backward(const hy__unit_mean_args *a, int64_t s, int64_t unit0) {
    const hy__seq *q = &a->rows->seq[s];
    const int64_t skew = q->pos % a->unit;
    const real *dm = (const real *)hy__ptr(a->dm) + unit0 * a->dim;
    const real *dsum_out = hy__ptr_of(a->dsum_out, s), *dprev_out = hy__ptr_of(a->dprev_out, s);
    real *dx = (real *)hy__ptr(a->dx) + q->start * a->dim, *dfirst = hy__ptr(a->dfirst);
    real *dsum_in = hy__ptr_of(a->dsum_in, s), *dprev_in = hy__ptr_of(a->dprev_in, s);
    for (int64_t i = 0; i < a->dim; i++) {
        real dsum = dsum_out ? dsum_out[i] : 0, dprev = dprev_out ? dprev_out[i] : 0;
        for (int64_t t = q->len - 1; t >= 0; t--) {
            const bool begins = (skew + t) % a->unit == 0;
            dx[t * a->dim + i] = dsum;
            if (begins || t == 0) dprev += dm[(skew + t) / a->unit * a->dim + i];
            if (begins && t > 0) {
                dsum = dprev / (real)a->unit;
                dprev = 0;
            }
        }
        if (q->pos == 0) {
            dfirst[i] += dprev;
            dsum = dprev = 0;
        } else if (skew == 0) {
            dsum = dprev / (real)a->unit;
            dprev = 0;
        }
        if (dsum_in) dsum_in[i] = dsum;
        if (dprev_in) dprev_in[i] = dprev;
    }
}

static void seq_unit_mean_own_backward(const hy__unit_mean_args *a, int64_t s, int64_t unit0) {
    const hy__seq *q = &a->rows->seq[s];
    const real *dm = (const real *)hy__ptr(a->dm) + unit0 * a->dim;
    real *dx = (real *)hy__ptr(a->dx) + q->start * a->dim;
    for (int64_t t = 0; t < q->len; t++) {
        const int64_t left = q->len - t / a->unit * a->unit;
        const real n = (real)(left < a->unit ? left : a->unit);
        for (int64_t i = 0; i < a->dim; i++) dx[t * a->dim + i] = dm[t / a->unit * a->dim + i] / n;
    }
}

static void unit_mean_backward(hy__backend *be, const hy__unit_mean_args *a) {
    (void)be;
    int64_t unit0 = 0;
    for (int64_t s = 0; s < a->rows->n_seq; s++) {
        if (a->own)
            seq_unit_mean_own_backward(a, s, unit0);
        else
            seq_unit_mean_backward(a, s, unit0);
        unit0 += hy__seq_units(&a->rows->seq[s], a->unit);
    }
}

/* ---- route ----------------------------------------------------------------------------------- */

static int64_t route_k(const hy__route_args *a) {
    return a->n_force > 0 ? a->n_force : a->k;
}

static int64_t prior_row(const hy__route_args *a, int64_t r) {
    return ((const int32_t *)hy__ptr(a->prior_of))[r];
}

static real bias_of(const hy__route_args *a, int64_t e) {
    return hy__present(a->bias) ? ref_get(a->bias, e) : 0;
}

/* l[E] = (logits + prior) / temperature; returns logsumexp(l). */
static double row_logits(const hy__route_args *a, int64_t r, real *l) {
    const int64_t n = a->n_expert;
    real top = -(real)INFINITY;
    for (int64_t e = 0; e < n; e++) {
        l[e] = ref_get(a->logits, r * n + e);
        if (hy__present(a->prior)) l[e] += ref_get(a->prior, prior_row(a, r) * n + e);
        if (a->temperature > 0) l[e] /= (real)a->temperature;
        if (l[e] > top) top = l[e];
    }
    double sum = 0;
    for (int64_t e = 0; e < n; e++) sum += exp((double)(l[e] - top));
    return (double)top + log(sum);
}

/* The n best open experts, best first, ties to the lower index; they are closed. */
static void take_best(int32_t *best, int64_t n, const real *key, bool *open, int64_t n_expert) {
    for (int64_t j = 0; j < n; j++) {
        int64_t top = -1;
        for (int64_t e = 0; e < n_expert; e++)
            if (open[e] && (top < 0 || key[e] > key[top])) top = e;
        best[j] = (int32_t)top;
        open[top] = false;
    }
}

/* open[E]: the experts among which row r may choose. */
static void open_candidates(const hy__route_args *a, int64_t r, bool *open) {
    const int64_t n = a->n_expert;
    int64_t n_open = 0;
    for (int64_t e = 0; e < n; e++) {
        open[e] = a->n_force == 0 && !(a->ban && a->ban[e]);
        n_open += open[e];
    }
    for (int64_t j = 0; j < a->n_force; j++) open[a->force[j]] = true;
    if (a->n_force > 0 || a->shortlist <= 0 || a->shortlist >= n_open) return;

    real key[HY__EXPERT_MAX];
    int32_t best[HY__EXPERT_MAX];
    for (int64_t e = 0; e < n; e++) {
        key[e] = ref_get(a->prior, prior_row(a, r) * n + e) + bias_of(a, e);
    }
    take_best(best, a->shortlist, key, open, n);
    memset(open, 0, (size_t)n * sizeof *open);
    for (int64_t j = 0; j < a->shortlist; j++) open[best[j]] = true;
}

static void choose(const hy__route_args *a, int64_t r, const real *l) {
    const int64_t k = route_k(a);
    int32_t *idx = (int32_t *)hy__ptr(a->idx) + r * k;
    real *weight = (real *)hy__ptr(a->weight) + r * k;
    bool open[HY__EXPERT_MAX];
    real key[HY__EXPERT_MAX];
    for (int64_t e = 0; e < a->n_expert; e++) key[e] = l[e] + bias_of(a, e);
    open_candidates(a, r, open);
    take_best(idx, k, key, open, a->n_expert);

    real top = l[idx[0]];
    for (int64_t j = 1; j < k; j++)
        if (l[idx[j]] > top) top = l[idx[j]];
    double sum = 0;
    for (int64_t j = 0; j < k; j++) sum += exp((double)(l[idx[j]] - top));
    for (int64_t j = 0; j < k; j++) weight[j] = (real)(exp((double)(l[idx[j]] - top)) / sum);
}

static void route(hy__backend *be, const hy__route_args *a) {
    (void)be;
    const int64_t n = a->n_expert, k = route_k(a);
    real l[HY__EXPERT_MAX], *lse = hy__ptr(a->lse);
    double prob[HY__EXPERT_MAX] = {0}, lse2 = 0, aux = 0; /* prob: Σ_r softmax(l) */
    int64_t count[HY__EXPERT_MAX] = {0};
    for (int64_t r = 0; r < a->n_row; r++) {
        const double row_lse = row_logits(a, r, l);
        lse[r] = (real)row_lse;
        lse2 += row_lse * row_lse;
        for (int64_t e = 0; e < n; e++) prob[e] += exp((double)l[e] - row_lse);
        choose(a, r, l);
        for (int64_t j = 0; j < k; j++) count[((const int32_t *)hy__ptr(a->idx))[r * k + j]]++;
    }
    real *load = hy__ptr(a->load), *call_load = hy__ptr(a->call_load);
    real *loss_sum = hy__ptr(a->loss_sum);
    const double rows = (double)a->n_row;
    for (int64_t e = 0; e < n; e++) {
        if (load) load[e] += (real)count[e];
        if (call_load) call_load[e] = (real)count[e];
        aux += (double)n * ((double)count[e] / (rows * (double)k)) * (prob[e] / rows);
    }
    if (loss_sum) {
        loss_sum[0] += (real)lse2;
        loss_sum[1] += (real)aux;
    }
}

static void route_backward(hy__backend *be, const hy__route_args *a) {
    (void)be;
    const int64_t n = a->n_expert, k = route_k(a);
    const int32_t *idx = hy__ptr(a->idx);
    const real *weight = hy__ptr(a->weight), *dweight = hy__ptr(a->dweight);
    real *dlogits = hy__ptr(a->dlogits), *dprior = hy__ptr(a->dprior);
    const double rows = (double)a->n_row;
    double share[HY__EXPERT_MAX] = {0}; /* f_e */
    for (int64_t e = 0; e < n && a->aux_scale != 0; e++) {
        share[e] = (double)ref_get(a->call_load, e) / (rows * (double)k);
    }
    if (dprior) memset(dprior, 0, (size_t)(a->n_prior * n) * sizeof *dprior);
    for (int64_t r = 0; r < a->n_row; r++) {
        real l[HY__EXPERT_MAX];
        double p[HY__EXPERT_MAX], dl[HY__EXPERT_MAX], mean_share = 0, mean_dweight = 0;
        const double lse = row_logits(a, r, l);
        for (int64_t e = 0; e < n; e++) {
            p[e] = exp((double)l[e] - lse);
            mean_share += p[e] * share[e];
        }
        for (int64_t e = 0; e < n; e++) {
            dl[e] = a->z_scale * 2 * lse * p[e] +
                    a->aux_scale * (double)n / rows * p[e] * (share[e] - mean_share);
        }
        for (int64_t j = 0; j < k && dweight; j++) {
            mean_dweight += (double)weight[r * k + j] * (double)dweight[r * k + j];
        }
        for (int64_t j = 0; j < k && dweight; j++) {
            const double dw = (double)dweight[r * k + j] - mean_dweight;
            dl[idx[r * k + j]] += (double)weight[r * k + j] * dw;
        }
        for (int64_t e = 0; e < n; e++) {
            const double d = a->temperature > 0 ? dl[e] / a->temperature : dl[e];
            dlogits[r * n + e] = (real)d;
            if (dprior) dprior[prior_row(a, r) * n + e] += (real)d;
        }
    }
}

/* ---- rows to experts and back ------------------------------------------------------------------
 */

static int64_t unit_row(hy__tensor unit_of, int64_t t) {
    return hy__present(unit_of) ? ((const int32_t *)hy__ptr(unit_of))[t] : t;
}

static void route_sort(hy__backend *be, const hy__route_sort_args *a) {
    (void)be;
    const int32_t *idx = hy__ptr(a->idx);
    int32_t *perm = hy__ptr(a->perm), *place = hy__ptr(a->place), *offset = hy__ptr(a->offset);
    int32_t row = 0;
    for (int64_t e = 0; e < a->n_expert; e++) {
        offset[e] = row;
        for (int64_t t = 0; t < a->n_row; t++)
            for (int64_t j = 0; j < a->k; j++) {
                if (idx[unit_row(a->unit_of, t) * a->k + j] != e) continue;
                perm[row] = (int32_t)t;
                place[t * a->k + j] = row++;
            }
    }
    offset[a->n_expert] = row;
}

static void gather_rows(hy__backend *be, const hy__gather_rows_args *a) {
    (void)be;
    const int32_t *perm = hy__ptr(a->perm);
    const real *x = hy__ptr(a->x);
    real *xg = hy__ptr(a->xg);
    for (int64_t i = 0; i < a->n_out; i++)
        for (int64_t c = 0; c < a->dim; c++) xg[i * a->dim + c] = x[perm[i] * a->dim + c];
}

static void gather_rows_backward(hy__backend *be, const hy__gather_rows_args *a) {
    (void)be;
    const int32_t *place = hy__ptr(a->place);
    const real *dxg = hy__ptr(a->dxg);
    real *dx = hy__ptr(a->dx);
    for (int64_t t = 0; t < a->n_row; t++)
        for (int64_t c = 0; c < a->dim; c++) {
            real sum = 0;
            for (int64_t j = 0; j < a->k; j++) sum += dxg[place[t * a->k + j] * a->dim + c];
            dx[t * a->dim + c] = sum;
        }
}

static void combine(hy__backend *be, const hy__combine_args *a) {
    (void)be;
    const int32_t *place = hy__ptr(a->place);
    const real *o = hy__ptr(a->o), *weight = hy__ptr(a->weight);
    real *y = hy__ptr(a->y);
    for (int64_t t = 0; t < a->n_row; t++) {
        const real *w = weight + unit_row(a->unit_of, t) * a->k;
        for (int64_t c = 0; c < a->dim; c++) {
            real sum = 0;
            for (int64_t j = 0; j < a->k; j++) sum += w[j] * o[place[t * a->k + j] * a->dim + c];
            y[t * a->dim + c] = sum;
        }
    }
}

static void combine_backward(hy__backend *be, const hy__combine_args *a) {
    (void)be;
    const int32_t *place = hy__ptr(a->place);
    const real *o = hy__ptr(a->o), *weight = hy__ptr(a->weight), *dy = hy__ptr(a->dy);
    real *d_o = hy__ptr(a->d_o), *dweight = hy__ptr(a->dweight);
    memset(dweight, 0, (size_t)(a->n_route * a->k) * sizeof *dweight);
    for (int64_t t = 0; t < a->n_row; t++)
        for (int64_t j = 0; j < a->k; j++) {
            const int64_t row = place[t * a->k + j], u = unit_row(a->unit_of, t);
            real dot = 0;
            for (int64_t c = 0; c < a->dim; c++) {
                d_o[row * a->dim + c] = weight[u * a->k + j] * dy[t * a->dim + c];
                dot += dy[t * a->dim + c] * o[row * a->dim + c];
            }
            dweight[u * a->k + j] += dot;
        }
}

static void route_stat(hy__backend *be, const hy__route_stat_args *a) {
    (void)be;
    const int32_t *idx = hy__ptr(a->idx);
    const int32_t *unit_of = hy__present(a->unit_of) ? hy__ptr(a->unit_of) : NULL;
    for (int64_t i = 0; i < a->rows->n_seq; i++) {
        const hy__seq *s = &a->rows->seq[i];
        const int64_t domain = s->domain < a->n_domain ? s->domain : a->n_domain - 1;
        real *load = (real *)hy__ptr(a->load) + domain * a->n_expert;
        for (int64_t t = s->start; t < s->start + s->len; t++)
            for (int64_t j = 0; j < a->k; j++) load[idx[(unit_of ? unit_of[t] : t) * a->k + j]]++;
    }
}

/* Loads are counts, so that n·load_e and Σ load are exact: no rounding moves one at the mean. */
static void balance(hy__backend *be, const hy__balance_args *a) {
    (void)be;
    real *bias = hy__ptr(a->bias), *load = hy__ptr(a->load);
    double sum = 0;
    for (int64_t e = 0; e < a->n_expert; e++) sum += (double)load[e];
    for (int64_t e = 0; e < a->n_expert; e++) {
        const double excess = (double)a->n_expert * (double)load[e] - sum;
        if (excess != 0) bias[e] += (real)(excess < 0 ? a->rate : -a->rate);
        load[e] = 0;
    }
}

void HY__REF(hy__ref_experts)(hy__kernels *k) {
    k->unit_mean = unit_mean;
    k->unit_mean_backward = unit_mean_backward;
    k->route = route;
    k->route_backward = route_backward;
    k->route_sort = route_sort;
    k->route_stat = route_stat;
    k->gather_rows = gather_rows;
    k->gather_rows_backward = gather_rows_backward;
    k->combine = combine;
    k->combine_backward = combine_backward;
    k->balance = balance;
}
