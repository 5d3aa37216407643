/* chart_tips.c: what lines and areas tell under the pointer, without a script: upright strips over
 * the data, each with the values there as its tooltip, and dots that the style sheet shows. */
#include "page/chart_lines.h"

#include <math.h>
#include <string.h>

enum {
    STRIPS_MAX = 96,
    STRIP_SERIES = 16, /* those after them tell nothing */
    STRIP_LEAST = 6    /* pixels from one to the next */
};

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
    for (int64_t k = 0; k < hy__line_length(cv, s); k++) {
        if (!hy__line_has(cv, s, k)) continue;
        const double x = hy__ruler_at(&cv->x, hy__line_x(cv, s, k));
        int i = strip_from(st, x);
        if (i == st->n || (i > 0 && x - st->at[i - 1] < st->at[i] - x)) i--;
        const int64_t held = i >= 0 ? st->nearest[s][i] : -1;
        if (i < 0 || fabs(x - st->at[i]) > apart) continue;
        if (held < 0 ||
            fabs(x - st->at[i]) < fabs(hy__ruler_at(&cv->x, hy__line_x(cv, s, held)) - st->at[i]))
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
        if (!headed)
            hy__text_put(cv->t, hy__number_digits(c->x.unit, hy__line_x(cv, s, i), 4).text);
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
        const double x = hy__ruler_at(&cv->x, hy__line_x(cv, s, k));
        const double y = hy__ruler_at(&cv->y, hy__line_y(cv, s, k));
        if (!hy__line_visible(cv, x, y)) continue;
        hy__draw_series(cv, s, "");
        hy__text_add(cv->t, "<circle cx=\"%s\" cy=\"%s\" r=\"4\" fill=\"currentColor\"/>",
                     hy__px_of(x).text, hy__px_of(y).text);
        hy__draw_end(cv);
    }
    hy__text_put(cv->t, "</g></g>\n");
}

void hy__draw_tips(hy__canvas *cv) {
    const double apart = fmax(STRIP_LEAST, (cv->right - cv->left) / (STRIPS_MAX - 1));
    strips st = {0};
    for (int64_t s = 0; s < cv->c->n_series && s < STRIP_SERIES; s++)
        for (int64_t i = 0; i < hy__line_length(cv, s); i++) {
            const double x = hy__ruler_at(&cv->x, hy__line_x(cv, s, i));
            if (hy__line_has(cv, s, i) && x >= cv->left - 0.5 && x <= cv->right + 0.5)
                add_strip(&st, x, apart);
        }
    if (st.n == 0) return;
    for (int64_t s = 0; s < cv->c->n_series && s < STRIP_SERIES; s++)
        add_nearest(cv, &st, s, apart);
    hy__text_put(cv->t, "<g class=\"hy-hover\">\n");
    for (int i = 0; i < st.n; i++) draw_strip(cv, &st, i);
    hy__draw_end(cv);
}
