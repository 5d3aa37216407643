/* progress.h: how far a command is, for a person who waits.
 *
 * On a terminal one line that is drawn over and over, with a bar; elsewhere (a log) a plain line at
 * most every `interval` seconds. Colour only on a terminal and not when NO_COLOR is set. Nothing is
 * shown when quiet. For commands only: the library itself never prints. */
#ifndef HY_BASE_PROGRESS_H
#define HY_BASE_PROGRESS_H

#include <stdbool.h>
#include <stdio.h>

typedef struct hy__progress_bar {
    FILE *out; /* NULL = quiet */
    bool bar, color;
    double interval; /* seconds between two showings */
    double shown_at; /* negative = nothing shown yet */
    bool drawn;      /* the cursor stands after a bar */
} hy__progress_bar;

/* out: usually stderr; NULL for quiet. */
void hy__progress_bar_init(hy__progress_bar *p, FILE *out);

/* Shows fraction (0 … 1) and the text, unless the last showing is too recent. */
void hy__progress_bar_show(hy__progress_bar *p, double fraction, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Removes the bar, so that other text can be written; the next showing draws it again at once. */
void hy__progress_bar_clear(hy__progress_bar *p);

#endif
