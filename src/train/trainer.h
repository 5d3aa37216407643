/* trainer.h: what a training run holds, for the files of this folder only.
 *
 *   train.c    hy_train: sets up, loops, reports
 *   step.c     one optimizer step, one evaluation
 *   resume.c   the training state on disk, beside the weights
 *   rotate.c   which checkpoint to go on from, which older ones to keep
 *   metrics.c  metrics.jsonl
 *   guard.c    what becomes of a step that is not sound
 *
 * Everything a later step depends on is either a function of the step's number (batches, learning
 * rate by steps) or is in the checkpoint: weights, moments, carried states. */
#ifndef HY_TRAIN_TRAINER_H
#define HY_TRAIN_TRAINER_H

#include "ckpt/fileset.h"
#include "data/loader.h"
#include "data/mixture.h"
#include "train/guard.h"
#include "train/optim.h"
#include "train/schedule.h"

#include <stdio.h>

/* The states that the streams of a loader carry from batch to batch. A step reads `now` and writes
 * `next`, because its backward reads `now` again; then they change places. */
typedef struct hy__lanes {
    hy__state **now, **next; /* [n], owned */
    int64_t n;
} hy__lanes;

/* One batch as the model takes it; room for the most pieces that a loader makes. */
typedef struct hy__pieces {
    hy__seq *seq;
    hy__state **in, **out;
} hy__pieces;

typedef struct hy__trainer {
    const hy_train_options *opt; /* borrowed */
    hy__config cfg;
    hy__train_config t;
    hy__backend *be;
    hy__model *model;
    hy__optim *optim;
    hy__tokenizer *tok;
    int32_t *n_byte; /* [vocab] bytes of text that a token stands for */
    hy__mixture data;
    hy__loader *train;
    hy__loader **val; /* [data.n] of each corpus; NULL where it holds nothing out */
    bool has_val;     /* one of them at least */
    hy__work *work, *eval;
    hy__lanes lanes, val_lanes;
    hy__pieces pieces;

    /* what a checkpoint records */
    hy__progress at;
    int64_t tokens;            /* predicted in training */
    double val_loss, val_bits; /* nats per token, bits per byte; negative before the first */
    hy__guard guard;
    double *history; /* [history_cap] loss of each step; NaN: it was dropped */
    int64_t history_cap;
    int64_t metrics_size; /* bytes of metrics.jsonl that belong to these steps */

    hy__report report[HY__REPORT_LETTERS]; /* of the last step */
    int64_t n_report;
    FILE *metrics; /* open: ours alone */
    bool made_out; /* opt->out was not there before */

    char *from;          /* checkpoint to read instead of opt->out, which is damaged; or NULL */
    int64_t whole_step;  /* of the newest whole checkpoint of this run; −1 before the first */
    bool out_is_whole;   /* that one is opt->out itself */
    double save_seconds; /* spent on checkpoints since the start of this process */
} hy__trainer;

/* ---- step.c ---- */

hy_status hy__lanes_init(hy__lanes *l, hy__model *m, int64_t n, hy_error *err);
void hy__lanes_release(hy__lanes *l);
/* Every stream begins anew. */
void hy__lanes_reset(hy__lanes *l);

/* One optimizer step; fills tr->report and step, tokens, loss, bits_per_byte, lr and grad_norm of
 * p. One that is not sound leaves the weights as they were: p->unsound says why, and guard.back
 * that the run must go back; HY_E_INVALID where the training ends with it (guard.h).
 * After a failure some of the step's gradients and streams are behind it: the trainer ends. */
hy_status hy__trainer_step(hy__trainer *tr, hy_train_progress *p, hy_error *err);

/* Loss over the held-out parts, one corpus after another, in order, with the state carried; each
 * gets its share of train.val_tokens. */
hy_status hy__trainer_evaluate(hy__trainer *tr, hy_error *err);

/* ---- resume.c ---- */

/* Whether DIR holds a model, and whether it can be resumed. */
hy_status hy__training_find(const char *dir, bool *model, bool *resumable, hy_error *err);

/* Replaces the model and the training state in opt->out, together or not at all. */
hy_status hy__training_save(hy__trainer *tr, hy_error *err);

/* Continues from hy__training_from. HY_E_INVALID when configuration or data are not those of the
 * run. */
hy_status hy__training_load(hy__trainer *tr, hy_error *err);

/* ---- rotate.c ---- */

/* Finds the newest checkpoint that is whole, reading all of it; one that is passed over is told by
 * opt->on_warning. Before anything is read from the directory. */
hy_status hy__training_choose(hy__trainer *tr, hy_error *err);

/* The model directory of that checkpoint: weights and state are read from there. */
const char *hy__training_from(const hy__trainer *tr);

/* Commits a checkpoint that is put, moves the one that it replaces behind it, and removes what is
 * too old. Frees the set. */
hy_status hy__training_replace(hy__trainer *tr, hy__fileset *set, hy_error *err);

/* ---- metrics.c ---- */

/* Opens out/metrics.jsonl and keeps it locked, which makes this training the only one of out. */
hy_status hy__metrics_open(hy__trainer *tr, hy_error *err);

/* Drops what lies behind its first metrics_size bytes: steps that a killed run made after its last
 * checkpoint, or an earlier run. */
hy_status hy__metrics_begin(hy__trainer *tr, hy_error *err);

/* Ends the lock. A training that failed before its first line leaves no file, nor the folder if it
 * made it. */
void hy__metrics_close(hy__trainer *tr);

/* Makes the lines so far last: a checkpoint counts on them. */
hy_status hy__metrics_sync(hy__trainer *tr, hy_error *err);

/* One line per step, flushed. */
hy_status hy__metrics_add(hy__trainer *tr, const hy_train_progress *p, hy_error *err);

#endif
