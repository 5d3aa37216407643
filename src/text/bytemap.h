/* bytemap.h: GPT-2's byte map: every byte as a character that can be printed, so that a vocabulary
 * of byte strings is a JSON object. Printable Latin-1 stands for itself; the other 68 bytes follow
 * one another from U+0100. */
#ifndef HY_TEXT_BYTEMAP_H
#define HY_TEXT_BYTEMAP_H

#include <stdbool.h>
#include <stddef.h>

/* The byte's character in UTF-8; returns its length, 1 or 2. `out` gets a NUL behind it. */
size_t hy__bytemap_name(unsigned char byte, char out[3]);

/* From characters back to bytes: writes at most strlen(name) bytes and returns how many. A name
 * with a character that is not in the map stands for itself; *mapped, which may be NULL, says so.
 */
size_t hy__bytemap_bytes(const char *name, char *out, bool *mapped);

#endif
