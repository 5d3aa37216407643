/* nearest.c: see nearest.h. */
#include "base/nearest.h"

#include <stddef.h>
#include <string.h>

enum { WORD_CAP = 64 }; /* longer words are not compared */

/* Edits (insert, delete, replace, swap neighbours) from a to b: Damerau-Levenshtein, three rows. */
static size_t distance(const char *a, const char *b) {
    const size_t na = strlen(a), nb = strlen(b);
    size_t rows[3][WORD_CAP + 1];
    if (na > WORD_CAP || nb > WORD_CAP) return WORD_CAP;
    for (size_t j = 0; j <= nb; j++) rows[0][j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t *now = rows[i % 3];
        const size_t *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            size_t d = last[j - 1] + (a[i - 1] != b[j - 1]);
            if (last[j] + 1 < d) d = last[j] + 1;
            if (now[j - 1] + 1 < d) d = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < d)
                d = before[j - 2] + 1;
            now[j] = d;
        }
    }
    return rows[na % 3][nb];
}

/* An abbreviation counts as one edit, a part of the word as two. */
static size_t farness(const char *written, const char *known) {
    const size_t d = distance(written, known);
    const char *part = strlen(written) >= 3 ? strstr(known, written) : NULL;
    const size_t cut = part == known ? 1 : 2;
    return part && cut < d ? cut : d;
}

const char *hy__nearest(const char *written, const char *const *known, int n) {
    const char *best = NULL;
    size_t least = strlen(written) / 3 + 2; /* more edits than that are another word */
    for (int i = 0; i < n; i++) {
        const size_t d = farness(written, known[i]);
        if (d < least) {
            least = d;
            best = known[i];
        }
    }
    return best;
}
