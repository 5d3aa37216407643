/* stats.h: what stands for several measurements of one thing. */
#ifndef HY_BENCH_STATS_H
#define HY_BENCH_STATS_H

#include <stdint.h>

typedef struct hy__spread {
    double min, low, median, high, max; /* low and high: the quartiles */
} hy__spread;

/* Of x[n], n >= 1, which are sorted by it. Between two of them it is linear. */
hy__spread hy__spread_of(double *x, int64_t n);
double hy__median(double *x, int64_t n);

#endif
