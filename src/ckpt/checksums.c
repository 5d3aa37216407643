/* checksums.c: see checksums.h. */
#include "ckpt/checksums.h"

#include "ckpt/fingerprint.h"
#include "ckpt/json_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

hy_status hy__checksums_put(hy__fileset *set, hy_error *err) {
    json_t *list = json_object();
    const hy__hash *hash;
    const char *name;
    bool whole = list != NULL;
    for (size_t i = 0; whole && (name = hy__fileset_at(set, i, &hash)); i++) {
        char hex[HY__FINGERPRINT];
        if (!hash || strcmp(name, HY__CHECKSUMS) == 0) continue;
        hy__hash_print(hex, hash);
        whole = json_object_set_new(list, name, json_string(hex)) == 0;
    }
    const hy_status status =
        whole ? hy__json_put(set, HY__CHECKSUMS, list, err) : hy__no_memory(err, HY__CHECKSUMS);
    json_decref(list);
    return status;
}

/* By reading, not mapping: a sector that the disk cannot read is a failure, not a signal. */
static hy_status hash_file(hy__hash *hash, const char *path, unsigned char *piece, hy_error *err) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : 0;
    hy__hash_init(hash);
    while (fd >= 0 && ((n = read(fd, piece, HY__HASH_PIECE)) > 0 || (n < 0 && errno == EINTR)))
        if (n > 0) hy__hash_add(hash, piece, (size_t)n);
    const hy_status status =
        n < 0 ? hy__fail(err, HY_E_IO, "cannot read %.400s: %s", path, strerror(errno)) : HY_OK;
    if (fd >= 0) close(fd);
    return status;
}

static hy_status no_list(const char *dir, hy_error *err) {
    return hy__fail(err, HY_E_INVALID, "%.400s/" HY__CHECKSUMS " is no list of checksums", dir);
}

static hy_status check_file(const char *dir, const char *name, const char *want,
                            unsigned char *piece, hy_error *err) {
    hy__hash hash;
    char got[HY__FINGERPRINT], *path;
    if (!want || !hy__name_is_plain(name)) return no_list(dir, err);
    HY_TRY(hy__fileset_find(&path, dir, name, err));
    if (!path) return hy__fail(err, HY_E_IO, "%.400s/%s is missing", dir, name);
    hy_status status = hash_file(&hash, path, piece, err);
    hy__hash_print(got, &hash);
    if (status == HY_OK && strcmp(got, want) != 0)
        status =
            hy__fail(err, HY_E_INVALID, "%.400s has the checksum %s, but %.32s when it was written",
                     path, got, want);
    free(path);
    return status;
}

hy_status hy__checksums_check(const char *dir, hy_error *err) {
    json_t *list, *want;
    const char *name;
    unsigned char *piece = malloc(HY__HASH_PIECE);
    if (!piece) return hy__no_memory(err, "reading %.400s", dir);
    hy_status status = hy__json_read(&list, dir, HY__CHECKSUMS, err);
    if (status == HY_OK) {
        if (json_object_size(list) == 0) status = no_list(dir, err);
        json_object_foreach(list, name, want) {
            status = check_file(dir, name, json_string_value(want), piece, err);
            if (status != HY_OK) break;
        }
        json_decref(list);
    }
    free(piece);
    return status;
}
