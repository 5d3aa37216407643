/* verdict.c: whether goals are met, in words and as JSON, of every experiment; see lab.h. */
#include "lab/lab.h"
#include "page/page.h"

#include <jansson.h>

enum { DIGITS = 4 };

json_t *hy__verdicts_json(const hy__verdict *v, int n) {
    json_t *all = json_array();
    for (int i = 0; i < n; i++) {
        json_t *one = json_pack("{s:s, s:o, s:o, s:o}", "goal", v[i].goal, "got",
                                hy__lab_number(v[i].got), "wanted", hy__lab_number(v[i].wanted),
                                "met", v[i].unknown ? json_null() : json_boolean(v[i].met));
        if (v[i].at) json_object_set_new(one, "at", json_string(v[i].at));
        if (v[i].unknown) json_object_set_new(one, "unknown", json_string(v[i].unknown));
        json_array_append_new(all, one);
    }
    return all;
}

static hy__number show(double x) {
    return isfinite(x) ? hy__number_digits(HY__UNIT_PLAIN, x, DIGITS) : (hy__number){"–"};
}

static void put_wanted(hy__page *p, const hy__verdict *v) {
    const hy__number n = show(v->wanted);
    switch (v->kind) {
    case HY__AT_LEAST:
        hy__page_cell(p, "at least %s", n.text);
        break;
    case HY__AT_MOST:
        hy__page_cell(p, "at most %s", n.text);
        break;
    case HY__ABOUT_0:
        hy__page_cell(p, "at most %s from 0", n.text);
        break;
    case HY__AHEAD:
        hy__page_cell(p, "better than %s", n.text);
        break;
    case HY__WITHIN:
        hy__page_cell(p, "worse than \"%s\" by at most %s", v->beside, n.text);
        break;
    case HY__HOLDS:
        hy__page_cell(p, "worse than at %s by at most %s", v->beside, n.text);
        break;
    case HY__EACH:
        hy__page_cell(p, "better than \"%s\" by more than %s in each seed", v->beside, n.text);
        break;
    case HY__ONWARD:
        hy__page_cell(p, "worse than the one before by at most %s", n.text);
        break;
    case HY__TIMES:
        hy__page_cell(p, "at most %s times \"%s\"", n.text, v->beside);
        break;
    }
}

void hy__verdicts_put(hy__page *p, const hy__verdict *v, int n) {
    hy__page_heading(p, 2, "Verdict");
    hy__page_table(p, (const hy__column[]){{"goal", 0}, {"", 0}, {"wanted", 0}, {"got", 1}}, 4);
    hy__page_wrap(p, 0);
    hy__page_wrap(p, 2);
    for (int i = 0; i < n; i++) {
        if (v[i].unknown)
            hy__page_cell(p, "%s (%s)", v[i].goal, v[i].unknown);
        else if (v[i].at)
            hy__page_cell(p, "%s (worst at %s)", v[i].goal, v[i].at);
        else
            hy__page_cell(p, "%s", v[i].goal);
        hy__page_cell(p, "%s", v[i].unknown ? "not known" : v[i].met ? "met" : "missed");
        put_wanted(p, &v[i]);
        hy__page_cell(p, "%s", show(v[i].got).text);
    }
    hy__page_table_end(p);
}
