/* score.c: what a model answers to a task; see lab.h. */
#include "data/task.h"
#include "lab/lab.h"
#include "model/model.h"

#include <stdlib.h>
#include <string.h>

enum {
    DOCUMENTS = 1024,   /* of a test, at most … */
    DOCUMENTS_FEW = 64, /* … at least, and between them about … */
    ROWS = 1 << 18,     /* … so many tokens */
    BATCH_ROWS = 4096,  /* of one forward, where a document is not longer */
};

/* Documents of one forward. */
typedef struct sheet {
    hy__task task;
    int64_t n_seq, n_row, room; /* documents, their rows; rows that there is room for */
    hy__seq *seq;
    int32_t *token, *target;
} sheet;

static hy_status sheet_init(sheet *s, const char *entry, hy_error *err) {
    *s = (sheet){0};
    HY_TRY(hy__task_parse(&s->task, entry, err));
    s->room = s->task.len > BATCH_ROWS ? s->task.len : BATCH_ROWS;
    s->seq = calloc((size_t)(s->room / s->task.len), sizeof *s->seq);
    s->token = calloc((size_t)s->room, sizeof *s->token);
    s->target = calloc((size_t)s->room, sizeof *s->target);
    if (s->seq && s->token && s->target) return HY_OK;
    return hy__fail(err, HY_E_MEMORY, "there is not enough memory for a test");
}

static void sheet_release(sheet *s) {
    free(s->seq);
    free(s->token);
    free(s->target);
}

/* Fills it from document `first` on, up to `end`; returns the next. */
static int64_t sheet_write(sheet *s, int64_t first, int64_t end) {
    static const uint64_t TEST = 0x7465737473; /* a key of its own: "tests" */
    s->n_seq = s->n_row = 0;
    for (; first < end && s->n_row + s->task.len <= s->room; first++) {
        const int64_t len =
            hy__task_write(&s->task, TEST, first, s->token + s->n_row, s->target + s->n_row);
        s->seq[s->n_seq++] = (hy__seq){.start = s->n_row, .len = len};
        s->n_row += len;
    }
    return first;
}

/* The mean over the layers of P of a number that they say; NaN without one. */
static double said(const hy__model *m, const char *name) {
    double sum = 0.0;
    int n = 0;
    for (int64_t i = 0; i < m->cfg.n_layer; i++) {
        const hy__layer *l = &m->layer[i];
        for (int id = 0; l->component->letter == 'P' && id < l->decl.n_say; id++) {
            if (strcmp(l->decl.say[id].name, name) != 0) continue;
            sum += l->said[l->decl.say[id].at];
            n++;
        }
    }
    return n > 0 ? sum / n : (double)NAN;
}

static hy_status answer(hy__model *m, hy__work *work, sheet *s, hy__answer *a, hy_error *err) {
    const int64_t some = ROWS / s->task.len;
    const int64_t n = some > DOCUMENTS ? DOCUMENTS : some < DOCUMENTS_FEW ? DOCUMENTS_FEW : some;
    int64_t hits = 0;
    *a = (hy__answer){0};
    for (int64_t first = 0; first < n;) {
        double sum;
        int64_t counted;
        first = sheet_write(s, first, n);
        const hy__batch batch = {.rows = {.n_row = s->n_row, .n_seq = s->n_seq, .seq = s->seq},
                                 .token = s->token};
        HY_TRY(hy__forward(work, &batch, err));
        HY_TRY(hy__loss(work, s->target, 0.0, NULL, &sum, &counted, err));
        a->loss += sum;
        a->asked += counted;
        hits += hy__loss_hits(work);
    }
    hy__model_report(m);
    a->accuracy = (double)hits / (double)a->asked;
    a->loss /= (double)a->asked;
    a->beta = said(m, "beta");
    a->slots = said(m, "slots") / (double)(m->cfg.pkm.n_key * m->cfg.pkm.n_key);
    hy__model_clear_stats(m);
    return HY_OK;
}

hy_status hy__score(hy__model *m, const char *task, hy__answer *a, hy_error *err) {
    hy__work *work = NULL;
    sheet s;
    hy_status status;
    HY_TRY_GOTO(sheet_init(&s, task, err));
    HY_TRY_GOTO(hy__work_new(&work, m, (hy__work_options){.training = true}, err));
    HY_TRY_GOTO(answer(m, work, &s, a, err));
done:
    hy__work_free(work);
    sheet_release(&s);
    return status;
}
