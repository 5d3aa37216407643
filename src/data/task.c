/* task.c: see task.h. */
#include "data/task.h"
#include "base/nearest.h"
#include "base/rng.h"
#include "base/words.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char PREFIX[] = "task:";

const hy__task_kind *const hy__task_kinds[] = {&hy__task_logic,
                                               &hy__task_hops,
                                               &hy__task_recall,
                                               &hy__task_needle,
                                               &hy__task_facts,
                                               &hy__task_sums,
                                               NULL};

bool hy__task_is(const char *entry) {
    return strncmp(entry, PREFIX, sizeof PREFIX - 1) == 0;
}

/* ---- reading ---- */

static int64_t count_numbers(const hy__task_kind *k) {
    int64_t n = 0;
    while (n < HY__TASK_NUMBERS && k->number[n].name) n++;
    return n;
}

static int64_t find_number(const hy__task_kind *k, const char *name, size_t size) {
    for (int64_t i = 0; i < count_numbers(k); i++)
        if (strlen(k->number[i].name) == size && strncmp(k->number[i].name, name, size) == 0)
            return i;
    return -1;
}

static const hy__task_kind *find_kind(const char *name, size_t size) {
    for (int i = 0; hy__task_kinds[i]; i++)
        if (strlen(hy__task_kinds[i]->name) == size &&
            strncmp(hy__task_kinds[i]->name, name, size) == 0)
            return hy__task_kinds[i];
    return NULL;
}

static hy_status unknown_kind(const char *entry, hy_error *err) {
    char known[200] = "";
    for (int i = 0; hy__task_kinds[i]; i++)
        hy__words_add(known, sizeof known, ", ", hy__task_kinds[i]->name);
    return hy__fail(err, HY_E_INVALID, "there is no %.200s; the tasks are %s", entry, known);
}

static hy_status unknown_number(const hy__task_kind *k, const char *said, size_t size,
                                hy_error *err) {
    char known[300] = "";
    for (int64_t i = 0; i < count_numbers(k); i++)
        hy__words_add(known, sizeof known, ", ", k->number[i].name);
    return hy__fail(err, HY_E_INVALID,
                    "task:%s cannot take \"%.*s\"; wanted NUMBER=VALUE, where it has %s", k->name,
                    (int)(size < 100 ? size : 100), said, known);
}

/* One "name=value" of `size` bytes. */
static hy_status take_number(hy__task *t, const char *said, size_t size, hy_error *err) {
    const char *equals = memchr(said, '=', size);
    const int64_t i = equals ? find_number(t->kind, said, (size_t)(equals - said)) : -1;
    if (i < 0) return unknown_number(t->kind, said, size, err);
    const hy__task_number *n = &t->kind->number[i];
    char *end;
    const long long value = strtoll(equals + 1, &end, 10);
    if (end == equals + 1 || end != said + size || value < n->min || value > n->max) {
        return hy__fail(err, HY_E_INVALID, "task:%s: %s is %.*s, wanted %" PRId64 " to %" PRId64,
                        t->kind->name, n->name, (int)(said + size - equals - 1), equals + 1, n->min,
                        n->max);
    }
    t->number[i] = value;
    return HY_OK;
}

hy_status hy__task_parse(hy__task *t, const char *entry, hy_error *err) {
    const char *at = entry + sizeof PREFIX - 1;
    size_t size = strcspn(at, "/");
    *t = (hy__task){.kind = find_kind(at, size)};
    if (!t->kind) return unknown_kind(entry, err);
    for (int64_t i = 0; i < count_numbers(t->kind); i++) t->number[i] = t->kind->number[i].usual;
    for (at += size; *at == '/'; at += size) {
        at++;
        size = strcspn(at, "/");
        HY_TRY(take_number(t, at, size, err));
    }
    HY_TRY(t->kind->plan(t, err));
    if (t->len <= HY__TASK_LEN) return HY_OK;
    return hy__fail(err, HY_E_INVALID,
                    "a document of %.200s has %" PRId64 " tokens, wanted at most %d", entry, t->len,
                    HY__TASK_LEN);
}

int hy__task_print(const hy__task *t, char *out, size_t size) {
    int n = snprintf(out, size, "%s", t->kind->name);
    for (int64_t i = 0; i < count_numbers(t->kind); i++) {
        const size_t at = (size_t)n < size ? (size_t)n : size;
        n += snprintf(out + at, size - at, "/%s=%" PRId64, t->kind->number[i].name, t->number[i]);
    }
    return n;
}

double hy__task_chance(const hy__task *t) {
    return t->kind->chance(t);
}

/* ---- writing ---- */

int64_t hy__task_write(const hy__task *t, uint64_t key, int64_t number, int32_t *token,
                       int32_t *target) {
    hy__task_doc d = {.token = token,
                      .target = target,
                      .room = t->len,
                      .key = hy__rng_key(key, t->kind->name, (uint64_t)number)};
    t->kind->write(t, &d);
    return d.n;
}

/* Whether what is asked is what stands next, everywhere. */
static bool is_text(const hy__task_doc *d) {
    for (int64_t i = 0; i < d->n; i++)
        if (d->target[i] >= 0 && (i + 1 == d->n || d->token[i + 1] != d->target[i])) return false;
    return true;
}

char *hy__task_sample(const hy__task *t, uint64_t key, int64_t number) {
    const size_t room = (size_t)t->len;
    hy__task_doc d = {.token = malloc(room * sizeof *d.token),
                      .target = malloc(room * sizeof *d.target)};
    char *text = malloc(4 * room + 1), *to = text;
    if (d.token && d.target && text) {
        d.n = hy__task_write(t, key, number, d.token, d.target);
        const bool plain = is_text(&d);
        for (int64_t i = 0; i < d.n; i++) {
            const bool asked = plain && i > 0 && d.target[i - 1] >= 0;
            if (!asked) *to++ = (char)d.token[i];
            if (d.target[i] < 0) continue;
            *to++ = '<';
            *to++ = (char)d.target[i];
            *to++ = '>';
        }
        *to = '\0';
    } else {
        free(text);
        text = NULL;
    }
    free(d.token);
    free(d.target);
    return text;
}

void hy__task_say(hy__task_doc *d, int c) {
    HY_ASSERT(d->n < d->room);
    d->token[d->n] = c;
    d->target[d->n++] = -1;
}

void hy__task_text(hy__task_doc *d, const char *s) {
    for (; *s; s++) hy__task_say(d, (unsigned char)*s);
}

void hy__task_label(hy__task_doc *d, int c) {
    HY_ASSERT(d->n > 0);
    d->target[d->n - 1] = c;
}

void hy__task_ask(hy__task_doc *d, int c) {
    hy__task_label(d, c);
    hy__task_say(d, c);
}

int64_t hy__task_draw(hy__task_doc *d, int64_t n) {
    return hy__rng_below(d->key, d->drawn++, n);
}

void hy__task_choose(hy__task_doc *d, int64_t *out, int64_t n, int64_t of) {
    int64_t pool[HY__TASK_CHOICES];
    HY_ASSERT(n <= of && of <= HY__TASK_CHOICES);
    for (int64_t i = 0; i < of; i++) pool[i] = i;
    for (int64_t i = 0; i < n; i++) {
        const int64_t j = i + hy__task_draw(d, of - i);
        out[i] = pool[j];
        pool[j] = pool[i];
    }
}

int hy__task_symbol(int64_t i) {
    static const char SYMBOL[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";
    return SYMBOL[i];
}
