/* corpus.h: tokenized documents, some of them held out, mapped from files.
 *
 * The files are those of a folder that was built before (build.h), or nameless ones of text that
 * was tokenized just now. All tokens form one line, cut into shards of equal size; a document is a
 * stretch of it. Nothing of a size that grows with the text is held in memory.
 *
 * Or a corpus is a made task (task.h), which has no shards: its documents are written when they are
 * asked for. */
#ifndef HY_DATA_CORPUS_H
#define HY_DATA_CORPUS_H

#include "data/blob.h"
#include "data/task.h"

typedef enum hy__part { HY__PART_TRAIN = 0, HY__PART_VAL = 1 } hy__part;

/* What decides which documents are held out. */
typedef enum hy__split {
    HY__SPLIT_AUTO = 0, /* by document, but the tail of the text where documents are few */
    HY__SPLIT_DOCUMENTS,
    HY__SPLIT_TAIL,
    HY__SPLIT_NONE, /* nothing is held out */
} hy__split;

/* A document, or the part of one before or after the cut: tokens [start, start + len) of the
 * corpus, len >= 2. */
typedef struct hy__document {
    int64_t start, len;
} hy__document;

/* What was read to build it. */
typedef struct hy__corpus_source {
    int64_t n_file;  /* files read */
    int64_t n_other; /* files in folders that are binary or empty */
    int64_t n_byte;  /* of text, uncompressed */
    int64_t n_short; /* documents left out: fewer than two tokens */
    int64_t n_bad;   /* broken lines of JSONL left out */
} hy__corpus_source;

typedef struct hy__corpus {
    char *name;    /* for sentences: the folder, or the first path */
    hy__task task; /* kind NULL: it is text */
    hy__blob *shard;
    int64_t n_shard, shard_tokens; /* tokens of every shard but the last */
    hy__blob table[2];             /* of documents, by hy__part */
    const hy__document *document[2];
    int64_t n_document[2];
    int64_t n_part[2]; /* tokens of each part; of a task, what stands for an epoch of it */
    int64_t n_token;   /* of all shards; a few may belong to no document */
    int64_t vocab;
    int width;            /* bytes of a token: 1, 2 or 4, as few as the vocabulary allows */
    uint64_t tokenizer;   /* its fingerprint */
    uint64_t fingerprint; /* of tokens, documents, parts and tokenizer */
    hy__split split;
    double val_fraction;
    hy__corpus_source source;
} hy__corpus;

/* Whether PATH is a folder that was built, and not text. */
bool hy__corpus_is_built(const char *path);

/* Opens a built folder: HY_E_INVALID when one of its files is missing, cut short or of another
 * build. The content of the shards is not read. */
hy_status hy__corpus_open(hy__corpus **out, const char *dir, hy_error *err);
/* Opens what "task:NAME/…" says, for a tokenizer of bytes. */
hy_status hy__corpus_open_task(hy__corpus **out, const char *entry, uint64_t tokenizer,
                               hy_error *err);
void hy__corpus_free(hy__corpus *c);

/* Reads everything, several shards at a time (threads 0 = all cores), and compares checksums:
 * HY_E_INVALID names the first damaged file. */
hy_status hy__corpus_verify(const hy__corpus *c, int threads, hy_error *err);

/* Tokens [start, start + n) of the corpus. HY_E_INVALID for damage that made one no token. */
hy_status hy__corpus_read(const hy__corpus *c, int64_t start, int64_t n, int32_t *token,
                          hy_error *err);

/* "documents", "tail" or "none". */
const char *hy__split_name(hy__split split);

/* ---- for build.c, which makes corpora ---- */

#define HY__CORPUS_INDEX "hydralm-data.json"
enum { HY__CORPUS_SHARDS = 1 << 14 /* at most: each is a mapping, of which a process has 2^16 */ };

/* Checks the blobs that c has, and fills what follows from them. */
hy_status hy__corpus_finish(hy__corpus *c, hy_error *err);
/* The text of the index of a finished corpus, the caller's to free; NULL without memory. */
char *hy__corpus_index(const hy__corpus *c);

#endif
