/* check.h: whether the kernels that a model uses compute what they should, before their time is
 * told: a fast wrong kernel is no result.
 *
 * For each letter of the model a small one of that letter alone, with the model's own settings and
 * random weights, runs on the backend under test and on ref64, the specification. A letter whose
 * outputs, states, gradients or updated weights differ by more than the table in check.c allows
 * fails. Then each of its kernels runs once more alone, among the reference's own in fp32, and
 * those that spoil the result are named. It takes about a second, and does not replace tests/op,
 * which tries every kernel at many sizes. */
#ifndef HY_BENCH_CHECK_H
#define HY_BENCH_CHECK_H

#include "bench/watch.h"

typedef struct hy__check {
    bool letter[HY__PART_MAX]; /* that failed, by part of the account; the frame never does alone */
    bool kernel[HY__KERNEL_N]; /* that failed */
    int64_t n_letter, n_kernel; /* how many */
    hy_error why;               /* the first failure; HY_OK when there is none */
} hy__check;

/* Checks what training uses, or what prefill and decode use. The account is the model's. Fails only
 * when it cannot be carried out. */
hy_status hy__check_run(hy__check *c, hy__backend *be, const hy__account *a, hy__store store,
                        bool training, hy_error *err);

/* Whether a run that makes these calls does something that failed. */
bool hy__check_spoils(const hy__check *c, const hy__profile *used);

#endif
