/* fingerprint.c: see fingerprint.h. */
#include "ckpt/fingerprint.h"

#include "ckpt/checkpoint.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void hy__hash_print(char hex[HY__FINGERPRINT], const hy__hash *h) {
    snprintf(hex, HY__FINGERPRINT, "%016" PRIx64, hy__hash_value(h));
}

void hy__hash_add_tensor(hy__hash *h, hy__backend *be, hy__tensor t, int64_t n,
                         unsigned char *piece) {
    for (size_t left = hy__dtype_bytes(t.dtype, n), size; left > 0; left -= size) {
        size = left < HY__HASH_PIECE ? left : HY__HASH_PIECE;
        be->read(be, piece, t, size);
        hy__hash_add(h, piece, size);
        t.off += size;
    }
}

static void add_text(hy__hash *h, const char *text) {
    hy__hash_add(h, text, strlen(text));
}

static bool add_config(hy__hash *h, const hy__config *c) {
    json_t *sections = hy__config_to_json(c, NULL);
    char *text = sections ? json_dumps(sections, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(sections);
    if (text) add_text(h, text);
    free(text);
    return text != NULL;
}

/* "\nNAME DTYPE 3,4\n", then the elements. */
static void add_param(hy__hash *h, hy__backend *be, const hy__param *p, unsigned char *piece) {
    char number[32];
    add_text(h, "\n");
    add_text(h, p->name);
    add_text(h, " ");
    add_text(h, hy__st_dtype_name(hy__checkpoint_dtype(p->value.dtype)));
    for (int i = 0; i < p->decl.n_dim; i++) {
        snprintf(number, sizeof number, "%c%" PRId64, i > 0 ? ',' : ' ', p->decl.shape[i]);
        add_text(h, number);
    }
    add_text(h, "\n");
    hy__hash_add_tensor(h, be, p->value, p->n, piece);
}

hy_status hy__fingerprint(char hex[HY__FINGERPRINT], const hy__model *m, hy_error *err) {
    hy__hash h;
    hy__hash_init(&h);
    unsigned char *piece = malloc(HY__HASH_PIECE);
    if (!piece || !add_config(&h, &m->cfg)) {
        free(piece);
        return hy__no_memory(err, "fingerprinting a model");
    }
    for (int64_t i = 0; i < m->n_param; i++) add_param(&h, m->be, &m->param[i], piece);
    free(piece);
    hy__hash_print(hex, &h);
    return hy__backend_check(m->be, err);
}
