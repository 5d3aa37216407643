/* machine.c: see machine.h. */
#include "bench/machine.h"

#include "base/memory.h"

#include <hy_commit.h> /* made by cmake/commit.cmake in every build */
#include <omp.h>
#include <stdio.h>
#include <string.h>

/* The first line "model name : …" of /proc/cpuinfo. */
static void name_cpu(char *out, size_t size) {
    char line[256];
    FILE *f = fopen("/proc/cpuinfo", "re");
    snprintf(out, size, "unknown");
    while (f && fgets(line, sizeof line, f)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon) continue;
        snprintf(out, size, "%.*s", (int)strcspn(colon + 1 + strspn(colon + 1, " "), "\n"),
                 colon + 1 + strspn(colon + 1, " "));
        break;
    }
    if (f) fclose(f);
}

/* As the kernel lists them, in KiB: sysconf adds up what a virtual machine's host has. */
static int64_t largest_cache(void) {
    int64_t most = 0;
    for (int i = 0; i < 8; i++) {
        char path[80];
        long long kib = 0;
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", i);
        FILE *f = fopen(path, "re");
        if (f && fscanf(f, "%lldK", &kib) == 1 && kib * 1024 > most) most = kib * 1024;
        if (f) fclose(f);
    }
    return most;
}

hy__machine hy__machine_describe(void) {
    hy__machine m = {
        .cores = omp_get_num_procs(), .memory = hy__memory_bytes(), .commit = HY_COMMIT};
    name_cpu(m.cpu, sizeof m.cpu);
    m.last_cache = largest_cache();
    return m;
}
