/* main.c: the program: its commands. */
#include "cmd/cmd.h"
#include "cmd/dispatch.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static int cmd_version(int argc, char **argv) {
    const command self = {.name = "version", .brief = "print the version of the program"};
    const hy_error none = {0};
    const char *operand;
    int exit_status;
    if (!cmd_begin(&self, argc, argv, &operand, &exit_status)) return exit_status;
    printf("hydralm %s\n", hy_version());
    return cmd_end(&self, HY_OK, &none);
}

static const verb COMMANDS[] = {
    {"init", cmd_init, "make a new model of a configuration"},
    {"data", cmd_data, "tokenize text, and show what was tokenized"},
    {"train", cmd_train, "train a model on text"},
    {"generate", cmd_generate, "write on after a prompt"},
    {"eval", cmd_eval, "measure a model's loss on a text"},
    {"logits", cmd_logits, "compute the logits of given tokens"},
    {"convert", cmd_convert, "exchange models with Hugging Face Mamba-2 directories"},
    {"inspect", cmd_inspect, "show what a model is made of"},
    {"plan", cmd_plan, "tell what a configuration costs, before it is built"},
    {"bench", cmd_bench, "measure how fast a model trains, reads and writes"},
    {"report", cmd_report, "draw what trainings did, as one page"},
    {"lab", cmd_lab, "put the blueprint's claims to tests that can fail"},
    {"tokenizer", cmd_tokenizer, "train a tokenizer, or turn text into tokens and back"},
    {"version", cmd_version, "the version of the program"},
};

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
    prctl(PR_SET_NAME, "hydralm"); /* for ps and pkill; it would be "exe", as it was started */
    /* A reader that went away is an error of the write (EPIPE), which is reported. */
    signal(SIGPIPE, SIG_IGN);
    if (argc > 1 && strcmp(argv[1], "--version") == 0) return cmd_version(argc - 2, argv + 2);
    const verb_set set = {.name = "hydralm",
                          .what = "COMMAND",
                          .verb = COMMANDS,
                          .n_verb = sizeof COMMANDS / sizeof *COMMANDS};
    return cmd_dispatch(&set, argc - 1, argv + 1);
}
