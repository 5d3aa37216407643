/* lab_recall.c: how much a state can hold, and whether attention takes the limit away. */
#include "lab/lab.h"

#define PAIRS(n) "task:recall/pairs=" #n

/* Few pairs first, for all arms and equally long. */
#define FEW(tokens) "  - {name: pairs-4, tokens: " tokens ", mixture: {recall/pairs=4: 1}}\n"
#define SOME(tokens)                                                                               \
    "  - {name: pairs-16, tokens: " tokens ", mixture: {recall/pairs=4: 1, recall/pairs=16: 2}}\n"
#define MANY(tokens, more)                                                                         \
    "  - {name: pairs-64, tokens: " tokens                                                         \
    ", mixture: {recall/pairs=4: 1, recall/pairs=16: 2, " more "recall/pairs=64: 3}}\n"

const hy__lab hy__lab_recall = {
    .name = "recall",
    .question = "How many pairs does a state hold, and does attention take the limit away?",
    .about = "Pairs of a key and its value, then every key again in another order: its value is "
             "asked. A state of fixed size has to give up at some number of pairs; attention over "
             "all that was read does not, and one over a window sees only what is near. Few pairs "
             "come first, for all arms and equally long.",
    .published = "nothing of this task; sparse attention is said to reach far",
    .config = "model: {layers: S A F, d_model: 64, vocab: 256, chunk: 32}\n"
              "ssm: {head_dim: 32, d_state: 16}\n"
              "attention: {n_head: 2, window: 256, topk: 0}\n"
              "train: {batch: 16, seq_len: 288, carry: false, warmup: 100,\n"
              "        eval_every: 0, detail_every: 0, tensorboard: false}\n",
    .quick = {.arm = {{.name = "S A, all", .set = {"model.layers=S A S F"}},
                      {.name = "S A, window 32",
                       .set = {"model.layers=S A S F", "attention.window=32"}},
                      {.name = "S, N = 16",
                       .set = {"model.layers=S S F", "ssm.d_state=16"},
                       .fit = "ffn.d_ff",
                       .step = 8},
                      {.name = "S, N = 64",
                       .set = {"model.layers=S S F", "ssm.d_state=64"},
                       .fit = "ffn.d_ff",
                       .step = 8}},
              .rate = {1e-2, 2e-2, 4e-2},
              .data = {PAIRS(4), PAIRS(16), PAIRS(64)},
              .recipe = "stages:\n" FEW("1200K") SOME("2400K") MANY("8M", ""),
              .probe = {{"4 pairs", PAIRS(4)}, {"16 pairs", PAIRS(16)}, {"64 pairs", PAIRS(64)}}},
    .full = {.arm = {{.name = "S A, all", .set = {"model.layers=S A S F", "ffn.d_ff=512"}},
                     {.name = "S A, window 32",
                      .set = {"model.layers=S A S F", "ffn.d_ff=512", "attention.window=32"}},
                     {.name = "S, N = 16",
                      .set = {"model.layers=S S F", "ssm.d_state=16"},
                      .fit = "ffn.d_ff",
                      .step = 8},
                     {.name = "S, N = 64",
                      .set = {"model.layers=S S F", "ssm.d_state=64"},
                      .fit = "ffn.d_ff",
                      .step = 8},
                     {.name = "S, N = 256",
                      .set = {"model.layers=S S F", "ssm.d_state=256"},
                      .fit = "ffn.d_ff",
                      .step = 8}},
             .rate = {1e-2, 2e-2, 4e-2},
             .data = {PAIRS(4), PAIRS(16), PAIRS(32), PAIRS(64)},
             .recipe = "stages:\n" FEW("2M") SOME("4M") MANY("60M", "recall/pairs=32: 2, "),
             .probe = {{"4 pairs", PAIRS(4)},
                       {"16 pairs", PAIRS(16)},
                       {"32 pairs", PAIRS(32)},
                       {"64 pairs", PAIRS(64)}}},
    .goal = {{{"attention: ahead of every other arm at 64 pairs", 0, 2, 2, HY__AHEAD}},
             {{"attention: at least .99 at up to 64 pairs", 0, 0, 3, HY__AT_LEAST, 0.99},
              {"attention: ahead of every other arm at 64 pairs", 0, 3, 3, HY__AHEAD}}},
};
