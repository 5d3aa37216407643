/* lab_logic.c: does the workspace help deduction in several steps? */
#include "lab/lab_parts.h"

/* Few facts, so that documents are short and many. In the full form up to 16 distract, once two
 * steps are learned of few: with as many from the beginning, few seeds find them. */
#define FEW(k)  "logic/hops=" #k "/most=10"
#define MANY(k) "logic/hops=" #k

static const hy__arm QUICK_ARMS[] = {
    HY__LAB_READS(4), HY__LAB_ONE_READ, HY__LAB_S_A, HY__LAB_TRANSFORMER(4, 72), {0},
};
static const hy__arm FULL_ARMS[] = {
    HY__LAB_READS(8),
    HY__LAB_ONE_READ,
    HY__LAB_KIN(2),
    HY__LAB_KIN(4),
    HY__LAB_S_ALONE,
    HY__LAB_S_A,
    HY__LAB_TRANSFORMER(5, 60),
    {0},
};

static const hy__probe QUICK_PROBES[] = {
    {.name = "1 step", .data = "task:" FEW(1)},
    {.name = "2 steps", .data = "task:" FEW(2)},
    {.name = "3 steps", .data = "task:" FEW(3)},
    {.name = "4 steps, unseen", .data = "task:" FEW(4), .aside = true},
    {0},
};
static const hy__probe FULL_PROBES[] = {
    {.name = "1 step", .data = "task:" MANY(1)},
    {.name = "2 steps", .data = "task:" MANY(2)},
    {.name = "3 steps", .data = "task:" MANY(3)},
    {.name = "4 steps", .data = "task:" MANY(4)},
    {.name = "5 steps", .data = "task:" MANY(5)},
    {.name = "6 steps, unseen", .data = "task:" MANY(6), .aside = true},
    {.name = "7 steps, unseen", .data = "task:" MANY(7), .aside = true},
    {.name = "8 steps, unseen", .data = "task:" MANY(8), .aside = true},
    {0},
};

static const hy__reported QUICK_REPORTED[] = {
    {.arm = "S W, 4 reads", .at = "2 steps", .value = 0.76},
    {.arm = "S W, 4 reads", .at = "3 steps", .value = 0.47},
    {.arm = "Transformer", .at = "2 steps", .value = 0.07},
    {.arm = "Transformer", .at = "3 steps", .value = 0.05},
    {0},
};
static const hy__reported FULL_REPORTED[] = {
    {.arm = "S W, 8 reads", .at = "2 steps", .value = 0.76},
    {.arm = "S W, 8 reads", .at = "3 steps", .value = 0.47},
    {.arm = "S W, 8 reads", .at = "4 steps", .value = 0.30},
    {.arm = "S W, 8 reads", .at = "5 steps", .value = 0.19},
    {.arm = "S alone", .at = "2 steps", .value = 0.03},
    {.arm = "S alone", .at = "3 steps", .value = 0.05},
    {.arm = "S alone", .at = "4 steps", .value = 0.04},
    {.arm = "S alone", .at = "5 steps", .value = 0.02},
    {.arm = "Transformer", .at = "2 steps", .value = 0.07},
    {.arm = "Transformer", .at = "3 steps", .value = 0.05},
    {.arm = "Transformer", .at = "4 steps", .value = 0.02},
    {.arm = "Transformer", .at = "5 steps", .value = 0.02},
    {0},
};

static const hy__goal QUICK_GOALS[] = {
    {.text = "four reads: at least .95 at 2 and 3 steps",
     .arm = "S W, 4 reads",
     .at = "2 steps",
     .to = "3 steps",
     .kind = HY__AT_LEAST,
     .wanted = 0.95},
    {.text = "four reads: ahead of every other arm at 2 and 3 steps",
     .arm = "S W, 4 reads",
     .at = "2 steps",
     .to = "3 steps",
     .kind = HY__AHEAD},
    {0},
};
static const hy__goal FULL_GOALS[] = {
    {.text = "eight reads: at least .95 at 2 to 5 steps",
     .arm = "S W, 8 reads",
     .at = "2 steps",
     .to = "5 steps",
     .kind = HY__AT_LEAST,
     .wanted = 0.95},
    {.text = "eight reads: ahead of every arm that does not read several times, at 6 to 8 steps",
     .arm = "S W, 8 reads",
     .at = "6 steps, unseen",
     .to = "8 steps, unseen",
     .kind = HY__AHEAD},
    {0},
};

const hy__lab hy__lab_logic = {
    .name = "logic",
    .question = "Does a workspace that is read several times help deduction in several steps?",
    .about =
        "A document states facts in random order, each that one symbol follows another; together "
        "they form one ring, so that nothing but following them tells where so many steps lead. "
        "Models learn one step first, and one more whenever they answer 95% of the questions, with "
        "the earlier ones in between. All have the parameters of the first. AdamW trains all "
        "matrices: in trials Muon learned two steps sooner, but as a thing of its own, and the "
        "third step anew and late; what AdamW finds for two steps answers most of three at once.",
    .published =
        "with a workspace .76 / .47 / .30 / .19 at 2 to 5 steps, without .03 / .05 / .04 / "
        ".02, a Transformer .07 / .05 / .02 / .02 (blueprint, prototype)",
    .config = HY__LAB_SMALL
    "train: {batch: 32, seq_len: 64, carry: false, warmup: 100, schedule: wsd,\n"
    "        optimizer: adamw, eval_every: 100, val_tokens: 1500, detail_every: 0, "
    "tensorboard: false}\n",
    .quick = {.arm = QUICK_ARMS,
              .rate = {1.5e-3, 3e-3},
              .data = {"task:" FEW(1), "task:" FEW(2), "task:" FEW(3)},
              .recipe = "stages:\n" HY__LAB_STAGE(FEW, 1, "2M") HY__LAB_STAGE(FEW, 2, "5M")
                  HY__LAB_LAST(FEW, 3, "3500K"),
              .probe = QUICK_PROBES,
              .goal = QUICK_GOALS,
              .reported = QUICK_REPORTED},
    .full = {.set = {"train.seq_len=128", "train.val_tokens=2100"},
             .arm = FULL_ARMS,
             .rate = {7.5e-4, 1.5e-3, 3e-3},
             .data = {"task:" FEW(1), "task:" FEW(2), "task:" MANY(1), "task:" MANY(2),
                      "task:" MANY(3), "task:" MANY(4), "task:" MANY(5)},
             .recipe = "stages:\n" HY__LAB_STAGE(FEW, 1, "4M") HY__LAB_STAGE(FEW, 2, "8M")
                 HY__LAB_STAGE(MANY, 3, "8M") HY__LAB_STAGE(MANY, 4, "8M")
                     HY__LAB_LAST(MANY, 5, "36M"),
             .probe = FULL_PROBES,
             .goal = FULL_GOALS,
             .reported = FULL_REPORTED},
};
