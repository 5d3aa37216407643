/* config_yaml.c: a configuration out of YAML: its sections and fields are the table's, which parses
 * the values too. */
#include "base/file.h"
#include "config/config_table.h"
#include "config/yaml.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct reader {
    hy__yaml yaml;
    hy__config c;
    hy__train_config t;
    const char *section;         /* that is being read */
    int64_t line[HY__FIELD_MAX]; /* of each field; 0 = not written */
} reader;

static hy_status read_field(void *user, const char *key, const yaml_node_t *at,
                            const yaml_node_t *value) {
    reader *d = user;
    char name[64];
    const char *text;
    const hy__field *f = hy__field_find(d->section, strlen(d->section), key);
    if (!f) return hy__yaml_fail_in(&d->yaml, at, hy__field_unknown(d->section, key, d->yaml.err));
    snprintf(name, sizeof name, "%s.%s", f->section, f->name);
    HY_TRY(hy__yaml_text(&d->yaml, value, name, &text));
    d->line[f - hy__fields] = hy__yaml_line(value);
    const hy_status status = hy__field_set(f, &d->c, &d->t, text, d->yaml.err);
    return status == HY_OK ? HY_OK : hy__yaml_fail_in(&d->yaml, value, status);
}

static hy_status read_section(void *user, const char *key, const yaml_node_t *at,
                              const yaml_node_t *value) {
    reader *d = user;
    d->section = hy__section_find(key);
    if (!d->section)
        return hy__yaml_fail_in(&d->yaml, at, hy__field_unknown(key, key, d->yaml.err));
    return hy__yaml_each_pair(&d->yaml, value, d->section, read_field, d);
}

static hy_status read_document(reader *d) {
    const yaml_node_t *root = hy__yaml_root(&d->yaml);
    if (root) HY_TRY(hy__yaml_each_pair(&d->yaml, root, "a configuration", read_section, d));
    const hy_status status = hy__config_finish(&d->c, d->yaml.err);
    if (status == HY_OK) return HY_OK;
    const int64_t line = hy__field_blamed(d->line, d->yaml.err);
    return line ? hy__fail_in(d->yaml.err, status, "%s:%" PRId64, d->yaml.name, line)
                : hy__fail_in(d->yaml.err, status, "%s", d->yaml.name);
}

hy_status hy__config_parse_yaml(const char *text, size_t size, const char *name, hy__config *c,
                                hy__train_config *t, hy_error *err) {
    reader d = {0};
    HY_TRY(hy__yaml_load(&d.yaml, text, size, name, err));
    hy__config_default(&d.c, &d.t);
    const hy_status status = read_document(&d);
    hy__yaml_release(&d.yaml);
    if (status != HY_OK) return status;
    *c = d.c;
    if (t) *t = d.t;
    return HY_OK;
}

hy_status hy__config_read_yaml(const char *path, hy__config *c, hy__train_config *t,
                               hy_error *err) {
    char *text;
    size_t size;
    HY_TRY(hy__file_read(path, HY__YAML_MAX, &text, &size, err));
    const hy_status status = hy__config_parse_yaml(text, size, path, c, t, err);
    free(text);
    return status;
}
