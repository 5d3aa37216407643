/* fast_attn_chosen.c: the forward of attention over the blocks that tokens chose.
 *
 * The choices of ATTN_SPREAD tokens are sorted by block, and all rows that chose a block meet it
 * together: its keys and values come from memory once. Few rows choose the same block, eight in a
 * long text, so vectors run over the keys, s[row][key], of which there are always enough; the
 * block's keys are transposed for that. Between blocks a row keeps its maximum and sum here and its
 * weighted values, not yet divided by the sum, in the output. They begin as what the sink and the
 * window left: (o, lse) stands for any softmax so far as (o·1, maximum lse, sum 1). */
#include "backend/cpu/fast_attn.h"

typedef struct chosen {
    attn_choices choices;
    float *top, *sum; /* [SPREAD·group] of every row of these tokens */
    int64_t begin;    /* the first of these rows */
    int64_t n;
    int64_t row[ATTN_ROWS]; /* of the tile */
    float *q, *o;           /* [ROWS][hd] scale·q, weighted values */
    float *keys, *values;   /* [KEYS][hd], where the cache is bf16 */
    float *kt;              /* [hd][KEYS] */
    float *s;               /* [ROWS][KEYS] scores, then probabilities */
    float *m, *alpha;       /* [ROWS] maximum, and what the last change of it makes of the past */
} chosen;

static size_t take_chosen(chosen *w, const hy__attn_args *a, void *base) {
    attn_cut cut = {.base = base};
    const int64_t n_row = ATTN_SPREAD * (a->n_head / a->n_kv);
    attn_take_choices(&cut, &w->choices, a);
    w->top = attn_take(&cut, n_row);
    w->sum = attn_take(&cut, n_row);
    w->q = attn_take(&cut, ATTN_ROWS * a->head_dim);
    w->o = attn_take(&cut, ATTN_ROWS * a->head_dim);
    w->keys = attn_take(&cut, ATTN_KEYS * a->head_dim);
    w->values = attn_take(&cut, ATTN_KEYS * a->head_dim);
    w->kt = attn_take(&cut, a->head_dim * ATTN_KEYS);
    w->s = attn_take(&cut, ATTN_ROWS * ATTN_KEYS);
    w->m = attn_take(&cut, ATTN_ROWS);
    w->alpha = attn_take(&cut, ATTN_ROWS);
    return cut.used;
}

/* The rows from number f on that chose block b, and their queries. */
static void load_rows(chosen *w, const attn_head *x, int64_t b, int64_t f) {
    const int64_t hd = x->a->head_dim, left = attn_choices_rows(&w->choices, x, b) - f;
    const float scale = (float)x->a->scale;
    const int32_t *token = w->choices.token + w->choices.first[b];
    w->n = left < ATTN_ROWS ? left : ATTN_ROWS;
    for (int64_t r = 0; r < w->n; r++) {
        const int64_t row = token[(f + r) / x->group] * x->group + (f + r) % x->group;
        const float *q = attn_query(x, row);
        for (int64_t c = 0; c < hd; c++) w->q[r * hd + c] = scale * q[c];
        w->row[r] = row;
    }
}

/* The scores of row r among n_key keys become exp(score - maximum). */
INLINE float exponentials(float *s, int64_t n_key, float m) {
    vf sum = {0};
    for (int64_t key = 0; key < n_key; key += VL) {
        const vf p = vf_exp(vf_load(s + key) - m);
        vf_store(s + key, p);
        sum += p;
    }
    return vf_sum(sum);
}

/* s becomes exp(s - maximum); maxima, sums and alpha move on. */
static void softmax_step(chosen *w, int64_t n_key) {
    const int64_t whole = padded(n_key);
    for (int64_t r = 0; r < w->n; r++) {
        float *s = w->s + r * ATTN_KEYS, *top = w->top + w->row[r] - w->begin;
        for (int64_t key = n_key; key < whole; key++) s[key] = ATTN_MASKED;
        vf m = vf_set(*top);
        for (int64_t key = 0; key < whole; key += VL) m = vf_max(m, vf_load(s + key));
        w->m[r] = vf_hmax(m);
        w->alpha[r] = *top - w->m[r];
        *top = w->m[r];
    }
    for (int64_t r = 0; r < w->n; r += VL) vf_store(w->alpha + r, vf_exp(vf_load(w->alpha + r)));
    for (int64_t r = 0; r < w->n; r++) {
        float *sum = w->sum + w->row[r] - w->begin;
        *sum = *sum * w->alpha[r] + exponentials(w->s + r * ATTN_KEYS, whole, w->m[r]);
    }
}

/* The tile meets n_key keys of its block, transposed in kt, and their values. */
static void meet(chosen *w, const attn_head *x, int64_t n_key, const float *v, int64_t ldv) {
    const int64_t hd = x->a->head_dim;
    float *o = hy__ptr(x->a->o);
    mm(w->n, n_key, hd, w->q, hd, 1, w->kt, ATTN_KEYS, w->s, ATTN_KEYS, false);
    softmax_step(w, n_key);
    for (int64_t r = 0; r < w->n; r++) {
        const float *from = o + attn_out_row(x, w->row[r]) * hd;
        for (int64_t c = 0; c < hd; c++) w->o[r * hd + c] = w->alpha[r] * from[c];
    }
    mm(w->n, hd, n_key, w->s, ATTN_KEYS, 1, v, ldv, w->o, hd, true);
    for (int64_t r = 0; r < w->n; r++)
        memcpy(o + attn_out_row(x, w->row[r]) * hd, w->o + r * hd, (size_t)hd * sizeof *o);
}

/* Asks for n rows of a head. They are used once: they go past the second level of caches, which
 * holds queries and outputs. */
static void prefetch_rows(const void *rows, size_t row_bytes, size_t size, int64_t n) {
    for (int64_t r = 0; r < n; r++)
        for (size_t at = 0; at < size; at += HY__ALIGN)
            __builtin_prefetch((const char *)rows + (size_t)r * row_bytes + at, 0, 0);
}

static void prefetch_block(const attn_head *x, int64_t b) {
    const int64_t end = (b + 1) * x->a->chunk;
    for (int64_t s = b * x->a->chunk; s < end;) {
        const attn_span keys = attn_span_at(x, s, end);
        const size_t width = keys.form == ATTN_HALF ? 2 : 4;
        const size_t size = (size_t)x->a->head_dim * width;
        prefetch_rows(keys.k, (size_t)keys.ldk * width, size, keys.n);
        prefetch_rows(keys.v, (size_t)keys.ldv * width, size, keys.n);
        s += keys.n;
    }
}

static void meet_block(chosen *w, const attn_head *x, int64_t b) {
    const int64_t c = x->a->chunk, hd = x->a->head_dim;
    const int64_t n_row = attn_choices_rows(&w->choices, x, b);
    if (n_row == 0) return;
    for (int64_t s = b * c; s < (b + 1) * c;) {
        const attn_span keys = attn_span_at(x, s, (b + 1) * c);
        int64_t ldk = keys.ldk, ldv = keys.ldv;
        const float *k = attn_floats(w->keys, keys.k, &ldk, keys.form, keys.n, hd);
        const float *v = attn_floats(w->values, keys.v, &ldv, keys.form, keys.n, hd);
        mat_transpose(w->kt, ATTN_KEYS, k, ldk, keys.n, hd);
        for (int64_t f = 0; f < n_row; f += ATTN_ROWS) {
            load_rows(w, x, b, f);
            meet(w, x, keys.n, v, ldv);
        }
        s += keys.n;
    }
}

/* What the sink and the windows left for rows [begin, end). */
static void resume(chosen *w, const attn_head *x, int64_t begin, int64_t end) {
    const float *lse = hy__ptr(x->a->lse);
    w->begin = begin;
    for (int64_t f = begin; f < end; f++) {
        w->top[f - begin] = lse[attn_out_row(x, f)];
        w->sum[f - begin] = 1;
    }
}

static void finish(const chosen *w, const attn_head *x, int64_t end) {
    const int64_t hd = x->a->head_dim;
    float *o = hy__ptr(x->a->o), *lse = hy__ptr(x->a->lse);
    for (int64_t f = w->begin; f < end; f++) {
        const int64_t to = attn_out_row(x, f);
        vec_scale(o + to * hd, 1.0f / w->sum[f - w->begin], hd);
        lse[to] = w->top[f - w->begin] + logf(w->sum[f - w->begin]);
    }
}

/* The piece's tokens [begin, end); returns the positions seen. */
static int64_t attend(chosen *w, const attn_head *x, int64_t begin, int64_t end) {
    attn_choices_sort(&w->choices, x, begin, end);
    resume(w, x, begin * x->group, end * x->group);
    for (int64_t b = 1; b < w->choices.n_block; b++) {
        if (b + 1 < w->choices.n_block && attn_choices_rows(&w->choices, x, b + 1) > 0)
            prefetch_block(x, b + 1);
        meet_block(w, x, b);
    }
    finish(w, x, end * x->group);
    return w->choices.first[w->choices.n_block] * x->a->chunk;
}

void HY__FAST(hy__attn_chosen)(hy__backend *be, const hy__attn_args *a) {
    if (a->topk == 0) return;
    chosen measure;
    const size_t size = take_chosen(&measure, a, NULL);
    void *scratch = hy__scratch(be, size);
    if (!scratch) return;
    const int64_t n_item = attn_items(a, 1, ATTN_SPREAD);
    int64_t seen = 0;
#pragma omp parallel for schedule(dynamic, 1) num_threads(be->n_thread) reduction(+ : seen) if (   \
        n_item > 1)
    for (int64_t n = 0; n < n_item; n++) {
        int64_t which;
        const attn_head x = attn_item(a, 1, ATTN_SPREAD, n, &which);
        if (attn_decodes(&x.seq)) continue;
        const int64_t begin = which * ATTN_SPREAD, end = begin + ATTN_SPREAD;
        chosen w;
        take_chosen(&w, a, hy__scratch_of(scratch, size, omp_get_thread_num()));
        seen += attend(&w, &x, begin, end < x.seq.len ? end : x.seq.len);
    }
    be->counters.kv_positions += seen;
}
