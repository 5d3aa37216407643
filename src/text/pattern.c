/* pattern.c: see pattern.h. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/pattern.h"

#include "text/buffer.h"
#include "text/unicode16.h"

#include <pcre2.h>
#include <stdio.h>

enum {
    MATCH_LIMIT = 20 << 20, /* steps of one match: runaway expressions end with a sentence */
    STACK_FIRST = 32 << 10, /* bytes of the JIT's stack */
    STACK_MOST = 64 << 20,
    BYTES_PER_CHARACTER = 4,
};

const char *const hy__pattern_name[] = {"gpt2", "llama3", NULL};
const char *const hy__pattern_text[] = {
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
    NULL};

struct hy__pattern {
    pcre2_code *code;
    size_t behind; /* bytes */
};

struct hy__matcher {
    pcre2_match_data *data;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
};

/* White_Space, and Oniguruma's word characters without the categories; to stand inside a class. */
#define SPACE                                                                                      \
    "\\t-\\r "                                                                                     \
    "\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define WORD "\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}"

static hy_status refuse(const char *text, size_t at, const char *what, hy_error *err) {
    return hy__fail(err, HY_E_UNSUPPORTED,
                    "the expression \"%.200s\" has %s at place %zu, which is not supported", text,
                    what, at + 1);
}

static hy_status add_text(hy__buffer *out, const char *text, hy_error *err) {
    return hy__buffer_add(out, text, strlen(text), err);
}

/* A general category, as "L" or "Lu", to stand inside a class; with what newer Unicode has of it.
 */
static hy_status add_category(hy__buffer *out, const char *name, size_t n, hy_error *err) {
    char text[64];
    /* found in the class's bitmap, without a look at the character's properties */
    if (n == 1 && *name == 'L') HY_TRY(add_text(out, "A-Za-z", err));
    if (n == 1 && *name == 'N') HY_TRY(add_text(out, "0-9", err));
    snprintf(text, sizeof text, "\\p{%.*s}", (int)n, name);
    HY_TRY(add_text(out, text, err));
    for (size_t i = 0; i < hy__unicode16_size; i++) {
        const hy__unicode_range *r = &hy__unicode16[i];
        if (strncmp(r->category, name, n) != 0) continue;
        while (i + 1 < hy__unicode16_size && hy__unicode16[i + 1].from == hy__unicode16[i].to + 1 &&
               strncmp(hy__unicode16[i + 1].category, name, n) == 0)
            i++; /* fewer ranges to look at for each character */
        snprintf(text, sizeof text, "\\x{%x}-\\x{%x}", (unsigned)r->from,
                 (unsigned)hy__unicode16[i].to);
        HY_TRY(add_text(out, text, err));
    }
    return HY_OK;
}

/* What \s, \w, \d or \p{…} stands for, inside a class. */
static hy_status add_set(hy__buffer *out, char kind, const char *name, size_t n, hy_error *err) {
    static const char *const word[] = {"L", "M", "Nd", "Nl", "Pc"};
    if (kind == 's') return add_text(out, SPACE, err);
    if (kind == 'd') return add_category(out, "Nd", 2, err);
    if (kind == 'p') return add_category(out, name, n, err);
    for (size_t i = 0; i < sizeof word / sizeof *word; i++)
        HY_TRY(add_category(out, word[i], strlen(word[i]), err));
    return add_text(out, WORD, err);
}

/* The set at text[at], of `used` bytes: \s, \w, \d, \p{…} or their negations. */
static hy_status add_escape(const char *text, size_t at, bool in_class, size_t *used,
                            hy__buffer *out, hy_error *err) {
    const char kind = text[at + 1];
    const bool negated = kind < 'a';
    const char *name = text + at + 3;
    size_t n = 0;
    *used = 2;
    if (kind == 'p' || kind == 'P') {
        n = text[at + 2] == '{' ? strcspn(name, "}") : 0;
        if (n == 0 || !name[n]) return refuse(text, at, "a property without its name", err);
        *used = n + 4;
        if (n > 2 || !strchr("LMNPS", *name)) /* scripts and others */
            return hy__buffer_add(out, text + at, *used, err);
    }
    if (in_class && negated) return refuse(text, at, "a negated set within a class", err);
    if (!in_class) HY_TRY(add_text(out, negated ? "[^" : "[", err));
    HY_TRY(add_set(out, (char)(kind | 0x20), name, n, err));
    return in_class ? HY_OK : add_text(out, "]", err);
}

/* The escape at text[at], of `used` bytes: rewritten into out, or copied. */
static hy_status escape(const char *text, size_t at, bool in_class, size_t *used, hy__buffer *out,
                        hy_error *err) {
    const char c = text[at + 1];
    *used = 2;
    if (c == '\0') return refuse(text, at, "a backslash and nothing behind it", err);
    if (strchr("sSwWdDpP", c)) return add_escape(text, at, in_class, used, out, err);
    /* other meanings, or none, in the other syntax */
    if (strchr("hHRXKGZbBCgkNOyYvVQE", c) || (in_class && strchr("zA", c)))
        return refuse(text, at, "an escape with another meaning", err);
    if (c == 'x' && text[at + 2] == '{') *used = 3 + strcspn(text + at + 3, "}");
    return hy__buffer_add(out, text + at, *used, err);
}

/* Braces that count: {,n}, {n}? and {n,m}+ mean other things in the other syntax. */
static hy_status check_braces(const char *text, size_t at, hy_error *err) {
    const char *p = text + at + 1;
    const size_t least = strspn(p, "0123456789"), comma = p[least] == ',';
    const size_t most = comma ? strspn(p + least + 1, "0123456789") : 0;
    const char *end = p + least + comma + most;
    if (*end != '}' || least + most == 0) return HY_OK; /* they stand for themselves */
    if (least == 0 || end[1] == '+' || (end[1] == '?' && !comma))
        return refuse(text, at, "a repetition with another meaning", err);
    return HY_OK;
}

/* (?…) with the option m. */
static bool sets_m(const char *text) {
    return text[1] == '?' && memchr(text + 2, 'm', strspn(text + 2, "imsx-"));
}

/* Rewrites Oniguruma's syntax for PCRE2. */
static hy_status translate(const char *text, hy__buffer *out, hy_error *err) {
    bool in_class = false;
    size_t first = 0; /* where the class's first character stands */
    for (size_t i = 0; text[i]; i++) {
        if (text[i] == '\\') {
            size_t used;
            HY_TRY(escape(text, i, in_class, &used, out, err));
            i += used - 1;
            continue;
        }
        if (!in_class && text[i] == '[') {
            in_class = true;
            first = i + (text[i + 1] == '^' ? 2 : 1);
        } else if (in_class && text[i] == ']' && i > first) {
            in_class = false;
        } else if (in_class && text[i] == '[') {
            return refuse(text, i, "a class within a class", err);
        } else if (in_class && text[i] == '&' && text[i + 1] == '&') {
            return refuse(text, i, "an intersection of classes", err);
        } else if (!in_class && text[i] == '{') {
            HY_TRY(check_braces(text, i, err));
        } else if (!in_class && text[i] == '(' && sets_m(text + i)) {
            return refuse(text, i, "an option with another meaning", err);
        }
        HY_TRY(hy__buffer_add(out, text + i, 1, err));
    }
    return HY_OK;
}

static hy_status compile(hy__pattern *p, const char *text, const char *source, size_t size,
                         uint32_t options, hy_error *err) {
    int code;
    size_t at;
    uint32_t empty = 0, behind = 0;
    p->code = pcre2_compile((PCRE2_SPTR)source, size, options, &code, &at, NULL);
    if (!p->code) {
        char why[128];
        pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof why);
        return hy__fail(err, HY_E_INVALID, "the expression \"%.200s\" cannot be read: %s", text,
                        why);
    }
    pcre2_pattern_info(p->code, PCRE2_INFO_MATCHEMPTY, &empty);
    pcre2_pattern_info(p->code, PCRE2_INFO_MAXLOOKBEHIND, &behind);
    if (empty)
        return hy__fail(err, HY_E_UNSUPPORTED,
                        "the expression \"%.200s\" may match no characters at all; wanted one or "
                        "more",
                        text);
    p->behind = (size_t)behind * BYTES_PER_CHARACTER;
    /* without a JIT on this machine the interpreter serves */
    (void)pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE | PCRE2_JIT_PARTIAL_HARD);
    return HY_OK;
}

hy_status hy__pattern_new(hy__pattern **out, const char *text, bool literal, hy_error *err) {
    hy__buffer source = {0};
    const uint32_t utf = PCRE2_UTF;
    *out = NULL;
    hy__pattern *p = calloc(1, sizeof *p);
    hy_status status;
    if (!p) return hy__no_memory(err, "an expression");
    if (literal) {
        status = *text ? compile(p, text, text, strlen(text), utf | PCRE2_LITERAL, err)
                       : hy__fail(err, HY_E_INVALID, "an expression is empty");
    } else {
        status = translate(text, &source, err);
        if (status == HY_OK)
            status = compile(p, text, source.data ? source.data : "", source.size,
                             utf | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, err);
    }
    free(source.data);
    if (status == HY_OK)
        *out = p;
    else
        hy__pattern_free(p);
    return status;
}

void hy__pattern_free(hy__pattern *p) {
    if (!p) return;
    pcre2_code_free(p->code);
    free(p);
}

size_t hy__pattern_behind(const hy__pattern *p) {
    return p->behind;
}

hy_status hy__matcher_new(hy__matcher **out, hy_error *err) {
    hy__matcher *m = calloc(1, sizeof *m);
    *out = m;
    if (m) {
        m->data = pcre2_match_data_create(1, NULL);
        m->context = pcre2_match_context_create(NULL);
        m->stack = pcre2_jit_stack_create(STACK_FIRST, STACK_MOST, NULL);
    }
    if (m && m->data && m->context) {
        pcre2_set_match_limit(m->context, MATCH_LIMIT);
        if (m->stack) pcre2_jit_stack_assign(m->context, NULL, m->stack);
        return HY_OK;
    }
    hy__matcher_free(m);
    *out = NULL;
    return hy__no_memory(err, "matching an expression");
}

void hy__matcher_free(hy__matcher *m) {
    if (!m) return;
    pcre2_match_data_free(m->data);
    pcre2_match_context_free(m->context);
    pcre2_jit_stack_free(m->stack);
    free(m);
}

hy_status hy__pattern_find(const hy__pattern *p, hy__matcher *m, const char *text, size_t size,
                           size_t at, bool more, hy__found *found, size_t *begin, size_t *end,
                           hy_error *err) {
    const uint32_t options = PCRE2_NO_UTF_CHECK | (more ? PCRE2_PARTIAL_HARD : 0);
    const int rc = pcre2_match(p->code, (PCRE2_SPTR)text, size, at, options, m->data, m->context);
    if (rc >= 0) {
        const size_t *place = pcre2_get_ovector_pointer(m->data);
        *begin = place[0];
        *end = place[1];
        *found = HY__FOUND;
        if (place[1] > place[0]) return HY_OK;
        return hy__fail(err, HY_E_UNSUPPORTED, "an expression matched no characters at all");
    }
    *found = rc == PCRE2_ERROR_PARTIAL ? HY__FOUND_MORE : HY__FOUND_NONE;
    if (rc == PCRE2_ERROR_PARTIAL || rc == PCRE2_ERROR_NOMATCH) return HY_OK;
    char why[128];
    pcre2_get_error_message(rc, (PCRE2_UCHAR *)why, sizeof why);
    return hy__fail(err, HY_E_INVALID,
                    "the text cannot be cut into words by the tokenizer's expression: %s", why);
}
