/* blob.h: one file of equal elements behind a checked header: a shard of tokens, or a table of
 * documents (docs/format.md, Data).
 *
 * Elements are written as they come and mapped for reading. A file may have no name: then it goes
 * with its descriptor. */
#ifndef HY_DATA_BLOB_H
#define HY_DATA_BLOB_H

#include "base/file.h"
#include "base/hash.h"

enum { HY__BLOB_HEADER = 128 /* bytes before the elements */, HY__BLOB_NAME = 32 };

typedef enum hy__blob_kind {
    HY__BLOB_TOKENS = 1,
    HY__BLOB_TRAIN = 2, /* documents of the training part: pairs start, len of 8 bytes each */
    HY__BLOB_VAL = 3,   /* those held out */
} hy__blob_kind;

/* What the header says. */
typedef struct hy__blob_head {
    hy__blob_kind kind;
    int width;          /* bytes of an element */
    int64_t number;     /* of the file among those of its kind, from 0 */
    int64_t first, n;   /* its elements among all of its kind */
    int64_t vocab;      /* of the tokenizer */
    uint64_t tokenizer; /* its fingerprint */
    uint64_t checksum;  /* of the elements */
} hy__blob_head;

/* The file's name in its folder: "tokens-00000.bin", "train.bin", "val.bin". */
void hy__blob_name(char name[HY__BLOB_NAME], hy__blob_kind kind, int64_t number);

/* ---- writing ---- */

typedef struct hy__blob_writer {
    hy__blob_head head; /* n counts on; checksum once finished */
    char *path;         /* NULL: without a name */
    int fd;
    int64_t size;          /* bytes written */
    unsigned char *buffer; /* of what was not written yet */
    size_t used;
    hy__hash hash; /* of the elements written */
} hy__blob_writer;

/* dir NULL: without a name. Ends with close, whatever happens in between. */
hy_status hy__blob_create(hy__blob_writer *w, const char *dir, const hy__blob_head *head,
                          hy_error *err);
hy_status hy__blob_append(hy__blob_writer *w, const void *element, int64_t n, hy_error *err);
/* Drops all elements; others may follow, and another finish. */
hy_status hy__blob_clear(hy__blob_writer *w, hy_error *err);
/* Writes the rest and the header; a file with a name is on the disk then. */
hy_status hy__blob_finish(hy__blob_writer *w, hy_error *err);
void hy__blob_close(hy__blob_writer *w); /* a zeroed one is fine */

/* ---- reading ---- */

typedef struct hy__blob {
    hy__blob_head head;
    char *path; /* for sentences */
    hy__map map;
    const void *element; /* [head.n] */
} hy__blob;

/* Maps a file and checks its header and size, not the checksum. HY_E_INVALID for one that is not
 * number `number` of its kind. */
hy_status hy__blob_open(hy__blob *b, const char *dir, hy__blob_kind kind, int64_t number,
                        hy_error *err);
/* The same of a finished writer, which may be closed then. */
hy_status hy__blob_open_written(hy__blob *b, const hy__blob_writer *w, hy_error *err);
/* Reads all of it: HY_E_INVALID when the elements are not those that were written. */
hy_status hy__blob_verify(const hy__blob *b, hy_error *err);
void hy__blob_release(hy__blob *b); /* a zeroed one is fine */

#endif
