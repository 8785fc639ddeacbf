/* SPDX-License-Identifier: Apache-2.0
 * tuned.h: what tune.c has found for a device and its driver, kept beside the compiled programs. */
#ifndef FDIT_HOST_OPENCL_TUNED_H
#define FDIT_HOST_OPENCL_TUNED_H

#include "state.h"

/* Fills cl->tuned, and sets CLBlast up where it is used. A file that cannot be read, or parameters
 * that are not right here any more, count as not tuned, with a warning. */
void fdit_opencl_tuned_load(fdit_context *ctx, fdit_device *dev);
/* Where it is kept; makes the folder. FDIT_ERROR_UNSUPPORTED: there is none. Free with fdit_free. */
enum fdit_status fdit_opencl_tuned_path(fdit_context *ctx, const fdit_device *dev, char **path);
enum fdit_status fdit_opencl_tuned_save(fdit_context *ctx, const fdit_device *dev, const char *path);

#endif
