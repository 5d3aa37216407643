/* page.h: a report as one HTML file that needs nothing else: no script, no request.
 *
 *     hy__page p = {0};
 *     hy__page_begin(&p, "Plan of %s", name);
 *     hy__page_tiles(&p);
 *     hy__page_item(&p, "parameters", "%s", hy__count(n).text);
 *     hy__page_list_end(&p);
 *     hy__page_table(&p, (const hy__column[]){{"layer", 0}, {"parameters", 1}}, 2);
 *     for (…) hy__page_cell(&p, "%s", name), hy__page_cell(&p, "%s", hy__count(n).text);
 *     hy__page_table_end(&p);
 *     HY_TRY(hy__page_save(&p, path, err));
 *     hy__page_release(&p);
 *
 * All text is escaped; `between backticks` it is code. The page follows the reader's choice of
 * light or dark, fits a phone, and prints in black on white. */
#ifndef HY_PAGE_PAGE_H
#define HY_PAGE_PAGE_H

#include "page/chart.h"

enum { HY__COLUMNS_MAX = 32 };

typedef struct hy__column {
    const char *name; /* need not outlive the call */
    bool number;      /* stands at the right */
} hy__column;

typedef struct hy__page {
    hy__text text;
    /* of the table that is open */
    bool number[HY__COLUMNS_MAX], wraps[HY__COLUMNS_MAX];
    int n_column, at; /* columns; where the next cell stands */
    bool total;       /* this row is one */
    bool grid;        /* figures stand side by side */
} hy__page;

void hy__page_begin(hy__page *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Ends the page and writes it. HY_E_MEMORY, HY_E_IO; HY_E_INVALID where a file that is no page has
 * the path (hy__file_check_place). */
hy_status hy__page_save(hy__page *p, const char *path, hy_error *err);
/* Only ends it: the text is then whole. */
void hy__page_end(hy__page *p);
void hy__page_release(hy__page *p);

/* level: 2 = a section, 3 = a part of one. */
void hy__page_heading(hy__page *p, int level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void hy__page_paragraph(hy__page *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Small print: sources, how something was computed. */
void hy__page_note(hy__page *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Commands and samples, with their line ends. */
void hy__page_code(hy__page *p, const char *text);

/* A list of names with what they are: as tiles, for the few numbers that matter most, or as lines.
 */
void hy__page_tiles(hy__page *p);
void hy__page_list(hy__page *p);
void hy__page_item(hy__page *p, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void hy__page_list_end(hy__page *p);

/* Cells fill the rows one after another. The first of a row names it. */
void hy__page_table(hy__page *p, const hy__column *columns, int n_column);
/* The cells of column i of the table that was begun take several lines where the page is narrow. */
void hy__page_wrap(hy__page *p, int i);
void hy__page_cell(hy__page *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void hy__page_cell_link(hy__page *p, const char *href, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The next row is set apart: a sum. */
void hy__page_row_total(hy__page *p);
void hy__page_table_end(hy__page *p);

/* The chart under its title, and the caption (NULL = none) below. On a phone the chart is drawn
 * anew for the narrow screen. */
void hy__page_figure(hy__page *p, const hy__chart *chart, const char *caption);
/* Figures up to grid_end stand two beside each other where there is room. */
void hy__page_grid(hy__page *p);
void hy__page_grid_end(hy__page *p);

/* Folded away until asked for; printed open. */
void hy__page_details(hy__page *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void hy__page_details_end(hy__page *p);

#endif
