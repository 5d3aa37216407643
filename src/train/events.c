/* events.c: see events.h. */
#include "train/events.h"

#include "base/crc32c.h"
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LIST_DEPTH = 2, TAG_MAX = 128 };

/* Bytes that grow; `failed`: memory was short. */
typedef struct bytes {
    unsigned char *data;
    size_t size, capacity;
    bool failed;
} bytes;

struct hy__events {
    char *dir, *path;
    char *hidden; /* path until the file is settled */
    bool waits;   /* for that */
    FILE *file;
    int64_t last;                /* step that was added; or what a run before this one may have */
    bytes event, summary, value; /* kept between events */
};

/* ---- bytes and protocol buffers ---- */

static void put(bytes *b, const void *data, size_t size) {
    if (b->failed) return;
    if (b->capacity - b->size < size) {
        const size_t capacity = 2 * b->capacity + size + 256;
        unsigned char *grown = realloc(b->data, capacity);
        b->failed = !grown;
        if (b->failed) return;
        b->data = grown;
        b->capacity = capacity;
    }
    if (size > 0) memcpy(b->data + b->size, data, size);
    b->size += size;
}

/* The lowest `n` bytes of x, the lowest first. */
static void put_little(bytes *b, uint64_t x, int n) {
    unsigned char part[8];
    for (int i = 0; i < n; i++) part[i] = (unsigned char)(x >> 8 * i);
    put(b, part, (size_t)n);
}

static void put_varint(bytes *b, uint64_t x) {
    for (; x > 127; x >>= 7) put_little(b, x | 128, 1);
    put_little(b, x, 1);
}

enum { VARINT = 0, EIGHT = 1, SIZED = 2, FOUR = 5 }; /* wire types */

static void put_key(bytes *b, int field, int wire) {
    put_varint(b, (uint64_t)(field << 3 | wire));
}

static void put_sized(bytes *b, int field, const void *data, size_t size) {
    put_key(b, field, SIZED);
    put_varint(b, size);
    put(b, data, size);
}

/* ---- records ---- */

static hy_status cannot_write(const hy__events *e, hy_error *err) {
    return hy__fail(err, HY_E_IO, "%s could not be written: %s", e->waits ? e->hidden : e->path,
                    strerror(errno));
}

static uint32_t masked(const void *data, size_t size) {
    const uint32_t crc = hy__crc32c(0, data, size);
    return ((crc >> 15) | (crc << 17)) + UINT32_C(0xa282ead8);
}

/* Writes e->event as one record. */
static hy_status write_event(hy__events *e, hy_error *err) {
    bytes around = {0};
    put_little(&around, e->event.size, 8);
    if (!around.failed) put_little(&around, masked(around.data, 8), 4);
    if (!e->event.failed) put_little(&around, masked(e->event.data, e->event.size), 4);
    if (around.failed || e->event.failed || e->summary.failed || e->value.failed) {
        free(around.data);
        return hy__no_memory(err, "TensorBoard's events");
    }
    const bool written = fwrite(around.data, 12, 1, e->file) == 1 &&
                         fwrite(e->event.data, e->event.size, 1, e->file) == 1 &&
                         fwrite(around.data + 12, 4, 1, e->file) == 1 && fflush(e->file) == 0;
    free(around.data);
    return written ? HY_OK : cannot_write(e, err);
}

static void begin_event(hy__events *e, int64_t step) {
    struct timespec now;
    uint64_t bits;
    clock_gettime(CLOCK_REALTIME, &now);
    const double wall = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    memcpy(&bits, &wall, sizeof bits);
    e->event.size = 0;
    put_key(&e->event, 1, EIGHT);
    put_little(&e->event, bits, 8);
    put_key(&e->event, 2, VARINT);
    put_varint(&e->event, (uint64_t)step);
}

/* ---- files ---- */

#define PREFIX "events.out.tfevents."

/* Those in the folder itself: folders in it are somebody else's. */
static hy_status remove_others(const char *dir, hy_error *err) {
    DIR *d = opendir(dir);
    if (!d) return hy__fail(err, HY_E_IO, "cannot list %.400s: %s", dir, strerror(errno));
    for (const struct dirent *e; (e = readdir(d));)
        if (strncmp(e->d_name, PREFIX, strlen(PREFIX)) == 0) unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
    return HY_OK;
}

#define HIDDEN ".new" /* of a run that replaces another: no file of TensorBoard's */

static hy_status open_hidden(hy__events *e, hy_error *err) {
    e->waits = true;
    e->file = fopen(e->hidden, "wb");
    return e->file ? HY_OK : cannot_write(e, err);
}

/* DIR/events.out.tfevents.SECONDS.HOST.PID.N with the first N that is free. */
static hy_status open_new(hy__events *e, hy_error *err) {
    char host[65] = "", name[160];
    if (gethostname(host, sizeof host - 1) != 0 || strchr(host, '/') || !*host)
        snprintf(host, sizeof host, "localhost");
    for (int n = 0; n < 1000; n++) {
        snprintf(name, sizeof name, PREFIX "%010lld.%s.%ld.%d", (long long)time(NULL), host,
                 (long)getpid(), n);
        free(e->path);
        e->path = hy__path_join(e->dir, name);
        if (!e->path) return hy__no_memory(err, "a path");
        e->file = fopen(e->path, "wbx");
        if (e->file) return HY_OK;
        if (errno != EEXIST) break;
    }
    return cannot_write(e, err);
}

static hy_status begin_file(hy__events *e, hy__events_way way, hy_error *err) {
    static const char version[] = "brain.Event:2";
    HY_TRY(hy__dir_make(e->dir, NULL, err));
    unlink(e->hidden); /* of a run that was killed */
    if (way == HY__EVENTS_BEGIN) HY_TRY(remove_others(e->dir, err));
    HY_TRY(way == HY__EVENTS_REPLACE ? open_hidden(e, err) : open_new(e, err));
    e->last = way == HY__EVENTS_GO_ON ? INT64_MAX : 0;
    begin_event(e, 0);
    put_sized(&e->event, 3, version, sizeof version - 1);
    return write_event(e, err);
}

hy_status hy__events_open(hy__events **out, const char *dir, hy__events_way way, hy_error *err) {
    hy__events *e = calloc(1, sizeof *e);
    if (e) e->dir = strdup(dir);
    if (e) e->hidden = hy__path_join(dir, HIDDEN);
    const hy_status status =
        e && e->dir && e->hidden ? begin_file(e, way, err) : hy__no_memory(err, "events");
    if (status != HY_OK) hy__events_close(e);
    *out = status == HY_OK ? e : NULL;
    return status;
}

hy_status hy__events_settle(hy__events *e, hy_error *err) {
    if (!e->waits) return HY_OK;
    FILE *file = e->file;
    hy_status status = remove_others(e->dir, err);
    if (status == HY_OK) status = open_new(e, err);
    if (status == HY_OK) fclose(e->file); /* the name is ours */
    e->file = file;
    if (status == HY_OK && rename(e->hidden, e->path) != 0) status = cannot_write(e, err);
    e->waits = status != HY_OK;
    return status;
}

void hy__events_close(hy__events *e) {
    if (!e) return;
    if (e->file) fclose(e->file);
    if (e->waits) unlink(e->hidden);
    free(e->hidden);
    free(e->dir);
    free(e->path);
    free(e->event.data);
    free(e->summary.data);
    free(e->value.data);
    free(e);
}

/* ---- numbers ---- */

/* Summary.value {tag = 1, simple_value = 2} */
static void add_number(hy__events *e, const char *tag, double x) {
    const float narrow = (float)x;
    uint32_t bits;
    memcpy(&bits, &narrow, sizeof bits);
    e->value.size = 0;
    put_sized(&e->value, 1, tag, strlen(tag));
    put_key(&e->value, 2, FOUR);
    put_little(&e->value, bits, 4);
    put_sized(&e->summary, 1, e->value.data, e->value.size);
}

/* How many lists stand in each other. */
static int depth_of(const json_t *x) {
    int depth = 0;
    for (; json_is_array(x); x = json_array_get(x, 0)) depth++;
    return depth;
}

static void add_all(hy__events *e, const char *tag, const json_t *x) {
    char name[TAG_MAX];
    const char *key;
    json_t *part;
    size_t i;
    if (json_is_number(x)) add_number(e, tag, json_number_value(x));
    if (json_is_array(x) && depth_of(x) <= LIST_DEPTH) {
        json_array_foreach(x, i, part) {
            snprintf(name, sizeof name, "%s/%zu", tag, i);
            add_all(e, name, part);
        }
    }
    if (!json_is_object(x)) return;
    json_object_foreach((json_t *)x, key, part) {
        if (strcmp(key, "step") == 0) continue;
        snprintf(name, sizeof name, "%s%s%s", tag, *tag ? "/" : "", key);
        add_all(e, name, part);
    }
}

hy_status hy__events_add(hy__events *e, int64_t step, const json_t *numbers, hy_error *err) {
    if (step <= e->last) {
        begin_event(e, step);
        put_sized(&e->event, 7, "\x08\x01", 2); /* SessionLog {status = 1: START} */
        HY_TRY(write_event(e, err));
    }
    e->last = step;
    e->summary.size = 0;
    add_all(e, "", numbers);
    begin_event(e, step);
    put_sized(&e->event, 5, e->summary.data, e->summary.size);
    return write_event(e, err);
}
