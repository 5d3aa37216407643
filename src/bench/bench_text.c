/* bench_text.c: a bench as tables for a terminal. */
#include "bench/bench.h"
#include "page/number.h"

#include <stdio.h>
#include <string.h>

enum { LABEL = 30, CELL = 12 /* columns */, TITLE = 96 /* bytes */ };

static void cell(hy__text *t, hy__number n) {
    hy__text_add(t, " %*s", CELL, n.text);
}

static void word(hy__text *t, const char *s) {
    hy__text_add(t, " %*s", CELL, s);
}

static hy__number rate(hy__unit unit, double amount, double seconds) {
    return hy__number_show(unit, amount / seconds);
}

/* "decode fp32, 1 x 512" */
static void row_title(const hy__bench_row *r, char *out, size_t size) {
    snprintf(out, size, "%s %s, %lld x %s", hy__phase_name(r->shape.phase),
             hy__store_name(r->shape.store), (long long)r->shape.batch,
             hy__tokens((double)r->shape.tokens).text);
}

/* ---- head ---- */

static void put_machine(hy__text *t, const hy__bench *b) {
    const hy__account *a = &b->account;
    hy__text_add(t, "%s: %s, %s parameters, %s of them for a token%s%s\n", b->name,
                 a->cfg.model.layers, hy__count((double)hy__account_count(a, false)).text,
                 hy__count((double)hy__account_count(a, true)).text, *b->settings ? "; " : "",
                 b->settings);
    hy__text_add(t, "%s, %lld cores, %s; backend %s%s%s, %lld threads; commit %s\n", b->machine.cpu,
                 (long long)b->machine.cores, hy__bytes((double)b->machine.memory).text, b->backend,
                 *b->isa ? " " : "", b->isa, (long long)b->threads, b->machine.commit);
    hy__text_add(t, "Median and quartiles of %lld runs after %lld to warm up.\n\n",
                 (long long)b->runs, (long long)b->warm_up);
}

/* ---- rows ---- */

static void put_row(hy__text *t, const hy__bench_row *r) {
    char title[TITLE], spread[80];
    row_title(r, title, sizeof title);
    hy__text_add(t, "%-*s", LABEL, title);
    if (r->refused.status != HY_OK) {
        hy__text_put(t, " not reported: a kernel fails its check\n");
        return;
    }
    const double s = r->seconds.median, flops = r->flops;
    snprintf(spread, sizeof spread, "%s - %s", hy__seconds(r->seconds.low).text,
             hy__seconds(r->seconds.high).text);
    cell(t, hy__seconds(s));
    hy__text_add(t, " %*s", 2 * CELL, spread);
    cell(t, hy__count((double)r->rows / s));
    cell(t, hy__bytes((double)r->peak_bytes));
    hy__text_add(t, " %*s", CELL + 3, rate(HY__UNIT_FLOP_RATE, flops, s).text);
    cell(t, hy__percent(r->dense_share));
    cell(t, rate(HY__UNIT_BYTES_RATE, r->bytes, s));
    cell(t, hy__percent(r->stream_share));
    hy__text_put(t, r->made_up ? "  *\n" : "\n");
}

static void put_rows(hy__text *t, const hy__bench *b) {
    bool made_up = false;
    hy__text_add(t, "%-*s", LABEL, "");
    word(t, "median");
    hy__text_add(t, " %*s", 2 * CELL, "quartiles");
    word(t, "tokens/s");
    word(t, "peak memory");
    hy__text_add(t, " %*s", CELL + 3, "computed");
    word(t, "of dense");
    word(t, "moved");
    word(t, "of stream");
    hy__text_put(t, "\n");
    for (int64_t i = 0; i < b->n_row; i++) {
        put_row(t, &b->row[i]);
        made_up |= b->row[i].made_up;
    }
    if (made_up)
        hy__text_put(t, "* what stands before the token was not read, it is random numbers\n");
}

static void put_ceilings(hy__text *t, const hy__bench *b) {
    hy__text_put(t, "\nCeilings, measured between the runs\n");
    for (int64_t i = 0; i < b->n_row; i++) {
        const hy__bench_row *r = &b->row[i];
        char title[TITLE];
        if (r->ceiling.dense <= 0) continue;
        row_title(r, title, sizeof title);
        hy__text_add(t, "%-*s dense %s (%lld^3), read %s, triad %s\n", LABEL, title,
                     hy__number_show(HY__UNIT_FLOP_RATE, r->ceiling.dense).text,
                     (long long)b->dense_size[r->shape.store],
                     hy__number_show(HY__UNIT_BYTES_RATE, r->ceiling.read).text,
                     hy__number_show(HY__UNIT_BYTES_RATE, r->ceiling.triad).text);
    }
}

/* ---- profiles ---- */

static void put_cell(hy__text *t, const hy__bench_row *r, const char *name, const hy__cell *c,
                     bool failed) {
    const double stream = hy__ceiling_stream(&r->ceiling);
    hy__text_add(t, "  %-*s", LABEL - 2, name);
    if (failed) {
        hy__text_put(t, " not reported: fails its check\n");
        return;
    }
    cell(t, hy__number_show(HY__UNIT_PERCENT, c->seconds / r->profile_seconds));
    cell(t, hy__seconds(c->seconds));
    cell(t, hy__count((double)c->calls));
    if (c->flops > 0) {
        hy__text_add(t, " %*s", CELL + 3, rate(HY__UNIT_FLOP_RATE, c->flops, c->seconds).text);
        cell(t, hy__percent(c->flops / c->seconds / r->ceiling.dense));
    } else {
        hy__text_add(t, " %*s", 2 * CELL + 4, "");
    }
    if (c->bytes > 0) {
        cell(t, rate(HY__UNIT_BYTES_RATE, c->bytes, c->seconds));
        cell(t, hy__percent(c->bytes / c->seconds / stream));
    }
    hy__text_put(t, "\n");
}

static void put_profile_head(hy__text *t, const char *what) {
    hy__text_add(t, "  %-*s", LABEL - 2, what);
    word(t, "share");
    word(t, "time");
    word(t, "calls");
    hy__text_add(t, " %*s", CELL + 3, "computed");
    word(t, "of dense");
    word(t, "touched");
    word(t, "of stream");
    hy__text_put(t, "\n");
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
            const hy__part *p = &b->account.part[part];
            snprintf(name, sizeof name, "%c%s%.30s", p->letter ? p->letter : ' ',
                     p->letter ? "  " : "", p->name);
        }
        put_cell(t, r, part == 0 ? name + 1 : name, &c,
                 part < HY__PART_MAX && r->check->letter[part]);
    }
    hy__text_add(t, "  %-*s", LABEL - 2, "outside of kernels");
    cell(t, hy__percent(rest / r->profile_seconds));
    cell(t, hy__seconds(rest));
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
