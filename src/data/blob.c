/* blob.c: see blob.h. */
#include "data/blob.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char MAGIC[8] = "HYDATA\n\x1a"; /* a line break shows files that were sent as text */
enum { VERSION = 1, BYTE_ORDER_MARK = 0x01020304 };
enum { BUFFER = 1 << 18 /* bytes */, VERIFY_STEP = 1 << 24 /* bytes between two releases */ };

/* The header as it lies in the file, in the order of bytes of the machine that wrote it. */
typedef struct layout {
    char magic[8];
    uint32_t version, byte_order, kind, width;
    uint64_t number, first, n, vocab, tokenizer, checksum;
    unsigned char zero[48];
    uint64_t header; /* hash of what stands before it */
} layout;
_Static_assert(sizeof(layout) == HY__BLOB_HEADER, "the header has a fixed size");

static uint64_t hash_of(const void *data, size_t size) {
    hy__hash h;
    hy__hash_init(&h);
    hy__hash_add(&h, data, size);
    return hy__hash_value(&h);
}

void hy__blob_name(char name[HY__BLOB_NAME], hy__blob_kind kind, int64_t number) {
    if (kind == HY__BLOB_TOKENS)
        snprintf(name, HY__BLOB_NAME, "tokens-%05" PRId64 ".bin", number);
    else
        snprintf(name, HY__BLOB_NAME, "%s.bin", kind == HY__BLOB_TRAIN ? "train" : "val");
}

/* ---- writing ---- */

static const char *name_of(const hy__blob_writer *w) {
    return w->path ? w->path : "the temporary file of the data (in $TMPDIR or /tmp)";
}

static hy_status cannot_write(const hy__blob_writer *w, hy_error *err) {
    return hy__fail(err, HY_E_IO, "cannot write %.400s: %s", name_of(w), strerror(errno));
}

static hy_status put(const hy__blob_writer *w, const void *data, size_t size, int64_t at,
                     hy_error *err) {
    const char *p = data;
    while (size > 0) {
        const ssize_t n = pwrite(w->fd, p, size, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return cannot_write(w, err);
        p += n;
        at += n;
        size -= (size_t)n;
    }
    return HY_OK;
}

static hy_status flush(hy__blob_writer *w, hy_error *err) {
    hy__hash_add(&w->hash, w->buffer, w->used);
    HY_TRY(put(w, w->buffer, w->used, w->size, err));
    w->size += (int64_t)w->used;
    w->used = 0;
    return HY_OK;
}

hy_status hy__blob_create(hy__blob_writer *w, const char *dir, const hy__blob_head *head,
                          hy_error *err) {
    *w = (hy__blob_writer){.head = *head, .fd = -1, .buffer = malloc(BUFFER)};
    if (!w->buffer) return hy__no_memory(err, "writing data");
    if (dir) {
        char name[HY__BLOB_NAME];
        hy__blob_name(name, head->kind, head->number);
        w->path = hy__path_join(dir, name);
        if (!w->path) return hy__no_memory(err, "writing data");
        w->fd = open(w->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (w->fd < 0) return cannot_write(w, err);
    } else {
        HY_TRY(hy__file_nameless(&w->fd, err));
    }
    return hy__blob_clear(w, err);
}

hy_status hy__blob_append(hy__blob_writer *w, const void *element, int64_t n, hy_error *err) {
    const unsigned char *p = element;
    size_t size = (size_t)n * (size_t)w->head.width;
    w->head.n += n;
    while (size > 0) {
        const size_t room = BUFFER - w->used, some = size < room ? size : room;
        memcpy(w->buffer + w->used, p, some);
        w->used += some;
        p += some;
        size -= some;
        if (w->used == BUFFER) HY_TRY(flush(w, err));
    }
    return HY_OK;
}

hy_status hy__blob_clear(hy__blob_writer *w, hy_error *err) {
    hy__hash_init(&w->hash);
    w->head.n = 0;
    w->used = 0;
    w->size = HY__BLOB_HEADER;
    return ftruncate(w->fd, w->size) == 0 ? HY_OK : cannot_write(w, err);
}

hy_status hy__blob_finish(hy__blob_writer *w, hy_error *err) {
    HY_TRY(flush(w, err));
    hy__blob_head *h = &w->head;
    h->checksum = hy__hash_value(&w->hash);
    layout l = {.version = VERSION,
                .byte_order = BYTE_ORDER_MARK,
                .kind = h->kind,
                .width = (uint32_t)h->width,
                .number = (uint64_t)h->number,
                .first = (uint64_t)h->first,
                .n = (uint64_t)h->n,
                .vocab = (uint64_t)h->vocab,
                .tokenizer = h->tokenizer,
                .checksum = h->checksum};
    memcpy(l.magic, MAGIC, sizeof MAGIC);
    l.header = hash_of(&l, offsetof(layout, header));
    HY_TRY(put(w, &l, sizeof l, 0, err));
    return w->path && fsync(w->fd) != 0 ? cannot_write(w, err) : HY_OK;
}

void hy__blob_close(hy__blob_writer *w) {
    if (w->buffer && w->fd >= 0) close(w->fd);
    free(w->buffer);
    free(w->path);
    *w = (hy__blob_writer){.fd = -1};
}

/* ---- reading ---- */

/* Why a file that begins with these bytes is none of ours, or NULL. */
static const char *unreadable(const layout *l, size_t size) {
    if (size < sizeof *l || memcmp(l->magic, MAGIC, sizeof MAGIC) != 0)
        return "is not a file of hydralm data";
    if (l->byte_order != BYTE_ORDER_MARK)
        return "was written by a machine with another order of bytes";
    if (l->version != VERSION) return "has another version than 1, the one that is known here";
    if (l->header != hash_of(l, offsetof(layout, header))) return "has a damaged header";
    return NULL;
}

static hy_status check(hy__blob *b, hy__blob_kind kind, int64_t number, hy_error *err) {
    layout l = {.version = 0};
    if (b->map.size >= sizeof l) memcpy(&l, b->map.data, sizeof l);
    const char *why = unreadable(&l, b->map.size);
    if (why) return hy__fail(err, HY_E_INVALID, "%.400s %s", b->path, why);
    if (l.kind != kind || l.number != (uint64_t)number)
        return hy__fail(err, HY_E_INVALID, "%.400s is another file of the data than its name says",
                        b->path);
    const size_t rest = b->map.size - sizeof l;
    if (l.width == 0 || l.width > 16 || rest % l.width != 0 || rest / l.width != l.n) {
        return hy__fail(err, HY_E_INVALID,
                        "%.400s is cut short or damaged: it has %zu bytes, wanted %llu elements of "
                        "%u bytes behind a header of %d",
                        b->path, b->map.size, (unsigned long long)l.n, l.width, HY__BLOB_HEADER);
    }
    b->head = (hy__blob_head){.kind = kind,
                              .width = (int)l.width,
                              .number = number,
                              .first = (int64_t)l.first,
                              .n = (int64_t)l.n,
                              .vocab = (int64_t)l.vocab,
                              .tokenizer = l.tokenizer,
                              .checksum = l.checksum};
    b->element = b->map.data + sizeof l;
    return HY_OK;
}

hy_status hy__blob_open(hy__blob *b, const char *dir, hy__blob_kind kind, int64_t number,
                        hy_error *err) {
    char name[HY__BLOB_NAME];
    hy__blob_name(name, kind, number);
    *b = (hy__blob){.path = hy__path_join(dir, name)};
    if (!b->path) return hy__no_memory(err, "opening %.400s", dir);
    HY_TRY(hy__file_map(&b->map, b->path, err));
    return check(b, kind, number, err);
}

hy_status hy__blob_open_written(hy__blob *b, const hy__blob_writer *w, hy_error *err) {
    *b = (hy__blob){.path = strdup(name_of(w))};
    if (!b->path) return hy__no_memory(err, "opening the data");
    HY_TRY(hy__file_map_open(&b->map, w->fd, b->path, err));
    return check(b, w->head.kind, w->head.number, err);
}

hy_status hy__blob_verify(const hy__blob *b, hy_error *err) {
    const unsigned char *p = b->element;
    hy__hash h;
    hy__hash_init(&h);
    for (size_t left = (size_t)b->head.n * (size_t)b->head.width; left > 0;) {
        const size_t some = left < VERIFY_STEP ? left : VERIFY_STEP;
        hy__hash_add(&h, p, some);
        hy__map_release(p, some);
        p += some;
        left -= some;
    }
    if (hy__hash_value(&h) == b->head.checksum) return HY_OK;
    return hy__fail(err, HY_E_INVALID,
                    "%.400s is damaged: its content has the checksum %016llx, wanted %016llx",
                    b->path, (unsigned long long)hy__hash_value(&h),
                    (unsigned long long)b->head.checksum);
}

void hy__blob_release(hy__blob *b) {
    hy__file_unmap(&b->map);
    free(b->path);
    *b = (hy__blob){0};
}
