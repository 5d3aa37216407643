/* The optimizer against AdamW written out for one element: decay by group, the table's touched rows
 * alone, buffers never, the global norm. On the reference in double. */
#include "train/optim.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static hy__model *model; /* of the fixture */
static hy__backend *be;
static hy__optim *optim;

static int open_all(void **state) {
    (void)state;
    const char *yaml = "model: {layers: \"SEWP\", d_model: 16, vocab: 16, chunk: 16}\n"
                       "ssm: {head_dim: 16, d_state: 16}\n"
                       "experts: {n_expert: 4, k: 2, expert_chunk: 16, d_ff: 32}\n"
                       "workspace: {d_k: 16, d_v: 16}\n"
                       "pkm: {n_head: 1, n_key: 4, d_key: 16, topk: 2}\n";
    hy_error err = {0};
    hy__config c;
    if (hy__config_parse_yaml(yaml, strlen(yaml), "test", &c, NULL, &err) != HY_OK ||
        hy__backend_open(&be, "ref64", 1, &err) != HY_OK ||
        hy__model_new(&model, be, &c, be->real, &err) != HY_OK ||
        hy__model_train(model, &err) != HY_OK ||
        hy__optim_new(&optim, model, HY__OPTIMIZER_ADAMW, HY__PREC_FP32, &err) != HY_OK) {
        print_error("%s\n", err.text);
        return 1;
    }
    hy__model_randomize(model, 1);
    return 0;
}

static int close_all(void **state) {
    (void)state;
    hy__optim_free(optim);
    hy__model_free(model);
    hy__backend_free(be);
    return 0;
}

static double *read_all(hy__tensor t, int64_t n) {
    double *x = malloc((size_t)n * sizeof *x);
    assert_non_null(x);
    hy__tensor_read_f64(be, x, t, n);
    return x;
}

/* Gradients (i mod 7 - 3)·0.01·(p + 1) of parameter p, and the table's rows 2 and 5 touched. */
static double gradient(int64_t p, int64_t i) {
    return (double)(i % 7 - 3) * 0.01 * (double)(p + 1);
}

static bool is_touched(int64_t p, int64_t i) {
    const int64_t row = i / model->param[p].fan_in;
    return p != model->table || row == 2 || row == 5;
}

static double set_gradients(void) {
    double sum = 0.0;
    for (int64_t p = 0; p < model->n_param; p++) {
        const hy__param *param = &model->param[p];
        if (param->decl.group == HY__GROUP_BUFFER) continue;
        for (int64_t i = 0; i < param->n; i++) {
            const double g = gradient(p, i);
            hy__tensor_write_f64(be, hy__at(param->grad, i), &g, 1);
            if (is_touched(p, i)) sum += g * g;
        }
    }
    const int32_t one = 1;
    be->write(be, hy__at(model->touched, 2), &one, sizeof one);
    be->write(be, hy__at(model->touched, 5), &one, sizeof one);
    return sqrt(sum);
}

static const hy__optim_rates rates = {.lr = 1e-2,
                                      .table_lr = 4e-2,
                                      .beta1 = 0.9,
                                      .beta2 = 0.95,
                                      .eps = 1e-8,
                                      .weight_decay = 0.1,
                                      .g_scale = 0.5};

/* The first update from zero moments: m̂ = g, v̂ = g². */
static double updated(const hy__param *param, double w, double g) {
    const hy__group group = param->decl.group;
    const bool decays = group == HY__GROUP_MATRIX || group == HY__GROUP_ROUTER;
    const double lr = group == HY__GROUP_TABLE ? rates.table_lr : rates.lr;
    const double scaled = g * rates.g_scale;
    return w - lr * (scaled / (fabs(scaled) + rates.eps) + (decays ? rates.weight_decay * w : 0.0));
}

/* Tolerance: a handful of roundings in double, relative to weights of the order of 1. */
static void test_first_step(void **state) {
    (void)state;
    int seen[6] = {0};
    double **before = calloc((size_t)model->n_param, sizeof *before);
    const double norm = set_gradients();
    for (int64_t p = 0; p < model->n_param; p++)
        before[p] = read_all(model->param[p].value, model->param[p].n);
    assert_true(fabs(hy__optim_norm(optim) - norm) < 1e-12 * norm);
    hy__optim_step(optim, &rates);
    for (int64_t p = 0; p < model->n_param; p++) {
        const hy__param *param = &model->param[p];
        double *after = read_all(param->value, param->n);
        const bool still = param->decl.group == HY__GROUP_BUFFER;
        seen[param->decl.group]++;
        assert_int_equal(optim->step[p], still ? 0 : 1);
        for (int64_t i = 0; i < param->n; i++) {
            const double want = still || !is_touched(p, i)
                                    ? before[p][i]
                                    : updated(param, before[p][i], gradient(p, i));
            if (!(fabs(after[i] - want) < 1e-12))
                fail_msg("%s[%lld] is %.17g, wanted %.17g", param->name, (long long)i, after[i],
                         want);
        }
        free(after);
        free(before[p]);
    }
    for (int g = 0; g < 6; g++) assert_true(seen[g] > 0); /* every group was there */
    free(before);
}

/* A multiple of 0 leaves a parameter and its moments as they are, and out of the norm; the frozen
 * table's flags and gradients are cleared all the same. A multiple of 1/2 halves the update. */
static void test_rates(void **state) {
    (void)state;
    const int64_t matrix =
        hy__model_find(model, "backbone.layers.0.mixer.in_proj.weight") - model->param;
    const int64_t half =
        hy__model_find(model, "backbone.layers.0.mixer.out_proj.weight") - model->param;
    const hy__param *table = &model->param[model->table], *frozen = &model->param[matrix];
    hy__optim *o;
    hy_error err = {0};
    assert_int_equal(hy__optim_new(&o, model, HY__OPTIMIZER_ADAMW, HY__PREC_FP32, &err), HY_OK);
    o->rate[matrix] = o->rate[model->table] = 0.0;
    o->rate[half] = 0.5;
    double norm = set_gradients();
    norm *= norm;
    for (int64_t i = 0; i < frozen->n; i++) norm -= gradient(matrix, i) * gradient(matrix, i);
    for (int64_t i = 0; i < table->n; i++)
        if (is_touched(model->table, i))
            norm -= gradient(model->table, i) * gradient(model->table, i);
    assert_true(fabs(hy__optim_norm(o) - sqrt(norm)) < 1e-12 * sqrt(norm));

    double *w = read_all(frozen->value, frozen->n), *rows = read_all(table->value, table->n);
    double *h = read_all(model->param[half].value, model->param[half].n);
    hy__optim_step(o, &rates);
    double *w_after = read_all(frozen->value, frozen->n), *m = read_all(o->m[matrix], frozen->n);
    double *rows_after = read_all(table->value, table->n), *g = read_all(table->grad, table->n);
    double *h_after = read_all(model->param[half].value, model->param[half].n);
    int32_t flag[8];
    be->read(be, flag, model->touched, sizeof flag);
    assert_memory_equal(w, w_after, (size_t)frozen->n * sizeof *w);
    assert_memory_equal(rows, rows_after, (size_t)table->n * sizeof *rows);
    for (int64_t i = 0; i < frozen->n; i++) assert_true(m[i] == 0.0);
    for (int64_t i = 0; i < table->n; i++) assert_true(!is_touched(model->table, i) || g[i] == 0.0);
    for (int i = 0; i < 8; i++) assert_int_equal(flag[i], 0);
    for (int64_t i = 0; i < model->param[half].n; i++) {
        const double full = updated(&model->param[half], h[i], gradient(half, i)) - h[i];
        assert_true(fabs(h_after[i] - h[i] - 0.5 * full) < 1e-12);
    }
    double *all[] = {w, rows, h, w_after, m, rows_after, g, h_after};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
    hy__optim_free(o);
}

/* A dropped flag: what the step has used is not used again. */
static void test_touched_rows_are_used_once(void **state) {
    (void)state;
    const hy__param *table = &model->param[model->table];
    double *before = read_all(table->value, table->n);
    hy__optim_step(optim, &rates);
    double *after = read_all(table->value, table->n);
    assert_memory_equal(before, after, (size_t)table->n * sizeof *before);
    free(before);
    free(after);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_step),
        cmocka_unit_test(test_rates),
        cmocka_unit_test(test_touched_rows_are_used_once),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
