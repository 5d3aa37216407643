/* eval.c: a model's loss over text: hy_eval of hydralm.h.
 *
 * Text is read and tokenized block by block, and the state is carried from a document's first to
 * its last token, so that memory does not depend on its length. */
#include "base/clock.h"
#include "data/extract.h"
#include "infer/engine.h"

#include <math.h>
#include <stdlib.h>

enum { PIECE = 1 << 16 /* bytes that are encoded at a time: ids are wider than text */ };

/* What has been read: tokens wait until their successor, their target, is known. */
typedef struct scan {
    hy_session *session;
    hy__encoder *encoder;
    hy__source *source;
    hy__block block;
    hy__extract part; /* of the block */
    hy__file_seen file;
    int32_t token[HY__FEED + 1];
    int64_t n;       /* tokens that wait */
    int64_t n_token; /* predicted … */
    int64_t begun;   /* … before this document */
    int64_t n_document;
    double sum;     /* nats */
    int64_t n_byte; /* of the predicted tokens */
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

/* Scores what is left of the document; the next one begins anew. */
static hy_status end_document(scan *s, hy_error *err) {
    if (s->n > 1) HY_TRY(score(s, err));
    s->n_document += s->n_token > s->begun;
    s->begun = s->n_token;
    s->n = 0;
    hy_session_reset(s->session);
    return HY_OK;
}

/* A stretch of a document that is longer than a block. */
static hy_status take_stretch(scan *s, const hy__item *item, hy_error *err) {
    for (size_t at = 0, len;; at += len) {
        const int32_t *token;
        int64_t n;
        len = item->size - at < PIECE ? item->size - at : PIECE;
        const bool last = at + len == item->size;
        HY_TRY(hy__encoder_feed(s->encoder, item->text + at, len, last && item->ends, &token, &n,
                                err));
        HY_TRY(take(s, token, n, err));
        if (last) return HY_OK;
    }
}

static hy_status take_items(scan *s, hy_error *err) {
    for (int64_t i = 0; i < s->part.n_item; i++) {
        const hy__item *item = &s->part.item[i];
        const int32_t *token = (const int32_t *)(const void *)s->part.token;
        if (item->begins && item->ends)
            HY_TRY(take(s, token + item->token, item->n, err));
        else
            HY_TRY(take_stretch(s, item, err));
        if (item->ends) HY_TRY(end_document(s, err));
    }
    return HY_OK;
}

/* What is no text is treated as data build treats it, but for blocks that were scored already. */
static hy_status scan_block(scan *s, hy_error *err) {
    /* one encoder for both: a text file is one document, and no other stands beside a stretch */
    HY_TRY(hy__extract_block(&s->part, &s->block, s->encoder, "", err));
    hy__file_see(&s->file, &s->block, &s->part);
    const char *why = hy__file_unusable(&s->file, &s->block, &s->part);
    if (why && (s->block.named || !s->block.first)) return hy__file_refuse(&s->block, why, err);
    if (why) {
        hy__source_skip(s->source, s->block.file);
        return HY_OK;
    }
    HY_TRY(hy__file_check_lines(&s->file, &s->block, &s->part, err));
    return take_items(s, err);
}

static hy_status scan_all(scan *s, hy_error *err) {
    for (bool more = true;;) {
        HY_TRY(hy__source_next(s->source, &s->block, &more, err));
        if (!more) return HY_OK;
        HY_TRY(scan_block(s, err));
    }
}

hy_status hy_eval(hy_model *model, const char *const *path, int64_t n_path, hy_eval_result *result,
                  hy_error *err) {
    const double start = hy__now();
    scan *s = calloc(1, sizeof *s);
    hy_status status;
    if (!s) return hy__fail(err, HY_E_MEMORY, "there is not enough memory to evaluate");
    s->part.width = sizeof(int32_t);
    s->file.number = -1;
    if (!model->tok) {
        status = hy__fail(err, model->no_text.status, "%s", model->no_text.text);
        goto done;
    }
    HY_TRY_GOTO(hy__source_open(&s->source, path, n_path, "", err));
    HY_TRY_GOTO(hy__encoder_new(&s->encoder, model->tok, err));
    HY_TRY_GOTO(hy_session_new(&s->session, model, err));
    HY_TRY_GOTO(scan_all(s, err));
    if (s->n_token == 0) {
        status = hy__fail(err, HY_E_INVALID,
                          "%.400s has no document of two tokens or more, so there is nothing to "
                          "predict",
                          n_path == 1 ? path[0] : "the text");
        goto done;
    }
    *result = (hy_eval_result){
        .documents = s->n_document,
        .tokens = s->n_token,
        .bytes = s->n_byte,
        .nats_per_token = s->sum / (double)s->n_token,
        .bits_per_byte = s->n_byte > 0 ? s->sum / M_LN2 / (double)s->n_byte : 0.0,
        .seconds = hy__now() - start,
    };
done:
    hy_session_free(s->session);
    hy__encoder_free(s->encoder);
    hy__source_close(s->source);
    hy__block_release(&s->block);
    hy__extract_release(&s->part);
    free(s);
    return status;
}
