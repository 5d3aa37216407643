/* mixture.c: see mixture.h. */
#include "data/mixture.h"

#include "base/utf8.h"
#include "base/words.h"
#include "data/source.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Takes an entry apart: *path is the caller's to free, *weight 0 where it has none. */
static hy_status take_apart(const char *entry, char **path, double *weight, hy_error *err) {
    const char *colon = strrchr(entry, ':');
    char *end;
    size_t n = strlen(entry);
    *weight = 0.0;
    if (colon && colon[1] && access(entry, F_OK) != 0) {
        const double w = strtod(colon + 1, &end);
        if (*end == '\0') {
            if (!(w > 0.0) || !isfinite(w))
                return hy__fail(err, HY_E_INVALID,
                                "the weight of \"%.400s\" is %s, wanted a number above 0", entry,
                                colon + 1);
            *weight = w;
            n = (size_t)(colon - entry);
        }
    }
    *path = strndup(entry, n);
    return *path ? HY_OK : hy__no_memory(err, "opening the data");
}

typedef struct entries {
    char **path;
    double *weight; /* 0 = none */
    int64_t n;
} entries;

static void entries_release(entries *e) {
    for (int64_t i = 0; e->path && i < e->n; i++) free(e->path[i]);
    free(e->path);
    free(e->weight);
}

static hy_status entries_read(entries *e, const char *const *entry, int64_t n, hy_error *err) {
    *e = (entries){.path = calloc((size_t)n + 1, sizeof *e->path),
                   .weight = calloc((size_t)n + 1, sizeof *e->weight),
                   .n = n};
    hy_status status = e->path && e->weight ? HY_OK : hy__no_memory(err, "opening the data");
    for (int64_t i = 0; i < n && status == HY_OK; i++) {
        status = take_apart(entry[i], &e->path[i], &e->weight[i], err);
        if (status == HY_OK && (e->weight[i] > 0.0) != (e->weight[0] > 0.0))
            status = hy__fail(err, HY_E_INVALID,
                              "\"%.200s\" has %s weight and \"%.200s\" has %s; wanted one for all "
                              "or for none",
                              entry[0], e->weight[0] > 0.0 ? "a" : "no", entry[i],
                              e->weight[i] > 0.0 ? "one" : "none");
    }
    if (status != HY_OK) entries_release(e);
    return status;
}

hy_status hy__mixture_built(char **dir, const char *const *entry, int64_t n, hy_error *err) {
    entries e;
    *dir = NULL;
    HY_TRY(entries_read(&e, entry, n, err));
    for (int64_t i = 0; i < n && !*dir; i++) {
        if (!hy__corpus_is_built(e.path[i])) continue;
        *dir = e.path[i];
        e.path[i] = NULL;
    }
    entries_release(&e);
    return HY_OK;
}

/* "data/code.txt", "data/code/" and "data/code/" with a pattern behind it are "code",
 * "task:hops/hops=2" is "hops/hops=2". */
static void name_corpus(hy__mixture *m, const char *path) {
    if (hy__task_is(path)) {
        snprintf(m->name[m->n], HY__CORPUS_NAME, "%s", strchr(path, ':') + 1);
        return;
    }
    const char *pattern = hy__source_pattern(path);
    size_t end = pattern && pattern > path ? (size_t)(pattern - path) : strlen(path);
    while (end > 1 && path[end - 1] == '/') end--;
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/') begin--;
    size_t n = 0;
    while (begin + n < end && n + 1 < HY__CORPUS_NAME && !(n > 0 && path[begin + n] == '.')) n++;
    memcpy(m->name[m->n], path + begin, n);
    m->name[m->n][n] = '\0';
    hy__utf8_mend(m->name[m->n]);
}

static hy_status add_built(hy__mixture *m, const char *dir, const hy__build_options *opt,
                           hy_error *err) {
    const hy__tokenizer *tok = opt->tokenizer;
    uint64_t print;
    name_corpus(m, dir);
    HY_TRY(hy__tokenizer_print(tok, &print, err));
    HY_TRY(hy__corpus_open(&m->corpus[m->n], dir, err));
    const hy__corpus *c = m->corpus[m->n++];
    if (c->tokenizer != print || c->vocab != hy__tokenizer_vocab(tok))
        return hy__fail(err, HY_E_INVALID,
                        "%.400s was built with another tokenizer (vocabulary %lld) than the one in "
                        "use (vocabulary %lld); build it again with that one",
                        dir, (long long)c->vocab, (long long)hy__tokenizer_vocab(tok));
    return opt->unverified ? HY_OK : hy__corpus_verify(c, opt->threads, err);
}

/* Tasks are written in bytes, so that people can read them. */
static hy_status add_task(hy__mixture *m, const char *entry, const hy__tokenizer *tok,
                          hy_error *err) {
    uint64_t print, bytes;
    hy__tokenizer *plain;
    name_corpus(m, entry);
    HY_TRY(hy__tokenizer_print(tok, &print, err));
    HY_TRY(hy__tokenizer_open(&plain, NULL, err));
    const hy_status status = hy__tokenizer_print(plain, &bytes, err);
    hy__tokenizer_free(plain);
    if (status != HY_OK) return status;
    if (print != bytes)
        return hy__fail(err, HY_E_INVALID, "%.400s wants the tokenizer \"bytes\", got another one",
                        entry);
    HY_TRY(hy__corpus_open_task(&m->corpus[m->n], entry, print, err));
    m->n++;
    return HY_OK;
}

/* What is a corpus by itself: a task, a built folder. */
static bool stands_alone(const char *path) {
    return hy__task_is(path) || hy__corpus_is_built(path);
}

static hy_status add_alone(hy__mixture *m, const char *path, const hy__build_options *opt,
                           hy_error *err) {
    return hy__task_is(path) ? add_task(m, path, opt->tokenizer, err)
                             : add_built(m, path, opt, err);
}

static hy_status add_text(hy__mixture *m, const char *const *path, int64_t n,
                          const hy__build_options *opt, hy_error *err) {
    hy__build_options text = *opt;
    name_corpus(m, n == 1 ? path[0] : "text");
    text.path = path;
    text.n_path = n;
    HY_TRY(hy__build(&m->corpus[m->n], &text, err));
    m->n++;
    return HY_OK;
}

/* The paths that are text become the first corpus. */
static hy_status open_unweighted(hy__mixture *m, const entries *e, const hy__build_options *opt,
                                 hy_error *err) {
    const char **text = calloc((size_t)e->n + 1, sizeof *text);
    int64_t n_text = 0;
    if (!text) return hy__no_memory(err, "opening the data");
    for (int64_t i = 0; i < e->n; i++)
        if (!stands_alone(e->path[i])) text[n_text++] = e->path[i];
    hy_status status = n_text > 0 || e->n == 0 ? add_text(m, text, n_text, opt, err) : HY_OK;
    free(text);
    for (int64_t i = 0; i < e->n && status == HY_OK; i++)
        if (stands_alone(e->path[i])) status = add_alone(m, e->path[i], opt, err);
    for (int64_t i = 0; i < m->n; i++) m->weight[i] = (double)m->corpus[i]->n_part[0];
    return status;
}

static hy_status open_weighted(hy__mixture *m, const entries *e, const hy__build_options *opt,
                               hy_error *err) {
    for (int64_t i = 0; i < e->n; i++) {
        const char *const path = e->path[i];
        HY_TRY(stands_alone(path) ? add_alone(m, path, opt, err) : add_text(m, &path, 1, opt, err));
        m->weight[i] = e->weight[i];
    }
    return HY_OK;
}

hy_status hy__mixture_open(hy__mixture *m, const hy__build_options *opt, hy_error *err) {
    entries e;
    *m = (hy__mixture){0};
    HY_TRY(entries_read(&e, opt->path, opt->n_path, err));
    m->corpus = calloc((size_t)e.n + 1, sizeof *m->corpus);
    m->weight = calloc((size_t)e.n + 1, sizeof *m->weight);
    m->name = calloc((size_t)e.n + 1, sizeof *m->name);
    hy_status status =
        m->corpus && m->weight && m->name ? HY_OK : hy__no_memory(err, "opening the data");
    if (status == HY_OK)
        status = e.n > 0 && e.weight[0] > 0.0 ? open_weighted(m, &e, opt, err)
                                              : open_unweighted(m, &e, opt, err);
    double sum = 0.0;
    for (int64_t i = 0; i < m->n && status == HY_OK; i++) sum += m->weight[i];
    for (int64_t i = 0; i < m->n && status == HY_OK; i++) m->weight[i] /= sum;
    entries_release(&e);
    if (status != HY_OK) hy__mixture_release(m);
    return status;
}

void hy__mixture_release(hy__mixture *m) {
    for (int64_t i = 0; i < m->n; i++) hy__corpus_free(m->corpus[i]);
    free(m->corpus);
    free(m->weight);
    free(m->name);
    *m = (hy__mixture){0};
}

int64_t hy__mixture_find(const hy__mixture *m, const char *name) {
    for (int64_t i = 0; i < m->n; i++)
        if (strcmp(m->name[i], name) == 0) return i;
    return -1;
}

hy_status hy__mixture_unknown(const hy__mixture *m, const char *name, hy_error *err) {
    char known[320] = "";
    for (int64_t i = 0; i < m->n && strlen(known) + HY__CORPUS_NAME + 2 < sizeof known; i++)
        hy__words_add(known, sizeof known, ", ", m->name[i]);
    return hy__fail(err, HY_E_INVALID, "the data have no corpus '%.64s'; they have %s", name,
                    known);
}

uint64_t hy__mixture_fingerprint(const hy__mixture *m) {
    hy__hash h;
    hy__hash_init(&h);
    for (int64_t i = 0; i < m->n; i++) {
        hy__hash_add(&h, &m->corpus[i]->fingerprint, sizeof m->corpus[i]->fingerprint);
        hy__hash_add(&h, &m->weight[i], sizeof m->weight[i]);
    }
    return hy__hash_value(&h);
}
