/* lab_ablate.c: what each letter gives on real text. */
#include "lab/lab_parts.h"

/* A pattern with one letter less, made as large again by its dense layers, or by its experts; and
 * the same until a step of training has the FLOPs of the first arm's. */
#define LESS(letter, pattern, field)                                                               \
    { .name = "no " letter, .set = {"model.layers=" pattern}, .fit = field, .step = 4 }
#define LESS_FLOPS(letter, pattern, field)                                                         \
    {                                                                                              \
        .name = "no " letter ", equal FLOPs", .set = {"model.layers=" pattern}, .fit = field,      \
        .step = 4, .flops = true                                                                   \
    }
#define EACH(less)                                                                                 \
    less("S", "E A E W P F", "ffn.d_ff"), less("A", "SE S SE SW SP SF", "ffn.d_ff"),               \
        less("E", "S SA S SW SP SF", "ffn.d_ff"), less("W", "SE SA SE S SP SF", "ffn.d_ff"),       \
        less("P", "SE SA SE SW S SF", "ffn.d_ff"), less("F", "SE SA SE SW SP S", "experts.d_ff")
static const hy__arm ARMS[] = {
    {.name = "all six", .set = {"model.layers=SE SA SE SW SP SF"}},
    EACH(LESS),
    EACH(LESS_FLOPS),
    {0},
};

#define BETTER(letter, without, size)                                                              \
    {                                                                                              \
        .text = "with " letter " better than without it in every seed, at equal " size,            \
        .arm = "all six", .at = "held-out text", .metric = HY__LOSS, .kind = HY__EACH,             \
        .beside = without                                                                          \
    }
#define AS_LARGE(letter) BETTER(letter, "no " letter, "parameters")
#define AS_DEAR(letter)  BETTER(letter, "no " letter ", equal FLOPs", "FLOPs")
static const hy__goal GOALS[] = {
    AS_LARGE("S"), AS_LARGE("A"), AS_LARGE("E"), AS_LARGE("W"), AS_LARGE("P"),
    AS_LARGE("F"), AS_DEAR("S"),  AS_DEAR("A"),  AS_DEAR("E"),  AS_DEAR("W"),
    AS_DEAR("P"),  AS_DEAR("F"),  {0},
};

const hy__lab hy__lab_ablate = {
    .name = "ablate",
    .question = "What does each letter give on real text?",
    .about =
        "A model of all six letters, and the same without one of them: once as large in "
        "parameters, once as dear in FLOPs of a step (without the optimizer's), made so by its "
        "dense layers (without F, by its experts). All read the same text in windows from random "
        "places, as many tokens of it; the loss is that of files that none of them has read, in "
        "nats per byte. The same seed is the same windows in the same order, so that arms are "
        "compared seed by seed.",
    .published = "nothing of this kind; the blueprint asks for it",
    .config = HY__LAB_SIX,
    .quick = {.set = {"train.steps=250"},
              .arm = ARMS,
              .rate = {8e-3, 1.6e-2},
              .data = {HY__LAB_TEXT},
              .probe = hy__lab_held_out,
              .goal = GOALS},
    .full = {.set = {HY__LAB_SIX_WIDE, "train.steps=1500", "train.batch=8", "train.warmup=50"},
             .arm = ARMS,
             .rate = {4e-3, 8e-3, 1.6e-2},
             .data = {HY__LAB_TEXT},
             .probe = hy__lab_held_out,
             .goal = GOALS},
};
