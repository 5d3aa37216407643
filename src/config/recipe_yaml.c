/* recipe_yaml.c: a recipe out of YAML; what a value means and accepts is the field table's. */
#include "base/file.h"
#include "config/config_table.h"
#include "config/recipe_table.h"
#include "config/yaml.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct reader {
    hy__yaml yaml;
    hy__recipe *r;
    const hy__config *base;
    const hy__train_config *base_train;
    hy__written w;       /* the stage that is being read … */
    const char *section; /* … and the section in it */
} reader;

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
    const char *text;
    HY_TRY(hy__yaml_text(&d->yaml, n, key, &text));
    if (!parse_tokens(text, out))
        return hy__yaml_fail(&d->yaml, n,
                             "%s is '%.64s', wanted a number of tokens, as 300000, 300K or 1.5M",
                             key, text);
    *line = hy__yaml_line(n);
    return HY_OK;
}

/* `zero`: it may be 0, too. */
static hy_status read_number(const reader *d, const yaml_node_t *n, const char *key, bool zero,
                             double most, double *out) {
    const char *text;
    HY_TRY(hy__yaml_text(&d->yaml, n, key, &text));
    char *end;
    *out = strtod(text, &end);
    if (end != text && !*end && (*out > 0 || (zero && *out == 0)) && *out <= most) return HY_OK;
    return hy__yaml_fail(&d->yaml, n, "%s is '%.64s', wanted a number %s and at most %g", key, text,
                         zero ? "of at least 0" : "above 0", most);
}

static hy_status read_name(const reader *d, const yaml_node_t *n, const char *key, char *out,
                           size_t size) {
    const char *text;
    HY_TRY(hy__yaml_text(&d->yaml, n, key, &text));
    const size_t len = strlen(text);
    if (len < 1 || len >= size)
        return hy__yaml_fail(&d->yaml, n, "%s is '%.64s', wanted 1 to %zu bytes", key, text,
                             size - 1);
    for (const char *c = text; *c; c++) /* names are shown on terminals */
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return hy__yaml_fail(&d->yaml, n, "%s has the control character 0x%02x", key,
                                 (unsigned char)*c);
    memcpy(out, text, len + 1);
    return HY_OK;
}

/* ---- what a stage does beside its settings ---- */

typedef hy_status (*word_fn)(reader *d, const yaml_node_t *at, const char *word);

/* Words with spaces between them. */
static hy_status each_word_in(reader *d, const yaml_node_t *n, const char *key, word_fn fn) {
    const char *text;
    HY_TRY(hy__yaml_text(&d->yaml, n, key, &text));
    char word[24];
    for (const char *at = text; *(at += strspn(at, " ,"));) {
        const size_t len = strcspn(at, " ,");
        if (len >= sizeof word)
            return hy__yaml_fail(&d->yaml, n, "'%.64s' in %s is too long a word", at, key);
        memcpy(word, at, len);
        word[len] = '\0';
        HY_TRY(fn(d, n, word));
        at += len;
    }
    return HY_OK;
}

/* Words of a list of texts, or of a text. */
static hy_status each_word(reader *d, const yaml_node_t *n, const char *key, word_fn fn) {
    if (n->type != YAML_SEQUENCE_NODE) return each_word_in(d, n, key, fn);
    for (const yaml_node_item_t *i = n->data.sequence.items.start; i < n->data.sequence.items.top;
         i++)
        HY_TRY(each_word_in(d, hy__yaml_node(&d->yaml, *i), key, fn));
    return HY_OK;
}

static hy_status add_letters(reader *d, const yaml_node_t *n, const char *word) {
    hy__stage *s = &d->w.stage;
    for (const char *c = word; *c; c++) {
        if (!strchr(HY__LETTERS, *c))
            return hy__yaml_fail(&d->yaml, n, "'%c' in on is no letter, wanted some of S A E F W P",
                                 *c);
        if (strchr(s->on, *c))
            return hy__yaml_fail(&d->yaml, n, "letter %c stands twice in on", *c);
        const size_t at = strlen(s->on);
        s->on[at] = *c;
        s->on[at + 1] = '\0';
    }
    return HY_OK;
}

static hy_status add_rate(reader *d, const yaml_node_t *n, const char *what, double times) {
    hy__stage *s = &d->w.stage;
    if (s->n_rate == HY__RATE_MAX)
        return hy__yaml_fail(&d->yaml, n, "more than %d rates", HY__RATE_MAX);
    if (strlen(what) >= sizeof s->rate[0].what)
        return hy__yaml_fail(&d->yaml, n, "'%.64s' is neither a letter nor a group", what);
    hy__stage_rate *r = &s->rate[s->n_rate++];
    r->times = times;
    memcpy(r->what, what, strlen(what) + 1);
    d->w.line.rates = hy__yaml_line(n);
    return HY_OK;
}

static hy_status add_freeze(reader *d, const yaml_node_t *n, const char *word) {
    return add_rate(d, n, word, 0.0);
}

static hy_status read_rate(void *user, const char *key, const yaml_node_t *at,
                           const yaml_node_t *value) {
    reader *d = user;
    double times;
    HY_TRY(read_number(d, value, "a rate", false, 1000, &times));
    return add_rate(d, at, key, times);
}

static hy_status read_mix(void *user, const char *key, const yaml_node_t *at,
                          const yaml_node_t *value) {
    reader *d = user;
    hy__stage *s = &d->w.stage;
    if (s->n_mix == HY__MIX_MAX)
        return hy__yaml_fail(&d->yaml, at, "more than %d corpora", HY__MIX_MAX);
    hy__stage_mix *m = &s->mix[s->n_mix];
    HY_TRY(read_name(d, at, "a corpus", m->name, sizeof m->name));
    HY_TRY(read_number(d, value, key, false, 1e9, &m->weight));
    s->n_mix++;
    return HY_OK;
}

static hy_status read_until(void *user, const char *key, const yaml_node_t *at,
                            const yaml_node_t *value) {
    reader *d = user;
    hy__stage *s = &d->w.stage;
    const bool loss = strcmp(key, "val_loss") == 0, accuracy = strcmp(key, "accuracy") == 0;
    if (strcmp(key, "corpus") == 0)
        return read_name(d, value, "corpus", s->until_corpus, sizeof s->until_corpus);
    if (!loss && !accuracy)
        return hy__yaml_fail(&d->yaml, at,
                             "until has no %.64s; wanted val_loss or accuracy, and corpus", key);
    if (s->until != HY__END_LENGTH)
        return hy__yaml_fail(&d->yaml, at, "until asks for two things; wanted one");
    s->until = loss ? HY__END_VAL_LOSS : HY__END_ACCURACY;
    return read_number(d, value, key, false, loss ? 1e3 : 1, &s->until_value);
}

static hy_status read_noise(void *user, const char *key, const yaml_node_t *at,
                            const yaml_node_t *value) {
    reader *d = user;
    if (strcmp(key, "noise") != 0)
        return hy__yaml_fail(&d->yaml, at, "upcycle has no %.64s; wanted noise", key);
    d->w.line.noise = hy__yaml_line(at);
    return read_number(d, value, key, true, 10, &d->w.stage.noise);
}

/* ---- settings of the configuration ---- */

/* "256 to 2048": where the context begins, and in *last where it ends. */
static hy_status read_growth(reader *d, const yaml_node_t *n, const char *text, const char **last) {
    const char *to = strstr(text, " to ");
    char *end;
    *last = to ? to + 4 : text;
    if (!to) return HY_OK;
    d->w.from = strtoll(text, &end, 10);
    if (end == to && d->w.from >= 1) return HY_OK;
    return hy__yaml_fail(&d->yaml, n,
                         "train.seq_len is '%.64s', wanted tokens, or tokens to tokens as in "
                         "256 to 2048",
                         text);
}

/* The stage sets a field to a text that stands at a node. */
static hy_status set_value(reader *d, const hy__field *f, const char *text, const yaml_node_t *at) {
    hy__stage *s = &d->w.stage;
    s->sets[f - hy__fields] = true;
    const hy_status status = hy__field_set(f, &s->cfg, &s->train, text, d->yaml.err);
    return status == HY_OK ? HY_OK : hy__yaml_fail_in(&d->yaml, at, status);
}

static hy_status set_field(reader *d, const char *key, const yaml_node_t *at,
                           const yaml_node_t *value) {
    const char *section = d->section;
    const hy__field *f = hy__field_find(section, strlen(section), key);
    if (!f) return hy__yaml_fail_in(&d->yaml, at, hy__field_unknown(section, key, d->yaml.err));
    if (!f->staged)
        return hy__yaml_fail(&d->yaml, at,
                             "%s.%s cannot change from stage to stage; it belongs into the "
                             "configuration",
                             section, key);
    const char *text;
    HY_TRY(hy__yaml_text(&d->yaml, value, key, &text));
    if (strcmp(section, "train") == 0 && strcmp(key, "seq_len") == 0) {
        HY_TRY(read_growth(d, value, text, &text));
        d->w.line.seq_len = hy__yaml_line(value);
    }
    d->w.line.field[f - hy__fields] = hy__yaml_line(value);
    return set_value(d, f, text, value);
}

static hy_status read_field(void *user, const char *key, const yaml_node_t *at,
                            const yaml_node_t *value) {
    reader *d = user;
    hy__written *w = &d->w;
    const bool table = strcmp(d->section, "pkm") == 0;
    if (table && strcmp(key, "warmup") == 0)
        return read_tokens(d, value, "pkm.warmup", &w->table_tokens, &w->line.table);
    if (table && strcmp(key, "reseed") == 0)
        return read_tokens(d, value, "pkm.reseed", &w->stage.reseed, &w->line.reseed);
    return set_field(d, key, at, value);
}

/* ---- one stage ---- */

static const char KEYS[] = "name, tokens, until, on, gate_ramp, freeze, rates, mixture, layers, "
                           "upcycle, and the sections of a configuration";

static hy_status read_layers(reader *d, const yaml_node_t *n) {
    const char *text;
    HY_TRY(hy__yaml_text(&d->yaml, n, "layers", &text));
    d->w.line.layers = hy__yaml_line(n);
    return set_value(d, hy__field_find("model", 5, "layers"), text, n);
}

static hy_status read_key(void *user, const char *key, const yaml_node_t *at,
                          const yaml_node_t *value) {
    reader *d = user;
    hy__written *w = &d->w;
    if (strcmp(key, "name") == 0) return HY_OK; /* read before the others */
    if (strcmp(key, "tokens") == 0) return read_tokens(d, value, key, &w->tokens, &w->line.tokens);
    if (strcmp(key, "gate_ramp") == 0)
        return read_tokens(d, value, key, &w->ramp_tokens, &w->line.ramp);
    if (strcmp(key, "on") == 0) {
        w->line.on = hy__yaml_line(at);
        w->stage.on[0] = '\0';
        return each_word(d, value, key, add_letters);
    }
    if (strcmp(key, "freeze") == 0) return each_word(d, value, key, add_freeze);
    if (strcmp(key, "layers") == 0) return read_layers(d, value);
    if (strcmp(key, "rates") == 0) return hy__yaml_each_pair(&d->yaml, value, key, read_rate, d);
    if (strcmp(key, "mixture") == 0) {
        w->stage.mix_line = hy__yaml_line(at);
        return hy__yaml_each_pair(&d->yaml, value, key, read_mix, d);
    }
    if (strcmp(key, "upcycle") == 0) return hy__yaml_each_pair(&d->yaml, value, key, read_noise, d);
    if (strcmp(key, "until") == 0) {
        w->stage.until_line = hy__yaml_line(at);
        HY_TRY(hy__yaml_each_pair(&d->yaml, value, key, read_until, d));
        if (w->stage.until != HY__END_LENGTH) return HY_OK;
        return hy__yaml_fail(&d->yaml, at, "until asks for nothing; wanted val_loss or accuracy");
    }
    d->section = hy__section_find(key);
    if (d->section) return hy__yaml_each_pair(&d->yaml, value, key, read_field, d);
    return hy__yaml_fail(&d->yaml, at, "a stage has no %.64s; it has %s", key, KEYS);
}

static hy_status read_stage_name(void *user, const char *key, const yaml_node_t *at,
                                 const yaml_node_t *value) {
    reader *d = user;
    (void)at;
    if (strcmp(key, "name") != 0) return HY_OK;
    return read_name(d, value, "name", d->w.stage.name, HY__STAGE_NAME);
}

/* The letters of a pattern, each once. */
static void letters_of(const hy__config *c, char *out) {
    size_t n = 0;
    for (const char *l = HY__LETTERS; *l; l++)
        if (strchr(c->letter, *l)) out[n++] = *l;
    out[n] = '\0';
}

static hy_status read_stage(reader *d, const yaml_node_t *n) {
    hy__written *w = &d->w;
    *w = (hy__written){.stage = {.line = hy__yaml_line(n),
                                 .cfg = *d->base,
                                 .train = *d->base_train,
                                 .on = "*",
                                 .noise = 0.01}};
    hy__stage *s = &w->stage;
    HY_TRY(hy__yaml_each_pair(&d->yaml, n, "a stage", read_stage_name, d));
    if (!*s->name) return hy__yaml_fail(&d->yaml, n, "a stage has no name");
    d->yaml.stage = s->name;
    /* widths stay what they are, even those that were derived from what a stage changes */
    for (size_t i = 0; i < hy__n_field; i++)
        if (!hy__fields[i].staged) s->cfg.derived[i] = 0;
    HY_TRY(hy__yaml_each_pair(&d->yaml, n, "a stage", read_key, d));
    const hy_status status = hy__config_finish(&s->cfg, d->yaml.err);
    if (status != HY_OK) {
        const int64_t line = hy__field_blamed(w->line.field, d->yaml.err);
        return hy__recipe_fail_in(d->r, s, line ? line : w->line.layers, status, d->yaml.err);
    }
    if (s->on[0] == '*') letters_of(&s->cfg, s->on);
    HY_TRY(hy__recipe_add(d->r, w, d->yaml.err));
    d->yaml.stage = NULL;
    return HY_OK;
}

/* ---- the file ---- */

static hy_status read_top(void *user, const char *key, const yaml_node_t *at,
                          const yaml_node_t *value) {
    reader *d = user;
    if (strcmp(key, "stages") != 0)
        return hy__yaml_fail(&d->yaml, at, "a recipe has no %.64s; wanted stages: and a list", key);
    if (value->type != YAML_SEQUENCE_NODE)
        return hy__yaml_fail(&d->yaml, value, "stages is no list");
    for (const yaml_node_item_t *i = value->data.sequence.items.start;
         i < value->data.sequence.items.top; i++)
        HY_TRY(read_stage(d, hy__yaml_node(&d->yaml, *i)));
    return HY_OK;
}

static hy_status read_document(reader *d) {
    const yaml_node_t *root = hy__yaml_root(&d->yaml);
    if (root) HY_TRY(hy__yaml_each_pair(&d->yaml, root, "the recipe", read_top, d));
    if (d->r->n > 0) return HY_OK;
    return hy__fail(d->yaml.err, HY_E_INVALID,
                    "%s has no stages; wanted stages: and a list of them", d->r->name);
}

hy_status hy__recipe_parse(hy__recipe *r, const char *text, size_t size, const char *name,
                           const hy__config *c, const hy__train_config *t, hy_error *err) {
    reader d = {.r = r, .base = c, .base_train = t};
    *r = (hy__recipe){.name = strdup(name)};
    if (!r->name) return hy__no_memory(err, "a recipe");
    hy_status status = hy__yaml_load(&d.yaml, text, size, r->name, err);
    if (status == HY_OK) {
        status = read_document(&d);
        hy__yaml_release(&d.yaml);
    }
    if (status != HY_OK) hy__recipe_release(r);
    return status;
}

hy_status hy__recipe_read(hy__recipe *r, const char *path, const hy__config *c,
                          const hy__train_config *t, hy_error *err) {
    char *text;
    size_t size;
    *r = (hy__recipe){0};
    HY_TRY(hy__file_read(path, HY__YAML_MAX, &text, &size, err));
    const hy_status status = hy__recipe_parse(r, text, size, path, c, t, err);
    free(text);
    return status;
}
