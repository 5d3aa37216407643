/* ssm.c: S, the state space layer (Mamba-2, arXiv 2405.21060); docs/model.md.
 *
 *   z, xBC, dt = in_proj(x);  x, B, C = SiLU(conv(xBC));  y = ssd(x, B, C, dt)
 *   out_proj(RMSNorm(y·SiLU(z)))
 * I = expand·d inner width, H = I/P heads of width P, N state size, G groups, Ch = I + 2GN conv
 * channels. Names and layout are those of Hugging Face's Mamba2ForCausalLM. */
#include "model/component.h"

enum { IN_PROJ, CONV_W, CONV_B, DT_BIAS, A_LOG, D, NORM, OUT_PROJ };
enum { CONV_STATE, H_STATE };
enum {
    ZX,  /* [N, 2I + 2GN + H] in_proj's output: z, x, B, C, dt */
    XBC, /* [N, Ch] after the convolution */
    CHUNK_STATE,
    Y,  /* [N, I] of the scan */
    YN, /* [N, I] gated and normed */
    DYN,
    DY,
    DXBC,
    DZX,
};

typedef struct dims {
    int64_t inner, head, conv, zx, bc;
} dims;

static dims dims_of(const hy__config *c) {
    dims m = {.inner = c->ssm.expand * c->model.d_model};
    m.head = m.inner / c->ssm.head_dim;
    m.bc = c->ssm.n_group * c->ssm.d_state;
    m.conv = m.inner + 2 * m.bc;
    m.zx = m.inner + m.conv + m.head;
    return m;
}

static void declare(const hy__config *c, hy__decl *d) {
    const dims m = dims_of(c);
    const int64_t width = c->model.d_model;
    const int64_t taps = c->ssm.d_conv;
    const double conv_std = 0.5 / 1.7320508; /* PyTorch's default for 4 taps: U(±1/2) */
    hy__declare(d, IN_PROJ, "mixer.in_proj.weight", HY__GROUP_MATRIX, HY__INIT_LINEAR, 0, 2,
                (int64_t[]){m.zx, width});
    hy__declare(d, CONV_W, "mixer.conv1d.weight", HY__GROUP_VECTOR, HY__INIT_NORMAL, conv_std, 3,
                (int64_t[]){m.conv, 1, taps});
    hy__declare(d, CONV_B, "mixer.conv1d.bias", HY__GROUP_VECTOR, HY__INIT_CONST, 0, 1, &m.conv);
    hy__declare(d, DT_BIAS, "mixer.dt_bias", HY__GROUP_VECTOR, HY__INIT_DT_BIAS, 0, 1, &m.head);
    hy__declare(d, A_LOG, "mixer.A_log", HY__GROUP_VECTOR, HY__INIT_A_LOG, 0, 1, &m.head);
    hy__declare(d, D, "mixer.D", HY__GROUP_VECTOR, HY__INIT_CONST, 1, 1, &m.head);
    hy__declare(d, NORM, "mixer.norm.weight", HY__GROUP_VECTOR, HY__INIT_CONST, 1, 1, &m.inner);
    hy__declare(d, OUT_PROJ, "mixer.out_proj.weight", HY__GROUP_MATRIX, HY__INIT_OUTPUT, 0, 2,
                (int64_t[]){width, m.inner});
    hy__declare_state(d, CONV_STATE, "conv", (taps - 1) * m.conv, 0);
    hy__declare_state(d, H_STATE, "h", m.inner * c->ssm.d_state, 0);
}

static void plan(const hy__config *c, const hy__rows *rows, hy__plan *p) {
    const dims m = dims_of(c);
    const int64_t n = rows->n_row;
    hy__plan_real(p, ZX, HY__LIFE_KEEP, n * m.zx);
    hy__plan_real(p, XBC, HY__LIFE_KEEP, n * m.conv);
    hy__plan_real(p, CHUNK_STATE, HY__LIFE_TRAIN,
                  hy__rows_units(rows, c->model.chunk) * m.inner * c->ssm.d_state);
    hy__plan_real(p, Y, HY__LIFE_KEEP, n * m.inner);
    hy__plan_real(p, YN, HY__LIFE_KEEP, n * m.inner);
    hy__plan_real(p, DYN, HY__LIFE_BACKWARD, n * m.inner);
    hy__plan_real(p, DY, HY__LIFE_BACKWARD, n * m.inner);
    hy__plan_real(p, DXBC, HY__LIFE_BACKWARD, n * m.conv);
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
                             .in = m->inner,
                             .prec = c->prec};
}

static hy__conv_args conv(const hy__call *c, const dims *m) {
    return (hy__conv_args){.y = c->buf[XBC],
                           .x = hy__at(c->buf[ZX], m->inner),
                           .w = c->param[CONV_W],
                           .bias = c->param[CONV_B],
                           .rows = c->rows,
                           .state_in = c->state_in[CONV_STATE],
                           .state_out = c->state_out[CONV_STATE],
                           .ch = m->conv,
                           .width = c->cfg->ssm.d_conv,
                           .ldx = m->zx};
}

static hy__ssd_args ssd(const hy__call *c, const dims *m) {
    const hy__tensor xbc = c->buf[XBC];
    return (hy__ssd_args){.y = c->buf[Y],
                          .x = xbc,
                          .b = hy__at(xbc, m->inner),
                          .c = hy__at(xbc, m->inner + m->bc),
                          .dt = hy__at(c->buf[ZX], m->inner + m->conv),
                          .a_log = c->param[A_LOG],
                          .d = c->param[D],
                          .dt_bias = c->param[DT_BIAS],
                          .chunk_state = c->buf[CHUNK_STATE],
                          .rows = c->rows,
                          .state_in = c->state_in[H_STATE],
                          .state_out = c->state_out[H_STATE],
                          .n_head = m->head,
                          .head_dim = c->cfg->ssm.head_dim,
                          .d_state = c->cfg->ssm.d_state,
                          .n_group = c->cfg->ssm.n_group,
                          .chunk = c->cfg->model.chunk,
                          .ldx = m->conv,
                          .lddt = m->zx};
}

static hy__gated_norm_args gated_norm(const hy__call *c, const dims *m) {
    return (hy__gated_norm_args){.y = c->buf[YN],
                                 .x = c->buf[Y],
                                 .z = c->buf[ZX],
                                 .w = c->param[NORM],
                                 .n_row = c->rows->n_row,
                                 .dim = m->inner,
                                 .group = m->inner / c->cfg->ssm.n_group,
                                 .ldz = m->zx,
                                 .eps = c->cfg->model.norm_eps};
}

static void forward(const hy__call *c) {
    const dims m = dims_of(c->cfg);
    const hy__kernels *k = &c->be->kernels;
    const hy__linear_args in = in_proj(c, &m), out = out_proj(c, &m);
    const hy__conv_args cv = conv(c, &m);
    const hy__ssd_args s = ssd(c, &m);
    const hy__gated_norm_args gn = gated_norm(c, &m);
    hy__linear(c->be, &in);
    k->conv(c->be, &cv);
    k->ssd(c->be, &s);
    k->gated_norm(c->be, &gn);
    hy__linear(c->be, &out);
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

    hy__ssd_args s = ssd(c, &m);
    s.dy = c->buf[DY];
    s.dx = c->buf[DXBC];
    s.db = hy__at(c->buf[DXBC], m.inner);
    s.dc = hy__at(c->buf[DXBC], m.inner + m.bc);
    s.lddx = m.conv;
    s.ddt = hy__at(c->buf[DZX], m.inner + m.conv);
    s.da_log = c->grad[A_LOG];
    s.dd = c->grad[D];
    s.ddt_bias = c->grad[DT_BIAS];
    s.dstate_in = c->dstate_in[H_STATE];
    s.dstate_out = c->dstate_out[H_STATE];
    k->ssd_backward(c->be, &s);

    hy__conv_args cv = conv(c, &m);
    cv.dy = c->buf[DXBC];
    cv.dx = hy__at(c->buf[DZX], m.inner);
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

const hy__component hy__ssm = {.letter = 'S',
                               .name = "state space",
                               .blueprint = "SSM backbone",
                               .gate = 1.0,
                               .declare = declare,
                               .plan = plan,
                               .forward = forward,
                               .backward = backward};
