/* attention.c: A, sparse global attention; docs/model.md.
 *
 *   q, k, v = qkv_proj(x);  q, k = RMSNorm per head;  rotary positions only when configured
 *   o = attention over the sink, the window and the topk best earlier blocks;  o_proj(o)
 * H query heads share n_kv key/value heads of width hd. State: the KV cache in pages of one chunk,
 * in bf16 where the weights are narrow, and each block's running key sum. */
#include "model/component.h"

#include <math.h>

enum { QKV_PROJ, O_PROJ, Q_NORM, K_NORM };
enum { K_STATE, V_STATE, KSUM_STATE };
enum {
    QKV,    /* [N, (H + 2·n_kv)·hd] */
    QN,     /* [N, H, hd] normed queries; absent without qk_norm */
    KN,     /* [N, n_kv, hd] */
    Q_RSTD, /* [N, H] */
    K_RSTD, /* [N, n_kv] */
    O,      /* [N, H, hd] */
    LSE,    /* [N, H] */
    SELECT, /* I32 [N, n_kv, topk] */
    BLOCK_SUM,
    DQKV,
    DQN,
    DKN,
    DO,
    DELTA,
};

enum { SAY_WINDOW, SAY_SINK, SAY_CHOSEN, SAY_DISTANCE, SAY_BLOCK_DISTANCE };

/* For statistics one row of a batch in so many is looked at, and of a long one so many at most: a
 * row may see all positions before it, so that a share of them would cost the square. */
enum { LOOK_EVERY = 251, LOOK_MOST = 32 };

typedef struct dims {
    int64_t head, kv, hd, q, kvw, qkv; /* q, kvw, qkv: widths in elements */
} dims;

static dims dims_of(const hy__config *c) {
    dims m = {.head = c->attention.n_head, .kv = c->attention.n_kv, .hd = c->attention.head_dim};
    m.q = m.head * m.hd;
    m.kvw = m.kv * m.hd;
    m.qkv = m.q + 2 * m.kvw;
    return m;
}

/* Beside the sink and the open block b, a token may need the blocks before b that its window
 * reaches, and, when blocks are selected from a bounded memory, the M blocks before b. A ring grows
 * with the text up to that bound; it has not gone round before, so block b still lies in slot b. */
int64_t hy__kv_slots(const hy__config *c, int64_t capacity) {
    bool has_attention = false;
    for (int64_t i = 0; i < c->n_layer; i++) has_attention |= c->letter[i] == 'A';
    if (!has_attention) return 0;
    const int64_t chunk = c->model.chunk, window = c->attention.window;
    const int64_t memory = c->attention.memory_blocks;
    const int64_t n_block = (capacity + chunk - 1) / chunk;
    const int64_t all = n_block > 2 ? n_block : 2;
    if (c->attention.topk > 0 && memory == 0) return all;
    const int64_t reach = ((window > 2 ? window : 2) - 2 + chunk - 1) / chunk;
    const int64_t selected = c->attention.topk > 0 ? memory : 0;
    const int64_t bound = 2 + (reach > selected ? reach : selected);
    return all < bound ? all : bound;
}

static void declare(const hy__config *c, hy__decl *d) {
    const dims m = dims_of(c);
    const int64_t width = c->model.d_model, page = c->model.chunk * m.kvw;
    hy__declare(d, QKV_PROJ, "mixer.qkv_proj.weight", HY__GROUP_MATRIX, HY__INIT_LINEAR, 0, 2,
                (int64_t[]){m.qkv, width});
    hy__declare(d, O_PROJ, "mixer.o_proj.weight", HY__GROUP_MATRIX, HY__INIT_OUTPUT, 0, 2,
                (int64_t[]){width, m.q});
    if (c->attention.qk_norm) {
        hy__declare(d, Q_NORM, "mixer.q_norm.weight", HY__GROUP_VECTOR, HY__INIT_CONST, 1, 1,
                    &m.hd);
        hy__declare(d, K_NORM, "mixer.k_norm.weight", HY__GROUP_VECTOR, HY__INIT_CONST, 1, 1,
                    &m.hd);
    }
    hy__declare_cache(d, K_STATE, "k", page);
    hy__declare_cache(d, V_STATE, "v", page);
    hy__declare_state(d, KSUM_STATE, "ksum", 0, m.kvw);
    d->n_stat = HY__ATTN_STAT_N;
    hy__declare_say(d, SAY_WINDOW, "window", 0, 0);
    hy__declare_say(d, SAY_SINK, "sink", 0, 0);
    hy__declare_say(d, SAY_CHOSEN, "chosen", 0, 0);
    hy__declare_say(d, SAY_DISTANCE, "distance", 0, 0);
    hy__declare_say(d, SAY_BLOCK_DISTANCE, "chosen_distance", 0, 0);
}

static void plan(const hy__config *c, const hy__rows *rows, hy__plan *p) {
    const dims m = dims_of(c);
    const int64_t n = rows->n_row, topk = c->attention.topk;
    const bool norm = c->attention.qk_norm;
    hy__plan_real(p, QKV, HY__LIFE_KEEP, n * m.qkv);
    hy__plan_real(p, QN, HY__LIFE_KEEP, norm ? n * m.q : 0);
    hy__plan_real(p, KN, HY__LIFE_KEEP, norm ? n * m.kvw : 0);
    hy__plan_real(p, Q_RSTD, HY__LIFE_KEEP, norm ? n * m.head : 0);
    hy__plan_real(p, K_RSTD, HY__LIFE_KEEP, norm ? n * m.kv : 0);
    hy__plan_real(p, O, HY__LIFE_KEEP, n * m.q);
    hy__plan_real(p, LSE, HY__LIFE_KEEP, n * m.head);
    hy__plan_i32(p, SELECT, HY__LIFE_KEEP, n * m.kv * topk);
    hy__plan_real(p, BLOCK_SUM, HY__LIFE_FORWARD,
                  topk > 0 ? hy__rows_units(rows, c->model.chunk) * m.kvw : 0);
    hy__plan_real(p, DQKV, HY__LIFE_BACKWARD, n * m.qkv);
    hy__plan_real(p, DQN, HY__LIFE_BACKWARD, norm ? n * m.q : 0);
    hy__plan_real(p, DKN, HY__LIFE_BACKWARD, norm ? n * m.kvw : 0);
    hy__plan_real(p, DO, HY__LIFE_BACKWARD, n * m.q);
    hy__plan_real(p, DELTA, HY__LIFE_BACKWARD, n * m.head);
}

static void cost(const hy__config *c, hy__cost *cost) {
    const dims m = dims_of(c);
    const double product = 2.0 * (double)m.q, kvw = (double)m.kvw;
    hy__cost_linear(cost, "qkv_proj", "2·d·(H + 2n_kv)·hd", HY__PER_TOKEN, m.qkv, c->model.d_model);
    hy__cost_linear(cost, "o_proj", "2·H·hd·d", HY__PER_TOKEN, c->model.d_model, m.q);
    hy__cost_add(cost,
                 (hy__term){.what = "attention",
                            .formula = "4·H·hd",
                            .why = "q·k and the sum over v; backward q·k again and one product "
                                   "for each of p, q, k and v",
                            .per = HY__PER_POSITION,
                            .forward = 2 * product,
                            .backward = 5 * product,
                            .cached = 2 * kvw,
                            .cached_narrow = true});
    if (c->attention.topk == 0) return;
    hy__cost_add(cost,
                 (hy__term){.what = "selection",
                            .formula = "2·n_kv·hd",
                            .why = "the group's summed query with a block's summed keys; it has "
                                   "no gradient",
                            .per = HY__PER_SCORE,
                            .forward = 2 * kvw,
                            .cached = kvw});
}

static hy__linear_args qkv_proj(const hy__call *c, const dims *m) {
    return (hy__linear_args){.y = c->buf[QKV],
                             .x = c->x,
                             .w = c->param[QKV_PROJ],
                             .n_row = c->rows->n_row,
                             .out = m->qkv,
                             .in = c->cfg->model.d_model,
                             .prec = c->prec,
                             .room = c->room};
}

static hy__linear_args o_proj(const hy__call *c, const dims *m) {
    return (hy__linear_args){.y = c->y,
                             .x = c->buf[O],
                             .w = c->param[O_PROJ],
                             .n_row = c->rows->n_row,
                             .out = c->cfg->model.d_model,
                             .in = m->q,
                             .prec = c->prec,
                             .room = c->room};
}

/* The norm of the queries or of the keys. */
static hy__rmsnorm_args head_norm(const hy__call *c, const dims *m, bool keys) {
    return (hy__rmsnorm_args){.y = c->buf[keys ? KN : QN],
                              .rstd = c->buf[keys ? K_RSTD : Q_RSTD],
                              .x = hy__at(c->buf[QKV], keys ? m->q : 0),
                              .w = c->param[keys ? K_NORM : Q_NORM],
                              .n_row = c->rows->n_row,
                              .n_head = keys ? m->kv : m->head,
                              .dim = m->hd,
                              .ldx = m->qkv,
                              .eps = c->cfg->model.norm_eps};
}

/* From one row that is looked at to the next. */
static int64_t look_every(int64_t n_row) {
    const int64_t few = (n_row + LOOK_MOST - 1) / LOOK_MOST;
    const int64_t every = few > LOOK_EVERY ? few : LOOK_EVERY;
    return every < n_row ? every : n_row;
}

/* The first row that is looked at. It moves by the golden section, so that the places of any few
 * steps in a row are spread over the segment: how far back a token can look depends on its place.
 */
static int64_t look_first(const hy__call *c, int64_t every) {
    const double turn = 0.6180339887498949 * (double)c->look;
    return (int64_t)((turn - floor(turn)) * (double)every);
}

static hy__attn_args attention(const hy__call *c, const dims *m) {
    const bool norm = c->cfg->attention.qk_norm;
    const int64_t every = look_every(c->rows->n_row);
    return (hy__attn_args){.o = c->buf[O],
                           .lse = c->buf[LSE],
                           .q = norm ? c->buf[QN] : c->buf[QKV],
                           .k = norm ? c->buf[KN] : hy__at(c->buf[QKV], m->q),
                           .v = hy__at(c->buf[QKV], m->q + m->kvw),
                           .select = c->buf[SELECT],
                           .block_sum = c->buf[BLOCK_SUM],
                           .rows = c->rows,
                           .k_in = c->state_in[K_STATE],
                           .v_in = c->state_in[V_STATE],
                           .ksum_in = c->state_in[KSUM_STATE],
                           .k_out = c->state_out[K_STATE],
                           .v_out = c->state_out[V_STATE],
                           .ksum_out = c->state_out[KSUM_STATE],
                           .slot_in = c->slot_in,
                           .slot_out = c->slot_out,
                           .n_head = m->head,
                           .n_kv = m->kv,
                           .head_dim = m->hd,
                           .chunk = c->cfg->model.chunk,
                           .window = c->cfg->attention.window,
                           .topk = c->cfg->attention.topk,
                           .memory_blocks = c->cfg->attention.memory_blocks,
                           .ldq = norm ? m->q : m->qkv,
                           .ldk = norm ? m->kvw : m->qkv,
                           .ldv = m->qkv,
                           .scale = 1.0 / sqrt((double)m->hd),
                           .prec = c->prec,
                           .stat = c->stat,
                           .stat_first = look_first(c, every),
                           .stat_every = every};
}

/* Turns queries and keys (or their gradients, back) by their positions. */
static void rope(const hy__call *c, const dims *m, hy__tensor q, int64_t ldq, hy__tensor k,
                 int64_t ldk, bool inverse) {
    if (c->cfg->attention.rope_theta <= 0) return;
    hy__rope_args a = {.x = q,
                       .rows = c->rows,
                       .n_head = m->head,
                       .dim = m->hd,
                       .ldx = ldq,
                       .theta = c->cfg->attention.rope_theta,
                       .inverse = inverse};
    c->be->kernels.rope(c->be, &a);
    a.x = k;
    a.n_head = m->kv;
    a.ldx = ldk;
    c->be->kernels.rope(c->be, &a);
}

static void forward(const hy__call *c) {
    const dims m = dims_of(c->cfg);
    const hy__kernels *k = &c->be->kernels;
    const hy__linear_args in = qkv_proj(c, &m), out = o_proj(c, &m);
    const hy__attn_args a = attention(c, &m);
    hy__linear(c->be, &in);
    if (c->cfg->attention.qk_norm) {
        const hy__rmsnorm_args qn = head_norm(c, &m, false), kn = head_norm(c, &m, true);
        k->rmsnorm(c->be, &qn);
        k->rmsnorm(c->be, &kn);
    }
    rope(c, &m, a.q, a.ldq, a.k, a.ldk, false);
    if (a.topk > 0) k->attn_select(c->be, &a);
    k->attn(c->be, &a);
    if (hy__present(c->stat)) k->attn_stat(c->be, &a);
    if (a.k_out) k->kv_append(c->be, &a);
    hy__linear(c->be, &out);
}

static void backward(const hy__call *c) {
    const dims m = dims_of(c->cfg);
    const hy__kernels *k = &c->be->kernels;
    const bool norm = c->cfg->attention.qk_norm;

    hy__linear_args out = o_proj(c, &m);
    out.dy = c->dy;
    out.dx = c->buf[DO];
    out.dw = c->grad[O_PROJ];
    hy__linear_backward(c->be, &out);

    hy__attn_args a = attention(c, &m);
    a.dout = c->buf[DO];
    a.dq = norm ? c->buf[DQN] : c->buf[DQKV];
    a.dk = norm ? c->buf[DKN] : hy__at(c->buf[DQKV], m.q);
    a.dv = hy__at(c->buf[DQKV], m.q + m.kvw);
    a.delta = c->buf[DELTA];
    a.dk_in = c->dstate_in[K_STATE];
    a.dv_in = c->dstate_in[V_STATE];
    a.dk_out = c->dstate_out[K_STATE];
    a.dv_out = c->dstate_out[V_STATE];
    k->kv_append_backward(c->be, &a);
    k->attn_backward(c->be, &a);
    rope(c, &m, a.dq, a.ldq, a.dk, a.ldk, true);

    if (norm) {
        hy__rmsnorm_args qn = head_norm(c, &m, false), kn = head_norm(c, &m, true);
        qn.dy = c->buf[DQN];
        qn.dx = c->buf[DQKV];
        qn.dw = c->grad[Q_NORM];
        kn.dy = c->buf[DKN];
        kn.dx = hy__at(c->buf[DQKV], m.q);
        kn.dw = c->grad[K_NORM];
        k->rmsnorm_backward(c->be, &qn);
        k->rmsnorm_backward(c->be, &kn);
    }

    hy__linear_args in = qkv_proj(c, &m);
    in.dy = c->buf[DQKV];
    in.dx = c->dx;
    in.dw = c->grad[QKV_PROJ];
    hy__linear_backward(c->be, &in);
}

/* Where the softmax's weight lies, and how far back. */
static void report(const hy__config *c, const double *stat, double *const *said) {
    const double blocks = stat[HY__ATTN_STAT_BLOCKS];
    const double weight =
        stat[HY__ATTN_STAT_WINDOW] + stat[HY__ATTN_STAT_SINK] + stat[HY__ATTN_STAT_CHOSEN];
    (void)c;
    if (blocks > 0) *said[SAY_BLOCK_DISTANCE] = stat[HY__ATTN_STAT_BLOCK_DISTANCE] / blocks;
    if (weight <= 0) return;
    *said[SAY_WINDOW] = stat[HY__ATTN_STAT_WINDOW] / weight;
    *said[SAY_SINK] = stat[HY__ATTN_STAT_SINK] / weight;
    *said[SAY_CHOSEN] = stat[HY__ATTN_STAT_CHOSEN] / weight;
    *said[SAY_DISTANCE] = stat[HY__ATTN_STAT_DISTANCE] / weight;
}

const hy__component hy__attention = {.letter = 'A',
                                     .name = "sparse attention",
                                     .blueprint = "SGA",
                                     .gate = 1.0,
                                     .declare = declare,
                                     .plan = plan,
                                     .cost = cost,
                                     .forward = forward,
                                     .backward = backward,
                                     .report = report};
