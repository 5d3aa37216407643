/* session_file.c: hy_session_save and hy_session_load of hydralm.h: a session's state, with the
 * output that its next token is chosen from, as a file of its model (ckpt/state_file.h). */
#include "ckpt/state_file.h"
#include "infer/engine.h"

#include <stdlib.h>
#include <string.h>

/* Computed once: the weights of an open model do not change. */
static hy_status fingerprint(hy_model *m, hy_error *err) {
    if (m->fingerprint[0]) return HY_OK;
    char hex[HY__FINGERPRINT];
    HY_TRY(hy__fingerprint(hex, m->net, err));
    memcpy(m->fingerprint, hex, sizeof hex);
    return HY_OK;
}

hy_status hy_session_save(const hy_session *s, const char *path, hy_error *err) {
    const hy__model *net = s->model->net;
    void *output = NULL;
    hy_status status = HY_OK;
    HY_TRY(hy__session_check(s, err));
    HY_TRY(fingerprint(s->model, err));
    if (s->last >= 0) {
        output = malloc((size_t)net->cfg.model.d_model * hy__dtype_size(net->be->real));
        if (!output) return hy__no_memory(err, "an output");
        HY_TRY_GOTO(hy__get_output(s->work, s->last, output, err));
    }
    HY_TRY_GOTO(hy__state_save(s->state, output, s->model->fingerprint, path, err));
done:
    free(output);
    return status;
}

/* Everything is made beside what the session has, and takes its place when nothing can fail. */
hy_status hy_session_load(hy_session *s, const char *path, hy_error *err) {
    hy_session loaded = {.model = s->model, .last = -1};
    void *output = NULL;
    hy_status status;
    HY_TRY_GOTO(fingerprint(s->model, err));
    HY_TRY_GOTO(
        hy__state_load(&loaded.state, &output, s->model->net, s->model->fingerprint, path, err));
    HY_TRY_GOTO(hy__session_work(&loaded.work, s->model, err));
    if (output) {
        HY_TRY_GOTO(hy__put_output(loaded.work, output, err));
        loaded.last = 0;
    }
    const hy_session before = *s;
    *s = loaded;
    loaded = before;
done:
    free(output);
    hy__work_free(loaded.work);
    hy__state_free(loaded.state);
    return status;
}
