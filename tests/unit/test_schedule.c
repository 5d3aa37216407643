/* The learning rate's course: warm-up, cosine, warm-up-stable-decay, by steps and by the clock. */
#include "train/schedule.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* Tolerance: the formulas are a handful of double operations. */
static void near(double got, double want) {
    assert_true(fabs(got - want) < 1e-12);
}

static hy__train_config config(hy__schedule schedule) {
    return (hy__train_config){
        .lr = 2.0, .min_lr = 0.1, .schedule = schedule, .warmup = 10, .decay = 0.25, .pkm_lr = 4.0};
}

static void test_warmup(void **state) {
    (void)state;
    const hy__train_config t = config(HY__SCHEDULE_WSD);
    near(hy__schedule_lr(&t, &(hy__progress){.step = 0, .steps = 110}), 0.2);
    near(hy__schedule_lr(&t, &(hy__progress){.step = 4, .steps = 110}), 1.0);
    near(hy__schedule_lr(&t, &(hy__progress){.step = 9, .steps = 110}), 2.0);
}

static void test_cosine(void **state) {
    (void)state;
    const hy__train_config t = config(HY__SCHEDULE_COSINE);
    near(hy__schedule_lr(&t, &(hy__progress){.step = 10, .steps = 110}), 2.0);
    near(hy__schedule_lr(&t, &(hy__progress){.step = 60, .steps = 110}), 2.0 * 0.55);
    near(hy__schedule_lr(&t, &(hy__progress){.step = 110, .steps = 110}), 0.2);
    near(hy__schedule_lr(&t, &(hy__progress){.step = 500, .steps = 110}), 0.2);
}

static void test_wsd(void **state) {
    (void)state;
    const hy__train_config t = config(HY__SCHEDULE_WSD);
    near(hy__schedule_lr(&t, &(hy__progress){.step = 85, .steps = 110}), 2.0);
    near(hy__schedule_lr(&t, &(hy__progress){.step = 185, .steps = 210}), 2.0 * 0.55);
    near(hy__schedule_lr(&t, &(hy__progress){.step = 110, .steps = 110}), 0.2);
}

static void test_clock(void **state) {
    (void)state;
    const hy__train_config t = config(HY__SCHEDULE_COSINE);
    hy__progress p = {.step = 5000, .seconds = 30, .limit = 60};
    near(hy__schedule_lr(&t, &p), 2.0 * 0.55);
    p.steps = 5010; /* the steps are nearly over although half the time is left */
    near(hy__progress_share(&p), 5000.0 / 5010.0);
    p.seconds = 90;
    near(hy__progress_share(&p), 1.0);
    near(hy__schedule_lr(&t, &p), 0.2);
}

static void test_odd_warmups(void **state) {
    (void)state;
    hy__train_config t = config(HY__SCHEDULE_COSINE);
    t.warmup = 0;
    near(hy__schedule_lr(&t, &(hy__progress){0}), 2.0);
    t.warmup = 1000; /* longer than the run: it only ever rises */
    near(hy__schedule_lr(&t, &(hy__progress){.step = 99, .steps = 100}), 0.2);
}

static void test_table_rate(void **state) {
    (void)state;
    const hy__train_config t = config(HY__SCHEDULE_WSD);
    near(hy__schedule_table(&t, &(hy__progress){.step = 0, .steps = 100}), 4.0);
    near(hy__schedule_table(&t, &(hy__progress){.step = 50, .steps = 100}), 2.5);
    near(hy__schedule_table(&t, &(hy__progress){.step = 100, .steps = 100}), 1.0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_warmup),     cmocka_unit_test(test_cosine),
        cmocka_unit_test(test_wsd),        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_table_rate), cmocka_unit_test(test_odd_warmups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
