/* cmd_lab.c: hydralm lab: experiments, each as a page with a verdict.
 *
 * SIGINT and SIGTERM let the running steps end and be saved; the same command then goes on. */
#include "cmd/cmd.h"

#include "base/progress.h"
#include "base/status.h"
#include "lab/lab.h"

#include <string.h>

static bool stop(void *user) {
    (void)user;
    return cmd_stopped();
}

typedef struct watcher {
    hy__progress_bar bar;
    const hy__lab_options *opt;
    bool quiet;
} watcher;

static void on_progress(void *user, const char *lab, int64_t done, int64_t of, const char *now) {
    watcher *w = user;
    hy__progress_bar_show(&w->bar, (double)done / (double)of, "%s: %lld of %lld runs  %s", lab,
                          (long long)done, (long long)of, now);
}

static void on_end(void *user, const hy__lab *lab, const hy_error *err) {
    watcher *w = user;
    char folder[HY__LAB_FOLDER];
    hy__progress_bar_clear(&w->bar);
    hy__lab_folder(folder, lab, w->opt);
    if (err->status == HY_OK && !w->quiet)
        fprintf(stderr, "%s/%s/index.html\n", w->opt->out, folder);
    if (err->status != HY_OK && err->status != HY_E_STOPPED)
        fprintf(stderr, "%s: %s\n", lab->name, err->text);
}

/* What is wrong with the command itself. *lab stays as it is with --all. */
static hy_status check_usage(const char *name, bool all, const hy__lab_options *opt,
                             const hy__lab **lab, hy_error *err) {
    if (!name && !all) return hy__fail(err, HY_E_INVALID, "lab wants NAME or --all");
    if (name && all) return hy__fail(err, HY_E_INVALID, "lab wants NAME or --all, not both");
    if (all) return HY_OK;
    HY_TRY(hy__lab_find(lab, name, err));
    return hy__lab_check_text(*lab, opt, err);
}

/* What is said to an experiment that trains nothing, and changes nothing. */
static hy_status check_trainings(const command *c, const hy__lab *lab, hy_error *err) {
    static const char *const OF_TRAININGS[] = {"seeds", "jobs"};
    for (int i = 0; i < 2 && lab && lab->run; i++)
        if (options_given(c, OF_TRAININGS[i]))
            return hy__fail(err, HY_E_INVALID,
                            "--%s changes nothing: lab %s trains nothing, and measures one thing "
                            "at a time; wanted no --%s",
                            OF_TRAININGS[i], lab->name, OF_TRAININGS[i]);
    return HY_OK;
}

/* lab: NULL for all. */
static hy_status run(const hy__lab *lab, hy__lab_options *opt, bool quiet, hy_error *err) {
    watcher w = {.opt = opt, .quiet = quiet};
    hy_error how = {0};
    hy__progress_bar_init(&w.bar, quiet ? NULL : stderr);
    opt->on_progress = on_progress;
    opt->on_end = on_end;
    opt->stop = stop;
    opt->user = &w;
    cmd_catch_signals();
    if (!lab) return hy__lab_run_all(hy__labs, opt, err);
    const hy_status status = hy__lab_run(lab, opt, err);
    if (status == HY_OK) on_end(&w, lab, &how);
    hy__progress_bar_clear(&w.bar);
    return status;
}

int cmd_lab(int argc, char **argv) {
    hy__lab_options opt = {.seeds = 3};
    const char *name = NULL;
    text_list set = {0}, text = {0};
    bool quick = false, all = false, quiet = false;
    char names[1024] = "Experiments:\n";
    /* clang-format off */
    option table[] = {
        {.name = "out", .kind = OPTION_PATH, .to = &opt.out, .value = "DIR", .required = true, .doc = "folder for the trainings, results and pages; each experiment has its own in it"},
        {.name = "quick", .kind = OPTION_FLAG, .to = &quick, .doc = "within 15 minutes on two cores (this is what happens anyway)"},
        {.name = "full", .kind = OPTION_FLAG, .to = &opt.full, .excludes = "quick", .doc = "within 8 hours"},
        {.name = "all", .kind = OPTION_FLAG, .to = &all, .doc = "all experiments, and a page that leads to them"},
        {.name = "seeds", .kind = OPTION_INT, .to = &opt.seeds, .value = "N", .min = 1, .max = HY__LAB_SEEDS, .doc = "trainings of each arm at its best rate"},
        {.name = "set", .kind = OPTION_EACH, .to = &set, .value = "KEY=VALUE", .check = cmd_check_setting, .doc = "change a field of every arm's configuration, one that no arm sets itself, as train.steps=10000"},
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
    opt.set = set.item;
    opt.n_set = set.n;
    opt.text = text.item;
    opt.n_text = text.n;
    const hy__lab *lab = NULL;
    if (check_usage(name, all, &opt, &lab, &err) != HY_OK ||
        check_trainings(&self, lab, &err) != HY_OK)
        return cmd_wrong(&self, &err);
    return cmd_end(&self, run(lab, &opt, quiet, &err), &err);
}
