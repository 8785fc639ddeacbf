/* SPDX-License-Identifier: Apache-2.0
 * class_vectors.h: a vector of numbers for each class, made elsewhere: means of BioCLIP's, CLIP's or DINO's
 * features, embeddings of names, or anything.
 *
 *     struct fdit_class_vectors v;
 *     TRY(fdit_class_vectors_open(ctx, "bioclip.npy", &v));
 *     TRY(fdit_class_vectors_match(ctx, &v, taxonomy, &at)); // at[class]: row of v.data
 * out:
 *     fdit_class_vectors_fini(&v);
 *
 * Files, told apart by content:
 *   .npy          an array [classes, width] of f2, f4 or f8; the names stand in a text of the same name with
 *                 .txt in place of .npy, one a line, in the order of the rows
 *   safetensors   a tensor [width] (or [1, width]) for each class, called as the class; or one tensor
 *                 [classes, width], its names a JSON list in the metadata "names" or else such a text */
#ifndef FDIT_DATA_CLASS_VECTORS_H
#define FDIT_DATA_CLASS_VECTORS_H

#include "data/names.h"
#include "data/taxonomy.h"

struct fdit_class_vectors {
    char *path;
    struct fdit_names names; /* row i is of name i */
    int width;
    float *data; /* [names.n, width], finite */
};

/* FDIT_ERROR_FORMAT or _NUMERIC, naming file and row: no names, another number of them, a name twice, vectors
 * of several widths, a number that is not finite. On failure *out is empty. */
enum fdit_status fdit_class_vectors_open(fdit_context *ctx, const char *path, struct fdit_class_vectors *out);
void fdit_class_vectors_fini(struct fdit_class_vectors *v); /* an all-zero one is allowed */

/* The row of each class, whose name may differ in spelling only (spelling.h): *at [n_classes] from
 * fdit_alloc. FDIT_ERROR_ARGUMENT, with the first names, for classes without a vector, vectors of no class of
 * the taxonomy, and two of one class. */
enum fdit_status fdit_class_vectors_match(fdit_context *ctx, const struct fdit_class_vectors *v,
                                          const struct fdit_taxonomy *taxonomy, int32_t **at);
/* Scales each vector to length 1, so that its direction alone counts; FDIT_ERROR_NUMERIC names one that is
 * zero. */
enum fdit_status fdit_class_vectors_scale(fdit_context *ctx, struct fdit_class_vectors *v);

#endif
