/* Model directories when something goes wrong: every file is read where a killed replacement has
 * left it, and a save or conversion that fails leaves no trace. */
#include "hydralm.h"

#include "base/file.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

static const hy_convert_options to_hf = {.to_hf = true};

static char root[] = P_tmpdir "/hydralm-directory-XXXXXX";
static hy_model *model;

static void must(hy_status status, const hy_error *err) {
    if (status != HY_OK) fail_msg("%s", err->text);
}

static const char *at_root(const char *name) {
    static char path[8][128];
    static int at;
    at = (at + 1) % 8;
    snprintf(path[at], sizeof path[at], "%s/%s", root, name);
    return path[at];
}

static int open_model(void **state) {
    (void)state;
    static const char config[] = "model: {layers: \"2x(S)\", d_model: 32, vocab: 256, chunk: 16}\n"
                                 "ssm: {head_dim: 16, d_state: 16}\n";
    hy_error err = {0};
    if (!mkdtemp(root)) return -1;
    if (hy__file_write(at_root("config.yaml"), config, sizeof config - 1, &err) == HY_OK &&
        hy_model_new(&model, at_root("config.yaml"), 1, NULL, &err) == HY_OK)
        return 0;
    print_error("%s\n", err.text);
    return -1;
}

static int close_model(void **state) {
    (void)state;
    char command[128];
    hy_model_free(model);
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

/* ---- a kill between the commit and its renames ---- */

static const char *const files[] = {"config.json", "generation_config.json", "model.safetensors",
                                    "tokenizer.json", "tokenizer_config.json"};
enum { N_FILES = sizeof files / sizeof *files };

/* Puts a whole model directory back to that moment. */
static void undo_renames(const char *dir) {
    char from[256], to[256], journal[512] = "";
    hy_error err = {0};
    for (int i = 0; i < N_FILES; i++) {
        snprintf(from, sizeof from, "%s/%s", dir, files[i]);
        snprintf(to, sizeof to, "%s/.hydra-new-%s", dir, files[i]);
        if (rename(from, to) != 0) fail_msg("%s is not among the files", from);
        snprintf(journal + strlen(journal), sizeof journal - strlen(journal), "put %s\n", files[i]);
    }
    strcat(journal, "end\n");
    snprintf(to, sizeof to, "%s/.hydra-commit", dir);
    must(hy__file_write(to, journal, strlen(journal), &err), &err);
}

/* The model opens with its text, and all of it can be converted. */
static void test_killed_commit(void **state) {
    (void)state;
    const char *dir = at_root("killed"), *hf = at_root("hf"), *back = at_root("back");
    hy_error err = {0};
    hy_model *m;
    int32_t *token;
    int64_t n;
    must(hy_model_save(model, dir, &err), &err);
    undo_renames(dir);
    must(hy_model_open(&m, dir, NULL, &err), &err);
    must(hy_encode(m, "text", 4, &token, &n, &err), &err);
    assert_int_equal(n, 4);
    free(token);
    hy_model_free(m);
    must(hy_convert(dir, hf, &to_hf, NULL, &err), &err);
    must(hy_convert(hf, back, NULL, NULL, &err), &err);
    must(hy_model_open(&m, back, NULL, &err), &err);
    must(hy_encode(m, "text", 4, &token, &n, &err), &err);
    free(token);
    hy_model_free(m);
}

/* ---- a full disk ---- */

/* A limit on the size of a file stands for the full disk. */
static void limit_files(rlim_t bytes) {
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void expect_untouched(hy_status status, const hy_error *err) {
    limit_files(RLIM_INFINITY);
    assert_int_equal(status, HY_E_IO);
    assert_non_null(strstr(err->text, "File too large"));
    assert_int_equal(access(at_root("new"), F_OK), -1);
    assert_int_equal(access(at_root("old"), F_OK), 0);
    assert_int_equal(access(at_root("old/new"), F_OK), -1);
}

static void test_full_disk(void **state) {
    (void)state;
    /* nothing at all, the first file but not the weights, all but the longest */
    static const rlim_t bytes[] = {0, 1000, 20000};
    const char *const to[] = {"new", "new/", "new/and/deeper", "old/new", "old"};
    hy_error err = {0};
    signal(SIGXFSZ, SIG_IGN);
    must(hy__dir_make(at_root("old"), NULL, &err), &err);
    must(hy_model_save(model, at_root("good"), &err), &err);
    must(hy_convert(at_root("good"), at_root("theirs"), &to_hf, NULL, &err), &err);
    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++)
        for (size_t j = 0; j < sizeof to / sizeof *to; j++) {
            limit_files(bytes[i]);
            expect_untouched(hy_model_save(model, at_root(to[j]), &err), &err);
            limit_files(bytes[i]);
            expect_untouched(hy_convert(at_root("good"), at_root(to[j]), &to_hf, NULL, &err), &err);
            limit_files(bytes[i]);
            expect_untouched(hy_convert(at_root("theirs"), at_root(to[j]), NULL, NULL, &err), &err);
        }
    assert_int_equal(rmdir(at_root("old")), 0); /* empty */
    signal(SIGXFSZ, SIG_DFL);
}

/* ---- a model without text ---- */

static void test_no_text(void **state) {
    (void)state;
    const char *dir = at_root("mute"), *text = at_root("mute.txt");
    hy_error err = {0};
    hy_model *m;
    hy_session *s;
    hy_eval_result result = {.tokens = 7};
    int32_t *token = &(int32_t){0};
    int64_t n = 7;
    char byte = 'x';
    must(hy_model_save(model, dir, &err), &err);
    must(hy__file_write(text, "some text", 9, &err), &err);
    unlink(at_root("mute/tokenizer.json"));
    must(hy_model_open(&m, dir, NULL, &err), &err);
    assert_int_equal(hy_encode(m, "text", 4, &token, &n, &err), HY_E_UNSUPPORTED);
    assert_null(token);
    assert_int_equal(n, 0);
    assert_non_null(strstr(err.text, "mute/tokenizer.json"));
    assert_int_equal(hy_decode(m, 'a', &byte, 1), 0);
    assert_int_equal(byte, 'x');
    assert_int_equal(hy_eval(m, &(const char *){text}, 1, &result, &err), HY_E_UNSUPPORTED);
    assert_int_equal(result.tokens, 7);
    must(hy_session_new(&s, m, &err), &err);
    assert_int_equal(hy_session_generate(s, "text", 4, NULL, NULL, NULL, NULL, &err),
                     HY_E_UNSUPPORTED);
    must(hy_session_feed(s, &(int32_t){'a'}, 1, NULL, &err), &err);
    hy_session_free(s);
    hy_model_free(m);
}

/* Where it is saved, no other model's tokenizer stays; where it is from, its own does. */
static void test_saved_without_text(void **state) {
    (void)state;
    static const char unknown[] = "{\"model\": {\"type\": \"Unigram\"}}";
    const char *from = at_root("wordless"), *to = at_root("wordy");
    const char *file = at_root("wordless/tokenizer.json");
    hy_error err = {0};
    hy_model *m;
    must(hy_model_save(model, from, &err), &err);
    must(hy_model_save(model, to, &err), &err);
    unlink(file);
    must(hy_model_open(&m, from, NULL, &err), &err);
    must(hy_model_save(m, to, &err), &err);
    assert_int_equal(access(at_root("wordy/tokenizer.json"), F_OK), -1);
    hy_model_free(m);
    must(hy__file_write(file, unknown, sizeof unknown - 1, &err), &err);
    must(hy_model_open(&m, from, NULL, &err), &err);
    must(hy_model_save(m, from, &err), &err);
    assert_int_equal(access(file, F_OK), 0);
    hy_model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed_commit),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_no_text),
        cmocka_unit_test(test_saved_without_text),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
