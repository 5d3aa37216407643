/* isa.h: opening the CPU backends; see backend.h for the names. */
#ifndef HY_BACKEND_CPU_ISA_H
#define HY_BACKEND_CPU_ISA_H

#include "backend/backend.h"

hy_status hy__cpu_open(hy__backend **out, const char *name, int n_thread, hy_error *err);
const char *const *hy__cpu_known(void); /* all, NULL-terminated */
const char *const *hy__cpu_names(void); /* what this machine can open, NULL-terminated */

#endif
