/* watch.h: which kernel of which part of a model took how long, or would compute and move how much.
 *
 * A watch puts a kernel of its own before each one of a backend's table: on a real backend it reads
 * the clock around the call, on the counting backend (src/backend/count) what the call added. So
 * one run of a model gives the times, and the same run on the counting backend the FLOPs and bytes
 * that belong to them. */
#ifndef HY_BENCH_WATCH_H
#define HY_BENCH_WATCH_H

#include "account/account.h"

#define HY__KERNEL_ID(name, args) HY__KERNEL_##name,
typedef enum hy__kernel_id { HY__KERNELS(HY__KERNEL_ID) HY__KERNEL_N } hy__kernel_id;
#undef HY__KERNEL_ID

const char *hy__kernel_name(hy__kernel_id id);

/* Calls of one kernel by one part of the model. */
typedef struct hy__cell {
    int64_t calls;
    double seconds;
    double flops, bytes;
} hy__cell;

enum {
    HY__PROFILE_UPDATE = HY__PART_MAX, /* the optimizer, which is no part of the model */
    HY__PROFILE_PARTS = HY__PART_MAX + 1,
};

/* Of one run, or of several divided by their number. */
typedef struct hy__profile {
    hy__cell cell[HY__PROFILE_PARTS][HY__KERNEL_N]; /* [part of the account][kernel] */
} hy__profile;

/* What a part is called in data: its letter, "frame" or "update". */
typedef struct hy__part_key {
    char text[8];
} hy__part_key;
hy__part_key hy__profile_key(const hy__account *a, int64_t part);

/* The sums over all kernels of a part, and over all parts of a kernel. */
hy__cell hy__profile_part(const hy__profile *p, int64_t part);
hy__cell hy__profile_kernel(const hy__profile *p, hy__kernel_id id);
/* Divides what was added up by the number of runs. */
void hy__profile_divide(hy__profile *p, int64_t n);

typedef struct hy__watch {
    hy__backend *be;
    hy__kernels kernels;                /* those that were there before, which are called */
    hy__profile *profile;               /* the caller's; what is watched is added here */
    uint8_t part_of[HY__LAYER_MAX + 2]; /* by hy__backend.layer */
    bool counts;                        /* on the counting backend */
} hy__watch;

/* From here to hy__watch_end every kernel call of the backend is watched. */
void hy__watch_begin(hy__watch *w, hy__backend *be, const hy__account *a, hy__profile *profile);
void hy__watch_end(hy__watch *w);

/* What hy__backend.layer is while an optimizer works on a model of so many layers. */
static inline int32_t hy__watch_update(int64_t n_layer) {
    return (int32_t)n_layer + 1;
}

#endif
