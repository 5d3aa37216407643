/* cmd_eval.c: hydralm eval: a model's loss on a text. */
#include "cmd/cmd.h"

#include "base/status.h"

#include <jansson.h>

static hy_status measure(const char *dir, const text_list *data, const cmd_shared *shared,
                         hy_error *err) {
    const hy_model_options opt = cmd_model_options(shared);
    hy_model *model;
    hy_eval_result r;
    HY_TRY(hy_model_open(&model, dir, &opt, err));
    const hy_status status = hy_eval(model, data->item, data->n, &r, err);
    hy_model_free(model);
    HY_TRY(status);
    const double rate = r.seconds > 0.0 ? (double)r.tokens / r.seconds : 0.0;
    if (shared->json) {
        return cmd_print_json(json_pack("{s:f, s:f, s:I, s:I, s:I, s:f}", "nats_per_token",
                                        r.nats_per_token, "bits_per_byte", r.bits_per_byte,
                                        "documents", (json_int_t)r.documents, "tokens",
                                        (json_int_t)r.tokens, "bytes", (json_int_t)r.bytes,
                                        "seconds", r.seconds),
                              err);
    }
    printf(
        "nats per token  %.6f\nbits per byte   %.6f\ndocuments       %lld\ntokens          %lld\n",
        r.nats_per_token, r.bits_per_byte, (long long)r.documents, (long long)r.tokens);
    if (shared->verbose) fprintf(stderr, "%.1f s, %.0f tokens/s\n", r.seconds, rate);
    return HY_OK;
}

int cmd_eval(int argc, char **argv) {
    const char *dir = NULL, *operand;
    text_list data = {0};
    cmd_shared shared = CMD_SHARED;
    /* clang-format off */
    option table[] = {
        {.name = "model", .kind = OPTION_PATH, .to = &dir, .value = "DIR", .required = true, .doc = "model directory"},
        {.name = "data", .kind = OPTION_MANY, .to = &data, .value = "PATH...", .required = true, .doc = "files and folders of text and JSON lines, each also as .gz or .zst"},
        CMD_SHARED_OPTIONS(shared),
    };
    /* clang-format on */
    const command self = {.name = "eval",
                          .brief = "measure a model's loss on text",
                          .detail =
                              "Text is read as `train` reads it. A document (a file, or a line "
                              "of .jsonl) begins with a fresh state,\nwhich is carried to its "
                              "end; the loss is the mean over the tokens of all of them.",
                          .option = table,
                          .n_option = sizeof table / sizeof *table};
    hy_error err = {0};
    int exit_status;
    if (!cmd_begin(&self, argc, argv, &operand, &exit_status)) return exit_status;
    return cmd_end(&self, measure(dir, &data, &shared, &err), &err);
}
