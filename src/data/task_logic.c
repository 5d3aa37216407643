/* task_logic.c: deduction in several steps. Facts "ab " say that b follows a; "?2ac" asks what
 * follows a in two steps.
 *
 * The facts form one ring of all that is named, in an order of their own: everything is named
 * twice, once on each side, every step from everywhere leads on, and nothing but the steps tells
 * where they end. Those that a question does not need are its distractors. A model that cannot
 * follow them can rule out the start, and what was answered before. */
#include "data/task.h"

enum { HOPS, FEWEST, MOST, QUERIES };

static int64_t facts_at_most(const hy__task *t) {
    return t->number[HOPS] + t->number[MOST];
}

static hy_status plan(hy__task *t, hy_error *err) {
    t->len = 3 * facts_at_most(t) + 1 + 4 * t->number[QUERIES];
    if (t->number[QUERIES] > t->number[HOPS] + t->number[FEWEST]) {
        return hy__fail(err, HY_E_INVALID,
                        "task:logic: queries is %lld, wanted at most hops + fewest, %lld, for each "
                        "begins elsewhere",
                        (long long)t->number[QUERIES],
                        (long long)(t->number[HOPS] + t->number[FEWEST]));
    }
    if (t->number[FEWEST] <= t->number[MOST]) return HY_OK;
    return hy__fail(err, HY_E_INVALID,
                    "task:logic: fewest is %lld and most is %lld, wanted fewest at most as large",
                    (long long)t->number[FEWEST], (long long)t->number[MOST]);
}

static void write(const hy__task *t, hy__task_doc *d) {
    int64_t ring[HY__TASK_SYMBOLS], order[HY__TASK_SYMBOLS], from[HY__TASK_SYMBOLS];
    const int64_t hops = t->number[HOPS];
    const int64_t n =
        hops + t->number[FEWEST] + hy__task_draw(d, t->number[MOST] - t->number[FEWEST] + 1);
    hy__task_choose(d, ring, n, HY__TASK_SYMBOLS);
    hy__task_choose(d, order, n, n);
    for (int64_t i = 0; i < n; i++) {
        hy__task_say(d, hy__task_symbol(ring[order[i]]));
        hy__task_say(d, hy__task_symbol(ring[(order[i] + 1) % n]));
        hy__task_say(d, ' ');
    }
    hy__task_say(d, '\n');
    hy__task_choose(d, from, t->number[QUERIES], n);
    for (int64_t i = 0; i < t->number[QUERIES]; i++) {
        hy__task_say(d, '?');
        hy__task_say(d, '0' + (int)hops);
        hy__task_say(d, hy__task_symbol(ring[from[i]]));
        hy__task_ask(d, hy__task_symbol(ring[(from[i] + hops) % n]));
    }
}

/* Of the i-th question of n facts, over those that are left: neither its start nor one of the i
 * answers before it, no two of which are alike; with probability i/(n-1) its start is one of them.
 *   (1 - i/(n-1)) / (n-1-i) + i/(n-1) / (n-i) = n / ((n-1)(n-i)),   1 where one is left */
static double chance_of(int64_t n, int64_t i) {
    const double x = (double)n / (double)((n - 1) * (n - i));
    return x < 1.0 ? x : 1.0;
}

/* Over the numbers of facts, which are equally likely. */
static double chance(const hy__task *t) {
    const int64_t n_query = t->number[QUERIES];
    double sum = 0.0;
    for (int64_t more = t->number[FEWEST]; more <= t->number[MOST]; more++)
        for (int64_t i = 0; i < n_query; i++) sum += chance_of(t->number[HOPS] + more, i);
    return sum / (double)((t->number[MOST] - t->number[FEWEST] + 1) * n_query);
}

const hy__task_kind hy__task_logic = {
    .name = "logic",
    .doc = "what follows a symbol in so many steps, by facts in random order",
    .number = {[HOPS] = {"hops", 2, 1, 9, "steps"},
               [FEWEST] = {"fewest", 4, 1, 40, "facts that a question does not need, at least"},
               [MOST] = {"most", 16, 1, 40, "and at most"},
               [QUERIES] = {"queries", 4, 1, 49, "questions in a document"}},
    .plan = plan,
    .write = write,
    .chance = chance,
};
