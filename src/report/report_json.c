/* report_json.c: the summary of a report for other programs. */
#include "report/report.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

static json_t *number(double x) {
    if (!isfinite(x)) return json_null();
    return x == floor(x) && fabs(x) < 1e15 ? json_integer((json_int_t)x) : json_real(x);
}

static double last_of(const hy__run *r, const char *track) {
    const hy__track *t = hy__run_track(r, track);
    return t ? t->last : (double)NAN;
}

/* The least number of a track, of single steps. */
static double least_of(const hy__run *r, const char *track) {
    const hy__track *t = hy__run_track(r, track);
    double least = (double)NAN;
    for (int64_t b = 0; t && b < t->n_bucket; b++)
        if (t->seen[b] > 0) least = fmin(least, t->lo[b]);
    return least;
}

/* What tracks named LETTER.x are at the end: of numbers alone. */
static json_t *final_figures(const hy__run *r) {
    json_t *to = json_object();
    for (int i = 0; i < r->n_track; i++) {
        const hy__track *t = &r->track[i];
        const char *dot = strchr(t->name, '.');
        if (!dot || t->depth > 0) continue;
        char letter[96];
        memcpy(letter, t->name, (size_t)(dot - t->name));
        letter[dot - t->name] = 0;
        json_t *of = json_object_get(to, letter);
        if (!of) {
            of = json_object();
            json_object_set_new(to, letter, of);
        }
        json_object_set_new(of, dot + 1, number(hy__track_final(t, 0, r->last_step)));
    }
    return to;
}

static json_t *stages(const hy__run *r) {
    json_t *to = json_array();
    for (int i = 0; i < r->n_stage; i++)
        json_array_append_new(to, json_pack("{s:s, s:I}", "name", r->stage[i].name, "first_step",
                                            (json_int_t)r->stage[i].first));
    return to;
}

static json_t *run_json(const hy__run *r) {
    return json_pack("{s:s, s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o}", "path",
                     r->path, "layers", r->layers, "steps", (json_int_t)r->last_step, "tokens",
                     number(last_of(r, "tokens")), "seconds", number(last_of(r, "seconds")), "loss",
                     number(hy__run_final(r, "loss", 0)), "bits_per_byte",
                     number(hy__run_final(r, "bits_per_byte", 0)), "val_loss",
                     number(last_of(r, "val_loss")), "best_val_loss",
                     number(least_of(r, "val_loss")), "tokens_per_s",
                     number(hy__run_final(r, "tokens_per_s", 0)), "cut", r->cut, "stages",
                     stages(r), "letters", final_figures(r));
}

json_t *hy__report_json(const hy__report *r) {
    json_t *runs = json_array();
    for (int i = 0; i < r->n; i++) json_array_append_new(runs, run_json(&r->run[i]));
    return json_pack("{s:o}", "runs", runs);
}
