/* cmd_generate.c: hydralm generate: text after a prompt, as it comes. */
#include "cmd/cmd.h"

#include "base/file.h"
#include "base/status.h"
#include "ckpt/state_file.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PROMPT_BYTES = 1 << 30 /* of a file, at most */ };

typedef struct request {
    const char *model, *prompt, *prompt_file, *session, *save_session;
    int64_t max_tokens, top_k, seed, experts_layer, experts_k;
    double temperature, top_p, min_p, experts_temperature;
    text_list stop;
    int_list ban, force;
    cmd_shared shared;
} request;

/* Where the text goes: to stdout at once, or into memory for --json. */
typedef struct sink {
    bool keep;
    char *text;
    size_t size;
    char last;
    hy_status status;
    hy_error *err;
} sink;

static bool take(void *user, const char *text, size_t size) {
    sink *s = user;
    s->last = text[size - 1];
    if (!s->keep) {
        s->status = cmd_write(text, size, s->err);
        return s->status == HY_OK;
    }
    char *grown = realloc(s->text, s->size + size);
    if (!grown) {
        s->status = hy__no_memory(s->err, "the text");
        return false;
    }
    memcpy(grown + s->size, text, size);
    s->text = grown;
    s->size += size;
    return true;
}

static hy_status report(const request *q, const sink *s, const hy_generate_result *r,
                        hy_error *err) {
    const double prefill =
        r->prefill_seconds > 0 ? (double)r->prompt_tokens / r->prefill_seconds : 0;
    const double decode = r->decode_seconds > 0 ? (double)r->tokens / r->decode_seconds : 0;
    if (q->shared.verbose) {
        fprintf(stderr, "prompt %lld tokens, %.0f/s; text %lld tokens, %.1f/s; end: %s\n",
                (long long)r->prompt_tokens, prefill, (long long)r->tokens, decode, r->finish);
    }
    if (q->shared.json) {
        return cmd_print_json(json_pack("{s:s%, s:s, s:I, s:I, s:f, s:f}", "text",
                                        s->text ? s->text : "", s->size, "finish", r->finish,
                                        "prompt_tokens", (json_int_t)r->prompt_tokens, "tokens",
                                        (json_int_t)r->tokens, "prefill_seconds",
                                        r->prefill_seconds, "decode_seconds", r->decode_seconds),
                              err);
    }
    /* A shell's prompt wants its own line; a file gets the text and nothing else. */
    return isatty(STDOUT_FILENO) && s->last != '\n' ? cmd_write("\n", 1, err) : HY_OK;
}

static bool sets_experts(const request *q) {
    return q->experts_k || q->experts_temperature > 0.0 || q->ban.n || q->force.n;
}

static hy_status set_experts(hy_model *model, const request *q, hy_error *err) {
    int32_t list[2][256];
    const int_list *from[2] = {&q->ban, &q->force};
    for (int i = 0; i < 2; i++) {
        if (from[i]->n > 256) {
            return hy__fail(err, HY_E_INVALID, "%lld experts are named, wanted 256 at most",
                            (long long)from[i]->n);
        }
        for (int64_t j = 0; j < from[i]->n; j++) list[i][j] = (int32_t)from[i]->item[j];
    }
    const hy_expert_options opt = {.layer = q->experts_layer,
                                   .k = q->experts_k,
                                   .temperature = q->experts_temperature,
                                   .ban = list[0],
                                   .n_ban = q->ban.n,
                                   .force = list[1],
                                   .n_force = q->force.n};
    return sets_experts(q) ? hy_model_experts(model, &opt, err) : HY_OK;
}

/* What to go on from, the caller's to free. */
static hy_status read_prompt(const request *q, char **prompt, size_t *size, hy_error *err) {
    if (q->prompt_file) return hy__file_read(q->prompt_file, PROMPT_BYTES, prompt, size, err);
    const char *text = q->prompt ? q->prompt : "";
    *size = strlen(text);
    *prompt = strdup(text);
    return *prompt ? HY_OK : hy__no_memory(err, "the prompt");
}

static hy_status generate(const request *q, hy_error *err) {
    const hy_model_options opt = cmd_model_options(&q->shared);
    const hy_sample_options sample = {.max_tokens = q->max_tokens ? q->max_tokens : -1,
                                      .temperature = q->temperature,
                                      .top_k = q->top_k,
                                      .top_p = q->top_p,
                                      .min_p = q->min_p,
                                      .seed = (uint64_t)q->seed,
                                      .stop = q->stop.item,
                                      .n_stop = q->stop.n};
    hy_model *model = NULL;
    hy_session *session = NULL;
    hy_generate_result result;
    char *prompt = NULL;
    size_t size = 0;
    sink s = {.keep = q->shared.json, .err = err};
    hy_status status;
    if (q->save_session)
        HY_TRY(hy__state_check_place(q->save_session, err)); /* not after the work */
    HY_TRY_GOTO(read_prompt(q, &prompt, &size, err));
    HY_TRY_GOTO(hy_model_open(&model, q->model, &opt, err));
    HY_TRY_GOTO(set_experts(model, q, err));
    HY_TRY_GOTO(hy_session_new(&session, model, err));
    if (q->session) HY_TRY_GOTO(hy_session_load(session, q->session, err));
    HY_TRY_GOTO(hy_session_generate(session, prompt, size, &sample, take, &s, &result, err));
    HY_TRY_GOTO(s.status);
    if (q->save_session) HY_TRY_GOTO(hy_session_save(session, q->save_session, err));
    HY_TRY_GOTO(report(q, &s, &result, err));
done:
    free(s.text);
    free(prompt);
    hy_session_free(session);
    hy_model_free(model);
    return status;
}

static hy_status check_usage(const request *q, hy_error *err) {
    if (!q->prompt && !q->prompt_file && !q->session)
        return hy__fail(err, HY_E_INVALID,
                        "generate wants --prompt TEXT, --prompt-file FILE or --session FILE");
    if (q->experts_layer && !sets_experts(q))
        return hy__fail(err, HY_E_INVALID,
                        "--experts-layer says where alone; wanted what, as --experts-k N");
    return HY_OK;
}

int cmd_generate(int argc, char **argv) {
    request q = {.max_tokens = 256, .temperature = 0.8, .shared = CMD_SHARED};
    const char *operand;
    /* clang-format off */
    option table[] = {
        {.name = "model", .kind = OPTION_PATH, .to = &q.model, .value = "DIR", .required = true, .doc = "model directory"},
        {.name = "prompt", .kind = OPTION_TEXT, .to = &q.prompt, .value = "TEXT", .excludes = "prompt-file", .doc = "what to go on from"},
        {.name = "prompt-file", .kind = OPTION_PATH, .to = &q.prompt_file, .value = "FILE", .doc = "or a file that holds it, of any length; /dev/stdin for a pipe"},
        {.name = "session", .kind = OPTION_PATH, .to = &q.session, .value = "FILE", .doc = "go on from this saved session; the prompt follows what it has seen"},
        {.name = "save-session", .kind = OPTION_PATH, .to = &q.save_session, .value = "FILE", .doc = "save the session after the text, for --session"},
        {.name = "max-tokens", .kind = OPTION_INT, .to = &q.max_tokens, .value = "N", .max = 1e12, .doc = "tokens at most; 0 = read the prompt alone"},
        {.name = "temperature", .kind = OPTION_REAL, .to = &q.temperature, .value = "X", .max = 1e6, .doc = "of the sampling; 0 = always the likeliest"},
        {.name = "top-k", .kind = OPTION_INT, .to = &q.top_k, .value = "N", .max = 1e9, .doc = "only from the N likeliest; 0 = all"},
        {.name = "top-p", .kind = OPTION_REAL, .to = &q.top_p, .value = "X", .max = 1, .doc = "only from the likeliest that hold this mass; 0 = all"},
        {.name = "min-p", .kind = OPTION_REAL, .to = &q.min_p, .value = "X", .max = 1, .doc = "only from those with this share of the likeliest one's mass"},
        {.name = "seed", .kind = OPTION_INT, .to = &q.seed, .value = "N", .max = CMD_WHOLE_MAX, .doc = "same seed, same text"},
        {.name = "stop", .kind = OPTION_EACH, .to = &q.stop, .value = "TEXT", .doc = "end before this text; may be given several times"},
        {.name = "experts-k", .kind = OPTION_INT, .to = &q.experts_k, .value = "N", .max = 256, .doc = "experts that work on a token; 0 = as configured"},
        {.name = "experts-ban", .kind = OPTION_INTS, .to = &q.ban, .value = "I,J,...", .max = 255, .doc = "experts that never work"},
        {.name = "experts-force", .kind = OPTION_INTS, .to = &q.force, .value = "I,J,...", .max = 255, .doc = "these experts work, and no others"},
        {.name = "experts-temperature", .kind = OPTION_REAL, .to = &q.experts_temperature, .value = "X", .max = 1e6, .doc = "of the experts' router; 0 = as configured"},
        {.name = "experts-layer", .kind = OPTION_INT, .to = &q.experts_layer, .value = "N", .max = 65536, .doc = "all this of the N-th E layer alone; 0 = of every one"},
        CMD_SHARED_OPTIONS(q.shared),
    };
    /* clang-format on */
    const command self = {.name = "generate",
                          .brief = "write on after a prompt",
                          .option = table,
                          .n_option = sizeof table / sizeof *table};
    hy_error err = {0};
    int exit_status;
    if (!cmd_begin(&self, argc, argv, &operand, &exit_status)) return exit_status;
    if (check_usage(&q, &err) != HY_OK) return cmd_wrong(&self, &err);
    return cmd_end(&self, generate(&q, &err), &err);
}
