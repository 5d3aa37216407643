/* bench.c: runs what bench.h promises: which rows, on which models, in which order. One row is
 * measure.c. */
#include "bench/bench.h"

#include "base/memory.h"
#include "bench/measure.h"
#include "ckpt/checkpoint.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

const char *hy__phase_name(hy__phase p) {
    static const char *const name[] = {[HY__PHASE_TRAIN] = "train",
                                       [HY__PHASE_PREFILL] = "prefill",
                                       [HY__PHASE_DECODE] = "decode"};
    return name[p];
}

/* ---- which rows ---- */

/* Training last: a model that has gradients keeps them. */
static const hy__phase ORDER[] = {HY__PHASE_PREFILL, HY__PHASE_DECODE, HY__PHASE_TRAIN};

static hy__shape shape_of(const hy__bench_options *opt, hy__phase phase, hy__store store,
                          int64_t tokens) {
    return (hy__shape){.phase = phase,
                       .batch = opt->batch,
                       .tokens = tokens,
                       .recompute = phase == HY__PHASE_TRAIN && opt->train.recompute,
                       .store = store};
}

/* Calls fn for every row, in the order in which they are measured. */
typedef hy_status (*each_fn)(void *user, const hy__shape *shape, hy_error *err);

static hy_status each_row(const hy__bench_options *opt, each_fn fn, void *user, hy_error *err) {
    for (hy__store store = 0; store < HY__STORE_N; store++)
        for (int i = 0; i < HY__PHASE_N && opt->store[store]; i++)
            for (int64_t j = 0; j < opt->n_tokens && opt->phase[ORDER[i]]; j++) {
                const hy__shape shape = shape_of(opt, ORDER[i], store, opt->tokens[j]);
                HY_TRY(fn(user, &shape, err));
            }
    return HY_OK;
}

enum { TITLE = 128 /* bytes */ };

static void title(const hy__shape *s, char out[TITLE]) {
    snprintf(out, TITLE, "%s %s, %" PRId64 " x %" PRId64 " tokens", hy__phase_name(s->phase),
             hy__store_name[s->store], s->batch, s->tokens);
}

/* ---- before anything is built ---- */

typedef struct fit {
    hy__account account;
    int64_t free_bytes, n_row;
} fit;

static hy_status fits(void *user, const hy__shape *shape, hy_error *err) {
    fit *f = user;
    hy__memory m;
    char what[TITLE];
    f->n_row++;
    title(shape, what);
    const hy_status status = hy__account_memory(&f->account, shape, &m, err);
    if (status != HY_OK) return hy__fail_in(err, status, "%s", what);
    if (shape->phase == HY__PHASE_TRAIN) { /* a step from fresh states: nothing is carried */
        m.total -= m.states;
        m.states = 0;
    }
    if (f->free_bytes <= 0 || m.total <= (double)f->free_bytes) return HY_OK;
    return hy__fail(err, HY_E_MEMORY,
                    "%s would take %.2f GB (weights %.2f, gradients and moments %.2f, activations "
                    "%.2f, states %.2f), and %.2f GB are free; fewer --tokens or a smaller --batch "
                    "need less",
                    what, m.total / 1e9, m.weights / 1e9, (m.gradients + m.moments) / 1e9,
                    m.activations / 1e9, m.states / 1e9, (double)f->free_bytes / 1e9);
}

static hy_status look_ahead(const hy__bench_options *opt, int64_t free_bytes, int64_t *n_row,
                            hy_error *err) {
    fit *f = calloc(1, sizeof *f);
    if (!f) return hy__no_memory(err, "measuring");
    hy__account_init(&f->account, &opt->cfg, &opt->train);
    f->free_bytes = free_bytes;
    const hy_status status = each_row(opt, fits, f, err);
    *n_row = f->n_row;
    free(f);
    return status;
}

hy_status hy__bench_fits(const hy__bench_options *opt, int64_t free_bytes, hy_error *err) {
    int64_t n_row = 0;
    return look_ahead(opt, free_bytes, &n_row, err);
}

/* A training takes its products in fp32 or in bf16, and the latter only where the backend can. */
static hy_status can_train(const hy__backend *be, const hy__bench_options *opt, hy_error *err) {
    for (hy__store store = 0; store < HY__STORE_N && opt->phase[HY__PHASE_TRAIN]; store++) {
        if (!opt->store[store] || store == HY__STORE_FP32) continue;
        if (store != HY__STORE_BF16) {
            return hy__fail(err, HY_E_INVALID,
                            "a model cannot train in %s, wanted fp32 or bf16; leave train out of "
                            "--what for the others",
                            hy__store_name[store]);
        }
        if (!be->has_bf16) {
            return hy__fail(
                err, HY_E_UNSUPPORTED,
                "backend \"%s\" has no bf16 products on this machine, so nothing trains "
                "in bf16; leave train or bf16 out",
                be->name);
        }
    }
    return HY_OK;
}

/* ---- one after another ---- */

typedef struct runner {
    hy__bench *bench;
    hy__backend *be;
    const hy__bench_options *opt;
    hy__model *model;
    hy__ceilings *ceilings;
    hy__store model_store; /* of its weights */
} runner;

static hy_status load_model(runner *r, bool train, const char *dtype, hy_error *err) {
    hy__dtype weight;
    if (r->opt->dir) {
        return train ? hy__checkpoint_open_to_train(&r->model, r->be, r->opt->dir, err)
                     : hy__checkpoint_open(&r->model, r->be, r->opt->dir, dtype, err);
    }
    HY_TRY(hy__checkpoint_parse_dtype(&weight, r->be, dtype, err));
    HY_TRY(hy__model_new(&r->model, r->be, &r->opt->cfg, weight, err));
    hy__model_randomize(r->model, 1);
    return HY_OK;
}

/* The model of the row before will do when its weights are the same, and no training wants to write
 * into a file. */
static hy_status open_model(runner *r, const hy__shape *shape, hy_error *err) {
    const bool train = shape->phase == HY__PHASE_TRAIN;
    const hy__store store = train ? HY__STORE_FP32 : shape->store;
    if (r->model && r->model_store == store && !(train && r->model->n_file > 0)) return HY_OK;
    hy__model_free(r->model);
    r->model = NULL;
    r->model_store = store;
    return load_model(r, train, hy__store_name[store], err);
}

static hy_status open_ceilings(runner *r, hy__store store, hy_error *err) {
    if (!r->ceilings) HY_TRY(hy__ceilings_new(&r->ceilings, r->be, err));
    HY_TRY(hy__ceilings_turn(r->ceilings, store, err));
    r->bench->dense_size[store] = hy__ceilings_size(r->ceilings);
    return HY_OK;
}

static hy_status check(runner *r, const hy__shape *shape, const hy__check **out, hy_error *err) {
    const bool train = shape->phase == HY__PHASE_TRAIN;
    hy__bench *b = r->bench;
    *out = &b->check[shape->store][train];
    if (b->checked[shape->store][train]) return HY_OK;
    b->checked[shape->store][train] = true;
    return hy__check_run(&b->check[shape->store][train], r->be, &b->account, shape->store, train,
                         err);
}

static void tell(const runner *r, const hy__shape *s) {
    char what[TITLE];
    title(s, what);
    if (r->opt->progress) r->opt->progress(r->opt->user, what);
}

static hy_status run_row(void *user, const hy__shape *shape, hy_error *err) {
    runner *r = user;
    hy__bench_row *row = &r->bench->row[r->bench->n_row];
    *row = (hy__bench_row){.shape = *shape};
    tell(r, shape);
    HY_TRY(check(r, shape, &row->check, err));
    HY_TRY(open_model(r, shape, err));
    HY_TRY(open_ceilings(r, shape->store, err));
    r->bench->n_row++;
    return hy__measure_row(row,
                           &(hy__meter){.model = r->model,
                                        .account = &r->bench->account,
                                        .ceilings = r->ceilings,
                                        .runs = r->opt->runs,
                                        .warm_up = r->opt->warm_up,
                                        .profile = r->opt->kernels},
                           err);
}

static hy_status begin(hy__bench **out, const hy__backend *be, const hy__bench_options *opt,
                       hy_error *err) {
    int64_t n_row = 0;
    HY_TRY(can_train(be, opt, err));
    HY_TRY(look_ahead(opt, hy__memory_free_bytes(), &n_row, err));
    hy__bench *b = calloc(1, sizeof *b);
    if (b) b->row = calloc((size_t)n_row, sizeof *b->row);
    if (!b || !b->row) {
        free(b);
        return hy__no_memory(err, "measuring");
    }
    b->machine = hy__machine_describe();
    b->threads = be->n_thread;
    b->runs = opt->runs;
    b->warm_up = opt->warm_up;
    snprintf(b->backend, sizeof b->backend, "%s", be->name);
    snprintf(b->isa, sizeof b->isa, "%s", be->isa);
    snprintf(b->name, sizeof b->name, "%s", opt->name);
    snprintf(b->settings, sizeof b->settings, "%s", opt->settings);
    hy__train_config each = opt->train;
    each.accumulate = 1; /* a step that is measured updates once for each micro-batch */
    hy__account_init(&b->account, &opt->cfg, &each);
    *out = b;
    return HY_OK;
}

hy_status hy__bench_run(hy__bench **out, hy__backend *be, const hy__bench_options *opt,
                        hy_error *err) {
    runner r = {.be = be, .opt = opt};
    HY_TRY(begin(&r.bench, be, opt, err));
    const hy_status status = each_row(opt, run_row, &r, err);
    hy__model_free(r.model);
    hy__ceilings_free(r.ceilings);
    if (status == HY_OK) {
        *out = r.bench;
    } else {
        hy__bench_free(r.bench);
    }
    return status;
}

void hy__bench_free(hy__bench *b) {
    if (!b) return;
    for (int64_t i = 0; i < b->n_row; i++) free(b->row[i].profile);
    free(b->row);
    free(b);
}

/* ---- what failed ---- */

static void list_failed(hy__text *t, const hy__bench *b) {
    bool kernel[HY__KERNEL_N] = {false}, letter[HY__PART_MAX] = {false};
    for (int store = 0; store < HY__STORE_N; store++)
        for (int train = 0; train < 2; train++) {
            const hy__check *c = &b->check[store][train];
            for (int id = 0; id < HY__KERNEL_N; id++) kernel[id] |= c->kernel[id];
            for (int part = 0; part < HY__PART_MAX; part++) letter[part] |= c->letter[part];
        }
    const char *between = "";
    for (hy__kernel_id id = 0; id < HY__KERNEL_N; id++) {
        if (!kernel[id]) continue;
        hy__text_add(t, "%skernel %s", between, hy__kernel_name(id));
        between = ", ";
    }
    for (int64_t part = 1; part < b->account.n_part; part++) {
        if (!letter[part]) continue;
        hy__text_add(t, "%sletter %c", between, b->account.part[part].letter);
        between = ", ";
    }
}

hy_status hy__bench_verdict(const hy__bench *b, hy_error *err) {
    for (int store = 0; store < HY__STORE_N; store++)
        for (int train = 0; train < 2; train++) {
            const hy__check *c = &b->check[store][train];
            if (c->n_letter == 0) continue;
            hy__text t = {0};
            list_failed(&t, b);
            (void)hy__fail(err, HY_E_INTERNAL,
                           "not reported, because the check against ref64 "
                           "fails: %s (%s)",
                           t.data ? t.data : "", c->why.text);
            hy__text_release(&t);
            return HY_E_INTERNAL;
        }
    return HY_OK;
}
