/* figure.c: see figure.h. */
#include "report/figure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Points of a curve in a figure of half the page: about one for a pixel and a half. */
enum { POINTS = 240 };

void hy__figure_begin(hy__figure *f, hy__chart_kind kind, const char *title, const char *label,
                      hy__unit unit) {
    memset(f, 0, sizeof *f);
    f->points = POINTS;
    f->chart = (hy__chart){.kind = kind,
                           .title = title,
                           .x = {.label = "step", .unit = HY__UNIT_COUNT},
                           .y = {.label = label, .unit = unit}};
}

/* n doubles that live until the figure is put; NULL without memory. */
static double *hold(hy__figure *f, int64_t n) {
    double *x = malloc((size_t)(n > 0 ? n : 1) * sizeof *x);
    if (x)
        f->held[f->n_held++] = x;
    else
        f->failed = true;
    return x;
}

static const char *hold_name(hy__figure *f, const char *name) {
    const size_t size = strlen(name) + 1;
    char *to = (char *)hold(f, (int64_t)(size / sizeof(double)) + 1);
    return to ? memcpy(to, name, size) : NULL;
}

/* Points of the track that one of the curve stands for. */
static int64_t group_of(const hy__figure *f, const hy__track *t) {
    return (hy__track_points(t) + f->points - 1) / f->points;
}

/* The mean of value(k) over the points that the curve's i-th stands for. */
static double group_mean(const hy__figure *f, const hy__track *t, int64_t i, hy__figure_fn *value,
                         const void *user) {
    const int64_t group = group_of(f, t), n = hy__track_points(t);
    double sum = 0, count = 0;
    for (int64_t k = i * group; k < (i + 1) * group && k < n; k++) {
        const double x = value(user, t, k);
        if (!isfinite(x)) continue;
        sum += x;
        count++;
    }
    return count > 0 ? sum / count : (double)NAN;
}

static double step_at(const void *user, const hy__track *t, int64_t point) {
    (void)user;
    return hy__track_step(t, point);
}

static double number_at(const void *user, const hy__track *t, int64_t point) {
    return hy__track_mean(t, point, *(const int64_t *)user);
}

/* A new series over the points of a track, its x and y ready; NULL where there is nothing. */
static hy__series *add(hy__figure *f, const char *name, const hy__track *t, double **y) {
    if (!t || f->chart.n_series == HY__FIGURE_SERIES || hy__track_points(t) == 0) return NULL;
    const int64_t group = group_of(f, t), n = (hy__track_points(t) + group - 1) / group;
    const char *kept = hold_name(f, name);
    double *x = hold(f, n);
    *y = hold(f, n);
    if (f->failed) return NULL;
    for (int64_t i = 0; i < n; i++) x[i] = group_mean(f, t, i, step_at, NULL);
    hy__series *s = &f->series[f->chart.n_series++];
    *s = (hy__series){.name = kept, .x = x, .y = *y, .n = n, .markers = n <= 24};
    return s;
}

/* to[i] = the mean of the numbers at most `radius` before and behind i. */
static void smoothed(double *to, const double *from, int64_t n, int64_t radius) {
    for (int64_t i = 0; i < n; i++) {
        double sum = 0, count = 0;
        for (int64_t j = i - radius; j <= i + radius; j++) {
            if (j < 0 || j >= n || !isfinite(from[j])) continue;
            sum += from[j];
            count++;
        }
        to[i] = count > 0 ? sum / count : (double)NAN;
    }
}

hy__series *hy__figure_curve(hy__figure *f, const char *name, const hy__track *t, int64_t i,
                             hy__look look) {
    double *y;
    int color = 0;
    for (int64_t k = 0; k < f->chart.n_series; k++) color += !f->series[k].faint;
    hy__series *s = add(f, name, t, &y);
    if (!s) return NULL;
    s->color = 1 + color % HY__COLORS;
    for (int64_t k = 0; k < s->n; k++) y[k] = group_mean(f, t, k, number_at, &i);
    const int64_t radius = s->n / 40;
    if (look == HY__LOOK_POINTS || radius == 0) return s;
    s->markers = false;
    double *mean = hold(f, s->n);
    if (!mean) return NULL;
    smoothed(mean, y, s->n, radius);
    if (look == HY__LOOK_BOTH && f->chart.n_series < HY__FIGURE_SERIES) {
        s->faint = true;
        f->series[f->chart.n_series++] = *s;
        s = &f->series[f->chart.n_series - 1];
        s->faint = false;
    }
    s->y = mean;
    return s;
}

hy__series *hy__figure_span(hy__figure *f, const char *name, const hy__track *t) {
    double *y;
    hy__series *s = add(f, name, t, &y);
    if (!s) return NULL;
    double *lo = hold(f, s->n), *hi = hold(f, s->n);
    for (int64_t k = 0; !f->failed && k < s->n; k++) {
        double sum = 0, count = 0;
        lo[k] = hi[k] = (double)NAN;
        for (int64_t i = 0; i < t->n; i++) {
            const double x = hy__track_mean(t, k, i);
            if (!isfinite(x)) continue;
            lo[k] = fmin(lo[k], x); /* fmin passes over what is no number */
            hi[k] = fmax(hi[k], x);
            sum += x;
            count++;
        }
        y[k] = count > 0 ? sum / count : (double)NAN;
    }
    if (!f->failed && t->n > 1) {
        s->lo = lo;
        s->hi = hi;
    }
    return s;
}

hy__series *hy__figure_made(hy__figure *f, const char *name, const hy__track *t, hy__figure_fn *fn,
                            const void *user) {
    double *y;
    hy__series *s = add(f, name, t, &y);
    for (int64_t k = 0; s && k < s->n; k++) y[k] = fn(user, t, k);
    return s;
}

void hy__figure_stages(hy__figure *f, const hy__run *r) {
    int64_t n = 0;
    for (int i = 1; i < r->n_stage; i++)
        f->mark[n++] = (hy__mark){.at = (double)r->stage[i].first, .label = r->stage[i].name};
    f->chart.x.mark = f->mark;
    f->chart.x.n_mark = n;
}

bool hy__figure_put(hy__figure *f, hy__page *p, const char *caption) {
    const bool some = f->chart.n_series > 0 && !f->failed;
    f->chart.series = f->series;
    /* what is alone needs no name: the title says it */
    if (some && f->chart.kind == HY__CHART_LINES) {
        int64_t named = 0;
        for (int64_t i = 0; i < f->chart.n_series; i++) named += !f->series[i].faint;
        for (int64_t i = 0; i < f->chart.n_series && named == 1; i++) f->series[i].name = NULL;
    }
    if (some) hy__page_figure(p, &f->chart, caption);
    if (f->failed) p->text.failed = true;
    for (int i = 0; i < f->n_held; i++) free(f->held[i]);
    memset(f, 0, sizeof *f);
    return some;
}
