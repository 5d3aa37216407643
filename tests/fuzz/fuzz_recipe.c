/* Any bytes as a recipe: refused with a sentence that names the file, or accepted as stages that
 * fit one another. */
#include "config/recipe.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok) {
    if (!ok) abort();
}

static void check_stage(const hy__recipe *r, int64_t i) {
    const hy__stage *s = &r->stage[i];
    check(s->steps >= 1 && s->tokens == s->steps * hy__stage_step_tokens(s));
    check(s->part >= 0 && s->part < s->n_part && hy__recipe_next(r, i) <= r->n);
    check(s->cfg.n_layer == r->stage[0].cfg.n_layer && *s->on && *s->name);
    bool runs = false;
    for (int64_t l = 0; l < s->cfg.n_layer; l++) {
        runs |= hy__stage_runs(s, l);
        check(!hy__recipe_rises(r, i, l) || hy__stage_runs(s, l));
    }
    check(runs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char text[] = "model: {layers: \"SE A WP F\", d_model: 32, chunk: 16}\n"
                               "experts: {n_expert: 4, expert_chunk: 16, d_ff: 32}\n"
                               "ffn: {d_ff: 64}\n"
                               "train: {batch: 2, seq_len: 64}\n";
    static hy__config c;
    static hy__train_config t;
    hy__recipe r;
    hy_error err = {0};
    if (c.n_layer == 0)
        check(hy__config_parse_yaml(text, strlen(text), "base", &c, &t, &err) == HY_OK);
    const hy_status status = hy__recipe_parse(&r, (const char *)data, size, "fuzz", &c, &t, &err);
    check(status == HY_OK || (err.status == status && strncmp(err.text, "fuzz", 4) == 0));
    if (status != HY_OK) return 0;
    for (int64_t i = 0; i < r.n; i++) check_stage(&r, i);
    hy__recipe_release(&r);
    return 0;
}
