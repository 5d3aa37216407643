/* quant.h: weights in 8 or 4 bits: groups of 32 numbers of a row, each group with its own scale.
 *
 * A row of `cols` numbers, a multiple of 32, is cut into pieces of 16 groups; the last piece may
 * have fewer. A piece of G groups is G scales and G·8 words of four numbers. The words of its
 * groups alternate, so that word j of 16 groups is one vector of 64 bytes: each lane of a product
 * belongs to one group, and the scales of 16 groups are one vector too.
 *
 *   scale[G]     bf16
 *   Q8  w[8][G]  word j of group g: int8, the numbers 4j … 4j+3 of the group, -127 … 127
 *   Q4  w[4][G]  word j of group g: low nibbles the numbers 4j … 4j+3 of the group,
 *                high nibbles 16+4j … 16+4j+3, each plus 8
 *
 * A piece lies as a row of its own would. A number is scale · integer. Rows follow each other
 * without gaps, 34 or 18 bytes for each group, and may begin at any address. */
#ifndef HY_TENSOR_QUANT_H
#define HY_TENSOR_QUANT_H

#include "tensor/tensor.h"

enum {
    HY__QUANT_PIECE = 16,                               /* groups of a whole piece */
    HY__QUANT_SPAN = HY__QUANT_PIECE * HY__QUANT_GROUP, /* numbers of a whole piece */
    HY__QUANT_WORDS = HY__QUANT_GROUP / 4,              /* words of four numbers of a group */
    HY__QUANT_ZERO = 8,                                 /* what a nibble has more */
};

/* Groups of the piece that begins with group g of n. */
static inline int64_t hy__quant_groups(int64_t g, int64_t n) {
    return n - g < HY__QUANT_PIECE ? n - g : HY__QUANT_PIECE;
}

/* A row from floats: for every group the scale and integers of the least squared error that were
 * found (quant.c). A group with a number that is not finite becomes NaN. */
void hy__quant_pack(void *row, hy__dtype dtype, const float *src, int64_t cols);

/* Number i of a row, exactly. */
float hy__quant_get(const void *row, hy__dtype dtype, int64_t cols, int64_t i);

#endif
