/* line.h: the documents of a part one behind the other, in an order of their own: where a document
 * stands, and what stands at a place.
 *
 * The order is a permutation that needs no table, and of the places only every LINE_STEP-th is
 * kept: 100 million documents take 3 MB here. */
#ifndef HY_DATA_LINE_H
#define HY_DATA_LINE_H

#include "data/corpus.h"

enum { HY__LINE_STEP = 256 };

typedef struct hy__line {
    const hy__document *document; /* [n] borrowed */
    int64_t n;
    int64_t align;  /* a document of len tokens takes len-1 positions, rounded up to this */
    bool shuffled;  /* otherwise they stand as they lie */
    uint64_t key;   /* of the order */
    int64_t length; /* positions */
    int64_t *mark;  /* [n / LINE_STEP + 1] where every LINE_STEP-th document begins */
} hy__line;

/* Where document `d` stands: `i`-th in the line, at position start. */
typedef struct hy__line_place {
    int64_t i, d, start;
} hy__line_place;

hy_status hy__line_init(hy__line *l, const hy__document *document, int64_t n, int64_t align,
                        hy_error *err);
void hy__line_release(hy__line *l); /* a zeroed one is fine */
/* Puts the documents into the order of the key. */
void hy__line_shuffle(hy__line *l, uint64_t key);

/* The document that position `at`, 0 … length-1, belongs to. */
hy__line_place hy__line_find(const hy__line *l, int64_t at);
/* Moves on to the next; false behind the last. */
bool hy__line_next(const hy__line *l, hy__line_place *p);

#endif
