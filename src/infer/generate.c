/* generate.c: text after a prompt: hy_session_generate of hydralm.h.
 *
 * Every token whose text is passed on is also fed, so that generating n tokens and then m more is
 * generating n + m. */
#include "base/clock.h"
#include "infer/emitter.h"
#include "infer/engine.h"
#include "infer/sampler.h"

#include <stdlib.h>

enum { DEFAULT_TOKENS = 256, PIECE_MAX = 4096 /* bytes of one token's text */ };

static hy_status feed_prompt(hy_session *s, const char *prompt, size_t size,
                             hy_generate_result *result, hy_error *err) {
    int32_t *token = NULL;
    int64_t n = 0;
    const double start = hy__now();
    HY_TRY(hy_encode(s->model, prompt, size, &token, &n, err));
    const hy_status status = hy_session_feed(s, token, n, NULL, err);
    free(token);
    result->prompt_tokens = n;
    result->prefill_seconds = hy__now() - start;
    if (status == HY_OK && s->last < 0) {
        return hy__fail(err, HY_E_INVALID,
                        "the prompt is empty and the session has no output to go on from (it has "
                        "seen nothing, or a feed failed), wanted some text");
    }
    return status;
}

static bool is_eos(const hy_model *m, int32_t token) {
    for (int i = 0; i < m->n_eos; i++)
        if (m->eos[i] == token) return true;
    return false;
}

/* One token: chosen, passed on, fed. Sets result->finish when it was the last. */
static hy_status next_token(hy_session *s, hy__sampler *sampler, hy__emitter *emitter,
                            float *logits, hy_generate_result *result, hy_error *err) {
    int32_t token;
    char piece[PIECE_MAX];
    HY_TRY(hy__logits(s->work, s->last, 1, logits, err));
    HY_TRY(hy__sampler_next(sampler, logits, s->state->pos, &token, err));
    if (is_eos(s->model, token)) {
        result->finish = "eos";
        return HY_OK;
    }
    result->tokens++;
    HY_TRY(hy__emitter_put(emitter, piece, hy_decode(s->model, token, piece, sizeof piece), err));
    if (emitter->stopped) result->finish = "stop";
    if (emitter->refused) result->finish = "callback";
    return hy_session_feed(s, &token, 1, NULL, err);
}

hy_status hy_session_generate(hy_session *s, const char *prompt, size_t size,
                              const hy_sample_options *opt, hy_text_fn fn, void *user,
                              hy_generate_result *result, hy_error *err) {
    const hy_sample_options none = {0};
    const int64_t vocab = s->model->net->cfg.model.vocab;
    hy_generate_result local;
    hy__sampler sampler = {0};
    hy__emitter emitter = {0};
    hy_status status;
    if (!opt) opt = &none;
    if (!result) result = &local;
    *result = (hy_generate_result){0};
    if (opt->max_tokens < -1) {
        return hy__fail(err, HY_E_INVALID, "max_tokens is %lld, wanted -1 or more",
                        (long long)opt->max_tokens);
    }
    const int64_t most = opt->max_tokens != 0 ? opt->max_tokens : DEFAULT_TOKENS;
    float *logits = malloc((size_t)vocab * sizeof *logits);
    if (!logits) return hy__no_memory(err, "the logits");
    HY_TRY_GOTO(hy__sampler_init(&sampler, opt, vocab, err));
    HY_TRY_GOTO(hy__emitter_init(&emitter, fn, user, opt->stop, opt->n_stop, err));
    HY_TRY_GOTO(feed_prompt(s, prompt, size, result, err));
    const double start = hy__now();
    while (!result->finish && result->tokens < most)
        HY_TRY_GOTO(next_token(s, &sampler, &emitter, logits, result, err));
    HY_TRY_GOTO(hy__emitter_end(&emitter, err));
    if (!result->finish) result->finish = emitter.refused ? "callback" : "length";
    result->decode_seconds = hy__now() - start;
done:
    hy__emitter_release(&emitter);
    hy__sampler_release(&sampler);
    free(logits);
    return status;
}
