/* recipe.c: from what is written of a stage to its parts, with every check that needs no data. */
#include "config/recipe_table.h"

#include "base/words.h"
#include "config/config_table.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The groups of parameters that a recipe may name; those of model/component.h. */
static const char *const GROUP[] = {"embed", "matrix", "vector", "router", "table", NULL};

const char *hy__stage_end_name(hy__stage_end e) {
    static const char *const name[HY__END_N] = {"length", "val_loss", "accuracy"};
    return name[e];
}

hy_status hy__recipe_fail_in(const hy__recipe *r, const hy__stage *s, int64_t line,
                             hy_status status, hy_error *err) {
    if (!r->name) return status;
    if (line <= 0) line = s->line;
    return hy__fail_in(err, status, "%s:%" PRId64 ": stage '%s'", r->name, line, s->name);
}

/* ---- asking ---- */

int64_t hy__stage_batch_tokens(const hy__stage *s) {
    return s->train.batch * hy__config_segment(&s->cfg, &s->train);
}

int64_t hy__stage_step_tokens(const hy__stage *s) {
    return s->train.accumulate * hy__stage_batch_tokens(s);
}

int64_t hy__recipe_steps(const hy__recipe *r) {
    int64_t n = 0;
    for (int64_t i = 0; i < r->n; i++) n += r->stage[i].steps;
    return n;
}

bool hy__recipe_sets(const hy__recipe *r, const char *setting) {
    char name[64];
    const size_t section = strcspn(setting, ".");
    const hy__field *f = NULL;
    if (setting[section] == '.') {
        const char *key = setting + section + 1;
        snprintf(name, sizeof name, "%.*s", (int)strcspn(key, "="), key);
        f = hy__field_find(setting, section, name);
    }
    for (int64_t i = 0; f && i < r->n; i++)
        if (!r->stage[i].sets[f - hy__fields]) return false;
    return f != NULL;
}

int64_t hy__recipe_next(const hy__recipe *r, int64_t i) {
    return i + r->stage[i].n_part - r->stage[i].part;
}

bool hy__stage_runs(const hy__stage *s, int64_t layer) {
    return strchr(s->on, s->cfg.letter[layer]) != NULL;
}

bool hy__recipe_rises(const hy__recipe *r, int64_t i, int64_t layer) {
    const hy__stage *s = &r->stage[i];
    const int64_t first = i - s->part;
    return s->ramp > 0 && first > 0 && hy__stage_runs(s, layer) &&
           !hy__stage_runs(&r->stage[first - 1], layer);
}

double hy__stage_times(const hy__stage *s, char letter, const char *group) {
    double times = 1.0;
    for (int64_t i = 0; i < s->n_rate; i++) {
        const char *what = s->rate[i].what;
        if (strcmp(what, group) == 0 || (what[0] == letter && !what[1])) times *= s->rate[i].times;
    }
    return times;
}

void hy__stage_running(const hy__stage *s, hy__config *out) {
    *out = s->cfg;
    out->n_layer = 0;
    memset(out->letter, 0, sizeof out->letter);
    for (int64_t i = 0; i < s->cfg.n_layer; i++) {
        if (!hy__stage_runs(s, i)) continue;
        out->letter[out->n_layer] = s->cfg.letter[i];
        out->block[out->n_layer++] = s->cfg.block[i];
    }
}

/* ---- checks of one stage ---- */

#define REFUSE(ln, ...)                                                                            \
    return hy__recipe_fail_in(r, &w->stage, (ln), hy__fail(err, HY_E_INVALID, __VA_ARGS__), err)
#define LL(x) ((long long)(x))

static hy_status check_letters(const hy__recipe *r, const hy__written *w, hy_error *err) {
    const hy__stage *s = &w->stage;
    for (const char *c = s->on; *c; c++)
        if (!strchr(s->cfg.letter, *c))
            REFUSE(w->line.on, "letter %c is on, but the pattern \"%s\" has none", *c,
                   s->cfg.model.layers);
    if (!*s->on) REFUSE(w->line.on, "no letter is on");
    for (int64_t i = 0; i < s->n_rate; i++) {
        const char *what = s->rate[i].what;
        if (hy__words_place(GROUP, what) >= 0) continue;
        if (strlen(what) != 1 || !strchr(HY__LETTERS, *what))
            REFUSE(w->line.rates,
                   "'%s' is neither a letter nor a group: embed, matrix, vector, router, table",
                   what);
        if (!strchr(s->cfg.letter, *what))
            REFUSE(w->line.rates, "there is no letter %c in the pattern \"%s\"", *what,
                   s->cfg.model.layers);
    }
    return HY_OK;
}

/* Whether something of the frame or of a letter that is on still learns. */
static bool learns(const hy__stage *s) {
    if (hy__stage_times(s, 0, "embed") > 0 || hy__stage_times(s, 0, "vector") > 0) return true;
    for (const char *c = s->on; *c; c++)
        for (int i = 0; GROUP[i]; i++)
            if (strcmp(GROUP[i], "embed") != 0 && hy__stage_times(s, *c, GROUP[i]) > 0) return true;
    return false;
}

static hy_status check_alone(const hy__recipe *r, const hy__written *w, hy_error *err) {
    const hy__stage *s = &w->stage;
    HY_TRY(check_letters(r, w, err));
    if (!learns(s)) REFUSE(w->line.rates, "everything is frozen, so that nothing is left to train");
    if (w->tokens < 1) REFUSE(0, "it says no length; wanted tokens: N");
    if (w->from > s->train.seq_len)
        REFUSE(w->line.seq_len, "the context shrinks from %lld to %lld tokens; wanted it to grow",
               LL(w->from), LL(s->train.seq_len));
    if ((w->table_tokens > 0 || s->reseed > 0) && !strchr(s->on, 'P'))
        REFUSE(w->table_tokens > 0 ? w->line.table : w->line.reseed, "letter P is not on");
    if (s->until != HY__END_LENGTH && s->train.val_fraction <= 0)
        REFUSE(s->until_line, "until asks for held-out text, but train.val_fraction is 0");
    if (s->until != HY__END_LENGTH && s->train.eval_every <= 0)
        REFUSE(s->until_line, "until is asked at evaluations, but train.eval_every is 0");
    return HY_OK;
}

/* ---- what it has to do with the stage before ---- */

/* Layers keep their letters, or F becomes E. */
static hy_status check_pattern(const hy__recipe *r, hy__written *w, const hy__stage *last,
                               hy_error *err) {
    hy__stage *s = &w->stage;
    const int64_t line = w->line.layers;
    if (s->cfg.n_layer != last->cfg.n_layer)
        REFUSE(line, "the pattern has %lld layers, that of the stage before %lld; wanted as many",
               LL(s->cfg.n_layer), LL(last->cfg.n_layer));
    for (int64_t i = 0; i < s->cfg.n_layer; i++) {
        const char was = last->cfg.letter[i], is = s->cfg.letter[i];
        if (was == 'F' && is == 'F' && s->cfg.ffn.d_ff != last->cfg.ffn.d_ff)
            REFUSE(line, "layer %lld is F of width %lld, in the stage before of %lld", LL(i + 1),
                   LL(s->cfg.ffn.d_ff), LL(last->cfg.ffn.d_ff));
        if (was == is) continue;
        if (was != 'F' || is != 'E')
            REFUSE(line, "layer %lld changes from %c to %c; only F can change, to E", LL(i + 1),
                   was, is);
        s->upcycles = true;
    }
    if (s->upcycles && s->cfg.experts.d_ff > last->cfg.ffn.d_ff)
        REFUSE(line,
               "F of width %lld becomes E whose experts are %lld wide; wanted experts.d_ff at most "
               "ffn.d_ff",
               LL(last->cfg.ffn.d_ff), LL(s->cfg.experts.d_ff));
    return HY_OK;
}

/* Letters of layers that the stage before did without. */
static void find_fresh(hy__stage *s, const hy__stage *last) {
    size_t n = 0;
    for (int64_t i = 0; i < s->cfg.n_layer; i++) {
        const char letter = s->cfg.letter[i];
        if (!hy__stage_runs(s, i) || hy__stage_runs(last, i) || strchr(s->fresh, letter)) continue;
        s->fresh[n++] = letter;
        s->fresh[n] = '\0';
    }
}

static hy_status check_after(const hy__recipe *r, hy__written *w, hy_error *err) {
    const hy__stage *last = r->n > 0 ? &r->stage[r->n - 1] : NULL;
    for (int64_t i = 0; i < r->n; i++)
        if (strcmp(r->stage[i].name, w->stage.name) == 0)
            REFUSE(0, "its name is that of the stage in line %lld", LL(r->stage[i].line));
    if (last) {
        HY_TRY(check_pattern(r, w, last, err));
        find_fresh(&w->stage, last);
    }
    if (w->ramp_tokens > 0 && !*w->stage.fresh)
        REFUSE(w->line.ramp, last ? "no letter is on that was off in the stage before, so no gate "
                                    "can rise"
                                  : "it is the first, whose gates begin as they are");
    if (w->line.noise > 0 && !w->stage.upcycles)
        REFUSE(w->line.noise,
               "no F of the stage before becomes E here, so there is nothing to upcycle");
    return HY_OK;
}

/* ---- parts ---- */

static int64_t divide_up(int64_t a, int64_t b) {
    return a / b + (a % b != 0);
}

static hy_status append(hy__recipe *r, const hy__written *w, const hy__stage *s, hy_error *err) {
    if (r->n == HY__STAGE_MAX) REFUSE(0, "the recipe has more than %d stages", HY__STAGE_MAX);
    hy__stage *grown = realloc(r->stage, (size_t)(r->n + 1) * sizeof *grown);
    if (!grown) return hy__no_memory(err, "a recipe");
    r->stage = grown;
    r->stage[r->n++] = *s;
    return HY_OK;
}

/* Lengths from `from` on, each twice the one before, and the last. */
static int32_t count_parts(const hy__written *w) {
    int32_t n = 1;
    for (int64_t len = w->from; len > 0 && len < w->stage.train.seq_len; len *= 2) n++;
    return n;
}

/* Part `i` as it runs: sequences of its length, as many more as they are shorter, so that a step
 * has about the same number of tokens. */
static hy__stage part_of(const hy__written *w, int32_t i, int32_t n) {
    hy__stage s = w->stage;
    const int64_t last = s.train.seq_len;
    s.part = i;
    s.n_part = n;
    if (i + 1 < n) {
        s.train.seq_len = w->from << i;
        s.train.batch = s.train.batch * last / s.train.seq_len;
    }
    s.tokens = w->tokens / n;
    s.steps = divide_up(s.tokens, hy__stage_step_tokens(&s));
    return s;
}

static hy_status add_parts(hy__recipe *r, const hy__written *w, hy_error *err) {
    const int32_t n = count_parts(w);
    const int64_t first = r->n;
    int64_t before = 0;
    for (int32_t i = 0; i < n; i++) {
        hy__stage s = part_of(w, i, n);
        const int64_t step = hy__stage_step_tokens(&s);
        if (s.tokens < step)
            REFUSE(w->line.tokens, "%s of %lld tokens %s shorter than one step of %lld tokens",
                   n > 1 ? "its parts" : "its length", LL(s.tokens), n > 1 ? "are" : "is",
                   LL(step));
        s.before = before;
        s.ramp = divide_up(w->ramp_tokens, step);
        s.table_steps = divide_up(w->table_tokens, step);
        s.tokens = s.steps * step;
        before += s.steps;
        HY_TRY(append(r, w, &s, err));
    }
    const hy__stage *s = &r->stage[first];
    if (s->ramp > before)
        REFUSE(w->line.ramp, "the gates rise over %lld steps, longer than the stage of %lld steps",
               LL(s->ramp), LL(before));
    if (s->table_steps > before)
        REFUSE(w->line.table,
               "the table warms up over %lld steps, longer than the stage of %lld steps",
               LL(s->table_steps), LL(before));
    return HY_OK;
}

hy_status hy__recipe_add(hy__recipe *r, hy__written *w, hy_error *err) {
    HY_TRY(check_alone(r, w, err));
    HY_TRY(check_after(r, w, err));
    return add_parts(r, w, err);
}

/* ---- a recipe ---- */

void hy__recipe_release(hy__recipe *r) {
    free(r->name);
    free(r->stage);
    *r = (hy__recipe){0};
}

hy_status hy__recipe_single(hy__recipe *r, const hy__config *c, const hy__train_config *t,
                            hy_error *err) {
    *r = (hy__recipe){.stage = calloc(1, sizeof *r->stage), .n = 1};
    if (!r->stage) return hy__no_memory(err, "a recipe");
    *r->stage = (hy__stage){
        .name = "all", .n_part = 1, .cfg = *c, .train = *t, .steps = t->steps, .on = HY__LETTERS};
    const int64_t each = hy__stage_step_tokens(r->stage);
    if (t->steps > INT64_MAX / each) {
        hy__recipe_release(r);
        return hy__fail(err, HY_E_INVALID,
                        "train.steps = %" PRId64 " of %" PRId64
                        " tokens each are too many to be counted",
                        t->steps, each);
    }
    r->stage->tokens = t->steps * each;
    return HY_OK;
}

static void print_stage(const hy__stage *s, FILE *out) {
    fprintf(out, "stage %s %" PRId32 " steps %" PRId64 " on %s ramp %" PRId64 "\n", s->name,
            s->part, s->steps, s->on, s->ramp);
    for (int64_t i = 0; i < s->n_rate; i++)
        fprintf(out, "rate %s %.17g\n", s->rate[i].what, s->rate[i].times);
    for (int64_t i = 0; i < s->n_mix; i++)
        fprintf(out, "mix %s %.17g\n", s->mix[i].name, s->mix[i].weight);
    fprintf(out, "until %d %.17g %s noise %.17g table %" PRId64 " reseed %" PRId64 "\n",
            (int)s->until, s->until_value, s->until_corpus, s->noise, s->table_steps, s->reseed);
    for (size_t i = 0; i < hy__n_field; i++) {
        if (hy__fields[i].loose && !hy__fields[i].staged) continue; /* does not matter */
        fprintf(out, "%s.%s ", hy__fields[i].section, hy__fields[i].name);
        hy__field_print(&hy__fields[i], &s->cfg, &s->train, out);
        fputc('\n', out);
    }
}

void hy__recipe_print(const hy__recipe *r, FILE *out) {
    for (int64_t i = 0; i < r->n; i++) print_stage(&r->stage[i], out);
}
