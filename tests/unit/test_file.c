/* Files: reading with a limit, mapping, replacing all or nothing (also on a full disk), folders;
 * and the process's own memory and clock. */
#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/progress.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/hydralm-file-XXXXXX";

static int setup(void **state) {
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    return rmdir(dir); /* fails when a test, or the writer, left something behind */
}

static char *path_of(const char *name) {
    char *path = hy__path_join(dir, name);
    assert_non_null(path);
    return path;
}

static void must(hy_status status, const hy_error *err) {
    if (status != HY_OK) fail_msg("%s", err->text);
}

static void assert_content(const char *path, const char *want) {
    char *data;
    size_t size;
    hy_error err = {0};
    must(hy__file_read(path, 1 << 20, &data, &size, &err), &err);
    assert_int_equal(size, strlen(want));
    assert_string_equal(data, want);
    free(data);
}

static void written_is_read_and_mapped(void **state) {
    (void)state;
    char *path = path_of("f");
    hy_error err = {0};
    must(hy__file_write(path, "hello", 5, &err), &err);
    assert_content(path, "hello");
    must(hy__file_write(path, "there, more", 11, &err), &err); /* replaces */
    assert_content(path, "there, more");
    hy__map map;
    must(hy__file_map(&map, path, &err), &err);
    assert_int_equal(map.size, 11);
    assert_memory_equal(map.data, "there, more", 11);
    hy__file_unmap(&map);
    assert_null(map.data);
    must(hy__file_write(path, "", 0, &err), &err);
    assert_content(path, "");
    must(hy__file_map(&map, path, &err), &err);
    assert_int_equal(map.size, 0);
    hy__file_unmap(&map);
    const mode_t mask = umask(0);
    umask(mask);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0666 & ~mask); /* not the temporary's 0600 */
    unlink(path);
    free(path);
}

static void sizes_around_the_limit_and_the_buffer(void **state) {
    (void)state;
    char *path = path_of("f"), *data;
    static const size_t size[] = {4094, 4095, 4096, 4097, 70000};
    char *text = malloc(70000);
    assert_non_null(text);
    memset(text, 'x', 70000);
    hy_error err = {0};
    for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
        size_t got;
        must(hy__file_write(path, text, size[i], &err), &err);
        must(hy__file_read(path, size[i], &data, &got, &err), &err);
        assert_int_equal(got, size[i]);
        assert_int_equal(data[got], '\0');
        free(data);
        assert_int_equal(hy__file_read(path, size[i] - 1, &data, &got, &err), HY_E_INVALID);
        assert_non_null(strstr(err.text, "bytes, the most allowed"));
    }
    unlink(path);
    free(text);
    free(path);
}

/* Any piece of a mapping can be released and read again. */
static void released_bytes_come_back(void **state) {
    (void)state;
    enum { SIZE = 100000 };
    char *path = path_of("f"), *text = malloc(SIZE);
    assert_non_null(text);
    for (int i = 0; i < SIZE; i++) text[i] = (char)(i * 7 % 251);
    hy_error err = {0};
    hy__map map;
    must(hy__file_write(path, text, SIZE, &err), &err);
    must(hy__file_map(&map, path, &err), &err);
    static const size_t piece[][2] = {{0, 0},        {0, SIZE},     {1, 4095}, {4096, 4096},
                                      {5000, 60001}, {SIZE - 1, 1}, {SIZE, 0}};
    for (size_t i = 0; i < sizeof piece / sizeof *piece; i++) {
        hy__map_release(map.data + piece[i][0], piece[i][1]);
        assert_memory_equal(map.data, text, SIZE);
    }
    hy__file_unmap(&map);
    unlink(path);
    free(text);
    free(path);
}

/* Sizes that stat does not tell: /proc says 0. */
static void a_file_without_a_size_is_read(void **state) {
    (void)state;
    char *data;
    size_t size;
    hy_error err = {0};
    must(hy__file_read("/proc/self/status", 1 << 20, &data, &size, &err), &err);
    assert_non_null(strstr(data, "VmRSS"));
    free(data);
}

static void failures_are_sentences(void **state) {
    (void)state;
    char *data;
    size_t size;
    hy__map map;
    hy__file_list list;
    hy_error err = {0};
    assert_int_equal(hy__file_read("no/such", 9, &data, &size, &err), HY_E_IO);
    assert_string_equal(err.text, "cannot open no/such: No such file or directory");
    assert_int_equal(hy__file_read("/tmp", 9, &data, &size, &err), HY_E_INVALID);
    assert_string_equal(err.text, "/tmp is a folder, but must be a file");
    assert_int_equal(hy__file_map(&map, "/dev/null", &err), HY_E_INVALID);
    assert_string_equal(err.text, "/dev/null is not a regular file");
    assert_int_equal(hy__file_write("no/such", "x", 1, &err), HY_E_IO);
    assert_string_equal(err.text,
                        "cannot create a temporary file for no/such: No such file or directory");
    assert_int_equal(hy__dir_list(&list, "no/such", &err), HY_E_IO);
    assert_string_equal(err.text, "cannot list the folder no/such: No such file or directory");
    assert_int_equal(hy__dir_make("/dev/null/x", NULL, &err), HY_E_IO);
    assert_non_null(strstr(err.text, "cannot make the folder /dev/null/x"));
    assert_int_equal(hy__dir_make("/dev/null", NULL, &err), HY_E_IO);
    assert_string_equal(err.text, "/dev/null is a file, but must be a folder");
}

/* The limit on a file's size fails a write as a full disk does: part of it is written first. */
static void a_failed_write_leaves_the_old_file(void **state) {
    (void)state;
    char *path = path_of("f");
    hy_error err = {0};
    must(hy__file_write(path, "old", 3, &err), &err);
    char *big = calloc(1, 1 << 20);
    assert_non_null(big);
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 4096;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    const hy_status status = hy__file_write(path, big, 1 << 20, &err);
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(status, HY_E_IO);
    assert_non_null(strstr(err.text, "cannot write "));
    assert_non_null(strstr(err.text, "File too large"));
    assert_content(path, "old");
    unlink(path);
    free(big);
    free(path); /* teardown's rmdir proves that the temporary is gone */
}

/* A real full disk, where the system has one: every write to /dev/full fails so. */
static void a_full_disk_is_named(void **state) {
    (void)state;
    hy__writer w = {.path = strdup("somewhere"), .temporary = strdup("/dev/null")};
    FILE *full = fopen("/dev/full", "wb");
    if (!full) skip();
    w.fd = fileno(full);
    hy_error err = {0};
    assert_int_equal(hy__writer_write(&w, "x", 1, &err), HY_E_IO);
    assert_string_equal(err.text, "cannot write somewhere: No space left on device");
    fclose(full);
    free(w.path);
    free(w.temporary);
}

/* A pipe takes the bytes and stays; a link leads to the file; opening a pipe to map it ends. */
static void links_and_pipes_stay(void **state) {
    (void)state;
    char *pipe = path_of("pipe"), *link = path_of("link"), *path = path_of("f"), got[8];
    hy_error err = {0};
    hy__map map;
    struct stat st;
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_int_equal(hy__file_map(&map, pipe, &err), HY_E_INVALID);
    assert_non_null(strstr(err.text, "is not a regular file"));
    const int fd = open(pipe, O_RDWR); /* holds the pipe open, so that nothing waits */
    assert_true(fd >= 0);
    must(hy__file_write(pipe, "through", 7, &err), &err);
    assert_int_equal(read(fd, got, sizeof got), 7);
    assert_memory_equal(got, "through", 7);
    assert_true(lstat(pipe, &st) == 0 && S_ISFIFO(st.st_mode));
    close(fd);
    assert_int_equal(symlink("f", link), 0);
    must(hy__file_write(path, "old", 3, &err), &err);
    must(hy__file_write(link, "new", 3, &err), &err);
    assert_content(path, "new");
    assert_true(lstat(link, &st) == 0 && S_ISLNK(st.st_mode));
    assert_int_equal(hy__file_write(dir, "x", 1, &err), HY_E_INVALID);
    assert_non_null(strstr(err.text, "is a folder, but must be a file"));
    unlink(pipe);
    unlink(link);
    unlink(path);
    free(pipe);
    free(link);
    free(path);
}

static void an_abandoned_writer_leaves_nothing(void **state) {
    (void)state;
    char *path = path_of("f");
    hy__writer w;
    hy_error err = {0};
    must(hy__writer_open(&w, path, &err), &err);
    must(hy__writer_write(&w, "half", 4, &err), &err);
    hy__writer_abort(&w);
    assert_int_not_equal(access(path, F_OK), 0);
    free(path);
}

static void only_what_is_alike_is_replaced(void **state) {
    (void)state;
    const struct {
        const char *content; /* NULL: there is no such file */
        hy_status want;
    } row[] = {{NULL, HY_OK},
               {"", HY_OK},
               {"12kind and more", HY_OK},
               {"12kind", HY_OK},
               {"12kin", HY_E_INVALID},
               {"kind", HY_E_INVALID},
               {"1", HY_E_INVALID}};
    hy_error err;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        char *path = path_of("place");
        if (row[i].content)
            must(hy__file_write(path, row[i].content, strlen(row[i].content), &err), &err);
        assert_int_equal(hy__file_check_place(path, "test", 2, "kind", &err), row[i].want);
        if (row[i].content) assert_content(path, row[i].content);
        if (row[i].want != HY_OK) assert_non_null(strstr(err.text, "place is no test"));
        assert_int_equal(unlink(path), row[i].content ? 0 : -1);
        free(path);
    }
    assert_int_equal(hy__file_check_place("/nowhere/at/all", "test", 0, "x", &err), HY_E_IO);
    assert_int_equal(hy__file_check_place("/", "test", 0, "x", &err), HY_E_INVALID);
    must(hy__file_check_place("/dev/null", "test", 0, "x", &err), &err);
}

static void folders_are_listed_in_order(void **state) {
    (void)state;
    static const char *const folder[] = {"t/a/b", "t/.git", "t/empty"};
    static const char *const file[] = {"t/z",           "t/a/b/y",   "t/a/x",
                                       "t/.git/config", "t/.hidden", "t/a.txt"};
    static const char *const want[] = {"t/a.txt", "t/a/b/y", "t/a/x", "t/link", "t/z"};
    hy_error err = {0};
    for (size_t i = 0; i < 3; i++) {
        char *path = path_of(folder[i]);
        must(hy__dir_make(path, NULL, &err), &err);
        must(hy__dir_make(path, NULL, &err), &err); /* again is fine */
        free(path);
    }
    for (size_t i = 0; i < 6; i++) {
        char *path = path_of(file[i]);
        must(hy__file_write(path, "x", 1, &err), &err);
        free(path);
    }
    char *link = path_of("t/link"), *loop = path_of("t/loop"), *top = path_of("t");
    assert_int_equal(symlink("z", link), 0);
    assert_int_equal(symlink(".", loop), 0); /* a folder: not followed, so no endless walk */
    hy__file_list list;
    must(hy__dir_list(&list, top, &err), &err);
    assert_int_equal(list.n, 5);
    for (int64_t i = 0; i < list.n; i++) {
        char *path = path_of(want[i]);
        assert_string_equal(list.path[i], path);
        free(path);
    }
    hy__file_list_release(&list);

    unlink(link);
    unlink(loop);
    for (size_t i = 0; i < 6; i++) {
        char *path = path_of(file[i]);
        unlink(path);
        free(path);
    }
    static const char *const gone[] = {"t/a/b", "t/a", "t/.git", "t/empty", "t"};
    for (size_t i = 0; i < 5; i++) {
        char *path = path_of(gone[i]);
        assert_int_equal(rmdir(path), 0);
        free(path);
    }
    free(link);
    free(loop);
    free(top);
}

/* What was made goes again, from below, and nothing that was there or that holds something. */
static void made_folders_are_unmade(void **state) {
    (void)state;
    static const struct {
        const char *path, *left; /* the deepest folder that stays; "" = the test's own */
    } row[] = {
        {"a", ""},          {"a/", ""},          {"a//b/c", ""},         {"there/a/b", "there"},
        {"there", "there"}, {"there/", "there"}, {"there/./a", "there"}, {"there/a//", "there"}};
    char *there = path_of("there");
    hy_error err = {0};
    size_t had;
    must(hy__dir_make(there, NULL, &err), &err);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        char *path = path_of(row[i].path), *left = path_of(row[i].left);
        must(hy__dir_make(path, &had, &err), &err);
        assert_true(hy__path_is_dir(path));
        hy__dir_unmake(path, had);
        const size_t n = strlen(row[i].left);
        const bool same = n > 0 && !row[i].path[n + strspn(row[i].path + n, "/")];
        assert_int_equal(hy__path_is_dir(path), same);
        assert_true(hy__path_is_dir(left));
        free(path);
        free(left);
    }
    char *deep = path_of("a/b/c"), *file = path_of("a/f"), *wrong = path_of("a/b/f/c");
    must(hy__dir_make(deep, &had, &err), &err);
    must(hy__file_write(file, "x", 1, &err), &err);
    hy__dir_unmake(deep, had);
    assert_int_equal(access(file, F_OK), 0);
    assert_int_equal(access(deep, F_OK), -1);
    /* a name that no folder can have: what was made above it goes */
    char *name = malloc(strlen(wrong) + 301);
    assert_non_null(name);
    strcpy(name, wrong);
    memset(name + strlen(wrong), 'n', 300);
    name[strlen(wrong) + 300] = '\0';
    assert_int_equal(hy__dir_make(name, NULL, &err), HY_E_IO);
    free(deep);
    deep = path_of("a/b");
    assert_int_equal(access(deep, F_OK), -1);
    unlink(file);
    *strrchr(file, '/') = '\0';
    assert_int_equal(rmdir(file), 0);
    assert_int_equal(rmdir(there), 0);
    free(name);
    free(wrong);
    free(deep);
    free(file);
    free(there);
}

static void memory_is_measured(void **state) {
    (void)state;
    const size_t size = (size_t)64 << 20;
    const int64_t before = hy__rss_bytes();
    assert_true(before > 0);
    volatile char *block = malloc(size);
    assert_non_null(block);
    for (size_t i = 0; i < size; i += 512) block[i] = 1;
    const int64_t during = hy__rss_bytes();
    free((void *)(uintptr_t)block);
    assert_true(during - before > (int64_t)size * 9 / 10);
    assert_true(hy__rss_peak_bytes() >= (int64_t)size);
    const double start = hy__now();
    assert_true(hy__now() >= start);
}

static void a_log_gets_plain_lines_at_intervals(void **state) {
    (void)state;
    char text[256] = "";
    FILE *out = tmpfile();
    assert_non_null(out);
    hy__progress_bar p;
    hy__progress_bar_init(&p, out);
    assert_false(p.bar);
    assert_false(p.color);
    hy__progress_bar_show(&p, 0.25, "step %d", 1);
    hy__progress_bar_show(&p, 0.30, "step %d", 2); /* too soon */
    p.interval = 0;
    hy__progress_bar_show(&p, 7, "step %d", 3);
    hy__progress_bar_clear(&p);
    fflush(out);
    rewind(out);
    assert_true(fread(text, 1, sizeof text - 1, out) > 0);
    assert_string_equal(text, " 25% step 1\n100% step 3\n");
    fclose(out);
    hy__progress_bar_init(&p, NULL); /* quiet */
    hy__progress_bar_show(&p, 0.5, "nothing");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_is_read_and_mapped),
        cmocka_unit_test(released_bytes_come_back),
        cmocka_unit_test(sizes_around_the_limit_and_the_buffer),
        cmocka_unit_test(a_file_without_a_size_is_read),
        cmocka_unit_test(failures_are_sentences),
        cmocka_unit_test(a_failed_write_leaves_the_old_file),
        cmocka_unit_test(a_full_disk_is_named),
        cmocka_unit_test(links_and_pipes_stay),
        cmocka_unit_test(an_abandoned_writer_leaves_nothing),
        cmocka_unit_test(only_what_is_alike_is_replaced),
        cmocka_unit_test(folders_are_listed_in_order),
        cmocka_unit_test(made_folders_are_unmade),
        cmocka_unit_test(memory_is_measured),
        cmocka_unit_test(a_log_gets_plain_lines_at_intervals),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
