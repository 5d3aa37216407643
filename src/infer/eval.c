/* eval.c: a model's loss over a whole file: hy_eval of hydralm.h.
 *
 * The file is read and tokenized piece by piece, and the state is carried from its first to its
 * last token, so that memory does not depend on its length. */
#include "base/clock.h"
#include "base/file.h"
#include "infer/engine.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What has been read: tokens wait until their successor, their target, is known. */
typedef struct scan {
    hy_session *session;
    hy__encoder *encoder;
    int32_t token[HY__FEED + 1];
    int64_t n;       /* tokens that wait */
    int64_t n_token; /* predicted */
    double sum;      /* nats */
    int64_t n_byte;  /* of the predicted tokens */
} scan;

/* Scores all tokens that wait but the last one. */
static hy_status score(scan *s, hy_error *err) {
    hy__state *state = s->session->state;
    const int64_t n = s->n - 1;
    const hy__seq seq = {.start = 0, .len = n, .pos = state->pos};
    const hy__batch batch = {.rows = {.n_row = n, .n_seq = 1, .seq = &seq},
                             .token = s->token,
                             .state_in = &state,
                             .state_out = &state};
    double sum;
    int64_t counted;
    HY_TRY(hy__forward(s->session->work, &batch, err));
    HY_TRY(hy__loss(s->session->work, s->token + 1, 0.0, NULL, &sum, &counted, err));
    for (int64_t i = 1; i <= n; i++)
        s->n_byte += (int64_t)hy__tokenizer_decode(s->session->model->tok, s->token[i], NULL, 0);
    if (!isfinite(sum)) {
        return hy__fail(err, HY_E_INVALID,
                        "the loss of tokens %lld to %lld is %g; the model's weights are broken",
                        (long long)s->n_token + 1, (long long)(s->n_token + n), sum);
    }
    s->sum += sum;
    s->n_token += counted;
    s->token[0] = s->token[n];
    s->n = 1;
    return HY_OK;
}

static hy_status take(scan *s, const int32_t *token, int64_t n, hy_error *err) {
    for (int64_t i = 0; i < n; i++) {
        s->token[s->n++] = token[i];
        if (s->n == HY__FEED + 1) HY_TRY(score(s, err));
    }
    return HY_OK;
}

/* Reads to the end of the text and scores what is left. */
static hy_status scan_text(scan *s, FILE *text, const char *path, hy_error *err) {
    char piece[1 << 16];
    size_t size;
    do {
        const int32_t *token;
        int64_t n;
        size = fread(piece, 1, sizeof piece, text);
        if (ferror(text))
            return hy__fail(err, HY_E_IO, "cannot read %.400s: %s", path, strerror(errno));
        HY_TRY(hy__encoder_feed(s->encoder, piece, size, size == 0, &token, &n, err));
        HY_TRY(take(s, token, n, err));
    } while (size > 0);
    return s->n > 1 ? score(s, err) : HY_OK;
}

hy_status hy_eval(hy_model *model, const char *path, hy_eval_result *result, hy_error *err) {
    const double start = hy__now();
    scan *s = calloc(1, sizeof *s);
    FILE *text = NULL;
    hy_status status;
    if (!s) return hy__no_memory(err, "evaluating");
    if (!model->tok) {
        status = hy__fail(err, model->no_text.status, "%s", model->no_text.text);
        goto done;
    }
    HY_TRY_GOTO(hy__file_check_ends(path, err));
    if (!(text = fopen(path, "rb"))) {
        status = hy__fail(err, HY_E_IO, "cannot open %.400s: %s", path, strerror(errno));
        goto done;
    }
    HY_TRY_GOTO(hy__encoder_new(&s->encoder, model->tok, err));
    HY_TRY_GOTO(hy_session_new(&s->session, model, err));
    HY_TRY_GOTO(scan_text(s, text, path, err));
    if (s->n_token == 0) {
        status = hy__fail(err, HY_E_INVALID,
                          "%.400s has %lld tokens, too few to predict anything; wanted two or more",
                          path, (long long)s->n);
        goto done;
    }
    *result = (hy_eval_result){
        .tokens = s->n_token,
        .bytes = s->n_byte,
        .nats_per_token = s->sum / (double)s->n_token,
        .bits_per_byte = s->n_byte > 0 ? s->sum / M_LN2 / (double)s->n_byte : 0.0,
        .seconds = hy__now() - start,
    };
done:
    hy_session_free(s->session);
    hy__encoder_free(s->encoder);
    if (text) fclose(text);
    free(s);
    return status;
}
