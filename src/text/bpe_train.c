/* bpe_train.c: see bpe_train.h.
 *
 * Counting: parts of the text go to the threads, each with a table of words of its own; the tables
 * are summed. Joining: every pair has its count and the words that it was seen in; only these are
 * looked at when it is joined. A heap gives the most frequent pair; what it says of pairs that have
 * become less frequent since is mended when they come up. */
#include "text/bpe_train.h"

#include "base/hash.h"
#include "base/utf8.h"
#include "base/words.h"
#include "text/bytemap.h"
#include "text/tokenizer_parts.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum {
    PART = 1 << 20,       /* bytes of text that are counted at a time by one thread */
    PARTS_PER_THREAD = 4, /* of this size that wait before they are counted */
    WORD_BYTES = 256,
    LEAST_COUNT = 2,
    PROGRESS_EVERY = 256, /* joined pairs */
};

/* ---- counted words ---- */

typedef struct word {
    size_t at; /* in the table's text */
    int32_t size;
    int64_t count;
} word;

typedef struct word_table {
    hy__buffer text;
    word *word; /* [cap], owned */
    int64_t n, cap;
    int64_t *slot; /* [mask + 1] words' numbers, -1 = free; owned */
    size_t mask;
} word_table;

static void word_table_release(word_table *t) {
    free(t->text.data);
    free(t->word);
    free(t->slot);
    *t = (word_table){0};
}

static uint64_t hash_word(const char *text, size_t n) {
    hy__hash h;
    hy__hash_init(&h);
    hy__hash_add(&h, text, n);
    return hy__hash_value(&h);
}

static int64_t *find_word(const word_table *t, const char *text, size_t n) {
    size_t i = hash_word(text, n) & t->mask;
    for (; t->slot[i] >= 0; i = (i + 1) & t->mask) {
        const word *w = &t->word[t->slot[i]];
        if ((size_t)w->size == n && memcmp(t->text.data + w->at, text, n) == 0) break;
    }
    return &t->slot[i];
}

/* Room for one more word: the table of slots stays at most half full. */
static hy_status word_table_grow(word_table *t, hy_error *err) {
    if (t->n < t->cap) return HY_OK;
    const int64_t cap = t->cap ? 2 * t->cap : 1 << 12;
    word *grown = realloc(t->word, (size_t)cap * sizeof *grown);
    if (grown) t->word = grown;
    int64_t *slot = malloc(2 * (size_t)cap * sizeof *slot);
    if (!grown || !slot) {
        free(slot);
        return hy__no_memory(err, "training a tokenizer");
    }
    free(t->slot);
    t->slot = slot;
    t->cap = cap;
    t->mask = 2 * (size_t)cap - 1;
    memset(slot, -1, 2 * (size_t)cap * sizeof *slot);
    for (int64_t i = 0; i < t->n; i++)
        *find_word(t, t->text.data + t->word[i].at, (size_t)t->word[i].size) = i;
    return HY_OK;
}

static hy_status word_table_add(word_table *t, const char *text, size_t n, int64_t count,
                                hy_error *err) {
    HY_TRY(word_table_grow(t, err));
    int64_t *slot = find_word(t, text, n);
    if (*slot < 0) {
        const size_t at = t->text.size;
        HY_TRY(hy__buffer_add(&t->text, text, n, err));
        t->word[t->n] = (word){.at = at, .size = (int32_t)n};
        *slot = t->n++;
    }
    t->word[*slot].count += count;
    return HY_OK;
}

/* ---- counting ---- */

/* One thread's. */
typedef struct counter {
    word_table table;
    hy__splitter *splitter;
    hy_error err;
} counter;

struct hy__bpe_trainer {
    hy__bpe_train_options opt;
    hy__tokenizer *cutter; /* the same without merges: how text is cut into words */
    counter *counter;      /* [n_thread], owned */
    int n_thread;
    hy__buffer waiting; /* parts that wait, one behind another */
    size_t *part;       /* [n_part + 1] where they begin; owned */
    int64_t n_part, cap_part;
    int64_t n_byte;
};

static hy_status take_word(void *user, const char *text, size_t n, hy_error *err) {
    counter *c = user;
    for (size_t at = 0, len; at < n; at += len) {
        len = n - at < WORD_BYTES ? n - at : WORD_BYTES;
        HY_TRY(word_table_add(&c->table, text + at, len, 1, err));
    }
    return HY_OK;
}

static hy_status take_token(void *user, int32_t id, hy_error *err) {
    (void)user;
    (void)id;
    (void)err;
    return HY_OK;
}

static hy_status check_special(const hy__bpe_train_options *o, int64_t i, hy_error *err) {
    const char *text = o->special[i];
    const size_t n = strlen(text);
    char bytes[256];
    bool mapped = false;
    if (n < 2 || n > sizeof bytes)
        return hy__fail(err, HY_E_INVALID,
                        "the special token \"%.200s\" has %zu bytes, wanted 2 to %zu", text, n,
                        sizeof bytes);
    if (hy__utf8_invalid((const unsigned char *)text, n) > 0)
        return hy__fail(err, HY_E_INVALID, "special token %jd is no UTF-8", (intmax_t)i + 1);
    /* "Ġa" in the file is what the bytes " a" are called there */
    if (hy__bytemap_bytes(text, bytes, &mapped) < n && mapped)
        return hy__fail(err, HY_E_INVALID,
                        "the special token \"%.200s\" has the name of a token of text in the byte "
                        "map, wanted another one",
                        text);
    for (int64_t k = 0; k < i; k++)
        if (strcmp(text, o->special[k]) == 0)
            return hy__fail(err, HY_E_INVALID, "the special token \"%.200s\" is given twice", text);
    return HY_OK;
}

static hy_status check_options(const hy__bpe_train_options *o, hy_error *err) {
    const int64_t least = 256 + o->n_special;
    if (hy__words_place(hy__pattern_name, o->pattern) < 0) {
        char known[64];
        hy__words_list(known, sizeof known, hy__pattern_name, " or ");
        return hy__fail(err, HY_E_INVALID, "the pattern is \"%.60s\", wanted %s", o->pattern,
                        known);
    }
    if (o->vocab < least || o->vocab > HY__TOKENIZER_IDS)
        return hy__fail(err, HY_E_INVALID,
                        "the vocabulary is to have %jd tokens, wanted %jd (the bytes and the "
                        "special tokens) to %d",
                        (intmax_t)o->vocab, (intmax_t)least, HY__TOKENIZER_IDS);
    for (int64_t i = 0; i < o->n_special; i++) HY_TRY(check_special(o, i, err));
    return HY_OK;
}

static hy_status make_tokenizer(hy__tokenizer **out, const hy__bpe_train_options *o,
                                const hy__bpe_merge *merge, int64_t n, hy_error *err) {
    const hy__bpe_recipe recipe = {.pattern = o->pattern,
                                   .merge = merge,
                                   .n_merge = n,
                                   .special = o->special,
                                   .n_special = o->n_special};
    char *json = hy__tokenizer_write(&recipe);
    if (!json) return hy__no_memory(err, "training a tokenizer");
    return hy__tokenizer_parse(out, json, strlen(json), "the new tokenizer", err);
}

hy_status hy__bpe_trainer_new(hy__bpe_trainer **out, const hy__bpe_train_options *opt,
                              hy_error *err) {
    *out = NULL;
    HY_TRY(check_options(opt, err));
    hy__bpe_trainer *t = calloc(1, sizeof *t);
    if (!t) return hy__no_memory(err, "training a tokenizer");
    t->opt = *opt;
    t->n_thread = opt->threads > 0 ? opt->threads : omp_get_max_threads();
    hy_status status = make_tokenizer(&t->cutter, opt, NULL, 0, err);
    t->counter = calloc((size_t)t->n_thread, sizeof *t->counter);
    t->part = calloc(1, sizeof *t->part);
    if (status == HY_OK && (!t->counter || !t->part))
        status = hy__no_memory(err, "training a tokenizer");
    for (int i = 0; i < t->n_thread && status == HY_OK; i++) {
        const hy__splitter_sink sink = {take_word, take_token, &t->counter[i]};
        status = hy__splitter_new(&t->counter[i].splitter, &t->cutter->rules, &sink, err);
    }
    if (status == HY_OK)
        *out = t;
    else
        hy__bpe_trainer_free(t);
    return status;
}

void hy__bpe_trainer_free(hy__bpe_trainer *t) {
    if (!t) return;
    for (int i = 0; t->counter && i < t->n_thread; i++) {
        hy__splitter_free(t->counter[i].splitter);
        word_table_release(&t->counter[i].table);
    }
    hy__tokenizer_free(t->cutter);
    free(t->counter);
    free(t->waiting.data);
    free(t->part);
    free(t);
}

/* Counts the parts that wait. */
static hy_status count_parts(hy__bpe_trainer *t, hy_error *err) {
    hy_status worst = HY_OK;
    hy_error why = {0};
#pragma omp parallel for schedule(dynamic) num_threads(t->n_thread)
    for (int64_t i = 0; i < t->n_part; i++) {
        counter *c = &t->counter[omp_get_thread_num()];
        const hy_status status = hy__splitter_feed(c->splitter, t->waiting.data + t->part[i],
                                                   t->part[i + 1] - t->part[i], true, &c->err);
        if (status == HY_OK) continue;
#pragma omp critical
        {
            worst = status;
            why = c->err;
        }
    }
    hy__buffer_drop(&t->waiting, t->part[t->n_part]);
    t->n_part = 0;
    return worst == HY_OK ? HY_OK : hy__fail(err, worst, "%s", why.text);
}

/* What waits from the last part's end on is a part. */
static hy_status end_part(hy__bpe_trainer *t, hy_error *err) {
    if (t->waiting.size == t->part[t->n_part]) return HY_OK;
    if (t->n_part == t->cap_part) {
        const int64_t cap = 2 * t->cap_part + 64;
        size_t *grown = realloc(t->part, ((size_t)cap + 1) * sizeof *grown);
        if (!grown) return hy__no_memory(err, "training a tokenizer");
        t->part = grown;
        t->cap_part = cap;
    }
    t->part[++t->n_part] = t->waiting.size;
    const size_t enough = (size_t)t->n_thread * PARTS_PER_THREAD * PART;
    return t->waiting.size < enough ? HY_OK : count_parts(t, err);
}

/* How many of the next n bytes belong to the part that has `open` bytes. *ends: it ends behind
 * them: with the first line behind PART bytes, or, where none has ended by then, with the first
 * character behind twice as many. */
static size_t bytes_of_part(size_t open, const char *text, size_t n, bool *ends) {
    const size_t quiet = open < PART ? PART - open : 0;
    size_t most = open < 2 * PART ? 2 * PART - open : 0;
    const size_t end = n < most ? n : most;
    const char *line = end > quiet ? memchr(text + quiet, '\n', end - quiet) : NULL;
    while (most < n && (text[most] & 0xC0) == 0x80) most++;
    *ends = line || most < n;
    return line ? (size_t)(line - text) + 1 : most < n ? most : n;
}

hy_status hy__bpe_trainer_add(hy__bpe_trainer *t, const char *text, size_t n, bool last,
                              hy_error *err) {
    t->n_byte += (int64_t)n;
    while (n > 0) {
        bool ends;
        const size_t taken = bytes_of_part(t->waiting.size - t->part[t->n_part], text, n, &ends);
        HY_TRY(hy__buffer_add(&t->waiting, text, taken, err));
        if (ends) HY_TRY(end_part(t, err));
        text += taken;
        n -= taken;
    }
    return last ? end_part(t, err) : HY_OK;
}

int64_t hy__bpe_trainer_bytes(const hy__bpe_trainer *t) {
    return t->n_byte;
}

int64_t hy__bpe_trainer_words(const hy__bpe_trainer *t) {
    return t->counter[0].table.n;
}

/* All words in the first thread's table. */
static hy_status sum_up(hy__bpe_trainer *t, hy_error *err) {
    HY_TRY(end_part(t, err));
    HY_TRY(count_parts(t, err));
    for (int i = 1; i < t->n_thread; i++) {
        const word_table *table = &t->counter[i].table;
        for (int64_t k = 0; k < table->n; k++) {
            const word *w = &table->word[k];
            HY_TRY(word_table_add(&t->counter[0].table, table->text.data + w->at, (size_t)w->size,
                                  w->count, err));
        }
        word_table_release(&t->counter[i].table);
    }
    return HY_OK;
}

/* ---- joining ---- */

typedef struct pair {
    int32_t left, right;
    int64_t count;
    int32_t *seen; /* [n_seen] words that it was in at some time, owned */
    int32_t n_seen, cap;
} pair;

typedef struct heap_entry {
    int64_t count; /* as it was */
    int32_t pair;
} heap_entry;

typedef struct joiner {
    const word_table *table;
    int32_t *symbol; /* of all words, each from word[i].at on; owned */
    int32_t *length; /* [n] symbols of each word; owned */
    pair *pair;      /* [cap_pair], owned */
    int32_t n_pair, cap_pair;
    int32_t *slot; /* [mask + 1] pairs' numbers, -1 = free; owned */
    size_t mask;
    heap_entry *heap; /* [cap_heap], owned */
    int64_t n_heap, cap_heap;
    bool failed; /* memory */
} joiner;

static size_t pair_slot(const joiner *j, int32_t left, int32_t right) {
    uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9E3779B97F4A7C15u;
    size_t i = (h ^ h >> 32) & j->mask;
    for (; j->slot[i] >= 0; i = (i + 1) & j->mask)
        if (j->pair[j->slot[i]].left == left && j->pair[j->slot[i]].right == right) break;
    return i;
}

static bool grow_pairs(joiner *j) {
    const int32_t cap = j->cap_pair > INT32_MAX / 2 ? 0 : j->cap_pair ? 2 * j->cap_pair : 1 << 16;
    pair *grown = cap > 0 ? realloc(j->pair, (size_t)cap * sizeof *grown) : NULL;
    if (grown) j->pair = grown;
    int32_t *slot = grown ? malloc(2 * (size_t)cap * sizeof *slot) : NULL;
    if (!slot) return false;
    free(j->slot);
    j->slot = slot;
    j->cap_pair = cap;
    j->mask = 2 * (size_t)cap - 1;
    memset(slot, -1, 2 * (size_t)cap * sizeof *slot);
    for (int32_t i = 0; i < j->n_pair; i++)
        slot[pair_slot(j, j->pair[i].left, j->pair[i].right)] = i;
    return true;
}

/* Adds to a pair's count, for an occurrence in word w. */
static void add_pair(joiner *j, int32_t left, int32_t right, int64_t count, int32_t w) {
    if (j->failed) return;
    if (j->n_pair == j->cap_pair && !grow_pairs(j)) {
        j->failed = true;
        return;
    }
    const size_t s = pair_slot(j, left, right);
    if (j->slot[s] < 0) {
        j->slot[s] = j->n_pair;
        j->pair[j->n_pair++] = (pair){.left = left, .right = right};
    }
    pair *p = &j->pair[j->slot[s]];
    p->count += count;
    if (p->n_seen > 0 && p->seen[p->n_seen - 1] == w) return;
    if (p->n_seen == p->cap) {
        const int32_t cap = p->cap > INT32_MAX / 2 ? 0 : p->cap ? 2 * p->cap : 4;
        int32_t *grown = cap > 0 ? realloc(p->seen, (size_t)cap * sizeof *grown) : NULL;
        if (!grown) {
            j->failed = true;
            return;
        }
        p->seen = grown;
        p->cap = cap;
    }
    p->seen[p->n_seen++] = w;
}

static void take_pair(joiner *j, int32_t left, int32_t right, int64_t count) {
    if (j->failed) return;
    const int32_t p = j->slot[pair_slot(j, left, right)];
    if (p >= 0) j->pair[p].count -= count;
}

/* Whether a comes before b: more frequent, or of smaller ids. */
static bool before(const joiner *j, heap_entry a, heap_entry b) {
    const pair *p = &j->pair[a.pair], *q = &j->pair[b.pair];
    if (a.count != b.count) return a.count > b.count;
    return p->left != q->left ? p->left < q->left : p->right < q->right;
}

static void push(joiner *j, int32_t p) {
    if (j->pair[p].count < LEAST_COUNT || j->failed) return;
    if (j->n_heap == j->cap_heap) {
        const int64_t cap = j->cap_heap ? 2 * j->cap_heap : 1 << 16;
        heap_entry *grown = realloc(j->heap, (size_t)cap * sizeof *grown);
        if (!grown) {
            j->failed = true;
            return;
        }
        j->heap = grown;
        j->cap_heap = cap;
    }
    const heap_entry e = {.count = j->pair[p].count, .pair = p};
    int64_t i = j->n_heap++;
    for (; i > 0 && before(j, e, j->heap[(i - 1) / 2]); i = (i - 1) / 2)
        j->heap[i] = j->heap[(i - 1) / 2];
    j->heap[i] = e;
}

static heap_entry pop(joiner *j) {
    const heap_entry top = j->heap[0], e = j->heap[--j->n_heap];
    int64_t i = 0;
    for (int64_t child; (child = 2 * i + 1) < j->n_heap; i = child) {
        if (child + 1 < j->n_heap && before(j, j->heap[child + 1], j->heap[child])) child++;
        if (!before(j, j->heap[child], e)) break;
        j->heap[i] = j->heap[child];
    }
    j->heap[i] = e;
    return top;
}

/* The most frequent pair as it is now, or -1. */
static int32_t best_pair(joiner *j) {
    while (j->n_heap > 0) {
        const heap_entry top = pop(j);
        if (j->pair[top.pair].count == top.count) return top.pair;
        push(j, top.pair);
    }
    return -1;
}

/* Joins the pair in word w. */
static void join_in(joiner *j, int32_t w, int32_t left, int32_t right, int32_t made) {
    int32_t *s = j->symbol + j->table->word[w].at;
    const int64_t count = j->table->word[w].count;
    const int32_t n = j->length[w];
    int32_t to = 0;
    for (int32_t i = 0; i < n;) {
        if (i + 1 == n || s[i] != left || s[i + 1] != right) {
            s[to++] = s[i++];
            continue;
        }
        if (to > 0) {
            take_pair(j, s[to - 1], left, count);
            add_pair(j, s[to - 1], made, count, w);
        }
        if (i + 2 < n) {
            take_pair(j, right, s[i + 2], count);
            add_pair(j, made, s[i + 2], count, w);
        }
        s[to++] = made;
        i += 2;
    }
    j->length[w] = to;
}

static void join(joiner *j, int32_t best, int32_t made) {
    const pair p = j->pair[best];
    const int32_t first_new = j->n_pair; /* all pairs of the new token are new */
    j->pair[best].seen = NULL;
    j->pair[best].n_seen = j->pair[best].cap = 0;
    for (int32_t i = 0; i < p.n_seen && !j->failed; i++)
        join_in(j, p.seen[i], p.left, p.right, made);
    free(p.seen);
    j->pair[best].count = 0;
    for (int32_t i = first_new; i < j->n_pair; i++) push(j, i);
}

static void joiner_release(joiner *j) {
    for (int32_t i = 0; i < j->n_pair; i++) free(j->pair[i].seen);
    free(j->pair);
    free(j->slot);
    free(j->heap);
    free(j->symbol);
    free(j->length);
}

/* All words as bytes, and their pairs. */
static hy_status joiner_init(joiner *j, const word_table *table, hy_error *err) {
    *j = (joiner){.table = table};
    j->symbol = malloc((table->text.size + 1) * sizeof *j->symbol);
    j->length = malloc(((size_t)table->n + 1) * sizeof *j->length);
    if (!j->symbol || !j->length) return hy__no_memory(err, "training a tokenizer");
    if (table->n > INT32_MAX)
        return hy__fail(err, HY_E_UNSUPPORTED, "the text has more than %d different words",
                        INT32_MAX);
    for (size_t i = 0; i < table->text.size; i++) j->symbol[i] = (unsigned char)table->text.data[i];
    for (int32_t w = 0; w < (int32_t)table->n; w++) {
        const int32_t *s = j->symbol + table->word[w].at;
        j->length[w] = table->word[w].size;
        for (int32_t i = 0; i + 1 < j->length[w]; i++)
            add_pair(j, s[i], s[i + 1], table->word[w].count, w);
    }
    for (int32_t i = 0; i < j->n_pair; i++) push(j, i);
    return j->failed ? hy__no_memory(err, "training a tokenizer") : HY_OK;
}

/* Names the token that the pair makes; false when there is one of that text already, made of other
 * parts: then the pair stays apart. */
static bool name_token(word_table *name, const pair *p, hy_status *status, hy_error *err) {
    const word left = name->word[p->left], right = name->word[p->right];
    char text[WORD_BYTES];
    const size_t n = (size_t)left.size + (size_t)right.size;
    memcpy(text, name->text.data + left.at, (size_t)left.size);
    memcpy(text + left.size, name->text.data + right.at, (size_t)right.size);
    if (*find_word(name, text, n) >= 0) return false;
    *status = word_table_add(name, text, n, 1, err);
    return true;
}

static hy_status join_pairs(hy__bpe_trainer *t, joiner *j, hy__bpe_merge *merge, int64_t wanted,
                            int64_t *n, hy_error *err) {
    word_table name = {0}; /* the tokens' texts, by id */
    hy_status status = joiner_init(j, &t->counter[0].table, err);
    for (int i = 0; i < 256 && status == HY_OK; i++)
        status = word_table_add(&name, &(char){(char)i}, 1, 1, err);
    for (int32_t best; status == HY_OK && *n < wanted && (best = best_pair(j)) >= 0;) {
        if (!name_token(&name, &j->pair[best], &status, err) || status != HY_OK) continue;
        const int32_t made = (int32_t)(256 + *n);
        merge[(*n)++] = (hy__bpe_merge){j->pair[best].left, j->pair[best].right, made};
        join(j, best, made);
        if (j->failed) status = hy__no_memory(err, "training a tokenizer");
        if (t->opt.on_progress && *n % PROGRESS_EVERY == 0)
            t->opt.on_progress(t->opt.user, (double)*n / (double)wanted);
    }
    word_table_release(&name);
    return status;
}

hy_status hy__bpe_trainer_finish(hy__bpe_trainer *t, hy__tokenizer **out, hy_error *err) {
    *out = NULL;
    const int64_t wanted = t->opt.vocab - 256 - t->opt.n_special;
    HY_TRY(sum_up(t, err));
    if (t->counter[0].table.n == 0)
        return hy__fail(err, HY_E_INVALID, "there is no text to train a tokenizer on");
    joiner j = {0};
    int64_t n = 0;
    hy__bpe_merge *merge = malloc(((size_t)wanted + 1) * sizeof *merge);
    hy_status status = merge ? join_pairs(t, &j, merge, wanted, &n, err)
                             : hy__no_memory(err, "training a tokenizer");
    joiner_release(&j);
    if (status == HY_OK) status = make_tokenizer(out, &t->opt, merge, n, err);
    free(merge);
    return status;
}
