/* cmd_eval.c: hydralm eval: a model's loss on a text. */
#include "cmd/cmd.h"

#include "base/status.h"

#include <jansson.h>

static hy_status measure(const char *dir, const char *data, const cmd_shared *shared,
                         hy_error *err) {
    const hy_model_options opt = cmd_model_options(shared);
    hy_model *model;
    hy_eval_result r;
    HY_TRY(hy_model_open(&model, dir, &opt, err));
    const hy_status status = hy_eval(model, data, &r, err);
    hy_model_free(model);
    HY_TRY(status);
    const double rate = r.seconds > 0.0 ? (double)r.tokens / r.seconds : 0.0;
    if (shared->json) {
        return cmd_print_json(json_pack("{s:f, s:f, s:I, s:I, s:f}", "nats_per_token",
                                        r.nats_per_token, "bits_per_byte", r.bits_per_byte,
                                        "tokens", (json_int_t)r.tokens, "bytes",
                                        (json_int_t)r.bytes, "seconds", r.seconds),
                              err);
    }
    printf("nats per token  %.6f\nbits per byte   %.6f\ntokens          %lld\n", r.nats_per_token,
           r.bits_per_byte, (long long)r.tokens);
    if (shared->verbose) fprintf(stderr, "%.1f s, %.0f tokens/s\n", r.seconds, rate);
    return HY_OK;
}

int cmd_eval(int argc, char **argv) {
    const char *dir = NULL, *data = NULL, *operand;
    cmd_shared shared = CMD_SHARED;
    /* clang-format off */
    option table[] = {
        {.name = "model", .kind = OPTION_PATH, .to = &dir, .value = "DIR", .required = true, .doc = "model directory"},
        {.name = "data", .kind = OPTION_PATH, .to = &data, .value = "FILE", .required = true, .doc = "text, read from first to last with the state carried"},
        CMD_SHARED_OPTIONS(shared),
    };
    /* clang-format on */
    const command self = {.name = "eval",
                          .brief = "measure a model's loss on a text",
                          .option = table,
                          .n_option = sizeof table / sizeof *table};
    hy_error err = {0};
    int exit_status;
    if (!cmd_begin(&self, argc, argv, &operand, &exit_status)) return exit_status;
    return cmd_end(&self, measure(dir, data, &shared, &err), &err);
}
