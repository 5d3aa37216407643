/* optim.h: the update of a model's parameters, by group.
 *
 *   MATRIX           decay; by AdamW, or by Muon (model/muon.c) where that is chosen
 *   ROUTER           AdamW with decay
 *   EMBED, VECTOR    AdamW without decay
 *   TABLE            AdamW without decay, own rate, only the rows that the step touched
 *   BUFFER           never
 *
 * Each parameter's rate is that of its group times its own multiple; one of multiple 0 is frozen:
 * its value and moments stand still, and its gradient neither counts in the norm nor moves
 * anything. The moments' bias is corrected by the updates that the parameter itself had; of the
 * table, by the table's: a row's moments stand still while it is not touched, and its first update
 * is a small one.
 *
 * Owns the moments: m and v of AdamW, m of Muon (real, as the gradients; zero at the start). */
#ifndef HY_TRAIN_OPTIM_H
#define HY_TRAIN_OPTIM_H

#include "model/model.h"

typedef struct hy__optim {
    hy__model *model; /* borrowed */
    hy__optimizer of_matrices;
    hy__prec prec;     /* of Muon's products */
    hy__tensor *m, *v; /* [n_param], absent where there is none; owned */
    int64_t *step;     /* [n_param] updates made; owned */
    double *rate;      /* [n_param] multiple of the rate, >= 0; 1 at the start; owned, the caller's
                          to set between steps */
    double *square; /* [n_param] Σ g² of the last hy__optim_norm; 0 where nothing moves; owned */
    hy__tensor sum; /* [n_param] the same on the backend */
    hy__tensor scratch; /* of Muon */
    hy__buffer buf;     /* owned */
} hy__optim;

/* For a model after hy__model_train. HY_E_MEMORY. */
hy_status hy__optim_new(hy__optim **out, hy__model *m, hy__optimizer of_matrices, hy__prec prec,
                        hy_error *err);
void hy__optim_free(hy__optim *o);

/* The global norm of the gradients that move something, the table's touched rows among them;
 * leaves the part of each parameter in o->square. */
double hy__optim_norm(hy__optim *o);

typedef struct hy__optim_rates {
    double lr, table_lr, beta1, beta2, eps, weight_decay;
    double momentum; /* Muon's */
    double g_scale;  /* of the gradients, for clipping */
} hy__optim_rates;

/* One update of every trained parameter that is not frozen. Of a frozen table the touched rows'
 * gradients are cleared all the same. */
void hy__optim_step(hy__optim *o, const hy__optim_rates *r);

#endif
