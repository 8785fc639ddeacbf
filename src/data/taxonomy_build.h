/* SPDX-License-Identifier: Apache-2.0
 * taxonomy_build.h: what a taxonomy is made of, for the files that make one. Others
 * use taxonomy.h. */
#ifndef FDIT_DATA_TAXONOMY_BUILD_H
#define FDIT_DATA_TAXONOMY_BUILD_H

#include "data/names.h"
#include "data/taxonomy.h"

struct fdit_tax_rank {
    char *name;
    struct fdit_names groups;
    int32_t *of; /* [classes] group, -1 = none given (only while reading a source) */
    size_t of_capacity;
    int32_t first_row;
};

struct fdit_taxonomy {
    struct fdit_names classes; /* id = class id */
    struct fdit_names folders; /* empty, or the second name of every class */
    int32_t n_ranks;
    struct fdit_tax_rank *ranks;
    size_t ranks_capacity;
};

/* A source is read into a draft: every rank of it, groups in order of arrival, holes allowed. */
enum fdit_status fdit_tax_new(fdit_context *ctx, struct fdit_taxonomy **out);
/* Adds a rank; a name that is there already, empty, or with ',' or '=' in it is
 * FDIT_ERROR_FORMAT. */
enum fdit_status fdit_tax_add_rank(fdit_context *ctx, struct fdit_taxonomy *tax, const char *what,
                                   const char *name, size_t len);
/* Adds a class in no group; FDIT_ERROR_FORMAT with `what` for one that is there, is empty, or is no
 * UTF-8. */
enum fdit_status fdit_tax_add_class(fdit_context *ctx, struct fdit_taxonomy *tax, const char *what,
                                    const char *name, size_t len);
/* Puts a class into a group of a rank, which is made when it is new. */
enum fdit_status fdit_tax_put(fdit_context *ctx, struct fdit_taxonomy *tax, const char *what,
                              int32_t rank, size_t id, const char *group, size_t len);
/* Groups of a rank in byte order. */
enum fdit_status fdit_tax_sort(fdit_context *ctx, struct fdit_taxonomy *tax, int32_t rank);
/* order[i] = present id of the group that gets id i. */
enum fdit_status fdit_tax_reorder(fdit_context *ctx, struct fdit_taxonomy *tax, int32_t rank,
                                  const uint32_t *order);
/* The taxonomy with the picked ranks (as taxonomy.h says), which must be filled. */
enum fdit_status fdit_tax_pick(fdit_context *ctx, const struct fdit_taxonomy *draft,
                               const char *what, const char *ranks, struct fdit_taxonomy **out);

/* The pieces of a text between separators: calls with *at = text; false at the end. */
bool fdit_tax_piece(const char **at, const char *end, char separator, const char **piece,
                    size_t *len);
/* The first name of a list with commas between, which may itself hold commas: the shortest
 * beginning of s .. end that is a name and ends at a comma or the end. Its id and length;
 * FDIT_NAMES_NONE if none. */
size_t fdit_tax_first(const struct fdit_names *names, const char *s, const char *end, size_t *len);

#endif
