/* buffer.h: bytes of a stream that wait. */
#ifndef HY_TEXT_BUFFER_H
#define HY_TEXT_BUFFER_H

#include "base/status.h"

#include <stdlib.h>
#include <string.h>

typedef struct hy__buffer {
    char *data; /* owned */
    size_t size, cap;
} hy__buffer;

static inline hy_status hy__buffer_add(hy__buffer *b, const void *data, size_t n, hy_error *err) {
    if (n > b->cap - b->size) {
        const size_t cap = b->size + n + b->size / 2 + 256;
        char *grown =
            n < PTRDIFF_MAX / 4 && b->size < PTRDIFF_MAX / 4 ? realloc(b->data, cap) : NULL;
        if (!grown) return hy__no_memory(err, "%zu bytes of text", cap);
        b->data = grown;
        b->cap = cap;
    }
    if (n > 0) memcpy(b->data + b->size, data, n);
    b->size += n;
    return HY_OK;
}

/* Removes the first n bytes. */
static inline void hy__buffer_drop(hy__buffer *b, size_t n) {
    if (n > 0 && n < b->size) memmove(b->data, b->data + n, b->size - n);
    b->size -= n;
}

#endif
