/* recipe_table.h: a stage as it is written, before it becomes parts; for recipe.c, which checks,
 * and recipe_yaml.c, which reads. */
#ifndef HY_CONFIG_RECIPE_TABLE_H
#define HY_CONFIG_RECIPE_TABLE_H

#include "config/recipe.h"

/* Lines of a stage's keys, for messages; 0 = not written. */
typedef struct hy__stage_lines {
    int64_t tokens, on, ramp, rates, layers, until, seq_len, table, reseed, noise;
    int64_t field[HY__FIELD_MAX]; /* by row of the field table */
} hy__stage_lines;

typedef struct hy__written {
    hy__stage stage; /* name, line, configuration, rates, mixture, criterion */
    hy__stage_lines line;
    int64_t tokens, ramp_tokens, table_tokens;
    int64_t from; /* seq_len where it begins; 0 = it does not grow */
} hy__written;

/* Checks the written stage, what it has to do with those before it, and appends its parts. */
hy_status hy__recipe_add(hy__recipe *r, hy__written *w, hy_error *err);

#endif
