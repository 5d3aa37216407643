/* lab_experts.c: do experts specialise, can they be steered, and what does routing by units cost?
 */
#include "lab/lab.h"

/* About as long as a window, so that the corpora have about equal shares of tokens. */
#define SUMS_OF   "task:sums/questions=51"
#define CHAINS_OF "task:hops/hops=2/length=511"

#define ROUTE(how, ...)                                                                            \
    {                                                                                              \
        .name = how, .set = { __VA_ARGS__ }                                                        \
    }

/* Of equal active cost: a step has the FLOPs of the first arm's. Of equal total cost: every weight
 * of the first arm's experts is used by every token. */
#define DENSE_ACTIVE                                                                               \
    {                                                                                              \
        .name = "dense, equal FLOPs", .set = {"model.layers=SF SF"}, .fit = "ffn.d_ff", .step = 8, \
        .flops = true                                                                              \
    }
#define DENSE_TOTAL                                                                                \
    {                                                                                              \
        .name = "dense, equal parameters", .set = {"model.layers=SF SF"}, .fit = "ffn.d_ff",       \
        .step = 8                                                                                  \
    }
#define SHORTLIST_OF(n, m)                                                                         \
    ROUTE("shortlist of " n, "experts.route=shortlist", "experts.shortlist=" m)
#define FIRST_FOUR                                                                                 \
    ROUTE("previous unit", "experts.route=previous"), SHORTLIST_OF("six", "6"),                    \
        ROUTE("token", "experts.route=token"), DENSE_ACTIVE
/* With k = 1 the weight of the chosen is 1 whatever the router says: it would learn nothing. */
#define SHARED(how, ...)                                                                           \
    ROUTE(how, "experts.shared=1", "experts.n_expert=11", "experts.k=2", "experts.d_ff=86",        \
          __VA_ARGS__)

/* Experts are found while the balance is forced by large steps, and settle under small ones.
 * Routers that learn slowly leave the balance time to follow them. */
#define SLOW ", rates: {router: 0.1}"
#define RECIPE(spread, settle, rates)                                                              \
    "stages:\n"                                                                                    \
    "  - {name: spread, tokens: " spread ", experts: {balance_rate: 0.03}" rates "}\n"             \
    "  - {name: settle, tokens: " settle ", experts: {balance_rate: 0.003}" rates "}\n"
#define FULL_RECIPE(rates) RECIPE("8192000", "4096000", rates) /* 6,000 steps */

static const hy__arm QUICK_ARMS[] = {FIRST_FOUR, {0}};
static const hy__arm FULL_ARMS[] = {
    FIRST_FOUR,
    SHORTLIST_OF("four", "4"),
    /* What helps the first arm need not help the one that it is held against. */
    {.name = "token, routers of full rate",
     .set = {"experts.route=token"},
     .recipe = FULL_RECIPE("")},
    ROUTE("units of 16", "experts.expert_chunk=16"),
    ROUTE("units of 64", "experts.expert_chunk=64"),
    SHARED("one shared", "experts.route=previous"),
    SHARED("one shared, shortlist", "experts.route=shortlist"),
    DENSE_TOTAL,
    {0},
};

/* Every token uses so many, whatever was trained. */
#define FORCED(n, m)                                                                               \
    { .name = "k = " #n, .data = "*", .metric = m, .aside = true, .k = n }
#define BANNED(m)                                                                                  \
    { .name = "banned", .data = "*", .metric = m, .reading = HY__READ_BANNED }
static const hy__probe PROBES[] = {
    {.name = "all", .data = "*", .metric = HY__LOSS},
    {.name = "text", .data = "docs", .metric = HY__BITS},
    {.name = "code", .data = "src", .metric = HY__BITS},
    {.name = "sums", .data = SUMS_OF, .metric = HY__ACCURACY},
    {.name = "chains", .data = CHAINS_OF, .metric = HY__ACCURACY},
    {.name = "mixed documents",
     .data = "*",
     .metric = HY__LOSS,
     .aside = true,
     .reading = HY__READ_MIXED},
    FORCED(1, HY__LOSS),
    FORCED(2, HY__LOSS),
    FORCED(3, HY__LOSS),
    FORCED(4, HY__LOSS),
    {.name = "all", .data = "*", .metric = HY__VIOLATION},
    {.name = "all", .data = "*", .metric = HY__DEAD},
    {.name = "all", .data = "*", .metric = HY__INFORMATION},
    BANNED(HY__HARM),
    BANNED(HY__HARM_SHARE),
    {.name = "all", .data = "*", .metric = HY__EXPERT_READ},
    FORCED(1, HY__INFORMATION),
    FORCED(1, HY__FLOPS),
    FORCED(2, HY__FLOPS),
    FORCED(3, HY__FLOPS),
    FORCED(4, HY__FLOPS),
    {0},
};

#define OF_ROUTE(name)                                                                             \
    {.text = name ": a lower loss than the dense model of equal FLOPs, in every seed",             \
     .arm = name,                                                                                  \
     .at = "all",                                                                                  \
     .metric = HY__LOSS,                                                                           \
     .kind = HY__EACH,                                                                             \
     .beside = "dense, equal FLOPs"},                                                              \
        {.text = name ": a loss within .005 of token routing",                                     \
         .arm = name,                                                                              \
         .at = "all",                                                                              \
         .metric = HY__LOSS,                                                                       \
         .kind = HY__WITHIN,                                                                       \
         .wanted = 0.005,                                                                          \
         .beside = "token"},                                                                       \
    {                                                                                              \
        .text = name ": half of the expert bytes of token routing for a token written",            \
        .arm = name, .at = "all", .metric = HY__EXPERT_READ, .kind = HY__TIMES, .wanted = 0.5,     \
        .beside = "token"                                                                          \
    }
static const hy__goal GOALS[] = {
    {.text = "previous unit: maximal violation at most .05 over all that is held out",
     .arm = "previous unit",
     .at = "all",
     .metric = HY__VIOLATION,
     .kind = HY__AT_MOST,
     .wanted = 0.05},
    {.text = "previous unit: no dead expert",
     .arm = "previous unit",
     .at = "all",
     .metric = HY__DEAD,
     .kind = HY__AT_MOST,
     .wanted = 0.0},
    {.text = "previous unit: normalised mutual information of expert and corpus at least .6",
     .arm = "previous unit",
     .at = "all",
     .metric = HY__INFORMATION,
     .kind = HY__AT_LEAST,
     .wanted = 0.6},
    {.text = "previous unit: banning the experts of any corpus hurts it 5 times as much as "
             "another one, so 5/6 of both",
     .arm = "previous unit",
     .at = "banned",
     .metric = HY__HARM_SHARE,
     .kind = HY__AT_LEAST,
     .wanted = 5.0 / 6.0},
    {.text = "previous unit: from k = 1 to 4 the loss never rises",
     .arm = "previous unit",
     .at = "k = 1",
     .to = "k = 4",
     .metric = HY__LOSS,
     .kind = HY__ONWARD},
    OF_ROUTE("previous unit"),
    OF_ROUTE("shortlist of six"),
    {0},
};

const hy__lab hy__lab_experts = {
    .name = "experts",
    .question = "Do experts specialise, can they be steered, and what does routing by units cost?",
    .about =
        "Four corpora in equal shares: prose (the project's docs), code (its sources), sums and "
        "chains of two hops, of the last two only what is asked. Eight experts in each of two "
        "layers, two of which work on a token: chosen for units of 32 tokens by the unit before, "
        "or by each token among six that the unit before names, or by each token; against dense "
        "layers that cost as much; in the full form also units of 16 and 64 and an expert that "
        "always works. Information is I(expert; corpus) over the mean of their entropies, of all "
        "choices of a layer (with k = 1: of the first ones), mean over layers; of eight experts "
        "and four corpora at most .8, and "
        "less by what the first unit of every document takes, whose router has seen nothing. A "
        "corpus's experts are those that its tokens choose most, one in each layer; they are "
        "banned, and what that costs the corpus is held against what it costs another one on the "
        "mean, in nats per token. Bytes of experts are those that must be read when a token is "
        "written, where "
        "there is room for four experts of a layer and those used last stay.",
    .published = "controllable routing of experts, of a prototype that computes all of them",
    .config = "model: {layers: SE SE, d_model: 96, vocab: 256, chunk: 64}\n"
              "ssm: {head_dim: 32, d_state: 32}\n"
              "experts: {n_expert: 8, k: 2, d_ff: 128, expert_chunk: 32}\n"
              "train: {batch: 4, seq_len: 512, carry: false, warmup: 50, schedule: wsd,\n"
              "        eval_every: 100, val_tokens: 16384, val_fraction: 0.1, detail_every: 0,\n"
              "        tensorboard: false}\n",
    .quick = {.arm = QUICK_ARMS,
              .rate = {4e-3, 6e-3},
              .data = {"own/docs:1", "own/src:1", SUMS_OF ":1", CHAINS_OF ":1"},
              .recipe = RECIPE("1640448", "817152", SLOW), /* 1,200 steps */
              .probe = PROBES,
              .goal = GOALS},
    /* held back more, as its docs are read many times */
    .full = {.set = {"model.d_model=128", "ssm.d_state=64", "train.weight_decay=0.5"},
             .arm = FULL_ARMS,
             .rate = {2e-3, 4e-3, 8e-3},
             .data = {"own/docs:1", "own/src:1", SUMS_OF ":1", CHAINS_OF ":1"},
             .recipe = FULL_RECIPE(SLOW),
             .probe = PROBES,
             .goal = GOALS},
};
