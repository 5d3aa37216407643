/* test_causal.c: the law "causal" (docs/numerics.md): change token t, and the logits before t are
 * bit-identical on the reference kernels and within 1e-5 on the fast ones (whose sums may be
 * ordered by position in a tile), for every letter alone and for random patterns. And the change is
 * seen from t on, so that the test cannot pass by a model that ignores its input. The control of
 * the test is a model that is not causal: experts routed by the mean of a unit's own tokens. */
#include "support/law.h"
#include "support/op.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N_RANDOM = 60, N_TOKEN = 131 };

static void try_change(law_model *lm, const int32_t *token, const double *before, int64_t t) {
    const int64_t vocab = lm->m->cfg.model.vocab;
    int32_t changed[N_TOKEN];
    memcpy(changed, token, sizeof changed);
    changed[t] = (int32_t)((changed[t] + 1 + law_below((uint64_t)t, 3, vocab - 1)) % vocab);
    double *after = law_logits(lm, changed, N_TOKEN, NULL, 0, NULL);
    char where[160];
    snprintf(where, sizeof where, "\"%.80s\", token %lld changed", lm->m->cfg.model.layers,
             (long long)t);
    const bool fast = strcmp(lm->be->name, "cpu") == 0;
    if (t > 0) op_expect(where, lm->be->isa, before, after, t * vocab, fast ? 1e-5 : 0.0);
    assert_true(op_error(before + t * vocab, after + t * vocab, vocab) > 1e-6);
    free(after);
}

static void try_config(const char *backend, const hy__config *c, uint64_t seed) {
    law_model lm;
    law_open(&lm, backend, c, seed);
    int32_t *token = law_tokens(seed, N_TOKEN, c->model.vocab);
    double *before = law_logits(&lm, token, N_TOKEN, NULL, 0, NULL);
    const int64_t at[] = {0,
                          1,
                          c->model.chunk - 1,
                          c->model.chunk,
                          N_TOKEN - 1,
                          law_below(seed, 5, N_TOKEN),
                          law_below(seed, 6, N_TOKEN)};
    for (size_t i = 0; i < sizeof at / sizeof *at; i++) try_change(&lm, token, before, at[i]);
    free(before);
    free(token);
    law_close(&lm);
}

static void test_each_letter(void **state) {
    (void)state;
    law_each_letter(try_config);
}

static void test_random_patterns(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= N_RANDOM; seed++) {
        const hy__config c = law_random_config(seed + 500, 6);
        try_config(seed % 4 == 0 ? "ref" : "cpu", &c, seed);
    }
}

static void try_shipped(const hy__config *c, uint64_t seed) {
    try_config("cpu", c, seed);
}

static void test_shipped_configurations(void **state) {
    (void)state;
    law_each_shipped(try_shipped);
}

/* The first tokens of a unit see a change of its last one; those of the unit before do not. */
static void test_a_leak_is_seen(void **state) {
    (void)state;
    hy__config c = law_config("E");
    c.experts.route = HY__ROUTE_OWN;
    law_finish(&c);
    const int64_t unit = c.experts.expert_chunk, last = 3 * unit - 1, vocab = c.model.vocab;
    for (const char *const *be = hy__backend_names(); *be; be++) {
        law_model lm;
        law_open(&lm, *be, &c, 9);
        int32_t *token = law_tokens(9, N_TOKEN, vocab);
        double *before = law_logits(&lm, token, N_TOKEN, NULL, 0, NULL);
        token[last] = (token[last] + 1) % (int32_t)vocab;
        double *after = law_logits(&lm, token, N_TOKEN, NULL, 0, NULL);
        const int64_t at = 2 * unit * vocab;
        op_expect("own routing: units before", lm.be->isa, before, after, at, 1e-5);
        assert_true(op_error(before + at, after + at, (unit - 1) * vocab) > 1e-4);
        free(before);
        free(after);
        free(token);
        law_close(&lm);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_letter),
        cmocka_unit_test(test_random_patterns),
        cmocka_unit_test(test_shipped_configurations),
        cmocka_unit_test(test_a_leak_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
