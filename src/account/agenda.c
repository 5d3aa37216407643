/* agenda.c: adds up a curriculum; see agenda.h. */
#include "account/agenda.h"

#include "page/number.h"

#include <stdlib.h>

/* Elements of a part that learn in a stage. */
static int64_t trained_of(const hy__stage *s, const hy__account_part *p) {
    int64_t sum = 0;
    for (int id = 0; id < p->decl.n_param; id++) {
        const hy__param_decl *d = &p->decl.param[id];
        int64_t n = d->n_dim > 0 && hy__group_is_trained(d->group) ? 1 : 0;
        for (int i = 0; i < d->n_dim; i++) n *= d->shape[i];
        if (hy__stage_times(s, p->letter, hy__group_name(d->group)) > 0)
            sum += n * (d->shared ? 1 : p->n_layer);
    }
    return sum;
}

static hy__shape shape_of(const hy__stage *s) {
    return (hy__shape){.phase = HY__PHASE_TRAIN,
                       .batch = s->train.batch,
                       .tokens = hy__stage_batch_tokens(s) / s->train.batch,
                       .recompute = s->train.recompute,
                       .store = HY__STORE_FP32};
}

/* `all`: with every letter; `run`: with those that are on. */
static hy_status fill_row(hy__agenda_row *row, const hy__stage *s, const hy__account *all,
                          const hy__account *run, const hy__hardware *h, hy_error *err) {
    const hy__shape shape = shape_of(s);
    hy__spent part[HY__PART_MAX + 1];
    hy__memory memory;
    const double batches = (double)s->steps * (double)s->train.accumulate;
    hy__shape shortest = shape;
    shortest.document = 1;
    HY_TRY(hy__account_memory(all, &shape, &row->memory, err));
    HY_TRY(hy__account_memory(all, &shortest, &memory, err));
    row->grown = row->memory.states - memory.states;
    HY_TRY(hy__account_memory(run, &shape, &memory, err));
    HY_TRY(hy__account_spend(run, &shape, part, err));
    row->memory.total += memory.activations - row->memory.activations;
    row->memory.activations = memory.activations;
    row->param = hy__account_count(all, false);
    row->active = hy__account_count(run, true);
    for (int64_t i = 0; i < run->n_part; i++) row->trained += trained_of(s, &run->part[i]);
    row->flops = batches * hy__spent_flops(&part[run->n_part]);
    if (!h) return HY_OK;
    const hy__store operands = s->train.dtype == HY__TRAIN_BF16 ? HY__STORE_BF16 : HY__STORE_FP32;
    row->seconds = batches * hy__account_bound(&part[run->n_part], h, operands).seconds;
    return HY_OK;
}

static hy_status fill(hy__agenda *a, hy__account *all, hy__account *run, const hy__hardware *h,
                      hy_error *err) {
    for (int64_t i = 0; i < a->recipe->n; i++) {
        const hy__stage *s = &a->recipe->stage[i];
        hy__agenda_row *row = &a->row[i];
        hy__config runs;
        hy__stage_running(s, &runs);
        hy__account_init(all, &s->cfg, &s->train);
        hy__account_init(run, &runs, &s->train);
        const hy_status status = fill_row(row, s, all, run, h, err);
        if (status != HY_OK) return hy__recipe_fail_in(a->recipe, s, 0, status, err);
        if (s->upcycles && s->part == 0 && i > 0) {
            const hy__memory *was = &a->row[i - 1].memory;
            row->memory.total += was->weights + was->gradients + was->moments;
        }
        a->steps += s->steps;
        a->tokens += s->tokens;
        a->flops += row->flops;
        a->seconds += row->seconds;
        if (row->memory.total > a->memory) a->memory = row->memory.total;
    }
    return HY_OK;
}

hy_status hy__agenda_init(hy__agenda *a, const hy__recipe *r, const hy__hardware *hardware,
                          hy_error *err) {
    *a = (hy__agenda){.recipe = r, .row = calloc((size_t)r->n, sizeof *a->row)};
    hy__account *accounts = calloc(2, sizeof *accounts);
    hy_status status = HY_OK;
    if (hardware) a->hardware = *hardware;
    if (!a->row || !accounts) status = hy__no_memory(err, "a plan");
    if (status == HY_OK) status = fill(a, &accounts[0], &accounts[1], hardware, err);
    free(accounts);
    if (status != HY_OK) hy__agenda_release(a);
    return status;
}

void hy__agenda_release(hy__agenda *a) {
    free(a->row);
    *a = (hy__agenda){0};
}

hy_status hy__agenda_check_memory(const hy__agenda *a, double bytes, hy_error *err) {
    for (int64_t i = 0; i < a->recipe->n; i++) {
        const double need = a->row[i].memory.total - a->row[i].grown;
        if (need <= bytes) continue;
        hy__fail(err, HY_E_MEMORY,
                 "it needs %s of memory, and there are %s; a smaller train.batch or "
                 "train.recompute helps",
                 hy__bytes(need).text, hy__bytes(bytes).text);
        return hy__recipe_fail_in(a->recipe, &a->recipe->stage[i], 0, HY_E_MEMORY, err);
    }
    return HY_OK;
}
