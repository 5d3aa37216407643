/* bench_csv.c: a bench as lines of CSV (RFC 4180), to be collected in bench/; docs/format.md has
 * the columns. A line is a whole row, or with `part` or `kernel` what that took of it. */
#include "bench/bench.h"

#include "base/file.h"

#include <math.h>
#include <string.h>

static const char HEAD[] =
    "cpu,cores,memory_bytes,backend,isa,threads,commit,model,settings,what,dtype,batch,tokens,past,"
    "part,kernel,calls,runs,seconds,seconds_low,seconds_high,tokens_per_s,peak_bytes,flops,bytes,"
    "of_dense,of_stream,dense_flops_per_s,read_bytes_per_s,triad_bytes_per_s\n";

void hy__bench_csv_head(hy__text *t) {
    hy__text_put(t, HEAD);
}

hy_status hy__bench_csv_check(const char *path, hy_error *err) {
    return hy__file_check_place(path, "table of bench (or one of other columns)", 0, HEAD, err);
}

/* A field and the comma after it; quoted where it must be. */
static void put_word(hy__text *t, const char *s) {
    if (!strpbrk(s, ",\"\r\n")) {
        hy__text_add(t, "%s,", s);
        return;
    }
    hy__text_put(t, "\"");
    for (; *s; s++) hy__text_add(t, *s == '"' ? "\"\"" : "%c", *s);
    hy__text_put(t, "\",");
}

static void put_whole(hy__text *t, int64_t n) {
    hy__text_add(t, "%lld,", (long long)n);
}

/* Empty where there is no number. */
static void put_real(hy__text *t, double x) {
    if (isfinite(x)) hy__text_add(t, "%.10g", x);
    hy__text_put(t, ",");
}

/* What all lines of a row begin with. */
static void put_key(hy__text *t, const hy__bench *b, const hy__bench_row *r, const char *part,
                    const char *kernel) {
    put_word(t, b->machine.cpu);
    put_whole(t, b->machine.cores);
    put_whole(t, b->machine.memory);
    put_word(t, b->backend);
    put_word(t, b->isa);
    put_whole(t, b->threads);
    put_word(t, b->machine.commit);
    put_word(t, b->name);
    put_word(t, b->settings);
    put_word(t, hy__phase_name(r->shape.phase));
    put_word(t, hy__store_name[r->shape.store]);
    put_whole(t, r->shape.batch);
    put_whole(t, r->shape.tokens);
    put_word(t, r->shape.phase != HY__PHASE_DECODE ? "" : r->made_up ? "random" : "read");
    put_word(t, part);
    put_word(t, kernel);
}

/* And end with. */
static void put_ceilings(hy__text *t, const hy__bench_row *r) {
    hy__text_add(t, "%.10g,%.10g,%.10g\n", r->ceiling.dense, r->ceiling.read, r->ceiling.triad);
}

static void put_row(hy__text *t, const hy__bench *b, const hy__bench_row *r) {
    const double s = r->seconds.median;
    put_key(t, b, r, "", "");
    hy__text_put(t, ",");
    put_whole(t, b->runs);
    put_real(t, s);
    put_real(t, r->seconds.low);
    put_real(t, r->seconds.high);
    put_real(t, (double)r->rows / s);
    put_real(t, r->peak_bytes > 0 ? (double)r->peak_bytes : (double)NAN);
    put_real(t, r->flops);
    put_real(t, r->bytes);
    put_real(t, r->dense_share);
    put_real(t, r->stream_share);
    put_ceilings(t, r);
}

static void put_cell(hy__text *t, const hy__bench *b, const hy__bench_row *r, const char *part,
                     hy__kernel_id id, const hy__cell *c) {
    put_key(t, b, r, part, hy__kernel_name(id));
    put_whole(t, c->calls);
    put_whole(t, b->runs);
    put_real(t, c->seconds);
    hy__text_put(t, ",,,,");
    put_real(t, c->flops);
    put_real(t, c->bytes);
    put_real(t, c->flops / c->seconds / r->ceiling.dense);
    put_real(t, c->bytes / c->seconds / hy__ceiling_stream(&r->ceiling));
    put_ceilings(t, r);
}

static void put_profile(hy__text *t, const hy__bench *b, const hy__bench_row *r) {
    for (int64_t part = 0; part < HY__PROFILE_PARTS; part++) {
        if (part < HY__PART_MAX && r->check->letter[part]) continue;
        for (hy__kernel_id id = 0; id < HY__KERNEL_N; id++) {
            const hy__cell *c = &r->profile->cell[part][id];
            if (c->calls > 0 && !r->check->kernel[id])
                put_cell(t, b, r, hy__profile_key(&b->account, part).text, id, c);
        }
    }
}

void hy__bench_csv(hy__text *t, const hy__bench *b) {
    for (int64_t i = 0; i < b->n_row; i++) {
        const hy__bench_row *r = &b->row[i];
        if (r->refused.status == HY_OK) put_row(t, b, r);
        if (r->profile) put_profile(t, b, r);
    }
}
