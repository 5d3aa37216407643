/* ref_pkm.c: the specification of the product-key memory (letter P; Lample et al. 2019, arXiv
 * 1907.05242): two half queries choose among n sub-keys each, their pairs name rows of one value
 * table. Shapes and equations: backend.h. */
#include "backend/cpu/ref.h"

#include <stdlib.h>

/* ---- pkm_select ------------------------------------------------------------------------------ */

typedef struct scored {
    real score;
    int32_t id;
} scored;

static int by_falling_score(const void *pa, const void *pb) {
    const scored *a = pa, *b = pb;
    if (a->score != b->score) return a->score > b->score ? -1 : 1;
    return (a->id > b->id) - (a->id < b->id);
}

/* all[n_key]: the sub-keys of one half of head h, best first, scored by row r's query. */
static void half_scores(const hy__pkm_select_args *a, int64_t r, int64_t h, int half, scored *all) {
    const int64_t dh = a->d_half;
    const real *q = (const real *)hy__ptr(a->q) + ((r * a->n_head + h) * 2 + half) * dh;
    const real *key = (const real *)hy__ptr(a->key) + (h * 2 + half) * a->n_key * dh;
    for (int64_t i = 0; i < a->n_key; i++) {
        real sum = 0;
        for (int64_t c = 0; c < dh; c++) sum += q[c] * key[i * dh + c];
        all[i] = (scored){.score = sum, .id = (int32_t)i};
    }
    qsort(all, (size_t)a->n_key, sizeof *all, by_falling_score);
}

static void pkm_select(hy__backend *be, const hy__pkm_select_args *a) {
    const int64_t n = a->n_key, k = a->k;
    const size_t bytes = (size_t)(2 * n + k * k) * sizeof(scored);
    scored *first = hy__scratch(be, (bytes + HY__ALIGN - 1) / HY__ALIGN * HY__ALIGN);
    if (!first) return;
    scored *second = first + n, *pair = second + n;
    int32_t *idx = hy__ptr(a->idx);
    real *score = hy__ptr(a->score);
    for (int64_t r = 0; r < a->n_row; r++)
        for (int64_t h = 0; h < a->n_head; h++) {
            half_scores(a, r, h, 0, first);
            half_scores(a, r, h, 1, second);
            for (int64_t i = 0; i < k; i++)
                for (int64_t j = 0; j < k; j++)
                    pair[i * k + j] = (scored){.score = first[i].score + second[j].score,
                                               .id = (int32_t)(first[i].id * n + second[j].id)};
            qsort(pair, (size_t)(k * k), sizeof *pair, by_falling_score);
            for (int64_t j = 0; j < k; j++) {
                idx[(r * a->n_head + h) * k + j] = pair[j].id;
                score[(r * a->n_head + h) * k + j] = pair[j].score;
            }
        }
}

/* dq (=) and dkey (+=) of one half; the gradient reaches the chosen pairs' sub-keys alone. */
static void half_backward(const hy__pkm_select_args *a, int64_t r, int64_t h, int half) {
    const int64_t dh = a->d_half, at = ((r * a->n_head + h) * 2 + half) * dh;
    const int32_t *idx = (const int32_t *)hy__ptr(a->idx) + (r * a->n_head + h) * a->k;
    const real *dscore = (const real *)hy__ptr(a->dscore) + (r * a->n_head + h) * a->k;
    const real *q = (const real *)hy__ptr(a->q) + at;
    const real *key = (const real *)hy__ptr(a->key) + (h * 2 + half) * a->n_key * dh;
    real *dq = (real *)hy__ptr(a->dq) + at;
    real *dkey = (real *)hy__ptr(a->dkey) + (h * 2 + half) * a->n_key * dh;
    for (int64_t c = 0; c < dh; c++) dq[c] = 0;
    for (int64_t j = 0; j < a->k; j++) {
        const int64_t i = half == 0 ? idx[j] / a->n_key : idx[j] % a->n_key;
        for (int64_t c = 0; c < dh; c++) {
            dq[c] += dscore[j] * key[i * dh + c];
            dkey[i * dh + c] += dscore[j] * q[c];
        }
    }
}

static void pkm_select_backward(hy__backend *be, const hy__pkm_select_args *a) {
    (void)be;
    for (int64_t r = 0; r < a->n_row; r++)
        for (int64_t h = 0; h < a->n_head; h++) {
            half_backward(a, r, h, 0);
            half_backward(a, r, h, 1);
        }
}

/* ---- pkm_read -------------------------------------------------------------------------------- */

static void pkm_read(hy__backend *be, const hy__pkm_read_args *a) {
    const int32_t *idx = hy__ptr(a->idx);
    const real *score = hy__ptr(a->score);
    real *weight = hy__ptr(a->weight), *use = hy__ptr(a->use), *y = hy__ptr(a->y);
    const int64_t dv = a->d_value, k = a->k;
    for (int64_t r = 0; r < a->n_row; r++) {
        for (int64_t c = 0; c < dv; c++) y[r * dv + c] = 0;
        for (int64_t h = 0; h < a->n_head; h++) {
            const int64_t p = (r * a->n_head + h) * k; /* the head's first pair */
            real top = score[p];
            for (int64_t j = 1; j < k; j++) top = score[p + j] > top ? score[p + j] : top;
            double sum = 0;
            for (int64_t j = 0; j < k; j++) sum += exp((double)(score[p + j] - top));
            for (int64_t j = 0; j < k; j++) {
                const real w = (real)(exp((double)(score[p + j] - top)) / sum);
                weight[p + j] = w;
                if (use) use[idx[p + j]] += w;
                for (int64_t c = 0; c < dv; c++)
                    y[r * dv + c] += w * ref_weight(a->table, idx[p + j], c, dv);
            }
        }
    }
    be->counters.table_rows += a->n_row * a->n_head * k;
}

/* Walking the pairs in order adds to every table row in the order of the reverse index. */
static void pkm_read_backward(hy__backend *be, const hy__pkm_read_args *a) {
    (void)be;
    const int32_t *idx = hy__ptr(a->idx);
    const real *weight = hy__ptr(a->weight), *dy = hy__ptr(a->dy);
    real *dscore = hy__ptr(a->dscore), *dtable = hy__ptr(a->dtable);
    int32_t *touched = hy__ptr(a->touched);
    const int64_t dv = a->d_value, k = a->k;
    for (int64_t p = 0; p < a->n_row * a->n_head * k; p += k) {
        const real *dy_row = dy + p / (a->n_head * k) * dv;
        real mean = 0;
        for (int64_t j = 0; j < k; j++) {
            const int64_t row = idx[p + j];
            real dweight = 0;
            for (int64_t c = 0; c < dv; c++) {
                dweight += dy_row[c] * ref_get(a->table, row * dv + c);
                dtable[row * dv + c] += weight[p + j] * dy_row[c];
            }
            touched[row] = 1;
            dscore[p + j] = dweight;
            mean += weight[p + j] * dweight;
        }
        for (int64_t j = 0; j < k; j++) dscore[p + j] = weight[p + j] * (dscore[p + j] - mean);
    }
}

void HY__REF(hy__ref_pkm)(hy__kernels *k) {
    k->pkm_select = pkm_select;
    k->pkm_select_backward = pkm_select_backward;
    k->pkm_read = pkm_read;
    k->pkm_read_backward = pkm_read_backward;
}
