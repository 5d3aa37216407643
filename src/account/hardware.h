/* hardware.h: the machines that a plan is made for.
 *
 * Peaks, bandwidth and memory of one device, for lower bounds by the roofline: no step is faster
 * than operations / peak, nor than bytes / bandwidth. Peaks are of dense matrix products, never of
 * "sparse" ones; bf16 means bf16 operands with fp32 accumulation; a multiply-add is two operations.
 * Units: operations per second, bytes per second, bytes. */
#ifndef HY_ACCOUNT_HARDWARE_H
#define HY_ACCOUNT_HARDWARE_H

#include "base/status.h"

typedef enum hy__operand {
    HY__OPERAND_FP32 = 0,
    HY__OPERAND_BF16 = 1,
    HY__OPERAND_INT8 = 2,
} hy__operand;

typedef struct hy__hardware {
    char name[32];           /* "h100" */
    const char *what;        /* the product in full; static */
    double fp32, bf16, int8; /* operations per second; 0 = it has none, see hy__hardware_peak */
    double bandwidth;        /* of its main memory, bytes per second */
    double memory;           /* bytes */
    const char *source;      /* where the figures come from; static */
} hy__hardware;

/* The named hardware, [*n]. */
const hy__hardware *hy__hardware_table(int64_t *n);

/* Finds by name ("h100", "RTX 4090": case and punctuation do not matter; the product's name will do
 * too), or reads a description: "peak=989T,bandwidth=3.35T,memory=80G". peak stands for every
 * operand; fp32=, bf16= and int8= replace it for one, and with fp32= it may be left out; name=
 * says how to call it. Numbers take k M G T P (of 1000; Ki Mi … of 1024) and a unit: FLOPS,
 * FLOP/s, OPS or OP/s; B or B/s; B. HY_E_INVALID. */
hy_status hy__hardware_find(hy__hardware *out, const char *text, hy_error *err);

/* Operations per second with such operands; a kind that it lacks runs at the next wider one's. */
double hy__hardware_peak(const hy__hardware *h, hy__operand operand);

#endif
