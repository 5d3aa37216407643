/* safetensors.h: tensors in files, read by mapping and written in one pass.
 *
 * The format: u64 little-endian length N of the header (<= 100,000,000), N bytes of JSON that start
 * with `{` and may end in spaces, then the data. An entry of the header is
 * name: {"dtype","shape","data_offsets":[begin,end]}, offsets counted from the data's start,
 * without holes or overlaps; "__metadata__" maps strings to strings. A model of several files is
 * described by model.safetensors.index.json.
 *
 * The reader trusts nothing: every rule is checked before a tensor is handed out, with a sentence
 * that names file and tensor. What it hands out lies in the mapping, possibly unaligned. */
#ifndef HY_CKPT_SAFETENSORS_H
#define HY_CKPT_SAFETENSORS_H

#include "base/file.h"
#include "ckpt/fileset.h"

enum { HY__ST_DIM_MAX = 8 };

typedef enum hy__st_dtype {
    HY__ST_F64 = 0,
    HY__ST_I64 = 1,
    HY__ST_F32 = 2,
    HY__ST_I32 = 3,
    HY__ST_F16 = 4,
    HY__ST_BF16 = 5,
    HY__ST_U8 = 6,
} hy__st_dtype;

size_t hy__st_dtype_size(hy__st_dtype dtype);      /* bytes */
const char *hy__st_dtype_name(hy__st_dtype dtype); /* as the header spells it */

typedef struct hy__st_tensor {
    const char *name; /* the reader's, or the caller's when writing */
    hy__st_dtype dtype;
    int n_dim; /* 0 = a scalar */
    int64_t shape[HY__ST_DIM_MAX];
    int64_t n;                 /* elements */
    const unsigned char *data; /* reading: n elements, little-endian, unaligned */
    bool mapped;               /* reading: data lie in a mapped file, not in the caller's memory */
    size_t file;               /* reading: which of the files they lie in */
} hy__st_tensor;

/* Elements [first, first + n) as doubles, and doubles as elements of `dtype` (rounded to nearest,
 * ties to even; integers must be representable). */
void hy__st_get_f64(double *dst, const hy__st_tensor *t, int64_t first, int64_t n);
void hy__st_put_f64(void *dst, hy__st_dtype dtype, const double *src, int64_t n);

/* Elements [first, first + n) have been read: of a mapped file they need not stay in memory. */
void hy__st_release(const hy__st_tensor *t, int64_t first, int64_t n);

/* ---- reading ---- */

typedef struct hy__st hy__st;

/* Opens one file. */
hy_status hy__st_open(hy__st **out, const char *path, hy_error *err);
/* Opens the model of a directory: model.safetensors, or the files of its index. */
hy_status hy__st_open_dir(hy__st **out, const char *dir, hy_error *err);
/* Reads from memory, which must outlive the result; `name` stands for the path in messages. */
hy_status hy__st_open_memory(hy__st **out, const void *data, size_t size, const char *name,
                             hy_error *err);
void hy__st_close(hy__st *st); /* NULL is fine */

int64_t hy__st_count(const hy__st *st);
const hy__st_tensor *hy__st_at(const hy__st *st, int64_t i);          /* in the order of names */
const hy__st_tensor *hy__st_find(const hy__st *st, const char *name); /* NULL when not there */
/* Files read, and the mapping of one of them: it is the caller's from now on, and may outlive the
 * reader. */
size_t hy__st_file_count(const hy__st *st);
hy__map hy__st_take_map(hy__st *st, size_t file);
/* A value of the (first) file's "__metadata__", or NULL. */
const char *hy__st_metadata(const hy__st *st, const char *key);

/* ---- writing ---- */

/* Gives elements [first, first + n) of tensor[i] in its dtype. */
typedef hy_status (*hy__st_fill)(void *user, int64_t i, int64_t first, int64_t n, void *dst,
                                 hy_error *err);

typedef struct hy__st_list {
    const hy__st_tensor *tensor; /* name, dtype, n_dim and shape are read */
    int64_t n_tensor;
    hy__st_fill fill; /* called in the order of the file */
    void *user;
    const char *const *metadata; /* key, value, …, NULL; or NULL. "format": "pt" is always there */
} hy__st_list;

/* Writes one file; what was there before stays until all of it is on the disk. */
hy_status hy__st_write(const char *path, const hy__st_list *list, hy_error *err);

/* Writes one file of a set. */
hy_status hy__st_put_file(hy__fileset *set, const char *name, const hy__st_list *list,
                          hy_error *err);

/* Writes the tensors into a set as model.safetensors, or, when their data exceed `limit` bytes
 * (0 = 5 GB), as model-0000i-of-0000n.safetensors with an index; removes what an earlier model of
 * the directory leaves over of either form. */
hy_status hy__st_put(hy__fileset *set, const hy__st_list *list, int64_t limit, hy_error *err);

#endif
