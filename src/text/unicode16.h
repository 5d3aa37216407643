/* unicode16.h: the characters that Unicode 15 and 16 have assigned, by general category.
 * PCRE2 10.42 knows Unicode 14; the reference knows 16. To a later PCRE2 the table says nothing
 * new. */
#ifndef HY_TEXT_UNICODE16_H
#define HY_TEXT_UNICODE16_H

#include <stddef.h>
#include <stdint.h>

typedef struct hy__unicode_range {
    uint32_t from, to;
    char category[3]; /* "Lu" */
} hy__unicode_range;

extern const hy__unicode_range hy__unicode16[];
extern const size_t hy__unicode16_size;

#endif
