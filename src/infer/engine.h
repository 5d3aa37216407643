/* engine.h: what the handles of hydralm.h are.
 *
 * A model is a network on a backend with its tokenizer; a session is one sequence's state with the
 * memory of one step. Prompts are fed in pieces, so that the memory of a session does not depend on
 * the length of what it reads. */
#ifndef HY_INFER_ENGINE_H
#define HY_INFER_ENGINE_H

#include "ckpt/fingerprint.h"
#include "model/model.h"
#include "text/tokenizer.h"

enum { HY__EOS_MAX = 8 };

struct hy_model {
    hy__backend *be;          /* owned */
    hy__model *net;           /* owned */
    hy__tokenizer *tok;       /* owned; NULL for a vocabulary that we cannot read */
    hy_error no_text;         /* why tok is NULL */
    char *from;               /* owned; the directory it was opened from; NULL: it is new */
    int32_t eos[HY__EOS_MAX]; /* tokens that end a text */
    int n_eos;
    hy__train_config train;            /* as configured; only printed and saved */
    char fingerprint[HY__FINGERPRINT]; /* "" until a session is saved or loaded */
};

struct hy_session {
    hy_model *model; /* borrowed */
    hy__state *state;
    hy__work *work;
    int64_t last; /* row of the work whose logits tell what comes next; -1 = nothing was fed */
};

/* HY_E_INVALID for a session that a failed step has left with half a state. */
hy_status hy__session_check(const hy_session *s, hy_error *err);

/* The memory of a session's steps, in the precision that its model asks for. */
hy_status hy__session_work(hy__work **out, const hy_model *model, hy_error *err);

#endif
