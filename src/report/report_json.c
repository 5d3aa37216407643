/* report_json.c: the summary of a report for other programs. */
#include "report/report.h"

#include "page/number.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

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
        json_object_set_new(of, dot + 1, hy__number_json(hy__track_final(t, 0, r->last_step)));
    }
    return to;
}

static json_t *stages(const hy__run *r) {
    json_t *to = json_array();
    for (int i = 0; i < r->n_stage; i++) {
        const hy__run_stage *s = &r->stage[i];
        json_array_append_new(to, json_pack("{s:s, s:I, s:s*}", "name", s->name, "first_step",
                                            (json_int_t)s->first, "end", *s->end ? s->end : NULL));
    }
    return to;
}

/* Numbers of the whole run, by their names in docs/format.md. */
static const struct summed {
    const char *name, *track;
    double (*of)(const hy__run *r, const char *track);
} SUMMED[] = {{"tokens", "tokens", hy__run_last},
              {"seconds", "seconds", hy__run_last},
              {"loss", "loss", hy__run_final},
              {"bits_per_byte", "bits_per_byte", hy__run_final},
              {"val_loss", "val_loss", hy__run_last},
              {"best_val_loss", "val_loss", hy__run_least},
              {"val_bits_per_byte", "val_bits_per_byte", hy__run_last},
              {"val_accuracy", "val_accuracy", hy__run_last},
              {"tokens_per_s", "tokens_per_s", hy__run_final},
              {"dropped", "dropped", hy__run_last},
              {"rewound", "rewound", hy__run_last}};

static json_t *run_json(const hy__run *r) {
    json_t *to = json_pack("{s:s, s:s, s:I}", "path", r->path, "layers", r->layers, "steps",
                           (json_int_t)r->last_step);
    for (size_t i = 0; i < sizeof SUMMED / sizeof *SUMMED; i++)
        json_object_set_new(to, SUMMED[i].name, hy__number_json(SUMMED[i].of(r, SUMMED[i].track)));
    json_object_set_new(to, "cut", json_boolean(r->cut));
    json_object_set_new(to, "stages", stages(r));
    json_object_set_new(to, "letters", final_figures(r));
    return to;
}

json_t *hy__report_json(const hy__report *r) {
    json_t *runs = json_array();
    for (int i = 0; i < r->n; i++) json_array_append_new(runs, run_json(&r->run[i]));
    return json_pack("{s:o}", "runs", runs);
}
