/* The command line by table: every kind of option, bounds, near misses, wrong usage. */
#include "cmd/dispatch.h"
#include "cmd/options.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct values {
    bool quiet;
    int64_t steps, most;
    double rate;
    const char *from, *out, *how, *file, *operand;
    bool part[3];
    text_list data, stop;
    int_list cut;
    hy_error err;
    char words[256];
} values;

/* Parses a line of words. */
static parse_result parse(values *v, const char *operand, const char *line) {
    char *argv[32];
    int argc = 0;
    static const char *const WORDS[] = {"one", "two", "three", NULL};
    *v = (values){.steps = 7, .how = "two", .part = {[1] = true}};
    option table[] = {
        {.name = "quiet", .letter = 'q', .kind = OPTION_FLAG, .to = &v->quiet},
        {.name = "steps", .kind = OPTION_INT, .to = &v->steps, .value = "N", .min = 1, .max = 100},
        {.name = "most", .kind = OPTION_INT, .to = &v->most, .value = "N", .max = 1e15},
        {.name = "rate", .kind = OPTION_REAL, .to = &v->rate, .value = "X", .max = 1e6},
        {.name = "from",
         .kind = OPTION_TEXT,
         .to = &v->from,
         .value = "TEXT",
         .required = true,
         .unless = "out"},
        {.name = "out", .kind = OPTION_TEXT, .to = &v->out, .value = "DIR", .required = true},
        {.name = "data", .kind = OPTION_MANY, .to = &v->data, .value = "PATH"},
        {.name = "stop", .kind = OPTION_EACH, .to = &v->stop, .value = "TEXT"},
        {.name = "how", .kind = OPTION_TEXT, .to = &v->how, .value = "HOW", .words = WORDS},
        {.name = "parts", .kind = OPTION_WORDS, .to = v->part, .value = "LIST", .words = WORDS},
        {.name = "file", .kind = OPTION_PATH, .to = &v->file, .value = "FILE", .excludes = "from"},
        {.name = "cut", .kind = OPTION_INTS, .to = &v->cut, .value = "I,J", .max = 1000},
    };
    const command c = {.name = "test",
                       .operand = operand,
                       .option = table,
                       .n_option = sizeof table / sizeof *table};
    snprintf(v->words, sizeof v->words, "%s", line);
    for (char *w = strtok(v->words, " "); w; w = strtok(NULL, " ")) argv[argc++] = w;
    return options_parse(&c, argc, argv, &v->operand, &v->err);
}

static void release(values *v) {
    free(v->data.item);
    free(v->stop.item);
    free(v->cut.item);
}

static void test_kinds(void **state) {
    (void)state;
    values v;
    assert_int_equal(parse(&v, "DIR",
                           "-q --steps=12 there --rate 1e-3 --data a b --out -x --stop one "
                           "--stop -- --cut 3,0,8"),
                     PARSE_RUN);
    assert_true(v.quiet);
    assert_int_equal(v.steps, 12);
    assert_true(fabs(v.rate - 1e-3) < 1e-15);
    assert_string_equal(v.out, "-x"); /* a value may begin with a dash */
    assert_string_equal(v.operand, "there");
    assert_int_equal(v.data.n, 2);
    assert_string_equal(v.data.item[1], "b");
    assert_int_equal(v.stop.n, 2);
    assert_string_equal(v.stop.item[1], "--");
    assert_int_equal(v.cut.n, 3);
    assert_int_equal(v.cut.item[2], 8);
    release(&v);
    assert_int_equal(parse(&v, NULL, "--out x"), PARSE_RUN);
    assert_int_equal(v.steps, 7); /* the default stays */
}

static void test_words(void **state) {
    (void)state;
    values v;
    assert_int_equal(parse(&v, NULL, "--out x --file f"), PARSE_RUN);
    assert_string_equal(v.how, "two");
    assert_true(!v.part[0] && v.part[1] && !v.part[2]);
    assert_string_equal(v.file, "f");
    assert_int_equal(parse(&v, NULL, "--out x --how three --parts three,one"), PARSE_RUN);
    assert_string_equal(v.how, "three");
    assert_true(v.part[0] && !v.part[1] && v.part[2]); /* in place of the default */
}

static void test_help(void **state) {
    (void)state;
    values v;
    assert_int_equal(parse(&v, NULL, "--help"), PARSE_HELP);
    assert_int_equal(parse(&v, NULL, "--steps 3 -h"), PARSE_HELP);
}

static void wrong(const char *operand, const char *line, const char *said) {
    values v;
    assert_int_equal(parse(&v, operand, line), PARSE_WRONG);
    if (!strstr(v.err.text, said)) fail_msg("%s: \"%s\" lacks \"%s\"", line, v.err.text, said);
    release(&v);
}

static void test_wrong_usage(void **state) {
    (void)state;
    wrong(NULL, "--out x --stesp 3", "did you mean --steps");
    wrong(NULL, "--out x --step 3", "did you mean --steps");
    wrong(NULL, "--out x --dat 3", "did you mean --data");
    wrong(NULL, "--out x --frobnicate", "see hydralm test --help");
    wrong(NULL, "--out x -z", "no option -z");
    wrong(NULL, "--out x -qq", "no option -qq");
    wrong(NULL, "--out x --steps", "wants a value");
    wrong(NULL, "--out x --steps 0", "wanted 1 to 100");
    wrong(NULL, "--out x --steps 101", "wanted 1 to 100");
    wrong(NULL, "--out x --steps 5x", "whole number");
    wrong(NULL, "--out x --steps=", "whole number");
    wrong(NULL, "--out x --steps 99999999999999999999", "wanted 1 to 100");
    wrong(NULL, "--out x --steps -99999999999999999999", "wanted 1 to 100");
    wrong(NULL, "--out x --most 18446744073709551615", "wanted 0 to 1000000000000000");
    wrong(NULL, "--out x --most 9223372036854775808", "wanted 0 to 1000000000000000");
    wrong(NULL, "--out x --cut 3,99999999999999999999", "wanted 0 to 1000");
    wrong(NULL, "--out x --rate nan", "wanted a number");
    wrong(NULL, "--out x --rate -1", "wanted 0 to 1000000");
    wrong(NULL, "--out x --quiet=yes", "takes no value");
    wrong(NULL, "--out x --cut 3,,4", "3,5,8");
    wrong(NULL, "--out x --cut 3,4000", "wanted 0 to 1000");
    wrong(NULL, "--out x --how four", "--how is \"four\", wanted one, two or three");
    wrong(NULL, "--out x --how=", "wanted one, two or three");
    wrong(NULL, "--out x --parts one,tow",
          "--parts has \"tow\", wanted some of one, two and three");
    wrong(NULL, "--out x --parts one,", "--parts has \"\"");
    wrong(NULL, "--out x --file=", "--file is empty, wanted FILE");
    wrong(NULL, "--out x --file f --from g", "--file and --from are both given");
    wrong(NULL, "--out x --data", "wants a value");
    wrong(NULL, "--out x stray", "stray");
    wrong("DIR", "--out x", "wants DIR");
    wrong("DIR", "--out x a b", "\"b\"");
    wrong(NULL, "--steps 3", "wants --from TEXT or --out");
    wrong(NULL, "--from x", "wants --out DIR");
}

/* Several operands, and one that may be left out. */
static void test_operands(void **state) {
    (void)state;
    text_list list = {0};
    const char *operand;
    hy_error err = {0};
    command c = {.name = "several", .operand = "PATH...", .operands = &list};
    char *argv[] = {"a", "b", "-"};
    assert_int_equal(options_parse(&c, 3, argv, &operand, &err), PARSE_RUN);
    assert_int_equal(list.n, 3);
    assert_string_equal(list.item[2], "-");
    options_release(&c);
    assert_int_equal(options_parse(&c, 0, argv, &operand, &err), PARSE_WRONG);
    assert_non_null(strstr(err.text, "several wants PATH..."));
    c = (command){.name = "one", .operand = "FILE", .operand_optional = true};
    assert_int_equal(options_parse(&c, 0, argv, &operand, &err), PARSE_RUN);
    assert_null(operand);
    assert_int_equal(options_parse(&c, 2, argv, &operand, &err), PARSE_WRONG);
}

static int run_with(int argc, char **argv) {
    return 10 + argc + (argc > 0 && strcmp(argv[argc - 1], "--help") == 0 ? 100 : 0);
}

static void test_dispatch(void **state) {
    (void)state;
    const verb verbs[] = {{"build", run_with, "build it"}, {"show", run_with, "show it"}};
    const verb_set set = {.name = "test", .what = "VERB", .verb = verbs, .n_verb = 2};
    char *argv[] = {"build", "x", "y"}, *help[] = {"help", "show"}, *typo[] = {"biuld"};
    assert_int_equal(cmd_dispatch(&set, 3, argv), 12);
    assert_int_equal(cmd_dispatch(&set, 2, help), 111);
    assert_int_equal(cmd_dispatch(&set, 1, help), 0);
    assert_int_equal(cmd_dispatch(&set, 1, typo), 2);
    assert_int_equal(cmd_dispatch(&set, 0, argv), 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),    cmocka_unit_test(test_words),
        cmocka_unit_test(test_help),     cmocka_unit_test(test_wrong_usage),
        cmocka_unit_test(test_operands), cmocka_unit_test(test_dispatch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
