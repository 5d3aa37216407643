/* sheet_markdown.c: docs/accounting.md: what is counted and why, the hardware, and the tables of a
 * sheet. */
#include "account/sheet_faces.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- the rules ---- */

static const char RULES[] =
    "# Accounting\n"
    "\n"
    "What a model costs, by formulas that the layers themselves declare (`cost`, `declare`, `plan` "
    "in "
    "`src/model/component.h`). This page is written by\n"
    "```\n"
    "hydralm plan --markdown configs > docs/accounting.md\n"
    "```\n"
    "and `tests/e2e/test_plan.sh` fails when it is stale. `tests/model/test_plan.c` holds the "
    "formulas to what the model's own forward and backward do on the counting backend "
    "(`src/backend/count`), and sizes to what is allocated and written to files.\n"
    "\n"
    "## What is counted\n"
    "**FLOPs** are those of products and recurrences: 2 for each multiply-add of a sum over an "
    "index. What is done to single elements (norms, activations, gates, softmax, AdamW) is not "
    "counted; it costs the bytes that it moves. The masked half of a product is not counted "
    "either, though a kernel may compute it. Symbols are those of [model.md](model.md).\n"
    "\n"
    "**How much there is** of what a term is counted by, for one sequence of T tokens from its "
    "beginning, in chunks of C:\n"
    "\n"
    "| for each | there are |\n"
    "|---|---|\n"
    "| token | T |\n"
    "| pair in a chunk | (t, s) with s ≤ t in the same chunk: T·(C + 1)/2 where C divides T; none "
    "when a piece is one token, which takes the recurrence |\n"
    "| pair in a block | the same in blocks of 32 tokens, which begin anew with every chunk: "
    "T·33/2 |\n"
    "| routing unit | ⌈T / expert_chunk⌉ |\n"
    "| position attended to | Σ_t min(t + 1, w) + min(max(t − w + 1, 0), C) + C·min(topk, n_t): "
    "window w, sink, chosen blocks |\n"
    "| block scored | Σ_t n_t, n_t = max(0, ⌊(t − w + 1)/C⌋ − max(1, ⌊t/C⌋ − M)), M = "
    "memory_blocks "
    "or without end |\n"
    "| row of logits | T in training, 1 when a text is read or written |\n"
    "\n"
    "A term *grows with T²* when a later token costs more than an earlier one: positions while T ≤ "
    "w, scored blocks while T ≤ M·C + w. All other terms grow with T, and logits of the last token "
    "are constant. Of a decoded token everything is one degree lower.\n"
    "\n"
    "**Training** is forward, backward and, with `train.recompute`, the forward of all layers once "
    "again. An *active* parameter is one that a single token uses.\n"
    "\n"
    "**Bytes moved** are those of a program that moves each datum once a call and keeps nothing in "
    "caches between calls: weights that are used (of experts those that the routing units or "
    "tokens choose, of the value table the rows that are read, as if no two chose the same, up to "
    "all), states in and out, the cached keys and values that are attended to, and every planned "
    "activation written once and read once. Training reads weights in each pass and adds to "
    "gradients; its update, once for `train.accumulate` micro-batches, touches each parameter nine "
    "times: the norm reads the gradient; AdamW reads weight, gradient and both moments, writes "
    "three of them and clears the gradient. With `train.optimizer: muon` a matrix [r, c] costs "
    "five "
    "times 4·s²·l + 2·s³ FLOPs, s and l the shorter and the longer side, and moves 29·r·c + 40·s² "
    "elements.\n"
    "\n"
    "**Memory** is what the program allocates: weights, gradients and moments (two of AdamW, one "
    "of "
    "Muon, and its scratch of 2·r·c + 2·s² for the largest matrix) in fp32 with every "
    "tensor rounded up to 64 bytes, the planned buffers of a step (`hy__work_size`), one state for "
    "each sequence, and about 30 MB (training) or 10 MB of program and libraries, measured. A "
    "training with `carry` holds two states for each stream, whose caches grow with the document "
    "(64K tokens unless `--document` says otherwise) up to their bound. A session that is fed "
    "little by little doubles its cache. Keys and values are bf16 beside weights that are narrow.\n"
    "\n"
    "**Time** is a lower bound (roofline) for this work: the larger of FLOPs / peak rate and bytes "
    "/ bandwidth, where bytes are weights, states and optimizer; activations could stay in a "
    "cache. Several devices scale perfectly. A model so small that its weights stay in a cache is "
    "bounded by its FLOPs alone.\n";

/* ---- terms of the letters ---- */

static void put_term(hy__text *t, const hy__term *m) {
    char times[32];
    const double ratio = m->backward / m->forward;
    if (ratio == round(ratio) || fabs(ratio * 2 - round(ratio * 2)) < 1e-9)
        snprintf(times, sizeof times, "%g times", ratio);
    else
        snprintf(times, sizeof times, "see right");
    hy__text_add(t, "| %s | %s | %s | %s | %s |\n", m->what, m->formula, hy__extent_name(m->per),
                 ratio == 0 ? "none" : times,
                 m->why ? m->why
                        : "y = W x, one multiply-add a weight; backward once for x, once for W");
}

static void put_part_terms(hy__text *t, const hy__account_part *p, const char *blueprint) {
    char title[64];
    hy__part_title(p, title, sizeof title);
    hy__text_add(t, "\n### %s%s%s%s\n", title, blueprint ? " (the blueprint's " : "",
                 blueprint ? blueprint : "", blueprint ? ")" : "");
    hy__text_put(t, "| term | FLOPs forward | for each | backward | because |\n"
                    "|---|---|---|---|---|\n");
    for (int i = 0; i < p->cost.n_term; i++) put_term(t, &p->cost.term[i]);
}

/* All letters, with everything that they can have. */
static hy_status put_terms(hy__text *t, hy_error *err) {
    hy__account a;
    hy__config c;
    hy__train_config train;
    hy__config_default(&c, &train);
    snprintf(c.model.layers, sizeof c.model.layers, HY__LETTERS);
    c.experts.shared = 1;
    HY_TRY(hy__config_finish(&c, err));
    hy__account_init(&a, &c, &train);
    hy__text_put(t, "\n## Formulas\n");
    for (int64_t i = 0; i < a.n_part; i++) {
        const hy__component *k = hy__component_find(a.part[i].letter);
        put_part_terms(t, &a.part[i], k ? k->blueprint : NULL);
    }
    hy__text_put(t,
                 "\nWith `route: shortlist` or `token` the router's term is there for each token "
                 "too, or instead. f is `d_ff`, E `n_expert`, V the vocabulary.\n");
    return HY_OK;
}

static void put_hardware(hy__text *t) {
    int64_t n;
    const hy__hardware *h = hy__hardware_table(&n);
    hy__text_put(t, "\n## Hardware\n"
                    "Dense peak rates, without sparsity. Others by "
                    "`--hardware peak=…,bandwidth=…,memory=…`.\n\n"
                    "| name | product | fp32 | bf16 | bandwidth | memory | from |\n"
                    "|---|---|--:|--:|--:|--:|---|\n");
    for (int64_t i = 0; i < n; i++) {
        hy__text_add(t, "| %s | %s | %s | %s | %s | %s | %s |\n", h[i].name, h[i].what,
                     hy__number_show(HY__UNIT_FLOP_RATE, h[i].fp32).text,
                     h[i].bf16 > 0 ? hy__number_show(HY__UNIT_FLOP_RATE, h[i].bf16).text
                                   : "as fp32",
                     hy__number_show(HY__UNIT_BYTES_RATE, h[i].bandwidth).text,
                     hy__bytes(h[i].memory).text, h[i].source);
    }
}

hy_status hy__derivation_markdown(hy__text *t, hy_error *err) {
    hy__text_put(t, RULES);
    HY_TRY(put_terms(t, err));
    put_hardware(t);
    return HY_OK;
}

/* ---- one configuration ---- */

static void put_parameters(hy__text *t, const hy__sheet *s) {
    hy__text_put(t, "\n| part | layers | of one | parameters | active |");
    for (hy__store k = 0; k < HY__STORE_N; k++) hy__text_add(t, " %s |", hy__store_name[k]);
    hy__text_put(t, "\n|---|--:|--:|--:|--:|");
    for (hy__store k = 0; k < HY__STORE_N; k++) hy__text_put(t, "--:|");
    for (int64_t i = 0; i < s->account.n_part; i++) {
        const hy__account_part *p = &s->account.part[i];
        char title[64];
        hy__part_title(p, title, sizeof title);
        hy__text_add(t, "\n| %s | %lld | %lld | %lld | %lld |", title, (long long)p->n_layer,
                     (long long)p->each, (long long)p->param, (long long)p->active);
        for (hy__store k = 0; k < HY__STORE_N; k++)
            hy__text_add(t, " %s |", hy__bytes(p->weight_bytes[k]).text);
    }
    hy__text_add(t, "\n| total | %lld | | %lld | %lld |", (long long)s->layers, (long long)s->param,
                 (long long)s->active);
    for (hy__store k = 0; k < HY__STORE_N; k++)
        hy__text_add(t, " %s |", hy__bytes(s->weights[k]).text);
    hy__text_put(t, "\n");
}

static void put_row(hy__text *t, const hy__sheet *s, const char *name, hy__unit unit,
                    double (*of)(const hy__sheet_length *l, int64_t n_part)) {
    hy__text_add(t, "\n| %s |", name);
    for (int64_t i = 0; i < s->opt.n_length; i++)
        hy__text_add(t, " %s |", hy__number_show(unit, of(&s->length[i], s->account.n_part)).text);
}

static double prefill_flops(const hy__sheet_length *l, int64_t all) {
    return hy__flops_each(l, all, false);
}
static double prefill_quadratic(const hy__sheet_length *l, int64_t all) {
    return hy__growth_each(l, all, false, HY__GROWTH_QUADRATIC);
}
static double decode_flops(const hy__sheet_length *l, int64_t all) {
    return hy__flops_each(l, all, true);
}
static double decode_bytes(const hy__sheet_length *l, int64_t all) {
    return hy__spent_least_bytes(&l->decode[all]);
}
static double state_bytes(const hy__sheet_length *l, int64_t all) {
    (void)all;
    return l->state;
}
static double serving_bytes(const hy__sheet_length *l, int64_t all) {
    (void)all;
    return l->serving.total;
}

static void put_lengths(hy__text *t, const hy__sheet *s) {
    hy__text_put(t, "\n| T |");
    for (int64_t i = 0; i < s->opt.n_length; i++)
        hy__text_add(t, " %s |", hy__tokens((double)s->length[i].tokens).text);
    hy__text_put(t, "\n|---|");
    for (int64_t i = 0; i < s->opt.n_length; i++) hy__text_put(t, "--:|");
    put_row(t, s, "FLOPs for each of T tokens read", HY__UNIT_FLOP, prefill_flops);
    put_row(t, s, "of these, growing with T²", HY__UNIT_FLOP, prefill_quadratic);
    put_row(t, s, "FLOPs of one token more", HY__UNIT_FLOP, decode_flops);
    put_row(t, s, "bytes of one token more", HY__UNIT_BYTES, decode_bytes);
    put_row(t, s, "state of the sequence", HY__UNIT_BYTES, state_bytes);
    put_row(t, s, "memory that serves it", HY__UNIT_BYTES, serving_bytes);
    hy__text_put(t, "\n");
}

static void put_training(hy__text *t, const hy__sheet *s) {
    const double n = (double)(s->opt.batch * s->opt.tokens);
    const int64_t all = s->account.n_part;
    hy__text_add(t, "\nTraining on %lld x %lld tokens, activations kept / recomputed: ",
                 (long long)s->opt.batch, (long long)s->opt.tokens);
    hy__text_add(t, "%s / ", hy__flop(hy__spent_flops(&s->train[0][all]) / n).text);
    hy__text_add(t, "%s for each token, ", hy__flop(hy__spent_flops(&s->train[1][all]) / n).text);
    hy__text_add(t, "%s / ", hy__bytes(s->memory[0].total).text);
    hy__text_add(t, "%s of memory.\n", hy__bytes(s->memory[1].total).text);
}

static void put_rivals(hy__text *t, const hy__sheet *s) {
    if (s->n_rival == 0) return;
    hy__text_add(t, "\n%s needs less than another model of its size, at lengths:\n", s->name);
    hy__text_put(t, "\n| than | parameters |");
    for (hy__measure m = 0; m < HY__MEASURE_N; m++)
        hy__text_add(t, " %s |", hy__measure_face_of(m).name);
    hy__text_put(t, " its state at 1M |\n|---|--:|");
    for (hy__measure m = 0; m < HY__MEASURE_N; m++) hy__text_put(t, "---|");
    hy__text_put(t, "--:|");
    for (int64_t r = 0; r < s->n_rival; r++) {
        const hy__sheet_rival *v = &s->rival[r];
        hy__text_add(t, "\n| %s: %s, d %lld | %lld |", v->name, v->account.cfg.model.layers,
                     (long long)v->account.cfg.model.d_model,
                     (long long)hy__account_count(&v->account, false));
        for (hy__measure m = 0; m < HY__MEASURE_N; m++)
            hy__text_add(t, " %s |", hy__sheet_crossing(v->cross[m]).text);
        const double state = hy__account_state(&v->account, 1 << 20, s->opt.store);
        hy__text_add(t, " %s |", hy__bytes(state).text);
    }
    hy__text_put(t, "\n");
}

void hy__sheet_markdown(hy__text *t, const hy__sheet *s) {
    const hy__config *c = &s->account.cfg;
    hy__text_add(t,
                 "\n## %s\n`%s`, d_model %lld, vocabulary %lld, chunk %lld; weights in %s where "
                 "tokens are decoded.\n",
                 s->name, c->model.layers, (long long)c->model.d_model, (long long)c->model.vocab,
                 (long long)c->model.chunk, hy__store_name[s->opt.store]);
    put_parameters(t, s);
    put_lengths(t, s);
    put_training(t, s);
    put_rivals(t, s);
}
