/* place.h: the folder that a build writes, which becomes whole in one moment.
 *
 * Everything is written into DIR.building, beside it and locked; the index comes last, then one
 * rename, which exchanges the two where DIR is replaced. What a killed build left there has no
 * effect, and the next build of DIR clears it. */
#ifndef HY_DATA_PLACE_H
#define HY_DATA_PLACE_H

#include "base/file.h"

typedef struct hy__place {
    char *dir, *building;
    size_t had;  /* as hy__dir_make has it */
    int lock;    /* descriptor of `building` */
    bool exists; /* dir is there and is replaced */
} hy__place;

/* HY_E_INVALID where dir already holds built data, unless `force`, or anything else; HY_E_IO where
 * another build writes to it. Exactly one of commit and discard ends an open place. */
hy_status hy__place_open(hy__place *p, const char *dir, bool force, hy_error *err);
hy_status hy__place_commit(hy__place *p, hy_error *err);
void hy__place_discard(hy__place *p);

#endif
