/* progress.c: see progress.h. */
#include "base/progress.h"
#include "base/clock.h"
#include "base/terminal.h"

#include <stdarg.h>
#include <string.h>

enum { BAR_MIN = 4, BAR_MAX = 24 }; /* characters; a long text leaves less for the bar */

static const double bar_interval = 0.1, log_interval = 10; /* seconds */

void hy__progress_bar_init(hy__progress_bar *p, FILE *out) {
    *p = (hy__progress_bar){.out = out,
                            .bar = hy__terminal_is_live(out),
                            .color = hy__terminal_has_color(out),
                            .shown_at = -1};
    p->interval = p->bar ? bar_interval : log_interval;
}

static void draw(hy__progress_bar *p, double fraction, const char *text) {
    const int room = hy__terminal_columns(p->out) - 7; /* percentage, blanks, and the last column */
    const int length = (int)strlen(text);
    int bar = room - length;
    if (bar > BAR_MAX) bar = BAR_MAX;
    if (bar < BAR_MIN) bar = BAR_MIN;
    const int filled = (int)(fraction * bar + 0.5);
    fprintf(p->out, "\r%s", p->color ? "\x1b[32m" : "");
    for (int i = 0; i < bar; i++) fputc(i < filled ? '#' : '-', p->out);
    fprintf(p->out, "%s %3.0f%% %.*s\x1b[K", p->color ? "\x1b[0m" : "", 100 * fraction,
            room > bar ? room - bar : 0, text);
    fflush(p->out);
    p->drawn = true;
}

void hy__progress_bar_show(hy__progress_bar *p, double fraction, const char *fmt, ...) {
    if (!p->out) return;
    const double now = hy__now();
    if (p->shown_at >= 0 && now - p->shown_at < p->interval) return;
    p->shown_at = now;
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (!(fraction >= 0)) fraction = 0;
    if (fraction > 1) fraction = 1;
    if (p->bar)
        draw(p, fraction, text);
    else
        fprintf(p->out, "%3.0f%% %s\n", 100 * fraction, text);
}

void hy__progress_bar_clear(hy__progress_bar *p) {
    if (!p->drawn) return;
    fputs("\r\x1b[K", p->out);
    fflush(p->out);
    p->drawn = false;
    p->shown_at = -1;
}
