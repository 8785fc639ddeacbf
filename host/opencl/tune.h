/* SPDX-License-Identifier: Apache-2.0
 * tune.h: measuring products and keeping what is fastest. */
#ifndef FDIT_HOST_OPENCL_TUNE_H
#define FDIT_HOST_OPENCL_TUNE_H

#include "state.h"

/* The entry `tune` of the table. */
enum fdit_status fdit_opencl_tune(fdit_context *ctx, fdit_device *dev, const struct fdit_op_shape *shapes,
                                  size_t n, const struct fdit_tune_options *options, char **where);

#endif
