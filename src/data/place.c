/* place.c: see place.h. */
#define _GNU_SOURCE /* renameat2 */
#include "data/place.h"
#include "data/corpus.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static hy_status cannot(const char *verb, const char *path, hy_error *err) {
    return hy__fail(err, HY_E_IO, "cannot %s %.400s: %s", verb, path, strerror(errno));
}

/* Whether a build writes files of that name, or left one when it was killed (hy__file_write). */
static bool is_ours(const char *name) {
    static const char *const known[] = {HY__CORPUS_INDEX, "train.bin", "val.bin", "tokenizer.json",
                                        "tokenizer_config.json"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const size_t n = strlen(known[i]);
        if (strncmp(name, known[i], n) == 0 && (!name[n] || strncmp(name + n, ".tmp-", 5) == 0))
            return true;
    }
    return strncmp(name, "tokens-", 7) == 0 &&
           strcmp(name + 7 + strspn(name + 7, "0123456789"), ".bin") == 0;
}

/* Calls fn for every entry of the folder until it returns false; false as well when the folder
 * cannot be listed. */
static bool each(const char *dir, bool (*fn)(const char *dir, const char *name, void *user),
                 void *user) {
    DIR *d = opendir(dir);
    bool go_on = d != NULL;
    const struct dirent *entry;
    while (go_on && (entry = readdir(d)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            go_on = fn(dir, entry->d_name, user);
    if (d) closedir(d);
    return go_on;
}

/* What a folder holds that stands in the way of a build: *user, a name. */
static bool none(const char *dir, const char *name, void *user) {
    (void)dir;
    snprintf(user, 256, "%.255s", name);
    return false;
}

static bool ours(const char *dir, const char *name, void *user) {
    return is_ours(name) || none(dir, name, user);
}

/* The folder may hold what a build wrote, or nothing at all. */
static hy_status check_held(const char *path, bool built, hy_error *err) {
    char other[256] = "";
    if (each(path, built ? ours : none, other)) return HY_OK;
    if (!other[0]) return cannot("list", path, err);
    return hy__fail(err, HY_E_INVALID, "%.400s holds other things (%s); choose another folder",
                    path, other);
}

static bool remove_file(const char *dir, const char *name, void *user) {
    (void)user;
    char *path = is_ours(name) ? hy__path_join(dir, name) : NULL;
    if (path) unlink(path);
    free(path);
    return true;
}

static void remove_all(const char *dir) {
    each(dir, remove_file, NULL);
    rmdir(dir);
}

/* What may be replaced: nothing, an empty folder, or by force one that a build made. */
static hy_status check_replaced(hy__place *p, bool force, hy_error *err) {
    struct stat st;
    if (lstat(p->dir, &st) != 0) return errno == ENOENT ? HY_OK : cannot("write", p->dir, err);
    p->exists = true;
    if (!S_ISDIR(st.st_mode))
        return hy__fail(err, HY_E_INVALID, "%.400s is a file or a link, but must be a folder",
                        p->dir);
    const bool built = hy__corpus_is_built(p->dir);
    HY_TRY(check_held(p->dir, built, err));
    if (!built || force) return HY_OK;
    return hy__fail(err, HY_E_INVALID,
                    "%.400s already holds built data; choose another folder, or --force to "
                    "replace it",
                    p->dir);
}

/* Whether `building` is still the name of the locked folder: the build that had it may have ended
 * since it was opened. */
static bool is_named(const hy__place *p) {
    struct stat locked, named;
    return fstat(p->lock, &locked) == 0 && lstat(p->building, &named) == 0 &&
           locked.st_ino == named.st_ino && locked.st_dev == named.st_dev;
}

static hy_status open_building(hy__place *p, hy_error *err) {
    do {
        if (p->lock >= 0) close(p->lock);
        HY_TRY(hy__dir_make(p->building, &p->had, err));
        p->lock = open(p->building, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (p->lock < 0 && errno == ENOENT) continue;
        if (p->lock < 0) return cannot("open", p->building, err);
        if (flock(p->lock, LOCK_EX | LOCK_NB) != 0)
            return errno == EWOULDBLOCK
                       ? hy__fail(err, HY_E_IO, "another build is writing to %.400s", p->dir)
                       : cannot("lock", p->building, err);
    } while (!is_named(p));
    HY_TRY(check_held(p->building, true, err));
    each(p->building, remove_file, NULL); /* of a build that was killed */
    return HY_OK;
}

static void remove_building(const hy__place *p) {
    each(p->building, remove_file, NULL);
    hy__dir_unmake(p->building, p->had);
    rmdir(p->building); /* also one that a killed build had left */
}

static void release(hy__place *p) {
    if (p->lock >= 0) close(p->lock);
    free(p->dir);
    free(p->building);
    *p = (hy__place){.lock = -1};
}

/* "", "." and ".." are folders, but no names that another could take. */
static bool has_name(const char *dir) {
    const char *slash = strrchr(dir, '/'), *name = slash ? slash + 1 : dir;
    return *name && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static hy_status open_place(hy__place *p, bool force, hy_error *err) {
    if (!has_name(p->dir))
        return hy__fail(err, HY_E_INVALID, "\"%.400s\" is not the name of a folder to make",
                        p->dir);
    HY_TRY(open_building(p, err));
    const hy_status status = check_replaced(p, force, err);
    if (status != HY_OK) remove_building(p);
    return status;
}

hy_status hy__place_open(hy__place *p, const char *dir, bool force, hy_error *err) {
    size_t n = strlen(dir);
    while (n > 1 && dir[n - 1] == '/') n--;
    *p = (hy__place){.lock = -1, .dir = strndup(dir, n), .building = malloc(n + 16)};
    hy_status status = HY_OK;
    if (!p->dir || !p->building) {
        status = hy__no_memory(err, "writing %.400s", dir);
    } else {
        snprintf(p->building, n + 16, "%s.building", p->dir);
        status = open_place(p, force, err);
    }
    if (status != HY_OK) release(p);
    return status;
}

static hy_status sync_parent(const hy__place *p, hy_error *err) {
    char *parent = strdup(p->dir);
    if (!parent) return hy__no_memory(err, "writing %.400s", p->dir);
    char *slash = strrchr(parent, '/');
    if (slash) slash[slash == parent] = '\0';
    const hy_status status = hy__dir_sync(slash ? parent : ".", err);
    free(parent);
    return status;
}

/* The two folders change their names in one moment. Then the old one goes, locked, as it has the
 * name that other builds take. *can: the file system is able to. */
static hy_status exchange(const hy__place *p, bool *can, hy_error *err) {
    const int old = open(p->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    hy_status status = HY_OK;
    if (old < 0 || flock(old, LOCK_EX) != 0) { /* the build that made it may be about to end */
        status = cannot("lock", p->dir, err);
    } else if (renameat2(AT_FDCWD, p->building, AT_FDCWD, p->dir, RENAME_EXCHANGE) == 0) {
        remove_all(p->building);
    } else {
        *can = errno != EINVAL && errno != ENOSYS;
        if (*can) status = cannot("replace", p->dir, err);
    }
    if (old >= 0) close(old);
    return status;
}

/* Without that, what is replaced is moved out of the way first: killed between the two renames, a
 * build leaves the old folder under another name. */
static hy_status move_away(const hy__place *p, hy_error *err) {
    char *old = malloc(strlen(p->dir) + 16);
    if (!old) return hy__no_memory(err, "writing %.400s", p->dir);
    sprintf(old, "%s.replaced", p->dir);
    hy_status status = HY_OK;
    remove_all(old);
    if (rename(p->dir, old) != 0) status = cannot("replace", p->dir, err);
    if (status == HY_OK && rename(p->building, p->dir) != 0) {
        status = cannot("make", p->dir, err);
        rename(old, p->dir);
    }
    if (status == HY_OK) remove_all(old);
    free(old);
    return status;
}

static hy_status change(const hy__place *p, hy_error *err) {
    bool can = true;
    if (!p->exists) return rename(p->building, p->dir) == 0 ? HY_OK : cannot("make", p->dir, err);
    HY_TRY(exchange(p, &can, err));
    return can ? HY_OK : move_away(p, err);
}

hy_status hy__place_commit(hy__place *p, hy_error *err) {
    hy_status status = hy__dir_sync(p->building, err);
    if (status == HY_OK) status = change(p, err);
    if (status != HY_OK) {
        hy__place_discard(p);
        return status;
    }
    status = sync_parent(p, err);
    release(p);
    return status;
}

void hy__place_discard(hy__place *p) {
    if (p->building) remove_building(p);
    release(p);
}
