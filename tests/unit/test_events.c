/* test_events.c: event files as their readers see them: records, checksums, protocol buffers. The
 * real reader is asked by tests/peers. */
#include "base/crc32c.h"
#include "base/file.h"
#include "train/events.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/hydralm-events-XXXXXX";

static int make_dir(void **state) {
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state) {
    (void)state;
    hy__file_list list = {0};
    if (hy__dir_list(&list, dir, NULL) == HY_OK)
        for (int64_t i = 0; i < list.n; i++) unlink(list.path[i]);
    hy__file_list_release(&list);
    return rmdir(dir);
}

/* The records of the i-th file; returns how many files there are. */
static int64_t read_file(int64_t i, char **data, size_t *size) {
    hy__file_list list = {0};
    assert_int_equal(hy__dir_list(&list, dir, NULL), HY_OK);
    const int64_t n = list.n;
    assert_true(i < n);
    assert_int_equal(hy__file_read(list.path[i], 1 << 20, data, size, NULL), HY_OK);
    hy__file_list_release(&list);
    return n;
}

static uint64_t little(const unsigned char *p, int n) {
    uint64_t x = 0;
    for (int i = 0; i < n; i++) x |= (uint64_t)p[i] << 8 * i;
    return x;
}

static uint32_t masked(const void *data, size_t size) {
    const uint32_t crc = hy__crc32c(0, data, size);
    return ((crc >> 15) | (crc << 17)) + UINT32_C(0xa282ead8);
}

/* The event at *at, whose checksums must hold; moves on. */
static const unsigned char *next_event(const char *data, size_t size, size_t *at, size_t *length) {
    const unsigned char *p = (const unsigned char *)data + *at;
    assert_true(*at + 16 <= size);
    *length = (size_t)little(p, 8);
    assert_true(*at + 16 + *length <= size);
    assert_int_equal(little(p + 8, 4), masked(p, 8));
    assert_int_equal(little(p + 12 + *length, 4), masked(p + 12, *length));
    *at += 16 + *length;
    return p + 12;
}

static void expect_bytes(const unsigned char *got, size_t length, const char *want, size_t size) {
    /* wall_time, a double, stands first */
    assert_int_equal(length, size + 9);
    assert_int_equal(got[0], 0x09);
    assert_memory_equal(got + 9, want, size);
}
#define EXPECT_BYTES(got, length, want) expect_bytes(got, length, want, sizeof(want) - 1)

static void a_file_is_records_of_protocol_buffers(void **state) {
    (void)state;
    hy__events *e;
    assert_int_equal(hy__events_open(&e, dir, HY__EVENTS_BEGIN, NULL), HY_OK);
    json_t *line = json_loads("{\"step\": 300, \"loss\": 1.5, \"name\": \"no number\","
                              "\"E\": {\"gate\": [1, null], \"load\": [[[7]]]}}",
                              0, NULL);
    assert_int_equal(hy__events_add(e, 300, line, NULL), HY_OK);
    json_decref(line);
    hy__events_close(e);

    char *data;
    size_t size, at = 0, length;
    assert_int_equal(read_file(0, &data, &size), 1);
    const unsigned char *event = next_event(data, size, &at, &length);
    EXPECT_BYTES(event, length,
                 "\x10\x00\x1a\x0d"
                 "brain.Event:2");
    event = next_event(data, size, &at, &length);
    EXPECT_BYTES(event, length,
                 "\x10\xac\x02\x2a\x1e" /* step 300, summary */
                 "\x0a\x0b\x0a\x04loss\x15\x00\x00\xc0\x3f"
                 "\x0a\x0f\x0a\x08"
                 "E/gate/0\x15\x00\x00\x80\x3f");
    assert_int_equal(at, size);
    free(data);
}

/* In the folder itself, and of that very name. */
static void others_files_stay(void **state) {
    (void)state;
    static const struct {
        const char *name;
        bool stays;
    } row[] = {{"events.out.tfevents.1.host.1.0", false},
               {"mine.events.out.tfevents.1.host.1.0", true},
               {"notes.txt", true},
               {"other/events.out.tfevents.1.host.1.0", true},
               {"events.out.tfevents.old/1", true}};
    enum { N = sizeof row / sizeof *row };
    char *path[N];
    hy__events *e;
    for (int i = 0; i < N; i++) {
        path[i] = hy__path_join(dir, row[i].name);
        char *end = strrchr(path[i], '/');
        *end = '\0';
        assert_int_equal(hy__dir_make(path[i], NULL, NULL), HY_OK);
        *end = '/';
        assert_int_equal(hy__file_write(path[i], "x", 1, NULL), HY_OK);
    }
    assert_int_equal(hy__events_open(&e, dir, HY__EVENTS_BEGIN, NULL), HY_OK);
    hy__events_close(e);
    for (int i = 0; i < N; i++) {
        assert_int_equal(access(path[i], F_OK) == 0, row[i].stays);
        unlink(path[i]);
        *strrchr(path[i], '/') = '\0';
        if (strcmp(path[i], dir) != 0) rmdir(path[i]);
        free(path[i]);
    }
}

/* A resumed run adds a file, and says which steps come again; a new one takes the place of all. */
static void runs_begin_files(void **state) {
    (void)state;
    hy__events *e;
    char *data;
    size_t size, at = 0, length;
    json_t *none = json_object();
    assert_int_equal(hy__events_open(&e, dir, HY__EVENTS_GO_ON, NULL), HY_OK);
    assert_int_equal(hy__events_add(e, 301, none, NULL), HY_OK);
    assert_int_equal(hy__events_add(e, 302, none, NULL), HY_OK);
    assert_int_equal(hy__events_add(e, 301, none, NULL), HY_OK); /* it went back to a checkpoint */
    hy__events_close(e);
    assert_int_equal(read_file(1, &data, &size), 2);
    next_event(data, size, &at, &length);
    for (int i = 0; i < 2; i++) {
        const unsigned char *event = next_event(data, size, &at, &length);
        EXPECT_BYTES(event, length, "\x10\xad\x02\x3a\x02\x08\x01");
        event = next_event(data, size, &at, &length);
        EXPECT_BYTES(event, length, "\x10\xad\x02\x2a\x00");
        if (i == 0) next_event(data, size, &at, &length); /* 302 */
    }
    assert_int_equal(at, size);
    free(data);
    json_decref(none);
    assert_int_equal(hy__events_open(&e, dir, HY__EVENTS_BEGIN, NULL), HY_OK);
    hy__events_close(e);
    assert_int_equal(read_file(0, &data, &size), 1);
    free(data);
}

/* What replaces a run is not seen before it is settled, and then it is all that is seen. */
static void a_run_is_replaced_at_once(void **state) {
    (void)state;
    hy__events *e;
    char *data, *before;
    size_t size, size_before;
    json_t *none = json_object();
    assert_int_equal(hy__events_open(&e, dir, HY__EVENTS_BEGIN, NULL), HY_OK);
    hy__events_close(e);
    assert_int_equal(read_file(0, &before, &size_before), 1);
    for (int settled = 0; settled < 2; settled++) {
        assert_int_equal(hy__events_open(&e, dir, HY__EVENTS_REPLACE, NULL), HY_OK);
        assert_int_equal(hy__events_add(e, 1, none, NULL), HY_OK);
        assert_int_equal(read_file(0, &data, &size), 1);
        assert_int_equal(size, size_before);
        assert_memory_equal(data, before, size);
        free(data);
        if (settled) assert_int_equal(hy__events_settle(e, NULL), HY_OK);
        assert_int_equal(hy__events_add(e, 2, none, NULL), HY_OK);
        hy__events_close(e);
        assert_int_equal(read_file(0, &data, &size), 1);
        if (settled) assert_true(size > size_before);
        free(data);
    }
    char *left = hy__path_join(dir, ".new"); /* by a run that was killed */
    assert_int_equal(hy__file_write(left, "x", 1, NULL), HY_OK);
    assert_int_equal(hy__events_open(&e, dir, HY__EVENTS_GO_ON, NULL), HY_OK);
    hy__events_close(e);
    assert_int_not_equal(access(left, F_OK), 0);
    free(left);
    free(before);
    json_decref(none);
}

static void a_folder_that_cannot_be_is_told(void **state) {
    (void)state;
    hy__events *e;
    hy_error err;
    assert_int_equal(hy__events_open(&e, "/dev/null/events", HY__EVENTS_BEGIN, &err), HY_E_IO);
    assert_null(e);
    assert_non_null(strstr(err.text, "/dev/null"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_records_of_protocol_buffers),
        cmocka_unit_test(runs_begin_files),
        cmocka_unit_test(a_run_is_replaced_at_once),
        cmocka_unit_test(others_files_stay),
        cmocka_unit_test(a_folder_that_cannot_be_is_told),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
