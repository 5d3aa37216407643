/* bench_json.c: a bench as one JSON object; docs/format.md lists its keys. */
#include "bench/bench.h"
#include "page/number.h"

#include <jansson.h>
#include <math.h>

static json_t *machine_json(const hy__bench *b) {
    const hy__machine *m = &b->machine;
    return json_pack("{s:s, s:I, s:I, s:I, s:s, s:s, s:I, s:s}", "cpu", m->cpu, "cores",
                     (json_int_t)m->cores, "memory_bytes", (json_int_t)m->memory,
                     "last_cache_bytes", (json_int_t)m->last_cache, "backend", b->backend, "isa",
                     b->isa, "threads", (json_int_t)b->threads, "commit", m->commit);
}

static json_t *model_json(const hy__bench *b) {
    const hy__account *a = &b->account;
    return json_pack("{s:s, s:s, s:s, s:I, s:I}", "name", b->name, "settings", b->settings,
                     "pattern", a->cfg.model.layers, "parameters",
                     (json_int_t)hy__account_count(a, false), "active",
                     (json_int_t)hy__account_count(a, true));
}

static json_t *cell_json(const hy__cell *c) {
    return json_pack("{s:I, s:o, s:o, s:o}", "calls", (json_int_t)c->calls, "seconds",
                     hy__number_json(c->seconds), "flops", hy__number_json(c->flops), "bytes",
                     hy__number_json(c->bytes));
}

static json_t *part_json(const hy__bench_row *r, int64_t part) {
    const hy__cell all = hy__profile_part(r->profile, part);
    json_t *j = cell_json(&all), *kernels = json_object();
    for (hy__kernel_id id = 0; id < HY__KERNEL_N; id++) {
        const hy__cell *c = &r->profile->cell[part][id];
        if (c->calls > 0 && !r->check->kernel[id])
            json_object_set_new(kernels, hy__kernel_name(id), cell_json(c));
    }
    json_object_set_new(j, "kernels", kernels);
    return j;
}

static json_t *profile_json(const hy__bench *b, const hy__bench_row *r) {
    json_t *parts = json_object(), *kernels = json_object();
    for (int64_t part = 0; part < HY__PROFILE_PARTS; part++) {
        hy__part_key key = hy__profile_key(&b->account, part);
        if (hy__profile_part(r->profile, part).calls == 0) continue;
        if (part < HY__PART_MAX && r->check->letter[part]) continue;
        json_object_set_new(parts, key.text, part_json(r, part));
    }
    for (hy__kernel_id id = 0; id < HY__KERNEL_N; id++) {
        const hy__cell c = hy__profile_kernel(r->profile, id);
        if (c.calls == 0 || r->check->kernel[id]) continue;
        json_object_set_new(kernels, hy__kernel_name(id), cell_json(&c));
    }
    return json_pack("{s:o, s:o, s:o}", "seconds", hy__number_json(r->profile_seconds), "parts",
                     parts, "kernels", kernels);
}

static void add_numbers(json_t *j, const hy__bench_row *r) {
    const double s = r->seconds.median;
    json_object_set_new(j, "seconds", hy__number_json(s));
    json_object_set_new(j, "seconds_min", hy__number_json(r->seconds.min));
    json_object_set_new(j, "seconds_low", hy__number_json(r->seconds.low));
    json_object_set_new(j, "seconds_high", hy__number_json(r->seconds.high));
    json_object_set_new(j, "seconds_max", hy__number_json(r->seconds.max));
    json_object_set_new(j, "tokens_per_s", hy__number_json((double)r->rows / s));
    json_object_set_new(j, "peak_bytes",
                        r->peak_bytes > 0 ? json_integer(r->peak_bytes) : json_null());
    json_object_set_new(j, "flops", hy__number_json(r->flops));
    json_object_set_new(j, "bytes", hy__number_json(r->bytes));
    json_object_set_new(j, "flops_per_s", hy__number_json(r->flops / s));
    json_object_set_new(j, "bytes_per_s", hy__number_json(r->bytes / s));
    json_object_set_new(j, "of_dense", hy__number_json(r->dense_share));
    json_object_set_new(j, "of_stream", hy__number_json(r->stream_share));
    json_object_set_new(j, "past", json_string(r->made_up ? "random" : "read"));
}

static json_t *row_json(const hy__bench *b, const hy__bench_row *r) {
    json_t *j = json_pack("{s:s, s:s, s:I, s:I}", "what", hy__phase_name(r->shape.phase), "dtype",
                          hy__store_name[r->shape.store], "batch", (json_int_t)r->shape.batch,
                          "tokens", (json_int_t)r->shape.tokens);
    if (r->refused.status != HY_OK)
        json_object_set_new(j, "refused", json_string(r->refused.text));
    else
        add_numbers(j, r);
    json_object_set_new(j, "ceilings",
                        json_pack("{s:o, s:o, s:o}", "dense_flops_per_s",
                                  hy__number_json(r->ceiling.dense), "read_bytes_per_s",
                                  hy__number_json(r->ceiling.read), "triad_bytes_per_s",
                                  hy__number_json(r->ceiling.triad)));
    if (r->profile) json_object_set_new(j, "profile", profile_json(b, r));
    return j;
}

json_t *hy__bench_json(const hy__bench *b) {
    json_t *rows = json_array();
    for (int64_t i = 0; i < b->n_row; i++) json_array_append_new(rows, row_json(b, &b->row[i]));
    return json_pack("{s:o, s:o, s:I, s:I, s:o}", "machine", machine_json(b), "model",
                     model_json(b), "runs", (json_int_t)b->runs, "warm_up", (json_int_t)b->warm_up,
                     "rows", rows);
}
