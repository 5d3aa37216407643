/* stream.c: see stream.h. */
#include "data/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

enum { INPUT = 1 << 17 /* bytes that are read at a time */ };

typedef enum packing { PLAIN, GZIP, ZSTD } packing;

struct hy__stream {
    const char *path;
    int fd;
    packing packing;
    bool ended;  /* nothing is left in the file */
    bool within; /* a member of gzip or a frame of zstd has begun and not ended */
    int64_t taken;
    unsigned char *input; /* read and not yet decompressed: [at, end) */
    size_t at, end;
    z_stream z;
    ZSTD_DStream *zstd;
};

static packing packing_of(const char *path) {
    const size_t n = strlen(path);
    if (n > 3 && strcmp(path + n - 3, ".gz") == 0) return GZIP;
    if (n > 4 && strcmp(path + n - 4, ".zst") == 0) return ZSTD;
    return PLAIN;
}

size_t hy__stream_plain_name(const char *path) {
    static const size_t ending[] = {[PLAIN] = 0, [GZIP] = 3, [ZSTD] = 4};
    return strlen(path) - ending[packing_of(path)];
}

static hy_status cannot(const char *verb, const char *path, hy_error *err) {
    return hy__fail(err, HY_E_IO, "cannot %s %.400s: %s", verb, path, strerror(errno));
}

/* Windows of any length (`zstd --long=31`); by itself the library refuses those above 128 MiB. */
static bool begin_zstd(hy__stream *s) {
    const ZSTD_bounds window = ZSTD_dParam_getBounds(ZSTD_d_windowLogMax);
    s->zstd = ZSTD_createDStream();
    return s->zstd && !ZSTD_isError(window.error) &&
           !ZSTD_isError(ZSTD_DCtx_setParameter(s->zstd, ZSTD_d_windowLogMax, window.upperBound));
}

hy_status hy__stream_open(hy__stream **out, const char *path, hy_error *err) {
    struct stat st;
    *out = NULL;
    hy__stream *s = calloc(1, sizeof *s);
    hy_status status = HY_OK;
    if (!s) return hy__no_memory(err, "reading %.400s", path);
    s->path = path;
    s->packing = packing_of(path);
    s->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (s->fd < 0 || fstat(s->fd, &st) != 0) {
        status = cannot("open", path, err);
    } else if (S_ISDIR(st.st_mode)) {
        status = hy__fail(err, HY_E_INVALID, "%.400s is a folder, but must be a file", path);
    } else if (s->packing != PLAIN) {
        s->input = malloc(INPUT);
        /* 15 + 16: the largest window, and gzip's head alone */
        const bool ready =
            s->input && (s->packing == GZIP ? inflateInit2(&s->z, 15 + 16) == Z_OK : begin_zstd(s));
        if (!ready) status = hy__no_memory(err, "decompressing %.400s", path);
    }
    if (status == HY_OK)
        *out = s;
    else
        hy__stream_close(s);
    return status;
}

void hy__stream_close(hy__stream *s) {
    if (!s) return;
    if (s->fd >= 0) close(s->fd);
    if (s->packing == GZIP) inflateEnd(&s->z);
    ZSTD_freeDStream(s->zstd);
    free(s->input);
    free(s);
}

int64_t hy__stream_taken(const hy__stream *s) {
    return s->taken;
}

/* Some bytes of the file as it is; none at its end. */
static hy_status take(hy__stream *s, void *buf, size_t cap, size_t *n, hy_error *err) {
    ssize_t got;
    do got = read(s->fd, buf, cap);
    while (got < 0 && errno == EINTR);
    *n = got > 0 ? (size_t)got : 0;
    s->taken += (int64_t)*n;
    s->ended = got == 0;
    return got < 0 ? cannot("read", s->path, err) : HY_OK;
}

static hy_status damaged(const hy__stream *s, const char *why, hy_error *err) {
    return hy__fail(err, HY_E_INVALID, "%.400s is not whole %s data: %s near byte %lld", s->path,
                    s->packing == GZIP ? "gzip" : "zstd", why,
                    (long long)(s->taken - (int64_t)(s->end - s->at)));
}

/* Decompresses from the input into buf, some at least where the input is not used up; the members
 * of one file follow one another. */
static hy_status inflate_some(hy__stream *s, char *buf, size_t cap, size_t *n, hy_error *err) {
    s->z.next_in = s->input + s->at;
    s->z.avail_in = (uInt)(s->end - s->at);
    s->z.next_out = (unsigned char *)buf;
    s->z.avail_out = (uInt)(cap < 1u << 30 ? cap : 1u << 30);
    const uInt room = s->z.avail_out;
    const int got = inflate(&s->z, Z_NO_FLUSH);
    s->at = s->end - s->z.avail_in;
    *n = room - s->z.avail_out;
    s->within = got != Z_STREAM_END;
    if (got == Z_STREAM_END) inflateReset(&s->z);
    if (got == Z_OK || got == Z_STREAM_END || got == Z_BUF_ERROR) return HY_OK;
    return damaged(s, s->z.msg ? s->z.msg : "damage", err);
}

static hy_status unpack_some(hy__stream *s, char *buf, size_t cap, size_t *n, hy_error *err) {
    ZSTD_inBuffer in = {.src = s->input, .size = s->end, .pos = s->at};
    ZSTD_outBuffer out = {.dst = buf, .size = cap};
    const size_t got = ZSTD_decompressStream(s->zstd, &out, &in);
    s->at = in.pos;
    *n = out.pos;
    if (ZSTD_getErrorCode(got) == ZSTD_error_memory_allocation)
        return hy__no_memory(err, "decompressing %.400s", s->path);
    if (ZSTD_isError(got)) return damaged(s, ZSTD_getErrorName(got), err);
    s->within = got != 0;
    return HY_OK;
}

hy_status hy__stream_read(hy__stream *s, char *buf, size_t cap, size_t *n, hy_error *err) {
    *n = 0;
    while (*n < cap) {
        size_t some = 0;
        if (s->packing == PLAIN) {
            HY_TRY(take(s, buf + *n, cap - *n, &some, err));
            if (s->ended) return HY_OK;
            *n += some;
            continue;
        }
        if (s->at == s->end && !s->ended) {
            s->at = 0;
            HY_TRY(take(s, s->input, INPUT, &s->end, err));
            if (s->taken == 0) return damaged(s, "it is empty", err);
        }
        /* even without input something may be left inside */
        if (s->at == s->end && !s->within) return HY_OK;
        HY_TRY(s->packing == GZIP ? inflate_some(s, buf + *n, cap - *n, &some, err)
                                  : unpack_some(s, buf + *n, cap - *n, &some, err));
        *n += some;
        if (some == 0 && s->ended && s->within) return damaged(s, "it ends too early", err);
    }
    return HY_OK;
}
