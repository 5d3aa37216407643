/* law.c: see law.h. */
#include "support/law.h"

#include "base/rng.h"
#include "ckpt/checkpoint.h"
#include "infer/engine.h"
#include "support/op.h"

#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

void law_ok(hy_status status, const hy_error *err) {
    if (status != HY_OK) fail_msg("%s", err->text);
}

void law_save(const hy__model *m, const char *dir) {
    hy_error err = {0};
    hy__fileset *set = NULL;
    law_ok(hy__fileset_open(&set, dir, &err), &err);
    law_ok(hy__checkpoint_put(set, m, NULL, NULL, 0, &err), &err);
    law_ok(hy__fileset_commit(set, &err), &err);
}

int64_t law_below(uint64_t seed, uint64_t counter, int64_t n) {
    return hy__rng_below(hy__rng_key(seed, "law", 0), counter, n);
}

void law_finish(hy__config *c) {
    hy_error err = {0};
    law_ok(hy__config_finish(c, &err), &err);
}

/* Sizes that a test can afford; what the layers do is left as it is. */
static void make_small(hy__config *c) {
    memset(c->derived, 0,
           sizeof c->derived); /* what is set here stays, even if it equals a default */
    c->model.d_model = 32;
    c->model.vocab = 50;
    if (c->model.chunk > 32) c->model.chunk = 32;
    c->ssm.head_dim = 16;
    c->ssm.d_state = 12;
    c->attention.n_head = 4;
    c->attention.n_kv = c->attention.n_kv < 4 ? c->attention.n_kv : 2;
    c->attention.head_dim = 8;
    if (c->attention.window < 1000) c->attention.window = 20; /* full attention stays full */
    if (c->attention.topk > 2) c->attention.topk = 2;
    if (c->attention.memory_blocks > 0) c->attention.memory_blocks = 3;
    c->experts.d_ff = 24;
    if (c->experts.expert_chunk > c->model.chunk / 2) c->experts.expert_chunk = c->model.chunk / 2;
    c->ffn.d_ff = 40;
    c->workspace.n_head = 2;
    c->workspace.d_k = 8;
    c->workspace.d_v = 12;
    c->pkm.n_head = 2;
    c->pkm.n_key = 8;
    c->pkm.d_key = 8;
    c->pkm.topk = 4;
    c->pkm.d_value = 20;
}

void law_each_shipped(law_config_fn fn) {
    glob_t found;
    assert_int_equal(glob("configs/*.yaml", 0, NULL, &found), 0);
    assert_true(found.gl_pathc >= 12);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        if (strstr(found.gl_pathv[i], "curriculum-")) continue; /* recipes */
        hy__config c;
        hy_error err = {0};
        law_ok(hy__config_read_yaml(found.gl_pathv[i], &c, NULL, &err), &err);
        make_small(&c);
        law_finish(&c);
        fn(&c, 2000 + i); /* 1000 stands on a tie, where rounding decides a choice */
    }
    globfree(&found);
}

static hy__config small_config(const char *pattern) {
    hy__config c;
    hy__train_config t;
    hy__config_default(&c, &t);
    snprintf(c.model.layers, sizeof c.model.layers, "%s", pattern);
    c.model.d_model = 32;
    c.model.vocab = 50;
    c.model.chunk = 16;
    c.ssm.head_dim = 16;
    c.ssm.d_state = 12;
    c.attention.n_head = 4;
    c.attention.n_kv = 2;
    c.attention.head_dim = 8;
    c.attention.window = 20;
    c.attention.topk = 2;
    c.experts.n_expert = 4;
    c.experts.k = 2;
    c.experts.d_ff = 24;
    c.experts.expert_chunk = 8;
    c.ffn.d_ff = 40;
    c.workspace.n_head = 2;
    c.workspace.d_k = 8;
    c.workspace.d_v = 12;
    c.workspace.reads = 3;
    c.pkm.n_head = 2;
    c.pkm.n_key = 8;
    c.pkm.d_key = 8;
    c.pkm.topk = 4;
    c.pkm.d_value = 20;
    return c;
}

hy__config law_config(const char *pattern) {
    hy__config c = small_config(pattern);
    law_finish(&c);
    return c;
}

void law_each_letter(law_letter_fn fn) {
    for (const char *p = "SAEFWP"; *p; p++) {
        const hy__config c = law_config((char[]){*p, 0});
        for (const char *const *be = hy__backend_names(); *be; be++) fn(*be, &c, (uint64_t)*p);
    }
}

hy__config law_random_config(uint64_t seed, int64_t max_layer) {
    char pattern[128] = "";
    uint64_t at = 0;
    const int64_t n = 1 + law_below(seed, at++, max_layer);
    size_t len = 0;
    for (int64_t i = 0; i < n; i++) {
        if (i > 0 && law_below(seed, at++, 2)) pattern[len++] = ' ';
        pattern[len++] = "SAEFWP"[law_below(seed, at++, 6)];
    }
    pattern[len] = '\0';
    hy__config c = small_config(pattern);
    c.model.chunk = 16 * (1 + law_below(seed, at++, 3));
    c.ssm.n_group = 1 + law_below(seed, at++, 2);
    c.attention.n_kv = 1 << law_below(seed, at++, 3);
    c.attention.window = 1 + law_below(seed, at++, 50);
    c.attention.topk = law_below(seed, at++, 4);
    const int64_t memory = law_below(seed, at++, 8);
    c.attention.memory_blocks = memory > 4 ? 0 : memory;
    c.attention.qk_norm = law_below(seed, at++, 3) > 0;
    c.attention.rope_theta = law_below(seed, at++, 2) ? 10000.0 : 0.0;
    c.experts.expert_chunk = 4 << law_below(seed, at++, 3);
    c.experts.route = (hy__route_mode)law_below(seed, at++, 3);
    c.experts.shortlist = 3;
    c.experts.shared = law_below(seed, at++, 2);
    c.workspace.reads = 1 + law_below(seed, at++, 4);
    law_finish(&c);
    return c;
}

/* Every parameter: its own initial value plus noise, rounded to float. */
static void shake(hy__model *m, uint64_t seed) {
    hy__model_randomize(m, seed);
    for (int64_t i = 0; i < m->n_param; i++) {
        hy__param *p = &m->param[i];
        double *noise = op_random(seed * 1000 + (uint64_t)i, p->n, 0.1);
        float *value = malloc((size_t)p->n * sizeof *value);
        hy__tensor_read_f32(m->be, value, p->value, p->n);
        for (int64_t j = 0; j < p->n; j++) value[j] += (float)noise[j];
        hy__tensor_write_f32(m->be, p->value, value, p->n);
        free(noise);
        free(value);
    }
}

static void open_random(law_model *lm, const char *backend, const hy__config *c, uint64_t seed,
                        bool bf16) {
    hy_error err = {0};
    law_ok(hy__backend_open(&lm->be, backend, 2, &err), &err);
    law_ok(hy__model_new(&lm->m, lm->be, c, bf16 ? HY__DTYPE_BF16 : lm->be->real, &err), &err);
    shake(lm->m, seed);
}

void law_open(law_model *lm, const char *backend, const hy__config *c, uint64_t seed) {
    open_random(lm, backend, c, seed, false);
}

void law_open_bf16(law_model *lm, const char *backend, const hy__config *c, uint64_t seed) {
    open_random(lm, backend, c, seed, true);
}

void law_close(law_model *lm) {
    hy__model_free(lm->m);
    hy__backend_free(lm->be);
}

int32_t *law_tokens(uint64_t seed, int64_t n, int64_t vocab) {
    int32_t *token = malloc((size_t)n * sizeof *token);
    for (int64_t i = 0; i < n; i++) token[i] = (int32_t)law_below(seed, (uint64_t)i, vocab);
    return token;
}

double *law_logits(law_model *lm, const int32_t *token, int64_t n, const int64_t *cut,
                   int64_t n_cut, hy__state **state) {
    hy_error err = {0};
    hy__state *s = NULL;
    hy__work *w = NULL;
    const int64_t vocab = lm->m->cfg.model.vocab;
    double *out = malloc((size_t)(n * vocab) * sizeof *out);
    law_ok(hy__state_new(&s, lm->m, 16, &err), &err);
    law_ok(hy__session_work(&w, &(hy_model){.be = lm->be, .net = lm->m}, &err), &err);
    for (int64_t i = 0; i <= n_cut; i++) {
        const int64_t from = i == 0 ? 0 : cut[i - 1], to = i == n_cut ? n : cut[i];
        const hy__seq seq = {.start = 0, .len = to - from, .pos = from};
        const hy__batch b = {.rows = {.n_row = to - from, .n_seq = 1, .seq = &seq},
                             .token = token + from,
                             .state_in = &s,
                             .state_out = &s};
        law_ok(hy__forward(w, &b, &err), &err);
        law_ok(hy__logits_f64(w, 0, to - from, out + from * vocab, &err), &err);
    }
    hy__work_free(w);
    if (state)
        *state = s;
    else
        hy__state_free(s);
    return out;
}

int64_t law_cuts(uint64_t seed, int64_t n, int64_t *cut, int64_t max) {
    int64_t count = 0, at = 0;
    while (count < max) {
        at += 1 + law_below(seed, (uint64_t)count, 1 + n / 3);
        if (at >= n) break;
        cut[count++] = at;
    }
    return count;
}

/* 1 where position p of the cache, of elements `wide` per position, is one a later token may read.
 */
static void mark_cache(const hy__state *s, double *mask, int64_t page, int64_t wide, bool sums) {
    const int64_t chunk = s->model->cfg.model.chunk, n_slot = s->n_slot;
    const int64_t last = (s->pos - 1) / chunk;
    for (int64_t b = 0; s->pos > 0 && b <= last; b++) {
        if (b > 0 && b < last - (n_slot - 2)) continue; /* overwritten in the ring */
        const int64_t held = b == last ? s->pos - b * chunk : chunk;
        double *at = mask + hy__kv_slot(b, n_slot) * page;
        for (int64_t i = 0; i < (sums ? wide : held * wide); i++) at[i] = 1;
    }
}

void law_each_state(const hy__state *s, bool for_gradient, law_state_fn fn, void *user) {
    const hy__model *m = s->model;
    for (int64_t l = 0; l < m->cfg.n_layer; l++)
        for (int id = 0; id < m->layer[l].decl.n_state; id++) {
            const hy__state_decl *d = &m->layer[l].decl.state[id];
            const int64_t n = d->fixed + d->per_slot * s->n_slot;
            const bool sums = strcmp(d->name, "ksum") == 0;
            double *mask = calloc((size_t)n + 1, sizeof *mask);
            for (int64_t i = 0; i < d->fixed; i++) mask[i] = s->pos > 0;
            if (d->per_slot > 0 && !(sums && for_gradient)) {
                const int64_t wide = sums ? d->per_slot : d->per_slot / m->cfg.model.chunk;
                mark_cache(s, mask, d->per_slot, wide, sums);
            }
            fn(user, s->t[l * HY__STATE_MAX + id], mask, n);
            free(mask);
        }
}

typedef struct gather {
    hy__backend *be;
    double *value;
    int64_t n;
} gather;

static void gather_tensor(void *user, hy__tensor t, const double *mask, int64_t n) {
    gather *g = user;
    g->value = realloc(g->value, (size_t)(g->n + n + 1) * sizeof *g->value);
    double *read = g->value + g->n;
    hy__tensor_read_f64(g->be, read, t, n);
    for (int64_t i = 0; i < n; i++)
        if (mask[i] != 0) g->value[g->n++] = read[i];
}

double *law_state_values(const hy__state *s, int64_t *n) {
    gather g = {.be = s->model->be};
    g.value = malloc(sizeof *g.value);
    law_each_state(s, false, gather_tensor, &g);
    *n = g.n;
    return g.value;
}
