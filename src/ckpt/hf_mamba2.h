/* hf_mamba2.h: exchange with Mamba2ForCausalLM of Hugging Face transformers.
 *
 * A model of the pattern Nx(S) with one B/C group is such a model, tensor by tensor: names, shapes
 * and order of rows are the same. Two things differ. Theirs has no residual gate: on the way in it
 * is 1, on the way out it is multiplied into out_proj. Their chunk_size is only a block of
 * computation: ours, a multiple of 16 from 16 to 256, takes its place without changing any value.
 *
 * Refused with a sentence, since we would compute something else: several B/C groups (the grouped
 * norm differs between the implementations), biases in the projections, no bias in the convolution,
 * another activation, a norm before the gate, a bounded time step, an output matrix of its own. */
#ifndef HY_CKPT_HF_MAMBA2_H
#define HY_CKPT_HF_MAMBA2_H

#include "base/status.h"

/* A directory of theirs (transformers' config or that of state-spaces/mamba, weights in
 * safetensors) becomes a model directory. result may be NULL. Tokenizer files are copied. */
hy_status hy__hf_import(const char *from, const char *to, hy_convert_result *result, hy_error *err);

/* A model directory becomes one that transformers opens. */
hy_status hy__hf_export(const char *from, const char *to, hy_error *err);

#endif
