/* sheet.h: everything that a plan shows, as numbers; its faces only lay them out. */
#ifndef HY_ACCOUNT_SHEET_H
#define HY_ACCOUNT_SHEET_H

#include "account/account.h"

enum {
    HY__SHEET_LENGTHS = 12,  /* lengths in the tables */
    HY__SHEET_CURVE = 21,    /* lengths 2^0 … 2^20 in the charts */
    HY__SHEET_HARDWARE = 16, /* at most */
    HY__SHEET_RIVALS = 4,    /* at most */
    HY__SHEET_NAME = 128,
};

typedef struct hy__sheet_options {
    int64_t batch, tokens;             /* of a micro-batch of training */
    bool recompute;                    /* training recomputes activations */
    int64_t document;                  /* tokens through which a training carries its states */
    hy__store store;                   /* of the weights of a running model */
    int64_t sequences;                 /* served at once */
    int64_t devices;                   /* that train, with perfect scaling */
    double budget;                     /* tokens of a training; 0 = 20 for each active parameter */
    int64_t length[HY__SHEET_LENGTHS]; /* rising */
    int64_t n_length;
    hy__hardware hardware[HY__SHEET_HARDWARE];
    int64_t n_hardware;
} hy__sheet_options;

/* What the options are for a configuration: its own training, and typical lengths. */
hy__sheet_options hy__sheet_defaults(const hy__account *a);

/* At one length: reading it at once, one token more after it, and what must be held. */
typedef struct hy__sheet_length {
    int64_t tokens;
    hy__spent prefill[HY__PART_MAX + 1], decode[HY__PART_MAX + 1]; /* of one sequence */
    double state;                                                  /* bytes of one sequence */
    hy__memory serving;                                            /* options.sequences of them */
} hy__sheet_length;

typedef struct hy__sheet_hardware {
    const hy__hardware *hardware;
    bool trains,
        serves;      /* one sequence of the plan's training, and its sequences at length[at], fit */
    int64_t trained; /* sequences of the micro-batch that is timed: the plan's, or what fits */
    hy__bound train; /* of that micro-batch */
    double days;     /* of the whole budget on all devices, at least */
    hy__bound prefill, decode; /* of one sequence at length[at] */
    int64_t batch, tokens; /* the largest in training: batch at options.tokens; length at batch 1 */
    int64_t served;        /* the longest of options.sequences sequences */
    bool batch_limit, tokens_limit, served_limit; /* it ends at what one batch may hold */
} hy__sheet_hardware;

typedef struct hy__sheet_curve {
    double measure[HY__MEASURE_N][HY__SHEET_CURVE]; /* at 2^i tokens */
} hy__sheet_curve;

/* Another configuration of the comparison. */
typedef struct hy__sheet_rival {
    char name[HY__SHEET_NAME];
    hy__account account;
    hy__sheet_curve curve;
    int64_t cross[HY__MEASURE_N]; /* hy__account_cross of the planned one with it */
} hy__sheet_rival;

typedef struct hy__sheet {
    char name[HY__SHEET_NAME];
    hy__sheet_options opt;
    hy__account account;
    int64_t param, active, layers;        /* of the whole model */
    double weights[HY__STORE_N];          /* bytes */
    hy__spent train[2][HY__PART_MAX + 1]; /* of a micro-batch, without and with recomputation */
    hy__memory memory[2];                 /* of training */
    hy__sheet_length length[HY__SHEET_LENGTHS];
    double curve_flops[HY__PART_MAX][HY__SHEET_CURVE]; /* of prefill, for each token */
    hy__sheet_curve curve;
    hy__sheet_hardware hardware[HY__SHEET_HARDWARE];
    int64_t at; /* the length that times are shown for: the one nearest to opt.tokens */
    hy__sheet_rival rival[HY__SHEET_RIVALS];
    int64_t n_rival;
} hy__sheet;

/* Fills a sheet (the caller's, zeroed but for rival[].name and .account, of which n_rival are set).
 */
hy_status hy__sheet_fill(hy__sheet *s, const hy__account *a, const char *name,
                         const hy__sheet_options *opt, hy_error *err);

#endif
