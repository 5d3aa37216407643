/* task_sums.c: arithmetic as it is written down: "47+85=132", every digit of the sum asked, from
 * the first on. No two numbers are added twice in a document, in either order. */
#include "data/task.h"

#include <stdio.h>

enum { DIGITS, QUESTIONS };
enum { DIGITS_MAX = 5, QUESTIONS_MAX = 64, ONE_DIGIT_MAX = 40 /* of their 45 pairs */ };

static hy_status plan(hy__task *t, hy_error *err) {
    t->len = t->number[QUESTIONS] * (3 * t->number[DIGITS] + 4);
    if (t->number[DIGITS] > 1 || t->number[QUESTIONS] <= ONE_DIGIT_MAX) return HY_OK;
    return hy__fail(err, HY_E_INVALID,
                    "task:sums: questions is %lld, wanted at most %d of numbers of one digit",
                    (long long)t->number[QUESTIONS], ONE_DIGIT_MAX);
}

/* The least number of so many digits; no number begins with a 0. */
static int64_t least(int64_t digits) {
    return digits == 1 ? 1 : 10 * least(digits - 1);
}

static void draw_pair(const hy__task *t, hy__task_doc *d, int64_t pair[2]) {
    const int64_t from = least(t->number[DIGITS]);
    for (int i = 0; i < 2; i++) pair[i] = from + hy__task_draw(d, 9 * from);
}

static bool is_new(int64_t (*pair)[2], int64_t n) {
    const int64_t a = pair[n][0], b = pair[n][1];
    for (int64_t i = 0; i < n; i++)
        if ((pair[i][0] == a && pair[i][1] == b) || (pair[i][0] == b && pair[i][1] == a))
            return false;
    return true;
}

static void write(const hy__task *t, hy__task_doc *d) {
    int64_t pair[QUESTIONS_MAX][2];
    for (int64_t i = 0; i < t->number[QUESTIONS]; i++) {
        char text[2 * DIGITS_MAX + 3], sum[DIGITS_MAX + 2];
        do draw_pair(t, d, pair[i]);
        while (!is_new(pair, i));
        const int a = (int)pair[i][0], b = (int)pair[i][1];
        snprintf(text, sizeof text, "%d+%d=", a, b);
        snprintf(sum, sizeof sum, "%d", a + b);
        hy__task_text(d, text);
        for (const char *c = sum; *c; c++) hy__task_ask(d, *c);
        hy__task_say(d, '\n');
    }
}

/* How many pairs of numbers from `low` to `high` have a sum from `from` to below `end`. */
static double pairs(int64_t low, int64_t high, int64_t from, int64_t end) {
    double n = 0.0;
    for (int64_t s = from > 2 * low ? from : 2 * low; s < end && s <= 2 * high; s++)
        n += (double)((s <= low + high ? s - 2 * low : 2 * high - s) + 1);
    return n;
}

/* The likeliest digit, given the sum's digits before it. */
static double chance(const hy__task *t) {
    const int64_t n = t->number[DIGITS], low = least(n), high = 10 * low - 1;
    double asked = 0.0, right = 0.0, first = 0.0;
    for (int64_t len = n; len <= n + 1; len++) {
        const int64_t from = least(len), end = 10 * from;
        asked += (double)len * pairs(low, high, from, end);
        for (int64_t s = from; s < end; s += from)
            first = pairs(low, high, s, s + from) > first ? pairs(low, high, s, s + from) : first;
        for (int64_t one = from / 10; one > 0; one /= 10) /* what a digit of this place counts */
            for (int64_t known = from; known < end; known += 10 * one) {
                double best = 0.0;
                for (int64_t s = known; s < known + 10 * one; s += one) {
                    const double likely = pairs(low, high, s, s + one);
                    best = likely > best ? likely : best;
                }
                right += best;
            }
    }
    return (first + right) / asked;
}

const hy__task_kind hy__task_sums = {
    .name = "sums",
    .doc = "sums of two numbers, digit by digit",
    .number = {[DIGITS] = {"digits", 2, 1, DIGITS_MAX, "digits of each number"},
               [QUESTIONS] = {"questions", 16, 1, QUESTIONS_MAX, "sums in a document"}},
    .plan = plan,
    .write = write,
    .chance = chance,
};
