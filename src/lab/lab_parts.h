/* lab_parts.h: what the tables of several experiments are made of. Only for lab_NAME.c. */
#ifndef HY_LAB_LAB_PARTS_H
#define HY_LAB_LAB_PARTS_H

#include "lab/lab.h"

/* ---- deduction and induction: one step more when the last is learned ---- */

#define HY__LAB_W(n, reads, is_kin)                                                                \
    { .name = "S W, " #n reads, .set = {"model.layers=S W", "workspace.reads=" #n}, .kin = is_kin }
#define HY__LAB_ONE_READ HY__LAB_W(1, " read", false)
#define HY__LAB_READS(n) HY__LAB_W(n, " reads", false)
/* Several too, but another number than the first arm has. */
#define HY__LAB_KIN(n) HY__LAB_W(n, " reads", true)
#define HY__LAB_S_ALONE                                                                            \
    { .name = "S alone", .set = {"model.layers=S S"}, .fit = "ssm.d_state", .step = 4 }
#define HY__LAB_S_A                                                                                \
    {                                                                                              \
        .name = "S A", .set = {"model.layers=S A S A", "model.d_model=72", "ssm.head_dim=36"},     \
        .fit = "ssm.d_state", .step = 4                                                            \
    }
/* k steps need at least log2 k + 2 layers of attention: 4 do for 7 of them, 5 for 15. */
#define HY__LAB_TRANSFORMER(n, width)                                                              \
    {                                                                                              \
        .name = "Transformer",                                                                     \
        .set = {"model.layers=" #n "x(AF)", "model.d_model=" #width,                               \
                "attention.rope_theta=10000"},                                                     \
        .fit = "ffn.d_ff", .step = 4                                                               \
    }
#define HY__LAB_SMALL                                                                              \
    "model: {layers: S W, d_model: 96, vocab: 256, chunk: 64}\n"                                   \
    "ssm: {head_dim: 32, d_state: 32}\n"                                                           \
    "attention: {n_head: 3, window: 256, topk: 0}\n"                                               \
    "workspace: {n_head: 3, d_k: 32, d_v: 32}\n"

/* Gate and replay: stages of 1 … k steps, of the corpora C(1) … C(k); the earlier ones stay in
 * between. The last stage goes on a little longer. */
#define HY__LAB_UNTIL(C, k, tokens, accuracy)                                                      \
    "  - {name: steps-" #k ", tokens: " tokens                                                     \
    ", mixture: {" HY__LAB_MIX_##k(C) "}, until: {accuracy: " accuracy ", corpus: " C(k) "}}\n"
#define HY__LAB_STAGE(C, k, tokens) HY__LAB_UNTIL(C, k, tokens, "0.95")
#define HY__LAB_LAST(C, k, tokens)  HY__LAB_UNTIL(C, k, tokens, "0.98")
#define HY__LAB_MIX_1(C)            C(1) ": 1"
#define HY__LAB_MIX_2(C)            HY__LAB_MIX_1(C) ", " C(2) ": 2"
#define HY__LAB_MIX_3(C)            HY__LAB_MIX_1(C) ", " C(2) ": 1, " C(3) ": 3"
#define HY__LAB_MIX_4(C)            HY__LAB_MIX_3(C) ", " C(4) ": 4"
#define HY__LAB_MIX_5(C)            HY__LAB_MIX_4(C) ", " C(5) ": 5"

/* ---- text: a model of all six letters ---- */

#define HY__LAB_SIX                                                                                \
    "model: {layers: SE SA SE SW SP SF, d_model: 64, vocab: 256, chunk: 64}\n"                     \
    "ssm: {head_dim: 32, d_state: 32}\n"                                                           \
    "attention: {n_head: 2, window: 128, topk: 4, memory_blocks: 64}\n"                            \
    "experts: {n_expert: 4, k: 2, d_ff: 64}\n"                                                     \
    "ffn: {d_ff: 192}\n"                                                                           \
    "workspace: {n_head: 2, d_k: 32, d_v: 32}\n"                                                   \
    "pkm: {n_head: 1, n_key: 32, topk: 8}\n"                                                       \
    "train: {batch: 4, seq_len: 512, carry: false, warmup: 30, schedule: wsd,\n"                   \
    "        eval_every: 100, val_tokens: 32768, val_fraction: 0.1, detail_every: 0,\n"            \
    "        tensorboard: false}\n"
/* Of the full length: wider, and held back more, as the text is read several times. */
#define HY__LAB_SIX_WIDE                                                                           \
    "model.d_model=128", "ssm.d_state=64", "experts.d_ff=128", "ffn.d_ff=384",                     \
        "train.eval_every=200", "train.weight_decay=0.5"

static const hy__probe hy__lab_held_out[] = {
    {.name = "held-out text", .data = "*", .metric = HY__LOSS},
    {.name = "held-out text", .data = "*", .metric = HY__BITS},
    {0},
};

#endif
