/* compare.c: two configurations at one length; the length at which they cross; the rivals of equal
 * parameters; lower bounds of time. */
#include "account/account.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

hy__bound hy__account_bound(const hy__spent *all, const hy__hardware *h, hy__store operands) {
    const double peak = hy__hardware_peak(h, hy__store_operand(operands));
    hy__bound b = {.compute = hy__spent_flops(all) / peak,
                   .memory = hy__spent_least_bytes(all) / h->bandwidth};
    b.seconds = fmax(b.compute, b.memory);
    return b;
}

/* ---- crossing ---- */

double hy__account_measure(const hy__account *a, hy__measure m, int64_t tokens, hy__store store) {
    static const hy__phase PHASE[] = {HY__PHASE_TRAIN, HY__PHASE_PREFILL, HY__PHASE_DECODE};
    hy__spent part[HY__PART_MAX + 1];
    hy_error err;
    if (m == HY__MEASURE_STATE) return hy__account_state(a, tokens, store);
    const hy__shape shape = {.phase = PHASE[m], .batch = 1, .tokens = tokens, .store = store};
    if (hy__account_spend(a, &shape, part, &err) != HY_OK) return NAN;
    const hy__spent *all = &part[a->n_part];
    /* the update is the same for any number of sequences */
    return m == HY__MEASURE_DECODE ? hy__spent_least_bytes(all)
                                   : hy__spent_flops(all) - all->update;
}

static bool needs_less(const hy__account *a, const hy__account *b, hy__measure m, int64_t tokens,
                       hy__store store) {
    return hy__account_measure(a, m, tokens, store) < hy__account_measure(b, m, tokens, store);
}

int64_t hy__account_cross(const hy__account *a, const hy__account *b, hy__measure m,
                          hy__store store) {
    enum { FAR = 20 /* log2 of the longest */ };
    int last = FAR;
    while (last >= 0 && needs_less(a, b, m, (int64_t)1 << last, store)) last--;
    if (last == FAR) return 0;
    if (last < 0) return 1;
    int64_t wrong = (int64_t)1 << last, right = 2 * wrong;
    while (right - wrong > 1) {
        const int64_t mid = (wrong + right) / 2;
        if (needs_less(a, b, m, mid, store))
            right = mid;
        else
            wrong = mid;
    }
    return right;
}

/* ---- rivals ---- */

static int64_t count(const hy__config *c) {
    static const hy__train_config none = {0};
    hy__account a;
    hy__account_init(&a, c, &none);
    return hy__account_count(&a, false);
}

/* A config of n repetitions of `word` at width d. */
static hy_status make(hy__config *c, const hy__config *like, bool attention, int64_t n, int64_t d,
                      hy_error *err) {
    hy__train_config unused;
    hy__config_default(c, &unused);
    c->model = like->model;
    c->model.d_model = d;
    c->ssm = like->ssm;
    snprintf(c->model.layers, sizeof c->model.layers, "%dx(%s)", (int)n, attention ? "AF" : "S");
    if (attention) {
        c->attention.window = HY__COUNTED_MAX; /* all */
        c->attention.topk = 0;
        c->attention.rope_theta = 1e4;
    }
    return hy__config_finish(c, err);
}

/* The number of layers that comes nearest to `want` parameters at this width. */
static hy_status nearest(hy__config *c, const hy__config *like, bool attention, int64_t want,
                         int64_t d, hy_error *err) {
    HY_TRY(make(c, like, attention, 1, d, err));
    const int64_t one = count(c);
    HY_TRY(make(c, like, attention, 2, d, err));
    const int64_t layer = count(c) - one, most = HY__LAYER_MAX / (attention ? 2 : 1);
    int64_t n = 1 + (want - one + layer / 2) / layer;
    n = n < 1 ? 1 : n > most ? most : n;
    return make(c, like, attention, n, d, err);
}

/* How far a rival is off in depth and width (distances of logarithms), and above all in size: a
 * hundredth of the parameters weighs as much as a fifth of the depth. */
static double unlike(const hy__config *c, const hy__config *like, int64_t want) {
    enum { SIZE_WEIGHS = 20 };
    const double size = log((double)count(c) / (double)want);
    const double depth = log((double)c->n_layer / (double)like->n_layer);
    const double width = log((double)c->model.d_model / (double)like->model.d_model);
    return SIZE_WEIGHS * fabs(size) + hypot(depth, width);
}

hy_status hy__account_rival(const hy__account *a, const char *kind, hy__account *rival,
                            hy_error *err) {
    const bool attention = strcmp(kind, "transformer") == 0;
    const int64_t want = hy__account_count(a, false), d0 = a->cfg.model.d_model;
    const int64_t step = d0 >= 256 ? 64 : a->cfg.ssm.head_dim;
    hy__config best = {0};
    double best_off = INFINITY;
    if (!attention && strcmp(kind, "mamba2") != 0) {
        return hy__fail(err, HY_E_INVALID,
                        "there is no rival \"%.100s\", wanted transformer, mamba2 or a file", kind);
    }
    for (int64_t i = 0; i <= 16; i++) {
        hy__config c;
        hy_error refused;
        const int64_t d = d0 + i * step;
        if (nearest(&c, &a->cfg, attention, want, d, &refused) != HY_OK) continue;
        const double off = unlike(&c, &a->cfg, want);
        if (off < best_off) {
            best = c;
            best_off = off;
        }
    }
    if (best.n_layer == 0) {
        return hy__fail(err, HY_E_INVALID,
                        "no %s of about %lld parameters has heads of a whole width, wanted another "
                        "model to compare with, or none",
                        kind, (long long)want);
    }
    hy__account_init(rival, &best, &a->train);
    return HY_OK;
}
