/* config_table.c: every field of a configuration, and reading and writing one value as text.
 *
 * The bounds also keep the arithmetic safe: widths stay within 2^16, feed-forward widths within
 * 2^20, tables within 2^24 rows, so that the largest parameter has fewer than 2^46 elements and no
 * product of sizes leaves int64_t. */
#include "config/config_table.h"

#include "base/words.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const route_words[] = {"previous", "shortlist", "token", "own", NULL};
static const char *const schedule_words[] = {"cosine", "wsd", NULL};
static const char *const optimizer_words[] = {"adamw", "muon", NULL};
static const char *const on_spike_words[] = {"stop", "skip", "rewind", NULL};
static const char *const dtype_words[] = {"fp32", "bf16", NULL};

static int64_t heads(const hy__config *c) {
    return c->model.d_model < 64 ? 1 : c->model.d_model / 64;
}

static int64_t kv_heads(const hy__config *c) {
    return c->attention.n_head;
}

static int64_t head_width(const hy__config *c) {
    const int64_t width = c->model.d_model / c->attention.n_head;
    return width < 1 ? 1 : width;
}

/* 8/3·d_model keeps SwiGLU's three matrices at the parameters of a plain 4·d_model layer. */
static int64_t swiglu_width(int64_t d_model, int64_t k) {
    const int64_t width = (8 * d_model + 3 * k - 1) / (3 * k);
    return (width + 31) / 32 * 32;
}

static int64_t expert_width(const hy__config *c) {
    return swiglu_width(c->model.d_model, c->experts.k);
}

static int64_t shortlist(const hy__config *c) {
    return 2 * c->experts.k < c->experts.n_expert ? 2 * c->experts.k : c->experts.n_expert;
}

static int64_t ffn_width(const hy__config *c) {
    return swiglu_width(c->model.d_model, 1);
}

static int64_t value_width(const hy__config *c) {
    return c->model.d_model;
}

_Static_assert(sizeof(hy__route_mode) == sizeof(int) && sizeof(hy__schedule) == sizeof(int) &&
                   sizeof(hy__train_dtype) == sizeof(int) && sizeof(hy__optimizer) == sizeof(int) &&
                   sizeof(hy__on_spike) == sizeof(int),
               "choices are stored as int");

#define MODEL(sec, key) .section = #sec, .name = #key, .offset = offsetof(hy__config, sec.key)
#define TRAIN(key)                                                                                 \
    .section = "train", .name = #key, .offset = offsetof(hy__train_config, key), .train = true
#define INT(lo, hi, def)        .type = HY__FIELD_INT, .min = (lo), .max = (hi), .start = (def)
#define DERIVED(hi, fn)         .type = HY__FIELD_INT, .max = (hi), .derive = (fn)
#define NUMBER(lo, hi, def)     .type = HY__FIELD_NUMBER, .min = (lo), .max = (hi), .start = (def)
#define BOOL(def)               .type = HY__FIELD_BOOL, .start = (def)
#define CHOICE(words)           .type = HY__FIELD_CHOICE, .choice = (words)
#define CHOICE_FROM(words, def) CHOICE(words), .start = (def)
#define TEXT(size)              .type = HY__FIELD_TEXT, .max = (size)
#define DOC(of, text)           .unit = (of), .doc = (text)
#define STAGED                  .staged = true
#define LOOSE                   .loose = true

#define WIDTH_MAX 65536
#define FF_MAX    1048576
#define COUNT_MAX 1e15 /* steps, tokens: far below 2^53, so exact as a double */

/* clang-format off */
const hy__field hy__fields[] = {
    {MODEL(model, layers), TEXT(HY__PATTERN_MAX), DOC("", "pattern of blocks of the letters S A E F W P, e.g. 3x(SE S)")},
    {MODEL(model, d_model), INT(1, WIDTH_MAX, 256), DOC("", "width of the residual stream")},
    {MODEL(model, vocab), INT(1, 1 << 24, 256), DOC("token ids", "size of the vocabulary")},
    {MODEL(model, chunk), INT(16, 256, 64), DOC("tokens", "the model's one chunk length, a multiple of 16")},
    {MODEL(model, norm_eps), NUMBER(1e-12, 1, 1e-5), DOC("", "added to the mean square in every norm")},

    {MODEL(ssm, expand), INT(1, 16, 2), DOC("", "inner width as a multiple of d_model")},
    {MODEL(ssm, head_dim), INT(1, 1024, 64), DOC("", "width of a head (P)")},
    {MODEL(ssm, d_state), INT(1, 1024, 128), DOC("", "size of a head's state (N)")},
    {MODEL(ssm, n_group), INT(1, 1024, 1), DOC("", "groups of heads that share B and C")},
    {MODEL(ssm, d_conv), INT(2, 8, 4), DOC("taps", "width of the causal convolution")},
    {MODEL(ssm, dt_min), NUMBER(1e-6, 10, 1e-3), DOC("", "smallest initial time step")},
    {MODEL(ssm, dt_max), NUMBER(1e-6, 10, 0.1), DOC("", "largest initial time step")},
    {MODEL(ssm, dt_floor), NUMBER(1e-9, 10, 1e-4), DOC("", "floor of the initial time step")},

    {MODEL(attention, n_head), DERIVED(1024, heads), DOC("", "query heads; 0 = d_model / 64")},
    {MODEL(attention, n_kv), DERIVED(1024, kv_heads), DOC("", "key/value heads, a divisor of n_head; 0 = n_head")},
    {MODEL(attention, head_dim), DERIVED(1024, head_width), DOC("", "width of a head; 0 = d_model / n_head")},
    {MODEL(attention, window), INT(1, COUNT_MAX, 256), STAGED, DOC("tokens", "local window, the current token included")},
    {MODEL(attention, topk), INT(0, 4096, 8), STAGED, DOC("chunks", "earlier chunks chosen by content; 0 = window and first chunk only")},
    {MODEL(attention, memory_blocks), INT(0, COUNT_MAX, 0), STAGED, DOC("chunks", "how far back chunks can be chosen; 0 = to the beginning")},
    {MODEL(attention, rope_theta), NUMBER(0, 1e12, 0), STAGED, DOC("", "base of the rotary embedding; 0 = none")},
    {MODEL(attention, qk_norm), BOOL(true), DOC("", "normalise queries and keys per head")},

    {MODEL(experts, n_expert), INT(1, 256, 8), DOC("", "routed experts")},
    {MODEL(experts, k), INT(1, 16, 2), STAGED, DOC("", "experts chosen for a token")},
    {MODEL(experts, d_ff), DERIVED(FF_MAX, expert_width), DOC("", "inner width of an expert; 0 = 8/3 d_model / k, rounded up to 32")},
    {MODEL(experts, expert_chunk), INT(1, 256, 32), DOC("tokens", "routing unit, a divisor of model.chunk")},
    {MODEL(experts, shared), INT(0, 16, 0), DOC("", "experts that always run")},
    {MODEL(experts, route), CHOICE(route_words), DOC("", "previous unit, shortlist by unit then by token, by token; own leaks: the lab's control")},
    {MODEL(experts, shortlist), DERIVED(256, shortlist), STAGED, DOC("", "experts a unit offers its tokens (route shortlist); 0 = min(2k, n_expert)")},
    {MODEL(experts, z_loss), NUMBER(0, 10, 1e-3), STAGED, DOC("", "weight of the router's z-loss")},
    {MODEL(experts, aux_loss), NUMBER(0, 10, 0), STAGED, DOC("", "weight of the classic balance loss")},
    {MODEL(experts, balance_rate), NUMBER(0, 1, 1e-3), STAGED, DOC("per step", "change of the loss-free balance bias")},
    {MODEL(experts, temperature), NUMBER(0.01, 100, 1), STAGED, DOC("", "the router's logits are divided by it")},

    {MODEL(ffn, d_ff), DERIVED(FF_MAX, ffn_width), STAGED, DOC("", "inner width; 0 = 8/3 d_model, rounded up to 32")},

    {MODEL(workspace, n_head), DERIVED(1024, heads), DOC("", "heads; 0 = d_model / 64")},
    {MODEL(workspace, d_k), INT(1, 1024, 64), DOC("", "key width of a head's memory")},
    {MODEL(workspace, d_v), INT(1, 1024, 64), DOC("", "value width of a head's memory")},
    {MODEL(workspace, reads), INT(1, 16, 4), DOC("", "times that a token reads the memory")},
    {MODEL(workspace, d_conv), INT(2, 8, 4), DOC("taps", "width of the causal convolution")},

    {MODEL(pkm, n_head), INT(1, 64, 4), DOC("", "heads")},
    {MODEL(pkm, n_key), INT(1, 4096, 128), DOC("", "sub-keys per half: the table has n_key squared rows")},
    {MODEL(pkm, d_key), INT(2, 4096, 128), DOC("", "query width of a head, even")},
    {MODEL(pkm, topk), INT(1, 128, 16), STAGED, DOC("rows", "what a head reads of the table")},
    {MODEL(pkm, d_value), DERIVED(WIDTH_MAX, value_width), DOC("", "width of a row; 0 = d_model")},

    {TRAIN(steps), INT(1, COUNT_MAX, 1000), LOOSE, DOC("steps", "length of the training")},
    {TRAIN(batch), INT(1, 65536, 8), STAGED, DOC("sequences", "size of one micro-batch")},
    {TRAIN(accumulate), INT(1, 65536, 1), STAGED, DOC("micro-batches", "size of one step")},
    {TRAIN(seq_len), INT(1, 1 << 24, 512), STAGED, DOC("tokens", "length of a segment")},
    {TRAIN(carry), BOOL(true), STAGED, DOC("", "carry the state from segment to segment of a document")},
    {TRAIN(recompute), BOOL(false), STAGED, DOC("", "keep only each block's input and run the block again in the backward")},
    {TRAIN(dtype), CHOICE(dtype_words), DOC("", "operands of dense products; sums are always fp32")},
    {TRAIN(optimizer), CHOICE_FROM(optimizer_words, HY__OPTIMIZER_MUON), DOC("", "how the matrices are updated; all else is AdamW's")},
    {TRAIN(momentum), NUMBER(0, 0.99999, 0.95), DOC("", "Muon: memory of the mean")},
    {TRAIN(lr), NUMBER(0, 10, 1e-3), STAGED, DOC("", "peak learning rate")},
    {TRAIN(min_lr), NUMBER(0, 1, 0.1), DOC("fraction of lr", "floor of the learning rate")},
    {TRAIN(schedule), CHOICE(schedule_words), DOC("", "shape of the learning rate after the warm-up")},
    {TRAIN(warmup), INT(0, COUNT_MAX, 50), DOC("steps", "linear rise at the start")},
    {TRAIN(decay), NUMBER(0, 1, 0.2), DOC("fraction of the steps", "last part of a wsd schedule, which falls")},
    {TRAIN(beta1), NUMBER(0, 0.99999, 0.9), DOC("", "AdamW: memory of the mean")},
    {TRAIN(beta2), NUMBER(0, 0.999999, 0.95), DOC("", "AdamW: memory of the square")},
    {TRAIN(eps), NUMBER(1e-20, 1, 1e-8), DOC("", "AdamW: added to the root of the square")},
    {TRAIN(weight_decay), NUMBER(0, 10, 0.1), STAGED, DOC("", "decay of matrices, AdamW's and Muon's")},
    {TRAIN(clip), NUMBER(0, 1e6, 1), STAGED, DOC("", "largest global norm of the gradient; 0 = off")},
    {TRAIN(spike), NUMBER(0, 1e6, 0), LOOSE, DOC("robust standard deviations", "how far a loss or gradient norm must stand out of the last 128 to be a spike; 0 = never")},
    {TRAIN(on_spike), CHOICE_FROM(on_spike_words, HY__ON_SPIKE_SKIP), LOOSE, DOC("", "after a spike, or a loss or gradient that is not finite: end, drop the step, or go back to the last checkpoint and pass over the data")},
    {TRAIN(spike_limit), INT(1, 1000, 3), LOOSE, DOC("times in a row", "how often to drop or go back before the training ends")},
    {TRAIN(pkm_lr), NUMBER(0, 100, 4), STAGED, DOC("times lr", "rate of the value table at the start; falls to 1")},
    {TRAIN(val_fraction), NUMBER(0, 0.9, 0.1), DOC("fraction of the data", "held out: documents by their hash, or the end of the data where they are few")},
    {TRAIN(val_tokens), INT(0, COUNT_MAX, 65536), STAGED, LOOSE, DOC("tokens", "limit of one evaluation; 0 = all that is held out")},
    {TRAIN(eval_every), INT(0, COUNT_MAX, 200), STAGED, LOOSE, DOC("steps", "how often to evaluate; 0 = only at the end")},
    {TRAIN(save_every), INT(0, COUNT_MAX, 1000), LOOSE, DOC("steps", "how often to save a checkpoint; 0 = not by steps")},
    {TRAIN(save_minutes), NUMBER(0, 1e6, 10), LOOSE, DOC("minutes", "save, too, when the last checkpoint is older, but in 3% of the time at most; 0 = not by the clock")},
    {TRAIN(detail_every), INT(0, COUNT_MAX, 10), LOOSE, DOC("steps", "how often metrics.jsonl gets lists too, as the experts' loads; 0 = at the first and the last")},
    {TRAIN(tensorboard), BOOL(true), LOOSE, DOC("", "write events for TensorBoard, too")},
    {TRAIN(keep), INT(1, 1000, 2), LOOSE, DOC("checkpoints", "how many stay on the disk: the newest, and those before it in DIR/checkpoints")},
    {TRAIN(seed), INT(0, COUNT_MAX, 1), DOC("", "of the initial weights and the order of the data")},
};
/* clang-format on */
const size_t hy__n_field = sizeof hy__fields / sizeof *hy__fields;
_Static_assert(sizeof hy__fields / sizeof *hy__fields <= HY__FIELD_MAX, "HY__FIELD_MAX");

const hy__field *hy__field_find(const char *section, size_t section_size, const char *name) {
    for (size_t i = 0; i < hy__n_field; i++) {
        const hy__field *f = &hy__fields[i];
        if (strlen(f->section) == section_size && memcmp(f->section, section, section_size) == 0 &&
            strcmp(f->name, name) == 0)
            return f;
    }
    return NULL;
}

const char *hy__section_find(const char *name) {
    for (size_t i = 0; i < hy__n_field; i++)
        if (strcmp(hy__fields[i].section, name) == 0) return hy__fields[i].section;
    return NULL;
}

bool hy__section_used(const hy__config *c, const char *section) {
    static const struct {
        const char *section;
        char letter;
    } of[] = {{"ssm", 'S'}, {"attention", 'A'}, {"experts", 'E'},
              {"ffn", 'F'}, {"workspace", 'W'}, {"pkm", 'P'}};
    for (size_t i = 0; i < sizeof of / sizeof *of; i++)
        if (strcmp(of[i].section, section) == 0)
            return strchr(c->model.layers, of[i].letter) != NULL;
    return true;
}

hy_status hy__field_unknown(const char *section, const char *name, hy_error *err) {
    char known[640] = "";
    const bool in_section = hy__section_find(section) != NULL;
    const char *last = "";
    for (size_t i = 0; i < hy__n_field; i++) {
        const hy__field *f = &hy__fields[i];
        const char *word = in_section ? f->name : f->section;
        if (in_section ? strcmp(f->section, section) != 0 : strcmp(last, word) == 0) continue;
        last = word;
        hy__words_add(known, sizeof known, ", ", word);
    }
    if (in_section)
        return hy__fail(err, HY_E_INVALID, "there is no field %s.%.64s; %s has %s", section, name,
                        section, known);
    return hy__fail(err, HY_E_INVALID, "there is no section '%.64s'; the sections are %s", section,
                    known);
}

int64_t hy__field_blamed(const int64_t *line, const hy_error *err) {
    for (size_t i = 0; err && i < hy__n_field; i++) {
        char name[64];
        const int n =
            snprintf(name, sizeof name, "%s.%s", hy__fields[i].section, hy__fields[i].name);
        if (line[i] > 0 && strncmp(err->text, name, (size_t)n) == 0 && strchr(" :", err->text[n]))
            return line[i];
    }
    return 0;
}

void hy__config_list_loose(char *out, size_t size, bool staged) {
    out[0] = '\0';
    for (size_t i = 0; i < hy__n_field; i++) {
        const hy__field *f = &hy__fields[i];
        if (f->loose && (!f->staged || staged)) hy__words_add(out, size, ", ", f->name);
    }
}

static void *address(const hy__field *f, hy__config *c, hy__train_config *t) {
    return f->train ? (char *)t + f->offset : (char *)c + f->offset;
}

static const void *constant(const hy__field *f, const hy__config *c, const hy__train_config *t) {
    return f->train ? (const char *)t + f->offset : (const char *)c + f->offset;
}

void hy__field_describe(const hy__field *f, char *out, size_t size) {
    switch (f->type) {
    case HY__FIELD_INT:
        snprintf(out, size, "a whole number from %.0f to %.0f", f->min, f->max);
        return;
    case HY__FIELD_NUMBER:
        snprintf(out, size, "a number from %g to %g", f->min, f->max);
        return;
    case HY__FIELD_BOOL:
        snprintf(out, size, "true or false");
        return;
    case HY__FIELD_TEXT:
        snprintf(out, size, "a text of at most %.0f characters", f->max - 1);
        return;
    case HY__FIELD_CHOICE:
        snprintf(out, size, "one of ");
        hy__words_list(out + strlen(out), size - strlen(out), f->choice, ", ");
        return;
    }
}

static bool parse_int(const hy__field *f, const char *text, int64_t *out) {
    char *end;
    errno = 0;
    const long long v = strtoll(text, &end, 10);
    if (end == text || *end || errno || (double)v < f->min || (double)v > f->max) return false;
    *out = v;
    return true;
}

static bool parse_number(const hy__field *f, const char *text, double *out) {
    char *end;
    const double v = strtod(text, &end);
    if (end == text || *end || !(v >= f->min && v <= f->max)) return false; /* NaN fails too */
    *out = v;
    return true;
}

static bool parse_bool(const char *text, bool *out) {
    static const struct {
        const char *word;
        bool value;
    } word[] = {{"true", true}, {"false", false}, {"yes", true},
                {"no", false},  {"on", true},     {"off", false}};
    for (size_t i = 0; i < sizeof word / sizeof *word; i++) {
        if (strcasecmp(text, word[i].word) != 0) continue;
        *out = word[i].value;
        return true;
    }
    return false;
}

static bool parse_choice(const hy__field *f, const char *text, int *out) {
    const int place = hy__words_place(f->choice, text);
    if (place >= 0) *out = place;
    return place >= 0;
}

hy_status hy__field_set(const hy__field *f, hy__config *c, hy__train_config *t, const char *text,
                        hy_error *err) {
    void *at = address(f, c, t);
    bool ok = false;
    switch (f->type) {
    case HY__FIELD_INT:
        ok = parse_int(f, text, at);
        break;
    case HY__FIELD_NUMBER:
        ok = parse_number(f, text, at);
        break;
    case HY__FIELD_BOOL:
        ok = parse_bool(text, at);
        break;
    case HY__FIELD_CHOICE:
        ok = parse_choice(f, text, at);
        break;
    case HY__FIELD_TEXT:
        ok = strlen(text) < (size_t)f->max;
        if (ok) memcpy(at, text, strlen(text) + 1);
        break;
    }
    if (ok) return HY_OK;
    char want[160];
    hy__field_describe(f, want, sizeof want);
    return hy__fail(err, HY_E_INVALID, "%s.%s is '%.80s', but must be %s", f->section, f->name,
                    text, want);
}

int64_t hy__field_int(const hy__field *f, const hy__config *c, const hy__train_config *t) {
    return *(const int64_t *)constant(f, c, t);
}

double hy__field_number(const hy__field *f, const hy__config *c, const hy__train_config *t) {
    return *(const double *)constant(f, c, t);
}

bool hy__field_bool(const hy__field *f, const hy__config *c, const hy__train_config *t) {
    return *(const bool *)constant(f, c, t);
}

const char *hy__field_text(const hy__field *f, const hy__config *c, const hy__train_config *t) {
    if (f->type == HY__FIELD_TEXT) return constant(f, c, t);
    return f->choice[*(const int *)constant(f, c, t)];
}

void hy__field_print(const hy__field *f, const hy__config *c, const hy__train_config *t,
                     FILE *out) {
    switch (f->type) {
    case HY__FIELD_INT:
        fprintf(out, "%lld", (long long)hy__field_int(f, c, t));
        return;
    case HY__FIELD_BOOL:
        fputs(hy__field_bool(f, c, t) ? "true" : "false", out);
        return;
    case HY__FIELD_CHOICE:
        fputs(hy__field_text(f, c, t), out);
        return;
    case HY__FIELD_TEXT:
        fprintf(out, "\"%s\"", hy__field_text(f, c, t));
        return;
    case HY__FIELD_NUMBER:
        break;
    }
    const double v = hy__field_number(f, c, t);
    char text[32];
    snprintf(text, sizeof text, "%.15g", v);
    if (strtod(text, NULL) != v) snprintf(text, sizeof text, "%.17g", v);
    fputs(text, out);
}
