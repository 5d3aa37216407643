/* resume.c: the state of a training beside its weights: training.safetensors (moments, carried
 * states, losses) and training.json (counters, and what the run is bound to).
 *
 * They are one set of files with the model: after a kill at any moment the directory holds either
 * all of the old checkpoint or all of the new one. */
#include "train/trainer.h"

#include "base/file.h"
#include "ckpt/checkpoint.h"
#include "ckpt/checksums.h"
#include "ckpt/json_file.h"
#include "ckpt/kept.h"
#include "ckpt/safetensors.h"
#include "ckpt/tokenizer_dir.h"
#include "ckpt/training_dir.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TENSORS  HY__TRAINING_TENSORS
#define COUNTERS HY__TRAINING_COUNTERS

/* ---- what the run is bound to ---- */

static hy_status other_config(const char *section, const char *key, const json_t *had,
                              const json_t *now, const char *dir, hy_error *err) {
    const size_t how = JSON_ENCODE_ANY | JSON_REAL_PRECISION(15);
    char *was = had ? json_dumps(had, how) : NULL, *is = now ? json_dumps(now, how) : NULL;
    char loose[200];
    hy__config_list_loose(loose, sizeof loose, true);
    const hy_status status =
        hy__fail(err, HY_E_INVALID,
                 "the training in %.200s has another configuration: %s.%s is %.120s there, but "
                 "%.120s now; to resume, only these of train may change: %s",
                 dir, section, key, was ? was : "absent", is ? is : "absent", loose);
    free(was);
    free(is);
    return status;
}

/* The first field of `from` that is not the same in both; `now` tells which of them is the run's.
 */
static hy_status compare(const json_t *from, const json_t *had, const json_t *now, const char *dir,
                         hy_error *err) {
    const char *section, *key;
    json_t *fields, *value;
    json_object_foreach((json_t *)(uintptr_t)from, section, fields) {
        json_object_foreach(fields, key, value) {
            const json_t *x = json_object_get(json_object_get(had, section), key);
            const json_t *y = json_object_get(json_object_get(now, section), key);
            if (!json_equal(x, y)) return other_config(section, key, x, y, dir, err);
        }
    }
    return HY_OK;
}

static hy_status check_config(const hy__trainer *tr, const json_t *had, const char *dir,
                              hy_error *err) {
    json_t *now = hy__config_bound_json(&tr->base, &tr->base_t);
    if (!now) return hy__no_memory(err, "the state of the training");
    hy_status status = compare(now, had, now, dir, err);
    if (status == HY_OK) status = compare(had, had, now, dir, err);
    json_decref(now);
    return status;
}

/* A hash (FNV-1a) of the stages of a curriculum; "" without one. */
static hy_status hash_recipe(const hy__trainer *tr, char hex[17], hy_error *err) {
    char *text = NULL;
    size_t size;
    hex[0] = '\0';
    if (!tr->recipe.name) return HY_OK;
    FILE *out = open_memstream(&text, &size);
    if (out) hy__recipe_print(&tr->recipe, out);
    if (!out || fclose(out) != 0) {
        free(text);
        return hy__no_memory(err, "the state of the training");
    }
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (const char *c = text; *c; c++) h = (h ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
    free(text);
    snprintf(hex, 17, "%016" PRIx64, h);
    return HY_OK;
}

static hy_status check_recipe(const hy__trainer *tr, const char *had, const char *dir,
                              hy_error *err) {
    char now[17], loose[200];
    HY_TRY(hash_recipe(tr, now, err));
    if (strcmp(had, now) == 0) return HY_OK;
    hy__config_list_loose(loose, sizeof loose, false);
    return hy__fail(err, HY_E_INVALID,
                    "the training in %.400s has %s; wanted the same stages; to resume, only these "
                    "of train may change: %s",
                    dir, !*had ? "no curriculum" : "another curriculum", loose);
}

/* What the last bits of a sum hang on: "cpu:avx2, 4 threads". */
enum { KERNELS = 80 };
static void describe_kernels(const hy__trainer *tr, char text[KERNELS]) {
    const hy__backend *be = tr->be;
    snprintf(text, KERNELS, "%.30s%s%.30s, %d thread%s", be->name, *be->isa ? ":" : "", be->isa,
             be->n_thread, be->n_thread == 1 ? "" : "s");
}

/* Corpora and weights. */
static void hash_data(const hy__trainer *tr, char hex[17]) {
    snprintf(hex, 17, "%016" PRIx64, hy__mixture_fingerprint(&tr->data));
}

/* ---- the list of tensors, the same for writing and reading ---- */

enum { NAME = HY__NAME_MAX + 40 };

typedef struct listing {
    hy__backend *be;
    char (*name)[NAME];
    hy__st_tensor *entry;
    hy__tensor *tensor; /* on the backend; absent: `host` */
    double **host;      /* numbers of the steps */
    int64_t n;
} listing;

static void list_free(listing *l) {
    free(l->name);
    free(l->entry);
    free(l->tensor);
    free(l->host);
}

static void list_add(listing *l, const char *prefix, const char *name, hy__tensor t, int64_t n) {
    const bool wide = !hy__present(t) || t.dtype == HY__DTYPE_F64;
    snprintf(l->name[l->n], NAME, "%s%s", prefix, name);
    l->entry[l->n] = (hy__st_tensor){.name = l->name[l->n],
                                     .dtype = wide ? HY__ST_F64 : HY__ST_F32,
                                     .n_dim = 1,
                                     .shape = {n},
                                     .n = n};
    l->tensor[l->n++] = t;
}

static void list_host(listing *l, const char *name, double *host, int64_t n) {
    l->host[l->n] = host;
    list_add(l, name, "", (hy__tensor){0}, n);
}

static hy_status list_all(listing *l, hy__trainer *tr, hy_error *err) {
    const hy__model *m = tr->model;
    const size_t most = (size_t)(2 * m->n_param + m->cfg.n_layer + tr->lanes.n + 2);
    *l = (listing){.be = tr->be,
                   .name = malloc(most * sizeof *l->name),
                   .entry = calloc(most, sizeof *l->entry),
                   .tensor = calloc(most, sizeof *l->tensor),
                   .host = calloc(most, sizeof *l->host)};
    if (!l->name || !l->entry || !l->tensor || !l->host) {
        list_free(l);
        return hy__no_memory(err, "the state of the training");
    }
    for (int64_t i = 0; i < m->n_param; i++) {
        if (!hy__present(tr->optim->m[i])) continue;
        list_add(l, "m.", m->param[i].name, tr->optim->m[i], m->param[i].n);
        if (hy__present(tr->optim->v[i]))
            list_add(l, "v.", m->param[i].name, tr->optim->v[i], m->param[i].n);
    }
    /* the model has them as its forward uses them: times their scale */
    for (int64_t i = 0; i < m->cfg.n_layer; i++) {
        const hy__param *p = &m->param[m->layer[i].param_at[m->layer[i].gate]];
        list_add(l, "raw.", p->name, p->value, p->n);
    }
    for (int64_t i = 0; i < tr->lanes.n; i++) {
        const hy__state *s = tr->lanes.now[i];
        char number[24];
        snprintf(number, sizeof number, "%" PRId64, i);
        list_add(l, "stream.", number, (hy__tensor){.buf = &s->buf, .dtype = tr->be->real},
                 (int64_t)(s->bytes / hy__dtype_size(tr->be->real)));
    }
    list_host(l, "losses", tr->history, tr->at.step);
    list_host(l, "log_grad_norms", tr->guard.norm, tr->at.step);
    return HY_OK;
}

/* ---- writing ---- */

static hy_status fill(void *user, int64_t i, int64_t first, int64_t n, void *dst, hy_error *err) {
    const listing *l = user;
    const size_t size = (size_t)n * hy__st_dtype_size(l->entry[i].dtype);
    if (hy__present(l->tensor[i])) {
        l->be->read(l->be, dst, hy__at(l->tensor[i], first), size);
    } else {
        memcpy(dst, l->host[i] + first, size);
    }
    return hy__backend_check(l->be, err);
}

static hy_status put_tensors(hy__trainer *tr, hy__fileset *set, hy_error *err) {
    listing l;
    HY_TRY(list_all(&l, tr, err));
    const hy_status status = hy__st_put_file(
        set, TENSORS, &(hy__st_list){.tensor = l.entry, .n_tensor = l.n, .fill = fill, .user = &l},
        err);
    list_free(&l);
    return status;
}

/* Of every parameter. */
static json_t *updates_json(const hy__trainer *tr) {
    json_t *updates = json_array();
    for (int64_t i = 0; i < tr->model->n_param; i++)
        json_array_append_new(updates, json_integer((json_int_t)tr->optim->step[i]));
    return updates;
}

static json_t *guard_json(const hy__guard *g) {
    return json_pack("{s:I, s:I, s:I, s:I, s:I}", "dropped", (json_int_t)g->dropped, "rewound",
                     (json_int_t)g->rewound, "passed_tokens", (json_int_t)g->passed, "in_row",
                     (json_int_t)g->in_row, "since", (json_int_t)g->since);
}

/* The stages that are over: their steps, and what ended them. */
static json_t *stages_json(const hy__trainer *tr) {
    json_t *stages = json_array();
    for (int64_t i = 0; i < tr->course.index; i++)
        json_array_append_new(stages,
                              json_pack("{s:I, s:s}", "steps", (json_int_t)tr->course.steps[i],
                                        "end", hy__stage_end_name(tr->course.end[i])));
    return stages;
}

static hy_status put_counters(hy__trainer *tr, hy__fileset *set, hy_error *err) {
    char data[17], recipe[17], kernels[KERNELS];
    HY_TRY(hash_recipe(tr, recipe, err));
    hash_data(tr, data);
    json_t *streams = json_array();
    for (int64_t i = 0; i < tr->lanes.n; i++) {
        const hy__state *s = tr->lanes.now[i];
        json_array_append_new(streams, json_pack("{s:I, s:I}", "pos", (json_int_t)s->pos, "slots",
                                                 (json_int_t)s->n_slot));
    }
    json_t *all = json_pack(
        "{s:I, s:I, s:f, s:f, s:f, s:I, s:s, s:o, s:o}", "step", (json_int_t)tr->at.step, "tokens",
        (json_int_t)tr->tokens, "seconds", tr->at.seconds, "val_loss", tr->val_loss,
        "val_bits_per_byte", tr->val_bits, "metrics_bytes", (json_int_t)tr->metrics_size, "data",
        data, "config", hy__config_bound_json(&tr->base, &tr->base_t), "streams", streams);
    if (!all) return hy__no_memory(err, "the state of the training");
    describe_kernels(tr, kernels);
    json_object_set_new(all, "kernels", json_string(kernels));
    json_object_set_new(all, "updates", updates_json(tr));
    json_object_set_new(all, "guard", guard_json(&tr->guard));
    json_object_set_new(all, "curriculum", json_string(recipe));
    json_object_set_new(all, "stages", stages_json(tr));
    json_object_set_new(all, "stage_over", json_boolean(tr->course.reached));
    const hy_status status = hy__json_put(set, COUNTERS, all, err);
    json_decref(all);
    return status;
}

hy_status hy__training_save(hy__trainer *tr, hy_error *err) {
    hy__fileset *set;
    HY_TRY(hy__metrics_sync(tr, err));
    HY_TRY(hy__fileset_open(&set, tr->opt->out, err));
    const int32_t eos = hy__tokenizer_eos(tr->tok);
    hy_status status = hy__checkpoint_put(set, tr->model, &tr->base_t, &eos, eos >= 0, err);
    if (status == HY_OK) status = hy__tokenizer_put(set, tr->tok, err);
    if (status == HY_OK) status = put_tensors(tr, set, err);
    if (status == HY_OK) status = put_counters(tr, set, err);
    if (status == HY_OK) return hy__training_replace(tr, set, err);
    hy__fileset_discard(set);
    return status;
}

/* ---- reading ---- */

static hy_status exists(const char *dir, const char *name, bool *found, hy_error *err) {
    char *path = NULL;
    HY_TRY(hy__fileset_find(&path, dir, name, err));
    *found = path != NULL;
    free(path);
    return HY_OK;
}

hy_status hy__training_find(const char *dir, bool *model, bool *resumable, hy_error *err) {
    hy__kept older;
    bool state, sums;
    HY_TRY(exists(dir, "config.json", model, err));
    HY_TRY(exists(dir, COUNTERS, &state, err));
    HY_TRY(exists(dir, HY__CHECKSUMS, &sums, err));
    HY_TRY(hy__kept_list(&older, dir, err));
    /* a model that another command put there is not the damaged end of a training */
    *resumable = state || sums || (older.n > 0 && !*model);
    *model = *model || older.n > 0;
    hy__kept_release(&older);
    return HY_OK;
}

/* Steps of a file, within bounds in which nothing overflows. */
static bool is_count(int64_t n) {
    return n >= 0 && n < INT64_C(1) << 40;
}

/* Takes the counters after checking that they are those of these data. */
static hy_status take_counters(hy__trainer *tr, json_t *json, const char *dir, hy_error *err) {
    json_int_t step, tokens, metrics;
    const char *data;
    char wanted[17];
    if (json_unpack(json, "{s:I, s:I, s:F, s:F, s:F, s:I, s:s}", "step", &step, "tokens", &tokens,
                    "seconds", &tr->at.seconds, "val_loss", &tr->val_loss, "val_bits_per_byte",
                    &tr->val_bits, "metrics_bytes", &metrics, "data", &data) != 0 ||
        !is_count(step) || step < tr->course.first || tokens < 0 || metrics < 0) {
        return hy__fail(err, HY_E_INVALID, "%s/%s is not the state of a training", dir, COUNTERS);
    }
    hash_data(tr, wanted);
    if (strcmp(data, wanted) != 0) {
        return hy__fail(err, HY_E_INVALID,
                        "the training in %s read data of the fingerprint %s, but those given now "
                        "have %s; wanted the same data, tokenizer and weights",
                        dir, data, wanted);
    }
    json_t *updates = json_object_get(json, "updates");
    for (int64_t i = 0; i < tr->model->n_param; i++) {
        const json_t *made = json_array_get(updates, (size_t)i);
        tr->optim->step[i] = json_integer_value(made);
        if (!json_is_integer(made) || !is_count(tr->optim->step[i]))
            return hy__fail(err, HY_E_INVALID, "%s/%s: the updates of %s are not a count", dir,
                            COUNTERS, tr->model->param[i].name);
    }
    tr->at.step = step;
    tr->tokens = tokens;
    tr->metrics_size = metrics;
    return HY_OK;
}

/* A run may go on elsewhere, but then not as if it had never stopped. */
static void compare_kernels(const hy__trainer *tr, const json_t *json, const char *dir) {
    const char *had = json_string_value(json_object_get(json, "kernels"));
    char now[KERNELS];
    describe_kernels(tr, now);
    if (had && strcmp(had, now) == 0) return;
    hy__training_warn(tr,
                      "the training in %.400s was computed by %.80s and goes on by %s: from here "
                      "on results differ in their last bits",
                      dir, had ? had : "unknown kernels", now);
}

static hy_status take_guard(hy__guard *g, json_t *json, const char *dir, hy_error *err) {
    json_int_t n[5];
    if (json_unpack(json_object_get(json, "guard"), "{s:I, s:I, s:I, s:I, s:I}", "dropped", &n[0],
                    "rewound", &n[1], "passed_tokens", &n[2], "in_row", &n[3], "since",
                    &n[4]) != 0 ||
        !is_count(n[0]) || !is_count(n[1]) || !is_count(n[2]) || !is_count(n[3]) ||
        !is_count(n[4])) {
        return hy__fail(err, HY_E_INVALID, "%s/%s: guard is not what a training writes", dir,
                        COUNTERS);
    }
    g->dropped = n[0];
    g->rewound = n[1];
    g->passed = n[2];
    g->in_row = n[3];
    g->since = n[4];
    return HY_OK;
}

/* Makes the carried states as large as they were. */
static hy_status take_streams(hy__trainer *tr, json_t *json, const char *dir, hy_error *err) {
    json_t *streams = json_object_get(json, "streams");
    for (int64_t i = 0; i < tr->lanes.n; i++) {
        json_int_t pos, slots;
        hy__state *s = tr->lanes.now[i];
        if (json_unpack(json_array_get(streams, (size_t)i), "{s:I, s:I}", "pos", &pos, "slots",
                        &slots) != 0) {
            return hy__fail(err, HY_E_INVALID, "%s/%s lacks stream %lld", dir, COUNTERS,
                            (long long)i);
        }
        hy_status status = hy__state_check(tr->model, pos, slots, err);
        if (status == HY_OK) status = hy__state_reserve(s, slots * tr->cfg.model.chunk, err);
        if (status != HY_OK)
            return hy__fail_in(err, status, "%s/%s: stream %lld of %lld slots", dir, COUNTERS,
                               (long long)i, (long long)slots);
        if (s->n_slot != slots) {
            return hy__fail(err, HY_E_INVALID, "%s/%s: stream %lld has %lld slots, wanted %lld",
                            dir, COUNTERS, (long long)i, (long long)slots, (long long)s->n_slot);
        }
        s->pos = pos;
    }
    return HY_OK;
}

static hy_status take_stage(hy__course *c, const json_t *json, int64_t steps, int64_t i) {
    json_int_t took;
    const char *end;
    if (json_unpack((json_t *)(uintptr_t)json, "{s:I, s:s}", "steps", &took, "end", &end) != 0 ||
        took < 0 || took > steps)
        return HY_E_INVALID;
    for (c->end[i] = HY__END_LENGTH; c->end[i] < HY__END_N; c->end[i]++)
        if (strcmp(end, hy__stage_end_name(c->end[i])) == 0) break;
    c->steps[i] = took;
    c->first += took;
    return c->end[i] < HY__END_N ? HY_OK : HY_E_INVALID;
}

hy_status hy__training_find_stage(hy__trainer *tr, hy_error *err) {
    const char *dir = hy__training_from(tr), *recipe;
    hy__course *c = &tr->course;
    json_t *json, *config, *stages;
    int over;
    HY_TRY(hy__json_read(&json, dir, COUNTERS, err));
    hy_status status = HY_E_INVALID;
    if (json_unpack(json, "{s:o, s:s, s:o, s:b}", "config", &config, "curriculum", &recipe,
                    "stages", &stages, "stage_over", &over) == 0) {
        HY_TRY_GOTO(check_config(tr, config, dir, err));
        HY_TRY_GOTO(check_recipe(tr, recipe, dir, err));
        c->index = (int64_t)json_array_size(stages);
        c->reached = over;
        status = c->index < tr->recipe.n ? HY_OK : HY_E_INVALID;
        for (int64_t i = 0; status == HY_OK && i < c->index; i++)
            status = take_stage(c, json_array_get(stages, (size_t)i), tr->recipe.stage[i].steps, i);
    }
    if (status != HY_OK)
        status = hy__fail(err, status, "%s/%s is not the state of a training", dir, COUNTERS);
done:
    json_decref(json);
    return status;
}

static hy_status take_tensor(const listing *l, int64_t i, const hy__st *st, const char *path,
                             hy_error *err) {
    const hy__st_tensor *want = &l->entry[i], *got = hy__st_find(st, want->name);
    if (!got || got->dtype != want->dtype || got->n != want->n) {
        return hy__fail(err, HY_E_INVALID, "%s has no %s tensor %s of %lld elements", path,
                        hy__st_dtype_name(want->dtype), want->name, (long long)want->n);
    }
    const size_t size = (size_t)got->n * hy__st_dtype_size(got->dtype);
    if (hy__present(l->tensor[i])) {
        l->be->write(l->be, l->tensor[i], got->data, size);
    } else if (size > 0) {
        memcpy(l->host[i], got->data, size);
    }
    hy__st_release(got, 0, got->n);
    return HY_OK;
}

static hy_status take_tensors(hy__trainer *tr, const char *path, hy_error *err) {
    hy__st *st;
    listing l;
    HY_TRY(hy__st_open(&st, path, err));
    hy_status status = list_all(&l, tr, err);
    if (status == HY_OK) {
        for (int64_t i = 0; i < l.n && status == HY_OK; i++)
            status = take_tensor(&l, i, st, path, err);
        list_free(&l);
    }
    hy__st_close(st);
    return status;
}

hy_status hy__training_load(hy__trainer *tr, hy_error *err) {
    const char *dir = hy__training_from(tr);
    char *path = NULL;
    json_t *json;
    hy_status status;
    HY_TRY(hy__json_read(&json, dir, COUNTERS, err));
    HY_TRY_GOTO(take_counters(tr, json, dir, err));
    compare_kernels(tr, json, dir);
    HY_TRY_GOTO(take_guard(&tr->guard, json, dir, err));
    HY_TRY_GOTO(take_streams(tr, json, dir, err));
    tr->history_cap = tr->at.step + 1;
    tr->history = malloc((size_t)tr->history_cap * sizeof *tr->history);
    tr->guard.norm = malloc((size_t)tr->history_cap * sizeof *tr->guard.norm);
    if (!tr->history || !tr->guard.norm) {
        status = hy__no_memory(err, "the state of the training");
        goto done;
    }
    HY_TRY_GOTO(hy__fileset_find(&path, dir, TENSORS, err));
    if (!path) {
        status = hy__fail(err, HY_E_IO, "%s has %s but no %s", dir, COUNTERS, TENSORS);
        goto done;
    }
    HY_TRY_GOTO(take_tensors(tr, path, err));
    tr->whole_step = tr->at.step;
done:
    free(path);
    json_decref(json);
    return status;
}
