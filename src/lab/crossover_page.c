/* crossover_page.c: what crossover.c measured: results.json, results.csv, figures and the page. */
#include "base/file.h"
#include "bench/bench.h"
#include "lab/crossover.h"
#include "page/page.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIGURES = HY__PHASE_N + 1 };

/* ---- goals ---- */

enum { AT_8K, AT_16K, AT_64K, CROSSING, MEMORY, GOALS };
static const char NO_MEMORY[] = "no memory for it";

static int find_length(const hy__crossover *x, int64_t length) {
    for (int l = 0; l < x->n_length; l++)
        if (x->length[l] == length) return l;
    return -1;
}

static bool is_known(const hy__crossover *x, int l, hy__phase phase) {
    return hy__crossover_ratio(x, 0, l, phase) > 0.0;
}

/* The length from which on Hydra is ahead, at all that were measured; 0 = none. */
static int64_t crossing(const hy__crossover *x, hy__phase phase) {
    int64_t from = 0;
    for (int l = x->n_length - 1; l >= 0; l--) {
        if (!is_known(x, l, phase)) continue;
        if (hy__crossover_ratio(x, 0, l, phase) <= 1.0) break;
        from = x->length[l];
    }
    return from;
}

/* What a further token adds to the memory of training, the most between two lengths over the least:
 * 1 where memory is linear, as much as the text is longer where it grows with the square. NAN where
 * that cannot be said, and why. */
static double unevenness(const hy__crossover *x, const char **unknown) {
    double least = INFINITY, most = 0.0;
    int n = 0;
    for (int l = 1; l < x->n_length; l++) {
        const double from = x->at[0][l - 1].peak[HY__PHASE_TRAIN],
                     to = x->at[0][l].peak[HY__PHASE_TRAIN];
        if (from <= 0.0 || to <= 0.0) continue;
        const double added = (to - from) / (double)(x->length[l] - x->length[l - 1]);
        least = fmin(least, added);
        most = fmax(most, added);
        n++;
    }
    if (n > 1 && least > 0.0) return most / least;
    *unknown = n > 1 ? "from one length to the next memory did not grow"
                     : "memory of fewer than three lengths";
    return (double)NAN;
}

/* The ratio of reading at a length. */
static void judge_reading(const hy__crossover *x, int64_t length, hy__verdict *v) {
    const int l = find_length(x, length);
    v->got = (double)NAN;
    if (l < 0)
        v->unknown = "measured by --full";
    else if (!is_known(x, l, HY__PHASE_PREFILL))
        v->unknown = NO_MEMORY;
    else
        v->got = hy__crossover_ratio(x, 0, l, HY__PHASE_PREFILL);
}

static void judge_crossing(const hy__crossover *x, hy__verdict *v) {
    const int64_t from = crossing(x, HY__PHASE_PREFILL);
    bool known = false;
    for (int l = 0; l < x->n_length; l++) known = known || is_known(x, l, HY__PHASE_PREFILL);
    v->got = from > 0 ? (double)from : (double)NAN; /* at none */
    if (!known) v->unknown = NO_MEMORY;
}

static void judge(const hy__crossover *x, hy__verdict v[GOALS]) {
    const hy__verdict all[GOALS] = {
        [AT_8K] = {.goal = "Hydra: reading 8,192 tokens, times the Transformer's rate",
                   .kind = HY__AT_LEAST,
                   .wanted = 3},
        [AT_16K] = {.goal = "reading 16,384 tokens", .kind = HY__AT_LEAST, .wanted = 5},
        [AT_64K] = {.goal = "reading 65,536 tokens", .kind = HY__AT_LEAST, .wanted = 15},
        [CROSSING] = {.goal = "ahead in reading from this length on",
                      .kind = HY__AT_MOST,
                      .wanted = 2048},
        [MEMORY] = {.goal = "training's memory for a further token, most over least "
                            "from length to length",
                    .kind = HY__AT_MOST,
                    .wanted = 1.1}};
    memcpy(v, all, sizeof all);
    judge_reading(x, 8192, &v[AT_8K]);
    judge_reading(x, 16384, &v[AT_16K]);
    judge_reading(x, 65536, &v[AT_64K]);
    judge_crossing(x, &v[CROSSING]);
    v[MEMORY].got = unevenness(x, &v[MEMORY].unknown);
    for (int i = 0; i < GOALS; i++)
        v[i].met = v[i].kind == HY__AT_LEAST ? v[i].got >= v[i].wanted : v[i].got <= v[i].wanted;
}

/* ---- files ---- */

/* What is 0 was not measured. */
static double or_gap(double v) {
    return v > 0.0 ? v : (double)NAN;
}

static hy_status save_csv(const hy__crossover *x, const char *path, hy_error *err) {
    hy__text t = {0};
    hy__text_put(&t, "lab,arm,parameters,phase,tokens,tokens_per_s,low,high,times,peak_bytes\n");
    for (int a = 0; a < x->n_arm; a++)
        for (int l = 0; l < x->n_length; l++)
            for (hy__phase p = 0; p < HY__PHASE_N; p++) {
                const hy__spread r = hy__crossing_rates(&x->at[a][l], p);
                hy__text_add(&t, "crossover,\"%s\",%" PRId64 ",%s,%" PRId64, x->scale->arm[a].name,
                             x->parameters[a], hy__phase_name(p), x->length[l]);
                hy__lab_put_number(&t, 1, or_gap(r.median));
                hy__lab_put_number(&t, 1, or_gap(r.min));
                hy__lab_put_number(&t, 1, or_gap(r.max));
                hy__lab_put_number(&t, 3, or_gap(hy__crossover_ratio(x, a, l, p)));
                hy__lab_put_number(&t, 0, or_gap(x->at[a][l].peak[p]));
                hy__text_put(&t, "\n");
            }
    const hy_status status = hy__text_save(&t, path, err);
    hy__text_release(&t);
    return status;
}

static json_t *number(double v) {
    return hy__lab_number(or_gap(v));
}

static json_t *points_json(const hy__crossover *x, int arm) {
    json_t *points = json_array();
    for (int l = 0; l < x->n_length; l++)
        for (hy__phase p = 0; p < HY__PHASE_N; p++) {
            const hy__spread r = hy__crossing_rates(&x->at[arm][l], p);
            json_array_append_new(
                points, json_pack("{s:s, s:I, s:o, s:o, s:o, s:o, s:o}", "phase", hy__phase_name(p),
                                  "tokens", (json_int_t)x->length[l], "tokens_per_s",
                                  number(r.median), "low", number(r.min), "high", number(r.max),
                                  "times", number(hy__crossover_ratio(x, arm, l, p)), "peak_bytes",
                                  number(x->at[arm][l].peak[p])));
        }
    return points;
}

static hy_status save_json(const hy__crossover *x, const hy__verdict *v, const char *out,
                           hy_error *err) {
    const hy__machine m = hy__machine_describe();
    json_t *arms = json_array();
    for (int a = 0; a < x->n_arm; a++)
        json_array_append_new(arms, json_pack("{s:s, s:I, s:o}", "arm", x->scale->arm[a].name,
                                              "parameters", (json_int_t)x->parameters[a], "points",
                                              points_json(x, a)));
    json_t *all = json_pack(
        "{s:s, s:s, s:o, s:s, s:s, s:I, s:s, s:s, s:o, s:o}", "lab", x->lab->name, "scale",
        x->opt->full ? "full" : "quick", "set", hy__lab_set_json(x->opt), "question",
        x->lab->question, "cpu", m.cpu, "cores", (json_int_t)m.cores, "commit", m.commit,
        "published", x->lab->published, "arms", arms, "verdicts", hy__verdicts_json(v, GOALS));
    return hy__lab_save(all, HY__LAB_DIGITS, out, "results.json", err);
}

/* ---- figures ---- */

typedef struct figure {
    hy__chart chart;
    hy__series series[HY__LAB_ARMS];
    double x[HY__CROSSOVER_LENGTHS], y[HY__LAB_ARMS][HY__CROSSOVER_LENGTHS],
        low[HY__LAB_ARMS][HY__CROSSOVER_LENGTHS], high[HY__LAB_ARMS][HY__CROSSOVER_LENGTHS];
} figure;

static const char *const TITLE[FIGURES] = {[HY__PHASE_TRAIN] = "Training",
                                           [HY__PHASE_PREFILL] = "Reading a prompt",
                                           [HY__PHASE_DECODE] = "Writing behind a prompt",
                                           [HY__PHASE_N] = "Memory of training"};
static const char *const FILE_NAME[FIGURES] = {"train.svg", "prefill.svg", "decode.svg",
                                               "memory.svg"};

/* which: a phase, or HY__PHASE_N for memory. */
static void figure_init(figure *f, const hy__crossover *x, int which) {
    const bool memory = which == HY__PHASE_N;
    memset(f, 0, sizeof *f);
    for (int l = 0; l < x->n_length; l++) f->x[l] = (double)x->length[l];
    for (int a = 0; a < x->n_arm; a++) {
        for (int l = 0; l < x->n_length; l++) {
            const hy__crossing *at = &x->at[a][l];
            const hy__spread r = memory ? (hy__spread){.median = at->peak[HY__PHASE_TRAIN]}
                                        : hy__crossing_rates(at, (hy__phase)which);
            f->y[a][l] = or_gap(r.median);
            f->low[a][l] = or_gap(r.min);
            f->high[a][l] = or_gap(r.max);
        }
        f->series[a] = (hy__series){.name = x->scale->arm[a].name,
                                    .x = f->x,
                                    .y = f->y[a],
                                    .lo = memory ? NULL : f->low[a],
                                    .hi = memory ? NULL : f->high[a],
                                    .n = x->n_length,
                                    .markers = true};
    }
    f->chart =
        (hy__chart){.kind = HY__CHART_LINES,
                    .title = TITLE[which],
                    .x = {.label = "tokens", .unit = HY__UNIT_TOKENS, .scale = HY__SCALE_LOG2},
                    .y = {.label = memory ? "resident, at its peak" : "tokens per second",
                          .unit = memory ? HY__UNIT_BYTES : HY__UNIT_COUNT,
                          .scale = HY__SCALE_LOG10},
                    .series = f->series,
                    .n_series = x->n_arm};
}

/* ---- the page ---- */

/* A rate and, in brackets, how often as fast as the Transformer. */
static void put_rate(hy__page *p, const hy__crossover *x, int arm, int l, hy__phase phase) {
    const double rate = hy__crossing_rates(&x->at[arm][l], phase).median;
    const double times = hy__crossover_ratio(x, arm, l, phase);
    if (times > 0.0)
        hy__page_cell(p, "%s (%.2f)", hy__count(rate).text, times);
    else
        hy__page_cell(p, "%s", rate > 0.0 ? hy__count(rate).text : NO_MEMORY);
}

static void put_memory(hy__page *p, const hy__crossover *x, int arm, int l, hy__phase phase) {
    const double peak = x->at[arm][l].peak[phase];
    if (hy__crossing_rates(&x->at[arm][l], phase).median <= 0.0)
        hy__page_cell(p, "%s", NO_MEMORY);
    else if (peak > 0.0)
        hy__page_cell(p, "%.0f", peak / 1e6);
    else
        hy__page_cell(p, "–"); /* the system does not tell */
}

static void put_table(hy__page *p, const hy__crossover *x, hy__phase phase,
                      void (*put)(hy__page *p, const hy__crossover *x, int arm, int l,
                                  hy__phase phase)) {
    char name[HY__CROSSOVER_LENGTHS][32];
    hy__column column[HY__CROSSOVER_LENGTHS + 1] = {{"arm", 0}};
    for (int l = 0; l < x->n_length; l++) {
        snprintf(name[l], sizeof name[l], "%s", hy__tokens((double)x->length[l]).text);
        column[1 + l] = (hy__column){name[l], true};
    }
    hy__page_heading(p, 3, "%s", TITLE[phase]);
    hy__page_table(p, column, x->n_length + 1);
    for (int a = 0; a < x->n_arm; a++) {
        hy__page_cell(p, "%s", x->scale->arm[a].name);
        for (int l = 0; l < x->n_length; l++) put(p, x, a, l, phase);
    }
    hy__page_table_end(p);
}

static void put_tables(hy__page *p, const hy__crossover *x) {
    hy__page_heading(p, 2, "Tokens per second, and how often the Transformer's");
    for (hy__phase phase = 0; phase < HY__PHASE_N; phase++) put_table(p, x, phase, put_rate);
    hy__page_heading(p, 2, "Memory at its peak, in MB");
    for (hy__phase phase = 0; phase < HY__PHASE_N; phase++) put_table(p, x, phase, put_memory);
}

static hy_status put_setup(hy__page *p, const hy__crossover *x, hy_error *err) {
    HY_TRY(hy__lab_put_arms(p, x->lab, x->scale, err));
    hy__page_table(p, (const hy__column[]){{"arm", 0}, {"parameters", 1}}, 2);
    for (int a = 0; a < x->n_arm; a++) {
        hy__page_cell(p, "%s", x->scale->arm[a].name);
        hy__page_cell(p, "%" PRId64, x->parameters[a]);
    }
    hy__page_table_end(p);
    return HY_OK;
}

static hy_status save_page(const hy__crossover *x, const hy__verdict *v, figure *f, const char *out,
                           hy_error *err) {
    const hy__machine m = hy__machine_describe();
    char *path = hy__path_join(out, "index.html");
    hy__page p = {0};
    hy_status status = path ? HY_OK : hy__no_memory(err, "a path");
    hy__page_begin(&p, "Lab: %s", x->lab->name);
    hy__page_paragraph(&p, "%s", x->lab->question);
    hy__page_grid(&p);
    for (int i = 0; i < FIGURES && status == HY_OK; i++) {
        figure_init(f, x, i);
        hy__page_figure(
            &p, &f->chart,
            i < HY__PHASE_N
                ? "Medians of three rounds; the bands go from the slowest to the fastest."
                : NULL);
        status = hy__chart_save(&f->chart, out, FILE_NAME[i], err);
    }
    hy__page_grid_end(&p);
    hy__verdicts_put(&p, v, GOALS);
    hy__page_paragraph(&p, "Published: %s.", x->lab->published);
    hy__page_heading(&p, 2, "What was measured");
    hy__page_paragraph(&p, "%s", x->lab->about);
    put_tables(&p, x);
    if (status == HY_OK) status = put_setup(&p, x, err);
    hy__page_note(&p, "%s, %" PRId64 " cores, hydralm %s, commit %s.", m.cpu, m.cores, hy_version(),
                  m.commit);
    if (status == HY_OK) status = hy__lab_put_command(&p, x->lab, x->opt, err);
    if (status == HY_OK) status = hy__page_save(&p, path, err);
    hy__page_release(&p);
    free(path);
    return status;
}

hy_status hy__crossover_write(const hy__crossover *x, const char *out, hy_error *err) {
    hy__verdict v[GOALS];
    figure *f = malloc(sizeof *f);
    char *csv = hy__path_join(out, "results.csv");
    hy_status status = f && csv ? HY_OK : hy__no_memory(err, "results");
    judge(x, v);
    if (status == HY_OK) status = save_json(x, v, out, err);
    if (status == HY_OK) status = save_csv(x, csv, err);
    if (status == HY_OK) status = save_page(x, v, f, out, err);
    free(f);
    free(csv);
    return status;
}
