/* Mamba2ForCausalLM of Hugging Face transformers as the witness: tests/golden holds small random
 * models and their logits (tools/make_golden.py). Imported here, they must give the same logits fed
 * whole, cut and step by step, on every backend; exported again, they must be the same tensors.
 *
 * And the checkpoint itself: what is saved is opened bit for bit, what does not fit is refused. */
#include "ckpt/checkpoint.h"
#include "ckpt/hf_mamba2.h"
#include "ckpt/json_file.h"
#include "support/law.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const names[] = {"mamba2-plain", "mamba2-odd", "mamba2-wide"};
enum { N_GOLDEN = 3 };

static char root[] = P_tmpdir "/hydralm-golden-XXXXXX";

static int make_root(void **state) {
    (void)state;
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

#define GOOD(expr)                                                                                 \
    do {                                                                                           \
        hy_error err = {0};                                                                        \
        if ((expr) != HY_OK) fail_msg("%s: %s", #expr, err.text);                                  \
    } while (0)
#define E (&err)

/* root/name; stands until four more were asked for. */
static const char *at_root(const char *name) {
    static char path[4][512];
    static int next;
    char *p = path[next++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", root, name);
    return p;
}

static const char *golden(const char *name, const char *file) {
    static char path[2][512];
    static int next;
    char *p = path[next++ % 2];
    snprintf(p, sizeof path[0], "tests/golden/%s%s%s", name, *file ? "/" : "", file);
    return p;
}

/* ---- logits -----------------------------------------------------------------------------------
 */

/* Feeds tokens in pieces of `piece` (0: whole) and returns all logits [n, vocab]. */
static float *run(hy__model *m, const int32_t *token, int64_t n, int64_t piece) {
    hy__state *s;
    hy__work *w;
    float *logits = malloc((size_t)(n * m->cfg.model.vocab) * sizeof *logits);
    GOOD(hy__state_new(&s, m, n, E));
    GOOD(hy__work_new(&w, m, (hy__work_options){0}, E));
    for (int64_t i = 0; i < n;) {
        const int64_t len = piece == 0 || piece > n - i ? n - i : piece;
        const hy__seq seq = {.len = len, .pos = i};
        const hy__batch batch = {.rows = {.n_row = len, .n_seq = 1, .seq = &seq},
                                 .token = token + i,
                                 .state_in = &s,
                                 .state_out = &s};
        GOOD(hy__forward(w, &batch, E));
        GOOD(hy__logits(w, 0, len, logits + i * m->cfg.model.vocab, E));
        i += len;
    }
    hy__work_free(w);
    hy__state_free(s);
    return logits;
}

/* Both sides compute in fp32 (ref64 in fp64) and the witness is within 2e-5 of an fp64 recurrence
 * (relative to logits of up to 5): 1e-4 leaves room for another order of summation, none for
 * another equation. */
static const double tolerance = 1e-4;

static void expect_logits(const char *what, const char *backend, const hy__st_tensor *want,
                          float *got) {
    double worst = 0;
    for (int64_t i = 0; i < want->n; i++) {
        double x;
        hy__st_get_f64(&x, want, i, 1);
        const double off = fabs(x - (double)got[i]);
        if (!(off <= worst)) worst = off;
    }
    free(got);
    if (!(worst <= tolerance)) fail_msg("%s on %s is off by %g", what, backend, worst);
}

static void test_logits(void **state) {
    (void)state;
    for (int g = 0; g < N_GOLDEN; g++) {
        const char *dir = at_root(names[g]);
        hy__st *expected;
        GOOD(hy__hf_import(golden(names[g], ""), dir, NULL, E));
        GOOD(hy__st_open(&expected, golden(names[g], "expected.safetensors"), E));
        const hy__st_tensor *tokens = hy__st_find(expected, "tokens");
        const hy__st_tensor *logits = hy__st_find(expected, "logits");
        const hy__st_tensor *decoded = hy__st_find(expected, "decoded");
        int32_t *token = malloc((size_t)tokens->n * sizeof *token);
        memcpy(token, tokens->data, (size_t)tokens->n * sizeof *token);
        for (const char *const *name = hy__backend_names(); *name; name++) {
            hy__backend *be;
            hy__model *m;
            GOOD(hy__backend_open(&be, *name, 2, E));
            GOOD(hy__checkpoint_open(&m, be, dir, NULL, E));
            expect_logits("whole", *name, logits, run(m, token, tokens->n, 0));
            expect_logits("cut by 7", *name, logits, run(m, token, tokens->n, 7));
            expect_logits("cut by 48", *name, logits, run(m, token, tokens->n, 48));
            expect_logits("step by step", *name, decoded, run(m, token, tokens->n, 1));
            hy__model_free(m);
            hy__backend_free(be);
        }
        free(token);
        hy__st_close(expected);
    }
}

/* ---- import and export ------------------------------------------------------------------------
 */

static void expect_same_file(const char *a, const char *b) {
    hy__st *x, *y;
    GOOD(hy__st_open_dir(&x, a, E));
    GOOD(hy__st_open_dir(&y, b, E));
    assert_int_equal(hy__st_count(x), hy__st_count(y));
    for (int64_t i = 0; i < hy__st_count(x); i++) {
        const hy__st_tensor *t = hy__st_at(x, i), *u = hy__st_at(y, i);
        assert_string_equal(t->name, u->name);
        assert_int_equal(t->dtype, u->dtype);
        assert_int_equal(t->n, u->n);
        assert_memory_equal(t->data, u->data, (size_t)t->n * hy__st_dtype_size(t->dtype));
    }
    hy__st_close(y);
    hy__st_close(x);
}

static void test_export(void **state) {
    (void)state;
    for (int g = 0; g < N_GOLDEN; g++) {
        hy_convert_result result;
        GOOD(hy__hf_import(golden(names[g], ""), at_root("ours"), &result, E));
        assert_int_equal(*result.note != 0, g != 0); /* chunk_size 32 fits; 8 and 40 do not */
        GOOD(hy__hf_export(at_root("ours"), at_root("theirs"), E));
        expect_same_file(golden(names[g], ""), at_root("theirs"));
        GOOD(hy__hf_import(at_root("theirs"), at_root("again"), &result, E));
        expect_same_file(at_root("ours"), at_root("again"));
        assert_string_equal(result.note, "");
    }
}

static hy__model *new_model(hy__backend *be, const char *layers, hy__dtype dtype) {
    hy__config c;
    hy__config_default(&c, NULL);
    snprintf(c.model.layers, sizeof c.model.layers, "%s", layers);
    c.model.d_model = 32;
    c.model.vocab = 50;
    c.model.chunk = 16;
    c.ssm.head_dim = 16;
    c.ssm.d_state = 8;
    c.attention.n_head = 2;
    c.experts.expert_chunk = 16;
    c.experts.n_expert = 4;
    c.pkm.n_key = 8;
    c.pkm.topk = 2;
    hy__model *m;
    GOOD(hy__config_finish(&c, E));
    GOOD(hy__model_new(&m, be, &c, dtype, E));
    hy__model_randomize(m, 7);
    return m;
}

/* The gate goes into out_proj: same function, other parameters. */
static void test_export_gate(void **state) {
    (void)state;
    static const int32_t token[] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4};
    enum { N = sizeof token / sizeof *token };
    hy__backend *be;
    GOOD(hy__backend_open(&be, "ref64", 1, E));
    hy__model *m = new_model(be, "2x(S)", be->real), *n;
    const double gates[] = {0.3, -1.7};
    for (int i = 0; i < 2; i++)
        hy__tensor_write_f64(be, m->layer[i].value[m->layer[i].gate], &gates[i], 1);
    law_save(m, at_root("gated"));
    GOOD(hy__hf_export(at_root("gated"), at_root("folded"), E));
    GOOD(hy__hf_import(at_root("folded"), at_root("unfolded"), NULL, E));
    GOOD(hy__checkpoint_open(&n, be, at_root("unfolded"), NULL, E));
    float *a = run(m, token, N, 0), *b = run(n, token, N, 0);
    for (int i = 0; i < N * 50; i++) /* weights were rounded to fp32 on the way: 1e-7 of each */
        if (!(fabsf(a[i] - b[i]) < 1e-5f))
            fail_msg("logit %d: %g, %g", i, (double)a[i], (double)b[i]);
    free(a);
    free(b);
    hy__model_free(m);
    hy__model_free(n);

    m = new_model(be, "S F", be->real);
    law_save(m, at_root("other"));
    hy_error err;
    assert_int_equal(hy__hf_export(at_root("other"), at_root("none"), &err), HY_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "layer 1 is 'F'"));
    hy__model_free(m);
    hy__backend_free(be);
}

/* Every change of a good config that must be refused, or taken (says NULL). */
static const struct {
    const char *key, *value, *says;
} edits[] = {
    {"time_step_limit", "[0.0, Infinity]", NULL},
    {"time_step_limit", "[0, {\"__float__\": \"Infinity\"}]", NULL},
    {"time_step_limit", "[0.0, 0.1]", "bounds the time step"},
    {"time_step_limit", "[0.001, Infinity]", "bounds the time step"},
    {"time_step_limit", "3", "bounds the time step"},
    {"expand", "3.0", NULL},
    {"expand", "2.5", "whole number"},
    {"expand", "\"3\"", "expand is \"3\", but must be a whole number from 1 on"},
    {"layer_norm_epsilon", "\"1e-6\"", "layer_norm_epsilon is \"1e-6\", but must be a number"},
    {"time_step_min", "\"x\"", "time_step_min is \"x\", but must be a number"},
    {"time_step_max", "[1]", "time_step_max is [1], but must be a number"},
    {"time_step_floor", "null", "time_step_floor is null, but must be a number"},
    {"time_step_min", "0.5", "ssm.dt_min is 0.5"},
    {"use_bias", "\"no\"", "use_bias is \"no\", but must be true or false"},
    {"hidden_act", "5", "hidden_act is 5, but must be a text"},
    {"attn_layer_idx", "3", "attn_layer_idx is 3, but must be a list"},
    {"d_intermediate", "\"x\"", "d_intermediate is \"x\", but must be a number"},
    {"use_bias", "true", "biases"},
    {"use_conv_bias", "false", "convolution without bias"},
    {"norm_before_gate", "true", "norm before the gate"},
    {"hidden_act", "\"gelu\"", "only silu"},
    {"n_groups", "2", "groups of B and C"},
    {"n_groups", "null", "n_groups is null, but must be a whole number"},
    {"num_heads", "8", "do not make the inner width"},
    {"num_hidden_layers", "2", "is none of a Mamba2"},
    {"num_hidden_layers", "4", "is missing"},
    {"num_hidden_layers", "0", "from 1 on"},
    {"num_hidden_layers", "1e300", "from 1 on"},
    {"hidden_size", "35", "do not make the inner width"},
    {"state_size", "24", "its config wants"},
    {"conv_kernel", "100", "d_conv"},
    {"model_type", "\"mamba\"", "must be 'mamba2'"},
    {"tie_word_embeddings", "false", "no lm_head.weight"},
};

static void write_text(const char *path, const char *text) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* A folder with the weights of a golden case and its config after an edit. */
static void edit_config(const char *dir, const char *key, const char *value) {
    json_t *config, *made;
    char text[256];
    mkdir(dir, 0777);
    snprintf(text, sizeof text, "{\"%s\": %s}", key, value);
    GOOD(hy__json_read(&config, golden("mamba2-odd", ""), "config.json", E));
    GOOD(hy__json_parse(&made, text, strlen(text), 8, true, "edit", E));
    json_object_update(config, made);
    char *all = json_dumps(config, 0);
    char path[600];
    snprintf(path, sizeof path, "%s/config.json", dir);
    write_text(path, all);
    free(all);
    json_decref(made);
    json_decref(config);
}

static void test_refused(void **state) {
    (void)state;
    char here[400], to[600];
    char dir[512];
    snprintf(dir, sizeof dir, "%s", at_root("edited"));
    mkdir(dir, 0777);
    assert_non_null(getcwd(here, sizeof here));
    snprintf(to, sizeof to, "%s/tests/golden/mamba2-odd/model.safetensors", here);
    char link[600];
    snprintf(link, sizeof link, "%s/model.safetensors", dir);
    assert_int_equal(symlink(to, link), 0);
    for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
        edit_config(dir, edits[i].key, edits[i].value);
        hy_error err = {0};
        const hy_status status = hy__hf_import(dir, at_root("refused"), NULL, &err);
        if (edits[i].says ? status == HY_OK || !strstr(err.text, edits[i].says) : status != HY_OK)
            fail_msg("%s = %s: status %d, '%s', wanted '%s'", edits[i].key, edits[i].value,
                     (int)status, err.text, edits[i].says ? edits[i].says : "success");
    }
}

/* The config and the names of state-spaces/mamba. */
static hy_status fill_copy(void *user, int64_t i, int64_t first, int64_t n, void *dst,
                           hy_error *err) {
    (void)err;
    const hy__st_tensor *t = &((const hy__st_tensor *)user)[i];
    memcpy(dst, t->data + first * 4, (size_t)n * 4);
    return HY_OK;
}

static void test_native(void **state) {
    (void)state;
    const char *dir = at_root("native");
    mkdir(dir, 0777);
    char path[600];
    snprintf(path, sizeof path, "%s/config.json", dir);
    write_text(path,
               "{\"d_model\": 36, \"n_layer\": 3, \"vocab_size\": 99, \"ssm_cfg\": {\"layer\": "
               "\"Mamba2\", \"expand\": 3, \"headdim\": 12, \"d_state\": 20, \"d_conv\": 3, "
               "\"chunk_size\": 16}, \"rms_norm\": true, \"residual_in_fp32\": true, "
               "\"pad_vocab_size_multiple\": 101, \"tie_embeddings\": true}");
    hy__st *st;
    GOOD(hy__st_open_dir(&st, golden("mamba2-odd", ""), E));
    hy__st_tensor t[64];
    int64_t n = hy__st_count(st);
    for (int64_t i = 0; i < n; i++) {
        t[i] = *hy__st_at(st, i);
        if (strcmp(t[i].name, "backbone.embeddings.weight") == 0) {
            t[n] = t[i];
            t[n].name = "lm_head.weight"; /* as their files have it */
            t[i].name = "backbone.embedding.weight";
        }
    }
    const hy__st_list list = {.tensor = t, .n_tensor = n + 1, .fill = fill_copy, .user = t};
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    GOOD(hy__st_write(path, &list, E));
    hy__st_close(st);
    GOOD(hy__hf_import(dir, at_root("from-native"), NULL, E));
    GOOD(hy__hf_import(golden("mamba2-odd", ""), at_root("from-hf"), NULL, E));
    expect_same_file(at_root("from-native"), at_root("from-hf"));
}

/* ---- our checkpoint ---------------------------------------------------------------------------
 */

static void test_checkpoint(void **state) {
    (void)state;
    hy__backend *be;
    GOOD(hy__backend_open(&be, "ref", 1, E));
    hy__model *m = new_model(be, "S A E F W P P", be->real), *n;
    law_save(m, at_root("all"));
    GOOD(hy__checkpoint_open(&n, be, at_root("all"), NULL, E));
    assert_int_equal(m->n_param, n->n_param);
    for (int64_t i = 0; i < m->n_param; i++) {
        const size_t size = (size_t)m->param[i].n * sizeof(float);
        float *a = malloc(size), *b = malloc(size);
        assert_int_equal(m->param[i].n, n->param[i].n);
        assert_int_equal(m->param[i].value.dtype, n->param[i].value.dtype);
        be->read(be, a, m->param[i].value, size);
        be->read(be, b, n->param[i].value, size);
        assert_memory_equal(a, b, size);
        free(a);
        free(b);
    }
    hy__model_free(n);

    /* fp32 to bf16 on the way in, saved as bf16, the same again; then as fp32 once more. */
    GOOD(hy__checkpoint_open(&n, be, at_root("all"), "bf16", E));
    law_save(n, at_root("half"));
    hy__model_free(n);
    GOOD(hy__checkpoint_open(&n, be, at_root("half"), NULL, E));
    assert_int_equal(n->weight_dtype, HY__DTYPE_BF16);
    law_save(n, at_root("half2"));
    expect_same_file(at_root("half"), at_root("half2"));
    hy__model_free(n);
    GOOD(hy__checkpoint_open(&n, be, at_root("half"), "fp32", E));
    for (int64_t i = 0; i < m->n_param; i++) {
        float a, b;
        hy__tensor_read_f32(be, &a, m->param[i].value, 1);
        hy__tensor_read_f32(be, &b, n->param[i].value, 1);
        assert_true(fabsf(a - b) <= fabsf(a) / 256); /* half a step of 8 bits */
    }
    hy__model_free(n);
    hy_error err;
    assert_int_equal(hy__checkpoint_open(&n, be, at_root("all"), "fp8", &err), HY_E_INVALID);
    hy__model_free(m);
    hy__backend_free(be);
}

/* Opens dir after its weights were replaced by those of another model. */
static void expect_mismatch(hy__backend *be, const char *layers, const char *says) {
    hy__model *m = new_model(be, "S F", be->real), *other = new_model(be, layers, be->real);
    law_save(m, at_root("mixed"));
    law_save(other, at_root("donor"));
    assert_int_equal(rename(at_root("donor/model.safetensors"), at_root("mixed/model.safetensors")),
                     0);
    hy__model *n;
    hy_error err;
    assert_int_equal(hy__checkpoint_open(&n, be, at_root("mixed"), NULL, &err), HY_E_INVALID);
    if (!strstr(err.text, says)) fail_msg("'%s', wanted '%s'", err.text, says);
    hy__model_free(m);
    hy__model_free(other);
}

static void test_mismatch(void **state) {
    (void)state;
    hy__backend *be;
    GOOD(hy__backend_open(&be, "ref", 1, E));
    expect_mismatch(be, "S", "of its config is missing");
    expect_mismatch(be, "S F S", "is not one of its config");
    expect_mismatch(be, "F S", "of its config is missing");
    hy__model *n;
    hy_error err;
    assert_int_equal(hy__checkpoint_open(&n, be, golden("mamba2-odd", ""), NULL, &err),
                     HY_E_INVALID);
    assert_non_null(strstr(err.text, "hydralm convert"));
    hy__backend_free(be);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logits),      cmocka_unit_test(test_export),
        cmocka_unit_test(test_export_gate), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_native),      cmocka_unit_test(test_checkpoint),
        cmocka_unit_test(test_mismatch),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
