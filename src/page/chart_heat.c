/* chart_heat.c: a heat map: a row per series, a column per point, and the scale of its colours.
 *
 * Columns narrower than a few pixels are averaged together. */
#include "page/chart_color.h"
#include "page/chart_draw.h"

#include <math.h>

enum {
    ROW = 20,          /* height of a row with few of them */
    ROWS_HEIGHT = 360, /* of many */
    ROW_LEAST = 3,
    COLUMN_LEAST = 5,
    SCALE_WIDTH = 6 * HY__HEAT_LEVELS,
    NAME_ROOM = 14,  /* a row's name needs so much height */
    LEAST_NAME = 36, /* and a category's at least so much width */
    TELLING = 4000   /* cells that tell their value; beyond, a page would grow too large */
};

/* What stands for a column. */
typedef struct label {
    char text[64];
} label;

static int64_t n_column(const hy__chart *c) {
    int64_t n = 0;
    for (int64_t s = 0; s < c->n_series; s++) n = c->series[s].n > n ? c->series[s].n : n;
    return n;
}

/* Columns of data that one drawn column averages. */
static int64_t merged(const hy__canvas *cv) {
    const double fit = floor((cv->right - cv->left) / COLUMN_LEAST);
    const int64_t n = n_column(cv->c), most = fit >= 1 ? (int64_t)fit : 1;
    return n > most ? (n + most - 1) / most : 1;
}

static double mean(const hy__canvas *cv, int64_t row, int64_t from, int64_t n) {
    const hy__series *s = &cv->c->series[row];
    double sum = 0, count = 0;
    for (int64_t i = from; i < from + n && i < s->n; i++) {
        if (!isfinite(s->y[i])) continue;
        sum += s->y[i];
        count++;
    }
    return count > 0 ? sum / count : NAN;
}

/* The colours' ruler runs over 0 … 1. */
static hy__ruler colours(const hy__canvas *cv) {
    const hy__axis *axis = &cv->c->y;
    hy__range r = {INFINITY, -INFINITY};
    for (int64_t s = 0; s < cv->c->n_series; s++)
        for (int64_t i = 0; i < cv->c->series[s].n; i++)
            hy__range_add(&r, axis->scale, cv->c->series[s].y[i]);
    hy__ruler ruler;
    hy__ruler_init(&ruler, axis->unit, axis->scale, hy__axis_range(axis, r), false, 4);
    ruler.from = 0;
    ruler.to = 1;
    return ruler;
}

static void place(hy__canvas *cv) {
    const hy__chart *c = cv->c;
    double widest = 0;
    for (int64_t s = 0; s < c->n_series; s++)
        if (c->series[s].name) widest = fmax(widest, hy__words_width(c->series[s].name));
    const double rows = c->n_series > 0 ? (double)c->n_series : 1;
    const double each = fmax(ROW_LEAST, fmin(ROW, ROWS_HEIGHT / rows));
    cv->left = fmin(widest, 0.3 * cv->width) + HY__TICK_GAP + 1;
    cv->right = cv->width - 12;
    cv->top = hy__draw_head(cv, &(hy__head){0}, false) + HY__LINE + 10; /* the scale of colours */
    const double below = hy__below(&c->x);
    cv->height = c->height > 0 ? c->height : cv->top + each * rows + below;
    cv->bottom = fmax(cv->top + 1, cv->height - below);
}

/* The colour stands in the style sheet; alone, where that may not be read, in the cell too. */
static void begin_cell(hy__canvas *cv, int level, double x, double y, double width, double height) {
    hy__text_add(cv->t, "<rect class=\"hy-h%d\" x=\"%s\" y=\"%s\" width=\"%s\" height=\"%s\"",
                 level, hy__px_of(x).text, hy__px_of(y).text, hy__px_of(width).text,
                 hy__px_of(height).text);
    if (cv->alone) hy__text_add(cv->t, " fill=\"%s\"", hy__heat_color(level).text);
}

/* What the colours mean: a bar from the least to the greatest value. */
static void draw_scale(hy__canvas *cv, const hy__ruler *r) {
    const hy__chart *c = cv->c;
    const double y = cv->top - 20, name = c->y.label ? hy__words_width(c->y.label) + 10 : 0;
    const hy__number lo = hy__number_show(r->unit, r->lo);
    const hy__number hi = hy__number_show(r->unit, r->hi);
    const double x = name + hy__words_width(lo.text) + 6;
    hy__draw_ink(cv, "muted", "");
    if (c->y.label) hy__draw_words(cv, 0, y, HY__ANCHOR_START, cv->width, c->y.label);
    hy__draw_words(cv, x - 6, y, HY__ANCHOR_END, cv->width, lo.text);
    hy__draw_words(cv, x + SCALE_WIDTH + 6, y, HY__ANCHOR_START, cv->width, hi.text);
    hy__draw_end(cv);
    for (int i = 0; i < HY__HEAT_LEVELS; i++) {
        begin_cell(cv, i, x + 6 * i, y - 9, 6, 10);
        hy__text_put(cv->t, "/>\n");
    }
}

/* The colour of a value; -1 for none. */
static int level_of(const hy__ruler *r, double v) {
    const double share = hy__ruler_at(r, v);
    if (isnan(share)) return -1;
    const int level = (int)(fmax(0, fmin(share, 1)) * HY__HEAT_LEVELS);
    return level < HY__HEAT_LEVELS ? level : HY__HEAT_LEVELS - 1;
}

static double column_value(const hy__chart *c, int64_t i) {
    const double *x = i < c->series[0].n ? c->series[0].x : NULL;
    return x ? x[i] : (double)i;
}

/* A column by its name, or by the first row's x. */
static label column_name(const hy__chart *c, int64_t i) {
    label out;
    if (c->n_category > 0)
        hy__print(out.text, sizeof out.text, "%s", hy__category(c, i));
    else
        hy__print(out.text, sizeof out.text, "%s",
                  hy__number_show(c->x.unit, column_value(c, i)).text);
    return out;
}

static void cell_title(hy__canvas *cv, int64_t row, int64_t column, double v) {
    const hy__chart *c = cv->c;
    const hy__series *s = &c->series[row];
    hy__text_put(cv->t, "<title>");
    if (s->name) hy__text_escape(cv->t, s->name);
    hy__text_put(cv->t, s->name ? ", " : "");
    if (c->n_category == 0 && c->x.label) {
        hy__text_escape(cv->t, c->x.label);
        hy__text_put(cv->t, " ");
    }
    hy__text_escape(cv->t, column_name(c, column).text);
    hy__text_add(cv->t, ": %s</title>", hy__number_show(c->y.unit, v).text);
}

static void draw_row(hy__canvas *cv, const hy__ruler *r, int64_t row, bool telling) {
    const int64_t n = n_column(cv->c), each = merged(cv);
    const double high = (cv->bottom - cv->top) / (double)cv->c->n_series;
    const double seam = high >= 10 ? 1 : 0, wide = (cv->right - cv->left) / (double)n;
    for (int64_t i = 0, to; i < n; i = to) {
        const double v = mean(cv, row, i, each);
        const int level = level_of(r, v);
        /* without tooltips, neighbours of one colour are one rectangle */
        for (to = i + each; !telling && to < n; to += each)
            if (level_of(r, mean(cv, row, to, each)) != level) break;
        if (level < 0) continue;
        /* whole pixels: neighbours share an edge */
        const double x = round(cv->left + (double)i * wide);
        const double width = round(cv->left + (double)(to < n ? to : n) * wide) - x;
        begin_cell(cv, level, x, cv->top + (double)row * high, width - (width >= 12 && telling),
                   high - seam);
        hy__text_put(cv->t, telling ? ">" : "/>\n");
        if (!telling) continue;
        cell_title(cv, row, i, v);
        hy__text_put(cv->t, "</rect>\n");
    }
}

/* Names of rows, of every few where they stand close. */
static void draw_rows(hy__canvas *cv) {
    const double high = (cv->bottom - cv->top) / (double)cv->c->n_series;
    const int64_t every = (int64_t)ceil(NAME_ROOM / high);
    for (int64_t s = 0; s < cv->c->n_series; s += every)
        if (cv->c->series[s].name)
            hy__draw_words(cv, cv->left - HY__TICK_GAP, cv->top + ((double)s + 0.5) * high + 4,
                           HY__ANCHOR_END, cv->left - HY__TICK_GAP, cv->c->series[s].name);
}

/* Places the x axis from the first column's middle to the last one's; false when the columns have
 * names, or do not stand evenly on it. */
static bool place_columns(hy__canvas *cv) {
    const hy__chart *c = cv->c;
    const int64_t n = n_column(c);
    const double half = (cv->right - cv->left) / (double)n / 2;
    if (c->n_category > 0 || n < 2) return false;
    hy__range range = {INFINITY, -INFINITY};
    hy__range_add(&range, c->x.scale, column_value(c, 0));
    hy__range_add(&range, c->x.scale, column_value(c, n - 1));
    hy__place_x(cv, &c->x, range);
    cv->x.from = cv->left + half;
    cv->x.to = cv->right - half;
    for (int64_t i = 0; i < n; i++) {
        const double off =
            hy__ruler_at(&cv->x, column_value(c, i)) - (cv->x.from + 2 * half * (double)i);
        if (!(fabs(off) <= half)) return false;
    }
    return true;
}

/* Names of columns, of every few so that none touches another. */
static void draw_columns(hy__canvas *cv) {
    const hy__chart *c = cv->c;
    const int64_t n = n_column(c);
    if (place_columns(cv)) {
        hy__draw_x(cv, c->x.label, false);
        return;
    }
    const double wide = (cv->right - cv->left) / (double)n;
    double widest = 0;
    for (int64_t i = 0; i < n; i++) widest = fmax(widest, hy__words_width(column_name(c, i).text));
    widest = fmin(widest, 120);
    const bool named = c->n_category > 0 && wide > LEAST_NAME; /* all of them, cut to their room */
    const double room = named ? wide - 6 : 120;
    const int64_t every = named ? 1 : (int64_t)ceil((widest + 10) / wide);
    hy__draw_ink(cv, "muted", "");
    for (int64_t i = 0; i < n; i += every)
        hy__draw_words(cv, cv->left + ((double)i + 0.5) * wide, cv->bottom + HY__LINE + 1,
                       HY__ANCHOR_MIDDLE, room, column_name(c, i).text);
    if (c->x.label)
        hy__draw_words(cv, (cv->left + cv->right) / 2, cv->bottom + 2 * HY__LINE + 3,
                       HY__ANCHOR_MIDDLE, cv->width, c->x.label);
    hy__draw_end(cv);
}

static void draw(hy__canvas *cv) {
    const int64_t n = n_column(cv->c);
    hy__draw_head(cv, &(hy__head){0}, true);
    if (n == 0) {
        hy__draw_nothing(cv);
        return;
    }
    const hy__ruler r = colours(cv);
    const bool telling = (n + merged(cv) - 1) / merged(cv) * cv->c->n_series <= TELLING;
    draw_scale(cv, &r);
    draw_rows(cv);
    draw_columns(cv);
    hy__text_put(cv->t, "<g shape-rendering=\"crispEdges\">\n");
    for (int64_t s = 0; s < cv->c->n_series; s++) draw_row(cv, &r, s, telling);
    hy__draw_end(cv);
}

const hy__kind hy__kind_heat = {place, draw};
