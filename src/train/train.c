/* train.c: hy_train: from a configuration and text to a model directory.
 *
 * The loop is: step, evaluate when due, checkpoint when due, one line of metrics, report. It ends
 * at the last step, at the time limit or when the caller says so, always with a checkpoint. */
#include "train/setup.h"
#include "train/trainer.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "ckpt/checkpoint.h"
#include "ckpt/tokenizer_dir.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- setting up ---- */

static hy_status read_config(hy__trainer *tr, hy_error *err) {
    HY_TRY(hy__train_setup(tr->opt, &tr->base, &tr->base_t, &tr->recipe, err));
    tr->at.limit = tr->opt->minutes * 60.0;
    return hy__course_init(&tr->course, &tr->recipe, err);
}

/* A model that is already there, and what else has the name of the log, is only replaced when the
 * caller says so. */
static hy_status check_out(hy__trainer *tr, bool *resume, hy_error *err) {
    const hy_train_options *o = tr->opt;
    bool model, resumable;
    HY_TRY(hy__training_find(o->out, &model, &resumable, err));
    *resume = o->resume && resumable;
    tr->replaces = model && !*resume;
    if (o->force || *resume) return HY_OK;
    if (!model) {
        HY_TRY(hy__metrics_check(tr, err));
        if (o->resume)
            hy__training_warn(tr, "there is nothing to go on from in %.400s: a new training begins",
                              o->out);
        return HY_OK;
    }
    if (o->resume) {
        return hy__fail(err, HY_E_INVALID,
                        "%s holds a model without the state of a training, so it cannot be resumed",
                        o->out);
    }
    return hy__fail(err, HY_E_INVALID,
                    "%s already holds a model; resume its training, force its replacement, or "
                    "choose another directory",
                    o->out);
}

/* What the caller names; or of data that was built, which fixes it; or bytes. A training that goes
 * on keeps its own. */
static hy_status open_tokenizer(hy__trainer *tr, bool resume, hy_error *err) {
    const hy_train_options *o = tr->opt;
    char *built;
    if (o->tokenizer) return hy__tokenizer_open_path(&tr->tok, o->tokenizer, err);
    HY_TRY(hy__mixture_built(&built, o->data, o->n_data, err));
    const char *dir = built ? built : resume ? hy__training_from(tr) : NULL;
    const hy_status status =
        dir ? hy__tokenizer_open_dir(&tr->tok, dir, err) : hy__tokenizer_open(&tr->tok, NULL, err);
    free(built);
    return status;
}

/* A resumed training means by its tokens what it meant before. */
static hy_status check_tokenizer(const hy__trainer *tr, hy_error *err) {
    hy__tokenizer *before;
    uint64_t print, print_before;
    HY_TRY(hy__tokenizer_open_dir(&before, hy__training_from(tr), err));
    hy_status status = hy__tokenizer_print(before, &print_before, err);
    hy__tokenizer_free(before);
    if (status == HY_OK) status = hy__tokenizer_print(tr->tok, &print, err);
    if (status != HY_OK || print == print_before) return status;
    return hy__fail(err, HY_E_INVALID,
                    "%.400s was trained with another tokenizer than the one given; resume with its "
                    "own",
                    tr->opt->out);
}

static hy_status read_text(hy__trainer *tr, bool resume, hy_error *err) {
    const hy_train_options *o = tr->opt;
    const int64_t vocab = tr->base.model.vocab;
    HY_TRY(open_tokenizer(tr, resume, err));
    if (resume) HY_TRY(check_tokenizer(tr, err));
    if (hy__tokenizer_vocab(tr->tok) > vocab) {
        return hy__fail(err, HY_E_INVALID,
                        "model.vocab is %lld, wanted at least the tokenizer's %lld",
                        (long long)vocab, (long long)hy__tokenizer_vocab(tr->tok));
    }
    tr->n_byte = calloc((size_t)vocab, sizeof *tr->n_byte);
    if (!tr->n_byte) return hy__no_memory(err, "a training");
    for (int32_t i = 0; i < hy__tokenizer_vocab(tr->tok); i++)
        tr->n_byte[i] = (int32_t)hy__tokenizer_decode(tr->tok, i, NULL, 0);
    return hy__mixture_open(&tr->data,
                            &(hy__build_options){.path = o->data,
                                                 .n_path = o->n_data,
                                                 .tokenizer = tr->tok,
                                                 .val_fraction = tr->base_t.val_fraction,
                                                 .threads = o->threads,
                                                 .unverified = o->no_verify},
                            err);
}

/* What is held out is read alike in all stages; a document of a task as a whole. */
static hy_status open_val(hy__trainer *tr, int64_t c, hy_error *err) {
    const int64_t chunk = tr->base.model.chunk, len = tr->data.corpus[c]->task.len;
    const int64_t whole = (len + chunk - 1) / chunk * chunk;
    const hy__loader_options val = {.corpus = &tr->data.corpus[c],
                                    .n_corpus = 1,
                                    .part = HY__PART_VAL,
                                    .batch = 1,
                                    .seq_len = whole > HY__FEED ? whole : HY__FEED,
                                    .chunk = chunk,
                                    .carry = true,
                                    .in_order = true};
    if (tr->data.corpus[c]->n_document[HY__PART_VAL] == 0) return HY_OK;
    tr->has_val = true;
    return hy__loader_new(&tr->val[c], &val, err);
}

static hy_status open_vals(hy__trainer *tr, hy_error *err) {
    tr->val = calloc((size_t)tr->data.n, sizeof *tr->val);
    if (!tr->val) return hy__no_memory(err, "evaluating");
    for (int64_t c = 0; c < tr->data.n; c++) HY_TRY(open_val(tr, c, err));
    return hy__stages_check_data(tr, err);
}

/* The weights: those of the checkpoint, or new ones. */
static hy_status open_weights(hy__trainer *tr, bool resume, hy_error *err) {
    if (resume) return hy__checkpoint_open_to_train(&tr->model, tr->be, hy__training_from(tr), err);
    HY_TRY(hy__model_new(&tr->model, tr->be, &tr->recipe.stage[0].cfg, tr->be->real, err));
    hy__model_randomize(tr->model, (uint64_t)tr->base_t.seed);
    return HY_OK;
}

static hy_status open_model(hy__trainer *tr, bool resume, hy_error *err) {
    const bool bf16 = tr->base_t.dtype == HY__TRAIN_BF16;
    const char *backend = tr->opt->backend ? tr->opt->backend : "cpu";
    HY_TRY(hy__backend_open(&tr->be, backend, tr->opt->threads, err));
    if (bf16 && !tr->be->has_bf16) {
        return hy__fail(err, HY_E_UNSUPPORTED,
                        "train.dtype is bf16, but backend \"%s\" has no bf16 products on this "
                        "machine; set train.dtype=fp32",
                        backend);
    }
    HY_TRY(open_weights(tr, resume, err));
    HY_TRY(hy__model_train(tr->model, err));
    const hy__prec prec = bf16 ? HY__PREC_BF16 : HY__PREC_FP32;
    HY_TRY(hy__optim_new(&tr->optim, tr->model, tr->base_t.optimizer, prec, err));
    return hy__stage_open(tr, !resume, err);
}

static hy_status open_all(hy__trainer *tr, hy_error *err) {
    bool resume;
    HY_TRY(read_config(tr, err));
    HY_TRY(hy__metrics_open(tr, err)); /* first: from then on nobody else writes there */
    HY_TRY(check_out(tr, &resume, err));
    if (resume) HY_TRY(hy__training_choose(tr, err));
    if (resume) HY_TRY(hy__training_find_stage(tr, err));
    HY_TRY(read_text(tr, resume, err));
    HY_TRY(open_vals(tr, err));
    HY_TRY(open_model(tr, resume, err));
    if (resume) HY_TRY(hy__training_load(tr, err));
    return hy__metrics_begin(tr, err);
}

static void release_all(hy__trainer *tr) {
    hy__metrics_close(tr);
    hy__stage_close(tr);
    hy__optim_free(tr->optim);
    hy__model_free(tr->model);
    hy__backend_free(tr->be);
    for (int64_t c = 0; tr->val && c < tr->data.n; c++) hy__loader_free(tr->val[c]);
    free(tr->val);
    hy__mixture_release(&tr->data);
    hy__tokenizer_free(tr->tok);
    free(tr->n_byte);
    hy__course_release(&tr->course);
    hy__recipe_release(&tr->recipe);
    free(tr->history);
    free(tr->guard.norm);
    free(tr->from);
}

/* ---- the loop ---- */

static bool is_due(int64_t step, int64_t every) {
    return every > 0 && step % every == 0;
}

static bool is_out_of_time(const hy__progress *at) {
    return at->limit > 0.0 && at->seconds >= at->limit;
}

static bool is_over(const hy__trainer *tr) {
    return (hy__stage_is_over(tr) && hy__stage_is_last(tr)) || is_out_of_time(&tr->at);
}

/* Names the stage, and what ended it when it is over with all its parts. */
static void tell_stage(const hy__trainer *tr, hy_train_progress *p) {
    const hy__stage *s = tr->stage;
    if (!tr->recipe.name) return;
    p->stage = s->name;
    if (p->back) return;
    if (tr->course.reached)
        p->stage_end = hy__stage_end_name(s->until);
    else if (hy__stage_is_over(tr) && s->part + 1 == s->n_part)
        p->stage_end = hy__stage_end_name(HY__END_LENGTH);
}

/* Seconds to the end at the pace so far; 0 when the end is not known. */
static double seconds_left(const hy__progress *at) {
    const double share = hy__progress_share(at);
    return share > 0.0 ? at->seconds * (1.0 - share) / share : 0.0;
}

static void tell_time(hy__trainer *tr, hy_train_progress *p, double seconds) {
    p->seconds = tr->at.seconds = seconds;
    p->seconds_left = seconds_left(&tr->at);
}

static hy_status save(hy__trainer *tr, hy_error *err) {
    const double start = hy__now();
    HY_TRY(hy__training_save(tr, err));
    const double took = hy__now() - start;
    tr->save_seconds += took;
    tr->at.seconds += took;
    tr->save_took = took;
    tr->saved_at = start + took;
    return HY_OK;
}

/* Whether the last checkpoint is older than it should be by the clock, and the next one would not
 * take more than its share of the time. Not where a run goes back to its last checkpoint: what it
 * computes does not hang on the clock. */
static bool is_save_late(const hy__trainer *tr) {
    static const double SHARE = 0.03;
    const double every = 60.0 * tr->base_t.save_minutes, pause = tr->save_took / SHARE;
    return every > 0.0 && tr->base_t.on_spike != HY__ON_SPIKE_REWIND &&
           hy__now() - tr->saved_at >= fmax(every, pause);
}

static double or_none(double x) {
    return isnan(x) ? -1.0 : x;
}

/* What of the layers is worth a glance. */
static void look(const hy__trainer *tr, hy_train_progress *p) {
    const double slots = (double)(tr->cfg.pkm.n_key * tr->cfg.pkm.n_key);
    p->expert_entropy = or_none(hy__model_said(tr->model, 'E', "entropy"));
    p->expert_violation = or_none(hy__model_said(tr->model, 'E', "max_violation"));
    p->dead_experts = or_none(hy__model_said(tr->model, 'E', "dead"));
    p->table_used = or_none(hy__model_said(tr->model, 'P', "slots") / slots);
}

/* One step with what is due after it. *last: the run is over, and everything was due. */
static hy_status advance(hy__trainer *tr, hy_train_progress *p, bool *last, hy_error *err) {
    const double start = hy__now(), before = tr->at.seconds;
    const int64_t tokens = tr->tokens;
    *p = (hy_train_progress){.steps = tr->at.steps, .val_loss = tr->val_loss};
    HY_TRY(hy__trainer_step(tr, p, err));
    look(tr, p);
    p->dropped = tr->guard.dropped;
    p->rewound = tr->guard.rewound;
    p->back = tr->guard.back;
    const double took = hy__now() - start;
    p->tokens_per_s = took > 0.0 ? (double)(tr->tokens - tokens) / took : 0.0;
    tell_time(tr, p, before + took);
    tell_stage(tr, p);
    if (p->back) return HY_OK;
    *last = is_over(tr);
    p->evaluated = tr->has_val && (*last || p->stage_end || is_due(p->step, tr->t.eval_every));
    if (p->evaluated) {
        HY_TRY(hy__trainer_evaluate(tr, &p->evaluated, err));
        tell_stage(tr, p);
        *last = *last || (hy__stage_is_over(tr) && hy__stage_is_last(tr));
    }
    p->saved = *last || is_due(p->step, tr->base_t.save_every) || is_save_late(tr);
    const bool detail = *last || p->step == 1 || is_due(p->step, tr->base_t.detail_every);
    p->val_loss = tr->val_loss;
    tell_time(tr, p, before + hy__now() - start);
    HY_TRY(hy__metrics_add(tr, p, detail, err));
    if (p->saved && tr->t.on_spike == HY__ON_SPIKE_REWIND) tr->guard.in_row = 0;
    return p->saved ? save(tr, err) : HY_OK;
}

static hy_status run(hy__trainer *tr, bool *stopped, hy_error *err) {
    hy_train_progress p;
    bool asked = false;
    tr->saved_at = hy__now();
    if (tr->t.on_spike == HY__ON_SPIKE_REWIND && tr->at.step == 0)
        HY_TRY(save(tr, err)); /* to go back to */
    for (bool last = is_over(tr); !last && !asked && !tr->guard.back;) {
        const double start = hy__now();
        HY_TRY(hy__stage_next(tr, err));
        tr->at.seconds += hy__now() - start;
        HY_TRY(advance(tr, &p, &last, err));
        asked = tr->opt->on_step && !tr->opt->on_step(tr->opt->user, &p);
        if (asked && tr->guard.back)
            tr->guard.back = false; /* its last checkpoint stands */
        else if (asked && !p.saved)
            HY_TRY(save(tr, err));
    }
    *stopped = asked || is_out_of_time(&tr->at);
    return HY_OK;
}

/* Mean loss of the last tenth of the steps, without those that have none; where that is all of
 * them, of the last step before that has one. */
static double last_losses(const hy__trainer *tr) {
    const int64_t n = tr->at.step / 10 > 0 ? tr->at.step / 10 : tr->at.step;
    int64_t sound = 0;
    double sum = 0.0;
    for (int64_t i = tr->at.step - 1; i >= 0 && (sound == 0 || i >= tr->at.step - n); i--) {
        if (isnan(tr->history[i])) continue;
        sum += tr->history[i];
        sound++;
    }
    return sound > 0 ? sum / (double)sound : (double)NAN;
}

/* What a run that goes back takes with it. */
typedef struct back {
    int64_t rewound, in_row;
    int64_t next;                 /* where the text goes on */
    double seconds, save_seconds; /* spent */
} back;

/* The run stands at its last checkpoint again and passes over the data that it had read since. */
static void pass_over(hy__trainer *tr, const back *b) {
    tr->guard.rewound = b->rewound;
    tr->guard.in_row = b->in_row;
    hy__stage_pass_to(tr, b->next);
    tr->at.seconds = b->seconds;
    tr->save_seconds = b->save_seconds;
    hy__lanes_reset(&tr->lanes);
}

static void describe_result(const hy__trainer *tr, int64_t tokens, double seconds, bool stopped,
                            hy_train_result *result) {
    const double took = tr->at.seconds - seconds;
    *result = (hy_train_result){
        .steps = tr->at.step,
        .tokens = tr->tokens,
        .read = hy__stage_read(tr),
        .train_loss = last_losses(tr),
        .val_loss = tr->val_loss,
        .val_bits_per_byte = tr->val_bits,
        .tokens_per_s = took > 0.0 ? (double)(tr->tokens - tokens) / took : 0.0,
        .seconds = tr->at.seconds,
        .save_seconds = tr->save_seconds,
        .peak_rss_bytes = hy__rss_peak_bytes(),
        .dropped = tr->guard.dropped,
        .rewound = tr->guard.rewound,
        .stopped = stopped,
    };
}

/* From opening to the end, or to where the run goes back (*again). */
static hy_status train(const hy_train_options *opt, back *b, bool *again, hy_train_result *result,
                       hy_error *err) {
    hy__trainer *tr = calloc(1, sizeof *tr);
    hy_status status;
    bool stopped = false;
    if (!tr) return hy__no_memory(err, "a training");
    tr->opt = opt;
    tr->val_loss = tr->val_bits = -1.0;
    tr->whole_step = -1;
    HY_TRY_GOTO(open_all(tr, err));
    if (*again) pass_over(tr, b);
    const int64_t tokens = tr->tokens;
    const double seconds = tr->at.seconds;
    status = run(tr, &stopped, err);
    if (result && (status == HY_OK || status == HY_E_DIVERGED))
        describe_result(tr, tokens, seconds, stopped, result);
    if (status != HY_OK) goto done;
    *again = tr->guard.back;
    *b = (back){.rewound = tr->guard.rewound + 1,
                .in_row = tr->guard.in_row,
                .next = hy__stage_position(tr),
                .seconds = tr->at.seconds,
                .save_seconds = tr->save_seconds};
done:
    release_all(tr);
    free(tr);
    return status;
}

hy_status hy_train(const hy_train_options *opt, hy_train_result *result, hy_error *err) {
    hy_train_options o = *opt;
    back b = {0};
    bool again = false;
    if (!opt->config || !opt->out || opt->n_data < 1) {
        return hy__fail(err, HY_E_INVALID,
                        "a training wants a configuration, text and a directory to write");
    }
    do {
        HY_TRY(train(&o, &b, &again, result, err));
        o.resume = true;
        o.force = false;
        o.no_verify = true; /* done */
    } while (again);
    return HY_OK;
}
