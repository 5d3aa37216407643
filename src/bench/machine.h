/* machine.h: on what, and with which program, something was measured. */
#ifndef HY_BENCH_MACHINE_H
#define HY_BENCH_MACHINE_H

#include <stdint.h>

typedef struct hy__machine {
    char cpu[96];       /* as it calls itself; "unknown" where the system does not say */
    int64_t cores;      /* that this process may use */
    int64_t memory;     /* bytes */
    int64_t last_cache; /* bytes of the largest cache; 0 = not known */
    const char *commit; /* of the program; "-dirty" where files differed from it; or "unknown" */
} hy__machine;

hy__machine hy__machine_describe(void);

#endif
