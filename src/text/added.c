/* added.c: see added.h. The tokens are a trie over bytes; nodes' children are a list of siblings,
 * but the root has a table. */
#include "text/added.h"

#include "base/utf8.h"

#include <utf8proc.h>

enum { BEFORE = 4 /* bytes of one character, which single_word looks back at */ };

typedef struct node {
    int32_t child, sibling; /* 0 = none */
    int32_t token;          /* that ends here, or -1 */
    unsigned char byte;
} node;

struct hy__added {
    hy__added_token *token; /* [n_token], owned; their texts are not kept */
    int64_t n_token;
    node *node; /* node 0 is the root; owned */
    int32_t n_node, cap;
    int32_t first[256]; /* the root's children */
    bool strips_left;
};

/* ---- the set ---- */

static int32_t child_of(const hy__added *a, int32_t parent, unsigned char byte) {
    if (parent == 0) return a->first[byte];
    int32_t i = a->node[parent].child;
    while (i && a->node[i].byte != byte) i = a->node[i].sibling;
    return i;
}

static hy_status add_child(hy__added *a, int32_t *parent, unsigned char byte, hy_error *err) {
    int32_t i = child_of(a, *parent, byte);
    if (!i) {
        if (a->n_node == a->cap) {
            const int32_t cap = a->cap < INT32_MAX / 4 ? 2 * a->cap + 64 : 0;
            node *grown = cap ? realloc(a->node, (size_t)cap * sizeof *grown) : NULL;
            if (!grown) return hy__no_memory(err, "added tokens");
            a->node = grown;
            a->cap = cap;
        }
        i = a->n_node++;
        a->node[i] =
            (node){.byte = byte, .token = -1, .sibling = *parent ? a->node[*parent].child : 0};
        if (*parent)
            a->node[*parent].child = i;
        else
            a->first[byte] = i;
    }
    *parent = i;
    return HY_OK;
}

hy_status hy__added_new(hy__added **out, const hy__added_token *token, int64_t n, hy_error *err) {
    hy__added *a = calloc(1, sizeof *a);
    hy_status status = HY_OK;
    *out = NULL;
    if (a) {
        a->cap = 64;
        a->n_node = 1;
        a->node = calloc((size_t)a->cap, sizeof *a->node);
        a->token = calloc((size_t)n + 1, sizeof *a->token);
    }
    if (!a || !a->node || !a->token) status = hy__no_memory(err, "added tokens");
    for (int64_t i = 0; i < n && status == HY_OK; i++) {
        int32_t at = 0;
        for (const char *p = token[i].text; *p && status == HY_OK; p++)
            status = add_child(a, &at, (unsigned char)*p, err);
        if (status != HY_OK) break;
        a->node[at].token = (int32_t)i;
        a->token[a->n_token++] = token[i];
        a->strips_left |= token[i].lstrip;
    }
    if (status == HY_OK)
        *out = a;
    else
        hy__added_free(a);
    return status;
}

void hy__added_free(hy__added *a) {
    if (!a) return;
    free(a->token);
    free(a->node);
    free(a);
}

/* ---- characters ---- */

static int32_t code_of(const unsigned char *p, size_t n) {
    static const unsigned char mask[5] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    int32_t code = p[0] & mask[n];
    for (size_t i = 1; i < n; i++) code = code << 6 | (p[i] & 0x3F);
    return code;
}

static bool is_space(int32_t c) {
    return (c >= 9 && c <= 13) || c == 32 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
           c == 0x205F || c == 0x3000;
}

/* \w of Rust's regex: Alphabetic, marks, decimal digits, connectors, joiners. */
static bool is_word(int32_t c) {
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default: /* joiners, and letters in circles and squares */
        return c == 0x200C || c == 0x200D || (c >= 0x24B6 && c <= 0x24E9) ||
               (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
               (c >= 0x1F170 && c <= 0x1F189);
    }
}

/* The character that text[at …) begins with: its bytes; 0 = none that is well-formed. */
static size_t next_character(const hy__buffer *b, size_t at, int32_t *code) {
    const unsigned char *p = (const unsigned char *)b->data + at;
    const size_t n = at < b->size ? hy__utf8_sequence(p, b->size - at) : 0;
    if (n > 0) *code = code_of(p, n);
    return n;
}

/* The character that text[… at) ends with. */
static size_t last_character(const hy__buffer *b, size_t at, int32_t *code) {
    for (size_t n = 1; n <= BEFORE && n <= at; n++) {
        const unsigned char *p = (const unsigned char *)b->data + at - n;
        if ((*p & 0xC0) == 0x80) continue;
        if (hy__utf8_sequence(p, n) != n) return 0;
        *code = code_of(p, n);
        return n;
    }
    return 0;
}

/* Where the white space before `at` begins, not before `from`. */
static size_t space_before(const hy__buffer *b, size_t from, size_t at) {
    int32_t code;
    for (size_t n; at > from && (n = last_character(b, at, &code)) > 0 && is_space(code);) at -= n;
    return at > from ? at : from;
}

static size_t space_after(const hy__buffer *b, size_t at) {
    int32_t code;
    for (size_t n; (n = next_character(b, at, &code)) > 0 && is_space(code);) at += n;
    return at;
}

/* Whether the bytes from `at` on may be the beginning of a character, so that more must come. */
static bool cut_within(const hy__buffer *b, size_t at) {
    return hy__utf8_unfinished((const unsigned char *)b->data + at, b->size - at);
}

/* ---- a text ---- */

/* The longest token at `at`, or -1. *open: longer ones could follow the end of the buffer. */
static int32_t longest(const hy__added_cut *c, size_t at, size_t *n, bool *open) {
    const hy__added *a = c->added;
    int32_t found = -1, i = 0;
    for (size_t p = at;; p++) {
        if (i && a->node[i].token >= 0) {
            found = a->node[i].token;
            *n = p - at;
        }
        *open = p == c->buffer.size && (a->node[i].child || i == 0);
        if (p == c->buffer.size) return found;
        i = child_of(a, i, (unsigned char)c->buffer.data[p]);
        if (!i) return found;
    }
}

static hy_status pass(hy__added_cut *c, size_t to, bool last, hy_error *err) {
    const size_t n = to > c->start ? to - c->start : 0;
    if (n > 0 || (last && c->open)) {
        const char *text = c->buffer.data ? c->buffer.data + c->start : "";
        HY_TRY(c->sink.text(c->sink.user, text, n, last, err));
    }
    c->open = !last && (c->open || n > 0);
    c->start += n;
    return HY_OK;
}

static bool touches_word(const hy__added_cut *c, size_t begin, size_t end) {
    int32_t code;
    return (last_character(&c->buffer, begin, &code) > 0 && is_word(code)) ||
           (next_character(&c->buffer, end, &code) > 0 && is_word(code));
}

/* Token number i at [at, at + n). False: what follows the buffer decides. */
static bool settle(hy__added_cut *c, int32_t i, size_t n, bool last, hy_status *status,
                   hy_error *err) {
    const hy__added_token *t = &c->added->token[i];
    size_t begin = c->at, end = c->at + n;
    *status = HY_OK;
    if (t->single_word) {
        if (!last && cut_within(&c->buffer, end)) return false;
        if (touches_word(c, begin, end)) {
            c->at = end;
            return true;
        }
    }
    if (t->lstrip) begin = space_before(&c->buffer, c->start < begin ? c->start : begin, begin);
    if (t->rstrip) {
        end = space_after(&c->buffer, end);
        if (!last && cut_within(&c->buffer, end)) return false;
    }
    c->at += n;
    *status = pass(c, begin, true, err);
    if (*status == HY_OK) *status = c->sink.token(c->sink.user, t->id, err);
    c->start = end;
    return true;
}

/* What has been passed on is let go, but for a character that may be looked back at. */
static void compact(hy__added_cut *c) {
    size_t keep = c->start < c->at ? c->start : c->at;
    keep = keep > BEFORE ? keep - BEFORE : 0;
    hy__buffer_drop(&c->buffer, keep);
    c->start -= keep;
    c->at -= keep;
}

hy_status hy__added_feed(hy__added_cut *c, const char *text, size_t n, bool last, hy_error *err) {
    if (!c->added || c->added->n_token == 0) return c->sink.text(c->sink.user, text, n, last, err);
    HY_TRY(hy__buffer_add(&c->buffer, text, n, err));
    const unsigned char *data = (const unsigned char *)c->buffer.data;
    bool more = false;
    while (c->at < c->buffer.size && !more) {
        if (!c->added->first[data[c->at]]) {
            c->at++;
            continue;
        }
        size_t length = 0;
        bool open;
        const int32_t found = longest(c, c->at, &length, &open);
        hy_status status = HY_OK;
        if (open && !last) {
            more = true;
        } else if (found >= 0) {
            more = !settle(c, found, length, last, &status, err);
        } else {
            c->at++;
        }
        HY_TRY(status);
    }
    size_t sure = last ? c->buffer.size : c->at;
    if (!last && c->added->strips_left && sure > c->start)
        sure = space_before(&c->buffer, c->start, sure);
    HY_TRY(pass(c, sure, last, err));
    if (last)
        hy__added_reset(c);
    else
        compact(c);
    return HY_OK;
}

void hy__added_reset(hy__added_cut *c) {
    c->buffer.size = c->start = c->at = 0;
    c->open = false;
}
