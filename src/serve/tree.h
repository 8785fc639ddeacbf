/* SPDX-License-Identifier: Apache-2.0
 * tree.h: a taxonomy to look through: groups within groups, and the classes at the ends.
 *
 * A node is the row that its class or group has in the class table (data/taxonomy.h); above them stands
 * FDIT_TREE_ROOT. Ranks that lie within each other are levels of one tree, the coarsest at the top. Ranks
 * that do not (the letter and the style of a picture) are trees of their own, each under a node of its
 * coarsest rank: FDIT_TREE_VIEW, one less for each further one. */
#ifndef FDIT_SERVE_TREE_H
#define FDIT_SERVE_TREE_H

#include "data/taxonomy.h"

enum { FDIT_TREE_ROOT = -1, FDIT_TREE_VIEW = -2 };

struct fdit_tree;

/* The taxonomy must outlive it. Free with fdit_tree_free. */
enum fdit_status fdit_tree_new(fdit_context *ctx, const struct fdit_taxonomy *taxonomy,
                               struct fdit_tree **out);
void fdit_tree_free(struct fdit_tree *t); /* NULL is allowed */

bool fdit_tree_has(const struct fdit_tree *t, int64_t node);
/* How many children, and child i of them. In the order of the taxonomy's table of groups, or class ids. */
int32_t fdit_tree_children(const struct fdit_tree *t, int32_t node);
int32_t fdit_tree_child(const struct fdit_tree *t, int32_t node, int32_t i);
/* Its place among its parent's children. */
int32_t fdit_tree_place(const struct fdit_tree *t, int32_t node);
/* The node above (of a class in the first tree), FDIT_TREE_ROOT for the uppermost. Not of the root. */
int32_t fdit_tree_parent(const struct fdit_tree *t, int32_t node);
/* The classes below it: n of them, which belong to the tree. */
const int32_t *fdit_tree_classes(const struct fdit_tree *t, int32_t node, int32_t *n);
/* Whether it is a class. */
bool fdit_tree_is_class(const struct fdit_tree *t, int32_t node);
/* Of a group: its rank, else -1. */
int32_t fdit_tree_rank(const struct fdit_tree *t, int32_t node);
/* Of a class or a group; of a view the name of its coarsest rank; of the root "". */
const char *fdit_tree_name(const struct fdit_tree *t, int32_t node);

#endif
