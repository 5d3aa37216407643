/* model.c: builds a model from its pattern: declares, places and initialises the parameters.
 *
 * Parameters lie one after another in one buffer of weights, gradients and statistics in another of
 * the same order, so that what is declared is what is allocated; only what lies in a mapped file
 * has no place of its own. */
#include "model/model.h"

#include "base/file.h"
#include "base/rng.h"
#include "tensor/quant.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- declaring ---- */

/* Adds a parameter to the model's list and returns its index. */
static int32_t add_param(hy__model *m, const hy__param_decl *decl, int32_t layer, char letter) {
    hy__param *p = &m->param[m->n_param];
    *p = (hy__param){.decl = *decl, .layer = layer, .letter = letter, .n = 1};
    for (int i = 0; i < decl->n_dim; i++) p->n *= decl->shape[i];
    p->fan_in = decl->shape[decl->n_dim - 1];
    if (layer < 0 || decl->shared)
        snprintf(p->name, sizeof p->name, "backbone.%s", decl->name);
    else
        snprintf(p->name, sizeof p->name, "backbone.layers.%" PRId32 ".%s", layer, decl->name);
    return (int32_t)m->n_param++;
}

static int32_t find_shared(const hy__model *m, const hy__param_decl *decl) {
    for (int32_t i = 0; i < m->n_param; i++)
        if (m->param[i].decl.shared && strcmp(m->param[i].decl.name, decl->name) == 0) return i;
    return -1;
}

static void declare_layer(hy__model *m, int32_t index) {
    hy__layer *l = &m->layer[index];
    l->component = hy__component_find(m->cfg.letter[index]);
    HY_ASSERT(l->component != NULL);
    hy__layer_declare(&m->cfg, l->component, &l->decl);
    l->scale = 1.0;
    l->norm = l->decl.n_param - 2;
    l->gate = l->decl.n_param - 1;
    for (int id = 0; id < l->decl.n_param; id++) {
        const hy__param_decl *decl = &l->decl.param[id];
        l->param_at[id] = -1;
        if (decl->n_dim == 0) continue;
        const int32_t shared = decl->shared ? find_shared(m, decl) : -1;
        l->param_at[id] = shared >= 0 ? shared : add_param(m, decl, index, l->component->letter);
        if (shared >= 0) m->param[shared].decl.active += decl->active;
        if (decl->group == HY__GROUP_TABLE) m->table = l->param_at[id];
    }
}

static hy__dtype dtype_of(const hy__model *m, const hy__param *p) {
    return hy__param_dtype(&p->decl, m->weight_dtype, m->be->real);
}

static void declare_all(hy__model *m) {
    hy__decl frame = {0};
    hy__frame_declare(&m->cfg, &frame);
    m->embed = add_param(m, &frame.param[HY__FRAME_EMBED], -1, 0);
    for (int32_t i = 0; i < m->cfg.n_layer; i++) declare_layer(m, i);
    m->norm_f = add_param(m, &frame.param[HY__FRAME_NORM], -1, 0);
    for (int64_t i = 0; i < m->n_param; i++) m->param[i].value.dtype = dtype_of(m, &m->param[i]);
}

/* ---- placing ---- */

static void bind_layers(hy__model *m) {
    for (int64_t i = 0; i < m->cfg.n_layer; i++) {
        hy__layer *l = &m->layer[i];
        for (int id = 0; id < l->decl.n_param; id++) {
            if (l->param_at[id] < 0) continue;
            l->value[id] = m->param[l->param_at[id]].value;
            l->grad[id] = m->param[l->param_at[id]].grad;
        }
    }
}

static hy_status place_weights(hy__model *m, hy_error *err) {
    size_t size = 0;
    for (int64_t i = 0; i < m->n_param; i++) {
        hy__param *p = &m->param[i];
        if (hy__present(p->value)) continue;
        p->value = (hy__tensor){.buf = &m->weights, .off = size, .dtype = p->value.dtype};
        size += hy__tensor_bytes(p->value.dtype, p->n);
    }
    HY_TRY(m->be->buffer_new(m->be, size, &m->weights, err));
    bind_layers(m);
    return HY_OK;
}

hy_status hy__model_train(hy__model *m, hy_error *err) {
    if (m->weight_dtype != m->be->real) {
        return hy__fail(err, HY_E_INVALID, "a model whose weights are %s cannot train; %s",
                        hy__dtype_name(m->weight_dtype),
                        hy__dtype_is_quant(m->weight_dtype) ? "train the one that it was made from"
                                                            : "open it in fp32");
    }
    HY_ASSERT(m->n_file == 0);
    if (m->grads.size > 0) return HY_OK;
    size_t size = 0;
    int64_t most_stat = 1, n_said = 1;
    for (int64_t i = 0; i < m->n_param; i++) {
        hy__param *p = &m->param[i];
        if (!hy__group_is_trained(p->decl.group)) continue;
        p->grad = (hy__tensor){.buf = &m->grads, .off = size, .dtype = m->be->real};
        size += hy__tensor_bytes(m->be->real, p->n);
    }
    for (int64_t i = 0; i < m->cfg.n_layer; i++) {
        hy__layer *l = &m->layer[i];
        if (l->decl.n_stat == 0) continue;
        l->stat = (hy__tensor){.buf = &m->grads, .off = size, .dtype = m->be->real};
        size += hy__tensor_bytes(m->be->real, l->decl.n_stat);
        if (l->decl.n_stat > most_stat) most_stat = l->decl.n_stat;
        n_said += l->decl.n_said;
    }
    if (m->table >= 0) {
        const int64_t n_row = m->param[m->table].decl.shape[0];
        m->touched = (hy__tensor){.buf = &m->grads, .off = size, .dtype = HY__DTYPE_I32};
        size += hy__tensor_bytes(HY__DTYPE_I32, n_row);
    }
    free(m->stat_host);
    free(m->said);
    m->stat_host = malloc((size_t)most_stat * sizeof *m->stat_host);
    m->said = malloc((size_t)n_said * sizeof *m->said);
    if (!m->stat_host || !m->said) return hy__no_memory(err, "training");
    HY_TRY(m->be->buffer_new(m->be, size, &m->grads, err));
    m->be->zero(m->be, (hy__tensor){.buf = &m->grads}, size);
    bind_layers(m);
    n_said = 0;
    for (int64_t i = 0; i < m->cfg.n_layer; i++) {
        m->layer[i].said = m->said + n_said;
        n_said += m->layer[i].decl.n_said;
    }
    return HY_OK;
}

void hy__model_zero_grad(hy__model *m, bool table_too) {
    for (int64_t i = 0; i < m->n_param; i++) {
        const hy__param *p = &m->param[i];
        if (!hy__present(p->grad) || (i == m->table && !table_too)) continue;
        m->be->zero(m->be, p->grad, (size_t)p->n * hy__dtype_size(p->grad.dtype));
    }
    if (m->table >= 0 && table_too) {
        m->be->zero(m->be, m->touched, (size_t)m->param[m->table].decl.shape[0] * sizeof(int32_t));
    }
}

hy_status hy__model_declare(hy__model **out, hy__backend *be, const hy__config *cfg,
                            hy__dtype weight_dtype, hy_error *err) {
    hy__model *m = calloc(1, sizeof *m);
    if (m) {
        *m = (hy__model){.be = be, .cfg = *cfg, .weight_dtype = weight_dtype, .table = -1};
        m->layer = calloc((size_t)cfg->n_layer, sizeof *m->layer);
        m->param = calloc((size_t)cfg->n_layer * HY__PARAM_MAX + 2, sizeof *m->param);
    }
    if (!m || !m->layer || !m->param) {
        hy__model_free(m);
        return hy__no_memory(err, "a model's description");
    }
    declare_all(m);
    *out = m;
    return HY_OK;
}

hy_status hy__model_place(hy__model *m, hy_error *err) {
    const hy_status status = place_weights(m, err);
    if (status == HY_OK) return HY_OK;
    return hy__fail_in(err, status, "the weights of a model of %" PRId64 " parameters",
                       hy__model_count(m, false));
}

hy_status hy__model_new(hy__model **out, hy__backend *be, const hy__config *cfg,
                        hy__dtype weight_dtype, hy_error *err) {
    hy__model *m;
    HY_TRY(hy__model_declare(&m, be, cfg, weight_dtype, err));
    const hy_status status = hy__model_place(m, err);
    if (status != HY_OK) {
        hy__model_free(m);
        return status;
    }
    *out = m;
    return HY_OK;
}

void hy__model_free(hy__model *m) {
    if (!m) return;
    m->be->buffer_free(m->be, &m->weights);
    m->be->buffer_free(m->be, &m->grads);
    for (size_t i = 0; i < m->n_file; i++) {
        hy__map map = {.data = m->file[i].data, .size = m->file[i].size};
        hy__file_unmap(&map);
    }
    free(m->file);
    free(m->stat_host);
    free(m->said);
    free(m->layer);
    free(m->param);
    free(m);
}

/* ---- initialising ---- */

typedef struct init_ctx {
    uint64_t key;
    const hy__config *cfg;
    const hy__param *param;
} init_ctx;

/* The initial value of element i; every case of hy__init. */
static double initial(const init_ctx *c, int64_t i) {
    const hy__param_decl *d = &c->param->decl;
    const uint64_t at = (uint64_t)i;
    const double linear = 1.0 / sqrt((double)c->param->fan_in);
    switch (d->init) {
    case HY__INIT_CONST:
        return d->init_arg;
    case HY__INIT_NORMAL:
        return d->init_arg * hy__rng_normal(c->key, at);
    case HY__INIT_LINEAR:
        return linear * (2.0 * hy__rng_uniform(c->key, at) - 1.0);
    case HY__INIT_OUTPUT:
        return linear * (2.0 * hy__rng_uniform(c->key, at) - 1.0) / sqrt((double)c->cfg->n_layer);
    case HY__INIT_A_LOG:
        return log(1.0 + 15.0 * hy__rng_uniform(c->key, at));
    case HY__INIT_DT_BIAS: {
        const double lo = log(c->cfg->ssm.dt_min), hi = log(c->cfg->ssm.dt_max);
        double dt = exp(lo + (hi - lo) * hy__rng_uniform(c->key, at));
        if (dt < c->cfg->ssm.dt_floor) dt = c->cfg->ssm.dt_floor;
        return dt + log(-expm1(-dt)); /* softplus of this is dt */
    }
    case HY__INIT_READS:
        return -(double)(i % d->shape[d->n_dim - 1]);
    }
    return 0.0;
}

enum { INIT_BLOCK = 1 << 14 }; /* elements drawn at a time by one thread */

/* Elements [from, to), of a quantised parameter whole rows. */
static void randomize_block(const hy__model *m, const init_ctx *c, int64_t from, int64_t to) {
    enum { PART = 1024 };
    float part[PART];
    for (int64_t n; from < to; from += n) {
        n = hy__param_run(c->param, from, to - from < PART ? to - from : PART);
        for (int64_t i = 0; i < n; i++) part[i] = (float)initial(c, from + i);
        hy__tensor_write_f32(m->be, hy__at(c->param->value, from), part, n);
    }
}

static void randomize_param(const hy__model *m, const hy__param *p, uint64_t seed) {
    const init_ctx c = {.key = hy__rng_key(seed, p->name, 0), .cfg = &m->cfg, .param = p};
    const int64_t row = p->fan_in, rows = (INIT_BLOCK + row - 1) / row, block = rows * row;
#pragma omp parallel for schedule(static) num_threads(m->be->n_thread)
    for (int64_t from = 0; from < p->n; from += block)
        randomize_block(m, &c, from, p->n - from < block ? p->n : from + block);
}

void hy__model_randomize(hy__model *m, uint64_t seed) {
    for (int64_t i = 0; i < m->n_param; i++) randomize_param(m, &m->param[i], seed);
}

/* ---- asking ---- */

int64_t hy__param_run(const hy__param *p, int64_t first, int64_t most) {
    const int64_t left = p->n - first < most ? p->n - first : most;
    if (!hy__dtype_is_quant(p->value.dtype)) return left;
    const int64_t row = p->fan_in - first % p->fan_in;
    return row < HY__QUANT_SPAN ? row : HY__QUANT_SPAN;
}

double hy__model_scale(const hy__model *m, const hy__param *p) {
    if (p->layer < 0) return 1.0;
    const hy__layer *l = &m->layer[p->layer];
    return p == &m->param[l->param_at[l->gate]] ? l->scale : 1.0;
}

hy__param *hy__model_find(hy__model *m, const char *name) {
    for (int64_t i = 0; i < m->n_param; i++)
        if (strcmp(m->param[i].name, name) == 0) return &m->param[i];
    return NULL;
}

int64_t hy__param_active(const hy__param *p) {
    return (int64_t)round((double)p->n * p->decl.active);
}

int64_t hy__model_count(const hy__model *m, bool active) {
    int64_t n = 0;
    for (int64_t i = 0; i < m->n_param; i++) {
        const hy__param *p = &m->param[i];
        if (hy__group_is_trained(p->decl.group)) n += active ? hy__param_active(p) : p->n;
    }
    return n;
}

/* ---- after a step ---- */

void hy__model_report(hy__model *m) {
    for (int64_t i = 0; i < m->cfg.n_layer; i++) {
        hy__layer *l = &m->layer[i];
        double *said[HY__SAY_MAX];
        for (int64_t j = 0; j < l->decl.n_said; j++) l->said[j] = (double)NAN;
        for (int id = 0; id < l->decl.n_say; id++) said[id] = l->said + l->decl.say[id].at;
        if (!l->component->report || !hy__present(l->stat) || l->scale == 0) continue;
        hy__tensor_read_f64(m->be, m->stat_host, l->stat, l->decl.n_stat);
        l->component->report(&m->cfg, m->stat_host, said);
    }
}

const double *hy__layer_said(const hy__layer *l, const char *name) {
    for (int id = 0; id < l->decl.n_say; id++)
        if (strcmp(l->decl.say[id].name, name) == 0) return l->said + l->decl.say[id].at;
    return NULL;
}

double hy__model_said(const hy__model *m, char letter, const char *name) {
    double sum = 0.0;
    int64_t n = 0;
    for (int64_t i = 0; i < m->cfg.n_layer; i++) {
        const hy__layer *l = &m->layer[i];
        const double *x = l->component->letter == letter ? hy__layer_said(l, name) : NULL;
        if (!x || isnan(*x)) continue;
        sum += *x;
        n++;
    }
    return n > 0 ? sum / (double)n : (double)NAN;
}

void hy__model_settle(hy__model *m) {
    for (int64_t i = 0; i < m->cfg.n_layer; i++) {
        hy__layer *l = &m->layer[i];
        if (!hy__present(l->stat) || !l->component->settle || l->scale == 0) continue;
        const hy__call c = {
            .be = m->be, .cfg = &m->cfg, .param = l->value, .stat = l->stat, .expert = &l->expert};
        l->component->settle(&c);
    }
    hy__model_clear_stats(m);
}

void hy__model_clear_stats(hy__model *m) {
    for (int64_t i = 0; i < m->cfg.n_layer; i++) {
        const hy__layer *l = &m->layer[i];
        if (!hy__present(l->stat)) continue;
        m->be->zero(m->be, l->stat, (size_t)l->decl.n_stat * hy__dtype_size(l->stat.dtype));
    }
}
