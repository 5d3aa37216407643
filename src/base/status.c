/* status.c: see status.h. */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *hy_version(void) {
    return HY_VERSION;
}

hy_status hy__fail(hy_error *err, hy_status status, const char *fmt, ...) {
    if (err) {
        va_list args;
        va_start(args, fmt);
        vsnprintf(err->text, sizeof err->text, fmt, args);
        va_end(args);
        err->status = status;
    }
    return status;
}

hy_status hy__fail_in(hy_error *err, hy_status status, const char *fmt, ...) {
    if (!err) return status;
    char context[512], said[sizeof err->text];
    va_list args;
    va_start(args, fmt);
    vsnprintf(context, sizeof context, fmt, args);
    va_end(args);
    memcpy(said, err->text, sizeof said);
    snprintf(err->text, sizeof err->text, "%s: %.*s", context, (int)(sizeof said - 514), said);
    return status;
}

hy_status hy__no_memory(hy_error *err, const char *fmt, ...) {
    char what[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    return hy__fail(err, HY_E_MEMORY, "there is not enough memory for %s", what);
}

void hy__assert_failed(const char *cond, const char *file, int line) {
    fprintf(stderr, "hydralm: internal error: %s does not hold at %s:%d\n", cond, file, line);
    abort();
}
