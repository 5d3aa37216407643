/* report.c: the runs of a report. */
#include "report/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Runs whose folders are called alike go by their paths. */
static void tell_apart(hy__report *r) {
    for (int i = 0; i < r->n; i++) {
        bool alike = false;
        for (int j = 0; j < r->n; j++)
            alike = alike || (j != i && strcmp(r->run[i].name, r->run[j].name) == 0);
        r->run[i].title = alike ? r->run[i].path : r->run[i].name;
    }
}

static hy_status read_all(hy__report *r, const char *const *path, int64_t n, hy_error *err) {
    for (int64_t i = 0; i < n; i++) {
        HY_TRY(hy__run_read(&r->run[i], path[i], err));
        r->n++;
        if (isfinite(hy__run_at(&r->run[i], r->over, 1))) continue;
        return hy__fail(err, HY_E_INVALID,
                        "%s does not say its %s, so that nothing can be drawn over them", path[i],
                        r->over == HY__OVER_TOKENS ? "tokens" : "seconds");
    }
    return HY_OK;
}

hy_status hy__report_read(hy__report *r, const char *const *path, int64_t n, hy__over over,
                          hy_error *err) {
    memset(r, 0, sizeof *r);
    r->over = over;
    if (n > HY__REPORT_RUNS) {
        return hy__fail(err, HY_E_INVALID, "there are %lld runs, wanted at most %d of one report",
                        (long long)n, HY__REPORT_RUNS);
    }
    const hy_status status = read_all(r, path, n, err);
    if (status == HY_OK)
        tell_apart(r);
    else
        hy__report_release(r);
    return status;
}

void hy__report_release(hy__report *r) {
    for (int i = 0; i < r->n; i++) hy__run_release(&r->run[i]);
    r->n = 0;
}
