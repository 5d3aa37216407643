/* check_trial.h: one small model run on one backend, and what it gave, for check.c. */
#ifndef HY_BENCH_CHECK_TRIAL_H
#define HY_BENCH_CHECK_TRIAL_H

#include "bench/watch.h"

/* What a run gave: named groups of numbers, one after another. */
typedef struct hy__record {
    struct hy__recorded {
        char name[HY__NAME_MAX + 32];
        char kind; /* tensors of one kind are of one size: o outputs, s states, g gradients, w
                      weights */
        int64_t begin, n;
    } * group;
    double *x;
    int64_t n_group, n;
    bool failed; /* memory was short */
} hy__record;

void hy__record_release(hy__record *r);

/* One of them is 0: not asked for. */
typedef struct hy__tolerance {
    double worst; /* largest difference, over the largest element */
    double mean;  /* root mean square of the difference, over that of the elements */
} hy__tolerance;

/* Whether `got` is close to `want` in all groups of the given kinds ("os"); otherwise err says
 * where it is not and by how much. A group below a thousandth of the largest of its kind is judged
 * on that scale: what cancels in it is as large as the others. */
bool hy__record_agrees(const hy__record *want, const hy__record *got, const char *kinds,
                       hy__tolerance allowed, hy_error *err);

typedef struct hy__trial {
    const hy__config *cfg;
    hy__store store;
    bool training;
    hy__optimizer optimizer; /* of training */
} hy__trial;

/* Runs it. Serving: a text in pieces through one state that grows, logits everywhere. Training: a
 * step over a fresh sequence and one that goes on from a state, with the optimizer. `used` (may be
 * NULL): the calls that it made. */
hy_status hy__trial_run(const hy__trial *t, hy__backend *be, hy__profile *used, hy__record *out,
                        hy_error *err);

#endif
