/* chart.h: charts as SVG, for a page or for a file of their own.
 *
 * A chart is a list of series over axes. It takes the colours of the page it stands in, light or
 * dark, and has its own where it stands alone. A series keeps one colour by its index, from a
 * palette that the colour-blind can tell apart. Points that are no number, infinite, or not
 * positive on a logarithmic axis leave a gap. Any number of points will do: lines keep what can be
 * seen of them, a heat map averages columns that are too narrow. The same chart is the same text,
 * always; it has no ids, so that any number of charts can stand in one page. Nothing here is kept:
 * the caller owns all arrays. */
#ifndef HY_PAGE_CHART_H
#define HY_PAGE_CHART_H

#include "page/axis.h"

#include <stdint.h>

typedef enum hy__chart_kind {
    HY__CHART_LINES,        /* each series y over x */
    HY__CHART_AREAS,        /* stacked: all series share the first one's x; y >= 0, linear */
    HY__CHART_STACKED_BARS, /* a horizontal bar per category, a segment per series; y >= 0, linear
                             */
    HY__CHART_GROUPED_BARS, /* a group per category, a bar per series, with error bars lo … hi */
    HY__CHART_HEAT,         /* a row per series, a column per point of the first one's x */
} hy__chart_kind;

/* A line across the chart with a label: where curves cross, what a machine holds, chance. */
typedef struct hy__mark {
    double at;
    const char *label;
} hy__mark;

typedef struct hy__axis {
    const char *label; /* NULL = none */
    hy__unit unit;
    hy__scale scale;
    double min, max; /* used when min < max; otherwise the axis spans data and marks */
    const hy__mark *mark;
    int64_t n_mark;
} hy__axis;

typedef struct hy__series {
    const char *name;
    const double *x;       /* [n]; NULL = 0 … n-1. Lines, areas, heat maps without categories */
    const double *y;       /* [n]; of bars one per category */
    const double *lo, *hi; /* [n] or NULL: band around a line, error bar */
    int64_t n;
    int color; /* 0 = by the series's index; k = the k-th of the palette, to keep a letter's colour;
                  beyond its end the palette comes again, dashed */
    bool markers, dashed;
    bool faint; /* a line behind the others, without a name: what another one smooths */
} hy__series;

typedef struct hy__chart {
    hy__chart_kind kind;
    const char *title; /* what is read aloud for the chart; drawn only where it stands alone */
    hy__axis x, y;     /* bars: y holds the values, whichever way they run. Heat: y is the colour */
    const hy__series *series;
    int64_t n_series;
    const char *const *category; /* [n_category]; NULL elements are empty */
    int64_t n_category;
    double width, height; /* pixels; 0 = what suits */
} hy__chart;

/* The element <svg>, for a page that has hy__chart_style. */
void hy__chart_svg(hy__text *t, const hy__chart *chart);

/* A file of its own: style, title and background included. */
void hy__chart_document(hy__text *t, const hy__chart *chart);

/* Such a file as DIR/NAME. HY_E_IO, HY_E_MEMORY. */
hy_status hy__chart_save(const hy__chart *chart, const char *dir, const char *name, hy_error *err);

/* The rules (CSS) that charts need, once in a page. */
void hy__chart_style(hy__text *t);

enum { HY__COLORS = 8 }; /* of the palette */

#endif
