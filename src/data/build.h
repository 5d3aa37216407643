/* build.h: files of text into tokenized documents: a folder, or nameless files that only this
 * process has.
 *
 * Text files, folders of them, and JSON lines with a field "text"; each also as .gz or .zst. They
 * are read in one pass, block by block, by several threads; what comes out depends on the input and
 * the options alone. Memory does not depend on how much there is.
 *
 * A text file is one document, or several between separators; a JSON line is one. Files in folders
 * that are binary (a NUL byte, or more than one byte in a hundred outside well-formed UTF-8) or
 * empty are passed over; such a file is an error when it is named directly. Documents with fewer
 * than two tokens are left out.
 *
 * Held out is a document whose hash is below val_fraction, so that more files never change what is
 * held out; or, where documents are few, the last val_fraction of all tokens. */
#ifndef HY_DATA_BUILD_H
#define HY_DATA_BUILD_H

#include "data/corpus.h"
#include "text/tokenizer.h"

/* How far a build is. */
typedef struct hy__build_progress {
    int64_t taken, size; /* bytes of the input as it lies on the disk */
    int64_t n_byte;      /* of text */
    int64_t n_token, n_document;
} hy__build_progress;

typedef struct hy__build_options {
    const char *const *path; /* [n_path] files, folders, and "DIR/PATTERN" (source.h) */
    int64_t n_path;
    const hy__tokenizer *tokenizer;
    const char *out;       /* folder to write; NULL = nameless files */
    bool force;            /* out may be replaced when it holds built data */
    const char *separator; /* between the documents of a text file; NULL = a file is one */
    bool skip_broken;      /* leave broken lines of JSON out, instead of failing */
    double val_fraction;   /* 0 … 0.9 */
    hy__split split;
    int64_t shard_tokens; /* of every shard but the last; 0 = 2^28 */
    int threads;          /* 0 = all cores */
    bool unverified;      /* of a mixture: checksums of built folders are not compared */
    /* called from one thread at a time; returning false stops: HY_E_STOPPED */
    bool (*on_progress)(void *user, const hy__build_progress *progress);
    void *user;
} hy__build_options;

/* Documents below which AUTO holds out the tail: so many are held out by their hash on average. */
enum { HY__SPLIT_FEW = 16 };

/* Builds and opens the corpus. A failure leaves no folder, or the one that was there before.
 * HY_E_INVALID also when there is nothing to train on. */
hy_status hy__build(hy__corpus **out, const hy__build_options *opt, hy_error *err);

/* What tells tokenizers apart: the hash of their file. */
hy_status hy__tokenizer_print(const hy__tokenizer *tok, uint64_t *print, hy_error *err);

#endif
