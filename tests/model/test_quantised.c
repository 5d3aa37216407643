/* test_quantised.c: models with quantised weights: every letter computes what its numbers stand for, a
 * cut sequence gives the same logits, equal runs equal bits; a directory is written, opened in
 * place and refused. */
#include "ckpt/quantize.h"

#include "support/law.h"
#include "support/op.h"

#include <math.h>
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
        float *x = malloc((size_t)p->n * sizeof *x);
        for (int64_t k = 0, n; k < p->n; k += n) {
            n = hy__param_run(p, k, p->n);
            hy__tensor_read_f32(lm->be, x + k, hy__at(p->value, k), n);
        }
        hy__tensor_write_f32(wide->be, wide->m->param[i].value, x, p->n);
        free(x);
    }
}

/* ---- laws ---- */

/* Keys and values of A lie in bf16 beside narrow weights: 2^-9 of each number, in scores and in
 * what they weigh. */
static double cache_rounding(char letter) {
    return letter == 'A' ? 4 * 0x1p-9 : 0;
}

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
                      cache_rounding(*p));
            free(want);
            free(got);
            free(token);
            law_close(&wide);
            law_close(&lm);
        }
}

/* Relative to the largest logit: the worst, and the root mean square. */
typedef struct tolerance {
    double worst, mean;
} tolerance;

/* Activations that agree to rounding may round to neighbouring integers, of 127: then single logits
 * differ by as much, which is not the rule. */
static const tolerance PIECES = {.worst = 1e-2, .mean = 1e-3};
/* Operands of 7 bits and a sign through four layers. */
static const tolerance ROUNDED = {.worst = 6e-2, .mean = 1e-2};

static void expect_close(const char *backend, const hy__config *c, const double *want,
                         const double *got, int64_t n, tolerance tol) {
    double most = 0, square = 0;
    op_expect(c->model.layers, backend, want, got, n, tol.worst);
    for (int64_t i = 0; i < n; i++) {
        most = fmax(most, fabs(want[i]));
        square += (want[i] - got[i]) * (want[i] - got[i]);
    }
    const double mean = sqrt(square / (double)n) / most;
    if (!(mean <= tol.mean))
        fail_msg("%s on %s: the mean error is %g", c->model.layers, backend, mean);
}

static void compare_cuts(const char *backend, hy__dtype format, const hy__config *c,
                         uint64_t seed) {
    enum { WAYS = 3 };
    law_model lm;
    int64_t cut[N_TOKEN];
    open_quantised(&lm, backend, c, format, seed);
    int32_t *token = law_tokens(seed, N_TOKEN, c->model.vocab);
    double *whole = law_logits(&lm, token, N_TOKEN, NULL, 0, NULL);
    for (uint64_t way = 0; way < WAYS; way++) {
        int64_t n_cut = law_cuts(seed * 7 + way, N_TOKEN, cut, N_TOKEN);
        if (way == 0) /* decode: one token at a time */
            for (n_cut = 0; n_cut + 1 < N_TOKEN; n_cut++) cut[n_cut] = n_cut + 1;
        double *pieces = law_logits(&lm, token, N_TOKEN, cut, n_cut, NULL);
        expect_close(backend, c, whole, pieces, N_TOKEN * c->model.vocab, PIECES);
        free(pieces);
    }
    free(whole);
    free(token);
    law_close(&lm);
}

/* The fast backends; the reference is the reference with other numbers, see above. */
static void test_any_split(void **state) {
    (void)state;
    for (const char *const *name = hy__backend_names(); *name; name++)
        for (int f = 0; f < N_FORMAT && strncmp(*name, "ref", 3) != 0; f++) {
            for (const char *p = "SAEFWP"; *p; p++) {
                const hy__config c = quant_config((char[]){*p, 0});
                compare_cuts(*name, FORMAT[f], &c, (uint64_t)*p);
            }
            for (uint64_t seed = 1; seed <= 3; seed++) {
                const hy__config c = quant_config("SE A WP SF");
                compare_cuts(*name, FORMAT[f], &c, seed);
            }
        }
}

/* The fast backends against the reference: their activations have 8 bits. */
static void test_near_reference(void **state) {
    (void)state;
    const hy__config c = quant_config("SF SW");
    int32_t *token = law_tokens(3, N_TOKEN, c.model.vocab);
    for (int f = 0; f < N_FORMAT; f++) {
        law_model ref;
        open_quantised(&ref, "ref", &c, FORMAT[f], 3);
        double *want = law_logits(&ref, token, N_TOKEN, NULL, 0, NULL);
        for (const char *const *name = hy__backend_names(); *name; name++) {
            law_model lm;
            open_quantised(&lm, *name, &c, FORMAT[f], 3);
            double *got = law_logits(&lm, token, N_TOKEN, NULL, 0, NULL);
            expect_close(*name, &c, want, got, N_TOKEN * c.model.vocab, ROUNDED);
            free(got);
            law_close(&lm);
        }
        free(want);
        law_close(&ref);
    }
    free(token);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_they_stand_for),
        cmocka_unit_test(test_any_split),
        cmocka_unit_test(test_near_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
