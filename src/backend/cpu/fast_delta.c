/* fast_delta.c: the workspace's memory in blocks of tokens, as matrix products.
 *
 * The equations are in ref_delta.c. Over a block of L <= SUB tokens that starts from the memory M
 * [dk,dv], with G_t the sum of log a up to and including token t, all decays below have exponents
 * <= 0 and the recurrence is exactly (the WY form of DeltaNet, arXiv 2406.06484, with the decay of
 * Gated DeltaNet, arXiv 2412.06464):
 *   D_ti = e^{G_t-G_i} (i <= t),  E_t = e^{G_t},  F_t = e^{G_L-G_t},  N = strictly lower D∘(K Kᵀ)
 *   U = B∘(V - E∘(K M) - N U)        by forward substitution, B = diag(b)
 *   read of queries Q after each token: R = E∘(Q M) + (D∘(Q Kᵀ)) U
 *   memory after the block: E_L M + Kᵀ (F∘U)
 * The reads of all the block's tokens are one product each; RMS, W_r and L2 stand between them.
 *
 * Blocks never cross an absolute chunk, whose first memory is kept in chunk_state; U and the r_j
 * are kept too, and the backward needs nothing else. A (sequence, head) is one task. A piece of one
 * token runs the plain recurrence. delta_stat is the reference's. */
#include "backend/cpu/simd.h"

enum {
    SUB = HY__DELTA_BLOCK,
    ROWS = 12, /* rows of a triangular product done at once: a multiple of every MM_MR */
    PAD = 16,  /* columns of [SUB,SUB] matrices are written in multiples of this */
};

/* One (sequence, head): the block in hand, packed without gaps. [SUB,SUB] matrices are lower
 * triangular: row t is zero right of t as far as reach(t), but for columns from the block's length
 * on, which are undefined and never used. */
typedef struct lane {
    const hy__delta_args *a;
    int64_t seq, head, dk, dv, n;
    const float *wr;            /* [dk,dv] W_r */
    float *m, *wrt;             /* [dk,dv] M at the block's start; [dv,dk] W_rᵀ */
    float *k, *kt, *u;          /* [SUB,dk] [dk,SUB] [SUB,dv] K, Kᵀ, U */
    float *q, *r;               /* [SUB,dk] [SUB,dv]; backward: one for each read */
    float *rms, *inv;           /* [n,SUB] what made q_j from W_r·r: 1/RMS, 1/length */
    float *decay, *minus_n, *s; /* [SUB,SUB] D, -N (diagonal unused), D∘(Q Kᵀ) */
    float *mix, *tmp;           /* [SUB,n] weights of the reads; [SUB,dv] for products */
    double g[SUB];              /* G: differences of large sums must keep their small part */
    float e[SUB], f[SUB], b[SUB];
    /* backward */
    float *mt, *ut;                           /* [dv,dk] [dv,SUB] Mᵀ, Uᵀ */
    float *grad_m, *grad_mt;                  /* [dk,dv] [dv,dk] of M, and transposed */
    float *grad_k, *grad_u, *grad_q, *grad_r; /* [SUB,dk] [SUB,dv] [SUB,dk] [SUB,dv] */
    float *grad_s;                            /* [SUB,SUB] */
    float *pair, from[SUB], to[SUB]; /* shares of the gates' gradient, see "a block backward" */
    float *stash;                    /* [chunk/SUB,dk,dv] M at the start of a chunk's blocks */
    float *dwr, *dbias;              /* the task's sums [dk,dv], [n] */
} lane;

/* Hands out the lane's memory from `base`; NULL only counts. Returns the floats needed. */
static int64_t lane_carve(lane *l, const hy__delta_args *a, bool backward, float *base) {
    const int64_t dk = a->d_k, dv = a->d_v, n = a->reads, back = backward ? 1 : 0;
    const int64_t n_kept = backward ? n : 1;
    *l = (lane){.a = a, .dk = dk, .dv = dv, .n = n};
    const struct {
        float **at;
        int64_t n;
    } part[] = {
        {&l->m, dk * dv},
        {&l->wrt, dv * dk},
        {&l->k, SUB * dk},
        {&l->kt, dk * SUB},
        {&l->u, SUB * dv},
        {&l->q, n_kept * SUB * dk},
        {&l->r, n_kept * SUB * dv},
        {&l->rms, n_kept * SUB},
        {&l->inv, n_kept * SUB},
        {&l->decay, SUB * SUB},
        {&l->minus_n, SUB * SUB},
        {&l->s, SUB * SUB},
        {&l->mix, SUB * n},
        {&l->tmp, SUB * dv},
        {&l->mt, back * dv * dk},
        {&l->ut, back * dv * SUB},
        {&l->grad_m, back * dk * dv},
        {&l->grad_mt, back * dv * dk},
        {&l->grad_k, back * SUB * dk},
        {&l->grad_u, back * SUB * dv},
        {&l->grad_q, back * SUB * dk},
        {&l->grad_r, back * SUB * dv},
        {&l->grad_s, back * SUB * SUB},
        {&l->pair, back * SUB * SUB},
        {&l->stash, back * round_up(a->chunk, SUB) / SUB * dk * dv},
    };
    int64_t used = 0;
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        if (base) *part[i].at = base + used;
        used += round_up(part[i].n, HY__ALIGN / (int64_t)sizeof(float));
    }
    return used;
}

/* The head's part of row `row` of a tensor with `width` elements per head; NULL when absent. */
static float *at(const lane *l, hy__tensor t, int64_t row, int64_t ld, int64_t width) {
    if (!hy__present(t)) return NULL;
    return (float *)hy__ptr(t) + row * (ld ? ld : l->a->n_head * width) + l->head * width;
}

static float *state_of(const lane *l, const hy__tensor *states) {
    float *p = hy__ptr_of(states, l->seq);
    return p ? p + l->head * l->dk * l->dv : NULL;
}

/* The number of the sequence's first chunk among those of the batch. */
static int64_t first_unit(const lane *l) {
    const hy__rows before = {.n_seq = l->seq, .seq = l->a->rows->seq};
    return hy__rows_units(&before, l->a->chunk);
}

static void copy(float *dst, const float *src, int64_t n) {
    memcpy(dst, src, (size_t)n * sizeof *dst);
}
static void copy_or_zero(float *dst, const float *src, int64_t n) {
    if (src) copy(dst, src, n);
    if (!src) memset(dst, 0, (size_t)n * sizeof *dst);
}

static void load_rows(const lane *l, float *dst, hy__tensor t, int64_t row, int64_t ld,
                      int64_t width, int64_t len) {
    for (int64_t i = 0; i < len; i++) copy(dst + i * width, at(l, t, row + i, ld, width), width);
}
static void store_rows(const lane *l, hy__tensor t, int64_t row, int64_t ld, int64_t width,
                       const float *src, int64_t len) {
    for (int64_t i = 0; i < len; i++) copy(at(l, t, row + i, ld, width), src + i * width, width);
}

/* ---- triangular products --------------------------------------------------------------------- */

/* How many columns of row t lower_product writes. */
static int64_t reach(int64_t t, int64_t len) {
    return round_up(least(t / ROWS * ROWS + ROWS, len), PAD);
}

/* c[t,i] = x_t·y_i for i < reach(t): x [len,width], yt [width,SUB], of which columns from len on
 * are undefined. */
static void lower_product(int64_t len, int64_t width, const float *x, const float *yt, float *c) {
    for (int64_t t = 0; t < len; t += ROWS)
        mm(least(ROWS, len - t), reach(t, len), width, x + t * width, width, 1, yt, SUB,
           c + t * SUB, SUB, false);
}

/* c [len,width] += tri·x */
static void tri_times(int64_t len, int64_t width, const float *tri, const float *x, float *c) {
    for (int64_t t = 0; t < len; t += ROWS) {
        const int64_t rows = least(ROWS, len - t);
        mm(rows, width, t + rows, tri + t * SUB, SUB, 1, x, width, c + t * width, width, true);
    }
}

/* c [len,width] += triᵀ·x */
static void tri_t_times(int64_t len, int64_t width, const float *tri, const float *x, float *c) {
    for (int64_t t = 0; t < len; t += ROWS)
        mm(least(ROWS, len - t), width, len - t, tri + t * SUB + t, 1, SUB, x + t * width, width,
           c + t * width, width, true);
}

/* ---- a block forward ------------------------------------------------------------------------- */

static float gate_a_input(const lane *l, int64_t row) {
    return *at(l, l->a->ga, row, l->a->ldg, 1) + (float)l->a->a_offset;
}

/* log σ(x) without overflow or cancellation. */
static double log_sigmoid(double x) {
    return x > 0 ? -log1p(exp(-x)) : x - log1p(exp(x));
}

/* K and the gates: what moving the memory over a block needs. */
static void load_block(lane *l, int64_t row, int64_t len) {
    const hy__delta_args *a = l->a;
    load_rows(l, l->k, a->k, row, a->ldk, l->dk, len);
    double sum = 0;
    for (int64_t t = 0; t < len; t++) {
        sum += log_sigmoid((double)gate_a_input(l, row + t));
        l->g[t] = sum;
        l->b[t] = sf_sigmoid(*at(l, a->gb, row + t, a->ldg, 1));
    }
    for (int64_t t = 0; t < len; t++) {
        l->e[t] = sf_exp((float)l->g[t]);
        l->f[t] = sf_exp((float)(sum - l->g[t]));
    }
}

/* What holds between pairs of the block's tokens: Kᵀ, D and -N. */
static void load_pairs(lane *l, int64_t len) {
    mat_transpose(l->kt, SUB, l->k, l->dk, len, l->dk);
    lower_product(len, l->dk, l->k, l->kt, l->minus_n);
    for (int64_t t = 0; t < len; t++) {
        float *d = l->decay + t * SUB, *n = l->minus_n + t * SUB;
        for (int64_t i = 0; i <= t; i++) d[i] = (float)(l->g[t] - l->g[i]);
        for (int64_t i = t + 1; i < reach(t, len); i++) d[i] = -1000; /* e^ of it is 0 */
        for (int64_t i = 0; i < reach(t, len); i += VL) {
            const vf decay = vf_exp(vf_load(d + i));
            vf_store(d + i, decay);
            vf_store(n + i, -decay * vf_load(n + i));
        }
    }
}

/* U of the block. */
static void write_block(lane *l, int64_t row, int64_t len) {
    const hy__delta_args *a = l->a;
    const int64_t dv = l->dv;
    float *u = l->u;
    mm(len, dv, l->dk, l->k, l->dk, 1, l->m, dv, u, dv, false);
    for (int64_t t = 0; t < len; t++) {
        const float *v = at(l, a->v, row + t, a->ldv, dv);
        for (int64_t i = 0; i < dv; i++) u[t * dv + i] = v[i] - l->e[t] * u[t * dv + i];
    }
    for (int64_t begin = 0; begin < len; begin += ROWS) {
        const int64_t end = least(begin + ROWS, len);
        const float *n = l->minus_n + begin * SUB;
        mm(end - begin, dv, begin, n, SUB, 1, u, dv, u + begin * dv, dv, true);
        for (int64_t t = begin; t < end; t++) {
            for (int64_t i = begin; i < t; i++)
                vec_axpy(u + t * dv, l->minus_n[t * SUB + i], u + i * dv, dv);
            vec_scale(u + t * dv, l->b[t], dv);
        }
    }
}

/* M at the block's end. */
static void advance(lane *l, int64_t len) {
    const int64_t dk = l->dk, dv = l->dv;
    for (int64_t t = 0; t < len; t++) {
        copy(l->tmp + t * dv, l->u + t * dv, dv);
        vec_scale(l->tmp + t * dv, l->f[t], dv);
    }
    vec_scale(l->m, l->e[len - 1], dk * dv);
    mm(dk, dv, len, l->k, 1, dk, l->tmp, dv, l->m, dv, true);
}

/* mix[n] = softmax(gm + gm_bias) of one token. */
static void mix_weights(const lane *l, int64_t row, float *mix) {
    const float *gm = at(l, l->a->gm, row, l->a->ldg, l->n);
    const float *bias = at(l, l->a->gm_bias, 0, 0, l->n);
    float top = -INFINITY, sum = 0;
    for (int64_t j = 0; j < l->n; j++) top = fmaxf(top, gm[j] + bias[j]);
    for (int64_t j = 0; j < l->n; j++) {
        mix[j] = sf_exp(gm[j] + bias[j] - top);
        sum += mix[j];
    }
    for (int64_t j = 0; j < l->n; j++) mix[j] /= sum;
}

/* q = L2(W_r · RMS(r)) for each of len rows, from x = W_r · r: q = x·rms·inv. */
static void normalise_query(const lane *l, int64_t len, const float *r, float *q, float *rms,
                            float *inv) {
    const float eps = (float)l->a->eps;
    for (int64_t t = 0; t < len; t++) {
        const float *rt = r + t * l->dv;
        float *qt = q + t * l->dk;
        rms[t] = 1.0f / sqrtf(vec_dot(rt, rt, l->dv) / (float)l->dv + eps);
        inv[t] = 1.0f / sqrtf(rms[t] * rms[t] * vec_dot(qt, qt, l->dk) + eps);
        vec_scale(qt, rms[t] * inv[t], l->dk);
    }
}

static void next_query(const lane *l, int64_t len, const float *r, float *q, float *rms,
                       float *inv) {
    mm(len, l->dk, l->dv, r, l->dv, 1, l->wrt, l->dk, q, l->dk, false);
    normalise_query(l, len, r, q, rms, inv);
}

/* Result r_j of one token into what the caller asked for. */
static void emit_read(const lane *l, int64_t row, int64_t j, const float *mix, const float *r) {
    float *y = at(l, l->a->y, row, 0, l->dv), *keep = at(l, l->a->r, row, 0, l->n * l->dv);
    if (keep) copy(keep + j * l->dv, r, l->dv);
    if (j == 0) memset(y, 0, (size_t)l->dv * sizeof *y);
    vec_axpy(y, mix[j], r, l->dv);
}

static void read_block(lane *l, int64_t row, int64_t len) {
    const int64_t dk = l->dk, dv = l->dv;
    load_rows(l, l->q, l->a->q, row, l->a->ldq, dk, len);
    for (int64_t t = 0; t < len; t++) mix_weights(l, row + t, l->mix + t * l->n);
    for (int64_t j = 0; j < l->n; j++) {
        if (j > 0) next_query(l, len, l->r, l->q, l->rms, l->inv);
        lower_product(len, dk, l->q, l->kt, l->s);
        mm(len, dv, dk, l->q, dk, 1, l->m, dv, l->r, dv, false);
        for (int64_t t = 0; t < len; t++) {
            vec_scale(l->r + t * dv, l->e[t], dv);
            float *s = l->s + t * SUB, *d = l->decay + t * SUB;
            for (int64_t i = 0; i < reach(t, len); i += VL)
                vf_store(s + i, vf_load(s + i) * vf_load(d + i));
        }
        tri_times(len, dv, l->s, l->u, l->r);
        for (int64_t t = 0; t < len; t++)
            emit_read(l, row + t, j, l->mix + t * l->n, l->r + t * dv);
    }
}

/* ---- forward --------------------------------------------------------------------------------- */

static void forward_blocks(lane *l) {
    const hy__delta_args *a = l->a;
    const hy__seq *s = &a->rows->seq[l->seq];
    const int64_t m_len = l->dk * l->dv;
    int64_t unit = first_unit(l);
    copy_or_zero(l->m, state_of(l, a->state_in), m_len);
    if (l->n > 1) mat_transpose(l->wrt, l->dk, l->wr, l->dv, l->dk, l->dv);
    for (int64_t t = 0, len; t < s->len; t += len) {
        const int64_t row = s->start + t, in_chunk = (s->pos + t) % a->chunk;
        if (t == 0 || in_chunk == 0) {
            float *keep = at(l, a->chunk_state, unit++, 0, m_len);
            if (keep) copy(keep, l->m, m_len);
        }
        len = least(least(SUB, a->chunk - in_chunk), s->len - t);
        load_block(l, row, len);
        load_pairs(l, len);
        write_block(l, row, len);
        if (hy__present(a->u)) store_rows(l, a->u, row, 0, l->dv, l->u, len);
        read_block(l, row, len);
        advance(l, len);
    }
    float *out = state_of(l, a->state_out);
    if (out) copy(out, l->m, m_len);
}

/* A piece of one token: the recurrence. */
static void forward_token(lane *l) {
    const hy__delta_args *a = l->a;
    const int64_t dk = l->dk, dv = l->dv, row = a->rows->seq[l->seq].start;
    const float *k = at(l, a->k, row, a->ldk, dk), *v = at(l, a->v, row, a->ldv, dv);
    const float ga = sf_sigmoid(gate_a_input(l, row));
    const float gb = sf_sigmoid(*at(l, a->gb, row, a->ldg, 1));
    float *out = state_of(l, a->state_out), *m = out ? out : l->m, *u = l->u;
    const float *in = state_of(l, a->state_in);
    float *keep = at(l, a->chunk_state, first_unit(l), 0, dk * dv);
    if (m != in) copy_or_zero(m, in, dk * dv);
    if (keep) copy(keep, m, dk * dv);
    mm(1, dv, dk, k, dk, 1, m, dv, u, dv, false);
    for (int64_t i = 0; i < dv; i++) u[i] = gb * (v[i] - ga * u[i]);
    if (hy__present(a->u)) store_rows(l, a->u, row, 0, dv, u, 1);
    for (int64_t i = 0; i < dk; i++) {
        vec_scale(m + i * dv, ga, dv);
        vec_axpy(m + i * dv, k[i], u, dv);
    }
    load_rows(l, l->q, a->q, row, a->ldq, dk, 1);
    mix_weights(l, row, l->mix);
    for (int64_t j = 0; j < l->n; j++) {
        if (j > 0) {
            for (int64_t i = 0; i < dk; i++) l->q[i] = vec_dot(l->wr + i * dv, l->r, dv);
            normalise_query(l, 1, l->r, l->q, l->rms, l->inv);
        }
        mm(1, dv, dk, l->q, dk, 1, m, dv, l->r, dv, false);
        emit_read(l, row, j, l->mix, l->r);
    }
}

static void delta(hy__backend *be, const hy__delta_args *a) {
    lane size;
    const int64_t n_task = a->rows->n_seq * a->n_head;
    const size_t per_thread = (size_t)lane_carve(&size, a, false, NULL) * sizeof(float);
    void *scratch = hy__scratch(be, per_thread);
    if (!scratch) return;
#pragma omp parallel for num_threads(be->n_thread) schedule(dynamic)
    for (int64_t task = 0; task < n_task; task++) {
        lane l;
        lane_carve(&l, a, false, hy__scratch_of(scratch, per_thread, omp_get_thread_num()));
        l.seq = task / a->n_head;
        l.head = task % a->n_head;
        l.wr = at(&l, a->wr, 0, 0, l.dk * l.dv);
        if (a->rows->seq[l.seq].len == 1)
            forward_token(&l);
        else
            forward_blocks(&l);
    }
}

/* ---- a block backward ---------------------------------------------------------------------------
 * The gradient of log a_s is the sum, over every term with a decay in it, of the term's own share
 * for each s that the decay spans: D_ti spans i < s <= t (kept in `pair`), E_t spans s <= t
 * (`from`), F_t spans s > t (`to`). Summed so, nothing undecayed cancels. */

/* Fills q and r for every read from what the forward kept, and mix. */
static void replay_reads(lane *l, int64_t row, int64_t len) {
    const int64_t dk = l->dk, dv = l->dv, n = l->n;
    load_rows(l, l->q, l->a->q, row, l->a->ldq, dk, len);
    for (int64_t j = 0; j < n; j++) {
        float *r = l->r + j * SUB * dv;
        for (int64_t t = 0; t < len; t++)
            copy(r + t * dv, at(l, l->a->r, row + t, 0, n * dv) + j * dv, dv);
        if (j + 1 < n)
            next_query(l, len, r, l->q + (j + 1) * SUB * dk, l->rms + (j + 1) * SUB,
                       l->inv + (j + 1) * SUB);
    }
    for (int64_t t = 0; t < len; t++) mix_weights(l, row + t, l->mix + t * n);
}

/* dgm, dgm_bias. */
static void mix_backward(lane *l, int64_t row, int64_t len) {
    const hy__delta_args *a = l->a;
    for (int64_t t = 0; t < len; t++) {
        const float *dy = at(l, a->dy, row + t, 0, l->dv), *mix = l->mix + t * l->n;
        float *dgm = at(l, a->dgm, row + t, a->ldg, l->n), mean = 0;
        for (int64_t j = 0; j < l->n; j++) {
            dgm[j] = vec_dot(dy, l->r + (j * SUB + t) * l->dv, l->dv);
            mean += mix[j] * dgm[j];
        }
        for (int64_t j = 0; j < l->n; j++) {
            dgm[j] = mix[j] * (dgm[j] - mean);
            l->dbias[j] += dgm[j];
        }
    }
}

/* The step to the block's end: starts grad_u and grad_k, makes grad_m that of the block's first M.
 * Returns the share of the gates that E_L M has, the same for all of the block's. */
static float advance_backward(lane *l, int64_t len) {
    const int64_t dk = l->dk, dv = l->dv;
    mat_transpose(l->grad_mt, dk, l->grad_m, dv, dk, dv);
    mm(len, dv, dk, l->k, dk, 1, l->grad_m, dv, l->grad_u, dv, false);
    mm(len, dk, dv, l->u, dv, 1, l->grad_mt, dk, l->grad_k, dk, false);
    for (int64_t t = 0; t < len; t++) {
        vec_scale(l->grad_u + t * dv, l->f[t], dv);
        vec_scale(l->grad_k + t * dk, l->f[t], dk);
        l->to[t] = vec_dot(l->grad_u + t * dv, l->u + t * dv, dv);
        l->from[t] = 0;
        memset(l->pair + t * SUB, 0, SUB * sizeof(float));
    }
    vec_scale(l->grad_m, l->e[len - 1], dk * dv);
    return vec_dot(l->grad_m, l->m, dk * dv);
}

/* From grad_q (of q_{j+1}): grad_r (of r_j) +=, dW_r +=. grad_q is overwritten. */
static void query_backward(lane *l, int64_t len, int64_t j) {
    const int64_t dk = l->dk, dv = l->dv;
    const float *r = l->r + j * SUB * dv, *q = l->q + (j + 1) * SUB * dk;
    const float *rms = l->rms + (j + 1) * SUB, *inv = l->inv + (j + 1) * SUB;
    float *dx = l->grad_q, *dz = l->tmp;
    for (int64_t t = 0; t < len; t++) { /* through L2, and the RMS's factor for dW_r */
        vec_axpy(dx + t * dk, -vec_dot(dx + t * dk, q + t * dk, dk), q + t * dk, dk);
        vec_scale(dx + t * dk, inv[t] * rms[t], dk);
    }
    mm(dk, dv, len, dx, 1, dk, r, dv, l->dwr, dv, true);
    mm(len, dv, dk, dx, dk, 1, l->wr, dv, dz, dv, false);
    for (int64_t t = 0; t < len; t++) {
        const float along = vec_dot(dz + t * dv, r + t * dv, dv) / (float)dv * rms[t] * rms[t];
        vec_axpy(l->grad_r + t * dv, 1, dz + t * dv, dv);
        vec_axpy(l->grad_r + t * dv, -along, r + t * dv, dv);
    }
}

/* Read j: leaves grad_q, adds to grad_k, grad_u, grad_m and the gates' shares. */
static void read_backward(lane *l, int64_t row, int64_t len, int64_t j) {
    const int64_t dk = l->dk, dv = l->dv;
    const float *q = l->q + j * SUB * dk;
    for (int64_t t = 0; t < len; t++) {
        copy(l->grad_r + t * dv, at(l, l->a->dy, row + t, 0, dv), dv);
        vec_scale(l->grad_r + t * dv, l->mix[t * l->n + j], dv);
    }
    if (j + 1 < l->n) query_backward(l, len, j);
    lower_product(len, dk, q, l->kt, l->s);
    lower_product(len, dv, l->grad_r, l->ut, l->grad_s);
    for (int64_t t = 0; t < len; t++) {
        for (int64_t i = t * SUB; i < t * SUB + reach(t, len); i += VL) {
            const vf decay = vf_load(l->decay + i), s = vf_load(l->s + i) * decay;
            const vf p = vf_load(l->grad_s + i);
            vf_store(l->s + i, s);
            vf_store(l->pair + i, vf_load(l->pair + i) + p * s);
            vf_store(l->grad_s + i, p * decay);
        }
    }
    tri_t_times(len, dv, l->s, l->grad_r, l->grad_u);
    for (int64_t t = 0; t < len; t++) vec_scale(l->grad_r + t * dv, l->e[t], dv);
    mm(len, dk, dv, l->grad_r, dv, 1, l->mt, dk, l->grad_q, dk, false);
    mm(dk, dv, len, q, 1, dk, l->grad_r, dv, l->grad_m, dv, true);
    for (int64_t t = 0; t < len; t++) l->from[t] += vec_dot(q + t * dk, l->grad_q + t * dk, dk);
    tri_times(len, dk, l->grad_s, l->k, l->grad_q);
    tri_t_times(len, dk, l->grad_s, q, l->grad_k);
}

/* The adjoint of the substitution: grad_u becomes the gradient of v; dgb. */
static void solve_backward(lane *l, int64_t row, int64_t len) {
    const hy__delta_args *a = l->a;
    const int64_t dv = l->dv;
    float *du = l->grad_u;
    for (int64_t begin = (len - 1) / ROWS * ROWS; begin >= 0; begin -= ROWS) {
        const int64_t end = least(begin + ROWS, len);
        mm(end - begin, dv, len - end, l->minus_n + end * SUB + begin, 1, SUB, du + end * dv, dv,
           du + begin * dv, dv, true);
        for (int64_t t = end - 1; t >= begin; t--) {
            for (int64_t i = t + 1; i < end; i++)
                vec_axpy(du + t * dv, l->minus_n[i * SUB + t], du + i * dv, dv);
            *at(l, a->dgb, row + t, a->ldg, 1) = vec_dot(du + t * dv, l->u + t * dv, dv) *
                                                 sf_sigmoid(-*at(l, a->gb, row + t, a->ldg, 1));
            vec_scale(du + t * dv, l->b[t], dv);
        }
    }
}

/* The write: dv, dgb; adds to grad_k, grad_m and the gates' shares. */
static void write_backward(lane *l, int64_t row, int64_t len) {
    const int64_t dk = l->dk, dv = l->dv;
    solve_backward(l, row, len);
    store_rows(l, l->a->dv, row, l->a->ldv, dv, l->grad_u, len);
    lower_product(len, dv, l->grad_u, l->ut, l->grad_s);
    for (int64_t t = 0; t < len; t++) {
        for (int64_t i = t * SUB; i < t * SUB + reach(t, len); i += VL) {
            const vf p = vf_load(l->grad_s + i);
            vf_store(l->pair + i, vf_load(l->pair + i) + p * vf_load(l->minus_n + i));
            vf_store(l->grad_s + i, -p * vf_load(l->decay + i));
        }
        l->grad_s[t * SUB + t] = 0;
    }
    tri_times(len, dk, l->grad_s, l->k, l->grad_k);
    tri_t_times(len, dk, l->grad_s, l->k, l->grad_k);
    for (int64_t t = 0; t < len; t++) vec_scale(l->grad_u + t * dv, -l->e[t], dv);
    mm(len, dk, dv, l->grad_u, dv, 1, l->mt, dk, l->grad_q, dk, false);
    mm(dk, dv, len, l->k, 1, dk, l->grad_u, dv, l->grad_m, dv, true);
    for (int64_t t = 0; t < len; t++) {
        l->from[t] += vec_dot(l->k + t * dk, l->grad_q + t * dk, dk);
        vec_axpy(l->grad_k + t * dk, 1, l->grad_q + t * dk, dk);
    }
}

/* dga from pair, from, to and the share of the whole block. */
static void gate_backward(lane *l, int64_t row, int64_t len, float whole) {
    const hy__delta_args *a = l->a;
    float spanning[SUB] = {0}; /* Σ of pair[t..][i] */
    float before[SUB] = {0};   /* Σ of to[..t-1] */
    float after = whole;       /* and Σ of from[t..] */
    for (int64_t t = 1; t < len; t++) before[t] = before[t - 1] + l->to[t - 1];
    for (int64_t t = len - 1; t >= 0; t--) {
        float sum = 0;
        for (int64_t i = 0; i < t; i++) {
            spanning[i] += l->pair[t * SUB + i];
            sum += spanning[i];
        }
        after += l->from[t];
        *at(l, a->dga, row + t, a->ldg, 1) =
            (sum + before[t] + after) * sf_sigmoid(-gate_a_input(l, row + t));
    }
}

static void backward_block(lane *l, int64_t row, int64_t len) {
    const hy__delta_args *a = l->a;
    load_block(l, row, len);
    load_pairs(l, len);
    load_rows(l, l->u, a->u, row, 0, l->dv, len);
    mat_transpose(l->ut, SUB, l->u, l->dv, len, l->dv);
    mat_transpose(l->mt, l->dk, l->m, l->dv, l->dk, l->dv);
    replay_reads(l, row, len);
    mix_backward(l, row, len);
    const float whole = advance_backward(l, len);
    for (int64_t j = l->n - 1; j >= 0; j--) read_backward(l, row, len, j);
    store_rows(l, a->dq, row, a->ldq, l->dk, l->grad_q, len);
    write_backward(l, row, len);
    store_rows(l, a->dk, row, a->ldk, l->dk, l->grad_k, len);
    gate_backward(l, row, len, whole);
}

/* ---- backward -------------------------------------------------------------------------------- */

/* Tokens [begin, end) of the piece, which lie in one chunk: the memory at the start of each block
 * is made again from the kept U, then the blocks go backward. */
static void backward_chunk(lane *l, int64_t begin, int64_t end, const float *first) {
    const int64_t start = l->a->rows->seq[l->seq].start, m_len = l->dk * l->dv;
    copy(l->m, first, m_len);
    for (int64_t t = begin; t < end; t += SUB) {
        copy(l->stash + (t - begin) / SUB * m_len, l->m, m_len);
        if (t + SUB >= end) break;
        load_block(l, start + t, SUB);
        load_rows(l, l->u, l->a->u, start + t, 0, l->dv, SUB);
        advance(l, SUB);
    }
    for (int64_t t = begin + (end - begin - 1) / SUB * SUB; t >= begin; t -= SUB) {
        copy(l->m, l->stash + (t - begin) / SUB * m_len, m_len);
        backward_block(l, start + t, least(SUB, end - t));
    }
}

static void backward_lane(lane *l) {
    const hy__delta_args *a = l->a;
    const hy__seq *s = &a->rows->seq[l->seq];
    const int64_t m_len = l->dk * l->dv;
    int64_t unit = first_unit(l) + hy__seq_units(s, a->chunk) - 1;
    if (l->n > 1) mat_transpose(l->wrt, l->dk, l->wr, l->dv, l->dk, l->dv);
    memset(l->dwr, 0, (size_t)m_len * sizeof(float));
    memset(l->dbias, 0, (size_t)l->n * sizeof(float));
    copy_or_zero(l->grad_m, state_of(l, a->dstate_out), m_len);
    for (int64_t end = s->len; end > 0; unit--) {
        int64_t begin = end - ((s->pos + end - 1) % a->chunk + 1);
        if (begin < 0) begin = 0;
        backward_chunk(l, begin, end, at(l, a->chunk_state, unit, 0, m_len));
        end = begin;
    }
    float *in = state_of(l, a->dstate_in);
    if (in) copy(in, l->grad_m, m_len);
}

/* Every task has its own sums of dW_r and dgm_bias; they are added in the order of the sequences,
 * so that threads do not change a bit. */
static void delta_backward(hy__backend *be, const hy__delta_args *a) {
    lane size;
    const int64_t n_seq = a->rows->n_seq, n_head = a->n_head, m_len = a->d_k * a->d_v;
    const int64_t sum_len = m_len + a->reads, n_task = n_seq * n_head;
    const size_t per_thread = (size_t)lane_carve(&size, a, true, NULL) * sizeof(float);
    const int64_t sums = (n_task * sum_len + be->n_thread - 1) / be->n_thread;
    char *scratch = hy__scratch(be, per_thread + hy__tensor_bytes(HY__DTYPE_F32, sums));
    if (!scratch) return;
    float *sum = (float *)(scratch + per_thread * (size_t)be->n_thread);
#pragma omp parallel for num_threads(be->n_thread) schedule(dynamic)
    for (int64_t task = 0; task < n_task; task++) {
        lane l;
        lane_carve(&l, a, true, hy__scratch_of(scratch, per_thread, omp_get_thread_num()));
        l.seq = task / n_head;
        l.head = task % n_head;
        l.wr = at(&l, a->wr, 0, 0, m_len);
        l.dwr = sum + task * sum_len;
        l.dbias = l.dwr + m_len;
        backward_lane(&l);
    }
    float *dwr = hy__ptr(a->dwr), *dbias = hy__ptr(a->dgm_bias);
    for (int64_t task = 0; task < n_task; task++) {
        const float *from = sum + task * sum_len;
        const int64_t h = task % n_head;
        if (a->reads > 1) vec_axpy(dwr + h * m_len, 1, from, m_len);
        vec_axpy(dbias + h * a->reads, 1, from + m_len, a->reads);
    }
}

void HY__FAST(hy__fast_delta)(hy__kernels *k) {
    k->delta = delta;
    k->delta_backward = delta_backward;
}
