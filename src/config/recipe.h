/* recipe.h: a curriculum: a training as a list of stages with constant settings.
 *
 * Every stage holds the whole configuration as it is while the stage lasts: that of the run, with
 * what the recipe's stage says in its place. A stage whose context grows is written once and
 * becomes several parts, one for each length. A training without a recipe is one stage.
 *
 * docs/curriculum.md describes the file. Nothing here knows a model or data. */
#ifndef HY_CONFIG_RECIPE_H
#define HY_CONFIG_RECIPE_H

#include "config/config.h"

#include <stdio.h>

enum {
    HY__STAGE_MAX = 256, /* parts of a recipe */
    HY__STAGE_NAME = 48,
    HY__RATE_MAX = 24,
    HY__MIX_MAX = 32,
    HY__MIX_NAME = 64,
};

/* What ends a stage: its length, or what was reached before. */
typedef enum hy__stage_end {
    HY__END_LENGTH = 0,
    HY__END_VAL_LOSS = 1, /* held-out loss, nats per token, at most */
    HY__END_ACCURACY = 2, /* share of the held-out tokens that are the likeliest, at least */
    HY__END_N
} hy__stage_end;
const char *hy__stage_end_name(hy__stage_end e);

/* The learning rate of the parameters of a letter ("S") or of a group ("table"), as a multiple. */
typedef struct hy__stage_rate {
    char what[16];
    double times; /* 0: frozen */
} hy__stage_rate;

typedef struct hy__stage_mix {
    char name[HY__MIX_NAME]; /* of a corpus */
    double weight;
} hy__stage_mix;

typedef struct hy__stage {
    char name[HY__STAGE_NAME];
    int64_t line;         /* of the recipe where it is written; 0 = nowhere */
    int32_t part, n_part; /* of what is written: 0 … n_part-1 */
    int64_t before;       /* steps of the parts before it */
    hy__config cfg;
    hy__train_config train;
    int64_t steps;  /* its length, or the bound of it when a criterion may end it before */
    int64_t tokens; /* positions of them */
    char on[8];     /* letters of the pattern that are computed and trained */
    char fresh[8];  /* those that the stage before did without: their gates rise from 0 … */
    int64_t ramp;   /* … over so many steps, from the first of its parts; 0 = at once */
    hy__stage_rate rate[HY__RATE_MAX];
    int64_t n_rate;
    hy__stage_mix mix[HY__MIX_MAX];
    int64_t n_mix; /* 0: all the data as they are */
    int64_t mix_line;
    hy__stage_end until;
    double until_value;
    char until_corpus[HY__MIX_NAME]; /* "" = all that is held out */
    int64_t until_line;
    bool upcycles;       /* F become E where it begins */
    double noise;        /* upcycling: of the copies, as a share of a matrix's rms */
    int64_t table_steps; /* the value table's rate rises from 0 over so many steps */
    int64_t reseed;      /* tokens that are looked at to find dead sub-keys of P; 0 = none are */
    bool sets[HY__FIELD_MAX]; /* fields to which it gives a value, by row of the field table */
} hy__stage;

typedef struct hy__recipe {
    char *name;       /* its path, for messages; NULL: of one stage, without a file. Owned */
    hy__stage *stage; /* [n] owned */
    int64_t n;
} hy__recipe;

/* One stage of train.steps steps with everything on. HY_E_MEMORY. */
hy_status hy__recipe_single(hy__recipe *r, const hy__config *c, const hy__train_config *t,
                            hy_error *err);

/* Reads a recipe for a finished configuration and checks all that can be known without data.
 * HY_E_INVALID says file, line, stage and reason. */
hy_status hy__recipe_read(hy__recipe *r, const char *path, const hy__config *c,
                          const hy__train_config *t, hy_error *err);
/* The same from memory; `name` stands for the path in messages. */
hy_status hy__recipe_parse(hy__recipe *r, const char *text, size_t size, const char *name,
                           const hy__config *c, const hy__train_config *t, hy_error *err);
void hy__recipe_release(hy__recipe *r);

/* Puts "file:line: stage 'name': " before the sentence in err; returns status. */
hy_status hy__recipe_fail_in(const hy__recipe *r, const hy__stage *s, int64_t line,
                             hy_status status, hy_error *err);

/* Positions of one micro-batch of a stage, and of one step: segments are whole chunks. */
int64_t hy__stage_batch_tokens(const hy__stage *s);
int64_t hy__stage_step_tokens(const hy__stage *s);
/* Steps of the whole recipe, at most. */
int64_t hy__recipe_steps(const hy__recipe *r);

/* Whether every stage gives a field a value, so that the configuration's own is never used; as
 * "train.batch", or "train.batch=8". */
bool hy__recipe_sets(const hy__recipe *r, const char *setting);

/* The first part of what is written after stage i's last, or n. */
int64_t hy__recipe_next(const hy__recipe *r, int64_t i);

/* Whether a layer runs in a stage, and whether its gate rises there. */
bool hy__stage_runs(const hy__stage *s, int64_t layer);
bool hy__recipe_rises(const hy__recipe *r, int64_t i, int64_t layer);

/* What a parameter's learning rate is multiplied by: the product of all that name its letter (0: it
 * is in none) or its group ("embed", "matrix", "vector", "router", "table"). 0: it stands still. */
double hy__stage_times(const hy__stage *s, char letter, const char *group);

/* The configuration as if the letters that are off were not in the pattern: what is computed. */
void hy__stage_running(const hy__stage *s, hy__config *out);

/* Everything that a run depends on, as text. */
void hy__recipe_print(const hy__recipe *r, FILE *out);

#endif
