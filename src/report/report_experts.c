/* report_experts.c: how the text falls on the experts: figures of all runs, and of each run maps of
 * experts over time, of all text and of that of each corpus. */
#include "report/figure.h"
#include "report/report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    ROWS = 64,    /* of a map: as many layers as have their experts in so many, at least one */
    COLUMNS = 32, /* of a map, at most */
    FEW = 8,      /* columns, that corpora which are seldom read may leave gaps in */
    EXPERTS = 256 /* and no more corpora than columns: what is larger is not drawn */
};

void hy__report_experts(hy__page *p, const hy__report *r) {
    static const hy__plot even[] = {
        {"E.max_violation", "Busiest expert above the mean (MaxVio)", .unit = HY__UNIT_PERCENT,
         .caption = "0 is even. The mean over the layers, as the next ones."},
        {"E.entropy", "Evenness: entropy of the load", .unit = HY__UNIT_PERCENT,
         .caption = "100% is even; the entropy of the shares over its greatest value."},
        {"E.dead", "Dead experts", "experts of a layer",
         .caption = "Experts that nothing chose in a step."},
        {"E.lse2", "Size of the router's logits", "mean square of log-sum-exp",
         .caption = "What the z-loss holds down."}};
    for (size_t i = 0; i < sizeof even / sizeof *even; i++) hy__figure_plot(p, r, &even[i]);
}

/* ---- loads ---- */

/* Tokens that experts got, in columns of equal shares of the points of E.load; one column more has
 * the last quarter of the points. */
typedef struct loads {
    const hy__report *report;
    const hy__run *run;
    const hy__track *track;                    /* [layer, domain, expert] */
    int64_t layers, domains, experts, columns; /* layers: those that are shown */
    double *sum;                               /* [columns + 1, layers, domains, experts] owned */
    double most; /* the greatest load of all, so that all maps have the same colours */
} loads;

static double *sum_at(const loads *x, int64_t column, int64_t layer, int64_t domain) {
    return x->sum + ((column * x->layers + layer) * x->domains + domain) * x->experts;
}

static void add_point(const loads *x, int64_t column, int64_t point) {
    const int64_t n = x->layers * x->domains * x->experts;
    double *sum = sum_at(x, column, 0, 0);
    for (int64_t i = 0; i < n; i++) {
        const double tokens = hy__track_mean(x->track, point, i);
        if (isfinite(tokens)) sum[i] += tokens;
    }
}

/* The first point of a column. */
static int64_t first_of(const loads *x, int64_t column) {
    return hy__track_points(x->track) * column / x->columns;
}

static void add_up(const loads *x) {
    const int64_t points = hy__track_points(x->track), late = points - (points + 3) / 4;
    const int64_t n = x->layers * x->domains * x->experts;
    for (int64_t i = 0; i < (x->columns + 1) * n; i++) x->sum[i] = 0;
    for (int64_t c = 0; c < x->columns; c++)
        for (int64_t k = first_of(x, c); k < first_of(x, c + 1); k++) add_point(x, c, k);
    for (int64_t k = late; k < points; k++) add_point(x, x->columns, k);
}

/* Tokens that an expert got over those that each would get if all got as much, in the text of one
 * corpus or of all (domain -1); NaN without a token. */
static double load_of(const loads *x, int64_t column, int64_t layer, int64_t domain,
                      int64_t expert) {
    double mine = 0, all = 0;
    for (int64_t d = 0; d < x->domains; d++) {
        const double *sum = sum_at(x, column, layer, d);
        if (domain >= 0 && d != domain) continue;
        mine += sum[expert];
        for (int64_t e = 0; e < x->experts; e++) all += sum[e];
    }
    return all > 0 ? mine * (double)x->experts / all : (double)NAN;
}

/* Whether a column has text, but none of some corpus. */
static bool has_gap(const loads *x) {
    for (int64_t c = 0; c < x->columns; c++)
        for (int64_t d = 0; d < x->domains && !isnan(load_of(x, c, 0, -1, 0)); d++)
            if (isnan(load_of(x, c, 0, d, 0))) return true;
    return false;
}

static double most_of(const loads *x) {
    double most = 1;
    for (int64_t c = 0; c <= x->columns; c++)
        for (int64_t l = 0; l < x->layers; l++)
            for (int64_t d = -1; d < x->domains; d++)
                for (int64_t e = 0; e < x->experts; e++)
                    most = fmax(most, load_of(x, c, l, d, e)); /* NaN is passed over */
    return most;
}

/* False where there is nothing to draw, or no memory (x->sum is then NULL). */
static bool loads_init(loads *x, const hy__report *report, const hy__run *r) {
    *x = (loads){.report = report, .run = r, .track = hy__run_track(r, "E.load")};
    if (!x->track || x->track->depth != 3 || hy__track_points(x->track) == 0) return false;
    x->domains = x->track->shape[1];
    x->experts = x->track->shape[2];
    if (x->domains > COLUMNS || x->experts > EXPERTS) return false;
    const int64_t points = hy__track_points(x->track), fit = ROWS / x->experts;
    x->layers = fit < 1 ? 1 : x->track->shape[0] < fit ? x->track->shape[0] : fit;
    x->columns = points < COLUMNS ? points : COLUMNS;
    const int64_t n = (x->columns + 1) * x->layers * x->domains * x->experts;
    x->sum = malloc((size_t)n * sizeof *x->sum);
    if (!x->sum) return true;
    for (add_up(x); x->columns > FEW && has_gap(x); add_up(x)) x->columns = (x->columns + 1) / 2;
    x->most = most_of(x);
    return true;
}

/* ---- maps ---- */

/* Names a row; only the first of a layer says the layer. */
static void name_row(const loads *x, int64_t row, char *name, size_t size) {
    const int64_t expert = row % x->experts;
    if (expert == 0)
        snprintf(name, size, "%s, expert 0", hy__report_layer(x->run, 'E', row / x->experts).text);
    else
        snprintf(name, size, "%lld", (long long)expert);
}

static const char *corpus_name(const loads *x, int64_t domain) {
    return domain < x->run->n_corpus ? x->run->corpus[domain] : "another corpus";
}

/* Draws values [row, column], a row for each expert of the layers. */
static void put_map(hy__page *p, const loads *x, hy__chart chart, const double *value,
                    int64_t columns, const double *at, const char *caption) {
    const int64_t rows = x->layers * x->experts;
    char(*label)[64] = calloc((size_t)rows, sizeof *label);
    hy__series *series = calloc((size_t)rows, sizeof *series);
    p->text.failed = p->text.failed || !label || !series;
    for (int64_t i = 0; !p->text.failed && i < rows; i++) {
        name_row(x, i, label[i], sizeof label[i]);
        series[i] = (hy__series){.name = label[i], .x = at, .y = value + i * columns, .n = columns};
    }
    chart.kind = HY__CHART_HEAT;
    chart.y = (hy__axis){.label = "load over the mean", .max = x->most};
    chart.series = series;
    chart.n_series = rows;
    if (!p->text.failed) hy__page_figure(p, &chart, caption);
    free(label);
    free(series);
}

/* Experts over the steps, by the text of one corpus or of all (domain -1). */
static void put_over_time(hy__page *p, const loads *x, double *value, int64_t domain) {
    char title[160] = "Load of the experts";
    double at[COLUMNS];
    if (domain >= 0)
        snprintf(title, sizeof title, "Load by text of %s", corpus_name(x, domain));
    else if (x->domains > 1)
        snprintf(title, sizeof title, "Load of the experts, all text");
    for (int64_t c = 0; c < x->columns; c++)
        at[c] =
            hy__run_at(x->run, x->report->over, hy__track_step(x->track, first_of(x, c + 1) - 1));
    for (int64_t i = 0; i < x->layers * x->experts; i++)
        for (int64_t c = 0; c < x->columns; c++)
            value[i * x->columns + c] = load_of(x, c, i / x->experts, domain, i % x->experts);
    put_map(p, x, (hy__chart){.title = title, .x = hy__figure_axis(x->report)}, value, x->columns,
            at, NULL);
}

/* Experts by corpus, at the end. */
static void put_by_corpus(hy__page *p, const loads *x, double *value) {
    const char *name[COLUMNS];
    const int64_t n = x->domains;
    for (int64_t d = 0; d < n; d++) name[d] = corpus_name(x, d);
    for (int64_t i = 0; i < x->layers * x->experts; i++)
        for (int64_t d = 0; d < n; d++)
            value[i * n + d] = load_of(x, x->columns, i / x->experts, d, i % x->experts);
    put_map(
        p, x,
        (hy__chart){.title = "Experts by corpus, at the end", .category = name, .n_category = n},
        value, n, NULL,
        "What each expert got of the text of a corpus in the last quarter of the run. Where "
        "columns "
        "differ, experts have a subject.");
}

static void put_maps(hy__page *p, const loads *x) {
    const int64_t steps = hy__track_steps(x->track);
    double *value = malloc((size_t)(x->layers * x->experts * COLUMNS) * sizeof *value);
    if (!x->sum || !value) {
        p->text.failed = true;
        free(value);
        return;
    }
    hy__page_grid(p);
    put_over_time(p, x, value, -1);
    if (x->domains > 1) put_by_corpus(p, x, value);
    for (int64_t d = 0; d < x->domains && x->domains > 1; d++) put_over_time(p, x, value, d);
    hy__page_grid_end(p);
    if (x->layers < x->track->shape[0])
        hy__page_note(p, "The first %lld of %lld layers.", (long long)x->layers,
                      (long long)x->track->shape[0]);
    if (steps < x->run->last_step)
        hy__page_note(p, "Counted in %lld of %lld steps (train.detail_every).", (long long)steps,
                      (long long)x->run->last_step);
    free(value);
}

void hy__report_loads(hy__page *p, const hy__report *r) {
    for (int i = 0; i < r->n; i++) {
        loads x;
        if (!loads_init(&x, r, &r->run[i])) continue;
        if (r->n > 1) hy__page_details(p, "Load of the experts of %s", r->run[i].title);
        put_maps(p, &x);
        if (r->n > 1) hy__page_details_end(p);
        free(x.sum);
    }
}
