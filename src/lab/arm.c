/* arm.c: the configuration of an arm; see lab.h. */
#include "account/account.h"
#include "config/config_table.h"
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

int hy__scale_arm(const hy__lab_scale *s, const char *name) {
    for (int a = 0; s->arm[a].name; a++)
        if (strcmp(s->arm[a].name, name) == 0) return a;
    return -1;
}

int hy__scale_probe(const hy__lab_scale *s, const char *name, hy__metric metric) {
    for (int p = 0; s->probe[p].name; p++)
        if (s->probe[p].metric == metric && strcmp(s->probe[p].name, name) == 0) return p;
    return -1;
}

const char *hy__arm_recipe(const hy__lab_scale *s, int arm) {
    return s->arm[arm].recipe ? s->arm[arm].recipe : s->recipe;
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

/* What an arm is measured by: its parameters, or the FLOPs of a step forward and back. The
 * optimizer's are of all weights, whatever works, and the fewer tokens a step has the more. */
static hy_status size_of(const hy__config *c, const hy__train_config *t, bool flops, double *size,
                         hy_error *err) {
    hy__account a;
    hy__spent spent[HY__PART_MAX + 1];
    hy__account_init(&a, c, t);
    *size = (double)hy__account_count(&a, false);
    if (!flops) return HY_OK;
    const hy__shape step = {.phase = HY__PHASE_TRAIN,
                            .batch = t->batch,
                            .tokens = hy__config_segment(c, t),
                            .recompute = t->recompute};
    HY_TRY(hy__account_spend(&a, &step, spent, err));
    *size = spent[a.n_part].forward + spent[a.n_part].backward;
    return HY_OK;
}

static hy_status set_width(hy__config *c, hy__train_config *t, const hy__arm *arm, int64_t width,
                           hy_error *err) {
    char value[24];
    snprintf(value, sizeof value, "%" PRId64, width);
    HY_TRY(hy__config_set(c, t, arm->fit, value, err));
    return hy__config_finish(c, err);
}

/* Models grow with the width: the first multiple that has the size wanted, or the one below. */
static hy_status fit(const hy__arm *arm, double want, hy__config *c, hy__train_config *t,
                     hy_error *err) {
    double below = 0;
    for (int64_t width = arm->step; width <= WIDEST; width += arm->step) {
        double size;
        HY_TRY(set_width(c, t, arm, width, err));
        HY_TRY(size_of(c, t, arm->flops, &size, err));
        if (size >= want) {
            if (below > 0 && want - below < size - want)
                HY_TRY(set_width(c, t, arm, width - arm->step, err));
            break;
        }
        below = size;
    }
    return HY_OK;
}

static int64_t width_of(const hy__arm *arm, const hy__config *c, const hy__train_config *t) {
    const size_t section = strcspn(arm->fit, ".");
    return hy__field_int(hy__field_find(arm->fit, section, arm->fit + section + 1), c, t);
}

hy_status hy__arm_config(const hy__lab *lab, const hy__lab_scale *s, int arm, hy__sized *out,
                         hy_error *err) {
    const hy__arm *a = &s->arm[arm];
    hy__config *c = &out->cfg;
    hy__train_config *t = &out->train;
    double want, got, count;
    HY_TRY(read_config(lab, s, &s->arm[0], c, t, err));
    HY_TRY(size_of(c, t, a->flops, &want, err));
    HY_TRY(read_config(lab, s, a, c, t, err));
    if (a->fit) HY_TRY(fit(a, want, c, t, err));
    HY_TRY(size_of(c, t, a->flops, &got, err));
    HY_TRY(size_of(c, t, false, &count, err));
    out->parameters = (int64_t)count;
    out->width = a->fit ? width_of(a, c, t) : 0;
    if (fabs(got - want) <= 0.02 * want) return HY_OK;
    return hy__fail(err, HY_E_INVALID,
                    "lab %s: arm \"%s\" has %.0f %s, wanted %.0f within 2%%; %s does not get it "
                    "there",
                    lab->name, a->name, got, a->flops ? "FLOPs of a step" : "parameters", want,
                    a->fit ? a->fit : "nothing");
}

bool hy__arm_follows(const hy__lab *lab, const hy__lab_scale *s, int arm) {
    const hy__arm *a = &s->arm[arm];
    hy__config c;
    hy__train_config t;
    hy_error ignored;
    double now, wider;
    return read_config(lab, s, &s->arm[0], &c, &t, &ignored) == HY_OK &&
           size_of(&c, &t, a->flops, &now, &ignored) == HY_OK &&
           set_width(&c, &t, a, width_of(a, &c, &t) + a->step, &ignored) == HY_OK &&
           size_of(&c, &t, a->flops, &wider, &ignored) == HY_OK && wider > now;
}
