/* attn.h: where sparse attention may look, for the reference and the fast kernels alike.
 *
 * Positions are absolute; t is a token, b a block of `chunk` positions. The rules are those of
 * hy__attn_args in backend.h. */
#ifndef HY_BACKEND_CPU_ATTN_H
#define HY_BACKEND_CPU_ATTN_H

#include "backend/cpu/cpu.h"

/* First position of t's window. */
static inline int64_t attn_window_begin(const hy__attn_args *a, int64_t t) {
    return t >= a->window ? t - a->window + 1 : 0;
}

/* The blocks that t may select: [begin, end). */
static inline int64_t attn_candidate_begin(const hy__attn_args *a, int64_t t) {
    const int64_t first = a->memory_blocks > 0 ? t / a->chunk - a->memory_blocks : 1;
    return first > 1 ? first : 1;
}
static inline int64_t attn_candidate_end(const hy__attn_args *a, int64_t t) {
    return attn_window_begin(a, t) / a->chunk;
}

/* Does a cache of n_slot slots that covers positions < end hold block b? The sink, and the last
 * n_slot - 1 blocks. */
static inline bool attn_cache_holds(const hy__attn_args *a, int64_t b, int64_t end,
                                    int64_t n_slot) {
    if (end <= 0) return false;
    const int64_t last = (end - 1) / a->chunk;
    return b <= last && (b == 0 || b > last - (n_slot - 1));
}

/* The block that lies in `slot` of such a cache; -1 when it is empty. */
static inline int64_t attn_cache_block(const hy__attn_args *a, int64_t slot, int64_t end,
                                       int64_t n_slot) {
    if (slot == 0) return end > 0 ? 0 : -1;
    const int64_t last = end > 0 ? (end - 1) / a->chunk : 0;
    if (last < slot) return -1;
    return last - (last - slot) % (n_slot - 1);
}

/* Does sequence i have a cache in bf16? */
static inline bool attn_is_half(const hy__attn_args *a, int64_t i) {
    return (a->k_in && a->k_in[i].dtype == HY__DTYPE_BF16) ||
           (a->k_out && a->k_out[i].dtype == HY__DTYPE_BF16);
}

static inline int64_t attn_ldq(const hy__attn_args *a) {
    return a->ldq ? a->ldq : a->n_head * a->head_dim;
}
static inline int64_t attn_ldk(const hy__attn_args *a) {
    return a->ldk ? a->ldk : a->n_kv * a->head_dim;
}
static inline int64_t attn_ldv(const hy__attn_args *a) {
    return a->ldv ? a->ldv : a->n_kv * a->head_dim;
}

#endif
