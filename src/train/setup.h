/* setup.h: what the options of a training say, before anything is opened: its configuration and its
 * stages. For hy_train, and for who only wants to know what it would do. */
#ifndef HY_TRAIN_SETUP_H
#define HY_TRAIN_SETUP_H

#include "config/recipe.h"

/* Reads configuration and recipe, with the options' changes. The caller releases the recipe. */
hy_status hy__train_setup(const hy_train_options *o, hy__config *c, hy__train_config *t,
                          hy__recipe *r, hy_error *err);

#endif
