/* lab_hops.c: induction in several hops, the same question as in lab_logic.c, of another task. */
#include "lab/lab_parts.h"

#define HOPS(k) "hops/hops=" #k

static const hy__arm QUICK_ARMS[] = {
    HY__LAB_READS(4), HY__LAB_ONE_READ,           HY__LAB_S_ALONE,
    HY__LAB_S_A,      HY__LAB_TRANSFORMER(4, 72), {0},
};
static const hy__arm FULL_ARMS[] = {
    HY__LAB_READS(4),
    HY__LAB_ONE_READ,
    HY__LAB_KIN(2),
    HY__LAB_KIN(8),
    HY__LAB_S_ALONE,
    HY__LAB_S_A,
    HY__LAB_TRANSFORMER(4, 72),
    {0},
};

static const hy__goal QUICK_GOALS[] = {
    {.text = "four reads: ahead of every other arm at 3 hops",
     .arm = "S W, 4 reads",
     .at = "3 hops",
     .kind = HY__AHEAD},
    {0},
};
static const hy__goal FULL_GOALS[] = {
    {.text = "four reads: ahead of every arm that does not read several times, at 2 to 4 hops",
     .arm = "S W, 4 reads",
     .at = "2 hops",
     .to = "4 hops",
     .kind = HY__AHEAD},
    {0},
};

const hy__lab hy__lab_hops = {
    .name = "hops",
    .question = "Does a workspace help induction in several hops?",
    .about = "Every letter of a random sequence over four letters is asked for what followed it "
             "when it last occurred; in two hops for what followed that one's last occurrence "
             "before, and so on. Here one must look back from the middle of a text, at every "
             "place of it. Models learn one hop first, and one more whenever they answer 95%.",
    .published = "nothing of this task; the blueprint claims multi-step reasoning of the workspace",
    .config = HY__LAB_SMALL
    "train: {batch: 32, seq_len: 128, carry: false, warmup: 100, schedule: wsd,\n"
    "        eval_every: 100, val_tokens: 10000, detail_every: 0, tensorboard: false}\n",
    .quick = {.arm = QUICK_ARMS,
              .rate = {3e-3, 1e-2},
              .data = {"task:" HOPS(1), "task:" HOPS(2), "task:" HOPS(3)},
              .recipe = "stages:\n" HY__LAB_STAGE(HOPS, 1, "4M") HY__LAB_STAGE(HOPS, 2, "4M")
                  HY__LAB_LAST(HOPS, 3, "6M"),
              .probe =
                  (const hy__probe[]){
                      {.name = "1 hop", .data = "task:" HOPS(1)},
                      {.name = "2 hops", .data = "task:" HOPS(2)},
                      {.name = "3 hops", .data = "task:" HOPS(3)},
                      {.name = "4 hops, unseen", .data = "task:" HOPS(4), .aside = true},
                      {0}},
              .goal = QUICK_GOALS},
    .full = {.arm = FULL_ARMS,
             .rate = {1e-3, 3e-3, 1e-2},
             .data = {"task:" HOPS(1), "task:" HOPS(2), "task:" HOPS(3), "task:" HOPS(4)},
             .recipe = "stages:\n" HY__LAB_STAGE(HOPS, 1, "20M") HY__LAB_STAGE(HOPS, 2, "20M")
                 HY__LAB_STAGE(HOPS, 3, "30M") HY__LAB_LAST(HOPS, 4, "30M"),
             .probe =
                 (const hy__probe[]){
                     {.name = "1 hop", .data = "task:" HOPS(1)},
                     {.name = "2 hops", .data = "task:" HOPS(2)},
                     {.name = "3 hops", .data = "task:" HOPS(3)},
                     {.name = "4 hops", .data = "task:" HOPS(4)},
                     {.name = "5 hops, unseen", .data = "task:" HOPS(5), .aside = true},
                     {0}},
             .goal = FULL_GOALS},
};
