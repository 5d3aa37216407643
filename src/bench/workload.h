/* workload.h: what is measured of a model, on any backend.
 *
 * Training is what one step of hydralm train does without its data: forward, loss, backward, norm
 * of the gradients and update, over batch x tokens fresh rows. A prefill reads tokens into fresh
 * states, in the pieces that a session takes, and makes the logits of the last ones. Decode takes
 * one token after another behind `tokens` earlier ones, with logits. Tokens are random, the same in
 * every run. */
#ifndef HY_BENCH_WORKLOAD_H
#define HY_BENCH_WORKLOAD_H

#include "account/account.h"
#include "model/model.h"
#include "train/optim.h"

enum {
    HY__DECODED = 32,       /* tokens of each sequence in a run of decode */
    HY__DECODE_READ = 8192, /* a longer past is not read but made up of random numbers: no kernel is
                               faster for them, and reading would take longer than measuring */
};

typedef struct hy__workload {
    hy__model *model; /* borrowed */
    hy__shape shape;  /* of the account; decode: `tokens` stand before the first new one */
    hy__work *work;
    hy__optimizer optimizer;
    hy__optim *optim;  /* train */
    hy__state **state; /* [batch]; not train */
    hy__seq *seq;      /* [batch] */
    int32_t *token;    /* [batch * tokens]; of decode [batch * HY__DECODED] */
    int32_t *target;   /* as many; train */
    int32_t *piece;    /* the rows of one forward */
    float *logits;     /* [batch, vocab] */
    bool made_up;      /* decode: the past is random numbers */
} hy__workload;

/* For a model whose weights lie as shape->store says (train: in fp32). Allocates everything, and
 * brings decode to its place. */
hy_status hy__workload_new(hy__workload **out, hy__model *m, const hy__shape *shape,
                           hy__optimizer optimizer, hy_error *err);
void hy__workload_free(hy__workload *w);

/* Seconds of a step of training, of a prefill, or of a decoded token for each sequence. */
typedef struct hy__lap {
    double median, mean; /* over the steps of a run */
} hy__lap;

/* One run from the same start. */
hy_status hy__workload_run(hy__workload *w, hy__lap *lap, hy_error *err);

/* Steps in one run: HY__DECODED of decode, else 1. */
int64_t hy__workload_steps(const hy__workload *w);

#endif
