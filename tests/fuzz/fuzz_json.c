/* Any bytes as the config.json of a model: refused with a sentence, or accepted and then written so
 * that it reads back to the same bits. */
#include "config/config.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok) {
    if (!ok) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_t *json = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
    if (!json) return 0;
    hy__config c, again;
    hy__train_config t, t_again;
    hy_error err = {0};
    const hy_status status = hy__config_from_json(json, "fuzz", &c, &t, &err);
    check(status == HY_OK || (err.status == status && *err.text));
    json_decref(json);
    if (status != HY_OK) return 0;
    json = hy__config_to_json(&c, &t);
    check(json != NULL);
    check(hy__config_from_json(json, "written", &again, &t_again, &err) == HY_OK);
    check(strcmp(c.letter, again.letter) == 0 && memcmp(&t, &t_again, sizeof t) == 0);
    json_decref(json);
    return 0;
}
