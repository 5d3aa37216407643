/* Any bytes as a tokenizer.json: refused with a sentence, or accepted; then the bytes themselves,
 * as a text, have the same tokens whole and in two pieces. */
#include "text/tokenizer_parts.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok) {
    if (!ok) abort();
}

static void encode(const hy__tokenizer *tok, const char *text, size_t size) {
    hy__encoder *e;
    int32_t *whole;
    const int32_t *token;
    int64_t n, done = 0, n_token;
    if (hy__tokenizer_encode(tok, text, size, &whole, &n, NULL) != HY_OK) return;
    check(hy__encoder_new(&e, tok, NULL) == HY_OK);
    for (int half = 0; half < 2; half++) {
        const size_t from = half ? size / 3 : 0, to = half ? size : size / 3;
        if (hy__encoder_feed(e, text + from, to - from, half, &token, &n_token, NULL) != HY_OK)
            break;
        check(done + n_token <= n);
        if (n_token > 0) check(memcmp(whole + done, token, (size_t)n_token * sizeof *token) == 0);
        done += n_token;
        if (half) check(done == n);
    }
    hy__encoder_free(e);
    free(whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hy__tokenizer *tok;
    hy_error err = {0};
    char *json = malloc(size + 1);
    check(json != NULL);
    memcpy(json, data, size);
    json[size] = '\0';
    const hy_status status = hy__tokenizer_parse(&tok, json, size, "fuzz", &err);
    check(status == HY_OK || (err.status == status && *err.text));
    if (status != HY_OK) return 0;
    encode(tok, (const char *)data, size);
    hy__tokenizer_free(tok);
    return 0;
}
