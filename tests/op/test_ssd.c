/* test_ssd.c: ssd and ssd_backward. The float64 reference is held against finite differences, and
 * every backend against the float64 reference, at awkward lengths, positions, widths and strides.
 *
 * Outputs start as NaN, so that a forgotten element shows; sums (+=) start at a known number. */
#include "support/op.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Which sequences carry states and their gradients. */
typedef enum states { STATES_ALL, STATES_ODD, STATES_NULL } states;

enum { SEQ_MAX = 8 };

typedef struct shape {
    int64_t n_head, head_dim, d_state, n_group, chunk;
    hy__seq seq[SEQ_MAX]; /* len and pos; start is filled in, len 0 ends the list */
    int64_t pad;          /* further columns in every row of x|b|c and of dt; 0 = dense tensors */
    states states;
    hy__prec prec;
} shape;

/* Host arrays, dense: [N,H,P], [N,G,Ns], [N,G,Ns], [N,H], [H], [H], [H], [n_seq,H,P,Ns], … */
enum { X, B, C, DT, A_LOG, D, DT_BIAS, STATE_IN, DY, DSTATE_OUT, N_IN };
/* The gradient of input i is output DX + i. */
enum { Y, STATE_OUT, DX, DB, DC, DDT, DA_LOG, DD, DDT_BIAS, DSTATE_IN, N_OUT };
static const char *const OUT_NAME[N_OUT] = {"y",   "state_out", "dx", "db",       "dc",
                                            "ddt", "da_log",    "dd", "ddt_bias", "dstate_in"};

/* Largest error relative to the largest element. Forward: sums of up to N + C products in fp32 and
 * one exponential, about 10 roundings. Gradients: sums of such sums over chunk, heads and, for the
 * parameters, all tokens. */
static const double TOL_FORWARD = 1e-5, TOL_BACKWARD = 5e-5;
/* In bf16 operands keep 8 bits, 2^-9 each, and up to three products stand behind one another. The
 * gradients of parameters are sums over all tokens of terms of either sign, whose errors stay as
 * large where the sum itself is small. */
static const double TOL_BF16 = 1e-2, TOL_BF16_PARAM = 5e-2;
static const double SUM_START = 0.25; /* what the gradients of parameters are added to */

typedef struct task {
    shape s;
    hy__rows rows;
    int64_t n_in[N_IN], n_out[N_OUT];
    double *in[N_IN];
} task;

typedef struct result {
    double *out[N_OUT];
} result;

static task task_new(const shape *s, uint64_t seed) {
    task t = {.s = *s};
    int64_t n_seq = 0, n_row = 0;
    for (; n_seq < SEQ_MAX && t.s.seq[n_seq].len > 0; n_seq++) {
        t.s.seq[n_seq].start = n_row;
        n_row += t.s.seq[n_seq].len;
    }
    t.rows = (hy__rows){.n_row = n_row, .n_seq = n_seq};
    const int64_t wide = n_row * s->n_head * s->head_dim, narrow = n_row * s->n_group * s->d_state;
    const int64_t state = n_seq * s->n_head * s->head_dim * s->d_state, H = s->n_head;
    const int64_t n_in[N_IN] = {wide, narrow, narrow, n_row * H, H, H, H, state, wide, state};
    memcpy(t.n_in, n_in, sizeof n_in);
    t.n_out[Y] = wide;
    t.n_out[STATE_OUT] = state;
    memcpy(t.n_out + DX, n_in, (N_OUT - DX) * sizeof *n_in);
    for (int i = 0; i < N_IN; i++) t.in[i] = op_random(seed * N_IN + (uint64_t)i, n_in[i], 1.0);
    for (int64_t h = 0; h < H; h++) t.in[DT_BIAS][h] -= 2; /* as initialised: small steps */
    return t;
}

static void task_free(task *t) {
    for (int i = 0; i < N_IN; i++) free(t->in[i]);
}

static result result_new(const task *t) {
    result r;
    for (int i = 0; i < N_OUT; i++) r.out[i] = calloc((size_t)t->n_out[i] + 1, sizeof(double));
    return r;
}

static void result_free(result *r) {
    for (int i = 0; i < N_OUT; i++) free(r->out[i]);
}

/* x, b and c (and their gradients) on a backend: columns of one buffer, or three dense tensors. */
typedef struct columns {
    hy__tensor all, part[3];
    int64_t width[3], at[3], ld, size; /* ld 0 = dense */
} columns;

static columns columns_new(op_bench *bench, const task *t) {
    const int64_t H = t->s.n_head * t->s.head_dim, G = t->s.n_group * t->s.d_state;
    const int64_t N = t->rows.n_row, ld = t->s.pad ? H + 2 * G + t->s.pad : 0;
    columns c = {.width = {H, G, G}, .ld = ld, .size = N * (H + 2 * G + t->s.pad)};
    c.at[1] = ld ? H : N * H;
    c.at[2] = ld ? H + G : N * (H + G);
    c.all = op_nan(bench, c.size);
    for (int i = 0; i < 3; i++) c.part[i] = hy__at(c.all, c.at[i]);
    return c;
}

/* Copies between the host's dense arrays and the buffer; put: to the backend. */
static void columns_copy(op_bench *bench, const columns *c, double *const host[3], int64_t n_row,
                         bool put) {
    double *all = malloc((size_t)c->size * sizeof *all);
    op_get(bench, all, c->all, c->size);
    for (int i = 0; i < 3; i++) {
        const int64_t width = c->width[i], ld = c->ld ? c->ld : width;
        for (int64_t r = 0; r < n_row; r++) {
            double *there = all + c->at[i] + r * ld, *here = host[i] + r * width;
            memcpy(put ? there : here, put ? here : there, (size_t)width * sizeof *all);
        }
    }
    if (put) hy__tensor_write_f64(bench->be, c->all, all, c->size);
    free(all);
}

/* dt and ddt have the same shape as one part of columns. */
static columns dt_new(op_bench *bench, const task *t) {
    columns c = {.width = {t->s.n_head}, .ld = t->s.pad ? t->s.n_head + t->s.pad : 0};
    c.size = t->rows.n_row * (t->s.n_head + t->s.pad);
    c.all = c.part[0] = op_nan(bench, c.size);
    return c;
}
static void dt_copy(op_bench *bench, const columns *c, double *host, int64_t n_row, bool put) {
    double *const three[3] = {host, host, host};
    columns_copy(bench, c, three, n_row, put);
}

static bool carries(const task *t, int64_t seq) {
    return t->s.states == STATES_ALL || (t->s.states == STATES_ODD && seq % 2 == 1);
}

/* Handles of per-sequence states in `array`: from host numbers, or NaN. NULL when there are none.
 */
static const hy__tensor *states_new(op_bench *bench, const task *t, hy__tensor *array,
                                    const double *host) {
    const int64_t size = t->s.n_head * t->s.head_dim * t->s.d_state;
    for (int64_t i = 0; i < t->rows.n_seq; i++) {
        array[i] = (hy__tensor){0};
        if (carries(t, i))
            array[i] = host ? op_put(bench, host + i * size, size) : op_nan(bench, size);
    }
    return t->s.states == STATES_NULL ? NULL : array;
}

static void states_get(op_bench *bench, const task *t, const hy__tensor *array, double *host) {
    const int64_t size = t->s.n_head * t->s.head_dim * t->s.d_state;
    for (int64_t i = 0; i < t->rows.n_seq; i++)
        if (carries(t, i)) op_get(bench, host + i * size, array[i], size);
}

static hy__tensor sum_new(op_bench *bench, int64_t n) {
    double *start = malloc((size_t)n * sizeof *start);
    for (int64_t i = 0; i < n; i++) start[i] = SUM_START;
    const hy__tensor t = op_put(bench, start, n);
    free(start);
    return t;
}

static void backward(op_bench *bench, const task *t, hy__ssd_args *a, result *r) {
    hy__tensor dstate_in[SEQ_MAX], dstate_out[SEQ_MAX];
    const int64_t N = t->rows.n_row;
    const columns dx = columns_new(bench, t), ddt = dt_new(bench, t);
    a->dy = op_put(bench, t->in[DY], t->n_in[DY]);
    a->dx = dx.part[0], a->db = dx.part[1], a->dc = dx.part[2], a->lddx = dx.ld;
    a->ddt = ddt.part[0];
    a->da_log = sum_new(bench, t->s.n_head);
    a->dd = sum_new(bench, t->s.n_head);
    a->ddt_bias = sum_new(bench, t->s.n_head);
    a->dstate_out = states_new(bench, t, dstate_out, t->in[DSTATE_OUT]);
    a->dstate_in = states_new(bench, t, dstate_in, NULL);
    bench->be->kernels.ssd_backward(bench->be, a);
    columns_copy(bench, &dx, &r->out[DX], N, false);
    dt_copy(bench, &ddt, r->out[DDT], N, false);
    const hy__tensor sum[3] = {a->da_log, a->dd, a->ddt_bias};
    for (int i = 0; i < 3; i++) {
        op_get(bench, r->out[DA_LOG + i], sum[i], t->s.n_head);
        for (int64_t h = 0; h < t->s.n_head; h++) r->out[DA_LOG + i][h] -= SUM_START;
    }
    states_get(bench, t, dstate_in, r->out[DSTATE_IN]);
}

/* Forward, with the backward when `train` (else chunk_state is absent, as in inference). The state
 * is updated in place, as a session does. */
static void run(op_bench *bench, const task *t, bool train, result *r) {
    hy__tensor state[SEQ_MAX];
    const int64_t N = t->rows.n_row, size = t->s.n_head * t->s.head_dim * t->s.d_state;
    hy__rows rows = t->rows;
    rows.seq = t->s.seq;
    const columns x = columns_new(bench, t), dt = dt_new(bench, t);
    columns_copy(bench, &x, &t->in[X], N, true);
    dt_copy(bench, &dt, t->in[DT], N, true);
    hy__ssd_args a = {
        .y = op_nan(bench, t->n_out[Y]),
        .x = x.part[0],
        .b = x.part[1],
        .c = x.part[2],
        .dt = dt.part[0],
        .a_log = op_put(bench, t->in[A_LOG], t->s.n_head),
        .d = op_put(bench, t->in[D], t->s.n_head),
        .dt_bias = op_put(bench, t->in[DT_BIAS], t->s.n_head),
        .rows = &rows,
        .n_head = t->s.n_head,
        .head_dim = t->s.head_dim,
        .d_state = t->s.d_state,
        .n_group = t->s.n_group,
        .chunk = t->s.chunk,
        .ldx = x.ld,
        .lddt = dt.ld,
        .prec = t->s.prec,
    };
    if (train)
        a.chunk_state = op_nan(bench, hy__rows_units(&rows, HY__SSD_KEPT * t->s.chunk) * size);
    a.state_in = a.state_out = states_new(bench, t, state, t->in[STATE_IN]);
    bench->be->kernels.ssd(bench->be, &a);
    op_get(bench, r->out[Y], a.y, t->n_out[Y]);
    states_get(bench, t, state, r->out[STATE_OUT]);
    if (train) backward(bench, t, &a, r);
    op_clear(bench);
}

static void run_on(const char *backend, int n_thread, const task *t, bool train, result *r) {
    op_bench bench;
    op_open(&bench, backend, n_thread);
    run(&bench, t, train, r);
    op_close(&bench);
}

static void expect_close(const char *backend, const task *t, const result *want, const result *got,
                         bool train) {
    const double exact = strcmp(backend, "ref64") == 0 ? 1e-9 : 1;
    for (int i = 0; i < (train ? N_OUT : DX); i++) {
        const double fp32 = i < DX ? TOL_FORWARD : TOL_BACKWARD;
        const double bf16 = i >= DA_LOG && i <= DDT_BIAS ? TOL_BF16_PARAM : TOL_BF16;
        op_expect(OUT_NAME[i], backend, want->out[i], got->out[i], t->n_out[i],
                  exact * (t->s.prec == HY__PREC_BF16 ? bf16 : fp32));
    }
}

/* ---- the reference against finite differences ----------------------------------------------- */

typedef struct loss {
    op_bench bench;
    task *t;
    result r;
} loss;

/* <y, dy> + <state_out, dstate_out> */
static double loss_of(void *user) {
    loss *l = user;
    run(&l->bench, l->t, false, &l->r);
    double sum = 0;
    for (int64_t i = 0; i < l->t->n_out[Y]; i++) sum += l->r.out[Y][i] * l->t->in[DY][i];
    for (int64_t i = 0; i < l->t->n_out[STATE_OUT]; i++)
        sum += l->r.out[STATE_OUT][i] * l->t->in[DSTATE_OUT][i];
    return sum;
}

static void test_reference_gradient(void **unused) {
    (void)unused;
    const shape s = {.n_head = 4,
                     .head_dim = 3,
                     .d_state = 5,
                     .n_group = 2,
                     .chunk = 16,
                     .pad = 3,
                     .seq = {{.len = 1, .pos = 0}, {.len = 20, .pos = 13}, {.len = 4, .pos = 32}}};
    task t = task_new(&s, 1);
    loss l = {.t = &t, .r = result_new(&t)};
    result got = result_new(&t);
    op_open(&l.bench, "ref64", 1);
    run(&l.bench, &t, true, &got);
    for (int i = X; i <= STATE_IN; i++) {
        double *want = malloc((size_t)t.n_in[i] * sizeof *want);
        /* The difference errs by h² and by 1e-16/h: 1e-4 leaves about 1e-8 of the largest slope. */
        for (int64_t j = 0; j < t.n_in[i]; j++) want[j] = op_slope(loss_of, &l, &t.in[i][j], 1e-4);
        op_expect(OUT_NAME[DX + i], "ref64", want, got.out[DX + i], t.n_in[i], 1e-6);
        free(want);
    }
    op_close(&l.bench);
    result_free(&got);
    result_free(&l.r);
    task_free(&t);
}

/* ---- every backend against the reference ---------------------------------------------------- */

static const shape SHAPES[] = {
    /* the common one: 64 wide, whole chunks */
    {.n_head = 2,
     .head_dim = 64,
     .d_state = 128,
     .n_group = 1,
     .chunk = 64,
     .seq = {{.len = 257, .pos = 0}}},
    /* ragged: every length around a chunk, positions inside chunks */
    {.n_head = 4,
     .head_dim = 32,
     .d_state = 32,
     .n_group = 2,
     .chunk = 64,
     .pad = 5,
     .seq = {{.len = 1, .pos = 0},
             {.len = 2, .pos = 63},
             {.len = 63, .pos = 7},
             {.len = 64, .pos = 128},
             {.len = 65, .pos = 31},
             {.len = 257, .pos = 1}}},
    {.n_head = 6,
     .head_dim = 16,
     .d_state = 16,
     .n_group = 2,
     .chunk = 16,
     .states = STATES_ODD,
     .seq = {{.len = 165, .pos = 15},
             {.len = 1, .pos = 3},
             {.len = 64, .pos = 16},
             {.len = 2, .pos = 0},
             {.len = 63, .pos = 1000005}}},
    /* nothing fills a vector */
    {.n_head = 3,
     .head_dim = 7,
     .d_state = 13,
     .n_group = 1,
     .chunk = 16,
     .pad = 1,
     .states = STATES_NULL,
     .seq = {{.len = 33, .pos = 0}, {.len = 31, .pos = 9}}},
    /* one head: its columns are shared among the threads */
    {.n_head = 1,
     .head_dim = 40,
     .d_state = 24,
     .n_group = 1,
     .chunk = 64,
     .pad = 2,
     .seq = {{.len = 257, .pos = 60}, {.len = 1, .pos = 5}}},
    {.n_head = 5,
     .head_dim = 64,
     .d_state = 64,
     .n_group = 5,
     .chunk = 48,
     .seq = {{.len = 100, .pos = 47}, {.len = 50, .pos = 0}}},
    /* decode: several sequences, one token each */
    {.n_head = 4,
     .head_dim = 64,
     .d_state = 128,
     .n_group = 2,
     .chunk = 64,
     .pad = 4,
     .seq = {{.len = 1, .pos = 0}, {.len = 1, .pos = 64}, {.len = 1, .pos = 130}}},
    {.n_head = 1,
     .head_dim = 9,
     .d_state = 5,
     .n_group = 1,
     .chunk = 16,
     .seq = {{.len = 3, .pos = 0}, {.len = 1, .pos = 77}}},
};
enum { N_SHAPE = sizeof SHAPES / sizeof *SHAPES };

/* Every backend with `least` to `most` of 1, 2, 3 and 7 threads, training and not, against ref64.
 */
static void judge(const task *t, int least, int most) {
    result want = result_new(t), got = result_new(t);
    run_on("ref64", 1, t, true, &want);
    for (const char *const *name = hy__backend_names(); *name; name++) {
        for (int n_thread = least; n_thread <= most; n_thread += n_thread < 3 ? 1 : 4) {
            run_on(*name, n_thread, t, true, &got);
            expect_close(*name, t, &want, &got, true);
            run_on(*name, n_thread, t, false, &got);
            expect_close(*name, t, &want, &got, false);
        }
    }
    result_free(&got);
    result_free(&want);
}

static void test_backends_agree(void **unused) {
    (void)unused;
    for (int i = 0; i < 2 * N_SHAPE; i++) {
        shape s = SHAPES[i / 2];
        s.prec = i % 2 ? HY__PREC_BF16 : HY__PREC_FP32;
        task t = task_new(&s, 10 + (uint64_t)(i / 2));
        judge(&t, 1, 7);
        task_free(&t);
    }
}

/* ---- any split ------------------------------------------------------------------------------ */

/* Tokens [from, to) of a task of one sequence. The arrays still belong to the whole. */
static task piece_of(const task *t, int64_t from, int64_t to) {
    task p = *t;
    const int64_t n = to - from, N = t->rows.n_row;
    p.s.seq[0] = (hy__seq){.start = 0, .len = n, .pos = t->s.seq[0].pos + from};
    p.rows.n_row = n;
    const int per_token_in[] = {X, B, C, DT, DY}, per_token_out[] = {Y, DX, DB, DC, DDT};
    for (int i = 0; i < 5; i++) {
        const int in = per_token_in[i], out = per_token_out[i];
        p.in[in] = t->in[in] + t->n_in[in] / N * from;
        p.n_in[in] = t->n_in[in] / N * n;
        p.n_out[out] = t->n_out[out] / N * n;
    }
    return p;
}

/* Runs the pieces between cuts (ascending, the first 0, the last the length) forward in order, then
 * again in reverse for the gradients, with states and their gradients handed on. */
static void run_split(op_bench *bench, const task *t, const int64_t *cut, int n_piece, bool train,
                      result *r) {
    const size_t bytes = (size_t)t->n_out[STATE_OUT] * sizeof(double);
    double *state = malloc((size_t)(n_piece + 1) * bytes), *dstate = malloc(bytes);
    memcpy(state, t->in[STATE_IN], bytes);
    memcpy(dstate, t->in[DSTATE_OUT], bytes);
    result one = result_new(t);
    for (int step = 0; step < (train ? 2 : 1) * n_piece; step++) {
        const bool back = step >= n_piece;
        const int i = back ? 2 * n_piece - 1 - step : step;
        task p = piece_of(t, cut[i], cut[i + 1]);
        p.in[STATE_IN] = state + i * t->n_out[STATE_OUT];
        p.in[DSTATE_OUT] = dstate;
        run(bench, &p, back, &one);
        memcpy(state + (i + 1) * t->n_out[STATE_OUT], one.out[STATE_OUT], bytes);
        memcpy(dstate, back ? one.out[DSTATE_IN] : dstate, bytes);
        for (int k = 0; k < (back ? N_OUT : DX); k++) {
            const int64_t N = t->rows.n_row, size = t->n_out[k];
            if (k == STATE_OUT || k == DSTATE_IN) continue;
            if (k >= DA_LOG && k <= DDT_BIAS) {
                for (int64_t j = 0; j < size; j++) r->out[k][j] += one.out[k][j];
            } else {
                memcpy(r->out[k] + size / N * cut[i], one.out[k],
                       (size_t)p.n_out[k] * sizeof(double));
            }
        }
    }
    memcpy(r->out[STATE_OUT], state + n_piece * t->n_out[STATE_OUT], bytes);
    memcpy(r->out[DSTATE_IN], dstate, bytes);
    result_free(&one);
    free(dstate);
    free(state);
}

static void test_split(void **unused) {
    (void)unused;
    enum { LEN = 200, STEPS = 70 };
    const shape s = {.n_head = 3,
                     .head_dim = 32,
                     .d_state = 48,
                     .n_group = 1,
                     .chunk = 64,
                     .seq = {{.len = LEN, .pos = 37}}};
    const int64_t cut[] = {0, 1, 3, 27, 28, 91, 155, 199, LEN};
    int64_t token_by_token[STEPS + 2]; /* decode, then the rest at once */
    for (int i = 0; i <= STEPS; i++) token_by_token[i] = i;
    token_by_token[STEPS + 1] = LEN;
    task t = task_new(&s, 40);
    result want = result_new(&t);
    run_on("ref64", 1, &t, true, &want);
    for (const char *const *name = hy__backend_names(); *name; name++) {
        op_bench bench;
        op_open(&bench, *name, 2);
        result pieces = result_new(&t), steps = result_new(&t);
        run_split(&bench, &t, cut, sizeof cut / sizeof *cut - 1, true, &pieces);
        expect_close(*name, &t, &want, &pieces, true);
        run_split(&bench, &t, token_by_token, STEPS + 1, false, &steps);
        expect_close(*name, &t, &want, &steps, false);
        result_free(&steps);
        result_free(&pieces);
        op_close(&bench);
    }
    result_free(&want);
    task_free(&t);
}

/* ---- what must hold besides ------------------------------------------------------------------ */

/* Equal inputs and threads give equal bits, whatever the timing. */
static void test_repeats(void **unused) {
    (void)unused;
    const shape *s = &SHAPES[1];
    task t = task_new(s, 50);
    result first = result_new(&t), again = result_new(&t);
    for (const char *const *name = hy__backend_names(); *name; name++) {
        for (int n = 0; n < 10; n++) {
            run_on(*name, 2, &t, true, n == 0 ? &first : &again);
            for (int i = 0; n > 0 && i < N_OUT; i++) {
                assert_memory_equal(first.out[i], again.out[i],
                                    (size_t)t.n_out[i] * sizeof(double));
            }
        }
    }
    result_free(&again);
    result_free(&first);
    task_free(&t);
}

/* Steps from 1e-9 to 60 side by side, decays from none to total within a token: nothing may
 * overflow, and what is left of the state must be right. */
static void test_extremes(void **unused) {
    (void)unused;
    const shape s = {.n_head = 4,
                     .head_dim = 16,
                     .d_state = 32,
                     .n_group = 1,
                     .chunk = 64,
                     .seq = {{.len = 200, .pos = 11}}};
    task t = task_new(&s, 60);
    const double a_log[] = {-12, 0, 3, 9};
    for (int64_t h = 0; h < s.n_head; h++) t.in[A_LOG][h] = a_log[h], t.in[DT_BIAS][h] = 0;
    for (int64_t i = 0; i < t.n_in[DT]; i++) {
        t.in[DT][i] *= 4;
        if (i % 7 == 0) t.in[DT][i] = -20;
        if (i % 7 == 3) t.in[DT][i] = -10; /* a decay of 0.7 after one of e^-10000 */
        if (i % 61 == 0) t.in[DT][i] = 60;
    }
    judge(&t, 2, 2);
    task_free(&t);
}

/* Errors do not grow with the length, not even when the state hardly decays. */
static void test_long_sequence(void **unused) {
    (void)unused;
    const shape s = {.n_head = 2,
                     .head_dim = 16,
                     .d_state = 16,
                     .n_group = 1,
                     .chunk = 64,
                     .seq = {{.len = 8192, .pos = 0}}};
    task t = task_new(&s, 70);
    t.in[A_LOG][0] = -6; /* half-life of about two thousand tokens */
    judge(&t, 2, 2);
    task_free(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_gradient),
        cmocka_unit_test(test_backends_agree),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_repeats),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_long_sequence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
