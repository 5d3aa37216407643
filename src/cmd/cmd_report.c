/* cmd_report.c: hydralm report: trainings as one page, to be read in a browser. */
#include "cmd/cmd.h"

#include "base/status.h"
#include "base/words.h"
#include "report/report.h"

#include <stdlib.h>
#include <string.h>

typedef struct report_options {
    text_list run;
    const char *out, *over;
    bool json, quiet;
} report_options;

static const char *const OVER[] = {
    [HY__OVER_STEPS] = "steps", [HY__OVER_TOKENS] = "tokens", [HY__OVER_TIME] = "time", NULL};

static hy_status report(const report_options *o, hy_error *err) {
    const hy__over over = (hy__over)hy__words_place(OVER, o->over);
    hy__report *r = calloc(1, sizeof *r);
    if (!r) return hy__no_memory(err, "a report");
    hy_status status;
    HY_TRY_GOTO(hy__report_read(r, o->run.item, o->run.n, over, err));
    if (o->out) HY_TRY_GOTO(hy__report_html(r, o->out, err));
    if (o->json) HY_TRY_GOTO(cmd_print_json(hy__report_json(r), err));
    if (o->out && !o->quiet) fprintf(stderr, "%s: %d run%s\n", o->out, r->n, r->n == 1 ? "" : "s");
done:
    hy__report_release(r);
    free(r);
    return status;
}

int cmd_report(int argc, char **argv) {
    report_options o = {.over = "steps"};
    const char *operand;
    /* clang-format off */
    option table[] = {
        {.name = "out", .kind = OPTION_PATH, .to = &o.out, .value = "FILE", .required = true, .unless = "json", .doc = "the page to write (HTML)"},
        {.name = "x", .kind = OPTION_TEXT, .to = &o.over, .value = "AXIS", .words = OVER, .doc = "what curves are drawn over"},
        {.name = "json", .kind = OPTION_FLAG, .to = &o.json, .doc = "a summary as one line of JSON on stdout"},
        {.name = "quiet", .letter = 'q', .kind = OPTION_FLAG, .to = &o.quiet, .doc = "nothing on stderr but errors"},
    };
    /* clang-format on */
    const command self = {.name = "report",
                          .operand = "RUN...",
                          .operands = &o.run,
                          .brief = "draw what trainings did, as one page",
                          .detail = "RUN is the directory that train --out writes, or a "
                                    "metrics.jsonl; the training may still go on.\nSeveral runs "
                                    "stand in the same axes.",
                          .option = table,
                          .n_option = sizeof table / sizeof *table};
    hy_error err = {0};
    int exit_status;
    if (!cmd_begin(&self, argc, argv, &operand, &exit_status)) return exit_status;
    return cmd_end(&self, report(&o, &err), &err);
}
