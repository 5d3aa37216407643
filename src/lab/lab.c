/* lab.c: the experiments that there are, and how one is run; see lab.h. */
#include "lab/lab.h"

#include "base/file.h"
#include "base/words.h"
#include "config/recipe.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const hy__lab *const hy__labs[HY__LABS + 1] = {
    &hy__lab_crossover, &hy__lab_logic,   &hy__lab_hops,   &hy__lab_recall,
    &hy__lab_needle,    &hy__lab_facts,   &hy__lab_ablate, &hy__lab_curriculum,
    &hy__lab_stretch,   &hy__lab_experts, &hy__lab_leak,   NULL};

hy_status hy__lab_find(const hy__lab **out, const char *name, hy_error *err) {
    char known[300] = "";
    for (int i = 0; hy__labs[i]; i++) {
        *out = hy__labs[i];
        if (strcmp(hy__labs[i]->name, name) == 0) return HY_OK;
        hy__words_add(known, sizeof known, ", ", hy__labs[i]->name);
    }
    *out = NULL;
    return hy__fail(err, HY_E_INVALID, "there is no experiment \"%.100s\"; there are %s", name,
                    known);
}

/* The jobs of one experiment: the sweep of every arm, then the other seeds of every arm. */
typedef struct plan {
    const hy__lab *lab;
    const hy__lab_scale *scale; /* with the changes that the options make */
    const hy__lab_options *opt;
    hy__job *job;
    int64_t n_sweep, n;
    int best[HY__LAB_ARMS];
} plan;

/* Whether there is as much text as is asked for at the end. */
static hy_status check_enough(const hy__lab *lab, const hy__lab_scale *s, hy_error *err) {
    hy__sized first;
    HY_TRY(hy__arm_config(lab, s, 0, &first, err));
    return hy__exam_check(s, &first.train, err);
}

static hy_status plan_sweep(plan *p, hy_error *err) {
    const int n_arm = hy__scale_arms(p->scale), n_rate = hy__scale_rates(p->scale);
    p->n_sweep = (int64_t)n_arm * n_rate;
    p->n = p->n_sweep + n_arm * (p->opt->seeds - 1);
    p->job = calloc((size_t)p->n, sizeof *p->job);
    if (!p->job) return hy__no_memory(err, "a lab");
    for (int64_t i = 0; i < p->n_sweep; i++) {
        p->job[i] = (hy__job){.arm = (int)(i / n_rate), .rate = (int)(i % n_rate), .seed = 1};
        HY_TRY(hy__job_open(&p->job[i], p->lab, p->scale, p->opt->out, err));
    }
    return HY_OK;
}

static hy_status plan_seeds(plan *p, hy_error *err) {
    hy__job *j = p->job + p->n_sweep;
    for (int arm = 0; arm < hy__scale_arms(p->scale); arm++) {
        p->best[arm] = hy__results_best_rate(p->job, p->n_sweep, arm, p->scale);
        for (int64_t seed = 2; seed <= p->opt->seeds; seed++, j++) {
            *j = (hy__job){.arm = arm, .rate = p->best[arm], .seed = seed};
            HY_TRY(hy__job_open(j, p->lab, p->scale, p->opt->out, err));
        }
    }
    return HY_OK;
}

static hy_status run_job(void *user, int64_t i, hy_train_fn go_on, hy_error *err) {
    const plan *p = user;
    return hy__job_run(&p->job[i], p->lab, p->scale, go_on, err);
}

static void name_job(const void *user, int64_t i, char *out, size_t size) {
    const plan *p = user;
    const hy__job *j = &p->job[i];
    snprintf(out, size, "%.60s, rate %g, seed %lld", p->scale->arm[j->arm].name,
             p->scale->rate[j->rate], (long long)j->seed);
}

/* Runs those of the first n_run jobs that are not done, one for each core at a time: a small model
 * gains nothing from a second thread. Then reads what they left. */
static hy_status run_jobs(plan *p, int64_t n_run, hy_error *err) {
    bool *done = calloc((size_t)p->n, sizeof *done);
    if (!done) return hy__no_memory(err, "a lab");
    for (int64_t i = 0; i < n_run; i++) done[i] = p->job[i].done;
    const hy__chores chores = {.lab = p->lab->name,
                               .n = n_run,
                               .total = p->n,
                               .done = done,
                               .run = run_job,
                               .name = name_job,
                               .user = p};
    const int64_t most = p->opt->jobs > 0 ? p->opt->jobs : omp_get_num_procs();
    const hy_status status = hy__pool_run(&chores, most, p->opt, err);
    free(done);
    HY_TRY(status);
    for (int64_t i = 0; i < n_run; i++) {
        if (p->job[i].done) continue;
        HY_TRY(hy__job_open(&p->job[i], p->lab, p->scale, p->opt->out, err));
        if (!p->job[i].done)
            return hy__fail(err, HY_E_IO, "the result in %.400s is gone", p->job[i].dir);
    }
    return HY_OK;
}

static hy_status report(const plan *p, hy_error *err) {
    hy__results *r = calloc(1, sizeof *r);
    if (!r) return hy__no_memory(err, "results");
    r->lab = p->lab;
    r->scale = p->scale;
    r->opt = p->opt;
    r->n_seed = p->opt->seeds;
    r->job = p->job;
    r->n_job = p->n;
    memcpy(r->best, p->best, sizeof r->best);
    hy_status status = hy__results_init(r, err);
    if (status == HY_OK) status = hy__results_write(r, p->opt->out, err);
    if (status == HY_OK) status = hy__results_page(r, p->opt->out, err);
    free(r);
    return status;
}

/* Whether "section.key=value" is about that field. */
static bool is_of(const char *set, const char *field) {
    const size_t n = strcspn(field, "=");
    return strncmp(set, field, n) == 0 && set[n] == '=';
}

/* Of an experiment that trains nothing: whether it depends on a field. */
static bool is_measured(const hy__lab *lab, const char *set) {
    bool found = strncmp(set, "train.", strlen("train.")) != 0;
    for (size_t i = 0; i < sizeof lab->train / sizeof *lab->train && lab->train[i]; i++)
        found = found || is_of(set, lab->train[i]);
    return found;
}

/* What is no field, and what would be accepted and change nothing. */
static hy_status check_set(const hy__lab *lab, const hy__lab_scale *s, const char *set,
                           hy_error *err) {
    hy__config c;
    hy__train_config t;
    hy__config_default(&c, &t);
    HY_TRY(hy__config_assign(&c, &t, set, err));
    if (lab->run && !is_measured(lab, set))
        return hy__fail(err, HY_E_INVALID,
                        "--set %.100s changes nothing: what %s measures does not depend on it", set,
                        lab->name);
    if (is_of(set, "train.lr") || is_of(set, "train.seed"))
        return hy__fail(err, HY_E_INVALID,
                        "--set %.100s changes nothing: every training has the rate and the seed "
                        "that the sweep gives it",
                        set);
    for (int a = 0; s->arm[a].name; a++)
        if (is_of(set, "train.steps") && hy__arm_recipe(s, a))
            return hy__fail(err, HY_E_INVALID,
                            "--set %.100s changes nothing for arm \"%s\": its stages say how long "
                            "it is trained",
                            set, s->arm[a].name);
    for (int a = 0; s->arm[a].name; a++)
        for (int i = 0; i < HY__LAB_SETS && s->arm[a].set[i]; i++)
            if (is_of(set, s->arm[a].set[i]))
                return hy__fail(err, HY_E_INVALID,
                                "--set %.100s does not reach arm \"%s\", which has %s; wanted a "
                                "field that no arm sets",
                                set, s->arm[a].name, s->arm[a].set[i]);
    return HY_OK;
}

/* A field that brings an arm to size has another value only where the size is another. */
static hy_status check_fit(const hy__lab *lab, const hy__lab_scale *s, int arm,
                           const hy__lab_options *opt, hy_error *err) {
    const char *field = s->arm[arm].fit;
    for (int64_t i = 0; field && i < opt->n_set; i++)
        if (is_of(opt->set[i], field) && !hy__arm_follows(lab, s, arm))
            return hy__fail(
                err, HY_E_INVALID,
                "--set %.100s does not reach arm \"%s\", whose %s brings it to the size "
                "of \"%s\", which does not depend on it",
                opt->set[i], s->arm[arm].name, field, s->arm[0].name);
    return HY_OK;
}

/* Whether an arm can be made as the fields now are, and its stages leave something of them. */
static hy_status check_arm(const hy__lab *lab, const hy__lab_scale *s, int arm,
                           const hy__lab_options *opt, hy_error *err) {
    const char *stages = hy__arm_recipe(s, arm);
    hy__sized a;
    hy__recipe r;
    hy_status status = HY_OK;
    HY_TRY(hy__arm_config(lab, s, arm, &a, err));
    HY_TRY(check_fit(lab, s, arm, opt, err));
    if (!stages) return HY_OK;
    HY_TRY(hy__recipe_parse(&r, stages, strlen(stages), lab->name, &a.cfg, &a.train, err));
    for (int64_t i = 0; i < opt->n_set && status == HY_OK; i++)
        if (hy__recipe_sets(&r, opt->set[i]))
            status = hy__fail(err, HY_E_INVALID,
                              "--set %.100s does not reach arm \"%s\", whose stages all have a "
                              "value for it; wanted a field that they leave",
                              opt->set[i], s->arm[arm].name);
    hy__recipe_release(&r);
    return status;
}

hy_status hy__scale_change(const hy__lab *lab, hy__lab_scale *s, const hy__lab_options *opt,
                           hy_error *err) {
    int n = 0;
    while (n < HY__LAB_SETS && s->set[n]) n++;
    if (opt->n_set > HY__LAB_SETS - n) {
        return hy__fail(err, HY_E_INVALID, "%lld fields are to be changed, wanted at most %d",
                        (long long)opt->n_set, HY__LAB_SETS - n);
    }
    for (int64_t i = 0; i < opt->n_set; i++) {
        HY_TRY(check_set(lab, s, opt->set[i], err));
        s->set[n++] = opt->set[i];
    }
    for (int a = 0; opt->n_set > 0 && s->arm[a].name; a++) HY_TRY(check_arm(lab, s, a, opt, err));
    return HY_OK;
}

hy_status hy__lab_check(const hy__lab *lab, const hy__lab_options *opt, hy_error *err) {
    hy__lab_scale scale = opt->full ? lab->full : lab->quick;
    hy__entries entries;
    HY_TRY(hy__scale_change(lab, &scale, opt, err));
    if (lab->run) return HY_OK;
    HY_TRY(hy__entries_open(&entries, &scale, lab->name, opt, err));
    const hy_status status = check_enough(lab, &scale, err);
    hy__entries_release(&entries);
    return status;
}

static hy_status train_arms(const hy__lab *lab, const hy__lab_options *opt, hy_error *err) {
    hy__lab_scale scale = opt->full ? lab->full : lab->quick;
    plan p = {.lab = lab, .scale = &scale, .opt = opt};
    hy__entries entries = {0};
    int lock = -1;
    hy_status status;
    HY_TRY_GOTO(hy__scale_change(lab, &scale, opt, err));
    HY_TRY_GOTO(hy__entries_open(&entries, &scale, lab->name, opt, err));
    HY_TRY_GOTO(check_enough(lab, &scale, err));
    HY_TRY_GOTO(hy__lab_lock(&lock, opt->out, err));
    HY_TRY_GOTO(plan_sweep(&p, err));
    HY_TRY_GOTO(run_jobs(&p, p.n_sweep, err));
    HY_TRY_GOTO(plan_seeds(&p, err));
    HY_TRY_GOTO(run_jobs(&p, p.n, err));
    HY_TRY_GOTO(report(&p, err));
done:
    hy__lab_unlock(lock);
    hy__entries_release(&entries);
    free(p.job);
    return status;
}

void hy__lab_folder(char out[HY__LAB_FOLDER], const hy__lab *lab, const hy__lab_options *opt) {
    snprintf(out, HY__LAB_FOLDER, "%s%s", lab->name, opt->full ? "-full" : "");
}

hy_status hy__lab_run(const hy__lab *lab, const hy__lab_options *opt, hy_error *err) {
    hy__lab_options own = *opt;
    char folder[HY__LAB_FOLDER];
    hy__lab_folder(folder, lab, opt);
    char *dir = hy__path_join(opt->out, folder);
    hy_status status = HY_OK;
    if (!dir) return hy__no_memory(err, "a path");
    own.out = dir;
    if (strlen(dir) > HY__LAB_OUT)
        status = hy__fail(err, HY_E_INVALID,
                          "the path of the folder %.60s… has %zu bytes, wanted at most %d", dir,
                          strlen(dir), HY__LAB_OUT);
    if (status == HY_OK) status = (lab->run ? lab->run : train_arms)(lab, &own, err);
    free(dir);
    return status;
}
