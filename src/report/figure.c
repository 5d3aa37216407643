/* figure.c: see figure.h. */
#include "report/figure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Points of a curve in a figure of half the page: about one for a pixel and a half. */
enum { POINTS = 240 };

hy__axis hy__figure_axis(const hy__report *r) {
    static const char *const label[] = {"step", "tokens", "time"};
    hy__axis axis = {.label = label[r->over],
                     .unit = r->over == HY__OVER_TIME ? HY__UNIT_SECONDS : HY__UNIT_COUNT};
    for (int i = 0; i < r->n; i++)
        axis.max = fmax(axis.max, hy__run_at(&r->run[i], r->over, (double)r->run[i].last_step));
    return axis;
}

void hy__figure_begin(hy__figure *f, hy__page *p, const hy__report *r, hy__chart chart) {
    memset(f, 0, sizeof *f);
    f->page = p;
    f->report = r;
    f->points = p->grid ? POINTS : HY__TRACK_POINTS;
    f->chart = chart;
    f->chart.x = hy__figure_axis(r);
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

/* ---- numbers of a point ---- */

/* Points of the track that one of the curve stands for. */
static int64_t group_of(const hy__figure *f, const hy__track *t) {
    return (hy__track_points(t) + f->points - 1) / f->points;
}

/* y[i] = the mean of value(k) over the points that the curve's i-th stands for. */
static void group_means(const hy__figure *f, const hy__track *t, hy__figure_fn *value,
                        const void *user, double *y) {
    const int64_t group = group_of(f, t), n = hy__track_points(t);
    for (int64_t from = 0; from < n; from += group) {
        double sum = 0, count = 0;
        for (int64_t k = from; k < from + group && k < n; k++) {
            const double x = value(user, t, k);
            if (!isfinite(x)) continue;
            sum += x;
            count++;
        }
        y[from / group] = count > 0 ? sum / count : (double)NAN;
    }
}

typedef struct place {
    const hy__run *run;
    hy__over over;
} place;

static double place_of(const void *user, const hy__track *t, int64_t point) {
    const place *p = user;
    return hy__run_at(p->run, p->over, hy__track_step(t, point));
}

static double number_at(const void *user, const hy__track *t, int64_t point) {
    return hy__track_mean(t, point, *(const int64_t *)user);
}

static double mean_at(const void *user, const hy__track *t, int64_t point) {
    (void)user;
    double sum = 0, count = 0;
    for (int64_t i = 0; i < t->n; i++) {
        const double x = hy__track_mean(t, point, i);
        if (!isfinite(x)) continue;
        sum += x;
        count++;
    }
    return count > 0 ? sum / count : (double)NAN;
}

/* The greatest number of the list times *sign, times *sign again: the greatest or the least. */
static double end_at(const void *user, const hy__track *t, int64_t point) {
    const double sign = *(const double *)user;
    double most = (double)NAN; /* fmax passes over what is no number */
    for (int64_t i = 0; i < t->n; i++) most = fmax(most, sign * hy__track_mean(t, point, i));
    return sign * most;
}

/* ---- curves ---- */

/* The palette's number: of the run among several, of the curve in a figure of one run. */
static int color_of(const hy__figure *f, const hy__run *run) {
    if (f->report->n > 1) return (int)(run - f->report->run) + 1;
    int color = 1;
    for (int64_t k = 0; k < f->chart.n_series; k++) color += !f->series[k].faint;
    return color;
}

hy__series *hy__figure_made(hy__figure *f, const hy__run *run, const char *name, const hy__track *t,
                            hy__figure_fn *fn, const void *user) {
    if (!t || f->chart.n_series == HY__FIGURE_SERIES || hy__track_points(t) == 0) return NULL;
    const int64_t group = group_of(f, t), n = (hy__track_points(t) + group - 1) / group;
    const char *kept = hold_name(f, name ? name : run->title);
    double *x = hold(f, n), *y = hold(f, n);
    if (f->failed) return NULL;
    group_means(f, t, place_of, &(place){run, f->report->over}, x);
    group_means(f, t, fn, user, y);
    const int color = color_of(f, run);
    hy__series *s = &f->series[f->chart.n_series++];
    *s = (hy__series){.name = kept, .x = x, .y = y, .n = n, .color = color, .markers = n <= 24};
    return s;
}

/* to[i] = the mean of the numbers at most `radius` before and behind number i; what the scale does
 * not show, as the gradient 0 of a letter that is off, counts as none. */
static void smoothed(double *to, const double *from, int64_t n, int64_t radius, hy__scale scale) {
    for (int64_t i = 0; i < n; i++) {
        double sum = 0, count = 0;
        for (int64_t j = i - radius; j <= i + radius; j++) {
            if (j < 0 || j >= n || !hy__scale_shows(scale, from[j])) continue;
            sum += from[j];
            count++;
        }
        to[i] = hy__scale_shows(scale, from[i]) ? sum / count : (double)NAN;
    }
}

hy__series *hy__figure_curve(hy__figure *f, const hy__run *run, const char *name,
                             const hy__track *t, int64_t i, hy__look look) {
    hy__series *s = hy__figure_made(f, run, name, t, number_at, &i);
    const int64_t radius = s ? s->n / 40 : 0;
    if (look == HY__LOOK_POINTS || radius == 0) return s;
    s->markers = false;
    double *mean = hold(f, s->n);
    if (!mean) return NULL;
    smoothed(mean, s->y, s->n, radius, f->chart.y.scale);
    if (look == HY__LOOK_BOTH && f->chart.n_series < HY__FIGURE_SERIES) {
        s->faint = true;
        f->series[f->chart.n_series++] = *s;
        s = &f->series[f->chart.n_series - 1];
        s->faint = false;
    }
    s->y = mean;
    return s;
}

hy__series *hy__figure_span(hy__figure *f, const hy__run *run, const hy__track *t) {
    hy__series *s = hy__figure_made(f, run, NULL, t, mean_at, NULL);
    if (!s || t->n < 2) return s;
    double *lo = hold(f, s->n), *hi = hold(f, s->n);
    if (f->failed) return NULL;
    group_means(f, t, end_at, &(double){-1}, lo);
    group_means(f, t, end_at, &(double){1}, hi);
    s->lo = lo;
    s->hi = hi;
    return s;
}

/* ---- drawing ---- */

static void mark_stages(hy__figure *f) {
    const hy__run *r = &f->report->run[0];
    if (f->report->n > 1) return;
    for (int i = 1; i < r->n_stage; i++)
        f->mark[i - 1] = (hy__mark){.at = hy__run_at(r, f->report->over, (double)r->stage[i].first),
                                    .label = r->stage[i].name};
    f->chart.x.mark = f->mark;
    f->chart.x.n_mark = r->n_stage > 0 ? r->n_stage - 1 : 0;
}

/* A curve alone needs no name: the title says it. */
static void drop_name(hy__figure *f) {
    int64_t named = 0;
    for (int64_t i = 0; i < f->chart.n_series; i++) named += !f->series[i].faint;
    if (f->report->n > 1 || named > 1 || f->chart.kind != HY__CHART_LINES) return;
    for (int64_t i = 0; i < f->chart.n_series; i++) f->series[i].name = NULL;
}

void hy__figure_put(hy__figure *f, const char *caption) {
    f->chart.series = f->series;
    mark_stages(f);
    drop_name(f);
    if (f->chart.n_series > 0 && !f->failed) hy__page_figure(f->page, &f->chart, caption);
    if (f->failed) f->page->text.failed = true;
    for (int i = 0; i < f->n_held; i++) free(f->held[i]);
    memset(f, 0, sizeof *f);
}

void hy__figure_plot(hy__page *p, const hy__report *r, const hy__plot *x) {
    hy__figure f;
    hy__figure_begin(&f, p, r,
                     (hy__chart){.title = x->title,
                                 .y = {.label = x->label, .unit = x->unit, .scale = x->scale}});
    for (int i = 0; i < r->n; i++)
        hy__figure_curve(&f, &r->run[i], NULL, hy__run_track(&r->run[i], x->track), 0, x->look);
    hy__figure_put(&f, x->caption);
}
