/* build.c: see build.h.
 *
 * Every thread does the same: it takes the next block (one thread at a time reads), makes documents
 * of it (all at once), and when its turn comes stores them (in the order of the blocks). So order
 * and content of what is stored do not depend on the threads. A document that reaches over several
 * blocks is encoded when it is stored. */
#include "data/build.h"
#include "data/extract.h"
#include "data/place.h"

#include <omp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_THREADS = 64 };

/* A document that reaches over blocks. */
typedef struct open_document {
    int64_t start, n; /* tokens */
    hy__hash hash;
} open_document;

typedef struct build {
    const hy__build_options *opt;
    const char *separator;
    hy__corpus *corpus;
    hy__place place; /* dir NULL: nameless files */
    hy__blob_head head;
    hy__blob_writer shard, table[2];
    hy__file_seen file; /* that is being stored */
    int64_t n_document; /* of it, taken in */
    int64_t skipped;    /* the last file that was passed over; -1 = none */
    open_document open;
    hy__encoder *encoder; /* of the open document */

    pthread_mutex_t reading, storing;
    pthread_cond_t turned;
    hy__source *source; /* under `reading` */
    int64_t n_block;    /* under `reading` */
    int64_t turn;       /* under `storing`: the block that is stored next */
    atomic_bool over;
    hy_status status;
    hy_error *err; /* under `storing` */
} build;

hy_status hy__tokenizer_print(const hy__tokenizer *tok, uint64_t *print, hy_error *err) {
    const char *name;
    char *text;
    hy__hash h;
    HY_TRY(hy__tokenizer_file(tok, 0, &name, &text, err));
    hy__hash_init(&h);
    hy__hash_add(&h, text, strlen(text));
    *print = hy__hash_value(&h);
    free(text);
    return HY_OK;
}

/* ---- storing tokens and documents ---- */

static hy_status begin_shard(build *b, int64_t most) {
    const hy__corpus *c = b->corpus;
    if (c->n_shard == HY__CORPUS_SHARDS)
        return hy__fail(
            b->err, HY_E_INVALID,
            "the data do not fit into %d shards of %lld tokens each; wanted larger ones",
            HY__CORPUS_SHARDS, (long long)most);
    b->head.kind = HY__BLOB_TOKENS;
    b->head.number = c->n_shard;
    b->head.first = c->n_token;
    b->head.width = c->width;
    return hy__blob_create(&b->shard, b->place.building, &b->head, b->err);
}

/* The shard is full, or the last: it is finished and opened for reading. */
static hy_status end_shard(build *b) {
    hy__corpus *c = b->corpus;
    HY_TRY(hy__blob_finish(&b->shard, b->err));
    hy__blob *grown = realloc(c->shard, (size_t)(c->n_shard + 1) * sizeof *grown);
    if (!grown) return hy__no_memory(b->err, "building the data");
    c->shard = grown;
    c->shard[c->n_shard] = (hy__blob){0};
    HY_TRY(hy__blob_open_written(&c->shard[c->n_shard++], &b->shard, b->err));
    hy__blob_close(&b->shard);
    return HY_OK;
}

static hy_status store_tokens(build *b, const unsigned char *token, int64_t n) {
    hy__corpus *c = b->corpus;
    const int64_t most = b->opt->shard_tokens ? b->opt->shard_tokens : INT64_C(1) << 28;
    while (n > 0) {
        if (!b->shard.buffer) HY_TRY(begin_shard(b, most));
        const int64_t room = most - b->shard.head.n, some = n < room ? n : room;
        HY_TRY(hy__blob_append(&b->shard, token, some, b->err));
        token += some * c->width;
        c->n_token += some;
        n -= some;
        if (b->shard.head.n == most) HY_TRY(end_shard(b));
    }
    return HY_OK;
}

/* Whether a document is held out: a share of val_fraction of all hashes. */
static bool is_held_out(const build *b, uint64_t hash) {
    return b->opt->split != HY__SPLIT_NONE && b->opt->split != HY__SPLIT_TAIL &&
           (double)(hash >> 11) * 0x1p-53 < b->opt->val_fraction;
}

static hy_status store_document(build *b, int64_t start, int64_t len, uint64_t hash) {
    if (len < 2) { /* nothing to predict */
        b->corpus->source.n_short++;
        return HY_OK;
    }
    const hy__document d = {.start = start, .len = len};
    b->n_document++;
    return hy__blob_append(&b->table[is_held_out(b, hash)], &d, 1, b->err);
}

/* The next stretch of a document that reaches over blocks. */
static hy_status store_stretch(build *b, const hy__item *item) {
    enum { PIECE = 1 << 16 };
    unsigned char narrow[PIECE];
    open_document *o = &b->open;
    if (item->begins) {
        *o = (open_document){.start = b->corpus->n_token};
        hy__hash_init(&o->hash);
    }
    hy__hash_add(&o->hash, item->text, item->size);
    for (size_t at = 0, len; at <= item->size; at += len ? len : 1) {
        const int32_t *token;
        int64_t n;
        len = item->size - at < PIECE ? item->size - at : PIECE;
        const bool last = item->ends && at + len == item->size;
        HY_TRY(hy__encoder_feed(b->encoder, item->text + at, len, last, &token, &n, b->err));
        for (int64_t i = 0, some; i < n; i += some) {
            const int64_t room = PIECE / b->corpus->width;
            some = n - i < room ? n - i : room;
            hy__token_narrow(narrow, b->corpus->width, token + i, some);
            HY_TRY(store_tokens(b, narrow, some));
        }
        o->n += n;
        if (at + len == item->size) break;
    }
    return item->ends ? store_document(b, o->start, o->n, hy__hash_value(&o->hash)) : HY_OK;
}

static hy_status store_items(build *b, const hy__extract *x) {
    for (int64_t i = 0; i < x->n_item; i++) {
        const hy__item *item = &x->item[i];
        if (!item->begins || !item->ends) {
            HY_TRY(store_stretch(b, item));
            continue;
        }
        HY_TRY(store_document(b, b->corpus->n_token, item->n, item->hash));
        if (item->n >= 2) HY_TRY(store_tokens(b, x->token + item->token * x->width, item->n));
    }
    return HY_OK;
}

/* ---- files ---- */

/* Passes over the rest of a file; tokens of it that were stored belong to no document. */
static hy_status pass_over(build *b, const hy__block *block, const char *why) {
    if (block->named || b->n_document > 0) return hy__file_refuse(block, why, b->err);
    b->skipped = block->file;
    b->corpus->source.n_other++;
    const int32_t *token;
    int64_t n;
    HY_TRY(hy__encoder_feed(b->encoder, "", 0, true, &token, &n, b->err)); /* that text is over */
    pthread_mutex_lock(&b->reading);
    hy__source_skip(b->source, block->file);
    pthread_mutex_unlock(&b->reading);
    return HY_OK;
}

static hy_status end_file(build *b, const hy__block *block) {
    hy__corpus_source *s = &b->corpus->source;
    const bool used = b->n_document > 0;
    if (used) s->n_byte += b->file.n_byte;
    *(used ? &s->n_file : &s->n_other) += 1;
    b->file.n_byte = 0;
    if (block->named && !used)
        return hy__file_refuse(block,
                               block->lines ? "has no document of two tokens or more"
                                            : "has fewer than two tokens",
                               b->err);
    return HY_OK;
}

static bool report(const build *b, int64_t taken) {
    const hy__build_options *o = b->opt;
    const hy__build_progress p = {.taken = taken,
                                  .size = hy__source_size(b->source),
                                  .n_byte = b->corpus->source.n_byte + b->file.n_byte,
                                  .n_token = b->corpus->n_token,
                                  .n_document = b->table[0].head.n + b->table[1].head.n};
    return !o->on_progress || o->on_progress(o->user, &p);
}

static hy_status store(build *b, const hy__block *block, const hy__extract *x, int64_t taken) {
    if (block->file == b->skipped) return HY_OK;
    if (block->first) b->n_document = 0;
    hy__file_see(&b->file, block, x);
    const char *why = hy__file_unusable(&b->file, block, x);
    if (why) return pass_over(b, block, why);
    if (!b->opt->skip_broken) HY_TRY(hy__file_check_lines(&b->file, block, x, b->err));
    b->corpus->source.n_bad += x->n_bad;
    HY_TRY(store_items(b, x));
    if (block->last) HY_TRY(end_file(b, block));
    return report(b, taken) ? HY_OK : hy__fail(b->err, HY_E_STOPPED, "the build was stopped");
}

/* ---- threads ---- */

static void *work(void *user) {
    build *b = user;
    hy__block block = {0};
    hy__extract x = {.width = b->corpus->width};
    hy__encoder *encoder = NULL;
    hy_error err = {0};
    hy_status status = hy__encoder_new(&encoder, b->opt->tokenizer, &err);
    for (bool more = true; more;) {
        pthread_mutex_lock(&b->reading);
        const int64_t number = b->n_block++;
        if (status == HY_OK && !b->over) status = hy__source_next(b->source, &block, &more, &err);
        const int64_t taken = hy__source_taken(b->source);
        pthread_mutex_unlock(&b->reading);
        if (status == HY_OK && more && !b->over)
            status = hy__extract_block(&x, &block, encoder, b->separator, &err);
        pthread_mutex_lock(&b->storing);
        while (b->turn != number) pthread_cond_wait(&b->turned, &b->storing);
        if (!b->over && status != HY_OK && b->err) *b->err = err;
        if (!b->over && status == HY_OK && more) status = store(b, &block, &x, taken);
        if (!b->over && status != HY_OK) {
            b->status = status;
            b->over = true;
        }
        b->turn++;
        pthread_cond_broadcast(&b->turned);
        pthread_mutex_unlock(&b->storing);
        more = more && !b->over;
    }
    hy__encoder_free(encoder);
    hy__extract_release(&x);
    hy__block_release(&block);
    return NULL;
}

static hy_status read_all(build *b) {
    pthread_t thread[MAX_THREADS];
    int64_t n = b->opt->threads > 0 ? b->opt->threads : omp_get_num_procs();
    if (n > MAX_THREADS) n = MAX_THREADS;
    int64_t started = 0;
    /* where the system gives no more threads, those that there are do it */
    while (started + 1 < n && pthread_create(&thread[started], NULL, work, b) == 0) started++;
    work(b);
    for (int64_t i = 0; i < started; i++) pthread_join(thread[i], NULL);
    return b->status;
}

/* ---- the split ---- */

/* Takes the documents back from both tables, in the order of the text. */
static hy_status take_documents(build *b, hy__document **out, int64_t *n) {
    hy__blob table[2] = {{.path = NULL}};
    hy_status status = HY_OK;
    *n = b->table[0].head.n + b->table[1].head.n;
    *out = malloc((size_t)(*n ? *n : 1) * sizeof **out);
    if (!*out) status = hy__no_memory(b->err, "building the data");
    for (int p = 0; p < 2 && status == HY_OK; p++) {
        status = hy__blob_finish(&b->table[p], b->err);
        if (status == HY_OK) status = hy__blob_open_written(&table[p], &b->table[p], b->err);
    }
    const hy__document *train = table[0].element, *val = table[1].element;
    for (int64_t i = 0, t = 0; i < *n && status == HY_OK; i++) {
        const int64_t v = i - t;
        const bool from_train =
            v == table[1].head.n || (t < table[0].head.n && train[t].start < val[v].start);
        (*out)[i] = from_train ? train[t++] : val[v];
    }
    hy__blob_release(&table[0]);
    hy__blob_release(&table[1]);
    return status;
}

static hy_status add_part(build *b, int part, int64_t start, int64_t len) {
    const hy__document d = {.start = start, .len = len};
    return len < 2 ? HY_OK : hy__blob_append(&b->table[part], &d, 1, b->err);
}

/* Cuts the line of documents so that the last val_fraction of their tokens is held out. */
static hy_status hold_out_tail(build *b) {
    hy__document *d;
    int64_t n, n_token = 0;
    hy_status status = take_documents(b, &d, &n);
    for (int p = 0; p < 2 && status == HY_OK; p++) status = hy__blob_clear(&b->table[p], b->err);
    for (int64_t i = 0; i < n && status == HY_OK; i++) n_token += d[i].len;
    int64_t left = n_token - (int64_t)(b->opt->val_fraction * (double)n_token + 0.5);
    for (int64_t i = 0; i < n && status == HY_OK; i++) {
        const int64_t train = left < d[i].len ? left : d[i].len;
        status = add_part(b, HY__PART_TRAIN, d[i].start, train);
        if (status == HY_OK)
            status = add_part(b, HY__PART_VAL, d[i].start + train, d[i].len - train);
        left -= train;
    }
    free(d);
    return status;
}

static hy_status split(build *b) {
    const double n = (double)(b->table[0].head.n + b->table[1].head.n);
    hy__split how = b->opt->split;
    if (b->opt->val_fraction <= 0.0) how = HY__SPLIT_NONE;
    if (how == HY__SPLIT_AUTO)
        how = n * b->opt->val_fraction < HY__SPLIT_FEW ? HY__SPLIT_TAIL : HY__SPLIT_DOCUMENTS;
    b->corpus->split = how;
    b->corpus->val_fraction = b->opt->val_fraction;
    return how == HY__SPLIT_TAIL ? hold_out_tail(b) : HY_OK;
}

/* ---- the whole ---- */

static hy_status begin(build *b) {
    const hy__build_options *o = b->opt;
    hy__corpus *c = b->corpus;
    c->name = strdup(o->out ? o->out : o->n_path > 0 ? o->path[0] : "the data");
    if (!c->name) return hy__no_memory(b->err, "building the data");
    HY_TRY(hy__encoder_new(&b->encoder, o->tokenizer, b->err));
    b->head.vocab = c->vocab = hy__tokenizer_vocab(o->tokenizer);
    HY_TRY(hy__tokenizer_print(o->tokenizer, &b->head.tokenizer, b->err));
    c->width = hy__token_width(c->vocab);
    HY_TRY(hy__source_open(&b->source, o->path, o->n_path, b->separator, b->err));
    if (o->out) HY_TRY(hy__place_open(&b->place, o->out, o->force, b->err));
    for (int p = 0; p < 2; p++) {
        b->head.kind = p == HY__PART_TRAIN ? HY__BLOB_TRAIN : HY__BLOB_VAL;
        b->head.width = sizeof(hy__document);
        HY_TRY(hy__blob_create(&b->table[p], b->place.building, &b->head, b->err));
    }
    return HY_OK;
}

static hy_status finish(build *b) {
    hy__corpus *c = b->corpus;
    if (b->shard.buffer) HY_TRY(end_shard(b));
    HY_TRY(split(b));
    if (b->table[HY__PART_TRAIN].head.n == 0)
        return hy__fail(b->err, HY_E_INVALID,
                        "the data hold nothing to train on: %lld files of text with %lld tokens, "
                        "%lld files passed over, %lld documents held out",
                        (long long)c->source.n_file, (long long)c->n_token,
                        (long long)c->source.n_other, (long long)b->table[1].head.n);
    for (int p = 0; p < 2; p++) {
        HY_TRY(hy__blob_finish(&b->table[p], b->err));
        HY_TRY(hy__blob_open_written(&c->table[p], &b->table[p], b->err));
    }
    return hy__corpus_finish(c, b->err);
}

static hy_status put_file(const build *b, const char *name, const char *text) {
    char *path = text ? hy__path_join(b->place.building, name) : NULL;
    const hy_status status = path ? hy__file_write(path, text, strlen(text), b->err)
                                  : hy__no_memory(b->err, "building the data");
    free(path);
    return status;
}

/* The index last. */
static hy_status put_files(const build *b) {
    for (int i = 0;; i++) {
        const char *name;
        char *text;
        HY_TRY(hy__tokenizer_file(b->opt->tokenizer, i, &name, &text, b->err));
        if (!name) break;
        const hy_status status = put_file(b, name, text);
        free(text);
        HY_TRY(status);
    }
    char *index = hy__corpus_index(b->corpus);
    const hy_status status = put_file(b, HY__CORPUS_INDEX, index);
    free(index);
    return status;
}

static hy_status build_all(build *b) {
    HY_TRY(begin(b));
    HY_TRY(read_all(b));
    HY_TRY(finish(b));
    return b->opt->out ? put_files(b) : HY_OK;
}

hy_status hy__build(hy__corpus **out, const hy__build_options *opt, hy_error *err) {
    *out = NULL;
    build *b = calloc(1, sizeof *b);
    if (!b || !(b->corpus = calloc(1, sizeof *b->corpus))) {
        free(b);
        return hy__no_memory(err, "building the data");
    }
    b->opt = opt;
    b->err = err;
    b->separator = opt->separator ? opt->separator : "";
    b->file.number = b->skipped = -1;
    pthread_mutex_init(&b->reading, NULL);
    pthread_mutex_init(&b->storing, NULL);
    pthread_cond_init(&b->turned, NULL);
    hy_status status = build_all(b);
    hy__blob_close(&b->shard);
    hy__blob_close(&b->table[0]);
    hy__blob_close(&b->table[1]);
    if (status == HY_OK && opt->out)
        status = hy__place_commit(&b->place, err);
    else if (b->place.dir)
        hy__place_discard(&b->place);
    if (status == HY_OK && opt->out) {
        hy__corpus_free(b->corpus); /* the names of its files have changed */
        b->corpus = NULL;
        status = hy__corpus_open(&b->corpus, opt->out, err);
    }
    if (status == HY_OK)
        *out = b->corpus;
    else
        hy__corpus_free(b->corpus);
    hy__source_close(b->source);
    hy__encoder_free(b->encoder);
    pthread_mutex_destroy(&b->reading);
    pthread_mutex_destroy(&b->storing);
    pthread_cond_destroy(&b->turned);
    free(b);
    return status;
}
