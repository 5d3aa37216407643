/* arm.c: the configuration of an arm; see lab.h. */
#include "account/account.h"
#include "lab/lab.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { WIDEST = 1 << 15 };

int hy__scale_arms(const hy__lab_scale *s) {
    int n = 0;
    while (s->arm[n].name) n++;
    return n;
}

int hy__scale_probes(const hy__lab_scale *s) {
    int n = 0;
    while (s->probe[n].name) n++;
    return n;
}

int hy__scale_rates(const hy__lab_scale *s) {
    int n = 0;
    while (s->rate[n] > 0.0) n++;
    return n;
}

static hy_status assign_all(const char *const *set, hy__config *c, hy__train_config *t,
                            hy_error *err) {
    for (int i = 0; i < HY__LAB_SETS && set[i]; i++) HY_TRY(hy__config_assign(c, t, set[i], err));
    return HY_OK;
}

static hy_status read_config(const hy__lab *lab, const hy__lab_scale *s, const hy__arm *arm,
                             hy__config *c, hy__train_config *t, hy_error *err) {
    HY_TRY(hy__config_parse_yaml(lab->config, strlen(lab->config), lab->name, c, t, err));
    HY_TRY(assign_all(s->set, c, t, err));
    HY_TRY(assign_all(arm->set, c, t, err));
    return hy__config_finish(c, err);
}

static int64_t count(const hy__config *c, const hy__train_config *t) {
    hy__account a;
    hy__account_init(&a, c, t);
    return hy__account_count(&a, false);
}

static hy_status set_width(hy__config *c, hy__train_config *t, const hy__arm *arm, int64_t width,
                           hy_error *err) {
    char value[24];
    snprintf(value, sizeof value, "%" PRId64, width);
    HY_TRY(hy__config_set(c, t, arm->fit, value, err));
    return hy__config_finish(c, err);
}

/* Parameters grow with the width: the first multiple that has as many as wanted, or the one below.
 */
static hy_status fit(const hy__arm *arm, int64_t want, hy__config *c, hy__train_config *t,
                     hy_error *err) {
    int64_t below = 0;
    for (int64_t width = arm->step; width <= WIDEST; width += arm->step) {
        HY_TRY(set_width(c, t, arm, width, err));
        const int64_t n = count(c, t);
        if (n >= want) {
            if (below > 0 && want - below < n - want)
                HY_TRY(set_width(c, t, arm, width - arm->step, err));
            break;
        }
        below = n;
    }
    return HY_OK;
}

hy_status hy__arm_config(const hy__lab *lab, const hy__lab_scale *s, int arm, hy__config *c,
                         hy__train_config *t, int64_t *parameters, hy_error *err) {
    HY_TRY(read_config(lab, s, &s->arm[0], c, t, err));
    const int64_t want = count(c, t);
    HY_TRY(read_config(lab, s, &s->arm[arm], c, t, err));
    if (s->arm[arm].fit) HY_TRY(fit(&s->arm[arm], want, c, t, err));
    *parameters = count(c, t);
    const double off = (double)(*parameters - want) / (double)want;
    if (off >= -0.02 && off <= 0.02) return HY_OK;
    return hy__fail(err, HY_E_INVALID,
                    "lab %s: arm \"%s\" has %" PRId64 " parameters, wanted %" PRId64
                    " within 2%%; %s does not get it there",
                    lab->name, s->arm[arm].name, *parameters, want,
                    s->arm[arm].fit ? s->arm[arm].fit : "nothing");
}
