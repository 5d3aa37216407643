/* workspace.c: W, a fast-weight memory written by the gated delta rule and read n times at the same
 * token; docs/model.md.
 *
 *   z, q, k, v, ga, gb, gm = in_proj(x);  q, k, v = SiLU(conv(q, k, v));  q, k L2-normed per head
 *   y = delta(q, k, v, ga, gb, gm; W_r);  o_proj(RMSNorm per head(y·SiLU(z)))
 * H heads with memories M[dk, dv]; n reads. State: the conv's last columns and M. */
#include "model/component.h"

#include <math.h>

enum { IN_PROJ, CONV_W, CONV_B, READ, READ_BIAS, NORM, OUT_PROJ };
enum { CONV_STATE, M_STATE };
enum {
    ZX,     /* [N, zx] in_proj's output: z, q, k, v, ga, gb, gm */
    QKV,    /* [N, H·(2dk + dv)] after the convolution */
    QN,     /* [N, H, dk] */
    KN,     /* [N, H, dk] */
    Q_RSTD, /* [N, H] */
    K_RSTD, /* [N, H] */
    R,      /* [N, H, n, dv] */
    U,      /* [N, H, dv] */
    CHUNK_STATE,
    Y,  /* [N, H, dv] */
    YN, /* [N, H, dv] */
    DYN,
    DY,
    DQN,
    DKN,
    DQKV,
    DZX,
};

typedef struct dims {
    int64_t head, dk, dv, reads, qw, vw, conv, zx; /* qw, vw: widths of q (and k), v (and z) */
} dims;

static dims dims_of(const hy__config *c) {
    dims m = {.head = c->workspace.n_head,
              .dk = c->workspace.d_k,
              .dv = c->workspace.d_v,
              .reads = c->workspace.reads};
    m.qw = m.head * m.dk;
    m.vw = m.head * m.dv;
    m.conv = 2 * m.qw + m.vw;
    m.zx = m.vw + m.conv + m.head * (2 + m.reads);
    return m;
}

static void declare(const hy__config *c, hy__decl *d) {
    const dims m = dims_of(c);
    const int64_t width = c->model.d_model, taps = c->workspace.d_conv;
    hy__declare(d, IN_PROJ, "mixer.in_proj.weight", HY__GROUP_MATRIX, HY__INIT_LINEAR, 0, 2,
                (int64_t[]){m.zx, width});
    hy__declare(d, CONV_W, "mixer.conv1d.weight", HY__GROUP_VECTOR, HY__INIT_NORMAL,
                0.5 / sqrt(3.0), 3, (int64_t[]){m.conv, 1, taps});
    hy__declare(d, CONV_B, "mixer.conv1d.bias", HY__GROUP_VECTOR, HY__INIT_CONST, 0, 1, &m.conv);
    hy__declare(d, READ, "mixer.read.weight", HY__GROUP_VECTOR, HY__INIT_LINEAR, 0, 3,
                (int64_t[]){m.head, m.dk, m.dv});
    hy__declare(d, READ_BIAS, "mixer.read_gate.bias", HY__GROUP_VECTOR, HY__INIT_READS, 0, 2,
                (int64_t[]){m.head, m.reads});
    hy__declare(d, NORM, "mixer.norm.weight", HY__GROUP_VECTOR, HY__INIT_CONST, 1, 1, &m.vw);
    hy__declare(d, OUT_PROJ, "mixer.out_proj.weight", HY__GROUP_MATRIX, HY__INIT_OUTPUT, 0, 2,
                (int64_t[]){width, m.vw});
    hy__declare_state(d, CONV_STATE, "conv", (taps - 1) * m.conv, 0);
    hy__declare_state(d, M_STATE, "m", m.head * m.dk * m.dv, 0);
}

static void plan(const hy__config *c, const hy__rows *rows, hy__plan *p) {
    const dims m = dims_of(c);
    const int64_t n = rows->n_row;
    hy__plan_real(p, ZX, HY__LIFE_KEEP, n * m.zx);
    hy__plan_real(p, QKV, HY__LIFE_KEEP, n * m.conv);
    hy__plan_real(p, QN, HY__LIFE_KEEP, n * m.qw);
    hy__plan_real(p, KN, HY__LIFE_KEEP, n * m.qw);
    hy__plan_real(p, Q_RSTD, HY__LIFE_KEEP, n * m.head);
    hy__plan_real(p, K_RSTD, HY__LIFE_KEEP, n * m.head);
    hy__plan_real(p, R, HY__LIFE_TRAIN, n * m.reads * m.vw);
    hy__plan_real(p, U, HY__LIFE_TRAIN, n * m.vw);
    hy__plan_real(p, CHUNK_STATE, HY__LIFE_TRAIN,
                  hy__rows_units(rows, c->model.chunk) * m.head * m.dk * m.dv);
    hy__plan_real(p, Y, HY__LIFE_KEEP, n * m.vw);
    hy__plan_real(p, YN, HY__LIFE_KEEP, n * m.vw);
    hy__plan_real(p, DYN, HY__LIFE_BACKWARD, n * m.vw);
    hy__plan_real(p, DY, HY__LIFE_BACKWARD, n * m.vw);
    hy__plan_real(p, DQN, HY__LIFE_BACKWARD, n * m.qw);
    hy__plan_real(p, DKN, HY__LIFE_BACKWARD, n * m.qw);
    hy__plan_real(p, DQKV, HY__LIFE_BACKWARD, n * m.conv);
    hy__plan_real(p, DZX, HY__LIFE_BACKWARD, n * m.zx);
}

static hy__linear_args in_proj(const hy__call *c, const dims *m) {
    return (hy__linear_args){.y = c->buf[ZX],
                             .x = c->x,
                             .w = c->param[IN_PROJ],
                             .n_row = c->rows->n_row,
                             .out = m->zx,
                             .in = c->cfg->model.d_model,
                             .prec = c->prec};
}

static hy__linear_args out_proj(const hy__call *c, const dims *m) {
    return (hy__linear_args){.y = c->y,
                             .x = c->buf[YN],
                             .w = c->param[OUT_PROJ],
                             .n_row = c->rows->n_row,
                             .out = c->cfg->model.d_model,
                             .in = m->vw,
                             .prec = c->prec};
}

static hy__conv_args conv(const hy__call *c, const dims *m) {
    return (hy__conv_args){.y = c->buf[QKV],
                           .x = hy__at(c->buf[ZX], m->vw),
                           .w = c->param[CONV_W],
                           .bias = c->param[CONV_B],
                           .rows = c->rows,
                           .state_in = c->state_in[CONV_STATE],
                           .state_out = c->state_out[CONV_STATE],
                           .ch = m->conv,
                           .width = c->cfg->workspace.d_conv,
                           .ldx = m->zx};
}

/* The L2 norm of the queries or of the keys: x / sqrt(Σx² + 1e-6). */
static hy__rmsnorm_args l2_norm(const hy__call *c, const dims *m, bool keys) {
    return (hy__rmsnorm_args){.y = c->buf[keys ? KN : QN],
                              .rstd = c->buf[keys ? K_RSTD : Q_RSTD],
                              .x = hy__at(c->buf[QKV], keys ? m->qw : 0),
                              .n_row = c->rows->n_row,
                              .n_head = m->head,
                              .dim = m->dk,
                              .ldx = m->conv,
                              .eps = 1e-6 / (double)m->dk,
                              .scale = 1.0 / sqrt((double)m->dk)};
}

static hy__delta_args delta(const hy__call *c, const dims *m) {
    const hy__tensor gates = hy__at(c->buf[ZX], m->vw + m->conv);
    return (hy__delta_args){.y = c->buf[Y],
                            .q = c->buf[QN],
                            .k = c->buf[KN],
                            .v = hy__at(c->buf[QKV], 2 * m->qw),
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
                            .ldv = m->conv,
                            .ldg = m->zx,
                            .a_offset = 4.0,
                            .eps = 1e-6};
}

static hy__gated_norm_args gated_norm(const hy__call *c, const dims *m) {
    return (hy__gated_norm_args){.y = c->buf[YN],
                                 .x = c->buf[Y],
                                 .z = c->buf[ZX],
                                 .w = c->param[NORM],
                                 .n_row = c->rows->n_row,
                                 .dim = m->vw,
                                 .group = m->dv,
                                 .ldz = m->zx,
                                 .eps = c->cfg->model.norm_eps};
}

static void forward(const hy__call *c) {
    const dims m = dims_of(c->cfg);
    const hy__kernels *k = &c->be->kernels;
    const hy__linear_args in = in_proj(c, &m), out = out_proj(c, &m);
    const hy__conv_args cv = conv(c, &m);
    const hy__rmsnorm_args qn = l2_norm(c, &m, false), kn = l2_norm(c, &m, true);
    const hy__delta_args dl = delta(c, &m);
    const hy__gated_norm_args gn = gated_norm(c, &m);
    hy__linear(c->be, &in);
    k->conv(c->be, &cv);
    k->rmsnorm(c->be, &qn);
    k->rmsnorm(c->be, &kn);
    k->delta(c->be, &dl);
    k->gated_norm(c->be, &gn);
    hy__linear(c->be, &out);
}

static void backward_delta(const hy__call *c, const dims *m) {
    const hy__kernels *k = &c->be->kernels;
    const hy__tensor dgates = hy__at(c->buf[DZX], m->vw + m->conv);
    hy__delta_args dl = delta(c, m);
    dl.dy = c->buf[DY];
    dl.dq = c->buf[DQN];
    dl.dk = c->buf[DKN];
    dl.dv = hy__at(c->buf[DQKV], 2 * m->qw);
    dl.dga = dgates;
    dl.dgb = hy__at(dgates, m->head);
    dl.dgm = hy__at(dgates, 2 * m->head);
    dl.dwr = c->grad[READ];
    dl.dgm_bias = c->grad[READ_BIAS];
    dl.dstate_in = c->dstate_in[M_STATE];
    dl.dstate_out = c->dstate_out[M_STATE];
    k->delta_backward(c->be, &dl);

    hy__rmsnorm_args qn = l2_norm(c, m, false), kn = l2_norm(c, m, true);
    qn.dy = c->buf[DQN];
    qn.dx = c->buf[DQKV];
    kn.dy = c->buf[DKN];
    kn.dx = hy__at(c->buf[DQKV], m->qw);
    k->rmsnorm_backward(c->be, &qn);
    k->rmsnorm_backward(c->be, &kn);
}

static void backward(const hy__call *c) {
    const dims m = dims_of(c->cfg);
    const hy__kernels *k = &c->be->kernels;

    hy__linear_args out = out_proj(c, &m);
    out.dy = c->dy;
    out.dx = c->buf[DYN];
    out.dw = c->grad[OUT_PROJ];
    hy__linear_backward(c->be, &out);

    hy__gated_norm_args gn = gated_norm(c, &m);
    gn.dy = c->buf[DYN];
    gn.dx = c->buf[DY];
    gn.dz = c->buf[DZX];
    gn.dw = c->grad[NORM];
    k->gated_norm_backward(c->be, &gn);

    backward_delta(c, &m);

    hy__conv_args cv = conv(c, &m);
    cv.dy = c->buf[DQKV];
    cv.dx = hy__at(c->buf[DZX], m.vw);
    cv.dw = c->grad[CONV_W];
    cv.dbias = c->grad[CONV_B];
    cv.dstate_in = c->dstate_in[CONV_STATE];
    cv.dstate_out = c->dstate_out[CONV_STATE];
    k->conv_backward(c->be, &cv);

    hy__linear_args in = in_proj(c, &m);
    in.dy = c->buf[DZX];
    in.dx = c->dx;
    in.dw = c->grad[IN_PROJ];
    hy__linear_backward(c->be, &in);
}

const hy__component hy__workspace = {.letter = 'W',
                                     .name = "workspace",
                                     .blueprint = "workspace",
                                     .gate = 0.1,
                                     .declare = declare,
                                     .plan = plan,
                                     .forward = forward,
                                     .backward = backward};
