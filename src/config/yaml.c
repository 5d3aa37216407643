/* yaml.c: see yaml.h. */
#include "config/yaml.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- loading ---- */

/* Bytes that are no text have an offset and no line. */
static size_t problem_line(const yaml_parser_t *p, const char *text, size_t size) {
    if (p->error != YAML_READER_ERROR) return p->problem_mark.line + 1;
    size_t line = 1;
    for (size_t i = 0; i < p->problem_offset && i < size; i++) line += text[i] == '\n';
    return line;
}

/* The next document of the text; one without a root is the end. */
static hy_status load_next(yaml_parser_t *p, yaml_document_t *doc, const char *text, size_t size,
                           const char *name, hy_error *err) {
    if (yaml_parser_load(p, doc)) return HY_OK;
    if (p->error == YAML_MEMORY_ERROR) return hy__no_memory(err, "reading %s", name);
    return hy__fail(err, HY_E_INVALID, "%s:%zu: not valid YAML: %s", name,
                    problem_line(p, text, size), p->problem ? p->problem : "?");
}

static hy_status load_only(yaml_parser_t *p, yaml_document_t *doc, const char *text, size_t size,
                           const char *name, hy_error *err) {
    yaml_document_t next;
    HY_TRY(load_next(p, doc, text, size, name, err));
    if (!yaml_document_get_root_node(doc)) return HY_OK;
    hy_status status = load_next(p, &next, text, size, name, err);
    if (status == HY_OK) {
        if (yaml_document_get_root_node(&next))
            status = hy__fail(err, HY_E_INVALID,
                              "%s:%zu: a second YAML document begins, wanted one in a file", name,
                              next.start_mark.line + 1);
        yaml_document_delete(&next);
    }
    if (status != HY_OK) yaml_document_delete(doc);
    return status;
}

hy_status hy__yaml_load(hy__yaml *y, const char *text, size_t size, const char *name,
                        hy_error *err) {
    yaml_parser_t parser;
    *y = (hy__yaml){.name = name, .err = err};
    if (!yaml_parser_initialize(&parser)) return hy__no_memory(err, "reading %s", name);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
    const hy_status status = load_only(&parser, &y->doc, text, size, name, err);
    yaml_parser_delete(&parser);
    return status;
}

void hy__yaml_release(hy__yaml *y) {
    yaml_document_delete(&y->doc);
}

/* ---- nodes ---- */

const yaml_node_t *hy__yaml_node(const hy__yaml *y, int index) {
    return y->doc.nodes.start + index - 1;
}

const yaml_node_t *hy__yaml_root(const hy__yaml *y) {
    return y->doc.nodes.top > y->doc.nodes.start ? y->doc.nodes.start : NULL;
}

int64_t hy__yaml_line(const yaml_node_t *n) {
    return (int64_t)n->start_mark.line + 1;
}

hy_status hy__yaml_fail_in(const hy__yaml *y, const yaml_node_t *n, hy_status status) {
    if (y->stage) (void)hy__fail_in(y->err, status, "stage '%s'", y->stage);
    return hy__fail_in(y->err, status, "%s:%" PRId64, y->name, hy__yaml_line(n));
}

hy_status hy__yaml_fail(const hy__yaml *y, const yaml_node_t *n, const char *format, ...) {
    char text[640];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return hy__yaml_fail_in(y, n, hy__fail(y->err, HY_E_INVALID, "%s", text));
}

static const char *scalar(const yaml_node_t *n) {
    return (const char *)n->data.scalar.value;
}

/* "what is no … but …" */
static hy_status fail_kind(const hy__yaml *y, const yaml_node_t *n, const char *what,
                           const char *wanted) {
    if (n->type == YAML_SEQUENCE_NODE)
        return hy__yaml_fail(y, n, "%s is no %s but a list", what, wanted);
    if (n->type == YAML_MAPPING_NODE)
        return hy__yaml_fail(y, n, "%s is no %s but a mapping", what, wanted);
    if (n->data.scalar.length != strlen(scalar(n)))
        return hy__yaml_fail(y, n, "%s is no %s but has a NUL byte", what, wanted);
    if (!*scalar(n)) return hy__yaml_fail(y, n, "%s is no %s but empty", what, wanted);
    return hy__yaml_fail(y, n, "%s is no %s but '%.64s'", what, wanted, scalar(n));
}

hy_status hy__yaml_text(const hy__yaml *y, const yaml_node_t *n, const char *what,
                        const char **text) {
    if (n->type != YAML_SCALAR_NODE || n->data.scalar.length != strlen(scalar(n)))
        return fail_kind(y, n, what, "plain value");
    *text = scalar(n);
    return HY_OK;
}

hy_status hy__yaml_each_pair(const hy__yaml *y, const yaml_node_t *n, const char *what,
                             hy__yaml_pair fn, void *user) {
    if (n->type != YAML_MAPPING_NODE) return fail_kind(y, n, what, "mapping of keys to values");
    const yaml_node_pair_t *first = n->data.mapping.pairs.start, *end = n->data.mapping.pairs.top;
    for (const yaml_node_pair_t *p = first; p < end; p++) {
        const yaml_node_t *at = hy__yaml_node(y, p->key);
        const char *key = NULL;
        HY_TRY(hy__yaml_text(y, at, "a key", &key));
        for (const yaml_node_pair_t *q = first; q < p; q++)
            if (strcmp(scalar(hy__yaml_node(y, q->key)), key) == 0)
                return hy__yaml_fail(y, at, "%.64s stands twice in %s", key, what);
        HY_TRY(fn(user, key, at, hy__yaml_node(y, p->value)));
    }
    return HY_OK;
}
