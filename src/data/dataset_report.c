/* SPDX-License-Identifier: Apache-2.0
 * What is found when a data set is read: problems, notes, files that are left out. */
#include "core/file.h"
#include "core/mem.h"
#include "data/dataset_index.h"
#include "data/spelling.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static enum fdit_status keep_text(fdit_context *ctx, struct fdit_ds_texts *texts, const char *format,
                                  va_list args)
{
    enum fdit_status status = FDIT_OK;
    char line[2048];
    vsnprintf(line, sizeof line, format, args);
    TRY(fdit_grow(ctx, &texts->list, &texts->capacity, texts->n + 1, sizeof *texts->list));
    TRY(fdit_strdup(ctx, line, &texts->list[texts->n]));
    texts->n++;
out:
    return status;
}

enum fdit_status fdit_ds_problem(fdit_context *ctx, struct fdit_dataset *ds, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    enum fdit_status status = keep_text(ctx, &ds->problems, format, args);
    va_end(args);
    return status;
}

enum fdit_status fdit_ds_note(fdit_context *ctx, struct fdit_dataset *ds, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    enum fdit_status status = keep_text(ctx, &ds->notes, format, args);
    va_end(args);
    if (status == FDIT_OK)
        fdit_log(ctx, FDIT_LOG_WARNING, "%s", ds->notes.list[ds->notes.n - 1]);
    return status;
}

enum fdit_status fdit_ds_ignore(fdit_context *ctx, struct fdit_dataset *ds, const char *folder,
                                const char *name, enum fdit_kind kind)
{
    enum fdit_status status = FDIT_OK;
    char *whole = NULL;
    size_t id;
    ds->ignored++;
    ds->kinds[kind]++;
    fdit_name_list_add(&ds->ignored_names, name, NULL);
    if (!ds->options.survey)
        return FDIT_OK;
    TRY(fdit_path_join(ctx, folder, name, &whole));
    TRY(fdit_names_add(ctx, &ds->left_out, whole, strlen(whole), &id, NULL));
out:
    fdit_free(whole);
    return status;
}

const char *fdit_ds_kinds_text(const size_t *kinds, enum fdit_kind_group group, char *text, size_t size)
{
    size_t used = 0;
    text[0] = 0;
    for (int k = 0; k < FDIT_KIND_COUNT; k++) {
        if (!kinds[k] || (group != FDIT_KIND_IS_OTHER && fdit_kind_group((enum fdit_kind)k) != group))
            continue;
        int n = snprintf(text + used, size - used, "%s%zu %s", used ? ", " : "", kinds[k],
                         fdit_kind_word((enum fdit_kind)k));
        if (n < 0 || (size_t)n >= size - used) {
            text[used] = 0;
            break;
        }
        used += (size_t)n;
    }
    return text;
}

enum fdit_status fdit_ds_fail(fdit_context *ctx, const struct fdit_dataset *ds)
{
    size_t more = ds->problems.n - 1;
    if (!more)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s", ds->problems.list[0]);
    return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s (and %zu more problem%s: finediffusion inspect lists them)",
                     ds->problems.list[0], more, more > 1 ? "s" : "");
}

void fdit_ds_texts_fini(struct fdit_ds_texts *texts)
{
    for (size_t i = 0; i < texts->n; i++)
        fdit_free(texts->list[i]);
    fdit_free(texts->list);
}

enum fdit_status fdit_ds_note_left_out(fdit_context *ctx, struct fdit_dataset *ds)
{
    enum fdit_status status = FDIT_OK;
    char text[300], unread[200];
    fdit_ds_kinds_text(ds->kinds, FDIT_KIND_IS_OTHER, text, sizeof text);
    fdit_ds_kinds_text(ds->kinds, FDIT_KIND_IS_OTHER_PICTURE, unread, sizeof unread);
    if (ds->ignored)
        TRY(fdit_ds_note(ctx, ds, "%s: %zu file%s of a class and left out (%s): %s%s%s%s", ds->root,
                         ds->ignored, ds->ignored > 1 ? "s are not pictures" : " is not a picture", text,
                         fdit_name_list_text(&ds->ignored_names), *unread ? "; " : "", unread,
                         *unread ? " cannot be read; convert them to PNG or JPEG" : ""));
    if (ds->links)
        TRY(fdit_ds_note(ctx, ds,
                         "%s: %zu link%s left out; tar packs what links lead to with --dereference "
                         "--hard-dereference",
                         ds->root, ds->links, ds->links > 1 ? "s are" : " is"));
    if (ds->special)
        TRY(fdit_ds_note(ctx, ds, "%s: %zu member%s left out", ds->root, ds->special,
                         ds->special > 1 ? "s that are pipes or devices are"
                                         : " that is a pipe or device is"));
out:
    return status;
}

bool fdit_ds_has_weights(const struct fdit_dataset *ds)
{
    for (int k = 0; k < FDIT_KIND_COUNT; k++)
        if (ds->kinds[k] && fdit_kind_group((enum fdit_kind)k) == FDIT_KIND_IS_WEIGHTS)
            return true;
    return false;
}

enum fdit_status fdit_ds_no_picture(fdit_context *ctx, struct fdit_dataset *ds)
{
    char text[200];
    fdit_ds_kinds_text(ds->kinds, FDIT_KIND_IS_OTHER, text, sizeof text);
    return fdit_ds_problem(
        ctx, ds,
        "%s: no picture in it%s%s%s; a folder with a sub-folder of PNG, JPEG or WebP files per "
        "class is needed%s",
        ds->root, *text ? " (but " : "", text, *text ? ")" : "",
        fdit_ds_has_weights(ds) ? "; a checkpoint is given with --base" : "");
}

/* ------------------------------------------------------------------ taxonomies of other data */

/* The first line, taken as names of columns, is a class that is here. */
static enum fdit_status is_header(fdit_context *ctx, const struct fdit_dataset *ds,
                                  const struct fdit_names *classes)
{
    enum fdit_status status = FDIT_OK;
    const char *header = fdit_taxonomy_header(ds->taxonomy);
    char text[FDIT_SPELLING_BYTES], other[FDIT_SPELLING_BYTES];
    size_t n = header ? fdit_spelling(header, strlen(header), text) : 0;
    for (size_t c = 0; n && c < classes->n; c++) {
        const char *name = fdit_names_get(classes, c);
        if (fdit_spelling(name, fdit_names_length(classes, c), other) != n || memcmp(text, other, n))
            continue;
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: the first line of the taxonomy names its columns, but here it is the class "
             "\"%.200s\"; put a "
             "line such as \"class<TAB>genus\" before it",
             ds->root, name);
    }
out:
    return status;
}

/* The class folders are the groups of a rank: the columns are in the wrong order, or the folders coarser. */
static enum fdit_status is_reversed(fdit_context *ctx, const struct fdit_dataset *ds,
                                    const struct fdit_names *classes)
{
    enum fdit_status status = FDIT_OK;
    for (int32_t r = 0; classes->n && r < ds->taxonomy->n_ranks; r++) {
        const struct fdit_tax_rank *rank = &ds->taxonomy->ranks[r];
        const char *least = fdit_names_get(classes, 0); /* they come in the order of the folder */
        bool all = true;
        for (size_t c = 0; c < classes->n && all; c++) {
            const char *name = fdit_names_get(classes, c);
            all = fdit_names_find(&rank->groups, name, strlen(name)) != FDIT_NAMES_NONE;
            least = strcmp(name, least) < 0 ? name : least;
        }
        if (!all)
            continue;
        FAIL(ctx, FDIT_ERROR_FORMAT,
             "%s: its class folders (\"%.200s\") are in the column \"%.80s\" of the taxonomy, and none in "
             "the first column, which has the classes (\"%.200s\"); put the columns in the order of class, "
             "then groups, or sort the pictures into folders by class",
             ds->root, least, rank->name, fdit_taxonomy_class_name(ds->taxonomy, 0));
    }
out:
    return status;
}

enum fdit_status fdit_ds_refuse_taxonomy(fdit_context *ctx, const struct fdit_dataset *ds,
                                         const struct fdit_names *classes, bool none)
{
    enum fdit_status status = FDIT_OK;
    TRY(is_header(ctx, ds, classes));
    if (none)
        TRY(is_reversed(ctx, ds, classes));
out:
    return status;
}

/* ------------------------------------------------------------------ public */

size_t fdit_dataset_problems(const struct fdit_dataset *ds)
{
    return ds->problems.n;
}

const char *fdit_dataset_problem(const struct fdit_dataset *ds, size_t i)
{
    return ds->problems.list[i];
}

size_t fdit_dataset_notes(const struct fdit_dataset *ds)
{
    return ds->notes.n;
}

const char *fdit_dataset_note(const struct fdit_dataset *ds, size_t i)
{
    return ds->notes.list[i];
}

size_t fdit_dataset_left_out_kind(const struct fdit_dataset *ds, int kind)
{
    return ds->kinds[kind];
}

size_t fdit_dataset_left_out(const struct fdit_dataset *ds)
{
    return ds->left_out.n;
}

const char *fdit_dataset_left_out_name(const struct fdit_dataset *ds, size_t i)
{
    return fdit_names_get(&ds->left_out, i);
}
