/* session.c: one sequence: hy_session of hydralm.h; its files are session_file.c. */
#include "infer/engine.h"

#include <stdlib.h>

hy_status hy__session_work(hy__work **out, const hy_model *model, hy_error *err) {
    const bool bf16 = model->net->weight_dtype == HY__DTYPE_BF16 && model->be->has_bf16;
    const hy__work_options opt = {.prec = bf16 ? HY__PREC_BF16 : HY__PREC_FP32};
    return hy__work_new(out, model->net, opt, err);
}

hy_status hy_session_new(hy_session **out, hy_model *model, hy_error *err) {
    if (hy__config_sees_ahead(&model->net->cfg)) {
        return hy__fail(err, HY_E_INVALID,
                        "the model's experts.route is own, by which a token sees what follows it: "
                        "a control of the lab, wanted previous, shortlist or token");
    }
    hy_session *s = calloc(1, sizeof *s);
    if (!s) return hy__no_memory(err, "a session");
    *s = (hy_session){.model = model, .last = -1};
    hy_status status;
    HY_TRY_GOTO(hy__state_new(&s->state, model->net, HY__FEED, err));
    HY_TRY_GOTO(hy__session_work(&s->work, model, err));
    *out = s;
    return HY_OK;
done:
    hy_session_free(s);
    return status;
}

void hy_session_free(hy_session *s) {
    if (!s) return;
    hy__work_free(s->work);
    hy__state_free(s->state);
    free(s);
}

void hy_session_reset(hy_session *s) {
    hy__state_reset(s->state);
    s->last = -1;
}

int64_t hy_session_pos(const hy_session *s) {
    return s->state->pos;
}

size_t hy_session_bytes(const hy_session *s) {
    return hy__state_bytes(s->state);
}

hy_status hy__session_check(const hy_session *s, hy_error *err) {
    const hy_status whole = hy__state_check_whole(s->state, err);
    return whole == HY_OK ? HY_OK : hy__fail_in(err, whole, "the session cannot go on");
}

hy_status hy_session_feed(hy_session *s, const int32_t *tokens, int64_t n, float *logits,
                          hy_error *err) {
    const int64_t vocab = s->model->net->cfg.model.vocab;
    HY_TRY(hy__session_check(s, err));
    for (int64_t i = 0; i < n; i++) {
        if (tokens[i] < 0 || tokens[i] >= vocab) {
            return hy__fail(err, HY_E_INVALID, "token %lld of those fed is %d, wanted 0 to %lld",
                            (long long)i, (int)tokens[i], (long long)vocab - 1);
        }
    }
    HY_TRY(hy__state_reserve(s->state, s->state->pos + n, err));
    for (int64_t done = 0; done < n;) {
        const int64_t room = HY__FEED - s->state->pos % HY__FEED;
        const int64_t len = n - done < room ? n - done : room;
        const hy__seq seq = {.start = 0, .len = len, .pos = s->state->pos};
        const hy__batch batch = {
            .rows = {.n_row = len, .n_seq = 1, .seq = &seq},
            .token = tokens + done,
            .state_in = &s->state,
            .state_out = &s->state,
        };
        s->last = -1;
        HY_TRY(hy__forward(s->work, &batch, err));
        s->last = len - 1;
        if (logits) HY_TRY(hy__logits(s->work, 0, len, logits + done * vocab, err));
        done += len;
    }
    return HY_OK;
}
