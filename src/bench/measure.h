/* measure.h: one row of a bench. */
#ifndef HY_BENCH_MEASURE_H
#define HY_BENCH_MEASURE_H

#include "bench/bench.h"
#include "model/model.h"

typedef struct hy__meter {
    hy__model *model;
    const hy__account *account;
    hy__ceilings *ceilings;
    int64_t runs, warm_up;
    bool profile;
} hy__meter;

/* Fills the row from its shape and check on. */
hy_status hy__measure_row(hy__bench_row *row, const hy__meter *m, hy_error *err);

#endif
