/* splitter.c: see splitter.h. */
#include "text/splitter.h"

#include "base/utf8.h"
#include "text/normal.h"

enum { PIECE = 1 << 16 /* bytes that go through at a time: small pieces are gathered */ };

struct hy__splitter {
    const hy__rules *rules;
    hy__splitter_sink sink;
    hy__added_cut cut[2];
    hy__buffer gathered;    /* of pieces too small to begin with */
    hy__buffer raw, normal; /* text that waits to be normalized, and that has been */

    /* text between added tokens on its way to words */
    hy__matcher *matcher;
    hy__buffer text;
    size_t from;   /* where the next word begins */
    size_t search; /* where the first expression may match next */
    size_t enough; /* it is asked again when so many bytes stand behind `from` */
    size_t known;  /* up to here it is known what is well-formed */
    bool stray;    /* from `from` on are bytes that are no characters */
    bool begun;
};

void hy__rules_release(hy__rules *r) {
    hy__added_free(r->added[0]);
    hy__added_free(r->added[1]);
    for (int i = 0; i < r->n_stage; i++) hy__pattern_free(r->stage[i].pattern);
    *r = (hy__rules){0};
}

/* ---- words ---- */

/* A whole stretch goes through stage k and those behind it. */
static hy_status emit(hy__splitter *s, int k, const char *text, size_t n, hy_error *err) {
    if (k == s->rules->n_stage) return s->sink.word(s->sink.user, text, n, err);
    const hy__stage *stage = &s->rules->stage[k];
    for (size_t at = 0; at < n;) {
        size_t begin = n, end = n;
        hy__found found;
        HY_TRY(hy__pattern_find(stage->pattern, s->matcher, text, n, at, false, &found, &begin,
                                &end, err));
        if (begin > at && !stage->drop) HY_TRY(emit(s, k + 1, text + at, begin - at, err));
        if (end > begin) HY_TRY(emit(s, k + 1, text + begin, end - begin, err));
        at = end;
    }
    return HY_OK;
}

/* Cuts text[from … known). `more`: it goes on behind, so that the words at its end may wait. */
static hy_status cut(hy__splitter *s, bool more, hy_error *err) {
    const hy__rules *r = s->rules;
    if (s->from == s->known || (more && s->known - s->from < s->enough)) return HY_OK;
    if (r->n_stage == 0) {
        if (more) return HY_OK;
        HY_TRY(emit(s, 0, s->text.data + s->from, s->known - s->from, err));
        s->from = s->known;
        return HY_OK;
    }
    while (s->from < s->known) {
        size_t begin = s->known, end = s->known;
        hy__found found;
        HY_TRY(hy__pattern_find(r->stage[0].pattern, s->matcher, s->text.data, s->known, s->search,
                                more, &found, &begin, &end, err));
        if (more && found != HY__FOUND) {
            if (found == HY__FOUND_NONE) s->search = s->known;
            s->enough = 2 * (s->known - s->from);
            return HY_OK;
        }
        if (begin > s->from && !r->stage[0].drop)
            HY_TRY(emit(s, 1, s->text.data + s->from, begin - s->from, err));
        if (end > begin) HY_TRY(emit(s, 1, s->text.data + begin, end - begin, err));
        s->from = s->search = end;
        s->enough = 0;
    }
    return HY_OK;
}

/* Moves `known` over characters, or over strays; false when it came to the end of what is there,
 * true when the other kind begins. */
static bool scan(hy__splitter *s, bool last) {
    const unsigned char *p = (const unsigned char *)s->text.data;
    const size_t size = s->text.size;
    while (s->known < size) {
        uint64_t eight;
        if (!s->stray && size - s->known >= 8) {
            memcpy(&eight, p + s->known, 8);
            if (!(eight & 0x8080808080808080u)) {
                s->known += 8;
                continue;
            }
        }
        const size_t n = hy__utf8_sequence(p + s->known, size - s->known);
        if (n == 0 && !last && hy__utf8_unfinished(p + s->known, size - s->known)) return false;
        if ((n == 0) != s->stray) return true;
        s->known += n ? n : 1;
    }
    return false;
}

static void forget_text(hy__splitter *s) {
    s->text.size = s->from = s->search = s->known = s->enough = 0;
    s->stray = s->begun = false;
}

/* Lets go of what has become words, but for what expressions look back at. */
static void compact(hy__splitter *s) {
    size_t drop = s->from;
    const size_t behind = s->rules->n_stage ? hy__pattern_behind(s->rules->stage[0].pattern) : 0;
    drop = drop > behind ? drop - behind : 0;
    while (drop > 0 && drop < s->text.size && (s->text.data[drop] & 0xC0) == 0x80) drop--;
    hy__buffer_drop(&s->text, drop);
    s->from -= drop;
    s->search -= drop;
    s->known -= drop;
}

/* Text without added tokens arrives; `last`: an added token or the text's end follows. */
static hy_status take_text(void *user, const char *text, size_t n, bool last, hy_error *err) {
    hy__splitter *s = user;
    if (!s->begun && n > 0) {
        s->begun = true;
        if (s->rules->prefix_space && text[0] != ' ') HY_TRY(hy__buffer_add(&s->text, " ", 1, err));
    }
    HY_TRY(hy__buffer_add(&s->text, text, n, err));
    for (bool turns = true; turns;) {
        turns = scan(s, last);
        const bool over = turns || last;
        if (!s->stray) {
            HY_TRY(cut(s, !over, err));
        } else if (over && s->known > s->from) {
            HY_TRY(s->sink.word(s->sink.user, s->text.data + s->from, s->known - s->from, err));
            s->from = s->known;
        }
        if (!turns) break;
        s->stray = !s->stray;
        hy__buffer_drop(&s->text, s->from); /* nothing is looked back at across the turn */
        s->from = s->search = s->known = s->enough = 0;
    }
    if (last)
        forget_text(s);
    else
        compact(s);
    return HY_OK;
}

/* ---- the way ---- */

static hy_status take_token(void *user, int32_t id, hy_error *err) {
    hy__splitter *s = user;
    return s->sink.token(s->sink.user, id, err);
}

static hy_status take_unnormalized(void *user, const char *text, size_t n, bool last,
                                   hy_error *err) {
    hy__splitter *s = user;
    if (!s->rules->nfc) return hy__added_feed(&s->cut[1], text, n, last, err);
    HY_TRY(hy__buffer_add(&s->raw, text, n, err));
    const size_t sure = last ? s->raw.size : hy__normal_sure(s->raw.data, s->raw.size);
    s->normal.size = 0;
    HY_TRY(hy__normal_add(&s->normal, s->raw.data, sure, err));
    hy__buffer_drop(&s->raw, sure);
    return hy__added_feed(&s->cut[1], s->normal.data, s->normal.size, last, err);
}

hy_status hy__splitter_new(hy__splitter **out, const hy__rules *rules,
                           const hy__splitter_sink *sink, hy_error *err) {
    hy__splitter *s = calloc(1, sizeof *s);
    *out = NULL;
    if (!s) return hy__no_memory(err, "an encoder");
    s->rules = rules;
    s->sink = *sink;
    s->cut[0] =
        (hy__added_cut){.added = rules->added[0], .sink = {take_unnormalized, take_token, s}};
    s->cut[1] = (hy__added_cut){.added = rules->added[1], .sink = {take_text, take_token, s}};
    const hy_status status = hy__matcher_new(&s->matcher, err);
    if (status == HY_OK)
        *out = s;
    else
        hy__splitter_free(s);
    return status;
}

void hy__splitter_free(hy__splitter *s) {
    if (!s) return;
    for (int i = 0; i < 2; i++) free(s->cut[i].buffer.data);
    free(s->gathered.data);
    free(s->raw.data);
    free(s->normal.data);
    free(s->text.data);
    hy__matcher_free(s->matcher);
    free(s);
}

static void reset(hy__splitter *s) {
    s->gathered.size = s->raw.size = 0;
    hy__added_reset(&s->cut[0]);
    hy__added_reset(&s->cut[1]);
    forget_text(s);
}

static hy_status feed(hy__splitter *s, const char *text, size_t n, bool last, hy_error *err) {
    if (s->gathered.size > 0 || (n < PIECE && !last)) {
        const size_t room = PIECE - s->gathered.size, taken = n < room ? n : room;
        HY_TRY(hy__buffer_add(&s->gathered, text, taken, err));
        text += taken;
        n -= taken;
        if (s->gathered.size < PIECE && !last) return HY_OK;
        HY_TRY(hy__added_feed(&s->cut[0], s->gathered.data, s->gathered.size, last && n == 0, err));
        s->gathered.size = 0;
        if (n == 0) return HY_OK;
    }
    while (n > PIECE) {
        HY_TRY(hy__added_feed(&s->cut[0], text, PIECE, false, err));
        text += PIECE;
        n -= PIECE;
    }
    if (n < PIECE && !last) return hy__buffer_add(&s->gathered, text, n, err);
    return hy__added_feed(&s->cut[0], text, n, last, err);
}

hy_status hy__splitter_feed(hy__splitter *s, const char *text, size_t n, bool last, hy_error *err) {
    const hy_status status = feed(s, text, n, last, err);
    if (status != HY_OK || last) reset(s);
    return status;
}
