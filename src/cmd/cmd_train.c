/* cmd_train.c: hydralm train: a model from text, with progress on stderr.
 *
 * SIGINT and SIGTERM let the step finish and a checkpoint be written; a second one ends at once. */
#include "account/agenda.h"
#include "cmd/cmd.h"
#include "cmd/screen.h"
#include "page/number.h"

#include "base/memory.h"
#include "base/status.h"
#include "config/config.h"
#include "train/setup.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool on_step(void *user, const hy_train_progress *p) {
    screen_show(user, p);
    return !cmd_stopped();
}

static void on_warning(void *user, const char *text) {
    screen_clear(user);
    fprintf(stderr, "hydralm train: warning: %s\n", text);
}

/* ---- the command ---- */

static hy_status report(const hy_train_result *r, const char *out, const cmd_shared *shared,
                        hy_error *err) {
    const bool asked = !isnan(r->train_loss);
    if (!shared->json) {
        char loss[32] = "-";
        if (asked) snprintf(loss, sizeof loss, "%.4f", r->train_loss);
        if (!shared->quiet) {
            fprintf(stderr, "%s: %lld steps, %lld tokens, loss %s, %.0f tokens/s, peak %.0f MB\n",
                    out, (long long)r->steps, (long long)r->tokens, loss, r->tokens_per_s,
                    (double)r->peak_rss_bytes / 1e6);
        }
        return HY_OK;
    }
    const bool evaluated = r->val_loss >= 0.0;
    return cmd_print_json(
        json_pack("{s:I, s:I, s:o, s:o, s:o, s:f, s:f, s:f, s:I, s:I, s:I, s:b}", "steps",
                  (json_int_t)r->steps, "tokens", (json_int_t)r->tokens, "train_loss",
                  asked ? json_real(r->train_loss) : json_null(), "val_loss",
                  evaluated ? json_real(r->val_loss) : json_null(), "val_bits_per_byte",
                  evaluated ? json_real(r->val_bits_per_byte) : json_null(), "tokens_per_s",
                  r->tokens_per_s, "seconds", r->seconds, "save_seconds", r->save_seconds,
                  "peak_rss_bytes", (json_int_t)r->peak_rss_bytes, "dropped",
                  (json_int_t)r->dropped, "rewound", (json_int_t)r->rewound, "stopped", r->stopped),
        err);
}

/* ---- what it would do ---- */

static hy_status print_agenda(const hy__agenda *a, const cmd_shared *shared, hy_error *err) {
    if (shared->json) return cmd_print_json(hy__agenda_json(a), err);
    hy__text t = {0};
    hy__agenda_text(&t, a);
    hy_status status = hy__text_check(&t, err);
    if (status == HY_OK) status = cmd_write(t.data, t.size, err);
    hy__text_release(&t);
    return status;
}

/* Adds the run up, prints it (a dry run), and refuses what the machine has no memory for: the named
 * hardware, or this one. Of states that grow with the documents it only warns. */
static hy_status plan(const hy_train_options *opt, const char *hardware, bool print,
                      const cmd_shared *shared, hy_error *err) {
    hy__config c;
    hy__train_config t;
    hy__recipe recipe = {0};
    hy__agenda a = {0};
    hy__hardware h;
    hy_status status;
    if (hardware) HY_TRY(hy__hardware_find(&h, hardware, err));
    HY_TRY(hy__train_setup(opt, &c, &t, &recipe, err));
    HY_TRY_GOTO(hy__agenda_init(&a, &recipe, hardware ? &h : NULL, err));
    if (print) HY_TRY_GOTO(print_agenda(&a, shared, err));
    const double memory = hardware ? h.memory : (double)hy__memory_bytes();
    if (memory > 0) HY_TRY_GOTO(hy__agenda_check_memory(&a, memory, err));
    if (memory > 0 && a.memory > memory && !shared->quiet)
        fprintf(stderr,
                "hydralm train: warning: documents of %s tokens would need %s of memory, and there "
                "are %s; train.carry=false and a smaller train.val_tokens help\n",
                hy__tokens(HY__DOCUMENT).text, hy__bytes(a.memory).text, hy__bytes(memory).text);
done:
    hy__agenda_release(&a);
    hy__recipe_release(&recipe);
    return status;
}

static hy_status train(hy_train_options *opt, const cmd_shared *shared, hy_error *err) {
    hy_train_result result;
    screen s;
    HY_TRY(plan(opt, NULL, false, shared, err));
    screen_init(&s, shared->quiet ? NULL : stderr, opt->out, shared->verbose);
    opt->on_step = on_step;
    opt->on_warning = on_warning;
    opt->user = &s;
    cmd_catch_signals();
    HY_TRY(hy_train(opt, &result, err));
    return report(&result, opt->out, shared, err);
}

/* --help-config: every key of the configuration file, its default and what it means. */
static int print_config_help(void) {
    char *text = hy__config_help();
    hy_error err = {0};
    const hy_status status = text ? cmd_write(text, strlen(text), &err)
                                  : hy__no_memory(&err, "the keys of the configuration");
    free(text);
    if (status == HY_OK) return 0;
    fprintf(stderr, "hydralm train: %s\n", err.text);
    return 1;
}

int cmd_train(int argc, char **argv) {
    hy_train_options opt = {0};
    text_list data = {0}, set = {0};
    int64_t seed = 0;
    const char *operand;
    cmd_shared shared = CMD_SHARED;
    const char *hardware = NULL;
    bool help_config = false, dry_run = false;
    /* clang-format off */
    option table[] = {
        {.name = "config", .kind = OPTION_PATH, .to = &opt.config, .value = "FILE", .required = true, .doc = "configuration (YAML)"},
        {.name = "curriculum", .kind = OPTION_PATH, .to = &opt.curriculum, .value = "FILE", .doc = "recipe of stages (YAML); docs/curriculum.md"},
        {.name = "data", .kind = OPTION_MANY, .to = &data, .value = "PATH...", .required = true, .unless = "dry-run", .doc = "files and folders of text, 'DIR/*.txt', folders of `data build`, made tasks (task:NAME, docs/tasks.md); each with :WEIGHT behind it for a mixture"},
        {.name = "tokenizer", .kind = OPTION_PATH, .to = &opt.tokenizer, .value = "T", .doc = "bytes, a tokenizer.json, or a folder that holds one; otherwise that of built data, or bytes"},
        {.name = "out", .kind = OPTION_PATH, .to = &opt.out, .value = "DIR", .required = true, .unless = "dry-run", .doc = "model directory to write"},
        {.name = "dry-run", .kind = OPTION_FLAG, .to = &dry_run, .doc = "print the stages with what they cost, and train nothing"},
        {.name = "hardware", .kind = OPTION_TEXT, .to = &hardware, .value = "NAME", .check = cmd_check_hardware, .doc = "dry run: the machine to count time and memory of, as for plan"},
        {.name = "steps", .kind = OPTION_INT, .to = &opt.steps, .value = "N", .min = 1, .max = 1e12, .doc = "steps in all; otherwise train.steps"},
        {.name = "minutes", .kind = OPTION_REAL, .to = &opt.minutes, .value = "M", .min = 1e-3, .max = 1e7, .doc = "time limit: the run ends there or at its steps, what is first"},
        {.name = "seed", .kind = OPTION_INT, .to = &seed, .value = "N", .max = CMD_WHOLE_MAX, .doc = "of weights and data; otherwise train.seed"},
        {.name = "set", .kind = OPTION_EACH, .to = &set, .value = "KEY=VALUE", .check = cmd_check_setting, .doc = "change a field of the configuration, as train.lr=3e-4"},
        {.name = "resume", .kind = OPTION_FLAG, .to = &opt.resume, .excludes = "force", .doc = "go on from the checkpoint in DIR, bit for bit; begin where there is none"},
        {.name = "force", .kind = OPTION_FLAG, .to = &opt.force, .doc = "replace a model that is already in DIR"},
        {.name = "no-verify", .kind = OPTION_FLAG, .to = &opt.no_verify, .doc = "start without reading built data through to compare their checksums"},
        {.name = "help-config", .kind = OPTION_FLAG, .to = &help_config, .doc = "print every field of the configuration"},
        CMD_SHARED_OPTIONS(shared),
    };
    /* clang-format on */
    const command self = {.name = "train",
                          .brief = "train a model on text",
                          .detail = "DIR gets the model, metrics.jsonl and the state to resume "
                                    "from. Ctrl-C finishes the step and\nsaves; a second Ctrl-C "
                                    "ends at once.\n\nSeveral corpora: --data wiki:0.7 "
                                    "code:0.3 takes 70% of the tokens from the first. Without\n"
                                    "weights each has the share of its size; all text together "
                                    "is one corpus.",
                          .option = table,
                          .n_option = sizeof table / sizeof *table};
    hy_error err = {0};
    int exit_status;
    for (int i = 0; i < argc; i++)
        if (strcmp(argv[i], "--help-config") == 0) return print_config_help();
    if (!cmd_begin(&self, argc, argv, &operand, &exit_status)) return exit_status;
    if (hardware && !dry_run) {
        (void)hy__fail(&err, HY_E_INVALID, "--hardware goes with --dry-run alone");
        return cmd_wrong(&self, &err);
    }
    opt.data = data.item;
    opt.n_data = data.n;
    opt.set = set.item;
    opt.n_set = set.n;
    opt.has_seed = options_given(&self, "seed");
    opt.seed = (uint64_t)seed;
    opt.threads = (int)shared.threads;
    opt.backend = shared.backend;
    const hy_status status =
        dry_run ? plan(&opt, hardware, true, &shared, &err) : train(&opt, &shared, &err);
    return cmd_end(&self, status, &err);
}
