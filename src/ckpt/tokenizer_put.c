/* tokenizer_put.c: see tokenizer_put.h. */
#include "ckpt/tokenizer_put.h"

#include <stdlib.h>
#include <string.h>

hy_status hy__tokenizer_put(hy__fileset *set, const hy__tokenizer *tok, hy_error *err) {
    for (int i = 0;; i++) {
        const char *name;
        char *text;
        HY_TRY(hy__tokenizer_file(tok, i, &name, &text, err));
        if (!name) return HY_OK;
        const hy_status status = hy__fileset_write(set, name, text, strlen(text), err);
        free(text);
        HY_TRY(status);
    }
}
