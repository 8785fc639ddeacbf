/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/confusion.h"

#include "core/mem.h"
#include "core/print.h"
#include "eval/scores.h"

#include <stdio.h>
#include <stdlib.h>

void fdit_confusion_fini(struct fdit_confusion *c)
{
    fdit_free(c->pictures);
    fdit_free(c->pairs);
    *c = (struct fdit_confusion){ 0 };
}

static int by_labels(const void *pa, const void *pb)
{
    const struct fdit_confused *a = pa, *b = pb;
    if (a->is != b->is)
        return a->is < b->is ? -1 : 1;
    return (a->said > b->said) - (a->said < b->said);
}

static int by_pictures(const void *pa, const void *pb)
{
    const struct fdit_confused *a = pa, *b = pb;
    if (a->pictures != b->pictures)
        return a->pictures > b->pictures ? -1 : 1;
    return by_labels(pa, pb);
}

/* Equal pairs become one. */
static void join(struct fdit_confusion *c)
{
    size_t n = 0;
    if (!c->n_pairs)
        return;
    qsort(c->pairs, c->n_pairs, sizeof *c->pairs, by_labels);
    for (size_t i = 0; i < c->n_pairs; i++)
        if (n && !by_labels(&c->pairs[n - 1], &c->pairs[i]))
            c->pairs[n - 1].pictures++;
        else
            c->pairs[n++] = c->pairs[i];
    c->n_pairs = n;
    qsort(c->pairs, n, sizeof *c->pairs, by_pictures);
}

enum fdit_status fdit_confusion_make(fdit_context *ctx, const struct fdit_feature_set *s, int32_t rank,
                                     struct fdit_confusion *out)
{
    enum fdit_status status = FDIT_OK;
    const struct fdit_taxonomy *tax = s->taxonomy;
    size_t k = s->logit_classes, n = s->points.n;
    int32_t *group_of = NULL, *said = NULL;
    *out = (struct fdit_confusion){ .rank = rank,
                                    .title = rank < 0 ? "class" : fdit_taxonomy_rank_name(tax, rank),
                                    .labels = rank < 0 ? k : (size_t)fdit_taxonomy_n_groups(tax, rank),
                                    .all = n };
    TRY(fdit_alloc(ctx, k, sizeof *group_of, &group_of));
    TRY(fdit_alloc(ctx, n, sizeof *said, &said));
    TRY(fdit_alloc(ctx, n, sizeof *out->pairs, &out->pairs));
    TRY(fdit_alloc(ctx, out->labels, sizeof *out->pictures, &out->pictures));
    for (size_t c = 0; c < k; c++)
        group_of[c] = rank < 0 ? (int32_t)c : fdit_taxonomy_group(tax, rank, (int32_t)c);
    TRY(fdit_top_labels(ctx, s->logits, n, k, rank < 0 ? NULL : group_of, out->labels, said));
    for (size_t i = 0; i < n; i++) {
        int32_t is = group_of[s->label[i]];
        out->pictures[is]++;
        out->right += is == said[i];
        if (is != said[i])
            out->pairs[out->n_pairs++] = (struct fdit_confused){ is, said[i], 1 };
    }
    join(out);
out:
    fdit_free(group_of);
    fdit_free(said);
    if (status != FDIT_OK)
        fdit_confusion_fini(out);
    return status;
}

const char *fdit_confusion_label(const struct fdit_confusion *c, const struct fdit_taxonomy *taxonomy,
                                 int32_t label)
{
    return c->rank < 0 ? fdit_taxonomy_class_name(taxonomy, label)
                       : fdit_taxonomy_group_name(taxonomy, c->rank, label);
}

/* ------------------------------------------------------------------ the table */

static enum fdit_status put(fdit_context *ctx, FILE *f, const struct fdit_confusion *c,
                            const struct fdit_taxonomy *tax)
{
    enum fdit_status status = FDIT_OK;
    size_t *right = NULL;
    TRY(fdit_alloc(ctx, c->labels, sizeof *right, &right));
    for (size_t l = 0; l < c->labels; l++)
        right[l] = c->pictures[l];
    for (size_t i = 0; i < c->n_pairs; i++)
        right[c->pairs[i].is] -= c->pairs[i].pictures;
    for (size_t l = 0; l < c->labels; l++)
        if (right[l])
            fprintf(f, "%s\t%s\t%s\t%zu\t%zu\n", c->title, fdit_confusion_label(c, tax, (int32_t)l),
                    fdit_confusion_label(c, tax, (int32_t)l), right[l], c->pictures[l]);
    for (size_t i = 0; i < c->n_pairs; i++)
        fprintf(f, "%s\t%s\t%s\t%zu\t%zu\n", c->title, fdit_confusion_label(c, tax, c->pairs[i].is),
                fdit_confusion_label(c, tax, c->pairs[i].said), c->pairs[i].pictures,
                c->pictures[c->pairs[i].is]);
out:
    fdit_free(right);
    return status;
}

enum fdit_status fdit_confusion_table(fdit_context *ctx, const struct fdit_confusion *list, size_t n,
                                      const struct fdit_taxonomy *taxonomy, const char *path)
{
    struct fdit_print table;
    enum fdit_status status = fdit_print_begin(ctx, &table, "the table of confusions");
    if (status != FDIT_OK)
        return status;
    fputs("rank\tis\tsaid\tpictures\tof\n", table.f);
    for (size_t i = 0; i < n && status == FDIT_OK; i++)
        status = put(ctx, table.f, &list[i], taxonomy);
    return fdit_print_end(ctx, &table, status, path);
}
