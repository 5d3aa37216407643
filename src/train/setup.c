/* setup.c: see setup.h. */
#include "train/setup.h"

static hy_status read_config(const hy_train_options *o, hy__config *c, hy__train_config *t,
                             hy_error *err) {
    HY_TRY(hy__config_read_yaml(o->config, c, t, err));
    for (int64_t i = 0; i < o->n_set; i++) HY_TRY(hy__config_assign(c, t, o->set[i], err));
    if (o->has_seed) HY_TRY(hy__config_set_whole(c, t, "train.seed", o->seed, err));
    if (o->steps > 0) HY_TRY(hy__config_set_whole(c, t, "train.steps", (uint64_t)o->steps, err));
    return hy__config_finish(c, err);
}

hy_status hy__train_setup(const hy_train_options *o, hy__config *c, hy__train_config *t,
                          hy__recipe *r, hy_error *err) {
    HY_TRY(read_config(o, c, t, err));
    if (!o->curriculum) return hy__recipe_single(r, c, t, err);
    if (o->steps > 0) {
        return hy__fail(err, HY_E_INVALID,
                        "a training has %lld steps or a curriculum, which says its length; wanted "
                        "one of them",
                        (long long)o->steps);
    }
    return hy__recipe_read(r, o->curriculum, c, t, err);
}
