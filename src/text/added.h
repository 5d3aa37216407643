/* added.h: tokens that are found in a text as they stand, before it is cut into words, as
 * "<|endoftext|>": the added_tokens of a tokenizer.json.
 *
 * From left to right the longest token at the first place where one begins. As in the reference, a
 * token may take the white space beside it (lstrip, rstrip), or count only where no letter or digit
 * touches it (single_word; otherwise it is passed over). */
#ifndef HY_TEXT_ADDED_H
#define HY_TEXT_ADDED_H

#include "text/buffer.h"

typedef struct hy__added_token {
    const char *text; /* read by hy__added_new alone */
    int32_t id;
    bool single_word, lstrip, rstrip;
} hy__added_token;

/* A set of them; it does not change once made and may serve many threads. */
typedef struct hy__added hy__added;

/* The tokens' texts are copied and must not be empty. */
hy_status hy__added_new(hy__added **out, const hy__added_token *token, int64_t n, hy_error *err);
void hy__added_free(hy__added *a);

/* Where a text in pieces goes. */
typedef struct hy__added_sink {
    /* Text without added tokens; `last`: what follows is no part of it (then n may be 0). */
    hy_status (*text)(void *user, const char *text, size_t n, bool last, hy_error *err);
    hy_status (*token)(void *user, int32_t id, hy_error *err);
    void *user;
} hy__added_sink;

/* A text on its way through. */
typedef struct hy__added_cut {
    const hy__added *added; /* borrowed; NULL or without tokens: all is text */
    hy__added_sink sink;
    hy__buffer buffer; /* from `start` or `at`, which is less, and a little before */
    size_t start;      /* in the buffer: text from here on has not been passed on */
    size_t at;         /* where the next token may begin */
    bool open;         /* text has been passed on that the sink does not know to be over */
} hy__added_cut;

/* Takes the next piece; `last` ends the text. */
hy_status hy__added_feed(hy__added_cut *c, const char *text, size_t n, bool last, hy_error *err);
/* Forgets what waits. */
void hy__added_reset(hy__added_cut *c);

#endif
