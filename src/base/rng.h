/* rng.h: counter-based random numbers (Philox 4x32-10, Salmon et al. 2011).
 *
 * A number is a pure function of (key, counter): no stream to advance or to save, the same on every
 * machine and for any number of threads. A key is made of a seed and a name or a step. */
#ifndef HY_BASE_RNG_H
#define HY_BASE_RNG_H

#include <stdint.h>

/* The generator itself: ten rounds over a 128-bit counter. */
void hy__philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]);

/* A key for the purpose `name` under `seed`; `salt` separates steps, layers, … */
uint64_t hy__rng_key(uint64_t seed, const char *name, uint64_t salt);

/* Uniform in [0, 1), 53 bits. */
double hy__rng_uniform(uint64_t key, uint64_t counter);

/* Standard normal (Box-Muller over two uniforms of the same counter). */
double hy__rng_normal(uint64_t key, uint64_t counter);

/* Uniform integer in [0, n), n >= 1; the bias is below n / 2^53. */
int64_t hy__rng_below(uint64_t key, uint64_t counter, int64_t n);

/* A permutation of 0 … n-1, n >= 1, without a table: where it takes i. A Feistel network on the
 * even number of bits that holds n, walked on until it is below n again (Black, Rogaway 2002). */
int64_t hy__rng_permute(uint64_t key, int64_t i, int64_t n);

#endif
