/* Saved sessions: whatever the pattern and wherever the session stands, one that is loaded goes on
 * in the same bits as the one that was saved; the file holds the carried state and nothing else;
 * what is no such file, or another model's, is refused and changes nothing. */
#include "hydralm.h"

#include "base/file.h"
#include "ckpt/safetensors.h"
#include "infer/engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { VOCAB = 256, CHUNK = 16 };

static char folder[] = P_tmpdir "/hydralm-saved-XXXXXX";

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static void must(hy_status status, const hy_error *err) {
    if (status != HY_OK) fail_msg("%s", err->text);
}

/* ---- models and sessions ---- */

typedef struct pattern {
    const char *layers;
    const char *attention, *experts; /* the fields that differ */
} pattern;

/* The second of A's is a ring of 4 slots, the third one of 5; the first one grows. */
static const pattern patterns[] = {
    {"S", "topk: 2", "route: previous"},
    {"A", "topk: 2", "route: previous"},
    {"A", "topk: 0", "route: previous"},
    {"A", "topk: 2, memory_blocks: 3", "route: previous"},
    {"E", "topk: 2", "route: previous"},
    {"E", "topk: 2", "route: shortlist, shortlist: 3"},
    {"E", "topk: 2", "route: token"},
    {"F", "topk: 2", "route: previous"},
    {"W", "topk: 2", "route: previous"},
    {"P", "topk: 2", "route: previous"},
    {"SE A WP F", "topk: 1", "route: previous"},
};
enum { N_PATTERN = sizeof patterns / sizeof *patterns, ALL = N_PATTERN - 1 };

static hy_model *open_model(const pattern *p, uint64_t seed, const hy_model_options *opt) {
    static const char format[] = "model: {layers: \"%s\", d_model: 32, vocab: 256, chunk: 16}\n"
                                 "ssm: {head_dim: 16, d_state: 16}\n"
                                 "attention: {n_head: 2, head_dim: 16, window: 32, %s}\n"
                                 "experts: {n_expert: 4, k: 2, expert_chunk: 8, d_ff: 32, %s}\n"
                                 "workspace: {n_head: 1, d_k: 16, d_v: 16, reads: 2}\n"
                                 "pkm: {n_head: 1, n_key: 8, d_key: 16, topk: 2}\n";
    char text[1024], path[128];
    hy_error err = {0};
    hy_model *m = NULL;
    snprintf(path, sizeof path, "%s/config.yaml", folder);
    snprintf(text, sizeof text, format, p->layers, p->attention, p->experts);
    must(hy__file_write(path, text, strlen(text), &err), &err);
    must(hy_model_new(&m, path, seed, opt, &err), &err);
    return m;
}

static hy_session *open_session(hy_model *m) {
    hy_error err = {0};
    hy_session *s = NULL;
    must(hy_session_new(&s, m, &err), &err);
    return s;
}

/* Tokens [from, from + n) of one endless text; logits: NULL or [n, VOCAB]. */
static void feed(hy_session *s, int64_t from, int64_t n, float *logits) {
    int32_t token[1024];
    hy_error err = {0};
    assert_true(n <= 1024);
    for (int64_t i = 0; i < n; i++) token[i] = (int32_t)((from + i) * (from + i + 7) % 251);
    must(hy_session_feed(s, token, n, logits, &err), &err);
}

static const char *path_of(const char *name) {
    static char path[4][128];
    static int at;
    at = (at + 1) % 4;
    snprintf(path[at], sizeof path[at], "%s/%s", folder, name);
    return path[at];
}

static void save(const hy_session *s, const char *name) {
    hy_error err = {0};
    must(hy_session_save(s, path_of(name), &err), &err);
}

static void load(hy_session *s, const char *name) {
    hy_error err = {0};
    must(hy_session_load(s, path_of(name), &err), &err);
}

static char *content(const char *name, size_t *size) {
    char *data;
    hy_error err = {0};
    must(hy__file_read(path_of(name), 1 << 24, &data, size, &err), &err);
    return data;
}

/* Equal files are equal positions, states and outputs. */
static void assert_same_files(const char *a, const char *b) {
    size_t n, m;
    char *x = content(a, &n), *y = content(b, &m);
    assert_int_equal(n, m);
    assert_memory_equal(x, y, n);
    free(x);
    free(y);
}

/* ---- going on ---- */

typedef struct text {
    char all[256];
    size_t n;
} text;

static bool take(void *user, const char *piece, size_t n) {
    text *t = user;
    assert_true(t->n + n < sizeof t->all);
    memcpy(t->all + t->n, piece, n);
    t->n += n;
    return true;
}

/* Writes on without a prompt, from the output that the session stands at. */
static text write_on(hy_session *s) {
    const hy_sample_options opt = {.max_tokens = 6, .temperature = 1, .seed = 3};
    text t = {.n = 0};
    hy_error err = {0};
    if (hy_session_pos(s) == 0) {
        assert_int_equal(hy_session_generate(s, "", 0, &opt, take, &t, NULL, &err), HY_E_INVALID);
    } else {
        must(hy_session_generate(s, "", 0, &opt, take, &t, NULL, &err), &err);
        assert_true(t.n > 0);
    }
    return t;
}

static void assert_file_is_state(const char *name, const hy_session *s) {
    hy_error err = {0};
    hy__st *st;
    size_t size = 0;
    must(hy__st_open(&st, path_of(name), &err), &err);
    for (int64_t i = 0; i < hy__st_count(st); i++) {
        const hy__st_tensor *t = hy__st_at(st, i);
        assert_memory_equal(t->name, "layers.", 7);
        size += (size_t)t->n * hy__st_dtype_size(t->dtype);
    }
    assert_int_equal(size, hy_session_bytes(s));
    hy__st_close(st);
}

/* Saves at position n, loads into a session that has seen another text, and goes on with both. */
static void check_position(hy_model *m, int64_t n) {
    enum { MORE = 40 };
    static float a[MORE * VOCAB], b[MORE * VOCAB];
    hy_session *saved = open_session(m), *loaded = open_session(m);
    feed(saved, 0, n, NULL);
    save(saved, "one");
    assert_file_is_state("one", saved);
    feed(loaded, 500, 19, NULL);
    load(loaded, "one");
    assert_int_equal(hy_session_pos(loaded), n);
    assert_int_equal(hy_session_bytes(loaded), hy_session_bytes(saved));
    save(loaded, "two");
    assert_same_files("one", "two");
    const text x = write_on(saved), y = write_on(loaded);
    assert_int_equal(x.n, y.n);
    assert_memory_equal(x.all, y.all, x.n);
    feed(saved, n, MORE, a);
    feed(loaded, n, MORE, b);
    assert_memory_equal(a, b, sizeof a);
    save(saved, "one");
    save(loaded, "two");
    assert_same_files("one", "two");
    hy_session_free(saved);
    hy_session_free(loaded);
}

/* Inside a unit, a chunk and a piece, at their ends, before and after A's cache has grown (at 513)
 * and its rings have gone round (from 65 and 81). */
static void test_goes_on(void **state) {
    (void)state;
    static const int64_t position[] = {0, 1, 5, 8, 16, 37, 65, 100, 511, 512, 513, 700};
    for (size_t i = 0; i < N_PATTERN; i++) {
        hy_model *m = open_model(&patterns[i], 11, NULL);
        for (size_t j = 0; j < sizeof position / sizeof *position; j++)
            check_position(m, position[j]);
        hy_model_free(m);
    }
}

static void test_other_backends_and_dtypes(void **state) {
    (void)state;
    static const hy_model_options opt[] = {
        {.backend = "ref"}, {.backend = "ref64"}, {.dtype = "bf16"}};
    for (size_t i = 0; i < sizeof opt / sizeof *opt; i++) {
        hy_model *m = open_model(&patterns[ALL], 11, &opt[i]);
        check_position(m, 0);
        check_position(m, 37);
        check_position(m, 530);
        hy_model_free(m);
    }
}

/* The same weights from a directory are the same model. */
static void test_saved_model(void **state) {
    (void)state;
    hy_error err = {0};
    hy_model *m = open_model(&patterns[ALL], 11, NULL), *again = NULL;
    must(hy_model_save(m, path_of("model"), &err), &err);
    must(hy_model_open(&again, path_of("model"), NULL, &err), &err);
    hy_session *a = open_session(m), *b = open_session(again);
    feed(a, 0, 50, NULL);
    save(a, "one");
    load(b, "one");
    save(b, "two");
    assert_same_files("one", "two");
    hy_session_free(a);
    hy_session_free(b);
    hy_model_free(m);
    hy_model_free(again);
}

/* Nothing of a sequence is left in the file of the next. */
static void test_reset_leaves_nothing(void **state) {
    (void)state;
    hy_model *m = open_model(&patterns[ALL], 11, NULL);
    hy_session *s = open_session(m);
    save(s, "fresh");
    feed(s, 0, 300, NULL);
    hy_session_reset(s);
    save(s, "reset");
    assert_same_files("fresh", "reset");
    hy_session_free(s);
    hy_model_free(m);
}

/* ---- refusals ---- */

/* Loading must fail with that sentence (NULL: any, or none) and leave the session as "before" has
 * it. */
static void refuse(hy_session *s, const char *name, hy_status want, const char *says) {
    hy_error err = {0};
    const hy_status got = hy_session_load(s, path_of(name), &err);
    if (got != want || !strstr(err.text, says))
        fail_msg("%s: status %d, wanted %d; \"%s\" does not say \"%s\"", name, got, want, err.text,
                 says);
    save(s, "after");
    assert_same_files("before", "after");
}

static void test_another_model(void **state) {
    (void)state;
    const pattern rotary = {patterns[ALL].layers, "topk: 1, rope_theta: 10000",
                            patterns[ALL].experts};
    const hy_model_options bf16 = {.dtype = "bf16"}, ref64 = {.backend = "ref64"};
    hy_model *const m[] = {open_model(&patterns[ALL], 11, NULL),
                           open_model(&patterns[ALL], 12, NULL), open_model(&rotary, 11, NULL),
                           open_model(&patterns[ALL], 11, &bf16),
                           open_model(&patterns[ALL], 11, &ref64)};
    hy_session *s = open_session(m[0]);
    feed(s, 0, 20, NULL);
    save(s, "one");
    for (size_t i = 1; i < sizeof m / sizeof *m; i++) {
        hy_session *other = open_session(m[i]);
        feed(other, 3, 9, NULL);
        save(other, "before");
        refuse(other, "one", HY_E_INVALID, "another model");
        hy_session_free(other);
    }
    hy_session_free(s);
    for (size_t i = 0; i < sizeof m / sizeof *m; i++) hy_model_free(m[i]);
}

/* A session's file with one thing changed: a metadata value (NULL: gone), or a tensor. */
typedef struct change {
    const char *key, *value;
    const char *tensor; /* this one … */
    hy__st_dtype dtype;
    int64_t n; /* … gets so many elements in one dimension; 0: it is left out */
    bool extra;
} change;

/* The data as they were, or zeros where the tensor is another one. */
static hy_status refill(void *user, int64_t i, int64_t first, int64_t n, void *dst, hy_error *err) {
    const hy__st_tensor *t = &((const hy__st_tensor *)user)[i];
    const size_t each = hy__st_dtype_size(t->dtype), size = (size_t)n * each;
    (void)err;
    memset(dst, 0, size);
    if (t->data) memcpy(dst, t->data + (size_t)first * each, size);
    return HY_OK;
}

static void write_changed(const char *from, const char *to, const change *c) {
    static const char *const keys[] = {"hydralm_session", "model",    "position",
                                       "slots",           "checksum", "output"};
    const char *metadata[14] = {NULL};
    hy__st_tensor tensor[32];
    int64_t n = 0, n_meta = 0;
    hy_error err = {0};
    hy__st *st;
    must(hy__st_open(&st, path_of(from), &err), &err);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const bool changed = c->key && strcmp(c->key, keys[i]) == 0;
        const char *value = changed ? c->value : hy__st_metadata(st, keys[i]);
        if (!value) continue;
        metadata[n_meta++] = keys[i];
        metadata[n_meta++] = value;
    }
    for (int64_t i = 0; i < hy__st_count(st); i++) {
        tensor[n] = *hy__st_at(st, i);
        if (c->tensor && strcmp(c->tensor, tensor[n].name) == 0) {
            if (c->n == 0) continue;
            tensor[n].dtype = c->dtype;
            tensor[n].data = NULL;
            tensor[n].n_dim = 1;
            tensor[n].shape[0] = c->n;
        }
        n++;
    }
    if (c->extra) tensor[n++] = (hy__st_tensor){.name = "x", .dtype = HY__ST_F32};
    const hy__st_list list = {
        .tensor = tensor, .n_tensor = n, .fill = refill, .user = tensor, .metadata = metadata};
    must(hy__st_write(path_of(to), &list, &err), &err);
    hy__st_close(st);
}

static void test_wrong_files(void **state) {
    (void)state;
    static const struct {
        change c;
        const char *says;
    } wrong[] = {
        {{.key = "hydralm_session"}, "not a saved session"},
        {{.key = "hydralm_session", .value = "2"}, "of version 2"},
        {{.key = "model"}, "another model"},
        {{.key = "model", .value = "0123456789abcdef"}, "another model"},
        {{.key = "position"}, "its position is \"\""},
        {{.key = "position", .value = "-1"}, "its position is \"-1\""},
        {{.key = "position", .value = "0x10"}, "its position is \"0x10\""},
        {{.key = "position", .value = "99999999999999999999"}, "wanted a whole number"},
        {{.key = "position", .value = "999999999999999999"}, "the position is 999999999999999999"},
        {{.key = "position", .value = "513"}, "wanted 33 to"},
        {{.key = "position", .value = "0"}, "at position 0"},
        {{.key = "slots"}, "its slots is \"\""},
        {{.key = "slots", .value = "1"}, "has 1 KV slots"},
        {{.key = "slots", .value = "33"}, "no tensor layers.2.k of 16896 elements"},
        {{.key = "slots", .value = "1073741824"}, "no tensor layers.2.k"},
        {{.key = "slots", .value = "999999999999999999"}, "KV slots"},
        {{.key = "position", .value = "21"}, "bad is damaged"},
        {{.key = "position", .value = "020"}, "bad is damaged"},
        {{.key = "output"}, "bad is damaged"},
        {{.key = "checksum"}, "wanted its \"\""},
        {{.key = "checksum", .value = "0123456789abcdef"}, "wanted its \"0123456789abcdef\""},
        {{.key = "output", .value = "00"}, "its output is not 256 hex digits"},
        {{.tensor = "layers.0.h"}, "no tensor layers.0.h"},
        {{.tensor = "layers.0.h", .dtype = HY__ST_F32, .n = 1023}, "layers.0.h of 1024 elements"},
        {{.tensor = "layers.0.h", .dtype = HY__ST_F64, .n = 1024}, "elements of F32"},
        {{.tensor = "layers.2.v", .dtype = HY__ST_F32, .n = 32 * 512}, "in 2 dimensions"},
        {{.extra = true}, "has 10 tensors"},
    };
    hy_model *m = open_model(&patterns[ALL], 11, NULL);
    hy_session *s = open_session(m);
    feed(s, 0, 20, NULL);
    save(s, "good");
    feed(s, 20, 3, NULL);
    save(s, "before");
    write_changed("good", "same", &(change){.key = NULL});
    load(s, "same"); /* what follows is refused for what was changed, and nothing else */
    load(s, "before");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        write_changed("good", "bad", &wrong[i].c);
        refuse(s, "bad", HY_E_INVALID, wrong[i].says);
    }
    hy_error err = {0};
    must(hy__file_write(path_of("bad"), "", 0, &err), &err);
    refuse(s, "bad", HY_E_INVALID, "it has 0 bytes");
    refuse(s, "missing", HY_E_IO, "No such file");
    refuse(s, ".", HY_E_INVALID, "is a folder");
    hy_session_free(s);
    hy_model_free(m);
}

/* Bytes of the header, its length included. */
static size_t header_of(const char *data) {
    return 8 + (unsigned char)data[0] + 256u * (unsigned char)data[1];
}

/* Cut anywhere, a file is refused; with any byte of its header changed, it is refused or read; and
 * with any bit of its data changed, it is damaged. */
static void test_damaged_files(void **state) {
    (void)state;
    hy_model *m = open_model(&patterns[ALL], 11, NULL);
    hy_session *s = open_session(m), *reader = open_session(m);
    hy_error err = {0};
    size_t size;
    feed(s, 0, 20, NULL);
    save(s, "good");
    char *data = content("good", &size);
    must(hy__file_write(path_of("cut"), data, size - 1, &err), &err);
    for (size_t n = size - 1;; n = (n - 1) / 100 * 100) {
        assert_int_equal(truncate(path_of("cut"), (off_t)n), 0);
        assert_int_equal(hy_session_load(reader, path_of("cut"), &err), HY_E_INVALID);
        assert_int_equal(hy_session_pos(reader), 0);
        if (n == 0) break;
    }
    const size_t header = header_of(data);
    int refused = 0;
    for (size_t i = 0; i < header; i++) {
        data[i] ^= 4;
        must(hy__file_write(path_of("flipped"), data, size, &err), &err);
        refused += hy_session_load(reader, path_of("flipped"), &err) != HY_OK;
        data[i] ^= 4;
    }
    assert_true(refused > 500);
    for (size_t i = header; i < size; i += i % 997 + 1) {
        const char bit = (char)(1 << i % 7);
        data[i] ^= bit;
        must(hy__file_write(path_of("flipped"), data, size, &err), &err);
        assert_int_equal(hy_session_load(reader, path_of("flipped"), &err), HY_E_INVALID);
        assert_non_null(strstr(err.text, "flipped is damaged"));
        data[i] ^= bit;
    }
    load(reader, "good");
    save(reader, "again");
    assert_same_files("good", "again");
    free(data);
    hy_session_free(s);
    hy_session_free(reader);
    hy_model_free(m);
}

/* Every number of the session's state becomes one of those bits. */
static void make_hostile(hy_session *s, size_t turn) {
    static const uint32_t bits[] = {0xffffffff, 0x7f800000, 0xff7fffff, 0x80000001};
    const hy__model *m = s->model->net;
    for (int64_t i = 0; i < m->cfg.n_layer; i++)
        for (int id = 0; id < m->layer[i].decl.n_state; id++) {
            const hy__tensor t = s->state->t[i * HY__STATE_MAX + id];
            const int64_t n = hy__state_elements(&m->layer[i].decl.state[id], s->state->n_slot);
            for (int64_t at = 0; at < n; at++)
                m->be->write(m->be, hy__at(t, at), &bits[(turn + (size_t)at % 3) % 4],
                             sizeof *bits);
        }
}

/* Numbers that no state has, NaN and infinities among them, give nonsense and nothing worse: their
 * checksum is right. */
static void test_hostile_numbers(void **state) {
    (void)state;
    static float logits[40 * VOCAB];
    for (size_t i = 0; i < N_PATTERN; i++) {
        hy_model *m = open_model(&patterns[i], 11, NULL);
        hy_session *s = open_session(m);
        for (size_t j = 0; j < 4; j++) {
            hy_session_reset(s);
            feed(s, 0, 100, NULL);
            make_hostile(s, j);
            save(s, "hostile");
            load(s, "hostile");
            feed(s, 100, 40, logits);
            feed(s, 140, 1, logits);
        }
        hy_session_free(s);
        hy_model_free(m);
    }
}

static void test_cannot_be_saved(void **state) {
    (void)state;
    hy_error err = {0};
    hy_model *m = open_model(&patterns[ALL], 11, NULL);
    hy_session *s = open_session(m);
    feed(s, 0, 20, NULL);
    assert_int_equal(hy_session_save(s, path_of("no/folder"), &err), HY_E_IO);
    assert_int_equal(hy_session_save(s, folder, &err), HY_E_INVALID);
    assert_int_equal(hy_session_pos(s), 20);
    hy_session_free(s);
    hy_model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goes_on),         cmocka_unit_test(test_other_backends_and_dtypes),
        cmocka_unit_test(test_saved_model),     cmocka_unit_test(test_reset_leaves_nothing),
        cmocka_unit_test(test_another_model),   cmocka_unit_test(test_wrong_files),
        cmocka_unit_test(test_damaged_files),   cmocka_unit_test(test_cannot_be_saved),
        cmocka_unit_test(test_hostile_numbers),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
