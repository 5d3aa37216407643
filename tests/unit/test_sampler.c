/* The sampler's contract, degenerate rows among it, and the emitter's: whole characters, no part of
 * a stop string. */
#include "infer/emitter.h"
#include "infer/sampler.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { V = 5 };

static int32_t sample(hy_sample_options opt, const float *logits, int64_t n, int64_t pos) {
    hy__sampler s;
    hy_error err = {0};
    int32_t token = -1;
    assert_int_equal(hy__sampler_init(&s, &opt, n, &err), HY_OK);
    assert_int_equal(hy__sampler_next(&s, logits, pos, &token, &err), HY_OK);
    hy__sampler_release(&s);
    return token;
}

/* How often each of the V tokens comes in n draws. */
static void count(hy_sample_options opt, const float *logits, int n, int *times) {
    hy__sampler s;
    hy_error err = {0};
    int32_t token;
    memset(times, 0, V * sizeof *times);
    assert_int_equal(hy__sampler_init(&s, &opt, V, &err), HY_OK);
    for (int i = 0; i < n; i++) {
        assert_int_equal(hy__sampler_next(&s, logits, i, &token, &err), HY_OK);
        times[token]++;
    }
    hy__sampler_release(&s);
}

static void test_greedy(void **state) {
    (void)state;
    const float l[V] = {1.0f, 3.0f, -2.0f, 3.0f, 0.0f};
    assert_int_equal(sample((hy_sample_options){0}, l, V, 7), 1); /* ties to the lower id */
    assert_int_equal(sample((hy_sample_options){.temperature = 2.0, .top_k = 1}, l, V, 7), 1);
    assert_int_equal(sample((hy_sample_options){.temperature = 1e-300}, l, 1, 0), 0);
}

/* Frequencies follow softmax(logits / temperature). 20000 draws: the deviation of a share is at
 * most 0.0036, so 0.02 is more than five of them. */
static void test_distribution(void **state) {
    (void)state;
    const float l[V] = {0.0f, 1.0f, -1.0f, 2.0f, -INFINITY};
    for (int k = 0; k < 3; k++) {
        const double temperature = (const double[]){0.5, 1.0, 3.0}[k];
        double p[V], sum = 0.0;
        int times[V];
        for (int i = 0; i < V; i++) sum += p[i] = exp((double)l[i] / temperature);
        count((hy_sample_options){.temperature = temperature, .seed = 3}, l, 20000, times);
        for (int i = 0; i < V; i++) assert_true(fabs(times[i] / 20000.0 - p[i] / sum) < 0.02);
        assert_int_equal(times[4], 0);
    }
}

static void test_filters(void **state) {
    (void)state;
    /* weights .4 .3 .2 .1 .1 in mixed order, with a tie for the last places */
    const float l[V] = {logf(0.2f), logf(0.4f), logf(0.1f), logf(0.3f), logf(0.1f)};
    int times[V];
    count((hy_sample_options){.temperature = 1, .top_k = 2}, l, 2000, times);
    assert_true(times[1] > 0 && times[3] > 0);
    assert_int_equal(times[1] + times[3], 2000);
    count((hy_sample_options){.temperature = 1, .top_k = 4}, l, 2000, times);
    assert_true(times[2] > 0); /* the lower id of the tie */
    assert_int_equal(times[4], 0);
    /* the mass is 1.1: .4 is .36 of it, .4 + .3 are .64 */
    count((hy_sample_options){.temperature = 1, .top_p = 0.5}, l, 2000, times);
    assert_true(times[1] > 0 && times[3] > 0);
    assert_int_equal(times[1] + times[3], 2000);
    count((hy_sample_options){.temperature = 1, .top_p = 0.3}, l, 200, times);
    assert_int_equal(times[1], 200);
    count((hy_sample_options){.temperature = 1, .top_p = 1e-9}, l, 200, times);
    assert_int_equal(times[1], 200);
    /* at least 45% of the best: .4, .3, .2 */
    count((hy_sample_options){.temperature = 1, .min_p = 0.45}, l, 2000, times);
    assert_true(times[0] > 0 && times[1] > 0 && times[3] > 0);
    assert_int_equal(times[2] + times[4], 0);
    /* top-p of what top-k left: .4 of .7 is more than .55 */
    count((hy_sample_options){.temperature = 1, .top_k = 2, .top_p = 0.55}, l, 200, times);
    assert_int_equal(times[1], 200);
    count((hy_sample_options){.temperature = 1, .top_k = 99, .top_p = 1, .min_p = 1}, l, 200,
          times);
    assert_int_equal(times[1], 200);
}

static void test_seed_and_position(void **state) {
    (void)state;
    float l[64] = {0};
    int differ = 0;
    for (int i = 0; i < 50; i++) {
        const hy_sample_options a = {.temperature = 1, .seed = 1};
        const hy_sample_options b = {.temperature = 1, .seed = 2};
        assert_int_equal(sample(a, l, 64, i), sample(a, l, 64, i));
        differ += sample(a, l, 64, i) != sample(b, l, 64, i);
    }
    assert_true(differ > 40);
}

static void refuse(hy_sample_options opt) {
    hy__sampler s;
    hy_error err = {0};
    assert_int_equal(hy__sampler_init(&s, &opt, V, &err), HY_E_INVALID);
    assert_non_null(strstr(err.text, "wanted"));
}

static void test_refused(void **state) {
    (void)state;
    refuse((hy_sample_options){.temperature = -1});
    refuse((hy_sample_options){.temperature = (double)NAN});
    refuse((hy_sample_options){.temperature = (double)INFINITY});
    refuse((hy_sample_options){.top_k = -1});
    refuse((hy_sample_options){.top_p = 1.5});
    refuse((hy_sample_options){.top_p = (double)NAN});
    refuse((hy_sample_options){.min_p = -0.1});
    const float rows[3][V] = {{0, 1, NAN, 0, 0},
                              {0, INFINITY, 0, 0, 0},
                              {-INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY}};
    for (int k = 0; k < 6; k++) {
        hy__sampler s;
        hy_error err = {0};
        int32_t token;
        const hy_sample_options opt = {.temperature = k % 2};
        assert_int_equal(hy__sampler_init(&s, &opt, V, &err), HY_OK);
        assert_int_equal(hy__sampler_next(&s, rows[k / 2], 0, &token, &err), HY_E_INVALID);
        assert_true(err.text[0] != 0);
        hy__sampler_release(&s);
    }
}

/* Huge logits neither overflow nor lose the best. */
static void test_extreme(void **state) {
    (void)state;
    const float l[V] = {-3e38f, 3e38f, 3e38f, 0.0f, -INFINITY};
    int times[V];
    count((hy_sample_options){.temperature = 1}, l, 2000, times);
    assert_true(times[1] > 800 && times[2] > 800);
    count((hy_sample_options){.temperature = 1e6, .top_k = 3, .top_p = 0.999}, l, 2000, times);
    assert_int_equal(times[1] + times[2], 2000);
}

typedef struct text {
    char all[512];
    size_t n;
    int left; /* refuse after so many pieces */
} text;

static bool take(void *user, const char *piece, size_t n) {
    text *t = user;
    assert_true(n > 0 && t->n + n < sizeof t->all);
    memcpy(t->all + t->n, piece, n);
    t->n += n;
    t->all[t->n] = 0;
    return --t->left != 0;
}

/* Puts `bytes` in steps of every small size and compares the whole text. */
static void emit(const char *bytes, const char *const *stop, int64_t n_stop, const char *want,
                 bool stopped) {
    const size_t n = strlen(bytes);
    for (size_t step = 1; step < 9; step++) {
        text t = {0};
        hy__emitter e;
        hy_error err = {0};
        assert_int_equal(hy__emitter_init(&e, take, &t, stop, n_stop, &err), HY_OK);
        for (size_t i = 0; i < n; i += step) {
            const size_t size = n - i < step ? n - i : step;
            assert_int_equal(hy__emitter_put(&e, bytes + i, size, &err), HY_OK);
        }
        assert_int_equal(hy__emitter_end(&e, &err), HY_OK);
        assert_string_equal(t.all, want);
        assert_int_equal(e.stopped, stopped);
        hy__emitter_release(&e);
    }
}

static void test_stop_strings(void **state) {
    (void)state;
    const char *const stop[] = {"END", "\n\n", "ENORMOUS"};
    emit("one two END three", stop, 3, "one two ", true);
    emit("one two EN", stop, 3, "one two EN", false);
    emit("a\nb\n\nc", stop, 3, "a\nb", true);
    emit("ENOUGH", stop, 3, "ENOUGH", false);
    emit("EENDEN", stop, 3, "E", true);
    emit("END", stop, 3, "", true);
}

static void test_utf8(void **state) {
    (void)state;
    const char *whole = "na\xC3\xAFve \xE2\x82\xAC \xF0\x9F\x90\x8D";
    emit(whole, NULL, 0, whole, false);
    /* stray bytes, an overlong form, a surrogate, characters cut off */
    emit("a\xFF|\x80", NULL, 0, "a\xEF\xBF\xBD|\xEF\xBF\xBD", false);
    emit("\xC0\xAFx", NULL, 0, "\xEF\xBF\xBD\xEF\xBF\xBDx", false);
    emit("\xED\xA0\x80", NULL, 0, "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD", false);
    emit("\xE2\x82", NULL, 0, "\xEF\xBF\xBD", false);
    emit("\xE2\x82|", NULL, 0, "\xEF\xBF\xBD|", false);
}

static void test_refusal_ends(void **state) {
    (void)state;
    text t = {.left = 2};
    hy__emitter e;
    hy_error err = {0};
    assert_int_equal(hy__emitter_init(&e, take, &t, NULL, 0, &err), HY_OK);
    for (int i = 0; i < 5; i++) assert_int_equal(hy__emitter_put(&e, "x", 1, &err), HY_OK);
    assert_int_equal(hy__emitter_end(&e, &err), HY_OK);
    assert_string_equal(t.all, "xx");
    assert_true(e.refused);
    hy__emitter_release(&e);
    const char *const empty[] = {""};
    assert_int_equal(hy__emitter_init(&e, take, &t, empty, 1, &err), HY_E_INVALID);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy),       cmocka_unit_test(test_distribution),
        cmocka_unit_test(test_filters),      cmocka_unit_test(test_seed_and_position),
        cmocka_unit_test(test_refused),      cmocka_unit_test(test_extreme),
        cmocka_unit_test(test_stop_strings), cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_refusal_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
