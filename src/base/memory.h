/* memory.h: memory for large arrays; the process's resident memory, and the machine's. */
#ifndef HY_BASE_MEMORY_H
#define HY_BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* `size` bytes for arrays, aligned to `align` at least; free() releases them. NULL: not to be had.
 * What is large lies in huge pages where the system gives them: fewer misses of the TLB. */
void *hy__memory_new(size_t size, size_t align);

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
