/* extract.c: see extract.h. */
#include "data/extract.h"
#include "base/hash.h"
#include "base/utf8.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE = 1 << 16 /* bytes that are encoded at a time: ids are wider than text */ };

int hy__token_width(int64_t vocab) {
    return vocab <= 256 ? 1 : vocab <= 65536 ? 2 : 4;
}

void hy__token_narrow(unsigned char *to, int width, const int32_t *token, int64_t n) {
    if (width == 1) {
        for (int64_t i = 0; i < n; i++) to[i] = (unsigned char)token[i];
    } else if (width == 2) {
        for (int64_t i = 0; i < n; i++) {
            const uint16_t id = (uint16_t)token[i];
            memcpy(to + 2 * i, &id, sizeof id);
        }
    } else {
        memcpy(to, token, (size_t)n * sizeof *token);
    }
}

static hy_status append_tokens(hy__extract *x, const int32_t *token, int64_t n, hy_error *err) {
    if (x->n_token + n > x->token_cap) {
        const int64_t cap = x->n_token + n + x->token_cap / 2;
        unsigned char *grown = realloc(x->token, (size_t)cap * (size_t)x->width);
        if (!grown) return hy__no_memory(err, "the tokens of the data");
        x->token = grown;
        x->token_cap = cap;
    }
    hy__token_narrow(x->token + x->n_token * x->width, x->width, token, n);
    x->n_token += n;
    return HY_OK;
}

static hy_status add_item(hy__extract *x, const hy__item *item, hy_error *err) {
    if (x->n_item == x->item_cap) {
        const int64_t cap = 2 * x->item_cap + 16;
        hy__item *grown = realloc(x->item, (size_t)cap * sizeof *grown);
        if (!grown) return hy__no_memory(err, "the tokens of the data");
        x->item = grown;
        x->item_cap = cap;
    }
    x->item[x->n_item++] = *item;
    return HY_OK;
}

static hy_status add_document(hy__extract *x, hy__encoder *encoder, const char *text, size_t size,
                              hy_error *err) {
    hy__item item = {.begins = true, .ends = true, .size = size, .token = x->n_token};
    hy__hash h;
    hy__hash_init(&h);
    hy__hash_add(&h, text, size);
    item.hash = hy__hash_value(&h);
    for (size_t at = 0, len; at < size; at += len) {
        const int32_t *token;
        int64_t n;
        len = size - at < PIECE ? size - at : PIECE;
        HY_TRY(hy__encoder_feed(encoder, text + at, len, at + len == size, &token, &n, err));
        HY_TRY(append_tokens(x, token, n, err));
    }
    item.n = x->n_token - item.token;
    return add_item(x, &item, err);
}

/* ---- text ---- */

static hy_status extract_text(hy__extract *x, const hy__block *b, hy__encoder *encoder,
                              const char *separator, hy_error *err) {
    const size_t len = strlen(separator);
    const char *at = b->text, *const end = b->text + b->size;
    x->nul = memchr(b->text, '\0', b->size) != NULL;
    x->n_invalid = hy__utf8_invalid((const unsigned char *)b->text, b->size);
    if (x->nul) return HY_OK;
    for (bool more = true; more;) {
        const char *stop = hy__separator_find(at, end, separator, len);
        const bool begins = at > b->text || !b->goes_on;
        const bool ends = stop < end || !b->open;
        const size_t size = (size_t)(stop - at);
        if (begins && ends) {
            if (size > 0) HY_TRY(add_document(x, encoder, at, size, err));
        } else {
            HY_TRY(add_item(
                x, &(hy__item){.begins = begins, .ends = ends, .text = at, .size = size}, err));
        }
        more = stop < end;
        at = stop + len;
    }
    return HY_OK;
}

/* ---- JSON lines ---- */

static void is_bad(hy__extract *x, const char *why) {
    if (x->n_bad++ > 0) return;
    x->bad_line = x->n_line;
    snprintf(x->bad_why, sizeof x->bad_why, "%s", why);
}

static hy_status extract_line(hy__extract *x, const char *line, size_t size, hy__encoder *encoder,
                              hy_error *err) {
    json_error_t said;
    hy_status status = HY_OK;
    size_t blank = 0;
    while (blank < size && strchr(" \t\r", line[blank]) && line[blank]) blank++;
    if (blank == size) return HY_OK;
    json_t *root = json_loadb(line, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &said);
    const json_t *text = json_object_get(root, "text");
    if (!root) {
        char why[sizeof x->bad_why];
        snprintf(why, sizeof why, "not valid JSON at its byte %d: %.150s", said.position,
                 said.text);
        is_bad(x, why);
    } else if (!json_is_string(text)) {
        is_bad(x, json_is_object(root) ? "it has no field \"text\" that is a string"
                                       : "it is no JSON object");
    } else {
        status = add_document(x, encoder, json_string_value(text), json_string_length(text), err);
    }
    json_decref(root);
    return status;
}

static hy_status extract_lines(hy__extract *x, const hy__block *b, hy__encoder *encoder,
                               hy_error *err) {
    static const char mark[] = "\xEF\xBB\xBF"; /* of UTF-8, which some programs begin files with */
    const bool marked = b->first && b->size >= 3 && memcmp(b->text, mark, 3) == 0;
    const char *at = b->text + (marked ? 3 : 0), *const end = b->text + b->size;
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        const size_t size = (size_t)((stop ? stop : end) - at);
        HY_TRY(extract_line(x, at, size, encoder, err));
        x->n_line++;
        at += size + 1;
    }
    return HY_OK;
}

hy_status hy__extract_block(hy__extract *x, const hy__block *b, hy__encoder *encoder,
                            const char *separator, hy_error *err) {
    x->n_item = x->n_token = x->n_line = x->n_bad = 0;
    x->n_invalid = 0;
    x->nul = false;
    return b->lines ? extract_lines(x, b, encoder, err)
                    : extract_text(x, b, encoder, separator, err);
}

/* ---- files ---- */

/* A file may hold stray bytes (old encodings, truncated emoji) and still be text. */
enum { INVALID_PER_BYTES = 100 };

void hy__file_see(hy__file_seen *f, const hy__block *b, const hy__extract *x) {
    if (b->file != f->number) *f = (hy__file_seen){.number = b->file};
    f->n_byte += (int64_t)b->size;
    f->n_invalid += x->n_invalid;
    f->n_line = f->n_seen;
    f->n_seen += x->n_line;
}

const char *hy__file_unusable(const hy__file_seen *f, const hy__block *b, const hy__extract *x) {
    if (x->nul) return "is not text: it has a NUL byte";
    if (!b->first && !b->last) return NULL;
    if (f->n_byte == 0) return "is empty";
    if (f->n_invalid > (size_t)f->n_byte / INVALID_PER_BYTES)
        return "is not text: more than one byte in a hundred is not UTF-8";
    return NULL;
}

hy_status hy__file_refuse(const hy__block *b, const char *why, hy_error *err) {
    return hy__fail(err, HY_E_INVALID, "%.400s %s, so it cannot be data", b->path, why);
}

hy_status hy__file_check_lines(const hy__file_seen *f, const hy__block *b, const hy__extract *x,
                               hy_error *err) {
    if (x->n_bad == 0) return HY_OK;
    return hy__fail(err, HY_E_INVALID, "%.400s:%lld: %s", b->path,
                    (long long)(f->n_line + x->bad_line + 1), x->bad_why);
}

void hy__extract_release(hy__extract *x) {
    free(x->item);
    free(x->token);
    *x = (hy__extract){0};
}
