/* bpe.h: byte-pair encoding of one word: its bytes are joined pair by pair, the pair of lowest rank
 * first and of equals the leftmost, until no pair of neighbours has a merge (Sennrich et al. 2016).
 *
 * The time is n log n in the bytes of a word, however long it is. */
#ifndef HY_TEXT_BPE_H
#define HY_TEXT_BPE_H

#include "base/status.h"

typedef struct hy__bpe_merge {
    int32_t left, right, made; /* token ids */
} hy__bpe_merge;

typedef struct hy__bpe_slot {
    uint64_t pair; /* left << 32 | right */
    uint32_t rank; /* HY__BPE_NONE = free */
    int32_t made;
} hy__bpe_slot;

#define HY__BPE_NONE UINT32_MAX

/* The merges, by pair. It does not change once made and may serve many threads. */
typedef struct hy__bpe {
    int32_t byte[256];  /* the token of each byte */
    hy__bpe_slot *slot; /* [mask + 1], owned */
    size_t mask;
    /* Words that are tokens as they stand, without merging; NULL = merging makes them too. Tokens'
     * bytes are text[start[id] … start[id + 1]), borrowed. */
    int32_t *whole; /* [whole_mask + 1] ids, -1 = free; owned */
    size_t whole_mask;
    const char *text;
    const size_t *start;
} hy__bpe;

/* merge[i] has rank i; of equal pairs the last one counts. */
hy_status hy__bpe_init(hy__bpe *b, const int32_t byte[256], const hy__bpe_merge *merge, int64_t n,
                       hy_error *err);
/* Tokens id with take[id] are words as they stand. */
hy_status hy__bpe_set_whole(hy__bpe *b, const char *text, const size_t *start, const bool *take,
                            int64_t vocab, hy_error *err);
void hy__bpe_release(hy__bpe *b);

/* One thread's scratch, and the words that it has met. */
typedef struct hy__bpe_scratch hy__bpe_scratch;
hy_status hy__bpe_scratch_new(hy__bpe_scratch **out, hy_error *err);
void hy__bpe_scratch_free(hy__bpe_scratch *s);

/* Appends the tokens of the word to token, which has room for one per byte; returns how many in
 * *n. */
hy_status hy__bpe_encode(const hy__bpe *b, hy__bpe_scratch *s, const char *word, size_t size,
                         int32_t *token, size_t *n, hy_error *err);

#endif
