/* utf8.h: what is a well-formed UTF-8 sequence (Unicode 15, table 3-7). */
#ifndef HY_BASE_UTF8_H
#define HY_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes of the sequence that `lead` begins; 0 when none begins so. */
size_t hy__utf8_length(unsigned char lead);

/* Whether byte may be number i >= 1 of the sequence that lead begins. */
bool hy__utf8_continues(unsigned char lead, size_t i, unsigned char byte);

/* Bytes of the well-formed sequence that text[0 … size-1], size >= 1, begins with; 0 = none. */
size_t hy__utf8_sequence(const unsigned char *text, size_t size);

/* Whether text[0 … size-1], which may be empty, can become such a sequence when more bytes come. */
bool hy__utf8_unfinished(const unsigned char *text, size_t size);

/* The last place at or before `size` that is not within a sequence: where text may be cut. */
size_t hy__utf8_cut(const char *text, size_t size);

/* Bytes that belong to no well-formed sequence. */
size_t hy__utf8_invalid(const unsigned char *text, size_t size);

/* Bytes that belong to none become '?', control characters too: a name can then be shown. */
void hy__utf8_mend(char *text);

#endif
