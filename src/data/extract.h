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

/* A file as far as its blocks were extracted. */
typedef struct hy__file_seen {
    int64_t number;         /* the source's; -1 = none yet */
    int64_t n_byte;         /* of text */
    size_t n_invalid;       /* bytes outside UTF-8 */
    int64_t n_line, n_seen; /* ends of lines before the block, and with it */
} hy__file_seen;

/* The file of a block goes on with it, or begins. */
void hy__file_see(hy__file_seen *f, const hy__block *b, const hy__extract *x);
/* Why the file cannot be used as text, as far as it is known, or NULL. */
const char *hy__file_unusable(const hy__file_seen *f, const hy__block *b, const hy__extract *x);
/* HY_E_INVALID with the sentence that such a file is no data. */
hy_status hy__file_refuse(const hy__block *b, const char *why, hy_error *err);
/* HY_E_INVALID with file and line of the block's first broken line, unless there is none. */
hy_status hy__file_check_lines(const hy__file_seen *f, const hy__block *b, const hy__extract *x,
                               hy_error *err);

#endif
