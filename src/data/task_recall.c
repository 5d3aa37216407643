/* task_recall.c: associative recall of many pairs (MQAR, Arora et al. 2023, arXiv 2312.04927).
 * Pairs of a key and its value, then every key again, in another order, and its value is asked.
 * Keys are letters and digits, values are marks: were they the same symbols, it would be asked too
 * which of a symbol's places is meant. */
#include "data/task.h"

enum { PAIRS, GAP };

static const char VALUE[] = "!#$%&*/:;=?@^_|~";
enum { VALUES = sizeof VALUE - 1 };

static hy_status plan(hy__task *t, hy_error *err) {
    (void)err;
    t->len = 4 * t->number[PAIRS] + t->number[GAP] + 2;
    return HY_OK;
}

static void write(const hy__task *t, hy__task_doc *d) {
    int64_t key[HY__TASK_SYMBOLS], order[HY__TASK_SYMBOLS];
    int value[HY__TASK_SYMBOLS];
    const int64_t n = t->number[PAIRS];
    hy__task_choose(d, key, n, HY__TASK_SYMBOLS);
    hy__task_choose(d, order, n, n);
    for (int64_t i = 0; i < n; i++) {
        value[i] = VALUE[hy__task_draw(d, VALUES)];
        hy__task_say(d, hy__task_symbol(key[i]));
        hy__task_say(d, value[i]);
    }
    hy__task_say(d, '\n');
    for (int64_t i = 0; i < t->number[GAP]; i++) hy__task_say(d, '.');
    hy__task_say(d, '\n');
    for (int64_t i = 0; i < n; i++) {
        hy__task_say(d, hy__task_symbol(key[order[i]]));
        hy__task_ask(d, value[order[i]]);
    }
}

/* Of the values that stand there and were not asked yet; others may be the same symbol. */
static double chance(const hy__task *t) {
    const double n = (double)t->number[PAIRS];
    double sum = 0.0;
    for (double left = n; left >= 1.0; left--) sum += 1.0 / left + (left - 1.0) / left / VALUES;
    return sum / n;
}

const hy__task_kind hy__task_recall = {
    .name = "recall",
    .doc = "the values of many keys, in another order",
    .number = {[PAIRS] = {"pairs", 16, 1, HY__TASK_SYMBOLS, "keys with their values"},
               [GAP] = {"gap", 0, 0, 1 << 20, "points between the pairs and the questions"}},
    .plan = plan,
    .write = write,
    .chance = chance,
};
