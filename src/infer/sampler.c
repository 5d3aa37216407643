/* sampler.c: see sampler.h.
 *
 * Candidates lie in a binary heap ordered by (logit falling, id rising); taking them out one by one
 * ranks only as many as the filters ask for: O(V + kept·log V), without sorting the vocabulary. */
#include "infer/sampler.h"

#include "base/rng.h"

#include <math.h>
#include <stdlib.h>

static hy_status check_options(const hy_sample_options *o, hy_error *err) {
    if (!(o->temperature >= 0.0) || isinf(o->temperature)) {
        return hy__fail(err, HY_E_INVALID, "the temperature is %g, wanted a number from 0 on",
                        o->temperature);
    }
    if (o->top_k < 0) {
        return hy__fail(err, HY_E_INVALID, "top-k is %lld, wanted 0 or more", (long long)o->top_k);
    }
    if (!(o->top_p >= 0.0 && o->top_p <= 1.0)) {
        return hy__fail(err, HY_E_INVALID, "top-p is %g, wanted a number from 0 to 1", o->top_p);
    }
    if (!(o->min_p >= 0.0 && o->min_p <= 1.0)) {
        return hy__fail(err, HY_E_INVALID, "min-p is %g, wanted a number from 0 to 1", o->min_p);
    }
    return HY_OK;
}

hy_status hy__sampler_init(hy__sampler *s, const hy_sample_options *opt, int64_t vocab,
                           hy_error *err) {
    HY_TRY(check_options(opt, err));
    *s = (hy__sampler){
        .temperature = opt->temperature,
        .top_k = opt->top_k,
        .top_p = opt->top_p,
        .min_p = opt->min_p,
        .key = hy__rng_key(opt->seed, "sample", 0),
        .vocab = vocab,
        .id = malloc((size_t)vocab * sizeof *s->id),
        .weight = malloc((size_t)vocab * sizeof *s->weight),
    };
    if (!s->id || !s->weight) {
        hy__sampler_release(s);
        return hy__no_memory(err, "sampling from %lld tokens", (long long)vocab);
    }
    return HY_OK;
}

void hy__sampler_release(hy__sampler *s) {
    free(s->id);
    free(s->weight);
    *s = (hy__sampler){0};
}

/* The likeliest token; also the check of the row. */
static hy_status find_best(const float *logits, int64_t vocab, int32_t *best, hy_error *err) {
    *best = -1;
    for (int64_t i = 0; i < vocab; i++) {
        if (isnan(logits[i]) || (isinf(logits[i]) && logits[i] > 0)) {
            return hy__fail(err, HY_E_INVALID,
                            "the logit of token %lld is %g; the model's weights or its input are "
                            "broken",
                            (long long)i, (double)logits[i]);
        }
        if (!isinf(logits[i]) && (*best < 0 || logits[i] > logits[*best])) *best = (int32_t)i;
    }
    if (*best < 0) {
        return hy__fail(err, HY_E_INVALID, "no token is possible: all %lld logits are -inf",
                        (long long)vocab);
    }
    return HY_OK;
}

static bool ranks_before(const float *logits, int32_t a, int32_t b) {
    return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
}

static void sift_down(int32_t *heap, int64_t n, int64_t i, const float *logits) {
    const int32_t moved = heap[i];
    for (int64_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && ranks_before(logits, heap[child + 1], heap[child])) child++;
        if (!ranks_before(logits, heap[child], moved)) break;
        heap[i] = heap[child];
    }
    heap[i] = moved;
}

/* Moves the best of the heap to its end; the heap is then one shorter. */
static int32_t take_best(int32_t *heap, int64_t n, const float *logits) {
    const int32_t best = heap[0];
    heap[0] = heap[n - 1];
    sift_down(heap, n - 1, 0, logits);
    heap[n - 1] = best;
    return best;
}

/* Orders the candidates id[n] as far as needed and drops what top-k and top-p exclude. The kept
 * ones end up ranked at the end of id: returns how many, the best being id[n-1]. */
static int64_t rank(hy__sampler *s, const float *logits, int64_t n) {
    for (int64_t i = n / 2 - 1; i >= 0; i--) sift_down(s->id, n, i, logits);
    const int64_t most = s->top_k > 0 && s->top_k < n ? s->top_k : n;
    int64_t ranked = 0;
    if (most < n)
        while (ranked < most) take_best(s->id, n - ranked++, logits);
    if (s->top_p <= 0.0 || s->top_p >= 1.0) return most;
    double total = 0.0, mass = 0.0;
    for (int64_t i = n - most; i < n; i++) total += s->weight[s->id[i]];
    for (int64_t i = 0; i < most; i++) {
        if (i == ranked) take_best(s->id, n - ranked++, logits);
        mass += s->weight[s->id[n - 1 - i]];
        if (mass >= s->top_p * total) return i + 1;
    }
    return most;
}

hy_status hy__sampler_next(hy__sampler *s, const float *logits, int64_t pos, int32_t *token,
                           hy_error *err) {
    HY_TRY(find_best(logits, s->vocab, token, err));
    if (s->temperature <= 0.0 || s->top_k == 1) return HY_OK;
    const double best = (double)logits[*token];
    int64_t n = 0;
    for (int64_t i = 0; i < s->vocab; i++) {
        s->weight[i] = exp(((double)logits[i] - best) / s->temperature); /* best: exactly 1 */
        if (s->weight[i] > 0.0 && s->weight[i] >= s->min_p) s->id[n++] = (int32_t)i;
    }
    int64_t kept = n;
    if ((s->top_k > 0 && s->top_k < n) || (s->top_p > 0.0 && s->top_p < 1.0))
        kept = rank(s, logits, n);
    double total = 0.0;
    for (int64_t i = n - kept; i < n; i++) total += s->weight[s->id[i]];
    double left = hy__rng_uniform(s->key, (uint64_t)pos) * total;
    for (int64_t i = n - 1; i >= n - kept; i--) {
        *token = s->id[i]; /* rounding may leave a rest: then it is the last candidate */
        left -= s->weight[s->id[i]];
        if (left < 0.0) break;
    }
    return HY_OK;
}
