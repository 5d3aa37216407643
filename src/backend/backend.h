/* backend.h: the seam. One table of kernels over tensor handles; every backend fills it.
 *
 * A backend owns memory and computes. Components describe the model by calling these kernels and
 * touch no element themselves, so one description runs on every backend:
 *   ref, ref64   naive loops straight from the equations, in float and in double: the specification
 *   cpu          fast; the instruction set is chosen at run time, dense products are oneDNN's
 *
 * Rules for every kernel
 * - One struct of arguments serves forward and backward. Fields marked (b) are read or written by
 *   the backward alone. An absent tensor (buf == NULL) leaves an optional argument out.
 * - Shapes are row-major. `ld…` is the distance between rows in elements; 0 means "dense".
 * - Activations and states are `real` (fp32; fp64 on ref64). Weights are real or, where said, bf16
 *   or quantised (tensor/quant.h: rows of whole groups, dense; never in a backward).
 * - Outputs are written (=). Gradients of parameters, of tables and of stats are added (+=).
 *   Outputs never need to be cleared first, and may hold NaN.
 * - Gradients of activations are written (=) unless said.
 * - Per-sequence arrays hold one handle for each sequence of `rows`; a NULL array, or an absent
 *   handle in it, is "a fresh zero state" as input and "not wanted" as output. state_out may be the
 *   same memory as state_in.
 * - Results do not depend on timing: equal inputs, threads and build give equal bits.
 * - A kernel returns no status. On valid arguments it fails only when a library does or when there
 *   is no memory for its scratch: it may then have written all, some or none of its outputs, and
 * the first such failure is kept for hy__backend_check, to be asked at the end of a step.
 *
 * Letters: N rows (tokens) of a batch, d model width, H heads, C chunk, see each kernel. */
#ifndef HY_BACKEND_BACKEND_H
#define HY_BACKEND_BACKEND_H

#include "base/status.h"
#include "tensor/tensor.h"

typedef struct hy__backend hy__backend;

/* Precision of the operands of a dense product; accumulation is always fp32 (fp64 on ref64). */
typedef enum hy__prec { HY__PREC_FP32 = 0, HY__PREC_BF16 = 1 } hy__prec;

/* ---- dense products ------------------------------------------------------------------------- */

/* C[m,n] = op(A)·op(B) (+ C when accumulate); op transposes when ta/tb. a: [m,k] (ta: [k,m]),
 * b: [k,n] (tb: [n,k]), all dense; b may be bf16, or with tb quantised; a may be bf16 where
 * has_bf16. */
typedef struct hy__gemm_args {
    hy__tensor c, a, b;
    int64_t m, n, k;
    bool ta, tb, accumulate;
    hy__prec prec;
} hy__gemm_args;

/* The experts' products: rows sorted by group; group e owns rows [offset[e], offset[e+1]).
 *   FORWARD  c[r,n]   = a[r,k]·w[e][n,k]ᵀ
 *   DATA     c[r,k]   = a[r,n]·w[e][n,k]
 *   WEIGHT   w[e][n,k] += c[r,n]ᵀ·a[r,k]   summed over the group's rows (w is the gradient, real)
 * Groups without rows are not touched. FORWARD takes quantised w.
 * group_prefetch: such products come soon; where w lies in a mapped file the system begins to read
 * the groups with rows, and only those. Asking takes time too: once, when rows have chosen. */
typedef enum hy__group_gemm_kind {
    HY__GROUP_GEMM_FORWARD = 0,
    HY__GROUP_GEMM_DATA = 1,
    HY__GROUP_GEMM_WEIGHT = 2,
} hy__group_gemm_kind;
typedef struct hy__group_gemm_args {
    hy__group_gemm_kind kind;
    hy__tensor c, a, w;
    hy__tensor offset; /* I32 [n_group+1] */
    int64_t n_group, n_row, n, k;
    hy__prec prec;
} hy__group_gemm_args;

/* ---- elementwise and norms ------------------------------------------------------------------ */

/* x[N,d] = table[token[N], d]. Backward: dtable[token] += dx, in row order. */
typedef struct hy__embed_args {
    hy__tensor x, table, token; /* real [N,d], real|bf16|quantised [V,d], I32 [N] */
    hy__tensor dx, dtable;      /* (b) */
    int64_t n_row, dim, vocab;
} hy__embed_args;

/* y = scale · x · rstd · w, rstd = 1/sqrt(mean(x²) + eps), over groups of `dim` elements: each of
 * n_row rows holds n_head groups side by side (element (r,h,i) at r·ldx + h·dim + i). w[dim] is
 * shared by the groups (absent = 1). scale 0 = 1; scale = 1/sqrt(dim) makes it the L2 norm.
 * Backward: dx (= , or += when dx_add), dw +=. */
typedef struct hy__rmsnorm_args {
    hy__tensor y, rstd, x, w; /* [n_row,n_head,dim], [n_row,n_head], …, real [dim] */
    hy__tensor dy, dx, dw;    /* (b) dx has ldx */
    int64_t n_row, n_head, dim, ldx;
    double eps, scale;
    bool dx_add;
} hy__rmsnorm_args;

/* y = RMSNorm(x·SiLU(z))·w over groups of `group` elements of a row of `dim` (Mamba-2's gated norm:
 * the gate comes first). w[dim]. Backward recomputes from x and z. dz has ldz. */
typedef struct hy__gated_norm_args {
    hy__tensor y, x, z, w;     /* [N,dim], [N,dim], [N,dim] with ldz, [dim] */
    hy__tensor dy, dx, dz, dw; /* (b) */
    int64_t n_row, dim, group, ldz;
    double eps;
} hy__gated_norm_args;

/* out = x + s·g·y, g a scalar parameter [1]; out may be x. Backward: dy = s·g·dout, dg += s·Σ
 * dout·y; and where x_again is present, x_again = out - s·g·y, which is x but for a rounding; it
 * may be out.
 */
typedef struct hy__residual_args {
    hy__tensor out, x, y, g;
    hy__tensor dout, dy, dg, x_again; /* (b) */
    int64_t n;
    double scale; /* s; 0 = 1 */
} hy__residual_args;

/* h[N,f] = SiLU(u[:, :f])·u[:, f:], u[N,2f]. Backward: du from dh, u. */
typedef struct hy__swiglu_args {
    hy__tensor h, u;
    hy__tensor dh, du; /* (b) */
    int64_t n_row, f;
} hy__swiglu_args;

/* y[N,d] = x·σ(s[N] + bias[1]). Backward: dx, ds, dbias +=. gate_sum[1] += Σσ when present. */
typedef struct hy__row_gate_args {
    hy__tensor y, x, s, bias, gate_sum;
    hy__tensor dy, dx, ds, dbias; /* (b) */
    int64_t n_row, dim;
} hy__row_gate_args;

/* Rotary embedding in place on x[N, n_head, dim] (row distance ldx): pair (i, i+dim/2) turned by
 * pos·theta^(-2i/dim); inverse turns back, which is the backward. */
typedef struct hy__rope_args {
    hy__tensor x;
    const hy__rows *rows;
    int64_t n_head, dim, ldx;
    double theta;
    bool inverse;
} hy__rope_args;

/* Depthwise causal convolution + SiLU: y[t,c] = SiLU(bias[c] + Σ_j w[c,j]·x[t-K+1+j, c]).
 * x before the piece comes from the state [K-1, ch] (oldest first), which leaves with the last K-1
 * inputs. Backward: dx = , dw +=, dbias +=, dstate_in = (from dstate_out and dy). */
typedef struct hy__conv_args {
    hy__tensor y, x, w, bias; /* [N,ch], [N,ch] with ldx, [ch,K], [ch] */
    const hy__rows *rows;
    const hy__tensor *state_in, *state_out;
    hy__tensor dy, dx, dw, dbias;             /* (b) dx has ldx */
    const hy__tensor *dstate_in, *dstate_out; /* (b) written, read */
    int64_t ch, width, ldx;
} hy__conv_args;

/* ---- S: state space duality ------------------------------------------------------------------
 * Per head h (group g = h·G/H), state s[P,Ns], Mamba-2 (arXiv 2405.21060):
 *   Δ = softplus(dt + dt_bias),  A = -exp(A_log)
 *   s_t = exp(ΔA)·s_{t-1} + Δ·x_t ⊗ B_t,   y_t = s_t·C_t + D·x_t
 * x[N,H,P], b[N,G,Ns], c[N,G,Ns] share the row distance ldx (columns of one buffer); dt[N,H] has
 * lddt. `chunk_state` keeps the state at the start of every HY__SSD_KEPT absolute chunks of the
 * batch [hy__rows_units(rows, HY__SSD_KEPT·chunk), H, P·Ns] for the backward (absent when not
 * training), which computes those between again; the order within a head is the backend's own. The
 * backward takes the states from there, not from state_in. Backward: dx, db, dc share lddx; ddt
 * (raw, has lddt); da_log, dd, ddt_bias +=; dstate_in =. */
enum { HY__SSD_KEPT = 2 };
typedef struct hy__ssd_args {
    hy__tensor y; /* [N,H,P] */
    hy__tensor x, b, c, dt;
    hy__tensor a_log, d, dt_bias; /* [H] each */
    hy__tensor chunk_state;
    const hy__rows *rows;
    const hy__tensor *state_in, *state_out;               /* [H,P,Ns] */
    hy__tensor dy, dx, db, dc, ddt, da_log, dd, ddt_bias; /* (b) */
    const hy__tensor *dstate_in, *dstate_out;             /* (b) */
    int64_t n_head, head_dim, d_state, n_group, chunk;
    int64_t ldx, lddt, lddx;
    hy__prec prec; /* of the products */
} hy__ssd_args;

/* ---- A: sparse global attention ---------------------------------------------------------------
 * Token t (absolute) of block b(t) = t/C attends to positions s <= t that lie in block 0 (the
 * sink), in its window (s > t - window), or in a selected block. Candidates for selection are the
 * blocks 1 <= b with (b+1)·C <= t - window + 1 (wholly before the window) and, when memory_blocks M
 * > 0, b >= b(t) - M. The topk best by score = (Σ of the group's queries)·(mean key of the block)
 * are taken, ties to the lower index; one choice per token and KV head.
 *
 * The cache of one sequence covers positions < pos: k, v [n_slot, C, n_kv, hd] and ksum
 * [n_slot, n_kv, hd], the running sum of each block's keys. Block b lies in slot hy__kv_slot. Keys
 * of the piece itself come from k, v; kv_append then copies them into the cache. k and v of a cache
 * are real, or bf16, which the backward does not take. In a sequence with a cache in bf16, before
 * or after the piece, keys and values of the piece count as rounded too: it does not matter where a
 * sequence is cut. ksum is real, of keys as they were before.
 *
 * Order of a backward: kv_append_backward first, always (also without a cache); it writes (=)
 * dk, dv from dk_out, dv_out (0 where the cache after the piece does not hold the row) and
 * dk_in, dv_in (0 where the entry was dropped or never filled; dk_in may be dk_out when n_slot is
 * the same). Then attn_backward: dq =, and dk, dv, dk_in, dv_in +=. */
typedef struct hy__attn_args {
    hy__tensor o, lse;  /* [N,H,hd], [N,H] log-sum-exp of the scaled scores */
    hy__tensor q, k, v; /* [N,H,hd] ldq, [N,n_kv,hd] ldk, [N,n_kv,hd] ldv */
    hy__tensor select;  /* I32 [N,n_kv,topk] absolute block numbers, ascending, -1 = none (last) */
    hy__tensor block_sum; /* select's scratch: real [hy__rows_units(rows, C), n_kv, hd] */
    const hy__rows *rows;
    const hy__tensor *k_in, *v_in, *ksum_in;    /* cache before the piece */
    const hy__tensor *k_out, *v_out, *ksum_out; /* kv_append: cache after it; may be the same */
    const int64_t *slot_in, *slot_out;          /* n_slot of each sequence's cache */
    hy__tensor dout, dq, dk, dv;                /* (b) dq, dk, dv have ldq, ldk, ldv */
    hy__tensor delta;                           /* (b) scratch [N,H] */
    const hy__tensor *dk_in, *dv_in;            /* (b) gradient of the cache before the piece */
    const hy__tensor *dk_out, *dv_out; /* (b) of the cache after it; kv_append_backward reads it */
    int64_t n_head, n_kv, head_dim, chunk, window, topk, memory_blocks;
    int64_t ldq, ldk, ldv;
    double scale;                   /* of q·k before the softmax */
    hy__prec prec;                  /* of the products */
    hy__tensor stat;                /* attn_stat: [HY__ATTN_STAT_N] += */
    int64_t stat_first, stat_every; /* attn_stat: the first row of the batch that is looked at, and
                                     * from there every so many-th */
} hy__attn_args;

/* Where the weight of the softmax lies, over the heads of some rows; caches are real. A position
 * counts as the window's before the sink's. */
enum {
    HY__ATTN_STAT_LOOKS,          /* (row, head) pairs */
    HY__ATTN_STAT_WINDOW,         /* Σ of the weight in the window */
    HY__ATTN_STAT_SINK,           /* … in the sink */
    HY__ATTN_STAT_CHOSEN,         /* … in selected blocks */
    HY__ATTN_STAT_DISTANCE,       /* Σ weight · distance from the token, in tokens */
    HY__ATTN_STAT_BLOCKS,         /* selected blocks, once for each (row, KV head) */
    HY__ATTN_STAT_BLOCK_DISTANCE, /* Σ distance of their middle positions, in tokens */
    HY__ATTN_STAT_N
};

/* Slot of absolute block b in a cache of n_slot slots: the sink keeps slot 0, the others share a
 * ring of n_slot - 1. A cache is large enough for `capacity` tokens with n_slot = ceil(capacity/C),
 * and for any number of tokens with 2 + ceil((max(window, 2) - 2)/C) when topk is 0, or with
 * 2 + max(memory_blocks, ceil((max(window, 2) - 2)/C)) when memory_blocks > 0: the sink, and the
 * blocks that the window - 1 positions before any pos, or blocks pos/C - M ... pos/C, can touch. */
static inline int64_t hy__kv_slot(int64_t b, int64_t n_slot) {
    return b == 0 ? 0 : 1 + (b - 1) % (n_slot - 1);
}

/* ---- E: chunk-routed experts ------------------------------------------------------------------
 * unit_mean: m[u] = mean of the normed input over the unit before u (u's sequence's very first
 * unit: `first`), for every unit that the piece touches [hy__rows_units(rows, unit), d]. unit_of[N]
 * = the row of m that serves the token. State between two pieces:
 *   pos % unit != 0   sum[d] of the open unit so far, prev[d] its router input
 *   pos % unit == 0   sum of the whole unit just ended, whose mean comes next; prev is not read
 * Backward: dx =, dfirst +=, dsum_in/dprev_in = from dm and dsum_out/dprev_out.
 *
 * own: m[u] = mean over the tokens of u itself, as many as the piece has of it. Every pos is a
 * multiple of unit then; there is no state and no `first`. */
typedef struct hy__unit_mean_args {
    hy__tensor m, unit_of, x, first; /* [U,d], I32 [N], [N,d], [d] */
    const hy__rows *rows;
    const hy__tensor *sum_in, *prev_in, *sum_out, *prev_out;     /* [d] */
    hy__tensor dm, dx, dfirst;                                   /* (b) */
    const hy__tensor *dsum_in, *dprev_in, *dsum_out, *dprev_out; /* (b) */
    int64_t dim, unit;
    bool own;
} hy__unit_mean_args;

enum { HY__EXPERT_MAX = 256 };

/* Chooses experts for R routing rows. l = logits[r] (+ prior[prior_of[r]] when present), divided by
 * temperature. Candidates: all, or when shortlist m > 0 the m best of prior + bias of the row's
 * prior. Banned experts never are. The k largest of l + bias are chosen, ties to the lower index;
 * force[r-independent] replaces the choice when n_force > 0. weight = softmax over the chosen l.
 * idx is sorted by falling l + bias. lse[R] = logsumexp(l) over all experts.
 * load[E] += rows that chose e; loss_sum[2] += Σ lse², Σ of the auxiliary loss E·Σ_e f_e·P_e
 * (f_e = share of the choices, P_e = mean softmax(l)_e over this call's rows).
 * Backward: from dweight: dlogits =, dprior = (summed over its rows); adds
 * z_scale·d(Σ lse²) and aux_scale·d(aux). */
typedef struct hy__route_args {
    hy__tensor idx, weight, lse;         /* I32 [R,k], [R,k], [R] */
    hy__tensor logits, prior, prior_of;  /* [R,E], [U,E] and I32 [R], or both absent */
    hy__tensor bias;                     /* [E] balance, no gradient */
    hy__tensor load, loss_sum;           /* [E] +=, [2] +=; may be absent */
    hy__tensor call_load;                /* [E] =, this call's rows per expert (kept for aux) */
    hy__tensor dweight, dlogits, dprior; /* (b) */
    int64_t n_row, n_prior, n_expert, k, shortlist;
    double temperature; /* 0 = 1 */
    const bool *ban;    /* host [E] or NULL */
    const int32_t *force;
    int64_t n_force;           /* force[n_force] host; 0 = off; then k = n_force */
    double z_scale, aux_scale; /* (b) */
} hy__route_args;

/* Sorts the N·k (token, choice) pairs by expert, stably: `perm`[i] = token of sorted row i,
 * `place`[t·k+j] = sorted row of the pair, offset[E+1]. Token t's choices are
 * idx[unit_of[t]] (unit_of absent: idx[t]). */
typedef struct hy__route_sort_args {
    hy__tensor perm, place, offset; /* I32 [N·k], I32 [N,k], I32 [E+1] */
    hy__tensor idx, unit_of;        /* I32 [R,k], I32 [N] or absent */
    int64_t n_row, k, n_expert;
} hy__route_sort_args;

/* load[D,E] += tokens of a domain that chose e; domains from D - 1 on count as the last. */
typedef struct hy__route_stat_args {
    hy__tensor load;         /* [D,E] */
    hy__tensor idx, unit_of; /* as in hy__route_sort_args */
    const hy__rows *rows;
    int64_t k, n_expert, n_domain;
} hy__route_stat_args;

/* xg[i] = x[perm[i]] for i < n_out. Backward: dx[t] = Σ_j dxg[place[t,j]]. */
typedef struct hy__gather_rows_args {
    hy__tensor xg, x, perm;    /* [n_out,dim], [N,dim], I32 [n_out] */
    hy__tensor dxg, dx, place; /* (b) */
    int64_t n_out, n_row, k, dim;
} hy__gather_rows_args;

/* y[t] = Σ_j weight[u(t),j]·o[place[t,j]], u(t) = unit_of[t] (absent: t).
 * Backward: do[place[t,j]] = weight·dy[t]; dweight[u,j] = Σ_t dy[t]·o[place[t,j]] (= over [R,k]).
 */
typedef struct hy__combine_args {
    hy__tensor y, o, place, weight, unit_of;
    hy__tensor dy, d_o, dweight; /* (b) */
    int64_t n_row, n_route, k, dim;
} hy__combine_args;

/* bias_e += rate·sign(mean(load) - load_e), then load = 0 (loss-free balancing, arXiv 2408.15664).
 */
typedef struct hy__balance_args {
    hy__tensor bias, load; /* [E] */
    int64_t n_expert;
    double rate;
} hy__balance_args;

/* Tokens of a block of W's chunked form, which begin with the piece and anew with every chunk; of
 * 32, 48, 64 the fastest at head widths 64 and 128, on any instruction set of the CPU. */
enum { HY__DELTA_BLOCK = 32 };

/* ---- W: workspace ------------------------------------------------------------------------------
 * Per head, memory M[dk,dv] (fp32), gated delta rule and n reads at the same token:
 *   a = σ(ga + a_offset), b = σ(gb)
 *   M_t = a (I - b k kᵀ) M_{t-1} + b k vᵀ           (q, k arrive L2-normed)
 *   r_1 = M_tᵀ q,  q_{j+1} = L2(W_r · RMS(r_j)),  r_{j+1} = M_tᵀ q_{j+1}
 *   y = Σ_j softmax_j(gm_j + gm_bias_j) r_j
 * L2(x) = x/sqrt(Σx² + eps), RMS(r) = r/sqrt(mean r² + eps), no weights. q, k, v have row distances
 * ldq, ldk, ldv; ga, gb, gm share ldg.
 * Kept for the backward (absent when not training): r[N,H,n,dv] and whatever the fast form wants in
 * u[N,H,dv] and chunk_state[hy__rows_units(rows, chunk),H,dk,dv] (M at the start of each chunk). */
typedef struct hy__delta_args {
    hy__tensor y;                   /* [N,H,dv] */
    hy__tensor q, k, v, ga, gb, gm; /* [N,H,dk], [N,H,dk], [N,H,dv], [N,H], [N,H], [N,H,n] */
    hy__tensor wr, gm_bias;         /* [H,dk,dv], [H,n] */
    hy__tensor r, u, chunk_state;
    const hy__rows *rows;
    const hy__tensor *state_in, *state_out;                  /* [H,dk,dv] */
    hy__tensor dy, dq, dk, dv, dga, dgb, dgm, dwr, dgm_bias; /* (b) same row distances */
    const hy__tensor *dstate_in, *dstate_out;                /* (b) */
    int64_t n_head, d_k, d_v, reads, chunk;
    int64_t ldq, ldk, ldv, ldg;
    double a_offset, eps;
    hy__tensor stat; /* delta_stat: [HY__DELTA_STAT_READS + n] += */
} hy__delta_args;

/* What delta did, over rows and heads. M is looked at as chunk_state has it: at the start of every
 * chunk, and of every piece that continues another, but not of a fresh sequence. */
enum {
    HY__DELTA_STAT_ROWS,  /* (row, head) pairs */
    HY__DELTA_STAT_DECAY, /* Σ a */
    HY__DELTA_STAT_WRITE, /* Σ b */
    HY__DELTA_STAT_LOOKS, /* (chunk, head) pairs */
    HY__DELTA_STAT_NORM,  /* Σ of the Frobenius norms of M */
    HY__DELTA_STAT_READS  /* n sums of each read's share in y */
};

/* ---- P: product-key memory ---------------------------------------------------------------------
 * pkm_select: per row and head, scores of both halves against n sub-keys, top-k of each, the k best
 * of the k² sums (ties to the lower row number): idx = i1·n + i2, score = s1 + s2, sorted by
 * falling score. key[H,2,n,dh], q[N,H,2,dh]. Backward: dq =, dkey += from dscore. */
typedef struct hy__pkm_select_args {
    hy__tensor idx, score, q, key; /* I32 [N,H,k], [N,H,k], … */
    hy__tensor dscore, dq, dkey;   /* (b) */
    int64_t n_row, n_head, n_key, d_half, k;
} hy__pkm_select_args;

/* pkm_read: w = softmax(score) per head; y[N,dv] = Σ_h Σ_j w·table[idx]. Only the named rows are
 * read. Backward: dscore =, dtable[row] += by reverse index (fixed order), touched[row] = 1.
 * use[n_value] += w when present. */
typedef struct hy__pkm_read_args {
    hy__tensor y, weight, idx, score,
        table;      /* …, [N,H,k], …, …, real|bf16|quantised [n_value,dv] */
    hy__tensor use; /* [n_value] or absent */
    hy__tensor dy, dscore, dtable, touched; /* (b) touched: I32 [n_value] */
    hy__tensor reverse;                     /* (b) scratch I32 [n_value + 1 + N·H·k] */
    int64_t n_row, n_head, k, d_value, n_value;
} hy__pkm_read_args;

/* ---- loss and optimizer ------------------------------------------------------------------------
 */

/* nll[r] = logsumexp(logits[r]) - logits[r, target]; 0 where target < 0 (padding). With grad, the
 * logits are replaced in place by scale·(softmax - onehot) (zero rows for padding); or, where
 * narrow is present, that goes there, rounded, and the logits stay. hit[r] = 1, where present, when
 * the target is the first of the largest logits, else 0. */
typedef struct hy__cross_entropy_args {
    hy__tensor logits, target, nll; /* [N,V], I32 [N], [N] */
    hy__tensor narrow;              /* BF16 [N,V] */
    hy__tensor hit;                 /* I32 [N] */
    int64_t n_row, vocab;
    bool grad;
    double scale;
} hy__cross_entropy_args;

/* AdamW (Loshchilov & Hutter 2019), one pass. g is multiplied by g_scale first (clipping).
 * step counts from 1. With `touched`, only rows of `dim` elements whose flag is set are updated
 * (row-sparse: m, v of the others stand still), their g is cleared and their flag reset; with p
 * absent they are only cleared. */
typedef struct hy__adamw_args {
    hy__tensor p, g, m, v;
    hy__tensor touched; /* I32 [n/dim] or absent */
    int64_t n, dim, step;
    double lr, beta1, beta2, eps, weight_decay, g_scale;
} hy__adamw_args;

/* out[0] += Σ x² over n elements; with `touched` only over the flagged rows of `dim`. */
typedef struct hy__sqsum_args {
    hy__tensor out, x, touched; /* out: real [1] */
    int64_t n, dim;
} hy__sqsum_args;

/* ---- Muon --------------------------------------------------------------------------------------
 * What its update of a matrix is made of beside gemm (model/muon.c). */

/* m = beta·m + (1 - beta)·g', g' = g_scale·g; u = (beta·m + (1 - beta)·g')/‖·‖, the direction of
 * Nesterov's momentum, of norm 1 over its n elements. Where g is 0 everywhere (an expert that was
 * not chosen) m stays as it is and u = 0. */
typedef struct hy__momentum_args {
    hy__tensor u, m, g; /* real [n] */
    int64_t n;
    double beta, g_scale;
} hy__momentum_args;

/* p = a·I + b·x + c·y, all [n,n]; p may be x or y. */
typedef struct hy__polynomial_args {
    hy__tensor p, x, y;
    int64_t n;
    double a, b, c;
} hy__polynomial_args;

/* y = a·y + b·x, n reals. */
typedef struct hy__axpby_args {
    hy__tensor y, x;
    int64_t n;
    double a, b;
} hy__axpby_args;

/* dst = src (add: dst += src), n elements; src and dst may differ in dtype (real, bf16). */
typedef struct hy__copy_args {
    hy__tensor dst, src;
    int64_t n;
    bool add;
} hy__copy_args;

/* ---- the table ---------------------------------------------------------------------------------
 */

/* X(kernel, argument struct): the whole list, in the order above. */
#define HY__KERNELS(X)                                                                             \
    X(gemm, hy__gemm_args)                                                                         \
    X(group_gemm, hy__group_gemm_args)                                                             \
    X(group_prefetch, hy__group_gemm_args)                                                         \
    X(embed, hy__embed_args)                                                                       \
    X(embed_backward, hy__embed_args)                                                              \
    X(rmsnorm, hy__rmsnorm_args)                                                                   \
    X(rmsnorm_backward, hy__rmsnorm_args)                                                          \
    X(gated_norm, hy__gated_norm_args)                                                             \
    X(gated_norm_backward, hy__gated_norm_args)                                                    \
    X(residual, hy__residual_args)                                                                 \
    X(residual_backward, hy__residual_args)                                                        \
    X(swiglu, hy__swiglu_args)                                                                     \
    X(swiglu_backward, hy__swiglu_args)                                                            \
    X(row_gate, hy__row_gate_args)                                                                 \
    X(row_gate_backward, hy__row_gate_args)                                                        \
    X(rope, hy__rope_args)                                                                         \
    X(conv, hy__conv_args)                                                                         \
    X(conv_backward, hy__conv_args)                                                                \
    X(ssd, hy__ssd_args)                                                                           \
    X(ssd_backward, hy__ssd_args)                                                                  \
    X(attn_select, hy__attn_args)                                                                  \
    X(attn, hy__attn_args)                                                                         \
    X(attn_backward, hy__attn_args)                                                                \
    X(kv_append, hy__attn_args)                                                                    \
    X(kv_append_backward, hy__attn_args)                                                           \
    X(attn_stat, hy__attn_args)                                                                    \
    X(unit_mean, hy__unit_mean_args)                                                               \
    X(unit_mean_backward, hy__unit_mean_args)                                                      \
    X(route, hy__route_args)                                                                       \
    X(route_backward, hy__route_args)                                                              \
    X(route_sort, hy__route_sort_args)                                                             \
    X(route_stat, hy__route_stat_args)                                                             \
    X(gather_rows, hy__gather_rows_args)                                                           \
    X(gather_rows_backward, hy__gather_rows_args)                                                  \
    X(combine, hy__combine_args)                                                                   \
    X(combine_backward, hy__combine_args)                                                          \
    X(balance, hy__balance_args)                                                                   \
    X(delta, hy__delta_args)                                                                       \
    X(delta_backward, hy__delta_args)                                                              \
    X(delta_stat, hy__delta_args)                                                                  \
    X(pkm_select, hy__pkm_select_args)                                                             \
    X(pkm_select_backward, hy__pkm_select_args)                                                    \
    X(pkm_read, hy__pkm_read_args)                                                                 \
    X(pkm_read_backward, hy__pkm_read_args)                                                        \
    X(cross_entropy, hy__cross_entropy_args)                                                       \
    X(adamw, hy__adamw_args)                                                                       \
    X(sqsum, hy__sqsum_args)                                                                       \
    X(momentum, hy__momentum_args)                                                                 \
    X(polynomial, hy__polynomial_args)                                                             \
    X(axpby, hy__axpby_args)                                                                       \
    X(copy, hy__copy_args)

typedef struct hy__kernels {
#define HY__KERNEL_FIELD(name, args) void (*name)(hy__backend * be, const args *a);
    HY__KERNELS(HY__KERNEL_FIELD)
#undef HY__KERNEL_FIELD
} hy__kernels;

/* What the sparse kernels really touched since the counters were cleared. */
typedef struct hy__counters {
    int64_t expert_rows;  /* rows multiplied by some expert's weights (group_gemm, all kinds) */
    int64_t experts_read; /* groups with at least one row, summed over group_gemm calls */
    int64_t kv_positions; /* (token, KV head, position) triples that attn read */
    int64_t table_rows;   /* rows of value tables that pkm_read read */
} hy__counters;

struct hy__backend {
    const char *name; /* "cpu", "ref", "ref64", … */
    const char *isa;  /* "avx512", "avx2", "generic"; "" where it has no meaning */
    hy__dtype real;   /* dtype of activations and states */
    bool has_bf16;    /* bf16 products run in hardware */
    bool host_memory; /* buffers are the host's memory: weights may stay in a mapped file, which
                         kernels read and never write */
    int n_thread;
    hy__kernels kernels; /* a copy, so that a call is one load away */
    hy__counters counters;
    hy_error error; /* the first failure of a kernel since the last check */

    hy_status (*buffer_new)(hy__backend *be, size_t size, hy__buffer *out, hy_error *err);
    void (*buffer_free)(hy__backend *be, hy__buffer *buf);
    void (*write)(hy__backend *be, hy__tensor dst, const void *src,
                  size_t size);                                            /* host to device */
    void (*read)(hy__backend *be, void *dst, hy__tensor src, size_t size); /* device to host */
    void (*zero)(hy__backend *be, hy__tensor dst, size_t size);
    void (*free)(hy__backend *be);
    void *self; /* the backend's own data */

    /* For whoever puts kernels of its own before these, to watch them (src/bench/watch.h). */
    int32_t layer; /* whose kernels run: 1 + the layer's index; 0 = the frame's */
    void *watch;
};

/* Opens a backend: "cpu" (fastest instruction set of this machine), "cpu:avx512vnni", "cpu:avx512",
 * "cpu:avx2", "cpu:generic", "ref", "ref64". n_thread 0 = all cores that this process may use.
 * HY_E_INVALID for an unknown name (the sentence lists the known ones), HY_E_UNSUPPORTED when the
 * machine lacks it. */
hy_status hy__backend_open(hy__backend **out, const char *name, int n_thread, hy_error *err);
void hy__backend_free(hy__backend *be); /* NULL is fine */

/* All names that hy__backend_open knows, NULL-terminated. */
const char *const *hy__backend_known(void);

/* Those that it can open on this machine, first the one that "cpu" stands for;
 * NULL-terminated. */
const char *const *hy__backend_names(void);

/* Returns and clears the first failure since the last check. */
hy_status hy__backend_check(hy__backend *be, hy_error *err);

/* Host helpers: n elements of a tensor from and to host numbers; of a quantised one, whole pieces
 * (tensor/quant.h) of one row, rounded on the way there. */
void hy__tensor_write_f32(hy__backend *be, hy__tensor dst, const float *src, int64_t n);
void hy__tensor_read_f32(hy__backend *be, float *dst, hy__tensor src, int64_t n);
void hy__tensor_write_f64(hy__backend *be, hy__tensor dst, const double *src, int64_t n);
void hy__tensor_read_f64(hy__backend *be, double *dst, hy__tensor src, int64_t n);

#endif
