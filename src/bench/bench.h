/* bench.h: how fast a model trains, reads and writes on this machine, and what share of what the
 * machine can do that is.
 *
 * Every row (what x tokens x dtype) is measured several times after a warm-up, and between any two
 * runs the machine's ceilings are (ceiling.h), so that both see the same noise. FLOPs and bytes are
 * those of the accounting (src/account): products and recurrences, and what must move at least. A
 * row whose kernels do not pass their check (check.h) is refused. Profiles are of runs of their
 * own, since watching costs time. */
#ifndef HY_BENCH_BENCH_H
#define HY_BENCH_BENCH_H

#include "bench/ceiling.h"
#include "bench/check.h"
#include "bench/machine.h"
#include "bench/stats.h"
#include "page/text.h"

enum { HY__BENCH_RUNS = 1000 /* at most */ };

const char *hy__phase_name(hy__phase p); /* "train" */

typedef struct hy__bench_options {
    const char *name;     /* of the model, for what is written */
    const char *settings; /* that differ from its configuration, "" = none */
    const char *dir;      /* a model's directory; NULL = random weights */
    hy__config cfg;       /* finished: of the directory, or what is built */
    hy__train_config train;
    bool phase[HY__PHASE_N]; /* what is measured */
    bool kernels;            /* profiles too */
    const int64_t *tokens;   /* [n_tokens] lengths; of decode what stands before */
    int64_t n_tokens;
    bool store[HY__STORE_N]; /* dtypes: of the weights; of training that of the products */
    int64_t batch, runs, warm_up;
    void (*progress)(void *user, const char *what); /* before each row; NULL = nobody asks */
    void *user;
} hy__bench_options;

typedef struct hy__bench_row {
    hy__shape shape;
    hy_error refused;                 /* HY_OK, or why the numbers below are not told */
    hy__spread seconds;               /* of a step, of a prefill, of a token for each sequence */
    int64_t rows;                     /* tokens in that time */
    double flops, bytes;              /* in that time, by the account */
    double dense_share, stream_share; /* medians over the runs of rate over ceiling */
    hy__ceiling ceiling;              /* medians over the samples of this row */
    int64_t peak_bytes;     /* resident, without what measures; 0 where the system does not say */
    bool made_up;           /* decode: the past is random numbers, it was not read */
    hy__profile *profile;   /* owned; NULL = not asked for. Of one step, prefill or token */
    double profile_seconds; /* wall time of that */
    const hy__check *check; /* of the row's dtype and kind; owned by the bench */
} hy__bench_row;

typedef struct hy__bench {
    hy__machine machine;
    char backend[24], isa[16];
    int64_t threads, runs, warm_up;
    int64_t dense_size[HY__STORE_N]; /* rows and columns of the product */
    char name[128], settings[512];
    hy__account account;
    hy__bench_row *row; /* [n_row] owned */
    int64_t n_row;
    hy__check check[HY__STORE_N][2]; /* [dtype][training]; those that were carried out */
    bool checked[HY__STORE_N][2];
} hy__bench;

/* What would have to be held for the largest of the rows; HY_E_MEMORY when the machine has less,
 * with both in the sentence. Called by hy__bench_run, before anything is built. */
hy_status hy__bench_fits(const hy__bench_options *opt, int64_t free_bytes, hy_error *err);

/* Measures. The backend stays the caller's. */
hy_status hy__bench_run(hy__bench **out, hy__backend *be, const hy__bench_options *opt,
                        hy_error *err);
void hy__bench_free(hy__bench *b);

/* HY_E_INTERNAL with what failed its check, if anything did. */
hy_status hy__bench_verdict(const hy__bench *b, hy_error *err);

/* ---- faces ---- */

void hy__bench_text(hy__text *t, const hy__bench *b);

struct json_t;                                     /* jansson's */
struct json_t *hy__bench_json(const hy__bench *b); /* NULL when memory is short */

/* Lines of docs/format.md, "bench". The head belongs before the first. */
void hy__bench_csv_head(hy__text *t);
void hy__bench_csv(hy__text *t, const hy__bench *b);
/* Whether they can be written to `path` (hy__file_check_place): a file there has the same head. */
hy_status hy__bench_csv_check(const char *path, hy_error *err);

#endif
