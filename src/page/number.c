/* number.c: see number.h. A table per unit says where the next larger name begins. */
#include "page/number.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct step {
    double size;
    const char *name; /* with the blank before it, if it has one */
} step;

static const step count_steps[] = {{1, ""},    {1e3, "K"},  {1e6, "M"},
                                   {1e9, "B"}, {1e12, "T"}, {0, NULL}};
static const step tokens_steps[] = {{1, ""},       {0x1p10, "K"}, {0x1p20, "M"},
                                    {0x1p30, "G"}, {0x1p40, "T"}, {0, NULL}};
static const step bytes_steps[] = {{1, " B"},     {1e3, " kB"},  {1e6, " MB"},  {1e9, " GB"},
                                   {1e12, " TB"}, {1e15, " PB"}, {1e18, " EB"}, {0, NULL}};
static const step flop_steps[] = {
    {1, " FLOP"},     {1e3, " kFLOP"},  {1e6, " MFLOP"},  {1e9, " GFLOP"},  {1e12, " TFLOP"},
    {1e15, " PFLOP"}, {1e18, " EFLOP"}, {1e21, " ZFLOP"}, {1e24, " YFLOP"}, {0, NULL}};
static const step seconds_steps[] = {
    {1e-9, " ns"}, {1e-6, " us"}, {1e-3, " ms"},    {1, " s"},
    {60, " min"},  {3600, " h"},  {86400, " days"}, {365.25 * 86400, " years"},
    {0, NULL}};

static const struct unit {
    const step *steps; /* NULL: one name for all sizes */
    const char *after;
    double factor;
} units[] = {
    [HY__UNIT_PLAIN] = {NULL, "", 1},
    [HY__UNIT_PERCENT] = {NULL, "%", 100},
    [HY__UNIT_COUNT] = {count_steps, "", 1},
    [HY__UNIT_TOKENS] = {tokens_steps, "", 1},
    [HY__UNIT_BYTES] = {bytes_steps, "", 1},
    [HY__UNIT_FLOP] = {flop_steps, "", 1},
    [HY__UNIT_SECONDS] = {seconds_steps, "", 1},
    [HY__UNIT_COUNT_RATE] = {count_steps, "/s", 1},
    [HY__UNIT_BYTES_RATE] = {bytes_steps, "/s", 1},
    [HY__UNIT_FLOP_RATE] = {flop_steps, "/s", 1},
};

/* Decimals that show so many significant digits; digits before the point are never cut. */
static int decimals_of(double value, int digits) {
    const double size = fabs(value);
    const int order = size > 0 && isfinite(size) ? (int)floor(log10(size) + 1e-12) : 0;
    return digits - 1 > order ? digits - 1 - order : 0;
}

/* The value as it will be printed: 999.6 in three digits is 1000. */
static double rounded(double value, int digits) {
    const double scale = pow(10, decimals_of(value, digits));
    return isfinite(value * scale) ? round(value * scale) / scale : value;
}

/* Prints without the zeros at the end; far from 1 with an exponent. */
static void print_short(hy__number *out, double value, int digits) {
    const double size = fabs(value);
    if (size != 0 && (size < 1e-4 || size >= 1e7)) {
        hy__print(out->text, sizeof out->text, "%.*g", digits, value);
        char *e = strchr(out->text, 'e'); /* e-05 -> e-5 */
        if (e) hy__print(e, sizeof out->text - (size_t)(e - out->text), "e%d", atoi(e + 1));
        return;
    }
    hy__print(out->text, sizeof out->text, "%.*f", decimals_of(value, digits), value);
    if (!strchr(out->text, '.')) return;
    char *end = out->text + strlen(out->text);
    while (end[-1] == '0') end--;
    if (end[-1] == '.') end--;
    *end = '\0';
}

/* Words lose their s after a 1 (" days", " years"); abbreviations (" s", " ms") are shorter. */
static void put_name(hy__number *out, const char *name) {
    const size_t used = strlen(out->text), n = strlen(name);
    const bool one = strcmp(out->text, "1") == 0 && n > 4 && name[n - 1] == 's';
    hy__print(out->text + used, sizeof out->text - used, "%.*s", (int)(n - one), name);
}

/* Where the value is named: the largest step that it fills once rounded. */
static const step *step_of(const struct unit *u, double value, int digits) {
    const step *s = u->steps;
    if (value == 0)
        while (s->size < 1) s++; /* nothing is 0 s, not 0 ns */
    else
        while (s[1].size > 0 && fabs(rounded(value / s->size, digits)) >= s[1].size / s->size) s++;
    return s;
}

double hy__unit_size(hy__unit unit, double value) {
    const struct unit *u = &units[unit];
    return u->steps ? step_of(u, value, 3)->size : 1 / u->factor;
}

/* What is no number; NULL for a number. */
static const char *name_of_special(double value) {
    if (isnan(value)) return "n/a";
    if (isinf(value)) return value < 0 ? "-inf" : "inf";
    return NULL;
}

hy__number hy__number_digits(hy__unit unit, double value, int digits) {
    hy__number out;
    const struct unit *u = &units[unit];
    const char *special = name_of_special(value);
    if (value == 0) value = 0; /* no minus */
    if (special) {
        hy__print(out.text, sizeof out.text, "%s", special);
    } else if (!u->steps) {
        print_short(&out, rounded(value * u->factor, digits), digits);
        put_name(&out, u->after);
    } else {
        const step *s = step_of(u, value, digits);
        print_short(&out, rounded(value / s->size, digits), digits);
        put_name(&out, s->name);
        put_name(&out, u->after);
    }
    return out;
}

hy__number hy__number_like(hy__unit unit, double value, double like, int decimals) {
    hy__number out;
    const struct unit *u = &units[unit];
    const double shown = value / hy__unit_size(unit, like);
    if (!isfinite(shown) || fabs(shown) >= 1e7 || decimals > 6)
        return hy__number_digits(unit, value, decimals > 12 ? 15 : decimals + 3);
    if (shown == 0 && u->steps) return (hy__number){"0"};
    hy__print(out.text, sizeof out.text, "%.*f", shown == 0 ? 0 : decimals, shown == 0 ? 0 : shown);
    if (u->steps) put_name(&out, step_of(u, like, 3)->name);
    put_name(&out, u->after);
    return out;
}

hy__number hy__number_show(hy__unit unit, double value) {
    return hy__number_digits(unit, value, 3);
}

void hy__text_number(hy__text *t, hy__unit unit, double value) {
    hy__text_put(t, hy__number_show(unit, value).text);
}

void hy__text_count(hy__text *t, double n) {
    hy__text_number(t, HY__UNIT_COUNT, n);
}

void hy__text_bytes(hy__text *t, double n) {
    hy__text_number(t, HY__UNIT_BYTES, n);
}

void hy__text_flop(hy__text *t, double n) {
    hy__text_number(t, HY__UNIT_FLOP, n);
}

void hy__text_seconds(hy__text *t, double s) {
    hy__text_number(t, HY__UNIT_SECONDS, s);
}

json_t *hy__number_json(double value) {
    if (!isfinite(value)) return json_null();
    if (value == floor(value) && fabs(value) < 0x1p53) return json_integer((json_int_t)value);
    return json_real(value);
}
