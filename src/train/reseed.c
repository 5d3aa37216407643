/* reseed.c: dead sub-keys of P begin anew.
 *
 * A sub-key (layer, head, half, index) is dead when no choice of `reseed` tokens of the stage's
 * text has it. It becomes a copy of one of the much-used ones of its half, in the order of their
 * use, with noise of a tenth of its size, so that both share what the one had drawn; moments of
 * dead keys are cleared. */
#include "train/trainer.h"

#include "base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double NOISE = 0.1; /* of a copy's rms */

/* How often the sub-keys of P layers were chosen: [n_layer][head][half][n_key]. */
typedef struct census {
    int64_t *count; /* owned */
    int32_t *row;   /* [most rows, head, topk], owned */
    int64_t each;   /* counts of a layer */
} census;

static bool is_pkm(const hy__trainer *tr, int64_t layer) {
    return tr->cfg.letter[layer] == 'P' && hy__stage_runs(tr->stage, layer);
}

static hy_status census_init(census *c, const hy__trainer *tr, hy_error *err) {
    const hy__config *cfg = &tr->cfg;
    c->each = cfg->pkm.n_head * 2 * cfg->pkm.n_key;
    c->count = calloc((size_t)(cfg->n_layer * c->each), sizeof *c->count);
    const int64_t most = hy__loader_max_rows(tr->train) * cfg->pkm.n_head * cfg->pkm.topk;
    c->row = malloc((size_t)most * sizeof *c->row);
    if (c->count && c->row) return HY_OK;
    return hy__no_memory(err, "looking for dead sub-keys");
}

/* Adds the choices of the last forward: row i·n_key + j of the table is sub-key i of one half and j
 * of the other. */
static hy_status add_choices(census *c, hy__trainer *tr, int64_t layer, int64_t n_row,
                             hy_error *err) {
    const int64_t n_key = tr->cfg.pkm.n_key, n_head = tr->cfg.pkm.n_head, k = tr->cfg.pkm.topk;
    HY_TRY(hy__get_rows(tr->work, layer, c->row, err));
    for (int64_t i = 0; i < n_row * n_head * k; i++) {
        int64_t *count = c->count + layer * c->each + i / k % n_head * 2 * n_key;
        count[c->row[i] / n_key]++;
        count[n_key + c->row[i] % n_key]++;
    }
    return HY_OK;
}

static hy_status count_use(census *c, hy__trainer *tr, hy_error *err) {
    int64_t number = hy__stage_first_batch(tr);
    for (int64_t seen = 0; seen < tr->stage->reseed;) {
        const hy__loader_batch *b;
        HY_TRY(hy__loader_get(tr->train, number++, &b, err));
        hy__lanes none = {.now = tr->lanes.now}; /* fresh ones, which stay so */
        HY_TRY(hy__trainer_forward(tr, tr->work, &none, b, err));
        for (int64_t i = 0; i < tr->cfg.n_layer; i++)
            if (is_pkm(tr, i)) HY_TRY(add_choices(c, tr, i, b->n_row, err));
        seen += b->n_row;
    }
    hy__model_clear_stats(tr->model);
    return HY_OK;
}

/* The most used of `count` that is not taken yet; it becomes taken. -1: none that is used is left.
 */
static int64_t take_most_used(int64_t *count, int64_t n) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (count[i] > count[best]) best = i;
    if (count[best] <= 0) return -1;
    count[best] = -count[best];
    return best;
}

/* Gives the dead of one half new places. key, m, v: [n_key, width] of it on the host. */
static void reseed_half(int64_t *count, double *key, double *m, double *v, int64_t n_key,
                        int64_t width, uint64_t seed) {
    for (int64_t dead = 0; dead < n_key; dead++) {
        if (count[dead] != 0) continue;
        const int64_t from = take_most_used(count, n_key);
        if (from < 0) return; /* more dead ones than living: the rest wait for the next time */
        double sum = 0;
        for (int64_t i = 0; i < width; i++) sum += key[from * width + i] * key[from * width + i];
        const double size = NOISE * sqrt(sum / (double)width);
        for (int64_t i = 0; i < width; i++) {
            const int64_t at = dead * width + i;
            key[at] = key[from * width + i] + size * hy__rng_normal(seed, (uint64_t)at);
            m[at] = v[at] = 0;
        }
    }
}

static hy_status reseed_layer(hy__trainer *tr, int64_t layer, int64_t *count, hy_error *err) {
    const hy__config *cfg = &tr->cfg;
    char name[HY__NAME_MAX];
    snprintf(name, sizeof name, "backbone.layers.%d.mixer.keys", (int)layer);
    const hy__param *p = hy__model_find(tr->model, name);
    HY_ASSERT(p != NULL);
    const int64_t at = p - tr->model->param, half = cfg->pkm.n_key * (cfg->pkm.d_key / 2);
    const hy__tensor t[] = {p->value, tr->optim->m[at], tr->optim->v[at]};
    double *x = malloc(3 * (size_t)p->n * sizeof *x);
    if (!x) return hy__no_memory(err, "reseeding sub-keys");
    for (int i = 0; i < 3; i++) hy__tensor_read_f64(tr->be, x + i * p->n, t[i], p->n);
    for (int64_t i = 0; i < 2 * cfg->pkm.n_head; i++) {
        const uint64_t seed = hy__rng_key((uint64_t)tr->base_t.seed, name,
                                          (uint64_t)(tr->at.step + 1) << 8 | (uint64_t)i);
        double *key = x + i * half;
        reseed_half(count + i * cfg->pkm.n_key, key, key + p->n, key + 2 * p->n, cfg->pkm.n_key,
                    cfg->pkm.d_key / 2, seed);
    }
    for (int i = 0; i < 3; i++) hy__tensor_write_f64(tr->be, t[i], x + i * p->n, p->n);
    free(x);
    return hy__backend_check(tr->be, err);
}

hy_status hy__reseed(hy__trainer *tr, hy_error *err) {
    census c = {0};
    hy_status status = census_init(&c, tr, err);
    if (status == HY_OK) status = count_use(&c, tr, err);
    for (int64_t i = 0; status == HY_OK && i < tr->cfg.n_layer; i++)
        if (is_pkm(tr, i)) status = reseed_layer(tr, i, c.count + i * c.each, err);
    free(c.count);
    free(c.row);
    return status;
}
