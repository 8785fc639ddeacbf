/* SPDX-License-Identifier: Apache-2.0 */
#include "sample/new_classes.h"

#include "core/mem.h"
#include "data/class_vectors.h"
#include "sample/guide.h"

#include <string.h>

static const char map_name[] = "y_embedder.class_map.weight";

/* ------------------------------------------------------------------ their names and groups */

/* The classes of a taxonomy file that have a vector, in the order of the vectors. */
static enum fdit_status pick(fdit_context *ctx, const char *path, const char *ranks,
                             const struct fdit_class_vectors *v, struct fdit_taxonomy **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_taxonomy *file = NULL;
    int32_t *ids = NULL;
    TRY(fdit_taxonomy_load(ctx, path, ranks, &file));
    TRY(fdit_alloc(ctx, v->names.n, sizeof *ids, &ids));
    for (size_t i = 0; i < v->names.n; i++) {
        ids[i] = fdit_taxonomy_find_class(file, fdit_names_get(&v->names, i));
        if (ids[i] < 0)
            FAIL(ctx, FDIT_ERROR_ARGUMENT,
                 "--class-vector %s: the class \"%s\" is not in --taxonomy %s; add it", v->path,
                 fdit_names_get(&v->names, i), path);
    }
    TRY(fdit_taxonomy_restrict(ctx, file, ids, v->names.n, out));
out:
    fdit_free(ids);
    fdit_taxonomy_free(file);
    return status;
}

/* Groups by the names as paths, as where the data are folders. */
static enum fdit_status by_paths(fdit_context *ctx, const char *ranks, const struct fdit_class_vectors *v,
                                 struct fdit_taxonomy **out)
{
    enum fdit_status status = FDIT_OK;
    const char **names = NULL;
    TRY(fdit_alloc(ctx, v->names.n, sizeof *names, &names));
    for (size_t i = 0; i < v->names.n; i++)
        names[i] = fdit_names_get(&v->names, i);
    status = fdit_taxonomy_from_folders(ctx, names, v->names.n, ranks, out);
    if (status == FDIT_ERROR_FORMAT || status == FDIT_ERROR_ARGUMENT)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--class-vector %s: the groups of \"%s\" at the ranks %s are not known; give a --taxonomy FILE "
             "that lists these classes",
             v->path, names[0], ranks);
out:
    fdit_free(names);
    return status;
}

static enum fdit_status join(fdit_context *ctx, const struct fdit_sample_options *o,
                             const struct fdit_class_vectors *v, const char *path,
                             const struct fdit_taxonomy *trained, struct fdit_taxonomy **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_taxonomy *added = NULL;
    char *ranks = NULL;
    for (size_t i = 0; i < v->names.n; i++)
        if (fdit_taxonomy_find_class(trained, fdit_names_get(&v->names, i)) >= 0)
            FAIL(ctx, FDIT_ERROR_ARGUMENT,
                 "--class-vector %s: \"%s\" was trained and has a row of its own; leave it out of the file, "
                 "and draw it with --classes",
                 v->path, fdit_names_get(&v->names, i));
    TRY(fdit_taxonomy_rank_list(ctx, trained, &ranks));
    TRY(o->taxonomy ? pick(ctx, o->taxonomy, ranks, v, &added) : by_paths(ctx, ranks, v, &added));
    TRY(fdit_taxonomy_join(ctx, "--class-vector", path, trained, added, out));
out:
    fdit_free(ranks);
    fdit_taxonomy_free(added);
    return status;
}

/* ------------------------------------------------------------------ their rows */

/* rows [n, width] = v W^T + b, in double, rounded once. */
static enum fdit_status map_vectors(fdit_context *ctx, struct fdit_checkpoint *cp, int width,
                                    const struct fdit_class_vectors *v, float *rows)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_param weight = { .name = (char *)(uintptr_t)map_name,
                                       .rank = 2,
                                       .shape = { width, v->width },
                                       .count = (size_t)width * (size_t)v->width };
    const struct fdit_param bias = { .name = (char *)(uintptr_t) "y_embedder.class_map.bias",
                                     .rank = 1,
                                     .shape = { width },
                                     .count = (size_t)width };
    float *w = NULL, *b = NULL;
    TRY(fdit_alloc(ctx, weight.count, sizeof *w, &w));
    TRY(fdit_alloc(ctx, bias.count, sizeof *b, &b));
    TRY(fdit_checkpoint_read(ctx, cp, &weight, w));
    TRY(fdit_checkpoint_read(ctx, cp, &bias, b));
    for (size_t i = 0; i < v->names.n; i++)
        for (size_t j = 0; j < (size_t)width; j++) {
            double sum = b[j];
            for (size_t k = 0; k < (size_t)v->width; k++)
                sum += (double)w[j * (size_t)v->width + k] * v->data[i * (size_t)v->width + k];
            rows[i * (size_t)width + j] = (float)sum;
        }
out:
    fdit_free(w);
    fdit_free(b);
    return status;
}

static enum fdit_status add_rows(fdit_context *ctx, struct fdit_checkpoint *cp, int width,
                                 const struct fdit_class_vectors *v, const struct fdit_taxonomy *trained,
                                 const struct fdit_taxonomy *all)
{
    enum fdit_status status = FDIT_OK;
    const int32_t was = fdit_taxonomy_n_rows(trained), now = fdit_taxonomy_n_rows(all);
    const int64_t there = fdit_checkpoint_dim(cp, "y_embedder.embedding_table.weight", 0);
    const int32_t spare = there == was + 1 ? 1 : 0; /* of the empty label, behind all others */
    const size_t d = (size_t)width;
    int32_t *from = NULL;
    float *table = NULL;
    if (there != was + spare)
        FAIL(ctx, FDIT_ERROR_FORMAT, "%s: its class table has %lld rows, its taxonomy %d classes and groups",
             fdit_checkpoint_path(cp), (long long)there, was);
    TRY(fdit_alloc(ctx, (size_t)now, sizeof *from, &from));
    TRY(fdit_alloc(ctx, (size_t)(now + spare) * d, sizeof *table, &table));
    fdit_taxonomy_match_rows(trained, all, from);
    for (int32_t r = 0; r < now; r++)
        if (from[r] >= 0)
            TRY(fdit_checkpoint_read_rows(ctx, cp, from[r], 1, width, table + (size_t)r * d));
    if (spare)
        TRY(fdit_checkpoint_read_rows(ctx, cp, was, 1, width, table + (size_t)now * d));
    TRY(map_vectors(ctx, cp, width, v, table + (size_t)fdit_taxonomy_n_classes(trained) * d));
    float *given = table;
    table = NULL;
    TRY(fdit_checkpoint_replace_table(ctx, cp, given, now + spare, width));
out:
    fdit_free(table);
    fdit_free(from);
    return status;
}

enum fdit_status fdit_new_classes_add(fdit_context *ctx, const struct fdit_sample_options *o,
                                      struct fdit_checkpoint *cp, int width, struct fdit_taxonomy **taxonomy,
                                      struct fdit_new_classes *out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_class_vectors v = { .width = 0 };
    const char *path = fdit_checkpoint_path(cp);
    const int64_t wanted = fdit_checkpoint_dim(cp, map_name, 1);
    *out = (struct fdit_new_classes){ .n = 0 };
    if (!o->class_vector)
        return FDIT_OK;
    if (wanted < 1)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--class-vector: %s has no map of class vectors; give a delta that was trained with "
             "--class-vectors FILE --class-vectors-as map",
             path);
    TRY(fdit_class_vectors_open(ctx, o->class_vector, &v));
    if (v.width != wanted)
        FAIL(ctx, FDIT_ERROR_ARGUMENT,
             "--class-vector %s: vectors of %d numbers, %s was trained with %lld; make "
             "them as those that it was trained with",
             v.path, v.width, path, (long long)wanted);
    TRY(fdit_class_vectors_scale(ctx, &v));
    TRY(fdit_guide_taxonomy(ctx, cp, &out->trained));
    if (!out->trained)
        FAIL(ctx, FDIT_ERROR_FORMAT, "--class-vector: %s does not name its classes", path);
    TRY(join(ctx, o, &v, path, out->trained, taxonomy));
    TRY(add_rows(ctx, cp, width, &v, out->trained, *taxonomy));
    out->first = fdit_taxonomy_n_classes(out->trained);
    out->n = (int32_t)v.names.n;
out:
    fdit_class_vectors_fini(&v);
    return status;
}

enum fdit_status fdit_new_classes_check_guide(fdit_context *ctx, const struct fdit_new_classes *c,
                                              const struct fdit_taxonomy *tax, int32_t rank)
{
    for (int32_t id = c->first; id < c->first + c->n; id++) {
        const char *group = fdit_taxonomy_group_name(tax, rank, fdit_taxonomy_group(tax, rank, id));
        if (fdit_taxonomy_find_group(c->trained, rank, group) < 0)
            return fdit_fail(ctx, FDIT_ERROR_ARGUMENT,
                             "--class-vector: no class of the %s \"%s\" of \"%s\" was trained, so it cannot "
                             "guide; give --guide none, or superclass:RANK with a rank whose group was",
                             fdit_taxonomy_rank_name(tax, rank), group, fdit_taxonomy_class_name(tax, id));
    }
    return FDIT_OK;
}

void fdit_new_classes_fini(struct fdit_new_classes *c)
{
    fdit_taxonomy_free(c->trained);
    *c = (struct fdit_new_classes){ .n = 0 };
}
