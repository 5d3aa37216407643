/* lab.h: experiments: questions put so that the answer can be no.
 *
 *   lab_NAME.c   an experiment: its question, arms, tasks and goals, as tables
 *   lab.c        the list of them; runs one: sweep, seeds, results, page
 *   index.c      runs all, and the page that leads to theirs
 *   entries.c    the data that an experiment's entries stand for
 *   arm.c        an arm's configuration, brought to equal parameters
 *   job.c        one training and its evaluation, in a folder of its own
 *   files.c      the folder of a job, and what is written as JSON
 *   pool.c       as many jobs at a time as there are cores, each a process
 *   exam.c       what a model answers to a task, and what it makes of held-out text
 *   ring.c       held-out text at lengths of context
 *   specialise.c what its experts specialise in, and what it hurts to lose them
 *   leak.c       what it gains from tokens that it must not see
 *   results.c    means and spreads; results.json and results.csv
 *   verdict.c    whether goals are met; verdicts as a table and as JSON
 *   lab_page.c   the page and its figures
 *   samples.c    what is trained on, printed
 *   lab_setup.c  the configuration, the arms and the command, printed
 *   curves.c     how the arms learned
 *   leads.c      losses beside the first arm's, seed by seed
 *   crossover.c  an experiment that trains nothing: it measures rates and memory
 *
 * An arm is trained with each learning rate of the sweep for the first seed, and with the best for
 * the others; best is what does best at the first metric of what it was trained on. Every job is
 * an ordinary training (its folder can be opened by report, eval, generate), and what is done is
 * never done again: an interrupted lab goes on where it was. */
#ifndef HY_LAB_LAB_H
#define HY_LAB_LAB_H

#include "base/status.h"
#include "config/config.h"
#include "lab/ring.h"
#include "page/number.h"

#include <math.h>

enum {
    HY__LABS = 11,
    HY__LAB_SETS = 12,
    HY__LAB_ARMS = 14,
    HY__LAB_PROBES = 24,
    HY__LAB_DATA = 16,
    HY__LAB_RATES = 4,
    HY__LAB_SEEDS = 16,
    HY__LAB_GOALS = 16,
    HY__LAB_FOLDER = 40, /* bytes of the name of an experiment's folder */
    HY__LAB_OUT = 400,   /* of its path */
    HY__LAB_DIR = 512,   /* of that of one below it */
    HY__LAB_DIGITS = 6,  /* of results that are summed up; those of a job are whole */
    HY__LAB_WHOLE = 17,
};

/* ---- what an experiment is ---- */

/* A kind of model. The first of a lab has the size that all are brought to. */
typedef struct hy__arm {
    const char *name;
    const char *set[HY__LAB_SETS]; /* over the lab's configuration: "model.layers=S W" */
    const char *fit;               /* the field that brings its size to the first one's */
    int64_t step;                  /* which stays a multiple of this */
    const char *recipe;            /* in place of the scale's */
    bool flops;                    /* its size are the FLOPs of a step, without the optimizer's */
    bool kin; /* a form of the first arm: no rival where that should be ahead */
} hy__arm;

/* What is measured of a model at the end. */
typedef enum hy__metric {
    HY__ACCURACY,    /* share of what is asked that is answered */
    HY__LOSS,        /* nats per token of what is asked */
    HY__BITS,        /* bits per byte, of text */
    HY__BETA,        /* of P: mean β where something is asked */
    HY__SLOTS,       /* of P: share of the rows that were read */
    HY__EVENNESS,    /* of P: the share that as much would be read of evenly: e^-KL */
    HY__VIOLATION,   /* of E, as are the next: specialise.c */
    HY__DEAD,        /* experts that nobody chose */
    HY__INFORMATION, /* normalised mutual information of expert and corpus */
    HY__HARM,        /* nats per token that banning a corpus's experts costs it */
    HY__HARM_SHARE,  /* its own of that and of what it costs another one, least of all corpora */
    HY__EXPERT_READ, /* bytes of experts for a token that is written */
    HY__FLOPS,       /* of a token that is read */
    HY__FUTURE,      /* nats per token that what stands behind a token tells of it: leak.c */
    HY__METRICS
} hy__metric;

typedef struct hy__metric_info {
    const char *name;  /* a word: of files and fields */
    const char *title; /* of a chart */
    hy__unit unit;
    bool less; /* is better */
} hy__metric_info;

extern const hy__metric_info hy__metric_of[HY__METRICS];

/* How a probe's data are read. */
typedef enum hy__reading {
    HY__READ_WINDOWS, /* of a task: documents, always */
    HY__READ_MIXED,   /* documents of all corpora in turn */
    HY__READ_BANNED,  /* and once more for each corpus, its experts banned: measures harm */
    HY__READ_CUT,     /* every token before what follows it is there: measures the future */
    HY__READ_RING,    /* all of the text at a length of context */
} hy__reading;

typedef struct hy__probe {
    const char *name;
    const char *data; /* a task, a corpus of the training's by its name, "*": all of them; of a
                         ring, which is of all of them, what results call it */
    hy__metric metric;
    bool aside; /* has no say in the choice of the rate: asks more than training did, or a part or
                   another side of it */
    hy__reading reading;
    hy__ring ring; /* of HY__READ_RING */
    int64_t k;     /* experts that a token uses; 0 = as trained */
} hy__probe;

/* What the blueprint reports, to stand beside an arm at a probe; by their names. */
typedef struct hy__reported {
    const char *arm, *at;
    hy__metric metric;
    double value;
} hy__reported;

/* When a goal is met, at every one of its probes. */
typedef enum hy__goal_kind {
    HY__AT_LEAST, /* the arm's mean is `wanted` or more */
    HY__AT_MOST,
    HY__ABOUT_0, /* its mean is at most that far from 0 */
    HY__AHEAD,   /* its worst seed is better than chance, and than the best seed of every other arm
                    that is no kin of the first */
    HY__WITHIN,  /* its mean is worse than that of arm `beside` by at most `wanted`, below 0: better
                  */
    HY__EACH,    /* each of its seeds is better than the same one of arm `beside`, by more than
                    `wanted` */
    HY__HOLDS,   /* its mean is worse than its own at probe `beside` by at most `wanted` */
    HY__ONWARD,  /* from each of its probes to the next its mean gets worse by at most `wanted` */
    HY__TIMES,   /* its mean is at most `wanted` times that of arm `beside` */
} hy__goal_kind;

/* Arms and probes by their names. */
typedef struct hy__goal {
    const char *text, *arm;
    const char *at, *to; /* its probes: one, or with `to` all from the one to the other … */
    hy__metric metric;   /* … of this metric */
    hy__goal_kind kind;
    double wanted;
    const char *beside; /* an arm; of HY__HOLDS a probe */
} hy__goal;

/* One length of an experiment; lists end with what is empty. */
typedef struct hy__lab_scale {
    const char *set[HY__LAB_SETS]; /* of all arms: train.steps, … */
    const hy__arm *arm;            /* at most HY__LAB_ARMS */
    double rate[HY__LAB_RATES + 1];
    const char *data[HY__LAB_DATA + 1]; /* as --data of train; HY__LAB_TEXT, "own/src" */
    uint64_t text;      /* fingerprint of what of them is text, once hy__entries_open has read it */
    const char *recipe; /* YAML of a curriculum, or NULL */
    const hy__probe *probe;       /* at most HY__LAB_PROBES */
    const hy__goal *goal;         /* at most HY__LAB_GOALS */
    const hy__reported *reported; /* or NULL */
} hy__lab_scale;

struct hy__lab_options;

typedef struct hy__lab {
    const char *name, *question;
    const char *about;     /* a paragraph: what is done, and why so */
    const char *published; /* what the blueprint reports */
    const char *config;    /* YAML */
    /* NULL: arms are trained and asked, as this file says. Otherwise it does what hy__lab_run does,
     * into opt->out itself, and has no rates, data, probes and goals here. */
    hy_status (*run)(const struct hy__lab *lab, const struct hy__lab_options *opt, hy_error *err);
    const char *train[4]; /* then also: the fields of train that it depends on */
    hy__lab_scale quick, full;
} hy__lab;

extern const hy__lab hy__lab_crossover, hy__lab_logic, hy__lab_hops, hy__lab_recall, hy__lab_needle,
    hy__lab_facts, hy__lab_ablate, hy__lab_stretch, hy__lab_curriculum, hy__lab_experts,
    hy__lab_leak;
extern const hy__lab *const hy__labs[HY__LABS + 1]; /* NULL behind the last */

/* ---- running one ---- */

typedef struct hy__lab_options {
    bool full;
    int64_t seeds;          /* 1 … HY__LAB_SEEDS */
    const char *const *set; /* [n_set] changes of every arm's configuration: "train.steps=100" */
    int64_t n_set;
    const char *const *text; /* [n_text] in place of the project's own; borrowed */
    int64_t n_text;
    const char *out; /* folder; each experiment has one in it: hy__lab_folder */
    int64_t jobs;    /* at a time; 0 = one for each core */
    void (*on_progress)(void *user, const char *lab, int64_t done, int64_t of, const char *now);
    /* Of several experiments one has ended; err->status HY_OK: it came through. Or NULL. */
    void (*on_end)(void *user, const hy__lab *lab, const hy_error *err);
    bool (*stop)(void *user); /* asked now and then; or NULL */
    void *user;
} hy__lab_options;

/* HY_E_INVALID lists the names that there are. */
hy_status hy__lab_find(const hy__lab **out, const char *name, hy_error *err);

/* NAME, or NAME-full: one length is not written over the other. */
void hy__lab_folder(char out[HY__LAB_FOLDER], const hy__lab *lab, const hy__lab_options *opt);

/* Runs what is left to run and writes results.json, results.csv, the figures and index.html into
 * its folder, which it makes. HY_E_STOPPED when it was asked to; HY_E_INVALID for a path longer
 * than HY__LAB_OUT. */
hy_status hy__lab_run(const hy__lab *lab, const hy__lab_options *opt, hy_error *err);

/* HY_E_INVALID where it refuses what the options say: a field, or the text that they name. Runs
 * nothing. */
hy_status hy__lab_check(const hy__lab *lab, const hy__lab_options *opt, hy_error *err);

/* Runs labs, at most HY__LABS of them and NULL behind the last, one after another, and writes
 * opt->out/index.html, which says of each what came of it. One that fails does not keep the others
 * from being run; then the status of the first that did, and a sentence that names all.
 * HY_E_STOPPED when it was asked to stop. HY_E_INVALID, before anything is run, for options that
 * one refuses. */
hy_status hy__lab_run_all(const hy__lab *const *labs, const hy__lab_options *opt, hy_error *err);

/* Puts the changes that the options ask for behind the experiment's own. HY_E_INVALID when there is
 * no room, where an arm cannot be made so, and for a field that would not be changed in every arm,
 * as an arm, all its stages or a job set it, or that what is measured does not depend on. */
hy_status hy__scale_change(const hy__lab *lab, hy__lab_scale *s, const hy__lab_options *opt,
                           hy_error *err);

/* ---- entries.c ---- */

#define HY__LAB_TEXT "text" /* an entry: the text of --text, or the project's own */

typedef struct hy__entries {
    char *path[HY__LAB_DATA]; /* owned */
    int n;
} hy__entries;

/* Whether one of its entries is the text that --text replaces. */
bool hy__lab_reads_text(const hy__lab *lab);
/* HY_E_INVALID where --text is given to one that does not. */
hy_status hy__lab_check_text(const hy__lab *lab, const hy__lab_options *opt, hy_error *err);
/* Puts what they stand for in place of a scale's entries, borrowed from *e, and sets s->text. */
hy_status hy__entries_open(hy__entries *e, hy__lab_scale *s, const char *lab,
                           const hy__lab_options *opt, hy_error *err);
void hy__entries_release(hy__entries *e);
struct hy__mixture;
/* Opens what the entries name, read as bytes; without `tasks` the text alone. m->n is 0 where there
 * is none. */
hy_status hy__entries_read(struct hy__mixture *m, const hy__lab_scale *s, bool tasks,
                           double val_fraction, hy_error *err);
/* HY_E_INVALID when the text is not any more what hy__entries_open has read. */
hy_status hy__entries_check(const hy__lab_scale *s, hy_error *err);

/* ---- arm.c ---- */

int hy__scale_arms(const hy__lab_scale *s);
int hy__scale_probes(const hy__lab_scale *s);
int hy__scale_rates(const hy__lab_scale *s);
/* -1 where there is none of that name. */
int hy__scale_arm(const hy__lab_scale *s, const char *name);
int hy__scale_probe(const hy__lab_scale *s, const char *name, hy__metric metric);

/* Its curriculum, or NULL. */
const char *hy__arm_recipe(const hy__lab_scale *s, int arm);

/* An arm, brought to size. */
typedef struct hy__sized {
    hy__config cfg;
    hy__train_config train;
    int64_t parameters;
    int64_t width; /* what its field has become; 0 where it has none */
} hy__sized;

/* Its parameters, or FLOPs, are within 2% of the first one's. HY_E_INVALID where its field cannot
 * do that. */
hy_status hy__arm_config(const hy__lab *lab, const hy__lab_scale *s, int arm, hy__sized *out,
                         hy_error *err);
/* Whether the first arm, to whose size this one is brought, grows with the field that does it. */
bool hy__arm_follows(const hy__lab *lab, const hy__lab_scale *s, int arm);

/* ---- job.c ---- */

typedef struct hy__answer {
    double value[HY__METRICS]; /* NaN where there is nothing to measure */
    int64_t asked;
} hy__answer;

typedef struct hy__job {
    int arm, rate;
    int64_t seed;
    /* from its result */
    bool done;
    int64_t parameters, steps;
    int64_t read, tokens; /* places in windows that were read, and those of them that were asked */
    double seconds;
    hy__answer answer[HY__LAB_PROBES];
    char dir[HY__LAB_DIR]; /* its folder below opt->out */
} hy__job;

/* Names the folder and reads the result that it holds, if it does. */
hy_status hy__job_open(hy__job *j, const hy__lab *lab, const hy__lab_scale *s, const char *out,
                       hy_error *err);
/* Trains, evaluates and writes the result; HY_E_STOPPED when go_on (which is asked with NULLs, too)
 * ended it: it goes on the next time. For a process of its own. */
hy_status hy__job_run(const hy__job *j, const hy__lab *lab, const hy__lab_scale *s,
                      hy_train_fn go_on, hy_error *err);

/* ---- files.c ---- */

struct hy__hash;
struct json_t;

/* The hash of what every result depends on: the program, by version and commit (and, where these do
 * not tell it, by its bytes), the instruction set that it computes with, and an arm's
 * configuration; more may follow. */
void hy__lab_hash(struct hy__hash *h, const char *config);
/* OUT/runs/ARM-WHAT-HASH, of the arm's name letters and digits, the rest as dashes. */
void hy__lab_dir(char dir[HY__LAB_DIR], const char *out, const char *arm, const char *what,
                 const struct hy__hash *h);
/* Makes the folder of an experiment and keeps other runs out of it: until hy__lab_unlock, or, of
 * one that is killed, until the last process that it began has ended. HY_E_IO where another is in
 * it. */
hy_status hy__lab_lock(int *lock, const char *dir, hy_error *err);
void hy__lab_unlock(int lock); /* -1: none */
/* What a run changes of the fields. */
struct json_t *hy__lab_set_json(const hy__lab_options *opt);
/* null where it is none. */
struct json_t *hy__lab_number(double x);
struct hy__text;
/* Behind a comma, so many digits behind the point; nothing where it is none. */
void hy__lab_put_number(struct hy__text *t, int digits, double x);
/* Writes json, which it takes, with so many digits, as DIR/NAME. HY_E_IO; HY_E_MEMORY also where
 * json is NULL. */
hy_status hy__lab_save(struct json_t *json, size_t digits, const char *dir, const char *name,
                       hy_error *err);

/* ---- pool.c ---- */

/* What is to be done in processes of its own. */
typedef struct hy__chores {
    const char *lab;  /* whose they are */
    int64_t n, total; /* those that may be done now; with those that will follow */
    bool *done;       /* [total] set as they are done; the others are run */
    hy_status (*run)(void *user, int64_t i, hy_train_fn go_on, hy_error *err);
    void (*name)(const void *user, int64_t i, char *out, size_t size);
    void *user;
} hy__chores;

/* Runs so many at a time. HY_E_STOPPED, or the first failure, after which the others end too. */
hy_status hy__pool_run(const hy__chores *c, int64_t at_a_time, const hy__lab_options *opt,
                       hy_error *err);

/* Of a chore: HY_E_STOPPED where go_on, which may be NULL, says so. */
hy_status hy__lab_go_on(hy_train_fn go_on, hy_error *err);

/* ---- exam.c ---- */

struct hy__model;
typedef struct hy__exam hy__exam;

/* Of a trained model, and of what it was trained on. The model is borrowed. go_on is asked with
 * NULLs before every forward; NULL: it goes on. */
hy_status hy__exam_new(hy__exam **out, struct hy__model *m, const hy__lab_scale *s,
                       const hy__train_config *t, hy_train_fn go_on, hy_error *err);
void hy__exam_free(hy__exam *e);
/* HY_E_INVALID where there is less text than the probes ask for: before anything is trained. */
hy_status hy__exam_check(const hy__lab_scale *s, const hy__train_config *t, hy_error *err);
/* What the model makes of a probe's data: of a task test documents, which neither training nor what
 * is held out contains; of text, and of a corpus that is a task, windows of train.seq_len in what
 * is held out. HY_E_STOPPED when go_on said so. */
hy_status hy__exam_ask(hy__exam *e, const hy__probe *p, hy__answer *a, hy_error *err);
/* The first of a scale's probes that asks for the same as p, so that one answer serves both. */
int hy__probe_first(const hy__lab_scale *s, int p);

/* ---- specialise.c ---- */

typedef struct hy__balance {
    double violation, dead, information;
} hy__balance;

/* Of a layer; load[HY__DOMAINS][n]: choices of an expert by tokens of a corpus. NaN where there are
 * none, of information also where there is one corpus. */
hy__balance hy__balance_of(const double *load, int64_t n);
/* What share of two rises of a loss is its own, 0 … 1, where one that falls is none; 0 where its
 * own is not to be told from none. */
double hy__harm_share(double own, double beside);
/* How often an expert must be read that is not at hand, where there is room for so many, 1 …
 * HY__EXPERT_MAX, and those that were used last stay; chosen[n_row, k]. */
int64_t hy__loads_of(const int32_t *chosen, int64_t n_row, int64_t k, int64_t room);

/* ---- verdict.c ---- */

struct hy__page;

/* Of a goal. */
typedef struct hy__verdict {
    const char *goal, *at; /* the probe that came out worst, of a goal that has several; or NULL */
    hy__goal_kind kind;
    double got, wanted;  /* NaN: there is none */
    const char *beside;  /* the name of what it is held against, of a kind that says so */
    const char *unknown; /* why nobody can say whether it is met; or NULL */
    bool met;
} hy__verdict;

struct hy__results;

/* Judges the goals of an experiment by what was added up, into r->verdict. HY_E_INTERNAL where one
 * names what is not there. */
hy_status hy__verdicts_judge(struct hy__results *r, hy_error *err);
/* The caller's; "met" is null where it is not known, and "unknown" says why. */
struct json_t *hy__verdicts_json(const hy__verdict *v, int n);
void hy__verdicts_put(struct hy__page *p, const hy__verdict *v, int n);

/* ---- results.c, lab_page.c ---- */

/* Over the seeds of an arm. */
typedef struct hy__seeds {
    double mean, low, high;
} hy__seeds;

typedef struct hy__results {
    const hy__lab *lab;
    const hy__lab_scale *scale;
    const hy__lab_options *opt;
    int n_arm, n_probe;
    int64_t n_seed;
    const hy__job *job; /* [n_job] all, those of the sweep too; borrowed */
    int64_t n_job;
    int best[HY__LAB_ARMS];                        /* rate */
    hy__seeds value[HY__LAB_ARMS][HY__LAB_PROBES]; /* of the probe's metric */
    double chance[HY__LAB_PROBES];                 /* NaN where there is none */
    double published[HY__LAB_ARMS][HY__LAB_PROBES];
    hy__verdict verdict[HY__LAB_GOALS]; /* at the probe that came out worst */
    int n_verdict;
} hy__results;

/* The rate that did best for the arm's first seed: of accuracies the lowest of those that did as
 * well but for a hundredth. All of these jobs are done. */
int hy__results_best_rate(const hy__job *job, int64_t n, int arm, const hy__lab_scale *s);
/* Adds up: lab, scale, opt, n_seed, job, n_job and best are set. */
hy_status hy__results_init(hy__results *r, hy_error *err);
/* The job of an arm's seed at its best rate. */
const hy__job *hy__results_job(const hy__results *r, int arm, int64_t seed);
/* By how much an arm's value is above that of another, by the same seed. */
hy__seeds hy__results_beside(const hy__results *r, int arm, int beside, int probe);
hy_status hy__results_write(const hy__results *r, const char *out, hy_error *err);
hy_status hy__results_page(const hy__results *r, const char *out, hy_error *err);

/* ---- samples.c, lab_setup.c ---- */

/* Puts some documents of everything that is trained on, which is not held out. */
hy_status hy__lab_put_samples(struct hy__page *p, const hy__lab_scale *s, double val_fraction,
                              hy_error *err);
/* Puts the configuration, what each arm sets, and the curricula. */
hy_status hy__lab_put_arms(struct hy__page *p, const hy__lab *lab, const hy__lab_scale *s,
                           hy_error *err);
/* Puts the command that gives the same page again; lab NULL: of all. */
hy_status hy__lab_put_command(struct hy__page *p, const hy__lab *lab, const hy__lab_options *opt,
                              hy_error *err);

/* ---- curves.c ---- */

/* Puts the learning curves onto the page and into training.svg. */
hy_status hy__results_curves(struct hy__page *p, const hy__results *r, const char *out,
                             hy_error *err);

/* ---- leads.c ---- */

/* Puts the losses of an experiment of text beside the first arm's onto the page and, of one probe,
 * into beside.svg. */
hy_status hy__results_leads(struct hy__page *p, const hy__results *r, const char *out,
                            hy_error *err);

#endif
