/* chart_lines.h: points of lines and areas, for chart_lines.c and chart_tips.c. */
#ifndef HY_PAGE_CHART_LINES_H
#define HY_PAGE_CHART_LINES_H

#include "page/chart_draw.h"

/* Points of series s: areas have those of the first series at most. */
int64_t hy__line_length(const hy__canvas *cv, int64_t s);

/* The values that are drawn; of areas y is the upper edge. */
double hy__line_x(const hy__canvas *cv, int64_t s, int64_t i);
double hy__line_y(const hy__canvas *cv, int64_t s, int64_t i);

/* Whether there is such a point and both axes have a place for it. */
bool hy__line_has(const hy__canvas *cv, int64_t s, int64_t i);

/* Whether a place is inside the box of the data. */
bool hy__line_visible(const hy__canvas *cv, double x, double y);

/* Draws the strips. */
void hy__draw_tips(hy__canvas *cv);

#endif
