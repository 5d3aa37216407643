/* file.c: see file.h. */
#include "base/file.h"

#include "base/utf8.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* "cannot <verb> <path>: <the system's reason>" */
static hy_status fail_io(hy_error *err, const char *verb, const char *path) {
    const int reason = errno;
    return hy__fail(err, reason == ENOMEM ? HY_E_MEMORY : HY_E_IO, "cannot %s %.400s: %s", verb,
                    path, strerror(reason));
}

/* ---- reading ---- */

/* Opens for reading; refuses a folder. `flags`: O_NONBLOCK does not wait for a pipe's writer. */
static hy_status open_read(int *fd, struct stat *st, const char *path, int flags, hy_error *err) {
    *fd = open(path, O_RDONLY | O_CLOEXEC | flags);
    if (*fd < 0) return fail_io(err, "open", path);
    if (fstat(*fd, st) == 0 && !S_ISDIR(st->st_mode)) return HY_OK;
    const hy_status status =
        S_ISDIR(st->st_mode)
            ? hy__fail(err, HY_E_INVALID, "%.400s is a folder, but must be a file", path)
            : fail_io(err, "read", path);
    close(*fd);
    return status;
}

/* Reads to the end into a buffer that grows, so that it works without knowing the size. */
static hy_status read_all(int fd, const char *path, size_t limit, size_t guess, char **data,
                          size_t *size, hy_error *err) {
    size_t cap = guess < limit ? guess + 1 : limit + 1; /* one more than expected shows the end */
    if (cap < 4096) cap = 4096;
    char *buf = malloc(cap + 1);
    size_t n = 0;
    while (buf) {
        const ssize_t got = read(fd, buf + n, cap - n);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            free(buf);
            return fail_io(err, "read", path);
        }
        n += (size_t)got;
        if (n > limit) {
            free(buf);
            return hy__fail(err, HY_E_INVALID, "%.400s has more than %zu bytes, the most allowed",
                            path, limit);
        }
        if (got == 0) {
            buf[n] = '\0';
            *data = buf;
            *size = n;
            return HY_OK;
        }
        if (n < cap) continue;
        cap = cap > SIZE_MAX / 4 ? SIZE_MAX - 1 : cap * 2;
        char *grown = realloc(buf, cap + 1);
        if (!grown) free(buf);
        buf = grown;
    }
    return hy__no_memory(err, "%.400s", path);
}

hy_status hy__file_read(const char *path, size_t limit, char **data, size_t *size, hy_error *err) {
    int fd;
    struct stat st;
    HY_TRY(open_read(&fd, &st, path, 0, err));
    const size_t guess = S_ISREG(st.st_mode) && st.st_size > 0 ? (size_t)st.st_size : 0;
    const hy_status status = read_all(fd, path, limit, guess, data, size, err);
    close(fd);
    return status;
}

hy_status hy__file_check_ends(const char *path, hy_error *err) {
    struct stat st;
    if (stat(path, &st) != 0 || !(S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))) return HY_OK;
    return hy__fail(err, HY_E_INVALID, "%.400s is a device, but must be a file that ends", path);
}

hy_status hy__file_map_open(hy__map *map, int fd, const char *name, hy_error *err) {
    struct stat st;
    *map = (hy__map){0};
    if (fstat(fd, &st) != 0) return fail_io(err, "read", name);
    if (!S_ISREG(st.st_mode))
        return hy__fail(err, HY_E_INVALID, "%.400s is not a regular file", name);
    if (st.st_size == 0) return HY_OK;
    void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED) return fail_io(err, "map", name);
    *map = (hy__map){.data = data, .size = (size_t)st.st_size};
    return HY_OK;
}

hy_status hy__file_map(hy__map *map, const char *path, hy_error *err) {
    *map = (hy__map){0};
    int fd;
    struct stat st;
    HY_TRY(open_read(&fd, &st, path, O_NONBLOCK, err));
    const hy_status status = hy__file_map_open(map, fd, path, err);
    close(fd);
    return status;
}

void hy__file_unmap(hy__map *map) {
    if (map->data) munmap((void *)(uintptr_t)map->data, map->size);
    *map = (hy__map){0};
}

void hy__map_release(const void *data, size_t size) {
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = (uintptr_t)data;
    const uintptr_t from = begin / page * page, to = (begin + size) / page * page;
    /* advice: where it is not taken, the pages merely stay */
    if (to > from) (void)madvise((void *)from, to - from, MADV_DONTNEED);
}

void hy__map_prefetch(const void *data, size_t size) {
    /* Linux takes no more of one piece of advice than its read-ahead, 128 KB unless configured, or
     * the device's largest request (force_page_cache_ra, mm/readahead.c) */
    enum { TAKEN = 128 * 1024 };
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = (uintptr_t)data;
    const uintptr_t end = begin + size;
    for (uintptr_t at = begin / page * page; at < end; at += TAKEN)
        (void)madvise((void *)at, end - at < TAKEN ? end - at : TAKEN, MADV_WILLNEED);
}

/* ---- writing ---- */

static void writer_release(hy__writer *w) {
    free(w->path);
    free(w->temporary);
    *w = (hy__writer){.fd = -1};
}

/* The path of the file that `path` leads to, for links; NULL without memory. */
static char *follow_link(const char *path) {
    struct stat st;
    char *target = NULL;
    if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode)) target = realpath(path, NULL);
    return target ? target : strdup(path); /* a link to nothing is replaced itself */
}

static hy_status create_temporary(hy__writer *w, hy_error *err) {
    const size_t room = strlen(w->path) + 48;
    w->temporary = malloc(room);
    if (!w->temporary) return hy__no_memory(err, "%.400s", w->path);
    /* not mkstemp: its mode would have to be mended by the process's umask, which threads share */
    for (int i = 0; w->fd < 0 && i < 1000; i++) {
        snprintf(w->temporary, room, "%s.tmp-%ld-%d", w->path, (long)getpid(), i);
        w->fd = open(w->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (w->fd < 0 && errno != EEXIST) break;
    }
    return w->fd >= 0 ? HY_OK : fail_io(err, "create a temporary file for", w->path);
}

hy_status hy__writer_open(hy__writer *w, const char *path, hy_error *err) {
    struct stat st;
    hy_status status;
    *w = (hy__writer){.fd = -1, .path = follow_link(path)};
    if (!w->path) return hy__no_memory(err, "%.400s", path);
    if (stat(w->path, &st) != 0 || S_ISREG(st.st_mode)) {
        status = create_temporary(w, err);
    } else if (S_ISDIR(st.st_mode)) {
        status = hy__fail(err, HY_E_INVALID, "%.400s is a folder, but must be a file", path);
    } else {
        w->fd = open(w->path, O_WRONLY | O_CLOEXEC);
        status = w->fd < 0 ? fail_io(err, "open", path) : HY_OK;
    }
    if (status != HY_OK) writer_release(w);
    return status;
}

hy_status hy__writer_write(hy__writer *w, const void *data, size_t size, hy_error *err) {
    const char *p = data;
    if (w->hash) hy__hash_add(w->hash, data, size);
    while (size > 0) {
        const ssize_t n = write(w->fd, p, size < (1u << 30) ? size : 1u << 30);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_io(err, "write", w->path);
        p += n;
        size -= (size_t)n;
    }
    return HY_OK;
}

hy_status hy__dir_sync(const char *dir, hy_error *err) {
    const int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    hy_status status = HY_OK;
    /* Some file systems cannot sync a folder (EINVAL); the rename is then as durable as it gets. */
    if (fd < 0 || (fsync(fd) != 0 && errno != EINVAL))
        status = fail_io(err, "sync the folder", dir);
    if (fd >= 0) close(fd);
    return status;
}

static hy_status sync_folder_of(const char *path, hy_error *err) {
    const char *slash = strrchr(path, '/');
    char *dir = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    if (!dir) return hy__no_memory(err, "%.400s", path);
    const hy_status status = hy__dir_sync(dir, err);
    free(dir);
    return status;
}

hy_status hy__writer_commit(hy__writer *w, hy_error *err) {
    hy_status status = HY_OK;
    if (w->temporary && fsync(w->fd) != 0) status = fail_io(err, "write", w->path);
    if (close(w->fd) != 0 && status == HY_OK) status = fail_io(err, "write", w->path);
    w->fd = -1;
    if (w->temporary) {
        if (status == HY_OK && rename(w->temporary, w->path) != 0)
            status = fail_io(err, "replace", w->path);
        if (status == HY_OK)
            status = sync_folder_of(w->path, err);
        else
            unlink(w->temporary);
    }
    writer_release(w);
    return status;
}

void hy__writer_abort(hy__writer *w) {
    if (w->fd >= 0) {
        close(w->fd);
        if (w->temporary) unlink(w->temporary);
    }
    writer_release(w);
}

/* Whether the file has the text at byte `at`, or is empty. */
static hy_status check_like(const char *path, const char *what, size_t at, const char *text,
                            hy_error *err) {
    hy__map map;
    HY_TRY(hy__file_map(&map, path, err));
    const size_t n = strlen(text);
    const bool like = map.size == 0 || (map.size >= at + n && !memcmp(map.data + at, text, n));
    hy__file_unmap(&map);
    if (like) return HY_OK;
    return hy__fail(err, HY_E_INVALID, "%.400s is no %s, and stays as it is; choose another name",
                    path, what);
}

hy_status hy__file_check_place(const char *path, const char *what, size_t at, const char *text,
                               hy_error *err) {
    struct stat st;
    hy__writer w;
    const bool there = stat(path, &st) == 0;
    if (there && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) return HY_OK;
    HY_TRY(hy__writer_open(&w, path, err));
    hy__writer_abort(&w);
    return there ? check_like(path, what, at, text, err) : HY_OK;
}

hy_status hy__file_nameless(int *fd, hy_error *err) {
    const char *dir = getenv("TMPDIR");
    char *path = hy__path_join(dir && *dir ? dir : "/tmp", "hydralm-XXXXXX");
    if (!path) return hy__no_memory(err, "a temporary file");
    *fd = mkstemp(path);
    const hy_status status = *fd < 0 ? fail_io(err, "create the temporary file", path) : HY_OK;
    if (*fd >= 0) unlink(path);
    free(path);
    return status;
}

hy_status hy__file_write(const char *path, const void *data, size_t size, hy_error *err) {
    hy__writer w;
    HY_TRY(hy__writer_open(&w, path, err));
    const hy_status status = hy__writer_write(&w, data, size, err);
    if (status == HY_OK) return hy__writer_commit(&w, err);
    hy__writer_abort(&w);
    return status;
}

/* ---- folders ---- */

bool hy__path_is_dir(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Makes what is missing of p, which it changes on the way; *had as hy__dir_make has it. */
static hy_status make_folders(char *p, size_t *had, hy_error *err) {
    *had = 0;
    for (char *at = p;;) {
        at += strspn(at, "/");
        if (!*at) return HY_OK;
        at += strcspn(at, "/");
        const char kept = *at;
        *at = '\0';
        const bool made = mkdir(p, 0777) == 0;
        if (!made && errno != EEXIST) return fail_io(err, "make the folder", p);
        if (!made) *had = (size_t)(at - p);
        *at = kept;
    }
}

hy_status hy__dir_make(const char *path, size_t *had, hy_error *err) {
    char *p = strdup(path);
    size_t before;
    struct stat st;
    if (!p) return hy__no_memory(err, "%.400s", path);
    hy_status status = make_folders(p, &before, err);
    free(p);
    if (status == HY_OK && stat(path, &st) != 0) status = fail_io(err, "make the folder", path);
    if (status == HY_OK && !S_ISDIR(st.st_mode))
        status = hy__fail(err, HY_E_IO, "%.400s is a file, but must be a folder", path);
    if (status != HY_OK) hy__dir_unmake(path, before);
    if (had) *had = before;
    return status;
}

void hy__dir_unmake(const char *path, size_t had) {
    char *p = strdup(path);
    for (size_t n = p ? strlen(p) : 0;;) {
        while (n > had && p[n - 1] == '/') n--;
        if (n <= had) break;
        p[n] = '\0';
        rmdir(p); /* fails for one that holds something, and then for all above it */
        while (n > had && p[n - 1] != '/') n--;
    }
    free(p);
}

char *hy__path_join(const char *dir, const char *name) {
    const size_t n = strlen(dir), size = n + strlen(name) + 2;
    char *path = malloc(size);
    if (path) snprintf(path, size, "%s%s%s", dir, n && dir[n - 1] == '/' ? "" : "/", name);
    return path;
}

void hy__path_title(const char *path, char *out, size_t size) {
    static const char ending[] = ".yaml";
    const size_t drop = sizeof ending - 1;
    size_t end = strlen(path), begin;
    while (end > 1 && path[end - 1] == '/') end--;
    for (begin = end; begin > 0 && path[begin - 1] != '/';) begin--;
    if (end - begin > drop && strncmp(path + end - drop, ending, drop) == 0) end -= drop;
    snprintf(out, size, "%.*s", (int)(end - begin), path + begin);
    if (end - begin >= size) out[hy__utf8_cut(out, size - 1)] = 0;
    hy__utf8_mend(out);
}

/* Takes ownership of path. */
static bool append(hy__file_list *list, char *path) {
    if ((list->n & (list->n - 1)) == 0) { /* full at every power of two */
        char **grown = realloc(list->path, (size_t)(list->n ? 2 * list->n : 1) * sizeof *grown);
        if (!grown) return false;
        list->path = grown;
    }
    list->path[list->n++] = path;
    return true;
}

/* One level, appended to list; subfolders go to `folders`. */
static hy_status list_folder(hy__file_list *list, hy__file_list *folders, const char *dir,
                             hy_error *err) {
    DIR *d = opendir(dir);
    if (!d) return fail_io(err, "list the folder", dir);
    hy_status status = HY_OK;
    struct dirent *entry;
    while (status == HY_OK && (errno = 0, entry = readdir(d))) {
        if (entry->d_name[0] == '.') continue;
        char *path = hy__path_join(dir, entry->d_name);
        struct stat st;
        hy__file_list *to = NULL;
        if (path && lstat(path, &st) == 0) {
            if (S_ISDIR(st.st_mode)) to = folders;
            if (S_ISREG(st.st_mode)) to = list;
            if (S_ISLNK(st.st_mode) && stat(path, &st) == 0 && S_ISREG(st.st_mode)) to = list;
        }
        if (to && append(to, path)) continue;
        if (to || !path) status = hy__no_memory(err, "%.400s", dir);
        free(path);
    }
    if (status == HY_OK && errno) status = fail_io(err, "list the folder", dir);
    closedir(d);
    return status;
}

static int by_path(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

hy_status hy__dir_list(hy__file_list *list, const char *path, hy_error *err) {
    *list = (hy__file_list){0};
    hy__file_list folders = {0};
    hy_status status = list_folder(list, &folders, path, err);
    for (int64_t i = 0; i < folders.n && status == HY_OK; i++)
        status = list_folder(list, &folders, folders.path[i], err);
    hy__file_list_release(&folders);
    if (status != HY_OK)
        hy__file_list_release(list);
    else if (list->n)
        qsort(list->path, (size_t)list->n, sizeof *list->path, by_path);
    return status;
}

void hy__file_list_release(hy__file_list *list) {
    for (int64_t i = 0; i < list->n; i++) free(list->path[i]);
    free(list->path);
    *list = (hy__file_list){0};
}
