/* The builder of data: what it makes depends on the input alone, is whole or not there, and says so
 * when it is damaged. */
#include "base/file.h"
#include "data/build.h"
#include "data/mixture.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

static char dir[] = "/tmp/hydralm-build-XXXXXX";
static hy__tokenizer *tok;

static char *path_of(const char *name) {
    char *path = hy__path_join(dir, name);
    assert_non_null(path);
    return path;
}

/* Without waiting for the disk: this is done thousands of times. */
static void put_at(const char *path, const void *data, size_t size) {
    unlink(path); /* a file that is cut short and written again would be flushed */
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static void put(const char *name, const void *data, size_t size) {
    char *path = path_of(name);
    put_at(path, data, size);
    free(path);
}

static int setup(void **state) {
    (void)state;
    return mkdtemp(dir) && hy__tokenizer_open(&tok, NULL, NULL) == HY_OK ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    char command[64];
    hy__tokenizer_free(tok);
    snprintf(command, sizeof command, "rm -r %s", dir);
    return system(command);
}

static hy_status build(hy__corpus **c, const char *name, hy__build_options opt, hy_error *err) {
    char *path = path_of(name);
    const char *const list[] = {path};
    opt.path = list;
    opt.n_path = 1;
    opt.tokenizer = tok;
    if (opt.threads == 0) opt.threads = 2;
    const hy_status status = hy__build(c, &opt, err);
    free(path);
    return status;
}

static hy__corpus *must_build(const char *name, hy__build_options opt) {
    hy__corpus *c;
    hy_error err = {0};
    if (build(&c, name, opt, &err) != HY_OK) fail_msg("%s", err.text);
    return c;
}

/* The text of a document. */
static char *text_of(const hy__corpus *c, hy__document d) {
    int32_t *token = malloc((size_t)d.len * sizeof *token);
    char *text = malloc((size_t)d.len + 1);
    hy_error err = {0};
    if (hy__corpus_read(c, d.start, d.len, token, &err) != HY_OK) fail_msg("%s", err.text);
    for (int64_t i = 0; i < d.len; i++) text[i] = (char)token[i];
    text[d.len] = '\0';
    free(token);
    return text;
}

static uint64_t next_random(uint64_t *s) {
    *s = *s * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *s >> 33;
}

/* A text of several blocks in which separators, characters of several bytes and documents of all
 * lengths stand across the blocks' borders. Returns the number of separators. */
static int64_t put_large(const char *name, const char *separator, uint64_t seed) {
    const size_t size = 5 << 20, len = strlen(separator);
    char *text = malloc(size + 16);
    size_t n = 0;
    int64_t count = 0;
    while (n < size) {
        const uint64_t kind = next_random(&seed) % 4096;
        if (len > 0 && kind < 3) {
            memcpy(text + n, separator, len);
            n += len;
            count++;
        } else if (kind < 500) {
            memcpy(text + n, "\xE2\x82\xAC", 3);
            n += 3;
        } else {
            text[n++] = (char)('a' + kind % 26);
        }
    }
    put(name, text, n);
    free(text);
    return count;
}

static void blocks_shards_and_threads_change_nothing(void **state) {
    (void)state;
    const int64_t count = put_large("large.txt", "<<end>>", 3);
    uint64_t print = 0;
    for (int i = 0; i < 4; i++) {
        const hy__build_options opt = {.separator = "<<end>>",
                                       .threads = 1 + i,
                                       .val_fraction = 0.1,
                                       .shard_tokens = i == 3 ? 100000 : 0};
        hy__corpus *c = must_build("large.txt", opt);
        const int64_t n = c->n_document[0] + c->n_document[1];
        assert_true(n > 500 && n <= count + 1);
        assert_int_equal(c->split, HY__SPLIT_DOCUMENTS);
        if (i == 0) print = c->fingerprint;
        if (i < 3)
            assert_true(c->fingerprint == print);
        else
            assert_true(c->n_shard > 40);
        for (int p = 0; p < 2; p++) {
            for (int64_t d = 0; d < c->n_document[p]; d++) {
                char *text = text_of(c, c->document[p][d]);
                assert_null(strstr(text, "<<end>>"));
                free(text);
            }
        }
        hy__corpus_free(c);
    }
    /* without a separator it is one document of every byte, whose tail is held out */
    hy__corpus *c = must_build("large.txt", (hy__build_options){.val_fraction = 0.25});
    assert_int_equal(c->split, HY__SPLIT_TAIL);
    assert_int_equal(c->n_document[0] + c->n_document[1], 2);
    assert_int_equal(c->n_part[0] + c->n_part[1], c->source.n_byte);
    assert_int_equal(c->n_part[1], (c->source.n_byte + 2) / 4);
    hy__corpus_free(c);
}

/* Every document of one build, by its text, has the same part in the other. */
static int64_t common_parts(const hy__corpus *a, const hy__corpus *b) {
    int64_t same = 0;
    for (int p = 0; p < 2; p++)
        for (int64_t i = 0, j = 0; i < a->n_document[p]; i++, j++) {
            char *want = text_of(a, a->document[p][i]);
            for (;; j++) { /* both are in the order of the input */
                assert_true(j < b->n_document[p]);
                char *got = text_of(b, b->document[p][j]);
                const bool equal = strcmp(want, got) == 0;
                free(got);
                if (equal) break;
            }
            same++;
            free(want);
        }
    return same;
}

static void put_lines(const char *name, int first, int last) {
    char *text = malloc((size_t)(last - first) * 64);
    int n = 0;
    for (int i = first; i < last; i++)
        n += sprintf(text + n, "{\"id\": %d, \"text\": \"number %d\\n\"}\n", i, i);
    put(name, text, (size_t)n);
    free(text);
}

static void more_files_change_no_documents_part(void **state) {
    (void)state;
    char *folder = path_of("lines");
    assert_int_equal(mkdir(folder, 0777), 0);
    free(folder);
    put_lines("lines/b.jsonl", 0, 1000);
    const hy__build_options opt = {.val_fraction = 0.05};
    hy__corpus *a = must_build("lines", opt);
    assert_int_equal(a->split, HY__SPLIT_DOCUMENTS);
    assert_int_equal(a->n_document[0] + a->n_document[1], 1000);
    assert_true(a->n_document[1] > 15 && a->n_document[1] < 100); /* 50 expected, sd 7 */
    put_lines("lines/a.jsonl", 1000, 1500);
    hy__corpus *b = must_build("lines", opt);
    assert_int_equal(b->n_document[0] + b->n_document[1], 1500);
    assert_int_equal(common_parts(a, b), 1000);
    hy__corpus_free(a);
    hy__corpus_free(b);
    /* 200 documents would hold out 10: the tail, in the order of the files */
    put_lines("few.jsonl", 0, 200);
    a = must_build("few.jsonl", opt);
    assert_int_equal(a->split, HY__SPLIT_TAIL);
    char *last = text_of(a, a->document[1][a->n_document[1] - 1]);
    assert_string_equal(last, "number 199\n");
    free(last);
    hy__corpus_free(a);
    a = must_build("few.jsonl",
                   (hy__build_options){.val_fraction = 0.05, .split = HY__SPLIT_DOCUMENTS});
    assert_int_equal(a->split, HY__SPLIT_DOCUMENTS);
    hy__corpus_free(a);
}

static void text_and_its_folder_are_one_corpus(void **state) {
    (void)state;
    char *out = path_of("built");
    put_large("text.txt", "", 8);
    hy__corpus *text = must_build("text.txt", (hy__build_options){.val_fraction = 0.1});
    hy__corpus *built =
        must_build("text.txt", (hy__build_options){.val_fraction = 0.1, .out = out});
    assert_true(text->fingerprint == built->fingerprint);
    assert_int_equal(text->n_part[0], built->n_part[0]);
    assert_true(hy__corpus_is_built(out));
    hy__corpus_free(text);
    hy__corpus_free(built);
    free(out);
}

/* A byte changed anywhere in the header or in a table is found when the folder is opened; in the
 * tokens, by reading them. */
static void a_flipped_byte_is_found(void **state) {
    (void)state;
    hy_error err = {0};
    char *out = path_of("flip"), *folder = path_of("lines");
    hy__corpus *c;
    hy__corpus_free(must_build("lines", (hy__build_options){.val_fraction = 0.1, .out = out}));
    static const char *const name[] = {"tokens-00000.bin", "train.bin", "val.bin"};
    for (int i = 0; i < 3; i++) {
        char *path = hy__path_join(out, name[i]), *data;
        size_t size;
        assert_int_equal(hy__file_read(path, SIZE_MAX / 8, &data, &size, &err), HY_OK);
        for (size_t at = 0; at < size; at += at < 128 ? 1 : 97) {
            data[at] = (char)(data[at] ^ 0x10);
            put_at(path, data, size);
            const hy_status opened = hy__corpus_open(&c, out, &err);
            if (opened == HY_OK) {
                assert_true(i == 0 && at >= 128);
                assert_int_equal(hy__corpus_verify(c, 2, &err), HY_E_INVALID);
                hy__corpus_free(c);
            }
            if (!strstr(err.text, "flip")) fail_msg("byte %zu: %s", at, err.text);
            data[at] = (char)(data[at] ^ 0x10);
        }
        for (size_t cut = 0; cut < size; cut += 1 + cut / 2) {
            put_at(path, data, cut);
            assert_int_equal(hy__corpus_open(&c, out, &err), HY_E_INVALID);
        }
        put_at(path, data, size);
        free(data);
        free(path);
    }
    assert_int_equal(hy__corpus_open(&c, out, &err), HY_OK);
    assert_int_equal(hy__corpus_verify(c, 2, &err), HY_OK);
    hy__corpus_free(c);
    free(out);
    free(folder);
}

/* gzip of several members one behind another, cut at every length. */
static void packed_text_is_whole_or_refused(void **state) {
    (void)state;
    char *path = path_of("members.gz"), *data;
    hy_error err = {0};
    size_t size, member[4] = {0};
    for (int i = 1; i <= 3; i++) {
        gzFile f = gzopen(path, "ab");
        for (int j = 0; j < 200; j++) gzprintf(f, "member %d line %d\n", i, j * j);
        gzclose(f);
        struct stat st;
        stat(path, &st);
        member[i] = (size_t)st.st_size;
    }
    hy__corpus *c = must_build("members.gz", (hy__build_options){.val_fraction = 0});
    char *text = text_of(c, c->document[0][0]);
    assert_non_null(strstr(text, "member 3 line 39601\n"));
    free(text);
    hy__corpus_free(c);
    assert_int_equal(hy__file_read(path, SIZE_MAX / 8, &data, &size, &err), HY_OK);
    for (size_t cut = 0; cut < size; cut++) {
        put("cut.gz", data, cut);
        const hy_status status = build(&c, "cut.gz", (hy__build_options){.threads = 1}, &err);
        const bool whole = cut > 0 && (cut == member[1] || cut == member[2]);
        if (status == HY_OK) hy__corpus_free(c);
        if ((status == HY_OK) != whole) fail_msg("cut at %zu of %zu: %s", cut, size, err.text);
    }
    free(data);
    free(path);
}

/* As `zstd --long=28` writes what it reads from a pipe: the window is larger than what a reader
 * takes that was not told to. */
static void zstd_with_a_long_window_is_read(void **state) {
    (void)state;
    const char text[] = "some text that is not long at all\n";
    const size_t cut = 5; /* flushed before the length is known */
    char packed[256];
    ZSTD_CCtx *z = ZSTD_createCCtx();
    ZSTD_outBuffer out = {.dst = packed, .size = sizeof packed};
    ZSTD_inBuffer in = {.src = text, .size = cut};
    assert_non_null(z);
    assert_false(ZSTD_isError(ZSTD_CCtx_setParameter(z, ZSTD_c_windowLog, 28)));
    assert_int_equal(ZSTD_compressStream2(z, &out, &in, ZSTD_e_flush), 0);
    in.size = strlen(text);
    assert_int_equal(ZSTD_compressStream2(z, &out, &in, ZSTD_e_end), 0);
    ZSTD_freeCCtx(z);
    put("long.zst", packed, out.pos);
    hy__corpus *c = must_build("long.zst", (hy__build_options){.threads = 1});
    char *got = text_of(c, c->document[0][0]);
    assert_string_equal(got, text);
    free(got);
    hy__corpus_free(c);
}

static bool stop_at_once(void *user, const hy__build_progress *p) {
    (void)p;
    return ++*(int *)user < 3;
}

static void a_stopped_build_leaves_nothing(void **state) {
    (void)state;
    hy_error err = {0};
    hy__corpus *c;
    char *out = path_of("above/stopped"), *above = path_of("above");
    int calls = 0;
    const hy__build_options opt = {.out = out, .on_progress = stop_at_once, .user = &calls};
    assert_int_equal(build(&c, "large.txt", opt, &err), HY_E_STOPPED);
    assert_null(c);
    assert_int_equal(calls, 3);
    assert_int_not_equal(access(above, F_OK), 0);
    free(out);
    free(above);
}

/* A NUL far behind the beginning: in a folder the file is passed over, and nothing of it is left in
 * a document. */
static void binary_behind_text_is_passed_over(void **state) {
    (void)state;
    char *folder = path_of("late"), *path, *data;
    hy_error err = {0};
    size_t size;
    assert_int_equal(mkdir(folder, 0777), 0);
    put_large("late/b.txt", "", 5);
    path = path_of("late/b.txt");
    assert_int_equal(hy__file_read(path, SIZE_MAX / 8, &data, &size, &err), HY_OK);
    data[3 << 20] = '\0';
    put("late/b.txt", data, size);
    put("late/a.txt", "before it", 9);
    put("late/c.txt", "behind it", 9);
    hy__corpus *c = must_build("late", (hy__build_options){.threads = 3});
    assert_int_equal(c->source.n_file, 2);
    assert_int_equal(c->source.n_other, 1);
    assert_int_equal(c->n_document[0], 2);
    char *text = text_of(c, c->document[0][1]);
    assert_string_equal(text, "behind it");
    free(text);
    hy__corpus_free(c);
    assert_int_equal(build(&c, "late/b.txt", (hy__build_options){.threads = 2}, &err),
                     HY_E_INVALID);
    assert_non_null(strstr(err.text, "NUL"));
    free(data);
    free(path);
    free(folder);
}

/* Three line breaks are one separator of two and a document's first byte, at the borders of blocks
 * too. */
static void separators_that_overlap_count_once(void **state) {
    (void)state;
    const size_t size = 6 << 20;
    char *text = malloc(size);
    uint64_t seed = 5;
    for (size_t i = 0; i < size; i++) text[i] = next_random(&seed) % 8 ? '\n' : 'x';
    put("breaks.txt", text, size);
    hy__corpus *c =
        must_build("breaks.txt", (hy__build_options){.separator = "\n\n", .split = HY__SPLIT_NONE});
    int64_t d = 0;
    for (size_t from = 0, to; from < size; from = to + 2) {
        for (to = from; to + 1 < size && (text[to] != '\n' || text[to + 1] != '\n');) to++;
        if (to + 1 >= size) to = size;
        if (to - from < 2) continue;
        assert_true(d < c->n_document[0]);
        if (c->document[0][d].len != (int64_t)(to - from))
            fail_msg("the document at byte %zu has %lld tokens, wanted %zu", from,
                     (long long)c->document[0][d].len, to - from);
        d++;
    }
    assert_int_equal(d, c->n_document[0]);
    hy__corpus_free(c);
    free(text);
}

typedef struct builder {
    char *path, *out;
    atomic_bool *ended;
    int done, refused, other, missed;
} builder;

static void *build_again_and_again(void *user) {
    builder *b = user;
    for (int i = 0; i < 60; i++) {
        const char *const path[] = {b->path};
        const hy__build_options opt = {.path = path,
                                       .n_path = 1,
                                       .tokenizer = tok,
                                       .out = b->out,
                                       .force = true,
                                       .threads = 1};
        hy_error err = {0};
        hy__corpus *c;
        if (hy__build(&c, &opt, &err) == HY_OK) {
            hy__corpus_free(c);
            b->done++;
        } else if (strstr(err.text, "another build is writing")) {
            b->refused++;
        } else {
            print_error("%s\n", err.text);
            b->other++;
        }
    }
    return NULL;
}

static void *look_for_the_folder(void *user) {
    builder *b = user;
    while (!atomic_load(b->ended)) b->missed += access(b->out, F_OK) != 0;
    return NULL;
}

/* Several builds of one folder: one of them writes, the others say so, and at every moment a whole
 * one is there. */
static void a_folder_is_replaced_in_one_moment(void **state) {
    (void)state;
    char *out = path_of("raced"), *path = path_of("raced.txt");
    hy_error err = {0};
    put("raced.txt", "a text that is short", 20);
    hy__corpus_free(must_build("raced.txt", (hy__build_options){.out = out}));
    atomic_bool ended = false;
    pthread_t thread[4];
    builder b[4];
    for (int i = 0; i < 4; i++) {
        b[i] = (builder){.path = path, .out = out, .ended = &ended};
        pthread_create(&thread[i], NULL, i ? build_again_and_again : look_for_the_folder, &b[i]);
    }
    for (int i = 1; i < 4; i++) pthread_join(thread[i], NULL);
    atomic_store(&ended, true);
    pthread_join(thread[0], NULL);
    assert_int_equal(b[0].missed, 0);
    assert_int_equal(b[1].other + b[2].other + b[3].other, 0);
    assert_true(b[1].done + b[2].done + b[3].done > 0);
    hy__corpus *c;
    if (hy__corpus_open(&c, out, &err) != HY_OK) fail_msg("%s", err.text);
    assert_int_equal(hy__corpus_verify(c, 1, &err), HY_OK);
    hy__corpus_free(c);
    free(out);
    free(path);
    out = path_of("raced.building");
    assert_int_not_equal(access(out, F_OK), 0);
    free(out);
}

static void too_many_shards_are_told_when_they_are_reached(void **state) {
    (void)state;
    hy_error err = {0};
    hy__corpus *c;
    assert_int_equal(build(&c, "large.txt", (hy__build_options){.shard_tokens = 16}, &err),
                     HY_E_INVALID);
    assert_non_null(strstr(err.text, "16384 shards of 16 tokens"));
}

static void lines_longer_than_a_block_are_read(void **state) {
    (void)state;
    const size_t size = 3 << 20;
    char *line = malloc(size + 64);
    size_t n = (size_t)sprintf(line, "{\"text\": \"");
    memset(line + n, 'x', size);
    n += size;
    n += (size_t)sprintf(line + n, "\"}\n{\"text\": \"yz\"}\n");
    put("long.jsonl", line, n);
    hy__corpus *c = must_build("long.jsonl", (hy__build_options){.threads = 2});
    assert_int_equal(c->n_document[0], 2);
    assert_int_equal(c->document[0][0].len, size);
    assert_int_equal(c->document[0][1].len, 2);
    hy__corpus_free(c);
    free(line);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_shards_and_threads_change_nothing),
        cmocka_unit_test(more_files_change_no_documents_part),
        cmocka_unit_test(text_and_its_folder_are_one_corpus),
        cmocka_unit_test(a_flipped_byte_is_found),
        cmocka_unit_test(packed_text_is_whole_or_refused),
        cmocka_unit_test(zstd_with_a_long_window_is_read),
        cmocka_unit_test(a_stopped_build_leaves_nothing),
        cmocka_unit_test(binary_behind_text_is_passed_over),
        cmocka_unit_test(lines_longer_than_a_block_are_read),
        cmocka_unit_test(separators_that_overlap_count_once),
        cmocka_unit_test(a_folder_is_replaced_in_one_moment),
        cmocka_unit_test(too_many_shards_are_told_when_they_are_reached),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
