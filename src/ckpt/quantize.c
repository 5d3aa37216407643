/* quantize.c: see quantize.h. */
#include "ckpt/quantize.h"

#include "ckpt/checkpoint.h"
#include "tensor/quant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One row of a parameter into the same row of its quantised copy. */
static void pack_row(hy__backend *be, const hy__param *to, const hy__param *from, int64_t row,
                     float *numbers, void *packed) {
    const hy__dtype dtype = to->value.dtype;
    const int64_t cols = from->fan_in;
    hy__tensor_read_f32(be, numbers, hy__at(from->value, row * cols), cols);
    hy__quant_pack(packed, dtype, numbers, cols);
    be->write(be, hy__at(to->value, row * cols), packed, hy__dtype_bytes(dtype, cols));
}

static hy_status pack_param(hy__backend *be, const hy__param *to, const hy__param *from,
                            hy_error *err) {
    const int64_t cols = from->fan_in, n_row = from->n / cols;
    bool failed = false;
#pragma omp parallel num_threads(be->n_thread) reduction(|| : failed)
    {
        float *numbers = malloc((size_t)cols * sizeof *numbers);
        void *packed = malloc((size_t)cols * sizeof *numbers); /* fewer bytes are enough */
        failed = !numbers || !packed;
#pragma omp for schedule(static)
        for (int64_t r = 0; r < n_row; r++)
            if (numbers && packed) pack_row(be, to, from, r, numbers, packed);
        free(packed);
        free(numbers);
    }
    return failed ? hy__fail(err, HY_E_MEMORY, "there is not enough memory to quantise a row")
                  : HY_OK;
}

/* A parameter that is not quantised, in fp32 as all others are. */
static hy_status copy_param(hy__backend *be, const hy__param *to, const hy__param *from,
                            hy_error *err) {
    float *numbers = malloc((size_t)from->n * sizeof *numbers);
    if (!numbers)
        return hy__fail(err, HY_E_MEMORY, "there is not enough memory to copy %s", from->name);
    hy__tensor_read_f32(be, numbers, from->value, from->n);
    hy__tensor_write_f32(be, to->value, numbers, from->n);
    free(numbers);
    return HY_OK;
}

hy_status hy__quantize_model(hy__model **out, const hy__model *m, hy__dtype format, hy_error *err) {
    hy__model *q;
    if (hy__dtype_is_quant(m->weight_dtype))
        return hy__fail(err, HY_E_INVALID,
                        "its weights are %s already; quantise the model that they were made from",
                        hy__dtype_name(m->weight_dtype));
    HY_TRY(hy__model_new(&q, m->be, &m->cfg, format, err));
    hy_status status = HY_OK;
    for (int64_t i = 0; i < q->n_param && status == HY_OK; i++) {
        const bool quant = hy__dtype_is_quant(q->param[i].value.dtype);
        status = (quant ? pack_param : copy_param)(m->be, &q->param[i], &m->param[i], err);
    }
    if (status == HY_OK) status = hy__backend_check(m->be, err);
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

static hy_status put(const hy__model *q, const hy__train_config *train, const char *from,
                     const char *to, hy_error *err) {
    hy__fileset *set;
    HY_TRY(hy__fileset_open(&set, to, err));
    hy_status status = hy__checkpoint_put(set, q, train, err);
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
    hy_status status;
    HY_TRY_GOTO(hy__checkpoint_parse_quant(&dtype, format, err));
    HY_TRY_GOTO(hy__checkpoint_config(from, &c, &train, err));
    HY_TRY_GOTO(hy__backend_open(&be, "ref", 0, err));
    HY_TRY_GOTO(hy__checkpoint_open(&m, be, from, NULL, err));
    status = hy__quantize_model(&q, m, dtype, err);
    if (status != HY_OK) {
        hy__fail_in(err, status, "%.400s cannot become %s", from, format);
        goto done;
    }
    note_kept(result, q);
    HY_TRY_GOTO(put(q, &train, from, to, err));
done:
    hy__model_free(q);
    hy__model_free(m);
    hy__backend_free(be);
    return status;
}
