/* config.c: defaults, setting one field, printing, and hy__config_finish: what a single field's
 * bounds cannot say. */
#include "config/config_table.h"

#include <stdlib.h>
#include <string.h>

void hy__config_default(hy__config *c, hy__train_config *t) {
    memset(c, 0, sizeof *c);
    if (t) memset(t, 0, sizeof *t);
    for (size_t i = 0; i < hy__n_field; i++) {
        const hy__field *f = &hy__fields[i];
        if (f->train && !t) continue;
        void *at = f->train ? (char *)t + f->offset : (char *)c + f->offset;
        switch (f->type) {
        case HY__FIELD_INT:
            *(int64_t *)at = (int64_t)f->start;
            break;
        case HY__FIELD_NUMBER:
            *(double *)at = f->start;
            break;
        case HY__FIELD_BOOL:
            *(bool *)at = f->start != 0;
            break;
        case HY__FIELD_CHOICE:
            *(int *)at = (int)f->start;
            break;
        case HY__FIELD_TEXT:
            memcpy(at, "S", 2);
            break; /* layers: the only text */
        }
    }
}

/* ---- derived fields ---- */

/* Puts back the 0 of every field that still holds what finish gave it. */
static void underive(hy__config *c) {
    for (size_t i = 0; i < hy__n_field; i++) {
        if (!hy__fields[i].derive) continue;
        int64_t *value = (int64_t *)((char *)c + hy__fields[i].offset);
        if (c->derived[i] && *value == c->derived[i]) *value = 0;
        c->derived[i] = 0;
    }
}

/* What is derived is written out with the model, and must be accepted when it is read back. */
static hy_status derive(hy__config *c, hy_error *err) {
    for (size_t i = 0; i < hy__n_field; i++) {
        const hy__field *f = &hy__fields[i];
        int64_t *value = (int64_t *)((char *)c + f->offset);
        if (!f->derive || *value != 0) continue;
        *value = c->derived[i] = f->derive(c);
        if ((double)*value > f->max && hy__section_used(c, f->section))
            return hy__fail(err, HY_E_INVALID,
                            "%s.%s would be %lld by default, wanted at most %.0f", f->section,
                            f->name, (long long)*value, f->max);
    }
    return HY_OK;
}

/* ---- checks across fields ---- */

#define REFUSE(...) return hy__fail(err, HY_E_INVALID, __VA_ARGS__)
#define LL(x)       ((long long)(x))

static hy_status check_model(const hy__config *c, hy_error *err) {
    if (c->model.chunk % 16)
        REFUSE("model.chunk is %lld, but must be a multiple of 16", LL(c->model.chunk));
    return HY_OK;
}

static hy_status check_ssm(const hy__config *c, hy_error *err) {
    const int64_t inner = c->ssm.expand * c->model.d_model;
    if (inner % c->ssm.head_dim)
        REFUSE("ssm.head_dim is %lld, but must divide the inner width expand * d_model = %lld",
               LL(c->ssm.head_dim), LL(inner));
    const int64_t n_head = inner / c->ssm.head_dim;
    if (n_head % c->ssm.n_group)
        REFUSE("ssm.n_group is %lld, but must divide the number of heads, %lld", LL(c->ssm.n_group),
               LL(n_head));
    if (c->ssm.dt_min > c->ssm.dt_max)
        REFUSE("ssm.dt_min is %g, but must not exceed ssm.dt_max = %g", c->ssm.dt_min,
               c->ssm.dt_max);
    return HY_OK;
}

static hy_status check_attention(const hy__config *c, hy_error *err) {
    if (c->attention.n_head % c->attention.n_kv)
        REFUSE("attention.n_kv is %lld, but must divide attention.n_head = %lld",
               LL(c->attention.n_kv), LL(c->attention.n_head));
    if (c->attention.rope_theta > 0 && c->attention.head_dim % 2)
        REFUSE("attention.head_dim is %lld, but must be even for the rotary embedding "
               "(attention.rope_theta = %g)",
               LL(c->attention.head_dim), c->attention.rope_theta);
    if (c->attention.rope_theta > 0 && c->attention.rope_theta < 1)
        REFUSE("attention.rope_theta is %g, but must be 0 (none) or at least 1",
               c->attention.rope_theta);
    return HY_OK;
}

static hy_status check_experts(const hy__config *c, hy_error *err) {
    if (c->experts.k > c->experts.n_expert)
        REFUSE("experts.k is %lld, but must not exceed experts.n_expert = %lld", LL(c->experts.k),
               LL(c->experts.n_expert));
    if (c->model.chunk % c->experts.expert_chunk)
        REFUSE("experts.expert_chunk is %lld, but must divide model.chunk = %lld",
               LL(c->experts.expert_chunk), LL(c->model.chunk));
    if (c->experts.shortlist < c->experts.k || c->experts.shortlist > c->experts.n_expert)
        REFUSE("experts.shortlist is %lld, but must be from experts.k = %lld to experts.n_expert = "
               "%lld",
               LL(c->experts.shortlist), LL(c->experts.k), LL(c->experts.n_expert));
    return HY_OK;
}

static hy_status check_pkm(const hy__config *c, hy_error *err) {
    if (c->pkm.d_key % 2) REFUSE("pkm.d_key is %lld, but must be even", LL(c->pkm.d_key));
    if (c->pkm.topk > c->pkm.n_key)
        REFUSE("pkm.topk is %lld, but must not exceed pkm.n_key = %lld", LL(c->pkm.topk),
               LL(c->pkm.n_key));
    return HY_OK;
}

hy_status hy__config_finish(hy__config *c, hy_error *err) {
    underive(c);
    HY_TRY(hy__layers_expand(c, err));
    HY_TRY(derive(c, err));
    HY_TRY(check_model(c, err));
    if (strchr(c->letter, 'S')) HY_TRY(check_ssm(c, err));
    if (strchr(c->letter, 'A')) HY_TRY(check_attention(c, err));
    if (strchr(c->letter, 'E')) HY_TRY(check_experts(c, err));
    if (strchr(c->letter, 'P')) HY_TRY(check_pkm(c, err));
    return HY_OK;
}

bool hy__config_sees_ahead(const hy__config *c) {
    return strchr(c->letter, 'E') && c->experts.route == HY__ROUTE_OWN;
}

int64_t hy__config_segment(const hy__config *c, const hy__train_config *t) {
    const int64_t n = t->seq_len, chunk = c->model.chunk;
    return n < chunk ? n : n / chunk * chunk;
}

/* ---- one field, and all of them as text ---- */

hy_status hy__config_set(hy__config *c, hy__train_config *t, const char *key, const char *value,
                         hy_error *err) {
    const char *dot = strchr(key, '.');
    if (!dot)
        REFUSE("'%.64s' names no field; wanted section.field, e.g. train.lr or model.layers", key);
    const size_t section_size = (size_t)(dot - key);
    const hy__field *f = hy__field_find(key, section_size, dot + 1);
    if (!f) {
        char section[32];
        snprintf(section, sizeof section, "%.*s", (int)(section_size < 31 ? section_size : 31),
                 key);
        return hy__field_unknown(section, dot + 1, err);
    }
    underive(c);
    hy__train_config dropped;
    return hy__field_set(f, c, t ? t : &dropped, value, err);
}

hy_status hy__config_set_whole(hy__config *c, hy__train_config *t, const char *key, uint64_t value,
                               hy_error *err) {
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    return hy__config_set(c, t, key, text, err);
}

hy_status hy__config_assign(hy__config *c, hy__train_config *t, const char *setting,
                            hy_error *err) {
    const char *equals = strchr(setting, '=');
    char key[64];
    if (!equals || (size_t)(equals - setting) >= sizeof key)
        REFUSE("the setting is \"%.200s\", wanted section.key=value", setting);
    snprintf(key, sizeof key, "%.*s", (int)(equals - setting), setting);
    return hy__config_set(c, t, key, equals + 1, err);
}

/* Closes a memory stream; its text, or NULL when it could not grow. */
static char *finish_text(FILE *out, char **text) {
    const bool failed = ferror(out);
    if (fclose(out) == 0 && !failed) return *text;
    free(*text);
    return NULL;
}

/* "section:" when the row begins one. */
static void print_section(size_t i, FILE *out) {
    if (i == 0 || strcmp(hy__fields[i].section, hy__fields[i - 1].section) != 0)
        fprintf(out, "%s%s:\n", i ? "\n" : "", hy__fields[i].section);
}

/* "what it is [unit]" */
static void print_doc(const hy__field *f, FILE *out) {
    fputs(f->doc, out);
    if (*f->unit) fprintf(out, " [%s]", f->unit);
}

char *hy__config_print(const hy__config *c, const hy__train_config *t) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out) return NULL;
    for (size_t i = 0; i < hy__n_field; i++) {
        const hy__field *f = &hy__fields[i];
        if (f->train ? !t : !hy__section_used(c, f->section)) continue;
        print_section(i, out);
        fprintf(out, "  %s: ", f->name);
        hy__field_print(f, c, t, out);
        fputs("  # ", out);
        print_doc(f, out);
        fputc('\n', out);
    }
    return finish_text(out, &text);
}

char *hy__config_help(void) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out) return NULL;
    hy__config c;
    hy__train_config t;
    hy__config_default(&c, &t);
    for (size_t i = 0; i < hy__n_field; i++) {
        const hy__field *f = &hy__fields[i];
        char want[160];
        hy__field_describe(f, want, sizeof want);
        print_section(i, out);
        fputs("  # ", out);
        print_doc(f, out);
        fprintf(out, "; %s\n  %s: ", want, f->name);
        hy__field_print(f, &c, &t, out);
        fputc('\n', out);
    }
    return finish_text(out, &text);
}
