/* chart_color.h: the colours of charts and of pages, on light and on dark.
 *
 * Internal to page. Attributes carry the light ones; hy__color_style has the rules for both. */
#ifndef HY_PAGE_CHART_COLOR_H
#define HY_PAGE_CHART_COLOR_H

#include "page/chart.h"

/* 1 … HY__COLORS. */
int hy__series_color(const hy__chart *c, int64_t series);

typedef struct hy__paint {
    char text[8];
} hy__paint;

/* Light colours: of the palette (1 … HY__COLORS), of a heat map's level, of what has a name:
 * ink muted axis grid mark paper. */
const char *hy__color(int color);
const char *hy__color_on(int color); /* of words on it */
hy__paint hy__heat_color(int level);
const char *hy__ink(const char *name);

/* Rules for both, and the page's variables (--hy-ink, …). */
void hy__color_style(hy__text *t);

#endif
