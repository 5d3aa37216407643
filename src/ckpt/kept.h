/* kept.h: the checkpoints that a training keeps behind the newest.
 *
 * The newest is DIR itself. The one that it replaced is DIR/checkpoints/step-N, a model directory
 * like any other, made by the commit that replaced it (hy__fileset_keep). */
#ifndef HY_CKPT_KEPT_H
#define HY_CKPT_KEPT_H

#include "base/status.h"

#include <stdint.h>

enum { HY__KEPT_NAME = 48 };

/* "checkpoints/step-N": the folder within DIR. */
void hy__kept_name(char name[HY__KEPT_NAME], int64_t step);

typedef struct hy__kept {
    int64_t *step; /* [n], falling */
    int64_t n;
} hy__kept;

/* Those of DIR; none when it has no such folder. */
hy_status hy__kept_list(hy__kept *list, const char *dir, hy_error *err);
void hy__kept_release(hy__kept *list);

/* Removes those of later steps than `newest` (a line that was given up), and all but the `n` last
 * of the others. */
hy_status hy__kept_prune(const char *dir, int64_t newest, int64_t n, hy_error *err);

#endif
