/* exam.c: what a model answers to a task, and what it makes of held-out text; see lab.h. */
#include "lab/exam.h"

#include <stdlib.h>
#include <string.h>

enum {
    DOCUMENTS = 1024,    /* of a test, at most … */
    ROWS = 1 << 18,      /* … of about so many tokens; of text as many, or … */
    TIMES = 4,           /* … so many times what an evaluation in training reads */
    DOCUMENTS_FEW = 64,  /* of long documents, so long as they have no more than … */
    ROWS_MORE = 1 << 19, /* … so many tokens … */
    DOCUMENTS_LEAST = 16,
    BATCH_ROWS = 4096, /* of one forward, where a document is not longer */
};

hy_status hy__exam_new(hy__exam **out, hy__model *m, const hy__lab_scale *s,
                       const hy__train_config *t, hy_train_fn go_on, hy_error *err) {
    hy__exam *e = *out = calloc(1, sizeof *e);
    if (!e) return hy__no_memory(err, "a test");
    *e = (hy__exam){.model = m,
                    .scale = s,
                    .val_fraction = t->val_fraction,
                    .seq_len = t->seq_len,
                    .go_on = go_on};
    e->rows = t->val_tokens > 0 && t->val_tokens < ROWS / TIMES ? TIMES * t->val_tokens : ROWS;
    return hy__work_new(&e->work, m, (hy__work_options){.training = true}, err);
}

static hy_status open_mixture(hy__exam *e, hy_error *err) {
    if (e->mixture.n > 0) return HY_OK;
    return hy__entries_read(&e->mixture, e->scale, true, e->val_fraction, err);
}

static hy_status check_ring(hy__exam *e, const hy__ring *r, hy_error *err) {
    HY_TRY(open_mixture(e, err));
    return hy__ring_check(r, &e->mixture, err);
}

/* The corpora that a name stands for, "*" for all. */
static hy_status find_corpora(hy__exam *e, const char *name, int64_t *first, int64_t *n,
                              hy_error *err) {
    const bool all = strcmp(name, "*") == 0;
    HY_TRY(open_mixture(e, err));
    *first = all ? 0 : hy__mixture_find(&e->mixture, name);
    *n = all ? e->mixture.n : 1;
    return *first >= 0 ? HY_OK : hy__mixture_unknown(&e->mixture, name, err);
}

static hy_status check_held_out(hy__exam *e, const char *name, hy_error *err) {
    int64_t first, n;
    HY_TRY(find_corpora(e, name, &first, &n, err));
    for (int64_t i = first; i < first + n; i++)
        if (e->mixture.corpus[i]->n_document[HY__PART_VAL] == 0)
            return hy__fail(err, HY_E_INVALID,
                            "nothing of the text %.300s is held out to be asked about; wanted more "
                            "text, or a larger train.val_fraction",
                            e->mixture.name[i]);
    return HY_OK;
}

hy_status hy__exam_check(const hy__lab_scale *s, const hy__train_config *t, hy_error *err) {
    hy__exam e = {.scale = s, .val_fraction = t->val_fraction};
    hy_status status = HY_OK;
    for (int p = 0; s->probe[p].name && status == HY_OK; p++)
        if (s->probe[p].reading == HY__READ_RING)
            status = check_ring(&e, &s->probe[p].ring, err);
        else if (!hy__task_is(s->probe[p].data))
            status = check_held_out(&e, s->probe[p].data, err);
    hy__mixture_release(&e.mixture);
    return status;
}

void hy__exam_free(hy__exam *e) {
    if (!e) return;
    hy__work_free(e->work);
    hy__mixture_release(&e->mixture);
    free(e->seq);
    free(e->row);
    free(e->chosen);
    free(e);
}

void *hy__exam_room(void *now, int64_t *max, int64_t n, size_t size) {
    if (n <= *max) return now;
    free(now);
    now = calloc((size_t)n, size);
    *max = now ? n : 0;
    return now;
}

hy_status hy__exam_reserve(hy__exam *e, int64_t n_seq, hy_error *err) {
    e->seq = hy__exam_room(e->seq, &e->max_seq, n_seq, sizeof *e->seq);
    return e->seq ? HY_OK : hy__no_memory(err, "a test");
}

/* ---- what is summed up ---- */

/* Adds the losses that stand in e->row to the corpora of their sequences. */
static void add_domains(const hy__exam *e, const hy__rows *rows, const int32_t *target,
                        hy__tally *sum) {
    for (int64_t i = 0; i < rows->n_seq; i++) {
        const hy__seq *s = &rows->seq[i];
        const int64_t d = s->domain < HY__DOMAINS ? s->domain : HY__DOMAINS - 1;
        for (int64_t r = s->start; r < s->start + s->len; r++) {
            if (target[r] < 0) continue;
            sum->domain_nats[d] += (double)e->row[r];
            sum->domain_asked[d]++;
        }
    }
}

/* Adds what the rows that are asked opened P by. */
static hy_status add_beta(hy__exam *e, int64_t n_row, const int32_t *target, hy__tally *sum,
                          hy_error *err) {
    for (int64_t i = 0; i < e->model->cfg.n_layer; i++) {
        if (e->model->layer[i].component->letter != 'P') continue;
        HY_TRY(hy__get_beta(e->work, i, e->row, err));
        for (int64_t r = 0; r < n_row; r++)
            if (target[r] >= 0) sum->beta += (double)e->row[r];
    }
    return HY_OK;
}

hy_status hy__exam_add(hy__exam *e, const hy__batch *b, const int32_t *target, hy__tally *sum,
                       hy_error *err) {
    double nats;
    int64_t counted;
    HY_TRY(hy__lab_go_on(e->go_on, err));
    e->row = hy__exam_room(e->row, &e->max_row, b->rows.n_row, sizeof *e->row);
    if (!e->row) return hy__no_memory(err, "a test");
    HY_TRY(hy__forward(e->work, b, err));
    HY_TRY(hy__loss(e->work, target, 0.0, e->row, &nats, &counted, err));
    sum->nats += nats;
    sum->asked += counted;
    sum->hits += hy__loss_hits(e->work);
    add_domains(e, &b->rows, target, sum);
    HY_TRY(hy__exam_add_read(e, &b->rows, sum, err));
    return add_beta(e, b->rows.n_row, target, sum, err);
}

/* Documents and windows that each begin afresh: e->seq. */
static hy_status add_fresh(hy__exam *e, int64_t n_seq, int64_t n_row, const int32_t *token,
                           const int32_t *target, hy__tally *sum, hy_error *err) {
    const hy__batch batch = {.rows = {.n_row = n_row, .n_seq = n_seq, .seq = e->seq},
                             .token = token};
    return hy__exam_add(e, &batch, target, sum, err);
}

static int64_t layers_of(const hy__model *m, char letter) {
    int64_t n = 0;
    for (int64_t i = 0; i < m->cfg.n_layer; i++) n += m->layer[i].component->letter == letter;
    return n;
}

/* Puts what the layers say of what was read. */
static hy_status hear_layers(hy__exam *e, const hy__tally *sum, hy__answer *a, hy_error *err) {
    hy__model *m = e->model;
    hy__model_report(m);
    a->value[HY__BETA] = sum->beta / (double)(sum->asked * layers_of(m, 'P')); /* 0/0 without P */
    a->value[HY__SLOTS] =
        hy__model_said(m, 'P', "slots") / (double)(m->cfg.pkm.n_key * m->cfg.pkm.n_key);
    a->value[HY__EVENNESS] = exp(-hy__model_said(m, 'P', "kl"));
    return hy__exam_say_experts(e, sum, a, err);
}

/* Puts what the sums come to. Layers are not heard at rings, where nothing of them is summed up,
 * nor of a text that is cut, which is read many times. */
static hy_status conclude(hy__exam *e, const hy__probe *p, const hy__tally *sum, hy__answer *a,
                          hy_error *err) {
    a->asked = sum->asked;
    a->value[HY__ACCURACY] = (double)sum->hits / (double)sum->asked;
    a->value[HY__LOSS] = sum->nats / (double)sum->asked;
    if (!hy__task_is(p->data))
        a->value[HY__BITS] = a->value[HY__LOSS] / M_LN2; /* a token is a byte */
    if (p->reading != HY__READ_RING && p->reading != HY__READ_CUT)
        HY_TRY(hear_layers(e, sum, a, err));
    hy__model_clear_stats(e->model);
    return HY_OK;
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
    return s->token && s->target ? HY_OK : hy__no_memory(err, "a test");
}

static int64_t documents_of(int64_t len) {
    const int64_t some = ROWS / len, more = ROWS_MORE / len;
    if (some >= DOCUMENTS_FEW) return some < DOCUMENTS ? some : DOCUMENTS;
    if (more >= DOCUMENTS_FEW) return DOCUMENTS_FEW;
    return more > DOCUMENTS_LEAST ? more : DOCUMENTS_LEAST;
}

static hy_status ask_sheets(hy__exam *e, const sheet *s, hy__tally *sum, hy_error *err) {
    static const uint64_t TEST = 0x7465737473; /* a key of its own: "tests" */
    const int64_t n = documents_of(s->task.len), most = s->room / s->task.len;
    HY_TRY(hy__exam_reserve(e, most, err));
    for (int64_t next = 0; next < n;) {
        int64_t n_seq = 0, n_row = 0;
        for (; next < n && n_seq < most; next++) {
            const int64_t len =
                hy__task_write(&s->task, TEST, next, s->token + n_row, s->target + n_row);
            e->seq[n_seq++] = (hy__seq){.start = n_row, .len = len};
            n_row += len;
        }
        HY_TRY(add_fresh(e, n_seq, n_row, s->token, s->target, sum, err));
    }
    return HY_OK;
}

static hy_status ask_task(hy__exam *e, const char *entry, hy__tally *sum, hy_error *err) {
    sheet s;
    hy_status status = sheet_init(&s, entry, err);
    if (status == HY_OK) status = ask_sheets(e, &s, sum, err);
    free(s.token);
    free(s.target);
    return status;
}

/* ---- text ---- */

hy_status hy__exam_windows(hy__exam *e, const char *name, int64_t rows, hy__loader **l,
                           hy_error *err) {
    double weight[HY__LAB_DATA];
    int64_t first, n;
    HY_TRY(find_corpora(e, name, &first, &n, err));
    for (int i = 0; i < HY__LAB_DATA; i++) weight[i] = 1.0;
    if (rows == 0) rows = e->seq_len < BATCH_ROWS ? BATCH_ROWS / e->seq_len : 1;
    return hy__loader_new(l,
                          &(hy__loader_options){.corpus = &e->mixture.corpus[first],
                                                .weight = weight,
                                                .n_corpus = n,
                                                .part = HY__PART_VAL,
                                                .batch = rows,
                                                .seq_len = e->seq_len,
                                                .chunk = e->model->cfg.model.chunk,
                                                .seed = 1},
                          err);
}

static hy_status read_windows(hy__exam *e, hy__loader *l, int64_t rows, hy__tally *sum,
                              hy_error *err) {
    HY_TRY(hy__exam_reserve(e, hy__loader_max_pieces(l), err));
    for (int64_t i = 0, read = 0; read < rows; i++) {
        const hy__loader_batch *b;
        HY_TRY(hy__loader_get(l, i, &b, err));
        for (int64_t p = 0; p < b->n_piece; p++)
            e->seq[p] = (hy__seq){
                .start = b->piece[p].start, .len = b->piece[p].len, .domain = b->piece[p].domain};
        HY_TRY(add_fresh(e, b->n_piece, b->n_row, b->token, b->target, sum, err));
        read += b->n_row;
    }
    return HY_OK;
}

hy_status hy__exam_read(hy__exam *e, const char *name, int64_t rows, hy__tally *sum,
                        hy_error *err) {
    hy__loader *l = NULL;
    hy_status status = hy__exam_windows(e, name, 0, &l, err);
    if (status == HY_OK) status = read_windows(e, l, rows, sum, err);
    hy__loader_free(l);
    return status;
}

static hy_status read_ring(hy__exam *e, const hy__ring *r, hy__tally *sum, hy_error *err) {
    hy__ring_sum of;
    HY_TRY(open_mixture(e, err));
    HY_TRY(hy__ring_ask(r, &of, e->model, &e->mixture, e->go_on, err));
    *sum = (hy__tally){.nats = of.nats, .hits = of.hits, .asked = r->size};
    return HY_OK;
}

/* A window of each corpus in turn, all of them one document, so long as no state need be longer. */
static hy_status read_document(hy__exam *e, hy__loader *l, int64_t first, hy__state *const *state,
                               hy__tally *sum, hy_error *err) {
    int64_t pos = 0;
    for (int64_t i = 0; i < e->mixture.n; i++) {
        const hy__loader_batch *b;
        HY_TRY(hy__loader_get(l, first + i, &b, err));
        const hy__seq seq = {.len = b->n_row, .pos = pos, .domain = b->piece[0].domain};
        const hy__batch batch = {.rows = {.n_row = b->n_row, .n_seq = 1, .seq = &seq},
                                 .token = b->token,
                                 .state_in = i > 0 ? &state[i % 2] : NULL,
                                 .state_out = &state[(i + 1) % 2]};
        HY_TRY(hy__exam_add(e, &batch, b->target, sum, err));
        pos += b->n_row;
    }
    return HY_OK;
}

static hy_status read_mixed(hy__exam *e, const char *name, hy__tally *sum, hy_error *err) {
    hy__loader *l = NULL;
    hy__state *state[2] = {NULL, NULL};
    hy_status status;
    HY_TRY_GOTO(hy__exam_windows(e, name, 1, &l, err));
    for (int i = 0; i < 2; i++)
        HY_TRY_GOTO(hy__state_new(&state[i], e->model, e->mixture.n * e->seq_len, err));
    for (int64_t at = 0; sum->rows < e->rows; at += e->mixture.n)
        HY_TRY_GOTO(read_document(e, l, at, state, sum, err));
done:
    hy__state_free(state[0]);
    hy__state_free(state[1]);
    hy__loader_free(l);
    return status;
}

/* ---- asking ---- */

int hy__probe_first(const hy__lab_scale *s, int p) {
    const hy__probe *b = &s->probe[p];
    for (int i = 0; i < p; i++) {
        const hy__probe *a = &s->probe[i];
        if (strcmp(a->data, b->data) == 0 && a->reading == b->reading && a->k == b->k) return i;
    }
    return p;
}

static hy_status ask(hy__exam *e, const hy__probe *p, hy__tally *sum, hy__answer *a,
                     hy_error *err) {
    switch (p->reading) {
    case HY__READ_MIXED:
        return read_mixed(e, p->data, sum, err);
    case HY__READ_BANNED:
        return hy__exam_ban(e, p->data, sum, a, err);
    case HY__READ_CUT:
        return hy__exam_cut(e, p->data, sum, a, err);
    case HY__READ_RING:
        return read_ring(e, &p->ring, sum, err);
    default:
        return hy__task_is(p->data) ? ask_task(e, p->data, sum, err)
                                    : hy__exam_read(e, p->data, e->rows, sum, err);
    }
}

hy_status hy__exam_ask(hy__exam *e, const hy__probe *p, hy__answer *a, hy_error *err) {
    hy__tally sum = {0};
    for (int i = 0; i < HY__METRICS; i++) a->value[i] = (double)NAN;
    if (p->k > 0) hy__exam_choose(e->model, p->k);
    hy_status status = ask(e, p, &sum, a, err);
    if (status == HY_OK) status = conclude(e, p, &sum, a, err);
    if (p->k > 0) hy__exam_choose(e->model, 0);
    return status;
}
