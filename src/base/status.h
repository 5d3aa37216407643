/* status.h: how a function says that it failed.
 *
 * What can fail returns a hy_status and, on failure, writes one full sentence (what, where, got,
 * wanted) into the caller's hy_error. The library never prints and never exits. hy_status and
 * hy_error are public: they live in hydralm.h. */
#ifndef HY_BASE_STATUS_H
#define HY_BASE_STATUS_H

#include "hydralm.h"

/* Forwards a failure to the caller. */
#define HY_TRY(expr)                                                                               \
    do {                                                                                           \
        hy_status try_status_ = (expr);                                                            \
        if (try_status_ != HY_OK) return try_status_;                                              \
    } while (0)

/* Forwards a failure through the function's one exit: needs `hy_status status` and `done:`. */
#define HY_TRY_GOTO(expr)                                                                          \
    do {                                                                                           \
        status = (expr);                                                                           \
        if (status != HY_OK) goto done;                                                            \
    } while (0)

/* Aborts: only for our own bugs, never for input. */
#define HY_ASSERT(cond)                                                                            \
    do {                                                                                           \
        if (!(cond)) hy__assert_failed(#cond, __FILE__, __LINE__);                                 \
    } while (0)

/* Writes the sentence into err (which may be NULL) and returns status, so that a failing function
 * ends with `return hy__fail(err, HY_E_INVALID, "…", …);`. */
hy_status hy__fail(hy_error *err, hy_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "context: " before the sentence that err, if there is one, already holds; returns status. */
hy_status hy__fail_in(hy_error *err, hy_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Fails with HY_E_MEMORY: "there is not enough memory for …". */
hy_status hy__no_memory(hy_error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

_Noreturn void hy__assert_failed(const char *cond, const char *file, int line);

#endif
