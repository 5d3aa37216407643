/* config_yaml.c: YAML through libcyaml into the field table.
 *
 * libcyaml reads the document into one string per field, by a schema made of the table; the values
 * are then parsed by the table (hy__field_set). Left to itself libcyaml would take "3x" for 3 and
 * "maybe" for true, and it knows neither our bounds nor, after loading, the lines: those are looked
 * up in the text. */
#include "base/file.h"
#include "config/config_table.h"

#include <ctype.h>
#include <cyaml/cyaml.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_LIMIT = 1 << 20 }; /* bytes of a configuration file */

/* What libcyaml loads: the text of every field, NULL where it is absent. */
typedef struct document {
    char *value[HY__FIELD_MAX];
} document;

/* The schema: one mapping of sections, each a mapping of optional strings. */
typedef struct schema {
    cyaml_schema_field_t section[HY__SECTION_MAX + 1];
    cyaml_schema_field_t
        field[HY__FIELD_MAX + HY__SECTION_MAX]; /* each section ends with a NULL key */
    cyaml_schema_value_t root;
} schema;

static void schema_init(schema *s) {
    memset(s, 0, sizeof *s);
    size_t n_section = 0, at = 0;
    for (size_t i = 0; i < hy__n_field; i++) {
        if (i == 0 || strcmp(hy__fields[i].section, hy__fields[i - 1].section) != 0) {
            if (i) at++; /* the NULL key that ends the section before */
            HY_ASSERT(n_section < HY__SECTION_MAX);
            s->section[n_section++] = (cyaml_schema_field_t){
                .key = hy__fields[i].section,
                .value = {.type = CYAML_MAPPING,
                          .flags = CYAML_FLAG_OPTIONAL,
                          .data_size = sizeof(document),
                          .mapping = {.fields = &s->field[at]}},
            };
        }
        s->field[at++] = (cyaml_schema_field_t){
            .key = hy__fields[i].name,
            .data_offset = (uint32_t)(i * sizeof(char *)),
            .value = {.type = CYAML_STRING,
                      .flags = (enum cyaml_flag)(CYAML_FLAG_OPTIONAL | CYAML_FLAG_POINTER),
                      .data_size = sizeof(char),
                      .string = {.min = 0, .max = CYAML_UNLIMITED}},
        };
    }
    s->root = (cyaml_schema_value_t){.type = CYAML_MAPPING,
                                     .flags = CYAML_FLAG_POINTER,
                                     .data_size = sizeof(document),
                                     .mapping = {.fields = s->section}};
}

/* What libcyaml said on a failure: its message, then a backtrace from the inside out. */
typedef struct complaint {
    char message[192];
    char field[2][64]; /* the innermost fields of the backtrace */
    int n_field;
    unsigned line; /* 0 = unknown */
} complaint;

__attribute__((format(printf, 3, 0))) static void on_log(cyaml_log_t level, void *user,
                                                         const char *format, va_list args) {
    complaint *said = user;
    char text[256];
    (void)level;
    vsnprintf(text, sizeof text, format, args);
    text[strcspn(text, "\n")] = '\0';
    const char *line = strstr(text, "(line: ");
    if (line && !said->line) said->line = (unsigned)strtoul(line + 7, NULL, 10);
    const char *field = strstr(text, "  in mapping field '");
    if (field && said->n_field < 2) sscanf(field + 20, "%63[^']", said->field[said->n_field++]);
    const char *from = strncmp(text, "Load: ", 6) == 0 ? text + 6 : text;
    if (!*said->message && !line && strcmp(from, "Backtrace:") != 0)
        snprintf(said->message, sizeof said->message, "%.*s", (int)sizeof said->message - 1, from);
}

static hy_status explain(cyaml_err_t code, const complaint *said, const char *name, hy_error *err) {
    if (code == CYAML_ERR_OOM) return hy__no_memory(err, "reading %s", name);
    char where[16] = "";
    if (said->line) snprintf(where, sizeof where, ":%u", said->line);
    if (code == CYAML_ERR_INVALID_KEY) { /* "Unexpected key: …" */
        const char *colon = strchr(said->message, ':'), *key = colon ? colon + 2 : "";
        const hy_status status = hy__field_unknown(said->n_field ? said->field[0] : key, key, err);
        return hy__fail_in(err, status, "%s%s", name, where);
    }
    if (code == CYAML_ERR_LIBYAML_PARSER) /* its line is that of the last good token */
        return hy__fail(err, HY_E_INVALID, "%s%s: not valid YAML at or after this line: %s", name,
                        where, said->message);
    const char *path = said->n_field == 2 ? said->field[1] : "";
    return hy__fail(err, HY_E_INVALID, "%s%s: %s%s%s%s%s", name, where, path, *path ? "." : "",
                    said->n_field ? said->field[0] : "", said->n_field ? ": " : "",
                    *said->message ? said->message : cyaml_strerror(code));
}

/* The line of "name:" below "section:" in block style, or 0. */
static long find_line(const char *text, size_t size, const hy__field *f) {
    long line = 1, found = 0;
    bool inside = false;
    for (size_t at = 0; at < size && !found; line++) {
        const char *p = text + at;
        const char *end = memchr(p, '\n', size - at);
        const size_t n = end ? (size_t)(end - p) : size - at;
        size_t indent = 0;
        while (indent < n && p[indent] == ' ') indent++;
        const char *word = indent ? f->name : f->section;
        const size_t word_size = strlen(word);
        const bool match = n - indent > word_size && memcmp(p + indent, word, word_size) == 0 &&
                           p[indent + word_size] == ':';
        if (indent == 0 && n > 0 && isalpha((unsigned char)*p)) inside = match;
        if (indent > 0 && inside && match) found = line;
        at += n + 1;
    }
    return found;
}

static hy_status set_all(const document *doc, const char *text, size_t size, const char *name,
                         hy__config *c, hy__train_config *t, hy_error *err) {
    for (size_t i = 0; i < hy__n_field; i++) {
        if (!doc->value[i]) continue;
        const hy_status status = hy__field_set(&hy__fields[i], c, t, doc->value[i], err);
        if (status == HY_OK) continue;
        const long line = find_line(text, size, &hy__fields[i]);
        return line ? hy__fail_in(err, status, "%s:%ld", name, line)
                    : hy__fail_in(err, status, "%s", name);
    }
    return HY_OK;
}

hy_status hy__config_parse_yaml(const char *text, size_t size, const char *name, hy__config *c,
                                hy__train_config *t, hy_error *err) {
    schema s;
    schema_init(&s);
    complaint said = {0};
    const cyaml_config_t config = {.log_fn = on_log,
                                   .log_ctx = &said,
                                   .log_level = CYAML_LOG_ERROR,
                                   .mem_fn = cyaml_mem,
                                   .flags = CYAML_CFG_NO_ALIAS};
    document *doc = NULL;
    const cyaml_err_t code =
        cyaml_load_data((const uint8_t *)text, size, &config, &s.root, (cyaml_data_t **)&doc, NULL);
    if (code != CYAML_OK) return explain(code, &said, name, err);

    hy__config read;
    hy__train_config read_train;
    hy__config_default(&read, &read_train);
    hy_status status = HY_OK;
    if (doc) status = set_all(doc, text, size, name, &read, &read_train, err);
    cyaml_free(&config, &s.root, doc, 0);
    if (status != HY_OK) return status;
    status = hy__config_finish(&read, err);
    if (status != HY_OK) return hy__fail_in(err, status, "%s", name);
    *c = read;
    if (t) *t = read_train;
    return HY_OK;
}

hy_status hy__config_read_yaml(const char *path, hy__config *c, hy__train_config *t,
                               hy_error *err) {
    char *text;
    size_t size;
    HY_TRY(hy__file_read(path, FILE_LIMIT, &text, &size, err));
    const hy_status status = hy__config_parse_yaml(text, size, path, c, t, err);
    free(text);
    return status;
}
