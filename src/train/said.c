/* said.c: what the layers say of a step (hy__layer.said), as JSON. */
#include "train/trainer.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

/* Counts are written as whole numbers; what is not said as null. */
static json_t *number(double x) {
    if (!isfinite(x)) return json_null();
    return x == floor(x) && fabs(x) < 1e15 ? json_integer((json_int_t)x) : json_real(x);
}

static json_t *list(const double *x, int64_t n) {
    json_t *to = json_array();
    for (int64_t i = 0; i < n; i++) json_array_append_new(to, number(x[i]));
    return to;
}

/* A layer's list or table; of a table over domains only the rows that there are. */
static json_t *table(const hy__trainer *tr, const hy__layer *l, const hy__say_decl *say) {
    const double *x = l->said + say->at;
    if (say->row == 0) return list(x, say->col);
    json_t *to = json_array();
    for (int64_t i = 0; i < say->row && i < tr->data.n; i++)
        json_array_append_new(to, list(x + i * say->col, say->col));
    return to;
}

/* A list with an entry for each layer of the letter. */
static json_t *of_each_layer(const hy__trainer *tr, const hy__component *c, int id) {
    json_t *to = json_array();
    for (int64_t i = 0; i < tr->model->cfg.n_layer; i++) {
        const hy__layer *l = &tr->model->layer[i];
        if (l->component == c) json_array_append_new(to, table(tr, l, &l->decl.say[id]));
    }
    return to;
}

/* What the layers' outputs are multiplied by: g, times what a curriculum lets through of it. */
static json_t *gates(const hy__trainer *tr, const hy__component *c) {
    json_t *to = json_array();
    for (int64_t i = 0; i < tr->model->cfg.n_layer; i++) {
        const hy__layer *l = &tr->model->layer[i];
        double g;
        if (l->component != c) continue;
        hy__tensor_read_f64(tr->be, &g, l->value[l->gate], 1);
        json_array_append_new(to, number(l->scale * g));
    }
    return to;
}

/* What the layers of the same letter as l say. */
static json_t *letter(const hy__trainer *tr, const hy__layer *l, bool detail) {
    json_t *to = json_object();
    for (int id = 0; id < l->decl.n_say; id++) {
        const hy__say_decl *say = &l->decl.say[id];
        if (say->col == 0) {
            const double mean = hy__model_said(tr->model, l->component->letter, say->name);
            if (!isnan(mean)) json_object_set_new(to, say->name, json_real(mean));
        } else if (detail) {
            json_object_set_new(to, say->name, of_each_layer(tr, l->component, id));
        }
    }
    if (detail) json_object_set_new(to, "gate", gates(tr, l->component));
    return to;
}

/* Adds {"E": {"entropy": …}, …}. */
static bool add_letters(json_t *line, const hy__trainer *tr, bool detail) {
    for (int64_t i = 0; i < tr->model->cfg.n_layer; i++) {
        const hy__layer *l = &tr->model->layer[i];
        const char key[2] = {l->component->letter, 0};
        if (json_object_get(line, key)) continue;
        json_t *said = letter(tr, l, detail);
        const bool some = json_object_size(said) > 0;
        if (some && json_object_set_new(line, key, said) != 0) return false;
        if (!some) json_decref(said);
    }
    return true;
}

/* What the lists are of. */
static bool add_subjects(json_t *line, const hy__trainer *tr) {
    json_t *corpora = json_array();
    for (int64_t i = 0; i < tr->data.n; i++)
        json_array_append_new(corpora, json_string(tr->data.name[i]));
    return json_object_set_new(line, "corpora", corpora) == 0 &&
           json_object_set_new(line, "layers", json_string(tr->model->cfg.letter)) == 0;
}

bool hy__said_add(const hy__trainer *tr, json_t *line, bool detail) {
    return (!detail || add_subjects(line, tr)) && add_letters(line, tr, detail);
}
