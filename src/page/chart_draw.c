/* chart_draw.c: see chart_draw.h. */
#include "page/chart_draw.h"
#include "page/chart_color.h"

#include <math.h>
#include <string.h>

enum {
    SWATCH = 18,    /* of a legend's entry */
    FLAGS_MAX = 16, /* labels of marks above the data, in so many rows; others are tooltips */
    FLAG_ROWS = 4,
    FLAG_GAP = 4,
    HEAD_GAP = 8,   /* above the data */
    LABEL_GAP = 12, /* least room between two labels in a row */
    TICK_ROOM = 42, /* pixels from one tick of the upright axis to the next, about */
    LOG_TICK_ROOM = 32,
    TICK_ROOM_X = 60 /* of the axis that runs to the right */
};

hy__px hy__px_of(double v) {
    hy__px out;
    const long long tenths = llround(fmax(-1e9, fmin(1e9, v)) * 10);
    const long long size = tenths < 0 ? -tenths : tenths;
    hy__print(out.text, sizeof out.text, size % 10 ? "%s%lld.%lld" : "%s%lld",
              tenths < 0 ? "-" : "", size / 10, size % 10);
    return out;
}

/* ---- words ---- */

/* Of the sans-serif faces that systems bring, at the size that charts use (12 px). */
static double byte_width(unsigned char b) {
    if (b >= 0xe3) return 12; /* a character's first byte; those that follow count nothing */
    if (b >= 0xc0) return 7.8;
    if (b >= 0x80) return 0;
    if (strchr("iljtfrI.,:;'|!()[]/ -", b)) return 4.6;
    if (strchr("mwMW@%", b)) return 11.2;
    return b >= 'A' && b <= 'Z' ? 8.6 : 7.4;
}

double hy__words_width(const char *s) {
    double width = 0;
    for (; *s; s++) width += byte_width((unsigned char)*s);
    return width;
}

/* Bytes of s that fit in the room, whole characters; with space for an ellipsis if not all do. */
static size_t fitting(const char *s, double room) {
    if (hy__words_width(s) <= room + 0.5) return strlen(s);
    double width = 10;
    size_t n = 0, whole = 0;
    while (s[n]) {
        width += byte_width((unsigned char)s[n]);
        if (width > room) break;
        n++;
        if (((unsigned char)s[n] & 0xc0) != 0x80) whole = n;
    }
    return whole;
}

static void escape_part(hy__text *t, const char *s, size_t n) {
    char part[256];
    if (n >= sizeof part) n = sizeof part - 1;
    memcpy(part, s, n);
    part[n] = '\0';
    hy__text_escape(t, part);
}

static void begin_words(hy__text *t, double x, double y, hy__anchor anchor) {
    static const char *const names[] = {"", " text-anchor=\"middle\"", " text-anchor=\"end\""};
    hy__text_add(t, "<text x=\"%s\" y=\"%s\"%s>", hy__px_of(x).text, hy__px_of(y).text,
                 names[anchor]);
}

void hy__draw_words(hy__canvas *cv, double x, double y, hy__anchor anchor, double room,
                    const char *s) {
    const size_t n = fitting(s, room);
    begin_words(cv->t, x, y, anchor);
    if (s[n]) {
        hy__text_put(cv->t, "<title>");
        hy__text_escape(cv->t, s);
        hy__text_put(cv->t, "</title>");
    }
    escape_part(cv->t, s, n);
    hy__text_put(cv->t, s[n] ? "\xe2\x80\xa6</text>\n" : "</text>\n");
}

void hy__draw_haloed(hy__canvas *cv, double x, double y, hy__anchor anchor, const char *s) {
    hy__draw_ink(cv, "paper",
                 " stroke=\"currentColor\" stroke-width=\"4\" stroke-linejoin=\"round\"");
    hy__draw_words(cv, x, y, anchor, cv->width, s);
    hy__draw_end(cv);
    hy__draw_ink(cv, "ink", "");
    hy__draw_words(cv, x, y, anchor, cv->width, s);
    hy__draw_end(cv);
}

/* Bytes of the longest beginning of s that ends at a blank (or at s's end) and fits. */
static size_t line_length(const char *s, double room) {
    double width = 0;
    size_t last = 0;
    for (size_t n = 0;; n++) {
        if (s[n] == ' ' || !s[n]) {
            if (width > room && last) return last;
            last = n;
            if (!s[n] || width > room) return last;
        }
        width += byte_width((unsigned char)s[n]);
    }
}

bool hy__words_fit(const char *s, double room, int lines) {
    for (; *s && lines > 0; lines--) {
        const size_t n = line_length(s, room);
        double width = 0;
        for (size_t i = 0; i < n; i++) width += byte_width((unsigned char)s[i]);
        if (width > room) return false;
        s += n + (s[n] == ' ');
    }
    return !*s;
}

int hy__draw_wrapped(hy__canvas *cv, double x, double y, hy__anchor anchor, double room, int lines,
                     const char *s) {
    int n_line = 0;
    while (*s && n_line < lines) {
        const bool last = n_line == lines - 1;
        const size_t n = last ? strlen(s) : line_length(s, room);
        char line[256];
        const size_t cut = n < sizeof line ? n : sizeof line - 1;
        memcpy(line, s, cut);
        line[cut] = '\0';
        if (cv) hy__draw_words(cv, x, y + n_line * HY__LINE, anchor, room, line);
        n_line++;
        s += n + (s[n] == ' ');
    }
    return n_line;
}

/* ---- colours ---- */

void hy__draw_ink(hy__canvas *cv, const char *name, const char *more) {
    hy__text_add(cv->t, "<g class=\"hy-%s\" color=\"%s\"%s>\n", name, hy__ink(name), more);
}

void hy__draw_series(hy__canvas *cv, int64_t series, const char *more) {
    const int color = hy__series_color(cv->c, series);
    hy__text_add(cv->t, "<g class=\"hy-c%d\" color=\"%s\"%s>\n", color, hy__color(color), more);
}

void hy__draw_on_series(hy__canvas *cv, int64_t series) {
    const int color = hy__series_color(cv->c, series);
    hy__text_add(cv->t, "<g class=\"hy-o%d\" color=\"%s\" pointer-events=\"none\">\n", color,
                 hy__color_on(color));
}

void hy__draw_end(hy__canvas *cv) {
    hy__text_put(cv->t, "</g>\n");
}

const char *hy__series_dash(const hy__chart *c, int64_t series) {
    static const char *const dashes[] = {"", " stroke-dasharray=\"6 3\"",
                                         " stroke-dasharray=\"2 3\""};
    const hy__series *s = &c->series[series];
    if (s->dashed) return dashes[1];
    const int64_t round = (s->color ? s->color - 1 : series) / HY__COLORS;
    return dashes[round < 2 ? round : 2];
}

bool hy__series_named(const hy__series *s) {
    return s->name && *s->name && !s->faint;
}

const char *hy__category(const hy__chart *c, int64_t i) {
    return i < c->n_category && c->category && c->category[i] ? c->category[i] : "";
}

/* ---- above the data ---- */

static void draw_swatch(hy__canvas *cv, int64_t series, double x, double y) {
    const hy__series *s = &cv->c->series[series];
    hy__draw_series(cv, series, "");
    if (cv->c->kind == HY__CHART_LINES) {
        hy__text_add(cv->t,
                     "<path d=\"M%s %sh14\" stroke=\"currentColor\" stroke-width=\"2\"%s/>\n",
                     hy__px_of(x).text, hy__px_of(y - 4).text, hy__series_dash(cv->c, series));
        if (s->markers)
            hy__text_add(cv->t, "<circle cx=\"%s\" cy=\"%s\" r=\"3\" fill=\"currentColor\"/>\n",
                         hy__px_of(x + 7).text, hy__px_of(y - 4).text);
    } else {
        hy__text_add(cv->t,
                     "<rect x=\"%s\" y=\"%s\" width=\"11\" height=\"11\" rx=\"2\" "
                     "fill=\"currentColor\"/>\n",
                     hy__px_of(x + 2).text, hy__px_of(y - 9.5).text);
    }
    hy__draw_end(cv);
}

/* Rows of names from y on; returns the y below them. */
static double legend(hy__canvas *cv, double y, bool draw) {
    double x = 0;
    int64_t shown = 0;
    for (int64_t i = 0; i < cv->c->n_series; i++) {
        const hy__series *s = &cv->c->series[i];
        if (!hy__series_named(s)) continue;
        const double width = SWATCH + fmin(hy__words_width(s->name), cv->width - SWATCH);
        if (x > 0 && x + width > cv->width) {
            x = 0;
            y += HY__LINE + 2;
        }
        if (draw) {
            draw_swatch(cv, i, x, y + 12);
            hy__draw_words(cv, x + SWATCH, y + 12, HY__ANCHOR_START, cv->width - SWATCH, s->name);
        }
        x += width + LABEL_GAP;
        shown++;
    }
    return shown ? y + HY__LINE + 6 : y;
}

bool hy__inside(const hy__ruler *r, double value) {
    const double at = hy__ruler_at(r, value), slack = 0.5;
    return at >= fmin(r->from, r->to) - slack && at <= fmax(r->from, r->to) + slack;
}

/* A mark's label stands like a flag on its line, above the data. */
typedef struct flag {
    const hy__mark *mark;
    double x, width;
    int row; /* from below */
} flag;

/* The flags by place, in rows so that no line runs through the label of another mark: a label that
 * reaches over the next lines stands above theirs. Returns how many flags. */
static int collect_flags(const hy__canvas *cv, const hy__axis *axis, flag flags[FLAGS_MAX]) {
    int n = 0;
    for (int64_t k = 0; k < axis->n_mark && n < FLAGS_MAX; k++) {
        const hy__mark *m = &axis->mark[k];
        if (!m->label || !*m->label || !hy__inside(&cv->x, m->at)) continue;
        const flag f = {m, hy__ruler_at(&cv->x, m->at), hy__words_width(m->label) + FLAG_GAP, 0};
        int i = n++;
        for (; i > 0 && flags[i - 1].x > f.x; i--) flags[i] = flags[i - 1];
        flags[i] = f;
    }
    for (int i = n - 2; i >= 0; i--)
        for (int k = i + 1; k < n && flags[k].x < flags[i].x + flags[i].width + LABEL_GAP; k++)
            if (flags[i].row <= flags[k].row) flags[i].row = flags[k].row + 1;
    return n;
}

static int flag_rows(const hy__canvas *cv, const hy__axis *axis) {
    flag flags[FLAGS_MAX];
    int rows = 0;
    for (int i = collect_flags(cv, axis, flags) - 1; i >= 0; i--)
        if (flags[i].row < FLAG_ROWS && flags[i].row >= rows) rows = flags[i].row + 1;
    return rows;
}

double hy__draw_head(hy__canvas *cv, const hy__head *head, bool draw) {
    double y = 0;
    if (cv->alone && cv->c->title) {
        if (draw) hy__text_put(cv->t, "<g font-size=\"14\" font-weight=\"600\">\n");
        /* widths are those of 12 px */
        const int n = hy__draw_wrapped(draw ? cv : NULL, 0, 14, HY__ANCHOR_START, cv->width / 1.25,
                                       2, cv->c->title);
        if (draw) hy__draw_end(cv);
        y += n * HY__LINE + 10;
    }
    if (cv->legend) y = legend(cv, y, draw);
    if (head->up) {
        if (draw) {
            hy__draw_ink(cv, "muted", "");
            hy__draw_words(cv, 0, y + 12, HY__ANCHOR_START, cv->width, head->up);
            hy__draw_end(cv);
        }
        y += HY__LINE + 2;
    }
    if (head->x_marks) y += flag_rows(cv, head->x_marks) * HY__LINE;
    return y + HEAD_GAP;
}

void hy__draw_nothing(hy__canvas *cv) {
    hy__draw_ink(cv, "muted", "");
    hy__draw_words(cv, cv->width / 2, (cv->top + cv->bottom) / 2, HY__ANCHOR_MIDDLE, cv->width,
                   "no data");
    hy__draw_end(cv);
}

/* ---- axes ---- */

bool hy__axis_fixed(const hy__axis *axis) {
    return axis->min < axis->max && hy__scale_shows(axis->scale, axis->min) &&
           hy__scale_shows(axis->scale, axis->max);
}

hy__range hy__axis_range(const hy__axis *axis, hy__range data) {
    if (hy__axis_fixed(axis)) return (hy__range){axis->min, axis->max};
    for (int64_t i = 0; i < axis->n_mark; i++) hy__range_add(&data, axis->scale, axis->mark[i].at);
    return data;
}

void hy__place_y(hy__canvas *cv, const hy__axis *axis, hy__range range) {
    const int room = axis->scale == HY__SCALE_LINEAR ? TICK_ROOM : LOG_TICK_ROOM;
    const int want = (int)((cv->bottom - cv->top) / room) + 1;
    hy__ruler_init(&cv->y, axis->unit, axis->scale, range, !hy__axis_fixed(axis), want);
    cv->y.from = cv->bottom;
    cv->y.to = cv->top;
    double widest = 0;
    for (int i = 0; i < cv->y.n_tick; i++)
        widest = fmax(widest, hy__words_width(hy__ruler_label(&cv->y, cv->y.tick[i]).text));
    cv->left = widest + HY__TICK_GAP + 1;
}

/* Whether the labels along x stand apart. */
static bool labels_apart(const hy__ruler *r) {
    double used = -INFINITY;
    for (int i = 0; i < r->n_tick; i++) {
        const double half = hy__words_width(hy__ruler_label(r, r->tick[i]).text) / 2;
        const double at = hy__ruler_at(r, r->tick[i]);
        if (at - half < used + LABEL_GAP) return false;
        used = at + half;
    }
    return true;
}

void hy__place_x(hy__canvas *cv, const hy__axis *axis, hy__range range) {
    for (int want = (int)((cv->right - cv->left) / TICK_ROOM_X) + 1;; want--) {
        hy__ruler_init(&cv->x, axis->unit, axis->scale, range, false, want);
        cv->x.from = cv->left;
        cv->x.to = cv->right;
        if (want <= 2 || labels_apart(&cv->x)) return;
    }
}

void hy__draw_y(hy__canvas *cv) {
    hy__draw_ink(cv, "grid", " stroke=\"currentColor\"");
    for (int i = 0; i < cv->y.n_tick; i++)
        hy__text_add(cv->t, "<path d=\"M%s %sH%s\"/>\n", hy__px_of(cv->left).text,
                     hy__px_of(hy__ruler_at(&cv->y, cv->y.tick[i])).text,
                     hy__px_of(cv->right).text);
    hy__draw_end(cv);
    hy__draw_ink(cv, "muted", "");
    for (int i = 0; i < cv->y.n_tick; i++)
        hy__draw_words(cv, cv->left - HY__TICK_GAP, hy__ruler_at(&cv->y, cv->y.tick[i]) + 4,
                       HY__ANCHOR_END, cv->width, hy__ruler_label(&cv->y, cv->y.tick[i]).text);
    hy__draw_end(cv);
}

double hy__plot_height(const hy__canvas *cv) {
    return fmax(190, fmin(0.3 * cv->width, 280));
}

double hy__below(const hy__axis *axis) {
    return axis->label ? 2 * HY__LINE + 8 : HY__LINE + 6;
}

void hy__draw_x(hy__canvas *cv, const char *label, bool grid) {
    hy__draw_ink(cv, grid ? "grid" : "axis", " stroke=\"currentColor\"");
    if (!grid)
        hy__text_add(cv->t, "<path d=\"M%s %sH%s\"/>\n", hy__px_of(cv->left).text,
                     hy__px_of(cv->bottom).text, hy__px_of(cv->right).text);
    for (int i = 0; i < cv->x.n_tick; i++)
        hy__text_add(cv->t, "<path d=\"M%s %sV%s\"/>\n",
                     hy__px_of(hy__ruler_at(&cv->x, cv->x.tick[i])).text,
                     hy__px_of(grid ? cv->top : cv->bottom + 4).text, hy__px_of(cv->bottom).text);
    hy__draw_end(cv);
    hy__draw_ink(cv, "muted", "");
    for (int i = 0; i < cv->x.n_tick; i++) {
        const hy__number text = hy__ruler_label(&cv->x, cv->x.tick[i]);
        const double half = hy__words_width(text.text) / 2;
        const double at = hy__ruler_at(&cv->x, cv->x.tick[i]);
        hy__draw_words(cv, fmax(half, fmin(at, cv->width - half)), cv->bottom + HY__LINE + 2,
                       HY__ANCHOR_MIDDLE, cv->width, text.text);
    }
    if (label)
        hy__draw_words(cv, (cv->left + cv->right) / 2, cv->bottom + 2 * HY__LINE + 4,
                       HY__ANCHOR_MIDDLE, cv->width, label);
    hy__draw_end(cv);
}

/* The mark's line, from the top of its flag, if it has one. */
static void draw_mark_line(hy__canvas *cv, const hy__axis *axis, const hy__mark *m, double top) {
    hy__text_add(cv->t, "<path d=\"M%s %sV%s\"><title>",
                 hy__px_of(hy__ruler_at(&cv->x, m->at)).text, hy__px_of(top).text,
                 hy__px_of(cv->bottom).text);
    hy__text_escape(cv->t, m->label ? m->label : "");
    hy__text_add(cv->t, "%s%s</title></path>\n", m->label && *m->label ? ": " : "",
                 hy__number_show(axis->unit, m->at).text);
}

void hy__draw_x_marks(hy__canvas *cv, const hy__axis *axis) {
    flag flags[FLAGS_MAX];
    const int n = collect_flags(cv, axis, flags);
    const double base = cv->top - HEAD_GAP;
    for (int i = 0; i < n; i++) {
        if (flags[i].row >= FLAG_ROWS) continue;
        const double room = flags[i].width - FLAG_GAP, x = flags[i].x + FLAG_GAP;
        const bool back = x + room > cv->width; /* no place to the right */
        hy__draw_words(cv, back ? flags[i].x - FLAG_GAP : x, base - 4 - flags[i].row * HY__LINE,
                       back ? HY__ANCHOR_END : HY__ANCHOR_START, room, flags[i].mark->label);
    }
    if (axis->n_mark == 0) return;
    hy__draw_ink(cv, "mark", " stroke=\"currentColor\" stroke-dasharray=\"4 3\"");
    for (int64_t k = 0; k < axis->n_mark; k++) {
        if (!hy__inside(&cv->x, axis->mark[k].at)) continue;
        double top = cv->top;
        for (int i = 0; i < n; i++)
            if (flags[i].mark == &axis->mark[k] && flags[i].row < FLAG_ROWS)
                top = base - (flags[i].row + 1) * HY__LINE + 2;
        draw_mark_line(cv, axis, &axis->mark[k], top);
    }
    hy__draw_end(cv);
}

void hy__draw_y_marks(hy__canvas *cv, const hy__axis *axis, hy__labels labels) {
    for (int64_t i = 0; i < axis->n_mark; i++) {
        const hy__mark *m = &axis->mark[i];
        if (!hy__inside(&cv->y, m->at)) continue;
        const double y = hy__ruler_at(&cv->y, m->at);
        hy__draw_ink(cv, "mark", " stroke=\"currentColor\" stroke-dasharray=\"4 3\"");
        hy__text_add(cv->t, "<path d=\"M%s %sH%s\"/>\n", hy__px_of(cv->left).text,
                     hy__px_of(y).text, hy__px_of(cv->right).text);
        hy__draw_end(cv);
        if (labels == HY__LABELS_ON_LINE && m->label)
            hy__draw_haloed(cv, cv->right - 4, y - 5, HY__ANCHOR_END, m->label);
        if (labels == HY__LABELS_BESIDE && m->label)
            hy__draw_words(cv, cv->right + 6, y + 4, HY__ANCHOR_START, cv->width - cv->right - 6,
                           m->label);
    }
}
