/* test_experts.c: chunk routing: unit_mean, route, route_sort, gather_rows, combine, balance.
 *
 * The reference in double is held against central differences and against what its contract says;
 * every backend is then held against the reference. Tolerances: the gradients of the reference meet
 * differences of step 1e-5 to 1e-6 (their own error is near 1e-9); float sums of up to 600 terms
 * meet the reference to 1e-5 of the largest element; choices and sorted orders are equal, because
 * logits are multiples of 1/64, exact in float, so that equal ones are ties on every backend. */
#include "support/case.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const double TOL_SLOPE = 1e-6, TOL_FLOAT = 1e-5;

static double dot(const double *a, const double *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* Multiples of 1/64 in [-4, 4]: float holds them, and their sums, exactly; many are equal. */
static double *random_grid(uint64_t seed, int64_t n) {
    double *x = op_random(seed, n, 4);
    for (int64_t i = 0; i < n; i++) x[i] = round(x[i] * 64) / 64;
    return x;
}

/* ---- unit_mean ------------------------------------------------------------------------------- */

enum { SEQ_MAX = 8 };

typedef struct mean_case {
    int64_t dim, unit, n_seq;
    bool own;
    hy__seq seq[SEQ_MAX];
    double *x, *first, *sum, *prev; /* inputs and states [n_seq, dim] */
    double *gm, *gsum, *gprev;      /* cotangents of m and of the states that leave */
} mean_case;

static hy__rows mean_rows(const mean_case *c) {
    const hy__seq *last = &c->seq[c->n_seq - 1];
    return (hy__rows){.n_row = last->start + last->len, .n_seq = c->n_seq, .seq = c->seq};
}

static void mean_case_init(mean_case *c, int64_t dim, int64_t unit, int64_t n_seq,
                           const int64_t (*pos_len)[2]) {
    *c = (mean_case){.dim = dim, .unit = unit, .n_seq = n_seq};
    int64_t row = 0;
    for (int64_t s = 0; s < n_seq; s++) {
        c->seq[s] = (hy__seq){.start = row, .len = pos_len[s][1], .pos = pos_len[s][0]};
        row += pos_len[s][1];
    }
    const hy__rows rows = mean_rows(c);
    c->x = op_random(1, row * dim, 1);
    c->first = op_random(2, dim, 1);
    c->sum = op_random(3, n_seq * dim, 2);
    c->prev = op_random(4, n_seq * dim, 1);
    c->gm = op_random(5, hy__rows_units(&rows, unit) * dim, 1);
    c->gsum = op_random(6, n_seq * dim, 1);
    c->gprev = op_random(7, n_seq * dim, 1);
}

static void mean_case_release(mean_case *c) {
    double *all[] = {c->x, c->first, c->sum, c->prev, c->gm, c->gsum, c->gprev};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

/* Forward and backward. The states of all sequences lie in one tensor; a fresh sequence has none.
 */
static void mean_run(op_bench *b, const void *user, op_result *out) {
    const mean_case *c = user;
    const hy__rows rows = mean_rows(c);
    const int64_t d = c->dim, n = rows.n_row, n_unit = hy__rows_units(&rows, c->unit);
    enum { SUM_IN, PREV_IN, DSUM_OUT, DPREV_OUT, SUM_OUT, PREV_OUT, DSUM_IN, DPREV_IN, N_STATE };
    const double *host[] = {c->sum, c->prev, c->gsum, c->gprev};
    hy__tensor whole[N_STATE], of[N_STATE][SEQ_MAX];
    for (int i = 0; i < N_STATE; i++) {
        whole[i] = i <= DPREV_OUT ? op_put(b, host[i], c->n_seq * d) : op_nan(b, c->n_seq * d);
        for (int64_t s = 0; s < c->n_seq; s++) {
            of[i][s] = hy__at(whole[i], s * d);
            if (i <= PREV_IN && c->seq[s].pos == 0) of[i][s] = (hy__tensor){0};
        }
    }
    const hy__unit_mean_args a = {
        .m = op_nan(b, n_unit * d),
        .unit_of = op_nan_i32(b, n),
        .x = op_put(b, c->x, n * d),
        .first = op_put(b, c->first, d),
        .rows = &rows,
        .sum_in = of[SUM_IN],
        .prev_in = of[PREV_IN],
        .sum_out = of[SUM_OUT],
        .prev_out = of[PREV_OUT],
        .dm = op_put(b, c->gm, n_unit * d),
        .dx = op_nan(b, n * d),
        .dfirst = op_put(b, c->first, d),
        .dsum_in = of[DSUM_IN],
        .dprev_in = of[DPREV_IN],
        .dsum_out = of[DSUM_OUT],
        .dprev_out = of[DPREV_OUT],
        .dim = d,
        .unit = c->unit,
        .own = c->own,
    };
    b->be->kernels.unit_mean(b->be, &a);
    b->be->kernels.unit_mean_backward(b->be, &a);
    op_keep(out, b, "m", a.m, n_unit * d);
    op_keep(out, b, "unit_of", a.unit_of, n);
    if (c->own) { /* which has no state */
        op_keep(out, b, "dx", a.dx, n * d);
        return;
    }
    op_keep(out, b, "sum_out", whole[SUM_OUT], c->n_seq * d);
    op_keep(out, b, "prev_out", whole[PREV_OUT], c->n_seq * d);
    op_keep(out, b, "dx", a.dx, n * d);
    op_keep(out, b, "dfirst", a.dfirst, d);
    op_keep(out, b, "dsum_in", whole[DSUM_IN], c->n_seq * d);
    op_keep(out, b, "dprev_in", whole[DPREV_IN], c->n_seq * d);
}

static double mean_loss(void *user) {
    const mean_case *c = user;
    const hy__rows rows = mean_rows(c);
    op_result r = op_run(mean_run, c, "ref64", 1);
    double loss = dot(op_kept(&r, "m"), c->gm, hy__rows_units(&rows, c->unit) * c->dim);
    if (!c->own) {
        loss += dot(op_kept(&r, "sum_out"), c->gsum, c->n_seq * c->dim) +
                dot(op_kept(&r, "prev_out"), c->gprev, c->n_seq * c->dim);
    }
    op_result_free(&r);
    return loss;
}

/* Pieces {pos, len} in units of 4: fresh, on a boundary, inside; ending inside and on a boundary;
 * with and without a token that completes a unit. */
static const int64_t RAGGED[SEQ_MAX][2] = {{0, 5}, {8, 7}, {3, 1},  {6, 9},
                                           {5, 2}, {4, 1}, {12, 4}, {0, 1}};

static void test_mean_gradient(void **state) {
    (void)state;
    enum { DIM = 3, N_STATE = SEQ_MAX * DIM };
    mean_case c;
    mean_case_init(&c, DIM, 4, SEQ_MAX, RAGGED);
    const hy__rows rows = mean_rows(&c);
    op_result r = op_run(mean_run, &c, "ref64", 1);
    double dfirst[DIM];
    for (int i = 0; i < DIM; i++) dfirst[i] = op_kept(&r, "dfirst")[i] - c.first[i]; /* added */
    op_expect_slope("unit_mean dx", mean_loss, &c, c.x, op_kept(&r, "dx"), rows.n_row * DIM,
                    TOL_SLOPE);
    op_expect_slope("unit_mean dfirst", mean_loss, &c, c.first, dfirst, DIM, TOL_SLOPE);
    op_expect_slope("unit_mean dsum", mean_loss, &c, c.sum, op_kept(&r, "dsum_in"), N_STATE,
                    TOL_SLOPE);
    op_expect_slope("unit_mean dprev", mean_loss, &c, c.prev, op_kept(&r, "dprev_in"), N_STATE,
                    TOL_SLOPE);
    op_result_free(&r);
    mean_case_release(&c);
}

/* Pieces that begin units of 4, and end inside and on a boundary. */
static const int64_t WHOLE[SEQ_MAX][2] = {{0, 5}, {8, 7}, {4, 1},  {16, 8},
                                          {4, 2}, {4, 4}, {12, 3}, {0, 1}};

static void test_own_mean_gradient(void **state) {
    (void)state;
    enum { DIM = 3 };
    mean_case c;
    mean_case_init(&c, DIM, 4, SEQ_MAX, WHOLE);
    c.own = true;
    const hy__rows rows = mean_rows(&c);
    op_result r = op_run(mean_run, &c, "ref64", 1);
    op_expect_slope("unit_mean own dx", mean_loss, &c, c.x, op_kept(&r, "dx"), rows.n_row * DIM,
                    TOL_SLOPE);
    op_result_free(&r);
    mean_case_release(&c);
}

static void test_mean_backends(void **state) {
    (void)state;
    static const int64_t long_whole[3][2] = {{0, 257}, {96, 63}, {32, 1000}};
    static const int64_t long_ones[3][2] = {{0, 257}, {96, 63}, {31, 1000}}, dims[] = {1, 63, 257};
    for (int i = 0; i < 3; i++) {
        mean_case c;
        mean_case_init(&c, dims[i], 4, SEQ_MAX, RAGGED);
        op_judge("unit_mean, ragged", mean_run, &c, TOL_FLOAT);
        mean_case_release(&c);
        mean_case_init(&c, dims[i], 32, 3, long_ones);
        op_judge("unit_mean, long", mean_run, &c, TOL_FLOAT);
        mean_case_release(&c);
        mean_case_init(&c, dims[i], 4, SEQ_MAX, WHOLE);
        c.own = true;
        op_judge("unit_mean own, short", mean_run, &c, TOL_FLOAT);
        mean_case_release(&c);
        mean_case_init(&c, dims[i], 32, 3, long_whole);
        c.own = true;
        op_judge("unit_mean own, long", mean_run, &c, TOL_FLOAT);
        mean_case_release(&c);
    }
}

enum { SPLIT_N = 61, SPLIT_DIM = 5, SPLIT_UNIT = 8, SPLIT_CUTS = 7 };

/* What a sequence gives as a whole or in pieces: per token the router input and dx, then the state
 * that leaves, the gradient of the first vector. */
typedef struct split {
    double input[SPLIT_N * SPLIT_DIM], dx[SPLIT_N * SPLIT_DIM];
    double sum[SPLIT_DIM], prev[SPLIT_DIM], dfirst[SPLIT_DIM];
} split;

/* Runs the pieces [cut[i], cut[i+1]) forward, then backward from the last, with the states and
 * their gradients in place. g: one cotangent per token; a unit's is the sum over its tokens. */
static void split_run(op_bench *b, int64_t n_cut, const int64_t *cut, const double *x,
                      const double *g, const double *vec, split *out) {
    enum { D = SPLIT_DIM, UNIT = SPLIT_UNIT };
    const hy__tensor sum = op_nan(b, D), prev = op_nan(b, D), dfirst = op_zero(b, D);
    const hy__tensor dsum = op_put(b, vec, D), dprev = op_put(b, vec + D, D);
    const hy__tensor first = op_put(b, vec + 2 * D, D);
    for (int64_t step = 0; step < 2 * n_cut; step++) {
        const bool back = step >= n_cut;
        const int64_t i = back ? 2 * n_cut - 1 - step : step, pos = cut[i], len = cut[i + 1] - pos;
        const hy__seq seq = {.start = 0, .len = len, .pos = pos};
        const hy__rows rows = {.n_row = len, .n_seq = 1, .seq = &seq};
        const int64_t n_unit = hy__rows_units(&rows, UNIT);
        double m[SPLIT_N * D] = {0};
        for (int64_t j = 0; j < len * D; j++)
            m[(pos % UNIT + j / D) / UNIT * D + j % D] += g[pos * D + j];
        const hy__unit_mean_args a = {
            .m = op_nan(b, n_unit * D),
            .unit_of = op_nan_i32(b, len),
            .x = op_put(b, x + pos * D, len * D),
            .first = first,
            .rows = &rows,
            .sum_in = pos > 0 ? &sum : NULL,
            .prev_in = pos > 0 ? &prev : NULL,
            .sum_out = &sum,
            .prev_out = &prev,
            .dm = op_put(b, m, n_unit * D),
            .dx = op_nan(b, len * D),
            .dfirst = dfirst,
            .dsum_in = &dsum,
            .dprev_in = &dprev,
            .dsum_out = &dsum,
            .dprev_out = &dprev,
            .dim = D,
            .unit = UNIT,
        };
        if (back) {
            b->be->kernels.unit_mean_backward(b->be, &a);
            op_get(b, out->dx + pos * D, a.dx, len * D);
        } else {
            b->be->kernels.unit_mean(b->be, &a);
            op_get(b, m, a.m, n_unit * D);
            for (int64_t j = 0; j < len * D; j++)
                out->input[pos * D + j] = m[(pos % UNIT + j / D) / UNIT * D + j % D];
        }
    }
    op_get(b, out->sum, sum, D);
    op_get(b, out->prev, prev, D);
    op_get(b, out->dfirst, dfirst, D);
    op_clear(b);
}

static void test_mean_split(void **state) {
    (void)state;
    double *x = op_random(11, SPLIT_N * SPLIT_DIM, 1), *g = op_random(12, SPLIT_N * SPLIT_DIM, 1);
    double *vec = op_random(13, 3 * SPLIT_DIM, 1);
    static split want, got;
    static const int64_t whole[] = {0, SPLIT_N};
    for (const char *const *name = hy__backend_names(); *name; name++) {
        op_bench b;
        op_open(&b, *name, 2);
        split_run(&b, 1, whole, x, g, vec, &want);
        for (uint64_t seed = 0; seed < 40; seed++) {
            double *r = op_random(100 + seed, SPLIT_CUTS, 18);
            int64_t cut[SPLIT_CUTS + 2] = {0}, n_cut = 0;
            while (cut[n_cut] < SPLIT_N) { /* pieces of 1 to 18 tokens, then the rest */
                const int64_t next =
                    n_cut < SPLIT_CUTS ? cut[n_cut] + 1 + (int64_t)fabs(r[n_cut]) : SPLIT_N;
                cut[++n_cut] = next < SPLIT_N ? next : SPLIT_N;
            }
            split_run(&b, n_cut, cut, x, g, vec, &got);
            op_expect("unit_mean split: inputs", *name, want.input, got.input, SPLIT_N * SPLIT_DIM,
                      TOL_FLOAT);
            op_expect("unit_mean split: dx", *name, want.dx, got.dx, SPLIT_N * SPLIT_DIM,
                      TOL_FLOAT);
            op_expect("unit_mean split: sum", *name, want.sum, got.sum, SPLIT_DIM, TOL_FLOAT);
            op_expect("unit_mean split: prev", *name, want.prev, got.prev, SPLIT_DIM, TOL_FLOAT);
            op_expect("unit_mean split: dfirst", *name, want.dfirst, got.dfirst, SPLIT_DIM,
                      TOL_FLOAT);
            free(r);
        }
        op_close(&b);
    }
    free(x);
    free(g);
    free(vec);
}

/* ---- route ----------------------------------------------------------------------------------- */

typedef struct route_case {
    int64_t n_row, n_prior, n_expert, k, shortlist, n_force; /* n_prior 0: no prior */
    double temperature;
    const bool *ban;
    const int32_t *force;
    double *logits, *prior, *bias, *g; /* g: cotangent of weight */
    int32_t *prior_of;
} route_case;

static const double Z_SCALE = 0.3, AUX_SCALE = 1.7;

static void route_case_init(route_case *c, uint64_t seed) {
    const int64_t n = c->n_expert, k = c->n_force > 0 ? c->n_force : c->k;
    c->logits = random_grid(seed, c->n_row * n);
    c->bias = random_grid(seed + 1, n);
    c->g = op_random(seed + 2, c->n_row * k, 1);
    c->prior = random_grid(seed + 3, c->n_prior * n);
    c->prior_of = malloc((size_t)c->n_row * sizeof *c->prior_of);
    for (int64_t r = 0; r < c->n_row; r++) /* the last prior serves nobody */
        c->prior_of[r] = (int32_t)(c->n_prior > 1 ? r * (c->n_prior - 1) / c->n_row : 0);
}

static void route_case_release(route_case *c) {
    free(c->logits);
    free(c->bias);
    free(c->g);
    free(c->prior);
    free(c->prior_of);
}

static void route_run(op_bench *b, const void *user, op_result *out) {
    const route_case *c = user;
    const int64_t n = c->n_expert, k = c->n_force > 0 ? c->n_force : c->k;
    hy__route_args a = {
        .idx = op_nan_i32(b, c->n_row * k),
        .weight = op_nan(b, c->n_row * k),
        .lse = op_nan(b, c->n_row),
        .logits = op_put(b, c->logits, c->n_row * n),
        .bias = op_put(b, c->bias, n),
        .load = op_put(b, c->bias, n),
        .loss_sum = op_put(b, (double[]){2, 3}, 2),
        .call_load = op_nan(b, n),
        .dweight = op_put(b, c->g, c->n_row * k),
        .dlogits = op_nan(b, c->n_row * n),
        .n_row = c->n_row,
        .n_prior = c->n_prior,
        .n_expert = n,
        .k = c->k,
        .shortlist = c->shortlist,
        .temperature = c->temperature,
        .ban = c->ban,
        .force = c->force,
        .n_force = c->n_force,
        .z_scale = Z_SCALE,
        .aux_scale = AUX_SCALE,
    };
    if (c->n_prior > 0) {
        a.prior = op_put(b, c->prior, c->n_prior * n);
        a.prior_of = op_put_i32(b, c->prior_of, c->n_row);
        a.dprior = op_nan(b, c->n_prior * n);
    }
    b->be->kernels.route(b->be, &a);
    b->be->kernels.route_backward(b->be, &a);
    op_keep(out, b, "idx", a.idx, c->n_row * k);
    op_keep(out, b, "weight", a.weight, c->n_row * k);
    op_keep(out, b, "lse", a.lse, c->n_row);
    op_keep(out, b, "load", a.load, n);
    op_keep(out, b, "call_load", a.call_load, n);
    op_keep(out, b, "loss_sum", a.loss_sum, 2);
    op_keep(out, b, "dlogits", a.dlogits, c->n_row * n);
    if (c->n_prior > 0) op_keep(out, b, "dprior", a.dprior, c->n_prior * n);
}

static double route_loss(void *user) {
    const route_case *c = user;
    op_result r = op_run(route_run, c, "ref64", 1);
    const double *loss_sum = op_kept(&r, "loss_sum");
    const double loss = dot(op_kept(&r, "weight"), c->g, c->n_row * c->k) + Z_SCALE * loss_sum[0] +
                        AUX_SCALE * loss_sum[1];
    op_result_free(&r);
    return loss;
}

/* Logits are moved off the grid here, so that a small step changes no choice; the share of the
 * choices in the auxiliary loss then is the constant that its gradient takes it for. */
static void test_route_gradient(void **state) {
    (void)state;
    enum { E = 6 };
    static const bool ban[E] = {false, false, true};
    route_case cases[] = {
        {.n_row = 7, .n_expert = E, .k = 2},
        {.n_row = 7, .n_expert = E, .k = 3, .temperature = 0.7, .ban = ban},
        {.n_row = 9, .n_prior = 4, .n_expert = E, .k = 2, .shortlist = 4, .temperature = 1.3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        route_case *c = &cases[i];
        route_case_init(c, 20 + 10 * i);
        double *away = op_random(21, c->n_row * E, 0.005);
        for (int64_t j = 0; j < c->n_row * E; j++) c->logits[j] += away[j];
        op_result r = op_run(route_run, c, "ref64", 1);
        op_expect_slope("route dlogits", route_loss, c, c->logits, op_kept(&r, "dlogits"),
                        c->n_row * E, TOL_SLOPE);
        if (c->n_prior > 0) {
            op_expect_slope("route dprior", route_loss, c, c->prior, op_kept(&r, "dprior"),
                            c->n_prior * E, TOL_SLOPE);
        }
        op_result_free(&r);
        route_case_release(c);
        free(away);
    }
}

static void test_route_backends(void **state) {
    (void)state;
    static const int64_t shape[][3] = {{1, 1, 1},   {63, 2, 1},   {257, 2, 2},  {257, 8, 2},
                                       {63, 16, 8}, {1, 63, 8},   {257, 64, 4}, {63, 256, 8},
                                       {600, 8, 2}, {600, 255, 7}};
    static const bool ban[HY__EXPERT_MAX] = {true, false, false, true};
    static const int32_t force[] = {5, 1, 7};
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
        const int64_t n = shape[i][1], k = shape[i][2];
        route_case cases[] = {
            {.k = k},
            {.k = k, .temperature = 0.5}, /* a power of two keeps the logits exact */
            {.k = k,
             .n_prior = 1 + shape[i][0] / 8,
             .shortlist = n / 4 + k,
             .ban = n >= k + 4 ? ban : NULL},
            {.k = k, .force = force, .n_force = n >= 8 ? 3 : 0},
        };
        for (int j = 0; j < 4; j++) {
            cases[j].n_row = shape[i][0], cases[j].n_expert = n;
            route_case_init(&cases[j], 40 + i);
            op_judge("route", route_run, &cases[j], TOL_FLOAT);
            route_case_release(&cases[j]);
        }
    }
}

/* What is chosen, spelled out by hand: ties, bias, ban, force and shortlist. */
static void test_route_choice(void **state) {
    (void)state;
    double logits[] = {1, 3, 3, 0, 2}, bias[] = {0, 0, 0, 0, 0}, bias_3[] = {0, 0, 0, 9, 0};
    double prior[] = {5, 0, 0, 5, 4}, g[5] = {0};
    static const bool ban[] = {false, true, false, false, false};
    static const int32_t force[] = {3, 0, 2};
    int32_t zero = 0;
    route_case c[6];
    for (int i = 0; i < 6; i++) {
        c[i] = (route_case){.n_row = 1,
                            .n_expert = 5,
                            .k = 2,
                            .logits = logits,
                            .bias = bias,
                            .prior = prior,
                            .g = g,
                            .prior_of = &zero};
    }
    c[1].bias = bias_3; /* moves the choice, not the weights */
    c[2].ban = ban;
    c[3].force = force, c[3].n_force = 3; /* sorted by falling logit */
    c[4].n_prior = 1, c[4].shortlist = 3; /* {0, 3, 4} by the prior; there l = 6, 5, 6 */
    c[5].n_prior = 1, c[5].shortlist = 2, c[5].k = 1; /* {0, 3} */
    static const double want[6][3] = {{1, 2}, {3, 1}, {2, 4}, {2, 0, 3}, {0, 4}, {0}};
    const double e = exp(1), e3 = exp(3);
    const double weight[6][3] = {
        {0.5, 0.5},
        {1 / (1 + e3), e3 / (1 + e3)},
        {e / (1 + e), 1 / (1 + e)},
        {e3 / (e3 + e + 1), e / (e3 + e + 1), 1 / (e3 + e + 1)},
        {0.5, 0.5},
        {1},
    };
    for (const char *const *name = hy__backend_names(); *name; name++)
        for (int i = 0; i < 6; i++) {
            const int64_t k = c[i].n_force > 0 ? c[i].n_force : c[i].k;
            op_result r = op_run(route_run, &c[i], *name, 1);
            op_expect("chosen experts", *name, want[i], op_kept(&r, "idx"), k, 0);
            op_expect("their weights", *name, weight[i], op_kept(&r, "weight"), k, 1e-6);
            op_result_free(&r);
        }
}

/* Logits that overflowed choose experts that exist all the same. */
static void test_route_nan(void **state) {
    (void)state;
    const double bad[] = {(double)NAN, -(double)INFINITY, (double)INFINITY};
    for (const char *const *name = hy__backend_names(); *name; name++)
        for (int i = 0; i < 3; i++) {
            route_case c = {.n_row = 9, .n_expert = 5, .k = 2};
            route_case_init(&c, 90);
            for (int64_t j = 0; j < 9 * 5; j += 1 + j % 3) c.logits[j] = bad[i];
            op_result r = op_run(route_run, &c, *name, 1);
            for (int64_t j = 0; j < 9 * 2; j++)
                assert_in_range((int64_t)op_kept(&r, "idx")[j], 0, 4);
            op_result_free(&r);
            route_case_release(&c);
        }
}

/* ---- route_sort, gather_rows, combine -------------------------------------------------------- */

typedef struct move_case {
    int64_t n_row, n_route, n_expert, k, dim; /* n_route < n_row: tokens share a routing row */
    int32_t *idx, *unit_of;
    double *x, *o, *weight, *g; /* o serves as the experts' output and as the cotangent of xg */
} move_case;

static void move_case_init(move_case *c, uint64_t seed) {
    const int64_t n_pair = c->n_row * c->k;
    c->x = op_random(seed, c->n_row * c->dim, 1);
    c->o = op_random(seed + 1, n_pair * c->dim, 1);
    c->g = op_random(seed + 2, c->n_row * c->dim, 1);
    c->weight = op_random(seed + 3, c->n_route * c->k, 1);
    c->idx = malloc((size_t)(c->n_route * c->k) * sizeof *c->idx);
    c->unit_of = malloc((size_t)c->n_row * sizeof *c->unit_of);
    double *r = op_random(seed + 4, c->n_route, 1);
    for (int64_t u = 0; u < c->n_route; u++)
        for (int64_t j = 0; j < c->k; j++) {
            /* distinct choices of a row; squared, so that loads differ and some experts get none */
            const int64_t e = (int64_t)(r[u] * r[u] * (double)c->n_expert);
            c->idx[u * c->k + j] = (int32_t)((e + j) % c->n_expert);
        }
    for (int64_t t = 0; t < c->n_row; t++) c->unit_of[t] = (int32_t)(t * c->n_route / c->n_row);
    free(r);
}

static void move_case_release(move_case *c) {
    double *all[] = {c->x, c->o, c->weight, c->g};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
    free(c->idx);
    free(c->unit_of);
}

static void move_run(op_bench *b, const void *user, op_result *out) {
    const move_case *c = user;
    const int64_t n = c->n_row, d = c->dim, k = c->k, n_pair = n * k;
    const hy__route_sort_args sort = {
        .perm = op_nan_i32(b, n_pair),
        .place = op_nan_i32(b, n_pair),
        .offset = op_nan_i32(b, c->n_expert + 1),
        .idx = op_put_i32(b, c->idx, c->n_route * k),
        .unit_of = c->n_route < n ? op_put_i32(b, c->unit_of, n) : (hy__tensor){0},
        .n_row = n,
        .k = k,
        .n_expert = c->n_expert,
    };
    const hy__gather_rows_args gather = {
        .xg = op_nan(b, n_pair * d),
        .x = op_put(b, c->x, n * d),
        .perm = sort.perm,
        .dxg = op_put(b, c->o, n_pair * d),
        .dx = op_nan(b, n * d),
        .place = sort.place,
        .n_out = n_pair,
        .n_row = n,
        .k = k,
        .dim = d,
    };
    const hy__combine_args mix = {
        .y = op_nan(b, n * d),
        .o = gather.dxg,
        .place = sort.place,
        .weight = op_put(b, c->weight, c->n_route * k),
        .unit_of = sort.unit_of,
        .dy = op_put(b, c->g, n * d),
        .d_o = op_nan(b, n_pair * d),
        .dweight = op_nan(b, c->n_route * k),
        .n_row = n,
        .n_route = c->n_route,
        .k = k,
        .dim = d,
    };
    b->be->kernels.route_sort(b->be, &sort);
    b->be->kernels.gather_rows(b->be, &gather);
    b->be->kernels.gather_rows_backward(b->be, &gather);
    b->be->kernels.combine(b->be, &mix);
    b->be->kernels.combine_backward(b->be, &mix);
    op_keep(out, b, "perm", sort.perm, n_pair);
    op_keep(out, b, "place", sort.place, n_pair);
    op_keep(out, b, "offset", sort.offset, c->n_expert + 1);
    op_keep(out, b, "xg", gather.xg, n_pair * d);
    op_keep(out, b, "dx", gather.dx, n * d);
    op_keep(out, b, "y", mix.y, n * d);
    op_keep(out, b, "do", mix.d_o, n_pair * d);
    op_keep(out, b, "dweight", mix.dweight, c->n_route * k);
}

static double combine_loss(void *user) {
    const move_case *c = user;
    op_result r = op_run(move_run, c, "ref64", 1);
    const double loss = dot(op_kept(&r, "y"), c->g, c->n_row * c->dim);
    op_result_free(&r);
    return loss;
}

static double gather_loss(void *user) {
    const move_case *c = user;
    op_result r = op_run(move_run, c, "ref64", 1);
    const double loss = dot(op_kept(&r, "xg"), c->o, c->n_row * c->k * c->dim);
    op_result_free(&r);
    return loss;
}

static void test_move_gradient(void **state) {
    (void)state;
    for (int64_t n_route = 3; n_route <= 11; n_route += 8) {
        move_case c = {.n_row = 11, .n_route = n_route, .n_expert = 5, .k = 2, .dim = 3};
        move_case_init(&c, 60);
        op_result r = op_run(move_run, &c, "ref64", 1);
        op_expect_slope("gather_rows dx", gather_loss, &c, c.x, op_kept(&r, "dx"), 33, TOL_SLOPE);
        op_expect_slope("combine do", combine_loss, &c, c.o, op_kept(&r, "do"), 66, TOL_SLOPE);
        op_expect_slope("combine dweight", combine_loss, &c, c.weight, op_kept(&r, "dweight"),
                        n_route * 2, TOL_SLOPE);
        op_result_free(&r);
        move_case_release(&c);
    }
}

/* Sorted by expert, tokens rising within one (stable), place the inverse of perm. */
static void check_sorted(const move_case *c, const op_result *r) {
    const double *perm = op_kept(r, "perm"), *place = op_kept(r, "place");
    const double *offset = op_kept(r, "offset");
    const int64_t n_pair = c->n_row * c->k;
    bool *seen = calloc((size_t)n_pair, sizeof *seen);
    assert_true(offset[0] == 0 && offset[c->n_expert] == (double)n_pair);
    for (int64_t p = 0; p < n_pair; p++) {
        const int64_t t = p / c->k, row = (int64_t)place[p];
        const int64_t e = c->idx[(c->n_route < c->n_row ? c->unit_of[t] : t) * c->k + p % c->k];
        assert_true(row >= 0 && row < n_pair && !seen[row]);
        seen[row] = true;
        assert_true((int64_t)perm[row] == t);
        assert_true(place[p] >= offset[e] && place[p] < offset[e + 1]);
        if (place[p] > offset[e]) assert_true(perm[row - 1] <= perm[row]);
    }
    free(seen);
}

static void test_move_backends(void **state) {
    (void)state;
    static const int64_t shape[][5] = {
        /* n_row, n_route, n_expert, k, dim */
        {1, 1, 1, 1, 1},       {1, 1, 8, 2, 257},     {63, 63, 8, 2, 63}, {257, 9, 4, 2, 64},
        {257, 257, 63, 8, 17}, {600, 20, 256, 7, 33}, {63, 1, 16, 5, 48}, {4099, 4099, 256, 8, 1}};
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
        move_case c = {.n_row = shape[i][0],
                       .n_route = shape[i][1],
                       .n_expert = shape[i][2],
                       .k = shape[i][3],
                       .dim = shape[i][4]};
        move_case_init(&c, 70 + i);
        op_result r = op_run(move_run, &c, "ref64", 1);
        check_sorted(&c, &r);
        op_result_free(&r);
        op_judge("gather and combine", move_run, &c, TOL_FLOAT);
        move_case_release(&c);
    }
}

static void check_balance(const double *load, const double *want, int64_t n) {
    static const double bias[] = {0.5, 0.5, 0.5, 0.5, 0.5, 0.5}, cleared[6] = {0};
    for (const char *const *name = hy__backend_names(); *name; name++) {
        op_bench b;
        op_open(&b, *name, 1);
        const hy__balance_args a = {
            .bias = op_put(&b, bias, n), .load = op_put(&b, load, n), .n_expert = n, .rate = 0.125};
        b.be->kernels.balance(b.be, &a);
        double got[6];
        op_get(&b, got, a.bias, n);
        op_expect("balance: bias", *name, want, got, n, 0);
        op_get(&b, got, a.load, n);
        op_expect("balance: load", *name, cleared, got, n, 0);
        op_close(&b);
    }
}

static void test_balance(void **state) {
    (void)state;
    check_balance((double[]){1, 2, 3, 2}, (double[]){0.625, 0.5, 0.375, 0.5}, 4);
    /* a sixth of each added up is a little less than the mean */
    check_balance((double[]){0, 1, 2, 1, 1, 1}, (double[]){0.625, 0.5, 0.375, 0.5, 0.5, 0.5}, 6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mean_gradient),  cmocka_unit_test(test_own_mean_gradient),
        cmocka_unit_test(test_mean_backends),  cmocka_unit_test(test_mean_split),
        cmocka_unit_test(test_route_gradient), cmocka_unit_test(test_route_backends),
        cmocka_unit_test(test_route_choice),   cmocka_unit_test(test_route_nan),
        cmocka_unit_test(test_move_gradient),  cmocka_unit_test(test_move_backends),
        cmocka_unit_test(test_balance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
