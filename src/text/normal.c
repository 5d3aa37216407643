/* normal.c: see normal.h. */
#include "text/normal.h"

#include "base/utf8.h"

#include <utf8proc.h>

/* Marks that are younger than the reference's table (Unicode 9): it lets them stand where they are.
 * All others where it differs from utf8proc 2.8 were looked for and there are none. */
static const struct {
    utf8proc_int32_t from, to;
} YOUNG[] = {{0x7FD, 0x7FD},     {0x898, 0x89F},     {0x8CA, 0x8D3},     {0x9FE, 0x9FE},
             {0xC3C, 0xC3C},     {0xD3B, 0xD3C},     {0xEBA, 0xEBA},     {0x1715, 0x1715},
             {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},   {0xA82C, 0xA82C},   {0x10D24, 0x10D27},
             {0x10EAB, 0x10EAC}, {0x10EFD, 0x10EFF}, {0x10F46, 0x10F50}, {0x10F82, 0x10F85},
             {0x11070, 0x11070}, {0x1133B, 0x1133B}, {0x1145E, 0x1145E}, {0x11839, 0x1183A},
             {0x11930, 0x11930}, {0x1193D, 0x1193E}, {0x11943, 0x11943}, {0x119E0, 0x119E0},
             {0x11A34, 0x11A34}, {0x11A47, 0x11A47}, {0x11A99, 0x11A99}, {0x11D42, 0x11D42},
             {0x11D44, 0x11D45}, {0x11D97, 0x11D97}, {0x11F41, 0x11F42}, {0x16FF0, 0x16FF1},
             {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF},
             {0x1E4EC, 0x1E4EF}};

static bool is_young(utf8proc_int32_t code) {
    for (size_t i = 0; i < sizeof YOUNG / sizeof *YOUNG && code >= YOUNG[i].from; i++)
        if (code <= YOUNG[i].to) return true;
    return false;
}

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
        utf8proc_int32_t code = -1;
        const size_t size = hy__utf8_sequence((const unsigned char *)text + at, n - at);
        if (size > 1)
            utf8proc_iterate((const utf8proc_uint8_t *)text + at, (utf8proc_ssize_t)size, &code);
        ascii = ascii && size == 1;
        if (size > 0 && !is_young(code)) {
            at += size;
            continue;
        }
        const size_t apart = size > 0 ? size : 1; /* a stray byte or a young mark stays apart */
        HY_TRY(add_characters(out, text + begin, at - begin, err));
        HY_TRY(hy__buffer_add(out, text + at, apart, err));
        begin = at += apart;
    }
    return ascii ? hy__buffer_add(out, text + begin, n - begin, err)
                 : add_characters(out, text + begin, n - begin, err);
}
