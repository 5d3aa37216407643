/* Recipes: what a stage becomes, and that every mistake is told with file, line and reason. */
#include "config/recipe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char BASE[] = "model: {layers: \"SE A WP F\", d_model: 32, vocab: 256, chunk: 16}\n"
                           "ssm: {head_dim: 16, d_state: 16}\n"
                           "experts: {n_expert: 4, k: 2, expert_chunk: 16, d_ff: 32}\n"
                           "ffn: {d_ff: 64}\n"
                           "train: {batch: 2, seq_len: 64, lr: 1e-3}\n";

static hy__config base;
static hy__train_config base_t;

static int read_base(void **state) {
    (void)state;
    hy_error err = {0};
    if (hy__config_parse_yaml(BASE, strlen(BASE), "base", &base, &base_t, &err) == HY_OK) return 0;
    print_error("%s\n", err.text);
    return 1;
}

static hy__recipe read(const char *text) {
    hy__recipe r;
    hy_error err = {0};
    const hy_status status =
        hy__recipe_parse(&r, text, strlen(text), "r.yaml", &base, &base_t, &err);
    if (status != HY_OK) fail_msg("%s\nwas refused: %s", text, err.text);
    return r;
}

/* The whole recipe, and what must be said, which begins the sentence. */
static void refuse(const char *text, const char *said) {
    hy__recipe r;
    hy_error err = {0};
    const hy_status status =
        hy__recipe_parse(&r, text, strlen(text), "r.yaml", &base, &base_t, &err);
    if (status != HY_E_INVALID) fail_msg("was accepted:\n%s", text);
    if (!strstr(err.text, said)) fail_msg("%s\nsaid: %s\nwanted: %s", text, err.text, said);
}

/* A second stage after one of S and A alone; its line `what` is line 4. */
static void refuse_key(const char *what, const char *said) {
    char text[512], where[256];
    snprintf(text, sizeof text,
             "stages:\n- {name: one, tokens: 1K, on: S A}\n- name: two\n  %s\n  tokens: 4K\n",
             what);
    snprintf(where, sizeof where, "r.yaml:4: stage 'two': %s", said);
    refuse(text, where);
}

static void test_single(void **state) {
    (void)state;
    hy__recipe r;
    hy_error err = {0};
    assert_int_equal(hy__recipe_single(&r, &base, &base_t, &err), HY_OK);
    assert_int_equal(r.n, 1);
    assert_int_equal(r.stage->steps, base_t.steps);
    for (int64_t i = 0; i < base.n_layer; i++) assert_true(hy__stage_runs(r.stage, i));
    assert_true(hy__stage_times(r.stage, 'E', "matrix") == 1.0);
    hy__recipe_release(&r);
}

static void test_stages(void **state) {
    (void)state;
    hy__recipe r = read("stages:\n"
                        "  - name: short\n"
                        "    tokens: 2560\n"
                        "    on: S A F\n"
                        "    train: {seq_len: 32, batch: 4, lr: 5e-4}\n"
                        "    attention: {topk: 0, window: 16}\n"
                        "    freeze: [embed, A router]\n"
                        "    rates: {S: 0.5, matrix: 3}\n"
                        "  - name: wide\n"
                        "    tokens: 1.28K\n"
                        "    gate_ramp: 640\n"
                        "    pkm: {warmup: 256, reseed: 5K, topk: 3}\n"
                        "    experts: {k: 1, temperature: 2}\n"
                        "    until: {accuracy: 0.5, corpus: code}\n"
                        "    mixture: {text: 3, code: 0.5}\n");
    const hy__stage *a = &r.stage[0], *b = &r.stage[1];
    assert_int_equal(r.n, 2);
    assert_int_equal(hy__recipe_steps(&r), 20 + 10);
    assert_string_equal(a->name, "short");
    assert_int_equal(a->line, 2);
    assert_int_equal(a->steps, 20);
    assert_int_equal(a->cfg.attention.topk, 0);
    assert_true(a->train.lr == 5e-4);
    assert_string_equal(a->on, "SAF");
    assert_true(hy__stage_runs(a, 0) && !hy__stage_runs(a, 1) && hy__stage_runs(a, 5));
    assert_true(hy__stage_times(a, 0, "embed") == 0.0);
    assert_true(hy__stage_times(a, 'A', "matrix") == 0.0);
    assert_true(hy__stage_times(a, 'S', "matrix") == 1.5);
    assert_true(hy__stage_times(a, 'F', "vector") == 1.0);
    /* the second says nothing of those: it is as the configuration */
    assert_int_equal(b->cfg.attention.topk, base.attention.topk);
    assert_true(b->train.lr == 1e-3 && b->train.seq_len == 64);
    assert_string_equal(b->fresh, "EWP");
    assert_int_equal(b->ramp, 5);
    assert_true(hy__recipe_rises(&r, 1, 1) && !hy__recipe_rises(&r, 1, 0));
    assert_false(hy__recipe_rises(&r, 0, 0));
    assert_int_equal(b->table_steps, 2);
    assert_int_equal(b->reseed, 5000);
    assert_int_equal(b->cfg.pkm.topk, 3);
    assert_int_equal(b->cfg.experts.k, 1);
    assert_int_equal(b->cfg.experts.d_ff, 32);
    assert_true(b->cfg.experts.temperature == 2);
    assert_int_equal(b->until, HY__END_ACCURACY);
    assert_string_equal(b->until_corpus, "code");
    assert_int_equal(b->n_mix, 2);
    assert_true(b->mix[1].weight == 0.5);
    hy__config runs;
    hy__stage_running(a, &runs);
    assert_string_equal(runs.letter, "SAF");
    assert_int_equal(runs.n_layer, 3);
    hy__recipe_release(&r);
}

/* A width that is derived from what a stage changes stays what it was. */
static void test_widths_stay(void **state) {
    (void)state;
    static const char text[] = "model: {layers: SE, d_model: 64}\nexperts: {k: 2}\n";
    hy__config c;
    hy__train_config t;
    hy_error err = {0};
    hy__recipe r;
    static const char recipe[] = "stages: [{name: a, tokens: 100K, experts: {k: 4}}]";
    assert_int_equal(hy__config_parse_yaml(text, strlen(text), "c", &c, &t, &err), HY_OK);
    assert_int_equal(hy__recipe_parse(&r, recipe, strlen(recipe), "r", &c, &t, &err), HY_OK);
    assert_int_equal(r.stage->cfg.experts.d_ff, c.experts.d_ff);
    assert_int_equal(r.stage->cfg.experts.k, 4);
    hy__recipe_release(&r);
}

/* A context that grows: one part for each length, with as many tokens in each and in a step. */
static void test_growth(void **state) {
    (void)state;
    hy__recipe r = read("stages:\n"
                        "- {name: a, tokens: 1K, on: S}\n"
                        "- name: grow\n"
                        "  tokens: 7680\n"
                        "  gate_ramp: 5K\n"
                        "  train: {seq_len: 16 to 100, batch: 4}\n"
                        "- {name: end, tokens: 1K}\n");
    static const int64_t len[] = {16, 32, 64, 100}, batch[] = {25, 12, 6, 4};
    assert_int_equal(r.n, 6);
    int64_t before = 0;
    for (int i = 0; i < 4; i++) {
        const hy__stage *s = &r.stage[1 + i];
        assert_string_equal(s->name, "grow");
        assert_int_equal(s->part, i);
        assert_int_equal(s->n_part, 4);
        assert_int_equal(s->train.seq_len, len[i]);
        assert_int_equal(s->train.batch, batch[i]);
        assert_int_equal(s->before, before);
        assert_true(s->steps * hy__stage_step_tokens(s) >= 7680 / 4);
        assert_true(hy__recipe_rises(&r, 1 + i, 1));
        assert_int_equal(hy__recipe_next(&r, 1 + i), 5);
        before += s->steps;
    }
    assert_int_equal(r.stage[5].before, 0);
    hy__recipe_release(&r);
}

static void test_upcycling(void **state) {
    (void)state;
    hy__recipe r = read("stages:\n"
                        "- {name: dense, tokens: 1K, layers: SF A WP F, on: S A F}\n"
                        "- {name: sparse, tokens: 1K, upcycle: {noise: 0}}\n");
    assert_int_equal(r.stage[0].cfg.letter[1], 'F');
    assert_true(r.stage[1].upcycles && r.stage[1].noise == 0);
    assert_string_equal(r.stage[1].fresh, "WP"); /* E was F, which was on */
    hy__recipe_release(&r);
    refuse("stages:\n- {name: a, tokens: 1K, layers: SF A WP}\n- {name: b, tokens: 1K}\n",
           "r.yaml:3: stage 'b': the pattern has 6 layers, that of the stage before 5");
    refuse("stages:\n- {name: a, tokens: 1K, layers: SA A WP F}\n- {name: b, tokens: 1K}\n",
           "r.yaml:3: stage 'b': layer 2 changes from A to E; only F can change, to E");
    refuse(
        "stages:\n- {name: a, tokens: 1K, layers: SF A WP F, ffn: {d_ff: 48}}\n- {name: b, tokens: "
        "1K}\n",
        "r.yaml:3: stage 'b': layer 6 is F of width 64, in the stage before of 48");
    refuse(
        "stages:\n- {name: a, tokens: 1K, layers: SF A WP A, ffn: {d_ff: 16}}\n- {name: b, tokens: "
        "1K, layers: SE A WP A}\n",
        "F of width 16 becomes E whose experts are 32 wide");
    refuse_key("layers: SF A WP F", "layer 2 changes from E to F");
    refuse_key("upcycle: {noise: 0.1}", "no F of the stage before becomes E here");
    refuse_key("upcycle: {noise: -1}",
               "noise is '-1', wanted a number of at least 0 and at most 10");
    refuse_key("layers: SQ", "model.layers: wanted a letter");
}

static void test_refusals(void **state) {
    (void)state;
    refuse("", "r.yaml has no stages");
    refuse("stages: []", "r.yaml has no stages");
    refuse("stages: 3", "r.yaml:1: stages is no list");
    refuse("steps: []", "r.yaml:1: a recipe has no steps");
    refuse("stages:\n- x", "r.yaml:2: a stage is no mapping of keys to values but 'x'");
    refuse("stages: []\n---\nstages: []", "r.yaml:2: a second YAML document begins");
    refuse("stages:\n- {tokens: 1K}", "r.yaml:2: a stage has no name");
    refuse("stages:\n- {name: a}", "r.yaml:2: stage 'a': it says no length");
    refuse("stages:\n- {name: a, tokens: 1K, tokens: 2K}", "tokens stands twice");
    refuse("stages:\n  - name: a\n   tokens: [", "r.yaml:3: not valid YAML");
    refuse("stages:\n- {name: a, tokens: 1K}\n- {name: a, tokens: 1K}",
           "r.yaml:3: stage 'a': its name is that of the stage in line 2");
    refuse("stages:\n- name: a\n  tokens: 100",
           "r.yaml:3: stage 'a': its length of 100 tokens is shorter than one step of 128 tokens");
    refuse("stages:\n- name: a\n  tokens: 1K\n  gate_ramp: 1K",
           "r.yaml:4: stage 'a': it is the first, whose gates begin as they are");
    refuse("stages:\n- name: a\n  tokens: 200\n  train: {seq_len: 16 to 64}",
           "r.yaml:3: stage 'a': its parts of 66 tokens are shorter than one step");
    refuse_key("gate_ramp: 1.0005K", "gate_ramp is '1.0005K'");
    refuse_key("speed: 1", "a stage has no speed");
    refuse_key("on: S Q", "'Q' in on is no letter");
    refuse_key("on: S S", "letter S stands twice");
    refuse_key("on: []", "no letter is on");
    refuse_key("on: &a [*a]", "on is no plain value but a list"); /* that holds itself */
    refuse_key("on: \"S\\0A\"", "on is no plain value but has a NUL byte");
    refuse_key("train: {steps: 3}", "train.steps cannot change from stage to stage");
    refuse_key("experts: {n_expert: 3}", "experts.n_expert cannot change");
    refuse_key("train: {speed: 3}", "there is no field train.speed");
    refuse_key("train: {lr: fast}", "train.lr is 'fast'");
    refuse_key("train: {seq_len: 64 to x}", "train.seq_len is 'x'");
    refuse_key("train: {seq_len: 64 to 32}", "the context shrinks from 64 to 32");
    refuse_key("train: {seq_len: 16 to 32 to 64}", "train.seq_len is '32 to 64'");
    refuse_key(
        "train: {seq_len: 000000000000000000000000000000000000000000000000000000000000032x}", /* all
                                                                                                 of
                                                                                                 it
                                                                                                 is
                                                                                                 read,
                                                                                                 however
                                                                                                 long
                                                                                               */
        "train.seq_len is '0000000000");
    refuse_key("train: {seq_len: [1]}", "seq_len is no plain value");
    refuse_key("experts: {k: 9}", "experts.k is 9, but must not exceed experts.n_expert = 4");
    refuse_key("freeze: Q", "'Q' is neither a letter nor a group");
    refuse_key("freeze: buffer", "'buffer' is neither a letter nor a group");
    refuse_key("freeze: embed matrix vector router table", "everything is frozen");
    refuse_key("rates: {S: 0}", "a rate is '0'");
    refuse_key("rates: [S]", "rates is no mapping of keys to values but a list");
    refuse_key("gate_ramp: 5K", "the gates rise over 40 steps, longer than the stage of 32 steps");
    refuse_key("pkm: {warmup: 5K}", "the table warms up over 40 steps, longer than");
    refuse_key("until: {val_loss: 0}", "val_loss is '0'");
    refuse_key("until: {accuracy: 1.5}", "accuracy is '1.5'");
    refuse_key("until: {loss: 1}", "until has no loss");
    refuse_key("until: {corpus: x}", "until asks for nothing");
    refuse_key("until: {val_loss: 1, accuracy: 1}", "until asks for two things");
    refuse_key("mixture: {a: -1}", "a is '-1'");
    refuse("stages:\n- {name: a, tokens: 1K}\n- name: b\n  tokens: 1K\n  gate_ramp: 1K",
           "r.yaml:5: stage 'b': no letter is on that was off in the stage before");
    refuse("stages:\n- name: a\n  tokens: 1K\n  on: S\n  pkm: {reseed: 1K}",
           "r.yaml:5: stage 'a': letter P is not on");
}

/* What only the configuration makes impossible. */
static void test_criterion(void **state) {
    (void)state;
    hy__recipe r;
    hy_error err = {0};
    static const char text[] = "stages:\n- name: a\n  tokens: 1K\n  until: {val_loss: 2}\n";
    hy__train_config t = base_t;
    t.val_fraction = 0;
    assert_int_equal(hy__recipe_parse(&r, text, strlen(text), "r.yaml", &base, &t, &err),
                     HY_E_INVALID);
    assert_non_null(strstr(err.text, "r.yaml:4: stage 'a': until asks for held-out text"));
    t = base_t;
    t.eval_every = 0;
    assert_int_equal(hy__recipe_parse(&r, text, strlen(text), "r.yaml", &base, &t, &err),
                     HY_E_INVALID);
    assert_non_null(strstr(err.text, "train.eval_every is 0"));
}

/* The working folder of the tests is the repository's root. */
static void test_shipped(void **state) {
    (void)state;
    static const char *const pair[][2] = {
        {"configs/nano.yaml", "configs/curriculum-nano.yaml"},
        {"configs/toy.yaml", "configs/curriculum-toy.yaml"},
        {"configs/hydra-130m.yaml", "configs/curriculum-130m.yaml"},
        {"configs/hydra-1.6b.yaml", "configs/curriculum-1.6b.yaml"}};
    for (size_t i = 0; i < sizeof pair / sizeof *pair; i++) {
        hy__config c;
        hy__train_config t;
        hy__recipe r;
        hy_error err = {0};
        if (hy__config_read_yaml(pair[i][0], &c, &t, &err) != HY_OK ||
            hy__recipe_read(&r, pair[i][1], &c, &t, &err) != HY_OK)
            fail_msg("%s", err.text);
        /* it arrives where the configuration is */
        const hy__stage *last = &r.stage[r.n - 1];
        assert_string_equal(last->cfg.letter, c.letter);
        for (int64_t j = 0; j < c.n_layer; j++) assert_true(hy__stage_runs(last, j));
        assert_int_equal(last->train.seq_len, t.seq_len);
        assert_int_equal(last->cfg.attention.topk, c.attention.topk);
        hy__recipe_release(&r);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single),      cmocka_unit_test(test_stages),
        cmocka_unit_test(test_widths_stay), cmocka_unit_test(test_growth),
        cmocka_unit_test(test_upcycling),   cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_criterion),   cmocka_unit_test(test_shipped),
    };
    return cmocka_run_group_tests(tests, read_base, NULL);
}
