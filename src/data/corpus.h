/* corpus.h: files and folders of text as tokenized documents, the last part of them held out. */
#ifndef HY_DATA_CORPUS_H
#define HY_DATA_CORPUS_H

#include "text/tokenizer.h"

typedef enum hy__part { HY__PART_TRAIN = 0, HY__PART_VAL = 1 } hy__part;

typedef struct hy__corpus_options {
    const hy__tokenizer *tokenizer;
    const char *const *path; /* [n_path] files and folders */
    int64_t n_path;
    double val_fraction; /* 0 … 0.9: of all tokens, the last ones are held out */
    int64_t chunk;       /* among several documents the cut falls on a multiple of it */
} hy__corpus_options;

/* A document, or the part of one before or after the cut: tokens [start, start + len) of the
 * corpus, len >= 2. */
typedef struct hy__document {
    int64_t start, len;
} hy__document;

typedef struct hy__corpus {
    void *store; /* tokens of `width` bytes each: as few as the vocabulary allows */
    int width;   /* 1, 2 or 4 */
    int64_t n_token, cap;
    hy__document *document[2]; /* by hy__part */
    int64_t n_document[2];
    int64_t n_part[2]; /* tokens of each part */
    int64_t n_file;    /* files read */
    int64_t n_skipped; /* files in folders that are binary or empty */
} hy__corpus;

/* Reads and tokenizes everything. Files in folders that are binary (a NUL byte, or more than one
 * byte in a hundred outside well-formed UTF-8) or have fewer than two tokens are passed over; such
 * a file is an error when it is named directly, and so is a corpus without anything to train on. */
hy_status hy__corpus_open(hy__corpus **out, const hy__corpus_options *opt, hy_error *err);
void hy__corpus_free(hy__corpus *c);

/* Token i of the corpus, 0 … n_token-1. */
static inline int32_t hy__corpus_token(const hy__corpus *c, int64_t i) {
    switch (c->width) {
    case 1:
        return ((const uint8_t *)c->store)[i];
    case 2:
        return ((const uint16_t *)c->store)[i];
    default:
        return ((const int32_t *)c->store)[i];
    }
}

#endif
