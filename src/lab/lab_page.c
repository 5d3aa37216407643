/* lab_page.c: an experiment as one page, and its figures as files; see lab.h. */
#include "base/file.h"
#include "bench/machine.h"
#include "lab/lab.h"
#include "page/page.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- a figure for each metric ---- */

/* Bars for each probe of a metric, one for each arm, for chance and for what is published; where
 * there are more of these than colours, for each of them one for each probe; or, where the probes
 * are lengths of context, a line for each arm. */
enum {
    ROWS = 2 * HY__LAB_ARMS + 1,
    SIDE = HY__LAB_PROBES > ROWS ? HY__LAB_PROBES : ROWS,
    NAME = 80, /* bytes */
};

/* An arm's values, or what stands beside them. */
typedef struct row {
    const char *name;
    const hy__seeds *value; /* [probe] of an arm; or NULL */
    const double *beside;   /* [probe] of what has no seeds */
} row;

typedef struct figure {
    hy__chart chart;
    hy__series series[SIDE];
    double mean[SIDE][SIDE], low[SIDE][SIDE], high[SIDE][SIDE]; /* [series][category] */
    const char *category[SIDE];
    double context[HY__LAB_PROBES];
    hy__mark trained;
    row row[ROWS];
    char published[HY__LAB_ARMS][NAME];
    int n_row;
} figure;

/* The probes as lengths: as a line each, with a mark where training ended. */
static void draw_lines(figure *f, const hy__results *r, const int *probe, int n) {
    for (int k = 0; k < n; k++) {
        const hy__probe *at = &r->scale->probe[probe[k]];
        f->context[k] = (double)at->ring.context;
        if (!at->aside) f->trained = (hy__mark){f->context[k], "trained to"};
    }
    for (int a = 0; a < f->n_row; a++) {
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

/* Whether what stands beside the arms is known at a probe of the metric; HY__METRICS: at any. */
static bool is_known(const hy__results *r, const double *beside, hy__metric m) {
    for (int p = 0; p < r->n_probe; p++)
        if ((m == HY__METRICS || r->scale->probe[p].metric == m) && isfinite(beside[p]))
            return true;
    return false;
}

/* What the blueprint says is of another model. */
static void name_published(char name[NAME], const hy__results *r, int arm) {
    snprintf(name, NAME, "published, beside %.50s", r->scale->arm[arm].name);
}

static void put_rows(figure *f, const hy__results *r, hy__metric m) {
    for (int a = 0; a < r->n_arm; a++)
        f->row[f->n_row++] = (row){.name = r->scale->arm[a].name, .value = r->value[a]};
    if (is_known(r, r->chance, m))
        f->row[f->n_row++] = (row){.name = "chance", .beside = r->chance};
    for (int a = 0; a < r->n_arm; a++) {
        if (!is_known(r, r->published[a], m)) continue;
        name_published(f->published[a], r, a);
        f->row[f->n_row++] = (row){.name = f->published[a], .beside = r->published[a]};
    }
}

static hy__seeds bar_of(const row *of, int probe) {
    if (of->value) return of->value[probe];
    return (hy__seeds){of->beside[probe], (double)NAN, (double)NAN};
}

/* turned: a series is a probe. */
static void put_bars(figure *f, const hy__results *r, const int *probe, int n, bool turned) {
    for (int a = 0; a < f->n_row; a++)
        for (int k = 0; k < n; k++) {
            const hy__seeds bar = bar_of(&f->row[a], probe[k]);
            const int s = turned ? k : a, c = turned ? a : k;
            const char *name = r->scale->probe[probe[k]].name;
            f->mean[s][c] = bar.mean;
            f->low[s][c] = bar.low;
            f->high[s][c] = bar.high;
            f->category[c] = turned ? f->row[a].name : name;
            f->series[s] = (hy__series){.name = turned ? name : f->row[a].name,
                                        .y = f->mean[s],
                                        .lo = r->n_seed > 1 ? f->low[s] : NULL,
                                        .hi = r->n_seed > 1 ? f->high[s] : NULL,
                                        .n = turned ? f->n_row : n};
        }
}

/* False where no probe is of the metric. */
static bool figure_init(figure *f, const hy__results *r, hy__metric m) {
    const hy__metric_info *info = &hy__metric_of[m];
    int probe[HY__LAB_PROBES], n = 0;
    memset(f, 0, sizeof *f);
    for (int p = 0; p < r->n_probe; p++)
        if (r->scale->probe[p].metric == m) probe[n++] = p;
    if (n == 0) return false;
    put_rows(f, r, m);
    const bool lines = r->scale->probe[probe[0]].reading == HY__READ_RING;
    const bool turned = !lines && f->n_row > HY__COLORS && n <= HY__COLORS;
    put_bars(f, r, probe, n, turned);
    f->chart = (hy__chart){.kind = HY__CHART_GROUPED_BARS,
                           .title = info->title,
                           .y = {.label = info->name,
                                 .unit = info->unit,
                                 .max = info->unit == HY__UNIT_PERCENT ? 1.0 : 0.0},
                           .series = f->series,
                           .n_series = turned ? n : f->n_row,
                           .category = f->category,
                           .n_category = turned ? f->n_row : n};
    if (lines) draw_lines(f, r, probe, n);
    return true;
}

static hy_status put_figures(hy__page *p, const hy__results *r, const char *out, hy_error *err) {
    figure *f = malloc(sizeof *f);
    char name[40];
    hy_status status = f ? HY_OK : hy__no_memory(err, "a figure");
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
    if (!isfinite(x)) return n;
    if (unit != HY__UNIT_PLAIN && unit != HY__UNIT_PERCENT) return hy__number_show(unit, x);
    hy__print(n.text, sizeof n.text, "%.3f", x);
    return n;
}

static void put_value(hy__page *p, hy__unit unit, double x) {
    hy__page_cell(p, "%s", show(unit, x).text);
}

static void put_verdicts(hy__page *p, const hy__results *r) {
    hy__verdicts_put(p, r->verdict, r->n_verdict);
    hy__page_note(
        p,
        "Over %" PRId64 " seed%s, at the probe of a goal that came out worst: the mean; of a "
        "goal to be ahead the worst seed, against chance and the best seed of the others; of one "
        "for each seed the least difference between the two arms' same seeds, which luck alone "
        "puts above 0 once in two to the number of seeds.",
        r->n_seed, r->n_seed == 1 ? "" : "s");
    hy__page_paragraph(p, "Published: %s.", r->lab->published);
}

/* A rate at the edge of its sweep: what lies beyond might have done better. */
static void put_rate(hy__page *p, const hy__lab_scale *s, int best) {
    bool lowest = true, highest = true;
    for (int i = 0; i < hy__scale_rates(s); i++) {
        lowest = lowest && s->rate[best] <= s->rate[i];
        highest = highest && s->rate[best] >= s->rate[i];
    }
    hy__page_cell(p, "%g%s", s->rate[best],
                  lowest    ? ", the lowest"
                  : highest ? ", the highest"
                            : "");
}

static void put_trainings(hy__page *p, const hy__results *r) {
    hy__page_table(p,
                   (const hy__column[]){{"arm", 0},
                                        {"parameters", 1},
                                        {"learning rate", 1},
                                        {"steps", 1},
                                        {"tokens of windows", 1},
                                        {"tokens asked", 1},
                                        {"time", 1}},
                   7);
    for (int a = 0; a < r->n_arm; a++) {
        const hy__job *j = hy__results_job(r, a, 1);
        hy__page_cell(p, "%s", r->scale->arm[a].name);
        hy__page_cell(p, "%" PRId64, j->parameters);
        put_rate(p, r->scale, j->rate);
        hy__page_cell(p, "%" PRId64, j->steps);
        hy__page_cell(p, "%" PRId64, j->read);
        hy__page_cell(p, "%" PRId64, j->tokens);
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
        "did best for the others. Steps, tokens and time are those of the first seed on one "
        "thread; where a stage ends when it is learned, who learns sooner trains less. Documents "
        "that are made do not fill their windows.",
        rates);
}

/* A row of what stands beside the arms; none where nothing is known. */
static void put_beside(hy__page *p, const hy__results *r, const char *name, const double *x) {
    if (!is_known(r, x, HY__METRICS)) return;
    hy__page_cell(p, "%s", name);
    for (int i = 0; i < r->n_probe; i++)
        put_value(p, hy__metric_of[r->scale->probe[i].metric].unit, x[i]);
}

static void put_values(hy__page *p, const hy__results *r) {
    hy__column column[HY__LAB_PROBES + 1] = {{"arm", 0}};
    char name[HY__LAB_PROBES][80];
    hy__page_heading(p, 2, "Answers");
    for (int i = 0; i < r->n_probe; i++) {
        const hy__probe *probe = &r->scale->probe[i];
        snprintf(name[i], sizeof name[i], "%s, %s", probe->name, hy__metric_of[probe->metric].name);
        column[1 + i] = (hy__column){name[i], true};
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
    put_beside(p, r, "chance", r->chance);
    for (int a = 0; a < r->n_arm; a++) {
        char published[NAME];
        name_published(published, r, a);
        put_beside(p, r, published, r->published[a]);
    }
    hy__page_table_end(p);
}

static hy_status put_reproduce(hy__page *p, const hy__results *r, hy_error *err) {
    char folder[HY__LAB_FOLDER];
    hy__lab_folder(folder, r->lab, r->opt);
    HY_TRY(hy__lab_put_command(p, r->lab, r->opt, err));
    hy__page_note(
        p,
        "hydralm %s, commit %s. Every training is below `runs/`, with its configuration, its "
        "metrics and its model: `hydralm report DIR/%s/runs/*/model --out runs.html` draws "
        "them. `results.json` has every answer with what stands beside it, and the verdicts, "
        "`results.csv` all answers of all trainings, those of the sweep too.",
        hy_version(), hy__machine_describe().commit, folder);
    return HY_OK;
}

hy_status hy__results_page(const hy__results *r, const char *out, hy_error *err) {
    char *path = hy__path_join(out, "index.html");
    hy__page p = {0};
    hy__sized first;
    hy_status status = path ? HY_OK : hy__no_memory(err, "a page");
    if (status != HY_OK) return status;
    hy__page_begin(&p, "Lab: %s", r->lab->name);
    hy__page_paragraph(&p, "%s", r->lab->question);
    HY_TRY_GOTO(put_figures(&p, r, out, err));
    HY_TRY_GOTO(hy__results_curves(&p, r, out, err));
    put_verdicts(&p, r);
    hy__page_heading(&p, 2, "The task");
    hy__page_paragraph(&p, "%s", r->lab->about);
    HY_TRY_GOTO(hy__arm_config(r->lab, r->scale, 0, &first, err));
    HY_TRY_GOTO(hy__lab_put_samples(&p, r->scale, first.train.val_fraction, err));
    put_values(&p, r);
    HY_TRY_GOTO(hy__results_leads(&p, r, out, err));
    HY_TRY_GOTO(hy__lab_put_arms(&p, r->lab, r->scale, err));
    put_trainings(&p, r);
    HY_TRY_GOTO(put_reproduce(&p, r, err));
    HY_TRY_GOTO(hy__page_save(&p, path, err));
done:
    hy__page_release(&p);
    free(path);
    return status;
}
