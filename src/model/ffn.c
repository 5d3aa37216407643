/* ffn.c: F, the dense feed-forward layer (SwiGLU, arXiv 2002.05202):
 * down(SiLU(gate x) · up x), f = d_ff. No state. */
#include "model/component.h"

enum { GATE_UP, DOWN };
enum {
    U,  /* [N, 2f] gate and up */
    H,  /* [N, f] */
    DH, /* [N, f] */
    DU, /* [N, 2f] */
};

static void declare(const hy__config *c, hy__decl *d) {
    const int64_t width = c->model.d_model, f = c->ffn.d_ff;
    hy__declare(d, GATE_UP, "mixer.gate_up.weight", HY__GROUP_MATRIX, HY__INIT_LINEAR, 0, 2,
                (int64_t[]){2 * f, width});
    hy__declare(d, DOWN, "mixer.down.weight", HY__GROUP_MATRIX, HY__INIT_OUTPUT, 0, 2,
                (int64_t[]){width, f});
}

static void plan(const hy__config *c, const hy__rows *rows, hy__plan *p) {
    const int64_t n = rows->n_row, f = c->ffn.d_ff;
    hy__plan_real(p, U, HY__LIFE_KEEP, n * 2 * f);
    hy__plan_real(p, H, HY__LIFE_KEEP, n * f);
    hy__plan_real(p, DH, HY__LIFE_BACKWARD, n * f);
    hy__plan_real(p, DU, HY__LIFE_BACKWARD, n * 2 * f);
}

static void cost(const hy__config *c, hy__cost *cost) {
    hy__cost_linear(cost, "gate, up, down", "6·d·f", HY__PER_TOKEN, 3 * c->ffn.d_ff,
                    c->model.d_model);
}

static hy__linear_args gate_up(const hy__call *c) {
    return (hy__linear_args){.y = c->buf[U],
                             .x = c->x,
                             .w = c->param[GATE_UP],
                             .n_row = c->rows->n_row,
                             .out = 2 * c->cfg->ffn.d_ff,
                             .in = c->cfg->model.d_model,
                             .prec = c->prec,
                             .room = c->room};
}

static hy__linear_args down(const hy__call *c) {
    return (hy__linear_args){.y = c->y,
                             .x = c->buf[H],
                             .w = c->param[DOWN],
                             .n_row = c->rows->n_row,
                             .out = c->cfg->model.d_model,
                             .in = c->cfg->ffn.d_ff,
                             .prec = c->prec,
                             .room = c->room};
}

static hy__swiglu_args swiglu(const hy__call *c) {
    return (hy__swiglu_args){
        .h = c->buf[H], .u = c->buf[U], .n_row = c->rows->n_row, .f = c->cfg->ffn.d_ff};
}

static void forward(const hy__call *c) {
    const hy__linear_args up = gate_up(c), out = down(c);
    const hy__swiglu_args act = swiglu(c);
    hy__linear(c->be, &up);
    c->be->kernels.swiglu(c->be, &act);
    hy__linear(c->be, &out);
}

static void backward(const hy__call *c) {
    hy__linear_args out = down(c);
    out.dy = c->dy;
    out.dx = c->buf[DH];
    out.dw = c->grad[DOWN];
    hy__linear_backward(c->be, &out);

    hy__swiglu_args act = swiglu(c);
    act.dh = c->buf[DH];
    act.du = c->buf[DU];
    c->be->kernels.swiglu_backward(c->be, &act);

    hy__linear_args up = gate_up(c);
    up.dy = c->buf[DU];
    up.dx = c->dx;
    up.dw = c->grad[GATE_UP];
    hy__linear_backward(c->be, &up);
}

const hy__component hy__ffn = {.letter = 'F',
                               .name = "feed-forward",
                               .blueprint = "dense FFN",
                               .gate = 1.0,
                               .declare = declare,
                               .plan = plan,
                               .cost = cost,
                               .forward = forward,
                               .backward = backward};
