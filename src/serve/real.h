/* SPDX-License-Identifier: Apache-2.0
 * real.h: real pictures of the classes, from a data set on the disk, as the model saw them in training. */
#ifndef FDIT_SERVE_REAL_H
#define FDIT_SERVE_REAL_H

#include "data/dataset.h"
#include "sample/source.h"

struct fdit_real;

/* The data set at `path`, whose classes have to be the model's (not each needs a picture), cut to size x
 * size by `fit` and by the rules that the weights were trained with. The source must outlive it. */
enum fdit_status fdit_real_open(fdit_context *ctx, const char *path, const struct fdit_sample_source *source,
                                const struct fdit_picture_words *look, enum fdit_fit fit, int size,
                                int channels, struct fdit_real **out);
void fdit_real_close(struct fdit_real *r); /* NULL is allowed */

/* For the plan: what all threads together take while they read pictures. */
size_t fdit_real_bytes(const struct fdit_real *r);

/* Any number of threads at once; those that find no room wait. */
size_t fdit_real_count(const struct fdit_real *r, int32_t class_id);
/* Picture k of a class, as a PNG file; FDIT_ERROR_ARGUMENT for one that is not there, others as of
 * fdit_dataset_decode. Free with fdit_free. */
enum fdit_status fdit_real_picture(fdit_context *ctx, const struct fdit_real *r, int32_t class_id, size_t k,
                                   char **bytes, size_t *n);

#endif
