/* terminal.c: see terminal.h. */
#include "base/terminal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

bool hy__terminal_is_live(FILE *out) {
    const char *term = getenv("TERM");
    return out && isatty(fileno(out)) && term && strcmp(term, "dumb") != 0;
}

bool hy__terminal_has_color(FILE *out) {
    const char *no_color = getenv("NO_COLOR");
    return hy__terminal_is_live(out) && !(no_color && *no_color);
}

int hy__terminal_columns(FILE *out) {
    struct winsize size;
    return ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}
