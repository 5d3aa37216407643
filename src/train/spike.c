/* spike.c: see spike.h. */
#include "train/spike.h"

#include <math.h>
#include <stdlib.h>

static int by_size(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x, int64_t n) {
    qsort(x, (size_t)n, sizeof *x, by_size);
    return n % 2 ? x[n / 2] : 0.5 * (x[n / 2 - 1] + x[n / 2]);
}

bool hy__spike_is(double x, const double *before, int64_t n, double factor, double least) {
    double last[HY__SPIKE_WINDOW];
    int64_t found = 0;
    if (factor == 0.0) return false;
    for (int64_t i = n - 1; i >= 0 && found < HY__SPIKE_WINDOW; i--)
        if (isfinite(before[i])) last[found++] = before[i];
    if (found < HY__SPIKE_LEAST) return false;
    const double middle = median(last, found);
    for (int64_t i = 0; i < found; i++) last[i] = fabs(last[i] - middle);
    const double width = 1.4826 * median(last, found);
    return x > middle + factor * (width > least ? width : least);
}
