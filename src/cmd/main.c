/* main.c: hydralm COMMAND …: finds the subcommand. */
#include "base/nearest.h"
#include "cmd/cmd.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *brief;
} COMMANDS[] = {
    {"init", cmd_init, "make a new model of a configuration"},
    {"train", cmd_train, "train a model on text"},
    {"generate", cmd_generate, "write on after a prompt"},
    {"eval", cmd_eval, "measure a model's loss on a text"},
    {"logits", cmd_logits, "compute the logits of given tokens"},
    {"convert", cmd_convert, "exchange models with Hugging Face Mamba-2 directories"},
    {"inspect", cmd_inspect, "show what a model is made of"},
    {"plan", cmd_plan, "tell what a configuration costs, before it is built"},
    {"bench", cmd_bench, "measure how fast a model trains, reads and writes"},
};
enum { N_COMMAND = sizeof COMMANDS / sizeof *COMMANDS };

/* stdout is only known to be written when it has been flushed. */
static int close_stdout(void) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return 0;
    fprintf(stderr, "hydralm: stdout could not be written: %s\n", strerror(errno));
    return 1;
}

static void print_help(FILE *to) {
    fprintf(to, "Usage: hydralm COMMAND [options]\n\nCommands:\n");
    for (int i = 0; i < N_COMMAND; i++)
        fprintf(to, "  %-10s %s\n", COMMANDS[i].name, COMMANDS[i].brief);
    fprintf(to, "  %-10s %s\n  %-10s %s\n", "help", "this text, or that of a command", "version",
            "the version of the program");
    fprintf(to, "\nhydralm COMMAND --help tells the options of a command.\n");
}

static int unknown_command(const char *written) {
    const char *name[N_COMMAND + 2] = {"help", "version"};
    for (int i = 0; i < N_COMMAND; i++) name[i + 2] = COMMANDS[i].name;
    const char *near = hy__nearest(written, name, N_COMMAND + 2);
    fprintf(stderr, "hydralm: there is no command \"%s\"", written);
    if (near) {
        fprintf(stderr, "; did you mean %s?\n", near);
    } else {
        fprintf(stderr, "; see hydralm --help\n");
    }
    return 2;
}

/* Waiting threads should sleep soon: with the OpenMP runtime's default they spin for milliseconds,
 * and one other busy process on the machine then costs several times the rate, while a short spin
 * costs nothing measurable on a quiet machine (docs/log.md). The runtime reads its environment
 * before main, so the program starts itself once more. Whoever sets these variables is left alone.
 */
static void wait_asleep(char **argv) {
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY")) return;
    if (setenv("GOMP_SPINCOUNT", "1000", 1) == 0) execv("/proc/self/exe", argv);
}

int main(int argc, char **argv) {
    wait_asleep(argv);
    static char help_flag[] = "--help";
    /* A reader that went away is an error of the write (EPIPE), which is reported. */
    signal(SIGPIPE, SIG_IGN);
    if (argc < 2) {
        print_help(stderr);
        return 2;
    }
    const char *name = argv[1];
    const bool help = strcmp(name, "help") == 0;
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || (help && argc == 2)) {
        print_help(stdout);
        return close_stdout();
    }
    if (strcmp(name, "version") == 0 || strcmp(name, "--version") == 0) {
        printf("hydralm %s\n", hy_version());
        return close_stdout();
    }
    char *help_argv[] = {help_flag, NULL};
    for (int i = 0; i < N_COMMAND; i++) {
        if (help && strcmp(argv[2], COMMANDS[i].name) == 0) return COMMANDS[i].run(1, help_argv);
        if (strcmp(name, COMMANDS[i].name) == 0) return COMMANDS[i].run(argc - 2, argv + 2);
    }
    return unknown_command(help ? argv[2] : name);
}
