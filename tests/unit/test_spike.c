/* What stands out of a series: by its own spread, whatever its level, and in spite of what stood
 * out before. */
#include "train/spike.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { N = 200 };

/* A level and a spread of about ±1, in a fixed disorder. */
static void series(double *x, double level, double spread) {
    for (int i = 0; i < N; i++) x[i] = level + spread * ((double)(i * 73 % 199) / 99.0 - 1.0);
}

static void test_spread(void **state) {
    (void)state;
    double x[N];
    for (double level = -3; level < 10; level += 4) {
        series(x, level, 0.1); /* median distance .05, robust deviation .074 */
        assert_false(hy__spike_is(level + 0.6, x, N, 10, 1e-3));
        assert_true(hy__spike_is(level + 0.9, x, N, 10, 1e-3));
        assert_false(hy__spike_is(level - 5, x, N, 10, 1e-3));  /* falling is no harm */
        assert_false(hy__spike_is(level + 0.9, x, N, 10, 0.1)); /* the least width */
        assert_false(hy__spike_is(level + 1e6, x, N, 0, 1e-3)); /* off */
    }
}

static void test_few(void **state) {
    (void)state;
    double x[N];
    series(x, 1, 0.1);
    assert_false(hy__spike_is(100, x, HY__SPIKE_LEAST - 1, 10, 1e-3));
    assert_true(hy__spike_is(100, x, HY__SPIKE_LEAST, 10, 1e-3));
    for (int i = 0; i < N - HY__SPIKE_LEAST + 1; i++) x[i] = NAN; /* dropped steps */
    assert_false(hy__spike_is(100, x, N, 10, 1e-3));
    x[0] = 1; /* as far back as it takes */
    assert_true(hy__spike_is(100, x, N, 10, 1e-3));
}

/* A third of the numbers far off hide nothing; those beyond the window do not count at all. */
static void test_robust(void **state) {
    (void)state;
    double x[N];
    series(x, 2, 0.1);
    for (int i = 0; i < N; i += 3) x[i] = 50 + i;
    assert_true(hy__spike_is(5, x, N, 10, 1e-3));
    series(x, 2, 0.1);
    for (int i = 0; i < N - HY__SPIKE_WINDOW; i++) x[i] = 1e9;
    assert_true(hy__spike_is(5, x, N, 10, 1e-3));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spread),
        cmocka_unit_test(test_few),
        cmocka_unit_test(test_robust),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
