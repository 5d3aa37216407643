/* The nearest known word: typing errors, abbreviations, parts, and what is too far. */
#include "base/nearest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const char *const name[] = {"train", "generate", "eval", "max-tokens"};

static void test_typing_errors(void **state) {
    (void)state;
    assert_string_equal(hy__nearest("tarin", name, 4), "train");
    assert_string_equal(hy__nearest("evla", name, 4), "eval");
    assert_string_equal(hy__nearest("max_token", name, 4), "max-tokens");
}

static void test_abbreviations_and_parts(void **state) {
    (void)state;
    assert_string_equal(hy__nearest("gen", name, 4), "generate");
    assert_string_equal(hy__nearest("tokens", name, 4), "max-tokens");
    /* a beginning comes before a part, wherever they stand */
    const char *const both[] = {"rtx-100", "100-series"};
    assert_string_equal(hy__nearest("100", both, 2), "100-series");
    assert_null(hy__nearest("10", both, 2)); /* too short to stand for a word */
}

static void test_too_far(void **state) {
    (void)state;
    assert_null(hy__nearest("frobnicate", name, 4));
    assert_null(hy__nearest("", name, 4));
    assert_null(hy__nearest("train", name, 0));
    assert_null(hy__nearest("a-word-of-more-than-sixty-four-bytes-is-not-compared-at-all-whatever",
                            name, 4));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_typing_errors),
        cmocka_unit_test(test_abbreviations_and_parts),
        cmocka_unit_test(test_too_far),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
