/* cmd_tokenizer.c: hydralm tokenizer train, encode, decode, inspect. */
#include "cmd/cmd.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/progress.h"
#include "base/utf8.h"
#include "ckpt/checkpoint.h"
#include "ckpt/tokenizer_dir.h"
#include "cmd/dispatch.h"
#include "data/extract.h"
#include "text/bpe_train.h"
#include "text/pattern.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PIECE = 1 << 20 /* bytes read at a time */ };

/* ---- reading ---- */

/* Opens a file, or stdin for "-" and NULL. */
static hy_status open_input(FILE **f, const char *path, hy_error *err) {
    const bool standard = !path || strcmp(path, "-") == 0;
    *f = NULL;
    if (!standard) HY_TRY(hy__file_check_ends(path, err));
    if (!standard && hy__path_is_dir(path))
        return hy__fail(err, HY_E_INVALID, "%.400s is a folder, but must be a file", path);
    *f = standard ? stdin : fopen(path, "rb");
    return *f ? HY_OK : hy__fail(err, HY_E_IO, "cannot open %.400s: %s", path, strerror(errno));
}

static void close_input(FILE *f) {
    if (f && f != stdin) fclose(f);
}

typedef hy_status (*piece_fn)(void *user, const char *text, size_t n, bool last, hy_error *err);

/* The whole file, piece by piece; the last one is empty. */
static hy_status read_pieces(const char *path, piece_fn fn, void *user, hy_error *err) {
    FILE *f;
    HY_TRY(open_input(&f, path, err));
    char *piece = malloc(PIECE);
    hy_status status = piece ? HY_OK : hy__no_memory(err, "a piece of the text");
    for (size_t n = 1; status == HY_OK && n > 0;) {
        n = fread(piece, 1, PIECE, f);
        if (ferror(f))
            status = hy__fail(err, HY_E_IO, "cannot read %.400s: %s", path ? path : "stdin",
                              strerror(errno));
        else
            status = fn(user, piece, n, n == 0, err);
    }
    free(piece);
    close_input(f);
    return status;
}

/* ---- train ---- */

typedef struct training {
    hy__bpe_trainer *trainer;
    hy__progress_bar bar;
    hy__source *source;
    hy__encoder *bytes; /* documents are taken from files as bytes */
    hy__block block;
    hy__extract part;
    hy__file_seen file;
    bool skip_broken;       /* lines of JSON */
    int64_t n_file, n_line; /* counted, left out */
} training;

/* The documents of a block: whole ones as they were extracted, others as they stand in it. */
static hy_status count_items(training *t, hy_error *err) {
    for (int64_t i = 0; i < t->part.n_item; i++) {
        const hy__item *item = &t->part.item[i];
        const bool whole = item->begins && item->ends;
        const char *text = whole ? (const char *)t->part.token + item->token : item->text;
        const size_t n = whole ? (size_t)item->n : item->size;
        HY_TRY(hy__bpe_trainer_add(t->trainer, text, n, item->ends, err));
    }
    return HY_OK;
}

/* What is no text is treated as data build treats it, but for blocks that were counted already. */
static hy_status count_block(training *t, hy_error *err) {
    HY_TRY(hy__extract_block(&t->part, &t->block, t->bytes, "", err));
    hy__file_see(&t->file, &t->block, &t->part);
    const char *why = hy__file_unusable(&t->file, &t->block, &t->part);
    if (why && t->block.named) return hy__file_refuse(&t->block, why, err);
    if (why) {
        hy__source_skip(t->source, t->block.file);
        return hy__bpe_trainer_add(t->trainer, "", 0, true, err);
    }
    if (!t->skip_broken) HY_TRY(hy__file_check_lines(&t->file, &t->block, &t->part, err));
    t->n_line += t->part.n_bad;
    t->n_file += t->block.last;
    return count_items(t, err);
}

static hy_status count_words(training *t, const text_list *path, hy_error *err) {
    t->part.width = 1;
    t->file.number = -1;
    HY_TRY(hy__source_open(&t->source, path->item, path->n, "", err));
    for (bool more = true;;) {
        HY_TRY(hy__source_next(t->source, &t->block, &more, err));
        if (!more) return HY_OK;
        HY_TRY(count_block(t, err));
        const double size = (double)hy__source_size(t->source);
        hy__progress_bar_show(
            &t->bar, size > 0.0 ? (double)hy__source_taken(t->source) / size : 0.0,
            "%.0f MB of text counted", (double)hy__bpe_trainer_bytes(t->trainer) / 1e6);
    }
}

static void show_joining(void *user, double fraction) {
    training *t = user;
    hy__progress_bar_show(&t->bar, fraction, "joining pairs of %lld words",
                          (long long)hy__bpe_trainer_words(t->trainer));
}

/* As a file, or as the files of a directory. */
static hy_status save(const hy__tokenizer *tok, const char *out, bool file, hy_error *err) {
    if (file) {
        const char *name;
        char *text;
        HY_TRY(hy__tokenizer_file(tok, 0, &name, &text, err));
        const hy_status status = hy__file_write(out, text, strlen(text), err);
        free(text);
        return status;
    }
    hy__fileset *set;
    HY_TRY(hy__checkpoint_begin(&set, out, err));
    const hy_status status = hy__tokenizer_put(set, tok, err);
    if (status == HY_OK) return hy__fileset_commit(set, err);
    hy__fileset_discard(set);
    return status;
}

static bool names_file(const char *out) {
    const size_t n = strlen(out);
    return n > 5 && strcmp(out + n - 5, ".json") == 0 && !hy__path_is_dir(out);
}

/* Refuses to replace a tokenizer, alone or of a model. */
static hy_status check_free(const char *out, bool file, bool force, hy_error *err) {
    char *path = NULL;
    struct stat st;
    if (!file) HY_TRY(cmd_refuse_model(out, force, err));
    if (force) return HY_OK;
    if (!file) HY_TRY(hy__fileset_find(&path, out, "tokenizer.json", err));
    const bool there = path || (file && stat(out, &st) == 0 && S_ISREG(st.st_mode) && st.st_size);
    free(path);
    if (!there) return HY_OK;
    return hy__fail(err, HY_E_INVALID,
                    "%.400s already %s; choose another name, or --force to replace it", out,
                    file ? "exists" : "holds a tokenizer");
}

static hy_status report_training(const training *t, const hy__tokenizer *tok, int64_t asked,
                                 const char *out, double seconds, const cmd_shared *shared,
                                 hy_error *err) {
    const int64_t vocab = hy__tokenizer_vocab(tok);
    if (!shared->quiet && vocab < asked)
        fprintf(stderr,
                "no pair of tokens occurs twice any more: the vocabulary has %lld tokens, "
                "%lld were asked for\n",
                (long long)vocab, (long long)asked);
    if (shared->json)
        return cmd_print_json(
            json_pack("{s:o, s:I, s:I, s:I, s:I, s:I, s:f}", "out", cmd_json_path(out), "vocab",
                      (json_int_t)vocab, "files", (json_int_t)t->n_file, "broken_lines",
                      (json_int_t)t->n_line, "bytes", (json_int_t)hy__bpe_trainer_bytes(t->trainer),
                      "words", (json_int_t)hy__bpe_trainer_words(t->trainer), "seconds", seconds),
            err);
    if (!shared->quiet)
        fprintf(stderr, "%s: %lld tokens of %.1f MB in %lld files, %lld different words, %.1f s\n",
                out, (long long)vocab, (double)hy__bpe_trainer_bytes(t->trainer) / 1e6,
                (long long)t->n_file, (long long)hy__bpe_trainer_words(t->trainer), seconds);
    return HY_OK;
}

static hy_status train(const text_list *path, hy__bpe_train_options *opt, bool skip_broken,
                       const char *out, bool force, const cmd_shared *shared, hy_error *err) {
    const double start = hy__now();
    training t = {.skip_broken = skip_broken};
    hy__tokenizer *tok = NULL, *bytes = NULL;
    const bool file = names_file(out);
    hy_status status;
    HY_TRY(check_free(out, file, force, err));
    hy__progress_bar_init(&t.bar, shared->quiet ? NULL : stderr);
    opt->on_progress = show_joining;
    opt->user = &t;
    HY_TRY_GOTO(hy__bpe_trainer_new(&t.trainer, opt, err));
    HY_TRY_GOTO(hy__tokenizer_open(&bytes, NULL, err));
    HY_TRY_GOTO(hy__encoder_new(&t.bytes, bytes, err));
    HY_TRY_GOTO(count_words(&t, path, err));
    HY_TRY_GOTO(hy__bpe_trainer_finish(t.trainer, &tok, err));
    HY_TRY_GOTO(save(tok, out, file, err));
    hy__progress_bar_clear(&t.bar);
    status = report_training(&t, tok, opt->vocab, out, hy__now() - start, shared, err);
done:
    hy__progress_bar_clear(&t.bar);
    hy__encoder_free(t.bytes);
    hy__tokenizer_free(bytes);
    hy__source_close(t.source);
    hy__block_release(&t.block);
    hy__extract_release(&t.part);
    hy__tokenizer_free(tok);
    hy__bpe_trainer_free(t.trainer);
    return status;
}

static int run_train(int argc, char **argv) {
    hy__bpe_train_options opt = {.vocab = 32768, .pattern = hy__pattern_name[HY__PATTERN_LLAMA3]};
    text_list path = {0}, special = {0};
    const char *out = NULL, *operand;
    bool skip_broken = false, force = false;
    cmd_shared shared = CMD_SHARED;
    /* clang-format off */
    option table[] = {
        {.name = "vocab", .kind = OPTION_INT, .to = &opt.vocab, .value = "N", .min = 256, .max = 1 << 24, .doc = "tokens: 256 bytes, the special ones, and pairs"},
        {.name = "pattern", .kind = OPTION_TEXT, .to = &opt.pattern, .value = "NAME", .words = hy__pattern_name, .doc = "how text is cut into words"},
        {.name = "special", .kind = OPTION_MANY, .to = &special, .value = "TOKEN...", .doc = "tokens that are found as they stand, as '<|endoftext|>'"},
        {.name = "skip-broken", .kind = OPTION_FLAG, .to = &skip_broken, .doc = "leave broken lines of JSON out instead of failing"},
        {.name = "out", .kind = OPTION_PATH, .to = &out, .value = "FILE|DIR", .required = true, .doc = "NAME.json, or a folder that gets tokenizer.json"},
        {.name = "force", .kind = OPTION_FLAG, .to = &force, .doc = "replace a tokenizer that is already there"},
        CMD_SHARED_OPTIONS(shared),
    };
    /* clang-format on */
    const command self = {
        .name = "tokenizer train",
        .operand = "PATH...",
        .operands = &path,
        .brief = "make a vocabulary of files and folders of text",
        .detail = "A text gives one vocabulary, whatever the number of threads. "
                  "PATHs are files and folders of text and\nJSON lines (field \"text\"), also .gz "
                  "and .zst; in folders, files with a NUL byte are passed over.",
        .option = table,
        .n_option = sizeof table / sizeof *table};
    hy_error err = {0};
    int exit_status;
    if (!cmd_begin(&self, argc, argv, &operand, &exit_status)) return exit_status;
    opt.special = special.item;
    opt.n_special = special.n;
    opt.threads = (int)shared.threads;
    return cmd_end(&self, train(&path, &opt, skip_broken, out, force, &shared, &err), &err);
}

/* ---- encode ---- */

typedef struct encoding {
    hy__encoder *encoder;
    bool json, count; /* count: says how many, not which */
    bool begun;       /* the head of the list is written */
    int64_t n_token, n_byte;
    double seconds; /* of encoding alone */
} encoding;

static hy_status encode_piece(void *user, const char *text, size_t n, bool last, hy_error *err) {
    encoding *e = user;
    const int32_t *token;
    int64_t n_token;
    const double start = hy__now();
    HY_TRY(hy__encoder_feed(e->encoder, text, n, last, &token, &n_token, err));
    e->seconds += hy__now() - start;
    if (!e->begun && e->json && !e->count) fputs("{\"tokens\":[", stdout);
    e->begun = true;
    for (int64_t i = 0; i < n_token && !e->count; i++) {
        if (e->n_token + i > 0) putchar(e->json ? ',' : ' ');
        printf("%d", token[i]);
    }
    e->n_token += n_token;
    e->n_byte += (int64_t)n;
    return ferror(stdout) ? cmd_write("", 0, err) : HY_OK; /* nobody reads on */
}

static hy_status print_count(const encoding *e, hy_error *err) {
    if (e->json)
        return cmd_print_json(json_pack("{s:I, s:I, s:f}", "tokens", (json_int_t)e->n_token,
                                        "bytes", (json_int_t)e->n_byte, "seconds", e->seconds),
                              err);
    printf("tokens  %lld\nbytes   %lld\nMB/s    %.1f\n", (long long)e->n_token,
           (long long)e->n_byte, e->seconds > 0.0 ? (double)e->n_byte / 1e6 / e->seconds : 0.0);
    return HY_OK;
}

static hy_status encode(const char *tokenizer, const char *path, bool count,
                        const cmd_shared *shared, hy_error *err) {
    hy__tokenizer *tok;
    encoding e = {.json = shared->json, .count = count};
    HY_TRY(hy__tokenizer_open_path(&tok, tokenizer, err));
    hy_status status = hy__encoder_new(&e.encoder, tok, err);
    if (status == HY_OK) status = read_pieces(path, encode_piece, &e, err);
    if (status == HY_OK && !count) fputs(e.json ? "]}\n" : "\n", stdout);
    if (status == HY_OK && count) status = print_count(&e, err);
    hy__encoder_free(e.encoder);
    hy__tokenizer_free(tok);
    return status;
}

static int run_encode(int argc, char **argv) {
    const char *tokenizer = NULL, *path;
    bool count = false;
    cmd_shared shared = CMD_SHARED;
    /* clang-format off */
    option table[] = {
        {.name = "tokenizer", .kind = OPTION_PATH, .to = &tokenizer, .value = "FILE|DIR", .required = true, .doc = "bytes, a tokenizer.json, or a folder that holds one"},
        {.name = "count", .kind = OPTION_FLAG, .to = &count, .doc = "only how many tokens, bytes, and bytes a second"},
        CMD_SHARED_OPTIONS(shared),
    };
    /* clang-format on */
    const command self = {.name = "tokenizer encode",
                          .operand = "FILE",
                          .operand_optional = true,
                          .brief = "print the token ids of a text; without FILE, of stdin",
                          .option = table,
                          .n_option = sizeof table / sizeof *table};
    hy_error err = {0};
    int exit_status;
    if (!cmd_begin(&self, argc, argv, &path, &exit_status)) return exit_status;
    return cmd_end(&self, encode(tokenizer, path, count, &shared, &err), &err);
}

/* ---- decode ---- */

typedef struct decoding {
    const hy__tokenizer *tok;
    FILE *to;
    char digits[24];
    size_t n_digit;
    int64_t n_token;
} decoding;

/* The number that has been read, if there is one. */
static hy_status decode_number(decoding *d, hy_error *err) {
    char text[1024];
    if (d->n_digit == 0) return HY_OK;
    d->digits[d->n_digit] = '\0';
    const long long id = strtoll(d->digits, NULL, 10);
    d->n_digit = 0;
    d->n_token++;
    if (id >= hy__tokenizer_vocab(d->tok))
        return hy__fail(err, HY_E_INVALID, "token %lld is %lld, wanted 0 to %lld",
                        (long long)d->n_token, id, (long long)hy__tokenizer_vocab(d->tok) - 1);
    const size_t n = hy__tokenizer_decode(d->tok, (int32_t)id, text, sizeof text);
    if (n <= sizeof text) {
        fwrite(text, 1, n, d->to);
        return HY_OK;
    }
    char *more = malloc(n);
    if (!more) return hy__no_memory(err, "a token");
    hy__tokenizer_decode(d->tok, (int32_t)id, more, n);
    fwrite(more, 1, n, d->to);
    free(more);
    return HY_OK;
}

static hy_status decode_piece(void *user, const char *text, size_t n, bool last, hy_error *err) {
    decoding *d = user;
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)text[i];
        if (isdigit(c) && d->n_digit < 18) {
            d->digits[d->n_digit++] = (char)c;
        } else if (isspace(c) || c == ',') {
            HY_TRY(decode_number(d, err));
        } else {
            return hy__fail(err, HY_E_INVALID,
                            "behind token %lld stands \"%c\", wanted ids with blanks or commas "
                            "between them",
                            (long long)d->n_token, isprint(c) ? c : '?');
        }
    }
    if (last) HY_TRY(decode_number(d, err));
    return d->to == stdout && ferror(stdout) ? cmd_write("", 0, err) : HY_OK; /* nobody reads */
}

/* One line of JSON; what is no UTF-8 becomes U+FFFD. */
static hy_status print_text_json(const char *text, size_t n, hy_error *err) {
    json_t *json = NULL;
    char *valid = malloc(3 * n + 1);
    size_t m = 0;
    if (!valid) return hy__no_memory(err, "the text");
    for (size_t i = 0; i < n;) {
        const size_t k = hy__utf8_sequence((const unsigned char *)text + i, n - i);
        memcpy(valid + m, k ? text + i : "\xEF\xBF\xBD", k ? k : 3);
        m += k ? k : 3;
        i += k ? k : 1;
    }
    json = json_pack("{s:o}", "text", json_stringn(valid, m));
    free(valid);
    return cmd_print_json(json, err);
}

static hy_status decode(const char *tokenizer, const char *path, const cmd_shared *shared,
                        hy_error *err) {
    hy__tokenizer *tok;
    char *text = NULL;
    size_t n = 0;
    HY_TRY(hy__tokenizer_open_path(&tok, tokenizer, err));
    decoding d = {.tok = tok, .to = shared->json ? open_memstream(&text, &n) : stdout};
    hy_status status = d.to ? HY_OK : hy__no_memory(err, "the text");
    if (status == HY_OK) status = read_pieces(path, decode_piece, &d, err);
    if (d.to && shared->json) {
        if (fclose(d.to) != 0 && status == HY_OK) status = hy__no_memory(err, "the text");
        if (status == HY_OK) status = print_text_json(text, n, err);
    }
    free(text);
    hy__tokenizer_free(tok);
    return status;
}

static int run_decode(int argc, char **argv) {
    const char *tokenizer = NULL, *path;
    cmd_shared shared = CMD_SHARED;
    /* clang-format off */
    option table[] = {
        {.name = "tokenizer", .kind = OPTION_PATH, .to = &tokenizer, .value = "FILE|DIR", .required = true, .doc = "bytes, a tokenizer.json, or a folder that holds one"},
        CMD_SHARED_OPTIONS(shared),
    };
    /* clang-format on */
    const command self = {.name = "tokenizer decode",
                          .operand = "FILE",
                          .operand_optional = true,
                          .brief = "print the text of token ids; without FILE, of those on stdin",
                          .option = table,
                          .n_option = sizeof table / sizeof *table};
    hy_error err = {0};
    int exit_status;
    if (!cmd_begin(&self, argc, argv, &path, &exit_status)) return exit_status;
    return cmd_end(&self, decode(tokenizer, path, &shared, &err), &err);
}

/* ---- inspect ---- */

static hy_status inspect(const char *path, const cmd_shared *shared, hy_error *err) {
    hy__tokenizer *tok;
    HY_TRY(hy__tokenizer_open_path(&tok, path, err));
    const hy__tokenizer_facts *f = hy__tokenizer_describe(tok);
    const int64_t vocab = hy__tokenizer_vocab(tok);
    const int32_t eos = hy__tokenizer_eos(tok);
    hy_status status = HY_OK;
    if (shared->json) {
        status = cmd_print_json(
            json_pack("{s:I, s:I, s:I, s:I, s:o, s:s, s:b, s:b, s:b}", "vocab", (json_int_t)vocab,
                      "merges", (json_int_t)f->n_merge, "added", (json_int_t)f->n_added, "special",
                      (json_int_t)f->n_special, "eos", eos >= 0 ? json_integer(eos) : json_null(),
                      "words", f->words, "nfc", f->nfc, "ignore_merges", f->ignore_merges,
                      "prefix_space", f->prefix_space),
            err);
    } else {
        printf("vocabulary     %lld\nmerges         %lld\nadded tokens   %lld, special %lld\n"
               "words          %s\n",
               (long long)vocab, (long long)f->n_merge, (long long)f->n_added,
               (long long)f->n_special, *f->words ? f->words : "not cut");
        if (eos >= 0) printf("end of text    %d\n", eos);
        if (f->nfc) printf("normalization  NFC\n");
        if (f->ignore_merges) printf("whole words    before merges\n");
        if (f->prefix_space) printf("text           gets a space in front\n");
    }
    hy__tokenizer_free(tok);
    return status;
}

static int run_inspect(int argc, char **argv) {
    const char *path;
    cmd_shared shared = CMD_SHARED;
    option table[] = {CMD_SHARED_OPTIONS(shared)};
    const command self = {.name = "tokenizer inspect",
                          .operand = "FILE|DIR",
                          .brief = "show what a tokenizer is made of",
                          .option = table,
                          .n_option = sizeof table / sizeof *table};
    hy_error err = {0};
    int exit_status;
    if (!cmd_begin(&self, argc, argv, &path, &exit_status)) return exit_status;
    return cmd_end(&self, inspect(path, &shared, &err), &err);
}

int cmd_tokenizer(int argc, char **argv) {
    static const verb VERBS[] = {
        {"train", run_train, "make a vocabulary of text"},
        {"encode", run_encode, "from text to token ids"},
        {"decode", run_decode, "from token ids to text"},
        {"inspect", run_inspect, "show what a tokenizer is made of"},
    };
    const verb_set set = {.name = "hydralm tokenizer",
                          .what = "VERB",
                          .brief = "train a tokenizer, or turn text into tokens and back",
                          .verb = VERBS,
                          .n_verb = sizeof VERBS / sizeof *VERBS};
    return cmd_dispatch(&set, argc, argv);
}
