/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/numbers.h"

#include "core/file.h"
#include "core/mem.h"
#include "core/option_table.h"
#include "data/table_text.h"

#include <math.h>
#include <string.h>

enum { MOST_BYTES = 256 << 20 };

/* A table that is read: which of its columns goes where. */
struct table {
    struct fdit_rows rows;
    size_t class_column;
    size_t from[FDIT_NUMBERS_MOST_COLUMNS]; /* the table's column */
    int first, n;                           /* of the columns in fdit_numbers */
};

static bool is_name(const struct fdit_field *f, const char *name)
{
    return f->len == strlen(name) && !memcmp(f->s, name, f->len);
}

static enum fdit_status take_header(fdit_context *ctx, struct table *t, const char *label, size_t classes,
                                    struct fdit_numbers *out)
{
    enum fdit_status status = FDIT_OK;
    t->class_column = SIZE_MAX;
    t->first = out->n;
    if (fdit_rows_next(&t->rows))
        TRY(fdit_rows_split(ctx, &t->rows));
    for (size_t i = 0; i < t->rows.n; i++) {
        const struct fdit_field *f = &t->rows.fields[i];
        if (is_name(f, "class"))
            t->class_column = i;
        else if (f->len && !is_name(f, "step") && !is_name(f, "id") && out->n < FDIT_NUMBERS_MOST_COLUMNS) {
            TRY(fdit_strf(ctx, &out->names[out->n], "%s%s%.*s", label ? label : "", label ? ": " : "",
                          (int)f->len, f->s));
            status = fdit_alloc(ctx, classes, sizeof **out->values, &out->values[out->n]);
            if (status != FDIT_OK) {
                fdit_free(out->names[out->n]);
                goto out;
            }
            for (size_t id = 0; id < classes; id++)
                out->values[out->n][id] = NAN;
            t->from[t->n++] = i;
            out->n++;
        }
    }
    if (t->class_column == SIZE_MAX)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: no column is called class; give a table as of 'eval --by-class'",
             t->rows.what);
out:
    return status;
}

/* A field's number, NAN where it is not one. */
static double number_of(const struct fdit_field *f)
{
    char text[64];
    double value;
    if (!f->len || f->len >= sizeof text)
        return NAN;
    memcpy(text, f->s, f->len);
    text[f->len] = '\0';
    return fdit_parse_real(NULL, "", text, &value) == FDIT_OK ? value : NAN;
}

static enum fdit_status take_line(fdit_context *ctx, struct table *t, const struct fdit_taxonomy *taxonomy,
                                  struct fdit_numbers *out, size_t *known)
{
    enum fdit_status status = FDIT_OK;
    char *name = NULL;
    TRY(fdit_rows_split(ctx, &t->rows));
    if (t->class_column >= t->rows.n)
        goto out;
    const struct fdit_field *f = &t->rows.fields[t->class_column];
    TRY(fdit_strndup(ctx, f->s, f->len, &name));
    int32_t id = fdit_taxonomy_find_class(taxonomy, name);
    if (id < 0)
        goto out;
    ++*known;
    for (int i = 0; i < t->n; i++)
        if (t->from[i] < t->rows.n)
            out->values[t->first + i][id] = number_of(&t->rows.fields[t->from[i]]);
out:
    fdit_free(name);
    return status;
}

/* Columns without a number (remarks, names) go. */
static void drop_empty(struct fdit_numbers *out, int first, size_t classes)
{
    int n = first;
    for (int i = first; i < out->n; i++) {
        bool any = false;
        for (size_t id = 0; id < classes && !any; id++)
            any = !isnan(out->values[i][id]);
        if (any) {
            out->names[n] = out->names[i];
            out->values[n++] = out->values[i];
        } else {
            fdit_free(out->names[i]);
            fdit_free(out->values[i]);
        }
    }
    out->n = n;
}

enum fdit_status fdit_numbers_read(fdit_context *ctx, const char *path, const char *label,
                                   const struct fdit_taxonomy *taxonomy, struct fdit_numbers *out)
{
    enum fdit_status status = FDIT_OK;
    const size_t classes = (size_t)fdit_taxonomy_n_classes(taxonomy);
    struct table t = { .n = 0 };
    uint8_t *text = NULL;
    size_t n, known = 0;
    TRY(fdit_file_read_all(ctx, path, MOST_BYTES, &text, &n));
    TRY(fdit_rows_open(ctx, (const char *)text, n, path, "a table of classes", &t.rows));
    TRY(take_header(ctx, &t, label, classes, out));
    while (fdit_rows_next(&t.rows))
        TRY(take_line(ctx, &t, taxonomy, out, &known));
    if (!known)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: none of its classes is one of the model's; is it of another run?",
             path);
    drop_empty(out, t.first, classes);
out:
    fdit_rows_close(&t.rows);
    fdit_free(text);
    return status;
}

void fdit_numbers_fini(struct fdit_numbers *numbers)
{
    for (int i = 0; i < numbers->n; i++) {
        fdit_free(numbers->names[i]);
        fdit_free(numbers->values[i]);
    }
    numbers->n = 0;
}

double fdit_numbers_mean(const struct fdit_numbers *numbers, int column, const int32_t *classes, int32_t n)
{
    double sum = 0;
    int32_t count = 0;
    for (int32_t i = 0; i < n; i++) {
        double value = numbers->values[column][classes[i]];
        if (!isnan(value)) {
            sum += value;
            count++;
        }
    }
    return count ? sum / count : NAN;
}
