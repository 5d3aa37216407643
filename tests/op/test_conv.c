/* test_conv.c: the causal convolution of every backend against ref64, its gradients against finite
 * differences, and a sequence cut into pieces against the whole. */
#include "support/case.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

/* A few products of order one and a sigmoid; dw sums some hundred of them: rounding stays near
 * 1e-6. */
static const double TOL = 1e-5;

enum { N_SEQ = 6 };

/* Ragged, with pieces shorter than the width; the first and third start fresh, without a state, and
 * the fourth leaves none. */
static const hy__seq SEQ[N_SEQ] = {
    {0, 1, 0, 0}, {1, 2, 5, 0}, {3, 67, 0, 0}, {70, 1, 9, 0}, {71, 130, 64, 0}, {201, 3, 1, 0},
};
static const hy__rows ROWS = {204, N_SEQ, SEQ};

typedef struct conv_shape {
    int64_t ch, width, ldx;
    bool in_place;
} conv_shape;

static const char *const IN[N_SEQ] = {"s0", "s1", "s2", "s3", "s4", "s5"};
static const char *const OUT[N_SEQ] = {"t0", "t1", "t2", "t3", "t4", "t5"};

static void case_conv(op_case *t) {
    const conv_shape *s = t->shape;
    const hy__kernels *k = &t->b->be->kernels;
    const int64_t ld = s->ldx ? s->ldx : s->ch, n_state = (s->width - 1) * s->ch;
    hy__tensor in[N_SEQ] = {0}, out[N_SEQ] = {0}, din[N_SEQ] = {0}, dout[N_SEQ] = {0};
    for (int q = 0; q < N_SEQ && n_state; q++) {
        const bool fresh = q == 0 || q == 2;
        if (!fresh) in[q] = op_in(t, IN[q], n_state, 1.0);
        if (q == 3) continue;
        const bool same = s->in_place && !fresh;
        out[q] = same ? op_out_from(t, OUT[q], IN[q]) : op_out(t, OUT[q], n_state);
        if (same) in[q] = out[q];
    }
    hy__conv_args a = {
        .x = op_in(t, "x", ROWS.n_row * ld, 1.0),
        .w = op_in(t, "w", s->ch * s->width, 1.0),
        .bias = op_in(t, "bias", s->ch, 1.0),
        .y = op_out(t, "y", ROWS.n_row * s->ch),
        .rows = &ROWS,
        .state_in = in,
        .state_out = out,
        .ch = s->ch,
        .width = s->width,
        .ldx = s->ldx,
    };
    k->conv(t->b->be, &a);
    if (s->in_place) return; /* the state that the backward needs is gone */
    for (int q = 0; q < N_SEQ; q++) {
        if (hy__present(in[q])) din[q] = op_din(t, IN[q]);
        if (hy__present(out[q])) dout[q] = op_dout(t, OUT[q]);
    }
    a.dy = op_dout(t, "y");
    a.dx = op_din(t, "x");
    a.dw = op_din_add(t, "w");
    a.dbias = op_din_add(t, "bias");
    a.dstate_in = din;
    a.dstate_out = dout;
    k->conv_backward(t->b->be, &a);
}

static void test_conv(void **state) {
    (void)state;
    static const conv_shape SHAPES[] = {
        {1, 4, 0, false},   {63, 4, 0, false},   {257, 4, 300, false},
        {64, 4, 70, false}, {33, 3, 0, false},   {20, 1, 0, false},
        {48, 7, 50, false}, {257, 4, 300, true}, {63, 4, 0, true},
    };
    for (size_t i = 0; i < sizeof SHAPES / sizeof *SHAPES; i++) {
        op_check("conv", case_conv, &SHAPES[i], TOL);
        if (!SHAPES[i].in_place) op_check_grad("conv", case_conv, &SHAPES[i]);
    }
}

enum { CH = 37, LEN = 40, WIDTH = 4 };

/* The sequence x in pieces of `piece` tokens, the state carried from one to the next. */
static void convolve(op_bench *b, hy__tensor y, hy__tensor x, hy__tensor w, hy__tensor bias,
                     int64_t piece) {
    hy__tensor carried = op_nan(b, (WIDTH - 1) * CH);
    for (int64_t at = 0; at < LEN; at += piece) {
        const hy__seq seq = {0, at + piece < LEN ? piece : LEN - at, at, 0};
        const hy__rows rows = {seq.len, 1, &seq};
        const hy__conv_args a = {
            .x = hy__at(x, at * CH),
            .y = hy__at(y, at * CH),
            .w = w,
            .bias = bias,
            .rows = &rows,
            .state_in = at ? &carried : NULL,
            .state_out = &carried,
            .ch = CH,
            .width = WIDTH,
        };
        b->be->kernels.conv(b->be, &a);
    }
}

/* Any cut gives the same bits: an output depends on its own inputs alone. */
static void test_pieces(void **state) {
    (void)state;
    double *hx = op_random(1, LEN * CH, 1.0), *hw = op_random(2, CH * WIDTH, 1.0);
    double *hb = op_random(3, CH, 1.0);
    double *whole = malloc(LEN * CH * sizeof *whole), *cut = malloc(LEN * CH * sizeof *cut);
    for (const char *const *name = hy__backend_names(); *name; name++) {
        op_bench b;
        op_open(&b, *name, 2);
        const hy__tensor x = op_put(&b, hx, LEN * CH), w = op_put(&b, hw, CH * WIDTH);
        const hy__tensor bias = op_put(&b, hb, CH), y = op_nan(&b, LEN * CH);
        convolve(&b, y, x, w, bias, LEN);
        op_get(&b, whole, y, LEN * CH);
        for (int64_t piece = 1; piece < 6; piece++) {
            const hy__tensor z = op_nan(&b, LEN * CH);
            convolve(&b, z, x, w, bias, piece);
            op_get(&b, cut, z, LEN * CH);
            op_expect("conv in pieces", *name, whole, cut, LEN * CH, 0);
        }
        op_close(&b);
    }
    free(hx);
    free(hw);
    free(hb);
    free(whole);
    free(cut);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_conv), cmocka_unit_test(test_pieces)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
