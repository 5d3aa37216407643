/* lab_hops.c: induction in several hops, the same question as in lab_logic.c, of another task. */
#include "lab/lab.h"

#define HOPS(k)   "task:hops/hops=" #k
#define CORPUS(k) "hops/hops=" #k
#define UNTIL(k, tokens, accuracy, mixture)                                                        \
    "  - {name: hops-" #k ", tokens: " tokens ", mixture: {" mixture                               \
    "}, until: {accuracy: " accuracy ", corpus: " CORPUS(k) "}}\n"
#define STAGE(k, tokens, mixture) UNTIL(k, tokens, "0.95", mixture)
#define LAST(k, tokens, mixture)  UNTIL(k, tokens, "0.98", mixture)
#define MIX1                      CORPUS(1) ": 1"
#define MIX2                      MIX1 ", " CORPUS(2) ": 2"
#define MIX3                      MIX1 ", " CORPUS(2) ": 1, " CORPUS(3) ": 3"
#define MIX4                      MIX3 ", " CORPUS(4) ": 4"

#define READS(n)                                                                                   \
    {                                                                                              \
        .name = "S W, " #n " reads", .set = { "model.layers=S W", "workspace.reads=" #n }          \
    }
#define S_ALONE                                                                                    \
    { .name = "S alone", .set = {"model.layers=S S"}, .fit = "ssm.d_state", .step = 4 }
#define S_A                                                                                        \
    { .name = "S A", .set = {"model.layers=S A F"}, .fit = "ffn.d_ff", .step = 4 }
#define TRANSFORMER                                                                                \
    {                                                                                              \
        .name = "Transformer",                                                                     \
        .set = {"model.layers=4x(AF)", "model.d_model=72", "attention.rope_theta=10000"},          \
        .fit = "ffn.d_ff", .step = 4                                                               \
    }

const hy__lab hy__lab_hops = {
    .name = "hops",
    .question = "Does it help induction in several hops?",
    .about = "Every letter of a random sequence over four letters is asked for what followed it "
             "when it last occurred; in two hops for what followed that one's last occurrence "
             "before, and so on. Here one must look back from the middle of a text, at every "
             "place of it. Models learn one hop first, and one more whenever they answer 95%.",
    .published = "nothing of this task; the blueprint claims multi-step reasoning of the workspace",
    .config = "model: {layers: S W, d_model: 96, vocab: 256, chunk: 64}\n"
              "ssm: {head_dim: 32, d_state: 32}\n"
              "attention: {n_head: 3, window: 256, topk: 0}\n"
              "workspace: {n_head: 3, d_k: 32, d_v: 32}\n"
              "train: {batch: 32, seq_len: 128, carry: false, warmup: 100, schedule: wsd,\n"
              "        eval_every: 100, val_tokens: 10000, detail_every: 0, tensorboard: false}\n",
    .quick = {.arm = {READS(4), READS(1), S_ALONE, S_A, TRANSFORMER},
              .rate = {3e-3, 1e-2},
              .data = {HOPS(1), HOPS(2), HOPS(3)},
              .recipe = "stages:\n" STAGE(1, "4M", MIX1) STAGE(2, "4M", MIX2) LAST(3, "6M", MIX3),
              .probe = {{"1 hop", HOPS(1)},
                        {"2 hops", HOPS(2)},
                        {"3 hops", HOPS(3)},
                        {"4 hops, unseen", HOPS(4), .unseen = true}}},
    .full = {.arm = {READS(4), READS(1), READS(2), READS(8), S_ALONE, S_A, TRANSFORMER},
             .rate = {1e-3, 3e-3, 1e-2},
             .data = {HOPS(1), HOPS(2), HOPS(3), HOPS(4)},
             .recipe = "stages:\n" STAGE(1, "20M", MIX1) STAGE(2, "20M", MIX2) STAGE(3, "30M", MIX3)
                 LAST(4, "30M", MIX4),
             .probe = {{"1 hop", HOPS(1)},
                       {"2 hops", HOPS(2)},
                       {"3 hops", HOPS(3)},
                       {"4 hops", HOPS(4)},
                       {"5 hops, unseen", HOPS(5), .unseen = true}}},
    .goal = {{{"four reads: ahead of every other arm at 3 hops", 0, 2, 2, HY__AHEAD}},
             {{"four reads: ahead of every other arm at 2 to 4 hops", 0, 1, 3, HY__AHEAD}}},
};
