/* words.c: see words.h. */
#include "base/words.h"

#include <stdio.h>
#include <string.h>

int hy__words_place(const char *const *words, const char *word) {
    for (int i = 0; words[i]; i++)
        if (strcmp(words[i], word) == 0) return i;
    return -1;
}

void hy__words_list(char *out, size_t size, const char *const *words, const char *last) {
    size_t n = 0;
    *out = '\0';
    for (int i = 0; words[i] && n < size; i++) {
        const char *before = i == 0 ? "" : words[i + 1] ? ", " : last;
        n += (size_t)snprintf(out + n, size - n, "%s%s", before, words[i]);
    }
}
