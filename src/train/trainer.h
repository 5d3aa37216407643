/* trainer.h: what a training run holds, for the files of this folder only.
 *
 *   train.c    hy_train: sets up, loops, reports
 *   stages.c   where the run stands in its recipe: enters a stage, ends it
 *   upcycle.c  F becomes E
 *   reseed.c   dead sub-keys of P begin anew
 *   step.c     one optimizer step, one evaluation
 *   resume.c   the training state on disk, beside the weights
 *   rotate.c   which checkpoint to go on from, which older ones to keep
 *   metrics.c  metrics.jsonl
 *   said.c     of it, what the layers say
 *   guard.c    what becomes of a step that is not sound
 *
 * Everything a later step depends on is either a function of the step's number (batches, learning
 * rate by steps) or is in the checkpoint: weights, moments, carried states. */
#ifndef HY_TRAIN_TRAINER_H
#define HY_TRAIN_TRAINER_H

#include "ckpt/fileset.h"
#include "config/recipe.h"
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

/* Where a run stands in its recipe. */
typedef struct hy__course {
    int64_t index;      /* of the stage that it is in */
    int64_t first;      /* steps before that */
    int64_t *steps;     /* [n] what the stages before took; owned */
    hy__stage_end *end; /* [n] and what ended them; owned */
    bool reached;       /* the criterion of the present one is met */
} hy__course;

typedef struct hy__trainer {
    const hy_train_options *opt; /* borrowed */
    hy__config base;             /* of the run */
    hy__train_config base_t;
    hy__recipe recipe;
    const hy__stage *stage; /* the present one */
    hy__config cfg;         /* and its settings */
    hy__train_config t;
    hy__backend *be;
    hy__model *model;
    hy__optim *optim;
    hy__tokenizer *tok;
    int32_t *n_byte; /* [vocab] bytes of text that a token stands for */
    hy__mixture data;
    hy__loader *train;
    hy__loader **val;             /* [data.n] of each corpus; NULL where it holds nothing out */
    hy__corpus *mix[HY__MIX_MAX]; /* what the present stage mixes, where it says so */
    double mix_weight[HY__MIX_MAX];
    int64_t mix_index[HY__MIX_MAX]; /* which of `data` they are */
    bool has_val;                   /* one of them at least */
    hy__work *work, *eval;
    hy__lanes lanes, val_lanes;
    hy__pieces pieces;

    /* what a checkpoint records */
    hy__progress at;
    int64_t tokens; /* predicted in training */
    hy__course course;
    double val_loss, val_bits; /* nats per token, bits per byte; negative before the first */
    double val_accuracy;       /* share of the held-out tokens that were the likeliest */
    hy__guard guard;
    double *history; /* [history_cap] loss of each step; NaN: it was dropped, or asked nothing */
    int64_t history_cap;
    int64_t metrics_size; /* bytes of metrics.jsonl that belong to these steps */

    bool replaces;             /* out holds another model, until the first checkpoint */
    FILE *metrics;             /* open: ours alone */
    FILE *replaced;            /* the log of that model's training, locked as well; or NULL */
    struct hy__events *events; /* NULL before the first line */
    size_t had_out;            /* bytes of opt->out that name a folder which was there before */

    char *from;          /* checkpoint to read instead of opt->out, which is damaged; or NULL */
    int64_t whole_step;  /* of the newest whole checkpoint of this run; −1 before the first */
    bool out_is_whole;   /* that one is opt->out itself */
    double save_seconds; /* spent on checkpoints since the start of this process */
    double saved_at;     /* by hy__now, when the last one was written, or the run began */
    double save_took;    /* seconds that it took */
} hy__trainer;

/* ---- stages.c ---- */

/* Room for the course of tr->recipe. */
hy_status hy__course_init(hy__course *c, const hy__recipe *r, hy_error *err);
void hy__course_release(hy__course *c);

/* Sets everything that is constant in stage tr->course.index: loaders, works, streams (which begin
 * afresh), rates, gates, and the steps of the whole run. `begins`: the run comes from the stage
 * before, and the actions at the border are made; else it comes from a checkpoint. */
hy_status hy__stage_open(hy__trainer *tr, bool begins, hy_error *err);
void hy__stage_close(hy__trainer *tr);

/* Whether the present stage is over, and whether no other follows. */
bool hy__stage_is_over(const hy__trainer *tr);
bool hy__stage_is_last(const hy__trainer *tr);
/* When the present stage is over, opens the next. */
hy_status hy__stage_next(hy__trainer *tr, hy_error *err);

/* Sets what moves from step to step: gates that rise. */
void hy__stage_set_gates(hy__trainer *tr);
/* Share of the value table's rate: its warm-up in this stage. */
double hy__stage_table(const hy__trainer *tr);
/* The number of the step's first micro-batch: the text goes on where the stage before ended. */
int64_t hy__stage_first_batch(const hy__trainer *tr);
/* Positions of all steps so far. */
int64_t hy__stage_read(const hy__trainer *tr);
/* Where the step begins in the text: positions of all batches before it, those passed over too. */
int64_t hy__stage_position(const hy__trainer *tr);
/* Passes over the text up to there, or to the next whole batch. */
void hy__stage_pass_to(hy__trainer *tr, int64_t position);
/* After an evaluation of what its criterion asks for: whether the stage has reached it. */
void hy__stage_judge(hy__trainer *tr, double loss, double accuracy);
/* Whether the data have what the stages ask for: the corpora that they mix, with text to train on,
 * and held-out text. */
hy_status hy__stages_check_data(hy__trainer *tr, hy_error *err);

/* ---- upcycle.c ---- */

/* Replaces the model by one of the present stage's pattern: weights and moments of the layers that
 * stay, and in place of an F an E whose experts are copies of it. */
hy_status hy__upcycle(hy__trainer *tr, hy_error *err);

/* ---- reseed.c ---- */

/* Sub-keys of P that no token of the next stage->reseed tokens chooses take the place of much-used
 * ones, a little moved; their moments are cleared. */
hy_status hy__reseed(hy__trainer *tr, hy_error *err);

/* ---- step.c ---- */

hy_status hy__lanes_init(hy__lanes *l, hy__model *m, int64_t n, hy_error *err);
void hy__lanes_release(hy__lanes *l);
/* Every stream begins anew. */
void hy__lanes_reset(hy__lanes *l);

/* The forward of one loader batch. A stream's first piece continues the carried state unless it
 * starts afresh; its last piece leaves the state that the next batch continues. */
hy_status hy__trainer_forward(hy__trainer *tr, hy__work *work, hy__lanes *lanes,
                              const hy__loader_batch *b, hy_error *err);

/* One optimizer step; fills what the layers say and step, tokens, loss, bits_per_byte, lr and
 * grad_norm of p. One whose batches ask nothing (of a task: all answers lie elsewhere) only carries
 * the streams on; its loss is NaN. One that is not sound leaves the weights as they were:
 * p->unsound says why, and guard.back that the run must go back; HY_E_DIVERGED where the training
 * ends with it (guard.h). After a failure some of the step's gradients and streams are behind it:
 * the trainer ends. */
hy_status hy__trainer_step(hy__trainer *tr, hy_train_progress *p, hy_error *err);

/* Loss over the held-out parts, one corpus after another, in order, with the state carried; each
 * gets its share of train.val_tokens. *asked: something was predicted; if not, the last evaluation
 * stands. HY_E_DIVERGED where the loss is not finite. */
hy_status hy__trainer_evaluate(hy__trainer *tr, bool *asked, hy_error *err);

/* ---- resume.c ---- */

/* Whether DIR holds a model, and whether it can be resumed. */
hy_status hy__training_find(const char *dir, bool *model, bool *resumable, hy_error *err);

/* Replaces the model and the training state in opt->out, together or not at all. */
hy_status hy__training_save(hy__trainer *tr, hy_error *err);

/* Where the training in hy__training_from stands in its recipe. HY_E_INVALID when its configuration
 * or its recipe is another one. */
hy_status hy__training_find_stage(hy__trainer *tr, hy_error *err);

/* Continues from hy__training_from, in the stage found. HY_E_INVALID when its data are others. */
hy_status hy__training_load(hy__trainer *tr, hy_error *err);

/* ---- rotate.c ---- */

/* A sentence for opt->on_warning. */
__attribute__((format(printf, 2, 3))) void hy__training_warn(const hy__trainer *tr,
                                                             const char *format, ...);

/* Finds the newest checkpoint that is whole, reading all of it; one that is passed over is told by
 * opt->on_warning. Before anything is read from the directory. */
hy_status hy__training_choose(hy__trainer *tr, hy_error *err);

/* The model directory of that checkpoint: weights and state are read from there. */
const char *hy__training_from(const hy__trainer *tr);

/* Commits a checkpoint that is put, moves the one that it replaces behind it, and removes what is
 * too old. Frees the set. */
hy_status hy__training_replace(hy__trainer *tr, hy__fileset *set, hy_error *err);

/* ---- metrics.c ---- */

/* Opens out/metrics.jsonl and keeps it locked, which makes this training the only one of out.
 * Finishes what a killed run had committed. */
hy_status hy__metrics_open(hy__trainer *tr, hy_error *err);

/* HY_E_INVALID where out/metrics.jsonl holds what no training wrote. */
hy_status hy__metrics_check(const hy__trainer *tr, hy_error *err);

/* Drops what lies behind its first metrics_size bytes: steps that a killed run made after its last
 * checkpoint, or an earlier run; warns where a checkpoint had more. Where the run replaces another,
 * its lines go to a file of their own. */
hy_status hy__metrics_begin(hy__trainer *tr, hy_error *err);

/* With the first checkpoint of such a run, that file takes the place of the other's log: put into
 * the set, and settled once it is committed. */
hy_status hy__metrics_put(hy__trainer *tr, hy__fileset *set, hy_error *err);
hy_status hy__metrics_settle(hy__trainer *tr, hy_error *err);

/* Ends the lock. A training that failed before its first line leaves no file, nor the folders
 * that it made. */
void hy__metrics_close(hy__trainer *tr);

/* Makes the lines so far last: a checkpoint counts on them. */
hy_status hy__metrics_sync(hy__trainer *tr, hy_error *err);

/* One line per step, flushed; `detail`: with lists. */
hy_status hy__metrics_add(hy__trainer *tr, const hy_train_progress *p, bool detail, hy_error *err);

/* ---- said.c ---- */

/* Adds what the layers say of the last step, by letter; `detail`: lists too, and what they are of.
 * False without memory. */
struct json_t; /* jansson's */
bool hy__said_add(const hy__trainer *tr, struct json_t *line, bool detail);

#endif
