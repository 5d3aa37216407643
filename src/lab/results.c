/* results.c: what the jobs of an experiment say together; see lab.h. */
#include "base/file.h"
#include "data/task.h"
#include "lab/lab.h"
#include "page/text.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* ---- adding up ---- */

/* Of the probes that it was trained on: accuracy, and where that is the same the loss. */
static void merit(const hy__job *j, const hy__lab_scale *s, double *accuracy, double *loss) {
    *accuracy = *loss = 0.0;
    for (int p = 0; s->probe[p].name; p++) {
        if (s->probe[p].unseen) continue;
        *accuracy += j->answer[p].accuracy;
        *loss += j->answer[p].loss;
    }
}

int hy__results_best_rate(const hy__job *job, int64_t n, int arm, const hy__lab_scale *s) {
    double best_accuracy = -1.0, best_loss = INFINITY;
    int best = 0;
    for (int64_t i = 0; i < n; i++) {
        double accuracy, loss;
        if (job[i].arm != arm) continue;
        merit(&job[i], s, &accuracy, &loss);
        if (accuracy < best_accuracy || (accuracy == best_accuracy && loss >= best_loss)) continue;
        best_accuracy = accuracy;
        best_loss = loss;
        best = job[i].rate;
    }
    return best;
}

const hy__job *hy__results_job(const hy__results *r, int arm, int64_t seed) {
    for (int64_t i = 0; i < r->n_job; i++) {
        const hy__job *j = &r->job[i];
        if (j->arm == arm && j->rate == r->best[arm] && j->seed == seed) return j;
    }
    return NULL;
}

static double answer_part(const hy__answer *a, int part) {
    return part == 0 ? a->accuracy : part == 1 ? a->beta : a->slots;
}

static hy__seeds spread(const hy__results *r, int arm, int probe, int part) {
    hy__seeds s = {.low = INFINITY, .high = -INFINITY};
    for (int64_t seed = 1; seed <= r->n_seed; seed++) {
        const double x = answer_part(&hy__results_job(r, arm, seed)->answer[probe], part);
        s.mean += x / (double)r->n_seed;
        s.low = fmin(s.low, x);
        s.high = fmax(s.high, x);
    }
    return s;
}

/* What an arm must be above to be ahead at a probe: chance, and every seed of another arm. */
static double best_other(const hy__results *r, int arm, int probe) {
    double best = r->chance[probe];
    for (int a = 0; a < r->n_arm; a++)
        if (a != arm) best = fmax(best, r->accuracy[a][probe].high);
    return best;
}

static void judge(hy__results *r, const hy__goal *g) {
    const int n = r->n_verdict++;
    r->verdict[n].goal = g;
    r->verdict[n].met = true;
    r->verdict[n].got = INFINITY;
    for (int p = g->from; p <= g->to; p++) {
        const hy__seeds *s = &r->accuracy[g->arm][p];
        const double beside = best_other(r, g->arm, p), got = g->ahead ? s->low : s->mean;
        r->verdict[n].met = r->verdict[n].met && (g->ahead ? got > beside : got >= g->at_least);
        if (got >= r->verdict[n].got) continue;
        r->verdict[n].got = got;
        r->verdict[n].beside = beside;
    }
}

hy_status hy__results_init(hy__results *r, hy_error *err) {
    r->n_arm = hy__scale_arms(r->scale);
    r->n_probe = hy__scale_probes(r->scale);
    for (int p = 0; p < r->n_probe; p++) {
        hy__task t;
        HY_TRY(hy__task_parse(&t, r->scale->probe[p].task, err));
        r->chance[p] = hy__task_chance(&t);
        for (int a = 0; a < r->n_arm; a++) {
            r->accuracy[a][p] = spread(r, a, p, 0);
            r->beta[a][p] = spread(r, a, p, 1);
            r->slots[a][p] = spread(r, a, p, 2);
        }
    }
    for (const hy__goal *g = r->lab->goal[r->opt->full]; g->text; g++) judge(r, g);
    return HY_OK;
}

/* ---- results.json ---- */

static json_t *number(double x) {
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *spread_json(const hy__seeds *s) {
    return json_pack("{s:o, s:o, s:o}", "mean", number(s->mean), "low", number(s->low), "high",
                     number(s->high));
}

static json_t *probe_json(const hy__results *r, int arm, int probe) {
    json_t *seeds = json_array();
    for (int64_t seed = 1; seed <= r->n_seed; seed++)
        json_array_append_new(seeds, number(hy__results_job(r, arm, seed)->answer[probe].accuracy));
    const hy__probe *p = &r->scale->probe[probe];
    json_t *j = json_pack("{s:s, s:s, s:b, s:f, s:o, s:o}", "probe", p->name, "task", p->task,
                          "unseen", p->unseen, "chance", r->chance[probe], "accuracy",
                          spread_json(&r->accuracy[arm][probe]), "seeds", seeds);
    if (isfinite(r->beta[arm][probe].mean)) {
        json_object_set_new(j, "beta", spread_json(&r->beta[arm][probe]));
        json_object_set_new(j, "slots", spread_json(&r->slots[arm][probe]));
    }
    return j;
}

static json_t *arm_json(const hy__results *r, int arm) {
    json_t *probes = json_array(), *sweep = json_array();
    for (int p = 0; p < r->n_probe; p++) json_array_append_new(probes, probe_json(r, arm, p));
    for (int64_t i = 0; i < r->n_job; i++) {
        const hy__job *j = &r->job[i];
        double accuracy, loss;
        if (j->arm != arm || j->seed != 1) continue;
        merit(j, r->scale, &accuracy, &loss);
        json_array_append_new(sweep,
                              json_pack("{s:f, s:f, s:f}", "rate", r->scale->rate[j->rate],
                                        "sum_of_accuracies", accuracy, "sum_of_losses", loss));
    }
    return json_pack("{s:s, s:I, s:f, s:o, s:o}", "arm", r->scale->arm[arm].name, "parameters",
                     (json_int_t)hy__results_job(r, arm, 1)->parameters, "rate",
                     r->scale->rate[r->best[arm]], "sweep", sweep, "probes", probes);
}

static json_t *verdicts_json(const hy__results *r) {
    json_t *all = json_array();
    for (int i = 0; i < r->n_verdict; i++) {
        const hy__goal *g = r->verdict[i].goal;
        json_array_append_new(all, json_pack("{s:s, s:f, s:f, s:b}", "goal", g->text, "got",
                                             r->verdict[i].got, "wanted",
                                             g->ahead ? r->verdict[i].beside : g->at_least, "met",
                                             r->verdict[i].met));
    }
    return all;
}

static hy_status save_json(const hy__results *r, const char *path, hy_error *err) {
    json_t *arms = json_array();
    for (int a = 0; a < r->n_arm; a++) json_array_append_new(arms, arm_json(r, a));
    json_t *all = json_pack("{s:s, s:s, s:s, s:I, s:s, s:s, s:o, s:o}", "lab", r->lab->name,
                            "scale", r->opt->full ? "full" : "quick", "question", r->lab->question,
                            "seeds", (json_int_t)r->n_seed, "published", r->lab->published,
                            "version", HY_VERSION, "arms", arms, "verdicts", verdicts_json(r));
    char *text = all ? json_dumps(all, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) : NULL;
    const hy_status status =
        text ? hy__file_write(path, text, strlen(text), err)
             : hy__fail(err, HY_E_MEMORY, "there is not enough memory for the results");
    json_decref(all);
    free(text);
    return status;
}

/* ---- results.csv: a line for each answer of each job ---- */

static hy_status save_csv(const hy__results *r, const char *path, hy_error *err) {
    hy__text t = {0};
    hy__text_put(
        &t, "lab,scale,arm,parameters,rate,chosen,seed,steps,tokens,seconds,probe,unseen,chance,"
            "accuracy,loss,asked,beta,slots\n");
    for (int64_t i = 0; i < r->n_job; i++) {
        const hy__job *j = &r->job[i];
        for (int p = 0; p < r->n_probe; p++) {
            const hy__answer *a = &j->answer[p];
            hy__text_add(&t,
                         "%s,%s,\"%s\",%" PRId64 ",%g,%d,%" PRId64 ",%" PRId64 ",%" PRId64
                         ",%.1f,\"%s\",%d,%.4f,%.4f,%.4f,%" PRId64,
                         r->lab->name, r->opt->full ? "full" : "quick", r->scale->arm[j->arm].name,
                         j->parameters, r->scale->rate[j->rate], j->rate == r->best[j->arm],
                         j->seed, j->steps, j->tokens, j->seconds, r->scale->probe[p].name,
                         r->scale->probe[p].unseen, r->chance[p], a->accuracy, a->loss, a->asked);
            if (isfinite(a->beta))
                hy__text_add(&t, ",%.4f,%.4f\n", a->beta, a->slots);
            else
                hy__text_put(&t, ",,\n");
        }
    }
    const hy_status status = hy__text_save(&t, path, err);
    hy__text_release(&t);
    return status;
}

hy_status hy__results_write(const hy__results *r, const char *out, hy_error *err) {
    char *json = hy__path_join(out, "results.json"), *csv = hy__path_join(out, "results.csv");
    hy_status status =
        json && csv ? HY_OK : hy__fail(err, HY_E_MEMORY, "there is not enough memory for a path");
    if (status == HY_OK) status = save_json(r, json, err);
    if (status == HY_OK) status = save_csv(r, csv, err);
    free(json);
    free(csv);
    return status;
}
