/* text.c: see text.h. */
#include "page/text.h"
#include "base/file.h"
#include "base/utf8.h"

#include <locale.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void hy__text_release(hy__text *t) {
    free(t->data);
    *t = (hy__text){0};
}

/* Room for n more bytes and a NUL. */
static bool reserve(hy__text *t, size_t n) {
    if (t->failed) return false;
    if (n < t->capacity - t->size) return true;
    size_t capacity = t->capacity ? t->capacity : 256;
    while (capacity <= SIZE_MAX / 2 && capacity - t->size <= n) capacity *= 2;
    char *data = capacity - t->size > n ? realloc(t->data, capacity) : NULL;
    if (!data) {
        t->failed = true;
        return false;
    }
    t->data = data;
    t->capacity = capacity;
    return true;
}

static void append(hy__text *t, const char *s, size_t n) {
    if (!reserve(t, n)) return;
    memcpy(t->data + t->size, s, n);
    t->size += n;
    t->data[t->size] = '\0';
}

void hy__text_put(hy__text *t, const char *s) {
    append(t, s, strlen(s));
}

int hy__print_args(char *out, size_t size, const char *fmt, va_list args) {
    const locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0); /* glibc: shared, no allocation */
    const locale_t before = c ? uselocale(c) : (locale_t)0;
    const int n = vsnprintf(out, size, fmt, args);
    if (c) {
        uselocale(before);
        freelocale(c);
    }
    return n;
}

int hy__print(char *out, size_t size, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    const int n = hy__print_args(out, size, fmt, args);
    va_end(args);
    return n;
}

void hy__text_add_args(hy__text *t, const char *fmt, va_list args) {
    va_list again;
    va_copy(again, args);
    const size_t room = t->capacity - t->size;
    const int n =
        t->failed ? -1 : hy__print_args(t->data ? t->data + t->size : NULL, room, fmt, args);
    if (n < 0)
        t->failed = true;
    else if ((size_t)n < room || reserve(t, (size_t)n)) {
        if ((size_t)n >= room) hy__print_args(t->data + t->size, t->capacity - t->size, fmt, again);
        t->size += (size_t)n;
    }
    va_end(again);
}

void hy__text_add(hy__text *t, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    hy__text_add_args(t, fmt, args);
    va_end(args);
}

/* What stands for a byte in XML; NULL = itself. Line ends and tabs are kept. */
static const char *escaped(unsigned char byte) {
    switch (byte) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    case '\t':
    case '\n':
    case '\r':
        return NULL;
    default:
        return byte < 0x20 || byte == 0x7f ? "\xef\xbf\xbd" : NULL;
    }
}

void hy__text_escape(hy__text *t, const char *s) {
    const unsigned char *p = (const unsigned char *)s;
    size_t left = strlen(s);
    while (left) {
        size_t n = hy__utf8_sequence(p, left);
        const bool noncharacter = n == 3 && p[0] == 0xef && p[1] == 0xbf && p[2] >= 0xbe;
        const char *instead = n == 0 || noncharacter ? "\xef\xbf\xbd" : escaped(*p);
        if (n == 0) n = 1;
        if (instead)
            hy__text_put(t, instead);
        else
            append(t, (const char *)p, n);
        p += n;
        left -= n;
    }
}

hy_status hy__text_check(const hy__text *t, hy_error *err) {
    if (!t->failed) return HY_OK;
    return hy__no_memory(err, "a text of more than %zu bytes", t->size);
}

hy_status hy__text_save(const hy__text *t, const char *path, hy_error *err) {
    const hy_status status = hy__text_check(t, err);
    if (status != HY_OK) return hy__fail_in(err, status, "%s", path);
    return hy__file_write(path, t->size ? t->data : "", t->size, err);
}
