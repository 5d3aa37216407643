/* The fingerprint of a model: equal for equal models, another one for any other configuration,
 * dtype or weight, down to one bit of it. */
#include "ckpt/fingerprint.h"
#include "support/law.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const char *fingerprint(const hy__model *m) {
    static char hex[4][HY__FINGERPRINT];
    static int at;
    hy_error err = {0};
    at = (at + 1) % 4;
    law_ok(hy__fingerprint(hex[at], m, &err), &err);
    assert_int_equal(strlen(hex[at]), HY__FINGERPRINT - 1);
    return hex[at];
}

static void test_same_model(void **state) {
    (void)state;
    const hy__config c = law_config("SE A WP F");
    law_model a, b, other;
    law_open(&a, "cpu", &c, 3);
    law_open(&b, "ref", &c, 3); /* the weights do not know what will compute with them */
    law_open(&other, "cpu", &c, 4);
    assert_string_equal(fingerprint(a.m), fingerprint(b.m));
    assert_string_not_equal(fingerprint(a.m), fingerprint(other.m));
    law_close(&a);
    law_close(&b);
    law_close(&other);
}

/* Flips the lowest bit of one element. */
static void flip(const hy__model *m, const hy__param *p, int64_t i) {
    unsigned char element[8];
    const size_t size = hy__dtype_size(p->value.dtype);
    m->be->read(m->be, element, hy__at(p->value, i), size);
    element[0] ^= 1;
    m->be->write(m->be, hy__at(p->value, i), element, size);
}

static void test_every_weight(void **state) {
    (void)state;
    hy__config c = law_config("SE A WP F");
    c.model.vocab = 5000; /* 640 kB: more than is read at a time */
    law_finish(&c);
    law_model lm;
    law_open(&lm, "cpu", &c, 3);
    char before[HY__FINGERPRINT];
    memcpy(before, fingerprint(lm.m), sizeof before);
    for (int64_t i = 0; i < lm.m->n_param; i++) {
        const hy__param *p = &lm.m->param[i];
        const int64_t element[] = {0, p->n / 2, p->n - 1};
        for (int j = 0; j < 3; j++) {
            flip(lm.m, p, element[j]);
            assert_string_not_equal(fingerprint(lm.m), before);
            flip(lm.m, p, element[j]);
            assert_string_equal(fingerprint(lm.m), before);
        }
    }
    law_close(&lm);
}

/* Sizes alone do not tell these apart: their parameters have the same shapes. */
static void test_every_field(void **state) {
    (void)state;
    hy__config c[6];
    for (int i = 0; i < 6; i++) c[i] = law_config("SE A WP F");
    c[1].attention.window = 21;
    c[2].attention.rope_theta = 10000;
    c[3].experts.k = 1;
    c[4].model.chunk = 32;
    c[5].model.norm_eps *= 2;
    char hex[6][HY__FINGERPRINT];
    for (int i = 0; i < 6; i++) {
        law_finish(&c[i]);
        law_model lm;
        law_open(&lm, "cpu", &c[i], 3);
        memcpy(hex[i], fingerprint(lm.m), sizeof hex[i]);
        law_close(&lm);
        for (int j = 0; j < i; j++) assert_string_not_equal(hex[i], hex[j]);
    }
}

static void test_dtype(void **state) {
    (void)state;
    hy_error err = {0};
    const hy__config c = law_config("F");
    law_model lm;
    law_open(&lm, "cpu", &c, 3);
    hy__model *bf16;
    law_ok(hy__model_new(&bf16, lm.be, &c, HY__DTYPE_BF16, &err), &err);
    hy__model_randomize(lm.m, 1);
    hy__model_randomize(bf16, 1);
    assert_string_not_equal(fingerprint(lm.m), fingerprint(bf16));
    hy__model_free(bf16);
    law_close(&lm);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_model),
        cmocka_unit_test(test_every_weight),
        cmocka_unit_test(test_every_field),
        cmocka_unit_test(test_dtype),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
