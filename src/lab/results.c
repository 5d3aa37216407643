/* results.c: what the jobs of an experiment say together; see lab.h. */
#include "base/file.h"
#include "bench/machine.h"
#include "data/task.h"
#include "lab/lab.h"
#include "page/text.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

const hy__metric_info hy__metric_of[HY__METRICS] = {
    [HY__ACCURACY] = {"accuracy", "Share of the questions that are answered", HY__UNIT_PERCENT,
                      false},
    [HY__LOSS] = {"loss", "Loss in nats per token", HY__UNIT_PLAIN, true},
    [HY__BITS] = {"bits", "Bits per byte", HY__UNIT_PLAIN, true},
    [HY__BETA] = {"beta", "How far the gate of P is open: mean β", HY__UNIT_PLAIN, true},
    [HY__SLOTS] = {"slots", "Share of P's table that is read", HY__UNIT_PERCENT, false},
    [HY__EVENNESS] = {"evenness", "Share of P's table that would do if it were read evenly",
                      HY__UNIT_PERCENT, false},
    [HY__VIOLATION] = {"violation", "Maximal violation of the experts' balance", HY__UNIT_PLAIN,
                       true},
    [HY__DEAD] = {"dead", "Dead experts", HY__UNIT_PLAIN, true},
    [HY__INFORMATION] = {"information", "Normalised mutual information of expert and corpus",
                         HY__UNIT_PLAIN, false},
    [HY__HARM] = {"harm", "Nats per token that banning a corpus's experts costs it", HY__UNIT_PLAIN,
                  false},
    [HY__HARM_SHARE] = {"harm_share",
                        "Its own share of that harm and of another corpus's, where it is least",
                        HY__UNIT_PERCENT, false},
    [HY__EXPERT_READ] = {"expert_read", "Bytes of experts read for a token that is written",
                         HY__UNIT_BYTES, true},
    [HY__FLOPS] = {"flops", "FLOPs of a token that is read, without the output's", HY__UNIT_FLOP,
                   true},
    [HY__FUTURE] = {"future", "Nats per token that what stands behind a token tells of it",
                    HY__UNIT_PLAIN, true},
};

/* Sums of accuracies that differ by no more, for one seed, do not tell two rates apart. */
#define ALIKE 0.01

/* ---- adding up ---- */

/* The first metric's sum over the probes that were trained on; more is better. */
static double merit(const hy__job *j, const hy__lab_scale *s) {
    const hy__metric m = s->probe[0].metric;
    double sum = 0.0;
    for (int p = 0; s->probe[p].name; p++) {
        if (s->probe[p].aside || s->probe[p].metric != m) continue;
        sum += hy__metric_of[m].less ? -j->answer[p].value[m] : j->answer[p].value[m];
    }
    return sum;
}

int hy__results_best_rate(const hy__job *job, int64_t n, int arm, const hy__lab_scale *s) {
    const double alike = hy__metric_of[s->probe[0].metric].less ? 0.0 : ALIKE;
    double most = -INFINITY;
    int best = -1;
    for (int64_t i = 0; i < n; i++)
        if (job[i].arm == arm) most = fmax(most, merit(&job[i], s)); /* passes over NaN */
    for (int64_t i = 0; i < n; i++) {
        if (job[i].arm != arm || !(merit(&job[i], s) >= most - alike)) continue;
        if (best < 0 || s->rate[job[i].rate] < s->rate[best]) best = job[i].rate;
    }
    return best < 0 ? 0 : best;
}

const hy__job *hy__results_job(const hy__results *r, int arm, int64_t seed) {
    for (int64_t i = 0; i < r->n_job; i++) {
        const hy__job *j = &r->job[i];
        if (j->arm == arm && j->rate == r->best[arm] && j->seed == seed) return j;
    }
    return NULL;
}

/* Of x[n], n >= 1. Where one is not a number, nothing is: the seeds that came through would stand
 * for those that did not. */
static hy__seeds spread_of(const double *x, int64_t n) {
    hy__seeds s = {.low = INFINITY, .high = -INFINITY};
    for (int64_t i = 0; i < n; i++) {
        if (isnan(x[i])) return (hy__seeds){(double)NAN, (double)NAN, (double)NAN};
        s.mean += x[i];
        s.low = fmin(s.low, x[i]);
        s.high = fmax(s.high, x[i]);
    }
    s.mean /= (double)n;
    return s;
}

static double value_of(const hy__results *r, int arm, int64_t seed, int probe) {
    return hy__results_job(r, arm, seed)->answer[probe].value[r->scale->probe[probe].metric];
}

static hy__seeds spread(const hy__results *r, int arm, int probe) {
    double x[HY__LAB_SEEDS];
    for (int64_t i = 0; i < r->n_seed; i++) x[i] = value_of(r, arm, i + 1, probe);
    return spread_of(x, r->n_seed);
}

/* The same seed is the same text in the same order. */
hy__seeds hy__results_beside(const hy__results *r, int arm, int beside, int probe) {
    double x[HY__LAB_SEEDS];
    for (int64_t i = 0; i < r->n_seed; i++)
        x[i] = value_of(r, arm, i + 1, probe) - value_of(r, beside, i + 1, probe);
    return spread_of(x, r->n_seed);
}

static hy_status find_chance(const hy__probe *p, double *chance, hy_error *err) {
    hy__task t;
    *chance = (double)NAN;
    if (p->metric != HY__ACCURACY || !hy__task_is(p->data)) return HY_OK;
    HY_TRY(hy__task_parse(&t, p->data, err));
    *chance = hy__task_chance(&t);
    return HY_OK;
}

static hy_status place_reported(hy__results *r, hy_error *err) {
    for (int a = 0; a < r->n_arm; a++)
        for (int p = 0; p < r->n_probe; p++) r->published[a][p] = (double)NAN;
    for (const hy__reported *x = r->scale->reported; x && x->arm; x++) {
        const int a = hy__scale_arm(r->scale, x->arm);
        const int p = hy__scale_probe(r->scale, x->at, x->metric);
        if (a < 0 || p < 0)
            return hy__fail(err, HY_E_INTERNAL,
                            "lab %s: what is reported of \"%s\" at \"%s\" is of an arm or a probe "
                            "that is not there",
                            r->lab->name, x->arm, x->at);
        r->published[a][p] = x->value;
    }
    return HY_OK;
}

hy_status hy__results_init(hy__results *r, hy_error *err) {
    r->n_arm = hy__scale_arms(r->scale);
    r->n_probe = hy__scale_probes(r->scale);
    for (int p = 0; p < r->n_probe; p++) {
        HY_TRY(find_chance(&r->scale->probe[p], &r->chance[p], err));
        for (int a = 0; a < r->n_arm; a++) r->value[a][p] = spread(r, a, p);
    }
    HY_TRY(place_reported(r, err));
    return hy__verdicts_judge(r, err);
}

/* ---- results.json ---- */

static json_t *spread_json(const hy__seeds *s) {
    return json_pack("{s:o, s:o, s:o}", "mean", hy__lab_number(s->mean), "low",
                     hy__lab_number(s->low), "high", hy__lab_number(s->high));
}

static json_t *probe_json(const hy__results *r, int arm, int probe) {
    const hy__probe *p = &r->scale->probe[probe];
    json_t *seeds = json_array();
    for (int64_t seed = 1; seed <= r->n_seed; seed++)
        json_array_append_new(seeds, hy__lab_number(value_of(r, arm, seed, probe)));
    return json_pack("{s:s, s:s, s:s, s:b, s:o, s:o, s:o, s:o}", "probe", p->name, "data", p->data,
                     "metric", hy__metric_of[p->metric].name, "aside", p->aside, "chance",
                     hy__lab_number(r->chance[probe]), "published",
                     hy__lab_number(r->published[arm][probe]), "value",
                     spread_json(&r->value[arm][probe]), "seeds", seeds);
}

static json_t *arm_json(const hy__results *r, int arm) {
    json_t *probes = json_array(), *sweep = json_array();
    for (int p = 0; p < r->n_probe; p++) json_array_append_new(probes, probe_json(r, arm, p));
    for (int64_t i = 0; i < r->n_job; i++) {
        const hy__job *j = &r->job[i];
        if (j->arm != arm || j->seed != 1) continue;
        json_array_append_new(sweep, json_pack("{s:f, s:o}", "rate", r->scale->rate[j->rate],
                                               "merit", hy__lab_number(merit(j, r->scale))));
    }
    return json_pack("{s:s, s:I, s:f, s:o, s:o}", "arm", r->scale->arm[arm].name, "parameters",
                     (json_int_t)hy__results_job(r, arm, 1)->parameters, "rate",
                     r->scale->rate[r->best[arm]], "sweep", sweep, "probes", probes);
}

/* What it read; a task by its entry. */
static json_t *data_json(const hy__lab_scale *s) {
    json_t *all = json_array();
    for (int i = 0; s->data[i]; i++) json_array_append_new(all, json_string(s->data[i]));
    return all;
}

static hy_status save_json(const hy__results *r, const char *out, hy_error *err) {
    json_t *arms = json_array();
    char text[24] = "";
    for (int a = 0; a < r->n_arm; a++) json_array_append_new(arms, arm_json(r, a));
    if (r->scale->text) snprintf(text, sizeof text, "%016" PRIx64, r->scale->text);
    json_t *all = json_pack(
        "{s:s, s:s, s:s, s:I, s:o, s:s, s:s, s:s, s:o, s:s, s:o, s:o}", "lab", r->lab->name,
        "scale", r->opt->full ? "full" : "quick", "question", r->lab->question, "seeds",
        (json_int_t)r->n_seed, "set", hy__lab_set_json(r->opt), "published", r->lab->published,
        "version", HY_VERSION, "commit", hy__machine_describe().commit, "data", data_json(r->scale),
        "text", text, "arms", arms, "verdicts", hy__verdicts_json(r->verdict, r->n_verdict));
    return hy__lab_save(all, HY__LAB_DIGITS, out, "results.json", err);
}

/* ---- results.csv: a line for each metric of each answer of each job ---- */

/* Of the probes that share p's answer the one whose line a metric has: the first that asks for it,
 * or where none does the first of all. */
static int line_of(const hy__lab_scale *s, int p, hy__metric m) {
    const int first = hy__probe_first(s, p);
    for (int i = first; s->probe[i].name; i++)
        if (s->probe[i].metric == m && hy__probe_first(s, i) == first) return i;
    return first;
}

static void put_job(hy__text *t, const hy__results *r, const hy__job *j) {
    for (int p = 0; p < r->n_probe; p++) {
        const hy__probe *probe = &r->scale->probe[p];
        for (hy__metric m = 0; m < HY__METRICS; m++) {
            const bool own = m == probe->metric; /* a line also where there is no value */
            if (line_of(r->scale, p, m) != p || (!own && !isfinite(j->answer[p].value[m])))
                continue;
            hy__text_add(t,
                         "%s,%s,\"%s\",%" PRId64 ",%g,%d,%" PRId64 ",%" PRId64 ",%" PRId64
                         ",%" PRId64 ",%.1f,\"%s\",%d,%" PRId64 ",%s",
                         r->lab->name, r->opt->full ? "full" : "quick", r->scale->arm[j->arm].name,
                         j->parameters, r->scale->rate[j->rate], j->rate == r->best[j->arm],
                         j->seed, j->steps, j->read, j->tokens, j->seconds, probe->name,
                         probe->aside, j->answer[p].asked, hy__metric_of[m].name);
            hy__lab_put_number(t, 5, j->answer[p].value[m]);
            hy__lab_put_number(t, 5, own ? r->chance[p] : (double)NAN);
            hy__lab_put_number(t, 5, own ? r->published[j->arm][p] : (double)NAN);
            hy__text_put(t, "\n");
        }
    }
}

static hy_status save_csv(const hy__results *r, const char *path, hy_error *err) {
    hy__text t = {0};
    hy__text_put(&t, "lab,scale,arm,parameters,rate,chosen,seed,steps,read,tokens,seconds,probe,"
                     "aside,asked,metric,value,chance,published\n");
    for (int64_t i = 0; i < r->n_job; i++) put_job(&t, r, &r->job[i]);
    const hy_status status = hy__text_save(&t, path, err);
    hy__text_release(&t);
    return status;
}

hy_status hy__results_write(const hy__results *r, const char *out, hy_error *err) {
    char *csv = hy__path_join(out, "results.csv");
    hy_status status = csv ? HY_OK : hy__no_memory(err, "a path");
    if (status == HY_OK) status = save_json(r, out, err);
    if (status == HY_OK) status = save_csv(r, csv, err);
    free(csv);
    return status;
}
