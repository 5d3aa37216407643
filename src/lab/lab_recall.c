/* lab_recall.c: how much a state can hold, and whether attention takes the limit away.
 *
 * A head of S reads its state h [P, N] as h C, and by N numbers no more than N keys are told wholly
 * apart. Heads share B and C here, but each may write keys of its own, and so may both layers: two
 * times four heads hold at most 8 N pairs exactly, 32 for N = 4, 128 for 16, 512 for 64. From
 * there on recall may fall; it need not, as to be told from 15 others a value is not read exactly.
 */
#include "lab/lab.h"

/* Keys of one symbol, up to 64 pairs; of two, up to 512. */
#define ONE(n) "recall/pairs=" #n
#define TWO(n) "recall/key=2/pairs=" #n

/* Few pairs first, for all arms and equally long; they stay in between. */
#define STAGE(n, tokens, c)                                                                        \
    "  - {name: pairs-" #n ", tokens: " tokens ", mixture: {" MIX_##n(c) "}}\n"
#define MIX_4(c)   c(4) ": 1"
#define MIX_16(c)  MIX_4(c) ", " c(16) ": 2"
#define MIX_64(c)  MIX_16(c) ", " c(64) ": 3"
#define MIX_256(c) MIX_64(c) ", " c(256) ": 6"

#define STATE(n)                                                                                   \
    {                                                                                              \
        .name = "S, N = " #n, .set = {"model.layers=S S F", "ssm.d_state=" #n}, .fit = "ffn.d_ff", \
        .step = 8                                                                                  \
    }

static const hy__arm FEW_ARMS[] = {
    {.name = "S A, all", .set = {"model.layers=S A S F"}},
    {.name = "S A, window 32", .set = {"model.layers=S A S F", "attention.window=32"}},
    STATE(4),
    STATE(16),
    {0},
};
static const hy__arm ALL_ARMS[] = {
    {.name = "S A, all", .set = {"model.layers=S A S F", "ffn.d_ff=512"}},
    {.name = "S A, window 32",
     .set = {"model.layers=S A S F", "ffn.d_ff=512", "attention.window=32"}},
    STATE(16),
    STATE(32),
    STATE(64),
    STATE(128),
    STATE(256),
    {0},
};

static const hy__goal FEW_GOALS[] = {
    {.text = "attention: ahead of every other arm at 64 pairs",
     .arm = "S A, all",
     .at = "64 pairs",
     .kind = HY__AHEAD},
    {.text = "N = 16: each seed ahead of N = 4 by .1 at 64 pairs",
     .arm = "S, N = 16",
     .at = "64 pairs",
     .kind = HY__EACH,
     .wanted = 0.1,
     .beside = "S, N = 4"},
    {0},
};
#define NO_LESS(n, m)                                                                              \
    {                                                                                              \
        .text = "N = " #n ": at least what N = " #m " recalls of 256 pairs", .arm = "S, N = " #n,  \
        .at = "256 pairs", .kind = HY__WITHIN, .beside = "S, N = " #m                              \
    }
static const hy__goal ALL_GOALS[] = {
    {.text = "attention: at least .99 at 16 to 256 pairs",
     .arm = "S A, all",
     .at = "16 pairs",
     .to = "256 pairs",
     .kind = HY__AT_LEAST,
     .wanted = 0.99},
    {.text = "attention: ahead of every other arm at 256 pairs",
     .arm = "S A, all",
     .at = "256 pairs",
     .kind = HY__AHEAD},
    {.text = "N = 256: each seed ahead of N = 16 by .1 at 256 pairs",
     .arm = "S, N = 256",
     .at = "256 pairs",
     .kind = HY__EACH,
     .wanted = 0.1,
     .beside = "S, N = 16"},
    NO_LESS(32, 16),
    NO_LESS(64, 32),
    NO_LESS(128, 64),
    NO_LESS(256, 128),
    {0},
};

const hy__lab hy__lab_recall = {
    .name = "recall",
    .question = "How many pairs does a state hold, and does attention take the limit away?",
    .about = "Pairs of a key and its value, then every key again in another order: its value is "
             "asked. A state of fixed size has to give up at some number of pairs; attention over "
             "all that was read does not, and one over a window sees only what is near. Few pairs "
             "come first, for all arms and equally long. In the long form a key has two symbols, "
             "so that there are enough of them to fill a state.",
    .published = "nothing of this task; sparse attention is said to reach far",
    .config = "model: {layers: S A F, d_model: 64, vocab: 256, chunk: 32}\n"
              "ssm: {head_dim: 32, d_state: 16}\n"
              "attention: {n_head: 2, window: 256, topk: 0}\n"
              "train: {batch: 16, seq_len: 288, carry: false, warmup: 100,\n"
              "        eval_every: 0, detail_every: 0, tensorboard: false}\n",
    .quick = {.arm = FEW_ARMS,
              .rate = {2e-2, 4e-2},
              .data = {"task:" ONE(4), "task:" ONE(16), "task:" ONE(64)},
              .recipe = "stages:\n" STAGE(4, "1200K", ONE) STAGE(16, "2400K", ONE)
                  STAGE(64, "4500K", ONE),
              .probe = (const hy__probe[]){{.name = "4 pairs", .data = "task:" ONE(4)},
                                           {.name = "16 pairs", .data = "task:" ONE(16)},
                                           {.name = "64 pairs", .data = "task:" ONE(64)},
                                           {0}},
              .goal = FEW_GOALS},
    /* A sequence is a document of 256 pairs in whole chunks; attention sees all of 512. */
    .full = {.set = {"train.seq_len=1568", "train.batch=4", "attention.window=4096"},
             .arm = ALL_ARMS,
             .rate = {1e-2, 2e-2, 4e-2},
             .data = {"task:" TWO(4), "task:" TWO(16), "task:" TWO(64), "task:" TWO(256)},
             .recipe = "stages:\n" STAGE(4, "8M", TWO) STAGE(16, "16M", TWO) STAGE(64, "28M", TWO)
                 STAGE(256, "36M", TWO),
             .probe =
                 (const hy__probe[]){{.name = "16 pairs", .data = "task:" TWO(16)},
                                     {.name = "64 pairs", .data = "task:" TWO(64)},
                                     {.name = "128 pairs", .data = "task:" TWO(128), .aside = true},
                                     {.name = "256 pairs", .data = "task:" TWO(256)},
                                     {.name = "512 pairs", .data = "task:" TWO(512), .aside = true},
                                     {0}},
             .goal = ALL_GOALS},
};
