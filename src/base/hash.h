/* hash.h: XXH64 (Collet, xxHash fast digest algorithm), seed 0: the identity of bytes.
 *
 * Any cut of the bytes into pieces gives the same hash. It tells contents apart; it does not defend
 * against somebody who wants two contents to have the same one. */
#ifndef HY_BASE_HASH_H
#define HY_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

enum { HY__HASH_STRIPE = 32 }; /* bytes taken in at a time */

typedef struct hy__hash {
    uint64_t lane[4];
    uint64_t size;                       /* bytes so far */
    unsigned char part[HY__HASH_STRIPE]; /* the begun stripe */
} hy__hash;

void hy__hash_init(hy__hash *h);
void hy__hash_add(hy__hash *h, const void *data, size_t size);
/* The hash of what was added; more may follow. */
uint64_t hy__hash_value(const hy__hash *h);

#endif
