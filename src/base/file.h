/* file.h: files as wholes: reading, mapping, replacing, listing.
 *
 * Every failure is a sentence with the path and the system's reason. */
#ifndef HY_BASE_FILE_H
#define HY_BASE_FILE_H

#include "base/hash.h"
#include "base/status.h"

#include <stdbool.h>

/* Reads the whole file; *data (the caller's to free) has a NUL after its *size bytes. Works for
 * pipes too. HY_E_INVALID beyond `limit` bytes or for a folder. */
hy_status hy__file_read(const char *path, size_t limit, char **data, size_t *size, hy_error *err);

/* HY_E_INVALID when the path is a device: reading it may never end. */
hy_status hy__file_check_ends(const char *path, hy_error *err);

/* A file mapped for reading. An empty file has size 0 and data NULL. */
typedef struct hy__map {
    const unsigned char *data;
    size_t size; /* bytes */
} hy__map;

hy_status hy__file_map(hy__map *map, const char *path, hy_error *err);
/* Of an open file; `name` is for sentences. */
hy_status hy__file_map_open(hy__map *map, int fd, const char *name, hy_error *err);
void hy__file_unmap(hy__map *map); /* a zeroed map is fine */
/* Bytes of a mapping that have been read and are not needed for now: their pages leave the
 * process's resident memory. Reading them again is fine. The page that the last byte lies in may
 * stay. */
void hy__map_release(const void *data, size_t size);
/* Bytes of a mapping that are used soon: the system begins to read them, and nothing around them,
 * as it would where they are first touched. */
void hy__map_prefetch(const void *data, size_t size);

/* Replaces a file at once or not at all: writes to a temporary beside it; commit flushes it to the
 * disk and renames it over `path`. A link stands for the file that it leads to. What is neither a
 * file nor a folder (a device, a pipe) is written to as it stands. Exactly one of commit and abort
 * ends an open writer. */
typedef struct hy__writer {
    char *path;
    char *temporary; /* NULL for a device or a pipe */
    int fd;
    hy__hash *hash; /* takes in what is written; NULL after open, the caller's to set */
} hy__writer;

hy_status hy__writer_open(hy__writer *w, const char *path, hy_error *err);
/* After a failure only abort may follow. */
hy_status hy__writer_write(hy__writer *w, const void *data, size_t size, hy_error *err);
hy_status hy__writer_commit(hy__writer *w, hy_error *err);
void hy__writer_abort(hy__writer *w);

/* What a command writes takes the place of nothing, of an empty file or of its like, never of what
 * else has a name by mistake. HY_E_INVALID where the file at `path` lacks `text` at byte `at`, by
 * which a `what` ("HTML page") is known; HY_E_IO where no file can be written. So a long work need
 * not be done to learn that. Devices and pipes are fine. */
hy_status hy__file_check_place(const char *path, const char *what, size_t at, const char *text,
                               hy_error *err);

/* A new empty file without a name, in $TMPDIR or /tmp: it goes with its last descriptor. */
hy_status hy__file_nameless(int *fd, hy_error *err);

/* All of it in one call. */
hy_status hy__file_write(const char *path, const void *data, size_t size, hy_error *err);

/* Makes renames and removals in the folder last: its entries are data of its own. */
hy_status hy__dir_sync(const char *dir, hy_error *err);

/* Whether there is a folder of that name. */
bool hy__path_is_dir(const char *path);

/* Makes the folder and those above it; one that exists is fine. *had, which may be NULL: the bytes
 * of `path` that name a folder that was there before. A failure leaves nothing that it made. */
hy_status hy__dir_make(const char *path, size_t *had, hy_error *err);
/* Removes the folders of `path` behind those bytes, the deepest first, while they are empty. */
void hy__dir_unmake(const char *path, size_t had);

/* Regular files below a folder, sorted by path in byte order. Names that begin with a dot are
 * passed over, and links to folders are not followed. */
typedef struct hy__file_list {
    char **path; /* [n] */
    int64_t n;
} hy__file_list;

hy_status hy__dir_list(hy__file_list *list, const char *path, hy_error *err);
void hy__file_list_release(hy__file_list *list);

/* "dir/name", the caller's to free; NULL when memory is short. */
char *hy__path_join(const char *dir, const char *name);

/* What a path is called, to be shown: "configs/nano.yaml" and "runs/nano/" are nano. Cut to `size`
 * bytes; what is no UTF-8 becomes '?'. */
void hy__path_title(const char *path, char *out, size_t size);

#endif
