/* conv_mixer.c: see conv_mixer.h. */
#include "model/conv_mixer.h"

#include <math.h>

void hy__mix_declare(hy__decl *d, const hy__config *c, const hy__mix *m) {
    const int64_t width = c->model.d_model;
    const double conv_std = 1.0 / sqrt(3.0 * (double)m->taps); /* that of U(±1/√taps), PyTorch's */
    hy__declare(d, HY__MIX_IN_PROJ, "mixer.in_proj.weight", HY__GROUP_MATRIX, HY__INIT_LINEAR, 0, 2,
                (int64_t[]){hy__mix_zx(m), width});
    hy__declare(d, HY__MIX_CONV_W, "mixer.conv1d.weight", HY__GROUP_VECTOR, HY__INIT_NORMAL,
                conv_std, 3, (int64_t[]){m->conv, 1, m->taps});
    hy__declare(d, HY__MIX_CONV_B, "mixer.conv1d.bias", HY__GROUP_VECTOR, HY__INIT_CONST, 0, 1,
                &m->conv);
    hy__declare(d, HY__MIX_NORM, "mixer.norm.weight", HY__GROUP_VECTOR, HY__INIT_CONST, 1, 1,
                &m->z);
    hy__declare(d, HY__MIX_OUT_PROJ, "mixer.out_proj.weight", HY__GROUP_MATRIX, HY__INIT_OUTPUT, 0,
                2, (int64_t[]){width, m->z});
    hy__declare_state(d, HY__MIX_CONV_STATE, "conv", (m->taps - 1) * m->conv, 0);
}

void hy__mix_plan(hy__plan *p, int64_t n_row, const hy__mix *m) {
    hy__plan_real(p, HY__MIX_ZX, HY__LIFE_KEEP, n_row * hy__mix_zx(m));
    hy__plan_real(p, HY__MIX_CONV, HY__LIFE_CALL, n_row * m->conv);
    hy__plan_real(p, HY__MIX_Y, HY__LIFE_KEEP, n_row * m->z);
    hy__plan_real(p, HY__MIX_YN, HY__LIFE_CALL, n_row * m->z);
    hy__plan_real(p, HY__MIX_DYN, HY__LIFE_BACKWARD, n_row * m->z);
    hy__plan_real(p, HY__MIX_DCONV, HY__LIFE_BACKWARD, n_row * m->conv);
    hy__plan_real(p, HY__MIX_DZX, HY__LIFE_BACKWARD, n_row * hy__mix_zx(m));
}

void hy__mix_cost(hy__cost *cost, const hy__config *c, const hy__mix *m, hy__mix_formulas f) {
    const double conv = 2.0 * (double)(m->taps * m->conv);
    hy__cost_linear(cost, "in_proj", f.in_proj, HY__PER_TOKEN, hy__mix_zx(m), c->model.d_model);
    hy__cost_add(
        cost,
        (hy__term){.what = "conv",
                   .formula = f.conv,
                   .why = "K taps a channel; backward once again, once for its input, once for "
                          "its weights, and once for what SiLU's derivative needs",
                   .per = HY__PER_TOKEN,
                   .forward = conv,
                   .backward = 4 * conv});
    hy__cost_linear(cost, "out_proj", f.out_proj, HY__PER_TOKEN, c->model.d_model, m->z);
}

static hy__linear_args in_proj(const hy__call *c, const hy__mix *m) {
    return (hy__linear_args){.y = c->buf[HY__MIX_ZX],
                             .x = c->x,
                             .w = c->param[HY__MIX_IN_PROJ],
                             .n_row = c->rows->n_row,
                             .out = hy__mix_zx(m),
                             .in = c->cfg->model.d_model,
                             .prec = c->prec,
                             .room = c->room};
}

static hy__linear_args out_proj(const hy__call *c, const hy__mix *m) {
    return (hy__linear_args){.y = c->y,
                             .x = c->buf[HY__MIX_YN],
                             .w = c->param[HY__MIX_OUT_PROJ],
                             .n_row = c->rows->n_row,
                             .out = c->cfg->model.d_model,
                             .in = m->z,
                             .prec = c->prec,
                             .room = c->room};
}

static hy__conv_args conv(const hy__call *c, const hy__mix *m) {
    return (hy__conv_args){.y = c->buf[HY__MIX_CONV],
                           .x = hy__at(c->buf[HY__MIX_ZX], m->z),
                           .w = c->param[HY__MIX_CONV_W],
                           .bias = c->param[HY__MIX_CONV_B],
                           .rows = c->rows,
                           .state_in = c->state_in[HY__MIX_CONV_STATE],
                           .state_out = c->state_out[HY__MIX_CONV_STATE],
                           .ch = m->conv,
                           .width = m->taps,
                           .ldx = hy__mix_zx(m)};
}

static hy__gated_norm_args gated_norm(const hy__call *c, const hy__mix *m) {
    return (hy__gated_norm_args){.y = c->buf[HY__MIX_YN],
                                 .x = c->buf[HY__MIX_Y],
                                 .z = c->buf[HY__MIX_ZX],
                                 .w = c->param[HY__MIX_NORM],
                                 .n_row = c->rows->n_row,
                                 .dim = m->z,
                                 .group = m->group,
                                 .ldz = hy__mix_zx(m),
                                 .eps = c->cfg->model.norm_eps};
}

void hy__mix_open(const hy__call *c, const hy__mix *m) {
    const hy__linear_args in = in_proj(c, m);
    const hy__conv_args cv = conv(c, m);
    hy__linear(c->be, &in);
    c->be->kernels.conv(c->be, &cv);
}

void hy__mix_open_backward(const hy__call *c, const hy__mix *m) {
    hy__conv_args cv = conv(c, m);
    cv.dy = c->buf[HY__MIX_DCONV];
    cv.dx = hy__at(c->buf[HY__MIX_DZX], m->z);
    cv.dw = c->grad[HY__MIX_CONV_W];
    cv.dbias = c->grad[HY__MIX_CONV_B];
    cv.dstate_in = c->dstate_in[HY__MIX_CONV_STATE];
    cv.dstate_out = c->dstate_out[HY__MIX_CONV_STATE];
    c->be->kernels.conv_backward(c->be, &cv);

    hy__linear_args in = in_proj(c, m);
    in.dy = c->buf[HY__MIX_DZX];
    in.dx = c->dx;
    in.dw = c->grad[HY__MIX_IN_PROJ];
    hy__linear_backward(c->be, &in);
}

void hy__mix_close(const hy__call *c, const hy__mix *m) {
    const hy__gated_norm_args norm = gated_norm(c, m);
    const hy__linear_args out = out_proj(c, m);
    c->be->kernels.gated_norm(c->be, &norm);
    hy__linear(c->be, &out);
}

void hy__mix_close_backward(const hy__call *c, const hy__mix *m) {
    const hy__conv_args cv = conv(c, m);
    hy__gated_norm_args norm = gated_norm(c, m);
    c->be->kernels.conv(c->be, &cv); /* the letter's own backward reads it */
    c->be->kernels.gated_norm(c->be, &norm);

    hy__linear_args out = out_proj(c, m);
    out.dy = c->dy;
    out.dx = c->buf[HY__MIX_DYN];
    out.dw = c->grad[HY__MIX_OUT_PROJ];
    hy__linear_backward(c->be, &out);

    norm.dy = c->buf[HY__MIX_DYN];
    norm.dx = c->buf[HY__MIX_DY];
    norm.dz = c->buf[HY__MIX_DZX];
    norm.dw = c->grad[HY__MIX_NORM];
    c->be->kernels.gated_norm_backward(c->be, &norm);
}
