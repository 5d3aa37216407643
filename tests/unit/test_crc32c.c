/* test_crc32c.c: the examples of RFC 3720, B.4, and sums made in parts. */
#include "base/crc32c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void rfc_examples(void **state) {
    (void)state;
    unsigned char data[32];
    memset(data, 0, sizeof data);
    assert_int_equal(hy__crc32c(0, data, 32), 0x8a9136aa);
    memset(data, 0xff, sizeof data);
    assert_int_equal(hy__crc32c(0, data, 32), 0x62a8ab43);
    for (int i = 0; i < 32; i++) data[i] = (unsigned char)i;
    assert_int_equal(hy__crc32c(0, data, 32), 0x46dd794e);
    assert_int_equal(hy__crc32c(0, "123456789", 9), 0xe3069283);
}

static void parts_are_the_whole(void **state) {
    (void)state;
    assert_int_equal(hy__crc32c(0, "", 0), 0);
    assert_int_equal(hy__crc32c(hy__crc32c(0, "1234", 4), "56789", 5), 0xe3069283);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc_examples),
        cmocka_unit_test(parts_are_the_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
