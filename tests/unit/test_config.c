/* The configuration: defaults, YAML and JSON there and back, patterns, derived values, and the
 * sentence of every mistake. */
#include "base/file.h"
#include "config/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

static hy_status parse(const char *text, hy__config *c, hy__train_config *t, hy_error *err) {
    return hy__config_parse_yaml(text, strlen(text), "t.yaml", c, t, err);
}

static void must_parse(const char *text, hy__config *c, hy__train_config *t) {
    hy_error err = {0};
    if (parse(text, c, t, &err) != HY_OK) fail_msg("%s", err.text);
}

/* Both must stand in the sentence. */
static void must_fail(const char *text, const char *want, const char *also) {
    hy__config c;
    hy__train_config t;
    hy_error err = {0};
    if (parse(text, &c, &t, &err) != HY_E_INVALID) fail_msg("accepted:\n%s", text);
    if (!strstr(err.text, want) || !strstr(err.text, also))
        fail_msg("%s\n  said: %s\n  wanted: %s … %s", text, err.text, want, also);
    assert_int_equal(parse(text, &c, &t, NULL), HY_E_INVALID); /* nobody hears the sentence */
}

static void defaults(void **state) {
    (void)state;
    hy__config c;
    hy__train_config t;
    hy__config_default(&c, &t);
    assert_string_equal(c.model.layers, "S");
    assert_int_equal(c.model.chunk, 64);
    assert_int_equal(c.ssm.d_state, 128);
    assert_true(c.ssm.dt_max == 0.1);
    assert_true(c.attention.qk_norm);
    assert_int_equal(c.experts.route, HY__ROUTE_PREVIOUS);
    assert_int_equal(c.pkm.topk, 16);
    assert_true(t.beta2 == 0.95);
    assert_true(t.carry);
    hy__config empty;
    must_parse("", &empty, NULL); /* an empty file is the defaults */
    assert_int_equal(hy__config_finish(&c, NULL), HY_OK);
    assert_memory_equal(&c.model, &empty.model, sizeof c.model);
}

static void yaml_sets_every_type(void **state) {
    (void)state;
    hy__config c;
    hy__train_config t;
    must_parse("# a comment\n"
               "model:\n"
               "  layers: 2x(SA E)\n"
               "  d_model: 128\n"
               "attention:\n"
               "  qk_norm: no\n"
               "  rope_theta: 1e4\n"
               "experts: {route: token, n_expert: &four 4}\n"
               "ssm: {n_group: *four}\n"
               "train:\n"
               "  lr: 3.5e-4 # peak\n"
               "  schedule: \"wsd\"\n"
               "  dtype: bf16\n"
               "  seed: 123456789012\n",
               &c, &t);
    assert_string_equal(c.letter, "SAESAE");
    assert_int_equal(c.model.d_model, 128);
    assert_false(c.attention.qk_norm);
    assert_true(c.attention.rope_theta == 1e4);
    assert_int_equal(c.experts.route, HY__ROUTE_TOKEN);
    assert_int_equal(c.experts.n_expert, 4);
    assert_int_equal(c.ssm.n_group, 4);
    assert_true(t.lr == 3.5e-4);
    assert_int_equal(t.schedule, HY__SCHEDULE_WSD);
    assert_int_equal(t.dtype, HY__TRAIN_BF16);
    assert_true(t.seed == 123456789012);
}

static void derived_values_follow_changes(void **state) {
    (void)state;
    hy__config c;
    must_parse("model: {layers: SAEFWP, d_model: 256}\nattention: {n_head: 2}", &c, NULL);
    assert_int_equal(c.attention.n_head, 2);
    assert_int_equal(c.attention.n_kv, 2);
    assert_int_equal(c.attention.head_dim, 128);
    assert_int_equal(c.ffn.d_ff, 704);     /* 8/3·256 = 682.7 */
    assert_int_equal(c.experts.d_ff, 352); /* half of it, 341.3 */
    assert_int_equal(c.experts.shortlist, 4);
    assert_int_equal(c.workspace.n_head, 4);
    assert_int_equal(c.pkm.d_value, 256);

    hy__config again = c;
    assert_int_equal(hy__config_finish(&again, NULL), HY_OK);
    assert_memory_equal(&c, &again, sizeof c); /* idempotent */

    assert_int_equal(hy__config_set(&c, NULL, "model.d_model", "512", NULL), HY_OK);
    assert_int_equal(hy__config_set(&c, NULL, "ffn.d_ff", "704", NULL), HY_OK);
    assert_int_equal(hy__config_finish(&c, NULL), HY_OK);
    assert_int_equal(c.attention.n_head, 2); /* given: stays */
    assert_int_equal(c.attention.head_dim, 256);
    assert_int_equal(c.ffn.d_ff, 704); /* given, though it equals what was derived */
    assert_int_equal(c.experts.d_ff, 704);
    assert_int_equal(c.pkm.d_value, 512);
}

static void patterns(void **state) {
    (void)state;
    static const struct {
        const char *pattern, *letters;
        int n_block;
    } row[] = {
        {"S", "S", 1},
        {"SAEFWP", "SAEFWP", 1},
        {"S A  E\n", "SAE", 3},
        {"3x(SE S)", "SESSESSES", 6},
        {"2x(SE 2x(S) A)", "SESSASESSA", 8},
        {"2x(S)A", "SSA", 3},
        {"S2x(A)", "SAA", 3},
        {"2x( S )", "SS", 2},
        {"1x(1x(1x(W)))P", "WP", 2},
        {"512x(S)", NULL, 512},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        hy__config c;
        hy_error err = {0};
        hy__config_default(&c, NULL);
        snprintf(c.model.layers, sizeof c.model.layers, "%s", row[i].pattern);
        if (hy__layers_expand(&c, &err) != HY_OK) fail_msg("%s: %s", row[i].pattern, err.text);
        if (row[i].letters) assert_string_equal(c.letter, row[i].letters);
        assert_int_equal(c.n_layer, strlen(c.letter));
        assert_int_equal(c.n_block, row[i].n_block);
        assert_int_equal(c.block[0], 0);
        assert_int_equal(c.block[c.n_layer - 1], row[i].n_block - 1);
    }
}

/* The caret must stand under column `at` of the pattern. */
static void bad_patterns(void **state) {
    (void)state;
    static const struct {
        const char *pattern, *want;
        int at;
    } row[] = {
        {"", "no layers", 0},
        {"   ", "no layers", 0},
        {"SQ", "wanted a letter of S A E F W P", 1},
        {"s", "wanted a letter of S A E F W P", 0},
        {"S,A", "wanted a letter", 1},
        {"3x", "wanted 'x(' after a repeat count", 1},
        {"3(S)", "wanted 'x('", 1},
        {"S 3", "wanted 'x('", 3},
        {"0x(S)", "count must be from 1 to 512", 0},
        {"S 99999999999999999999x(S)", "count must be from 1 to 512", 2},
        {"2x()", "nothing to repeat", 3},
        {"A 2x(  )", "nothing to repeat", 5},
        {"2x(S", "never closed", 2},
        {"2x(S 2x(A)", "never closed", 2},
        {"S)", "closes nothing", 1},
        {"2x(S))", "closes nothing", 5},
        {"512x(SS)", "more than 512 layers", 5},
        {"512x(512x(512x(S)))", "more than 512 layers", 15},
        {"1x(1x(1x(1x(1x(1x(1x(1x(1x(1x(1x(1x(1x(1x(1x(1x(1x(S)))))))))))))))))", "nested", 28},
        {"(S)", "wanted a letter", 0},
        {"S \xc3\x97", "wanted a letter", 2},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        hy__config c;
        hy_error err = {0};
        hy__config_default(&c, NULL);
        snprintf(c.model.layers, sizeof c.model.layers, "%s", row[i].pattern);
        if (hy__layers_expand(&c, &err) != HY_E_INVALID) fail_msg("accepted %s", row[i].pattern);
        if (!strstr(err.text, row[i].want)) fail_msg("%s: %s", row[i].pattern, err.text);
        const char *last = strrchr(err.text, '\n');
        assert_non_null(last);
        const int column = (int)(strchr(last, '^') - last) - 3; /* "\n  " */
        if (column != row[i].at) fail_msg("caret at %d, not %d: %s", column, row[i].at, err.text);
    }
}

static void bad_files(void **state) {
    (void)state;
    static const struct {
        const char *text, *want, *also;
    } row[] = {
        /* YAML and structure */
        {"model: {d_model: ]", "t.yaml:", "not valid YAML"},
        {"model:\n\tchunk: 64\n", "t.yaml:", "not valid YAML"},
        {"model: {}\n\nssm: \x01", "t.yaml:3:", "not valid YAML: control characters"},
        {"model: 3", "t.yaml:1: model is no mapping", "keys to values but '3'"},
        {"ssm: {}\nmodel: [1]", "t.yaml:2: model is no mapping", "but a list"},
        {"\nmodel:\n", "t.yaml:2: model is no mapping", "but empty"},
        {"- model", "t.yaml:1: a configuration is no mapping", "but a list"},
        {"text", "t.yaml:1: a configuration is no mapping", "but 'text'"},
        {"? [a]\n: 3", "t.yaml:1: a key is no plain value", "but a list"},
        {"model:\n  layers: [S, A]\n", "t.yaml:2: model.layers is no plain", "but a list"},
        {"model:\n  layers: {S: A}\n", "t.yaml:2: model.layers is no plain", "but a mapping"},
        {"model: {layers: \"S\\0F\"}", "t.yaml:1: model.layers is no plain", "a NUL byte"},
        {"\"model\\0\": {}", "t.yaml:1: a key is no plain value", "a NUL byte"},
        {"model:\n  d_model: 8\n  d_model: 9\n", "t.yaml:3: d_model stands twice", "in model"},
        {"model: {d_model: 8}\nmodel: {d_model: 9}\n", "t.yaml:2: model stands twice", ""},
        {"model: {d_model: 8}\n---\nmodel: {}\n", "t.yaml:2: a second YAML document", "one"},
        {"{}\n---\n", "t.yaml:2: a second YAML document", "one"},
        {"model: {}\n...\n]", "t.yaml:3:", "not valid YAML"},
        /* a node that is used again, and one that holds itself */
        {"model: &a {d_model: 8}\nssm: *a\n", "t.yaml:1: there is no field ssm.d_model", ""},
        {"model: &a\n  layers: *a\n", "t.yaml:1: model.layers is no plain", "but a mapping"},
        /* unknown names */
        {"modl:\n  d_model: 8\n", "t.yaml:1: there is no section 'modl'", "model, ssm, attention"},
        {"model:\n  d_modl: 8\n", "t.yaml:2: there is no field model.d_modl", "layers, d_model"},
        {"ssm: {}\nffn:\n\n  width: 8\n", "t.yaml:4: there is no field ffn.width", "ffn has d_ff"},
        {"chunk: 64\n", "there is no section 'chunk'", "t.yaml:1"},
        {"\n'mode': {}\n", "t.yaml:2: there is no section 'mode'", "model, ssm"},
        /* one value */
        {"model:\n  d_model: abc\n", "t.yaml:2: model.d_model is 'abc'", "from 1 to 65536"},
        {"model:\n  d_model: 3x\n", "t.yaml:2: model.d_model is '3x'", "a whole number"},
        {"model:\n  d_model: 1.5\n", "model.d_model is '1.5'", "a whole number"},
        {"model:\n  d_model:\n", "t.yaml:2: model.d_model is ''", "a whole number"},
        {"model:\n  d_model: 0\n", "model.d_model is '0'", "from 1 to 65536"},
        {"model:\n  d_model: -8\n", "model.d_model is '-8'", "from 1 to 65536"},
        {"model:\n  d_model: 99999999999999999999\n", "model.d_model is '999", "65536"},
        {"model: {vocab: 16777217}", "t.yaml:1: model.vocab is '16777217'", "from 1 to 16777216"},
        {"\"model\":\n  \"vocab\": x", "t.yaml:2: model.vocab is 'x'", "a whole number"},
        {"model: {layers: S,\n  vocab: x}", "t.yaml:2: model.vocab is 'x'", "a whole number"},
        {"model: {norm_eps: 0}", "model.norm_eps is '0'", "a number from 1e-12 to 1"},
        {"model: {norm_eps: .nan}", "model.norm_eps is '.nan'", "a number"},
        {"model: {norm_eps: nan}", "model.norm_eps is 'nan'", "a number"},
        {"train:\n  lr: fast\n", "t.yaml:2: train.lr is 'fast'", "a number from 0 to 10"},
        {"train: {lr: -1e-3}", "train.lr is '-1e-3'", "from 0 to 10"},
        {"train: {lr: 1e999}", "train.lr is '1e999'", "from 0 to 10"},
        {"train: {steps: 0}", "train.steps is '0'", "from 1"},
        {"train: {steps: 1e6}", "train.steps is '1e6'", "a whole number"},
        {"train: {carry: maybe}", "train.carry is 'maybe'", "true or false"},
        {"train: {schedule: linear}", "train.schedule is 'linear'", "one of cosine, wsd"},
        {"train: {dtype: fp16}", "train.dtype is 'fp16'", "one of fp32, bf16"},
        {"train: {val_fraction: 1}", "train.val_fraction is '1'", "from 0 to 0.9"},
        {"experts: {route: mine}", "experts.route is 'mine'", "previous, shortlist, token, own"},
        {"workspace: {reads: 17}", "workspace.reads is '17'", "from 1 to 16"},
        {"attention: {window: 0}", "attention.window is '0'", "from 1"},
        {"model: {chunk: 512}", "model.chunk is '512'", "from 16 to 256"},
        /* fields together */
        {"\nmodel: {chunk: 40}", "t.yaml:2: model.chunk is 40", "multiple of 16"},
        {"\nmodel: {layers: SX}", "t.yaml:2: model.layers: wanted a letter", "^"},
        {"model: {layers: ''}", "model.layers: no layers", "^"},
        {"model: {d_model: 100}", "t.yaml: ssm.head_dim is 64", "expand * d_model = 200"},
        {"ssm: {n_group: 3}", "ssm.n_group is 3", "divide the number of heads, 8"},
        {"ssm: {dt_min: 0.5}", "ssm.dt_min is 0.5", "ssm.dt_max = 0.1"},
        {"model: {layers: A}\nattention: {n_head: 4, n_kv: 3}", "attention.n_kv is 3",
         "attention.n_head = 4"},
        {"model: {layers: A}\nattention: {n_kv: 8}", "attention.n_kv is 8", "n_head = 4"},
        {"model: {layers: A, d_model: 2048}\nattention: {n_head: 1}",
         "attention.head_dim would be 2048", "at most 1024"},
        {"model: {layers: A}\nattention: {head_dim: 33, rope_theta: 1e4}",
         "attention.head_dim is 33", "even"},
        {"model: {layers: A}\nattention: {rope_theta: 0.5}", "attention.rope_theta is 0.5",
         "at least 1"},
        {"model: {layers: E}\nexperts: {n_expert: 2, k: 3}", "experts.k is 3", "n_expert = 2"},
        {"model: {layers: E, chunk: 48}", "experts.expert_chunk is 32", "model.chunk = 48"},
        {"model: {layers: E}\nexperts: {shortlist: 1}", "experts.shortlist is 1", "experts.k = 2"},
        {"model: {layers: E}\nexperts: {shortlist: 9}", "experts.shortlist is 9", "n_expert = 8"},
        {"model: {layers: P}\npkm: {d_key: 33}", "pkm.d_key is 33", "even"},
        {"model: {layers: P}\npkm: {n_key: 8}", "pkm.topk is 16", "pkm.n_key = 8"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        must_fail(row[i].text, row[i].want, row[i].also);
}

static void only_letters_in_the_pattern_are_checked(void **state) {
    (void)state;
    hy__config c;
    must_parse("model: {layers: F, d_model: 100}\nexperts: {k: 16}\npkm: {n_key: 2}", &c, NULL);
    assert_string_equal(c.letter, "F");
}

static void a_failure_changes_nothing(void **state) {
    (void)state;
    hy__config c, before;
    hy__train_config t, train_before;
    must_parse("model: {layers: SE, d_model: 128}", &c, &t);
    before = c;
    train_before = t;
    assert_int_equal(parse("model: {layers: A}\ntrain: {lr: 1, steps: x}", &c, &t, NULL),
                     HY_E_INVALID);
    assert_memory_equal(&c, &before, sizeof c);
    assert_memory_equal(&t, &train_before, sizeof t);
}

static const char *const all_letters =
    "model: {layers: 2x(SE A) FWP, d_model: 96, norm_eps: 3e-6}\n"
    "ssm: {head_dim: 32, dt_min: 0.0012345678901234567}\n"
    "experts: {route: shortlist}\n"
    "train: {lr: 0.1, carry: false, schedule: wsd}\n";

static void print_reads_back(void **state) {
    (void)state;
    hy__config c, back;
    hy__train_config t, t_back;
    must_parse(all_letters, &c, &t);
    char *text = hy__config_print(&c, &t);
    assert_non_null(text);
    must_parse(text, &back, &t_back);
    assert_memory_equal(&t, &t_back, sizeof t);
    memset(c.derived, 0, sizeof c.derived); /* what was derived is now written out */
    assert_memory_equal(&c, &back, sizeof c);
    free(text);

    must_parse("model: {layers: S}", &c, NULL);
    text = hy__config_print(&c, NULL);
    assert_non_null(strstr(text, "ssm:"));
    assert_null(strstr(text, "pkm:")); /* not in the pattern */
    assert_null(strstr(text, "train:"));
    free(text);
}

static void help_is_the_defaults(void **state) {
    (void)state;
    hy__config c, back;
    hy__train_config t, t_back;
    char *text = hy__config_help();
    assert_non_null(text);
    assert_non_null(strstr(text, "one of previous, shortlist, token, own"));
    must_parse(text, &back, &t_back);
    hy__config_default(&c, &t);
    hy__config_finish(&c, NULL);
    assert_memory_equal(&c, &back, sizeof c);
    assert_memory_equal(&t, &t_back, sizeof t);
    free(text);
}

static void json_there_and_back(void **state) {
    (void)state;
    hy__config c, back;
    hy__train_config t, t_back;
    must_parse(all_letters, &c, &t);
    json_t *json = hy__config_to_json(&c, &t);
    assert_non_null(json);
    json_object_set_new(json, "model_type", json_string("hydra")); /* other keys are passed over */
    hy_error err = {0};
    if (hy__config_from_json(json, "config.json", &back, &t_back, &err) != HY_OK)
        fail_msg("%s", err.text);
    memset(c.derived, 0, sizeof c.derived);
    assert_memory_equal(&c, &back, sizeof c);
    assert_memory_equal(&t, &t_back, sizeof t);
    json_decref(json);
}

static void bad_json(void **state) {
    (void)state;
    static const struct {
        const char *text, *want, *also;
    } row[] = {
        {"[]", "config.json", "not a JSON object"},
        {"{\"model\": 3}", "config.json: section model", "not an object"},
        {"{\"model\": {\"d_model\": \"8\"}}", "model.d_model is \"8\"", "a whole number"},
        {"{\"model\": {\"d_model\": 8.5}}", "model.d_model is '8.5'", "a whole number"},
        {"{\"model\": {\"d_model\": null}}", "model.d_model is 'null'", "a whole number"},
        {"{\"model\": {\"layers\": 3}}", "model.layers is 3", "a text"},
        {"{\"model\": {\"layers\": [\"S\"]}}", "model.layers is [\"S\"]", "a text"},
        {"{\"model\": {\"width\": 3}}", "no field model.width", "d_model"},
        {"{\"attention\": {\"qk_norm\": 1}}", "attention.qk_norm is '1'", "true or false"},
        {"{\"experts\": {\"route\": \"x\"}}", "experts.route is 'x'", "previous"},
        {"{\"model\": {\"chunk\": 40}}", "config.json: model.chunk is 40", "multiple of 16"},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        hy__config c;
        hy_error err = {0};
        json_t *json = json_loads(row[i].text, 0, NULL);
        assert_non_null(json);
        assert_int_equal(hy__config_from_json(json, "config.json", &c, NULL, &err), HY_E_INVALID);
        if (!strstr(err.text, row[i].want) || !strstr(err.text, row[i].also))
            fail_msg("%s\n  said: %s", row[i].text, err.text);
        json_decref(json);
    }
}

static void set_by_name(void **state) {
    (void)state;
    hy__config c;
    hy__train_config t;
    hy_error err = {0};
    hy__config_default(&c, &t);
    assert_int_equal(hy__config_set(&c, &t, "train.lr", "2e-3", &err), HY_OK);
    assert_true(t.lr == 2e-3);
    assert_int_equal(hy__config_set(&c, &t, "model.layers", "2x(SA)", &err), HY_OK);
    assert_int_equal(hy__config_set(&c, NULL, "train.lr", "2e-3", &err), HY_OK); /* dropped */
    assert_int_equal(hy__config_set(&c, &t, "lr", "1", &err), HY_E_INVALID);
    assert_non_null(strstr(err.text, "section.field"));
    assert_int_equal(hy__config_set(&c, &t, "train.lrr", "1", &err), HY_E_INVALID);
    assert_non_null(strstr(err.text, "there is no field train.lrr; train has steps"));
    assert_int_equal(hy__config_set(&c, &t, "trian.lr", "1", &err), HY_E_INVALID);
    assert_non_null(strstr(err.text, "there is no section 'trian'"));
    assert_int_equal(hy__config_set(&c, &t, "train.lr", "", &err), HY_E_INVALID);
    char long_pattern[HY__PATTERN_MAX + 1];
    memset(long_pattern, 'S', HY__PATTERN_MAX);
    long_pattern[HY__PATTERN_MAX] = '\0';
    assert_int_equal(hy__config_set(&c, &t, "model.layers", long_pattern, &err), HY_E_INVALID);
    assert_non_null(strstr(err.text, "at most 1023 characters"));
}

static int64_t count(const hy__config *c, char letter) {
    int64_t n = 0;
    for (int64_t i = 0; i < c->n_layer; i++) n += c->letter[i] == letter;
    return n;
}

/* The working folder of the tests is the repository's root. */
static void shipped_configurations(void **state) {
    (void)state;
    hy__file_list list;
    hy__config c;
    hy__train_config t;
    hy_error err = {0};
    if (hy__dir_list(&list, "configs", &err) != HY_OK) fail_msg("%s", err.text);
    assert_true(list.n >= 12); /* four sizes, each beside a Transformer and a Mamba-2 */
    for (int64_t i = 0; i < list.n; i++) {
        if (strstr(list.path[i], "curriculum-")) continue; /* unit.recipe reads them */
        if (hy__config_read_yaml(list.path[i], &c, &t, &err) != HY_OK) fail_msg("%s", err.text);
    }
    hy__file_list_release(&list);

    if (hy__config_read_yaml("configs/hydra-1.6b.yaml", &c, &t, &err) != HY_OK)
        fail_msg("%s", err.text);
    assert_int_equal(count(&c, 'S'), 24);
    assert_int_equal(count(&c, 'A'), 6);
    assert_int_equal(count(&c, 'E'), 12);
    assert_int_equal(count(&c, 'W'), 3);
    assert_int_equal(count(&c, 'P'), 3);
    assert_int_equal(c.pkm.n_key, 512);
}

static void missing_file(void **state) {
    (void)state;
    hy__config c;
    hy_error err = {0};
    assert_int_equal(hy__config_read_yaml("no/such.yaml", &c, NULL, &err), HY_E_IO);
    assert_string_equal(err.text, "cannot open no/such.yaml: No such file or directory");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(yaml_sets_every_type),
        cmocka_unit_test(derived_values_follow_changes),
        cmocka_unit_test(patterns),
        cmocka_unit_test(bad_patterns),
        cmocka_unit_test(bad_files),
        cmocka_unit_test(only_letters_in_the_pattern_are_checked),
        cmocka_unit_test(a_failure_changes_nothing),
        cmocka_unit_test(print_reads_back),
        cmocka_unit_test(help_is_the_defaults),
        cmocka_unit_test(json_there_and_back),
        cmocka_unit_test(bad_json),
        cmocka_unit_test(set_by_name),
        cmocka_unit_test(shipped_configurations),
        cmocka_unit_test(missing_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
