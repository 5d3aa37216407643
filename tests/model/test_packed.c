/* test_packed.c: documents that lie in one batch know nothing of one another. Their losses and
 * gradients are those of each document alone, for every letter and for random patterns: nothing
 * passes a boundary through a convolution, a scan, a cache, a memory or the router's input. The
 * batches are the loader's, so that what training sees is what is tested. */
#include "data/build.h"
#include "data/loader.h"
#include "support/law.h"
#include "support/op.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { N_RANDOM = 40, MAX_DOCUMENT = 7, MAX_STREAM = 3 };

/* fp32 rounding through a few layers, as in test_any_split.c; a gradient is a sum over tokens. */
static double tolerance(const hy__backend *be) {
    return be->real == HY__DTYPE_F64 ? 1e-10 : 1e-3;
}

/* Documents of random letters; lengths around the chunk, one of them long. */
static hy__corpus *corpus_new(uint64_t seed, int64_t chunk) {
    char path[] = "/tmp/hydralm-packed-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    const int64_t n = 2 + law_below(seed, 0, MAX_DOCUMENT - 1);
    uint64_t counter = 1;
    for (int64_t i = 0; i < n; i++) {
        const int64_t most = i == 0 ? 5 * chunk : chunk + 3;
        const int64_t len = 2 + law_below(seed, counter++, most);
        for (int64_t j = 0; j < len; j++) {
            const char letter = (char)('a' + law_below(seed, counter++, 26));
            assert_int_equal(write(fd, &letter, 1), 1);
        }
        assert_int_equal(write(fd, "|", 1), 1);
    }
    close(fd);
    hy__tokenizer *tok;
    hy__corpus *c;
    hy_error err = {0};
    const char *const list[] = {path};
    law_ok(hy__tokenizer_open(&tok, NULL, &err), &err);
    law_ok(hy__build(
               &c,
               &(hy__build_options){.path = list, .n_path = 1, .tokenizer = tok, .separator = "|"},
               &err),
           &err);
    assert_int_equal(c->n_document[HY__PART_TRAIN], n);
    hy__tokenizer_free(tok);
    unlink(path);
    return c;
}

typedef struct rig {
    law_model lm;
    hy__work *work;
    hy__corpus *corpus;
    hy__loader *loader;
} rig;

static void rig_open(rig *r, const char *backend, const hy__config *given, uint64_t seed,
                     int64_t batch, int64_t seq_len) {
    hy__config c = *given;
    hy_error err = {0};
    c.model.vocab = 256;
    law_open(&r->lm, backend, &c, seed);
    law_ok(hy__model_train(r->lm.m, &err), &err);
    law_ok(hy__work_new(&r->work, r->lm.m, (hy__work_options){.training = true}, &err), &err);
    r->corpus = corpus_new(seed, c.model.chunk);
    const hy__loader_options opt = {.corpus = &r->corpus,
                                    .n_corpus = 1,
                                    .batch = batch,
                                    .seq_len = seq_len,
                                    .chunk = c.model.chunk,
                                    .carry = true,
                                    .seed = seed};
    law_ok(hy__loader_new(&r->loader, &opt, &err), &err);
}

static void rig_close(rig *r) {
    hy__loader_free(r->loader);
    hy__corpus_free(r->corpus);
    hy__work_free(r->work);
    law_close(&r->lm);
}

/* Loss of each row of one batch; with scale > 0 its gradients are added. */
static void run(rig *r, const hy__batch *b, const int32_t *target, double scale, float *nll) {
    hy_error err = {0};
    double sum;
    int64_t count;
    law_ok(hy__forward(r->work, b, &err), &err);
    law_ok(hy__loss(r->work, target, scale, nll, &sum, &count, &err), &err);
    assert_int_equal(count, b->rows.n_row);
    /* without the experts' own losses, which are means over a batch's units */
    if (scale > 0) law_ok(hy__backward(r->work, 0.0, &err), &err);
}

/* n tokens alone, from a fresh state. */
static void run_alone(rig *r, const int32_t *token, const int32_t *target, int64_t n, double scale,
                      float *nll) {
    const hy__seq seq = {.len = n};
    const hy__batch b = {.rows = {.n_row = n, .n_seq = 1, .seq = &seq}, .token = token};
    run(r, &b, target, scale, nll);
}

static double *take_gradients(rig *r, int64_t *n) {
    hy__model *m = r->lm.m;
    double *all = NULL;
    *n = 0;
    for (int64_t i = 0; i < m->n_param; i++) {
        const hy__param *p = &m->param[i];
        if (!hy__present(p->grad)) continue;
        all = realloc(all, (size_t)(*n + p->n) * sizeof *all);
        hy__tensor_read_f64(r->lm.be, all + *n, p->grad, p->n);
        *n += p->n;
    }
    hy__model_zero_grad(m, true);
    return all;
}

static void expect(const rig *r, const char *what, const double *want, const double *got,
                   int64_t n) {
    char where[160];
    snprintf(where, sizeof where, "%s: \"%.100s\"", what, r->lm.m->cfg.model.layers);
    op_expect(where, r->lm.be->isa, want, got, n, tolerance(r->lm.be));
}

static void expect_losses(const rig *r, const float *want, const float *got, int64_t n) {
    double *w = malloc((size_t)n * sizeof *w), *g = malloc((size_t)n * sizeof *g);
    for (int64_t i = 0; i < n; i++) {
        w[i] = (double)want[i];
        g[i] = (double)got[i];
    }
    char where[160];
    snprintf(where, sizeof where, "losses: \"%.100s\"", r->lm.m->cfg.model.layers);
    op_expect(where, r->lm.be->isa, w, g, n, 1e-4); /* losses are read as float */
    free(w);
    free(g);
}

/* All documents in one batch, and each alone: losses and gradients. */
static void try_packed(const char *backend, const hy__config *c, uint64_t seed) {
    rig r = {0};
    rig_open(&r, backend, c, seed, 1, MAX_DOCUMENT * 6 * c->model.chunk);
    const hy__loader_batch *b;
    hy_error err = {0};
    law_ok(hy__loader_get(r.loader, 0, &b, &err), &err);
    assert_int_equal(hy__loader_epoch(r.loader), 1);
    assert_int_equal(b->n_piece, r.corpus->n_document[HY__PART_TRAIN]);
    assert_int_equal(b->n_row, r.corpus->n_token - b->n_piece);
    hy__seq seq[MAX_DOCUMENT];
    for (int64_t i = 0; i < b->n_piece; i++) {
        assert_int_equal(b->piece[i].pos, 0);
        seq[i] = (hy__seq){.start = b->piece[i].start, .len = b->piece[i].len};
    }
    const double scale = 1.0 / (double)b->n_row;
    float *together = malloc((size_t)b->n_row * sizeof *together);
    float *alone = malloc((size_t)b->n_row * sizeof *alone);
    int64_t n, n_alone;
    const hy__batch batch = {.rows = {.n_row = b->n_row, .n_seq = b->n_piece, .seq = seq},
                             .token = b->token};
    hy__model_zero_grad(r.lm.m, true);
    run(&r, &batch, b->target, scale, together);
    double *got = take_gradients(&r, &n);
    for (int64_t i = 0; i < b->n_piece; i++) {
        const hy__piece *p = &b->piece[i];
        run_alone(&r, b->token + p->start, b->target + p->start, p->len, scale, alone + p->start);
    }
    double *want = take_gradients(&r, &n_alone);
    assert_int_equal(n, n_alone);
    expect_losses(&r, alone, together, b->n_row);
    expect(&r, "gradients", want, got, n);
    free(together);
    free(alone);
    free(got);
    free(want);
    rig_close(&r);
}

/* What a stream has seen since its state was fresh. */
typedef struct chain {
    int32_t *token, *target;
    float *nll;
    int64_t n;
    hy__state *now, *next;
} chain;

/* The losses along a stream are those of its tokens since the fresh state, fed at once. */
static void end_chain(rig *r, chain *s) {
    if (s->n == 0) return;
    float *alone = malloc((size_t)s->n * sizeof *alone);
    run_alone(r, s->token, s->target, s->n, 0.0, alone);
    expect_losses(r, alone, s->nll, s->n);
    free(alone);
    s->n = 0;
}

static void step(rig *r, chain *stream, const hy__loader_batch *b) {
    hy__seq seq[MAX_STREAM * MAX_DOCUMENT];
    hy__state *in[MAX_STREAM * MAX_DOCUMENT], *out[MAX_STREAM * MAX_DOCUMENT];
    for (int64_t i = 0; i < b->n_piece; i++) {
        const hy__piece *p = &b->piece[i];
        chain *s = &stream[p->stream];
        const bool last = i + 1 == b->n_piece || p[1].stream != p->stream;
        seq[i] = (hy__seq){.start = p->start, .len = p->len, .pos = p->pos};
        in[i] = p->pos > 0 ? s->now : NULL;
        out[i] = last ? s->next : NULL;
    }
    const hy__batch batch = {.rows = {.n_row = b->n_row, .n_seq = b->n_piece, .seq = seq},
                             .token = b->token,
                             .state_in = in,
                             .state_out = out};
    float *nll = malloc((size_t)b->n_row * sizeof *nll);
    run(r, &batch, b->target, 0.0, nll);
    for (int64_t i = 0; i < b->n_piece; i++) {
        const hy__piece *p = &b->piece[i];
        chain *s = &stream[p->stream];
        if (p->pos == 0) end_chain(r, s);
        assert_int_equal(p->pos, s->n);
        memcpy(s->token + s->n, b->token + p->start, (size_t)p->len * sizeof *s->token);
        memcpy(s->target + s->n, b->target + p->start, (size_t)p->len * sizeof *s->target);
        memcpy(s->nll + s->n, nll + p->start, (size_t)p->len * sizeof *s->nll);
        s->n += p->len;
        if (!out[i]) continue;
        hy__state *left = s->now;
        s->now = s->next;
        s->next = left;
    }
    free(nll);
}

static void try_carried(const char *backend, const hy__config *c, uint64_t seed) {
    rig r = {0};
    chain stream[MAX_STREAM] = {{0}};
    hy_error err = {0};
    const int64_t batch = 1 + (int64_t)(seed % MAX_STREAM);
    rig_open(&r, backend, c, seed, batch, 2 * c->model.chunk);
    const size_t room = (size_t)r.corpus->n_token;
    for (int64_t i = 0; i < batch; i++) {
        stream[i].token = malloc(room * sizeof *stream->token);
        stream[i].target = malloc(room * sizeof *stream->target);
        stream[i].nll = malloc(room * sizeof *stream->nll);
        law_ok(hy__state_new(&stream[i].now, r.lm.m, c->model.chunk, &err), &err);
        law_ok(hy__state_new(&stream[i].next, r.lm.m, c->model.chunk, &err), &err);
    }
    for (int64_t i = 0; i < 2 * hy__loader_epoch(r.loader); i++) {
        const hy__loader_batch *b;
        law_ok(hy__loader_get(r.loader, i, &b, &err), &err);
        step(&r, stream, b);
    }
    for (int64_t i = 0; i < batch; i++) {
        end_chain(&r, &stream[i]);
        free(stream[i].token);
        free(stream[i].target);
        free(stream[i].nll);
        hy__state_free(stream[i].now);
        hy__state_free(stream[i].next);
    }
    rig_close(&r);
}

static void try_both(const char *backend, const hy__config *c, uint64_t seed) {
    try_packed(backend, c, seed);
    try_carried(backend, c, seed);
}

static void test_each_letter(void **state) {
    (void)state;
    law_each_letter(try_both);
}

static void test_random_patterns(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= N_RANDOM; seed++) {
        const hy__config c = law_random_config(seed, 6);
        try_both("ref64", &c, seed);
        try_both("cpu", &c, seed);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_letter),
        cmocka_unit_test(test_random_patterns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
