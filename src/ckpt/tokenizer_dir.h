/* tokenizer_dir.h: a tokenizer's files in a model directory, which change with the others. */
#ifndef HY_CKPT_TOKENIZER_DIR_H
#define HY_CKPT_TOKENIZER_DIR_H

#include "ckpt/fileset.h"
#include "text/tokenizer.h"

/* Opens the tokenizer of a model directory, with its tokenizer_config.json. HY_E_UNSUPPORTED when
 * it has none, or one that is not known here: such a model can still compute with token ids. */
hy_status hy__tokenizer_open_dir(hy__tokenizer **out, const char *dir, hy_error *err);

/* The same of what a person names: such a directory, a tokenizer.json alone, or "bytes". */
hy_status hy__tokenizer_open_path(hy__tokenizer **out, const char *path, hy_error *err);

/* Its files become part of a model directory that is being replaced. */
hy_status hy__tokenizer_put(hy__fileset *set, const hy__tokenizer *tok, hy_error *err);

#endif
