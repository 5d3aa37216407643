/* chart_lines.c: lines and stacked areas over x, with names at their ends where they fit. */
#include "page/chart_draw.h"

#include <math.h>
#include <string.h>

enum {
    PLOT_HEIGHT = 230,
    ENDS_MAX = 12,  /* names beside the data; more stand in a legend */
    END_GAP = 18,   /* from the data to a name */
    END_SHIFT = 28, /* a name stands at most so far above or below its line's end */
    DOT_RADIUS = 3,
    STRIPS_MAX = 160, /* places that tell their values under the pointer */
    STRIP_SERIES = 16,
    STRIP_LEAST = 6
};

/* ---- values and places ---- */

static bool areas(const hy__canvas *cv) {
    return cv->c->kind == HY__CHART_AREAS;
}

static int64_t length(const hy__canvas *cv, int64_t s) {
    const hy__series *series = cv->c->series;
    return areas(cv) && series[0].n < series[s].n ? series[0].n : series[s].n;
}

static double x_value(const hy__canvas *cv, int64_t s, int64_t i) {
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

/* The value that is drawn: of areas the upper edge. */
static double y_value(const hy__canvas *cv, int64_t s, int64_t i) {
    return areas(cv) ? stacked_below(cv, s + 1, i) : cv->c->series[s].y[i];
}

static bool visible(const hy__canvas *cv, double x, double y) {
    return x >= cv->left - 0.5 && x <= cv->right + 0.5 && y >= cv->top - 0.5 &&
           y <= cv->bottom + 0.5;
}

static void add_ranges(const hy__canvas *cv, int64_t s, hy__range *x, hy__range *y) {
    const hy__series *series = &cv->c->series[s];
    const hy__scale scale = areas(cv) ? HY__SCALE_LINEAR : cv->c->y.scale;
    for (int64_t i = 0; i < length(cv, s); i++) {
        const double at = x_value(cv, s, i);
        if (!hy__scale_shows(cv->c->x.scale, at)) continue;
        hy__range_add(x, cv->c->x.scale, at);
        hy__range_add(y, scale, y_value(cv, s, i));
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
    for (int64_t i = length(cv, s) - 1; i >= 0; i--) {
        const double x = hy__ruler_at(&cv->x, x_value(cv, s, i));
        double y = hy__ruler_at(&cv->y, y_value(cv, s, i));
        if (areas(cv)) y = (y + hy__ruler_at(&cv->y, stacked_below(cv, s, i))) / 2;
        if (isnan(x) || isnan(y)) continue;
        *e = (end){.x = x, .want = y, .name = cv->c->series[s].name, .series = s};
        return visible(cv, x, y);
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
        if (!m->label || isnan(y)) continue;
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
    const bool fixed = c->y.min < c->y.max;
    hy__axis up = c->y;
    if (areas(cv)) up.scale = HY__SCALE_LINEAR;
    const hy__head head = {.up = c->y.label, .x_marks = &c->x};
    cv->right = cv->width - fmax(room, 16);
    /* the head's height depends on where the marks stand, the left edge on the height */
    cv->top = 0;
    for (int round = 0; round < 2; round++) {
        cv->height = c->height > 0 ? c->height : cv->top + PLOT_HEIGHT + hy__below(&c->x);
        cv->bottom = fmax(cv->top + 1, cv->height - hy__below(&c->x));
        hy__place_y(cv, &up, hy__axis_range(&up, y), !fixed);
        hy__place_x(cv, &c->x, hy__axis_range(&c->x, x), false);
        hy__draw_head(cv, &head, false);
    }
    cv->height = c->height > 0 ? c->height : cv->top + PLOT_HEIGHT + hy__below(&c->x);
    cv->bottom = fmax(cv->top + 1, cv->height - hy__below(&c->x));
    cv->y.from = cv->bottom;
    cv->y.to = cv->top;
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
                 series->faint ? "1" : "2", series->faint ? " opacity=\".35\"" : "",
                 hy__series_dash(cv->c, s));
    for (int64_t i = 0; i < series->n; i++) {
        const double x = hy__ruler_at(&cv->x, x_value(cv, s, i));
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

static bool has_point(const hy__canvas *cv, int64_t s, int64_t i) {
    return i >= 0 && i < length(cv, s) && !isnan(hy__ruler_at(&cv->x, x_value(cv, s, i))) &&
           !isnan(hy__ruler_at(&cv->y, y_value(cv, s, i)));
}

/* Markers, where they have room, and points without neighbours, which no line shows. */
static void draw_dots(hy__canvas *cv, int64_t s) {
    const hy__series *series = &cv->c->series[s];
    const bool all =
        series->markers && (double)series->n * 2 * (DOT_RADIUS + 1) < cv->right - cv->left;
    for (int64_t i = 0; i < series->n; i++) {
        if (!has_point(cv, s, i)) continue;
        if (!all && (has_point(cv, s, i - 1) || has_point(cv, s, i + 1))) continue;
        const double x = hy__ruler_at(&cv->x, x_value(cv, s, i));
        const double y = hy__ruler_at(&cv->y, series->y[i]);
        if (visible(cv, x, y))
            hy__text_add(cv->t, "<circle cx=\"%s\" cy=\"%s\" r=\"%d\" fill=\"currentColor\"/>\n",
                         hy__px_of(x).text, hy__px_of(y).text, DOT_RADIUS);
    }
}

/* A filled shape between two edges over the points from … to-1. */
typedef double edge(const hy__canvas *cv, int64_t s, int64_t i);

static void draw_between(hy__canvas *cv, int64_t s, int64_t from, int64_t to, edge *low,
                         edge *high) {
    double drawn = -INFINITY;
    for (int64_t i = from; i < to; i++) {
        const double x = hy__ruler_at(&cv->x, x_value(cv, s, i));
        if (x - drawn < 0.5 && i < to - 1) continue;
        point(cv, i == from ? 'M' : 'L', x, high(cv, s, i));
        drawn = x;
    }
    drawn = INFINITY;
    for (int64_t i = to - 1; i >= from; i--) {
        const double x = hy__ruler_at(&cv->x, x_value(cv, s, i));
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
    for (int64_t from = 0, to; from < length(cv, s); from = to + 1) {
        for (to = from; has_point(cv, s, to);) to++;
        if (to > from) draw_between(cv, s, from, to, low, high);
    }
    hy__text_put(cv->t, "\"/>\n");
}

/* ---- what the pointer tells ---- */

typedef struct strips {
    int n;
    double at[STRIPS_MAX];
    int64_t nearest[STRIP_SERIES][STRIPS_MAX]; /* the series's point there, or -1 */
} strips;

/* The first strip whose place is not left of x. */
static int strip_from(const strips *st, double x) {
    int low = 0, high = st->n;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (st->at[middle] < x)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void add_strip(strips *st, double x, double apart) {
    const int i = strip_from(st, x);
    if (st->n == STRIPS_MAX || (i < st->n && st->at[i] - x < apart) ||
        (i > 0 && x - st->at[i - 1] < apart))
        return;
    memmove(st->at + i + 1, st->at + i, (size_t)(st->n - i) * sizeof *st->at);
    st->at[i] = x;
    st->n++;
}

static void add_nearest(const hy__canvas *cv, strips *st, int64_t s, double apart) {
    for (int i = 0; i < st->n; i++) st->nearest[s][i] = -1;
    for (int64_t k = 0; k < length(cv, s); k++) {
        if (!has_point(cv, s, k)) continue;
        const double x = hy__ruler_at(&cv->x, x_value(cv, s, k));
        int i = strip_from(st, x);
        if (i == st->n || (i > 0 && x - st->at[i - 1] < st->at[i] - x)) i--;
        const int64_t held = i >= 0 ? st->nearest[s][i] : -1;
        if (i < 0 || fabs(x - st->at[i]) > apart) continue;
        if (held < 0 ||
            fabs(x - st->at[i]) < fabs(hy__ruler_at(&cv->x, x_value(cv, s, held)) - st->at[i]))
            st->nearest[s][i] = k;
    }
}

static void tell(hy__canvas *cv, const strips *st, int strip) {
    const hy__chart *c = cv->c;
    bool headed = false;
    for (int64_t s = 0; s < c->n_series && s < STRIP_SERIES; s++) {
        const hy__series *series = &c->series[s];
        const int64_t i = st->nearest[s][strip];
        if (i < 0 || series->faint) continue;
        if (!headed && c->x.label) {
            hy__text_escape(cv->t, c->x.label);
            hy__text_put(cv->t, ": ");
        }
        if (!headed) hy__text_put(cv->t, hy__number_digits(c->x.unit, x_value(cv, s, i), 4).text);
        headed = true;
        hy__text_put(cv->t, "\n");
        if (series->name) hy__text_escape(cv->t, series->name);
        hy__text_add(cv->t, "%s%s", series->name ? ": " : "",
                     hy__number_digits(c->y.unit, series->y[i], 4).text);
        if (series->lo && series->hi)
            hy__text_add(cv->t, " (%s to %s)", hy__number_show(c->y.unit, series->lo[i]).text,
                         hy__number_show(c->y.unit, series->hi[i]).text);
    }
}

static void draw_strip(hy__canvas *cv, const strips *st, int i) {
    const double from = i > 0 ? (st->at[i - 1] + st->at[i]) / 2 : cv->left;
    const double to = i < st->n - 1 ? (st->at[i] + st->at[i + 1]) / 2 : cv->right;
    const hy__px top = hy__px_of(cv->top);
    hy__text_put(cv->t, "<g><title>");
    tell(cv, st, i);
    hy__text_add(cv->t,
                 "</title><path d=\"M%s %sH%sV%sH%sZ\" fill=\"none\" pointer-events=\"all\"/>"
                 "<g opacity=\"0\"><path d=\"M%s %sV%s\" stroke=\"currentColor\" opacity=\".4\"/>",
                 hy__px_of(from).text, top.text, hy__px_of(to).text, hy__px_of(cv->bottom).text,
                 hy__px_of(from).text, hy__px_of(st->at[i]).text, top.text,
                 hy__px_of(cv->bottom).text);
    for (int64_t s = 0; s < cv->c->n_series && s < STRIP_SERIES; s++) {
        const int64_t k = st->nearest[s][i];
        if (k < 0 || cv->c->series[s].faint) continue;
        const double x = hy__ruler_at(&cv->x, x_value(cv, s, k));
        const double y = hy__ruler_at(&cv->y, y_value(cv, s, k));
        if (!visible(cv, x, y)) continue;
        hy__draw_series(cv, s, "");
        hy__text_add(cv->t, "<circle cx=\"%s\" cy=\"%s\" r=\"4\" fill=\"currentColor\"/>",
                     hy__px_of(x).text, hy__px_of(y).text);
        hy__draw_end(cv);
    }
    hy__text_put(cv->t, "</g></g>\n");
}

/* Upright strips over the data: the values there as a tooltip, and dots on the lines. */
static void draw_strips(hy__canvas *cv) {
    const double apart = fmax(STRIP_LEAST, (cv->right - cv->left) / (STRIPS_MAX - 1));
    strips st = {0};
    for (int64_t s = 0; s < cv->c->n_series && s < STRIP_SERIES; s++)
        for (int64_t i = 0; i < length(cv, s); i++) {
            const double x = hy__ruler_at(&cv->x, x_value(cv, s, i));
            if (has_point(cv, s, i) && x >= cv->left - 0.5 && x <= cv->right + 0.5)
                add_strip(&st, x, apart);
        }
    if (st.n == 0) return;
    for (int64_t s = 0; s < cv->c->n_series && s < STRIP_SERIES; s++)
        add_nearest(cv, &st, s, apart);
    hy__text_put(cv->t, "<g class=\"hy-hover\">\n");
    for (int i = 0; i < st.n; i++) draw_strip(cv, &st, i);
    hy__draw_end(cv);
}

/* ---- all of it ---- */

/* Whatever an axis's fixed ends cut off is not drawn over the labels. */
static bool begin_clip(hy__canvas *cv) {
    const hy__chart *c = cv->c;
    if (!(c->x.min < c->x.max) && !(c->y.min < c->y.max)) return false;
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
        draw_dots(cv, s);
    }
    hy__draw_end(cv);
}

static void draw(hy__canvas *cv) {
    const hy__head head = {.up = cv->c->y.label, .x_marks = &cv->c->x};
    hy__draw_head(cv, &head, true);
    hy__draw_y(cv);
    hy__draw_x(cv, cv->c->x.label, false);
    hy__draw_x_marks(cv, &cv->c->x);
    const bool clipped = begin_clip(cv);
    for (int faint = 1; faint >= 0; faint--) /* what is faint lies behind */
        for (int64_t s = 0; s < cv->c->n_series; s++)
            if (cv->c->series[s].faint == faint) draw_one(cv, s);
    if (clipped) hy__text_put(cv->t, "</svg>\n");
    hy__draw_y_marks(cv, &cv->c->y, cv->legend);
    if (!cv->legend) draw_ends(cv);
    draw_strips(cv);
}

const hy__kind hy__kind_lines = {place, draw}, hy__kind_areas = {place, draw};
