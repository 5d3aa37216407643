/* optim.h: AdamW over a model's parameters, by group.
 *
 *   MATRIX, ROUTER   decay
 *   EMBED, VECTOR    no decay
 *   TABLE            no decay, own rate, only the rows that the step touched
 *   BUFFER           never
 *
 * Each parameter's rate is that of its group times its own multiple; one of multiple 0 is frozen:
 * its value and moments stand still, and its gradient neither counts in the norm nor moves
 * anything.
 *
 * Owns the first and second moments m and v (real, as the gradients; zero at the start). */
#ifndef HY_TRAIN_OPTIM_H
#define HY_TRAIN_OPTIM_H

#include "model/model.h"

typedef struct hy__optim {
    hy__model *model;  /* borrowed */
    hy__tensor *m, *v; /* [n_param], absent where nothing is trained; owned */
    double *rate;      /* [n_param] multiple of the rate, >= 0; 1 at the start; owned, the caller's
                          to set between steps */
    hy__tensor sum;    /* [1] scratch of the norm */
    hy__buffer buf;    /* owned */
    int64_t step;      /* updates made */
} hy__optim;

/* For a model after hy__model_train. HY_E_MEMORY. */
hy_status hy__optim_new(hy__optim **out, hy__model *m, hy_error *err);
void hy__optim_free(hy__optim *o);

/* The global norm of the gradients that move something, the table's touched rows among them. */
double hy__optim_norm(hy__optim *o);

typedef struct hy__optim_rates {
    double lr, table_lr, beta1, beta2, eps, weight_decay;
    double g_scale; /* of the gradients, for clipping */
} hy__optim_rates;

/* One update of every trained parameter that is not frozen. Of a frozen table the touched rows'
 * gradients are cleared all the same. */
void hy__optim_step(hy__optim *o, const hy__optim_rates *r);

#endif
