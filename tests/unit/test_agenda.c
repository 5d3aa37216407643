/* The agenda of a curriculum against the plan of the patterns that its stages compute. */
#include "account/agenda.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void read_config(hy__config *c, hy__train_config *t, const char *layers) {
    static const char *const set[] = {
        "model.d_model=32", "model.chunk=16",       "ssm.head_dim=16",         "experts.n_expert=4",
        "experts.d_ff=32",  "ffn.d_ff=32",          "experts.expert_chunk=16", "train.batch=2",
        "train.seq_len=64", "train.optimizer=adamw" /* no update that micro-batches share */};
    hy_error err = {0};
    hy__config_default(c, t);
    hy_status status = hy__config_set(c, t, "model.layers", layers, &err);
    for (size_t i = 0; i < sizeof set / sizeof *set && status == HY_OK; i++)
        status = hy__config_assign(c, t, set[i], &err);
    if (status == HY_OK) status = hy__config_finish(c, &err);
    if (status != HY_OK) fail_msg("%s", err.text);
}

/* FLOPs of one micro-batch of 2 x 64 tokens. */
static double flops_of(const char *layers) {
    hy__config c;
    hy__train_config t;
    hy__spent part[HY__PART_MAX + 1];
    hy_error err = {0};
    hy__account *a = malloc(sizeof *a);
    const hy__shape shape = {.phase = HY__PHASE_TRAIN, .batch = 2, .tokens = 64};
    read_config(&c, &t, layers);
    hy__account_init(a, &c, &t);
    assert_int_equal(hy__account_spend(a, &shape, part, &err), HY_OK);
    const double flops = hy__spent_flops(&part[a->n_part]);
    free(a);
    return flops;
}

static hy__recipe read_recipe(const char *text) {
    hy__config c;
    hy__train_config t;
    hy__recipe r;
    hy_error err = {0};
    read_config(&c, &t, "SE A WP F");
    if (hy__recipe_parse(&r, text, strlen(text), "r.yaml", &c, &t, &err) != HY_OK)
        fail_msg("%s", err.text);
    return r;
}

static void test_costs(void **state) {
    (void)state;
    hy__recipe r = read_recipe("stages:\n"
                               "- {name: a, tokens: 1280, on: S A, layers: SF A WP F}\n"
                               "- {name: b, tokens: 1280, on: S A E F, freeze: S embed}\n"
                               "- {name: c, tokens: 2560, train: {accumulate: 2}}\n");
    hy__agenda a;
    hy_error err = {0};
    const hy__hardware h = {.name = "box", .fp32 = 1e9, .bandwidth = 1e9, .memory = 1e6};
    assert_int_equal(hy__agenda_init(&a, &r, &h, &err), HY_OK);
    assert_true(a.row[0].flops == 10 * flops_of("S A"));
    assert_true(a.row[1].flops == 10 * flops_of("SE A F"));
    assert_true(a.row[2].flops == 20 * flops_of("SE A WP F"));
    assert_int_equal(a.steps, 30);
    assert_int_equal(a.tokens, 5120);
    assert_true(fabs(a.seconds - a.row[0].seconds - a.row[1].seconds - a.row[2].seconds) < 1e-12);
    assert_true(a.row[2].param == a.row[1].param && a.row[1].param > a.row[0].param);
    assert_int_equal(a.row[2].trained, a.row[2].param);
    assert_true(a.row[1].trained < a.row[1].active);
    /* off letters keep no activations; where F becomes E there are two models */
    assert_true(a.row[0].memory.activations < a.row[2].memory.activations);
    assert_true(a.row[1].memory.total > a.row[1].memory.weights + a.row[1].memory.gradients +
                                            a.row[1].memory.moments + a.row[1].memory.activations +
                                            a.row[1].memory.states + a.row[1].memory.program);
    assert_int_equal(hy__agenda_check_memory(&a, h.memory, &err), HY_E_MEMORY);
    assert_non_null(strstr(err.text, "r.yaml:2: stage 'a': it needs"));
    assert_int_equal(hy__agenda_check_memory(&a, a.memory, &err), HY_OK);
    hy__agenda_release(&a);
    hy__recipe_release(&r);
}

static void test_too_large(void **state) {
    (void)state;
    hy__recipe r = read_recipe("stages:\n- {name: a, tokens: 1K}\n- {name: b, tokens: 1G, train: "
                               "{batch: 65536, seq_len: 4096}}\n");
    hy__agenda a;
    hy_error err = {0};
    assert_int_equal(hy__agenda_init(&a, &r, NULL, &err), HY_E_INVALID);
    assert_non_null(strstr(err.text, "r.yaml:3: stage 'b': train.batch = 65536 x"));
    hy__recipe_release(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_costs),
        cmocka_unit_test(test_too_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
