/* splitter.h: a text in pieces becomes added tokens and words, as the rules of a tokenizer.json
 * say:
 *
 *   bytes -> added tokens of the text as it stands -> normalization -> those of normalized text
 *         -> words, cut by expressions one after another
 *
 * Expressions see well-formed UTF-8 alone. A longest run of bytes that belong to no well-formed
 * character is a word by itself; what stands before it ends there and what follows begins anew, as
 * at the ends of a text. So every byte is in one word, and random bytes come back as they were. */
#ifndef HY_TEXT_SPLITTER_H
#define HY_TEXT_SPLITTER_H

#include "text/added.h"
#include "text/pattern.h"

enum { HY__RULES_STAGES = 8 };

/* One cut: at the matches of an expression, which are words as what stands between them is. */
typedef struct hy__stage {
    hy__pattern *pattern; /* owned */
    bool drop;            /* what stands between them is left out */
} hy__stage;

/* What does not change and many threads share. */
typedef struct hy__rules {
    hy__added *added[2]; /* owned, NULL = none: of the text as it stands, of normalized text */
    bool nfc;            /* normalization form C */
    bool prefix_space;   /* text that does not begin with a space gets one */
    hy__stage stage[HY__RULES_STAGES];
    int n_stage; /* 0: all text between added tokens is one word */
} hy__rules;

void hy__rules_release(hy__rules *r);

/* Where it goes. The bytes of a word last for the call. */
typedef struct hy__splitter_sink {
    hy_status (*word)(void *user, const char *word, size_t n, hy_error *err);
    hy_status (*token)(void *user, int32_t id, hy_error *err);
    void *user;
} hy__splitter_sink;

/* A text on its way; one thread's. */
typedef struct hy__splitter hy__splitter;

hy_status hy__splitter_new(hy__splitter **out, const hy__rules *rules,
                           const hy__splitter_sink *sink, hy_error *err);
void hy__splitter_free(hy__splitter *s);

/* Takes the next bytes, cut anywhere; `last` ends the text and the next bytes begin another. After
 * a failure they do so too. */
hy_status hy__splitter_feed(hy__splitter *s, const char *text, size_t n, bool last, hy_error *err);

#endif
