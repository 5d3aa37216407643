/* fingerprint.h: tells one model from another: its configuration, and every bit of its weights as
 * they lie in memory. What it hashes is in docs/format.md. */
#ifndef HY_CKPT_FINGERPRINT_H
#define HY_CKPT_FINGERPRINT_H

#include "model/model.h"

enum { HY__FINGERPRINT = 17 }; /* 16 hex digits and a NUL */

/* Reads all weights: some 10 GB/s. */
hy_status hy__fingerprint(char hex[HY__FINGERPRINT], const hy__model *m, hy_error *err);

#endif
