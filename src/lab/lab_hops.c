/* lab_hops.c: induction in several hops, the same question as in lab_logic.c, of another task. */
#include "lab/lab_parts.h"

#define HOPS(k) "hops/hops=" #k

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
    .quick = {.arm = {HY__LAB_READS(4), HY__LAB_READS(1), HY__LAB_S_ALONE, HY__LAB_S_A,
                      HY__LAB_TRANSFORMER(4, 72)},
              .rate = {3e-3, 1e-2},
              .data = {"task:" HOPS(1), "task:" HOPS(2), "task:" HOPS(3)},
              .recipe = "stages:\n" HY__LAB_STAGE(HOPS, 1, "4M") HY__LAB_STAGE(HOPS, 2, "4M")
                  HY__LAB_LAST(HOPS, 3, "6M"),
              .probe = {{"1 hop", "task:" HOPS(1)},
                        {"2 hops", "task:" HOPS(2)},
                        {"3 hops", "task:" HOPS(3)},
                        {"4 hops, unseen", "task:" HOPS(4), .aside = true}}},
    .full = {.arm = {HY__LAB_READS(4), HY__LAB_READS(1), HY__LAB_KIN(2), HY__LAB_KIN(8),
                     HY__LAB_S_ALONE, HY__LAB_S_A, HY__LAB_TRANSFORMER(4, 72)},
             .rate = {1e-3, 3e-3, 1e-2},
             .data = {"task:" HOPS(1), "task:" HOPS(2), "task:" HOPS(3), "task:" HOPS(4)},
             .recipe = "stages:\n" HY__LAB_STAGE(HOPS, 1, "20M") HY__LAB_STAGE(HOPS, 2, "20M")
                 HY__LAB_STAGE(HOPS, 3, "30M") HY__LAB_LAST(HOPS, 4, "30M"),
             .probe = {{"1 hop", "task:" HOPS(1)},
                       {"2 hops", "task:" HOPS(2)},
                       {"3 hops", "task:" HOPS(3)},
                       {"4 hops", "task:" HOPS(4)},
                       {"5 hops, unseen", "task:" HOPS(5), .aside = true}}},
    .goal = {{{"four reads: ahead of every other arm at 3 hops", 0, 2, 2, HY__AHEAD}},
             {{"four reads: ahead of every arm that does not read several times, at 2 to 4 hops", 0,
               1, 3, HY__AHEAD}}},
};
