/* law.h: small models for the tests of the laws (docs/numerics.md): any pattern, any backend, equal
 * weights. */
#ifndef TESTS_SUPPORT_LAW_H
#define TESTS_SUPPORT_LAW_H

#include "model/model.h"

/* A tiny configuration of a pattern: chunk 16, window 20, topk 2, units of 8, vocabulary 50. */
hy__config law_config(const char *pattern);
/* Finishes a configuration after changes; fails the test when it is refused. */
void law_finish(hy__config *c);
/* A random pattern of 1 … max_layer letters in random blocks, and random small settings. */
hy__config law_random_config(uint64_t seed, int64_t max_layer);

/* Calls fn for every shipped configuration, its pattern and settings kept and its sizes made tiny.
 */
typedef void (*law_config_fn)(const hy__config *c, uint64_t seed);
void law_each_shipped(law_config_fn fn);

/* Calls fn for a tiny model of each letter alone, on every backend. */
typedef void (*law_letter_fn)(const char *backend, const hy__config *c, uint64_t seed);
void law_each_letter(law_letter_fn fn);

typedef struct law_model {
    hy__backend *be;
    hy__model *m;
} law_model;

/* Opens a model whose every parameter, norms and biases included, is random: the same numbers
 * (exact in float) on every backend. */
void law_open(law_model *lm, const char *backend, const hy__config *c, uint64_t seed);
/* The same with weights in bf16, as far as bf16 goes: the same numbers on every backend too. */
void law_open_bf16(law_model *lm, const char *backend, const hy__config *c, uint64_t seed);
void law_close(law_model *lm);

/* Writes a model's directory. */
void law_save(const hy__model *m, const char *dir);

/* n random tokens, the caller frees. */
int32_t *law_tokens(uint64_t seed, int64_t n, int64_t vocab);

/* Logits [n, vocab] of a sequence fed in pieces that end at cut[0] < … < cut[n_cut-1] < n, through
 * one state that is updated in place, in the precision of a session; the caller frees. The state is
 * handed over when asked for. */
double *law_logits(law_model *lm, const int32_t *token, int64_t n, const int64_t *cut,
                   int64_t n_cut, hy__state **state);

/* Random increasing cuts of n tokens; returns how many (at most max). */
int64_t law_cuts(uint64_t seed, int64_t n, int64_t *cut, int64_t max);

/* All numbers of a state that a later token can depend on, stale cache slots left out; the caller
 * frees. *n is their count. */
double *law_state_values(const hy__state *s, int64_t *n);

/* Calls fn for each tensor of a state: values that matter have mask 1. The key sums of A, which
 * carry no gradient, are masked out when for_gradient. */
typedef void (*law_state_fn)(void *user, hy__tensor t, const double *mask, int64_t n);
void law_each_state(const hy__state *s, bool for_gradient, law_state_fn fn, void *user);

/* A number from 0 … n-1 of a test's own sequence. */
int64_t law_below(uint64_t seed, uint64_t counter, int64_t n);

/* Fails the test with the error's sentence when status is not HY_OK. */
void law_ok(hy_status status, const hy_error *err);

#endif
