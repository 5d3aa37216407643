/* samples.c: what an experiment trains on, printed for its page; see lab.h. */
#include "base/utf8.h"
#include "data/mixture.h"
#include "lab/lab.h"
#include "page/page.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN = 3 /* documents of a corpus */ };
enum {
    BYTES = 600, /* of a document, … */
    LINES = 12,  /* … and lines, of one that is made */
    AROUND = 3,  /* bytes before a piece: to find the beginning of a character */
};
#define CUT "\n…\n"

/* The files and folders of text. */
static void put_paths(hy__page *p, const hy__lab_scale *s) {
    hy__text t = {0};
    if (s->text == 0) return;
    for (int i = 0; s->data[i]; i++)
        if (!hy__task_is(s->data[i])) hy__text_add(&t, "%s`%s`", t.size ? ", " : "", s->data[i]);
    hy__page_note(p,
                  "The text: %s (fingerprint %016" PRIx64 "). A part of its documents is held out, "
                  "which no training reads and the losses are of.",
                  t.data ? t.data : "", s->text);
    p->text.failed |= t.failed;
    hy__text_release(&t);
}

/* How number i of the documents shown, from all over a corpus, begins; where it has fewer, further
 * pieces of these. */
static hy_status put_document(hy__page *p, const hy__corpus *c, int64_t i, hy_error *err) {
    int32_t token[AROUND + BYTES];
    char text[AROUND + BYTES + sizeof CUT];
    const int64_t n = c->n_document[HY__PART_TRAIN], of = n < SHOWN ? n : SHOWN;
    if (n == 0) return HY_OK;
    const hy__document *d = &c->document[HY__PART_TRAIN][i % of * n / of];
    const int64_t from = i / of * BYTES, first = from > AROUND ? from - AROUND : 0;
    const int64_t end = d->len - from < BYTES ? d->len : from + BYTES;
    if (end <= from) return HY_OK;
    HY_TRY(hy__corpus_read(c, d->start + first, end - first, token, err));
    for (int64_t t = 0; t < end - first; t++) text[t] = (char)token[t];
    const size_t begin = hy__utf8_cut(text, (size_t)(from - first));
    size_t size = (size_t)(end - first);
    if (end < d->len) size = hy__utf8_cut(text, size);
    memcpy(text + size, end < d->len ? CUT : "", end < d->len ? sizeof CUT : 1);
    hy__page_code(p, text + begin);
    return HY_OK;
}

/* Bytes of so much as half a sample may be: behind `at`, or before it (step -1), of n. */
static size_t half_of(const char *at, int step, size_t n) {
    size_t size = 0;
    for (int line = 0; size < n && size < BYTES / 2; size++, at += step)
        if ((step > 0 ? *at : at[-1]) == '\n' && ++line == LINES / 2) break;
    return size;
}

/* What is asked stands at the end of many: the middle goes. */
static void shorten(char *text) {
    const size_t n = strlen(text), cut = strlen(CUT);
    const size_t head = half_of(text, 1, n), tail = half_of(text + n, -1, n);
    if (head + cut + tail >= n) return;
    memcpy(text + head, CUT, cut);
    memmove(text + head + cut, text + n - tail, tail + 1);
}

static hy_status put_made(hy__page *p, const hy__task *t, int64_t i, hy_error *err) {
    char *text = hy__task_sample(t, 0, i);
    if (!text) return hy__no_memory(err, "a sample");
    shorten(text);
    hy__page_code(p, text);
    free(text);
    return HY_OK;
}

static hy_status put_corpus(hy__page *p, const hy__corpus *c, const char *name, hy_error *err) {
    char whole[256];
    hy__page_heading(p, 3, "`%s`", name);
    if (c->task.kind) {
        hy__task_print(&c->task, whole, sizeof whole);
        hy__page_note(p,
                      "Documents of `task:%s`; what is asked stands in angle brackets. Chance is "
                      "%.3f.",
                      whole, hy__task_chance(&c->task));
    }
    for (int64_t i = 0; i < SHOWN; i++)
        HY_TRY(c->task.kind ? put_made(p, &c->task, i, err) : put_document(p, c, i, err));
    return HY_OK;
}

hy_status hy__lab_put_samples(hy__page *p, const hy__lab_scale *s, double val_fraction,
                              hy_error *err) {
    hy__mixture m;
    put_paths(p, s);
    HY_TRY(hy__entries_read(&m, s, true, val_fraction, err));
    hy_status status = HY_OK;
    for (int64_t i = 0; i < m.n && status == HY_OK; i++)
        status = put_corpus(p, m.corpus[i], m.name[i], err);
    hy__mixture_release(&m);
    return status;
}
