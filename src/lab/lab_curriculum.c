/* lab_curriculum.c: does staging help? Stages as those of configs/curriculum-nano.yaml. */
#include "lab/lab.h"

/* Stages of so many tokens, all of 2,048 a step. */
#define SHORT  "batch: 8, seq_len: 128 to 256"
#define MIDDLE "batch: 8, seq_len: 256"
#define LONG   "batch: 4, seq_len: 512"
#define COPIED ", upcycle: {noise: 0.1}" /* experts are made of dense layers */
#define DENSE(tokens, size)                                                                        \
    "  - {name: dense, tokens: " tokens ", layers: SF SA SF SW SP SF, on: S A F,\n"                \
    "     attention: {window: 64, topk: 0}, train: {" size "}}\n"
#define EXPERTS(tokens, size, more)                                                                \
    "  - {name: experts, tokens: " tokens ", on: S A E F" more ",\n"                               \
    "     attention: {window: 64, topk: 0}, train: {" size "}}\n"
#define MEMORIES(tokens, ramp, more)                                                               \
    "  - {name: memories, tokens: " tokens ", gate_ramp: " ramp more ",\n"                         \
    "     attention: {window: 64, topk: 0}}\n"
#define WHOLE(tokens) "  - {name: whole, tokens: " tokens "}\n"

/* A stage that is left out gives its tokens to the last one. */
#define ARM(title, stages)                                                                         \
    { .name = title, .recipe = "stages:\n" stages }
#define GOALS                                                                                      \
    {                                                                                              \
        {"the recipe: no worse than all at once", 0, 0, 0, HY__WITHIN, 0.0, 1},                    \
            {"the recipe: better than all at once in every seed", 0, 0, 0, HY__EACH, 0.0, 1},      \
            {"without the stage of dense layers worse in every seed", 0, 0, 0, HY__EACH, 0.0, 2},  \
            {"without that of experts worse in every seed", 0, 0, 0, HY__EACH, 0.0, 3},            \
            {"without that of memories worse in every seed", 0, 0, 0, HY__EACH, 0.0, 4},           \
            {"without short contexts worse in every seed", 0, 0, 0, HY__EACH, 0.0, 5},             \
    }
#define PROBES                                                                                     \
    {                                                                                              \
        {"held-out text", "*", HY__LOSS}, {                                                        \
            "held-out text", "*", HY__BITS                                                         \
        }                                                                                          \
    }

const hy__lab hy__lab_curriculum = {
    .name = "curriculum",
    .question = "Does staging help?",
    .about =
        "One model of all six letters, trained on as many tokens of the same text by a recipe or "
        "with everything on from the first step. The recipe: S, windowed A and dense layers at "
        "short contexts; then experts, made of the dense layers; then W and P; then blocks that A "
        "chooses, until the end. Each of its first three stages is left out once, and once all "
        "contexts have their full length; the last stage gets the tokens. The loss is that of "
        "files that none of them has read, in nats per byte.",
    .published = "nothing; that a model of so many parts is hard to train is its first risk",
    .config = "model: {layers: SE SA SE SW SP SF, d_model: 64, vocab: 256, chunk: 64}\n"
              "ssm: {head_dim: 32, d_state: 32}\n"
              "attention: {n_head: 2, window: 128, topk: 4, memory_blocks: 64}\n"
              "experts: {n_expert: 4, k: 2, d_ff: 64}\n"
              "ffn: {d_ff: 192}\n"
              "workspace: {n_head: 2, d_k: 32, d_v: 32}\n"
              "pkm: {n_head: 1, n_key: 32, topk: 8}\n"
              "train: {batch: 4, seq_len: 512, carry: false, warmup: 30, schedule: wsd,\n"
              "        eval_every: 100, val_tokens: 32768, val_fraction: 0.1, detail_every: 0,\n"
              "        tensorboard: false}\n",
    .quick = {.arm = {ARM("recipe", DENSE("40960", SHORT) EXPERTS("61440", MIDDLE, COPIED)
                                        MEMORIES("102400", "25600", "") WHOLE("409600")),
                      ARM("all at once", WHOLE("614400")),
                      ARM("no dense", EXPERTS("61440", MIDDLE, "") MEMORIES("102400", "25600", "")
                                          WHOLE("450560")),
                      ARM("no experts", DENSE("40960", SHORT) MEMORIES("102400", "25600", COPIED)
                                            WHOLE("471040")),
                      ARM("no memories",
                          DENSE("40960", SHORT) EXPERTS("61440", MIDDLE, COPIED) WHOLE("512000")),
                      ARM("no short contexts",
                          DENSE("40960", LONG) EXPERTS("61440", LONG, COPIED)
                              MEMORIES("102400", "25600", "") WHOLE("409600"))},
              .rate = {4e-3, 8e-3, 1.6e-2},
              .data = {HY__LAB_TEXT},
              .probe = PROBES},
    .full = {.set = {"model.d_model=128", "ssm.d_state=64", "experts.d_ff=128", "ffn.d_ff=384",
                     "train.eval_every=200", "train.weight_decay=0.5"},
             .arm = {ARM("recipe", DENSE("409600", SHORT) EXPERTS("614400", MIDDLE, COPIED)
                                       MEMORIES("1024000", "256000", "") WHOLE("4096000")),
                     ARM("all at once", WHOLE("6144000")),
                     ARM("no dense", EXPERTS("614400", MIDDLE, "") MEMORIES("1024000", "256000", "")
                                         WHOLE("4505600")),
                     ARM("no experts", DENSE("409600", SHORT) MEMORIES("1024000", "256000", COPIED)
                                           WHOLE("4710400")),
                     ARM("no memories",
                         DENSE("409600", SHORT) EXPERTS("614400", MIDDLE, COPIED) WHOLE("5120000")),
                     ARM("no short contexts",
                         DENSE("409600", LONG) EXPERTS("614400", LONG, COPIED)
                             MEMORIES("1024000", "256000", "") WHOLE("4096000"))},
             .rate = {4e-3, 8e-3, 1.6e-2},
             .data = {HY__LAB_TEXT},
             .probe = PROBES},
    .goal = {GOALS, GOALS},
};
