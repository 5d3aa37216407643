/* report_letters.c: what the layers of each letter say: gates, gradients, and what is theirs. */
#include "report/figure.h"
#include "report/report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CURVES = 6 }; /* layers that have a curve each; more are drawn as their span */

static const struct about {
    char letter;
    const char *name;
} ABOUT[] = {{'S', "state space"},  {'A', "sparse attention"}, {'E', "routed experts"},
             {'F', "feed-forward"}, {'W', "workspace memory"}, {'P', "product-key memory"}};

hy__layer_name hy__report_layer(const hy__run *r, char letter, int64_t k) {
    hy__layer_name name;
    snprintf(name.text, sizeof name.text, "%c", letter);
    for (int64_t i = 0; r->layers[i]; i++)
        if (r->layers[i] == letter && k-- == 0)
            snprintf(name.text, sizeof name.text, "layer %lld", (long long)i);
    return name;
}

/* ---- all letters ---- */

static void put_gates(hy__page *p, const hy__report *r, char letter) {
    static const char what[] = "What the output of a layer is multiplied by";
    char track[8], caption[128];
    hy__figure f;
    snprintf(track, sizeof track, "%c.gate", letter);
    const hy__track *only = r->n == 1 ? hy__run_track(&r->run[0], track) : NULL;
    hy__figure_begin(&f, p, r, (hy__chart){.title = "Gate g"});
    if (only && only->n <= CURVES) {
        for (int64_t k = 0; k < only->n; k++)
            hy__figure_curve(&f, &r->run[0], hy__report_layer(&r->run[0], letter, k).text, only, k,
                             HY__LOOK_POINTS);
        snprintf(caption, sizeof caption, "%s.", what);
    } else {
        for (int i = 0; i < r->n; i++)
            hy__figure_span(&f, &r->run[i], hy__run_track(&r->run[i], track));
        snprintf(caption, sizeof caption, "%s: the mean over the layers, and their span.", what);
    }
    hy__figure_put(&f, caption);
}

static void put_norm(hy__page *p, const hy__report *r, char letter) {
    char track[16];
    snprintf(track, sizeof track, "grad_norms.%c", letter);
    hy__figure_plot(p, r,
                    &(hy__plot){.track = track,
                                .title = "Norm of its gradient",
                                .scale = HY__SCALE_LOG10,
                                .caption = "Of all its layers together, before clipping."});
}

/* ---- A ---- */

static void put_attention(hy__page *p, const hy__report *r) {
    static const hy__plot far[] = {
        {"A.distance", "How far back it looks", "tokens", .unit = HY__UNIT_TOKENS,
         .caption = "Mean distance from a token to the positions it attends to, by their weight."},
        {"A.chosen_distance", "How far back the chosen blocks are", "tokens",
         .unit = HY__UNIT_TOKENS,
         .caption = "Mean distance to the middles of the blocks, all alike."}};
    static const hy__plot share[] = {
        {"A.window", "Weight in the window", .unit = HY__UNIT_PERCENT},
        {"A.sink", "Weight in the first block", .unit = HY__UNIT_PERCENT},
        {"A.chosen", "Weight in chosen blocks", .unit = HY__UNIT_PERCENT}};
    static const char *const name[] = {"window", "first block", "chosen blocks"};
    for (int i = 0; i < 2; i++) hy__figure_plot(p, r, &far[i]);
    for (int i = 0; i < 3 && r->n > 1; i++) hy__figure_plot(p, r, &share[i]);
    if (r->n > 1) return;
    hy__figure f;
    hy__figure_begin(&f, p, r,
                     (hy__chart){.kind = HY__CHART_AREAS,
                                 .title = "Where its weight lies",
                                 .y = {.unit = HY__UNIT_PERCENT, .max = 1}});
    for (int i = 0; i < 3; i++)
        hy__figure_curve(&f, &r->run[0], name[i], hy__run_track(&r->run[0], share[i].track), 0,
                         HY__LOOK_MEAN);
    hy__figure_put(&f, "Shares of the softmax; a moving mean.");
}

/* ---- W ---- */

/* The mean over layers of list reads [layer, read]; of those that say it. */
static double read_share(const void *user, const hy__track *t, int64_t point) {
    const int64_t read = *(const int64_t *)user, n = t->shape[1];
    double sum = 0, count = 0;
    for (int64_t l = 0; l < t->shape[0]; l++) {
        const double share = hy__track_mean(t, point, l * n + read);
        if (!isfinite(share)) continue;
        sum += share;
        count++;
    }
    return count > 0 ? sum / count : (double)NAN;
}

/* The read that counts, in the mean: 1 when all weight is on the first. */
static double mean_read(const void *user, const hy__track *t, int64_t point) {
    (void)user;
    double sum = 0;
    for (int64_t j = 0; j < t->shape[1]; j++) sum += (double)(j + 1) * read_share(&j, t, point);
    return sum;
}

static void put_reads(hy__page *p, const hy__report *r) {
    hy__figure f;
    const bool alone = r->n == 1;
    hy__figure_begin(&f, p, r,
                     alone ? (hy__chart){.kind = HY__CHART_AREAS,
                                         .title = "Share of each read",
                                         .y = {.unit = HY__UNIT_PERCENT, .max = 1}}
                           : (hy__chart){.title = "Which read counts", .y.label = "1 = the first"});
    for (int i = 0; i < r->n; i++) {
        const hy__track *t = hy__run_track(&r->run[i], "W.reads");
        if (!t || t->depth != 2) continue;
        if (!alone) hy__figure_made(&f, &r->run[i], NULL, t, mean_read, NULL);
        for (int64_t j = 0; alone && j < t->shape[1]; j++) {
            char name[32];
            snprintf(name, sizeof name, "read %lld", (long long)(j + 1));
            hy__figure_made(&f, &r->run[i], name, t, read_share, &j);
        }
    }
    hy__figure_put(&f, alone ? "Later reads follow what the earlier ones found."
                             : "The mean number of the reads, by their shares.");
}

static void put_workspace(hy__page *p, const hy__report *r) {
    static const hy__plot rate[] = {
        {"W.decay", "Decay a", .caption = "What a token leaves of the memory; 1 forgets nothing."},
        {"W.write", "Write rate b",
         .caption = "How far a token replaces what its key holds; 1 replaces it."},
        {"W.norm", "Norm of a head's memory",
         .caption = "At the starts of chunks, but those of fresh texts."}};
    for (size_t i = 0; i < sizeof rate / sizeof *rate; i++) hy__figure_plot(p, r, &rate[i]);
    put_reads(p, r);
}

/* ---- P ---- */

static void put_memory(hy__page *p, const hy__report *r) {
    static const hy__plot use[] = {
        {"P.slots", "Slots used", "rows of the table", .unit = HY__UNIT_COUNT,
         .caption = "Rows that a layer read in a step."},
        {"P.kl", "KL from even use", "nats", .caption = "0: all rows get the same weight."},
        {"P.beta", "Mean β", .caption = "How far its own gate lets the memory in."},
        {"P.dead_keys", "Dead keys", "sub-keys",
         .caption = "Sub-keys that led to no row in a step."}};
    for (size_t i = 0; i < sizeof use / sizeof *use; i++) hy__figure_plot(p, r, &use[i]);
}

/* ---- */

static bool has_letter(const hy__report *r, char letter) {
    char gate[8];
    snprintf(gate, sizeof gate, "%c.gate", letter);
    for (int i = 0; i < r->n; i++)
        if (strchr(r->run[i].layers, letter) || hy__run_track(&r->run[i], gate)) return true;
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
    if (letter == 'E') hy__report_experts(p, r);
    if (letter == 'W') put_workspace(p, r);
    if (letter == 'P') put_memory(p, r);
    hy__page_grid_end(p);
    if (letter == 'E') hy__report_loads(p, r);
}
