/* files.c: what an experiment writes, apart from its pages; see lab.h. */
#include "backend/backend.h"
#include "base/file.h"
#include "base/hash.h"
#include "bench/machine.h"
#include "lab/lab.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void hy__lab_hash(hy__hash *h, const char *config) {
    const char *commit = hy__machine_describe().commit;
    const char *isa =
        hy__backend_names()[0]; /* what "cpu" opens: sums have another order in each */
    hy__hash_init(h);
    hy__hash_add(h, HY_VERSION, sizeof HY_VERSION);
    hy__hash_add(h, commit, strlen(commit) + 1);
    hy__hash_add(h, isa, strlen(isa) + 1);
    hy__hash_add(h, config, strlen(config) + 1);
}

void hy__lab_dir(char dir[HY__LAB_DIR], const char *out, const char *arm, const char *what,
                 const hy__hash *h) {
    char name[40];
    size_t n = 0;
    for (; *arm && n + 1 < sizeof name; arm++)
        name[n++] = isalnum((unsigned char)*arm) ? *arm : '-';
    name[n] = '\0';
    snprintf(dir, HY__LAB_DIR, "%.400s/runs/%s-%.40s-%08x", out, name, what,
             (unsigned)(hy__hash_value(h) >> 32));
}

json_t *hy__lab_number(double x) {
    return isfinite(x) ? json_real(x) : json_null();
}

hy_status hy__lab_save(json_t *json, size_t digits, const char *dir, const char *name,
                       hy_error *err) {
    char *text = json ? json_dumps(json, JSON_INDENT(1) | JSON_REAL_PRECISION(digits)) : NULL;
    char *path = hy__path_join(dir, name);
    const hy_status status =
        text && path ? hy__file_write(path, text, strlen(text), err)
                     : hy__fail(err, HY_E_MEMORY, "there is not enough memory for results");
    json_decref(json);
    free(text);
    free(path);
    return status;
}
