/* bench_text.c: a bench as tables for a terminal. */
#include "bench/bench.h"
#include "page/number.h"

#include <stdio.h>
#include <string.h>

/* Columns; all together at most 100. */
enum {
    LABEL = 23,
    SHARE = 6,
    SHORT = 8,
    CELL = 10,
    LONG = 13,
    SPREAD = 16,
    TITLE = 96 /* bytes */
};

static void cell(hy__text *t, int width, hy__number n) {
    hy__text_add(t, " %*s", width - 1, n.text);
}

static void word(hy__text *t, int width, const char *s) {
    hy__text_add(t, " %*s", width - 1, s);
}

static void share(hy__text *t, double x) {
    cell(t, SHARE, hy__number_digits(HY__UNIT_PERCENT, x, x < 1e-3 ? 1 : 2)); /* 0.22%, 0.08% */
}

static void rate(hy__text *t, int width, hy__unit unit, double amount, double seconds) {
    cell(t, width, hy__number_show(unit, amount / seconds));
}

/* "decode fp32, 1 x 512" */
static void row_title(const hy__bench_row *r, char *out, size_t size) {
    snprintf(out, size, "%s %s, %lld x %s", hy__phase_name(r->shape.phase),
             hy__store_name[r->shape.store], (long long)r->shape.batch,
             hy__tokens((double)r->shape.tokens).text);
}

/* ---- head ---- */

static void put_machine(hy__text *t, const hy__bench *b) {
    const hy__account *a = &b->account;
    hy__text_add(t, "%s: %s, %s parameters, %s of them for a token%s%s\n", b->name,
                 a->cfg.model.layers, hy__count((double)hy__account_count(a, false)).text,
                 hy__count((double)hy__account_count(a, true)).text, *b->settings ? "; " : "",
                 b->settings);
    hy__text_add(t, "%s, %lld cores, %s\n", b->machine.cpu, (long long)b->machine.cores,
                 hy__bytes((double)b->machine.memory).text);
    hy__text_add(t, "backend %s%s%s, %lld threads; commit %s\n", b->backend, *b->isa ? " " : "",
                 b->isa, (long long)b->threads, b->machine.commit);
    hy__text_add(t, "median and quartiles of %lld runs after %lld to warm up\n\n",
                 (long long)b->runs, (long long)b->warm_up);
}

/* ---- rows ---- */

static void put_row(hy__text *t, const hy__bench_row *r) {
    char title[TITLE], spread[80];
    const double s = r->seconds.median;
    row_title(r, title, sizeof title);
    hy__text_add(t, "%-*s", LABEL, title);
    if (r->refused.status != HY_OK) {
        hy__text_put(t, " not reported: a kernel fails its check\n");
        return;
    }
    snprintf(spread, sizeof spread, "%s-%s", hy__seconds(r->seconds.low).text,
             hy__seconds(r->seconds.high).text);
    cell(t, SHORT, hy__seconds(s));
    word(t, SPREAD, spread);
    cell(t, SHORT, hy__count((double)r->rows / s));
    cell(t, CELL, r->peak_bytes > 0 ? hy__bytes((double)r->peak_bytes) : (hy__number){"n/a"});
    rate(t, LONG, HY__UNIT_FLOP_RATE, r->flops, s);
    share(t, r->dense_share);
    rate(t, CELL, HY__UNIT_BYTES_RATE, r->bytes, s);
    share(t, r->stream_share);
    hy__text_put(t, r->made_up ? " *\n" : "\n");
}

/* The heads of rates and their shares of the ceilings, which end a line. */
static void put_rates_head(hy__text *t, const char *bytes) {
    word(t, LONG, "computed");
    word(t, SHARE, "share");
    word(t, CELL, bytes);
    word(t, SHARE, "share");
    hy__text_put(t, "\n");
}

static void put_rows(hy__text *t, const hy__bench *b) {
    bool made_up = false;
    hy__text_add(t, "%-*s", LABEL, "");
    word(t, SHORT, "median");
    word(t, SPREAD, "quartiles");
    word(t, SHORT, "tok/s");
    word(t, CELL, "memory");
    put_rates_head(t, "moved");
    for (int64_t i = 0; i < b->n_row; i++) {
        put_row(t, &b->row[i]);
        made_up |= b->row[i].made_up;
    }
    if (made_up)
        hy__text_put(t, "* what stands before the token was not read, it is random numbers\n");
}

/* ---- ceilings ---- */

/* The best of the rows' medians (of one dtype, or HY__STORE_N: of all), and the worst. */
static void put_ceiling(hy__text *t, const hy__bench *b, const char *name, hy__store store,
                        hy__unit unit, hy__ceiling_fn of) {
    double low = 0, high = 0;
    int64_t n = 0;
    for (int64_t i = 0; i < b->n_row; i++) {
        const double x = of(&b->row[i].ceiling);
        if (x <= 0 || (store != HY__STORE_N && b->row[i].shape.store != store)) continue;
        low = n == 0 || x < low ? x : low;
        high = n == 0 || x > high ? x : high;
        n++;
    }
    if (n == 0) return;
    hy__text_add(t, "  %-*s", LABEL - 2, name);
    cell(t, LONG, hy__number_show(unit, high));
    if (low < high) hy__text_add(t, ", down to %s", hy__number_show(unit, low).text);
    hy__text_put(t, "\n");
}

static void put_ceilings(hy__text *t, const hy__bench *b) {
    hy__text_put(t, "\nPeaks of this machine, between the runs\n");
    for (hy__store store = 0; store < HY__STORE_N; store++) {
        char name[40];
        snprintf(name, sizeof name, "product %s, %lld^3", hy__store_name[store],
                 (long long)b->dense_size[store]);
        put_ceiling(t, b, name, store, HY__UNIT_FLOP_RATE, hy__ceiling_dense);
    }
    put_ceiling(t, b, "memory, read", HY__STORE_N, HY__UNIT_BYTES_RATE, hy__ceiling_read);
    put_ceiling(t, b, "memory, triad", HY__STORE_N, HY__UNIT_BYTES_RATE, hy__ceiling_triad);
}

/* ---- profiles ---- */

static void put_cell(hy__text *t, const hy__bench_row *r, const char *name, const hy__cell *c,
                     bool failed) {
    hy__text_add(t, "  %-*s", LABEL - 2, name);
    if (failed) {
        hy__text_put(t, " not reported: fails its check\n");
        return;
    }
    share(t, c->seconds / r->profile_seconds);
    cell(t, CELL, hy__seconds(c->seconds));
    cell(t, SHORT, hy__count((double)c->calls));
    if (c->flops > 0) {
        rate(t, LONG, HY__UNIT_FLOP_RATE, c->flops, c->seconds);
        share(t, c->flops / c->seconds / r->ceiling.dense);
    } else {
        word(t, LONG + SHARE, "");
    }
    if (c->bytes > 0) {
        rate(t, CELL, HY__UNIT_BYTES_RATE, c->bytes, c->seconds);
        share(t, c->bytes / c->seconds / hy__ceiling_stream(&r->ceiling));
    }
    hy__text_put(t, "\n");
}

static void put_profile_head(hy__text *t, const char *what) {
    hy__text_add(t, "  %-*s", LABEL - 2, what);
    word(t, SHARE, "share");
    word(t, CELL, "time");
    word(t, SHORT, "calls");
    put_rates_head(t, "touched");
}

static void put_parts(hy__text *t, const hy__bench *b, const hy__bench_row *r) {
    double rest = r->profile_seconds;
    put_profile_head(t, "by part");
    for (int64_t part = 0; part < HY__PROFILE_PARTS; part++) {
        const hy__cell c = hy__profile_part(r->profile, part);
        char name[64] = "update";
        if (c.calls == 0) continue;
        rest -= c.seconds;
        if (part < b->account.n_part) {
            const hy__account_part *p = &b->account.part[part];
            snprintf(name, sizeof name, "%c%s%.30s", p->letter ? p->letter : ' ',
                     p->letter ? "  " : "", p->name);
        }
        put_cell(t, r, part == 0 ? name + 1 : name, &c,
                 part < HY__PART_MAX && r->check->letter[part]);
    }
    hy__text_add(t, "  %-*s", LABEL - 2, "outside of kernels");
    share(t, rest / r->profile_seconds);
    cell(t, CELL, hy__seconds(rest));
    hy__text_put(t, "\n");
}

/* The slowest first. */
static void put_kernels(hy__text *t, const hy__bench_row *r) {
    bool shown[HY__KERNEL_N] = {false};
    put_profile_head(t, "by kernel");
    for (;;) {
        int next = -1;
        double most = -1;
        for (int id = 0; id < HY__KERNEL_N; id++) {
            const hy__cell c = hy__profile_kernel(r->profile, (hy__kernel_id)id);
            if (shown[id] || c.calls == 0 || c.seconds <= most) continue;
            most = c.seconds;
            next = id;
        }
        if (next < 0) return;
        shown[next] = true;
        const hy__cell c = hy__profile_kernel(r->profile, (hy__kernel_id)next);
        put_cell(t, r, hy__kernel_name((hy__kernel_id)next), &c, r->check->kernel[next]);
    }
}

static void put_profile(hy__text *t, const hy__bench *b, const hy__bench_row *r) {
    char title[TITLE];
    row_title(r, title, sizeof title);
    hy__text_add(t, "\n%s: where %s of a watched run goes\n", title,
                 hy__seconds(r->profile_seconds).text);
    put_parts(t, b, r);
    put_kernels(t, r);
}

void hy__bench_text(hy__text *t, const hy__bench *b) {
    put_machine(t, b);
    put_rows(t, b);
    put_ceilings(t, b);
    for (int64_t i = 0; i < b->n_row; i++)
        if (b->row[i].profile) put_profile(t, b, &b->row[i]);
}
