/* stages.c: where a run stands in its recipe (config/recipe.h), and what changes there.
 *
 * A stage has constant settings, so that a batch is a function of the stage and of how many came
 * before it. Only the multipliers of rising gates and of the table's rate move, by the step's
 * number.
 */
#include "train/trainer.h"

#include <stdlib.h>

/* ---- where it stands ---- */

hy_status hy__course_init(hy__course *c, const hy__recipe *r, hy_error *err) {
    c->steps = calloc((size_t)r->n, sizeof *c->steps);
    c->end = calloc((size_t)r->n, sizeof *c->end);
    if (c->steps && c->end) return HY_OK;
    return hy__no_memory(err, "a recipe");
}

void hy__course_release(hy__course *c) {
    free(c->steps);
    free(c->end);
}

/* Steps of the stage so far. */
static int64_t steps_in(const hy__trainer *tr) {
    return tr->at.step - tr->course.first;
}

/* The same of all parts of what is written: of the step to come, counted from 1. */
static int64_t step_number(const hy__trainer *tr) {
    return tr->stage->before + steps_in(tr) + 1;
}

bool hy__stage_is_over(const hy__trainer *tr) {
    return tr->course.reached || steps_in(tr) >= tr->stage->steps;
}

/* A criterion that is met ends all parts of its stage; the length ends one. */
static int64_t next_index(const hy__trainer *tr) {
    const int64_t i = tr->course.index;
    return tr->course.reached ? hy__recipe_next(&tr->recipe, i) : i + 1;
}

bool hy__stage_is_last(const hy__trainer *tr) {
    return next_index(tr) >= tr->recipe.n;
}

hy_status hy__stage_next(hy__trainer *tr, hy_error *err) {
    hy__course *c = &tr->course;
    if (!hy__stage_is_over(tr) || hy__stage_is_last(tr)) return HY_OK;
    const int64_t to = next_index(tr);
    for (int64_t i = c->index; i < to; i++) {
        c->steps[i] = i == c->index ? steps_in(tr) : 0;
        c->end[i] = c->reached ? tr->stage->until : HY__END_LENGTH;
    }
    c->index = to;
    c->first = tr->guard.since = tr->at.step; /* losses before tell nothing of those to come */
    c->reached = false;
    return hy__stage_open(tr, true, err);
}

/* Steps of the whole run, as far as is known: stages that are over count as they were. */
static int64_t count_steps(const hy__trainer *tr) {
    int64_t n = tr->course.first;
    for (int64_t i = tr->course.index; i < tr->recipe.n; i++) n += tr->recipe.stage[i].steps;
    return n;
}

void hy__stage_judge(hy__trainer *tr, double loss, double accuracy) {
    const hy__stage *s = tr->stage;
    if (step_number(tr) <= s->ramp) return; /* not before its letters are there */
    if (s->until == HY__END_VAL_LOSS) tr->course.reached = loss <= s->until_value;
    if (s->until == HY__END_ACCURACY) tr->course.reached = accuracy >= s->until_value;
}

/* ---- what moves within a stage ---- */

static double rise(int64_t step, int64_t steps) {
    return step < steps ? (double)step / (double)steps : 1.0;
}

void hy__stage_set_gates(hy__trainer *tr) {
    const double rising = rise(step_number(tr), tr->stage->ramp);
    for (int64_t i = 0; i < tr->cfg.n_layer; i++) {
        const bool rises = hy__recipe_rises(&tr->recipe, tr->course.index, i);
        tr->model->layer[i].scale = !hy__stage_runs(tr->stage, i) ? 0.0 : rises ? rising : 1.0;
    }
}

double hy__stage_table(const hy__trainer *tr) {
    return rise(step_number(tr), tr->stage->table_steps);
}

/* Whole batches that so many positions take. */
static int64_t batches_of(const hy__trainer *tr, int64_t tokens) {
    const int64_t batch = hy__stage_batch_tokens(tr->stage);
    return tokens / batch + (tokens % batch > 0);
}

/* Positions of the stages before. */
static int64_t tokens_before(const hy__trainer *tr) {
    int64_t tokens = 0;
    for (int64_t i = 0; i < tr->course.index; i++)
        tokens += tr->course.steps[i] * hy__stage_step_tokens(&tr->recipe.stage[i]);
    return tokens;
}

int64_t hy__stage_read(const hy__trainer *tr) {
    return tokens_before(tr) + steps_in(tr) * hy__stage_step_tokens(tr->stage);
}

int64_t hy__stage_first_batch(const hy__trainer *tr) {
    return batches_of(tr, tokens_before(tr) + tr->guard.passed) + steps_in(tr) * tr->t.accumulate;
}

int64_t hy__stage_position(const hy__trainer *tr) {
    return hy__stage_first_batch(tr) * hy__stage_batch_tokens(tr->stage);
}

void hy__stage_pass_to(hy__trainer *tr, int64_t position) {
    const int64_t to = batches_of(tr, position) * hy__stage_batch_tokens(tr->stage);
    tr->guard.passed = to - hy__stage_read(tr);
}

/* ---- entering ---- */

static void set_rates(hy__trainer *tr) {
    for (int64_t i = 0; i < tr->model->n_param; i++) {
        const hy__param *p = &tr->model->param[i];
        const bool runs = p->layer < 0 || hy__stage_runs(tr->stage, p->layer);
        tr->optim->rate[i] =
            runs ? hy__stage_times(tr->stage, p->letter, hy__group_name(p->decl.group)) : 0.0;
    }
    /* what is frozen does not move without a gradient either */
    if (hy__stage_times(tr->stage, 'E', hy__group_name(HY__GROUP_ROUTER)) == 0.0)
        tr->model->cfg.experts.balance_rate = 0.0;
}

static hy_status open_works(hy__trainer *tr, hy_error *err) {
    const hy__prec prec = tr->t.dtype == HY__TRAIN_BF16 ? HY__PREC_BF16 : HY__PREC_FP32;
    const hy__work_options train = {.training = true, .recompute = tr->t.recompute, .prec = prec};
    HY_TRY(hy__work_new(&tr->work, tr->model, train, err));
    return hy__work_new(&tr->eval, tr->model, (hy__work_options){.prec = prec}, err);
}

static hy_status reserve_pieces(hy__trainer *tr, hy_error *err) {
    size_t most = (size_t)hy__loader_max_pieces(tr->train);
    for (int64_t c = 0; c < tr->data.n; c++) {
        const size_t val = tr->val[c] ? (size_t)hy__loader_max_pieces(tr->val[c]) : 0;
        if (val > most) most = val;
    }
    hy__pieces *p = &tr->pieces;
    p->seq = calloc(most, sizeof *p->seq);
    p->in = calloc(most, sizeof *p->in);
    p->out = calloc(most, sizeof *p->out);
    if (p->seq && p->in && p->out) return HY_OK;
    return hy__no_memory(err, "batches of %zu pieces", most);
}

/* The corpora of a stage and their shares: those that it mixes, or all as they are. */
static void choose_corpora(hy__trainer *tr, const hy__stage *s, hy__loader_options *o) {
    for (int64_t i = 0; i < s->n_mix; i++) {
        tr->mix_index[i] = hy__mixture_find(&tr->data, s->mix[i].name);
        tr->mix[i] = tr->data.corpus[tr->mix_index[i]];
        tr->mix_weight[i] = s->mix[i].weight;
    }
    o->corpus = s->n_mix > 0 ? tr->mix : tr->data.corpus;
    o->weight = s->n_mix > 0 ? tr->mix_weight : tr->data.weight;
    o->n_corpus = s->n_mix > 0 ? s->n_mix : tr->data.n;
}

/* In carry mode the documents' order is the seed's, and goes on; random places are others in each
 * stage. */
static hy_status new_loader(hy__loader **out, hy__trainer *tr, int64_t index, hy_error *err) {
    const hy__stage *s = &tr->recipe.stage[index];
    const uint64_t seed = (uint64_t)s->train.seed, salt = (uint64_t)index << 32;
    hy__loader_options o = {.part = HY__PART_TRAIN,
                            .batch = s->train.batch,
                            .seq_len = s->train.seq_len,
                            .chunk = s->cfg.model.chunk,
                            .carry = s->train.carry,
                            .seed = s->train.carry ? seed : seed ^ salt};
    choose_corpora(tr, s, &o);
    const hy_status status = hy__loader_new(out, &o, err);
    return status == HY_OK ? HY_OK : hy__recipe_fail_in(&tr->recipe, s, s->mix_line, status, err);
}

static hy_status open_loader(hy__trainer *tr, hy_error *err) {
    HY_TRY(new_loader(&tr->train, tr, tr->course.index, err));
    if (tr->t.carry)
        HY_TRY(hy__lanes_init(&tr->lanes, tr->model, hy__loader_streams(tr->train), err));
    if (tr->has_val) HY_TRY(hy__lanes_init(&tr->val_lanes, tr->model, 1, err));
    return reserve_pieces(tr, err);
}

/* ---- the data that stages ask for ---- */

static hy_status check_mix(const hy__trainer *tr, const hy__stage *s, hy_error *err) {
    for (int64_t i = 0; i < s->n_mix; i++) {
        if (hy__mixture_find(&tr->data, s->mix[i].name) >= 0) continue;
        const hy_status status = hy__mixture_unknown(&tr->data, s->mix[i].name, err);
        return hy__recipe_fail_in(&tr->recipe, s, s->mix_line, status, err);
    }
    return HY_OK;
}

static hy_status check_until(const hy__trainer *tr, const hy__stage *s, hy_error *err) {
    if (s->until == HY__END_LENGTH) return HY_OK;
    const int64_t c = hy__mixture_find(&tr->data, s->until_corpus);
    hy_status status = HY_OK;
    if (*s->until_corpus && c < 0)
        status = hy__mixture_unknown(&tr->data, s->until_corpus, err);
    else if (*s->until_corpus ? !tr->val[c] : !tr->has_val)
        status =
            hy__fail(err, HY_E_INVALID, "until asks for held-out text, but the data have none");
    if (status == HY_OK) return HY_OK;
    return hy__recipe_fail_in(&tr->recipe, s, s->until_line, status, err);
}

/* By opening them: what a stage cannot read is told now, not when its turn comes. */
static hy_status check_loader(hy__trainer *tr, int64_t index, hy_error *err) {
    hy__loader *l;
    HY_TRY(new_loader(&l, tr, index, err));
    hy__loader_free(l);
    return HY_OK;
}

hy_status hy__stages_check_data(hy__trainer *tr, hy_error *err) {
    for (int64_t i = 0; i < tr->recipe.n; i++) {
        HY_TRY(check_mix(tr, &tr->recipe.stage[i], err));
        HY_TRY(check_until(tr, &tr->recipe.stage[i], err));
        if (tr->recipe.n > 1) HY_TRY(check_loader(tr, i, err));
    }
    return HY_OK;
}

void hy__stage_close(hy__trainer *tr) {
    hy__lanes_release(&tr->lanes);
    hy__lanes_release(&tr->val_lanes);
    hy__loader_free(tr->train);
    hy__work_free(tr->work);
    hy__work_free(tr->eval);
    free(tr->pieces.seq);
    free(tr->pieces.in);
    free(tr->pieces.out);
    tr->train = NULL;
    tr->work = tr->eval = NULL;
    tr->pieces = (hy__pieces){0};
}

hy_status hy__stage_open(hy__trainer *tr, bool begins, hy_error *err) {
    const hy__stage *s = &tr->recipe.stage[tr->course.index];
    const bool border = begins && s->part == 0 && tr->course.index > 0;
    hy__stage_close(tr);
    tr->stage = s;
    tr->cfg = s->cfg;
    tr->t = s->train;
    tr->at.steps = count_steps(tr);
    if (border && s->upcycles) HY_TRY(hy__upcycle(tr, err));
    tr->model->cfg = s->cfg; /* of the same shapes */
    set_rates(tr);
    hy__stage_set_gates(tr);
    HY_TRY(open_works(tr, err));
    HY_TRY(open_loader(tr, err));
    return border && s->reseed > 0 ? hy__reseed(tr, err) : HY_OK;
}
