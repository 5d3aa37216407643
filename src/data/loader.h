/* loader.h: from a batch's number to its tokens, targets and pieces of documents.
 *
 * A batch has `batch` streams of at most seq_len rows each (seq_len rounded down to a multiple of
 * chunk where it is not below it). Row r predicts target[r] from token[r], from what stands before
 * it in its piece, and from the state that the piece starts with. The pieces' rows lie one after
 * another without holes, as hy__rows wants them, so there is no padding to compute.
 *
 * A batch is a function of the options and its number alone: a resumed run needs only the number.
 *
 * carry: the documents, shuffled anew in each epoch, form one line in which every document starts
 * at a multiple of chunk. Each stream walks its own share of the line. In one epoch every token of
 * the part is the target of exactly one row, except the first of each document. A piece with pos >
 * 0 continues the last piece of its stream in the batch before it; pos 0 starts from a fresh state.
 *
 * not carry: pieces from random places, each from a fresh state, until the stream is full. */
#ifndef HY_DATA_LOADER_H
#define HY_DATA_LOADER_H

#include "data/corpus.h"

typedef struct hy__loader_options {
    const hy__corpus *corpus; /* borrowed */
    hy__part part;
    int64_t batch, seq_len, chunk; /* each >= 1 */
    bool carry;
    bool in_order; /* carry: never shuffle (evaluation) */
    uint64_t seed;
} hy__loader_options;

/* A run of one document's tokens in one stream. */
typedef struct hy__piece {
    int64_t stream;
    int64_t start; /* first row in the batch */
    int64_t len;   /* rows, >= 1 */
    int64_t pos;   /* rows since the state was fresh; 0 = start from a fresh state */
} hy__piece;

typedef struct hy__loader_batch {
    int64_t n_row;   /* 1 … batch·seq_len */
    int64_t n_piece; /* at least 1; a stream whose share of the epoch is over has none */
    const int32_t *token, *target; /* [n_row] */
    const hy__piece *piece;        /* [n_piece], by stream, then in the order of the text */
} hy__loader_batch;

typedef struct hy__loader hy__loader;

/* HY_E_INVALID when the part has nothing to predict. */
hy_status hy__loader_new(hy__loader **out, const hy__loader_options *opt, hy_error *err);
void hy__loader_free(hy__loader *l);

/* Batches of one epoch; not carry: so many that they show about as many tokens as the part has. */
int64_t hy__loader_epoch(const hy__loader *l);

/* The most rows and pieces that a batch can have. */
int64_t hy__loader_max_rows(const hy__loader *l);
int64_t hy__loader_max_pieces(const hy__loader *l);

/* The batch of that number, 0 …; it belongs to the loader and lasts until the next call of this or
 * of hy__loader_rows. */
const hy__loader_batch *hy__loader_get(hy__loader *l, int64_t number);

/* The rows that it has, without reading them. */
int64_t hy__loader_rows(hy__loader *l, int64_t number);

#endif
