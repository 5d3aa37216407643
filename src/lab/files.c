/* files.c: what an experiment writes, apart from its pages; see lab.h. */
#include "backend/backend.h"
#include "base/file.h"
#include "base/hash.h"
#include "bench/machine.h"
#include "lab/lab.h"
#include "page/text.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* A commit tells a program only where nothing was changed behind it. */
static void hash_program(hy__hash *h, const char *commit) {
    const size_t n = strlen(commit), dirty = strlen("-dirty");
    hy__map map = {0};
    if (strcmp(commit, "unknown") != 0 && (n < dirty || strcmp(commit + n - dirty, "-dirty") != 0))
        return;
    if (hy__file_map(&map, "/proc/self/exe", NULL) == HY_OK) hy__hash_add(h, map.data, map.size);
    hy__file_unmap(&map);
}

void hy__lab_hash(hy__hash *h, const char *config) {
    const char *commit = hy__machine_describe().commit;
    const char *isa =
        hy__backend_names()[0]; /* what "cpu" opens: sums have another order in each */
    hy__hash_init(h);
    hy__hash_add(h, HY_VERSION, sizeof HY_VERSION);
    hy__hash_add(h, commit, strlen(commit) + 1);
    hash_program(h, commit);
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

hy_status hy__lab_lock(int *lock, const char *dir, hy_error *err) {
    HY_TRY(hy__dir_make(dir, NULL, err));
    *lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*lock < 0)
        return hy__fail(err, HY_E_IO, "cannot open the folder %s: %s", dir, strerror(errno));
    if (flock(*lock, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return HY_OK;
    hy__lab_unlock(*lock);
    *lock = -1;
    return hy__fail(err, HY_E_IO,
                    "another lab is running in %s, or its last process has not ended yet; wanted "
                    "one at a time",
                    dir);
}

void hy__lab_unlock(int lock) {
    if (lock >= 0) close(lock);
}

json_t *hy__lab_set_json(const hy__lab_options *opt) {
    json_t *all = json_array();
    for (int64_t i = 0; i < opt->n_set; i++) json_array_append_new(all, json_string(opt->set[i]));
    return all;
}

json_t *hy__lab_number(double x) {
    return isfinite(x) ? json_real(x) : json_null();
}

void hy__lab_put_number(hy__text *t, int digits, double x) {
    hy__text_put(t, ",");
    if (isfinite(x)) hy__text_add(t, "%.*f", digits, x);
}

hy_status hy__lab_save(json_t *json, size_t digits, const char *dir, const char *name,
                       hy_error *err) {
    char *text = json ? json_dumps(json, JSON_INDENT(1) | JSON_REAL_PRECISION(digits)) : NULL;
    char *path = hy__path_join(dir, name);
    const hy_status status = text && path
                                 ? hy__file_write(path, text, strlen(text), err)
                                 : hy__no_memory(err, "results, or a name in them is not UTF-8");
    json_decref(json);
    free(text);
    free(path);
    return status;
}
