/* spike.h: whether a number of a step stands out of those before it, which says that the step's
 * data or the weights are not what they were. */
#ifndef HY_TRAIN_SPIKE_H
#define HY_TRAIN_SPIKE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    HY__SPIKE_WINDOW = 128, /* numbers looked back at, at most */
    HY__SPIKE_LEAST = 32,   /* with fewer nothing stands out */
};

/* Whether x > median + factor·max(1.4826·MAD, least) of the last numbers of before[n]; those that
 * are not finite do not count. MAD, the median distance from the median, times 1.4826 is the
 * standard deviation of normal numbers, and half of the numbers may be anything without moving it
 * far. A factor of 0 finds nothing. */
bool hy__spike_is(double x, const double *before, int64_t n, double factor, double least);

#endif
