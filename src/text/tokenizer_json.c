/* tokenizer_json.c: reads the tokenizer.json of a byte-level BPE.
 *
 * What could change ids and is not known here is refused with a sentence; what only concerns
 * offsets, special tokens put around a text, or decoding, is passed over. Where the reference
 * itself would give other ids than the file says (added tokens out of order), the file is refused
 * too. */
#include "base/utf8.h"
#include "base/words.h"
#include "text/bytemap.h"
#include "text/normal.h"
#include "text/tokenizer_parts.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST_ADDED = 1024 /* bytes: they are looked for at every place of a text */ };

typedef struct reading {
    hy__tokenizer *tok;
    const char *name; /* of the file */
    const json_t *vocab;
    const char **key; /* [tok->vocab] of each id, the JSON's; owned */
    bool *mapped;     /* [tok->vocab] its characters are of the byte map; owned */
    hy_error *err;
} reading;

#define REFUSE(r, ...) fail_at((r)->err, HY_E_UNSUPPORTED, (r)->name, __VA_ARGS__)
#define WRONG(r, ...)  fail_at((r)->err, HY_E_INVALID, (r)->name, __VA_ARGS__)

static hy_status fail_at(hy_error *err, hy_status status, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static hy_status fail_at(hy_error *err, hy_status status, const char *name, const char *fmt, ...) {
    char text[480];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return hy__fail(err, status, "%.400s: %s", name, text);
}

/* ---- small readers ---- */

static const char *type_of(const json_t *json) {
    const char *type = json_string_value(json_object_get(json, "type"));
    return type ? type : "";
}

static bool is_on(const json_t *json, const char *key, bool otherwise) {
    const json_t *value = json_object_get(json, key);
    return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

/* Not there, or null. */
static bool is_nothing(const json_t *json) {
    return !json || json_is_null(json);
}

/* What the keys that are read may hold, wherever they stand. */
enum {
    FLAG = 1u << JSON_TRUE | 1u << JSON_FALSE,
    NUMBER = 1u << JSON_INTEGER | 1u << JSON_REAL,
    TEXT = 1u << JSON_STRING,
    LIST = 1u << JSON_ARRAY,
    NOTHING = 1u << JSON_NULL,
};
static const struct {
    const char *key;
    unsigned types;
    const char *wanted;
} HELD[] = {
    {"added_tokens", LIST | NOTHING, "a list"},
    {"dropout", NUMBER | NOTHING, "a number or null"},
    {"continuing_subword_prefix", TEXT | NOTHING, "a text or null"},
    {"end_of_word_suffix", TEXT | NOTHING, "a text or null"},
    {"ignore_merges", FLAG, "true or false"},
    {"special", FLAG, "true or false"},
    {"normalized", FLAG, "true or false"},
    {"single_word", FLAG, "true or false"},
    {"lstrip", FLAG, "true or false"},
    {"rstrip", FLAG, "true or false"},
    {"invert", FLAG, "true or false"},
    {"individual_digits", FLAG, "true or false"},
    {"add_prefix_space", FLAG, "true or false"},
    {"use_regex", FLAG, "true or false"},
    {"pretokenizers", LIST, "a list"},
    {"normalizers", LIST, "a list"},
    {"processors", LIST, "a list"},
};

static hy_status check_types(const reading *r, const json_t *json, const char *where) {
    for (size_t i = 0; i < sizeof HELD / sizeof *HELD; i++) {
        const json_t *value = json_object_get(json, HELD[i].key);
        if (!value || HELD[i].types >> json_typeof(value) & 1) continue;
        char *got = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        const hy_status status = WRONG(r, "%s%s is %.60s, wanted %s", where, HELD[i].key,
                                       got ? got : "something else", HELD[i].wanted);
        free(got);
        return status;
    }
    return HY_OK;
}

/* ---- the vocabulary ---- */

static hy_status note_id(const reading *r, const char *key, const json_t *value, int64_t *id) {
    *id = json_is_integer(value) ? json_integer_value(value) : -1;
    if (*id >= 0 && *id < HY__TOKENIZER_IDS) return HY_OK;
    return WRONG(r, "the token \"%.100s\" has no id from 0 to %d", key, HY__TOKENIZER_IDS - 1);
}

/* The ids' range: of the vocabulary and of the added tokens. */
static hy_status count_ids(reading *r, const json_t *added) {
    const char *key;
    json_t *value;
    size_t i;
    int64_t id, most = -1;
    if (!json_is_object(r->vocab)) return WRONG(r, "there is no object model.vocab");
    json_object_foreach((json_t *)(uintptr_t)r->vocab, key, value) {
        HY_TRY(note_id(r, key, value, &id));
        if (id > most) most = id;
    }
    json_array_foreach(added, i, value) {
        HY_TRY(check_types(r, value, "added_tokens: "));
        HY_TRY(note_id(r, "among added_tokens", json_object_get(value, "id"), &id));
        if (id > most) most = id;
    }
    r->tok->vocab = most + 1;
    return HY_OK;
}

static hy_status read_keys(reading *r) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)r->vocab, key, value) {
        const json_int_t id = json_integer_value(value);
        if (r->key[id])
            return WRONG(r, "the tokens \"%.100s\" and \"%.100s\" have the same id %jd", r->key[id],
                         key, (intmax_t)id);
        r->key[id] = key;
    }
    return HY_OK;
}

/* The bytes of every token, the added ones' too: they go through the byte map alike. */
static hy_status read_bytes(reading *r) {
    hy__tokenizer *tok = r->tok;
    size_t size = 0;
    for (int64_t i = 0; i < tok->vocab; i++) size += r->key[i] ? strlen(r->key[i]) : 0;
    tok->text = malloc(size + 1);
    tok->start = malloc(((size_t)tok->vocab + 1) * sizeof *tok->start);
    if (!tok->text || !tok->start) return hy__no_memory(r->err, "the tokenizer of %.400s", r->name);
    size_t at = 0;
    for (int64_t i = 0; i < tok->vocab; i++) {
        tok->start[i] = at;
        if (r->key[i]) at += hy__bytemap_bytes(r->key[i], tok->text + at, &r->mapped[i]);
    }
    tok->start[tok->vocab] = at;
    return HY_OK;
}

static int64_t id_of(const reading *r, const char *key) {
    const json_t *id = json_object_get(r->vocab, key);
    return id ? json_integer_value(id) : -1;
}

static hy_status byte_ids(const reading *r, int32_t id[256]) {
    for (int i = 0; i < 256; i++) {
        char name[3];
        hy__bytemap_name((unsigned char)i, name);
        id[i] = (int32_t)id_of(r, name);
        if (id[i] < 0)
            return REFUSE(r, "the vocabulary has no token \"%s\" for the byte %02X; wanted all 256",
                          name, (unsigned)i);
    }
    return HY_OK;
}

/* ---- merges ---- */

/* The two sides of a merge: ["a", "b"] or "a b". left holds room for both and a separator. */
static bool sides(const json_t *merge, char *text, size_t cap, const char **left,
                  const char **right) {
    const char *line = json_string_value(merge);
    if (line) {
        const char *space = strchr(line, ' ');
        const size_t n = strlen(line);
        if (!space || strchr(space + 1, ' ') || n >= cap) return false;
        memcpy(text, line, n + 1);
        text[space - line] = '\0';
        *left = text;
        *right = text + (space - line) + 1;
        return true;
    }
    *left = json_string_value(json_array_get(merge, 0));
    *right = json_string_value(json_array_get(merge, 1));
    return json_array_size(merge) == 2 && *left && *right;
}

static hy_status read_merge(const reading *r, const json_t *json, size_t i, hy__bpe_merge *merge) {
    char text[4096], both[4096];
    const char *left, *right;
    if (!sides(json, text, sizeof text, &left, &right))
        return WRONG(r, "merge %zu is neither [\"a\", \"b\"] nor \"a b\"", i + 1);
    const int64_t a = id_of(r, left), b = id_of(r, right);
    if (a < 0 || b < 0)
        return WRONG(r, "merge %zu is of \"%.100s\", which is not in the vocabulary", i + 1,
                     a < 0 ? left : right);
    const int n = snprintf(both, sizeof both, "%s%s", left, right);
    const int64_t made = n >= 0 && (size_t)n < sizeof both ? id_of(r, both) : -1;
    if (made < 0)
        return WRONG(r, "merge %zu makes \"%.200s\", which is not in the vocabulary", i + 1, both);
    *merge = (hy__bpe_merge){.left = (int32_t)a, .right = (int32_t)b, .made = (int32_t)made};
    return HY_OK;
}

static hy_status read_merges(const reading *r, const json_t *model) {
    const json_t *merges = json_object_get(model, "merges"), *one;
    hy__tokenizer *tok = r->tok;
    size_t i;
    int32_t byte[256];
    if (!json_is_array(merges)) return WRONG(r, "there is no list model.merges");
    HY_TRY(byte_ids(r, byte));
    const size_t n = json_array_size(merges);
    hy__bpe_merge *merge = malloc((n + 1) * sizeof *merge);
    hy_status status = merge ? HY_OK : hy__no_memory(r->err, "the tokenizer of %.400s", r->name);
    json_array_foreach(merges, i, one) {
        if (status != HY_OK) break;
        status = read_merge(r, one, i, &merge[i]);
    }
    if (status == HY_OK) status = hy__bpe_init(&tok->bpe, byte, merge, (int64_t)n, r->err);
    if (status == HY_OK && is_on(model, "ignore_merges", false))
        status = hy__bpe_set_whole(&tok->bpe, tok->text, tok->start, r->mapped, tok->vocab, r->err);
    free(merge);
    tok->facts.n_merge = (int64_t)n;
    tok->facts.ignore_merges = is_on(model, "ignore_merges", false);
    return status;
}

static hy_status check_model(const reading *r, const json_t *model) {
    const char *type = type_of(model);
    const char *const affix[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    if (!json_is_object(model)) return WRONG(r, "there is no object model");
    /* old files of GPT-2 say no type */
    if (json_object_get(model, "type") && strcmp(type, "BPE") != 0)
        return REFUSE(r, "the model is of the type \"%.60s\", wanted BPE", type);
    HY_TRY(check_types(r, model, "model."));
    if (json_number_value(json_object_get(model, "dropout")) != 0.0)
        return REFUSE(r, "model.dropout leaves merges out at random, wanted null");
    for (size_t i = 0; i < 2; i++) {
        const json_t *value = json_object_get(model, affix[i]);
        if (json_string_length(value) > 0)
            return REFUSE(r, "model.%s is \"%.60s\", wanted none", affix[i],
                          json_string_value(value));
    }
    return HY_OK;
}

/* ---- how text is cut ---- */

/* A character that was cut off at the end goes. */
static void trim(char *text) {
    const size_t n = strlen(text);
    size_t at = n;
    while (at > 0 && ((unsigned char)text[at - 1] & 0xC0) == 0x80) at--;
    if (at > 0 && hy__utf8_sequence((unsigned char *)text + at - 1, n - at + 1) != n - at + 1)
        text[at - 1] = '\0';
}

static hy_status add_stage(const reading *r, const char *text, bool literal, bool drop) {
    hy__rules *rules = &r->tok->rules;
    if (rules->n_stage == HY__RULES_STAGES)
        return REFUSE(r, "the pre_tokenizer has more than %d parts that cut", HY__RULES_STAGES);
    hy_error why = {0};
    hy__stage *stage = &rules->stage[rules->n_stage];
    const hy_status status = hy__pattern_new(&stage->pattern, text, literal, &why);
    if (status != HY_OK) return fail_at(r->err, status, r->name, "%s", why.text);
    stage->drop = drop;
    rules->n_stage++;
    const int known = hy__words_place(hy__pattern_text, text);
    char *words = r->tok->facts.words;
    hy__words_add(words, sizeof r->tok->facts.words, ", then ",
                  known < 0 ? text : hy__pattern_name[known]);
    trim(words);
    return HY_OK;
}

static hy_status read_split(const reading *r, const json_t *json) {
    const json_t *pattern = json_object_get(json, "pattern");
    const char *behavior = json_string_value(json_object_get(json, "behavior"));
    const char *regex = json_string_value(json_object_get(pattern, "Regex"));
    const char *literal = json_string_value(json_object_get(pattern, "String"));
    const bool invert = is_on(json, "invert", false);
    const bool isolated = behavior && strcmp(behavior, "Isolated") == 0;
    const bool matches = behavior && strcmp(behavior, "Removed") == 0 && invert;
    if (!regex && !literal) return WRONG(r, "a Split has no pattern, neither Regex nor String");
    if (!isolated && !matches)
        return REFUSE(r,
                      "a Split has the behavior \"%.40s\"%s, wanted Isolated, or Removed inverted",
                      behavior ? behavior : "", invert ? " inverted" : "");
    return add_stage(r, regex ? regex : literal, !regex, matches);
}

/* ByteLevel, which must be the last part: it also makes bytes of the text. */
static hy_status read_byte_level(const reading *r, const json_t *json, bool alone) {
    r->tok->rules.prefix_space = is_on(json, "add_prefix_space", true);
    r->tok->facts.prefix_space = r->tok->rules.prefix_space;
    if (r->tok->rules.prefix_space && !alone)
        return REFUSE(r, "ByteLevel behind other parts of a pre_tokenizer has add_prefix_space");
    if (!is_on(json, "use_regex", true)) return HY_OK;
    return add_stage(r, hy__pattern_text[HY__PATTERN_GPT2], false, false);
}

static hy_status read_pre_tokenizer(const reading *r, const json_t *json, bool last, bool alone) {
    const char *type = type_of(json);
    const json_t *part;
    size_t i;
    HY_TRY(check_types(r, json, "pre_tokenizer: "));
    if (strcmp(type, "ByteLevel") == 0 && last) return read_byte_level(r, json, alone);
    if (strcmp(type, "Split") == 0 && !last) return read_split(r, json);
    if (strcmp(type, "Digits") == 0 && !last)
        return add_stage(r, is_on(json, "individual_digits", false) ? "\\p{N}" : "\\p{N}+", false,
                         false);
    if (strcmp(type, "Sequence") == 0 && alone) {
        const json_t *parts = json_object_get(json, "pretokenizers");
        const size_t n = json_array_size(parts);
        if (n == 0) return WRONG(r, "the pre_tokenizer's Sequence is empty, wanted a ByteLevel");
        json_array_foreach(parts, i, part) HY_TRY(read_pre_tokenizer(r, part, i + 1 == n, n == 1));
        return HY_OK;
    }
    return REFUSE(r,
                  "the pre_tokenizer has the part \"%.60s\" %s, wanted ByteLevel, or a Sequence of "
                  "Split and Digits with ByteLevel at its end",
                  type, last ? "at its end" : "before its end");
}

static hy_status read_normalizer(const reading *r, const json_t *json) {
    const json_t *parts = json_object_get(json, "normalizers"), *part;
    size_t i;
    if (is_nothing(json)) return HY_OK;
    HY_TRY(check_types(r, json, "normalizer: "));
    if (strcmp(type_of(json), "Sequence") == 0) {
        json_array_foreach(parts, i, part) HY_TRY(read_normalizer(r, part));
        return HY_OK;
    }
    if (strcmp(type_of(json), "NFC") != 0)
        return REFUSE(r, "the normalizer \"%.60s\" is not known, wanted none or NFC",
                      type_of(json));
    r->tok->rules.nfc = r->tok->facts.nfc = true;
    return HY_OK;
}

/* Without special tokens these leave the ids of a text alone. */
static hy_status check_post_processor(const reading *r, const json_t *json) {
    static const char *const harmless[] = {"ByteLevel", "TemplateProcessing", "RobertaProcessing",
                                           "BertProcessing"};
    const json_t *parts = json_object_get(json, "processors"), *part;
    size_t i;
    if (is_nothing(json)) return HY_OK;
    HY_TRY(check_types(r, json, "post_processor: "));
    for (i = 0; i < sizeof harmless / sizeof *harmless; i++)
        if (strcmp(type_of(json), harmless[i]) == 0) return HY_OK;
    if (strcmp(type_of(json), "Sequence") != 0)
        return REFUSE(r, "the post_processor \"%.60s\" is not known", type_of(json));
    json_array_foreach(parts, i, part) HY_TRY(check_post_processor(r, part));
    return HY_OK;
}

/* Whatever shortens or fills up texts. */
static hy_status check_frame(const reading *r, const json_t *root) {
    const json_t *padding = json_object_get(root, "padding");
    const char *strategy = json_string_value(json_object_get(padding, "strategy"));
    if (!is_nothing(json_object_get(root, "truncation")))
        return REFUSE(r, "truncation would shorten every text, wanted null");
    if (!is_nothing(padding) && (!strategy || strcmp(strategy, "BatchLongest") != 0 ||
                                 !is_nothing(json_object_get(padding, "pad_to_multiple_of"))))
        return REFUSE(r, "padding would lengthen every text, wanted null");
    if (strcmp(type_of(json_object_get(root, "decoder")), "ByteLevel") != 0)
        return REFUSE(r, "the decoder is \"%.60s\", wanted ByteLevel",
                      type_of(json_object_get(root, "decoder")));
    return HY_OK;
}

/* ---- added tokens ---- */

/* The id that the reference gives an added token: that of the vocabulary, or the next free one. */
static int64_t next_id(const reading *r, const char *content, int64_t last_added) {
    const int64_t known = id_of(r, content), n = (int64_t)json_object_size(r->vocab);
    if (known >= 0) return known;
    return last_added >= n ? last_added + 1 : n;
}

/* Checks one and notes its text and what it is. */
static hy_status note_added(reading *r, const json_t *json, int64_t *last_added) {
    const char *content = json_string_value(json_object_get(json, "content"));
    const int64_t id = json_integer_value(json_object_get(json, "id"));
    if (!content || !*content)
        return WRONG(r, "the added token with id %jd is empty", (intmax_t)id);
    if (strlen(content) > LONGEST_ADDED)
        return REFUSE(r, "the added token \"%.40s…\" has %zu bytes, wanted at most %d", content,
                      strlen(content), LONGEST_ADDED);
    const int64_t wanted = next_id(r, content, *last_added);
    if (id != wanted)
        return REFUSE(r,
                      "the added token \"%.60s\" has the id %jd, but the vocabulary and the added "
                      "tokens before it give it %jd",
                      content, (intmax_t)id, (intmax_t)wanted);
    if (id > *last_added) *last_added = id;
    if (r->key[id] && strcmp(r->key[id], content) != 0)
        return WRONG(r, "the tokens \"%.100s\" and \"%.100s\" have the same id %jd", r->key[id],
                     content, (intmax_t)id);
    r->key[id] = content;
    r->tok->special[id] = is_on(json, "special", false);
    r->tok->facts.n_added++;
    r->tok->facts.n_special += r->tok->special[id];
    return HY_OK;
}

/* What is looked for: of normalized text the token's normalized one, in `kept`. */
static hy_status find_text(const reading *r, const char *content, bool normalized, char **kept) {
    hy__buffer text = {0};
    hy_status status = HY_OK;
    if (normalized && r->tok->rules.nfc)
        status = hy__normal_add(&text, content, strlen(content), r->err);
    else
        status = hy__buffer_add(&text, content, strlen(content), r->err);
    if (status == HY_OK) status = hy__buffer_add(&text, "", 1, r->err);
    *kept = text.data;
    return status;
}

/* Those that are found in normalized text, or in the text as it stands. */
static hy_status find_added(reading *r, const json_t *added, bool normalized) {
    const json_t *json;
    size_t i, n = 0;
    const size_t most = json_array_size(added) + 1;
    hy__added_token *token = calloc(most, sizeof *token);
    char **text = calloc(most, sizeof *text);
    hy_status status =
        token && text ? HY_OK : hy__no_memory(r->err, "the tokenizer of %.400s", r->name);
    json_array_foreach(added, i, json) {
        if (status != HY_OK) break;
        if (is_on(json, "normalized", !is_on(json, "special", false)) != normalized) continue;
        status =
            find_text(r, json_string_value(json_object_get(json, "content")), normalized, &text[n]);
        token[n] = (hy__added_token){.text = text[n],
                                     .id = (int32_t)json_integer_value(json_object_get(json, "id")),
                                     .single_word = is_on(json, "single_word", false),
                                     .lstrip = is_on(json, "lstrip", false),
                                     .rstrip = is_on(json, "rstrip", false)};
        n++;
    }
    if (status == HY_OK && n > 0)
        status = hy__added_new(&r->tok->rules.added[normalized], token, (int64_t)n, r->err);
    for (i = 0; text && i < n; i++) free(text[i]);
    free(text);
    free(token);
    return status;
}

/* ---- the whole ---- */

static bool ids_are_bytes(const hy__tokenizer *tok) {
    bool all = tok->vocab == 256 && tok->facts.n_merge == 0 && tok->facts.n_added == 0 &&
               !tok->rules.nfc && !tok->rules.prefix_space;
    for (int i = 0; i < tok->rules.n_stage; i++) all = all && !tok->rules.stage[i].drop;
    for (int i = 0; i < 256; i++) all = all && tok->bpe.byte[i] == i;
    return all;
}

static hy_status read_root(reading *r, const json_t *root) {
    const json_t *model = json_object_get(root, "model"), *json;
    const json_t *added = json_object_get(root, "added_tokens");
    hy__tokenizer *tok = r->tok;
    size_t i;
    int64_t last_added = -1;
    if (!json_is_object(root)) return WRONG(r, "the file holds no JSON object");
    HY_TRY(check_types(r, root, ""));
    HY_TRY(check_model(r, model));
    r->vocab = json_object_get(model, "vocab");
    HY_TRY(count_ids(r, added));
    r->key = calloc((size_t)tok->vocab + 1, sizeof *r->key);
    r->mapped = calloc((size_t)tok->vocab + 1, sizeof *r->mapped);
    tok->special = calloc((size_t)tok->vocab + 1, sizeof *tok->special);
    if (!r->key || !r->mapped || !tok->special)
        return hy__no_memory(r->err, "the tokenizer of %.400s", r->name);
    HY_TRY(read_keys(r));
    json_array_foreach(added, i, json) HY_TRY(note_added(r, json, &last_added));
    HY_TRY(read_bytes(r));
    /* words are looked up among the vocabulary's own tokens */
    for (int64_t id = 0; id < tok->vocab; id++)
        r->mapped[id] = r->mapped[id] && r->key[id] && id_of(r, r->key[id]) == id;
    HY_TRY(read_normalizer(r, json_object_get(root, "normalizer")));
    HY_TRY(read_pre_tokenizer(r, json_object_get(root, "pre_tokenizer"), true, true));
    HY_TRY(check_post_processor(r, json_object_get(root, "post_processor")));
    HY_TRY(check_frame(r, root));
    HY_TRY(read_merges(r, model));
    HY_TRY(find_added(r, added, false));
    HY_TRY(find_added(r, added, true));
    tok->bytes = ids_are_bytes(tok);
    tok->eos = hy__tokenizer_usual_eos(tok);
    return HY_OK;
}

hy_status hy__tokenizer_parse(hy__tokenizer **out, char *json, size_t size, const char *name,
                              hy_error *err) {
    json_error_t said;
    *out = NULL;
    reading r = {.tok = calloc(1, sizeof *r.tok), .name = name, .err = err};
    if (!r.tok) {
        free(json);
        return hy__no_memory(err, "the tokenizer of %.400s", r.name);
    }
    r.tok->json = json;
    json_t *root = json_loadb(json, size, JSON_REJECT_DUPLICATES, &said);
    const hy_status status = root ? read_root(&r, root)
                                  : hy__fail(err, HY_E_INVALID, "%.400s:%d: not valid JSON: %s",
                                             name, said.line, said.text);
    json_decref(root);
    free(r.key);
    free(r.mapped);
    if (status == HY_OK)
        *out = r.tok;
    else
        hy__tokenizer_free(r.tok);
    return status;
}
