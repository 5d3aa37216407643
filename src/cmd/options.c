/* options.c: see options.h. */
#include "cmd/options.h"

#include "base/nearest.h"
#include "base/words.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
    NAME_CAP = 64,  /* longer options are not looked up */
    LIST_CAP = 128, /* bytes of what an option may be, listed */
    RANGE_CAP = 64,
};

static parse_result wrong(hy_error *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static parse_result wrong(hy_error *err, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, args);
    va_end(args);
    err->status = HY_E_INVALID;
    return PARSE_WRONG;
}

static parse_result unknown(const command *c, const char *arg, size_t n, hy_error *err) {
    const char *name[NAME_CAP];
    char written[NAME_CAP + 1] = "";
    int n_name = 0;
    for (int i = 0; i < c->n_option && n_name < NAME_CAP - 1; i++)
        name[n_name++] = c->option[i].name;
    name[n_name++] = "help";
    if (n <= NAME_CAP) memcpy(written, arg, n);
    const char *near = *written ? hy__nearest(written, name, n_name) : NULL;
    if (near) {
        return wrong(err, "%s has no option --%.*s; did you mean --%s?", c->name, (int)n, arg,
                     near);
    }
    return wrong(err, "%s has no option --%.*s; see hydralm %s --help", c->name, (int)n, arg,
                 c->name);
}

/* "1 to 100"; false where there are no bounds. */
static bool range_of(const option *o, char *out, size_t size) {
    snprintf(out, size, "%.16g to %.16g", o->min, o->max); /* 1e15 in digits, and 0.9 in few */
    return o->min < o->max;
}

static parse_result check_bounds(const option *o, double value, const char *text, hy_error *err) {
    char range[RANGE_CAP];
    if (!range_of(o, range, sizeof range) || (value >= o->min && value <= o->max)) return PARSE_RUN;
    return wrong(err, "--%s is %s, wanted %s", o->name, text, range);
}

/* A whole number at `at`; *end = at where there is none. What int64_t does not hold is infinite. */
static double parse_int(const char *at, char **end, int64_t *value) {
    errno = 0;
    *value = strtoll(at, end, 10);
    return errno == 0 ? (double)*value : *value < 0 ? -HUGE_VAL : HUGE_VAL;
}

static parse_result put_int(const option *o, const char *text, hy_error *err) {
    char *end;
    const double value = parse_int(text, &end, o->to);
    if (!*text || *end) {
        return wrong(err, "--%s is \"%s\", wanted a whole number", o->name, text);
    }
    return check_bounds(o, value, text, err);
}

static parse_result put_real(const option *o, const char *text, hy_error *err) {
    char *end;
    double *to = o->to;
    *to = strtod(text, &end);
    if (!*text || *end || !isfinite(*to)) {
        return wrong(err, "--%s is \"%s\", wanted a number", o->name, text);
    }
    return check_bounds(o, *to, text, err);
}

static parse_result put_text(text_list *to, const char *text, hy_error *err) {
    const char **grown = realloc(to->item, (size_t)(to->n + 1) * sizeof *grown);
    if (!grown) return wrong(err, "there is not enough memory for the command line");
    to->item = grown;
    to->item[to->n++] = text;
    return PARSE_RUN;
}

static parse_result refuse_empty(const option *o, hy_error *err) {
    return wrong(err, "--%s is empty, wanted %s", o->name, o->value);
}

static parse_result put_item(const option *o, const char *text, hy_error *err) {
    return *text ? put_text(o->to, text, err) : refuse_empty(o, err);
}

static parse_result put_ints(const option *o, const char *text, hy_error *err) {
    int_list *to = o->to;
    const char *at = text;
    for (;;) {
        char *end;
        int64_t v;
        const double value = parse_int(at, &end, &v);
        if (end == at || (*end && *end != ',')) {
            return wrong(err, "--%s is \"%s\", wanted whole numbers as in 3,5,8", o->name, text);
        }
        if (check_bounds(o, value, text, err) != PARSE_RUN) return PARSE_WRONG;
        int64_t *grown = realloc(to->item, (size_t)(to->n + 1) * sizeof *grown);
        if (!grown) return wrong(err, "there is not enough memory for the command line");
        to->item = grown;
        to->item[to->n++] = v;
        if (!*end) return PARSE_RUN;
        at = end + 1;
    }
}

static const char *last_of(const option *o) {
    return o->kind == OPTION_WORDS ? " and " : " or ";
}

static parse_result not_among(const option *o, const char *word, hy_error *err) {
    char known[LIST_CAP];
    const bool several = o->kind == OPTION_WORDS;
    hy__words_list(known, sizeof known, o->words, last_of(o));
    return wrong(err, "--%s %s \"%.60s\", wanted %s%s", o->name, several ? "has" : "is", word,
                 several ? "some of " : "", known);
}

static parse_result put_word(const option *o, const char *text, hy_error *err) {
    const char **to = o->to;
    if (o->words && hy__words_place(o->words, text) < 0) return not_among(o, text, err);
    if (o->kind == OPTION_PATH && !*text) return refuse_empty(o, err);
    *to = text;
    return PARSE_RUN;
}

static parse_result put_words(const option *o, const char *text, hy_error *err) {
    bool *to = o->to;
    for (int i = 0; o->words[i]; i++) to[i] = false;
    for (const char *at = text;; at++) {
        char word[NAME_CAP];
        const size_t n = strcspn(at, ",");
        snprintf(word, sizeof word, "%.*s", (int)n, at);
        const int place = hy__words_place(o->words, word);
        if (place < 0) return not_among(o, word, err);
        to[place] = true;
        at += n;
        if (!*at) return PARSE_RUN;
    }
}

static parse_result put_any(const option *o, const char *text, hy_error *err) {
    switch (o->kind) {
    case OPTION_INT:
        return put_int(o, text, err);
    case OPTION_REAL:
        return put_real(o, text, err);
    case OPTION_EACH:
    case OPTION_MANY:
        return put_item(o, text, err);
    case OPTION_INTS:
        return put_ints(o, text, err);
    case OPTION_TEXT:
    case OPTION_PATH:
        return put_word(o, text, err);
    case OPTION_WORDS:
        return put_words(o, text, err);
    case OPTION_FLAG:
        *(bool *)o->to = true;
        break;
    }
    return PARSE_RUN;
}

static parse_result put(const option *o, const char *text, hy_error *err) {
    if (put_any(o, text, err) != PARSE_RUN) return PARSE_WRONG;
    return !o->check || o->check(text, err) == HY_OK ? PARSE_RUN : PARSE_WRONG;
}

static option *find_long(const command *c, const char *name, size_t n) {
    for (int i = 0; i < c->n_option; i++)
        if (strlen(c->option[i].name) == n && strncmp(c->option[i].name, name, n) == 0)
            return &c->option[i];
    return NULL;
}

static option *find_letter(const command *c, char letter) {
    for (int i = 0; i < c->n_option; i++)
        if (letter && c->option[i].letter == letter) return &c->option[i];
    return NULL;
}

/* Reads the option at argv[*at] with its values and moves *at past them. */
static parse_result parse_one(const command *c, int argc, char **argv, int *at, hy_error *err) {
    const char *arg = argv[(*at)++];
    const bool is_long = arg[1] == '-';
    const char *equals = is_long ? strchr(arg, '=') : NULL;
    const size_t n = equals ? (size_t)(equals - arg - 2) : strlen(arg) - (is_long ? 2 : 1);
    if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) return PARSE_HELP;
    option *o = is_long ? find_long(c, arg + 2, n) : n == 1 ? find_letter(c, arg[1]) : NULL;
    if (!o && is_long) return unknown(c, arg + 2, n, err);
    if (!o) {
        return wrong(err, "%s has no option %s; see hydralm %s --help", c->name, arg, c->name);
    }
    o->given = true;
    if (o->kind == OPTION_FLAG) {
        if (equals) return wrong(err, "--%s takes no value, got \"%s\"", o->name, equals + 1);
        return put(o, NULL, err);
    }
    if (equals) return put(o, equals + 1, err);
    if (*at == argc) return wrong(err, "--%s wants a value: %s", o->name, o->value);
    if (o->kind != OPTION_MANY) return put(o, argv[(*at)++], err);
    for (int first = *at; *at < argc && (*at == first || argv[*at][0] != '-'); (*at)++)
        if (put(o, argv[*at], err) != PARSE_RUN) return PARSE_WRONG;
    return PARSE_RUN;
}

/* Whether an option is there that must be, and none that must not. */
static parse_result check_presence(const command *c, const option *o, hy_error *err) {
    if (o->given && o->excludes && options_given(c, o->excludes))
        return wrong(err, "--%s and --%s are both given, wanted one of them", o->name, o->excludes);
    if (!o->required || o->given) return PARSE_RUN;
    if (!o->unless) return wrong(err, "%s wants --%s %s", c->name, o->name, o->value);
    if (options_given(c, o->unless)) return PARSE_RUN;
    return wrong(err, "%s wants --%s %s or --%s", c->name, o->name, o->value, o->unless);
}

parse_result options_parse(const command *c, int argc, char **argv, const char **operand,
                           hy_error *err) {
    bool options = true; /* until "--" */
    *operand = NULL;
    for (int i = 0; i < argc;) {
        if (options && strcmp(argv[i], "--") == 0) {
            options = false;
            i++;
        } else if (options && argv[i][0] == '-' && argv[i][1]) {
            const parse_result r = parse_one(c, argc, argv, &i, err);
            if (r != PARSE_RUN) return r;
        } else if (c->operand && (c->operands || !*operand)) {
            *operand = argv[i++];
            if (c->operands && put_text(c->operands, *operand, err) != PARSE_RUN)
                return PARSE_WRONG;
        } else {
            return wrong(err, "%s does not know what to do with \"%s\"; see hydralm %s --help",
                         c->name, argv[i], c->name);
        }
    }
    for (int i = 0; i < c->n_option; i++)
        if (check_presence(c, &c->option[i], err) != PARSE_RUN) return PARSE_WRONG;
    if (c->operand && !*operand && !c->operand_optional)
        return wrong(err, "%s wants %s", c->name, c->operand);
    return PARSE_RUN;
}

bool options_given(const command *c, const char *name) {
    const option *o = find_long(c, name, strlen(name));
    return o && o->given;
}

void options_release(const command *c) {
    if (c->operands) free(c->operands->item);
    for (int i = 0; i < c->n_option; i++) {
        const option *o = &c->option[i];
        if (o->kind == OPTION_EACH || o->kind == OPTION_MANY) free(((text_list *)o->to)->item);
        if (o->kind == OPTION_INTS) free(((int_list *)o->to)->item);
    }
}

/* "a,b": the words that an option has before it is given. */
static void print_chosen(const option *o, FILE *to) {
    const bool *chosen = o->to;
    const char *before = " (default ";
    for (int i = 0; o->words[i]; i++) {
        if (!chosen[i]) continue;
        fprintf(to, "%s%s", before, o->words[i]);
        before = ",";
    }
    if (*before == ',') fputc(')', to);
}

/* "(default 0.8)", from what the variable holds. */
static void print_default(const option *o, FILE *to) {
    if (o->required || o->given) return;
    if (o->kind == OPTION_INT && *(int64_t *)o->to != 0)
        fprintf(to, " (default %lld)", (long long)*(int64_t *)o->to);
    if (o->kind == OPTION_REAL && *(double *)o->to != 0.0)
        fprintf(to, " (default %g)", *(double *)o->to);
    if (o->kind == OPTION_TEXT && *(const char **)o->to)
        fprintf(to, " (default %s)", *(const char **)o->to);
    if (o->kind == OPTION_WORDS) print_chosen(o, to);
}

static void print_words(const option *o, FILE *to) {
    char known[LIST_CAP];
    if (!o->words) return;
    hy__words_list(known, sizeof known, o->words, last_of(o));
    fprintf(to, "%s%s", o->kind == OPTION_WORDS ? ": some of " : ": ", known);
}

static void print_range(const option *o, FILE *to) {
    char range[RANGE_CAP];
    if (range_of(o, range, sizeof range)) fprintf(to, " (%s)", range);
}

void options_help(const command *c, FILE *to) {
    fprintf(to, "hydralm %s: %s\n\nUsage: hydralm %s", c->name, c->brief, c->name);
    if (c->operand) fprintf(to, c->operand_optional ? " [%s]" : " %s", c->operand);
    for (int i = 0; i < c->n_option; i++)
        if (c->option[i].required) fprintf(to, " --%s %s", c->option[i].name, c->option[i].value);
    fprintf(to, " [options]\n\nOptions:\n");
    for (int i = 0; i < c->n_option; i++) {
        const option *o = &c->option[i];
        const char *value = o->value ? o->value : "";
        char left[NAME_CAP];
        snprintf(left, sizeof left, "%s--%s %s", o->letter ? "-v, " : "", o->name, value);
        if (o->letter) left[1] = o->letter;
        fprintf(to, "  %-28s %s", left, o->doc);
        print_words(o, to);
        print_range(o, to);
        print_default(o, to);
        fputc('\n', to);
    }
    fprintf(to, "  %-28s %s\n", "-h, --help", "this text");
    if (c->detail) fprintf(to, "\n%s\n", c->detail);
}
