/* component.h: what a letter of the pattern is.
 *
 * One struct of functions per letter, shared by the model, the accounting, the checkpoint, the
 * initialisation and the optimizer, so that they cannot disagree. A component declares its
 * parameters, its state, its buffers and its cost, and describes its computation by kernel calls
 * alone: no element loop stands in it, and it never asks whether it trains, prefills or decodes.
 *
 * Norm before and gated residual after a layer are the same for all, and with the embedding and the
 * head they are the frame around the layers. */
#ifndef HY_MODEL_COMPONENT_H
#define HY_MODEL_COMPONENT_H

#include "backend/backend.h"
#include "config/config.h"

enum {
    HY__PARAM_MAX = 20, /* parameters of one layer, norm and gate included */
    HY__STATE_MAX = 4,  /* state tensors of one layer */
    HY__BUF_MAX = 48,   /* planned buffers of one layer */
    HY__NAME_MAX = 96,
    HY__DIM_MAX = 4,
    HY__SAY_MAX = 8,  /* what a component says of its statistics */
    HY__DOMAINS = 16, /* of the text that statistics tell apart; later ones count as the last */
    HY__TERM_MAX = 8, /* terms of a layer's cost */
    HY__FEED = 512,   /* tokens of a piece in which a text is read when nothing is trained */
};

/* How a parameter starts. `arg` is the init's number. */
typedef enum hy__init {
    HY__INIT_CONST = 0,   /* arg everywhere */
    HY__INIT_NORMAL = 1,  /* normal, standard deviation arg */
    HY__INIT_LINEAR = 2,  /* uniform ±1/sqrt(fan_in), fan_in = last dimension */
    HY__INIT_OUTPUT = 3,  /* LINEAR / sqrt(number of layers) */
    HY__INIT_A_LOG = 4,   /* log U(1, 16) */
    HY__INIT_DT_BIAS = 5, /* inverse softplus of log-uniform [dt_min, dt_max], floor dt_floor */
    HY__INIT_READS = 6,   /* element (h, j) = -j */
} hy__init;

/* How the optimizer treats a parameter. */
typedef enum hy__group {
    HY__GROUP_MATRIX = 0, /* decay; may be stored and multiplied in bf16 */
    HY__GROUP_EMBED = 1,  /* decay-free, may be bf16 */
    HY__GROUP_VECTOR = 2, /* no decay; always fp32: norms, gates, A_log, dt_bias, D, conv */
    HY__GROUP_TABLE = 3,  /* row-sparse, no decay, own rate; may be bf16 */
    HY__GROUP_BUFFER = 4, /* saved, never trained: balance biases */
    HY__GROUP_ROUTER = 5, /* as MATRIX but always fp32 (routing decisions) */
} hy__group;

/* What costs are counted by. */
typedef enum hy__extent {
    HY__PER_TOKEN = 0,
    HY__PER_CHUNK_PAIR = 1, /* (t, s), s <= t in one chunk of a piece; none in a piece of 1 token */
    HY__PER_BLOCK_PAIR = 2, /* the same in one block of HY__DELTA_BLOCK tokens of a chunk */
    HY__PER_UNIT = 3,       /* routing unit that a piece touches */
    HY__PER_POSITION = 4,   /* (token, position that it attends to) */
    HY__PER_SCORE = 5,      /* (token, block that it may select) */
    HY__PER_LOGIT = 6,      /* row that logits are made of */
    HY__EXTENT_N
} hy__extent;

typedef struct hy__param_decl {
    char name[HY__NAME_MAX]; /* after the layer's prefix, e.g. "mixer.in_proj.weight" */
    int32_t n_dim;
    int64_t shape[HY__DIM_MAX];
    hy__init init;
    double init_arg;
    hy__group group;
    bool shared;    /* one for the whole model: `name` is then the full name after "backbone." */
    double active;  /* fraction of it that one token uses; of a shared one, summed over layers */
    hy__extent per; /* active < 1: what chooses that fraction anew */
} hy__param_decl;

/* A state tensor of one sequence and layer: fixed elements, plus elements per KV slot. */
typedef struct hy__state_decl {
    const char *name;
    int64_t fixed;
    int64_t per_slot;
    bool narrow; /* in bf16 where the weights are narrow */
} hy__state_decl;

/* What is said of a layer's step: a number, or a table of them. */
typedef struct hy__say_decl {
    const char *name;
    int64_t row, col; /* row 0: a list of col numbers; col 0: one number */
    int64_t at;       /* of the first among all that the layer says */
} hy__say_decl;

/* What a layer declares; ids are the component's own enums, in order. */
typedef struct hy__decl {
    hy__param_decl param[HY__PARAM_MAX];
    int32_t n_param;
    hy__state_decl state[HY__STATE_MAX];
    int32_t n_state;
    int64_t n_stat; /* reals of statistics of a step */
    hy__say_decl say[HY__SAY_MAX];
    int32_t n_say;
    int64_t n_said; /* numbers that are said of a step */
} hy__decl;

/* Helpers of declare: they fill the slot `id`. An id that is never declared stands for a parameter
 * that this configuration does not have; its handles are absent. */
void hy__declare(hy__decl *d, int id, const char *name, hy__group group, hy__init init, double arg,
                 int n_dim, const int64_t *shape);
void hy__declare_state(hy__decl *d, int id, const char *name, int64_t fixed, int64_t per_slot);
/* A cache of inputs, which are read again and never added to, so that they may be narrow. */
void hy__declare_cache(hy__decl *d, int id, const char *name, int64_t per_slot);

void hy__declare_say(hy__decl *d, int id, const char *name, int64_t row, int64_t col);

/* Run-time controls of the experts of one layer; zero = as configured. */
typedef struct hy__expert_control {
    int64_t k;          /* choose so many */
    double temperature; /* of the router */
    bool ban[HY__EXPERT_MAX];
    int32_t force[16]; /* these, and no others, when n_force > 0 */
    int64_t n_force;
} hy__expert_control;
/* How many experts work on a token. ctl may be NULL. */
int64_t hy__expert_k(const hy__config *c, const hy__expert_control *ctl);

/* How long a planned buffer lives. */
typedef enum hy__life {
    HY__LIFE_KEEP = 0,     /* from this layer's forward to its backward */
    HY__LIFE_FORWARD = 1,  /* inside forward */
    HY__LIFE_BACKWARD = 2, /* inside backward; absent when not training */
    HY__LIFE_CALL = 3,     /* inside forward and, computed again, inside backward */
    HY__LIFE_TRAIN = 4,    /* KEEP when training, otherwise absent */
} hy__life;

typedef struct hy__buf_decl {
    hy__dtype dtype;
    int64_t count; /* elements; 0 = absent */
    hy__life life;
} hy__buf_decl;

typedef struct hy__plan {
    hy__dtype real;                   /* of the backend */
    const hy__expert_control *expert; /* NULL = none */
    hy__buf_decl buf[HY__BUF_MAX];
    int32_t n_buf;
} hy__plan;

/* Plans buffer `id`: reals, or I32. */
void hy__plan_real(hy__plan *p, int id, hy__life life, int64_t count);
void hy__plan_i32(hy__plan *p, int id, hy__life life, int64_t count);

/* How a step runs. */
typedef struct hy__work_options {
    bool training;  /* keep what the backward needs */
    bool recompute; /* training: keep only each block's input and run the block again */
    hy__prec prec;
} hy__work_options;

/* ---- cost -------------------------------------------------------------------------------------
 * FLOPs are those of products and recurrences: 2 for each multiply-add of a sum over an index.
 * What is done to single elements (norms, activations, gates, softmax, the optimizer) is not
 * counted: it costs the bytes it moves. Masked halves of products are not counted either, though
 * kernels may compute them. docs/accounting.md derives every term. */

typedef struct hy__term {
    const char *what;    /* "in_proj" */
    const char *formula; /* of `forward`, in the symbols of docs/model.md */
    const char *why;     /* where forward and backward come from; NULL = a product with weights */
    hy__extent per;      /* the numbers below are for one of these */
    double forward, backward; /* FLOPs */
    double cached;            /* elements of the state that a token reads of the past */
    bool cached_narrow;       /* of one that is declared so */
} hy__term;

typedef struct hy__cost {
    hy__term term[HY__TERM_MAX];
    int32_t n_term;
} hy__cost;

void hy__cost_add(hy__cost *c, hy__term term);
/* A product with a matrix [out,in]: 2·out·in forward, and backward the same for the gradient of
 * each of its operands. */
void hy__cost_linear(hy__cost *c, const char *what, const char *formula, hy__extent per,
                     int64_t out, int64_t in);

/* How much of each extent a batch has; logits are made of n_logit rows. */
void hy__extents(const hy__config *c, const hy__rows *rows, int64_t n_logit,
                 double extent[HY__EXTENT_N]);

/* The most rows of one batch: kernels number (token, choice) pairs in int32, the experts of a token
 * and the table rows that it reads. */
int64_t hy__rows_max(const hy__config *c);

/* ---- Muon -------------------------------------------------------------------------------------
 * With train.optimizer muon the group MATRIX is updated by it, all else by AdamW. */

/* A parameter as n matrices [rows,cols], one after another: the last two dimensions are a
 * matrix's (each expert's is one; projections that one product makes together are one). n = 0: not
 * Muon's. */
typedef struct hy__matrices {
    int64_t n, rows, cols;
} hy__matrices;
hy__matrices hy__muon_matrices(const hy__param_decl *d, hy__optimizer o);

/* Bytes of its scratch; FLOPs of one update of all n, and elements that it reads and writes. */
size_t hy__muon_scratch(const hy__matrices *m, hy__dtype real);
double hy__muon_flops(const hy__matrices *m);
double hy__muon_moved(const hy__matrices *m);

typedef struct hy__muon_args {
    hy__backend *be;
    hy__matrices at;
    hy__tensor p, m, g; /* real [n,rows,cols]: weights, momentum, gradient */
    hy__tensor scratch; /* reals */
    hy__prec prec;      /* of its products, where the matrix is large */
    double lr, weight_decay, momentum, g_scale;
} hy__muon_args;
void hy__muon_update(const hy__muon_args *a);

/* One call of a layer. Arrays are indexed by the component's own ids. */
typedef struct hy__call {
    hy__backend *be;
    const hy__config *cfg;
    const hy__rows *rows;
    hy__prec prec;
    const hy__tensor *param;
    const hy__tensor *grad; /* backward; an absent one is not computed */
    const hy__tensor *buf;
    hy__tensor x, y;   /* [N,d] in (normed), out; y is written */
    hy__tensor dy, dx; /* backward: read, written */
    /* [id] -> array of n_seq handles, or NULL */
    const hy__tensor *const *state_in, *const *state_out;
    const hy__tensor *const *dstate_in, *const *dstate_out;
    const int64_t *slot_in, *slot_out; /* [n_seq] KV slots of the states */
    hy__tensor touched;                /* I32 [rows of the value table], backward of P */
    int64_t look;    /* which places statistics look at, where they do not look at all */
    hy__tensor stat; /* += statistics of the step; absent = do not count (recomputation) */
    const hy__expert_control *expert; /* NULL = none */
    double loss_scale; /* backward: weight of this batch's auxiliary losses, 1/accumulate */
    hy__tensor room;   /* backward: for hy__linear_args */
} hy__call;

/* A dense layer y[N,out] = x[N,in]·w[out,in]ᵀ of a call's rows, and its backward:
 * dx (= , or += with dx_add) = dy·w, dw += dyᵀ·x. Absent dx or dw is not computed. `room`, where
 * present, is bf16 and has space for dy, which is then narrowed once for both products. */
typedef struct hy__linear_args {
    hy__tensor y, x, w, dy, dx, dw, room;
    int64_t n_row, out, in;
    bool y_add, dx_add;
    hy__prec prec;
} hy__linear_args;
void hy__linear(hy__backend *be, const hy__linear_args *a);
void hy__linear_backward(hy__backend *be, const hy__linear_args *a);

typedef struct hy__component {
    char letter;
    const char *name;      /* "state space" */
    const char *blueprint; /* the blueprint's name for it */
    double gate;           /* initial g */
    int32_t choice; /* the planned buffer of what it chose, I32, kept even where a work recomputes;
                       0 = it chooses nothing */
    int32_t opening, opening_bias; /* the planned buffer [N] of how far each row opens it, before
                                      the bias (a parameter) and σ; 0 = it is always open */
    int32_t place,
        offset; /* of one that sorts rows by what they chose: the planned buffers of where
                   each choice went, and of where each group begins; 0 = it does not */
    void (*declare)(const hy__config *c, hy__decl *d);
    void (*plan)(const hy__config *c, const hy__rows *rows, hy__plan *p);
    void (*cost)(const hy__config *c, hy__cost *cost);
    void (*forward)(const hy__call *c);
    void (*backward)(const hy__call *c);
    void (*settle)(const hy__call *c); /* after an optimizer step; NULL = nothing to do */
    /* Of a layer's statistics of one step (on the host, [n_stat]) what it declared to say, by id;
     * what there is nothing to say of keeps its NaN. NULL = no statistics. */
    void (*report)(const hy__config *c, const double *stat, double *const *said);
} hy__component;

extern const hy__component hy__ssm, hy__attention, hy__experts, hy__ffn, hy__workspace, hy__pkm;

/* The component of a letter, or NULL. */
const hy__component *hy__component_find(char letter);

/* KV slots that a sequence of `capacity` tokens needs (0 when the pattern has no A). Bounded when
 * topk is 0 or memory_blocks is set: then a long text needs no more. */
int64_t hy__kv_slots(const hy__config *c, int64_t capacity);

/* ---- the frame ---- */

enum { HY__FRAME_EMBED, HY__FRAME_NORM }; /* ids of its parameters */

/* Embedding, which is the head too, and final norm; and the head's cost. */
void hy__frame_declare(const hy__config *c, hy__decl *d);
void hy__frame_cost(const hy__config *c, hy__cost *cost);

/* A layer: what its component declares, then the norm before it and its gate, the last two ids. */
void hy__layer_declare(const hy__config *c, const hy__component *component, hy__decl *d);

/* Bytes of the planned memory of a step over `rows`. HY_E_MEMORY when it cannot be planned. */
hy_status hy__work_size(size_t *size, const hy__config *c, const hy__rows *rows,
                        hy__work_options opt, hy__dtype real, hy_error *err);

/* Groups whose parameters may be stored and multiplied in fewer bits, and those that train. */
bool hy__group_may_be_narrow(hy__group g);
/* What a parameter is stored in when those are stored in `narrow` and the others in `real`. Rows
 * that are no whole number of quantised groups stay real. */
hy__dtype hy__param_dtype(const hy__param_decl *d, hy__dtype narrow, hy__dtype real);
/* What a state lies in, in a model whose weights are stored so. A model that trains has weights in
 * `real`, and so has states that gradients exist of. */
hy__dtype hy__state_dtype(bool narrow_state, hy__dtype weights, hy__dtype real);
bool hy__group_is_trained(hy__group g);
/* As recipes call it: "matrix". */
const char *hy__group_name(hy__group g);

#endif
