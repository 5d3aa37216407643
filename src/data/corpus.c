/* corpus.c: see corpus.h. */
#include "data/corpus.h"

#include <inttypes.h>
#include <jansson.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { INDEX_LIMIT = 1 << 20 /* bytes */ };

static const char *const SPLIT[] = {"auto", "documents", "tail", "none"};
static const char *const PART[] = {"train", "val"};

const char *hy__split_name(hy__split split) {
    return SPLIT[split];
}

bool hy__corpus_is_built(const char *path) {
    char *index = hy__path_is_dir(path) ? hy__path_join(path, HY__CORPUS_INDEX) : NULL;
    const bool built = index && access(index, F_OK) == 0;
    free(index);
    return built;
}

/* ---- the blobs together ---- */

static hy_status mixed(const hy__corpus *c, const hy__blob *b, hy_error *err) {
    return hy__fail(err, HY_E_INVALID, "%.400s does not belong to the other files of %.400s",
                    b->path, c->name);
}

static void hash_number(hy__hash *h, uint64_t x) {
    unsigned char byte[8];
    for (int i = 0; i < 8; i++) byte[i] = (unsigned char)(x >> 8 * i);
    hy__hash_add(h, byte, sizeof byte);
}

static void hash_blob(hy__hash *h, const hy__blob *b) {
    hash_number(h, (uint64_t)b->head.n);
    hash_number(h, b->head.checksum);
}

static uint64_t fingerprint(const hy__corpus *c) {
    hy__hash h;
    hy__hash_init(&h);
    hash_number(&h, c->tokenizer);
    hash_number(&h, (uint64_t)c->vocab);
    for (int64_t i = 0; i < c->n_shard; i++) hash_blob(&h, &c->shard[i]);
    hash_blob(&h, &c->table[0]);
    hash_blob(&h, &c->table[1]);
    return hy__hash_value(&h);
}

static hy_status check_shards(hy__corpus *c, hy_error *err) {
    const hy__blob_head *one = &c->shard[0].head;
    c->width = one->width;
    c->vocab = one->vocab;
    c->tokenizer = one->tokenizer;
    c->shard_tokens = one->n;
    c->n_token = 0;
    for (int64_t i = 0; i < c->n_shard; i++) {
        const hy__blob_head *h = &c->shard[i].head;
        const bool last = i + 1 == c->n_shard;
        if (h->width != c->width || h->vocab != c->vocab || h->tokenizer != c->tokenizer ||
            h->first != c->n_token || h->n > one->n || (h->n < one->n && !last) || h->n < 1)
            return mixed(c, &c->shard[i], err);
        c->n_token += h->n;
    }
    const bool fits = c->width == 1   ? c->vocab <= 256
                      : c->width == 2 ? c->vocab <= 65536
                                      : c->width == 4 && c->vocab <= INT32_MAX;
    return fits && c->vocab > 0 ? HY_OK : mixed(c, &c->shard[0], err);
}

/* A table is read as a whole: it is small beside the tokens, and a wrong place in it would be read
 * from outside the shards. */
static hy_status check_table(hy__corpus *c, int part, hy_error *err) {
    const hy__blob *b = &c->table[part];
    if (b->head.width != (int)sizeof(hy__document) || b->head.tokenizer != c->tokenizer)
        return mixed(c, b, err);
    HY_TRY(hy__blob_verify(b, err));
    c->document[part] = b->element;
    c->n_document[part] = b->head.n;
    c->n_part[part] = 0;
    for (int64_t i = 0, end = 0; i < b->head.n; i++) {
        const hy__document d = c->document[part][i];
        if (d.start < end || d.len < 2 || d.start > c->n_token || d.len > c->n_token - d.start)
            return mixed(c, b, err);
        end = d.start + d.len;
        c->n_part[part] += d.len;
    }
    return HY_OK;
}

hy_status hy__corpus_finish(hy__corpus *c, hy_error *err) {
    HY_TRY(check_shards(c, err));
    for (int part = 0; part < 2; part++) HY_TRY(check_table(c, part, err));
    c->fingerprint = fingerprint(c);
    return HY_OK;
}

/* ---- the index ---- */

char *hy__corpus_index(const hy__corpus *c) {
    char tokenizer[17], print[17];
    snprintf(tokenizer, sizeof tokenizer, "%016" PRIx64, c->tokenizer);
    snprintf(print, sizeof print, "%016" PRIx64, c->fingerprint);
    json_t *parts = json_object();
    for (int p = 0; p < 2; p++) {
        json_object_set_new(parts, PART[p],
                            json_pack("{s:I, s:I}", "documents", (json_int_t)c->n_document[p],
                                      "tokens", (json_int_t)c->n_part[p]));
    }
    const hy__corpus_source *s = &c->source;
    json_t *root = json_pack(
        "{s:s, s:i, s:s, s:{s:s, s:I}, s:i, s:I, s:I, s:I, s:s, s:f, s:o, s:{s:I,s:I,s:I,s:I,s:I}}",
        "format", "hydralm data", "version", 1, "fingerprint", print, "tokenizer", "fingerprint",
        tokenizer, "vocab", (json_int_t)c->vocab, "token_bytes", c->width, "tokens",
        (json_int_t)c->n_token, "shards", (json_int_t)c->n_shard, "shard_tokens",
        (json_int_t)c->shard_tokens, "split", SPLIT[c->split], "val_fraction", c->val_fraction,
        "parts", parts, "source", "files", (json_int_t)s->n_file, "passed_over",
        (json_int_t)s->n_other, "bytes", (json_int_t)s->n_byte, "too_short", (json_int_t)s->n_short,
        "broken_lines", (json_int_t)s->n_bad);
    char *text = root ? json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) : NULL;
    json_decref(root);
    return text;
}

static hy_status read_index(hy__corpus *c, const char *path, uint64_t *print, hy_error *err) {
    char *text;
    size_t size;
    HY_TRY(hy__file_read(path, INDEX_LIMIT, &text, &size, err));
    json_error_t said;
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &said);
    free(text);
    const char *format = "", *hex = "", *split = "";
    json_int_t version = 0, shards = 0;
    json_int_t n[5] = {0};
    const bool read =
        root && json_unpack(root, "{s:s, s:I, s:s, s:I, s:s, s:F, s:{s:I,s:I,s:I,s:I,s:I}}",
                            "format", &format, "version", &version, "fingerprint", &hex, "shards",
                            &shards, "split", &split, "val_fraction", &c->val_fraction, "source",
                            "files", &n[0], "passed_over", &n[1], "bytes", &n[2], "too_short",
                            &n[3], "broken_lines", &n[4]) == 0;
    hy_status status = HY_OK;
    if (!read || strcmp(format, "hydralm data") != 0 || shards < 1 || shards > HY__CORPUS_SHARDS ||
        strlen(hex) != 16)
        status = hy__fail(err, HY_E_INVALID, "%.400s is not the index of hydralm data", path);
    else if (version != 1)
        status = hy__fail(err, HY_E_UNSUPPORTED,
                          "%.400s has version %lld, wanted 1, the one that is known here", path,
                          (long long)version);
    for (int i = HY__SPLIT_DOCUMENTS; i <= HY__SPLIT_NONE; i++)
        if (strcmp(split, SPLIT[i]) == 0) c->split = (hy__split)i;
    *print = strtoull(hex, NULL, 16);
    json_decref(root);
    c->n_shard = shards;
    c->source = (hy__corpus_source){n[0], n[1], n[2], n[3], n[4]};
    return status;
}

static hy_status open_blobs(hy__corpus *c, const char *dir, hy_error *err) {
    c->shard = calloc((size_t)c->n_shard, sizeof *c->shard);
    if (!c->shard) return hy__no_memory(err, "opening %.400s", dir);
    for (int64_t i = 0; i < c->n_shard; i++)
        HY_TRY(hy__blob_open(&c->shard[i], dir, HY__BLOB_TOKENS, i, err));
    HY_TRY(hy__blob_open(&c->table[HY__PART_TRAIN], dir, HY__BLOB_TRAIN, 0, err));
    return hy__blob_open(&c->table[HY__PART_VAL], dir, HY__BLOB_VAL, 0, err);
}

hy_status hy__corpus_open(hy__corpus **out, const char *dir, hy_error *err) {
    uint64_t print = 0;
    hy_status status;
    *out = NULL;
    if (!hy__corpus_is_built(dir))
        return hy__fail(err, HY_E_INVALID,
                        "%.400s is not a folder of built data: it has no %s (hydralm data build "
                        "makes one)",
                        dir, HY__CORPUS_INDEX);
    hy__corpus *c = calloc(1, sizeof *c);
    char *index = hy__path_join(dir, HY__CORPUS_INDEX);
    if (c) c->name = strdup(dir);
    if (!c || !index || !c->name) {
        status = hy__no_memory(err, "opening %.400s", dir);
        goto done;
    }
    HY_TRY_GOTO(read_index(c, index, &print, err));
    HY_TRY_GOTO(open_blobs(c, dir, err));
    HY_TRY_GOTO(hy__corpus_finish(c, err));
    if (c->fingerprint != print)
        status = hy__fail(err, HY_E_INVALID, "%.400s does not belong to the other files of %.400s",
                          index, dir);
done:
    free(index);
    if (status == HY_OK)
        *out = c;
    else
        hy__corpus_free(c);
    return status;
}

enum {
    TASK_EPOCH = 1 << 16, /* documents */
    TASK_HELD = 512,
    TASK_HELD_FEW = 16,       /* documents held out: at most, at least … */
    TASK_HELD_ROWS = 1 << 16, /* … and in between about so many rows */
};

static int64_t held_out(const hy__task *t) {
    const int64_t n = TASK_HELD_ROWS / t->len;
    return n > TASK_HELD ? TASK_HELD : n < TASK_HELD_FEW ? TASK_HELD_FEW : n;
}

hy_status hy__corpus_open_task(hy__corpus **out, const char *entry, uint64_t tokenizer,
                               hy_error *err) {
    hy__task t;
    char name[512];
    *out = NULL;
    HY_TRY(hy__task_parse(&t, entry, err));
    hy__corpus *c = calloc(1, sizeof *c);
    if (c) c->name = strdup(entry);
    if (!c || !c->name) {
        free(c);
        return hy__no_memory(err, "opening %.400s", entry);
    }
    c->task = t;
    c->n_document[HY__PART_TRAIN] = TASK_EPOCH;
    c->n_document[HY__PART_VAL] = held_out(&t);
    for (int p = 0; p < 2; p++) c->n_part[p] = c->n_document[p] * t.len;
    c->vocab = 256;
    c->tokenizer = tokenizer;
    hy__hash h;
    hy__hash_init(&h);
    hy__hash_add(&h, name, (size_t)hy__task_print(&t, name, sizeof name));
    c->fingerprint = hy__hash_value(&h);
    *out = c;
    return HY_OK;
}

void hy__corpus_free(hy__corpus *c) {
    if (!c) return;
    for (int64_t i = 0; c->shard && i < c->n_shard; i++) hy__blob_release(&c->shard[i]);
    hy__blob_release(&c->table[0]);
    hy__blob_release(&c->table[1]);
    free(c->shard);
    free(c->name);
    free(c);
}

/* The tables were read when they were opened. */
hy_status hy__corpus_verify(const hy__corpus *c, int threads, hy_error *err) {
    int64_t damaged = c->n_shard; /* the first one that is */
#pragma omp parallel for schedule(dynamic)                                                         \
    num_threads(threads > 0 ? threads : omp_get_max_threads())
    for (int64_t i = 0; i < c->n_shard; i++) {
        if (hy__blob_verify(&c->shard[i], NULL) == HY_OK) continue;
#pragma omp critical
        if (i < damaged) damaged = i;
    }
    return damaged == c->n_shard ? HY_OK : hy__blob_verify(&c->shard[damaged], err);
}

/* ---- tokens ---- */

/* Widens n tokens; returns the largest, in the order of unsigned numbers. */
static uint32_t widen(int32_t *token, const unsigned char *from, int width, int64_t n) {
    uint32_t most = 0;
    for (int64_t i = 0; i < n; i++) {
        uint32_t id;
        if (width == 1) {
            id = from[i];
        } else if (width == 2) {
            uint16_t narrow;
            memcpy(&narrow, from + 2 * i, sizeof narrow);
            id = narrow;
        } else {
            memcpy(&id, from + 4 * i, sizeof id);
        }
        if (id > most) most = id;
        token[i] = (int32_t)id;
    }
    return most;
}

hy_status hy__corpus_read(const hy__corpus *c, int64_t start, int64_t n, int32_t *token,
                          hy_error *err) {
    while (n > 0) {
        const hy__blob *b = &c->shard[start / c->shard_tokens];
        const int64_t at = start % c->shard_tokens;
        const int64_t some = n < b->head.n - at ? n : b->head.n - at;
        const unsigned char *from = (const unsigned char *)b->element + at * c->width;
        if (widen(token, from, c->width, some) >= (uint32_t)c->vocab)
            return hy__fail(err, HY_E_INVALID,
                            "%.400s is damaged: a number among its tokens %lld to %lld is not "
                            "below the vocabulary's %lld",
                            b->path, (long long)at, (long long)(at + some - 1),
                            (long long)c->vocab);
        hy__map_release(from, (size_t)(some * c->width));
        token += some;
        start += some;
        n -= some;
    }
    return HY_OK;
}
