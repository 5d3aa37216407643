/* agenda.h: what a curriculum costs, stage by stage, before it begins: `hydralm train --dry-run`.
 *
 * A stage computes what the pattern without the letters that are off would, and holds the weights
 * of all of them. Figures are those of hydralm plan. */
#ifndef HY_ACCOUNT_AGENDA_H
#define HY_ACCOUNT_AGENDA_H

#include "account/account.h"
#include "config/recipe.h"
#include "page/text.h"

typedef struct hy__agenda_row {
    int64_t param;     /* elements of the model */
    int64_t active;    /* that one token uses, of the letters that are on */
    int64_t trained;   /* that learn */
    double flops;      /* of the whole stage, as are */
    double seconds;    /* at least, on the hardware; 0 = none was named */
    hy__memory memory; /* bytes; where F becomes E, of both models */
    double grown;      /* of it: states of long documents beyond those of the shortest */
} hy__agenda_row;

typedef struct hy__agenda {
    const hy__recipe *recipe; /* borrowed */
    hy__hardware hardware;    /* name "" = none */
    hy__agenda_row *row;      /* [recipe->n] owned */
    int64_t steps, tokens;
    double flops, seconds, memory; /* sums; of memory the most */
} hy__agenda;

/* hardware: NULL = none, then no times. HY_E_INVALID with file, line and stage when a stage cannot
 * be computed; HY_E_MEMORY. */
hy_status hy__agenda_init(hy__agenda *a, const hy__recipe *r, const hy__hardware *hardware,
                          hy_error *err);
void hy__agenda_release(hy__agenda *a);

/* HY_E_MEMORY, with file, line and stage, when a stage needs more than so many bytes, whatever the
 * documents: with the states of the shortest. */
hy_status hy__agenda_check_memory(const hy__agenda *a, double bytes, hy_error *err);

void hy__agenda_text(hy__text *t, const hy__agenda *a);
struct json_t; /* jansson's */
/* NULL when memory is short; docs/format.md lists its keys. */
struct json_t *hy__agenda_json(const hy__agenda *a);

#endif
