/* The data: what is text, where the cut falls, and that a batch depends on its number alone and an
 * epoch of carried streams shows every token exactly once, in order. */
#include "base/file.h"
#include "data/build.h"
#include "data/loader.h"
#include "data/mixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/hydralm-loader-XXXXXX";
static hy__tokenizer *tok;

static char *path_of(const char *name) {
    char *path = hy__path_join(dir, name);
    assert_non_null(path);
    return path;
}

static void put(const char *name, const void *data, size_t size) {
    char *path = path_of(name);
    hy_error err = {0};
    if (hy__file_write(path, data, size, &err) != HY_OK) fail_msg("%s", err.text);
    free(path);
}

/* `size` printable bytes in which, over all files of this test together, no pair of neighbours
 * comes twice: a stretch of the sequence 0 01 02 … 1 12 13 … 2 23 … (de Bruijn, 95 letters, pairs).
 * Two neighbours thus tell their place. */
static void put_text(const char *name, size_t size) {
    static char sequence[95 * 95 + 1];
    static size_t used;
    if (used == 0) {
        size_t n = 0;
        for (int a = 0; a < 95; a++) {
            sequence[n++] = (char)(32 + a);
            for (int b = a + 1; b < 95; b++) {
                sequence[n++] = (char)(32 + a);
                sequence[n++] = (char)(32 + b);
            }
        }
    }
    put(name, sequence + used, size);
    used += size;
    assert_true(used <= 95 * 95);
}

static int setup(void **state) {
    (void)state;
    if (!mkdtemp(dir)) return -1;
    char *many = path_of("many/deep");
    const hy_status status = hy__dir_make(many, NULL, NULL);
    free(many);
    if (status != HY_OK || hy__tokenizer_open(&tok, NULL, NULL) != HY_OK) return -1;
    put_text("one.txt", 1000);
    put_text("few.txt", 100);
    put_text("many/a.txt", 333);
    put_text("many/b.txt", 64);
    put_text("many/c.txt", 65);
    put_text("many/d.txt", 2);
    put_text("many/deep/e.txt", 700);
    put_text("many/.hidden", 500);
    put("many/empty", "", 0);
    put("many/letter", "x", 1);
    put("many/nul", "ab\0cd", 5);
    put("many/latin1", "na\xEFve caf\xE9", 10);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    static const char *const name[] = {"one.txt",         "few.txt",    "many/a.txt",
                                       "many/b.txt",      "many/c.txt", "many/d.txt",
                                       "many/deep/e.txt", "many/empty", "many/.hidden",
                                       "many/letter",     "many/nul",   "many/latin1"};
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        char *path = path_of(name[i]);
        unlink(path);
        free(path);
    }
    static const char *const folder[] = {"many/deep", "many", ""};
    for (size_t i = 0; i < 3; i++) {
        char *path = path_of(folder[i]);
        rmdir(path);
        free(path);
    }
    hy__tokenizer_free(tok);
    return 0;
}

static hy_status open_corpus(hy__corpus **out, const char *name, double val, hy_error *err) {
    char *path = path_of(name);
    const char *const list[] = {path};
    const hy_status status = hy__build(
        out,
        &(hy__build_options){
            .tokenizer = tok, .path = list, .n_path = 1, .val_fraction = val, .threads = 2},
        err);
    free(path);
    return status;
}

static int32_t token_at(const hy__corpus *c, int64_t i) {
    int32_t token;
    assert_int_equal(hy__corpus_read(c, i, 1, &token, NULL), HY_OK);
    return token;
}

static hy__corpus *must_open(const char *name, double val) {
    hy__corpus *c;
    hy_error err = {0};
    if (open_corpus(&c, name, val, &err) != HY_OK) fail_msg("%s", err.text);
    return c;
}

static hy__loader *must_load(hy__corpus *c, hy__loader_options opt) {
    static hy__corpus *corpus[4]; /* the loader borrows the list */
    static int next;
    hy__loader *l;
    hy_error err = {0};
    hy__corpus **list = &corpus[next++ % 4];
    *list = c;
    if (opt.n_corpus == 0) {
        opt.corpus = list;
        opt.n_corpus = 1;
    }
    if (hy__loader_new(&l, &opt, &err) != HY_OK) fail_msg("%s", err.text);
    return l;
}

static const hy__loader_batch *get(hy__loader *l, int64_t number) {
    const hy__loader_batch *b;
    hy_error err = {0};
    if (hy__loader_get(l, number, &b, &err) != HY_OK) fail_msg("%s", err.text);
    return b;
}

static void one_file_is_cut_at_its_last_fraction(void **state) {
    (void)state;
    hy__corpus *c = must_open("one.txt", 0.1);
    assert_int_equal(c->n_part[HY__PART_TRAIN], 900);
    assert_int_equal(c->n_part[HY__PART_VAL], 100);
    assert_int_equal(c->document[HY__PART_VAL][0].start, 900);
    hy__corpus_free(c);
    c = must_open("one.txt", 0);
    assert_int_equal(c->n_part[HY__PART_TRAIN], 1000);
    assert_int_equal(c->n_document[HY__PART_VAL], 0);
    hy__loader *l;
    hy_error err = {0};
    const hy__loader_options opt = {
        .corpus = &c, .n_corpus = 1, .part = HY__PART_VAL, .batch = 1, .seq_len = 16, .chunk = 16};
    assert_int_equal(hy__loader_new(&l, &opt, &err), HY_E_INVALID);
    assert_non_null(strstr(err.text, "held-out part of the data has nothing to predict"));
    hy__corpus_free(c);
}

static void a_folder_is_read_in_order_without_what_is_not_text(void **state) {
    (void)state;
    hy__corpus *c = must_open("many", 0.25);
    assert_int_equal(c->source.n_file, 5);
    assert_int_equal(c->source.n_other,
                     4); /* empty, letter, nul, latin1; a hidden file does not count */
    assert_int_equal(c->n_token, 333 + 64 + 65 + 2 + 700);
    /* A quarter of 1164 is 291: the cut falls on token 409 of the last document. */
    assert_int_equal(c->n_document[HY__PART_TRAIN], 5);
    assert_int_equal(c->n_document[HY__PART_VAL], 1);
    assert_int_equal(c->document[HY__PART_TRAIN][4].len, 409);
    assert_int_equal(c->document[HY__PART_VAL][0].start, 464 + 409);
    assert_int_equal(c->n_part[HY__PART_VAL], 700 - 409);
    hy__corpus_free(c);
}

static void what_is_named_must_be_text(void **state) {
    (void)state;
    static const struct {
        const char *name, *want;
        hy_status status;
    } row[] = {
        {"many/nul", "has a NUL byte", HY_E_INVALID},
        {"many/latin1", "is not UTF-8", HY_E_INVALID},
        {"many/empty", "is empty", HY_E_INVALID},
        {"many/letter", "fewer than two tokens", HY_E_INVALID},
        {"missing", "No such file", HY_E_IO},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        hy__corpus *c;
        hy_error err = {0};
        assert_int_equal(open_corpus(&c, row[i].name, 0, &err), row[i].status);
        assert_null(c);
        if (!strstr(err.text, row[i].want)) fail_msg("%s", err.text);
    }
    hy__corpus *c;
    hy_error err = {0};
    const hy__build_options nothing = {.tokenizer = tok};
    assert_int_equal(hy__build(&c, &nothing, &err), HY_E_INVALID);
    assert_non_null(strstr(err.text, "nothing to train on"));
}

/* Where the row's token and target stand in the corpus. */
static int64_t locate(const hy__corpus *c, const hy__loader_batch *b, int64_t row) {
    for (int64_t at = 0; at + 1 < c->n_token; at++)
        if (token_at(c, at) == b->token[row] && token_at(c, at + 1) == b->target[row]) return at;
    fail_msg("row %lld is not in the data", (long long)row);
    return -1;
}

/* Walks one epoch and checks every law of carry. */
static void check_epoch(const char *name, double val, hy__loader_options opt, int64_t epoch) {
    hy__corpus *c = must_open(name, val);
    hy__loader *l = must_load(c, opt);
    const int64_t n_batch = hy__loader_epoch(l);
    int *seen = calloc((size_t)c->n_token, sizeof *seen);
    int64_t *next = calloc((size_t)opt.batch, sizeof *next); /* token after the stream's last */
    int64_t *pos = calloc((size_t)opt.batch, sizeof *pos);
    for (int64_t i = 0; i < n_batch; i++) {
        const hy__loader_batch *b = get(l, epoch * n_batch + i);
        int64_t row = 0, stream = 0;
        assert_true(b->n_row >= 1 && b->n_row <= hy__loader_max_rows(l));
        assert_true(b->n_piece <= hy__loader_max_pieces(l));
        for (int64_t k = 0; k < b->n_piece; k++) {
            const hy__piece p = b->piece[k];
            assert_int_equal(p.start, row); /* no holes */
            assert_true(p.stream >= stream && p.stream < opt.batch);
            stream = p.stream;
            row += p.len;
            const int64_t at = locate(c, b, p.start);
            for (int64_t j = 0; j < p.len; j++) {
                assert_int_equal(b->token[p.start + j], token_at(c, at + j));
                assert_int_equal(b->target[p.start + j], token_at(c, at + j + 1));
                seen[at + j + 1]++;
            }
            if (p.pos > 0) {
                assert_int_equal(at, next[stream]);
                assert_int_equal(p.pos, pos[stream]);
            }
            if (i == 0 && p.pos > 0) fail_msg("an epoch begins with a carried state");
            next[stream] = at + p.len;
            pos[stream] = p.pos + p.len;
        }
        assert_int_equal(row, b->n_row);
    }
    for (int part = 0; part < 2; part++)
        for (int64_t d = 0; d < c->n_document[part]; d++)
            for (int64_t j = 0; j < c->document[part][d].len; j++)
                assert_int_equal(seen[c->document[part][d].start + j],
                                 (hy__part)part == opt.part && j > 0);
    free(seen);
    free(next);
    free(pos);
    hy__loader_free(l);
    hy__corpus_free(c);
}

static void an_epoch_shows_every_token_once(void **state) {
    (void)state;
    static const int64_t batch[] = {1, 2, 3, 8, 40}, seq_len[] = {16, 48, 50, 512, 4096};
    for (size_t i = 0; i < 5; i++) {
        for (size_t j = 0; j < 5; j++) {
            hy__loader_options opt = {
                .batch = batch[i], .seq_len = seq_len[j], .chunk = 16, .carry = true, .seed = 3};
            check_epoch("one.txt", 0.1, opt, 0);
            check_epoch("many", 0, opt, 0);
            check_epoch("many", 0.25, opt, 5);
            opt.part = HY__PART_VAL;
            opt.in_order = true;
            check_epoch("many", 0.25, opt, 0);
        }
    }
    /* A segment shorter than the chunk: no alignment, the same laws. */
    check_epoch("many", 0,
                (hy__loader_options){.batch = 2, .seq_len = 7, .chunk = 16, .carry = true}, 0);
}

static void copy_batch(const hy__loader_batch *b, int32_t *token, hy__piece *piece, int64_t *n) {
    memcpy(token, b->token, (size_t)b->n_row * sizeof *token);
    memcpy(piece, b->piece, (size_t)b->n_piece * sizeof *piece);
    *n = b->n_row;
}

static void a_batch_depends_on_its_number_alone(void **state) {
    (void)state;
    hy__corpus *c = must_open("many", 0);
    for (int carry = 0; carry < 2; carry++) {
        const hy__loader_options opt = {
            .batch = 3, .seq_len = 64, .chunk = 16, .carry = carry != 0, .seed = 9};
        hy__loader *walked = must_load(c, opt);
        const int64_t n = 3 * hy__loader_epoch(walked);
        for (int64_t i = 0; i < n; i++) {
            int32_t token[3 * 64];
            hy__piece piece[3 * 4];
            int64_t n_row;
            copy_batch(get(walked, i), token, piece, &n_row);
            hy__loader *jumped = must_load(c, opt);
            assert_int_equal(hy__loader_targets(jumped, i), n_row);
            const hy__loader_batch *b = get(jumped, i);
            assert_int_equal(b->n_row, n_row);
            assert_memory_equal(b->token, token, (size_t)n_row * sizeof *token);
            assert_memory_equal(b->piece, piece, (size_t)b->n_piece * sizeof *piece);
            hy__loader_free(jumped);
        }
        hy__loader_free(walked);
    }
    hy__corpus_free(c);
}

static void seeds_and_epochs_differ(void **state) {
    (void)state;
    hy__corpus *c = must_open("many", 0);
    for (int carry = 0; carry < 2; carry++) {
        hy__loader_options opt = {.batch = 1, .seq_len = 1024, .chunk = 16, .carry = carry != 0};
        hy__loader *a = must_load(c, opt);
        opt.seed = 1;
        hy__loader *b = must_load(c, opt);
        int differ_by_seed = 0, differ_by_epoch = 0;
        for (int64_t i = 0; i < 8; i++) {
            int32_t token[1024];
            hy__piece piece[64];
            int64_t n_row;
            copy_batch(get(a, i * hy__loader_epoch(a)), token, piece, &n_row);
            const size_t size = 64 * sizeof *token; /* the first rows tell the order apart */
            differ_by_seed += memcmp(get(b, i * hy__loader_epoch(b))->token, token, size) != 0;
            differ_by_epoch +=
                memcmp(get(a, (i + 1) * hy__loader_epoch(a))->token, token, size) != 0;
        }
        assert_true(differ_by_seed > 2 && differ_by_epoch > 2); /* 1 in 5 orders agree by chance */
        hy__loader_free(a);
        hy__loader_free(b);
    }
    hy__corpus_free(c);
}

static void random_pieces_cover_the_part_and_nothing_else(void **state) {
    (void)state;
    hy__corpus *c = must_open("many", 0.25);
    hy__loader *l = must_load(c, (hy__loader_options){.batch = 4, .seq_len = 64, .chunk = 16});
    int *seen = calloc((size_t)c->n_token, sizeof *seen);
    for (int64_t i = 0; i < 4000; i++) {
        const hy__loader_batch *b = get(l, i);
        assert_true(b->n_row <= 4 * 64 && b->n_piece <= hy__loader_max_pieces(l));
        for (int64_t k = 0; k < b->n_piece; k++) {
            assert_int_equal(b->piece[k].pos, 0);
            const int64_t at = locate(c, b, b->piece[k].start);
            for (int64_t j = 0; j < b->piece[k].len; j++) seen[at + j + 1]++;
        }
    }
    /* At least 16,000 pieces from 875 places: each comes up but with probability 1e-5. */
    for (int64_t i = 0; i < 464 + 409; i++) {
        bool first = false;
        for (int64_t d = 0; d < c->n_document[HY__PART_TRAIN]; d++)
            first = first || i == c->document[HY__PART_TRAIN][d].start;
        assert_true(first ? seen[i] == 0 : seen[i] > 0);
    }
    for (int64_t i = 464 + 409; i < c->n_token; i++) assert_int_equal(seen[i], 0);
    free(seen);
    hy__loader_free(l);
    hy__corpus_free(c);
}

/* ---- mixtures ---- */

enum { N_MIX = 3 };

typedef struct mix {
    hy__corpus **corpus; /* [N_MIX] the loader borrows the list */
    hy__loader *loader;
} mix;

static mix mix_open(const double *weight, hy__loader_options opt) {
    mix m = {.corpus = malloc(N_MIX * sizeof *m.corpus)};
    m.corpus[0] = must_open("one.txt", 0);
    m.corpus[1] = must_open("many", 0);
    m.corpus[2] = must_open("few.txt", 0);
    opt.corpus = m.corpus;
    opt.weight = weight;
    opt.n_corpus = N_MIX;
    m.loader = must_load(NULL, opt);
    return m;
}

static void mix_close(mix *m) {
    hy__loader_free(m->loader);
    for (int i = 0; i < N_MIX; i++) hy__corpus_free(m->corpus[i]);
    free(m->corpus);
}

/* The share of the tokens is the weight, whatever the corpora's sizes and the lengths of their
 * documents. */
static void weights_are_shares_of_tokens(void **state) {
    (void)state;
    static const double weight[][N_MIX] = {{0.7, 0.2, 0.1}, {1, 1, 1}, {5, 90, 5}};
    for (int i = 0; i < 3; i++) {
        for (int carry = 0; carry < 2; carry++) {
            mix m = mix_open(
                weight[i],
                (hy__loader_options){.batch = 3, .seq_len = 64, .chunk = 16, .carry = carry != 0});
            double n[N_MIX] = {0}, all = 0, scale = 0;
            for (int64_t j = 0; j < 3000; j++) {
                const hy__loader_batch *b = get(m.loader, j);
                assert_true(b->n_row >= 1);
                for (int64_t k = 0; k < b->n_piece; k++) {
                    n[b->piece[k].domain] += (double)b->piece[k].len;
                    all += (double)b->piece[k].len;
                }
            }
            for (int c = 0; c < N_MIX; c++) scale += weight[i][c];
            /* the ends of shares are cut; pieces at random places are cut otherwise than lines */
            for (int c = 0; c < N_MIX; c++) {
                const double want = weight[i][c] / scale, got = n[c] / all;
                if (got < want - 0.04 || got > want + 0.04)
                    fail_msg("carry %d, weights %d: corpus %d has %.3f of the tokens, wanted %.3f",
                             carry, i, c, got, want);
            }
            mix_close(&m);
        }
    }
}

/* Of corpora of equal weights no batch has more rows of one than of another. */
static void each_batch_is_mixed(void **state) {
    (void)state;
    enum { N = 4, BATCH = 8, LEN = 32 };
    hy__mixture m;
    const char *const task[N] = {"task:recall/pairs=4", "task:recall/pairs=5",
                                 "task:recall/pairs=6", "task:recall/pairs=7"};
    hy_error err = {0};
    const double weight[N] = {1, 1, 1, 1};
    const hy__build_options build = {.path = task, .n_path = N, .tokenizer = tok, .threads = 1};
    if (hy__mixture_open(&m, &build, &err) != HY_OK) fail_msg("%s", err.text);
    hy__loader *l = must_load(NULL, (hy__loader_options){.corpus = m.corpus,
                                                         .weight = weight,
                                                         .n_corpus = N,
                                                         .batch = BATCH,
                                                         .seq_len = LEN,
                                                         .chunk = 16});
    for (int64_t i = 0; i < 100; i++) {
        const hy__loader_batch *b = get(l, i);
        int64_t n[N] = {0};
        for (int64_t p = 0; p < b->n_piece; p++) n[b->piece[p].domain]++;
        for (int c = 0; c < N; c++) assert_int_equal(n[c], BATCH / N);
    }
    hy__loader_free(l);
    hy__mixture_release(&m);
}

/* Along each stream the laws of carry hold, and each corpus has epochs of its own: as long as it is
 * in one, no token is seen twice, and at its end all were seen. */
static void each_corpus_has_its_own_epochs(void **state) {
    (void)state;
    static const double weight[N_MIX] = {0.5, 0.3, 0.2};
    enum { BATCH = 2 };
    mix m = mix_open(
        weight, (hy__loader_options){.batch = BATCH, .seq_len = 48, .chunk = 16, .carry = true});
    assert_int_equal(hy__loader_streams(m.loader), BATCH * N_MIX);
    int64_t next[BATCH * N_MIX] = {0}, pos[BATCH * N_MIX] = {0}, total[N_MIX] = {0};
    int *seen[N_MIX];
    for (int c = 0; c < N_MIX; c++) seen[c] = calloc((size_t)m.corpus[c]->n_token, sizeof(int));
    for (int64_t j = 0; j < 400; j++) {
        const hy__loader_batch *b = get(m.loader, j);
        for (int64_t k = 0; k < b->n_piece; k++) {
            const hy__piece p = b->piece[k];
            const hy__corpus *c = m.corpus[p.domain];
            assert_int_equal(p.domain, p.stream / BATCH);
            const int64_t at = locate(c, b, p.start);
            for (int64_t i = 0; i < p.len; i++) {
                assert_int_equal(b->token[p.start + i], token_at(c, at + i));
                assert_int_equal(b->target[p.start + i], token_at(c, at + i + 1));
                seen[p.domain][at + i + 1]++;
            }
            total[p.domain] += p.len;
            if (p.pos > 0) {
                assert_int_equal(at, next[p.stream]);
                assert_int_equal(p.pos, pos[p.stream]);
            }
            next[p.stream] = at + p.len;
            pos[p.stream] = p.pos + p.len;
        }
    }
    for (int c = 0; c < N_MIX; c++) {
        const hy__corpus *corpus = m.corpus[c];
        int64_t least = 1 << 30, most = 0;
        for (int64_t d = 0; d < corpus->n_document[0]; d++)
            for (int64_t i = 1; i < corpus->document[0][d].len; i++) {
                const int n = seen[c][corpus->document[0][d].start + i];
                if (n < least) least = n;
                if (n > most) most = n;
            }
        assert_true(most - least <= 2); /* streams may be in two epochs that follow each other */
        assert_true(least > 3);
        free(seen[c]);
    }
    mix_close(&m);
}

static void a_batch_of_a_mixture_depends_on_its_number_alone(void **state) {
    (void)state;
    static const double weight[N_MIX] = {0.6, 0.3, 0.1};
    for (int carry = 0; carry < 2; carry++) {
        const hy__loader_options opt = {
            .batch = 3, .seq_len = 64, .chunk = 16, .carry = carry != 0, .seed = 9};
        mix walked = mix_open(weight, opt);
        for (int64_t i = 0; i < 5000; i += 1 + i / 16) {
            int32_t token[3 * 64];
            hy__piece piece[3 * 4];
            int64_t n_row;
            copy_batch(get(walked.loader, i), token, piece, &n_row);
            mix jumped = mix_open(weight, opt);
            const hy__loader_batch *b = get(jumped.loader, i);
            assert_int_equal(b->n_row, n_row);
            assert_memory_equal(b->token, token, (size_t)n_row * sizeof *token);
            assert_memory_equal(b->piece, piece, (size_t)b->n_piece * sizeof *piece);
            mix_close(&jumped);
        }
        mix_close(&walked);
    }
}

static void a_share_that_never_comes_is_refused(void **state) {
    (void)state;
    hy__corpus *list[] = {must_open("one.txt", 0), must_open("many", 0)};
    const double weight[] = {1, 1e-6};
    const hy__loader_options opt = {
        .corpus = list, .weight = weight, .n_corpus = 2, .batch = 1, .seq_len = 16, .chunk = 16};
    hy__loader *l;
    hy_error err = {0};
    assert_int_equal(hy__loader_new(&l, &opt, &err), HY_E_INVALID);
    assert_non_null(strstr(err.text, "share"));
    hy__corpus_free(list[0]);
    hy__corpus_free(list[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_file_is_cut_at_its_last_fraction),
        cmocka_unit_test(a_folder_is_read_in_order_without_what_is_not_text),
        cmocka_unit_test(what_is_named_must_be_text),
        cmocka_unit_test(an_epoch_shows_every_token_once),
        cmocka_unit_test(a_batch_depends_on_its_number_alone),
        cmocka_unit_test(seeds_and_epochs_differ),
        cmocka_unit_test(random_pieces_cover_the_part_and_nothing_else),
        cmocka_unit_test(weights_are_shares_of_tokens),
        cmocka_unit_test(each_batch_is_mixed),
        cmocka_unit_test(each_corpus_has_its_own_epochs),
        cmocka_unit_test(a_batch_of_a_mixture_depends_on_its_number_alone),
        cmocka_unit_test(a_share_that_never_comes_is_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
