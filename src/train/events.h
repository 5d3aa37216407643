/* events.h: TensorBoard's event files: one record after another, which it reads while they grow.
 *
 *   record   u64 length, u32 masked CRC-32C of the length, bytes, u32 masked CRC-32C of the bytes
 *   bytes    a protocol buffer: Event {wall_time = 1, step = 2, file_version = 3, summary = 5,
 *            session_log = 7}
 *
 * A run that is resumed begins a file of its own. Where steps come a second time, an event before
 * them tells TensorBoard to forget what it had of them and of later ones. */
#ifndef HY_TRAIN_EVENTS_H
#define HY_TRAIN_EVENTS_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct hy__events hy__events;

/* What becomes of the event files of an earlier run in the same folder. */
typedef enum hy__events_way {
    HY__EVENTS_GO_ON,   /* this one goes on from it */
    HY__EVENTS_BEGIN,   /* they go */
    HY__EVENTS_REPLACE, /* they go with hy__events_settle; until then TensorBoard sees them alone */
} hy__events_way;

/* Begins a file in the folder `dir`, which is made. HY_E_IO, HY_E_MEMORY. */
hy_status hy__events_open(hy__events **out, const char *dir, hy__events_way way, hy_error *err);
hy_status hy__events_settle(hy__events *e, hy_error *err);
/* NULL is fine. What was to replace others and was not settled goes. */
void hy__events_close(hy__events *e);

/* Adds the numbers of an object, flushed: {"loss": 2, "E": {"gate": [1, 1]}} as loss, E/gate/0 and
 * E/gate/1. Lists deeper than two are left out, and what is no number. */
struct json_t; /* jansson's */
hy_status hy__events_add(hy__events *e, int64_t step, const struct json_t *numbers, hy_error *err);

#endif
