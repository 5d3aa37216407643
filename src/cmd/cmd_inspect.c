/* cmd_inspect.c: hydralm inspect: what a model is made of.
 *
 * The pattern is drawn as the token sees it: blocks from left to right, the layers of a block from
 * top to bottom. */
#include "cmd/cmd.h"

#include "config/config.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS_PER_LINE = 13 /* of 6 columns each */ };

/* Letters of block b: the first and how many. */
static int64_t block_letters(const hy__config *c, int64_t b, const char **first) {
    int64_t begin = 0, end;
    while (begin < c->n_layer && c->block[begin] != b) begin++;
    for (end = begin; end < c->n_layer && c->block[end] == b;) end++;
    *first = c->letter + begin;
    return end - begin;
}

static void draw_edge(int64_t n, const char *edge) {
    for (int64_t i = 0; i < n; i++) printf(" %s", edge);
    putchar('\n');
}

/* Blocks [from, to) side by side. */
static void draw_line(const hy__config *c, int64_t from, int64_t to) {
    int64_t deepest = 0;
    const char *letter;
    for (int64_t b = from; b < to; b++) {
        const int64_t n = block_letters(c, b, &letter);
        if (n > deepest) deepest = n;
    }
    draw_edge(to - from, "┌───┐");
    for (int64_t row = 0; row < deepest; row++) {
        for (int64_t b = from; b < to; b++) {
            const int64_t n = block_letters(c, b, &letter);
            printf(" │ %c │", row < n ? letter[row] : ' ');
        }
        putchar('\n');
    }
    draw_edge(to - from, "└───┘");
}

static hy_status draw_pattern(const hy_model_info *info, hy_error *err) {
    hy__config *c = calloc(1, sizeof *c);
    if (!c) return hy__no_memory(err, "drawing the pattern");
    snprintf(c->model.layers, sizeof c->model.layers, "%s", info->layers);
    const hy_status status = hy__layers_expand(c, err);
    for (int64_t b = 0; status == HY_OK && b < c->n_block; b += BLOCKS_PER_LINE)
        draw_line(c, b, b + BLOCKS_PER_LINE < c->n_block ? b + BLOCKS_PER_LINE : c->n_block);
    free(c);
    return status;
}

static int64_t state_bytes(const hy_model_info *info) {
    int64_t n = 0;
    for (int64_t i = 0; i < info->n_kind; i++) n += info->kind[i].state_bytes;
    return n;
}

static int64_t block_bytes(const hy_model_info *info) {
    int64_t n = 0;
    for (int64_t i = 0; i < info->n_kind; i++) n += info->kind[i].state_bytes_per_block;
    return n;
}

static void print_tables(const hy_model_info *info) {
    printf("\n%-22s %6s %14s %14s %13s %12s\n", "", "layers", "parameters", "active", "state bytes",
           "per chunk");
    for (int64_t i = 0; i < info->n_kind; i++) {
        const hy_layer_info *k = &info->kind[i];
        printf("%c  %-19s %6lld %14lld %14lld %13lld %12lld\n", k->letter, k->name,
               (long long)k->count, (long long)k->parameters, (long long)k->active,
               (long long)k->state_bytes, (long long)k->state_bytes_per_block);
    }
    printf("%-22s %6s %14lld %14lld\n", "   embedding", "", (long long)info->embedding,
           (long long)info->embedding);
    printf("%-22s %6lld %14lld %14lld %13lld %12lld\n\n", "   model", (long long)info->n_layer,
           (long long)info->parameters, (long long)info->active, (long long)state_bytes(info),
           (long long)block_bytes(info));
    printf("weights %.1f MB; state %s\n\n", (double)info->weight_bytes / 1e6,
           block_bytes(info) > 0 ? "grows by the bytes per chunk of a text" : "never exceeds this");
}

static hy_status print_text(const hy_model *model, const hy_model_info *info, hy_error *err) {
    char *config = hy_model_config(model);
    if (!config) return hy__no_memory(err, "the text");
    printf("%s\n%lld layers, width %lld, vocabulary %lld, chunk %lld\n", info->layers,
           (long long)info->n_layer, (long long)info->d_model, (long long)info->vocab,
           (long long)info->chunk);
    const hy_status status = draw_pattern(info, err);
    if (status == HY_OK) {
        print_tables(info);
        printf("%s", config);
    }
    free(config);
    return status;
}

static hy_status print_json(const hy_model *model, const hy_model_info *info, hy_error *err) {
    char *config = hy_model_config(model);
    json_t *kinds = json_array();
    for (int64_t i = 0; i < info->n_kind; i++) {
        const hy_layer_info *k = &info->kind[i];
        const char letter[2] = {k->letter, 0};
        json_array_append_new(
            kinds,
            json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "letter", letter, "name", k->name,
                      "layers", (json_int_t)k->count, "parameters", (json_int_t)k->parameters,
                      "active", (json_int_t)k->active, "state_bytes", (json_int_t)k->state_bytes,
                      "state_bytes_per_chunk", (json_int_t)k->state_bytes_per_block));
    }
    json_t *all = json_pack(
        "{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:s*}", "pattern",
        info->layers, "letters", info->letters, "n_layer", (json_int_t)info->n_layer, "d_model",
        (json_int_t)info->d_model, "vocab", (json_int_t)info->vocab, "chunk",
        (json_int_t)info->chunk, "parameters", (json_int_t)info->parameters, "active",
        (json_int_t)info->active, "embedding", (json_int_t)info->embedding, "weight_bytes",
        (json_int_t)info->weight_bytes, "state_bytes", (json_int_t)state_bytes(info),
        "state_bytes_per_chunk", (json_int_t)block_bytes(info), "kinds", kinds, "config", config);
    free(config);
    return cmd_print_json(all, err);
}

static hy_status inspect(const char *dir, const cmd_shared *shared, hy_error *err) {
    const hy_model_options opt = cmd_model_options(shared);
    hy_model *model;
    hy_model_info info;
    HY_TRY(hy_model_open(&model, dir, &opt, err));
    hy_model_describe(model, &info);
    const hy_status status =
        shared->json ? print_json(model, &info, err) : print_text(model, &info, err);
    hy_model_free(model);
    return status;
}

int cmd_inspect(int argc, char **argv) {
    const char *dir;
    cmd_shared shared = CMD_SHARED;
    option table[] = {CMD_SHARED_OPTIONS(shared)};
    const command self = {.name = "inspect",
                          .operand = "DIR",
                          .brief = "show what a model is made of",
                          .option = table,
                          .n_option = sizeof table / sizeof *table};
    hy_error err = {0};
    int exit_status;
    if (!cmd_begin(&self, argc, argv, &dir, &exit_status)) return exit_status;
    return cmd_end(&self, inspect(dir, &shared, &err), &err);
}
