/* test_pkm.c: the product-key memory: pkm_select and pkm_read.
 *
 * The reference in double is held against central differences, every backend against the reference.
 * Tolerances: gradients meet differences of step 1e-5 to 1e-6; float sums meet the reference to
 * 1e-5 of the largest element. Choices are equal where queries and keys are small integers: scores
 * then are exact in float and full of ties. Rows of the table that nobody names hold NaN
 * throughout. */
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

/* What a kernel added to `start`. */
static double *added(const double *sum, const double *start, int64_t n) {
    double *diff = malloc((size_t)n * sizeof *diff);
    for (int64_t i = 0; i < n; i++) diff[i] = sum[i] - start[i];
    return diff;
}

/* ---- pkm_select ------------------------------------------------------------------------------ */

typedef struct select_case {
    int64_t n_row, n_head, n_key, d_half, k;
    double *q, *key, *g; /* g: cotangent of score */
} select_case;

static int64_t select_n_q(const select_case *c) {
    return c->n_row * c->n_head * 2 * c->d_half;
}
static int64_t select_n_key(const select_case *c) {
    return c->n_head * 2 * c->n_key * c->d_half;
}
static int64_t select_n_out(const select_case *c) {
    return c->n_row * c->n_head * c->k;
}

static void select_case_init(select_case *c, uint64_t seed, bool integers) {
    c->q = op_random(seed, select_n_q(c), integers ? 3 : 1);
    c->key = op_random(seed + 1, select_n_key(c), integers ? 2 : 1);
    c->g = op_random(seed + 2, select_n_out(c), 1);
    for (int64_t i = 0; i < select_n_q(c) && integers; i++) c->q[i] = round(c->q[i]);
    for (int64_t i = 0; i < select_n_key(c) && integers; i++) c->key[i] = round(c->key[i]);
}

static void select_case_release(select_case *c) {
    free(c->q);
    free(c->key);
    free(c->g);
}

static void select_run(op_bench *b, const void *user, op_result *out) {
    const select_case *c = user;
    const hy__pkm_select_args a = {
        .idx = op_nan_i32(b, select_n_out(c)),
        .score = op_nan(b, select_n_out(c)),
        .q = op_put(b, c->q, select_n_q(c)),
        .key = op_put(b, c->key, select_n_key(c)),
        .dscore = op_put(b, c->g, select_n_out(c)),
        .dq = op_nan(b, select_n_q(c)),
        .dkey = op_put(b, c->key, select_n_key(c)), /* it is added to */
        .n_row = c->n_row,
        .n_head = c->n_head,
        .n_key = c->n_key,
        .d_half = c->d_half,
        .k = c->k,
    };
    b->be->kernels.pkm_select(b->be, &a);
    b->be->kernels.pkm_select_backward(b->be, &a);
    op_keep(out, b, "idx", a.idx, select_n_out(c));
    op_keep(out, b, "score", a.score, select_n_out(c));
    op_keep(out, b, "dq", a.dq, select_n_q(c));
    op_keep(out, b, "dkey", a.dkey, select_n_key(c));
}

static double select_loss(void *user) {
    const select_case *c = user;
    op_result r = op_run(select_run, c, "ref64", 1);
    const double loss = dot(op_kept(&r, "score"), c->g, select_n_out(c));
    op_result_free(&r);
    return loss;
}

static void test_select_gradient(void **state) {
    (void)state;
    select_case c = {.n_row = 3, .n_head = 2, .n_key = 7, .d_half = 3, .k = 4};
    select_case_init(&c, 5, false);
    op_result r = op_run(select_run, &c, "ref64", 1);
    double *dkey = added(op_kept(&r, "dkey"), c.key, select_n_key(&c));
    op_expect_slope("pkm_select dq", select_loss, &c, c.q, op_kept(&r, "dq"), select_n_q(&c),
                    TOL_SLOPE);
    op_expect_slope("pkm_select dkey", select_loss, &c, c.key, dkey, select_n_key(&c), TOL_SLOPE);
    free(dkey);
    op_result_free(&r);
    select_case_release(&c);
}

static const int64_t SELECT_SHAPE[][5] = {/* n_row, n_head, n_key, d_half, k */
                                          {1, 1, 3, 1, 1},      {1, 4, 512, 64, 32},
                                          {63, 1, 64, 16, 8},   {257, 2, 33, 5, 33},
                                          {63, 3, 257, 17, 64}, {5, 2, 64, 8, 64},
                                          {2, 1, 3, 4, 3},      {37, 5, 100, 32, 10}};
enum { N_SELECT_SHAPE = sizeof SELECT_SHAPE / sizeof *SELECT_SHAPE };

static select_case select_shape(int i) {
    return (select_case){.n_row = SELECT_SHAPE[i][0],
                         .n_head = SELECT_SHAPE[i][1],
                         .n_key = SELECT_SHAPE[i][2],
                         .d_half = SELECT_SHAPE[i][3],
                         .k = SELECT_SHAPE[i][4]};
}

static void test_select_exact(void **state) {
    (void)state;
    for (int i = 0; i < N_SELECT_SHAPE; i++) {
        select_case c = select_shape(i);
        select_case_init(&c, 10 + (uint64_t)i, true);
        op_judge("pkm_select of integers", select_run, &c, TOL_FLOAT);
        select_case_release(&c);
    }
}

/* All scores equal: the lowest row numbers win. */
static void test_select_all_equal(void **state) {
    (void)state;
    select_case c = {.n_row = 1, .n_head = 1, .n_key = 70, .d_half = 2, .k = 5};
    select_case_init(&c, 1, false);
    memset(c.q, 0, (size_t)select_n_q(&c) * sizeof *c.q);
    static const double want[] = {0, 1, 2, 3, 4};
    for (const char *const *name = hy__backend_names(); *name; name++) {
        op_result r = op_run(select_run, &c, *name, 1);
        op_expect("pkm_select of equal scores", *name, want, op_kept(&r, "idx"), 5, 0);
        op_result_free(&r);
    }
    select_case_release(&c);
}

/* Scores that are NaN name rows of the table all the same. */
static void test_select_nan(void **state) {
    (void)state;
    select_case c = {.n_row = 40, .n_head = 1, .n_key = 70, .d_half = 3, .k = 9};
    select_case_init(&c, 2, false);
    for (int64_t i = 0; i < select_n_q(&c); i += 5) c.q[i] = (double)NAN;
    for (const char *const *name = hy__backend_names(); *name; name++) {
        op_result r = op_run(select_run, &c, *name, 1);
        const double *idx = op_kept(&r, "idx");
        for (int64_t j = 0; j < select_n_out(&c); j++)
            assert_in_range((int64_t)idx[j], 0, 70 * 70 - 1);
        op_result_free(&r);
    }
    select_case_release(&c);
}

static double pair_score(const select_case *c, int64_t head, int64_t idx) {
    const double *q = c->q + head * 2 * c->d_half; /* head counts through the rows */
    const double *key = c->key + head % c->n_head * 2 * c->n_key * c->d_half;
    return dot(q, key + idx / c->n_key * c->d_half, c->d_half) +
           dot(q + c->d_half, key + (c->n_key + idx % c->n_key) * c->d_half, c->d_half);
}

/* Real numbers: rounding may swap two rows that are nearly equal, so what must hold is that the
 * scores are the reference's, that every row has the score it is listed with, and that none is
 * listed twice. */
static void test_select_real(void **state) {
    (void)state;
    for (int i = 0; i < N_SELECT_SHAPE; i++) {
        select_case c = select_shape(i);
        select_case_init(&c, 30 + (uint64_t)i, false);
        const int64_t n = select_n_out(&c);
        op_result want = op_run(select_run, &c, "ref64", 1);
        double *named = malloc((size_t)n * sizeof *named);
        for (const char *const *name = hy__backend_names(); *name; name++) {
            op_result got = op_run(select_run, &c, *name, 3);
            const double *idx = op_kept(&got, "idx"), *score = op_kept(&got, "score");
            for (int64_t j = 0; j < n; j++) {
                named[j] = pair_score(&c, j / c.k, (int64_t)idx[j]);
                for (int64_t other = j / c.k * c.k; other < j; other++)
                    assert_true(idx[other] != idx[j]);
            }
            op_expect("pkm_select score", *name, op_kept(&want, "score"), score, n, TOL_FLOAT);
            op_expect("pkm_select row", *name, named, score, n, TOL_FLOAT);
            op_result_free(&got);
        }
        free(named);
        op_result_free(&want);
        select_case_release(&c);
    }
}

/* ---- pkm_read -------------------------------------------------------------------------------- */

typedef struct read_case {
    int64_t n_row, n_head, k, d_value, n_value;
    bool bf16;
    int32_t *idx;
    double *score, *table, *start, *use, *g; /* start: dtable before; g: cotangent of y */
} read_case;

static int64_t read_n_pair(const read_case *c) {
    return c->n_row * c->n_head * c->k;
}

/* flag[n_value]: 1 where some pair names the row. */
static int32_t *named_rows(const read_case *c) {
    int32_t *flag = calloc((size_t)c->n_value, sizeof *flag);
    for (int64_t p = 0; p < read_n_pair(c); p++) flag[c->idx[p]] = 1;
    return flag;
}

static void read_case_init(read_case *c, uint64_t seed) {
    const int64_t n_pair = read_n_pair(c), n_table = c->n_value * c->d_value;
    c->score = op_random(seed, n_pair, 3);
    c->table = op_random(seed + 1, n_table, 1);
    c->start = op_random(seed + 2, n_table, 1);
    c->use = op_random(seed + 3, c->n_value, 1);
    c->g = op_random(seed + 4, c->n_row * c->d_value, 1);
    c->idx = malloc((size_t)n_pair * sizeof *c->idx);
    double *r = op_random(seed + 5, n_pair, 1);
    for (int64_t p = 0; p < n_pair; p++) /* squared: low rows are named often, others never */
        c->idx[p] = (int32_t)(r[p] * r[p] * (double)(c->n_value - 1));
    int32_t *named = named_rows(c);
    for (int64_t i = 0; i < n_table; i++)
        if (!named[i / c->d_value]) c->table[i] = (double)NAN;
    free(named);
    free(r);
}

static void read_case_release(read_case *c) {
    double *all[] = {c->score, c->table, c->start, c->use, c->g};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
    free(c->idx);
}

/* Gradient rows that nobody names are as they were, to the bit, and exactly the named are flagged.
 */
static void check_touched(const read_case *c, const double *dtable, const double *touched) {
    int32_t *named = named_rows(c);
    for (int64_t row = 0; row < c->n_value; row++) {
        const size_t at = (size_t)(row * c->d_value), size = (size_t)c->d_value * sizeof *dtable;
        assert_true(touched[row] == named[row]);
        if (!named[row]) assert_memory_equal(dtable + at, c->start + at, size);
    }
    free(named);
}

static void read_run(op_bench *b, const void *user, op_result *out) {
    const read_case *c = user;
    const int64_t n_pair = read_n_pair(c), n_table = c->n_value * c->d_value;
    int32_t *zeros = calloc((size_t)c->n_value, sizeof *zeros);
    const hy__pkm_read_args a = {
        .y = op_nan(b, c->n_row * c->d_value),
        .weight = op_nan(b, n_pair),
        .idx = op_put_i32(b, c->idx, n_pair),
        .score = op_put(b, c->score, n_pair),
        .table = c->bf16 ? op_put_bf16(b, c->table, n_table) : op_put(b, c->table, n_table),
        .use = op_put(b, c->use, c->n_value),
        .dy = op_put(b, c->g, c->n_row * c->d_value),
        .dscore = op_nan(b, n_pair),
        .dtable = op_put(b, c->start, n_table),
        .touched = op_put_i32(b, zeros, c->n_value),
        .reverse = op_nan_i32(b, c->n_value + 1 + n_pair),
        .n_row = c->n_row,
        .n_head = c->n_head,
        .k = c->k,
        .d_value = c->d_value,
        .n_value = c->n_value,
    };
    free(zeros);
    b->be->kernels.pkm_read(b->be, &a);
    assert_true(b->be->counters.table_rows == n_pair);
    b->be->kernels.pkm_read_backward(b->be, &a);
    op_keep(out, b, "y", a.y, c->n_row * c->d_value);
    op_keep(out, b, "weight", a.weight, n_pair);
    op_keep(out, b, "use", a.use, c->n_value);
    op_keep(out, b, "dscore", a.dscore, n_pair);
    op_keep(out, b, "dtable", a.dtable, n_table);
    op_keep(out, b, "touched", a.touched, c->n_value);
    check_touched(c, op_kept(out, "dtable"), op_kept(out, "touched"));
}

static double read_loss(void *user) {
    const read_case *c = user;
    op_result r = op_run(read_run, c, "ref64", 1);
    const double loss = dot(op_kept(&r, "y"), c->g, c->n_row * c->d_value);
    op_result_free(&r);
    return loss;
}

static void test_read_gradient(void **state) {
    (void)state;
    read_case c = {.n_row = 4, .n_head = 2, .k = 3, .d_value = 5, .n_value = 16};
    read_case_init(&c, 50);
    const int64_t n_table = c.n_value * c.d_value;
    op_result r = op_run(read_run, &c, "ref64", 1);
    double *dtable = added(op_kept(&r, "dtable"), c.start, n_table);
    op_expect_slope("pkm_read dscore", read_loss, &c, c.score, op_kept(&r, "dscore"),
                    read_n_pair(&c), TOL_SLOPE);
    op_expect_slope("pkm_read dtable", read_loss, &c, c.table, dtable, n_table, TOL_SLOPE);
    free(dtable);
    op_result_free(&r);
    read_case_release(&c);
}

static void test_read_backends(void **state) {
    (void)state;
    static const int64_t shape[][5] = {
        /* n_row, n_head, k, d_value, n_value */
        {1, 1, 1, 1, 1},    {1, 4, 32, 512, 1024},  {63, 2, 8, 63, 300}, {257, 1, 3, 257, 5000},
        {63, 3, 64, 48, 9}, {300, 4, 7, 16, 65536}, {2, 1, 1, 100, 1000}};
    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++)
        for (int bf16 = 0; bf16 < 2; bf16++) {
            read_case c = {.n_row = shape[i][0],
                           .n_head = shape[i][1],
                           .k = shape[i][2],
                           .d_value = shape[i][3],
                           .n_value = shape[i][4],
                           .bf16 = bf16 == 1};
            read_case_init(&c, 60 + i);
            op_judge(bf16 ? "pkm_read of bf16" : "pkm_read", read_run, &c, TOL_FLOAT);
            read_case_release(&c);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_select_gradient),  cmocka_unit_test(test_select_exact),
        cmocka_unit_test(test_select_all_equal), cmocka_unit_test(test_select_real),
        cmocka_unit_test(test_select_nan),       cmocka_unit_test(test_read_gradient),
        cmocka_unit_test(test_read_backends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
