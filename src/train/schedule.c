/* schedule.c: see schedule.h. */
#include "train/schedule.h"

#include <math.h>

static double clamp01(double x) {
    return x < 0.0 ? 0.0 : x > 1.0 ? 1.0 : x;
}

/* The further of steps and clock, where the first `skip` steps do not count. */
static double share_after(const hy__progress *p, int64_t skip) {
    const double by_step = p->steps > skip && p->step > skip
                               ? (double)(p->step - skip) / (double)(p->steps - skip)
                               : 0.0;
    const double by_clock = p->limit > 0.0 ? p->seconds / p->limit : 0.0;
    return clamp01(fmax(by_step, by_clock));
}

double hy__progress_share(const hy__progress *p) {
    return share_after(p, 0);
}

double hy__schedule_lr(const hy__train_config *t, const hy__progress *p) {
    const double warm = t->warmup > 0 ? clamp01((double)(p->step + 1) / (double)t->warmup) : 1.0;
    const double q = share_after(p, t->warmup);
    double fall = 1.0;
    if (t->schedule == HY__SCHEDULE_COSINE) {
        const double pi = 3.14159265358979323846;
        fall = t->min_lr + (1.0 - t->min_lr) * 0.5 * (1.0 + cos(pi * q));
    } else if (t->decay > 0.0 && q > 1.0 - t->decay) {
        fall = 1.0 - (1.0 - t->min_lr) * (q - (1.0 - t->decay)) / t->decay;
    }
    return t->lr * warm * fall;
}

double hy__schedule_table(const hy__train_config *t, const hy__progress *p) {
    return t->pkm_lr + (1.0 - t->pkm_lr) * hy__progress_share(p);
}
