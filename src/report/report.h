/* report.h: trainings as one page, or as JSON: what metrics.jsonl has, drawn and summed up.
 *
 *   track   a number over the steps      figure        charts of tracks
 *   run     all tracks of a run          report_html   the page; report_letters, report_experts
 *                                                      its letters
 *                                        report_json   the summary */
#ifndef HY_REPORT_REPORT_H
#define HY_REPORT_REPORT_H

#include "page/page.h"
#include "report/run.h"

enum { HY__REPORT_RUNS = 24 };

typedef struct hy__report {
    hy__run run[HY__REPORT_RUNS];
    int n;
    hy__over over; /* the axis that all figures share */
} hy__report;

/* HY_E_INVALID as hy__run_read, for more than HY__REPORT_RUNS, and where a run does not tell what
 * `over` asks for. */
hy_status hy__report_read(hy__report *r, const char *const *path, int64_t n, hy__over over,
                          hy_error *err);
void hy__report_release(hy__report *r);

/* One self-contained page. HY_E_IO, HY_E_MEMORY. */
hy_status hy__report_html(const hy__report *r, const char *path, hy_error *err);

/* {"runs": […]}, the caller's reference; NULL without memory. docs/format.md. */
struct json_t; /* jansson's */
struct json_t *hy__report_json(const hy__report *r);

/* ---- for the files of this folder ---- */

/* The section of a letter, where a run has it. */
void hy__report_letter(hy__page *p, const hy__report *r, char letter);

/* Of E: figures of all runs, and the maps of the loads. */
void hy__report_experts(hy__page *p, const hy__report *r);
void hy__report_loads(hy__page *p, const hy__report *r);

/* "layer 3" of the k-th layer of a letter. */
typedef struct hy__layer_name {
    char text[32];
} hy__layer_name;
hy__layer_name hy__report_layer(const hy__run *r, char letter, int64_t k);

#endif
