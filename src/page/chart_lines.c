/* chart_lines.c: lines and stacked areas over x, with names at their ends where they fit. */
#include "page/chart_lines.h"

#include <math.h>

enum {
    ENDS_MAX = 12,  /* names beside the data; more stand in a legend */
    END_GAP = 18,   /* from the data to a name */
    END_SHIFT = 28, /* a name stands at most so far above or below its line's end */
    DOT_RADIUS = 3
};

/* ---- values and places ---- */

static bool areas(const hy__canvas *cv) {
    return cv->c->kind == HY__CHART_AREAS;
}

int64_t hy__line_length(const hy__canvas *cv, int64_t s) {
    const hy__series *series = cv->c->series;
    return areas(cv) && series[0].n < series[s].n ? series[0].n : series[s].n;
}

double hy__line_x(const hy__canvas *cv, int64_t s, int64_t i) {
    const double *x = cv->c->series[areas(cv) ? 0 : s].x;
    return x ? x[i] : (double)i;
}

/* Where the area of series s begins: the sum of those before. Nothing stacks below zero. */
static double stacked_below(const hy__canvas *cv, int64_t s, int64_t i) {
    double sum = 0;
    for (int64_t k = 0; k < s; k++) {
        const hy__series *series = &cv->c->series[k];
        if (i < series->n && isfinite(series->y[i]) && series->y[i] > 0) sum += series->y[i];
    }
    return sum;
}

/* Whether an area has something to stack at the point. */
static bool stacked_any(const hy__canvas *cv, int64_t i) {
    for (int64_t k = 0; k < cv->c->n_series; k++)
        if (i < cv->c->series[k].n && isfinite(cv->c->series[k].y[i])) return true;
    return false;
}

/* The value that is drawn: of areas the upper edge. */
double hy__line_y(const hy__canvas *cv, int64_t s, int64_t i) {
    if (areas(cv)) return stacked_any(cv, i) ? stacked_below(cv, s + 1, i) : (double)NAN;
    return cv->c->series[s].y[i];
}

bool hy__line_visible(const hy__canvas *cv, double x, double y) {
    return x >= cv->left - 0.5 && x <= cv->right + 0.5 && y >= cv->top - 0.5 &&
           y <= cv->bottom + 0.5;
}

static void add_ranges(const hy__canvas *cv, int64_t s, hy__range *x, hy__range *y) {
    const hy__series *series = &cv->c->series[s];
    const hy__scale scale = areas(cv) ? HY__SCALE_LINEAR : cv->c->y.scale;
    for (int64_t i = 0; i < hy__line_length(cv, s); i++) {
        const double at = hy__line_x(cv, s, i);
        if (!hy__scale_shows(cv->c->x.scale, at)) continue;
        hy__range_add(x, cv->c->x.scale, at);
        hy__range_add(y, scale, hy__line_y(cv, s, i));
        if (series->lo) hy__range_add(y, scale, series->lo[i]);
        if (series->hi) hy__range_add(y, scale, series->hi[i]);
    }
}

/* ---- names at the ends ---- */

typedef struct end {
    double x, want, y; /* the line's end; where the name stands */
    const char *name;
    int64_t series; /* -1: a mark of the y axis */
} end;

static void add_end(end *ends, int *n, end e) {
    int i = (*n)++;
    for (; i > 0 && ends[i - 1].want > e.want; i--) ends[i] = ends[i - 1];
    ends[i] = e;
}

/* Moves names apart, each as little as its neighbours allow: runs that touch share a centre. */
static void spread(end *ends, int n, double top, double bottom) {
    for (int i = 0; i < n; i++) ends[i].y = ends[i].want;
    for (int round = 0; round < n; round++) {
        for (int from = 0, to; from < n; from = to) {
            double sum = ends[from].want;
            for (to = from + 1; to < n && ends[to].y - ends[to - 1].y < HY__LINE + 0.01; to++)
                sum += ends[to].want;
            const double half = (to - from - 1) * HY__LINE / 2.0;
            const double centre = fmax(top + half, fmin(sum / (to - from), bottom - half));
            for (int i = from; i < to; i++) ends[i].y = centre - half + (i - from) * HY__LINE;
        }
    }
}

/* The end of a series' line, or of an area's right edge its middle; false when it has none. */
static bool end_of(const hy__canvas *cv, int64_t s, end *e) {
    for (int64_t i = hy__line_length(cv, s) - 1; i >= 0; i--) {
        const double x = hy__ruler_at(&cv->x, hy__line_x(cv, s, i));
        double y = hy__ruler_at(&cv->y, hy__line_y(cv, s, i));
        if (areas(cv)) y = (y + hy__ruler_at(&cv->y, stacked_below(cv, s, i))) / 2;
        if (isnan(x) || isnan(y)) continue;
        *e = (end){.x = x, .want = y, .name = cv->c->series[s].name, .series = s};
        return hy__line_visible(cv, x, y);
    }
    return false;
}

/* Names of series (unless a legend has them) and of marks, top to bottom. Returns how many, or -1
 * when they do not all have a place beside the data. */
static int collect_ends(const hy__canvas *cv, end ends[ENDS_MAX]) {
    int n = 0;
    for (int64_t s = 0; s < cv->c->n_series && !cv->legend; s++) {
        end e;
        if (!hy__series_named(&cv->c->series[s])) continue;
        if (n == ENDS_MAX || !end_of(cv, s, &e)) return -1;
        if (e.x < cv->right - 0.12 * (cv->right - cv->left)) return -1;
        add_end(ends, &n, e);
    }
    for (int64_t i = 0; i < cv->c->y.n_mark && !cv->legend; i++) {
        const hy__mark *m = &cv->c->y.mark[i];
        const double y = hy__ruler_at(&cv->y, m->at);
        if (!m->label || !hy__inside(&cv->y, m->at)) continue;
        if (n == ENDS_MAX) return -1;
        add_end(ends, &n, (end){cv->right, y, y, m->label, -1});
    }
    if (n * HY__LINE > cv->bottom - cv->top) return -1;
    spread(ends, n, cv->top + 2, cv->bottom - 2);
    for (int i = 0; i < n; i++)
        if (fabs(ends[i].y - ends[i].want) > END_SHIFT) return -1;
    return n;
}

static void draw_ends(hy__canvas *cv) {
    end ends[ENDS_MAX];
    const int n = collect_ends(cv, ends);
    for (int i = 0; i < n; i++) {
        const end *e = &ends[i];
        const double x = cv->right + END_GAP;
        if (e->series >= 0) {
            hy__draw_series(cv, e->series, " fill=\"none\" stroke=\"currentColor\"");
            hy__text_add(cv->t, "<path d=\"M%s %sL%s %s\"/>\n", hy__px_of(e->x + 4).text,
                         hy__px_of(e->want).text, hy__px_of(x - 4).text, hy__px_of(e->y).text);
            hy__draw_end(cv);
        }
        hy__draw_words(cv, x, e->y + 4, HY__ANCHOR_START, cv->width - x, e->name);
    }
}

/* Pixels that names need on the right. */
static double ends_room(const hy__canvas *cv) {
    double widest = 0;
    for (int64_t s = 0; s < cv->c->n_series; s++)
        if (hy__series_named(&cv->c->series[s]))
            widest = fmax(widest, hy__words_width(cv->c->series[s].name));
    for (int64_t i = 0; i < cv->c->y.n_mark; i++)
        if (cv->c->y.mark[i].label) widest = fmax(widest, hy__words_width(cv->c->y.mark[i].label));
    return widest > 0 ? widest + END_GAP : 0;
}

/* ---- placing ---- */

static void place_with(hy__canvas *cv, hy__range x, hy__range y, double room) {
    const hy__chart *c = cv->c;
    hy__axis up = c->y;
    if (areas(cv)) up.scale = HY__SCALE_LINEAR;
    const hy__head head = {.up = c->y.label, .x_marks = &c->x};
    cv->right = cv->width - fmax(room, 16);
    /* the head's height depends on where the marks stand, the left edge on the height */
    cv->top = 0;
    for (int round = 0; round < 3; round++) {
        cv->height = c->height > 0 ? c->height : cv->top + hy__plot_height(cv) + hy__below(&c->x);
        cv->bottom = fmax(cv->top + 1, cv->height - hy__below(&c->x));
        hy__place_y(cv, &up, hy__axis_range(&up, y));
        hy__place_x(cv, &c->x, hy__axis_range(&c->x, x));
        if (cv->empty) cv->x.n_tick = cv->y.n_tick = 0;
        if (round < 2) cv->top = hy__draw_head(cv, &head, false);
    }
}

/* A linear axis begins at 0 when that costs at most a third of it. */
static void toward_zero(hy__range *r, hy__scale scale) {
    if (scale != HY__SCALE_LINEAR || !(r->lo <= r->hi)) return;
    if (r->lo > 0 && r->lo < r->hi / 3) r->lo = 0;
    if (r->hi < 0 && r->hi > r->lo / 3) r->hi = 0;
}

static void place(hy__canvas *cv) {
    hy__range x = {INFINITY, -INFINITY}, y = x;
    for (int64_t s = 0; s < cv->c->n_series; s++) add_ranges(cv, s, &x, &y);
    cv->empty = !(x.lo <= x.hi) || !(y.lo <= y.hi);
    if (areas(cv)) hy__range_add(&y, HY__SCALE_LINEAR, 0);
    toward_zero(&y, cv->c->y.scale);
    const double room = ends_room(cv);
    end ends[ENDS_MAX];
    cv->legend = room > 0.3 * cv->width;
    if (!cv->legend) {
        place_with(cv, x, y, room);
        if (collect_ends(cv, ends) >= 0) return;
        cv->legend = true;
    }
    place_with(cv, x, y, 0);
}

/* ---- drawing ---- */

static void point(hy__canvas *cv, char command, double x, double y) {
    hy__text_add(cv->t, "%c%s %s", command, hy__px_of(x).text, hy__px_of(y).text);
}

/* A line thinned to what can be seen: of the points in one column of pixels the first, the lowest,
 * the highest and the last (the M4 of Jugel et al., VLDB 2014). */
typedef struct pen {
    hy__canvas *cv;
    bool down; /* the path goes on */
    int n;     /* points waiting, all in the column */
    double column;
    struct spot {
        double x, y;
        int64_t at;
    } first, low, high, last;
} pen;

static void pen_point(pen *p, const struct spot *s) {
    point(p->cv, p->down ? 'L' : 'M', s->x, s->y);
    p->down = true;
}

static void pen_flush(pen *p) {
    if (p->n == 0) return;
    const struct spot *before = p->low.at < p->high.at ? &p->low : &p->high;
    const struct spot *after = p->low.at < p->high.at ? &p->high : &p->low;
    pen_point(p, &p->first);
    if (before->at > p->first.at && before->at < p->last.at) pen_point(p, before);
    if (after->at > before->at && after->at > p->first.at && after->at < p->last.at)
        pen_point(p, after);
    if (p->last.at > p->first.at) pen_point(p, &p->last);
    p->n = 0;
}

static void pen_add(pen *p, int64_t at, double x, double y) {
    const struct spot s = {x, y, at};
    if (p->n && floor(x) != p->column) pen_flush(p);
    if (p->n++ == 0) {
        p->column = floor(x);
        p->first = p->low = p->high = s;
    }
    if (y < p->low.y) p->low = s;
    if (y > p->high.y) p->high = s;
    p->last = s;
}

static void draw_line(hy__canvas *cv, int64_t s) {
    const hy__series *series = &cv->c->series[s];
    pen p = {.cv = cv};
    hy__text_add(cv->t,
                 "<path fill=\"none\" stroke=\"currentColor\" stroke-width=\"%s\" "
                 "stroke-linejoin=\"round\" stroke-linecap=\"round\"%s%s d=\"",
                 series->faint ? "1" : "2", series->faint ? " opacity=\".25\"" : "",
                 hy__series_dash(cv->c, s));
    for (int64_t i = 0; i < series->n; i++) {
        const double x = hy__ruler_at(&cv->x, hy__line_x(cv, s, i));
        const double y = hy__ruler_at(&cv->y, series->y[i]);
        if (isnan(x) || isnan(y)) {
            pen_flush(&p);
            p.down = false;
        } else
            pen_add(&p, i, x, y);
    }
    pen_flush(&p);
    hy__text_put(cv->t, "\"/>\n");
}

bool hy__line_has(const hy__canvas *cv, int64_t s, int64_t i) {
    return i >= 0 && i < hy__line_length(cv, s) &&
           !isnan(hy__ruler_at(&cv->x, hy__line_x(cv, s, i))) &&
           !isnan(hy__ruler_at(&cv->y, hy__line_y(cv, s, i)));
}

/* Markers, where they have room, and points without neighbours, which no line shows. */
static void draw_dots(hy__canvas *cv, int64_t s) {
    const hy__series *series = &cv->c->series[s];
    const bool all =
        series->markers && (double)series->n * 2 * (DOT_RADIUS + 1) < cv->right - cv->left;
    bool begun = false;
    for (int64_t i = 0; i < series->n; i++) {
        if (!hy__line_has(cv, s, i)) continue;
        if (!all && (hy__line_has(cv, s, i - 1) || hy__line_has(cv, s, i + 1))) continue;
        const double x = hy__ruler_at(&cv->x, hy__line_x(cv, s, i));
        const double y = hy__ruler_at(&cv->y, series->y[i]);
        if (!hy__line_visible(cv, x, y)) continue;
        if (!begun) hy__draw_series(cv, s, "");
        begun = true;
        hy__text_add(cv->t, "<circle cx=\"%s\" cy=\"%s\" r=\"%d\" fill=\"currentColor\"/>\n",
                     hy__px_of(x).text, hy__px_of(y).text, DOT_RADIUS);
    }
    if (begun) hy__draw_end(cv);
}

/* A filled shape between two edges over the points from … to-1. */
typedef double edge(const hy__canvas *cv, int64_t s, int64_t i);

static void draw_between(hy__canvas *cv, int64_t s, int64_t from, int64_t to, edge *low,
                         edge *high) {
    double drawn = -INFINITY;
    for (int64_t i = from; i < to; i++) {
        const double x = hy__ruler_at(&cv->x, hy__line_x(cv, s, i));
        if (x - drawn < 0.5 && i < to - 1) continue;
        point(cv, i == from ? 'M' : 'L', x, high(cv, s, i));
        drawn = x;
    }
    drawn = INFINITY;
    for (int64_t i = to - 1; i >= from; i--) {
        const double x = hy__ruler_at(&cv->x, hy__line_x(cv, s, i));
        if (drawn - x < 0.5 && i > from) continue;
        point(cv, 'L', x, low(cv, s, i));
        drawn = x;
    }
    hy__text_put(cv->t, "Z");
}

static double at_or_bottom(const hy__canvas *cv, double value) {
    const double y = hy__ruler_at(&cv->y, value);
    return isnan(y) ? cv->bottom : y;
}

static double band_low(const hy__canvas *cv, int64_t s, int64_t i) {
    return at_or_bottom(cv, cv->c->series[s].lo[i]);
}

static double band_high(const hy__canvas *cv, int64_t s, int64_t i) {
    return at_or_bottom(cv, cv->c->series[s].hi[i]);
}

static double area_low(const hy__canvas *cv, int64_t s, int64_t i) {
    return hy__ruler_at(&cv->y, stacked_below(cv, s, i));
}

static double area_high(const hy__canvas *cv, int64_t s, int64_t i) {
    return hy__ruler_at(&cv->y, stacked_below(cv, s + 1, i));
}

/* Fills every run of points that can be shown. */
static void draw_filled(hy__canvas *cv, int64_t s, const char *opacity, edge *low, edge *high) {
    hy__text_add(cv->t, "<path fill=\"currentColor\" opacity=\"%s\" d=\"", opacity);
    for (int64_t from = 0, to; from < hy__line_length(cv, s); from = to + 1) {
        for (to = from; hy__line_has(cv, s, to);) to++;
        if (to > from) draw_between(cv, s, from, to, low, high);
    }
    hy__text_put(cv->t, "\"/>\n");
}

/* ---- all of it ---- */

/* Whatever an axis's fixed ends cut off is not drawn over the labels. */
static bool begin_clip(hy__canvas *cv) {
    if (!hy__axis_fixed(&cv->c->x) && !hy__axis_fixed(&cv->c->y)) return false;
    const hy__px x = hy__px_of(cv->left - 1), y = hy__px_of(cv->top - 1);
    const hy__px width = hy__px_of(cv->right - cv->left + 2);
    const hy__px height = hy__px_of(cv->bottom - cv->top + 2);
    hy__text_add(cv->t,
                 "<svg x=\"%s\" y=\"%s\" width=\"%s\" height=\"%s\" viewBox=\"%s %s %s %s\" "
                 "overflow=\"hidden\">\n",
                 x.text, y.text, width.text, height.text, x.text, y.text, width.text, height.text);
    return true;
}

static void draw_one(hy__canvas *cv, int64_t s) {
    const hy__series *series = &cv->c->series[s];
    hy__draw_series(cv, s, "");
    if (areas(cv)) {
        draw_filled(cv, s, ".85", area_low, area_high);
    } else {
        if (series->lo && series->hi) draw_filled(cv, s, ".18", band_low, band_high);
        draw_line(cv, s);
    }
    hy__draw_end(cv);
}

static void draw(hy__canvas *cv) {
    const hy__head head = {.up = cv->c->y.label, .x_marks = &cv->c->x};
    hy__draw_head(cv, &head, true);
    hy__draw_y(cv);
    hy__draw_x(cv, cv->c->x.label, false);
    if (cv->empty) {
        hy__draw_nothing(cv);
        return;
    }
    hy__draw_x_marks(cv, &cv->c->x);
    const bool clipped = begin_clip(cv);
    for (int faint = 1; faint >= 0; faint--) /* what is faint lies behind */
        for (int64_t s = 0; s < cv->c->n_series; s++)
            if (cv->c->series[s].faint == faint) draw_one(cv, s);
    if (clipped) hy__text_put(cv->t, "</svg>\n");
    for (int64_t s = 0; s < cv->c->n_series && !areas(cv); s++) draw_dots(cv, s);
    hy__draw_y_marks(cv, &cv->c->y, cv->legend ? HY__LABELS_ON_LINE : HY__LABELS_NONE);
    if (!cv->legend) draw_ends(cv);
    hy__draw_tips(cv);
}

const hy__kind hy__kind_lines = {place, draw}, hy__kind_areas = {place, draw};
