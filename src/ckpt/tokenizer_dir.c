/* tokenizer_dir.c: see tokenizer_dir.h. */
#include "ckpt/tokenizer_dir.h"

#include <stdlib.h>
#include <string.h>

static const char CONFIG[] = "tokenizer_config.json";

hy_status hy__tokenizer_open_dir(hy__tokenizer **out, const char *dir, hy_error *err) {
    char *path;
    *out = NULL;
    HY_TRY(hy__fileset_find(&path, dir, "tokenizer.json", err));
    if (!path)
        return hy__fail(err, HY_E_UNSUPPORTED,
                        "there is no %.400s/tokenizer.json, so tokens cannot become text or text "
                        "tokens",
                        dir);
    hy_status status = hy__tokenizer_open(out, path, err);
    free(path);
    HY_TRY(status);
    status = hy__fileset_find(&path, dir, CONFIG, err);
    if (status == HY_OK && path) status = hy__tokenizer_configure(*out, path, err);
    free(path);
    if (status == HY_OK) return HY_OK;
    hy__tokenizer_free(*out);
    *out = NULL;
    return status;
}

hy_status hy__tokenizer_put(hy__fileset *set, const hy__tokenizer *tok, hy_error *err) {
    for (int i = 0;; i++) {
        const char *name;
        char *text;
        HY_TRY(hy__tokenizer_file(tok, i, &name, &text, err));
        if (!name) break;
        const hy_status status = hy__fileset_write(set, name, text, strlen(text), err);
        free(text);
        HY_TRY(status);
    }
    /* what the directory says of another one */
    return hy__fileset_has(set, CONFIG) ? HY_OK : hy__fileset_remove(set, CONFIG, err);
}

hy_status hy__tokenizer_open_path(hy__tokenizer **out, const char *path, hy_error *err) {
    if (strcmp(path, "bytes") == 0) return hy__tokenizer_open(out, NULL, err);
    return hy__path_is_dir(path) ? hy__tokenizer_open_dir(out, path, err)
                                 : hy__tokenizer_open(out, path, err);
}
