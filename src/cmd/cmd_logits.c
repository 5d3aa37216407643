/* cmd_logits.c: hydralm logits: the logits of every position of given tokens, as a NumPy file.
 *
 * The tokens are one sequence; --cut says where to feed it in separate pieces, which changes
 * nothing but rounding. */
#include "cmd/cmd.h"

#include "base/status.h"
#include "ckpt/npy.h"

#include <jansson.h>
#include <stdlib.h>

enum { ROWS = 256 /* logits of so many positions are held at a time */ };

static hy_status check_cuts(const int_list *cut, int64_t n, hy_error *err) {
    for (int64_t i = 0; i < cut->n; i++) {
        const int64_t least = i > 0 ? cut->item[i - 1] + 1 : 1;
        if (cut->item[i] < least || cut->item[i] >= n) {
            return hy__fail(err, HY_E_INVALID,
                            "cut %lld is at %lld, wanted rising positions from 1 to %lld",
                            (long long)i + 1, (long long)cut->item[i], (long long)n - 1);
        }
    }
    return HY_OK;
}

/* Feeds tokens [from, to) and writes their rows. */
static hy_status feed(hy_session *session, const int32_t *token, int64_t from, int64_t to,
                      float *logits, hy__npy *npy, hy_error *err) {
    for (int64_t at = from; at < to; at += ROWS) {
        const int64_t n = to - at < ROWS ? to - at : ROWS;
        HY_TRY(hy_session_feed(session, token + at, n, logits, err));
        HY_TRY(hy__npy_write(npy, logits, n, err));
    }
    return HY_OK;
}

static hy_status compute(hy_model *model, const int32_t *token, int64_t n, const int_list *cut,
                         const char *out, hy_error *err) {
    hy_model_info info;
    hy_session *session = NULL;
    hy__npy *npy = NULL;
    hy_status status;
    hy_model_describe(model, &info);
    float *logits = malloc((size_t)ROWS * (size_t)info.vocab * sizeof *logits);
    if (!logits) return hy__no_memory(err, "the logits");
    HY_TRY_GOTO(check_cuts(cut, n, err));
    HY_TRY_GOTO(hy_session_new(&session, model, err));
    HY_TRY_GOTO(hy__npy_open(&npy, out, n, info.vocab, err));
    for (int64_t i = 0; i <= cut->n; i++) {
        const int64_t from = i > 0 ? cut->item[i - 1] : 0, to = i < cut->n ? cut->item[i] : n;
        HY_TRY_GOTO(feed(session, token, from, to, logits, npy, err));
    }
    status = hy__npy_commit(npy, err);
    npy = NULL;
done:
    hy__npy_discard(npy);
    hy_session_free(session);
    free(logits);
    return status;
}

static hy_status run(const char *dir, const char *tokens, const char *out, const int_list *cut,
                     const cmd_shared *shared, hy_error *err) {
    const hy_model_options opt = cmd_model_options(shared);
    hy_model *model = NULL;
    int32_t *token = NULL;
    int64_t n = 0;
    hy_status status;
    HY_TRY_GOTO(hy__npy_read_tokens(&token, &n, tokens, err));
    HY_TRY_GOTO(hy_model_open(&model, dir, &opt, err));
    HY_TRY_GOTO(compute(model, token, n, cut, out, err));
    if (shared->json)
        status = cmd_print_json(
            json_pack("{s:o, s:I}", "out", cmd_json_path(out), "tokens", (json_int_t)n), err);
done:
    hy_model_free(model);
    free(token);
    return status;
}

int cmd_logits(int argc, char **argv) {
    const char *dir = NULL, *tokens = NULL, *out = NULL, *operand;
    int_list cut = {0};
    cmd_shared shared = CMD_SHARED;
    /* clang-format off */
    option table[] = {
        {.name = "model", .kind = OPTION_PATH, .to = &dir, .value = "DIR", .required = true, .doc = "model directory"},
        {.name = "tokens", .kind = OPTION_PATH, .to = &tokens, .value = "FILE.npy", .required = true, .doc = "token ids, one dimension"},
        {.name = "out", .kind = OPTION_PATH, .to = &out, .value = "FILE.npy", .required = true, .doc = "logits to write: float32, [tokens, vocabulary]"},
        {.name = "cut", .kind = OPTION_INTS, .to = &cut, .value = "I,J,...", .max = CMD_WHOLE_MAX, .doc = "positions at which to feed a new piece"},
        CMD_SHARED_OPTIONS(shared),
    };
    /* clang-format on */
    const command self = {.name = "logits",
                          .brief = "compute the logits of given tokens",
                          .option = table,
                          .n_option = sizeof table / sizeof *table};
    hy_error err = {0};
    int exit_status;
    if (!cmd_begin(&self, argc, argv, &operand, &exit_status)) return exit_status;
    return cmd_end(&self, run(dir, tokens, out, &cut, &shared, &err), &err);
}
