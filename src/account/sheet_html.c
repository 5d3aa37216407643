/* sheet_html.c: a sheet as one page with charts, to be shown to a colleague. */
#include "account/sheet_faces.h"
#include "page/page.h"

#include <stdio.h>

enum { ALL = HY__SHEET_CURVE };

/* The lengths of all curves. */
static void lengths_of(double x[ALL]) {
    for (int i = 0; i < ALL; i++) x[i] = (double)((int64_t)1 << i);
}

static void title_of(const hy__account_part *p, char title[64]) {
    hy__part_title(p, title, 64);
}

/* ---- the head ---- */

static void put_tiles(hy__page *p, const hy__sheet *s) {
    const hy__sheet_length *last = &s->length[s->opt.n_length - 1], *at = &s->length[s->at];
    const int64_t all = s->account.n_part;
    hy__page_tiles(p);
    hy__page_item(p, "parameters", "%s", hy__count((double)s->param).text);
    hy__page_item(p, "active for a token", "%s", hy__count((double)s->active).text);
    char weights[32];
    snprintf(weights, sizeof weights, "weights in %s", hy__store_name[s->opt.store]);
    hy__page_item(p, weights, "%s", hy__bytes(s->weights[s->opt.store]).text);
    hy__page_item(p, "to read a token", "%s", hy__flop(hy__flops_each(at, all, false)).text);
    hy__page_item(p, "moved to write one", "%s",
                  hy__bytes(hy__spent_least_bytes(&at->decode[all])).text);
    char state[64];
    snprintf(state, sizeof state, "state at %s", hy__tokens((double)last->tokens).text);
    hy__page_item(p, state, "%s", hy__bytes(last->state).text);
    const hy__sheet_growth growth = hy__sheet_growth_of(s);
    hy__page_item(p, "cache of a token", "%s",
                  growth.per_token > 0 ? hy__bytes(growth.per_token).text : "none");
    hy__page_item(p, "memory of training", "%s", hy__bytes(s->memory[s->opt.recompute].total).text);
    hy__page_list_end(p);
}

/* ---- parameters ---- */

static void put_split(hy__page *p, const hy__sheet *s) {
    static const char *const category[] = {"all", "active"};
    const hy__account *a = &s->account;
    char title[HY__PART_MAX][64];
    double y[HY__PART_MAX][2];
    hy__series series[HY__PART_MAX];
    for (int64_t i = 0; i < a->n_part; i++) {
        title_of(&a->part[i], title[i]);
        y[i][0] = (double)a->part[i].param;
        y[i][1] = (double)a->part[i].active;
        series[i] = (hy__series){.name = title[i], .y = y[i], .n = 2};
    }
    hy__page_figure(p,
                    &(hy__chart){.kind = HY__CHART_STACKED_BARS,
                                 .title = "Parameters by letter",
                                 .y = {.unit = HY__UNIT_COUNT, .label = "parameters"},
                                 .series = series,
                                 .n_series = a->n_part,
                                 .category = category,
                                 .n_category = 2},
                    "All parameters, and the active ones: those that one token uses.");
}

static void put_parameters(hy__page *p, const hy__sheet *s) {
    enum { FIXED = 5 };
    hy__column column[FIXED + HY__STORE_N] = {{"part", false},
                                              {"layers", true},
                                              {"one layer", true},
                                              {"parameters", true},
                                              {"active", true}};
    for (hy__store k = 0; k < HY__STORE_N; k++)
        column[FIXED + k] = (hy__column){hy__store_name[k], true};
    hy__page_heading(p, 2, "Parameters");
    put_split(p, s);
    hy__page_table(p, column, FIXED + HY__STORE_N);
    for (int64_t i = 0; i < s->account.n_part; i++) {
        const hy__account_part *part = &s->account.part[i];
        char title[64];
        title_of(part, title);
        hy__page_cell(p, "%s", title);
        hy__page_cell(p, "%lld", (long long)part->n_layer);
        hy__page_cell(p, "%s", hy__count((double)part->each).text);
        hy__page_cell(p, "%s", hy__count((double)part->param).text);
        hy__page_cell(p, "%s", hy__count((double)part->active).text);
        for (hy__store k = 0; k < HY__STORE_N; k++)
            hy__page_cell(p, "%s", hy__bytes(part->weight_bytes[k]).text);
    }
    hy__page_row_total(p);
    hy__page_cell(p, "total");
    hy__page_cell(p, "%lld", (long long)s->layers);
    hy__page_cell(p, "%s", "");
    hy__page_cell(p, "%s", hy__number_digits(HY__UNIT_COUNT, (double)s->param, 4).text);
    hy__page_cell(p, "%s", hy__number_digits(HY__UNIT_COUNT, (double)s->active, 4).text);
    for (hy__store k = 0; k < HY__STORE_N; k++)
        hy__page_cell(p, "%s", hy__bytes(s->weights[k]).text);
    hy__page_table_end(p);
}

/* ---- compute ---- */

static void put_areas(hy__page *p, const hy__sheet *s) {
    const hy__account *a = &s->account;
    char title[HY__PART_MAX][64];
    double x[ALL];
    hy__series series[HY__PART_MAX];
    lengths_of(x);
    for (int64_t i = 0; i < a->n_part; i++) {
        title_of(&a->part[i], title[i]);
        series[i] = (hy__series){.name = title[i], .x = x, .y = s->curve_flops[i], .n = ALL};
    }
    hy__page_figure(
        p,
        &(hy__chart){
            .kind = HY__CHART_AREAS,
            .title = "FLOPs for each token when T tokens are read",
            .x = {.label = "tokens read, T", .unit = HY__UNIT_TOKENS, .scale = HY__SCALE_LOG2},
            .y = {.label = "for each token", .unit = HY__UNIT_FLOP},
            .series = series,
            .n_series = a->n_part},
        "Logits are made of the last token only, so that their share falls.");
}

/* One row for each part, and the total. */
static void put_spent(hy__page *p, const hy__sheet *s, bool decode) {
    hy__column column[1 + HY__SHEET_LENGTHS] = {{"part", false}};
    char head[HY__SHEET_LENGTHS][40];
    for (int64_t i = 0; i < s->opt.n_length; i++) {
        snprintf(head[i], sizeof head[i], "T = %s", hy__tokens((double)s->length[i].tokens).text);
        column[1 + i] = (hy__column){head[i], true};
    }
    hy__page_table(p, column, 1 + (int)s->opt.n_length);
    for (int64_t j = 0; j <= s->account.n_part; j++) {
        char title[64] = "total";
        if (j < s->account.n_part)
            title_of(&s->account.part[j], title);
        else
            hy__page_row_total(p);
        hy__page_cell(p, "%s", title);
        for (int64_t i = 0; i < s->opt.n_length; i++)
            hy__page_cell(p, "%s", hy__flop(hy__flops_each(&s->length[i], j, decode)).text);
    }
    for (hy__growth g = 0; g < (decode ? HY__GROWTH_QUADRATIC : HY__GROWTH_N); g++) {
        static const char *const name[] = {"of it constant", "of it growing with T",
                                           "of it growing with T²"};
        hy__page_cell(p, "%s", name[g]);
        for (int64_t i = 0; i < s->opt.n_length; i++)
            hy__page_cell(
                p, "%s",
                hy__flop(hy__growth_each(&s->length[i], s->account.n_part, decode, g)).text);
    }
    hy__page_table_end(p);
}

static void put_compute(hy__page *p, const hy__sheet *s) {
    hy__page_heading(p, 2, "Compute");
    put_areas(p, s);
    hy__page_heading(p, 3, "FLOPs for each token, T read at once");
    put_spent(p, s, false);
    hy__page_heading(p, 3, "FLOPs of one token more after T");
    put_spent(p, s, true);
}

/* ---- comparison ---- */

/* One measure of the model and its rivals over T, with the places where they cross. `each`: divided
 * by the tokens. */
static void put_curves(hy__page *p, const hy__sheet *s, hy__measure m, hy__unit unit, bool each,
                       const char *title, const char *caption) {
    double x[ALL], y[1 + HY__SHEET_RIVALS][ALL];
    hy__series series[1 + HY__SHEET_RIVALS];
    hy__mark mark[HY__SHEET_RIVALS];
    int64_t n_mark = 0;
    char below[200];
    lengths_of(x);
    for (int64_t r = 0; r <= s->n_rival; r++) {
        const hy__sheet_curve *curve = r == 0 ? &s->curve : &s->rival[r - 1].curve;
        for (int i = 0; i < ALL; i++) y[r][i] = curve->measure[m][i] / (each ? x[i] : 1);
        series[r] = (hy__series){
            .name = r == 0 ? s->name : s->rival[r - 1].name, .x = x, .y = y[r], .n = ALL};
        if (r > 0 && s->rival[r - 1].cross[m] > 1) {
            mark[n_mark].at = (double)s->rival[r - 1].cross[m];
            mark[n_mark++].label = s->rival[r - 1].name;
        }
    }
    snprintf(below, sizeof below, "%s%s", caption,
             n_mark > 0 ? " A line marks where the model begins to need less." : "");
    hy__page_figure(p,
                    &(hy__chart){.kind = HY__CHART_LINES,
                                 .title = title,
                                 .x = {.label = "tokens, T",
                                       .unit = HY__UNIT_TOKENS,
                                       .scale = HY__SCALE_LOG2,
                                       .mark = mark,
                                       .n_mark = n_mark},
                                 .y = {.unit = unit, .scale = HY__SCALE_LOG10},
                                 .series = series,
                                 .n_series = s->n_rival + 1},
                    below);
}

/* From which length on the model needs less than each rival. */
static void put_crossings(hy__page *p, const hy__sheet *s) {
    hy__column column[1 + HY__SHEET_RIVALS] = {{"", false}};
    for (int64_t r = 0; r < s->n_rival; r++) column[1 + r] = (hy__column){s->rival[r].name, false};
    hy__page_table(p, column, 1 + (int)s->n_rival);
    hy__page_cell(p, "pattern");
    for (int64_t r = 0; r < s->n_rival; r++)
        hy__page_cell(p, "`%s`", s->rival[r].account.cfg.model.layers);
    hy__page_cell(p, "d_model");
    for (int64_t r = 0; r < s->n_rival; r++)
        hy__page_cell(p, "%lld", (long long)s->rival[r].account.cfg.model.d_model);
    hy__page_cell(p, "parameters");
    for (int64_t r = 0; r < s->n_rival; r++)
        hy__page_cell(p, "%s",
                      hy__count((double)hy__account_count(&s->rival[r].account, false)).text);
    for (hy__measure m = 0; m < HY__MEASURE_N; m++) {
        hy__page_cell(p, "fewer %s", hy__measure_face_of(m).name);
        for (int64_t r = 0; r < s->n_rival; r++)
            hy__page_cell(p, "%s", hy__sheet_crossing(s->rival[r].cross[m]).text);
    }
    hy__page_table_end(p);
}

static void put_comparison(hy__page *p, const hy__sheet *s) {
    char kept[80];
    if (s->n_rival == 0) return;
    hy__page_heading(p, 2, "Against other models");
    hy__page_paragraph(p,
                       "Where %s needs less than they, for one sequence of T tokens, and by how "
                       "much.",
                       s->name);
    put_crossings(p, s);
    snprintf(kept, sizeof kept, "States and caches, where weights are in %s.",
             hy__store_name[s->opt.store]);
    hy__page_grid(p);
    put_curves(p, s, HY__MEASURE_PREFILL, HY__UNIT_FLOP, true, "FLOPs for each token read",
               "One sequence, read at once.");
    put_curves(p, s, HY__MEASURE_TRAIN, HY__UNIT_FLOP, true, "FLOPs for each token trained",
               "Forward and backward of one sequence.");
    put_curves(p, s, HY__MEASURE_DECODE, HY__UNIT_BYTES, false, "Bytes that one token more moves",
               "Weights that it uses, states, and the cache that it attends to.");
    put_curves(p, s, HY__MEASURE_STATE, HY__UNIT_BYTES, false, "Memory of one sequence", kept);
    hy__page_grid_end(p);
}

/* ---- memory and training ---- */

static void put_memory_row(hy__page *p, const char *name, const hy__memory *m) {
    hy__page_cell(p, "%s", name);
    for (int k = 0; k < HY__MEMORY_KINDS; k++)
        hy__page_cell(p, "%s", hy__bytes(hy__memory_kind(m, k).bytes).text);
}

static void put_memory(hy__page *p, const hy__sheet *s) {
    hy__column column[1 + HY__MEMORY_KINDS] = {{"process", false}};
    for (int k = 0; k < HY__MEMORY_KINDS; k++)
        column[1 + k] = (hy__column){hy__memory_kind(&s->memory[0], k).name, true};
    hy__page_heading(p, 2, "Memory");
    hy__page_table(p, column, 1 + HY__MEMORY_KINDS);
    put_memory_row(p, "training", &s->memory[0]);
    put_memory_row(p, "training, activations recomputed", &s->memory[1]);
    for (int64_t i = 0; i < s->opt.n_length; i++) {
        char name[80];
        snprintf(name, sizeof name, "serving %lld x %s tokens", (long long)s->opt.sequences,
                 hy__tokens((double)s->length[i].tokens).text);
        put_memory_row(p, name, &s->length[i].serving);
    }
    hy__page_table_end(p);
    hy__page_note(p, "Training on micro-batches of %lld x %lld tokens.", (long long)s->opt.batch,
                  (long long)s->opt.tokens);
}

/* ---- time ---- */

static void put_fit(hy__page *p, int64_t n, bool limit, hy__unit unit) {
    if (n == 0)
        hy__page_cell(p, "none");
    else
        hy__page_cell(p, "%s%s", limit ? "> " : "", hy__number_show(unit, (double)n).text);
}

static void put_time(hy__page *p, const hy__sheet *s) {
    static const hy__column column[] = {
        {"hardware", false}, {"reads /s", true}, {"writes /s", true}, {"trains /s", true},
        {"training", true},  {"batch", true},    {"length", true},    {"served", true}};
    const double at = (double)s->length[s->at].tokens;
    hy__page_heading(p, 2, "Time, at best");
    hy__page_paragraph(
        p,
        "By peak rates of arithmetic and memory: tokens a second that are read and "
        "written in one sequence of %s tokens, and trained; the time of a training "
        "on %s tokens with %lld device%s. Nothing that does this work is faster, but "
        "for what caches hold. Then what fits: the largest micro-batch of %s "
        "tokens, the longest segment trained at batch 1, the longest of %lld "
        "sequence%s served at once.",
        hy__tokens(at).text, hy__count(s->opt.budget).text, (long long)s->opt.devices,
        s->opt.devices == 1 ? "" : "s", hy__tokens((double)s->opt.tokens).text,
        (long long)s->opt.sequences, s->opt.sequences == 1 ? "" : "s");
    hy__page_table(p, column, sizeof column / sizeof *column);
    for (int64_t i = 0; i < s->opt.n_hardware; i++) {
        const hy__sheet_hardware *h = &s->hardware[i];
        hy__page_cell(p, "%s", h->hardware->name);
        hy__page_cell(p, "%s", h->serves ? hy__count(at / h->prefill.seconds).text : "too small");
        hy__page_cell(p, "%s", h->serves ? hy__count(1 / h->decode.seconds).text : "–");
        hy__page_cell(p, "%s",
                      h->trains
                          ? hy__count((double)(h->trained * s->opt.tokens) / h->train.seconds).text
                          : "too small");
        hy__page_cell(p, "%s", h->trains ? hy__seconds(h->days * 86400).text : "–");
        put_fit(p, h->batch, h->batch_limit, HY__UNIT_COUNT);
        put_fit(p, h->tokens, h->tokens_limit, HY__UNIT_TOKENS);
        put_fit(p, h->served, h->served_limit, HY__UNIT_TOKENS);
    }
    hy__page_table_end(p);
    hy__page_details(p, "Where the peak rates come from");
    for (int64_t i = 0; i < s->opt.n_hardware; i++)
        hy__page_note(p, "%s: %s. %s", s->opt.hardware[i].name, s->opt.hardware[i].what,
                      s->opt.hardware[i].source);
    hy__page_details_end(p);
}

/* ---- formulas ---- */

static void put_formulas(hy__page *p, const hy__sheet *s) {
    static const hy__column column[] = {{"part", false},     {"term", false},   {"FLOPs", false},
                                        {"for each", false}, {"forward", true}, {"backward", true}};
    hy__page_details(p, "Formulas");
    hy__page_table(p, column, sizeof column / sizeof *column);
    for (int64_t i = 0; i < s->account.n_part; i++) {
        const hy__account_part *part = &s->account.part[i];
        char title[64];
        title_of(part, title);
        for (int k = 0; k < part->cost.n_term; k++) {
            const hy__term *t = &part->cost.term[k];
            hy__page_cell(p, "%s", title);
            hy__page_cell(p, "%s", t->what);
            hy__page_cell(p, "%s", t->formula);
            hy__page_cell(p, "%s", hy__extent_name(t->per));
            hy__page_cell(p, "%s", hy__flop(t->forward).text);
            hy__page_cell(p, "%s", hy__flop(t->backward).text);
        }
    }
    hy__page_table_end(p);
    hy__page_note(p,
                  "2 FLOPs for each multiply-add of a product; of one layer. Their derivation is "
                  "in docs/accounting.md.");
    hy__page_details_end(p);
}

hy_status hy__sheet_html(const hy__sheet *s, const char *path, hy_error *err) {
    const hy__config *c = &s->account.cfg;
    hy__page p = {0};
    hy__page_begin(&p, "Plan of %s", s->name);
    hy__page_paragraph(&p, "`%s`, %lld layers, d_model %lld, vocabulary %lld, chunk %lld.",
                       c->model.layers, (long long)s->layers, (long long)c->model.d_model,
                       (long long)c->model.vocab, (long long)c->model.chunk);
    put_tiles(&p, s);
    put_parameters(&p, s);
    put_compute(&p, s);
    put_comparison(&p, s);
    put_memory(&p, s);
    put_time(&p, s);
    put_formulas(&p, s);
    const hy_status status = hy__page_save(&p, path, err);
    hy__page_release(&p);
    return status;
}
