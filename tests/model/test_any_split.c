/* test_any_split.c: the law "any split" (docs/numerics.md): a sequence fed whole, or cut anywhere
 * into any pieces, gives the same logits and the same final state, for every letter alone and for
 * random patterns; in bf16 but for what rounding is worth. */
#include "support/law.h"
#include "support/op.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    assert_int_equal(n_whole, n_pieces);
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

/* ---- weights in bf16 ---- */

/* Random patterns without near ties: all experts, all or no blocks, one row of the table. Where
 * rounding tips a choice another expert answers, and no law says by how much it differs. */
static hy__config without_choices(hy__config c) {
    memset(c.derived, 0, sizeof c.derived);
    c.experts.k = c.experts.shortlist = c.experts.n_expert;
    c.attention.topk = c.attention.topk > 0 ? 16 : 0;
    c.attention.memory_blocks = 0;
    c.pkm.n_key = c.pkm.topk = 1;
    law_finish(&c);
    return c;
}

/* The largest of the tokens' differences, each the root mean square over the vocabulary. */
static double most_different(const double *a, const double *b, int64_t n, int64_t vocab) {
    double most = 0;
    for (int64_t t = 0; t < n; t++) {
        double sum = 0;
        for (int64_t v = t * vocab; v < (t + 1) * vocab; v++) sum += (a[v] - b[v]) * (a[v] - b[v]);
        most = fmax(most, sqrt(sum / (double)vocab));
    }
    return most;
}

/* What rounding every operand of the products with weights changes, by the specification: `ref64`
 * with the same weights, once as if its machine multiplied bf16. */
static double rounding(const hy__config *c, uint64_t seed, const int32_t *token, int64_t n) {
    law_model lm;
    law_open_bf16(&lm, "ref64", c, seed);
    double *exact = law_logits(&lm, token, n, NULL, 0, NULL);
    lm.be->has_bf16 = true;
    double *rounded = law_logits(&lm, token, n, NULL, 0, NULL);
    const double d = most_different(exact, rounded, n, c->model.vocab);
    free(exact);
    free(rounded);
    law_close(&lm);
    return d;
}

/* How far two ways to cut may be apart. A product of many rows rounds its activations to the 8 bits
 * of bf16, one of few rows does not, so a cut changes which operands are rounded. D, above, is the
 * effect of rounding them all; roundings are independent, so that effects add by squares, and any
 * part of them is worth D at most. The products inside S and A (scores, states, what they weigh)
 * are rounded too and the specification does not round those; on the way from a layer's input to
 * its output they are no more than the roundings that it does make (S: in_proj's inputs, which
 * reach z, x, B, C and Δ, and out_proj's; inside: B, C, x, scores, states), so all together are
 * worth at most √2·D. That is the distance of either way from the exact logits: of each other,
 * twice that. */
static double bf16_tolerance(const hy__config *c, uint64_t seed, const int32_t *token, int64_t n) {
    return 2 * sqrt(2) * rounding(c, seed, token, n);
}

static void try_bf16(const char *backend, const hy__config *config, uint64_t seed) {
    enum { N = 83 };
    const hy__config c = without_choices(*config);
    int64_t cut[N];
    law_model lm;
    law_open_bf16(&lm, backend, &c, seed);
    int32_t *token = law_tokens(seed, N, c.model.vocab);
    const double tol = bf16_tolerance(&c, seed, token, N);
    double *whole = law_logits(&lm, token, N, NULL, 0, NULL);
    for (int way = 0; way < 3; way++) {
        int64_t n_cut = law_cuts(seed * 7 + (uint64_t)way, N, cut, N);
        if (way == 0) /* decode: one token at a time */
            for (n_cut = 0; n_cut + 1 < N; n_cut++) cut[n_cut] = n_cut + 1;
        double *pieces = law_logits(&lm, token, N, cut, n_cut, NULL);
        const double off = most_different(whole, pieces, N, c.model.vocab);
        if (!(off <= tol))
            fail_msg("\"%s\" in bf16 on %s, cut into %d pieces: the logits of some token differ by "
                     "%.3g, by rounding %.3g at most",
                     c.model.layers, backend, (int)n_cut + 1, off, tol);
        free(pieces);
    }
    free(whole);
    free(token);
    law_close(&lm);
}

static void test_bf16(void **state) {
    (void)state;
    law_each_letter(try_bf16);
    for (uint64_t seed = 1; seed <= N_RANDOM / 3; seed++) {
        const hy__config c = law_random_config(seed, 6);
        try_bf16("cpu", &c, seed);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_letter),
        cmocka_unit_test(test_random_patterns),
        cmocka_unit_test(test_shipped_configurations),
        cmocka_unit_test(test_bf16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
