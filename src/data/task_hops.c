/* task_hops.c: induction in several hops (Sanford, Hsu, Telgarsky 2024, arXiv 2402.09268). After
 * its letter every place of a random sequence is asked for what followed when that letter was last
 * there; for more hops, one goes on from that place in the same way.
 *
 *   find(i) = the largest j <= i with x[j-1] = x[i];   asked at i: x[find(find(… i))] */
#include "base/rng.h"
#include "data/task.h"

enum { HOPS, ALPHABET, LENGTH };

static hy_status plan(hy__task *t, hy_error *err) {
    (void)err;
    t->len = 1 + t->number[LENGTH];
    return HY_OK;
}

/* 0 where there is none: a place 1 … of row x, whose place 0 is no letter. */
static int64_t find(const int32_t *x, int64_t i) {
    int64_t j = i;
    while (j > 1 && x[j - 1] != x[i]) j--;
    return j > 1 ? j : 0;
}

static void write(const hy__task *t, hy__task_doc *d) {
    hy__task_say(d, '0' + (int)t->number[HOPS]);
    for (int64_t i = 1; i <= t->number[LENGTH]; i++) {
        hy__task_say(d, 'a' + (int)hy__task_draw(d, t->number[ALPHABET]));
        int64_t at = i;
        for (int64_t h = 0; h < t->number[HOPS] && at > 0; h++) at = find(d->token, at);
        if (at > 0) hy__task_label(d, d->token[at]);
    }
}

/* Of the best guess that looks no further back than one letter: that letter where it is the same,
 * which is always right; otherwise, whichever of three is right most often, the letter itself, the
 * one before, or one of the others. Over so many letters of documents that are drawn; where they
 * are long, of shorter ones, whose start is as little of them. */
static double chance(const hy__task *t) {
    enum { LETTERS = 1 << 17, LONG = 1024 };
    int32_t token[1 + LONG], target[1 + LONG];
    int64_t same = 0, itself = 0, before = 0, other = 0;
    hy__task some = *t;
    if (some.number[LENGTH] > LONG) some.number[LENGTH] = LONG;
    some.len = 1 + some.number[LENGTH];
    for (int64_t i = 0; i < LETTERS / some.number[LENGTH]; i++) {
        const int64_t n = hy__task_write(&some, hy__rng_key(0, "chance", 0), i, token, target);
        for (int64_t j = 2; j < n; j++) {
            const int32_t answer = target[j];
            if (answer < 0) continue;
            if (token[j] == token[j - 1])
                same++;
            else if (answer == token[j])
                itself++;
            else if (answer == token[j - 1])
                before++;
            else
                other++;
        }
    }
    const int64_t asked = same + itself + before + other, left = t->number[ALPHABET] - 2;
    int64_t best = itself > before ? itself : before;
    if (left > 0 && other / left > best) best = other / left;
    return (double)(same + best) / (double)asked;
}

const hy__task_kind hy__task_hops = {
    .name = "hops",
    .doc = "what followed this letter last time, and what followed that, in a random sequence",
    .number = {[HOPS] = {"hops", 2, 1, 9, "hops"},
               [ALPHABET] = {"alphabet", 4, 2, 26, "letters"},
               [LENGTH] = {"length", 100, 2, 1 << 16, "letters of a document"}},
    .plan = plan,
    .write = write,
    .chance = chance,
};
