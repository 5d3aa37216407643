/* report_letters.c: what the layers of each letter say: gates, gradients, and what is theirs. */
#include "report/figure.h"
#include "report/report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CURVES = 6,    /* layers that have a curve each; more are drawn as their span */
    HEAT_ROWS = 64 /* of one heat map */
};

typedef struct about {
    char letter;
    const char *name;
} about;

static const about ABOUT[] = {{'S', "state space"},      {'A', "sparse attention"},
                              {'E', "routed experts"},   {'F', "feed-forward"},
                              {'W', "workspace memory"}, {'P', "product-key memory"}};

/* ---- one number of a letter over the steps, all runs ---- */

typedef struct plot {
    const char *what, *title, *label;
    hy__unit unit;
    hy__scale scale;
    const char *caption;
} plot;

static const char *name_of(char letter, const char *what) {
    static _Thread_local char name[96];
    snprintf(name, sizeof name, "%c.%s", letter, what);
    return name;
}

static void put_plot(hy__page *p, const hy__report *r, char letter, const plot *x) {
    hy__figure f;
    hy__figure_begin(&f, HY__CHART_LINES, x->title, x->label, x->unit);
    f.chart.y.scale = x->scale;
    for (int i = 0; i < r->n; i++)
        hy__figure_curve(&f, r->run[i].title, hy__run_track(&r->run[i], name_of(letter, x->what)),
                         0, HY__LOOK_BOTH);
    if (r->n == 1) hy__figure_stages(&f, &r->run[0]);
    hy__figure_put(&f, p, x->caption);
}

static void put_norm(hy__page *p, const hy__report *r, char letter) {
    hy__figure f;
    char track[32];
    snprintf(track, sizeof track, "grad_norms.%c", letter);
    hy__figure_begin(&f, HY__CHART_LINES, "Norm of its gradient", NULL, HY__UNIT_PLAIN);
    f.chart.y.scale = HY__SCALE_LOG10;
    for (int i = 0; i < r->n; i++)
        hy__figure_curve(&f, r->run[i].title, hy__run_track(&r->run[i], track), 0, HY__LOOK_BOTH);
    if (r->n == 1) hy__figure_stages(&f, &r->run[0]);
    hy__figure_put(&f, p, NULL);
}

/* "layer 3" of the k-th layer of a letter. */
static void name_layer(const hy__run *r, char letter, int64_t k, char *name, size_t size) {
    int64_t layer = -1;
    for (int64_t i = 0; r->layers[i] && layer < 0; i++)
        if (r->layers[i] == letter && k-- == 0) layer = i;
    if (layer >= 0)
        snprintf(name, size, "layer %lld", (long long)layer);
    else
        snprintf(name, size, "%c", letter);
}

static void put_gates(hy__page *p, const hy__report *r, char letter) {
    hy__figure f;
    const hy__track *only = hy__run_track(&r->run[0], name_of(letter, "gate"));
    hy__figure_begin(&f, HY__CHART_LINES, "Gate g", NULL, HY__UNIT_PLAIN);
    if (r->n == 1 && only && only->n <= CURVES) {
        for (int64_t k = 0; k < only->n; k++) {
            char name[32];
            name_layer(&r->run[0], letter, k, name, sizeof name);
            hy__figure_curve(&f, name, only, k, HY__LOOK_POINTS);
        }
    } else {
        for (int i = 0; i < r->n; i++)
            hy__figure_span(&f, r->run[i].title,
                            hy__run_track(&r->run[i], name_of(letter, "gate")));
    }
    const bool many = r->n > 1 || (only && only->n > CURVES);
    if (r->n == 1) hy__figure_stages(&f, &r->run[0]);
    hy__figure_put(&f, p,
                   many ? "What the layer's output is multiplied by: the mean over the layers, and "
                          "their span."
                        : "What the layer's output is multiplied by.");
}

/* ---- A ---- */

static void put_attention(hy__page *p, const hy__report *r) {
    static const plot far[] = {
        {"distance", "How far back it looks", "tokens", HY__UNIT_TOKENS, HY__SCALE_LINEAR,
         "Mean distance from a token to the positions it attends to, by their weight."},
        {"chosen_distance", "How far back the chosen blocks are", "tokens", HY__UNIT_TOKENS,
         HY__SCALE_LINEAR, "Mean distance to the middles of the blocks, all alike."},
        {"chosen", "Weight in chosen blocks", NULL, HY__UNIT_PERCENT, HY__SCALE_LINEAR, NULL},
        {"sink", "Weight in the first block", NULL, HY__UNIT_PERCENT, HY__SCALE_LINEAR, NULL}};
    static const char *const part[] = {"window", "sink", "chosen"};
    static const char *const name[] = {"window", "first block", "chosen blocks"};
    put_plot(p, r, 'A', &far[0]);
    put_plot(p, r, 'A', &far[1]);
    if (r->n > 1) {
        put_plot(p, r, 'A', &far[2]);
        put_plot(p, r, 'A', &far[3]);
        return;
    }
    hy__figure f;
    hy__figure_begin(&f, HY__CHART_AREAS, "Where its weight lies", NULL, HY__UNIT_PERCENT);
    f.chart.y.max = 1;
    for (int i = 0; i < 3; i++)
        hy__figure_curve(&f, name[i], hy__run_track(&r->run[0], name_of('A', part[i])), 0,
                         HY__LOOK_MEAN);
    hy__figure_put(&f, p, "Shares of the softmax; a moving mean.");
}

/* ---- E ---- */

/* What experts got of the text, in columns of equal shares of the points of E.load: as many as
 * leave none without text of some corpus, if that can be. */
typedef struct loads {
    const hy__run *run;
    const hy__track *track; /* [layer, domain, expert] */
    int64_t layers, domains, experts;
    int64_t columns;
    double most; /* the greatest load anywhere, so that all maps have the same colours */
} loads;

enum { COLUMNS = 32, FEW = 8 };

/* Tokens of points [from, to) that an expert got over those that each would get if all got as
 * much: of one domain, or of all (domain -1). NaN without a token. */
static double load_of(const loads *x, int64_t layer, int64_t expert, int64_t domain, int64_t from,
                      int64_t to) {
    double mine = 0, all = 0;
    for (int64_t k = from; k < to; k++)
        for (int64_t d = domain < 0 ? 0 : domain; d < (domain < 0 ? x->domains : domain + 1); d++)
            for (int64_t e = 0; e < x->experts; e++) {
                const int64_t i = (layer * x->domains + d) * x->experts + e;
                const double n = hy__track_mean(x->track, k, i);
                if (!isfinite(n)) continue;
                all += n;
                mine += e == expert ? n : 0;
            }
    return all > 0 ? mine * (double)x->experts / all : (double)NAN;
}

static int64_t column_begin(const loads *x, int64_t column) {
    return hy__track_points(x->track) * column / x->columns;
}

static double load_in(const loads *x, int64_t layer, int64_t expert, int64_t domain,
                      int64_t column) {
    return load_of(x, layer, expert, domain, column_begin(x, column), column_begin(x, column + 1));
}

static bool has_gap(const loads *x) {
    for (int64_t c = 0; c < x->columns; c++)
        for (int64_t d = 0; d < x->domains; d++)
            if (isnan(load_in(x, 0, 0, d, c))) return true;
    return false;
}

static bool loads_init(loads *x, const hy__run *r) {
    *x = (loads){.run = r, .track = hy__run_track(r, "E.load"), .most = 1};
    if (!x->track || x->track->depth != 3) return false;
    const int64_t points = hy__track_points(x->track);
    x->domains = x->track->shape[1];
    x->experts = x->track->shape[2];
    const int64_t fit = HEAT_ROWS / x->experts > 0 ? HEAT_ROWS / x->experts : 1;
    x->layers = x->track->shape[0] < fit ? x->track->shape[0] : fit;
    x->columns = points < COLUMNS ? points : COLUMNS;
    while (x->columns > FEW && has_gap(x)) x->columns = (x->columns + 1) / 2;
    for (int64_t c = 0; c < x->columns; c++)
        for (int64_t l = 0; l < x->layers; l++)
            for (int64_t e = 0; e < x->experts; e++)
                for (int64_t d = -1; d < x->domains; d++)
                    x->most = fmax(x->most, load_in(x, l, e, d, c)); /* NaN is passed over */
    return points > 0;
}

/* A name for each row; only the first of a layer says the layer. */
static void name_row(const hy__run *r, int64_t layer, int64_t expert, char *name, size_t size) {
    char of[32];
    name_layer(r, 'E', layer, of, sizeof of);
    if (expert == 0)
        snprintf(name, size, "%s, expert 0", of);
    else
        snprintf(name, size, "%lld", (long long)expert);
}

static const char *corpus_name(const hy__run *r, int64_t domain) {
    return domain < r->n_corpus ? r->corpus[domain] : "another corpus";
}

/* Rows of a map: experts of layers; value(x, layer, expert, column). */
typedef double map_fn(const loads *x, int64_t layer, int64_t expert, int64_t domain,
                      int64_t column);

/* Draws a map of `columns` columns, which `at` or `category` name. */
static void put_map(hy__page *p, const loads *x, hy__chart chart, map_fn *value, int64_t domain,
                    int64_t columns, const double *at, const char *caption) {
    const int64_t rows = x->layers * x->experts;
    char(*label)[64] = calloc((size_t)rows, sizeof *label);
    double *y = calloc((size_t)(rows * columns), sizeof *y);
    hy__series *series = calloc((size_t)rows, sizeof *series);
    p->text.failed = p->text.failed || !label || !y || !series;
    for (int64_t i = 0; !p->text.failed && i < rows; i++) {
        name_row(x->run, i / x->experts, i % x->experts, label[i], sizeof label[i]);
        for (int64_t c = 0; c < columns; c++)
            y[i * columns + c] = value(x, i / x->experts, i % x->experts, domain, c);
        series[i] = (hy__series){.name = label[i], .x = at, .y = y + i * columns, .n = columns};
    }
    chart.kind = HY__CHART_HEAT;
    chart.y = (hy__axis){.label = "1 = as much as each", .max = x->most};
    chart.series = series;
    chart.n_series = rows;
    if (!p->text.failed) hy__page_figure(p, &chart, caption);
    free(label);
    free(y);
    free(series);
}

/* Experts over the steps, by the text of one corpus or of all. */
static void put_over_time(hy__page *p, const loads *x, int64_t domain) {
    char title[160];
    double at[COLUMNS];
    if (domain < 0)
        snprintf(title, sizeof title, "Load of the experts%s", x->domains > 1 ? ", all text" : "");
    else
        snprintf(title, sizeof title, "Load by text of %s", corpus_name(x->run, domain));
    for (int64_t c = 0; c < x->columns; c++)
        at[c] = hy__track_step(x->track, column_begin(x, c + 1) - 1);
    put_map(p, x, (hy__chart){.title = title, .x = {.label = "step", .unit = HY__UNIT_COUNT}},
            load_in, domain, x->columns, at, NULL);
}

/* The end of the run: its last columns, as many as have text of the corpus. */
static double load_late(const loads *x, int64_t layer, int64_t expert, int64_t domain,
                        int64_t column) {
    const int64_t points = hy__track_points(x->track);
    double load = (double)NAN;
    (void)domain;
    for (int64_t n = (points + 9) / 10; isnan(load) && n > 0 && n <= points;
         n = n == points      ? points + 1
             : 2 * n < points ? 2 * n
                              : points)
        load = load_of(x, layer, expert, column, points - n, points);
    return load;
}

static void put_by_corpus(hy__page *p, const loads *x) {
    const char *name[HY__FIGURE_SERIES];
    const int64_t n = x->domains < HY__FIGURE_SERIES ? x->domains : HY__FIGURE_SERIES;
    for (int64_t d = 0; d < n; d++) name[d] = corpus_name(x->run, d);
    put_map(
        p, x,
        (hy__chart){.title = "Experts by corpus, at the end", .category = name, .n_category = n},
        load_late, 0, n, NULL,
        "What each expert got of the text of a corpus in the last tenth of the steps. Where "
        "columns differ, experts have a subject.");
}

/* The heat maps of one run. */
static void put_loads(hy__page *p, const hy__run *r, bool titled) {
    loads x;
    if (!loads_init(&x, r)) return;
    if (titled) hy__page_details(p, "Load of the experts of %s", r->title);
    hy__page_grid(p);
    put_over_time(p, &x, -1);
    if (x.domains > 1) put_by_corpus(p, &x);
    for (int64_t d = 0; d < x.domains && x.domains > 1; d++) put_over_time(p, &x, d);
    hy__page_grid_end(p);
    if (x.layers < x.track->shape[0])
        hy__page_note(p, "The first %lld of %lld layers.", (long long)x.layers,
                      (long long)x.track->shape[0]);
    if (titled) hy__page_details_end(p);
}

static void put_experts(hy__page *p, const hy__report *r) {
    static const plot even[] = {
        {"max_violation", "Busiest expert above the mean (MaxVio)", NULL, HY__UNIT_PERCENT,
         HY__SCALE_LINEAR, "0 is even. The mean over the layers, as the next ones."},
        {"entropy", "Evenness: entropy of the load", NULL, HY__UNIT_PERCENT, HY__SCALE_LINEAR,
         "100% is even; the entropy of the shares over its greatest value."},
        {"dead", "Dead experts", "experts of a layer", HY__UNIT_PLAIN, HY__SCALE_LINEAR,
         "Experts that nothing chose in a step."},
        {"lse2", "Size of the router's logits", "mean square of log-sum-exp", HY__UNIT_PLAIN,
         HY__SCALE_LINEAR, "What the z-loss holds down."}};
    for (size_t i = 0; i < sizeof even / sizeof *even; i++) put_plot(p, r, 'E', &even[i]);
}

/* ---- W ---- */

/* The mean over layers of list reads [layer, read]. */
static double read_share(const void *user, const hy__track *t, int64_t point) {
    const int64_t read = *(const int64_t *)user, n = t->shape[1];
    double sum = 0;
    for (int64_t l = 0; l < t->shape[0]; l++) sum += hy__track_mean(t, point, l * n + read);
    return sum / (double)t->shape[0];
}

/* The read that counts, in the mean: 1 when all weight is on the first. */
static double mean_read(const void *user, const hy__track *t, int64_t point) {
    (void)user;
    double sum = 0;
    for (int64_t j = 0; j < t->shape[1]; j++) sum += (double)(j + 1) * read_share(&j, t, point);
    return sum;
}

static void put_workspace(hy__page *p, const hy__report *r) {
    static const plot rate[] = {{"decay", "Decay a", NULL, HY__UNIT_PLAIN, HY__SCALE_LINEAR,
                                 "What a token leaves of the memory; 1 forgets nothing."},
                                {"write", "Write rate b", NULL, HY__UNIT_PLAIN, HY__SCALE_LINEAR,
                                 "How far a token replaces what its key holds; 1 replaces it."},
                                {"norm", "Norm of a head's memory", NULL, HY__UNIT_PLAIN,
                                 HY__SCALE_LINEAR,
                                 "At the starts of chunks, but those of fresh texts."}};
    for (size_t i = 0; i < sizeof rate / sizeof *rate; i++) put_plot(p, r, 'W', &rate[i]);
    hy__figure f;
    if (r->n == 1) {
        const hy__track *t = hy__run_track(&r->run[0], "W.reads");
        hy__figure_begin(&f, HY__CHART_AREAS, "Share of each read", NULL, HY__UNIT_PERCENT);
        f.chart.y.max = 1;
        for (int64_t j = 0; t && t->depth == 2 && j < t->shape[1]; j++) {
            char name[32];
            snprintf(name, sizeof name, "read %lld", (long long)(j + 1));
            hy__figure_made(&f, name, t, read_share, &j);
        }
        hy__figure_put(&f, p, "Later reads follow what the earlier ones found.");
        return;
    }
    hy__figure_begin(&f, HY__CHART_LINES, "Which read counts", "1 = the first", HY__UNIT_PLAIN);
    for (int i = 0; i < r->n; i++) {
        const hy__track *t = hy__run_track(&r->run[i], "W.reads");
        if (t && t->depth == 2) hy__figure_made(&f, r->run[i].title, t, mean_read, NULL);
    }
    hy__figure_put(&f, p, "The mean number of the reads, by their shares.");
}

/* ---- P ---- */

static void put_memory(hy__page *p, const hy__report *r) {
    static const plot use[] = {{"slots", "Slots used", "rows of the table", HY__UNIT_COUNT,
                                HY__SCALE_LINEAR, "Rows that a step read."},
                               {"kl", "KL from even use", "nats", HY__UNIT_PLAIN, HY__SCALE_LINEAR,
                                "0: all rows get the same weight."},
                               {"beta", "Mean β", NULL, HY__UNIT_PLAIN, HY__SCALE_LINEAR,
                                "How far its own gate lets the memory in."},
                               {"dead_keys", "Dead keys", "sub-keys", HY__UNIT_PLAIN,
                                HY__SCALE_LINEAR, "Sub-keys that led to no row in a step."}};
    for (size_t i = 0; i < sizeof use / sizeof *use; i++) put_plot(p, r, 'P', &use[i]);
}

/* ---- */

static bool has_letter(const hy__report *r, char letter) {
    for (int i = 0; i < r->n; i++) {
        const hy__run *run = &r->run[i];
        if (strchr(run->layers, letter) || hy__run_track(run, name_of(letter, "gate"))) return true;
    }
    return false;
}

void hy__report_letter(hy__page *p, const hy__report *r, char letter) {
    if (!has_letter(r, letter)) return;
    for (size_t i = 0; i < sizeof ABOUT / sizeof *ABOUT; i++)
        if (ABOUT[i].letter == letter) hy__page_heading(p, 2, "%c: %s", letter, ABOUT[i].name);
    hy__page_grid(p);
    put_gates(p, r, letter);
    put_norm(p, r, letter);
    if (letter == 'A') put_attention(p, r);
    if (letter == 'E') put_experts(p, r);
    if (letter == 'W') put_workspace(p, r);
    if (letter == 'P') put_memory(p, r);
    hy__page_grid_end(p);
    for (int i = 0; letter == 'E' && i < r->n; i++) put_loads(p, &r->run[i], r->n > 1);
}
