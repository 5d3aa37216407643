/* safetensors.c: the reader; see safetensors.h. */
#include "ckpt/safetensors.h"

#include "ckpt/json_file.h"

#include <stdlib.h>
#include <string.h>

enum { HEADER_MAX = 100000000, HEADER_DEPTH = 3, INDEX_BYTES = 64 << 20, INDEX_DEPTH = 4 };

static const struct {
    const char *name;
    size_t size;
} dtypes[] = {
    [HY__ST_F64] = {"F64", 8}, [HY__ST_I64] = {"I64", 8}, [HY__ST_F32] = {"F32", 4},
    [HY__ST_I32] = {"I32", 4}, [HY__ST_F16] = {"F16", 2}, [HY__ST_BF16] = {"BF16", 2},
    [HY__ST_U8] = {"U8", 1},
};
enum { N_DTYPE = sizeof dtypes / sizeof *dtypes };

size_t hy__st_dtype_size(hy__st_dtype dtype) {
    return dtypes[dtype].size;
}
const char *hy__st_dtype_name(hy__st_dtype dtype) {
    return dtypes[dtype].name;
}

/* One file: its bytes and the header that the tensors' names point into. */
typedef struct st_file {
    char *name;   /* in messages */
    size_t index; /* among the files */
    const unsigned char *data;
    size_t size;
    hy__map map; /* empty when the data are the caller's */
    json_t *header;
} st_file;

struct hy__st {
    st_file *file;
    size_t n_file;
    hy__st_tensor *tensor; /* by name */
    int64_t n_tensor;
};

/* A tensor's place in the data of its file. */
typedef struct extent {
    const char *name;
    uint64_t begin, end;
} extent;

/* A failure in the file, or in one tensor of it. */
#define FAIL(f, fmt, ...)                                                                          \
    hy__fail(err, HY_E_INVALID, "safetensors file %s: " fmt, (f)->name, __VA_ARGS__)
#define FAIL_AT(f, tensor, fmt, ...) FAIL(f, "tensor '%.128s': " fmt, tensor, __VA_ARGS__)

/* A JSON value that is an integer >= 0. */
static bool get_size(const json_t *json, uint64_t *out) {
    if (!json_is_integer(json) || json_integer_value(json) < 0) return false;
    *out = (uint64_t)json_integer_value(json);
    return true;
}

static hy_status parse_dtype(const st_file *f, const char *name, const json_t *json,
                             hy__st_dtype *dtype, hy_error *err) {
    if (!json_is_string(json)) return FAIL_AT(f, name, "%s", "its dtype is missing or no string");
    for (int i = 0; i < N_DTYPE; i++) {
        if (strcmp(json_string_value(json), dtypes[i].name) == 0) {
            *dtype = (hy__st_dtype)i;
            return HY_OK;
        }
    }
    return FAIL_AT(f, name, "it has the dtype %.32s; F64, F32, F16, BF16, I64, I32 and U8 are read",
                   json_string_value(json));
}

static hy_status parse_shape(const st_file *f, const char *name, const json_t *json,
                             hy__st_tensor *t, hy_error *err) {
    if (!json_is_array(json)) return FAIL_AT(f, name, "%s", "its shape is missing or no array");
    const size_t n_dim = json_array_size(json);
    if (n_dim > HY__ST_DIM_MAX)
        return FAIL_AT(f, name, "it has %zu dimensions; at most %d are read", n_dim,
                       HY__ST_DIM_MAX);
    t->n_dim = (int)n_dim;
    t->n = 1;
    for (size_t i = 0; i < n_dim; i++) {
        uint64_t dim;
        if (!get_size(json_array_get(json, i), &dim))
            return FAIL_AT(f, name, "dimension %zu of its shape is no integer >= 0", i);
        t->shape[i] = (int64_t)dim;
        if (dim > 0 && t->n > INT64_MAX / (int64_t)dim)
            return FAIL_AT(f, name, "%s", "the product of its shape exceeds 2^63");
        t->n *= (int64_t)dim;
    }
    if (t->n > INT64_MAX / (int64_t)dtypes[t->dtype].size)
        return FAIL_AT(f, name, "%s", "its size exceeds 2^63 bytes");
    return HY_OK;
}

/* One entry of the header; `data` and `size` are the file's data area. */
static hy_status parse_tensor(const st_file *f, const char *name, const json_t *json,
                              const unsigned char *data, size_t size, hy__st_tensor *t,
                              extent *place, hy_error *err) {
    *t = (hy__st_tensor){.name = name, .mapped = f->map.data != NULL, .file = f->index};
    if (!json_is_object(json)) return FAIL_AT(f, name, "%s", "its entry is no object");
    HY_TRY(parse_dtype(f, name, json_object_get(json, "dtype"), &t->dtype, err));
    HY_TRY(parse_shape(f, name, json_object_get(json, "shape"), t, err));
    const json_t *offsets = json_object_get(json, "data_offsets");
    uint64_t begin, end;
    if (json_array_size(offsets) != 2 || !get_size(json_array_get(offsets, 0), &begin) ||
        !get_size(json_array_get(offsets, 1), &end))
        return FAIL_AT(f, name, "%s", "its data_offsets are no pair of integers >= 0");
    if (json_object_size(json) != 3)
        return FAIL_AT(f, name, "%s", "its entry has keys other than dtype, shape, data_offsets");
    if (begin > end || end > size)
        return FAIL_AT(f, name, "its data_offsets are [%ju,%ju]; the data has %zu bytes",
                       (uintmax_t)begin, (uintmax_t)end, size);
    const uint64_t want = (uint64_t)t->n * dtypes[t->dtype].size;
    if (end - begin != want)
        return FAIL_AT(f, name, "its data_offsets span %ju bytes; %jd elements of %s are %ju",
                       (uintmax_t)(end - begin), (intmax_t)t->n, dtypes[t->dtype].name,
                       (uintmax_t)want);
    t->data = data + begin;
    *place = (extent){name, begin, end};
    return HY_OK;
}

static hy_status check_metadata(const st_file *f, json_t *json, hy_error *err) {
    if (!json_is_object(json)) return FAIL(f, "%s", "its __metadata__ is no object");
    const char *key;
    json_t *value;
    json_object_foreach(json, key, value) {
        if (!json_is_string(value))
            return FAIL(f, "the value of '%.128s' in its __metadata__ is no string", key);
    }
    return HY_OK;
}

static int by_place(const void *a, const void *b) {
    const extent *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

/* The data is covered from its first byte to its last, without holes and overlaps. */
static hy_status check_places(const st_file *f, extent *place, size_t n, size_t size,
                              hy_error *err) {
    qsort(place, n, sizeof *place, by_place);
    uint64_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (place[i].begin != at)
            return FAIL_AT(f, place[i].name, "its data begins at %ju; %ju was expected (%s)",
                           (uintmax_t)place[i].begin, (uintmax_t)at,
                           place[i].begin > at ? "a hole" : "an overlap");
        at = place[i].end;
    }
    if (at != size)
        return FAIL(f, "its data has %zu bytes; its tensors cover %ju", size, (uintmax_t)at);
    return HY_OK;
}

/* Parses the header: the file's JSON and where the data begins. */
static hy_status parse_header(st_file *f, size_t *data_at, hy_error *err) {
    if (f->size < 8)
        return FAIL(f, "it has %zu bytes; the length of the header alone takes 8", f->size);
    uint64_t n = 0;
    for (int i = 7; i >= 0; i--) n = n << 8 | f->data[i];
    if (n > HEADER_MAX)
        return FAIL(f, "its header claims %ju bytes; at most %d are read", (uintmax_t)n,
                    HEADER_MAX);
    if (n > f->size - 8)
        return FAIL(f, "its header claims %ju bytes; %zu follow", (uintmax_t)n, f->size - 8);
    const char *text = (const char *)f->data + 8;
    if (n < 2 || text[0] != '{') return FAIL(f, "%s", "its header does not start with '{'");
    HY_TRY(hy__json_parse(&f->header, text, (size_t)n, HEADER_DEPTH, false, f->name, err));
    if (!json_is_object(f->header)) return FAIL(f, "%s", "its header is no JSON object");
    *data_at = 8 + (size_t)n;
    return HY_OK;
}

/* Adds the file's tensors to st. */
static hy_status add_file(hy__st *st, st_file *f, hy_error *err) {
    size_t data_at = 0, n = 0;
    HY_TRY(parse_header(f, &data_at, err));
    const size_t n_max = json_object_size(f->header);
    extent *place = malloc((n_max + 1) * sizeof *place);
    hy__st_tensor *grown = realloc(st->tensor, ((size_t)st->n_tensor + n_max + 1) * sizeof *grown);
    hy_status status = HY_OK;
    if (grown) st->tensor = grown;
    if (!place || !grown) {
        status = hy__no_memory(err, "the header of %s", f->name);
        goto done;
    }
    const size_t size = f->size - data_at;
    const char *name;
    json_t *json;
    json_object_foreach(f->header, name, json) {
        if (strcmp(name, "__metadata__") == 0) {
            HY_TRY_GOTO(check_metadata(f, json, err));
            continue;
        }
        HY_TRY_GOTO(parse_tensor(f, name, json, f->data + data_at, size,
                                 &st->tensor[st->n_tensor + (int64_t)n], &place[n], err));
        n++;
    }
    HY_TRY_GOTO(check_places(f, place, n, size, err));
    st->n_tensor += (int64_t)n;
done:
    free(place);
    return status;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const hy__st_tensor *)a)->name, ((const hy__st_tensor *)b)->name);
}

/* Sorts by name; a name that two files hold is an error. */
static hy_status sort_tensors(hy__st *st, const char *where, hy_error *err) {
    if (st->n_tensor > 0) qsort(st->tensor, (size_t)st->n_tensor, sizeof *st->tensor, by_name);
    for (int64_t i = 1; i < st->n_tensor; i++) {
        if (by_name(&st->tensor[i - 1], &st->tensor[i]) == 0)
            return hy__fail(err, HY_E_INVALID, "%s: tensor '%.128s' is in two files", where,
                            st->tensor[i].name);
    }
    return HY_OK;
}

/* ---- opening ----------------------------------------------------------------------------------
 */

static hy__st *st_new(size_t n_file) {
    hy__st *st = calloc(1, sizeof *st);
    if (st && !(st->file = calloc(n_file, sizeof *st->file))) {
        free(st);
        return NULL;
    }
    return st;
}

void hy__st_close(hy__st *st) {
    if (!st) return;
    for (size_t i = 0; i < st->n_file; i++) {
        st_file *f = &st->file[i];
        hy__file_unmap(&f->map);
        json_decref(f->header);
        free(f->name);
    }
    free(st->file);
    free(st->tensor);
    free(st);
}

/* Opens the next file of st by its path, or, when data is given, from memory. */
static hy_status open_next(hy__st *st, const char *path, const void *data, size_t size,
                           hy_error *err) {
    st_file *f = &st->file[st->n_file];
    f->index = st->n_file++;
    if (!(f->name = strdup(path))) return hy__no_memory(err, "the header of %s", path);
    if (!data) {
        HY_TRY(hy__file_map(&f->map, path, err));
        data = f->map.data;
        size = f->map.size;
    }
    f->data = data;
    f->size = size;
    return add_file(st, f, err);
}

static hy_status open_one(hy__st **out, const char *path, const void *data, size_t size,
                          hy_error *err) {
    *out = NULL;
    hy__st *st = st_new(1);
    if (!st) return hy__no_memory(err, "the header of %s", path);
    hy_status status = open_next(st, path, data, size, err);
    if (status == HY_OK) status = sort_tensors(st, path, err);
    if (status != HY_OK) {
        hy__st_close(st);
        return status;
    }
    *out = st;
    return HY_OK;
}

hy_status hy__st_open(hy__st **out, const char *path, hy_error *err) {
    return open_one(out, path, NULL, 0, err);
}

hy_status hy__st_open_memory(hy__st **out, const void *data, size_t size, const char *name,
                             hy_error *err) {
    return open_one(out, name, data ? data : "", size, err);
}

/* ---- several files ----------------------------------------------------------------------------
 */

/* The file names of a weight map, each once, as keys of a new object. */
static hy_status index_files(json_t **files, json_t *map, const char *path, hy_error *err) {
    if (!(*files = json_object())) return hy__no_memory(err, "the header of %s", path);
    const char *tensor;
    json_t *file;
    json_object_foreach(map, tensor, file) {
        const char *name = json_string_value(file);
        if (!name || !hy__name_is_plain(name))
            return hy__fail(err, HY_E_INVALID,
                            "%s: the file of tensor '%.128s' is no plain file name", path, tensor);
        if (json_object_set_new(*files, name, json_true()) != 0)
            return hy__no_memory(err, "the header of %s", path);
    }
    if (json_object_size(*files) == 0)
        return hy__fail(err, HY_E_INVALID, "%s: its weight_map is empty", path);
    return HY_OK;
}

/* Every tensor is in the file that the map names, and the map names every tensor. */
static hy_status check_map(const hy__st *st, size_t file, int64_t first, json_t *map,
                           const char *file_name, const char *path, hy_error *err) {
    for (int64_t i = first; i < st->n_tensor; i++) {
        const char *name = st->tensor[i].name;
        const char *mapped = json_string_value(json_object_get(map, name));
        if (!mapped || strcmp(mapped, file_name) != 0)
            return hy__fail(err, HY_E_INVALID, "%s: tensor '%.128s' lies in %s; the index says %s",
                            path, name, st->file[file].name, mapped ? mapped : "nothing about it");
    }
    return HY_OK;
}

static hy_status open_shards(hy__st *st, const char *dir, json_t *map, json_t *files,
                             const char *path, hy_error *err) {
    const char *name;
    json_t *unused;
    json_object_foreach(files, name, unused) {
        char *shard;
        HY_TRY(hy__fileset_find(&shard, dir, name, err));
        if (!shard)
            return hy__fail(err, HY_E_IO, "%s names the file %s, which does not exist", path, name);
        const int64_t first = st->n_tensor;
        const hy_status status = open_next(st, shard, NULL, 0, err);
        free(shard);
        HY_TRY(status);
        HY_TRY(check_map(st, st->n_file - 1, first, map, name, path, err));
    }
    HY_TRY(sort_tensors(st, path, err));
    json_object_foreach(map, name, unused) {
        if (!hy__st_find(st, name))
            return hy__fail(err, HY_E_INVALID, "%s: tensor '%.128s' is missing from %s", path, name,
                            json_string_value(unused));
    }
    return HY_OK;
}

static hy_status open_index(hy__st **out, const char *dir, const char *path, hy_error *err) {
    char *text = NULL;
    size_t size;
    json_t *index = NULL, *files = NULL;
    hy__st *st = NULL;
    hy_status status = hy__file_read(path, INDEX_BYTES, &text, &size, err);
    if (status == HY_OK) status = hy__json_parse(&index, text, size, INDEX_DEPTH, false, path, err);
    json_t *map = json_object_get(index, "weight_map");
    if (status == HY_OK && !json_is_object(map))
        status = hy__fail(err, HY_E_INVALID, "%s has no object \"weight_map\"", path);
    if (status == HY_OK) status = index_files(&files, map, path, err);
    if (status == HY_OK && !(st = st_new(json_object_size(files))))
        status = hy__no_memory(err, "the header of %s", path);
    if (status == HY_OK) status = open_shards(st, dir, map, files, path, err);
    if (status == HY_OK) {
        *out = st;
        st = NULL;
    }
    hy__st_close(st);
    json_decref(files);
    json_decref(index);
    free(text);
    return status;
}

hy_status hy__st_open_dir(hy__st **out, const char *dir, hy_error *err) {
    *out = NULL;
    char *path;
    HY_TRY(hy__fileset_find(&path, dir, "model.safetensors", err));
    hy_status status;
    if (path) {
        status = hy__st_open(out, path, err);
    } else {
        HY_TRY(hy__fileset_find(&path, dir, "model.safetensors.index.json", err));
        if (!path)
            return hy__fail(err, HY_E_IO,
                            "%s has no weights: neither model.safetensors nor "
                            "model.safetensors.index.json is there",
                            dir);
        status = open_index(out, dir, path, err);
    }
    free(path);
    return status;
}

void hy__st_release(const hy__st_tensor *t, int64_t first, int64_t n) {
    const size_t size = dtypes[t->dtype].size;
    if (t->mapped) hy__map_release(t->data + (size_t)first * size, (size_t)n * size);
}

size_t hy__st_file_count(const hy__st *st) {
    return st->n_file;
}

hy__map hy__st_take_map(hy__st *st, size_t file) {
    const hy__map map = st->file[file].map;
    st->file[file].map = (hy__map){0};
    return map;
}

int64_t hy__st_count(const hy__st *st) {
    return st->n_tensor;
}

const hy__st_tensor *hy__st_at(const hy__st *st, int64_t i) {
    return &st->tensor[i];
}

const hy__st_tensor *hy__st_find(const hy__st *st, const char *name) {
    const hy__st_tensor key = {.name = name};
    if (st->n_tensor == 0) return NULL;
    return bsearch(&key, st->tensor, (size_t)st->n_tensor, sizeof *st->tensor, by_name);
}

const char *hy__st_metadata(const hy__st *st, const char *key) {
    return json_string_value(
        json_object_get(json_object_get(st->file[0].header, "__metadata__"), key));
}
