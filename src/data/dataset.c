/* SPDX-License-Identifier: Apache-2.0
 * Opening, decoding and splitting of data sets. The index is made in dataset_folder.c and
 * dataset_tar.c; what is told of it in dataset_report.c. */
#include "data/dataset.h"

#include "core/file.h"
#include "core/mem.h"
#include "core/rng.h"
#include "data/dataset_index.h"
#include "data/spelling.h"
#include "data/split.h"
#include "picture/picture.h"
#include "picture/fit.h"
#include "picture/resize.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ------------------------------------------------------------------ which files */

static bool is_archive_name(const char *name)
{
    return fdit_path_has_suffix(name, ".tar") || fdit_path_has_suffix(name, ".tar.gz") ||
           fdit_path_has_suffix(name, ".tgz");
}

/* The archives of a folder that holds no sub-folder; none at all is not an error. */
static enum fdit_status folder_shards(fdit_context *ctx, const char *path, struct fdit_names *out)
{
    enum fdit_status status = FDIT_OK;
    char *inner = NULL;
    size_t id;
    bool folders = false;
    DIR *dir = opendir(path);
    if (!dir)
        return fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s: cannot be read", path);
    while (!folders) {
        struct dirent *e;
        TRY(fdit_folder_next(ctx, dir, path, &e));
        if (!e)
            break;
        if (fdit_ds_hidden(e->d_name, strlen(e->d_name)))
            continue;
        TRY(fdit_path_join(ctx, path, e->d_name, &inner));
        if (is_archive_name(e->d_name) && fdit_is_file(inner))
            TRY(fdit_names_add(ctx, out, inner, strlen(inner), &id, NULL));
        else
            folders = fdit_is_folder(inner);
        fdit_free(inner);
        inner = NULL;
    }
    if (folders)
        fdit_names_fini(out);
out:
    fdit_free(inner);
    closedir(dir);
    return status;
}

/* The end of the part of s at a comma outside of braces, or of s. */
static const char *part_end(const char *s)
{
    int depth = 0;
    for (; *s && (depth || *s != ','); s++)
        depth += *s == '{' ? 1 : *s == '}' && depth ? -1 : 0;
    return s;
}

/* Braces multiply: names that come out, and the steps to them, are counted. */
enum { most_shards = 100000, most_braces = 64 };
#define LARGE_FILE ((size_t)1 << 20)

static enum fdit_status expand_part(fdit_context *ctx, const char *part, struct fdit_names *out,
                                    size_t *budget);

/* `part` with the braces at open..close (on the brackets) replaced by `by`, expanded further. */
static enum fdit_status expand_with(fdit_context *ctx, const char *part, const char *open, const char *close,
                                    const char *by, size_t by_len, struct fdit_names *out, size_t *budget)
{
    enum fdit_status status = FDIT_OK;
    char *name = NULL;
    TRY(fdit_strf(ctx, &name, "%.*s%.*s%s", (int)(open - part), part, (int)by_len, by, close + 1));
    TRY(expand_part(ctx, name, out, budget));
out:
    fdit_free(name);
    return status;
}

/* {000..041} and {a,b,c}, as a shell has them; other braces stay. */
static enum fdit_status expand_braces(fdit_context *ctx, const char *part, const char *open,
                                      const char *close, struct fdit_names *out, size_t *budget)
{
    enum fdit_status status = FDIT_OK;
    int low_end = 0, high_end = 0;
    unsigned low, high;
    if (sscanf(open, "{%9u%n..%9u%n", &low, &low_end, &high, &high_end) == 2 && open + high_end == close) {
        if (low > high || high - low >= most_shards)
            FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s: {A..B} needs A <= B and at most %d numbers", part,
                 most_shards);
        for (unsigned i = low; i <= high; i++) {
            char number[16];
            int n = snprintf(number, sizeof number, "%0*u", low_end - 1, i);
            TRY(expand_with(ctx, part, open, close, number, (size_t)n, out, budget));
        }
        return FDIT_OK;
    }
    for (const char *at = open + 1, *end; at <= close; at = end + 1) {
        const char *comma = memchr(at, ',', (size_t)(close - at));
        end = comma ? comma : close;
        TRY(expand_with(ctx, part, open, close, at, (size_t)(end - at), out, budget));
    }
out:
    return status;
}

/* One part of a list: braces, then * ? [, else a name. */
static enum fdit_status expand_part(fdit_context *ctx, const char *part, struct fdit_names *out,
                                    size_t *budget)
{
    enum fdit_status status = FDIT_OK;
    const char *open = strchr(part, '{'), *close = open ? strchr(open, '}') : NULL;
    size_t id;
    *budget -= *budget > 0;
    if (!*budget)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%.200s: the braces give more than %d names", part, most_shards);
    if (close && (memchr(open, ',', (size_t)(close - open)) || strstr(open, "..")))
        return expand_braces(ctx, part, open, close, out, budget);
    if (out->n >= most_shards || !*budget)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%s: more than %d shards", part, most_shards);
    if (!strpbrk(part, "*?[") || fdit_file_exists(part))
        return fdit_names_add(ctx, out, part, strlen(part), &id, NULL);
    glob_t found;
    int result = glob(part, GLOB_NOSORT, NULL, &found);
    if (result == GLOB_NOMATCH)
        FAIL(ctx, FDIT_ERROR_IO, "%s: no file has such a name", part);
    if (result)
        FAIL(ctx, FDIT_ERROR_IO, "%s: cannot look for files of this pattern", part);
    for (size_t i = 0; i < found.gl_pathc && status == FDIT_OK; i++)
        status = fdit_names_add(ctx, out, found.gl_pathv[i], strlen(found.gl_pathv[i]), &id, NULL);
    globfree(&found);
out:
    return status;
}

static enum fdit_status refuse_archive(fdit_context *ctx, const char *path, enum fdit_kind kind)
{
    static const char needed[] =
        "a folder with a sub-folder per class, or a .tar, .tar.gz or .tgz of one, is needed";
    if (fdit_kind_group(kind) == FDIT_KIND_IS_WEIGHTS)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                         "%s: is %s, not a data set; a checkpoint is given with --base, and as --data %s",
                         path, fdit_kind_text(kind), needed);
    if (fdit_kind_group(kind) == FDIT_KIND_IS_OTHER_ARCHIVE)
        return fdit_fail(ctx, FDIT_ERROR_FORMAT, "%s: is %s, not a data set; %s and give the folder", path,
                         fdit_kind_text(kind), fdit_kind_remedy(kind));
    return fdit_kind_refuse(ctx, path, kind, "a data set", needed);
}

/* By content, whatever the name; what is not an archive is told for what it is. */
static enum fdit_status check_archive(fdit_context *ctx, const char *path)
{
    enum fdit_status status = FDIT_OK;
    enum fdit_kind kind;
    TRY(fdit_kind_of_file(ctx, path, &kind));
    bool unclear = kind == FDIT_KIND_UNKNOWN || kind == FDIT_KIND_EMPTY || kind == FDIT_KIND_ZEROS;
    if (kind != FDIT_KIND_TAR && kind != FDIT_KIND_TAR_GZ && !(unclear && is_archive_name(path)) &&
        !(kind == FDIT_KIND_GZIP && is_archive_name(path)))
        TRY(refuse_archive(ctx, path, kind));
out:
    return status;
}

/* "a-{000..041}.tar,b-*.tar" to its names; none when it is not such a list. */
static enum fdit_status expand_list(fdit_context *ctx, const char *list, struct fdit_names *out)
{
    enum fdit_status status = FDIT_OK;
    char *part = NULL;
    size_t budget = 2 * most_shards, braces = 0;
    if (!strpbrk(list, ",{*?["))
        return FDIT_OK;
    for (const char *c = list; *c; c++)
        braces += *c == '{';
    if (braces > most_braces)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "%.200s...: %zu braces, at most %d", list, braces, most_braces);
    for (const char *at = list, *end; *at; at = *end ? end + 1 : end) {
        end = part_end(at);
        TRY(fdit_strndup(ctx, at, (size_t)(end - at), &part));
        if (*part)
            TRY(expand_part(ctx, part, out, &budget));
        fdit_free(part);
        part = NULL;
    }
    for (size_t i = 0; i < out->n; i++) {
        const char *name = fdit_names_get(out, i);
        if (!fdit_file_exists(name))
            FAIL(ctx, FDIT_ERROR_IO, "%s: no such file, but %s names it", name, list);
        TRY(check_archive(ctx, name));
    }
out:
    fdit_free(part);
    return status;
}

static enum fdit_status index_archives(fdit_context *ctx, struct fdit_dataset *ds,
                                       const struct fdit_names *shards, struct fdit_names *classes,
                                       bool *numbered)
{
    enum fdit_status status = FDIT_OK;
    uint32_t *order = NULL;
    const char **paths = NULL;
    TRY(fdit_alloc(ctx, shards->n, sizeof *order, &order));
    TRY(fdit_alloc(ctx, shards->n, sizeof *paths, &paths));
    TRY(fdit_names_sort(ctx, shards, order));
    for (size_t i = 0; i < shards->n; i++)
        paths[i] = fdit_names_get(shards, order[i]);
    TRY(fdit_ds_index_tar(ctx, ds, paths, shards->n, classes, numbered));
out:
    fdit_free(paths);
    fdit_free(order);
    return status;
}

static enum fdit_status make_index(fdit_context *ctx, struct fdit_dataset *ds, struct fdit_names *classes,
                                   bool *numbered)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_names shards = { 0 };
    size_t id;
    bool there, folder;
    TRY(fdit_file_look(ctx, ds->root, &there, &folder));
    if (folder) {
        TRY(folder_shards(ctx, ds->root, &shards));
    } else if (there) {
        TRY(check_archive(ctx, ds->root));
        TRY(fdit_names_add(ctx, &shards, ds->root, strlen(ds->root), &id, NULL));
    } else {
        TRY(expand_list(ctx, ds->root, &shards));
        if (!shards.n)
            FAIL(ctx, FDIT_ERROR_IO, "%s: no such file or folder", ds->root);
    }
    if (shards.n)
        TRY(index_archives(ctx, ds, &shards, classes, numbered));
    else
        TRY(fdit_ds_index_folder(ctx, ds, classes));
    if (!ds->n && !ds->problems.n)
        TRY(fdit_ds_no_picture(ctx, ds));
out:
    fdit_names_fini(&shards);
    return status;
}

/* ------------------------------------------------------------------ labels and order */

static enum fdit_status decode_parts(fdit_context *ctx, const char *path, char **out)
{
    enum fdit_status status = FDIT_OK;
    char *part = NULL, *clear = NULL, *whole = NULL, *longer = NULL;
    for (const char *at = path; at; at = strchr(at, '/') ? strchr(at, '/') + 1 : NULL) {
        TRY(fdit_strndup(ctx, at, strcspn(at, "/"), &part));
        TRY(fdit_path_decode(ctx, part, &clear));
        TRY(fdit_strf(ctx, &longer, "%s%s%s", whole ? whole : "", whole ? "/" : "", clear));
        fdit_free(whole);
        fdit_free(part);
        fdit_free(clear);
        whole = longer;
        part = clear = longer = NULL;
    }
    *out = whole;
    whole = NULL;
out:
    fdit_free(part);
    fdit_free(clear);
    fdit_free(whole);
    return status;
}

/* Whether each part of the path has a name. */
static bool is_whole_path(const char *path)
{
    size_t n = strlen(path);
    return n && path[0] != '/' && path[n - 1] != '/' && !strstr(path, "//");
}

/* Folders that `sample` wrote carry class names as fdit_path_encode makes them: "Elfus%2Fscout".
 * They are decoded where no class of the taxonomy has the encoded name; a folder "%2F" of somebody else is
 * called so. */
static enum fdit_status decode_names(fdit_context *ctx, const struct fdit_dataset *ds,
                                     struct fdit_names *classes)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_names decoded = { 0 };
    char *name = NULL;
    size_t id;
    bool added, any = false;
    for (size_t c = 0; c < classes->n; c++)
        any = any || strchr(fdit_names_get(classes, c), '%');
    if (!any)
        return FDIT_OK;
    for (size_t c = 0; c < classes->n; c++) {
        const char *raw = fdit_names_get(classes, c);
        if (ds->taxonomy && fdit_taxonomy_find_class(ds->taxonomy, raw) >= 0)
            TRY(fdit_strdup(ctx, raw, &name));
        else
            TRY(decode_parts(ctx, raw, &name));
        if (!is_whole_path(name) && !(ds->taxonomy && fdit_taxonomy_find_class(ds->taxonomy, name) >= 0)) {
            fdit_free(name);
            TRY(fdit_strdup(ctx, raw, &name));
        }
        TRY(fdit_names_add(ctx, &decoded, name, strlen(name), &id, &added));
        if (!added)
            FAIL(ctx, FDIT_ERROR_FORMAT,
                 "%s: two folders are the class \"%.200s\", one of them as \"%.200s\"", ds->root, name, raw);
        fdit_free(name);
        name = NULL;
    }
    fdit_names_fini(classes);
    *classes = decoded;
    decoded = (struct fdit_names){ 0 };
out:
    fdit_free(name);
    fdit_names_fini(&decoded);
    return status;
}

static size_t depth_of(const char *path)
{
    size_t n = 1;
    for (; *path; path++)
        n += *path == '/';
    return n;
}

/* Class folders that lie higher or deeper than most: groups at each level need equal depths. */
static enum fdit_status check_depths(fdit_context *ctx, struct fdit_dataset *ds,
                                     const struct fdit_names *classes, bool *uneven)
{
    enum fdit_status status = FDIT_OK;
    enum { deepest = 101 };
    size_t counts[deepest] = { 0 }, usual = 1;
    struct fdit_name_list higher = { 0 }, deeper = { 0 };
    const char *example = "";
    for (size_t c = 0; c < classes->n; c++) {
        size_t depth = depth_of(fdit_names_get(classes, c));
        counts[depth < deepest ? depth : deepest - 1]++;
    }
    for (size_t d = 1; d < deepest; d++)
        usual = counts[d] >= counts[usual] ? d : usual;
    for (size_t c = 0; c < classes->n; c++) {
        const char *name = fdit_names_get(classes, c);
        size_t depth = depth_of(name);
        if (depth == usual)
            example = name;
        else
            fdit_name_list_add(depth < usual ? &higher : &deeper, name, NULL);
    }
    *uneven = higher.n + deeper.n > 0;
    if (*uneven && !ds->mixed)
        TRY(fdit_ds_problem(
            ctx, ds,
            "%s: class folders at different depths: most lie as \"%.100s\", but %s%s%s%s%s%s; move "
            "%s, or give --ranks none to do without groups",
            ds->root, example, higher.n ? fdit_name_list_text(&higher) : "",
            higher.n > 1 ? " lie higher"
            : higher.n   ? " lies higher"
                         : "",
            higher.n && deeper.n ? ", and " : "", deeper.n ? fdit_name_list_text(&deeper) : "",
            deeper.n > 1 ? " lie deeper"
            : deeper.n   ? " lies deeper"
                         : "",
            "", higher.n ? "such into a group folder" : "such a level up"));
out:
    return status;
}

static enum fdit_status taxonomy_from(fdit_context *ctx, struct fdit_dataset *ds,
                                      const struct fdit_names *classes, bool numbered, const char *ranks)
{
    enum fdit_status status = FDIT_OK;
    uint32_t *order = NULL;
    const char **paths = NULL;
    bool uneven = false;
    if (numbered) {
        int32_t most = 0;
        for (size_t i = 0; i < ds->n; i++)
            most = ds->items[i].label > most ? ds->items[i].label : most;
        if (most > 200000 && (size_t)most / 64 > ds->n) /* a table row for each: one wrong number is costly */
            FAIL(ctx, FDIT_ERROR_FORMAT,
                 "class id %d, with %zu picture%s in all; ids count from 0, so that would be %d "
                 "classes; correct the "
                 ".cls, or give a --taxonomy",
                 most, ds->n, ds->n == 1 ? "" : "s", most + 1);
        TRY(fdit_taxonomy_from_count(ctx, (size_t)most + 1, &ds->made));
    } else {
        TRY(fdit_alloc(ctx, classes->n, sizeof *order, &order));
        TRY(fdit_alloc(ctx, classes->n, sizeof *paths, &paths));
        TRY(fdit_names_sort(ctx, classes, order));
        for (size_t i = 0; i < classes->n; i++)
            paths[i] = fdit_names_get(classes, order[i]);
        if (!ranks)
            TRY(check_depths(ctx, ds, classes, &uneven));
        TRY(fdit_taxonomy_from_folders(ctx, paths, classes->n, uneven ? "none" : ranks, &ds->made));
    }
    ds->taxonomy = ds->made;
out:
    if (status != FDIT_OK && status != FDIT_ERROR_MEMORY)
        fdit_fail_prefix(ctx, status, ds->root);
    fdit_free(paths);
    fdit_free(order);
    return status;
}

/* Takes out pictures of no class, which a survey has. */
static void drop_items(struct fdit_dataset *ds)
{
    size_t kept = 0;
    for (size_t i = 0; i < ds->n; i++)
        if (ds->items[i].label >= 0)
            ds->items[kept++] = ds->items[i];
    ds->n = kept;
}

/* Numbers of `classes` become class ids of the taxonomy. */
static enum fdit_status map_labels(fdit_context *ctx, struct fdit_dataset *ds,
                                   const struct fdit_names *classes)
{
    enum fdit_status status = FDIT_OK;
    int32_t *ids = NULL;
    size_t *owner = NULL; /* by class id: 1 + the folder that has it */
    struct fdit_name_list unknown = { 0 };
    size_t n = (size_t)fdit_taxonomy_n_classes(ds->taxonomy);
    TRY(fdit_alloc(ctx, classes->n, sizeof *ids, &ids));
    TRY(fdit_alloc(ctx, n, sizeof *owner, &owner));
    for (size_t c = 0; c < classes->n; c++) {
        ids[c] = fdit_taxonomy_find_class(ds->taxonomy, fdit_names_get(classes, c));
        if (ids[c] < 0) {
            fdit_name_list_add(&unknown, fdit_names_get(classes, c), NULL);
            continue;
        }
        if (owner[ids[c]])
            TRY(fdit_ds_problem(ctx, ds, "%s: the folders \"%.200s\" and \"%.200s\" are the same class",
                                ds->root, fdit_names_get(classes, owner[ids[c]] - 1),
                                fdit_names_get(classes, c)));
        owner[ids[c]] = c + 1;
    }
    if (unknown.n && !ds->problems.n)
        TRY(fdit_ds_refuse_taxonomy(ctx, ds, classes, unknown.n == classes->n));
    if (unknown.n && unknown.n == classes->n)
        TRY(fdit_ds_problem(ctx, ds,
                            "%s: none of its %zu class folders (%s) is in the taxonomy, whose first class is "
                            "\"%.200s\" of %zu; give the taxonomy of these data",
                            ds->root, unknown.n, fdit_name_list_text(&unknown),
                            fdit_taxonomy_class_name(ds->taxonomy, 0), n));
    else if (unknown.n)
        TRY(fdit_ds_problem(
            ctx, ds, "%s: %zu class folder%s not in the taxonomy: %s; add %s to it, or remove %s", ds->root,
            unknown.n, unknown.n > 1 ? "s are" : " is", fdit_name_list_text(&unknown),
            unknown.n > 1 ? "them" : "it", unknown.n > 1 ? "the folders" : "the folder"));
    for (size_t i = 0; i < ds->n; i++)
        ds->items[i].label = ids[ds->items[i].label];
    drop_items(ds);
out:
    fdit_free(owner);
    fdit_free(ids);
    return status;
}

static enum fdit_status check_ids(fdit_context *ctx, struct fdit_dataset *ds)
{
    enum fdit_status status = FDIT_OK;
    int32_t n = fdit_taxonomy_n_classes(ds->taxonomy);
    char *name = NULL;
    bool told = false;
    for (size_t i = 0; i < ds->n; i++) {
        if (ds->items[i].label < n)
            continue;
        if (!told) {
            TRY(fdit_dataset_name(ctx, ds, i, &name));
            TRY(fdit_ds_problem(ctx, ds, "%s: class id %d, but the taxonomy has %d classes", name,
                                ds->items[i].label, n));
        }
        told = true;
        ds->items[i].label = -1;
    }
    drop_items(ds);
out:
    fdit_free(name);
    return status;
}

/* qsort gives its comparison the items alone: while it runs, `name` is the address of the name. */
static const char *name_at(const struct fdit_ds_item *item)
{
    return (const char *)(uintptr_t)item->name;
}

static int compare_items(const void *x, const void *y)
{
    const struct fdit_ds_item *a = x, *b = y;
    if (a->label != b->label)
        return a->label < b->label ? -1 : 1;
    if (a->place != b->place)
        return a->place < b->place ? -1 : 1;
    int names = strcmp(name_at(a), name_at(b));
    return names ? names : (a->offset > b->offset) - (a->offset < b->offset);
}

/* Items by class, place, name. Of members of the same name in one archive the last stays, as when
 * it is unpacked. Names stay where they are: a million of them need not be copied. */
static void sort_items(struct fdit_dataset *ds)
{
    size_t n = 0;
    for (size_t i = 0; i < ds->n; i++)
        ds->items[i].name = (uintptr_t)(ds->names + ds->items[i].name);
    if (ds->n)
        qsort(ds->items, ds->n, sizeof *ds->items, compare_items);
    for (size_t i = 0; i < ds->n; i++) {
        const struct fdit_ds_item *item = &ds->items[i], *after = i + 1 < ds->n ? item + 1 : NULL;
        if (after && ds->archives && after->label == item->label && after->place == item->place &&
            !strcmp(name_at(after), name_at(item)))
            continue;
        ds->items[n++] = *item;
    }
    ds->n = n;
    for (size_t i = 0; i < n; i++)
        ds->items[i].name -= (uintptr_t)ds->names;
}

static enum fdit_status count_classes(fdit_context *ctx, struct fdit_dataset *ds, bool numbered)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_name_list missing = { 0 };
    const struct fdit_taxonomy *known = ds->options.known;
    size_t n = (size_t)fdit_taxonomy_n_classes(ds->taxonomy);
    TRY(fdit_alloc(ctx, n + 1, sizeof *ds->first, &ds->first));
    for (size_t i = 0; i < ds->n; i++)
        ds->first[ds->items[i].label + 1]++;
    for (size_t c = 0; c < n; c++) {
        const char *name = fdit_taxonomy_class_name(ds->taxonomy, (int32_t)c);
        bool none = !ds->first[c + 1];
        ds->missing += none;
        if (none && (!known || fdit_taxonomy_find_class(known, name) < 0))
            fdit_name_list_add(&missing, name, NULL);
        ds->first[c + 1] += ds->first[c];
    }
    if (missing.n && !ds->options.allow_missing && !(numbered && ds->made))
        TRY(fdit_ds_problem(
            ctx, ds,
            "%s: %zu of %zu classes of the taxonomy have no picture: %s; add pictures, or take the "
            "classes out of the taxonomy",
            ds->root, missing.n, n, fdit_name_list_text(&missing)));
    else if (missing.n)
        TRY(fdit_ds_note(ctx, ds, "%s: %zu of %zu classes have no picture: %s", ds->root, missing.n, n,
                         fdit_name_list_text(&missing)));
    TRY(fdit_ds_note_left_out(ctx, ds));
out:
    return status;
}

/* ------------------------------------------------------------------ public */

const char *fdit_ds_folder(const struct fdit_dataset *ds, size_t place)
{
    const char *text = fdit_names_get(&ds->places, place);
    return ds->archives ? strchr(text, ':') + 1 : text;
}

enum fdit_status fdit_dataset_open(fdit_context *ctx, const char *path,
                                   const struct fdit_dataset_options *options, struct fdit_dataset **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_dataset *ds = NULL;
    struct fdit_names classes = { 0 };
    bool numbered = false;
    *out = NULL;
    if (options->size < 1 || options->size > 16384)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "pictures of %d x %d: the size must be 1 .. 16384", options->size,
             options->size);
    if (options->channels != 1 && options->channels != 3)
        FAIL(ctx, FDIT_ERROR_ARGUMENT, "pictures with %d channels: 1 (grey) or 3 (RGB)", options->channels);
    TRY(fdit_alloc(ctx, 1, sizeof *ds, &ds));
    ds->options = *options;
    ds->options.ranks = NULL; /* the caller's text, which need not outlive this call */
    ds->spool = -1;
    ds->taxonomy = options->taxonomy;
    TRY(fdit_strdup(ctx, path, &ds->root));
    TRY(fdit_room_new(ctx, &ds->room));
    TRY(make_index(ctx, ds, &classes, &numbered));
    if (!ds->n) {
        TRY(fdit_ds_note_left_out(ctx, ds));
        if (!options->survey)
            TRY(fdit_ds_fail(ctx, ds));
        ds->taxonomy = NULL;
        *out = ds;
        return FDIT_OK;
    }
    if (numbered)
        TRY(fdit_ds_name_ids(ctx, ds, options->ranks, &classes, &numbered));
    else
        TRY(decode_names(ctx, ds, &classes));
    if (!ds->taxonomy)
        TRY(taxonomy_from(ctx, ds, &classes, numbered, options->ranks));
    if (numbered)
        TRY(check_ids(ctx, ds));
    else
        TRY(map_labels(ctx, ds, &classes));
    sort_items(ds);
    TRY(count_classes(ctx, ds, numbered));
    if (ds->problems.n && !options->survey)
        TRY(fdit_ds_fail(ctx, ds));
    *out = ds;
    ds = NULL;
out:
    fdit_names_fini(&classes);
    fdit_dataset_close(ds);
    return status;
}

void fdit_dataset_close(struct fdit_dataset *ds)
{
    if (!ds)
        return;
    if (ds->spool >= 0)
        close(ds->spool);
    fdit_room_free(ds->room);
    fdit_taxonomy_free(ds->made);
    fdit_taxonomy_free(ds->named);
    fdit_taxonomy_free(ds->draft);
    fdit_free(ds->named_text);
    fdit_names_fini(&ds->named_ids);
    fdit_names_fini(&ds->left_out);
    fdit_ds_texts_fini(&ds->problems);
    fdit_ds_texts_fini(&ds->notes);
    fdit_names_fini(&ds->places);
    fdit_names_fini(&ds->shards);
    fdit_free(ds->place_shard);
    fdit_free(ds->packed);
    fdit_free(ds->names);
    fdit_free(ds->items);
    fdit_free(ds->first);
    fdit_free(ds->root);
    fdit_free(ds);
}

struct fdit_dataset_info fdit_dataset_info(const struct fdit_dataset *ds)
{
    size_t classes = ds->taxonomy ? (size_t)fdit_taxonomy_n_classes(ds->taxonomy) : 0;
    return (struct fdit_dataset_info){
        .kind = ds->kind,
        .n = ds->n,
        .size = ds->options.size,
        .channels = ds->options.channels,
        .fit = ds->options.fit,
        .flip = ds->options.flip,
        .missing = ds->missing,
        .ignored = ds->ignored,
        .links = ds->links,
        .special = ds->special,
        .memory_bytes = ds->items_capacity * sizeof *ds->items + ds->names_capacity +
                        (classes + 1) * sizeof *ds->first + fdit_names_memory(&ds->places) +
                        fdit_names_memory(&ds->shards) + ds->place_capacity * sizeof *ds->place_shard,
    };
}

size_t fdit_dataset_size(const struct fdit_dataset *ds)
{
    return ds->n;
}

const struct fdit_taxonomy *fdit_dataset_taxonomy(const struct fdit_dataset *ds)
{
    return ds->taxonomy;
}

int32_t fdit_dataset_label(const struct fdit_dataset *ds, size_t i)
{
    return ds->items[i].label;
}

size_t fdit_dataset_class_first(const struct fdit_dataset *ds, int32_t id)
{
    return ds->first[id];
}

size_t fdit_dataset_class_count(const struct fdit_dataset *ds, int32_t id)
{
    return ds->first[id + 1] - ds->first[id];
}

enum fdit_status fdit_dataset_name(fdit_context *ctx, const struct fdit_dataset *ds, size_t i, char **out)
{
    const struct fdit_ds_item *item = &ds->items[i];
    const char *name = ds->names + item->name, *folder = fdit_ds_folder(ds, item->place);
    size_t root = strlen(ds->root);
    if (ds->archives)
        return fdit_strf(ctx, out, "%s:%s%s%s", fdit_names_get(&ds->shards, ds->place_shard[item->place]),
                         folder, *folder ? "/" : "", name);
    return fdit_strf(ctx, out, "%s%s%s%s%s", ds->root, root && ds->root[root - 1] == '/' ? "" : "/", folder,
                     *folder ? "/" : "", name);
}

enum fdit_status fdit_ds_unreadable(fdit_context *ctx, const struct fdit_dataset *ds, const char *name,
                                    int errnum)
{
    if (fdit_is_shortage(errnum))
        return fdit_fail_errno(ctx, FDIT_ERROR_IO, errnum, "%s: cannot be read", name);
    if (!ds->archives && !fdit_file_exists(ds->root))
        return fdit_fail(ctx, FDIT_ERROR_IO, "%s: no longer exists; put it back", ds->root);
    if (!ds->archives && !fdit_file_exists(name) && (errnum == ENOENT || errnum == ENOTDIR))
        return fdit_fail(ctx, FDIT_ERROR_FORMAT,
                         "%s: no longer exists; put it back, or begin a new run with the data as it is now",
                         name);
    return fdit_fail_errno(ctx, FDIT_ERROR_FORMAT, errnum, "%s: cannot be read", name);
}

/* The content of a member, from the archive or the spool. */
static enum fdit_status read_member(fdit_context *ctx, const struct fdit_dataset *ds, size_t i,
                                    const char *name, uint8_t **bytes, size_t *n)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_ds_item *item = &ds->items[i];
    uint32_t shard = ds->place_shard[item->place];
    bool packed = ds->packed[shard];
    int fd = ds->spool;
    size_t done = 0;
    if (item->size > FDIT_DS_LARGEST)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: more than the %d bytes that a picture may have", name,
             FDIT_DS_LARGEST);
    if (!packed)
        fd = open(fdit_names_get(&ds->shards, shard), O_RDONLY | O_CLOEXEC);
    if (fd < 0) /* none of the archive's can be read then */
        TRY(fdit_fail_errno(ctx, FDIT_ERROR_IO, errno, "%s", name));
    *n = item->size;
    TRY(fdit_alloc(ctx, *n, 1, bytes));
    while (done < *n) {
        ssize_t got = pread(fd, *bytes + done, *n - done, (off_t)(item->offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            TRY(fdit_ds_unreadable(ctx, ds, name, errno));
        if (!got)
            FAIL(ctx, FDIT_ERROR_IO, "%s: the archive became shorter", name);
        done += (size_t)got;
    }
out:
    if (!packed && fd >= 0)
        close(fd);
    return status;
}

static enum fdit_status read_item(fdit_context *ctx, const struct fdit_dataset *ds, size_t i,
                                  const char *name, uint8_t **bytes, size_t *n)
{
    *bytes = NULL;
    *n = 0;
    enum fdit_status status = ds->archives ? read_member(ctx, ds, i, name, bytes, n)
                                           : fdit_file_read_all(ctx, name, FDIT_DS_LARGEST, bytes, n);
    const int errnum = errno;
    if (status == FDIT_OK)
        return FDIT_OK;
    fdit_free(*bytes);
    *bytes = NULL;
    return !ds->archives && status == FDIT_ERROR_IO ? fdit_ds_unreadable(ctx, ds, name, errnum) : status;
}

enum fdit_status fdit_dataset_read(fdit_context *ctx, const struct fdit_dataset *ds, size_t i,
                                   uint8_t **bytes, size_t *n)
{
    char *name = NULL;
    *bytes = NULL;
    enum fdit_status status = fdit_dataset_name(ctx, ds, i, &name);
    if (status == FDIT_OK)
        status = read_item(ctx, ds, i, name, bytes, n);
    fdit_free(name);
    return status;
}

/* What decoding will take; a header that makes no sense takes nothing. */
static size_t bytes_to_decode(fdit_context *ctx, const struct fdit_dataset *ds, const uint8_t *bytes,
                              size_t n, const char *name)
{
    struct fdit_picture_bytes from = fdit_picture_memory(bytes, n);
    struct fdit_picture_probe p;
    if (fdit_picture_probe(ctx, &from, name, &p) != FDIT_OK)
        return 1;
    return fdit_ds_bytes_of(ds, &p);
}

/* What read_in_room took. Where room is scarce, the system gets the memory back before another thread takes
 * it: each keeps what it freed otherwise. */
static void leave_room(const struct fdit_dataset *ds, uint8_t *bytes, size_t n, size_t taken)
{
    fdit_free(bytes);
    if (ds->tight && n >= LARGE_FILE)
        fdit_mem_trim();
    if (taken)
        fdit_room_give(ds->room, taken);
}

/* The bytes of picture i, and room for them and for decoding; *taken is given back in any case. */
static enum fdit_status read_in_room(fdit_context *ctx, const struct fdit_dataset *ds, size_t i,
                                     const char *name, uint8_t **bytes, size_t *n, size_t *taken)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_picture_probe p;
    if (ds->tight) {
        *taken = fdit_dataset_probe(ctx, ds, i, &p) == FDIT_OK ? fdit_ds_bytes_of(ds, &p) : 1;
        fdit_room_take(ds->room, *taken);
    }
    TRY(read_item(ctx, ds, i, name, bytes, n));
    if (!ds->tight) {
        *taken = bytes_to_decode(ctx, ds, *bytes, *n, name);
        fdit_room_take(ds->room, *taken);
    }
out:
    return status;
}

enum fdit_status fdit_dataset_decode(fdit_context *ctx, const struct fdit_dataset *ds, size_t i, uint8_t *chw)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_picture square = { 0 };
    uint8_t *bytes = NULL;
    char *name = NULL;
    size_t n = 0, taken = 0;
    int size = ds->options.size, channels = ds->options.channels;
    TRY(fdit_dataset_name(ctx, ds, i, &name));
    TRY(read_in_room(ctx, ds, i, name, &bytes, &n, &taken));
    TRY(fdit_picture_fit(ctx, bytes, n, name, &ds->options.rules, ds->options.fit == FDIT_FIT_PAD, size,
                         &square));
    if (channels == 1)
        fdit_picture_grey(&square);
    size_t plane = (size_t)size * (size_t)size, step = (size_t)square.channels;
    for (int c = 0; c < channels; c++)
        for (size_t p = 0; p < plane; p++)
            chw[(size_t)c * plane + p] = square.pixels[p * step + (size_t)c];
out:
    fdit_picture_fini(&square);
    leave_room(ds, bytes, n, taken);
    fdit_free(name);
    return status;
}

enum fdit_status fdit_dataset_picture(fdit_context *ctx, const struct fdit_dataset *ds, size_t i,
                                      fdit_dataset_use_fn use, void *user)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_picture picture = { 0 };
    uint8_t *bytes = NULL;
    char *name = NULL;
    size_t n = 0, taken = 0;
    TRY(fdit_dataset_name(ctx, ds, i, &name));
    TRY(read_in_room(ctx, ds, i, name, &bytes, &n, &taken));
    TRY(fdit_picture_decode_as(ctx, bytes, n, name, &ds->options.rules, &picture));
    TRY(use(ctx, user, &picture));
out:
    fdit_picture_fini(&picture);
    leave_room(ds, bytes, n, taken);
    fdit_free(name);
    return status;
}

enum fdit_status fdit_dataset_split(fdit_context *ctx, const struct fdit_dataset *ds, double fraction,
                                    uint64_t seed, uint32_t **train, size_t *n_train, uint32_t **validation,
                                    size_t *n_validation)
{
    return fdit_split(ctx, ds->root, ds->first, (size_t)fdit_taxonomy_n_classes(ds->taxonomy), fraction, seed,
                      train, n_train, validation, n_validation);
}
