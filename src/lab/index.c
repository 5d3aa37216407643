/* index.c: several experiments, one after another, and the page that leads to theirs; see lab.h.
 *
 * What an experiment found is read from its results.json. Where it did not come through this time,
 * that may be of another run: the page then says of which. */
#include "base/file.h"
#include "base/words.h"
#include "bench/machine.h"
#include "ckpt/json_file.h"
#include "lab/lab.h"
#include "page/page.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What became of the first n labs; the others were not run. */
typedef struct course {
    const hy__lab *const *lab;
    hy_error how[HY__LABS];
    int n;
} course;

/* ---- what an experiment found ---- */

typedef struct found {
    bool is; /* there are results */
    int met, unknown, of;
    char run[256]; /* that they are of: what it was called with, and its commit */
} found;

static found read_results(const char *out, const char *folder) {
    found f = {0};
    const char *scale, *commit;
    char set[160] = "";
    char *dir = hy__path_join(out, folder);
    json_t *json = NULL, *verdict, *field;
    hy_error ignored;
    size_t i;
    f.is = dir && hy__json_read(&json, dir, "results.json", &ignored) == HY_OK &&
           json_unpack(json, "{s:s, s:s}", "scale", &scale, "commit", &commit) == 0;
    json_array_foreach(json_object_get(json, "set"), i, field) {
        const size_t n = strlen(set);
        snprintf(set + n, sizeof set - n, " --set %s", json_string_value(field));
    }
    if (f.is) snprintf(f.run, sizeof f.run, "--%s%s, commit %s", scale, set, commit);
    json_array_foreach(json_object_get(json, "verdicts"), i, verdict) {
        const json_t *met = json_object_get(verdict, "met");
        f.met += json_is_true(met);
        f.unknown += json_is_null(met);
        f.of++;
    }
    json_decref(json);
    free(dir);
    return f;
}

/* ---- the page ---- */

static void put_goals(hy__page *p, const found *f) {
    if (!f->is)
        hy__page_cell(p, "–");
    else if (f->unknown > 0)
        hy__page_cell(p, "%d of %d, %d not known", f->met, f->of, f->unknown);
    else
        hy__page_cell(p, "%d of %d", f->met, f->of);
}

/* how: NULL where it was not run. */
static void put_how(hy__page *p, const hy_error *how, const found *f) {
    char of[300] = "";
    if (how && how->status == HY_OK) {
        hy__page_cell(p, "done");
        return;
    }
    if (f->is) snprintf(of, sizeof of, "; what is shown is of another run: %s", f->run);
    if (!how)
        hy__page_cell(p, "not run%s", of);
    else if (how->status == HY_E_STOPPED)
        hy__page_cell(p, "stopped%s", of);
    else
        hy__page_cell(p, "failed: %s%s", how->text, of);
}

static void put_lab(hy__page *p, const hy__lab *lab, const hy_error *how,
                    const hy__lab_options *opt) {
    char folder[HY__LAB_FOLDER];
    hy__lab_folder(folder, lab, opt);
    const found f = read_results(opt->out, folder);
    if (f.is) {
        char href[64];
        snprintf(href, sizeof href, "%s/index.html", folder);
        hy__page_cell_link(p, href, "%s", lab->name);
    } else {
        hy__page_cell(p, "%s", lab->name);
    }
    hy__page_cell(p, "%s", lab->question);
    put_goals(p, &f);
    put_how(p, how, &f);
}

static hy_status write_index(const course *c, const hy__lab_options *opt, hy_error *err) {
    char *path = hy__path_join(opt->out, "index.html");
    hy__page p = {0};
    if (!path) return hy__no_memory(err, "a path");
    hy__page_begin(&p, "Lab");
    hy__page_table(
        &p,
        (const hy__column[]){{"experiment", 0}, {"question", 0}, {"goals met", 0}, {"this run", 0}},
        4);
    hy__page_wrap(&p, 1);
    hy__page_wrap(&p, 3);
    for (int i = 0; c->lab[i]; i++) put_lab(&p, c->lab[i], i < c->n ? &c->how[i] : NULL, opt);
    hy__page_table_end(&p);
    hy__page_note(&p, "This run: --%s, hydralm %s, commit %s.", opt->full ? "full" : "quick",
                  hy_version(), hy__machine_describe().commit);
    hy_status status = hy__lab_put_command(&p, NULL, opt, err);
    if (status == HY_OK) status = hy__page_save(&p, path, err);
    hy__page_release(&p);
    free(path);
    return status;
}

/* ---- running them ---- */

static hy_status check_all(const hy__lab *const *lab, const hy__lab_options *opt, hy_error *err) {
    for (; *lab; lab++) {
        const hy_status status = hy__lab_check(*lab, opt, err);
        if (status != HY_OK) return hy__fail_in(err, status, "%s", (*lab)->name);
    }
    return HY_OK;
}

static hy_status conclude(const course *c, const char *out, hy_error *err) {
    char names[300] = "";
    int failed = 0;
    hy_status first = HY_OK;
    for (int i = 0; i < c->n; i++) {
        const hy_error *how = &c->how[i];
        if (how->status == HY_OK) continue;
        if (how->status == HY_E_STOPPED) return hy__fail(err, HY_E_STOPPED, "%s", how->text);
        if (failed++ == 0) first = how->status;
        hy__words_add(names, sizeof names, ", ", c->lab[i]->name);
    }
    if (failed == 0) return HY_OK;
    return hy__fail(err, first, "%d of %d experiments failed: %s; %.400s/index.html says why",
                    failed, c->n, names, out);
}

static hy_status run_each(course *c, const hy__lab_options *opt, hy_error *err) {
    bool stopped = false;
    while (c->lab[c->n] && !stopped) {
        hy_error *how = &c->how[c->n];
        how->status = hy__lab_run(c->lab[c->n], opt, how);
        stopped = how->status == HY_E_STOPPED;
        if (opt->on_end) opt->on_end(opt->user, c->lab[c->n], how);
        c->n++;
    }
    HY_TRY(write_index(c, opt, err));
    return conclude(c, opt->out, err);
}

hy_status hy__lab_run_all(const hy__lab *const *labs, const hy__lab_options *opt, hy_error *err) {
    course c = {.lab = labs};
    int lock;
    HY_TRY(check_all(labs, opt, err));
    HY_TRY(hy__lab_lock(&lock, opt->out, err));
    const hy_status status = run_each(&c, opt, err);
    hy__lab_unlock(lock);
    return status;
}
