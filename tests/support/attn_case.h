/* attn_case.h: what the tests of sparse attention stand on: cases, the rule of backend.h applied to
 * them naively in double, and the batch of a case put on a backend.
 *
 * A case has up to ATTN_MAX_SEQ sequences, of which each has seen pos tokens and gets len more; the
 * N rows of its batch are those, sequence after sequence. Letters: H heads of queries, n_kv of keys
 * and values, hd elements of a head, C positions of a block; i a sequence, t and s positions from
 * its start, j a KV head, b a block. What is allocated on the host the caller frees. */
#ifndef TESTS_SUPPORT_ATTN_CASE_H
#define TESTS_SUPPORT_ATTN_CASE_H

#include "support/op.h"

/* ---- cases ---- */

enum { ATTN_MAX_SEQ = 3 };

typedef struct attn_case {
    const char *what; /* in the sentence of a failure */
    int64_t n_head, n_kv, head_dim;
    int64_t chunk, window; /* positions; chunk is C */
    int64_t topk, memory;  /* blocks: selected, at most so far back (0 = any) */
    int64_t n_seq, pos[ATTN_MAX_SEQ], len[ATTN_MAX_SEQ];
} attn_case;

/* Tables; behind the last case is one whose `what` is NULL. */
extern const attn_case attn_cases[]; /* the first is one fresh sequence */
extern const attn_case attn_long[];  /* more tokens than are sorted by block together, more blocks
                                      * than are scored together */

/* Calls check for every case of a table, on every backend with two threads; the tensors that it
 * leaves on the bench are freed. */
typedef void attn_check_fn(op_bench *b, const attn_case *c);
void attn_each(const attn_case *table, attn_check_fn *check);

/* ---- the rule, in double ---- */

/* Whole sequences, random, equal for equal seeds. */
typedef struct attn_host {
    int64_t total[ATTN_MAX_SEQ];                                 /* pos + len */
    double *q[ATTN_MAX_SEQ], *k[ATTN_MAX_SEQ], *v[ATTN_MAX_SEQ]; /* [total, H or n_kv, hd] */
} attn_host;

attn_host attn_host_new(const attn_case *c, uint64_t seed);
void attn_host_free(attn_host *x);

/* What the queries of group j at t attend to: see[t + 1], and select[topk], the chosen blocks,
 * ascending, -1 behind the last. */
void attn_see(const attn_case *c, const attn_host *x, int64_t i, int64_t t, int64_t j, bool *see,
              int32_t *select);

typedef struct attn_answer {
    double *o, *lse;   /* [N, H, hd], [N, H] */
    int32_t *select;   /* [N, n_kv, topk] */
    int64_t positions; /* attended to, counted once for each row and KV head */
} attn_answer;

attn_answer attn_answer_new(const attn_case *c, const attn_host *x);
void attn_answer_free(attn_answer *w);

/* The slot of block b in a cache of n_slot. Not hy__kv_slot, which the kernels use: where a block
 * lies is judged too. */
int64_t attn_slot(int64_t b, int64_t n_slot);
/* The block that a slot of a cache of n_slot holds after `end` tokens; -1 = none. */
int64_t attn_holder(const attn_case *c, int64_t slot, int64_t end, int64_t n_slot);

/* A cache after the first `end` rows of full [total, n_kv, hd], which are keys or values: its
 * [n_slot, C, n_kv, hd], or with sums its [n_slot, n_kv, hd], NaN wherever it holds nothing. */
double *attn_cache(const attn_case *c, const double *full, int64_t end, int64_t n_slot, bool sums);

/* ---- the batch of a case on a backend ---- */

/* `a` points into the rest: a copy points to the same as the first until its pointers are set. */
typedef struct attn_batch {
    op_bench *bench; /* owns the tensors */
    hy__attn_args a;
    hy__rows rows;
    hy__seq seq[ATTN_MAX_SEQ];
    int64_t slot_in[ATTN_MAX_SEQ], slot_out[ATTN_MAX_SEQ]; /* n_slot of each cache */
    /* Caches and their gradients before the piece, absent where pos is 0, and after it:
     * [n_slot, C, n_kv, hd], of sums [n_slot, n_kv, hd]. */
    hy__tensor k_in[ATTN_MAX_SEQ], v_in[ATTN_MAX_SEQ], sum_in[ATTN_MAX_SEQ];
    hy__tensor k_out[ATTN_MAX_SEQ], v_out[ATTN_MAX_SEQ], sum_out[ATTN_MAX_SEQ];
    hy__tensor dk_in[ATTN_MAX_SEQ], dv_in[ATTN_MAX_SEQ];
    hy__tensor dk_out[ATTN_MAX_SEQ], dv_out[ATTN_MAX_SEQ];
    hy__tensor qkv, dqkv; /* fused rows [N, H + 2·n_kv, hd], so that row distances matter */
} attn_batch;

typedef struct attn_options {
    int64_t grow;  /* 0: each cache has the slots that are needed after the piece. Else the one
                    * before has those needed before it, the one after this many more than needed. */
    bool half;     /* k and v of the caches are bf16, which the backward does not take */
    hy__prec prec; /* of the products */
} attn_options;

/* Puts everything that the kernels of attention need on a bench. Outputs hold NaN; dout, dk_out and
 * dv_out are random, the same for every batch of a case. */
void attn_batch_put(attn_batch *s, op_bench *b, const attn_case *c, const attn_host *x,
                    attn_options options);

/* attn, kv_append and their backwards; blocks are selected before. */
void attn_batch_run(attn_batch *s);

/* n elements of a tensor of the batch. */
double *attn_batch_get(const attn_batch *s, hy__tensor t, int64_t n);

/* Fails the test unless n elements of tensors w and g of two batches are equal within tol, relative
 * to the largest; NaN (holds nothing) equals NaN. */
void attn_same(const char *what, const attn_batch *want, hy__tensor w, const attn_batch *got,
               hy__tensor g, int64_t n, double tol);
/* The same of all gradients: of q, k, v and of the caches before the piece. */
void attn_same_gradients(const attn_case *c, const attn_batch *want, const attn_batch *got,
                         double tol);

#endif
