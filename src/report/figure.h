/* figure.h: charts of tracks: a curve for each run or for each part of a list, over the steps.
 *
 *     hy__figure f;
 *     hy__figure_begin(&f, "Training loss", "nats per token", HY__UNIT_PLAIN);
 *     hy__figure_curve(&f, run->title, track, 0, HY__LOOK_BOTH);
 *     hy__figure_put(&f, page, "caption");      draws nothing where no curve has a point
 *
 * Internal to report. */
#ifndef HY_REPORT_FIGURE_H
#define HY_REPORT_FIGURE_H

#include "page/page.h"
#include "report/run.h"

enum { HY__FIGURE_SERIES = 128 };

typedef struct hy__figure {
    hy__chart chart;
    hy__series series[HY__FIGURE_SERIES];
    double *held[6 * HY__FIGURE_SERIES]; /* arrays and names of the series; owned */
    int n_held;
    hy__mark mark[HY__RUN_STAGES];
    int64_t points; /* of a curve, at most */
    bool failed;    /* memory was short */
} hy__figure;

void hy__figure_begin(hy__figure *f, hy__chart_kind kind, const char *title, const char *label,
                      hy__unit unit);

/* How a curve is drawn: its points; a moving mean with the points behind it; the mean alone. */
typedef enum hy__look { HY__LOOK_POINTS, HY__LOOK_BOTH, HY__LOOK_MEAN } hy__look;

/* The i-th number of the track (NULL: nothing is added) as a curve: it, to be changed, or NULL. */
hy__series *hy__figure_curve(hy__figure *f, const char *name, const hy__track *t, int64_t i,
                             hy__look look);

/* The mean of a list's numbers, and the span between its least and its greatest. */
hy__series *hy__figure_span(hy__figure *f, const char *name, const hy__track *t);

/* A curve of made numbers over the points of a track: value(user, track, point). */
typedef double hy__figure_fn(const void *user, const hy__track *t, int64_t point);
hy__series *hy__figure_made(hy__figure *f, const char *name, const hy__track *t, hy__figure_fn *fn,
                            const void *user);

/* Lines where the run's stages begin. */
void hy__figure_stages(hy__figure *f, const hy__run *r);

/* Draws, releases. Returns whether there was anything to draw. */
bool hy__figure_put(hy__figure *f, hy__page *p, const char *caption);

#endif
