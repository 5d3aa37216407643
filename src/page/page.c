/* page.c: see page.h. What is written is well-formed XML too, so that any tool can read it. */
#include "page/page.h"

#include "base/file.h"
#include "page/chart_color.h"

#include <string.h>

enum { WIDE = 920, HALF = 444, NARROW = 350 }; /* pixels that charts are drawn for */

static const char style[] =
    "*{box-sizing:border-box}\n"
    "html{color-scheme:light dark;background:var(--hy-paper);color:var(--hy-ink);"
    "font:16px/1.55 system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;"
    "-webkit-text-size-adjust:100%}\n"
    "body{max-width:60rem;margin:0 auto;padding:2.5rem 1.25rem 5rem;overflow-wrap:anywhere}\n"
    "main>p,main>ul{max-width:44rem}\n"
    "h1 code,h2 code,h3 code,.title code{background:none;padding:0}\n"
    "h1{font-size:1.9rem;line-height:1.2;letter-spacing:-.02em;margin:0 0 1rem}\n"
    "h2{font-size:1.3rem;line-height:1.3;letter-spacing:-.01em;margin:3rem 0 .75rem}\n"
    "h3{font-size:1rem;margin:2rem 0 .5rem}\n"
    "p{margin:.75rem 0}\n"
    ".note,figcaption,dt,th{color:var(--hy-muted)}\n"
    ".note,figcaption{font-size:.85rem;max-width:44rem}\n"
    "code,pre{font:.9em/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}\n"
    "code,pre{background:var(--hy-raised);border-radius:4px}\n"
    "code{padding:.1em .3em}pre{padding:.75rem 1rem;white-space:pre-wrap}\n"
    "figure{margin:1.75rem 0}figcaption{margin-top:.5rem}\n"
    ".title{font-weight:600;margin:0 0 .75rem}\n"
    ".grid{display:grid;grid-template-columns:1fr 1fr;gap:0 2rem}\n"
    ".grid>*{min-width:0}\n"
    ".wide{display:block}.narrow{display:none}\n"
    ".hy-chart{display:block;overflow:visible}\n"
    ".scroll{overflow-x:auto;margin:1rem 0}\n"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.92rem}\n"
    "th,td{text-align:left;padding:.38rem .9rem;white-space:nowrap;"
    "border-bottom:1px solid var(--hy-grid)}\n"
    "th:first-child,td:first-child{padding-left:0}\n"
    "thead th{font-weight:500;border-bottom-color:var(--hy-axis);max-width:12rem;overflow:hidden;"
    "text-overflow:ellipsis}\n"
    "tbody th{font-weight:400;color:var(--hy-ink)}\n"
    ".n{text-align:right}\n"
    ".w{white-space:normal;min-width:8rem}\n"
    ".total th,.total td{font-weight:600;border-bottom:0;border-top:1px solid var(--hy-axis)}\n"
    "dl{margin:1rem 0}dd{margin:0}\n"
    ".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr));gap:.75rem}\n"
    /* rows of equal length, where the reader's program can count */
    "@media (min-width:52rem){.tiles:has(>:nth-child(6):last-child),"
    ".tiles:has(>:nth-child(9):last-child){grid-template-columns:repeat(3,1fr)}"
    ".tiles:has(>:nth-child(7):last-child),.tiles:has(>:nth-child(8):last-child)"
    "{grid-template-columns:repeat(4,1fr)}}\n"
    ".tiles>div{background:var(--hy-raised);border-radius:8px;padding:.75rem 1rem}\n"
    ".tiles dt{font-size:.82rem;line-height:1.3}\n"
    ".tiles dd{font-size:1.35rem;font-weight:600;line-height:1.35;letter-spacing:-.01em}\n"
    ".list>div{display:grid;grid-template-columns:minmax(8rem,14rem) 1fr;gap:1rem;padding:.2rem "
    "0}\n"
    "details{margin:1rem 0}summary{cursor:pointer;font-weight:500}\n"
    "a{color:inherit;text-decoration-color:var(--hy-axis);text-underline-offset:.15em}\n"
    "@media (max-width:52rem){.grid{grid-template-columns:1fr}"
    ".grid .wide .hy-chart{width:100%;max-width:34rem}}\n"
    "@media (max-width:36rem){body{padding:1.5rem 1rem 3rem}"
    ".wide{display:none}.narrow{display:block}"
    ".list>div{grid-template-columns:1fr;gap:0;padding:.35rem 0}}\n"
    "@media print{html{font-size:11px}body{max-width:none;padding:0}"
    ".wide{display:block}.narrow{display:none}.grid{grid-template-columns:1fr 1fr}"
    "details::details-content{content-visibility:visible}"
    "h2,h3{break-after:avoid}figure,tr,.tiles>div{break-inside:avoid}"
    ".tiles>div{border:1px solid var(--hy-grid)}.scroll{overflow:visible}}\n";

/* ---- words ---- */

/* Escaped; what stands between backticks is code. */
static void put_inline(hy__text *t, const char *s) {
    hy__text piece = {0};
    bool code = false;
    for (;;) {
        const size_t n = strcspn(s, "`");
        hy__text_add(&piece, "%.*s", (int)n, s);
        hy__text_escape(t, piece.data ? piece.data : "");
        t->failed |= piece.failed;
        hy__text_release(&piece);
        s += n;
        if (!*s) break;
        hy__text_put(t, code ? "</code>" : "<code>");
        code = !code;
        s++;
    }
    if (code) hy__text_put(t, "</code>");
}

static void put_args(hy__page *p, const char *fmt, va_list args) {
    hy__text said = {0};
    hy__text_add_args(&said, fmt, args);
    put_inline(&p->text, said.data ? said.data : "");
    p->text.failed |= said.failed;
    hy__text_release(&said);
}

/* ---- the whole ---- */

#define DOCTYPE "<!DOCTYPE html>" /* how a page begins */

void hy__page_begin(hy__page *p, const char *fmt, ...) {
    hy__text title = {0};
    va_list args;
    va_start(args, fmt);
    hy__text_add_args(&title, fmt, args);
    va_end(args);
    const char *said = title.data ? title.data : "";
    hy__text *t = &p->text;
    hy__text_put(t, DOCTYPE
                 "\n"
                 "<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n"
                 "<meta charset=\"utf-8\"/>\n"
                 "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
                 "<meta name=\"generator\" content=\"hydralm " HY_VERSION "\"/>\n<title>");
    hy__text_escape(t, said);
    hy__text_put(t, "</title>\n<style>\n");
    hy__chart_style(t);
    hy__text_put(t, style);
    hy__text_put(t, "</style>\n</head>\n<body>\n<main>\n<h1>");
    put_inline(t, said);
    hy__text_put(t, "</h1>\n");
    t->failed |= title.failed;
    hy__text_release(&title);
}

void hy__page_end(hy__page *p) {
    hy__text_put(&p->text, "</main>\n</body>\n</html>\n");
}

hy_status hy__page_save(hy__page *p, const char *path, hy_error *err) {
    HY_TRY(hy__file_check_place(path, "HTML page", 0, DOCTYPE, err));
    hy__page_end(p);
    return hy__text_save(&p->text, path, err);
}

void hy__page_release(hy__page *p) {
    hy__text_release(&p->text);
    *p = (hy__page){0};
}

/* ---- text ---- */

/* An element of one piece of text. */
#define ELEMENT(open, close)                                                                       \
    do {                                                                                           \
        va_list args;                                                                              \
        va_start(args, fmt);                                                                       \
        hy__text_put(&p->text, open);                                                              \
        put_args(p, fmt, args);                                                                    \
        hy__text_put(&p->text, close);                                                             \
        va_end(args);                                                                              \
    } while (0)

void hy__page_heading(hy__page *p, int level, const char *fmt, ...) {
    HY_ASSERT(level == 2 || level == 3);
    ELEMENT(level == 2 ? "<h2>" : "<h3>", level == 2 ? "</h2>\n" : "</h3>\n");
}

void hy__page_paragraph(hy__page *p, const char *fmt, ...) {
    ELEMENT("<p>", "</p>\n");
}

void hy__page_note(hy__page *p, const char *fmt, ...) {
    ELEMENT("<p class=\"note\">", "</p>\n");
}

void hy__page_code(hy__page *p, const char *text) {
    hy__text_put(&p->text, "<pre>");
    hy__text_escape(&p->text, text);
    hy__text_put(&p->text, "</pre>\n");
}

void hy__page_details(hy__page *p, const char *fmt, ...) {
    ELEMENT("<details>\n<summary>", "</summary>\n");
}

void hy__page_details_end(hy__page *p) {
    hy__text_put(&p->text, "</details>\n");
}

/* ---- lists ---- */

void hy__page_tiles(hy__page *p) {
    hy__text_put(&p->text, "<dl class=\"tiles\">\n");
}

void hy__page_list(hy__page *p) {
    hy__text_put(&p->text, "<dl class=\"list\">\n");
}

void hy__page_item(hy__page *p, const char *name, const char *fmt, ...) {
    hy__text_put(&p->text, "<div><dt>");
    put_inline(&p->text, name);
    ELEMENT("</dt><dd>", "</dd></div>\n");
}

void hy__page_list_end(hy__page *p) {
    hy__text_put(&p->text, "</dl>\n");
}

/* ---- tables ---- */

void hy__page_table(hy__page *p, const hy__column *columns, int n_column) {
    HY_ASSERT(n_column > 0 && n_column <= HY__COLUMNS_MAX && p->n_column == 0);
    p->n_column = n_column;
    p->at = 0;
    hy__text_put(&p->text, "<div class=\"scroll\"><table>\n<thead><tr>");
    for (int i = 0; i < n_column; i++) {
        p->number[i] = columns[i].number;
        p->wraps[i] = false;
        hy__text_add(&p->text, "<th scope=\"col\"%s>", columns[i].number ? " class=\"n\"" : "");
        put_inline(&p->text, columns[i].name);
        hy__text_put(&p->text, "</th>");
    }
    hy__text_put(&p->text, "</tr></thead>\n<tbody>\n");
}

void hy__page_wrap(hy__page *p, int i) {
    HY_ASSERT(i < p->n_column && !p->number[i]);
    p->wraps[i] = true;
}

void hy__page_row_total(hy__page *p) {
    HY_ASSERT(p->n_column > 0 && p->at == 0);
    p->total = true;
}

static void begin_cell(hy__page *p) {
    HY_ASSERT(p->n_column > 0);
    if (p->at == 0) hy__text_put(&p->text, p->total ? "<tr class=\"total\">" : "<tr>");
    hy__text_add(&p->text, "<%s%s>", p->at == 0 ? "th scope=\"row\"" : "td",
                 p->number[p->at]  ? " class=\"n\""
                 : p->wraps[p->at] ? " class=\"w\""
                                   : "");
}

static void end_cell(hy__page *p) {
    hy__text_put(&p->text, p->at == 0 ? "</th>" : "</td>");
    if (++p->at < p->n_column) return;
    hy__text_put(&p->text, "</tr>\n");
    p->at = 0;
    p->total = false;
}

void hy__page_cell(hy__page *p, const char *fmt, ...) {
    begin_cell(p);
    ELEMENT("", "");
    end_cell(p);
}

void hy__page_cell_link(hy__page *p, const char *href, const char *fmt, ...) {
    begin_cell(p);
    hy__text_put(&p->text, "<a href=\"");
    hy__text_escape(&p->text, href);
    ELEMENT("\">", "</a>");
    end_cell(p);
}

void hy__page_table_end(hy__page *p) {
    HY_ASSERT(p->n_column > 0 && p->at == 0);
    p->n_column = 0;
    hy__text_put(&p->text, "</tbody>\n</table></div>\n");
}

/* ---- figures ---- */

static void put_chart(hy__page *p, const hy__chart *chart, double width, const char *name) {
    hy__chart sized = *chart;
    if (sized.width <= 0 || sized.width > width) sized.width = width;
    hy__text_add(&p->text, "<div class=\"%s\">", name);
    hy__chart_svg(&p->text, &sized);
    hy__text_put(&p->text, "</div>\n");
}

void hy__page_figure(hy__page *p, const hy__chart *chart, const char *caption) {
    hy__text_put(&p->text, "<figure>\n");
    if (chart->title) {
        hy__text_put(&p->text, "<p class=\"title\">");
        put_inline(&p->text, chart->title);
        hy__text_put(&p->text, "</p>\n");
    }
    put_chart(p, chart, p->grid ? HALF : WIDE, "wide");
    put_chart(p, chart, NARROW, "narrow");
    if (caption) {
        hy__text_put(&p->text, "<figcaption>");
        put_inline(&p->text, caption);
        hy__text_put(&p->text, "</figcaption>\n");
    }
    hy__text_put(&p->text, "</figure>\n");
}

void hy__page_grid(hy__page *p) {
    p->grid = true;
    hy__text_put(&p->text, "<div class=\"grid\">\n");
}

void hy__page_grid_end(hy__page *p) {
    p->grid = false;
    hy__text_put(&p->text, "</div>\n");
}
