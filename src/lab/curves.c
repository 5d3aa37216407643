/* curves.c: how the arms learned, of an experiment's page; see lab.h. */
#include "base/file.h"
#include "lab/lab.h"
#include "page/page.h"
#include "report/run.h"

#include <stdlib.h>
#include <string.h>

enum { POINTS = 64 };

typedef struct curve {
    double tokens[POINTS], loss[POINTS];
    int n;
} curve;

/* The loss of the training's steps, as the means of stretches of them. */
static void read_loss(curve *c, const hy__run *run) {
    const hy__track *loss = hy__run_track(run, "loss");
    const int64_t n = loss ? hy__track_points(loss) : 0;
    for (int64_t from = 0, to; from < n; from = to) {
        double step = 0.0, sum = 0.0;
        to = (c->n + 1) * n / (n < POINTS ? n : POINTS);
        for (int64_t i = from; i < to; i++) {
            step += hy__track_step(loss, i) / (double)(to - from);
            sum += hy__track_mean(loss, i, 0) / (double)(to - from);
        }
        c->tokens[c->n] = hy__run_at(run, HY__OVER_TOKENS, step);
        c->loss[c->n++] = sum;
    }
}

/* An arm whose training was deleted since has no curve. */
static hy_status read_curve(curve *c, const hy__job *j, hy_error *err) {
    hy__run run = {0};
    char *model = hy__path_join(j->dir, "model");
    hy_status status = model ? HY_OK : hy__no_memory(err, "a path");
    if (status == HY_OK) status = hy__run_read(&run, model, err);
    if (status == HY_OK) read_loss(c, &run);
    if (status == HY_E_IO || status == HY_E_INVALID) status = HY_OK;
    hy__run_release(&run);
    free(model);
    return status;
}

hy_status hy__results_curves(hy__page *p, const hy__results *r, const char *out, hy_error *err) {
    curve *c = calloc((size_t)r->n_arm, sizeof *c);
    hy__series series[HY__LAB_ARMS] = {0};
    hy_status status = c ? HY_OK : hy__no_memory(err, "curves");
    int n = 0;
    for (int a = 0; a < r->n_arm && status == HY_OK; a++) {
        status = read_curve(&c[a], hy__results_job(r, a, 1), err);
        series[a] = (hy__series){
            .name = r->scale->arm[a].name, .x = c[a].tokens, .y = c[a].loss, .n = c[a].n};
        n += c[a].n;
    }
    const hy__chart chart = {.kind = HY__CHART_LINES,
                             .title = "Learning: loss in training over what was asked",
                             .x = {.label = "tokens asked for", .unit = HY__UNIT_COUNT},
                             .y = {.label = "nats per token", .unit = HY__UNIT_PLAIN},
                             .series = series,
                             .n_series = r->n_arm};
    if (status == HY_OK && n > 0) {
        hy__page_figure(p, &chart, "The first seed, at the rate that was chosen.");
        status = hy__chart_save(&chart, out, "training.svg", err);
    }
    free(c);
    return status;
}
