/* The lab's pool: chores in processes of their own, the first failure, and a stop that reaches all
 * of them whenever it comes. */
#include "lab/lab.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

enum { CHORES = 3 };

static hy_status succeed(void *user, int64_t i, hy_train_fn go_on, hy_error *err) {
    (void)user, (void)i, (void)go_on, (void)err;
    return HY_OK;
}

/* For ten seconds, so that a test that fails ends. */
static hy_status wait_for_stop(void *user, int64_t i, hy_train_fn go_on, hy_error *err) {
    const struct timespec nap = {.tv_nsec = 1000000};
    (void)user;
    for (int n = 0; n < 10000; n++) {
        if (!go_on(NULL, NULL)) return hy__fail(err, HY_E_STOPPED, "chore %d was stopped", (int)i);
        nanosleep(&nap, NULL);
    }
    return hy__fail(err, HY_E_INTERNAL, "chore %d was never stopped", (int)i);
}

static hy_status fail_or_wait(void *user, int64_t i, hy_train_fn go_on, hy_error *err) {
    if (i == 1) return hy__fail(err, HY_E_IO, "chore 1 has no luck");
    return wait_for_stop(user, i, go_on, err);
}

static void name_chore(const void *user, int64_t i, char *out, size_t size) {
    (void)user;
    snprintf(out, size, "chore %d", (int)i);
}

static bool stop_at_once(void *user) {
    (void)user;
    return true;
}

/* As soon as there is a process that could be stopped. */
static bool stop_at_birth(void *user) {
    siginfo_t info;
    (void)user;
    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

static hy_status run_chores(hy_status (*run)(void *, int64_t, hy_train_fn, hy_error *),
                            bool done[CHORES], bool (*stop)(void *user), hy_error *err) {
    const hy__chores c = {
        .n = CHORES, .total = CHORES, .done = done, .run = run, .name = name_chore};
    return hy__pool_run(&c, CHORES, &(hy__lab_options){.stop = stop}, err);
}

static void test_all_are_done(void **state) {
    (void)state;
    hy_error err = {0};
    bool done[CHORES] = {false, true, false};
    assert_int_equal(run_chores(succeed, done, NULL, &err), HY_OK);
    for (int i = 0; i < CHORES; i++) assert_true(done[i]);
}

static void test_first_failure(void **state) {
    (void)state;
    hy_error err = {0};
    bool done[CHORES] = {false};
    assert_int_equal(run_chores(fail_or_wait, done, NULL, &err), HY_E_IO);
    assert_string_equal(err.text, "chore 1 has no luck");
    for (int i = 0; i < CHORES; i++) assert_false(done[i]);
}

static void test_stopped_before_the_first(void **state) {
    (void)state;
    hy_error err = {0};
    bool done[CHORES] = {false};
    assert_int_equal(run_chores(succeed, done, stop_at_once, &err), HY_E_STOPPED);
    for (int i = 0; i < CHORES; i++) assert_false(done[i]); /* none was begun */
}

static volatile sig_atomic_t heard;

static void hear(int number) {
    (void)number;
    heard = 1;
}

/* The stop comes when a process has only just been made, while this program's own handler stands.
 */
static void test_stopped_at_birth(void **state) {
    (void)state;
    struct sigaction action, before;
    memset(&action, 0, sizeof action);
    action.sa_handler = hear;
    assert_int_equal(sigaction(SIGTERM, &action, &before), 0);
    for (int i = 0; i < 24; i++) {
        hy_error err = {0};
        bool done[CHORES] = {false};
        const hy_status status = run_chores(wait_for_stop, done, stop_at_birth, &err);
        if (status != HY_E_STOPPED) fail_msg("%d: %s", i, err.text);
        assert_non_null(strstr(err.text, "the same command goes on"));
    }
    assert_false(heard);
    sigaction(SIGTERM, &before, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_are_done),
        cmocka_unit_test(test_first_failure),
        cmocka_unit_test(test_stopped_before_the_first),
        cmocka_unit_test(test_stopped_at_birth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
