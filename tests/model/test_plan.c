/* test_plan.c: the law "plan = fact" (docs/numerics.md): what the accounting says by formulas is
 * what the model's own forward and backward do on the counting backend, and what is allocated. */
#include "account/account.h"
#include "backend/count/count.h"
#include "ckpt/checkpoint.h"
#include "hydralm.h"
#include "support/law.h"
#include "train/optim.h"

#include <glob.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const hy__train_config NO_TRAIN = {.carry = false};

/* A model on the counting backend. */
static void open_counted(law_model *lm, const hy__config *c) {
    hy_error err = {0};
    law_ok(hy__count_open(&lm->be, &err), &err);
    law_ok(hy__model_new(&lm->m, lm->be, c, lm->be->real, &err), &err);
}

/* Bytes that a run moved, by what they belong to. */
typedef struct moved {
    double flops, weight, state, activation;
} moved;

/* Runs what a shape says on a model: `batch` fresh sequences read at once, trained or not, or one
 * token more for each. */
static moved run_counted(law_model *lm, const hy__shape *shape) {
    hy_error err = {0};
    const bool train = shape->phase == HY__PHASE_TRAIN, decode = shape->phase == HY__PHASE_DECODE;
    const int64_t len = decode ? 1 : shape->tokens, n = len * shape->batch;
    const hy__work_options opt = {.training = train, .recompute = shape->recompute};
    hy__work *w = NULL;
    hy__state **state = calloc((size_t)shape->batch, sizeof *state);
    hy__seq *seq = calloc((size_t)shape->batch, sizeof *seq);
    int32_t *token = calloc((size_t)n, sizeof *token);
    if (train) law_ok(hy__model_train(lm->m, &err), &err);
    law_ok(hy__work_new(&w, lm->m, opt, &err), &err);
    for (int64_t i = 0; i < shape->batch; i++) {
        seq[i] = (hy__seq){.start = i * len, .len = len, .pos = decode ? shape->tokens - 1 : 0};
        if (train) continue;
        law_ok(hy__state_new(&state[i], lm->m, shape->tokens, &err), &err);
        state[i]->pos = seq[i].pos;
    }
    const hy__batch b = {.rows = {.n_row = n, .n_seq = shape->batch, .seq = seq},
                         .token = token,
                         .state_in = train ? NULL : state,
                         .state_out = train ? NULL : state};
    hy__count_clear(lm->be);
    law_ok(hy__forward(w, &b, &err), &err);
    if (train) {
        double sum;
        int64_t count;
        law_ok(hy__loss(w, token, 1, NULL, &sum, &count, &err), &err);
        law_ok(hy__backward(w, 1, &err), &err);
    } else {
        float *logit = malloc((size_t)lm->m->cfg.model.vocab * sizeof *logit);
        for (int64_t i = 0; i < shape->batch; i++)
            law_ok(hy__logits(w, (i + 1) * len - 1, 1, logit, &err), &err);
        free(logit);
    }
    moved sum = {.flops = hy__count_flops(lm->be)};
    sum.weight = hy__count_bytes(lm->be, &lm->m->weights) + hy__count_bytes(lm->be, &lm->m->grads);
    for (int64_t i = 0; i < shape->batch && !train; i++) {
        sum.state += hy__count_bytes(lm->be, &state[i]->buf);
        hy__state_free(state[i]);
    }
    hy__work_free(w);
    free(state);
    free(seq);
    free(token);
    return sum;
}

static void assert_near(double got, double want, double tolerance, const char *what,
                        const hy__config *c, const hy__shape *s) {
    if (fabs(got - want) <= tolerance * want) return;
    fail_msg("%s of %s, phase %d, %lld x %lld%s: planned %.6g, counted %.6g", what, c->model.layers,
             (int)s->phase, (long long)s->batch, (long long)s->tokens,
             s->recompute ? " recomputed" : "", got, want);
}

/* Formulas against counts, at one shape. */
static void check_shape(law_model *lm, const hy__account *a, hy__shape shape) {
    hy_error err = {0};
    hy__spent part[HY__PART_MAX + 1];
    law_ok(hy__account_spend(a, &shape, part, &err), &err);
    const hy__spent *all = &part[a->n_part];
    const moved counted = run_counted(lm, &shape);
    const double flops = hy__spent_flops(all);
    assert_near(flops, counted.flops, 1e-9, "FLOPs", &a->cfg, &shape);
    assert_near(all->grows[0] + all->grows[1] + all->grows[2], flops, 1e-9, "growth", &a->cfg,
                &shape);
    if (shape.phase != HY__PHASE_DECODE) return;
    assert_near(all->weight, counted.weight, 0.005, "weight bytes", &a->cfg, &shape);
    if (shape.tokens >= 64)
        assert_near(all->state, counted.state, 0.002, "state bytes", &a->cfg, &shape);
}

static void check_lengths(const hy__config *c, const int64_t *length, int n_length) {
    law_model lm;
    hy__account a;
    hy__account_init(&a, c, &NO_TRAIN);
    open_counted(&lm, c);
    for (int i = 0; i < n_length; i++)
        for (hy__phase phase = 0; phase <= HY__PHASE_DECODE; phase++) {
            check_shape(&lm, &a, (hy__shape){.phase = phase, .batch = 1, .tokens = length[i]});
            if (phase == HY__PHASE_TRAIN) {
                check_shape(&lm, &a,
                            (hy__shape){.batch = 1, .tokens = length[i], .recompute = true});
            }
        }
    check_shape(&lm, &a, (hy__shape){.phase = HY__PHASE_TRAIN, .batch = 3, .tokens = 77});
    check_shape(&lm, &a, (hy__shape){.phase = HY__PHASE_PREFILL, .batch = 5, .tokens = 130});
    law_close(&lm);
}

static void for_each_shipped(void (*fn)(const hy__config *c)) {
    glob_t found;
    assert_int_equal(glob("configs/*.yaml", 0, NULL, &found), 0);
    assert_true(found.gl_pathc >= 12);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        if (strstr(found.gl_pathv[i], "curriculum-")) continue; /* recipes */
        hy__config c;
        hy_error err = {0};
        law_ok(hy__config_read_yaml(found.gl_pathv[i], &c, NULL, &err), &err);
        fn(&c);
    }
    globfree(&found);
}

static void check_shipped_flops(const hy__config *c) {
    static const int64_t length[] = {1, 2, 63, 64, 65, 1000, 4096, 65536, 1 << 20};
    check_lengths(c, length, sizeof length / sizeof *length);
}

static void test_flops_shipped(void **state) {
    (void)state;
    for_each_shipped(check_shipped_flops);
}

static void test_flops_random(void **state) {
    (void)state;
    static const int64_t length[] = {1, 3, 17, 100, 777, 5000};
    for (uint64_t seed = 1; seed <= 100; seed++) {
        const hy__config c = law_random_config(seed, 6);
        check_lengths(&c, length, sizeof length / sizeof *length);
    }
}

/* FLOPs of a piece that goes on at `pos`, by the formulas and as they are counted. */
static void check_piece(const hy__config *c, int64_t pos, int64_t len) {
    hy_error err = {0};
    hy__account a;
    law_model lm;
    hy__work *w = NULL;
    hy__state *state = NULL;
    double extent[HY__EXTENT_N], planned = 0;
    const hy__seq seq = {.len = len, .pos = pos};
    const hy__rows rows = {.n_row = len, .n_seq = 1, .seq = &seq};
    hy__account_init(&a, c, &NO_TRAIN);
    hy__extents(c, &rows, 0, extent);
    for (int64_t i = 0; i < a.n_part; i++)
        for (int j = 0; j < a.part[i].cost.n_term; j++) {
            const hy__term *t = &a.part[i].cost.term[j];
            planned += extent[t->per] * (double)a.part[i].n_layer * t->forward;
        }
    open_counted(&lm, c);
    law_ok(hy__work_new(&w, lm.m, (hy__work_options){0}, &err), &err);
    law_ok(hy__state_new(&state, lm.m, pos + len, &err), &err);
    state->pos = pos;
    int32_t *token = calloc((size_t)len, sizeof *token);
    const hy__batch b = {.rows = rows, .token = token, .state_in = &state, .state_out = &state};
    hy__count_clear(lm.be);
    law_ok(hy__forward(w, &b, &err), &err);
    assert_near(planned, hy__count_flops(lm.be), 1e-9, "FLOPs of a piece", c,
                &(hy__shape){.phase = HY__PHASE_PREFILL, .batch = 1, .tokens = len});
    free(token);
    hy__work_free(w);
    hy__state_free(state);
    law_close(&lm);
}

/* Blocks of W begin where the piece does, all else is cut by absolute position. */
static void test_flops_of_pieces(void **state) {
    (void)state;
    static const int64_t piece[][2] = {{0, 150}, {16, 32}, {10, 40}, {40, 9}, {50, 100}, {64, 1}};
    for (const char *letter = "SAEFWP"; *letter; letter++) {
        hy__config c = law_config((char[]){*letter, 0});
        c.model.chunk = 64;
        law_finish(&c);
        for (size_t i = 0; i < sizeof piece / sizeof *piece; i++)
            check_piece(&c, piece[i][0], piece[i][1]);
    }
}

/* ---- the counting backend counts what real kernels touch ---- */

static void test_counts_are_real(void **state) {
    (void)state;
    enum { N = 150 };
    for (uint64_t seed = 1; seed <= 30; seed++) {
        hy__config c = law_random_config(seed, 5);
        law_model real, counted;
        law_open(&real, "ref", &c, seed);
        open_counted(&counted, &c);
        int32_t *token = law_tokens(seed, N, c.model.vocab);
        const int64_t cut[] = {5, 77};
        free(law_logits(&real, token, N, cut, 2, NULL));
        free(law_logits(&counted, token, N, cut, 2, NULL));
        const hy__counters *r = &real.be->counters, *k = &counted.be->counters;
        assert_int_equal(k->expert_rows, r->expert_rows);
        assert_int_equal(k->kv_positions, r->kv_positions);
        assert_int_equal(k->table_rows, r->table_rows);
        assert_true(k->experts_read >= r->experts_read);
        free(token);
        law_close(&real);
        law_close(&counted);
    }
}

/* ---- declared = allocated = in the file ---- */

/* Bytes of the tensors of a model's directory, or of a session's file. */
static double bytes_in(const char *path, bool is_model) {
    hy_error err = {0};
    hy__st *st = NULL;
    double bytes = 0;
    law_ok(is_model ? hy__st_open_dir(&st, path, &err) : hy__st_open(&st, path, &err), &err);
    for (int64_t i = 0; i < hy__st_count(st); i++) {
        const hy__st_tensor *t = hy__st_at(st, i);
        bytes += (double)t->n * (double)hy__st_dtype_size(t->dtype);
    }
    hy__st_close(st);
    return bytes;
}

static void remove_dir(const char *dir) {
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
}

static const hy__dtype DTYPE[HY__STORE_N] = {[HY__STORE_FP32] = HY__DTYPE_F32,
                                             [HY__STORE_BF16] = HY__DTYPE_BF16,
                                             [HY__STORE_INT8] = HY__DTYPE_Q8,
                                             [HY__STORE_INT4] = HY__DTYPE_Q4};

/* What is planned, what the model and its optimizer hold, and what is written. */
static void check_sizes(const hy__config *c, hy__store store, bool write) {
    hy_error err = {0};
    hy__account a;
    law_model lm;
    double memory = 0;
    hy__account_init(&a, c, &NO_TRAIN);
    law_ok(hy__count_open(&lm.be, &err), &err);
    law_ok(hy__model_new(&lm.m, lm.be, c, DTYPE[store], &err), &err);
    assert_int_equal(hy__account_count(&a, false), hy__model_count(lm.m, false));
    assert_int_equal(hy__account_count(&a, true), hy__model_count(lm.m, true));
    for (int64_t i = 0; i < a.n_part; i++) memory += (double)a.part[i].weight_memory[store];
    assert_true(memory == (double)lm.m->weights.size);
    if (store == HY__STORE_FP32) {
        double grads = 0;
        law_ok(hy__model_train(lm.m, &err), &err);
        for (int64_t i = 0; i < a.n_part; i++) grads += (double)a.part[i].grad_memory;
        assert_true(grads == (double)lm.m->grads.size);
        for (hy__optimizer by = HY__OPTIMIZER_ADAMW; by <= HY__OPTIMIZER_MUON; by++) {
            hy__optim *o = NULL;
            hy__train_config t = NO_TRAIN;
            t.optimizer = by;
            hy__account_init(&a, c, &t);
            law_ok(hy__optim_new(&o, lm.m, by, HY__PREC_FP32, &err), &err);
            assert_int_equal(hy__account_moments(&a), o->buf.size);
            hy__optim_free(o);
        }
    }
    if (write) {
        char dir[] = "/tmp/hydralm-plan-XXXXXX";
        assert_non_null(mkdtemp(dir));
        law_save(lm.m, dir);
        assert_true(bytes_in(dir, true) == hy__account_weight_bytes(&a, store));
        remove_dir(dir);
    }
    law_close(&lm);
}

enum { SMALL = 40000000 /* parameters of a model that is written in every run of the tests */ };

static void check_shipped_sizes(const hy__config *c) {
    static hy__account a;
    hy__account_init(&a, c, &NO_TRAIN);
    for (hy__store store = 0; store < HY__STORE_N; store++)
        check_sizes(c, store, hy__account_count(&a, false) < SMALL);
}

static void test_sizes_shipped(void **state) {
    (void)state;
    for_each_shipped(check_shipped_sizes);
}

static void test_sizes_random(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        const hy__config c = law_random_config(seed, 8);
        for (hy__store store = 0; store < HY__STORE_N; store++) check_sizes(&c, store, true);
    }
}

/* The design envelope, and its rivals of equal parameters. */
static void test_envelope(void **state) {
    (void)state;
    static const char *const like[][3] = {
        {"configs/hydra-1.6b.yaml", "configs/hydra-1.6b-transformer.yaml",
         "configs/hydra-1.6b-mamba2.yaml"},
        {"configs/hydra-130m.yaml", "configs/hydra-130m-transformer.yaml",
         "configs/hydra-130m-mamba2.yaml"},
        {"configs/toy.yaml", "configs/toy-transformer.yaml", "configs/toy-mamba2.yaml"},
        {"configs/nano.yaml", "configs/nano-transformer.yaml", "configs/nano-mamba2.yaml"}};
    static hy__account a, rival;
    for (size_t i = 0; i < sizeof like / sizeof *like; i++) {
        double n[3];
        for (int j = 0; j < 3; j++) {
            hy__config c;
            hy_error err = {0};
            law_ok(hy__config_read_yaml(like[i][j], &c, NULL, &err), &err);
            hy__account_init(&a, &c, &NO_TRAIN);
            n[j] = (double)hy__account_count(&a, false);
            for (int k = 0; j == 0 && k < 2; k++) { /* and those that the plan makes itself */
                law_ok(hy__account_rival(&a, k ? "mamba2" : "transformer", &rival, &err), &err);
                assert_true(fabs((double)hy__account_count(&rival, false) / n[0] - 1) < 0.02);
            }
        }
        assert_true(fabs(n[1] / n[0] - 1) < 0.02 && fabs(n[2] / n[0] - 1) < 0.02);
        if (i == 0) assert_true(fabs(n[0] / 1.6e9 - 1) < 0.01);
    }
}

/* ---- states ---- */

/* A session's bytes, and those of its file, at lengths around which caches are cut. */
static void check_session_in(const hy__config *c, uint64_t seed, hy__store store) {
    static const int64_t length[] = {1, 63, 512, 513, 1025, 2100};
    char dir[] = "/tmp/hydralm-plan-XXXXXX", model[64], file[64];
    hy_error err = {0};
    hy__account a;
    law_model lm;
    hy_model *m = NULL;
    assert_non_null(mkdtemp(dir));
    snprintf(model, sizeof model, "%s/model", dir);
    snprintf(file, sizeof file, "%s/session", dir);
    hy__account_init(&a, c, &NO_TRAIN);
    law_open(&lm, "cpu", c, seed);
    law_save(lm.m, model);
    law_close(&lm);
    const hy_model_options opt = {.dtype = hy__store_name[store]};
    law_ok(hy_model_open(&m, model, &opt, &err), &err);
    for (size_t i = 0; i < sizeof length / sizeof *length; i++) {
        hy_session *s = NULL;
        int32_t *token = law_tokens(seed, length[i], c->model.vocab);
        law_ok(hy_session_new(&s, m, &err), &err);
        law_ok(hy_session_feed(s, token, length[i], NULL, &err), &err);
        law_ok(hy_session_save(s, file, &err), &err);
        if (bytes_in(file, false) != hy__account_state(&a, length[i], store))
            fail_msg("%s after %d: %.0f in the file, %.0f planned", c->model.layers, (int)length[i],
                     bytes_in(file, false), hy__account_state(&a, length[i], store));
        assert_true((double)hy_session_bytes(s) == hy__account_state(&a, length[i], store));
        free(token);
        hy_session_free(s);
    }
    hy_model_free(m);
    remove_dir(dir);
}

static void check_session(const hy__config *c, uint64_t seed) {
    check_session_in(c, seed, HY__STORE_FP32);
    check_session_in(c, seed, HY__STORE_BF16);
}

static void test_states(void **state) {
    (void)state;
    law_each_shipped(check_session);
    for (uint64_t seed = 1; seed <= 10; seed++) {
        const hy__config c = law_random_config(seed, 5);
        check_session(&c, seed);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flops_shipped),   cmocka_unit_test(test_flops_random),
        cmocka_unit_test(test_counts_are_real), cmocka_unit_test(test_sizes_shipped),
        cmocka_unit_test(test_sizes_random),    cmocka_unit_test(test_envelope),
        cmocka_unit_test(test_states),          cmocka_unit_test(test_flops_of_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
