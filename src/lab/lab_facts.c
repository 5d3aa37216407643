/* lab_facts.c: does a product-key memory hold facts, and open only when one is needed? */
#include "lab/lab.h"

/* Questions of a document about names that it noted, about others, and about both. */
#define OPEN(facts)   "task:facts/facts=" facts "/book=1"
#define CLOSED(facts) "task:facts/facts=" facts "/book=0/questions=28"
#define BOTH(facts)   "task:facts/facts=" facts "/book=2/questions=28"
#define CORPUS(facts) "facts/facts=" facts "/book=2/questions=28"

/* As many parameters as with P, or as many FLOPs. */
#define WITHOUT(name_, flops_)                                                                     \
    { .name = name_, .set = {"model.layers=S A F"}, .fit = "ffn.d_ff", .step = 8, .flops = flops_ }
#define ARMS                                                                                       \
    { {.name = "P"}, WITHOUT("without P", false), WITHOUT("without P, equal FLOPs", true) }

/* The first 1,000 facts, the first 10,000 and all of them. */
#define MANY                                                                                       \
    "stages:\n  - {name: all, tokens: 80M, mixture: {" CORPUS("1000") ": 1, " CORPUS(              \
        "10000") ": 5, " CORPUS("100000") ": 14}}\n"

const hy__lab hy__lab_facts = {
    .name = "facts",
    .question = "Does P hold facts, and open only when one is needed?",
    .about = "Every name has a letter that never changes, and nothing but training tells it. A "
             "document notes other letters for some names, and asks for these (open book) and for "
             "names that it did not note (closed book). β says how far P is open where something "
             "is asked: it is learned from the answers alone. A model without P has as many "
             "parameters, in its dense layer, and needs several times the FLOPs for them; another "
             "has as many FLOPs. In the long form the first 1,000 facts, the first "
             "10,000 and all 100,000 are asked for, so that some are met more often.",
    .published = "open book .84 with β .10, closed book .81 with β .80 (blueprint; its prototype "
                 "draws these accuracies at random, and sets β by the length of the prompt)",
    .config = "model: {layers: S A F P, d_model: 64, vocab: 256, chunk: 16}\n"
              "ssm: {head_dim: 32, d_state: 16, d_conv: 8}\n"
              "attention: {n_head: 2, window: 512, topk: 0}\n"
              "ffn: {d_ff: 128}\n"
              "pkm: {n_head: 4, n_key: 64, d_key: 32, topk: 4}\n"
              "train: {batch: 40, seq_len: 304, carry: false, warmup: 30, schedule: wsd,\n"
              "        pkm_lr: 20, eval_every: 0, detail_every: 0, tensorboard: false}\n",
    .quick =
        {.set = {"train.steps=700"},
         .arm = ARMS,
         .rate = {8e-3, 4e-3},
         .data = {BOTH("10000")},
         .probe = {{"both", BOTH("10000")},
                   {"closed book", CLOSED("10000"), .aside = true, .published = 0.81},
                   {"β, closed book", CLOSED("10000"), HY__BETA, .aside = true, .published = 0.80},
                   {"slots, closed book", CLOSED("10000"), HY__SLOTS, .aside = true},
                   {"open book", OPEN("10000"), .aside = true, .published = 0.84},
                   {"β, open book", OPEN("10000"), HY__BETA, .aside = true, .published = 0.10}}},
    .full = {.set = {"pkm.n_key=128"},
             .arm = ARMS,
             .rate = {2e-3, 4e-3, 8e-3},
             .data = {BOTH("1000"), BOTH("10000"), BOTH("100000")},
             .recipe = MANY,
             .probe = {{"both, 1,000 facts", BOTH("1000")},
                       {"both, 10,000", BOTH("10000")},
                       {"both, 100,000", BOTH("100000")},
                       {"closed book, 1,000", CLOSED("1000"), .aside = true},
                       {"closed book, 10,000", CLOSED("10000"), .aside = true, .published = 0.81},
                       {"β, closed book, 10,000", CLOSED("10000"), HY__BETA, .aside = true,
                        .published = 0.80},
                       {"closed book, 100,000", CLOSED("100000"), .aside = true},
                       {"slots, closed book", CLOSED("100000"), HY__SLOTS, .aside = true},
                       {"open book, 10,000", OPEN("10000"), .aside = true, .published = 0.84},
                       {"β, open book, 10,000", OPEN("10000"), HY__BETA, .aside = true,
                        .published = 0.10}}},
    .goal = {{{"P: closed book at least .99", 0, 1, 1, HY__AT_LEAST, 0.99},
              {"without P: closed book below .7", 1, 1, 1, HY__AT_MOST, 0.7},
              {"β at least .5 when the fact is needed", 0, 2, 2, HY__AT_LEAST, 0.5},
              {"β at most .1 when the text holds it", 0, 5, 5, HY__AT_MOST, 0.1},
              {"at least 80% of the slots used", 0, 3, 3, HY__AT_LEAST, 0.8}},
             {{"P: closed book at least .99 at 10,000 facts", 0, 4, 4, HY__AT_LEAST, 0.99},
              {"without P: closed book below .7 there", 1, 4, 4, HY__AT_MOST, 0.7},
              {"without P, equal FLOPs: closed book below .7 at 100,000", 2, 6, 6, HY__AT_MOST,
               0.7},
              {"β at least .5 when the fact is needed", 0, 5, 5, HY__AT_LEAST, 0.5},
              {"β at most .1 when the text holds it", 0, 9, 9, HY__AT_MOST, 0.1},
              {"at least 80% of the slots used", 0, 7, 7, HY__AT_LEAST, 0.8}}},
};
