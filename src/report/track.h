/* track.h: what a number, or a list of them, was over the steps of a run, in bounded memory.
 *
 * Steps are gathered in buckets of equal width; when they would become too many, two become one.
 * So a run of a million steps keeps its shape in a thousand points, and one of ten keeps them all.
 */
#ifndef HY_REPORT_TRACK_H
#define HY_REPORT_TRACK_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

enum { HY__TRACK_POINTS = 1024, HY__TRACK_LISTS = 96, HY__TRACK_DEPTH = 3 };

typedef struct hy__track {
    char name[96];                  /* "loss", "E.entropy", "E.load" */
    int64_t shape[HY__TRACK_DEPTH]; /* of a list of lists, the outermost first; depth of them */
    int depth;                      /* 0: one number */
    int64_t n;                      /* numbers at each point */
    int64_t width;                  /* steps of a bucket */
    int64_t cap, n_bucket;
    double *sum;     /* [cap, n] */
    int64_t *count;  /* [cap, n] numbers in the sum: what is no number does not count */
    double *steps;   /* [cap] sum of the steps seen, and how many those are */
    int64_t *seen;   /* [cap] */
    double *lo, *hi; /* [cap] of one number; NULL of lists */
    double last;     /* the last number that was one; of lists NaN */
    int64_t last_step;
} hy__track;

/* A list of another shape begins anew. HY_E_MEMORY. */
hy_status hy__track_init(hy__track *t, const char *name, int depth, const int64_t *shape,
                         hy_error *err);
void hy__track_release(hy__track *t);
bool hy__track_fits(const hy__track *t, int depth, const int64_t *shape);

/* Adds what step (1 …) says; later steps come later. */
void hy__track_add(hy__track *t, int64_t step, const double *x);

/* The points that there are, packed, and how many steps they are of. */
int64_t hy__track_points(const hy__track *t);
int64_t hy__track_steps(const hy__track *t);
double hy__track_step(const hy__track *t, int64_t point);
double hy__track_mean(const hy__track *t, int64_t point, int64_t i);

/* What a number that grows from 0 was at a step, between points too. */
double hy__track_at(const hy__track *t, double step);

/* The mean of the last tenth of the run's steps up to `last`, at least of the last point. */
double hy__track_final(const hy__track *t, int64_t i, int64_t last);

#endif
