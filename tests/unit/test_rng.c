/* Philox against the known answers that its authors publish (Random123, kat_vectors), and the
 * moments of the numbers made of it. */
#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { SAMPLES = 200000 };

static void known_answers(void **state) {
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], want[4];
    } row[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        uint32_t out[4];
        hy__philox(out, row[i].counter, row[i].key);
        assert_memory_equal(out, row[i].want, sizeof out);
    }
}

static void keys_differ_by_each_part(void **state) {
    (void)state;
    const uint64_t key = hy__rng_key(1, "init", 0);
    assert_true(key == hy__rng_key(1, "init", 0));
    assert_true(key != hy__rng_key(2, "init", 0));
    assert_true(key != hy__rng_key(1, "data", 0));
    assert_true(key != hy__rng_key(1, "init", 1));
    assert_true(key != hy__rng_key(1, "", 0));
    assert_true(hy__rng_uniform(key, 0) != hy__rng_uniform(key, 1));
    assert_true(hy__rng_uniform(key, 0) !=
                hy__rng_uniform(key, (uint64_t)1 << 32)); /* all 64 bits count */
}

/* Bounds are five standard errors of the mean of SAMPLES draws. */
static void uniform_moments(void **state) {
    (void)state;
    const uint64_t key = hy__rng_key(7, "uniform", 0);
    double sum = 0, square = 0;
    for (uint64_t i = 0; i < SAMPLES; i++) {
        const double u = hy__rng_uniform(key, i);
        assert_true(u >= 0 && u < 1);
        sum += u;
        square += u * u;
    }
    assert_true(fabs(sum / SAMPLES - 0.5) < 5 * sqrt(1.0 / 12 / SAMPLES));
    assert_true(fabs(square / SAMPLES - 1.0 / 3) < 5 * sqrt(4.0 / 45 / SAMPLES));
}

static void normal_moments(void **state) {
    (void)state;
    const uint64_t key = hy__rng_key(7, "normal", 0);
    double m1 = 0, m2 = 0, m4 = 0;
    for (uint64_t i = 0; i < SAMPLES; i++) {
        const double z = hy__rng_normal(key, i);
        assert_true(isfinite(z));
        m1 += z;
        m2 += z * z;
        m4 += z * z * z * z;
    }
    assert_true(fabs(m1 / SAMPLES) < 5 * sqrt(1.0 / SAMPLES));
    assert_true(fabs(m2 / SAMPLES - 1) < 5 * sqrt(2.0 / SAMPLES));
    assert_true(fabs(m4 / SAMPLES - 3) < 5 * sqrt(96.0 / SAMPLES));
}

static void below_covers_its_range(void **state) {
    (void)state;
    const uint64_t key = hy__rng_key(7, "below", 0);
    int64_t count[7] = {0};
    for (uint64_t i = 0; i < SAMPLES; i++) count[hy__rng_below(key, i, 7)]++;
    const double want = SAMPLES / 7.0, sd = sqrt(SAMPLES * (1.0 / 7) * (6.0 / 7));
    for (int i = 0; i < 7; i++) assert_true(fabs((double)count[i] - want) < 5 * sd);
    for (uint64_t i = 0; i < 100; i++) {
        assert_true(hy__rng_below(key, i, 1) == 0);
        const int64_t far = hy__rng_below(key, i, INT64_MAX);
        assert_true(far >= 0 && far < INT64_MAX);
    }
}

static void permutations_take_each_once(void **state) {
    (void)state;
    enum { MOST = 5000 };
    static const int64_t sizes[] = {1, 2, 3, 4, 5, 16, 17, 63, 64, 65, 256, 257, 1000, MOST};
    static bool seen[MOST];
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        const int64_t n = sizes[s];
        memset(seen, 0, sizeof seen);
        for (int64_t i = 0; i < n; i++) {
            const int64_t to = hy__rng_permute(7 + s, i, n);
            assert_true(to >= 0 && to < n && !seen[to]);
            seen[to] = true;
        }
    }
    const int64_t far = hy__rng_permute(1, INT64_C(1) << 60, (INT64_C(1) << 60) + 1);
    assert_true(far >= 0 && far <= INT64_C(1) << 60);
}

/* Over many keys every element comes to every place equally often, and so do pairs of neighbours.
 */
static void permutations_are_even(void **state) {
    (void)state;
    enum { N = 6, KEYS = 36000 };
    int place[N][N] = {{0}}, pair[N][N] = {{0}};
    for (uint64_t key = 0; key < KEYS; key++) {
        int64_t to[N];
        for (int64_t i = 0; i < N; i++) {
            to[i] = hy__rng_permute(hy__rng_key(key, "even", 0), i, N);
            place[i][to[i]]++;
        }
        for (int i = 0; i + 1 < N; i++) pair[to[i]][to[i + 1]]++;
    }
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            /* five standard deviations */
            assert_true(fabs(place[i][j] - KEYS / (double)N) < 5 * sqrt(KEYS / (double)N));
            if (i != j)
                assert_true(fabs(pair[i][j] - KEYS / (double)N) < 5 * sqrt(KEYS / (double)N));
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers),          cmocka_unit_test(keys_differ_by_each_part),
        cmocka_unit_test(uniform_moments),        cmocka_unit_test(normal_moments),
        cmocka_unit_test(below_covers_its_range), cmocka_unit_test(permutations_take_each_once),
        cmocka_unit_test(permutations_are_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
