/* lab_curriculum.c: does staging help? Stages as those of configs/curriculum-nano.yaml. */
#include "lab/lab_parts.h"

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

#define ARM(title, stages)                                                                         \
    { .name = title, .recipe = "stages:\n" stages }
/* A stage that is left out gives its tokens to the last one. tens: "", or "0" for ten times as many
 * tokens of each. */
#define ARMS(tens)                                                                                 \
    ARM("recipe", DENSE("40960" tens, SHORT) EXPERTS("61440" tens, MIDDLE, COPIED)                 \
                      MEMORIES("102400" tens, "25600" tens, "") WHOLE("409600" tens)),             \
        ARM("all at once", WHOLE("614400" tens)),                                                  \
        ARM("no dense", EXPERTS("61440" tens, MIDDLE, "")                                          \
                            MEMORIES("102400" tens, "25600" tens, "") WHOLE("450560" tens)),       \
        ARM("no experts", DENSE("40960" tens, SHORT) MEMORIES("102400" tens, "25600" tens, COPIED) \
                              WHOLE("471040" tens)),                                               \
        ARM("no memories", DENSE("40960" tens, SHORT) EXPERTS("61440" tens, MIDDLE, COPIED)        \
                               WHOLE("512000" tens)),                                              \
        ARM("no short contexts",                                                                   \
            DENSE("40960" tens, LONG) EXPERTS("61440" tens, LONG, COPIED)                          \
                MEMORIES("102400" tens, "25600" tens, "") WHOLE("409600" tens)),                   \
    {                                                                                              \
        0                                                                                          \
    }
static const hy__arm QUICK_ARMS[] = {ARMS("")}, FULL_ARMS[] = {ARMS("0")};

#define BETTER(text_, without)                                                                     \
    {                                                                                              \
        .text = text_, .arm = "recipe", .at = "held-out text", .metric = HY__LOSS,                 \
        .kind = HY__EACH, .beside = without                                                        \
    }
static const hy__goal GOALS[] = {
    {.text = "the recipe: no worse than all at once",
     .arm = "recipe",
     .at = "held-out text",
     .metric = HY__LOSS,
     .kind = HY__WITHIN,
     .beside = "all at once"},
    BETTER("the recipe: better than all at once in every seed", "all at once"),
    BETTER("without the stage of dense layers worse in every seed", "no dense"),
    BETTER("without that of experts worse in every seed", "no experts"),
    BETTER("without that of memories worse in every seed", "no memories"),
    BETTER("without short contexts worse in every seed", "no short contexts"),
    {0},
};

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
    .config = HY__LAB_SIX,
    .quick = {.set = {"train.warmup=10"}, /* the first stage has 20 steps */
              .arm = QUICK_ARMS,
              .rate = {4e-3, 8e-3, 1.6e-2},
              .data = {HY__LAB_TEXT},
              .probe = hy__lab_held_out,
              .goal = GOALS},
    .full = {.set = {HY__LAB_SIX_WIDE},
             .arm = FULL_ARMS,
             .rate = {4e-3, 8e-3, 1.6e-2},
             .data = {HY__LAB_TEXT},
             .probe = hy__lab_held_out,
             .goal = GOALS},
};
