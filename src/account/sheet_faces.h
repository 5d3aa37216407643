/* sheet_faces.h: the faces of a sheet, and the words and small sums that they share. */
#ifndef HY_ACCOUNT_SHEET_FACES_H
#define HY_ACCOUNT_SHEET_FACES_H

#include "account/sheet.h"
#include "page/number.h"

void hy__sheet_text(hy__text *t, const hy__sheet *s); /* for a terminal */
/* A page with charts, as a file. */
hy_status hy__sheet_html(const hy__sheet *s, const char *path, hy_error *err);
void hy__sheet_markdown(hy__text *t, const hy__sheet *s); /* a chapter of docs/accounting.md */
/* What stands before its chapters: what is counted, every formula, the hardware. */
hy_status hy__derivation_markdown(hy__text *t, hy_error *err);
struct json_t;                                     /* jansson's */
struct json_t *hy__sheet_json(const hy__sheet *s); /* the caller's; NULL when memory is short */

/* "S state space", "embedding and head". */
void hy__part_title(const hy__account_part *p, char *out, size_t size);

/* "token", "pair in a chunk", … */
const char *hy__extent_name(hy__extent per);

/* A measure in the faces: its key in JSON, its name, its unit. */
typedef struct hy__measure_face {
    const char *key, *name;
    hy__unit unit;
} hy__measure_face;
hy__measure_face hy__measure_face_of(hy__measure m);

/* What a call spends, for each of its tokens: FLOPs, or those that grow so. */
double hy__flops_each(const hy__sheet_length *l, int64_t part, bool decode);
double hy__growth_each(const hy__sheet_length *l, int64_t part, bool decode, hy__growth g);

/* The kinds of memory, the total last. */
enum { HY__MEMORY_KINDS = 7 };
typedef struct hy__memory_part {
    const char *name;
    double bytes;
} hy__memory_part;
hy__memory_part hy__memory_kind(const hy__memory *m, int kind);

/* How a sequence's state grows: until so many tokens, 0 = for ever. */
typedef struct hy__sheet_growth {
    double fixed, per_token; /* bytes */
    int64_t until;
} hy__sheet_growth;
hy__sheet_growth hy__sheet_growth_of(const hy__sheet *s);

/* Where it needs less than a rival: "from 3210 tokens", "always", "never". */
hy__number hy__sheet_crossing(int64_t cross);

#endif
