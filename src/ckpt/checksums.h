/* checksums.h: whether a directory still holds what was written.
 *
 * DIR/checksums.json maps the name of each file of a checkpoint to the hash (base/hash.h) of its
 * bytes, as 16 hex digits. It changes in one moment with the files that it speaks of. */
#ifndef HY_CKPT_CHECKSUMS_H
#define HY_CKPT_CHECKSUMS_H

#include "ckpt/fileset.h"

#define HY__CHECKSUMS "checksums.json"

/* Puts checksums.json, of all files put before it: so it is put last. */
hy_status hy__checksums_put(hy__fileset *set, hy_error *err);

/* Reads every file that DIR/checksums.json names. HY_E_IO or HY_E_INVALID with the first that is
 * not as it was written, or when there is no list, or an empty one. */
hy_status hy__checksums_check(const char *dir, hy_error *err);

#endif
