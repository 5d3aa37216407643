/* tokenizer.c: see tokenizer.h.
 *
 * On disk the byte vocabulary is byte-level BPE without merges: 256 tokens in the order of the byte
 * values, each written as the character that GPT-2's byte map gives the byte. */
#include "text/tokenizer.h"
#include "base/file.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { BYTES = 256, FILE_LIMIT = 256 << 20 };

struct hy__tokenizer {
    int64_t vocab;
};

/* The byte as its mapped character in UTF-8: printable Latin-1 stands for itself, the other 68
 * bytes follow one another from U+0100. */
static void byte_name(int byte, char out[3]) {
    static const struct { int from, to; } self[] = {{0x21, 0x7E}, {0xA1, 0xAC}, {0xAE, 0xFF}};
    int code = 0x100 + byte; /* less the printable bytes below it */
    for (size_t i = 0; i < sizeof self / sizeof *self; i++) {
        if (byte > self[i].to) code -= self[i].to - self[i].from + 1;
        if (byte >= self[i].from && byte <= self[i].to) {
            code = byte;
            break;
        }
    }
    if (code < 0x80) {
        out[0] = (char)code;
        out[1] = '\0';
    } else {
        out[0] = (char)(0xC0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3F));
        out[2] = '\0';
    }
}

/* Whether the parsed tokenizer.json is what hy__tokenizer_file gives. */
static bool is_byte_vocabulary(const json_t *root) {
    const json_t *model = json_object_get(root, "model");
    const json_t *vocab = json_object_get(model, "vocab");
    if (json_object_size(vocab) != BYTES ||
        json_array_size(json_object_get(model, "merges")) != 0 ||
        json_array_size(json_object_get(root, "added_tokens")) != 0 ||
        json_is_object(json_object_get(root, "normalizer")))
        return false;
    for (int i = 0; i < BYTES; i++) {
        char name[3];
        byte_name(i, name);
        const json_t *id = json_object_get(vocab, name);
        if (!json_is_integer(id) || json_integer_value(id) != i) return false;
    }
    return true;
}

static hy_status check_file(const char *path, hy_error *err) {
    char *text;
    size_t size;
    HY_TRY(hy__file_read(path, FILE_LIMIT, &text, &size, err));
    json_error_t said;
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &said);
    free(text);
    if (!root)
        return hy__fail(err, HY_E_INVALID, "%.400s:%d: not valid JSON: %s", path, said.line,
                        said.text);
    const bool known = is_byte_vocabulary(root);
    json_decref(root);
    if (known) return HY_OK;
    return hy__fail(err, HY_E_UNSUPPORTED,
                    "%.400s: this vocabulary is not supported; wanted byte-level BPE of the 256 "
                    "bytes in order, without merges or added tokens",
                    path);
}

hy_status hy__tokenizer_open(hy__tokenizer **out, const char *path, hy_error *err) {
    *out = NULL;
    if (path) HY_TRY(check_file(path, err));
    hy__tokenizer *tok = malloc(sizeof *tok);
    if (!tok) return hy__fail(err, HY_E_MEMORY, "out of memory for a tokenizer");
    tok->vocab = BYTES;
    *out = tok;
    return HY_OK;
}

void hy__tokenizer_free(hy__tokenizer *tok) {
    free(tok);
}

int64_t hy__tokenizer_vocab(const hy__tokenizer *tok) {
    return tok->vocab;
}

struct hy__encoder {
    int32_t *token; /* [cap], owned */
    size_t cap;
};

hy_status hy__encoder_new(hy__encoder **out, const hy__tokenizer *tok, hy_error *err) {
    (void)tok;
    *out = calloc(1, sizeof **out);
    return *out ? HY_OK : hy__fail(err, HY_E_MEMORY, "out of memory for an encoder");
}

void hy__encoder_free(hy__encoder *e) {
    if (!e) return;
    free(e->token);
    free(e);
}

hy_status hy__encoder_feed(hy__encoder *e, const char *text, size_t size, bool last,
                           const int32_t **token, int64_t *n, hy_error *err) {
    (void)last;
    if (size > e->cap) {
        int32_t *grown =
            size <= PTRDIFF_MAX / sizeof *grown ? realloc(e->token, size * sizeof *grown) : NULL;
        if (!grown) return hy__fail(err, HY_E_MEMORY, "out of memory for %zu tokens", size);
        e->token = grown;
        e->cap = size;
    }
    for (size_t i = 0; i < size; i++) e->token[i] = (unsigned char)text[i];
    *token = e->token;
    *n = (int64_t)size;
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

size_t hy__tokenizer_decode(const hy__tokenizer *tok, int32_t token, char *buf, size_t cap) {
    if (token < 0 || token >= tok->vocab) return 0;
    if (cap > 0) buf[0] = (char)token;
    return 1;
}

/* ---- saving ---- */

/* Bytes need no splitting into words: without merges the pieces cannot matter. */
static json_t *byte_level(void) {
    return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0,
                     "trim_offsets", 1, "use_regex", 0);
}

static json_t *tokenizer_json(void) {
    json_t *vocab = json_object();
    for (int i = 0; i < BYTES; i++) {
        char name[3];
        byte_name(i, name);
        if (json_object_set_new(vocab, name, json_integer(i)) != 0) {
            json_decref(vocab);
            return NULL;
        }
    }
    json_t *model =
        json_pack("{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b, s:o, s:[]}", "type", "BPE", "dropout",
                  "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", 0,
                  "byte_fallback", 0, "ignore_merges", 0, "vocab", vocab, "merges");
    return json_pack("{s:s, s:n, s:n, s:[], s:n, s:o, s:n, s:o, s:o}", "version", "1.0",
                     "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
                     byte_level(), "post_processor", "decoder", byte_level(), "model", model);
}

hy_status hy__tokenizer_file(const hy__tokenizer *tok, int i, const char **name, char **text,
                             hy_error *err) {
    (void)tok;
    *name = i == 0 ? "tokenizer.json" : i == 1 ? "tokenizer_config.json" : NULL;
    *text = NULL;
    if (!*name) return HY_OK;
    json_t *root = i == 0 ? tokenizer_json()
                          : json_pack("{s:s, s:b}", "tokenizer_class", "PreTrainedTokenizerFast",
                                      "clean_up_tokenization_spaces", 0);
    *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
    json_decref(root);
    return *text ? HY_OK : hy__fail(err, HY_E_MEMORY, "out of memory for %s", *name);
}
