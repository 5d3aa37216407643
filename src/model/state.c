/* state.c: what one sequence carries between pieces: every layer's state tensors in one buffer,
 * layer after layer, in the order the components declare them. */
#include "model/model.h"

#include <stdlib.h>

int64_t hy__state_elements(const hy__state_decl *d, int64_t n_slot) {
    return d->fixed + d->per_slot * n_slot;
}

static hy__dtype dtype_of(const hy__model *m, const hy__state_decl *d) {
    return hy__state_dtype(d->narrow, m->weight_dtype, m->be->real);
}

size_t hy__state_bytes(const hy__state *s) {
    const hy__model *m = s->model;
    size_t bytes = 0;
    for (int64_t i = 0; i < m->cfg.n_layer; i++) {
        const hy__decl *d = &m->layer[i].decl;
        for (int id = 0; id < d->n_state; id++)
            bytes += hy__dtype_bytes(dtype_of(m, &d->state[id]),
                                     hy__state_elements(&d->state[id], s->n_slot));
    }
    return bytes;
}

/* Lays the tensors out; returns the bytes. */
static size_t lay_out(const hy__model *m, int64_t n_slot, const hy__buffer *buf, hy__tensor *t) {
    size_t size = 0;
    for (int64_t i = 0; i < m->cfg.n_layer; i++) {
        const hy__decl *d = &m->layer[i].decl;
        for (int id = 0; id < d->n_state; id++) {
            const hy__dtype dtype = dtype_of(m, &d->state[id]);
            t[i * HY__STATE_MAX + id] = (hy__tensor){.buf = buf, .off = size, .dtype = dtype};
            size += hy__tensor_bytes(dtype, hy__state_elements(&d->state[id], n_slot));
        }
    }
    return size;
}

/* Refuses what size_t could not count: a window may have any length, and so a text. */
static hy_status check_size(const hy__model *m, int64_t capacity, hy_error *err) {
    const int64_t n_slot = hy__kv_slots(&m->cfg, capacity);
    double size = 0;
    for (int64_t i = 0; i < m->cfg.n_layer; i++) {
        const hy__decl *d = &m->layer[i].decl;
        for (int id = 0; id < d->n_state; id++)
            size += (double)hy__dtype_size(dtype_of(m, &d->state[id])) *
                    ((double)d->state[id].fixed + (double)d->state[id].per_slot * (double)n_slot);
    }
    if (size < 0x1p60) return HY_OK;
    return hy__fail(err, HY_E_MEMORY,
                    "the state of a sequence of %lld tokens would take %.3g bytes",
                    (long long)capacity, size);
}

hy_status hy__state_new(hy__state **out, hy__model *m, int64_t capacity, hy_error *err) {
    HY_TRY(check_size(m, capacity, err));
    hy__state *s = calloc(1, sizeof *s);
    if (s) {
        s->model = m;
        s->t = calloc((size_t)m->cfg.n_layer * HY__STATE_MAX, sizeof *s->t);
    }
    if (!s || !s->t) {
        hy__state_free(s);
        return hy__no_memory(err, "a sequence's state");
    }
    s->n_slot = hy__kv_slots(&m->cfg, capacity);
    s->bytes = lay_out(m, s->n_slot, &s->buf, s->t);
    const hy_status status = m->be->buffer_new(m->be, s->bytes, &s->buf, err);
    if (status != HY_OK) {
        hy__state_free(s);
        return hy__fail_in(err, status, "the state of a sequence of %lld tokens",
                           (long long)capacity);
    }
    m->be->zero(m->be, (hy__tensor){.buf = &s->buf}, s->bytes);
    *out = s;
    return HY_OK;
}

void hy__state_free(hy__state *s) {
    if (!s) return;
    s->model->be->buffer_free(s->model->be, &s->buf);
    free(s->t);
    free(s);
}

void hy__state_reset(hy__state *s) {
    s->model->be->zero(s->model->be, (hy__tensor){.buf = &s->buf}, s->bytes);
    s->pos = 0;
    s->broken = false;
}

hy_status hy__state_check_whole(const hy__state *s, hy_error *err) {
    if (!s->broken) return HY_OK;
    return hy__fail(err, HY_E_INVALID,
                    "its state is half-written, since a step at position %lld failed; wanted one "
                    "that was reset or loaded since",
                    (long long)s->pos);
}

hy_status hy__state_check(const hy__model *m, int64_t pos, int64_t n_slot, hy_error *err) {
    /* kernels number blocks in int32; the other half is room to go on */
    const int64_t end = m->cfg.model.chunk << 30;
    if (pos < 0 || pos >= end) {
        return hy__fail(err, HY_E_INVALID, "the position is %lld, wanted 0 to %lld", (long long)pos,
                        (long long)end - 1);
    }
    const int64_t least = hy__kv_slots(&m->cfg, pos), most = hy__kv_slots(&m->cfg, end);
    if (n_slot >= least && n_slot <= most) return HY_OK;
    return hy__fail(err, HY_E_INVALID,
                    "a sequence of this model at position %lld has %lld KV slots, wanted %lld to "
                    "%lld",
                    (long long)pos, (long long)n_slot, (long long)least, (long long)most);
}

/* Copies every tensor of `from` into the larger slots of `to`. Blocks keep their slot: a ring that
 * can still grow has not gone round, and block b lies in slot b. */
static void copy_tensors(hy__state *to, const hy__state *from) {
    hy__backend *be = to->model->be;
    for (int64_t i = 0; i < to->model->cfg.n_layer; i++) {
        const hy__decl *d = &to->model->layer[i].decl;
        for (int id = 0; id < d->n_state; id++) {
            const int64_t at = i * HY__STATE_MAX + id;
            be->kernels.copy(
                be, &(hy__copy_args){.dst = to->t[at],
                                     .src = from->t[at],
                                     .n = hy__state_elements(&d->state[id], from->n_slot)});
        }
    }
}

hy_status hy__state_reserve(hy__state *s, int64_t capacity, hy_error *err) {
    if (hy__kv_slots(&s->model->cfg, capacity) <= s->n_slot) return HY_OK;
    const int64_t doubled = 2 * s->n_slot * s->model->cfg.model.chunk;
    hy__state *grown = NULL;
    HY_TRY(hy__state_new(&grown, s->model, capacity > doubled ? capacity : doubled, err));
    copy_tensors(grown, s);
    /* s takes over the grown buffer; handles point at the owner's buf, so they are laid out anew */
    const hy__buffer old = s->buf;
    s->buf = grown->buf;
    s->n_slot = grown->n_slot;
    s->bytes = lay_out(s->model, s->n_slot, &s->buf, s->t);
    grown->buf = old;
    hy__state_free(grown);
    return HY_OK;
}
