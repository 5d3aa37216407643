/* XXH64: values of the reference implementation, and the same hash for any cut into pieces. */
#include "base/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { N = 1000 };
static unsigned char bytes[N];

static int fill(void **state) {
    (void)state;
    for (int i = 0; i < N; i++) bytes[i] = (unsigned char)(i * 7 + i / 256);
    return 0;
}

static uint64_t hash_of(const void *data, size_t size) {
    hy__hash h;
    hy__hash_init(&h);
    hy__hash_add(&h, data, size);
    return hy__hash_value(&h);
}

/* Computed by the Python package xxhash: every tail around a stripe of 32, a word of 8 and of 4. */
static void test_values(void **state) {
    (void)state;
    static const struct {
        size_t n;
        uint64_t want;
    } prefix[] = {
        {0, UINT64_C(0xef46db3751d8e999)},    {4, UINT64_C(0xae5acdc00a55ac41)},
        {7, UINT64_C(0xd734a6b26f3da63e)},    {8, UINT64_C(0x87116b3365b924eb)},
        {31, UINT64_C(0x0f187c62b1e722b7)},   {32, UINT64_C(0x91b0cb0931a8c629)},
        {33, UINT64_C(0x931b043cf8d65b94)},   {63, UINT64_C(0x219110bf13e2fa26)},
        {64, UINT64_C(0xbf3052e3445775d0)},   {101, UINT64_C(0x42312f4d55d9bd17)},
        {1000, UINT64_C(0x698399d62f9c1695)},
    };
    assert_int_equal(hash_of("a", 1), UINT64_C(0xd24ec4f1a98c6e5b));
    assert_int_equal(hash_of("abc", 3), UINT64_C(0x44bc2cf5ad770999));
    for (size_t i = 0; i < sizeof prefix / sizeof *prefix; i++)
        assert_int_equal(hash_of(bytes, prefix[i].n), prefix[i].want);
}

static void test_any_cut(void **state) {
    (void)state;
    const uint64_t whole = hash_of(bytes, N);
    for (size_t step = 1; step < 100; step++) {
        hy__hash h;
        hy__hash_init(&h);
        for (size_t at = 0; at < N; at += step)
            hy__hash_add(&h, bytes + at, at + step < N ? step : N - at);
        hy__hash_add(&h, NULL, 0);
        assert_int_equal(hy__hash_value(&h), whole);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_any_cut),
    };
    return cmocka_run_group_tests(tests, fill, NULL);
}
