/* component.c: the list of letters, and the helpers that every component declares and plans with.
 */
#include "model/component.h"

#include <stdio.h>

const hy__component *hy__component_find(char letter) {
    static const hy__component *const all[] = {&hy__ssm, &hy__attention, &hy__experts,
                                               &hy__ffn, &hy__workspace, &hy__pkm};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i]->letter == letter) return all[i];
    return NULL;
}

void hy__declare(hy__decl *d, int id, const char *name, hy__group group, hy__init init, double arg,
                 int n_dim, const int64_t *shape) {
    HY_ASSERT(id >= d->n_param && id < HY__PARAM_MAX && n_dim >= 1 && n_dim <= HY__DIM_MAX);
    hy__param_decl *p = &d->param[id];
    *p = (hy__param_decl){
        .n_dim = n_dim, .init = init, .init_arg = arg, .group = group, .active = 1.0};
    snprintf(p->name, sizeof p->name, "%s", name);
    for (int i = 0; i < n_dim; i++) p->shape[i] = shape[i];
    d->n_param = id + 1;
}

void hy__declare_state(hy__decl *d, int id, const char *name, int64_t fixed, int64_t per_slot) {
    HY_ASSERT(id == d->n_state && id < HY__STATE_MAX);
    d->state[id] = (hy__state_decl){.name = name, .fixed = fixed, .per_slot = per_slot};
    d->n_state = id + 1;
}

void hy__declare_say(hy__decl *d, int id, const char *name, int64_t row, int64_t col) {
    HY_ASSERT(id == d->n_say && id < HY__SAY_MAX);
    d->say[id] = (hy__say_decl){.name = name, .row = row, .col = col, .at = d->n_said};
    d->n_say = id + 1;
    d->n_said += (row > 0 ? row : 1) * (col > 0 ? col : 1);
}

void hy__declare_cache(hy__decl *d, int id, const char *name, int64_t per_slot) {
    hy__declare_state(d, id, name, 0, per_slot);
    d->state[id].narrow = true;
}

hy__dtype hy__state_dtype(bool narrow_state, hy__dtype weights, hy__dtype real) {
    return narrow_state && weights != real ? HY__DTYPE_BF16 : real;
}

void hy__layer_declare(const hy__config *c, const hy__component *component, hy__decl *d) {
    const int64_t one = 1;
    component->declare(c, d);
    hy__declare(d, d->n_param, "norm.weight", HY__GROUP_VECTOR, HY__INIT_CONST, 1, 1,
                &c->model.d_model);
    hy__declare(d, d->n_param, "gate", HY__GROUP_VECTOR, HY__INIT_CONST, component->gate, 1, &one);
}

void hy__frame_declare(const hy__config *c, hy__decl *d) {
    hy__declare(d, HY__FRAME_EMBED, "embeddings.weight", HY__GROUP_EMBED, HY__INIT_NORMAL, 0.02, 2,
                (int64_t[]){c->model.vocab, c->model.d_model});
    hy__declare(d, HY__FRAME_NORM, "norm_f.weight", HY__GROUP_VECTOR, HY__INIT_CONST, 1, 1,
                &c->model.d_model);
}

bool hy__group_may_be_narrow(hy__group g) {
    return g == HY__GROUP_MATRIX || g == HY__GROUP_EMBED || g == HY__GROUP_TABLE;
}

hy__dtype hy__param_dtype(const hy__param_decl *d, hy__dtype narrow, hy__dtype real) {
    if (!hy__group_may_be_narrow(d->group)) return real;
    const bool whole = d->shape[d->n_dim - 1] % HY__QUANT_GROUP == 0;
    return hy__dtype_is_quant(narrow) && !whole ? real : narrow;
}

bool hy__group_is_trained(hy__group g) {
    return g != HY__GROUP_BUFFER;
}

const char *hy__group_name(hy__group g) {
    static const char *const name[] = {
        [HY__GROUP_MATRIX] = "matrix", [HY__GROUP_EMBED] = "embed",   [HY__GROUP_VECTOR] = "vector",
        [HY__GROUP_TABLE] = "table",   [HY__GROUP_BUFFER] = "buffer", [HY__GROUP_ROUTER] = "router",
    };
    return name[g];
}

int64_t hy__rows_max(const hy__config *c) {
    const int64_t read = c->pkm.n_head * c->pkm.topk;
    return INT32_MAX / (read > HY__EXPERT_MAX ? read : HY__EXPERT_MAX);
}

static void plan(hy__plan *p, int id, hy__dtype dtype, hy__life life, int64_t count) {
    HY_ASSERT(id >= 0 && id < HY__BUF_MAX && count >= 0);
    p->buf[id] = (hy__buf_decl){.dtype = dtype, .count = count, .life = life};
    if (id >= p->n_buf) p->n_buf = id + 1;
}

void hy__plan_real(hy__plan *p, int id, hy__life life, int64_t count) {
    plan(p, id, p->real, life, count);
}

void hy__plan_i32(hy__plan *p, int id, hy__life life, int64_t count) {
    plan(p, id, HY__DTYPE_I32, life, count);
}

void hy__linear(hy__backend *be, const hy__linear_args *a) {
    be->kernels.gemm(be, &(hy__gemm_args){.c = a->y,
                                          .a = a->x,
                                          .b = a->w,
                                          .m = a->n_row,
                                          .n = a->out,
                                          .k = a->in,
                                          .tb = true,
                                          .accumulate = a->y_add,
                                          .prec = a->prec});
}

void hy__linear_backward(hy__backend *be, const hy__linear_args *a) {
    const hy__tensor dy = hy__present(a->room) ? a->room : a->dy;
    if (hy__present(a->room)) {
        be->kernels.copy(be,
                         &(hy__copy_args){.dst = a->room, .src = a->dy, .n = a->n_row * a->out});
    }
    if (hy__present(a->dx)) {
        be->kernels.gemm(be, &(hy__gemm_args){.c = a->dx,
                                              .a = dy,
                                              .b = a->w,
                                              .m = a->n_row,
                                              .n = a->in,
                                              .k = a->out,
                                              .accumulate = a->dx_add,
                                              .prec = a->prec});
    }
    if (hy__present(a->dw)) {
        be->kernels.gemm(be, &(hy__gemm_args){.c = a->dw,
                                              .a = dy,
                                              .b = a->x,
                                              .m = a->out,
                                              .n = a->in,
                                              .k = a->n_row,
                                              .ta = true,
                                              .accumulate = true,
                                              .prec = a->prec});
    }
}
