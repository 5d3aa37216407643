/* exam.h: a model that is asked, shared by exam.c and the files of what is asked: specialise.c,
 * leak.c. Not for others: they see lab.h. */
#ifndef HY_LAB_EXAM_H
#define HY_LAB_EXAM_H

#include "data/loader.h"
#include "data/mixture.h"
#include "lab/lab.h"
#include "model/model.h"

struct hy__exam {
    hy__model *model; /* borrowed */
    hy__work *work;
    const hy__lab_scale *scale; /* borrowed: what it was trained on */
    double val_fraction;
    int64_t seq_len;
    hy_train_fn go_on;   /* asked before every forward; or NULL */
    int64_t rows;        /* of a text */
    hy__mixture mixture; /* opened when text is asked about */
    hy__seq *seq;        /* [max_seq] */
    int64_t max_seq;
    float *row; /* [max_row] a number of each row */
    int64_t max_row;
    int32_t *chosen; /* [max_chosen] experts of each row, of a layer */
    int64_t max_chosen;
};

/* What is summed up. */
typedef struct hy__tally {
    double nats, beta; /* β: of all layers of P together */
    int64_t asked, hits;
    int64_t rows; /* that were read */
    double read;  /* by them: bytes of experts, of all layers together */
    double domain_nats[HY__DOMAINS];
    int64_t domain_asked[HY__DOMAINS];
} hy__tally;

/* Room for n >= 1 elements of that size in place of `now`, which has room for *max: their values
 * are lost where it grows. NULL without memory. */
void *hy__exam_room(void *now, int64_t *max, int64_t n, size_t size);
/* Room for so many sequences of a batch. */
hy_status hy__exam_reserve(hy__exam *e, int64_t n_seq, hy_error *err);
/* Adds what one forward of b comes to. */
hy_status hy__exam_add(hy__exam *e, const hy__batch *b, const int32_t *target, hy__tally *sum,
                       hy_error *err);

/* Windows from random places of what is held out, the same for every arm: of the corpus of that
 * name, or of all alike ("*"). Batches of `rows` windows; 0 = of as many as are read at once. */
hy_status hy__exam_windows(hy__exam *e, const char *name, int64_t rows, hy__loader **l,
                           hy_error *err);
/* Adds what so many rows of them come to. */
hy_status hy__exam_read(hy__exam *e, const char *name, int64_t rows, hy__tally *sum, hy_error *err);

/* ---- specialise.c: of models with E ---- */

/* Adds what the last forward, of those rows, would have read of experts, token by token. */
hy_status hy__exam_add_read(hy__exam *e, const hy__rows *rows, hy__tally *sum, hy_error *err);
/* Puts what the statistics of the model say of balance and specialisation, and what a token costs.
 */
hy_status hy__exam_say_experts(const hy__exam *e, const hy__tally *sum, hy__answer *a,
                               hy_error *err);
/* All layers choose so many; 0 = as configured. */
void hy__exam_choose(hy__model *m, int64_t k);
/* Reads once as it is and once without the experts of each corpus; puts the harm. */
hy_status hy__exam_ban(hy__exam *e, const char *name, hy__tally *sum, hy__answer *a, hy_error *err);

/* ---- leak.c ---- */

/* Sums up what is read with nothing behind any token; puts what that costs. */
hy_status hy__exam_cut(hy__exam *e, const char *name, hy__tally *sum, hy__answer *a, hy_error *err);

#endif
