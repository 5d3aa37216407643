/* lab_stretch.c: trained at a short length, how does the loss go at long ones? */
#include "lab/lab_parts.h"

#define LONG(n, m, aside)                                                                          \
    { #n, "context:" #n "/" #m, HY__LOSS, aside }

/* Of the parameters of the first: a Transformer of full attention, one that sees as far as it was
 * trained, a Mamba-2. */
#define TRANSFORMER(title, window)                                                                 \
    {                                                                                              \
        .name = title,                                                                             \
        .set = {"model.layers=4x(AF)", "attention.window=" window, "attention.topk=0",             \
                "attention.rope_theta=10000"},                                                     \
        .fit = "ffn.d_ff", .step = 4                                                               \
    }
#define MAMBA(pattern)                                                                             \
    { .name = "Mamba-2", .set = {"model.layers=" pattern}, .fit = "ssm.d_state", .step = 4 }

/* What A's choice of blocks does: none is chosen; or (quick) so many that training has to choose,
 * as in 512 tokens there are hardly more blocks of 64 than it may have. */
#define UNSELECTED                                                                                 \
    {                                                                                              \
        .name = "Hydra, window alone", .set = { "attention.topk=0" }                               \
    }

/* A chooses among all that was read. */
#define REACH "attention.memory_blocks=0"

#define GOALS                                                                                      \
    {                                                                                              \
        {"Hydra: at 2 to 64 times the training's length no worse than at it",                      \
         0,                                                                                        \
         3,                                                                                        \
         8,                                                                                        \
         HY__HOLDS,                                                                                \
         0.0,                                                                                      \
         2},                                                                                       \
            {"Mamba-2: the same", 1, 3, 8, HY__HOLDS, 0.0, 2},                                     \
            {"Hydra: ahead of every other arm at 2 to 64 times the training's length", 0, 3, 8,    \
             HY__AHEAD},                                                                           \
            {"Hydra: at 64 times better by .01 than at the training's length",                     \
             0,                                                                                    \
             8,                                                                                    \
             8,                                                                                    \
             HY__HOLDS,                                                                            \
             -0.01,                                                                                \
             2},                                                                                   \
    }

const hy__lab hy__lab_stretch = {
    .name = "stretch",
    .question = "Trained at a short length, how does the loss go at long ones?",
    .about =
        "Models read windows of the training's length, each from a fresh state, and are then asked "
        "about one text that none of them has read: documents that are held out, one behind the "
        "other. The loss at N is that of all tokens of this text, each when between N/2 and N "
        "tokens of it were read before, in pieces, with the state carried; so every N is asked of "
        "the same tokens. N up to the training's length is within what was learned.",
    .published = "nothing of this kind; the blueprint claims contexts far beyond the training's",
    .config = HY__LAB_SIX,
    .quick = {.set = {REACH, "train.steps=300"},
              .arm = {{.name = "Hydra", .set = {"model.layers=SE SA SE SW SP SF"}},
                      MAMBA("15x(S)"),
                      TRANSFORMER("Transformer", "1048576"),
                      TRANSFORMER("Transformer, window 512", "512"),
                      UNSELECTED,
                      {.name = "Hydra, blocks of 16",
                       .set = {"model.chunk=16", "experts.expert_chunk=16"}}},
              .rate = {4e-3, 8e-3, 1.6e-2},
              .data = {HY__LAB_TEXT},
              .probe = {LONG(128, 32768, false), LONG(256, 32768, false), LONG(512, 32768, false),
                        LONG(1024, 32768, true), LONG(2048, 32768, true), LONG(4096, 32768, true),
                        LONG(8192, 32768, true), LONG(16384, 32768, true),
                        LONG(32768, 32768, true)}},
    .full = {.set = {HY__LAB_SIX_WIDE, REACH, "train.steps=2000", "train.seq_len=2048"},
             .arm = {{.name = "Hydra", .set = {"model.layers=SE SA SE SW SP SF"}},
                     MAMBA("14x(S)"),
                     TRANSFORMER("Transformer", "1048576"),
                     TRANSFORMER("Transformer, window 2048", "2048"),
                     UNSELECTED},
             .rate = {4e-3, 8e-3, 1.6e-2},
             .data = {HY__LAB_TEXT},
             .probe = {LONG(512, 131072, false), LONG(1024, 131072, false),
                       LONG(2048, 131072, false), LONG(4096, 131072, true),
                       LONG(8192, 131072, true), LONG(16384, 131072, true),
                       LONG(32768, 131072, true), LONG(65536, 131072, true),
                       LONG(131072, 131072, true)}},
    .goal = {GOALS, GOALS},
};
