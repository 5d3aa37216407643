/* loader.h: from a batch's number to its tokens, targets and pieces of documents.
 *
 * A batch has `batch` rows of text, each at most seq_len tokens long (seq_len rounded down to a
 * multiple of chunk where it is not below it). Row r predicts target[r] from token[r], from what
 * stands before it in its piece, and from the state that the piece starts with. The pieces' rows
 * lie one after another without holes, as hy__rows wants them, so there is no padding to compute.
 *
 * A batch is a function of the options and its number alone: a resumed run needs only the number.
 *
 * carry: the documents of a corpus, shuffled anew in each of its epochs, form one line in which
 * every document starts at a multiple of chunk. `batch` streams walk through it, each its own
 * share. In one epoch every token of the part is the target of exactly one row, except the first of
 * each document. A piece with pos > 0 continues the last piece of its stream in an earlier batch;
 * pos 0 starts from a fresh state.
 *
 * not carry: pieces from random places, each from a fresh state, until the row of text is full.
 *
 * Several corpora: each has its own `batch` streams, and row of text s of a batch belongs to stream
 * s of one of them, which one by a fixed schedule that comes as near to the weights as it can at
 * any time. A stream whose corpus is not its turn waits, with its state. Weights are shares of
 * tokens: where chunks leave holes behind short documents, their corpus comes oftener.
 *
 * A corpus that is a task: whole documents, each from a fresh state, as many as fit into the row of
 * text, which are others in every batch. Of what is held out there are so many, the same for every
 * seed. */
#ifndef HY_DATA_LOADER_H
#define HY_DATA_LOADER_H

#include "data/corpus.h"

typedef struct hy__loader_options {
    hy__corpus *const *corpus; /* [n_corpus] borrowed */
    const double *weight;      /* [n_corpus] > 0, any scale; NULL = tokens of each one's part */
    int64_t n_corpus;
    hy__part part;
    int64_t batch, seq_len, chunk; /* each >= 1 */
    bool carry;
    bool in_order; /* carry: never shuffle (evaluation) */
    uint64_t seed;
} hy__loader_options;

/* A run of one document's tokens in one stream. */
typedef struct hy__piece {
    int64_t stream; /* 0 … hy__loader_streams - 1 */
    int64_t start;  /* first row in the batch */
    int64_t len;    /* rows, >= 1 */
    int64_t pos;    /* rows since the state was fresh; 0 = start from a fresh state */
    int64_t domain; /* which corpus it is of */
} hy__piece;

typedef struct hy__loader_batch {
    int64_t n_row;    /* 1 … batch·seq_len */
    int64_t n_target; /* rows that predict something */
    int64_t n_piece;  /* at least 1; a stream whose share of the epoch is over has none */
    const int32_t *token, *target; /* [n_row]; target −1: nothing is asked there */
    const hy__piece *piece; /* [n_piece]: those of a stream together, in the order of the text */
} hy__loader_batch;

typedef struct hy__loader hy__loader;

/* HY_E_INVALID when a corpus has nothing to predict in that part. */
hy_status hy__loader_new(hy__loader **out, const hy__loader_options *opt, hy_error *err);
void hy__loader_free(hy__loader *l);

/* Streams that carry a state: batch for each corpus. */
int64_t hy__loader_streams(const hy__loader *l);

/* Batches of one epoch: of several corpora, or not carry, so many that they show about as many
 * tokens as the parts have. */
int64_t hy__loader_epoch(const hy__loader *l);

/* The most rows and pieces that a batch can have. */
int64_t hy__loader_max_rows(const hy__loader *l);
int64_t hy__loader_max_pieces(const hy__loader *l);

/* The batch of that number, 0 …; it belongs to the loader and lasts until the next call of this or
 * of hy__loader_targets. HY_E_INVALID when damaged data hold what is no token. */
hy_status hy__loader_get(hy__loader *l, int64_t number, const hy__loader_batch **batch,
                         hy_error *err);

/* Its n_target, without reading text. */
int64_t hy__loader_targets(hy__loader *l, int64_t number);

#endif
