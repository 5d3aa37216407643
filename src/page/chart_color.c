/* chart_color.c: see chart_color.h. */
#include "page/chart_color.h"
#include "page/chart_draw.h"

#include <math.h>
#include <string.h>

static const struct ink {
    const char *name, *light, *dark;
} inks[] = {
    {"paper", "#ffffff", "#14181f"},  {"ink", "#1b2027", "#e8ebf0"},
    {"muted", "#5b6673", "#9aa5b3"},  {"axis", "#97a1ad", "#5f6b7a"},
    {"grid", "#e6e9ee", "#272e38"},   {"mark", "#5b6673", "#9aa5b3"},
    {"raised", "#f5f7fa", "#1b212a"}, {"on", "#ffffff", "#10141a"},
};
enum { N_INK = sizeof inks / sizeof inks[0] };

static const char *const palette[HY__COLORS][2] = {
    {"#2a6fd6", "#5b9bf5"}, {"#d9730d", "#f2994a"}, {"#12936b", "#34c294"}, {"#c2459c", "#ec7fc9"},
    {"#a58100", "#d9b62e"}, {"#6a4fc9", "#a48df5"}, {"#1597b5", "#4cc4de"}, {"#d03a3a", "#f47373"},
};

/* From little to much on light paper; read backwards on dark. After ColorBrewer's YlGnBu (C.
 * Brewer, colorbrewer2.org), which the colour-blind and a grey printer keep in order. */
static const int heat_anchors[][3] = {
    {246, 250, 222}, {199, 233, 180}, {65, 182, 196}, {34, 94, 168}, {8, 29, 88}};
enum { N_ANCHOR = sizeof heat_anchors / sizeof heat_anchors[0] };

int hy__series_color(const hy__chart *c, int64_t series) {
    const int color = c->series[series].color;
    return color > 0 ? (color - 1) % HY__COLORS + 1 : (int)(series % HY__COLORS) + 1;
}

const char *hy__color(int color) {
    return palette[color - 1][0];
}

hy__paint hy__heat_color(int level) {
    const double at = (double)level / (HY__HEAT_LEVELS - 1) * (N_ANCHOR - 1);
    const int i = at < N_ANCHOR - 2 ? (int)at : N_ANCHOR - 2;
    const double share = at - i;
    int rgb[3];
    for (int k = 0; k < 3; k++)
        rgb[k] = (int)lround((1 - share) * heat_anchors[i][k] + share * heat_anchors[i + 1][k]);
    hy__paint out;
    hy__print(out.text, sizeof out.text, "#%02x%02x%02x", rgb[0], rgb[1], rgb[2]);
    return out;
}

const char *hy__ink(const char *name) {
    for (int i = 0; i < N_INK; i++)
        if (strcmp(inks[i].name, name) == 0) return inks[i].light;
    HY_ASSERT(!"a colour of the table");
    return "";
}

static void rules(hy__text *t, bool dark) {
    hy__text_put(t, ":root{");
    for (int i = 0; i < N_INK; i++)
        hy__text_add(t, "--hy-%s:%s;", inks[i].name, dark ? inks[i].dark : inks[i].light);
    hy__text_put(t, "}\n");
    for (int i = 0; i < HY__COLORS; i++)
        hy__text_add(t, ".hy-c%d{color:%s}", i + 1, palette[i][dark]);
    hy__text_put(t, "\n");
    for (int i = 0; i < HY__HEAT_LEVELS; i++)
        hy__text_add(t, ".hy-h%d{fill:%s}", i,
                     hy__heat_color(dark ? HY__HEAT_LEVELS - 1 - i : i).text);
    hy__text_put(t, "\n");
}

void hy__color_style(hy__text *t) {
    rules(t, false);
    hy__text_put(t, "@media screen and (prefers-color-scheme:dark){\n");
    rules(t, true);
    hy__text_put(t, "}\n");
    for (int i = 0; i < N_INK; i++)
        hy__text_add(t, ".hy-%s{color:var(--hy-%s)}", inks[i].name, inks[i].name);
    hy__text_put(t, "\n");
}
