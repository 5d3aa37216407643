/* memory.c: see memory.h. */
#include "base/memory.h"

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

int64_t hy__rss_bytes(void) {
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f) return 0;
    long long resident = 0; /* pages; the first number is the address space */
    if (fscanf(f, "%*s %lld", &resident) != 1) resident = 0;
    fclose(f);
    return resident * sysconf(_SC_PAGESIZE);
}

int64_t hy__rss_peak_bytes(void) {
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
    return (int64_t)usage.ru_maxrss * 1024; /* Linux counts in KiB */
}
