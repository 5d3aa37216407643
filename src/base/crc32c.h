/* crc32c.h: the checksum CRC-32C (Castagnoli; RFC 3720), as TensorBoard's files have it. */
#ifndef HY_BASE_CRC32C_H
#define HY_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Of `size` bytes behind those that `crc` is of; 0 begins. */
uint32_t hy__crc32c(uint32_t crc, const void *data, size_t size);

#endif
