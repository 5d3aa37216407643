/* pool.c: jobs as processes, as many at a time as there are cores; see lab.h.
 *
 * A small model gains nothing from a second thread, and a process that ends gives all its memory
 * back. The parent computes nothing itself: threads of OpenMP would not be copied by a fork. What a
 * job says when it fails comes back through a pipe. A stop is a SIGTERM to every job, which saves
 * and ends. */
#include "lab/lab.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { AT_A_TIME = 64 };

typedef struct worker {
    pid_t pid; /* 0 = free */
    int said;  /* read end of its pipe */
    int64_t job;
} worker;

static volatile sig_atomic_t asked;

static void on_term(int number) {
    (void)number;
    asked = 1;
}

static bool go_on(void *user, const hy_train_progress *p) {
    (void)user;
    (void)p;
    return !asked;
}

/* In the child: runs the job, says what failed, never returns. */
static _Noreturn void work(const hy__job *j, const hy__lab *lab, const hy__lab_scale *s, int to) {
    hy_error err = {0};
    struct sigaction action;
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* it saves and ends when the lab is killed */
    memset(&action, 0, sizeof action);
    action.sa_handler = on_term;
    sigaction(SIGTERM, &action, NULL);
    action.sa_handler = SIG_IGN; /* Ctrl-C is the parent's, which sends SIGTERM */
    sigaction(SIGINT, &action, NULL);
    const hy_status status = hy__job_run(j, lab, s, go_on, &err);
    if (status != HY_OK && write(to, &err, sizeof err) < 0) _exit(2);
    _exit(status == HY_OK ? 0 : 1);
}

static hy_status start(worker *w, hy__job *job, int64_t i, const hy__lab *lab,
                       const hy__lab_scale *s, hy_error *err) {
    int end[2];
    if (pipe(end) != 0) return hy__fail(err, HY_E_IO, "cannot start a job: %s", strerror(errno));
    fflush(NULL);
    const pid_t pid = fork();
    if (pid < 0) {
        close(end[0]);
        close(end[1]);
        return hy__fail(err, HY_E_MEMORY, "cannot start a job: %s", strerror(errno));
    }
    if (pid == 0) {
        close(end[0]);
        work(&job[i], lab, s, end[1]);
    }
    close(end[1]);
    *w = (worker){.pid = pid, .said = end[0], .job = i};
    return HY_OK;
}

/* Of a process that ended. */
static hy_status end(worker *w, int code, const hy__job *job, hy_error *err) {
    hy_error said = {0};
    const bool told = read(w->said, &said, sizeof said) == sizeof said;
    close(w->said);
    w->pid = 0;
    if (WIFEXITED(code) && WEXITSTATUS(code) == 0) return HY_OK;
    if (told) return hy__fail(err, said.status, "%s", said.text);
    if (WIFSIGNALED(code))
        return hy__fail(err, HY_E_INTERNAL, "%.300s: the job was killed by signal %d",
                        job[w->job].dir, WTERMSIG(code));
    return hy__fail(err, HY_E_INTERNAL, "%.300s: the job ended without a word", job[w->job].dir);
}

static void tell(const hy__job *job, int64_t n_run, int64_t n, const worker *w,
                 const hy__lab_scale *s, const hy__lab_options *opt) {
    char now[400] = "";
    int64_t done = 0;
    for (int64_t i = 0; i < n_run; i++) done += job[i].done;
    for (int i = 0; i < AT_A_TIME; i++) {
        if (w[i].pid == 0) continue;
        const hy__job *j = &job[w[i].job];
        snprintf(now + strlen(now), sizeof now - strlen(now), "%s%.40s, rate %g, seed %lld",
                 *now ? "; " : "", s->arm[j->arm].name, s->rate[j->rate], (long long)j->seed);
    }
    if (opt->on_progress) opt->on_progress(opt->user, done, n, now);
}

/* Each saves and ends. */
static void stop_all(const worker *w) {
    for (int i = 0; i < AT_A_TIME; i++)
        if (w[i].pid > 0) kill(w[i].pid, SIGTERM);
}

/* Waits until one of them ends, asking now and then whether to stop. */
static hy_status wait_one(worker *w, hy__job *job, int64_t n_run, int64_t n, const hy__lab_scale *s,
                          const hy__lab_options *opt, bool *stopped, hy_error *err) {
    const struct timespec nap = {.tv_nsec = 100000000};
    for (;;) {
        for (int i = 0; i < AT_A_TIME; i++) {
            int code;
            if (w[i].pid == 0 || waitpid(w[i].pid, &code, WNOHANG) != w[i].pid) continue;
            const hy_status status = end(&w[i], code, job, err);
            job[w[i].job].done = status == HY_OK;
            return status;
        }
        tell(job, n_run, n, w, s, opt);
        if (!*stopped && opt->stop && opt->stop(opt->user)) {
            *stopped = true;
            stop_all(w);
        }
        nanosleep(&nap, NULL);
    }
}

static int running(const worker *w) {
    int n = 0;
    for (int i = 0; i < AT_A_TIME; i++) n += w[i].pid > 0;
    return n;
}

static worker *free_one(worker *w) {
    while (w->pid > 0) w++;
    return w;
}

hy_status hy__pool_run(hy__job *job, int64_t n_run, int64_t n, const hy__lab *lab,
                       const hy__lab_scale *s, const hy__lab_options *opt, hy_error *err) {
    worker w[AT_A_TIME] = {{0}};
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int64_t most = opt->jobs > 0 ? opt->jobs : cores > 0 ? cores : 1, next = 0;
    hy_status status = HY_OK;
    bool stopped = false;
    if (most > AT_A_TIME) most = AT_A_TIME;
    for (;;) {
        while (next < n_run && job[next].done) next++;
        const bool more = next < n_run && status == HY_OK && !stopped;
        if (more && running(w) < most) {
            status = start(free_one(w), job, next++, lab, s, err);
        } else if (running(w) > 0) {
            hy_error one;
            const hy_status ended = wait_one(w, job, n_run, n, s, opt, &stopped, &one);
            if (ended == HY_E_STOPPED) stopped = true;
            if (ended == HY_OK || ended == HY_E_STOPPED || status != HY_OK) continue;
            status = ended;
            if (err) *err = one;
            stop_all(w);
        } else {
            break;
        }
    }
    if (status == HY_OK && stopped)
        return hy__fail(err, HY_E_STOPPED, "stopped; the same command goes on from here");
    return status;
}
