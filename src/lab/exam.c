/* exam.c: what a model answers to a task, and what it makes of held-out text; see lab.h. */
#include "data/loader.h"
#include "data/mixture.h"
#include "lab/lab.h"
#include "lab/ring.h"
#include "model/model.h"

#include <stdlib.h>
#include <string.h>

enum {
    DOCUMENTS = 1024,   /* of a test, at most … */
    DOCUMENTS_FEW = 64, /* … at least, and between them about … */
    ROWS = 1 << 18,     /* … so many tokens; of text as many, or … */
    TIMES = 4,          /* … so many times what an evaluation in training reads */
    BATCH_ROWS = 4096,  /* of one forward, where a document is not longer */
};

struct hy__exam {
    hy__model *model; /* borrowed */
    hy__work *work;
    const char *const *data; /* [n_data] what it was trained on */
    int64_t n_data;
    double val_fraction;
    int64_t seq_len;
    int64_t rows;       /* of a text */
    hy__tokenizer *tok; /* with the mixture: opened when text is asked about */
    hy__mixture mixture;
    hy__seq *seq; /* [max_seq] */
    int64_t max_seq;
    float *beta; /* [max_row] */
    int64_t max_row;
};

static hy_status no_memory(hy_error *err) {
    return hy__fail(err, HY_E_MEMORY, "there is not enough memory for a test");
}

hy_status hy__exam_new(hy__exam **out, hy__model *m, const hy__lab_scale *s,
                       const hy__train_config *t, hy_error *err) {
    hy__exam *e = *out = calloc(1, sizeof *e);
    if (!e) return no_memory(err);
    *e = (hy__exam){
        .model = m, .data = s->data, .val_fraction = t->val_fraction, .seq_len = t->seq_len};
    while (s->data[e->n_data]) e->n_data++;
    e->rows = t->val_tokens > 0 && t->val_tokens < ROWS / TIMES ? TIMES * t->val_tokens : ROWS;
    return hy__work_new(&e->work, m, (hy__work_options){.training = true}, err);
}

void hy__exam_free(hy__exam *e) {
    if (!e) return;
    hy__work_free(e->work);
    hy__mixture_release(&e->mixture);
    hy__tokenizer_free(e->tok);
    free(e->seq);
    free(e->beta);
    free(e);
}

static hy_status reserve(hy__exam *e, int64_t n_seq, hy_error *err) {
    if (n_seq <= e->max_seq) return HY_OK;
    free(e->seq);
    e->max_seq = 0;
    e->seq = calloc((size_t)n_seq, sizeof *e->seq);
    if (!e->seq) return no_memory(err);
    e->max_seq = n_seq;
    return HY_OK;
}

/* ---- what is summed up ---- */

typedef struct tally {
    double nats, beta; /* β: of all layers of P together */
    int64_t asked, hits;
} tally;

/* Adds what the rows that are asked opened P by. */
static hy_status add_beta(hy__exam *e, int64_t n_row, const int32_t *target, tally *sum,
                          hy_error *err) {
    if (n_row > e->max_row) {
        free(e->beta);
        e->max_row = 0;
        e->beta = calloc((size_t)n_row, sizeof *e->beta);
        if (!e->beta) return no_memory(err);
        e->max_row = n_row;
    }
    for (int64_t i = 0; i < e->model->cfg.n_layer; i++) {
        if (e->model->layer[i].component->letter != 'P') continue;
        HY_TRY(hy__get_beta(e->work, i, e->beta, err));
        for (int64_t r = 0; r < n_row; r++)
            if (target[r] >= 0) sum->beta += (double)e->beta[r];
    }
    return HY_OK;
}

/* One forward over e->seq. */
static hy_status ask(hy__exam *e, int64_t n_seq, int64_t n_row, const int32_t *token,
                     const int32_t *target, tally *sum, hy_error *err) {
    const hy__batch batch = {.rows = {.n_row = n_row, .n_seq = n_seq, .seq = e->seq},
                             .token = token};
    double nats;
    int64_t counted;
    HY_TRY(hy__forward(e->work, &batch, err));
    HY_TRY(hy__loss(e->work, target, 0.0, NULL, &nats, &counted, err));
    sum->nats += nats;
    sum->asked += counted;
    sum->hits += hy__loss_hits(e->work);
    return add_beta(e, n_row, target, sum, err);
}

/* The mean over a letter's layers of a number that they say; NaN without one. */
static double said(const hy__model *m, char letter, const char *name) {
    double sum = 0.0;
    int n = 0;
    for (int64_t i = 0; i < m->cfg.n_layer; i++) {
        const hy__layer *l = &m->layer[i];
        for (int id = 0; l->component->letter == letter && id < l->decl.n_say; id++) {
            if (strcmp(l->decl.say[id].name, name) != 0) continue;
            sum += l->said[l->decl.say[id].at];
            n++;
        }
    }
    return n > 0 ? sum / n : (double)NAN;
}

static int64_t layers_of(const hy__model *m, char letter) {
    int64_t n = 0;
    for (int64_t i = 0; i < m->cfg.n_layer; i++) n += m->layer[i].component->letter == letter;
    return n;
}

static void conclude(hy__model *m, const tally *sum, bool task, hy__answer *a) {
    hy__model_report(m);
    a->asked = sum->asked;
    for (int i = 0; i < HY__METRICS; i++) a->value[i] = (double)NAN;
    a->value[HY__ACCURACY] = (double)sum->hits / (double)sum->asked;
    a->value[HY__LOSS] = sum->nats / (double)sum->asked;
    if (!task) a->value[HY__BITS] = a->value[HY__LOSS] / M_LN2; /* a token is a byte */
    a->value[HY__BETA] = sum->beta / (double)(sum->asked * layers_of(m, 'P')); /* 0/0 without P */
    a->value[HY__SLOTS] = said(m, 'P', "slots") / (double)(m->cfg.pkm.n_key * m->cfg.pkm.n_key);
    hy__model_clear_stats(m);
}

/* ---- a task ---- */

/* Documents of one forward. */
typedef struct sheet {
    hy__task task;
    int64_t room; /* rows that there is room for */
    int32_t *token, *target;
} sheet;

static hy_status sheet_init(sheet *s, const char *entry, hy_error *err) {
    *s = (sheet){0};
    HY_TRY(hy__task_parse(&s->task, entry, err));
    s->room = s->task.len > BATCH_ROWS ? s->task.len : BATCH_ROWS;
    s->token = calloc((size_t)s->room, sizeof *s->token);
    s->target = calloc((size_t)s->room, sizeof *s->target);
    return s->token && s->target ? HY_OK : no_memory(err);
}

static hy_status ask_sheets(hy__exam *e, const sheet *s, tally *sum, hy_error *err) {
    static const uint64_t TEST = 0x7465737473; /* a key of its own: "tests" */
    const int64_t some = ROWS / s->task.len;
    const int64_t n = some > DOCUMENTS ? DOCUMENTS : some < DOCUMENTS_FEW ? DOCUMENTS_FEW : some;
    const int64_t most = s->room / s->task.len;
    HY_TRY(reserve(e, most, err));
    for (int64_t next = 0; next < n;) {
        int64_t n_seq = 0, n_row = 0;
        for (; next < n && n_seq < most; next++) {
            const int64_t len =
                hy__task_write(&s->task, TEST, next, s->token + n_row, s->target + n_row);
            e->seq[n_seq++] = (hy__seq){.start = n_row, .len = len};
            n_row += len;
        }
        HY_TRY(ask(e, n_seq, n_row, s->token, s->target, sum, err));
    }
    return HY_OK;
}

static hy_status ask_task(hy__exam *e, const char *entry, tally *sum, hy_error *err) {
    sheet s;
    hy_status status = sheet_init(&s, entry, err);
    if (status == HY_OK) status = ask_sheets(e, &s, sum, err);
    free(s.token);
    free(s.target);
    return status;
}

/* ---- text ---- */

static hy_status open_mixture(hy__exam *e, hy_error *err) {
    if (e->tok) return HY_OK;
    HY_TRY(hy__tokenizer_open(&e->tok, NULL, err));
    return hy__mixture_open(&e->mixture,
                            &(hy__build_options){.path = e->data,
                                                 .n_path = e->n_data,
                                                 .tokenizer = e->tok,
                                                 .val_fraction = e->val_fraction,
                                                 .threads = 1,
                                                 .unverified = true},
                            err);
}

static hy_status ask_windows(hy__exam *e, hy__loader *l, tally *sum, hy_error *err) {
    HY_TRY(reserve(e, hy__loader_max_pieces(l), err));
    for (int64_t i = 0, read = 0; read < e->rows; i++) {
        const hy__loader_batch *b;
        HY_TRY(hy__loader_get(l, i, &b, err));
        for (int64_t p = 0; p < b->n_piece; p++)
            e->seq[p] = (hy__seq){
                .start = b->piece[p].start, .len = b->piece[p].len, .domain = b->piece[p].domain};
        HY_TRY(ask(e, b->n_piece, b->n_row, b->token, b->target, sum, err));
        read += b->n_row;
    }
    return HY_OK;
}

/* Windows from random places, the same for every arm: of one corpus, or of all alike. */
static hy_status ask_text(hy__exam *e, const char *name, tally *sum, hy_error *err) {
    const bool all = strcmp(name, "*") == 0;
    hy__loader *l = NULL;
    double weight[HY__LAB_DATA];
    HY_TRY(open_mixture(e, err));
    const int64_t at = all ? 0 : hy__mixture_find(&e->mixture, name);
    if (at < 0) return hy__mixture_unknown(&e->mixture, name, err);
    for (int i = 0; i < HY__LAB_DATA; i++) weight[i] = 1.0;
    const int64_t rows = e->seq_len < BATCH_ROWS ? BATCH_ROWS / e->seq_len : 1;
    hy_status status = hy__loader_new(&l,
                                      &(hy__loader_options){.corpus = &e->mixture.corpus[at],
                                                            .weight = weight,
                                                            .n_corpus = all ? e->mixture.n : 1,
                                                            .part = HY__PART_VAL,
                                                            .batch = rows,
                                                            .seq_len = e->seq_len,
                                                            .chunk = e->model->cfg.model.chunk,
                                                            .seed = 1},
                                      err);
    if (status == HY_OK) status = ask_windows(e, l, sum, err);
    hy__loader_free(l);
    return status;
}

static hy_status ask_ring(hy__exam *e, const char *data, hy__answer *a, hy_error *err) {
    hy__ring r;
    tally sum = {0};
    HY_TRY(hy__ring_parse(&r, data, err));
    HY_TRY(open_mixture(e, err));
    HY_TRY(hy__ring_ask(&r, e->model, &e->mixture, &sum.nats, &sum.hits, err));
    sum.asked = r.size;
    conclude(e->model, &sum, false, a);
    return HY_OK;
}

hy_status hy__exam_ask(hy__exam *e, const char *data, hy__answer *a, hy_error *err) {
    if (hy__ring_is(data)) return ask_ring(e, data, a, err);
    tally sum = {0};
    HY_TRY(hy__task_is(data) ? ask_task(e, data, &sum, err) : ask_text(e, data, &sum, err));
    conclude(e->model, &sum, hy__task_is(data), a);
    return HY_OK;
}
