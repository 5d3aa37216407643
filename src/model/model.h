/* model.h: a pattern of layers with its parameters, the states of sequences, and one forward.
 *
 *   hy__model   parameters (and, once training began, gradients)
 *   hy__state   what one sequence carries between pieces: position and every layer's state
 *   hy__work    the planned memory of one step: activations, the tape, scratch
 *
 * One forward serves training, prefill and decode: hy__forward reads states, writes states and
 * leaves the final normed activations in the work; hy__logits and hy__loss are asked for after it,
 * and hy__backward runs over what it kept. */
#ifndef HY_MODEL_MODEL_H
#define HY_MODEL_MODEL_H

#include "model/component.h"

/* One parameter tensor of the model. */
typedef struct hy__param {
    hy__param_decl decl;
    char name[HY__NAME_MAX + 32]; /* full name in a checkpoint, "backbone.layers.3.mixer.…" */
    int32_t layer;                /* -1: not in a layer */
    char letter;                  /* its letter; 0: embedding and final norm */
    int64_t n;                    /* elements */
    int64_t fan_in;               /* last dimension */
    hy__tensor value;             /* real, bf16 or quantised */
    hy__tensor grad;              /* real; absent until hy__model_train, and for buffers */
} hy__param;

typedef struct hy__layer {
    const hy__component *component;
    hy__decl decl; /* with the norm and the gate appended after the component's own */
    int32_t param_at[HY__PARAM_MAX]; /* declared id -> index into model->param */
    int32_t norm, gate;              /* their ids in decl */
    hy__tensor value[HY__PARAM_MAX], grad[HY__PARAM_MAX]; /* handles by id, as kernels take them */
    hy__tensor stat;           /* [n_stat] of one step; absent until hy__model_train */
    double *said;              /* [n_said] of the last step, NaN = nothing; into model->said */
    hy__expert_control expert; /* run-time control; used by E */
    /* run-time multiplier of the gate, 0 … 1: x + scale·g·y; at 0 the layer is not computed, its
     * states stand still and its parameters get no gradient */
    double scale;
} hy__layer;

typedef struct hy__model {
    hy__backend *be; /* borrowed */
    hy__config cfg;
    hy__dtype weight_dtype; /* of the groups that may be narrow */
    hy__param *param;
    int64_t n_param;
    hy__layer *layer;          /* [n_layer] */
    int32_t embed, norm_f;     /* indices into param */
    int32_t table;             /* the shared value table, or -1 */
    hy__tensor touched;        /* I32 [table rows]; absent until hy__model_train */
    double *stat_host;         /* [largest n_stat] owned; NULL until hy__model_train */
    int64_t look;              /* places that statistics look at: others with another number */
    double *said;              /* of all layers; owned; NULL until hy__model_train */
    hy__buffer weights, grads; /* owned */
    hy__buffer *file;          /* [n_file] owned: mapped files that weights lie in, read-only */
    size_t n_file;
} hy__model;

/* Builds a model of a finished config with uninitialised weights. weight_dtype: be->real, or BF16,
 * Q8 or Q4 (then the groups MATRIX, EMBED and TABLE are stored so, see hy__param_dtype; such a
 * model cannot train). */
hy_status hy__model_new(hy__model **out, hy__backend *be, const hy__config *cfg,
                        hy__dtype weight_dtype, hy_error *err);
void hy__model_free(hy__model *m);

/* The same in two steps, for weights that exist already. A declared model knows its parameters and
 * the dtypes of their values, which have no memory; hy__model_place gives it to those whose value
 * is still absent. Between the two, values may be handles into m->file. */
hy_status hy__model_declare(hy__model **out, hy__backend *be, const hy__config *cfg,
                            hy__dtype weight_dtype, hy_error *err);
hy_status hy__model_place(hy__model *m, hy_error *err);

/* Gives every parameter its initial value: a function of seed, its name and the element alone. */
void hy__model_randomize(hy__model *m, uint64_t seed);

/* Allocates gradients and statistics (zeroed). No weight may lie in a file. */
hy_status hy__model_train(hy__model *m, hy_error *err);

/* Sets the gradients to zero. The value table's are cleared row by row by the optimizer's
 * row-sparse pass; table_too clears them here, when a step is dropped without such a pass. */
void hy__model_zero_grad(hy__model *m, bool table_too);

/* Makes every layer say what its statistics of the step are (hy__layer.said, by decl.say); to be
 * asked for before hy__model_settle. */
void hy__model_report(hy__model *m);
/* What a layer said by that name: a number or a table (decl.say); NULL where it says no such thing.
 */
const double *hy__layer_said(const hy__layer *l, const char *name);
/* The mean over the layers of a letter that said this number; NaN when none did. */
double hy__model_said(const hy__model *m, char letter, const char *name);

/* Ends an optimizer step: updates what moves without a gradient (balance biases), and clears the
 * statistics. */
void hy__model_settle(hy__model *m);
void hy__model_clear_stats(hy__model *m);

/* How many elements of a parameter, from element `first` on, are read and written together by
 * hy__tensor_read_f32 and its like: up to `most`, which is at least a piece of a quantised row, and
 * of such a row a piece. */
int64_t hy__param_run(const hy__param *p, int64_t first, int64_t most);

/* What the forward multiplies a parameter by: the scale of the layer whose gate it is, else 1. */
double hy__model_scale(const hy__model *m, const hy__param *p);

/* The parameter of that full name, or NULL. */
hy__param *hy__model_find(hy__model *m, const char *name);

/* Parameters in elements: all, and those that one token uses; of one, and of the model's trained
 * ones. */
int64_t hy__param_active(const hy__param *p);
int64_t hy__model_count(const hy__model *m, bool active);

/* ---- states ---- */

typedef struct hy__state {
    hy__model *model; /* borrowed */
    int64_t pos;      /* tokens seen */
    int64_t n_slot;   /* KV slots */
    bool broken;      /* a forward failed while it wrote here: the tensors stand at no position */
    hy__buffer buf;   /* owned: all tensors, layer after layer */
    hy__tensor *t;    /* [n_layer][HY__STATE_MAX] */
    size_t bytes;     /* of buf that are used, padding included */
} hy__state;

/* A fresh sequence with room for `capacity` tokens (only A's cache depends on it). */
hy_status hy__state_new(hy__state **out, hy__model *m, int64_t capacity, hy_error *err);
void hy__state_free(hy__state *s);
/* Back to a fresh sequence; nothing of the one before is left. */
void hy__state_reset(hy__state *s);
/* Elements of one state tensor with n_slot KV slots. */
int64_t hy__state_elements(const hy__state_decl *d, int64_t n_slot);
/* Bytes of all its tensors, without the padding between them. */
size_t hy__state_bytes(const hy__state *s);
/* HY_E_INVALID for a broken one: until it is reset nothing may be read from it. */
hy_status hy__state_check_whole(const hy__state *s, hy_error *err);
/* HY_E_INVALID unless a sequence of the model can stand at pos with n_slot slots: for numbers that
 * come from a file. */
hy_status hy__state_check(const hy__model *m, int64_t pos, int64_t n_slot, hy_error *err);
/* Grows A's cache to `capacity` tokens, keeping its contents. Never shrinks; doubles. */
hy_status hy__state_reserve(hy__state *s, int64_t capacity, hy_error *err);

/* ---- one step ---- */

/* A list of sequences' pieces. Arrays have n_seq entries. A NULL state_in entry is a fresh sequence
 * (rows.seq[i].pos must then be 0); otherwise rows.seq[i].pos == state_in[i]->pos. state_out may be
 * the same object as state_in (not when training); NULL entries are not written. On success
 * state_out[i]->pos = pos + len. A failure inside the layers leaves what is in state_out broken,
 * and state_in whole where it is not the same; a broken state_in is refused. dstate_* are gradients
 * with the layout of the states. */
typedef struct hy__batch {
    hy__rows rows;
    const int32_t *token;                            /* host [n_row], 0 … vocab-1 */
    hy__state *const *state_in, *const *state_out;   /* may be NULL */
    hy__state *const *dstate_in, *const *dstate_out; /* backward; may be NULL */
} hy__batch;

typedef struct hy__work hy__work;

hy_status hy__work_new(hy__work **out, hy__model *m, hy__work_options opt, hy_error *err);
void hy__work_free(hy__work *w);
/* Makes room for a batch like `rows`, so that a later step with no more of anything allocates
 * nothing. */
hy_status hy__work_reserve(hy__work *w, const hy__rows *rows, hy_error *err);
/* Bytes that the work holds. */
size_t hy__work_bytes(const hy__work *w);

/* Runs all layers and the final norm. Checks tokens, positions and states first. */
hy_status hy__forward(hy__work *w, const hy__batch *batch, hy_error *err);

/* Logits of rows [row, row+n) of the last forward, to the host: out[n, vocab]. */
hy_status hy__logits(hy__work *w, int64_t row, int64_t n, float *out, hy_error *err);
/* The same in double (all digits on ref64). */
hy_status hy__logits_f64(hy__work *w, int64_t row, int64_t n, double *out, hy_error *err);

/* The final normed activations of one row of the last forward, which its logits are made of, to the
 * host: d reals of the backend. */
hy_status hy__get_output(hy__work *w, int64_t row, void *out, hy_error *err);
/* Rows of the value table that layer `layer`, a P, chose in the last forward of a training work:
 * out[n_row, heads, topk]. */
hy_status hy__get_rows(hy__work *w, int64_t layer, int32_t *out, hy_error *err);
/* Experts that layer `layer`, an E, computed for each row of the last forward of a training work:
 * out[n_row, k], k by hy__expert_k. Not of a work that recomputes. */
hy_status hy__get_experts(hy__work *w, int64_t layer, int32_t *out, hy_error *err);
/* How far each row of the last forward of a training work opened layer `layer`, a P: β, out[n_row].
 * Not of a work that recomputes. */
hy_status hy__get_beta(hy__work *w, int64_t layer, float *out, hy_error *err);
/* The work of another sequence takes over from there: row 0 of a forward of one row. */
hy_status hy__put_output(hy__work *w, const void *output, hy_error *err);

/* Cross-entropy of the last forward against target[n_row] (host; -1 = not counted), in row tiles,
 * so that the logits of the whole batch never exist. nll[n_row] (may be NULL) in nats; *sum and
 * *count over the counted rows. With grad_scale > 0 (training works) also computes the gradient of
 * grad_scale·Σ nll for hy__backward, and adds the embedding's gradient. */
hy_status hy__loss(hy__work *w, const int32_t *target, double grad_scale, float *nll, double *sum,
                   int64_t *count, hy_error *err);
/* Rows that the last hy__loss counted and whose target had the largest logit, the first of them
 * when several had. */
int64_t hy__loss_hits(const hy__work *w);

/* For tests: sets the gradient of the final normed activations [n_row, d] instead of hy__loss. */
void hy__set_output_grad(hy__work *w, const double *dout);
/* For tests: reads the final normed activations [n_row, d]. */
void hy__get_outputs(hy__work *w, double *out);

/* Backward of the last forward: adds to the parameters' gradients, writes batch->dstate_in.
 * `loss_scale` weighs the auxiliary losses (E's z-loss), 1/accumulate for the mean. */
hy_status hy__backward(hy__work *w, double loss_scale, hy_error *err);

#endif
