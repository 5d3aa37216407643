/* watch.c: see watch.h. */
#include "bench/watch.h"

#include "backend/count/count.h"
#include "base/clock.h"

#include <string.h>

#define NAME(name, args) #name,
static const char *const NAMES[] = {HY__KERNELS(NAME)};

const char *hy__kernel_name(hy__kernel_id id) {
    return NAMES[id];
}

/* ---- before and after a call ---- */

static hy__cell now(const hy__watch *w) {
    if (!w->counts) return (hy__cell){.seconds = hy__now()};
    return (hy__cell){.flops = hy__count_flops(w->be), .bytes = hy__count_bytes(w->be, NULL)};
}

static void add(hy__watch *w, hy__kernel_id id, const hy__cell *before) {
    const hy__cell after = now(w);
    hy__cell *to = &w->profile->cell[w->part_of[w->be->layer]][id];
    to->calls++;
    to->seconds += after.seconds - before->seconds;
    to->flops += after.flops - before->flops;
    to->bytes += after.bytes - before->bytes;
}

#define DEFINE_WATCHED(name, args)                                                                 \
    static void watched_##name(hy__backend *be, const args *a) {                                   \
        hy__watch *w = be->watch;                                                                  \
        const hy__cell before = now(w);                                                            \
        w->kernels.name(be, a);                                                                    \
        add(w, HY__KERNEL_##name, &before);                                                        \
    }
HY__KERNELS(DEFINE_WATCHED)

#define WATCHED(name, args) .name = watched_##name,
static const hy__kernels watched = {HY__KERNELS(WATCHED)};

void hy__watch_begin(hy__watch *w, hy__backend *be, const hy__account *a, hy__profile *profile) {
    HY_ASSERT(!be->watch);
    *w = (hy__watch){.be = be,
                     .kernels = be->kernels,
                     .profile = profile,
                     .counts = strcmp(be->name, "count") == 0};
    for (int64_t i = 0; i < a->cfg.n_layer; i++)
        for (int64_t part = 1; part < a->n_part; part++)
            if (a->part[part].letter == a->cfg.letter[i]) w->part_of[i + 1] = (uint8_t)part;
    w->part_of[hy__watch_update(a->cfg.n_layer)] = HY__PROFILE_UPDATE;
    be->watch = w;
    be->kernels = watched;
}

void hy__watch_end(hy__watch *w) {
    w->be->kernels = w->kernels;
    w->be->watch = NULL;
}

/* ---- sums ---- */

hy__part_key hy__profile_key(const hy__account *a, int64_t part) {
    if (part == HY__PROFILE_UPDATE) return (hy__part_key){"update"};
    if (part == 0) return (hy__part_key){"frame"};
    return (hy__part_key){{part < a->n_part ? a->part[part].letter : '?'}};
}

static void add_cell(hy__cell *to, const hy__cell *c) {
    to->calls += c->calls;
    to->seconds += c->seconds;
    to->flops += c->flops;
    to->bytes += c->bytes;
}

hy__cell hy__profile_part(const hy__profile *p, int64_t part) {
    hy__cell sum = {0};
    for (int id = 0; id < HY__KERNEL_N; id++) add_cell(&sum, &p->cell[part][id]);
    return sum;
}

hy__cell hy__profile_kernel(const hy__profile *p, hy__kernel_id id) {
    hy__cell sum = {0};
    for (int part = 0; part < HY__PROFILE_PARTS; part++) add_cell(&sum, &p->cell[part][id]);
    return sum;
}

void hy__profile_divide(hy__profile *p, int64_t n) {
    for (int part = 0; part < HY__PROFILE_PARTS; part++)
        for (int id = 0; id < HY__KERNEL_N; id++) {
            hy__cell *c = &p->cell[part][id];
            c->calls /= n;
            c->seconds /= (double)n;
            c->flops /= (double)n;
            c->bytes /= (double)n;
        }
}
