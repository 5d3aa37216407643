/* test_deterministic.c: the law "deterministic" (docs/numerics.md): same seed, same threads, same
 * build give bit-identical losses and gradients; a loss is a function of the weights of its moment;
 * an initial model is a function of its seed alone. */
#include "support/law.h"
#include "support/op.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N = 203 };

/* The loss of one training step, and all gradients after it. */
static double step(const char *backend, const hy__config *c, hy__prec prec, double **grad,
                   int64_t *n_grad) {
    hy_error err = {0};
    law_model lm;
    law_open(&lm, backend, c, 9);
    hy__work *w = NULL;
    law_ok(hy__model_train(lm.m, &err), &err);
    const hy__work_options opt = {.training = true, .prec = prec};
    law_ok(hy__work_new(&w, lm.m, opt, &err), &err);
    int32_t *token = law_tokens(1, N + 1, c->model.vocab);
    const hy__seq seq[] = {{.start = 0, .len = 150, .pos = 0}, {.start = 150, .len = 53, .pos = 0}};
    const hy__batch b = {.rows = {.n_row = N, .n_seq = 2, .seq = seq}, .token = token};
    double sum;
    int64_t count;
    law_ok(hy__forward(w, &b, &err), &err);
    law_ok(hy__loss(w, token + 1, 1.0 / N, NULL, &sum, &count, &err), &err);
    law_ok(hy__backward(w, 1.0, &err), &err);
    *n_grad = 0;
    *grad = NULL;
    for (int64_t i = 0; i < lm.m->n_param; i++) {
        const hy__param *p = &lm.m->param[i];
        if (!hy__present(p->grad)) continue;
        *grad = realloc(*grad, (size_t)(*n_grad + p->n) * sizeof **grad);
        hy__tensor_read_f64(lm.be, *grad + *n_grad, p->grad, p->n);
        *n_grad += p->n;
    }
    hy__work_free(w);
    free(token);
    law_close(&lm);
    return sum;
}

static void expect_same_bits(const char *backend, const hy__config *c, hy__prec prec) {
    double *first, *second;
    int64_t n_first, n_second;
    const double a = step(backend, c, prec, &first, &n_first);
    const double b = step(backend, c, prec, &second, &n_second);
    assert_memory_equal(&a, &b, sizeof a);
    assert_int_equal(n_first, n_second);
    assert_memory_equal(first, second, (size_t)n_first * sizeof *first);
    free(first);
    free(second);
}

static void test_same_bits(void **state) {
    (void)state;
    for (const char *const *be = hy__backend_names(); *be; be++)
        for (uint64_t seed = 1; seed <= 8; seed++) {
            const hy__config c = law_random_config(seed + 40, 5);
            expect_same_bits(*be, &c, HY__PREC_FP32);
            expect_same_bits(*be, &c, HY__PREC_BF16);
        }
}

static double loss_of(hy__work *w, const int32_t *token) {
    hy_error err = {0};
    const hy__seq seq = {.len = N};
    const hy__batch b = {.rows = {.n_row = N, .n_seq = 1, .seq = &seq}, .token = token};
    double sum;
    int64_t count;
    law_ok(hy__forward(w, &b, &err), &err);
    law_ok(hy__loss(w, token + 1, 0, NULL, &sum, &count, &err), &err);
    return sum;
}

/* A loss is one of the weights of its moment: nothing is left of those that were before. */
static void check_moved(const hy__config *c, hy__prec prec) {
    hy_error err = {0};
    const hy__work_options opt = {.training = true, .prec = prec};
    hy__work *used, *fresh;
    law_model lm;
    law_open(&lm, "cpu", c, 9);
    int32_t *token = law_tokens(1, N + 1, c->model.vocab);
    law_ok(hy__model_train(lm.m, &err), &err);
    law_ok(hy__work_new(&used, lm.m, opt, &err), &err);
    law_ok(hy__work_new(&fresh, lm.m, opt, &err), &err);
    const double before = loss_of(used, token);
    hy__model_randomize(lm.m, 2);
    const double after = loss_of(used, token), want = loss_of(fresh, token);
    assert_true(before != after);
    assert_memory_equal(&after, &want, sizeof after);
    hy__work_free(used);
    hy__work_free(fresh);
    free(token);
    law_close(&lm);
}

static void test_moved_weights(void **state) {
    (void)state;
    for (const char *p = "SAEFWP"; *p; p++) {
        const hy__config c = law_config((char[]){*p, 0});
        check_moved(&c, HY__PREC_FP32);
        check_moved(&c, HY__PREC_BF16);
    }
}

static void test_init(void **state) {
    (void)state;
    hy_error err = {0};
    const hy__config c = law_config("SAEFWP");
    float *weights[3];
    for (int i = 0; i < 3; i++) { /* seed 1 with one thread and with two, then seed 2 */
        hy__backend *be;
        hy__model *m;
        law_ok(hy__backend_open(&be, "cpu", i == 0 ? 1 : 2, &err), &err);
        law_ok(hy__model_new(&m, be, &c, be->real, &err), &err);
        hy__model_randomize(m, i == 2 ? 2 : 1);
        const int64_t n = m->param[m->embed].n;
        weights[i] = malloc((size_t)n * sizeof(float));
        hy__tensor_read_f32(be, weights[i], m->param[m->embed].value, n);
        if (i > 0)
            assert_int_equal(memcmp(weights[0], weights[i], (size_t)n * sizeof(float)) == 0,
                             i == 1);
        hy__model_free(m);
        hy__backend_free(be);
    }
    for (int i = 0; i < 3; i++) free(weights[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_moved_weights),
        cmocka_unit_test(test_init),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
