/* bytemap.c: see bytemap.h. */
#include "text/bytemap.h"

#include <string.h>

/* The bytes that stand for themselves. */
static const struct { int from, to; } SELF[] = {{0x21, 0x7E}, {0xA1, 0xAC}, {0xAE, 0xFF}};
enum { N_SELF = sizeof SELF / sizeof *SELF, FIRST = 0x100, N_OTHER = 68 };

size_t hy__bytemap_name(unsigned char byte, char out[3]) {
    int code = FIRST + byte; /* less the printable bytes below it */
    for (size_t i = 0; i < N_SELF; i++) {
        if (byte > SELF[i].to) code -= SELF[i].to - SELF[i].from + 1;
        if (byte >= SELF[i].from && byte <= SELF[i].to) {
            code = byte;
            break;
        }
    }
    const size_t n = code < 0x80 ? 1 : 2;
    out[0] = (char)(n == 1 ? code : 0xC0 | code >> 6);
    if (n == 2) out[1] = (char)(0x80 | (code & 0x3F));
    out[n] = '\0';
    return n;
}

/* The byte of a character, or -1. */
static int byte_of(int code) {
    for (size_t i = 0; i < N_SELF; i++)
        if (code >= SELF[i].from && code <= SELF[i].to) return code;
    if (code < FIRST || code >= FIRST + N_OTHER) return -1;
    int byte = code - FIRST;
    for (size_t i = 0; i < N_SELF; i++)
        if (byte >= SELF[i].from) byte += SELF[i].to - SELF[i].from + 1;
    return byte;
}

size_t hy__bytemap_bytes(const char *name, char *out, bool *mapped) {
    size_t n = 0;
    if (mapped) *mapped = true;
    for (const unsigned char *p = (const unsigned char *)name; *p;) {
        const bool two = (p[0] & 0xE0) == 0xC0 && (p[1] & 0xC0) == 0x80;
        const int code = two ? (p[0] & 0x1F) << 6 | (p[1] & 0x3F) : p[0] < 0x80 ? p[0] : -1;
        const int byte = byte_of(code);
        if (byte < 0) {
            if (mapped) *mapped = false;
            n = strlen(name);
            memcpy(out, name, n);
            return n;
        }
        out[n++] = (char)byte;
        p += two ? 2 : 1;
    }
    return n;
}
