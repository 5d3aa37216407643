/* test_any_split.c: the law "any split" (docs/numerics.md): a sequence fed whole, or cut anywhere
 * into any pieces, gives the same logits and the same final state, for every letter alone and for
 * random patterns. */
#include "support/law.h"
#include "support/op.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { N_RANDOM = 60, MAX_CUT = 64 };

/* fp32 rounding through a few layers, in the units of the largest logit: docs/numerics.md says
 * 1e-4. In double only the order of sums differs. */
static double tolerance(const hy__backend *be) {
    return be->real == HY__DTYPE_F64 ? 1e-11 : 1e-4;
}

static void compare(law_model *lm, const int32_t *token, int64_t n, const int64_t *cut,
                    int64_t n_cut, const char *what) {
    hy__state *whole_state, *cut_state;
    double *whole = law_logits(lm, token, n, NULL, 0, &whole_state);
    double *pieces = law_logits(lm, token, n, cut, n_cut, &cut_state);
    int64_t n_whole, n_pieces;
    double *whole_values = law_state_values(whole_state, &n_whole);
    double *cut_values = law_state_values(cut_state, &n_pieces);
    char where[160];
    snprintf(where, sizeof where, "%s: \"%.80s\", %lld tokens in %lld pieces", what,
             lm->m->cfg.model.layers, (long long)n, (long long)n_cut + 1);
    op_expect(where, lm->be->isa, whole, pieces, n * lm->m->cfg.model.vocab, tolerance(lm->be));
    assert_int_equal(whole_state->pos, cut_state->pos);
    if (n_whole == n_pieces) /* an unbounded cache may have grown to different sizes */
        op_expect(where, lm->be->isa, whole_values, cut_values, n_whole, tolerance(lm->be));
    free(whole);
    free(pieces);
    free(whole_values);
    free(cut_values);
    hy__state_free(whole_state);
    hy__state_free(cut_state);
}

static void try_config(const char *backend, const hy__config *c, uint64_t seed) {
    const int64_t lengths[] = {1, c->model.chunk - 1, c->model.chunk, c->model.chunk + 1, 67, 131};
    law_model lm;
    law_open(&lm, backend, c, seed);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        const int64_t n = lengths[i];
        int32_t *token = law_tokens(seed + i, n, c->model.vocab);
        int64_t cut[MAX_CUT];
        compare(&lm, token, n, cut, law_cuts(seed * 7 + i, n, cut, MAX_CUT), "random cuts");
        if (n <= MAX_CUT) { /* decode: one token at a time */
            for (int64_t j = 0; j + 1 < n; j++) cut[j] = j + 1;
            compare(&lm, token, n, cut, n - 1, "one by one");
        }
        free(token);
    }
    law_close(&lm);
}

static void test_each_letter(void **state) {
    (void)state;
    law_each_letter(try_config);
}

static void test_random_patterns(void **state) {
    (void)state;
    const char *const *names = hy__backend_names();
    uint64_t n_name = 0;
    while (names[n_name]) n_name++;
    for (uint64_t seed = 1; seed <= N_RANDOM; seed++) {
        const hy__config c = law_random_config(seed, 6);
        try_config("cpu", &c, seed);
        try_config(names[seed % n_name], &c, seed); /* the others take turns */
    }
}

static void try_shipped(const hy__config *c, uint64_t seed) {
    try_config("ref64", c, seed);
    try_config("cpu", c, seed);
}

static void test_shipped_configurations(void **state) {
    (void)state;
    law_each_shipped(try_shipped);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_letter),
        cmocka_unit_test(test_random_patterns),
        cmocka_unit_test(test_shipped_configurations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
