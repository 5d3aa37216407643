/* lab_logic.c: does the workspace help deduction in several steps? */
#include "lab/lab.h"

#define STEPS(k) "task:logic/hops=" #k "/most=10"

/* Gate and replay: one more step when the last is learned, the earlier ones in between. */
#define CORPUS(k) "logic/hops=" #k "/most=10"
#define UNTIL(k, tokens, accuracy, mixture)                                                        \
    "  - {name: steps-" #k ", tokens: " tokens ", mixture: {" mixture                              \
    "}, until: {accuracy: " accuracy ", corpus: " CORPUS(k) "}}\n"
#define STAGE(k, tokens, mixture) UNTIL(k, tokens, "0.95", mixture)
#define LAST(k, tokens, mixture)  UNTIL(k, tokens, "0.98", mixture)
#define MIX1                      CORPUS(1) ": 1"
#define MIX2                      MIX1 ", " CORPUS(2) ": 2"
#define MIX3                      MIX1 ", " CORPUS(2) ": 1, " CORPUS(3) ": 3"
#define MIX4                      MIX3 ", " CORPUS(4) ": 4"
#define MIX5                      MIX4 ", " CORPUS(5) ": 5"

#define TRANSFORMER                                                                                \
    {                                                                                              \
        .name = "Transformer",                                                                     \
        .set = {"model.layers=4x(AF)", "model.d_model=72", "attention.rope_theta=10000"},          \
        .fit = "ffn.d_ff", .step = 4                                                               \
    }
#define READS(n)                                                                                   \
    {                                                                                              \
        .name = "S W, " #n " reads", .set = { "model.layers=S W", "workspace.reads=" #n }          \
    }
#define S_ALONE                                                                                    \
    { .name = "S alone", .set = {"model.layers=S S"}, .fit = "ssm.d_state", .step = 4 }
#define S_A                                                                                        \
    { .name = "S A", .set = {"model.layers=S A F"}, .fit = "ffn.d_ff", .step = 4 }

const hy__lab hy__lab_logic = {
    .name = "logic",
    .question = "Does a workspace that is read several times help deduction in several steps?",
    .about =
        "A document states facts in random order, each that one symbol follows another; together "
        "they form one ring, so that nothing but following them tells where so many steps lead. "
        "Models learn one step first, and one more whenever they answer 95% of the questions, with "
        "the earlier ones in between. All have the parameters of the first. AdamW trains all "
        "matrices: in trials Muon learned two steps sooner, but as a thing of its own, and the "
        "third step anew and late; what AdamW finds for two steps answers most of three at once.",
    .published =
        "with a workspace .76 / .47 / .30 / .19 at 2 to 5 steps, without .03 / .05 / .04 / "
        ".02, a Transformer .07 / .05 / .02 / .02 (blueprint, prototype)",
    .config = "model: {layers: S W, d_model: 96, vocab: 256, chunk: 64}\n"
              "ssm: {head_dim: 32, d_state: 32}\n"
              "attention: {n_head: 3, window: 256, topk: 0}\n"
              "workspace: {n_head: 3, d_k: 32, d_v: 32}\n"
              "train: {batch: 64, seq_len: 64, carry: false, warmup: 100, schedule: wsd,\n"
              "        optimizer: adamw, eval_every: 100, val_tokens: 1500, detail_every: 0, "
              "tensorboard: false}\n",
    .quick = {.set = {"train.batch=32"},
              .arm = {READS(4), READS(1), S_A, TRANSFORMER},
              .rate = {3e-3, 6e-3},
              .data = {STEPS(1), STEPS(2), STEPS(3)},
              .recipe = "stages:\n" STAGE(1, "2M", MIX1) STAGE(2, "5M", MIX2) LAST(3, "5M", MIX3),
              .probe = {{"1 step", STEPS(1)},
                        {"2 steps", STEPS(2), .published = 0.76},
                        {"3 steps", STEPS(3), .published = 0.47},
                        {"4 steps, unseen", STEPS(4), .unseen = true}}},
    .full = {.set = {"train.seq_len=128"},
             .arm = {READS(4), READS(1), READS(2), READS(8), S_ALONE, S_A, TRANSFORMER},
             .rate = {1e-3, 3e-3, 1e-2},
             .data = {STEPS(1), STEPS(2), STEPS(3), STEPS(4), STEPS(5)},
             .recipe = "stages:\n" STAGE(1, "10M", MIX1) STAGE(2, "10M", MIX2) STAGE(3, "15M", MIX3)
                 STAGE(4, "20M", MIX4) LAST(5, "30M", MIX5),
             .probe = {{"1 step", STEPS(1)},
                       {"2 steps", STEPS(2), .published = 0.76},
                       {"3 steps", STEPS(3), .published = 0.47},
                       {"4 steps", STEPS(4), .published = 0.30},
                       {"5 steps", STEPS(5), .published = 0.19},
                       {"6 steps, unseen", STEPS(6), .unseen = true},
                       {"7 steps, unseen", STEPS(7), .unseen = true},
                       {"8 steps, unseen", STEPS(8), .unseen = true}}},
    .goal = {{{"four reads: at least .95 at 2 and 3 steps", 0, 1, 2, HY__AT_LEAST, 0.95},
              {"four reads: ahead of every other arm at 2 and 3 steps", 0, 1, 2, HY__AHEAD}},
             {{"four reads: at least .95 at 2 to 5 steps", 0, 1, 4, HY__AT_LEAST, 0.95},
              {"four reads: ahead of every other arm at 6 to 8 steps", 0, 5, 7, HY__AHEAD}}},
};
