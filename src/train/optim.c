/* optim.c: see optim.h. The arithmetic is the backend's kernels adamw and sqsum, and Muon's. */
#include "train/optim.h"

#include <math.h>
#include <stdlib.h>

static bool is_trained(const hy__param *p) {
    return hy__group_is_trained(p->decl.group);
}

static bool has_decay(const hy__param *p) {
    return p->decl.group == HY__GROUP_MATRIX || p->decl.group == HY__GROUP_ROUTER;
}

static hy__matrices matrices_of(const hy__optim *o, int64_t i) {
    return hy__muon_matrices(&o->model->param[i].decl, o->of_matrices);
}

/* ---- memory: the norm's sums, Muon's scratch, the moments ---- */

static hy_status allocate(hy__optim *o, hy_error *err) {
    const hy__model *m = o->model;
    const hy__dtype real = m->be->real;
    size_t scratch = 0, size = hy__tensor_bytes(real, m->n_param);
    for (int64_t i = 0; i < m->n_param; i++) {
        const hy__matrices at = matrices_of(o, i);
        const size_t need = hy__muon_scratch(&at, real);
        if (need > scratch) scratch = need;
        if (is_trained(&m->param[i]))
            size += (at.n > 0 ? 1 : 2) * hy__tensor_bytes(real, m->param[i].n);
    }
    return m->be->buffer_new(m->be, size + scratch, &o->buf, err);
}

static hy__tensor take(hy__tensor *at, size_t size) {
    const hy__tensor t = *at;
    at->off += size;
    return t;
}

static void place(hy__optim *o) {
    const hy__model *m = o->model;
    const hy__dtype real = m->be->real;
    hy__tensor at = {.buf = &o->buf, .dtype = real};
    m->be->zero(m->be, at, o->buf.size);
    o->sum = take(&at, hy__tensor_bytes(real, m->n_param));
    for (int64_t i = 0; i < m->n_param; i++) {
        const size_t size = hy__tensor_bytes(real, m->param[i].n);
        o->rate[i] = 1.0;
        if (!is_trained(&m->param[i])) continue;
        o->m[i] = take(&at, size);
        if (matrices_of(o, i).n == 0) o->v[i] = take(&at, size);
    }
    o->scratch = at;
}

hy_status hy__optim_new(hy__optim **out, hy__model *m, hy__optimizer of_matrices, hy__prec prec,
                        hy_error *err) {
    const size_t n = (size_t)m->n_param;
    hy__optim *o = calloc(1, sizeof *o);
    if (o) {
        *o = (hy__optim){.model = m,
                         .of_matrices = of_matrices,
                         .prec = prec,
                         .m = calloc(n, sizeof *o->m),
                         .v = calloc(n, sizeof *o->v),
                         .step = calloc(n, sizeof *o->step),
                         .rate = calloc(n, sizeof *o->rate),
                         .square = calloc(n, sizeof *o->square)};
    }
    if (!o || !o->m || !o->v || !o->step || !o->rate || !o->square) {
        hy__optim_free(o);
        return hy__no_memory(err, "the optimizer");
    }
    const hy_status status = allocate(o, err);
    if (status != HY_OK) {
        hy__optim_free(o);
        return status;
    }
    place(o);
    *out = o;
    return HY_OK;
}

void hy__optim_free(hy__optim *o) {
    if (!o) return;
    o->model->be->buffer_free(o->model->be, &o->buf);
    free(o->m);
    free(o->v);
    free(o->step);
    free(o->rate);
    free(o->square);
    free(o);
}

/* ---- a step ---- */

/* Flags of the rows that this step wrote; absent for a parameter that is dense. */
static hy__tensor touched_of(const hy__model *m, const hy__param *p) {
    return p->decl.group == HY__GROUP_TABLE ? m->touched : (hy__tensor){0};
}

double hy__optim_norm(hy__optim *o) {
    const hy__model *m = o->model;
    hy__backend *be = m->be;
    double all = 0.0;
    be->zero(be, o->sum, (size_t)m->n_param * hy__dtype_size(be->real));
    for (int64_t i = 0; i < m->n_param; i++) {
        const hy__param *p = &m->param[i];
        if (!is_trained(p) || o->rate[i] == 0.0) continue;
        be->kernels.sqsum(be, &(hy__sqsum_args){.out = hy__at(o->sum, i),
                                                .x = p->grad,
                                                .touched = touched_of(m, p),
                                                .n = p->n,
                                                .dim = p->fan_in});
    }
    hy__tensor_read_f64(be, o->square, o->sum, m->n_param);
    for (int64_t i = 0; i < m->n_param; i++) all += o->square[i];
    return sqrt(all);
}

static void by_adamw(hy__optim *o, int64_t i, const hy__optim_rates *r) {
    const hy__model *m = o->model;
    const hy__param *p = &m->param[i];
    const bool frozen = o->rate[i] == 0.0;
    const double lr = p->decl.group == HY__GROUP_TABLE ? r->table_lr : r->lr;
    m->be->kernels.adamw(m->be,
                         &(hy__adamw_args){.p = frozen ? (hy__tensor){0} : p->value,
                                           .g = p->grad,
                                           .m = o->m[i],
                                           .v = o->v[i],
                                           .touched = touched_of(m, p),
                                           .n = p->n,
                                           .dim = p->fan_in,
                                           .step = o->step[i],
                                           .lr = o->rate[i] * lr,
                                           .beta1 = r->beta1,
                                           .beta2 = r->beta2,
                                           .eps = r->eps,
                                           .weight_decay = has_decay(p) ? r->weight_decay : 0.0,
                                           .g_scale = r->g_scale});
}

static void by_muon(hy__optim *o, int64_t i, const hy__optim_rates *r) {
    const hy__param *p = &o->model->param[i];
    hy__muon_update(&(hy__muon_args){.be = o->model->be,
                                     .at = matrices_of(o, i),
                                     .p = p->value,
                                     .m = o->m[i],
                                     .g = p->grad,
                                     .scratch = o->scratch,
                                     .prec = o->prec,
                                     .lr = o->rate[i] * r->lr,
                                     .weight_decay = r->weight_decay,
                                     .momentum = r->momentum,
                                     .g_scale = r->g_scale});
}

void hy__optim_step(hy__optim *o, const hy__optim_rates *r) {
    for (int64_t i = 0; i < o->model->n_param; i++) {
        const hy__param *p = &o->model->param[i];
        const bool frozen = o->rate[i] == 0.0;
        if (!is_trained(p) || (frozen && p->decl.group != HY__GROUP_TABLE)) continue;
        if (!frozen) o->step[i]++;
        if (matrices_of(o, i).n > 0)
            by_muon(o, i, r);
        else
            by_adamw(o, i, r);
    }
}
