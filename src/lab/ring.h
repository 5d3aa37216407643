/* ring.h: what a model makes of held-out text, by how much of the text it has read before. */
#ifndef HY_LAB_RING_H
#define HY_LAB_RING_H

#include "base/status.h"
#include "hydralm.h"

#include <stdint.h>

struct hy__mixture;
struct hy__model;

/* {1024, 32768}: of a ring of 32,768 tokens, each when 512 … 1,023 of them were read before. */
typedef struct hy__ring {
    int64_t context, size; /* tokens; context is even and divides size */
} hy__ring;

/* HY_E_INVALID where less is held out than the ring has. */
hy_status hy__ring_check(const hy__ring *r, const struct hy__mixture *text, hy_error *err);

/* Summed up over the tokens of a ring. */
typedef struct hy__ring_sum {
    double nats;
    int64_t hits; /* tokens that were the likeliest */
} hy__ring_sum;

/* HY_E_INVALID as above; HY_E_STOPPED when go_on, which is asked with NULLs before every forward,
 * says so; NULL: it goes on. */
hy_status hy__ring_ask(const hy__ring *r, hy__ring_sum *sum, struct hy__model *m,
                       const struct hy__mixture *text, hy_train_fn go_on, hy_error *err);

#endif
