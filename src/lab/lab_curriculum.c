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
/* A stage that is left out gives its tokens to the last one. times: "", or "0" for ten times as
 * many tokens of each. */
#define ARMS(times)                                                                                \
    {                                                                                              \
        ARM("recipe", DENSE("40960" times, SHORT) EXPERTS("61440" times, MIDDLE, COPIED)           \
                          MEMORIES("102400" times, "25600" times, "") WHOLE("409600" times)),      \
            ARM("all at once", WHOLE("614400" times)),                                             \
            ARM("no dense", EXPERTS("61440" times, MIDDLE, "") MEMORIES(                           \
                                "102400" times, "25600" times, "") WHOLE("450560" times)),         \
            ARM("no experts", DENSE("40960" times, SHORT) MEMORIES("102400" times, "25600" times,  \
                                                                   COPIED) WHOLE("471040" times)), \
            ARM("no memories", DENSE("40960" times, SHORT) EXPERTS("61440" times, MIDDLE, COPIED)  \
                                   WHOLE("512000" times)),                                         \
            ARM("no short contexts",                                                               \
                DENSE("40960" times, LONG) EXPERTS("61440" times, LONG, COPIED)                    \
                    MEMORIES("102400" times, "25600" times, "") WHOLE("409600" times)),            \
    }
#define GOALS                                                                                      \
    {                                                                                              \
        {"the recipe: no worse than all at once", 0, 0, 0, HY__WITHIN, 0.0, 1},                    \
            {"the recipe: better than all at once in every seed", 0, 0, 0, HY__EACH, 0.0, 1},      \
            {"without the stage of dense layers worse in every seed", 0, 0, 0, HY__EACH, 0.0, 2},  \
            {"without that of experts worse in every seed", 0, 0, 0, HY__EACH, 0.0, 3},            \
            {"without that of memories worse in every seed", 0, 0, 0, HY__EACH, 0.0, 4},           \
            {"without short contexts worse in every seed", 0, 0, 0, HY__EACH, 0.0, 5},             \
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
    .config = HY__LAB_SIX,
    .quick = {.set = {"train.warmup=10"}, /* the first stage has 20 steps */
              .arm = ARMS(""),
              .rate = {4e-3, 8e-3, 1.6e-2},
              .data = {HY__LAB_TEXT},
              .probe = HY__LAB_HELD_OUT},
    .full = {.set = {HY__LAB_SIX_WIDE},
             .arm = ARMS("0"),
             .rate = {4e-3, 8e-3, 1.6e-2},
             .data = {HY__LAB_TEXT},
             .probe = HY__LAB_HELD_OUT},
    .goal = {GOALS, GOALS},
};
