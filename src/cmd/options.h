/* options.h: a command line by table.
 *
 * One row per option gives its parsing, bounds, default (what its variable holds before) and help.
 * Long options are --name VALUE or --name=VALUE; an unknown one is answered with the nearest known.
 * Behind -- stand operands, whatever they begin with. */
#ifndef HY_CMD_OPTIONS_H
#define HY_CMD_OPTIONS_H

#include "hydralm.h"

#include <stdio.h>

typedef enum option_kind {
    OPTION_FLAG,  /* bool *: no value */
    OPTION_INT,   /* int64_t * */
    OPTION_REAL,  /* double * */
    OPTION_TEXT,  /* const char **: any, or one of `words` */
    OPTION_PATH,  /* const char **: of a file or a folder, so not empty */
    OPTION_WORDS, /* bool *: [words] whether it is among those of "a,b,…" */
    OPTION_EACH,  /* text_list *: one value each time it is given, not empty */
    OPTION_MANY,  /* text_list *: all values up to the next option, none empty */
    OPTION_INTS,  /* int_list *: "i,j,…" */
} option_kind;

typedef struct text_list {
    const char **item; /* owned; the strings are the command line's */
    int64_t n;
} text_list;

typedef struct int_list {
    int64_t *item; /* owned */
    int64_t n;
} int_list;

typedef struct option {
    const char *name; /* "max-tokens" */
    char letter;      /* 'v', or 0 */
    option_kind kind;
    void *to;
    const char *value; /* what the help calls its value */
    const char *doc;   /* with `words`, these follow */
    bool required;
    const char *unless;       /* not required where this option is given */
    const char *excludes;     /* not together with this option */
    const char *const *words; /* that it may be, NULL behind the last; or NULL */
    double min, max;          /* of numbers; whole ones have bounds, for others both 0 = any */
    /* Refuses, of each value of a text or a list of them, what this table cannot tell; or NULL. */
    hy_status (*check)(const char *value, hy_error *err);
    bool given; /* set by options_parse */
} option;

typedef struct command {
    const char *name;    /* "train", "data build" */
    const char *operand; /* "DIR", or NULL when the command takes options alone */
    text_list *operands; /* not NULL: takes one operand or more, and they are put here */
    bool operand_optional;
    const char *brief;  /* one line */
    const char *detail; /* paragraph for --help, or NULL */
    option *option;
    int n_option;
} command;

typedef enum parse_result { PARSE_RUN, PARSE_HELP, PARSE_WRONG } parse_result;

/* Reads argv[0 … argc) (what follows the command's name). --help and -h give PARSE_HELP;
 * PARSE_WRONG leaves the sentence in err. */
parse_result options_parse(const command *c, int argc, char **argv, const char **operand,
                           hy_error *err);
bool options_given(const command *c, const char *name);
void options_release(const command *c); /* frees the lists, that of the operands too */
void options_help(const command *c, FILE *to);

#endif
