/* axis.c: see axis.h. */
#include "page/axis.h"

#include <math.h>

/* Round times for a logarithmic axis, in seconds; decades below a minute are computed. */
static const double round_times[] = {60,     600,     3600,     36000,     86400,
                                     864000, 8640000, 31557600, 315576000, 3155760000};
enum { N_TIMES = sizeof round_times / sizeof round_times[0], TIMES_FROM = 2 /* after 10 s */ };

bool hy__scale_shows(hy__scale scale, double value) {
    /* what is further out leaves no room for arithmetic */
    return fabs(value) < 1e300 && (scale == HY__SCALE_LINEAR || value > 1e-300);
}

void hy__range_add(hy__range *r, hy__scale scale, double value) {
    if (!hy__scale_shows(scale, value)) return;
    r->lo = fmin(r->lo, value);
    r->hi = fmax(r->hi, value);
}

/* Gives a range of no width some, and nothing at all the range 0 … 1 (1 … 2 in logarithms). What
 * differs by rounding alone has no width. */
static hy__range widened(hy__range r, hy__scale scale) {
    const bool log = scale != HY__SCALE_LINEAR;
    if (!(r.lo <= r.hi)) r = log ? (hy__range){1, 2} : (hy__range){0, 1};
    const double size = fmax(fabs(r.lo), fabs(r.hi));
    if (r.hi - r.lo > 1e-12 * size && (log || size > 1e-300)) return r;
    if (log) return (hy__range){r.lo / 2, r.hi * 2};
    return size > 1e-300 ? (hy__range){r.lo - size / 2, r.hi + size / 2} : (hy__range){0, 1};
}

/* The unit's size that the labels of a linear axis share. Times stay in the smaller unit for
 * longer: 90 s rather than 1.5 min. */
static double like(const hy__ruler *r) {
    const double size = fmax(fabs(r->lo), fabs(r->hi));
    return r->unit == HY__UNIT_SECONDS ? size / 2 : size;
}

/* The smallest round step of at least `least`. */
static double round_step(const hy__ruler *r, double least) {
    if (r->unit == HY__UNIT_TOKENS && least >= 1) return exp2(ceil(log2(least) - 1e-9));
    if (r->unit == HY__UNIT_COUNT && r->hi - r->lo >= 1) least = fmax(least, 1); /* whole things */
    const double unit = hy__unit_size(r->unit, like(r));
    const double decade = pow(10, floor(log10(least / unit) + 1e-9)) * unit;
    for (int i = 0; i < 4; i++) {
        if (i == 2 && r->unit != HY__UNIT_PERCENT) continue; /* quarters of a whole */
        const double step = (const double[]){1, 2, 2.5, 5}[i] * decade;
        if (step >= least * (1 - 1e-9)) return step;
    }
    return 10 * decade;
}

static void linear_ticks(hy__ruler *r, bool round_ends, int want) {
    /* ticks at both ends, and ends that move out, make more of them: wider steps until all fit */
    for (int n = want; n >= 1; n--) {
        r->step = round_step(r, (r->hi - r->lo) / n);
        const double from =
            round_ends ? floor(r->lo / r->step + 1e-9) : ceil(r->lo / r->step - 1e-9);
        const double to = round_ends ? ceil(r->hi / r->step - 1e-9) : floor(r->hi / r->step + 1e-9);
        if (to - from + 1 > want && n > 1) continue;
        r->n_tick = 0;
        for (double i = from; i <= to && r->n_tick < HY__TICKS_MAX; i++)
            r->tick[r->n_tick++] = i * r->step;
        if (round_ends) {
            r->lo = from * r->step;
            r->hi = to * r->step;
        }
        return;
    }
}

/* The i-th round value of a logarithmic axis; level 0 is 1, 2, 5; others are powers, or times. */
static double round_value(const hy__ruler *r, int level, int i) {
    if (r->scale == HY__SCALE_LOG2) return exp2(i);
    if (level == 0) {
        const int decade = i >= 0 ? i / 3 : -((2 - i) / 3);
        return (const double[]){1, 2, 5}[i - 3 * decade] * pow(10, decade);
    }
    if (r->unit != HY__UNIT_SECONDS || i < TIMES_FROM) return pow(10, i);
    return i - TIMES_FROM < N_TIMES ? round_times[i - TIMES_FROM] : INFINITY;
}

/* An index whose round value is not above v, v > 0. */
static int round_index(const hy__ruler *r, int level, double v) {
    if (r->scale == HY__SCALE_LOG2) return (int)floor(log2(v) + 1e-9);
    const double decade = floor(log10(v) + 1e-9);
    if (level == 0) return 3 * (int)decade;
    return (int)(r->unit == HY__UNIT_SECONDS ? fmin(decade, TIMES_FROM) : decade);
}

/* Fills the ticks with every level-th round value from lo to hi. Returns how many there are, which
 * may be more than fit. */
static int log_ticks(hy__ruler *r, int level) {
    const int stride = level ? level : 1;
    int n = 0;
    for (int i = round_index(r, level, r->lo);; i++) {
        const double v = round_value(r, level, i);
        if (!(v <= r->hi * (1 + 1e-9)) || isinf(v)) return n;
        if (v < r->lo * (1 - 1e-9) || i % stride != 0) continue;
        if (n < HY__TICKS_MAX) r->tick[n] = v;
        n++;
    }
}

/* Moves the ends out to round values of the level. */
static void round_log_ends(hy__ruler *r, int level) {
    int i = round_index(r, level, r->lo);
    while (round_value(r, level, i + 1) <= r->lo * (1 + 1e-9)) i++;
    const double lo = round_value(r, level, i);
    while (round_value(r, level, i) < r->hi * (1 - 1e-9)) i++;
    r->lo = lo <= r->lo ? lo : r->lo; /* before the first round time */
    const double hi = round_value(r, level, i);
    if (isfinite(hi)) r->hi = hi;
}

static void logarithmic_ticks(hy__ruler *r, bool round, int want) {
    const double lo = r->lo, hi = r->hi;
    const bool powers = r->scale == HY__SCALE_LOG2 || (r->unit == HY__UNIT_SECONDS && hi > 60);
    const bool thousands = r->unit != HY__UNIT_PLAIN && r->unit != HY__UNIT_PERCENT &&
                           r->unit != HY__UNIT_SECONDS && r->scale == HY__SCALE_LOG10;
    for (int level = powers ? 1 : 0;; level++) {
        if (level == 2 && thousands) continue; /* MB, GB, TB rather than MB, 100 MB, 10 GB */
        r->lo = lo;
        r->hi = hi;
        if (round) round_log_ends(r, level);
        r->n_tick = log_ticks(r, level);
        if (r->n_tick <= want) break;
    }
    if (r->n_tick >= 2) return;
    r->lo = lo; /* too narrow for round powers */
    r->hi = hi;
    linear_ticks(r, false, want);
}

void hy__ruler_init(hy__ruler *r, hy__unit unit, hy__scale scale, hy__range range, bool round,
                    int want) {
    range = widened(range, scale);
    *r = (hy__ruler){.unit = unit, .scale = scale, .lo = range.lo, .hi = range.hi};
    if (want < 2) want = 2;
    if (want > HY__TICKS_MAX) want = HY__TICKS_MAX;
    if (scale == HY__SCALE_LINEAR)
        linear_ticks(r, round, want);
    else
        logarithmic_ticks(r, round, want);
}

double hy__ruler_at(const hy__ruler *r, double value) {
    if (!hy__scale_shows(r->scale, value)) return NAN;
    const double share = r->scale == HY__SCALE_LINEAR ? (value - r->lo) / (r->hi - r->lo)
                                                      : log(value / r->lo) / log(r->hi / r->lo);
    return r->from + share * (r->to - r->from);
}

hy__number hy__ruler_label(const hy__ruler *r, double tick) {
    if (r->step == 0) return hy__number_show(r->unit, tick);
    double left = r->step / hy__unit_size(r->unit, like(r));
    int decimals = 0;
    while (decimals < 6 && fabs(left - rint(left)) > 1e-6) {
        left *= 10;
        decimals++;
    }
    return hy__number_like(r->unit, tick, like(r), decimals);
}
