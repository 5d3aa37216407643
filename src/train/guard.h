/* guard.h: what becomes of a step whose loss or gradient is not sound: not finite, or standing far
 * out of those before it (spike.h).
 *
 *   stop     the training ends with a sentence; its last checkpoint stays
 *   skip     no update is made of the step's data; the streams begin anew after it
 *   rewind   the run goes back to its last checkpoint and passes over the data up to and with this
 *            step; the streams begin anew there
 *
 * After train.spike_limit times without a sound step between (of going back: without a new
 * checkpoint) the training ends. Everything that decides is in the checkpoint. */
#ifndef HY_TRAIN_GUARD_H
#define HY_TRAIN_GUARD_H

#include "config/config.h"

typedef struct hy__guard {
    int64_t dropped; /* steps whose data moved nothing */
    int64_t rewound; /* times that the run went back */
    int64_t passed;  /* positions of the text that it then passed over */
    int64_t in_row;  /* dropped, or gone back, since all was sound */
    int64_t since;   /* the step from which on losses are of one kind: earlier ones tell nothing */
    double *norm;    /* [steps so far] log of the gradient's norm; owned */
    char why[160];   /* the present step is not sound: a clause; "" */
    bool back;       /* the run is to go back */
} hy__guard;

/* Judges a step: fills g->why, and returns whether it is sound. loss[n], g->norm[n]: of the n steps
 * before it. norm is not asked for where the loss is not finite. */
bool hy__guard_judge(hy__guard *g, const hy__train_config *t, double loss, double norm,
                     const double *before, int64_t n);

/* Counts the judged, unsound step and sets g->back where it leads back. `step` is its number.
 * HY_E_DIVERGED when the training ends. */
hy_status hy__guard_act(hy__guard *g, const hy__train_config *t, int64_t step, hy_error *err);

#endif
