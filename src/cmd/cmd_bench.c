/* cmd_bench.c: hydralm bench: how fast a model is on this machine. */
#include "base/file.h"
#include "base/progress.h"
#include "base/words.h"
#include "bench/bench.h"
#include "ckpt/checkpoint.h"
#include "cmd/cmd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

typedef struct bench_options {
    const char *model, *config, *csv;
    bool what[HY__PHASE_N + 1], dtype[HY__STORE_N]; /* the last of `what` is kernels */
    text_list set;
    int_list tokens;
    int64_t batch, runs, warm_up;
    cmd_shared shared;
} bench_options;

/* ---- the model ---- */

static hy_status read_config(hy__bench_options *o, const bench_options *b, hy_error *err) {
    o->dir = b->model;
    if (b->model) return hy__checkpoint_config(b->model, &o->cfg, &o->train, err);
    HY_TRY(hy__config_read_yaml(b->config, &o->cfg, &o->train, err));
    for (int64_t i = 0; i < b->set.n; i++)
        HY_TRY(hy__config_assign(&o->cfg, &o->train, b->set.item[i], err));
    return hy__config_finish(&o->cfg, err);
}

/* ---- results ---- */

/* Opened before anything is measured: a path that is wrong should not cost the result. */
static hy_status open_csv(FILE **out, bool *made, const char *path, hy_error *err) {
    if (path) HY_TRY(hy__bench_csv_check(path, err));
    *out = path ? fopen(path, "axe") : NULL;
    *made = *out != NULL;
    if (path && !*out && errno == EEXIST) *out = fopen(path, "ae");
    if (!path || *out) return HY_OK;
    return hy__fail(err, HY_E_IO, "%s could not be written: %s", path, strerror(errno));
}

/* Appends, with the head when the table is new. */
static hy_status append_csv(FILE *f, const char *path, const hy__bench *bench, hy_error *err) {
    hy__text t = {0};
    if (ftell(f) == 0) hy__bench_csv_head(&t);
    hy__bench_csv(&t, bench);
    hy_status status = hy__text_check(&t, err);
    if (status == HY_OK && (fwrite(t.data, 1, t.size, f) != t.size || fflush(f) != 0))
        status = hy__fail(err, HY_E_IO, "%s could not be written: %s", path, strerror(errno));
    hy__text_release(&t);
    return status;
}

/* A table that was made here, and that nothing was written to, is not left behind. */
static void close_csv(FILE *f, bool made, const char *path) {
    if (!f) return;
    const bool empty = ftell(f) == 0;
    fclose(f);
    if (made && empty) remove(path);
}

static hy_status print_table(const hy__bench *bench, hy_error *err) {
    hy__text t = {0};
    hy__bench_text(&t, bench);
    hy_status status = hy__text_check(&t, err);
    if (status == HY_OK) status = cmd_write(t.data, t.size, err);
    hy__text_release(&t);
    return status;
}

static hy_status report(const hy__bench *bench, const bench_options *b, FILE *csv, hy_error *err) {
    HY_TRY(b->shared.json ? cmd_print_json(hy__bench_json(bench), err) : print_table(bench, err));
    if (csv) HY_TRY(append_csv(csv, b->csv, bench, err));
    return hy__bench_verdict(bench, err);
}

/* ---- the command ---- */

static void on_row(void *user, const char *what) {
    (void)user;
    fprintf(stderr, "%s\n", what);
}

static void join(const text_list *list, char *out, size_t size) {
    *out = 0;
    for (int64_t i = 0; i < list->n; i++) hy__words_add(out, size, " ", list->item[i]);
}

static hy_status take_options(hy__bench_options *o, const bench_options *b, hy_error *err) {
    static const int64_t USUAL[] = {512, 2048, 8192};
    *o = (hy__bench_options){.tokens = USUAL,
                             .n_tokens = sizeof USUAL / sizeof *USUAL,
                             .kernels = b->what[HY__PHASE_N],
                             .batch = b->batch,
                             .runs = b->runs,
                             .warm_up = b->warm_up};
    memcpy(o->phase, b->what, sizeof o->phase);
    memcpy(o->store, b->dtype, sizeof o->store);
    if (b->tokens.n > 0) {
        o->tokens = b->tokens.item;
        o->n_tokens = b->tokens.n;
    }
    HY_TRY(read_config(o, b, err));
    /* profiles are of the runs that are asked for; alone of training, which calls every kernel */
    if (!o->phase[HY__PHASE_PREFILL] && !o->phase[HY__PHASE_DECODE])
        o->phase[HY__PHASE_TRAIN] = true;
    o->kernels |= b->shared.verbose;
    if (!b->shared.quiet) o->progress = on_row;
    return HY_OK;
}

static hy_status bench(const bench_options *b, hy_error *err) {
    char name[128], settings[512];
    hy__bench_options o;
    hy__backend *be = NULL;
    hy__bench *result = NULL;
    FILE *csv = NULL;
    bool made = false;
    hy_status status;
    HY_TRY(take_options(&o, b, err));
    hy__path_title(b->model ? b->model : b->config, name, sizeof name);
    join(&b->set, settings, sizeof settings);
    o.name = name;
    o.settings = settings;
    HY_TRY_GOTO(open_csv(&csv, &made, b->csv, err));
    HY_TRY_GOTO(hy__backend_open(&be, b->shared.backend, (int)b->shared.threads, err));
    HY_TRY_GOTO(hy__bench_run(&result, be, &o, err));
    HY_TRY_GOTO(report(result, b, csv, err));
done:
    close_csv(csv, made, b->csv);
    hy__bench_free(result);
    hy__backend_free(be);
    return status;
}

int cmd_bench(int argc, char **argv) {
    const char *operand;
    static const char *const WHAT[] = {[HY__PHASE_TRAIN] = "train",
                                       [HY__PHASE_PREFILL] = "prefill",
                                       [HY__PHASE_DECODE] = "decode",
                                       [HY__PHASE_N] = "kernels",
                                       NULL};
    bench_options b = {
        .what = {[HY__PHASE_TRAIN] = true, [HY__PHASE_PREFILL] = true, [HY__PHASE_DECODE] = true},
        .dtype = {[HY__STORE_FP32] = true},
        .batch = 1,
        .runs = 5,
        .warm_up = 1,
        .shared = CMD_SHARED};
    /* clang-format off */
    option table[] = {
        {.name = "config", .kind = OPTION_PATH, .to = &b.config, .value = "FILE", .required = true, .unless = "model", .doc = "configuration (YAML), with random weights"},
        {.name = "model", .kind = OPTION_PATH, .to = &b.model, .value = "DIR", .excludes = "config", .doc = "or a model's directory"},
        {.name = "set", .kind = OPTION_EACH, .to = &b.set, .value = "KEY=VALUE", .check = cmd_check_setting, .excludes = "model", .doc = "change a field of the configuration, e.g. train.recompute=true"},
        {.name = "what", .kind = OPTION_WORDS, .to = b.what, .value = "LIST", .words = WHAT, .doc = "what is measured (kernels: where their time goes)"},
        {.name = "tokens", .kind = OPTION_INTS, .to = &b.tokens, .value = "T,U,...", .min = 1, .max = CMD_WHOLE_MAX, .doc = "lengths; of decode, what stands before the token (default 512,2048,8192)"},
        {.name = "dtype", .kind = OPTION_WORDS, .to = b.dtype, .value = "LIST", .words = hy__store_name, .doc = "of weights, in training of products"},
        {.name = "batch", .kind = OPTION_INT, .to = &b.batch, .value = "N", .min = 1, .max = 65536, .doc = "sequences at once"},
        {.name = "runs", .kind = OPTION_INT, .to = &b.runs, .value = "N", .min = 1, .max = HY__BENCH_RUNS, .doc = "measured runs of each row"},
        {.name = "warm-up", .kind = OPTION_INT, .to = &b.warm_up, .value = "N", .min = 0, .max = HY__BENCH_RUNS, .doc = "runs before them"},
        {.name = "csv", .kind = OPTION_PATH, .to = &b.csv, .value = "FILE", .doc = "append the results to a table, too"},
        CMD_SHARED_OPTIONS(b.shared),
    };
    /* clang-format on */
    const command self = {.name = "bench",
                          .brief = "measure how fast a model trains, reads and writes",
                          .detail = "A row whose kernels fail a check against ref64 is not "
                                    "reported. With -v, kernels is on.",
                          .option = table,
                          .n_option = sizeof table / sizeof *table};
    hy_error err = {0};
    int exit_status;
    if (!cmd_begin(&self, argc, argv, &operand, &exit_status)) return exit_status;
    return cmd_end(&self, bench(&b, &err), &err);
}
