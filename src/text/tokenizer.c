/* tokenizer.c: see tokenizer.h. Its files are tokenizer_json.c's, tokenizer_write.c's and
 * tokenizer_config.c's. */
#include "text/tokenizer.h"

#include "base/file.h"
#include "text/tokenizer_parts.h"

#include <stdlib.h>
#include <string.h>

hy_status hy__tokenizer_open(hy__tokenizer **out, const char *path, hy_error *err) {
    char *json;
    size_t size;
    *out = NULL;
    if (path) {
        HY_TRY(hy__file_read(path, HY__TOKENIZER_FILE_BYTES, &json, &size, err));
    } else {
        json = hy__tokenizer_write(&(hy__bpe_recipe){0});
        if (!json) return hy__no_memory(err, "a tokenizer");
        size = strlen(json);
    }
    return hy__tokenizer_parse(out, json, size, path ? path : "bytes", err);
}

void hy__tokenizer_free(hy__tokenizer *tok) {
    if (!tok) return;
    hy__rules_release(&tok->rules);
    hy__bpe_release(&tok->bpe);
    free(tok->text);
    free(tok->start);
    free(tok->special);
    free(tok->json);
    free(tok);
}

int64_t hy__tokenizer_vocab(const hy__tokenizer *tok) {
    return tok->vocab;
}

const hy__tokenizer_facts *hy__tokenizer_describe(const hy__tokenizer *tok) {
    return &tok->facts;
}

bool hy__tokenizer_is_special(const hy__tokenizer *tok, int32_t token) {
    return token >= 0 && token < tok->vocab && tok->special[token];
}

int32_t hy__tokenizer_eos(const hy__tokenizer *tok) {
    return tok->eos;
}

size_t hy__tokenizer_decode(const hy__tokenizer *tok, int32_t token, char *buf, size_t cap) {
    if (token < 0 || token >= tok->vocab) return 0;
    const size_t n = tok->start[token + 1] - tok->start[token];
    if (n > 0 && cap > 0) memcpy(buf, tok->text + tok->start[token], n < cap ? n : cap);
    return n;
}

/* ---- encoding ---- */

struct hy__encoder {
    const hy__tokenizer *tok;
    hy__splitter *splitter;
    hy__bpe_scratch *scratch;
    int32_t *token; /* [cap], owned */
    size_t n, cap;
};

/* Room for n more tokens. */
static hy_status reserve(hy__encoder *e, size_t n, hy_error *err) {
    if (n <= e->cap - e->n) return HY_OK;
    const size_t cap = e->n + n + e->n / 2 + 1024;
    int32_t *grown =
        cap <= PTRDIFF_MAX / sizeof *grown ? realloc(e->token, cap * sizeof *grown) : NULL;
    if (!grown) return hy__no_memory(err, "%zu tokens", cap);
    e->token = grown;
    e->cap = cap;
    return HY_OK;
}

static hy_status take_word(void *user, const char *word, size_t n, hy_error *err) {
    hy__encoder *e = user;
    size_t n_token;
    HY_TRY(reserve(e, n, err));
    HY_TRY(hy__bpe_encode(&e->tok->bpe, e->scratch, word, n, e->token + e->n, &n_token, err));
    e->n += n_token;
    return HY_OK;
}

static hy_status take_token(void *user, int32_t id, hy_error *err) {
    hy__encoder *e = user;
    HY_TRY(reserve(e, 1, err));
    e->token[e->n++] = id;
    return HY_OK;
}

hy_status hy__encoder_new(hy__encoder **out, const hy__tokenizer *tok, hy_error *err) {
    *out = NULL;
    hy__encoder *e = calloc(1, sizeof *e);
    if (!e) return hy__no_memory(err, "an encoder");
    e->tok = tok;
    hy_status status = HY_OK;
    if (!tok->bytes) {
        const hy__splitter_sink sink = {take_word, take_token, e};
        status = hy__splitter_new(&e->splitter, &tok->rules, &sink, err);
        if (status == HY_OK) status = hy__bpe_scratch_new(&e->scratch, err);
    }
    if (status == HY_OK)
        *out = e;
    else
        hy__encoder_free(e);
    return status;
}

void hy__encoder_free(hy__encoder *e) {
    if (!e) return;
    hy__splitter_free(e->splitter);
    hy__bpe_scratch_free(e->scratch);
    free(e->token);
    free(e);
}

hy_status hy__encoder_feed(hy__encoder *e, const char *text, size_t size, bool last,
                           const int32_t **token, int64_t *n, hy_error *err) {
    e->n = 0;
    if (e->tok->bytes) {
        HY_TRY(reserve(e, size, err));
        for (size_t i = 0; i < size; i++) e->token[i] = (unsigned char)text[i];
        e->n = size;
    } else {
        HY_TRY(hy__splitter_feed(e->splitter, text, size, last, err));
    }
    *token = e->token;
    *n = (int64_t)e->n;
    return HY_OK;
}

/* The tokens of the whole text are those of one piece: the encoder's array becomes the caller's. */
hy_status hy__tokenizer_encode(const hy__tokenizer *tok, const char *text, size_t size,
                               int32_t **token, int64_t *n, hy_error *err) {
    hy__encoder *e;
    const int32_t *made;
    *token = NULL;
    *n = 0;
    HY_TRY(hy__encoder_new(&e, tok, err));
    const hy_status status = hy__encoder_feed(e, text, size, true, &made, n, err);
    if (status == HY_OK && *n > 0) {
        *token = e->token;
        e->token = NULL;
    }
    hy__encoder_free(e);
    return status;
}

/* ---- saving ---- */

hy_status hy__tokenizer_file(const hy__tokenizer *tok, int i, const char **name, char **text,
                             hy_error *err) {
    *name = i == 0 ? "tokenizer.json" : i == 1 ? "tokenizer_config.json" : NULL;
    *text = NULL;
    if (!*name) return HY_OK;
    *text = i == 0 ? strdup(tok->json) : hy__tokenizer_config(tok);
    return *text ? HY_OK : hy__no_memory(err, "%s", *name);
}
