/* tokenizer_write.c: the tokenizer.json of a vocabulary of our own. */
#include "base/words.h"
#include "text/bytemap.h"
#include "text/tokenizer_parts.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static json_t *byte_level(bool use_regex) {
    return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0,
                     "trim_offsets", 1, "use_regex", use_regex);
}

/* GPT-2's expression is what ByteLevel has itself; without any, merges must not need words. */
static json_t *pre_tokenizer(const char *pattern) {
    const int known = pattern ? hy__words_place(hy__pattern_name, pattern) : HY__PATTERN_GPT2;
    if (known == HY__PATTERN_GPT2) return byte_level(pattern != NULL);
    json_t *split = json_pack("{s:s, s:{s:s}, s:s, s:b}", "type", "Split", "pattern", "Regex",
                              hy__pattern_text[known], "behavior", "Isolated", "invert", 0);
    return json_pack("{s:s, s:[o, o]}", "type", "Sequence", "pretokenizers", split,
                     byte_level(false));
}

static char *joined(const char *left, const char *right) {
    const size_t n = strlen(left), m = strlen(right);
    char *name = malloc(n + m + 1);
    if (!name) return NULL;
    memcpy(name, left, n);
    memcpy(name + n, right, m + 1);
    return name;
}

/* name[id] of the bytes and of what the merges make; false without memory. */
static bool make_names(char **name, const hy__bpe_recipe *r) {
    for (int i = 0; i < 256; i++) {
        char mapped[3];
        hy__bytemap_name((unsigned char)i, mapped);
        if (!(name[i] = strdup(mapped))) return false;
    }
    for (int64_t i = 0; i < r->n_merge; i++) {
        const hy__bpe_merge *m = &r->merge[i];
        if (!(name[256 + i] = joined(name[m->left], name[m->right]))) return false;
    }
    return true;
}

static json_t *model_json(char *const *name, const hy__bpe_recipe *r) {
    json_t *vocab = json_object(), *merges = json_array(), *pair;
    for (int64_t i = 0; i < 256 + r->n_merge; i++)
        json_object_set_new(vocab, name[i], json_integer(i));
    for (int64_t i = 0; i < r->n_merge; i++) {
        pair = json_pack("[s, s]", name[r->merge[i].left], name[r->merge[i].right]);
        json_array_append_new(merges, pair);
    }
    return json_pack("{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b, s:o, s:o}", "type", "BPE", "dropout",
                     "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", 0,
                     "byte_fallback", 0, "ignore_merges", 0, "vocab", vocab, "merges", merges);
}

static json_t *added_json(const hy__bpe_recipe *r) {
    json_t *added = json_array();
    for (int64_t i = 0; i < r->n_special; i++) {
        json_t *token =
            json_pack("{s:I, s:s, s:b, s:b, s:b, s:b, s:b}", "id",
                      (json_int_t)(256 + r->n_merge + i), "content", r->special[i], "single_word",
                      0, "lstrip", 0, "rstrip", 0, "normalized", 0, "special", 1);
        json_array_append_new(added, token);
    }
    return added;
}

char *hy__tokenizer_write(const hy__bpe_recipe *r) {
    const size_t n = 256 + (size_t)r->n_merge;
    char **name = calloc(n, sizeof *name), *text = NULL;
    if (name && make_names(name, r)) {
        json_t *root =
            json_pack("{s:s, s:n, s:n, s:o, s:n, s:o, s:n, s:o, s:o}", "version", "1.0",
                      "truncation", "padding", "added_tokens", added_json(r), "normalizer",
                      "pre_tokenizer", pre_tokenizer(r->pattern), "post_processor", "decoder",
                      byte_level(r->pattern != NULL), "model", model_json(name, r));
        text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
        json_decref(root);
    }
    for (size_t i = 0; name && i < n; i++) free(name[i]);
    free(name);
    return text;
}
