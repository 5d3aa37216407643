/* training_dir.h: what shows that a directory holds a training, and that it is running.
 *
 * A training has its log locked (flock) as long as it runs, so that a directory has one. Its log,
 * events and older checkpoints belong to the model beside them: no other command puts another model
 * there. */
#ifndef HY_CKPT_TRAINING_DIR_H
#define HY_CKPT_TRAINING_DIR_H

#include "base/status.h"

#include <stdbool.h>
#include <stdio.h>

/* Beside the model: src/train/metrics.c, src/train/resume.c. */
#define HY__TRAINING_LOG      "metrics.jsonl"
#define HY__TRAINING_TENSORS  "training.safetensors"
#define HY__TRAINING_COUNTERS "training.json"

/* Opens DIR/NAME, a log, to be read and appended to, and locks it until it is closed. HY_E_IO where
 * another training has it. */
hy_status hy__training_lock(FILE **log, const char *dir, const char *name, hy_error *err);

/* Whether the open log has a name still. */
bool hy__training_log_is_there(FILE *log);

/* HY_E_IO where a training is writing to DIR, HY_E_INVALID where DIR holds one. */
hy_status hy__training_refuse(const char *dir, hy_error *err);

#endif
