/* utf8.c: see utf8.h. */
#include "base/utf8.h"

#include <stdint.h>
#include <string.h>

size_t hy__utf8_length(unsigned char lead) {
    if (lead < 0x80) return 1;
    if (lead < 0xC2 || lead > 0xF4) return 0; /* continuation, overlong, beyond U+10FFFF */
    return lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

bool hy__utf8_continues(unsigned char lead, size_t i, unsigned char byte) {
    unsigned char least = 0x80, most = 0xBF;
    if (i == 1) { /* no overlong forms, no surrogates, nothing beyond U+10FFFF */
        if (lead == 0xE0) least = 0xA0;
        if (lead == 0xED) most = 0x9F;
        if (lead == 0xF0) least = 0x90;
        if (lead == 0xF4) most = 0x8F;
    }
    return byte >= least && byte <= most;
}

size_t hy__utf8_sequence(const unsigned char *text, size_t size) {
    const size_t n = hy__utf8_length(text[0]);
    if (size < n) return 0;
    for (size_t i = 1; i < n; i++)
        if (!hy__utf8_continues(text[0], i, text[i])) return 0;
    return n;
}

bool hy__utf8_unfinished(const unsigned char *text, size_t size) {
    if (size == 0) return true;
    if (size >= hy__utf8_length(text[0])) return false;
    for (size_t i = 1; i < size; i++)
        if (!hy__utf8_continues(text[0], i, text[i])) return false;
    return true;
}

size_t hy__utf8_cut(const char *text, size_t size) {
    for (size_t back = 1; back <= 3 && back <= size; back++) {
        const size_t n = hy__utf8_length((unsigned char)text[size - back]);
        if (n > 1) return n > back ? size - back : size;
        if (n == 1) break;
    }
    return size;
}

size_t hy__utf8_invalid(const unsigned char *text, size_t size) {
    size_t invalid = 0;
    for (size_t i = 0; i < size;) {
        uint64_t word; /* eight bytes of ASCII at a time: most text */
        while (size - i >= sizeof word &&
               (memcpy(&word, text + i, sizeof word), !(word & UINT64_C(0x8080808080808080))))
            i += sizeof word;
        if (i == size) break;
        const size_t n = hy__utf8_sequence(text + i, size - i);
        invalid += n == 0;
        i += n ? n : 1;
    }
    return invalid;
}

void hy__utf8_mend(char *text) {
    for (size_t left = strlen(text); left > 0;) {
        const size_t n = hy__utf8_sequence((const unsigned char *)text, left);
        const unsigned char c = (unsigned char)*text;
        if (n == 0 || c < 0x20 || c == 0x7f) *text = '?';
        text += n > 0 ? n : 1;
        left -= n > 0 ? n : 1;
    }
}
