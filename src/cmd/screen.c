/* screen.c: see screen.h. */
#include "cmd/screen.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/terminal.h"
#include "page/number.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const double live_interval = 0.1, log_interval = 10; /* seconds */

/* ---- history ---- */

/* When it is full, two become one. */
void screen_history_add(screen_history *h, double x) {
    if (!isfinite(x)) return;
    if (h->each == 0) h->each = 1;
    if (h->n > 0 && h->in_last < h->each) {
        double *last = &h->mean[h->n - 1];
        *last += (x - *last) / (double)++h->in_last;
        return;
    }
    if (h->n == SCREEN_HISTORY) {
        for (int i = 0; i < SCREEN_HISTORY / 2; i++)
            h->mean[i] = (h->mean[2 * i] + h->mean[2 * i + 1]) / 2;
        h->n = SCREEN_HISTORY / 2;
        h->each *= 2;
    }
    h->mean[h->n++] = x;
    h->in_last = 1;
}

void screen_sparkline(const screen_history *h, int most, bool blocks, char *text, size_t size) {
    static const char *const block[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    static const char *const ascii[] = {"_", ".", "-", "~", "=", "+", "*", "#"};
    const int n = h->n < most ? h->n : most;
    const double *x = h->mean + h->n - n;
    double low = INFINITY, high = -INFINITY;
    size_t at = 0;
    for (int i = 0; i < n; i++) {
        low = fmin(low, x[i]);
        high = fmax(high, x[i]);
    }
    text[0] = 0;
    for (int i = 0; i < n; i++) {
        const int level = high > low ? (int)(7.999 * (x[i] - low) / (high - low)) : 0;
        const char *mark = (blocks ? block : ascii)[level];
        if (at + strlen(mark) >= size) return;
        at += (size_t)snprintf(text + at, size - at, "%s", mark);
    }
}

/* ---- a line: fields beside each other, as many as there is room for ---- */

typedef struct line {
    const screen *s;
    char text[1024];
    int width, room; /* columns: taken, and in all */
} line;

/* Columns that UTF-8 takes: one for a character, two from U+3000 on, where most are wide. */
static int columns_of(const char *s) {
    int n = 0;
    for (; *s; s++)
        if ((*s & 0xc0) != 0x80) n += (unsigned char)*s >= 0xe3 ? 2 : 1;
    return n;
}

/* Appends the field, or nothing where it does not fit; false then. sgr: "1", "32", …, or "". */
__attribute__((format(printf, 3, 4))) static bool field(line *l, const char *sgr, const char *fmt,
                                                        ...) {
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    const int gap = l->width > 0 ? 2 : 0, width = columns_of(text);
    if (l->width + gap + width > l->room) return false;
    const bool color = l->s->color && *sgr;
    const size_t at = strlen(l->text);
    snprintf(l->text + at, sizeof l->text - at, "%*s%s%s%s%s%s", gap, "", color ? "\x1b[" : "",
             color ? sgr : "", color ? "m" : "", text, color ? "\x1b[0m" : "");
    l->width += gap + width;
    return true;
}

typedef struct clock_text {
    char text[32];
} clock_text;

static clock_text hours(double seconds) {
    clock_text c;
    const long long t = (long long)seconds;
    if (t >= 3600)
        snprintf(c.text, sizeof c.text, "%lld:%02lld:%02lld", t / 3600, t / 60 % 60, t % 60);
    else
        snprintf(c.text, sizeof c.text, "%02lld:%02lld", t / 60, t % 60);
    return c;
}

/* Share of the run that is done, by the clock that tells when it ends. */
static double share_done(const hy_train_progress *p) {
    const double all = p->seconds + p->seconds_left;
    const double share = all > 0 ? p->seconds / all : 0;
    return share < 0 ? 0 : share > 1 ? 1 : share;
}

/* ---- the lines ---- */

static void draw_head(line *l, const hy_train_progress *p) {
    enum { BAR = 24 };
    char bar[BAR + 1], steps[32] = "";
    const double share = share_done(p);
    for (int i = 0; i < BAR; i++) bar[i] = i < (int)(share * BAR + 0.5) ? '#' : '-';
    bar[BAR] = 0;
    if (p->steps > 0) snprintf(steps, sizeof steps, "/%lld", (long long)p->steps);
    field(l, "1", "step %lld%s", (long long)p->step, steps);
    field(l, "", "%s left", hours(p->seconds_left).text);
    field(l, "32", "%s", bar);
    field(l, "", "%.0f%%", 100 * share);
    field(l, "", "%s%s%s", l->s->name, p->stage ? ", stage " : "", p->stage ? p->stage : "");
    field(l, "2", "%s so far", hours(p->seconds).text);
}

static void draw_loss(line *l, const hy_train_progress *p) {
    char spark[4 * SCREEN_HISTORY];
    screen_sparkline(&l->s->loss, 24, l->s->blocks, spark, sizeof spark);
    field(l, "2", "loss   ");
    field(l, "1", "%.4f", p->loss);
    field(l, "36", "%-*s", (int)strlen(spark) + 24 - columns_of(spark), spark);
    field(l, "", "%.3f bits/byte", p->bits_per_byte);
    if (p->val_loss >= 0) field(l, "", "held out %.4f", p->val_loss);
}

static void draw_rate(line *l, const hy_train_progress *p) {
    char spark[4 * SCREEN_HISTORY];
    screen_sparkline(&l->s->rate, 24, l->s->blocks, spark, sizeof spark);
    field(l, "2", "rate   ");
    field(l, "1", "%-6s", hy__count(p->tokens_per_s).text);
    field(l, "36", "%-*s", (int)strlen(spark) + 24 - columns_of(spark), spark);
    field(l, "", "tokens/s");
    field(l, "", "%s tokens", hy__count((double)p->tokens).text);
    field(l, "", "lr %.2e", p->lr);
    field(l, "", "norm %.2f", p->grad_norm);
}

/* A bar of ten for a share. */
static const char *gauge(double share, char text[16]) {
    const int n = share < 0 ? 0 : share > 1 ? 10 : (int)(share * 10 + 0.5);
    for (int i = 0; i < 10; i++) text[i] = i < n ? '#' : '-';
    text[10] = 0;
    return text;
}

static void draw_experts(line *l, const hy_train_progress *p) {
    char bar[16];
    field(l, "2", "experts");
    field(l, p->dead_experts > 0 ? "33" : "32", "%s", gauge(p->expert_entropy, bar));
    field(l, "", "%.0f%% even", 100 * p->expert_entropy);
    field(l, "", "busiest +%.0f%%", 100 * p->expert_violation);
    field(l, p->dead_experts > 0 ? "33" : "", "%.3g dead", p->dead_experts);
}

static void draw_memory(line *l, const hy_train_progress *p) {
    char bar[16];
    field(l, "2", "memory ");
    if (p->table_used >= 0) {
        field(l, "35", "%s", gauge(p->table_used, bar));
        field(l, "", "%.3g%% of the table read", 100 * p->table_used);
    }
    field(l, "", "%s resident", hy__bytes((double)hy__rss_bytes()).text);
}

/* Moves to the start of what stands there, which a narrower terminal may have wrapped. */
static void erase(screen *s, int room) {
    int rows = 0;
    for (int i = 0; i < s->n_line; i++)
        rows += s->width[i] > 0 ? (s->width[i] + room - 1) / room : 1;
    fputc('\r', s->out);
    if (rows > 0) fprintf(s->out, "\x1b[%dA", rows);
    fputs("\x1b[J", s->out);
    s->n_line = 0;
}

static void draw(screen *s, const hy_train_progress *p) {
    void (*const part[SCREEN_LINES])(line *, const hy_train_progress *) = {
        draw_head, draw_loss, draw_rate, p->expert_entropy >= 0 ? draw_experts : NULL, draw_memory};
    for (int i = 0; i < SCREEN_LINES; i++) {
        line l = {.s = s, .room = hy__terminal_columns(s->out) - 1};
        if (!part[i]) continue;
        part[i](&l, p);
        fprintf(s->out, "%s\x1b[K\n", l.text);
        s->width[s->n_line++] = l.width;
    }
}

/* ---- plain lines ---- */

static void print_line(const screen *s, const hy_train_progress *p) {
    char steps[24] = "", val[32] = "";
    const char *what = p->back          ? "  goes back: "
                       : p->unsound     ? "  dropped: "
                       : isnan(p->loss) ? "  nothing was asked"
                                        : "";
    if (p->steps > 0) snprintf(steps, sizeof steps, "/%lld", (long long)p->steps);
    if (p->val_loss >= 0) snprintf(val, sizeof val, "  val %.4f", p->val_loss);
    fprintf(s->out,
            "step %lld%s  loss %.4f  %.3f bits/byte  %.0f tokens/s  %s left%s  lr %.2e  norm "
            "%.2f%s%s%s\n",
            (long long)p->step, steps, p->loss, p->bits_per_byte, p->tokens_per_s,
            hours(p->seconds_left).text, val, p->lr, p->grad_norm, p->saved ? "  saved" : "", what,
            p->unsound ? p->unsound : "");
}

/* ---- */

static bool has_utf8(void) {
    const char *name = getenv("LC_ALL");
    if (!name || !*name) name = getenv("LC_CTYPE");
    if (!name || !*name) name = getenv("LANG");
    return name && (strstr(name, "UTF-8") || strstr(name, "utf8") || strstr(name, "UTF8"));
}

void screen_init(screen *s, FILE *out, const char *name, bool every_line) {
    *s = (screen){.out = out,
                  .name = name,
                  .every_line = every_line,
                  .live = hy__terminal_is_live(out),
                  .color = hy__terminal_has_color(out),
                  .blocks = has_utf8(),
                  .shown_at = -1};
}

/* Whether a stage of the curriculum begins with the step. */
static bool enters_stage(screen *s, const hy_train_progress *p) {
    if (!p->stage || strncmp(s->stage, p->stage, sizeof s->stage - 1) == 0) return false;
    snprintf(s->stage, sizeof s->stage, "%s", p->stage);
    return true;
}

static void show(screen *s, const hy_train_progress *p, double interval) {
    const bool enters = enters_stage(s, p);
    const bool stays = s->every_line || p->evaluated || p->saved || p->unsound || p->stage_end;
    const double now = hy__now();
    if (!stays && !enters && s->shown_at >= 0 && now - s->shown_at < interval) return;
    s->shown_at = now;
    if (s->live) erase(s, hy__terminal_columns(s->out));
    if (enters) fprintf(s->out, "stage %s\n", p->stage);
    if (stays || !s->live) print_line(s, p);
    if (p->stage_end) fprintf(s->out, "stage %s ended by its %s\n", p->stage, p->stage_end);
    if (s->live) draw(s, p);
    fflush(s->out);
}

void screen_clear(screen *s) {
    if (!s->out || s->n_line == 0) return;
    erase(s, hy__terminal_columns(s->out));
    fflush(s->out);
}

void screen_show(screen *s, const hy_train_progress *p) {
    if (!s->out) return;
    screen_history_add(&s->loss, p->loss);
    screen_history_add(&s->rate, p->tokens_per_s);
    show(s, p, s->live ? live_interval : log_interval);
}
