/* verdict.c: which goals are met, and how that is said in words and as JSON; see lab.h. */
#include "lab/lab.h"
#include "page/page.h"

#include <jansson.h>

enum { DIGITS = 4 };

/* ---- whether they are met ---- */

/* A goal, its names looked up. */
typedef struct claim {
    const hy__goal *goal;
    int arm, from, to;
    int beside; /* an arm; of HY__HOLDS a probe */
} claim;

static bool find_claim(claim *c, const hy__lab_scale *s, const hy__goal *g) {
    const char *beside = g->beside ? g->beside : g->kind == HY__HOLDS ? g->at : g->arm;
    *c = (claim){.goal = g,
                 .arm = hy__scale_arm(s, g->arm),
                 .from = hy__scale_probe(s, g->at, g->metric),
                 .to = hy__scale_probe(s, g->to ? g->to : g->at, g->metric),
                 .beside = g->kind == HY__HOLDS ? hy__scale_probe(s, beside, g->metric)
                                                : hy__scale_arm(s, beside)};
    if (c->arm < 0 || c->from < 0 || c->to < c->from || c->beside < 0) return false;
    for (int p = c->from; p <= c->to; p++)
        if (s->probe[p].metric != g->metric) return false;
    return true;
}

/* Of two values of a metric, whether the first is better. */
static bool is_better(hy__metric m, double a, double b) {
    return hy__metric_of[m].less ? a < b : a > b;
}

/* What an arm must be better than to be ahead at a probe: chance, and every seed of a rival.
 * NaN where one of these is not known. */
static double best_other(const hy__results *r, int arm, int probe) {
    const hy__metric m = r->scale->probe[probe].metric;
    double best = hy__metric_of[m].less ? INFINITY : -INFINITY;
    if (is_better(m, r->chance[probe], best)) best = r->chance[probe];
    for (int a = 0; a < r->n_arm; a++) {
        if (a == arm || r->scale->arm[a].kin) continue;
        const hy__seeds *s = &r->value[a][probe];
        const double x = hy__metric_of[m].less ? s->low : s->high;
        if (isnan(x) || is_better(m, x, best)) best = x;
    }
    return best;
}

/* What a goal is about at one of its probes, and what it must be there; `above`: at least that. */
static void weigh(const hy__results *r, const claim *c, int probe, double *got, double *wanted,
                  bool *above) {
    const hy__goal_kind kind = c->goal->kind;
    const hy__seeds *s = &r->value[c->arm][probe];
    const hy__seeds *beside =
        kind == HY__HOLDS ? &r->value[c->arm][c->beside] : &r->value[c->beside][probe];
    const bool less = hy__metric_of[r->scale->probe[probe].metric].less;
    *got = s->mean;
    *wanted = c->goal->wanted;
    *above = kind == HY__AT_LEAST || kind == HY__EACH;
    switch (kind) {
    case HY__AT_LEAST:
    case HY__AT_MOST:
        break;
    case HY__ABOUT_0:
        *got = fabs(s->mean);
        break;
    case HY__AHEAD:
        *got = less ? s->high : s->low;
        *wanted = best_other(r, c->arm, probe);
        *above = !less;
        break;
    case HY__WITHIN:
    case HY__HOLDS:
        *got = less ? s->mean - beside->mean : beside->mean - s->mean;
        break;
    case HY__EACH: {
        const hy__seeds lead = hy__results_beside(r, c->arm, c->beside, probe);
        *got = less ? -lead.high : lead.low;
        break;
    }
    case HY__ONWARD:
        *got = -INFINITY; /* at the first */
        if (probe > c->from) *got = less ? s->mean - s[-1].mean : s[-1].mean - s->mean;
        break;
    case HY__TIMES:
        *got = s->mean / beside->mean;
        break;
    }
}

static void judge(const hy__results *r, const claim *c, hy__verdict *v) {
    const hy__lab_scale *s = r->scale;
    const hy__goal_kind kind = c->goal->kind;
    const bool strictly = kind == HY__AHEAD || kind == HY__EACH;
    double least = INFINITY; /* by how much it is met */
    *v = (hy__verdict){.goal = c->goal->text,
                       .kind = kind,
                       .beside =
                           kind == HY__HOLDS ? s->probe[c->beside].name : s->arm[c->beside].name,
                       .met = true};
    for (int p = c->from; p <= c->to && !v->unknown; p++) {
        double got, wanted;
        bool above;
        weigh(r, c, p, &got, &wanted, &above);
        const double spare = above ? got - wanted : wanted - got;
        if (isnan(spare)) v->unknown = "a training that this is about has no value";
        if (!(strictly ? spare > 0.0 : spare >= 0.0)) v->met = false;
        if (spare >= least) continue;
        least = spare;
        v->got = got;
        v->wanted = wanted;
        if (c->to > c->from) v->at = s->probe[p].name;
    }
}

hy_status hy__verdicts_judge(hy__results *r, hy_error *err) {
    for (const hy__goal *g = r->scale->goal; g && g->text; g++) {
        claim c;
        if (r->n_verdict == HY__LAB_GOALS || !find_claim(&c, r->scale, g))
            return hy__fail(err, HY_E_INTERNAL,
                            "lab %s: the goal \"%s\" is one too many, or names an arm or a probe "
                            "that is not there",
                            r->lab->name, g->text);
        judge(r, &c, &r->verdict[r->n_verdict++]);
    }
    return HY_OK;
}

/* ---- as JSON and in words ---- */

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
