/* test_screen.c: the history behind the sparklines of a training. */
#include "cmd/screen.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void a_sparkline_shows_low_and_high(void **state) {
    (void)state;
    screen_history h = {0};
    char text[4 * SCREEN_HISTORY];
    screen_sparkline(&h, 10, true, text, sizeof text);
    assert_string_equal(text, "");
    for (int i = 0; i < 8; i++) screen_history_add(&h, i);
    screen_history_add(&h, NAN); /* a step without a loss */
    screen_sparkline(&h, 10, true, text, sizeof text);
    assert_string_equal(text, "▁▂▃▄▅▆▇█");
    screen_sparkline(&h, 3, false, text, sizeof text);
    assert_string_equal(text, "_~#");
    screen_sparkline(&h, 10, true, text, 7); /* whole characters or none */
    assert_string_equal(text, "▁▂");
}

static void equal_numbers_are_a_flat_line(void **state) {
    (void)state;
    screen_history h = {0};
    char text[64];
    for (int i = 0; i < 3; i++) screen_history_add(&h, 2);
    screen_sparkline(&h, 10, false, text, sizeof text);
    assert_string_equal(text, "___");
}

/* Any number of steps is kept in SCREEN_HISTORY means, in order. */
static void a_long_run_keeps_its_shape(void **state) {
    (void)state;
    screen_history h = {0};
    for (int i = 0; i < 100000; i++) screen_history_add(&h, i);
    assert_true(h.n > SCREEN_HISTORY / 2 && h.n <= SCREEN_HISTORY);
    for (int i = 1; i < h.n; i++) assert_true(h.mean[i] > h.mean[i - 1]);
    assert_true(h.mean[0] < 3000 && h.mean[h.n - 1] > 97000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sparkline_shows_low_and_high),
        cmocka_unit_test(equal_numbers_are_a_flat_line),
        cmocka_unit_test(a_long_run_keeps_its_shape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
