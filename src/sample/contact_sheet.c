/* SPDX-License-Identifier: Apache-2.0 */
#include "sample/contact_sheet.h"

#include "core/file.h"
#include "core/mem.h"
#include "picture/font.h"
#include "picture/grid.h"
#include "picture/png.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { LABEL_CHARS = 24, MOST_ACROSS = 12, OVERHEAD_MIB = 2 };
static const size_t most_bytes = (size_t)256 << 20; /* of the pictures on all pages */

struct fdit_contact_sheet {
    const struct fdit_request *request;
    const struct fdit_taxonomy *taxonomy;
    int size, channels;
    size_t picture;             /* bytes of one */
    size_t rows, columns, lead; /* lead: 1 when real pictures come first */
    size_t *row_of;             /* [n_classes of the request]: groups together */
    size_t *class_at;           /* [n_classes]: the same the other way round */
    bool grouped;               /* some group has several classes */
    uint8_t *pixels;            /* [rows, lead + columns, S, S, C] */
    bool *there;                /* [rows, lead + columns] */
};

enum fdit_status fdit_contact_sheet_real(fdit_context *ctx, const char *path,
                                         const struct fdit_taxonomy *taxonomy, int size, int channels,
                                         const struct fdit_picture_rules *rules, struct fdit_dataset **out,
                                         size_t *bytes)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_dataset_options o = {
        .taxonomy = taxonomy, .size = size, .channels = channels, .rules = *rules, .allow_missing = true
    };
    TRY(fdit_dataset_open(ctx, path, &o, out));
    TRY(fdit_dataset_plan_reading(ctx, *out, 1, 0, false, bytes));
out:
    return status;
}

static enum fdit_status take_real(fdit_context *ctx, struct fdit_contact_sheet *c,
                                  const struct fdit_dataset *data)
{
    enum fdit_status status = FDIT_OK;
    uint8_t *chw = NULL;
    size_t plane = (size_t)c->size * (size_t)c->size, channels = (size_t)c->channels;
    TRY(fdit_alloc(ctx, c->picture, 1, &chw));
    for (size_t r = 0; r < c->rows; r++) {
        int32_t id = c->request->ids[c->class_at[r]];
        size_t n = fdit_dataset_class_count(data, id), at = r * (1 + c->columns);
        if (!n)
            continue;
        TRY(fdit_dataset_decode(ctx, data, fdit_dataset_class_first(data, id) + n / 2, chw));
        for (size_t i = 0; i < c->picture; i++)
            c->pixels[at * c->picture + i] = chw[i % channels * plane + i / channels];
        c->there[at] = true;
    }
out:
    fdit_free(chw);
    return status;
}

/* Rows in the order of the request, but each group's together, where its first class stands. */
static enum fdit_status order_rows(fdit_context *ctx, struct fdit_contact_sheet *c)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_taxonomy *tax = c->taxonomy;
    size_t n = c->request->n_classes, rows = 0;
    size_t *first = NULL,
           *next = NULL; /* of a group: its first place, of a place: the next one of its group */
    size_t *last = NULL;
    TRY(fdit_alloc(ctx, n, sizeof *c->row_of, &c->row_of));
    TRY(fdit_alloc(ctx, n, sizeof *c->class_at, &c->class_at));
    if (fdit_taxonomy_n_ranks(tax) == 0) {
        for (size_t i = 0; i < n; i++)
            c->row_of[i] = c->class_at[i] = i;
        goto out;
    }
    size_t groups = (size_t)fdit_taxonomy_n_groups(tax, 0);
    TRY(fdit_alloc(ctx, groups, sizeof *first, &first));
    TRY(fdit_alloc(ctx, groups, sizeof *last, &last));
    TRY(fdit_alloc(ctx, n, sizeof *next, &next));
    for (size_t i = 0; i < n; i++) { /* places count from 1: 0 is none */
        size_t g = (size_t)fdit_taxonomy_group(tax, 0, c->request->ids[i]);
        if (last[g])
            next[last[g] - 1] = i + 1;
        else
            first[g] = i + 1;
        c->grouped = c->grouped || last[g];
        last[g] = i + 1;
    }
    for (size_t i = 0; i < n; i++) {
        size_t g = (size_t)fdit_taxonomy_group(tax, 0, c->request->ids[i]);
        if (first[g] != i + 1)
            continue;
        for (size_t at = first[g]; at; at = next[at - 1]) {
            c->row_of[at - 1] = rows;
            c->class_at[rows++] = at - 1;
        }
    }
out:
    fdit_free(first);
    fdit_free(last);
    fdit_free(next);
    return status;
}

static void set_sizes(struct fdit_contact_sheet *c, const struct fdit_request *request, int size,
                      int channels, bool real)
{
    size_t most = 0;
    c->size = size;
    c->channels = channels;
    c->lead = real ? 1 : 0;
    c->picture = (size_t)size * (size_t)size * (size_t)channels;
    for (size_t i = 0; i < request->n_classes; i++)
        if (request->first[i + 1] - request->first[i] > most)
            most = request->first[i + 1] - request->first[i];
    c->columns = most < FDIT_CONTACT_SHEET_COLUMNS ? most : FDIT_CONTACT_SHEET_COLUMNS;
    size_t room = most_bytes / ((c->lead + c->columns) * c->picture);
    c->rows = request->n_classes;
    c->rows = room < 1 ? 1 : room < c->rows ? room : c->rows;
}

enum fdit_status fdit_contact_sheet_new(fdit_context *ctx, const struct fdit_request *request,
                                        const struct fdit_taxonomy *taxonomy, int size, int channels,
                                        const struct fdit_dataset *real, struct fdit_contact_sheet **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_contact_sheet *c = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *c, &c));
    *c = (struct fdit_contact_sheet){ .request = request, .taxonomy = taxonomy };
    set_sizes(c, request, size, channels, real);
    TRY(fdit_alloc(ctx, c->rows, (c->lead + c->columns) * c->picture, &c->pixels));
    TRY(fdit_alloc(ctx, c->rows * (c->lead + c->columns), sizeof *c->there, &c->there));
    TRY(order_rows(ctx, c));
    if (real)
        TRY(take_real(ctx, c, real));
    *out = c;
    return FDIT_OK;
out:
    fdit_contact_sheet_free(c);
    return status;
}

void fdit_contact_sheet_free(struct fdit_contact_sheet *c)
{
    if (!c)
        return;
    fdit_free(c->row_of);
    fdit_free(c->class_at);
    fdit_free(c->pixels);
    fdit_free(c->there);
    fdit_free(c);
}

bool fdit_contact_sheet_wants(const struct fdit_contact_sheet *c, const struct fdit_request_item *item)
{
    return c->row_of[item->place] < c->rows && (size_t)item->k < c->columns;
}

enum fdit_status fdit_contact_sheet_put(fdit_context *ctx, struct fdit_contact_sheet *c,
                                        const struct fdit_request_item *item, const struct fdit_picture *p)
{
    size_t at = c->row_of[item->place] * (c->lead + c->columns) + c->lead + (size_t)item->k;
    size_t from = (size_t)p->channels, to = (size_t)c->channels;
    if (p->width != c->size || p->height != c->size || from < to)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                         "contact sheet: the picture of class %s with seed %" PRIu64 " has %d x %d pixels "
                         "instead of %d x %d; use --overwrite",
                         fdit_taxonomy_class_name(c->taxonomy, item->id), item->seed, p->width, p->height,
                         c->size, c->size);
    for (size_t i = 0; i < c->picture; i++)
        c->pixels[at * c->picture + i] = p->pixels[i / to * from + i % to];
    c->there[at] = true;
    return FDIT_OK;
}

size_t fdit_contact_sheet_rows(const struct fdit_contact_sheet *c)
{
    return c->rows;
}

size_t fdit_contact_sheet_pages(const struct fdit_contact_sheet *c)
{
    return (c->rows + FDIT_CONTACT_SHEET_ROWS - 1) / FDIT_CONTACT_SHEET_ROWS;
}

size_t fdit_contact_sheet_pages_of(const struct fdit_request *request, int size, int channels)
{
    struct fdit_contact_sheet c = { .request = request };
    set_sizes(&c, request, size, channels, false);
    return fdit_contact_sheet_pages(&c);
}

enum fdit_status fdit_contact_sheet_file(fdit_context *ctx, const char *path, size_t i, size_t pages,
                                         char **out)
{
    const char *base = fdit_path_base(path), *dot = strrchr(base, '.');
    size_t stem = dot && dot > base ? (size_t)(dot - path) : strlen(path);
    if (pages < 2)
        return fdit_strdup(ctx, path, out);
    return fdit_strf(ctx, out, "%.*s-%zu%s", (int)stem, path, i + 1, path + stem);
}

/* The name of a file with its folder, which is the run's, where the file is called as all are. */
static const char *short_name(const char *path)
{
    const char *base = fdit_path_base(path), *at = base;
    if (strcmp(base, "delta.safetensors") != 0 || at == path)
        return base;
    for (at--; at > path && at[-1] != '/'; at--)
        ;
    return at;
}

enum fdit_status fdit_contact_sheet_title(fdit_context *ctx, const struct fdit_contact_sheet_title *t,
                                          char **out)
{
    enum fdit_status status = FDIT_OK;
    char *guide = NULL;
    if (t->guide)
        TRY(fdit_strf(ctx, &guide, "guide %s, w = %g", t->guide, t->w));
    TRY(fdit_strf(ctx, out, "%s%s%s: %s, %s, %d steps, %s%s%s%s", short_name(t->delta ? t->delta : t->base),
                  t->delta ? " on " : "", t->delta ? short_name(t->base) : "", t->model, t->sampler, t->steps,
                  guide ? guide : "no guidance", t->clip_x0 ? ", clip-x0" : "", t->precision ? ", " : "",
                  t->precision ? t->precision : ""));
out:
    fdit_free(guide);
    return status;
}

static int upscale_of(int size)
{
    return size < 24 ? 3 : size < 64 ? 2 : 1;
}

/* How many bands of `rows` rows beside each other give a sheet of about 4:3. */
static size_t choose_across(const struct fdit_contact_sheet *c, size_t rows, int upscale)
{
    size_t cell = (size_t)(c->size * upscale) + 2, best = 1, high = cell < 16 ? 16 : cell;
    size_t width = (c->lead + c->columns) * cell + LABEL_CHARS * 7 + 12;
    double least = 1e30;
    for (size_t a = 1; a <= MOST_ACROSS && a <= rows; a++) {
        double ratio = (double)(a * width) / (double)((rows + a - 1) / a * high);
        double off = ratio > 4.0 / 3 ? ratio / (4.0 / 3) : 4.0 / 3 / ratio;
        if (off < least) {
            least = off;
            best = a;
        }
    }
    return best;
}

/* Labels of the columns: "real", then seeds. */
static enum fdit_status label_columns(fdit_context *ctx, const struct fdit_contact_sheet *c, char **labels)
{
    enum fdit_status status = FDIT_OK;
    if (c->lead)
        TRY(fdit_strdup(ctx, "real", &labels[0]));
    for (size_t k = 0; k < c->columns; k++)
        TRY(fdit_strf(ctx, &labels[c->lead + k], "seed %" PRIu64, c->request->seed + k));
out:
    return status;
}

/* The class of a row, without the name of the group that stands above it. */
static const char *label_row(const struct fdit_contact_sheet *c, size_t r)
{
    int32_t id = c->request->ids[c->class_at[r]];
    const char *name = fdit_taxonomy_class_name(c->taxonomy, id), *group;
    if (!c->grouped)
        return name;
    group = fdit_taxonomy_group_name(c->taxonomy, 0, fdit_taxonomy_group(c->taxonomy, 0, id));
    size_t n = strlen(group);
    return strncmp(name, group, n) == 0 && name[n] && strchr("/ _-", name[n]) && name[n + 1] ? name + n + 1
                                                                                             : name;
}

static const char *group_of_row(const struct fdit_contact_sheet *c, size_t r)
{
    int32_t id = c->request->ids[c->class_at[r]];
    return fdit_taxonomy_group_name(c->taxonomy, 0, fdit_taxonomy_group(c->taxonomy, 0, id));
}

/* Its name, or its number in its rank where the font lacks the letters. */
static enum fdit_status heading_of_row(fdit_context *ctx, const struct fdit_contact_sheet *c,
                                       const struct fdit_font *font, size_t r, char **out)
{
    const char *name = group_of_row(c, r);
    int32_t group = fdit_taxonomy_group(c->taxonomy, 0, c->request->ids[c->class_at[r]]);
    if (fdit_font_has(font, name, strlen(name)))
        return fdit_strdup(ctx, name, out);
    return fdit_strf(ctx, out, "%s #%d", fdit_taxonomy_rank_name(c->taxonomy, 0), (int)group);
}

/* Rows first .. first + n as one sheet. */
static enum fdit_status write_page(fdit_context *ctx, const struct fdit_contact_sheet *c, size_t first,
                                   size_t n, const char *const *column_labels, const char *title,
                                   const char *path)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_grid_group groups[MOST_ACROSS];
    struct fdit_picture sheet = { 0 };
    const char *rows[FDIT_CONTACT_SHEET_ROWS];
    char *headings[FDIT_CONTACT_SHEET_ROWS] = { NULL };
    struct fdit_font *font = NULL;
    int32_t ids[FDIT_CONTACT_SHEET_ROWS];
    const uint8_t **cells = NULL;
    size_t across_columns = c->lead + c->columns, bands = 0;
    int upscale = upscale_of(c->size);
    size_t across = choose_across(c, n, upscale), each = (n + across - 1) / across;
    TRY(fdit_font_new(ctx, 1, &font));
    TRY(fdit_alloc(ctx, n * across_columns, sizeof *cells, &cells));
    for (size_t i = 0; i < n * across_columns; i++) {
        size_t at = first * across_columns + i;
        cells[i] = c->there[at] ? c->pixels + at * c->picture : NULL;
    }
    for (size_t r = 0; r < n; r++) {
        rows[r] = label_row(c, first + r);
        ids[r] = c->request->ids[c->class_at[first + r]];
        /* once for each group, and again at the top of a band */
        if (c->grouped && (r % each == 0 || group_of_row(c, first + r) != group_of_row(c, first + r - 1)))
            TRY(heading_of_row(ctx, c, font, first + r, &headings[r]));
    }
    for (size_t r = 0; r < n; r += each)
        groups[bands++] = (struct fdit_grid_group){ .n_rows = n - r < each ? n - r : each,
                                                    .n_columns = across_columns,
                                                    .row_labels = rows + r,
                                                    .row_ids = ids + r,
                                                    .row_headings = (const char *const *)headings + r,
                                                    .column_labels = column_labels,
                                                    .cells = cells + r * across_columns };
    TRY(fdit_grid_draw(ctx,
                       &(struct fdit_grid){ .title = title,
                                            .size = c->size,
                                            .channels = c->channels,
                                            .upscale = upscale,
                                            .label_chars = LABEL_CHARS,
                                            .across = bands,
                                            .n_groups = bands,
                                            .groups = groups },
                       &sheet));
    TRY(fdit_png_write(ctx, path, &sheet));
out:
    fdit_picture_fini(&sheet);
    fdit_font_free(font);
    for (size_t r = 0; r < n; r++)
        fdit_free(headings[r]);
    fdit_free(cells);
    return status;
}

enum fdit_status fdit_contact_sheet_write(fdit_context *ctx, const struct fdit_contact_sheet *c,
                                          const char *title, const char *path)
{
    enum fdit_status status = FDIT_OK;
    char *columns[1 + FDIT_CONTACT_SHEET_COLUMNS] = { NULL }, *whole = NULL, *file = NULL;
    const char *column_labels[1 + FDIT_CONTACT_SHEET_COLUMNS];
    size_t pages = fdit_contact_sheet_pages(c), all = c->request->n_classes;
    TRY(label_columns(ctx, c, columns));
    for (size_t i = 0; i < c->lead + c->columns; i++)
        column_labels[i] = columns[i];
    for (size_t i = 0; i < pages; i++) {
        size_t first = i * FDIT_CONTACT_SHEET_ROWS, rest = c->rows - first;
        size_t n = rest < FDIT_CONTACT_SHEET_ROWS ? rest : FDIT_CONTACT_SHEET_ROWS;
        fdit_free(whole);
        fdit_free(file);
        whole = file = NULL;
        if (pages > 1 || c->rows < all)
            TRY(fdit_strf(ctx, &whole, "%s; classes %zu to %zu of %zu, page %zu of %zu", title, first + 1,
                          first + n, all, i + 1, pages));
        TRY(fdit_contact_sheet_file(ctx, path, i, pages, &file));
        TRY(write_page(ctx, c, first, n, column_labels, whole ? whole : title, file));
    }
out:
    for (size_t i = 0; i < c->lead + c->columns; i++)
        fdit_free(columns[i]);
    fdit_free(whole);
    fdit_free(file);
    return status;
}

/* ------------------------------------------------------------------ for plans */

/* Fonts, the file's buffer, and what libpng needs. */
static const size_t beside_pixels = (size_t)OVERHEAD_MIB << 20;

/* A sheet of `cells` pictures of so many classes out of n, whose pages have one of these shapes. ids NULL:
 * all of the taxonomy. */
static enum fdit_status count_bytes(fdit_context *ctx, const struct fdit_contact_sheet *c, size_t cells,
                                    size_t classes, const int32_t *ids, size_t n,
                                    const struct fdit_grid_shape *shapes, size_t n_shapes, size_t *bytes)
{
    enum fdit_status status = FDIT_OK;
    const char **names = NULL;
    int32_t *all = NULL;
    size_t page;
    TRY(fdit_alloc(ctx, n, sizeof *names, &names));
    TRY(fdit_alloc(ctx, n, sizeof *all, &all));
    for (size_t i = 0; i < n; i++) {
        all[i] = ids ? ids[i] : (int32_t)i;
        names[i] = fdit_taxonomy_class_name(c->taxonomy, all[i]);
    }
    const struct fdit_grid_group labels = { .n_rows = n, .row_labels = names, .row_ids = all };
    const struct fdit_grid grid = { .size = c->size,
                                    .channels = c->channels,
                                    .upscale = upscale_of(c->size),
                                    .label_chars = LABEL_CHARS,
                                    .n_groups = 1,
                                    .groups = &labels };
    TRY(fdit_grid_most_pixels(ctx, &grid, shapes, n_shapes, &page));
    *bytes = cells * (c->picture + sizeof *c->there + sizeof(uint8_t *)) + 3 * page + beside_pixels +
             classes * 3 * sizeof *c->row_of; /* their order, and while it is made */
out:
    fdit_free(names);
    fdit_free(all);
    return status;
}

static struct fdit_grid_shape shape_of(const struct fdit_contact_sheet *c, size_t rows)
{
    return (struct fdit_grid_shape){ rows, c->lead + c->columns,
                                     choose_across(c, rows, upscale_of(c->size)) };
}

enum fdit_status fdit_contact_sheet_bytes(fdit_context *ctx, const struct fdit_request *request,
                                          const struct fdit_taxonomy *taxonomy, int size, int channels,
                                          bool real, size_t *bytes)
{
    struct fdit_contact_sheet c = { .taxonomy = taxonomy };
    set_sizes(&c, request, size, channels, real);
    const size_t most = FDIT_CONTACT_SHEET_ROWS, last = (c.rows - 1) % most + 1;
    const struct fdit_grid_shape shapes[] = { shape_of(&c, c.rows < most ? c.rows : most),
                                              shape_of(&c, last) };
    return count_bytes(ctx, &c, c.rows * (c.lead + c.columns), request->n_classes, request->ids,
                       request->n_classes, shapes, 2, bytes);
}

enum fdit_status fdit_contact_sheet_most_bytes(fdit_context *ctx, size_t pictures,
                                               const struct fdit_taxonomy *taxonomy, int size, int channels,
                                               size_t *bytes)
{
    struct fdit_grid_shape shapes[FDIT_CONTACT_SHEET_ROWS * FDIT_CONTACT_SHEET_COLUMNS];
    struct fdit_contact_sheet c = { .taxonomy = taxonomy, .size = size, .channels = channels };
    size_t n = 0;
    c.picture = (size_t)size * (size_t)size * (size_t)channels;
    for (c.columns = 1; c.columns <= FDIT_CONTACT_SHEET_COLUMNS; c.columns++)
        for (size_t rows = 1; rows <= FDIT_CONTACT_SHEET_ROWS && rows * c.columns <= pictures; rows++)
            shapes[n++] = shape_of(&c, rows);
    return count_bytes(ctx, &c, pictures, pictures, NULL, (size_t)fdit_taxonomy_n_classes(taxonomy), shapes,
                       n, bytes);
}
