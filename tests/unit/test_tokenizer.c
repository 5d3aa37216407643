/* The byte tokenizer, its files as others read them, and well-formed UTF-8. */
#include "base/file.h"
#include "base/utf8.h"
#include "ckpt/tokenizer_dir.h"
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

    /* Another vocabulary is refused, with a reason. */
    json_object_set_new(vocab, "!", json_integer(0x22));
    assert_int_equal(json_dump_file(root, path, 0), 0);
    assert_int_equal(hy__tokenizer_open_dir(&tok, dir, &err), HY_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "not supported"));
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
        cmocka_unit_test(well_formed_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
