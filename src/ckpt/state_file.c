/* state_file.c: see state_file.h. */
#include "ckpt/state_file.h"

#include "ckpt/checkpoint.h"
#include "ckpt/fingerprint.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VERSION "1"
#define KEY     "hydralm_session" /* of the metadata: known by it */

enum { NAME = 64, NUMBER = 24 };

/* ---- what is in the file ---- */

/* State tensor `id` of a layer, as the file has it; its name lives in `name`. */
static hy__st_tensor describe(const hy__model *m, int64_t layer, int id, int64_t n_slot,
                              char name[NAME]) {
    const hy__state_decl *d = &m->layer[layer].decl.state[id];
    const hy__dtype dtype = hy__state_dtype(d->narrow, m->weight_dtype, m->be->real);
    hy__st_tensor t = {.name = name,
                       .dtype = hy__checkpoint_dtype(dtype),
                       .n_dim = 1,
                       .shape = {d->fixed},
                       .n = hy__state_elements(d, n_slot)};
    snprintf(name, NAME, "layers.%" PRId64 ".%s", layer, d->name);
    if (d->per_slot > 0) {
        HY_ASSERT(d->fixed == 0);
        t.n_dim = 2;
        t.shape[0] = n_slot;
        t.shape[1] = d->per_slot;
    }
    return t;
}

static int64_t count_tensors(const hy__model *m) {
    int64_t n = 0;
    for (int64_t i = 0; i < m->cfg.n_layer; i++) n += m->layer[i].decl.n_state;
    return n;
}

/* Bytes of the output. */
static size_t output_size(const hy__model *m) {
    return (size_t)m->cfg.model.d_model * hy__dtype_size(m->be->real);
}

/* The checksum of a file begins with what its metadata say of the state; the tensors follow, in the
 * order of the model. output: "" = none. */
static void begin_checksum(hy__hash *h, const char *position, const char *slots,
                           const char *output) {
    const char *text[] = {position, slots, output};
    hy__hash_init(h);
    for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
        hy__hash_add(h, text[i], strlen(text[i]));
        hy__hash_add(h, "\n", 1);
    }
}

/* ---- writing ---- */

typedef struct listing {
    hy__backend *be;
    char (*name)[NAME];
    hy__st_tensor *entry;
    hy__tensor *tensor;
    int64_t n;
} listing;

static void list_free(listing *l) {
    free(l->name);
    free(l->entry);
    free(l->tensor);
}

static hy_status list_all(listing *l, const hy__state *s, hy_error *err) {
    const hy__model *m = s->model;
    const size_t most = (size_t)count_tensors(m) + 1; /* F carries nothing */
    *l = (listing){.be = m->be,
                   .name = malloc(most * sizeof *l->name),
                   .entry = malloc(most * sizeof *l->entry),
                   .tensor = malloc(most * sizeof *l->tensor)};
    if (!l->name || !l->entry || !l->tensor) {
        list_free(l);
        return hy__no_memory(err, "the state of a sequence");
    }
    for (int64_t i = 0; i < m->cfg.n_layer; i++)
        for (int id = 0; id < m->layer[i].decl.n_state; id++, l->n++) {
            l->entry[l->n] = describe(m, i, id, s->n_slot, l->name[l->n]);
            l->tensor[l->n] = s->t[i * HY__STATE_MAX + id];
        }
    return HY_OK;
}

static hy_status fill(void *user, int64_t i, int64_t first, int64_t n, void *dst, hy_error *err) {
    const listing *l = user;
    const hy__tensor from = hy__at(l->tensor[i], first);
    l->be->read(l->be, dst, from, (size_t)n * hy__dtype_size(from.dtype));
    return hy__backend_check(l->be, err);
}

static hy_status add_tensors(hy__hash *h, const listing *l, hy_error *err) {
    unsigned char *piece = malloc(HY__HASH_PIECE);
    if (!piece) return hy__no_memory(err, "the state of a sequence");
    for (int64_t i = 0; i < l->n; i++)
        hy__hash_add_tensor(h, l->be, l->tensor[i], l->entry[i].n, piece);
    free(piece);
    return hy__backend_check(l->be, err);
}

/* Two digits for each byte. */
static char *hex_of(const unsigned char *data, size_t size) {
    static const char digit[] = "0123456789abcdef";
    char *hex = malloc(2 * size + 1);
    if (!hex) return NULL;
    for (size_t i = 0; i < size; i++) {
        hex[2 * i] = digit[data[i] >> 4];
        hex[2 * i + 1] = digit[data[i] & 15];
    }
    hex[2 * size] = '\0';
    return hex;
}

/* hex: the output, or NULL. */
static hy_status write_all(const listing *l, const hy__state *s, const char *hex, const char *model,
                           const char *path, hy_error *err) {
    hy__hash hash;
    char position[NUMBER], slots[NUMBER], checksum[HY__FINGERPRINT];
    snprintf(position, sizeof position, "%" PRId64, s->pos);
    snprintf(slots, sizeof slots, "%" PRId64, s->n_slot);
    begin_checksum(&hash, position, slots, hex ? hex : "");
    HY_TRY(add_tensors(&hash, l, err));
    hy__hash_print(checksum, &hash);
    const char *about[13] = {KEY,      VERSION, "model", model,      "position",
                             position, "slots", slots,   "checksum", checksum};
    if (hex) {
        about[10] = "output";
        about[11] = hex;
    }
    const hy__st_list list = {.tensor = l->entry,
                              .n_tensor = l->n,
                              .fill = fill,
                              .user = (void *)(uintptr_t)l,
                              .metadata = about};
    return hy__st_write(path, &list, err);
}

hy_status hy__state_check_place(const char *path, hy_error *err) {
    /* the metadata are written first, behind the length of the header */
    return hy__file_check_place(path, "saved session", 8,
                                "{\"__metadata__\":{\"format\":\"pt\",\"" KEY "\":", err);
}

hy_status hy__state_save(const hy__state *s, const void *output, const char *model,
                         const char *path, hy_error *err) {
    listing l;
    HY_TRY(hy__state_check_place(path, err));
    char *hex = output ? hex_of(output, output_size(s->model)) : NULL;
    if (output && !hex) return hy__no_memory(err, "the state of a sequence");
    hy_status status = list_all(&l, s, err);
    if (status == HY_OK) {
        status = write_all(&l, s, hex, model, path, err);
        list_free(&l);
    }
    free(hex);
    return status;
}

/* ---- reading ---- */

/* A file that is being read, with what its metadata say. */
typedef struct source {
    const hy__st *st;
    const char *path;
    int64_t pos, n_slot;
} source;

/* "" where there is no such key. */
static const char *metadata(const source *f, const char *key) {
    const char *value = hy__st_metadata(f->st, key);
    return value ? value : "";
}

static hy_status check_origin(const source *f, const char *model, hy_error *err) {
    const char *version = metadata(f, KEY), *of = metadata(f, "model");
    if (!*version) return hy__fail(err, HY_E_INVALID, "%.400s is not a saved session", f->path);
    if (strcmp(version, VERSION) != 0)
        return hy__fail(err, HY_E_INVALID,
                        "%.400s is a session of version %.16s, wanted version " VERSION, f->path,
                        version);
    if (strcmp(of, model) != 0)
        return hy__fail(err, HY_E_INVALID,
                        "%.400s is the session of another model: of fingerprint %.16s, this model "
                        "has %s; configuration, weights and their dtype in memory must be the same",
                        f->path, of, model);
    return HY_OK;
}

/* A number of the metadata: digits and nothing else, too few to overflow. */
static hy_status read_number(const source *f, const char *key, int64_t *out, hy_error *err) {
    const char *text = metadata(f, key);
    const size_t n = strlen(text);
    if (n == 0 || n > 18 || strspn(text, "0123456789") != n)
        return hy__fail(err, HY_E_INVALID, "%.400s: its %s is \"%.32s\", wanted a whole number",
                        f->path, key, text);
    *out = strtoll(text, NULL, 10);
    return HY_OK;
}

static hy_status read_place(source *f, const hy__model *m, hy_error *err) {
    HY_TRY(read_number(f, "position", &f->pos, err));
    HY_TRY(read_number(f, "slots", &f->n_slot, err));
    const hy_status status = hy__state_check(m, f->pos, f->n_slot, err);
    return status == HY_OK ? HY_OK : hy__fail_in(err, status, "%.400s", f->path);
}

/* Every tensor of the state is there with its shape, and nothing else is: then the state that is
 * made for them is no larger than the file. */
static hy_status check_tensors(const source *f, const hy__model *m, hy_error *err) {
    char name[NAME];
    for (int64_t i = 0; i < m->cfg.n_layer; i++)
        for (int id = 0; id < m->layer[i].decl.n_state; id++) {
            const hy__st_tensor want = describe(m, i, id, f->n_slot, name);
            const hy__st_tensor *got = hy__st_find(f->st, name);
            if (!got || got->dtype != want.dtype || got->n_dim != want.n_dim ||
                memcmp(got->shape, want.shape, sizeof want.shape) != 0)
                return hy__fail(err, HY_E_INVALID,
                                "%.400s has no tensor %s of %" PRId64 " elements of %s in %d "
                                "dimensions",
                                f->path, name, want.n, hy__st_dtype_name(want.dtype), want.n_dim);
        }
    if (hy__st_count(f->st) == count_tensors(m)) return HY_OK;
    return hy__fail(err, HY_E_INVALID,
                    "%.400s has %" PRId64 " tensors, the state of this model %" PRId64, f->path,
                    hy__st_count(f->st), count_tensors(m));
}

static int digit_of(char c) {
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

/* *output stays NULL when the file has none. */
static hy_status read_output(const source *f, const hy__model *m, void **output, hy_error *err) {
    const char *hex = hy__st_metadata(f->st, "output");
    const size_t size = output_size(m);
    if (!hex) return HY_OK;
    if (f->pos == 0 || strlen(hex) != 2 * size || strspn(hex, "0123456789abcdef") != 2 * size)
        return hy__fail(err, HY_E_INVALID,
                        "%.400s: its output is not %zu hex digits, or there is one at position 0",
                        f->path, 2 * size);
    unsigned char *data = malloc(size);
    if (!data) return hy__no_memory(err, "the state of a sequence");
    for (size_t i = 0; i < size; i++)
        data[i] = (unsigned char)(digit_of(hex[2 * i]) << 4 | digit_of(hex[2 * i + 1]));
    *output = data;
    return HY_OK;
}

/* The state is the caller's to free, whatever comes of it. */
static hy_status read_state(const source *f, hy__model *m, hy__state **out, hy_error *err) {
    HY_TRY(hy__state_new(out, m, f->n_slot * m->cfg.model.chunk, err));
    hy__state *s = *out;
    HY_ASSERT(s->n_slot == f->n_slot);
    char name[NAME], checksum[HY__FINGERPRINT];
    const char *want = metadata(f, "checksum");
    hy__hash hash;
    begin_checksum(&hash, metadata(f, "position"), metadata(f, "slots"), metadata(f, "output"));
    for (int64_t i = 0; i < m->cfg.n_layer; i++)
        for (int id = 0; id < m->layer[i].decl.n_state; id++) {
            describe(m, i, id, f->n_slot, name);
            const hy__st_tensor *t = hy__st_find(f->st, name);
            const size_t size = (size_t)t->n * hy__st_dtype_size(t->dtype);
            hy__hash_add(&hash, t->data, size);
            m->be->write(m->be, s->t[i * HY__STATE_MAX + id], t->data, size);
            hy__st_release(t, 0, t->n);
        }
    s->pos = f->pos;
    hy__hash_print(checksum, &hash);
    if (strcmp(want, checksum) != 0)
        return hy__fail(err, HY_E_INVALID,
                        "%.400s is damaged: the checksum of what it holds is %s, wanted its "
                        "\"%.16s\"",
                        f->path, checksum, want);
    return hy__backend_check(m->be, err);
}

hy_status hy__state_load(hy__state **out, void **output, hy__model *m, const char *model,
                         const char *path, hy_error *err) {
    hy__st *st;
    hy__state *s = NULL;
    *output = NULL;
    HY_TRY(hy__st_open(&st, path, err));
    source f = {.st = st, .path = path};
    hy_status status;
    HY_TRY_GOTO(check_origin(&f, model, err));
    HY_TRY_GOTO(read_place(&f, m, err));
    HY_TRY_GOTO(check_tensors(&f, m, err));
    HY_TRY_GOTO(read_output(&f, m, output, err));
    HY_TRY_GOTO(read_state(&f, m, &s, err));
    *out = s;
done:
    if (status != HY_OK) {
        hy__state_free(s);
        free(*output);
        *output = NULL;
    }
    hy__st_close(st);
    return status;
}
