/* report_html.c: the page: figures at the end, losses, the course of the training, and the letters
 * (report_letters.c). Several runs stand in the same axes, each in its colour. */
#include "report/figure.h"
#include "report/report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static double last_of(const hy__run *r, const char *track) {
    const hy__track *t = hy__run_track(r, track);
    return t ? t->last : (double)NAN;
}

/* The least of a track, and the step it is of. */
static double least_of(const hy__run *r, const char *track) {
    const hy__track *t = hy__run_track(r, track);
    double least = (double)NAN;
    for (int64_t b = 0; t && b < t->n_bucket; b++)
        if (t->seen[b] > 0) least = fmin(least, t->lo[b]);
    return least;
}

/* ---- the head ---- */

static void put_tile(hy__page *p, const char *name, hy__unit unit, double x, int digits) {
    if (isfinite(x)) hy__page_item(p, name, "%s", hy__number_digits(unit, x, digits).text);
}

static void put_tiles(hy__page *p, const hy__run *r) {
    hy__page_tiles(p);
    put_tile(p, "training loss", HY__UNIT_PLAIN, hy__run_final(r, "loss", 0), 5);
    put_tile(p, "held-out loss", HY__UNIT_PLAIN, last_of(r, "val_loss"), 5);
    put_tile(p, "bits per byte", HY__UNIT_PLAIN, hy__run_final(r, "bits_per_byte", 0), 4);
    put_tile(p, "steps", HY__UNIT_COUNT, (double)r->last_step, 4);
    put_tile(p, "tokens", HY__UNIT_COUNT, last_of(r, "tokens"), 3);
    put_tile(p, "tokens each second", HY__UNIT_COUNT, hy__run_final(r, "tokens_per_s", 0), 3);
    put_tile(p, "time", HY__UNIT_SECONDS, last_of(r, "seconds"), 3);
    put_tile(p, "steps dropped", HY__UNIT_COUNT, last_of(r, "dropped"), 3);
    hy__page_list_end(p);
}

static void put_pattern(hy__page *p, const hy__run *r) {
    if (*r->layers)
        hy__page_paragraph(p, "%s: pattern `%s`, from `%s`.", r->title, r->layers, r->path);
    if (r->cut)
        hy__page_note(p, "The last line of %s was cut off while it was written; it is left out.",
                      r->title);
}

/* ---- figures at the end ---- */

typedef struct measure {
    const char *name, *track;
    hy__unit unit;
    enum { FINAL, LAST, LEAST } of;
} measure;

static const measure MEASURES[] = {
    {"steps", NULL, HY__UNIT_COUNT, LAST},
    {"tokens", "tokens", HY__UNIT_COUNT, LAST},
    {"time", "seconds", HY__UNIT_SECONDS, LAST},
    {"tokens each second", "tokens_per_s", HY__UNIT_COUNT, FINAL},
    {"training loss", "loss", HY__UNIT_PLAIN, FINAL},
    {"bits per byte", "bits_per_byte", HY__UNIT_PLAIN, FINAL},
    {"held-out loss, last", "val_loss", HY__UNIT_PLAIN, LAST},
    {"held-out loss, best", "val_loss", HY__UNIT_PLAIN, LEAST},
    {"held-out accuracy", "val_accuracy", HY__UNIT_PERCENT, LAST},
    {"norm of the gradient", "grad_norm", HY__UNIT_PLAIN, FINAL},
    {"steps dropped", "dropped", HY__UNIT_COUNT, LAST},
    {"returns to a checkpoint", "rewound", HY__UNIT_COUNT, LAST},
    {"A: distance in tokens", "A.distance", HY__UNIT_COUNT, FINAL},
    {"E: busiest expert above the mean", "E.max_violation", HY__UNIT_PERCENT, FINAL},
    {"E: evenness (entropy)", "E.entropy", HY__UNIT_PERCENT, FINAL},
    {"E: dead experts", "E.dead", HY__UNIT_PLAIN, FINAL},
    {"W: decay", "W.decay", HY__UNIT_PLAIN, FINAL},
    {"W: write rate", "W.write", HY__UNIT_PLAIN, FINAL},
    {"W: norm of a memory", "W.norm", HY__UNIT_PLAIN, FINAL},
    {"P: slots used", "P.slots", HY__UNIT_COUNT, FINAL},
    {"P: KL from even", "P.kl", HY__UNIT_PLAIN, FINAL},
    {"P: mean β", "P.beta", HY__UNIT_PLAIN, FINAL},
};

static double measured(const hy__run *r, const measure *m) {
    if (!m->track) return (double)r->last_step;
    if (m->of == LAST) return last_of(r, m->track);
    return m->of == LEAST ? least_of(r, m->track) : hy__run_final(r, m->track, 0);
}

static void put_table(hy__page *p, const hy__report *r) {
    hy__column column[1 + HY__REPORT_RUNS] = {{"", false}};
    for (int i = 0; i < r->n; i++)
        column[1 + i] = (hy__column){r->n > 1 ? r->run[i].title : "at the end", true};
    hy__page_heading(p, 2, "Final figures");
    hy__page_table(p, column, 1 + r->n);
    for (size_t k = 0; k < sizeof MEASURES / sizeof *MEASURES; k++) {
        const measure *m = &MEASURES[k];
        bool some = false;
        for (int i = 0; i < r->n; i++) some = some || isfinite(measured(&r->run[i], m));
        if (!some) continue;
        hy__page_cell(p, "%s", m->name);
        for (int i = 0; i < r->n; i++) {
            const double x = measured(&r->run[i], m);
            hy__page_cell(p, "%s", isfinite(x) ? hy__number_digits(m->unit, x, 4).text : "–");
        }
    }
    hy__page_table_end(p);
    hy__page_note(p, "Held-out losses, steps, tokens and time as they were last; everything else "
                     "is the mean over the last tenth of the steps.");
}

/* ---- figures over the steps ---- */

static void put_curves(hy__page *p, const hy__report *r, const char *track, const char *title,
                       const char *label, hy__unit unit, hy__scale scale, hy__look look,
                       const char *caption) {
    hy__figure f;
    hy__figure_begin(&f, HY__CHART_LINES, title, label, unit);
    f.chart.y.scale = scale;
    if (strcmp(track, "loss") == 0) f.points = HY__TRACK_POINTS; /* as wide as the page */
    for (int i = 0; i < r->n; i++)
        hy__figure_curve(&f, r->run[i].title, hy__run_track(&r->run[i], track), 0, look);
    if (r->n == 1) hy__figure_stages(&f, &r->run[0]);
    hy__figure_put(&f, p, caption);
}

static void put_losses(hy__page *p, const hy__report *r) {
    hy__page_heading(p, 2, "Losses");
    put_curves(p, r, "loss", "Training loss", "nats per token", HY__UNIT_PLAIN, HY__SCALE_LINEAR,
               HY__LOOK_BOTH,
               "Each point is a step, or the mean of as many as share a place; the line is "
               "a moving mean of them.");
    hy__page_grid(p);
    put_curves(p, r, "val_loss", "Held-out loss", "nats per token", HY__UNIT_PLAIN,
               HY__SCALE_LINEAR, HY__LOOK_POINTS, NULL);
    put_curves(p, r, "bits_per_byte", "Training, in bits per byte", "bits per byte", HY__UNIT_PLAIN,
               HY__SCALE_LINEAR, HY__LOOK_BOTH, NULL);
    put_curves(p, r, "val_accuracy", "Held-out accuracy", "of the tokens", HY__UNIT_PERCENT,
               HY__SCALE_LINEAR, HY__LOOK_POINTS, "Tokens that were the likeliest.");
    hy__page_grid_end(p);
}

/* The gradient's norm by letter, of one run. */
static void put_norms(hy__page *p, const hy__run *r) {
    static const char *const part[] = {"S", "A", "E", "F", "W", "P", "frame"};
    hy__figure f;
    hy__figure_begin(&f, HY__CHART_LINES, "Norm of the gradient, by letter", NULL, HY__UNIT_PLAIN);
    f.chart.y.scale = HY__SCALE_LOG10;
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        char track[32];
        snprintf(track, sizeof track, "grad_norms.%s", part[i]);
        hy__series *s = hy__figure_curve(&f, part[i], hy__run_track(r, track), 0, HY__LOOK_MEAN);
        if (s) s->color = (int)i + 1;
    }
    hy__figure_stages(&f, r);
    hy__figure_put(&f, p, "A moving mean. `frame`: the embedding and the final norm.");
}

static void put_stages(hy__page *p, const hy__report *r) {
    bool some = false;
    for (int i = 0; i < r->n; i++) some = some || r->run[i].n_stage > 1;
    if (!some) return;
    hy__page_heading(p, 3, "Stages");
    hy__page_table(p, (const hy__column[]){{"run", false}, {"stage", false}, {"first step", true}},
                   3);
    for (int i = 0; i < r->n; i++)
        for (int j = 0; j < r->run[i].n_stage; j++) {
            hy__page_cell(p, "%s", r->run[i].title);
            hy__page_cell(p, "%s", r->run[i].stage[j].name);
            hy__page_cell(p, "%lld", (long long)r->run[i].stage[j].first);
        }
    hy__page_table_end(p);
}

static void put_course(hy__page *p, const hy__report *r) {
    hy__page_heading(p, 2, "Course of the training");
    put_stages(p, r);
    hy__page_grid(p);
    put_curves(p, r, "lr", "Learning rate", NULL, HY__UNIT_PLAIN, HY__SCALE_LINEAR, HY__LOOK_POINTS,
               NULL);
    put_curves(p, r, "tokens_per_s", "Tokens each second", NULL, HY__UNIT_COUNT, HY__SCALE_LINEAR,
               HY__LOOK_BOTH, "Of the steps alone, without evaluations and checkpoints.");
    put_curves(p, r, "grad_norm", "Norm of the gradient", NULL, HY__UNIT_PLAIN, HY__SCALE_LOG10,
               HY__LOOK_BOTH, "Before clipping.");
    if (r->n == 1) put_norms(p, &r->run[0]);
    hy__page_grid_end(p);
}

hy_status hy__report_html(const hy__report *r, const char *path, hy_error *err) {
    static const char letters[] = "SAEFWP";
    hy__page p = {0};
    if (r->n == 1)
        hy__page_begin(&p, "Training of %s", r->run[0].title);
    else
        hy__page_begin(&p, "%d trainings compared", r->n);
    for (int i = 0; i < r->n; i++) put_pattern(&p, &r->run[i]);
    if (r->n == 1)
        put_tiles(&p, &r->run[0]);
    else
        put_table(&p, r);
    put_losses(&p, r);
    put_course(&p, r);
    for (const char *l = letters; *l; l++) hy__report_letter(&p, r, *l);
    if (r->n == 1) put_table(&p, r);
    const hy_status status = hy__page_save(&p, path, err);
    hy__page_release(&p);
    return status;
}
