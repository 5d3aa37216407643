/* check.c: see check.h. What is run on both backends and compared is check_trial.c. */
#include "bench/check.h"

#include "bench/check_trial.h"

#include <stdio.h>
#include <string.h>

/* What may lie between a backend and ref64, relative to the largest element of a tensor (fp32) or
 * to its root mean square (others). The tests of the laws (docs/numerics.md) hold larger models to
 * the same in fp32.
 *
 * In the other stores both have the same rounded weights, and the backend rounds activations too.
 * Those of a layer's first products are exact (check_trial.c), so that no rounding tips a choice;
 * what is rounded after them errs by a part of its own root mean square, which a product hands on,
 * and independent errors add by squares.
 *   bf16   keeps 8 bits: an operand errs by 2^-8 of itself at most. Up to 8 roundings lie between a
 *          layer's input and the logits (S: B, C, x, scores and states of its own products, the
 *          input of out_proj, that of the head; one to spare), as many again on the way back:
 *          sqrt(8) and sqrt(16) times 2^-8.
 *   int8,  a group of 32 takes 127 steps of its largest, which is sqrt(32) of its mean at most;
 *   int4   numbers between two steps err by 1/sqrt(12) of a step: sqrt(32/12)/127. The inputs of
 *          the last product of a layer and of the head are rounded: sqrt(2) of that.
 * One wrong row of the 150 is sqrt(1/150) = 8e-2. */
#define BF16_ERROR 0x1p-8
#define INT8_ERROR (1.63 / 127)
static const struct {
    hy__store store;
    bool training;
    hy__tolerance allowed;
} TOLERANCES[] = {
    /* fp32 through a letter, states and cuts included: as the law of any split */
    {HY__STORE_FP32, false, {.worst = 1e-4}},
    /* sums of some hundred such products: as the law of true gradients */
    {HY__STORE_FP32, true, {.worst = 2e-4}},
    {HY__STORE_BF16, false, {.mean = 2.83 * BF16_ERROR}},
    {HY__STORE_BF16, true, {.mean = 4 * BF16_ERROR}},
    {HY__STORE_INT8, false, {.mean = 1.41 * INT8_ERROR}},
    {HY__STORE_INT4, false, {.mean = 1.41 * INT8_ERROR}},
};

static hy__tolerance allowed(hy__store store, bool training) {
    for (size_t i = 0; i < sizeof TOLERANCES / sizeof *TOLERANCES; i++)
        if (TOLERANCES[i].store == store && TOLERANCES[i].training == training)
            return TOLERANCES[i].allowed;
    return (hy__tolerance){0};
}

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* The letter alone, what it does as the model has it and its sizes small. */
static hy_status shrink(hy__config *c, const hy__config *model, char letter, hy_error *err) {
    *c = *model;
    memset(c->derived, 0, sizeof c->derived);
    snprintf(c->model.layers, sizeof c->model.layers, "%c", letter);
    c->model.d_model = 64;
    c->model.vocab = 96;
    c->model.chunk = least(c->model.chunk, 32);
    c->ssm.head_dim = 16;
    c->ssm.d_state = least(c->ssm.d_state, 24);
    c->ssm.n_group = c->ssm.n_group > 1 ? 2 : 1;
    c->attention.n_kv = c->attention.n_kv < c->attention.n_head ? least(c->attention.n_kv, 2) : 4;
    c->attention.n_head = 4;
    c->attention.head_dim = 16;
    if (c->attention.window < 1000) c->attention.window = least(c->attention.window, 20);
    c->attention.topk = least(c->attention.topk, 2);
    c->attention.memory_blocks = least(c->attention.memory_blocks, 3);
    c->experts.d_ff = 24;
    c->experts.expert_chunk = c->model.chunk / 2;
    c->ffn.d_ff = 40;
    c->workspace.n_head = 2;
    c->workspace.d_k = least(c->workspace.d_k, 16);
    c->workspace.d_v = least(c->workspace.d_v, 24);
    c->pkm.n_head = 2;
    c->pkm.n_key = 8;
    c->pkm.d_key = 16;
    c->pkm.topk = least(c->pkm.topk, 4);
    c->pkm.d_value = 48;
    return hy__config_finish(c, err);
}

static const char BACKWARD[] = "_backward";

/* The kernel that is called `name` and, if `end` says so, "_backward"; HY__KERNEL_N: none. */
static hy__kernel_id find_kernel(const char *name, const char *end) {
    char full[64];
    hy__kernel_id id = 0;
    snprintf(full, sizeof full, "%s%s", name, end);
    while (id < HY__KERNEL_N && strcmp(hy__kernel_name(id), full) != 0) id++;
    return id;
}

/* The forward of a backward; HY__KERNEL_N: it is none. */
static hy__kernel_id forward_of(hy__kernel_id id) {
    char name[64];
    snprintf(name, sizeof name, "%s", hy__kernel_name(id));
    char *end = strstr(name, BACKWARD);
    if (!end) return HY__KERNEL_N;
    *end = 0;
    return find_kernel(name, "");
}

static void set_kernel(hy__kernels *to, const hy__kernels *from, hy__kernel_id id) {
#define SET(name, args)                                                                            \
    if (id == HY__KERNEL_##name) to->name = from->name;
    HY__KERNELS(SET)
#undef SET
}

/* One letter on one backend. */
typedef struct letter_check {
    hy__check *check;
    hy__backend *be;
    const hy__kernels *reference; /* in fp32; NULL: the backend cannot run them */
    hy__trial trial;
    hy__record want;
    hy__tolerance allowed;
} letter_check;

static const char ALL[] = "osgw", OUTPUTS[] = "os"; /* kinds of a record */

static hy_status passes(const letter_check *l, const char *kinds, hy__profile *used, bool *good,
                        hy_error *err) {
    hy__record got = {0};
    const hy_status ran = hy__trial_run(&l->trial, l->be, used, &got, err);
    *good = ran == HY_OK && hy__record_agrees(&l->want, &got, kinds, l->allowed, err);
    hy__record_release(&got);
    return ran == HY_E_MEMORY ? ran : HY_OK;
}

/* One kernel alone among the reference's. A forward may keep for its backward what only that can
 * read (backend.h), so the two go together: the forward is judged by outputs and states, and the
 * backward, behind a forward that passes, by all. */
static hy_status kernel_passes(const letter_check *l, const hy__kernels *own, hy__kernel_id id,
                               bool *good, hy_error *err) {
    const hy__kernel_id forward = forward_of(id);
    const hy__kernel_id backward = find_kernel(hy__kernel_name(id), BACKWARD);
    *good = true;
    if (forward != HY__KERNEL_N && l->check->kernel[forward]) return HY_OK;
    l->be->kernels = *l->reference;
    set_kernel(&l->be->kernels, own, id);
    set_kernel(&l->be->kernels, own, forward);
    set_kernel(&l->be->kernels, own, backward);
    return passes(l, backward == HY__KERNEL_N ? ALL : OUTPUTS, NULL, good, err);
}

/* Which of the kernels that were called. */
static hy_status find_kernels(letter_check *l, const hy__profile *used, hy_error *err) {
    const hy__kernels own = l->be->kernels;
    hy_status status = HY_OK;
    for (hy__kernel_id id = 0; id < HY__KERNEL_N && status == HY_OK; id++) {
        bool good;
        if (hy__profile_kernel(used, id).calls == 0 || l->check->kernel[id]) continue;
        status = kernel_passes(l, &own, id, &good, err);
        if (good) continue;
        l->check->kernel[id] = true;
        l->check->n_kernel++;
    }
    l->be->kernels = own;
    return status;
}

/* The sentence of what fails first is the check's; that of what cannot be carried out the caller's.
 */
static hy_status check_letter(letter_check *l, int64_t part, char letter, hy_error *err) {
    hy__profile used = {0};
    bool good;
    HY_TRY(passes(l, ALL, &used, &good, err));
    if (good) return HY_OK;
    l->check->letter[part] = true;
    if (l->check->n_letter++ == 0) {
        l->check->why = *err;
        (void)hy__fail_in(&l->check->why, HY_E_INTERNAL, "letter %c", letter);
    }
    return l->reference ? find_kernels(l, &used, err) : HY_OK;
}

static hy_status check_part(hy__check *c, hy__backend *be, const hy__kernels *reference,
                            const hy__account *a, int64_t part, hy__store store, bool training,
                            hy_error *err) {
    hy__config small;
    hy__backend *ref = NULL;
    letter_check l = {
        .check = c, .be = be, .reference = reference, .allowed = allowed(store, training)};
    HY_TRY(shrink(&small, &a->cfg, a->part[part].letter, err));
    l.trial = (hy__trial){
        .cfg = &small, .store = store, .training = training, .optimizer = a->train.optimizer};
    HY_TRY(hy__backend_open(&ref, "ref64", 1, err));
    hy_status status = hy__trial_run(&l.trial, ref, NULL, &l.want, err);
    if (status == HY_OK) status = check_letter(&l, part, a->part[part].letter, err);
    hy__record_release(&l.want);
    hy__backend_free(ref);
    return status;
}

hy_status hy__check_run(hy__check *c, hy__backend *be, const hy__account *a, hy__store store,
                        bool training, hy_error *err) {
    *c = (hy__check){0};
    hy__backend *ref = NULL;
    hy_status status = HY_OK;
    if (strcmp(be->name, "cpu") == 0) HY_TRY(hy__backend_open(&ref, "ref", 1, err));
    for (int64_t part = 1; part < a->n_part && status == HY_OK; part++)
        status = check_part(c, be, ref ? &ref->kernels : NULL, a, part, store, training, err);
    hy__backend_free(ref);
    return status;
}

bool hy__check_spoils(const hy__check *c, const hy__profile *used) {
    bool any = c->n_letter > 0 && c->n_kernel == 0;
    for (hy__kernel_id id = 0; id < HY__KERNEL_N; id++)
        any |= c->kernel[id] && hy__profile_kernel(used, id).calls > 0;
    return any;
}
