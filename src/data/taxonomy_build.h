/* SPDX-License-Identifier: Apache-2.0
 * taxonomy_build.h: what a taxonomy is made of, for the files that make one. Others
 * use taxonomy.h. */
#ifndef FDIT_DATA_TAXONOMY_BUILD_H
#define FDIT_DATA_TAXONOMY_BUILD_H

#include "data/names.h"
#include "data/spelling.h"
#include "data/taxonomy.h"

enum { FDIT_TAX_MOST_RANKS = 255 };

struct fdit_tax_rank {
    char *name;
    struct fdit_names groups;
    struct fdit_spellings spellings; /* of the groups */
    int32_t *of;                     /* [classes] group, -1 = none given (only while reading a source) */
    size_t of_capacity;
    int32_t first_row;
};

struct fdit_taxonomy {
    struct fdit_names classes; /* id = class id */
    struct fdit_names folders; /* empty, or the second name of every class */
    struct fdit_spellings class_spellings, folder_spellings;
    char *header; /* first cell of the line that a table was taken to begin with, NULL: no table */
    bool strict;  /* a draft: names that only differ in spelling are refused */
    bool paths;   /* read by a version that tells groups apart by their path, see taxonomy.h */
    int32_t n_ranks;
    struct fdit_tax_rank *ranks;
    size_t ranks_capacity;
};

/* The rank of that name, -1: none. */
int32_t fdit_tax_find_rank(const struct fdit_taxonomy *tax, const char *name, size_t len);

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
enum fdit_status fdit_tax_put(fdit_context *ctx, struct fdit_taxonomy *tax, const char *what, int32_t rank,
                              size_t id, const char *group, size_t len);
/* Groups of a rank in byte order. */
enum fdit_status fdit_tax_sort(fdit_context *ctx, struct fdit_taxonomy *tax, int32_t rank);
/* Which ranks of a draft lie within which: coarser[r * n_ranks + s] of s is a coarser rank than r. */
struct fdit_tax_nesting {
    bool *coarser;
    bool told; /* by the source: nothing is guessed, and no warning given */
};
enum fdit_status fdit_tax_nesting_new(fdit_context *ctx, const struct fdit_taxonomy *draft,
                                      struct fdit_tax_nesting *out);
void fdit_tax_nesting_fini(struct fdit_tax_nesting *n);
/* From the names of ranks: those of biology, from subspecies to kingdom, lie within each other. */
void fdit_tax_nesting_biology(const struct fdit_taxonomy *draft, struct fdit_tax_nesting *n);
/* A group is its path: one name under two groups of a coarser rank becomes two groups, called
 * "Plantae/Prunella" and "Animalia/Prunella" after the nearest coarser rank that tells them apart. */
enum fdit_status fdit_tax_split_homonyms(fdit_context *ctx, struct fdit_taxonomy *draft, const char *what,
                                         const struct fdit_tax_nesting *n);
/* Warns where a group lies in several groups of a rank of which nobody said whether it is coarser,
 * while most do not. */
enum fdit_status fdit_tax_warn_homonyms(fdit_context *ctx, const struct fdit_taxonomy *draft,
                                        const char *what, const struct fdit_tax_nesting *n);
/* Warns of groups of a rank that differ in capitals only: two groups by their bytes, most likely meant as
 * one. */
enum fdit_status fdit_tax_warn_case(fdit_context *ctx, const struct fdit_taxonomy *draft, const char *what);
/* A taxonomy from a table (taxonomy.h): n bytes. */
enum fdit_status fdit_tax_parse_table(fdit_context *ctx, const char *text, size_t n, const char *what,
                                      const char *ranks, struct fdit_taxonomy **out);

/* order[i] = present id of the group that gets id i. */
enum fdit_status fdit_tax_reorder(fdit_context *ctx, struct fdit_taxonomy *tax, int32_t rank,
                                  const uint32_t *order);
/* The taxonomy with the picked ranks (as taxonomy.h says), which must be filled. */
enum fdit_status fdit_tax_pick(fdit_context *ctx, const struct fdit_taxonomy *draft, const char *what,
                               const char *ranks, struct fdit_taxonomy **out);

/* The pieces of a text between separators: calls with *at = text; false at the end. */
bool fdit_tax_piece(const char **at, const char *end, char separator, const char **piece, size_t *len);
/* The first name of a list with commas between, which may itself hold commas: the shortest
 * beginning of s .. end that is a name and ends at a comma or the end. Its id and length;
 * FDIT_NAMES_NONE if none. */
size_t fdit_tax_first(const struct fdit_names *names, const char *s, const char *end, size_t *len);

#endif
