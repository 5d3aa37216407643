/* fileset.h: several files of one directory that are replaced together.
 *
 * One file is replaced by one rename (hy__writer). Several cannot be renamed in one step, so their
 * commit is a journal:
 *   1. each new file is written and synced as DIR/.hydra-new-NAME
 *   2. DIR/.hydra-commit, the list of what to rename and what to remove, appears by one rename:
 *      this is the moment of change
 *   3. the renames and removals are done, then the journal is removed
 * A kill before 2 leaves the old set whole. A kill after 2 leaves the new set whole: readers find
 * files through hy__fileset_find, which follows the journal, and the next writer finishes step 3.
 * Where nothing was killed the directory holds plain files and no trace of this.
 *
 * What a commit replaces may be kept: its names move to a folder of DIR, as links where the file
 * system has them, so that no byte is copied and DIR/NAME is never missing. */
#ifndef HY_CKPT_FILESET_H
#define HY_CKPT_FILESET_H

#include "base/file.h"

typedef struct hy__fileset hy__fileset;

/* Opens DIR (made if it is missing) for a replacement, and first finishes what a killed process had
 * committed and clears what it had only begun. One process at a time: HY_E_IO when another one is
 * at it. */
hy_status hy__fileset_open(hy__fileset **out, const char *dir, hy_error *err);
/* Opens a new file of the set; hy__writer_commit stages it. */
hy_status hy__fileset_put(hy__fileset *s, hy__writer *w, const char *name, hy_error *err);
/* All of it in one call. */
hy_status hy__fileset_write(hy__fileset *s, const char *name, const void *data, size_t size,
                            hy_error *err);
/* The file `from` of DIR, which is synced, has that name in the new set; discarded with it. */
hy_status hy__fileset_take(hy__fileset *s, const char *name, const char *from, hy_error *err);
/* The file of that name is not part of the new set; a missing one is fine. */
hy_status hy__fileset_remove(hy__fileset *s, const char *name, hy_error *err);
/* The commit moves what it replaces and removes to DIR/FOLDER ("a/b", of a-z, 0-9 and '-'); what
 * that folder held goes. */
hy_status hy__fileset_keep(hy__fileset *s, const char *folder, hy_error *err);
const char *hy__fileset_dir(const hy__fileset *s);
/* The i-th name of the set, and in *hash (NULL where it is removed) what was written. NULL behind
 * the last. */
const char *hy__fileset_at(const hy__fileset *s, size_t i, const hy__hash **hash);
/* True when `name` was put. */
bool hy__fileset_has(const hy__fileset *s, const char *name);
/* Makes all of it real at once; frees s whatever comes of it. */
hy_status hy__fileset_commit(hy__fileset *s, hy_error *err);
/* Leaves the directory as it was (one that was made for it goes) and frees s. NULL is fine. */
void hy__fileset_discard(hy__fileset *s);

/* Where NAME of DIR is to be read; the caller frees *path. NULL when there is no such file. */
hy_status hy__fileset_find(char **path, const char *dir, const char *name, hy_error *err);

/* A name of a file in the same directory: not empty, no slash, not "." or "..", no newline. */
bool hy__name_is_plain(const char *name);

#endif
