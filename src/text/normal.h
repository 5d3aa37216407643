/* normal.h: Unicode's normalization form C of a text in pieces. Bytes that are no characters stay
 * as they are, and nothing is composed across them. */
#ifndef HY_TEXT_NORMAL_H
#define HY_TEXT_NORMAL_H

#include "text/buffer.h"

/* Appends the form C of text to out. */
hy_status hy__normal_add(hy__buffer *out, const char *text, size_t n, hy_error *err);

/* The longest beginning of text that has its form C whatever follows: text[0 … result). */
size_t hy__normal_sure(const char *text, size_t n);

#endif
