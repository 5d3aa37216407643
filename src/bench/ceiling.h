/* ceiling.h: what the machine itself can do, measured beside what a model does on it.
 *
 *   dense    a square product by the backend's own gemm with all its threads, weights stored as in
 *            the model, so that of quantised ones it is our kernel and not a library's: FLOP/s
 *   read     a pass over memory much larger than the caches that only reads
 *   triad    a = b + s*c over such memory (McCalpin's STREAM), written past the caches where the
 *            processor can: bytes/s, two reads and a write for each element
 * A machine that is shared gives other figures every second, so a sample is short and is taken
 * between any two runs; what counts is the ratio within one run. */
#ifndef HY_BENCH_CEILING_H
#define HY_BENCH_CEILING_H

#include "account/account.h"

/* One sample: rates per second. */
typedef struct hy__ceiling {
    double dense;       /* FLOP/s */
    double read, triad; /* bytes/s */
} hy__ceiling;

/* One of the rates, for whoever takes the same of each. */
typedef double (*hy__ceiling_fn)(const hy__ceiling *c);
double hy__ceiling_dense(const hy__ceiling *c);
double hy__ceiling_read(const hy__ceiling *c);
double hy__ceiling_triad(const hy__ceiling *c);

/* The bandwidth that others are held against: the better of the two. */
double hy__ceiling_stream(const hy__ceiling *c);

typedef struct hy__ceilings hy__ceilings;

/* Takes memory to pass over. HY_E_MEMORY. */
hy_status hy__ceilings_new(hy__ceilings **out, hy__backend *be, hy_error *err);
void hy__ceilings_free(hy__ceilings *c);

/* From here on products are of weights that are stored so: finds the size that the backend is best
 * at. Must come before the first sample. */
hy_status hy__ceilings_turn(hy__ceilings *c, hy__store store, hy_error *err);

hy_status hy__ceilings_sample(hy__ceilings *c, hy__ceiling *out, hy_error *err);

int64_t hy__ceilings_size(const hy__ceilings *c);  /* rows and columns of the product */
size_t hy__ceilings_memory(const hy__ceilings *c); /* bytes that it keeps resident */

#endif
