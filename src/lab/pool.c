/* pool.c: chores as processes, some at a time; see lab.h.
 *
 * A process that ends gives all its memory back. The parent computes nothing itself: threads of
 * OpenMP would not be copied by a fork. What a job says when it fails comes back through a pipe. A
 * stop is a SIGTERM to every job, which saves and ends; it is held back from a process until that
 * can take it, so that none is lost. */
#include "lab/lab.h"

#include "base/words.h"

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
    int64_t chore;
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

hy_status hy__lab_go_on(hy_train_fn may, hy_error *err) {
    if (!may || may(NULL, NULL)) return HY_OK;
    return hy__fail(err, HY_E_STOPPED, "the job was stopped");
}

/* What ends a lab, whoever sends it. */
static sigset_t stops(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    return set;
}

/* In the child, from which stops are held back: does it, says what failed, never returns. */
static _Noreturn void work(const hy__chores *c, int64_t i, int to, pid_t lab) {
    hy_error err = {0};
    struct sigaction action;
    const sigset_t held = stops();
    memset(&action, 0, sizeof action);
    action.sa_handler = on_term;
    sigaction(SIGTERM, &action, NULL);
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* it saves and ends when the lab is killed */
    if (getppid() != lab) asked = 1;  /* it was before */
    action.sa_handler = SIG_IGN;      /* what a terminal sends is the parent's: it sends SIGTERM */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    sigprocmask(SIG_UNBLOCK, &held, NULL);
    const hy_status status = c->run(c->user, i, go_on, &err);
    if (status != HY_OK && write(to, &err, sizeof err) < 0) _exit(2);
    _exit(status == HY_OK ? 0 : 1);
}

static hy_status start(worker *w, const hy__chores *c, int64_t i, hy_error *err) {
    const sigset_t held = stops();
    sigset_t before;
    int end[2];
    if (pipe(end) != 0)
        return hy__fail(err, HY_E_IO, "cannot start a process: %s", strerror(errno));
    fflush(NULL);
    sigprocmask(SIG_BLOCK, &held, &before);
    const pid_t lab = getpid(), pid = fork();
    if (pid == 0) {
        close(end[0]);
        work(c, i, end[1], lab);
    }
    const int why = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    close(end[1]);
    if (pid < 0) {
        close(end[0]);
        return hy__fail(err, HY_E_MEMORY, "cannot start a process: %s", strerror(why));
    }
    *w = (worker){.pid = pid, .said = end[0], .chore = i};
    return HY_OK;
}

/* Of a process that ended. */
static hy_status end(worker *w, int code, const hy__chores *c, hy_error *err) {
    char name[120];
    hy_error said = {0};
    const bool told = read(w->said, &said, sizeof said) == sizeof said;
    close(w->said);
    w->pid = 0;
    c->done[w->chore] = WIFEXITED(code) && WEXITSTATUS(code) == 0;
    if (c->done[w->chore]) return HY_OK;
    if (told) return hy__fail(err, said.status, "%s", said.text);
    c->name(c->user, w->chore, name, sizeof name);
    if (WIFSIGNALED(code))
        return hy__fail(err, HY_E_INTERNAL, "%s: killed by signal %d", name, WTERMSIG(code));
    return hy__fail(err, HY_E_INTERNAL, "%s: ended without a word", name);
}

static void tell(const hy__chores *c, const worker *w, const hy__lab_options *opt) {
    char now[400] = "", name[120];
    int64_t done = 0;
    for (int64_t i = 0; i < c->n; i++) done += c->done[i];
    for (int i = 0; i < AT_A_TIME; i++) {
        if (w[i].pid == 0) continue;
        c->name(c->user, w[i].chore, name, sizeof name);
        hy__words_add(now, sizeof now, "; ", name);
    }
    if (opt->on_progress) opt->on_progress(opt->user, c->lab, done, c->total, now);
}

/* Each saves and ends. */
static void stop_all(const worker *w) {
    for (int i = 0; i < AT_A_TIME; i++)
        if (w[i].pid > 0) kill(w[i].pid, SIGTERM);
}

/* One that has ended, with how; NULL where all go on. */
static worker *find_ended(worker *w, int *code) {
    for (int i = 0; i < AT_A_TIME; i++)
        if (w[i].pid > 0 && waitpid(w[i].pid, code, WNOHANG) == w[i].pid) return &w[i];
    return NULL;
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

hy_status hy__pool_run(const hy__chores *c, int64_t at_a_time, const hy__lab_options *opt,
                       hy_error *err) {
    const struct timespec nap = {.tv_nsec = 100000000};
    worker w[AT_A_TIME] = {{0}}, *ended;
    const int64_t most = at_a_time < AT_A_TIME ? at_a_time : AT_A_TIME;
    int64_t next = 0;
    int code;
    hy_status status = HY_OK; /* the first failure */
    bool stopped = false, told = false;
    signal(SIGCHLD, SIG_DFL); /* who started this may ignore it: no job would be seen to end */
    for (;;) {
        stopped = stopped || (opt->stop && opt->stop(opt->user));
        if ((stopped || status != HY_OK) && !told) {
            told = true;
            stop_all(w);
        }
        while (next < c->n && c->done[next]) next++;
        if (next < c->n && !told && running(w) < most) {
            status = start(free_one(w), c, next++, err);
        } else if (running(w) == 0) {
            break;
        } else if ((ended = find_ended(w, &code))) {
            hy_error one;
            const hy_status how = end(ended, code, c, &one);
            if (how == HY_E_STOPPED) stopped = true; /* perhaps somebody told it, and not us */
            if (how == HY_OK || how == HY_E_STOPPED || status != HY_OK) continue;
            status = how;
            if (err) *err = one;
        } else {
            tell(c, w, opt);
            nanosleep(&nap, NULL);
        }
    }
    if (status == HY_OK && stopped)
        return hy__fail(err, HY_E_STOPPED, "stopped; the same command goes on from here");
    return status;
}
