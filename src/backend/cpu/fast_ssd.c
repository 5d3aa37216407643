/* fast_ssd.c: state-space duality in its chunked form (Mamba-2, arXiv 2405.21060, section 6).
 *
 * Tokens t, s of one chunk of n tokens, state S[N,P] before it and S' after it, one head, with
 * cum_t = Σ_{r<=t} Δ_r A inside the chunk (falling, so every exponent below is <= 0):
 *   in_t = e^{cum_t}, out_t = e^{cum_n - cum_t}, L_ts = e^{cum_t - cum_s} for s <= t, else 0
 *   y_t = in_t c_t S + Σ_s (c_t·b_s) L_ts Δ_s x_s + D x_t         S' = e^{cum_n} S + Σ_s out_s Δ_s
 * b_s ⊗ x_s so that all work is products of [n,n], [n,N], [n,P] and [N,P] matrices. Backward, with
 * V = ∂y and λ = ∂S', in reverse over the chunks, from the S that the forward kept in chunk_state:
 *   Q_ts = V_t·x_s, E_ts = Q_ts (c_t·b_s) L_ts
 *   dx_s = D V_s + Δ_s (out_s b_s λ + Σ_t (c_t·b_s) L_ts V_t)      ∂S = e^{cum_n} λ + Σ_t in_t c_t
 * ⊗ V_t dc_t = in_t S V_t + Σ_s Q_ts L_ts Δ_s b_s                      db_s = Δ_s (out_s λ x_s +
 * Σ_t Q_ts L_ts c_t) d(Δ_t A) = Σ_{u>=t>s} E_us Δ_s + Σ_{u>=t} in_u c_u S V_u + Σ_{s<t} out_s Δ_s
 * b_s λ x_s + e^{cum_n} <λ,S> The first term of the last line is summed as it stands, not as a
 * difference of row and column sums, which would cancel where the decay is fast.
 *
 * Few tokens without chunk_state (decode) take the recurrence instead.
 *
 * Threads: a lane is a head, or a slice of a head's P columns when there are too few heads. Thread
 * i owns the same lanes of every sequence and walks all chunks with its states in the caches;
 * c_t·b_s is computed once for the lanes of a group that a thread owns. db and dc are sums over
 * lanes: after each chunk the threads' parts are added in the threads' order. */
#include "backend/cpu/simd.h"

enum {
    FEW_TOKENS = 8,   /* up to here the recurrence is faster than the chunk's transpositions */
    TILE = 2 * MM_MR, /* rows of a triangular product that share one inner length */
    MIN_SLICE = 16,   /* columns of the narrowest lane */
};

typedef struct dims {
    int64_t n_head, P, N, n_group, chunk;
    int64_t ldx, ldb, lddt, lddx, lddb, ldy; /* row distances of the arguments */
    int64_t ldc;                             /* of [., chunk] tiles: whole vectors */
    int64_t width, n_slice, n_lane;          /* columns of a lane, lanes of a head, lanes */
} dims;

static int64_t round_up(int64_t n, int64_t to) {
    return (n + to - 1) / to * to;
}

static dims dims_of(const hy__ssd_args *a, int n_thread) {
    const int64_t wide = a->n_head * a->head_dim, narrow = a->n_group * a->d_state;
    dims d = {
        .n_head = a->n_head,
        .P = a->head_dim,
        .N = a->d_state,
        .n_group = a->n_group,
        .chunk = a->chunk,
        .ldx = a->ldx ? a->ldx : wide,
        .ldb = a->ldx ? a->ldx : narrow,
        .lddx = a->lddx ? a->lddx : wide,
        .lddb = a->lddx ? a->lddx : narrow,
        .lddt = a->lddt ? a->lddt : a->n_head,
        .ldy = wide,
        .ldc = round_up(a->chunk, VL),
        .width = a->head_dim,
        .n_slice = 1,
    };
    /* Halve the lanes until the busiest thread has at most an eighth more than its share. */
    while (d.width >= 2 * MIN_SLICE) {
        const int64_t n_lane = d.n_head * d.n_slice, most = (n_lane + n_thread - 1) / n_thread;
        if (8 * most * n_thread <= 9 * n_lane) break;
        d.width = round_up(d.width / 2, MIN_SLICE);
        d.n_slice = (d.P + d.width - 1) / d.width;
    }
    d.n_lane = d.n_head * d.n_slice;
    return d;
}

typedef struct lane {
    int64_t head, group, p0, width; /* columns [p0, p0 + width) of the head */
    float A, D, dt_bias;
} lane;

static lane lane_of(const dims *d, const hy__ssd_args *a, int64_t l) {
    lane q = {.head = l / d->n_slice, .p0 = l % d->n_slice * d->width};
    q.group = q.head * d->n_group / d->n_head;
    q.width = d->P - q.p0 < d->width ? d->P - q.p0 : d->width;
    q.A = (float)-exp((double)((const float *)hy__ptr(a->a_log))[q.head]);
    q.D = ((const float *)hy__ptr(a->d))[q.head];
    q.dt_bias = ((const float *)hy__ptr(a->dt_bias))[q.head];
    return q;
}

/* The tokens of one sequence in one chunk. */
typedef struct piece {
    int64_t row, n, unit; /* first row, tokens, number of the chunk in the batch */
} piece;

static piece piece_of(const dims *d, const hy__seq *s, int64_t unit0, int64_t u) {
    const int64_t start = u * d->chunk - s->pos % d->chunk;
    const int64_t from = start > 0 ? start : 0;
    const int64_t to = start + d->chunk < s->len ? start + d->chunk : s->len;
    return (piece){.row = s->start + from, .n = to - from, .unit = unit0 + u};
}

/* A thread's scratch. [n,N] means chunk rows of N, [N,n] rows of ldc. */
typedef struct work {
    float *b, *c, *bt, *ct;                 /* [n,N] and transposed [N,n] of one group */
    float *g;                               /* [n,n] c_t·b_s */
    float *m;                               /* [n,n] (c_t·b_s) L_ts Δ_s */
    float *x, *xw;                          /* [n,width] x, and x weighted by out Δ */
    float *raw, *delta, *hi, *lo;           /* [n] dt + bias, Δ, cum = hi + lo */
    float *in, *out, *weight;               /* [n], weight = out Δ */
    float *v, *xt, *vt;                     /* backward: [n,width], [width,n] */
    float *q, *dg;                          /* [n,n] V_t·x_s, gradient of g summed over lanes */
    float *z, *dbt, *dct;                   /* [N,n] */
    float *col, *rect, *from_in, *from_out; /* [n] see mask_backward, through_state */
    float *part;                            /* [n_group,2,n,N] this thread's share of db, dc */
} work;

/* What lanes keep over the chunks of a sequence, for all lanes. */
typedef struct lanes {
    float *state; /* [n_lane,N,width] S or λ */
    float *ddt;   /* [n_lane,n] */
    double *sum;  /* [n_lane,3] of ∂A, ∂D, ∂dt_bias */
} lanes;

/* The next n floats of a block that starts at base; with base NULL only counts. */
static void *take(char *base, size_t *used, int64_t n) {
    void *p = base ? base + *used : NULL;
    *used += hy__tensor_bytes(HY__DTYPE_F32, n);
    return p;
}

static size_t work_layout(work *w, char *base, const dims *d, bool backward) {
    size_t used = 0;
    const int64_t nN = d->chunk * d->N, Nn = d->N * d->ldc, nn = d->chunk * d->ldc;
    const int64_t nP = d->chunk * d->width, Pn = d->width * d->ldc;
    *w = (work){0};
    w->b = take(base, &used, nN);
    w->c = take(base, &used, nN);
    w->bt = take(base, &used, Nn);
    w->g = take(base, &used, nn);
    w->m = take(base, &used, nn);
    w->x = take(base, &used, nP);
    w->xw = take(base, &used, nP);
    float **const token[] = {&w->raw,    &w->delta, &w->hi,   &w->lo,      &w->in,      &w->out,
                             &w->weight, &w->col,   &w->rect, &w->from_in, &w->from_out};
    for (size_t i = 0; i < sizeof token / sizeof *token; i++) *token[i] = take(base, &used, d->ldc);
    if (!backward) return used;
    w->ct = take(base, &used, Nn);
    w->v = take(base, &used, nP);
    w->xt = take(base, &used, Pn);
    w->vt = take(base, &used, Pn);
    w->q = take(base, &used, nn);
    w->dg = take(base, &used, nn);
    w->z = take(base, &used, Nn);
    w->dbt = take(base, &used, Nn);
    w->dct = take(base, &used, Nn);
    w->part = take(base, &used, 2 * d->n_group * nN);
    return used;
}

static size_t lanes_layout(lanes *s, char *base, const dims *d) {
    size_t used = 0;
    s->state = take(base, &used, d->n_lane * d->N * d->width);
    s->ddt = take(base, &used, d->n_lane * d->ldc);
    s->sum = take(base, &used, d->n_lane * 3 * (int64_t)(sizeof(double) / sizeof(float)));
    return used;
}

/* All scratch of a call: a part for each thread, then what they share. */
typedef struct scratch {
    char *base;
    size_t per_thread;
    lanes lanes;
} scratch;

static scratch scratch_new(hy__backend *be, const dims *d, bool backward) {
    scratch s;
    work w;
    s.per_thread = work_layout(&w, NULL, d, backward);
    const size_t shared = lanes_layout(&s.lanes, NULL, d), n = (size_t)be->n_thread;
    const size_t share = (shared / n + HY__ALIGN) / HY__ALIGN * HY__ALIGN;
    s.base = hy__scratch(be, s.per_thread + share);
    lanes_layout(&s.lanes, s.base + n * s.per_thread, d);
    return s;
}

static work work_of(const scratch *s, const dims *d, int thread, bool backward) {
    work w;
    work_layout(&w, hy__scratch_of(s->base, s->per_thread, thread), d, backward);
    return w;
}

/* ---- what both directions share ------------------------------------------------------------- */

/* log(1 + e^x) = max(x, 0) + 2 artanh(u / (2 + u)), u = e^-|x|: the series in z² <= 1/9 ends below
 * 2e-8, and small values keep their relative precision. */
INLINE vf vf_softplus(vf x) {
    const vf u = vf_exp(-vf_max(x, -x)), z = u / (2.0f + u), zz = z * z;
    vf p = vf_set(1.0f / 13);
    p = p * zz + 1.0f / 11;
    p = p * zz + 1.0f / 9;
    p = p * zz + 1.0f / 7;
    p = p * zz + 1.0f / 5;
    p = p * zz + 1.0f / 3;
    p = p * zz + 1.0f;
    return vf_max(x, vf_set(0.0f)) + 2.0f * z * p;
}

/* dt + bias of a chunk, its Δ, and the decays. cum is kept in two floats: with a fast decay it is
 * large, and the small differences between neighbours are what counts. */
static void decay(const work *w, const dims *d, const hy__ssd_args *a, const piece *q,
                  const lane *l) {
    const float *dt = (const float *)hy__ptr(a->dt) + q->row * d->lddt + l->head;
    for (int64_t t = 0; t < d->ldc; t++) w->raw[t] = t < q->n ? dt[t * d->lddt] + l->dt_bias : 0;
    for (int64_t t = 0; t < q->n; t += VL) vf_store(w->delta + t, vf_softplus(vf_load(w->raw + t)));
    double cum = 0;
    for (int64_t t = 0; t < q->n; t++) {
        cum += (double)w->delta[t] * (double)l->A;
        w->hi[t] = (float)cum;
        w->lo[t] = (float)(cum - (double)w->hi[t]);
    }
    const float end_hi = w->hi[q->n - 1], end_lo = w->lo[q->n - 1];
    for (int64_t t = 0; t < q->n; t += VL) {
        const vf hi = vf_load(w->hi + t), lo = vf_load(w->lo + t);
        vf_store(w->in + t, vf_exp(hi));
        const vf out = vf_exp((end_hi - hi) + (end_lo - lo));
        vf_store(w->out + t, out);
        vf_store(w->weight + t, out * vf_load(w->delta + t));
    }
}

/* L_ts of one row t for the columns s..s+VL; not masked. */
INLINE vf decay_between(const work *w, int64_t t, int64_t s) {
    return vf_exp((w->hi[t] - vf_load(w->hi + s)) + (w->lo[t] - vf_load(w->lo + s)));
}

/* s + i <= t */
INLINE vi up_to(int64_t s, int64_t t) {
    static const int32_t index[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return *(const vi *)index <= (int32_t)(t - s);
}

/* b, c of a group's chunk, bt and g = c bᵀ. */
static void load_group(const work *w, const dims *d, const hy__ssd_args *a, const piece *q,
                       int64_t group) {
    const float *b = (const float *)hy__ptr(a->b) + q->row * d->ldb + group * d->N;
    const float *c = (const float *)hy__ptr(a->c) + q->row * d->ldb + group * d->N;
    for (int64_t t = 0; t < q->n; t++) {
        memcpy(w->b + t * d->N, b + t * d->ldb, (size_t)d->N * sizeof *b);
        memcpy(w->c + t * d->N, c + t * d->ldb, (size_t)d->N * sizeof *c);
    }
    mat_transpose(w->bt, d->ldc, w->b, d->N, q->n, d->N);
    mm(q->n, round_up(q->n, VL), d->N, w->c, d->N, 1, w->bt, d->ldc, w->g, d->ldc, false);
}

/* A lane's columns of a state [H,P,N] into s[N,width] (zero when there is none), and back. */
static void state_load(float *s, const dims *d, const lane *l, const float *state) {
    if (state) {
        mat_transpose(s, l->width, state + (l->head * d->P + l->p0) * d->N, d->N, l->width, d->N);
    } else {
        memset(s, 0, (size_t)(d->N * l->width) * sizeof *s);
    }
}
static void state_store(const float *s, const dims *d, const lane *l, float *state) {
    if (state)
        mat_transpose(state + (l->head * d->P + l->p0) * d->N, d->N, s, l->width, d->N, l->width);
}

/* A lane's columns of the kept state [N,P] of a chunk and head, row distance P. */
static float *kept_state(const dims *d, const hy__ssd_args *a, const piece *q, const lane *l) {
    float *kept = hy__ptr(a->chunk_state);
    return kept ? kept + (q->unit * d->n_head + l->head) * d->N * d->P + l->p0 : NULL;
}

/* ---- forward -------------------------------------------------------------------------------- */

/* m = g ∘ L ∘ Δ, zero above the diagonal within each tile of rows. */
static void mask_forward(const work *w, const dims *d, int64_t n) {
    for (int64_t t = 0; t < n; t++) {
        const int64_t end = t - t % TILE + TILE < n ? t - t % TILE + TILE : n;
        for (int64_t s = 0; s < end; s += VL) {
            const vf m =
                vf_load(w->g + t * d->ldc + s) * decay_between(w, t, s) * vf_load(w->delta + s);
            vf_store(w->m + t * d->ldc + s, vf_select(up_to(s, t), m, vf_set(0.0f)));
        }
    }
}

/* One chunk of one lane; state[N,width] is advanced. */
static void chunk_forward(const work *w, const dims *d, const hy__ssd_args *a, const piece *q,
                          const lane *l, float *state) {
    const int64_t n = q->n, N = d->N, width = l->width, column = l->head * d->P + l->p0;
    const float *x = (const float *)hy__ptr(a->x) + q->row * d->ldx + column;
    float *y = (float *)hy__ptr(a->y) + q->row * d->ldy + column;
    decay(w, d, a, q, l);
    mm(n, width, N, w->c, N, 1, state, width, y, d->ldy, false);
    for (int64_t t = 0; t < n; t++) {
        const float in = w->in[t], weight = w->weight[t], D = l->D;
        const float *from = x + t * d->ldx;
        float *to = y + t * d->ldy, *copy = w->x + t * width, *weighted = w->xw + t * width;
#pragma omp simd
        for (int64_t p = 0; p < width; p++) {
            copy[p] = from[p];
            weighted[p] = weight * from[p];
            to[p] = in * to[p] + D * from[p];
        }
    }
    mask_forward(w, d, n);
    for (int64_t t = 0; t < n; t += TILE) {
        const int64_t rows = n - t < TILE ? n - t : TILE;
        mm(rows, width, t + rows, w->m + t * d->ldc, d->ldc, 1, w->x, width, y + t * d->ldy, d->ldy,
           true);
    }
    vec_scale(state, w->in[n - 1], N * width);
    mm(N, width, n, w->b, 1, N, w->xw, width, state, width, true);
}

/* Lanes [l0, l1) of one sequence, chunk after chunk. */
static void sequence_forward(const work *w, const lanes *kept, const dims *d, const hy__ssd_args *a,
                             int64_t seq, int64_t unit0, int64_t l0, int64_t l1) {
    const hy__seq *s = &a->rows->seq[seq];
    const int64_t size = d->N * d->width, n_unit = hy__seq_units(s, d->chunk);
    for (int64_t i = l0; i < l1; i++) {
        const lane l = lane_of(d, a, i);
        state_load(kept->state + i * size, d, &l, hy__ptr_of(a->state_in, seq));
    }
    for (int64_t u = 0; u < n_unit; u++) {
        const piece q = piece_of(d, s, unit0, u);
        int64_t group = -1;
        for (int64_t i = l0; i < l1; i++) {
            const lane l = lane_of(d, a, i);
            float *state = kept->state + i * size, *keep = kept_state(d, a, &q, &l);
            if (l.group != group) load_group(w, d, a, &q, group = l.group);
            for (int64_t r = 0; keep && r < d->N; r++)
                memcpy(keep + r * d->P, state + r * l.width, (size_t)l.width * sizeof *state);
            chunk_forward(w, d, a, &q, &l, state);
        }
    }
    for (int64_t i = l0; i < l1; i++) {
        const lane l = lane_of(d, a, i);
        state_store(kept->state + i * size, d, &l, hy__ptr_of(a->state_out, seq));
    }
}

/* One token of one lane: to[width,N] = e^{ΔA} from + Δ x ⊗ b, y = to·c + D x. */
static void token_forward(const dims *d, const hy__ssd_args *a, const lane *l, int64_t row,
                          float *to, const float *from) {
    const int64_t N = d->N, column = l->head * d->P + l->p0;
    const float *x = (const float *)hy__ptr(a->x) + row * d->ldx + column;
    const float *b = (const float *)hy__ptr(a->b) + row * d->ldb + l->group * N;
    const float *c = (const float *)hy__ptr(a->c) + row * d->ldb + l->group * N;
    const float raw = ((const float *)hy__ptr(a->dt))[row * d->lddt + l->head] + l->dt_bias;
    const float delta = vf_softplus(vf_set(raw))[0], alpha = sf_exp(delta * l->A);
    float *y = (float *)hy__ptr(a->y) + row * d->ldy + column;
    for (int64_t p = 0; p < l->width; p++) {
        const float *sp = from + p * N;
        float *tp = to + p * N;
        const float dx = delta * x[p];
        vf sum = {0};
        int64_t n = 0;
        for (; n + VL <= N; n += VL) {
            const vf s = alpha * vf_load(sp + n) + dx * vf_load(b + n);
            vf_store(tp + n, s);
            sum += s * vf_load(c + n);
        }
        float dot = vf_sum(sum);
        for (; n < N; n++) {
            tp[n] = alpha * sp[n] + dx * b[n];
            dot += tp[n] * c[n];
        }
        y[p] = dot + l->D * x[p];
    }
}

/* The same by the recurrence, in the layout of the states. */
static void sequence_recurrent(const lanes *kept, const dims *d, const hy__ssd_args *a, int64_t seq,
                               int64_t l0, int64_t l1) {
    const hy__seq *s = &a->rows->seq[seq];
    const float *in = hy__ptr_of(a->state_in, seq);
    float *out = hy__ptr_of(a->state_out, seq);
    for (int64_t i = l0; i < l1; i++) {
        const lane l = lane_of(d, a, i);
        const int64_t at = (l.head * d->P + l.p0) * d->N;
        float *to = out ? out + at : kept->state + i * d->N * d->width;
        if (!in) memset(to, 0, (size_t)(l.width * d->N) * sizeof *to);
        token_forward(d, a, &l, s->start, to, in ? in + at : to);
        for (int64_t t = 1; t < s->len; t++) token_forward(d, a, &l, s->start + t, to, to);
    }
}

static void ssd(hy__backend *be, const hy__ssd_args *a) {
    const dims d = dims_of(a, be->n_thread);
    const scratch mem = scratch_new(be, &d, false);
#pragma omp parallel num_threads(be->n_thread)
    {
        const int thread = omp_get_thread_num(), n_thread = omp_get_num_threads();
        const work w = work_of(&mem, &d, thread, false);
        const int64_t l0 = d.n_lane * thread / n_thread, l1 = d.n_lane * (thread + 1) / n_thread;
        int64_t unit0 = 0;
        for (int64_t seq = 0; seq < a->rows->n_seq; seq++) {
            const hy__seq *s = &a->rows->seq[seq];
            if (s->len <= FEW_TOKENS && !hy__present(a->chunk_state)) {
                sequence_recurrent(&mem.lanes, &d, a, seq, l0, l1);
            } else {
                sequence_forward(&w, &mem.lanes, &d, a, seq, unit0, l0, l1);
            }
            unit0 += hy__seq_units(s, d.chunk);
        }
    }
}

/* ---- backward ------------------------------------------------------------------------------- */

/* From g and q, tile by tile below the diagonal: m = g ∘ L ∘ Δ, dg += q ∘ L ∘ Δ, and of the strict
 * part of E = q ∘ g ∘ L: col_s = Σ_{t>s} E_ts, rect_t = Σ_{u>=t>s} E_us Δ_s. Rows go backwards, so
 * that col holds Σ_{u>=t} E_us when row t is done. */
static void mask_backward(const work *w, const dims *d, int64_t n) {
    memset(w->col, 0, (size_t)d->ldc * sizeof *w->col);
    for (int64_t t = n - 1; t >= 0; t--) {
        const int64_t end = t - t % TILE + TILE < n ? t - t % TILE + TILE : n;
        const vf zero = {0};
        vf rect = {0};
        for (int64_t s = 0; s < end; s += VL) {
            const int64_t at = t * d->ldc + s;
            const vf g = vf_load(w->g + at), delta = vf_load(w->delta + s);
            const vf L = vf_select(up_to(s, t), decay_between(w, t, s), zero);
            const vf Lq = vf_select(up_to(s, t), L * vf_load(w->q + at), zero);
            vf_store(w->m + at, vf_select(up_to(s, t), g * L * delta, zero));
            vf_store(w->dg + at, vf_load(w->dg + at) + Lq * delta);
            const vi strict = up_to(s, t - 1);
            const vf col = vf_load(w->col + s) + vf_select(strict, Lq * g, zero);
            vf_store(w->col + s, col);
            rect += vf_select(strict, col * delta, zero);
        }
        w->rect[t] = vf_sum(rect);
    }
}

/* What goes through a state: dst[N,n] += scale_t z, and from_t = Σ_n by[n,t] z[n,t]. */
static void through_state(const work *w, const dims *d, int64_t n, float *dst, const float *scale,
                          const float *by, float *from) {
    for (int64_t t = 0; t < n; t += VL) {
        const vf sc = vf_load(scale + t);
        vf sum = {0};
        for (int64_t i = 0; i < d->N; i++) {
            const int64_t at = i * d->ldc + t;
            const vf z = vf_load(w->z + at);
            vf_store(dst + at, vf_load(dst + at) + sc * z);
            sum += vf_load(by + at) * z;
        }
        vf_store(from + t, sum);
    }
}

/* λ[N,width] = e^{cum_n} λ; returns e^{cum_n} <λ, S>. */
static float decay_lambda(float *lambda, const float *state, const dims *d, int64_t width,
                          float scale) {
    float dot = 0;
    for (int64_t i = 0; i < d->N; i++) {
        dot += vec_dot(lambda + i * width, state + i * d->P, width);
        vec_scale(lambda + i * width, scale, width);
    }
    return scale * dot;
}

/* d(Δ_t A) of every token from its four terms, then ddt, and the lane's sums of ∂A, ∂D, ∂dt_bias.
 */
static void steps_backward(const work *w, const dims *d, const lane *l, int64_t n, float whole,
                           float *ddt, double *sum) {
    for (int64_t t = 0; t < n; t += VL) vf_store(w->raw + t, vf_sigmoid(vf_load(w->raw + t)));
    float later = 0, before = 0;
    for (int64_t t = n - 1; t >= 0; t--) {
        later += w->in[t] * w->from_in[t];
        w->rect[t] += later + whole;
    }
    for (int64_t t = 0; t < n; t++) {
        const float q = w->q[t * d->ldc + t], from_out = w->out[t] * w->from_out[t];
        const float dlog = w->rect[t] + before;
        const float ddelta = w->g[t * d->ldc + t] * q + w->col[t] + from_out + l->A * dlog;
        before += w->delta[t] * from_out;
        ddt[t] = ddelta * w->raw[t];
        sum[0] += (double)(w->delta[t] * dlog);
        sum[1] += (double)q;
        sum[2] += (double)ddt[t];
    }
}

/* One chunk of one lane; lambda[N,width] goes from the chunk's end to its start. */
static void chunk_backward(const work *w, const dims *d, const hy__ssd_args *a, const piece *q,
                           const lane *l, float *lambda, float *ddt, double *sum) {
    const int64_t n = q->n, n_pad = round_up(n, VL), N = d->N, width = l->width;
    const int64_t column = l->head * d->P + l->p0;
    const float *x = (const float *)hy__ptr(a->x) + q->row * d->ldx + column;
    const float *dy = (const float *)hy__ptr(a->dy) + q->row * d->ldy + column;
    const float *state = kept_state(d, a, q, l);
    float *dx = (float *)hy__ptr(a->dx) + q->row * d->lddx + column;
    decay(w, d, a, q, l);
    for (int64_t t = 0; t < n; t++) {
        memcpy(w->x + t * width, x + t * d->ldx, (size_t)width * sizeof *x);
        memcpy(w->v + t * width, dy + t * d->ldy, (size_t)width * sizeof *x);
    }
    mat_transpose(w->xt, d->ldc, w->x, width, n, width);
    mat_transpose(w->vt, d->ldc, w->v, width, n, width);
    mm(n, n_pad, width, w->v, width, 1, w->xt, d->ldc, w->q, d->ldc, false);
    mask_backward(w, d, n);

    mm(N, n_pad, width, state, d->P, 1, w->vt, d->ldc, w->z, d->ldc, false);
    through_state(w, d, n, w->dct, w->in, w->ct, w->from_in);
    mm(N, n_pad, width, lambda, width, 1, w->xt, d->ldc, w->z, d->ldc, false);
    through_state(w, d, n, w->dbt, w->weight, w->bt, w->from_out);

    mm(n, width, N, w->b, N, 1, lambda, width, dx, d->lddx, false);
    const float whole = decay_lambda(lambda, state, d, width, w->in[n - 1]);
    for (int64_t t = 0; t < n; t++) {
        const float in = w->in[t], weight = w->weight[t], D = l->D;
        float *to = dx + t * d->lddx, *weighted = w->xw + t * width;
        const float *v = w->v + t * width;
#pragma omp simd
        for (int64_t p = 0; p < width; p++) {
            to[p] = weight * to[p] + D * v[p];
            weighted[p] = in * v[p];
        }
    }
    for (int64_t s = 0; s < n; s += TILE) {
        const int64_t rows = n - s < TILE ? n - s : TILE;
        mm(rows, width, n - s, w->m + s * d->ldc + s, 1, d->ldc, w->v + s * width, width,
           dx + s * d->lddx, d->lddx, true);
    }
    mm(N, width, n, w->c, 1, N, w->xw, width, lambda, width, true);
    steps_backward(w, d, l, n, whole, ddt, sum);
}

static void group_begin(const work *w, const dims *d, const hy__ssd_args *a, const piece *q,
                        int64_t group) {
    load_group(w, d, a, q, group);
    mat_transpose(w->ct, d->ldc, w->c, d->N, q->n, d->N);
    memset(w->dbt, 0, (size_t)(d->N * d->ldc) * sizeof *w->dbt);
    memset(w->dct, 0, (size_t)(d->N * d->ldc) * sizeof *w->dct);
    memset(w->dg, 0, (size_t)(q->n * d->ldc) * sizeof *w->dg);
}

/* This thread's lanes of the group are done: its share of db and dc, [n,N] each. */
static void group_end(const work *w, const dims *d, const piece *q, int64_t group) {
    float *db = w->part + 2 * group * d->chunk * d->N, *dc = db + d->chunk * d->N;
    mat_transpose(db, d->N, w->dbt, d->ldc, d->N, q->n);
    mat_transpose(dc, d->N, w->dct, d->ldc, d->N, q->n);
    mm(q->n, d->N, q->n, w->dg, 1, d->ldc, w->c, d->N, db, d->N, true);
    mm(q->n, d->N, q->n, w->dg, d->ldc, 1, w->b, d->N, dc, d->N, true);
}

static void lanes_backward(const work *w, const lanes *kept, const dims *d, const hy__ssd_args *a,
                           const piece *q, int64_t l0, int64_t l1) {
    int64_t group = -1;
    for (int64_t i = l0; i < l1; i++) {
        const lane l = lane_of(d, a, i);
        if (l.group != group) {
            if (group >= 0) group_end(w, d, q, group);
            group_begin(w, d, a, q, group = l.group);
        }
        chunk_backward(w, d, a, q, &l, kept->state + i * d->N * d->width, kept->ddt + i * d->ldc,
                       kept->sum + i * 3);
    }
    if (group >= 0) group_end(w, d, q, group);
}

/* One row of db, dc and ddt: the shares of the threads, and of the slices of a head, in order. */
static void sum_row(const scratch *mem, const dims *d, const hy__ssd_args *a, const piece *q,
                    int64_t t, int n_thread) {
    float *db = (float *)hy__ptr(a->db) + (q->row + t) * d->lddb;
    float *dc = (float *)hy__ptr(a->dc) + (q->row + t) * d->lddb;
    float *ddt = (float *)hy__ptr(a->ddt) + (q->row + t) * d->lddt;
    const int64_t nN = d->chunk * d->N, n_lane = d->n_lane / d->n_group; /* lanes of a group */
    memset(db, 0, (size_t)(d->n_group * d->N) * sizeof *db);
    memset(dc, 0, (size_t)(d->n_group * d->N) * sizeof *dc);
    for (int i = 0; i < n_thread; i++) {
        const work w = work_of(mem, d, i, true);
        const int64_t l0 = d->n_lane * i / n_thread, l1 = d->n_lane * (i + 1) / n_thread;
        for (int64_t g = l0 / n_lane; g * n_lane < l1; g++) {
            const float *part = w.part + 2 * g * nN + t * d->N;
            vec_axpy(db + g * d->N, 1.0f, part, d->N);
            vec_axpy(dc + g * d->N, 1.0f, part + nN, d->N);
        }
    }
    for (int64_t h = 0; h < d->n_head; h++) {
        ddt[h] = 0;
        for (int64_t i = 0; i < d->n_slice; i++)
            ddt[h] += mem->lanes.ddt[(h * d->n_slice + i) * d->ldc + t];
    }
}

static void sequence_backward(const scratch *mem, const dims *d, const hy__ssd_args *a, int64_t seq,
                              int64_t unit0) {
    const int thread = omp_get_thread_num(), n_thread = omp_get_num_threads();
    const work w = work_of(mem, d, thread, true);
    const int64_t l0 = d->n_lane * thread / n_thread, l1 = d->n_lane * (thread + 1) / n_thread;
    const hy__seq *s = &a->rows->seq[seq];
    float *state = mem->lanes.state;
    const int64_t size = d->N * d->width;
    for (int64_t i = l0; i < l1; i++) {
        const lane l = lane_of(d, a, i);
        state_load(state + i * size, d, &l, hy__ptr_of(a->dstate_out, seq));
    }
    for (int64_t u = hy__seq_units(s, d->chunk) - 1; u >= 0; u--) {
        const piece q = piece_of(d, s, unit0, u);
        lanes_backward(&w, &mem->lanes, d, a, &q, l0, l1);
#pragma omp barrier
        for (int64_t t = q.n * thread / n_thread; t < q.n * (thread + 1) / n_thread; t++)
            sum_row(mem, d, a, &q, t, n_thread);
#pragma omp barrier
    }
    for (int64_t i = l0; i < l1; i++) {
        const lane l = lane_of(d, a, i);
        state_store(state + i * size, d, &l, hy__ptr_of(a->dstate_in, seq));
    }
}

static void ssd_backward(hy__backend *be, const hy__ssd_args *a) {
    const dims d = dims_of(a, be->n_thread);
    const scratch mem = scratch_new(be, &d, true);
    double *sum = mem.lanes.sum;
    memset(sum, 0, (size_t)(3 * d.n_lane) * sizeof *sum);
#pragma omp parallel num_threads(be->n_thread)
    {
        int64_t unit0 = 0;
        for (int64_t seq = 0; seq < a->rows->n_seq; seq++) {
            sequence_backward(&mem, &d, a, seq, unit0);
            unit0 += hy__seq_units(&a->rows->seq[seq], d.chunk);
        }
    }
    for (int64_t i = 0; i < d.n_lane; i++) {
        const lane l = lane_of(&d, a, i);
        ((float *)hy__ptr(a->da_log))[l.head] += l.A * (float)sum[3 * i]; /* dA/da_log = A */
        ((float *)hy__ptr(a->dd))[l.head] += (float)sum[3 * i + 1];
        ((float *)hy__ptr(a->ddt_bias))[l.head] += (float)sum[3 * i + 2];
    }
}

void HY__FAST(hy__fast_ssd)(hy__kernels *k) {
    k->ssd = ssd;
    k->ssd_backward = ssd_backward;
}
