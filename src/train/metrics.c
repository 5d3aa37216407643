/* metrics.c: DIR/metrics.jsonl: one JSON object per step, readable while the training runs. */
#include "train/trainer.h"

#include "base/file.h"
#include "train/events.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static hy_status cannot_write(const hy__trainer *tr, hy_error *err) {
    return hy__fail(err, HY_E_IO, "%s/metrics.jsonl could not be written: %s", tr->opt->out,
                    strerror(errno));
}

static hy_status open_locked(hy__trainer *tr, hy_error *err) {
    char *path = hy__path_join(tr->opt->out, "metrics.jsonl");
    if (!path) return hy__no_memory(err, "a path");
    tr->metrics = fopen(path, "ab");
    free(path);
    if (!tr->metrics) return cannot_write(tr, err);
    const bool taken = flock(fileno(tr->metrics), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    struct stat st;
    /* the file of one that ended meanwhile without a line is gone: a lock on it locks nothing */
    if (!taken && fstat(fileno(tr->metrics), &st) == 0 && st.st_nlink > 0) return HY_OK;
    fclose(tr->metrics);
    tr->metrics = NULL;
    return hy__fail(err, HY_E_IO, "another training is writing to %s", tr->opt->out);
}

hy_status hy__metrics_open(hy__trainer *tr, hy_error *err) {
    HY_TRY(hy__dir_make(tr->opt->out, &tr->had_out, err));
    const hy_status status = open_locked(tr, err);
    if (status != HY_OK) hy__dir_unmake(tr->opt->out, tr->had_out);
    return status;
}

void hy__metrics_close(hy__trainer *tr) {
    hy__events_close(tr->events);
    if (!tr->metrics) return;
    char *path = hy__path_join(tr->opt->out, "metrics.jsonl");
    const bool empty = lseek(fileno(tr->metrics), 0, SEEK_END) == 0;
    if (path && empty && unlink(path) == 0) hy__dir_unmake(tr->opt->out, tr->had_out);
    free(path);
    fclose(tr->metrics); /* the lock goes last */
}

hy_status hy__metrics_begin(hy__trainer *tr, hy_error *err) {
    const int fd = fileno(tr->metrics);
    const off_t size = lseek(fd, 0, SEEK_END);
    if (size < 0 || (size > tr->metrics_size && ftruncate(fd, (off_t)tr->metrics_size) != 0))
        return cannot_write(tr, err);
    if (size < tr->metrics_size) tr->metrics_size = size; /* somebody took lines away */
    return HY_OK;
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
        const hy_status status = hy__events_open(&tr->events, dir, step == 1, err);
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
