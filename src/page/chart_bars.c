/* chart_bars.c: stacked bars to the right, and groups of bars with errors, upright where the names
 * of the categories fit below them, to the right elsewhere.
 *
 * "Along" is the direction of the categories, "across" that of the values. */
#include "page/chart_draw.h"

#include <math.h>

enum {
    STACK_BAND = 34,
    BAR = 13, /* of a group, to the right */
    BAND_GAP = 14,
    UPRIGHT_LEAST = 7, /* the least width of an upright bar */
    UPRIGHT_MOST = 44,
    NAME_LINES = 2,
    VALUE_ROOM = 56, /* for a value beside the end of a bar */
    VALUE_ABOVE = 6
};

static bool stacked(const hy__canvas *cv) {
    return cv->c->kind == HY__CHART_STACKED_BARS;
}

static int64_t n_category(const hy__chart *c) {
    int64_t n = c->n_category;
    for (int64_t s = 0; s < c->n_series && c->n_category == 0; s++)
        n = c->series[s].n > n ? c->series[s].n : n;
    return n;
}

static double value(const hy__series *s, int64_t k) {
    return k < s->n ? s->y[k] : NAN;
}

static double part(const hy__canvas *cv, int64_t s, int64_t k) {
    const double v = value(&cv->c->series[s], k);
    return isfinite(v) && v > 0 ? v : 0;
}

/* The sum of the first n segments of a category. */
static double sum_of(const hy__canvas *cv, int64_t n, int64_t k) {
    double sum = 0;
    for (int64_t s = 0; s < n; s++) sum += part(cv, s, k);
    return sum;
}

static hy__axis value_axis(const hy__canvas *cv) {
    hy__axis axis = cv->c->y;
    if (stacked(cv)) axis.scale = HY__SCALE_LINEAR;
    return axis;
}

static hy__range values_of(const hy__canvas *cv) {
    const hy__scale scale = value_axis(cv).scale;
    hy__range r = {INFINITY, -INFINITY};
    for (int64_t k = 0; k < n_category(cv->c); k++) {
        if (stacked(cv)) hy__range_add(&r, scale, sum_of(cv, cv->c->n_series, k));
        for (int64_t s = 0; s < cv->c->n_series && !stacked(cv); s++) {
            const hy__series *series = &cv->c->series[s];
            hy__range_add(&r, scale, value(series, k));
            if (k >= series->n) continue;
            if (series->lo) hy__range_add(&r, scale, series->lo[k]);
            if (series->hi) hy__range_add(&r, scale, series->hi[k]);
        }
    }
    return r;
}

/* ---- placing ---- */

static double band(const hy__canvas *cv) {
    const double n = (double)n_category(cv->c);
    return (cv->across ? cv->bottom - cv->top : cv->right - cv->left) / (n > 0 ? n : 1);
}

/* Whether every category's name fits below upright bars. */
static bool names_fit(const hy__canvas *cv) {
    const double room = band(cv) - 8;
    const int64_t n = n_category(cv->c);
    for (int64_t k = 0; k < n; k++) {
        const char *name = hy__category(cv->c, k);
        if (!hy__words_fit(name, room, NAME_LINES)) return false;
    }
    return n * cv->c->n_series == 0 || 0.8 * room / (double)cv->c->n_series >= UPRIGHT_LEAST;
}

static double names_below(const hy__canvas *cv) {
    int lines = 0;
    for (int64_t k = 0; k < n_category(cv->c); k++) {
        const int n = hy__draw_wrapped(NULL, 0, 0, HY__ANCHOR_MIDDLE, band(cv) - 8, NAME_LINES,
                                       hy__category(cv->c, k));
        lines = n > lines ? n : lines;
    }
    return lines * HY__LINE + 8 + (cv->c->x.label ? HY__LINE + 4 : 0);
}

/* Bars begin at 0. */
static hy__range span(const hy__canvas *cv, const hy__axis *axis) {
    hy__range r = values_of(cv);
    hy__range_add(&r, axis->scale, 0);
    return hy__axis_range(axis, r);
}

/* Pixels for the labels of marks, which stand to the right of upright bars. */
static double marks_room(const hy__canvas *cv) {
    double widest = 0;
    for (int64_t i = 0; i < cv->c->y.n_mark; i++)
        if (cv->c->y.mark[i].label)
            widest = fmax(widest, hy__words_width(cv->c->y.mark[i].label) + 8);
    return fmin(widest, 0.3 * cv->width);
}

static bool place_upright(hy__canvas *cv) {
    const hy__chart *c = cv->c;
    const hy__axis axis = value_axis(cv);
    const hy__head head = {.up = c->y.label};
    cv->across = false;
    cv->right = cv->width - fmax(4, marks_room(cv));
    cv->top = hy__draw_head(cv, &head, false) + VALUE_ABOVE;
    cv->bottom = cv->top + hy__plot_height(cv);
    for (int round = 0; round < 2; round++) { /* names need the left edge, it the height */
        hy__place_y(cv, &axis, span(cv, &axis));
        const double below = names_below(cv);
        if (c->height > 0) cv->bottom = fmax(cv->top + 1, c->height - below);
        cv->height = cv->bottom + below;
    }
    return names_fit(cv);
}

static void place_across(hy__canvas *cv) {
    const hy__chart *c = cv->c;
    const hy__axis axis = value_axis(cv);
    const hy__head head = {.up = c->x.label, .x_marks = &c->y};
    const double most = 0.36 * cv->width;
    double widest = 0;
    for (int64_t k = 0; k < n_category(c); k++)
        widest = fmax(widest, hy__words_width(hy__category(c, k)));
    cv->across = true;
    cv->left = fmin(widest, most) + HY__TICK_GAP + 1;
    cv->right = cv->width - VALUE_ROOM;
    hy__place_x(cv, &axis, span(cv, &axis));
    cv->top = hy__draw_head(cv, &head, false);
    double each = stacked(cv) ? STACK_BAND : BAR * (double)c->n_series + BAND_GAP;
    if (widest > most) each = fmax(each, NAME_LINES * HY__LINE + 6);
    const double room = each * (double)n_category(c), below = hy__below(&c->y);
    cv->height = c->height > 0 ? c->height : cv->top + room + below;
    cv->bottom = fmax(cv->top + 1, cv->height - below);
}

static int64_t n_named(const hy__chart *c) {
    int64_t n = 0;
    for (int64_t s = 0; s < c->n_series; s++) n += hy__series_named(&c->series[s]);
    return n;
}

static void place(hy__canvas *cv) {
    cv->legend = n_named(cv->c) > 1;
    const hy__range values = values_of(cv);
    cv->empty = !(values.lo <= values.hi);
    if (stacked(cv) || !place_upright(cv)) place_across(cv);
    if (cv->empty) cv->x.n_tick = cv->y.n_tick = 0;
}

/* ---- drawing ---- */

/* A rectangle by its two directions, with what it tells. */
static void draw_bar(hy__canvas *cv, double along, double thick, double from, double to, int64_t s,
                     int64_t k) {
    const double low = fmin(from, to), size = fmax(fabs(to - from), 0.5);
    const char *name = hy__category(cv->c, k), *series = cv->c->series[s].name;
    hy__text_add(
        cv->t, "<rect x=\"%s\" y=\"%s\" width=\"%s\" height=\"%s\" fill=\"currentColor\"><title>",
        hy__px_of(cv->across ? low : along).text, hy__px_of(cv->across ? along : low).text,
        hy__px_of(cv->across ? size : thick).text, hy__px_of(cv->across ? thick : size).text);
    hy__text_escape(cv->t, name);
    if (*name && series) hy__text_put(cv->t, ", ");
    if (series) hy__text_escape(cv->t, series);
    if (*name || series) hy__text_put(cv->t, ": ");
    hy__text_put(cv->t, hy__number_digits(cv->c->y.unit, value(&cv->c->series[s], k), 4).text);
    hy__text_put(cv->t, "</title></rect>\n");
}

/* The value's place across; beyond the axis its end. */
static double across_of(const hy__canvas *cv, double v) {
    const hy__ruler *r = cv->across ? &cv->x : &cv->y;
    const double at = hy__ruler_at(r, v);
    if (isnan(at)) return r->from; /* an error down to nothing on a logarithmic axis */
    return fmax(fmin(r->from, r->to), fmin(at, fmax(r->from, r->to)));
}

static void draw_segments(hy__canvas *cv, int64_t s) {
    const double step = band(cv), thick = fmin(0.62 * step, 26);
    for (int64_t k = 0; k < n_category(cv->c); k++) {
        const double v = part(cv, s, k);
        if (v <= 0) continue;
        const double from = across_of(cv, sum_of(cv, s, k));
        const double to = across_of(cv, sum_of(cv, s + 1, k));
        const double along = cv->top + (double)k * step + (step - thick) / 2;
        /* a seam of one pixel keeps neighbours apart */
        draw_bar(cv, along, thick, from, to - from > 2 ? to - 1 : to, s, k);
        const hy__number text = hy__number_show(cv->c->y.unit, v);
        if (hy__words_width(text.text) + 8 > to - from) continue;
        hy__draw_on_series(cv, s);
        hy__draw_words(cv, (from + to) / 2, along + thick / 2 + 4, HY__ANCHOR_MIDDLE, to - from,
                       text.text);
        hy__draw_end(cv);
    }
}

static void draw_error_path(hy__canvas *cv, double along, double lo, double hi) {
    const double a = across_of(cv, lo), b = across_of(cv, hi), cap = 3;
    if (cv->across)
        hy__text_add(cv->t, "<path d=\"M%s %sH%sM%s %sv6M%s %sv6\"/>\n", hy__px_of(a).text,
                     hy__px_of(along).text, hy__px_of(b).text, hy__px_of(a).text,
                     hy__px_of(along - cap).text, hy__px_of(b).text, hy__px_of(along - cap).text);
    else
        hy__text_add(cv->t, "<path d=\"M%s %sV%sM%s %sh6M%s %sh6\"/>\n", hy__px_of(along).text,
                     hy__px_of(a).text, hy__px_of(b).text, hy__px_of(along - cap).text,
                     hy__px_of(a).text, hy__px_of(along - cap).text, hy__px_of(b).text);
}

/* With an edge in the paper's colour, to be seen on dark bars too. */
static void draw_error(hy__canvas *cv, double along, double lo, double hi) {
    hy__draw_ink(cv, "paper", " fill=\"none\" stroke=\"currentColor\" stroke-width=\"3.5\"");
    draw_error_path(cv, along, lo, hi);
    hy__draw_end(cv);
    hy__draw_ink(cv, "ink", " fill=\"none\" stroke=\"currentColor\" stroke-width=\"1.2\"");
    draw_error_path(cv, along, lo, hi);
    hy__draw_end(cv);
}

/* Of a group: where the bar of a series begins along the categories, and how thick it is. */
static double group_bar(const hy__canvas *cv, int64_t s, int64_t k, double *thick) {
    const double n = (double)cv->c->n_series, step = band(cv);
    const double room = cv->across ? step - BAND_GAP / 2.0 : 0.8 * step;
    *thick = fmin(room / n, UPRIGHT_MOST);
    const double first = (cv->across ? cv->top : cv->left) + (double)k * step;
    return first + (step - *thick * n) / 2 + (double)s * *thick;
}

/* Whether every upright bar has room for its value; some with and some without would mislead. */
static bool values_fit(const hy__canvas *cv) {
    double thick = 0;
    for (int64_t s = 0; s < cv->c->n_series; s++)
        for (int64_t k = 0; k < n_category(cv->c); k++) {
            const double v = value(&cv->c->series[s], k);
            group_bar(cv, s, k, &thick);
            if (isfinite(v) && hy__words_width(hy__number_show(cv->c->y.unit, v).text) > thick + 4)
                return false;
        }
    return true;
}

/* Beyond the end of a bar, or of its error. */
static void draw_value(hy__canvas *cv, double middle, double end, bool negative, double v) {
    const hy__number text = hy__number_show(cv->c->y.unit, v);
    if (cv->across)
        hy__draw_words(cv, end + 6, middle + 4, HY__ANCHOR_START, cv->width, text.text);
    else
        hy__draw_words(cv, middle, negative ? end + 14 : end - 5, HY__ANCHOR_MIDDLE, cv->width,
                       text.text);
}

static void draw_bar_and_error(hy__canvas *cv, int64_t s, int64_t k, bool with_value) {
    const hy__series *series = &cv->c->series[s];
    const hy__ruler *r = cv->across ? &cv->x : &cv->y;
    const double v = value(series, k);
    if (!hy__scale_shows(r->scale, v)) return;
    const bool negative = v < 0 && !cv->across;
    const double base = across_of(cv, 0);
    double thick, end = across_of(cv, v);
    const double along = group_bar(cv, s, k, &thick), middle = along + thick / 2 - 0.75;
    draw_bar(cv, along, thick - 1.5, base, end, s, k);
    hy__draw_ink(cv, "ink", " pointer-events=\"none\"");
    if (series->lo && series->hi && isfinite(series->lo[k]) && isfinite(series->hi[k])) {
        draw_error(cv, middle, series->lo[k], series->hi[k]);
        const double far = across_of(cv, negative ? series->lo[k] : series->hi[k]);
        end = cv->across || negative ? fmax(end, far) : fmin(end, far);
    }
    if (with_value) draw_value(cv, middle, end, negative, v);
    hy__draw_end(cv);
}

static void draw_group_series(hy__canvas *cv, int64_t s) {
    const bool with_values = cv->across || values_fit(cv);
    for (int64_t k = 0; k < n_category(cv->c); k++) draw_bar_and_error(cv, s, k, with_values);
}

/* The line that bars stand on. */
static void draw_base(hy__canvas *cv) {
    const hy__px at = hy__px_of(across_of(cv, 0));
    hy__draw_ink(cv, "axis", " stroke=\"currentColor\"");
    if (cv->across)
        hy__text_add(cv->t, "<path d=\"M%s %sV%s\"/>\n", at.text, hy__px_of(cv->top).text,
                     hy__px_of(cv->bottom).text);
    else
        hy__text_add(cv->t, "<path d=\"M%s %sH%s\"/>\n", hy__px_of(cv->left).text, at.text,
                     hy__px_of(cv->right).text);
    hy__draw_end(cv);
}

static void draw_names(hy__canvas *cv) {
    const double step = band(cv);
    for (int64_t k = 0; k < n_category(cv->c); k++) {
        const double middle = ((double)k + 0.5) * step;
        const char *name = hy__category(cv->c, k);
        const double room = cv->left - HY__TICK_GAP;
        const int fit = step >= NAME_LINES * HY__LINE ? NAME_LINES : 1;
        const int lines =
            cv->across ? hy__draw_wrapped(NULL, 0, 0, HY__ANCHOR_END, room, fit, name) : 0;
        if (cv->across)
            hy__draw_wrapped(cv, room, cv->top + middle + 4 - (lines - 1) * HY__LINE / 2.0,
                             HY__ANCHOR_END, room, fit, name);
        else
            hy__draw_wrapped(cv, cv->left + middle, cv->bottom + HY__LINE + 2, HY__ANCHOR_MIDDLE,
                             step - 8, NAME_LINES, name);
    }
    if (cv->across || !cv->c->x.label) return;
    hy__draw_ink(cv, "muted", "");
    hy__draw_words(cv, (cv->left + cv->right) / 2, cv->height - 4, HY__ANCHOR_MIDDLE, cv->width,
                   cv->c->x.label);
    hy__draw_end(cv);
}

static void draw_frame(hy__canvas *cv) {
    const hy__chart *c = cv->c;
    const hy__head head = {.up = cv->across ? c->x.label : c->y.label,
                           .x_marks = cv->across ? &c->y : NULL};
    hy__draw_head(cv, &head, true);
    if (cv->across)
        hy__draw_x(cv, c->y.label, true);
    else
        hy__draw_y(cv);
    draw_names(cv);
}

static void draw_totals(hy__canvas *cv) {
    const double step = band(cv);
    for (int64_t k = 0; k < n_category(cv->c); k++) {
        const double total = sum_of(cv, cv->c->n_series, k);
        if (total > 0)
            draw_value(cv, cv->top + ((double)k + 0.5) * step, across_of(cv, total), false, total);
    }
}

static void draw(hy__canvas *cv) {
    draw_frame(cv);
    if (cv->empty) {
        hy__draw_nothing(cv);
        return;
    }
    for (int64_t s = 0; s < cv->c->n_series; s++) {
        hy__draw_series(cv, s, "");
        if (stacked(cv))
            draw_segments(cv, s);
        else
            draw_group_series(cv, s);
        hy__draw_end(cv);
    }
    if (stacked(cv) && cv->c->n_series > 1) draw_totals(cv);
    draw_base(cv);
    if (cv->across)
        hy__draw_x_marks(cv, &cv->c->y);
    else
        hy__draw_y_marks(cv, &cv->c->y, HY__LABELS_BESIDE);
}

const hy__kind hy__kind_stacked = {place, draw}, hy__kind_grouped = {place, draw};
