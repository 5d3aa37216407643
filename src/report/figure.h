/* figure.h: charts of tracks: a curve for each run, or for each part of a list, over steps, tokens
 * or time.
 *
 *     hy__figure f;
 *     hy__figure_begin(&f, page, report, (hy__chart){.title = "Training loss", .y = {…}});
 *     hy__figure_curve(&f, run, NULL, hy__run_track(run, "loss"), 0, HY__LOOK_BOTH);
 *     hy__figure_put(&f, "caption");        draws nothing where no curve has a point
 *
 * Internal to report. */
#ifndef HY_REPORT_FIGURE_H
#define HY_REPORT_FIGURE_H

#include "report/report.h"

enum { HY__FIGURE_SERIES = 128 };

typedef struct hy__figure {
    hy__page *page;
    const hy__report *report;
    hy__chart chart;
    hy__series series[HY__FIGURE_SERIES];
    double *held[6 * HY__FIGURE_SERIES]; /* arrays and names of the series; owned */
    int n_held;
    hy__mark mark[HY__RUN_STAGES];
    int64_t points; /* of a curve, at most */
    bool failed;    /* memory was short */
} hy__figure;

/* Of the chart: its kind, title and y axis. */
void hy__figure_begin(hy__figure *f, hy__page *p, const hy__report *r, hy__chart chart);

/* How a curve is drawn: a moving mean with the points behind it; its points; the mean alone. */
typedef enum hy__look { HY__LOOK_BOTH, HY__LOOK_POINTS, HY__LOOK_MEAN } hy__look;

/* The i-th number of the run's track (NULL: nothing is added) as a curve: it, to be changed, or
 * NULL. name NULL: that of the run. Of several runs each has its own colour, whichever others have
 * the track; of one the parts have theirs, in turn. */
hy__series *hy__figure_curve(hy__figure *f, const hy__run *run, const char *name,
                             const hy__track *t, int64_t i, hy__look look);

/* The mean of a list's numbers, and the span between its least and its greatest. */
hy__series *hy__figure_span(hy__figure *f, const hy__run *run, const hy__track *t);

/* A curve of made numbers over the points of a track: value(user, track, point). */
typedef double hy__figure_fn(const void *user, const hy__track *t, int64_t point);
hy__series *hy__figure_made(hy__figure *f, const hy__run *run, const char *name, const hy__track *t,
                            hy__figure_fn *fn, const void *user);

/* Draws, with lines where the stages of a single run begin; releases. */
void hy__figure_put(hy__figure *f, const char *caption);

/* A number of every run, in one figure. */
typedef struct hy__plot {
    const char *track, *title, *label, *caption;
    hy__unit unit;
    hy__scale scale;
    hy__look look;
} hy__plot;
void hy__figure_plot(hy__page *p, const hy__report *r, const hy__plot *x);

/* The x axis, which all figures share: from 0 to where the longest run stands. */
hy__axis hy__figure_axis(const hy__report *r);

#endif
