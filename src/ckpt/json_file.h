/* json_file.h: JSON that other programs wrote, read strictly: UTF-8, no duplicate keys, no deeper
 * than asked for, nothing after the value. */
#ifndef HY_CKPT_JSON_FILE_H
#define HY_CKPT_JSON_FILE_H

#include "ckpt/fileset.h"

#include <jansson.h>

/* Parses `size` bytes; `name` is what messages call them. The numbers that Python writes and JSON
 * does not have (Infinity, -Infinity, NaN) become strings when `python` is set and are errors
 * otherwise. HY_E_INVALID, HY_E_MEMORY. */
hy_status hy__json_parse(json_t **out, const char *text, size_t size, int max_depth, bool python,
                         const char *name, hy_error *err);

/* The same of a file of a model directory, which must be an object; HY_E_IO when it is missing. */
hy_status hy__json_read(json_t **out, const char *dir, const char *name, hy_error *err);

/* Writes an indented object as a file of the set, with a newline at the end. */
hy_status hy__json_put(hy__fileset *set, const char *name, const json_t *json, hy_error *err);

#endif
