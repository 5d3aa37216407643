/* emitter.h: from the bytes of tokens to pieces of text for the caller.
 *
 * Tokens end anywhere, also inside a character or a stop string. What is passed on is always whole,
 * valid UTF-8 (bytes that cannot become a character are replaced by U+FFFD, as decoders do), and
 * never any part of a stop string: what could still become one is held back. */
#ifndef HY_INFER_EMITTER_H
#define HY_INFER_EMITTER_H

#include "base/status.h"

typedef struct hy__emitter {
    hy_text_fn fn;
    void *user;
    const char *const *stop; /* borrowed */
    int64_t n_stop;
    char *text; /* owned: characters that are whole and not yet passed on */
    size_t size, cap;
    unsigned char part[4]; /* the open character */
    size_t n_part;
    bool stopped; /* a stop string came */
    bool refused; /* fn returned false */
} hy__emitter;

/* fn may be NULL. HY_E_INVALID for an empty stop string. */
hy_status hy__emitter_init(hy__emitter *e, hy_text_fn fn, void *user, const char *const *stop,
                           int64_t n_stop, hy_error *err);
void hy__emitter_release(hy__emitter *e);

/* Takes the bytes of one token and passes on what is certain. Nothing more is passed on once
 * `stopped` or `refused` is set. */
hy_status hy__emitter_put(hy__emitter *e, const char *bytes, size_t n, hy_error *err);

/* Passes on what was held back. */
hy_status hy__emitter_end(hy__emitter *e, hy_error *err);

#endif
