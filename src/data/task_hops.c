/* task_hops.c: induction in several hops (Sanford, Hsu, Telgarsky 2024, arXiv 2402.09268). After
 * its letter every place of a random sequence is asked for what followed when that letter was last
 * there; for more hops, one goes on from that place in the same way.
 *
 *   find(i) = the largest j <= i with x[j-1] = x[i];   asked at i: x[find(find(… i))] */
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

/* Where the letter before is the same, all hops stay at their place. Otherwise the first leads to
 * another letter, behind this one; and each that follows, from a letter c behind p, to a p behind c
 * with probability 1/A, or else to any letter but c behind a c. So of some hops the letter itself
 * is the answer far oftener than others. */
static double chance(const hy__task *t) {
    const double one = 1.0 / (double)t->number[ALPHABET];
    double at = 0.0, behind = 1.0; /* it; one behind it; what is left: neither */
    for (int64_t h = 2; h <= t->number[HOPS]; h++) {
        const double back = 2.0 * one * behind + one * (1.0 - at - behind);
        behind = at;
        at = back;
    }
    const double itself = one + (1.0 - one) * at, other = (1.0 - itself) * one / (1.0 - one);
    return itself > other ? itself : other;
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
