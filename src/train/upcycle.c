/* upcycle.c: F becomes E (sparse upcycling, arXiv 2212.05055).
 *
 * With equal widths every expert is a copy of F, so that the layer computes what it computed,
 * whatever the router says: the chosen experts' weights add up to 1. Narrower experts are slices of
 * F's inner units, expert e from unit e·d_ff on and around, with `down` times F's width over
 * theirs: any k of them then have F's output as their mean. Noise breaks the symmetry, and the
 * router is new.
 *
 * Moments are copied with what they are moments of: the gradient of a copy is that of F, times its
 * share of the tokens and its weight, 1/n_expert on average. */
#include "train/trainer.h"

#include "base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One matrix of an F layer, on the host. */
typedef struct matrix {
    double *x; /* [rows, cols], owned */
    int64_t rows, cols;
} matrix;

static hy_status read_matrix(matrix *to, hy__backend *be, const hy__param *p, hy__tensor t,
                             hy_error *err) {
    *to = (matrix){.rows = p->decl.shape[0], .cols = p->decl.shape[1]};
    to->x = malloc((size_t)p->n * sizeof *to->x);
    if (!to->x) return hy__no_memory(err, "making experts of a layer");
    hy__tensor_read_f64(be, to->x, t, p->n);
    return HY_OK;
}

static double rms(const matrix *m) {
    double sum = 0;
    for (int64_t i = 0; i < m->rows * m->cols; i++) sum += m->x[i] * m->x[i];
    return sqrt(sum / (double)(m->rows * m->cols));
}

/* How the experts' matrix is made of F's: `down` is [d, f], else [2·f, d], gate above up. */
typedef struct slicing {
    bool down;
    int64_t wide, narrow; /* F's inner units and an expert's */
    double times;         /* of every element */
} slicing;

/* Element (row, col) of expert e. */
static double sliced(const matrix *m, const slicing *s, int64_t e, int64_t row, int64_t col) {
    const int64_t unit = s->down ? col : row % s->narrow;
    const int64_t from = (e * s->narrow + unit) % s->wide;
    if (s->down) return s->times * m->x[row * m->cols + from];
    return s->times * m->x[(row / s->narrow * s->wide + from) * m->cols + col];
}

/* All experts, one after another, with normal noise of that standard deviation. */
static hy_status write_experts(hy__backend *be, hy__tensor to, const int64_t shape[3],
                               const matrix *m, const slicing *s, double noise, uint64_t key,
                               hy_error *err) {
    const int64_t rows = shape[1], cols = shape[2], n = rows * cols;
    double *x = malloc((size_t)n * sizeof *x);
    if (!x) return hy__no_memory(err, "making experts of a layer");
    for (int64_t e = 0; e < shape[0]; e++) {
        for (int64_t i = 0; i < n; i++) {
            x[i] = sliced(m, s, e, i / cols, i % cols);
            if (noise > 0) x[i] += noise * hy__rng_normal(key, (uint64_t)(e * n + i));
        }
        hy__tensor_write_f64(be, hy__at(to, e * n), x, n);
    }
    free(x);
    return HY_OK;
}

/* What becomes of a training: the old and the new of each. */
typedef struct change {
    hy__trainer *tr;
    hy__model *from, *to;
    hy__optim *was, *is;
} change;

/* The experts' matrix `to` and its moments from F's matrix `from`. */
static hy_status copy_matrix(const change *c, int64_t from, int64_t to, bool down, hy_error *err) {
    const hy__config *cfg = &c->to->cfg;
    const int64_t wide = c->from->cfg.ffn.d_ff;
    const hy__param *p = &c->from->param[from], *q = &c->to->param[to];
    const double ratio = (double)wide / (double)cfg->experts.d_ff;
    /* of a copy's gradient to F's; `down` is the larger by ratio, and so is what goes back of it */
    const double grad = (down ? 1.0 : ratio) / (double)cfg->experts.n_expert;
    const hy__tensor source[] = {p->value, c->was->m[from], c->was->v[from]};
    const hy__tensor target[] = {q->value, c->is->m[to], c->is->v[to]};
    const double times[] = {down ? ratio : 1.0, grad, grad * grad};
    const uint64_t key = hy__rng_key((uint64_t)c->tr->base_t.seed, q->name, 1);
    slicing s = {.down = down, .wide = wide, .narrow = cfg->experts.d_ff};
    hy_status status = HY_OK;
    c->is->step[to] = c->was->step[from];
    for (int i = 0; i < 3 && status == HY_OK; i++) {
        matrix m;
        if (!hy__present(source[i]) || !hy__present(target[i])) continue; /* Muon has one moment */
        status = read_matrix(&m, c->tr->be, p, source[i], err);
        s.times = times[i];
        if (status == HY_OK) {
            const double noise = i == 0 ? c->tr->stage->noise * times[0] * rms(&m) : 0.0;
            status = write_experts(c->tr->be, target[i], q->decl.shape, &m, &s, noise, key, err);
        }
        free(m.x);
    }
    return status;
}

static int64_t find(const hy__model *m, const char *name) {
    for (int64_t i = 0; i < m->n_param; i++)
        if (strcmp(m->param[i].name, name) == 0) return i;
    return -1;
}

/* The same tensor in both, and its moments. */
static void copy_same(const change *c, int64_t from, int64_t to) {
    hy__backend *be = c->tr->be;
    const int64_t n = c->to->param[to].n;
    const hy__copy_args value = {
        .dst = c->to->param[to].value, .src = c->from->param[from].value, .n = n};
    be->kernels.copy(be, &value);
    c->is->step[to] = c->was->step[from];
    if (hy__present(c->is->m[to]))
        be->kernels.copy(be, &(hy__copy_args){.dst = c->is->m[to], .src = c->was->m[from], .n = n});
    if (hy__present(c->is->v[to]))
        be->kernels.copy(be, &(hy__copy_args){.dst = c->is->v[to], .src = c->was->v[from], .n = n});
}

/* What an E has of its F: the layer's matrices by the names of both. Shared experts begin at 0. */
static hy_status make_param(const change *c, int64_t to, hy_error *err) {
    static const char gate_up[] = "mixer.experts.gate_up.weight",
                      down[] = "mixer.experts.down.weight";
    const hy__param *q = &c->to->param[to];
    const bool is_down = strcmp(q->decl.name, down) == 0;
    if (strcmp(q->decl.name, "mixer.shared.down.weight") == 0)
        c->tr->be->zero(c->tr->be, q->value, (size_t)q->n * hy__dtype_size(q->value.dtype));
    if (!is_down && strcmp(q->decl.name, gate_up) != 0) return HY_OK;
    char name[sizeof q->name];
    snprintf(name, sizeof name, "backbone.layers.%d.mixer.%s.weight", (int)q->layer,
             is_down ? "down" : "gate_up");
    const int64_t from = find(c->from, name);
    HY_ASSERT(from >= 0);
    return copy_matrix(c, from, to, is_down, err);
}

static hy_status fill(const change *c, hy_error *err) {
    hy__model_randomize(c->to, (uint64_t)c->tr->base_t.seed);
    for (int64_t i = 0; i < c->to->n_param; i++) {
        const int64_t from = find(c->from, c->to->param[i].name);
        if (from >= 0)
            copy_same(c, from, i);
        else
            HY_TRY(make_param(c, i, err));
    }
    return hy__backend_check(c->tr->be, err);
}

hy_status hy__upcycle(hy__trainer *tr, hy_error *err) {
    change c = {.tr = tr, .from = tr->model, .was = tr->optim};
    hy_status status = hy__model_new(&c.to, tr->be, &tr->stage->cfg, tr->be->real, err);
    if (status == HY_OK) status = hy__model_train(c.to, err);
    if (status == HY_OK) status = hy__optim_new(&c.is, c.to, c.was->of_matrices, c.was->prec, err);
    if (status == HY_OK) status = fill(&c, err);
    if (status != HY_OK) {
        hy__optim_free(c.is);
        hy__model_free(c.to);
        return status;
    }
    hy__optim_free(c.was);
    hy__model_free(c.from);
    tr->model = c.to;
    tr->optim = c.is;
    return HY_OK;
}
