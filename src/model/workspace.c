/* workspace.c: W, a fast-weight memory written by the gated delta rule and read n times at the same
 * token; docs/model.md.
 *
 *   z, q, k, v, ga, gb, gm = in_proj(x);  q, k, v = SiLU(conv(q, k, v));  q, k L2-normed per head
 *   y = delta(q, k, v, ga, gb, gm; W_r);  out_proj(RMSNorm per head(y·SiLU(z)))
 * H heads with memories M[dk, dv]; n reads. State: the conv's last columns and M. */
#include "model/conv_mixer.h"

#include <math.h>

enum { READ = HY__MIX_PARAM_N, READ_BIAS };
enum { M_STATE = HY__MIX_STATE_N };
enum {
    QN = HY__MIX_BUF_N, /* [N, H, dk] */
    KN,                 /* [N, H, dk] */
    Q_RSTD,             /* [N, H] */
    K_RSTD,             /* [N, H] */
    R,                  /* [N, H, n, dv] */
    U,                  /* [N, H, dv] */
    CHUNK_STATE,
    DQN,
    DKN,
};

enum { SAY_DECAY, SAY_WRITE, SAY_NORM, SAY_READS };

typedef struct dims {
    int64_t head, dk, dv, reads, qw; /* qw: width of q, and of k */
    hy__mix mix;                     /* conv: q, k, v; rest: ga, gb, gm */
} dims;

static dims dims_of(const hy__config *c) {
    dims m = {.head = c->workspace.n_head,
              .dk = c->workspace.d_k,
              .dv = c->workspace.d_v,
              .reads = c->workspace.reads};
    m.qw = m.head * m.dk;
    m.mix = (hy__mix){.z = m.head * m.dv,
                      .conv = 2 * m.qw + m.head * m.dv,
                      .rest = m.head * (2 + m.reads),
                      .taps = c->workspace.d_conv,
                      .group = m.dv};
    return m;
}

static void declare(const hy__config *c, hy__decl *d) {
    const dims m = dims_of(c);
    hy__mix_declare(d, c, &m.mix);
    hy__declare(d, READ, "mixer.read.weight", HY__GROUP_VECTOR, HY__INIT_LINEAR, 0, 3,
                (int64_t[]){m.head, m.dk, m.dv});
    hy__declare(d, READ_BIAS, "mixer.read_gate.bias", HY__GROUP_VECTOR, HY__INIT_READS, 0, 2,
                (int64_t[]){m.head, m.reads});
    hy__declare_state(d, M_STATE, "m", m.head * m.dk * m.dv, 0);
    d->n_stat = HY__DELTA_STAT_READS + m.reads;
    hy__declare_say(d, SAY_DECAY, "decay", 0, 0);
    hy__declare_say(d, SAY_WRITE, "write", 0, 0);
    hy__declare_say(d, SAY_NORM, "norm", 0, 0);
    hy__declare_say(d, SAY_READS, "reads", 0, m.reads);
}

static void plan(const hy__config *c, const hy__rows *rows, hy__plan *p) {
    const dims m = dims_of(c);
    const int64_t n = rows->n_row;
    hy__mix_plan(p, n, &m.mix);
    hy__plan_real(p, QN, HY__LIFE_KEEP, n * m.qw);
    hy__plan_real(p, KN, HY__LIFE_KEEP, n * m.qw);
    hy__plan_real(p, Q_RSTD, HY__LIFE_KEEP, n * m.head);
    hy__plan_real(p, K_RSTD, HY__LIFE_KEEP, n * m.head);
    hy__plan_real(p, R, HY__LIFE_TRAIN, n * m.reads * m.mix.z);
    hy__plan_real(p, U, HY__LIFE_TRAIN, n * m.mix.z);
    hy__plan_real(p, CHUNK_STATE, HY__LIFE_TRAIN,
                  hy__rows_units(rows, c->model.chunk) * m.head * m.dk * m.dv);
    hy__plan_real(p, DQN, HY__LIFE_BACKWARD, n * m.qw);
    hy__plan_real(p, DKN, HY__LIFE_BACKWARD, n * m.qw);
}

static void cost(const hy__config *c, hy__cost *cost) {
    const dims m = dims_of(c);
    const double head = (double)m.head, n = (double)m.reads, dk = (double)m.dk, dv = (double)m.dv;
    const double product = 2 * head * dk * dv; /* of one row with M, or with W_r */
    hy__mix_cost(cost, c, &m.mix,
                 (hy__mix_formulas){"2·d·H·(2dk + 2dv + 2 + n)", "2·K·H·(2dk + dv)", "2·H·dv·d"});
    hy__cost_add(cost,
                 (hy__term){.what = "memory",
                            .formula = "2·H·dk·dv·(2n + 1)",
                            .why = "products of a row with M or W_r: one to write, one to move "
                                   "M on, n reads, n-1 between them; backward 2 for each read, "
                                   "3 for each between, 2 to write, 2 to move on, 1 to make M "
                                   "again: 5n + 2",
                            .per = HY__PER_TOKEN,
                            .forward = product * (2 * n + 1),
                            .backward = product * (5 * n + 2)});
    hy__cost_add(cost,
                 (hy__term){.what = "block",
                            .formula = "2·H·(n + 1)·(dk + dv)",
                            .why = "the WY form: k·k and its substitution, and for each read "
                                   "q·k and its product with U; backward H·(n + 1)·(6dk + 4dv)",
                            .per = HY__PER_BLOCK_PAIR,
                            .forward = 2 * head * (n + 1) * (dk + dv),
                            .backward = head * (n + 1) * (6 * dk + 4 * dv)});
}

/* The L2 norm of the queries or of the keys: x / sqrt(Σx² + 1e-6). */
static hy__rmsnorm_args l2_norm(const hy__call *c, const dims *m, bool keys) {
    return (hy__rmsnorm_args){.y = c->buf[keys ? KN : QN],
                              .rstd = c->buf[keys ? K_RSTD : Q_RSTD],
                              .x = hy__at(c->buf[HY__MIX_CONV], keys ? m->qw : 0),
                              .n_row = c->rows->n_row,
                              .n_head = m->head,
                              .dim = m->dk,
                              .ldx = m->mix.conv,
                              .eps = 1e-6 / (double)m->dk,
                              .scale = 1.0 / sqrt((double)m->dk)};
}

static hy__delta_args delta(const hy__call *c, const dims *m) {
    const hy__tensor gates = hy__at(c->buf[HY__MIX_ZX], hy__mix_rest(&m->mix));
    return (hy__delta_args){.y = c->buf[HY__MIX_Y],
                            .q = c->buf[QN],
                            .k = c->buf[KN],
                            .v = hy__at(c->buf[HY__MIX_CONV], 2 * m->qw),
                            .ga = gates,
                            .gb = hy__at(gates, m->head),
                            .gm = hy__at(gates, 2 * m->head),
                            .wr = c->param[READ],
                            .gm_bias = c->param[READ_BIAS],
                            .r = c->buf[R],
                            .u = c->buf[U],
                            .chunk_state = c->buf[CHUNK_STATE],
                            .rows = c->rows,
                            .state_in = c->state_in[M_STATE],
                            .state_out = c->state_out[M_STATE],
                            .n_head = m->head,
                            .d_k = m->dk,
                            .d_v = m->dv,
                            .reads = m->reads,
                            .chunk = c->cfg->model.chunk,
                            .ldq = m->qw,
                            .ldk = m->qw,
                            .ldv = m->mix.conv,
                            .ldg = hy__mix_zx(&m->mix),
                            .a_offset = 4.0,
                            .eps = 1e-6,
                            .stat = c->stat};
}

static void forward(const hy__call *c) {
    const dims m = dims_of(c->cfg);
    const hy__kernels *k = &c->be->kernels;
    const hy__rmsnorm_args qn = l2_norm(c, &m, false), kn = l2_norm(c, &m, true);
    const hy__delta_args dl = delta(c, &m);
    hy__mix_open(c, &m.mix);
    k->rmsnorm(c->be, &qn);
    k->rmsnorm(c->be, &kn);
    k->delta(c->be, &dl);
    if (hy__present(c->stat)) k->delta_stat(c->be, &dl);
    hy__mix_close(c, &m.mix);
}

static void backward(const hy__call *c) {
    const dims m = dims_of(c->cfg);
    const hy__kernels *k = &c->be->kernels;
    const hy__tensor dqkv = c->buf[HY__MIX_DCONV];
    const hy__tensor dgates = hy__at(c->buf[HY__MIX_DZX], hy__mix_rest(&m.mix));
    hy__mix_close_backward(c, &m.mix);

    hy__delta_args dl = delta(c, &m);
    dl.dy = c->buf[HY__MIX_DY];
    dl.dq = c->buf[DQN];
    dl.dk = c->buf[DKN];
    dl.dv = hy__at(dqkv, 2 * m.qw);
    dl.dga = dgates;
    dl.dgb = hy__at(dgates, m.head);
    dl.dgm = hy__at(dgates, 2 * m.head);
    dl.dwr = c->grad[READ];
    dl.dgm_bias = c->grad[READ_BIAS];
    dl.dstate_in = c->dstate_in[M_STATE];
    dl.dstate_out = c->dstate_out[M_STATE];
    k->delta_backward(c->be, &dl);

    hy__rmsnorm_args qn = l2_norm(c, &m, false), kn = l2_norm(c, &m, true);
    qn.dy = c->buf[DQN];
    qn.dx = dqkv;
    kn.dy = c->buf[DKN];
    kn.dx = hy__at(dqkv, m.qw);
    k->rmsnorm_backward(c->be, &qn);
    k->rmsnorm_backward(c->be, &kn);

    hy__mix_open_backward(c, &m.mix);
}

/* How long the memory keeps, how much it takes in, which reads count, and how much it holds. */
static void report(const hy__config *c, const double *stat, double *const *said) {
    const double rows = stat[HY__DELTA_STAT_ROWS], looks = stat[HY__DELTA_STAT_LOOKS];
    if (looks > 0) *said[SAY_NORM] = stat[HY__DELTA_STAT_NORM] / looks;
    if (rows <= 0) return;
    *said[SAY_DECAY] = stat[HY__DELTA_STAT_DECAY] / rows;
    *said[SAY_WRITE] = stat[HY__DELTA_STAT_WRITE] / rows;
    for (int64_t j = 0; j < c->workspace.reads; j++)
        said[SAY_READS][j] = stat[HY__DELTA_STAT_READS + j] / rows;
}

const hy__component hy__workspace = {.letter = 'W',
                                     .name = "workspace",
                                     .blueprint = "workspace",
                                     .gate = 0.1,
                                     .declare = declare,
                                     .plan = plan,
                                     .cost = cost,
                                     .forward = forward,
                                     .backward = backward,
                                     .report = report};
