/* utf8.c: see utf8.h. */
#include "base/utf8.h"

size_t hy__utf8_sequence(const unsigned char *text, size_t size) {
    const unsigned char a = text[0];
    if (a < 0x80) return 1;
    if (a < 0xC2 || a > 0xF4) return 0; /* continuation, overlong, beyond U+10FFFF */
    const size_t n = a < 0xE0 ? 2 : a < 0xF0 ? 3 : 4;
    if (size < n) return 0;
    /* The second byte's range excludes overlong forms, surrogates and what is beyond U+10FFFF. */
    const unsigned char low = a == 0xE0 ? 0xA0 : a == 0xF0 ? 0x90 : 0x80;
    const unsigned char high = a == 0xED ? 0x9F : a == 0xF4 ? 0x8F : 0xBF;
    if (text[1] < low || text[1] > high) return 0;
    for (size_t i = 2; i < n; i++)
        if ((text[i] & 0xC0) != 0x80) return 0;
    return n;
}

size_t hy__utf8_invalid(const unsigned char *text, size_t size) {
    size_t invalid = 0;
    for (size_t i = 0; i < size;) {
        const size_t n = hy__utf8_sequence(text + i, size - i);
        invalid += n == 0;
        i += n ? n : 1;
    }
    return invalid;
}
