/* config.h: what a model is and how it is trained, as data.
 *
 * One field table (config_table.c) gives name, type, bounds, default, unit and doc of every field;
 * from it come reading YAML (libyaml), config.json (jansson), printing, help and the flags of
 * `train`. A 0 where "derived" is said is replaced by hy__config_finish. */
#ifndef HY_CONFIG_CONFIG_H
#define HY_CONFIG_CONFIG_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

#define HY__LETTERS "SAEFWP" /* what a layer may be */

enum {
    HY__LAYER_MAX = 512,
    HY__PATTERN_MAX = 1024, /* characters of the pattern as written */
    HY__FIELD_MAX = 96,     /* rows of the field table */
};

typedef enum hy__route_mode {
    HY__ROUTE_PREVIOUS = 0,
    HY__ROUTE_SHORTLIST = 1,
    HY__ROUTE_TOKEN = 2,
    HY__ROUTE_OWN = 3, /* a leak: hy__config_sees_ahead */
} hy__route_mode;

typedef struct hy__config {
    struct {
        char layers[HY__PATTERN_MAX]; /* the pattern, e.g. "3x(SE S)" */
        int64_t d_model;              /* width */
        int64_t vocab;                /* token ids 0 … vocab-1 */
        int64_t chunk;                /* tokens; 16 … 256, a multiple of 16 */
        double norm_eps;
    } model;
    struct {
        int64_t expand;   /* inner width = expand·d_model */
        int64_t head_dim; /* P */
        int64_t d_state;  /* N */
        int64_t n_group;  /* G: B/C groups */
        int64_t d_conv;   /* taps */
        double dt_min, dt_max, dt_floor;
    } ssm;
    struct {
        int64_t n_head;        /* derived: d_model / 64, at least 1 */
        int64_t n_kv;          /* derived: n_head; divides n_head */
        int64_t head_dim;      /* derived: d_model / n_head */
        int64_t window;        /* tokens, the current one included */
        int64_t topk;          /* blocks */
        int64_t memory_blocks; /* 0 = unbounded */
        double rope_theta;     /* 0 = no position encoding */
        bool qk_norm;
    } attention;
    struct {
        int64_t n_expert;
        int64_t k;
        int64_t d_ff;         /* derived: 8/3·d_model/k, rounded up to 32 */
        int64_t expert_chunk; /* tokens; divides chunk */
        int64_t shared;       /* experts that always run */
        hy__route_mode route;
        int64_t shortlist; /* experts; derived: min(2k, n_expert) */
        double z_loss, aux_loss, balance_rate;
        double temperature; /* of the router */
    } experts;
    struct {
        int64_t d_ff; /* derived: 8/3·d_model, rounded up to 32 */
    } ffn;
    struct {
        int64_t n_head; /* derived: max(1, d_model / 64) */
        int64_t d_k, d_v;
        int64_t reads;
        int64_t d_conv;
    } workspace;
    struct {
        int64_t n_head;
        int64_t n_key; /* sub-keys per half: the table has n_key² rows */
        int64_t d_key; /* query width per head, even */
        int64_t topk;
        int64_t d_value; /* derived: d_model */
    } pkm;

    /* from the pattern, by hy__config_finish */
    int64_t n_layer;
    char letter[HY__LAYER_MAX + 1]; /* one letter per layer */
    int16_t block[HY__LAYER_MAX];   /* which block (word of the pattern) each layer is in */
    int64_t n_block;

    /* what finish put in place of a 0, so that a later change and a second finish derive afresh */
    int64_t derived[HY__FIELD_MAX];
} hy__config;

typedef enum hy__optimizer { HY__OPTIMIZER_ADAMW = 0, HY__OPTIMIZER_MUON = 1 } hy__optimizer;
typedef enum hy__on_spike {
    HY__ON_SPIKE_STOP = 0,
    HY__ON_SPIKE_SKIP = 1,
    HY__ON_SPIKE_REWIND = 2,
} hy__on_spike;
typedef enum hy__schedule { HY__SCHEDULE_COSINE = 0, HY__SCHEDULE_WSD = 1 } hy__schedule;
typedef enum hy__train_dtype { HY__TRAIN_FP32 = 0, HY__TRAIN_BF16 = 1 } hy__train_dtype;

typedef struct hy__train_config {
    int64_t steps;
    int64_t batch;           /* sequences in one micro-batch */
    int64_t accumulate;      /* micro-batches in one step */
    int64_t seq_len;         /* tokens of one segment; a multiple of chunk is best */
    bool carry;              /* carry the state from segment to segment (truncated BPTT) */
    bool recompute;          /* recompute activations per block in the backward */
    hy__train_dtype dtype;   /* operands of dense products */
    hy__optimizer optimizer; /* of the matrices; all else is AdamW's */
    double momentum;         /* Muon's */
    double lr, min_lr;       /* peak; floor as a fraction of the peak */
    hy__schedule schedule;
    int64_t warmup; /* steps */
    double decay;   /* wsd: last fraction of the steps that falls */
    double beta1, beta2, eps, weight_decay;
    double clip;  /* global gradient norm; 0 = off */
    double spike; /* robust standard deviations; 0 = off */
    hy__on_spike on_spike;
    int64_t spike_limit;            /* times in a row */
    double pkm_lr;                  /* the value table's rate at the start, times lr; falls to 1 */
    double val_fraction;            /* of the data, held out: which part, data/build.h */
    int64_t val_tokens;             /* at most so many tokens per evaluation; 0 = all */
    int64_t eval_every, save_every; /* steps; 0 = not by steps; always at the end */
    double save_minutes;            /* since the last checkpoint; 0 = not by the clock */
    bool tensorboard;               /* events for it, beside metrics.jsonl */
    int64_t detail_every;           /* steps; 0 = only at the first and the last */
    int64_t keep;                   /* checkpoints on the disk, the newest included */
    int64_t seed;
} hy__train_config;

/* Both with every default in place, pattern unset ("S"). */
void hy__config_default(hy__config *c, hy__train_config *t);

/* Reads a YAML file of sections model, ssm, attention, experts, ffn, workspace, pkm, train. What
 * the file leaves out has its default. Unknown keys, wrong types and values out of bounds are
 * errors that name file, line, key, got and wanted; *c and *t are then left as they
 * were. Ends with hy__config_finish. t may be NULL (section train is checked and dropped). */
hy_status hy__config_read_yaml(const char *path, hy__config *c, hy__train_config *t, hy_error *err);

/* The same from memory; `name` stands for the path in messages. */
hy_status hy__config_parse_yaml(const char *text, size_t size, const char *name, hy__config *c,
                                hy__train_config *t, hy_error *err);

/* The model's sections as a JSON object (the caller's reference), to be put in config.json under
 * their section names, and back. to_json writes the sections that the pattern uses (train when t is
 * given) and returns NULL when memory is short. from_json takes sections that are present and
 * defaults for the rest, passes over keys of the object that are no sections, and ends with
 * hy__config_finish. */
struct json_t; /* jansson's */
struct json_t *hy__config_to_json(const hy__config *c, const hy__train_config *t);
/* The same without what may change between two starts of one training. */
struct json_t *hy__config_bound_json(const hy__config *c, const hy__train_config *t);
hy_status hy__config_from_json(const struct json_t *json, const char *name, hy__config *c,
                               hy__train_config *t, hy_error *err);

/* Expands the pattern, fills derived values and checks what a single field's bounds cannot: that
 * heads divide, expert_chunk divides chunk, k <= n_expert, … Only letters in the pattern are
 * checked for their sections. Idempotent. */
hy_status hy__config_finish(hy__config *c, hy_error *err);

/* Whether the model is not causal (experts.route own): a token's logits then depend on what follows
 * in its unit, so that texts can be scored but not continued. */
bool hy__config_sees_ahead(const hy__config *c);

/* Tokens of a segment of its training: train.seq_len in whole chunks, as the loader cuts it. */
int64_t hy__config_segment(const hy__config *c, const hy__train_config *t);

/* Expands e.g. "2x(SE 2x(S) A)" to letters and block numbers. Errors show the place with a caret.
 */
hy_status hy__layers_expand(hy__config *c, hy_error *err);

/* Sets one field by its dotted name from text, e.g. "train.lr", "3e-4" (for flags and tests). After
 * the last one hy__config_finish must follow. */
hy_status hy__config_set(hy__config *c, hy__train_config *t, const char *key, const char *value,
                         hy_error *err);

/* The same from a whole number. */
hy_status hy__config_set_whole(hy__config *c, hy__train_config *t, const char *key, uint64_t value,
                               hy_error *err);

/* The same from one text, "train.lr=3e-4". */
hy_status hy__config_assign(hy__config *c, hy__train_config *t, const char *setting, hy_error *err);

/* Prints the sections that the pattern uses (train when t is given), one "key: value  # doc" per
 * line, as valid YAML, into a new string (caller frees); NULL when memory is short. */
char *hy__config_print(const hy__config *c, const hy__train_config *t);

/* The fields that may change between two starts of one training, "steps, spike, …" (all are of
 * train); `staged`: those among them that a stage may set, too. */
void hy__config_list_loose(char *out, size_t size, bool staged);

/* The whole field table with its defaults as documented YAML: `hydralm train --help-config`. Caller
 * frees; NULL when memory is short. */
char *hy__config_help(void);

#endif
