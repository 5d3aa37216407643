/* account.c: parameters and states of a configuration, part by part. */
#include "account/account.h"

#include <math.h>

const char *const hy__store_name[HY__STORE_N + 1] = {[HY__STORE_FP32] = "fp32",
                                                     [HY__STORE_BF16] = "bf16",
                                                     [HY__STORE_INT8] = "int8",
                                                     [HY__STORE_INT4] = "int4"};

static const struct {
    hy__dtype narrow;
    hy__operand operand;
} STORE[] = {
    [HY__STORE_FP32] = {HY__DTYPE_F32, HY__OPERAND_FP32},
    [HY__STORE_BF16] = {HY__DTYPE_BF16, HY__OPERAND_BF16},
    [HY__STORE_INT8] = {HY__DTYPE_Q8, HY__OPERAND_INT8},
    [HY__STORE_INT4] = {HY__DTYPE_Q4, HY__OPERAND_INT8},
};
_Static_assert(sizeof STORE / sizeof *STORE == HY__STORE_N, "every way to store has a row");

hy__dtype hy__store_dtype(hy__store s) {
    return STORE[s].narrow;
}

hy__operand hy__store_operand(hy__store s) {
    return STORE[s].operand;
}

static hy__dtype dtype_of(hy__store s, const hy__param_decl *d) {
    return hy__param_dtype(d, STORE[s].narrow, HY__DTYPE_F32);
}

double hy__store_bytes(hy__store s, const hy__param_decl *d) {
    return (double)hy__dtype_bytes(dtype_of(s, d), HY__QUANT_GROUP) / HY__QUANT_GROUP;
}

hy__dtype hy__store_state(hy__store s, bool narrow) {
    return hy__state_dtype(narrow, STORE[s].narrow, HY__DTYPE_F32);
}

static int64_t elements(const hy__param_decl *d) {
    int64_t n = 1;
    for (int i = 0; i < d->n_dim; i++) n *= d->shape[i];
    return n;
}

/* Adds `n_layer` parameters of one declaration; a shared one is there once, but used by each. */
static void add_param(hy__account_part *p, const hy__param_decl *d, int64_t n_layer,
                      hy__optimizer o) {
    const int64_t n = elements(d), copies = d->shared ? 1 : n_layer;
    const int64_t used = d->shared ? (int64_t)round((double)n * d->active * (double)n_layer)
                                   : n_layer * (int64_t)round((double)n * d->active);
    const size_t fp32 = hy__tensor_bytes(HY__DTYPE_F32, n);
    p->n_tensor += copies;
    for (hy__store s = 0; s < HY__STORE_N; s++) {
        p->weight_bytes[s] += (double)copies * (double)hy__dtype_bytes(dtype_of(s, d), n);
        p->weight_memory[s] += (size_t)copies * hy__tensor_bytes(dtype_of(s, d), n);
    }
    if (!hy__group_is_trained(d->group)) {
        p->buffer += copies * n;
        return;
    }
    p->param += copies * n;
    p->active += used;
    if (!d->shared) p->each += n;
    p->grad_memory += (size_t)copies * fp32;
    const hy__matrices at = hy__muon_matrices(d, o);
    const size_t scratch = hy__muon_scratch(&at, HY__DTYPE_F32);
    p->moment_memory += (size_t)copies * (at.n > 0 ? 1 : 2) * fp32;
    if (scratch > p->update_memory) p->update_memory = scratch;
    if (d->group == HY__GROUP_TABLE)
        p->grad_memory += hy__tensor_bytes(HY__DTYPE_I32, d->shape[0]); /* flags of rows */
}

static void fill(hy__account_part *p, hy__optimizer o) {
    for (int id = 0; id < p->decl.n_param; id++)
        if (p->decl.param[id].n_dim > 0) add_param(p, &p->decl.param[id], p->n_layer, o);
    for (int id = 0; id < p->decl.n_state; id++) {
        const hy__state_decl *d = &p->decl.state[id];
        for (hy__store s = 0; s < HY__STORE_N; s++) {
            const double size = (double)hy__dtype_size(hy__store_state(s, d->narrow));
            p->state_fixed[s] += size * (double)d->fixed;
            p->state_slot[s] += size * (double)d->per_slot;
        }
    }
    if (p->decl.n_stat > 0)
        p->grad_memory += (size_t)p->n_layer * hy__tensor_bytes(HY__DTYPE_F32, p->decl.n_stat);
}

static hy__account_part *part_of(hy__account *a, char letter) {
    for (int64_t i = 1; i < a->n_part; i++)
        if (a->part[i].letter == letter) return &a->part[i];
    const hy__component *c = hy__component_find(letter);
    hy__account_part *p = &a->part[a->n_part++];
    *p = (hy__account_part){.letter = letter, .name = c->name};
    hy__layer_declare(&a->cfg, c, &p->decl);
    c->cost(&a->cfg, &p->cost);
    return p;
}

void hy__account_init(hy__account *a, const hy__config *cfg, const hy__train_config *train) {
    *a = (hy__account){.cfg = *cfg, .train = *train, .n_part = 1};
    a->part[0] = (hy__account_part){.name = "embedding and head", .n_layer = 1};
    hy__frame_declare(cfg, &a->part[0].decl);
    hy__frame_cost(cfg, &a->part[0].cost);
    for (int64_t i = 0; i < cfg->n_layer; i++) part_of(a, cfg->letter[i])->n_layer++;
    for (int64_t i = 0; i < a->n_part; i++) fill(&a->part[i], train->optimizer);
}

size_t hy__account_moments(const hy__account *a) {
    size_t bytes = 0, scratch = 0;
    int64_t n = 0;
    for (int64_t i = 0; i < a->n_part; i++) {
        n += a->part[i].n_tensor;
        bytes += a->part[i].moment_memory;
        if (a->part[i].update_memory > scratch) scratch = a->part[i].update_memory;
    }
    return bytes + scratch + hy__tensor_bytes(HY__DTYPE_F32, n);
}

int64_t hy__account_count(const hy__account *a, bool active) {
    int64_t n = 0;
    for (int64_t i = 0; i < a->n_part; i++) n += active ? a->part[i].active : a->part[i].param;
    return n;
}

double hy__account_weight_bytes(const hy__account *a, hy__store s) {
    double bytes = 0;
    for (int64_t i = 0; i < a->n_part; i++) bytes += a->part[i].weight_bytes[s];
    return bytes;
}
