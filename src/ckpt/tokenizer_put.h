/* tokenizer_put.h: a tokenizer's files as part of a model directory that is being replaced. */
#ifndef HY_CKPT_TOKENIZER_PUT_H
#define HY_CKPT_TOKENIZER_PUT_H

#include "ckpt/fileset.h"
#include "text/tokenizer.h"

hy_status hy__tokenizer_put(hy__fileset *set, const hy__tokenizer *tok, hy_error *err);

#endif
