/* fast_attn_decode.c: attention of the sequences that go on by one token, which is all that decode
 * does. There is nothing to reuse but the cache itself, so it is read once, in the order in which
 * it lies: the positions that a token sees are cut into parts, a part into stretches of consecutive
 * positions, and a stretch is met by all heads while the next one is fetched.
 *
 * Each part leaves an unnormalised o with its maximum and sum; they are merged in order of the
 * parts. Parts depend on the number of positions alone: threads change no bit. */
#include "backend/cpu/fast_attn.h"

enum {
    STRETCH = 64,     /* positions */
    PART_LEAST = 128, /* positions of a part; more where there would be more than */
    PART_MOST = 32,   /* parts of a sequence */
    COLUMNS = 4,      /* vectors of o in registers */
};

/* What a token sees: the sink, the rest of its window, and blocks of each KV head's choice. */
typedef struct sight {
    attn_head x;                  /* KV head 0 */
    int64_t sink, window, chosen; /* positions */
    int64_t window_begin;
    int64_t part, n_part, first; /* positions of a part; parts; those of the sequences before */
} sight;

static const int32_t *choice(const sight *g, int64_t j) {
    const hy__attn_args *a = g->x.a;
    return (const int32_t *)hy__ptr(a->select) + (g->x.seq.start * a->n_kv + j) * a->topk;
}

static sight sight_of(const hy__attn_args *a, int64_t i) {
    sight g = {.x = attn_head_of(a, i, 0)};
    const int64_t t = g.x.seq.pos, begin = attn_window_begin(a, t);
    g.sink = t + 1 < a->chunk ? t + 1 : a->chunk;
    g.window_begin = begin < a->chunk ? a->chunk : begin;
    g.window = t + 1 > g.window_begin ? t + 1 - g.window_begin : 0;
    for (int64_t j = 0; j < a->n_kv; j++) {
        int64_t n = 0;
        while (n < a->topk && choice(&g, j)[n] >= 0) n++;
        if (n * a->chunk > g.chosen) g.chosen = n * a->chunk;
    }
    const int64_t n = g.sink + g.window + g.chosen;
    const int64_t even = (n + PART_MOST * STRETCH - 1) / (PART_MOST * STRETCH) * STRETCH;
    g.part = even > PART_LEAST ? even : PART_LEAST;
    g.n_part = (n + g.part - 1) / g.part;
    return g;
}

INLINE const void *row_of(const void *rows, int64_t at, attn_form form) {
    return (const char *)rows + at * (form == ATTN_HALF ? 2 : 4);
}
/* The vector at element `at`, or its first `left` elements. */
INLINE vf load(const void *rows, int64_t at, int64_t left, attn_form form) {
    if (form == ATTN_FLOAT) return vf_load_to((const float *)rows + at, left);
    if (form == ATTN_ROUND) return vf_round_bf16(vf_load_to((const float *)rows + at, left));
    const uint16_t *p = (const uint16_t *)rows + at;
    uint16_t part[VL] = {0};
    if (left >= VL) return vf_load_bf16(p);
    for (int64_t i = 0; i < left; i++) part[i] = p[i];
    return vf_load_bf16(part);
}

/* The longest stretch from the v-th seen position on, before the one at `end`, as KV head j has it;
 * all heads' are equally long. k and v are NULL where the head has chosen fewer blocks. */
static attn_span stretch_at(const sight *g, int64_t v, int64_t end, int64_t j) {
    const int64_t c = g->x.a->chunk, at = j * g->x.a->head_dim;
    int64_t n = end - v < STRETCH ? end - v : STRETCH, s = v, left = g->sink - v;
    if (v >= g->sink + g->window) {
        v -= g->sink + g->window;
        const int32_t b = choice(g, j)[v / c];
        left = c - v % c;
        if (b < 0) return (attn_span){.n = left < n ? left : n};
        s = b * c + v % c;
    } else if (v >= g->sink) {
        s = g->window_begin + v - g->sink;
        left = g->sink + g->window - v;
    }
    if (left < n) n = left;
    attn_span keys = attn_span_at(&g->x, s, s + n);
    keys.k = row_of(keys.k, at, keys.form);
    keys.v = row_of(keys.v, at, keys.form);
    return keys;
}

/* One head's keys and values, and those that come after them: while the first are worked on, the
 * others are asked for, a few lines at a time, so that neither computing nor memory waits. */
typedef struct visit {
    attn_span keys, next;
} visit;

/* n elements from `at` on. */
INLINE void fetch(const void *rows, int64_t at, int64_t n, attn_form form) {
    for (int64_t c = 0; c < n; c += HY__ALIGN / (form == ATTN_HALF ? 2 : 4))
        __builtin_prefetch(row_of(rows, at + c, form), 0, 3);
}

/* s[n] = q·keys, VL keys at a time: their sums are made across vectors together. */
INLINE void score(float *s, const float *q, const visit *x, int64_t hd, const attn_form form) {
    const attn_span *keys = &x->keys, *next = &x->next;
    for (int64_t key = 0; key < keys->n; key += VL) {
        const int64_t last = keys->n - 1 - key;
        vf sum[VL];
        for (int64_t m = key; m < key + VL && m < next->n; m++)
            fetch(next->k, m * next->ldk, hd, next->form);
        for (int m = 0; m < VL; m++) sum[m] = (vf){0};
        for (int64_t c = 0; c < hd; c += VL) {
            const vf qc = vf_load_to(q + c, hd - c);
#pragma GCC unroll 16
            for (int m = 0; m < VL; m++) {
                const int64_t at = (key + (m < last ? m : last)) * keys->ldk + c;
                sum[m] += qc * load(keys->k, at, hd - c, form);
            }
        }
        vf_store(s + key, vf_sum_each(sum));
    }
}

/* nv vectors of o = alpha·o + Σ p·v from column c on, or the first n_tail elements of one. Even and
 * odd positions are summed apart, so that the sums do not wait for each other. */
INLINE void weigh_columns(float *o, float alpha, const float *p, const visit *x, int64_t c,
                          const int nv, int64_t n_tail, const attn_form form) {
    const int64_t n = x->keys.n, ldv = x->keys.ldv, ahead = x->next.ldv;
    const void *v = x->keys.v;
    vf even[COLUMNS], odd[COLUMNS];
#pragma GCC unroll 4
    for (int i = 0; i < nv; i++) {
        even[i] = alpha * vf_load_to(o + c + i * VL, n_tail);
        odd[i] = (vf){0};
    }
    int64_t s = 0;
    for (; s + 2 <= n; s += 2) {
        if (s < x->next.n) fetch(x->next.v, s * ahead + c, nv * VL, x->next.form);
        if (s + 1 < x->next.n) fetch(x->next.v, (s + 1) * ahead + c, nv * VL, x->next.form);
#pragma GCC unroll 4
        for (int i = 0; i < nv; i++) {
            even[i] += p[s] * load(v, s * ldv + c + i * VL, n_tail, form);
            odd[i] += p[s + 1] * load(v, (s + 1) * ldv + c + i * VL, n_tail, form);
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < nv; i++) {
        if (s < n) even[i] += p[s] * load(v, s * ldv + c + i * VL, n_tail, form);
        vf_store_to(o + c + i * VL, even[i] + odd[i], n_tail);
    }
}

INLINE void weigh(float *o, float alpha, const float *p, const visit *x, int64_t hd,
                  const attn_form form) {
    int64_t c = 0;
    for (; c + COLUMNS * VL <= hd; c += COLUMNS * VL)
        weigh_columns(o, alpha, p, x, c, COLUMNS, VL, form);
    for (; c + VL <= hd; c += VL) weigh_columns(o, alpha, p, x, c, 1, VL, form);
    if (c < hd) weigh_columns(o, alpha, p, x, c, 1, hd - c, form);
}

/* One head meets a stretch; sum: o [hd], maximum, sum of the softmax so far. */
INLINE void meet(float *sum, const float *q, const visit *x, const hy__attn_args *a,
                 const attn_form form) {
    const int64_t hd = a->head_dim, n = x->keys.n;
    const float scale = (float)a->scale;
    float p[STRETCH];
    score(p, q, x, hd, form);
    vf top = vf_set(sum[hd]), total = {0};
    for (int64_t s = n; s % VL != 0; s++) p[s] = ATTN_MASKED;
    for (int64_t s = 0; s < n; s += VL) top = vf_max(top, scale * vf_load(p + s));
    const float most = vf_hmax(top), alpha = sf_exp(sum[hd] - most);
    for (int64_t s = 0; s < n; s += VL) {
        const vf e = vf_exp(scale * vf_load(p + s) - most);
        vf_store(p + s, e);
        total += e;
    }
    sum[hd] = most;
    sum[hd + 1] = alpha * sum[hd + 1] + vf_sum(total);
    weigh(sum, alpha, p, x, hd, form);
}

static void meet_in_form(float *sum, const float *q, const visit *x, const hy__attn_args *a) {
    if (x->keys.form == ATTN_FLOAT)
        meet(sum, q, x, a, ATTN_FLOAT);
    else if (x->keys.form == ATTN_HALF)
        meet(sum, q, x, a, ATTN_HALF);
    else
        meet(sum, q, x, a, ATTN_ROUND);
}

/* Floats of what a head has summed up. */
static int64_t sum_size(const hy__attn_args *a) {
    return padded(a->head_dim + 2);
}

/* What comes after the stretch of KV head j: the next head's, or the first one's next stretch. */
static attn_span stretch_after(const sight *g, int64_t v, int64_t n, int64_t end, int64_t j) {
    attn_span next = {0};
    if (j + 1 < g->x.a->n_kv)
        next = stretch_at(g, v, end, j + 1);
    else if (v + n < end)
        next = stretch_at(g, v + n, end, 0);
    return next.k ? next : (attn_span){0};
}

/* A stretch, all heads; returns its length, and adds to *seen how often a KV head saw a position.
 */
static int64_t meet_stretch(const sight *g, int64_t v, int64_t end, float *sums, int64_t *seen) {
    const hy__attn_args *a = g->x.a;
    const float *q = attn_query(&g->x, 0); /* heads lie side by side */
    int64_t n = 0;
    for (int64_t j = 0; j < a->n_kv; j++) {
        visit x = {.keys = stretch_at(g, v, end, j)};
        n = x.keys.n;
        if (!x.keys.k) continue;
        x.next = stretch_after(g, v, n, end, j);
        for (int64_t h = j * g->x.group; h < (j + 1) * g->x.group; h++) {
            meet_in_form(sums + h * sum_size(a), q + h * a->head_dim, &x, a);
            x.next.n = 0;
        }
        *seen += n;
    }
    return n;
}

/* Part number `which`; sums: those of all heads. */
static int64_t meet_part(const sight *g, int64_t which, float *sums) {
    const hy__attn_args *a = g->x.a;
    const int64_t all = g->sink + g->window + g->chosen, size = sum_size(a);
    const int64_t begin = which * g->part, end = all - begin < g->part ? all : begin + g->part;
    int64_t seen = 0;
    for (int64_t h = 0; h < a->n_head; h++) {
        memset(sums + h * size, 0, (size_t)size * sizeof *sums);
        sums[h * size + a->head_dim] = ATTN_MASKED;
    }
    for (int64_t v = begin; v < end;) v += meet_stretch(g, v, end, sums, &seen);
    return seen;
}

/* o and lse of head h from its parts' sums. */
static void merge(const sight *g, int64_t h, const float *sums) {
    const hy__attn_args *a = g->x.a;
    const int64_t hd = a->head_dim, size = sum_size(a), apart = a->n_head * size;
    const int64_t to = g->x.seq.start * a->n_head + h;
    float *o = (float *)hy__ptr(a->o) + to * hd, most = ATTN_MASKED, total = 0;
    sums += h * size;
    for (int64_t p = 0; p < g->n_part; p++)
        if (sums[p * apart + hd] > most) most = sums[p * apart + hd];
    memset(o, 0, (size_t)hd * sizeof *o);
    for (int64_t p = 0; p < g->n_part; p++) {
        const float weight = sf_exp(sums[p * apart + hd] - most);
        total += weight * sums[p * apart + hd + 1];
        vec_axpy(o, weight, sums + p * apart, hd);
    }
    vec_scale(o, 1.0f / total, hd);
    ((float *)hy__ptr(a->lse))[to] = most + logf(total);
}

/* How many sequences, and (where to is not NULL) what each sees. */
static int64_t look(const hy__attn_args *a, sight *to, int64_t *n_part) {
    int64_t n = 0;
    *n_part = 0;
    for (int64_t i = 0; i < a->rows->n_seq; i++) {
        if (!attn_decodes(&a->rows->seq[i])) continue;
        sight g = sight_of(a, i);
        g.first = *n_part;
        if (to) to[n] = g;
        *n_part += g.n_part;
        n++;
    }
    return n;
}

void HY__FAST(hy__attn_decode)(hy__backend *be, const hy__attn_args *a) {
    int64_t n_part, seen = 0;
    const int64_t n = look(a, NULL, &n_part), each = a->n_head * sum_size(a);
    if (n == 0) return;
    const size_t sums_size = hy__tensor_bytes(HY__DTYPE_F32, n_part * each);
    float *sums = hy__scratch_all(be, sums_size + (size_t)n * sizeof(sight));
    if (!sums) return;
    sight *of = (sight *)((char *)sums + sums_size);
    look(a, of, &n_part);
#pragma omp parallel num_threads(be->n_thread) reduction(+ : seen) if (n_part > 1)
    {
#pragma omp for schedule(dynamic, 1)
        for (int64_t p = 0; p < n_part; p++) {
            int64_t i = 0;
            while (i + 1 < n && of[i + 1].first <= p) i++;
            seen += meet_part(&of[i], p - of[i].first, sums + p * each);
        }
#pragma omp for schedule(static)
        for (int64_t m = 0; m < n * a->n_head; m++)
            merge(&of[m / a->n_head], m % a->n_head, sums + of[m / a->n_head].first * each);
    }
    be->counters.kv_positions += seen;
}
