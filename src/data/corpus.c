/* corpus.c: see corpus.h. */
#include "data/corpus.h"
#include "base/file.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A file may hold stray bytes (old encodings, truncated emoji) and still be text. */
enum { INVALID_PER_BYTES = 100 };
enum { PIECE = 1 << 16 /* bytes that are tokenized at a time */ };

typedef struct reader {
    hy__corpus *c;
    hy__encoder *encoder;
    hy__document *document; /* whole documents, before the cut */
    int64_t n_document;
    hy_error *err;
} reader;

/* Why the file's content cannot be used, or NULL. */
static const char *unusable(const char *text, size_t size) {
    if (size == 0) return "is empty";
    if (memchr(text, '\0', size)) return "is not text: it has a NUL byte";
    if (hy__utf8_invalid((const unsigned char *)text, size) > size / INVALID_PER_BYTES)
        return "is not text: more than one byte in a hundred is not UTF-8";
    return NULL;
}

static hy_status out_of_memory(hy_error *err) {
    return hy__fail(err, HY_E_MEMORY, "out of memory for the tokens of the data");
}

/* Room for n more tokens. */
static hy_status reserve(hy__corpus *c, int64_t n, hy_error *err) {
    if (c->n_token + n <= c->cap) return HY_OK;
    const int64_t cap = 2 * c->cap > c->n_token + n ? 2 * c->cap : c->n_token + n;
    void *grown = realloc(c->store, (size_t)cap * (size_t)c->width);
    if (!grown) return out_of_memory(err);
    c->store = grown;
    c->cap = cap;
    return HY_OK;
}

static hy_status append_tokens(hy__corpus *c, const int32_t *token, int64_t n, hy_error *err) {
    HY_TRY(reserve(c, n, err));
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = c->n_token + i;
        if (c->width == 1)
            ((uint8_t *)c->store)[at] = (uint8_t)token[i];
        else if (c->width == 2)
            ((uint16_t *)c->store)[at] = (uint16_t)token[i];
        else
            ((int32_t *)c->store)[at] = token[i];
    }
    c->n_token += n;
    return HY_OK;
}

/* The tokens of a text, made piece by piece: ids are wider than the store's. */
static hy_status append_text(reader *r, const char *text, size_t size) {
    for (size_t at = 0, len; at < size; at += len) {
        const int32_t *token;
        int64_t n;
        len = size - at < PIECE ? size - at : PIECE;
        HY_TRY(hy__encoder_feed(r->encoder, text + at, len, at + len == size, &token, &n, r->err));
        HY_TRY(append_tokens(r->c, token, n, r->err));
    }
    return HY_OK;
}

/* The tokens from `start` on are a document. */
static hy_status add_document(reader *r, int64_t start) {
    if ((r->n_document & (r->n_document - 1)) == 0) { /* full at every power of two */
        const size_t cap = r->n_document ? 2 * (size_t)r->n_document : 1;
        hy__document *grown = realloc(r->document, cap * sizeof *grown);
        if (!grown) return out_of_memory(r->err);
        r->document = grown;
    }
    r->document[r->n_document++] = (hy__document){.start = start, .len = r->c->n_token - start};
    return HY_OK;
}

static hy_status read_file(reader *r, const char *path, bool named) {
    char *text;
    size_t size;
    HY_TRY(hy__file_read(path, SIZE_MAX / 8, &text, &size, r->err));
    const char *why = unusable(text, size);
    const int64_t start = r->c->n_token;
    hy_status status = HY_OK;
    if (!why) {
        status = append_text(r, text, size);
        if (r->c->n_token - start < 2) why = "has fewer than two tokens";
    }
    if (status == HY_OK && why) {
        r->c->n_token = start;
        r->c->n_skipped++;
        if (named)
            status = hy__fail(r->err, HY_E_INVALID, "%.400s %s, so it cannot be data", path, why);
    } else if (status == HY_OK) {
        r->c->n_file++;
        status = add_document(r, start);
    }
    free(text);
    return status;
}

static hy_status read_path(reader *r, const char *path) {
    HY_TRY(hy__file_check_ends(path, r->err));
    if (!hy__path_is_dir(path)) return read_file(r, path, true);
    hy__file_list list;
    HY_TRY(hy__dir_list(&list, path, r->err));
    hy_status status = HY_OK;
    for (int64_t i = 0; i < list.n && status == HY_OK; i++)
        status = read_file(r, list.path[i], false);
    hy__file_list_release(&list);
    return status;
}

static void add_to_part(hy__corpus *c, hy__part part, int64_t start, int64_t len) {
    if (len < 2) return; /* nothing to predict */
    c->document[part][c->n_document[part]++] = (hy__document){.start = start, .len = len};
    c->n_part[part] += len;
}

/* Cuts the line of documents so that the last val_fraction of the tokens is held out. */
static hy_status split(reader *r, const hy__corpus_options *opt) {
    hy__corpus *c = r->c;
    for (int part = 0; part < 2; part++) {
        c->document[part] =
            malloc((size_t)(r->n_document ? r->n_document : 1) * sizeof(hy__document));
        if (!c->document[part]) return out_of_memory(r->err);
    }
    const int64_t cut = c->n_token - (int64_t)(opt->val_fraction * (double)c->n_token + 0.5);
    for (int64_t i = 0; i < r->n_document; i++) {
        const hy__document d = r->document[i];
        int64_t left = cut - d.start; /* tokens of the document that are for training */
        if (r->n_document > 1 && left < d.len)
            left = (left + opt->chunk / 2) / opt->chunk * opt->chunk;
        if (left < 0) left = 0;
        if (left > d.len) left = d.len;
        add_to_part(c, HY__PART_TRAIN, d.start, left);
        add_to_part(c, HY__PART_VAL, d.start + left, d.len - left);
    }
    return HY_OK;
}

hy_status hy__corpus_open(hy__corpus **out, const hy__corpus_options *opt, hy_error *err) {
    *out = NULL;
    hy__corpus *c = calloc(1, sizeof *c);
    if (!c) return out_of_memory(err);
    const int64_t vocab = hy__tokenizer_vocab(opt->tokenizer);
    c->width = vocab <= 256 ? 1 : vocab <= 65536 ? 2 : 4;
    reader r = {.c = c, .err = err};
    hy_status status = hy__encoder_new(&r.encoder, opt->tokenizer, err);
    for (int64_t i = 0; i < opt->n_path && status == HY_OK; i++)
        status = read_path(&r, opt->path[i]);
    if (status == HY_OK) status = split(&r, opt);
    if (status == HY_OK && c->n_document[HY__PART_TRAIN] == 0)
        status =
            hy__fail(err, HY_E_INVALID,
                     "the data holds nothing to train on: %lld files of text with %lld tokens, "
                     "%lld files passed over",
                     (long long)c->n_file, (long long)c->n_token, (long long)c->n_skipped);
    hy__encoder_free(r.encoder);
    free(r.document);
    if (status == HY_OK)
        *out = c;
    else
        hy__corpus_free(c);
    return status;
}

void hy__corpus_free(hy__corpus *c) {
    if (!c) return;
    free(c->store);
    free(c->document[HY__PART_TRAIN]);
    free(c->document[HY__PART_VAL]);
    free(c);
}
