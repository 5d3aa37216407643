/* checkpoint.c: see checkpoint.h. */
#include "ckpt/checkpoint.h"

#include "ckpt/json_file.h"
#include "ckpt/training_dir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Elements copied from a file before their pages of it are released. */
enum { COPIED = 1 << 20 };

hy__st_dtype hy__checkpoint_dtype(hy__dtype dtype) {
    switch (dtype) {
    case HY__DTYPE_F64:
        return HY__ST_F64;
    case HY__DTYPE_BF16:
        return HY__ST_BF16;
    case HY__DTYPE_I32:
        return HY__ST_I32;
    case HY__DTYPE_Q8:
    case HY__DTYPE_Q4:
        return HY__ST_U8;
    case HY__DTYPE_F32:
        break;
    }
    return HY__ST_F32;
}

const char *hy__checkpoint_torch_dtype(hy__dtype dtype) {
    switch (dtype) {
    case HY__DTYPE_F64:
        return "float64";
    case HY__DTYPE_BF16:
        return "bfloat16";
    case HY__DTYPE_Q8: /* what it computes in, as other programs with quantised weights have it */
    case HY__DTYPE_Q4:
    case HY__DTYPE_I32:
    case HY__DTYPE_F32:
        break;
    }
    return "float32";
}

/* ---- quantised weights ------------------------------------------------------------------------
 */

#define QUANTIZATION "quantization_config"
#define METHOD       "hydralm"

/* What config.json says of a model whose weights are quantised; NULL without memory. */
static json_t *quantization_json(hy__dtype weights) {
    return json_pack("{s:s,s:s,s:i}", "quant_method", METHOD, "format", hy__dtype_name(weights),
                     "group_size", (int)HY__QUANT_GROUP);
}

/* The format that config.json says, or fp32 when it says none. */
static hy_status read_quantization(hy__dtype *out, const json_t *config, const char *dir,
                                   hy_error *err) {
    *out = HY__DTYPE_F32;
    const json_t *json = json_object_get(config, QUANTIZATION);
    if (!json) return HY_OK;
    const char *method = json_string_value(json_object_get(json, "quant_method"));
    const char *format = json_string_value(json_object_get(json, "format"));
    const json_int_t group = json_integer_value(json_object_get(json, "group_size"));
    if (method && strcmp(method, METHOD) == 0 && format && group == HY__QUANT_GROUP &&
        hy__checkpoint_parse_quant(out, format, NULL) == HY_OK)
        return HY_OK;
    return hy__fail(err, HY_E_UNSUPPORTED,
                    "%.400s/config.json: its weights are quantised by '%.64s' as '%.64s' in groups "
                    "of %jd; wanted '" METHOD "', int8 or int4, in groups of %d",
                    dir, method ? method : "", format ? format : "", (intmax_t)group,
                    (int)HY__QUANT_GROUP);
}

hy_status hy__checkpoint_parse_quant(hy__dtype *out, const char *name, hy_error *err) {
    for (hy__dtype dtype = HY__DTYPE_Q8; dtype <= HY__DTYPE_Q4; dtype++) {
        if (strcmp(name, hy__dtype_name(dtype)) != 0) continue;
        *out = dtype;
        return HY_OK;
    }
    return hy__fail(err, HY_E_INVALID, "the format is \"%.64s\", wanted int8 or int4", name);
}

/* The shape in files: quantised rows are bytes. */
static void file_shape(int64_t *shape, const hy__param *p) {
    memcpy(shape, p->decl.shape, sizeof p->decl.shape);
    int64_t *last = &shape[p->decl.n_dim - 1];
    if (hy__dtype_is_quant(p->value.dtype)) *last = (int64_t)hy__dtype_bytes(p->value.dtype, *last);
}

/* ---- writing ----------------------------------------------------------------------------------
 */

static hy_status put_config(hy__fileset *set, const hy__model *m, const hy__train_config *train,
                            hy_error *err) {
    json_t *config = json_pack(
        "{s:[s],s:s,s:I,s:I,s:I,s:b,s:s}", "architectures", "HydraForCausalLM", "model_type",
        "hydra", "vocab_size", (json_int_t)m->cfg.model.vocab, "hidden_size",
        (json_int_t)m->cfg.model.d_model, "num_hidden_layers", (json_int_t)m->cfg.n_layer,
        "tie_word_embeddings", 1, "torch_dtype", hy__checkpoint_torch_dtype(m->weight_dtype));
    json_t *sections = hy__config_to_json(&m->cfg, train);
    hy_status status = HY_OK;
    bool whole = sections && json_object_update(config, sections) == 0;
    if (whole && hy__dtype_is_quant(m->weight_dtype))
        whole = json_object_set_new(config, QUANTIZATION, quantization_json(m->weight_dtype)) == 0;
    if (!whole) status = hy__no_memory(err, "config.json");
    if (status == HY_OK) status = hy__json_put(set, "config.json", config, err);
    json_decref(sections);
    json_decref(config);
    return status;
}

/* One token that ends a text is a number there, several are a list. */
static hy_status put_generation(hy__fileset *set, const int32_t *eos, int64_t n, hy_error *err) {
    json_t *json = json_pack("{s:b}", "do_sample", 0), *list = json_array();
    for (int64_t i = 0; i < n; i++) json_array_append_new(list, json_integer(eos[i]));
    if (n > 0) json_object_set(json, "eos_token_id", n == 1 ? json_array_get(list, 0) : list);
    json_decref(list);
    const hy_status status = json ? hy__json_put(set, "generation_config.json", json, err)
                                  : hy__no_memory(err, "generation_config.json");
    json_decref(json);
    return status;
}

/* A gate is written as the forward has it. */
static void scale_gate(void *dst, int64_t n, hy__dtype dtype, double scale) {
    for (int64_t i = 0; scale != 1.0 && i < n; i++) {
        if (dtype == HY__DTYPE_F64)
            ((double *)dst)[i] *= scale;
        else
            ((float *)dst)[i] *= (float)scale;
    }
}

static hy_status fill(void *user, int64_t i, int64_t first, int64_t n, void *dst, hy_error *err) {
    const hy__model *m = user;
    hy__tensor value = m->param[i].value;
    const size_t size = hy__st_dtype_size(hy__checkpoint_dtype(value.dtype));
    value.off += (size_t)first * size;
    m->be->read(m->be, dst, value, (size_t)n * size);
    scale_gate(dst, n, value.dtype, hy__model_scale(m, &m->param[i]));
    return hy__backend_check(m->be, err);
}

hy_status hy__checkpoint_begin(hy__fileset **set, const char *dir, hy_error *err) {
    HY_TRY(hy__fileset_open(set, dir, err));
    /* from now on no training can begin there: it opens the set as well */
    const hy_status status = hy__training_refuse(dir, err);
    if (status == HY_OK) return HY_OK;
    hy__fileset_discard(*set);
    *set = NULL;
    return status;
}

hy_status hy__checkpoint_put(hy__fileset *set, const hy__model *m, const hy__train_config *train,
                             const int32_t *eos, int64_t n_eos, hy_error *err) {
    hy__st_tensor *tensor = calloc((size_t)m->n_param, sizeof *tensor);
    if (!tensor) return hy__no_memory(err, "writing the model");
    for (int64_t i = 0; i < m->n_param; i++) {
        const hy__param *p = &m->param[i];
        tensor[i] = (hy__st_tensor){
            .name = p->name, .dtype = hy__checkpoint_dtype(p->value.dtype), .n_dim = p->decl.n_dim};
        file_shape(tensor[i].shape, p);
    }
    const hy__st_list list = {
        .tensor = tensor, .n_tensor = m->n_param, .fill = fill, .user = (void *)(uintptr_t)m};
    hy_status status = put_config(set, m, train, err);
    if (status == HY_OK) status = put_generation(set, eos, n_eos, err);
    if (status == HY_OK) status = hy__st_put(set, &list, 0, err);
    free(tensor);
    return status;
}

/* ---- beside the weights ------------------------------------------------------------------------
 */

enum { TOKENIZER_BYTES = 256 << 20 };

hy_status hy__checkpoint_copy_text(hy__fileset *set, const char *from, hy_error *err) {
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json",
                                        "special_tokens_map.json", "generation_config.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path, *data;
        size_t size;
        HY_TRY(hy__fileset_find(&path, from, names[i], err));
        if (!path) {
            if (!hy__fileset_has(set, names[i])) HY_TRY(hy__fileset_remove(set, names[i], err));
            continue;
        }
        hy_status status = hy__file_read(path, TOKENIZER_BYTES, &data, &size, err);
        free(path);
        HY_TRY(status);
        status = hy__fileset_write(set, names[i], data, size, err);
        free(data);
        HY_TRY(status);
    }
    return HY_OK;
}

/* ---- reading ----------------------------------------------------------------------------------
 */

/* The sizes that other programs read must say what our sections say. */
static hy_status check_size(const json_t *json, const char *key, int64_t want, const char *dir,
                            hy_error *err) {
    const json_t *value = json_object_get(json, key);
    if (!value || (json_is_integer(value) && json_integer_value(value) == want)) return HY_OK;
    return hy__fail(err, HY_E_INVALID,
                    "%.400s/config.json: \"%s\" differs from %jd, which section model says", dir,
                    key, (intmax_t)want);
}

static hy_status parse_config(const json_t *json, const char *dir, hy__config *c,
                              hy__train_config *t, hy_error *err) {
    const char *type = json_string_value(json_object_get(json, "model_type"));
    if (!type || strcmp(type, "hydra") != 0)
        return hy__fail(err, HY_E_INVALID,
                        "%.400s/config.json: model_type is '%.64s', but must be 'hydra'%s", dir,
                        type ? type : "",
                        type && strcmp(type, "mamba2") == 0
                            ? "; `hydralm convert` makes one of a Mamba2ForCausalLM"
                            : "");
    if (!json_object_get(json, "model"))
        return hy__fail(err, HY_E_INVALID, "%.400s/config.json has no section \"model\"", dir);
    char name[420];
    snprintf(name, sizeof name, "%.400s/config.json", dir);
    HY_TRY(hy__config_from_json(json, name, c, t, err));
    HY_TRY(check_size(json, "vocab_size", c->model.vocab, dir, err));
    HY_TRY(check_size(json, "hidden_size", c->model.d_model, dir, err));
    return check_size(json, "num_hidden_layers", c->n_layer, dir, err);
}

static hy_status read_config(const char *dir, hy__config *c, hy__train_config *t,
                             hy__dtype *quantised, hy_error *err) {
    json_t *json;
    HY_TRY(hy__json_read(&json, dir, "config.json", err));
    hy_status status = parse_config(json, dir, c, t, err);
    if (status == HY_OK) status = read_quantization(quantised, json, dir, err);
    json_decref(json);
    return status;
}

hy_status hy__checkpoint_config(const char *dir, hy__config *c, hy__train_config *t,
                                hy_error *err) {
    hy__dtype unused;
    return read_config(dir, c, t, &unused, err);
}

/* "[3,1,4]" */
static void shape_text(char *text, size_t size, const int64_t *shape, int n_dim) {
    size_t at = (size_t)snprintf(text, size, "[");
    for (int i = 0; i < n_dim && at < size; i++)
        at += (size_t)snprintf(text + at, size - at, "%s%jd", i ? "," : "", (intmax_t)shape[i]);
    if (at < size) snprintf(text + at, size - at, "]");
}

static hy_status check_tensor(const hy__param *p, const hy__st_tensor *t, const char *file,
                              hy_error *err) {
    int64_t shape[HY__DIM_MAX];
    file_shape(shape, p);
    const bool quant = hy__dtype_is_quant(p->value.dtype);
    if (quant != (t->dtype == HY__ST_U8))
        return hy__fail(
            err, HY_E_INVALID, "%.400s: tensor '%s' holds %s; as its config.json says, wanted %s",
            file, t->name, hy__st_dtype_name(t->dtype), quant ? "U8, quantised rows" : "floats");
    bool same = t->n_dim == p->decl.n_dim;
    for (int i = 0; same && i < t->n_dim; i++) same = t->shape[i] == shape[i];
    if (!same) {
        char got[160], want[160];
        shape_text(got, sizeof got, t->shape, t->n_dim);
        shape_text(want, sizeof want, shape, p->decl.n_dim);
        return hy__fail(err, HY_E_INVALID,
                        "%.400s: tensor '%s' has the shape %s; its config wants %s%s", file,
                        t->name, got, want, quant ? " (bytes of quantised rows)" : "");
    }
    if (t->dtype == HY__ST_I32 || t->dtype == HY__ST_I64)
        return hy__fail(err, HY_E_INVALID, "%.400s: tensor '%s' holds %s; weights are floats", file,
                        t->name, hy__st_dtype_name(t->dtype));
    return HY_OK;
}

/* Elements [first, first + n) of a parameter, whose dtype is another one than the tensor's. */
static void convert(hy__backend *be, const hy__param *p, const hy__st_tensor *t, int64_t first,
                    int64_t n) {
    enum { PIECE = 512 };
    double piece[PIECE], raw[PIECE]; /* raw: room for the widest dtype */
    const hy__st_dtype want = hy__checkpoint_dtype(p->value.dtype);
    for (int64_t i = first; i < first + n; i += PIECE) {
        const int64_t m = first + n - i < PIECE ? first + n - i : PIECE;
        hy__st_get_f64(piece, t, i, m);
        hy__st_put_f64(raw, want, piece, m);
        be->write(be, hy__at(p->value, i), raw, (size_t)m * hy__dtype_size(p->value.dtype));
    }
}

hy_status hy__checkpoint_load(hy__backend *be, const hy__param *p, const hy__st_tensor *t,
                              const char *file, hy_error *err) {
    HY_TRY(check_tensor(p, t, file, err));
    const bool same = t->dtype == hy__checkpoint_dtype(p->value.dtype);
    const size_t size = hy__st_dtype_size(t->dtype);
    for (int64_t i = 0; i < t->n; i += COPIED) {
        const int64_t n = t->n - i < COPIED ? t->n - i : COPIED;
        hy__tensor to = p->value;
        to.off += (size_t)i * size;
        if (same)
            be->write(be, to, t->data + (size_t)i * size, (size_t)n * size);
        else
            convert(be, p, t, i, n);
        hy__st_release(t, i, n);
    }
    return hy__backend_check(be, err);
}

/* The tensor of every parameter; no tensor may be left over. Nothing of their data is read. */
static hy_status find_tensors(const hy__st_tensor **from, hy__model *m, const hy__st *st,
                              const char *dir, hy_error *err) {
    for (int64_t i = 0; i < m->n_param; i++) {
        from[i] = hy__st_find(st, m->param[i].name);
        if (!from[i])
            return hy__fail(err, HY_E_INVALID, "%.400s: tensor '%s' of its config is missing", dir,
                            m->param[i].name);
        HY_TRY(check_tensor(&m->param[i], from[i], dir, err));
    }
    for (int64_t i = 0; hy__st_count(st) > m->n_param && i < hy__st_count(st); i++) {
        const char *name = hy__st_at(st, i)->name;
        if (!hy__model_find(m, name))
            return hy__fail(err, HY_E_INVALID, "%.400s: tensor '%.128s' is not one of its config",
                            dir, name);
    }
    return HY_OK;
}

/* Whether the tensor lies in its file as the parameter is wanted in memory. A header of another
 * program may leave the data at any address. */
static bool usable_in_place(const hy__param *p, const hy__st_tensor *t) {
    return t->mapped && t->dtype == hy__checkpoint_dtype(p->value.dtype) &&
           (uintptr_t)t->data % hy__st_dtype_size(t->dtype) == 0;
}

/* Parameters that are usable in place become handles into the mapped files, which are the model's
 * from now on. */
static hy_status use_files(hy__model *m, const hy__st_tensor *const *from, hy__st *st,
                           hy_error *err) {
    m->file = calloc(hy__st_file_count(st), sizeof *m->file);
    if (!m->file) return hy__no_memory(err, "opening a model");
    m->n_file = hy__st_file_count(st);
    for (int64_t i = 0; i < m->n_param; i++) {
        hy__tensor *value = &m->param[i].value;
        if (!usable_in_place(&m->param[i], from[i])) continue;
        hy__buffer *file = &m->file[from[i]->file];
        if (!file->data) {
            const hy__map map = hy__st_take_map(st, from[i]->file);
            *file =
                (hy__buffer){.data = (void *)(uintptr_t)map.data, .size = map.size, .mapped = true};
        }
        value->buf = file;
        value->off = (size_t)(from[i]->data - (const unsigned char *)file->data);
    }
    return HY_OK;
}

/* Gives a declared model its weights. */
static hy_status load_all(hy__model *m, hy__st *st, const char *dir, bool in_place, hy_error *err) {
    const hy__st_tensor **from = calloc((size_t)m->n_param, sizeof *from);
    if (!from) return hy__no_memory(err, "opening a model");
    hy_status status = find_tensors(from, m, st, dir, err);
    if (status == HY_OK && in_place && m->be->host_memory) status = use_files(m, from, st, err);
    if (status == HY_OK) status = hy__model_place(m, err);
    for (int64_t i = 0; status == HY_OK && i < m->n_param; i++) {
        if (m->param[i].value.buf == &m->weights)
            status = hy__checkpoint_load(m->be, &m->param[i], from[i], dir, err);
    }
    free(from);
    return status;
}

hy_status hy__checkpoint_parse_dtype(hy__dtype *out, const hy__backend *be, const char *name,
                                     hy_error *err) {
    *out = be->real;
    if (strcmp(name, "fp32") == 0) return HY_OK;
    *out = HY__DTYPE_BF16;
    if (strcmp(name, "bf16") == 0) return HY_OK;
    if (hy__checkpoint_parse_quant(out, name, NULL) == HY_OK) return HY_OK;
    return hy__fail(err, HY_E_INVALID, "the dtype is \"%.64s\", wanted fp32, bf16, int8 or int4",
                    name);
}

/* That of the file: its embedding stands for all of it. */
static hy__dtype dtype_of_file(const hy__backend *be, const hy__st *st) {
    const hy__st_tensor *t = hy__st_find(st, "backbone.embeddings.weight");
    return t && t->dtype == HY__ST_BF16 ? HY__DTYPE_BF16 : be->real;
}

/* The dtype asked for, or the file's. What is quantised has no other, and nothing else becomes so.
 */
static hy_status choose_dtype(hy__dtype *out, const hy__backend *be, const hy__st *st,
                              const char *dir, hy__dtype quantised, const char *dtype,
                              hy_error *err) {
    const hy__dtype stored = hy__dtype_is_quant(quantised) ? quantised : dtype_of_file(be, st);
    *out = stored;
    if (!dtype) return HY_OK;
    HY_TRY(hy__checkpoint_parse_dtype(out, be, dtype, err));
    if (*out == stored || !(hy__dtype_is_quant(*out) || hy__dtype_is_quant(stored))) return HY_OK;
    if (!hy__dtype_is_quant(stored))
        return hy__fail(err, HY_E_UNSUPPORTED,
                        "%.400s: its weights are %s; `hydralm convert --quantize` makes %s of them",
                        dir, hy__dtype_name(stored), dtype);
    return hy__fail(err, HY_E_UNSUPPORTED,
                    "%.400s: its weights are %s, which run as they are and cannot train; %s needs "
                    "the model that they were made from",
                    dir, hy__dtype_name(stored), dtype);
}

static hy_status open_model(hy__model **out, hy__backend *be, const char *dir, const char *dtype,
                            bool in_place, hy_error *err) {
    *out = NULL;
    hy__config c;
    hy__st *st;
    hy__model *m = NULL;
    hy__dtype weights, quantised;
    HY_TRY(read_config(dir, &c, NULL, &quantised, err));
    HY_TRY(hy__st_open_dir(&st, dir, err));
    hy_status status = choose_dtype(&weights, be, st, dir, quantised, dtype, err);
    if (status == HY_OK) status = hy__model_declare(&m, be, &c, weights, err);
    if (status == HY_OK) status = load_all(m, st, dir, in_place, err);
    hy__st_close(st);
    if (status != HY_OK) {
        hy__model_free(m);
        return status;
    }
    *out = m;
    return HY_OK;
}

hy_status hy__checkpoint_open(hy__model **out, hy__backend *be, const char *dir, const char *dtype,
                              hy_error *err) {
    return open_model(out, be, dir, dtype, true, err);
}

hy_status hy__checkpoint_open_to_train(hy__model **out, hy__backend *be, const char *dir,
                                       hy_error *err) {
    return open_model(out, be, dir, "fp32", false, err);
}
