/* safetensors_write.c: the writer; see safetensors.h.
 *
 * Tensors are written by falling alignment, then by name, the order of the format's own library, so
 * that each begins at a multiple of its element size: the header's length is a multiple of 8 too.
 */
#include "ckpt/json_file.h"
#include "ckpt/safetensors.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INDEX "model.safetensors.index.json"

enum { PIECE = 1 << 20 }; /* bytes that `fill` is asked for at a time */

static const int64_t limit_default = 5000000000; /* bytes of data in one file, as transformers */

static int64_t tensor_count(const hy__st_tensor *t) {
    int64_t n = 1;
    for (int i = 0; i < t->n_dim; i++) n *= t->shape[i];
    return n;
}

static int64_t tensor_bytes(const hy__st_tensor *t) {
    return tensor_count(t) * (int64_t)hy__st_dtype_size(t->dtype);
}

/* ---- order ------------------------------------------------------------------------------------
 */

/* A tensor and its index in the caller's list. */
typedef struct place {
    const hy__st_tensor *tensor;
    int64_t index;
} place;

static int by_order(const void *a, const void *b) {
    const hy__st_tensor *x = ((const place *)a)->tensor, *y = ((const place *)b)->tensor;
    const size_t sx = hy__st_dtype_size(x->dtype), sy = hy__st_dtype_size(y->dtype);
    if (sx != sy) return sx > sy ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* The list in the order of the file; the caller frees it. */
static place *sorted_places(const hy__st_list *list) {
    place *p = malloc(((size_t)list->n_tensor + 1) * sizeof *p);
    if (!p) return NULL;
    for (int64_t i = 0; i < list->n_tensor; i++) p[i] = (place){&list->tensor[i], i};
    if (list->n_tensor > 0) qsort(p, (size_t)list->n_tensor, sizeof *p, by_order);
    return p;
}

/* ---- one file ---------------------------------------------------------------------------------
 */

static json_t *entry_json(const hy__st_tensor *t, int64_t begin) {
    json_t *shape = json_array();
    for (int i = 0; i < t->n_dim; i++) json_array_append_new(shape, json_integer(t->shape[i]));
    return json_pack("{s:s,s:o,s:[I,I]}", "dtype", hy__st_dtype_name(t->dtype), "shape", shape,
                     "data_offsets", (json_int_t)begin, (json_int_t)(begin + tensor_bytes(t)));
}

/* The header's text, padded; the caller frees it. NULL: no memory. */
static char *header_text(const place *p, int64_t n, const char *const *metadata, size_t *size) {
    json_t *header = json_object(), *meta = json_pack("{s:s}", "format", "pt");
    for (; metadata && *metadata; metadata += 2)
        json_object_set_new(meta, metadata[0], json_string(metadata[1]));
    bool whole = json_object_set_new(header, "__metadata__", meta) == 0;
    int64_t at = 0;
    for (int64_t i = 0; i < n && whole; i++) {
        whole = json_object_set_new(header, p[i].tensor->name, entry_json(p[i].tensor, at)) == 0;
        at += tensor_bytes(p[i].tensor);
    }
    char *text = whole ? json_dumps(header, JSON_COMPACT) : NULL;
    json_decref(header);
    if (!text) return NULL;
    const size_t n_text = strlen(text);
    *size = (n_text + 7) / 8 * 8;
    char *padded = malloc(*size);
    if (padded) {
        memset(padded, ' ', *size);
        memcpy(padded, text, n_text);
    }
    free(text);
    return padded;
}

static hy_status write_header(hy__writer *w, const place *p, int64_t n, const char *const *metadata,
                              hy_error *err) {
    size_t size;
    char *text = header_text(p, n, metadata, &size);
    if (!text) return hy__no_memory(err, "writing tensors");
    unsigned char length[8];
    for (int i = 0; i < 8; i++) length[i] = (unsigned char)((uint64_t)size >> (8 * i));
    hy_status status = hy__writer_write(w, length, sizeof length, err);
    if (status == HY_OK) status = hy__writer_write(w, text, size, err);
    free(text);
    return status;
}

static hy_status write_data(hy__writer *w, const hy__st_list *list, const place *p, void *buf,
                            hy_error *err) {
    const size_t size = hy__st_dtype_size(p->tensor->dtype);
    const int64_t n = tensor_count(p->tensor), step = (int64_t)(PIECE / size);
    for (int64_t i = 0; i < n; i += step) {
        const int64_t m = n - i < step ? n - i : step;
        HY_TRY(list->fill(list->user, p->index, i, m, buf, err));
        HY_TRY(hy__writer_write(w, buf, (size_t)m * size, err));
    }
    return HY_OK;
}

/* Writes n tensors into an open file and commits it, or discards it. */
static hy_status write_file(hy__writer *w, const hy__st_list *list, const place *p, int64_t n,
                            hy_error *err) {
    void *buf = malloc(PIECE);
    hy_status status =
        buf ? write_header(w, p, n, list->metadata, err) : hy__no_memory(err, "writing tensors");
    for (int64_t i = 0; i < n && status == HY_OK; i++)
        status = write_data(w, list, &p[i], buf, err);
    free(buf);
    if (status == HY_OK) return hy__writer_commit(w, err);
    hy__writer_abort(w);
    return status;
}

hy_status hy__st_write(const char *path, const hy__st_list *list, hy_error *err) {
    place *p = sorted_places(list);
    if (!p) return hy__no_memory(err, "writing tensors");
    hy__writer w;
    hy_status status = hy__writer_open(&w, path, err);
    if (status == HY_OK) status = write_file(&w, list, p, list->n_tensor, err);
    free(p);
    return status;
}

/* ---- a model of one or several files ----------------------------------------------------------
 */

enum { SHARD_NAME = 64 };

static void shard_name(char *name, int64_t i, int64_t n) {
    snprintf(name, SHARD_NAME, "model-%05jd-of-%05jd.safetensors", (intmax_t)(i + 1), (intmax_t)n);
}

/* How many tensors from p on fit one file: at least one. */
static int64_t shard_end(const place *p, int64_t n, int64_t limit) {
    int64_t i = 0, bytes = 0;
    while (i < n && (i == 0 || bytes + tensor_bytes(p[i].tensor) <= limit))
        bytes += tensor_bytes(p[i++].tensor);
    return i;
}

static hy_status put_index(hy__fileset *set, json_t *map, int64_t total, hy_error *err) {
    json_t *index =
        json_pack("{s:{s:I},s:O}", "metadata", "total_size", (json_int_t)total, "weight_map", map);
    if (!index) return hy__no_memory(err, "writing tensors");
    const hy_status status = hy__json_put(set, INDEX, index, err);
    json_decref(index);
    return status;
}

static hy_status put_shards(hy__fileset *set, const hy__st_list *list, const place *p,
                            int64_t n_shard, int64_t limit, hy_error *err) {
    json_t *map = json_object();
    hy_status status = map ? HY_OK : hy__no_memory(err, "writing tensors");
    int64_t at = 0, total = 0;
    for (int64_t s = 0; s < n_shard && status == HY_OK; s++) {
        char name[SHARD_NAME];
        shard_name(name, s, n_shard);
        const int64_t n = shard_end(p + at, list->n_tensor - at, limit);
        for (int64_t i = at; i < at + n && status == HY_OK; i++) {
            if (json_object_set_new(map, p[i].tensor->name, json_string(name)) != 0)
                status = hy__no_memory(err, "writing tensors");
            total += tensor_bytes(p[i].tensor);
        }
        hy__writer w;
        if (status == HY_OK) status = hy__fileset_put(set, &w, name, err);
        if (status == HY_OK) status = write_file(&w, list, p + at, n, err);
        at += n;
    }
    if (status == HY_OK) status = put_index(set, map, total, err);
    json_decref(map);
    return status;
}

static bool is_weight_file(const char *name) {
    intmax_t i, n;
    char shard[SHARD_NAME];
    if (sscanf(name, "model-%5jd-of-%5jd", &i, &n) != 2)
        return strcmp(name, "model.safetensors") == 0 || strcmp(name, INDEX) == 0;
    shard_name(shard, i - 1, n);
    return strcmp(name, shard) == 0;
}

/* Weight files of the directory that the set does not replace are no part of the new model. */
static hy_status remove_old(hy__fileset *set, hy_error *err) {
    DIR *d = opendir(hy__fileset_dir(set));
    if (!d) return HY_OK;
    hy_status status = HY_OK;
    for (struct dirent *file; status == HY_OK && (file = readdir(d));) {
        if (is_weight_file(file->d_name) && !hy__fileset_has(set, file->d_name))
            status = hy__fileset_remove(set, file->d_name, err);
    }
    closedir(d);
    return status;
}

hy_status hy__st_put_file(hy__fileset *set, const char *name, const hy__st_list *list,
                          hy_error *err) {
    place *p = sorted_places(list);
    if (!p) return hy__no_memory(err, "writing tensors");
    hy__writer w;
    hy_status status = hy__fileset_put(set, &w, name, err);
    if (status == HY_OK) status = write_file(&w, list, p, list->n_tensor, err);
    free(p);
    return status;
}

hy_status hy__st_put(hy__fileset *set, const hy__st_list *list, int64_t limit, hy_error *err) {
    if (limit <= 0) limit = limit_default;
    place *p = sorted_places(list);
    if (!p) return hy__no_memory(err, "writing tensors");
    int64_t n_shard = 0;
    for (int64_t i = 0; i < list->n_tensor; n_shard++)
        i += shard_end(p + i, list->n_tensor - i, limit);
    hy_status status;
    if (n_shard > 1) {
        status = put_shards(set, list, p, n_shard, limit, err);
    } else {
        hy__writer w;
        status = hy__fileset_put(set, &w, "model.safetensors", err);
        if (status == HY_OK) status = write_file(&w, list, p, list->n_tensor, err);
    }
    free(p);
    return status == HY_OK ? remove_old(set, err) : status;
}
