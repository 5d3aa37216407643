/* rng.c: see rng.h.
 *
 * One Philox block (128 bits) belongs to each (key, counter); the functions differ only in how many
 * of its words they use, so a key should serve one kind of number. A key is itself a Philox output:
 * of the seed as key and (FNV-1a of the name, salt) as counter.
 * Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. */
#include "base/rng.h"

#include <math.h>

void hy__philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        const uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c0 = n0;
        c1 = (uint32_t)p1;
        c2 = n2;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u; /* the golden ratio */
        k1 += 0xBB67AE85u; /* sqrt(3) - 1 */
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* The block of two 64-bit halves of a counter. */
static void block(uint32_t out[4], uint64_t key, uint64_t low, uint64_t high) {
    const uint32_t k[2] = {(uint32_t)key, (uint32_t)(key >> 32)};
    const uint32_t c[4] = {(uint32_t)low, (uint32_t)(low >> 32), (uint32_t)high,
                           (uint32_t)(high >> 32)};
    hy__philox(out, c, k);
}

static uint64_t join(const uint32_t w[2]) {
    return (uint64_t)w[1] << 32 | w[0];
}

/* The upper 53 bits as a fraction. */
static double fraction(const uint32_t w[2]) {
    return (double)(join(w) >> 11) * 0x1p-53;
}

uint64_t hy__rng_key(uint64_t seed, const char *name, uint64_t salt) {
    uint64_t hash = 0xCBF29CE484222325u; /* FNV-1a, 64 bits */
    for (; *name; name++) hash = (hash ^ (unsigned char)*name) * 0x100000001B3u;
    uint32_t w[4];
    block(w, seed, hash, salt);
    return join(w);
}

double hy__rng_uniform(uint64_t key, uint64_t counter) {
    uint32_t w[4];
    block(w, key, counter, 0);
    return fraction(w);
}

double hy__rng_normal(uint64_t key, uint64_t counter) {
    const double two_pi = 6.283185307179586476925287;
    uint32_t w[4];
    block(w, key, counter, 0);
    /* 1 - u lies in (0, 1], so the logarithm is finite. */
    return sqrt(-2.0 * log(1.0 - fraction(w))) * cos(two_pi * fraction(w + 2));
}

int64_t hy__rng_below(uint64_t key, uint64_t counter, int64_t n) {
    const int64_t i = (int64_t)(hy__rng_uniform(key, counter) * (double)n);
    return i < n ? i : n - 1; /* the product may round up to n when n > 2^53 */
}

/* One half of a Feistel network's round: any function of both will do (here SplitMix64's mixer). */
static uint64_t scramble(uint64_t x) {
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

/* Six are too few for a handful of elements: places come unevenly (tests/unit/test_rng.c). */
enum { ROUNDS = 12 };

int64_t hy__rng_permute(uint64_t key, int64_t i, int64_t n) {
    int bits = 1; /* of each half */
    while (bits < 31 && (uint64_t)n > UINT64_C(1) << 2 * bits) bits++;
    const uint64_t mask = (UINT64_C(1) << bits) - 1;
    uint64_t x = (uint64_t)i;
    do {
        uint64_t left = x >> bits, right = x & mask;
        for (uint64_t round = 0; round < ROUNDS; round++) {
            const uint64_t mixed =
                scramble(key + (right << 4 | round) * UINT64_C(0x9E3779B97F4A7C15));
            const uint64_t kept = right;
            right = left ^ (mixed & mask);
            left = kept;
        }
        x = left << bits | right;
    } while (x >= (uint64_t)n); /* less than 4 times on average */
    return (int64_t)x;
}
