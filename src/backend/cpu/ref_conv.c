/* ref_conv.c: the naive depthwise causal convolution with SiLU, forward and backward.
 *
 * Times are counted from the start of a piece; times -(K-1) … -1 lie in the state, oldest first. */
#include "backend/cpu/ref.h"

/* Input of channel c at time t >= -(K-1); x and state are those of one sequence. */
static real input(const hy__conv_args *a, const real *x, const real *state, int64_t t, int64_t c) {
    const int64_t ldx = a->ldx ? a->ldx : a->ch;
    if (t >= 0) return x[t * ldx + c];
    return state ? state[(t + a->width - 1) * a->ch + c] : 0;
}

/* bias[c] + Σ_j w[c,j]·x[t-K+1+j, c] */
static real before_silu(const hy__conv_args *a, const real *x, const real *state, int64_t t,
                        int64_t c) {
    const real *w = hy__ptr(a->w), *bias = hy__ptr(a->bias);
    double sum = (double)bias[c];
    for (int64_t j = 0; j < a->width; j++)
        sum += (double)w[c * a->width + j] * (double)input(a, x, state, t - a->width + 1 + j, c);
    return (real)sum;
}

static void ref_conv(hy__backend *be, const hy__conv_args *a) {
    (void)be;
    const int64_t ldx = a->ldx ? a->ldx : a->ch;
    for (int64_t q = 0; q < a->rows->n_seq; q++) {
        const hy__seq *seq = &a->rows->seq[q];
        const real *x = (const real *)hy__ptr(a->x) + seq->start * ldx;
        const real *state = hy__ptr_of(a->state_in, q);
        real *y = (real *)hy__ptr(a->y) + seq->start * a->ch;
        real *out = hy__ptr_of(a->state_out, q);
        for (int64_t t = 0; t < seq->len; t++)
            for (int64_t c = 0; c < a->ch; c++)
                y[t * a->ch + c] = ref_silu(before_silu(a, x, state, t, c));
        /* rows go up: when out is state, a row is read before it is written */
        for (int64_t i = 0; out && i < a->width - 1; i++)
            for (int64_t c = 0; c < a->ch; c++)
                out[i * a->ch + c] = input(a, x, state, seq->len - a->width + 1 + i, c);
    }
}

/* With dp[t] = dy[t]·SiLU'(pre[t]): the input at time s feeds outputs t = s+K-1-j, hence
 * dinput[s] = Σ_j w[j]·dp[s+K-1-j] + (dstate_out where s is among the last K-1 inputs). */
static real input_gradient(const hy__conv_args *a, const double *dp, const real *dout, int64_t len,
                           int64_t s, int64_t c) {
    const real *w = hy__ptr(a->w);
    const int64_t slot = s - (len - a->width + 1);
    double sum = dout && slot >= 0 ? (double)dout[slot * a->ch + c] : 0;
    for (int64_t j = 0; j < a->width; j++) {
        const int64_t t = s + a->width - 1 - j;
        if (t >= 0 && t < len) sum += (double)w[c * a->width + j] * dp[t];
    }
    return (real)sum;
}

static void ref_conv_backward(hy__backend *be, const hy__conv_args *a) {
    const int64_t ldx = a->ldx ? a->ldx : a->ch, width = a->width;
    real *dw = hy__ptr(a->dw), *dbias = hy__ptr(a->dbias);
    for (int64_t q = 0; q < a->rows->n_seq; q++) {
        const hy__seq *seq = &a->rows->seq[q];
        const real *x = (const real *)hy__ptr(a->x) + seq->start * ldx;
        const real *dy = (const real *)hy__ptr(a->dy) + seq->start * a->ch;
        const real *state = hy__ptr_of(a->state_in, q), *dout = hy__ptr_of(a->dstate_out, q);
        real *dx = (real *)hy__ptr(a->dx) + seq->start * ldx;
        real *din = hy__ptr_of(a->dstate_in, q);
        double *dp = hy__scratch(be, hy__tensor_bytes(HY__DTYPE_F64, seq->len));
        if (!dp) return;
        for (int64_t c = 0; c < a->ch; c++) {
            for (int64_t t = 0; t < seq->len; t++) {
                dp[t] =
                    (double)dy[t * a->ch + c] * (double)ref_dsilu(before_silu(a, x, state, t, c));
                for (int64_t j = 0; j < width; j++)
                    dw[c * width + j] +=
                        (real)(dp[t] * (double)input(a, x, state, t - width + 1 + j, c));
                dbias[c] += (real)dp[t];
            }
            for (int64_t s = 0; s < seq->len; s++)
                dx[s * ldx + c] = input_gradient(a, dp, dout, seq->len, s, c);
            /* rows go down: when din is dout, a row is read before it is written */
            for (int64_t s = -1; din && s > -width; s--)
                din[(s + width - 1) * a->ch + c] = input_gradient(a, dp, dout, seq->len, s, c);
        }
    }
}

void HY__REF(hy__ref_conv)(hy__kernels *k) {
    k->conv = ref_conv;
    k->conv_backward = ref_conv_backward;
}
