/* dispatch.h: from a word on the command line to the function that it names: `hydralm COMMAND …`,
 * and of a command that has several forms `hydralm NOUN VERB …`. */
#ifndef HY_CMD_DISPATCH_H
#define HY_CMD_DISPATCH_H

typedef struct verb {
    const char *name;
    int (*run)(int argc, char **argv); /* with what follows the name; returns the exit status */
    const char *brief;                 /* one line */
} verb;

typedef struct verb_set {
    const char *name;  /* what stands before the verb: "hydralm", "hydralm tokenizer" */
    const char *what;  /* what the help calls a verb: "COMMAND", "VERB" */
    const char *brief; /* one line, or NULL */
    const verb *verb;  /* [n_verb] */
    int n_verb;
} verb_set;

/* Runs the verb that argv[0] names. `help` and --help print the set's help or, with a verb, the
 * verb's; an unknown verb is answered with the nearest known. Returns the exit status. */
int cmd_dispatch(const verb_set *set, int argc, char **argv);

#endif
