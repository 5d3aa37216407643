/* bpe.c: see bpe.h.
 *
 * Most words of a text are among few thousand: each thread keeps the tokens of those that it met
 * last, by the hash of their bytes. Others are merged in place: the symbols are a list, and a heap
 * holds the pairs that have a merge as (rank, position). */
#include "text/bpe.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

enum {
    MET_BITS = 15,
    MET_BYTES = 30, /* longer words and those of more tokens are not kept */
    MET_TOKENS = 8,
};

typedef struct met {
    uint8_t size, n;
    char word[MET_BYTES];
    int32_t token[MET_TOKENS];
} met; /* one cache line */

/* Symbol i of the word that is being merged. */
typedef struct symbol {
    int32_t id;
    uint32_t prev, next; /* END = none */
    uint32_t rank;       /* of the merge with the next, or HY__BPE_NONE */
    int32_t made;        /* by it */
} symbol;

#define END UINT32_MAX

struct hy__bpe_scratch {
    met *met;       /* [1 << MET_BITS], owned */
    symbol *symbol; /* [cap], owned */
    uint64_t *heap; /* [3 * cap] rank << 32 | position, owned */
    size_t cap, n_heap;
};

/* ---- tables ---- */

static uint64_t mix(uint64_t x) {
    x *= 0x9E3779B97F4A7C15u; /* 2^64 / golden ratio */
    return x ^ x >> 32;
}

static uint64_t hash_bytes(const char *p, size_t n) {
    uint64_t h = n, last = 0;
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t v;
        memcpy(&v, p, 8);
        h = mix(h ^ v);
    }
    memcpy(&last, p, n);
    return mix(mix(h ^ last));
}

static uint64_t pair_of(int32_t left, int32_t right) {
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

static hy__bpe_slot *find_slot(const hy__bpe *b, uint64_t pair) {
    size_t i = mix(pair) & b->mask;
    while (b->slot[i].rank != HY__BPE_NONE && b->slot[i].pair != pair) i = (i + 1) & b->mask;
    return &b->slot[i];
}

/* A power of two, at least twice n. */
static size_t table_size(int64_t n) {
    size_t size = 16;
    while (size < 2 * (size_t)n) size *= 2;
    return size;
}

hy_status hy__bpe_init(hy__bpe *b, const int32_t byte[256], const hy__bpe_merge *merge, int64_t n,
                       hy_error *err) {
    const size_t size = table_size(n);
    *b = (hy__bpe){.mask = size - 1, .slot = malloc(size * sizeof *b->slot)};
    if (!b->slot) return hy__no_memory(err, "%jd merges", (intmax_t)n);
    memcpy(b->byte, byte, sizeof b->byte);
    for (size_t i = 0; i < size; i++) b->slot[i].rank = HY__BPE_NONE;
    for (int64_t i = 0; i < n; i++) {
        const uint64_t pair = pair_of(merge[i].left, merge[i].right);
        *find_slot(b, pair) =
            (hy__bpe_slot){.pair = pair, .rank = (uint32_t)i, .made = merge[i].made};
    }
    return HY_OK;
}

/* Where the token of these bytes is, or would be. */
static int32_t *find_whole(const hy__bpe *b, const char *word, size_t size) {
    size_t i = hash_bytes(word, size) & b->whole_mask;
    for (; b->whole[i] >= 0; i = (i + 1) & b->whole_mask) {
        const size_t *at = b->start + b->whole[i];
        if (at[1] - at[0] == size && memcmp(b->text + at[0], word, size) == 0) break;
    }
    return &b->whole[i];
}

hy_status hy__bpe_set_whole(hy__bpe *b, const char *text, const size_t *start, const bool *take,
                            int64_t vocab, hy_error *err) {
    const size_t size = table_size(vocab);
    b->whole_mask = size - 1;
    b->whole = malloc(size * sizeof *b->whole);
    b->text = text;
    b->start = start;
    if (!b->whole) return hy__no_memory(err, "%jd words", (intmax_t)vocab);
    memset(b->whole, -1, size * sizeof *b->whole);
    for (int32_t i = 0; i < vocab; i++)
        if (take[i]) *find_whole(b, text + start[i], start[i + 1] - start[i]) = i;
    return HY_OK;
}

void hy__bpe_release(hy__bpe *b) {
    free(b->slot);
    free(b->whole);
    *b = (hy__bpe){0};
}

/* ---- one word ---- */

static void sift_down(uint64_t *heap, size_t n, size_t i) {
    const uint64_t item = heap[i];
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && heap[child + 1] < heap[child]) child++;
        if (item <= heap[child]) break;
        heap[i] = heap[child];
    }
    heap[i] = item;
}

static uint64_t pop(hy__bpe_scratch *s) {
    const uint64_t least = s->heap[0];
    if (--s->n_heap > 0) {
        s->heap[0] = s->heap[s->n_heap];
        sift_down(s->heap, s->n_heap, 0);
    }
    return least;
}

static void push(hy__bpe_scratch *s, uint64_t item) {
    size_t i = s->n_heap++;
    for (; i > 0 && item < s->heap[(i - 1) / 2]; i = (i - 1) / 2) s->heap[i] = s->heap[(i - 1) / 2];
    s->heap[i] = item;
}

/* What symbol i and its next would make. */
static bool look_up(const hy__bpe *b, symbol *at, uint32_t i) {
    const uint32_t next = at[i].next;
    at[i].rank = HY__BPE_NONE;
    if (next == END) return false;
    const hy__bpe_slot *slot = find_slot(b, pair_of(at[i].id, at[next].id));
    at[i].rank = slot->rank;
    at[i].made = slot->made;
    return slot->rank != HY__BPE_NONE;
}

static uint64_t heap_item(const symbol *at, uint32_t i) {
    return (uint64_t)at[i].rank << 32 | i;
}

static size_t merge(const hy__bpe *b, hy__bpe_scratch *s, const char *word, size_t size,
                    int32_t *token) {
    symbol *at = s->symbol;
    const uint32_t n = (uint32_t)size;
    for (uint32_t i = 0; i < n; i++) {
        at[i] = (symbol){.id = b->byte[(unsigned char)word[i]],
                         .prev = i > 0 ? i - 1 : END,
                         .next = i + 1 < n ? i + 1 : END};
    }
    s->n_heap = 0;
    for (uint32_t i = 0; i < n; i++)
        if (look_up(b, at, i)) s->heap[s->n_heap++] = heap_item(at, i);
    for (size_t i = s->n_heap / 2; i-- > 0;) sift_down(s->heap, s->n_heap, i);
    while (s->n_heap > 0) {
        const uint64_t item = pop(s);
        const uint32_t i = (uint32_t)item, gone = at[i].next;
        if (at[i].rank != item >> 32) continue; /* one of the two has changed since */
        at[i].id = at[i].made;
        at[i].next = at[gone].next;
        at[gone].rank = HY__BPE_NONE;
        if (at[i].next != END) at[at[i].next].prev = i;
        if (look_up(b, at, i)) push(s, heap_item(at, i));
        if (at[i].prev != END && look_up(b, at, at[i].prev)) push(s, heap_item(at, at[i].prev));
    }
    size_t n_token = 0;
    for (uint32_t i = 0; i != END; i = at[i].next) token[n_token++] = at[i].id;
    return n_token;
}

/* Room to merge `size` bytes: each merge takes one pair from the heap and adds two at most. */
static hy_status reserve(hy__bpe_scratch *s, size_t size, hy_error *err) {
    if (size <= s->cap) return HY_OK;
    if (size > INT32_MAX)
        return hy__fail(err, HY_E_UNSUPPORTED,
                        "the text has a word of %zu bytes, wanted at most %d between two cuts",
                        size, INT32_MAX);
    const size_t cap = size + size / 2;
    free(s->symbol);
    free(s->heap);
    s->cap = 0;
    s->symbol = malloc(cap * sizeof *s->symbol);
    s->heap = malloc(3 * cap * sizeof *s->heap);
    if (!s->symbol || !s->heap) return hy__no_memory(err, "a word of %zu bytes", size);
    s->cap = cap;
    return HY_OK;
}

/* The tokens of a word that has not been met. */
static hy_status encode_new(const hy__bpe *b, hy__bpe_scratch *s, const char *word, size_t size,
                            int32_t *token, size_t *n, hy_error *err) {
    if (b->whole) {
        *token = *find_whole(b, word, size);
        *n = 1;
        if (*token >= 0) return HY_OK;
    }
    HY_TRY(reserve(s, size, err));
    *n = merge(b, s, word, size, token);
    return HY_OK;
}

hy_status hy__bpe_encode(const hy__bpe *b, hy__bpe_scratch *s, const char *word, size_t size,
                         int32_t *token, size_t *n, hy_error *err) {
    if (size > MET_BYTES) return encode_new(b, s, word, size, token, n, err);
    met *m = &s->met[hash_bytes(word, size) >> (64 - MET_BITS)];
    if (m->size == size && memcmp(m->word, word, size) == 0) {
        memcpy(token, m->token, m->n * sizeof *token);
        *n = m->n;
        return HY_OK;
    }
    HY_TRY(encode_new(b, s, word, size, token, n, err));
    if (*n > MET_TOKENS) return HY_OK;
    m->size = (uint8_t)size;
    m->n = (uint8_t)*n;
    memcpy(m->word, word, size);
    memcpy(m->token, token, *n * sizeof *token);
    return HY_OK;
}

hy_status hy__bpe_scratch_new(hy__bpe_scratch **out, hy_error *err) {
    const size_t bytes = sizeof(met) << MET_BITS;
    hy__bpe_scratch *s = calloc(1, sizeof *s);
    *out = s;
    if (s && (s->met = hy__memory_new(bytes, sizeof(met)))) {
        memset(s->met, 0, bytes);
        return HY_OK;
    }
    free(s);
    *out = NULL;
    return hy__no_memory(err, "an encoder");
}

void hy__bpe_scratch_free(hy__bpe_scratch *s) {
    if (!s) return;
    free(s->met);
    free(s->symbol);
    free(s->heap);
    free(s);
}
