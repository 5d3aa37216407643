/* crossover.h: an experiment that trains nothing: rates and memory over lengths, of models of equal
 * size.
 *
 *   crossover.c       arms, lengths, measuring
 *   crossover_page.c  results.json, results.csv, figures, the page */
#ifndef HY_LAB_CROSSOVER_H
#define HY_LAB_CROSSOVER_H

#include "account/account.h"
#include "bench/stats.h"
#include "lab/lab.h"

enum { HY__CROSSOVER_LENGTHS = 8, HY__CROSSOVER_ROUNDS = 3 };

/* Of one arm at one length. */
typedef struct hy__crossing {
    double rate[HY__PHASE_N][HY__CROSSOVER_ROUNDS]; /* tokens/s; 0 = no room for it */
    double peak[HY__PHASE_N];                       /* bytes, resident: the most of all rounds */
    char dir[HY__LAB_DIR];
} hy__crossing;

/* Tokens/s over the rounds; all 0 where there was no room in one of them. */
hy__spread hy__crossing_rates(const hy__crossing *at, hy__phase phase);

typedef struct hy__crossover {
    const hy__lab *lab;
    const hy__lab_scale *scale;
    const hy__lab_options *opt;
    const int64_t *length; /* [n_length] */
    int n_arm, n_length;
    int64_t parameters[HY__LAB_ARMS];
    hy__crossing at[HY__LAB_ARMS][HY__CROSSOVER_LENGTHS];
} hy__crossover;

/* How often as fast as the last arm (the Transformer) at length l, the median of what the rounds
 * say, each of which is of one time; 0 where one has no rate. */
double hy__crossover_ratio(const hy__crossover *x, int arm, int l, hy__phase phase);

hy_status hy__crossover_write(const hy__crossover *x, const char *out, hy_error *err);

#endif
