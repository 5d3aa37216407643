/* checkpoint.h: a model as a directory in Hugging Face's layout.
 *
 *   config.json             "architectures": ["HydraForCausalLM"], "model_type": "hydra", the usual
 *                           sizes, and our sections (model, ssm, …) under their names
 *   generation_config.json
 *   model.safetensors       every parameter of the model by its name, buffers included; beyond 5 GB
 *                           several files and model.safetensors.index.json
 * The tokenizer's files beside them are src/text's.
 *
 * All files change at once (fileset.h): a kill at any moment leaves the old or the new model whole.
 * Weights are written in the dtype that they have in memory; quantised rows (tensor/quant.h) as
 * tensors of bytes, of which config.json says the format in "quantization_config". */
#ifndef HY_CKPT_CHECKPOINT_H
#define HY_CKPT_CHECKPOINT_H

#include "ckpt/fileset.h"
#include "ckpt/safetensors.h"
#include "model/model.h"

/* Opens the set of a directory whose model is to be replaced, by any other command than a training:
 * refused where the directory holds a training (training_dir.h). */
hy_status hy__checkpoint_begin(hy__fileset **set, const char *dir, hy_error *err);

/* Writes the model into an open set, so that other files can change in the same moment; what the
 * directory held of another model is replaced. `train`: the section of that name, or NULL. eos
 * [n_eos]: the tokens that end a text. */
hy_status hy__checkpoint_put(hy__fileset *set, const hy__model *m, const hy__train_config *train,
                             const int32_t *eos, int64_t n_eos, hy_error *err);

/* Copies the files of another directory's model that say what its tokens mean: of the tokenizer,
 * and generation_config.json. Those that it does not have, the new set does not have either, unless
 * they were put. */
hy_status hy__checkpoint_copy_text(hy__fileset *set, const char *from, hy_error *err);

/* Reads config.json. t may be NULL. */
hy_status hy__checkpoint_config(const char *dir, hy__config *c, hy__train_config *t, hy_error *err);

/* Opens a model to be run. dtype of the weights in memory: "fp32", "bf16", or NULL for that of the
 * file (then fp16 becomes fp32); quantised weights are opened as what they are alone. Every
 * parameter of the config must be in the file with its shape, and nothing else may be. Weights
 * whose dtype is that of the file are used where they lie, in the mapped file (on backends of the
 * host's memory): they are read when they are needed, and must not be written. */
hy_status hy__checkpoint_open(hy__model **out, hy__backend *be, const char *dir, const char *dtype,
                              hy_error *err);

/* Opens a model to be trained: all weights are copied, as fp32. */
hy_status hy__checkpoint_open_to_train(hy__model **out, hy__backend *be, const char *dir,
                                       hy_error *err);

/* Fills one parameter from a tensor of any float dtype; `file` is for messages. */
hy_status hy__checkpoint_load(hy__backend *be, const hy__param *p, const hy__st_tensor *t,
                              const char *file, hy_error *err);

/* The dtype of weights in memory by its name: "fp32" (the backend's real numbers), "bf16", "int8"
 * or "int4". */
hy_status hy__checkpoint_parse_dtype(hy__dtype *out, const hy__backend *be, const char *name,
                                     hy_error *err);

/* The dtype of quantised weights by its name: "int8" or "int4". */
hy_status hy__checkpoint_parse_quant(hy__dtype *out, const char *name, hy_error *err);

/* The dtype in files of a tensor in memory, and that of a model's weights as torch calls it. */
hy__st_dtype hy__checkpoint_dtype(hy__dtype dtype);
const char *hy__checkpoint_torch_dtype(hy__dtype dtype);

#endif
