/* cmd_init.c: hydralm init: a randomly initialised model directory of a configuration. */
#include "account/account.h"
#include "cmd/cmd.h"

#include "base/status.h"

#include <jansson.h>

static hy_status make(const char *config, const char *out, uint64_t seed,
                      const hy_model_options *opt, const cmd_shared *shared, hy_error *err) {
    hy_model *model;
    hy_model_info info;
    HY_TRY(hy_model_new(&model, config, seed, opt, err));
    hy_model_describe(model, &info);
    hy_status status = hy_model_save(model, out, err);
    if (status == HY_OK && shared->json) {
        status = cmd_print_json(json_pack("{s:o, s:s, s:I, s:I, s:I}", "out", cmd_json_path(out),
                                          "layers", info.layers, "vocab", (json_int_t)info.vocab,
                                          "parameters", (json_int_t)info.parameters, "weight_bytes",
                                          (json_int_t)info.weight_bytes),
                                err);
    } else if (status == HY_OK && !shared->quiet) {
        fprintf(stderr, "%s: %s, vocabulary %lld, %lld parameters\n", out, info.layers,
                (long long)info.vocab, (long long)info.parameters);
    }
    hy_model_free(model);
    return status;
}

int cmd_init(int argc, char **argv) {
    const char *config = NULL, *out = NULL, *dtype = "fp32", *tokenizer = NULL, *operand;
    int64_t seed = 0;
    bool force = false;
    cmd_shared shared = CMD_SHARED;
    /* clang-format off */
    option table[] = {
        {.name = "config", .kind = OPTION_PATH, .to = &config, .value = "FILE", .required = true, .doc = "configuration (YAML)"},
        {.name = "out", .kind = OPTION_PATH, .to = &out, .value = "DIR", .required = true, .doc = "model directory to write"},
        {.name = "seed", .kind = OPTION_INT, .to = &seed, .value = "N", .max = CMD_WHOLE_MAX, .doc = "of the random weights"},
        {.name = "tokenizer", .kind = OPTION_PATH, .to = &tokenizer, .value = "T", .doc = "bytes (default), a tokenizer.json, or a folder that holds one: its files come along, and model.vocab grows to it"},
        {.name = "dtype", .kind = OPTION_TEXT, .to = &dtype, .value = "TYPE", .words = hy__store_name, .doc = "of the weights"},
        {.name = "force", .kind = OPTION_FLAG, .to = &force, .doc = "replace a model that is already in DIR"},
        CMD_SHARED_OPTIONS(shared),
    };
    /* clang-format on */
    const command self = {.name = "init",
                          .brief = "make a new model of a configuration",
                          .option = table,
                          .n_option = sizeof table / sizeof *table};
    hy_error err = {0};
    int exit_status;
    if (!cmd_begin(&self, argc, argv, &operand, &exit_status)) return exit_status;
    hy_model_options opt = cmd_model_options(&shared);
    opt.dtype = dtype;
    opt.tokenizer = tokenizer;
    hy_status status = cmd_refuse_model(out, force, &err);
    if (status == HY_OK) status = make(config, out, (uint64_t)seed, &opt, &shared, &err);
    return cmd_end(&self, status, &err);
}
