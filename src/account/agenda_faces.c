/* agenda_faces.c: an agenda as a table for a terminal, and as JSON. */
#include "account/agenda.h"

#include "page/number.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* The letters of the pattern that are on, "all" where none is off. */
static void letters_text(const hy__stage *s, char out[8]) {
    size_t n = 0;
    bool all = true;
    for (const char *c = HY__LETTERS; *c; c++) {
        if (!strchr(s->cfg.letter, *c)) continue;
        if (strchr(s->on, *c))
            out[n++] = *c;
        else
            all = false;
    }
    out[n] = '\0';
    if (all) snprintf(out, 8, "all");
}

static void cell(hy__text *t, int width, hy__number n) {
    hy__text_add(t, " %*s", width, n.text);
}

static void put_row(hy__text *t, const hy__agenda *a, int64_t i) {
    const hy__stage *s = &a->recipe->stage[i];
    const hy__agenda_row *row = &a->row[i];
    char letters[8], name[HY__STAGE_NAME + 16];
    letters_text(s, letters);
    snprintf(name, sizeof name, s->n_part > 1 ? "%s %d/%d" : "%s", s->name, (int)s->part + 1,
             (int)s->n_part);
    hy__text_add(t, "%-16s", name);
    cell(t, 8, hy__count((double)s->tokens));
    hy__text_add(t, " %8lld", (long long)s->steps);
    cell(t, 8, hy__tokens((double)s->train.seq_len));
    hy__text_add(t, " %6lld %7s", (long long)(s->train.batch * s->train.accumulate), letters);
    cell(t, 7, hy__count((double)row->active));
    cell(t, 7, hy__count((double)row->trained));
    cell(t, 11, hy__flop(row->flops));
    cell(t, 8, hy__bytes(row->memory.total));
    if (*a->hardware.name) cell(t, 8, hy__seconds(row->seconds));
    hy__text_put(t, "\n");
}

/* What a stage does beside its settings, each in a line below the table. */
static void put_notes(hy__text *t, const hy__recipe *r, int64_t i) {
    const hy__stage *s = &r->stage[i];
    if (s->part > 0) return;
    if (s->upcycles)
        hy__text_add(t, "%s: F becomes E, copies moved by %g of their size%s\n", s->name, s->noise,
                     r->stage[i - 1].cfg.ffn.d_ff == s->cfg.experts.d_ff
                         ? ""
                         : ", slices of it: what it computes changes");
    if (s->ramp > 0)
        hy__text_add(t, "%s: gates of %s rise over %lld steps\n", s->name, s->fresh,
                     (long long)s->ramp);
    for (int64_t j = 0; j < s->n_rate; j++) {
        if (s->rate[j].times > 0)
            hy__text_add(t, "%s: %s learns at %g of the rate\n", s->name, s->rate[j].what,
                         s->rate[j].times);
        else
            hy__text_add(t, "%s: %s is frozen\n", s->name, s->rate[j].what);
    }
    if (s->table_steps > 0)
        hy__text_add(t, "%s: the table's rate rises over %lld steps\n", s->name,
                     (long long)s->table_steps);
    if (s->reseed > 0)
        hy__text_add(t, "%s: sub-keys that %s tokens do not use begin anew\n", s->name,
                     hy__count((double)s->reseed).text);
    for (int64_t j = 0; j < s->n_mix; j++)
        hy__text_add(t, "%s: %g of %s\n", s->name, s->mix[j].weight, s->mix[j].name);
    if (s->until != HY__END_LENGTH)
        hy__text_add(t, "%s: ends before its length when %s%s%s is %s %g\n", s->name,
                     hy__stage_end_name(s->until), *s->until_corpus ? " of " : "", s->until_corpus,
                     s->until == HY__END_VAL_LOSS ? "at most" : "at least", s->until_value);
}

void hy__agenda_text(hy__text *t, const hy__agenda *a) {
    hy__text_add(t, "%-16s %8s %8s %8s %6s %7s %7s %7s %11s %8s%s\n", "stage", "tokens", "steps",
                 "context", "batch", "letters", "active", "trained", "FLOPs", "memory",
                 *a->hardware.name ? "    time" : "");
    for (int64_t i = 0; i < a->recipe->n; i++) put_row(t, a, i);
    hy__text_add(t, "%-16s", "all");
    cell(t, 8, hy__count((double)a->tokens));
    hy__text_add(t, " %8lld %8s %6s %7s", (long long)a->steps, "", "", "");
    cell(t, 7, hy__count((double)a->row[a->recipe->n - 1].param));
    hy__text_add(t, " %7s", "");
    cell(t, 11, hy__flop(a->flops));
    cell(t, 8, hy__bytes(a->memory));
    if (*a->hardware.name) cell(t, 8, hy__seconds(a->seconds));
    hy__text_put(t, "\n");
    if (*a->hardware.name) hy__text_add(t, "time: at least, on one %s\n", a->hardware.name);
    for (int64_t i = 0; i < a->recipe->n; i++) put_notes(t, a->recipe, i);
}

static json_t *rates_json(const hy__stage *s) {
    json_t *rates = json_object();
    for (int64_t i = 0; i < s->n_rate; i++)
        json_object_set_new(rates, s->rate[i].what,
                            json_real(hy__stage_times(
                                s, s->rate[i].what[1] ? 0 : s->rate[i].what[0], s->rate[i].what)));
    return rates;
}

static json_t *row_json(const hy__agenda *a, int64_t i) {
    const hy__stage *s = &a->recipe->stage[i];
    const hy__agenda_row *row = &a->row[i];
    hy__config runs;
    hy__stage_running(s, &runs);
    return json_pack(
        "{s:s, s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:s, s:s, s:I, s:I, s:I, s:f, s:f, s:o*, s:o, "
        "s:s*, s:I, s:b}",
        "name", s->name, "part", (int)s->part + 1, "parts", (int)s->n_part, "tokens",
        (json_int_t)s->tokens, "steps", (json_int_t)s->steps, "seq_len",
        (json_int_t)s->train.seq_len, "batch", (json_int_t)s->train.batch, "accumulate",
        (json_int_t)s->train.accumulate, "layers", s->cfg.letter, "running", runs.letter,
        "parameters", (json_int_t)row->param, "active", (json_int_t)row->active, "trained",
        (json_int_t)row->trained, "flops", row->flops, "memory_bytes", row->memory.total, "seconds",
        *a->hardware.name ? json_real(row->seconds) : NULL, "rates", rates_json(s), "until",
        s->until == HY__END_LENGTH ? NULL : hy__stage_end_name(s->until), "gate_ramp_steps",
        (json_int_t)s->ramp, "upcycles", s->upcycles && s->part == 0);
}

json_t *hy__agenda_json(const hy__agenda *a) {
    json_t *stages = json_array();
    for (int64_t i = 0; i < a->recipe->n; i++) json_array_append_new(stages, row_json(a, i));
    return json_pack("{s:I, s:I, s:f, s:f, s:s*, s:o*, s:o}", "steps", (json_int_t)a->steps,
                     "tokens", (json_int_t)a->tokens, "flops", a->flops, "memory_bytes", a->memory,
                     "hardware", *a->hardware.name ? a->hardware.name : NULL, "seconds",
                     *a->hardware.name ? json_real(a->seconds) : NULL, "stages", stages);
}
