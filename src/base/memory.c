/* memory.c: see memory.h. */
#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum { HUGE_PAGE = 2 << 20 };

void *hy__memory_new(size_t size, size_t align) {
    void *p = NULL;
    if (posix_memalign(&p, align, size ? size : 1) != 0) return NULL;
#ifdef MADV_HUGEPAGE
    /* the whole huge pages within; asking for an aligned array would waste most of one each */
    const uintptr_t begin = ((uintptr_t)p + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    const uintptr_t end = ((uintptr_t)p + size) / HUGE_PAGE * HUGE_PAGE;
    if (end > begin) (void)madvise((void *)begin, end - begin, MADV_HUGEPAGE);
#endif
    return p;
}

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

bool hy__rss_peak_restart(void) {
    FILE *f = fopen("/proc/self/clear_refs", "we");
    if (!f) return false;
    const bool written = fputs("5", f) >= 0; /* 5: the peak becomes what is resident now; proc(5) */
    return fclose(f) == 0 && written;
}

int64_t hy__memory_bytes(void) {
    const int64_t pages = sysconf(_SC_PHYS_PAGES);
    return pages > 0 ? pages * sysconf(_SC_PAGESIZE) : 0;
}

int64_t hy__memory_free_bytes(void) {
    FILE *f = fopen("/proc/meminfo", "re");
    char line[128];
    long long kib = 0;
    if (!f) return 0;
    while (fgets(line, sizeof line, f) && sscanf(line, "MemAvailable: %lld", &kib) != 1) continue;
    fclose(f);
    return kib * 1024;
}
