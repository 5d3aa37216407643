/* ref_norm.c: the naive norms, gates and other row kernels: rmsnorm, gated_norm, residual, swiglu,
 * row_gate, rope, embed, copy, each with its backward below it. Shapes are in backend.h. Sums are
 * taken in double. */
#include "backend/cpu/ref.h"

/* 1/sqrt(mean(x²) + eps) */
static double inverse_rms(const real *x, int64_t n, double eps) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return 1.0 / sqrt(sum / (double)n + eps);
}

/* y = s·x·r·w with r = rstd */
static void ref_rmsnorm(hy__backend *be, const hy__rmsnorm_args *a) {
    (void)be;
    const int64_t dim = a->dim, dense = a->n_head * dim;
    const int64_t ldx = a->ldx ? a->ldx : dense;
    const double scale = a->scale != 0 ? a->scale : 1.0;
    const real *w = hy__ptr(a->w);
    real *rstd = hy__ptr(a->rstd);
    for (int64_t r = 0; r < a->n_row; r++) {
        for (int64_t h = 0; h < a->n_head; h++) {
            const real *x = (const real *)hy__ptr(a->x) + r * ldx + h * dim;
            real *y = (real *)hy__ptr(a->y) + r * dense + h * dim;
            const double inv = inverse_rms(x, dim, a->eps);
            if (rstd) rstd[r * a->n_head + h] = (real)inv;
            for (int64_t i = 0; i < dim; i++)
                y[i] = (real)(scale * (double)x[i] * inv * (w ? (double)w[i] : 1.0));
        }
    }
}

/* With g = s·w·dy: dx = r·(g - x·r²·mean(g·x)), dw += s·dy·x·r. */
static void ref_rmsnorm_backward(hy__backend *be, const hy__rmsnorm_args *a) {
    (void)be;
    const int64_t dim = a->dim, dense = a->n_head * dim;
    const int64_t ldx = a->ldx ? a->ldx : dense;
    const double scale = a->scale != 0 ? a->scale : 1.0;
    const real *w = hy__ptr(a->w), *rstd = hy__ptr(a->rstd);
    real *dw = hy__ptr(a->dw);
    for (int64_t r = 0; r < a->n_row; r++) {
        for (int64_t h = 0; h < a->n_head; h++) {
            const real *x = (const real *)hy__ptr(a->x) + r * ldx + h * dim;
            const real *dy = (const real *)hy__ptr(a->dy) + r * dense + h * dim;
            real *dx = (real *)hy__ptr(a->dx) + r * ldx + h * dim;
            const double inv = (double)rstd[r * a->n_head + h];
            double gx = 0;
            for (int64_t i = 0; i < dim; i++)
                gx += scale * (w ? (double)w[i] : 1.0) * (double)dy[i] * (double)x[i];
            for (int64_t i = 0; i < dim; i++) {
                const double xi = (double)x[i], dyi = (double)dy[i];
                const double g = scale * (w ? (double)w[i] : 1.0) * dyi;
                const double d = inv * (g - xi * inv * inv * gx / (double)dim);
                if (dw) dw[i] += (real)(scale * dyi * xi * inv);
                dx[i] = (real)(a->dx_add ? (double)dx[i] + d : d);
            }
        }
    }
}

/* u = x·SiLU(z), y = u·r·w with r = 1/rms(u) over each group */
static void ref_gated_norm(hy__backend *be, const hy__gated_norm_args *a) {
    (void)be;
    const int64_t ldz = a->ldz ? a->ldz : a->dim;
    const real *w = hy__ptr(a->w);
    for (int64_t r = 0; r < a->n_row; r++) {
        for (int64_t c = 0; c < a->dim; c += a->group) {
            const real *x = (const real *)hy__ptr(a->x) + r * a->dim + c;
            const real *z = (const real *)hy__ptr(a->z) + r * ldz + c;
            real *y = (real *)hy__ptr(a->y) + r * a->dim + c;
            for (int64_t i = 0; i < a->group; i++) y[i] = x[i] * ref_silu(z[i]);
            const double inv = inverse_rms(y, a->group, a->eps);
            for (int64_t i = 0; i < a->group; i++)
                y[i] = (real)((double)y[i] * inv * (double)w[c + i]);
        }
    }
}

/* du as in rmsnorm; dx = du·SiLU(z), dz = du·x·SiLU'(z), dw += dy·u·r. */
static void ref_gated_norm_backward(hy__backend *be, const hy__gated_norm_args *a) {
    (void)be;
    const int64_t ldz = a->ldz ? a->ldz : a->dim;
    const real *w = hy__ptr(a->w);
    real *dw = hy__ptr(a->dw);
    for (int64_t r = 0; r < a->n_row; r++) {
        for (int64_t c = 0; c < a->dim; c += a->group) {
            const int64_t at = r * a->dim + c, at_z = r * ldz + c;
            const real *x = (const real *)hy__ptr(a->x) + at,
                       *z = (const real *)hy__ptr(a->z) + at_z;
            const real *dy = (const real *)hy__ptr(a->dy) + at;
            real *dx = (real *)hy__ptr(a->dx) + at, *dz = (real *)hy__ptr(a->dz) + at_z;
            double uu = 0, gu = 0;
            for (int64_t i = 0; i < a->group; i++) {
                const double u = (double)x[i] * (double)ref_silu(z[i]);
                uu += u * u;
                gu += (double)w[c + i] * (double)dy[i] * u;
            }
            const double n = (double)a->group, inv = 1.0 / sqrt(uu / n + a->eps);
            for (int64_t i = 0; i < a->group; i++) {
                const double xi = (double)x[i], dyi = (double)dy[i];
                const double gate = (double)ref_silu(z[i]), slope = (double)ref_dsilu(z[i]);
                const double u = xi * gate;
                const double du = inv * ((double)w[c + i] * dyi - u * inv * inv * gu / n);
                dw[c + i] += (real)(dyi * u * inv);
                dx[i] = (real)(du * gate);
                dz[i] = (real)(du * xi * slope);
            }
        }
    }
}

static double residual_scale(const hy__residual_args *a) {
    return a->scale > 0 ? a->scale : 1.0;
}

/* out = x + s·g·y */
static void ref_residual(hy__backend *be, const hy__residual_args *a) {
    (void)be;
    const real *x = hy__ptr(a->x), *y = hy__ptr(a->y);
    const real g = (real)residual_scale(a) * *(const real *)hy__ptr(a->g);
    real *out = hy__ptr(a->out);
    for (int64_t i = 0; i < a->n; i++) out[i] = x[i] + g * y[i];
}

/* dy = s·g·dout, dg += s·Σ dout·y; x = out - s·g·y */
static void ref_residual_backward(hy__backend *be, const hy__residual_args *a) {
    (void)be;
    const real *dout = hy__ptr(a->dout), *y = hy__ptr(a->y);
    const real g = (real)residual_scale(a) * *(const real *)hy__ptr(a->g);
    real *dy = hy__ptr(a->dy), *dg = hy__ptr(a->dg);
    double sum = 0;
    for (int64_t i = 0; i < a->n; i++) {
        const real d = dout[i];
        sum += (double)d * (double)y[i];
        dy[i] = g * d;
    }
    dg[0] += (real)(residual_scale(a) * sum);
    const real *out = hy__ptr(a->out);
    real *x = hy__ptr(a->x_again);
    for (int64_t i = 0; x && i < a->n; i++) x[i] = out[i] - g * y[i];
}

/* h = SiLU(u₁)·u₂ */
static void ref_swiglu(hy__backend *be, const hy__swiglu_args *a) {
    (void)be;
    const real *u = hy__ptr(a->u);
    real *h = hy__ptr(a->h);
    for (int64_t r = 0; r < a->n_row; r++)
        for (int64_t i = 0; i < a->f; i++)
            h[r * a->f + i] = ref_silu(u[r * 2 * a->f + i]) * u[r * 2 * a->f + a->f + i];
}

/* du₁ = dh·u₂·SiLU'(u₁), du₂ = dh·SiLU(u₁) */
static void ref_swiglu_backward(hy__backend *be, const hy__swiglu_args *a) {
    (void)be;
    for (int64_t r = 0; r < a->n_row; r++) {
        const real *dh = (const real *)hy__ptr(a->dh) + r * a->f;
        const real *u = (const real *)hy__ptr(a->u) + r * 2 * a->f;
        real *du = (real *)hy__ptr(a->du) + r * 2 * a->f;
        for (int64_t i = 0; i < a->f; i++) {
            const real gate = u[i], value = u[a->f + i];
            du[i] = dh[i] * value * ref_dsilu(gate);
            du[a->f + i] = dh[i] * ref_silu(gate);
        }
    }
}

/* y = x·σ(s + bias) */
static void ref_row_gate(hy__backend *be, const hy__row_gate_args *a) {
    (void)be;
    const real *s = hy__ptr(a->s), *bias = hy__ptr(a->bias);
    real *gate_sum = hy__ptr(a->gate_sum);
    double sum = 0;
    for (int64_t r = 0; r < a->n_row; r++) {
        const real *x = (const real *)hy__ptr(a->x) + r * a->dim;
        real *y = (real *)hy__ptr(a->y) + r * a->dim;
        const real gate = ref_sigmoid(s[r] + bias[0]);
        for (int64_t i = 0; i < a->dim; i++) y[i] = x[i] * gate;
        sum += (double)gate;
    }
    if (gate_sum) gate_sum[0] += (real)sum;
}

/* dx = dy·σ, ds = σ(1-σ)·Σ dy·x, dbias += Σ ds */
static void ref_row_gate_backward(hy__backend *be, const hy__row_gate_args *a) {
    (void)be;
    const real *s = hy__ptr(a->s), *bias = hy__ptr(a->bias);
    real *ds = hy__ptr(a->ds), *dbias = hy__ptr(a->dbias);
    double sum = 0;
    for (int64_t r = 0; r < a->n_row; r++) {
        const real *x = (const real *)hy__ptr(a->x) + r * a->dim;
        const real *dy = (const real *)hy__ptr(a->dy) + r * a->dim;
        real *dx = (real *)hy__ptr(a->dx) + r * a->dim;
        const double gate = (double)ref_sigmoid(s[r] + bias[0]);
        double dot = 0;
        for (int64_t i = 0; i < a->dim; i++) {
            const double d = (double)dy[i];
            dot += d * (double)x[i];
            dx[i] = (real)(d * gate);
        }
        ds[r] = (real)(dot * gate * (1.0 - gate));
        sum += dot * gate * (1.0 - gate);
    }
    dbias[0] += (real)sum;
}

/* (x_i, x_{i+dim/2}) turned by the angle pos·theta^(-2i/dim) */
static void ref_rope(hy__backend *be, const hy__rope_args *a) {
    (void)be;
    const int64_t half = a->dim / 2, ldx = a->ldx ? a->ldx : a->n_head * a->dim;
    for (int64_t q = 0; q < a->rows->n_seq; q++) {
        const hy__seq *seq = &a->rows->seq[q];
        for (int64_t t = 0; t < seq->len; t++) {
            for (int64_t i = 0; i < half; i++) {
                const double turn =
                    (double)(seq->pos + t) * pow(a->theta, -2.0 * (double)i / (double)a->dim);
                const double cosine = cos(turn), sine = a->inverse ? -sin(turn) : sin(turn);
                for (int64_t h = 0; h < a->n_head; h++) {
                    real *x = (real *)hy__ptr(a->x) + (seq->start + t) * ldx + h * a->dim + i;
                    const double x0 = (double)x[0], x1 = (double)x[half];
                    x[0] = (real)(x0 * cosine - x1 * sine);
                    x[half] = (real)(x1 * cosine + x0 * sine);
                }
            }
        }
    }
}

/* x[r] = table[token[r]] */
static void ref_embed(hy__backend *be, const hy__embed_args *a) {
    (void)be;
    const int32_t *token = hy__ptr(a->token);
    real *x = hy__ptr(a->x);
    for (int64_t r = 0; r < a->n_row; r++)
        for (int64_t i = 0; i < a->dim; i++)
            x[r * a->dim + i] = ref_weight(a->table, token[r], i, a->dim);
}

/* dtable[token[r]] += dx[r] */
static void ref_embed_backward(hy__backend *be, const hy__embed_args *a) {
    (void)be;
    const int32_t *token = hy__ptr(a->token);
    const real *dx = hy__ptr(a->dx);
    real *dtable = hy__ptr(a->dtable);
    for (int64_t r = 0; r < a->n_row; r++)
        for (int64_t i = 0; i < a->dim; i++) dtable[token[r] * a->dim + i] += dx[r * a->dim + i];
}

/* dst = src, or dst += src */
static void ref_copy(hy__backend *be, const hy__copy_args *a) {
    (void)be;
    for (int64_t i = 0; i < a->n; i++) {
        const real x = ref_get(a->src, i) + (a->add ? ref_get(a->dst, i) : 0);
        if (a->dst.dtype == HY__DTYPE_BF16)
            ((uint16_t *)hy__ptr(a->dst))[i] = hy__f32_to_bf16((float)x);
        else
            ((real *)hy__ptr(a->dst))[i] = x;
    }
}

void HY__REF(hy__ref_norm)(hy__kernels *k) {
    k->rmsnorm = ref_rmsnorm;
    k->rmsnorm_backward = ref_rmsnorm_backward;
    k->gated_norm = ref_gated_norm;
    k->gated_norm_backward = ref_gated_norm_backward;
    k->residual = ref_residual;
    k->residual_backward = ref_residual_backward;
    k->swiglu = ref_swiglu;
    k->swiglu_backward = ref_swiglu_backward;
    k->row_gate = ref_row_gate;
    k->row_gate_backward = ref_row_gate_backward;
    k->rope = ref_rope;
    k->embed = ref_embed;
    k->embed_backward = ref_embed_backward;
    k->copy = ref_copy;
}
