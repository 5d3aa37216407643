/* fast_conv.c: the fast depthwise causal convolution with SiLU, forward and backward.
 *
 * Threads divide the channels: each carries its columns through all sequences, so states are
 * written and weight gradients summed without meeting another thread, in the same order for any
 * number of them. Times t are counted from the start of a piece; -(K-1) … -1 lie in the state. */
#include "backend/cpu/simd.h"

enum { MAX_WIDTH = 16 }; /* taps; Mamba-2 has 4 */

/* What all threads share, in scratch; absent without memory. */
typedef struct taps {
    float *w;       /* [K, ch]: the weights with channels adjacent */
    float *dw, *db; /* backward: [K, ch], [ch], sums of this call */
    float *zero;    /* [ch] */
} taps;

static taps taps_new(hy__backend *be, const hy__conv_args *a) {
    const size_t row = hy__tensor_bytes(HY__DTYPE_F32, a->ch), rows = (size_t)(2 * a->width + 2);
    const size_t n_thread = (size_t)be->n_thread;
    char *at = hy__scratch(be, (rows + n_thread - 1) / n_thread * row);
    if (!at) return (taps){0};
    const taps s = {
        .w = (float *)(void *)at,
        .dw = (float *)(void *)(at + (size_t)a->width * row),
        .db = (float *)(void *)(at + 2 * (size_t)a->width * row),
        .zero = (float *)(void *)(at + (2 * (size_t)a->width + 1) * row),
    };
    HY_ASSERT(a->width <= MAX_WIDTH);
    mat_transpose(s.w, a->ch, hy__ptr(a->w), a->width, a->ch, a->width);
    memset(s.zero, 0, (size_t)a->ch * sizeof(float));
    return s;
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
    vf sum = bias ? vf_load_to(bias + c, left) : vf_set(0.0f);
#pragma GCC unroll 4
    for (int64_t j = 0; j < width; j++)
        sum += vf_load_to(s->w + j * ch + c, left) * vf_load_to(in[j] + c, left);
    return sum;
}

/* ---- forward ---- */

/* y[t] = SiLU(bias + Σ_j w_j·x[t-K+1+j]) for channels [from, to). */
INLINE void conv_row(const int64_t width, const hy__conv_args *a, const taps *s,
                     const float *const *in, float *y, int64_t from, int64_t to) {
    const float *bias = hy__ptr(a->bias);
    int64_t c = from;
    for (; c + VL <= to; c += VL) {
        const vf pre = before_silu(width, s, bias, in, a->ch, c, VL);
        vf_store(y + c, pre * vf_sigmoid(pre));
    }
    if (c == to) return;
    const vf pre = before_silu(width, s, bias, in, a->ch, c, to - c);
    vf_store_n(y + c, pre * vf_sigmoid(pre), to - c);
}

/* The state after the piece: its last K-1 inputs. Rows go up, so that a row of state_in that is
 * state_out is read before it is written. */
static void leave_state(const hy__conv_args *a, const taps *s, int64_t q, int64_t from,
                        int64_t to) {
    float *out = hy__ptr_of(a->state_out, q);
    const float *in[MAX_WIDTH];
    if (!out) return;
    input_rows(in, a, s, q, a->rows->seq[q].len - 1);
    for (int64_t i = 0; i < a->width - 1; i++)
        memmove(out + i * a->ch + from, in[i + 1] + from, (size_t)(to - from) * sizeof(float));
}

static void fast_conv(hy__backend *be, const hy__conv_args *a) {
    const taps s = taps_new(be, a);
    if (!s.w) return;
    const int parts = threads_for(be, 8 * a->rows->n_row * a->ch);
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int i = 0; i < parts; i++) {
        const int64_t from = part_at(a->ch, i, parts, 16), to = part_at(a->ch, i + 1, parts, 16);
        for (int64_t q = 0; q < a->rows->n_seq && from < to; q++) {
            const hy__seq *seq = &a->rows->seq[q];
            float *y = (float *)hy__ptr(a->y) + seq->start * a->ch;
            const float *in[MAX_WIDTH];
            for (int64_t t = 0; t < seq->len; t++) {
                input_rows(in, a, &s, q, t);
                if (a->width == 4)
                    conv_row(4, a, &s, in, y + t * a->ch, from, to);
                else
                    conv_row(a->width, a, &s, in, y + t * a->ch, from, to);
            }
            leave_state(a, &s, q, from, to);
        }
    }
}

/* ---- backward ----
 * With dp[t] = dy[t]·SiLU'(pre[t]), output t sends w_j·dp[t] to the gradient of each of its K
 * inputs; these start as what came from dstate_out. */

/* The gradient rows of the K inputs of output t; NULL where nobody asks. */
INLINE void gradient_rows(float **out, const hy__conv_args *a, int64_t q, int64_t t) {
    const int64_t ldx = a->ldx ? a->ldx : a->ch;
    float *dx = (float *)hy__ptr(a->dx) + a->rows->seq[q].start * ldx;
    float *state = hy__ptr_of(a->dstate_in, q);
    for (int64_t j = 0; j < a->width; j++) {
        const int64_t at = t - a->width + 1 + j;
        out[j] = at >= 0 ? dx + at * ldx : state ? state + (at + a->width - 1) * a->ch : NULL;
    }
}

/* dx and dstate_in before any output is added: dstate_out where an input is among the last K-1,
 * else 0. Rows go down, so that a row of dstate_out that is dstate_in is read before it is written.
 */
static void start_gradient(const hy__conv_args *a, int64_t q, int64_t from, int64_t to) {
    const int64_t len = a->rows->seq[q].len, width = a->width;
    const float *dout = hy__ptr_of(a->dstate_out, q);
    const size_t size = (size_t)(to - from) * sizeof(float);
    float *rows[MAX_WIDTH];
    for (int64_t t = len - 1; t > -width; t--) {
        gradient_rows(rows, a, q, t);
        float *row = rows[width - 1]; /* of the input at time t */
        const int64_t slot = t - (len - width + 1);
        if (row && dout && slot >= 0)
            memmove(row + from, dout + slot * a->ch + from, size);
        else if (row)
            memset(row + from, 0, size);
    }
}

/* The `left` channels from c on, a vector at most. */
INLINE void conv_vector_backward(const int64_t width, const hy__conv_args *a, const taps *s,
                                 const float *const *in, float *const *out, const float *dy,
                                 int64_t c, int64_t left) {
    const vf pre = before_silu(width, s, hy__ptr(a->bias), in, a->ch, c, left);
    const vf sig = vf_sigmoid(pre);
    const vf dp = vf_load_to(dy + c, left) * sig * (1.0f + pre * (1.0f - sig));
    vf_store_to(s->db + c, vf_load_to(s->db + c, left) + dp, left);
#pragma GCC unroll 4
    for (int64_t j = 0; j < width; j++) {
        float *dw = s->dw + j * a->ch + c;
        vf_store_to(dw, vf_load_to(dw, left) + dp * vf_load_to(in[j] + c, left), left);
        if (!out[j]) continue;
        const vf add = dp * vf_load_to(s->w + j * a->ch + c, left);
        vf_store_to(out[j] + c, vf_load_to(out[j] + c, left) + add, left);
    }
}

INLINE void conv_row_backward(const int64_t width, const hy__conv_args *a, const taps *s,
                              const float *const *in, float *const *out, const float *dy,
                              int64_t from, int64_t to) {
    int64_t c = from;
    for (; c + VL <= to; c += VL) conv_vector_backward(width, a, s, in, out, dy, c, VL);
    if (c < to) conv_vector_backward(width, a, s, in, out, dy, c, to - c);
}

/* One sequence, channels [from, to). */
static void conv_sequence_backward(const hy__conv_args *a, const taps *s, int64_t q, int64_t from,
                                   int64_t to) {
    const hy__seq *seq = &a->rows->seq[q];
    const float *dy = (const float *)hy__ptr(a->dy) + seq->start * a->ch;
    const float *in[MAX_WIDTH];
    float *out[MAX_WIDTH];
    start_gradient(a, q, from, to);
    for (int64_t t = 0; t < seq->len; t++) {
        input_rows(in, a, s, q, t);
        gradient_rows(out, a, q, t);
        if (a->width == 4)
            conv_row_backward(4, a, s, in, out, dy + t * a->ch, from, to);
        else
            conv_row_backward(a->width, a, s, in, out, dy + t * a->ch, from, to);
    }
}

static void fast_conv_backward(hy__backend *be, const hy__conv_args *a) {
    const taps s = taps_new(be, a);
    if (!s.w) return;
    memset(s.dw, 0, (size_t)(a->width * a->ch) * sizeof(float));
    memset(s.db, 0, (size_t)a->ch * sizeof(float));
    float *dw = hy__ptr(a->dw), *dbias = hy__ptr(a->dbias);
    const int parts = threads_for(be, 16 * a->rows->n_row * a->ch);
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int i = 0; i < parts; i++) {
        const int64_t from = part_at(a->ch, i, parts, 16), to = part_at(a->ch, i + 1, parts, 16);
        for (int64_t q = 0; q < a->rows->n_seq && from < to; q++)
            conv_sequence_backward(a, &s, q, from, to);
        for (int64_t c = from; c < to; c++) {
            for (int64_t j = 0; j < a->width; j++) dw[c * a->width + j] += s.dw[j * a->ch + c];
            if (dbias) dbias[c] += s.db[c];
        }
    }
}

void HY__FAST(hy__fast_conv)(hy__kernels *k) {
    k->conv = fast_conv;
    k->conv_backward = fast_conv_backward;
}
