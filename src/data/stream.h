/* stream.h: a file's bytes from first to last, decompressed where its name ends in .gz or .zst. */
#ifndef HY_DATA_STREAM_H
#define HY_DATA_STREAM_H

#include "base/status.h"

typedef struct hy__stream hy__stream;

/* `path` must live as long as the stream. */
hy_status hy__stream_open(hy__stream **out, const char *path, hy_error *err);
/* Fills buf as far as the file goes: *n < cap only at its end. HY_E_INVALID for compressed data
 * that is damaged or cut short. */
hy_status hy__stream_read(hy__stream *s, char *buf, size_t cap, size_t *n, hy_error *err);
/* Bytes of the file, as it lies on the disk, that were read so far. */
int64_t hy__stream_taken(const hy__stream *s);
void hy__stream_close(hy__stream *s); /* NULL is fine */

/* The length of a path's name without the ending of a compression: "a.txt" of "a.txt.gz". */
size_t hy__stream_plain_name(const char *path);

#endif
