/* entries.c: the data that an experiment's entries stand for; see lab.h.
 *
 *   text        the files and folders of --text, or own/src and own/docs
 *   own/NAME    a part of the project's own text, with or without :WEIGHT
 *
 * The project's own text is the first folder that holds its sources and its docs: the current one,
 * the one above the program's (of a build), or share/hydralm/text beside the program's (installed).
 */
#include "base/file.h"
#include "data/mixture.h"
#include "lab/lab.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OWN "own/"

/* Of the project's own text what people write: no figures. */
static const struct {
    const char *name, *files;
} PART[] = {{"src", "src/*.[ch]"}, {"docs", "docs/*.md"}};
enum { PARTS = sizeof PART / sizeof *PART };

/* ---- the project's own text ---- */

static bool has(const char *dir, const char *name) {
    char *path = hy__path_join(dir, name);
    const bool yes = path && access(path, R_OK) == 0;
    free(path);
    return yes;
}

/* The folder of the program, or "." where the system does not tell. */
static void program_dir(char *dir, size_t size) {
    const ssize_t n = readlink("/proc/self/exe", dir, size - 1);
    dir[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(dir, '/');
    if (slash)
        *slash = '\0';
    else
        snprintf(dir, size, ".");
}

/* advice: what else can be done. */
static hy_status find_own(char *dir, size_t size, const char *lab, const char *advice,
                          hy_error *err) {
    char program[512];
    program_dir(program, sizeof program);
    const char *const place[][2] = {
        {".", ""}, {program, "/.."}, {program, "/../share/hydralm/text"}};
    for (size_t i = 0; i < sizeof place / sizeof *place; i++) {
        snprintf(dir, size, "%s%s", place[i][0], place[i][1]);
        if (has(dir, "src/lab/lab.h") && has(dir, "docs/lab.md")) return HY_OK;
    }
    return hy__fail(err, HY_E_INVALID,
                    "lab %s reads the project's sources and docs, which are neither in the current "
                    "folder nor in %.200s/.. or %.200s/../share/hydralm/text; %s",
                    lab, program, program, advice);
}

/* ---- entries ---- */

static bool is_text(const char *entry) {
    return strcmp(entry, HY__LAB_TEXT) == 0;
}

static bool is_own(const char *entry) {
    return strncmp(entry, OWN, strlen(OWN)) == 0;
}

bool hy__lab_reads_text(const hy__lab *lab) {
    const char *const *entry = lab->quick.data;
    while (*entry && !is_text(*entry)) entry++;
    return *entry != NULL;
}

hy_status hy__lab_check_text(const hy__lab *lab, const hy__lab_options *opt, hy_error *err) {
    bool own = false;
    if (opt->n_text == 0 || hy__lab_reads_text(lab)) return HY_OK;
    for (const char *const *entry = lab->quick.data; *entry; entry++) own = own || is_own(*entry);
    return hy__fail(err, HY_E_INVALID, "lab %s %s; wanted no --text", lab->name,
                    own ? "reads the project's own sources and docs, and no other text"
                        : "makes its own data");
}

static hy_status add(hy__entries *e, const char *dir, const char *name, hy_error *err) {
    if (e->n == HY__LAB_DATA)
        return hy__fail(err, HY_E_INVALID, "an experiment has more than %d texts; wanted fewer",
                        HY__LAB_DATA);
    e->path[e->n] = dir ? hy__path_join(dir, name) : strdup(name);
    return e->path[e->n++] ? HY_OK : hy__no_memory(err, "the paths of a text");
}

/* name: of a part of the project's own text, perhaps with a weight. */
static hy_status add_own(hy__entries *e, const char *own, const char *name, hy_error *err) {
    char files[64];
    const size_t n = strcspn(name, ":");
    for (int i = 0; i < PARTS; i++) {
        if (strncmp(PART[i].name, name, n) != 0 || PART[i].name[n]) continue;
        snprintf(files, sizeof files, "%s%s", PART[i].files, name + n);
        return add(e, own, files, err);
    }
    return hy__fail(err, HY_E_INTERNAL, "the project's own text has no part \"%s\"", name);
}

static hy_status add_entry(hy__entries *e, const char *entry, const char *own,
                           const hy__lab_options *opt, hy_error *err) {
    if (is_own(entry)) return add_own(e, own, entry + strlen(OWN), err);
    if (!is_text(entry)) return add(e, NULL, entry, err);
    for (int64_t i = 0; i < opt->n_text; i++) {
        if (hy__task_is(opt->text[i]))
            return hy__fail(err, HY_E_INVALID, "--text is %.200s, wanted files and folders of text",
                            opt->text[i]);
        HY_TRY(add(e, NULL, opt->text[i], err));
    }
    if (opt->n_text > 0) return HY_OK;
    for (int i = 0; i < PARTS; i++) HY_TRY(add_own(e, own, PART[i].name, err));
    return HY_OK;
}

hy_status hy__entries_read(hy__mixture *m, const hy__lab_scale *s, bool tasks, double val_fraction,
                           hy_error *err) {
    const char *entry[HY__LAB_DATA];
    int n = 0;
    hy__tokenizer *tok;
    for (int i = 0; s->data[i]; i++)
        if (tasks || !hy__task_is(s->data[i])) entry[n++] = s->data[i];
    *m = (hy__mixture){0};
    if (n == 0) return HY_OK;
    HY_TRY(hy__tokenizer_open(&tok, NULL, err));
    const hy__build_options opt = {.path = entry,
                                   .n_path = n,
                                   .tokenizer = tok,
                                   .val_fraction = val_fraction,
                                   .threads = 1,
                                   .unverified = true};
    const hy_status status = hy__mixture_open(m, &opt, err);
    hy__tokenizer_free(tok);
    return status;
}

/* 0 where there is none. */
static hy_status print_text(const hy__lab_scale *s, uint64_t *print, hy_error *err) {
    hy__mixture m;
    HY_TRY(hy__entries_read(&m, s, false, 0.0, err));
    *print = m.n > 0 ? hy__mixture_fingerprint(&m) : 0;
    hy__mixture_release(&m);
    return HY_OK;
}

hy_status hy__entries_check(const hy__lab_scale *s, hy_error *err) {
    uint64_t now;
    HY_TRY(print_text(s, &now, err));
    if (now == s->text) return HY_OK;
    return hy__fail(err, HY_E_INVALID,
                    "the text had the fingerprint %016" PRIx64
                    " when the experiment began, and has "
                    "%016" PRIx64 " now; the same command trains on what it is now",
                    s->text, now);
}

hy_status hy__entries_open(hy__entries *e, hy__lab_scale *s, const char *lab,
                           const hy__lab_options *opt, hy_error *err) {
    char own[600] = "";
    hy_status status;
    *e = (hy__entries){0};
    for (int i = 0; s->data[i]; i++) {
        const bool text = is_text(s->data[i]) && opt->n_text == 0;
        const char *advice = text ? "name a text with --text" : "run it in the project's folder";
        if ((text || is_own(s->data[i])) && !*own)
            HY_TRY_GOTO(find_own(own, sizeof own, lab, advice, err));
        HY_TRY_GOTO(add_entry(e, s->data[i], own, opt, err));
    }
    for (int i = 0; i < e->n; i++) s->data[i] = e->path[i];
    s->data[e->n] = NULL;
    HY_TRY_GOTO(print_text(s, &s->text, err));
done:
    if (status != HY_OK) hy__entries_release(e);
    return status;
}

void hy__entries_release(hy__entries *e) {
    for (int i = 0; i < e->n; i++) free(e->path[i]);
    *e = (hy__entries){0};
}
