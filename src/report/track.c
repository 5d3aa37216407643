/* track.c: see track.h. Bucket b holds the steps b·width + 1 … (b + 1)·width; some may be empty. */
#include "report/track.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

hy_status hy__track_init(hy__track *t, const char *name, int depth, const int64_t *shape,
                         hy_error *err) {
    *t = (hy__track){.depth = depth,
                     .n = 1,
                     .width = 1,
                     .cap = depth == 0 ? HY__TRACK_POINTS : HY__TRACK_LISTS,
                     .last = (double)NAN};
    snprintf(t->name, sizeof t->name, "%s", name);
    for (int i = 0; i < depth; i++) {
        t->shape[i] = shape[i];
        t->n *= shape[i];
    }
    const size_t cap = (size_t)t->cap, n = cap * (size_t)(t->n > 0 ? t->n : 1);
    t->sum = calloc(n, sizeof *t->sum);
    t->count = calloc(n, sizeof *t->count);
    t->steps = calloc(cap, sizeof *t->steps);
    t->seen = calloc(cap, sizeof *t->seen);
    t->lo = calloc(depth == 0 ? cap : 1, sizeof *t->lo);
    t->hi = calloc(depth == 0 ? cap : 1, sizeof *t->hi);
    if (t->sum && t->count && t->steps && t->seen && t->lo && t->hi) return HY_OK;
    hy__track_release(t);
    return hy__no_memory(err, "the numbers of %s", name);
}

void hy__track_release(hy__track *t) {
    free(t->sum);
    free(t->count);
    free(t->steps);
    free(t->seen);
    free(t->lo);
    free(t->hi);
    *t = (hy__track){0};
}

bool hy__track_fits(const hy__track *t, int depth, const int64_t *shape) {
    if (t->depth != depth) return false;
    for (int i = 0; i < depth; i++)
        if (t->shape[i] != shape[i]) return false;
    return true;
}

/* Bucket `from` becomes part of bucket `to`, which stands before it or is itself. */
static void merge(hy__track *t, int64_t to, int64_t from) {
    if (to == from) return;
    if (t->depth == 0 && t->seen[from] > 0) {
        t->lo[to] = t->seen[to] > 0 ? fmin(t->lo[to], t->lo[from]) : t->lo[from];
        t->hi[to] = t->seen[to] > 0 ? fmax(t->hi[to], t->hi[from]) : t->hi[from];
    }
    for (int64_t i = 0; i < t->n; i++) {
        t->sum[to * t->n + i] += t->sum[from * t->n + i];
        t->count[to * t->n + i] += t->count[from * t->n + i];
        t->sum[from * t->n + i] = 0;
        t->count[from * t->n + i] = 0;
    }
    t->steps[to] += t->steps[from];
    t->seen[to] += t->seen[from];
    t->steps[from] = 0;
    t->seen[from] = 0;
}

void hy__track_add(hy__track *t, int64_t step, const double *x) {
    while ((step - 1) / t->width >= t->cap) {
        for (int64_t b = 0; b < t->cap; b++) merge(t, b / 2, b);
        t->width *= 2;
        t->n_bucket = (t->n_bucket + 1) / 2;
    }
    const int64_t b = (step - 1) / t->width;
    for (int64_t i = 0; i < t->n; i++) {
        if (!isfinite(x[i])) continue;
        t->sum[b * t->n + i] += x[i];
        t->count[b * t->n + i]++;
    }
    if (t->depth == 0 && !isfinite(x[0])) return;
    if (t->depth == 0) {
        t->lo[b] = t->seen[b] > 0 ? fmin(t->lo[b], x[0]) : x[0];
        t->hi[b] = t->seen[b] > 0 ? fmax(t->hi[b], x[0]) : x[0];
        t->last = x[0];
    }
    t->last_step = step;
    t->steps[b] += (double)step;
    t->seen[b]++;
    if (b >= t->n_bucket) t->n_bucket = b + 1;
}

/* The bucket of the point-th that holds something; the last one's place where there are fewer. */
static int64_t bucket_of(const hy__track *t, int64_t point) {
    for (int64_t b = 0; b < t->n_bucket; b++)
        if (t->seen[b] > 0 && point-- == 0) return b;
    return t->n_bucket - 1;
}

int64_t hy__track_points(const hy__track *t) {
    int64_t n = 0;
    for (int64_t b = 0; b < t->n_bucket; b++) n += t->seen[b] > 0;
    return n;
}

int64_t hy__track_steps(const hy__track *t) {
    int64_t n = 0;
    for (int64_t b = 0; b < t->n_bucket; b++) n += t->seen[b];
    return n;
}

double hy__track_step(const hy__track *t, int64_t point) {
    const int64_t b = bucket_of(t, point);
    return t->steps[b] / (double)t->seen[b];
}

static double mean_of(const hy__track *t, int64_t b, int64_t i) {
    const int64_t n = t->count[b * t->n + i];
    return n > 0 ? t->sum[b * t->n + i] / (double)n : (double)NAN;
}

double hy__track_mean(const hy__track *t, int64_t point, int64_t i) {
    return mean_of(t, bucket_of(t, point), i);
}

double hy__track_at(const hy__track *t, double step) {
    double before = 0, x = 0, at = 0, y = 0; /* the points on both sides of the step */
    for (int64_t b = 0; b <= t->n_bucket && at < step; b++) {
        if (b < t->n_bucket && t->seen[b] == 0) continue;
        before = at;
        x = y;
        at = b < t->n_bucket ? t->steps[b] / (double)t->seen[b] : (double)t->last_step;
        y = b < t->n_bucket ? mean_of(t, b, 0) : t->last;
    }
    return at > before ? x + (y - x) * (step - before) / (at - before) : y;
}

double hy__track_final(const hy__track *t, int64_t i, int64_t last) {
    double sum = 0;
    int64_t n = 0;
    for (int64_t b = t->n_bucket - 1; b >= 0; b--) {
        const bool recent = (double)(b + 1) * (double)t->width > 0.9 * (double)last;
        if (n > 0 && !recent) break;
        sum += t->sum[b * t->n + i];
        n += t->count[b * t->n + i];
    }
    return n > 0 ? sum / (double)n : (double)NAN;
}
