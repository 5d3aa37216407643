/* bpe_train.h: a vocabulary of its own for a text (Sennrich et al. 2016): from bytes, the pair of
 * neighbours that is most frequent within words becomes a token, again and again. Of pairs that are
 * equally frequent the one of smaller ids is taken, so that a text gives one vocabulary, whatever
 * the number of threads. */
#ifndef HY_TEXT_BPE_TRAIN_H
#define HY_TEXT_BPE_TRAIN_H

#include "text/tokenizer.h"

typedef struct hy__bpe_train_options {
    int64_t vocab;              /* tokens to have: the 256 bytes, the special ones, and merges */
    const char *pattern;        /* how text is cut into words: "gpt2" or "llama3" */
    const char *const *special; /* [n_special]: found as they stand, part of no word */
    int64_t n_special;
    int threads; /* 0 = all cores */
    /* Called now and then while pairs are joined; may be NULL. */
    void (*on_progress)(void *user, double fraction);
    void *user;
} hy__bpe_train_options;

typedef struct hy__bpe_trainer hy__bpe_trainer;

/* The options' strings are borrowed until the trainer is freed. */
hy_status hy__bpe_trainer_new(hy__bpe_trainer **out, const hy__bpe_train_options *opt,
                              hy_error *err);
void hy__bpe_trainer_free(hy__bpe_trainer *t);

/* Counts the words of the next piece of a text; `last` ends the text. Only the words are kept, not
 * the text. Several threads count: long texts in parts of about a MB that end with a line, or
 * between two characters where no line ends for as long again; words of more than 256 bytes in
 * parts. */
hy_status hy__bpe_trainer_add(hy__bpe_trainer *t, const char *text, size_t n, bool last,
                              hy_error *err);

/* The tokenizer; HY_E_INVALID for a text without words. It has fewer tokens than asked for when no
 * pair occurs twice any more. */
hy_status hy__bpe_trainer_finish(hy__bpe_trainer *t, hy__tokenizer **out, hy_error *err);

/* What has been counted. */
int64_t hy__bpe_trainer_bytes(const hy__bpe_trainer *t);
int64_t hy__bpe_trainer_words(const hy__bpe_trainer *t); /* different ones */

#endif
