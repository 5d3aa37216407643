/* config_json.c: the field table to and from the sections of config.json. */
#include "config/config_table.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static json_t *to_json(const hy__field *f, const hy__config *c, const hy__train_config *t) {
    switch (f->type) {
    case HY__FIELD_INT:
        return json_integer(hy__field_int(f, c, t));
    case HY__FIELD_NUMBER:
        return json_real(hy__field_number(f, c, t));
    case HY__FIELD_BOOL:
        return json_boolean(hy__field_bool(f, c, t));
    case HY__FIELD_CHOICE:
    case HY__FIELD_TEXT:
        break;
    }
    return json_string(hy__field_text(f, c, t));
}

/* `loose`: also what may change between two starts of one training. */
static json_t *sections_of(const hy__config *c, const hy__train_config *t, bool loose) {
    json_t *root = json_object();
    for (size_t i = 0; i < hy__n_field; i++) {
        const hy__field *f = &hy__fields[i];
        if ((f->train ? !t : !hy__section_used(c, f->section)) || (f->loose && !loose)) continue;
        json_t *section = json_object_get(root, f->section);
        if (!section) {
            section = json_object();
            json_object_set_new(root, f->section, section); /* frees it where it fails */
            section = json_object_get(root, f->section);
        }
        if (json_object_set_new(section, f->name, to_json(f, c, t)) != 0) {
            json_decref(root);
            return NULL;
        }
    }
    return root;
}

json_t *hy__config_to_json(const hy__config *c, const hy__train_config *t) {
    return sections_of(c, t, true);
}

json_t *hy__config_bound_json(const hy__config *c, const hy__train_config *t) {
    return sections_of(c, t, false);
}

static hy_status set_from(const hy__field *f, const json_t *value, hy__config *c,
                          hy__train_config *t, hy_error *err) {
    const bool wants_string = f->type == HY__FIELD_TEXT || f->type == HY__FIELD_CHOICE;
    if (json_is_string(value) && wants_string)
        return hy__field_set(f, c, t, json_string_value(value), err);
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    if (!text) return hy__no_memory(err, "reading %s.%s", f->section, f->name);
    hy_status status;
    if (json_is_string(value) || wants_string) {
        char want[160];
        hy__field_describe(f, want, sizeof want);
        status = hy__fail(err, HY_E_INVALID, "%s.%s is %.80s, but must be %s", f->section, f->name,
                          text, want);
    } else {
        status = hy__field_set(f, c, t, text, err);
    }
    free(text);
    return status;
}

static hy_status read_section(const json_t *section, const char *name, hy__config *c,
                              hy__train_config *t, hy_error *err) {
    if (!json_is_object(section))
        return hy__fail(err, HY_E_INVALID, "section %s is not an object", name);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)section, key, value) {
        const hy__field *f = hy__field_find(name, strlen(name), key);
        if (!f) return hy__field_unknown(name, key, err);
        HY_TRY(set_from(f, value, c, t, err));
    }
    return HY_OK;
}

hy_status hy__config_from_json(const json_t *json, const char *name, hy__config *c,
                               hy__train_config *t, hy_error *err) {
    hy__config read;
    hy__train_config read_train;
    hy__config_default(&read, &read_train);
    if (!json_is_object(json))
        return hy__fail(err, HY_E_INVALID, "%s: the configuration is not a JSON object", name);
    const char *last = "";
    hy_status status = HY_OK;
    for (size_t i = 0; i < hy__n_field && status == HY_OK; i++) {
        const char *section = hy__fields[i].section;
        if (strcmp(section, last) == 0) continue;
        last = section;
        const json_t *value = json_object_get(json, section);
        if (value) status = read_section(value, section, &read, &read_train, err);
    }
    if (status == HY_OK) status = hy__config_finish(&read, err);
    if (status != HY_OK) return hy__fail_in(err, status, "%s", name);
    *c = read;
    if (t) *t = read_train;
    return HY_OK;
}
