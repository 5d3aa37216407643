/* run.c: see run.h. Lines are read one after another: a run of any length needs little memory. */
#include "report/run.h"

#include "base/file.h"
#include "base/utf8.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIST_MAX = 1 << 17 }; /* numbers of a list: more is not ours */

typedef struct reader {
    hy__run *run;
    char *path; /* of metrics.jsonl */
    double *list;
    int64_t cap; /* of list */
    int64_t n_list;
    int64_t line, step;
} reader;

static hy_status broken(const reader *rd, const char *why, hy_error *err) {
    return hy__fail(err, HY_E_INVALID, "%s, line %lld: %s; wanted a line of the metrics of hydralm",
                    rd->path, (long long)rd->line, why);
}

const hy__track *hy__run_track(const hy__run *r, const char *name) {
    for (int i = 0; i < r->n_track; i++)
        if (strcmp(r->track[i].name, name) == 0) return &r->track[i];
    return NULL;
}

/* The track of that name and shape, made where it is new; NULL when there are too many. Lines are
 * alike, so that it mostly is the one behind the last. */
static hy_status track_for(hy__run *r, const char *name, int depth, const int64_t *shape,
                           hy__track **out, hy_error *err) {
    int i = r->at;
    if (i >= r->n_track || strcmp(r->track[i].name, name) != 0)
        for (i = 0; i < r->n_track && strcmp(r->track[i].name, name) != 0;) i++;
    *out = NULL;
    if (i == HY__RUN_TRACKS) return HY_OK;
    if (i == r->n_track) {
        HY_TRY(hy__track_init(&r->track[i], name, depth, shape, err));
        r->n_track++;
    } else if (!hy__track_fits(&r->track[i], depth, shape)) {
        hy__track_release(&r->track[i]);
        const hy_status status = hy__track_init(&r->track[i], name, depth, shape, err);
        if (status != HY_OK) { /* it is gone: the last takes its place */
            r->track[i] = r->track[--r->n_track];
            return status;
        }
    }
    r->at = i + 1;
    *out = &r->track[i];
    return HY_OK;
}

/* ---- values ---- */

/* Sizes of lists in lists, by the first of each; 0 when there are too many levels. */
static int shape_of(const json_t *x, int64_t shape[HY__TRACK_DEPTH]) {
    int depth = 0;
    for (; json_is_array(x); x = json_array_get(x, 0)) {
        if (depth == HY__TRACK_DEPTH || json_array_size(x) == 0) return 0;
        shape[depth++] = (int64_t)json_array_size(x);
    }
    return depth;
}

/* Appends what stands in the list in order; false when it is not of that shape. */
static bool flatten(reader *rd, const json_t *x, int depth, const int64_t *shape) {
    if (depth == 0) {
        if (rd->n_list == rd->cap || json_is_array(x)) return false;
        rd->list[rd->n_list++] = json_is_number(x) ? json_number_value(x) : (double)NAN;
        return true;
    }
    if (!json_is_array(x) || (int64_t)json_array_size(x) != shape[0]) return false;
    for (size_t i = 0; i < json_array_size(x); i++)
        if (!flatten(rd, json_array_get(x, i), depth - 1, shape + 1)) return false;
    return true;
}

static hy_status add_list(reader *rd, const char *name, const json_t *x, hy_error *err) {
    int64_t shape[HY__TRACK_DEPTH], n = 1;
    const int depth = shape_of(x, shape);
    if (depth == 0) return HY_OK;
    for (int i = 0; i < depth; i++) {
        if (shape[i] > LIST_MAX / n) return broken(rd, "a list is too long", err);
        n *= shape[i];
    }
    if (n > rd->cap) {
        double *grown = realloc(rd->list, (size_t)n * sizeof *grown);
        if (!grown) return hy__no_memory(err, "reading a run");
        rd->list = grown;
        rd->cap = n;
    }
    rd->n_list = 0;
    if (!flatten(rd, x, depth, shape) || rd->n_list != n)
        return broken(rd, "lists in a list differ in length", err);
    hy__track *t;
    HY_TRY(track_for(rd->run, name, depth, shape, &t, err));
    if (t) hy__track_add(t, rd->step, rd->list);
    return HY_OK;
}

static hy_status add_value(reader *rd, const char *name, const json_t *x, hy_error *err) {
    if (json_is_array(x)) return add_list(rd, name, x, err);
    if (!json_is_number(x)) return HY_OK;
    const double value = json_number_value(x);
    hy__track *t;
    HY_TRY(track_for(rd->run, name, 0, NULL, &t, err));
    if (t) hy__track_add(t, rd->step, &value);
    return HY_OK;
}

/* ---- what is no number ---- */

static hy_status keep_corpora(hy__run *r, const json_t *list, hy_error *err) {
    const size_t n = json_array_size(list);
    if (n == 0 || r->n_corpus > 0) return HY_OK;
    r->corpus = calloc(n, sizeof *r->corpus);
    if (!r->corpus) return hy__no_memory(err, "reading a run");
    for (size_t i = 0; i < n; i++) {
        const char *name = json_string_value(json_array_get(list, i));
        r->corpus[i] = strdup(name ? name : "?");
        if (!r->corpus[i]) return hy__no_memory(err, "reading a run");
        r->n_corpus++;
    }
    return HY_OK;
}

static void keep_stage(hy__run *r, const char *name, const char *end, int64_t step) {
    hy__run_stage *s = &r->stage[r->n_stage > 0 ? r->n_stage - 1 : 0];
    if (r->n_stage == 0 || strncmp(s->name, name, sizeof s->name - 1) != 0) {
        if (r->n_stage == HY__RUN_STAGES) return;
        s = &r->stage[r->n_stage++];
        snprintf(s->name, sizeof s->name, "%s", name);
        hy__utf8_mend(s->name);
        s->first = step;
    }
    if (end) snprintf(s->end, sizeof s->end, "%s", end);
    hy__utf8_mend(s->end);
}

static void keep_drop(hy__run *r, const char *why, int64_t step) {
    if (r->n_drop == HY__RUN_DROPS) return;
    hy__run_drop *d = &r->drop[r->n_drop++];
    snprintf(d->why, sizeof d->why, "%s", why);
    hy__utf8_mend(d->why);
    d->step = step;
}

static const char *text_of(const json_t *line, const char *key) {
    return json_string_value(json_object_get(line, key));
}

static hy_status keep_words(hy__run *r, const json_t *line, int64_t step, hy_error *err) {
    const char *layers = text_of(line, "layers"), *stage = text_of(line, "stage");
    const char *unsound = text_of(line, "unsound");
    if (layers) {
        snprintf(r->layers, sizeof r->layers, "%s", layers);
        hy__utf8_mend(r->layers);
    }
    if (stage) keep_stage(r, stage, text_of(line, "stage_end"), step);
    if (unsound) keep_drop(r, unsound, step);
    return keep_corpora(r, json_object_get(line, "corpora"), err);
}

/* ---- lines ---- */

static hy_status add_line(reader *rd, json_t *line, hy_error *err) {
    const json_t *step = json_object_get(line, "step");
    if (!json_is_integer(step) || json_integer_value(step) < 1)
        return broken(rd, "there is no step", err);
    rd->step = json_integer_value(step);
    rd->run->at = 0;
    const char *key, *inner;
    json_t *x, *y;
    json_object_foreach(line, key, x) {
        if (strcmp(key, "step") == 0) continue;
        HY_TRY(add_value(rd, key, x, err));
        json_object_foreach(x, inner, y) {
            char name[96];
            snprintf(name, sizeof name, "%s.%s", key, inner);
            HY_TRY(add_value(rd, name, y, err));
        }
    }
    HY_TRY(keep_words(rd->run, line, rd->step, err));
    rd->run->last_step = rd->step;
    rd->run->n_line++;
    return HY_OK;
}

/* A line as text, with its line break where it has one. Only the last may be without. */
static hy_status read_line(reader *rd, const char *text, size_t size, hy_error *err) {
    const bool whole = text[size - 1] == '\n';
    json_error_t e;
    json_t *line = json_loadb(text, size, JSON_REJECT_DUPLICATES, &e);
    if (!line && !whole) {
        rd->run->cut = true;
        return HY_OK;
    }
    if (!line) return broken(rd, e.text, err);
    const hy_status status =
        json_is_object(line) ? add_line(rd, line, err) : broken(rd, "this is no object", err);
    json_decref(line);
    return status;
}

static hy_status read_lines(reader *rd, FILE *file, hy_error *err) {
    char *text = NULL;
    size_t room = 0;
    hy_status status = HY_OK;
    ssize_t size;
    while (status == HY_OK && (errno = 0, size = getline(&text, &room, file)) > 0) {
        rd->line++;
        status = read_line(rd, text, (size_t)size, err);
    }
    free(text);
    if (status == HY_OK && ferror(file))
        return hy__fail(err, HY_E_IO, "%s could not be read: %s", rd->path, strerror(errno));
    return status;
}

/* Opens the file that rd->path names. A folder stands for the metrics in it. */
static hy_status open_metrics(reader *rd, const char *path, FILE **file, hy_error *err) {
    const bool folder = hy__path_is_dir(path);
    rd->path = folder ? hy__path_join(path, "metrics.jsonl") : strdup(path);
    if (!rd->path) return hy__no_memory(err, "reading a run");
    HY_TRY(hy__file_check_ends(rd->path, err));
    *file = fopen(rd->path, "rb");
    if (*file) return HY_OK;
    if (errno != ENOENT)
        return hy__fail(err, HY_E_IO, "%s could not be read: %s", rd->path, strerror(errno));
    if (!folder) return hy__fail(err, HY_E_INVALID, "there is no run %s", path);
    return hy__fail(err, HY_E_INVALID, "%s is no run: there is no metrics.jsonl in it", path);
}

static hy_status read_metrics(reader *rd, const char *path, hy_error *err) {
    FILE *file;
    HY_TRY(open_metrics(rd, path, &file, err));
    const hy_status status = read_lines(rd, file, err);
    fclose(file);
    HY_TRY(status);
    if (rd->run->n_line > 0) return HY_OK;
    return hy__fail(err, HY_E_INVALID, "%s has no step yet: there is nothing to report", rd->path);
}

/* ---- the run ---- */

/* The last part of a path; of a file of metrics, that of its folder. */
static char *last_part(const char *path) {
    static const char metrics[] = "/metrics.jsonl";
    size_t end = strlen(path);
    if (end >= sizeof metrics && strcmp(path + end - (sizeof metrics - 1), metrics) == 0)
        end -= sizeof metrics - 1;
    while (end > 1 && path[end - 1] == '/') end--;
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/') begin--;
    return strndup(path + begin, end - begin);
}

/* What "." and the like stand for has a name. */
static char *name_of(const char *path) {
    char *name = last_part(path);
    if (!name ||
        (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && strcmp(name, "metrics.jsonl") != 0))
        return name;
    char *whole = realpath(path, NULL);
    if (!whole) return name;
    free(name);
    name = last_part(whole);
    free(whole);
    return name;
}

hy_status hy__run_read(hy__run *r, const char *path, hy_error *err) {
    *r = (hy__run){.path = strdup(path),
                   .name = name_of(path),
                   .track = calloc(HY__RUN_TRACKS, sizeof *r->track)};
    reader rd = {.run = r};
    hy_status status = r->path && r->name && r->track ? read_metrics(&rd, path, err)
                                                      : hy__no_memory(err, "reading a run");
    free(rd.path);
    free(rd.list);
    if (status == HY_OK) {
        hy__utf8_mend(r->path);
        hy__utf8_mend(r->name);
    } else {
        hy__run_release(r);
    }
    return status;
}

void hy__run_release(hy__run *r) {
    for (int i = 0; i < r->n_track; i++) hy__track_release(&r->track[i]);
    for (int64_t i = 0; i < r->n_corpus; i++) free(r->corpus[i]);
    free(r->corpus);
    free(r->track);
    free(r->path);
    free(r->name);
    *r = (hy__run){0};
}

/* ---- what it tells ---- */

double hy__run_at(const hy__run *r, hy__over over, double step) {
    if (over == HY__OVER_STEPS) return step;
    const hy__track *t = hy__run_track(r, over == HY__OVER_TOKENS ? "tokens" : "seconds");
    return t && t->depth == 0 ? hy__track_at(t, step) : (double)NAN;
}

double hy__run_final(const hy__run *r, const char *track) {
    const hy__track *t = hy__run_track(r, track);
    return t && t->depth == 0 ? hy__track_final(t, 0, r->last_step) : (double)NAN;
}

double hy__run_last(const hy__run *r, const char *track) {
    const hy__track *t = hy__run_track(r, track);
    return t ? t->last : (double)NAN;
}

double hy__run_least(const hy__run *r, const char *track) {
    const hy__track *t = hy__run_track(r, track);
    double least = (double)NAN;
    for (int64_t b = 0; t && t->depth == 0 && b < t->n_bucket; b++)
        if (t->seen[b] > 0) least = fmin(least, t->lo[b]);
    return least;
}
