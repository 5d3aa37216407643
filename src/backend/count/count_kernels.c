/* count_kernels.c: what each kernel would compute and move, from its arguments; see count.h. */
#include "backend/count/count_kernels.h"

static void flops(hy__backend *be, double n) {
    ((count *)be->self)->flops += n;
}

/* n elements of each tensor of the list. */
#define TOUCH(be, n, ...)                                                                          \
    do {                                                                                           \
        const hy__tensor list_[] = {__VA_ARGS__};                                                  \
        for (size_t i_ = 0; i_ < sizeof list_ / sizeof *list_; i_++)                               \
            hy__count_touch(be, list_[i_], (double)(n));                                           \
    } while (0)

/* n elements of a state of every sequence. */
static void touch_states(hy__backend *be, const hy__rows *rows, const hy__tensor *state,
                         int64_t n) {
    for (int64_t i = 0; state && i < rows->n_seq; i++) hy__count_touch(be, state[i], (double)n);
}

static double less(double a, double b) {
    return a < b ? a : b;
}

static double triangle(int64_t n) {
    return (double)n * (double)(n + 1) / 2;
}

/* Tokens of the piece of a unit that begins `done` tokens into it: to the unit's end at most. */
static int64_t piece(const hy__seq *s, int64_t done, int64_t unit) {
    const int64_t room = unit - (s->pos + done) % unit;
    return s->len - done < room ? s->len - done : room;
}

/* Pairs s <= t inside the blocks that a kernel walks over; none when it takes the recurrence. */
static double walked_pairs(const hy__rows *rows, int64_t chunk, int64_t block) {
    double sum = 0;
    for (int64_t i = 0; i < rows->n_seq; i++) {
        const hy__seq *s = &rows->seq[i];
        for (int64_t t = 0, n; s->len > 1 && t < s->len; t += n) {
            n = piece(s, t, chunk);
            n = n < block ? n : block;
            sum += triangle(n);
        }
    }
    return sum;
}

/* ---- dense products ---------------------------------------------------------------------------
 */

static void gemm(hy__backend *be, const hy__gemm_args *a) {
    flops(be, 2.0 * (double)(a->m * a->n) * (double)a->k);
    TOUCH(be, a->m * a->k, a->a);
    TOUCH(be, a->k * a->n, a->b);
    TOUCH(be, a->m * a->n * (a->accumulate ? 2 : 1), a->c);
}

static void group_gemm(hy__backend *be, const hy__group_gemm_args *a) {
    const int64_t groups = a->n_group < a->n_row ? a->n_group : a->n_row;
    const bool weight = a->kind == HY__GROUP_GEMM_WEIGHT, data = a->kind == HY__GROUP_GEMM_DATA;
    flops(be, 2.0 * (double)(a->n_row * a->n) * (double)a->k);
    TOUCH(be, a->n_row * (data ? a->n : a->k), a->a);
    TOUCH(be, a->n_row * (data ? a->k : a->n), a->c);
    TOUCH(be, groups * a->n * a->k * (weight ? 2 : 1), a->w);
    be->counters.expert_rows += a->n_row;
    be->counters.experts_read += groups;
}

static void group_prefetch(hy__backend *be, const hy__group_gemm_args *a) {
    (void)be;
    (void)a;
}

/* ---- elementwise and norms --------------------------------------------------------------------
 */

static void embed(hy__backend *be, const hy__embed_args *a) {
    TOUCH(be, a->n_row * a->dim, a->x, a->table);
    TOUCH(be, a->n_row, a->token);
}
static void embed_backward(hy__backend *be, const hy__embed_args *a) {
    TOUCH(be, a->n_row * a->dim, a->dx, a->dtable, a->dtable);
    TOUCH(be, a->n_row, a->token);
}

static void rmsnorm(hy__backend *be, const hy__rmsnorm_args *a) {
    TOUCH(be, a->n_row * a->n_head * a->dim, a->x, a->y);
    TOUCH(be, a->n_row * a->n_head, a->rstd);
    TOUCH(be, a->dim, a->w);
}
static void rmsnorm_backward(hy__backend *be, const hy__rmsnorm_args *a) {
    const int64_t n = a->n_row * a->n_head * a->dim;
    TOUCH(be, n, a->x, a->dy);
    TOUCH(be, a->dx_add ? 2 * n : n, a->dx);
    TOUCH(be, a->n_row * a->n_head, a->rstd);
    TOUCH(be, a->dim, a->w, a->dw, a->dw);
}

static void gated_norm(hy__backend *be, const hy__gated_norm_args *a) {
    TOUCH(be, a->n_row * a->dim, a->x, a->z, a->y);
    TOUCH(be, a->dim, a->w);
}
static void gated_norm_backward(hy__backend *be, const hy__gated_norm_args *a) {
    TOUCH(be, a->n_row * a->dim, a->x, a->z, a->dy, a->dx, a->dz);
    TOUCH(be, a->dim, a->w, a->dw, a->dw);
}

static void residual(hy__backend *be, const hy__residual_args *a) {
    TOUCH(be, a->n, a->x, a->y, a->out);
    TOUCH(be, 1, a->g);
}
static void residual_backward(hy__backend *be, const hy__residual_args *a) {
    TOUCH(be, a->n, a->dout, a->y, a->dy);
    if (hy__present(a->x_again)) TOUCH(be, a->n, a->out, a->x_again);
    TOUCH(be, 1, a->g, a->dg, a->dg);
}

static void swiglu(hy__backend *be, const hy__swiglu_args *a) {
    TOUCH(be, a->n_row * a->f, a->u, a->u, a->h);
}
static void swiglu_backward(hy__backend *be, const hy__swiglu_args *a) {
    TOUCH(be, a->n_row * a->f, a->u, a->u, a->dh, a->du, a->du);
}

static void row_gate(hy__backend *be, const hy__row_gate_args *a) {
    TOUCH(be, a->n_row * a->dim, a->x, a->y);
    TOUCH(be, a->n_row, a->s);
    TOUCH(be, 1, a->bias, a->gate_sum, a->gate_sum);
}
static void row_gate_backward(hy__backend *be, const hy__row_gate_args *a) {
    TOUCH(be, a->n_row * a->dim, a->x, a->dy, a->dx);
    TOUCH(be, a->n_row, a->s, a->ds);
    TOUCH(be, 1, a->bias, a->dbias, a->dbias);
}

static void rope(hy__backend *be, const hy__rope_args *a) {
    TOUCH(be, a->rows->n_row * a->n_head * a->dim, a->x, a->x);
}

static void conv(hy__backend *be, const hy__conv_args *a) {
    const int64_t n = a->rows->n_row * a->ch;
    flops(be, 2.0 * (double)(n * a->width));
    TOUCH(be, n, a->x, a->y);
    TOUCH(be, a->ch * a->width, a->w);
    TOUCH(be, a->ch, a->bias);
    touch_states(be, a->rows, a->state_in, (a->width - 1) * a->ch);
    touch_states(be, a->rows, a->state_out, (a->width - 1) * a->ch);
}
static void conv_backward(hy__backend *be, const hy__conv_args *a) {
    const int64_t n = a->rows->n_row * a->ch;
    flops(be, 6.0 * (double)(n * a->width));
    TOUCH(be, n, a->x, a->dy, a->dx);
    TOUCH(be, a->ch * a->width, a->w, a->dw, a->dw);
    TOUCH(be, a->ch, a->bias, a->dbias, a->dbias);
    touch_states(be, a->rows, a->dstate_in, (a->width - 1) * a->ch);
    touch_states(be, a->rows, a->dstate_out, (a->width - 1) * a->ch);
}

/* ---- S ----------------------------------------------------------------------------------------
 */

static void ssd(hy__backend *be, const hy__ssd_args *a) {
    const int64_t n = a->rows->n_row, inner = a->n_head * a->head_dim;
    const int64_t bc = a->n_group * a->d_state, state = inner * a->d_state;
    flops(be, 4.0 * (double)(n * state) +
                  2.0 * (double)(bc + inner) * walked_pairs(a->rows, a->chunk, a->chunk));
    TOUCH(be, n * inner, a->x, a->y);
    TOUCH(be, n * bc, a->b, a->c);
    TOUCH(be, n * a->n_head, a->dt);
    TOUCH(be, a->n_head, a->a_log, a->d, a->dt_bias);
    TOUCH(be, hy__rows_units(a->rows, HY__SSD_KEPT * a->chunk) * state, a->chunk_state);
    touch_states(be, a->rows, a->state_in, state);
    touch_states(be, a->rows, a->state_out, state);
}
static void ssd_backward(hy__backend *be, const hy__ssd_args *a) {
    const int64_t n = a->rows->n_row, inner = a->n_head * a->head_dim;
    const int64_t bc = a->n_group * a->d_state, state = inner * a->d_state;
    flops(be, 8.0 * (double)(n * state) +
                  (double)(6 * bc + 4 * inner) * walked_pairs(a->rows, a->chunk, a->chunk));
    TOUCH(be, n * inner, a->x, a->dy, a->dx);
    TOUCH(be, n * bc, a->b, a->c, a->db, a->dc);
    TOUCH(be, n * a->n_head, a->dt, a->ddt);
    TOUCH(be, a->n_head, a->a_log, a->d, a->dt_bias, a->da_log, a->dd, a->ddt_bias);
    TOUCH(be, hy__rows_units(a->rows, HY__SSD_KEPT * a->chunk) * state, a->chunk_state);
    touch_states(be, a->rows, a->dstate_in, state);
    touch_states(be, a->rows, a->dstate_out, state);
}

/* ---- A: token by token, straight from the rule in backend.h ------------------------------------
 */

typedef struct attended {
    double positions, scores; /* over the batch, of one KV head */
    double cached;            /* positions read from the caches, each at most once a sequence */
} attended;

static int64_t candidates(const hy__attn_args *a, int64_t t) {
    int64_t n = 0, last = (t - a->window + 1) / a->chunk - 1, first = 1;
    if (a->topk == 0 || t - a->window + 1 < 0) return 0;
    if (a->memory_blocks > 0 && t / a->chunk - a->memory_blocks > 1)
        first = t / a->chunk - a->memory_blocks;
    if (last >= first) n = last - first + 1;
    return n;
}

static attended attended_by(const hy__attn_args *a) {
    attended sum = {0};
    for (int64_t i = 0; i < a->rows->n_seq; i++) {
        const hy__seq *s = &a->rows->seq[i];
        double cached = 0;
        for (int64_t t = s->pos; t < s->pos + s->len; t++) {
            const int64_t window = t + 1 < a->window ? t + 1 : a->window, before = t + 1 - window;
            const int64_t sink = before < a->chunk ? before : a->chunk, n = candidates(a, t);
            const int64_t chosen = (n < a->topk ? n : a->topk) * a->chunk;
            const int64_t fresh = t - s->pos + 1 < window ? t - s->pos + 1 : window;
            sum.positions += (double)(window + sink + chosen);
            sum.scores += (double)n;
            cached += (double)(window + sink + chosen - fresh);
        }
        sum.cached += less(cached, (double)s->pos);
    }
    return sum;
}

static void attn_select(hy__backend *be, const hy__attn_args *a) {
    const int64_t n = a->rows->n_row, kv = a->n_kv * a->head_dim;
    const attended s = attended_by(a);
    flops(be, 2.0 * (double)kv * s.scores);
    TOUCH(be, n * a->n_head * a->head_dim, a->q);
    TOUCH(be, n * kv, a->k);
    TOUCH(be, n * a->n_kv * a->topk, a->select);
    TOUCH(be, hy__rows_units(a->rows, a->chunk) * kv, a->block_sum, a->block_sum);
    for (int64_t i = 0; a->ksum_in && i < a->rows->n_seq; i++) {
        const int64_t blocks = a->rows->seq[i].pos / a->chunk;
        const int64_t held = blocks < a->slot_in[i] ? blocks : a->slot_in[i];
        hy__count_touch(be, a->ksum_in[i], less((double)held, s.scores) * (double)kv);
    }
}

/* Keys and values of the past, as far as they are cached at all. */
static void touch_caches(hy__backend *be, const hy__attn_args *a, double cached) {
    const double share = cached / (double)a->rows->n_seq * (double)(a->n_kv * a->head_dim);
    for (int64_t i = 0; a->k_in && i < a->rows->n_seq; i++) {
        hy__count_touch(be, a->k_in[i], share);
        hy__count_touch(be, a->v_in[i], share);
    }
}

static void attn(hy__backend *be, const hy__attn_args *a) {
    const int64_t n = a->rows->n_row, width = a->n_head * a->head_dim, kv = a->n_kv * a->head_dim;
    const attended s = attended_by(a);
    flops(be, 4.0 * (double)width * s.positions);
    TOUCH(be, n * width, a->q, a->o);
    TOUCH(be, n * kv, a->k, a->v);
    TOUCH(be, n * a->n_head, a->lse);
    TOUCH(be, n * a->n_kv * a->topk, a->select);
    touch_caches(be, a, s.cached);
    be->counters.kv_positions += (int64_t)s.positions * a->n_kv;
}
static void attn_backward(hy__backend *be, const hy__attn_args *a) {
    const int64_t n = a->rows->n_row, width = a->n_head * a->head_dim, kv = a->n_kv * a->head_dim;
    const attended s = attended_by(a);
    flops(be, 10.0 * (double)width * s.positions);
    TOUCH(be, n * width, a->q, a->o, a->dout, a->dq);
    TOUCH(be, n * kv, a->k, a->v, a->dk, a->dk, a->dv, a->dv);
    TOUCH(be, n * a->n_head, a->lse, a->delta, a->delta);
    TOUCH(be, n * a->n_kv * a->topk, a->select);
    touch_caches(be, a, s.cached);
}

static void append(hy__backend *be, const hy__attn_args *a, const hy__tensor *k,
                   const hy__tensor *v) {
    for (int64_t i = 0; k && i < a->rows->n_seq; i++) {
        const double n = (double)(a->rows->seq[i].len * a->n_kv * a->head_dim);
        hy__count_touch(be, k[i], n);
        hy__count_touch(be, v[i], n);
    }
}
static void kv_append(hy__backend *be, const hy__attn_args *a) {
    TOUCH(be, a->rows->n_row * a->n_kv * a->head_dim, a->k, a->v);
    append(be, a, a->k_out, a->v_out);
    for (int64_t i = 0; a->ksum_out && i < a->rows->n_seq; i++) {
        const int64_t units = hy__seq_units(&a->rows->seq[i], a->chunk);
        hy__count_touch(be, a->ksum_out[i], (double)(2 * units * a->n_kv * a->head_dim));
    }
}
static void kv_append_backward(hy__backend *be, const hy__attn_args *a) {
    TOUCH(be, a->rows->n_row * a->n_kv * a->head_dim, a->dk, a->dv);
    append(be, a, a->dk_out, a->dv_out);
}

/* Of the sampled rows only a few numbers. */
static void attn_stat(hy__backend *be, const hy__attn_args *a) {
    TOUCH(be, 2 * HY__ATTN_STAT_N, a->stat);
}

/* ---- E ----------------------------------------------------------------------------------------
 */

static void unit_mean(hy__backend *be, const hy__unit_mean_args *a) {
    TOUCH(be, a->rows->n_row * a->dim, a->x);
    TOUCH(be, a->rows->n_row, a->unit_of);
    TOUCH(be, hy__rows_units(a->rows, a->unit) * a->dim, a->m);
    TOUCH(be, a->dim, a->first);
    touch_states(be, a->rows, a->sum_in, a->dim);
    touch_states(be, a->rows, a->prev_in, a->dim);
    touch_states(be, a->rows, a->sum_out, a->dim);
    touch_states(be, a->rows, a->prev_out, a->dim);
}
static void unit_mean_backward(hy__backend *be, const hy__unit_mean_args *a) {
    TOUCH(be, a->rows->n_row * a->dim, a->dx);
    TOUCH(be, hy__rows_units(a->rows, a->unit) * a->dim, a->dm);
    TOUCH(be, a->dim, a->dfirst, a->dfirst);
    touch_states(be, a->rows, a->dsum_in, a->dim);
    touch_states(be, a->rows, a->dprev_in, a->dim);
    touch_states(be, a->rows, a->dsum_out, a->dim);
    touch_states(be, a->rows, a->dprev_out, a->dim);
}

static void route(hy__backend *be, const hy__route_args *a) {
    TOUCH(be, a->n_row * a->n_expert, a->logits);
    TOUCH(be, a->n_prior * a->n_expert, a->prior);
    TOUCH(be, a->n_row * a->k, a->idx, a->weight);
    TOUCH(be, a->n_row, a->lse, a->prior_of);
    TOUCH(be, a->n_expert, a->bias, a->load, a->load, a->call_load);
}
static void route_backward(hy__backend *be, const hy__route_args *a) {
    TOUCH(be, a->n_row * a->n_expert, a->logits, a->dlogits);
    TOUCH(be, a->n_prior * a->n_expert, a->prior, a->dprior);
    TOUCH(be, a->n_row * a->k, a->idx, a->weight, a->dweight);
    TOUCH(be, a->n_row, a->lse, a->prior_of);
    TOUCH(be, a->n_expert, a->call_load);
}

static void route_sort(hy__backend *be, const hy__route_sort_args *a) {
    TOUCH(be, a->n_row * a->k, a->perm, a->place, a->idx);
    TOUCH(be, a->n_row, a->unit_of);
    TOUCH(be, a->n_expert + 1, a->offset);
}

static void gather_rows(hy__backend *be, const hy__gather_rows_args *a) {
    TOUCH(be, a->n_out * a->dim, a->xg, a->x);
    TOUCH(be, a->n_out, a->perm);
}
static void gather_rows_backward(hy__backend *be, const hy__gather_rows_args *a) {
    TOUCH(be, a->n_out * a->dim, a->dxg);
    TOUCH(be, a->n_row * a->dim, a->dx);
    TOUCH(be, a->n_row * a->k, a->place);
}

static void combine(hy__backend *be, const hy__combine_args *a) {
    const int64_t n = a->n_row * a->k;
    flops(be, 2.0 * (double)(n * a->dim));
    TOUCH(be, n * a->dim, a->o);
    TOUCH(be, a->n_row * a->dim, a->y);
    TOUCH(be, n, a->place);
    TOUCH(be, a->n_route * a->k, a->weight);
}
static void combine_backward(hy__backend *be, const hy__combine_args *a) {
    const int64_t n = a->n_row * a->k;
    flops(be, 4.0 * (double)(n * a->dim));
    TOUCH(be, n * a->dim, a->o, a->d_o);
    TOUCH(be, a->n_row * a->dim, a->dy);
    TOUCH(be, n, a->place);
    TOUCH(be, a->n_route * a->k, a->weight, a->dweight);
}

static void route_stat(hy__backend *be, const hy__route_stat_args *a) {
    TOUCH(be, 2 * a->n_domain * a->n_expert, a->load);
}

static void balance(hy__backend *be, const hy__balance_args *a) {
    TOUCH(be, a->n_expert, a->bias, a->bias, a->load, a->load);
}

/* ---- W ----------------------------------------------------------------------------------------
 */

static void touch_delta(hy__backend *be, const hy__delta_args *a) {
    const int64_t n = a->rows->n_row, heads = n * a->n_head, m = a->n_head * a->d_k * a->d_v;
    TOUCH(be, heads * a->d_k, a->q, a->k);
    TOUCH(be, heads * a->d_v, a->v, a->u);
    TOUCH(be, heads, a->ga, a->gb);
    TOUCH(be, heads * a->reads, a->gm);
    TOUCH(be, heads * a->reads * a->d_v, a->r);
    TOUCH(be, m, a->wr);
    TOUCH(be, hy__rows_units(a->rows, a->chunk) * m, a->chunk_state);
}

/* The arithmetic of a head: products with M for each token, and pairs of tokens in a block. */
static double delta_flops(const hy__delta_args *a, int64_t with_m, double for_pair) {
    const double pairs = walked_pairs(a->rows, a->chunk, HY__DELTA_BLOCK);
    const double product = 2.0 * (double)(a->d_k * a->d_v);
    return (double)a->n_head * (product * (double)(with_m * a->rows->n_row) + for_pair * pairs);
}

static void delta(hy__backend *be, const hy__delta_args *a) {
    const int64_t n = a->reads, m = a->n_head * a->d_k * a->d_v;
    flops(be, delta_flops(a, 2 * n + 1, 2.0 * (double)((n + 1) * (a->d_k + a->d_v))));
    touch_delta(be, a);
    TOUCH(be, a->rows->n_row * a->n_head * a->d_v, a->y);
    touch_states(be, a->rows, a->state_in, m);
    touch_states(be, a->rows, a->state_out, m);
}
static void delta_stat(hy__backend *be, const hy__delta_args *a) {
    const int64_t n = a->rows->n_row * a->n_head;
    TOUCH(be, n, a->ga, a->gb);
    TOUCH(be, n * a->reads, a->gm);
    TOUCH(be, hy__rows_units(a->rows, a->chunk) * a->n_head * a->d_k * a->d_v, a->chunk_state);
    TOUCH(be, 2 * (HY__DELTA_STAT_READS + a->reads), a->stat);
}
static void delta_backward(hy__backend *be, const hy__delta_args *a) {
    const int64_t n = a->reads, m = a->n_head * a->d_k * a->d_v;
    const int64_t heads = a->rows->n_row * a->n_head;
    flops(be, delta_flops(a, 5 * n + 2, (double)((n + 1) * (6 * a->d_k + 4 * a->d_v))));
    touch_delta(be, a);
    TOUCH(be, heads * a->d_v, a->dy, a->dv);
    TOUCH(be, heads * a->d_k, a->dq, a->dk);
    TOUCH(be, heads, a->dga, a->dgb);
    TOUCH(be, heads * n, a->dgm);
    TOUCH(be, m, a->dwr, a->dwr);
    touch_states(be, a->rows, a->dstate_in, m);
    touch_states(be, a->rows, a->dstate_out, m);
}

/* ---- P ----------------------------------------------------------------------------------------
 */

static void pkm_select(hy__backend *be, const hy__pkm_select_args *a) {
    const int64_t n = a->n_row * a->n_head;
    flops(be, 2.0 * (double)(n * 2 * a->d_half) * (double)a->n_key);
    TOUCH(be, n * 2 * a->d_half, a->q);
    TOUCH(be, a->n_head * 2 * a->n_key * a->d_half, a->key);
    TOUCH(be, n * a->k, a->idx, a->score);
}
static void pkm_select_backward(hy__backend *be, const hy__pkm_select_args *a) {
    const int64_t n = a->n_row * a->n_head;
    flops(be, 4.0 * (double)(n * 2 * a->d_half) * (double)a->k);
    TOUCH(be, n * 2 * a->d_half, a->q, a->dq);
    TOUCH(be, less((double)(n * a->k), (double)(a->n_head * a->n_key)) * 2 * (double)a->d_half,
          a->key, a->dkey, a->dkey);
    TOUCH(be, n * a->k, a->idx, a->dscore);
}

static void pkm_read(hy__backend *be, const hy__pkm_read_args *a) {
    const int64_t n = a->n_row * a->n_head * a->k;
    flops(be, 2.0 * (double)n * (double)a->d_value);
    TOUCH(be, n * a->d_value, a->table);
    TOUCH(be, n, a->idx, a->score, a->weight, a->use, a->use);
    TOUCH(be, a->n_row * a->d_value, a->y);
    be->counters.table_rows += n;
}
static void pkm_read_backward(hy__backend *be, const hy__pkm_read_args *a) {
    const int64_t n = a->n_row * a->n_head * a->k;
    flops(be, 4.0 * (double)n * (double)a->d_value);
    TOUCH(be, n * a->d_value, a->table, a->dtable, a->dtable);
    TOUCH(be, n, a->idx, a->weight, a->dscore, a->touched, a->reverse);
    TOUCH(be, a->n_row * a->d_value, a->dy);
}

/* ---- loss and optimizer -----------------------------------------------------------------------
 */

static void cross_entropy(hy__backend *be, const hy__cross_entropy_args *a) {
    const bool narrow = hy__present(a->narrow);
    TOUCH(be, a->n_row * a->vocab * (a->grad && !narrow ? 2 : 1), a->logits);
    if (a->grad) TOUCH(be, a->n_row * a->vocab, a->narrow);
    TOUCH(be, a->n_row, a->target, a->nll, a->hit);
}

/* Rows that no token touched stand still; how many did is not known here: all. */
static void adamw(hy__backend *be, const hy__adamw_args *a) {
    TOUCH(be, a->n, a->p, a->p, a->g, a->m, a->m, a->v, a->v);
    if (hy__present(a->touched)) {
        TOUCH(be, a->n, a->g);
        TOUCH(be, a->n / a->dim, a->touched, a->touched);
    }
}

static void sqsum(hy__backend *be, const hy__sqsum_args *a) {
    TOUCH(be, a->n, a->x);
    TOUCH(be, 1, a->out, a->out);
}

static void momentum(hy__backend *be, const hy__momentum_args *a) {
    TOUCH(be, a->n, a->g, a->m, a->m, a->u);
}

static void polynomial(hy__backend *be, const hy__polynomial_args *a) {
    TOUCH(be, a->n * a->n, a->x, a->y, a->p);
}

static void axpby(hy__backend *be, const hy__axpby_args *a) {
    TOUCH(be, a->n, a->y, a->x, a->y);
}

static void copy(hy__backend *be, const hy__copy_args *a) {
    TOUCH(be, a->n, a->src);
    TOUCH(be, a->add ? 2 * a->n : a->n, a->dst);
}

void hy__count_fill(hy__kernels *k) {
#define FILL(name, args) .name = name,
    *k = (hy__kernels){HY__KERNELS(FILL)};
#undef FILL
}
