/* kept.c: see kept.h. */
#include "ckpt/kept.h"

#include "base/file.h"
#include "ckpt/checksums.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FOLDER "checkpoints"
#define PREFIX "step-"

void hy__kept_name(char name[HY__KEPT_NAME], int64_t step) {
    snprintf(name, HY__KEPT_NAME, FOLDER "/" PREFIX "%" PRId64, step);
}

/* The step of a folder's name, or −1. */
static int64_t parse_step(const char *name) {
    const char *digits = name + strlen(PREFIX);
    if (strncmp(name, PREFIX, strlen(PREFIX)) != 0) return -1;
    const size_t n = strlen(digits);
    if (n == 0 || n > 15 || strspn(digits, "0123456789") != n) return -1;
    return strtoll(digits, NULL, 10);
}

static int by_falling_step(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

static bool append(hy__kept *list, int64_t step) {
    int64_t *grown = realloc(list->step, (size_t)(list->n + 1) * sizeof *grown);
    if (!grown) return false;
    list->step = grown;
    list->step[list->n++] = step;
    return true;
}

hy_status hy__kept_list(hy__kept *list, const char *dir, hy_error *err) {
    *list = (hy__kept){0};
    char *path = hy__path_join(dir, FOLDER);
    if (!path) return hy__no_memory(err, "listing %.400s", dir);
    DIR *d = opendir(path);
    hy_status status = HY_OK;
    if (!d && errno != ENOENT && errno != ENOTDIR)
        status = hy__fail(err, HY_E_IO, "cannot list the folder %.400s: %s", path, strerror(errno));
    for (struct dirent *entry; d && status == HY_OK && (entry = readdir(d));) {
        const int64_t step = parse_step(entry->d_name);
        if (step >= 0 && !append(list, step)) status = hy__no_memory(err, "listing %.400s", path);
    }
    if (d) closedir(d);
    free(path);
    if (status != HY_OK)
        hy__kept_release(list);
    else if (list->n > 0)
        qsort(list->step, (size_t)list->n, sizeof *list->step, by_falling_step);
    return status;
}

void hy__kept_release(hy__kept *list) {
    free(list->step);
    *list = (hy__kept){0};
}

/* The list of checksums goes first: what lacks it is no checkpoint. Then all else that is no
 * folder, links that lead nowhere, too. */
static void empty_folder(const char *path) {
    DIR *d = opendir(path);
    if (!d) return;
    unlinkat(dirfd(d), HY__CHECKSUMS, 0);
    for (struct dirent *entry; (entry = readdir(d));) unlinkat(dirfd(d), entry->d_name, 0);
    closedir(d);
}

static hy_status remove_one(const char *dir, int64_t step, hy_error *err) {
    char name[HY__KEPT_NAME];
    hy__kept_name(name, step);
    char *path = hy__path_join(dir, name);
    if (!path) return hy__no_memory(err, "removing %s", name);
    empty_folder(path);
    const hy_status status =
        rmdir(path) == 0
            ? HY_OK
            : hy__fail(err, HY_E_IO, "cannot remove the folder %.400s: %s", path, strerror(errno));
    free(path);
    return status;
}

hy_status hy__kept_prune(const char *dir, int64_t newest, int64_t n, hy_error *err) {
    hy__kept list;
    HY_TRY(hy__kept_list(&list, dir, err));
    hy_status status = HY_OK;
    for (int64_t i = 0; i < list.n && status == HY_OK; i++)
        if (list.step[i] > newest || n-- <= 0) status = remove_one(dir, list.step[i], err);
    if (status == HY_OK && list.n > 0) {
        char *path = hy__path_join(dir, FOLDER);
        if (path) rmdir(path); /* when it is empty */
        free(path);
    }
    hy__kept_release(&list);
    return status;
}
