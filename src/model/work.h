/* work.h: the planned memory of one step, shared by work.c (which lays it out) and forward.c (which
 * computes in it). Not for others: they see hy__work in model.h. */
#ifndef HY_MODEL_WORK_H
#define HY_MODEL_WORK_H

#include "model/model.h"

/* The handles of a layer's states in the four roles, [role][id][n_seq]. */
enum { HY__ROLE_IN = 0, HY__ROLE_OUT = 1, HY__ROLE_DIN = 2, HY__ROLE_DOUT = 3, HY__ROLE_N = 4 };

struct hy__work {
    hy__model *m;          /* borrowed; NULL when only its size is asked for */
    const hy__config *cfg; /* borrowed: the model's */
    hy__dtype real;
    hy__work_options opt;

    /* Device memory, laid out for the present batch:
     *
     *   | tokens, targets, nll, logit tile, residual gradients, …   once
     *   | y rstd of each layer     | kept buffers of each layer     per layer when training;
     *   |                          |                                per block when recomputing;
     *   |                          |                                one for all when not training
     *   | call buffers | forward-only or backward-only buffers      the largest layer's
     */
    hy__buffer mem;
    hy__tensor token, target, nll; /* I32 [N], I32 [N], [N] */
    hy__tensor hit;                /* I32 [N] */
    hy__tensor xn, y_grad;         /* [N,d] normed input of a layer; its output's gradient */
    hy__tensor dx, dxn;            /* [N,d] of the residual stream; of the normed input */
    hy__tensor xf, rstd_f, dxf;    /* [N,d], [N], [N,d] the final norm */
    hy__tensor logit;              /* [logit_rows, V] */
    int64_t logit_rows;
    /* training in bf16: the weights of the products, narrowed by each forward, and room for a
     * narrowed gradient; else absent */
    hy__tensor *narrow; /* [n_layer][HY__PARAM_MAX]; a parameter that stays as it is has none */
    hy__tensor head, room;
    hy__tensor *x;    /* [n_layer+1] the residual stream before each layer: one place for all, or,
                         when recomputing, one for each; before one that does not run it is that
                         before the next */
    hy__tensor *y;    /* [n_layer] the layers' outputs */
    hy__tensor *rstd; /* [n_layer] */
    hy__tensor *buf;  /* [n_layer][HY__BUF_MAX] */

    /* the batch of the last forward */
    hy__rows rows;
    hy__seq *seq;                /* owned copy, [seq_cap] */
    hy__tensor *state;           /* [n_layer][HY__ROLE_N][HY__STATE_MAX][seq_cap] */
    int64_t *slot_in, *slot_out; /* [seq_cap] */
    bool has_role[HY__ROLE_N];
    int64_t seq_cap;
    bool ran;      /* a forward stands */
    bool graded;   /* dxf is set */
    int64_t n_hit; /* of the last loss */
};

/* Whether a layer is computed: what does not run takes no memory either. */
bool hy__work_runs(const hy__work *w, int64_t layer);

/* Lays the memory out for these rows, growing it when it is too small. */
hy_status hy__work_lay_out(hy__work *w, const hy__rows *rows, hy_error *err);

#endif
