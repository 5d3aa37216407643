/* sheet_json.c: a sheet as one JSON object; docs/format.md lists its keys. */
#include "account/sheet_faces.h"

#include "page/number.h"

#include <jansson.h>
#include <math.h>

static json_t *part_json(const hy__account_part *p) {
    const char letter[2] = {p->letter, 0};
    json_t *bytes = json_object(), *terms = json_array();
    for (hy__store k = 0; k < HY__STORE_N; k++)
        json_object_set_new(bytes, hy__store_name[k], hy__number_json(p->weight_bytes[k]));
    for (int i = 0; i < p->cost.n_term; i++) {
        const hy__term *t = &p->cost.term[i];
        json_array_append_new(terms, json_pack("{s:s, s:s, s:s, s:o, s:o}", "what", t->what, "per",
                                               hy__extent_name(t->per), "formula", t->formula,
                                               "forward_flops", hy__number_json(t->forward),
                                               "backward_flops", hy__number_json(t->backward)));
    }
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:o, s:o}", "letter", letter, "name", p->name,
                     "layers", (json_int_t)p->n_layer, "layer_parameters", (json_int_t)p->each,
                     "parameters", (json_int_t)p->param, "active", (json_int_t)p->active, "bytes",
                     bytes, "terms", terms);
}

static json_t *spent_json(const hy__spent *s) {
    json_t *bytes =
        json_pack("{s:o, s:o, s:o, s:o}", "weights", hy__number_json(s->weight), "states",
                  hy__number_json(s->state), "activations", hy__number_json(s->activation),
                  "optimizer", hy__number_json(s->optimizer));
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "forward_flops",
                     hy__number_json(s->forward), "backward_flops", hy__number_json(s->backward),
                     "again_flops", hy__number_json(s->again), "update_flops",
                     hy__number_json(s->update), "constant_flops",
                     hy__number_json(s->grows[HY__GROWTH_CONSTANT]), "linear_flops",
                     hy__number_json(s->grows[HY__GROWTH_LINEAR]), "quadratic_flops",
                     hy__number_json(s->grows[HY__GROWTH_QUADRATIC]), "bytes", bytes);
}

/* The whole, and each part under its letter ("frame" for the frame). */
static json_t *call_json(const hy__account *a, const hy__spent *part) {
    json_t *all = spent_json(&part[a->n_part]), *parts = json_object();
    for (int64_t i = 0; i < a->n_part; i++) {
        const char letter[2] = {a->part[i].letter, 0};
        json_object_set_new(parts, *letter ? letter : "frame", spent_json(&part[i]));
    }
    json_object_set_new(all, "parts", parts);
    return all;
}

static json_t *memory_json(const hy__memory *m) {
    json_t *j = json_object();
    for (int i = 0; i < HY__MEMORY_KINDS; i++) {
        const hy__memory_part p = hy__memory_kind(m, i);
        json_object_set_new(j, p.name, hy__number_json(p.bytes));
    }
    return j;
}

static json_t *length_json(const hy__sheet *s, const hy__sheet_length *l) {
    return json_pack("{s:I, s:o, s:o, s:o, s:o}", "tokens", (json_int_t)l->tokens, "prefill",
                     call_json(&s->account, l->prefill), "decode",
                     call_json(&s->account, l->decode), "state_bytes", hy__number_json(l->state),
                     "serving_bytes", memory_json(&l->serving));
}

static json_t *training_json(const hy__sheet *s) {
    json_t *memory = json_pack("{s:o, s:o}", "kept", memory_json(&s->memory[0]), "recomputed",
                               memory_json(&s->memory[1]));
    return json_pack("{s:I, s:I, s:b, s:o, s:o, s:o}", "batch", (json_int_t)s->opt.batch, "tokens",
                     (json_int_t)s->opt.tokens, "recompute", (int)s->opt.recompute, "kept",
                     call_json(&s->account, s->train[0]), "recomputed",
                     call_json(&s->account, s->train[1]), "memory_bytes", memory);
}

static json_t *bound_json(const hy__bound *b) {
    return json_pack("{s:f, s:f, s:f}", "compute", b->compute, "memory", b->memory, "seconds",
                     b->seconds);
}

static json_t *hardware_json(const hy__sheet *s, const hy__sheet_hardware *h) {
    json_t *j =
        json_pack("{s:s, s:s, s:f, s:f, s:f, s:f, s:f, s:s}", "name", h->hardware->name, "what",
                  h->hardware->what, "fp32", h->hardware->fp32, "bf16", h->hardware->bf16, "int8",
                  h->hardware->int8, "bandwidth", h->hardware->bandwidth, "memory",
                  h->hardware->memory, "source", h->hardware->source);
    json_t *plan =
        json_pack("{s:b, s:b, s:I, s:o, s:f, s:I, s:o, s:o, s:I, s:I, s:I}", "trains",
                  (int)h->trains, "serves", (int)h->serves, "trained_batch", (json_int_t)h->trained,
                  "train", bound_json(&h->train), "days", h->days, "at_tokens",
                  (json_int_t)s->length[s->at].tokens, "prefill", bound_json(&h->prefill), "decode",
                  bound_json(&h->decode), "largest_batch", (json_int_t)h->batch, "longest_training",
                  (json_int_t)h->tokens, "longest_served", (json_int_t)h->served);
    json_object_update(j, plan);
    json_decref(plan);
    return j;
}

static json_t *rival_json(const hy__sheet *s, const hy__sheet_rival *r) {
    json_t *cross = json_object(), *lengths = json_array();
    for (hy__measure m = 0; m < HY__MEASURE_N; m++)
        json_object_set_new(cross, hy__measure_face_of(m).key,
                            r->cross[m] ? hy__number_json((double)r->cross[m]) : json_null());
    for (int64_t i = 0; i < s->opt.n_length; i++) {
        json_t *at = json_pack("{s:I}", "tokens", (json_int_t)s->length[i].tokens);
        for (hy__measure m = 0; m < HY__MEASURE_N; m++)
            json_object_set_new(at, hy__measure_face_of(m).key,
                                hy__number_json(hy__account_measure(
                                    &r->account, m, s->length[i].tokens, s->opt.store)));
        json_array_append_new(lengths, at);
    }
    return json_pack(
        "{s:s, s:s, s:I, s:I, s:o, s:o}", "name", r->name, "pattern", r->account.cfg.model.layers,
        "d_model", (json_int_t)r->account.cfg.model.d_model, "parameters",
        (json_int_t)hy__account_count(&r->account, false), "less_from", cross, "lengths", lengths);
}

struct json_t *hy__sheet_json(const hy__sheet *s) {
    const hy__config *c = &s->account.cfg;
    const hy__sheet_growth g = hy__sheet_growth_of(s);
    json_t *parts = json_array(), *lengths = json_array(), *hardware = json_array();
    json_t *against = json_array(), *weights = json_object();
    for (int64_t i = 0; i < s->account.n_part; i++)
        json_array_append_new(parts, part_json(&s->account.part[i]));
    for (int64_t i = 0; i < s->opt.n_length; i++)
        json_array_append_new(lengths, length_json(s, &s->length[i]));
    for (int64_t i = 0; i < s->opt.n_hardware; i++)
        json_array_append_new(hardware, hardware_json(s, &s->hardware[i]));
    for (int64_t i = 0; i < s->n_rival; i++)
        json_array_append_new(against, rival_json(s, &s->rival[i]));
    for (hy__store k = 0; k < HY__STORE_N; k++)
        json_object_set_new(weights, hy__store_name[k], hy__number_json(s->weights[k]));
    json_t *j = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "name", s->name,
                          "pattern", c->model.layers, "n_layer", (json_int_t)c->n_layer, "d_model",
                          (json_int_t)c->model.d_model, "vocab", (json_int_t)c->model.vocab,
                          "chunk", (json_int_t)c->model.chunk, "parameters", (json_int_t)s->param,
                          "active", (json_int_t)s->active, "weight_bytes", weights);
    json_t *more = json_pack(
        "{s:o, s:o, s:o, s:s, s:I, s:f, s:I, s:o, s:o, s:o}", "parts", parts, "training",
        training_json(s), "state",
        json_pack("{s:o, s:o, s:I}", "fixed_bytes", hy__number_json(g.fixed), "bytes_per_token",
                  hy__number_json(g.per_token), "until_tokens", (json_int_t)g.until),
        "dtype", hy__store_name[s->opt.store], "sequences", (json_int_t)s->opt.sequences, "budget",
        s->opt.budget, "devices", (json_int_t)s->opt.devices, "lengths", lengths, "hardware",
        hardware, "against", against);
    if (!j || !more || json_object_update(j, more) != 0) {
        json_decref(j);
        j = NULL;
    }
    json_decref(more);
    return j;
}
