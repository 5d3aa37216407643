/* work.c: lays out the memory of a step from what the components plan. */
#include "model/work.h"

#include <stdlib.h>
#include <string.h>

/* Elements of the logit tile, about: 32 MB in fp32, and 8 MB where nothing is trained, for every
 * session has one. */
enum { LOGIT_TILE = 1 << 23, LOGIT_TILE_READS = 1 << 21 };

/* A bump allocator over w->mem that also runs dry, to learn the size. */
typedef struct cursor {
    const hy__buffer *buf;
    size_t at;
} cursor;

static hy__tensor take(cursor *c, hy__dtype dtype, int64_t n) {
    if (n == 0) return (hy__tensor){.dtype = dtype};
    const hy__tensor t = {.buf = c->buf, .off = c->at, .dtype = dtype};
    c->at += hy__tensor_bytes(dtype, n);
    return t;
}

bool hy__work_runs(const hy__work *w, int64_t layer) {
    return !w->m || w->m->layer[layer].scale != 0;
}

static void plan_layer(const hy__work *w, int64_t layer, const hy__rows *rows, hy__plan *p) {
    *p = (hy__plan){.real = w->real, .expert = w->m ? &w->m->layer[layer].expert : NULL};
    hy__component_find(w->cfg->letter[layer])->plan(w->cfg, rows, p);
}

static bool is_kept(hy__life life) {
    return life == HY__LIFE_KEEP || life == HY__LIFE_TRAIN;
}

static bool is_by_block(const hy__work *w) {
    return w->opt.training && w->opt.recompute;
}

/* What a layer chose, where other layers' buffers lie over the rest of its own: it is asked for
 * after the forward (hy__get_rows). */
static bool is_apart(const hy__work *w, int64_t layer, int id) {
    return is_by_block(w) && id > 0 && id == hy__component_find(w->cfg->letter[layer])->choice;
}

static void take_choices(hy__work *w, const hy__rows *rows, cursor *c) {
    hy__plan plan;
    for (int64_t i = 0; i < w->cfg->n_layer; i++) {
        const int id = hy__component_find(w->cfg->letter[i])->choice;
        if (!hy__work_runs(w, i) || !is_apart(w, i, id)) continue;
        plan_layer(w, i, rows, &plan);
        w->buf[i * HY__BUF_MAX + id] = take(c, plan.buf[id].dtype, plan.buf[id].count);
    }
}

/* Takes the planned buffers of one layer that are kept (or, with kept = false, those that live
 * inside a call: shared ones first, then forward's and backward's over each other). */
static void take_buffers(hy__work *w, int64_t layer, const hy__plan *p, bool kept, cursor *c,
                         size_t *peak) {
    hy__tensor *buf = w->buf + layer * HY__BUF_MAX;
    const bool training = w->opt.training;
    for (int id = 0; id < p->n_buf; id++) {
        const hy__buf_decl *b = &p->buf[id];
        if (is_apart(w, layer, id)) continue;
        if (kept && is_kept(b->life) && (training || b->life == HY__LIFE_KEEP))
            buf[id] = take(c, b->dtype, b->count);
        if (!kept && b->life == HY__LIFE_CALL) buf[id] = take(c, b->dtype, b->count);
    }
    if (kept) return;
    const cursor start = *c;
    for (int pass = 0; pass < (training ? 2 : 1); pass++) {
        const hy__life life = pass == 0 ? HY__LIFE_FORWARD : HY__LIFE_BACKWARD;
        cursor over = start;
        for (int id = 0; id < p->n_buf; id++)
            if (p->buf[id].life == life) buf[id] = take(&over, p->buf[id].dtype, p->buf[id].count);
        if (over.at > *peak) *peak = over.at;
    }
}

/* Elements of a declared weight of a product; 0: it is none, or was never declared. */
static int64_t product_weights(const hy__param_decl *d) {
    int64_t n = d->n_dim > 0 && d->group == HY__GROUP_MATRIX;
    for (int i = 0; i < d->n_dim; i++) n *= d->shape[i];
    return n;
}

/* Weights in bf16, and room for the gradient of the widest product. */
static void take_narrow(hy__work *w, int64_t n_row, cursor *c) {
    const hy__config *cfg = w->cfg;
    int64_t room = w->logit_rows * cfg->model.vocab;
    if (!w->opt.training || w->opt.prec != HY__PREC_BF16 || (w->m && !w->m->be->has_bf16)) return;
    memset(w->narrow, 0, (size_t)cfg->n_layer * HY__PARAM_MAX * sizeof *w->narrow);
    w->head = take(c, HY__DTYPE_BF16, cfg->model.vocab * cfg->model.d_model);
    for (int64_t i = 0; i < cfg->n_layer; i++) {
        hy__decl decl = {0};
        if (!hy__work_runs(w, i)) continue;
        hy__layer_declare(cfg, hy__component_find(cfg->letter[i]), &decl);
        for (int id = 0; id < decl.n_param; id++) {
            const hy__param_decl *d = &decl.param[id];
            const int64_t n = product_weights(d);
            w->narrow[i * HY__PARAM_MAX + id] = take(c, HY__DTYPE_BF16, n);
            if (n > 0 && d->n_dim == 2 && n_row * d->shape[0] > room) room = n_row * d->shape[0];
        }
    }
    w->room = take(c, HY__DTYPE_BF16, room);
}

/* Whether a layer is the first of its block to run. */
static bool starts_block(const hy__work *w, int64_t layer) {
    for (int64_t i = layer - 1; i >= 0; i--)
        if (hy__work_runs(w, i)) return w->cfg->block[i] != w->cfg->block[layer];
    return true;
}

/* The residual stream, layer outputs and kept buffers of all layers that run. */
static void take_layers(hy__work *w, const hy__rows *rows, cursor *c) {
    const hy__config *cfg = w->cfg;
    const hy__dtype real = w->real;
    const int64_t n = rows->n_row, d = cfg->model.d_model, n_layer = cfg->n_layer;
    const bool by_block = is_by_block(w);
    size_t peak = c->at;
    hy__plan plan;

    if (by_block) { /* each block's input stays; what is inside a block is overlaid */
        for (int64_t i = 0; i < n_layer; i++)
            if (hy__work_runs(w, i) && starts_block(w, i)) w->x[i] = take(c, real, n * d);
        w->x[n_layer] = take(c, real, n * d);
        take_choices(w, rows, c);
    } else { /* one for all: the backward takes the layers' outputs off it again */
        const hy__tensor x = take(c, real, n * d);
        for (int64_t i = 0; i <= n_layer; i++) w->x[i] = x;
    }
    const cursor start = *c;
    for (int64_t i = 0; i < n_layer; i++) {
        if (!hy__work_runs(w, i)) continue;
        const bool block_start = starts_block(w, i);
        if (!w->opt.training || (by_block && block_start)) *c = start;
        if (by_block && !block_start) w->x[i] = take(c, real, n * d);
        w->y[i] = take(c, real, n * d);
        w->rstd[i] = take(c, real, n);
        plan_layer(w, i, rows, &plan);
        take_buffers(w, i, &plan, true, c, NULL);
        if (c->at > peak) peak = c->at;
    }
    if (c->at < peak) c->at = peak;
    for (int64_t i = n_layer - 1; i >= 0; i--)
        if (!hy__work_runs(w, i)) w->x[i] = w->x[i + 1];

    peak = c->at;
    const cursor scratch = *c;
    for (int64_t i = 0; i < n_layer; i++) {
        if (!hy__work_runs(w, i)) continue;
        *c = scratch;
        plan_layer(w, i, rows, &plan);
        take_buffers(w, i, &plan, false, c, &peak);
    }
    c->at = peak;
}

/* Everything; returns the bytes. With buf == NULL nothing is bound to memory. */
static size_t lay_out(hy__work *w, const hy__rows *rows, const hy__buffer *buf) {
    const hy__dtype real = w->real;
    const int64_t n = rows->n_row, d = w->cfg->model.d_model, vocab = w->cfg->model.vocab;
    cursor c = {.buf = buf};
    memset(w->buf, 0, (size_t)w->cfg->n_layer * HY__BUF_MAX * sizeof *w->buf);
    const int64_t tile = w->opt.training ? LOGIT_TILE : LOGIT_TILE_READS;
    w->logit_rows = tile / vocab > 1 ? tile / vocab : 1;
    if (w->logit_rows > n) w->logit_rows = n;
    w->token = take(&c, HY__DTYPE_I32, n);
    w->target = take(&c, HY__DTYPE_I32, n);
    w->nll = take(&c, real, n);
    w->hit = take(&c, HY__DTYPE_I32, n);
    w->logit = take(&c, real, w->logit_rows * vocab);
    w->xn = take(&c, real, n * d);
    w->xf = take(&c, real, n * d);
    w->rstd_f = take(&c, real, n);
    if (w->opt.training) {
        w->dxf = take(&c, real, n * d);
        w->dx = take(&c, real, n * d);
        w->dxn = take(&c, real, n * d);
        w->y_grad = take(&c, real, n * d);
    }
    take_narrow(w, n, &c);
    take_layers(w, rows, &c);
    return c.at;
}

static hy_status reserve_seqs(hy__work *w, int64_t n_seq, hy_error *err) {
    if (n_seq <= w->seq_cap) return HY_OK;
    const size_t n = (size_t)n_seq, n_layer = (size_t)w->m->cfg.n_layer;
    free(w->seq);
    free(w->state);
    free(w->slot_in);
    free(w->slot_out);
    w->seq = calloc(n, sizeof *w->seq);
    w->state = calloc(n * n_layer * HY__ROLE_N * HY__STATE_MAX, sizeof *w->state);
    w->slot_in = calloc(n, sizeof *w->slot_in);
    w->slot_out = calloc(n, sizeof *w->slot_out);
    w->seq_cap = 0;
    if (!w->seq || !w->state || !w->slot_in || !w->slot_out) {
        return hy__no_memory(err, "a batch of %lld sequences", (long long)n_seq);
    }
    w->seq_cap = n_seq;
    return HY_OK;
}

hy_status hy__work_lay_out(hy__work *w, const hy__rows *rows, hy_error *err) {
    HY_TRY(reserve_seqs(w, rows->n_seq, err));
    const size_t size = lay_out(w, rows, &w->mem);
    if (size <= w->mem.size) return HY_OK;
    w->m->be->buffer_free(w->m->be, &w->mem);
    const hy_status status = w->m->be->buffer_new(w->m->be, size, &w->mem, err);
    if (status != HY_OK) {
        return hy__fail_in(err, status, "the activations of a batch of %lld tokens",
                           (long long)rows->n_row);
    }
    return HY_OK;
}

hy_status hy__work_reserve(hy__work *w, const hy__rows *rows, hy_error *err) {
    w->ran = false;
    return hy__work_lay_out(w, rows, err);
}

size_t hy__work_bytes(const hy__work *w) {
    return w->mem.size;
}

/* A work without memory; without a model it can only be laid out. */
static hy__work *work_begin(hy__model *m, const hy__config *cfg, hy__dtype real,
                            hy__work_options opt) {
    hy__work *w = calloc(1, sizeof *w);
    const size_t n = (size_t)cfg->n_layer;
    if (!w) return NULL;
    *w = (hy__work){.m = m, .cfg = cfg, .real = real, .opt = opt};
    w->x = calloc(n + 1, sizeof *w->x);
    w->y = calloc(n, sizeof *w->y);
    w->rstd = calloc(n, sizeof *w->rstd);
    w->buf = calloc(n * HY__BUF_MAX, sizeof *w->buf);
    w->narrow = calloc(n * HY__PARAM_MAX, sizeof *w->narrow);
    if (w->x && w->y && w->rstd && w->buf && w->narrow) return w;
    hy__work_free(w);
    return NULL;
}

hy_status hy__work_new(hy__work **out, hy__model *m, hy__work_options opt, hy_error *err) {
    *out = work_begin(m, &m->cfg, m->be->real, opt);
    if (*out) return HY_OK;
    return hy__no_memory(err, "planning a step");
}

hy_status hy__work_size(size_t *size, const hy__config *c, const hy__rows *rows,
                        hy__work_options opt, hy__dtype real, hy_error *err) {
    hy__work *w = work_begin(NULL, c, real, opt);
    if (!w) return hy__no_memory(err, "planning a step");
    *size = lay_out(w, rows, NULL);
    hy__work_free(w);
    return HY_OK;
}

void hy__work_free(hy__work *w) {
    if (!w) return;
    if (w->m) w->m->be->buffer_free(w->m->be, &w->mem);
    free(w->x);
    free(w->y);
    free(w->rstd);
    free(w->buf);
    free(w->narrow);
    free(w->seq);
    free(w->state);
    free(w->slot_in);
    free(w->slot_out);
    free(w);
}
