/* hash.c: see hash.h. */
#include "base/hash.h"

#include <string.h>

/* the algorithm's five primes */
static const uint64_t p1 = UINT64_C(0x9E3779B185EBCA87), p2 = UINT64_C(0xC2B2AE3D27D4EB4F),
                      p3 = UINT64_C(0x165667B19E3779F9), p4 = UINT64_C(0x85EBCA77C2B2AE63),
                      p5 = UINT64_C(0x27D4EB2F165667C5);

static uint64_t rotate(uint64_t x, int n) {
    return x << n | x >> (64 - n);
}

/* Little-endian, as the algorithm reads. */
static uint64_t word(const unsigned char *at, int bytes) {
    uint64_t x = 0;
    for (int i = bytes; i-- > 0;) x = x << 8 | at[i];
    return x;
}

static uint64_t mix(uint64_t lane, uint64_t x) {
    return rotate(lane + x * p2, 31) * p1;
}

static void take_stripe(uint64_t lane[4], const unsigned char *at) {
    for (int i = 0; i < 4; i++) lane[i] = mix(lane[i], word(at + 8 * i, 8));
}

void hy__hash_init(hy__hash *h) {
    *h = (hy__hash){.lane = {p1 + p2, p2, 0, 0 - p1}};
}

void hy__hash_add(hy__hash *h, const void *data, size_t size) {
    const unsigned char *at = data;
    const size_t begun = h->size % HY__HASH_STRIPE;
    if (size == 0) return;
    h->size += size;
    if (begun > 0) {
        const size_t room = HY__HASH_STRIPE - begun, n = size < room ? size : room;
        memcpy(h->part + begun, at, n);
        if (n < room) return;
        take_stripe(h->lane, h->part);
        at += n;
        size -= n;
    }
    for (; size >= HY__HASH_STRIPE; at += HY__HASH_STRIPE, size -= HY__HASH_STRIPE)
        take_stripe(h->lane, at);
    if (size > 0) memcpy(h->part, at, size);
}

uint64_t hy__hash_value(const hy__hash *h) {
    uint64_t x = p5; /* of less than one stripe */
    if (h->size >= HY__HASH_STRIPE) {
        x = rotate(h->lane[0], 1) + rotate(h->lane[1], 7) + rotate(h->lane[2], 12) +
            rotate(h->lane[3], 18);
        for (int i = 0; i < 4; i++) x = (x ^ mix(0, h->lane[i])) * p1 + p4;
    }
    x += h->size;
    const unsigned char *at = h->part, *end = at + h->size % HY__HASH_STRIPE;
    for (; end - at >= 8; at += 8) x = rotate(x ^ mix(0, word(at, 8)), 27) * p1 + p4;
    for (; end - at >= 4; at += 4) x = rotate(x ^ word(at, 4) * p1, 23) * p2 + p3;
    for (; at < end; at++) x = rotate(x ^ *at * p5, 11) * p1;
    x = (x ^ x >> 33) * p2;
    x = (x ^ x >> 29) * p3;
    return x ^ x >> 32;
}
