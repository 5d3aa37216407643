/* recipe_yaml.c: reads a recipe through libyaml, whose nodes know their lines; what a value means
 * and accepts is the field table's. */
#include "base/file.h"
#include "config/config_table.h"
#include "config/recipe_table.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum { FILE_LIMIT = 1 << 20 /* bytes of a recipe */ };

typedef struct reader {
    hy__recipe *r;
    yaml_document_t doc;
    const hy__config *base;
    const hy__train_config *base_train;
    hy__written *w;  /* the stage being read, NULL between stages … */
    hy__written now; /* … which lives here */
    hy_error *err;
} reader;

/* ---- nodes ---- */

static int64_t line_of(const yaml_node_t *n) {
    return (int64_t)n->start_mark.line + 1;
}

/* The sentence with file, line and the stage that it is in. */
__attribute__((format(printf, 3, 4))) static hy_status refuse(const reader *d, const yaml_node_t *n,
                                                              const char *format, ...) {
    char text[640];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    hy__fail(d->err, HY_E_INVALID, "%s", text);
    if (d->w && *d->w->stage.name)
        return hy__recipe_fail_in(d->r, &d->w->stage, line_of(n), HY_E_INVALID, d->err);
    return hy__fail_in(d->err, HY_E_INVALID, "%s:%" PRId64, d->r->name, line_of(n));
}

static hy_status refuse_in(const reader *d, const yaml_node_t *n, hy_status status) {
    return hy__recipe_fail_in(d->r, &d->w->stage, line_of(n), status, d->err);
}

static yaml_node_t *node(reader *d, int index) {
    return yaml_document_get_node(&d->doc, index);
}

static bool is_scalar(const yaml_node_t *n) {
    return n->type == YAML_SCALAR_NODE;
}

static const char *text_of(const yaml_node_t *n) {
    return (const char *)n->data.scalar.value;
}

static hy_status want_text(const reader *d, const yaml_node_t *n, const char *key) {
    if (is_scalar(n) && n->data.scalar.length == strlen(text_of(n))) return HY_OK;
    return refuse(d, n, "%s is no plain value", key);
}

/* Calls fn for each pair of a mapping, whose keys are texts and all different. */
typedef hy_status (*pair_fn)(reader *d, const char *key, const yaml_node_t *at, yaml_node_t *value,
                             void *user);

static hy_status each_pair(reader *d, const yaml_node_t *n, const char *what, pair_fn fn,
                           void *user) {
    if (n->type != YAML_MAPPING_NODE)
        return refuse(d, n, "%s is no mapping of keys to values", what);
    const yaml_node_pair_t *first = n->data.mapping.pairs.start, *end = n->data.mapping.pairs.top;
    for (const yaml_node_pair_t *p = first; p < end; p++) {
        const yaml_node_t *key = node(d, p->key);
        HY_TRY(want_text(d, key, "a key"));
        for (const yaml_node_pair_t *q = first; q < p; q++)
            if (strcmp(text_of(node(d, q->key)), text_of(key)) == 0)
                return refuse(d, key, "%.64s stands twice in %s", text_of(key), what);
        HY_TRY(fn(d, text_of(key), key, node(d, p->value), user));
    }
    return HY_OK;
}

/* ---- values ---- */

/* "300K", "1.5M", "2e6": a whole number of tokens. */
static bool parse_tokens(const char *text, int64_t *out) {
    char *end;
    double v = strtod(text, &end);
    if (end == text) return false;
    if (*end == 'K' || *end == 'M' || *end == 'G') {
        v *= *end == 'K' ? 1e3 : *end == 'M' ? 1e6 : 1e9;
        end++;
    }
    if (*end || !(v >= 1 && v <= 1e15)) return false;
    *out = (int64_t)llround(v);
    return fabs(v - (double)*out) < 1e-6 * v;
}

static hy_status read_tokens(const reader *d, const yaml_node_t *n, const char *key, int64_t *out,
                             int64_t *line) {
    HY_TRY(want_text(d, n, key));
    if (!parse_tokens(text_of(n), out))
        return refuse(d, n, "%s is '%.64s', wanted a number of tokens, as 300000, 300K or 1.5M",
                      key, text_of(n));
    *line = line_of(n);
    return HY_OK;
}

/* `zero`: it may be 0, too. */
static hy_status read_number(const reader *d, const yaml_node_t *n, const char *key, bool zero,
                             double most, double *out) {
    HY_TRY(want_text(d, n, key));
    char *end;
    *out = strtod(text_of(n), &end);
    if (end != text_of(n) && !*end && (*out > 0 || (zero && *out == 0)) && *out <= most)
        return HY_OK;
    return refuse(d, n, "%s is '%.64s', wanted a number %s and at most %g", key, text_of(n),
                  zero ? "of at least 0" : "above 0", most);
}

static hy_status read_name(const reader *d, const yaml_node_t *n, const char *key, char *out,
                           size_t size) {
    HY_TRY(want_text(d, n, key));
    const size_t len = strlen(text_of(n));
    if (len < 1 || len >= size)
        return refuse(d, n, "%s is '%.64s', wanted 1 to %zu bytes", key, text_of(n), size - 1);
    for (const char *c = text_of(n); *c; c++) /* names are shown on terminals */
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return refuse(d, n, "%s has the control character 0x%02x", key, (unsigned char)*c);
    memcpy(out, text_of(n), len + 1);
    return HY_OK;
}

/* ---- what a stage does beside its settings ---- */

/* Words of a list, or of a text with spaces between them. */
typedef hy_status (*word_fn)(reader *d, const yaml_node_t *at, const char *word);

static hy_status each_word(reader *d, const yaml_node_t *n, const char *key, word_fn fn) {
    if (n->type == YAML_SEQUENCE_NODE) {
        for (const yaml_node_item_t *i = n->data.sequence.items.start;
             i < n->data.sequence.items.top; i++)
            HY_TRY(each_word(d, node(d, *i), key, fn));
        return HY_OK;
    }
    HY_TRY(want_text(d, n, key));
    char word[24];
    for (const char *at = text_of(n); *(at += strspn(at, " ,"));) {
        const size_t len = strcspn(at, " ,");
        if (len >= sizeof word) return refuse(d, n, "'%.64s' in %s is too long a word", at, key);
        memcpy(word, at, len);
        word[len] = '\0';
        HY_TRY(fn(d, n, word));
        at += len;
    }
    return HY_OK;
}

static hy_status add_letters(reader *d, const yaml_node_t *n, const char *word) {
    hy__stage *s = &d->w->stage;
    for (const char *c = word; *c; c++) {
        if (!strchr(HY__LETTERS, *c))
            return refuse(d, n, "'%c' in on is no letter, wanted some of S A E F W P", *c);
        if (strchr(s->on, *c)) return refuse(d, n, "letter %c stands twice in on", *c);
        const size_t at = strlen(s->on);
        s->on[at] = *c;
        s->on[at + 1] = '\0';
    }
    return HY_OK;
}

static hy_status add_rate(reader *d, const yaml_node_t *n, const char *what, double times) {
    hy__stage *s = &d->w->stage;
    if (s->n_rate == HY__RATE_MAX) return refuse(d, n, "more than %d rates", HY__RATE_MAX);
    if (strlen(what) >= sizeof s->rate[0].what)
        return refuse(d, n, "'%.64s' is neither a letter nor a group", what);
    hy__stage_rate *r = &s->rate[s->n_rate++];
    r->times = times;
    memcpy(r->what, what, strlen(what) + 1);
    d->w->line.rates = line_of(n);
    return HY_OK;
}

static hy_status add_freeze(reader *d, const yaml_node_t *n, const char *word) {
    return add_rate(d, n, word, 0.0);
}

static hy_status read_rate(reader *d, const char *key, const yaml_node_t *at, yaml_node_t *value,
                           void *user) {
    double times;
    (void)user;
    HY_TRY(read_number(d, value, "a rate", false, 1000, &times));
    return add_rate(d, at, key, times);
}

static hy_status read_mix(reader *d, const char *key, const yaml_node_t *at, yaml_node_t *value,
                          void *user) {
    hy__stage *s = &d->w->stage;
    (void)user;
    if (s->n_mix == HY__MIX_MAX) return refuse(d, at, "more than %d corpora", HY__MIX_MAX);
    hy__stage_mix *m = &s->mix[s->n_mix];
    HY_TRY(read_name(d, at, "a corpus", m->name, sizeof m->name));
    HY_TRY(read_number(d, value, key, false, 1e9, &m->weight));
    s->n_mix++;
    return HY_OK;
}

static hy_status read_until(reader *d, const char *key, const yaml_node_t *at, yaml_node_t *value,
                            void *user) {
    hy__stage *s = &d->w->stage;
    (void)user;
    const bool loss = strcmp(key, "val_loss") == 0, accuracy = strcmp(key, "accuracy") == 0;
    if (strcmp(key, "corpus") == 0)
        return read_name(d, value, "corpus", s->until_corpus, sizeof s->until_corpus);
    if (!loss && !accuracy)
        return refuse(d, at, "until has no %.64s; wanted val_loss or accuracy, and corpus", key);
    if (s->until != HY__END_LENGTH) return refuse(d, at, "until asks for two things; wanted one");
    s->until = loss ? HY__END_VAL_LOSS : HY__END_ACCURACY;
    return read_number(d, value, key, false, loss ? 1e3 : 1, &s->until_value);
}

static hy_status read_noise(reader *d, const char *key, const yaml_node_t *at, yaml_node_t *value,
                            void *user) {
    (void)user;
    if (strcmp(key, "noise") != 0) return refuse(d, at, "upcycle has no %.64s; wanted noise", key);
    d->w->line.noise = line_of(at);
    return read_number(d, value, key, true, 10, &d->w->stage.noise);
}

/* ---- settings of the configuration ---- */

/* "256 to 2048": where the context begins, and in *last where it ends. */
static hy_status read_growth(const reader *d, const yaml_node_t *n, const char **last) {
    const char *to = strstr(text_of(n), " to ");
    char *end;
    *last = to ? to + 4 : text_of(n);
    if (!to) return HY_OK;
    d->w->from = strtoll(text_of(n), &end, 10);
    if (end == to && d->w->from >= 1) return HY_OK;
    return refuse(d, n,
                  "train.seq_len is '%.64s', wanted tokens, or tokens to tokens as in "
                  "256 to 2048",
                  text_of(n));
}

static hy_status set_field(reader *d, const char *section, const char *key, const yaml_node_t *at,
                           const yaml_node_t *value) {
    const hy__field *f = hy__field_find(section, strlen(section), key);
    if (!f) return refuse_in(d, at, hy__field_unknown(section, key, d->err));
    if (!f->staged)
        return refuse(d, at,
                      "%s.%s cannot change from stage to stage; it belongs into the "
                      "configuration",
                      section, key);
    HY_TRY(want_text(d, value, key));
    const char *text = text_of(value);
    if (strcmp(section, "train") == 0 && strcmp(key, "seq_len") == 0) {
        HY_TRY(read_growth(d, value, &text));
        d->w->line.seq_len = line_of(value);
    }
    d->w->line.field[f - hy__fields] = line_of(value);
    d->w->stage.sets[f - hy__fields] = true;
    const hy_status status = hy__field_set(f, &d->w->stage.cfg, &d->w->stage.train, text, d->err);
    return status == HY_OK ? HY_OK : refuse_in(d, value, status);
}

static hy_status read_field(reader *d, const char *key, const yaml_node_t *at, yaml_node_t *value,
                            void *user) {
    const char *section = user;
    hy__written *w = d->w;
    if (strcmp(section, "pkm") == 0 && strcmp(key, "warmup") == 0)
        return read_tokens(d, value, "pkm.warmup", &w->table_tokens, &w->line.table);
    if (strcmp(section, "pkm") == 0 && strcmp(key, "reseed") == 0)
        return read_tokens(d, value, "pkm.reseed", &w->stage.reseed, &w->line.reseed);
    return set_field(d, section, key, at, value);
}

/* ---- one stage ---- */

static const char KEYS[] = "name, tokens, until, on, gate_ramp, freeze, rates, mixture, layers, "
                           "upcycle, and the sections of a configuration";

static hy_status read_layers(reader *d, const yaml_node_t *n) {
    const hy__field *f = hy__field_find("model", 5, "layers");
    HY_TRY(want_text(d, n, "layers"));
    d->w->line.layers = line_of(n);
    d->w->stage.sets[f - hy__fields] = true;
    const hy_status status =
        hy__field_set(f, &d->w->stage.cfg, &d->w->stage.train, text_of(n), d->err);
    return status == HY_OK ? HY_OK : refuse_in(d, n, status);
}

static hy_status read_key(reader *d, const char *key, const yaml_node_t *at, yaml_node_t *value,
                          void *user) {
    hy__written *w = d->w;
    (void)user;
    if (strcmp(key, "name") == 0) return HY_OK; /* read before the others */
    if (strcmp(key, "tokens") == 0) return read_tokens(d, value, key, &w->tokens, &w->line.tokens);
    if (strcmp(key, "gate_ramp") == 0)
        return read_tokens(d, value, key, &w->ramp_tokens, &w->line.ramp);
    if (strcmp(key, "on") == 0) {
        w->line.on = line_of(at);
        w->stage.on[0] = '\0';
        return each_word(d, value, key, add_letters);
    }
    if (strcmp(key, "freeze") == 0) return each_word(d, value, key, add_freeze);
    if (strcmp(key, "layers") == 0) return read_layers(d, value);
    if (strcmp(key, "rates") == 0) return each_pair(d, value, key, read_rate, NULL);
    if (strcmp(key, "mixture") == 0) {
        w->stage.mix_line = line_of(at);
        return each_pair(d, value, key, read_mix, NULL);
    }
    if (strcmp(key, "upcycle") == 0) return each_pair(d, value, key, read_noise, NULL);
    if (strcmp(key, "until") == 0) {
        w->stage.until_line = line_of(at);
        HY_TRY(each_pair(d, value, key, read_until, NULL));
        if (w->stage.until != HY__END_LENGTH) return HY_OK;
        return refuse(d, at, "until asks for nothing; wanted val_loss or accuracy");
    }
    for (size_t i = 0; i < hy__n_field; i++)
        if (strcmp(hy__fields[i].section, key) == 0)
            return each_pair(d, value, key, read_field, (void *)(uintptr_t)hy__fields[i].section);
    return refuse(d, at, "a stage has no %.64s; it has %s", key, KEYS);
}

static hy_status read_stage_name(reader *d, const char *key, const yaml_node_t *at,
                                 yaml_node_t *value, void *user) {
    char *name = user;
    (void)at;
    if (strcmp(key, "name") != 0) return HY_OK;
    return read_name(d, value, "name", name, HY__STAGE_NAME);
}

/* The letters of a pattern, each once. */
static void letters_of(const hy__config *c, char *out) {
    size_t n = 0;
    for (const char *l = HY__LETTERS; *l; l++)
        if (strchr(c->letter, *l)) out[n++] = *l;
    out[n] = '\0';
}

/* The line of the setting that a sentence begins with, or of the pattern. */
static int64_t blamed_line(const hy__written *w, const hy_error *err) {
    for (size_t i = 0; err && i < hy__n_field; i++) {
        char name[64];
        const int n =
            snprintf(name, sizeof name, "%s.%s ", hy__fields[i].section, hy__fields[i].name);
        if (w->line.field[i] > 0 && strncmp(err->text, name, (size_t)n) == 0)
            return w->line.field[i];
    }
    return w->line.layers;
}

static hy_status read_stage(reader *d, const yaml_node_t *n) {
    hy__written *w = &d->now;
    *w = (hy__written){.stage = {.line = line_of(n),
                                 .cfg = *d->base,
                                 .train = *d->base_train,
                                 .on = "*",
                                 .noise = 0.01}};
    hy__stage *s = &w->stage;
    char name[HY__STAGE_NAME] = "";
    HY_TRY(each_pair(d, n, "a stage", read_stage_name, name));
    if (!*name) return refuse(d, n, "a stage has no name");
    memcpy(s->name, name, sizeof name);
    d->w = w;
    /* widths stay what they are, even those that were derived from what a stage changes */
    for (size_t i = 0; i < hy__n_field; i++)
        if (!hy__fields[i].staged) s->cfg.derived[i] = 0;
    HY_TRY(each_pair(d, n, "a stage", read_key, NULL));
    const hy_status status = hy__config_finish(&s->cfg, d->err);
    if (status != HY_OK) return hy__recipe_fail_in(d->r, s, blamed_line(w, d->err), status, d->err);
    if (s->on[0] == '*') letters_of(&s->cfg, s->on);
    HY_TRY(hy__recipe_add(d->r, w, d->err));
    d->w = NULL;
    return HY_OK;
}

/* ---- the file ---- */

static hy_status read_top(reader *d, const char *key, const yaml_node_t *at, yaml_node_t *value,
                          void *user) {
    (void)user;
    if (strcmp(key, "stages") != 0)
        return refuse(d, at, "a recipe has no %.64s; wanted stages: and a list", key);
    if (value->type != YAML_SEQUENCE_NODE) return refuse(d, value, "stages is no list");
    for (const yaml_node_item_t *i = value->data.sequence.items.start;
         i < value->data.sequence.items.top; i++)
        HY_TRY(read_stage(d, node(d, *i)));
    return HY_OK;
}

static hy_status read_document(reader *d) {
    const yaml_node_t *root = yaml_document_get_root_node(&d->doc);
    if (root) HY_TRY(each_pair(d, root, "the recipe", read_top, NULL));
    if (d->r->n > 0) return HY_OK;
    return hy__fail(d->err, HY_E_INVALID, "%s has no stages; wanted stages: and a list of them",
                    d->r->name);
}

hy_status hy__recipe_parse(hy__recipe *r, const char *text, size_t size, const char *name,
                           const hy__config *c, const hy__train_config *t, hy_error *err) {
    yaml_parser_t parser;
    *r = (hy__recipe){.name = strdup(name)};
    if (!r->name || !yaml_parser_initialize(&parser)) {
        hy__recipe_release(r);
        return hy__no_memory(err, "a recipe");
    }
    reader d = {.r = r, .base = c, .base_train = t, .err = err};
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
    hy_status status;
    if (yaml_parser_load(&parser, &d.doc)) {
        status = read_document(&d);
        yaml_document_delete(&d.doc);
    } else {
        status = hy__fail(err, HY_E_INVALID, "%s:%zu: not valid YAML: %s", name,
                          parser.problem_mark.line + 1, parser.problem ? parser.problem : "?");
    }
    yaml_parser_delete(&parser);
    if (status != HY_OK) hy__recipe_release(r);
    return status;
}

hy_status hy__recipe_read(hy__recipe *r, const char *path, const hy__config *c,
                          const hy__train_config *t, hy_error *err) {
    char *text;
    size_t size;
    *r = (hy__recipe){0};
    HY_TRY(hy__file_read(path, FILE_LIMIT, &text, &size, err));
    const hy_status status = hy__recipe_parse(r, text, size, path, c, t, err);
    free(text);
    return status;
}
