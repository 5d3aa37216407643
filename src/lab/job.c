/* job.c: one training of a lab and its evaluation; see lab.h.
 *
 *   DIR/config.yaml recipe.yaml   what is trained
 *   DIR/model/                    the training, as `hydralm train --out` leaves it
 *   DIR/result.json               written last: the job is done
 *
 * DIR carries a hash of everything that the result depends on: of another version of the lab it is
 * another folder. */
#include "base/file.h"
#include "base/hash.h"
#include "ckpt/checkpoint.h"
#include "ckpt/json_file.h"
#include "data/task.h"
#include "lab/lab.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RESULT "result.json"

/* ---- what it depends on ---- */

static hy_status job_config(const hy__job *j, const hy__lab *lab, const hy__lab_scale *s,
                            char **text, int64_t *parameters, hy_error *err) {
    hy__sized arm;
    HY_TRY(hy__arm_config(lab, s, j->arm, &arm, err));
    arm.train.lr = s->rate[j->rate];
    arm.train.seed = j->seed;
    *parameters = arm.parameters;
    *text = hy__config_print(&arm.cfg, &arm.train);
    return *text ? HY_OK : hy__no_memory(err, "a job of the lab");
}

static void hash_text(hy__hash *h, const char *text) {
    hy__hash_add(h, text ? text : "", text ? strlen(text) + 1 : 1);
}

static void hash_all(hy__hash *h, const hy__lab_scale *s, int arm, const char *config) {
    hy__lab_hash(h, config);
    hash_text(h, hy__arm_recipe(s, arm));
    for (int i = 0; s->data[i]; i++) { /* of text what it says, wherever it lies */
        const char *slash = hy__task_is(s->data[i]) ? NULL : strrchr(s->data[i], '/');
        hash_text(h, slash ? slash + 1 : s->data[i]);
    }
    if (s->text) hy__hash_add(h, &s->text, sizeof s->text);
    for (int i = 0; s->probe[i].name; i++) {
        const hy__probe *p = &s->probe[i];
        const int64_t how[2] = {p->reading, p->k};
        hash_text(h, p->data);
        hy__hash_add(h, how, sizeof how);
    }
}

static void name_dir(hy__job *j, const hy__lab_scale *s, const hy__hash *h, const char *out) {
    char what[64];
    snprintf(what, sizeof what, "lr%g-seed%" PRId64, s->rate[j->rate], j->seed);
    hy__lab_dir(j->dir, out, s->arm[j->arm].name, what, h);
}

/* ---- its result ---- */

static double number_of(const json_t *x) {
    return json_is_number(x) ? json_number_value(x) : (double)NAN;
}

/* What a training that diverged leaves: every other rate is better. */
static void answer_nothing(hy__job *j) {
    for (int p = 0; p < HY__LAB_PROBES; p++)
        for (int m = 0; m < HY__METRICS; m++) j->answer[p].value[m] = (double)NAN;
}

static json_t *result_json(const hy__job *j, int n_probe) {
    json_t *answers = json_array();
    for (int p = 0; p < n_probe; p++) {
        const hy__answer *a = &j->answer[p];
        json_t *answer = json_pack("{s:I}", "asked", (json_int_t)a->asked);
        for (int m = 0; m < HY__METRICS; m++)
            if (isfinite(a->value[m]))
                json_object_set_new(answer, hy__metric_of[m].name, json_real(a->value[m]));
        json_array_append_new(answers, answer);
    }
    return json_pack("{s:I, s:I, s:I, s:I, s:f, s:o}", "parameters", (json_int_t)j->parameters,
                     "steps", (json_int_t)j->steps, "read", (json_int_t)j->read, "tokens",
                     (json_int_t)j->tokens, "seconds", j->seconds, "answers", answers);
}

/* One that is not there or not whole is not done. */
static void read_result(hy__job *j, const hy__lab_scale *s) {
    const int n_probe = hy__scale_probes(s);
    hy_error ignored;
    json_t *json = NULL, *answers = NULL;
    json_int_t parameters, steps, read, tokens;
    j->done = false;
    if (hy__json_read(&json, j->dir, RESULT, &ignored) != HY_OK) return;
    j->done = json_unpack(json, "{s:I, s:I, s:I, s:I, s:F, s:o}", "parameters", &parameters,
                          "steps", &steps, "read", &read, "tokens", &tokens, "seconds", &j->seconds,
                          "answers", &answers) == 0 &&
              json_array_size(answers) == (size_t)n_probe;
    for (int p = 0; p < n_probe && j->done; p++) {
        json_t *a = json_array_get(answers, (size_t)p);
        json_int_t asked;
        j->done = json_unpack(a, "{s:I}", "asked", &asked) == 0;
        if (!j->done) break;
        j->answer[p].asked = asked;
        for (int m = 0; m < HY__METRICS; m++)
            j->answer[p].value[m] = number_of(json_object_get(a, hy__metric_of[m].name));
    }
    if (j->done) {
        j->parameters = parameters;
        j->steps = steps;
        j->read = read;
        j->tokens = tokens;
    }
    json_decref(json);
}

hy_status hy__job_open(hy__job *j, const hy__lab *lab, const hy__lab_scale *s, const char *out,
                       hy_error *err) {
    char *config;
    hy__hash h;
    HY_TRY(job_config(j, lab, s, &config, &j->parameters, err));
    hash_all(&h, s, j->arm, config);
    name_dir(j, s, &h, out);
    free(config);
    read_result(j, s);
    return HY_OK;
}

/* ---- running it ---- */

/* What lies in its folder. */
typedef struct paths {
    char *config, *recipe; /* recipe NULL: none */
    char *model;
} paths;

static void paths_release(paths *p) {
    free(p->config);
    free(p->recipe);
    free(p->model);
}

static hy_status write_text(const char *dir, const char *name, const char *text, char **path,
                            hy_error *err) {
    *path = hy__path_join(dir, name);
    return *path ? hy__file_write(*path, text, strlen(text), err)
                 : hy__no_memory(err, "a job of the lab");
}

static hy_status train(hy__job *j, const hy__lab_scale *s, const paths *at, hy_train_fn go_on,
                       hy_error *err) {
    hy_train_result r = {0};
    int64_t n_data = 0;
    while (s->data[n_data]) n_data++;
    const hy_train_options opt = {.config = at->config,
                                  .curriculum = at->recipe,
                                  .data = s->data,
                                  .n_data = n_data,
                                  .out = at->model,
                                  .threads = 1,
                                  .resume = true,
                                  .on_step = go_on};
    const hy_status status = hy_train(&opt, &r, err);
    j->steps = r.steps; /* of one that diverged those before */
    j->read = r.read;
    j->tokens = r.tokens;
    j->seconds = r.seconds;
    if (status == HY_OK && r.stopped)
        return hy__fail(err, HY_E_STOPPED, "the training was stopped");
    return status;
}

static hy_status evaluate(hy__job *j, const hy__lab *lab, const hy__lab_scale *s, const char *model,
                          hy_train_fn go_on, hy_error *err) {
    hy__backend *be = NULL;
    hy__model *m = NULL;
    hy__exam *e = NULL;
    hy__sized arm;
    hy_status status;
    HY_TRY_GOTO(hy__arm_config(lab, s, j->arm, &arm, err));
    HY_TRY_GOTO(hy__backend_open(&be, "cpu", 1, err));
    HY_TRY_GOTO(hy__checkpoint_open_to_train(&m, be, model, err));
    HY_TRY_GOTO(hy__model_train(m, err));
    HY_TRY_GOTO(hy__exam_new(&e, m, s, &arm.train, go_on, err));
    for (int p = 0; s->probe[p].name; p++) {
        const int first = hy__probe_first(s, p);
        if (first < p)
            j->answer[p] = j->answer[first];
        else
            HY_TRY_GOTO(hy__exam_ask(e, &s->probe[p], &j->answer[p], err));
    }
done:
    hy__exam_free(e);
    hy__model_free(m);
    hy__backend_free(be);
    return status;
}

hy_status hy__job_run(const hy__job *job, const hy__lab *lab, const hy__lab_scale *s,
                      hy_train_fn go_on, hy_error *err) {
    hy__job j = *job;
    paths at = {.model = hy__path_join(j.dir, "model")};
    const char *stages = hy__arm_recipe(s, j.arm);
    char *text = NULL;
    hy_status status = at.model ? HY_OK : hy__no_memory(err, "a job of the lab");
    if (status != HY_OK) goto done;
    HY_TRY_GOTO(hy__dir_make(j.dir, NULL, err));
    HY_TRY_GOTO(job_config(&j, lab, s, &text, &j.parameters, err));
    HY_TRY_GOTO(write_text(j.dir, "config.yaml", text, &at.config, err));
    if (stages) HY_TRY_GOTO(write_text(j.dir, "recipe.yaml", stages, &at.recipe, err));
    HY_TRY_GOTO(hy__entries_check(s, err));
    status = train(&j, s, &at, go_on, err);
    if (status == HY_OK) status = evaluate(&j, lab, s, at.model, go_on, err);
    if (status == HY_E_DIVERGED) {
        answer_nothing(&j);
        status = HY_OK;
    }
    if (status != HY_OK) goto done;
    HY_TRY_GOTO(hy__entries_check(s, err));
    HY_TRY_GOTO(
        hy__lab_save(result_json(&j, hy__scale_probes(s)), HY__LAB_WHOLE, j.dir, RESULT, err));
done:
    if (status != HY_OK) hy__fail_in(err, status, "%.300s", j.dir);
    free(text);
    paths_release(&at);
    return status;
}
