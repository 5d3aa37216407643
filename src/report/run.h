/* run.h: what metrics.jsonl (docs/format.md) says of a training, as tracks.
 *
 * Every number of a line is read, known here or not: "loss", and of letters "E.entropy". A run may
 * still go on, and its last line may have been cut off in the middle: such a line is passed over.
 */
#ifndef HY_REPORT_RUN_H
#define HY_REPORT_RUN_H

#include "report/track.h"

enum { HY__RUN_TRACKS = 256, HY__RUN_STAGES = 64, HY__RUN_DROPS = 16 };

/* A stretch of steps of one name. */
typedef struct hy__run_stage {
    char name[64];
    int64_t first; /* step */
    char end[16];  /* what ended it; "" while it goes on */
} hy__run_stage;

/* A step that changed nothing. */
typedef struct hy__run_drop {
    int64_t step;
    char why[160];
} hy__run_drop;

/* What curves are drawn over. */
typedef enum hy__over { HY__OVER_STEPS, HY__OVER_TOKENS, HY__OVER_TIME } hy__over;

typedef struct hy__run {
    char *path;  /* as it was given */
    char *name;  /* its last part */
    char *title; /* of the curves: the name, or the path where others are called alike; borrowed */
    char layers[512];
    char **corpus; /* [n_corpus] */
    int64_t n_corpus;
    hy__track *track; /* [n_track] */
    int n_track, at;  /* at: where the next is likely to be found */
    hy__run_stage stage[HY__RUN_STAGES];
    int n_stage;
    hy__run_drop drop[HY__RUN_DROPS]; /* the first ones */
    int n_drop;
    int64_t n_line, last_step;
    bool cut; /* the last line was */
} hy__run;

/* path: the run's directory, or its metrics.jsonl. HY_E_INVALID for what is none, for one without a
 * step and for a broken line (which is named), HY_E_IO, HY_E_MEMORY. */
hy_status hy__run_read(hy__run *r, const char *path, hy_error *err);
void hy__run_release(hy__run *r);

/* The track, or NULL. */
const hy__track *hy__run_track(const hy__run *r, const char *name);

/* Where a step stands: itself, tokens, or seconds; NaN where the run does not tell. */
double hy__run_at(const hy__run *r, hy__over over, double step);

/* Of a track of numbers, NaN without it: the mean of the last tenth of the run, the last, the
 * least.
 */
double hy__run_final(const hy__run *r, const char *track);
double hy__run_last(const hy__run *r, const char *track);
double hy__run_least(const hy__run *r, const char *track);

#endif
