/* specialise.c: what experts specialise in, and what it hurts to lose them; see lab.h.
 *
 * Of a layer let p(e, d) be the share of expert e and corpus d among all choices of all tokens.
 *
 *   violation     max_e p(e) · E - 1 (arXiv 2408.15664), mean over layers
 *   dead          experts with p(e) = 0, of all layers
 *   information   I(e; d) / ((H(e) + H(d)) / 2), mean over layers: 0 … 1
 *
 * Of a corpus, its experts are those that its tokens choose most, one in each layer. Let r(c, d) be
 * the nats per token that the loss of c rises by when the experts of d are banned in all layers.
 *
 *   harm          mean over d of r(d, d)
 *   harm_share    least over d of the share of r(d, d) in itself and the mean of r(c, d), c ≠ d
 */
#include "account/account.h"
#include "lab/exam.h"

#include <stdlib.h>
#include <string.h>

enum {
    SHARE = 4, /* of the text: it is read once for each corpus */
    KEPT = 2,  /* times k: experts of a layer that a decoder has room for */
};
static const double LEAST = 1e-3; /* nats: less is no harm */

static bool is_routed(const hy__layer *l) {
    return l->component->letter == 'E';
}

static double plogp(double x, double total) {
    return x > 0.0 ? x / total * log(x / total) : 0.0;
}

hy__balance hy__balance_of(const double *load, int64_t n) {
    double of_expert[HY__EXPERT_MAX] = {0}, of_domain[HY__DOMAINS] = {0}, total = 0.0;
    double h_both = 0.0, h_expert = 0.0, h_domain = 0.0, most = 0.0;
    hy__balance b = {0};
    for (int64_t i = 0; i < HY__DOMAINS * n; i++) {
        of_domain[i / n] += load[i];
        of_expert[i % n] += load[i];
        total += load[i];
    }
    if (!(total > 0.0))
        return (hy__balance){(double)NAN, (double)NAN, (double)NAN}; /* not counted */
    for (int64_t i = 0; i < HY__DOMAINS * n; i++) h_both -= plogp(load[i], total);
    for (int64_t d = 0; d < HY__DOMAINS; d++) h_domain -= plogp(of_domain[d], total);
    for (int64_t e = 0; e < n; e++) {
        h_expert -= plogp(of_expert[e], total);
        most = fmax(most, of_expert[e]);
        b.dead += of_expert[e] <= 0.0;
    }
    b.violation = most * (double)n / total - 1.0;
    if (h_domain <= 0.0) h_domain = (double)NAN; /* of one corpus nothing can be told */
    b.information = 2.0 * (h_expert + h_domain - h_both) / (h_expert + h_domain);
    return b;
}

int64_t hy__loads_of(const int32_t *chosen, int64_t n_row, int64_t k, int64_t room) {
    int32_t kept[HY__EXPERT_MAX]; /* the one used last first */
    int64_t n = 0, loads = 0;
    for (int64_t i = 0; i < n_row * k; i++) {
        int64_t at = 0;
        while (at < n && kept[at] != chosen[i]) at++;
        if (at == n) {
            loads++;
            if (n < room) n++;
            at = n - 1;
        }
        memmove(kept + 1, kept, (size_t)at * sizeof *kept);
        kept[0] = chosen[i];
    }
    return loads;
}

hy_status hy__exam_add_read(hy__exam *e, const hy__rows *rows, hy__tally *sum, hy_error *err) {
    const hy__config *cfg = &e->model->cfg;
    const double bytes = 3.0 * (double)(cfg->model.d_model * cfg->experts.d_ff) * sizeof(float);
    const int64_t room = KEPT * cfg->experts.k;
    for (int64_t i = 0; i < cfg->n_layer; i++) {
        const hy__layer *l = &e->model->layer[i];
        if (!is_routed(l)) continue;
        const int64_t k = hy__expert_k(cfg, &l->expert);
        e->chosen = hy__exam_room(e->chosen, &e->max_chosen, rows->n_row * k, sizeof *e->chosen);
        if (!e->chosen) return hy__no_memory(err, "a test");
        HY_TRY(hy__get_experts(e->work, i, e->chosen, err));
        for (int64_t q = 0; q < rows->n_seq; q++) {
            const hy__seq *seq = &rows->seq[q];
            sum->read += bytes * (double)hy__loads_of(
                                     e->chosen + seq->start * k, seq->len, k,
                                     room < cfg->experts.n_expert ? room : cfg->experts.n_expert);
        }
    }
    for (int64_t q = 0; q < rows->n_seq; q++) sum->rows += rows->seq[q].len;
    return HY_OK;
}

/* FLOPs of a token that is read, without the output's. */
static hy_status flops_of(const hy__exam *e, double *flops, hy_error *err) {
    hy__account a;
    hy__spent spent[HY__PART_MAX + 1];
    hy__config cfg = e->model->cfg;
    for (int64_t i = 0; i < cfg.n_layer; i++) /* all alike: hy__exam_choose */
        if (is_routed(&e->model->layer[i]))
            cfg.experts.k = hy__expert_k(&e->model->cfg, &e->model->layer[i].expert);
    const hy__shape shape = {.phase = HY__PHASE_PREFILL, .batch = 1, .tokens = e->seq_len};
    hy__account_init(&a, &cfg, &(hy__train_config){0});
    HY_TRY(hy__account_spend(&a, &shape, spent, err));
    *flops = spent[a.n_part].forward / (double)e->seq_len;
    return HY_OK;
}

hy_status hy__exam_say_experts(const hy__exam *e, const hy__tally *sum, hy__answer *a,
                               hy_error *err) {
    const hy__model *m = e->model;
    const int64_t n = m->cfg.experts.n_expert;
    hy__balance total = {0};
    double layers = 0.0;
    HY_TRY(flops_of(e, &a->value[HY__FLOPS], err));
    for (int64_t i = 0; i < m->cfg.n_layer; i++) {
        if (!is_routed(&m->layer[i])) continue;
        const hy__balance b = hy__balance_of(hy__layer_said(&m->layer[i], "load"), n);
        total.violation += b.violation;
        total.dead += b.dead;
        total.information += b.information;
        layers++;
    }
    if (layers <= 0.0) return HY_OK;
    a->value[HY__VIOLATION] = total.violation / layers;
    a->value[HY__DEAD] = total.dead;
    a->value[HY__INFORMATION] = total.information / layers;
    a->value[HY__EXPERT_READ] = sum->read / (double)sum->rows;
    return HY_OK;
}

void hy__exam_choose(hy__model *m, int64_t k) {
    for (int64_t i = 0; i < m->cfg.n_layer; i++)
        if (is_routed(&m->layer[i])) m->layer[i].expert.k = k;
}

/* ---- harm ---- */

/* Bans in each layer, or lets back in, the expert that a corpus chose most when loads were said. */
static void ban(hy__model *m, int64_t domain, const int64_t *favourite, bool banned) {
    for (int64_t i = 0; i < m->cfg.n_layer; i++)
        if (is_routed(&m->layer[i]))
            m->layer[i].expert.ban[favourite[i * HY__DOMAINS + domain]] = banned;
}

static void find_favourites(const hy__model *m, int64_t *favourite) {
    const int64_t n = m->cfg.experts.n_expert;
    for (int64_t i = 0; i < m->cfg.n_layer; i++) {
        if (!is_routed(&m->layer[i])) continue;
        const double *load = hy__layer_said(&m->layer[i], "load");
        for (int64_t d = 0; d < HY__DOMAINS; d++) {
            int64_t best = 0;
            for (int64_t e = 1; e < n; e++)
                if (load[d * n + e] > load[d * n + best]) best = e;
            favourite[i * HY__DOMAINS + d] = best;
        }
    }
}

static double loss_of(const hy__tally *t, int64_t domain) {
    return t->domain_nats[domain] / (double)t->domain_asked[domain];
}

double hy__harm_share(double own, double beside) {
    return own < LEAST ? 0.0 : own / (own + fmax(beside, 0.0));
}

/* How many corpora something is asked of. */
static int64_t domains_of(const hy__tally *t) {
    int64_t n = 0;
    for (int64_t d = 0; d < HY__DOMAINS; d++) n += t->domain_asked[d] > 0;
    return n;
}

/* favourite[n_layer][HY__DOMAINS]: room. */
static hy_status measure_harm(hy__exam *e, const char *name, int64_t *favourite, hy__tally *sum,
                              hy__answer *a, hy_error *err) {
    double own = 0.0, least = INFINITY;
    const hy__config *cfg = &e->model->cfg;
    const int64_t rows = e->rows / SHARE;
    HY_TRY(hy__exam_read(e, name, rows, sum, err));
    const int64_t n = domains_of(sum);
    if (!strchr(cfg->letter, 'E') || cfg->experts.k >= cfg->experts.n_expert || n < 2) return HY_OK;
    hy__model_report(e->model);
    find_favourites(e->model, favourite);
    for (int64_t d = 0; d < HY__DOMAINS; d++) {
        hy__tally without = {0};
        double rise = 0.0, beside = 0.0;
        if (sum->domain_asked[d] == 0) continue;
        ban(e->model, d, favourite, true);
        const hy_status status = hy__exam_read(e, name, rows, &without, err);
        ban(e->model, d, favourite, false);
        if (status != HY_OK) return status;
        for (int64_t c = 0; c < HY__DOMAINS; c++) {
            if (sum->domain_asked[c] == 0) continue;
            const double r = loss_of(&without, c) - loss_of(sum, c);
            if (c == d)
                rise = r;
            else
                beside += r;
        }
        own += rise;
        least = fmin(least, hy__harm_share(rise, beside / (double)(n - 1)));
    }
    hy__model_clear_stats(e->model); /* of what was banned nothing is to be said */
    a->value[HY__HARM] = own / (double)n;
    a->value[HY__HARM_SHARE] = least;
    return HY_OK;
}

hy_status hy__exam_ban(hy__exam *e, const char *name, hy__tally *sum, hy__answer *a,
                       hy_error *err) {
    const int64_t n = e->model->cfg.n_layer * HY__DOMAINS;
    int64_t *favourite = calloc((size_t)n, sizeof *favourite);
    if (!favourite) return hy__no_memory(err, "a test");
    const hy_status status = measure_harm(e, name, favourite, sum, a, err);
    free(favourite);
    return status;
}
