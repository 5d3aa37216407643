/* count.h: a backend without arithmetic and without storage: the model's own forward and backward
 * run on it and add up what they would have computed and moved. It proves the formulas by which
 * costs are planned (src/account).
 *
 * FLOPs are those of products and recurrences, by the definition in model/component.h; they are
 * counted here from the arguments of every kernel call, token by token where tokens differ. Bytes
 * are those of every tensor that a kernel reads or writes, each once a call (twice where it adds).
 * What depends on data is counted at its most: an expert's weights once for each row, up to all. */
#ifndef HY_BACKEND_COUNT_COUNT_H
#define HY_BACKEND_COUNT_COUNT_H

#include "backend/backend.h"

/* Opens one. Tensors have no contents: reads give zeros. */
hy_status hy__count_open(hy__backend **out, hy_error *err);

/* What was counted since it was opened or cleared: in all, and the bytes moved in or out of one
 * buffer (a model's weights, a state, the memory of a step), or with NULL of every one. */
double hy__count_flops(const hy__backend *be);
double hy__count_bytes(const hy__backend *be, const hy__buffer *buf);
void hy__count_clear(hy__backend *be);

#endif
