/* quantize.c: see quantize.h. */
#include "ckpt/quantize.h"

#include "ckpt/checkpoint.h"
#include "ckpt/json_file.h"

#include <stdio.h>
#include <string.h>

/* A parameter in its new dtype. Rows of a quantised one are rounded by several threads. */
static void copy_param(hy__backend *be, const hy__param *to, const hy__param *from) {
    enum { PART = 1024 };
    const int64_t row = from->fan_in;
#pragma omp parallel for schedule(static) num_threads(be->n_thread)
    for (int64_t first = 0; first < from->n; first += row) {
        float part[PART];
        for (int64_t i = first, n; i < first + row; i += n) {
            n = hy__param_run(to, i, first + row - i < PART ? first + row - i : PART);
            hy__tensor_read_f32(be, part, hy__at(from->value, i), n);
            hy__tensor_write_f32(be, hy__at(to->value, i), part, n);
        }
    }
}

hy_status hy__quantize_model(hy__model **out, const hy__model *m, hy__dtype format, hy_error *err) {
    hy__model *q;
    if (hy__dtype_is_quant(m->weight_dtype))
        return hy__fail(err, HY_E_INVALID,
                        "its weights are %s already; quantise the model that they were made from",
                        hy__dtype_name(m->weight_dtype));
    HY_TRY(hy__model_new(&q, m->be, &m->cfg, format, err));
    for (int64_t i = 0; i < q->n_param; i++) copy_param(m->be, &q->param[i], &m->param[i]);
    const hy_status status = hy__backend_check(m->be, err);
    if (status == HY_OK)
        *out = q;
    else
        hy__model_free(q);
    return status;
}

/* What of the narrow groups could not be quantised. */
static void note_kept(hy_convert_result *result, const hy__model *q) {
    int64_t n = 0, n_kept = 0;
    for (int64_t i = 0; i < q->n_param; i++) {
        const hy__param *p = &q->param[i];
        if (!hy__group_may_be_narrow(p->decl.group)) continue;
        n++;
        n_kept += !hy__dtype_is_quant(p->value.dtype);
    }
    if (n_kept > 0)
        snprintf(result->note, sizeof result->note,
                 "%jd of %jd matrices stay fp32: the length of their rows is no multiple of %d",
                 (intmax_t)n_kept, (intmax_t)n, (int)HY__QUANT_GROUP);
}

/* Of a model that was converted, the configuration says nothing of training. */
static hy_status says_train(bool *says, const char *dir, hy_error *err) {
    json_t *config;
    HY_TRY(hy__json_read(&config, dir, "config.json", err));
    *says = json_object_get(config, "train") != NULL;
    json_decref(config);
    return HY_OK;
}

static hy_status put(const hy__model *q, const hy__train_config *train, const char *from,
                     const char *to, hy_error *err) {
    hy__fileset *set;
    HY_TRY(hy__checkpoint_begin(&set, to, err));
    hy_status status = hy__checkpoint_put(set, q, train, NULL, 0, err);
    if (status == HY_OK) status = hy__checkpoint_copy_text(set, from, err);
    if (status == HY_OK) return hy__fileset_commit(set, err);
    hy__fileset_discard(set);
    return status;
}

hy_status hy__quantize_directory(const char *from, const char *to, const char *format,
                                 hy_convert_result *result, hy_error *err) {
    hy__backend *be = NULL;
    hy__model *m = NULL, *q = NULL;
    hy__config c;
    hy__train_config train;
    hy__dtype dtype;
    bool trained;
    hy_status status;
    HY_TRY_GOTO(hy__checkpoint_parse_quant(&dtype, format, err));
    HY_TRY_GOTO(hy__checkpoint_config(from, &c, &train, err));
    HY_TRY_GOTO(says_train(&trained, from, err));
    HY_TRY_GOTO(hy__backend_open(&be, "ref", 0, err));
    HY_TRY_GOTO(hy__checkpoint_open(&m, be, from, NULL, err));
    status = hy__quantize_model(&q, m, dtype, err);
    if (status != HY_OK) {
        hy__fail_in(err, status, "%.400s cannot become %s", from, format);
        goto done;
    }
    note_kept(result, q);
    HY_TRY_GOTO(put(q, trained ? &train : NULL, from, to, err));
done:
    hy__model_free(q);
    hy__model_free(m);
    hy__backend_free(be);
    return status;
}
