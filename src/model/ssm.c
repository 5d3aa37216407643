/* ssm.c: S, the state space layer (Mamba-2, arXiv 2405.21060); docs/model.md.
 *
 *   z, xBC, dt = in_proj(x);  x, B, C = SiLU(conv(xBC));  y = ssd(x, B, C, dt)
 *   out_proj(RMSNorm(y·SiLU(z)))
 * I = expand·d inner width, H = I/P heads of width P, N state size, G groups; the convolution has
 * I + 2GN channels. Names and layout are those of Hugging Face's Mamba2ForCausalLM. */
#include "model/conv_mixer.h"

enum { DT_BIAS = HY__MIX_PARAM_N, A_LOG, D };
enum { H_STATE = HY__MIX_STATE_N };
enum { CHUNK_STATE = HY__MIX_BUF_N };

typedef struct dims {
    int64_t inner, head, bc;
    hy__mix mix; /* rest: dt */
} dims;

static dims dims_of(const hy__config *c) {
    dims m = {.inner = c->ssm.expand * c->model.d_model};
    m.head = m.inner / c->ssm.head_dim;
    m.bc = c->ssm.n_group * c->ssm.d_state;
    m.mix = (hy__mix){.z = m.inner,
                      .conv = m.inner + 2 * m.bc,
                      .rest = m.head,
                      .taps = c->ssm.d_conv,
                      .group = m.inner / c->ssm.n_group};
    return m;
}

static void declare(const hy__config *c, hy__decl *d) {
    const dims m = dims_of(c);
    hy__mix_declare(d, c, &m.mix);
    hy__declare(d, DT_BIAS, "mixer.dt_bias", HY__GROUP_VECTOR, HY__INIT_DT_BIAS, 0, 1, &m.head);
    hy__declare(d, A_LOG, "mixer.A_log", HY__GROUP_VECTOR, HY__INIT_A_LOG, 0, 1, &m.head);
    hy__declare(d, D, "mixer.D", HY__GROUP_VECTOR, HY__INIT_CONST, 1, 1, &m.head);
    hy__declare_state(d, H_STATE, "h", m.inner * c->ssm.d_state, 0);
}

static void plan(const hy__config *c, const hy__rows *rows, hy__plan *p) {
    const dims m = dims_of(c);
    hy__mix_plan(p, rows->n_row, &m.mix);
    hy__plan_real(p, CHUNK_STATE, HY__LIFE_TRAIN,
                  hy__rows_units(rows, HY__SSD_KEPT * c->model.chunk) * m.inner * c->ssm.d_state);
}

static void cost(const hy__config *c, hy__cost *cost) {
    const dims m = dims_of(c);
    const double inner = (double)m.inner, bc = (double)m.bc;
    const double state = 2.0 * inner * (double)c->ssm.d_state;
    hy__mix_cost(cost, c, &m.mix,
                 (hy__mix_formulas){"2·d·(2I + 2GN + H)", "2·K·(I + 2GN)", "2·I·d"});
    hy__cost_add(cost, (hy__term){.what = "state",
                                  .formula = "4·I·N",
                                  .why = "the state takes Δx⊗B in and gives h·C out; backward the "
                                         "gradients of x, B, C and h",
                                  .per = HY__PER_TOKEN,
                                  .forward = 2 * state,
                                  .backward = 4 * state});
    hy__cost_add(cost, (hy__term){.what = "chunk",
                                  .formula = "2·(GN + I)",
                                  .why = "C·B of each group and its product with x; backward C·B "
                                         "again, its gradient by y and x, its product with y, and "
                                         "those with B and with C: 6GN + 4I",
                                  .per = HY__PER_CHUNK_PAIR,
                                  .forward = 2 * (bc + inner),
                                  .backward = 6 * bc + 4 * inner});
}

static hy__ssd_args ssd(const hy__call *c, const dims *m) {
    const hy__tensor xbc = c->buf[HY__MIX_CONV];
    return (hy__ssd_args){.y = c->buf[HY__MIX_Y],
                          .x = xbc,
                          .b = hy__at(xbc, m->inner),
                          .c = hy__at(xbc, m->inner + m->bc),
                          .dt = hy__at(c->buf[HY__MIX_ZX], hy__mix_rest(&m->mix)),
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
                          .ldx = m->mix.conv,
                          .lddt = hy__mix_zx(&m->mix),
                          .prec = c->prec};
}

static void forward(const hy__call *c) {
    const dims m = dims_of(c->cfg);
    const hy__ssd_args s = ssd(c, &m);
    hy__mix_open(c, &m.mix);
    c->be->kernels.ssd(c->be, &s);
    hy__mix_close(c, &m.mix);
}

static void backward(const hy__call *c) {
    const dims m = dims_of(c->cfg);
    const hy__tensor dxbc = c->buf[HY__MIX_DCONV];
    hy__mix_close_backward(c, &m.mix);

    hy__ssd_args s = ssd(c, &m);
    s.dy = c->buf[HY__MIX_DY];
    s.dx = dxbc;
    s.db = hy__at(dxbc, m.inner);
    s.dc = hy__at(dxbc, m.inner + m.bc);
    s.lddx = m.mix.conv;
    s.ddt = hy__at(c->buf[HY__MIX_DZX], hy__mix_rest(&m.mix));
    s.da_log = c->grad[A_LOG];
    s.dd = c->grad[D];
    s.ddt_bias = c->grad[DT_BIAS];
    s.dstate_in = c->dstate_in[H_STATE];
    s.dstate_out = c->dstate_out[H_STATE];
    c->be->kernels.ssd_backward(c->be, &s);

    hy__mix_open_backward(c, &m.mix);
}

const hy__component hy__ssm = {.letter = 'S',
                               .name = "state space",
                               .blueprint = "SSM backbone",
                               .gate = 1.0,
                               .declare = declare,
                               .plan = plan,
                               .cost = cost,
                               .forward = forward,
                               .backward = backward};
