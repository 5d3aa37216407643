/* optim.c: see optim.h. The arithmetic is the backend's kernels adamw and sqsum. */
#include "train/optim.h"

#include <math.h>
#include <stdlib.h>

static bool is_trained(const hy__param *p) {
    return hy__group_is_trained(p->decl.group);
}

static bool has_decay(const hy__param *p) {
    return p->decl.group == HY__GROUP_MATRIX || p->decl.group == HY__GROUP_ROUTER;
}

hy_status hy__optim_new(hy__optim **out, hy__model *m, hy_error *err) {
    hy__backend *be = m->be;
    hy__optim *o = calloc(1, sizeof *o);
    if (o) {
        o->model = m;
        o->m = calloc((size_t)m->n_param, sizeof *o->m);
        o->v = calloc((size_t)m->n_param, sizeof *o->v);
        o->rate = malloc((size_t)m->n_param * sizeof *o->rate);
    }
    if (!o || !o->m || !o->v || !o->rate) {
        hy__optim_free(o);
        return hy__fail(err, HY_E_MEMORY, "there is not enough memory for the optimizer");
    }
    size_t size = hy__tensor_bytes(be->real, 1);
    for (int64_t i = 0; i < m->n_param; i++)
        if (is_trained(&m->param[i])) size += 2 * hy__tensor_bytes(be->real, m->param[i].n);
    const hy_status status = be->buffer_new(be, size, &o->buf, err);
    if (status != HY_OK) {
        hy__optim_free(o);
        return status;
    }
    hy__tensor at = {.buf = &o->buf, .dtype = be->real};
    be->zero(be, at, size);
    o->sum = at;
    at.off += hy__tensor_bytes(be->real, 1);
    for (int64_t i = 0; i < m->n_param; i++) {
        if (!is_trained(&m->param[i])) continue;
        o->m[i] = at;
        at.off += hy__tensor_bytes(be->real, m->param[i].n);
        o->v[i] = at;
        at.off += hy__tensor_bytes(be->real, m->param[i].n);
    }
    for (int64_t i = 0; i < m->n_param; i++) o->rate[i] = 1.0;
    *out = o;
    return HY_OK;
}

void hy__optim_free(hy__optim *o) {
    if (!o) return;
    o->model->be->buffer_free(o->model->be, &o->buf);
    free(o->m);
    free(o->v);
    free(o->rate);
    free(o);
}

/* Flags of the rows that this step wrote; absent for a parameter that is dense. */
static hy__tensor touched_of(const hy__model *m, const hy__param *p) {
    return p->decl.group == HY__GROUP_TABLE ? m->touched : (hy__tensor){0};
}

double hy__optim_norm(hy__optim *o) {
    const hy__model *m = o->model;
    hy__backend *be = m->be;
    be->zero(be, o->sum, hy__dtype_size(be->real));
    for (int64_t i = 0; i < m->n_param; i++) {
        const hy__param *p = &m->param[i];
        if (!is_trained(p) || o->rate[i] == 0.0) continue;
        be->kernels.sqsum(be, &(hy__sqsum_args){.out = o->sum,
                                                .x = p->grad,
                                                .touched = touched_of(m, p),
                                                .n = p->n,
                                                .dim = p->fan_in});
    }
    double sum = 0.0;
    hy__tensor_read_f64(be, &sum, o->sum, 1);
    return sqrt(sum);
}

void hy__optim_step(hy__optim *o, const hy__optim_rates *r) {
    const hy__model *m = o->model;
    hy__backend *be = m->be;
    o->step++;
    for (int64_t i = 0; i < m->n_param; i++) {
        const hy__param *p = &m->param[i];
        const bool frozen = o->rate[i] == 0.0, table = p->decl.group == HY__GROUP_TABLE;
        if (!is_trained(p) || (frozen && !table)) continue;
        be->kernels.adamw(be,
                          &(hy__adamw_args){.p = frozen ? (hy__tensor){0} : p->value,
                                            .g = p->grad,
                                            .m = o->m[i],
                                            .v = o->v[i],
                                            .touched = touched_of(m, p),
                                            .n = p->n,
                                            .dim = p->fan_in,
                                            .step = o->step,
                                            .lr = o->rate[i] * (table ? r->table_lr : r->lr),
                                            .beta1 = r->beta1,
                                            .beta2 = r->beta2,
                                            .eps = r->eps,
                                            .weight_decay = has_decay(p) ? r->weight_decay : 0.0,
                                            .g_scale = r->g_scale});
    }
}
