/* test_rows.c: what a forward chose can be asked for when it is over: the rows of P's table, also
 * where only the inputs of blocks are kept and other buffers lie over each other; β; experts. */
#include "support/law.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N = 53 };
static const char PATTERN[] = "PSF WPA S P"; /* first, inside and alone in a block */

/* The rows that layer i chose in a forward over one sequence; the caller frees. */
static int32_t *rows_of(law_model *lm, const int32_t *token, bool recompute, int64_t i) {
    hy_error err = {0};
    hy__work *w;
    const hy__config *c = &lm->m->cfg;
    const hy__seq seq = {.len = N};
    const hy__batch b = {.rows = {.n_row = N, .n_seq = 1, .seq = &seq}, .token = token};
    const hy__work_options o = {.training = true, .recompute = recompute};
    int32_t *rows = malloc((size_t)(N * c->pkm.n_head * c->pkm.topk) * sizeof *rows);
    law_ok(hy__work_new(&w, lm->m, o, &err), &err);
    law_ok(hy__forward(w, &b, &err), &err);
    law_ok(hy__get_rows(w, i, rows, &err), &err);
    hy__work_free(w);
    return rows;
}

/* β as the forward used it: on average that of the statistics, at every row between 0 and 1. */
static void test_beta(void **state) {
    (void)state;
    const hy__config c = law_config(PATTERN);
    for (const char *const *be = hy__backend_names(); *be; be++) {
        law_model lm;
        hy_error err = {0};
        hy__work *w;
        law_open(&lm, *be, &c, 3);
        law_ok(hy__model_train(lm.m, &err), &err);
        int32_t *token = law_tokens(5, N, c.model.vocab);
        const hy__seq seq = {.len = N};
        const hy__batch b = {.rows = {.n_row = N, .n_seq = 1, .seq = &seq}, .token = token};
        law_ok(hy__work_new(&w, lm.m, (hy__work_options){.training = true}, &err), &err);
        law_ok(hy__forward(w, &b, &err), &err);
        hy__model_report(lm.m);
        for (int64_t i = 0; i < c.n_layer; i++) {
            const hy__layer *l = &lm.m->layer[i];
            float beta[N];
            double sum = 0, said = NAN;
            if (c.letter[i] != 'P') continue;
            law_ok(hy__get_beta(w, i, beta, &err), &err);
            for (int j = 0; j < N; j++) {
                assert_true(beta[j] > 0 && beta[j] < 1);
                sum += (double)beta[j];
            }
            for (int id = 0; id < l->decl.n_say; id++)
                if (strcmp(l->decl.say[id].name, "beta") == 0) said = l->said[l->decl.say[id].at];
            assert_true(fabs(sum / N - said) < 1e-5);
        }
        hy__work_free(w);
        free(token);
        law_close(&lm);
    }
}

static void test_rows(void **state) {
    (void)state;
    const hy__config c = law_config(PATTERN);
    const int64_t n = N * c.pkm.n_head * c.pkm.topk;
    for (const char *const *be = hy__backend_names(); *be; be++) {
        law_model lm;
        hy_error err = {0};
        law_open(&lm, *be, &c, 3);
        law_ok(hy__model_train(lm.m, &err), &err);
        int32_t *token = law_tokens(5, N, c.model.vocab);
        for (int64_t i = 0; i < c.n_layer; i++) {
            if (c.letter[i] != 'P') continue;
            int32_t *kept = rows_of(&lm, token, false, i), *again = rows_of(&lm, token, true, i);
            for (int64_t j = 0; j < n; j++)
                assert_in_range(kept[j], 0, c.pkm.n_key * c.pkm.n_key - 1);
            assert_memory_equal(kept, again, (size_t)n * sizeof *kept);
            free(kept);
            free(again);
        }
        free(token);
        law_close(&lm);
    }
}

/* The k experts of a row are different ones, and in all as many rows had each as the load says. */
static void check_experts(law_model *lm, const int32_t *token) {
    hy_error err = {0};
    hy__work *w;
    const int64_t k = lm->m->cfg.experts.k;
    const hy__seq seq = {.len = N};
    const hy__batch b = {.rows = {.n_row = N, .n_seq = 1, .seq = &seq}, .token = token};
    double count[HY__EXPERT_MAX] = {0};
    int32_t *chosen = malloc((size_t)(N * k) * sizeof *chosen);
    assert_non_null(chosen);
    law_ok(hy__work_new(&w, lm->m, (hy__work_options){.training = true}, &err), &err);
    law_ok(hy__forward(w, &b, &err), &err);
    hy__model_report(lm->m);
    law_ok(hy__get_experts(w, 1, chosen, &err), &err);
    for (int64_t i = 0; i < N * k; i++) {
        assert_in_range(chosen[i], 0, lm->m->cfg.experts.n_expert - 1);
        for (int64_t j = i - i % k; j < i; j++) assert_int_not_equal(chosen[j], chosen[i]);
        count[chosen[i]]++;
    }
    const hy__layer *l = &lm->m->layer[1];
    for (int id = 0; id < l->decl.n_say; id++)
        for (int64_t e = 0; e < lm->m->cfg.experts.n_expert; e++)
            if (strcmp(l->decl.say[id].name, "load") == 0)
                assert_true(l->said[l->decl.say[id].at + e] == count[e]);
    hy__work_free(w);
    free(chosen);
}

static void test_experts(void **state) {
    (void)state;
    static const hy__route_mode ROUTE[] = {HY__ROUTE_PREVIOUS, HY__ROUTE_SHORTLIST,
                                           HY__ROUTE_TOKEN};
    for (int r = 0; r < 3; r++)
        for (const char *const *be = hy__backend_names(); *be; be++) {
            hy__config c = law_config("SE");
            law_model lm;
            hy_error err = {0};
            c.experts.route = ROUTE[r];
            law_open(&lm, *be, &c, 3);
            law_ok(hy__model_train(lm.m, &err), &err);
            int32_t *token = law_tokens(5, N, c.model.vocab);
            check_experts(&lm, token);
            free(token);
            law_close(&lm);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_beta),
                                       cmocka_unit_test(test_experts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
