/* config_table.h: the field table, for the files of this folder only.
 *
 * One row per field. A value is always set from text (hy__field_set), whether it came from YAML,
 * JSON or a flag, so that there is one check and one sentence for each mistake. */
#ifndef HY_CONFIG_CONFIG_TABLE_H
#define HY_CONFIG_CONFIG_TABLE_H

#include "config/config.h"

#include <stdio.h>

typedef enum hy__field_type {
    HY__FIELD_INT = 0,    /* int64_t */
    HY__FIELD_NUMBER = 1, /* double */
    HY__FIELD_BOOL = 2,
    HY__FIELD_CHOICE = 3, /* an enum; `choice` lists the words from value 0 on */
    HY__FIELD_TEXT = 4,   /* char[max] */
} hy__field_type;

typedef struct hy__field {
    const char *section, *name;
    hy__field_type type;
    bool train;      /* in hy__train_config, not in hy__config */
    bool staged;     /* a stage may set it: no parameter that stays hangs on it */
    bool loose;      /* may change between two starts of one training */
    size_t offset;   /* in its struct */
    double min, max; /* both allowed */
    double start;    /* default; of a choice its index */
    int64_t (*derive)(const hy__config *c); /* INT: what a 0 stands for, from rows above; or NULL */
    const char *const *choice;
    const char *unit; /* "" = a plain number */
    const char *doc;
} hy__field;

/* Rows of one section stand together. */
extern const hy__field hy__fields[];
extern const size_t hy__n_field;

/* The row, or NULL. `section` need not end after `section_size` characters. */
const hy__field *hy__field_find(const char *section, size_t section_size, const char *name);

/* The table's name of a section, or NULL. */
const char *hy__section_find(const char *name);

/* Parses text into the field; the sentence starts with "section.name". */
hy_status hy__field_set(const hy__field *f, hy__config *c, hy__train_config *t, const char *text,
                        hy_error *err);

/* What the field accepts: "a whole number from 16 to 256". */
void hy__field_describe(const hy__field *f, char *out, size_t size);

/* Writes the value as text that hy__field_set reads back to the same bits. */
void hy__field_print(const hy__field *f, const hy__config *c, const hy__train_config *t, FILE *out);

int64_t hy__field_int(const hy__field *f, const hy__config *c, const hy__train_config *t);
double hy__field_number(const hy__field *f, const hy__config *c, const hy__train_config *t);
bool hy__field_bool(const hy__field *f, const hy__config *c, const hy__train_config *t);
/* The text of a CHOICE or TEXT field. */
const char *hy__field_text(const hy__field *f, const hy__config *c, const hy__train_config *t);

/* Whether the pattern uses the section (model and train always). */
bool hy__section_used(const hy__config *c, const char *section);

/* Fails with the sentence "there is no …", which lists what there is. */
hy_status hy__field_unknown(const char *section, const char *name, hy_error *err);

/* Of lines by row of the table, that of the field which the sentence begins with; 0 = none. */
int64_t hy__field_blamed(const int64_t *line, const hy_error *err);

#endif
