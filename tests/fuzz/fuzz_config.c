/* Any bytes as a YAML configuration and as a pattern: refused with a sentence, or accepted and then
 * printed so that it reads back the same. */
#include "config/config.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok) {
    if (!ok) abort();
}

static void read_back(const hy__config *c, const hy__train_config *t) {
    hy__config again;
    hy__train_config t_again;
    hy_error err = {0};
    char *text = hy__config_print(c, t);
    check(text != NULL);
    check(hy__config_parse_yaml(text, strlen(text), "printed", &again, &t_again, &err) == HY_OK);
    check(strcmp(c->letter, again.letter) == 0 && c->n_block == again.n_block);
    check(memcmp(t, &t_again, sizeof *t) == 0);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hy__config c;
    hy__train_config t;
    hy_error err = {0};
    hy_status status = hy__config_parse_yaml((const char *)data, size, "fuzz", &c, &t, &err);
    if (status == HY_OK) read_back(&c, &t);
    check(status == HY_OK || (err.status == status && *err.text));

    hy__config_default(&c, &t);
    const size_t n = size < sizeof c.model.layers ? size : sizeof c.model.layers - 1;
    memcpy(c.model.layers, data, n);
    c.model.layers[n] = '\0';
    status = hy__layers_expand(&c, &err);
    check(status != HY_OK || (c.n_layer == (int64_t)strlen(c.letter) && c.n_block <= c.n_layer));
    return 0;
}
