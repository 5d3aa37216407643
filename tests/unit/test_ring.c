/* Held-out text at lengths of context: every token once, each after as many as are said, whatever
 * the pieces and however many sequences are read together. */
#include "data/mixture.h"
#include "lab/ring.h"
#include "model/model.h"
#include "support/law.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- against one sequence after another, each read whole ---- */

static char path[] = "/tmp/hydralm-ring-XXXXXX";
static hy__tokenizer *tok;
static hy__mixture text;
static hy__backend *be;
static hy__model *m;

static int set_up(void **state) {
    (void)state;
    static const char YAML[] = "model: {layers: SE A W, d_model: 32, chunk: 16}\n"
                               "ssm: {head_dim: 16, d_state: 16}\n"
                               "attention: {n_head: 2, window: 32, topk: 2}\n"
                               "experts: {n_expert: 4, k: 2, d_ff: 32, expert_chunk: 16}\n"
                               "workspace: {n_head: 1, d_k: 16, d_v: 16}\n";
    hy_error err = {0};
    hy__config c;
    const int fd = mkstemp(path);
    for (int i = 0; i < 24000; i++) {
        const char x = (char)('a' + (i * i / 7 + i / 3) % 26);
        if (write(fd, &x, 1) != 1) return -1;
    }
    close(fd);
    const char *const file = path;
    law_ok(hy__tokenizer_open(&tok, NULL, &err), &err);
    const hy__build_options opt = {
        .path = &file, .n_path = 1, .tokenizer = tok, .val_fraction = 0.2, .threads = 1};
    law_ok(hy__mixture_open(&text, &opt, &err), &err);
    law_ok(hy__config_parse_yaml(YAML, strlen(YAML), "ring", &c, NULL, &err), &err);
    law_ok(hy__backend_open(&be, "cpu", 1, &err), &err);
    law_ok(hy__model_new(&m, be, &c, be->real, &err), &err);
    hy__model_randomize(m, 1);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    hy__model_free(m);
    hy__backend_free(be);
    hy__mixture_release(&text);
    hy__tokenizer_free(tok);
    return unlink(path);
}

/* The second half of n tokens from one place on. */
static double read_whole(const int32_t *ring, int64_t size, int64_t from, int64_t n) {
    hy_error err = {0};
    hy__work *work;
    int32_t *token = calloc((size_t)n, sizeof *token), *target = calloc((size_t)n, sizeof *target);
    double nats;
    int64_t counted;
    for (int64_t t = 0; t < n; t++) {
        token[t] = ring[(from + t) % size];
        target[t] = t < n / 2 ? -1 : ring[(from + t + 1) % size];
    }
    const hy__seq seq = {.len = n};
    const hy__batch batch = {.rows = {.n_row = n, .n_seq = 1, .seq = &seq}, .token = token};
    law_ok(hy__work_new(&work, m, (hy__work_options){0}, &err), &err);
    law_ok(hy__forward(work, &batch, &err), &err);
    law_ok(hy__loss(work, target, 0.0, NULL, &nats, &counted, &err), &err);
    assert_int_equal(counted, n / 2);
    hy__work_free(work);
    free(token);
    free(target);
    return nats;
}

static void test_losses(void **state) {
    (void)state;
    hy_error err = {0};
    enum { SIZE = 4096 };
    static const int64_t CONTEXT[] = {32, 512, 2048, 4096};
    int32_t ring[SIZE];
    const hy__document *held = text.corpus[0]->document[HY__PART_VAL];
    assert_true(held[0].len >= SIZE);
    law_ok(hy__corpus_read(text.corpus[0], held[0].start, SIZE, ring, &err), &err);
    for (int i = 0; i < 4; i++) {
        const hy__ring r = {.context = CONTEXT[i], .size = SIZE};
        hy__ring_sum got;
        double want = 0.0;
        law_ok(hy__ring_ask(&r, &got, m, &text, NULL, &err), &err);
        for (int64_t from = 0; from < SIZE; from += r.context / 2)
            want += read_whole(ring, SIZE, from, r.context);
        if (!(got.nats > want - 1e-4 * want && got.nats < want + 1e-4 * want))
            fail_msg("context %lld: %g nats, wanted %g", (long long)r.context, got.nats, want);
        assert_in_range(got.hits, 0, SIZE);
    }
    const hy__ring more = {.context = 64, .size = 8192};
    hy__ring_sum got;
    assert_int_equal(hy__ring_ask(&more, &got, m, &text, NULL, &err), HY_E_INVALID);
    assert_non_null(strstr(err.text, "held out, wanted 8192; name more text with --text"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_losses),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
