/* test_plan_long.c: the law "plan = fact" where it takes time: predicted peak memory against that
 * of real runs of the program's commands, files of the large configurations, and what planning
 * itself costs. */
#include "account/account.h"
#include "backend/count/count.h"
#include "base/clock.h"
#include "ckpt/checkpoint.h"
#include "cmd/cmd.h"
#include "support/law.h"

#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/hydralm-plan-XXXXXX";

typedef int (*command_fn)(int argc, char **argv);

enum { ARGS = 24 };

/* Runs a command in a child, its output thrown away; its peak resident bytes, and its seconds. */
static double run(command_fn fn, char *const *argv, double *seconds) {
    const double start = hy__now();
    fflush(NULL);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        const int null = open("/dev/null", O_WRONLY);
        dup2(null, 1);
        int argc = 0;
        char *copy[ARGS] = {NULL};
        while (argv[argc] && argc < ARGS - 1) {
            copy[argc] = argv[argc];
            argc++;
        }
        _exit(fn(argc, copy));
    }
    int status = 0;
    struct rusage use;
    assert_int_equal(wait4(pid, &status, 0, &use), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    if (seconds) *seconds = hy__now() - start;
    return (double)use.ru_maxrss * 1024;
}

/* Words at random: 600 KB of them. */
static void write_text(const char *path) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (uint64_t i = 0; i < 100000; i++) fprintf(f, "w%04d ", (int)law_below(1, i, 5000));
    fclose(f);
}

static void read_account(hy__account *a, const char *path, char *const *set) {
    hy__config c;
    hy__train_config t;
    hy_error err = {0};
    law_ok(hy__config_read_yaml(path, &c, &t, &err), &err);
    for (; *set; set++) law_ok(hy__config_assign(&c, &t, *set, &err), &err);
    law_finish(&c);
    hy__account_init(a, &c, &t);
}

static void assert_tenth(const char *what, double planned, double measured) {
#ifdef __SANITIZE_ADDRESS__
    return; /* it holds memory of its own */
#endif
    printf("%s: planned %.1f MB, measured %.1f MB (%+.1f%%)\n", what, planned / 1e6, measured / 1e6,
           100 * (planned / measured - 1));
    assert_true(fabs(planned / measured - 1) < 0.1);
}

/* Trains so long that carried caches are as large as they become. */
static void check_training(char *config, char *set0, char *set1, char *set2) {
    enum { STEPS = 20 };
    static hy__account a;
    char data[64], out[64], steps[40], val[40], what[160];
    hy_error err = {0};
    hy__memory m;
    snprintf(data, sizeof data, "%s/text", dir);
    snprintf(out, sizeof out, "%s/trained", dir);
    read_account(&a, config, (char *const[]){set0, set1, set2, NULL});
    const hy__shape shape = {.phase = HY__PHASE_TRAIN,
                             .batch = a.train.batch,
                             .tokens = hy__config_segment(&a.cfg, &a.train),
                             .document = STEPS * a.train.seq_len,
                             .recompute = a.train.recompute};
    law_ok(hy__account_memory(&a, &shape, &m, &err), &err);
    snprintf(steps, sizeof steps, "train.steps=%d", STEPS);
    snprintf(val, sizeof val, "train.val_tokens=%d", (int)shape.document);
    char *const argv[] = {"--config", config,      "--data", data,    "--out", out,     "--force",
                          "--quiet",  "--threads", "2",      "--set", set0,    "--set", set1,
                          "--set",    set2,        "--set",  steps,   "--set", val,     NULL};
    snprintf(what, sizeof what, "training %s %s %s %s", config, set0, set1, set2);
    assert_tenth(what, m.total, run(cmd_train, argv, NULL));
}

static void test_memory_of_training(void **state) {
    (void)state;
    check_training("configs/nano.yaml", "train.recompute=false", "train.batch=8",
                   "train.seq_len=512");
    check_training("configs/nano.yaml", "train.recompute=true", "train.batch=8",
                   "train.seq_len=512");
    check_training("configs/nano-transformer.yaml", "train.carry=false", "train.batch=4",
                   "train.seq_len=1024");
    check_training("configs/nano-mamba2.yaml", "train.carry=true", "train.batch=3",
                   "train.seq_len=700");
    check_training("configs/toy.yaml", "train.recompute=true", "train.batch=1",
                   "train.seq_len=1024");
}

/* Bytes of the weights that one token does not use: which of them are resident depends on text and
 * model, not on the configuration. */
static double idle_weights(const hy__account *a, hy__store store) {
    double bytes = 0;
    for (int64_t i = 0; i < a->n_part; i++) {
        const hy__account_part *p = &a->part[i];
        for (int id = 0; id < p->decl.n_param; id++) {
            const hy__param_decl *d = &p->decl.param[id];
            double n = d->n_dim > 0 && hy__group_may_be_narrow(d->group) ? 1 : 0;
            for (int k = 0; k < d->n_dim; k++) n *= (double)d->shape[k];
            const double n_layer = (double)p->n_layer;
            const double idle = d->shared ? 1 - d->active * n_layer : (1 - d->active) * n_layer;
            bytes += n * idle * hy__store_bytes(store, d);
        }
    }
    return bytes;
}

/* The plan says at most: what is idle may be missing from what is measured, and nothing else. */
static void assert_most(const char *what, double most, double idle, double measured) {
    const double least = most - idle;
    const double between = measured < least ? least : measured > most ? most : measured;
    printf("%.1f to %.1f MB ", least / 1e6, most / 1e6);
    assert_tenth(what, between, measured);
}

/* Reads a prompt and writes few tokens, so that they fit into what the prompt has reserved. */
static void check_decoding(char *config, char *dtype, int64_t prompt) {
    static hy__account a;
    char out[64], text[4096], name[128];
    hy_error err = {0};
    hy__memory m;
    snprintf(out, sizeof out, "%s/model", dir);
    char *const init[] = {"--config", config, "--out",   out, "--force",
                          "--dtype",  dtype,  "--quiet", NULL};
    run(cmd_init, init, NULL);
    for (int64_t i = 0; i < prompt; i++) text[i] = (char)('a' + i % 26);
    text[prompt] = 0;
    char *const argv[] = {"--model", out,       "--prompt",  text, "--max-tokens",
                          "8",       "--quiet", "--threads", "2",  NULL};
    read_account(&a, config, (char *const[]){NULL});
    const hy__shape shape = {.phase = HY__PHASE_DECODE,
                             .batch = 1,
                             .tokens = prompt + 8,
                             .store = strcmp(dtype, "bf16") == 0 ? HY__STORE_BF16 : HY__STORE_FP32};
    law_ok(hy__account_memory(&a, &shape, &m, &err), &err);
    snprintf(name, sizeof name, "decoding %s %s after %d tokens", config, dtype, (int)prompt);
    const double idle = idle_weights(&a, shape.store);
    assert_most(name, m.total, idle, run(cmd_generate, argv, NULL));
}

static void test_memory_of_decoding(void **state) {
    (void)state;
    check_decoding("configs/toy.yaml", "fp32", 3000);
    check_decoding("configs/toy-transformer.yaml", "fp32", 2500);
    check_decoding("configs/toy-mamba2.yaml", "fp32", 100);
    check_decoding("configs/hydra-130m.yaml", "bf16", 600);
    check_decoding("configs/hydra-130m-mamba2.yaml", "bf16", 600);
}

/* The 1.6B at every length up to 1M: in under 2 seconds and 100 MB. */
static void test_planning_is_cheap(void **state) {
    (void)state;
    char html[64];
    snprintf(html, sizeof html, "%s/plan.html", dir);
    char *const argv[] = {"configs/hydra-1.6b.yaml",
                          "--lengths",
                          "1,2,64,1000,4096,16384,65536,100000,262144,524288,1048575,1048576",
                          "--html",
                          html,
                          NULL};
    double seconds;
    const double peak = run(cmd_plan, argv, &seconds);
    printf("a plan takes %.3f s and %.1f MB\n", seconds, peak / 1e6);
    assert_true(seconds < 2 && peak < 100e6);
}

/* Files of the large configurations, if the disk has room. */
static void check_file(const char *path) {
    static hy__account a;
    hy_error err = {0};
    law_model lm;
    hy__st *st = NULL;
    struct statvfs disk;
    double bytes = 0;
    char out[64];
    snprintf(out, sizeof out, "%s/large", dir);
    read_account(&a, path, (char *const[]){NULL});
    const double want = hy__account_weight_bytes(&a, HY__STORE_BF16);
    assert_int_equal(statvfs(dir, &disk), 0);
    if ((double)disk.f_bavail * (double)disk.f_frsize < 2 * want) {
        printf("skip: no room for %.1f GB of %s in /tmp\n", want / 1e9, path);
        return;
    }
    law_ok(hy__count_open(&lm.be, &err), &err);
    law_ok(hy__model_new(&lm.m, lm.be, &a.cfg, HY__DTYPE_BF16, &err), &err);
    law_save(lm.m, out);
    law_close(&lm);
    law_ok(hy__st_open_dir(&st, out, &err), &err);
    for (int64_t i = 0; i < hy__st_count(st); i++) {
        const hy__st_tensor *t = hy__st_at(st, i);
        bytes += (double)t->n * (double)hy__st_dtype_size(t->dtype);
    }
    hy__st_close(st);
    assert_true(bytes == want);
    char line[128];
    snprintf(line, sizeof line, "rm -rf '%s'", out);
    assert_int_equal(system(line), 0);
}

static void test_large_files(void **state) {
    (void)state;
    check_file("configs/hydra-130m.yaml");
    check_file("configs/hydra-130m-transformer.yaml");
    check_file("configs/hydra-130m-mamba2.yaml");
    check_file("configs/hydra-1.6b.yaml");
    check_file("configs/hydra-1.6b-transformer.yaml");
    check_file("configs/hydra-1.6b-mamba2.yaml");
}

static int make_dir(void **state) {
    (void)state;
    char path[64];
    if (!mkdtemp(dir)) return -1;
    snprintf(path, sizeof path, "%s/text", dir);
    write_text(path);
    return 0;
}

static int remove_dir(void **state) {
    (void)state;
    char line[64];
    snprintf(line, sizeof line, "rm -rf '%s'", dir);
    return system(line);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        /* children first: they fork before threads exist */
        cmocka_unit_test(test_memory_of_training),
        cmocka_unit_test(test_memory_of_decoding),
        cmocka_unit_test(test_planning_is_cheap),
        cmocka_unit_test(test_large_files),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
