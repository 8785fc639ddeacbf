/* SPDX-License-Identifier: Apache-2.0
 * find.h: search over the names of classes and groups while somebody types.
 *
 * Capitals, Unicode's forms and kinds of blanks do not count (fdit_spelling_fold). Every word of the query
 * has to be in the node's name or in the name of a group above it, so that "turdus mer" finds merula of the
 * genus Turdus. "#12", and a number, is the class of that id first. A word that is the name stands before
 * one that begins it, one that begins a word of it, one that lies within, and one that only a group has;
 * equal ones are in the order of rows, groups before classes. */
#ifndef FDIT_SERVE_FIND_H
#define FDIT_SERVE_FIND_H

#include "serve/tree.h"

enum { FDIT_FIND_MOST_WORDS = 8 };

struct fdit_find;

/* The tree must outlive it. Takes the bytes of the names and 13 for each. Free with fdit_find_free. */
enum fdit_status fdit_find_new(fdit_context *ctx, const struct fdit_taxonomy *taxonomy,
                               const struct fdit_tree *tree, struct fdit_find **out);
void fdit_find_free(struct fdit_find *f); /* NULL is allowed */
/* Nodes first .. of all that fit, at most `room` of them into nodes; *n of them, of *total. Any number of
 * threads at once. More than FDIT_FIND_MOST_WORDS words: FDIT_ERROR_ARGUMENT. */
enum fdit_status fdit_find_run(fdit_context *ctx, const struct fdit_find *f, const char *query, size_t first,
                               size_t room, int32_t *nodes, size_t *n, size_t *total);

#endif
