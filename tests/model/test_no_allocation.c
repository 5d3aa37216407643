/* test_no_allocation.c: once a shape has been met, a step of training, a prefill, a decoded token
 * allocate nothing. The linker hands our own allocations to the functions below; those inside of
 * oneDNN, which makes a product's primitive anew (gemm_dnnl.c), do not pass here. */
#include "bench/workload.h"
#include "support/law.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static long n_allocation;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
int __real_posix_memalign(void **p, size_t align, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);
int __wrap_posix_memalign(void **p, size_t align, size_t size);

void *__wrap_malloc(size_t size) {
    n_allocation++;
    return __real_malloc(size);
}
void *__wrap_calloc(size_t n, size_t size) {
    n_allocation++;
    return __real_calloc(n, size);
}
void *__wrap_realloc(void *p, size_t size) {
    n_allocation++;
    return __real_realloc(p, size);
}
void *__wrap_aligned_alloc(size_t align, size_t size) {
    n_allocation++;
    return __real_aligned_alloc(align, size);
}
int __wrap_posix_memalign(void **p, size_t align, size_t size) {
    n_allocation++;
    return __real_posix_memalign(p, align, size);
}

static void check(const hy__config *c, hy__phase phase, const char *backend) {
    const hy__shape shape = {.phase = phase, .batch = 2, .tokens = 100, .store = HY__STORE_FP32};
    hy_error err = {0};
    hy__workload *w;
    hy__lap lap;
    law_model lm;
    law_open(&lm, backend, c, 1);
    law_ok(hy__workload_new(&w, lm.m, &shape, HY__OPTIMIZER_MUON, &err), &err);
    law_ok(hy__workload_run(w, &lap, &err), &err);
    const long before = n_allocation;
    assert_true(before > 0);
    law_ok(hy__workload_run(w, &lap, &err), &err);
    if (n_allocation != before)
        fail_msg("%s, phase %d, on %s: %ld allocations", c->model.layers, (int)phase, backend,
                 n_allocation - before);
    hy__workload_free(w);
    law_close(&lm);
}

static void test_second_run(void **state) {
    (void)state;
    static const char *const BACKEND[] = {"cpu", "cpu:generic"};
    for (size_t b = 0; b < sizeof BACKEND / sizeof *BACKEND; b++)
        for (hy__phase p = 0; p < HY__PHASE_N; p++) {
            for (const char *letter = "SAEFWP"; *letter; letter++) {
                const hy__config c = law_config((char[]){*letter, 0});
                check(&c, p, BACKEND[b]);
            }
            const hy__config c = law_config("S SE A SW SP SAF");
            check(&c, p, BACKEND[b]);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_second_run)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
