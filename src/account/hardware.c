/* hardware.c: the table of named hardware, and the reading of described hardware.
 *
 * The peaks of a CPU are cores x clock x operations per cycle. Which clock it keeps up under load
 * depends on cooling and power limits; the source says which was taken: the vendor's for all cores
 * where there is one, else one seen with all cores busy, else the base clock. The memory of a CPU
 * is what is usually installed; that of an NVIDIA card is what nvidia-smi reports. */
#include "account/hardware.h"

#include "base/nearest.h"
#include "base/utf8.h"
#include "base/words.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB     0x1p20
#define GIB     0x1p30
#define EXAMPLE "peak=989T,bandwidth=3.35T,memory=80G"

/* Operations per cycle of one core. Zen 4 does one 512-bit multiply-add, in two halves
 * (numberworld.org/blogs/2024_8_7_zen5_avx512_teardown), a Golden Cove server core two, Raptor Cove
 * two of 256 bits, Gracemont two of 128. VDPBF16PS does twice the operations of an fp32
 * multiply-add, VPDPBUSD four times. AMX finishes a tile product of 16x16x64 bytes in 16 cycles. */
enum {
    ZEN4_FP32 = 32,
    RAPTOR_FP32 = 32,
    GRACEMONT_FP32 = 16,
    GOLDEN_FP32 = 64,
    AMX_BF16 = 1024,
    AMX_INT8 = 2048,
};
#define RAPTOR_LAKE (8 * 5.4e9 * RAPTOR_FP32 + 16 * 4.3e9 * GRACEMONT_FP32)

static const hy__hardware table[] = {
    {
        .name = "2x-zen5",
        .what = "two cores of an AMD EPYC (Zen 5) cloud server",
        .fp32 = 529e9,
        .bf16 = 1068e9,
        .int8 = 2132e9,
        .bandwidth = 113e9,
        .memory = 25.3e9,
        .source =
            "measured by this project, two threads: 2 cores x 4.13 GHz x 64, 128, 256 operations; "
            "the fastest STREAM triad seen, of which neighbours often leave half",
    },
    {
        .name = "ryzen-7840u",
        .what = "AMD Ryzen 7 7840U",
        .fp32 = 8 * 3.3e9 * ZEN4_FP32,
        .bf16 = 8 * 3.3e9 * ZEN4_FP32 * 2,
        .int8 = 8 * 3.3e9 * ZEN4_FP32 * 4,
        .bandwidth = 2 * 8 * 7500e6,
        .memory = 16 * GIB,
        .source = "8 cores x 3.3 GHz (base clock; the 28 W boost does not last) x 32, 64, 128 "
                  "operations; LPDDR5X-7500, 128 bit; "
                  "https://www.amd.com/en/products/processors/laptop/ryzen/7000-series/"
                  "amd-ryzen-7-7840u.html",
    },
    {
        .name = "ryzen-7950x",
        .what = "AMD Ryzen 9 7950X",
        .fp32 = 16 * 5.0e9 * ZEN4_FP32,
        .bf16 = 16 * 5.0e9 * ZEN4_FP32 * 2,
        .int8 = 16 * 5.0e9 * ZEN4_FP32 * 4,
        .bandwidth = 2 * 8 * 5200e6,
        .memory = 64 * GIB,
        .source = "16 cores x 5.0 GHz (all cores loaded: "
                  "https://www.tomshardware.com/reviews/"
                  "amd-ryzen-9-7950x-ryzen-5-7600x-cpu-review/5) x 32, 64, 128 operations; "
                  "DDR5-5200, 128 bit",
    },
    {
        .name = "i9-13900k",
        .what = "Intel Core i9-13900K",
        .fp32 = RAPTOR_LAKE,
        .int8 = RAPTOR_LAKE * 4,
        .bandwidth = 2 * 8 * 5600e6,
        .memory = 64 * GIB,
        .source = "8 cores x 5.4 GHz x 32 + 16 cores x 4.3 GHz x 16 operations (turbo), int8 four "
                  "times (AVX-VNNI), no bf16; DDR5-5600, 89.6 GB/s; Intel ARK: "
                  "https://ark.intel.com/content/www/us/en/ark/products/230496/"
                  "intel-core-i913900k-processor-36m-cache-up-to-5-80-ghz.html",
    },
    {
        .name = "epyc-9654",
        .what = "AMD EPYC 9654",
        .fp32 = 96 * 3.55e9 * ZEN4_FP32,
        .bf16 = 96 * 3.55e9 * ZEN4_FP32 * 2,
        .int8 = 96 * 3.55e9 * ZEN4_FP32 * 4,
        .bandwidth = 12 * 8 * 4800e6,
        .memory = 12 * 64 * GIB,
        .source = "one socket: 96 cores x 3.55 GHz (all-core boost) x 32, 64, 128 operations; 12 "
                  "channels of DDR5-4800, 460.8 GB/s; https://www.amd.com/en/products/processors/"
                  "server/epyc/4th-generation-9004-and-8004-series/amd-epyc-9654.html",
    },
    {
        .name = "xeon-8480",
        .what = "Intel Xeon Platinum 8480+",
        .fp32 = 56 * 2.0e9 * GOLDEN_FP32,
        .bf16 = 56 * 2.0e9 * AMX_BF16,
        .int8 = 56 * 2.0e9 * AMX_INT8,
        .bandwidth = 8 * 8 * 4800e6,
        .memory = 8 * 64 * GIB,
        .source = "one socket: 56 cores x 2.0 GHz (base clock) x 64 (AVX-512), 1024, 2048 (AMX) "
                  "operations; 8 channels of DDR5-4800; Intel ARK: "
                  "https://ark.intel.com/content/www/us/en/ark/products/231746/"
                  "intel-xeon-platinum-8480-processor-105m-cache-2-00-ghz.html",
    },
    {
        .name = "apple-m2",
        .what = "Apple M2",
        .fp32 = 10 * 1.398e9 * 128 * 2,
        .bandwidth = 100e9,
        .memory = 16 * GIB,
        .source = "its GPU: 10 cores x 1.398 GHz x 128 lanes x 2 operations = 3.6 TFLOP/s, no "
                  "faster bf16 (https://github.com/philipturner/metal-benchmarks); 100 GB/s: "
                  "https://www.apple.com/newsroom/2022/06/"
                  "apple-unveils-m2-with-breakthrough-performance-and-capabilities/",
    },
    {
        .name = "apple-m2-ultra",
        .what = "Apple M2 Ultra",
        .fp32 = 76 * 1.398e9 * 128 * 2,
        .bandwidth = 800e9,
        .memory = 192 * GIB,
        .source = "its GPU: 76 cores x 1.398 GHz x 128 lanes x 2 operations = 27.2 TFLOP/s, no "
                  "faster bf16 (https://github.com/philipturner/metal-benchmarks); 800 GB/s, up to "
                  "192 GB: https://www.apple.com/newsroom/2023/06/apple-introduces-m2-ultra/",
    },
    {
        .name = "rtx-4090",
        .what = "NVIDIA GeForce RTX 4090",
        .fp32 = 82.6e12,
        .bf16 = 165.2e12,
        .int8 = 660.6e12,
        .bandwidth = 1008e9,
        .memory = 24564 * MIB,
        .source = "NVIDIA Ada GPU architecture whitepaper, appendix A, dense, fp32 accumulation: "
                  "https://images.nvidia.com/aem-dam/Solutions/geforce/ada/"
                  "nvidia-ada-gpu-architecture.pdf",
    },
    {
        .name = "a100",
        .what = "NVIDIA A100 SXM 80GB",
        .fp32 = 19.5e12,
        .bf16 = 312e12,
        .int8 = 624e12,
        .bandwidth = 2039e9,
        .memory = 81920 * MIB,
        .source = "NVIDIA A100 datasheet, dense: https://www.nvidia.com/content/dam/en-zz/"
                  "Solutions/Data-Center/a100/pdf/nvidia-a100-datasheet-us-nvidia-1758950-r4-web"
                  ".pdf",
    },
    {
        .name = "h100",
        .what = "NVIDIA H100 SXM 80GB",
        .fp32 = 66.9e12,
        .bf16 = 989.4e12,
        .int8 = 1978.9e12,
        .bandwidth = 3350e9,
        .memory = 81559 * MIB,
        .source = "NVIDIA H100 architecture whitepaper, dense, and datasheet (3.35 TB/s): "
                  "https://resources.nvidia.com/en-us-tensor-core/gtc22-whitepaper-hopper",
    },
    {
        .name = "h200",
        .what = "NVIDIA H200 SXM",
        .fp32 = 66.9e12,
        .bf16 = 989.4e12,
        .int8 = 1978.9e12,
        .bandwidth = 4800e9,
        .memory = 143771 * MIB,
        .source = "NVIDIA H200 datasheet: the H100's peaks, 141 GB, 4.8 TB/s: "
                  "https://www.nvidia.com/en-us/data-center/h200/",
    },
};
enum { N_TABLE = sizeof table / sizeof *table };

const hy__hardware *hy__hardware_table(int64_t *n) {
    *n = N_TABLE;
    return table;
}

double hy__hardware_peak(const hy__hardware *h, hy__operand operand) {
    switch (operand) {
    case HY__OPERAND_INT8:
        if (h->int8 > 0) return h->int8;
        return hy__hardware_peak(h, HY__OPERAND_BF16);
    case HY__OPERAND_BF16:
        if (h->bf16 > 0) return h->bf16;
        break;
    case HY__OPERAND_FP32:
        break;
    }
    return h->fp32;
}

/* ---- by name ---- */

enum { FOLD_CAP = 64 };

/* Lower case, without spaces and punctuation. */
static void fold(char out[FOLD_CAP], const char *text) {
    size_t n = 0;
    for (; *text && n < FOLD_CAP - 1; text++) {
        const unsigned char c = (unsigned char)*text;
        if (!isspace(c) && !ispunct(c)) out[n++] = (char)tolower(c);
    }
    out[n] = 0;
}

static bool is_called(const char *folded, const char *name) {
    char other[FOLD_CAP];
    fold(other, name);
    return strcmp(folded, other) == 0;
}

static const hy__hardware *find_named(const char *folded) {
    for (int i = 0; i < N_TABLE; i++) {
        const char *vendor_end = strchr(table[i].what, ' ');
        if (is_called(folded, table[i].name) || is_called(folded, table[i].what) ||
            is_called(folded, vendor_end))
            return &table[i];
    }
    return NULL;
}

static hy_status unknown(const char *text, const char *folded, hy_error *err) {
    char name[N_TABLE][FOLD_CAP], list[N_TABLE * (sizeof table[0].name + 2)] = "";
    const char *word[N_TABLE], *meant = NULL;
    for (int i = 0; i < N_TABLE; i++) {
        fold(name[i], table[i].name);
        word[i] = name[i];
        hy__words_add(list, sizeof list, ", ", table[i].name);
    }
    const char *near = hy__nearest(folded, word, N_TABLE);
    for (int i = 0; i < N_TABLE; i++)
        if (near == word[i]) meant = table[i].name;
    return hy__fail(err, HY_E_INVALID,
                    "there is no hardware \"%.40s\"%s%s%s Known are %s; any other is described by "
                    "its numbers, as in " EXAMPLE,
                    text, meant ? "; did you mean " : ".", meant ? meant : "", meant ? "?" : "",
                    list);
}

/* ---- by numbers ---- */

typedef struct quantity {
    const char *key;
    double max;
    const char *of;      /* its unit in words */
    const char *unit[4]; /* as written after the number, if at all */
    const char *example;
} quantity;

enum { PEAK, FP32, BF16, INT8, BANDWIDTH, MEMORY, N_QUANTITY };

/* The bounds keep whatever is computed of them finite. */
#define OPS                                                                                        \
    { "FLOPS", "FLOP/s", "OPS", "OP/s" }
static const quantity quantities[N_QUANTITY] = {
    [PEAK] = {"peak", 1e21, "operations per second", OPS, "989T"},
    [FP32] = {"fp32", 1e21, "operations per second", OPS, "67T"},
    [BF16] = {"bf16", 1e21, "operations per second", OPS, "989T"},
    [INT8] = {"int8", 1e21, "operations per second", OPS, "1979T"},
    [BANDWIDTH] = {"bandwidth", 1e21, "bytes per second", {"B", "B/s"}, "3.35T or 45GB/s"},
    [MEMORY] = {"memory", 1e18, "bytes", {"B"}, "80G or 80GiB"},
};

typedef struct span {
    const char *at, *end;
} span;

/* For %.*s, at most so many bytes. */
enum { SPAN_CAP = 64 };
#define SPAN(s) (int)((s).end - (s).at < SPAN_CAP ? (s).end - (s).at : SPAN_CAP), (s).at

static span trim(const char *at, const char *end) {
    while (at < end && isspace((unsigned char)*at)) at++;
    while (at < end && isspace((unsigned char)end[-1])) end--;
    return (span){at, end};
}

static bool equals(span s, const char *word) {
    const size_t n = strlen(word);
    return (size_t)(s.end - s.at) == n && memcmp(s.at, word, n) == 0;
}

/* Takes k M G T P, or Ki Mi …, off the front; what it stands for. */
static double take_prefix(span *s) {
    static const char letters[] = "KMGTP";
    const char *letter = s->at < s->end ? strchr(letters, toupper((unsigned char)*s->at)) : NULL;
    if (!letter) return 1;
    s->at++;
    const bool binary = s->at < s->end && *s->at == 'i';
    if (binary) s->at++;
    double factor = 1;
    for (const char *l = letters; l <= letter; l++) factor *= binary ? 1024 : 1000;
    return factor;
}

static bool is_unit(span s, const quantity *q) {
    if (s.at == s.end) return true;
    for (int i = 0; i < 4 && q->unit[i]; i++)
        if (equals(s, q->unit[i])) return true;
    return false;
}

static hy_status read_number(const quantity *q, span text, double *out, hy_error *err) {
    if (text.at == text.end || !strchr("+-.0123456789", *text.at))
        return hy__fail(err, HY_E_INVALID,
                        "the hardware's %s is \"%.*s\", wanted a number of %s, as in %s", q->key,
                        SPAN(text), q->of, q->example);
    char *after;
    const double number = strtod(text.at, &after);
    span rest = trim(after, text.end);
    *out = number * take_prefix(&rest);
    if (after == text.at || !is_unit(rest, q))
        return hy__fail(err, HY_E_INVALID,
                        "the hardware's %s is \"%.*s\", wanted a number of %s, as in %s, and not "
                        "\"%.*s\" after it",
                        q->key, SPAN(text), q->of, q->example, SPAN(rest));
    if (!(*out >= 1 && *out <= q->max)) /* NaN fails too */
        return hy__fail(err, HY_E_INVALID,
                        "the hardware's %s is \"%.*s\", wanted 1 to %g %s, as in %s", q->key,
                        SPAN(text), q->max, q->of, q->example);
    return HY_OK;
}

static hy_status read_name(char *out, size_t size, span text, hy_error *err) {
    const size_t n = (size_t)(text.end - text.at);
    bool printable = true;
    for (const char *c = text.at; c < text.end; c++)
        if (iscntrl((unsigned char)*c)) printable = false;
    if (n == 0 || n >= size || !printable ||
        hy__utf8_invalid((const unsigned char *)text.at, n) > 0)
        return hy__fail(err, HY_E_INVALID,
                        "the hardware's name is \"%.*s\", wanted 1 to %zu printable bytes of UTF-8",
                        SPAN(text), size - 1);
    memcpy(out, text.at, n);
    out[n] = 0;
    return HY_OK;
}

static hy_status unknown_key(span key, hy_error *err) {
    const char *word[N_QUANTITY + 1] = {"name"};
    char written[SPAN_CAP + 1];
    for (int i = 0; i < N_QUANTITY; i++) word[i + 1] = quantities[i].key;
    snprintf(written, sizeof written, "%.*s", SPAN(key));
    const char *meant = hy__nearest(written, word, N_QUANTITY + 1);
    return hy__fail(err, HY_E_INVALID,
                    "hardware has no \"%s\"%s%s%s It is described by peak, fp32, bf16, int8, "
                    "bandwidth, memory and name, as in " EXAMPLE,
                    written, meant ? "; did you mean " : ".", meant ? meant : "", meant ? "?" : "");
}

/* Reads one key=value into h->name or value[]; 0 there = not given yet. */
static hy_status read_item(hy__hardware *h, double *value, span item, hy_error *err) {
    const char *sign = memchr(item.at, '=', (size_t)(item.end - item.at));
    if (!sign)
        return hy__fail(err, HY_E_INVALID,
                        "\"%.*s\" does not describe hardware, wanted key=value, as in " EXAMPLE,
                        SPAN(item));
    const span key = trim(item.at, sign), text = trim(sign + 1, item.end);
    const bool is_name = equals(key, "name");
    int i = 0;
    while (i < N_QUANTITY && !equals(key, quantities[i].key)) i++;
    if (i == N_QUANTITY && !is_name) return unknown_key(key, err);
    if (is_name ? *h->name != 0 : value[i] > 0)
        return hy__fail(err, HY_E_INVALID, "the hardware's %.*s is given twice, wanted it once",
                        SPAN(key));
    if (is_name) return read_name(h->name, sizeof h->name, text, err);
    return read_number(&quantities[i], text, &value[i], err);
}

static hy_status read_description(hy__hardware *out, const char *text, hy_error *err) {
    hy__hardware h = {.what = "hardware described by its numbers", .source = "given by the user"};
    double value[N_QUANTITY] = {0};
    for (const char *at = text;; at++) {
        const char *end = at + strcspn(at, ",");
        HY_TRY(read_item(&h, value, trim(at, end), err));
        at = end;
        if (!*at) break;
    }
    h.fp32 = value[FP32] > 0 ? value[FP32] : value[PEAK];
    h.bf16 = value[BF16] > 0 ? value[BF16] : value[PEAK];
    h.int8 = value[INT8] > 0 ? value[INT8] : value[PEAK];
    h.bandwidth = value[BANDWIDTH];
    h.memory = value[MEMORY];
    const char *missing = !(h.fp32 > 0)        ? "peak (or fp32)"
                          : !(h.bandwidth > 0) ? "bandwidth"
                          : !(h.memory > 0)    ? "memory"
                                               : NULL;
    if (missing)
        return hy__fail(err, HY_E_INVALID,
                        "the hardware \"%.200s\" lacks %s, wanted peak (or fp32), bandwidth and "
                        "memory, as in " EXAMPLE,
                        text, missing);
    if (!*h.name) memcpy(h.name, "custom", sizeof "custom");
    *out = h;
    return HY_OK;
}

hy_status hy__hardware_find(hy__hardware *out, const char *text, hy_error *err) {
    if (strchr(text, '=')) return read_description(out, text, err);
    char folded[FOLD_CAP];
    fold(folded, text);
    const hy__hardware *row = find_named(folded);
    if (!row) return unknown(text, folded, err);
    *out = *row;
    return HY_OK;
}
