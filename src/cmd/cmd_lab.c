/* cmd_lab.c: hydralm lab: experiments, each as a page with a verdict.
 *
 * SIGINT and SIGTERM let the running steps end and be saved; the same command then goes on. */
#include "cmd/cmd.h"

#include "base/file.h"
#include "base/progress.h"
#include "base/status.h"
#include "ckpt/json_file.h"
#include "lab/lab.h"
#include "page/page.h"

#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static volatile sig_atomic_t stopped;

static void on_signal(int number) {
    (void)number;
    stopped = 1;
}

static bool stop(void *user) {
    (void)user;
    return stopped;
}

typedef struct watcher {
    hy__progress_bar bar;
    const char *name;
} watcher;

static void on_progress(void *user, int64_t done, int64_t of, const char *now) {
    watcher *w = user;
    hy__progress_bar_show(&w->bar, (double)done / (double)of, "%s: %lld of %lld runs  %s", w->name,
                          (long long)done, (long long)of, now);
}

static hy_status run_one(const hy__lab *lab, hy__lab_options *opt, const char *out, bool quiet,
                         hy_error *err) {
    watcher w = {.name = lab->name};
    char *dir = hy__path_join(out, lab->name);
    if (!dir) return hy__fail(err, HY_E_MEMORY, "there is not enough memory for a path");
    hy__progress_bar_init(&w.bar, quiet ? NULL : stderr);
    opt->out = dir;
    opt->on_progress = on_progress;
    opt->user = &w;
    const hy_status status = hy__lab_run(lab, opt, err);
    hy__progress_bar_clear(&w.bar);
    if (status == HY_OK && !quiet) fprintf(stderr, "%s/index.html\n", dir);
    free(dir);
    return status;
}

/* How many goals of an experiment were met, of how many, as its last results in out say; false
 * where there are none. */
static bool read_verdicts(const char *out, const char *name, int *met, int *of) {
    char *dir = hy__path_join(out, name);
    json_t *json = NULL, *verdict;
    hy_error ignored;
    size_t i;
    const bool is = dir && hy__json_read(&json, dir, "results.json", &ignored) == HY_OK;
    *met = *of = 0;
    json_array_foreach(json_object_get(json, "verdicts"), i, verdict) {
        *met += json_is_true(json_object_get(verdict, "met"));
        *of += 1;
    }
    json_decref(json);
    free(dir);
    return is;
}

/* A page that leads to those of all. */
static hy_status write_index(const char *out, hy_error *err) {
    char *path = hy__path_join(out, "index.html");
    hy__page p = {0};
    if (!path) return hy__fail(err, HY_E_MEMORY, "there is not enough memory for a path");
    hy__page_begin(&p, "Lab");
    hy__page_table(
        &p, (const hy__column[]){{"experiment", 0}, {"question", 0}, {"goals that are met", 0}}, 3);
    for (int i = 0; hy__labs[i]; i++) {
        char href[64];
        int met, of;
        snprintf(href, sizeof href, "%s/index.html", hy__labs[i]->name);
        if (read_verdicts(out, hy__labs[i]->name, &met, &of)) {
            hy__page_cell_link(&p, href, "%s", hy__labs[i]->name);
            hy__page_cell(&p, "%s", hy__labs[i]->question);
            hy__page_cell(&p, "%d of %d", met, of);
        } else {
            hy__page_cell(&p, "%s", hy__labs[i]->name);
            hy__page_cell(&p, "%s", hy__labs[i]->question);
            hy__page_cell(&p, "not finished");
        }
    }
    hy__page_table_end(&p);
    const hy_status status = hy__page_save(&p, path, err);
    hy__page_release(&p);
    free(path);
    return status;
}

/* One that fails does not keep the others from being run; where the first does, it is likely the
 * command that is wrong. */
static hy_status run_all(hy__lab_options *opt, const char *out, bool quiet, hy_error *err) {
    hy_error first = {0}, page;
    for (int i = 0; hy__labs[i]; i++) {
        const hy_status status = run_one(hy__labs[i], opt, out, quiet, err);
        if (status == HY_OK) continue;
        if (status == HY_E_STOPPED || i == 0) return status;
        if (first.status == HY_OK) first = *err;
        fprintf(stderr, "%s: %s\n", hy__labs[i]->name, err->text);
    }
    const hy_status status = write_index(out, &page);
    if (first.status == HY_OK && status != HY_OK) first = page;
    if (first.status != HY_OK) *err = first;
    return first.status;
}

static hy_status run(const char *name, bool all, hy__lab_options *opt, const char *out, bool quiet,
                     hy_error *err) {
    const hy__lab *lab;
    struct sigaction action;
    if (all == (name != NULL))
        return hy__fail(err, HY_E_INVALID, "wanted the name of an experiment, or --all");
    if (!*out) return hy__fail(err, HY_E_INVALID, "--out is empty, wanted a folder");
    if (!all) HY_TRY(hy__lab_find(&lab, name, err));
    if (!all && opt->n_text > 0 && !hy__lab_reads_text(lab))
        return hy__fail(err, HY_E_INVALID, "lab %s makes its own data; wanted no --text", name);
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART | (int)SA_RESETHAND; /* a second one ends at once */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGCHLD, SIG_DFL); /* who starts this may ignore it: no run would be seen to end */
    opt->stop = stop;
    if (!all) return run_one(lab, opt, out, quiet, err);
    return run_all(opt, out, quiet, err);
}

int cmd_lab(int argc, char **argv) {
    hy__lab_options opt = {.seeds = 3};
    const char *name = NULL, *out = NULL;
    text_list set = {0}, text = {0};
    bool quick = false, all = false, quiet = false;
    char names[1024] = "Experiments:\n";
    /* clang-format off */
    option table[] = {
        {.name = "out", .kind = OPTION_TEXT, .to = &out, .value = "DIR", .required = true, .doc = "folder for the trainings, results and pages; each experiment has its own in it"},
        {.name = "quick", .kind = OPTION_FLAG, .to = &quick, .doc = "within 15 minutes on two cores (this is what happens anyway)"},
        {.name = "full", .kind = OPTION_FLAG, .to = &opt.full, .doc = "within 8 hours"},
        {.name = "all", .kind = OPTION_FLAG, .to = &all, .doc = "all experiments, and a page that leads to them"},
        {.name = "seeds", .kind = OPTION_INT, .to = &opt.seeds, .value = "N", .min = 1, .max = HY__LAB_SEEDS, .doc = "trainings of each arm at its best rate"},
        {.name = "set", .kind = OPTION_EACH, .to = &set, .value = "KEY=VALUE", .doc = "change a field of every arm's configuration, one that no arm sets itself, as train.steps=10000"},
        {.name = "text", .kind = OPTION_MANY, .to = &text, .value = "PATH...", .doc = "files and folders of text, for the experiments that read one; otherwise the project's own sources and docs"},
        {.name = "jobs", .kind = OPTION_INT, .to = &opt.jobs, .value = "N", .max = 64, .doc = "trainings at a time, each on one thread; 0 = one for each core"},
        {.name = "quiet", .letter = 'q', .kind = OPTION_FLAG, .to = &quiet, .doc = "nothing on stderr but errors"},
    };
    /* clang-format on */
    for (int i = 0; hy__labs[i]; i++)
        snprintf(names + strlen(names), sizeof names - strlen(names), "  %-10s %s\n",
                 hy__labs[i]->name, hy__labs[i]->question);
    snprintf(names + strlen(names), sizeof names - strlen(names),
             "What is done is never done again: the same command goes on where it was.");
    const command self = {.name = "lab",
                          .operand = "NAME",
                          .operand_optional = true,
                          .brief = "put the blueprint's claims to tests that can fail",
                          .detail = names,
                          .option = table,
                          .n_option = sizeof table / sizeof *table};
    hy_error err = {0};
    int exit_status;
    if (!cmd_begin(&self, argc, argv, &name, &exit_status)) return exit_status;
    hy_status status = HY_OK;
    opt.set = set.item;
    opt.n_set = set.n;
    opt.text = text.item;
    opt.n_text = text.n;
    if (quick && opt.full)
        status = hy__fail(&err, HY_E_INVALID, "wanted --quick or --full, not both");
    if (status == HY_OK) status = run(name, all, &opt, out, quiet, &err);
    return cmd_end(&self, status, &err);
}
