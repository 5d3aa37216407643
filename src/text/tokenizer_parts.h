/* tokenizer_parts.h: what a tokenizer is made of; for src/text alone. */
#ifndef HY_TEXT_TOKENIZER_PARTS_H
#define HY_TEXT_TOKENIZER_PARTS_H

#include "text/bpe.h"
#include "text/splitter.h"
#include "text/tokenizer.h"

enum {
    HY__TOKENIZER_FILE_BYTES = 256 << 20,
    HY__TOKENIZER_IDS = 1 << 24, /* ids are below */
};

struct hy__tokenizer {
    int64_t vocab;   /* largest id, plus 1 */
    char *text;      /* tokens' bytes, one behind another; owned */
    size_t *start;   /* [vocab + 1] of each in text; an id that is no token has none; owned */
    bool *special;   /* [vocab], owned */
    hy__rules rules; /* how text becomes words */
    hy__bpe bpe;     /* how words become tokens */
    bool bytes;      /* nothing is joined or found: ids are bytes */
    char *json;      /* its tokenizer.json, owned */
    int32_t eos;     /* the token that ends a text, -1 = none */
    hy__tokenizer_facts facts;
};

/* A vocabulary to write: of the 256 bytes, in their order, then one token for each merge, then the
 * special ones. */
typedef struct hy__bpe_recipe {
    const char *pattern;        /* "gpt2", "llama3"; NULL = text is not cut into words */
    const hy__bpe_merge *merge; /* [n_merge]: of ids in this order */
    int64_t n_merge;
    const char *const *special; /* [n_special] */
    int64_t n_special;
} hy__bpe_recipe;

/* The tokenizer.json of a recipe, the caller's to free; NULL without memory. */
char *hy__tokenizer_write(const hy__bpe_recipe *recipe);

/* The special token that by its name ends a text, or -1. */
int32_t hy__tokenizer_usual_eos(const hy__tokenizer *tok);
/* The tokenizer_config.json, the caller's to free; NULL without memory. */
char *hy__tokenizer_config(const hy__tokenizer *tok);

/* The tokenizer of a tokenizer.json; `name` is what messages call it. Keeps json, of `size` bytes
 * and a NUL, also when it fails. */
hy_status hy__tokenizer_parse(hy__tokenizer **out, char *json, size_t size, const char *name,
                              hy_error *err);

#endif
