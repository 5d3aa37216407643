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
#define ARMS                                                                                       \
    { {.name = "all six", .set = {"model.layers=SE SA SE SW SP SF"}}, EACH(LESS), EACH(LESS_FLOPS) }
#define WITHOUT(n, letter)                                                                         \
    {                                                                                              \
        "with " letter " better than without it in every seed, at equal parameters", 0, 0, 0,      \
            HY__EACH, 0.0, n                                                                       \
    }
#define WITHOUT_FLOPS(n, letter)                                                                   \
    { "the same of " letter " at equal FLOPs", 0, 0, 0, HY__EACH, 0.0, n }
#define GOALS                                                                                      \
    {                                                                                              \
        WITHOUT(1, "S"), WITHOUT(2, "A"), WITHOUT(3, "E"), WITHOUT(4, "W"), WITHOUT(5, "P"),       \
            WITHOUT(6, "F"), WITHOUT_FLOPS(7, "S"), WITHOUT_FLOPS(8, "A"), WITHOUT_FLOPS(9, "E"),  \
            WITHOUT_FLOPS(10, "W"), WITHOUT_FLOPS(11, "P"), WITHOUT_FLOPS(12, "F")                 \
    }

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
              .probe = HY__LAB_HELD_OUT},
    .full = {.set = {HY__LAB_SIX_WIDE, "train.steps=1500", "train.batch=8", "train.warmup=50"},
             .arm = ARMS,
             .rate = {4e-3, 8e-3, 1.6e-2},
             .data = {HY__LAB_TEXT},
             .probe = HY__LAB_HELD_OUT},
    .goal = {GOALS, GOALS},
};
