/* chart.c: see chart.h. The element, its style and its size; the kinds draw themselves. */
#include "page/chart.h"
#include "base/file.h"
#include "page/chart_color.h"
#include "page/chart_draw.h"

#include <stdlib.h>

enum {
    WIDTH = 720, /* pixels, where the chart says nothing */
    EDGE = 16    /* around a chart that stands alone */
};

static const hy__kind *const kinds[] = {
    [HY__CHART_LINES] = &hy__kind_lines,
    [HY__CHART_AREAS] = &hy__kind_areas,
    [HY__CHART_STACKED_BARS] = &hy__kind_stacked,
    [HY__CHART_GROUPED_BARS] = &hy__kind_grouped,
    [HY__CHART_HEAT] = &hy__kind_heat,
};

void hy__chart_style(hy__text *t) {
    hy__color_style(t);
    hy__text_put(t, ".hy-chart{color:var(--hy-ink);max-width:100%;height:auto;"
                    "font-variant-numeric:tabular-nums}\n"
                    ".hy-hover>g:hover>g{opacity:1}\n");
}

static void draw(hy__text *t, const hy__chart *c, bool alone) {
    hy__canvas cv = {.t = t, .c = c, .width = c->width > 0 ? c->width : WIDTH, .alone = alone};
    kinds[c->kind]->place(&cv);
    const double edge = alone ? EDGE : 0;
    const hy__px from = hy__px_of(-edge);
    const hy__px width = hy__px_of(cv.width + 2 * edge), height = hy__px_of(cv.height + 2 * edge);
    hy__text_add(
        t,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"hy-chart\" viewBox=\"%s %s %s %s\" "
        "width=\"%s\" height=\"%s\" role=\"img\" color=\"%s\" fill=\"currentColor\" "
        "font-size=\"12\" font-family=\"system-ui,-apple-system,'Segoe UI',Roboto,"
        "'Helvetica Neue',Arial,sans-serif\" aria-label=\"",
        from.text, from.text, width.text, height.text, width.text, height.text, hy__ink("ink"));
    hy__text_escape(t, c->title ? c->title : "chart");
    hy__text_put(t, "\">\n");
    if (alone) {
        hy__text_put(t, "<style>\n");
        hy__chart_style(t);
        hy__text_add(t, "</style>\n<g class=\"hy-paper\" color=\"%s\">", hy__ink("paper"));
        hy__text_put(t, "<path fill=\"currentColor\" d=\"M-999-999h9999v9999h-9999z\"/></g>\n");
    }
    kinds[c->kind]->draw(&cv);
    hy__text_put(t, "</svg>\n");
}

void hy__chart_svg(hy__text *t, const hy__chart *chart) {
    draw(t, chart, false);
}

void hy__chart_document(hy__text *t, const hy__chart *chart) {
    hy__text_put(t, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    draw(t, chart, true);
}

hy_status hy__chart_save(const hy__chart *chart, const char *dir, const char *name, hy_error *err) {
    hy__text t = {0};
    char *path = hy__path_join(dir, name);
    hy_status status = path ? HY_OK : hy__no_memory(err, "a path");
    hy__chart_document(&t, chart);
    if (status == HY_OK) status = hy__text_save(&t, path, err);
    hy__text_release(&t);
    free(path);
    return status;
}
