/* source.h: files and folders as blocks of text in a fixed order: where reading ends and what a
 * document is begins.
 *
 * A block is a stretch of one file that ends where text may be cut: of JSON lines behind a line; of
 * text behind a separator of documents or, without one, between two characters. Blocks are about a
 * mebibyte; a longer line is a block. */
#ifndef HY_DATA_SOURCE_H
#define HY_DATA_SOURCE_H

#include "base/status.h"

enum { HY__BLOCK = 1 << 20 /* bytes */, HY__LINE_MAX = 1 << 29 /* bytes of a JSON line */ };

typedef struct hy__block {
    const char *path; /* the source's */
    int64_t file;     /* number of the file, from 0 */
    bool named;       /* the file was given itself, not its folder */
    bool lines;       /* of JSON */
    bool first, last; /* of the file */
    bool goes_on;     /* its beginning belongs to the document of the block before */
    bool open;        /* its end belongs to the document of the block behind it */
    char *text;       /* [size], owned */
    size_t size, cap;
} hy__block;

void hy__block_release(hy__block *b);

/* The separator, of `len` bytes, that comes next in text … end; `end` when there is none, or len is
 * 0. Each search begins behind the last find, so that where separators overlap the first one
 * counts. */
const char *hy__separator_find(const char *text, const char *end, const char *separator,
                               size_t len);

typedef struct hy__source hy__source;

/* Of "DIR/PATTERN" the pattern, which stands for all files below DIR whose own names are like it
 * ("docs/?*.md"); NULL where there is none, or a file of the whole name. */
const char *hy__source_pattern(const char *path);

/* separator: what stands between the documents of a text file; "" = a file is one document. Both
 * are borrowed. HY_E_IO for a file that is missing or must not be read, HY_E_INVALID for a
 * device, for built data and for a pattern that no file is like. */
hy_status hy__source_open(hy__source **out, const char *const *path, int64_t n_path,
                          const char *separator, hy_error *err);
void hy__source_close(hy__source *s);

/* The next block into b, whose memory is used again; *more is false behind the last. */
hy_status hy__source_next(hy__source *s, hy__block *b, bool *more, hy_error *err);
/* The rest of that file is not wanted. */
void hy__source_skip(hy__source *s, int64_t file);

/* Bytes on the disk of all files, and of what was read. */
int64_t hy__source_size(const hy__source *s);
int64_t hy__source_taken(const hy__source *s);

#endif
