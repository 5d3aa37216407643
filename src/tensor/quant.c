/* quant.c: see quant.h: finds the scales and lays out the pieces.
 *
 * 8 bits: the scale that the largest number needs; a finer search gains nothing there. 4 bits: many
 * scales are tried, of both signs, since the integers -8 … 7 reach further on one side; each is
 * then moved to the least squares' best for its integers, Σxq/Σq², and the one whose rounded
 * numbers err least is taken. */
#include "tensor/quant.h"

#include "base/bf16.h"

#include <float.h>
#include <math.h>

enum { GROUP = HY__QUANT_GROUP };

/* One group's scale, as it is stored, and integers. */
typedef struct rounded {
    uint16_t scale;
    int8_t q[GROUP];
} rounded;

/* ---- rounding a group ---- */

/* The number of the largest magnitude, and in *finite whether all are. */
static float extreme_of(const float *x, bool *finite) {
    float most = 0, none = 0;
    for (int i = 0; i < GROUP; i++) {
        none += x[i] * 0.0f; /* NaN when x[i] is not finite */
        if (fabsf(x[i]) > fabsf(most)) most = x[i];
    }
    *finite = none == 0;
    return most;
}

/* q = x/scale to the nearest integer of [lo, hi]; returns the squared error of scale·q. */
static float round_group(rounded *r, const float *x, uint16_t scale, float lo, float hi) {
    const float s = hy__bf16_to_f32(scale), inverse = 1.0f / s;
    const float magic = 12582912.0f; /* 1.5·2^23: adding it rounds to the nearest integer */
    float error = 0;
    r->scale = scale;
    for (int i = 0; i < GROUP; i++) {
        float v = x[i] * inverse;
        v = v < lo ? lo : v > hi ? hi : v;
        v = (v + magic) - magic;
        const float e = x[i] - v * s;
        r->q[i] = (int8_t)v;
        error += e * e;
    }
    return error;
}

/* A scale of which 1/scale is a number too. */
static bool usable(uint16_t scale) {
    return fabsf(hy__bf16_to_f32(scale)) > FLT_MIN;
}

static void round_q8(rounded *r, const float *x, float extreme) {
    const uint16_t scale = hy__f32_to_bf16(fabsf(extreme) / 127.0f);
    if (usable(scale)) round_group(r, x, scale, -127, 127);
}

/* The scale that fits the integers best. */
static uint16_t fitted(const rounded *r, const float *x) {
    float xq = 0, qq = 0;
    for (int i = 0; i < GROUP; i++) {
        xq += x[i] * (float)r->q[i];
        qq += (float)(r->q[i] * r->q[i]);
    }
    return hy__f32_to_bf16(qq > 0 ? xq / qq : 0);
}

static void round_q4(rounded *best, const float *x, float extreme) {
    static const float lo = -8, hi = 7, step = 0.25f;
    float least = INFINITY;
    /* the extreme falls on -8.5 … -6 or on 6 … 8.5, and is cut where it exceeds the integers */
    for (float at = 6; at <= 8.5f; at += step) {
        for (int sign = -1; sign <= 1; sign += 2) {
            rounded r;
            uint16_t scale = hy__f32_to_bf16(extreme / ((float)sign * at));
            for (int pass = 0; pass < 2 && usable(scale); pass++) {
                const float error = round_group(&r, x, scale, lo, hi);
                if (error < least) {
                    least = error;
                    *best = r;
                }
                scale = fitted(&r, x);
            }
        }
    }
}

static rounded round_any(hy__dtype dtype, const float *x) {
    rounded r = {0};
    bool finite;
    const float extreme = extreme_of(x, &finite);
    if (!finite) {
        r.scale = hy__f32_to_bf16(NAN);
    } else if (dtype == HY__DTYPE_Q8) {
        round_q8(&r, x, extreme);
    } else {
        round_q4(&r, x, extreme);
    }
    return r;
}

/* ---- rows ---- */

/* Where number i of a row lies: its piece, the groups of that, its group there, its index there. */
typedef struct place {
    size_t piece; /* bytes before it */
    int64_t n_group, group, i;
} place;

static place place_of(hy__dtype dtype, int64_t cols, int64_t i) {
    const int64_t group = i / GROUP, first = group / HY__QUANT_PIECE * HY__QUANT_PIECE;
    return (place){.piece = hy__dtype_bytes(dtype, first * GROUP),
                   .n_group = hy__quant_groups(first, cols / GROUP),
                   .group = group - first,
                   .i = i % GROUP};
}

/* Bytes from a piece's words to the byte that holds number i of a group, in Q4 with another. */
static size_t byte_at(const place *p, int64_t i) {
    return (size_t)(sizeof(uint16_t) * (size_t)p->n_group +
                    (size_t)((i / 4 * p->n_group + p->group) * 4 + i % 4));
}

static void put_group(unsigned char *row, hy__dtype dtype, int64_t cols, int64_t first,
                      const rounded *r) {
    const place p = place_of(dtype, cols, first);
    unsigned char *piece = row + p.piece;
    memcpy(piece + sizeof r->scale * (size_t)p.group, &r->scale, sizeof r->scale);
    if (dtype == HY__DTYPE_Q8) {
        for (int i = 0; i < GROUP; i++) piece[byte_at(&p, i)] = (unsigned char)r->q[i];
        return;
    }
    for (int i = 0; i < GROUP / 2; i++) {
        const int low = r->q[i] + HY__QUANT_ZERO, high = r->q[i + GROUP / 2] + HY__QUANT_ZERO;
        piece[byte_at(&p, i)] = (unsigned char)(low | high << 4);
    }
}

void hy__quant_pack(void *row, hy__dtype dtype, const float *src, int64_t cols) {
    for (int64_t i = 0; i < cols; i += GROUP) {
        const rounded r = round_any(dtype, src + i);
        put_group(row, dtype, cols, i, &r);
    }
}

float hy__quant_get(const void *row, hy__dtype dtype, int64_t cols, int64_t i) {
    const place p = place_of(dtype, cols, i);
    const unsigned char *piece = (const unsigned char *)row + p.piece;
    uint16_t scale;
    memcpy(&scale, piece + sizeof scale * (size_t)p.group, sizeof scale);
    int q;
    if (dtype == HY__DTYPE_Q8) {
        q = (int8_t)piece[byte_at(&p, p.i)];
    } else {
        const int byte = piece[byte_at(&p, p.i % (GROUP / 2))];
        q = (p.i < GROUP / 2 ? byte & 15 : byte >> 4) - HY__QUANT_ZERO;
    }
    return hy__bf16_to_f32(scale) * (float)q;
}
