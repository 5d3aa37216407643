/* fingerprint.h: tells one model from another: its configuration, and every bit of its weights as
 * they lie in memory. What it hashes is in docs/format.md. */
#ifndef HY_CKPT_FINGERPRINT_H
#define HY_CKPT_FINGERPRINT_H

#include "base/hash.h"
#include "model/model.h"

enum {
    HY__FINGERPRINT = 17, /* 16 hex digits and a NUL */
    HY__HASH_PIECE =
        1 << 18, /* bytes read at a time: they stay in the cache until they are hashed */
};

/* A hash as text. */
void hy__hash_print(char hex[HY__FINGERPRINT], const hy__hash *h);

/* Adds n elements as they lie in memory, read by way of piece [HY__HASH_PIECE]. */
void hy__hash_add_tensor(hy__hash *h, hy__backend *be, hy__tensor t, int64_t n,
                         unsigned char *piece);

/* Reads all weights: some 10 GB/s. */
hy_status hy__fingerprint(char hex[HY__FINGERPRINT], const hy__model *m, hy_error *err);

#endif
