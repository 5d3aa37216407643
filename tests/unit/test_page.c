/* Texts, numbers, axes, charts and pages: what is written is well-formed whatever goes in, and the
 * same each time. */
#include "base/file.h"
#include "page/page.h"

#include <ctype.h>
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(a) ((int64_t)(sizeof(a) / sizeof *(a)))

/* ---- a reader of XML: enough to say that a text is well-formed ---- */

enum { DEPTH_MAX = 64, NAME_MAX_SIZE = 32 };

static const char *skip_name(const char *p) {
    while (isalnum((unsigned char)*p) || *p == '-' || *p == ':' || *p == '_') p++;
    return p;
}

/* A reference after '&': one of XML's five, or a number. NULL = none. */
static const char *skip_reference(const char *p) {
    static const char *const names[] = {"amp;", "lt;", "gt;", "quot;", "apos;"};
    for (size_t i = 0; i < 5; i++)
        if (strncmp(p, names[i], strlen(names[i])) == 0) return p + strlen(names[i]);
    if (*p++ != '#' || !isdigit((unsigned char)*p)) return NULL;
    while (isdigit((unsigned char)*p)) p++;
    return *p == ';' ? p + 1 : NULL;
}

/* Attributes up to the '>' or "/>"; NULL when one is malformed or stands twice. */
static const char *skip_attributes(const char *p) {
    const char *name[32];
    size_t length[32];
    int n = 0;
    for (;;) {
        const char *blank = p;
        while (isspace((unsigned char)*p)) p++;
        if (*p == '>' || (p[0] == '/' && p[1] == '>')) return p;
        if (p == blank || n == 32) return NULL;
        name[n] = p;
        p = skip_name(p);
        length[n] = (size_t)(p - name[n]);
        if (length[n] == 0 || p[0] != '=' || p[1] != '"') return NULL;
        for (int i = 0; i < n; i++)
            if (length[i] == length[n] && memcmp(name[i], name[n], length[n]) == 0) return NULL;
        n++;
        for (p += 2; *p != '"';) {
            if (!*p || *p == '<') return NULL;
            if (*p++ == '&' && !(p = skip_reference(p))) return NULL;
        }
        p++;
    }
}

/* NULL when well-formed, else where not. */
static const char *malformed(const char *text) {
    char open[DEPTH_MAX][NAME_MAX_SIZE];
    int depth = 0;
    const char *p = text;
    if (strncmp(p, "<?xml", 5) == 0) p = strstr(p, "?>") + 2;
    if (strncmp(p, "<!DOCTYPE html>", 15) == 0) p += 15;
    while (*p) {
        const char *at = p;
        if (*p == '&') {
            if (!(p = skip_reference(p + 1))) return at;
        } else if (*p != '<') {
            if ((unsigned char)*p < 0x20 && !isspace((unsigned char)*p)) return at;
            p++;
        } else {
            const bool closes = p[1] == '/';
            const char *name = p + 1 + closes;
            p = skip_name(name);
            const size_t n = (size_t)(p - name);
            if (n == 0 || n >= NAME_MAX_SIZE || !(p = skip_attributes(p))) return at;
            const bool empty = *p == '/';
            p += 1 + empty;
            if (closes) {
                if (depth == 0 || strlen(open[depth - 1]) != n) return at;
                if (memcmp(open[--depth], name, n) != 0) return at;
            } else if (!empty) {
                if (depth == DEPTH_MAX) return at;
                memcpy(open[depth], name, n);
                open[depth++][n] = '\0';
            }
        }
    }
    return depth == 0 ? NULL : p;
}

static void assert_well_formed(const hy__text *t) {
    assert_false(t->failed);
    const char *at = malformed(t->data);
    if (at) fail_msg("not well-formed at: %.200s", at);
    /* numbers that are none never reach a place */
    assert_null(strstr(t->data, "nan"));
    assert_null(strstr(t->data, "=\"inf"));
}

static void test_reader(void **state) {
    (void)state;
    assert_null(malformed("<a b=\"&lt;\"><c/>x &amp; &#39;</a>"));
    const char *const bad[] = {"<a>",   "<a></b>", "<a b=c/>",     "<a b=\"1\" b=\"2\"/>", "a & b",
                               "a < b", "</a>",    "<a b=\"<\"/>", "<a>\x01</a>"};
    for (int64_t i = 0; i < COUNT(bad); i++) assert_non_null(malformed(bad[i]));
}

/* ---- texts ---- */

static void test_text(void **state) {
    (void)state;
    hy__text t = {0};
    hy_error err = {0};
    size_t size = 0;
    for (int i = 0; i < 1000; i++) {
        hy__text_add(&t, "%d,", i);
        size += (size_t)(i < 10 ? 2 : i < 100 ? 3 : 4);
    }
    assert_int_equal(t.size, size);
    assert_int_equal(strlen(t.data), size);
    assert_memory_equal(t.data + size - 4, "999,", 5);
    assert_int_equal(hy__text_check(&t, &err), HY_OK);
    hy__text_release(&t);
    assert_null(t.data);

    t.failed = true; /* as after a lack of memory: nothing more is appended, and it is said */
    hy__text_put(&t, "x");
    hy__text_add(&t, "%d", 1);
    assert_int_equal(t.size, 0);
    assert_int_equal(hy__text_check(&t, &err), HY_E_MEMORY);
    assert_int_equal(hy__text_save(&t, "/nonexistent/x", &err), HY_E_MEMORY);
    assert_non_null(strstr(err.text, "/nonexistent/x"));
    hy__text_release(&t);
}

static void assert_escaped(const char *s, const char *want) {
    hy__text t = {0};
    hy__text_escape(&t, s);
    assert_string_equal(t.data ? t.data : "", want);
    hy__text_release(&t);
}

static void test_escape(void **state) {
    (void)state;
    assert_escaped("", "");
    assert_escaped("a<b & \"c\">'d'", "a&lt;b &amp; &quot;c&quot;&gt;&#39;d&#39;");
    assert_escaped("na\xc3\xafve \xf0\x9f\x90\x89", "na\xc3\xafve \xf0\x9f\x90\x89");
    assert_escaped("\x01\x7f\tx\n", "\xef\xbf\xbd\xef\xbf\xbd\tx\n");
    assert_escaped("\xff\xc3(", "\xef\xbf\xbd\xef\xbf\xbd(");
    assert_escaped("\xef\xbf\xbe", "\xef\xbf\xbd"); /* U+FFFE: UTF-8, but not XML */
}

/* A process that counts with commas writes the same. */
static void test_locale(void **state) {
    (void)state;
    const bool comma = setlocale(LC_ALL, "de_DE.UTF-8") != NULL;
    hy__text t = {0};
    hy__text_add(&t, "%.2f", 1.5);
    assert_string_equal(t.data, "1.50");
    assert_string_equal(hy__plain(0.25).text, "0.25");
    hy__text_release(&t);
    setlocale(LC_ALL, "C");
    if (!comma) print_message("note: no de_DE.UTF-8 here: the locale was not changed\n");
}

/* ---- numbers ---- */

static void test_numbers(void **state) {
    (void)state;
    const struct {
        hy__unit unit;
        double value;
        const char *want;
    } cases[] = {
        {HY__UNIT_PLAIN, 0, "0"},
        {HY__UNIT_PLAIN, -0.0, "0"},
        {HY__UNIT_PLAIN, 3.14159, "3.14"},
        {HY__UNIT_PLAIN, -0.000123, "-0.000123"},
        {HY__UNIT_PLAIN, 1.234e-7, "1.23e-7"},
        {HY__UNIT_PLAIN, 123456, "123456"},
        {HY__UNIT_PLAIN, 1.5e9, "1.5e9"},
        {HY__UNIT_PLAIN, NAN, "n/a"},
        {HY__UNIT_PLAIN, INFINITY, "inf"},
        {HY__UNIT_BYTES, -INFINITY, "-inf"},
        {HY__UNIT_PERCENT, 0.25, "25%"},
        {HY__UNIT_PERCENT, 0.99951, "100%"},
        {HY__UNIT_PERCENT, 0.0312, "3.12%"},
        {HY__UNIT_COUNT, 0, "0"},
        {HY__UNIT_COUNT, 7, "7"},
        {HY__UNIT_COUNT, 999.4, "999"},
        {HY__UNIT_COUNT, 999.6, "1K"},
        {HY__UNIT_COUNT, 512e3, "512K"},
        {HY__UNIT_COUNT, 29e6, "29M"},
        {HY__UNIT_COUNT, 999.7e6, "1B"},
        {HY__UNIT_COUNT, 1.603e9, "1.6B"},
        {HY__UNIT_COUNT, -29.31e6, "-29.3M"},
        {HY__UNIT_TOKENS, 512, "512"},
        {HY__UNIT_TOKENS, 1023, "1023"},
        {HY__UNIT_TOKENS, 1024, "1K"},
        {HY__UNIT_TOKENS, 1536, "1.5K"},
        {HY__UNIT_TOKENS, 65536, "64K"},
        {HY__UNIT_TOKENS, 1048576, "1M"},
        {HY__UNIT_BYTES, 999, "999 B"},
        {HY__UNIT_BYTES, 1000, "1 kB"},
        {HY__UNIT_BYTES, 17.18e9, "17.2 GB"},
        {HY__UNIT_BYTES, 2e12, "2 TB"},
        {HY__UNIT_FLOP, 143.2e12, "143 TFLOP"},
        {HY__UNIT_FLOP, 6e23, "600 ZFLOP"},
        {HY__UNIT_FLOP_RATE, 989e12, "989 TFLOP/s"},
        {HY__UNIT_BYTES_RATE, 3.35e12, "3.35 TB/s"},
        {HY__UNIT_COUNT_RATE, 12345, "12.3K/s"},
        {HY__UNIT_SECONDS, 0, "0 s"},
        {HY__UNIT_SECONDS, 3.2e-6, "3.2 us"},
        {HY__UNIT_SECONDS, 0.0125, "12.5 ms"},
        {HY__UNIT_SECONDS, 0.9999, "1 s"},
        {HY__UNIT_SECONDS, 59.99, "1 min"},
        {HY__UNIT_SECONDS, 5400, "1.5 h"},
        {HY__UNIT_SECONDS, 86400, "1 day"},
        {HY__UNIT_SECONDS, 4.2 * 86400, "4.2 days"},
        {HY__UNIT_SECONDS, 3 * 365.25 * 86400, "3 years"},
    };
    for (int64_t i = 0; i < COUNT(cases); i++)
        assert_string_equal(hy__number_show(cases[i].unit, cases[i].value).text, cases[i].want);
    assert_string_equal(hy__number_digits(HY__UNIT_COUNT, 1234567, 5).text, "1.2346M");
    assert_string_equal(hy__number_like(HY__UNIT_COUNT, 5e8, 2e9, 1).text, "0.5B");
    assert_string_equal(hy__number_like(HY__UNIT_COUNT, 0, 2e9, 1).text, "0");
    for (int e = -320; e <= 308; e++) /* fits its buffer, always */
        for (int u = HY__UNIT_PLAIN; u <= HY__UNIT_FLOP_RATE; u++)
            assert_true(strlen(hy__number_show((hy__unit)u, -9.87654321 * pow(10, e)).text) < 31);

    hy__text t = {0};
    hy__text_count(&t, 1e6);
    hy__text_bytes(&t, 1e6);
    hy__text_flop(&t, 1e6);
    hy__text_seconds(&t, 60);
    assert_string_equal(t.data, "1M1 MB1 MFLOP1 min");
    hy__text_release(&t);
}

/* ---- axes ---- */

/* The labels of an axis from lo to hi, with blanks between them. */
static void assert_ticks(hy__unit unit, hy__scale scale, double lo, double hi, bool round, int want,
                         const char *labels) {
    hy__ruler r;
    hy__text t = {0};
    hy__ruler_init(&r, unit, scale, (hy__range){lo, hi}, round, want);
    assert_true(r.n_tick <= want);
    for (int i = 0; i < r.n_tick; i++)
        hy__text_add(&t, "%s%s", i ? " " : "", hy__ruler_label(&r, r.tick[i]).text);
    assert_string_equal(t.data ? t.data : "", labels);
    hy__text_release(&t);
}

static void test_ticks(void **state) {
    (void)state;
    const hy__scale linear = HY__SCALE_LINEAR, log2 = HY__SCALE_LOG2, log10 = HY__SCALE_LOG10;
    assert_ticks(HY__UNIT_PLAIN, linear, 0, 9.3, true, 6, "0 2 4 6 8 10");
    assert_ticks(HY__UNIT_PLAIN, linear, 2.31, 3.02, true, 6, "2.2 2.4 2.6 2.8 3.0 3.2");
    assert_ticks(HY__UNIT_PLAIN, linear, -1, 1, true, 6, "-1.0 -0.5 0 0.5 1.0");
    assert_ticks(HY__UNIT_COUNT, linear, 0, 1.6e9, false, 5, "0 0.5B 1.0B 1.5B");
    assert_ticks(HY__UNIT_COUNT, linear, 0, 2, false, 9, "0 1 2");
    assert_ticks(HY__UNIT_COUNT, linear, 0, 1, false, 9, "0 1");
    assert_ticks(HY__UNIT_PERCENT, linear, 0, 1, true, 6, "0% 20% 40% 60% 80% 100%");
    assert_ticks(HY__UNIT_SECONDS, linear, 0, 5400, false, 6, "0 20 min 40 min 60 min 80 min");
    assert_ticks(HY__UNIT_TOKENS, linear, 0, 65536, true, 5, "0 16K 32K 48K 64K");
    assert_ticks(HY__UNIT_TOKENS, log2, 1024, 1 << 20, false, 6, "1K 4K 16K 64K 256K 1M");
    assert_ticks(HY__UNIT_TOKENS, log2, 512, 16384, false, 9, "512 1K 2K 4K 8K 16K");
    assert_ticks(HY__UNIT_TOKENS, log2, 1500, 1900, false, 6, "1.500K 1.625K 1.750K");
    assert_ticks(HY__UNIT_PLAIN, log10, 0.9, 30, false, 9, "1 2 5 10 20");
    assert_ticks(HY__UNIT_FLOP, log10, 1e9, 1e15, true, 4, "1 GFLOP 1 TFLOP 1 PFLOP");
    assert_ticks(HY__UNIT_SECONDS, log10, 0.001, 1e5, false, 9, "10 ms 1 s 1 min 1 h 1 day");
    assert_ticks(HY__UNIT_BYTES, log10, 3e6, 4e9, true, 5, "1 MB 10 MB 100 MB 1 GB 10 GB");
}

/* Axes of no width, of nothing, and far out: ticks there are, and places are places. */
static void test_ranges(void **state) {
    (void)state;
    const double ends[] = {0, 1, -1, 1e-300, 1e300, -1e300, 3.14, 1e-9, 5e-324};
    for (int scale = HY__SCALE_LINEAR; scale <= HY__SCALE_LOG10; scale++)
        for (int unit = HY__UNIT_PLAIN; unit <= HY__UNIT_FLOP_RATE; unit++)
            for (int64_t i = 0; i < COUNT(ends); i++)
                for (int64_t k = 0; k < COUNT(ends); k++) {
                    hy__range range = {INFINITY, -INFINITY};
                    hy__range_add(&range, (hy__scale)scale, ends[i]);
                    hy__range_add(&range, (hy__scale)scale, ends[k]);
                    hy__range_add(&range, (hy__scale)scale, NAN);
                    hy__ruler r;
                    hy__ruler_init(&r, (hy__unit)unit, (hy__scale)scale, range, i % 2, 6);
                    r.from = 10;
                    r.to = 20;
                    assert_true(r.lo < r.hi);
                    assert_true(r.n_tick >= 0 && r.n_tick <= 6);
                    for (int j = 0; j < r.n_tick; j++) {
                        const double at = hy__ruler_at(&r, r.tick[j]);
                        assert_true(at > 9.99 && at < 20.01);
                    }
                }
    hy__ruler r;
    hy__ruler_init(&r, HY__UNIT_PLAIN, HY__SCALE_LOG10, (hy__range){1, 10}, false, 5);
    assert_true(isnan(hy__ruler_at(&r, 0)) && isnan(hy__ruler_at(&r, -1)));
}

/* ---- charts ---- */

static int occurrences(const char *text, const char *what) {
    int n = 0;
    for (; (text = strstr(text, what)); text += strlen(what)) n++;
    return n;
}

/* The chart as text, checked; the caller's to free. */
static char *drawn(const hy__chart *c) {
    hy__text t = {0}, again = {0}, alone = {0};
    hy__chart_svg(&t, c);
    hy__chart_svg(&again, c);
    hy__chart_document(&alone, c);
    assert_well_formed(&t);
    assert_well_formed(&alone);
    assert_string_equal(t.data, again.data);
    assert_null(strstr(alone.data, " id=\""));
    hy__text_release(&again);
    hy__text_release(&alone);
    return t.data;
}

static const hy__chart_kind all_kinds[] = {HY__CHART_LINES, HY__CHART_AREAS, HY__CHART_STACKED_BARS,
                                           HY__CHART_GROUPED_BARS, HY__CHART_HEAT};

/* Whatever is in the data and however small the chart. */
static void test_any_data(void **state) {
    (void)state;
    const double x[] = {1, 2, 3, 4, 5, 6}, none[6] = {NAN, NAN, NAN, INFINITY, -INFINITY, NAN};
    const double mixed[] = {1e9, NAN, -3, 0, INFINITY, 7}, one[] = {42};
    const double lo[] = {1, NAN, -4, 0, 1, 6}, hi[] = {2e9, 3, -2, NAN, 2, 9};
    const hy__series series[] = {
        {.name = "mixed <&>", .x = x, .y = mixed, .lo = lo, .hi = hi, .n = 6, .markers = true},
        {.name = "none", .x = x, .y = none, .n = 6},
        {.name = "one", .x = x, .y = one, .n = 1, .dashed = true},
        {.name = "empty"},
        {.x = mixed, .y = x, .n = 6, .faint = true},
        {.name = "\xff", .y = x, .n = 6, .color = 99},
    };
    const char *const category[] = {"a \"b\"", NULL, "a name that is far too long for the place"};
    const hy__mark mark[] = {{3, "here"}, {NAN, "nowhere"}, {3, NULL}, {1e300, "far"}};
    for (int64_t k = 0; k < COUNT(all_kinds); k++)
        for (int scale = HY__SCALE_LINEAR; scale <= HY__SCALE_LOG10; scale++)
            for (int n = 0; n <= 6; n++)
                for (int width = 0; width < 3; width++) {
                    const hy__chart c = {.kind = all_kinds[k],
                                         .title = "any <data>",
                                         .x = {.scale = (hy__scale)scale,
                                               .label = "x",
                                               .mark = mark,
                                               .n_mark = n % 5},
                                         .y = {.scale = (hy__scale)scale,
                                               .label = "y",
                                               .mark = mark,
                                               .n_mark = (n + 2) % 5},
                                         .series = series,
                                         .n_series = n,
                                         .category = category,
                                         .n_category = n % 4,
                                         .width = (const double[]){0, 350, 40}[width],
                                         .height = (const double[]){0, 0, 10}[width]};
                    free(drawn(&c));
                    hy__chart fixed = c; /* ends that cut through the data, or make no sense */
                    fixed.x.min = (const double[]){-1, 2, -INFINITY}[width];
                    fixed.y.min = fixed.x.min;
                    fixed.x.max = (const double[]){4, INFINITY, 3}[width];
                    fixed.y.max = fixed.x.max;
                    free(drawn(&fixed));
                }
}

static void test_gaps(void **state) {
    (void)state;
    const double y[] = {1, 2, NAN, 4, 5, INFINITY, 7};
    const hy__series s = {.y = y, .n = 7};
    const hy__chart c = {.series = &s, .n_series = 1};
    char *text = drawn(&c);
    /* two lines of two points, and the last point alone as a dot */
    const char *path = strstr(text, "stroke-linecap");
    const char *d = strstr(path, " d=\"") + 4;
    const size_t n = strcspn(d, "\"");
    int moves = 0, lines = 0;
    for (size_t i = 0; i < n; i++) {
        moves += d[i] == 'M';
        lines += d[i] == 'L';
    }
    assert_int_equal(moves, 3);
    assert_int_equal(lines, 2);
    assert_int_equal(occurrences(text, "r=\"3\""), 1);
    free(text);
}

/* Areas begin where there is something to stack, and do not rise from 0 to there. */
static void test_area_gap(void **state) {
    (void)state;
    const double a[] = {NAN, NAN, 1, 2}, b[] = {NAN, NAN, NAN, 2};
    const hy__series s[] = {{.y = a, .n = 4}, {.y = b, .n = 4}};
    const hy__chart c = {.kind = HY__CHART_AREAS, .series = s, .n_series = 2, .width = 300};
    char *text = drawn(&c);
    for (const char *at = text; (at = strstr(at, "opacity=\".85\"")); at++) {
        double x, y;
        assert_int_equal(sscanf(strstr(at, " d=\"") + 4, "M%lf %lf", &x, &y), 2);
        assert_true(x > 150);
    }
    assert_int_equal(occurrences(text, "opacity=\".85\""), 2);
    free(text);
}

/* A logarithmic axis leaves out what is not positive, and spans the rest. */
static void test_log_skips(void **state) {
    (void)state;
    const double x[] = {-1, 0, 1024, 2048, 4096}, y[] = {1, 1, 1, 2, 3};
    const hy__series s = {.x = x, .y = y, .n = 5, .markers = true};
    const hy__chart c = {
        .x = {.scale = HY__SCALE_LOG2, .unit = HY__UNIT_TOKENS}, .series = &s, .n_series = 1};
    char *text = drawn(&c);
    assert_int_equal(occurrences(text, "r=\"3\""), 3);
    assert_non_null(strstr(text, ">1K</text>"));
    assert_non_null(strstr(text, ">4K</text>"));
    free(text);
}

/* Lines with ends apart have their names there; with ends in one place a legend; colours stay. */
static void test_names(void **state) {
    (void)state;
    const double a[] = {1, 2, 3}, b[] = {3, 2, 1}, same[] = {3, 2, 1.01};
    hy__series s[] = {{.name = "up", .y = a, .n = 3}, {.name = "down", .y = b, .n = 3}};
    hy__chart c = {.series = s, .n_series = 2, .height = 300};
    char *text = drawn(&c);
    assert_non_null(strstr(text, ">up</text>"));
    assert_null(strstr(text, "h14")); /* a legend's line */
    free(text);
    hy__series many[14];
    for (int i = 0; i < 14; i++) many[i] = (hy__series){.name = "alike", .y = same, .n = 3};
    c.series = many;
    c.n_series = 14;
    text = drawn(&c);
    assert_int_equal(occurrences(text, "h14"), 14);
    free(text);

    s[0].color = 2;
    c.series = s;
    c.n_series = 1;
    text = drawn(&c);
    assert_non_null(strstr(text, "hy-c2"));
    assert_null(strstr(text, "hy-c1\""));
    free(text);
}

/* A long curve is thinned, and its one spike stays. */
static void test_thinned(void **state) {
    (void)state;
    enum { N = 100000 };
    double *y = calloc(N, sizeof *y);
    assert_non_null(y);
    for (int i = 0; i < N; i++) y[i] = 1 + 0.1 * sin(i * 0.01);
    y[77777] = 50;
    const hy__series s = {.y = y, .n = N};
    const hy__chart c = {.y = {.min = 0, .max = 50}, .series = &s, .n_series = 1, .height = 300};
    char *text = drawn(&c);
    assert_true(strlen(text) < 60000);
    assert_non_null(strstr(text, " 8L")); /* the box's top: above it stands nothing */
    free(y);
    free(text);
}

static void test_bars(void **state) {
    (void)state;
    const double a[] = {600, 300}, b[] = {200, 100}, lo[] = {500, 250}, hi[] = {700, 350};
    const char *const names[] = {"total", "active"};
    hy__series s[] = {{.name = "S", .y = a, .n = 2}, {.name = "E", .y = b, .n = 2}};
    hy__chart c = {.kind = HY__CHART_STACKED_BARS,
                   .series = s,
                   .n_series = 2,
                   .category = names,
                   .n_category = 2};
    char *text = drawn(&c);
    assert_non_null(strstr(text, "<title>active, E: 100</title>"));
    assert_non_null(strstr(text, ">800</text>")); /* the sum */
    free(text);
    c.kind = HY__CHART_GROUPED_BARS;
    s[0].lo = lo;
    s[0].hi = hi;
    text = drawn(&c);
    assert_int_equal(occurrences(text, "<rect"), 4 + 2); /* bars, legend */
    assert_int_equal(occurrences(text, "v6M") + occurrences(text, "h6M"), 4);
    free(text);
}

static void test_heat(void **state) {
    (void)state;
    const double a[] = {0, 0.5, 1}, b[] = {1, NAN, 0};
    const hy__series s[] = {{.name = "e0", .y = a, .n = 3}, {.name = "e1", .y = b, .n = 3}};
    const hy__chart c = {.kind = HY__CHART_HEAT,
                         .x = {.label = "step"},
                         .y = {.unit = HY__UNIT_PERCENT},
                         .series = s,
                         .n_series = 2};
    char *text = drawn(&c);
    assert_int_equal(occurrences(text, "<rect"), 5 + 24); /* cells that are numbers, the scale */
    assert_non_null(strstr(text, "<title>e0, step 2: 100%</title>"));
    free(text);
    /* categories all have their names, however long one of them is */
    const char *const name[] = {"src", "docs", "a corpus of many words and more"};
    hy__chart by_name = c;
    by_name.category = name;
    by_name.n_category = 3;
    by_name.width = 400;
    text = drawn(&by_name);
    assert_non_null(strstr(text, ">src</text>"));
    assert_non_null(strstr(text, ">docs</text>"));
    assert_non_null(strstr(text, "<title>a corpus of many words and more</title>"));
    free(text);
}

/* The y from which the line of a mark runs down. */
static double mark_top(const char *text, const char *title) {
    const char *at = strstr(text, title);
    assert_non_null(at);
    while (strncmp(at, "<path", 5) != 0) at--;
    double x, y;
    assert_int_equal(sscanf(at, "<path d=\"M%lf %lfV", &x, &y), 2);
    return y;
}

/* A label that reaches over the next mark stands in the row above; marks far away are not drawn
 * where the axis is fixed, and extend it where it is not. */
static void test_marks(void **state) {
    (void)state;
    const double y[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    const hy__series s = {.y = y, .n = 10};
    const hy__mark x_mark[] = {{4.2, "second"}, {4, "first"}, {8, "third"}}, y_mark = {50, "limit"};
    hy__chart c = {.x = {.mark = x_mark, .n_mark = 3, .unit = HY__UNIT_COUNT},
                   .y = {.mark = &y_mark, .n_mark = 1},
                   .series = &s,
                   .n_series = 1};
    char *text = drawn(&c);
    const double first = mark_top(text, "<title>first: 4</title>");
    const double second = mark_top(text, "<title>second: 4.2</title>");
    assert_true(first + 10 < second);
    assert_true(second == mark_top(text, "<title>third: 8</title>"));
    assert_non_null(strstr(text, ">limit</text>"));
    assert_non_null(strstr(text, ">50</text>"));
    free(text);
    c.y.max = 10;
    c.x.max = 5;
    text = drawn(&c);
    assert_null(strstr(text, "limit"));
    assert_null(strstr(text, "third"));
    assert_non_null(strstr(text, "overflow=\"hidden\""));
    free(text);
}

/* Under the pointer a line tells its values, with the band's. */
static void test_tells(void **state) {
    (void)state;
    const double x[] = {1024, 4096}, y[] = {0.5, 0.25}, lo[] = {0.4, 0.2}, hi[] = {0.6, 0.3};
    const hy__series s[] = {{.name = "W", .x = x, .y = y, .lo = lo, .hi = hi, .n = 2},
                            {.name = "late", .x = x + 1, .y = y, .n = 1}};
    const hy__chart c = {.x = {.label = "tokens", .unit = HY__UNIT_TOKENS},
                         .y = {.unit = HY__UNIT_PERCENT},
                         .series = s,
                         .n_series = 2};
    char *text = drawn(&c);
    assert_non_null(strstr(text, "<title>tokens: 1K\nW: 50% (40% to 60%)</title>"));
    assert_non_null(strstr(text, "<title>tokens: 4K\nW: 25% (20% to 30%)\nlate: 50%</title>"));
    free(text);
}

static void test_nothing(void **state) {
    (void)state;
    for (int64_t k = 0; k < COUNT(all_kinds); k++) {
        const hy__chart c = {.kind = all_kinds[k]};
        char *text = drawn(&c);
        assert_non_null(strstr(text, ">no data</text>"));
        free(text);
    }
}

/* ---- pages ---- */

static void build(hy__page *p) {
    const double y[] = {1, 2};
    const hy__series s = {.name = "a", .y = y, .n = 2};
    const hy__chart c = {.title = "A & B", .series = &s, .n_series = 1};
    hy__page_begin(p, "Plan of %s", "<x>");
    hy__page_tiles(p);
    hy__page_item(p, "parameters", "%s", hy__count(1.6e9).text);
    hy__page_list_end(p);
    hy__page_heading(p, 2, "A %d", 1);
    hy__page_paragraph(p, "say `a < b` and `unclosed %s", "\x02");
    hy__page_table(p, (const hy__column[]){{"name", false}, {"n", true}}, 2);
    hy__page_cell_link(p, "a.html?b=1&c=2", "row %d", 1);
    hy__page_cell(p, "%d", 17);
    hy__page_row_total(p);
    hy__page_cell(p, "sum");
    hy__page_cell(p, "17");
    hy__page_table_end(p);
    hy__page_grid(p);
    hy__page_figure(p, &c, "first");
    hy__page_figure(p, &c, NULL);
    hy__page_grid_end(p);
    hy__page_details(p, "more");
    hy__page_code(p, "a\n  <b>\n");
    hy__page_details_end(p);
    hy__page_list(p);
    hy__page_item(p, "seed", "3");
    hy__page_list_end(p);
    hy__page_note(p, "small");
}

static void test_page(void **state) {
    (void)state;
    hy__page p = {0}, q = {0};
    hy_error err = {0};
    char path[] = "/tmp/hy_page_XXXXXX", *data = NULL;
    size_t size = 0;
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    build(&p);
    build(&q);
    assert_int_equal(hy__page_save(&p, path, &err), HY_OK);
    hy__page_end(&q);
    assert_well_formed(&p.text);
    assert_string_equal(p.text.data, q.text.data);
    assert_int_equal(hy__file_read(path, 1 << 24, &data, &size, &err), HY_OK);
    assert_string_equal(data, p.text.data);
    assert_non_null(strstr(data, "<title>Plan of &lt;x&gt;</title>"));
    assert_non_null(strstr(data, "<code>a &lt; b</code>"));
    assert_non_null(strstr(data, "<td class=\"n\">17</td>"));
    assert_non_null(strstr(data, "<tr class=\"total\"><th scope=\"row\">sum</th>"));
    assert_non_null(strstr(data, "href=\"a.html?b=1&amp;c=2\""));
    /* nothing is asked of anyone: names of formats are the only addresses */
    assert_int_equal(occurrences(data, "http"), occurrences(data, "xmlns=\"http"));
    assert_null(strstr(data, "<script"));
    assert_null(strstr(data, "url("));
    assert_null(strstr(data, "@import"));
    unlink(path);
    free(data);
    hy__page_release(&p);
    hy__page_release(&q);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reader),    cmocka_unit_test(test_text),
        cmocka_unit_test(test_escape),    cmocka_unit_test(test_locale),
        cmocka_unit_test(test_numbers),   cmocka_unit_test(test_ticks),
        cmocka_unit_test(test_ranges),    cmocka_unit_test(test_any_data),
        cmocka_unit_test(test_gaps),      cmocka_unit_test(test_area_gap),
        cmocka_unit_test(test_log_skips), cmocka_unit_test(test_names),
        cmocka_unit_test(test_thinned),   cmocka_unit_test(test_bars),
        cmocka_unit_test(test_heat),      cmocka_unit_test(test_page),
        cmocka_unit_test(test_marks),     cmocka_unit_test(test_tells),
        cmocka_unit_test(test_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
