/* task_needle.c: a premise far back. Among words that mean nothing stand a few notes "[Kv]"; so
 * many tokens later "?K" asks for what was noted under K, all of them in another order.
 *
 * In front of the notes stand words, once to twice as many tokens as is said: more than a chunk, so
 * that none is in the first block, which attention always sees. The distance is of each note to its
 * own question, about: it is the words between the last note and the first question; where it
 * varies it is anything from 32 tokens up, each doubling as likely. */
#include "data/task.h"

#include <math.h>

enum { DISTANCE, NOTES, VARY, BEFORE };
enum { SHORTEST = 32 };

static hy_status plan(hy__task *t, hy_error *err) {
    (void)err;
    t->len = 2 * t->number[BEFORE] + 24 * t->number[NOTES] + t->number[DISTANCE] + 16 +
             4 * t->number[NOTES];
    return HY_OK;
}

static const char *const WORD[] = {"the", "old", "rain", "fell", "on", "grey", "stone", "and",
                                   "no",  "one", "came", "by",   "a",  "long", "road",  "so"};

/* Words, until there are n bytes more at least. */
static void fill(hy__task_doc *d, int64_t n) {
    for (const int64_t end = d->n + n; d->n < end; hy__task_say(d, ' '))
        hy__task_text(d, WORD[hy__task_draw(d, sizeof WORD / sizeof *WORD)]);
}

static int64_t draw_distance(const hy__task *t, hy__task_doc *d) {
    const int64_t most = t->number[DISTANCE];
    if (!t->number[VARY] || most <= SHORTEST) return most;
    const double u = (double)hy__task_draw(d, 1 << 20) / (1 << 20);
    return (int64_t)(SHORTEST * pow((double)most / SHORTEST, u));
}

static void write(const hy__task *t, hy__task_doc *d) {
    int64_t key[26], value[26], order[26];
    const int64_t n = t->number[NOTES], before = t->number[BEFORE];
    hy__task_choose(d, key, n, 26);
    hy__task_choose(d, value, n, 26);
    hy__task_choose(d, order, n, n);
    fill(d, before + hy__task_draw(d, before - 8));
    for (int64_t i = 0; i < n; i++) {
        hy__task_say(d, '[');
        hy__task_say(d, 'A' + (int)key[i]);
        hy__task_say(d, 'a' + (int)value[i]);
        hy__task_text(d, "] ");
        fill(d, hy__task_draw(d, 12));
    }
    fill(d, draw_distance(t, d));
    for (int64_t i = 0; i < n; i++) {
        hy__task_say(d, '?');
        hy__task_say(d, 'A' + (int)key[order[i]]);
        hy__task_ask(d, 'a' + (int)value[order[i]]);
    }
}

/* The values noted there are known, and those that were asked before. */
static double chance(const hy__task *t) {
    double sum = 0.0;
    for (int64_t i = 1; i <= t->number[NOTES]; i++) sum += 1.0 / (double)i;
    return sum / (double)t->number[NOTES];
}

const hy__task_kind hy__task_needle = {
    .name = "needle",
    .doc = "notes far back in words that mean nothing",
    .number = {[DISTANCE] = {"distance", 1024, 0, 1 << 21, "tokens between notes and questions"},
               [NOTES] = {"notes", 4, 1, 26, "notes, each asked once"},
               [VARY] = {"vary", 0, 0, 1, "1: any distance up to that one"},
               [BEFORE] = {"before", 320, 16, 1 << 20, "tokens before the notes, at least"}},
    .plan = plan,
    .write = write,
    .chance = chance,
};
