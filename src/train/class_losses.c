/* SPDX-License-Identifier: Apache-2.0 */
#include "train/class_losses.h"

#include "core/file.h"
#include "core/mem.h"
#include "core/text.h"
#include "format/text_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER "step\tclass\tpictures\tval_loss\tval_mse\tval_vb\n"
#define FILE_NAME "val-classes.tsv"

enum fdit_status fdit_class_losses_write(fdit_context *ctx, const char *run, int64_t step,
                                         const struct fdit_taxonomy *taxonomy,
                                         const struct fdit_class_loss *classes)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_writer *w = NULL;
    char *path = NULL, *line = NULL, *name = NULL;
    TRY(fdit_path_join(ctx, run, FILE_NAME, &path));
    TRY(fdit_writer_open(ctx, path, false, &w));
    TRY(fdit_writer_write(ctx, w, HEADER, strlen(HEADER)));
    for (int32_t id = 0; id < fdit_taxonomy_n_classes(taxonomy); id++) {
        const struct fdit_class_loss *c = &classes[id];
        const double n = (double)c->pictures;
        const char *raw = fdit_taxonomy_class_name(taxonomy, id);
        if (!c->pictures)
            continue;
        size_t size = fdit_text_safe(NULL, 0, raw, 0) + 1;
        fdit_free(name);
        fdit_free(line);
        name = line = NULL;
        TRY(fdit_alloc(ctx, size, 1, &name));
        fdit_text_safe(name, size, raw, 0);
        TRY(fdit_strf(ctx, &line, "%" PRId64 "\t%s\t%zu\t%.9g\t%.9g\t%.9g\n", step, name, c->pictures,
                      (c->mse + c->vb) / n, c->mse / n, c->vb / n));
        TRY(fdit_writer_write(ctx, w, line, strlen(line)));
    }
    TRY(fdit_writer_commit(ctx, &w));
out:
    fdit_writer_abort(w);
    fdit_free(path);
    fdit_free(line);
    fdit_free(name);
    return status;
}

/* ------------------------------------------------------------------ reading */

struct row {
    const char *name; /* within the file's text */
    int64_t step;
    size_t pictures;
    double loss;
    size_t place; /* in the file, for equal losses */
};

static int by_loss(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    if (x->loss != y->loss)
        return x->loss > y->loss ? -1 : 1;
    return x->place < y->place ? -1 : 1;
}

/* A line, which ends with 0; its tabs become 0. */
static bool parse_row(char *text, struct row *out)
{
    char *field[6], *end = NULL;
    for (int i = 0; i < 6; i++) {
        field[i] = text;
        text = i < 5 ? strchr(text, '\t') : NULL;
        if (i < 5 && !text)
            return false;
        if (text)
            *text++ = 0;
    }
    out->name = field[1];
    out->step = strtoll(field[0], &end, 10);
    bool good = *field[0] && !*end;
    out->pictures = strtoul(field[2], &end, 10);
    good = good && *field[2] && !*end && out->pictures > 0;
    out->loss = strtod(field[3], &end);
    return good && *field[3] && !*end;
}

static enum fdit_status take(fdit_context *ctx, const struct row *row, struct fdit_class_loss_line *out)
{
    out->loss = row->loss;
    out->pictures = row->pictures;
    return fdit_strdup(ctx, row->name, &out->name);
}

static enum fdit_status pick(fdit_context *ctx, struct row *rows, size_t n, struct fdit_class_losses *out)
{
    enum fdit_status status = FDIT_OK;
    qsort(rows, n, sizeof *rows, by_loss);
    out->step = rows[0].step;
    out->classes = n;
    out->shown = n / 2 < FDIT_CLASS_LOSSES_SHOWN ? n / 2 : FDIT_CLASS_LOSSES_SHOWN;
    for (size_t i = 0; i < out->shown || i < 1; i++)
        TRY(take(ctx, &rows[i], &out->highest[i]));
    for (size_t i = 0; i < out->shown; i++)
        TRY(take(ctx, &rows[n - 1 - i], &out->lowest[i]));
out:
    return status;
}

enum fdit_status fdit_class_losses_read(fdit_context *ctx, const char *run, struct fdit_class_losses *out)
{
    enum fdit_status status = FDIT_OK;
    char *path = NULL, *text = NULL;
    uint8_t *data = NULL;
    struct row *rows = NULL;
    size_t size, n = 0, capacity = 0;
    *out = (struct fdit_class_losses){ .classes = 0 };
    TRY(fdit_path_join(ctx, run, FILE_NAME, &path));
    if (!fdit_is_file(path))
        goto out;
    TRY(fdit_file_read_all(ctx, path, FDIT_TEXT_MOST, &data, &size));
    TRY(fdit_strndup(ctx, (const char *)data, size, &text));
    if (strncmp(text, HEADER, strlen(HEADER)))
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: does not begin with the names of the columns; remove the file",
             path);
    for (char *at = text + strlen(HEADER), *end; *at; at = end) {
        end = at + strcspn(at, "\n");
        if (*end)
            *end++ = 0;
        TRY(fdit_grow(ctx, &rows, &capacity, n + 1, sizeof *rows));
        rows[n].place = n;
        if (!parse_row(at, &rows[n++]))
            FAIL(ctx, FDIT_ERROR_FORMAT, "%s: line %zu is not of this file; remove the file", path, n + 1);
    }
    if (n)
        TRY(pick(ctx, rows, n, out));
out:
    fdit_free(path);
    fdit_free(text);
    fdit_free(data);
    fdit_free(rows);
    return status;
}

void fdit_class_losses_fini(struct fdit_class_losses *l)
{
    for (size_t i = 0; i < FDIT_CLASS_LOSSES_SHOWN; i++) {
        fdit_free(l->highest[i].name);
        fdit_free(l->lowest[i].name);
    }
}
