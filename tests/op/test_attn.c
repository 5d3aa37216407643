/* test_attn.c: sparse attention against a dumb implementation of its rule, finite differences, and
 * the laws: any split gives the same, unread memory does not matter, equal runs give equal bits. */
#include "support/attn_case.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* fp32 against fp64, relative to the largest element: sums of up to 400 terms of random sign lose
 * about sqrt(400)·6e-8 = 1.2e-6; the gradients of keys sum over queries and heads too. */
static double tol_forward(const op_bench *b) {
    return b->be->real == HY__DTYPE_F64 ? 1e-13 : 3e-6;
}
static double tol_backward(const op_bench *b) {
    return b->be->real == HY__DTYPE_F64 ? 1e-13 : 1e-5;
}

static void check_forward(op_bench *b, const attn_case *c) {
    attn_host x = attn_host_new(c, 1);
    attn_answer want = attn_answer_new(c, &x);
    attn_batch s;
    attn_batch_put(&s, b, c, &x, (attn_options){0});
    const hy__kernels *k = &b->be->kernels;
    k->attn_select(b->be, &s.a);
    const int64_t n_select = s.rows.n_row * c->n_kv * c->topk;
    int32_t *select = malloc((size_t)n_select * sizeof *select + 1);
    op_get_i32(b, select, s.a.select, n_select);
    for (int64_t i = 0; i < n_select; i++)
        if (select[i] != want.select[i])
            fail_msg("%s on %s: choice %d is block %d, wanted %d", c->what, b->be->isa, (int)i,
                     (int)select[i], (int)want.select[i]);
    free(select);

    b->be->counters.kv_positions = 0;
    k->attn(b->be, &s.a);
    assert_int_equal(b->be->counters.kv_positions, want.positions);
    const int64_t n_out = s.rows.n_row * c->n_head;
    double *o = attn_batch_get(&s, s.a.o, n_out * c->head_dim),
           *lse = attn_batch_get(&s, s.a.lse, n_out);
    op_expect(c->what, b->be->isa, want.o, o, n_out * c->head_dim, tol_forward(b));
    op_expect(c->what, b->be->isa, want.lse, lse, n_out, tol_forward(b));
    free(o);
    free(lse);
    attn_answer_free(&want);
    attn_host_free(&x);
}

static void test_forward(void **state) {
    (void)state;
    attn_each(attn_cases, check_forward);
}

/* The cache after the piece is the one that a sequence fed at once would have left. */
static void check_append(op_bench *b, const attn_case *c) {
    for (int64_t grow = 0; grow < 3; grow += 2) {
        attn_host x = attn_host_new(c, 2);
        attn_batch s;
        attn_batch_put(&s, b, c, &x, (attn_options){.grow = grow});
        b->be->kernels.kv_append(b->be, &s.a);
        for (int64_t i = 0; i < c->n_seq; i++) {
            const int64_t width = c->n_kv * c->head_dim, n = s.slot_out[i];
            const int64_t size[] = {n * c->chunk * width, n * c->chunk * width, n * width};
            const double *full[] = {x.k[i], x.v[i], x.k[i]};
            const hy__tensor out[] = {s.k_out[i], s.v_out[i], s.sum_out[i]};
            for (int m = 0; m < 3; m++) {
                double *want = attn_cache(c, full[m], x.total[i], n, m == 2);
                double *got = attn_batch_get(&s, out[m], size[m]);
                /* A block that the smaller cache before had dropped is not there: nothing needs it.
                 */
                for (int64_t e = 0; e < size[m]; e++) {
                    const int64_t held = attn_holder(c, e / (size[m] / n), x.total[i], n);
                    const int64_t n_in = c->pos[i] ? s.slot_in[i] : 0;
                    if (held >= 0 && held * c->chunk < c->pos[i] &&
                        (n_in == 1
                             ? held > 0
                             : attn_holder(c, attn_slot(held, n_in), c->pos[i], n_in) != held))
                        want[e] = (double)NAN;
                    if (isnan(want[e]) && isnan(got[e])) want[e] = got[e] = 0;
                }
                op_expect(c->what, b->be->isa, want, got, size[m], m == 2 ? tol_forward(b) : 0);
                free(want);
                free(got);
            }
        }
        attn_host_free(&x);
        op_clear(b);
    }
}

static void test_append(void **state) {
    (void)state;
    attn_each(attn_cases, check_append);
}

/* The batch of a case on ref64 and on another backend, both with the blocks that ref64 selects. */
typedef struct pair {
    op_bench ref; /* closed by the test */
    attn_batch want, got;
} pair;

static void pair_put(pair *p, op_bench *b, const attn_case *c, attn_options options) {
    op_open(&p->ref, "ref64", 1);
    attn_host x = attn_host_new(c, 3);
    attn_batch_put(&p->want, &p->ref, c, &x, options);
    attn_batch_put(&p->got, b, c, &x, options);
    attn_host_free(&x);
    const int64_t n = p->want.rows.n_row * c->n_kv * c->topk;
    int32_t *select = malloc((size_t)n * sizeof *select + 1);
    p->ref.be->kernels.attn_select(p->ref.be, &p->want.a);
    op_get_i32(&p->ref, select, p->want.a.select, n);
    p->got.a.select = op_put_i32(b, select, n);
    free(select);
}

/* Every backend's gradients against the reference in double, with the same selection. */
static void check_backward(op_bench *b, const attn_case *c) {
    pair p;
    pair_put(&p, b, c, (attn_options){0});
    attn_batch_run(&p.want);
    attn_batch_run(&p.got);
    attn_same_gradients(c, &p.want, &p.got, tol_backward(b));
    op_close(&p.ref);
}

static void test_backward(void **state) {
    (void)state;
    attn_each(attn_cases, check_backward);
}

static void test_long(void **state) {
    (void)state;
    attn_each(attn_long, check_forward);
    attn_each(attn_long, check_backward);
}

/* A cache in bf16 holds what is rounded and counts the piece's own rows as rounded: the reference
 * does too, so that fp32's bound stays. Products in bf16 round q, k, v, p and their gradients, 2^-9
 * each, as dense products do. */
static void compare_narrow(op_bench *b, const attn_case *c, attn_options options) {
    const double tol = options.prec == HY__PREC_BF16 && b->be->has_bf16 ? 1e-2 : tol_forward(b);
    pair p;
    pair_put(&p, b, c, options);
    attn_batch *want = &p.want, *got = &p.got, *both[] = {want, got};
    for (int i = 0; i < 2; i++) {
        both[i]->bench->be->kernels.attn(both[i]->bench->be, &both[i]->a);
        both[i]->bench->be->kernels.kv_append(both[i]->bench->be, &both[i]->a);
    }
    const int64_t n_out = want->rows.n_row * c->n_head;
    attn_same(c->what, want, want->a.o, got, got->a.o, n_out * c->head_dim, tol);
    attn_same(c->what, want, want->a.lse, got, got->a.lse, n_out, tol);
    const double tol_cache = options.half ? 0 : 1e-7;
    for (int64_t i = 0; i < c->n_seq; i++) {
        const int64_t size = want->slot_out[i] * c->chunk * c->n_kv * c->head_dim;
        attn_same(c->what, want, want->k_out[i], got, got->k_out[i], size, tol_cache);
        attn_same(c->what, want, want->v_out[i], got, got->v_out[i], size, tol_cache);
    }
    if (!options.half) {
        attn_batch_run(want);
        attn_batch_run(got);
        attn_same_gradients(c, want, got, tol > 1e-3 ? tol : tol_backward(b));
    }
    op_close(&p.ref);
}

static void check_narrow(op_bench *b, const attn_case *c) {
    const attn_options narrow[] = {
        {.half = true}, {.prec = HY__PREC_BF16}, {.half = true, .prec = HY__PREC_BF16}};
    for (size_t m = 0; m < sizeof narrow / sizeof *narrow; m++) {
        compare_narrow(b, c, narrow[m]);
        op_clear(b);
    }
}

static void test_narrow(void **state) {
    (void)state;
    attn_each(attn_cases, check_narrow);
}

/* L = Σ dout·o + Σ dk_out·k_out + Σ dv_out·v_out on ref64, the selection held fixed. */
typedef struct slope {
    attn_batch *s;
    const attn_case *c;
    double *x;    /* the tensor that is moved */
    hy__tensor t; /* where it lies */
    int64_t n;
} slope;

static double weighted(attn_batch *s, hy__tensor x, hy__tensor w, int64_t n) {
    double *a = attn_batch_get(s, x, n), *b = attn_batch_get(s, w, n), sum = 0;
    for (int64_t i = 0; i < n; i++) sum += isnan(a[i]) ? 0 : a[i] * b[i]; /* NaN: holds nothing */
    free(a);
    free(b);
    return sum;
}

static double loss(void *user) {
    slope *p = user;
    attn_batch *s = p->s;
    hy__tensor_write_f64(s->bench->be, p->t, p->x, p->n);
    s->bench->be->kernels.attn(s->bench->be, &s->a);
    s->bench->be->kernels.kv_append(s->bench->be, &s->a);
    double sum = weighted(s, s->a.o, s->a.dout, s->rows.n_row * p->c->n_head * p->c->head_dim);
    for (int64_t i = 0; i < p->c->n_seq; i++) {
        const int64_t n = s->slot_out[i] * p->c->chunk * p->c->n_kv * p->c->head_dim;
        sum +=
            weighted(s, s->k_out[i], s->dk_out[i], n) + weighted(s, s->v_out[i], s->dv_out[i], n);
    }
    return sum;
}

/* Central differences with h = 1e-4 leave an error of h²·f'''/6, and 1e-16·L/h by rounding: both
 * under 1e-8 of a gradient of size 1. */
static void check_slopes(attn_batch *s, const attn_case *c, hy__tensor t, hy__tensor dt,
                         int64_t n) {
    slope p = {.s = s, .c = c, .x = attn_batch_get(s, t, n), .t = t, .n = n};
    double *got = attn_batch_get(s, dt, n), *want = malloc((size_t)n * sizeof *want);
    for (int64_t i = 0; i < n; i++) want[i] = isnan(p.x[i]) ? 0 : op_slope(loss, &p, &p.x[i], 1e-4);
    (void)loss(&p);
    op_expect(c->what, "ref64", want, got, n, 1e-6);
    free(p.x);
    free(got);
    free(want);
}

static void test_finite_differences(void **state) {
    (void)state;
    static const attn_case SMALL[] = {
        {"slopes, full", 2, 1, 4, 4, 100, 0, 0, 2, {5, 0}, {7, 6}},
        {"slopes, window", 2, 2, 3, 4, 5, 0, 0, 2, {18, 3}, {9, 2}},
        {"slopes, select", 4, 2, 3, 3, 4, 2, 0, 1, {16}, {9}},
        {"slopes, ring", 2, 1, 4, 3, 4, 2, 3, 2, {25, 0}, {13, 8}},
    };
    op_bench b;
    op_open(&b, "ref64", 1);
    for (size_t n = 0; n < sizeof SMALL / sizeof *SMALL; n++)
        for (int64_t grow = 0; grow < 3; grow += 2) {
            const attn_case *c = &SMALL[n];
            attn_host x = attn_host_new(c, 4);
            attn_batch s;
            attn_batch_put(&s, &b, c, &x, (attn_options){.grow = grow});
            b.be->kernels.attn_select(b.be, &s.a);
            attn_batch_run(&s);
            check_slopes(&s, c, s.qkv, s.dqkv, s.rows.n_row * s.a.ldq);
            for (int64_t i = 0; i < c->n_seq; i++) {
                if (c->pos[i] == 0) continue;
                const int64_t size = s.slot_in[i] * c->chunk * c->n_kv * c->head_dim;
                check_slopes(&s, c, s.k_in[i], s.dk_in[i], size);
                check_slopes(&s, c, s.v_in[i], s.dv_in[i], size);
            }
            attn_host_free(&x);
            op_clear(&b);
        }
    op_close(&b);
}

/* A sequence of `c->len[0]` tokens in random pieces, the cache in place, against the same at once.
 */
static void check_split(op_bench *b, const attn_case *c0) {
    attn_case c = *c0;
    c.n_seq = 1;
    c.len[0] += c.pos[0] + 20;
    c.pos[0] = 0;
    attn_host x = attn_host_new(&c, 6);
    attn_batch whole;
    attn_batch_put(&whole, b, &c, &x, (attn_options){0});
    const hy__kernels *k = &b->be->kernels;
    k->attn_select(b->be, &whole.a);
    k->attn(b->be, &whole.a);
    k->kv_append(b->be, &whole.a);

    attn_batch cut = whole; /* same inputs, own outputs */
    const int64_t n = c.len[0], out = n * c.n_head * c.head_dim, width = c.n_kv * c.head_dim;
    const int64_t n_select = n * c.n_kv * c.topk;
    const hy__tensor o = op_nan(b, out), lse = op_nan(b, n * c.n_head);
    const hy__tensor select = op_nan_i32(b, n_select);
    cut.k_in[0] = op_nan(b, cut.slot_out[0] * c.chunk * width);
    cut.v_in[0] = op_nan(b, cut.slot_out[0] * c.chunk * width);
    cut.sum_in[0] = op_nan(b, cut.slot_out[0] * width);
    cut.slot_in[0] = cut.slot_out[0];
    cut.a.k_in = cut.a.k_out = cut.k_in;
    cut.a.v_in = cut.a.v_out = cut.v_in;
    cut.a.ksum_in = cut.a.ksum_out = cut.sum_in;
    cut.a.slot_in = cut.a.slot_out = cut.slot_in;
    cut.a.rows = &cut.rows;
    double *length = op_random(9, n, 1);
    for (int64_t at = 0, piece = 0; at < n; at += cut.seq[0].len, piece++) {
        const int64_t most = piece % 3 ? 5 : 3 * c.chunk;
        const int64_t want = 1 + (int64_t)(fabs(length[piece]) * (double)most);
        cut.seq[0] = (hy__seq){.pos = at, .len = want < n - at ? want : n - at};
        cut.rows = (hy__rows){.n_row = cut.seq[0].len, .n_seq = 1, .seq = cut.seq};
        cut.a.q = hy__at(whole.a.q, at * whole.a.ldq);
        cut.a.k = hy__at(whole.a.k, at * whole.a.ldk);
        cut.a.v = hy__at(whole.a.v, at * whole.a.ldv);
        cut.a.o = hy__at(o, at * c.n_head * c.head_dim);
        cut.a.lse = hy__at(lse, at * c.n_head);
        cut.a.select = hy__at(select, at * c.n_kv * c.topk);
        k->attn_select(b->be, &cut.a);
        k->attn(b->be, &cut.a);
        k->kv_append(b->be, &cut.a);
    }
    free(length);

    int32_t *s1 = malloc((size_t)n_select * 4 + 1), *s2 = malloc((size_t)n_select * 4 + 1);
    op_get_i32(b, s1, whole.a.select, n_select);
    op_get_i32(b, s2, select, n_select);
    assert_memory_equal(s1, s2, (size_t)n_select * 4);
    free(s1);
    free(s2);
    attn_same("split: o", &whole, whole.a.o, &cut, o, out, tol_forward(b));
    attn_same("split: lse", &whole, whole.a.lse, &cut, lse, n * c.n_head, tol_forward(b));
    /* Copies are exact. A slot of the ring may hold an older key above the open block's last row.
     */
    for (int64_t slot = 0; slot < cut.slot_in[0]; slot++) {
        const int64_t held = attn_holder(&c, slot, n, cut.slot_in[0]), filled = n - held * c.chunk;
        const int64_t rows = filled < c.chunk ? filled : c.chunk, at = slot * c.chunk * width;
        if (held < 0) continue;
        attn_same("split: k", &whole, hy__at(whole.k_out[0], at), &cut, hy__at(cut.k_in[0], at),
                  rows * width, 0);
        attn_same("split: v", &whole, hy__at(whole.v_out[0], at), &cut, hy__at(cut.v_in[0], at),
                  rows * width, 0);
        attn_same("split: ksum", &whole, hy__at(whole.sum_out[0], slot * width), &cut,
                  hy__at(cut.sum_in[0], slot * width), width, 0);
    }
    attn_host_free(&x);
}

static void test_split(void **state) {
    (void)state;
    attn_each(attn_cases, check_split);
}

/* NaN in every cached row that no token of the batch attends to changes nothing. */
static void check_unread(op_bench *b, const attn_case *c) {
    attn_host x = attn_host_new(c, 7);
    attn_batch clean, poisoned;
    attn_batch_put(&clean, b, c, &x, (attn_options){0});
    attn_batch_put(&poisoned, b, c, &x, (attn_options){0});
    const hy__kernels *k = &b->be->kernels;
    k->attn_select(b->be, &clean.a);
    k->attn_select(b->be, &poisoned.a);
    const int64_t hd = c->head_dim;
    int32_t *select = malloc((size_t)c->topk * sizeof *select + 1);
    for (int64_t i = 0; i < c->n_seq; i++)
        for (int64_t j = 0; j < c->n_kv; j++) {
            bool *see = malloc((size_t)x.total[i]);
            bool *read = calloc((size_t)(x.total[i] + c->chunk), sizeof *read); /* whole blocks */
            for (int64_t t = c->pos[i]; t < x.total[i]; t++) {
                attn_see(c, &x, i, t, j, see, select);
                for (int64_t s = 0; s < c->pos[i]; s++) read[s] = read[s] || see[s];
            }
            for (int64_t slot = 0; c->pos[i] && slot < clean.slot_in[i]; slot++) {
                const int64_t held = attn_holder(c, slot, c->pos[i], clean.slot_in[i]);
                for (int64_t row = 0; held >= 0 && row < c->chunk; row++) {
                    if (read[held * c->chunk + row]) continue;
                    const int64_t at = ((slot * c->chunk + row) * c->n_kv + j) * hd;
                    for (int64_t e = 0; e < hd; e++) {
                        const double nan_value = (double)NAN;
                        hy__tensor_write_f64(b->be, hy__at(poisoned.k_in[i], at + e), &nan_value,
                                             1);
                        hy__tensor_write_f64(b->be, hy__at(poisoned.v_in[i], at + e), &nan_value,
                                             1);
                    }
                }
            }
            free(see);
            free(read);
        }
    attn_batch_run(&clean);
    attn_batch_run(&poisoned);
    const int64_t n = clean.rows.n_row * c->n_head * hd;
    attn_same(c->what, &clean, clean.a.o, &poisoned, poisoned.a.o, n, 0);
    attn_same_gradients(c, &clean, &poisoned, 0);
    free(select);
    attn_host_free(&x);
}

static void test_unread(void **state) {
    (void)state;
    attn_each(attn_cases, check_unread);
}

/* Equal inputs and threads give equal bits. */
static void check_bits(op_bench *b, const attn_case *c) {
    attn_host x = attn_host_new(c, 8);
    attn_batch one, two;
    attn_batch_put(&one, b, c, &x, (attn_options){0});
    attn_batch_put(&two, b, c, &x, (attn_options){0});
    b->be->kernels.attn_select(b->be, &one.a);
    b->be->kernels.attn_select(b->be, &two.a);
    attn_batch_run(&one);
    attn_batch_run(&two);
    attn_same(c->what, &one, one.a.o, &two, two.a.o, one.rows.n_row * c->n_head * c->head_dim, 0);
    attn_same_gradients(c, &one, &two, 0);
    attn_host_free(&x);
}

static void test_bits(void **state) {
    (void)state;
    attn_each(attn_cases, check_bits);
}

/* Without dk_out (nothing is carried on) the piece's gradient starts at zero. */
static void test_fresh(void **state) {
    (void)state;
    const attn_case *c = &attn_cases[0];
    op_bench b;
    op_open(&b, "cpu", 2);
    attn_host x = attn_host_new(c, 9);
    attn_batch s;
    attn_batch_put(&s, &b, c, &x, (attn_options){0});
    s.a.dk_out = s.a.dv_out = s.a.k_out = s.a.v_out = s.a.ksum_out = NULL;
    s.a.k_in = s.a.v_in = s.a.ksum_in = s.a.dk_in = s.a.dv_in = NULL;
    s.a.slot_in = s.a.slot_out = NULL;
    b.be->kernels.attn_select(b.be, &s.a);
    attn_batch_run(&s);
    double *d = attn_batch_get(&s, s.dqkv, s.rows.n_row * s.a.ldq);
    for (int64_t i = 0; i < s.rows.n_row * s.a.ldq; i++) assert_true(isfinite(d[i]));
    free(d);
    attn_host_free(&x);
    op_close(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forward),
        cmocka_unit_test(test_append),
        cmocka_unit_test(test_finite_differences),
        cmocka_unit_test(test_backward),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_narrow),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_unread),
        cmocka_unit_test(test_bits),
        cmocka_unit_test(test_fresh),
    };
    return cmocka_run_group_tests_name("attn", tests, NULL, NULL);
}
