/* cmd_data.c: hydralm data build and hydralm data inspect: text into tokenized documents on disk.
 *
 * SIGINT and SIGTERM stop a build, which then leaves nothing. */
#include "cmd/cmd.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/progress.h"
#include "base/status.h"
#include "base/words.h"
#include "ckpt/tokenizer_dir.h"
#include "cmd/dispatch.h"
#include "data/build.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* ---- what a corpus is ---- */

static json_t *describe_json(const hy__corpus *c) {
    char *index = hy__corpus_index(c);
    json_t *all = index ? json_loads(index, 0, NULL) : NULL;
    free(index);
    return all;
}

static void print_part(const hy__corpus *c, hy__part part, const char *name) {
    printf("%-12s %" PRId64 " documents, %" PRId64 " tokens\n", name, c->n_document[part],
           c->n_part[part]);
}

static void print_corpus(const hy__corpus *c) {
    const hy__corpus_source *s = &c->source;
    print_part(c, HY__PART_TRAIN, "training");
    print_part(c, HY__PART_VAL, "held out");
    printf("%-12s %s\n", "split",
           c->split == HY__SPLIT_TAIL        ? "the tail of the text, for the documents are few"
           : c->split == HY__SPLIT_DOCUMENTS ? "by the documents' hashes"
                                             : "nothing is held out");
    printf("%-12s %016" PRIx64 ", vocabulary %" PRId64 "\n", "tokenizer", c->tokenizer, c->vocab);
    printf("%-12s %" PRId64 " of %" PRId64 " tokens, %d bytes each\n", "shards", c->n_shard,
           c->shard_tokens, c->width);
    printf("%-12s %" PRId64 " files, %" PRId64 " bytes of text\n", "source", s->n_file, s->n_byte);
    if (s->n_other > 0) printf("%-12s %" PRId64 " files that are no text\n", "", s->n_other);
    if (s->n_short > 0) printf("%-12s %" PRId64 " documents too short\n", "", s->n_short);
    if (s->n_bad > 0) printf("%-12s %" PRId64 " broken lines left out\n", "", s->n_bad);
    printf("%-12s %016" PRIx64 "\n", "fingerprint", c->fingerprint);
}

/* ---- build ---- */

typedef struct watcher {
    hy__progress_bar bar;
    double start; /* seconds */
} watcher;

static bool on_progress(void *user, const hy__build_progress *p) {
    watcher *w = user;
    const double took = hy__now() - w->start;
    const double share = p->size > 0 ? (double)p->taken / (double)p->size : 0.0;
    hy__progress_bar_show(&w->bar, share,
                          "%.0f MB of text  %.1f million tokens  %" PRId64 " documents  %.0f MB/s",
                          (double)p->n_byte / 1e6, (double)p->n_token / 1e6, p->n_document,
                          took > 0.0 ? (double)p->n_byte / 1e6 / took : 0.0);
    return !cmd_stopped();
}

/* "\n", "\t" and "\\" as in C; the result is the caller's to free. */
static hy_status unescape(const char *text, char **out, hy_error *err) {
    char *to = *out = strdup(text ? text : "");
    if (!to) return hy__no_memory(err, "a separator");
    for (const char *at = *out; *at; at++) {
        if (*at == '\\') {
            at++;
            if (*at != 'n' && *at != 't' && *at != '\\')
                return hy__fail(err, HY_E_INVALID,
                                "--separator has \\%s; wanted \\n, \\t or \\\\ behind a backslash",
                                at);
            *to++ = *at == 'n' ? '\n' : *at == 't' ? '\t' : '\\';
        } else {
            *to++ = *at;
        }
    }
    *to = '\0';
    return HY_OK;
}

static hy_status check_separator(const char *text, hy_error *err) {
    char *mark = NULL;
    const hy_status status = unescape(text, &mark, err);
    free(mark);
    return status;
}

static hy_status run_build(hy__build_options *opt, bool json, bool quiet, hy_error *err) {
    watcher w = {.start = hy__now()};
    hy__corpus *c;
    hy__progress_bar_init(&w.bar, quiet ? NULL : stderr);
    opt->on_progress = on_progress;
    opt->user = &w;
    cmd_catch_signals();
    const hy_status status = hy__build(&c, opt, err);
    hy__progress_bar_clear(&w.bar);
    HY_TRY(status);
    const double took = hy__now() - w.start;
    hy_status printed = HY_OK;
    if (json) {
        json_t *all = describe_json(c);
        json_object_set_new(all, "seconds", json_real(took));
        printed = cmd_print_json(all, err);
    } else if (!quiet) {
        print_corpus(c);
        fprintf(stderr, "%s: %.1f s, %.0f MB/s\n", opt->out, took,
                (double)c->source.n_byte / 1e6 / (took > 0.0 ? took : 1.0));
    }
    hy__corpus_free(c);
    return printed;
}

static int data_build(int argc, char **argv) {
    static const char *const SPLIT[] = {[HY__SPLIT_AUTO] = "auto",
                                        [HY__SPLIT_DOCUMENTS] = "documents",
                                        [HY__SPLIT_TAIL] = "tail",
                                        NULL};
    hy__build_options opt = {.val_fraction = 0.1};
    const char *operand, *tokenizer = NULL, *separator = NULL, *split = "auto";
    text_list path = {0};
    int64_t threads = 0;
    bool json = false, quiet = false;
    char *mark = NULL;
    hy__tokenizer *tok = NULL;
    /* clang-format off */
    option table[] = {
        {.name = "tokenizer", .kind = OPTION_PATH, .to = &tokenizer, .value = "T", .required = true, .doc = "bytes, a tokenizer.json, or a folder that holds one"},
        {.name = "out", .kind = OPTION_PATH, .to = &opt.out, .value = "DIR", .required = true, .doc = "folder to write"},
        {.name = "separator", .kind = OPTION_TEXT, .to = &separator, .value = "TEXT", .check = check_separator, .doc = "between the documents of a text file (\\n: line break); otherwise a file is one"},
        {.name = "val-fraction", .kind = OPTION_REAL, .to = &opt.val_fraction, .value = "F", .min = 0, .max = 0.9, .doc = "share that is held out"},
        {.name = "split", .kind = OPTION_TEXT, .to = &split, .value = "HOW", .words = SPLIT, .doc = "hold out documents (by hash) or the tail of the text; auto: the tail where documents are few"},
        {.name = "skip-broken", .kind = OPTION_FLAG, .to = &opt.skip_broken, .doc = "leave broken lines of JSON out instead of failing"},
        {.name = "shard-tokens", .kind = OPTION_INT, .to = &opt.shard_tokens, .value = "N", .min = 1024, .max = 1e12, .doc = "tokens of one file; otherwise 2^28"},
        {.name = "force", .kind = OPTION_FLAG, .to = &opt.force, .doc = "replace built data that are already in DIR"},
        {.name = "threads", .kind = OPTION_INT, .to = &threads, .value = "N", .max = 64, .doc = "threads; 0 = all cores"},
        {.name = "json", .kind = OPTION_FLAG, .to = &json, .doc = "the result as one line of JSON on stdout"},
        {.name = "quiet", .letter = 'q', .kind = OPTION_FLAG, .to = &quiet, .doc = "nothing on stderr but errors"},
    };
    /* clang-format on */
    const command self = {.name = "data build",
                          .operand = "PATH...",
                          .operands = &path,
                          .brief = "tokenize text once, for many trainings",
                          .detail = "PATH is a text file, a file of JSON lines (.jsonl) with a "
                                    "field \"text\", each also as .gz or .zst,\nor a folder of "
                                    "them. `train --data DIR` takes what this makes.",
                          .option = table,
                          .n_option = sizeof table / sizeof *table};
    hy_error err = {0};
    int exit_status;
    if (!cmd_begin(&self, argc, argv, &operand, &exit_status)) return exit_status;
    opt.path = path.item;
    opt.n_path = path.n;
    opt.threads = (int)threads;
    opt.split = (hy__split)hy__words_place(SPLIT, split);
    hy_status status = unescape(separator, &mark, &err);
    if (status == HY_OK) status = hy__tokenizer_open_path(&tok, tokenizer, &err);
    opt.separator = mark;
    opt.tokenizer = tok;
    if (status == HY_OK) status = run_build(&opt, json, quiet, &err);
    hy__tokenizer_free(tok);
    free(mark);
    return cmd_end(&self, status, &err);
}

/* ---- inspect ---- */

/* Whether the tokenizer beside the data is still the one that made them. */
static hy_status verify_tokenizer(const hy__corpus *c, const char *dir, hy_error *err) {
    hy__tokenizer *tok;
    uint64_t print;
    HY_TRY(hy__tokenizer_open_dir(&tok, dir, err));
    const hy_status status = hy__tokenizer_print(tok, &print, err);
    hy__tokenizer_free(tok);
    if (status != HY_OK || print == c->tokenizer) return status;
    return hy__fail(err, HY_E_INVALID,
                    "%.400s/tokenizer.json is another one than made these data: its fingerprint is "
                    "%016" PRIx64 ", wanted %016" PRIx64,
                    dir, print, c->tokenizer);
}

static hy_status inspect(const char *dir, bool json, bool verify, hy_error *err) {
    hy__corpus *c;
    hy_status status = HY_OK;
    HY_TRY(hy__corpus_open(&c, dir, err));
    if (verify) status = hy__corpus_verify(c, 0, err);
    if (verify && status == HY_OK) status = verify_tokenizer(c, dir, err);
    if (status == HY_OK && json) {
        json_t *all = describe_json(c);
        json_object_set_new(all, "verified", json_boolean(verify));
        status = cmd_print_json(all, err);
    } else if (status == HY_OK) {
        print_corpus(c);
        if (verify) printf("%-12s all checksums are right\n", "");
    }
    hy__corpus_free(c);
    return status;
}

enum { SAMPLES = 3 };

static hy_status sample_task(const hy__task *t, json_t *samples, hy_error *err) {
    for (int64_t i = 0; i < SAMPLES; i++) {
        char *text = hy__task_sample(t, 0, i);
        if (!text) return hy__no_memory(err, "a sample");
        if (samples)
            json_array_append_new(samples, json_string(text));
        else
            printf("\n%s\n", text);
        free(text);
    }
    return HY_OK;
}

static hy_status inspect_task(const char *entry, bool json, hy_error *err) {
    hy__task t;
    char name[512];
    HY_TRY(hy__task_parse(&t, entry, err));
    hy__task_print(&t, name, sizeof name);
    if (json) {
        json_t *samples = json_array();
        json_t *all =
            json_pack("{s:s, s:s, s:I, s:f, s:o}", "task", name, "about", t.kind->doc, "tokens",
                      (json_int_t)t.len, "chance", hy__task_chance(&t), "samples", samples);
        const hy_status status = sample_task(&t, samples, err);
        if (status == HY_OK) return cmd_print_json(all, err);
        json_decref(all);
        return status;
    }
    printf("%-12s %s\n%-12s %s\n", "task", name, "asked", t.kind->doc);
    printf("%-12s up to %" PRId64 " tokens\n", "a document", t.len);
    printf("%-12s %.4f\n", "chance", hy__task_chance(&t));
    for (int i = 0; i < HY__TASK_NUMBERS && t.kind->number[i].name; i++) {
        const hy__task_number *n = &t.kind->number[i];
        printf("%-12s %" PRId64 " (%" PRId64 " to %" PRId64 "): %s\n", n->name, t.number[i], n->min,
               n->max, n->doc);
    }
    return sample_task(&t, NULL, err);
}

static int data_inspect(int argc, char **argv) {
    const char *dir;
    bool json = false, verify = false;
    /* clang-format off */
    option table[] = {
        {.name = "verify", .kind = OPTION_FLAG, .to = &verify, .doc = "read everything and compare the checksums"},
        {.name = "json", .kind = OPTION_FLAG, .to = &json, .doc = "the result as one line of JSON on stdout"},
    };
    /* clang-format on */
    const command self = {.name = "data inspect",
                          .operand = "DIR",
                          .brief = "show what built data hold, or what a made task is",
                          .detail = "DIR is a folder that `data build` made, or task:NAME, of "
                                    "which some documents are shown.",
                          .option = table,
                          .n_option = sizeof table / sizeof *table};
    hy_error err = {0};
    int exit_status;
    if (!cmd_begin(&self, argc, argv, &dir, &exit_status)) return exit_status;
    const hy_status status =
        hy__task_is(dir) ? inspect_task(dir, json, &err) : inspect(dir, json, verify, &err);
    return cmd_end(&self, status, &err);
}

int cmd_data(int argc, char **argv) {
    static const verb VERBS[] = {
        {"build", data_build, "tokenize text once, for many trainings"},
        {"inspect", data_inspect, "show what built data hold, or what a made task is"},
    };
    const verb_set set = {.name = "hydralm data",
                          .what = "VERB",
                          .brief = "text as tokenized documents on disk",
                          .verb = VERBS,
                          .n_verb = sizeof VERBS / sizeof *VERBS};
    return cmd_dispatch(&set, argc, argv);
}
