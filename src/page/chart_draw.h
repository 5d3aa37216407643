/* chart_draw.h: what the kinds of charts share: the canvas, colours, words, legend and axes.
 *
 * Internal to charts. Places are pixels from the upper left corner. Groups set `color`, shapes take
 * currentColor: the attribute is what a reader without style sheets sees, the class what others do.
 */
#ifndef HY_PAGE_CHART_DRAW_H
#define HY_PAGE_CHART_DRAW_H

#include "page/chart.h"

typedef struct hy__canvas {
    hy__text *t;
    const hy__chart *c;
    double width, height;
    double left, top, right, bottom; /* the box of the data */
    hy__ruler x, y;
    bool alone;  /* a file of its own */
    bool legend; /* names stand above the data, not beside it */
    bool across; /* bars run to the right */
    bool empty;  /* nothing to draw */
} hy__canvas;

typedef enum hy__anchor { HY__ANCHOR_START, HY__ANCHOR_MIDDLE, HY__ANCHOR_END } hy__anchor;

enum {
    HY__LINE = 16,       /* between two lines of text */
    HY__TICK_GAP = 7,    /* from the box to a tick's label */
    HY__HEAT_LEVELS = 24 /* colours of a heat map */
};

/* A place for an attribute, rounded to a tenth. */
typedef struct hy__px {
    char text[16];
} hy__px;
hy__px hy__px_of(double v);

/* About how wide the text is drawn, rather too wide than too narrow. */
double hy__words_width(const char *s);

/* One line of text; what is wider than `room` ends in an ellipsis and tells itself whole as a
 * tooltip. */
void hy__draw_words(hy__canvas *cv, double x, double y, hy__anchor anchor, double room,
                    const char *s);

/* A label over data: an edge in the paper's colour keeps it readable. */
void hy__draw_haloed(hy__canvas *cv, double x, double y, hy__anchor anchor, const char *s);

/* Breaks at blanks into at most `lines` lines. Draws when cv is not NULL. Returns how many lines.
 */
int hy__draw_wrapped(hy__canvas *cv, double x, double y, hy__anchor anchor, double room, int lines,
                     const char *s);

/* Whether the text, broken at blanks, fits so many lines. */
bool hy__words_fit(const char *s, double room, int lines);

/* A group that has a colour; ended by hy__draw_end. `more`: further attributes, or "". */
void hy__draw_ink(hy__canvas *cv, const char *name, const char *more);
void hy__draw_series(hy__canvas *cv, int64_t series, const char *more);
void hy__draw_on_series(hy__canvas *cv, int64_t series); /* for words on the series's colour */
void hy__draw_end(hy__canvas *cv);

/* Whether the series has a name to show. */
bool hy__series_named(const hy__series *s);

/* Lines of the marks of an axis that runs up, and their labels. */
typedef enum hy__labels { HY__LABELS_NONE, HY__LABELS_ON_LINE, HY__LABELS_BESIDE } hy__labels;
void hy__draw_y_marks(hy__canvas *cv, const hy__axis *axis, hy__labels labels);

/* Colours beyond the palette come again with these dashes; "" = a full line. */
const char *hy__series_dash(const hy__chart *c, int64_t series);

/* The category's name, or "". */
const char *hy__category(const hy__chart *c, int64_t i);

/* What stands above the data: the title (alone), the legend, the name of the axis that runs up, and
 * room for labels of marks along x. Returns where the data may begin; with `draw`, draws it. */
typedef struct hy__head {
    const char *up;          /* label of the vertical axis, or NULL */
    const hy__axis *x_marks; /* or NULL; cv->x must be placed */
} hy__head;
double hy__draw_head(hy__canvas *cv, const hy__head *head, bool draw);

/* Places the axis that runs up (from bottom to top), and makes room for its labels on the left. Its
 * ends are round unless the axis fixes them. */
void hy__place_y(hy__canvas *cv, const hy__axis *axis, hy__range range);
/* Places the axis that runs to the right; cv->left and cv->right must stand. */
void hy__place_x(hy__canvas *cv, const hy__axis *axis, hy__range range);

void hy__draw_y(hy__canvas *cv);                               /* grid and labels */
void hy__draw_x(hy__canvas *cv, const char *label, bool grid); /* ticks or grid, labels */
void hy__draw_x_marks(hy__canvas *cv, const hy__axis *axis); /* lines of marks, and their labels */
double hy__plot_height(const hy__canvas *cv);                /* what suits the width */
double hy__below(const hy__axis *axis);                      /* pixels that hy__draw_x needs */

/* Says that there is nothing to draw. */
void hy__draw_nothing(hy__canvas *cv);

/* Whether the axis has ends of its own. */
bool hy__axis_fixed(const hy__axis *axis);

/* Whether a value stands between the ruler's ends. */
bool hy__inside(const hy__ruler *r, double value);

/* The axis's own ends, or the data's and the marks'. */
hy__range hy__axis_range(const hy__axis *axis, hy__range data);

/* What a kind of chart does. `place` sets the box, the axes and cv->height, from cv->width, which
 * stands, and the chart's height, where it has one; `draw` then draws. */
typedef struct hy__kind {
    void (*place)(hy__canvas *cv);
    void (*draw)(hy__canvas *cv);
} hy__kind;
extern const hy__kind hy__kind_lines, hy__kind_areas, hy__kind_stacked, hy__kind_grouped,
    hy__kind_heat;

#endif
