/* tokenizer_config.c: tokenizer_config.json, of which one thing matters here: the token that ends a
 * text. */
#include "base/file.h"
#include "text/tokenizer_parts.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { CONFIG_BYTES = 16 << 20 };

/* What such tokens are called in GPT-2's, Llama 3's and other files. */
static const char *const USUAL[] = {"<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>"};

/* The special token of that text, or -1. */
static int32_t find_special(const hy__tokenizer *tok, const char *text) {
    const size_t n = text ? strlen(text) : 0;
    for (int32_t id = 0; n > 0 && id < tok->vocab; id++) {
        const size_t *at = tok->start + id;
        if (tok->special[id] && at[1] - at[0] == n && memcmp(tok->text + at[0], text, n) == 0)
            return id;
    }
    return -1;
}

int32_t hy__tokenizer_usual_eos(const hy__tokenizer *tok) {
    int32_t id = -1;
    for (size_t i = 0; i < sizeof USUAL / sizeof *USUAL && id < 0; i++)
        id = find_special(tok, USUAL[i]);
    return id;
}

/* "eos_token": "text" or {"content": "text", …}. */
hy_status hy__tokenizer_configure(hy__tokenizer *tok, const char *path, hy_error *err) {
    char *text;
    size_t size;
    json_error_t said;
    HY_TRY(hy__file_read(path, CONFIG_BYTES, &text, &size, err));
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &said);
    free(text);
    if (!root)
        return hy__fail(err, HY_E_INVALID, "%.400s:%d: not valid JSON: %s", path, said.line,
                        said.text);
    const json_t *eos = json_object_get(root, "eos_token");
    if (json_is_object(eos)) eos = json_object_get(eos, "content");
    const int32_t id = find_special(tok, json_string_value(eos));
    if (id >= 0) tok->eos = id;
    json_decref(root);
    return HY_OK;
}

char *hy__tokenizer_config(const hy__tokenizer *tok) {
    json_t *root = json_pack("{s:s, s:b}", "tokenizer_class", "PreTrainedTokenizerFast",
                             "clean_up_tokenization_spaces", 0);
    if (root && tok->eos >= 0) {
        const size_t *at = tok->start + tok->eos;
        json_object_set_new(root, "eos_token", json_stringn(tok->text + at[0], at[1] - at[0]));
    }
    char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
    json_decref(root);
    return text;
}
