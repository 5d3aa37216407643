/* mixture.h: the corpora of one run, from what stands on the command line behind --data.
 *
 * An entry is a PATH, a made task ("task:logic/hops=2", task.h), or one of these and :WEIGHT (a
 * number behind the last colon, unless a file or folder of that whole name exists). Either all
 * entries have a weight or none has.
 *
 * With weights, every entry is a corpus, a built folder, text or a task, with that share of the
 * tokens. Without, every built folder and every task is a corpus, and all text together is one
 * more, which comes first; each has the share of its tokens, as if all lay in one folder. */
#ifndef HY_DATA_MIXTURE_H
#define HY_DATA_MIXTURE_H

#include "data/build.h"

enum { HY__CORPUS_NAME = 64 };

typedef struct hy__mixture {
    hy__corpus **corpus;           /* [n] owned */
    double *weight;                /* [n] shares of the tokens; they add up to 1 */
    char (*name)[HY__CORPUS_NAME]; /* [n] owned: the last part of its path without what follows a
                                      point; "text" of several together; of a task
                                      what follows "task:" */
    int64_t n;
} hy__mixture;

/* The first built folder among the entries, which has the tokenizer of all; the caller's to free.
 * NULL where all is text. HY_E_INVALID for an entry that cannot be understood. */
hy_status hy__mixture_built(char **dir, const char *const *entry, int64_t n, hy_error *err);

/* Opens built folders, of which it compares the checksums unless opt->unverified, and builds text
 * as opt says, whose paths are entries here. HY_E_INVALID where a folder was built with another
 * tokenizer than opt->tokenizer, or is damaged. */
hy_status hy__mixture_open(hy__mixture *m, const hy__build_options *opt, hy_error *err);
void hy__mixture_release(hy__mixture *m); /* a zeroed one is fine */

/* The corpus of that name, the first where several have it; -1 = none. */
int64_t hy__mixture_find(const hy__mixture *m, const char *name);
/* HY_E_INVALID with a sentence that lists those that there are. */
hy_status hy__mixture_unknown(const hy__mixture *m, const char *name, hy_error *err);

/* Of all corpora and weights: what a batch depends on besides the loader's options. */
uint64_t hy__mixture_fingerprint(const hy__mixture *m);

#endif
