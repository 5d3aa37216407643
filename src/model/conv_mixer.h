/* conv_mixer.h: what S and W share around their recurrences.
 *
 *   z, c, rest = in_proj(x);  c = SiLU(conv(c));  y = the letter's own, from c and rest
 *   out_proj(RMSNorm(y·SiLU(z)) by groups)
 * A letter's parameters, states and buffers begin with these ids; its own follow. Not a letter. */
#ifndef HY_MODEL_CONV_MIXER_H
#define HY_MODEL_CONV_MIXER_H

#include "model/component.h"

enum {
    HY__MIX_IN_PROJ,
    HY__MIX_CONV_W,
    HY__MIX_CONV_B,
    HY__MIX_NORM,
    HY__MIX_OUT_PROJ,
    HY__MIX_PARAM_N
};
enum { HY__MIX_CONV_STATE, HY__MIX_STATE_N };
enum {
    HY__MIX_ZX,   /* [N, z + conv + rest] in_proj's output */
    HY__MIX_CONV, /* [N, conv] after the convolution; computed again in the backward */
    HY__MIX_Y,    /* [N, z] the letter's output */
    HY__MIX_YN,   /* [N, z] gated and normed; computed again in the backward */
    HY__MIX_DYN,
    HY__MIX_DCONV,
    HY__MIX_DZX,
    HY__MIX_BUF_N,
    HY__MIX_DY = HY__MIX_YN, /* from where out_proj's backward has read YN */
};

typedef struct hy__mix {
    int64_t z;     /* width of the gate and of y */
    int64_t conv;  /* channels of the convolution */
    int64_t rest;  /* what in_proj gives beside */
    int64_t taps;  /* of the convolution */
    int64_t group; /* elements that are normed together; divides z */
} hy__mix;

/* Row distance of ZX and DZX, and the column where `rest` begins. */
static inline int64_t hy__mix_zx(const hy__mix *m) {
    return m->z + m->conv + m->rest;
}
static inline int64_t hy__mix_rest(const hy__mix *m) {
    return m->z + m->conv;
}

void hy__mix_declare(hy__decl *d, const hy__config *c, const hy__mix *m);
void hy__mix_plan(hy__plan *p, int64_t n_row, const hy__mix *m);

/* The cost of what they share, with the formulas of a letter. */
typedef struct hy__mix_formulas {
    const char *in_proj, *conv, *out_proj;
} hy__mix_formulas;
void hy__mix_cost(hy__cost *cost, const hy__config *c, const hy__mix *m, hy__mix_formulas f);

/* Before the letter's own part: fills ZX and CONV. After it: reads Y, writes the call's y. */
void hy__mix_open(const hy__call *c, const hy__mix *m);
void hy__mix_close(const hy__call *c, const hy__mix *m);

/* Backward of close: makes CONV and YN again, which cost little beside the memory that keeping them
 * would take; then from the call's dy to DY and the gate's columns of DZX. Backward of open: from
 * DCONV and the other columns of DZX to the call's dx. */
void hy__mix_close_backward(const hy__call *c, const hy__mix *m);
void hy__mix_open_backward(const hy__call *c, const hy__mix *m);

#endif
