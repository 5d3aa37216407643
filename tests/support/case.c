/* case.c: see case.h. */
#include "support/case.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static double *copied(const double *from, int64_t n) {
    double *x = malloc((size_t)n * sizeof *x + 1);
    memcpy(x, from, (size_t)n * sizeof *x);
    return x;
}

/* ---- runs ---- */

void op_keep(op_result *r, op_bench *b, const char *name, hy__tensor t, int64_t n) {
    assert_true(r->n_out < (int)(sizeof r->out / sizeof *r->out));
    op_output *o = &r->out[r->n_out++];
    *o = (op_output){.n = n, .exact = t.dtype == HY__DTYPE_I32};
    snprintf(o->name, sizeof o->name, "%s", name);
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

op_result op_run(op_run_fn *run, const void *user, const char *backend, int n_thread) {
    op_bench b;
    op_result r = {0};
    op_open(&b, backend, n_thread);
    run(&b, user, &r);
    hy_error err = {0};
    if (hy__backend_check(b.be, &err) != HY_OK) fail_msg("%s", err.text);
    op_close(&b);
    return r;
}

/* Elements that the reference did not write must still be NaN; the others must be close. */
static void compare(const char *what, const char *backend, const op_output *want,
                    const op_output *got, double tol) {
    double *w = copied(want->data, want->n), *g = copied(got->data, got->n);
    int64_t n = 0;
    for (int64_t i = 0; i < want->n; i++) {
        if (isnan(w[i])) {
            if (!isnan(g[i])) fail_msg("%s: %s wrote outside of %s", what, backend, want->name);
            continue;
        }
        w[n] = w[i];
        g[n++] = g[i];
    }
    char name[256];
    snprintf(name, sizeof name, "%s: %s", what, want->name);
    op_expect(name, backend, w, g, n, want->exact ? 0 : tol);
    free(w);
    free(g);
}

static void judge_backend(const char *what, const char *backend, int n_thread, op_run_fn *run,
                          const void *user, const op_result *want, double tol) {
    op_result got = op_run(run, user, backend, n_thread);
    op_result again = op_run(run, user, backend, n_thread);
    for (int i = 0; i < want->n_out; i++) {
        const op_output *x = &got.out[i], *y = &again.out[i];
        compare(what, backend, &want->out[i], x, tol);
        if (memcmp(x->data, y->data, (size_t)x->n * sizeof *x->data) != 0)
            fail_msg("%s: %s gave other bits for %s the second time", what, backend, x->name);
    }
    op_result_free(&got);
    op_result_free(&again);
}

void op_judge(const char *what, op_run_fn *run, const void *user, double tol) {
    op_result want = op_run(run, user, "ref64", 1);
    for (const char *const *name = hy__backend_names(); *name; name++) {
        if (strcmp(*name, "cpu") == 0) continue; /* one of the others by another name */
        const int most = strncmp(*name, "ref", 3) == 0 ? 1 : 3;
        for (int n_thread = 1; n_thread <= most; n_thread += 2)
            judge_backend(what, *name, n_thread, run, user, &want, tol);
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

/* ---- cases ---- */

static op_array *find(op_case *t, const char *name, op_role role) {
    for (int i = 0; i < t->n_array; i++)
        if (t->array[i].role == role && strcmp(t->array[i].name, name) == 0) return &t->array[i];
    return NULL;
}

static op_array *need(op_case *t, const char *name, op_role role) {
    op_array *a = find(t, name, role);
    if (!a) fail_msg("the case declares no array \"%s\" of that role", name);
    return a;
}

/* The same seed for the same name and purpose on every run. */
static uint64_t seed_of(const char *name, uint64_t purpose) {
    uint64_t h = 14695981039346656037u + purpose; /* FNV-1a */
    for (; *name; name++) h = (h ^ (uint64_t)(unsigned char)*name) * 1099511628211u;
    return h;
}

static double *filled(int64_t n, double value) {
    double *x = malloc((size_t)n * sizeof *x + 1);
    for (int64_t i = 0; i < n; i++) x[i] = value;
    return x;
}

/* Takes ownership of start. */
static hy__tensor declare(op_case *t, const char *name, op_role role, double *start, int64_t n,
                          bool bf16) {
    assert_true(t->n_array < OP_CASE_ARRAYS);
    if (t->nudged == t->n_array) start[t->nudged_at] += t->nudge;
    op_array *a = &t->array[t->n_array++];
    *a = (op_array){.name = name, .role = role, .n = n, .start = start};
    a->t = bf16 ? op_put_bf16(t->b, start, n) : op_put(t->b, start, n);
    return a->t;
}

static double *random_for(const char *name, uint64_t purpose, int64_t n, double scale) {
    return op_random(seed_of(name, purpose), n, scale);
}

hy__tensor op_in(op_case *t, const char *name, int64_t n, double scale) {
    return declare(t, name, OP_IN, random_for(name, 0, n, scale), n, false);
}

hy__tensor op_in_bf16(op_case *t, const char *name, int64_t n, double scale) {
    return declare(t, name, OP_IN, random_for(name, 0, n, scale), n, true);
}

hy__tensor op_out(op_case *t, const char *name, int64_t n) {
    return declare(t, name, OP_OUT, filled(n, (double)NAN), n, false);
}

hy__tensor op_out_add(op_case *t, const char *name, int64_t n) {
    return declare(t, name, OP_OUT, random_for(name, 1, n, 1.0), n, false);
}

hy__tensor op_out_from(op_case *t, const char *name, const char *in) {
    const op_array *a = need(t, in, OP_IN);
    return declare(t, name, OP_OUT, copied(a->start, a->n), a->n, false);
}

static double *cotangent(const op_array *out) {
    return random_for(out->name, 2, out->n, 1.0);
}

hy__tensor op_dout(op_case *t, const char *out) {
    const op_array *a = need(t, out, OP_OUT);
    double *d = cotangent(a);
    const hy__tensor tensor = op_put(t->b, d, a->n);
    free(d);
    return tensor;
}

hy__tensor op_din(op_case *t, const char *in) {
    const int64_t n = need(t, in, OP_IN)->n;
    return declare(t, in, OP_GRAD, filled(n, (double)NAN), n, false);
}

hy__tensor op_din_add(op_case *t, const char *in) {
    const int64_t n = need(t, in, OP_IN)->n;
    const hy__tensor d = declare(t, in, OP_GRAD, random_for(in, 3, n, 1.0), n, false);
    need(t, in, OP_GRAD)->adds = true;
    return d;
}

hy__tensor op_din_from(op_case *t, const char *in, const char *out) {
    const op_array *a = need(t, out, OP_OUT);
    assert_true(need(t, in, OP_IN)->n == a->n);
    return declare(t, in, OP_GRAD, cotangent(a), a->n, false);
}

static void run(op_case *t, op_bench *b, op_case_fn *fn, const void *shape) {
    t->b = b;
    t->shape = shape;
    fn(t);
    for (int i = 0; i < t->n_array; i++) {
        op_array *a = &t->array[i];
        if (a->role == OP_IN) continue;
        a->result = malloc((size_t)a->n * sizeof *a->result + 1);
        op_get(b, a->result, a->t, a->n);
    }
}

static void release(op_case *t) {
    for (int i = 0; i < t->n_array; i++) {
        free(t->array[i].start);
        free(t->array[i].result);
    }
    op_clear(t->b);
    t->n_array = 0;
}

typedef struct case_of {
    op_case_fn *fn;
    const void *shape;
} case_of;

/* A case as a run. */
static void run_case(op_bench *b, const void *user, op_result *out) {
    const case_of *c = user;
    op_case t = {.nudged = -1};
    run(&t, b, c->fn, c->shape);
    for (int i = 0; i < t.n_array; i++) {
        const op_array *a = &t.array[i];
        char name[40];
        snprintf(name, sizeof name, "%s%s", a->role == OP_GRAD ? "d" : "", a->name);
        if (a->role != OP_IN) op_keep(out, b, name, a->t, a->n);
    }
    release(&t);
}

void op_check(const char *what, op_case_fn *fn, const void *shape, double tol) {
    op_judge(what, run_case, &(case_of){.fn = fn, .shape = shape}, tol);
}

/* Σ outputs · their gradients with input `index` moved at element i. */
static double loss(op_bench *b, op_case_fn *fn, const void *shape, int index, int64_t i,
                   double nudge) {
    op_case t = {.nudged = index, .nudged_at = i, .nudge = nudge};
    run(&t, b, fn, shape);
    double sum = 0;
    for (int k = 0; k < t.n_array; k++) {
        const op_array *a = &t.array[k];
        if (a->role != OP_OUT) continue;
        double *d = cotangent(a);
        for (int64_t j = 0; j < a->n; j++)
            if (!isnan(a->result[j])) sum += d[j] * a->result[j];
        free(d);
    }
    release(&t);
    return sum;
}

/* At most this many elements of one gradient are probed, spread over the array. */
enum { PROBES = 48 };

void op_check_grad(const char *what, op_case_fn *fn, const void *shape) {
    const double h = 3e-5; /* error: h² truncated, 1e-16/h rounded, both below 1e-9 */
    op_bench b, probe;
    op_open(&b, "ref64", 1);
    op_open(&probe, "ref64", 1);
    op_case t = {.nudged = -1};
    run(&t, &b, fn, shape);
    for (int i = 0; i < t.n_array; i++) {
        const op_array *in = &t.array[i], *grad = find(&t, in->name, OP_GRAD);
        if (in->role != OP_IN || !grad) continue;
        double want[PROBES], got[PROBES];
        int64_t n = 0;
        const int64_t step = (in->n + PROBES - 1) / PROBES;
        /* an odd start moves the probes off the columns that a stride would repeat */
        for (int64_t at = in->n > step ? step / 2 : 0; at < in->n; at += step) {
            if (isnan(grad->result[at])) continue; /* a gap */
            got[n] = grad->result[at] - (grad->adds ? grad->start[at] : 0);
            want[n] =
                (loss(&probe, fn, shape, i, at, h) - loss(&probe, fn, shape, i, at, -h)) / (2 * h);
            n++;
        }
        char name[256];
        snprintf(name, sizeof name, "%s: slope of %s", what, in->name);
        op_expect(name, "ref64", want, got, n, 1e-6);
    }
    release(&t);
    op_close(&probe);
    op_close(&b);
}
