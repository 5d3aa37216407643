/* fast_conv.c: the fast depthwise causal convolution with SiLU, forward and backward.
 *
 * Threads divide the rows, and not the channels: with half a row each, what one core fetches ahead
 * is what the other is writing. Times t are counted from the start of a piece; -(K-1) … -1 lie in
 * the state, whose gradients and next value are made when all rows are done. */
#include "backend/cpu/simd.h"

enum { MAX_WIDTH = 16 }; /* taps; Mamba-2 has 4 */

/* A thread's scratch. */
typedef struct taps {
    float *w;       /* [K, ch]: the weights with channels adjacent */
    float *zero;    /* [ch] */
    float *dw, *db; /* backward: [K, ch], [ch], sums of this call over the thread's rows */
    float *dp;      /* backward: [K, ch], the last rows of dp in a ring */
} taps;

static size_t row_bytes(const hy__conv_args *a) {
    return hy__tensor_bytes(HY__DTYPE_F32, a->ch);
}
static size_t taps_bytes(const hy__conv_args *a) {
    return (size_t)(3 * a->width + 2) * row_bytes(a);
}

/* Those of part i, its weights ready. */
static taps taps_of(void *scratch, const hy__conv_args *a, int i) {
    char *at = hy__scratch_of(scratch, taps_bytes(a), i);
    taps s = {0};
    float **const part[] = {&s.w, &s.zero, &s.dw, &s.db, &s.dp};
    const int64_t rows[] = {a->width, 1, a->width, 1, a->width};
    for (int k = 0; k < 5; at += (size_t)rows[k] * row_bytes(a), k++)
        *part[k] = (float *)(void *)at;
    HY_ASSERT(a->width <= MAX_WIDTH);
    mat_transpose(s.w, a->ch, hy__ptr(a->w), a->width, a->ch, a->width);
    memset(s.zero, 0, (size_t)a->ch * sizeof(float));
    return s;
}

/* The tokens [*from, *to) of sequence q that lie among the rows of part i; false: none. */
static bool share_of(const hy__conv_args *a, int64_t q, int i, int parts, int64_t *from,
                     int64_t *to) {
    const hy__seq *s = &a->rows->seq[q];
    const int64_t lo = part_at(a->rows->n_row, i, parts, 1) - s->start;
    const int64_t hi = part_at(a->rows->n_row, i + 1, parts, 1) - s->start;
    *from = lo > 0 ? lo : 0;
    *to = hi < s->len ? hi : s->len;
    return *from < *to;
}

/* The K input rows that output t of sequence q sees, oldest first. */
INLINE void input_rows(const float **in, const hy__conv_args *a, const taps *s, int64_t q,
                       int64_t t) {
    const int64_t ldx = a->ldx ? a->ldx : a->ch;
    const float *x = (const float *)hy__ptr(a->x) + a->rows->seq[q].start * ldx;
    const float *state = hy__ptr_of(a->state_in, q);
    for (int64_t j = 0; j < a->width; j++) {
        const int64_t at = t - a->width + 1 + j;
        in[j] = at >= 0 ? x + at * ldx : state ? state + (at + a->width - 1) * a->ch : s->zero;
    }
}

/* bias + Σ_j w_j·in_j at channels c … */
INLINE vf before_silu(const int64_t width, const taps *s, const float *bias, const float *const *in,
                      int64_t ch, int64_t c, int64_t left) {
    vf sum = vf_load_to(bias + c, left);
#pragma GCC unroll 4
    for (int64_t j = 0; j < width; j++)
        sum += vf_load_to(s->w + j * ch + c, left) * vf_load_to(in[j] + c, left);
    return sum;
}

/* ---- forward ---- */

/* y[t] = SiLU(bias + Σ_j w_j·x[t-K+1+j]) */
INLINE void conv_row(const int64_t width, const hy__conv_args *a, const taps *s,
                     const float *const *in, float *y) {
    const float *bias = hy__ptr(a->bias);
    for (int64_t c = 0; c < a->ch; c += VL) {
        const vf pre = before_silu(width, s, bias, in, a->ch, c, a->ch - c);
        vf_store_to(y + c, pre * vf_sigmoid(pre), a->ch - c);
    }
}

static void conv_rows(const hy__conv_args *a, const taps *s, int64_t q, int64_t from, int64_t to) {
    float *y = (float *)hy__ptr(a->y) + (a->rows->seq[q].start + from) * a->ch;
    const float *in[MAX_WIDTH];
    for (int64_t t = from; t < to; t++, y += a->ch) {
        input_rows(in, a, s, q, t);
        if (a->width == 4)
            conv_row(4, a, s, in, y);
        else
            conv_row(a->width, a, s, in, y);
    }
}

/* The state after the piece: its last K-1 inputs. Rows go up, so that a row of state_in that is
 * state_out is read before it is written. */
static void leave_state(const hy__conv_args *a, const taps *s, int64_t q) {
    float *out = hy__ptr_of(a->state_out, q);
    const float *in[MAX_WIDTH];
    if (!out) return;
    input_rows(in, a, s, q, a->rows->seq[q].len - 1);
    for (int64_t i = 0; i < a->width - 1; i++)
        memmove(out + i * a->ch, in[i + 1], (size_t)a->ch * sizeof(float));
}

static void fast_conv(hy__backend *be, const hy__conv_args *a) {
    void *scratch = hy__scratch(be, taps_bytes(a));
    if (!scratch) return;
    const int parts = threads_for(be, 8 * a->rows->n_row * a->ch);
#pragma omp parallel for num_threads(parts) schedule(static, 1) if (parts > 1)
    for (int i = 0; i < parts; i++) {
        const taps s = taps_of(scratch, a, i);
        int64_t from, to;
        for (int64_t q = 0; q < a->rows->n_seq; q++)
            if (share_of(a, q, i, parts, &from, &to)) conv_rows(a, &s, q, from, to);
    }
    const taps s = taps_of(scratch, a, 0);
    for (int64_t q = 0; q < a->rows->n_seq; q++) leave_state(a, &s, q);
}

/* ---- backward ----
 * With dp[t] = dy[t]·SiLU'(pre[t]), the input at time s feeds the outputs s … s+K-1, so that
 * dinput[s] = Σ_j w_j·dp[s+K-1-j] (+ dstate_out where s is among the last K-1). Time goes up: when
 * dp[t] is known, so is dinput[t-K+1]; the last K rows of dp are all that is remembered. */

/* The rows of dp[t], dp[t-1], …, dp[t-K+1]. */
INLINE void dp_rows(float **dp, const hy__conv_args *a, const taps *s, int64_t t) {
    for (int64_t j = 0; j < a->width; j++) dp[j] = s->dp + (t + a->width - j) % a->width * a->ch;
}

/* What dstate_out gives to the input at time s of sequence q; NULL: nothing. */
INLINE const float *last_row(const hy__conv_args *a, int64_t q, int64_t s) {
    const float *out = hy__ptr_of(a->dstate_out, q);
    const int64_t slot = s - (a->rows->seq[q].len - a->width + 1);
    return out && slot >= 0 ? out + slot * a->ch : NULL;
}

/* Σ_j w_j·dp_j, and last */
INLINE vf input_gradient(const int64_t width, const hy__conv_args *a, const taps *s,
                         float *const *dp, const float *last, int64_t c, int64_t left) {
    vf sum = {0};
    if (last) sum = vf_load_to(last + c, left);
#pragma GCC unroll 4
    for (int64_t j = 0; j < width; j++)
        sum += vf_load_to(s->w + j * a->ch + c, left) * vf_load_to(dp[j] + c, left);
    return sum;
}

/* dp[0] from dy; with `sums` its share of dw and db; and, unless dx is NULL, the row of dx that is
 * complete with it. */
INLINE void conv_row_backward(const int64_t width, const hy__conv_args *a, const taps *s,
                              const float *const *in, float *const *dp, const float *dy, bool sums,
                              float *dx, const float *last) {
    const float *bias = hy__ptr(a->bias);
    for (int64_t c = 0; c < a->ch; c += VL) {
        const int64_t left = a->ch - c;
        const vf pre = before_silu(width, s, bias, in, a->ch, c, left), sig = vf_sigmoid(pre);
        const vf d = vf_load_to(dy + c, left) * sig * (1.0f + pre * (1.0f - sig));
        vf_store_to(dp[0] + c, d, left);
        if (sums) vf_store_to(s->db + c, vf_load_to(s->db + c, left) + d, left);
#pragma GCC unroll 4
        for (int64_t j = 0; sums && j < width; j++) {
            float *dw = s->dw + j * a->ch + c;
            vf_store_to(dw, vf_load_to(dw, left) + d * vf_load_to(in[j] + c, left), left);
        }
        if (dx) vf_store_to(dx + c, input_gradient(width, a, s, dp, last, c, left), left);
    }
}

/* dp of time t, zero past the end, and with it dx (NULL: not yet). */
static void row_backward(const hy__conv_args *a, const taps *s, int64_t q, int64_t t, bool sums,
                         float *dx) {
    const hy__seq *seq = &a->rows->seq[q];
    const float *dy = (const float *)hy__ptr(a->dy) + (seq->start + t) * a->ch;
    const float *in[MAX_WIDTH], *last = last_row(a, q, t - a->width + 1);
    float *dp[MAX_WIDTH];
    dp_rows(dp, a, s, t);
    if (t >= seq->len) {
        memset(dp[0], 0, (size_t)a->ch * sizeof(float));
        for (int64_t c = 0; dx && c < a->ch; c += VL)
            vf_store_to(dx + c, input_gradient(a->width, a, s, dp, last, c, a->ch - c), a->ch - c);
        return;
    }
    input_rows(in, a, s, q, t);
    if (a->width == 4)
        conv_row_backward(4, a, s, in, dp, dy, sums, dx, last);
    else
        conv_row_backward(a->width, a, s, in, dp, dy, sums, dx, last);
}

/* dx of the tokens [from, to) of a sequence, and their share of dw and db. */
static void conv_rows_backward(const hy__conv_args *a, const taps *s, int64_t q, int64_t from,
                               int64_t to) {
    const int64_t ldx = a->ldx ? a->ldx : a->ch, start = a->rows->seq[q].start;
    for (int64_t t = from; t < to + a->width - 1; t++) {
        const int64_t at = t - a->width + 1;
        float *dx = at >= from ? (float *)hy__ptr(a->dx) + (start + at) * ldx : NULL;
        row_backward(a, s, q, t, t < to, dx);
    }
}

/* dstate_in. Rows go down, so that a row of dstate_out that is dstate_in is read before it is
 * written. */
static void state_backward(const hy__conv_args *a, const taps *s, int64_t q) {
    float *state = hy__ptr_of(a->dstate_in, q), *dp[MAX_WIDTH];
    if (!state) return;
    memset(s->dp, 0,
           (size_t)(a->width * a->ch) * sizeof(float)); /* before the piece there is none */
    for (int64_t t = 0; t < a->width - 1; t++) row_backward(a, s, q, t, false, NULL);
    for (int64_t at = -1; at > -a->width; at--) {
        float *row = state + (at + a->width - 1) * a->ch;
        dp_rows(dp, a, s, at + a->width - 1);
        const float *last = last_row(a, q, at);
        for (int64_t c = 0; c < a->ch; c += VL)
            vf_store_to(row + c, input_gradient(a->width, a, s, dp, last, c, a->ch - c), a->ch - c);
        memset(dp[0], 0, (size_t)a->ch * sizeof(float)); /* the next row does not see it */
    }
}

static void fast_conv_backward(hy__backend *be, const hy__conv_args *a) {
    void *scratch = hy__scratch(be, taps_bytes(a));
    if (!scratch) return;
    float *dw = hy__ptr(a->dw), *dbias = hy__ptr(a->dbias);
    const int parts = threads_for(be, 16 * a->rows->n_row * a->ch);
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int i = 0; i < parts; i++) {
        const taps s = taps_of(scratch, a, i);
        int64_t from, to;
        memset(s.dw, 0, (size_t)a->width * row_bytes(a));
        memset(s.db, 0, row_bytes(a));
        for (int64_t q = 0; q < a->rows->n_seq; q++)
            if (share_of(a, q, i, parts, &from, &to)) conv_rows_backward(a, &s, q, from, to);
    }
    for (int i = 0; i < parts; i++) {
        const taps s = taps_of(scratch, a, i);
        for (int64_t c = 0; c < a->ch; c++)
            for (int64_t j = 0; j < a->width; j++) dw[c * a->width + j] += s.dw[j * a->ch + c];
        vec_axpy(dbias, 1.0f, s.db, a->ch);
    }
    const taps s = taps_of(scratch, a, 0);
    for (int64_t q = 0; q < a->rows->n_seq; q++) state_backward(a, &s, q);
}

void HY__FAST(hy__fast_conv)(hy__kernels *k) {
    k->conv = fast_conv;
    k->conv_backward = fast_conv_backward;
}
