/* quantize.h: a model directory becomes one whose weights are quantised (tensor/quant.h), to be run
 * and not to be trained. */
#ifndef HY_CKPT_QUANTIZE_H
#define HY_CKPT_QUANTIZE_H

#include "model/model.h"

/* A copy of the model on its backend whose narrow groups are `format`: Q8 or Q4.
 * Every float dtype is read. HY_E_INVALID when they are quantised already. */
hy_status hy__quantize_model(hy__model **out, const hy__model *m, hy__dtype format, hy_error *err);

/* Reads a directory and writes another. The configuration is kept, and the files of the tokenizer;
 * the state of a training is not. result->note says which weights are not quantised. */
hy_status hy__quantize_directory(const char *from, const char *to, const char *format,
                                 hy_convert_result *result, hy_error *err);

#endif
