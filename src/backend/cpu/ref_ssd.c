/* ref_ssd.c: the state-space recurrence (Mamba-2, arXiv 2405.21060) token by token, and its exact
 * backward by the adjoint recurrence. The specification that every other ssd is judged by.
 *
 * Per sequence and head, s[P,N] and its adjoint λ[P,N] (g the head's group):
 *   Δ = softplus(dt + bias), A = -exp(a_log), α = exp(ΔA)
 *   s_t = α s_{t-1} + Δ x_t ⊗ b_t           y_t = s_t c_t + D x_t
 *   λ_t = α_{t+1} λ_{t+1} + dy_t ⊗ c_t      dc_t = s_tᵀ dy_t, dx_t = Δ λ_t b_t + D dy_t,
 *   db_t = Δ λ_tᵀ x_t, dΔ_t = x_tᵀ λ_t b_t + A dα_t, with dα_t = α <λ_t, s_{t-1}>
 * The backward recomputes the states from one kept state to the next from chunk_state, the only
 * thing it needs of the forward: state_in may have been overwritten since. */
#include "backend/cpu/ref.h"

/* One head of one sequence's piece; ld… are row distances. */
typedef struct head {
    const hy__ssd_args *a;
    int64_t h, seq, first, len, pos; /* head, sequence, first row, tokens, position */
    int64_t unit0;                   /* the piece's first kept state in the batch's numbering */
    int64_t ldx, ldb, lddt, lddx, lddb;
    double A;
} head;

/* Tokens from one kept state to the next. */
static int64_t kept_span(const hy__ssd_args *a) {
    return HY__SSD_KEPT * a->chunk;
}

static head head_of(const hy__ssd_args *a, int64_t seq, int64_t unit0, int64_t h) {
    const hy__seq *q = &a->rows->seq[seq];
    const int64_t wide = a->n_head * a->head_dim, narrow = a->n_group * a->d_state;
    return (head){
        .a = a,
        .h = h,
        .seq = seq,
        .first = q->start,
        .len = q->len,
        .pos = q->pos,
        .unit0 = unit0,
        .ldx = a->ldx ? a->ldx : wide,
        .ldb = a->ldx ? a->ldx : narrow,
        .lddx = a->lddx ? a->lddx : wide,
        .lddb = a->lddx ? a->lddx : narrow,
        .lddt = a->lddt ? a->lddt : a->n_head,
        .A = -exp((double)((const real *)hy__ptr(a->a_log))[h]),
    };
}

/* Addresses of the head's part of row t of the piece. */
static real *wide_at(hy__tensor x, const head *q, int64_t t, int64_t ld) {
    return (real *)hy__ptr(x) + (q->first + t) * ld + q->h * q->a->head_dim;
}
static real *narrow_at(hy__tensor b, const head *q, int64_t t, int64_t ld) {
    const int64_t g = q->h * q->a->n_group / q->a->n_head;
    return (real *)hy__ptr(b) + (q->first + t) * ld + g * q->a->d_state;
}
static real *dt_at(hy__tensor dt, const head *q, int64_t t) {
    return (real *)hy__ptr(dt) + (q->first + t) * q->lddt + q->h;
}
static real *param_at(hy__tensor p, const head *q) {
    return (real *)hy__ptr(p) + q->h;
}

/* The head's matrix in a state of sequence q, or NULL. */
static real *state_at(const hy__tensor *state, const head *q) {
    real *s = hy__ptr_of(state, q->seq);
    return s ? s + q->h * q->a->head_dim * q->a->d_state : NULL;
}
static real *chunk_at(const head *q, int64_t unit) {
    real *s = hy__ptr(q->a->chunk_state);
    return s ? s + ((q->unit0 + unit) * q->a->n_head + q->h) * q->a->head_dim * q->a->d_state
             : NULL;
}

static real delta_at(const head *q, int64_t t) {
    return ref_softplus(*dt_at(q->a->dt, q, t) + *param_at(q->a->dt_bias, q));
}

/* next = α s + Δ x_t ⊗ b_t; they may be the same memory. */
static void advance(const head *q, int64_t t, real *next, const real *s) {
    const int64_t P = q->a->head_dim, N = q->a->d_state;
    const real delta = delta_at(q, t), alpha = (real)exp((double)delta * q->A);
    const real *x = wide_at(q->a->x, q, t, q->ldx), *b = narrow_at(q->a->b, q, t, q->ldb);
    for (int64_t p = 0; p < P; p++)
        for (int64_t n = 0; n < N; n++)
            next[p * N + n] = alpha * s[p * N + n] + delta * x[p] * b[n];
}

static void output(const head *q, int64_t t, const real *s) {
    const int64_t P = q->a->head_dim, N = q->a->d_state;
    const real d = *param_at(q->a->d, q);
    const real *x = wide_at(q->a->x, q, t, q->ldx), *c = narrow_at(q->a->c, q, t, q->ldb);
    real *y = wide_at(q->a->y, q, t, q->a->n_head * P);
    for (int64_t p = 0; p < P; p++) {
        real sum = d * x[p];
        for (int64_t n = 0; n < N; n++) sum += s[p * N + n] * c[n];
        y[p] = sum;
    }
}

static void load(real *s, const real *from, size_t size) {
    if (from) {
        memcpy(s, from, size);
    } else {
        memset(s, 0, size);
    }
}

static void head_forward(const head *q, real *s) {
    const size_t size = (size_t)(q->a->head_dim * q->a->d_state) * sizeof *s;
    load(s, state_at(q->a->state_in, q), size);
    for (int64_t t = 0; t < q->len; t++) {
        const int64_t span = kept_span(q->a), unit = (q->pos % span + t) / span;
        real *keep = t == 0 || (q->pos + t) % span == 0 ? chunk_at(q, unit) : NULL;
        if (keep) memcpy(keep, s, size);
        advance(q, t, s, s);
        output(q, t, s);
    }
    real *out = state_at(q->a->state_out, q);
    if (out) memcpy(out, s, size);
}

static void ssd(hy__backend *be, const hy__ssd_args *a) {
    real *s = hy__scratch(be, hy__tensor_bytes(be->real, a->head_dim * a->d_state));
    if (!s) return;
    int64_t unit0 = 0;
    for (int64_t i = 0; i < a->rows->n_seq; i++) {
        for (int64_t h = 0; h < a->n_head; h++) {
            const head q = head_of(a, i, unit0, h);
            head_forward(&q, s);
        }
        unit0 += hy__seq_units(&a->rows->seq[i], kept_span(a));
    }
}

/* One token: λ arrives as ∂/∂s_t from later tokens and leaves as ∂/∂s_{t-1}. */
static void token_backward(const head *q, int64_t t, const real *s_before, const real *s,
                           real *lambda) {
    const hy__ssd_args *a = q->a;
    const int64_t P = a->head_dim, N = a->d_state;
    const real delta = delta_at(q, t), alpha = (real)exp((double)delta * q->A);
    const real d = *param_at(a->d, q);
    const real *x = wide_at(a->x, q, t, q->ldx), *dy = wide_at(a->dy, q, t, a->n_head * P);
    const real *b = narrow_at(a->b, q, t, q->ldb), *c = narrow_at(a->c, q, t, q->ldb);
    real *dx = wide_at(a->dx, q, t, q->lddx);
    real *db = narrow_at(a->db, q, t, q->lddb), *dc = narrow_at(a->dc, q, t, q->lddb);
    real ddelta = 0, dlog_alpha = 0, dd = 0; /* dlog_alpha = ∂/∂(ΔA) */
    for (int64_t p = 0; p < P; p++) {
        real lambda_b = 0;
        for (int64_t n = 0; n < N; n++) {
            real *l = &lambda[p * N + n];
            *l += dy[p] * c[n];
            dc[n] += dy[p] * s[p * N + n];
            db[n] += delta * x[p] * *l;
            lambda_b += *l * b[n];
            dlog_alpha += alpha * *l * s_before[p * N + n];
            *l *= alpha;
        }
        dx[p] = d * dy[p] + delta * lambda_b;
        ddelta += x[p] * lambda_b;
        dd += dy[p] * x[p];
    }
    const real A = (real)q->A;
    const real ddt =
        (ddelta + A * dlog_alpha) * ref_sigmoid(*dt_at(a->dt, q, t) + *param_at(a->dt_bias, q));
    *dt_at(a->ddt, q, t) = ddt;
    *param_at(a->ddt_bias, q) += ddt;
    *param_at(a->da_log, q) += A * delta * dlog_alpha; /* dA/da_log = A */
    *param_at(a->dd, q) += dd;
}

/* s: room for kept_span + 1 states, lambda: for one. */
static void head_backward(const head *q, real *s, real *lambda) {
    const int64_t C = kept_span(q->a), size = q->a->head_dim * q->a->d_state;
    load(lambda, state_at(q->a->dstate_out, q), (size_t)size * sizeof *lambda);
    for (int64_t unit = hy__seq_units(&q->a->rows->seq[q->seq], C) - 1; unit >= 0; unit--) {
        const int64_t start = unit * C - q->pos % C; /* of the span, in tokens of the piece */
        const int64_t from = start > 0 ? start : 0, to = start + C < q->len ? start + C : q->len;
        memcpy(s, chunk_at(q, unit), (size_t)size * sizeof *s);
        for (int64_t t = from; t < to; t++)
            advance(q, t, s + (t - from + 1) * size, s + (t - from) * size);
        for (int64_t t = to - 1; t >= from; t--)
            token_backward(q, t, s + (t - from) * size, s + (t - from + 1) * size, lambda);
    }
    real *out = state_at(q->a->dstate_in, q);
    if (out) memcpy(out, lambda, (size_t)size * sizeof *lambda);
}

static void ssd_backward(hy__backend *be, const hy__ssd_args *a) {
    const int64_t size = a->head_dim * a->d_state;
    real *lambda = hy__scratch(be, hy__tensor_bytes(be->real, (kept_span(a) + 2) * size));
    real *s = lambda + size;
    if (!lambda) return;
    const size_t narrow = (size_t)(a->n_group * a->d_state) * sizeof(real);
    int64_t unit0 = 0;
    for (int64_t i = 0; i < a->rows->n_seq; i++) {
        const head q0 = head_of(a, i, unit0, 0);
        for (int64_t t = 0; t < q0.len; t++) { /* the heads of a group add into these */
            memset(narrow_at(a->db, &q0, t, q0.lddb), 0, narrow);
            memset(narrow_at(a->dc, &q0, t, q0.lddb), 0, narrow);
        }
        for (int64_t h = 0; h < a->n_head; h++) {
            const head q = head_of(a, i, unit0, h);
            head_backward(&q, s, lambda);
        }
        unit0 += hy__seq_units(&a->rows->seq[i], kept_span(a));
    }
}

void HY__REF(hy__ref_ssd)(hy__kernels *k) {
    k->ssd = ssd;
    k->ssd_backward = ssd_backward;
}
