/* test_scratch.c: a kernel that cannot have its scratch writes nothing, and no other kernel reads
 * what is not there until hy__backend_check has told of it; then all work again. */
#include "support/op.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* The address sanitizer would end the program at a size that no machine has. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "allocator_may_return_null=1";
}

/* A convolution of so many channels and tokens that its sums fit into no address space. */
static void ask_too_much(hy__backend *be) {
    const int64_t n = INT64_C(1) << 46;
    const hy__seq seq = {.len = n};
    const hy__rows rows = {.n_row = n, .n_seq = 1, .seq = &seq};
    be->kernels.conv_backward(be, &(hy__conv_args){.rows = &rows, .ch = n, .width = 4});
}

static void expect_one(op_bench *b, hy__tensor t, double want) {
    double got;
    op_get(b, &got, t, 1);
    assert_true(got == want);
}

static void kernels_rest_until_the_failure_is_told(void **state) {
    (void)state;
    for (const char *const *name = hy__backend_names(); *name; name++) {
        op_bench b;
        op_open(&b, *name, 2);
        const hy__tensor from = op_put(&b, &(double){1}, 1), to = op_put(&b, &(double){2}, 1);
        const hy__copy_args copy = {.dst = to, .src = from, .n = 1};
        for (int again = 0; again < 2; again++) {
            ask_too_much(b.be);
            ask_too_much(b.be);
            b.be->kernels.copy(b.be, &copy);
            expect_one(&b, to, 2);
            hy_error err = {0};
            assert_int_equal(hy__backend_check(b.be, &err), HY_E_MEMORY);
            assert_non_null(strstr(err.text, "MB of scratch"));
            assert_int_equal(hy__backend_check(b.be, NULL), HY_OK);
        }
        b.be->kernels.copy(b.be, &copy);
        expect_one(&b, to, 1);
        op_close(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(kernels_rest_until_the_failure_is_told)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
