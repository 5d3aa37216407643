/* account.h: what a configuration costs before it is built: parameters, FLOPs, bytes, memory and,
 * for a piece of hardware, time. Everything is a fold over what the components declare
 * (model/component.h); nothing about a letter is known here.
 *
 * FLOPs are of products and recurrences (see component.h). Bytes are the least that must move, each
 * datum once: weights that are used, states, the part of the cache that is attended to, and every
 * planned activation written once and read once. Sizes in memory are what the program allocates. */
#ifndef HY_ACCOUNT_ACCOUNT_H
#define HY_ACCOUNT_ACCOUNT_H

#include "account/hardware.h"
#include "model/component.h"

/* How weights are stored: the groups that may be narrow in this format, the rest in fp32. */
typedef enum hy__store {
    HY__STORE_FP32 = 0,
    HY__STORE_BF16 = 1,
    HY__STORE_INT8 = 2, /* with a scale for each group of elements, tensor/quant.h */
    HY__STORE_INT4 = 3,
    HY__STORE_N
} hy__store;
extern const char *const hy__store_name[HY__STORE_N + 1];        /* "fp32"; NULL behind the last */
hy__dtype hy__store_dtype(hy__store s);                          /* of narrow groups; else F32 */
hy__operand hy__store_operand(hy__store s);                      /* how products take it */
double hy__store_bytes(hy__store s, const hy__param_decl *decl); /* of one element of a parameter */

/* One part of a model: what frames the layers, or all layers of one letter. */
typedef struct hy__account_part {
    char letter; /* 0: the frame */
    const char *name;
    int64_t n_layer;                   /* the frame counts as one */
    int64_t param, active;             /* trained elements: all, and what one token uses */
    int64_t each;                      /* of one layer, without what is shared */
    int64_t buffer;                    /* elements that are saved and never trained */
    int64_t n_tensor;                  /* parameter tensors */
    double weight_bytes[HY__STORE_N];  /* of all of these, in a file */
    size_t weight_memory[HY__STORE_N]; /* and allocated */
    size_t grad_memory;                /* gradients, statistics, flags of rows; fp32 */
    size_t moment_memory;              /* both moments of AdamW, Muon's one; fp32 */
    size_t update_memory;              /* Muon's scratch; that of the largest is enough for all */
    hy__decl decl;                     /* of one layer */
    hy__cost cost;                     /* of one layer */
    double state_fixed[HY__STORE_N];   /* bytes of one layer's state, by how weights are stored */
    double state_slot[HY__STORE_N];    /* and for each KV slot */
} hy__account_part;

enum { HY__PART_MAX = 7 };

typedef struct hy__account {
    hy__config cfg;
    hy__train_config train;
    hy__account_part part[HY__PART_MAX]; /* the frame, then letters in the order of the pattern */
    int64_t n_part;
} hy__account;

/* Adds up a finished configuration. */
void hy__account_init(hy__account *a, const hy__config *cfg, const hy__train_config *train);

/* Trained elements: all, or what one token uses. */
int64_t hy__account_count(const hy__account *a, bool active);

/* Bytes that the optimizer holds: moments, Muon's scratch, a sum for each tensor's norm. */
size_t hy__account_moments(const hy__account *a);

/* Bytes of a model's tensors in a file. */
double hy__account_weight_bytes(const hy__account *a, hy__store s);

/* ---- work ---- */

typedef enum hy__phase {
    HY__PHASE_TRAIN = 0,   /* a micro-batch: forward, loss, backward, its share of the update */
    HY__PHASE_PREFILL = 1, /* the sequences read at once; logits of their last tokens */
    HY__PHASE_DECODE = 2,  /* one token more for each, which then hold `tokens` */
    HY__PHASE_N
} hy__phase;

enum { HY__DOCUMENT = 65536 /* tokens of a long document, when nothing is said */ };

typedef struct hy__shape {
    hy__phase phase;
    int64_t batch;    /* sequences */
    int64_t tokens;   /* of each */
    int64_t document; /* training: tokens through which a state is carried; 0 = HY__DOCUMENT */
    bool recompute;   /* of training */
    hy__store store;
} hy__shape;

typedef enum hy__growth {
    HY__GROWTH_CONSTANT = 0,
    HY__GROWTH_LINEAR = 1,
    HY__GROWTH_QUADRATIC = 2,
    HY__GROWTH_N
} hy__growth;

typedef struct hy__spent {
    double forward, backward, again, update;     /* FLOPs; again: recomputation; update: Muon's */
    double grows[HY__GROWTH_N];                  /* their sum, by how each term grows with tokens */
    double weight, state, activation, optimizer; /* bytes moved */
} hy__spent;

static inline double hy__spent_flops(const hy__spent *s) {
    return s->forward + s->backward + s->again + s->update;
}
/* What no implementation can avoid: activations could stay in a cache. */
static inline double hy__spent_least_bytes(const hy__spent *s) {
    return s->weight + s->state + s->optimizer;
}

enum { HY__COUNTED_MAX = 1 << 28 /* tokens of one call: counting walks over their blocks */ };

/* What each part spends, and in part[n_part] all of them. HY_E_INVALID beyond HY__COUNTED_MAX. */
hy_status hy__account_spend(const hy__account *a, const hy__shape *shape,
                            hy__spent part[HY__PART_MAX + 1], hy_error *err);

/* ---- memory, bytes ---- */

typedef struct hy__memory {
    double weights, gradients, moments; /* the last two of training; moments: what the optimizer
                                           keeps and its scratch */
    double activations;                 /* of a step, planned; when serving, of every session */
    double states;                      /* carried streams, or sessions */
    double program;                     /* code, libraries, scratch of kernels: measured, about */
    double total;
} hy__memory;

/* Of the process that trains with batch x tokens, or that serves `batch` sessions of `tokens`.
 * HY_E_INVALID when a micro-batch has more tokens than one can have of this model. */
hy_status hy__account_memory(const hy__account *a, const hy__shape *shape, hy__memory *m,
                             hy_error *err);

/* The state of a session that was fed `tokens` at once: bytes of its tensors, in memory and in a
 * file. (A cache has room for HY__FEED tokens at least, and one that is fed little by little
 * doubles.) */
double hy__account_state(const hy__account *a, int64_t tokens, hy__store store);
/* What a declared state lies in. */
hy__dtype hy__store_state(hy__store s, bool narrow);

/* ---- hardware ---- */

typedef struct hy__bound {
    double compute, memory; /* seconds that the FLOPs and the bytes take at the peak rates */
    double seconds;         /* the larger: a lower bound */
} hy__bound;
hy__bound hy__account_bound(const hy__spent *all, const hy__hardware *h, hy__store operands);

/* The largest batch (at shape->tokens), or length (at shape->batch), that fits into `memory` bytes;
 * 0 when not even one does. `*limit` is set when it ends at the largest that one batch may have. */
int64_t hy__account_fit_batch(const hy__account *a, const hy__shape *shape, double memory,
                              bool *limit);
int64_t hy__account_fit_tokens(const hy__account *a, const hy__shape *shape, double memory,
                               bool *limit);

/* ---- comparison ---- */

/* A number of a configuration at a length. */
typedef enum hy__measure {
    HY__MEASURE_TRAIN = 0,   /* FLOPs of a training step on one sequence */
    HY__MEASURE_PREFILL = 1, /* FLOPs */
    HY__MEASURE_DECODE = 2,  /* bytes that one token moves */
    HY__MEASURE_STATE = 3,   /* bytes of a sequence's state */
    HY__MEASURE_N
} hy__measure;
double hy__account_measure(const hy__account *a, hy__measure m, int64_t tokens, hy__store store);

/* The length from which on `a` needs less than `b`, as far as 2^20 tokens: 1 when it always does, 0
 * when it never does. */
int64_t hy__account_cross(const hy__account *a, const hy__account *b, hy__measure m,
                          hy__store store);

/* The Transformer ("transformer": full attention, rotary positions) or Mamba-2 ("mamba2") of equal
 * parameters: the same vocabulary, the depth and width nearest to a's. */
hy_status hy__account_rival(const hy__account *a, const char *kind, hy__account *rival,
                            hy_error *err);

#endif
