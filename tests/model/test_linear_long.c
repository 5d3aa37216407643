/* test_linear_long.c: the law "linear" (docs/numerics.md): no allocation grows faster than T. A
 * child process per length trains one step, and its peak memory is read from the system; with topk
 * 0 a decode of 100,000 tokens stays where it was after 1,000, and a text of 400,000 that is read
 * in pieces where it was after 16,000. */
#include "base/memory.h"
#include "support/law.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static hy__config all_letters(void) {
    hy__config c = law_config("SE A FW P");
    c.attention.topk = 4;
    c.attention.memory_blocks = 64;
    law_finish(&c);
    return c;
}

/* One training step on T tokens. */
static void train_once(int64_t n) {
    hy_error err = {0};
    const hy__config c = all_letters();
    law_model lm;
    law_open(&lm, "cpu", &c, 4);
    hy__work *w = NULL;
    law_ok(hy__model_train(lm.m, &err), &err);
    law_ok(hy__work_new(&w, lm.m, (hy__work_options){.training = true}, &err), &err);
    int32_t *token = law_tokens(1, n + 1, c.model.vocab);
    const hy__seq seq = {.len = n};
    const hy__batch b = {.rows = {.n_row = n, .n_seq = 1, .seq = &seq}, .token = token};
    double sum;
    int64_t count;
    law_ok(hy__forward(w, &b, &err), &err);
    law_ok(hy__loss(w, token + 1, 1.0 / (double)n, NULL, &sum, &count, &err), &err);
    law_ok(hy__backward(w, 1.0, &err), &err);
    hy__work_free(w);
    free(token);
    law_close(&lm);
}

/* Peak resident bytes of a child that runs it. */
static int64_t peak_of(int64_t n) {
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        train_once(n);
        _exit(0);
    }
    int status = 0;
    struct rusage use;
    assert_int_equal(wait4(pid, &status, 0, &use), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return (int64_t)use.ru_maxrss * 1024;
}

static void test_training_is_linear(void **state) {
    (void)state;
    int64_t peak[7];
    for (int i = 0; i < 7; i++) { /* 1K … 64K */
        peak[i] = peak_of(1024 << i);
        printf("%6d tokens: peak %.1f MB\n", 1024 << i, (double)peak[i] / 1e6);
    }
    /* bytes per further token, between successive lengths: constant up to 10% of page rounding and
     * of caches that fill; quadratic growth would double it each time */
    const double first = (double)(peak[3] - peak[2]) / (double)(1024 << 2);
    for (int i = 4; i < 7; i++) {
        const double slope = (double)(peak[i] - peak[i - 1]) / (double)(1024 << (i - 1));
        assert_true(slope < 1.1 * first);
    }
}

/* What is planned, without running it, to a length that would not fit. */
static void test_plan_is_linear(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        hy_error err = {0};
        const hy__config c = law_random_config(seed, 6);
        law_model lm;
        law_open(&lm, "ref", &c, seed);
        size_t bytes[2];
        for (int i = 0; i < 2; i++) {
            hy__work *w = NULL;
            const hy__seq seq = {.len = 8192 << i};
            const hy__rows rows = {.n_row = seq.len, .n_seq = 1, .seq = &seq};
            law_ok(hy__work_new(&w, lm.m, (hy__work_options){.training = true}, &err), &err);
            law_ok(hy__work_reserve(w, &rows, &err), &err);
            bytes[i] = hy__work_bytes(w);
            hy__work_free(w);
        }
        assert_true(bytes[1] <= 2 * bytes[0]);
        law_close(&lm);
    }
}

/* A sequence that goes on without end, with topk 0. */
typedef struct stream {
    law_model lm;
    hy__state *state;
    hy__work *work;
    int64_t pos;
    int64_t early; /* resident bytes near its beginning */
} stream;

static void stream_open(stream *s, const char *pattern, int64_t piece) {
    hy_error err = {0};
    hy__config c = law_config(pattern);
    c.attention.topk = 0;
    law_finish(&c);
    *s = (stream){0};
    law_open(&s->lm, "cpu", &c, 4);
    law_ok(hy__state_new(&s->state, s->lm.m, piece, &err), &err);
    law_ok(hy__work_new(&s->work, s->lm.m, (hy__work_options){0}, &err), &err);
}

static void stream_feed(stream *s, const int32_t *token, int64_t n) {
    hy_error err = {0};
    const hy__seq seq = {.len = n, .pos = s->pos};
    const hy__batch b = {.rows = {.n_row = n, .n_seq = 1, .seq = &seq},
                         .token = token,
                         .state_in = &s->state,
                         .state_out = &s->state};
    law_ok(hy__forward(s->work, &b, &err), &err);
    s->pos += n;
}

/* It holds what it held near its beginning. */
static void stream_close(stream *s) {
    const int64_t late = hy__rss_bytes();
    printf("resident %.2f MB, after %lld tokens %.2f MB\n", (double)s->early / 1e6,
           (long long)s->pos, (double)late / 1e6);
    assert_true(s->early > 0 && late - s->early < 1000000);
    hy__state_free(s->state);
    hy__work_free(s->work);
    law_close(&s->lm);
}

static void test_decode_is_constant(void **state) {
    (void)state;
    hy_error err = {0};
    stream s;
    float logit[50];
    int32_t token = 1;
    stream_open(&s, "SE A W P", 1);
    while (s.pos < 100000) {
        stream_feed(&s, &token, 1);
        law_ok(hy__logits(s.work, 0, 1, logit, &err), &err);
        token = 0;
        for (int32_t v = 1; v < 50; v++)
            if (logit[v] > logit[token]) token = v;
        if (s.pos == 1000) s.early = hy__rss_bytes();
    }
    stream_close(&s);
}

static void test_reading_is_constant(void **state) {
    (void)state;
    enum { PIECE = 512, N_PIECE = 800, EARLY = 32 };
    stream s;
    stream_open(&s, "SE A FW P", PIECE);
    int32_t *token = law_tokens(1, PIECE, s.lm.m->cfg.model.vocab);
    for (int64_t i = 0; i < N_PIECE; i++) {
        stream_feed(&s, token, PIECE);
        if (i == EARLY) s.early = hy__rss_bytes();
    }
    free(token);
    stream_close(&s);
}

int main(void) {
    /* the kernel may make one huge page of many small ones at any time, touched or not: that is its
     * growth, not ours */
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_training_is_linear), /* forks: first, before threads exist */
        cmocka_unit_test(test_plan_is_linear),
        cmocka_unit_test(test_decode_is_constant),
        cmocka_unit_test(test_reading_is_constant),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
