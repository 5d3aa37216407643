/* screen.h: a training at a glance: a few lines that are drawn in place on a terminal, plain lines
 * elsewhere.
 *
 * What does not fit the width is left out, the least important first. Colour only without NO_COLOR;
 * sparklines in block characters where the locale has UTF-8. The cursor stays visible and stands at
 * the start of the line below, so that the terminal is whole whenever the program ends. */
#ifndef HY_CMD_SCREEN_H
#define HY_CMD_SCREEN_H

#include "hydralm.h"

#include <stdio.h>

enum { SCREEN_HISTORY = 64, SCREEN_LINES = 5 };

/* What a number was over the run: means of `each` steps. */
typedef struct screen_history {
    double mean[SCREEN_HISTORY];
    int n; /* of them, the last perhaps not yet whole */
    int64_t each, in_last;
} screen_history;

typedef struct screen {
    FILE *out; /* NULL: nothing is shown */
    const char *name;
    bool live, color, blocks;
    bool every_line;                 /* all steps stay, not evaluations and checkpoints alone */
    char stage[64];                  /* that it is in; "" without a curriculum */
    double shown_at;                 /* seconds; negative = nothing shown yet */
    int n_line, width[SCREEN_LINES]; /* lines that stand there, and their columns */
    screen_history loss, rate;
} screen;

/* out: usually stderr. name: of the run, borrowed. */
void screen_init(screen *s, FILE *out, const char *name, bool every_line);
void screen_show(screen *s, const hy_train_progress *p);
/* Removes what is drawn, so that other text can be written. */
void screen_clear(screen *s);

/* ---- for tests ---- */

void screen_history_add(screen_history *h, double x);
/* The last `most` means or fewer, as one character each; the lowest is the emptiest. */
void screen_sparkline(const screen_history *h, int most, bool blocks, char *text, size_t size);

#endif
