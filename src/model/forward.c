/* forward.c: the one forward, and its backward.
 *
 *   x = embedding(tokens);  for each layer: x += s·g · layer(RMSNorm(x));  xf = RMSNorm(x)
 *
 * where s is the layer's scale; a layer whose scale is 0 is passed over.
 *
 * Training, prefill and decode differ in what the caller passes (a training work, many tokens, one
 * token), never in what runs here. */
#include "model/work.h"

#include <math.h>
#include <string.h>

/* ---- the batch ---- */

static hy_status check_states(const hy__work *w, const hy__batch *b, int64_t i, hy_error *err) {
    const hy__seq *s = &b->rows.seq[i];
    const hy__state *in = b->state_in ? b->state_in[i] : NULL;
    const hy__state *to = b->state_out ? b->state_out[i] : NULL;
    const int64_t pos = in ? in->pos : 0;
    const hy_status whole = in ? hy__state_check_whole(in, err) : HY_OK;
    if (whole != HY_OK) return hy__fail_in(err, whole, "sequence %lld", (long long)i);
    if (s->pos != pos) {
        return hy__fail(err, HY_E_INVALID,
                        "sequence %lld is said to stand at position %lld, but its state is at %lld",
                        (long long)i, (long long)s->pos, (long long)pos);
    }
    if (w->opt.training && in && in == to) {
        return hy__fail(err, HY_E_INVALID,
                        "sequence %lld: training needs different states in and out", (long long)i);
    }
    return HY_OK;
}

static hy_status check_rows_fit(const hy__work *w, int64_t n_row, hy_error *err) {
    const int64_t most = hy__rows_max(&w->m->cfg);
    if (n_row <= most) return HY_OK;
    return hy__fail(err, HY_E_INVALID, "a batch has %lld tokens, wanted at most %lld of this model",
                    (long long)n_row, (long long)most);
}

static hy_status check_batch(const hy__work *w, const hy__batch *b, hy_error *err) {
    int64_t row = 0;
    HY_TRY(check_rows_fit(w, b->rows.n_row, err));
    for (int64_t i = 0; i < b->rows.n_seq; i++) {
        const hy__seq *s = &b->rows.seq[i];
        if (s->start != row || s->len < 1 || s->pos < 0) {
            return hy__fail(err, HY_E_INVALID,
                            "sequence %lld starts at row %lld with %lld tokens at position %lld; "
                            "wanted row %lld and at least one token",
                            (long long)i, (long long)s->start, (long long)s->len, (long long)s->pos,
                            (long long)row);
        }
        row += s->len;
        HY_TRY(check_states(w, b, i, err));
    }
    if (row != b->rows.n_row || row == 0) {
        return hy__fail(err, HY_E_INVALID,
                        "the batch has %lld rows but its sequences have %lld tokens",
                        (long long)b->rows.n_row, (long long)row);
    }
    const int64_t vocab = w->m->cfg.model.vocab;
    for (int64_t i = 0; i < row; i++) {
        if (b->token[i] < 0 || b->token[i] >= vocab) {
            return hy__fail(err, HY_E_INVALID, "token %lld of the batch is %d; wanted 0 to %lld",
                            (long long)i, (int)b->token[i], (long long)(vocab - 1));
        }
    }
    return HY_OK;
}

/* A model that sees ahead has no state of an open unit: only the last piece of a document may end
 * inside one. */
static hy_status check_whole_units(const hy__work *w, const hy__batch *b, hy_error *err) {
    const int64_t unit = w->m->cfg.experts.expert_chunk;
    if (!hy__config_sees_ahead(&w->m->cfg)) return HY_OK;
    for (int64_t i = 0; i < b->rows.n_seq; i++) {
        const hy__seq *s = &b->rows.seq[i];
        if (s->pos % unit == 0) continue;
        return hy__fail(err, HY_E_INVALID,
                        "sequence %lld goes on at position %lld; with experts.route own pieces "
                        "begin where a unit does, at a multiple of %lld",
                        (long long)i, (long long)s->pos, (long long)unit);
    }
    return HY_OK;
}

/* The handles of (layer, role, id), [n_seq]. */
static hy__tensor *state_handles(const hy__work *w, int64_t layer, int role, int id) {
    return w->state + ((layer * HY__ROLE_N + role) * HY__STATE_MAX + id) * w->seq_cap;
}

/* Collects the handles of one role of all sequences; a NULL state gives absent handles.
 * `skip_fresh` leaves out states that nothing has been written to. */
static void bind_role(hy__work *w, int role, hy__state *const *states, bool skip_fresh) {
    w->has_role[role] = states != NULL;
    for (int64_t l = 0; states && l < w->m->cfg.n_layer; l++)
        for (int id = 0; id < w->m->layer[l].decl.n_state; id++)
            for (int64_t i = 0; i < w->rows.n_seq; i++) {
                const hy__state *s = states[i];
                const bool use = s && !(skip_fresh && s->pos == 0);
                state_handles(w, l, role, id)[i] =
                    use ? s->t[l * HY__STATE_MAX + id] : (hy__tensor){0};
            }
}

static hy_status bind_batch(hy__work *w, const hy__batch *b, hy_error *err) {
    for (int64_t i = 0; i < b->rows.n_seq; i++) {
        const hy__seq *s = &b->rows.seq[i];
        const hy__state *in = b->state_in ? b->state_in[i] : NULL;
        hy__state *to = b->state_out ? b->state_out[i] : NULL;
        hy__state *din = b->dstate_in ? b->dstate_in[i] : NULL;
        hy__state *dto = b->dstate_out ? b->dstate_out[i] : NULL;
        if (to) HY_TRY(hy__state_reserve(to, s->pos + s->len, err));
        if (din && in) HY_ASSERT(din->n_slot == in->n_slot);
        if (dto && to) HY_ASSERT(dto->n_slot == to->n_slot);
        w->slot_in[i] = in ? in->n_slot : din ? din->n_slot : 0;
        w->slot_out[i] = to ? to->n_slot : dto ? dto->n_slot : 0;
    }
    bind_role(w, HY__ROLE_IN, b->state_in, true);
    bind_role(w, HY__ROLE_OUT, b->state_out, false);
    bind_role(w, HY__ROLE_DIN, b->dstate_in, false);
    bind_role(w, HY__ROLE_DOUT, b->dstate_out, false);
    return HY_OK;
}

/* ---- calls of a layer ---- */

/* What a layer's call needs; `again` marks a recomputation, which writes no state and counts
 * nothing. The pointer arrays live in the caller. */
typedef struct call_roles {
    const hy__tensor *role[HY__ROLE_N][HY__STATE_MAX];
    hy__tensor param[HY__PARAM_MAX]; /* the narrowed where there is one */
} call_roles;

static hy__call call_of(const hy__work *w, int64_t layer, bool again, call_roles *roles) {
    const hy__layer *l = &w->m->layer[layer];
    for (int role = 0; role < HY__ROLE_N; role++)
        for (int id = 0; id < HY__STATE_MAX; id++) {
            const bool on =
                w->has_role[role] && id < l->decl.n_state && !(again && role == HY__ROLE_OUT);
            roles->role[role][id] = on ? state_handles(w, layer, role, id) : NULL;
        }
    for (int id = 0; id < HY__PARAM_MAX; id++) {
        const hy__tensor narrow = w->narrow[layer * HY__PARAM_MAX + id];
        roles->param[id] = hy__present(narrow) ? narrow : l->value[id];
    }
    return (hy__call){.be = w->m->be,
                      .cfg = &w->m->cfg,
                      .rows = &w->rows,
                      .prec = w->opt.prec,
                      .param = roles->param,
                      .grad = l->grad,
                      .buf = w->buf + layer * HY__BUF_MAX,
                      .x = w->xn,
                      .y = w->y[layer],
                      .dy = w->y_grad,
                      .dx = w->dxn,
                      .state_in = roles->role[HY__ROLE_IN],
                      .state_out = roles->role[HY__ROLE_OUT],
                      .dstate_in = roles->role[HY__ROLE_DIN],
                      .dstate_out = roles->role[HY__ROLE_DOUT],
                      .slot_in = w->slot_in,
                      .slot_out = w->slot_out,
                      .room = w->room,
                      .touched = w->m->touched,
                      .look = w->m->look,
                      .stat = again || !w->opt.training ? (hy__tensor){0} : l->stat,
                      .expert = &l->expert};
}

static hy__rmsnorm_args norm_before(const hy__work *w, int64_t layer) {
    const hy__layer *l = &w->m->layer[layer];
    return (hy__rmsnorm_args){.y = w->xn,
                              .rstd = w->rstd[layer],
                              .x = w->x[layer],
                              .w = l->value[l->norm],
                              .n_row = w->rows.n_row,
                              .n_head = 1,
                              .dim = w->m->cfg.model.d_model,
                              .eps = w->m->cfg.model.norm_eps};
}

static hy__residual_args residual(const hy__work *w, int64_t layer) {
    const hy__layer *l = &w->m->layer[layer];
    return (hy__residual_args){.out = w->x[layer + 1],
                               .x = w->x[layer],
                               .y = w->y[layer],
                               .g = l->value[l->gate],
                               .n = w->rows.n_row * w->m->cfg.model.d_model,
                               .scale = l->scale};
}

static void run_layers(const hy__work *w, int64_t from, int64_t to, bool again) {
    const hy__kernels *k = &w->m->be->kernels;
    while (to > from && !hy__work_runs(w, to - 1)) to--;
    for (int64_t i = from; i < to; i++) {
        if (!hy__work_runs(w, i)) continue;
        call_roles roles;
        const hy__call c = call_of(w, i, again, &roles);
        const hy__rmsnorm_args norm = norm_before(w, i);
        const hy__residual_args sum = residual(w, i);
        w->m->be->layer = (int32_t)i + 1;
        k->rmsnorm(w->m->be, &norm);
        w->m->layer[i].component->forward(&c);
        /* a recomputed block ends where the next block's kept input begins */
        if (!(again && i + 1 == to)) k->residual(w->m->be, &sum);
    }
    w->m->be->layer = 0;
}

/* The weights of products change with every step of the optimizer. */
static void narrow_weights(const hy__work *w) {
    hy__backend *be = w->m->be;
    const hy__param *embed = &w->m->param[w->m->embed];
    if (!hy__present(w->head)) return;
    be->kernels.copy(be, &(hy__copy_args){.dst = w->head, .src = embed->value, .n = embed->n});
    for (int64_t i = 0; i < w->m->cfg.n_layer; i++)
        for (int id = 0; id < w->m->layer[i].decl.n_param; id++) {
            const hy__tensor narrow = w->narrow[i * HY__PARAM_MAX + id];
            if (!hy__present(narrow)) continue;
            const hy__param *p = &w->m->param[w->m->layer[i].param_at[id]];
            be->kernels.copy(be, &(hy__copy_args){.dst = narrow, .src = p->value, .n = p->n});
        }
}

static hy__rmsnorm_args final_norm(const hy__work *w) {
    return (hy__rmsnorm_args){.y = w->xf,
                              .rstd = w->rstd_f,
                              .x = w->x[w->m->cfg.n_layer],
                              .w = w->m->param[w->m->norm_f].value,
                              .n_row = w->rows.n_row,
                              .n_head = 1,
                              .dim = w->m->cfg.model.d_model,
                              .eps = w->m->cfg.model.norm_eps};
}

static hy__embed_args embedding(const hy__work *w) {
    return (hy__embed_args){.x = w->x[0],
                            .table = w->m->param[w->m->embed].value,
                            .token = w->token,
                            .n_row = w->rows.n_row,
                            .dim = w->m->cfg.model.d_model,
                            .vocab = w->m->cfg.model.vocab};
}

/* States are written in place, layer by layer: only when all is written do they stand anywhere. */
static void begin_states(const hy__batch *b) {
    for (int64_t i = 0; b->state_out && i < b->rows.n_seq; i++)
        if (b->state_out[i]) b->state_out[i]->broken = true;
}

static void end_states(const hy__batch *b) {
    for (int64_t i = 0; b->state_out && i < b->rows.n_seq; i++) {
        if (!b->state_out[i]) continue;
        b->state_out[i]->pos = b->rows.seq[i].pos + b->rows.seq[i].len;
        b->state_out[i]->broken = false;
    }
}

hy_status hy__forward(hy__work *w, const hy__batch *b, hy_error *err) {
    w->ran = w->graded = false;
    HY_TRY(check_batch(w, b, err));
    HY_TRY(check_whole_units(w, b, err));
    HY_TRY(hy__work_lay_out(w, &b->rows, err));
    memcpy(w->seq, b->rows.seq, (size_t)b->rows.n_seq * sizeof *w->seq);
    w->rows = (hy__rows){.n_row = b->rows.n_row, .n_seq = b->rows.n_seq, .seq = w->seq};
    HY_TRY(bind_batch(w, b, err));

    hy__backend *be = w->m->be;
    begin_states(b);
    be->write(be, w->token, b->token, (size_t)w->rows.n_row * sizeof *b->token);
    const hy__embed_args embed = embedding(w);
    be->kernels.embed(be, &embed);
    narrow_weights(w);
    run_layers(w, 0, w->m->cfg.n_layer, false);
    const hy__rmsnorm_args norm = final_norm(w);
    be->kernels.rmsnorm(be, &norm);
    HY_TRY(hy__backend_check(be, err));

    end_states(b);
    w->ran = true;
    return HY_OK;
}

/* ---- the head ---- */

/* logit[0, n) = xf[row, row+n) · embeddingᵀ */
static hy__linear_args head(const hy__work *w, int64_t row, int64_t n) {
    const int64_t d = w->m->cfg.model.d_model;
    return (hy__linear_args){.y = w->logit,
                             .x = hy__at(w->xf, row * d),
                             .w = hy__present(w->head) ? w->head : w->m->param[w->m->embed].value,
                             .n_row = n,
                             .out = w->m->cfg.model.vocab,
                             .in = d,
                             .prec = w->opt.prec};
}

static hy_status check_rows(const hy__work *w, int64_t row, int64_t n, hy_error *err) {
    if (w->ran && row >= 0 && n >= 0 && row + n <= w->rows.n_row) return HY_OK;
    return hy__fail(
        err, HY_E_INVALID,
        "logits of rows %lld to %lld were asked for, but the last forward had %lld rows",
        (long long)row, (long long)(row + n), (long long)(w->ran ? w->rows.n_row : 0));
}

/* Either out is wanted. */
static hy_status logits(hy__work *w, int64_t row, int64_t n, float *out, double *out64,
                        hy_error *err) {
    HY_TRY(check_rows(w, row, n, err));
    hy__backend *be = w->m->be;
    const int64_t vocab = w->m->cfg.model.vocab;
    for (int64_t i = 0; i < n; i += w->logit_rows) {
        const int64_t m = n - i < w->logit_rows ? n - i : w->logit_rows;
        const hy__linear_args a = head(w, row + i, m);
        hy__linear(be, &a);
        if (out) hy__tensor_read_f32(be, out + i * vocab, w->logit, m * vocab);
        if (out64) hy__tensor_read_f64(be, out64 + i * vocab, w->logit, m * vocab);
    }
    return hy__backend_check(be, err);
}

hy_status hy__logits(hy__work *w, int64_t row, int64_t n, float *out, hy_error *err) {
    return logits(w, row, n, out, NULL, err);
}

hy_status hy__logits_f64(hy__work *w, int64_t row, int64_t n, double *out, hy_error *err) {
    return logits(w, row, n, NULL, out, err);
}

hy_status hy__get_output(hy__work *w, int64_t row, void *out, hy_error *err) {
    HY_TRY(check_rows(w, row, 1, err));
    hy__backend *be = w->m->be;
    const int64_t d = w->m->cfg.model.d_model;
    be->read(be, out, hy__at(w->xf, row * d), (size_t)d * hy__dtype_size(be->real));
    return hy__backend_check(be, err);
}

hy_status hy__get_rows(hy__work *w, int64_t layer, int32_t *out, hy_error *err) {
    HY_TRY(check_rows(w, 0, 0, err));
    const hy__layer *l = &w->m->layer[layer];
    HY_ASSERT(w->opt.training && l->component->choice > 0 && hy__work_runs(w, layer));
    const int64_t each = w->m->cfg.pkm.n_head * w->m->cfg.pkm.topk;
    w->m->be->read(w->m->be, out, w->buf[layer * HY__BUF_MAX + l->component->choice],
                   (size_t)(w->rows.n_row * each) * sizeof *out);
    return hy__backend_check(w->m->be, err);
}

hy_status hy__get_experts(hy__work *w, int64_t layer, int32_t *out, hy_error *err) {
    HY_TRY(check_rows(w, 0, 0, err));
    hy__backend *be = w->m->be;
    const hy__layer *l = &w->m->layer[layer];
    const hy__component *c = l->component;
    HY_ASSERT(w->opt.training && !w->opt.recompute && c->place > 0 && hy__work_runs(w, layer));
    const int64_t n = w->rows.n_row * hy__expert_k(&w->m->cfg, &l->expert);
    const int64_t n_expert = w->m->cfg.experts.n_expert;
    int32_t offset[HY__EXPERT_MAX + 1];
    const hy__tensor *buf = &w->buf[layer * HY__BUF_MAX];
    be->read(be, offset, buf[c->offset], (size_t)(n_expert + 1) * sizeof *offset);
    be->read(be, out, buf[c->place], (size_t)n * sizeof *out);
    for (int64_t i = 0; i < n; i++) {
        int32_t e = 0;
        while (e + 1 < n_expert && offset[e + 1] <= out[i]) e++;
        out[i] = e;
    }
    return hy__backend_check(be, err);
}

hy_status hy__get_beta(hy__work *w, int64_t layer, float *out, hy_error *err) {
    HY_TRY(check_rows(w, 0, 0, err));
    const hy__layer *l = &w->m->layer[layer];
    const int32_t at = l->component->opening;
    HY_ASSERT(w->opt.training && !w->opt.recompute && at > 0 && hy__work_runs(w, layer));
    float bias;
    hy__tensor_read_f32(w->m->be, &bias, l->value[l->component->opening_bias], 1);
    hy__tensor_read_f32(w->m->be, out, w->buf[layer * HY__BUF_MAX + at], w->rows.n_row);
    for (int64_t i = 0; i < w->rows.n_row; i++) out[i] = 1.0F / (1.0F + expf(-out[i] - bias));
    return hy__backend_check(w->m->be, err);
}

hy_status hy__put_output(hy__work *w, const void *output, hy_error *err) {
    hy__backend *be = w->m->be;
    const hy__seq seq = {.len = 1};
    HY_TRY(hy__work_reserve(w, &(hy__rows){.n_row = 1, .n_seq = 1, .seq = &seq}, err));
    w->seq[0] = seq;
    w->rows = (hy__rows){.n_row = 1, .n_seq = 1, .seq = w->seq};
    be->write(be, w->xf, output, (size_t)w->m->cfg.model.d_model * hy__dtype_size(be->real));
    HY_TRY(hy__backend_check(be, err));
    w->ran = true;
    w->graded = false;
    return HY_OK;
}

hy_status hy__loss(hy__work *w, const int32_t *target, double grad_scale, float *nll, double *sum,
                   int64_t *count, hy_error *err) {
    HY_TRY(check_rows(w, 0, 0, err));
    HY_ASSERT(grad_scale == 0 || w->opt.training);
    hy__backend *be = w->m->be;
    const int64_t n = w->rows.n_row, d = w->m->cfg.model.d_model, vocab = w->m->cfg.model.vocab;
    for (int64_t i = 0; i < n; i++) {
        if (target[i] >= -1 && target[i] < vocab) continue;
        return hy__fail(err, HY_E_INVALID,
                        "target %lld of the batch is %d; wanted 0 to %lld (or -1, none)",
                        (long long)i, (int)target[i], (long long)(vocab - 1));
    }
    be->write(be, w->target, target, (size_t)n * sizeof *target);
    for (int64_t i = 0; i < n; i += w->logit_rows) {
        const int64_t m = n - i < w->logit_rows ? n - i : w->logit_rows;
        hy__linear_args a = head(w, i, m);
        hy__linear(be, &a);
        be->kernels.cross_entropy(be, &(hy__cross_entropy_args){.logits = w->logit,
                                                                .target = hy__at(w->target, i),
                                                                .nll = hy__at(w->nll, i),
                                                                .narrow = w->room,
                                                                .hit = hy__at(w->hit, i),
                                                                .n_row = m,
                                                                .vocab = vocab,
                                                                .grad = grad_scale != 0,
                                                                .scale = grad_scale});
        if (grad_scale == 0) continue;
        a.dy = hy__present(w->room) ? w->room : w->logit;
        a.dx = hy__at(w->dxf, i * d);
        a.dw = w->m->param[w->m->embed].grad;
        hy__linear_backward(be, &a);
    }
    w->graded = grad_scale != 0;
    *sum = 0;
    *count = w->n_hit = 0;
    enum { PART = 512 };
    double part[PART];
    int32_t hit[PART];
    for (int64_t i = 0; i < n; i += PART) {
        const int64_t m = n - i < PART ? n - i : PART;
        hy__tensor_read_f64(be, part, hy__at(w->nll, i), m);
        be->read(be, hit, hy__at(w->hit, i), (size_t)m * sizeof *hit);
        for (int64_t j = 0; j < m; j++) {
            w->n_hit += hit[j];
            *sum += part[j];
            *count += target[i + j] >= 0;
            if (nll) nll[i + j] = (float)part[j];
        }
    }
    return hy__backend_check(be, err);
}

int64_t hy__loss_hits(const hy__work *w) {
    return w->n_hit;
}

void hy__set_output_grad(hy__work *w, const double *dout) {
    hy__tensor_write_f64(w->m->be, w->dxf, dout, w->rows.n_row * w->m->cfg.model.d_model);
    w->graded = true;
}

void hy__get_outputs(hy__work *w, double *out) {
    hy__tensor_read_f64(w->m->be, out, w->xf, w->rows.n_row * w->m->cfg.model.d_model);
}

/* ---- backward ---- */

static void layer_backward(const hy__work *w, int64_t i, double loss_scale) {
    hy__backend *be = w->m->be;
    const hy__layer *l = &w->m->layer[i];
    call_roles roles;
    hy__call c = call_of(w, i, true, &roles);
    c.loss_scale = loss_scale;
    be->layer = (int32_t)i + 1;

    hy__residual_args sum = residual(w, i);
    sum.dout = w->dx;
    sum.dy = w->y_grad;
    sum.dg = l->grad[l->gate];
    if (!w->opt.recompute) sum.x_again = sum.x; /* where it stood there is what came after it */
    be->kernels.residual_backward(be, &sum);

    hy__rmsnorm_args norm = norm_before(w, i);
    be->kernels.rmsnorm(be, &norm); /* the normed input is cheaper to compute again than to keep */
    l->component->backward(&c);
    norm.dy = w->dxn;
    norm.dx = w->dx;
    norm.dx_add = true;
    norm.dw = l->grad[l->norm];
    be->kernels.rmsnorm_backward(be, &norm);
    be->layer = 0;
}

hy_status hy__backward(hy__work *w, double loss_scale, hy_error *err) {
    HY_ASSERT(w->opt.training && w->ran && w->graded);
    hy__backend *be = w->m->be;
    const hy__config *cfg = &w->m->cfg;
    hy__rmsnorm_args norm = final_norm(w);
    norm.dy = w->dxf;
    norm.dx = w->dx;
    norm.dw = w->m->param[w->m->norm_f].grad;
    be->kernels.rmsnorm_backward(be, &norm);

    for (int64_t end = cfg->n_layer; end > 0;) {
        int64_t start = end - 1;
        if (w->opt.recompute) {
            while (start > 0 && cfg->block[start - 1] == cfg->block[end - 1]) start--;
            run_layers(w, start, end, true);
        }
        for (int64_t i = end; i > start; i--)
            if (hy__work_runs(w, i - 1)) layer_backward(w, i - 1, loss_scale);
        end = start;
    }
    hy__embed_args embed = embedding(w);
    embed.dx = w->dx;
    embed.dtable = w->m->param[w->m->embed].grad;
    be->kernels.embed_backward(be, &embed);
    w->ran = false;
    return hy__backend_check(be, err);
}
