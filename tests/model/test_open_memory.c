/* Opening a model reads nothing of weights that keep the file's dtype. Where they are converted,
 * what is resident of the file meanwhile stays small, so that the peak is one copy of them. Each
 * peak is that of a child process. */
#include "hydralm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const char small[] = "model: {layers: \"F\", d_model: 32, vocab: 256}\nffn: {d_ff: 64}\n";
static const char large[] =
    "model: {layers: \"FF\", d_model: 1024, vocab: 8192}\nffn: {d_ff: 1792}\n";
/* its embedding, gate_up and down; norms and gates are next to nothing */
static const double large_params = 8192.0 * 1024 + 2 * 3 * 1792.0 * 1024;

static char folder[] = P_tmpdir "/hydralm-memory-XXXXXX";

typedef struct job {
    const char *dir, *config; /* a config: makes the model; none: opens it */
    const char *dtype;        /* in memory; the files are fp32 */
} job;

/* Runs in the child. */
static hy_status run(const job *j, hy_error *err) {
    char path[128], dir[128];
    hy_model *m = NULL;
    const hy_model_options opt = {.dtype = j->dtype, .threads = 2};
    hy_status status;
    snprintf(path, sizeof path, "%s/%s.yaml", folder, j->dir);
    snprintf(dir, sizeof dir, "%s/%s", folder, j->dir);
    if (j->config) {
        FILE *f = fopen(path, "w");
        if (!f || fputs(j->config, f) < 0 || fclose(f) != 0) return HY_E_IO;
        status = hy_model_new(&m, path, 1, &opt, err);
        if (status == HY_OK) status = hy_model_save(m, dir, err);
    } else {
        status = hy_model_open(&m, dir, &opt, err);
    }
    hy_model_free(m);
    return status;
}

/* Peak resident bytes of a child that does the job. */
static double peak_of(job j) {
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        hy_error err = {0};
        if (run(&j, &err) == HY_OK) _exit(0);
        fprintf(stderr, "%s\n", err.text);
        _exit(1);
    }
    int status = 0;
    struct rusage use;
    assert_int_equal(wait4(pid, &status, 0, &use), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return (double)use.ru_maxrss * 1024;
}

static void check(const char *dtype, double base, double least, double most) {
    const double took = peak_of((job){.dir = "large", .dtype = dtype}) - base;
    if (took < least || took > most)
        fail_msg("opening as %s took %.0f bytes more than opening next to nothing, wanted %.0f to "
                 "%.0f",
                 dtype, took, least, most);
}

static void test_peak(void **state) {
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    skip(); /* it keeps freed memory, and shadows all */
#endif
    peak_of((job){.dir = "small", .config = small});
    peak_of((job){.dir = "large", .config = large});
    const double base = peak_of((job){.dir = "small"});
    /* a 64th of the file: what a peak varies by; all of it is 77 MB */
    check("fp32", base, -4 * large_params / 64, 4 * large_params / 64);
    /* a quarter: the pages of the file that stay until enough of it was read */
    check("bf16", base, 2 * large_params, 1.25 * 2 * large_params);
}

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_peak)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
