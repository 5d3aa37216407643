/* task_recall.c: associative recall of many pairs (MQAR, Arora et al. 2023, arXiv 2312.04927).
 * Pairs of a key and its value, then every key again, in another order, and its value is asked.
 * Keys are letters and digits, one or two of them, and values are marks: were they the same
 * symbols, it would be asked too which of a symbol's places is meant. */
#include "base/rng.h"
#include "data/task.h"

enum { PAIRS, KEY, GAP };
enum { MOST_PAIRS = 512 };

static const char VALUE[] = "!#$%&*/:;=?@^_|~";
enum { VALUES = sizeof VALUE - 1 };

/* How many keys there are. */
static int64_t keys_of(const hy__task *t) {
    return t->number[KEY] == 1 ? HY__TASK_SYMBOLS : HY__TASK_SYMBOLS * HY__TASK_SYMBOLS;
}

static hy_status plan(hy__task *t, hy_error *err) {
    const int64_t n = t->number[PAIRS];
    t->len = 2 * (t->number[KEY] + 1) * n + t->number[GAP] + 2;
    if (n <= keys_of(t)) return HY_OK;
    return hy__fail(
        err, HY_E_INVALID,
        "task:recall: pairs is %lld, wanted at most %lld, the keys of one symbol; there "
        "are more with key=2",
        (long long)n, (long long)keys_of(t));
}

static void say_key(const hy__task *t, hy__task_doc *d, int64_t key) {
    if (t->number[KEY] == 2) hy__task_say(d, hy__task_symbol(key / HY__TASK_SYMBOLS));
    hy__task_say(d, hy__task_symbol(key % HY__TASK_SYMBOLS));
}

static void write(const hy__task *t, hy__task_doc *d) {
    int64_t key[MOST_PAIRS], order[MOST_PAIRS];
    int value[MOST_PAIRS];
    const int64_t n = t->number[PAIRS];
    hy__task_choose(d, key, n, keys_of(t));
    hy__task_choose(d, order, n, n);
    for (int64_t i = 0; i < n; i++) {
        value[i] = VALUE[hy__task_draw(d, VALUES)];
        say_key(t, d, key[i]);
        hy__task_say(d, value[i]);
    }
    hy__task_say(d, '\n');
    for (int64_t i = 0; i < t->number[GAP]; i++) hy__task_say(d, '.');
    hy__task_say(d, '\n');
    for (int64_t i = 0; i < n; i++) {
        say_key(t, d, key[order[i]]);
        hy__task_ask(d, value[order[i]]);
    }
}

/* Of a guess that counts the values and names the one that is left most often; over so many
 * questions of documents that are drawn. */
static double chance(const hy__task *t) {
    enum { QUESTIONS = 1 << 18 };
    hy__task_doc d = {.key = hy__rng_key(0, "chance", 0)};
    const int64_t n = t->number[PAIRS], n_doc = QUESTIONS / n;
    int64_t hits = 0;
    for (int64_t i = 0; i < n_doc; i++) {
        int64_t value[MOST_PAIRS], left[VALUES] = {0};
        for (int64_t k = 0; k < n; k++) left[value[k] = hy__task_draw(&d, VALUES)]++;
        for (int64_t k = 0; k < n; k++) {
            int64_t guess = 0;
            for (int64_t v = 1; v < VALUES; v++)
                if (left[v] > left[guess]) guess = v;
            hits += guess == value[k];
            left[value[k]]--;
        }
    }
    return (double)hits / (double)(n_doc * n);
}

const hy__task_kind hy__task_recall = {
    .name = "recall",
    .doc = "the values of many keys, in another order",
    .number = {[PAIRS] = {"pairs", 16, 1, MOST_PAIRS, "keys with their values"},
               [KEY] = {"key", 1, 1, 2, "symbols of a key; one is enough for 64 pairs"},
               [GAP] = {"gap", 0, 0, 1 << 20, "points between the pairs and the questions"}},
    .plan = plan,
    .write = write,
    .chance = chance,
};
