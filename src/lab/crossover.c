/* crossover.c: at which length does Hydra overtake a Transformer of equal size? See crossover.h.
 *
 * Every arm and length is measured in a process of its own, by what `hydralm bench` measures with.
 * The arms of a length take turns, round after round: what the machine does meanwhile slows all of
 * them down, and a round's ratios least. */
#include "lab/crossover.h"

#include "base/file.h"
#include "base/hash.h"
#include "bench/bench.h"
#include "ckpt/json_file.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int64_t QUICK[] = {512, 2048, 8192, 0};
static const int64_t FULL[] = {512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 0};

static int count_lengths(const int64_t *length) {
    int n = 0;
    while (length[n] > 0) n++;
    return n;
}

/* ---- over the rounds ---- */

hy__spread hy__crossing_rates(const hy__crossing *at, hy__phase phase) {
    double x[HY__CROSSOVER_ROUNDS];
    memcpy(x, at->rate[phase], sizeof x);
    const hy__spread s = hy__spread_of(x, HY__CROSSOVER_ROUNDS);
    return s.min > 0.0 ? s : (hy__spread){0};
}

double hy__crossover_ratio(const hy__crossover *x, int arm, int l, hy__phase phase) {
    const hy__crossing *own = &x->at[arm][l], *other = &x->at[x->n_arm - 1][l];
    double ratio[HY__CROSSOVER_ROUNDS];
    for (int r = 0; r < HY__CROSSOVER_ROUNDS; r++) {
        if (own->rate[phase][r] <= 0.0 || other->rate[phase][r] <= 0.0) return 0.0;
        ratio[r] = own->rate[phase][r] / other->rate[phase][r];
    }
    return hy__median(ratio, HY__CROSSOVER_ROUNDS);
}

/* ---- what was measured ---- */

static hy_status name_dir(hy__crossover *x, int arm, int l, hy_error *err) {
    hy__sized a;
    hy__hash h;
    char tokens[24];
    HY_TRY(hy__arm_config(x->lab, x->scale, arm, &a, err));
    x->parameters[arm] = a.parameters;
    char *text = hy__config_print(&a.cfg, &a.train);
    if (!text) return hy__no_memory(err, "a lab");
    const hy__machine m = hy__machine_describe();
    hy__lab_hash(&h, text);
    hy__hash_add(&h, m.cpu, strlen(m.cpu) + 1); /* another machine has other rates */
    hy__hash_add(&h, &m.cores, sizeof m.cores);
    free(text);
    snprintf(tokens, sizeof tokens, "%" PRId64, x->length[l]);
    hy__lab_dir(x->at[arm][l].dir, x->opt->out, x->scale->arm[arm].name, tokens, &h);
    return HY_OK;
}

static void name_round(char name[24], int round) {
    snprintf(name, 24, "round-%d.json", round + 1);
}

static bool read_round(hy__crossing *at, int round) {
    hy_error ignored;
    json_t *json = NULL;
    char name[24];
    name_round(name, round);
    bool whole = hy__json_read(&json, at->dir, name, &ignored) == HY_OK;
    for (hy__phase p = 0; p < HY__PHASE_N && whole; p++) {
        double peak = 0.0;
        whole = json_unpack(json, "{s:{s:F, s:F}}", hy__phase_name(p), "tokens_per_s",
                            &at->rate[p][round], "peak_bytes", &peak) == 0;
        at->peak[p] = fmax(at->peak[p], peak);
    }
    json_decref(json);
    return whole;
}

/* A round that had no memory is tried again: something else may have had it. */
static bool is_done(const hy__crossing *at, int round) {
    for (hy__phase p = 0; p < HY__PHASE_N; p++)
        if (at->rate[p][round] <= 0.0) return false;
    return true;
}

static hy_status write_round(const hy__crossing *at, int round, hy_error *err) {
    json_t *json = json_object();
    char name[24];
    for (hy__phase p = 0; p < HY__PHASE_N; p++)
        json_object_set_new(
            json, hy__phase_name(p),
            json_pack("{s:f, s:f}", "tokens_per_s", at->rate[p][round], "peak_bytes", at->peak[p]));
    name_round(name, round);
    return hy__lab_save(json, HY__LAB_WHOLE, at->dir, name, err);
}

/* ---- measuring ---- */

/* One arm, at one length, in one round. */
typedef struct turn {
    int arm, l, round;
} turn;

/* The rounds of a length one after another, in each all arms. */
static turn turn_of(const hy__crossover *x, int64_t i) {
    return (turn){.arm = (int)(i % x->n_arm),
                  .round = (int)(i / x->n_arm % HY__CROSSOVER_ROUNDS),
                  .l = (int)(i / x->n_arm / HY__CROSSOVER_ROUNDS)};
}

/* What the machine has no memory for keeps its zeroes. */
static hy_status measure(const hy__crossover *x, turn now, hy__phase phase, hy__backend *be,
                         hy__crossing *at, hy_error *err) {
    hy__sized arm;
    hy__bench *b;
    HY_TRY(hy__arm_config(x->lab, x->scale, now.arm, &arm, err));
    hy__bench_options o = {.name = x->scale->arm[now.arm].name,
                           .settings = "",
                           .cfg = arm.cfg,
                           .train = arm.train,
                           .tokens = &x->length[now.l],
                           .n_tokens = 1,
                           .batch = 1,
                           .runs = 1,
                           .warm_up = 1};
    o.phase[phase] = o.store[HY__STORE_FP32] = true;
    const hy_status status = hy__bench_run(&b, be, &o, err);
    if (status == HY_E_MEMORY) return HY_OK;
    HY_TRY(status);
    const hy__bench_row *row = &b->row[0];
    const hy_status sound = hy__bench_verdict(b, err);
    if (sound == HY_OK) {
        at->rate[phase][now.round] = (double)row->rows / row->seconds.median;
        at->peak[phase] = (double)row->peak_bytes;
    }
    hy__bench_free(b);
    return sound;
}

static hy_status run_one(void *user, int64_t i, hy_train_fn go_on, hy_error *err) {
    hy__crossover *x = user;
    hy__backend *be = NULL;
    const turn now = turn_of(x, i);
    hy__crossing at = {0};
    memcpy(at.dir, x->at[now.arm][now.l].dir, sizeof at.dir);
    (void)read_round(&at, now.round); /* of one that is tried again what it has */
    HY_TRY(hy__dir_make(at.dir, NULL, err));
    HY_TRY(hy__backend_open(&be, "cpu", 0, err));
    hy_status status = HY_OK;
    for (hy__phase p = 0; p < HY__PHASE_N && status == HY_OK; p++) {
        if (at.rate[p][now.round] > 0.0) continue;
        status = hy__lab_go_on(go_on, err);
        if (status == HY_OK) status = measure(x, now, p, be, &at, err);
    }
    hy__backend_free(be);
    return status == HY_OK ? write_round(&at, now.round, err) : status;
}

static void name_one(const void *user, int64_t i, char *out, size_t size) {
    const hy__crossover *x = user;
    const turn now = turn_of(x, i);
    snprintf(out, size, "%.60s, %" PRId64 " tokens, round %d", x->scale->arm[now.arm].name,
             x->length[now.l], now.round + 1);
}

static hy_status measure_all(hy__crossover *x, hy_error *err) {
    bool done[HY__LAB_ARMS * HY__CROSSOVER_LENGTHS * HY__CROSSOVER_ROUNDS];
    const int64_t n = (int64_t)x->n_arm * x->n_length * HY__CROSSOVER_ROUNDS;
    for (int64_t i = 0; i < n; i++) {
        const turn now = turn_of(x, i);
        hy__crossing *at = &x->at[now.arm][now.l];
        if (now.round == 0) HY_TRY(name_dir(x, now.arm, now.l, err));
        done[i] = read_round(at, now.round) && is_done(at, now.round);
    }
    const hy__chores chores = {.lab = x->lab->name,
                               .n = n,
                               .total = n,
                               .done = done,
                               .run = run_one,
                               .name = name_one,
                               .user = x};
    HY_TRY(hy__pool_run(&chores, 1, x->opt, err));
    for (int64_t i = 0; i < n; i++) {
        const turn now = turn_of(x, i);
        hy__crossing *at = &x->at[now.arm][now.l];
        if (!read_round(at, now.round))
            return hy__fail(err, HY_E_IO, "what a round measured is gone from %s", at->dir);
    }
    return HY_OK;
}

static hy_status run(const hy__lab *lab, const hy__lab_options *opt, hy_error *err) {
    hy__lab_scale scale = opt->full ? lab->full : lab->quick;
    hy__crossover *x = calloc(1, sizeof *x);
    if (!x) return hy__no_memory(err, "a lab");
    x->lab = lab;
    x->scale = &scale;
    x->opt = opt;
    x->length = opt->full ? FULL : QUICK;
    x->n_length = count_lengths(x->length);
    x->n_arm = hy__scale_arms(&scale);
    int lock = -1;
    hy_status status = hy__scale_change(lab, &scale, opt, err);
    if (status == HY_OK) status = hy__lab_lock(&lock, opt->out, err);
    if (status == HY_OK) status = measure_all(x, err);
    if (status == HY_OK) status = hy__crossover_write(x, opt->out, err);
    hy__lab_unlock(lock);
    free(x);
    return status;
}

/* ---- arms: configs/toy.yaml, and what has its size ---- */

#define TOY                                                                                        \
    { .name = "Hydra" }
#define LESS(name_, layers, field)                                                                 \
    { .name = name_, .set = {"model.layers=" layers}, .fit = field, .step = 32 }
/* As many parameters, of which fewer work. */
#define TOY_OF_8                                                                                   \
    {                                                                                              \
        .name = "Hydra, 2 of 8 experts", .set = {"experts.n_expert=8"}, .fit = "experts.d_ff",     \
        .step = 32                                                                                 \
    }
#define MAMBA2                                                                                     \
    {                                                                                              \
        .name = "Mamba-2", .set = {"model.layers=12x(S)", "model.d_model=512", "model.chunk=64"},  \
        .fit = "ssm.d_state", .step = 8                                                            \
    }
#define TRANSFORMER                                                                                \
    {                                                                                              \
        .name = "Transformer",                                                                     \
        .set = {"model.layers=6x(AF)",      "model.d_model=512", "model.chunk=64",                 \
                "attention.window=1048576", "attention.topk=0",  "attention.memory_blocks=0",      \
                "attention.rope_theta=1e4"},                                                       \
        .fit = "ffn.d_ff", .step = 32                                                              \
    }
#define OTHERS                                                                                     \
    LESS("without W and P", "S SE S SAE S SE S SAE", "experts.d_ff"),                              \
        LESS("without E", "S SF S SAF SW SF SP SAF", "ffn.d_ff"),                                  \
        LESS("without A", "S SE S SE SW SE SP SE", "experts.d_ff"), MAMBA2, TRANSFORMER

static const hy__arm QUICK_ARMS[] = {TOY, OTHERS, {0}}, FULL_ARMS[] = {TOY, TOY_OF_8, OTHERS, {0}};

const hy__lab hy__lab_crossover = {
    .name = "crossover",
    .question = "At which length does Hydra overtake an equal Transformer?",
    .about = "Models of 29 million parameters, random weights and random tokens, one sequence in "
             "fp32: a step of training, a prompt that is read, a token that is written behind it. "
             "The Transformer attends to everything, by the same tiled kernels; what Hydra chooses "
             "blocks from are the last 16,384 tokens. What a kernel computes is checked against "
             "float64 before it is measured.",
    .published = "3.0 times a Transformer's tokens/s at 8K; 143 MB at 1K and 18.2 GB at 16K "
                 "(blueprint, prototype)",
    .config = "model: {layers: S SE S SAE SW SE SP SAE, d_model: 256, vocab: 16384, chunk: 32}\n"
              "attention: {window: 256, topk: 8, memory_blocks: 512}\n"
              "experts: {n_expert: 4, k: 2, d_ff: 1280, expert_chunk: 32}\n"
              "pkm: {n_key: 128}\n",
    .run = run,
    .train = {"train.optimizer", "train.recompute"},
    .quick = {.arm = QUICK_ARMS},
    .full = {.arm = FULL_ARMS},
};
