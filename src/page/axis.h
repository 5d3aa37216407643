/* axis.h: from values to places on a chart: ranges, round ticks and their labels.
 *
 * Ticks stand at 1, 2, 5 times powers of ten in the unit that is shown (minutes, GB), at powers of
 * two for lengths in tokens; on a logarithmic axis at 1, 2, 5, at decades or at powers of two,
 * whichever fits the room. */
#ifndef HY_PAGE_AXIS_H
#define HY_PAGE_AXIS_H

#include "page/number.h"

typedef enum hy__scale { HY__SCALE_LINEAR, HY__SCALE_LOG2, HY__SCALE_LOG10 } hy__scale;

enum { HY__TICKS_MAX = 32 };

/* Values lo … hi over pixels from … to (which may run downwards). */
typedef struct hy__ruler {
    hy__unit unit;
    hy__scale scale;
    double lo, hi, from, to;
    double tick[HY__TICKS_MAX];
    int n_tick;
    double step; /* between ticks; 0 for ticks of a logarithmic kind */
} hy__ruler;

/* What values span; starts as {INFINITY, -INFINITY}. */
typedef struct hy__range {
    double lo, hi;
} hy__range;

/* Whether the scale has a place for the value. */
bool hy__scale_shows(hy__scale scale, double value);

/* Extends the range by a value, if the scale has a place for it. */
void hy__range_add(hy__range *r, hy__scale scale, double value);

/* Sets the values; `want` ticks at most (at least 2). An empty range becomes 0 … 1, a point gets
 * room around it. When `round`, the ends move out to the next tick. from and to are the caller's.
 */
void hy__ruler_init(hy__ruler *r, hy__unit unit, hy__scale scale, hy__range range, bool round,
                    int want);

/* The value's pixel; NAN when the scale has no place for it. */
double hy__ruler_at(const hy__ruler *r, double value);

hy__number hy__ruler_label(const hy__ruler *r, double tick);

#endif
