/* hf_mamba2.c: see hf_mamba2.h. */
#include "ckpt/hf_mamba2.h"

#include "ckpt/checkpoint.h"
#include "ckpt/json_file.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EMBEDDING        "backbone.embeddings.weight"
#define EMBEDDING_NATIVE "backbone.embedding.weight" /* state-spaces/mamba's spelling */
#define HEAD             "lm_head.weight"

/* ---- their configuration ----------------------------------------------------------------------
 */

/* What decides the shapes and the values of their model. */
typedef struct theirs {
    int64_t d_model, n_layer, vocab, d_state, expand, head_dim, n_head, n_group, d_conv, chunk;
    double eps, dt_min, dt_max, dt_floor;
} theirs;

/* A whole number of their config under its name in either spelling: native keys lie in the config
 * itself or in its ssm_cfg. fallback: what their code takes when the key is absent; < 0: required.
 */
static const struct {
    size_t at;
    const char *hf, *native;
    int64_t hf_fallback, native_fallback;
} wholes[] = {
    {offsetof(theirs, d_model), "hidden_size", "d_model", -1, -1},
    {offsetof(theirs, n_layer), "num_hidden_layers", "n_layer", -1, -1},
    {offsetof(theirs, vocab), "vocab_size", "vocab_size", -1, -1},
    {offsetof(theirs, d_state), "state_size", "d_state", 128, 128},
    {offsetof(theirs, expand), "expand", "expand", 2, 2},
    {offsetof(theirs, head_dim), "head_dim", "headdim", 64, 64},
    {offsetof(theirs, n_group), "n_groups", "ngroups", 8, 1},
    {offsetof(theirs, d_conv), "conv_kernel", "d_conv", 4, 4},
    {offsetof(theirs, chunk), "chunk_size", "chunk_size", 256, 256},
};

/* Numbers that need not be whole, with what their code takes when the key is absent. Those of the
 * time step are of initial weights alone. */
static const struct {
    size_t at;
    const char *hf, *native;
    double fallback;
} reals[] = {
    {offsetof(theirs, eps), "layer_norm_epsilon", "norm_epsilon", 1e-5},
    {offsetof(theirs, dt_min), "time_step_min", "dt_min", 1e-3},
    {offsetof(theirs, dt_max), "time_step_max", "dt_max", 0.1},
    {offsetof(theirs, dt_floor), "time_step_floor", "dt_init_floor", 1e-4},
};

/* Flags that must have one value; absent is that value. In the config or in its ssm_cfg. */
static const struct {
    const char *key;
    bool want;
    const char *why;
} flags[] = {
    {"use_bias", false, "projections with biases are not supported"},
    {"bias", false, "projections with biases are not supported"},
    {"use_conv_bias", true, "a convolution without bias is not supported"},
    {"conv_bias", true, "a convolution without bias is not supported"},
    {"norm_before_gate", false, "a norm before the gate is not supported"},
    {"rms_norm", true, "layer norms other than RMS are not supported"},
    {"rmsnorm", true, "a mixer without its norm is not supported"},
    {"D_has_hdim", false, "a D for each element is not supported"},
};

static const json_t *lookup(const json_t *config, const char *key) {
    const json_t *value = json_object_get(config, key);
    return value ? value : json_object_get(json_object_get(config, "ssm_cfg"), key);
}

static hy_status fail_value(const char *key, const json_t *value, const char *wanted,
                            const char *dir, hy_error *err) {
    char *got = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    const hy_status status =
        hy__fail(err, HY_E_INVALID, "%.400s/config.json: %s is %.60s, but must be %s", dir, key,
                 got ? got : "something else", wanted);
    free(got);
    return status;
}

static hy_status read_whole(const json_t *config, const char *key, int64_t fallback, int64_t *out,
                            const char *dir, hy_error *err) {
    const json_t *value = lookup(config, key);
    const double x = value ? json_number_value(value) : (double)fallback;
    if (!value && fallback < 0)
        return hy__fail(err, HY_E_INVALID, "%.400s/config.json: %s is missing", dir, key);
    if (x < 1 || x > 1 << 30 || floor(x) != x)
        return fail_value(key, value, "a whole number from 1 on", dir, err);
    *out = (int64_t)x;
    return HY_OK;
}

static hy_status read_real(const json_t *config, const char *key, double fallback, double *out,
                           const char *dir, hy_error *err) {
    const json_t *value = lookup(config, key);
    if (value && !json_is_number(value)) return fail_value(key, value, "a number", dir, err);
    *out = value ? json_number_value(value) : fallback;
    return HY_OK;
}

static hy_status check_flags(const json_t *config, const char *dir, hy_error *err) {
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        const json_t *value = lookup(config, flags[i].key);
        if (value && !json_is_boolean(value))
            return fail_value(flags[i].key, value, "true or false", dir, err);
        if (value && json_is_true(value) != flags[i].want)
            return hy__fail(err, HY_E_UNSUPPORTED, "%.400s/config.json: %s must be %s: %s", dir,
                            flags[i].key, flags[i].want ? "true" : "false", flags[i].why);
    }
    const json_t *activation = lookup(config, "hidden_act");
    const char *act = json_string_value(activation);
    if (activation && !act) return fail_value("hidden_act", activation, "a text", dir, err);
    if (act && strcmp(act, "silu") != 0 && strcmp(act, "swish") != 0)
        return hy__fail(err, HY_E_UNSUPPORTED,
                        "%.400s/config.json: hidden_act is '%.32s'; only silu is supported", dir,
                        act);
    const json_t *attention = json_object_get(config, "attn_layer_idx");
    double d_intermediate = 0;
    HY_TRY(read_real(config, "d_intermediate", 0, &d_intermediate, dir, err));
    if (attention && !json_is_array(attention))
        return fail_value("attn_layer_idx", attention, "a list", dir, err);
    if (json_array_size(attention) > 0 || d_intermediate != 0)
        return hy__fail(err, HY_E_UNSUPPORTED,
                        "%.400s/config.json: attention and feed-forward layers (attn_layer_idx, "
                        "d_intermediate) are not supported",
                        dir);
    return HY_OK;
}

/* Infinity as Python writes it: bare (a string after hy__json_read), or {"__float__": "Infinity"}.
 */
static bool is_infinite(const json_t *value) {
    const json_t *inner = json_object_get(value, "__float__");
    const char *text = json_string_value(inner ? inner : value);
    return text && (strcmp(text, "Infinity") == 0 || strcmp(text, "inf") == 0);
}

/* Their time step is clamped to [low, high]; softplus is never below 0. */
static hy_status check_time_step(const json_t *config, const char *dir, hy_error *err) {
    static const char *const keys[] = {"time_step_limit", "dt_limit"};
    for (int i = 0; i < 2; i++) {
        const json_t *limit = lookup(config, keys[i]);
        if (!limit || json_is_null(limit)) continue;
        const json_t *low = json_array_get(limit, 0), *high = json_array_get(limit, 1);
        if (!json_is_number(low) || json_number_value(low) > 0 || !is_infinite(high))
            return hy__fail(err, HY_E_UNSUPPORTED,
                            "%.400s/config.json: %s bounds the time step; only [0, Infinity] is "
                            "supported",
                            dir, keys[i]);
    }
    return HY_OK;
}

static hy_status parse_theirs(const json_t *config, const char *dir, theirs *t, hy_error *err) {
    const char *type = json_string_value(json_object_get(config, "model_type"));
    const char *layer =
        json_string_value(json_object_get(json_object_get(config, "ssm_cfg"), "layer"));
    const bool native = !type && layer && strcmp(layer, "Mamba2") == 0;
    if (!native && (!type || strcmp(type, "mamba2") != 0))
        return hy__fail(err, HY_E_INVALID,
                        "%.400s/config.json: model_type is '%.64s', but must be 'mamba2'", dir,
                        type ? type : "");
    for (size_t i = 0; i < sizeof wholes / sizeof *wholes; i++)
        HY_TRY(read_whole(config, native ? wholes[i].native : wholes[i].hf,
                          native ? wholes[i].native_fallback : wholes[i].hf_fallback,
                          (int64_t *)((char *)t + wholes[i].at), dir, err));
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++)
        HY_TRY(read_real(config, native ? reals[i].native : reals[i].hf, reals[i].fallback,
                         (double *)((char *)t + reals[i].at), dir, err));
    t->n_head = t->expand * t->d_model / t->head_dim;
    if (!native) HY_TRY(read_whole(config, "num_heads", 128, &t->n_head, dir, err));
    HY_TRY(check_flags(config, dir, err));
    HY_TRY(check_time_step(config, dir, err));
    if (t->n_head * t->head_dim != t->expand * t->d_model)
        return hy__fail(err, HY_E_INVALID,
                        "%.400s/config.json: %jd heads of width %jd do not make the inner width "
                        "%jd",
                        dir, (intmax_t)t->n_head, (intmax_t)t->head_dim,
                        (intmax_t)(t->expand * t->d_model));
    if (t->n_group != 1)
        return hy__fail(err, HY_E_UNSUPPORTED,
                        "%.400s/config.json: %jd groups of B and C; only 1 is exchanged, since the "
                        "implementations norm several differently",
                        dir, (intmax_t)t->n_group);
    return HY_OK;
}

/* Our configuration of their model; the field table checks its bounds. */
static hy_status our_config(const theirs *t, const char *dir, hy__config *c,
                            hy_convert_result *result, hy_error *err) {
    const int64_t chunk = t->chunk < 16 ? 16 : t->chunk > 256 ? 256 : t->chunk / 16 * 16;
    if (chunk != t->chunk)
        snprintf(result->note, sizeof result->note,
                 "chunk_size %jd became chunk %jd (a multiple of 16 from 16 to 256): the values of "
                 "the model do not depend on it",
                 (intmax_t)t->chunk, (intmax_t)chunk);
    char layers[32];
    snprintf(layers, sizeof layers, "%jdx(S)", (intmax_t)t->n_layer);
    json_t *json = json_pack("{s:{s:s,s:I,s:I,s:I,s:f},s:{s:I,s:I,s:I,s:I,s:I,s:f,s:f,s:f}}",
                             "model", "layers", layers, "d_model", (json_int_t)t->d_model, "vocab",
                             (json_int_t)t->vocab, "chunk", (json_int_t)chunk, "norm_eps", t->eps,
                             "ssm", "expand", (json_int_t)t->expand, "head_dim",
                             (json_int_t)t->head_dim, "d_state", (json_int_t)t->d_state, "n_group",
                             (json_int_t)t->n_group, "d_conv", (json_int_t)t->d_conv, "dt_min",
                             t->dt_min, "dt_max", t->dt_max, "dt_floor", t->dt_floor);
    if (!json) return hy__no_memory(err, "a configuration");
    const hy_status status = hy__config_from_json(json, dir, c, NULL, err);
    json_decref(json);
    return status;
}

/* ---- import -----------------------------------------------------------------------------------
 */

static const hy__st_tensor *their_tensor(const hy__st *st, const char *name) {
    const hy__st_tensor *t = hy__st_find(st, name);
    return t || strcmp(name, EMBEDDING) != 0 ? t : hy__st_find(st, EMBEDDING_NATIVE);
}

/* An output matrix in the file must be the embedding once more. */
static hy_status check_head(const json_t *config, const hy__st *st, const char *dir,
                            hy_error *err) {
    const hy__st_tensor *head = hy__st_find(st, HEAD), *embed = their_tensor(st, EMBEDDING);
    const json_t *tied = json_object_get(config, "tie_word_embeddings");
    if (!head && json_is_false(tied))
        return hy__fail(err, HY_E_INVALID,
                        "%.400s: tie_word_embeddings is false, yet the file has no " HEAD, dir);
    const bool same = !head || (embed && head->n == embed->n && head->dtype == embed->dtype &&
                                memcmp(head->data, embed->data,
                                       (size_t)head->n * hy__st_dtype_size(head->dtype)) == 0);
    if (!same)
        return hy__fail(err, HY_E_UNSUPPORTED,
                        "%.400s: " HEAD " differs from the embedding; ours are one matrix", dir);
    return HY_OK;
}

static hy_status import_weights(hy__model *m, const hy__st *st, const char *dir, hy_error *err) {
    const float one = 1;
    int64_t n_used = hy__st_find(st, HEAD) ? 1 : 0;
    for (int64_t i = 0; i < m->n_param; i++) {
        const hy__param *p = &m->param[i];
        const hy__layer *l = p->layer < 0 ? NULL : &m->layer[p->layer];
        const hy__st_tensor *t = their_tensor(st, p->name);
        if (l && i == l->param_at[l->gate]) {
            hy__tensor_write_f32(m->be, p->value, &one, 1);
            continue;
        }
        if (!t) return hy__fail(err, HY_E_INVALID, "%.400s: tensor '%s' is missing", dir, p->name);
        HY_TRY(hy__checkpoint_load(m->be, p, t, dir, err));
        n_used++;
    }
    for (int64_t i = 0; n_used < hy__st_count(st) && i < hy__st_count(st); i++) {
        const char *name = hy__st_at(st, i)->name;
        const bool known = strcmp(name, HEAD) == 0 || strcmp(name, EMBEDDING_NATIVE) == 0;
        const hy__param *p = hy__model_find(m, name);
        if (!known && (!p || strstr(name, ".gate")))
            return hy__fail(err, HY_E_INVALID,
                            "%.400s: tensor '%.128s' is none of a Mamba2ForCausalLM", dir, name);
    }
    return HY_OK;
}

static hy_status put_import(const hy__model *m, const char *from, const char *to, hy_error *err) {
    hy__fileset *set;
    HY_TRY(hy__checkpoint_begin(&set, to, err));
    hy_status status = hy__checkpoint_put(set, m, NULL, NULL, 0, err);
    if (status == HY_OK) status = hy__checkpoint_copy_text(set, from, err);
    if (status == HY_OK) return hy__fileset_commit(set, err);
    hy__fileset_discard(set);
    return status;
}

/* Reads config.json and adapts it to the weights: an embedding may be padded beyond vocab_size. */
static hy_status read_theirs(const char *from, const hy__st *st, hy__config *c,
                             hy_convert_result *result, hy_error *err) {
    json_t *config;
    theirs t;
    HY_TRY(hy__json_read(&config, from, "config.json", err));
    hy_status status = parse_theirs(config, from, &t, err);
    if (status == HY_OK) status = check_head(config, st, from, err);
    json_decref(config);
    HY_TRY(status);
    const hy__st_tensor *embed = their_tensor(st, EMBEDDING);
    if (embed && embed->n_dim == 2 && embed->shape[0] > t.vocab) t.vocab = embed->shape[0];
    return our_config(&t, from, c, result, err);
}

hy_status hy__hf_import(const char *from, const char *to, hy_convert_result *result,
                        hy_error *err) {
    hy_convert_result unread;
    if (!result) result = &unread;
    *result = (hy_convert_result){0};
    hy__st *st = NULL;
    hy__backend *be = NULL;
    hy__model *m = NULL;
    hy__config c;
    hy_status status;
    HY_TRY_GOTO(hy__st_open_dir(&st, from, err));
    HY_TRY_GOTO(read_theirs(from, st, &c, result, err));
    HY_TRY_GOTO(hy__backend_open(&be, "ref", 1, err));
    const hy__st_tensor *embed = their_tensor(st, EMBEDDING);
    const bool bf16 = embed && embed->dtype == HY__ST_BF16;
    HY_TRY_GOTO(hy__model_new(&m, be, &c, bf16 ? HY__DTYPE_BF16 : be->real, err));
    HY_TRY_GOTO(import_weights(m, st, from, err));
    HY_TRY_GOTO(put_import(m, from, to, err));
done:
    hy__model_free(m);
    hy__backend_free(be);
    hy__st_close(st);
    return status;
}

/* ---- export -----------------------------------------------------------------------------------
 */

/* The tensors of an export: the model's without the gates. */
typedef struct export {
    const hy__model *m;
    int64_t *param; /* tensor -> parameter */
    double *scale;  /* what the tensor is multiplied by: the gate, or 1 */
    hy__st_tensor *tensor;
    int64_t n;
}
export;

static hy_status fill_export(void *user, int64_t i, int64_t first, int64_t n, void *dst,
                             hy_error *err) {
    const export *e = user;
    hy__backend *be = e->m->be;
    const hy__tensor value = hy__at(e->m->param[e->param[i]].value, first);
    be->read(be, dst, value, (size_t)n * hy__dtype_size(value.dtype));
    HY_TRY(hy__backend_check(be, err));
    if (e->scale[i] == 1) return HY_OK;
    const hy__st_dtype dtype = e->tensor[i].dtype;
    const size_t size = hy__st_dtype_size(dtype);
    for (int64_t j = 0; j < n; j++) {
        unsigned char *at = (unsigned char *)dst + (size_t)j * size;
        const hy__st_tensor element = {.dtype = dtype, .data = at};
        double x;
        hy__st_get_f64(&x, &element, 0, 1);
        x *= e->scale[i];
        hy__st_put_f64(at, dtype, &x, 1);
    }
    return HY_OK;
}

static void collect(export *e) {
    for (int64_t i = 0; i < e->m->n_param; i++) {
        const hy__param *p = &e->m->param[i];
        const hy__layer *l = p->layer < 0 ? NULL : &e->m->layer[p->layer];
        if (l && i == l->param_at[l->gate]) continue;
        hy__st_tensor *t = &e->tensor[e->n];
        *t = (hy__st_tensor){
            .name = p->name, .dtype = hy__checkpoint_dtype(p->value.dtype), .n_dim = p->decl.n_dim};
        memcpy(t->shape, p->decl.shape, sizeof p->decl.shape);
        float gate = 1;
        if (l && strcmp(p->decl.name, "mixer.out_proj.weight") == 0)
            hy__tensor_read_f32(e->m->be, &gate, l->value[l->gate], 1);
        e->scale[e->n] = (double)gate;
        e->param[e->n++] = i;
    }
}

static hy_status put_tensors(hy__fileset *set, const hy__model *m, hy_error *err) {
    const size_t n = (size_t)m->n_param;
    export e = {.m = m,
                .param = calloc(n, sizeof *e.param),
                .scale = calloc(n, sizeof *e.scale),
                .tensor = calloc(n, sizeof *e.tensor)};
    hy_status status = HY_OK;
    if (e.param && e.scale && e.tensor) {
        collect(&e);
        const hy__st_list list = {
            .tensor = e.tensor, .n_tensor = e.n, .fill = fill_export, .user = &e};
        status = hy__st_put(set, &list, 0, err);
    } else {
        status = hy__no_memory(err, "writing the model");
    }
    free(e.tensor);
    free(e.scale);
    free(e.param);
    return status;
}

/* time_step_limit is left out: its default is the [0, Infinity] that we compute. */
static hy_status put_their_config(hy__fileset *set, const hy__model *m, hy_error *err) {
    const hy__config *c = &m->cfg;
    json_t *config = json_pack(
        "{s:[s],s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "architectures", "Mamba2ForCausalLM",
        "model_type", "mamba2", "vocab_size", (json_int_t)c->model.vocab, "hidden_size",
        (json_int_t)c->model.d_model, "num_hidden_layers", (json_int_t)c->n_layer, "state_size",
        (json_int_t)c->ssm.d_state, "expand", (json_int_t)c->ssm.expand, "head_dim",
        (json_int_t)c->ssm.head_dim, "num_heads",
        (json_int_t)(c->ssm.expand * c->model.d_model / c->ssm.head_dim), "n_groups",
        (json_int_t)c->ssm.n_group, "conv_kernel", (json_int_t)c->ssm.d_conv, "chunk_size",
        (json_int_t)c->model.chunk);
    json_t *more = json_pack(
        "{s:f,s:b,s:b,s:b,s:b,s:b,s:s,s:f,s:f,s:f,s:n,s:n,s:n,s:s}", "layer_norm_epsilon",
        c->model.norm_eps, "use_bias", 0, "use_conv_bias", 1, "rms_norm", 1, "residual_in_fp32", 1,
        "tie_word_embeddings", 1, "hidden_act", "silu", "time_step_min", c->ssm.dt_min,
        "time_step_max", c->ssm.dt_max, "time_step_floor", c->ssm.dt_floor, "bos_token_id",
        "eos_token_id", "pad_token_id", "torch_dtype", hy__checkpoint_torch_dtype(m->weight_dtype));
    hy_status status = HY_OK;
    if (!more || json_object_update(config, more) != 0) status = hy__no_memory(err, "config.json");
    if (status == HY_OK) status = hy__json_put(set, "config.json", config, err);
    json_decref(more);
    json_decref(config);
    return status;
}

static hy_status put_export(const hy__model *m, const char *from, const char *to, hy_error *err) {
    hy__fileset *set;
    HY_TRY(hy__checkpoint_begin(&set, to, err));
    hy_status status = put_their_config(set, m, err);
    if (status == HY_OK) status = put_tensors(set, m, err);
    if (status == HY_OK) status = hy__checkpoint_copy_text(set, from, err);
    if (status == HY_OK) return hy__fileset_commit(set, err);
    hy__fileset_discard(set);
    return status;
}

static hy_status check_exportable(const hy__config *c, const char *from, hy_error *err) {
    for (int64_t i = 0; i < c->n_layer; i++)
        if (c->letter[i] != 'S')
            return hy__fail(err, HY_E_UNSUPPORTED,
                            "%.400s: layer %jd is '%c'; a Mamba2ForCausalLM has S alone", from,
                            (intmax_t)i, c->letter[i]);
    if (c->ssm.n_group != 1)
        return hy__fail(err, HY_E_UNSUPPORTED,
                        "%.400s: ssm.n_group is %jd; only 1 is exchanged, since the "
                        "implementations norm several differently",
                        from, (intmax_t)c->ssm.n_group);
    return HY_OK;
}

hy_status hy__hf_export(const char *from, const char *to, hy_error *err) {
    hy__config c;
    HY_TRY(hy__checkpoint_config(from, &c, NULL, err));
    HY_TRY(check_exportable(&c, from, err));
    hy__backend *be;
    hy__model *m = NULL;
    HY_TRY(hy__backend_open(&be, "ref", 1, err));
    hy_status status = hy__checkpoint_open(&m, be, from, NULL, err);
    if (status == HY_OK && hy__dtype_is_quant(m->weight_dtype))
        status = hy__fail(err, HY_E_UNSUPPORTED,
                          "%.400s: its weights are %s, which others do not read; convert the model "
                          "that they were made from",
                          from, hy__dtype_name(m->weight_dtype));
    if (status == HY_OK) status = put_export(m, from, to, err);
    hy__model_free(m);
    hy__backend_free(be);
    return status;
}
