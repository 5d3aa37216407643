/* pkm.c: P, product-key memory (Lample et al. 2019, arXiv 1907.05242); docs/model.md.
 *
 *   q = RMSNorm per head(W_q x), two halves; top-k of n sub-keys each; the k best of the k² sums
 *   index a table of n² values that all P layers share;  y = W_o(Σ softmax·value) · σ(w·x + b)
 * No state. */
#include "model/component.h"

#include <math.h>

enum { QUERY, QUERY_NORM, KEYS, GATE, GATE_BIAS, OUT_PROJ, TABLE };
enum {
    Q,      /* [N, H, dk] */
    QN,     /* [N, H, dk] */
    Q_RSTD, /* [N, H] */
    IDX,    /* I32 [N, H, k] rows of the table */
    SCORE,  /* [N, H, k] */
    WEIGHT, /* [N, H, k] */
    READ,   /* [N, dv] */
    OUT,    /* [N, d] before the gate */
    S,      /* [N] the gate's input */
    DOUT,
    DS,
    DREAD,
    DSCORE,
    DQN,
    DQ,
    REVERSE, /* I32 [rows + 1 + N·H·k] */
};

enum { SAY_SLOTS, SAY_KL, SAY_BETA, SAY_DEAD };

typedef struct dims {
    int64_t width, head, dk, n_key, k, dv, rows;
} dims;

static dims dims_of(const hy__config *c) {
    return (dims){.width = c->model.d_model,
                  .head = c->pkm.n_head,
                  .dk = c->pkm.d_key,
                  .n_key = c->pkm.n_key,
                  .k = c->pkm.topk,
                  .dv = c->pkm.d_value,
                  .rows = c->pkm.n_key * c->pkm.n_key};
}

static void declare(const hy__config *c, hy__decl *d) {
    const dims m = dims_of(c);
    const int64_t one = 1;
    hy__declare(d, QUERY, "mixer.query.weight", HY__GROUP_MATRIX, HY__INIT_LINEAR, 0, 2,
                (int64_t[]){m.head * m.dk, m.width});
    hy__declare(d, QUERY_NORM, "mixer.query_norm.weight", HY__GROUP_VECTOR, HY__INIT_CONST, 1, 1,
                &m.dk);
    hy__declare(d, KEYS, "mixer.keys", HY__GROUP_VECTOR, HY__INIT_LINEAR, 0, 4,
                (int64_t[]){m.head, 2, m.n_key, m.dk / 2});
    hy__declare(d, GATE, "mixer.gate.weight", HY__GROUP_ROUTER, HY__INIT_LINEAR, 0, 2,
                (int64_t[]){1, m.width});
    hy__declare(d, GATE_BIAS, "mixer.gate.bias", HY__GROUP_VECTOR, HY__INIT_CONST, -2, 1, &one);
    hy__declare(d, OUT_PROJ, "mixer.out_proj.weight", HY__GROUP_MATRIX, HY__INIT_OUTPUT, 0, 2,
                (int64_t[]){m.width, m.dv});
    hy__declare(d, TABLE, "memory.values.weight", HY__GROUP_TABLE, HY__INIT_LINEAR, 0, 2,
                (int64_t[]){m.rows, m.dv});
    d->param[TABLE].shared = true;
    d->param[TABLE].active = fmin(1, (double)(m.head * m.k) / (double)m.rows);
    d->n_stat = m.rows + 1; /* use[rows], Σ β */
    hy__declare_say(d, SAY_SLOTS, "slots", 0, 0);
    hy__declare_say(d, SAY_KL, "kl", 0, 0);
    hy__declare_say(d, SAY_BETA, "beta", 0, 0);
    hy__declare_say(d, SAY_DEAD, "dead_keys", 0, 0);
}

static void plan(const hy__config *c, const hy__rows *rows, hy__plan *p) {
    const dims m = dims_of(c);
    const int64_t n = rows->n_row, choices = n * m.head * m.k;
    hy__plan_real(p, Q, HY__LIFE_KEEP, n * m.head * m.dk);
    hy__plan_real(p, QN, HY__LIFE_KEEP, n * m.head * m.dk);
    hy__plan_real(p, Q_RSTD, HY__LIFE_KEEP, n * m.head);
    hy__plan_i32(p, IDX, HY__LIFE_KEEP, choices);
    hy__plan_real(p, SCORE, HY__LIFE_KEEP, choices);
    hy__plan_real(p, WEIGHT, HY__LIFE_KEEP, choices);
    hy__plan_real(p, READ, HY__LIFE_KEEP, n * m.dv);
    hy__plan_real(p, OUT, HY__LIFE_KEEP, n * m.width);
    hy__plan_real(p, S, HY__LIFE_KEEP, n);
    hy__plan_real(p, DOUT, HY__LIFE_BACKWARD, n * m.width);
    hy__plan_real(p, DS, HY__LIFE_BACKWARD, n);
    hy__plan_real(p, DREAD, HY__LIFE_BACKWARD, n * m.dv);
    hy__plan_real(p, DSCORE, HY__LIFE_BACKWARD, choices);
    hy__plan_real(p, DQN, HY__LIFE_BACKWARD, n * m.head * m.dk);
    hy__plan_real(p, DQ, HY__LIFE_BACKWARD, n * m.head * m.dk);
    hy__plan_i32(p, REVERSE, HY__LIFE_BACKWARD, m.rows + 1 + choices);
}

static void cost(const hy__config *c, hy__cost *cost) {
    const dims m = dims_of(c);
    const double dk = (double)(m.head * m.dk), read = (double)(m.head * m.k * m.dv);
    hy__cost_linear(cost, "query", "2·d·H·dk", HY__PER_TOKEN, m.head * m.dk, m.width);
    hy__cost_add(cost,
                 (hy__term){.what = "keys",
                            .formula = "2·H·dk·n",
                            .why = "both halves of a query with all n sub-keys of a half; "
                                   "backward 4·H·dk·k, for only the chosen ones have a gradient",
                            .per = HY__PER_TOKEN,
                            .forward = 2 * dk * (double)m.n_key,
                            .backward = 4 * dk * (double)m.k});
    hy__cost_add(cost,
                 (hy__term){.what = "values",
                            .formula = "2·H·k·dv",
                            .why = "the weighted sum of k rows for each head; backward for its "
                                   "weights and for the rows",
                            .per = HY__PER_TOKEN,
                            .forward = 2 * read,
                            .backward = 4 * read});
    hy__cost_linear(cost, "out_proj", "2·dv·d", HY__PER_TOKEN, m.width, m.dv);
    hy__cost_linear(cost, "gate", "2·d", HY__PER_TOKEN, 1, m.width);
}

static hy__linear_args query(const hy__call *c, const dims *m) {
    return (hy__linear_args){.y = c->buf[Q],
                             .x = c->x,
                             .w = c->param[QUERY],
                             .n_row = c->rows->n_row,
                             .out = m->head * m->dk,
                             .in = m->width,
                             .prec = c->prec,
                             .room = c->room};
}

static hy__linear_args gate_input(const hy__call *c, const dims *m) {
    return (hy__linear_args){.y = c->buf[S],
                             .x = c->x,
                             .w = c->param[GATE],
                             .n_row = c->rows->n_row,
                             .out = 1,
                             .in = m->width,
                             .prec = HY__PREC_FP32};
}

static hy__linear_args out_proj(const hy__call *c, const dims *m) {
    return (hy__linear_args){.y = c->buf[OUT],
                             .x = c->buf[READ],
                             .w = c->param[OUT_PROJ],
                             .n_row = c->rows->n_row,
                             .out = m->width,
                             .in = m->dv,
                             .prec = c->prec,
                             .room = c->room};
}

static hy__rmsnorm_args query_norm(const hy__call *c, const dims *m) {
    return (hy__rmsnorm_args){.y = c->buf[QN],
                              .rstd = c->buf[Q_RSTD],
                              .x = c->buf[Q],
                              .w = c->param[QUERY_NORM],
                              .n_row = c->rows->n_row,
                              .n_head = m->head,
                              .dim = m->dk,
                              .eps = c->cfg->model.norm_eps};
}

static hy__pkm_select_args selection(const hy__call *c, const dims *m) {
    return (hy__pkm_select_args){.idx = c->buf[IDX],
                                 .score = c->buf[SCORE],
                                 .q = c->buf[QN],
                                 .key = c->param[KEYS],
                                 .n_row = c->rows->n_row,
                                 .n_head = m->head,
                                 .n_key = m->n_key,
                                 .d_half = m->dk / 2,
                                 .k = m->k};
}

static hy__pkm_read_args reading(const hy__call *c, const dims *m) {
    return (hy__pkm_read_args){.y = c->buf[READ],
                               .weight = c->buf[WEIGHT],
                               .idx = c->buf[IDX],
                               .score = c->buf[SCORE],
                               .table = c->param[TABLE],
                               .use = c->stat,
                               .n_row = c->rows->n_row,
                               .n_head = m->head,
                               .k = m->k,
                               .d_value = m->dv,
                               .n_value = m->rows};
}

static hy__row_gate_args gate(const hy__call *c, const dims *m) {
    return (hy__row_gate_args){.y = c->y,
                               .x = c->buf[OUT],
                               .s = c->buf[S],
                               .bias = c->param[GATE_BIAS],
                               .gate_sum = hy__at(c->stat, m->rows),
                               .n_row = c->rows->n_row,
                               .dim = m->width};
}

static void forward(const hy__call *c) {
    const dims m = dims_of(c->cfg);
    const hy__kernels *k = &c->be->kernels;
    const hy__linear_args q = query(c, &m), s = gate_input(c, &m), out = out_proj(c, &m);
    const hy__rmsnorm_args norm = query_norm(c, &m);
    const hy__pkm_select_args pick = selection(c, &m);
    const hy__pkm_read_args read = reading(c, &m);
    const hy__row_gate_args beta = gate(c, &m);
    hy__linear(c->be, &q);
    k->rmsnorm(c->be, &norm);
    k->pkm_select(c->be, &pick);
    k->pkm_read(c->be, &read);
    hy__linear(c->be, &out);
    hy__linear(c->be, &s);
    k->row_gate(c->be, &beta);
}

static void backward(const hy__call *c) {
    const dims m = dims_of(c->cfg);
    const hy__kernels *k = &c->be->kernels;

    hy__row_gate_args beta = gate(c, &m);
    beta.dy = c->dy;
    beta.dx = c->buf[DOUT];
    beta.ds = c->buf[DS];
    beta.dbias = c->grad[GATE_BIAS];
    k->row_gate_backward(c->be, &beta);

    hy__linear_args out = out_proj(c, &m);
    out.dy = c->buf[DOUT];
    out.dx = c->buf[DREAD];
    out.dw = c->grad[OUT_PROJ];
    hy__linear_backward(c->be, &out);

    hy__pkm_read_args read = reading(c, &m);
    read.dy = c->buf[DREAD];
    read.dscore = c->buf[DSCORE];
    read.dtable = c->grad[TABLE];
    read.touched = c->touched;
    read.reverse = c->buf[REVERSE];
    k->pkm_read_backward(c->be, &read);

    hy__pkm_select_args pick = selection(c, &m);
    pick.dscore = c->buf[DSCORE];
    pick.dq = c->buf[DQN];
    pick.dkey = c->grad[KEYS];
    k->pkm_select_backward(c->be, &pick);

    hy__rmsnorm_args norm = query_norm(c, &m);
    norm.dy = c->buf[DQN];
    norm.dx = c->buf[DQ];
    norm.dw = c->grad[QUERY_NORM];
    k->rmsnorm_backward(c->be, &norm);

    hy__linear_args q = query(c, &m);
    q.dy = c->buf[DQ];
    q.dx = c->dx;
    q.dw = c->grad[QUERY];
    hy__linear_backward(c->be, &q);

    hy__linear_args s = gate_input(c, &m);
    s.dy = c->buf[DS];
    s.dx = c->dx;
    s.dx_add = true;
    s.dw = c->grad[GATE];
    hy__linear_backward(c->be, &s);
}

/* Sub-keys, of both halves, that no row which was read belongs to. */
static double dead_keys(const dims *m, const double *use) {
    double dead = 0;
    for (int64_t key = 0; key < m->n_key; key++) {
        bool first = false, second = false;
        for (int64_t i = 0; i < m->n_key && !(first && second); i++) {
            first = first || use[key * m->n_key + i] > 0;
            second = second || use[i * m->n_key + key] > 0;
        }
        dead += !first + !second;
    }
    return dead;
}

/* How much of the table a step read, how unevenly, and how open the gate was. */
static void report(const hy__config *c, const double *stat, double *const *said) {
    const dims m = dims_of(c);
    double total = 0, slots = 0, kl = 0; /* total: 1 for each token and head */
    for (int64_t i = 0; i < m.rows; i++) total += stat[i];
    if (total <= 0) return;
    for (int64_t i = 0; i < m.rows; i++) {
        if (stat[i] <= 0) continue;
        const double share = stat[i] / total;
        slots += 1;
        kl += share * log(share * (double)m.rows);
    }
    *said[SAY_SLOTS] = slots;
    *said[SAY_KL] = kl;
    *said[SAY_BETA] = stat[m.rows] * (double)m.head / total;
    *said[SAY_DEAD] = dead_keys(&m, stat);
}

const hy__component hy__pkm = {.letter = 'P',
                               .name = "product-key memory",
                               .blueprint = "factual PKM",
                               .gate = 0.1,
                               .choice = IDX,
                               .opening = S,
                               .opening_bias = GATE_BIAS,
                               .declare = declare,
                               .plan = plan,
                               .cost = cost,
                               .forward = forward,
                               .backward = backward,
                               .report = report};
