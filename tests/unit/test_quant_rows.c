/* test_quant_rows.c: quantised rows: where each number lies, how far it may move, what is kept exactly.
 */
#include "tensor/quant.h"

#include "base/bf16.h"
#include "support/op.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { GROUP = HY__QUANT_GROUP, COLS_MAX = 49 * GROUP };

static const hy__dtype FORMAT[] = {HY__DTYPE_Q8, HY__DTYPE_Q4};
enum { N_FORMAT = 2 };

/* Groups of a row: one, around a whole piece, and several pieces. */
static const int64_t N_GROUP[] = {1, 4, 15, 16, 17, 24, 32, 49};
enum { N_LENGTH = sizeof N_GROUP / sizeof *N_GROUP };

static float *random_row(uint64_t seed, int64_t n, double scale) {
    double *x = op_random(seed, n, scale);
    float *row = malloc((size_t)n * sizeof *row);
    for (int64_t i = 0; i < n; i++) row[i] = (float)x[i];
    free(x);
    return row;
}

static void test_sizes(void **state) {
    (void)state;
    assert_int_equal(hy__dtype_bytes(HY__DTYPE_Q8, 96), 3 * 34);
    assert_int_equal(hy__dtype_bytes(HY__DTYPE_Q4, 96), 3 * 18);
    assert_int_equal(hy__at((hy__tensor){.buf = &(hy__buffer){0}, .dtype = HY__DTYPE_Q4}, 64).off,
                     36);
}

/* The layout of quant.h, byte by byte, of integers that a scale of 1 or 1/2 keeps. */
static void test_layout(void **state) {
    (void)state;
    enum { N = 18, COLS = N * GROUP };
    float row[COLS];
    for (int64_t g = 0; g < N; g++)
        for (int64_t i = 0; i < GROUP; i++) {
            const float most = i == 5 ? 1 : 0; /* decides the scale: 127 or -8 */
            row[g * GROUP + i] = (g % 2 ? 0.5f : 1.0f) * (most > 0 ? 127.0f : (float)(i - 16));
        }
    unsigned char q8[COLS * 34 / GROUP], q4[COLS * 18 / GROUP];
    hy__quant_pack(q8, HY__DTYPE_Q8, row, COLS);
    for (int64_t i = 0; i < COLS; i++)
        row[i] = row[i] > 60 ? -8 * (i / GROUP % 2 ? 0.5f : 1.0f) : fmodf(row[i], 4);
    hy__quant_pack(q4, HY__DTYPE_Q4, row, COLS);
    for (int64_t g = 0; g < N; g++) {
        const int64_t first = g / 16 * 16, n = first ? 2 : 16, lane = g - first;
        const unsigned char *p8 = q8 + first * 34, *p4 = q4 + first * 18;
        uint16_t scale;
        memcpy(&scale, p8 + 2 * lane, 2);
        assert_true(hy__bf16_to_f32(scale) == (g % 2 ? 0.5f : 1.0f));
        memcpy(&scale, p4 + 2 * lane, 2);
        const float s4 = hy__bf16_to_f32(scale);
        for (int64_t i = 0; i < GROUP; i++) {
            const signed char v8 = (signed char)p8[2 * n + (i / 4 * n + lane) * 4 + i % 4];
            assert_int_equal(v8, i == 5 ? 127 : i - 16);
            const int64_t h = i % 16;
            const int byte = p4[2 * n + (h / 4 * n + lane) * 4 + h % 4];
            const int v4 = (i < 16 ? byte & 15 : byte >> 4) - 8;
            assert_true((float)v4 * s4 == row[g * GROUP + i]);
        }
    }
}

/* Every number is within half a step, and the largest within its own rounding. */
static void test_int8_is_close(void **state) {
    (void)state;
    unsigned char *packed = malloc(hy__dtype_bytes(HY__DTYPE_Q8, COLS_MAX));
    for (int k = 0; k < N_LENGTH; k++) {
        const int64_t cols = N_GROUP[k] * GROUP;
        float *x = random_row((uint64_t)k, cols, 0.02);
        hy__quant_pack(packed, HY__DTYPE_Q8, x, cols);
        for (int64_t g = 0; g < cols; g += GROUP) {
            float most = 0;
            for (int64_t i = g; i < g + GROUP; i++) most = fmaxf(most, fabsf(x[i]));
            for (int64_t i = g; i < g + GROUP; i++) {
                const float e = x[i] - hy__quant_get(packed, HY__DTYPE_Q8, cols, i);
                /* half a step, of a scale that bf16 rounds by 1/256 */
                assert_true(fabsf(e) <= 0.5f * most / 127 * (1 + 1.0f / 128));
            }
        }
        free(x);
    }
    free(packed);
}

/* Σ e² of a group when the scale is simply what the largest number needs. */
static double plain_error(const float *x) {
    float most = 0;
    double sum = 0;
    for (int i = 0; i < GROUP; i++) most = fmaxf(most, fabsf(x[i]));
    for (int i = 0; i < GROUP; i++) {
        const double s = (double)most / 7, e = (double)x[i] - s * rint((double)x[i] / s);
        sum += e * e;
    }
    return sum;
}

/* The search gains at least a fifth of the squared error over max/7, on average, and never loses.
 */
static void test_int4_searches(void **state) {
    (void)state;
    enum { COLS = 4096 };
    float *x = random_row(7, COLS, 1);
    for (int64_t i = 0; i < COLS; i++) x[i] = x[i] * x[i] * x[i]; /* tails */
    unsigned char *packed = malloc(hy__dtype_bytes(HY__DTYPE_Q4, COLS));
    hy__quant_pack(packed, HY__DTYPE_Q4, x, COLS);
    double all = 0, plain_all = 0;
    for (int64_t g = 0; g < COLS; g += GROUP) {
        double sum = 0;
        for (int64_t i = g; i < g + GROUP; i++) {
            const double e = (double)(x[i] - hy__quant_get(packed, HY__DTYPE_Q4, COLS, i));
            sum += e * e;
        }
        assert_true(sum <= plain_error(x + g) * 1.01); /* bf16 rounds the scale */
        all += sum;
        plain_all += plain_error(x + g);
    }
    assert_true(all < 0.8 * plain_all);
    free(packed);
    free(x);
}

static void test_odd_groups(void **state) {
    (void)state;
    for (int f = 0; f < N_FORMAT; f++) {
        float x[4 * GROUP] = {0};
        unsigned char packed[4 * 34];
        for (int i = 0; i < GROUP; i++) x[GROUP + i] = 1e-41f; /* no scale is small enough */
        x[2 * GROUP + 3] = NAN;
        x[3 * GROUP + 3] = -INFINITY;
        hy__quant_pack(packed, FORMAT[f], x, 4 * GROUP);
        for (int i = 0; i < 2 * GROUP; i++)
            assert_true(hy__quant_get(packed, FORMAT[f], 4 * GROUP, i) == 0);
        for (int i = 2 * GROUP; i < 4 * GROUP; i++)
            assert_true(isnan(hy__quant_get(packed, FORMAT[f], 4 * GROUP, i)));
    }
}

/* Packing what was unpacked changes nothing: the numbers stand on a grid already. */
static void test_again(void **state) {
    (void)state;
    enum { COLS = 24 * GROUP };
    for (int f = 0; f < N_FORMAT; f++) {
        float *x = random_row(9, COLS, 3), y[COLS];
        unsigned char one[24 * 34];
        hy__quant_pack(one, FORMAT[f], x, COLS);
        for (int i = 0; i < COLS; i++) y[i] = hy__quant_get(one, FORMAT[f], COLS, i);
        unsigned char two[24 * 34];
        hy__quant_pack(two, FORMAT[f], y, COLS);
        for (int i = 0; i < COLS; i++)
            assert_true(fabsf(y[i] - hy__quant_get(two, FORMAT[f], COLS, i)) <=
                        fabsf(y[i]) / 128); /* another bf16 scale may serve as well */
        free(x);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),         cmocka_unit_test(test_layout),
        cmocka_unit_test(test_int8_is_close), cmocka_unit_test(test_int4_searches),
        cmocka_unit_test(test_odd_groups),    cmocka_unit_test(test_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
