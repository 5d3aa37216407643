/* schedule.h: the learning rate over a training run.
 *
 * Warm-up counts steps; the fall after it follows the progress of the run: by steps, by the clock
 * when the run is limited in time, by whichever is further when both are. */
#ifndef HY_TRAIN_SCHEDULE_H
#define HY_TRAIN_SCHEDULE_H

#include "config/config.h"

typedef struct hy__progress {
    int64_t step;   /* steps done */
    int64_t steps;  /* limit; 0 = none */
    double seconds; /* spent */
    double limit;   /* seconds; 0 = none */
} hy__progress;

/* Share of the run that is done, 0 … 1. */
double hy__progress_share(const hy__progress *p);

/* Learning rate of the step after p:
 *   min(1, (step+1)/warmup) · lr · fall(q), q = the share of what follows the warm-up
 *   cosine  fall = min_lr + (1 - min_lr)·(1 + cos πq)/2
 *   wsd     fall = 1, then linear to min_lr over the last `decay` of the run */
double hy__schedule_lr(const hy__train_config *t, const hy__progress *p);

/* The value table's rate as a multiple of lr: from pkm_lr linearly to 1 over the run. */
double hy__schedule_table(const hy__train_config *t, const hy__progress *p);

#endif
