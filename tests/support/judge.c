/* judge.c: see judge.h. */
#include "support/judge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

void op_keep(op_result *r, op_bench *b, const char *name, hy__tensor t, int64_t n) {
    assert_true(r->n_out < (int)(sizeof r->out / sizeof *r->out));
    op_output *o = &r->out[r->n_out++];
    *o = (op_output){.name = name, .n = n, .exact = t.dtype == HY__DTYPE_I32};
    o->data = malloc((size_t)n * sizeof *o->data + 1);
    if (!o->exact) {
        op_get(b, o->data, t, n);
        return;
    }
    int32_t *host = malloc((size_t)n * sizeof *host + 1);
    op_get_i32(b, host, t, n);
    for (int64_t i = 0; i < n; i++) o->data[i] = host[i];
    free(host);
}

const double *op_kept(const op_result *r, const char *name) {
    for (int i = 0; i < r->n_out; i++)
        if (strcmp(r->out[i].name, name) == 0) return r->out[i].data;
    fail_msg("the case keeps no %s", name);
    return NULL;
}

void op_result_free(op_result *r) {
    for (int i = 0; i < r->n_out; i++) free(r->out[i].data);
    *r = (op_result){0};
}

op_result op_run(op_case run, const void *user, const char *backend, int n_thread) {
    op_bench b;
    op_result r = {0};
    op_open(&b, backend, n_thread);
    run(&b, user, &r);
    op_close(&b);
    return r;
}

static void compare(const char *what, const char *backend, const op_result *want,
                    const op_result *got, double tol) {
    for (int i = 0; i < want->n_out; i++) {
        const op_output *w = &want->out[i], *g = &got->out[i];
        char name[160];
        snprintf(name, sizeof name, "%s: %s", what, w->name);
        op_expect(name, backend, w->data, g->data, w->n, w->exact ? 0 : tol);
    }
}

void op_judge(const char *what, op_case run, const void *user, double tol) {
    op_result want = op_run(run, user, "ref64", 1);
    for (const char *const *name = hy__backend_names(); *name; name++)
        for (int n_thread = 1; n_thread <= 3; n_thread += 2) {
            op_result got = op_run(run, user, *name, n_thread);
            op_result again = op_run(run, user, *name, n_thread);
            compare(what, *name, &want, &got, tol);
            for (int i = 0; i < got.n_out; i++) {
                const size_t size = (size_t)got.out[i].n * sizeof(double);
                if (memcmp(got.out[i].data, again.out[i].data, size) != 0) {
                    fail_msg("%s: %s on %s differs between two equal runs", what, got.out[i].name,
                             *name);
                }
            }
            op_result_free(&got);
            op_result_free(&again);
        }
    op_result_free(&want);
}

void op_expect_slope(const char *what, double (*f)(void *user), void *user, double *x,
                     const double *grad, int64_t n, double tol) {
    double *slope = malloc((size_t)n * sizeof *slope + 1);
    for (int64_t i = 0; i < n; i++) slope[i] = op_slope(f, user, &x[i], 1e-5);
    op_expect(what, "ref64 (against central differences)", slope, grad, n, tol);
    free(slope);
}
