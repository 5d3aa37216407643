/* normal.c: see normal.h. */
#include "text/normal.h"

#include "base/utf8.h"

#include <utf8proc.h>

/* Characters before which nothing is composed nor reordered: those below U+0300, and the ideographs
 * from U+4000 to U+9FFF. */
static bool begins_anew(unsigned char lead) {
    return lead < 0x80 || (lead >= 0xC2 && lead <= 0xCB) || (lead >= 0xE4 && lead <= 0xE9);
}

size_t hy__normal_sure(const char *text, size_t n) {
    while (n > 0 && !begins_anew((unsigned char)text[n - 1])) n--;
    return n > 0 ? n - 1 : 0;
}

/* Of well-formed characters. */
static hy_status add_characters(hy__buffer *out, const char *text, size_t n, hy_error *err) {
    utf8proc_uint8_t *made = NULL;
    if (n == 0) return HY_OK;
    const utf8proc_ssize_t size = utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n,
                                               &made, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    if (size < 0)
        return hy__fail(err, HY_E_MEMORY, "the text cannot be normalized: %s",
                        utf8proc_errmsg(size));
    const hy_status status = hy__buffer_add(out, made, (size_t)size, err);
    free(made);
    return status;
}

hy_status hy__normal_add(hy__buffer *out, const char *text, size_t n, hy_error *err) {
    size_t begin = 0, at = 0;
    bool ascii = true;
    while (at < n) {
        const size_t size = hy__utf8_sequence((const unsigned char *)text + at, n - at);
        ascii = ascii && size == 1;
        at += size;
        if (size > 0) continue;
        HY_TRY(add_characters(out, text + begin, at - begin, err));
        HY_TRY(hy__buffer_add(out, text + at, 1, err));
        begin = ++at;
    }
    return ascii ? hy__buffer_add(out, text + begin, n - begin, err)
                 : add_characters(out, text + begin, n - begin, err);
}
