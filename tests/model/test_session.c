/* Sessions through the public interface: any split of a text gives the same text after it, sessions
 * do not disturb one another, evaluation is the mean of what the logits say, in bounded memory. */
#include "hydralm.h"

#include "base/memory.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/hydralm-session-XXXXXX";
static char path[64];
static hy_model *model;

static const char config[] = "model: {layers: \"SE AE WP\", d_model: 32, vocab: 256, chunk: 16}\n"
                             "ssm: {head_dim: 16, d_state: 16}\n"
                             "attention: {n_head: 2, head_dim: 16, window: 32, topk: 0}\n"
                             "experts: {n_expert: 4, k: 2, expert_chunk: 16, d_ff: 32}\n"
                             "workspace: {n_head: 1, d_k: 16, d_v: 16, reads: 2}\n"
                             "pkm: {n_head: 1, n_key: 8, d_key: 16, topk: 2}\n";

static void write_file(const char *text, size_t n, int64_t times) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    for (int64_t i = 0; i < times; i++) assert_int_equal(fwrite(text, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static int open_model(void **state) {
    (void)state;
    hy_error err = {0};
    if (!mkdtemp(folder)) return 1;
    snprintf(path, sizeof path, "%s/file", folder);
    write_file(config, strlen(config), 1);
    if (hy_model_new(&model, path, 11, NULL, &err) == HY_OK) return 0;
    print_error("%s\n", err.text);
    return 1;
}

static int close_model(void **state) {
    (void)state;
    hy_model_free(model);
    remove(path);
    rmdir(folder);
    return 0;
}

typedef struct text {
    char all[4096];
    size_t n;
} text;

static bool take(void *user, const char *piece, size_t n) {
    text *t = user;
    assert_true(t->n + n < sizeof t->all);
    memcpy(t->all + t->n, piece, n);
    t->all[t->n += n] = 0;
    return true;
}

static hy_session *open_session(void) {
    hy_session *s = NULL;
    hy_error err = {0};
    if (hy_session_new(&s, model, &err) != HY_OK) fail_msg("%s", err.text);
    return s;
}

static void generate(hy_session *s, const char *prompt, int64_t n, text *t) {
    const hy_sample_options opt = {.max_tokens = n, .temperature = 1, .seed = 4};
    hy_generate_result r;
    hy_error err = {0};
    if (hy_session_generate(s, prompt, strlen(prompt), &opt, take, t, &r, &err) != HY_OK)
        fail_msg("%s", err.text);
    assert_int_equal(r.tokens, n);
    assert_string_equal(r.finish, "length");
}

/* 30 tokens at once, in parts, after a reset, beside another session, after a prompt in two parts.
 * The text may be cut inside a character, which is then replaced: only whole runs are compared by
 * text, the parts by the logits that follow. */
static void test_parts(void **state) {
    (void)state;
    enum { VOCAB = 256 };
    float whole[VOCAB], parts[VOCAB];
    const int32_t next = 'x';
    hy_error err = {0};
    text a = {0}, b = {0}, c = {0};
    hy_session *s = open_session(), *other = open_session();
    generate(s, "Once upon a time", 30, &a);
    assert_int_equal(hy_session_feed(s, &next, 1, whole, &err), HY_OK);
    generate(other, "Once upon", 1, &c);
    hy_session_reset(s);
    assert_int_equal(hy_session_pos(s), 0);
    generate(s, "Once upon a time", 30, &b);
    assert_string_equal(a.all, b.all);
    hy_session_reset(other);
    generate(other, "Once upon a time", 11, &c);
    generate(other, "", 19, &c);
    assert_int_equal(hy_session_feed(other, &next, 1, parts, &err), HY_OK);
    assert_int_equal(hy_session_pos(other), 16 + 30 + 1);
    /* fp32 sums of other pieces: 1e-4 as in the law of any split */
    for (int i = 0; i < VOCAB; i++) assert_true(fabsf(whole[i] - parts[i]) < 1e-4f);
    hy_session_free(s);
    hy_session_free(other);
}

static void test_refusals(void **state) {
    (void)state;
    hy_error err = {0};
    hy_session *s = open_session();
    const int32_t bad = 256, padding[] = {7, -1}, twice[] = {1, 1}, all[] = {0, 1, 2, 3};
    assert_int_equal(hy_session_generate(s, "", 0, NULL, NULL, NULL, NULL, &err), HY_E_INVALID);
    assert_int_equal(hy_session_feed(s, &bad, 1, NULL, &err), HY_E_INVALID);
    assert_int_equal(hy_session_feed(s, padding, 2, NULL, &err), HY_E_INVALID);
    assert_int_equal(hy_session_pos(s), 0);
    const hy_expert_options forced = {.force = twice, .n_force = 2};
    assert_int_equal(hy_model_experts(model, &forced, &err), HY_E_INVALID);
    assert_non_null(strstr(err.text, "forced twice"));
    hy_expert_options banned = {.ban = all, .n_ban = 3}; /* k is 2, one is left */
    assert_int_equal(hy_model_experts(model, &banned, &err), HY_E_INVALID);
    banned.n_ban = 4;
    assert_int_equal(hy_model_experts(model, &banned, &err), HY_E_INVALID);
    assert_string_equal(err.text, "all 4 experts are banned, wanted at least one left");
    const hy_expert_options fewer[] = {{.n_ban = -1}, {.n_force = -1}};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(hy_model_experts(model, &fewer[i], &err), HY_E_INVALID);
        assert_non_null(strstr(err.text, "wanted 0 or more"));
    }
    hy_session_free(s);
}

/* Logits [256] after a few tokens, under what is set of the experts of one layer. */
static void control(int64_t layer, int64_t n_force, float *logits) {
    enum { N = 40 };
    static float all[N * 256];
    const int32_t force[] = {3};
    const hy_expert_options opt = {.layer = layer, .force = force, .n_force = n_force};
    int32_t token[N];
    hy_error err = {0};
    hy_session *s = open_session();
    for (int i = 0; i < N; i++) token[i] = i * i % 256;
    if (hy_model_experts(model, &opt, &err) != HY_OK) fail_msg("%s", err.text);
    assert_int_equal(hy_session_feed(s, token, N, all, &err), HY_OK);
    memcpy(logits, all + (N - 1) * 256, 256 * sizeof *logits);
    hy_session_free(s);
}

static void expect(int64_t layer, int64_t n_force, const float *want) {
    float got[256];
    control(layer, n_force, got);
    assert_memory_equal(got, want, sizeof got);
}

/* The model has two E layers. What is set of one of them leaves the other as it was. */
static void test_experts_by_layer(void **state) {
    (void)state;
    hy_error err = {0};
    float none[256], first[256], second[256], both[256];
    control(0, 0, none);
    control(1, 1, first);
    assert_memory_not_equal(none, first, sizeof none);
    control(2, 1, both);
    assert_memory_not_equal(first, both, sizeof none);
    control(1, 0, second);
    assert_memory_not_equal(none, second, sizeof none);
    assert_memory_not_equal(both, second, sizeof none);
    expect(0, 1, both);
    expect(2, 0, first);
    expect(0, 0, none);
    for (int64_t layer = -1; layer <= 3; layer += 4) {
        assert_int_equal(hy_model_experts(model, &(hy_expert_options){.layer = layer}, &err),
                         HY_E_INVALID);
        assert_non_null(strstr(err.text, "wanted 1 to 2, or 0 for all"));
    }
}

static hy_status eval(hy_eval_result *r, hy_error *err) {
    return hy_eval(model, &(const char *){path}, 1, r, err);
}

static double nll(const float *logits, int32_t target) {
    double sum = 0.0;
    for (int i = 0; i < 256; i++) sum += exp((double)logits[i]);
    return log(sum) - (double)logits[target];
}

/* The evaluation of 700 bytes, more than one piece, against the logits of a session. */
static void test_eval_is_the_mean(void **state) {
    (void)state;
    enum { N = 700 };
    char bytes[N];
    int32_t token[N];
    hy_error err = {0};
    hy_eval_result r;
    double sum = 0.0;
    float *logits = malloc(sizeof *logits * N * 256);
    for (int i = 0; i < N; i++) token[i] = bytes[i] = (char)('a' + i * i % 23);
    write_file(bytes, N, 1);
    if (eval(&r, &err) != HY_OK) fail_msg("%s", err.text);
    hy_session *s = open_session();
    assert_int_equal(hy_session_feed(s, token, N, logits, &err), HY_OK);
    for (int i = 0; i + 1 < N; i++) sum += nll(logits + i * 256, token[i + 1]);
    assert_int_equal(r.tokens, N - 1);
    assert_int_equal(r.bytes, N - 1);
    assert_int_equal(r.documents, 1);
    assert_true(fabs(r.nats_per_token - sum / (N - 1)) < 1e-5); /* nll is computed in fp32 */
    assert_true(fabs(r.bits_per_byte - r.nats_per_token / log(2.0)) < 1e-12);
    hy_session_free(s);
    free(logits);
}

/* Lines of JSON are documents with a state of their own; all tokens count alike, those of several
 * paths too. */
static void test_eval_of_documents(void **state) {
    (void)state;
    char lines[80];
    hy_error err = {0};
    hy_eval_result one, two, all;
    write_file("the first text", 14, 1);
    assert_int_equal(eval(&one, &err), HY_OK);
    write_file("another", 7, 1);
    assert_int_equal(eval(&two, &err), HY_OK);
    snprintf(lines, sizeof lines, "%s.jsonl", path);
    FILE *f = fopen(lines, "wb");
    assert_true(fputs("{\"text\": \"the first text\"}\n\n{\"text\": \"x\"}\n", f) >= 0);
    assert_int_equal(fclose(f), 0);
    const hy_status status = hy_eval(model, (const char *[]){lines, path}, 2, &all, &err);
    unlink(lines);
    if (status != HY_OK) fail_msg("%s", err.text);
    assert_int_equal(all.documents, 2); /* one token predicts nothing */
    assert_int_equal(all.tokens, 13 + 6);
    assert_true(fabs(all.nats_per_token * 19 - one.nats_per_token * 13 - two.nats_per_token * 6) <
                1e-9);
}

/* A text of twice the length takes no more memory, from one of a whole block (data/source.h) on:
 * the pattern's state is bounded. */
static void test_eval_memory(void **state) {
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    skip(); /* it keeps freed memory */
#endif
    hy_error err = {0};
    hy_eval_result r;
    write_file("0123456789abcdef", 16, 65536);
    /* twice: the C library may place the first one's blocks where the second finds no room */
    for (int i = 0; i < 2; i++) assert_int_equal(eval(&r, &err), HY_OK);
    const int64_t before = hy__rss_peak_bytes();
    write_file("0123456789abcdef", 16, 131072);
    assert_int_equal(eval(&r, &err), HY_OK);
    assert_int_equal(r.tokens, 16 * 131072 - 1);
    /* half of what the text grew by */
    assert_true(hy__rss_peak_bytes() - before < 512 << 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_experts_by_layer),
        cmocka_unit_test(test_eval_is_the_mean),
        cmocka_unit_test(test_eval_of_documents),
        cmocka_unit_test(test_eval_memory),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
