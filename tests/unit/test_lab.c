/* The lab: arms of equal size, tasks and recipes that can be read, the choice of a rate, goals, and
 * what is written. */
#include "base/file.h"
#include "config/recipe.h"
#include "data/task.h"
#include "lab/crossover.h"
#include "lab/lab.h"
#include "page/page.h"
#include "support/law.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Recipes of arms' own: as many tokens as those of the arms before. */
static void check_tokens(const hy__lab *lab, const hy__recipe *r, int64_t *tokens) {
    int64_t n = 0;
    for (int64_t i = 0; i < r->n; i++) n += r->stage[i].steps * hy__stage_step_tokens(&r->stage[i]);
    if (*tokens > 0 && n != *tokens)
        fail_msg("lab %s: an arm is trained on %lld tokens, another on %lld", lab->name,
                 (long long)n, (long long)*tokens);
    *tokens = n;
}

/* A training would refuse a document that is longer than a sequence. */
static void check_lengths(const hy__lab *lab, const hy__stage *s) {
    for (int64_t i = 0; i < s->n_mix; i++) {
        hy__task t;
        char entry[HY__MIX_NAME + 8];
        snprintf(entry, sizeof entry, "task:%s", s->mix[i].name);
        if (hy__task_parse(&t, entry, NULL) == HY_OK && t.len > s->train.seq_len)
            fail_msg("lab %s, stage %s: %s has %lld tokens, a sequence %lld", lab->name, s->name,
                     entry, (long long)t.len, (long long)s->train.seq_len);
    }
}

/* A dense layer of equal FLOPs is as wide as the experts that work on a token, to a step of 8: what
 * an optimizer does to all eight of them is no work on tokens. */
static void test_equal_flops(void **state) {
    (void)state;
    hy_error err = {0};
    const hy__lab_scale *s = &hy__lab_experts.quick;
    for (int a = 0; a < hy__scale_arms(s); a++) {
        hy__sized dense;
        if (!s->arm[a].flops) continue;
        law_ok(hy__arm_config(&hy__lab_experts, s, a, &dense, &err), &err);
        assert_in_range(dense.width, 2 * 128, 2 * 128 + 8);
        return;
    }
    fail_msg("no arm has equal FLOPs");
}

static void check_sizes(const hy__lab *lab, const hy__lab_scale *s) {
    hy_error err = {0};
    int64_t first = 0, tokens = 0;
    for (int a = 0; a < hy__scale_arms(s); a++) {
        hy__sized arm;
        law_ok(hy__arm_config(lab, s, a, &arm, &err), &err);
        if (a == 0) first = arm.parameters;
        assert_true(s->arm[a].flops || llabs(arm.parameters - first) <= first / 50);
        const char *recipe = hy__arm_recipe(s, a);
        hy__recipe r;
        if (recipe)
            law_ok(
                hy__recipe_parse(&r, recipe, strlen(recipe), lab->name, &arm.cfg, &arm.train, &err),
                &err);
        else
            law_ok(hy__recipe_single(&r, &arm.cfg, &arm.train, &err), &err);
        if (!s->recipe) check_tokens(lab, &r, &tokens);
        for (int64_t i = 0; i < r.n; i++) check_lengths(lab, &r.stage[i]);
        hy__recipe_release(&r);
    }
}

/* An entry without its weight. */
static void bare(const char *entry, char *out, size_t size) {
    const size_t task = strlen("task:");
    snprintf(out, size, "%s", entry);
    char *colon = strrchr(out, ':');
    if (colon && (size_t)(colon - out) >= task) *colon = '\0';
}

/* The page says of every arm what it sets. */
static void check_setup(const hy__lab *lab, const hy__lab_scale *s) {
    hy_error err = {0};
    hy__page p = {0};
    law_ok(hy__lab_put_arms(&p, lab, s, &err), &err);
    law_ok(hy__text_check(&p.text, &err), &err);
    for (int a = 0; s->arm[a].name; a++)
        for (int i = 0; i < HY__LAB_SETS && s->arm[a].set[i]; i++)
            assert_non_null(strstr(p.text.data, s->arm[a].set[i]));
    assert_null(strstr(p.text.data, "=0</code> for equal"));
    hy__page_release(&p);
}

/* Every name that a goal has is one, and there is room for what is made of it. */
static void check_goals(const hy__lab *lab, const hy__lab_scale *s) {
    hy_error err = {0};
    hy__job job[HY__LAB_ARMS * 2] = {{0}};
    hy__results *r = calloc(1, sizeof *r);
    assert_non_null(r);
    for (int a = 0; a < hy__scale_arms(s); a++) job[a] = (hy__job){.arm = a, .seed = 1};
    r->lab = lab;
    r->scale = s;
    r->n_seed = 1;
    r->job = job;
    r->n_job = hy__scale_arms(s);
    law_ok(hy__results_init(r, &err), &err);
    assert_in_range(r->n_verdict, 1, HY__LAB_GOALS);
    free(r);
}

static void check_scale(const hy__lab *lab, const hy__lab_scale *s) {
    hy_error err = {0};
    assert_in_range(hy__scale_arms(s), 2, HY__LAB_ARMS);
    check_sizes(lab, s);
    check_setup(lab, s);
    if (lab->run) return;
    const int n_probe = hy__scale_probes(s);
    assert_in_range(n_probe, 1, HY__LAB_PROBES);
    assert_in_range(hy__scale_rates(s), 2, HY__LAB_RATES);
    for (int i = 0; s->data[i]; i++) {
        hy__task t;
        char entry[200];
        bare(s->data[i], entry, sizeof entry);
        if (hy__task_is(entry)) law_ok(hy__task_parse(&t, entry, &err), &err);
    }
    for (int p = 0; p < n_probe; p++) {
        hy__task t;
        bool trained = false;
        const hy__ring *r = &s->probe[p].ring;
        if (s->probe[p].reading == HY__READ_RING)
            assert_true(r->context > 0 && r->context % 2 == 0 && r->size % r->context == 0);
        if (!hy__task_is(s->probe[p].data)) continue;
        law_ok(hy__task_parse(&t, s->probe[p].data, &err), &err);
        for (int i = 0; s->data[i]; i++) {
            char entry[200];
            bare(s->data[i], entry, sizeof entry);
            trained = trained || strcmp(entry, s->probe[p].data) == 0;
        }
        if (trained && s->probe[p].aside)
            fail_msg("%s: probe \"%s\" is trained on, and yet aside", lab->name, s->probe[p].name);
    }
    check_goals(lab, s);
}

static void test_all_experiments_can_run(void **state) {
    (void)state;
    for (int i = 0; hy__labs[i]; i++) {
        check_scale(hy__labs[i], &hy__labs[i]->quick);
        check_scale(hy__labs[i], &hy__labs[i]->full);
    }
}

static void test_unknown_experiment(void **state) {
    (void)state;
    const hy__lab *lab;
    hy_error err = {0};
    assert_int_equal(hy__lab_find(&lab, "logics", &err), HY_E_INVALID);
    assert_non_null(
        strstr(err.text, "there is no experiment \"logics\"; there are crossover, logic, hops"));
    law_ok(hy__lab_find(&lab, "hops", &err), &err);
    assert_string_equal(lab->name, "hops");
}

/* ---- results of made-up jobs: two arms, two rates, two seeds, a probe that is trained on and one
 * that is not, and the loss of the first ---- */

#define GOAL(what, whose, where, of, how, much, than)                                              \
    {                                                                                              \
        .text = what, .arm = whose, .at = where, .metric = of, .kind = how, .wanted = much,        \
        .beside = than                                                                             \
    }
#define GOAL_BOTH(what, whose, how, much, than)                                                    \
    {                                                                                              \
        .text = what, .arm = whose, .at = "seen", .to = "unseen", .kind = how, .wanted = much,     \
        .beside = than                                                                             \
    }
static const hy__goal GOALS[] = {
    GOAL_BOTH("one: at least .8 at both", "one", HY__AT_LEAST, 0.8, NULL),
    GOAL_BOTH("one: ahead at both", "one", HY__AHEAD, 0.0, NULL),
    GOAL("one: ahead at the first", "one", "seen", HY__ACCURACY, HY__AHEAD, 0.0, NULL),
    GOAL("one: a loss of at most .1", "one", "seen", HY__LOSS, HY__AT_MOST, 0.1, NULL),
    GOAL("one: the lowest loss", "one", "seen", HY__LOSS, HY__AHEAD, 0.0, NULL),
    GOAL("two: a loss within .4 of one's", "two", "seen", HY__LOSS, HY__WITHIN, 0.4, "one"),
    GOAL("two: at most twice the loss of one", "two", "seen", HY__LOSS, HY__TIMES, 2.0, "one"),
    GOAL_BOTH("two: within .05 of one at both", "two", HY__WITHIN, 0.05, "one"),
    GOAL("one: each seed ahead of two's by .25", "one", "seen", HY__LOSS, HY__EACH, 0.25, "two"),
    GOAL("one: unseen within .1 of seen", "one", "unseen", HY__ACCURACY, HY__HOLDS, 0.1, "seen"),
    GOAL_BOTH("one: the second probe worse by at most .1", "one", HY__ONWARD, 0.1, NULL),
    GOAL("two: as good as itself is not better", "two", "seen", HY__LOSS, HY__EACH, 0.0, "two"),
    GOAL("one: a loss of about 0", "one", "seen", HY__LOSS, HY__ABOUT_0, 0.2, NULL),
    {0},
};

static const hy__lab TOY = {
    .name = "toy",
    .question = "Is it <so>?",
    .about = "About & around.",
    .published = "nothing",
    .config = "model: {layers: S F, d_model: 32, chunk: 16}\nssm: {head_dim: 16}\n",
    .quick = {.set = {"train.steps=7"},
              .arm = (const hy__arm[]){{.name = "one", .set = {"ffn.d_ff=72"}},
                                       {.name = "two", .fit = "ffn.d_ff", .step = 8},
                                       {0}},
              .rate = {1e-3, 1e-2},
              .data = {"task:logic"},
              .probe =
                  (const hy__probe[]){
                      {.name = "seen", .data = "task:logic"},
                      {.name = "unseen", .data = "task:logic/hops=3", .aside = true},
                      {.name = "seen", .data = "task:logic", .metric = HY__LOSS},
                      {0}},
              .goal = GOALS,
              .reported = (const hy__reported[]){{.arm = "one", .at = "seen", .value = 0.76},
                                                 {.arm = "two", .at = "unseen", .value = 0.12},
                                                 {0}}},
};

static hy__job made(int arm, int rate, int64_t seed, double seen, double unseen) {
    hy__job j = {.arm = arm, .rate = rate, .seed = seed, .done = true, .parameters = 100};
    j.read = 4000 + seed;
    for (int p = 0; p < 3; p++) {
        for (int m = 0; m < HY__METRICS; m++) j.answer[p].value[m] = NAN;
        j.answer[p].value[HY__ACCURACY] = p == 1 ? unseen : seen;
        j.answer[p].value[HY__LOSS] = 1.0 - j.answer[p].value[HY__ACCURACY];
    }
    return j;
}

/* Of accuracies that differ by less than a hundredth the lowest rate, of losses the best. */
static void test_rate(void **state) {
    (void)state;
    hy__probe probe[] = {{.name = "seen", .data = "task:recall"}, {0}};
    hy__lab_scale s = {.rate = {4e-3, 2e-3, 1e-3}, .probe = probe};
    hy__job job[] = {made(0, 0, 1, 0.957, 0.0), made(0, 1, 1, 0.951, 0.0), made(0, 2, 1, 0.94, 0.0),
                     made(1, 2, 1, 0.96, 0.0)};
    assert_int_equal(hy__results_best_rate(job, 4, 0, &s), 1);
    job[2] = made(0, 2, 1, 0.948, 0.0);
    assert_int_equal(hy__results_best_rate(job, 4, 0, &s), 2);
    probe[0].metric = HY__LOSS;
    assert_int_equal(hy__results_best_rate(job, 4, 0, &s), 0);
    job[0].answer[0].value[HY__LOSS] = NAN;
    assert_int_equal(hy__results_best_rate(job, 4, 0, &s), 1);
}

static void check_verdict(const hy__results *r, int i, double got, double wanted, bool met) {
    if (fabs(r->verdict[i].got - got) > 1e-12 || fabs(r->verdict[i].wanted - wanted) > 1e-12 ||
        r->verdict[i].met != met)
        fail_msg("%s: got %g, wanted %g, %s", r->verdict[i].goal, r->verdict[i].got,
                 r->verdict[i].wanted, r->verdict[i].met ? "met" : "missed");
}

/* Of a seed that has no value the others do not stand in: neither the arm's own nor those of the
 * arms that it is compared with. */
static void check_unknown(const hy__job job[6], const hy__lab_options *opt) {
    hy_error err = {0};
    for (int a = 0; a < 2; a++) {
        hy__job some[6];
        memcpy(some, job, sizeof some);
        some[4 + a].answer[0].value[HY__ACCURACY] = NAN; /* the second seed */
        some[4 + a].answer[2].value[HY__LOSS] = NAN;
        hy__results r = {.lab = &TOY,
                         .scale = &TOY.quick,
                         .opt = opt,
                         .n_seed = 2,
                         .job = some,
                         .n_job = 6,
                         .best = {1, 0}};
        law_ok(hy__results_init(&r, &err), &err);
        assert_true(isnan(r.value[a][0].mean) && isnan(r.value[a][0].low));
        for (int i = 0; i < 3; i++) {
            static const int ABOUT_BOTH[] = {2, 4, 8};
            assert_false(r.verdict[ABOUT_BOTH[i]].met);
            assert_non_null(r.verdict[ABOUT_BOTH[i]].unknown);
        }
        assert_true((r.verdict[3].unknown != NULL) == (a == 0)); /* of the first arm alone */
    }
}

static void check_file(const char *dir, const char *name, const char *said) {
    hy_error err = {0};
    char path[600], *text;
    size_t size;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    law_ok(hy__file_read(path, 1 << 20, &text, &size, &err), &err);
    if (!strstr(text, said)) fail_msg("not in %s: %s", name, said);
    free(text);
}

/* Of a training each metric of an answer has one line, whichever probes share the answer: two lines
 * for each of `asked` answers, for accuracy and loss. */
static void check_lines(const char *dir, int64_t n_job, int64_t asked) {
    hy_error err = {0};
    char path[600], *text;
    size_t size;
    int64_t lines = 0, accuracies = 0, chances = 0;
    snprintf(path, sizeof path, "%s/results.csv", dir);
    law_ok(hy__file_read(path, 1 << 20, &text, &size, &err), &err);
    for (const char *at = text; (at = strchr(at, '\n')); at++) lines++;
    for (const char *at = text; (at = strstr(at, ",accuracy,")); at++) {
        const char *behind = strchr(at + strlen(",accuracy,"), ',');
        chances += behind && behind[1] != ','; /* the line is of the probe that asks for it */
        accuracies++;
    }
    assert_int_equal(lines, 1 + n_job * asked * 2);
    assert_int_equal(accuracies, n_job * asked);
    assert_int_equal(chances, accuracies);
    free(text);
}

static void test_results(void **state) {
    (void)state;
    hy_error err = {0};
    const hy__job job[] = {made(0, 0, 1, 0.5, 1.0), made(0, 1, 1, 0.9, 0.7),
                           made(1, 0, 1, 0.6, 0.9), made(1, 1, 1, 0.6, 0.0),
                           made(0, 1, 2, 0.8, 0.7), made(1, 0, 2, 0.4, 0.7)};
    static const char *const SET[] = {
        "model.layers=SE SA SE SW SP SF SE SA SE SW SP SF SE SA SE SW SP SF SE SA SE SW SP F"};
    const hy__lab_options opt = {.seeds = 2, .set = SET, .n_set = 1};
    hy__results r = {
        .lab = &TOY, .scale = &TOY.quick, .opt = &opt, .n_seed = 2, .job = job, .n_job = 6};
    for (int a = 0; a < 2; a++) r.best[a] = hy__results_best_rate(job, 4, a, &TOY.quick);
    assert_int_equal(r.best[0], 1); /* what was not trained on has no say */
    assert_int_equal(r.best[1], 0); /* the lower of equals */
    law_ok(hy__results_init(&r, &err), &err);
    assert_true(fabs(r.value[0][0].mean - 0.85) < 1e-12);
    assert_true(r.value[0][0].low == 0.8 && r.value[0][0].high == 0.9);
    assert_true(fabs(r.value[1][1].mean - 0.8) < 1e-12);
    assert_int_equal(r.n_verdict, 13);
    check_verdict(&r, 0, 0.7, 0.8, false);
    check_verdict(&r, 1, 0.7, 0.9, false);
    check_verdict(&r, 2, 0.8, 0.6, true); /* at worst, at best */
    check_verdict(&r, 3, 0.15, 0.1, false);
    check_verdict(&r, 4, 0.2, 0.4, true);
    check_verdict(&r, 5, 0.35, 0.4, true);
    check_verdict(&r, 6, 0.5 / 0.15, 2.0, false);
    check_verdict(&r, 7, 0.35, 0.05, false);
    check_verdict(&r, 8, 0.3, 0.25, true); /* .9 against .6, .8 against .4 */
    check_verdict(&r, 9, 0.15, 0.1, false);
    check_verdict(&r, 10, 0.85 - 0.7, 0.1, false);
    check_verdict(&r, 11, 0.0, 0.0, false);
    check_verdict(&r, 12, 0.15, 0.2, true);
    assert_string_equal(r.verdict[0].at, "unseen");
    assert_null(r.verdict[2].at);
    /* alike to chance, nobody is ahead */
    hy__job poor[6];
    memcpy(poor, job, sizeof job);
    for (int i = 0; i < 6; i++)
        poor[i].answer[0].value[HY__ACCURACY] = poor[i].arm == 0 ? 0.02 : 0.01;
    hy__results below = {
        .lab = &TOY, .scale = &TOY.quick, .opt = &opt, .n_seed = 2, .job = poor, .n_job = 6};
    below.best[0] = 1;
    law_ok(hy__results_init(&below, &err), &err);
    assert_false(below.verdict[2].met);
    check_unknown(job, &opt);
    char dir[] = "/tmp/hydralm-lab-XXXXXX", path[64], *page;
    size_t size;
    assert_non_null(mkdtemp(dir));
    law_ok(hy__results_write(&r, dir, &err), &err);
    law_ok(hy__results_page(&r, dir, &err), &err);
    snprintf(path, sizeof path, "%s/index.html", dir);
    law_ok(hy__file_read(path, 1 << 20, &page, &size, &err), &err);
    assert_non_null(strstr(page, SET[0])); /* the command again, as a whole */
    static const char *const SAID[] = {"layers: S F",
                                       "train.steps=7",
                                       "ffn.d_ff=72",
                                       "<code>ffn.d_ff=72</code> for equal parameters",
                                       "4001",
                                       "published, beside one",
                                       "published, beside two",
                                       "0.01, the highest",
                                       "0.001, the lowest",
                                       "one: at least .8 at both (worst at unseen)",
                                       "0.760"};
    for (size_t i = 0; i < sizeof SAID / sizeof *SAID; i++)
        if (!strstr(page, SAID[i])) fail_msg("not on the page: %s", SAID[i]);
    free(page);
    check_file(dir, "results.json", "\"published\": 0.76,\n");
    check_file(dir, "results.csv", ",0.76000\n");
    check_file(dir, "results.csv", ",0.12000\n");
    check_file(dir, "results.csv", ",accuracy,0.90000,0.");
    check_lines(dir, 6, 2);
    check_file(dir, "accuracy.svg", "published, beside one");
    static const char *const NAME[] = {"results.json", "results.csv", "index.html", "accuracy.svg",
                                       "loss.svg"};
    for (int i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, NAME[i]);
        assert_int_equal(remove(path), 0);
    }
    assert_int_equal(remove(dir), 0);
    assert_int_equal(hy__results_write(&r, dir, &err), HY_E_IO);
}

/* ---- what is refused ---- */

static const char *refused(const hy__lab *lab, const char *set, const char *out) {
    static hy_error err;
    const hy__lab_options opt = {.seeds = 1, .set = &set, .n_set = 1, .out = out};
    assert_int_equal(hy__lab_run(lab, &opt, &err), HY_E_INVALID);
    return err.text;
}

/* It is not refused. */
static void change(const hy__lab *lab, const char *set) {
    hy_error err = {0};
    const hy__lab_options opt = {.seeds = 1, .set = &set, .n_set = 1, .out = "out"};
    law_ok(hy__lab_check(lab, &opt, &err), &err);
}

static void test_options(void **state) {
    (void)state;
    hy_error err = {0};
    char far[HY__LAB_OUT + 2];
    memset(far, 'x', sizeof far);
    far[sizeof far - 1] = '\0';
    assert_non_null(strstr(refused(&hy__lab_recall, "train.steps=1", far),
                           "xxx… has 408 bytes, wanted at most 400"));
    assert_int_not_equal(access(far, F_OK), 0);
    assert_non_null(strstr(refused(&hy__lab_recall, "train.lr=1", "out"), "changes nothing"));
    assert_non_null(strstr(refused(&hy__lab_recall, "train.seed=2", "out"), "changes nothing"));
    assert_non_null(strstr(refused(&hy__lab_recall, "ssm.d_state=8", "out"),
                           "does not reach arm \"S, N = 4\", which has ssm.d_state=4"));
    assert_non_null(strstr(refused(&hy__lab_crossover, "attention.topk=8", "out"),
                           "does not reach arm \"Transformer\""));
    /* what arms have by their size, where that depends on it and where not */
    assert_non_null(
        strstr(refused(&hy__lab_hops, "ffn.d_ff=999", "out"),
               "does not reach arm \"Transformer\", whose ffn.d_ff brings it to the size "
               "of \"S W, 4 reads\", which does not depend on it"));
    change(&hy__lab_hops, "ssm.d_state=64");
    change(&hy__lab_hops, "ssm.d_state=32"); /* as it is */
    static const char *const OF_8[] = {"experts.n_expert=8", "experts.d_ff=640"};
    const hy__lab_options both = {.seeds = 1, .set = OF_8, .n_set = 2, .out = "out"};
    law_ok(hy__lab_check(&hy__lab_crossover, &both, &err), &err);
    /* what all stages of an arm set, and what one of them leaves */
    assert_non_null(strstr(refused(&hy__lab_experts, "experts.balance_rate=0.01", "out"),
                           "does not reach arm \"previous unit\", whose stages all have a value"));
    assert_non_null(strstr(refused(&hy__lab_needle, "train.steps=9", "out"), "how long"));
    change(&hy__lab_needle, "train.seq_len=2048");
    /* what a measured step depends on, and what not */
    assert_non_null(strstr(refused(&hy__lab_crossover, "train.steps=9", "out"),
                           "what crossover measures does not depend on it"));
    assert_non_null(strstr(refused(&hy__lab_crossover, "train.nothing=1", "out"), "no field"));
    change(&hy__lab_crossover, "train.optimizer=adamw");
    change(&hy__lab_crossover, "train.recompute=true");
    change(&hy__lab_crossover, "experts.k=1");
    assert_int_not_equal(access("out", F_OK), 0);
}

/* ---- several experiments, which find what their questions say ---- */

static hy_status find(const hy__lab *lab, const hy__lab_options *opt, hy_error *err) {
    char path[HY__LAB_DIR];
    HY_TRY(hy__dir_make(opt->out, NULL, err));
    snprintf(path, sizeof path, "%s/results.json", opt->out);
    return hy__file_write(path, lab->question, strlen(lab->question), err);
}

static hy_status break_off(const hy__lab *lab, const hy__lab_options *opt, hy_error *err) {
    (void)lab, (void)opt;
    return hy__fail(err, HY_E_IO, "the <disk> is full");
}

static hy_status stop(const hy__lab *lab, const hy__lab_options *opt, hy_error *err) {
    (void)lab, (void)opt;
    return hy__fail(err, HY_E_STOPPED, "stopped at once");
}

#define FOUND(scale, ...)                                                                          \
    "{\"scale\": \"" scale                                                                         \
    "\", \"set\": [\"ssm.d_state=8\"], \"commit\": \"0123abc\", \"verdicts\": [" __VA_ARGS__ "]}"
static const hy__lab BAD = {.name = "bad", .question = "Is it bad?", .run = break_off},
                     GOOD = {.name = "good",
                             .run = find,
                             .question = FOUND("quick", "{\"met\": true}, {\"met\": false}")},
                     DIM = {.name = "dim",
                            .run = find,
                            .question = FOUND("full", "{\"met\": true}, {\"met\": null}")},
                     HALT = {.name = "halt", .question = "Is it over?", .run = stop};

static void count_end(void *user, const hy__lab *lab, const hy_error *err) {
    char *said = user;
    snprintf(said + strlen(said), 64 - strlen(said), "%s %d ", lab->name, (int)err->status);
}

/* The cell that says what came of an experiment; it wraps. */
#define COURSE "<td class=\"w\">"

static void check_index(const char *dir, const char *const *wanted) {
    hy_error err = {0};
    char path[80], *page;
    size_t size;
    snprintf(path, sizeof path, "%s/index.html", dir);
    law_ok(hy__file_read(path, 1 << 20, &page, &size, &err), &err);
    for (; *wanted; wanted++)
        if (!strstr(page, *wanted)) fail_msg("the index does not say \"%s\": %s", *wanted, page);
    free(page);
}

static void test_all_in_turn(void **state) {
    (void)state;
    hy_error err = {0};
    char dir[] = "/tmp/hydralm-lab-XXXXXX", said[64] = "", command[64];
    hy__lab_options opt = {.seeds = 1, .out = dir, .full = true, .on_end = count_end, .user = said};
    assert_non_null(mkdtemp(dir));
    /* the first fails, whose reason is no matter of the others */
    assert_int_equal(hy__lab_run_all((const hy__lab *const[]){&BAD, &GOOD, &DIM, NULL}, &opt, &err),
                     HY_E_IO);
    assert_non_null(strstr(err.text, "1 of 3 experiments failed: bad; "));
    assert_string_equal(said, "bad 2 good 0 dim 0 ");
    check_index(dir,
                (const char *const[]){"<td>–</td>" COURSE "failed: the &lt;disk&gt; is full</td>",
                                      "<a href=\"good-full/index.html\">good</a>",
                                      "<td>1 of 2</td>" COURSE "done</td>",
                                      "<td>1 of 2, 1 not known</td>" COURSE "done</td>",
                                      "lab --all --full --seeds 1", NULL});
    /* all come through */
    law_ok(hy__lab_run_all((const hy__lab *const[]){&GOOD, &DIM, NULL}, &opt, &err), &err);
    check_index(dir,
                (const char *const[]){"<td>1 of 2</td>" COURSE "done</td>",
                                      "<td>1 of 2, 1 not known</td>" COURSE "done</td>", NULL});
    /* stopped: what was found before is of another run */
    assert_int_equal(
        hy__lab_run_all((const hy__lab *const[]){&DIM, &HALT, &GOOD, NULL}, &opt, &err),
        HY_E_STOPPED);
    assert_string_equal(err.text, "stopped at once");
    check_index(dir, (const char *const[]){"<td>1 of 2, 1 not known</td>" COURSE "done</td>",
                                           "<td>–</td>" COURSE "stopped</td>",
                                           "<td>1 of 2</td>" COURSE
                                           "not run; what is shown is of another "
                                           "run: --quick --set ssm.d_state=8, commit 0123abc</td>",
                                           NULL});
    snprintf(command, sizeof command, "rm -r %s", dir);
    assert_int_equal(system(command), 0);
}

/* Nothing is run where one refuses what all are told. */
static void test_all_refused(void **state) {
    (void)state;
    hy_error err = {0};
    static const char *const SET[] = {"train.lr=1"};
    const hy__lab_options opt = {.seeds = 1, .out = "nowhere", .set = SET, .n_set = 1};
    assert_int_equal(hy__lab_run_all((const hy__lab *const[]){&GOOD, NULL}, &opt, &err),
                     HY_E_INVALID);
    assert_non_null(strstr(err.text, "good: --set train.lr=1 changes nothing"));
    assert_int_not_equal(access("nowhere", F_OK), 0);
}

/* Hydra is at half of the Transformer's rate at 512, at 1.5 times at 1,024, at 4 times at 8,192,
 * and there was no memory to train the Transformer there. */
static void test_crossover(void **state) {
    (void)state;
    hy_error err = {0};
    static const int64_t LENGTH[] = {512, 1024, 8192};
    static const double TIMES[] = {0.5, 1.5, 4.0};
    const hy__lab_options opt = {.seeds = 1};
    const hy__lab_scale scale = {
        .arm = (const hy__arm[]){{.name = "Hydra"}, {.name = "Transformer"}, {0}}};
    hy__crossover x = {.lab = &hy__lab_crossover,
                       .scale = &scale,
                       .opt = &opt,
                       .length = LENGTH,
                       .n_arm = 2,
                       .n_length = 3};
    for (int l = 0; l < 3; l++)
        for (int p = 0; p < HY__PHASE_N; p++) {
            for (int r = 0; r < HY__CROSSOVER_ROUNDS; r++) { /* one round of which was slow */
                x.at[1][l].rate[p][r] = r == 1 ? 20.0 : 100.0;
                x.at[0][l].rate[p][r] = TIMES[l] * x.at[1][l].rate[p][r];
            }
            for (int a = 0; a < 2; a++) x.at[a][l].peak[p] = 1e6 * (double)LENGTH[l];
        }
    x.at[1][2].rate[HY__PHASE_TRAIN][0] = 0.0;
    assert_true(hy__crossover_ratio(&x, 0, 2, HY__PHASE_PREFILL) == 4.0);
    assert_true(hy__crossover_ratio(&x, 0, 2, HY__PHASE_TRAIN) == 0.0);
    char dir[] = "/tmp/hydralm-lab-XXXXXX", path[64], *text;
    size_t size;
    assert_non_null(mkdtemp(dir));
    law_ok(hy__crossover_write(&x, dir, &err), &err);
    snprintf(path, sizeof path, "%s/results.json", dir);
    law_ok(hy__file_read(path, 1 << 20, &text, &size, &err), &err);
    static const char *const SAID[] = {"\"got\": 4.0,\n   \"wanted\": 3.0,\n   \"met\": true",
                                       "\"got\": 1024.0,\n   \"wanted\": 2048.0,\n   \"met\": true",
                                       "\"got\": 1.0,\n   \"wanted\": 1.1,\n   \"met\": true"};
    for (int i = 0; i < 3; i++)
        if (!strstr(text, SAID[i])) fail_msg("not in results.json: %s", SAID[i]);
    check_file(
        dir, "results.json", /* which was not measured */
        "\"reading 16,384 tokens\",\n   \"got\": null,\n   \"wanted\": 5.0,\n   \"met\": null,\n"
        "   \"unknown\": \"measured by --full\"");
    check_file(dir, "results.csv", "\"Transformer\",0,train,8192,,,,,8192000000\n");
    check_file(dir, "index.html", "<h2>Memory at its peak, in MB</h2>");
    check_file(dir, "index.html", "<td class=\"n\">8192</td>");
    free(text);
    for (int l = 0; l < 3; l++)
        x.at[0][l].peak[HY__PHASE_TRAIN] = (double)(LENGTH[l] * LENGTH[l]); /* not linear */
    x.at[1][2].rate[HY__PHASE_PREFILL][2] = 0.0; /* no memory for the Transformer: no ratio */
    law_ok(hy__crossover_write(&x, dir, &err), &err);
    law_ok(hy__file_read(path, 1 << 20, &text, &size, &err), &err);
    assert_non_null(strstr(text, "\"unknown\": \"no memory for it\""));
    assert_non_null(strstr(text, "\"got\": 6.0,\n   \"wanted\": 1.1,\n   \"met\": false"));
    assert_non_null(strstr(text, SAID[1])); /* where both are known it is ahead */
    free(text);
    static const char *const NAME[] = {"results.json", "results.csv", "index.html", "train.svg",
                                       "prefill.svg",  "decode.svg",  "memory.svg"};
    for (int i = 0; i < 7; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, NAME[i]);
        assert_int_equal(remove(path), 0);
    }
    assert_int_equal(remove(dir), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_experiments_can_run),
        cmocka_unit_test(test_unknown_experiment),
        cmocka_unit_test(test_equal_flops),
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_results),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_all_in_turn),
        cmocka_unit_test(test_all_refused),
        cmocka_unit_test(test_crossover),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
