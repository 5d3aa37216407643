/* rotate.c: which checkpoint a run goes on from, and which older ones it keeps.
 *
 * out is the newest; out/checkpoints/step-N are those before it (ckpt/kept.h). An older one goes
 * only after the new one is on the disk as a whole. */
#include "train/trainer.h"

#include "base/file.h"
#include "ckpt/checksums.h"
#include "ckpt/kept.h"

#include <stdarg.h>
#include <stdlib.h>

void hy__training_warn(const hy__trainer *tr, const char *format, ...) {
    char text[2 * sizeof(hy_error)];
    va_list args;
    if (!tr->opt->on_warning) return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    tr->opt->on_warning(tr->opt->user, text);
}

const char *hy__training_from(const hy__trainer *tr) {
    return tr->from ? tr->from : tr->opt->out;
}

/* ---- going on ---- */

/* The newest of the older ones that is whole; *from stays NULL when none is. */
static hy_status find_older(char **from, const char *out, const hy__kept *list, hy_error *err) {
    *from = NULL;
    for (int64_t i = 0; i < list->n; i++) {
        char name[HY__KEPT_NAME];
        hy_error why;
        hy__kept_name(name, list->step[i]);
        char *path = hy__path_join(out, name);
        if (!path) return hy__no_memory(err, "reading %s", out);
        if (hy__checksums_check(path, &why) == HY_OK) {
            *from = path;
            return HY_OK;
        }
        free(path);
    }
    return HY_OK;
}

static hy_status fall_back(hy__trainer *tr, const char *why, hy_error *err) {
    const char *out = tr->opt->out;
    hy__kept list;
    HY_TRY(hy__kept_list(&list, out, err));
    const int64_t n = list.n;
    const hy_status status = find_older(&tr->from, out, &list, err);
    hy__kept_release(&list);
    HY_TRY(status);
    if (!tr->from)
        return hy__fail(
            err, HY_E_INVALID, "the training in %.200s cannot be resumed: %.400s; %s", out, why,
            n > 0 ? "the older checkpoints are damaged, too" : "there is no older checkpoint");
    hy__training_warn(tr, "the newest checkpoint is damaged: %s; going on from %s", why, tr->from);
    return HY_OK;
}

hy_status hy__training_choose(hy__trainer *tr, hy_error *err) {
    hy_error why;
    const hy_status status = hy__checksums_check(tr->opt->out, &why);
    if (status == HY_E_MEMORY) return hy__fail(err, status, "%s", why.text);
    tr->out_is_whole = status == HY_OK;
    return tr->out_is_whole ? HY_OK : fall_back(tr, why.text, err);
}

/* ---- replacing ---- */

hy_status hy__training_replace(hy__trainer *tr, hy__fileset *set, hy_error *err) {
    char name[HY__KEPT_NAME];
    hy_error why;
    hy_status status = hy__checksums_put(set, err);
    if (status == HY_OK && tr->t.keep > 1 && tr->out_is_whole) {
        hy__kept_name(name, tr->whole_step);
        status = hy__fileset_keep(set, name, err);
    }
    if (status == HY_OK) status = hy__metrics_put(tr, set, err);
    if (status != HY_OK) {
        hy__fileset_discard(set);
        return status;
    }
    HY_TRY(hy__fileset_commit(set, err));
    HY_TRY(hy__metrics_settle(tr, err));
    if (hy__kept_prune(tr->opt->out, tr->whole_step, tr->t.keep - 1, &why) != HY_OK)
        hy__training_warn(tr, "an old checkpoint stays: %s", why.text);
    free(tr->from);
    tr->from = NULL;
    tr->whole_step = tr->at.step;
    tr->out_is_whole = true;
    return HY_OK;
}
