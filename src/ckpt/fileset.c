/* fileset.c: see fileset.h. Everything goes through write, fsync, rename and unlink of one path
 * each, so that the tests can stop the process before any one of them. */
#include "ckpt/fileset.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define STAGED  ".hydra-new-"
#define JOURNAL ".hydra-commit"

enum { JOURNAL_MAX = 1 << 20 }; /* bytes */

bool hy__name_is_plain(const char *name) {
    return *name && !strpbrk(name, "/\n") && strcmp(name, ".") && strcmp(name, "..");
}

/* "dir/.hydra-new-name", for the caller to free; NULL without memory. */
static char *staged_path(const char *dir, const char *name) {
    const size_t size = strlen(dir) + strlen(name) + sizeof "/" STAGED;
    char *path = malloc(size);
    if (path) snprintf(path, size, "%s/" STAGED "%s", dir, name);
    return path;
}

static hy_status io_failed(hy_error *err, const char *verb, const char *path) {
    return hy__fail(err, HY_E_IO, "cannot %s %.400s: %s", verb, path, strerror(errno));
}

/* Whether there is such a file; not knowing (a folder that may not be searched) is a failure. */
static hy_status look_for(bool *there, const char *path, hy_error *err) {
    *there = access(path, F_OK) == 0;
    return *there || errno == ENOENT || errno == ENOTDIR ? HY_OK : io_failed(err, "open", path);
}

/* ---- the journal ------------------------------------------------------------------------------
 */

/* One line of the journal: "put NAME" or "remove NAME". The last line is "end". */
typedef struct entry {
    bool put;
    char *name;
    hy__hash *hash; /* of what was written; not in the journal */
} entry;

typedef struct entries {
    entry *at;
    size_t n;
    char *keep; /* line "keep FOLDER", or NULL */
} entries;

static void entries_free(entries *e) {
    for (size_t i = 0; i < e->n; i++) {
        free(e->at[i].name);
        free(e->at[i].hash);
    }
    free(e->keep);
    free(e->at);
    *e = (entries){0};
}

/* Adds an entry, or changes the one that is there. */
static hy_status entries_set(entries *e, const char *name, bool put, hy_error *err) {
    if (!hy__name_is_plain(name))
        return hy__fail(err, HY_E_INVALID, "'%s' is not a plain file name", name);
    for (size_t i = 0; i < e->n; i++) {
        if (strcmp(e->at[i].name, name) == 0) {
            e->at[i].put = put;
            return HY_OK;
        }
    }
    entry *at = realloc(e->at, (e->n + 1) * sizeof *at);
    if (!at) return hy__no_memory(err, "%.400s", name);
    e->at = at;
    at[e->n] = (entry){.put = put, .name = strdup(name), .hash = calloc(1, sizeof *at->hash)};
    e->n++;
    return at[e->n - 1].name && at[e->n - 1].hash ? HY_OK : hy__no_memory(err, "%.400s", name);
}

/* Below DIR for certain: no dots. */
static hy_status entries_keep(entries *e, const char *folder, hy_error *err) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789-/";
    if (!*folder || *folder == '/' || folder[strspn(folder, allowed)])
        return hy__fail(err, HY_E_INVALID, "'%.400s' is not the name of a folder to keep in",
                        folder);
    free(e->keep);
    e->keep = strdup(folder);
    return e->keep ? HY_OK : hy__no_memory(err, "%.400s", folder);
}

static const entry *entries_find(const entries *e, const char *name) {
    for (size_t i = 0; i < e->n; i++)
        if (strcmp(e->at[i].name, name) == 0) return &e->at[i];
    return NULL;
}

/* Reads dir's journal; no entries when there is none. */
static hy_status journal_read(entries *e, const char *dir, hy_error *err) {
    *e = (entries){0};
    char *path = hy__path_join(dir, JOURNAL), *text = NULL;
    if (!path) return hy__no_memory(err, "%.400s", dir);
    size_t size;
    bool ended = false, there;
    hy_status status;
    HY_TRY_GOTO(look_for(&there, path, err));
    if (!there) goto done;
    status = hy__file_read(path, JOURNAL_MAX, &text, &size, err);
    if (status != HY_OK) {
        if (access(path, F_OK) != 0) status = HY_OK; /* its writer finished meanwhile */
        goto done;
    }
    for (char *save = NULL, *line = strtok_r(text, "\n", &save); line && !ended;
         line = strtok_r(NULL, "\n", &save)) {
        const bool put = strncmp(line, "put ", 4) == 0;
        const char *name = put ? line + 4 : strncmp(line, "remove ", 7) == 0 ? line + 7 : NULL;
        if (strncmp(line, "keep ", 5) == 0)
            HY_TRY_GOTO(entries_keep(e, line + 5, err));
        else if (name && hy__name_is_plain(name))
            HY_TRY_GOTO(entries_set(e, name, put, err));
        else if (!(ended = strcmp(line, "end") == 0))
            break;
    }
    if (!ended) status = hy__fail(err, HY_E_INVALID, "%s is not a journal of this program", path);
done:
    if (status != HY_OK) entries_free(e);
    free(text);
    free(path);
    return status;
}

static hy_status journal_write(const entries *e, const char *dir, hy_error *err) {
    char *path = hy__path_join(dir, JOURNAL), *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (out && e->keep) fprintf(out, "keep %s\n", e->keep);
    for (size_t i = 0; out && i < e->n; i++)
        fprintf(out, "%s %s\n", e->at[i].put ? "put" : "remove", e->at[i].name);
    if (out) fputs("end\n", out);
    const bool made = out && fclose(out) == 0 && path;
    const hy_status status =
        made ? hy__file_write(path, text, size, err) : hy__no_memory(err, "a journal");
    free(text);
    free(path);
    return status;
}

/* Gives an old file a second name in the folder, or moves it where there are no links; of a
 * symbolic link, what it leads to, as it may be relative. One that is there already came from an
 * earlier try, and a file whose replacement is no longer staged is the new one. */
static hy_status keep_one(const entry *e, const char *dir, const char *folder, hy_error *err) {
    char *at = hy__path_join(dir, e->name), *from = staged_path(dir, e->name);
    char *kept = hy__path_join(folder, e->name);
    hy_status status = at && from && kept ? HY_OK : hy__no_memory(err, "%.400s", dir);
    if (status == HY_OK && (!e->put || access(from, F_OK) == 0) &&
        linkat(AT_FDCWD, at, AT_FDCWD, kept, AT_SYMLINK_FOLLOW) != 0 && errno != EEXIST &&
        errno != ENOENT && rename(at, kept) != 0 && errno != ENOENT)
        status = io_failed(err, "keep", at);
    free(kept);
    free(from);
    free(at);
    return status;
}

static hy_status keep_all(const entries *e, const char *dir, hy_error *err) {
    char *folder = hy__path_join(dir, e->keep);
    hy_status status = folder ? HY_OK : hy__no_memory(err, "%.400s", dir);
    for (size_t i = 0; i < e->n && status == HY_OK; i++)
        status = keep_one(&e->at[i], dir, folder, err);
    if (status == HY_OK) status = hy__dir_sync(folder, err);
    free(folder);
    return status;
}

static hy_status apply_one(const entry *e, const char *dir, hy_error *err) {
    char *to = hy__path_join(dir, e->name), *from = staged_path(dir, e->name);
    hy_status status = to && from ? HY_OK : hy__no_memory(err, "%.400s", dir);
    if (status == HY_OK && e->put && rename(from, to) != 0 && errno != ENOENT)
        status = io_failed(err, "replace", to);
    if (status == HY_OK && !e->put && unlink(to) != 0 && errno != ENOENT)
        status = io_failed(err, "remove", to);
    free(from);
    free(to);
    return status;
}

/* Does what the journal says; every part of it may have been done before. */
static hy_status journal_apply(const entries *e, const char *dir, hy_error *err) {
    if (e->keep) HY_TRY(keep_all(e, dir, err)); /* before their names are given away */
    for (size_t i = 0; i < e->n; i++) HY_TRY(apply_one(&e->at[i], dir, err));
    HY_TRY(hy__dir_sync(dir, err)); /* before the journal goes */
    char *path = hy__path_join(dir, JOURNAL);
    if (!path) return hy__no_memory(err, "%.400s", dir);
    const bool failed = unlink(path) != 0 && errno != ENOENT;
    const hy_status status = failed ? io_failed(err, "remove", path) : HY_OK;
    free(path);
    return status == HY_OK ? hy__dir_sync(dir, err) : status;
}

/* ---- several files ----------------------------------------------------------------------------
 */

struct hy__fileset {
    char *dir;
    size_t had; /* bytes of dir that name a folder that was there before */
    int lock;   /* the open directory */
    entries e;
};

static void remove_file(const char *dir, const char *name) {
    char *path = hy__path_join(dir, name);
    if (path) unlink(path);
    free(path);
}

/* Removes what a commit that did not happen left behind; the journal, which speaks of the other
 * files, first. */
static void clear_staged(const char *dir) {
    DIR *d = opendir(dir);
    if (!d) return;
    remove_file(dir, JOURNAL);
    for (struct dirent *file; (file = readdir(d));) {
        const char *name = file->d_name;
        if (!strncmp(name, STAGED, strlen(STAGED)) || !strncmp(name, JOURNAL, strlen(JOURNAL)))
            remove_file(dir, name);
    }
    closedir(d);
}

static void fileset_free(hy__fileset *s) {
    if (s->lock >= 0) close(s->lock);
    entries_free(&s->e);
    free(s->dir);
    free(s);
}

hy_status hy__fileset_open(hy__fileset **out, const char *dir, hy_error *err) {
    *out = NULL;
    hy__fileset *s = calloc(1, sizeof *s);
    if (!s || !(s->dir = strdup(dir))) {
        free(s);
        return hy__no_memory(err, "%.400s", dir);
    }
    s->lock = -1;
    hy_status status;
    entries old = {0};
    HY_TRY_GOTO(hy__dir_make(dir, &s->had, err));
    s->lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->lock < 0) {
        status = io_failed(err, "open the folder", dir);
        goto done;
    }
    if (flock(s->lock, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
        status = hy__fail(err, HY_E_IO, "another process is writing to %s", dir);
        s->had = strlen(dir); /* and the folder is not ours to remove */
        goto done;
    }
    HY_TRY_GOTO(journal_read(&old, dir, err));
    if (old.n > 0) HY_TRY_GOTO(journal_apply(&old, dir, err));
    clear_staged(dir);
    *out = s;
    s = NULL;
done:
    entries_free(&old);
    if (s) {
        hy__dir_unmake(dir, s->had);
        fileset_free(s);
    }
    return status;
}

const char *hy__fileset_dir(const hy__fileset *s) {
    return s->dir;
}

bool hy__fileset_has(const hy__fileset *s, const char *name) {
    const entry *e = entries_find(&s->e, name);
    return e && e->put;
}

const char *hy__fileset_at(const hy__fileset *s, size_t i, const hy__hash **hash) {
    if (i >= s->e.n) return NULL;
    *hash = s->e.at[i].put ? s->e.at[i].hash : NULL;
    return s->e.at[i].name;
}

hy_status hy__fileset_put(hy__fileset *s, hy__writer *w, const char *name, hy_error *err) {
    HY_TRY(entries_set(&s->e, name, true, err));
    char *path = staged_path(s->dir, name);
    if (!path) return hy__no_memory(err, "%.400s", name);
    const hy_status status = hy__writer_open(w, path, err);
    free(path);
    HY_TRY(status);
    w->hash = entries_find(&s->e, name)->hash;
    hy__hash_init(w->hash);
    return HY_OK;
}

hy_status hy__fileset_write(hy__fileset *s, const char *name, const void *data, size_t size,
                            hy_error *err) {
    hy__writer w;
    HY_TRY(hy__fileset_put(s, &w, name, err));
    const hy_status status = hy__writer_write(&w, data, size, err);
    if (status == HY_OK) return hy__writer_commit(&w, err);
    hy__writer_abort(&w);
    return status;
}

hy_status hy__fileset_take(hy__fileset *s, const char *name, const char *from, hy_error *err) {
    HY_TRY(entries_set(&s->e, name, true, err));
    char *at = hy__path_join(s->dir, from), *to = staged_path(s->dir, name);
    hy_status status = at && to ? HY_OK : hy__no_memory(err, "%.400s", name);
    if (status == HY_OK && rename(at, to) != 0) status = io_failed(err, "rename", at);
    free(to);
    free(at);
    return status;
}

hy_status hy__fileset_remove(hy__fileset *s, const char *name, hy_error *err) {
    return entries_set(&s->e, name, false, err);
}

hy_status hy__fileset_keep(hy__fileset *s, const char *folder, hy_error *err) {
    return entries_keep(&s->e, folder, err);
}

/* An empty folder of DIR that is there for good, and *had as hy__dir_make has it. */
static hy_status make_folder(const char *folder, const char *dir, size_t *had, hy_error *err) {
    hy__file_list old;
    HY_TRY(hy__dir_make(folder, had, err));
    HY_TRY(hy__dir_list(&old, folder, err));
    for (int64_t i = 0; i < old.n; i++) unlink(old.path[i]);
    hy__file_list_release(&old);
    HY_TRY(hy__dir_sync(folder, err));
    if (*had == strlen(folder)) return HY_OK;
    for (const char *p = folder + strlen(dir); (p = strchr(p + 1, '/'));) {
        char *above = strndup(folder, (size_t)(p - folder));
        if (!above) return hy__no_memory(err, "%.400s", folder);
        const hy_status status = hy__dir_sync(above, err);
        free(above);
        HY_TRY(status);
    }
    return hy__dir_sync(dir, err);
}

/* The moment of change, for what is kept prepared. */
static hy_status change(hy__fileset *s, hy_error *err) {
    size_t had = 0;
    char *folder = s->e.keep ? hy__path_join(s->dir, s->e.keep) : NULL;
    if (s->e.keep && !folder) return hy__no_memory(err, "%.400s", s->dir);
    hy_status status = folder ? make_folder(folder, s->dir, &had, err) : HY_OK;
    if (status == HY_OK) status = journal_write(&s->e, s->dir, err);
    if (status != HY_OK && had > 0) hy__dir_unmake(folder, had);
    free(folder);
    return status;
}

hy_status hy__fileset_commit(hy__fileset *s, hy_error *err) {
    const hy_status status = change(s, err);
    if (status != HY_OK) {
        hy__fileset_discard(s);
        return status;
    }
    /* From here on the change has happened: a failure to tidy up is the next writer's to repair. */
    const hy_status tidied = journal_apply(&s->e, s->dir, err);
    fileset_free(s);
    return tidied;
}

void hy__fileset_discard(hy__fileset *s) {
    if (!s) return;
    clear_staged(s->dir);
    hy__dir_unmake(s->dir, s->had);
    fileset_free(s);
}

/* *path if there is such a file, else NULL; takes ownership of `at`, which may be NULL. */
static hy_status take_if_there(char **path, char *at, const char *dir, hy_error *err) {
    bool there = false;
    const hy_status status = at ? look_for(&there, at, err) : hy__no_memory(err, "%.400s", dir);
    *path = there ? at : NULL;
    if (!there) free(at);
    return status;
}

hy_status hy__fileset_find(char **path, const char *dir, const char *name, hy_error *err) {
    *path = NULL;
    entries e;
    HY_TRY(journal_read(&e, dir, err));
    const entry *found = entries_find(&e, name);
    const bool put = found && found->put, removed = found && !found->put;
    entries_free(&e);
    if (removed) return HY_OK;
    if (put) HY_TRY(take_if_there(path, staged_path(dir, name), dir, err));
    return *path ? HY_OK : take_if_there(path, hy__path_join(dir, name), dir, err);
}
