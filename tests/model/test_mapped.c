/* test_mapped.c: weights used where they lie in a mapped file: the same bits as copied ones, no
 * access to what is not chosen, and which weights are copied all the same. */
#include "base/file.h"
#include "ckpt/checkpoint.h"
#include "ckpt/quantize.h"
#include "support/law.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static char root[] = P_tmpdir "/hydralm-mapped-XXXXXX";

static const char *at_root(const char *name) {
    static char path[4][128];
    static int at;
    at = (at + 1) % 4;
    snprintf(path[at], sizeof path[at], "%s/%s", root, name);
    return path[at];
}

/* Writes a random model of the configuration as fp32 in NAME and as bf16 in NAME-bf16. */
static void write_model(const hy__config *c, uint64_t seed, const char *name) {
    hy_error err = {0};
    hy__model *half;
    char narrow[64];
    law_model lm;
    law_open(&lm, "ref", c, seed);
    law_save(lm.m, at_root(name));
    law_ok(hy__checkpoint_open(&half, lm.be, at_root(name), "bf16", &err), &err);
    snprintf(narrow, sizeof narrow, "%s-bf16", name);
    law_save(half, at_root(narrow));
    hy__model_free(half);
    law_close(&lm);
}

static void open_dir(law_model *lm, const char *backend, const char *name, const char *dtype,
                     bool copy) {
    hy_error err = {0};
    law_ok(hy__backend_open(&lm->be, backend, 2, &err), &err);
    lm->be->host_memory = !copy;
    law_ok(hy__checkpoint_open(&lm->m, lm->be, at_root(name), dtype, &err), &err);
}

/* Parameters in memory of the model's own. */
static int64_t n_copied(const hy__model *m) {
    int64_t n = 0;
    for (int64_t i = 0; i < m->n_param; i++) n += m->param[i].value.buf == &m->weights;
    return n;
}

/* Backends of every precision give the bits that copied weights give, of fp32 and bf16 files. */
static void test_same_bits(void **state) {
    (void)state;
    enum { N = 70 };
    const hy__config c = law_config("S A E F W P P");
    const int64_t cut[] = {1, 30, 31};
    int32_t *token = law_tokens(1, N, c.model.vocab);
    const size_t size = (size_t)(N * c.model.vocab) * sizeof(double);
    write_model(&c, 3, "all");
    for (const char *const *be = hy__backend_names(); *be; be++)
        for (int narrow = 0; narrow < 2; narrow++) {
            const char *name = narrow ? "all-bf16" : "all";
            law_model copied, mapped;
            open_dir(&copied, *be, name, NULL, true);
            open_dir(&mapped, *be, name, NULL, false);
            assert_int_equal(n_copied(copied.m), copied.m->n_param);
            assert_true(n_copied(mapped.m) < mapped.m->n_param || mapped.be->real == HY__DTYPE_F64);
            double *a = law_logits(&copied, token, N, cut, 3, NULL);
            double *b = law_logits(&mapped, token, N, cut, 3, NULL);
            assert_memory_equal(a, b, size);
            free(a);
            free(b);
            law_close(&copied);
            law_close(&mapped);
        }
    free(token);
}

/* Only what memory wants in another dtype is copied; a training copies all. */
static void test_what_is_copied(void **state) {
    (void)state;
    hy_error err = {0};
    const hy__config c = law_config("SE");
    law_model lm;
    write_model(&c, 4, "se");
    open_dir(&lm, "cpu", "se", NULL, false);
    assert_int_equal(n_copied(lm.m), 0);
    assert_int_equal(lm.m->weights.size, 0);
    law_close(&lm);
    open_dir(&lm, "cpu", "se-bf16", NULL, false);
    assert_int_equal(n_copied(lm.m), 0);
    law_close(&lm);
    open_dir(&lm, "cpu", "se", "bf16", false);
    for (int64_t i = 0; i < lm.m->n_param; i++) {
        const hy__param *p = &lm.m->param[i];
        assert_int_equal(p->value.buf == &lm.m->weights, p->value.dtype == HY__DTYPE_BF16);
    }
    hy__model_free(lm.m);
    law_ok(hy__checkpoint_open_to_train(&lm.m, lm.be, at_root("se"), &err), &err);
    assert_int_equal(n_copied(lm.m), lm.m->n_param);
    law_ok(hy__model_train(lm.m, &err), &err);
    law_close(&lm);
}

/* A header whose length is no multiple of the element's size leaves the data unaligned. */
static void test_unaligned_file(void **state) {
    (void)state;
    hy_error err = {0};
    const hy__config c = law_config("F");
    law_model lm, shifted;
    char *data;
    size_t size;
    write_model(&c, 5, "odd");
    open_dir(&lm, "cpu", "odd", NULL, false);
    law_ok(hy__file_read(at_root("odd/model.safetensors"), SIZE_MAX / 2, &data, &size, &err), &err);
    char *grown = malloc(size + 1);
    uint64_t header = 0;
    for (int i = 7; i >= 0; i--) header = header << 8 | (unsigned char)data[i];
    memcpy(grown, data, 8 + header);
    grown[8 + header] = ' ';
    memcpy(grown + 9 + header, data + 8 + header, size - 8 - header);
    header++;
    for (int i = 0; i < 8; i++) grown[i] = (char)(header >> (8 * i));
    law_ok(hy__file_write(at_root("odd/model.safetensors"), grown, size + 1, &err), &err);
    open_dir(&shifted, "cpu", "odd", NULL, false);
    assert_int_equal(n_copied(lm.m), 0);
    assert_int_equal(n_copied(shifted.m), shifted.m->n_param);
    int32_t *token = law_tokens(2, 20, c.model.vocab);
    /* the first model's file was replaced by a rename: it still has the old one */
    double *a = law_logits(&lm, token, 20, NULL, 0, NULL);
    double *b = law_logits(&shifted, token, 20, NULL, 0, NULL);
    assert_memory_equal(a, b, 20 * (size_t)c.model.vocab * sizeof *a);
    free(a);
    free(b);
    free(token);
    free(grown);
    free(data);
    law_close(&lm);
    law_close(&shifted);
}

/* A model that is open keeps its weights when its directory becomes another model. */
static void test_replaced_while_open(void **state) {
    (void)state;
    const hy__config c = law_config("SF"), other = law_config("F");
    const size_t size = 20 * (size_t)c.model.vocab * sizeof(double);
    law_model lm;
    int32_t *token = law_tokens(2, 20, c.model.vocab);
    write_model(&c, 6, "kept");
    open_dir(&lm, "cpu", "kept", NULL, false);
    double *before = law_logits(&lm, token, 20, NULL, 0, NULL);
    write_model(&other, 7, "kept");
    double *after = law_logits(&lm, token, 20, NULL, 0, NULL);
    assert_memory_equal(before, after, size);
    /* it can be saved over the one that replaced it, and over its own files */
    law_save(lm.m, at_root("kept"));
    law_close(&lm);
    open_dir(&lm, "cpu", "kept", NULL, false);
    law_save(lm.m, at_root("kept"));
    double *again = law_logits(&lm, token, 20, NULL, 0, NULL);
    assert_memory_equal(before, again, size);
    free(before);
    free(after);
    free(again);
    free(token);
    law_close(&lm);
}

/* Whoever reads or writes the whole pages of one expert's weights dies. Returns how many there are.
 */
static int64_t forbid_expert(hy__model *m, const char *name, int64_t expert) {
    const hy__param *p = hy__model_find(m, name);
    assert_non_null(p);
    assert_ptr_equal(p->value.buf, &m->file[0]);
    const size_t each = (size_t)(p->n / m->cfg.experts.n_expert) * hy__dtype_size(p->value.dtype);
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t at = (uintptr_t)p->value.buf->data + p->value.off + (size_t)expert * each;
    const uintptr_t from = (at + page - 1) / page * page, to = (at + each) / page * page;
    assert_true(to > from);
    assert_int_equal(mprotect((void *)from, to - from, PROT_NONE), 0);
    return (int64_t)((to - from) / page);
}

/* Opening does not read the weights of experts, and running reads the forced ones' alone. */
static void test_unchosen_experts_untouched(void **state) {
    (void)state;
    enum { N = 45 };
    hy__config c = law_config("SE");
    c.experts.d_ff = 512; /* 64 KB and 32 KB of bf16 for each expert */
    law_finish(&c);
    write_model(&c, 8, "experts");
    int32_t *token = law_tokens(4, N, c.model.vocab);
    for (const char *const *be = hy__backend_names(); *be; be++) {
        law_model lm;
        open_dir(&lm, *be, "experts-bf16", NULL, false);
        int64_t pages = 0;
        for (int64_t e = 0; e < 4; e += 2) {
            pages += forbid_expert(lm.m, "backbone.layers.1.mixer.experts.gate_up.weight", e);
            pages += forbid_expert(lm.m, "backbone.layers.1.mixer.experts.down.weight", e);
        }
        assert_true(pages >= 2 * (15 + 7));
        hy__expert_control *ctl = &lm.m->layer[1].expert;
        ctl->force[0] = 3;
        ctl->force[1] = 1;
        ctl->n_force = 2;
        const int64_t cut[] = {1, 2, 30};
        free(law_logits(&lm, token, N, cut, 3, NULL));
        law_close(&lm);
    }
    free(token);
}

/* ---- what is read from the disk ---- */

/* A file in the system's cache, seen through a mapping of its own that reads nothing beside what is
 * touched. */
typedef struct cached {
    hy__map map;
    int64_t page; /* bytes */
    int64_t n;    /* pages */
} cached;

static cached cached_open(const char *path) {
    hy_error err = {0};
    cached c = {.page = sysconf(_SC_PAGESIZE)};
    law_ok(hy__file_map(&c.map, path, &err), &err);
    c.n = ((int64_t)c.map.size + c.page - 1) / c.page;
    assert_int_equal(madvise((void *)(uintptr_t)c.map.data, c.map.size, MADV_RANDOM), 0);
    return c;
}

/* How many of the pages [from, to) are in memory. */
static int64_t n_resident(const cached *c, int64_t from, int64_t to) {
    unsigned char in[4096];
    int64_t count = 0;
    for (int64_t n; from < to; from += n) {
        n = to - from < (int64_t)sizeof in ? to - from : (int64_t)sizeof in;
        assert_int_equal(
            mincore((void *)(uintptr_t)(c->map.data + from * c->page), (size_t)(n * c->page), in),
            0);
        for (int64_t i = 0; i < n; i++) count += in[i] & 1;
    }
    return count;
}

/* Whether the system gave up all of the file's pages, which nobody may have mapped. */
static bool drop_pages(const char *path) {
    const int fd = open(path, O_RDONLY);
    assert_true(fd >= 0 && fsync(fd) == 0);
    assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    close(fd);
    cached c = cached_open(path);
    const bool gone = n_resident(&c, 0, c.n) == 0;
    hy__file_unmap(&c.map);
    return gone;
}

/* The bytes of experts' weights in the file, the n_expert of one tensor after another. */
typedef struct expert_bytes {
    size_t at, each;
} expert_bytes;

enum { N_EXPERT = 4, N_MATRIX = 2 };

static void find_experts(expert_bytes m[N_MATRIX], hy__model *model) {
    static const char *const NAMES[] = {"backbone.layers.1.mixer.experts.gate_up.weight",
                                        "backbone.layers.1.mixer.experts.down.weight"};
    for (int i = 0; i < N_MATRIX; i++) {
        const hy__param *p = hy__model_find(model, NAMES[i]);
        assert_true(p->value.buf->mapped);
        m[i] = (expert_bytes){p->value.off,
                              hy__dtype_bytes(p->value.dtype, p->n / model->cfg.experts.n_expert)};
    }
}

/* Reads every page but the experts': what is read around those, by the system's read-ahead, is not
 * the question. */
static void read_others(const cached *c, const expert_bytes m[N_MATRIX]) {
    unsigned sum = 0;
    for (int64_t i = 0; i < c->n; i++) {
        const size_t from = (size_t)(i * c->page), to = from + (size_t)c->page;
        bool expert = false;
        for (int j = 0; j < N_MATRIX; j++)
            expert |= from >= m[j].at && to <= m[j].at + N_EXPERT * m[j].each;
        if (!expert) sum += *(const volatile unsigned char *)(c->map.data + from);
    }
    (void)sum;
}

/* All whole pages of the forced experts are in memory, and none of the others'. */
static void expect_resident(const cached *c, const expert_bytes m[N_MATRIX], const char *dir,
                            const bool forced[N_EXPERT]) {
    for (int i = 0; i < N_MATRIX; i++)
        for (int64_t e = 0; e < N_EXPERT; e++) {
            const int64_t at = (int64_t)(m[i].at + (size_t)e * m[i].each);
            const int64_t from = (at + c->page - 1) / c->page;
            const int64_t to = (at + (int64_t)m[i].each) / c->page;
            const int64_t got = n_resident(c, from, to), want = forced[e] ? to - from : 0;
            assert_true(to - from >= 16);
            if (got != want)
                fail_msg("%s: %d of %d pages of expert %d's matrix %d were read, wanted %d", dir,
                         (int)got, (int)(to - from), (int)e, i, (int)want);
        }
}

/* Experts that no token is routed to are never read from the disk, not even by read-ahead. */
static void test_unchosen_experts_unread(void **state) {
    (void)state;
    enum { N = 45 };
    static const bool FORCED[N_EXPERT] = {[1] = true, [3] = true};
    static const char *const DIRS[] = {"cold-bf16", "cold-int8"};
    const int64_t cut[] = {1, 2, 30};
    hy_error err = {0};
    hy_convert_result unread;
    hy__config c = law_config("SE");
    c.experts.d_ff = 4096; /* 139 KB of int8 at least for each expert and matrix */
    law_finish(&c);
    write_model(&c, 9, "cold");
    law_ok(hy__quantize_directory(at_root("cold"), at_root("cold-int8"), "int8", &unread, &err),
           &err);
    int32_t *token = law_tokens(4, N, c.model.vocab);
    for (int i = 0; i < 2; i++) {
        char path[160];
        expert_bytes m[N_MATRIX];
        law_model lm;
        snprintf(path, sizeof path, "%s/model.safetensors", at_root(DIRS[i]));
        open_dir(&lm, "cpu", DIRS[i], NULL, false);
        find_experts(m, lm.m);
        law_close(&lm);
        if (!drop_pages(path)) {
            print_message("skip: the file system of %s keeps its files in memory\n", root);
            free(token);
            skip();
        }
        cached file = cached_open(path);
        read_others(&file, m);
        expect_resident(&file, m, DIRS[i], (const bool[N_EXPERT]){false});
        open_dir(&lm, "cpu", DIRS[i], NULL, false);
        expect_resident(&file, m, DIRS[i], (const bool[N_EXPERT]){false});
        hy__expert_control *ctl = &lm.m->layer[1].expert;
        ctl->force[0] = 3;
        ctl->force[1] = 1;
        ctl->n_force = 2;
        free(law_logits(&lm, token, N, cut, 3, NULL));
        expect_resident(&file, m, DIRS[i], FORCED);
        law_close(&lm);
        hy__file_unmap(&file.map);
    }
    free(token);
}

static int make_root(void **state) {
    (void)state;
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_what_is_copied),
        cmocka_unit_test(test_unaligned_file),
        cmocka_unit_test(test_replaced_while_open),
        cmocka_unit_test(test_unchosen_experts_untouched),
        cmocka_unit_test(test_unchosen_experts_unread),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
