/* pattern.h: where a text is cut into words: one regular expression as Hugging Face tokenizers
 * write it, matched by PCRE2.
 *
 * The reference matches with Oniguruma in its Ruby syntax. What the two read differently is
 * rewritten (\s, \w, \d, \p{L}: PCRE2's own sets differ in some characters) or refused (class
 * intersections, nested classes, \h, {2}+ and the like). */
#ifndef HY_TEXT_PATTERN_H
#define HY_TEXT_PATTERN_H

#include "base/status.h"

/* The expressions that have a name; both lists end with NULL. */
enum { HY__PATTERN_GPT2 = 0, HY__PATTERN_LLAMA3 = 1 };
extern const char *const hy__pattern_name[], *const hy__pattern_text[];

/* A compiled expression; it does not change and may serve many threads. */
typedef struct hy__pattern hy__pattern;

/* literal: `text` is matched as it stands. HY_E_INVALID or HY_E_UNSUPPORTED with the place. */
hy_status hy__pattern_new(hy__pattern **out, const char *text, bool literal, hy_error *err);
void hy__pattern_free(hy__pattern *p);

/* What one thread needs to match. */
typedef struct hy__matcher hy__matcher;
hy_status hy__matcher_new(hy__matcher **out, hy_error *err);
void hy__matcher_free(hy__matcher *m);

typedef enum hy__found { HY__FOUND, HY__FOUND_NONE, HY__FOUND_MORE } hy__found;

/* The first match in text[at … size), well-formed UTF-8, of which text[0 … at) may be looked back
 * at: text[*begin … *end). `more`: text will follow; then HY__FOUND_MORE says that it decides.
 * HY_E_INVALID when the expression takes too long on this text. */
hy_status hy__pattern_find(const hy__pattern *p, hy__matcher *m, const char *text, size_t size,
                           size_t at, bool more, hy__found *found, size_t *begin, size_t *end,
                           hy_error *err);

/* Bytes before a place that a match there may look at. */
size_t hy__pattern_behind(const hy__pattern *p);

#endif
