/* cmd_convert.c: hydralm convert: exchange with Hugging Face Mamba2ForCausalLM directories, and
 * quantised weights. */
#include "cmd/cmd.h"

#include "base/status.h"

#include <jansson.h>

int cmd_convert(int argc, char **argv) {
    static const char *const FORMAT[] = {"int8", "int4", NULL};
    const char *from = NULL, *out = NULL, *operand;
    hy_convert_options opt = {0};
    bool force = false;
    cmd_shared shared = CMD_SHARED;
    /* clang-format off */
    option table[] = {
        {.name = "from", .kind = OPTION_PATH, .to = &from, .value = "DIR", .required = true, .doc = "directory to read"},
        {.name = "out", .kind = OPTION_PATH, .to = &out, .value = "DIR", .required = true, .doc = "directory to write"},
        {.name = "to-hf", .kind = OPTION_FLAG, .to = &opt.to_hf, .doc = "write a Hugging Face directory of a model of S layers"},
        {.name = "quantize", .kind = OPTION_TEXT, .to = &opt.quantize, .value = "FORMAT", .excludes = "to-hf", .words = FORMAT, .doc = "write a model to be run, not trained, with weights in this format"},
        {.name = "force", .kind = OPTION_FLAG, .to = &force, .doc = "replace a model that is already in the directory"},
        CMD_SHARED_OPTIONS(shared),
    };
    /* clang-format on */
    const command self = {.name = "convert",
                          .brief =
                              "exchange models with Hugging Face Mamba-2 directories; quantise",
                          .detail = "Without --to-hf and --quantize, a Mamba2ForCausalLM directory "
                                    "becomes a model of the pattern Nx(S).",
                          .option = table,
                          .n_option = sizeof table / sizeof *table};
    hy_convert_result result;
    hy_error err = {0};
    int exit_status;
    if (!cmd_begin(&self, argc, argv, &operand, &exit_status)) return exit_status;
    hy_status status = cmd_refuse_model(out, force, &err);
    if (status == HY_OK) status = hy_convert(from, out, &opt, &result, &err);
    if (status == HY_OK && shared.json) {
        status = cmd_print_json(json_pack("{s:o, s:o, s:s}", "from", cmd_json_path(from), "out",
                                          cmd_json_path(out), "note", result.note),
                                &err);
    } else if (status == HY_OK && !shared.quiet) {
        if (*result.note) fprintf(stderr, "%s: %s\n", out, result.note);
        fprintf(stderr, "%s: written\n", out);
    }
    return cmd_end(&self, status, &err);
}
