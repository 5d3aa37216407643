/* describe.c: what a model is made of: hy_model_describe of hydralm.h, from the declarations that
 * built it. */
#include "infer/engine.h"

/* The kind of a letter in info, made when it is new. */
static hy_layer_info *kind_of(hy_model_info *info, const hy__component *c) {
    for (int64_t i = 0; i < info->n_kind; i++)
        if (info->kind[i].letter == c->letter) return &info->kind[i];
    hy_layer_info *k = &info->kind[info->n_kind++];
    *k = (hy_layer_info){.letter = c->letter, .name = c->name};
    return k;
}

static void add_state(hy_layer_info *k, const hy__model *m, const hy__decl *d) {
    const int64_t chunk = m->cfg.model.chunk;
    /* slots of a short and of a very long sequence: only what still grows there is unbounded */
    const int64_t far = INT64_C(1) << 40;
    const int64_t bound = hy__kv_slots(&m->cfg, far);
    const bool grows = hy__kv_slots(&m->cfg, far + chunk) > bound;
    for (int i = 0; i < d->n_state; i++) {
        const hy__dtype dtype = hy__state_dtype(d->state[i].narrow, m->weight_dtype, m->be->real);
        const int64_t size = (int64_t)hy__dtype_size(dtype), slot = d->state[i].per_slot * size;
        k->state_bytes += d->state[i].fixed * size + (grows ? 0 : slot * bound);
        k->state_bytes_per_block += grows ? slot : 0;
    }
}

void hy_model_describe(const hy_model *model, hy_model_info *info) {
    const hy__model *m = model->net;
    *info = (hy_model_info){
        .layers = m->cfg.model.layers,
        .letters = m->cfg.letter,
        .n_layer = m->cfg.n_layer,
        .d_model = m->cfg.model.d_model,
        .vocab = m->cfg.model.vocab,
        .chunk = m->cfg.model.chunk,
        .parameters = hy__model_count(m, false),
        .active = hy__model_count(m, true),
        .embedding = m->param[m->embed].n,
    };
    for (int64_t i = 0; i < m->cfg.n_layer; i++) {
        hy_layer_info *k = kind_of(info, m->layer[i].component);
        k->count++;
        add_state(k, m, &m->layer[i].decl);
    }
    for (int64_t i = 0; i < m->n_param; i++) {
        const hy__param *p = &m->param[i];
        info->weight_bytes += (int64_t)hy__dtype_bytes(p->value.dtype, p->n);
        if (p->layer < 0 || p->decl.group == HY__GROUP_BUFFER) continue;
        hy_layer_info *k = kind_of(info, m->layer[p->layer].component);
        k->parameters += p->n;
        k->active += hy__param_active(p);
    }
}
