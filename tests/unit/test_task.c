/* Made tasks: what is asked follows from what is written, by a reader that knows only the rules. */
#include "base/status.h"
#include "data/task.h"

#include <ctype.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { DOCUMENTS = 200 };

typedef struct document {
    hy__task task;
    int32_t *token, *target;
    int64_t n;
} document;

static void document_open(document *d, const char *entry) {
    hy_error err = {0};
    if (hy__task_parse(&d->task, entry, &err) != HY_OK) fail_msg("%s", err.text);
    d->token = malloc((size_t)d->task.len * sizeof *d->token);
    d->target = malloc((size_t)d->task.len * sizeof *d->target);
    assert_true(d->token && d->target);
}

static void document_write(document *d, uint64_t key, int64_t number) {
    d->n = hy__task_write(&d->task, key, number, d->token, d->target);
    assert_in_range(d->n, 1, d->task.len);
    for (int64_t i = 0; i < d->n; i++) {
        assert_in_range(d->token[i], 0, 127);
        assert_true(d->target[i] >= -1 && d->target[i] < 128);
    }
}

static void document_close(document *d) {
    free(d->token);
    free(d->target);
}

/* ---- a reader for each task: the answer to row i from the rows up to it; -1: nothing is asked ---
 */

static int32_t follow(const document *d, int32_t from) {
    for (int64_t i = 0; d->token[i] != '\n'; i += 3)
        if (d->token[i] == from) return d->token[i + 1];
    return -1;
}

static int32_t read_logic(const document *d, int64_t i) {
    if (i < 2 || d->token[i - 2] != '?') return -1;
    int32_t at = d->token[i];
    for (int32_t h = '0'; h < d->token[i - 1]; h++) at = follow(d, at);
    return at;
}

/* By the definition, straight: the last time that this letter was there, and what came then. */
static int32_t read_hops(const document *d, int64_t i) {
    int64_t at = i;
    for (int32_t h = '0'; h < d->token[0]; h++) {
        int64_t before = 0;
        for (int64_t j = 1; j < at; j++)
            if (d->token[j] == d->token[at]) before = j;
        if (before == 0) return -1;
        at = before + 1;
    }
    return i == 0 ? -1 : d->token[at];
}

/* Symbols of a key: a value is none of them. */
static int64_t key_of(const document *d) {
    int64_t n = 0;
    while (isalnum(d->token[n]) || d->token[n] == '+' || d->token[n] == '-') n++;
    return n;
}

static bool same_key(const document *d, int64_t i, int64_t j) {
    return memcmp(&d->token[i], &d->token[j], (size_t)key_of(d) * sizeof *d->token) == 0;
}

static int32_t read_recall(const document *d, int64_t i) {
    const int64_t key = key_of(d);
    int64_t pairs = 0; /* end of */
    while (pairs < i && d->token[pairs] != '\n') pairs++;
    int64_t begin = pairs + 1;
    while (begin < i && d->token[begin] != '\n') begin++;
    if (i <= begin || (i - begin) % (key + 1) != key) return -1;
    for (int64_t j = 0; j < pairs; j += key + 1)
        if (same_key(d, j, i + 1 - key)) return d->token[j + key];
    return -1;
}

static int32_t read_needle(const document *d, int64_t i) {
    if (i < 1 || d->token[i - 1] != '?') return -1;
    for (int64_t j = 0; j < i; j++)
        if (d->token[j] == '[' && d->token[j + 1] == d->token[i]) return d->token[j + 2];
    return -1;
}

/* What the first document that asked for a name said of it. */
static int32_t known(const document *d, int64_t i) {
    static char name[1000][6];
    static int32_t letter[1000];
    static int n;
    char asked[6];
    for (int k = 0; k < 6; k++) asked[k] = (char)d->token[i - 6 + k];
    int at = 0;
    while (at < n && memcmp(name[at], asked, sizeof asked) != 0) at++;
    if (at == n) {
        assert_true(n < 1000);
        memcpy(name[n], asked, sizeof asked);
        letter[n++] = d->target[i];
    }
    return letter[at];
}

static int32_t read_facts(const document *d, int64_t i) {
    if (d->token[i] != '=') return -1;
    for (int64_t j = 6; j < i; j++) {
        bool same = d->token[j] == ':';
        for (int k = 1; k <= 6 && same; k++) same = d->token[j - k] == d->token[i - k];
        if (same) return d->token[j + 1];
    }
    return known(d, i);
}

static int32_t read_sums(const document *d, int64_t i) {
    int64_t line = i, equals;
    while (line > 0 && d->token[line - 1] != '\n') line--;
    for (equals = line; equals <= i && d->token[equals] != '='; equals++) {
    }
    if (equals > i) return -1;
    int number[2] = {0};
    for (int64_t j = line, side = 0; j < equals; j++) {
        if (d->token[j] == '+')
            side++;
        else
            number[side] = 10 * number[side] + d->token[j] - '0';
    }
    char sum[16];
    const int n = snprintf(sum, sizeof sum, "%d", number[0] + number[1]);
    return i - equals < n ? sum[i - equals] : -1;
}

/* No question, the last `size` bytes up to a row that is asked, stands in a document twice: the
 * second would be answered by the first. */
static void asks_once(const document *d, int64_t size) {
    for (int64_t i = 0; i < d->n; i++)
        for (int64_t j = 0; d->target[i] >= 0 && j < i; j++)
            if (d->target[j] >= 0)
                assert_memory_not_equal(&d->token[i + 1 - size], &d->token[j + 1 - size],
                                        (size_t)size * sizeof *d->token);
}

static void reads(const char *entry, int32_t (*reader)(const document *, int64_t),
                  int64_t asked_at_least, int64_t question) {
    document d;
    int64_t asked = 0;
    document_open(&d, entry);
    for (int64_t number = 0; number < DOCUMENTS; number++) {
        document_write(&d, 7, number);
        if (question > 0) asks_once(&d, question);
        for (int64_t i = 0; i < d.n; i++) {
            const int32_t want = reader(&d, i);
            if (want != d.target[i])
                fail_msg("%s, document %d, row %d: asked for %d, read %d", entry, (int)number,
                         (int)i, d.target[i], want);
            asked += want >= 0;
        }
    }
    assert_true(asked >= asked_at_least * DOCUMENTS);
    document_close(&d);
}

static void test_answers(void **state) {
    (void)state;
    reads("task:logic", read_logic, 4, 3);
    reads("task:logic/hops=1/fewest=1/most=1/queries=2", read_logic, 2, 3);
    reads("task:logic/hops=9/fewest=40/most=40/queries=49", read_logic, 49, 3);
    for (char k = '1'; k <= '4'; k++) {
        char entry[] = "task:hops/hops=?";
        entry[sizeof entry - 2] = k;
        reads(entry, read_hops, 60, 0);
    }
    reads("task:recall/pairs=1", read_recall, 1, 1);
    reads("task:recall/pairs=64/gap=100", read_recall, 64, 1);
    reads("task:recall/key=2/pairs=1", read_recall, 1, 2);
    reads("task:recall/key=2/pairs=512/gap=100", read_recall, 512, 2);
    reads("task:needle", read_needle, 4, 2);
    reads("task:needle/distance=3000/notes=26/vary=1", read_needle, 26, 2);
    reads("task:facts/facts=20", read_facts, 4, 7);
    reads("task:facts/facts=300/book=0/notes=0/questions=64", read_facts, 64, 7);
    reads("task:facts/facts=300/book=1/notes=64/questions=64", read_facts, 64, 7);
    reads("task:sums", read_sums, 32, 0);
    reads("task:sums/digits=1/questions=40", read_sums, 40, 0);
    reads("task:sums/digits=5", read_sums, 80, 0);
}

/* ---- properties ---- */

static void test_a_function_of_key_and_number(void **state) {
    (void)state;
    for (int k = 0; hy__task_kinds[k]; k++) {
        char entry[64];
        document a, b;
        snprintf(entry, sizeof entry, "task:%s", hy__task_kinds[k]->name);
        document_open(&a, entry);
        document_open(&b, entry);
        for (int64_t number = 0; number < 20; number++) {
            document_write(&a, 7, number);
            document_write(&b, 7, 19 - number);
            document_write(&b, 7, number);
            assert_int_equal(a.n, b.n);
            assert_memory_equal(a.token, b.token, (size_t)a.n * sizeof *a.token);
            assert_memory_equal(a.target, b.target, (size_t)a.n * sizeof *a.target);
            document_write(&b, 8, number);
            assert_true(a.n != b.n || memcmp(a.token, b.token, (size_t)a.n * sizeof *a.token) != 0);
        }
        document_close(&a);
        document_close(&b);
    }
}

/* The best guess that does not do the task: the answer is one of the ring's others, alike. */
static void test_nothing_but_the_steps_tells(void **state) {
    (void)state;
    document d;
    int64_t at_place[2] = {0}, asked = 0, first = 0;
    document_open(&d, "task:logic/hops=3/fewest=8/most=8/queries=1");
    for (int64_t number = 0; number < 4000; number++) {
        document_write(&d, 3, number);
        const int64_t q = d.n - 2; /* the row that is asked */
        for (int64_t i = 0; i < 33; i += 3) {
            at_place[i / 3 % 2] += d.token[i + 1] == d.target[q];
            first += i == 0 && d.token[i + 1] == d.target[q];
        }
        asked++;
        assert_int_not_equal(d.target[q], d.token[q]);
    }
    assert_int_equal(at_place[0] + at_place[1], asked); /* each is named once on the right */
    assert_true(first > asked / 11 - 80 && first < asked / 11 + 80); /* four deviations */
    assert_true(fabs(hy__task_chance(&d.task) - 0.1) < 1e-12);
    document_close(&d);
}

static void test_needles_lie_far_back(void **state) {
    (void)state;
    document d;
    document_open(&d, "task:needle/distance=2000/notes=2");
    for (int64_t number = 0; number < DOCUMENTS; number++) {
        int64_t note = -1, question = -1;
        document_write(&d, 1, number);
        for (int64_t i = 0; i < d.n; i++) {
            if (d.token[i] == '[') note = i;
            if (d.token[i] == '[') assert_true(i >= 256);
            if (d.token[i] == '?' && question < 0) question = i;
        }
        assert_in_range(question - note, 2000, 2100);
    }
    document_close(&d);
}

/* Documents that results were measured of, and the same with longer keys. */
static void test_recall_as_it_is_written(void **state) {
    (void)state;
    static const char *const WRITTEN[][2] = {
        {"task:recall/pairs=8/gap=2", "k/S/U?9~L~7!d^u;\n..\n"
                                      "9<~>d<^>k</>7<!>L<~>S</>U<?>u<;>"},
        {"task:recall/pairs=5/gap=2/key=2", "kr&Rl:Te!9I:Ij*\n..\n"
                                            "Ij<*>Te<!>kr<&>9I<:>Rl<:>"}};
    for (int i = 0; i < 2; i++) {
        hy__task t;
        hy_error err = {0};
        assert_int_equal(hy__task_parse(&t, WRITTEN[i][0], &err), HY_OK);
        char *text = hy__task_sample(&t, 0, 0);
        assert_non_null(text);
        assert_string_equal(text, WRITTEN[i][1]);
        free(text);
    }
}

/* A guess cannot know more than the likeliest digit: of one digit's 81 pairs 45 sums begin with 1,
 * and 9 of those are 10; 36 have one digit. */
static void test_sums(void **state) {
    (void)state;
    document d;
    document_open(&d, "task:sums/digits=1/questions=40");
    assert_true(fabs(hy__task_chance(&d.task) - (45.0 + 9.0) / (36.0 + 90.0)) < 1e-12);
    for (int64_t number = 0; number < DOCUMENTS; number++) {
        bool seen[10][10] = {{false}};
        document_write(&d, 5, number);
        for (int64_t i = 3; i < d.n; i++) {
            if (d.token[i] != '=') continue;
            const int a = d.token[i - 3] - '0', b = d.token[i - 1] - '0';
            assert_false(seen[a][b]);
            seen[a][b] = seen[b][a] = true;
        }
    }
    document_close(&d);
}

/* ---- chance: how often a guess is right that cannot do the task ---- */

/* A guess at row i: the probability that it is right. */
typedef double (*guess)(const document *d, int64_t i);

/* One of the symbols that stand there, but the start and what was answered. */
static double guess_logic(const document *d, int64_t i) {
    bool out[128] = {false};
    double n = 0.0;
    for (int64_t j = 0; j < i; j++)
        if (d->target[j] >= 0) out[d->target[j]] = true;
    out[d->token[i]] = true;
    for (int64_t j = 0; d->token[j] != '\n'; j += 3) n += !out[d->token[j]];
    return 1.0 / n;
}

/* The value that is left most often, those that were asked taken away; one of them, if several. */
static double guess_recall(const document *d, int64_t i) {
    const int64_t key = key_of(d);
    int left[128] = {0}, most = 0;
    double n = 0.0;
    for (int64_t j = 0; d->token[j] != '\n'; j += key + 1) left[d->token[j + key]]++;
    for (int64_t j = 0; j < i; j++)
        if (d->target[j] >= 0) left[d->target[j]]--;
    for (int v = 0; v < 128; v++)
        if (left[v] > most) most = left[v];
    for (int v = 0; v < 128; v++) n += left[v] == most;
    return left[d->target[i]] == most ? 1.0 / n : 0.0;
}

/* The letter itself where it stands twice; otherwise always itself, the one before, or another. */
static double guess_itself(const document *d, int64_t i) {
    return d->token[i] == d->target[i];
}

static double guess_before(const document *d, int64_t i) {
    return d->token[i - 1] == d->target[i];
}

static double guess_other(const document *d, int64_t i) {
    const int32_t x = d->token[i], before = d->token[i - 1], answer = d->target[i];
    if (x == before) return answer == x;
    return answer == x || answer == before ? 0.0 : 1.0 / (double)(d->task.number[1] - 2);
}

/* How often the guess is right. */
static double guessed(const char *entry, guess right) {
    document d;
    double sum = 0.0, asked = 0.0;
    document_open(&d, entry);
    for (int64_t number = 0; number < DOCUMENTS; number++) {
        document_write(&d, 11, number);
        for (int64_t i = 0; i < d.n; i++) {
            if (d.target[i] < 0) continue;
            sum += right(&d, i);
            asked++;
        }
    }
    document_close(&d);
    return sum / asked;
}

static void is_chance(const char *entry, double wanted) {
    document d;
    document_open(&d, entry);
    const double chance = hy__task_chance(&d.task);
    if (fabs(chance - wanted) > 0.01)
        fail_msg("%s: chance %.4f, but %.4f is guessed", entry, chance, wanted);
    document_close(&d);
}

static void guesses(const char *entry, guess right) {
    is_chance(entry, guessed(entry, right));
}

/* Whichever guess is best. */
static void guesses_hops(const char *entry) {
    const double itself = guessed(entry, guess_itself), before = guessed(entry, guess_before),
                 other = guessed(entry, guess_other);
    is_chance(entry, fmax(itself, fmax(before, other)));
}

static void test_chance(void **state) {
    (void)state;
    guesses("task:logic", guess_logic);
    guesses("task:logic/hops=2/fewest=4/most=4/queries=6", guess_logic);
    guesses("task:recall", guess_recall);
    guesses("task:recall/pairs=4", guess_recall);
    guesses("task:recall/pairs=80/key=2", guess_recall);
    guesses_hops("task:hops/hops=1"); /* one of the others, of four letters */
    guesses_hops("task:hops/hops=1/alphabet=26");
    guesses_hops("task:hops/hops=2");
    guesses_hops("task:hops/hops=2/alphabet=2");
    guesses_hops("task:hops/hops=3");
    guesses_hops("task:hops/hops=4/length=2000");
    guesses_hops("task:hops/hops=9/length=20");
    document open, both;
    document_open(&open, "task:facts/book=1");
    document_open(&both, "task:facts/book=2/questions=64"); /* all four notes, sooner or later */
    const double noted = (1.0 + 1.0 / 2 + 1.0 / 3 + 1.0 / 4) / 4;
    const double of_four = noted + (1.0 - noted) / 64;
    assert_true(fabs(hy__task_chance(&open.task) - of_four) < 1e-9);
    assert_true(fabs(hy__task_chance(&both.task) - (4 * of_four + 60.0 / 64) / 64) < 1e-6);
    document_close(&open);
    document_close(&both);
}

static void test_print(void **state) {
    (void)state;
    document d;
    char text[200];
    document_open(&d, "task:logic/queries=2/hops=3");
    const int n = hy__task_print(&d.task, text, sizeof text);
    assert_string_equal(text, "logic/hops=3/fewest=4/most=16/queries=2");
    assert_int_equal(n, strlen(text));
    assert_int_equal(hy__task_print(&d.task, text, 8), n);
    document_close(&d);
}

static void refused(const char *entry, const char *want) {
    hy__task t;
    hy_error err = {0};
    assert_int_equal(hy__task_parse(&t, entry, &err), HY_E_INVALID);
    if (!strstr(err.text, want)) fail_msg("%s: \"%s\", wanted \"%s\"", entry, err.text, want);
}

static void test_bad_entries(void **state) {
    (void)state;
    refused("task:", "there is no task:; the tasks are logic, hops, recall, needle, facts, sums");
    refused("task:logical", "there is no task:logical;");
    refused("task:logic/", "cannot take \"\"");
    refused("task:logic/hop=3", "cannot take \"hop=3\"; wanted NUMBER=VALUE, where it has hops,");
    refused("task:logic/hops=", "hops is , wanted 1 to 9");
    refused("task:logic/hops=0", "hops is 0, wanted 1 to 9");
    refused("task:logic/hops=2x", "hops is 2x, wanted");
    refused("task:logic/hops=99999999999999999999", "wanted 1 to 9");
    refused("task:logic/fewest=9/most=8", "fewest is 9 and most is 8");
    refused("task:facts/facts=4/notes=4", "wanted at least notes + questions, 8");
    refused("task:facts/book=1/questions=5", "questions is 5, wanted at most notes, 4");
    refused("task:logic/hops=1/queries=6", "queries is 6, wanted at most hops + fewest, 5");
    refused("task:recall/pairs=65", "pairs is 65, wanted at most 64, the keys of one symbol");
    refused("task:recall/key=2/pairs=513", "pairs is 513, wanted 1 to 512");
    refused("task:recall/key=3", "key is 3, wanted 1 to 2");
    refused("task:sums/digits=1/questions=41", "questions is 41, wanted at most 40 of numbers of");
    refused("task:sums/questions=65", "questions is 65, wanted 1 to 64");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_a_function_of_key_and_number),
        cmocka_unit_test(test_nothing_but_the_steps_tells),
        cmocka_unit_test(test_needles_lie_far_back),
        cmocka_unit_test(test_recall_as_it_is_written),
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_chance),
        cmocka_unit_test(test_print),
        cmocka_unit_test(test_bad_entries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
