/* task.h: made tasks: documents that a program writes, and what is asked in them.
 *
 *     task:logic                    as it is by default
 *     task:logic/hops=3/queries=8   with some of its numbers said
 *
 * A document is a function of the task, a key and its number: there are as many as one likes, none
 * is stored, and the keys of training and of what is held out are others. Tokens are bytes, and
 * what is written is meant to be read by people. Only what is asked counts in a loss, and `chance`
 * says how often a guess is right that knows everything but how to do it. docs/tasks.md describes
 * each. */
#ifndef HY_DATA_TASK_H
#define HY_DATA_TASK_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

enum { HY__TASK_NUMBERS = 8, HY__TASK_LEN = 1 << 22 /* rows of a document, at most */ };

/* A document while it is written: rows of a token and what should follow it, −1 where nothing is
 * asked. */
typedef struct hy__task_doc {
    int32_t *token, *target; /* [room] */
    int64_t n, room;
    uint64_t key, drawn; /* of its random numbers, and how many were drawn */
} hy__task_doc;

typedef struct hy__task_kind hy__task_kind;

typedef struct hy__task {
    const hy__task_kind *kind;
    int64_t number[HY__TASK_NUMBERS]; /* in the order of the kind's table */
    int64_t len;                      /* rows of the longest document */
} hy__task;

/* Whether an entry behind --data names a task. */
bool hy__task_is(const char *entry);

/* Reads "task:NAME/number=…". HY_E_INVALID says what there is instead. */
hy_status hy__task_parse(hy__task *t, const char *entry, hy_error *err);

/* Its whole name, every number said: "logic/hops=3/…". Returns as snprintf. */
int hy__task_print(const hy__task *t, char *out, size_t size);

/* Writes document `number`: token and target have room for t->len rows. Returns its rows. */
int64_t hy__task_write(const hy__task *t, uint64_t key, int64_t number, int32_t *token,
                       int32_t *target);

/* A document as people read it, with what is asked in angle brackets; the caller's to free, NULL
 * without memory. */
char *hy__task_sample(const hy__task *t, uint64_t key, int64_t number);

/* How often the best guess is right that cannot do the task, but counts what stands in the document
 * and what was answered before: 0 … 1. */
double hy__task_chance(const hy__task *t);

/* ---- for the files of the tasks, task_*.c ---- */

typedef struct hy__task_number {
    const char *name;
    int64_t usual, min, max;
    const char *doc;
} hy__task_number;

struct hy__task_kind {
    const char *name, *doc;
    hy__task_number number[HY__TASK_NUMBERS]; /* ends where there is no name */
    /* Sets t->len and checks what the bounds of single numbers cannot. */
    hy_status (*plan)(hy__task *t, hy_error *err);
    void (*write)(const hy__task *t, hy__task_doc *d);
    double (*chance)(const hy__task *t);
};

extern const hy__task_kind hy__task_logic, hy__task_hops, hy__task_recall, hy__task_needle,
    hy__task_facts, hy__task_sums;

/* The kinds, NULL behind the last. */
extern const hy__task_kind *const hy__task_kinds[];

void hy__task_say(hy__task_doc *d, int c);          /* one more byte */
void hy__task_text(hy__task_doc *d, const char *s); /* and several */
void hy__task_ask(hy__task_doc *d, int c);          /* one that is to be predicted */
void hy__task_label(hy__task_doc *d, int c);        /* what the last one stands for, not written */
int64_t hy__task_draw(hy__task_doc *d, int64_t n);  /* 0 … n-1 */
/* Puts n numbers of 0 … of-1, all different, into out; of <= HY__TASK_CHOICES. */
void hy__task_choose(hy__task_doc *d, int64_t *out, int64_t n, int64_t of);

enum { HY__TASK_SYMBOLS = 64, HY__TASK_CHOICES = HY__TASK_SYMBOLS * HY__TASK_SYMBOLS };
/* The i-th of 64 letters and digits. */
int hy__task_symbol(int64_t i);

#endif
