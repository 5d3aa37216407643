/* test_quant.c: models with quantised weights: every letter computes what its numbers stand for, a
 * cut sequence gives the same logits, equal runs equal bits; a directory is written, opened in
 * place and refused. */
#include "ckpt/quantize.h"

#include "support/law.h"
#include "support/op.h"
#include "tensor/quant.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const hy__dtype FORMAT[] = {HY__DTYPE_Q8, HY__DTYPE_Q4};
enum { N_FORMAT = 2, N_TOKEN = 83 };

/* Rows of whole groups in most matrices; E's second product keeps an odd width, and stays fp32. */
static hy__config quant_config(const char *pattern) {
    hy__config c = law_config(pattern);
    memset(c.derived, 0, sizeof c.derived);
    c.ffn.d_ff = 64;
    c.pkm.d_value = 64;
    law_finish(&c);
    return c;
}

/* lm's model, replaced by a quantised one. */
static void open_quantised(law_model *lm, const char *backend, const hy__config *c,
                           hy__dtype format, uint64_t seed) {
    hy_error err = {0};
    hy__model *q;
    law_open(lm, backend, c, seed);
    law_ok(hy__quantize_model(&q, lm->m, format, &err), &err);
    hy__model_free(lm->m);
    lm->m = q;
}

/* The same model with every number in place of its quantised form. */
static void open_widened(law_model *wide, const law_model *lm, const char *backend) {
    hy_error err = {0};
    law_ok(hy__backend_open(&wide->be, backend, 2, &err), &err);
    law_ok(hy__model_new(&wide->m, wide->be, &lm->m->cfg, wide->be->real, &err), &err);
    for (int64_t i = 0; i < lm->m->n_param; i++) {
        const hy__param *p = &lm->m->param[i];
        const hy__dtype dtype = p->value.dtype;
        float *x = malloc((size_t)p->n * sizeof *x);
        if (hy__dtype_is_quant(dtype)) {
            char *packed = malloc(hy__dtype_bytes(dtype, p->n));
            lm->be->read(lm->be, packed, p->value, hy__dtype_bytes(dtype, p->n));
            for (int64_t k = 0; k < p->n; k++)
                x[k] = hy__quant_get(packed + hy__dtype_bytes(dtype, k / p->fan_in * p->fan_in),
                                     dtype, p->fan_in, k % p->fan_in);
            free(packed);
        } else {
            hy__tensor_read_f32(lm->be, x, p->value, p->n);
        }
        hy__tensor_write_f32(wide->be, wide->m->param[i].value, x, p->n);
        free(x);
    }
}

/* ---- laws ---- */

/* The reference with quantised weights is the reference with the numbers that they stand for. */
static void test_what_they_stand_for(void **state) {
    (void)state;
    for (int f = 0; f < N_FORMAT; f++)
        for (const char *p = "SAEFWP"; *p; p++) {
            const hy__config c = quant_config((char[]){*p, 0});
            law_model lm, wide;
            open_quantised(&lm, "ref64", &c, FORMAT[f], (uint64_t)*p);
            open_widened(&wide, &lm, "ref64");
            int32_t *token = law_tokens(3, N_TOKEN, c.model.vocab);
            double *got = law_logits(&lm, token, N_TOKEN, NULL, 0, NULL);
            double *want = law_logits(&wide, token, N_TOKEN, NULL, 0, NULL);
            op_expect("logits of quantised weights", "ref64", want, got, N_TOKEN * c.model.vocab,
                      0);
            free(want);
            free(got);
            free(token);
            law_close(&wide);
            law_close(&lm);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_they_stand_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
