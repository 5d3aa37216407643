/* run.h: what metrics.jsonl (docs/format.md) says of a training, as tracks.
 *
 * Every number of a line is read, known here or not: "loss", and of letters "E.entropy". A run may
 * still go on, and its last line may have been cut off in the middle: such a line is passed over.
 */
#ifndef HY_REPORT_RUN_H
#define HY_REPORT_RUN_H

#include "report/track.h"

enum { HY__RUN_TRACKS = 256, HY__RUN_STAGES = 64 };

/* A stretch of steps of one name. */
typedef struct hy__run_stage {
    char name[64];
    int64_t first; /* step */
} hy__run_stage;

typedef struct hy__run {
    char *path;  /* as it was given */
    char *name;  /* its last part, or the path where others end alike */
    char *title; /* of the curves: the name, shortened */
    char layers[512];
    char **corpus; /* [n_corpus] */
    int64_t n_corpus;
    hy__track *track; /* [n_track] */
    int n_track, at;  /* at: where the next is likely to be found */
    hy__run_stage stage[HY__RUN_STAGES];
    int n_stage;
    int64_t n_line, last_step;
    int64_t skipped; /* steps that were dropped as unsound */
    bool cut;        /* the last line was */
} hy__run;

/* path: the run's directory, or its metrics.jsonl. HY_E_INVALID for what is none, for one without a
 * step and for a broken line (which is named), HY_E_IO, HY_E_MEMORY. */
hy_status hy__run_read(hy__run *r, const char *path, hy_error *err);
void hy__run_release(hy__run *r);

/* The track, or NULL. */
const hy__track *hy__run_track(const hy__run *r, const char *name);

#endif
