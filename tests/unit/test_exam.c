/* What a model is asked at the end of a training: of tasks, of text, of its experts. */
#include "lab/lab.h"
#include "model/model.h"
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

/* An untrained model, and the exam of it. */
typedef struct subject {
    hy__config c;
    hy__train_config t;
    hy__backend *be;
    hy__model *m;
    hy__exam *e;
} subject;

/* route: of experts, or NULL. */
static void subject_open(subject *s, const char *yaml, const char *route,
                         const hy__lab_scale *scale) {
    hy_error err = {0};
    law_ok(hy__config_parse_yaml(yaml, strlen(yaml), "exam", &s->c, &s->t, &err), &err);
    if (route) law_ok(hy__config_set(&s->c, &s->t, "experts.route", route, &err), &err);
    law_ok(hy__config_finish(&s->c, &err), &err);
    law_ok(hy__backend_open(&s->be, "cpu", 1, &err), &err);
    law_ok(hy__model_new(&s->m, s->be, &s->c, s->be->real, &err), &err);
    hy__model_randomize(s->m, 1);
    law_ok(hy__model_train(s->m, &err), &err);
    law_ok(hy__exam_new(&s->e, s->m, scale, &s->t, NULL, &err), &err);
}

static void subject_close(subject *s) {
    hy__exam_free(s->e);
    hy__model_free(s->m);
    hy__backend_free(s->be);
}

/* An untrained model of bytes guesses: the loss is about ln 256. */
static void check_answer(hy__exam *e, const char *data, int64_t asked) {
    hy_error err = {0};
    hy__answer a;
    law_ok(hy__exam_ask(e, &(hy__probe){.data = data}, &a, &err), &err);
    if (asked > 0) assert_int_equal(a.asked, asked);
    assert_true(a.asked > 0);
    assert_true(a.value[HY__LOSS] > 4.5 && a.value[HY__LOSS] < 6.5);
    assert_true(a.value[HY__ACCURACY] >= 0.0 && a.value[HY__ACCURACY] < 0.2);
    assert_true(isnan(a.value[HY__BETA]) && isnan(a.value[HY__SLOTS]));
}

static bool never(void *user, const hy_train_progress *p) {
    (void)user, (void)p;
    return false;
}

/* Whoever is asked to stop does not finish the test first. */
static void check_stop(const subject *s, const char *text) {
    hy_error err = {0};
    hy__exam *e;
    hy__answer a;
    const hy__probe asked[] = {{.data = "task:logic"},
                               {.data = text + strlen("/tmp/")},
                               {.data = "ring", .reading = HY__READ_RING, .ring = {64, 128}}};
    law_ok(hy__exam_new(&e, s->m, &(hy__lab_scale){.data = {text}}, &s->t, never, &err), &err);
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++)
        assert_int_equal(hy__exam_ask(e, &asked[i], &a, &err), HY_E_STOPPED);
    hy__exam_free(e);
}

static void test_exam(void **state) {
    (void)state;
    static const char YAML[] = "model: {layers: S, d_model: 32, chunk: 16}\n"
                               "ssm: {head_dim: 16, d_state: 16}\n"
                               "train: {seq_len: 64}\n";
    hy_error err = {0};
    subject s;
    char text[] = "/tmp/hydralm-lab-XXXXXX";
    const int fd = mkstemp(text);
    assert_true(fd >= 0);
    for (int i = 0; i < 500; i++) assert_int_equal(write(fd, "to be or not to be\n", 19), 19);
    close(fd);
    subject_open(&s, YAML, NULL, &(hy__lab_scale){.data = {"task:logic/most=10", text}});
    check_answer(s.e, "task:logic/most=10", 1024 * 4); /* documents of several lengths */
    check_answer(s.e, "task:recall/pairs=64", (1 << 18) / 258 * 64); /* long ones are fewer */
    check_answer(s.e, text + strlen("/tmp/"), 0);
    check_answer(s.e, "*", 0);
    hy__answer a;
    assert_int_equal(hy__exam_ask(s.e, &(hy__probe){.data = "nothing"}, &a, &err), HY_E_INVALID);
    check_stop(&s, text);
    assert_int_equal(hy__exam_ask(s.e, &(hy__probe){.data = "task:nothing"}, &a, &err),
                     HY_E_INVALID);
    subject_close(&s);
    assert_int_equal(unlink(text), 0);
}

/* How far P is open where something is asked, and how much of its table was read. */
static void test_memory(void **state) {
    (void)state;
    static const char YAML[] = "model: {layers: S P P, d_model: 32, chunk: 16}\n"
                               "ssm: {head_dim: 16, d_state: 16}\n"
                               "pkm: {n_head: 1, n_key: 8, d_key: 16, topk: 1}\n"
                               "train: {seq_len: 64}\n";
    static const char TASK[] = "task:facts/facts=100";
    hy_error err = {0};
    subject s;
    hy__answer a;
    subject_open(&s, YAML, NULL, &(hy__lab_scale){.data = {TASK}});
    law_ok(hy__exam_ask(s.e, &(hy__probe){.data = TASK}, &a, &err), &err);
    assert_true(a.value[HY__BETA] > 0.0 && a.value[HY__BETA] < 1.0);
    assert_true(a.value[HY__SLOTS] > 0.0 && a.value[HY__SLOTS] <= 1.0);
    assert_true(a.value[HY__EVENNESS] > 0.0 && a.value[HY__EVENNESS] < 1.0);
    subject_close(&s);
}

static void test_balance(void **state) {
    (void)state;
    enum { N = 4 };
    double load[HY__DOMAINS * N] = {0};
    hy__balance b = hy__balance_of(load, N);
    assert_true(isnan(b.violation) && isnan(b.dead) && isnan(b.information));
    for (int d = 0; d < 2; d++) load[d * N + 2 * d] = load[d * N + 2 * d + 1] = 50;
    b = hy__balance_of(load, N); /* two experts for each of two corpora: H = ln 4, ln 2 */
    assert_true(b.violation == 0.0 && b.dead == 0.0 && fabs(b.information - 2.0 / 3.0) < 1e-12);
    for (int i = 0; i < 2 * N; i++) load[i] = i % N == 0 ? 30 : i % N == 3 ? 0 : 10;
    b = hy__balance_of(load, N); /* whatever the corpus, 3 to 1 to 1 to none */
    assert_true(fabs(b.violation - 1.4) < 1e-12 && b.dead == 1.0 && fabs(b.information) < 1e-12);
    for (int i = N; i < 2 * N; i++) load[i] = 0;
    assert_true(isnan(hy__balance_of(load, N).information)); /* one corpus */
}

static void test_harm_share(void **state) {
    (void)state;
    assert_true(fabs(hy__harm_share(0.5, 0.1) - 5.0 / 6.0) < 1e-12);
    assert_true(hy__harm_share(0.5, -0.1) == 1.0);   /* it does the others good */
    assert_true(hy__harm_share(-0.5, -0.1) == 0.0);  /* and itself */
    assert_true(hy__harm_share(0.0005, 0.0) == 0.0); /* too little to be told from nothing */
}

static void test_loads(void **state) {
    (void)state;
    static const int32_t CHOSEN[] = {0, 1, 1, 0, 0, 2, 0, 1, 3, 1};
    assert_int_equal(hy__loads_of(CHOSEN, 5, 2, 2), 5); /* 0 1, 2, 1, 3 */
    assert_int_equal(hy__loads_of(CHOSEN, 5, 2, 3), 4);
    assert_int_equal(hy__loads_of(CHOSEN, 10, 1, 1), 8);
    assert_int_equal(hy__loads_of(CHOSEN, 0, 2, 2), 0);
}

/* What stands behind a token is worth something to the leaking route and nothing to the others; and
 * of two corpora everything is measured that is said of experts. */
static void check_experts(const char *const *data, const char *route, bool leaks) {
    static const char YAML[] = "model: {layers: SE, d_model: 32, chunk: 16}\n"
                               "ssm: {head_dim: 16, d_state: 16}\n"
                               "experts: {n_expert: 4, k: 2, d_ff: 32, expert_chunk: 16}\n"
                               "train: {seq_len: 64, val_tokens: 1024}\n";
    hy_error err = {0};
    subject s;
    hy__answer whole, cut, other;
    subject_open(&s, YAML, route, &(hy__lab_scale){.data = {data[0], data[1]}});
    hy__exam *e = s.e;
    law_ok(hy__exam_ask(e, &(hy__probe){.data = "*"}, &whole, &err), &err);
    law_ok(hy__exam_ask(e, &(hy__probe){.data = "*", .reading = HY__READ_CUT}, &cut, &err), &err);
    assert_true(isnan(whole.value[HY__FUTURE]) && isnan(cut.value[HY__INFORMATION]));
    assert_true(isnan(cut.value[HY__FLOPS]) && isnan(cut.value[HY__EXPERT_READ]));
    assert_true(leaks ? fabs(cut.value[HY__FUTURE]) > 1e-5 : fabs(cut.value[HY__FUTURE]) < 1e-6);
    assert_true(whole.value[HY__INFORMATION] >= 0.0 && whole.value[HY__INFORMATION] <= 1.0);
    const double matrix = 3.0 * 32 * 32 * sizeof(float); /* of one expert */
    const bool by_token = strcmp(route, "token") == 0;   /* room for all four: each is read once */
    const double read = whole.value[HY__EXPERT_READ] / matrix;
    assert_true(read >= 2.0 / 64 && read <= (by_token ? 4.0 : 2.0) / 16);
    law_ok(hy__exam_ask(e, &(hy__probe){.data = "*", .k = 1}, &other, &err), &err);
    assert_true(other.value[HY__LOSS] != whole.value[HY__LOSS]);
    const double saved = whole.value[HY__FLOPS] - other.value[HY__FLOPS]; /* its weights, its sum */
    assert_true(saved == 2.0 * (matrix / sizeof(float) + 32));
    law_ok(hy__exam_ask(e, &(hy__probe){.data = "*", .reading = HY__READ_BANNED}, &other, &err),
           &err);
    assert_true(fabs(other.value[HY__LOSS] - whole.value[HY__LOSS]) < 0.1); /* of a part of it */
    assert_true(other.value[HY__HARM_SHARE] >= 0.0 && other.value[HY__HARM_SHARE] <= 1.0);
    assert_true(other.value[HY__HARM] != 0.0); /* something was banned */
    law_ok(hy__exam_ask(e, &(hy__probe){.data = "*"}, &other, &err), &err);
    assert_true(other.value[HY__LOSS] == whole.value[HY__LOSS]); /* and nothing is any more */
    assert_true(other.value[HY__INFORMATION] == whole.value[HY__INFORMATION]);
    if (!leaks) {
        const hy__probe mixed = {.data = "*", .reading = HY__READ_MIXED};
        law_ok(hy__exam_ask(e, &mixed, &other, &err), &err);
        assert_true(other.asked > 0 && other.value[HY__LOSS] > 4.5);
    }
    subject_close(&s);
}

/* Of one corpus no harm can be measured, and nothing is banned: what is said of balance is what a
 * plain reading of as much says. */
static void check_one_corpus(const char *entry) {
    static const char YAML[] = "model: {layers: SE, d_model: 32, chunk: 16}\n"
                               "ssm: {head_dim: 16, d_state: 16}\n"
                               "experts: {n_expert: 4, k: 2, d_ff: 32, expert_chunk: 16}\n"
                               "train: {seq_len: 64, val_tokens: ";
    hy_error err = {0};
    hy__answer a[2];
    for (int i = 0; i < 2; i++) { /* a quarter is read where experts are to be banned */
        char yaml[sizeof YAML + 10];
        subject s;
        snprintf(yaml, sizeof yaml, "%s%d}\n", YAML, i == 0 ? 4096 : 1024);
        subject_open(&s, yaml, "token", &(hy__lab_scale){.data = {entry}});
        const hy__probe p = {.data = "*", .reading = i == 0 ? HY__READ_BANNED : HY__READ_WINDOWS};
        law_ok(hy__exam_ask(s.e, &p, &a[i], &err), &err);
        subject_close(&s);
    }
    assert_int_equal(a[0].asked, a[1].asked);
    assert_true(isnan(a[0].value[HY__HARM]) && isnan(a[0].value[HY__HARM_SHARE]));
    assert_true(a[0].value[HY__VIOLATION] == a[1].value[HY__VIOLATION]);
    assert_true(a[0].value[HY__VIOLATION] > 0.0);
}

static void test_experts(void **state) {
    (void)state;
    static const char *const LINE[] = {"to be or not to be\n", "int32_t n = 0; n++;\n"};
    char text[2][40], entry[2][100];
    for (int i = 0; i < 2; i++) {
        snprintf(text[i], sizeof text[i], "/tmp/hydralm-lab-XXXXXX");
        const int fd = mkstemp(text[i]);
        assert_true(fd >= 0);
        for (int n = 0; n < 200; n++)
            assert_true(write(fd, LINE[i], strlen(LINE[i])) == (ssize_t)strlen(LINE[i]));
        close(fd);
        snprintf(entry[i], sizeof entry[i], "%s:1", text[i]);
    }
    const char *const data[] = {entry[0], entry[1]};
    check_experts(data, "previous", false);
    check_experts(data, "token", false);
    check_experts(data, "own", true);
    check_one_corpus(entry[0]);
    for (int i = 0; i < 2; i++) assert_int_equal(unlink(text[i]), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exam),    cmocka_unit_test(test_memory),
        cmocka_unit_test(test_balance), cmocka_unit_test(test_harm_share),
        cmocka_unit_test(test_loads),   cmocka_unit_test(test_experts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
