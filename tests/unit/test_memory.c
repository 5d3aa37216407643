/* test_memory.c: what the process and the machine hold (base/memory.h). */
#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

enum { SIZE = 64 << 20 };

/* A mapping: no allocator keeps it when it goes, with sanitizers neither. */
static void touch_and_free(void) {
    char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED);
    memset(p, 1, SIZE);
    munmap(p, SIZE);
}

static void test_peak_restarts(void **state) {
    (void)state;
    touch_and_free();
    const int64_t before = hy__rss_peak_bytes();
    assert_true(before >= SIZE);
    if (!hy__rss_peak_restart()) skip();
    const int64_t after = hy__rss_peak_bytes();
    assert_true(after > 0 && after < before - SIZE / 2);
    touch_and_free();
    assert_true(hy__rss_peak_bytes() >= after + SIZE / 2);
}

static void test_machine(void **state) {
    (void)state;
    const int64_t all = hy__memory_bytes(), room = hy__memory_free_bytes();
    assert_true(all > SIZE);
    assert_true(room >= 0 && room <= all);
    assert_true(hy__rss_bytes() < all);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_peak_restarts),
        cmocka_unit_test(test_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
