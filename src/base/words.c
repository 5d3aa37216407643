/* words.c: see words.h. */
#include "base/words.h"

#include <stdio.h>
#include <string.h>

int hy__words_place(const char *const *words, const char *word) {
    for (int i = 0; words[i]; i++)
        if (strcmp(words[i], word) == 0) return i;
    return -1;
}

void hy__words_add(char *out, size_t size, const char *between, const char *word) {
    const size_t n = strlen(out);
    snprintf(out + n, size - n, "%s%s", n ? between : "", word);
}

void hy__words_list(char *out, size_t size, const char *const *words, const char *last) {
    *out = '\0';
    for (int i = 0; words[i]; i++) hy__words_add(out, size, words[i + 1] ? ", " : last, words[i]);
}
