/* Named and described hardware: every row is plausible, every form is read, every refusal says what
 * it got and what it wanted. */
#include "account/hardware.h"

#include <ctype.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Tolerance: a decimal times a power of 1000 rounds twice. */
static void near(double got, double want) {
    if (!(fabs(got - want) <= 1e-15 * want)) fail_msg("got %.17g, wanted %.17g", got, want);
}

static hy__hardware find(const char *text) {
    hy__hardware h;
    hy_error err = {0};
    if (hy__hardware_find(&h, text, &err) != HY_OK) fail_msg("%s: %s", text, err.text);
    return h;
}

/* ---- the table ---- */

static void between(const char *name, const char *what, double got, double min, double max) {
    if (!(got >= min && got <= max))
        fail_msg("%s: %s is %g, plausible are %g to %g", name, what, got, min, max);
}

/* The bounds are wide: they catch a wrong power of 1000, a figure "with sparsity", bits for bytes,
 * figures that changed places. */
static void check_row(const hy__hardware *h) {
    const double fp32 = hy__hardware_peak(h, HY__OPERAND_FP32);
    const double bf16 = hy__hardware_peak(h, HY__OPERAND_BF16);
    const double int8 = hy__hardware_peak(h, HY__OPERAND_INT8);
    between(h->name, "fp32", fp32, 100e9, 100e12);
    between(h->name, "bf16 / fp32", bf16 / fp32, 1, 16);
    between(h->name, "int8 / bf16", int8 / bf16, 1, 4);
    between(h->name, "bandwidth", h->bandwidth, 20e9, 10e12);
    between(h->name, "memory", h->memory, 4e9, 2e12);
    between(h->name, "fp32 operations per byte", fp32 / h->bandwidth, 4, 100);
    between(h->name, "int8 operations per byte", int8 / h->bandwidth, 15, 1000);
    between(h->name, "seconds to read its memory", h->memory / h->bandwidth, 0.02, 3);
    assert_true(strlen(h->what) > 0);
    if (!strstr(h->source, "https://") && !strstr(h->source, "measured by this project"))
        fail_msg("%s: \"%s\" names no document and no measurement", h->name, h->source);
}

static void test_rows(void **state) {
    (void)state;
    int64_t n;
    const hy__hardware *table = hy__hardware_table(&n);
    assert_true(n >= 10);
    for (int64_t i = 0; i < n; i++) {
        check_row(&table[i]);
        assert_string_equal(find(table[i].name).name, table[i].name); /* no other has its name */
        assert_string_equal(find(table[i].what).name, table[i].name);
    }
}

/* Figures that stand in the vendors' documents as they are, and those that formulas give. */
static void test_figures(void **state) {
    (void)state;
    const hy__hardware h100 = find("h100"), epyc = find("epyc-9654"), xeon = find("xeon-8480");
    near(h100.bf16, 989.4e12);
    near(h100.bandwidth, 3.35e12);
    near(find("h200").bandwidth, 4.8e12);
    near(find("a100").bf16, 312e12);
    near(find("rtx-4090").bf16, 165.2e12);
    near(epyc.bandwidth, 460.8e9);
    assert_true(fabs(epyc.fp32 - 10.9e12) < 0.01e12);
    assert_true(fabs(xeon.bf16 - 114.7e12) < 0.1e12);
    near(find("i9-13900k").bandwidth, 89.6e9);
    assert_true(fabs(find("apple-m2-ultra").fp32 - 27.2e12) < 0.1e12);
}

static void test_names(void **state) {
    (void)state;
    static const char *const written[][2] = {
        {"RTX4090", "rtx-4090"},
        {"rtx 4090", "rtx-4090"},
        {"GeForce RTX 4090", "rtx-4090"},
        {"NVIDIA GeForce RTX 4090", "rtx-4090"},
        {"H100", "h100"},
        {" h-100 ", "h100"},
        {"A100-SXM 80GB", "a100"},
        {"Core i9-13900K", "i9-13900k"},
        {"Xeon Platinum 8480+", "xeon-8480"},
        {"Apple M2", "apple-m2"},
        {"m2", "apple-m2"},
        {"M2 Ultra", "apple-m2-ultra"},
        {"2xZen5", "2x-zen5"},
    };
    for (size_t i = 0; i < sizeof written / sizeof *written; i++)
        assert_string_equal(find(written[i][0]).name, written[i][1]);
}

static void test_fallback(void **state) {
    (void)state;
    const hy__hardware h = {.fp32 = 1, .bf16 = 2, .int8 = 4}, no_int8 = {.fp32 = 1, .bf16 = 2},
                       fp32 = {.fp32 = 1}, no_bf16 = {.fp32 = 1, .int8 = 4};
    near(hy__hardware_peak(&h, HY__OPERAND_FP32), 1);
    near(hy__hardware_peak(&h, HY__OPERAND_BF16), 2);
    near(hy__hardware_peak(&h, HY__OPERAND_INT8), 4);
    near(hy__hardware_peak(&no_int8, HY__OPERAND_INT8), 2);
    near(hy__hardware_peak(&fp32, HY__OPERAND_INT8), 1);
    near(hy__hardware_peak(&fp32, HY__OPERAND_BF16), 1);
    near(hy__hardware_peak(&no_bf16, HY__OPERAND_BF16), 1);
}

/* ---- descriptions ---- */

static void test_description(void **state) {
    (void)state;
    const hy__hardware h = find("peak=989T,bandwidth=3.35T,memory=80G");
    near(h.fp32, 989e12);
    near(h.bf16, 989e12);
    near(h.int8, 989e12);
    near(h.bandwidth, 3.35e12);
    near(h.memory, 80e9);
    assert_string_equal(h.name, "custom");
    assert_true(strlen(h.what) > 0 && strlen(h.source) > 0);
}

static void test_single_peaks(void **state) {
    (void)state;
    const hy__hardware most = find("name=my box, fp32=67T, peak=989T, bandwidth=3T, memory=1G");
    assert_string_equal(most.name, "my box");
    near(most.fp32, 67e12);
    near(most.bf16, 989e12);
    near(most.int8, 989e12);
    const hy__hardware some = find("memory=1G,bandwidth=3T,bf16=2T,fp32=1T");
    near(some.fp32, 1e12);
    near(some.bf16, 2e12);
    near(hy__hardware_peak(&some, HY__OPERAND_INT8), 2e12);
    near(find("peak=1T,int8=4T,bandwidth=1G,memory=1G").int8, 4e12);
}

static void test_numbers(void **state) {
    (void)state;
    static const struct {
        const char *peak, *bandwidth, *memory;
        double want[3];
    } row[] = {
        {"1e12", "45GB/s", "80GiB", {1e12, 45e9, 80 * 0x1p30}},
        {"989TFLOPS", "45GB", "80GB", {989e12, 45e9, 80e9}},
        {"2132 GOP/s", "45 GB/s", "80 Gi", {2132e9, 45e9, 80 * 0x1p30}},
        {"1P", "1k", "1MiB", {1e15, 1e3, 0x1p20}},
        {"+.5T", "5.e1G", "17179869184B", {0.5e12, 50e9, 0x1p34}},
        {"529GFLOP/s", "1.5TiB/s", "1Pi", {529e9, 1.5 * 0x1p40, 0x1p50}},
        {" 1T ", "1 g", "1 m", {1e12, 1e9, 1e6}},
        {"1e21", "1e21", "1e18", {1e21, 1e21, 1e18}},
        {"1", "1", "1", {1, 1, 1}},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        char text[128];
        snprintf(text, sizeof text, "peak=%s,bandwidth=%s,memory=%s", row[i].peak, row[i].bandwidth,
                 row[i].memory);
        const hy__hardware h = find(text);
        near(h.fp32, row[i].want[0]);
        near(h.bandwidth, row[i].want[1]);
        near(h.memory, row[i].want[2]);
    }
}

/* ---- refusals ---- */

/* The sentence holds both parts, and *out is as it was. */
static void refused(const char *text, const char *got, const char *wanted) {
    hy__hardware h = {.name = "untouched"};
    hy_error err = {0};
    assert_int_equal(hy__hardware_find(&h, text, &err), HY_E_INVALID);
    assert_int_equal(err.status, HY_E_INVALID);
    assert_string_equal(h.name, "untouched");
    if (!strstr(err.text, got)) fail_msg("%s: \"%s\" lacks \"%s\"", text, err.text, got);
    if (!strstr(err.text, wanted)) fail_msg("%s: \"%s\" lacks \"%s\"", text, err.text, wanted);
    assert_int_equal(hy__hardware_find(&h, text, NULL), HY_E_INVALID);
}

static void test_unknown_name(void **state) {
    (void)state;
    static const char *const written[] = {"rtx 4080", "", "a10", "v100 x8", "H100 PCIe", "--"};
    int64_t n;
    const hy__hardware *table = hy__hardware_table(&n);
    for (size_t i = 0; i < sizeof written / sizeof *written; i++) {
        char got[32];
        snprintf(got, sizeof got, "no hardware \"%s\"", written[i]);
        for (int64_t k = 0; k < n; k++) refused(written[i], got, table[k].name);
        refused(written[i], got, "peak=989T,bandwidth=3.35T,memory=80G");
    }
    refused("rtx 4080", "rtx 4080", "did you mean rtx-4090?");
    refused("B200", "B200", "did you mean h200?");
    refused("a10", "a10", "did you mean a100?");
    refused("4090", "4090", "did you mean rtx-4090?");
    refused("Ryzen 9 7950X3D", "7950X3D", "did you mean ryzen-7950x?");
    refused("ryzen 7950", "ryzen 7950", "did you mean ryzen-7950x?");
    refused("abacus", "abacus", "\". Known are");
}

static void test_long_name(void **state) {
    (void)state;
    char text[4096];
    memset(text, 'h', sizeof text - 1);
    text[sizeof text - 1] = 0;
    refused(text, "hhhh", "memory=80G"); /* the sentence ends as it should */
    text[0] = '=';
    refused(text, "hardware has no \"\"", "bandwidth");
}

static void test_wrong_keys(void **state) {
    (void)state;
    refused("peak=1T,bandwidht=1T,memory=1G", "no \"bandwidht\"", "did you mean bandwidth?");
    refused("peak=1T,cores=8", "no \"cores\"", "bandwidth, memory and name");
    refused("Peak=1T", "no \"Peak\"", "did you mean peak?");
    refused("=1T", "no \"\"", "peak, fp32");
    refused("peak=1T,peak=2T", "peak is given twice", "once");
    refused("name=a,name=b", "name is given twice", "once");
    refused("peak=1T,3T", "\"3T\" does not describe", "key=value");
    refused("h100,memory=40G", "\"h100\" does not describe", "key=value");
    refused("peak=1T,,memory=1G", "\"\" does not describe", "key=value");
    refused("peak=1T,bandwidth=1T,memory=1G,", "\"\" does not describe", "key=value");
}

static void test_missing_keys(void **state) {
    (void)state;
    refused("bandwidth=1T,memory=1G", "lacks peak", "wanted peak (or fp32), bandwidth and memory");
    refused("bf16=1T,bandwidth=1T,memory=1G", "lacks peak", "fp32");
    refused("peak=1T,memory=1G", "lacks bandwidth", "memory=80G");
    refused("peak=1T,bandwidth=1T", "lacks memory", "memory=80G");
    refused("name=box", "lacks peak", "bandwidth");
}

static void test_wrong_numbers(void **state) {
    (void)state;
    refused("peak=-1T", "peak is \"-1T\"", "wanted 1 to 1e+21 operations per second");
    refused("peak=0", "peak is \"0\"", "wanted 1 to");
    refused("peak=0T", "peak is \"0T\"", "wanted 1 to");
    refused("peak=1e-400", "peak is \"1e-400\"", "wanted 1 to");
    refused("peak=1e400", "peak is \"1e400\"", "wanted 1 to");
    refused("peak=1e308P", "peak is \"1e308P\"", "wanted 1 to");
    refused("memory=1e19", "memory is \"1e19\"", "wanted 1 to 1e+18 bytes");
    refused("peak=nan", "peak is \"nan\"", "wanted a number of operations per second");
    refused("peak=-nan", "peak is \"-nan\"", "wanted");
    refused("bf16=inf", "bf16 is \"inf\"", "wanted a number");
    refused("bandwidth=-inf", "bandwidth is \"-inf\"", "wanted");
    refused("bandwidth=", "bandwidth is \"\"", "bytes per second, as in 3.35T");
    refused("bandwidth=fast", "bandwidth is \"fast\"", "wanted a number");
    refused("memory=T", "memory is \"T\"", "wanted a number");
    refused("memory=.", "memory is \".\"", "wanted a number");
    refused("memory=80Gx", "memory is \"80Gx\"", "not \"x\" after it");
    refused("memory=80Gb", "memory is \"80Gb\"", "not \"b\" after it"); /* bits? */
    refused("memory=80GB/s", "memory is \"80GB/s\"", "not \"B/s\" after it");
    refused("memory=80GG", "memory is \"80GG\"", "not \"G\" after it");
    refused("memory=1 2G", "memory is \"1 2G\"", "not \"2G\" after it");
    refused("peak=1TB", "peak is \"1TB\"", "not \"B\" after it");
    refused("peak=1T=2", "peak is \"1T=2\"", "not \"=2\" after it");
    refused("bandwidth=1TFLOPS", "bandwidth is \"1TFLOPS\"", "not \"FLOPS\" after it");
}

static void test_wrong_called(void **state) {
    (void)state;
    refused("name=,peak=1T", "name is \"\"", "1 to 31 printable bytes");
    refused("name=a name that is longer than any table can show,peak=1T", "name is \"a name", "31");
    refused("name=a\tb,peak=1T", "name is", "printable");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),         cmocka_unit_test(test_figures),
        cmocka_unit_test(test_names),        cmocka_unit_test(test_fallback),
        cmocka_unit_test(test_description),  cmocka_unit_test(test_single_peaks),
        cmocka_unit_test(test_numbers),      cmocka_unit_test(test_unknown_name),
        cmocka_unit_test(test_long_name),    cmocka_unit_test(test_wrong_keys),
        cmocka_unit_test(test_missing_keys), cmocka_unit_test(test_wrong_numbers),
        cmocka_unit_test(test_wrong_called),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
