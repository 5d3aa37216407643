/* test_off.c: layers whose scale is 0 are as if they were not in the pattern: outputs, gradients,
 * memory and what is touched; and a directory holds the model as its forward is, with scales
 * between. */
#include "support/law.h"
#include "support/op.h"

#include "ckpt/checkpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N = 53 };
static const char OFF[] = "EW"; /* blocks begin, end and consist of these */
static const char ALL[] = "ES WS EW PE FA S", REST[] = "S S P FA S";

static bool is_off(const hy__param *p) {
    return p->letter && strchr(OFF, p->letter);
}

/* The model of REST with the weights of one of ALL. */
static void open_both(law_model *all, law_model *rest, const char *backend) {
    const hy__config c = law_config(ALL), d = law_config(REST);
    law_open(all, backend, &c, 3);
    law_open(rest, backend, &d, 4);
    int64_t j = 0;
    for (int64_t i = 0; i < all->m->n_param; i++) {
        const hy__param *p = &all->m->param[i], *q = &rest->m->param[j];
        if (is_off(p)) continue;
        assert_string_equal(p->decl.name, q->decl.name);
        rest->be->kernels.copy(rest->be,
                               &(hy__copy_args){.dst = q->value, .src = p->value, .n = p->n});
        j++;
    }
    assert_int_equal(j, rest->m->n_param);
    for (int64_t i = 0; i < c.n_layer; i++)
        if (strchr(OFF, c.letter[i])) all->m->layer[i].scale = 0;
}

static void test_logits(void **state) {
    (void)state;
    static const int64_t cut[] = {1, 20, 21};
    for (const char *const *be = hy__backend_names(); *be; be++) {
        law_model all, rest;
        open_both(&all, &rest, *be);
        int32_t *token = law_tokens(5, N, all.m->cfg.model.vocab);
        all.be->counters = (hy__counters){0};
        double *got = law_logits(&all, token, N, cut, 3, NULL);
        assert_int_equal(all.be->counters.experts_read, 0);
        assert_int_equal(all.be->counters.expert_rows, 0);
        double *want = law_logits(&rest, token, N, cut, 3, NULL);
        assert_memory_equal(got, want, N * (size_t)all.m->cfg.model.vocab * sizeof *got);
        free(got);
        free(want);
        free(token);
        law_close(&all);
        law_close(&rest);
    }
}

/* A training step over one sequence; returns the memory that it took. */
static size_t train_step(law_model *lm, const int32_t *token, bool recompute) {
    hy_error err = {0};
    hy__work *w = NULL;
    const hy__seq seq = {.len = N};
    const hy__batch b = {.rows = {.n_row = N, .n_seq = 1, .seq = &seq}, .token = token};
    double sum;
    int64_t count;
    law_ok(hy__model_train(lm->m, &err), &err);
    law_ok(
        hy__work_new(&w, lm->m, (hy__work_options){.training = true, .recompute = recompute}, &err),
        &err);
    law_ok(hy__forward(w, &b, &err), &err);
    law_ok(hy__loss(w, token, 1.0, NULL, &sum, &count, &err), &err);
    law_ok(hy__backward(w, 1.0, &err), &err);
    const size_t bytes = hy__work_bytes(w);
    hy__work_free(w);
    return bytes;
}

static void check_gradients(const char *backend, bool recompute) {
    law_model all, rest;
    open_both(&all, &rest, backend);
    int32_t *token = law_tokens(6, N, all.m->cfg.model.vocab);
    assert_int_equal(train_step(&all, token, recompute), train_step(&rest, token, recompute));
    int64_t j = 0;
    for (int64_t i = 0; i < all.m->n_param; i++) {
        const hy__param *p = &all.m->param[i];
        if (!hy__present(p->grad) && !is_off(p)) j++;
        if (!hy__present(p->grad)) continue;
        double *got = calloc((size_t)p->n, sizeof *got), *want = calloc((size_t)p->n, sizeof *want);
        hy__tensor_read_f64(all.be, got, p->grad, p->n);
        if (!is_off(p)) hy__tensor_read_f64(rest.be, want, rest.m->param[j++].grad, p->n);
        if (memcmp(got, want, (size_t)p->n * sizeof *got) != 0)
            fail_msg("%s: the gradient of %s differs%s", backend, p->name,
                     recompute ? ", recomputed" : "");
        free(got);
        free(want);
    }
    free(token);
    law_close(&all);
    law_close(&rest);
}

static void test_gradients(void **state) {
    (void)state;
    for (const char *const *be = hy__backend_names(); *be; be++) {
        check_gradients(*be, false);
        check_gradients(*be, true);
    }
}

static void test_saved(void **state) {
    (void)state;
    for (const char *const *be = hy__backend_names(); *be; be++) {
        char dir[] = "/tmp/hydralm-off-XXXXXX", command[64];
        hy_error err = {0};
        law_model lm, saved = {0};
        const hy__config c = law_config("SE WP FA");
        assert_non_null(mkdtemp(dir));
        law_open(&lm, *be, &c, 8);
        for (int64_t i = 0; i < c.n_layer; i++) lm.m->layer[i].scale = (double)i / 5;
        law_save(lm.m, dir);
        saved.be = lm.be;
        law_ok(hy__checkpoint_open_to_train(&saved.m, lm.be, dir, &err), &err);
        int32_t *token = law_tokens(5, N, c.model.vocab);
        double *want = law_logits(&lm, token, N, NULL, 0, NULL);
        double *got = law_logits(&saved, token, N, NULL, 0, NULL);
        if (strcmp(*be, "ref64") == 0) /* gates in double, times a scale in double */
            op_expect("the saved model", *be, want, got, N * c.model.vocab, 1e-12);
        else
            assert_memory_equal(got, want, N * (size_t)c.model.vocab * sizeof *got);
        free(token);
        free(want);
        free(got);
        hy__model_free(saved.m);
        law_close(&lm);
        snprintf(command, sizeof command, "rm -r %s", dir);
        assert_int_equal(system(command), 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logits),
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_saved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
