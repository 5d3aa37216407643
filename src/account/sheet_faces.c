/* sheet_faces.c: what the faces of a sheet share; see sheet_faces.h. */
#include "account/sheet_faces.h"

#include <stdio.h>

void hy__part_title(const hy__account_part *p, char *out, size_t size) {
    if (p->letter)
        snprintf(out, size, "%c %s", p->letter, p->name);
    else
        snprintf(out, size, "%s", p->name);
}

const char *hy__extent_name(hy__extent per) {
    static const char *const name[HY__EXTENT_N] = {
        [HY__PER_TOKEN] = "token",
        [HY__PER_CHUNK_PAIR] = "pair in a chunk",
        [HY__PER_BLOCK_PAIR] = "pair in a block",
        [HY__PER_UNIT] = "routing unit",
        [HY__PER_POSITION] = "position attended to",
        [HY__PER_SCORE] = "block scored",
        [HY__PER_LOGIT] = "row of logits",
    };
    return name[per];
}

hy__measure_face hy__measure_face_of(hy__measure m) {
    static const hy__measure_face face[HY__MEASURE_N] = {
        [HY__MEASURE_TRAIN] = {"train_flops", "FLOPs of training", HY__UNIT_FLOP},
        [HY__MEASURE_PREFILL] = {"prefill_flops", "FLOPs of reading", HY__UNIT_FLOP},
        [HY__MEASURE_DECODE] = {"decode_bytes", "bytes of one token more", HY__UNIT_BYTES},
        [HY__MEASURE_STATE] = {"state_bytes", "bytes of the state", HY__UNIT_BYTES},
    };
    return face[m];
}

double hy__flops_each(const hy__sheet_length *l, int64_t part, bool decode) {
    return decode ? hy__spent_flops(&l->decode[part])
                  : hy__spent_flops(&l->prefill[part]) / (double)l->tokens;
}

double hy__growth_each(const hy__sheet_length *l, int64_t part, bool decode, hy__growth g) {
    return decode ? l->decode[part].grows[g] : l->prefill[part].grows[g] / (double)l->tokens;
}

hy__memory_part hy__memory_kind(const hy__memory *m, int kind) {
    const hy__memory_part part[HY__MEMORY_KINDS] = {
        {"weights", m->weights}, {"gradients", m->gradients},
        {"moments", m->moments}, {"activations", m->activations},
        {"states", m->states},   {"program", m->program},
        {"total", m->total},
    };
    return part[kind];
}

hy__sheet_growth hy__sheet_growth_of(const hy__sheet *s) {
    const hy__account *a = &s->account;
    const int64_t chunk = a->cfg.model.chunk, far = (int64_t)1 << 40;
    const int64_t most = hy__kv_slots(&a->cfg, far);
    hy__sheet_growth g = {0};
    for (int64_t i = 1; i < a->n_part; i++) {
        const hy__account_part *p = &a->part[i];
        g.fixed += (double)p->n_layer * p->state_fixed[s->opt.store];
        g.per_token += (double)p->n_layer * p->state_slot[s->opt.store] / (double)chunk;
    }
    if (hy__kv_slots(&a->cfg, far + chunk) == most) g.until = most * chunk;
    return g;
}

hy__number hy__sheet_crossing(int64_t cross) {
    hy__number n;
    if (cross == 0)
        snprintf(n.text, sizeof n.text, "never");
    else if (cross == 1)
        snprintf(n.text, sizeof n.text, "always");
    else
        snprintf(n.text, sizeof n.text, "from %lld tokens", (long long)cross);
    return n;
}
