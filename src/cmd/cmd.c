/* cmd.c: see cmd.h. */
#include "cmd/cmd.h"

#include "account/hardware.h"
#include "base/status.h"
#include "base/utf8.h"
#include "ckpt/fileset.h"
#include "ckpt/training_dir.h"
#include "config/config.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

hy_model_options cmd_model_options(const cmd_shared *s) {
    return (hy_model_options){.backend = s->backend, .threads = (int)s->threads};
}

/* stdout is only known to be written when it has been flushed. */
static hy_status check_stdout(hy_error *err) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return HY_OK;
    return hy__fail(err, HY_E_IO, "stdout could not be written: %s", strerror(errno));
}

int cmd_close_stdout(void) {
    hy_error err = {0};
    if (check_stdout(&err) == HY_OK) return 0;
    fprintf(stderr, "hydralm: %s\n", err.text);
    return 1;
}

bool cmd_begin(const command *c, int argc, char **argv, const char **operand, int *exit_status) {
    hy_error err = {0};
    switch (options_parse(c, argc, argv, operand, &err)) {
    case PARSE_RUN:
        return true;
    case PARSE_HELP:
        options_help(c, stdout);
        *exit_status = cmd_end(c, HY_OK, &err);
        return false;
    case PARSE_WRONG:
        break;
    }
    *exit_status = cmd_wrong(c, &err);
    return false;
}

int cmd_wrong(const command *c, const hy_error *err) {
    options_release(c);
    fprintf(stderr, "hydralm: %s\n", err->text);
    return 2;
}

int cmd_end(const command *c, hy_status status, const hy_error *err) {
    hy_error closing = {0};
    options_release(c);
    if (status == HY_OK) {
        status = check_stdout(&closing);
        err = &closing;
    }
    if (status == HY_OK) return 0;
    fprintf(stderr, "hydralm %s: %s\n", c->name, err->text);
    return 1;
}

static volatile sig_atomic_t signals; /* that came: the one thing a handler can tell */

static void on_signal(int number) {
    if (signals++ > 0) _exit(128 + number);
}

void cmd_catch_signals(void) {
    struct sigaction action, before;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, NULL, &before);
    if (before.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, NULL);
}

bool cmd_stopped(void) {
    return signals > 0;
}

hy_status cmd_check_setting(const char *setting, hy_error *err) {
    hy__config c;
    hy__train_config t;
    hy__config_default(&c, &t);
    return hy__config_assign(&c, &t, setting, err);
}

hy_status cmd_check_hardware(const char *name, hy_error *err) {
    hy__hardware h;
    return hy__hardware_find(&h, name, err);
}

hy_status cmd_refuse_model(const char *dir, bool force, hy_error *err) {
    char *path = NULL;
    HY_TRY(hy__training_refuse(dir, err));
    if (force) return HY_OK;
    HY_TRY(hy__fileset_find(&path, dir, "config.json", err));
    const bool found = path != NULL;
    free(path);
    if (!found) return HY_OK;
    return hy__fail(err, HY_E_INVALID,
                    "%s already holds a model; choose another directory, or --force to replace it",
                    dir);
}

hy_status cmd_write(const char *text, size_t size, hy_error *err) {
    fwrite(text, 1, size, stdout);
    return check_stdout(err);
}

json_t *cmd_json_path(const char *path) {
    char *text = strdup(path);
    if (!text) return NULL;
    hy__utf8_mend(text);
    json_t *json = json_string(text);
    free(text);
    return json;
}

hy_status cmd_print_json(json_t *json, hy_error *err) {
    char *text = json ? json_dumps(json, JSON_REAL_PRECISION(12) | JSON_COMPACT) : NULL;
    json_decref(json);
    if (!text) return hy__fail(err, HY_E_INTERNAL, "the result could not be written as JSON");
    printf("%s\n", text);
    free(text);
    return check_stdout(err);
}
