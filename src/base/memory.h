/* memory.h: the process's resident memory. */
#ifndef HY_BASE_MEMORY_H
#define HY_BASE_MEMORY_H

#include <stdint.h>

/* Bytes, now and at most since the process began; 0 where the system does not say. */
int64_t hy__rss_bytes(void);
int64_t hy__rss_peak_bytes(void);

#endif
