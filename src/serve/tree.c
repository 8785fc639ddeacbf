/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/tree.h"

#include "core/mem.h"

#include <string.h>

/* A part of a list. */
struct part {
    int32_t first, n;
};

/* Ranks within each other, from the coarsest on, and the classes sorted by their groups in them: those of
 * each group lie behind each other, and so do the groups within a group. */
struct view {
    int32_t *ranks, n_ranks;
    int32_t *classes; /* [n_classes] ids */
    int32_t *place;   /* [n_classes] of a class in `classes` */
    int32_t **groups; /* [n_ranks][groups of the rank] rows, sorted */
};

struct fdit_tree {
    const struct fdit_taxonomy *taxonomy;
    int32_t n_classes, n_rows, n_ranks;
    int32_t *all; /* [n_classes] 0, 1, ... */
    int32_t n_views;
    struct view *views;
    /* [n_rows], of groups: */
    struct part *within; /* its classes in the view's list */
    struct part *below;  /* its groups in the list of the next rank */
    int32_t *rank, *parent, *place;
    int32_t *view_of; /* [n_ranks] */
    int32_t *level;   /* [n_ranks] in the view's ranks */
};

static int32_t group_row(const struct fdit_tree *t, int32_t rank, int32_t id)
{
    return fdit_taxonomy_superclass_row(t->taxonomy, rank, id);
}

/* Whether every group of `inner` lies within one of `outer`. seen [n_rows]. */
static bool lies_within(const struct fdit_tree *t, int32_t inner, int32_t outer, int32_t *seen)
{
    memset(seen, -1, (size_t)t->n_rows * sizeof *seen);
    for (int32_t id = 0; id < t->n_classes; id++) {
        int32_t in = group_row(t, inner, id), out = group_row(t, outer, id);
        if (seen[in] >= 0 && seen[in] != out)
            return false;
        seen[in] = out;
    }
    return true;
}

/* Deals the ranks out to views: the coarsest that is left begins one, and those that lie within follow. */
static enum fdit_status choose_views(fdit_context *ctx, struct fdit_tree *t)
{
    enum fdit_status status = FDIT_OK;
    int32_t *seen = NULL, left = t->n_ranks;
    TRY(fdit_alloc(ctx, (size_t)t->n_rows, sizeof *seen, &seen));
    for (int32_t r = 0; r < t->n_ranks; r++)
        t->view_of[r] = -1;
    while (left) {
        struct view *v = &t->views[t->n_views];
        TRY(fdit_alloc(ctx, (size_t)t->n_ranks, sizeof *v->ranks, &v->ranks));
        TRY(fdit_alloc(ctx, (size_t)t->n_ranks, sizeof *v->groups, &v->groups));
        for (;;) {
            int32_t best = -1;
            for (int32_t r = t->n_ranks - 1; r >= 0; r--) /* coarse ranks come last in tables */
                if (t->view_of[r] < 0 &&
                    (best < 0 ||
                     fdit_taxonomy_n_groups(t->taxonomy, r) < fdit_taxonomy_n_groups(t->taxonomy, best)) &&
                    (!v->n_ranks || lies_within(t, r, v->ranks[v->n_ranks - 1], seen)))
                    best = r;
            if (best < 0)
                break;
            t->view_of[best] = t->n_views;
            t->level[best] = v->n_ranks;
            v->ranks[v->n_ranks++] = best;
            left--;
        }
        t->n_views++;
    }
out:
    fdit_free(seen);
    return status;
}

/* Stable, by the number of the group, from the finest rank to the coarsest. */
static void sort_classes(const struct fdit_tree *t, struct view *v, int32_t *count, int32_t *to)
{
    memcpy(v->classes, t->all, (size_t)t->n_classes * sizeof *v->classes);
    for (int32_t l = v->n_ranks - 1; l >= 0; l--) {
        int32_t r = v->ranks[l], n = fdit_taxonomy_n_groups(t->taxonomy, r);
        memset(count, 0, ((size_t)n + 1) * sizeof *count);
        for (int32_t i = 0; i < t->n_classes; i++)
            count[fdit_taxonomy_group(t->taxonomy, r, i) + 1]++;
        for (int32_t g = 0; g < n; g++)
            count[g + 1] += count[g];
        for (int32_t i = 0; i < t->n_classes; i++)
            to[count[fdit_taxonomy_group(t->taxonomy, r, v->classes[i])]++] = v->classes[i];
        memcpy(v->classes, to, (size_t)t->n_classes * sizeof *to);
    }
    for (int32_t i = 0; i < t->n_classes; i++)
        v->place[v->classes[i]] = i;
}

static void find_groups(struct fdit_tree *t, int32_t view)
{
    struct view *v = &t->views[view];
    for (int32_t l = 0; l < v->n_ranks; l++) {
        int32_t n = 0, upper = FDIT_TREE_ROOT;
        for (int32_t i = 0; i < t->n_classes; i++) {
            int32_t row = group_row(t, v->ranks[l], v->classes[i]);
            if (!t->within[row].n++) {
                int32_t above = l                ? group_row(t, v->ranks[l - 1], v->classes[i])
                                : t->n_views > 1 ? FDIT_TREE_VIEW - view
                                                 : FDIT_TREE_ROOT;
                t->within[row].first = i;
                t->rank[row] = v->ranks[l];
                t->parent[row] = above;
                if (l && above != upper)
                    t->below[above].first = n;
                upper = above;
                t->place[row] = l ? t->below[above].n++ : n;
                v->groups[l][n++] = row;
            }
        }
    }
}

enum fdit_status fdit_tree_new(fdit_context *ctx, const struct fdit_taxonomy *taxonomy,
                               struct fdit_tree **out)
{
    enum fdit_status status = FDIT_OK;
    struct fdit_tree *t = NULL;
    int32_t *count = NULL, *to = NULL;
    *out = NULL;
    TRY(fdit_alloc(ctx, 1, sizeof *t, &t));
    t->taxonomy = taxonomy;
    t->n_classes = fdit_taxonomy_n_classes(taxonomy);
    t->n_rows = fdit_taxonomy_n_rows(taxonomy);
    t->n_ranks = fdit_taxonomy_n_ranks(taxonomy);
    size_t rows = (size_t)t->n_rows, ranks = (size_t)t->n_ranks, classes = (size_t)t->n_classes;
    TRY(fdit_alloc(ctx, classes, sizeof *t->all, &t->all));
    TRY(fdit_alloc(ctx, ranks, sizeof *t->views, &t->views));
    TRY(fdit_alloc(ctx, rows, sizeof *t->within, &t->within));
    TRY(fdit_alloc(ctx, rows, sizeof *t->below, &t->below));
    TRY(fdit_alloc(ctx, rows, sizeof *t->rank, &t->rank));
    TRY(fdit_alloc(ctx, rows, sizeof *t->parent, &t->parent));
    TRY(fdit_alloc(ctx, rows, sizeof *t->place, &t->place));
    TRY(fdit_alloc(ctx, ranks, sizeof *t->view_of, &t->view_of));
    TRY(fdit_alloc(ctx, ranks, sizeof *t->level, &t->level));
    TRY(fdit_alloc(ctx, rows + 1, sizeof *count, &count));
    TRY(fdit_alloc(ctx, classes, sizeof *to, &to));
    for (int32_t i = 0; i < t->n_classes; i++)
        t->all[i] = i;
    TRY(choose_views(ctx, t));
    for (int32_t i = 0; i < t->n_views; i++) {
        struct view *v = &t->views[i];
        TRY(fdit_alloc(ctx, classes, sizeof *v->classes, &v->classes));
        TRY(fdit_alloc(ctx, classes, sizeof *v->place, &v->place));
        for (int32_t l = 0; l < v->n_ranks; l++)
            TRY(fdit_alloc(ctx, (size_t)fdit_taxonomy_n_groups(taxonomy, v->ranks[l]), sizeof **v->groups,
                           &v->groups[l]));
        sort_classes(t, v, count, to);
        find_groups(t, i);
    }
    *out = t;
    t = NULL;
out:
    fdit_free(count);
    fdit_free(to);
    fdit_tree_free(t);
    return status;
}

void fdit_tree_free(struct fdit_tree *t)
{
    if (!t)
        return;
    for (int32_t i = 0; t->views && i < t->n_ranks; i++) {
        struct view *v = &t->views[i];
        for (int32_t l = 0; v->groups && l < v->n_ranks; l++)
            fdit_free(v->groups[l]);
        fdit_free(v->groups);
        fdit_free(v->ranks);
        fdit_free(v->classes);
        fdit_free(v->place);
    }
    void *lists[] = { t->all,    t->views, t->within,  t->below, t->rank,
                      t->parent, t->place, t->view_of, t->level };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        fdit_free(lists[i]);
    fdit_free(t);
}

/* ------------------------------------------------------------------ asking */

bool fdit_tree_is_class(const struct fdit_tree *t, int32_t node)
{
    return node >= 0 && node < t->n_classes;
}

/* The view that a node stands for, or -1. */
static int32_t view_at(const struct fdit_tree *t, int32_t node)
{
    return t->n_views > 1 && node <= FDIT_TREE_VIEW ? FDIT_TREE_VIEW - node : -1;
}

bool fdit_tree_has(const struct fdit_tree *t, int64_t node)
{
    return node < t->n_rows && node >= (t->n_views > 1 ? FDIT_TREE_VIEW - t->n_views + 1 : FDIT_TREE_ROOT);
}

int32_t fdit_tree_rank(const struct fdit_tree *t, int32_t node)
{
    return node >= t->n_classes ? t->rank[node] : -1;
}

/* The list that holds the node's children, NULL: it has none, or (root) they are views. */
static const int32_t *children_of(const struct fdit_tree *t, int32_t node, struct part *part)
{
    int32_t view = view_at(t, node);
    *part = (struct part){ 0, 0 };
    if (node == FDIT_TREE_ROOT && t->n_views > 1) {
        part->n = t->n_views;
        return NULL;
    }
    if (node == FDIT_TREE_ROOT && !t->n_views) {
        part->n = t->n_classes;
        return t->all;
    }
    if (node == FDIT_TREE_ROOT)
        view = 0;
    if (view >= 0) {
        part->n = fdit_taxonomy_n_groups(t->taxonomy, t->views[view].ranks[0]);
        return t->views[view].groups[0];
    }
    int32_t rank = fdit_tree_rank(t, node);
    if (rank < 0)
        return NULL;
    const struct view *v = &t->views[t->view_of[rank]];
    bool last = t->level[rank] + 1 == v->n_ranks;
    *part = last ? t->within[node] : t->below[node];
    return last ? v->classes : v->groups[t->level[rank] + 1];
}

int32_t fdit_tree_children(const struct fdit_tree *t, int32_t node)
{
    struct part part;
    children_of(t, node, &part);
    return part.n;
}

int32_t fdit_tree_child(const struct fdit_tree *t, int32_t node, int32_t i)
{
    struct part part;
    const int32_t *list = children_of(t, node, &part);
    return list ? list[part.first + i] : FDIT_TREE_VIEW - i;
}

int32_t fdit_tree_parent(const struct fdit_tree *t, int32_t node)
{
    if (node >= t->n_classes)
        return t->parent[node];
    if (node < 0 || !t->n_views)
        return FDIT_TREE_ROOT;
    return group_row(t, t->views[0].ranks[t->views[0].n_ranks - 1], node);
}

int32_t fdit_tree_place(const struct fdit_tree *t, int32_t node)
{
    if (node >= t->n_classes)
        return t->place[node];
    if (node <= FDIT_TREE_VIEW)
        return FDIT_TREE_VIEW - node;
    if (!t->n_views)
        return node;
    return t->views[0].place[node] - t->within[fdit_tree_parent(t, node)].first;
}

const int32_t *fdit_tree_classes(const struct fdit_tree *t, int32_t node, int32_t *n)
{
    *n = t->n_classes;
    if (fdit_tree_is_class(t, node)) {
        *n = 1;
        return &t->all[node];
    }
    if (node < 0)
        return t->all;
    *n = t->within[node].n;
    return t->views[t->view_of[t->rank[node]]].classes + t->within[node].first;
}

const char *fdit_tree_name(const struct fdit_tree *t, int32_t node)
{
    int32_t view = view_at(t, node);
    if (view >= 0)
        return fdit_taxonomy_rank_name(t->taxonomy, t->views[view].ranks[0]);
    if (node < 0)
        return "";
    if (fdit_tree_is_class(t, node))
        return fdit_taxonomy_class_name(t->taxonomy, node);
    return fdit_taxonomy_group_name(t->taxonomy, t->rank[node],
                                    node - fdit_taxonomy_group_row(t->taxonomy, t->rank[node], 0));
}
