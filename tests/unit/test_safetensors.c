/* The safetensors reader against broken files, the writer against the reader, and what is left on
 * the disk when a writer is killed before any of its system calls or the disk is full. */
#include "ckpt/safetensors.h"

#include "ckpt/checksums.h"
#include "ckpt/json_file.h"
#include "ckpt/kept.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- the system calls of a writer, to be stopped before the n-th ------------------------------
 */

enum { KILLED = 42 };
static long calls_left = -1; /* < 0: no limit */
static bool disk_full;       /* at the limit, writes fail instead of killing */
static bool no_links;        /* the file system has no hard links */

static void step(void) {
    if (calls_left == 0 && !disk_full) _exit(KILLED);
    if (calls_left > 0) calls_left--;
}

/* These stand before the C library's: same names, same meaning, straight to the kernel. */
ssize_t write(int fd, const void *data, size_t size) {
    step();
    if (disk_full && calls_left == 0) {
        errno = ENOSPC;
        return -1;
    }
    return syscall(SYS_write, fd, data, size);
}

int fsync(int fd) {
    step();
    return (int)syscall(SYS_fsync, fd);
}

int rename(const char *from, const char *to) {
    step();
    return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int link(const char *from, const char *to) {
    step();
    errno = EPERM;
    return no_links ? -1 : (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int unlink(const char *path) {
    step();
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

/* ---- places -----------------------------------------------------------------------------------
 */

static char root[] = P_tmpdir "/hydralm-test-XXXXXX";

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

static const char *at_root(const char *name) {
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", root, name);
    return path;
}

/* ---- reading broken files ---------------------------------------------------------------------
 */

/* A file of that header and `n_data` zero bytes; `claim` < 0 writes the header's true length. */
static size_t make_file(unsigned char *out, const char *header, size_t n_data, int64_t claim) {
    const size_t n = strlen(header);
    const uint64_t said = claim < 0 ? n : (uint64_t)claim;
    for (int i = 0; i < 8; i++) out[i] = (unsigned char)(said >> (8 * i));
    memcpy(out + 8, header, n);
    memset(out + 8 + n, 0, n_data);
    return 8 + n + n_data;
}

/* The caller's memory is not a mapping: releasing a tensor in it must leave it alone. */
static void test_release(void **state) {
    (void)state;
    enum { N = 1 << 16 };
    const char *header = "{\"a\":{\"dtype\":\"F32\",\"shape\":[65536],"
                         "\"data_offsets\":[0,262144]}}";
    unsigned char *file = malloc(strlen(header) + 8 + 4 * N);
    assert_non_null(file);
    const size_t n = make_file(file, header, 4 * N, -1);
    memset(file + n - 4 * N, 'x', 4 * N);
    hy_error err = {0};
    hy__st *st;
    assert_int_equal(hy__st_open_memory(&st, file, n, "x", &err), HY_OK);
    hy__st_release(hy__st_at(st, 0), 0, N);
    for (int i = 0; i < 4 * N; i++) assert_int_equal(hy__st_at(st, 0)->data[i], 'x');
    hy__st_close(st);
    free(file);
}

static hy_status open_header(const char *header, size_t n_data, int64_t claim, hy_error *err) {
    static unsigned char file[1 << 16];
    const size_t n = make_file(file, header, n_data, claim);
    hy__st *st;
    *err = (hy_error){0};
    const hy_status status = hy__st_open_memory(&st, file, n, "x.safetensors", err);
    hy__st_close(st);
    return status;
}

#define T(name, dtype, shape, begin, end)                                                          \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end \
    "]}"

static const struct {
    const char *header;
    size_t n_data;
    const char *says; /* part of the sentence; NULL: the file is good */
} files[] = {
    {"{}", 0, NULL},
    {"{}      ", 0, NULL},
    {"{" T("a", "F32", "[2,3]", 0, 24) "}", 24, NULL},
    {"{" T("a", "F64", "[]", 0, 8) "}", 8, NULL},
    {"{" T("a", "F32", "[0,5]", 0, 0) "}", 0, NULL},
    {"{" T("a", "F32", "[1]", 0, 4) "," T("e", "I32", "[0]", 4, 4) "," T("b", "F16", "[1]", 4,
                                                                         6) "}",
     6, NULL},
    {"{" T("b", "BF16", "[3]", 8, 14) "," T("a", "I64", "[1]", 0, 8) "}", 14, NULL},
    {"{\"__metadata__\":{\"format\":\"pt\"}," T("a", "F32", "[1]", 0, 4) "}", 4, NULL},
    {"{\"__metadata__\":{}}", 0, NULL},

    {"", 0, "does not start with '{'"},
    {" {}", 0, "does not start with '{'"},
    {"[]", 0, "does not start with '{'"},
    {"{", 0, "does not start with '{'"},
    {"{}x", 0, "end of file expected"},
    {"{\"a\":1", 0, "line 1"},
    {"{\"a\":1}", 0, "tensor 'a': its entry is no object"},
    {"{\"a\":{}}", 0, "its dtype is missing"},
    {"{" T("a", "F31", "[1]", 0, 4) "}", 4, "dtype F31"},
    {"{" T("a", "f32", "[1]", 0, 4) "}", 4, "dtype f32"},
    {"{\"a\":{\"dtype\":7,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "its dtype is missing"},
    {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "its shape is missing"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "its data_offsets"},
    {"{" T("a", "F32", "1", 0, 4) "}", 4, "its shape is missing"},
    {"{" T("a", "F32", "[-1]", 0, 4) "}", 4, "dimension 0"},
    {"{" T("a", "F32", "[1,1.0]", 0, 4) "}", 4, "dimension 1"},
    {"{" T("a", "F32", "[\"1\"]", 0, 4) "}", 4, "dimension 0"},
    {"{" T("a", "F32", "[true]", 0, 4) "}", 4, "dimension 0"},
    {"{" T("a", "F32", "[1,1,1,1,1,1,1,1,1]", 0, 4) "}", 4, "9 dimensions"},
    {"{" T("a", "F32", "[4294967296,4294967296]", 0, 0) "}", 0, "product of its shape"},
    {"{" T("a", "F32", "[4611686018427387904]", 0, 0) "}", 0, "its size exceeds"},
    {"{" T("a", "F32", "[9223372036854775807,3]", 0, 4) "}", 4, "product of its shape"},
    {"{" T("a", "F32", "[9223372036854775808]", 0, 4) "}", 4, "too big"},
    {"{" T("a", "F32", "[1]", 0, 3) "}", 3, "span 3 bytes; 1 elements of F32 are 4"},
    {"{" T("a", "F32", "[1]", 0, 8) "}", 8, "span 8 bytes"},
    {"{" T("a", "F32", "[1]", 4, 0) "}", 4, "[4,0]"},
    {"{" T("a", "F32", "[1]", 0, 4) "}", 3, "the data has 3 bytes"},
    {"{" T("a", "F32", "[1]", -4, 0) "}", 4, "no pair"},
    {"{" T("a", "F32", "[1]", 0, 4.0) "}", 4, "no pair"},
    {"{" T("a", "F32", "[1]", 0, 18446744073709551615) "}", 4, "too big"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "no pair"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4, "no pair"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":0}}", 4, "keys other"},
    {"{" T("a", "F32", "[1]", 4, 8) "}", 8, "begins at 4; 0 was expected (a hole)"},
    {"{" T("a", "F32", "[1]", 0, 4) "," T("b", "F32", "[1]", 8, 12) "}", 12, "'b'"},
    {"{" T("a", "F32", "[2]", 0, 8) "," T("b", "F32", "[1]", 4, 8) "}", 8, "an overlap"},
    {"{" T("a", "F32", "[1]", 0, 4) "," T("b", "F32", "[1]", 0, 4) "}", 4, "an overlap"},
    {"{" T("a", "F32", "[1]", 0, 4) "}", 5, "its tensors cover 4"},
    {"{}", 1, "its tensors cover 0"},
    {"{" T("a", "F32", "[1]", 0, 4) "," T("a", "F32", "[1]", 4, 8) "}", 8, "duplicate"},
    {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
     "duplicate"},
    {"{\"__metadata__\":[]}", 0, "__metadata__ is no object"},
    {"{\"__metadata__\":{\"epoch\":3}}", 0, "'epoch'"},
    {"{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0, "duplicate"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[[1]],\"data_offsets\":[0,4]}}", 4, "nested 4 deep"},
    {"{\"a\":NaN}", 0, "line 1"},
    {"{\"\xff\":{}}", 0, "line 1"},
};

static void test_headers(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        hy_error err;
        const hy_status status = open_header(files[i].header, files[i].n_data, -1, &err);
        if (!files[i].says) {
            if (status != HY_OK) fail_msg("%s is good, yet: %s", files[i].header, err.text);
        } else if (status != HY_E_INVALID || !strstr(err.text, files[i].says) ||
                   !strstr(err.text, "x.safetensors")) {
            fail_msg("%s: status %d, '%s', wanted '%s'", files[i].header, (int)status, err.text,
                     files[i].says);
        }
    }
}

static void test_header_length(void **state) {
    (void)state;
    hy_error err;
    static const int64_t claims[] = {0, 1, 3, 100, 100000000, 100000001, INT64_MAX, -2};
    for (size_t i = 0; i < sizeof claims / sizeof *claims; i++) {
        const int64_t claim = claims[i] == -2 ? INT64_MIN : claims[i]; /* 2^63 when unsigned */
        static unsigned char file[64];
        const size_t n = make_file(file, "{}", 0, claim < 0 ? 0 : claim);
        if (claim < 0) file[7] = 0x80;
        hy__st *st;
        assert_int_equal(hy__st_open_memory(&st, file, n, "x", &err), HY_E_INVALID);
    }
    assert_int_equal(open_header("{}", 0, 2, &err), HY_OK);
}

/* No proper prefix of a good file is a good file. */
static void test_truncated(void **state) {
    (void)state;
    unsigned char file[256];
    const size_t n = make_file(
        file, "{" T("a", "F32", "[2]", 0, 8) "," T("b", "BF16", "[3]", 8, 14) "}", 14, -1);
    for (size_t size = 0; size <= n; size++) {
        hy__st *st;
        hy_error err;
        const hy_status status = hy__st_open_memory(&st, file, size, "x", &err);
        assert_int_equal(status, size == n ? HY_OK : HY_E_INVALID);
        hy__st_close(st);
    }
}

static void test_missing(void **state) {
    (void)state;
    hy__st *st;
    hy_error err;
    assert_int_equal(hy__st_open(&st, at_root("nothing"), &err), HY_E_IO);
    assert_int_equal(hy__st_open(&st, root, &err), HY_E_INVALID); /* a directory */
    assert_int_equal(hy__st_open_dir(&st, root, &err), HY_E_IO);
    assert_non_null(strstr(err.text, "has no weights"));
}

/* ---- writing ----------------------------------------------------------------------------------
 */

/* Element e of tensor i is 1000·i + e + base. */
static hy_status fill(void *user, int64_t i, int64_t first, int64_t n, void *dst, hy_error *err) {
    (void)err;
    const hy__st_list *list = user;
    double *v = malloc((size_t)n * sizeof *v);
    for (int64_t e = 0; e < n; e++)
        v[e] = (double)(1000 * i + first + e) + (list->tensor[i].n_dim == 0 ? 0.5 : 0);
    hy__st_put_f64(dst, list->tensor[i].dtype, v, n);
    free(v);
    return HY_OK;
}

static const hy__st_tensor written[] = {
    {.name = "m.b", .dtype = HY__ST_F32, .n_dim = 2, .shape = {3, 5}},
    {.name = "m.a", .dtype = HY__ST_F32, .n_dim = 1, .shape = {7}},
    {.name = "bf", .dtype = HY__ST_BF16, .n_dim = 1, .shape = {3}},
    {.name = "scalar", .dtype = HY__ST_F64, .n_dim = 0},
    {.name = "none", .dtype = HY__ST_F32, .n_dim = 2, .shape = {0, 4}},
    {.name = "int", .dtype = HY__ST_I32, .n_dim = 1, .shape = {3}},
    {.name = "long \"\xc3\xa9\"", .dtype = HY__ST_I64, .n_dim = 1, .shape = {2}},
};
enum { N_WRITTEN = sizeof written / sizeof *written };

static hy__st_list list_of(const hy__st_tensor *t, int64_t n) {
    return (hy__st_list){.tensor = t, .n_tensor = n, .fill = fill};
}

static void expect_tensors(const hy__st *st, const hy__st_tensor *want, int64_t n) {
    assert_int_equal(hy__st_count(st), n);
    for (int64_t i = 0; i < n; i++) {
        const hy__st_tensor *t = hy__st_find(st, want[i].name);
        assert_non_null(t);
        assert_int_equal(t->dtype, want[i].dtype);
        assert_int_equal(t->n_dim, want[i].n_dim);
        for (int d = 0; d < t->n_dim; d++) assert_int_equal(t->shape[d], want[i].shape[d]);
        for (int64_t e = 0; e < t->n; e++) {
            double got;
            hy__st_get_f64(&got, t, e, 1);
            double v = (double)(1000 * i + e) + (t->n_dim == 0 ? 0.5 : 0);
            if (t->dtype == HY__ST_BF16) v = round(v / 8) * 8; /* its step from 1024 to 2047 */
            if (got != v) fail_msg("%s[%jd] is %g, not %g", t->name, (intmax_t)e, got, v);
        }
    }
}

static void test_round_trip(void **state) {
    (void)state;
    hy_error err;
    const char *const metadata[] = {"step", "12", NULL};
    hy__st_list list = list_of(written, N_WRITTEN);
    list.user = &list;
    list.metadata = metadata;
    assert_int_equal(hy__st_write(at_root("a.safetensors"), &list, &err), HY_OK);
    hy__st *st;
    if (hy__st_open(&st, at_root("a.safetensors"), &err) != HY_OK) fail_msg("%s", err.text);
    expect_tensors(st, written, N_WRITTEN);
    assert_string_equal(hy__st_metadata(st, "format"), "pt");
    assert_string_equal(hy__st_metadata(st, "step"), "12");
    assert_null(hy__st_metadata(st, "other"));
    assert_null(hy__st_find(st, "m"));
    hy__st_close(st);

    /* The order and the spelling of the format's own library, and the padding. */
    char *text;
    size_t size;
    assert_int_equal(hy__file_read(at_root("a.safetensors"), 1 << 20, &text, &size, &err), HY_OK);
    static const char want[] =
        "{\"__metadata__\":{\"format\":\"pt\",\"step\":\"12\"},"
        "\"long \\\"\xc3\xa9\\\"\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[0,16]},"
        "\"scalar\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[16,24]},"
        "\"int\":{\"dtype\":\"I32\",\"shape\":[3],\"data_offsets\":[24,36]},"
        "\"m.a\":{\"dtype\":\"F32\",\"shape\":[7],\"data_offsets\":[36,64]},"
        "\"m.b\":{\"dtype\":\"F32\",\"shape\":[3,5],\"data_offsets\":[64,124]},"
        "\"none\":{\"dtype\":\"F32\",\"shape\":[0,4],\"data_offsets\":[124,124]},"
        "\"bf\":{\"dtype\":\"BF16\",\"shape\":[3],\"data_offsets\":[124,130]}}";
    assert_int_equal((unsigned char)text[0], (strlen(want) + 7) / 8 * 8 & 255);
    assert_memory_equal(text + 8, want, strlen(want));
    assert_int_equal(size, 8 + (strlen(want) + 7) / 8 * 8 + 130);
    free(text);
}

/* More than one piece of `fill`, and an unaligned mapping would show here. */
static void test_large(void **state) {
    (void)state;
    static const hy__st_tensor big[] = {
        {.name = "a", .dtype = HY__ST_F64, .n_dim = 1, .shape = {300001}},
        {.name = "b", .dtype = HY__ST_F32, .n_dim = 2, .shape = {1, 700001}}};
    hy_error err;
    hy__st_list list = list_of(big, 2);
    list.user = &list;
    assert_int_equal(hy__st_write(at_root("big"), &list, &err), HY_OK);
    hy__st *st;
    assert_int_equal(hy__st_open(&st, at_root("big"), &err), HY_OK);
    double got[2];
    hy__st_get_f64(got, hy__st_find(st, "a"), 299999, 2);
    assert_true(got[0] == 299999 && got[1] == 300000);
    hy__st_get_f64(got, hy__st_find(st, "b"), 699999, 2);
    assert_true(got[0] == 700999 && got[1] == 701000);
    hy__st_close(st);
}

static void test_f16(void **state) {
    (void)state;
    static const struct {
        uint16_t bits;
        double value;
    } cases[] = {{0x3c00, 1},         {0xc000, -2},       {0x7bff, 65504},      {0x0001, 0x1p-24},
                 {0x03ff, 0x3ffp-24}, {0x0400, 0x1p-14},  {0x3555, 0x1.554p-2}, {0x8000, -0.0},
                 {0x7c00, INFINITY},  {0xfc00, -INFINITY}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const hy__st_tensor t = {.dtype = HY__ST_F16, .data = (const void *)&cases[i].bits};
        double got;
        hy__st_get_f64(&got, &t, 0, 1);
        assert_true(got == cases[i].value && signbit(got) == signbit(cases[i].value));
    }
    const uint16_t nan_bits = 0x7e00;
    const hy__st_tensor t = {.dtype = HY__ST_F16, .data = (const void *)&nan_bits};
    double got;
    hy__st_get_f64(&got, &t, 0, 1);
    assert_true(isnan(got));
}

/* ---- several files ----------------------------------------------------------------------------
 */

static const hy__st_tensor shards[] = {
    {.name = "a", .dtype = HY__ST_F32, .n_dim = 1, .shape = {10}},
    {.name = "b", .dtype = HY__ST_F32, .n_dim = 1, .shape = {10}},
    {.name = "c", .dtype = HY__ST_F32, .n_dim = 1, .shape = {100}},
    {.name = "d", .dtype = HY__ST_F32, .n_dim = 1, .shape = {1}},
};

static hy_status put_model(const char *dir, const hy__st_tensor *t, int64_t n, int64_t limit,
                           hy_error *err) {
    hy__st_list list = list_of(t, n);
    list.user = &list;
    hy__fileset *set;
    HY_TRY(hy__fileset_open(&set, dir, err));
    const hy_status status = hy__st_put(set, &list, limit, err);
    if (status == HY_OK) return hy__fileset_commit(set, err);
    hy__fileset_discard(set);
    return status;
}

static bool exists(const char *dir, const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return access(path, F_OK) == 0;
}

static void write_text(const char *dir, const char *name, const char *text) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void expect_model(const char *dir, const hy__st_tensor *t, int64_t n) {
    hy__st *st;
    hy_error err;
    if (hy__st_open_dir(&st, dir, &err) != HY_OK) fail_msg("%s", err.text);
    expect_tensors(st, t, n);
    hy__st_close(st);
}

static void test_shards(void **state) {
    (void)state;
    char dir[256];
    snprintf(dir, sizeof dir, "%s/made/on/demand", root);
    hy_error err;
    if (put_model(dir, shards, 4, 80, &err) != HY_OK) fail_msg("%s", err.text);
    assert_true(exists(dir, "model-00001-of-00003.safetensors")); /* a, b: 80 bytes */
    assert_true(exists(dir, "model-00002-of-00003.safetensors")); /* c alone is over the limit */
    assert_true(exists(dir, "model-00003-of-00003.safetensors"));
    assert_false(exists(dir, "model.safetensors"));
    expect_model(dir, shards, 4);

    json_t *index;
    assert_int_equal(hy__json_read(&index, dir, "model.safetensors.index.json", &err), HY_OK);
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(index, "metadata"), "total_size")),
        121 * 4);
    json_decref(index);

    write_text(dir, "model.safetensors.bak", "mine"); /* no file of ours: it stays */
    if (put_model(dir, shards, 4, 0, &err) != HY_OK) fail_msg("%s", err.text);
    assert_true(exists(dir, "model.safetensors") && exists(dir, "model.safetensors.bak"));
    assert_false(exists(dir, "model-00001-of-00003.safetensors") ||
                 exists(dir, "model.safetensors.index.json"));
    expect_model(dir, shards, 4);
    if (put_model(dir, shards, 3, 80, &err) != HY_OK) fail_msg("%s", err.text);
    assert_false(exists(dir, "model.safetensors"));
    expect_model(dir, shards, 3);
}

static const struct {
    const char *index, *says;
} indexes[] = {
    {"[]", "weight_map"},
    {"{}", "weight_map"},
    {"{\"weight_map\":{}}", "empty"},
    {"{\"weight_map\":{\"a\":1}}", "no plain file name"},
    {"{\"weight_map\":{\"a\":\"../x\"}}", "no plain file name"},
    {"{\"weight_map\":{\"a\":\"/etc/passwd\"}}", "no plain file name"},
    {"{\"weight_map\":{\"a\":\"x.safetensors\"}}", "does not exist"},
    {"{\"weight_map\":{\"a\":\"1.safetensors\"}}", "nothing about it"},
    {"{\"weight_map\":{\"a\":\"1.safetensors\",\"b\":\"2.safetensors\"}}", "the index says"},
    {"{\"weight_map\":{\"a\":\"1.safetensors\",\"b\":\"1.safetensors\",\"c\":\"1.safetensors\"}}",
     "'c' is missing"},
};

static void test_bad_index(void **state) {
    (void)state;
    char dir[256], path[512];
    snprintf(dir, sizeof dir, "%s/index", root);
    mkdir(dir, 0777);
    hy_error err;
    for (int i = 1; i <= 2; i++) {
        snprintf(path, sizeof path, "%s/%d.safetensors", dir, i);
        hy__st_list list = list_of(shards, 2);
        list.user = &list;
        assert_int_equal(hy__st_write(path, &list, &err), HY_OK);
    }
    for (size_t i = 0; i < sizeof indexes / sizeof *indexes; i++) {
        write_text(dir, "model.safetensors.index.json", indexes[i].index);
        hy__st *st;
        const hy_status status = hy__st_open_dir(&st, dir, &err);
        if (status == HY_OK || !strstr(err.text, indexes[i].says))
            fail_msg("%s: '%s', wanted '%s'", indexes[i].index, err.text, indexes[i].says);
    }
}

/* ---- killed, and no room ----------------------------------------------------------------------
 */

static const hy__st_tensor new_model[] = {
    {.name = "p", .dtype = HY__ST_F32, .n_dim = 1, .shape = {70}},
    {.name = "q", .dtype = HY__ST_F32, .n_dim = 1, .shape = {70}},
    {.name = "r", .dtype = HY__ST_F32, .n_dim = 1, .shape = {70}},
};

/* The old model (4 tensors, one file) or the new one (3 tensors, three files), whole; which? */
static bool is_new(const char *dir) {
    hy__st *st;
    hy_error err;
    if (hy__st_open_dir(&st, dir, &err) != HY_OK) fail_msg("%s", err.text);
    const bool new_one = hy__st_find(st, "p") != NULL;
    if (new_one)
        expect_tensors(st, new_model, 3);
    else
        expect_tensors(st, shards, 4);
    hy__st_close(st);
    return new_one;
}

/* Runs put_model in a child that ends before its n-th call; true when it came through. */
static bool put_and_die(const char *dir, long n) {
    const pid_t child = fork();
    if (child == 0) {
        calls_left = n;
        hy_error err;
        const hy_status status = put_model(dir, new_model, 3, 300, &err);
        _exit(status == HY_OK ? 0 : 1);
    }
    int how;
    waitpid(child, &how, 0);
    assert_true(WIFEXITED(how) && (WEXITSTATUS(how) == 0 || WEXITSTATUS(how) == KILLED));
    return WEXITSTATUS(how) == 0;
}

static void test_killed(void **state) {
    (void)state;
    char dir[256];
    snprintf(dir, sizeof dir, "%s/killed", root);
    hy_error err;
    int n_old = 0, n_new = 0;
    bool through = false, changed = false;
    for (long n = 0; !through; n++) {
        if (put_model(dir, shards, 4, 0, &err) != HY_OK) fail_msg("%s", err.text);
        through = put_and_die(dir, n);
        const bool now = is_new(dir);
        if (changed && !now) fail_msg("killed at %ld: the old model came back", n);
        changed = now;
        *(now ? &n_new : &n_old) += 1;
        /* The next writer, killed at once after it opened, has changed nothing but tidied up. */
        hy__fileset *set;
        assert_int_equal(hy__fileset_open(&set, dir, &err), HY_OK);
        hy__fileset_discard(set);
        assert_int_equal(is_new(dir), now);
        assert_false(exists(dir, ".hydra-commit"));
        assert_int_equal(exists(dir, "model.safetensors"), !now);
    }
    assert_true(changed && n_old > 10 && n_new > 5);
}

/* ---- what a commit replaces is kept ------------------------------------------------------------
 */

/* A checkpoint of one file and its checksum; `keep`: where the one before it goes, or NULL. */
static hy_status put_numbered(const char *dir, int number, const char *keep, hy_error *err) {
    char text[32];
    hy__fileset *set;
    snprintf(text, sizeof text, "checkpoint %d", number);
    HY_TRY(hy__fileset_open(&set, dir, err));
    hy_status status = hy__fileset_write(set, "state", text, strlen(text), err);
    if (status == HY_OK) status = hy__checksums_put(set, err);
    if (status == HY_OK && keep) status = hy__fileset_keep(set, keep, err);
    if (status == HY_OK) return hy__fileset_commit(set, err);
    hy__fileset_discard(set);
    return status;
}

/* Which one the directory holds, whole; −1: none. */
static int number_in(const char *dir) {
    char path[600], *text;
    size_t size;
    hy_error err;
    int number;
    if (hy__checksums_check(dir, &err) != HY_OK) return -1;
    snprintf(path, sizeof path, "%s/state", dir);
    assert_int_equal(hy__file_read(path, 100, &text, &size, &err), HY_OK);
    assert_int_equal(sscanf(text, "checkpoint %d", &number), 1);
    free(text);
    return number;
}

static bool replace_and_die(const char *dir, long n) {
    const pid_t child = fork();
    if (child == 0) {
        calls_left = n;
        hy_error err;
        _exit(put_numbered(dir, 2, "checkpoints/step-1", &err) == HY_OK ? 0 : 1);
    }
    int how;
    waitpid(child, &how, 0);
    assert_true(WIFEXITED(how) && (WEXITSTATUS(how) == 0 || WEXITSTATUS(how) == KILLED));
    return WEXITSTATUS(how) == 0;
}

/* Killed before any call: the directory has the old one or the new one, and where it has the new
 * one the old one is kept. */
static void try_keeping(const char *name) {
    char dir[256], kept[300];
    snprintf(dir, sizeof dir, "%s/%s", root, name);
    snprintf(kept, sizeof kept, "%s/checkpoints/step-1", dir);
    hy_error err;
    int n_new = 0;
    bool through = false;
    for (long n = 0; !through; n++) {
        /* in the folder lies what an earlier line left there */
        if (put_numbered(dir, 7, NULL, &err) != HY_OK) fail_msg("%s", err.text);
        if (put_numbered(dir, 1, "checkpoints/step-1", &err) != HY_OK) fail_msg("%s", err.text);
        assert_int_equal(number_in(kept), 7);
        through = replace_and_die(dir, n);
        hy__fileset *set;
        assert_int_equal(hy__fileset_open(&set, dir, &err), HY_OK);
        hy__fileset_discard(set);
        const int now = number_in(dir);
        assert_true(now == 1 || now == 2);
        if (now == 2) assert_int_equal(number_in(kept), 1);
        n_new += now == 2;
    }
    assert_true(n_new > 4);
}

static void test_kept(void **state) {
    (void)state;
    try_keeping("kept");
    no_links = true;
    try_keeping("moved");
    no_links = false;
}

static void test_bad_folder(void **state) {
    (void)state;
    static const char *const folder[] = {"", "/tmp", "../up", "a/../../up", "A"};
    char dir[256];
    snprintf(dir, sizeof dir, "%s/folders", root);
    hy_error err;
    for (size_t i = 0; i < sizeof folder / sizeof *folder; i++) {
        assert_int_equal(put_numbered(dir, 1, folder[i], &err), HY_E_INVALID);
        assert_non_null(strstr(err.text, "not the name of a folder"));
    }
}

static void expect_kept(const char *dir, const int64_t *step, int64_t n) {
    hy__kept list;
    hy_error err;
    assert_int_equal(hy__kept_list(&list, dir, &err), HY_OK);
    assert_int_equal(list.n, n);
    for (int64_t i = 0; i < n; i++) assert_int_equal(list.step[i], step[i]);
    hy__kept_release(&list);
}

static void test_prune(void **state) {
    (void)state;
    char dir[256], name[HY__KEPT_NAME];
    snprintf(dir, sizeof dir, "%s/pruned", root);
    hy_error err;
    assert_int_equal(put_numbered(dir, 0, NULL, &err), HY_OK);
    expect_kept(dir, NULL, 0);
    for (int i = 0; i < 12; i++) {
        hy__kept_name(name, 10 * i);
        assert_int_equal(put_numbered(dir, 10 * i + 10, name, &err), HY_OK);
    }
    char other[300];
    snprintf(other, sizeof other, "%s/checkpoints/mine", dir);
    mkdir(other, 0777); /* no checkpoint: it stays */
    assert_int_equal(hy__kept_prune(dir, 100, 3, &err), HY_OK);
    expect_kept(dir, (const int64_t[]){100, 90, 80}, 3); /* 110 is of a line given up */
    assert_int_equal(hy__kept_prune(dir, 100, 0, &err), HY_OK);
    expect_kept(dir, NULL, 0);
    assert_true(exists(dir, "checkpoints/mine"));
    assert_int_equal(number_in(dir), 120);
}

static void test_checksums(void **state) {
    (void)state;
    char dir[256];
    snprintf(dir, sizeof dir, "%s/sums", root);
    hy_error err;
    assert_int_equal(put_numbered(dir, 5, NULL, &err), HY_OK);
    assert_int_equal(hy__checksums_check(dir, &err), HY_OK);
    write_text(dir, "state", "checkpoint 6");
    assert_int_equal(hy__checksums_check(dir, &err), HY_E_INVALID);
    assert_non_null(strstr(err.text, "state has the checksum"));
    unlink(at_root("sums/state"));
    assert_int_equal(hy__checksums_check(dir, &err), HY_E_IO);
    assert_non_null(strstr(err.text, "state is missing"));
    write_text(dir, HY__CHECKSUMS, "{\"../kept/state\": \"0\"}");
    assert_int_equal(hy__checksums_check(dir, &err), HY_E_INVALID);
    write_text(dir, HY__CHECKSUMS, "{\"state\": 0}");
    assert_int_equal(hy__checksums_check(dir, &err), HY_E_INVALID);
    write_text(dir, HY__CHECKSUMS, "{}");
    assert_int_equal(hy__checksums_check(dir, &err), HY_E_INVALID);
    unlink(at_root("sums/" HY__CHECKSUMS));
    assert_int_equal(hy__checksums_check(dir, &err), HY_E_IO);
}

static void test_disk_full(void **state) {
    (void)state;
    char dir[256];
    snprintf(dir, sizeof dir, "%s/full", root);
    hy_error err;
    if (put_model(dir, shards, 4, 0, &err) != HY_OK) fail_msg("%s", err.text);
    hy_status status = HY_E_IO;
    int failures = 0;
    for (long n = 1; status != HY_OK; n++) {
        disk_full = true;
        calls_left = n;
        status = put_model(dir, new_model, 3, 300, &err);
        disk_full = false;
        calls_left = -1;
        if (status == HY_OK) break;
        failures++;
        assert_int_equal(status, HY_E_IO);
        assert_non_null(strstr(err.text, "No space left"));
        assert_false(is_new(dir));
        assert_false(exists(dir, ".hydra-new-model-00001-of-00003.safetensors"));
    }
    assert_true(failures > 3 && is_new(dir));
}

/* The system's own limit instead of ours: a file may not grow beyond 64 KB. */
static void test_file_too_large(void **state) {
    (void)state;
    static const hy__st_tensor big = {
        .name = "a", .dtype = HY__ST_F32, .n_dim = 1, .shape = {100000}};
    hy_error err;
    hy__st_list small = list_of(shards, 4), large = list_of(&big, 1);
    small.user = &small;
    large.user = &large;
    assert_int_equal(hy__st_write(at_root("one"), &small, &err), HY_OK);
    struct rlimit old, limit;
    getrlimit(RLIMIT_FSIZE, &old);
    limit = (struct rlimit){1 << 16, old.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    const hy_status status = hy__st_write(at_root("one"), &large, &err);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(status, HY_E_IO);
    hy__st *st;
    assert_int_equal(hy__st_open(&st, at_root("one"), &err), HY_OK);
    expect_tensors(st, shards, 4);
    hy__st_close(st);
}

static void test_one_writer(void **state) {
    (void)state;
    char dir[256];
    snprintf(dir, sizeof dir, "%s/lock", root);
    hy__fileset *a, *b;
    hy_error err;
    assert_int_equal(hy__dir_make(dir, NULL, &err), HY_OK);
    assert_int_equal(hy__fileset_open(&a, dir, &err), HY_OK);
    assert_int_equal(hy__fileset_open(&b, dir, &err), HY_E_IO);
    assert_non_null(strstr(err.text, "another process"));
    hy__writer w;
    assert_int_equal(hy__fileset_put(a, &w, "../up", &err), HY_E_INVALID);
    hy__fileset_discard(a);
    assert_int_equal(hy__fileset_open(&b, dir, &err), HY_OK);
    hy__fileset_discard(b);

    write_text(dir, ".hydra-commit", "put ../up\nend\n");
    assert_int_equal(hy__fileset_open(&b, dir, &err), HY_E_INVALID);
    write_text(dir, ".hydra-commit", "put a\n");
    char *path;
    assert_int_equal(hy__fileset_find(&path, dir, "a", &err), HY_E_INVALID);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers),    cmocka_unit_test(test_header_length),
        cmocka_unit_test(test_truncated),  cmocka_unit_test(test_missing),
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_large),
        cmocka_unit_test(test_f16),        cmocka_unit_test(test_shards),
        cmocka_unit_test(test_bad_index),  cmocka_unit_test(test_killed),
        cmocka_unit_test(test_disk_full),  cmocka_unit_test(test_file_too_large),
        cmocka_unit_test(test_one_writer), cmocka_unit_test(test_release),
        cmocka_unit_test(test_kept),       cmocka_unit_test(test_bad_folder),
        cmocka_unit_test(test_prune),      cmocka_unit_test(test_checksums),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
