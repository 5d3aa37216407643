/* stats.c: see stats.h. */
#include "bench/stats.h"

#include <stdlib.h>

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The value below which a share of sorted x[n] lies. */
static double quantile(const double *x, int64_t n, double share) {
    const double at = share * (double)(n - 1);
    const int64_t i = (int64_t)at;
    return i + 1 < n ? x[i] + (at - (double)i) * (x[i + 1] - x[i]) : x[n - 1];
}

hy__spread hy__spread_of(double *x, int64_t n) {
    qsort(x, (size_t)n, sizeof *x, compare);
    return (hy__spread){.min = x[0],
                        .low = quantile(x, n, 0.25),
                        .median = quantile(x, n, 0.5),
                        .high = quantile(x, n, 0.75),
                        .max = x[n - 1]};
}

double hy__median(double *x, int64_t n) {
    return hy__spread_of(x, n).median;
}
