/* npy.c: see npy.h.
 *
 * A file is "\x93NUMPY", major and minor version, the header's length (u16 in version 1, u32 after
 * it), the header, the elements. The header is a Python dict of three keys in any order:
 * {'descr': '<i4', 'fortran_order': False, 'shape': (7,), } (NEP 1). */
#include "ckpt/npy.h"

#include "base/file.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_MAX = 1 << 16 }; /* bytes */

/* ---- the header -------------------------------------------------------------------------------
 */

typedef struct array {
    char descr[16];
    bool fortran;
    int64_t shape[8];
    int n_dim;
} array;

/* Skips spaces, then takes `want` if it is there. */
static bool take(const char **p, const char *want) {
    while (isspace((unsigned char)**p)) ++*p;
    const size_t n = strlen(want);
    if (strncmp(*p, want, n) != 0) return false;
    *p += n;
    return true;
}

/* A quoted string without escapes. */
static bool take_string(const char **p, char *out, size_t cap) {
    const char *quote = take(p, "'") ? "'" : take(p, "\"") ? "\"" : NULL;
    if (!quote) return false;
    const size_t n = strcspn(*p, quote);
    if ((*p)[n] != *quote || n >= cap) return false;
    memcpy(out, *p, n);
    out[n] = 0;
    *p += n + 1;
    return true;
}

static bool take_shape(const char **p, array *a) {
    if (!take(p, "(")) return false;
    for (a->n_dim = 0; !take(p, ")");) {
        if (a->n_dim == 8 || !isdigit((unsigned char)**p)) return false;
        int64_t dim = 0;
        for (; isdigit((unsigned char)**p); ++*p) {
            if (dim > (INT64_MAX - 9) / 10) return false;
            dim = dim * 10 + (**p - '0');
        }
        a->shape[a->n_dim++] = dim;
        if (take(p, ",")) continue;
        if (!take(p, ")")) return false;
        break;
    }
    return true;
}

static bool parse_dict(const char *p, array *a) {
    enum { DESCR = 1, ORDER = 2, SHAPE = 4 };
    int seen = 0;
    if (!take(&p, "{")) return false;
    while (!take(&p, "}")) {
        char key[16];
        if (!take_string(&p, key, sizeof key) || !take(&p, ":")) return false;
        int bit = 0;
        if (strcmp(key, "descr") == 0 && take_string(&p, a->descr, sizeof a->descr)) bit = DESCR;
        if (strcmp(key, "shape") == 0 && take_shape(&p, a)) bit = SHAPE;
        if (strcmp(key, "fortran_order") == 0) {
            a->fortran = take(&p, "True");
            if (a->fortran || take(&p, "False")) bit = ORDER;
        }
        if (!bit || seen & bit) return false;
        seen |= bit;
        if (take(&p, ",")) continue;
        if (!take(&p, "}")) return false;
        break;
    }
    while (isspace((unsigned char)*p)) p++;
    return !*p && seen == (DESCR | ORDER | SHAPE);
}

/* Parses the start of a mapped file; *at is where the elements begin. */
static hy_status read_header(const hy__map *m, const char *path, array *a, size_t *at,
                             hy_error *err) {
    if (m->size < 8 || memcmp(m->data, "\x93NUMPY", 6) != 0)
        return hy__fail(err, HY_E_INVALID, "%.400s is no .npy file", path);
    const int major = m->data[6];
    if (major < 1 || major > 3)
        return hy__fail(err, HY_E_INVALID, "%.400s: version %d of .npy; 1 to 3 are read", path,
                        major);
    const size_t start = major == 1 ? 10 : 12;
    size_t size = 0;
    if (m->size >= start)
        for (size_t i = start; i-- > 8;) size = size << 8 | m->data[i];
    if (m->size < start || size > m->size - start)
        return hy__fail(err, HY_E_INVALID, "%.400s ends in its header", path);
    if (size > HEADER_MAX)
        return hy__fail(err, HY_E_INVALID, "%.400s: a header of %zu bytes; at most %d are read",
                        path, size, HEADER_MAX);
    char *text = strndup((const char *)m->data + start, size);
    if (!text) return hy__no_memory(err, "%.400s", path);
    *a = (array){0};
    const bool good = strlen(text) == size && parse_dict(text, a);
    free(text);
    if (!good)
        return hy__fail(err, HY_E_INVALID,
                        "%.400s: its header is not the dict of descr, fortran_order and shape",
                        path);
    *at = start + size;
    return HY_OK;
}

/* ---- tokens -----------------------------------------------------------------------------------
 */

static int64_t element(const unsigned char *p, size_t size, bool is_signed) {
    uint64_t v = 0;
    for (size_t i = size; i-- > 0;) v = v << 8 | p[i];
    return is_signed && size == 4 ? (int64_t)(int32_t)(uint32_t)v : (int64_t)v;
}

static const struct {
    const char *descr;
    size_t size;
    bool is_signed;
} token_types[] = {{"<i4", 4, true}, {"<i8", 8, true}, {"<u2", 2, false}, {"|u1", 1, false}};
enum { N_TOKEN_TYPE = sizeof token_types / sizeof *token_types };

/* The row of token_types that the array's elements are of. */
static hy_status check_tokens(const char *path, const array *a, int *type, hy_error *err) {
    for (*type = 0; *type < N_TOKEN_TYPE; ++*type)
        if (strcmp(token_types[*type].descr, a->descr) == 0) break;
    if (*type == N_TOKEN_TYPE)
        return hy__fail(err, HY_E_INVALID,
                        "%.400s: its elements are '%s'; token ids are '<i4', '<i8', '<u2' or '|u1'",
                        path, a->descr);
    if (a->n_dim != 1)
        return hy__fail(err, HY_E_INVALID, "%.400s has %d dimensions; token ids have one", path,
                        a->n_dim);
    return HY_OK;
}

/* The array's elements, which are all of the `size` bytes at p. */
static hy_status read_elements(const unsigned char *p, size_t size, const char *path,
                               const array *a, int type, int32_t **token, hy_error *err) {
    const size_t width = token_types[type].size;
    if ((uint64_t)a->shape[0] != size / width || size % width)
        return hy__fail(err, HY_E_INVALID,
                        "%.400s: %jd elements of %zu bytes, but %zu bytes follow", path,
                        (intmax_t)a->shape[0], width, size);
    int32_t *ids = malloc((size_t)a->shape[0] * sizeof *ids + 1);
    if (!ids) return hy__no_memory(err, "%.400s", path);
    for (int64_t i = 0; i < a->shape[0]; i++) {
        const int64_t v = element(p + (size_t)i * width, width, token_types[type].is_signed);
        if (v < INT32_MIN || v > INT32_MAX) {
            free(ids);
            return hy__fail(err, HY_E_INVALID, "%.400s: element %jd is %jd, no token id", path,
                            (intmax_t)i, (intmax_t)v);
        }
        ids[i] = (int32_t)v;
    }
    *token = ids;
    return HY_OK;
}

hy_status hy__npy_read_tokens(int32_t **token, int64_t *n, const char *path, hy_error *err) {
    *token = NULL;
    *n = 0;
    hy__map m;
    HY_TRY(hy__file_map(&m, path, err));
    array a;
    size_t at = 0;
    int type;
    hy_status status = read_header(&m, path, &a, &at, err);
    if (status == HY_OK) status = check_tokens(path, &a, &type, err);
    if (status == HY_OK)
        status = read_elements(m.data + at, m.size - at, path, &a, type, token, err);
    if (status == HY_OK) *n = a.shape[0];
    hy__file_unmap(&m);
    return status;
}

/* ---- logits -----------------------------------------------------------------------------------
 */

#define LOGITS "{'descr': '<f4'" /* how their header begins, at byte 10 */

struct hy__npy {
    hy__writer out;
    int64_t n_row, n_col, row;
};

hy_status hy__npy_open(hy__npy **out, const char *path, int64_t n_row, int64_t n_col,
                       hy_error *err) {
    *out = NULL;
    /* Version 1: everything before the data fills a multiple of 64 bytes and ends in a newline. */
    char head[128];
    memset(head, ' ', sizeof head);
    memcpy(head, "\x93NUMPY\1\0", 8);
    head[8] = sizeof head - 10;
    head[9] = 0;
    const int n = snprintf(head + 10, sizeof head - 10,
                           LOGITS ", 'fortran_order': False, 'shape': (%jd, %jd), }",
                           (intmax_t)n_row, (intmax_t)n_col);
    head[10 + n] = ' ';
    head[sizeof head - 1] = '\n';
    HY_TRY(hy__file_check_place(path, "array of logits", 10, LOGITS, err));
    hy__npy *npy = malloc(sizeof *npy);
    if (!npy) return hy__no_memory(err, "%.400s", path);
    *npy = (hy__npy){.n_row = n_row, .n_col = n_col};
    hy_status status = hy__writer_open(&npy->out, path, err);
    if (status != HY_OK) {
        free(npy);
        return status;
    }
    status = hy__writer_write(&npy->out, head, sizeof head, err);
    if (status != HY_OK) {
        hy__npy_discard(npy);
        return status;
    }
    *out = npy;
    return HY_OK;
}

hy_status hy__npy_write(hy__npy *npy, const float *row, int64_t n_row, hy_error *err) {
    HY_ASSERT(n_row <= npy->n_row - npy->row);
    npy->row += n_row;
    return hy__writer_write(&npy->out, row, (size_t)(n_row * npy->n_col) * sizeof *row, err);
}

hy_status hy__npy_commit(hy__npy *npy, hy_error *err) {
    HY_ASSERT(npy->row == npy->n_row);
    const hy_status status = hy__writer_commit(&npy->out, err);
    free(npy);
    return status;
}

void hy__npy_discard(hy__npy *npy) {
    if (!npy) return;
    hy__writer_abort(&npy->out);
    free(npy);
}
