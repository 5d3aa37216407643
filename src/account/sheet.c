/* sheet.c: fills a sheet; see sheet.h. */
#include "account/sheet.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

hy__sheet_options hy__sheet_defaults(const hy__account *a) {
    static const int64_t length[] = {1024, 8192, 65536, 1 << 20};
    hy__sheet_options o = {.batch = a->train.batch,
                           .tokens = hy__config_segment(&a->cfg, &a->train),
                           .recompute = a->train.recompute,
                           .document = HY__DOCUMENT,
                           .store = HY__STORE_BF16,
                           .sequences = 1,
                           .devices = 1,
                           .n_length = sizeof length / sizeof *length};
    memcpy(o.length, length, sizeof length);
    const hy__hardware *table = hy__hardware_table(&o.n_hardware);
    if (o.n_hardware > HY__SHEET_HARDWARE) o.n_hardware = HY__SHEET_HARDWARE;
    memcpy(o.hardware, table, (size_t)o.n_hardware * sizeof *table);
    return o;
}

/* ---- one configuration ---- */

static hy__shape shape_of(const hy__sheet *s, hy__phase phase, int64_t batch, int64_t tokens) {
    return (hy__shape){.phase = phase,
                       .batch = batch,
                       .tokens = tokens,
                       .document = s->opt.document,
                       .recompute = phase == HY__PHASE_TRAIN && s->opt.recompute,
                       .store = phase == HY__PHASE_TRAIN ? HY__STORE_FP32 : s->opt.store};
}

static hy_status fill_training(hy__sheet *s, hy_error *err) {
    for (int again = 0; again < 2; again++) {
        hy__shape shape = shape_of(s, HY__PHASE_TRAIN, s->opt.batch, s->opt.tokens);
        shape.recompute = again;
        HY_TRY(hy__account_memory(&s->account, &shape, &s->memory[again], err));
        HY_TRY(hy__account_spend(&s->account, &shape, s->train[again], err));
    }
    return HY_OK;
}

static hy_status fill_lengths(hy__sheet *s, hy_error *err) {
    double nearest = INFINITY;
    for (int64_t i = 0; i < s->opt.n_length; i++) {
        hy__sheet_length *l = &s->length[i];
        l->tokens = s->opt.length[i];
        const hy__shape prefill = shape_of(s, HY__PHASE_PREFILL, 1, l->tokens);
        const hy__shape decode = shape_of(s, HY__PHASE_DECODE, 1, l->tokens);
        const hy__shape serve = shape_of(s, HY__PHASE_DECODE, s->opt.sequences, l->tokens);
        HY_TRY(hy__account_spend(&s->account, &prefill, l->prefill, err));
        HY_TRY(hy__account_spend(&s->account, &decode, l->decode, err));
        HY_TRY(hy__account_memory(&s->account, &serve, &l->serving, err));
        l->state = hy__account_state(&s->account, l->tokens, s->opt.store);
        const double off = fabs(log((double)l->tokens / (double)s->opt.tokens));
        if (off < nearest) {
            nearest = off;
            s->at = i;
        }
    }
    return HY_OK;
}

static void fill_curve(const hy__sheet *s, const hy__account *a, hy__sheet_curve *curve) {
    for (hy__measure m = 0; m < HY__MEASURE_N; m++)
        for (int i = 0; i < HY__SHEET_CURVE; i++)
            curve->measure[m][i] = hy__account_measure(a, m, (int64_t)1 << i, s->opt.store);
}

static hy_status fill_parts(hy__sheet *s, hy_error *err) {
    for (int i = 0; i < HY__SHEET_CURVE; i++) {
        hy__spent part[HY__PART_MAX + 1];
        const hy__shape shape = shape_of(s, HY__PHASE_PREFILL, 1, (int64_t)1 << i);
        HY_TRY(hy__account_spend(&s->account, &shape, part, err));
        for (int64_t p = 0; p < s->account.n_part; p++)
            s->curve_flops[p][i] = hy__spent_flops(&part[p]) / (double)shape.tokens;
    }
    return HY_OK;
}

/* ---- hardware ---- */

/* A micro-batch as large as planned, or as fits; what fits not at all is timed as planned. */
static hy_status fill_training_time(hy__sheet *s, hy__sheet_hardware *to, hy_error *err) {
    hy__spent part[HY__PART_MAX + 1];
    const hy__store operands =
        s->account.train.dtype == HY__TRAIN_BF16 ? HY__STORE_BF16 : HY__STORE_FP32;
    to->trains = to->batch > 0;
    to->trained = to->trains && to->batch < s->opt.batch ? to->batch : s->opt.batch;
    const hy__shape train = shape_of(s, HY__PHASE_TRAIN, to->trained, s->opt.tokens);
    HY_TRY(hy__account_spend(&s->account, &train, part, err));
    to->train = hy__account_bound(&part[s->account.n_part], to->hardware, operands);
    to->days = to->train.seconds / (double)(to->trained * s->opt.tokens) * s->opt.budget /
               (double)s->opt.devices / 86400;
    return HY_OK;
}

static hy_status fill_hardware(hy__sheet *s, int64_t i, hy_error *err) {
    hy__sheet_hardware *to = &s->hardware[i];
    const hy__hardware *h = &s->opt.hardware[i];
    const int64_t n_part = s->account.n_part;
    hy__shape train = shape_of(s, HY__PHASE_TRAIN, s->opt.batch, s->opt.tokens);
    const hy__sheet_length *at = &s->length[s->at];
    to->hardware = h;
    to->serves = at->serving.total <= h->memory;
    to->prefill = hy__account_bound(&at->prefill[n_part], h, s->opt.store);
    to->decode = hy__account_bound(&at->decode[n_part], h, s->opt.store);
    to->batch = hy__account_fit_batch(&s->account, &train, h->memory, &to->batch_limit);
    train.batch = 1;
    to->tokens = hy__account_fit_tokens(&s->account, &train, h->memory, &to->tokens_limit);
    const hy__shape serve = shape_of(s, HY__PHASE_DECODE, s->opt.sequences, 1);
    to->served = hy__account_fit_tokens(&s->account, &serve, h->memory, &to->served_limit);
    return fill_training_time(s, to, err);
}

/* ---- all ---- */

static void fill_rival(hy__sheet *s, hy__sheet_rival *r) {
    fill_curve(s, &r->account, &r->curve);
    for (hy__measure m = 0; m < HY__MEASURE_N; m++)
        r->cross[m] = hy__account_cross(&s->account, &r->account, m, s->opt.store);
}

hy_status hy__sheet_fill(hy__sheet *s, const hy__account *a, const char *name,
                         const hy__sheet_options *opt, hy_error *err) {
    snprintf(s->name, sizeof s->name, "%s", name);
    s->account = *a;
    s->opt = *opt;
    s->layers = a->cfg.n_layer;
    s->param = hy__account_count(a, false);
    s->active = hy__account_count(a, true);
    if (s->opt.budget <= 0) s->opt.budget = 20 * (double)s->active; /* arXiv 2203.15556 */
    for (hy__store k = 0; k < HY__STORE_N; k++) s->weights[k] = hy__account_weight_bytes(a, k);
    HY_TRY(fill_training(s, err));
    HY_TRY(fill_lengths(s, err));
    HY_TRY(fill_parts(s, err));
    fill_curve(s, a, &s->curve);
    for (int64_t i = 0; i < s->n_rival; i++) fill_rival(s, &s->rival[i]);
    for (int64_t i = 0; i < s->opt.n_hardware; i++) HY_TRY(fill_hardware(s, i, err));
    return HY_OK;
}
