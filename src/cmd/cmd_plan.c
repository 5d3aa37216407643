/* cmd_plan.c: hydralm plan: what a configuration costs, before it is built. */
#include "account/sheet_faces.h"
#include "base/file.h"
#include "base/words.h"
#include "ckpt/checkpoint.h"
#include "cmd/cmd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct plan_options {
    const char *dtype, *html;
    text_list set, hardware, against;
    int_list lengths;
    int64_t sequences, devices, document;
    double budget;
    bool markdown, json;
} plan_options;

/* ---- configurations ---- */

/* A configuration file, or the configuration of a model's directory, with the settings of --set. */
static hy_status read_account(hy__account *a, const char *path, const text_list *set,
                              hy_error *err) {
    hy__config c;
    hy__train_config t;
    HY_TRY(hy__path_is_dir(path) ? hy__checkpoint_config(path, &c, &t, err)
                                 : hy__config_read_yaml(path, &c, &t, err));
    for (int64_t i = 0; i < set->n; i++) HY_TRY(hy__config_assign(&c, &t, set->item[i], err));
    HY_TRY(hy__config_finish(&c, err));
    hy__account_init(a, &c, &t);
    return HY_OK;
}

static bool only(const hy__account *a, const char *letters) {
    return strspn(a->cfg.letter, letters) == strlen(a->cfg.letter);
}

static const char TRANSFORMER[] = "transformer", MAMBA2[] = "mamba2";

static hy_status add_rival(hy__sheet *s, const hy__account *a, const char *what, hy_error *err) {
    hy__sheet_rival *r = &s->rival[s->n_rival];
    hy__path_title(what, r->name, sizeof r->name);
    if (strcmp(what, TRANSFORMER) == 0 || strcmp(what, MAMBA2) == 0) {
        HY_TRY(hy__account_rival(a, what, &r->account, err));
    } else {
        HY_TRY(read_account(&r->account, what, &(text_list){0}, err));
    }
    s->n_rival++;
    return HY_OK;
}

/* Both baselines, but for what it is itself and what no width makes as large as it is. */
static void add_baselines(hy__sheet *s, const hy__account *a) {
    hy_error refused;
    if (!only(a, "AF")) (void)add_rival(s, a, TRANSFORMER, &refused);
    if (!only(a, "S")) (void)add_rival(s, a, MAMBA2, &refused);
}

/* What --against names. */
static hy_status add_rivals(hy__sheet *s, const hy__account *a, const text_list *against,
                            hy_error *err) {
    if (against->n == 0) add_baselines(s, a);
    for (int64_t i = 0; i < against->n; i++) {
        if (strcmp(against->item[i], "none") == 0) continue;
        HY_TRY(add_rival(s, a, against->item[i], err));
    }
    return HY_OK;
}

/* ---- options ---- */

/* What the table cannot tell. */
static hy_status check_usage(const plan_options *p, hy_error *err) {
    const struct {
        const char *name;
        int64_t n, most;
    } many[] = {{"lengths", p->lengths.n, HY__SHEET_LENGTHS},
                {"hardware", p->hardware.n, HY__SHEET_HARDWARE},
                {"against", p->against.n, HY__SHEET_RIVALS}};
    for (size_t i = 0; i < sizeof many / sizeof *many; i++)
        if (many[i].n > many[i].most)
            return hy__fail(err, HY_E_INVALID, "--%s has %lld values, wanted at most %lld",
                            many[i].name, (long long)many[i].n, (long long)many[i].most);
    for (int64_t i = 1; i < p->lengths.n; i++)
        if (p->lengths.item[i] <= p->lengths.item[i - 1])
            return hy__fail(err, HY_E_INVALID,
                            "length %lld of --lengths is %lld, wanted rising numbers of tokens, "
                            "for example 1024,8192,65536",
                            (long long)i + 1, (long long)p->lengths.item[i]);
    return HY_OK;
}

static hy_status take_options(hy__sheet_options *o, const plan_options *p, hy_error *err) {
    o->sequences = p->sequences;
    o->devices = p->devices;
    o->document = p->document;
    o->budget = p->budget;
    o->store = (hy__store)hy__words_place(hy__store_name, p->dtype);
    if (p->lengths.n > 0) o->n_length = p->lengths.n;
    for (int64_t i = 0; i < p->lengths.n; i++) o->length[i] = p->lengths.item[i];
    if (p->hardware.n > 0) o->n_hardware = p->hardware.n;
    for (int64_t i = 0; i < p->hardware.n; i++)
        HY_TRY(hy__hardware_find(&o->hardware[i], p->hardware.item[i], err));
    return HY_OK;
}

/* ---- one plan ---- */

static hy_status fill(hy__sheet **out, const char *path, const plan_options *p, hy_error *err) {
    char name[HY__SHEET_NAME];
    hy__sheet *s = calloc(1, sizeof *s);
    hy__account *a = calloc(1, sizeof *a);
    hy__sheet_options o;
    hy_status status;
    if (!s || !a) {
        status = hy__no_memory(err, "a plan");
        goto done;
    }
    HY_TRY_GOTO(read_account(a, path, &p->set, err));
    o = hy__sheet_defaults(a);
    HY_TRY_GOTO(take_options(&o, p, err));
    HY_TRY_GOTO(add_rivals(s, a, &p->against, err));
    hy__path_title(path, name, sizeof name);
    HY_TRY_GOTO(hy__sheet_fill(s, a, name, &o, err));
    *out = s;
    s = NULL;
done:
    free(s);
    free(a);
    return status;
}

static hy_status put_text(const hy__text *t, hy_error *err) {
    HY_TRY(hy__text_check(t, err));
    return cmd_write(t->data, t->size, err);
}

static hy_status plan_one(const char *path, const plan_options *p, hy_error *err) {
    hy__sheet *s = NULL;
    hy__text t = {0};
    hy_status status;
    HY_TRY(fill(&s, path, p, err));
    if (p->html) HY_TRY_GOTO(hy__sheet_html(s, p->html, err));
    if (p->json) {
        status = cmd_print_json(hy__sheet_json(s), err);
        goto done;
    }
    if (p->markdown) {
        HY_TRY_GOTO(hy__derivation_markdown(&t, err));
        hy__sheet_markdown(&t, s);
    } else {
        hy__sheet_text(&t, s);
    }
    status = put_text(&t, err);
done:
    hy__text_release(&t);
    free(s);
    return status;
}

/* ---- a folder of configurations ---- */

/* Recipes of a curriculum lie beside the configurations that they are for. */
static bool is_config(const char *path) {
    const size_t n = strlen(path);
    const char *slash = strrchr(path, '/');
    return n > 5 && strcmp(path + n - 5, ".yaml") == 0 &&
           strncmp(slash ? slash + 1 : path, "curriculum-", 11) != 0;
}

static hy_status plan_folder(const char *dir, const plan_options *p, hy_error *err) {
    hy__file_list list = {0};
    hy__text t = {0};
    hy_status status;
    int64_t n = 0;
    HY_TRY(hy__dir_list(&list, dir, err));
    HY_TRY_GOTO(hy__derivation_markdown(&t, err));
    for (int64_t i = 0; i < list.n; i++) {
        if (!is_config(list.path[i])) continue;
        hy__sheet *s;
        HY_TRY_GOTO(fill(&s, list.path[i], p, err));
        hy__sheet_markdown(&t, s);
        free(s);
        n++;
    }
    if (n == 0) {
        status = hy__fail(err, HY_E_INVALID, "%s has no configuration, wanted files *.yaml", dir);
        goto done;
    }
    status = put_text(&t, err);
done:
    hy__text_release(&t);
    hy__file_list_release(&list);
    return status;
}

/* A folder without a model in it holds configurations. */
static hy_status plan(const char *path, const plan_options *p, hy_error *err) {
    char *config = NULL;
    if (!hy__path_is_dir(path)) return plan_one(path, p, err);
    HY_TRY(hy__fileset_find(&config, path, "config.json", err));
    const bool model = config != NULL;
    free(config);
    if (model) return plan_one(path, p, err);
    if (p->markdown && !p->html && !p->json) return plan_folder(path, p, err);
    return hy__fail(err, HY_E_INVALID,
                    "%s has no config.json, wanted a configuration, a model's directory or, with "
                    "--markdown alone, a folder of configurations",
                    path);
}

int cmd_plan(int argc, char **argv) {
    const char *path;
    plan_options p = {.dtype = "bf16", .sequences = 1, .devices = 1, .document = HY__DOCUMENT};
    /* clang-format off */
    option table[] = {
        {.name = "set", .kind = OPTION_EACH, .to = &p.set, .value = "KEY=VALUE", .check = cmd_check_setting, .doc = "change a field of the configuration, e.g. train.batch=4"},
        {.name = "lengths", .kind = OPTION_INTS, .to = &p.lengths, .value = "T,U,...", .min = 1, .max = CMD_WHOLE_MAX, .doc = "lengths to show, in tokens (default 1024,8192,65536,1048576)"},
        {.name = "dtype", .kind = OPTION_TEXT, .to = &p.dtype, .value = "NAME", .words = hy__store_name, .doc = "weights of the running model"},
        {.name = "sequences", .kind = OPTION_INT, .to = &p.sequences, .value = "N", .min = 1, .max = 1e6, .doc = "sequences served at once"},
        {.name = "train-tokens", .kind = OPTION_REAL, .to = &p.budget, .value = "N", .min = 0, .max = 1e18, .doc = "length of a training; 0 = 20 tokens for each active parameter"},
        {.name = "devices", .kind = OPTION_INT, .to = &p.devices, .value = "N", .min = 1, .max = 1e6, .doc = "devices that train together"},
        {.name = "document", .kind = OPTION_INT, .to = &p.document, .value = "T", .min = 1, .max = 1e12, .doc = "longest document of a training that carries its states"},
        {.name = "hardware", .kind = OPTION_EACH, .to = &p.hardware, .value = "NAME", .check = cmd_check_hardware, .doc = "named hardware, or peak=989T,bandwidth=3.35T,memory=80G (default: all named)"},
        {.name = "against", .kind = OPTION_EACH, .to = &p.against, .value = "WHAT", .doc = "compare with transformer, mamba2 (of equal parameters; default: both), a configuration, or none"},
        {.name = "html", .kind = OPTION_PATH, .to = &p.html, .value = "FILE", .doc = "write one page with charts, too"},
        {.name = "markdown", .kind = OPTION_FLAG, .to = &p.markdown, .doc = "as docs/accounting.md: formulas and tables; CONFIG may be a folder of them"},
        {.name = "json", .kind = OPTION_FLAG, .to = &p.json, .doc = "the result as one line of JSON on stdout"},
    };
    /* clang-format on */
    const command self = {.name = "plan",
                          .operand = "CONFIG",
                          .brief = "tell what a configuration costs, before it is built",
                          .detail = "CONFIG is a configuration file or a model's directory. Batch, "
                                    "length and recomputation of training are its section train.",
                          .option = table,
                          .n_option = sizeof table / sizeof *table};
    hy_error err = {0};
    int exit_status;
    if (!cmd_begin(&self, argc, argv, &path, &exit_status)) return exit_status;
    if (check_usage(&p, &err) != HY_OK) return cmd_wrong(&self, &err);
    return cmd_end(&self, plan(path, &p, &err), &err);
}
