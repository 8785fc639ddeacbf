/* SPDX-License-Identifier: Apache-2.0 */
#include "sample/contact.h"

#include "core/mem.h"
#include "data/dataset.h"
#include "format/grid.h"
#include "format/png.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { LABEL_CHARS = 24, MOST_ACROSS = 12 };
static const size_t most_bytes = (size_t)96 << 20; /* of the pictures on a sheet */

struct fdit_contact {
    const struct fdit_request *request;
    const struct fdit_taxonomy *taxonomy;
    int size, channels;
    size_t picture;             /* bytes of one */
    size_t rows, columns, lead; /* lead: 1 when real pictures come first */
    uint8_t *pixels;            /* [rows, lead + columns, S, S, C] */
    bool *there;                /* [rows, lead + columns] */
};

static enum fdit_status take_real(fdit_context *ctx, struct fdit_contact *c, const char *path,
                                  const struct fdit_picture_rules *rules)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_dataset_options o = {
        .taxonomy = c->taxonomy, .size = c->size, .channels = c->channels, .rules = *rules,
        .allow_missing = true
    };
    struct fdit_dataset *data = NULL;
    uint8_t *chw = NULL;
    size_t plane = (size_t)c->size * (size_t)c->size, channels = (size_t)c->channels;
    TRY(fdit_dataset_open(ctx, path, &o, &data));
    TRY(fdit_alloc(ctx, c->picture, 1, &chw));
    for (size_t r = 0; r < c->rows; r++) {
        int32_t id = c->request->ids[r];
        size_t n = fdit_dataset_class_count(data, id), at = r * (1 + c->columns);
        if (!n)
            continue;
        TRY(fdit_dataset_decode(ctx, data, fdit_dataset_class_first(data, id) + n / 2, chw));
        for (size_t i = 0; i < c->picture; i++)
            c->pixels[at * c->picture + i] = chw[i % channels * plane + i / channels];
        c->there[at] = true;
    }
out:
    fdit_dataset_close(data);
    fdit_free(chw);
    return status;
}

enum fdit_status fdit_contact_new(fdit_context *ctx, const struct fdit_request *request,
                                  const struct fdit_taxonomy *taxonomy, int size, int channels,
                                  const char *real, const struct fdit_picture_rules *rules,
                                  struct fdit_contact **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_contact *c = NULL;
    size_t most = 0;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *c, &c));
    *c = (struct fdit_contact){ .request = request,
                                .taxonomy = taxonomy,
                                .size = size,
                                .channels = channels,
                                .lead = real ? 1 : 0 };
    c->picture = (size_t)size * (size_t)size * (size_t)channels;
    for (size_t i = 0; i < request->n_classes; i++)
        if (request->first[i + 1] - request->first[i] > most)
            most = request->first[i + 1] - request->first[i];
    c->columns = most < FDIT_CONTACT_COLUMNS ? most : FDIT_CONTACT_COLUMNS;
    size_t each = (c->lead + c->columns) * c->picture, room = most_bytes / each;
    c->rows = request->n_classes < FDIT_CONTACT_ROWS ? request->n_classes : FDIT_CONTACT_ROWS;
    c->rows = room < 1 ? 1 : room < c->rows ? room : c->rows;
    TRY(fdit_alloc(ctx, c->rows, each, &c->pixels));
    TRY(fdit_alloc(ctx, c->rows * (c->lead + c->columns), sizeof *c->there, &c->there));
    if (real)
        TRY(take_real(ctx, c, real, rules));
    *out = c;
    return FDIT_OK;
out:
    fdit_contact_free(c);
    return status;
}

void fdit_contact_free(struct fdit_contact *c)
{
    if (!c)
        return;
    fdit_free(c->pixels);
    fdit_free(c->there);
    fdit_free(c);
}

bool fdit_contact_wants(const struct fdit_contact *c, const struct fdit_request_item *item)
{
    return item->place < c->rows && (size_t)item->k < c->columns;
}

enum fdit_status fdit_contact_put(fdit_context *ctx, struct fdit_contact *c,
                                  const struct fdit_request_item *item,
                                  const struct fdit_picture *p)
{
    size_t at = item->place * (c->lead + c->columns) + c->lead + (size_t)item->k;
    size_t from = (size_t)p->channels, to = (size_t)c->channels;
    if (p->width != c->size || p->height != c->size || from < to)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                         "contact sheet: the picture of class %s with seed %" PRIu64
                         " has %d x %d pixels "
                         "instead of %d x %d; use --overwrite",
                         fdit_taxonomy_class_name(c->taxonomy, item->id), item->seed, p->width,
                         p->height, c->size, c->size);
    for (size_t i = 0; i < c->picture; i++)
        c->pixels[at * c->picture + i] = p->pixels[i / to * from + i % to];
    c->there[at] = true;
    return FDIT_OK;
}

size_t fdit_contact_rows(const struct fdit_contact *c)
{
    return c->rows;
}

/* How many bands of rows beside each other give a sheet of about 4:3. */
static size_t choose_across(const struct fdit_contact *c, int upscale)
{
    size_t cell = (size_t)(c->size * upscale) + 2, best = 1;
    size_t width = (c->lead + c->columns) * cell + LABEL_CHARS * 6 + 12;
    double least = 1e30;
    for (size_t a = 1; a <= MOST_ACROSS && a <= c->rows; a++) {
        double ratio = (double)(a * width) / (double)((c->rows + a - 1) / a * cell);
        double off = ratio > 4.0 / 3 ? ratio / (4.0 / 3) : 4.0 / 3 / ratio;
        if (off < least) {
            least = off;
            best = a;
        }
    }
    return best;
}

/* Labels of the columns: "real", then seeds. */
static enum fdit_status label_columns(fdit_context *ctx, const struct fdit_contact *c,
                                      char **labels)
{
    enum fdit_status status = FDIT_OK;
    if (c->lead)
        TRY(fdit_strdup(ctx, "real", &labels[0]));
    for (size_t k = 0; k < c->columns; k++)
        TRY(fdit_strf(ctx, &labels[c->lead + k], "seed %" PRIu64, c->request->seed + k));
out:
    return status;
}

enum fdit_status fdit_contact_write(fdit_context *ctx, const struct fdit_contact *c,
                                    const char *title, const char *path)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_grid_group groups[MOST_ACROSS];
    struct fdit_picture sheet = { 0 };
    const char *rows[FDIT_CONTACT_ROWS];
    char *columns[1 + FDIT_CONTACT_COLUMNS] = { NULL }, *whole = NULL;
    const char *column_labels[1 + FDIT_CONTACT_COLUMNS];
    const uint8_t **cells = NULL;
    size_t across_columns = c->lead + c->columns, n = 0;
    int upscale = c->size < 24 ? 3 : c->size < 64 ? 2 : 1;
    size_t across = choose_across(c, upscale), each = (c->rows + across - 1) / across;
    TRY(fdit_alloc(ctx, c->rows * across_columns, sizeof *cells, &cells));
    TRY(label_columns(ctx, c, columns));
    for (size_t i = 0; i < across_columns; i++)
        column_labels[i] = columns[i];
    for (size_t i = 0; i < c->rows * across_columns; i++)
        cells[i] = c->there[i] ? c->pixels + i * c->picture : NULL;
    for (size_t r = 0; r < c->rows; r++)
        rows[r] = fdit_taxonomy_class_name(c->taxonomy, c->request->ids[r]);
    for (size_t r = 0; r < c->rows; r += each)
        groups[n++] = (struct fdit_grid_group){ .n_rows = c->rows - r < each ? c->rows - r : each,
                                                .n_columns = across_columns,
                                                .row_labels = rows + r,
                                                .column_labels = column_labels,
                                                .cells = cells + r * across_columns };
    if (c->rows < c->request->n_classes)
        TRY(fdit_strf(ctx, &whole, "%s; the first %zu of %zu classes", title, c->rows,
                      c->request->n_classes));
    TRY(fdit_grid_draw(ctx,
                       &(struct fdit_grid){ .title = whole ? whole : title,
                                            .size = c->size,
                                            .channels = c->channels,
                                            .upscale = upscale,
                                            .label_chars = LABEL_CHARS,
                                            .across = n,
                                            .n_groups = n,
                                            .groups = groups },
                       &sheet));
    TRY(fdit_png_write(ctx, path, &sheet));
out:
    fdit_picture_fini(&sheet);
    for (size_t i = 0; i < across_columns; i++)
        fdit_free(columns[i]);
    fdit_free(whole);
    fdit_free(cells);
    return status;
}
