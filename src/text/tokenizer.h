/* tokenizer.h: text to token ids and back.
 *
 * A tokenizer does not change after it is made and may serve many threads. Today there is one kind,
 * bytes: token id = byte value, vocabulary 256. */
#ifndef HY_TEXT_TOKENIZER_H
#define HY_TEXT_TOKENIZER_H

#include "base/status.h"

typedef struct hy__tokenizer hy__tokenizer;

/* The tokenizer of a tokenizer.json, or, with path NULL, bytes. HY_E_UNSUPPORTED when it is not of
 * bytes. Of a model directory: ckpt/tokenizer_dir.h. */
hy_status hy__tokenizer_open(hy__tokenizer **out, const char *path, hy_error *err);
void hy__tokenizer_free(hy__tokenizer *tok);

int64_t hy__tokenizer_vocab(const hy__tokenizer *tok);

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
