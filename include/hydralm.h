/* hydralm.h: Hydra, a long-context language model of six kinds of layer, in C.
 *
 * The engine behind the command `hydralm`, for programs that embed it. A model holds weights; a
 * session is one sequence with its carried state; options are plain structs in which zero means the
 * default. What can fail returns a hy_status and writes one sentence into the caller's hy_error.
 * The library never prints and never exits. Where a call that makes a model or a session fails,
 * *out is as it was. Any call may fail with HY_E_MEMORY, and with HY_E_INTERNAL where a library
 * does.
 *
 * Threads: a model may serve one call at a time; sessions of one model share it. Different models
 * are independent. Kernels run on OpenMP threads, which a fork does not copy: a child process may
 * use the library only if its parent did not before. */
#ifndef HYDRALM_H
#define HYDRALM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HY_VERSION "0.1.0"

#if defined(__GNUC__)
#define HY_API __attribute__((visibility("default")))
#else
#define HY_API
#endif

typedef enum hy_status {
    HY_OK = 0,
    HY_E_INVALID = 1,     /* an argument, a config, a flag or a file's content is wrong */
    HY_E_IO = 2,          /* reading or writing failed: missing, no permission, disk full */
    HY_E_MEMORY = 3,      /* not enough memory */
    HY_E_UNSUPPORTED = 4, /* valid, but this build or machine cannot do it */
    HY_E_STOPPED = 5,     /* a callback or a signal asked to stop */
    HY_E_INTERNAL = 6,    /* a library failed in a way that input cannot explain */
    HY_E_DIVERGED = 7,    /* a training's loss does not come back (train.on_spike, spike_limit) */
} hy_status;

/* Message buffer: a full sentence of what, where, got and wanted. */
typedef struct hy_error {
    hy_status status;
    char text[1024];
} hy_error;

/* The version of the library that runs, "0.1.0". */
HY_API const char *hy_version(void);

/* ---- model ---------------------------------------------------------------------------------- */

typedef struct hy_model hy_model;

typedef struct hy_model_options {
    const char *backend; /* "cpu" (default), "cpu:avx2", "cpu:generic", "ref", … */
    int threads;         /* 0 or less = all cores that this process may use */
    const char *dtype; /* of the weights in memory: "fp32", "bf16"; NULL = as in the file, fp32 for
                          new; "int8" and "int4" for new, or where the file's are that */
    const char *tokenizer; /* of a new model: tokenizer.json, a folder that holds one, or "bytes";
                              its vocabulary grows to it. NULL = bytes */
} hy_model_options;

/* A randomly initialised model of a YAML configuration; seed: at most 1e15. HY_E_INVALID, HY_E_IO;
 * HY_E_UNSUPPORTED for a backend that this machine lacks, or a tokenizer of a kind that is not
 * known here. */
HY_API hy_status hy_model_new(hy_model **out, const char *config_path, uint64_t seed,
                              const hy_model_options *opt, hy_error *err);

/* Opens a model directory (config.json, model.safetensors). HY_E_IO where it cannot be read,
 * HY_E_INVALID where it is damaged, holds another kind of model or is asked for an unknown backend
 * or dtype, HY_E_UNSUPPORTED for a backend that this machine lacks, weights quantised by others or
 * a dtype that the file's cannot become.
 * Without a tokenizer, or with one of an unknown kind, it opens as a model without text. */
HY_API hy_status hy_model_open(hy_model **out, const char *dir, const hy_model_options *opt,
                               hy_error *err);

/* Writes the model as a directory; all or nothing. HY_E_IO, also while another process writes
 * there; HY_E_INVALID for a folder that holds a training, or an interrupted change that is not this
 * program's. */
HY_API hy_status hy_model_save(const hy_model *model, const char *dir, hy_error *err);

typedef struct hy_convert_options {
    bool to_hf;           /* from a model of the pattern Nx(S) to a Mamba2ForCausalLM directory */
    const char *quantize; /* from a model to one with weights in "int8" or "int4", only to be run */
} hy_convert_options;

typedef struct hy_convert_result {
    char note[256]; /* what became another setting on the way; "" = nothing did */
} hy_convert_result;

/* Makes one directory of another. Without options, a Hugging Face directory of a Mamba2ForCausalLM
 * becomes a model directory of the pattern Nx(S). opt and result may be NULL. HY_E_IO; HY_E_INVALID
 * for a `from` that is damaged or another kind of model, for a `to` that holds a training, and for
 * options that exclude each other; HY_E_UNSUPPORTED for one that the other form has no place for.
 */
HY_API hy_status hy_convert(const char *from, const char *to, const hy_convert_options *opt,
                            hy_convert_result *result, hy_error *err);

/* After its sessions. NULL is fine. */
HY_API void hy_model_free(hy_model *model);

/* What a model has of one letter. */
typedef struct hy_layer_info {
    char letter; /* S A E F W P */
    const char *name;
    int64_t count; /* layers of that letter */
    int64_t parameters;
    int64_t active;      /* parameters that one token uses */
    int64_t state_bytes; /* carried per sequence, at most; without a cache that has no bound */
    int64_t state_bytes_per_block; /* of such a cache, for each further chunk; 0 = bounded */
} hy_layer_info;

typedef struct hy_model_info {
    const char *layers;  /* the pattern as written */
    const char *letters; /* expanded: one letter per layer */
    int64_t n_layer, d_model, vocab, chunk;
    int64_t parameters, active, embedding;
    int64_t weight_bytes;
    int64_t n_kind;
    hy_layer_info kind[8];
} hy_model_info;

/* Never fails; the strings in info belong to the model. */
HY_API void hy_model_describe(const hy_model *model, hy_model_info *info);

/* The configuration as documented YAML; the caller frees it. NULL without memory. */
HY_API char *hy_model_config(const hy_model *model);

/* Run-time control of the experts of one E layer or of all; it replaces the one before. ban:
 * experts that may not be chosen; force: at most 16 that alone run, in place of a choice. */
typedef struct hy_expert_options {
    int64_t layer;      /* 0 = all; n = the n-th E layer, the others stay as they are */
    int64_t k;          /* 0 = as configured */
    double temperature; /* 0 = as configured */
    const int32_t *ban, *force;
    int64_t n_ban, n_force;
} hy_expert_options;

/* opt must not be NULL; a zeroed one takes all control back. HY_E_INVALID for a model without E,
 * for a layer, an expert or a number out of range, and when fewer than k experts are left: then
 * nothing changed. */
HY_API hy_status hy_model_experts(hy_model *model, const hy_expert_options *opt, hy_error *err);

/* ---- text ----------------------------------------------------------------------------------- */

/* Text to token ids by the model's tokenizer; *tokens is the caller's to free, NULL where *n is 0,
 * as after a failure. HY_E_UNSUPPORTED for a model without text. */
HY_API hy_status hy_encode(const hy_model *model, const char *text, size_t size, int32_t **tokens,
                           int64_t *n, hy_error *err);

/* One token's bytes into buf, cut to cap; returns how many were written. 0 for an id that is not
 * known, and for a model without text. */
HY_API size_t hy_decode(const hy_model *model, int32_t token, char *buf, size_t cap);

/* ---- session: one sequence ------------------------------------------------------------------ */

typedef struct hy_session hy_session;

/* A sequence that has seen nothing. The model must outlive it. HY_E_INVALID for one whose tokens
 * see what follows them (experts.route own). */
HY_API hy_status hy_session_new(hy_session **out, hy_model *model, hy_error *err);
/* NULL is fine. */
HY_API void hy_session_free(hy_session *session);
/* Back to a sequence that has seen nothing; its memory is kept. */
HY_API void hy_session_reset(hy_session *session);
/* Tokens seen. */
HY_API int64_t hy_session_pos(const hy_session *session);
/* Bytes of its carried state: of the tensors that hy_session_save writes. */
HY_API size_t hy_session_bytes(const hy_session *session);

/* Writes what the session carries as one safetensors file; all or nothing. HY_E_IO, HY_E_MEMORY;
 * HY_E_INVALID where another file than a saved session has the path. */
HY_API hy_status hy_session_save(const hy_session *session, const char *path, hy_error *err);
/* Goes on where the saved session stood: with equal build, backend and threads, in the same bits.
 * HY_E_INVALID for a file that is none, that is damaged or that belongs to another model
 * (configuration, weights or their dtype in memory), HY_E_IO, HY_E_MEMORY; then the session is as
 * it was. */
HY_API hy_status hy_session_load(hy_session *session, const char *path, hy_error *err);

/* Feeds n tokens, 0 … vocab-1. logits: NULL, or [n, vocab] of each position. Any split of a
 * sequence into feeds gives the same results. HY_E_INVALID for another token: then nothing was fed.
 * After another failure hy_session_pos tells how far it came. One in the middle of a step (no
 * memory, a library) leaves half a state: until it is reset or loaded, the session then refuses to
 * be fed, to generate and to be saved, HY_E_INVALID. */
HY_API hy_status hy_session_feed(hy_session *session, const int32_t *tokens, int64_t n,
                                 float *logits, hy_error *err);

typedef struct hy_sample_options {
    int64_t max_tokens; /* 0 = 256, -1 = none: the prompt is fed, and that is all */
    double temperature; /* 0 = greedy */
    int64_t top_k;      /* 0 = off */
    double top_p;       /* 0 = off */
    double min_p;       /* 0 = off */
    uint64_t seed;
    const char *const *stop; /* strings that end the text (they are not part of it) */
    int64_t n_stop;
} hy_sample_options;

/* Called with each piece of text as it is ready; returning false stops. */
typedef bool (*hy_text_fn)(void *user, const char *text, size_t size);

typedef struct hy_generate_result {
    int64_t prompt_tokens, tokens;
    double prefill_seconds; /* of the prompt, its way from text to tokens included */
    double decode_seconds;
    const char *finish; /* "length", "stop", "eos", "callback" */
} hy_generate_result;

/* Feeds the prompt (may be empty only if the session has seen something) and samples from there.
 * UTF-8 sequences are passed on whole. Same seed, same text. opt, fn and result may be NULL; fn's
 * false is no failure. HY_E_INVALID for options out of range, nothing to go on from, half a state
 * (hy_session_feed) and logits that are not finite; HY_E_UNSUPPORTED for a model without text. */
HY_API hy_status hy_session_generate(hy_session *session, const char *prompt, size_t size,
                                     const hy_sample_options *opt, hy_text_fn fn, void *user,
                                     hy_generate_result *result, hy_error *err);

/* ---- evaluation and training ---------------------------------------------------------------- */

typedef struct hy_eval_result {
    int64_t documents; /* of two tokens or more */
    int64_t tokens;    /* predicted */
    int64_t bytes;     /* of text that they stand for */
    double nats_per_token, bits_per_byte, seconds;
} hy_eval_result;

/* Mean loss over all tokens of text, which is read as a training reads it: path are n_path files,
 * folders and "DIR/PATTERN" of text and of JSON lines, each also as .gz or .zst. A document (a
 * file, or a line of JSON) begins with a fresh state, which is carried to its end. HY_E_IO;
 * HY_E_INVALID for what is no text, no document of two tokens, a loss that is not finite and a
 * model that no session takes; HY_E_UNSUPPORTED for one without text. A failure leaves *result
 * alone. */
HY_API hy_status hy_eval(hy_model *model, const char *const *path, int64_t n_path,
                         hy_eval_result *result, hy_error *err);

typedef struct hy_train_progress {
    int64_t step, steps, tokens;
    double loss;          /* of this step, nats per token; NaN where its data asked nothing */
    double val_loss;      /* of the last evaluation; negative before the first */
    double bits_per_byte; /* of `loss` */
    double lr, grad_norm, tokens_per_s, seconds, seconds_left;
    /* Of this step, means over layers; negative where the pattern has no E, or no P. */
    double expert_entropy;   /* 1: all experts get as much */
    double expert_violation; /* what the busiest one gets more than the mean, over the mean */
    double dead_experts;
    double table_used;     /* share of P's table that was read */
    bool evaluated;        /* val_loss is new */
    bool saved;            /* a checkpoint was written */
    bool back;             /* the run goes back to its last checkpoint, before this step */
    const char *unsound;   /* why that, or why the step was dropped: a clause; NULL = it was not */
    int64_t dropped;       /* steps that were, so far */
    int64_t rewound;       /* times that the run went back to a checkpoint */
    const char *stage;     /* of the curriculum; NULL without one */
    const char *stage_end; /* what ended it with this step: "length", "val_loss", "accuracy" */
} hy_train_progress;

/* Called after every step; returning false ends the training after a checkpoint. */
typedef bool (*hy_train_fn)(void *user, const hy_train_progress *progress);

typedef struct hy_train_options {
    const char *config;      /* YAML path */
    const char *curriculum;  /* YAML path of a recipe of stages, or NULL */
    const char *const *data; /* files, folders and "DIR/PATTERN" of text, folders of built data,
                                "PATH:WEIGHT" */
    int64_t n_data;
    const char *tokenizer; /* tokenizer.json, a folder that holds one, or "bytes"; NULL = of the
                              built data, or bytes */
    const char *out;       /* model directory */
    int64_t steps;         /* 0 = from the config */
    double minutes; /* 0 = no limit; otherwise the run ends here or at its steps, what is first */
    uint64_t seed;  /* used when has_seed; at most 1e15 */
    bool has_seed;
    int threads;
    const char *backend;    /* NULL = "cpu" */
    const char *const *set; /* "train.lr=3e-4" overrides */
    int64_t n_set;
    bool resume;    /* go on from out, bit for bit */
    bool force;     /* may replace a model that is already in out */
    bool no_verify; /* built data are not read through at the start to compare their checksums */
    hy_train_fn on_step;
    void (*on_warning)(void *user, const char *text); /* a sentence that a person should see */
    void *user;
} hy_train_options;

typedef struct hy_train_result {
    int64_t steps, tokens; /* tokens that were predicted … */
    int64_t read;      /* … of so many places in windows, which documents of a task do not fill */
    double train_loss; /* nats per token, mean of the last tenth of the steps; where none of them
                          has a loss, of the last that has one; NaN: none has */
    double val_loss, val_bits_per_byte, tokens_per_s, seconds;
    double save_seconds;      /* of them, this process's on checkpoints */
    int64_t dropped, rewound; /* as in the progress */
    int64_t peak_rss_bytes;
    bool stopped; /* by on_step or the time limit */
} hy_train_result;

/* Trains a new model, or goes on with the one in opt->out, which always ends as the last
 * checkpoint. result may be NULL. HY_E_INVALID, HY_E_IO, HY_E_MEMORY, HY_E_UNSUPPORTED;
 * HY_E_DIVERGED, with a result of the steps before. */
HY_API hy_status hy_train(const hy_train_options *opt, hy_train_result *result, hy_error *err);

#ifdef __cplusplus
}
#endif

#endif
