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
    {"raised", "#f5f7fa", "#1b212a"},
};
enum { N_INK = sizeof inks / sizeof inks[0] };

/* Any two stay apart for the three kinds of colour blindness (at least 0.085 in OKLab after Machado
 * et al. 2009) and from the paper (2.6 : 1 or more), which takes light ones beside dark ones: words
 * on them are dark or light. */
static const struct color {
    const char *light, *dark;
    bool dark_words[2]; /* on the light theme's, on the dark theme's */
} palette[HY__COLORS] = {
    {"#2a66ee", "#7aa9ff", {false, true}},  /* blue */
    {"#e0882a", "#fcc75c", {true, true}},   /* orange */
    {"#0a6046", "#1f8a4a", {false, false}}, /* green */
    {"#c92b92", "#f878a8", {false, true}},  /* pink */
    {"#43107a", "#a050da", {false, false}}, /* violet */
    {"#12acd8", "#84f0fd", {true, true}},   /* cyan */
    {"#a01d18", "#e03f1c", {false, false}}, /* red */
    {"#85760c", "#b3a034", {false, true}},  /* olive */
};

static const char *words_on(int color, bool dark) {
    return palette[color - 1].dark_words[dark] ? "#10141a" : "#ffffff";
}

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
    return palette[color - 1].light;
}

const char *hy__color_on(int color) {
    return words_on(color, false);
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
    int i = 0;
    while (i < N_INK && strcmp(inks[i].name, name) != 0) i++;
    HY_ASSERT(i < N_INK); /* a colour of the table */
    return inks[i].light;
}

static void rules(hy__text *t, bool dark) {
    hy__text_put(t, ":root{");
    for (int i = 0; i < N_INK; i++)
        hy__text_add(t, "--hy-%s:%s;", inks[i].name, dark ? inks[i].dark : inks[i].light);
    hy__text_put(t, "}\n");
    for (int i = 0; i < HY__COLORS; i++)
        hy__text_add(t, ".hy-c%d{color:%s}.hy-o%d{color:%s}", i + 1,
                     dark ? palette[i].dark : palette[i].light, i + 1, words_on(i + 1, dark));
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
