/* fast_ssd.c: state-space duality in its chunked form (Mamba-2, arXiv 2405.21060, section 6).
 *
 * One head, the n tokens of one chunk, state S[N,P] before it and S' after it. With A < 0 and
 * cum_t = Σ_{r<=t} Δ_r A inside the chunk, no exponent below is positive:
 *   in_t = e^{cum_t}, out_t = e^{cum_n - cum_t}, L_ts = e^{cum_t - cum_s} for s <= t, else 0
 *   y_t = in_t c_t S + Σ_s (c_t·b_s) L_ts Δ_s x_s + D x_t
 *   S'  = e^{cum_n} S + Σ_s out_s Δ_s b_s ⊗ x_s
 * so that all work is products of [n,n], [n,N], [n,P] and [N,P] matrices.
 *
 * Backward, in reverse over the chunks, from the S that the forward kept in chunk_state (of every
 * second chunk; the one between is computed again); V = ∂y,
 * λ = ∂S', Q_ts = V_t·x_s, E_ts = Q_ts (c_t·b_s) L_ts:
 *   dx_s = D V_s + Δ_s (out_s b_s λ + Σ_t (c_t·b_s) L_ts V_t)
 *   dc_t = in_t S V_t + Σ_s Q_ts L_ts Δ_s b_s
 *   db_s = Δ_s (out_s λ x_s + Σ_t Q_ts L_ts c_t)
 *   ∂S   = e^{cum_n} λ + Σ_t in_t c_t ⊗ V_t
 *   ∂(Δ_t A) = Σ_{u>=t>s} E_us Δ_s + Σ_{u>=t} in_u c_u S V_u + Σ_{s<t} out_s Δ_s b_s λ x_s
 *              + e^{cum_n} <λ,S>
 * The first term of ∂(Δ_t A) is summed as it stands, not as the difference of row and column sums
 * of E, which would cancel where the decay is fast.
 *
 * Where bf16 is asked for and the CPU multiplies it, the products' operands are narrowed as they
 * are packed (words of simd.h); decays, states, gradients and all sums stay fp32.
 *
 * Few tokens without chunk_state (decode) take the recurrence instead.
 *
 * Threads: a lane is a head, or a slice of a head's P columns when there are too few heads. A
 * thread owns the same lanes of every sequence and walks all chunks with their states in its cache;
 * c_t·b_s is computed once for the lanes of a group that it owns. db and dc are sums over lanes:
 * every WAVE chunks the threads' shares are added, in the threads' order. */
#include "backend/cpu/simd.h"

enum {
    FEW_TOKENS = 4,   /* up to here the recurrence is faster than transposing the state */
    TILE = 2 * MM_MR, /* rows of a triangular product that share one inner length */
    MIN_SLICE = 16,   /* columns of the narrowest lane */
    WAVE = 16,        /* chunks between two meetings of the threads in the backward */
};

/* The tokens of one sequence in one chunk. */
typedef struct piece {
    int64_t row, n; /* first row, tokens */
    int64_t kept;   /* number of the kept state in the batch that stands before it or … */
    int64_t since;  /* … before this many tokens that precede it, all of the chunk before */
} piece;

typedef struct lane {
    int64_t head, group, p0, width; /* columns [p0, p0 + width) of the head */
    float A, D, dt_bias;
} lane;

/* One call: sizes, and scratch for each thread and for each lane. */
typedef struct job {
    const hy__ssd_args *a;
    bool backward, half; /* half: bf16 operands */
    int64_t n_head, P, N, n_group, chunk;
    int64_t ldx, ldb, lddt, lddx, lddb, ldy; /* row distances of the arguments */
    int64_t ldc;                             /* of [., chunk] tiles: whole vectors */
    int64_t width, n_slice, n_lane;          /* columns of a lane, lanes of a head, all lanes */
    char *scratch;                           /* a work for each thread, then the arrays below */
    size_t work_size;                        /* bytes */
    float *state;                            /* [n_lane,N,width] S or λ, over the chunks */
    float *ddt;                              /* [WAVE,n_lane,n] */
    double *sum;                             /* [n_lane,3] of ∂A, ∂D, ∂dt_bias */
} job;

/* A thread's lanes and scratch. [n,N] means n rows of N; [.,n] has rows of ldc. Operands are words:
 * "by tokens" along n, "by rows" along the row; in fp32 both are the same. */
typedef struct work {
    int64_t l0, l1;               /* its lanes */
    float *b, *c;                 /* [n,N] of one group, by tokens */
    float *br, *cr;               /* the same by rows */
    float *bt;                    /* [N,n] br transposed */
    float *g, *m;                 /* [n,n] c_t·b_s, and (c_t·b_s) L_ts Δ_s */
    float *x, *xw;                /* [n,width] x or ∂y, and the same weighted by a decay */
    float *room[2];               /* [n,n] or [N,width]: operands that are narrowed */
    float *raw, *delta, *hi, *lo; /* [n] dt + bias, Δ, cum = hi + lo */
    float *in, *out, *weight;     /* [n], weight = out Δ */
    /* backward */
    float *ct;                              /* [N,n] c transposed, in fp32 */
    float *v, *xt, *vt;                     /* ∂y by tokens; [width,n] x and ∂y transposed */
    float *q, *dg;                          /* [n,n] V_t·x_s, gradient of g over lanes */
    float *z, *dbt, *dct;                   /* [N,n] */
    float *state, *b_before;                /* [N,width], [n,N]: a state that was not kept */
    float *col, *rect, *from_in, *from_out; /* [n] see mask_backward, through_state */
    float *part;                            /* [WAVE,n_group,2,n,N] its share of db, dc */
} work;

/* ---- sizes and scratch ---------------------------------------------------------------------- */

/* The next n floats of a block that starts at base; with base NULL only counts. */
static void *take(char *base, size_t *used, int64_t n) {
    void *p = base ? base + *used : NULL;
    *used += hy__tensor_bytes(HY__DTYPE_F32, n);
    return p;
}

static size_t work_layout(work *w, char *base, const job *j) {
    size_t used = 0;
    const int64_t nN = j->chunk * j->N, Nn = j->N * j->ldc, nn = j->chunk * j->ldc;
    const int64_t nP = j->chunk * j->width, Pn = j->width * j->ldc;
    const int64_t room = j->half ? (nn > j->N * j->width ? nn : j->N * j->width) : 0;
    *w = (work){0};
    w->b = take(base, &used, nN);
    w->c = take(base, &used, nN);
    w->br = j->half ? take(base, &used, nN) : w->b;
    w->cr = j->half ? take(base, &used, nN) : w->c;
    for (int i = 0; i < 2; i++) w->room[i] = take(base, &used, room);
    w->bt = take(base, &used, Nn);
    w->g = take(base, &used, nn);
    w->m = take(base, &used, nn);
    w->x = take(base, &used, nP);
    w->xw = take(base, &used, nP);
    float **const token[] = {&w->raw,    &w->delta, &w->hi,   &w->lo,      &w->in,      &w->out,
                             &w->weight, &w->col,   &w->rect, &w->from_in, &w->from_out};
    for (size_t i = 0; i < sizeof token / sizeof *token; i++) *token[i] = take(base, &used, j->ldc);
    if (!j->backward) return used;
    w->ct = take(base, &used, Nn);
    w->v = j->half ? take(base, &used, nP) : w->x;
    w->xt = take(base, &used, Pn);
    w->vt = take(base, &used, Pn);
    w->q = take(base, &used, nn);
    w->dg = take(base, &used, nn);
    w->z = take(base, &used, Nn);
    w->dbt = take(base, &used, Nn);
    w->dct = take(base, &used, Nn);
    w->state = take(base, &used, j->N * j->width);
    w->b_before = take(base, &used, nN);
    w->part = take(base, &used, WAVE * j->n_group * 2 * nN);
    return used;
}

static size_t lanes_layout(job *j, char *base) {
    size_t used = 0;
    j->state = take(base, &used, j->n_lane * j->N * j->width);
    j->ddt = take(base, &used, j->backward ? WAVE * j->n_lane * j->ldc : 0);
    j->sum = take(base, &used, j->n_lane * 3 * (int64_t)(sizeof(double) / sizeof(float)));
    return used;
}

/* Halves the lanes until the busiest thread has at most an eighth more than its share. */
static void cut_lanes(job *j, int n_thread) {
    j->width = j->P;
    j->n_slice = 1;
    while (j->width >= 2 * MIN_SLICE) {
        const int64_t n_lane = j->n_head * j->n_slice, most = (n_lane + n_thread - 1) / n_thread;
        if (8 * most * n_thread <= 9 * n_lane) break;
        j->width = round_up(j->width / 2, MIN_SLICE);
        j->n_slice = (j->P + j->width - 1) / j->width;
    }
    j->n_lane = j->n_head * j->n_slice;
}

static job job_new(hy__backend *be, const hy__ssd_args *a, int n_thread, bool backward) {
    const int64_t wide = a->n_head * a->head_dim, narrow = a->n_group * a->d_state;
    job j = {
        .a = a,
        .backward = backward,
        .half = a->prec == HY__PREC_BF16 && be->has_bf16,
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
    };
    cut_lanes(&j, n_thread);
    work w;
    j.work_size = work_layout(&w, NULL, &j);
    const size_t n = (size_t)be->n_thread, share = lanes_layout(&j, NULL) / n;
    j.scratch = hy__scratch(be, j.work_size + (share / HY__ALIGN + 1) * HY__ALIGN);
    if (j.scratch) lanes_layout(&j, j.scratch + n * j.work_size);
    return j;
}

static work work_of(const job *j, int thread, int n_thread) {
    work w;
    work_layout(&w, hy__scratch_of(j->scratch, j->work_size, thread), j);
    w.l0 = j->n_lane * thread / n_thread;
    w.l1 = j->n_lane * (thread + 1) / n_thread;
    return w;
}

static int threads_of(const hy__backend *be, const hy__ssd_args *a) {
    return threads_for(be, a->rows->n_row * a->n_head * a->head_dim * a->d_state);
}

static lane lane_of(const job *j, int64_t i) {
    lane l = {.head = i / j->n_slice, .p0 = i % j->n_slice * j->width};
    l.group = l.head * j->n_group / j->n_head;
    l.width = least(j->P - l.p0, j->width);
    l.A = (float)-exp((double)((const float *)hy__ptr(j->a->a_log))[l.head]);
    l.D = ((const float *)hy__ptr(j->a->d))[l.head];
    l.dt_bias = ((const float *)hy__ptr(j->a->dt_bias))[l.head];
    return l;
}

/* Chunk u of a sequence whose first kept state has the number kept0. */
static piece piece_of(const job *j, const hy__seq *s, int64_t kept0, int64_t u) {
    const int64_t start = u * j->chunk - s->pos % j->chunk, from = start > 0 ? start : 0;
    const int64_t span = HY__SSD_KEPT * j->chunk, at = s->pos % span + from;
    return (piece){.row = s->start + from,
                   .n = least(start + j->chunk, s->len) - from,
                   .kept = kept0 + at / span,
                   .since = least(at % span, from)};
}

static int64_t kept_states(const job *j, const hy__seq *s) {
    return hy__seq_units(s, HY__SSD_KEPT * j->chunk);
}

/* ---- operands and products -------------------------------------------------------------------
 */

static void pack_rows(const job *j, float *dst, int64_t ldd, const float *src, int64_t lds,
                      int64_t rows, int64_t k, const float *scale) {
    if (j->half)
        mm_pack_rows(true, dst, ldd, src, lds, rows, k, scale);
    else
        mm_pack_rows(false, dst, ldd, src, lds, rows, k, scale);
}
static void pack_columns(const job *j, float *dst, int64_t ldd, const float *src, int64_t lds,
                         int64_t k, int64_t n, const float *scale) {
    if (j->half)
        mm_pack_columns(true, dst, ldd, src, lds, k, n, scale);
    else
        mm_pack_columns(false, dst, ldd, src, lds, k, n, scale);
}

INLINE int64_t words(const job *j, int64_t k) {
    return mm_words(j->half, k);
}

/* src[rows,k] as an operand along its rows, or src[k,n] along its columns: narrowed into room, or,
 * in fp32, as it stands. *ld: its row distance. */
static const float *along_rows(const job *j, float *room, const float *src, int64_t *ld,
                               int64_t rows, int64_t k) {
    if (!j->half) return src;
    pack_rows(j, room, words(j, k), src, *ld, rows, k, NULL);
    *ld = words(j, k);
    return room;
}
static const float *along_columns(const job *j, float *room, const float *src, int64_t *ld,
                                  int64_t k, int64_t n) {
    if (!j->half) return src;
    pack_columns(j, room, n, src, *ld, k, n, NULL);
    *ld = n;
    return room;
}

/* C[m,n] (+)= A·B over k elements, each operand in words. */
static void product(const job *j, int64_t m, int64_t n, int64_t k, const float *a, int64_t ars,
                    int64_t acs, const float *b, int64_t ldb, float *c, int64_t ldc, bool add) {
    if (j->half)
        mm_half(m, n, words(j, k), a, ars, acs, b, ldb, c, ldc, add);
    else
        mm(m, n, k, a, ars, acs, b, ldb, c, ldc, add);
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
static void decay(const work *w, const job *j, const piece *q, const lane *l) {
    const float *dt = (const float *)hy__ptr(j->a->dt) + q->row * j->lddt + l->head;
    for (int64_t t = 0; t < j->ldc; t++) w->raw[t] = t < q->n ? dt[t * j->lddt] + l->dt_bias : 0;
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

/* s + i <= t for every lane i */
INLINE vi up_to(int64_t s, int64_t t) {
    return vi_lanes() <= (int32_t)(t - s);
}

/* b, c of a group's chunk, bt and g = c bᵀ. */
static void load_group(const work *w, const job *j, const piece *q, int64_t group) {
    const float *b = (const float *)hy__ptr(j->a->b) + q->row * j->ldb + group * j->N;
    const float *c = (const float *)hy__ptr(j->a->c) + q->row * j->ldb + group * j->N;
    const int64_t Nw = words(j, j->N);
    pack_rows(j, w->br, Nw, b, j->ldb, q->n, j->N, NULL);
    pack_rows(j, w->cr, Nw, c, j->ldb, q->n, j->N, NULL);
    if (j->half) pack_columns(j, w->b, j->N, b, j->ldb, q->n, j->N, NULL);
    if (j->half && j->backward) pack_columns(j, w->c, j->N, c, j->ldb, q->n, j->N, NULL);
    mat_transpose(w->bt, j->ldc, w->br, Nw, q->n, Nw);
    product(j, q->n, round_up(q->n, VL), j->N, w->cr, Nw, 1, w->bt, j->ldc, w->g, j->ldc, false);
    if (j->backward) mat_transpose(w->ct, j->ldc, c, j->ldb, q->n, j->N);
}

/* A thread's lanes of a state [H,P,N] into [N,width] each (zero when there is none), and back. */
static void lanes_load(const work *w, const job *j, const float *state) {
    for (int64_t i = w->l0; i < w->l1; i++) {
        const lane l = lane_of(j, i);
        float *s = j->state + i * j->N * j->width;
        if (state) {
            const float *from = state + (l.head * j->P + l.p0) * j->N;
            mat_transpose(s, l.width, from, j->N, l.width, j->N);
        } else {
            memset(s, 0, (size_t)(j->N * l.width) * sizeof *s);
        }
    }
}
static void lanes_store(const work *w, const job *j, float *state) {
    for (int64_t i = w->l0; state && i < w->l1; i++) {
        const lane l = lane_of(j, i);
        float *to = state + (l.head * j->P + l.p0) * j->N;
        mat_transpose(to, j->N, j->state + i * j->N * j->width, l.width, j->N, l.width);
    }
}

/* A lane's columns of a kept state [N,P] and head, row distance P. */
static float *kept_state(const job *j, const piece *q, const lane *l) {
    float *kept = hy__ptr(j->a->chunk_state);
    return kept ? kept + (q->kept * j->n_head + l->head) * j->N * j->P + l->p0 : NULL;
}

/* ---- forward -------------------------------------------------------------------------------- */

/* m = g ∘ L ∘ Δ, zero above the diagonal within each tile of rows. */
static void mask_forward(const work *w, const job *j, int64_t n) {
    for (int64_t t = 0; t < n; t++) {
        const int64_t end = least(t - t % TILE + TILE, n);
        for (int64_t s = 0; s < end; s += VL) {
            const vf m =
                vf_load(w->g + t * j->ldc + s) * decay_between(w, t, s) * vf_load(w->delta + s);
            vf_store(w->m + t * j->ldc + s, vf_select(up_to(s, t), m, vf_set(0.0f)));
        }
    }
}

/* One chunk of one lane; state[N,width] is advanced. */
static void chunk_forward(const work *w, const job *j, const piece *q, const lane *l,
                          float *state) {
    const int64_t n = q->n, N = j->N, width = l->width, column = l->head * j->P + l->p0;
    const float *x = (const float *)hy__ptr(j->a->x) + q->row * j->ldx + column;
    float *y = (float *)hy__ptr(j->a->y) + q->row * j->ldy + column;
    decay(w, j, q, l);
    pack_columns(j, w->x, width, x, j->ldx, n, width, NULL);
    pack_columns(j, w->xw, width, x, j->ldx, n, width, w->weight);
    int64_t lds = width, ldm = j->ldc;
    const float *from = along_columns(j, w->room[0], state, &lds, N, width);
    product(j, n, width, N, w->cr, words(j, N), 1, from, lds, y, j->ldy, false);
    for (int64_t t = 0; t < n; t++) {
        const float in = w->in[t], D = l->D, *xt = x + t * j->ldx;
        float *to = y + t * j->ldy;
#pragma omp simd
        for (int64_t p = 0; p < width; p++) to[p] = in * to[p] + D * xt[p];
    }
    mask_forward(w, j, n);
    const float *m = along_rows(j, w->room[0], w->m, &ldm, n, j->ldc);
    for (int64_t t = 0; t < n; t += TILE) {
        const int64_t rows = least(n - t, TILE);
        product(j, rows, width, t + rows, m + t * ldm, ldm, 1, w->x, width, y + t * j->ldy, j->ldy,
                true);
    }
    vec_scale(state, w->in[n - 1], N * width);
    product(j, N, width, n, w->b, 1, N, w->xw, width, state, width, true);
}

/* A thread's lanes of one sequence, chunk after chunk. */
static void sequence_forward(const work *w, const job *j, int64_t seq, int64_t kept0) {
    const hy__seq *s = &j->a->rows->seq[seq];
    const int64_t n_unit = hy__seq_units(s, j->chunk);
    lanes_load(w, j, hy__ptr_of(j->a->state_in, seq));
    for (int64_t u = 0; u < n_unit; u++) {
        const piece q = piece_of(j, s, kept0, u);
        int64_t group = -1;
        for (int64_t i = w->l0; i < w->l1; i++) {
            const lane l = lane_of(j, i);
            float *state = j->state + i * j->N * j->width;
            float *keep = q.since == 0 ? kept_state(j, &q, &l) : NULL;
            if (l.group != group) load_group(w, j, &q, group = l.group);
            for (int64_t r = 0; keep && r < j->N; r++)
                memcpy(keep + r * j->P, state + r * l.width, (size_t)l.width * sizeof *state);
            chunk_forward(w, j, &q, &l, state);
        }
    }
    lanes_store(w, j, hy__ptr_of(j->a->state_out, seq));
}

/* One token of one lane: to[width,N] = e^{ΔA} from + Δ x ⊗ b, y = to·c + D x. */
static void token_forward(const job *j, const lane *l, int64_t row, float *to, const float *from) {
    const int64_t N = j->N, column = l->head * j->P + l->p0;
    const float *x = (const float *)hy__ptr(j->a->x) + row * j->ldx + column;
    const float *b = (const float *)hy__ptr(j->a->b) + row * j->ldb + l->group * N;
    const float *c = (const float *)hy__ptr(j->a->c) + row * j->ldb + l->group * N;
    const float raw = ((const float *)hy__ptr(j->a->dt))[row * j->lddt + l->head] + l->dt_bias;
    const float delta = vf_softplus(vf_set(raw))[0], alpha = sf_exp(delta * l->A);
    float *y = (float *)hy__ptr(j->a->y) + row * j->ldy + column;
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
static void sequence_recurrent(const work *w, const job *j, int64_t seq) {
    const hy__seq *s = &j->a->rows->seq[seq];
    const float *in = hy__ptr_of(j->a->state_in, seq);
    float *out = hy__ptr_of(j->a->state_out, seq);
    for (int64_t i = w->l0; i < w->l1; i++) {
        const lane l = lane_of(j, i);
        const int64_t at = (l.head * j->P + l.p0) * j->N;
        float *to = out ? out + at : j->state + i * j->N * j->width;
        if (!in) memset(to, 0, (size_t)(l.width * j->N) * sizeof *to);
        token_forward(j, &l, s->start, to, in ? in + at : to);
        for (int64_t t = 1; t < s->len; t++) token_forward(j, &l, s->start + t, to, to);
    }
}

static void ssd(hy__backend *be, const hy__ssd_args *a) {
    const int threads = threads_of(be, a);
    const job j = job_new(be, a, threads, false);
    if (!j.scratch) return;
#pragma omp parallel num_threads(threads)
    {
        const work w = work_of(&j, omp_get_thread_num(), omp_get_num_threads());
        int64_t kept0 = 0;
        for (int64_t seq = 0; seq < a->rows->n_seq; seq++) {
            const hy__seq *s = &a->rows->seq[seq];
            if (s->len <= FEW_TOKENS && !hy__present(a->chunk_state)) {
                sequence_recurrent(&w, &j, seq);
            } else {
                sequence_forward(&w, &j, seq, kept0);
            }
            kept0 += kept_states(&j, s);
        }
    }
}

/* ---- backward ------------------------------------------------------------------------------- */

/* From g and q, tile by tile below the diagonal: m = g ∘ L ∘ Δ, dg += q ∘ L ∘ Δ, and of the strict
 * part of E = q ∘ g ∘ L: col_s = Σ_{t>s} E_ts, rect_t = Σ_{u>=t>s} E_us Δ_s. Rows go backwards, so
 * that col holds Σ_{u>=t} E_us when row t is done. */
static void mask_backward(const work *w, const job *j, int64_t n) {
    memset(w->col, 0, (size_t)j->ldc * sizeof *w->col);
    for (int64_t t = n - 1; t >= 0; t--) {
        const int64_t end = least(t - t % TILE + TILE, n);
        const vf zero = {0};
        vf rect = {0};
        for (int64_t s = 0; s < end; s += VL) {
            const int64_t at = t * j->ldc + s;
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

/* What z[N,n] = S Vᵀ gives to dc, transposed: dct += in_t z; and to the decays, before their own
 * factor: from_in_t = Σ_i ct[i,t] z[i,t]. */
static void through_state(const work *w, const job *j, int64_t n) {
    for (int64_t t = 0; t < n; t += VL) {
        const vf in = vf_load(w->in + t);
        vf sum = {0};
        for (int64_t i = 0; i < j->N; i++) {
            const int64_t at = i * j->ldc + t;
            const vf z = vf_load(w->z + at);
            vf_store(w->dct + at, vf_load(w->dct + at) + in * z);
            sum += vf_load(w->ct + at) * z;
        }
        vf_store(w->from_in + t, sum);
    }
}

/* dx[n,width] holds b λ: what it gives to the decays, before their own factor, from_out_t = x_t·b
 * λ; then dx = weight_t b λ + D ∂y. */
static void through_lambda(const work *w, const lane *l, int64_t n, float *dx, int64_t lddx,
                           const float *x, int64_t ldx, const float *dy, int64_t ldy) {
    for (int64_t t = 0; t < n; t++, dx += lddx, x += ldx, dy += ldy) {
        const float weight = w->weight[t], D = l->D;
        w->from_out[t] = vec_dot(x, dx, l->width);
#pragma omp simd
        for (int64_t p = 0; p < l->width; p++) dx[p] = weight * dx[p] + D * dy[p];
    }
}

/* λ[N,width] = e^{cum_n} λ; returns e^{cum_n} <λ, S>. */
static float decay_lambda(float *lambda, const float *state, int64_t ld, const job *j,
                          int64_t width, float scale) {
    float dot = 0;
    for (int64_t i = 0; i < j->N; i++) {
        dot += vec_dot(lambda + i * width, state + i * ld, width);
        vec_scale(lambda + i * width, scale, width);
    }
    return scale * dot;
}

/* ∂(Δ_t A) of every token from its four terms, then ddt, and the lane's part of ∂A, ∂D, ∂dt_bias;
 * whole: the term that all tokens share. */
static void steps_backward(const work *w, const job *j, const lane *l, int64_t n, float whole,
                           float *ddt, double *sum) {
    for (int64_t t = 0; t < n; t += VL) vf_store(w->raw + t, vf_sigmoid(vf_load(w->raw + t)));
    float later = 0, before = 0;
    for (int64_t t = n - 1; t >= 0; t--) {
        later += w->in[t] * w->from_in[t];
        w->rect[t] += later + whole;
    }
    for (int64_t t = 0; t < n; t++) {
        const float q = w->q[t * j->ldc + t], from_out = w->out[t] * w->from_out[t];
        const float dlog = w->rect[t] + before;
        const float ddelta = w->g[t * j->ldc + t] * q + w->col[t] + from_out + l->A * dlog;
        before += w->delta[t] * from_out;
        ddt[t] = ddelta * w->raw[t];
        sum[0] += (double)(w->delta[t] * dlog);
        sum[1] += (double)q;
        sum[2] += (double)ddt[t];
    }
}

/* The state before a chunk, [N,width] with row distance *ld: kept, or moved on from the kept one
 * over the chunk before. Leaves the decays of that chunk in w. */
static const float *state_before(const work *w, const job *j, const piece *q, const lane *l,
                                 int64_t *ld) {
    const piece before = {.row = q->row - q->since, .n = q->since};
    const float *x = (const float *)hy__ptr(j->a->x) + before.row * j->ldx + l->head * j->P + l->p0;
    const float *kept = kept_state(j, q, l);
    *ld = j->P;
    if (before.n == 0) return kept;
    decay(w, j, &before, l);
    const float whole = w->in[before.n - 1];
    for (int64_t i = 0; i < j->N; i++)
        for (int64_t p = 0; p < l->width; p++)
            w->state[i * l->width + p] = whole * kept[i * j->P + p];
    pack_columns(j, w->xw, l->width, x, j->ldx, before.n, l->width, w->weight);
    product(j, j->N, l->width, before.n, w->b_before, 1, j->N, w->xw, l->width, w->state, l->width,
            true);
    *ld = l->width;
    return w->state;
}

/* One chunk of one lane; lambda[N,width] goes from the chunk's end to its start. */
static void chunk_backward(const work *w, const job *j, const piece *q, const lane *l,
                           float *lambda, float *ddt, double *sum) {
    const int64_t n = q->n, n_pad = round_up(n, VL), N = j->N, width = l->width;
    const int64_t column = l->head * j->P + l->p0;
    const float *x = (const float *)hy__ptr(j->a->x) + q->row * j->ldx + column;
    const float *dy = (const float *)hy__ptr(j->a->dy) + q->row * j->ldy + column;
    int64_t lds;
    const float *state = state_before(w, j, q, l, &lds);
    float *dx = (float *)hy__ptr(j->a->dx) + q->row * j->lddx + column;
    decay(w, j, q, l);
    const int64_t Pw = words(j, width);
    pack_rows(j, w->xw, Pw, x, j->ldx, n, width, NULL);
    mat_transpose(w->xt, j->ldc, w->xw, Pw, n, Pw);
    pack_rows(j, w->x, Pw, dy, j->ldy, n, width, NULL);
    mat_transpose(w->vt, j->ldc, w->x, Pw, n, Pw);
    product(j, n, n_pad, width, w->x, Pw, 1, w->xt, j->ldc, w->q, j->ldc, false);
    mask_backward(w, j, n);

    int64_t ldr = lds, ldl = width, ldm = j->ldc;
    const float *from = along_rows(j, w->room[0], state, &ldr, N, width);
    product(j, N, n_pad, width, from, ldr, 1, w->vt, j->ldc, w->z, j->ldc, false);
    through_state(w, j, n);

    pack_rows(j, w->xw, Pw, x, j->ldx, n, width, w->weight);
    mat_transpose(w->xt, j->ldc, w->xw, Pw, n, Pw);
    const float *to = along_rows(j, w->room[0], lambda, &ldl, N, width);
    product(j, N, n_pad, width, to, ldl, 1, w->xt, j->ldc, w->dbt, j->ldc, true);

    ldl = width;
    to = along_columns(j, w->room[0], lambda, &ldl, N, width);
    product(j, n, width, N, w->br, words(j, N), 1, to, ldl, dx, j->lddx, false);
    through_lambda(w, l, n, dx, j->lddx, x, j->ldx, dy, j->ldy);
    if (j->half) pack_columns(j, w->v, width, dy, j->ldy, n, width, NULL);
    const float *m = along_columns(j, w->room[0], w->m, &ldm, n, j->ldc);
    for (int64_t s = 0; s < n; s += TILE) { /* an even number of tokens: whole words */
        const int64_t rows = least(n - s, TILE), skip = words(j, s);
        product(j, rows, width, n - s, m + skip * ldm + s, 1, ldm, w->v + skip * width, width,
                dx + s * j->lddx, j->lddx, true);
    }
    const float whole = decay_lambda(lambda, state, lds, j, width, w->in[n - 1]);
    pack_columns(j, w->xw, width, dy, j->ldy, n, width, w->in);
    product(j, N, width, n, w->c, 1, N, w->xw, width, lambda, width, true);
    steps_backward(w, j, l, n, whole, ddt, sum);
}

static void group_begin(const work *w, const job *j, const piece *q, int64_t group) {
    const float *b = (const float *)hy__ptr(j->a->b) + (q->row - q->since) * j->ldb + group * j->N;
    load_group(w, j, q, group);
    pack_columns(j, w->b_before, j->N, b, j->ldb, q->since, j->N, NULL);
    memset(w->dbt, 0, (size_t)(j->N * j->ldc) * sizeof *w->dbt);
    memset(w->dct, 0, (size_t)(j->N * j->ldc) * sizeof *w->dct);
    memset(w->dg, 0, (size_t)(q->n * j->ldc) * sizeof *w->dg);
}

/* A thread's share of db of one chunk and group, [n,N]; dc follows after chunk·N elements. */
static float *share_at(const work *w, const job *j, int slot, int64_t group) {
    return w->part + (slot * j->n_group + group) * 2 * j->chunk * j->N;
}

static void group_end(const work *w, const job *j, const piece *q, int slot, int64_t group) {
    float *db = share_at(w, j, slot, group), *dc = db + j->chunk * j->N;
    mat_transpose(db, j->N, w->dbt, j->ldc, j->N, q->n);
    mat_transpose(dc, j->N, w->dct, j->ldc, j->N, q->n);
    int64_t ld_columns = j->ldc, ld_rows = j->ldc;
    const float *columns = along_columns(j, w->room[0], w->dg, &ld_columns, q->n, j->ldc);
    const float *rows = along_rows(j, w->room[1], w->dg, &ld_rows, q->n, j->ldc);
    product(j, q->n, j->N, q->n, columns, 1, ld_columns, w->c, j->N, db, j->N, true);
    product(j, q->n, j->N, q->n, rows, ld_rows, 1, w->b, j->N, dc, j->N, true);
}

/* All lanes of a thread in one chunk, number `slot` of the wave. */
static void lanes_backward(const work *w, const job *j, const piece *q, int slot) {
    int64_t group = -1;
    for (int64_t i = w->l0; i < w->l1; i++) {
        const lane l = lane_of(j, i);
        if (l.group != group) {
            if (group >= 0) group_end(w, j, q, slot, group);
            group_begin(w, j, q, group = l.group);
        }
        chunk_backward(w, j, q, &l, j->state + i * j->N * j->width,
                       j->ddt + (slot * j->n_lane + i) * j->ldc, j->sum + i * 3);
    }
    if (group >= 0) group_end(w, j, q, slot, group);
}

/* Tokens [from, to) of a chunk: db and dc from the threads' shares, ddt from the slices of a head.
 */
static void add_shares(const job *j, const piece *q, int slot, int64_t from, int64_t to,
                       int n_thread) {
    float *db = (float *)hy__ptr(j->a->db) + q->row * j->lddb;
    float *dc = (float *)hy__ptr(j->a->dc) + q->row * j->lddb;
    float *ddt = (float *)hy__ptr(j->a->ddt) + q->row * j->lddt;
    const int64_t in_group = j->n_lane / j->n_group; /* lanes */
    const size_t size = (size_t)(j->n_group * j->N) * sizeof *db;
    for (int64_t t = from; t < to; t++) {
        memset(db + t * j->lddb, 0, size);
        memset(dc + t * j->lddb, 0, size);
    }
    for (int i = 0; i < n_thread; i++) {
        const work w = work_of(j, i, n_thread);
        for (int64_t g = w.l0 / in_group; w.l0 < w.l1 && g * in_group < w.l1; g++) {
            const float *share = share_at(&w, j, slot, g);
            for (int64_t t = from; t < to; t++) {
                const int64_t at = t * j->lddb + g * j->N;
                vec_axpy(db + at, 1.0f, share + t * j->N, j->N);
                vec_axpy(dc + at, 1.0f, share + (j->chunk + t) * j->N, j->N);
            }
        }
    }
    for (int64_t t = from; t < to; t++)
        for (int64_t h = 0; h < j->n_head; h++) {
            const float *slice = j->ddt + (slot * j->n_lane + h * j->n_slice) * j->ldc + t;
            ddt[t * j->lddt + h] = 0;
            for (int64_t i = 0; i < j->n_slice; i++) ddt[t * j->lddt + h] += slice[i * j->ldc];
        }
}

/* The chunks that a thread has done since the threads last met: the same for all of them. */
typedef struct wave {
    piece piece[WAVE];
    int n;
} wave;

static void wave_end(const job *j, wave *v) {
    const int thread = omp_get_thread_num(), n_thread = omp_get_num_threads();
#pragma omp barrier
    for (int slot = 0; slot < v->n; slot++) {
        const piece *q = &v->piece[slot];
        add_shares(j, q, slot, q->n * thread / n_thread, q->n * (thread + 1) / n_thread, n_thread);
    }
#pragma omp barrier
    v->n = 0;
}

static void sequence_backward(const work *w, const job *j, int64_t seq, int64_t kept0, wave *v) {
    const hy__seq *s = &j->a->rows->seq[seq];
    lanes_load(w, j, hy__ptr_of(j->a->dstate_out, seq));
    for (int64_t u = hy__seq_units(s, j->chunk) - 1; u >= 0; u--) {
        if (v->n == WAVE) wave_end(j, v);
        v->piece[v->n] = piece_of(j, s, kept0, u);
        lanes_backward(w, j, &v->piece[v->n], v->n);
        v->n++;
    }
    lanes_store(w, j, hy__ptr_of(j->a->dstate_in, seq));
}

static void ssd_backward(hy__backend *be, const hy__ssd_args *a) {
    const int threads = threads_of(be, a);
    const job j = job_new(be, a, threads, true);
    if (!j.scratch) return;
    memset(j.sum, 0, (size_t)(3 * j.n_lane) * sizeof *j.sum);
#pragma omp parallel num_threads(threads)
    {
        const work w = work_of(&j, omp_get_thread_num(), omp_get_num_threads());
        wave v = {.n = 0};
        int64_t kept0 = 0;
        for (int64_t seq = 0; seq < a->rows->n_seq; seq++) {
            sequence_backward(&w, &j, seq, kept0, &v);
            kept0 += kept_states(&j, &a->rows->seq[seq]);
        }
        wave_end(&j, &v);
    }
    for (int64_t i = 0; i < j.n_lane; i++) {
        const lane l = lane_of(&j, i);
        ((float *)hy__ptr(a->da_log))[l.head] += l.A * (float)j.sum[3 * i]; /* dA/da_log = A */
        ((float *)hy__ptr(a->dd))[l.head] += (float)j.sum[3 * i + 1];
        ((float *)hy__ptr(a->ddt_bias))[l.head] += (float)j.sum[3 * i + 2];
    }
}

void HY__FAST(hy__fast_ssd)(hy__kernels *k) {
    k->ssd = ssd;
    k->ssd_backward = ssd_backward;
}
