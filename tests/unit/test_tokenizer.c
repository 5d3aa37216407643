/* Tokenizers: bytes, merges by rank, added tokens, texts in pieces, training; their files as others
 * read them, and well-formed UTF-8. */
#include "base/file.h"
#include "base/utf8.h"
#include "ckpt/tokenizer_dir.h"
#include "text/bpe_train.h"
#include "text/tokenizer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

static void every_byte_there_and_back(void **state) {
    (void)state;
    hy__tokenizer *tok;
    assert_int_equal(hy__tokenizer_open(&tok, NULL, NULL), HY_OK);
    assert_int_equal(hy__tokenizer_vocab(tok), 256);
    char text[256];
    for (int i = 0; i < 256; i++) text[i] = (char)i;
    int32_t *token;
    int64_t n;
    assert_int_equal(hy__tokenizer_encode(tok, text, 256, &token, &n, NULL), HY_OK);
    assert_int_equal(n, 256);
    for (int i = 0; i < 256; i++) {
        assert_int_equal(token[i], i);
        char back = 0;
        assert_int_equal(hy__tokenizer_decode(tok, token[i], &back, 1), 1);
        assert_true(back == text[i]);
    }
    free(token);
    assert_int_equal(hy__tokenizer_encode(tok, "", 0, &token, &n, NULL), HY_OK);
    assert_null(token);
    assert_int_equal(n, 0);
    char buf = 'u';
    assert_int_equal(hy__tokenizer_decode(tok, -1, &buf, 1), 0);
    assert_int_equal(hy__tokenizer_decode(tok, 256, &buf, 1), 0);
    assert_int_equal(hy__tokenizer_decode(tok, 65, &buf, 0), 1); /* no room: untouched */
    assert_true(buf == 'u');
    hy__tokenizer_free(tok);
}

static void saved_files_open_again(void **state) {
    (void)state;
    char dir[] = "/tmp/hydralm-test-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    hy__tokenizer *tok;
    hy_error err = {0};
    assert_int_equal(hy__tokenizer_open(&tok, NULL, NULL), HY_OK);
    hy__fileset *set;
    if (hy__fileset_open(&set, dir, &err) != HY_OK || hy__tokenizer_put(set, tok, &err) != HY_OK ||
        hy__fileset_commit(set, &err) != HY_OK)
        fail_msg("%s", err.text);
    hy__tokenizer_free(tok);
    if (hy__tokenizer_open_dir(&tok, dir, &err) != HY_OK) fail_msg("%s", err.text);
    hy__tokenizer_free(tok);

    /* GPT-2's byte map: '!' is itself, the newline is U+010A, the space U+0120, byte AD U+0143. */
    snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    json_t *vocab = json_object_get(json_object_get(root, "model"), "vocab");
    static const struct {
        const char *name;
        int id;
    } row[] = {{"!", 0x21},      {"\u0100", 0x00}, {"\u010A", 0x0A}, {"\u0120", 0x20},
               {"\u0121", 0x7F}, {"\u0122", 0x80}, {"\u0142", 0xA0}, {"\u00A1", 0xA1},
               {"\u0143", 0xAD}, {"\u00FF", 0xFF}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        assert_int_equal(json_integer_value(json_object_get(vocab, row[i].name)), row[i].id);

    json_decref(root);
    assert_int_equal(hy__file_write(path, "{", 1, NULL), HY_OK);
    assert_int_equal(hy__tokenizer_open_dir(&tok, dir, &err), HY_E_INVALID);
    assert_non_null(strstr(err.text, "not valid JSON"));
    unlink(path);
    assert_int_equal(hy__tokenizer_open_dir(&tok, dir, &err), HY_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "there is no "));
    snprintf(path, sizeof path, "%s/tokenizer_config.json", dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
}

/* ---- a vocabulary by hand ----------------------------------------------------------------------
 *
 * Bytes are 0 … 255; ab = 256, abc = 257, " a" = 258, bc = 259 (of a lower rank than abc). */

static const char MERGES[] = "\"a b\", [\"ab\", \"c\"], \"\u0120 a\", \"b c\"";

/* The tokenizer.json with these parts; "" = as usual. */
static char *make_json(const char *pre, const char *added, const char *merges, const char *more) {
    size_t size;
    char *text, vocab[8192] = "";
    hy__tokenizer *bytes;
    const char *name;
    assert_int_equal(hy__tokenizer_open(&bytes, NULL, NULL), HY_OK);
    assert_int_equal(hy__tokenizer_file(bytes, 0, &name, &text, NULL), HY_OK);
    hy__tokenizer_free(bytes);
    json_t *root = json_loads(text, 0, NULL);
    free(text);
    text = json_dumps(json_object_get(json_object_get(root, "model"), "vocab"), 0);
    snprintf(vocab, sizeof vocab, "%.*s", (int)strlen(text) - 1, text); /* without its end */
    free(text);
    json_decref(root);
    FILE *f = open_memstream(&text, &size);
    assert_non_null(f);
    fprintf(
        f,
        "{\"added_tokens\": [%s], \"pre_tokenizer\": %s, \"decoder\": {\"type\": \"ByteLevel\"}, "
        "%s \"model\": {\"type\": \"BPE\", \"vocab\": %s, \"ab\": 256, \"abc\": 257, "
        "\"\u0120a\": 258, \"bc\": 259}, \"merges\": [%s]}}",
        added, *pre ? pre : "{\"type\": \"ByteLevel\", \"add_prefix_space\": false}", more, vocab,
        *merges ? merges : MERGES);
    fclose(f);
    return text;
}

static hy_status open_text(hy__tokenizer **tok, char *text, hy_error *err) {
    char path[] = "/tmp/hydralm-test-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(hy__file_write(path, text, strlen(text), NULL), HY_OK);
    free(text);
    const hy_status status = hy__tokenizer_open(tok, path, err);
    unlink(path);
    return status;
}

static hy__tokenizer *opened(const char *pre, const char *added) {
    hy__tokenizer *tok = NULL;
    hy_error err = {0};
    if (open_text(&tok, make_json(pre, added, "", ""), &err) != HY_OK) fail_msg("%s", err.text);
    return tok;
}

/* The ids as words in a string. */
static void expect(const hy__tokenizer *tok, const char *text, size_t size, const char *want) {
    int32_t *token;
    int64_t n;
    char got[1024] = "";
    assert_int_equal(hy__tokenizer_encode(tok, text, size, &token, &n, NULL), HY_OK);
    for (int64_t i = 0; i < n; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%d", i ? " " : "", token[i]);
    free(token);
    assert_string_equal(got, want);
}

#define EXPECT(tok, text, want) expect(tok, text, sizeof text - 1, want)

static void merges_by_rank(void **state) {
    (void)state;
    hy__tokenizer *tok = opened("", "");
    assert_int_equal(hy__tokenizer_vocab(tok), 260);
    EXPECT(tok, "abc", "257");
    EXPECT(tok, "bc", "259");
    EXPECT(tok, "xbc abab", "120 259 32 256 256"); /* " a" has a higher rank than ab */
    EXPECT(tok, " a", "258");
    EXPECT(tok, "ab c", "256 32 99"); /* words are apart */
    EXPECT(tok,
           "ab\xFF"
           "c\xC3",
           "256 255 99 195");
    hy__tokenizer_free(tok);
}

#define ADDED(id, text, more) "{\"id\": " #id ", \"content\": \"" text "\"" more "}"

static void added_tokens(void **state) {
    (void)state;
    hy__tokenizer *tok = opened(
        "",
        ADDED(260, "<e>", ", \"special\": true") ", " ADDED(
            261, "<e>s",
            ", \"normalized\": true") ", " ADDED(262, "<l>",
                                                 ", \"lstrip\": true, \"rstrip\": true, "
                                                 "\"normalized\": false") ", " ADDED(263, "wo",
                                                                                     ", "
                                                                                     "\"single_"
                                                                                     "word\": "
                                                                                     "true, "
                                                                                     "\"normalized"
                                                                                     "\": false"));
    assert_true(hy__tokenizer_is_special(tok, 260) && !hy__tokenizer_is_special(tok, 261));
    EXPECT(tok, "ab<e>c", "256 260 99");
    EXPECT(tok, "<e>s", "260 115"); /* what is not normalized comes first */
    EXPECT(tok, "a \t<l>\n\xC2\xA0 b<l", "97 262 98 60 108");
    EXPECT(tok, "wo two wo.", "263 32 116 119 111 32 263 46");
    EXPECT(tok, "<e><e", "260 60 101");
    hy__tokenizer_free(tok);
}

/* Text is cut at the matches of an expression. */
#define CUT_AT(regex)                                                                              \
    "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", \"pattern\": {\"Regex\": " \
    "\"" regex                                                                                     \
    "\"}, \"behavior\": \"Isolated\"}, {\"type\": \"ByteLevel\", \"use_regex\": false, "           \
    "\"add_prefix_space\": false}]}"

#define CUT_HERE "中中中中中中中中中中中中中中中中中中中中中中中中中中中中中中中中中中中中中中中中"

static void expressions(void **state) {
    (void)state;
    hy__tokenizer *tok = opened(CUT_AT("b|\\\\s+(?!\\\\S)"), "");
    EXPECT(tok, "abc  a", "97 98 99 32 258");
    hy__tokenizer_free(tok);
    tok = opened(CUT_AT("\\\\dab|\\\\p{Latin}{2,3}x|b"), "");
    EXPECT(tok, "7ab", "55 256");
    EXPECT(tok, "\U00010D40ab", "240 144 181 128 256"); /* a digit since Unicode 16 */
    EXPECT(tok, "xab", "120 97 98");
    EXPECT(tok, "abx", "256 120");
    hy__tokenizer_free(tok);
    tok = opened("{\"type\": \"ByteLevel\", \"use_regex\": false, \"add_prefix_space\": true}", "");
    EXPECT(tok, "abc ab", "32 257 32 256");
    EXPECT(tok, " ab", "32 256");
    hy__tokenizer_free(tok);
}

/* What is said of long expressions ends with a whole character. */
static void described(void **state) {
    (void)state;
    char pre[1024];
    for (int i = 0; i < 3; i++) {
        snprintf(pre, sizeof pre, CUT_AT("%.*s" CUT_HERE CUT_HERE), i, "xx");
        hy__tokenizer *tok = opened(pre, "");
        const char *words = hy__tokenizer_describe(tok)->words;
        const size_t n = strlen(words);
        assert_true(n > 155 && n < 160);
        assert_int_equal(hy__utf8_invalid((const unsigned char *)words, n), 0);
        hy__tokenizer_free(tok);
    }
}

static uint32_t random_bits(uint32_t *seed) {
    return (*seed = *seed * 1664525u + 1013904223u) >> 8;
}

/* However a text is cut, the tokens are the same, and their bytes are the text. */
static void cut_anywhere(void **state) {
    (void)state;
    static const char *const part[] = {"ab", "abc",  " ",    "  ",   "\n",   "<e>",      "<l>",
                                       "<e", "\xFF", "\xC3", "\xA9", "é",    "\u3000\n", "'ll",
                                       "12", "wo",   "中",   "<",    "\r\n", "."};
    hy__tokenizer *tok =
        opened("", ADDED(260, "<e>", ", \"special\": true") ", " ADDED(261, "<e>s", "") ", " ADDED(
                       262, "<l>", ", \"lstrip\": true, \"normalized\": false"));
    uint32_t seed = 1;
    const size_t most = 300000;
    char *text = malloc(most + 16), *back = malloc(most + 16);
    for (int round = 0; round < 40; round++) {
        const size_t size = round < 36 ? random_bits(&seed) % 200 : most;
        size_t n = 0, m = 0;
        while (n < size) {
            const char *p = part[random_bits(&seed) % (sizeof part / sizeof *part)];
            if (strcmp(p, "<l>") == 0 && round % 2) continue; /* it takes blanks away */
            memcpy(text + n, p, strlen(p));
            n += strlen(p);
        }
        int32_t *whole;
        const int32_t *token;
        int64_t n_whole, n_token, done = 0;
        assert_int_equal(hy__tokenizer_encode(tok, text, n, &whole, &n_whole, NULL), HY_OK);
        hy__encoder *e;
        assert_int_equal(hy__encoder_new(&e, tok, NULL), HY_OK);
        for (size_t at = 0, len; at <= n; at += len) {
            len = random_bits(&seed) % (round % 3 ? 5 : 70000);
            if (len > n - at) len = n - at;
            const bool last = at + len == n;
            assert_int_equal(hy__encoder_feed(e, text + at, len, last, &token, &n_token, NULL),
                             HY_OK);
            assert_true(done + n_token <= n_whole);
            if (n_token > 0)
                assert_memory_equal(token, whole + done, (size_t)n_token * sizeof *token);
            done += n_token;
            if (last) break;
        }
        assert_int_equal(done, n_whole);
        for (int64_t i = 0; i < n_whole && round % 2; i++)
            m += hy__tokenizer_decode(tok, whole[i], back + m, most + 16 - m);
        if (round % 2) assert_int_equal(m, n);
        if (round % 2) assert_memory_equal(back, text, n);
        hy__encoder_free(e);
        free(whole);
    }
    free(text);
    free(back);
    hy__tokenizer_free(tok);
}

/* Words of a million letters, blanks and stray bytes; it would take hours if time grew with the
 * square. */
static void huge_words(void **state) {
    (void)state;
    hy__tokenizer *tok = opened("", "");
    const size_t n = 1 << 20;
    static const char letter[] = {'a', ' ', '\xFF', '.'};
    char *text = malloc(n);
    for (size_t k = 0; k < sizeof letter; k++) {
        int32_t *token;
        int64_t n_token;
        for (size_t i = 0; i < n; i++)
            text[i] = letter[k] == 'a' ? (char)("abcab"[i % 5]) : letter[k];
        assert_int_equal(hy__tokenizer_encode(tok, text, n, &token, &n_token, NULL), HY_OK);
        assert_int_equal(n_token, letter[k] == 'a' ? 2 * (n / 5) + 1 : n);
        free(token);
    }
    free(text);
    hy__tokenizer_free(tok);
}

/* Form C, of which pieces may hold a part; stray bytes stay. */
static void normalized(void **state) {
    (void)state;
    hy__tokenizer *tok;
    hy_error err = {0};
    char *json = make_json("", ADDED(260, "e\u0301", ", \"normalized\": true"), "",
                           "\"normalizer\": {\"type\": \"NFC\"},");
    if (open_text(&tok, json, &err) != HY_OK) fail_msg("%s", err.text);
    EXPECT(tok, "a\u0301\xFF\u0301", "195 161 255 204 129");
    EXPECT(tok, "\u00E9e\u0301", "260 260");
    hy__encoder *e;
    assert_int_equal(hy__encoder_new(&e, tok, NULL), HY_OK);
    const size_t n = 70000; /* beyond one piece: a, and the mark behind it */
    char *text = malloc(n + 2);
    const int32_t *token;
    int64_t n_token, all = 0;
    memset(text, 'a', n);
    memcpy(text + n, "\u0301", 2);
    for (size_t at = 0, len; at < n + 2; at += len) {
        len = at == 0 ? n : 1;
        assert_int_equal(
            hy__encoder_feed(e, text + at, len, at + len == n + 2, &token, &n_token, NULL), HY_OK);
        all += n_token;
    }
    assert_int_equal(all, n + 1);
    assert_int_equal(token[n_token - 1], 161);
    free(text);
    hy__encoder_free(e);
    hy__tokenizer_free(tok);
}

/* What ends a text: what the config says, or the usual name; it comes back in the config. */
static void end_of_text(void **state) {
    (void)state;
    static const struct {
        const char *config;
        int eos;
    } row[] = {{NULL, 261},
               {"{}", 261},
               {"{\"eos_token\": null}", 261},
               {"{\"eos_token\": \"abc\"}", 261}, /* a word */
               {"{\"eos_token\": \"<e>\"}", 260},
               {"{\"eos_token\": {\"content\": \"<e>\", \"lstrip\": false}}", 260}};
    char path[] = "/tmp/hydralm-test-XXXXXX";
    close(mkstemp(path));
    hy_error err = {0};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        hy__tokenizer *tok = opened(
            "", ADDED(260, "<e>", ", \"special\": true") ", " ADDED(
                    261, "<|endoftext|>", ", \"special\": true") ", " ADDED(262, "</s>", ""));
        const char *config = row[i].config, *name;
        char *text;
        if (config) hy__file_write(path, config, strlen(config), NULL);
        if (config && hy__tokenizer_configure(tok, path, &err) != HY_OK) fail_msg("%s", err.text);
        assert_int_equal(hy__tokenizer_eos(tok), row[i].eos);
        assert_int_equal(hy__tokenizer_file(tok, 1, &name, &text, NULL), HY_OK);
        assert_non_null(strstr(text, row[i].eos == 260 ? "\"<e>\"" : "\"<|endoftext|>\""));
        free(text);
        hy__tokenizer_free(tok);
    }
    hy__tokenizer *tok = opened("", "");
    assert_int_equal(hy__tokenizer_eos(tok), -1);
    hy__file_write(path, "{", 1, NULL);
    assert_int_equal(hy__tokenizer_configure(tok, path, &err), HY_E_INVALID);
    assert_non_null(strstr(err.text, ":1: not valid JSON"));
    static const char twice[] = "{\"eos_token\": \"a\", \"eos_token\": \"b\"}";
    hy__file_write(path, twice, strlen(twice), NULL);
    assert_int_equal(hy__tokenizer_configure(tok, path, &err), HY_E_INVALID);
    assert_non_null(strstr(err.text, "eos_token"));
    hy__tokenizer_free(tok);
    unlink(path);
}

/* Each is a sentence that says what. */
static void bad_files(void **state) {
    (void)state;
    static const struct {
        const char *pre, *added, *merges, *more, *said;
    } row[] = {
        {"null", "", "", "", "the pre_tokenizer has the part \"\""},
        {"{\"type\": \"Whitespace\"}", "", "", "", "Whitespace"},
        {"", "", "\"a\"", "", "merge 1 is neither"},
        {"", "", "\"a b\", \"a \u4E2D\"", "", "merge 2 is of"},
        {"", "", "\"c c\"", "", "makes \"cc\""},
        {"", ADDED(300, "<e>", ""), "", "", "has the id 300"},
        {"", ADDED(260, "", ""), "", "", "is empty"},
        {"", ADDED(-1, "x", ""), "", "", "no id from 0"},
        {"", "", "", "\"normalizer\": {\"type\": \"Lowercase\"},", "Lowercase"},
        {"", "", "", "\"truncation\": {\"max_length\": 5},", "truncation"},
        {"", "", "", "\"padding\": {\"strategy\": {\"Fixed\": 5}},", "padding"},
        {"", "", "", "\"post_processor\": {\"type\": \"Odd\"},", "Odd"},
        {"", ADDED(260, "<e>", ", \"special\": 1"), "", "", "added_tokens: special is 1, wanted"},
        {"", ADDED(260, "<e>", ", \"lstrip\": null"), "", "", "lstrip is null, wanted true or"},
        {"", "", "\"a b\"], \"dropout\": \"x\", \"o\": [", "", "model.dropout is \"x\", wanted"},
        {"", "", "\"a b\"], \"dropout\": true, \"o\": [", "", "model.dropout is true, wanted a"},
        {"", "", "\"a b\"], \"dropout\": 0.1, \"o\": [", "", "model.dropout leaves merges out"},
        {"", "", "\"a b\"], \"end_of_word_suffix\": 5, \"o\": [", "", "suffix is 5, wanted a text"},
        {"", "", "\"a b\"], \"ignore_merges\": \"no\", \"o\": [", "", "is \"no\", wanted true or"},
        {"{\"type\": \"ByteLevel\", \"use_regex\": 0}", "", "", "", "use_regex is 0, wanted true"},
        {"", "", "", "\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": {}},",
         "normalizer: normalizers is {}, wanted a list"},
        {CUT_AT("(a"), "", "", "", "cannot be read"},
        {CUT_AT("a*"), "", "", "", "no characters"},
        {CUT_AT("\\\\p{L"), "", "", "", "a property without its name at place 1"},
        {CUT_AT("\\\\ba"), "", "", "", "an escape with another meaning at place 1"},
        {CUT_AT("a(?im:b)"), "", "", "", "an option with another meaning at place 2"},
        {CUT_AT("a{,3}b"), "", "", "", "a repetition with another meaning at place 2"},
        {CUT_AT("a{1,3}+b"), "", "", "", "a repetition with another meaning at place 2"},
        {CUT_AT("a{2}?b"), "", "", "", "a repetition with another meaning at place 2"},
        {CUT_AT("[a[b]]"), "", "", "", "a class within a class at place 3"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        hy__tokenizer *tok;
        hy_error err = {0};
        const hy_status status =
            open_text(&tok, make_json(row[i].pre, row[i].added, row[i].merges, row[i].more), &err);
        assert_null(tok);
        if (status == HY_OK || !strstr(err.text, row[i].said))
            fail_msg("row %zu: \"%s\" does not say \"%s\"", i, err.text, row[i].said);
    }
}

/* Added tokens that are no list. */
static void added_tokens_of_another_type(void **state) {
    (void)state;
    static const char *const value[] = {"{}", " 5", "\"\""};
    for (size_t i = 0; i < sizeof value / sizeof *value; i++) {
        hy__tokenizer *tok;
        hy_error err = {0};
        char *text = make_json("", "", "", "");
        memcpy(strstr(text, "[]"), value[i], 2);
        assert_int_equal(open_text(&tok, text, &err), HY_E_INVALID);
        assert_non_null(strstr(err.text, ": added_tokens is "));
        assert_non_null(strstr(err.text, ", wanted a list"));
    }
}

/* The vocabulary of a small text, by hand. */
static void trained(void **state) {
    (void)state;
    static const char text[] = "aab aab aab aa <s> xy xy";
    hy__tokenizer *tok[2];
    char *json[2];
    const char *const special[] = {"<s>"};
    for (int i = 0; i < 2; i++) {
        const hy__bpe_train_options opt = {
            .vocab = 300, .pattern = "gpt2", .special = special, .n_special = 1, .threads = i + 1};
        hy__bpe_trainer *t;
        const char *name;
        assert_int_equal(hy__bpe_trainer_new(&t, &opt, NULL), HY_OK);
        assert_int_equal(hy__bpe_trainer_add(t, text, 7, false, NULL), HY_OK);
        assert_int_equal(hy__bpe_trainer_add(t, text + 7, sizeof text - 8, true, NULL), HY_OK);
        assert_int_equal(hy__bpe_trainer_finish(t, &tok[i], NULL), HY_OK);
        assert_int_equal(hy__tokenizer_file(tok[i], 0, &name, &json[i], NULL), HY_OK);
        hy__bpe_trainer_free(t);
    }
    assert_string_equal(json[0], json[1]);
    EXPECT(tok[0], "aa", "256"); /* 4 times */
    EXPECT(tok[0], "aab", "256 98");
    EXPECT(tok[0], " aab", "259"); /* behind " aa" and " x" */
    EXPECT(tok[0], "<s>", "261");
    for (int i = 0; i < 2; i++) {
        hy__tokenizer_free(tok[i]);
        free(json[i]);
    }
}

/* A vocabulary depends on the text alone: not on its pieces, nor on the number of threads, also
 * where no line ever ends, where documents are many and short, and where bytes are no characters.
 */
static void trained_alike(void **state) {
    (void)state;
    const size_t size = 9 << 20;
    char *text = malloc(size), *json[3];
    for (int kind = 0; kind < 3; kind++) {
        uint32_t seed = 7;
        for (size_t i = 0; i < size; i++) {
            const uint32_t r = random_bits(&seed) % 64;
            text[i] = kind == 2 ? (char)(0x80 + r) : r < 8 ? ' ' : (char)("aeiost"[r % 6]);
        }
        for (int i = 0; i < 3; i++) {
            const hy__bpe_train_options opt = {.vocab = 400, .pattern = "llama3", .threads = i + 1};
            hy__bpe_trainer *t;
            hy__tokenizer *tok;
            hy_error err = {0};
            const char *name;
            assert_int_equal(hy__bpe_trainer_new(&t, &opt, &err), HY_OK);
            const size_t piece = kind == 1 ? 150 : ((size_t)1 << 20) + 12345 * (size_t)i;
            for (size_t at = 0; at < size; at += piece) {
                const size_t n = size - at < piece ? size - at : piece;
                const bool last = kind == 1 || at + n == size;
                if (hy__bpe_trainer_add(t, text + at, n, last, &err) != HY_OK)
                    fail_msg("%s", err.text);
            }
            if (hy__bpe_trainer_finish(t, &tok, &err) != HY_OK) fail_msg("%s", err.text);
            assert_int_equal(hy__bpe_trainer_bytes(t), size);
            hy__bpe_trainer_free(t);
            hy__tokenizer_file(tok, 0, &name, &json[i], NULL);
            hy__tokenizer_free(tok);
        }
        for (int i = 1; i < 3; i++) assert_string_equal(json[0], json[i]);
        for (int i = 0; i < 3; i++) free(json[i]);
    }
    free(text);
}

static void special_tokens_that_cannot_be(void **state) {
    (void)state;
    static const struct {
        const char *text, *said;
    } row[] = {{"x", "wanted 2 to 256"},
               {"\u0120a", "has the name of a token of text"}, /* " a" */
               {"é", "has the name of a token of text"},
               {"\xFF\xFE", "no UTF-8"}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        hy_error err = {0};
        hy__bpe_trainer *t;
        const hy__bpe_train_options opt = {
            .vocab = 300, .pattern = "gpt2", .special = &row[i].text, .n_special = 1};
        assert_int_equal(hy__bpe_trainer_new(&t, &opt, &err), HY_E_INVALID);
        if (!strstr(err.text, row[i].said)) fail_msg("%s", err.text);
    }
}

/* Every code point's encoding is accepted; what the standard forbids is not. */
static void well_formed_utf8(void **state) {
    (void)state;
    for (uint32_t code = 0; code < 0x110000; code++) {
        unsigned char b[4];
        size_t n = 1;
        if (code < 0x80) {
            b[0] = (unsigned char)code;
        } else if (code < 0x800) {
            b[0] = (unsigned char)(0xC0 | code >> 6);
            n = 2;
        } else if (code < 0x10000) {
            b[0] = (unsigned char)(0xE0 | code >> 12);
            n = 3;
        } else {
            b[0] = (unsigned char)(0xF0 | code >> 18);
            n = 4;
        }
        for (size_t i = 1; i < n; i++)
            b[i] = (unsigned char)(0x80 | (code >> 6 * (n - 1 - i) & 0x3F));
        const bool surrogate = code >= 0xD800 && code < 0xE000;
        assert_int_equal(hy__utf8_sequence(b, n), surrogate ? 0 : n);
        if (n > 1) assert_int_equal(hy__utf8_sequence(b, n - 1), 0); /* cut short */
    }
    static const char cut[] = "a\xCE\xB2\xF0\x9D\x84\x9E";
    static const size_t at[] = {0, 1, 1, 3, 3, 3, 3, 7};
    for (size_t n = 0; n < sizeof cut; n++) assert_int_equal(hy__utf8_cut(cut, n), at[n]);
    static const char *const bad[] = {"\x80",
                                      "\xC0\x80",
                                      "\xC1\xBF",
                                      "\xE0\x9F\xBF",
                                      "\xF0\x8F\xBF\xBF",
                                      "\xF4\x90\x80\x80",
                                      "\xF5\x80\x80\x80",
                                      "\xFF",
                                      "\xC3("};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(hy__utf8_sequence((const unsigned char *)bad[i], strlen(bad[i])), 0);
    assert_int_equal(hy__utf8_invalid((const unsigned char *)"a\xFF\xC3\xA9\xC3", 5), 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_there_and_back),
        cmocka_unit_test(saved_files_open_again),
        cmocka_unit_test(merges_by_rank),
        cmocka_unit_test(added_tokens),
        cmocka_unit_test(expressions),
        cmocka_unit_test(described),
        cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(huge_words),
        cmocka_unit_test(normalized),
        cmocka_unit_test(bad_files),
        cmocka_unit_test(added_tokens_of_another_type),
        cmocka_unit_test(trained),
        cmocka_unit_test(trained_alike),
        cmocka_unit_test(special_tokens_that_cannot_be),
        cmocka_unit_test(end_of_text),
        cmocka_unit_test(well_formed_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
