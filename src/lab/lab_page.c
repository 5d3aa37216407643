/* lab_page.c: an experiment as one page, and its figures as files; see lab.h. */
#include "base/file.h"
#include "bench/machine.h"
#include "data/task.h"
#include "lab/lab.h"
#include "lab/ring.h"
#include "page/page.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES = 3, SAMPLE_BYTES = 1500 };
#define CUT "\n…\n"

/* ---- a figure for each metric ---- */

/* Bars for each probe of a metric, one for each arm and one for chance; where there are more of
 * these than colours, for each arm one for each probe; or, where the probes are lengths of context,
 * a line for each arm. */
enum { SIDE = HY__LAB_PROBES > HY__LAB_ARMS ? HY__LAB_PROBES : HY__LAB_ARMS + 1 };

typedef struct figure {
    hy__chart chart;
    hy__series series[SIDE];
    double mean[SIDE][SIDE], low[SIDE][SIDE], high[SIDE][SIDE]; /* [series][category] */
    const char *category[SIDE];
    double context[HY__LAB_PROBES];
    hy__mark trained;
} figure;

/* The probes as lengths: as a line each, with a mark where training ended. */
static void draw_lines(figure *f, const hy__results *r, const int *probe, int n) {
    for (int k = 0; k < n; k++) {
        hy__ring ring;
        if (hy__ring_parse(&ring, r->scale->probe[probe[k]].data, NULL) != HY_OK) return;
        f->context[k] = (double)ring.context;
        if (!r->scale->probe[probe[k]].unseen)
            f->trained = (hy__mark){(double)ring.context, "trained to"};
    }
    for (int a = 0; a < r->n_arm; a++) {
        f->series[a].x = f->context;
        f->series[a].markers = true;
    }
    f->chart.kind = HY__CHART_LINES;
    f->chart.x = (hy__axis){.label = "tokens read before",
                            .unit = HY__UNIT_TOKENS,
                            .scale = HY__SCALE_LOG2,
                            .mark = &f->trained,
                            .n_mark = f->trained.label ? 1 : 0};
}

/* Of an arm, or behind the last of chance. */
static hy__seeds bar_of(const hy__results *r, int arm, int probe) {
    if (arm < r->n_arm) return r->value[arm][probe];
    return (hy__seeds){r->chance[probe], (double)NAN, (double)NAN};
}

/* arms: with chance, if it is known; turned: a series is a probe. */
static void put_bars(figure *f, const hy__results *r, const int *probe, int n, int arms,
                     bool turned) {
    for (int a = 0; a < arms; a++)
        for (int k = 0; k < n; k++) {
            const hy__seeds bar = bar_of(r, a, probe[k]);
            const int s = turned ? k : a, c = turned ? a : k;
            const char *arm = a < r->n_arm ? r->scale->arm[a].name : "chance";
            const char *name = r->scale->probe[probe[k]].name;
            f->mean[s][c] = bar.mean;
            f->low[s][c] = bar.low;
            f->high[s][c] = bar.high;
            f->category[c] = turned ? arm : name;
            f->series[s] = (hy__series){.name = turned ? name : arm,
                                        .y = f->mean[s],
                                        .lo = r->n_seed > 1 ? f->low[s] : NULL,
                                        .hi = r->n_seed > 1 ? f->high[s] : NULL,
                                        .n = turned ? arms : n};
        }
}

/* False where no probe is of the metric. */
static bool figure_init(figure *f, const hy__results *r, hy__metric m) {
    const hy__metric_info *info = &hy__metric_of[m];
    int probe[HY__LAB_PROBES], n = 0, arms = r->n_arm;
    memset(f, 0, sizeof *f);
    for (int p = 0; p < r->n_probe; p++) {
        if (r->scale->probe[p].metric != m) continue;
        probe[n++] = p;
        if (isfinite(r->chance[p])) arms = r->n_arm + 1;
    }
    if (n == 0) return false;
    const bool lines = hy__ring_is(r->scale->probe[probe[0]].data);
    const bool turned = !lines && arms > HY__COLORS && n <= HY__COLORS;
    put_bars(f, r, probe, n, arms, turned);
    f->chart = (hy__chart){.kind = HY__CHART_GROUPED_BARS,
                           .title = info->title,
                           .y = {.label = info->name,
                                 .unit = info->unit,
                                 .max = info->unit == HY__UNIT_PERCENT ? 1.0 : 0.0},
                           .series = f->series,
                           .n_series = turned ? n : arms,
                           .category = f->category,
                           .n_category = turned ? arms : n};
    if (lines) draw_lines(f, r, probe, n);
    return true;
}

static hy_status put_figures(hy__page *p, const hy__results *r, const char *out, hy_error *err) {
    figure *f = malloc(sizeof *f);
    char name[40];
    hy_status status =
        f ? HY_OK : hy__fail(err, HY_E_MEMORY, "there is not enough memory for a figure");
    for (int m = 0; m < HY__METRICS && status == HY_OK; m++) {
        if (!figure_init(f, r, (hy__metric)m)) continue;
        hy__page_figure(p, &f->chart,
                        r->n_seed > 1 ? "Means over the seeds, and the least and the greatest of "
                                        "them."
                                      : NULL);
        snprintf(name, sizeof name, "%s.svg", hy__metric_of[m].name);
        status = hy__chart_save(&f->chart, out, name, err);
    }
    free(f);
    return status;
}

/* ---- parts of the page ---- */

static hy__number show(hy__unit unit, double x) {
    hy__number n = {"–"};
    if (isfinite(x) && unit == HY__UNIT_BYTES) return hy__bytes(x);
    if (isfinite(x)) hy__print(n.text, sizeof n.text, "%.3f", x);
    return n;
}

static void put_value(hy__page *p, hy__unit unit, double x) {
    hy__page_cell(p, "%s", show(unit, x).text);
}

static void put_wanted(hy__page *p, const hy__goal *g, double wanted, const char *beside) {
    switch (g->kind) {
    case HY__AT_LEAST:
        hy__page_cell(p, "at least %.3f", wanted);
        break;
    case HY__AT_MOST:
        hy__page_cell(p, "at most %.3f", wanted);
        break;
    case HY__AHEAD:
        if (isfinite(wanted))
            hy__page_cell(p, "better than %.3f", wanted);
        else
            hy__page_cell(p, "better than all, one of which has no value");
        break;
    case HY__WITHIN:
        hy__page_cell(p, "worse than %s by at most %.3f", beside, wanted);
        break;
    case HY__HOLDS:
        hy__page_cell(p, "worse than at %s by at most %.3f", beside, wanted);
        break;
    case HY__EACH:
        hy__page_cell(p, "by %.3f in each seed", wanted);
        break;
    case HY__ONWARD:
        hy__page_cell(p, "worse than the one before by at most %.3f", wanted);
        break;
    case HY__TIMES:
        hy__page_cell(p, "at most %.3f times %s", wanted, beside);
        break;
    }
}

static void put_verdicts(hy__page *p, const hy__results *r) {
    hy__page_heading(p, 2, "Verdict");
    hy__page_table(p, (const hy__column[]){{"goal", 0}, {"", 0}, {"wanted", 1}, {"got", 1}}, 4);
    for (int i = 0; i < r->n_verdict; i++) {
        const hy__goal *g = r->verdict[i].goal;
        hy__page_cell(p, "%s", g->text);
        hy__page_cell(p, "%s", r->verdict[i].met ? "met" : "missed");
        put_wanted(p, g, r->verdict[i].wanted,
                   g->kind == HY__HOLDS ? r->scale->probe[g->beside].name
                                        : r->scale->arm[g->beside].name);
        put_value(p, HY__UNIT_PLAIN, r->verdict[i].got);
    }
    hy__page_table_end(p);
    hy__page_note(
        p,
        "Over %" PRId64 " seed%s, at the probe of a goal that came out worst: the mean; of a "
        "goal to be ahead the worst seed, against chance and the best seed of the others; of one "
        "for each seed the least difference between the two arms' same seeds.",
        r->n_seed, r->n_seed == 1 ? "" : "s");
    hy__page_paragraph(p, "Published: %s.", r->lab->published);
}

/* The files and folders that it reads, and how three of the documents begin. */
static hy_status put_text(hy__page *p, const hy__lab_scale *s, hy_error *err) {
    hy__text t = {0};
    for (int i = 0; s->data[i]; i++)
        if (!hy__task_is(s->data[i])) hy__text_add(&t, "%s`%s`", t.size ? ", " : "", s->data[i]);
    if (t.size)
        hy__page_note(p,
                      "The text: %s (fingerprint %016" PRIx64 "). A part of its documents is "
                      "held out, which no training reads and the losses are of. So begin "
                      "three of the documents.",
                      t.data, s->text);
    hy__text_release(&t);
    for (int64_t i = 0; i < SAMPLES; i++) {
        char text[HY__LAB_SAMPLE];
        HY_TRY(hy__entries_sample(s, i, text, err));
        if (*text) hy__page_code(p, text);
    }
    return HY_OK;
}

/* What is asked stands at the end of many: the middle goes. */
static void shorten(char *text) {
    const size_t n = strlen(text), half = SAMPLE_BYTES / 2;
    if (n <= SAMPLE_BYTES + strlen(CUT)) return;
    memcpy(text + half, CUT, strlen(CUT));
    memmove(text + half + strlen(CUT), text + n - half, half + 1);
}

/* What the experiment is about, and three documents of a task that it asks, where it asks one. */
static hy_status put_samples(hy__page *p, const hy__results *r, hy_error *err) {
    const char *entry = NULL;
    hy__task t;
    char name[256];
    for (int i = 0; i < r->n_probe && i < 2; i++)
        if (hy__task_is(r->scale->probe[i].data)) entry = r->scale->probe[i].data;
    hy__page_heading(p, 2, "The task");
    hy__page_paragraph(p, "%s", r->lab->about);
    HY_TRY(put_text(p, r->scale, err));
    if (!entry) return HY_OK;
    HY_TRY(hy__task_parse(&t, entry, err));
    hy__task_print(&t, name, sizeof name);
    hy__page_note(p,
                  "Three documents of `task:%s`; what is asked stands in angle brackets. Chance "
                  "is %.3f.",
                  name, hy__task_chance(&t));
    for (int64_t i = 0; i < SAMPLES; i++) {
        char *text = hy__task_sample(&t, 0, i);
        if (!text) return hy__fail(err, HY_E_MEMORY, "there is not enough memory for a sample");
        shorten(text);
        hy__page_code(p, text);
        free(text);
    }
    return HY_OK;
}

static void put_arms(hy__page *p, const hy__results *r) {
    hy__page_heading(p, 2, "Arms");
    hy__page_table(p,
                   (const hy__column[]){{"arm", 0},
                                        {"pattern and settings", 0},
                                        {"parameters", 1},
                                        {"learning rate", 1},
                                        {"steps", 1},
                                        {"asked in training", 1},
                                        {"time", 1}},
                   7);
    for (int a = 0; a < r->n_arm; a++) {
        const hy__arm *arm = &r->scale->arm[a];
        const hy__job *j = hy__results_job(r, a, 1);
        char set[512] = "";
        for (int i = 0; i < HY__LAB_SETS && arm->set[i]; i++)
            snprintf(set + strlen(set), sizeof set - strlen(set), "%s%s", i ? ", " : "",
                     arm->set[i]);
        hy__page_cell(p, "%s", arm->name);
        if (arm->fit)
            hy__page_cell(p, "`%s`; `%s` to fit", set, arm->fit);
        else
            hy__page_cell(p, "`%s`", set);
        hy__page_cell(p, "%" PRId64, j->parameters);
        hy__page_cell(p, "%g", r->scale->rate[j->rate]);
        hy__page_cell(p, "%" PRId64, j->steps);
        hy__page_cell(p, "%s", hy__count((double)j->tokens).text);
        hy__page_cell(p, "%s", hy__seconds(j->seconds).text);
    }
    hy__page_table_end(p);
    char rates[100] = "";
    for (int i = 0; i < hy__scale_rates(r->scale); i++)
        snprintf(rates + strlen(rates), sizeof rates - strlen(rates), "%s%g", i ? ", " : "",
                 r->scale->rate[i]);
    hy__page_note(
        p,
        "Each arm was trained with the rates %s for the first seed, and with the one that "
        "did best for the others. Steps and time are those of the first seed on one "
        "thread; where a stage ends when it is learned, who learns sooner trains less.",
        rates);
}

/* What the blueprint reports of the first arm, where it does. */
static void put_published(hy__page *p, const hy__results *r) {
    bool some = false;
    for (int i = 0; i < r->n_probe; i++) some = some || r->scale->probe[i].published > 0.0;
    if (!some) return;
    hy__page_cell(p, "published, of the first");
    for (int i = 0; i < r->n_probe; i++) {
        const double x = r->scale->probe[i].published;
        put_value(p, hy__metric_of[r->scale->probe[i].metric].unit, x > 0.0 ? x : (double)NAN);
    }
}

static void put_values(hy__page *p, const hy__results *r) {
    hy__column column[HY__LAB_PROBES + 1] = {{"arm", 0}};
    char name[HY__LAB_PROBES][80];
    bool chance = false;
    hy__page_heading(p, 2, "Answers");
    for (int i = 0; i < r->n_probe; i++) {
        const hy__probe *probe = &r->scale->probe[i];
        snprintf(name[i], sizeof name[i], "%s, %s", probe->name, hy__metric_of[probe->metric].name);
        column[1 + i] = (hy__column){name[i], true};
        chance = chance || isfinite(r->chance[i]);
    }
    hy__page_table(p, column, r->n_probe + 1);
    for (int a = 0; a < r->n_arm; a++) {
        hy__page_cell(p, "%s", r->scale->arm[a].name);
        for (int i = 0; i < r->n_probe; i++) {
            const hy__seeds *s = &r->value[a][i];
            const hy__unit unit = hy__metric_of[r->scale->probe[i].metric].unit;
            if (r->n_seed > 1 && isfinite(s->mean))
                hy__page_cell(p, "%s (%s to %s)", show(unit, s->mean).text, show(unit, s->low).text,
                              show(unit, s->high).text);
            else
                put_value(p, unit, s->mean);
        }
    }
    if (chance) {
        hy__page_cell(p, "chance");
        for (int i = 0; i < r->n_probe; i++) put_value(p, HY__UNIT_PLAIN, r->chance[i]);
    }
    put_published(p, r);
    hy__page_table_end(p);
}

static void put_recipe(hy__page *p, const char *whose, const char *recipe) {
    if (!recipe) return;
    hy__page_note(p, "The curriculum of %s:", whose);
    hy__page_code(p, recipe);
}

static void put_recipes(hy__page *p, const hy__results *r) {
    put_recipe(p, "the arms", r->scale->recipe);
    for (int a = 0; a < r->n_arm; a++)
        put_recipe(p, r->scale->arm[a].name, r->scale->arm[a].recipe);
}

/* As one word of a shell. */
static void put_word(hy__text *t, const char *word) {
    static const char PLAIN[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.,:=/+-";
    if (*word && !word[strspn(word, PLAIN)]) {
        hy__text_add(t, " %s", word);
        return;
    }
    hy__text_put(t, " '");
    for (; *word; word++) {
        if (*word == '\'')
            hy__text_put(t, "'\\''");
        else
            hy__text_add(t, "%c", *word);
    }
    hy__text_put(t, "'");
}

hy_status hy__lab_put_command(hy__page *p, const hy__lab *lab, const hy__lab_options *opt,
                              hy_error *err) {
    hy__text t = {0};
    hy__text_add(&t, "hydralm lab %s --%s", lab ? lab->name : "--all",
                 opt->full ? "full" : "quick");
    if (!lab || !lab->run) hy__text_add(&t, " --seeds %" PRId64, opt->seeds);
    hy__text_put(&t, " --out DIR");
    for (int64_t i = 0; i < opt->n_set; i++) {
        hy__text_put(&t, " --set");
        put_word(&t, opt->set[i]);
    }
    for (int64_t i = 0; i < opt->n_text && (!lab || hy__lab_reads_text(lab)); i++) {
        if (i == 0) hy__text_put(&t, " --text");
        put_word(&t, opt->text[i]);
    }
    hy__page_heading(p, 2, "Again");
    const hy_status status = hy__text_check(&t, err);
    if (status == HY_OK) hy__page_code(p, t.data);
    hy__text_release(&t);
    return status;
}

static hy_status put_reproduce(hy__page *p, const hy__results *r, hy_error *err) {
    HY_TRY(hy__lab_put_command(p, r->lab, r->opt, err));
    hy__page_note(
        p,
        "hydralm %s, commit %s. Every training is below `runs/`, with its configuration, its "
        "metrics and its model: `hydralm report DIR/%s/runs/*/model --out runs.html` draws "
        "them. `results.json` and `results.csv` have every number of this page.",
        hy_version(), hy__machine_describe().commit, r->lab->name);
    return HY_OK;
}

hy_status hy__results_page(const hy__results *r, const char *out, hy_error *err) {
    char *path = hy__path_join(out, "index.html");
    hy__page p = {0};
    hy_status status =
        path ? HY_OK : hy__fail(err, HY_E_MEMORY, "there is not enough memory for a page");
    if (status != HY_OK) return status;
    hy__page_begin(&p, "Lab: %s", r->lab->name);
    hy__page_paragraph(&p, "%s", r->lab->question);
    HY_TRY_GOTO(put_figures(&p, r, out, err));
    HY_TRY_GOTO(hy__results_curves(&p, r, out, err));
    put_verdicts(&p, r);
    HY_TRY_GOTO(put_samples(&p, r, err));
    put_values(&p, r);
    HY_TRY_GOTO(hy__results_leads(&p, r, out, err));
    put_arms(&p, r);
    put_recipes(&p, r);
    HY_TRY_GOTO(put_reproduce(&p, r, err));
    HY_TRY_GOTO(hy__page_save(&p, path, err));
done:
    hy__page_release(&p);
    free(path);
    return status;
}
