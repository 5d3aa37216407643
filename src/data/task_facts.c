/* task_facts.c: facts about names, the same for ever, and what a text says otherwise.
 *
 * Each of so many names has a letter that never changes: the closed book. A document begins with
 * notes "name:x;" that give other letters to some names; a question "name=" about one of these is
 * open book and wants what is noted; about another name it wants the letter that never changes. */
#include "base/rng.h"
#include "data/task.h"

enum { FACTS, BOOK, BASE, NOTES, QUESTIONS };
enum { BOOK_CLOSED, BOOK_OPEN, BOOK_BOTH };
enum { NAME = 6, SYLLABLES = 80, NAMES = SYLLABLES * SYLLABLES * SYLLABLES };

static hy_status plan(hy__task *t, hy_error *err) {
    t->len = (NAME + 3) * t->number[NOTES] + 1 + (NAME + 3) * t->number[QUESTIONS];
    const int64_t named = t->number[NOTES] + t->number[QUESTIONS];
    if (t->number[BOOK] == BOOK_OPEN && t->number[QUESTIONS] > t->number[NOTES]) {
        return hy__fail(err, HY_E_INVALID,
                        "task:facts: questions is %lld, wanted at most notes, %lld, for book=1",
                        (long long)t->number[QUESTIONS], (long long)t->number[NOTES]);
    }
    if (t->number[FACTS] >= named) return HY_OK;
    return hy__fail(err, HY_E_INVALID,
                    "task:facts: facts is %lld, wanted at least notes + questions, %lld",
                    (long long)t->number[FACTS], (long long)named);
}

static uint64_t base_key(const hy__task *t) {
    return hy__rng_key((uint64_t)t->number[BASE], "facts", 0);
}

static void say_name(const hy__task *t, hy__task_doc *d, int64_t fact) {
    static const char CONSONANT[] = "bdfghjklmnprstvz", VOWEL[] = "aeiou";
    int64_t code = hy__rng_permute(base_key(t), fact, NAMES);
    for (int i = 0; i < NAME / 2; i++, code /= SYLLABLES) {
        hy__task_say(d, CONSONANT[code % SYLLABLES / 5]);
        hy__task_say(d, VOWEL[code % 5]);
    }
}

static int truth(const hy__task *t, int64_t fact) {
    return hy__task_symbol(hy__rng_below(base_key(t), 1 + (uint64_t)fact, HY__TASK_SYMBOLS));
}

/* One that is not among the first n of `named`. */
static int64_t draw_other(const hy__task *t, hy__task_doc *d, const int64_t *named, int64_t n) {
    for (;;) {
        const int64_t fact = hy__task_draw(d, t->number[FACTS]);
        bool other = true;
        for (int64_t i = 0; i < n && other; i++) other = named[i] != fact;
        if (other) return fact;
    }
}

static void ask(const hy__task *t, hy__task_doc *d, int64_t fact, int letter) {
    say_name(t, d, fact);
    hy__task_say(d, '=');
    hy__task_ask(d, letter);
    hy__task_say(d, '\n');
}

/* No name is asked for twice: the second time its answer would stand there. */
static void write(const hy__task *t, hy__task_doc *d) {
    int64_t named[2 * HY__TASK_SYMBOLS]; /* in notes, then in closed questions */
    int letter[HY__TASK_SYMBOLS];
    const int64_t n = t->number[NOTES], book = t->number[BOOK];
    int64_t n_open = 0, n_named = 0;
    for (; n_named < n; n_named++) {
        named[n_named] = draw_other(t, d, named, n_named);
        letter[n_named] = hy__task_symbol(hy__task_draw(d, HY__TASK_SYMBOLS));
        say_name(t, d, named[n_named]);
        hy__task_say(d, ':');
        hy__task_say(d, letter[n_named]);
        hy__task_say(d, ';');
    }
    hy__task_say(d, '\n');
    int64_t order[HY__TASK_SYMBOLS];
    hy__task_choose(d, order, n, n);
    for (int64_t i = 0; i < t->number[QUESTIONS]; i++) {
        const bool wanted = book == BOOK_BOTH ? hy__task_draw(d, 2) == 1 : book == BOOK_OPEN;
        if (wanted && n_open < n) {
            const int64_t j = order[n_open++];
            ask(t, d, named[j], letter[j]);
        } else {
            const int64_t fact = named[n_named] = draw_other(t, d, named, n_named);
            n_named++;
            ask(t, d, fact, truth(t, fact));
        }
    }
}

/* Of a name that is noted: of the notes that were not asked yet; of another: of all letters. */
static double chance(const hy__task *t) {
    static const double OPENS[] = {[BOOK_CLOSED] = 0.0, [BOOK_OPEN] = 1.0, [BOOK_BOTH] = 0.5};
    const double blind = 1.0 / HY__TASK_SYMBOLS, opens = OPENS[t->number[BOOK]];
    double left[HY__TASK_SYMBOLS + 1] = {0}; /* probability that so many notes are */
    double sum = 0.0;
    left[t->number[NOTES]] = 1.0;
    for (int64_t i = 0; i < t->number[QUESTIONS]; i++) {
        sum += left[0] * blind;
        for (int64_t n = 1; n <= t->number[NOTES]; n++) {
            const double noted = 1.0 / (double)n;
            sum += left[n] * (opens * (noted + (1.0 - noted) * blind) + (1.0 - opens) * blind);
            left[n - 1] += left[n] * opens;
            left[n] -= left[n] * opens;
        }
    }
    return sum / (double)t->number[QUESTIONS];
}

const hy__task_kind hy__task_facts = {
    .name = "facts",
    .doc = "letters that names have for ever, unless the text gives them others",
    .number = {[FACTS] = {"facts", 1000, 1, NAMES, "names"},
               [BOOK] = {"book", BOOK_BOTH, 0, 2,
                         "0: what is asked stands nowhere; 1: it is noted; 2: one or the other"},
               [BASE] = {"base", 0, 0, 1000000, "which facts: another number, other facts"},
               [NOTES] = {"notes", 4, 0, HY__TASK_SYMBOLS, "names with another letter here"},
               [QUESTIONS] = {"questions", 4, 1, HY__TASK_SYMBOLS, "questions in a document"}},
    .plan = plan,
    .write = write,
    .chance = chance,
};
