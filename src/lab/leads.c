/* leads.c: the losses of arms beside the first one's, seed by seed, of an experiment's page; see
 * lab.h.
 *
 * Arms differ by less than seeds do, which read other text; two arms with the same seed read the
 * same, where their windows and chunks are alike. */
#include "base/file.h"
#include "lab/lab.h"
#include "page/page.h"

#include <stdlib.h>

static void put_table(hy__page *p, const hy__results *r, const int *probe, int n) {
    hy__column column[HY__LAB_PROBES + 1] = {{"arm", 0}};
    for (int i = 0; i < n; i++) column[1 + i] = (hy__column){r->scale->probe[probe[i]].name, true};
    hy__page_table(p, column, n + 1);
    for (int a = 1; a < r->n_arm; a++) {
        hy__page_cell(p, "%s", r->scale->arm[a].name);
        for (int i = 0; i < n; i++) {
            const hy__seeds d = hy__results_beside(r, a, 0, probe[i]);
            if (!isfinite(d.mean))
                hy__page_cell(p, "–");
            else if (r->n_seed > 1)
                hy__page_cell(p, "%+.3f (%+.3f to %+.3f)", d.mean, d.low, d.high);
            else
                hy__page_cell(p, "%+.3f", d.mean);
        }
    }
    hy__page_table_end(p);
    hy__page_note(p,
                  "The arm's loss minus that of \"%s\" with the same seed, which reads the same "
                  "text where windows and chunks are alike: above 0 the arm is worse. Mean over "
                  "the seeds, least and greatest.",
                  r->scale->arm[0].name);
}

/* A bar for each arm, of one probe. */
static hy_status put_figure(hy__page *p, const hy__results *r, int probe, const char *out,
                            hy_error *err) {
    double mean[HY__LAB_ARMS], low[HY__LAB_ARMS], high[HY__LAB_ARMS];
    const char *name[HY__LAB_ARMS];
    const int n = r->n_arm - 1;
    for (int i = 0; i < n; i++) {
        const hy__seeds d = hy__results_beside(r, i + 1, 0, probe);
        name[i] = r->scale->arm[i + 1].name;
        mean[i] = d.mean;
        low[i] = d.low;
        high[i] = d.high;
    }
    const hy__series series = {.name = r->scale->probe[probe].name,
                               .y = mean,
                               .lo = r->n_seed > 1 ? low : NULL,
                               .hi = r->n_seed > 1 ? high : NULL,
                               .n = n};
    const hy__chart chart = {.kind = HY__CHART_GROUPED_BARS,
                             .title = "Loss beside the first arm",
                             .y = {.label = "nats per token more"},
                             .series = &series,
                             .n_series = 1,
                             .category = name,
                             .n_category = n};
    hy__page_figure(p, &chart, NULL);
    return hy__chart_save(&chart, out, "beside.svg", err);
}

hy_status hy__results_leads(hy__page *p, const hy__results *r, const char *out, hy_error *err) {
    int probe[HY__LAB_PROBES], n = 0;
    for (int i = 0; i < r->n_probe; i++)
        if (r->scale->probe[i].metric == HY__LOSS) probe[n++] = i;
    if (n == 0 || r->n_arm < 2 || r->scale->text == 0) return HY_OK;
    hy__page_heading(p, 2, "Loss beside the first arm");
    if (n == 1) HY_TRY(put_figure(p, r, probe[0], out, err));
    put_table(p, r, probe, n);
    return HY_OK;
}
