/* memory.h: the process's resident memory, and the machine's. */
#ifndef HY_BASE_MEMORY_H
#define HY_BASE_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

/* Bytes, now and at most since the process began; 0 where the system does not say. */
int64_t hy__rss_bytes(void);
int64_t hy__rss_peak_bytes(void);

/* From here on the peak is counted afresh. False where the system cannot: then it still is that
 * since the process began. */
bool hy__rss_peak_restart(void);

/* Bytes of memory that the machine has, and that a process could still get without pushing others
 * out; 0 where the system does not say. */
int64_t hy__memory_bytes(void);
int64_t hy__memory_free_bytes(void);

#endif
