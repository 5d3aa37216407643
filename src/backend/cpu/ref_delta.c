/* ref_delta.c: the workspace's memory, token by token, straight from the equations.
 *
 * Per sequence and head a memory M [dk,dv] is written at every token by the gated delta rule (Gated
 * DeltaNet, arXiv 2412.06464) and then read n times, each read's result making the next query:
 *   a = σ(ga + a_offset), b = σ(gb)
 *   M_t = a (I - b k kᵀ) M_{t-1} + b k vᵀ = a M_{t-1} + k uᵀ,  u = b (v - a M_{t-1}ᵀ k)
 *   r_1 = M_tᵀ q_1,  q_{j+1} = L2(W_r · RMS(r_j)),  r_{j+1} = M_tᵀ q_{j+1}
 *   y = Σ_j softmax_j(gm_j + gm_bias_j) r_j
 * The backward runs the adjoint recurrence over the tokens in reverse. It replays each chunk from
 * chunk_state, so that state_in may have been overwritten meanwhile. */
#include "backend/cpu/ref.h"

/* One (sequence, head): where its rows lie, and what a token's computation needs. */
typedef struct lane {
    const hy__delta_args *a;
    int64_t seq, head;
    int64_t dk, dv, n; /* n reads */
    const real *wr;    /* [dk,dv] */
    real *q, *r;       /* [n,dk], [n,dv] queries and results of one token */
    real *rms, *inv;   /* [n] 1/RMS of r_j; 1/length of the vector that became q_j (j >= 1) */
    real *mix;         /* [n] softmax */
    real *dq, *dr;     /* [dk], [dv] */
    real *h, *w;       /* [dv] M_{t-1}ᵀ k; dMᵀ k */
    real *dm;          /* [dk,dv] gradient of M after the token in hand */
    real *m;           /* [chunk+1,dk,dv] M at the start of a chunk and after each of its tokens */
} lane;

/* Hands out the lane's memory from `base`; NULL only counts. Returns the elements needed. */
static int64_t lane_carve(lane *l, const hy__delta_args *a, real *base) {
    const int64_t dk = a->d_k, dv = a->d_v, n = a->reads;
    *l = (lane){.a = a, .dk = dk, .dv = dv, .n = n};
    const struct {
        real **at;
        int64_t n;
    } part[] = {
        {&l->q, n * dk},
        {&l->r, n * dv},
        {&l->rms, n},
        {&l->inv, n},
        {&l->mix, n},
        {&l->dq, dk},
        {&l->dr, dv},
        {&l->h, dv},
        {&l->w, dv},
        {&l->dm, dk * dv},
        {&l->m, (a->chunk + 1) * dk * dv},
    };
    int64_t used = 0;
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        if (base) *part[i].at = base + used;
        used += part[i].n;
    }
    return used;
}

/* False without memory. */
static bool lane_init(lane *l, hy__backend *be, const hy__delta_args *a) {
    real *base = hy__scratch(be, hy__tensor_bytes(be->real, lane_carve(l, a, NULL)));
    if (base) lane_carve(l, a, base);
    return base != NULL;
}

/* The lane's part of row `row` of a tensor with `width` elements per head. */
static real *at(const lane *l, hy__tensor t, int64_t row, int64_t ld, int64_t width) {
    if (!hy__present(t)) return NULL;
    return (real *)hy__ptr(t) + row * (ld ? ld : l->a->n_head * width) + l->head * width;
}

static real *state_of(const lane *l, const hy__tensor *states) {
    real *p = hy__ptr_of(states, l->seq);
    return p ? p + l->head * l->dk * l->dv : NULL;
}

static real *chunk_state_of(const lane *l, int64_t unit) {
    return at(l, l->a->chunk_state, unit, 0, l->dk * l->dv);
}

static real gate_a(const lane *l, int64_t row) {
    return ref_sigmoid(*at(l, l->a->ga, row, l->a->ldg, 1) + (real)l->a->a_offset);
}
/* 1 - a without cancellation. */
static real gate_not_a(const lane *l, int64_t row) {
    return ref_sigmoid(-*at(l, l->a->ga, row, l->a->ldg, 1) - (real)l->a->a_offset);
}

static real dot(const real *x, const real *y, int64_t n) {
    real s = 0;
    for (int64_t i = 0; i < n; i++) s += x[i] * y[i];
    return s;
}

/* y[dv] = Mᵀ x */
static void memory_read(const lane *l, real *y, const real *m, const real *x) {
    for (int64_t j = 0; j < l->dv; j++) y[j] = 0;
    for (int64_t i = 0; i < l->dk; i++)
        for (int64_t j = 0; j < l->dv; j++) y[j] += x[i] * m[i * l->dv + j];
}

/* next = a M + k uᵀ (next may be m). */
static void write_token(lane *l, int64_t row, const real *m, real *next) {
    const hy__delta_args *a = l->a;
    const real *k = at(l, a->k, row, a->ldk, l->dk), *v = at(l, a->v, row, a->ldv, l->dv);
    const real ga = gate_a(l, row), gb = ref_sigmoid(*at(l, a->gb, row, a->ldg, 1));
    real *u = l->w;
    memory_read(l, l->h, m, k);
    for (int64_t j = 0; j < l->dv; j++) u[j] = gb * (v[j] - ga * l->h[j]);
    for (int64_t i = 0; i < l->dk; i++)
        for (int64_t j = 0; j < l->dv; j++)
            next[i * l->dv + j] = ga * m[i * l->dv + j] + k[i] * u[j];
    real *u_out = at(l, a->u, row, 0, l->dv);
    if (u_out) memcpy(u_out, u, (size_t)l->dv * sizeof *u);
}

/* Queries, results and mixing weights of one token. */
static void read_token(lane *l, int64_t row, const real *m) {
    const hy__delta_args *a = l->a;
    const int64_t dk = l->dk, dv = l->dv, n = l->n;
    memcpy(l->q, at(l, a->q, row, a->ldq, dk), (size_t)dk * sizeof(real));
    for (int64_t j = 0; j < n; j++) {
        real *r = l->r + j * dv;
        memory_read(l, r, m, l->q + j * dk);
        if (j + 1 == n) break;
        real *next = l->q + (j + 1) * dk;
        l->rms[j] = 1 / (real)sqrt((double)(dot(r, r, dv) / (real)dv + (real)a->eps));
        for (int64_t i = 0; i < dk; i++) next[i] = l->rms[j] * dot(l->wr + i * dv, r, dv);
        l->inv[j + 1] = 1 / (real)sqrt((double)(dot(next, next, dk) + (real)a->eps));
        for (int64_t i = 0; i < dk; i++) next[i] *= l->inv[j + 1];
    }
    const real *gm = at(l, a->gm, row, a->ldg, n), *bias = at(l, a->gm_bias, 0, 0, n);
    double top = -(double)INFINITY, sum = 0;
    for (int64_t j = 0; j < n; j++) top = fmax(top, (double)(gm[j] + bias[j]));
    for (int64_t j = 0; j < n; j++) {
        l->mix[j] = (real)exp((double)(gm[j] + bias[j]) - top);
        sum += (double)l->mix[j];
    }
    for (int64_t j = 0; j < n; j++) l->mix[j] /= (real)sum;
}

static void forward_lane(lane *l, int64_t unit) {
    const hy__delta_args *a = l->a;
    const hy__seq *s = &a->rows->seq[l->seq];
    const size_t m_size = (size_t)(l->dk * l->dv) * sizeof(real);
    const real *in = state_of(l, a->state_in);
    if (in) memcpy(l->m, in, m_size);
    if (!in) memset(l->m, 0, m_size);
    for (int64_t t = 0; t < s->len; t++) {
        const int64_t row = s->start + t;
        if (t == 0 || (s->pos + t) % a->chunk == 0) {
            real *keep = chunk_state_of(l, unit++);
            if (keep) memcpy(keep, l->m, m_size);
        }
        write_token(l, row, l->m, l->m);
        read_token(l, row, l->m);
        real *y = at(l, a->y, row, 0, l->dv), *r = at(l, a->r, row, 0, l->n * l->dv);
        if (r) memcpy(r, l->r, (size_t)(l->n * l->dv) * sizeof(real));
        for (int64_t i = 0; i < l->dv; i++) {
            real sum = 0;
            for (int64_t j = 0; j < l->n; j++) sum += l->mix[j] * l->r[j * l->dv + i];
            y[i] = sum;
        }
    }
    real *out = state_of(l, a->state_out);
    if (out) memcpy(out, l->m, m_size);
}

static void delta(hy__backend *be, const hy__delta_args *a) {
    lane l;
    if (!lane_init(&l, be, a)) return;
    int64_t unit = 0;
    for (l.seq = 0; l.seq < a->rows->n_seq; l.seq++) {
        for (l.head = 0; l.head < a->n_head; l.head++) {
            l.wr = at(&l, a->wr, 0, 0, l.dk * l.dv);
            forward_lane(&l, unit);
        }
        unit += hy__seq_units(&a->rows->seq[l.seq], a->chunk);
    }
}

/* dq (gradient of q_{j+1}) becomes part of dr (gradient of r_j, +=); dW_r +=. */
static void query_backward(lane *l, int64_t j) {
    const int64_t dk = l->dk, dv = l->dv;
    const real *r = l->r + j * dv, *q = l->q + (j + 1) * dk;
    const real along = dot(q, l->dq, dk), rms = l->rms[j];
    real *dwr = at(l, l->a->dwr, 0, 0, dk * dv), *dz = l->w;
    for (int64_t c = 0; c < dv; c++) dz[c] = 0;
    for (int64_t i = 0; i < dk; i++) {
        const real dx = l->inv[j + 1] * (l->dq[i] - q[i] * along);
        for (int64_t c = 0; c < dv; c++) {
            dz[c] += dx * l->wr[i * dv + c];
            dwr[i * dv + c] += dx * rms * r[c];
        }
    }
    const real mean = dot(dz, r, dv) * rms / (real)dv;
    for (int64_t c = 0; c < dv; c++) l->dr[c] += rms * (dz[c] - rms * r[c] * mean);
}

/* The reads of one token: dM +=, dq, dgm, dgm_bias, dW_r. */
static void read_backward(lane *l, int64_t row, const real *m) {
    const hy__delta_args *a = l->a;
    const int64_t dk = l->dk, dv = l->dv, n = l->n;
    const real *dy = at(l, a->dy, row, 0, dv);
    real *dgm = at(l, a->dgm, row, a->ldg, n), *dbias = at(l, a->dgm_bias, 0, 0, n);
    real mean = 0;
    for (int64_t j = 0; j < n; j++) mean += l->mix[j] * dot(dy, l->r + j * dv, dv);
    for (int64_t j = 0; j < n; j++) {
        dgm[j] = l->mix[j] * (dot(dy, l->r + j * dv, dv) - mean);
        dbias[j] += dgm[j];
    }
    for (int64_t j = n - 1; j >= 0; j--) {
        for (int64_t c = 0; c < dv; c++) l->dr[c] = l->mix[j] * dy[c];
        if (j + 1 < n) query_backward(l, j);
        for (int64_t i = 0; i < dk; i++) {
            l->dq[i] = dot(m + i * dv, l->dr, dv);
            for (int64_t c = 0; c < dv; c++) l->dm[i * dv + c] += l->q[j * dk + i] * l->dr[c];
        }
    }
    memcpy(at(l, a->dq, row, a->ldq, dk), l->dq, (size_t)dk * sizeof(real));
}

/* The write of one token, from the memory m before it: dM_t becomes dM_{t-1}; dk, dv, dga, dgb. */
static void write_backward(lane *l, int64_t row, const real *m) {
    const hy__delta_args *a = l->a;
    const int64_t dk = l->dk, dv = l->dv;
    const real *k = at(l, a->k, row, a->ldk, dk), *v = at(l, a->v, row, a->ldv, dv);
    real *k_grad = at(l, a->dk, row, a->ldk, dk), *v_grad = at(l, a->dv, row, a->ldv, dv);
    const real gb_raw = *at(l, a->gb, row, a->ldg, 1);
    const real ga = gate_a(l, row), gb = ref_sigmoid(gb_raw);
    real da = 0, db = 0;
    memory_read(l, l->h, m, k);
    memory_read(l, l->w, l->dm, k);
    for (int64_t c = 0; c < dv; c++) {
        v_grad[c] = gb * l->w[c];
        db += l->w[c] * (v[c] - ga * l->h[c]);
    }
    for (int64_t i = 0; i < dk; i++) {
        real sum = 0;
        for (int64_t c = 0; c < dv; c++) {
            real *dm = &l->dm[i * dv + c];
            const real dh = -ga * gb * l->w[c];
            sum += *dm * gb * (v[c] - ga * l->h[c]) + m[i * dv + c] * dh;
            da += *dm * (m[i * dv + c] - gb * k[i] * l->h[c]);
            *dm = ga * *dm + k[i] * dh;
        }
        k_grad[i] = sum;
    }
    *at(l, a->dga, row, a->ldg, 1) = da * ga * gate_not_a(l, row);
    *at(l, a->dgb, row, a->ldg, 1) = db * gb * ref_sigmoid(-gb_raw);
}

/* `unit` is the sequence's last chunk. */
static void backward_lane(lane *l, int64_t unit) {
    const hy__delta_args *a = l->a;
    const hy__seq *s = &a->rows->seq[l->seq];
    const int64_t m_len = l->dk * l->dv;
    const size_t m_size = (size_t)m_len * sizeof(real);
    const real *out = state_of(l, a->dstate_out);
    if (out) memcpy(l->dm, out, m_size);
    if (!out) memset(l->dm, 0, m_size);
    for (int64_t end = s->len; end > 0; unit--) {
        int64_t begin = end - ((s->pos + end - 1) % a->chunk + 1);
        if (begin < 0) begin = 0;
        memcpy(l->m, chunk_state_of(l, unit), m_size);
        for (int64_t t = begin; t < end; t++) {
            real *m = l->m + (t - begin) * m_len;
            write_token(l, s->start + t, m, m + m_len);
        }
        for (int64_t t = end - 1; t >= begin; t--) {
            const real *m = l->m + (t - begin) * m_len;
            read_token(l, s->start + t, m + m_len);
            read_backward(l, s->start + t, m + m_len);
            write_backward(l, s->start + t, m);
        }
        end = begin;
    }
    real *in = state_of(l, a->dstate_in);
    if (in) memcpy(in, l->dm, m_size);
}

static void delta_backward(hy__backend *be, const hy__delta_args *a) {
    lane l;
    if (!lane_init(&l, be, a)) return;
    int64_t unit = 0;
    for (l.seq = 0; l.seq < a->rows->n_seq; l.seq++) {
        unit += hy__seq_units(&a->rows->seq[l.seq], a->chunk);
        for (l.head = 0; l.head < a->n_head; l.head++) {
            l.wr = at(&l, a->wr, 0, 0, l.dk * l.dv);
            backward_lane(&l, unit - 1);
        }
    }
}

/* Decay, write rate and the reads' shares of one row and head. */
static void stat_row(const lane *l, int64_t row, double *sum) {
    const hy__delta_args *a = l->a;
    const real *gm = at(l, a->gm, row, a->ldg, l->n), *bias = at(l, a->gm_bias, 0, 0, l->n);
    double top = -(double)INFINITY, total = 0;
    sum[HY__DELTA_STAT_ROWS] += 1;
    sum[HY__DELTA_STAT_DECAY] += (double)gate_a(l, row);
    sum[HY__DELTA_STAT_WRITE] += (double)ref_sigmoid(*at(l, a->gb, row, a->ldg, 1));
    for (int64_t j = 0; j < l->n; j++) top = fmax(top, (double)(gm[j] + bias[j]));
    for (int64_t j = 0; j < l->n; j++) total += exp((double)(gm[j] + bias[j]) - top);
    for (int64_t j = 0; j < l->n; j++)
        sum[HY__DELTA_STAT_READS + j] += exp((double)(gm[j] + bias[j]) - top) / total;
}

static void stat_memory(const lane *l, int64_t unit, double *sum) {
    const real *m = chunk_state_of(l, unit);
    sum[HY__DELTA_STAT_LOOKS] += 1;
    sum[HY__DELTA_STAT_NORM] += sqrt((double)dot(m, m, l->dk * l->dv));
}

static void delta_stat(hy__backend *be, const hy__delta_args *a) {
    const int64_t n_stat = HY__DELTA_STAT_READS + a->reads;
    double *sum = hy__scratch_all(be, (size_t)n_stat * sizeof *sum);
    if (!sum) return;
    for (int64_t j = 0; j < n_stat; j++) sum[j] = 0;
    lane l = {.a = a, .dk = a->d_k, .dv = a->d_v, .n = a->reads};
    int64_t unit = 0;
    for (int64_t i = 0; i < a->rows->n_seq; i++) {
        const hy__seq *s = &a->rows->seq[i];
        const int64_t units = hy__seq_units(s, a->chunk);
        for (l.head = 0; l.head < a->n_head; l.head++) {
            for (int64_t t = 0; t < s->len; t++) stat_row(&l, s->start + t, sum);
            for (int64_t u = s->pos == 0; u < units; u++) stat_memory(&l, unit + u, sum);
        }
        unit += units;
    }
    real *stat = hy__ptr(a->stat);
    for (int64_t j = 0; j < n_stat; j++) stat[j] += (real)sum[j];
}

void HY__REF(hy__ref_delta)(hy__kernels *k) {
    k->delta_stat = delta_stat;
    k->delta = delta;
    k->delta_backward = delta_backward;
}
