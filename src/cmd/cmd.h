/* cmd.h: what the subcommands share.
 *
 * A subcommand is one function in cmd_NAME.c: it fills a table of options, calls the library and
 * returns the exit status: 0, 1 for a failure, 2 for wrong usage. Data goes to stdout, everything
 * else to stderr. */
#ifndef HY_CMD_CMD_H
#define HY_CMD_CMD_H

#include "backend/backend.h"
#include "cmd/options.h"

int cmd_init(int argc, char **argv);
int cmd_data(int argc, char **argv);
int cmd_train(int argc, char **argv);
int cmd_generate(int argc, char **argv);
int cmd_eval(int argc, char **argv);
int cmd_logits(int argc, char **argv);
int cmd_convert(int argc, char **argv);
int cmd_inspect(int argc, char **argv);
int cmd_plan(int argc, char **argv);
int cmd_tokenizer(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_report(int argc, char **argv);
int cmd_lab(int argc, char **argv);

#define CMD_WHOLE_MAX 1e15 /* of whole numbers, as in the table of a configuration's fields */

/* The options of every command. */
typedef struct cmd_shared {
    const char *backend;
    int64_t threads;
    bool json, quiet, verbose;
} cmd_shared;

/* clang-format off */
#define CMD_SHARED {.backend = "cpu"}

/* Rows of a table for `s`, a cmd_shared: the last ones of every command. */
#define CMD_SHARED_OPTIONS(s)                                                                      \
    {.name = "backend", .kind = OPTION_TEXT, .to = &(s).backend, .value = "NAME",                  \
     .words = hy__backend_known(), .doc = "where to compute"},                                     \
    {.name = "threads", .kind = OPTION_INT, .to = &(s).threads, .value = "N", .max = 4096,         \
     .doc = "threads; 0 = all cores"},                                                             \
    {.name = "json", .kind = OPTION_FLAG, .to = &(s).json,                                         \
     .doc = "the result as one line of JSON on stdout"},                                           \
    {.name = "quiet", .letter = 'q', .kind = OPTION_FLAG, .to = &(s).quiet,                        \
     .doc = "nothing on stderr but errors"},                                                       \
    {.name = "verbose", .letter = 'v', .kind = OPTION_FLAG, .to = &(s).verbose,                    \
     .doc = "say more on stderr"}
/* clang-format on */

hy_model_options cmd_model_options(const cmd_shared *s);

/* Reads the command line. True when the command is to run; otherwise *exit_status is its end: the
 * help has been printed, or what was wrong. */
bool cmd_begin(const command *c, int argc, char **argv, const char **operand, int *exit_status);

/* Ends a command that was called wrongly, as the table alone cannot tell: says how, returns 2. */
int cmd_wrong(const command *c, const hy_error *err);

/* Ends a command: releases its options, checks that stdout took everything, and says on stderr what
 * failed. Returns the exit status. */
int cmd_end(const command *c, hy_status status, const hy_error *err);

/* From now on SIGINT, SIGTERM and SIGHUP, unless that is ignored as under nohup, ask the command to
 * come to its end; a second one ends it at once, with 128 and the signal's number. */
void cmd_catch_signals(void);
bool cmd_stopped(void); /* whether one came */

/* The `check` of --set: whether "section.key=value" sets a field to what it may be. */
hy_status cmd_check_setting(const char *setting, hy_error *err);
/* That of --hardware: whether there is such, or it describes one. */
hy_status cmd_check_hardware(const char *name, hy_error *err);

/* Before the work: HY_E_INVALID when DIR already holds a model, unless `force`, or a training,
 * HY_E_IO when that is running. */
hy_status cmd_refuse_model(const char *dir, bool force, hy_error *err);

/* The exit status of what only prints: 1, said on stderr, when stdout did not take it. */
int cmd_close_stdout(void);

struct json_t; /* jansson's */
/* A path as a JSON string; bytes that are no UTF-8 become '?'. NULL when memory is short. */
struct json_t *cmd_json_path(const char *path);

/* Prints a JSON object, which is consumed, as one line on stdout. */
hy_status cmd_print_json(struct json_t *json, hy_error *err);

/* Writes to stdout; HY_E_IO when it is closed or full. */
hy_status cmd_write(const char *text, size_t size, hy_error *err);

#endif
