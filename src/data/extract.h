/* extract.h: a block of text as tokenized documents. Blocks do not depend on one another here, so
 * that threads may share them. */
#ifndef HY_DATA_EXTRACT_H
#define HY_DATA_EXTRACT_H

#include "data/source.h"
#include "text/tokenizer.h"

/* A document, or of one that reaches beyond the block the stretch that stands in it. */
typedef struct hy__item {
    bool begins, ends; /* both: the whole document, which has its tokens and its hash here */
    const char *text;  /* otherwise: the bytes in the block */
    size_t size;       /* bytes of text */
    int64_t token, n;  /* tokens [token, token + n) of the extract */
    uint64_t hash;     /* of the bytes of text */
} hy__item;

typedef struct hy__extract {
    hy__item *item; /* [n_item] */
    int64_t n_item, item_cap;
    unsigned char *token; /* [n_token] of `width` bytes each */
    int64_t n_token, token_cap;
    int width;
    int64_t n_line;    /* ends of lines in the block */
    bool nul;          /* a NUL byte: the file is no text */
    size_t n_invalid;  /* bytes outside well-formed UTF-8 */
    int64_t n_bad;     /* broken lines of JSON */
    int64_t bad_line;  /* the first of them, from 0 in the block */
    char bad_why[200]; /* what is wrong with it */
} hy__extract;

/* Bytes that a token of such a vocabulary takes. */
int hy__token_width(int64_t vocab);
/* Each token in its `width` bytes, one after another. */
void hy__token_narrow(unsigned char *to, int width, const int32_t *token, int64_t n);

/* What the block holds; x, whose width is given, keeps its memory from call to call. The encoder
 * stands between two texts, before and after. Broken lines are counted and left out. */
hy_status hy__extract_block(hy__extract *x, const hy__block *b, hy__encoder *encoder,
                            const char *separator, hy_error *err);
void hy__extract_release(hy__extract *x);

#endif
