/* .npy: token files of every kind that is read, headers that are refused, logits written. */
#include "ckpt/npy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char path[] = P_tmpdir "/hydralm-npy-XXXXXX";

static int make_path(void **state) {
    (void)state;
    const int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_path(void **state) {
    (void)state;
    return unlink(path);
}

/* Writes a file of that version, header and data. */
static void write_npy(int major, const char *header, const void *data, size_t size) {
    FILE *f = fopen(path, "wb");
    const size_t n = strlen(header);
    const unsigned char start[12] = {
        0x93, 'N', 'U', 'M', 'P', 'Y', (unsigned char)major, 0, n & 255, n >> 8 & 255, 0, 0};
    fwrite(start, 1, major == 1 ? 10 : 12, f);
    fwrite(header, 1, n, f);
    fwrite(data, 1, size, f);
    fclose(f);
}

static void expect_tokens(const int32_t *want, int64_t n) {
    int32_t *token;
    int64_t n_token;
    hy_error err;
    if (hy__npy_read_tokens(&token, &n_token, path, &err) != HY_OK) fail_msg("%s", err.text);
    assert_int_equal(n_token, n);
    if (n > 0) assert_memory_equal(token, want, (size_t)n * sizeof *want);
    free(token);
}

static void test_types(void **state) {
    (void)state;
    static const int32_t i4[] = {0, 1, -1, INT32_MAX};
    static const int64_t i8[] = {0, 1, -1, INT32_MAX};
    static const uint16_t u2[] = {0, 258, 65535};
    static const uint8_t u1[] = {0, 7, 255};
    write_npy(1, "{'descr': '<i4', 'fortran_order': False, 'shape': (4,), }   \n", i4, sizeof i4);
    expect_tokens(i4, 4);
    write_npy(1, "{'shape': (4,), 'fortran_order': False, 'descr': '<i8'}", i8, sizeof i8);
    expect_tokens(i4, 4);
    write_npy(2, "{\"descr\":\"<u2\",\"fortran_order\":True,\"shape\":(3,)}", u2, sizeof u2);
    expect_tokens((const int32_t[]){0, 258, 65535}, 3);
    write_npy(3, "{'descr': '|u1', 'fortran_order': False, 'shape': (3,), }", u1, sizeof u1);
    expect_tokens((const int32_t[]){0, 7, 255}, 3);
    write_npy(1, "{'descr': '<i4', 'fortran_order': False, 'shape': (0,), }", "", 0);
    expect_tokens(NULL, 0);
}

/* More elements than are converted at a time. */
static void test_many(void **state) {
    (void)state;
    enum { N = 5000 };
    int32_t want[N];
    for (int32_t i = 0; i < N; i++) want[i] = i * 77;
    write_npy(1, "{'descr': '<i4', 'fortran_order': False, 'shape': (5000,), }", want, sizeof want);
    expect_tokens(want, N);
}

static void expect_refused(const char *says) {
    int32_t *token;
    int64_t n;
    hy_error err;
    assert_int_equal(hy__npy_read_tokens(&token, &n, path, &err), HY_E_INVALID);
    if (!strstr(err.text, says) || !strstr(err.text, path))
        fail_msg("'%s', wanted '%s'", err.text, says);
}

static void test_refused(void **state) {
    (void)state;
    static const struct {
        const char *header, *says;
    } cases[] = {
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", "'<f4'"},
        {"{'descr': '>i4', 'fortran_order': False, 'shape': (2,), }", "'>i4'"},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': (2,1), }", "2 dimensions"},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': (), }", "0 dimensions"},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': (3,), }",
         "3 elements of 4 bytes, but 8 bytes follow"},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': (1,), }",
         "1 elements of 4 bytes, but 8 bytes follow"},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': (-2,), }", "not the dict"},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': (99999999999999999999,), }",
         "not the dict"},
        {"{'descr': '<i4', 'fortran_order': False}", "not the dict"},
        {"{'descr': '<i4', 'descr': '<i4', 'fortran_order': False, 'shape': (2,)}", "not the dict"},
        {"{'descr': [('a', '<i4')], 'fortran_order': False, 'shape': (2,)}", "not the dict"},
        {"{'descr': '<i4', 'fortran_order': Maybe, 'shape': (2,)}", "not the dict"},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': (2,)} x", "not the dict"},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': (2", "not the dict"},
        {"{'descr': '<i4", "not the dict"},
        {"", "not the dict"},
    };
    static const int32_t data[] = {1, 2};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_npy(1, cases[i].header, data, sizeof data);
        expect_refused(cases[i].says);
    }
    write_npy(4, cases[0].header, data, sizeof data);
    expect_refused("version 4");
    static const int64_t large[] = {5, (int64_t)1 << 31};
    write_npy(1, "{'descr': '<i8', 'fortran_order': False, 'shape': (2,), }", large, sizeof large);
    expect_refused("element 1 is 2147483648");
}

static void test_truncated(void **state) {
    (void)state;
    static const int32_t data[] = {1, 2};
    write_npy(1, "{'descr': '<i4', 'fortran_order': False, 'shape': (2,), }", data, sizeof data);
    FILE *f = fopen(path, "rb");
    fseek(f, 0, SEEK_END);
    const long size = ftell(f);
    fclose(f);
    for (long n = size - 1; n >= 0; n--) {
        assert_int_equal(truncate(path, n), 0);
        expect_refused("");
    }
}

static void test_missing(void **state) {
    (void)state;
    int32_t *token;
    int64_t n;
    hy_error err;
    assert_int_equal(hy__npy_read_tokens(&token, &n, "/nonexistent/x.npy", &err), HY_E_IO);
}

static void test_write(void **state) {
    (void)state;
    const float rows[6] = {1, 2, 3, 4, 5, 6};
    hy__npy *npy;
    hy_error err;
    assert_int_equal(hy__npy_open(&npy, path, 3, 2, &err), HY_OK);
    assert_int_equal(hy__npy_write(npy, rows, 1, &err), HY_OK);
    assert_int_equal(hy__npy_write(npy, rows + 2, 2, &err), HY_OK);
    assert_int_equal(hy__npy_commit(npy, &err), HY_OK);
    FILE *f = fopen(path, "rb");
    char file[256] = {0};
    assert_int_equal(fread(file, 1, sizeof file, f), 128 + sizeof rows);
    fclose(f);
    static const char start[] = "\x93NUMPY\1\0v\0{'descr': '<f4', 'fortran_order': False, "
                                "'shape': (3, 2), }   ";
    assert_memory_equal(file, start, sizeof start - 1);
    assert_int_equal(file[127], '\n');
    assert_memory_equal(file + 128, rows, sizeof rows);

    assert_int_equal(hy__npy_open(&npy, path, 1, 1, &err), HY_OK);
    hy__npy_discard(npy);
    assert_int_equal(access(path, F_OK), 0); /* the one before is still there */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),   cmocka_unit_test(test_many),
        cmocka_unit_test(test_refused), cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_missing), cmocka_unit_test(test_write),
    };
    return cmocka_run_group_tests(tests, make_path, remove_path);
}
