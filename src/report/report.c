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

hy_status hy__report_read(hy__report *r, const char *const *path, int64_t n, hy_error *err) {
    memset(r, 0, sizeof *r);
    if (n > HY__REPORT_RUNS) {
        return hy__fail(err, HY_E_INVALID, "there are %lld runs, wanted at most %d of one report",
                        (long long)n, HY__REPORT_RUNS);
    }
    for (int64_t i = 0; i < n; i++) {
        const hy_status status = hy__run_read(&r->run[i], path[i], err);
        if (status != HY_OK) {
            hy__report_release(r);
            return status;
        }
        r->n++;
    }
    tell_apart(r);
    return HY_OK;
}

void hy__report_release(hy__report *r) {
    for (int i = 0; i < r->n; i++) hy__run_release(&r->run[i]);
    r->n = 0;
}

double hy__run_final(const hy__run *r, const char *track, int64_t i) {
    const hy__track *t = hy__run_track(r, track);
    return t && i < t->n ? hy__track_final(t, i, r->last_step) : (double)NAN;
}
