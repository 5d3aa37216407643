/* guard.c: see guard.h. */
#include "train/guard.h"

#include "train/spike.h"

#include <math.h>
#include <stdio.h>

/* The least widths by which losses and logs of norms are measured, where those before were all but
 * equal: nats per token; and a tenth of the norm. */
static const double LEAST_LOSS = 0.02, LEAST_NORM = 0.1;

bool hy__guard_judge(hy__guard *g, const hy__train_config *t, double loss, double norm,
                     const double *before, int64_t n) {
    const int64_t from = g->since < n ? g->since : n;
    g->why[0] = 0;
    if (!isfinite(loss))
        snprintf(g->why, sizeof g->why, "the loss is %s",
                 isnan(loss) ? "not a number" : "infinite");
    else if (!isfinite(norm))
        snprintf(g->why, sizeof g->why, "the norm of the gradient is %s",
                 isnan(norm) ? "not a number" : "infinite");
    else if (hy__spike_is(loss, before + from, n - from, t->spike, LEAST_LOSS))
        snprintf(g->why, sizeof g->why, "the loss of %.4g stands out of those before it", loss);
    else if (hy__spike_is(log(norm), g->norm + from, n - from, t->spike, LEAST_NORM))
        snprintf(g->why, sizeof g->why, "the gradient's norm of %.4g stands out of those before it",
                 norm);
    return g->why[0] == 0;
}

hy_status hy__guard_act(hy__guard *g, const hy__train_config *t, int64_t step, hy_error *err) {
    if (t->on_spike == HY__ON_SPIKE_STOP) {
        return hy__fail(err, HY_E_DIVERGED,
                        "at step %lld %s; the training ends before the step changes anything. A "
                        "lower train.lr or train.clip may help, or train.on_spike=skip or rewind",
                        (long long)step, g->why);
    }
    if (++g->in_row > t->spike_limit) {
        return hy__fail(err, HY_E_DIVERGED,
                        "at step %lld %s, after %lld %s in a row (train.spike_limit); the training "
                        "ends before the step changes anything. It seems to have diverged: a lower "
                        "train.lr or train.clip may help",
                        (long long)step, g->why, (long long)t->spike_limit,
                        t->on_spike == HY__ON_SPIKE_SKIP ? "dropped steps"
                                                         : "returns to one checkpoint");
    }
    if (t->on_spike == HY__ON_SPIKE_REWIND)
        g->back = true;
    else
        g->dropped++;
    return HY_OK;
}
