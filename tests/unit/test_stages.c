/* Where in the text a step of a curriculum begins: behind what was read before, whatever the steps'
 * sizes, and behind what a run that went back over borders passes over. */
#include "train/trainer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const char CONFIG[] = "model: {layers: S, d_model: 32, vocab: 256, chunk: 16}\n"
                             "ssm: {head_dim: 16, d_state: 16}\n";
/* steps of 256, of 2 x 64 and of 240 tokens */
static const char RECIPE[] =
    "stages:\n"
    "- {name: a, tokens: 2560, train: {batch: 4, seq_len: 64}}\n"
    "- {name: b, tokens: 1280, train: {batch: 1, seq_len: 64, accumulate: 2}}\n"
    "- {name: c, tokens: 2400, train: {batch: 3, seq_len: 80}}\n";

static hy__recipe recipe;
static int64_t taken[3];
static hy__stage_end ended[3];

static int open_all(void **state) {
    hy__config c;
    hy__train_config t;
    hy_error err = {0};
    (void)state;
    if (hy__config_parse_yaml(CONFIG, strlen(CONFIG), "config", &c, &t, &err) == HY_OK &&
        hy__recipe_parse(&recipe, RECIPE, strlen(RECIPE), "recipe", &c, &t, &err) == HY_OK)
        return 0;
    print_error("%s\n", err.text);
    return 1;
}

static int close_all(void **state) {
    (void)state;
    hy__recipe_release(&recipe);
    return 0;
}

/* A trainer before its step `step`, counted from 0; stages took all their steps. */
static hy__trainer at_step(int64_t step, int64_t passed) {
    hy__trainer tr = {
        .recipe = recipe, .guard = {.passed = passed}, .course = {.steps = taken, .end = ended}};
    tr.at.step = step;
    while (step - tr.course.first > recipe.stage[tr.course.index].steps) {
        taken[tr.course.index] = recipe.stage[tr.course.index].steps;
        tr.course.first += taken[tr.course.index++];
    }
    tr.stage = &recipe.stage[tr.course.index];
    tr.t = tr.stage->train;
    return tr;
}

static int64_t position(int64_t step, int64_t passed) {
    const hy__trainer tr = at_step(step, passed);
    return hy__stage_position(&tr);
}

/* 10 steps of 256 tokens, 10 of 128, then 240 at a time: 3840 is 16 batches of those. */
static void test_goes_on(void **state) {
    (void)state;
    assert_int_equal(recipe.stage[0].steps, 10);
    assert_int_equal(recipe.stage[1].steps, 10);
    assert_int_equal(position(0, 0), 0);
    assert_int_equal(position(10, 0), 2560);
    assert_int_equal(position(11, 0), 2560 + 128);
    const hy__trainer tr = at_step(13, 0);
    assert_int_equal(hy__stage_first_batch(&tr), (2560 + 3 * 128) / 64);
    assert_int_equal(position(21, 0), 3840 + 240);
    /* what is no whole number of batches is left out, not read again */
    assert_int_equal(position(21, 64), 3840 + 240 + 240);
}

/* Step 15 is bad, the checkpoint is that of step 8: what lies between is passed over, up to a whole
 * batch, and what comes behind the next border follows it. */
static void test_goes_back(void **state) {
    (void)state;
    hy__trainer tr = at_step(8, 0);
    const int64_t next = position(15, 0);
    assert_int_equal(next, 2560 + 5 * 128);
    hy__stage_pass_to(&tr, next);
    assert_int_equal(hy__stage_position(&tr), 13 * 256); /* 3328, of 3200 */
    const int64_t passed = tr.guard.passed;
    assert_int_equal(position(10, passed), 15 * 256);
    assert_int_equal(position(11, passed), 15 * 256 + 128);
    /* and once more, from step 12 to step 11 */
    tr = at_step(11, passed);
    hy__stage_pass_to(&tr, position(12, passed));
    assert_int_equal(hy__stage_position(&tr), position(12, passed));
    assert_int_equal(position(12, tr.guard.passed), position(13, passed));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goes_on),
        cmocka_unit_test(test_goes_back),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
