/* muon.c: Muon's update of a matrix by kernel calls, and what it takes (component.h).
 *
 * The momentum's direction U [r,c] is replaced by about the nearest orthogonal matrix, U(UᵀU)^-1/2:
 * from X = U/‖U‖, five times
 *   X <- (a·I + b·G + c·G²) X,  G = X Xᵀ    (r <= c; else X (…) with G = XᵀX)
 * which moves every singular value in (0,1] towards 1: with these coefficients quickly, and to
 * within 0.7 … 1.2 only, which is as good (Jordan 2024, kellerjordan.github.io/posts/muon). Its
 * elements' root mean square is 1/sqrt(max(r,c)); times 0.2·sqrt(max(r,c)) it is that of AdamW's
 * updates, so that rate and decay are AdamW's (Moonlight, arXiv 2502.16982). */
#include "model/component.h"

#include <math.h>

enum { TIMES = 5 };
/* The shorter side from which on products in bf16 are worth the narrowing of their operands: an
 * update of nano (d_model 128) takes 16 ms in fp32 and 39 in bf16, of one of d_model 192 about 48
 * and 35 (two Zen 5 cores, 2026-11-21). */
enum { NARROW_FROM = 192 };
static const double A = 3.4445, B = -4.7750, C = 2.0315;
static const double RMS = 0.2;

static int64_t less(const hy__matrices *m) {
    return m->rows < m->cols ? m->rows : m->cols;
}

static int64_t more(const hy__matrices *m) {
    return m->rows < m->cols ? m->cols : m->rows;
}

hy__matrices hy__muon_matrices(const hy__param_decl *d, hy__optimizer o) {
    if (o != HY__OPTIMIZER_MUON || d->group != HY__GROUP_MATRIX || d->n_dim < 2)
        return (hy__matrices){0};
    hy__matrices m = {.n = 1, .rows = d->shape[d->n_dim - 2], .cols = d->shape[d->n_dim - 1]};
    for (int i = 0; i + 2 < d->n_dim; i++) m.n *= d->shape[i];
    return m;
}

/* Scratch: X and the product that replaces it, [r,c] each; G and G², [s,s] each. */
size_t hy__muon_scratch(const hy__matrices *m, hy__dtype real) {
    const int64_t s = less(m);
    if (m->n == 0) return 0;
    return 2 * hy__tensor_bytes(real, m->rows * m->cols) + 2 * hy__tensor_bytes(real, s * s);
}

double hy__muon_flops(const hy__matrices *m) {
    const double s = (double)less(m), l = (double)more(m);
    return (double)m->n * TIMES * (4 * s * s * l + 2 * s * s * s);
}

/* Each kernel's operands: momentum g, m twice, u; G: X twice, G; G²: G twice, G²; the polynomial:
 * both, one written; X: the polynomial, X and its successor; the weights twice, and u. */
double hy__muon_moved(const hy__matrices *m) {
    const double s = (double)less(m), l = (double)more(m);
    return (double)m->n * (4 * s * l + TIMES * (4 * s * l + 8 * s * s) + 3 * s * l);
}

/* X, of the shape of one matrix, about orthogonal; `other` and the rest are scratch. Returns where
 * it lies at the end. */
static hy__tensor orthogonal(const hy__muon_args *a, hy__tensor x, hy__tensor other, hy__tensor g,
                             hy__tensor g2) {
    hy__backend *be = a->be;
    const int64_t r = a->at.rows, c = a->at.cols, s = less(&a->at), l = more(&a->at);
    const bool wide = r <= c;
    const hy__prec prec = s < NARROW_FROM ? HY__PREC_FP32 : a->prec;
    for (int i = 0; i < TIMES; i++) {
        be->kernels.gemm(be, &(hy__gemm_args){.c = g,
                                              .a = x,
                                              .b = x,
                                              .m = s,
                                              .n = s,
                                              .k = l,
                                              .ta = !wide,
                                              .tb = wide,
                                              .prec = prec});
        be->kernels.gemm(
            be, &(hy__gemm_args){.c = g2, .a = g, .b = g, .m = s, .n = s, .k = s, .prec = prec});
        be->kernels.polynomial(
            be, &(hy__polynomial_args){.p = g2, .x = g, .y = g2, .n = s, .a = A, .b = B, .c = C});
        be->kernels.gemm(be, &(hy__gemm_args){.c = other,
                                              .a = wide ? g2 : x,
                                              .b = wide ? x : g2,
                                              .m = r,
                                              .n = c,
                                              .k = s,
                                              .prec = prec});
        const hy__tensor next = other;
        other = x;
        x = next;
    }
    return x;
}

void hy__muon_update(const hy__muon_args *a) {
    hy__backend *be = a->be;
    const int64_t size = a->at.rows * a->at.cols, s = less(&a->at);
    const hy__dtype real = a->scratch.dtype;
    hy__tensor x = a->scratch, other = x, g, g2;
    other.off += hy__tensor_bytes(real, size);
    g = other, g.off += hy__tensor_bytes(real, size);
    g2 = g, g2.off += hy__tensor_bytes(real, s * s);
    for (int64_t e = 0; e < a->at.n; e++) {
        be->kernels.momentum(be, &(hy__momentum_args){.u = x,
                                                      .m = hy__at(a->m, e * size),
                                                      .g = hy__at(a->g, e * size),
                                                      .n = size,
                                                      .beta = a->momentum,
                                                      .g_scale = a->g_scale});
        be->kernels.axpby(be, &(hy__axpby_args){.y = hy__at(a->p, e * size),
                                                .x = orthogonal(a, x, other, g, g2),
                                                .n = size,
                                                .a = 1.0 - a->lr * a->weight_decay,
                                                .b = -a->lr * RMS * sqrt((double)more(&a->at))});
    }
}
