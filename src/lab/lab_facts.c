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
static const hy__arm ARMS[] = {
    {.name = "P"},
    WITHOUT("without P", false),
    WITHOUT("without P, equal FLOPs", true),
    {0},
};

/* The first 1,000 facts, the first 10,000 and all of them. */
#define MANY                                                                                       \
    "stages:\n  - {name: all, tokens: 80M, mixture: {" CORPUS("1000") ": 1, " CORPUS(              \
        "10000") ": 5, " CORPUS("100000") ": 14}}\n"

static const hy__probe FEW_PROBES[] = {
    {.name = "both", .data = BOTH("10000")},
    {.name = "closed book", .data = CLOSED("10000"), .aside = true},
    {.name = "closed book", .data = CLOSED("10000"), .metric = HY__BETA, .aside = true},
    {.name = "closed book", .data = CLOSED("10000"), .metric = HY__SLOTS, .aside = true},
    {.name = "closed book", .data = CLOSED("10000"), .metric = HY__EVENNESS, .aside = true},
    {.name = "open book", .data = OPEN("10000"), .aside = true},
    {.name = "open book", .data = OPEN("10000"), .metric = HY__BETA, .aside = true},
    {0},
};
static const hy__probe ALL_PROBES[] = {
    {.name = "both, 1,000 facts", .data = BOTH("1000")},
    {.name = "both, 10,000", .data = BOTH("10000")},
    {.name = "both, 100,000", .data = BOTH("100000")},
    {.name = "closed book, 1,000", .data = CLOSED("1000"), .aside = true},
    {.name = "closed book, 10,000", .data = CLOSED("10000"), .aside = true},
    {.name = "closed book, 10,000", .data = CLOSED("10000"), .metric = HY__BETA, .aside = true},
    {.name = "closed book, 100,000", .data = CLOSED("100000"), .aside = true},
    {.name = "closed book, 100,000", .data = CLOSED("100000"), .metric = HY__SLOTS, .aside = true},
    {.name = "closed book, 100,000",
     .data = CLOSED("100000"),
     .metric = HY__EVENNESS,
     .aside = true},
    {.name = "open book, 10,000", .data = OPEN("10000"), .aside = true},
    {.name = "open book, 10,000", .data = OPEN("10000"), .metric = HY__BETA, .aside = true},
    {0},
};

#define REPORTED(closed, open)                                                                     \
    {.arm = "P", .at = closed, .value = 0.81},                                                     \
        {.arm = "P", .at = closed, .metric = HY__BETA, .value = 0.80},                             \
        {.arm = "P", .at = open, .value = 0.84},                                                   \
        {.arm = "P", .at = open, .metric = HY__BETA, .value = 0.10}, {                             \
        0                                                                                          \
    }
static const hy__reported FEW_REPORTED[] = {REPORTED("closed book", "open book")},
                          ALL_REPORTED[] = {REPORTED("closed book, 10,000", "open book, 10,000")};

#define P_HOLDS(where)                                                                             \
    {                                                                                              \
        .text = "P: closed book at least .99", .arm = "P", .at = where, .kind = HY__AT_LEAST,      \
        .wanted = 0.99                                                                             \
    }
#define WITHOUT_IT(arm_, where)                                                                    \
    {                                                                                              \
        .text = arm_ ": closed book below .7", .arm = arm_, .at = where, .kind = HY__AT_MOST,      \
        .wanted = 0.7                                                                              \
    }
#define OPENS(closed, open)                                                                        \
    {.text = "β at least .5 when the fact is needed",                                              \
     .arm = "P",                                                                                   \
     .at = closed,                                                                                 \
     .metric = HY__BETA,                                                                           \
     .kind = HY__AT_LEAST,                                                                         \
     .wanted = 0.5},                                                                               \
    {                                                                                              \
        .text = "β at most .1 when the text holds it", .arm = "P", .at = open, .metric = HY__BETA, \
        .kind = HY__AT_MOST, .wanted = 0.1                                                         \
    }
#define USES(where)                                                                                \
    {                                                                                              \
        .text = "at least 80% of the slots used", .arm = "P", .at = where, .metric = HY__SLOTS,    \
        .kind = HY__AT_LEAST, .wanted = 0.8                                                        \
    }
static const hy__goal FEW_GOALS[] = {
    P_HOLDS("closed book"),
    WITHOUT_IT("without P", "closed book"),
    OPENS("closed book", "open book"),
    USES("closed book"),
    {0},
};
static const hy__goal ALL_GOALS[] = {
    P_HOLDS("closed book, 10,000"),
    WITHOUT_IT("without P", "closed book, 10,000"),
    WITHOUT_IT("without P, equal FLOPs", "closed book, 100,000"),
    OPENS("closed book, 10,000", "open book, 10,000"),
    USES("closed book, 100,000"),
    {0},
};

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
    .quick = {.set = {"train.steps=700"},
              .arm = ARMS,
              .rate = {8e-3, 4e-3},
              .data = {BOTH("10000")},
              .probe = FEW_PROBES,
              .goal = FEW_GOALS,
              .reported = FEW_REPORTED},
    .full = {.set = {"pkm.n_key=128"},
             .arm = ARMS,
             .rate = {2e-3, 4e-3, 8e-3},
             .data = {BOTH("1000"), BOTH("10000"), BOTH("100000")},
             .recipe = MANY,
             .probe = ALL_PROBES,
             .goal = ALL_GOALS,
             .reported = ALL_REPORTED},
};
