/* sampler.h: one token from one row of logits.
 *
 * The choice is a pure function of (logits, options, seed, position): the random number is
 * counter-based, so that a text can be continued or repeated from anywhere. Filters narrow the
 * candidates in the order top-k, min-p, top-p; equal logits rank by the lower id. */
#ifndef HY_INFER_SAMPLER_H
#define HY_INFER_SAMPLER_H

#include "base/status.h"

typedef struct hy__sampler {
    double temperature; /* 0 = greedy */
    int64_t top_k;      /* 0 = off */
    double top_p;       /* keep the likeliest tokens up to this mass; 0 = off */
    double min_p;       /* keep tokens of at least this share of the likeliest one's; 0 = off */
    uint64_t key;
    int64_t vocab;
    int32_t *id;    /* [vocab] candidates, owned */
    double *weight; /* [vocab] exp((logit - best) / temperature), owned */
} hy__sampler;

/* Checks the options and makes room for rows of `vocab` logits. HY_E_INVALID, HY_E_MEMORY. */
hy_status hy__sampler_init(hy__sampler *s, const hy_sample_options *opt, int64_t vocab,
                           hy_error *err);
void hy__sampler_release(hy__sampler *s);

/* Samples the token that stands at position pos. -inf marks a token that cannot be; NaN, +inf and a
 * row without any possible token are HY_E_INVALID. */
hy_status hy__sampler_next(hy__sampler *s, const float *logits, int64_t pos, int32_t *token,
                           hy_error *err);

#endif
