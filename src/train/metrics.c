/* metrics.c: DIR/metrics.jsonl: one JSON object per step, readable while the training runs. */
#include "train/trainer.h"

#include "base/file.h"
#include "ckpt/training_dir.h"
#include "train/events.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOG HY__TRAINING_LOG
#define NEW LOG ".new" /* of a run that replaces another, until its first checkpoint */

static hy_status cannot_write(const hy__trainer *tr, hy_error *err) {
    return hy__fail(err, HY_E_IO, "%s/%s could not be written: %s", tr->opt->out,
                    tr->replaced ? NEW : LOG, strerror(errno));
}

/* What a killed run had committed, which may be another log. */
static hy_status finish_commit(hy__trainer *tr, hy_error *err) {
    hy__fileset *set;
    HY_TRY(hy__fileset_open(&set, tr->opt->out, err));
    hy__fileset_discard(set);
    if (hy__training_log_is_there(tr->metrics)) return HY_OK;
    fclose(tr->metrics);
    return hy__training_lock(&tr->metrics, tr->opt->out, LOG, err);
}

hy_status hy__metrics_open(hy__trainer *tr, hy_error *err) {
    HY_TRY(hy__dir_make(tr->opt->out, &tr->had_out, err));
    hy_status status = hy__training_lock(&tr->metrics, tr->opt->out, LOG, err);
    if (status == HY_OK) status = finish_commit(tr, err);
    if (!tr->metrics) hy__dir_unmake(tr->opt->out, tr->had_out);
    return status;
}

hy_status hy__metrics_check(const hy__trainer *tr, hy_error *err) {
    char head[64];
    int end = 0;
    const ssize_t n = pread(fileno(tr->metrics), head, sizeof head - 1, 0);
    head[n > 0 ? n : 0] = 0;
    if (n == 0 || (n > 0 && sscanf(head, "{\"step\":%*d,\"tokens\":%n", &end) == 0 && end > 0))
        return HY_OK;
    return hy__fail(err, HY_E_INVALID,
                    "%s/" LOG " is not the log of a training; choose another directory, or force "
                    "its replacement",
                    tr->opt->out);
}

static void remove_log(const hy__trainer *tr, const char *name) {
    char *path = hy__path_join(tr->opt->out, name);
    if (path) unlink(path);
    free(path);
}

/* The lock goes last. */
static void close_log(const hy__trainer *tr, FILE *log, const char *name) {
    if (!log) return;
    if (hy__training_log_is_there(log) && lseek(fileno(log), 0, SEEK_END) == 0)
        remove_log(tr, name);
    fclose(log);
}

void hy__metrics_close(hy__trainer *tr) {
    hy__events_close(tr->events);
    if (!tr->metrics && !tr->replaced) return;
    close_log(tr, tr->metrics, tr->replaced ? NEW : LOG);
    close_log(tr, tr->replaced, LOG);
    hy__dir_unmake(tr->opt->out, tr->had_out);
}

/* Where the last whole line within the first n bytes ends, or −1. */
static int64_t end_of_lines(int fd, int64_t n) {
    char piece[4096];
    while (n > 0) {
        const size_t size = n < (int64_t)sizeof piece ? (size_t)n : sizeof piece;
        n -= (int64_t)size;
        if (pread(fd, piece, size, (off_t)n) != (ssize_t)size) return -1;
        for (size_t i = size; i > 0; i--)
            if (piece[i - 1] == '\n') return n + (int64_t)i;
    }
    return 0;
}

/* Cuts the log where a checkpoint left it. */
static hy_status cut(hy__trainer *tr, hy_error *err) {
    const int fd = fileno(tr->metrics);
    const int64_t size = lseek(fd, 0, SEEK_END), want = tr->metrics_size;
    tr->metrics_size = size < 0 ? -1 : end_of_lines(fd, size < want ? size : want);
    if (tr->metrics_size < 0 || ftruncate(fd, (off_t)tr->metrics_size) != 0)
        return cannot_write(tr, err);
    if (tr->metrics_size < want)
        hy__training_warn(tr,
                          "%s/" LOG " is not as the checkpoint left it: of %lld bytes whole lines "
                          "of %lld are left, and the run goes on behind them",
                          tr->opt->out, (long long)want, (long long)tr->metrics_size);
    return HY_OK;
}

hy_status hy__metrics_begin(hy__trainer *tr, hy_error *err) {
    remove_log(tr, NEW); /* of a run that was killed before it replaced this one */
    if (tr->replaces) {
        tr->replaced = tr->metrics;
        tr->metrics = NULL;
        HY_TRY(hy__training_lock(&tr->metrics, tr->opt->out, NEW, err));
    }
    return cut(tr, err);
}

hy_status hy__metrics_put(hy__trainer *tr, hy__fileset *set, hy_error *err) {
    return tr->replaced ? hy__fileset_take(set, LOG, NEW, err) : HY_OK;
}

hy_status hy__metrics_settle(hy__trainer *tr, hy_error *err) {
    tr->replaces = false;
    if (!tr->replaced) return HY_OK;
    fclose(tr->replaced);
    tr->replaced = NULL;
    return tr->events ? hy__events_settle(tr->events, err) : HY_OK;
}

hy_status hy__metrics_sync(hy__trainer *tr, hy_error *err) {
    return fdatasync(fileno(tr->metrics)) == 0 ? HY_OK : cannot_write(tr, err);
}

static json_t *number(double x) {
    return isfinite(x) ? json_real(x) : json_null();
}

/* Adds {"matrix": …, "S": …}: the parts of the gradient's norm, by group and by letter ("frame" for
 * what frames the layers). */
static bool add_norms(json_t *line, const hy__trainer *tr) {
    enum { GROUPS = HY__GROUP_ROUTER + 1 };
    const hy__model *m = tr->model;
    double of_group[GROUPS] = {0}, of_letter[128] = {0};
    bool has_group[GROUPS] = {false}, has_letter[128] = {false};
    json_t *norms = json_object();
    for (int64_t i = 0; i < m->n_param; i++) {
        const hy__param *p = &m->param[i];
        if (!hy__group_is_trained(p->decl.group)) continue;
        of_group[p->decl.group] += tr->optim->square[i];
        of_letter[(int)p->letter] += tr->optim->square[i];
        has_group[p->decl.group] = has_letter[(int)p->letter] = true;
    }
    for (int i = 0; i < GROUPS; i++)
        if (has_group[i])
            json_object_set_new(norms, hy__group_name((hy__group)i), number(sqrt(of_group[i])));
    for (int i = 0; i < 128; i++) {
        const char letter[2] = {(char)i, 0};
        if (has_letter[i])
            json_object_set_new(norms, i ? letter : "frame", number(sqrt(of_letter[i])));
    }
    return json_object_set_new(line, "grad_norms", norms) == 0;
}

/* Adds what became of steps that were not sound, once there were any. */
static void add_guard(json_t *line, const hy_train_progress *p) {
    if (p->unsound) json_object_set_new(line, "unsound", json_string(p->unsound));
    if (p->dropped > 0) json_object_set_new(line, "dropped", json_integer(p->dropped));
    if (p->rewound > 0) json_object_set_new(line, "rewound", json_integer(p->rewound));
}

static hy_status add_events(hy__trainer *tr, const json_t *line, int64_t step, hy_error *err) {
    if (!tr->base_t.tensorboard) return HY_OK;
    if (!tr->events) {
        char *dir = hy__path_join(tr->opt->out, "events");
        if (!dir) return hy__no_memory(err, "a path");
        const hy__events_way way = step != 1      ? HY__EVENTS_GO_ON
                                   : tr->replaced ? HY__EVENTS_REPLACE
                                                  : HY__EVENTS_BEGIN;
        const hy_status status = hy__events_open(&tr->events, dir, way, err);
        free(dir);
        HY_TRY(status);
    }
    return hy__events_add(tr->events, step, line, err);
}

static hy_status write_line(hy__trainer *tr, const json_t *line, hy_error *err) {
    char *text = json_dumps(line, JSON_COMPACT);
    if (!text) return hy__no_memory(err, "the metrics");
    const int written = fprintf(tr->metrics, "%s\n", text);
    free(text);
    if (written < 0 || fflush(tr->metrics) != 0) return cannot_write(tr, err);
    tr->metrics_size += written;
    return HY_OK;
}

hy_status hy__metrics_add(hy__trainer *tr, const hy_train_progress *p, bool detail, hy_error *err) {
    json_t *line =
        json_pack("{s:I, s:I, s:o, s:o, s:f, s:o, s:f, s:f, s:o*, s:o*, s:o*, s:s*, s:s*}", "step",
                  (json_int_t)p->step, "tokens", (json_int_t)p->tokens, "loss", number(p->loss),
                  "bits_per_byte", number(p->bits_per_byte), "lr", p->lr, "grad_norm",
                  number(p->grad_norm), "tokens_per_s", p->tokens_per_s, "seconds", p->seconds,
                  "val_loss", p->evaluated ? json_real(p->val_loss) : NULL, "val_bits_per_byte",
                  p->evaluated ? json_real(tr->val_bits) : NULL, "val_accuracy",
                  p->evaluated ? json_real(tr->val_accuracy) : NULL, "stage", p->stage, "stage_end",
                  p->stage_end);
    if (line) add_guard(line, p);
    const bool moved = isfinite(p->loss) && !p->unsound;
    const bool whole = line && (!moved || (add_norms(line, tr) && hy__said_add(tr, line, detail)));
    hy_status status = whole ? write_line(tr, line, err) : hy__no_memory(err, "the metrics");
    if (status == HY_OK) status = add_events(tr, line, p->step, err);
    json_decref(line);
    return status;
}
