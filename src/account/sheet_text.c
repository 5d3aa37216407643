/* sheet_text.c: a sheet as tables for a terminal. */
#include "account/sheet_faces.h"
#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

enum { LABEL = 25, CELL = 11, SHORT = 8 /* columns */ };

static void head(hy__text *t, const char *title) {
    hy__text_add(t, "\n%s\n", title);
}

/* Characters beyond the column's width are left out. */
static void label(hy__text *t, const char *s) {
    size_t size = 0;
    int width = 0;
    for (; s[size] && width < LABEL; width++) {
        const size_t n = hy__utf8_length((unsigned char)s[size]);
        size += n ? n : 1;
    }
    hy__text_add(t, "  %.*s%*s", (int)size, s, LABEL - width, "");
}

static void part_label(hy__text *t, const hy__account_part *p) {
    char name[LABEL + 1];
    hy__part_title(p, name, sizeof name);
    label(t, name);
}

static void cell(hy__text *t, hy__number n) {
    hy__text_add(t, " %*s", CELL, n.text);
}

static void word(hy__text *t, const char *s) {
    hy__text_add(t, " %*s", CELL, s);
}

static void end(hy__text *t) {
    hy__text_put(t, "\n");
}

/* ---- parameters ---- */

/* Of a table with more columns. */
static void short_cell(hy__text *t, hy__number n) {
    hy__text_add(t, " %*s", SHORT, n.text);
}

static void short_word(hy__text *t, const char *s) {
    hy__text_add(t, " %*s", SHORT, s);
}

static void put_parameters(hy__text *t, const hy__sheet *s) {
    const hy__account *a = &s->account;
    head(t, "Parameters");
    label(t, "");
    short_word(t, "layers");
    short_word(t, "of one");
    short_word(t, "all");
    short_word(t, "active");
    for (hy__store k = 0; k < HY__STORE_N; k++) short_word(t, hy__store_name[k]);
    end(t);
    for (int64_t i = 0; i < a->n_part; i++) {
        const hy__account_part *p = &a->part[i];
        part_label(t, p);
        short_cell(t, hy__count((double)p->n_layer));
        short_cell(t, hy__count((double)p->each));
        short_cell(t, hy__count((double)p->param));
        short_cell(t, hy__count((double)p->active));
        for (hy__store k = 0; k < HY__STORE_N; k++) short_cell(t, hy__bytes(p->weight_bytes[k]));
        end(t);
    }
    label(t, "total");
    short_cell(t, hy__count((double)s->layers));
    short_word(t, "");
    short_cell(t, hy__number_digits(HY__UNIT_COUNT, (double)s->param, 4));
    short_cell(t, hy__number_digits(HY__UNIT_COUNT, (double)s->active, 4));
    for (hy__store k = 0; k < HY__STORE_N; k++) short_cell(t, hy__bytes(s->weights[k]));
    end(t);
    hy__text_put(t, "  active: what one token uses; of one: without what such layers share.\n");
}

/* ---- by length ---- */

static void put_lengths(hy__text *t, const hy__sheet *s, const char *what) {
    label(t, what);
    for (int64_t i = 0; i < s->opt.n_length; i++) cell(t, hy__tokens((double)s->length[i].tokens));
    end(t);
}

/* FLOPs for each token, by part and then by growth. */
static void put_flops(hy__text *t, const hy__sheet *s, bool decode) {
    static const char *const GROWTH[] = {"  constant", "  grows with T", "  grows with T^2"};
    const hy__account *a = &s->account;
    head(t, decode ? "FLOPs of one token more after T" : "FLOPs for each token, T read at once");
    put_lengths(t, s, "T");
    for (int64_t p = 0; p <= a->n_part; p++) {
        if (p < a->n_part)
            part_label(t, &a->part[p]);
        else
            label(t, "total");
        for (int64_t i = 0; i < s->opt.n_length; i++)
            cell(t, hy__flop(hy__flops_each(&s->length[i], p, decode)));
        end(t);
    }
    for (hy__growth g = 0; g < (decode ? HY__GROWTH_QUADRATIC : HY__GROWTH_N); g++) {
        label(t, GROWTH[g]);
        for (int64_t i = 0; i < s->opt.n_length; i++)
            cell(t, hy__flop(hy__growth_each(&s->length[i], a->n_part, decode, g)));
        end(t);
    }
}

static double weight_of(const hy__spent *s) {
    return s->weight;
}
static double state_of(const hy__spent *s) {
    return s->state;
}
static double activation_of(const hy__spent *s) {
    return s->activation;
}
static double bytes_of(const hy__spent *s) {
    return hy__spent_least_bytes(s) + s->activation;
}

static void put_bytes_row(hy__text *t, const hy__sheet *s, const char *name, bool decode,
                          int64_t part, double (*of)(const hy__spent *s)) {
    label(t, name);
    for (int64_t i = 0; i < s->opt.n_length; i++) {
        const hy__sheet_length *l = &s->length[i];
        cell(t,
             hy__bytes(decode ? of(&l->decode[part]) : of(&l->prefill[part]) / (double)l->tokens));
    }
    end(t);
}

/* Bytes for each token, by part and then by what they are. */
static void put_bytes(hy__text *t, const hy__sheet *s, bool decode) {
    const int64_t all = s->account.n_part;
    char title[96];
    snprintf(title, sizeof title, "Bytes moved %s, %s weights",
             decode ? "by one token more after T" : "for each token, T read at once",
             hy__store_name[s->opt.store]);
    head(t, title);
    put_lengths(t, s, "T");
    for (int64_t p = 0; p < all; p++) {
        char name[LABEL + 1];
        hy__part_title(&s->account.part[p], name, sizeof name);
        put_bytes_row(t, s, name, decode, p, bytes_of);
    }
    put_bytes_row(t, s, "total", decode, all, bytes_of);
    put_bytes_row(t, s, "  weights", decode, all, weight_of);
    put_bytes_row(t, s, "  states", decode, all, state_of);
    put_bytes_row(t, s, "  activations", decode, all, activation_of);
}

/* ---- training ---- */

static void put_training(hy__text *t, const hy__sheet *s) {
    const hy__account *a = &s->account;
    const hy__spent *part = s->train[s->opt.recompute];
    const double n = (double)(s->opt.batch * s->opt.tokens);
    char title[160];
    snprintf(title, sizeof title, "Training for each token, micro-batches of %s x %s tokens%s",
             hy__count((double)s->opt.batch).text, hy__tokens((double)s->opt.tokens).text,
             s->opt.recompute ? ", activations recomputed" : "");
    head(t, title);
    label(t, "");
    word(t, "forward");
    word(t, "backward");
    word(t, "again");
    word(t, "update");
    word(t, "FLOPs");
    word(t, "bytes");
    end(t);
    for (int64_t p = 0; p <= a->n_part; p++) {
        if (p < a->n_part)
            part_label(t, &a->part[p]);
        else
            label(t, "total");
        cell(t, hy__flop(part[p].forward / n));
        cell(t, hy__flop(part[p].backward / n));
        cell(t, hy__flop(part[p].again / n));
        cell(t, hy__flop(part[p].update / n));
        cell(t, hy__flop(hy__spent_flops(&part[p]) / n));
        cell(t, hy__bytes(bytes_of(&part[p]) / n));
        end(t);
    }
}

static void put_training_memory(hy__text *t, const hy__sheet *s) {
    head(t, "Memory of training");
    label(t, "activations are");
    word(t, "kept");
    word(t, "recomputed");
    end(t);
    for (int k = 0; k < HY__MEMORY_KINDS; k++) {
        label(t, hy__memory_kind(&s->memory[0], k).name);
        for (int again = 0; again < 2; again++)
            cell(t, hy__bytes(hy__memory_kind(&s->memory[again], k).bytes));
        end(t);
    }
}

/* ---- serving ---- */

static void put_serving(hy__text *t, const hy__sheet *s) {
    char title[96];
    snprintf(title, sizeof title, "Memory of serving %s sequence%s of T tokens, %s weights",
             hy__count((double)s->opt.sequences).text, s->opt.sequences == 1 ? "" : "s",
             hy__store_name[s->opt.store]);
    head(t, title);
    put_lengths(t, s, "T");
    for (int k = 0; k < HY__MEMORY_KINDS; k++) {
        const char *name = hy__memory_kind(&s->length[0].serving, k).name;
        if (strcmp(name, "gradients") == 0 || strcmp(name, "moments") == 0) continue;
        label(t, name);
        for (int64_t i = 0; i < s->opt.n_length; i++)
            cell(t, hy__bytes(hy__memory_kind(&s->length[i].serving, k).bytes));
        end(t);
    }
    const hy__sheet_growth g = hy__sheet_growth_of(s);
    hy__text_add(t, "  A sequence's state is %s", hy__bytes(g.fixed).text);
    if (g.per_token > 0 && g.until == 0)
        hy__text_add(t, " and %s for each token.\n", hy__bytes(g.per_token).text);
    else if (g.per_token > 0)
        hy__text_add(t, " and %s for each token, up to %s tokens; %s at most.\n",
                     hy__bytes(g.per_token).text, hy__tokens((double)g.until).text,
                     hy__bytes(g.fixed + g.per_token * (double)g.until).text);
    else
        hy__text_put(t, ", whatever its length.\n");
}

/* ---- hardware ---- */

static void limited(hy__text *t, int64_t n, bool limit, bool tokens) {
    char text[40];
    if (n == 0)
        snprintf(text, sizeof text, "none");
    else
        snprintf(text, sizeof text, "%s%s", limit ? ">" : "",
                 (tokens ? hy__tokens((double)n) : hy__count((double)n)).text);
    word(t, text);
}

static void put_time(hy__text *t, const hy__sheet *s) {
    const double at = (double)s->length[s->at].tokens;
    head(t, "Time, at best: tokens by peak rates of arithmetic and memory");
    label(t, "");
    word(t, "reads/s");
    word(t, "writes/s");
    word(t, "trains/s");
    word(t, "training");
    end(t);
    for (int64_t i = 0; i < s->opt.n_hardware; i++) {
        const hy__sheet_hardware *h = &s->hardware[i];
        label(t, h->hardware->name);
        if (h->serves) {
            cell(t, hy__count(at / h->prefill.seconds));
            cell(t, hy__count(1 / h->decode.seconds));
        } else {
            word(t, "too small");
            word(t, "-");
        }
        if (h->trains) {
            cell(t, hy__count((double)(h->trained * s->opt.tokens) / h->train.seconds));
            cell(t, hy__seconds(h->days * 86400));
        } else {
            word(t, "too small");
            word(t, "-");
        }
        end(t);
    }
    hy__text_add(t,
                 "  reads, writes: tokens of one sequence of %s; training: of %s tokens, on %s "
                 "device%s,\n  in micro-batches of %s or as many as fit. Peaks and their sources: "
                 "docs/accounting.md.\n",
                 hy__tokens(at).text, hy__count(s->opt.budget).text,
                 hy__count((double)s->opt.devices).text, s->opt.devices == 1 ? "" : "s",
                 hy__count((double)s->opt.batch).text);
}

static void put_fits(hy__text *t, const hy__sheet *s) {
    head(t, "What fits into memory");
    label(t, "");
    word(t, "memory");
    word(t, "batch");
    word(t, "length");
    word(t, "served");
    end(t);
    for (int64_t i = 0; i < s->opt.n_hardware; i++) {
        const hy__sheet_hardware *h = &s->hardware[i];
        label(t, h->hardware->name);
        cell(t, hy__bytes(h->hardware->memory));
        limited(t, h->batch, h->batch_limit, false);
        limited(t, h->tokens, h->tokens_limit, true);
        limited(t, h->served, h->served_limit, true);
        end(t);
    }
    hy__text_add(t,
                 "  batch: largest micro-batch of %s tokens; length: longest segment trained at "
                 "batch 1;\n  served: longest of %s sequence%s at once.\n",
                 hy__tokens((double)s->opt.tokens).text, hy__count((double)s->opt.sequences).text,
                 s->opt.sequences == 1 ? "" : "s");
}

/* ---- rivals ---- */

static void put_measure(hy__text *t, const hy__sheet *s, hy__measure m) {
    const hy__measure_face face = hy__measure_face_of(m);
    hy__text_add(t, "\nAgainst them: %s, one sequence of T tokens\n", face.name);
    label(t, "T");
    for (int64_t i = 0; i < s->opt.n_length; i++) cell(t, hy__tokens((double)s->length[i].tokens));
    hy__text_put(t, "   the plan needs less\n");
    for (int64_t r = -1; r < s->n_rival; r++) {
        const hy__account *a = r < 0 ? &s->account : &s->rival[r].account;
        label(t, r < 0 ? s->name : s->rival[r].name);
        for (int64_t i = 0; i < s->opt.n_length; i++)
            cell(t, hy__number_show(face.unit,
                                    hy__account_measure(a, m, s->length[i].tokens, s->opt.store)));
        if (r >= 0) hy__text_add(t, "   %s", hy__sheet_crossing(s->rival[r].cross[m]).text);
        end(t);
    }
}

static void put_rivals(hy__text *t, const hy__sheet *s) {
    if (s->n_rival == 0) return;
    head(t, "Against");
    for (int64_t r = 0; r < s->n_rival; r++) {
        const hy__sheet_rival *v = &s->rival[r];
        const double n = (double)hy__account_count(&v->account, false);
        label(t, v->name);
        hy__text_add(t, " %s parameters (%+.2f%%): %s, d_model %lld\n",
                     hy__number_digits(HY__UNIT_COUNT, n, 4).text, 100 * (n / (double)s->param - 1),
                     v->account.cfg.model.layers, (long long)v->account.cfg.model.d_model);
    }
    for (hy__measure m = 0; m < HY__MEASURE_N; m++) put_measure(t, s, m);
}

void hy__sheet_text(hy__text *t, const hy__sheet *s) {
    const hy__config *c = &s->account.cfg;
    hy__text_add(t, "%s: %s\n  %lld layers, d_model %lld, vocabulary %lld, chunk %lld\n", s->name,
                 c->model.layers, (long long)s->layers, (long long)c->model.d_model,
                 (long long)c->model.vocab, (long long)c->model.chunk);
    put_parameters(t, s);
    put_flops(t, s, false);
    put_flops(t, s, true);
    put_bytes(t, s, false);
    put_bytes(t, s, true);
    put_training(t, s);
    put_training_memory(t, s);
    put_serving(t, s);
    put_time(t, s);
    put_fits(t, s);
    put_rivals(t, s);
}
