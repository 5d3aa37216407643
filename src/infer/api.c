/* api.c: models, text and conversion of hydralm.h. Sessions are session.c and generate.c, hy_eval
 * is eval.c, hy_train is src/train. */
#include "base/file.h"
#include "ckpt/checkpoint.h"
#include "ckpt/hf_mamba2.h"
#include "ckpt/json_file.h"
#include "ckpt/quantize.h"
#include "ckpt/tokenizer_dir.h"
#include "infer/engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- opening and saving ---- */

/* A model with a backend and nothing else. */
static hy_status model_begin(hy_model **out, const hy_model_options *opt, hy_error *err) {
    const hy_model_options none = {0};
    if (!opt) opt = &none;
    hy_model *m = calloc(1, sizeof *m);
    if (!m) return hy__no_memory(err, "a model");
    const char *backend = opt->backend ? opt->backend : "cpu";
    const hy_status status = hy__backend_open(&m->be, backend, opt->threads, err);
    if (status != HY_OK) {
        free(m);
        return status;
    }
    *out = m;
    return HY_OK;
}

/* A tokenizer that was named makes a vocabulary that is too small for it large enough. */
static hy_status open_tokenizer(hy_model *m, hy__config *cfg, const char *config_path,
                                const char *named, hy_error *err) {
    HY_TRY(hy__tokenizer_open_path(&m->tok, named ? named : "bytes", err));
    const int64_t vocab = hy__tokenizer_vocab(m->tok);
    const int32_t eos = hy__tokenizer_eos(m->tok);
    if (eos >= 0) m->eos[m->n_eos++] = eos;
    if (cfg->model.vocab >= vocab) return HY_OK;
    if (!named)
        return hy__fail(err, HY_E_INVALID,
                        "%s: model.vocab is %lld, wanted at least the tokenizer's %lld",
                        config_path, (long long)cfg->model.vocab, (long long)vocab);
    HY_TRY(hy__config_set_whole(cfg, &m->train, "model.vocab", (uint64_t)vocab, err));
    return hy__config_finish(cfg, err);
}

static hy_status build(hy_model *m, const char *config_path, uint64_t seed,
                       const hy_model_options *opt, hy_error *err) {
    hy__config cfg;
    hy__dtype dtype;
    HY_TRY(hy__checkpoint_parse_dtype(&dtype, m->be, opt->dtype ? opt->dtype : "fp32", err));
    HY_TRY(hy__config_read_yaml(config_path, &cfg, &m->train, err));
    HY_TRY(hy__config_set_whole(&cfg, &m->train, "train.seed", seed, err)); /* is written down */
    HY_TRY(hy__config_finish(&cfg, err));
    HY_TRY(open_tokenizer(m, &cfg, config_path, opt->tokenizer, err));
    HY_TRY(hy__model_new(&m->net, m->be, &cfg, dtype, err));
    hy__model_randomize(m->net, seed);
    return HY_OK;
}

hy_status hy_model_new(hy_model **out, const char *config_path, uint64_t seed,
                       const hy_model_options *opt, hy_error *err) {
    const hy_model_options none = {0};
    hy_model *m = NULL;
    HY_TRY(model_begin(&m, opt, err));
    const hy_status status = build(m, config_path, seed, opt ? opt : &none, err);
    if (status == HY_OK) {
        *out = m;
    } else {
        hy_model_free(m);
    }
    return status;
}

static hy_status add_eos(hy_model *m, const json_t *id, const char *dir, hy_error *err) {
    const json_int_t token = json_integer_value(id), vocab = m->net->cfg.model.vocab;
    if (!id || json_is_null(id)) return HY_OK;
    if (json_is_integer(id) && token >= 0 && token < vocab) {
        m->eos[m->n_eos++] = (int32_t)token;
        return HY_OK;
    }
    char *got = json_dumps(id, JSON_ENCODE_ANY);
    const hy_status status =
        hy__fail(err, HY_E_INVALID,
                 "%.400s/generation_config.json: eos_token_id has %.64s, wanted a token, 0 to %jd",
                 dir, got ? got : "something else", (intmax_t)vocab - 1);
    free(got);
    return status;
}

/* The tokens that end a text, as generation_config.json says: none, one, or a list. */
static hy_status read_eos(hy_model *m, const char *dir, hy_error *err) {
    char *path = NULL;
    json_t *json;
    HY_TRY(hy__fileset_find(&path, dir, "generation_config.json", err));
    const bool found = path != NULL;
    free(path);
    if (!found) return HY_OK;
    HY_TRY(hy__json_read(&json, dir, "generation_config.json", err));
    const json_t *eos = json_object_get(json, "eos_token_id");
    const size_t n = json_is_array(eos) ? json_array_size(eos) : 1;
    hy_status status = HY_OK;
    if (n > HY__EOS_MAX)
        status = hy__fail(err, HY_E_INVALID,
                          "%.400s/generation_config.json: eos_token_id has %zu tokens, wanted at "
                          "most %d",
                          dir, n, (int)HY__EOS_MAX);
    for (size_t i = 0; i < n && status == HY_OK; i++)
        status = add_eos(m, json_is_array(eos) ? json_array_get(eos, i) : eos, dir, err);
    json_decref(json);
    return status;
}

/* A vocabulary that we cannot read, or that has more tokens than the model, leaves it without text.
 */
static hy_status read_text(hy_model *m, const char *dir, hy_error *err) {
    const hy_status status = hy__tokenizer_open_dir(&m->tok, dir, &m->no_text);
    if (status == HY_E_UNSUPPORTED) return HY_OK;
    if (status != HY_OK) return hy__fail(err, status, "%s", m->no_text.text);
    const int64_t n = hy__tokenizer_vocab(m->tok), most = m->net->cfg.model.vocab;
    if (n <= most) return HY_OK;
    (void)hy__fail(&m->no_text, HY_E_UNSUPPORTED,
                   "%.400s: its tokenizer has %jd tokens, more than model.vocab, which is %jd", dir,
                   (intmax_t)n, (intmax_t)most);
    hy__tokenizer_free(m->tok);
    m->tok = NULL;
    return HY_OK;
}

static hy_status load(hy_model *m, const char *dir, const char *dtype, hy_error *err) {
    hy__config cfg;
    HY_TRY(hy__checkpoint_config(dir, &cfg, &m->train, err));
    HY_TRY(hy__checkpoint_open(&m->net, m->be, dir, dtype, err));
    m->from = realpath(dir, NULL);
    if (!m->from) return hy__fail(err, HY_E_IO, "cannot resolve %.400s: %s", dir, strerror(errno));
    HY_TRY(read_eos(m, dir, err));
    return read_text(m, dir, err);
}

hy_status hy_model_open(hy_model **out, const char *dir, const hy_model_options *opt,
                        hy_error *err) {
    hy_model *m = NULL;
    HY_TRY(model_begin(&m, opt, err));
    const hy_status status = load(m, dir, opt ? opt->dtype : NULL, err);
    if (status == HY_OK) {
        *out = m;
    } else {
        hy_model_free(m);
    }
    return status;
}

void hy_model_free(hy_model *m) {
    if (!m) return;
    hy__tokenizer_free(m->tok);
    hy__model_free(m->net);
    hy__backend_free(m->be);
    free(m->from);
    free(m);
}

/* The tokenizer; or the files that we could not use, as they are. Neither leaves another model's.
 */
static hy_status put_text(hy__fileset *set, const hy_model *m, hy_error *err) {
    return m->tok ? hy__tokenizer_put(set, m->tok, err)
                  : hy__checkpoint_copy_text(set, m->from, err);
}

hy_status hy_model_save(const hy_model *m, const char *dir, hy_error *err) {
    hy__fileset *set;
    HY_TRY(hy__checkpoint_begin(&set, dir, err));
    hy_status status = hy__checkpoint_put(set, m->net, &m->train, m->eos, m->n_eos, err);
    if (status == HY_OK) status = put_text(set, m, err);
    if (status == HY_OK) return hy__fileset_commit(set, err);
    hy__fileset_discard(set);
    return status;
}

hy_status hy_convert(const char *from, const char *to, const hy_convert_options *opt,
                     hy_convert_result *result, hy_error *err) {
    const hy_convert_options none = {0};
    hy_convert_result unread;
    if (!opt) opt = &none;
    if (!result) result = &unread;
    *result = (hy_convert_result){0};
    if (opt->to_hf && opt->quantize)
        return hy__fail(err, HY_E_INVALID,
                        "a Hugging Face directory cannot have weights in %.64s of ours",
                        opt->quantize);
    if (opt->quantize) return hy__quantize_directory(from, to, opt->quantize, result, err);
    return opt->to_hf ? hy__hf_export(from, to, err) : hy__hf_import(from, to, result, err);
}

/* ---- what can be asked of a model ---- */

char *hy_model_config(const hy_model *m) {
    return hy__config_print(&m->net->cfg, &m->train);
}

static hy_status check_experts(const int32_t *list, int64_t n, int64_t n_expert, const char *what,
                               hy_error *err) {
    if (n < 0) {
        return hy__fail(err, HY_E_INVALID, "%lld experts are to be %s, wanted 0 or more",
                        (long long)n, what);
    }
    for (int64_t i = 0; i < n; i++) {
        if (list[i] < 0 || list[i] >= n_expert) {
            return hy__fail(err, HY_E_INVALID, "expert %d is to be %s, wanted 0 to %lld",
                            (int)list[i], what, (long long)n_expert - 1);
        }
    }
    return HY_OK;
}

/* Router logits are far below 1e30, so that their quotients are finite in fp32. */
#define LEAST_TEMPERATURE 1e-6

static hy_status make_control(const hy_model *m, const hy_expert_options *o, hy__expert_control *c,
                              hy_error *err) {
    const int64_t n_expert = m->net->cfg.experts.n_expert;
    int64_t n_left = n_expert;
    *c = (hy__expert_control){.k = o->k, .temperature = o->temperature, .n_force = o->n_force};
    HY_TRY(check_experts(o->ban, o->n_ban, n_expert, "banned", err));
    HY_TRY(check_experts(o->force, o->n_force, n_expert, "forced", err));
    if (o->n_force > (int64_t)(sizeof c->force / sizeof *c->force)) {
        return hy__fail(err, HY_E_INVALID, "%lld experts are forced, wanted %zu at most",
                        (long long)o->n_force, sizeof c->force / sizeof *c->force);
    }
    for (int64_t i = 0; i < o->n_ban; i++) {
        n_left -= !c->ban[o->ban[i]];
        c->ban[o->ban[i]] = true;
    }
    for (int64_t i = 0; i < o->n_force; i++) {
        for (int64_t j = 0; j < i; j++) {
            if (o->force[j] == o->force[i]) {
                return hy__fail(err, HY_E_INVALID, "expert %d is forced twice, wanted each once",
                                (int)o->force[i]);
            }
        }
        if (c->ban[o->force[i]]) {
            return hy__fail(err, HY_E_INVALID, "expert %d is to be both banned and forced",
                            (int)o->force[i]);
        }
        c->force[i] = o->force[i];
    }
    if (n_left == 0) {
        return hy__fail(err, HY_E_INVALID, "all %lld experts are banned, wanted at least one left",
                        (long long)n_expert);
    }
    const int64_t k = o->k != 0 ? o->k : m->net->cfg.experts.k;
    if (k < 1 || (o->n_force == 0 && k > n_left)) {
        return hy__fail(err, HY_E_INVALID,
                        "%lld experts are to work on a token, wanted 1 to %lld, those that are not "
                        "banned",
                        (long long)k, (long long)n_left);
    }
    if (o->temperature != 0.0 && !(o->temperature >= LEAST_TEMPERATURE)) {
        return hy__fail(err, HY_E_INVALID, "the experts' temperature is %g, wanted %g or more",
                        o->temperature, LEAST_TEMPERATURE);
    }
    return HY_OK;
}

hy_status hy_model_experts(hy_model *m, const hy_expert_options *opt, hy_error *err) {
    const hy__config *cfg = &m->net->cfg;
    hy__expert_control control;
    int64_t n = 0, nth = 0;
    for (int64_t i = 0; i < cfg->n_layer; i++) n += cfg->letter[i] == 'E';
    if (n == 0) {
        return hy__fail(err, HY_E_INVALID, "the model %s has no experts to control",
                        cfg->model.layers);
    }
    if (opt->layer < 0 || opt->layer > n) {
        return hy__fail(err, HY_E_INVALID,
                        "the experts of E layer %lld are to be controlled, wanted 1 to %lld, or 0 "
                        "for all",
                        (long long)opt->layer, (long long)n);
    }
    HY_TRY(make_control(m, opt, &control, err));
    for (int64_t i = 0; i < cfg->n_layer; i++) {
        nth += cfg->letter[i] == 'E';
        if (cfg->letter[i] == 'E' && (opt->layer == 0 || opt->layer == nth))
            m->net->layer[i].expert = control;
    }
    return HY_OK;
}

/* ---- text ---- */

hy_status hy_encode(const hy_model *m, const char *text, size_t size, int32_t **tokens, int64_t *n,
                    hy_error *err) {
    *tokens = NULL;
    *n = 0;
    if (!m->tok) return hy__fail(err, m->no_text.status, "%s", m->no_text.text);
    return hy__tokenizer_encode(m->tok, text, size, tokens, n, err);
}

size_t hy_decode(const hy_model *m, int32_t token, char *buf, size_t cap) {
    const size_t size = m->tok ? hy__tokenizer_decode(m->tok, token, buf, cap) : 0;
    return size < cap ? size : cap;
}
