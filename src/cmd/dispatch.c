/* dispatch.c: see dispatch.h. */
#include "cmd/dispatch.h"

#include "base/nearest.h"
#include "cmd/cmd.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_VERBS = 64 };

static void print_help(const verb_set *set, FILE *to) {
    if (set->brief) fprintf(to, "%s: %s\n\n", set->name, set->brief);
    fprintf(to, "Usage: %s %s [options]\n\nCommands:\n", set->name, set->what);
    for (int i = 0; i < set->n_verb; i++)
        fprintf(to, "  %-10s %s\n", set->verb[i].name, set->verb[i].brief);
    fprintf(to, "  %-10s this text, or that of a command\n", "help");
    fprintf(to, "\n%s %s --help tells the options of a command.\n", set->name, set->what);
}

static int unknown(const verb_set *set, const char *written) {
    const char *name[MOST_VERBS] = {"help"};
    int n = 1;
    for (int i = 0; i < set->n_verb && n < MOST_VERBS; i++) name[n++] = set->verb[i].name;
    const char *near = hy__nearest(written, name, n);
    fprintf(stderr, "%s: there is no command \"%s\"", set->name, written);
    if (near) {
        fprintf(stderr, "; did you mean %s?\n", near);
    } else {
        fprintf(stderr, "; see %s --help\n", set->name);
    }
    return 2;
}

/* Runs a verb as if --help stood behind its words. */
static int run_help(const verb *v, int argc, char **argv) {
    static char flag[] = "--help";
    char **words = calloc((size_t)argc + 2, sizeof *words);
    if (!words) {
        fprintf(stderr, "hydralm: there is not enough memory for the command line\n");
        return 1;
    }
    for (int i = 0; i < argc; i++) words[i] = argv[i];
    words[argc] = flag;
    const int exit_status = v->run(argc + 1, words);
    free(words);
    return exit_status;
}

int cmd_dispatch(const verb_set *set, int argc, char **argv) {
    if (argc < 1) {
        print_help(set, stderr);
        return 2;
    }
    const bool help = strcmp(argv[0], "help") == 0;
    if (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0 || (help && argc == 1)) {
        print_help(set, stdout);
        return cmd_close_stdout();
    }
    if (help) {
        argc--;
        argv++;
    }
    for (int i = 0; i < set->n_verb; i++) {
        const verb *v = &set->verb[i];
        if (strcmp(argv[0], v->name) == 0)
            return help ? run_help(v, argc - 1, argv + 1) : v->run(argc - 1, argv + 1);
    }
    return unknown(set, argv[0]);
}
