/* yaml.h: a YAML file as libyaml's tree, whose nodes know their lines; for the files of this folder
 * only, which read configurations and recipes from it.
 *
 * Sentences say file and line. An alias is the node that it stands for, so that a list may hold
 * itself: whoever reads goes to a fixed depth. */
#ifndef HY_CONFIG_YAML_H
#define HY_CONFIG_YAML_H

#include "base/status.h"

#include <yaml.h>

enum { HY__YAML_MAX = 1 << 20 /* bytes of a file */ };

typedef struct hy__yaml {
    yaml_document_t doc;
    const char *name;  /* of the file */
    const char *stage; /* of a recipe, that sentences name too; NULL = none */
    hy_error *err;
} hy__yaml;

/* The one document of a text; `name` must live as long. HY_E_INVALID when it is no YAML or holds a
 * second document. */
hy_status hy__yaml_load(hy__yaml *y, const char *text, size_t size, const char *name,
                        hy_error *err);
void hy__yaml_release(hy__yaml *y);

/* NULL for an empty file. */
const yaml_node_t *hy__yaml_root(const hy__yaml *y);
const yaml_node_t *hy__yaml_node(const hy__yaml *y, int index);
int64_t hy__yaml_line(const yaml_node_t *n);

/* HY_E_INVALID with the sentence, of the node's line. */
hy_status hy__yaml_fail(const hy__yaml *y, const yaml_node_t *n, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Puts file, line and stage before the sentence that y->err holds; returns status. */
hy_status hy__yaml_fail_in(const hy__yaml *y, const yaml_node_t *n, hy_status status);

/* The node as a text without NUL bytes. */
hy_status hy__yaml_text(const hy__yaml *y, const yaml_node_t *n, const char *what,
                        const char **text);

/* Calls fn for each pair of a mapping, whose keys are texts and all different. */
typedef hy_status (*hy__yaml_pair)(void *user, const char *key, const yaml_node_t *at,
                                   const yaml_node_t *value);
hy_status hy__yaml_each_pair(const hy__yaml *y, const yaml_node_t *n, const char *what,
                             hy__yaml_pair fn, void *user);

#endif
