/* json_file.c: see json_file.h. */
#include "ckpt/json_file.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { CONFIG_BYTES = 16 << 20, CONFIG_DEPTH = 16 };

/* The length of the Python number at p, or 0. */
static size_t python_number(const char *p, const char *end) {
    static const char *const word[] = {"Infinity", "-Infinity", "NaN"};
    for (size_t i = 0; i < sizeof word / sizeof *word; i++) {
        const size_t n = strlen(word[i]);
        if ((size_t)(end - p) < n || memcmp(p, word[i], n) != 0) continue;
        if (p + n == end || !isalnum((unsigned char)p[n])) return n;
    }
    return 0;
}

/* One walk over the text, strings left alone: checks the depth, and copies to `copy` (NULL: does
 * not) with quotes around Python's numbers. Returns the copy's length; *depth is the deepest. */
static size_t walk(const char *text, size_t size, char *copy, int *depth) {
    const char *end = text + size;
    size_t n = 0;
    int level = 0;
    bool quoted = false, escaped = false;
    *depth = 0;
    for (const char *p = text; p < end; p++) {
        const size_t word = copy && !quoted ? python_number(p, end) : 0;
        if (word > 0) {
            copy[n++] = '"';
            memcpy(copy + n, p, word);
            n += word;
            copy[n++] = '"';
            p += word - 1;
            continue;
        }
        if (copy) copy[n++] = *p;
        if (quoted) {
            quoted = escaped || *p != '"';
            escaped = !escaped && *p == '\\';
        } else if (*p == '"') {
            quoted = true;
        } else if (*p == '{' || *p == '[') {
            if (++level > *depth) *depth = level;
        } else if (*p == '}' || *p == ']') {
            level--;
        }
    }
    return n;
}

hy_status hy__json_parse(json_t **out, const char *text, size_t size, int max_depth, bool python,
                         const char *name, hy_error *err) {
    *out = NULL;
    char *copy = NULL;
    /* The shortest number, NaN, grows from 3 bytes to 5. */
    if (python && !(copy = malloc(size / 3 * 5 + 8))) return hy__no_memory(err, "reading %s", name);
    int depth;
    const size_t n = walk(text, size, copy, &depth);
    hy_status status = HY_OK;
    json_error_t at;
    if (depth > max_depth) {
        status = hy__fail(err, HY_E_INVALID, "%s: its JSON is nested %d deep; at most %d is read",
                          name, depth, max_depth);
    } else {
        *out = json_loadb(copy ? copy : text, copy ? n : size,
                          JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &at);
        if (!*out && json_error_code(&at) == json_error_out_of_memory)
            status = hy__no_memory(err, "reading %s", name);
        else if (!*out)
            status = hy__fail(err, HY_E_INVALID, "%s: line %d, column %d: %s", name, at.line,
                              at.column, at.text);
    }
    free(copy);
    return status;
}

hy_status hy__json_read(json_t **out, const char *dir, const char *name, hy_error *err) {
    *out = NULL;
    char *path, *text = NULL;
    size_t size;
    HY_TRY(hy__fileset_find(&path, dir, name, err));
    if (!path) return hy__fail(err, HY_E_IO, "%s/%s does not exist", dir, name);
    hy_status status = hy__file_read(path, CONFIG_BYTES, &text, &size, err);
    if (status == HY_OK) status = hy__json_parse(out, text, size, CONFIG_DEPTH, true, path, err);
    if (status == HY_OK && !json_is_object(*out)) {
        json_decref(*out);
        *out = NULL;
        status = hy__fail(err, HY_E_INVALID, "%s holds no JSON object", path);
    }
    free(text);
    free(path);
    return status;
}

/* The text with as few digits as read back the same: 0.1, not 0.10000000000000001. */
static char *shortest(const json_t *json) {
    for (size_t digits = 15;; digits++) {
        char *text = json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(digits));
        if (!text || digits == 17) return text;
        json_t *back = json_loads(text, 0, NULL);
        const bool same = json_equal(back, json);
        json_decref(back);
        if (same) return text;
        free(text);
    }
}

hy_status hy__json_put(hy__fileset *set, const char *name, const json_t *json, hy_error *err) {
    char *text = shortest(json);
    if (!text) return hy__no_memory(err, "%s", name);
    const size_t size = strlen(text);
    text[size] = '\n'; /* in place of the terminator */
    const hy_status status = hy__fileset_write(set, name, text, size + 1, err);
    free(text);
    return status;
}
