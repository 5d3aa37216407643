/* lab_leak.c: what a router that sees the future would have won. */
#include "lab/lab.h"

static const hy__arm ARMS[] = {
    {.name = "previous unit"},
    {.name = "own unit, which leaks", .set = {"experts.route=own"}},
    {0},
};

static const hy__probe PROBES[] = {
    {.name = "read whole", .data = "*", .metric = HY__LOSS},
    {.name = "nothing behind",
     .data = "*",
     .metric = HY__LOSS,
     .aside = true,
     .reading = HY__READ_CUT},
    {.name = "difference",
     .data = "*",
     .metric = HY__FUTURE,
     .aside = true,
     .reading = HY__READ_CUT},
    {0},
};

static const hy__goal GOALS[] = {
    {.text = "previous unit: the future tells nothing",
     .arm = "previous unit",
     .at = "difference",
     .metric = HY__FUTURE,
     .kind = HY__ABOUT_0,
     .wanted = 1e-4},
    {.text = "own unit, the control: it tells something",
     .arm = "own unit, which leaks",
     .at = "difference",
     .metric = HY__FUTURE,
     .kind = HY__AT_LEAST,
     .wanted = 0.005},
    {.text = "own unit looks better in every seed when texts are read whole",
     .arm = "own unit, which leaks",
     .at = "read whole",
     .metric = HY__LOSS,
     .kind = HY__EACH,
     .beside = "previous unit"},
    {.text = "and is worse in every seed when they are written",
     .arm = "previous unit",
     .at = "nothing behind",
     .metric = HY__LOSS,
     .kind = HY__EACH,
     .beside = "own unit, which leaks"},
    {0},
};

const hy__lab hy__lab_leak = {
    .name = "leak",
    .question = "What would a router that sees the future have won?",
    .about =
        "Experts are chosen for units of 32 tokens: by the mean of the unit before, or, as in the "
        "published prototype, by the mean of the unit itself, which every token of it then sees "
        "through the choice and its weights. All else is equal. Held-out text is read in two ways: "
        "with the whole unit there, as in training, and every token with nothing behind it, as "
        "when it is being written. What stands behind a token can tell a causal model nothing: "
        "both losses of a token are the same. The difference, of the same tokens, is what the leak "
        "gives, and it is not there when the model is used. (\"Read whole\" is of sixteen times "
        "the text of the others.)",
    .published = "the prototype's results, in nats or accuracy, with the leak in them",
    .config = "model: {layers: SE SE, d_model: 96, vocab: 256, chunk: 64}\n"
              "ssm: {head_dim: 32, d_state: 32}\n"
              "experts: {n_expert: 8, k: 2, d_ff: 128, expert_chunk: 32, balance_rate: 0.03}\n"
              "train: {batch: 8, seq_len: 256, carry: false, warmup: 50, schedule: wsd,\n"
              "        eval_every: 100, val_tokens: 32768, val_fraction: 0.1, detail_every: 0,\n"
              "        tensorboard: false}\n",
    .quick = {.set = {"train.steps=600"},
              .arm = ARMS,
              .rate = {4e-3, 8e-3},
              .data = {HY__LAB_TEXT},
              .probe = PROBES,
              .goal = GOALS},
    .full = {.set = {"train.steps=6000", "model.d_model=128", "ssm.d_state=64"},
             .arm = ARMS,
             .rate = {2e-3, 4e-3, 8e-3},
             .data = {HY__LAB_TEXT},
             .probe = PROBES,
             .goal = GOALS},
};
