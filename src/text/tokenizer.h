/* tokenizer.h: text to token ids and back: byte-level BPE as a tokenizer.json of Hugging Face
 * tokenizers says it, of which bytes (token id = byte value, vocabulary 256) are the simplest.
 *
 * A tokenizer does not change after it is made and may serve many threads. It takes any bytes: what
 * is not UTF-8 becomes tokens of its bytes (text/splitter.h). Ids are those of the reference's
 * encode(text, add_special_tokens=False). */
#ifndef HY_TEXT_TOKENIZER_H
#define HY_TEXT_TOKENIZER_H

#include "base/status.h"

typedef struct hy__tokenizer hy__tokenizer;

/* The tokenizer of a tokenizer.json, or, with path NULL, bytes. HY_E_UNSUPPORTED when the file asks
 * for what would change ids and is not known here, HY_E_INVALID when it contradicts itself. Of a
 * model directory: ckpt/tokenizer_dir.h. */
hy_status hy__tokenizer_open(hy__tokenizer **out, const char *path, hy_error *err);
/* Takes in the tokenizer_config.json that belongs to it. */
hy_status hy__tokenizer_configure(hy__tokenizer *tok, const char *path, hy_error *err);
void hy__tokenizer_free(hy__tokenizer *tok);

/* The largest id, plus 1: what a model's vocabulary must at least have. */
int64_t hy__tokenizer_vocab(const hy__tokenizer *tok);

/* For people. */
typedef struct hy__tokenizer_facts {
    int64_t n_merge, n_added, n_special; /* the special ones are among the added */
    char words[160];                     /* how text is cut: "gpt2", "llama3", "…" */
    bool nfc, ignore_merges, prefix_space;
} hy__tokenizer_facts;

const hy__tokenizer_facts *hy__tokenizer_describe(const hy__tokenizer *tok);
/* Whether the token stands for no text but is a mark, as "<|endoftext|>". */
bool hy__tokenizer_is_special(const hy__tokenizer *tok, int32_t token);

/* The token that ends a text: the config's eos_token or, where it names none, a special token that
 * is called as such are ("<|endoftext|>", …); -1 = none. */
int32_t hy__tokenizer_eos(const hy__tokenizer *tok);

/* *token [*n] is the caller's to free; NULL when there is nothing to encode. */
hy_status hy__tokenizer_encode(const hy__tokenizer *tok, const char *text, size_t size,
                               int32_t **token, int64_t *n, hy_error *err);

/* Encodes a text that arrives in pieces cut anywhere, also within a character: all tokens together
 * are those of the whole text encoded at once. One encoder serves one thread; its tokenizer, which
 * must outlive it, may serve many encoders. */
typedef struct hy__encoder hy__encoder;

hy_status hy__encoder_new(hy__encoder **out, const hy__tokenizer *tok, hy_error *err);
void hy__encoder_free(hy__encoder *e);

/* Takes the next `size` bytes. *token [*n] are the tokens that have become certain, maybe none;
 * they are the encoder's and last until its next call. `last` ends the text: all of its tokens have
 * been given then, and the next piece begins another text. After a failure the encoder begins
 * another text. */
hy_status hy__encoder_feed(hy__encoder *e, const char *text, size_t size, bool last,
                           const int32_t **token, int64_t *n, hy_error *err);

/* Writes the token's bytes into buf, at most cap; returns how many the token has, 0 for an id that
 * stands for no text. */
size_t hy__tokenizer_decode(const hy__tokenizer *tok, int32_t token, char *buf, size_t cap);

/* File number i = 0, 1, … of those that a model directory holds of it, as Hugging Face tokenizers
 * read them: *name, and *text, the caller's to free. *name is NULL after the last. */
hy_status hy__tokenizer_file(const hy__tokenizer *tok, int i, const char **name, char **text,
                             hy_error *err);

#endif
