/* lab_ablate.c: what each letter gives on real text. */
#include "lab/lab.h"

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
#define PROBES                                                                                     \
    {                                                                                              \
        {"held-out text", "*", HY__LOSS}, {                                                        \
            "held-out text", "*", HY__BITS                                                         \
        }                                                                                          \
    }

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
        "parameters, once as dear in FLOPs of training, made so by its dense layers (without F, "
        "by its experts). All read the same text in windows from random places, as many tokens of "
        "it; the loss is that of files that none of them has read, in nats per byte. The same seed "
        "is the same windows in the same order, so that arms are compared seed by seed.",
    .published = "nothing of this kind; the blueprint asks for it",
    .config = "model: {layers: SE SA SE SW SP SF, d_model: 64, vocab: 256, chunk: 64}\n"
              "ssm: {head_dim: 32, d_state: 32}\n"
              "attention: {n_head: 2, window: 128, topk: 4, memory_blocks: 64}\n"
              "experts: {n_expert: 4, k: 2, d_ff: 64}\n"
              "ffn: {d_ff: 192}\n"
              "workspace: {n_head: 2, d_k: 32, d_v: 32}\n"
              "pkm: {n_head: 1, n_key: 32, topk: 8}\n"
              "train: {batch: 4, seq_len: 512, carry: false, warmup: 30, schedule: wsd,\n"
              "        eval_every: 50, val_tokens: 32768, val_fraction: 0.1, detail_every: 0,\n"
              "        tensorboard: false}\n",
    .quick = {.set = {"train.steps=150"},
              .arm = ARMS,
              .rate = {4e-3, 8e-3, 1.6e-2},
              .data = {HY__LAB_TEXT},
              .probe = PROBES},
    .full = {.set = {"train.steps=1500", "model.d_model=128", "ssm.d_state=64", "experts.d_ff=128",
                     "ffn.d_ff=384", "train.batch=8", "train.warmup=50", "train.eval_every=200",
                     "train.weight_decay=0.5"},
             .arm = ARMS,
             .rate = {4e-3, 8e-3, 1.6e-2},
             .data = {HY__LAB_TEXT},
             .probe = PROBES},
    .goal = {GOALS, GOALS},
};
