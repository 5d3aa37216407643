/* report_html.c: the page: figures at the end, losses, the course of the training, and the letters
 * (report_letters.c). Several runs stand in the same axes, each in its colour. */
#include "report/figure.h"
#include "report/report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- the head ---- */

static void put_tile(hy__page *p, const char *name, hy__unit unit, double x, int digits) {
    if (isfinite(x)) hy__page_item(p, name, "%s", hy__number_digits(unit, x, digits).text);
}

static void put_tiles(hy__page *p, const hy__run *r) {
    hy__page_tiles(p);
    put_tile(p, "training loss, nats per token", HY__UNIT_PLAIN, hy__run_final(r, "loss"), 4);
    put_tile(p, "held-out loss, nats per token", HY__UNIT_PLAIN, hy__run_last(r, "val_loss"), 4);
    put_tile(p, "held out, bits per byte", HY__UNIT_PLAIN, hy__run_last(r, "val_bits_per_byte"), 4);
    put_tile(p, "steps", HY__UNIT_COUNT, (double)r->last_step, 4);
    put_tile(p, "tokens", HY__UNIT_COUNT, hy__run_last(r, "tokens"), 3);
    put_tile(p, "tokens each second", HY__UNIT_COUNT, hy__run_final(r, "tokens_per_s"), 3);
    put_tile(p, "time", HY__UNIT_SECONDS, hy__run_last(r, "seconds"), 3);
    put_tile(p, "steps dropped", HY__UNIT_COUNT, hy__run_last(r, "dropped"), 3);
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
    double (*of)(const hy__run *r, const char *track);
} measure;

static double last_step(const hy__run *r, const char *track) {
    (void)track;
    return (double)r->last_step;
}

static const measure MEASURES[] = {
    {"steps", NULL, HY__UNIT_COUNT, last_step},
    {"tokens", "tokens", HY__UNIT_COUNT, hy__run_last},
    {"time", "seconds", HY__UNIT_SECONDS, hy__run_last},
    {"tokens each second", "tokens_per_s", HY__UNIT_COUNT, hy__run_final},
    {"training loss, nats per token", "loss", HY__UNIT_PLAIN, hy__run_final},
    {"training, bits per byte", "bits_per_byte", HY__UNIT_PLAIN, hy__run_final},
    {"held-out loss, last", "val_loss", HY__UNIT_PLAIN, hy__run_last},
    {"held-out loss, best", "val_loss", HY__UNIT_PLAIN, hy__run_least},
    {"held out, bits per byte, last", "val_bits_per_byte", HY__UNIT_PLAIN, hy__run_last},
    {"held-out accuracy, last", "val_accuracy", HY__UNIT_PERCENT, hy__run_last},
    {"norm of the gradient", "grad_norm", HY__UNIT_PLAIN, hy__run_final},
    {"steps dropped", "dropped", HY__UNIT_COUNT, hy__run_last},
    {"returns to a checkpoint", "rewound", HY__UNIT_COUNT, hy__run_last},
    {"A: distance in tokens", "A.distance", HY__UNIT_COUNT, hy__run_final},
    {"E: busiest expert above the mean", "E.max_violation", HY__UNIT_PERCENT, hy__run_final},
    {"E: evenness (entropy)", "E.entropy", HY__UNIT_PERCENT, hy__run_final},
    {"E: dead experts of a layer", "E.dead", HY__UNIT_PLAIN, hy__run_final},
    {"W: decay", "W.decay", HY__UNIT_PLAIN, hy__run_final},
    {"W: write rate", "W.write", HY__UNIT_PLAIN, hy__run_final},
    {"W: norm of a memory", "W.norm", HY__UNIT_PLAIN, hy__run_final},
    {"P: slots used", "P.slots", HY__UNIT_COUNT, hy__run_final},
    {"P: KL from even, nats", "P.kl", HY__UNIT_PLAIN, hy__run_final},
    {"P: mean β", "P.beta", HY__UNIT_PLAIN, hy__run_final},
};

static void put_table(hy__page *p, const hy__report *r) {
    hy__column column[1 + HY__REPORT_RUNS] = {{"", false}};
    for (int i = 0; i < r->n; i++)
        column[1 + i] = (hy__column){r->n > 1 ? r->run[i].title : "at the end", true};
    hy__page_heading(p, 2, "Final figures");
    hy__page_table(p, column, 1 + r->n);
    for (size_t k = 0; k < sizeof MEASURES / sizeof *MEASURES; k++) {
        const measure *m = &MEASURES[k];
        bool some = false;
        for (int i = 0; i < r->n; i++) some = some || isfinite(m->of(&r->run[i], m->track));
        if (!some) continue;
        hy__page_cell(p, "%s", m->name);
        for (int i = 0; i < r->n; i++) {
            const double x = m->of(&r->run[i], m->track);
            hy__page_cell(p, "%s", isfinite(x) ? hy__number_digits(m->unit, x, 4).text : "–");
        }
    }
    hy__page_table_end(p);
    hy__page_note(p, "What is held out, steps, tokens, time and counts of steps as they were last; "
                     "everything else is the mean over the last tenth of the steps.");
}

/* ---- losses ---- */

static void put_losses(hy__page *p, const hy__report *r) {
    static const hy__plot training = {"loss", "Training loss", "nats per token",
                                      .caption = "Each point is a step, or the mean of as many as "
                                                 "share a place; the line is a moving mean "
                                                 "of them."};
    static const hy__plot others[] = {
        {"val_loss", "Held-out loss", "nats per token", .look = HY__LOOK_POINTS},
        {"val_bits_per_byte", "Held out, in bits per byte", "bits per byte",
         .look = HY__LOOK_POINTS},
        {"bits_per_byte", "Training, in bits per byte", .label = "bits per byte"},
        {"val_accuracy", "Held-out accuracy", "of the tokens", "Tokens that were the likeliest.",
         HY__UNIT_PERCENT, .look = HY__LOOK_POINTS}};
    hy__page_heading(p, 2, "Losses");
    hy__figure_plot(p, r, &training);
    hy__page_grid(p);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) hy__figure_plot(p, r, &others[i]);
    hy__page_grid_end(p);
}

/* ---- the course ---- */

/* The gradient's norm by letter, of one run. */
static void put_norms(hy__page *p, const hy__report *r) {
    static const char *const part[] = {"S", "A", "E", "F", "W", "P", "frame"};
    hy__figure f;
    hy__figure_begin(
        &f, p, r,
        (hy__chart){.title = "Norm of the gradient, by letter", .y.scale = HY__SCALE_LOG10});
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        char track[32];
        snprintf(track, sizeof track, "grad_norms.%s", part[i]);
        hy__series *s = hy__figure_curve(&f, &r->run[0], part[i], hy__run_track(&r->run[0], track),
                                         0, HY__LOOK_MEAN);
        if (s) s->color = (int)i + 1;
    }
    hy__figure_put(&f, "A moving mean. `frame`: the embedding and the final norm.");
}

static const char *end_name(const hy__run_stage *s) {
    if (strcmp(s->end, "val_loss") == 0) return "its held-out loss";
    if (strcmp(s->end, "accuracy") == 0) return "its accuracy";
    return strcmp(s->end, "length") == 0 ? "its length" : "–";
}

static void put_stages(hy__page *p, const hy__report *r) {
    bool some = false;
    for (int i = 0; i < r->n; i++) some = some || r->run[i].n_stage > 1;
    if (!some) return;
    hy__page_heading(p, 3, "Stages");
    hy__page_table(p,
                   (const hy__column[]){
                       {"run", false}, {"stage", false}, {"first step", true}, {"ended by", false}},
                   4);
    for (int i = 0; i < r->n; i++)
        for (int j = 0; j < r->run[i].n_stage; j++) {
            const hy__run_stage *s = &r->run[i].stage[j];
            hy__page_cell(p, "%s", r->run[i].title);
            hy__page_cell(p, "%s", s->name);
            hy__page_cell(p, "%lld", (long long)s->first);
            hy__page_cell(p, "%s", end_name(s));
        }
    hy__page_table_end(p);
}

static void put_drops(hy__page *p, const hy__report *r) {
    bool some = false, full = false;
    for (int i = 0; i < r->n; i++) {
        some = some || r->run[i].n_drop > 0;
        full = full || hy__run_last(&r->run[i], "dropped") > r->run[i].n_drop;
    }
    if (!some) return;
    hy__page_heading(p, 3, "Steps that were dropped");
    hy__page_table(p, (const hy__column[]){{"run", false}, {"step", true}, {"because", false}}, 3);
    for (int i = 0; i < r->n; i++)
        for (int j = 0; j < r->run[i].n_drop; j++) {
            hy__page_cell(p, "%s", r->run[i].title);
            hy__page_cell(p, "%lld", (long long)r->run[i].drop[j].step);
            hy__page_cell(p, "%s", r->run[i].drop[j].why);
        }
    hy__page_table_end(p);
    if (full) hy__page_note(p, "The first %d of a run.", HY__RUN_DROPS);
}

static void put_course(hy__page *p, const hy__report *r) {
    static const hy__plot plots[] = {
        {"lr", "Learning rate", .look = HY__LOOK_POINTS},
        {"tokens_per_s", "Tokens each second", .unit = HY__UNIT_COUNT,
         .caption = "Of the steps alone, without evaluations and checkpoints."},
        {"grad_norm", "Norm of the gradient", NULL, "Before clipping.", .scale = HY__SCALE_LOG10}};
    hy__page_heading(p, 2, "Course of the training");
    put_stages(p, r);
    put_drops(p, r);
    hy__page_grid(p);
    for (size_t i = 0; i < sizeof plots / sizeof *plots; i++) hy__figure_plot(p, r, &plots[i]);
    if (r->n == 1) put_norms(p, r);
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
