/* training_dir.c: see training_dir.h. */
#include "ckpt/training_dir.h"

#include "ckpt/checksums.h"
#include "ckpt/kept.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

bool hy__training_log_is_there(FILE *log) {
    struct stat st;
    return fstat(fileno(log), &st) == 0 && st.st_nlink > 0;
}

hy_status hy__training_lock(FILE **log, const char *dir, const char *name, hy_error *err) {
    char *path = hy__path_join(dir, name);
    *log = NULL;
    if (!path) return hy__no_memory(err, "a path");
    *log = fopen(path, "a+be");
    free(path);
    if (!*log)
        return hy__fail(err, HY_E_IO, "%s/%s could not be written: %s", dir, name, strerror(errno));
    const bool taken = flock(fileno(*log), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    /* the file of one that ended meanwhile without a line is gone: a lock on it locks nothing */
    if (!taken && hy__training_log_is_there(*log)) return HY_OK;
    fclose(*log);
    *log = NULL;
    return hy__fail(err, HY_E_IO, "another training is writing to %s", dir);
}

static hy_status holds(const char *dir, const char *name, bool *found, hy_error *err) {
    char *path;
    HY_TRY(hy__fileset_find(&path, dir, name, err));
    *found = path != NULL;
    free(path);
    return HY_OK;
}

/* *sign: what of a training is in DIR, or NULL. */
static hy_status find_sign(const char *dir, const char **sign, hy_error *err) {
    static const char *const names[] = {HY__TRAINING_LOG, HY__TRAINING_COUNTERS,
                                        HY__TRAINING_TENSORS, HY__CHECKSUMS};
    hy__kept older;
    bool found = false;
    for (size_t i = 0; !found && i < sizeof names / sizeof *names; i++) {
        *sign = names[i];
        HY_TRY(holds(dir, names[i], &found, err));
    }
    if (found) return HY_OK;
    HY_TRY(hy__kept_list(&older, dir, err));
    *sign = older.n > 0 ? "checkpoints" : NULL;
    hy__kept_release(&older);
    return HY_OK;
}

hy_status hy__training_refuse(const char *dir, hy_error *err) {
    const char *sign;
    FILE *log;
    HY_TRY(find_sign(dir, &sign, err));
    if (!sign) return HY_OK;
    if (strcmp(sign, HY__TRAINING_LOG) == 0) { /* whether it is running */
        HY_TRY(hy__training_lock(&log, dir, sign, err));
        fclose(log);
    }
    return hy__fail(err, HY_E_INVALID,
                    "%.400s holds a training (%s), which is not replaced by another model; choose "
                    "another directory",
                    dir, sign);
}
