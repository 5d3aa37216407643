/* crc32c.c: see crc32c.h. Bit by bit: what is summed is a few kilobytes a step. */
#include "base/crc32c.h"

uint32_t hy__crc32c(uint32_t crc, const void *data, size_t size) {
    const uint32_t polynomial = UINT32_C(0x82f63b78); /* reflected */
    const unsigned char *p = data;
    crc = ~crc;
    for (size_t i = 0; i < size; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (polynomial & (0 - (crc & 1)));
    }
    return ~crc;
}
