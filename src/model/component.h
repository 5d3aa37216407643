/* component.h: what a letter of the pattern is.
 *
 * One struct of functions per letter, shared by the model, the accounting, the checkpoint, the
 * initialisation and the optimizer, so that they cannot disagree. A component declares its
 * parameters, its state and its buffers, and describes its computation by kernel calls alone: no
 * element loop stands in it, and it never asks whether it trains, prefills or decodes.
 *
 * Norm before and gated residual after a layer are the model's (model.c), the same for all. */
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
    HY__REPORT_MAX = 4, /* numbers that a component makes of its statistics */
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

typedef struct hy__param_decl {
    char name[HY__NAME_MAX]; /* after the layer's prefix, e.g. "mixer.in_proj.weight" */
    int32_t n_dim;
    int64_t shape[HY__DIM_MAX];
    hy__init init;
    double init_arg;
    hy__group group;
    bool shared;   /* one for the whole model: `name` is then the full name after "backbone." */
    double active; /* fraction of it that one token uses; of a shared one, summed over layers */
} hy__param_decl;

/* A state tensor of one sequence and layer: fixed elements, plus elements per KV slot. */
typedef struct hy__state_decl {
    const char *name;
    int64_t fixed;
    int64_t per_slot;
} hy__state_decl;

/* What a layer declares; ids are the component's own enums, in order. */
typedef struct hy__decl {
    hy__param_decl param[HY__PARAM_MAX];
    int32_t n_param;
    hy__state_decl state[HY__STATE_MAX];
    int32_t n_state;
    int64_t n_stat; /* reals of statistics of a step */
} hy__decl;

/* Helpers of declare: they fill the slot `id`. An id that is never declared stands for a parameter
 * that this configuration does not have; its handles are absent. */
void hy__declare(hy__decl *d, int id, const char *name, hy__group group, hy__init init, double arg,
                 int n_dim, const int64_t *shape);
void hy__declare_state(hy__decl *d, int id, const char *name, int64_t fixed, int64_t per_slot);

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
    hy__dtype real;   /* of the backend */
    int64_t expert_k; /* choices per token of an E layer, run-time control included */
    hy__buf_decl buf[HY__BUF_MAX];
    int32_t n_buf;
} hy__plan;

/* Plans buffer `id`: reals, or I32. */
void hy__plan_real(hy__plan *p, int id, hy__life life, int64_t count);
void hy__plan_i32(hy__plan *p, int id, hy__life life, int64_t count);

/* Run-time controls of the experts of one layer; zero = as configured. */
typedef struct hy__expert_control {
    int64_t k;          /* choose so many */
    double temperature; /* of the router */
    bool ban[HY__EXPERT_MAX];
    int32_t force[16]; /* these, and no others, when n_force > 0 */
    int64_t n_force;
} hy__expert_control;

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
    hy__tensor stat; /* += statistics of the step; absent = do not count (recomputation) */
    const hy__expert_control *expert; /* NULL = none */
    double loss_scale; /* backward: weight of this batch's auxiliary losses, 1/accumulate */
} hy__call;

/* A dense layer y[N,out] = x[N,in]·w[out,in]ᵀ of a call's rows, and its backward:
 * dx (= , or += with dx_add) = dy·w, dw += dyᵀ·x. Absent dx or dw is not computed. */
typedef struct hy__linear_args {
    hy__tensor y, x, w, dy, dx, dw;
    int64_t n_row, out, in;
    int64_t ldx, ldy; /* 0 = dense; of dx and dy too */
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
    void (*declare)(const hy__config *c, hy__decl *d);
    void (*plan)(const hy__config *c, const hy__rows *rows, hy__plan *p);
    void (*forward)(const hy__call *c);
    void (*backward)(const hy__call *c);
    void (*settle)(const hy__call *c); /* after an optimizer step; NULL = nothing to do */
    /* The numbers report_name of a layer's statistics of one step (on the host, [n_stat]); both
     * NULL = no statistics. */
    const char *report_name[HY__REPORT_MAX];
    void (*report)(const hy__config *c, const double *stat, double *number);
} hy__component;

extern const hy__component hy__ssm, hy__attention, hy__experts, hy__ffn, hy__workspace, hy__pkm;

/* The component of a letter, or NULL. */
const hy__component *hy__component_find(char letter);

/* KV slots that a sequence of `capacity` tokens needs (0 when the pattern has no A). Bounded when
 * topk is 0 or memory_blocks is set: then a long text needs no more. */
int64_t hy__kv_slots(const hy__config *c, int64_t capacity);

/* Statistics. E: load[n_expert], Σ lse², Σ auxiliary loss. P: use[rows of the table], Σ β. */

#endif
