/* line.c: see line.h. */
#include "data/line.h"
#include "base/rng.h"

#include <stdlib.h>

static int64_t document_at(const hy__line *l, int64_t i) {
    return l->shuffled ? hy__rng_permute(l->key, i, l->n) : i;
}

static int64_t extent(const hy__line *l, int64_t d) {
    return (l->document[d].len - 1 + l->align - 1) / l->align * l->align;
}

static void lay(hy__line *l) {
    l->length = 0;
    for (int64_t i = 0; i < l->n; i++) {
        if (i % HY__LINE_STEP == 0) l->mark[i / HY__LINE_STEP] = l->length;
        l->length += extent(l, document_at(l, i));
    }
}

hy_status hy__line_init(hy__line *l, const hy__document *document, int64_t n, int64_t align,
                        hy_error *err) {
    *l = (hy__line){.document = document,
                    .n = n,
                    .align = align,
                    .mark = malloc((size_t)(n / HY__LINE_STEP + 1) * sizeof *l->mark)};
    if (!l->mark) return hy__no_memory(err, "%lld documents", (long long)n);
    lay(l);
    return HY_OK;
}

void hy__line_release(hy__line *l) {
    free(l->mark);
    *l = (hy__line){0};
}

void hy__line_shuffle(hy__line *l, uint64_t key) {
    l->shuffled = true;
    l->key = key;
    lay(l);
}

hy__line_place hy__line_find(const hy__line *l, int64_t at) {
    int64_t low = 0, high = (l->n + HY__LINE_STEP - 1) / HY__LINE_STEP;
    while (high - low > 1) { /* the last mark at or before it */
        const int64_t middle = low + (high - low) / 2;
        if (l->mark[middle] <= at)
            low = middle;
        else
            high = middle;
    }
    hy__line_place p = {.i = low * HY__LINE_STEP, .start = l->mark[low]};
    for (;; p.i++) {
        p.d = document_at(l, p.i);
        const int64_t end = p.start + extent(l, p.d);
        if (at < end) return p;
        p.start = end;
    }
}

bool hy__line_next(const hy__line *l, hy__line_place *p) {
    if (p->i + 1 >= l->n) return false;
    p->start += extent(l, p->d);
    p->d = document_at(l, ++p->i);
    return true;
}
