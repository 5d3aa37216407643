/* lab_stretch.c: trained at a short length, how does the loss go at long ones? */
#include "lab/lab_parts.h"

#define LONG(n, m, aside_)                                                                         \
    {                                                                                              \
        .name = #n, .data = "context:" #n "/" #m, .metric = HY__LOSS, .aside = aside_,             \
        .reading = HY__READ_RING, .ring.context = n, .ring.size = m                                \
    }

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
    { .name = "Hydra, window alone", .set = {"attention.topk=0"}, .kin = true }

/* A chooses among all that was read. */
#define REACH "attention.memory_blocks=0"

#define HYDRA                                                                                      \
    {                                                                                              \
        .name = "Hydra", .set = { "model.layers=SE SA SE SW SP SF" }                               \
    }
static const hy__arm QUICK_ARMS[] = {
    HYDRA,
    MAMBA("15x(S)"),
    TRANSFORMER("Transformer", "1048576"),
    TRANSFORMER("Transformer, window 512", "512"),
    UNSELECTED,
    {.name = "Hydra, blocks of 16",
     .set = {"model.chunk=16", "experts.expert_chunk=16"},
     .kin = true},
    {0},
};
static const hy__arm FULL_ARMS[] = {
    HYDRA,
    MAMBA("14x(S)"),
    TRANSFORMER("Transformer", "1048576"),
    TRANSFORMER("Transformer, window 2048", "2048"),
    UNSELECTED,
    {0},
};

static const hy__probe QUICK_PROBES[] = {
    LONG(128, 32768, false),  LONG(256, 32768, false),
    LONG(512, 32768, false),  LONG(1024, 32768, true),
    LONG(2048, 32768, true),  LONG(4096, 32768, true),
    LONG(8192, 32768, true),  LONG(16384, 32768, true),
    LONG(32768, 32768, true), {0},
};
static const hy__probe FULL_PROBES[] = {
    LONG(512, 131072, false),   LONG(1024, 131072, false),
    LONG(2048, 131072, false),  LONG(4096, 131072, true),
    LONG(8192, 131072, true),   LONG(16384, 131072, true),
    LONG(32768, 131072, true),  LONG(65536, 131072, true),
    LONG(131072, 131072, true), {0},
};

/* Trained at n; from 2n on it is asked what it was not trained for, up to 64n. */
#define NO_WORSE(name_, n, from, end)                                                              \
    {                                                                                              \
        .text = name_ ": at 2 to 64 times the training's length no worse than at it",              \
        .arm = name_, .at = from, .to = end, .metric = HY__LOSS, .kind = HY__HOLDS, .beside = n    \
    }
#define GOALS(n, from, end)                                                                        \
    NO_WORSE("Hydra", n, from, end), NO_WORSE("Mamba-2", n, from, end),                            \
        {.text = "Hydra: ahead of Mamba-2 and both Transformers at 2 to 64 times the training's "  \
                 "length",                                                                         \
         .arm = "Hydra",                                                                           \
         .at = from,                                                                               \
         .to = end,                                                                                \
         .metric = HY__LOSS,                                                                       \
         .kind = HY__AHEAD},                                                                       \
    {                                                                                              \
        .text = "Hydra: at 64 times better by .01 than at the training's length", .arm = "Hydra",  \
        .at = end, .metric = HY__LOSS, .kind = HY__HOLDS, .wanted = -0.01, .beside = n             \
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
              .arm = QUICK_ARMS,
              .rate = {4e-3, 8e-3, 1.6e-2},
              .data = {HY__LAB_TEXT},
              .probe = QUICK_PROBES,
              .goal = (const hy__goal[]){GOALS("512", "1024", "32768"), {0}}},
    .full = {.set = {HY__LAB_SIX_WIDE, REACH, "train.steps=1200", "train.seq_len=2048"},
             .arm = FULL_ARMS,
             .rate = {4e-3, 8e-3, 1.6e-2},
             .data = {HY__LAB_TEXT},
             .probe = FULL_PROBES,
             .goal = (const hy__goal[]){GOALS("2048", "4096", "131072"), {0}}},
};
