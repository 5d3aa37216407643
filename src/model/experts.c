/* experts.c: E, chunk-routed mixture of SwiGLU experts; docs/model.md.
 *
 * A routing unit is expert_chunk tokens. By `route`:
 *   previous   unit u's router input is the mean of unit u-1's normed inputs (u = 0: learned); the
 *              unit's tokens all use its k experts
 *   shortlist  the same input names m candidates; each token chooses its k among them by the sum of
 *              the unit's logits and its own
 *   token      every token chooses by its own input: the ordinary mixture
 *   own        as previous, by the mean of unit u itself, whose later tokens its earlier ones must
 *              not know: a leak, there to be measured by the lab (hy__config_sees_ahead)
 * Rows are sorted by expert, so that one product per chosen expert does all its rows, and an expert
 * that nobody chose is never read. State of previous and shortlist: the open unit's sum of inputs
 * and its router input. */
#include "model/component.h"

#include <math.h>

enum { ROUTER, ROUTER_TOKEN, FIRST, BALANCE, GATE_UP, DOWN, SHARED_GATE_UP, SHARED_DOWN };
enum { SUM_STATE, PREV_STATE };
enum {
    M,         /* [U, d] router inputs of the units */
    UNIT_OF,   /* I32 [N] */
    LOGITS,    /* [R, E] of the rows that choose */
    PRIOR,     /* [U, E] shortlist: the units' logits */
    IDX,       /* I32 [R, k] */
    WEIGHT,    /* [R, k] */
    LSE,       /* [R] */
    CALL_LOAD, /* [E] */
    PERM,      /* I32 [N·k] */
    PLACE,     /* I32 [N, k] */
    OFFSET,    /* I32 [E + 1] */
    XG,        /* [N·k, d] gathered inputs; gathered again in the backward */
    HIDDEN,    /* [N·k, 2f] */
    ACT,       /* [N·k, f]; computed again in the backward */
    OUT,       /* [N·k, d] */
    SHARED_HIDDEN,
    SHARED_ACT,
    DOUT,
    DACT,
    DHIDDEN,
    DXG,
    DWEIGHT,
    DLOGITS,
    DPRIOR,
    DM,
    DX_UNIT, /* [N, d] */
    DSHARED_ACT,
    DSHARED_HIDDEN,
};

enum { SAY_VIOLATION, SAY_ENTROPY, SAY_DEAD, SAY_LSE2, SAY_LOAD };

typedef struct dims {
    int64_t width, n_expert, k, f, shared; /* shared: width of the shared experts together */
    bool by_unit, by_token;                /* units have logits; tokens have logits */
    bool by_past;                          /* the units', by the unit before */
} dims;

int64_t hy__expert_k(const hy__config *c, const hy__expert_control *ctl) {
    if (ctl && ctl->n_force > 0) return ctl->n_force;
    return ctl && ctl->k > 0 ? ctl->k : c->experts.k;
}

static dims dims_of(const hy__config *c, const hy__expert_control *ctl) {
    const hy__route_mode route = c->experts.route;
    return (dims){.width = c->model.d_model,
                  .n_expert = c->experts.n_expert,
                  .k = hy__expert_k(c, ctl),
                  .f = c->experts.d_ff,
                  .shared = c->experts.shared * c->experts.d_ff,
                  .by_unit = route != HY__ROUTE_TOKEN,
                  .by_token = route == HY__ROUTE_SHORTLIST || route == HY__ROUTE_TOKEN,
                  .by_past = route == HY__ROUTE_PREVIOUS || route == HY__ROUTE_SHORTLIST};
}

static void declare(const hy__config *c, hy__decl *d) {
    const dims m = dims_of(c, NULL);
    const int64_t router[] = {m.n_expert, m.width};
    hy__declare(d, ROUTER, "mixer.router.weight", HY__GROUP_ROUTER, HY__INIT_LINEAR, 0, 2, router);
    if (m.by_unit && m.by_token) {
        hy__declare(d, ROUTER_TOKEN, "mixer.router_token.weight", HY__GROUP_ROUTER, HY__INIT_LINEAR,
                    0, 2, router);
    }
    if (m.by_past) {
        hy__declare(d, FIRST, "mixer.router.first", HY__GROUP_VECTOR, HY__INIT_NORMAL, 0.1, 1,
                    &m.width);
    }
    hy__declare(d, BALANCE, "mixer.router.balance", HY__GROUP_BUFFER, HY__INIT_CONST, 0, 1,
                &m.n_expert);
    hy__declare(d, GATE_UP, "mixer.experts.gate_up.weight", HY__GROUP_MATRIX, HY__INIT_LINEAR, 0, 3,
                (int64_t[]){m.n_expert, 2 * m.f, m.width});
    hy__declare(d, DOWN, "mixer.experts.down.weight", HY__GROUP_MATRIX, HY__INIT_OUTPUT, 0, 3,
                (int64_t[]){m.n_expert, m.width, m.f});
    d->param[GATE_UP].active = d->param[DOWN].active = (double)m.k / (double)m.n_expert;
    d->param[GATE_UP].per = d->param[DOWN].per = m.by_token ? HY__PER_TOKEN : HY__PER_UNIT;
    if (m.shared > 0) {
        hy__declare(d, SHARED_GATE_UP, "mixer.shared.gate_up.weight", HY__GROUP_MATRIX,
                    HY__INIT_LINEAR, 0, 2, (int64_t[]){2 * m.shared, m.width});
        hy__declare(d, SHARED_DOWN, "mixer.shared.down.weight", HY__GROUP_MATRIX, HY__INIT_OUTPUT,
                    0, 2, (int64_t[]){m.width, m.shared});
    }
    if (m.by_past) {
        hy__declare_state(d, SUM_STATE, "sum", m.width, 0);
        hy__declare_state(d, PREV_STATE, "prev", m.width, 0);
    }
    /* load[n_expert], Σ lse², Σ auxiliary loss, tokens [HY__DOMAINS, n_expert] */
    d->n_stat = m.n_expert + 2 + HY__DOMAINS * m.n_expert;
    hy__declare_say(d, SAY_VIOLATION, "max_violation", 0, 0);
    hy__declare_say(d, SAY_ENTROPY, "entropy", 0, 0);
    hy__declare_say(d, SAY_DEAD, "dead", 0, 0);
    hy__declare_say(d, SAY_LSE2, "lse2", 0, 0);
    hy__declare_say(d, SAY_LOAD, "load", HY__DOMAINS, m.n_expert);
}

static void plan(const hy__config *c, const hy__rows *rows, hy__plan *p) {
    const dims m = dims_of(c, p->expert);
    const int64_t n = rows->n_row, nk = n * m.k;
    const int64_t units = m.by_unit ? hy__rows_units(rows, c->experts.expert_chunk) : 0;
    const int64_t routes = m.by_token ? n : units;
    const int64_t priors = m.by_token ? units : 0;
    hy__plan_real(p, M, HY__LIFE_KEEP, units * m.width);
    hy__plan_i32(p, UNIT_OF, HY__LIFE_KEEP, m.by_unit ? n : 0);
    hy__plan_real(p, LOGITS, HY__LIFE_KEEP, routes * m.n_expert);
    hy__plan_real(p, PRIOR, HY__LIFE_KEEP, priors * m.n_expert);
    hy__plan_i32(p, IDX, HY__LIFE_KEEP, routes * m.k);
    hy__plan_real(p, WEIGHT, HY__LIFE_KEEP, routes * m.k);
    hy__plan_real(p, LSE, HY__LIFE_KEEP, routes);
    hy__plan_real(p, CALL_LOAD, HY__LIFE_KEEP, m.n_expert);
    hy__plan_i32(p, PERM, HY__LIFE_KEEP, nk);
    hy__plan_i32(p, PLACE, HY__LIFE_KEEP, nk);
    hy__plan_i32(p, OFFSET, HY__LIFE_KEEP, m.n_expert + 1);
    hy__plan_real(p, XG, HY__LIFE_CALL, nk * m.width);
    hy__plan_real(p, HIDDEN, HY__LIFE_KEEP, nk * 2 * m.f);
    hy__plan_real(p, ACT, HY__LIFE_CALL, nk * m.f);
    hy__plan_real(p, OUT, HY__LIFE_KEEP, nk * m.width);
    hy__plan_real(p, SHARED_HIDDEN, HY__LIFE_KEEP, n * 2 * m.shared);
    hy__plan_real(p, SHARED_ACT, HY__LIFE_KEEP, n * m.shared);
    hy__plan_real(p, DOUT, HY__LIFE_BACKWARD, nk * m.width);
    hy__plan_real(p, DACT, HY__LIFE_BACKWARD, nk * m.f);
    hy__plan_real(p, DHIDDEN, HY__LIFE_BACKWARD, nk * 2 * m.f);
    hy__plan_real(p, DXG, HY__LIFE_BACKWARD, nk * m.width);
    hy__plan_real(p, DWEIGHT, HY__LIFE_BACKWARD, routes * m.k);
    hy__plan_real(p, DLOGITS, HY__LIFE_BACKWARD, routes * m.n_expert);
    hy__plan_real(p, DPRIOR, HY__LIFE_BACKWARD, priors * m.n_expert);
    hy__plan_real(p, DM, HY__LIFE_BACKWARD, units * m.width);
    hy__plan_real(p, DX_UNIT, HY__LIFE_BACKWARD, m.by_unit ? n * m.width : 0);
    hy__plan_real(p, DSHARED_ACT, HY__LIFE_BACKWARD, n * m.shared);
    hy__plan_real(p, DSHARED_HIDDEN, HY__LIFE_BACKWARD, n * 2 * m.shared);
}

static void cost(const hy__config *c, hy__cost *cost) {
    const dims m = dims_of(c, NULL);
    const double mix = 2.0 * (double)(m.k * m.width);
    if (m.by_unit) hy__cost_linear(cost, "router", "2·d·E", HY__PER_UNIT, m.n_expert, m.width);
    if (m.by_token) hy__cost_linear(cost, "router", "2·d·E", HY__PER_TOKEN, m.n_expert, m.width);
    hy__cost_linear(cost, "experts", "6·k·d·f", HY__PER_TOKEN, 3 * m.k * m.f, m.width);
    hy__cost_add(cost,
                 (hy__term){.what = "combine",
                            .formula = "2·k·d",
                            .why = "the weighted sum over k experts; backward for what it sums "
                                   "and for its weights",
                            .per = HY__PER_TOKEN,
                            .forward = mix,
                            .backward = 2 * mix});
    if (m.shared > 0)
        hy__cost_linear(cost, "shared", "6·n·d·f", HY__PER_TOKEN, 3 * m.shared, m.width);
}

/* ---- the arguments of each kernel, shared by forward and backward ---- */

static hy__unit_mean_args unit_mean(const hy__call *c) {
    return (hy__unit_mean_args){.m = c->buf[M],
                                .unit_of = c->buf[UNIT_OF],
                                .x = c->x,
                                .first = c->param[FIRST],
                                .rows = c->rows,
                                .sum_in = c->state_in[SUM_STATE],
                                .prev_in = c->state_in[PREV_STATE],
                                .sum_out = c->state_out[SUM_STATE],
                                .prev_out = c->state_out[PREV_STATE],
                                .dim = c->cfg->model.d_model,
                                .unit = c->cfg->experts.expert_chunk,
                                .own = c->cfg->experts.route == HY__ROUTE_OWN};
}

static int64_t n_unit(const hy__call *c) {
    return hy__rows_units(c->rows, c->cfg->experts.expert_chunk);
}

/* Logits from the units' router inputs or from the tokens themselves; always fp32. */
static hy__linear_args router(const hy__call *c, const dims *m, bool of_unit) {
    const bool both = m->by_unit && m->by_token;
    return (hy__linear_args){.y = c->buf[of_unit && both ? PRIOR : LOGITS],
                             .x = of_unit ? c->buf[M] : c->x,
                             .w = c->param[of_unit || !both ? ROUTER : ROUTER_TOKEN],
                             .n_row = of_unit ? n_unit(c) : c->rows->n_row,
                             .out = m->n_expert,
                             .in = m->width,
                             .prec = HY__PREC_FP32};
}

static hy__route_args route(const hy__call *c, const dims *m) {
    const bool both = m->by_unit && m->by_token;
    hy__route_args a = {.idx = c->buf[IDX],
                        .weight = c->buf[WEIGHT],
                        .lse = c->buf[LSE],
                        .logits = c->buf[LOGITS],
                        .bias = c->param[BALANCE],
                        .load = c->stat,
                        .loss_sum = hy__at(c->stat, m->n_expert),
                        .call_load = c->buf[CALL_LOAD],
                        .n_row = m->by_token ? c->rows->n_row : n_unit(c),
                        .n_expert = m->n_expert,
                        .k = m->k,
                        .temperature = c->cfg->experts.temperature};
    if (both) {
        a.prior = c->buf[PRIOR];
        a.prior_of = c->buf[UNIT_OF];
        a.n_prior = n_unit(c);
        a.shortlist = c->cfg->experts.shortlist > m->k ? c->cfg->experts.shortlist : m->k;
    }
    if (c->expert) {
        if (c->expert->temperature > 0) a.temperature = c->expert->temperature;
        a.ban = c->expert->ban;
        a.force = c->expert->force;
        a.n_force = c->expert->n_force;
    }
    return a;
}

static hy__route_sort_args sort(const hy__call *c, const dims *m) {
    return (hy__route_sort_args){.perm = c->buf[PERM],
                                 .place = c->buf[PLACE],
                                 .offset = c->buf[OFFSET],
                                 .idx = c->buf[IDX],
                                 .unit_of = m->by_token ? (hy__tensor){0} : c->buf[UNIT_OF],
                                 .n_row = c->rows->n_row,
                                 .k = m->k,
                                 .n_expert = m->n_expert};
}

static hy__route_stat_args stat_of(const hy__call *c, const dims *m) {
    return (hy__route_stat_args){.load = hy__at(c->stat, m->n_expert + 2),
                                 .idx = c->buf[IDX],
                                 .unit_of = m->by_token ? (hy__tensor){0} : c->buf[UNIT_OF],
                                 .rows = c->rows,
                                 .k = m->k,
                                 .n_expert = m->n_expert,
                                 .n_domain = HY__DOMAINS};
}

static hy__gather_rows_args gather(const hy__call *c, const dims *m) {
    return (hy__gather_rows_args){.xg = c->buf[XG],
                                  .x = c->x,
                                  .perm = c->buf[PERM],
                                  .place = c->buf[PLACE],
                                  .n_out = c->rows->n_row * m->k,
                                  .n_row = c->rows->n_row,
                                  .k = m->k,
                                  .dim = m->width};
}

static hy__group_gemm_args product(const hy__call *c, const dims *m, hy__group_gemm_kind kind,
                                   bool down) {
    return (hy__group_gemm_args){.kind = kind,
                                 .w = c->param[down ? DOWN : GATE_UP],
                                 .offset = c->buf[OFFSET],
                                 .n_group = m->n_expert,
                                 .n_row = c->rows->n_row * m->k,
                                 .n = down ? m->width : 2 * m->f,
                                 .k = down ? m->f : m->width,
                                 .prec = c->prec};
}

static hy__swiglu_args swiglu(const hy__call *c, const dims *m) {
    return (hy__swiglu_args){
        .h = c->buf[ACT], .u = c->buf[HIDDEN], .n_row = c->rows->n_row * m->k, .f = m->f};
}

static hy__combine_args combine(const hy__call *c, const dims *m) {
    return (hy__combine_args){.y = c->y,
                              .o = c->buf[OUT],
                              .place = c->buf[PLACE],
                              .weight = c->buf[WEIGHT],
                              .unit_of = m->by_token ? (hy__tensor){0} : c->buf[UNIT_OF],
                              .n_row = c->rows->n_row,
                              .n_route = m->by_token ? c->rows->n_row : n_unit(c),
                              .k = m->k,
                              .dim = m->width};
}

static hy__linear_args shared_up(const hy__call *c, const dims *m) {
    return (hy__linear_args){.y = c->buf[SHARED_HIDDEN],
                             .x = c->x,
                             .w = c->param[SHARED_GATE_UP],
                             .n_row = c->rows->n_row,
                             .out = 2 * m->shared,
                             .in = m->width,
                             .prec = c->prec,
                             .room = c->room};
}

static hy__linear_args shared_down(const hy__call *c, const dims *m) {
    return (hy__linear_args){.y = c->y,
                             .x = c->buf[SHARED_ACT],
                             .w = c->param[SHARED_DOWN],
                             .n_row = c->rows->n_row,
                             .out = m->width,
                             .in = m->shared,
                             .y_add = true,
                             .prec = c->prec,
                             .room = c->room};
}

static hy__swiglu_args shared_swiglu(const hy__call *c, const dims *m) {
    return (hy__swiglu_args){.h = c->buf[SHARED_ACT],
                             .u = c->buf[SHARED_HIDDEN],
                             .n_row = c->rows->n_row,
                             .f = m->shared};
}

/* ---- forward ---- */

/* Whether some token of the batch may use other experts than the token before it. */
static bool routes_anew(const hy__call *c, const dims *m) {
    const int64_t unit = c->cfg->experts.expert_chunk;
    for (int64_t i = 0; i < c->rows->n_seq; i++) {
        const hy__seq *s = &c->rows->seq[i];
        if (m->by_token || s->pos % unit == 0 || s->pos % unit + s->len > unit) return true;
    }
    return false;
}

static void forward(const hy__call *c) {
    const dims m = dims_of(c->cfg, c->expert);
    const hy__kernels *k = &c->be->kernels;
    if (m.by_unit) {
        const hy__unit_mean_args means = unit_mean(c);
        const hy__linear_args logits = router(c, &m, true);
        k->unit_mean(c->be, &means);
        hy__linear(c->be, &logits);
    }
    if (m.by_token) {
        const hy__linear_args logits = router(c, &m, false);
        hy__linear(c->be, &logits);
    }
    const hy__route_args choice = route(c, &m);
    const hy__route_sort_args order = sort(c, &m);
    const hy__gather_rows_args rows = gather(c, &m);
    const hy__swiglu_args act = swiglu(c, &m);
    const hy__combine_args mix = combine(c, &m);
    k->route(c->be, &choice);
    k->route_sort(c->be, &order);
    if (hy__present(c->stat)) {
        const hy__route_stat_args loads = stat_of(c, &m);
        k->route_stat(c->be, &loads);
    }

    hy__group_gemm_args up = product(c, &m, HY__GROUP_GEMM_FORWARD, false);
    hy__group_gemm_args down = product(c, &m, HY__GROUP_GEMM_FORWARD, true);
    up.a = c->buf[XG];
    up.c = c->buf[HIDDEN];
    down.a = c->buf[ACT];
    down.c = c->buf[OUT];
    if (routes_anew(c, &m)) {
        k->group_prefetch(c->be, &up);
        k->group_prefetch(c->be, &down);
    }
    k->gather_rows(c->be, &rows);
    k->group_gemm(c->be, &up);
    k->swiglu(c->be, &act);
    k->group_gemm(c->be, &down);
    k->combine(c->be, &mix);

    if (m.shared > 0) {
        const hy__linear_args wide = shared_up(c, &m), back = shared_down(c, &m);
        const hy__swiglu_args gate = shared_swiglu(c, &m);
        hy__linear(c->be, &wide);
        k->swiglu(c->be, &gate);
        hy__linear(c->be, &back);
    }
}

/* ---- backward: writes c->dx first by the experts, then adds the shared and the routing part ----
 */

static void backward_experts(const hy__call *c, const dims *m) {
    const hy__kernels *k = &c->be->kernels;
    hy__combine_args mix = combine(c, m);
    mix.dy = c->dy;
    mix.d_o = c->buf[DOUT];
    mix.dweight = c->buf[DWEIGHT];
    k->combine_backward(c->be, &mix);

    hy__swiglu_args act = swiglu(c, m);
    act.dh = c->buf[DACT];
    act.du = c->buf[DHIDDEN];
    k->swiglu(c->be, &act);

    hy__group_gemm_args g = product(c, m, HY__GROUP_GEMM_DATA, true);
    g.a = c->buf[DOUT];
    g.c = c->buf[DACT];
    k->group_gemm(c->be, &g);
    g.kind = HY__GROUP_GEMM_WEIGHT;
    g.w = c->grad[DOWN];
    g.c = c->buf[DOUT];
    g.a = c->buf[ACT];
    k->group_gemm(c->be, &g);
    k->swiglu_backward(c->be, &act);

    hy__gather_rows_args rows = gather(c, m);
    k->gather_rows(c->be, &rows);
    g = product(c, m, HY__GROUP_GEMM_DATA, false);
    g.a = c->buf[DHIDDEN];
    g.c = c->buf[DXG];
    k->group_gemm(c->be, &g);
    g.kind = HY__GROUP_GEMM_WEIGHT;
    g.w = c->grad[GATE_UP];
    g.c = c->buf[DHIDDEN];
    g.a = c->buf[XG];
    k->group_gemm(c->be, &g);

    rows.dxg = c->buf[DXG];
    rows.dx = c->dx;
    k->gather_rows_backward(c->be, &rows);
}

static void backward_shared(const hy__call *c, const dims *m) {
    hy__linear_args down = shared_down(c, m);
    down.dy = c->dy;
    down.dx = c->buf[DSHARED_ACT];
    down.dw = c->grad[SHARED_DOWN];
    hy__linear_backward(c->be, &down);
    hy__swiglu_args act = shared_swiglu(c, m);
    act.dh = c->buf[DSHARED_ACT];
    act.du = c->buf[DSHARED_HIDDEN];
    c->be->kernels.swiglu_backward(c->be, &act);
    hy__linear_args up = shared_up(c, m);
    up.dy = c->buf[DSHARED_HIDDEN];
    up.dx = c->dx;
    up.dx_add = true;
    up.dw = c->grad[SHARED_GATE_UP];
    hy__linear_backward(c->be, &up);
}

static void backward_route(const hy__call *c, const dims *m) {
    const hy__kernels *k = &c->be->kernels;
    hy__route_args choice = route(c, m);
    const double per_row = c->loss_scale / (double)choice.n_row;
    choice.dweight = c->buf[DWEIGHT];
    choice.dlogits = c->buf[DLOGITS];
    choice.dprior = c->buf[DPRIOR];
    choice.z_scale = c->cfg->experts.z_loss * per_row;
    choice.aux_scale = c->cfg->experts.aux_loss * c->loss_scale;
    k->route_backward(c->be, &choice);

    if (m->by_token) {
        hy__linear_args logits = router(c, m, false);
        logits.dy = c->buf[DLOGITS];
        logits.dx = c->dx;
        logits.dx_add = true;
        logits.dw = c->grad[m->by_unit ? ROUTER_TOKEN : ROUTER];
        hy__linear_backward(c->be, &logits);
    }
    if (m->by_unit) {
        hy__linear_args logits = router(c, m, true);
        logits.dy = c->buf[m->by_token ? DPRIOR : DLOGITS];
        logits.dx = c->buf[DM];
        logits.dw = c->grad[ROUTER];
        hy__linear_backward(c->be, &logits);
        hy__unit_mean_args means = unit_mean(c);
        means.dm = c->buf[DM];
        means.dx = c->buf[DX_UNIT];
        means.dfirst = c->grad[FIRST];
        means.dsum_in = c->dstate_in[SUM_STATE];
        means.dprev_in = c->dstate_in[PREV_STATE];
        means.dsum_out = c->dstate_out[SUM_STATE];
        means.dprev_out = c->dstate_out[PREV_STATE];
        k->unit_mean_backward(c->be, &means);
        k->copy(c->be, &(hy__copy_args){.dst = c->dx,
                                        .src = c->buf[DX_UNIT],
                                        .n = c->rows->n_row * m->width,
                                        .add = true});
    }
}

static void backward(const hy__call *c) {
    const dims m = dims_of(c->cfg, c->expert);
    backward_experts(c, &m);
    if (m.shared > 0) backward_shared(c, &m);
    backward_route(c, &m);
}

/* Loss-free balancing: the bias of an expert moves by a fixed step against its last load. */
static void settle(const hy__call *c) {
    const hy__balance_args a = {.bias = c->param[BALANCE],
                                .load = c->stat,
                                .n_expert = c->cfg->experts.n_expert,
                                .rate = c->cfg->experts.balance_rate};
    c->be->kernels.balance(c->be, &a);
}

/* How evenly a step's choices fell on the experts, and how large the router's logits are. Maximal
 * violation as in arXiv 2408.15664. */
static void report(const hy__config *c, const double *stat, double *const *said) {
    const int64_t n = c->experts.n_expert;
    double total = 0, most = 0, entropy = 0, dead = 0;
    for (int64_t e = 0; e < n; e++) {
        total += stat[e];
        most = fmax(most, stat[e]);
        dead += stat[e] <= 0;
    }
    if (total <= 0) return;
    for (int64_t e = 0; e < n; e++)
        if (stat[e] > 0) entropy -= stat[e] / total * log(stat[e] / total);
    *said[SAY_VIOLATION] = most * (double)n / total - 1.0;
    *said[SAY_ENTROPY] = n > 1 ? entropy / log((double)n) : 1.0;
    *said[SAY_DEAD] = dead;
    *said[SAY_LSE2] = stat[n] * (double)c->experts.k / total;
    for (int64_t i = 0; i < HY__DOMAINS * n; i++) said[SAY_LOAD][i] = stat[n + 2 + i];
}

const hy__component hy__experts = {.letter = 'E',
                                   .name = "routed experts",
                                   .blueprint = "MoE",
                                   .gate = 1.0,
                                   .place = PLACE,
                                   .offset = OFFSET,
                                   .declare = declare,
                                   .plan = plan,
                                   .cost = cost,
                                   .forward = forward,
                                   .backward = backward,
                                   .settle = settle,
                                   .report = report};
