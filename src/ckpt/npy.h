/* npy.h: NumPy's array files, as far as tokens and logits need them: token ids in (one dimension,
 * int32, int64, uint16 or uint8, little-endian), logits out (float32 [T, V]). */
#ifndef HY_CKPT_NPY_H
#define HY_CKPT_NPY_H

#include "base/status.h"

/* Reads a file of token ids; *token is the caller's to free. HY_E_INVALID for another kind of array
 * and for a value outside int32. */
hy_status hy__npy_read_tokens(int32_t **token, int64_t *n, const char *path, hy_error *err);

/* A float32 [n_row, n_col] file that is written row after row. */
typedef struct hy__npy hy__npy;

/* HY_E_INVALID where another file has the path (hy__file_check_place). */
hy_status hy__npy_open(hy__npy **out, const char *path, int64_t n_row, int64_t n_col,
                       hy_error *err);
hy_status hy__npy_write(hy__npy *npy, const float *row, int64_t n_row, hy_error *err);
/* Makes the file appear once all rows are there; frees npy whatever comes of it. */
hy_status hy__npy_commit(hy__npy *npy, hy_error *err);
void hy__npy_discard(hy__npy *npy); /* NULL is fine */

#endif
