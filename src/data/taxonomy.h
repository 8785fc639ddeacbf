/* SPDX-License-Identifier: Apache-2.0
 * taxonomy.h: the classes, their ids, and the groups that they belong to at each rank.
 *
 * A table has one row per class, then one per group of the first picked rank, then of the next:
 *
 *     class id    0 .. C-1                   row = id
 *     rank 0      groups 0 .. S0-1           row = C + g
 *     rank 1      groups 0 .. S1-1           row = C + S0 + g
 *
 * Sources, told apart by content:
 *   table    first line = header: the class column, then one column per rank, with tabs between
 *            them, or commas, semicolons or bars; fields may stand in quotes; UTF-8, or UTF-16 with
 *            its mark. Blanks at the ends of fields do not count, columns of row numbers (R, pandas)
 *            and columns whose name begins with # are passed over. Line order gives the ids. Lines
 *            that begin with
 *            #order RANK=A,B,...   anywhere: the order of the groups of a rank, each named once;
 *                                  without one they are in byte order
 *            #nested A,B,...       rank A lies within B, and so on (see below)
 *            #independent          no rank lies within another
 *            # and a space         a comment
 *   JSON     the categories of iNaturalist (an array of objects, or an object with the array
 *            "categories"): id, name, and the ranks supercategory, kingdom, phylum, class, order,
 *            family, genus as far as categories have them. ids must be 0 .. C-1. `image_dir_name`,
 *            where there, is a second name of the class (folders of pictures carry it). Groups of
 *            supercategory are in the published order (Plants, Insects, Birds, ...), others behind.
 *            With ranks NULL only supercategory is picked.
 *   JSON     what fdit_taxonomy_to_json wrote (metadata of checkpoints and deltas).
 *   folders  class = path relative to the data folder; rank level1 = the folder that holds the
 *            class folder, level2 = the one above it, and so on; a group's name is its whole
 *            relative path, so "a/x" and "b/x" stay apart. Classes right in the data folder: no
 *            rank.
 *
 * A group is (rank, name): equal names in two ranks are two groups. Where ranks lie within each other,
 * a group is its path: one genus name in two families is two groups, called "Lamiaceae/Prunella" and
 * "Prunellidae/Prunella" then, after the nearest coarser rank, picked or not. The ranks of biology
 * (subspecies ... genus, family, order, class, phylum, kingdom, also in Latin) lie within each other
 * unless #nested or #independent says otherwise; other ranks only by #nested, since a table alone cannot
 * tell a homonym from attributes that stand beside each other (letter and style); where most groups lie
 * in one group of the other rank and a few do not, there is a warning.
 * Names are UTF-8 and keep their bytes. Two that differ only in blanks, unseen marks or Unicode
 * normalisation (spelling.h) are an error in one table, list of categories, or folder, and the same name for
 * whoever looks one up.
 * A taxonomy never changes after it was made: any number of threads may read it. */
#ifndef FDIT_DATA_TAXONOMY_H
#define FDIT_DATA_TAXONOMY_H

#include "core/status.h"

struct fdit_taxonomy;

/* ---- making. `ranks` picks ranks and their order: "genus,family"; NULL = all of the source (of
 * iNaturalist's JSON: supercategory); "none" or "" = no rank. A picked rank that is not there, a
 * class without a group in it, a class that is there twice: FDIT_ERROR_FORMAT, all missing ones
 * counted and the first few named. Free with fdit_taxonomy_free. */
enum fdit_status fdit_taxonomy_load(fdit_context *ctx, const char *path, const char *ranks,
                                    struct fdit_taxonomy **out);
/* The same from n bytes of memory; `what` names them in messages. */
enum fdit_status fdit_taxonomy_parse(fdit_context *ctx, const char *text, size_t n, const char *what,
                                     const char *ranks, struct fdit_taxonomy **out);
/* From n folder paths with '/' between the parts, in the order of the ids. */
enum fdit_status fdit_taxonomy_from_folders(fdit_context *ctx, const char *const *paths, size_t n,
                                            const char *ranks, struct fdit_taxonomy **out);
/* Classes named "0" .. "n-1" and no rank: for data that has numbers only. */
enum fdit_status fdit_taxonomy_from_count(fdit_context *ctx, size_t n, struct fdit_taxonomy **out);
/* Other ranks of the same classes. */
enum fdit_status fdit_taxonomy_pick(fdit_context *ctx, const struct fdit_taxonomy *tax, const char *ranks,
                                    struct fdit_taxonomy **out);
/* Only the n classes ids[0], ids[1], ..., which get the ids 0, 1, ...; groups left empty go. */
enum fdit_status fdit_taxonomy_restrict(fdit_context *ctx, const struct fdit_taxonomy *tax,
                                        const int32_t *ids, size_t n, struct fdit_taxonomy **out);
/* The classes of old with their ids, behind them those of `added` that are new. Both must have the same
 * ranks, else FDIT_ERROR_ARGUMENT, which begins with `what` and names `path` as the file of old; a class that
 * both have is in the groups that `added` says. */
enum fdit_status fdit_taxonomy_join(fdit_context *ctx, const char *what, const char *path,
                                    const struct fdit_taxonomy *old, const struct fdit_taxonomy *added,
                                    struct fdit_taxonomy **out);
void fdit_taxonomy_free(struct fdit_taxonomy *tax); /* NULL is allowed */

/* ---- reading. Indices must be in range; strings belong to the taxonomy. */
int32_t fdit_taxonomy_n_classes(const struct fdit_taxonomy *tax);
int32_t fdit_taxonomy_n_ranks(const struct fdit_taxonomy *tax);
/* "genus,family": the names of all ranks; "none" without any. Free with fdit_free. */
enum fdit_status fdit_taxonomy_rank_list(fdit_context *ctx, const struct fdit_taxonomy *tax, char **out);
int32_t fdit_taxonomy_n_groups(const struct fdit_taxonomy *tax, int32_t rank);
int32_t fdit_taxonomy_n_rows(const struct fdit_taxonomy *tax); /* classes and groups of all ranks */
const char *fdit_taxonomy_class_name(const struct fdit_taxonomy *tax, int32_t id);
const char *fdit_taxonomy_rank_name(const struct fdit_taxonomy *tax, int32_t rank);
const char *fdit_taxonomy_group_name(const struct fdit_taxonomy *tax, int32_t rank, int32_t group);
/* The group of a class at a rank. */
int32_t fdit_taxonomy_group(const struct fdit_taxonomy *tax, int32_t rank, int32_t id);
/* The row of a group. */
int32_t fdit_taxonomy_group_row(const struct fdit_taxonomy *tax, int32_t rank, int32_t group);
/* The row of the group of a class at a rank: what a label drop or a guide uses. */
int32_t fdit_taxonomy_superclass_row(const struct fdit_taxonomy *tax, int32_t rank, int32_t id);

/* -1 when there is none. A class is found by its name, else by its second name, else by one that
 * differs only in spelling (spelling.h); a group likewise. */
int32_t fdit_taxonomy_find_class(const struct fdit_taxonomy *tax, const char *name);
/* Of a taxonomy from a table: what stands above the class column, for the case that it should have been
 * a class. NULL for others. */
const char *fdit_taxonomy_header(const struct fdit_taxonomy *tax);
int32_t fdit_taxonomy_find_rank(const struct fdit_taxonomy *tax, const char *name);
int32_t fdit_taxonomy_find_group(const struct fdit_taxonomy *tax, int32_t rank, const char *name);

/* ---- what users type.
 * The rank that `--superclass NAME` means; NULL = the first picked rank. No rank at all, or an
 * unknown name: FDIT_ERROR_ARGUMENT, the message lists the ranks. */
enum fdit_status fdit_taxonomy_superclass(fdit_context *ctx, const struct fdit_taxonomy *tax,
                                          const char *name, int32_t *rank);
/* Several ranks: `all` or "A,B". *out from fdit_alloc, *n of them, none twice. */
enum fdit_status fdit_taxonomy_ranks(fdit_context *ctx, const struct fdit_taxonomy *tax, const char *list,
                                     int32_t **out, size_t *n);
/* Classes: `all`, `RANK=GROUP`, a class (an exact name wins; then `#5`, always an id, then a number as an id;
 * unknown: FDIT_ERROR_ARGUMENT with the closest names), several of these with commas between, or `@file`
 * with one of these per line (blank lines are skipped). Names that hold commas are recognised.
 * Order of request; a class that is asked for again is not repeated. *ids from fdit_alloc, *n >= 1.
 */
enum fdit_status fdit_taxonomy_select(fdit_context *ctx, const struct fdit_taxonomy *tax, const char *what,
                                      int32_t **ids, size_t *n);
/* A file with a class and a count per line, between them a tab, comma, semicolon or bar (or the last
 * space); names of columns in the first line are passed over: *ids and *counts from fdit_alloc, *n
 * of each. A class twice, or a count that is not a number from 0 to
 * 2^31-1: FDIT_ERROR_ARGUMENT with the line. */
enum fdit_status fdit_taxonomy_counts(fdit_context *ctx, const struct fdit_taxonomy *tax, const char *path,
                                      int32_t **ids, int32_t **counts, size_t *n);

/* ---- files and comparison.
 * Compact JSON, the same bytes for the same taxonomy, ASCII only:
 *     {"classes":["a","b"],"ranks":[{"name":"genus","groups":["x","y"],"of":[1,0]}]}
 * and "folders":[...] when classes have a second name, and "paths":true where the groups of a table or
 * of categories were told apart by their paths. What is read from it has the same rows again, whatever
 * this version would make of the table: nothing is told apart anew. *text from fdit_alloc. */
enum fdit_status fdit_taxonomy_to_json(fdit_context *ctx, const struct fdit_taxonomy *tax, char **text);
/* Of that text without "paths", which earlier versions did not write: equal rows, equal hash. */
enum fdit_status fdit_taxonomy_hash(fdit_context *ctx, const struct fdit_taxonomy *tax, uint64_t *out);
/* The table that fdit_taxonomy_load reads: a header, #order where groups are not in the order of
 * bytes, a line a class. A name with a tab or a line end, or a listed one with a comma:
 * FDIT_ERROR_UNSUPPORTED. *text from fdit_alloc. */
enum fdit_status fdit_taxonomy_to_tsv(fdit_context *ctx, const struct fdit_taxonomy *tax, char **text);
/* Same rows with the same names and the same groups. */
bool fdit_taxonomy_equal(const struct fdit_taxonomy *a, const struct fdit_taxonomy *b);
/* OK when equal, else FDIT_ERROR_FORMAT: "A and B differ: ..." with the first difference. */
enum fdit_status fdit_taxonomy_compare(fdit_context *ctx, const struct fdit_taxonomy *a, const char *name_a,
                                       const struct fdit_taxonomy *b, const char *name_b);
/* Whether `was` is what an earlier version made of that source of which this one makes `is`: the same
 * classes and ranks, and where a group is another one, it is "F/y" for "y", or the name without the blanks
 * that it had. Versions before "paths" (fdit_taxonomy_to_json) took a group for (rank, name); a `was` that
 * is of a later one, or from folders, is not an earlier reading of anything that differs from it. */
bool fdit_taxonomy_earlier(const struct fdit_taxonomy *was, const struct fdit_taxonomy *is);
/* Whether its JSON says "paths". */
bool fdit_taxonomy_by_path(const struct fdit_taxonomy *tax);
/* rows[r], r < n_rows(to): the row of `from` with the same class name, or the same (rank, group),
 * else -1. A group "F/y" of `to` that is not there is the group "y" of a `from` that an earlier version
 * made. Returns how many were found. */
int32_t fdit_taxonomy_match_rows(const struct fdit_taxonomy *from, const struct fdit_taxonomy *to,
                                 int32_t *rows);

#endif
