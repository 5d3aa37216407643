/* source.c: see source.h. */
#include "data/source.h"
#include "base/file.h"
#include "base/utf8.h"
#include "data/corpus.h"
#include "data/stream.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct entry {
    const char *path;
    bool named;
} entry;

struct hy__source {
    const char *separator;
    hy__file_list *list; /* [n_list] of the folders */
    int64_t n_list;
    entry *file; /* [n_file] */
    int64_t n_file, at;
    hy__stream *stream; /* of file[at]; NULL between two files */
    bool first;         /* no block of the file was given out */
    bool goes_on;       /* the next block is in the middle of a document */
    char *rest;         /* read, and behind the cut of the last block */
    size_t n_rest, rest_cap;
    int64_t size, taken; /* taken: of the files before `at` */
};

/* ---- the list of files ---- */

static hy_status add_file(hy__source *s, const char *path, bool named, hy_error *err) {
    if ((s->n_file & (s->n_file - 1)) == 0) { /* full at every power of two */
        entry *grown = realloc(s->file, (size_t)(s->n_file ? 2 * s->n_file : 1) * sizeof *s->file);
        if (!grown) return hy__no_memory(err, "reading the data");
        s->file = grown;
    }
    struct stat st;
    if (stat(path, &st) != 0 || access(path, R_OK) != 0) /* before hours of reading others */
        return hy__fail(err, HY_E_IO, "cannot open %.400s: %s", path, strerror(errno));
    s->size += (int64_t)st.st_size;
    s->file[s->n_file++] = (entry){.path = path, .named = named};
    return HY_OK;
}

const char *hy__source_pattern(const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    return strpbrk(name, "*?[") && access(path, F_OK) != 0 ? name : NULL;
}

/* The folder of a pattern, the caller's to free. */
static char *folder_of(const char *path, const char *pattern) {
    const size_t n = (size_t)(pattern - path);
    return n == 0 ? strdup(".") : strndup(path, n > 1 ? n - 1 : n);
}

static hy_status add_like(hy__source *s, const char *path, const char *pattern, hy_error *err) {
    hy__file_list *list = &s->list[s->n_list];
    const int64_t before = s->n_file;
    char *folder = folder_of(path, pattern);
    if (!folder) return hy__no_memory(err, "reading the data");
    const hy_status status = hy__dir_list(list, folder, err);
    free(folder);
    HY_TRY(status);
    s->n_list++;
    for (int64_t i = 0; i < list->n; i++) {
        const char *slash = strrchr(list->path[i], '/');
        if (fnmatch(pattern, slash ? slash + 1 : list->path[i], 0) == 0)
            HY_TRY(add_file(s, list->path[i], false, err));
    }
    if (s->n_file > before) return HY_OK;
    return hy__fail(err, HY_E_INVALID, "%.400s: no file there has a name like %.100s", path,
                    pattern);
}

static hy_status add_path(hy__source *s, const char *path, hy_error *err) {
    const char *pattern = hy__source_pattern(path);
    if (pattern) return add_like(s, path, pattern, err);
    HY_TRY(hy__file_check_ends(path, err));
    if (!hy__path_is_dir(path)) return add_file(s, path, true, err);
    if (hy__corpus_is_built(path))
        return hy__fail(err, HY_E_INVALID, "%.400s holds built data, wanted text", path);
    hy__file_list *list = &s->list[s->n_list];
    HY_TRY(hy__dir_list(list, path, err));
    s->n_list++;
    for (int64_t i = 0; i < list->n; i++) HY_TRY(add_file(s, list->path[i], false, err));
    return HY_OK;
}

hy_status hy__source_open(hy__source **out, const char *const *path, int64_t n_path,
                          const char *separator, hy_error *err) {
    *out = NULL;
    hy__source *s = calloc(1, sizeof *s);
    if (!s) return hy__no_memory(err, "reading the data");
    s->separator = separator;
    s->list = calloc((size_t)n_path + 1, sizeof *s->list);
    hy_status status = s->list ? HY_OK : hy__no_memory(err, "reading the data");
    for (int64_t i = 0; i < n_path && status == HY_OK; i++) status = add_path(s, path[i], err);
    if (status == HY_OK)
        *out = s;
    else
        hy__source_close(s);
    return status;
}

void hy__source_close(hy__source *s) {
    if (!s) return;
    for (int64_t i = 0; i < s->n_list; i++) hy__file_list_release(&s->list[i]);
    hy__stream_close(s->stream);
    free(s->list);
    free(s->file);
    free(s->rest);
    free(s);
}

int64_t hy__source_size(const hy__source *s) {
    return s->size;
}

int64_t hy__source_taken(const hy__source *s) {
    return s->taken + (s->stream ? hy__stream_taken(s->stream) : 0);
}

/* ---- blocks ---- */

void hy__block_release(hy__block *b) {
    free(b->text);
    *b = (hy__block){0};
}

static bool reserve(char **text, size_t *cap, size_t size) {
    if (*cap >= size) return true;
    char *grown = realloc(*text, size);
    if (!grown) return false;
    *text = grown;
    *cap = size;
    return true;
}

static bool is_json_lines(const char *path) {
    const size_t n = hy__stream_plain_name(path);
    static const char *const ending[] = {".jsonl", ".ndjson"};
    for (size_t i = 0; i < sizeof ending / sizeof *ending; i++) {
        const size_t len = strlen(ending[i]);
        if (n > len && strncmp(path + n - len, ending[i], len) == 0) return true;
    }
    return false;
}

const char *hy__separator_find(const char *text, const char *end, const char *separator,
                               size_t len) {
    while (len > 0 && (size_t)(end - text) >= len) {
        const char *at = memchr(text, separator[0], (size_t)(end - text) - len + 1);
        if (!at) break;
        if (memcmp(at, separator, len) == 0) return at;
        text = at + 1;
    }
    return end;
}

/* Behind the last separator, counted from the beginning; 0 = there is none. */
static size_t behind_last(const char *text, size_t size, const char *separator, size_t len) {
    const char *const end = text + size, *at = text;
    for (const char *found; (found = hy__separator_find(at, end, separator, len)) < end;)
        at = found + len;
    return (size_t)(at - text);
}

/* Behind the last line; 0 = none ends here. */
static size_t behind_line(const char *text, size_t size) {
    while (size > 0 && text[size - 1] != '\n') size--;
    return size;
}

/* Where the block is cut that is not the last of its file; 0 = more must be read first. */
static size_t cut_of(const hy__source *s, hy__block *b) {
    if (b->lines) return behind_line(b->text, b->size);
    const size_t len = strlen(s->separator);
    const size_t behind = behind_last(b->text, b->size, s->separator, len);
    b->open = behind == 0;
    if (!b->open) return behind;
    /* what may be the beginning of a separator stays together with what follows */
    return hy__utf8_cut(b->text, b->size - (len ? len - 1 : 0));
}

/* Reads until the block is full or its file ends, and cuts it. */
static hy_status fill(hy__source *s, hy__block *b, hy_error *err) {
    for (size_t want = HY__BLOCK + s->n_rest;; want = 2 * want) {
        size_t got;
        if (b->size > HY__LINE_MAX)
            return hy__fail(err, HY_E_INVALID, "%.400s has a line of more than %d bytes", b->path,
                            HY__LINE_MAX);
        if (!reserve(&b->text, &b->cap, want)) return hy__no_memory(err, "reading the data");
        if (b->size == 0 && s->n_rest > 0) memcpy(b->text, s->rest, b->size = s->n_rest);
        HY_TRY(hy__stream_read(s->stream, b->text + b->size, want - b->size, &got, err));
        b->size += got;
        b->last = b->size < want;
        const size_t cut = b->last ? b->size : cut_of(s, b);
        if (cut == 0 && !b->last) continue;
        s->n_rest = b->size - cut;
        if (!reserve(&s->rest, &s->rest_cap, s->n_rest + 1))
            return hy__no_memory(err, "reading the data");
        memcpy(s->rest, b->text + cut, s->n_rest);
        b->size = cut;
        return HY_OK;
    }
}

static void end_file(hy__source *s) {
    s->taken = hy__source_taken(s);
    hy__stream_close(s->stream);
    s->stream = NULL;
    s->n_rest = 0;
    s->at++;
}

void hy__source_skip(hy__source *s, int64_t file) {
    if (s->stream && s->at == file) end_file(s);
}

hy_status hy__source_next(hy__source *s, hy__block *b, bool *more, hy_error *err) {
    *more = s->at < s->n_file;
    if (!*more) return HY_OK;
    const entry *f = &s->file[s->at];
    if (!s->stream) {
        HY_TRY(hy__stream_open(&s->stream, f->path, err));
        s->first = true;
        s->goes_on = false;
    }
    b->path = f->path;
    b->file = s->at;
    b->named = f->named;
    b->lines = is_json_lines(f->path);
    b->first = s->first;
    b->goes_on = s->goes_on;
    b->open = false;
    b->size = 0;
    HY_TRY(fill(s, b, err));
    s->first = false;
    s->goes_on = b->open;
    if (b->last) end_file(s);
    return HY_OK;
}
