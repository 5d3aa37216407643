/* A step that fails inside the layers leaves no state that a later step could take for whole: a
 * session refuses to go on until it is reset or loaded, and training's states of the step before
 * stay as they were. Failures are those of a kernel that writes nothing, as without its scratch. */
#include "base/file.h"
#include "infer/engine.h"
#include "support/law.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* The address sanitizer would end the program at a size that no machine has. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "allocator_may_return_null=1";
}

/* ---- a kernel that fails ---- */

static void (*real_rmsnorm)(hy__backend *, const hy__rmsnorm_args *);
static int64_t calls_left; /* before the one that fails */

static void failing_rmsnorm(hy__backend *be, const hy__rmsnorm_args *a) {
    if (calls_left-- != 0)
        real_rmsnorm(be, a);
    else
        (void)hy__fail(&be->error, HY_E_MEMORY, "there is no scratch");
}

/* Norms stand before each layer and inside most: number `after` of a step fails. */
static void fail_after(hy__backend *be, int64_t after) {
    real_rmsnorm = be->kernels.rmsnorm;
    calls_left = after;
    be->kernels.rmsnorm = failing_rmsnorm;
}

static void fail_no_more(hy__backend *be) {
    assert_true(calls_left < 0); /* it did fail */
    be->kernels.rmsnorm = real_rmsnorm;
}

/* ---- states ---- */

enum { N = 40, CUT = 23 };

static hy_status step(hy__work *w, const int32_t *token, int64_t from, int64_t to, hy__state *in,
                      hy__state *out, hy_error *err) {
    const hy__seq seq = {.len = to - from, .pos = from};
    const hy__batch batch = {.rows = {.n_row = to - from, .n_seq = 1, .seq = &seq},
                             .token = token + from,
                             .state_in = &in,
                             .state_out = &out};
    return hy__forward(w, &batch, err);
}

static void assert_same_values(const hy__state *a, const hy__state *b) {
    int64_t n, m;
    double *x = law_state_values(a, &n), *y = law_state_values(b, &m);
    assert_int_equal(a->pos, b->pos);
    assert_int_equal(n, m);
    for (int64_t i = 0; i < n; i++) assert_true(x[i] == y[i]);
    free(x);
    free(y);
}

/* As training has it: from `now` into `next`, which take turns. The failed step leaves `next`
 * broken and `now` whole, so that the step can be done again. */
static void try_letter(const char *backend, const hy__config *c, uint64_t seed) {
    law_model lm;
    hy__work *w;
    hy__state *now, *next, *want;
    hy_error err = {0};
    law_open(&lm, backend, c, seed);
    int32_t *token = law_tokens(seed, N, c->model.vocab);
    law_ok(hy__work_new(&w, lm.m, (hy__work_options){.training = true}, &err), &err);
    law_ok(hy__model_train(lm.m, &err), &err);
    law_ok(hy__state_new(&now, lm.m, N, &err), &err);
    law_ok(hy__state_new(&next, lm.m, N, &err), &err);
    law_ok(hy__state_new(&want, lm.m, N, &err), &err);
    law_ok(step(w, token, 0, CUT, NULL, now, &err), &err);
    law_ok(step(w, token, CUT, N, now, want, &err), &err);

    fail_after(lm.be, 0);
    assert_int_equal(step(w, token, CUT, N, now, next, &err), HY_E_MEMORY);
    fail_no_more(lm.be);
    assert_true(next->broken && !now->broken);
    assert_int_equal(step(w, token, next->pos, N, next, now, &err), HY_E_INVALID);
    assert_non_null(strstr(err.text, "sequence 0: its state is half-written"));
    assert_int_equal(now->pos, CUT);
    law_ok(step(w, token, CUT, N, now, next, &err), &err);
    assert_false(next->broken);
    assert_same_values(next, want);

    hy__state_free(now);
    hy__state_free(next);
    hy__state_free(want);
    hy__work_free(w);
    free(token);
    law_close(&lm);
}

static void test_states(void **state) {
    (void)state;
    law_each_letter(try_letter);
}

/* ---- sessions ---- */

static char folder[] = P_tmpdir "/hydralm-broken-XXXXXX";

static hy_model *open_model(void) {
    static const char config[] = "model: {layers: \"SE A WP F\", d_model: 32, vocab: 256, "
                                 "chunk: 16}\n"
                                 "ssm: {head_dim: 16, d_state: 16}\n"
                                 "attention: {n_head: 2, head_dim: 16, window: 32, topk: 1}\n"
                                 "experts: {n_expert: 4, k: 2, expert_chunk: 16, d_ff: 32}\n"
                                 "workspace: {n_head: 1, d_k: 16, d_v: 16, reads: 2}\n"
                                 "pkm: {n_head: 1, n_key: 8, d_key: 16, topk: 2}\n";
    char path[128];
    hy_error err = {0};
    hy_model *m = NULL;
    snprintf(path, sizeof path, "%s/config.yaml", folder);
    law_ok(hy__file_write(path, config, sizeof config - 1, &err), &err);
    law_ok(hy_model_new(&m, path, 5, NULL, &err), &err);
    unlink(path);
    return m;
}

static void expect_refusal(hy_status status, const hy_error *err) {
    assert_int_equal(status, HY_E_INVALID);
    if (!strstr(err->text, "the session cannot go on: its state is half-written"))
        fail_msg("'%s'", err->text);
}

/* Every norm of a step fails once: the feed says so, and all that would read the state refuses
 * until it is reset, or (every other time) loaded. Then it gives the logits of one that never
 * failed. */
static void test_sessions(void **state) {
    (void)state;
    enum { VOCAB = 256, MORE = 9 };
    static float want[MORE * VOCAB], got[MORE * VOCAB];
    char saved[128], refused[128];
    hy_model *m = open_model();
    hy_session *s, *twin;
    hy_error err = {0};
    int32_t *token = law_tokens(3, N + MORE, VOCAB);
    snprintf(saved, sizeof saved, "%s/saved", folder);
    snprintf(refused, sizeof refused, "%s/refused", folder);
    law_ok(hy_session_new(&s, m, &err), &err);
    law_ok(hy_session_new(&twin, m, &err), &err);
    law_ok(hy_session_feed(twin, token, N, NULL, &err), &err);
    law_ok(hy_session_save(twin, saved, &err), &err);
    law_ok(hy_session_feed(twin, token + N, MORE, want, &err), &err);
    for (int64_t after = 0; after <= m->net->cfg.n_layer; after++) {
        hy_session_reset(s);
        law_ok(hy_session_feed(s, token, N, NULL, &err), &err);
        fail_after(m->be, after);
        assert_int_equal(hy_session_feed(s, token + N, MORE, NULL, &err), HY_E_MEMORY);
        fail_no_more(m->be);
        assert_int_equal(hy_session_pos(s), N);
        expect_refusal(hy_session_feed(s, token + N, MORE, NULL, &err), &err);
        expect_refusal(hy_session_feed(s, token, 0, NULL, &err), &err);
        expect_refusal(hy_session_generate(s, "", 0, NULL, NULL, NULL, NULL, &err), &err);
        expect_refusal(hy_session_save(s, refused, &err), &err);
        assert_int_not_equal(access(refused, F_OK), 0);
        if (after % 2 == 0) {
            law_ok(hy_session_load(s, saved, &err), &err);
        } else {
            hy_session_reset(s);
            law_ok(hy_session_feed(s, token, N, NULL, &err), &err);
        }
        law_ok(hy_session_feed(s, token + N, MORE, got, &err), &err);
        assert_memory_equal(got, want, sizeof got);
    }
    hy_session_free(s);
    hy_session_free(twin);
    free(token);
    unlink(saved);
    hy_model_free(m);
}

/* ---- no memory before the step ---- */

/* Every request for too much is refused, the second as the first, and says for what. */
static void test_no_memory(void **state) {
    (void)state;
    const int64_t n = INT64_C(1) << 44; /* tokens: more bytes of cache than addresses */
    hy_error err = {0};
    hy__config c = law_config("SA");
    law_model lm;
    hy__state *s;
    hy__work *w;
    law_open(&lm, "ref", &c, 1);
    law_ok(hy__state_new(&s, lm.m, 1, &err), &err);
    law_ok(hy__work_new(&w, lm.m, (hy__work_options){0}, &err), &err);
    assert_int_equal(hy__state_reserve(s, n, &err), HY_E_MEMORY);
    assert_non_null(strstr(err.text, "the state of a sequence of 17592186044416 tokens: "));
    const hy__seq seq = {.len = n};
    const hy__rows rows = {.n_row = n, .n_seq = 1, .seq = &seq};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(hy__work_reserve(w, &rows, &err), HY_E_MEMORY);
        assert_non_null(strstr(err.text, "the activations of a batch of 17592186044416 tokens: "));
        assert_int_equal(hy__work_bytes(w), 0);
    }
    hy__work_free(w);
    hy__state_free(s);
    law_close(&lm);
}

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    return rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_sessions),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
