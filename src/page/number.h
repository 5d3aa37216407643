/* number.h: numbers as people read them, on a terminal and on a page.
 *
 * Three significant digits and a unit: 1.6B, 29.3M, 17.2 GB, 143 TFLOP, 3.5 h. ASCII only, so that
 * columns line up with printf; not a number is "n/a". Written for `printf("%s",
 * hy__count(n).text)`: no buffer, nothing to free. */
#ifndef HY_PAGE_NUMBER_H
#define HY_PAGE_NUMBER_H

#include "page/text.h"

typedef enum hy__unit {
    HY__UNIT_PLAIN,      /* 0.0123, 3.21, 1500 */
    HY__UNIT_PERCENT,    /* of a fraction: 0.25 is 25% */
    HY__UNIT_COUNT,      /* things: 512, 29.3K, 1.6B */
    HY__UNIT_TOKENS,     /* a length in tokens, thousands of 1024: 64K is 65536 */
    HY__UNIT_BYTES,      /* decimal: a kB is 1000 B */
    HY__UNIT_FLOP,       /* floating point operations */
    HY__UNIT_SECONDS,    /* from ns to years */
    HY__UNIT_COUNT_RATE, /* per second */
    HY__UNIT_BYTES_RATE,
    HY__UNIT_FLOP_RATE,
} hy__unit;

typedef struct hy__number {
    char text[32];
} hy__number;

hy__number hy__number_show(hy__unit unit, double value);

/* With that many significant digits (1 … 15), for values that lie close together. */
hy__number hy__number_digits(hy__unit unit, double value, int digits);

/* For the labels of one axis: all in the unit that `like` is shown in, with so many decimals; zero
 * needs no unit. */
hy__number hy__number_like(hy__unit unit, double value, double like, int decimals);

/* What one is in the unit that the value is shown in: 1e9 for 2 GB, 60 for 5 min. */
double hy__unit_size(hy__unit unit, double value);

static inline hy__number hy__plain(double value) {
    return hy__number_show(HY__UNIT_PLAIN, value);
}
static inline hy__number hy__percent(double share) {
    return hy__number_show(HY__UNIT_PERCENT, share);
}
static inline hy__number hy__count(double n) {
    return hy__number_show(HY__UNIT_COUNT, n);
}
static inline hy__number hy__tokens(double n) {
    return hy__number_show(HY__UNIT_TOKENS, n);
}
static inline hy__number hy__bytes(double n) {
    return hy__number_show(HY__UNIT_BYTES, n);
}
static inline hy__number hy__flop(double n) {
    return hy__number_show(HY__UNIT_FLOP, n);
}
static inline hy__number hy__seconds(double s) {
    return hy__number_show(HY__UNIT_SECONDS, s);
}

struct json_t; /* jansson's */
/* As JSON: an integer where it is one, null where it is not finite; the caller's. */
struct json_t *hy__number_json(double value);

/* Appended to a text. */
void hy__text_number(hy__text *t, hy__unit unit, double value);
void hy__text_count(hy__text *t, double n);
void hy__text_bytes(hy__text *t, double n);
void hy__text_flop(hy__text *t, double n);
void hy__text_seconds(hy__text *t, double s);

#endif
