/* text.h: a string that grows.
 *
 * Text is appended without asking each time whether memory was short: that is remembered, nothing
 * is appended afterwards, and hy__text_check or hy__text_save says it once, at the end. What is
 * printed does not depend on the process's locale: the decimal point is a point. */
#ifndef HY_PAGE_TEXT_H
#define HY_PAGE_TEXT_H

#include "base/status.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

/* Zeroed, it is the empty text. */
typedef struct hy__text {
    char *data;  /* [size] bytes and a NUL, ours; NULL before the first byte */
    size_t size; /* bytes, the NUL not counted */
    size_t capacity;
    bool failed; /* memory was short: what stands here is not whole */
} hy__text;

void hy__text_release(hy__text *t); /* empty again, and usable */

void hy__text_add(hy__text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void hy__text_add_args(hy__text *t, const char *fmt, va_list args)
    __attribute__((format(printf, 2, 0)));

/* The bytes as they are. */
void hy__text_put(hy__text *t, const char *s);

/* As text of HTML and XML, fit for a quoted attribute too. Bytes that are not UTF-8 and control
 * characters, which no XML may hold, become U+FFFD. */
void hy__text_escape(hy__text *t, const char *s);

/* HY_E_MEMORY when an append failed. */
hy_status hy__text_check(const hy__text *t, hy_error *err);

/* Writes the text as a file (see hy__file_write). HY_E_MEMORY, HY_E_IO. */
hy_status hy__text_save(const hy__text *t, const char *path, hy_error *err);

/* vsnprintf in the "C" locale. */
int hy__print_args(char *out, size_t size, const char *fmt, va_list args)
    __attribute__((format(printf, 3, 0)));
int hy__print(char *out, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
