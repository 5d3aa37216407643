/* test_norm.c: norms, gates and row kernels of every backend against ref64; their gradients against
 * finite differences. */
#include "support/case.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

/* Sums of some hundred fp32 products of order one round to about 1e-6 of the largest result; exp in
 * simd.h is exact to 1e-7. */
static const double TOL = 1e-5;

static const hy__kernels *kernels(const op_case *t) {
    return &t->b->be->kernels;
}

static void check(const char *what, op_case_fn *fn, const void *shape) {
    op_check(what, fn, shape, TOL);
    op_check_grad(what, fn, shape);
}

/* ---- rmsnorm, gated_norm ---- */

/* Larger than in a model: at dim 1 the gradient is eps alone, and must not drown in rounding. */
static const double EPS = 0.01;

typedef struct norm_shape {
    int64_t n_row, n_head, dim, ldx;
    double scale;
    bool weighted, dx_add;
} norm_shape;

static void case_rmsnorm(op_case *t) {
    const norm_shape *s = t->shape;
    const int64_t dense = s->n_head * s->dim;
    hy__rmsnorm_args a = {
        .x = op_in(t, "x", s->n_row * (s->ldx ? s->ldx : dense), 2.0),
        .y = op_out(t, "y", s->n_row * dense),
        .rstd = op_nan(t->b, s->n_row * s->n_head),
        .n_row = s->n_row,
        .n_head = s->n_head,
        .dim = s->dim,
        .ldx = s->ldx,
        .eps = EPS,
        .scale = s->scale,
        .dx_add = s->dx_add,
    };
    if (s->weighted) a.w = op_in(t, "w", s->dim, 1.0);
    kernels(t)->rmsnorm(t->b->be, &a);
    a.dy = op_dout(t, "y");
    a.dx = s->dx_add ? op_din_add(t, "x") : op_din(t, "x");
    if (s->weighted) a.dw = op_din_add(t, "w");
    kernels(t)->rmsnorm_backward(t->b->be, &a);
}

static void test_rmsnorm(void **state) {
    (void)state;
    static const norm_shape SHAPES[] = {
        {1, 1, 1, 0, 0, true, false},       {3, 1, 63, 0, 0, true, false},
        {257, 1, 64, 0, 0, true, true},     {63, 1, 257, 300, 0, true, true},
        {5, 3, 16, 77, 0.25, false, false}, {65, 2, 33, 0, 0.3, true, false},
        {400, 1, 128, 0, 0, true, false},
    };
    for (size_t i = 0; i < sizeof SHAPES / sizeof *SHAPES; i++)
        check("rmsnorm", case_rmsnorm, &SHAPES[i]);
}

typedef struct gated_shape {
    int64_t n_row, dim, group, ldz;
} gated_shape;

static void case_gated_norm(op_case *t) {
    const gated_shape *s = t->shape;
    hy__gated_norm_args a = {
        .x = op_in(t, "x", s->n_row * s->dim, 2.0),
        .z = op_in(t, "z", s->n_row * (s->ldz ? s->ldz : s->dim), 3.0),
        .w = op_in(t, "w", s->dim, 1.0),
        .y = op_out(t, "y", s->n_row * s->dim),
        .n_row = s->n_row,
        .dim = s->dim,
        .group = s->group,
        .ldz = s->ldz,
        .eps = EPS,
    };
    kernels(t)->gated_norm(t->b->be, &a);
    a.dy = op_dout(t, "y");
    a.dx = op_din(t, "x");
    a.dz = op_din(t, "z");
    a.dw = op_din_add(t, "w");
    kernels(t)->gated_norm_backward(t->b->be, &a);
}

static void test_gated_norm(void **state) {
    (void)state;
    static const gated_shape SHAPES[] = {
        {1, 1, 1, 0}, {3, 63, 63, 0}, {63, 257, 257, 300}, {257, 96, 32, 100}, {9, 63, 9, 0},
    };
    for (size_t i = 0; i < sizeof SHAPES / sizeof *SHAPES; i++)
        check("gated_norm", case_gated_norm, &SHAPES[i]);
}

/* ---- residual, swiglu, row_gate ---- */

typedef struct flat_shape {
    int64_t n, dim;
    bool in_place;
    double scale; /* of residual */
} flat_shape;

static void case_residual(op_case *t) {
    const flat_shape *s = t->shape;
    hy__residual_args a = {.x = op_in(t, "x", s->n, 1.0),
                           .y = op_in(t, "y", s->n, 1.0),
                           .g = op_in(t, "g", 1, 1.0),
                           .n = s->n,
                           .scale = s->scale};
    a.out = s->in_place ? op_out_from(t, "out", "x") : op_out(t, "out", s->n);
    if (s->in_place) a.x = a.out;
    kernels(t)->residual(t->b->be, &a);
    a.dout = op_dout(t, "out");
    a.dy = op_din(t, "y");
    a.dg = op_din_add(t, "g");
    kernels(t)->residual_backward(t->b->be, &a);
}

/* x made again, beside what the kernel gave and in its place. */
static void case_residual_again(op_case *t) {
    const flat_shape *s = t->shape;
    hy__residual_args a = {.x = op_in(t, "x", s->n, 1.0),
                           .out = op_out(t, "out", s->n),
                           .y = op_in(t, "y", s->n, 1.0),
                           .g = op_in(t, "g", 1, 1.0),
                           .dout = op_in(t, "dout", s->n, 1.0),
                           .dy = op_out(t, "dy", s->n),
                           .dg = op_out_add(t, "dg", 1),
                           .n = s->n,
                           .scale = s->scale};
    kernels(t)->residual(t->b->be, &a);
    a.x_again = s->in_place ? a.out : op_out(t, "x_again", s->n);
    kernels(t)->residual_backward(t->b->be, &a);
}

static void case_swiglu(op_case *t) {
    const flat_shape *s = t->shape;
    hy__swiglu_args a = {.u = op_in(t, "u", s->n * 2 * s->dim, 3.0),
                         .h = op_out(t, "h", s->n * s->dim),
                         .n_row = s->n,
                         .f = s->dim};
    kernels(t)->swiglu(t->b->be, &a);
    a.dh = op_dout(t, "h");
    a.du = op_din(t, "u");
    kernels(t)->swiglu_backward(t->b->be, &a);
}

static void case_row_gate(op_case *t) {
    const flat_shape *s = t->shape;
    hy__row_gate_args a = {
        .x = op_in(t, "x", s->n * s->dim, 1.0),
        .s = op_in(t, "s", s->n, 2.0),
        .bias = op_in(t, "bias", 1, 1.0),
        .y = op_out(t, "y", s->n * s->dim),
        .n_row = s->n,
        .dim = s->dim,
    };
    kernels(t)->row_gate(t->b->be, &a);
    a.dy = op_dout(t, "y");
    a.dx = op_din(t, "x");
    a.ds = op_din(t, "s");
    a.dbias = op_din_add(t, "bias");
    kernels(t)->row_gate_backward(t->b->be, &a);
}

static const flat_shape FLAT[] = {
    {1, 1, false, 0}, {63, 257, true, 0.25},  {257, 63, false, 1},
    {5, 16, true, 0}, {300, 300, false, 0.7},
};

static void test_flat(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof FLAT / sizeof *FLAT; i++) {
        check("residual", case_residual, &FLAT[i]);
        op_check("residual", case_residual_again, &FLAT[i], TOL);
        check("swiglu", case_swiglu, &FLAT[i]);
        check("row_gate", case_row_gate, &FLAT[i]);
    }
    static const flat_shape LONG = {100001, 0, true, 0.1};
    op_check("residual", case_residual, &LONG, TOL);
}

/* The statistic has no gradient, so it has a case of its own. */
static void case_gate_sum(op_case *t) {
    const flat_shape *s = t->shape;
    const hy__row_gate_args a = {
        .x = op_in(t, "x", s->n * s->dim, 1.0),
        .s = op_in(t, "s", s->n, 2.0),
        .bias = op_in(t, "bias", 1, 1.0),
        .y = op_out(t, "y", s->n * s->dim),
        .gate_sum = op_out_add(t, "gate_sum", 1),
        .n_row = s->n,
        .dim = s->dim,
    };
    kernels(t)->row_gate(t->b->be, &a);
}

static void test_gate_sum(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof FLAT / sizeof *FLAT; i++)
        op_check("row_gate", case_gate_sum, &FLAT[i], TOL);
}

/* ---- rope ---- */

typedef struct rope_shape {
    int64_t n_head, dim, ldx;
} rope_shape;

static void case_rope(op_case *t) {
    const rope_shape *s = t->shape;
    static const hy__seq SEQ[] = {{0, 1, 0, 0}, {1, 66, 0, 0}, {67, 3, 1000, 0}, {70, 130, 7, 0}};
    static const hy__rows ROWS = {200, 4, SEQ};
    (void)op_in(t, "x", ROWS.n_row * (s->ldx ? s->ldx : s->n_head * s->dim), 1.0);
    hy__rope_args a = {.x = op_out_from(t, "y", "x"),
                       .rows = &ROWS,
                       .n_head = s->n_head,
                       .dim = s->dim,
                       .ldx = s->ldx,
                       .theta = 10000.0};
    kernels(t)->rope(t->b->be, &a);
    a.x = op_din_from(t, "x", "y");
    a.inverse = true;
    kernels(t)->rope(t->b->be, &a);
}

static void test_rope(void **state) {
    (void)state;
    static const rope_shape SHAPES[] = {{1, 2, 0}, {3, 64, 0}, {2, 34, 100}};
    for (size_t i = 0; i < sizeof SHAPES / sizeof *SHAPES; i++)
        check("rope", case_rope, &SHAPES[i]);
}

/* ---- embed, copy ---- */

typedef struct embed_shape {
    int64_t n_row, dim, vocab;
    bool bf16;
} embed_shape;

static void case_embed(op_case *t) {
    const embed_shape *s = t->shape;
    int32_t *token = malloc((size_t)s->n_row * sizeof *token);
    for (int64_t r = 0; r < s->n_row; r++)
        token[r] = (int32_t)(r * r * 31 % s->vocab); /* repeats */
    hy__embed_args a = {.token = op_put_i32(t->b, token, s->n_row),
                        .x = op_out(t, "x", s->n_row * s->dim),
                        .n_row = s->n_row,
                        .dim = s->dim,
                        .vocab = s->vocab};
    free(token);
    a.table = s->bf16 ? op_in_bf16(t, "table", s->vocab * s->dim, 1.0)
                      : op_in(t, "table", s->vocab * s->dim, 1.0);
    kernels(t)->embed(t->b->be, &a);
    if (s->bf16) return; /* bf16 models do not train */
    a.dx = op_dout(t, "x");
    a.dtable = op_din_add(t, "table");
    kernels(t)->embed_backward(t->b->be, &a);
}

static void test_embed(void **state) {
    (void)state;
    static const embed_shape SHAPES[] = {
        {1, 1, 1, false},      {63, 257, 11, false}, {257, 63, 300, false},
        {400, 128, 50, false}, {63, 257, 11, true},
    };
    for (size_t i = 0; i < sizeof SHAPES / sizeof *SHAPES; i++) {
        op_check("embed", case_embed, &SHAPES[i], TOL);
        if (!SHAPES[i].bf16) op_check_grad("embed", case_embed, &SHAPES[i]);
    }
}

/* All pairs of dtypes. Sums of two numbers round once, to fp32 or to bf16. */
static void case_copy(op_case *t) {
    const flat_shape *s = t->shape;
    hy__backend *be = t->b->be;
    const int64_t n = s->n;
    const hy__tensor x = op_in(t, "x", n, 1.0), h = op_in_bf16(t, "h", n, 1.0);
    const hy__tensor half = op_in_bf16(t, "overwritten", n, 1.0);
    kernels(t)->copy(be, &(hy__copy_args){.dst = op_out(t, "same", n), .src = x, .n = n});
    kernels(t)->copy(
        be, &(hy__copy_args){.dst = op_out_add(t, "sum", n), .src = x, .n = n, .add = true});
    kernels(t)->copy(be, &(hy__copy_args){.dst = op_out(t, "wide", n), .src = h, .n = n});
    kernels(t)->copy(be, &(hy__copy_args){.dst = half, .src = x, .n = n});
    kernels(t)->copy(be, &(hy__copy_args){.dst = op_out(t, "half", n), .src = half, .n = n});
    kernels(t)->copy(be, &(hy__copy_args){.dst = half, .src = h, .n = n});
    kernels(t)->copy(be, &(hy__copy_args){.dst = half, .src = h, .n = n, .add = true});
    kernels(t)->copy(be, &(hy__copy_args){.dst = op_out(t, "twice", n), .src = half, .n = n});
}

static void test_copy(void **state) {
    (void)state;
    static const flat_shape SHAPES[] = {
        {1, 0, false, 0}, {63, 0, false, 0}, {257, 0, false, 0}, {100003, 0, false, 0}};
    for (size_t i = 0; i < sizeof SHAPES / sizeof *SHAPES; i++)
        op_check("copy", case_copy, &SHAPES[i], 1e-7);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rmsnorm), cmocka_unit_test(test_gated_norm),
        cmocka_unit_test(test_flat),    cmocka_unit_test(test_gate_sum),
        cmocka_unit_test(test_rope),    cmocka_unit_test(test_embed),
        cmocka_unit_test(test_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
