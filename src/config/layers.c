/* layers.c: from "2x(SE 2x(S) A)" to one letter and one block number per layer.
 *
 *   pattern = { word | count 'x(' pattern ')' | space }
 *   word    = letters of S A E F W P; one word is one block, and every repetition makes new ones
 *
 * A repeated body is read again for each repetition. It cannot be empty, so that the limit on
 * layers also bounds the work. */
#include "config/config.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum {
    DEPTH_MAX = 16, /* of nested repeats */
    SHOWN = 56,     /* characters of the pattern around an error */
};

typedef struct reader {
    hy__config *c;
    size_t at;
    bool in_word; /* the next letter continues the block */
} reader;

/* The sentence, the pattern around `at`, and a caret under it. */
static hy_status refuse(const reader *r, size_t at, hy_error *err, const char *what) {
    const char *text = r->c->model.layers;
    const size_t from = at > SHOWN / 2 ? at - SHOWN / 2 : 0;
    char shown[SHOWN + 1];
    snprintf(shown, sizeof shown, "%.*s", SHOWN, text + from);
    for (char *p = shown; *p; p++)
        if ((unsigned char)*p < 0x20 || (unsigned char)*p > 0x7e) *p = *p == '\n' ? ' ' : '?';
    return hy__fail(err, HY_E_INVALID, "model.layers: %s\n  %s\n  %*s^", what, shown,
                    (int)(at - from), "");
}

static hy_status add_letter(reader *r, char letter, hy_error *err) {
    hy__config *c = r->c;
    if (c->n_layer == HY__LAYER_MAX) {
        char what[80];
        snprintf(what, sizeof what, "more than %d layers", HY__LAYER_MAX);
        return refuse(r, r->at, err, what);
    }
    if (!r->in_word) c->n_block++;
    r->in_word = true;
    c->letter[c->n_layer] = letter;
    c->block[c->n_layer] = (int16_t)(c->n_block - 1);
    c->n_layer++;
    return HY_OK;
}

static hy_status read_words(reader *r, int depth, hy_error *err);

/* At the first digit of a repeat; ends after its ')'. */
static hy_status read_repeat(reader *r, int depth, hy_error *err) {
    const char *text = r->c->model.layers;
    const size_t start = r->at;
    int64_t count = 0;
    for (; isdigit((unsigned char)text[r->at]); r->at++)
        if (count <= HY__LAYER_MAX) count = count * 10 + (text[r->at] - '0');
    if (count < 1 || count > HY__LAYER_MAX)
        return refuse(r, start, err, "a repeat count must be from 1 to 512");
    if (text[r->at] != 'x' || text[r->at + 1] != '(')
        return refuse(r, r->at, err, "wanted 'x(' after a repeat count, as in 3x(SE S)");
    if (depth == DEPTH_MAX) return refuse(r, start, err, "repeats nested deeper than 16");
    const size_t body = r->at + 2;
    for (int64_t i = 0; i < count; i++) {
        const int64_t before = r->c->n_layer;
        r->at = body;
        r->in_word = false;
        HY_TRY(read_words(r, depth + 1, err));
        if (text[r->at] != ')') return refuse(r, body - 1, err, "this '(' is never closed");
        if (r->c->n_layer == before) return refuse(r, body, err, "nothing to repeat");
    }
    r->at++;
    r->in_word = false;
    return HY_OK;
}

/* Up to the end of the pattern or, inside a repeat, to its ')'. */
static hy_status read_words(reader *r, int depth, hy_error *err) {
    const char *text = r->c->model.layers;
    for (; text[r->at];) {
        const char ch = text[r->at];
        if (ch == ')' && depth > 0) return HY_OK;
        if (isdigit((unsigned char)ch)) {
            HY_TRY(read_repeat(r, depth, err));
            continue;
        }
        if (isspace((unsigned char)ch)) {
            r->in_word = false;
        } else if (strchr(HY__LETTERS, ch)) {
            HY_TRY(add_letter(r, ch, err));
        } else if (ch == ')') {
            return refuse(r, r->at, err, "this ')' closes nothing");
        } else {
            return refuse(r, r->at, err,
                          "wanted a letter of S A E F W P, a space, or a repeat as in 3x(SE S)");
        }
        r->at++;
    }
    return HY_OK;
}

hy_status hy__layers_expand(hy__config *c, hy_error *err) {
    c->n_layer = c->n_block = 0;
    memset(c->letter, 0, sizeof c->letter);
    memset(c->block, 0, sizeof c->block);
    reader r = {.c = c};
    HY_TRY(read_words(&r, 0, err));
    if (c->n_layer == 0) return refuse(&r, 0, err, "no layers");
    return HY_OK;
}
