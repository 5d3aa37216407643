/* fast_norm.c: the fast norms, gates and other row kernels. Equations: ref_norm.c.
 *
 * Rows are divided among the threads. A sum over rows is taken per part into scratch and the parts
 * are added in order, so that it does not depend on which thread came first. */
#include "backend/cpu/fast_quant.h"

/* n floats of scratch, zeroed, for each of `parts`; NULL without memory. */
static float *partials_new(hy__backend *be, int64_t n, int parts) {
    const size_t size = hy__tensor_bytes(HY__DTYPE_F32, n);
    float *partials = hy__scratch(be, size);
    return partials ? memset(partials, 0, size * (size_t)parts) : NULL;
}
static float *partial_of(float *partials, int64_t n, int part) {
    return hy__scratch_of(partials, hy__tensor_bytes(HY__DTYPE_F32, n), part);
}
/* sum[n] += the parts, in order */
static void partials_add(float *sum, float *partials, int64_t n, int parts) {
    for (int i = 0; i < parts; i++) vec_axpy(sum, 1.0f, partial_of(partials, n, i), n);
}

/* ---- rmsnorm ---- */

/* The sizes of a call with its defaults filled in. */
typedef struct norm_dims {
    int64_t ldx, dense;
    float scale;
} norm_dims;

static norm_dims norm_dims_of(const hy__rmsnorm_args *a) {
    const int64_t dense = a->n_head * a->dim;
    return (norm_dims){.ldx = a->ldx ? a->ldx : dense,
                       .dense = dense,
                       .scale = a->scale != 0 ? (float)a->scale : 1.0f};
}

/* w (absent = 1) */
INLINE vf weight_at(const float *w, int64_t i, int64_t left) {
    return w ? vf_load_to(w + i, left) : vf_set(1.0f);
}

static void rmsnorm_group(const hy__rmsnorm_args *a, const norm_dims *d, int64_t r, int64_t h) {
    const float *x = (const float *)hy__ptr(a->x) + r * d->ldx + h * a->dim, *w = hy__ptr(a->w);
    float *y = (float *)hy__ptr(a->y) + r * d->dense + h * a->dim, *rstd = hy__ptr(a->rstd);
    const float inv = 1.0f / sqrtf(vec_dot(x, x, a->dim) / (float)a->dim + (float)a->eps);
    if (rstd) rstd[r * a->n_head + h] = inv;
    const float factor = inv * d->scale;
    for (int64_t i = 0; i < a->dim; i += VL) {
        const int64_t left = a->dim - i;
        vf_store_to(y + i, factor * vf_load_to(x + i, left) * weight_at(w, i, left), left);
    }
}

static void fast_rmsnorm(hy__backend *be, const hy__rmsnorm_args *a) {
    const norm_dims d = norm_dims_of(a);
    const int n_thread = threads_for(be, a->n_row * a->n_head * a->dim);
#pragma omp parallel for num_threads(n_thread) schedule(static)
    for (int64_t r = 0; r < a->n_row; r++)
        for (int64_t h = 0; h < a->n_head; h++) rmsnorm_group(a, &d, r, h);
}

/* Adds this group's share of dw when it is not NULL. */
static void rmsnorm_group_backward(const hy__rmsnorm_args *a, const norm_dims *d, int64_t r,
                                   int64_t h, float *dw) {
    const float *x = (const float *)hy__ptr(a->x) + r * d->ldx + h * a->dim, *w = hy__ptr(a->w);
    const float *dy = (const float *)hy__ptr(a->dy) + r * d->dense + h * a->dim;
    float *dx = (float *)hy__ptr(a->dx) + r * d->ldx + h * a->dim;
    const float inv = ((const float *)hy__ptr(a->rstd))[r * a->n_head + h];
    const float factor = inv * d->scale;
    vf gx = {0}; /* Σ w·dy·x */
    for (int64_t i = 0; i < a->dim; i += VL) {
        const int64_t left = a->dim - i;
        gx += weight_at(w, i, left) * vf_load_to(dy + i, left) * vf_load_to(x + i, left);
    }
    const float pull = factor * inv * inv * vf_sum(gx) / (float)a->dim;
    for (int64_t i = 0; i < a->dim; i += VL) {
        const int64_t left = a->dim - i;
        const vf xi = vf_load_to(x + i, left), dyi = vf_load_to(dy + i, left);
        vf out = factor * weight_at(w, i, left) * dyi - pull * xi;
        if (dw) vf_store_to(dw + i, vf_load_to(dw + i, left) + factor * dyi * xi, left);
        if (a->dx_add) out += vf_load_to(dx + i, left);
        vf_store_to(dx + i, out, left);
    }
}

static void fast_rmsnorm_backward(hy__backend *be, const hy__rmsnorm_args *a) {
    const norm_dims d = norm_dims_of(a);
    const int parts = threads_for(be, 2 * a->n_row * a->n_head * a->dim);
    float *partials = hy__present(a->dw) ? partials_new(be, a->dim, parts) : NULL;
    if (hy__present(a->dw) && !partials) return;
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int i = 0; i < parts; i++) {
        float *dw = partials ? partial_of(partials, a->dim, i) : NULL;
        const int64_t to = part_at(a->n_row, i + 1, parts, 1);
        for (int64_t r = part_at(a->n_row, i, parts, 1); r < to; r++)
            for (int64_t h = 0; h < a->n_head; h++) rmsnorm_group_backward(a, &d, r, h, dw);
    }
    if (partials) partials_add(hy__ptr(a->dw), partials, a->dim, parts);
}

/* ---- gated_norm ---- */

static void gated_norm_group(const hy__gated_norm_args *a, int64_t r, int64_t c) {
    const int64_t n = a->group, ldz = a->ldz ? a->ldz : a->dim;
    const float *x = (const float *)hy__ptr(a->x) + r * a->dim + c;
    const float *z = (const float *)hy__ptr(a->z) + r * ldz + c;
    const float *w = (const float *)hy__ptr(a->w) + c;
    float *y = (float *)hy__ptr(a->y) + r * a->dim + c;
    vf sum = {0};
    for (int64_t i = 0; i < n; i += VL) {
        const vf zi = vf_load_to(z + i, n - i);
        const vf u = vf_load_to(x + i, n - i) * zi * vf_sigmoid(zi);
        sum += u * u;
        vf_store_to(y + i, u, n - i);
    }
    const float inv = 1.0f / sqrtf(vf_sum(sum) / (float)n + (float)a->eps);
    for (int64_t i = 0; i < n; i += VL)
        vf_store_to(y + i, inv * vf_load_to(y + i, n - i) * vf_load_to(w + i, n - i), n - i);
}

static void fast_gated_norm(hy__backend *be, const hy__gated_norm_args *a) {
    const int n_thread = threads_for(be, 4 * a->n_row * a->dim);
#pragma omp parallel for num_threads(n_thread) schedule(static)
    for (int64_t r = 0; r < a->n_row; r++)
        for (int64_t c = 0; c < a->dim; c += a->group) gated_norm_group(a, r, c);
}

/* dw[dim] is this part's. */
static void gated_norm_group_backward(const hy__gated_norm_args *a, int64_t r, int64_t c,
                                      float *dw) {
    const int64_t n = a->group, at = r * a->dim + c, at_z = r * (a->ldz ? a->ldz : a->dim) + c;
    const float *x = (const float *)hy__ptr(a->x) + at, *z = (const float *)hy__ptr(a->z) + at_z;
    const float *dy = (const float *)hy__ptr(a->dy) + at, *w = (const float *)hy__ptr(a->w) + c;
    float *dx = (float *)hy__ptr(a->dx) + at, *dz = (float *)hy__ptr(a->dz) + at_z;
    vf uu = {0}, gu = {0}; /* Σ u², Σ w·dy·u */
    for (int64_t i = 0; i < n; i += VL) {
        const vf zi = vf_load_to(z + i, n - i);
        const vf u = vf_load_to(x + i, n - i) * zi * vf_sigmoid(zi);
        uu += u * u;
        gu += vf_load_to(w + i, n - i) * vf_load_to(dy + i, n - i) * u;
    }
    const float inv = 1.0f / sqrtf(vf_sum(uu) / (float)n + (float)a->eps);
    const float pull = inv * inv * inv * vf_sum(gu) / (float)n;
    for (int64_t i = 0; i < n; i += VL) {
        const vf xi = vf_load_to(x + i, n - i), zi = vf_load_to(z + i, n - i);
        const vf dyi = vf_load_to(dy + i, n - i), sig = vf_sigmoid(zi);
        const vf u = xi * zi * sig, du = inv * vf_load_to(w + i, n - i) * dyi - pull * u;
        vf_store_to(dw + c + i, vf_load_to(dw + c + i, n - i) + inv * dyi * u, n - i);
        vf_store_to(dx + i, du * zi * sig, n - i);
        vf_store_to(dz + i, du * xi * sig * (1.0f + zi * (1.0f - sig)), n - i);
    }
}

static void fast_gated_norm_backward(hy__backend *be, const hy__gated_norm_args *a) {
    const int parts = threads_for(be, 8 * a->n_row * a->dim);
    float *partials = partials_new(be, a->dim, parts);
    if (!partials) return;
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int i = 0; i < parts; i++) {
        float *dw = partial_of(partials, a->dim, i);
        const int64_t to = part_at(a->n_row, i + 1, parts, 1);
        for (int64_t r = part_at(a->n_row, i, parts, 1); r < to; r++)
            for (int64_t c = 0; c < a->dim; c += a->group) gated_norm_group_backward(a, r, c, dw);
    }
    partials_add(hy__ptr(a->dw), partials, a->dim, parts);
}

/* ---- residual ---- */

static float residual_gate(const hy__residual_args *a) {
    const float g = *(const float *)hy__ptr(a->g);
    return a->scale > 0 ? (float)a->scale * g : g;
}

static void fast_residual(hy__backend *be, const hy__residual_args *a) {
    const float *x = hy__ptr(a->x), *y = hy__ptr(a->y), g = residual_gate(a);
    float *out = hy__ptr(a->out);
    const int n_thread = threads_for(be, a->n);
#pragma omp parallel for simd num_threads(n_thread) schedule(static)
    for (int64_t i = 0; i < a->n; i++) out[i] = x[i] + g * y[i];
}

/* dy = s·g·dout, x = out - s·g·y where wanted; returns s·Σ dout·y over [from, to), blocks of fp32
 * sums gathered in double. */
static double residual_span_backward(const hy__residual_args *a, int64_t from, int64_t to) {
    enum { BLOCK = 4096 };
    const float *dout = hy__ptr(a->dout), *y = hy__ptr(a->y), g = residual_gate(a);
    const float *out = hy__ptr(a->out);
    float *dy = hy__ptr(a->dy), *x = hy__ptr(a->x_again);
    double sum = 0;
    for (int64_t i = from; i < to; i += BLOCK) {
        const int64_t end = to - i < BLOCK ? to : i + BLOCK;
        sum += (double)vec_dot(dout + i, y + i, end - i);
        for (int64_t j = i; j < end; j++) dy[j] = g * dout[j];
        for (int64_t j = i; x && j < end; j++) x[j] = out[j] - g * y[j];
    }
    return a->scale > 0 ? a->scale * sum : sum;
}

static void fast_residual_backward(hy__backend *be, const hy__residual_args *a) {
    const int parts = threads_for(be, a->n);
    float *partials = partials_new(be, 1, parts), *dg = hy__ptr(a->dg);
    if (!partials) return;
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int i = 0; i < parts; i++) {
        const int64_t from = part_at(a->n, i, parts, 16), to = part_at(a->n, i + 1, parts, 16);
        *partial_of(partials, 1, i) = (float)residual_span_backward(a, from, to);
    }
    partials_add(dg, partials, 1, parts);
}

/* ---- swiglu ---- */

static void fast_swiglu(hy__backend *be, const hy__swiglu_args *a) {
    const int64_t f = a->f;
    const int n_thread = threads_for(be, 4 * a->n_row * f);
#pragma omp parallel for num_threads(n_thread) schedule(static)
    for (int64_t r = 0; r < a->n_row; r++) {
        const float *u = (const float *)hy__ptr(a->u) + r * 2 * f;
        float *h = (float *)hy__ptr(a->h) + r * f;
        for (int64_t i = 0; i < f; i += VL) {
            const vf gate = vf_load_to(u + i, f - i), value = vf_load_to(u + f + i, f - i);
            vf_store_to(h + i, gate * vf_sigmoid(gate) * value, f - i);
        }
    }
}

static void fast_swiglu_backward(hy__backend *be, const hy__swiglu_args *a) {
    const int64_t f = a->f;
    const int n_thread = threads_for(be, 4 * a->n_row * f);
#pragma omp parallel for num_threads(n_thread) schedule(static)
    for (int64_t r = 0; r < a->n_row; r++) {
        const float *u = (const float *)hy__ptr(a->u) + r * 2 * f;
        const float *dh = (const float *)hy__ptr(a->dh) + r * f;
        float *du = (float *)hy__ptr(a->du) + r * 2 * f;
        for (int64_t i = 0; i < f; i += VL) {
            const vf gate = vf_load_to(u + i, f - i), value = vf_load_to(u + f + i, f - i);
            const vf d = vf_load_to(dh + i, f - i), sig = vf_sigmoid(gate);
            vf_store_to(du + i, d * value * sig * (1.0f + gate * (1.0f - sig)), f - i);
            vf_store_to(du + f + i, d * gate * sig, f - i);
        }
    }
}

/* ---- row_gate ---- */

static void fast_row_gate(hy__backend *be, const hy__row_gate_args *a) {
    const float *s = hy__ptr(a->s), bias = *(const float *)hy__ptr(a->bias);
    float *gate_sum = hy__ptr(a->gate_sum);
    const int n_thread = threads_for(be, a->n_row * a->dim);
#pragma omp parallel for num_threads(n_thread) schedule(static)
    for (int64_t r = 0; r < a->n_row; r++) {
        const float *x = (const float *)hy__ptr(a->x) + r * a->dim;
        float *y = (float *)hy__ptr(a->y) + r * a->dim;
        const float gate = sf_sigmoid(s[r] + bias);
        for (int64_t i = 0; i < a->dim; i++) y[i] = gate * x[i];
    }
    if (!gate_sum) return;
    double sum = 0;
    for (int64_t r = 0; r < a->n_row; r++) sum += (double)sf_sigmoid(s[r] + bias);
    *gate_sum += (float)sum;
}

static void fast_row_gate_backward(hy__backend *be, const hy__row_gate_args *a) {
    const float *s = hy__ptr(a->s), bias = *(const float *)hy__ptr(a->bias);
    float *ds = hy__ptr(a->ds), *dbias = hy__ptr(a->dbias);
    const int n_thread = threads_for(be, a->n_row * a->dim);
#pragma omp parallel for num_threads(n_thread) schedule(static)
    for (int64_t r = 0; r < a->n_row; r++) {
        const float *x = (const float *)hy__ptr(a->x) + r * a->dim;
        const float *dy = (const float *)hy__ptr(a->dy) + r * a->dim;
        float *dx = (float *)hy__ptr(a->dx) + r * a->dim;
        const float gate = sf_sigmoid(s[r] + bias), dot = vec_dot(dy, x, a->dim);
        for (int64_t i = 0; i < a->dim; i++) dx[i] = gate * dy[i];
        ds[r] = dot * gate * (1.0f - gate);
    }
    double sum = 0;
    for (int64_t r = 0; r < a->n_row; r++) sum += (double)ds[r];
    *dbias += (float)sum;
}

/* ---- rope ---- */

/* Turns every head of one row by the cosines and sines of its position. */
static void rope_row(const hy__rope_args *a, float *x, const float *cosine, const float *sine) {
    const int64_t half = a->dim / 2;
    for (int64_t h = 0; h < a->n_head; h++) {
        float *x0 = x + h * a->dim, *x1 = x0 + half;
        for (int64_t i = 0; i < half; i += VL) {
            const int64_t left = half - i;
            const vf c = vf_load_to(cosine + i, left), s = vf_load_to(sine + i, left);
            const vf u = vf_load_to(x0 + i, left), v = vf_load_to(x1 + i, left);
            vf_store_to(x0 + i, u * c - v * s, left);
            vf_store_to(x1 + i, v * c + u * s, left);
        }
    }
}

/* Rows [from, to) of one sequence. Angles are taken in double: pos·theta^… passes 10^5. */
static void rope_span(const hy__rope_args *a, const hy__seq *seq, int64_t from, int64_t to,
                      const double *rate, float *turn) {
    const int64_t half = a->dim / 2, ldx = a->ldx ? a->ldx : a->n_head * a->dim;
    for (int64_t t = from; t < to; t++) {
        for (int64_t i = 0; i < half; i++) {
            const double angle = (double)(seq->pos + t) * rate[i];
            turn[i] = (float)cos(angle);
            turn[half + i] = (float)(a->inverse ? -sin(angle) : sin(angle));
        }
        rope_row(a, (float *)hy__ptr(a->x) + (seq->start + t) * ldx, turn, turn + half);
    }
}

static void fast_rope(hy__backend *be, const hy__rope_args *a) {
    const int64_t half = a->dim / 2;
    const int parts = threads_for(be, a->rows->n_row * (20 * half + a->n_head * a->dim));
    /* each part: rate[half] in double, then cosines and sines */
    const size_t rates = hy__tensor_bytes(HY__DTYPE_F64, half);
    const size_t size = rates + hy__tensor_bytes(HY__DTYPE_F32, 2 * half);
    char *scratch = hy__scratch(be, size);
    if (!scratch) return;
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int i = 0; i < parts; i++) {
        double *rate = hy__scratch_of(scratch, size, i);
        float *turn = (float *)(void *)((char *)rate + rates);
        for (int64_t j = 0; j < half; j++)
            rate[j] = pow(a->theta, -2.0 * (double)j / (double)a->dim);
        const int64_t first = part_at(a->rows->n_row, i, parts, 1);
        const int64_t last = part_at(a->rows->n_row, i + 1, parts, 1);
        for (int64_t q = 0; q < a->rows->n_seq; q++) {
            const hy__seq *seq = &a->rows->seq[q];
            const int64_t from = first > seq->start ? first - seq->start : 0;
            const int64_t to = last - seq->start < seq->len ? last - seq->start : seq->len;
            rope_span(a, seq, from, to, rate, turn);
        }
    }
}

/* ---- embed ---- */

static void fast_embed(hy__backend *be, const hy__embed_args *a) {
    const int32_t *token = hy__ptr(a->token);
    const int n_thread = threads_for(be, a->n_row * a->dim);
#pragma omp parallel for num_threads(n_thread) schedule(static)
    for (int64_t r = 0; r < a->n_row; r++) {
        float *x = (float *)hy__ptr(a->x) + r * a->dim;
        const void *row = hy__ptr(hy__at(a->table, token[r] * a->dim));
        if (a->table.dtype == HY__DTYPE_BF16)
            vec_from_bf16(x, row, a->dim);
        else if (a->table.dtype == HY__DTYPE_Q8)
            quant_row(x, row, HY__DTYPE_Q8, a->dim);
        else if (a->table.dtype == HY__DTYPE_Q4)
            quant_row(x, row, HY__DTYPE_Q4, a->dim);
        else
            memcpy(x, row, (size_t)a->dim * sizeof *x);
    }
}

/* Threads divide the columns: each adds the rows in order, whichever tokens repeat. */
static void fast_embed_backward(hy__backend *be, const hy__embed_args *a) {
    const int32_t *token = hy__ptr(a->token);
    const float *dx = hy__ptr(a->dx);
    float *dtable = hy__ptr(a->dtable);
    const int parts = threads_for(be, a->n_row * a->dim);
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int i = 0; i < parts; i++) {
        const int64_t from = part_at(a->dim, i, parts, 16), to = part_at(a->dim, i + 1, parts, 16);
        for (int64_t r = 0; r < a->n_row; r++)
            vec_axpy(dtable + token[r] * a->dim + from, 1.0f, dx + r * a->dim + from, to - from);
    }
}

/* ---- copy ---- */

/* n elements of t from i on, as floats; and back. */
static void read_span(float *dst, hy__tensor t, int64_t i, int64_t n) {
    const void *src = hy__ptr(hy__at(t, i));
    if (t.dtype == HY__DTYPE_BF16)
        vec_from_bf16(dst, src, n);
    else
        memcpy(dst, src, (size_t)n * sizeof *dst);
}
static void write_span(hy__tensor t, int64_t i, const float *src, int64_t n) {
    void *dst = hy__ptr(hy__at(t, i));
    if (t.dtype == HY__DTYPE_BF16)
        vec_to_bf16(dst, src, n);
    else
        memcpy(dst, src, (size_t)n * sizeof *src);
}

/* Elements [i, i+n), at most COPY_SPAN, through a buffer in the first-level cache unless it is a
 * plain copy: so no pair of dtypes is a special case. */
enum { COPY_SPAN = 1024 };
static void copy_span(const hy__copy_args *a, int64_t i, int64_t n) {
    float x[COPY_SPAN], sum[COPY_SPAN];
    if (a->src.dtype == a->dst.dtype && !a->add) {
        memmove(hy__ptr(hy__at(a->dst, i)), hy__ptr(hy__at(a->src, i)),
                (size_t)n * hy__dtype_size(a->src.dtype));
        return;
    }
    if (a->src.dtype == HY__DTYPE_F32 && !a->add) {
        write_span(a->dst, i, hy__ptr(hy__at(a->src, i)), n);
        return;
    }
    read_span(x, a->src, i, n);
    if (a->add) {
        read_span(sum, a->dst, i, n);
        vec_axpy(x, 1.0f, sum, n);
    }
    write_span(a->dst, i, x, n);
}

static void fast_copy(hy__backend *be, const hy__copy_args *a) {
    const int n_thread = threads_for(be, a->n);
#pragma omp parallel for num_threads(n_thread) schedule(static)
    for (int64_t i = 0; i < a->n; i += COPY_SPAN)
        copy_span(a, i, a->n - i < COPY_SPAN ? a->n - i : COPY_SPAN);
}

void HY__FAST(hy__fast_norm)(hy__kernels *k) {
    k->rmsnorm = fast_rmsnorm;
    k->rmsnorm_backward = fast_rmsnorm_backward;
    k->gated_norm = fast_gated_norm;
    k->gated_norm_backward = fast_gated_norm_backward;
    k->residual = fast_residual;
    k->residual_backward = fast_residual_backward;
    k->swiglu = fast_swiglu;
    k->swiglu_backward = fast_swiglu_backward;
    k->row_gate = fast_row_gate;
    k->row_gate_backward = fast_row_gate_backward;
    k->rope = fast_rope;
    k->embed = fast_embed;
    k->embed_backward = fast_embed_backward;
    k->copy = fast_copy;
}
