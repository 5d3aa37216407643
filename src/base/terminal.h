/* terminal.h: what a stream is shown on. */
#ifndef HY_BASE_TERMINAL_H
#define HY_BASE_TERMINAL_H

#include <stdbool.h>
#include <stdio.h>

/* Whether what was written to `out` (may be NULL) can be drawn over: a terminal that is not dumb. */
bool hy__terminal_is_live(FILE *out);

/* Whether colour is wanted there: not where NO_COLOR is set (no-color.org: any text but the empty
 * one). */
bool hy__terminal_has_color(FILE *out);

/* Columns of a line; 80 where they cannot be told. */
int hy__terminal_columns(FILE *out);

#endif
