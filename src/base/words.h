/* words.h: a choice of words, as a list that NULL ends. */
#ifndef HY_BASE_WORDS_H
#define HY_BASE_WORDS_H

#include <stddef.h>

/* The place of a word; -1 where it is none of them. */
int hy__words_place(const char *const *words, const char *word);

/* Puts a word behind those in out, `between` before it where there are some. Cut off where there is
 * no room. */
void hy__words_add(char *out, size_t size, const char *between, const char *word);

/* Puts "a, b or c" into out, `last` before the last one: " or ". Cut off where there is no room. */
void hy__words_list(char *out, size_t size, const char *const *words, const char *last);

#endif
