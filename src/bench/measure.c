/* measure.c: see measure.h. */
#include "bench/measure.h"

#include "backend/count/count.h"
#include "base/memory.h"
#include "bench/workload.h"

#include <stdlib.h>

/* ---- what belongs to the time ---- */

/* Of a decoded token the mean over those of a run. */
static hy_status account_for(hy__bench_row *row, const hy__account *a, hy_error *err) {
    hy__spent part[HY__PART_MAX + 1];
    const bool decode = row->shape.phase == HY__PHASE_DECODE;
    const int64_t steps = decode ? HY__DECODED : 1;
    hy__shape shape = row->shape;
    row->rows = shape.batch * (decode ? 1 : shape.tokens);
    for (int64_t i = 0; i < steps; i++) {
        if (decode) shape.tokens++;
        HY_TRY(hy__account_spend(a, &shape, part, err));
        row->flops += hy__spent_flops(&part[a->n_part]) / (double)steps;
        row->bytes += hy__spent_least_bytes(&part[a->n_part]) / (double)steps;
    }
    return HY_OK;
}

/* Makes the same calls on the counting backend: which kernels there are, FLOPs and bytes. */
static hy_status count_calls(const hy__bench_row *row, const hy__meter *m, hy__profile *out,
                             hy_error *err) {
    hy__backend *be = NULL;
    hy__model *model = NULL;
    hy__workload *w = NULL;
    hy__watch watch;
    hy__lap lap;
    hy_status status;
    const hy__dtype weight =
        m->model->weight_dtype == m->model->be->real ? HY__DTYPE_F32 : m->model->weight_dtype;
    HY_TRY_GOTO(hy__count_open(&be, err));
    HY_TRY_GOTO(hy__model_new(&model, be, &m->account->cfg, weight, err));
    HY_TRY_GOTO(hy__workload_new(&w, model, &row->shape, m->account->train.optimizer, err));
    hy__watch_begin(&watch, be, m->account, out);
    status = hy__workload_run(w, &lap, err);
    hy__watch_end(&watch);
    hy__profile_divide(out, hy__workload_steps(w));
done:
    hy__workload_free(w);
    hy__model_free(model);
    hy__backend_free(be);
    return status;
}

/* ---- time ---- */

/* One number for each run, and ceilings before each and after the last. */
typedef struct series {
    double seconds[HY__BENCH_RUNS];
    hy__ceiling ceiling[HY__BENCH_RUNS + 1];
    double scratch[HY__BENCH_RUNS + 1];
} series;

static hy_status time_runs(hy__workload *w, const hy__meter *m, series *s, hy_error *err) {
    hy__lap lap;
    for (int64_t i = 0; i < m->warm_up; i++) HY_TRY(hy__workload_run(w, &lap, err));
    HY_TRY(hy__ceilings_sample(m->ceilings, &s->ceiling[0], err));
    for (int64_t i = 0; i < m->runs; i++) {
        HY_TRY(hy__workload_run(w, &lap, err));
        s->seconds[i] = lap.median;
        HY_TRY(hy__ceilings_sample(m->ceilings, &s->ceiling[i + 1], err));
    }
    return HY_OK;
}

static double median_ceiling(series *s, int64_t n_run, hy__ceiling_fn rate) {
    for (int64_t i = 0; i <= n_run; i++) s->scratch[i] = rate(&s->ceiling[i]);
    return hy__median(s->scratch, n_run + 1);
}

/* The median over the runs of amount/seconds over the mean of the ceilings around the run. */
static double share(series *s, int64_t n_run, double amount, hy__ceiling_fn rate) {
    for (int64_t i = 0; i < n_run; i++) {
        const double around = (rate(&s->ceiling[i]) + rate(&s->ceiling[i + 1])) / 2;
        s->scratch[i] = amount / s->seconds[i] / around;
    }
    return hy__median(s->scratch, n_run);
}

static void summarize(hy__bench_row *row, series *s, int64_t n_run) {
    row->ceiling = (hy__ceiling){.dense = median_ceiling(s, n_run, hy__ceiling_dense),
                                 .read = median_ceiling(s, n_run, hy__ceiling_read),
                                 .triad = median_ceiling(s, n_run, hy__ceiling_triad)};
    row->dense_share = share(s, n_run, row->flops, hy__ceiling_dense);
    row->stream_share = share(s, n_run, row->bytes, hy__ceiling_stream);
    row->seconds = hy__spread_of(s->seconds, n_run);
}

static hy_status measure_time(hy__bench_row *row, const hy__meter *m, hy__workload *w,
                              bool counts_peak, hy_error *err) {
    series *s = calloc(1, sizeof *s);
    if (!s) return hy__no_memory(err, "measuring");
    const hy_status status = time_runs(w, m, s, err);
    if (status == HY_OK) {
        summarize(row, s, m->runs);
        if (counts_peak)
            row->peak_bytes = hy__rss_peak_bytes() - (int64_t)hy__ceilings_memory(m->ceilings);
    }
    free(s);
    return status;
}

/* ---- profiles ---- */

/* The watched run whose time is the median one, so that its parts add up. */
static hy_status watch_runs(const hy__meter *m, hy__workload *w, hy__profile *out, double *wall,
                            hy_error *err) {
    hy_status status = HY_OK;
    double *seconds = calloc((size_t)m->runs, sizeof *seconds);
    hy__profile *each = calloc((size_t)m->runs, sizeof *each);
    if (!seconds || !each) {
        status = hy__no_memory(err, "profiles");
        goto done;
    }
    for (int64_t i = 0; i < m->runs; i++) {
        hy__watch watch;
        hy__lap lap;
        hy__watch_begin(&watch, w->model->be, m->account, &each[i]);
        status = hy__workload_run(w, &lap, err);
        seconds[i] = lap.mean;
        hy__watch_end(&watch);
        if (status != HY_OK) goto done;
    }
    int64_t middle = 0;
    for (int64_t i = 0; i < m->runs; i++) {
        int64_t below = 0;
        for (int64_t j = 0; j < m->runs; j++)
            below += seconds[j] < seconds[i] || (seconds[j] == seconds[i] && j < i);
        if (below == m->runs / 2) middle = i;
    }
    *out = each[middle];
    *wall = seconds[middle];
    hy__profile_divide(out, hy__workload_steps(w));
done:
    free(seconds);
    free(each);
    return status;
}

static hy_status measure_profile(hy__bench_row *row, const hy__meter *m, hy__workload *w,
                                 const hy__profile *counted, hy_error *err) {
    row->profile = calloc(1, sizeof *row->profile);
    if (!row->profile) return hy__no_memory(err, "profiles");
    HY_TRY(watch_runs(m, w, row->profile, &row->profile_seconds, err));
    for (int part = 0; part < HY__PROFILE_PARTS; part++)
        for (int id = 0; id < HY__KERNEL_N; id++) {
            hy__cell *c = &row->profile->cell[part][id];
            c->flops = counted->cell[part][id].flops;
            c->bytes = counted->cell[part][id].bytes;
        }
    return HY_OK;
}

/* ---- one row ---- */

static hy_status run(hy__bench_row *row, const hy__meter *m, const hy__profile *counted,
                     hy_error *err) {
    hy__workload *w = NULL;
    const bool spoilt = hy__check_spoils(row->check, counted);
    const bool counts_peak = hy__rss_peak_restart();
    if (spoilt) row->refused = row->check->why;
    if (spoilt && !m->profile) return HY_OK;
    HY_TRY(hy__workload_new(&w, m->model, &row->shape, m->account->train.optimizer, err));
    row->made_up = w->made_up;
    hy_status status = measure_time(row, m, w, counts_peak, err);
    if (status == HY_OK && m->profile) status = measure_profile(row, m, w, counted, err);
    hy__workload_free(w);
    return status;
}

hy_status hy__measure_row(hy__bench_row *row, const hy__meter *m, hy_error *err) {
    HY_TRY(account_for(row, m->account, err));
    hy__profile *counted = calloc(1, sizeof *counted);
    if (!counted) return hy__no_memory(err, "measuring");
    hy_status status = count_calls(row, m, counted, err);
    if (status == HY_OK) status = run(row, m, counted, err);
    free(counted);
    return status;
}
