/* state_file.h: what one sequence carries, as a safetensors file; docs/format.md.
 *
 * The file's tensors are the state's, without padding: hy__state_bytes. Beside them stand the
 * position, the model that they belong to, and the output that the next token is chosen from. */
#ifndef HY_CKPT_STATE_FILE_H
#define HY_CKPT_STATE_FILE_H

#include "model/model.h"

/* HY_E_INVALID or HY_E_IO where hy__state_save would find that it cannot write there. */
hy_status hy__state_check_place(const char *path, hy_error *err);

/* Replaces `path` at once or not at all. model: the fingerprint; output: d reals of the backend, or
 * NULL when the sequence has none. */
hy_status hy__state_save(const hy__state *s, const void *output, const char *model,
                         const char *path, hy_error *err);

/* Reads a state of the model m, whose fingerprint is `model`. *output: d reals, the caller's to
 * free, or NULL. HY_E_INVALID for what is no such file, is of another model or is damaged. */
hy_status hy__state_load(hy__state **out, void **output, hy__model *m, const char *model,
                         const char *path, hy_error *err);

#endif
