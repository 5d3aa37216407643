/* emitter.c: see emitter.h. */
#include "infer/emitter.h"

#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

hy_status hy__emitter_init(hy__emitter *e, hy_text_fn fn, void *user, const char *const *stop,
                           int64_t n_stop, hy_error *err) {
    for (int64_t i = 0; i < n_stop; i++) {
        if (!stop[i][0]) {
            return hy__fail(err, HY_E_INVALID, "stop string %lld is empty, wanted some text",
                            (long long)i + 1);
        }
    }
    *e = (hy__emitter){.fn = fn, .user = user, .stop = stop, .n_stop = n_stop};
    return HY_OK;
}

void hy__emitter_release(hy__emitter *e) {
    free(e->text);
    *e = (hy__emitter){0};
}

static hy_status append(hy__emitter *e, const void *bytes, size_t n, hy_error *err) {
    if (e->size + n > e->cap) {
        const size_t cap = 2 * (e->size + n) + 64;
        char *grown = realloc(e->text, cap);
        if (!grown) return hy__no_memory(err, "the text");
        e->text = grown;
        e->cap = cap;
    }
    memcpy(e->text + e->size, bytes, n);
    e->size += n;
    return HY_OK;
}

static hy_status append_replacement(hy__emitter *e, hy_error *err) {
    return append(e, "\xEF\xBF\xBD", 3, err);
}

static hy_status put_byte(hy__emitter *e, unsigned char byte, hy_error *err) {
    if (e->n_part > 0 && !hy__utf8_continues(e->part[0], e->n_part, byte)) {
        e->n_part = 0;
        HY_TRY(append_replacement(e, err));
    }
    if (e->n_part == 0 && hy__utf8_length(byte) == 0) return append_replacement(e, err);
    e->part[e->n_part++] = byte;
    if (e->n_part < hy__utf8_length(e->part[0])) return HY_OK;
    e->n_part = 0;
    return append(e, e->part, hy__utf8_length(e->part[0]), err);
}

/* Passes on the first n bytes. */
static void pass(hy__emitter *e, size_t n) {
    if (n == 0) return;
    if (e->fn && !e->fn(e->user, e->text, n)) e->refused = true;
    memmove(e->text, e->text + n, e->size - n);
    e->size -= n;
}

/* Where the first stop string begins in the text, or size. */
static size_t find_stop(const hy__emitter *e) {
    for (size_t at = 0; at < e->size; at++) {
        for (int64_t i = 0; i < e->n_stop; i++) {
            const size_t n = strlen(e->stop[i]);
            if (n <= e->size - at && memcmp(e->text + at, e->stop[i], n) == 0) return at;
        }
    }
    return e->size;
}

/* Where the longest end of the text begins that a stop string could begin with, or size. */
static size_t find_held(const hy__emitter *e) {
    for (size_t at = 0; at < e->size; at++) {
        const size_t n = e->size - at;
        for (int64_t i = 0; i < e->n_stop; i++)
            if (strlen(e->stop[i]) > n && memcmp(e->text + at, e->stop[i], n) == 0) return at;
    }
    return e->size;
}

hy_status hy__emitter_put(hy__emitter *e, const char *bytes, size_t n, hy_error *err) {
    if (e->stopped || e->refused) return HY_OK;
    for (size_t i = 0; i < n; i++) HY_TRY(put_byte(e, (unsigned char)bytes[i], err));
    const size_t stop = find_stop(e);
    e->stopped = stop < e->size;
    pass(e, e->stopped ? stop : find_held(e));
    return HY_OK;
}

hy_status hy__emitter_end(hy__emitter *e, hy_error *err) {
    if (e->stopped || e->refused) return HY_OK;
    if (e->n_part > 0) {
        e->n_part = 0;
        HY_TRY(append_replacement(e, err));
    }
    pass(e, e->size);
    return HY_OK;
}
