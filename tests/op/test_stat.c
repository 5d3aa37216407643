/* test_stat.c: the kernels that only look: attn_stat, delta_stat, route_stat. ref64 is held against
 * the definitions in backend.h, every other backend against ref64. */
#include "support/case.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const double TOL = 1e-4; /* float sums of a few hundred numbers, inputs in float */

static void expect(double got, double want, double tol) {
    if (!(fabs(got - want) <= tol)) fail_msg("got %.12g, wanted %.12g", got, want);
}

/* ---- attn_stat: whole sequences, or cut in two with the cache between ---- */

typedef struct attn_shape {
    int64_t n_head, n_kv, head_dim, chunk, window, topk, len, cut, first, every;
} attn_shape;

static hy__attn_args attn_args(op_bench *b, const attn_shape *s, int64_t first, int64_t n,
                               const double *q, const double *k) {
    return (hy__attn_args){
        .o = op_nan(b, n * s->n_head * s->head_dim),
        .lse = op_nan(b, n * s->n_head),
        .q = op_put(b, q + first * s->n_head * s->head_dim, n * s->n_head * s->head_dim),
        .k = op_put(b, k + first * s->n_kv * s->head_dim, n * s->n_kv * s->head_dim),
        .v = op_put(b, k + first * s->n_kv * s->head_dim, n * s->n_kv * s->head_dim),
        .select = op_nan_i32(b, n * s->n_kv * s->topk + 1),
        .block_sum = op_nan(b, (n / s->chunk + 2) * s->n_kv * s->head_dim),
        .n_head = s->n_head,
        .n_kv = s->n_kv,
        .head_dim = s->head_dim,
        .chunk = s->chunk,
        .window = s->window,
        .topk = s->topk,
        .scale = 1 / sqrt((double)s->head_dim),
        .stat_first = s->first,
        .stat_every = s->every};
}

static void attn_run(op_bench *b, const void *user, op_result *out) {
    const attn_shape *s = user;
    const hy__kernels *k = &b->be->kernels;
    double *qs = op_random(1, s->len * s->n_head * s->head_dim, 1.5);
    double *ks = op_random(2, s->len * s->n_kv * s->head_dim, 1.5);
    const int64_t slots = (s->len + s->chunk - 1) / s->chunk, page = s->chunk * s->n_kv;
    const hy__tensor stat = op_zero(b, HY__ATTN_STAT_N);
    const hy__tensor kc = op_nan(b, slots * page * s->head_dim);
    const hy__tensor vc = op_nan(b, slots * page * s->head_dim);
    const hy__tensor ksum = op_nan(b, slots * s->n_kv * s->head_dim);
    for (int64_t first = 0, n; first < s->len; first += n) {
        n = first == 0 && s->cut > 0 ? s->cut : s->len - first;
        const hy__seq seq = {.len = n, .pos = first};
        const hy__rows rows = {.n_row = n, .n_seq = 1, .seq = &seq};
        hy__attn_args a = attn_args(b, s, first, n, qs, ks);
        a.rows = &rows;
        a.stat = stat;
        a.slot_in = a.slot_out = &slots;
        if (first > 0) a.k_in = &kc, a.v_in = &vc, a.ksum_in = &ksum;
        a.k_out = &kc, a.v_out = &vc, a.ksum_out = &ksum;
        if (s->topk > 0) k->attn_select(b->be, &a);
        k->attn(b->be, &a);
        k->attn_stat(b->be, &a);
        k->kv_append(b->be, &a);
    }
    op_keep(out, b, "stat", stat, HY__ATTN_STAT_N);
    free(qs);
    free(ks);
}

static const attn_shape ATTN[] = {
    {2, 1, 8, 16, 20, 2, 150, 0, 0, 1}, {2, 2, 8, 16, 20, 2, 150, 70, 0, 1},
    {4, 2, 12, 16, 1, 1, 99, 0, 0, 1},  {2, 1, 8, 16, 40, 0, 90, 0, 5, 7},
    {3, 1, 8, 16, 500, 3, 63, 0, 0, 1},
};

static void attn_is_the_same_everywhere(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof ATTN / sizeof *ATTN; i++)
        op_judge("attn_stat", attn_run, &ATTN[i], TOL);
}

static void attn_weights_sum_to_the_looks(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof ATTN / sizeof *ATTN; i++) {
        op_result r = op_run(attn_run, &ATTN[i], "ref64", 1);
        const double *s = op_kept(&r, "stat");
        const double rows =
            (double)((ATTN[i].len - ATTN[i].first + ATTN[i].every - 1) / ATTN[i].every);
        expect(s[HY__ATTN_STAT_LOOKS], rows * (double)ATTN[i].n_head, 1e-9);
        expect(s[HY__ATTN_STAT_WINDOW] + s[HY__ATTN_STAT_SINK] + s[HY__ATTN_STAT_CHOSEN],
               s[HY__ATTN_STAT_LOOKS], 1e-6);
        if (ATTN[i].topk == 0) assert_true(s[HY__ATTN_STAT_CHOSEN] == 0);
        if (ATTN[i].window >= ATTN[i].len) assert_true(s[HY__ATTN_STAT_SINK] == 0);
        op_result_free(&r);
    }
}

/* With keys of zero every position that is seen has the same weight, so that all can be counted. */
static void attn_counts_what_is_seen(void **state) {
    (void)state;
    enum { LEN = 60, CHUNK = 16, WINDOW = 10 };
    op_bench b;
    op_open(&b, "ref64", 1);
    const attn_shape s = {1, 1, 4, CHUNK, WINDOW, 1, LEN, 0, 0, 1};
    double zero[LEN * 4] = {0};
    const hy__seq seq = {.len = LEN};
    const hy__rows rows = {.n_row = LEN, .n_seq = 1, .seq = &seq};
    hy__attn_args a = attn_args(&b, &s, 0, LEN, zero, zero);
    a.rows = &rows;
    a.stat = op_zero(&b, HY__ATTN_STAT_N);
    b.be->kernels.attn_select(b.be, &a);
    b.be->kernels.attn(b.be, &a);
    b.be->kernels.attn_stat(b.be, &a);
    double got[HY__ATTN_STAT_N], want[HY__ATTN_STAT_N] = {0};
    op_get(&b, got, a.stat, HY__ATTN_STAT_N);
    for (int t = 0; t < LEN; t++) {
        const int window = t >= WINDOW ? t - WINDOW + 1 : 0;
        const bool chooses = window >= 2 * CHUNK; /* all scores are equal: block 1 */
        double n = 0, part[3] = {0}, distance = 0;
        for (int at = 0; at <= t; at++) {
            const int which = at >= window                 ? 0
                              : at < CHUNK                 ? 1
                              : chooses && at / CHUNK == 1 ? 2
                                                           : -1;
            if (which < 0) continue;
            n++;
            part[which]++;
            distance += t - at;
        }
        want[HY__ATTN_STAT_LOOKS]++;
        for (int i = 0; i < 3; i++) want[HY__ATTN_STAT_WINDOW + i] += part[i] / n;
        want[HY__ATTN_STAT_DISTANCE] += distance / n;
        want[HY__ATTN_STAT_BLOCKS] += chooses;
        want[HY__ATTN_STAT_BLOCK_DISTANCE] += chooses ? t - CHUNK - (CHUNK - 1) / 2.0 : 0;
    }
    for (int i = 0; i < HY__ATTN_STAT_N; i++) expect(got[i], want[i], 1e-9);
    op_close(&b);
}

static void attn_does_not_see_the_cut(void **state) {
    (void)state;
    attn_shape whole = ATTN[1];
    whole.cut = 0;
    op_result cut = op_run(attn_run, &ATTN[1], "ref64", 1),
              all = op_run(attn_run, &whole, "ref64", 1);
    const double *got = op_kept(&cut, "stat"), *want = op_kept(&all, "stat");
    for (int i = 0; i < HY__ATTN_STAT_N; i++) expect(got[i], want[i], 1e-9);
    op_result_free(&cut);
    op_result_free(&all);
}

/* ---- delta_stat ---- */

enum { D_HEAD = 2, D_K = 3, D_V = 4, D_READS = 3, D_CHUNK = 16, D_STAT = HY__DELTA_STAT_READS + 3 };

/* A fresh sequence of 40 tokens, and 20 tokens that continue another at 23: 3 + 2 chunks are looked
 * at, of which one is fresh. */
static const hy__seq D_SEQ[] = {{.len = 40}, {.start = 40, .len = 20, .pos = 23}};
enum { D_ROWS = 60, D_UNITS = 5, D_GATES = D_HEAD * (2 + D_READS) };

static void delta_run(op_bench *b, const void *user, op_result *out) {
    (void)user;
    double *g = op_random(3, D_ROWS * D_GATES, 2), *bias = op_random(4, D_HEAD * D_READS, 1);
    double *m = op_random(5, D_UNITS * D_HEAD * D_K * D_V, 1);
    const hy__rows rows = {.n_row = D_ROWS, .n_seq = 2, .seq = D_SEQ};
    const hy__tensor gates = op_put(b, g, D_ROWS * D_GATES);
    const hy__delta_args a = {.ga = gates,
                              .gb = hy__at(gates, D_HEAD),
                              .gm = hy__at(gates, 2 * D_HEAD),
                              .gm_bias = op_put(b, bias, D_HEAD * D_READS),
                              .chunk_state = op_put(b, m, D_UNITS * D_HEAD * D_K * D_V),
                              .rows = &rows,
                              .n_head = D_HEAD,
                              .d_k = D_K,
                              .d_v = D_V,
                              .reads = D_READS,
                              .chunk = D_CHUNK,
                              .ldg = D_GATES,
                              .a_offset = 4,
                              .stat = op_zero(b, D_STAT)};
    b->be->kernels.delta_stat(b->be, &a);
    op_keep(out, b, "stat", a.stat, D_STAT);
    free(g);
    free(bias);
    free(m);
}

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

static void delta_tells_rates_shares_and_norms(void **state) {
    (void)state;
    double want[D_STAT] = {0};
    double *g = op_random(3, D_ROWS * D_GATES, 2), *bias = op_random(4, D_HEAD * D_READS, 1);
    double *m = op_random(5, D_UNITS * D_HEAD * D_K * D_V, 1);
    for (int r = 0; r < D_ROWS; r++)
        for (int h = 0; h < D_HEAD; h++) {
            const double *row = g + r * D_GATES, *gm = row + 2 * D_HEAD + h * D_READS;
            double sum = 0;
            for (int j = 0; j < D_READS; j++) sum += exp(gm[j] + bias[h * D_READS + j]);
            for (int j = 0; j < D_READS; j++)
                want[HY__DELTA_STAT_READS + j] += exp(gm[j] + bias[h * D_READS + j]) / sum;
            want[HY__DELTA_STAT_ROWS]++;
            want[HY__DELTA_STAT_DECAY] += sigmoid(row[h] + 4);
            want[HY__DELTA_STAT_WRITE] += sigmoid(row[D_HEAD + h]);
        }
    for (int u = 1; u < D_UNITS; u++) /* the first is that of a fresh sequence */
        for (int h = 0; h < D_HEAD; h++) {
            double sum = 0;
            for (int i = 0; i < D_K * D_V; i++) sum += pow(m[(u * D_HEAD + h) * D_K * D_V + i], 2);
            want[HY__DELTA_STAT_LOOKS]++;
            want[HY__DELTA_STAT_NORM] += sqrt(sum);
        }
    op_result r = op_run(delta_run, NULL, "ref64", 1);
    for (int i = 0; i < D_STAT; i++) expect(op_kept(&r, "stat")[i], want[i], 1e-9);
    op_result_free(&r);
    op_judge("delta_stat", delta_run, NULL, TOL);
    free(g);
    free(bias);
    free(m);
}

/* ---- route_stat ---- */

static void route_run(op_bench *b, const void *user, op_result *out) {
    const bool by_token = *(const bool *)user;
    const hy__seq seq[] = {{.len = 3, .domain = 1}, {.start = 3, .len = 2, .domain = 9}};
    const int32_t idx[] = {0, 2, 2, 1, 1, 0, 0, 2, 2, 1}, unit_of[] = {0, 0, 1, 1, 2};
    const hy__rows rows = {.n_row = 5, .n_seq = 2, .seq = seq};
    const hy__route_stat_args a = {.load = op_zero(b, 9),
                                   .idx = op_put_i32(b, idx, 10),
                                   .unit_of =
                                       by_token ? (hy__tensor){0} : op_put_i32(b, unit_of, 5),
                                   .rows = &rows,
                                   .k = 2,
                                   .n_expert = 3,
                                   .n_domain = 3};
    b->be->kernels.route_stat(b->be, &a);
    op_keep(out, b, "load", a.load, 9);
}

static void route_counts_tokens_by_domain(void **state) {
    (void)state;
    static const double want[2][9] = {{0, 0, 0, 2, 1, 3, 1, 2, 1}, {0, 0, 0, 2, 2, 2, 1, 1, 2}};
    for (int i = 0; i < 2; i++) {
        const bool by_token = i == 1;
        op_result r = op_run(route_run, &by_token, "ref64", 1);
        for (int j = 0; j < 9; j++) expect(op_kept(&r, "load")[j], want[i][j], 0);
        op_result_free(&r);
        op_judge("route_stat", route_run, &by_token, 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attn_is_the_same_everywhere),
        cmocka_unit_test(attn_weights_sum_to_the_looks),
        cmocka_unit_test(attn_counts_what_is_seen),
        cmocka_unit_test(attn_does_not_see_the_cut),
        cmocka_unit_test(delta_tells_rates_shares_and_norms),
        cmocka_unit_test(route_counts_tokens_by_domain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
