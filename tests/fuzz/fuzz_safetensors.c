/* The safetensors reader on arbitrary bytes: it refuses, or every element that it hands out can be
 * read. Seeds are in corpus/safetensors. */
#include "ckpt/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hy__st *st;
    hy_error err;
    if (hy__st_open_memory(&st, data, size, "fuzz", &err) != HY_OK) return 0;
    for (int64_t i = 0; i < hy__st_count(st); i++) {
        const hy__st_tensor *t = hy__st_at(st, i);
        HY_ASSERT(hy__st_find(st, t->name) == t);
        for (int64_t e = 0; e < t->n; e++) {
            double v;
            hy__st_get_f64(&v, t, e, 1);
        }
    }
    hy__st_close(st);
    return 0;
}
