/* test_lab_job.c: what a training of the lab depends on, its text and its folder; what becomes of
 * one that is not whole, or that diverges. */
#include "backend/backend.h"
#include "base/file.h"
#include "bench/machine.h"
#include "lab/lab.h"
#include "page/page.h"
#include "support/law.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- the text of an experiment ---- */

static uint64_t print_of(const char *text, char dir[512]) {
    hy_error err = {0};
    hy__entries e;
    hy__lab_scale s = hy__lab_ablate.quick;
    hy__job j = {.seed = 1};
    const hy__lab_options opt = {.text = &text, .n_text = 1};
    law_ok(hy__entries_open(&e, &s, "ablate", &opt, &err), &err);
    assert_string_equal(s.data[0], text);
    assert_null(s.data[1]);
    law_ok(hy__job_open(&j, &hy__lab_ablate, &s, "out", &err), &err);
    memcpy(dir, j.dir, sizeof j.dir);
    hy__entries_release(&e);
    return s.text;
}

static void write_line(const char *path, const char *line) {
    hy_error err = {0};
    law_ok(hy__file_write(path, line, strlen(line), &err), &err);
}

static void test_text(void **state) {
    (void)state;
    char dir[3][512], first[] = "/tmp/hydralm-lab-XXXXXX", path[2][64];
    assert_non_null(mkdtemp(first));
    for (int i = 0; i < 2; i++) snprintf(path[i], sizeof path[i], "%s/%d.txt", first, i);
    const char *const text = path[0];
    write_line(path[0], "to be or not to be, that is the question");
    write_line(path[1], "to be or not to be, that is the question");
    const uint64_t print = print_of(path[0], dir[0]);
    assert_true(print != 0 && print == print_of(path[1], dir[1]));
    write_line(path[0], "to be or not to be, this is the question");
    assert_true(print != print_of(path[0], dir[2]));
    assert_string_not_equal(dir[0], dir[2]); /* an old result is not a new text's */
    hy_error err = {0};
    hy__entries e;
    hy__lab_scale s = hy__lab_ablate.quick;
    const hy__lab_options own = {0}, other = {.text = &text, .n_text = 1};
    law_ok(hy__entries_open(&e, &s, "ablate", &other, &err), &err);
    law_ok(hy__entries_check(&s, &err), &err);
    write_line(path[0], "to be or not to be, that was the question");
    assert_int_equal(hy__entries_check(&s, &err), HY_E_INVALID); /* it changed meanwhile */
    hy__entries_release(&e);
    for (int i = 0; i < 2; i++) assert_int_equal(remove(path[i]), 0);
    assert_int_equal(remove(first), 0);
    /* the project's own, found from the tests' folder */
    s = (hy__lab_scale){.data = {"task:logic", HY__LAB_TEXT, "own/src"}};
    law_ok(hy__entries_open(&e, &s, "toy", &own, &err), &err);
    assert_string_equal(s.data[1], "./src/*.[ch]");
    assert_string_equal(s.data[2], "./docs/*.md"); /* without figures */
    assert_string_equal(s.data[3], "./src/*.[ch]");
    hy__entries_release(&e);
    s = (hy__lab_scale){.data = {"own/docs:2"}};
    law_ok(hy__entries_open(&e, &s, "toy", &own, &err), &err);
    assert_string_equal(s.data[0], "./docs/*.md:2");
    hy__entries_release(&e);
}

/* A result is of a program, an instruction set and a configuration; of one that was built from
 * something else than a commit, also of the program's bytes. */
static void test_hash(void **state) {
    (void)state;
    const char *commit = hy__machine_describe().commit;
    const char *const part[] = {HY_VERSION, commit, hy__backend_names()[0], "train: {}"};
    const bool told = strcmp(commit, "unknown") != 0 && !strstr(commit, "-dirty");
    hy__hash h, wanted;
    hy__lab_hash(&h, "train: {}");
    hy__hash_init(&wanted);
    for (int i = 0; i < 4; i++) hy__hash_add(&wanted, part[i], strlen(part[i]) + 1);
    assert_true((hy__hash_value(&h) == hy__hash_value(&wanted)) == told);
}

/* What is printed of a text is cut between characters, and cut pieces follow one another. */
static void test_samples(void **state) {
    (void)state;
    hy_error err = {0};
    static const char SOME[] = "–β𝄞"; /* characters of 3, 2 and 4 bytes */
    char text[2100] = "", file[] = "/tmp/hydralm-lab-XXXXXX";
    const int fd = mkstemp(file);
    assert_true(fd >= 0);
    close(fd);
    for (int before = 0; before < 4; before++) {
        memset(text, 'x', (size_t)before);
        text[before] = '\0';
        while (strlen(text) + sizeof SOME <= sizeof text) strcat(text, SOME);
        write_line(file, text);
        hy__page p = {0};
        law_ok(hy__lab_put_samples(&p, &(hy__lab_scale){.data = {file}, .text = 1}, 0.0, &err),
               &err);
        assert_null(strstr(p.text.data, "�"));
        int n = 0;
        for (const char *at = p.text.data; (at = strstr(at, "<pre>")); at++) n++;
        assert_int_equal(n, 3);
        hy__page_release(&p);
    }
    assert_int_equal(unlink(file), 0);
    hy__page p = {0};
    law_ok(hy__lab_put_samples(&p, &hy__lab_recall.quick, 0.0, &err), &err);
    static const char *const SAID[] = {"recall/pairs=4<", "recall/pairs=16<", "recall/pairs=64<"};
    for (int i = 0; i < 3; i++) assert_non_null(strstr(p.text.data, SAID[i]));
    hy__page_release(&p);
}

/* A result that is cut off, or of which an answer is missing, is not done. */
static void test_job_that_is_not_whole(void **state) {
    (void)state;
    static const char HEAD[] = "{\"parameters\": 1, \"steps\": 1, \"read\": 1, \"tokens\": 1, "
                               "\"seconds\": 1.0";
    static const struct {
        const char *answers;
        bool done;
    } CASE[] = {{", \"answers\": [{\"asked\": 3, \"accuracy\": 0.5}, {\"asked\": 3}]}", true},
                {", \"answers\": [{\"asked\": 3, \"accuracy\": 0.5}, {", false},
                {", \"answers\": [{\"asked\": 3, \"accuracy\": 0.5}, 3]}", false},
                {", \"answers\": [{\"asked\": 3, \"accuracy\": 0.5}, {}]}", false},
                {", \"answers\": [{\"asked\": 3, \"accuracy\": 0.5}]}", false},
                {"}", false}};
    const hy__lab_scale scale = {.arm = (const hy__arm[]){{.name = "one"}, {0}},
                                 .rate = {1e-3},
                                 .probe = (const hy__probe[]){{.name = "a", .data = "task:logic"},
                                                              {.name = "b", .data = "*"},
                                                              {0}}};
    hy_error err = {0};
    hy__job j = {.seed = 1};
    char out[] = "/tmp/hydralm-lab-XXXXXX", path[HY__LAB_DIR + 20], text[300];
    assert_non_null(mkdtemp(out));
    law_ok(hy__job_open(&j, &hy__lab_recall, &scale, out, &err), &err);
    assert_false(j.done);
    law_ok(hy__dir_make(j.dir, NULL, &err), &err);
    snprintf(path, sizeof path, "%s/result.json", j.dir);
    for (size_t i = 0; i < sizeof CASE / sizeof *CASE; i++) {
        snprintf(text, sizeof text, "%s%s", HEAD, CASE[i].answers);
        write_line(path, text);
        j = (hy__job){.seed = 1};
        law_ok(hy__job_open(&j, &hy__lab_recall, &scale, out, &err), &err);
        if (j.done != CASE[i].done) fail_msg("%s is %sdone", text, j.done ? "" : "not ");
    }
    assert_int_equal(remove(path), 0);
    j.done = true; /* and gone since */
    law_ok(hy__job_open(&j, &hy__lab_recall, &scale, out, &err), &err);
    assert_false(j.done);
    hy__dir_unmake(j.dir, strlen(out));
    assert_int_equal(rmdir(out), 0);
}

static bool go_on(void *user, const hy_train_progress *p) {
    (void)user, (void)p;
    return true;
}

/* A rate at which nothing is learned loses against every other, and ends nothing else. */
static void test_job_that_diverges(void **state) {
    (void)state;
    const hy__lab_scale scale = {
        .set = {"train.steps=60", "train.batch=1", "train.warmup=1", "train.weight_decay=1"},
        .arm = (const hy__arm[]){{.name = "one"}, {0}},
        .rate = {10, 1e-3},
        .data = {"task:recall"},
        .probe = (const hy__probe[]){{.name = "recall", .data = "task:recall"}, {0}}};
    hy_error err = {0};
    hy__job job[2] = {{.seed = 1}, {.seed = 1, .rate = 1}};
    char out[] = "/tmp/hydralm-lab-XXXXXX", command[64];
    assert_non_null(mkdtemp(out));
    law_ok(hy__job_open(&job[0], &hy__lab_recall, &scale, out, &err), &err);
    law_ok(hy__job_run(&job[0], &hy__lab_recall, &scale, go_on, &err), &err);
    law_ok(hy__job_open(&job[0], &hy__lab_recall, &scale, out, &err), &err);
    assert_true(job[0].done);
    assert_true(isnan(job[0].answer[0].value[HY__ACCURACY]));
    assert_in_range(job[0].steps, 1, 59);
    assert_true(job[0].read >= job[0].tokens && job[0].tokens > 0 && job[0].seconds > 0.0);
    job[1].answer[0].value[HY__LOSS] = 100.0;
    assert_int_equal(hy__results_best_rate(job, 2, 0, &scale), 1);
    snprintf(command, sizeof command, "rm -r %s", out);
    assert_int_equal(system(command), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_hash),
        cmocka_unit_test(test_samples),
        cmocka_unit_test(test_job_that_is_not_whole),
        cmocka_unit_test(test_job_that_diverges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
