/* test_sparse_is_sparse.c: the law "sparse is sparse" (docs/numerics.md): what is not chosen is not
 * read. Counters say what the kernels touched; NaN in the unchosen experts' weights changes
 * nothing. */
#include "support/law.h"
#include "support/op.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Runs n tokens from a fresh state and returns what was touched. */
static hy__counters touched_by(law_model *lm, int64_t n, const int64_t *cut, int64_t n_cut) {
    int32_t *token = law_tokens(3, n, lm->m->cfg.model.vocab);
    lm->be->counters = (hy__counters){0};
    free(law_logits(lm, token, n, cut, n_cut, NULL));
    free(token);
    return lm->be->counters;
}

static void test_experts_counted(void **state) {
    (void)state;
    for (const char *const *be = hy__backend_names(); *be; be++) {
        const hy__config c = law_config("E"); /* 4 experts, 2 chosen, units of 8 */
        law_model lm;
        law_open(&lm, *be, &c, 5);
        /* one token: both products read two experts, one row each */
        hy__counters one = touched_by(&lm, 1, NULL, 0);
        assert_int_equal(one.experts_read, 2 * 2);
        assert_int_equal(one.expert_rows, 2 * 2);
        /* 40 tokens: 80 rows in each of two products, whatever the choice */
        assert_int_equal(touched_by(&lm, 40, NULL, 0).expert_rows, 2 * 80);
        law_close(&lm);
    }
}

static void poison(hy__model *m, const char *name, int64_t expert) {
    hy__param *p = hy__model_find(m, name);
    assert_non_null(p);
    const int64_t n = p->n / m->cfg.experts.n_expert;
    float *bad = malloc((size_t)n * sizeof *bad);
    for (int64_t i = 0; i < n; i++) bad[i] = NAN;
    hy__tensor_write_f32(m->be, hy__at(p->value, expert * n), bad, n);
    free(bad);
}

static void test_unchosen_experts_unread(void **state) {
    (void)state;
    enum { N = 45 };
    for (const char *const *be = hy__backend_names(); *be; be++)
        for (int route = HY__ROUTE_PREVIOUS; route <= HY__ROUTE_OWN; route++) {
            hy__config c = law_config("SE");
            c.experts.route = (hy__route_mode)route;
            law_model lm;
            law_open(&lm, *be, &c, 6);
            hy__expert_control *ctl = &lm.m->layer[1].expert;
            int32_t *token = law_tokens(4, N, c.model.vocab);
            double *free_choice = law_logits(&lm, token, N, NULL, 0, NULL);
            ctl->force[0] = 3;
            ctl->force[1] = 1;
            ctl->n_force = 2;
            double *clean = law_logits(&lm, token, N, NULL, 0, NULL);
            poison(lm.m, "backbone.layers.1.mixer.experts.gate_up.weight", 0);
            poison(lm.m, "backbone.layers.1.mixer.experts.down.weight", 2);
            double *dirty = law_logits(&lm, token, N, NULL, 0, NULL);
            assert_memory_equal(clean, dirty, N * (size_t)c.model.vocab * sizeof *clean);
            assert_true(op_error(free_choice, clean, N * c.model.vocab) > 1e-6);
            /* banned ones are not read either, and the choice is then among the others */
            *ctl = (hy__expert_control){0};
            ctl->ban[0] = ctl->ban[2] = true;
            double *banned = law_logits(&lm, token, N, NULL, 0, NULL);
            assert_true(isfinite(banned[0]) && isfinite(banned[N * c.model.vocab - 1]));
            free(token);
            free(free_choice);
            free(clean);
            free(dirty);
            free(banned);
            law_close(&lm);
        }
}

/* Positions that token t may read, from the rule in docs/model.md, with topk 0. */
static int64_t window_and_sink(int64_t t, const hy__config *c) {
    int64_t n = 0;
    for (int64_t s = 0; s <= t; s++) n += s < c->model.chunk || s > t - c->attention.window;
    return n;
}

static void test_blocks_counted(void **state) {
    (void)state;
    enum { N = 150 };
    for (const char *const *be = hy__backend_names(); *be; be++) {
        hy__config c = law_config("A");
        c.attention.topk = 0;
        int64_t bounded = 0;
        for (int64_t t = 0; t < N; t++) bounded += window_and_sink(t, &c);
        law_model lm;
        law_open(&lm, *be, &c, 7);
        assert_int_equal(touched_by(&lm, N, NULL, 0).kv_positions, bounded * c.attention.n_kv);
        const int64_t cut[] = {5, 77};
        assert_int_equal(touched_by(&lm, N, cut, 2).kv_positions, bounded * c.attention.n_kv);
        law_close(&lm);

        c.attention.topk = 2; /* at most two blocks more for each token */
        int64_t more = 0;
        for (int64_t t = 0; t < N; t++) {
            const int64_t whole = (t - c.attention.window + 1) / c.model.chunk - 1;
            const int64_t blocks = whole < 0 ? 0 : whole > 2 ? 2 : whole;
            more += t - c.attention.window + 1 > 0 ? blocks * c.model.chunk : 0;
        }
        law_open(&lm, *be, &c, 7);
        assert_int_equal(touched_by(&lm, N, NULL, 0).kv_positions,
                         (bounded + more) * c.attention.n_kv);
        law_close(&lm);
    }
}

/* Rows whose NaN reaches the logits of two tokens: at most as many as they choose. */
static void test_other_table_rows_unread(void **state) {
    (void)state;
    enum { N = 2 };
    for (const char *const *be = hy__backend_names(); *be; be++) {
        const hy__config c = law_config("P");
        const int64_t n_row = c.pkm.n_key * c.pkm.n_key, most = N * c.pkm.n_head * c.pkm.topk;
        law_model lm;
        law_open(&lm, *be, &c, 8);
        hy__param *table = hy__model_find(lm.m, "backbone.memory.values.weight");
        assert_non_null(table);
        int32_t *token = law_tokens(4, N, c.model.vocab);
        double *clean = law_logits(&lm, token, N, NULL, 0, NULL);
        int64_t read = 0;
        for (int64_t row = 0; row < n_row; row++) {
            const hy__tensor at = hy__at(table->value, row * c.pkm.d_value);
            float was, nan = (float)NAN;
            hy__tensor_read_f32(lm.be, &was, at, 1);
            hy__tensor_write_f32(lm.be, at, &nan, 1);
            double *dirty = law_logits(&lm, token, N, NULL, 0, NULL);
            read += memcmp(clean, dirty, N * (size_t)c.model.vocab * sizeof *clean) != 0;
            hy__tensor_write_f32(lm.be, at, &was, 1);
            free(dirty);
        }
        assert_in_range(read, c.pkm.topk, most);
        assert_true(most < n_row);
        assert_int_equal(touched_by(&lm, 33, NULL, 0).table_rows, 33 * c.pkm.n_head * c.pkm.topk);
        free(token);
        free(clean);
        law_close(&lm);
    }
}

/* Statistics look at some rows, which may see all positions: not at more of them in a longer batch.
 */
static void test_rows_looked_at(void **state) {
    (void)state;
    hy_error err = {0};
    hy__config c = law_config("A");
    c.attention.window = 1 << 20;
    law_finish(&c);
    for (int64_t n = 200; n <= 51200; n *= 16) {
        law_model lm;
        hy__work *work;
        law_open(&lm, "cpu", &c, 9);
        law_ok(hy__model_train(lm.m, &err), &err);
        law_ok(hy__work_new(&work, lm.m, (hy__work_options){.training = true}, &err), &err);
        int32_t *token = law_tokens(4, n, c.model.vocab);
        hy__seq *seq = calloc((size_t)n / 100, sizeof *seq);
        for (int64_t i = 0; i < n / 100; i++) seq[i] = (hy__seq){.start = 100 * i, .len = 100};
        const hy__batch b = {.rows = {.n_row = n, .n_seq = n / 100, .seq = seq}, .token = token};
        double looks;
        law_ok(hy__forward(work, &b, &err), &err);
        hy__tensor_read_f64(lm.be, &looks, lm.m->layer[0].stat, 1); /* HY__ATTN_STAT_LOOKS */
        assert_true(looks >= (double)c.attention.n_head);
        assert_true(looks <= (double)(32 * c.attention.n_head));
        free(seq);
        free(token);
        hy__work_free(work);
        law_close(&lm);
    }
}

/* The table is one, but every P layer reads its rows of it. */
static void test_active_parameters(void **state) {
    (void)state;
    const hy__config one = law_config("P"), two = law_config("P P");
    law_model a, b;
    law_open(&a, "ref", &one, 8);
    law_open(&b, "ref", &two, 8);
    const int64_t layer =
        hy__model_count(a.m, true) - a.m->param[a.m->embed].n - a.m->param[a.m->norm_f].n;
    assert_int_equal(hy__model_count(b.m, true), hy__model_count(a.m, true) + layer);
    assert_true(hy__model_count(b.m, false) < hy__model_count(a.m, false) + layer);
    law_close(&b);
    law_close(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_experts_counted), cmocka_unit_test(test_unchosen_experts_unread),
        cmocka_unit_test(test_blocks_counted),  cmocka_unit_test(test_other_table_rows_unread),
        cmocka_unit_test(test_rows_looked_at),  cmocka_unit_test(test_active_parameters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
