/* lab_needle.c: does sparse attention find what was said far back? */
#include "lab/lab.h"

/* Notes far back; in training anything from 32 tokens to the whole distance. */
#define AT(distance)    "needle/distance=" distance "/notes=8/before=64"
#define UP_TO(distance) "needle/distance=" distance "/notes=8/vary=1/before=64"
/* Most of it within the window: where to look is learned there. */
#define NEAR "needle/distance=48/notes=8/vary=1/before=32"
#define NEAR_STAGE(tokens)                                                                         \
    "  - {name: near, tokens: " tokens ", mixture: {" NEAR ": 1}, "                                \
    "train: {seq_len: 352, batch: 48}}\n"
#define FAR_STAGE(tokens, distance)                                                                \
    "  - {name: far, tokens: " tokens ", mixture: {" UP_TO(distance) ": 1}}\n"
#define TOPK(k)                                                                                    \
    {                                                                                              \
        .name = "topk " #k, .set = { "attention.topk=" #k }                                        \
    }
#define FULL                                                                                       \
    {                                                                                              \
        .name = "full", .set = { "attention.window=1048576", "attention.topk=0" }                  \
    }

static const hy__arm ARMS[] = {TOPK(8), TOPK(0), TOPK(4), TOPK(16), FULL, {0}};

#define REACHES(end)                                                                               \
    {                                                                                              \
        .text = "topk 8: at least .99 up to 16 times the training length", .arm = "topk 8",        \
        .at = "4,096", .to = end, .kind = HY__AT_LEAST, .wanted = 0.99                             \
    }

const hy__lab hy__lab_needle = {
    .name = "needle",
    .question = "Does sparse attention find what was said far back?",
    .about =
        "Eight notes stand among words that mean nothing; long after, each is asked for. A token "
        "sees the first 16 tokens, the last 64, and as many blocks of 16 in between as topk says: "
        "those whose mean key suits it best. The choice has no gradient, so what makes a block "
        "be found must be learned where notes are near or were found by chance. Models are trained "
        "on short texts, and asked about texts up to 16 times as long.",
    .published = "a distant premise at 4,096 tokens: .4 / .4 / .2 (blueprint, of its three kinds)",
    .config = "model: {layers: S A F, d_model: 64, vocab: 256, chunk: 16}\n"
              "ssm: {head_dim: 32, d_state: 16, d_conv: 8}\n"
              "attention: {n_head: 2, window: 64, topk: 8}\n"
              "ffn: {d_ff: 128}\n"
              "train: {batch: 16, seq_len: 1024, carry: false, warmup: 30, schedule: wsd,\n"
              "        eval_every: 0, detail_every: 0, tensorboard: false}\n",
    .quick = {.arm = ARMS,
              .rate = {5e-4, 1e-3, 2e-3},
              .data = {"task:" NEAR, "task:" UP_TO("640")},
              .recipe = "stages:\n" NEAR_STAGE("2500K") FAR_STAGE("4M", "640"),
              .probe =
                  (const hy__probe[]){
                      {.name = "up to 640 tokens back", .data = "task:" UP_TO("640")},
                      {.name = "640", .data = "task:" AT("640")},
                      {.name = "4,096", .data = "task:" AT("4096"), .aside = true},
                      {.name = "16,384", .data = "task:" AT("16384"), .aside = true},
                      {0}},
              .goal = (const hy__goal[]){REACHES("16,384"), {0}}},
    .full = {.set = {"train.seq_len=4096"},
             .arm = ARMS,
             .rate = {2.5e-4, 5e-4, 1e-3},
             .data = {"task:" NEAR, "task:" UP_TO("3700")},
             .recipe = "stages:\n" NEAR_STAGE("10M") FAR_STAGE("100M", "3700"),
             .probe =
                 (const hy__probe[]){
                     {.name = "up to 3,700 tokens back", .data = "task:" UP_TO("3700")},
                     {.name = "1,024", .data = "task:" AT("1024")},
                     {.name = "4,096", .data = "task:" AT("4096"), .aside = true},
                     {.name = "16,384", .data = "task:" AT("16384"), .aside = true},
                     {.name = "65,536", .data = "task:" AT("65536"), .aside = true},
                     {0}},
             .goal = (const hy__goal[]){REACHES("65,536"), {0}}},
};
